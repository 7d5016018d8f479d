//! Subnets, addresses and published ports; what a removed service gives back.

use crate::support::check;
use expect_test::expect;

#[test]
fn tasks_of_a_removed_service_stop_and_are_forgotten() {
    check(
        "
        node n1
        node n2
        network front
        service web replicas=2 net=front
        run
        silence n2
        step 5s
        rm web
        run
        say one is left on the silent node
        ps web
        skip 90000s
        say after a day it is given up
        ps web
        ",
        expect![[r#"
            -- one is left on the silent node
            web.2 n2 running -> remove
            -- after a day it is given up"#]],
    );
}

#[test]
fn a_full_network_grows_and_exhaustion_is_said() {
    check(
        "
        node n1
        network small subnet=172.16.0.0/29
        service web replicas=7 net=small
        run
        count web
        networks
        say without a pool it is full
        pool
        scale web 300
        run
        count web
        why
        ",
        expect![[r#"
            n1: 7
            ingress 10.0.0.0/24
            small 172.16.0.0/29 10.0.1.0/24
              10.0.1.0/28 n1
              172.16.0.2/32 services
              172.16.0.3/32 n1
              172.16.0.4/32 n1
              172.16.0.5/32 n1
              172.16.0.6/32 n1
            -- without a pool it is full
            n1: 257
            web.258: no address left in network small: its subnets (172.16.0.0/29, 10.0.1.0/24) are full and the swarm's address pool has no further one
            web.259: no address left in network small: its subnets (172.16.0.0/29, 10.0.1.0/24) are full and the swarm's address pool has no further one
            web.260: no address left in network small: its subnets (172.16.0.0/29, 10.0.1.0/24) are full and the swarm's address pool has no further one
            web.261: no address left in network small: its subnets (172.16.0.0/29, 10.0.1.0/24) are full and the swarm's address pool has no further one
            web.262: no address left in network small: its subnets (172.16.0.0/29, 10.0.1.0/24) are full and the swarm's address pool has no further one
            and 38 more"#]],
    );
}

#[test]
fn a_freed_address_is_not_given_out_again_at_once() {
    check(
        "
        node n1
        network front
        service web net=front delay=0s
        run
        addresses web
        kill web.1
        run
        addresses web
        scale web 0
        run
        scale web 1
        run
        addresses web
        ",
        expect![[r#"
            web.1 n1 front=10.0.1.16
            web.1 n1 front=10.0.1.17
            web.1 n1 front=10.0.1.18"#]],
    );
}

#[test]
fn services_without_a_fixed_port_get_one_and_keep_it() {
    check(
        "
        node n1
        service one port=0:80
        service two port=0:80
        service three port=30002:80
        service four port=0:80
        run
        services
        update one force
        run
        services
        ",
        expect![[r#"
            one 30000->80 ingress=10.0.0.2
            three 30002->80 ingress=10.0.0.3
            four 30001->80 ingress=10.0.0.4
            two 30003->80 ingress=10.0.0.5
            one 30000->80 ingress=10.0.0.2 [Updating: update in progress]
            three 30002->80 ingress=10.0.0.3
            four 30001->80 ingress=10.0.0.4
            two 30003->80 ingress=10.0.0.5"#]],
    );
}

#[test]
fn a_network_may_go_before_its_tasks_but_its_subnet_is_not_used_before_they_have_stopped() {
    check(
        "
        node n1
        network front
        service web net=front
        run
        rm web
        plan
        rm-network front
        network back
        service other net=back
        plan
        networks
        run
        ps web
        network third
        plan
        networks
        ",
        expect![[r#"
            ingress 10.0.0.0/24
            back 10.0.2.0/24
              10.0.2.0/28 services
              10.0.2.16/28 n1
            third 10.0.1.0/24
            ingress 10.0.0.0/24
            back 10.0.2.0/24
              10.0.2.0/28 services
              10.0.2.16/28 n1"#]],
    );
}

#[test]
fn two_ports_left_to_the_swarm_keep_two_numbers() {
    check(
        "
        node n1
        service web port=0:80 port=0:80
        run
        services
        update web masquerade
        run
        services
        ",
        expect![[r#"
            web 30000->80 30001->80 ingress=10.0.0.2
            web 30000->80 30001->80 ingress=10.0.0.2"#]],
    );
}

#[test]
fn a_port_published_later_reaches_tasks_that_run() {
    check(
        "
        node n1
        node n2
        network back
        service web replicas=2 net=back
        run
        addresses web
        update web port=8080:80
        run
        addresses web
        ps web
        say its end is as ever
        scale web 1
        run
        addresses web
        ",
        expect![[r#"
            web.1 n1 back=10.0.1.16
            web.2 n2 back=10.0.1.32
            web.1 n1 back=10.0.1.16 ingress=10.0.0.16
            web.2 n2 back=10.0.1.32 ingress=10.0.0.32
            web.1 n1 running -> running
            web.2 n2 running -> running
            -- its end is as ever
            web.1 n1 back=10.0.1.16 ingress=10.0.0.16"#]],
    );
}
