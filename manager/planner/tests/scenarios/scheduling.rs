//! Where tasks go, and why some do not.

use crate::support::check;
use expect_test::expect;

#[test]
fn replicas_spread_over_the_nodes() {
    check(
        "
        node n1
        node n2
        node n3
        network front
        service web replicas=4 net=front port=8080:80
        run
        ps web
        addresses web
        services
        networks
        nodes
        ",
        expect![[r#"
            web.1 n1 running -> running
            web.2 n2 running -> running
            web.3 n3 running -> running
            web.4 n1 running -> running
            web.1 n1 front=10.0.1.16 ingress=10.0.0.16
            web.2 n2 front=10.0.1.32 ingress=10.0.0.32
            web.3 n3 front=10.0.1.48 ingress=10.0.0.48
            web.4 n1 front=10.0.1.17 ingress=10.0.0.17
            web 8080->80 front=10.0.1.2 ingress=10.0.0.2
            ingress 10.0.0.0/24
              10.0.0.0/28 services
              10.0.0.16/28 n1
              10.0.0.32/28 n2
              10.0.0.48/28 n3
            front 10.0.1.0/24
              10.0.1.0/28 services
              10.0.1.16/28 n1
              10.0.1.32/28 n2
              10.0.1.48/28 n3
            n1 ready 10.255.0.1 
            n2 ready 10.255.0.2 
            n3 ready 10.255.0.3"#]],
    );
}

#[test]
fn scaling_down_keeps_what_is_spread_and_scaling_up_fills_the_lowest_slots() {
    check(
        "
        node n1
        node n2
        service web replicas=5
        run
        ps web
        say down to 2
        scale web 2
        run
        ps web
        say up to 3
        scale web 3
        run
        ps web
        say down to 0
        scale web 0
        run
        ps web
        ",
        expect![[r#"
            web.1 n1 running -> running
            web.2 n2 running -> running
            web.3 n1 running -> running
            web.4 n2 running -> running
            web.5 n1 running -> running
            -- down to 2
            web.1 n1 running -> running
            web.2 n2 running -> running
            -- up to 3
            web.1 n1 running -> running
            web.2 n2 running -> running
            web.3 n1 running -> running
            -- down to 0"#]],
    );
}

#[test]
fn what_cannot_be_placed_says_why() {
    check(
        "
        node n1 cpus=1 label=zone=a
        node n2 cpus=2 label=zone=b
        node n3 cpus=2 label=zone=b
        service big replicas=2 cpu=2
        service pinned constraint=node.labels.zone==c
        service capped replicas=4 max-per-node=1
        service port replicas=4 hostport=80:80
        drain n3
        run
        why
        ps big
        ps pinned
        ps capped
        say a node returns
        active n3
        label n3 zone=c
        run
        why
        ps pinned
        ",
        expect![[r#"
            big.2: no suitable node (insufficient resources on 2 nodes; 1 node not available for new tasks)
            capped.3: no suitable node (max replicas per node limit exceed; 1 node not available for new tasks)
            capped.4: no suitable node (max replicas per node limit exceed; 1 node not available for new tasks)
            pinned.1: no suitable node (scheduling constraints not satisfied on 2 nodes; 1 node not available for new tasks)
            port.3: no suitable node (host-mode port already in use on 2 nodes; 1 node not available for new tasks)
            and 1 more
            big.1 n2 running -> running
            big.2 - pending -> running: no suitable node (insufficient resources on 2 nodes; 1 node not available for new tasks)
            pinned.1 - pending -> running: no suitable node (scheduling constraints not satisfied on 2 nodes; 1 node not available for new tasks)
            capped.1 n1 running -> running
            capped.2 n2 running -> running
            capped.3 - pending -> running: no suitable node (max replicas per node limit exceed; 1 node not available for new tasks)
            capped.4 - pending -> running: no suitable node (max replicas per node limit exceed; 1 node not available for new tasks)
            -- a node returns
            capped.4: no suitable node (max replicas per node limit exceed)
            port.4: no suitable node (host-mode port already in use on 3 nodes)
            pinned.1 n3 running -> running"#]],
    );
}

#[test]
fn a_task_whose_node_no_longer_meets_its_constraints_moves() {
    check(
        "
        node n1 label=zone=a
        node n2 label=zone=b
        service web constraint=node.labels.zone==a
        service agent global constraint=node.labels.zone==a
        run
        ps web
        label n1 zone=b
        label n2 zone=a
        run
        ps web
        ps agent
        ",
        expect![[r#"
            web.1 n1 running -> running
            web.1 n2 running -> running
            web.1 n1 shutdown -> shutdown
            agent n1 shutdown -> shutdown
            agent n2 running -> running"#]],
    );
}

#[test]
fn tasks_spread_over_a_label_before_they_spread_over_nodes() {
    check(
        "
        node n1 label=zone=a
        node n2 label=zone=a
        node n3 label=zone=a
        node n4 label=zone=b
        service web replicas=6 spread=node.labels.zone
        run
        count web
        ",
        expect![[r#"
            n1: 1
            n2: 1
            n3: 1
            n4: 3"#]],
    );
}

#[test]
fn reservations_are_kept_free() {
    check(
        "
        node n1 cpus=4
        node n2 cpus=2
        service web replicas=7 cpu=1
        run
        count web
        why
        ",
        expect![[r#"
            n1: 4
            n2: 2
            web.7: no suitable node (insufficient resources on 2 nodes)"#]],
    );
}

#[test]
fn a_host_port_is_used_once_a_node_and_freed_by_the_task_that_had_it() {
    check(
        "
        node n1
        node n2
        service web replicas=2 hostport=80:80 order=start-first monitor=0s
        run
        ps web
        update web force
        run
        ps web
        ",
        expect![[r#"
            web.1 n1 running -> running
            web.2 n2 running -> running
            web.1 n1 running -> running
            web.1 n1 shutdown -> shutdown
            web.2 n2 running -> running
            web.2 n2 shutdown -> shutdown"#]],
    );
}

#[test]
fn a_node_that_keeps_failing_a_service_is_taken_last() {
    check(
        "
        node n1
        node n2
        service web delay=0s
        fail web.1
        step 4s
        ps web
        ",
        expect![[r#"
            web.1 - pending -> ready: crash loop: failed 6 times in a row, starts again at 00:16:47 UTC; last: failed
            web.1 n2 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown"#]],
    );
}
