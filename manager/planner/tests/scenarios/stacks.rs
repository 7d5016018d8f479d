//! Networks that stacks leave.

use crate::support::check;
use expect_test::expect;

#[test]
fn a_network_that_a_stack_leaves_goes_with_the_last_task_on_it() {
    check(
        "
        node n1
        network front subnet=10.9.0.0/24
        network back subnet=10.8.0.0/24
        stack shop front back
        service shop_web replicas=2 net=front delay=0s monitor=10s
        run
        update shop_web no-net net=back
        stack shop back
        step 1s
        say one task is still on it
        networks
        step 20s
        say none is
        networks
        ",
        expect![[r#"
            -- one task is still on it
            ingress 10.0.0.0/24
            front 10.9.0.0/24
              10.9.0.0/28 services
              10.9.0.16/28 n1
            back 10.8.0.0/24
              10.8.0.0/28 services
              10.8.0.16/28 n1
            -- none is
            ingress 10.0.0.0/24
            back 10.8.0.0/24
              10.8.0.0/28 services
              10.8.0.16/28 n1"#]],
    );
}

#[test]
fn one_that_is_wanted_again_stays() {
    check(
        "
        node n1
        network front subnet=10.9.0.0/24
        stack shop front
        service shop_web replicas=2 net=front delay=60s
        run
        stack shop
        step 100s
        stack shop front
        rm shop_web
        run
        networks
        say and goes otherwise
        stack shop
        run
        networks
        ",
        expect![[r#"
            ingress 10.0.0.0/24
            front 10.9.0.0/24
              10.9.0.0/28 services
              10.9.0.16/28 n1
            -- and goes otherwise
            ingress 10.0.0.0/24"#]],
    );
}

#[test]
fn a_task_that_waits_for_room_keeps_its_network() {
    check(
        "
        node n1
        network front subnet=10.9.0.0/24
        stack shop front
        node n2
        service shop_web replicas=3 net=front monitor=60s constraint=node.hostname==n9
        run
        update shop_web no-net
        pass
        pause-update shop_web
        stack shop
        run
        networks
        ps shop_web
        say its update goes on
        resume-update shop_web
        update shop_web no-constraints
        step 200s
        networks
        ",
        expect![[r#"
            ingress 10.0.0.0/24
            front 10.9.0.0/24
              10.9.0.0/28 services
            shop_web.1 - pending -> running: no suitable node (scheduling constraints not satisfied on 2 nodes)
            shop_web.2 - pending -> running: no suitable node (scheduling constraints not satisfied on 2 nodes)
            shop_web.3 - pending -> running: no suitable node (scheduling constraints not satisfied on 2 nodes)
            -- its update goes on
            ingress 10.0.0.0/24
              10.0.0.0/28 n1
              10.0.0.16/28 n2"#]],
    );
}

#[test]
fn a_stack_that_is_removed_and_deployed_again_waits_for_nothing() {
    check(
        "
        node n1
        network shop_front subnet=10.9.0.0/24
        stack shop shop_front
        service shop_web replicas=2 net=shop_front
        run
        linger shop_web.1
        rm-stack shop
        network shop_front
        stack shop shop_front
        service shop_web replicas=2 net=shop_front
        run
        ps shop_web
        networks
        ",
        expect![[r#"
            shop_web.1 n1 running -> running
            shop_web.1 n1 running -> remove
            shop_web.2 n1 running -> running
            ingress 10.0.0.0/24
            shop_front 10.0.1.0/24
              10.0.1.0/28 services
              10.0.1.16/28 n1"#]],
    );
}
