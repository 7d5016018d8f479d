//! What becomes of tasks as nodes come, fall silent, drain and go.

use crate::support::check;
use expect_test::expect;

#[test]
fn a_drained_node_gets_no_tasks_and_loses_those_it_has() {
    check(
        "
        node n1
        node n2
        service web replicas=2
        service agent global
        run
        drain n1
        plan
        say the old ones have to stop first
        ps web
        ps agent
        run
        say then the new ones run
        ps web
        active n1
        run
        say a returned node gets its global task, nothing else moves
        ps web
        ps agent
        ",
        expect![[r#"
            -- the old ones have to stop first
            web.1 n2 assigned -> ready
            web.1 n1 running -> shutdown
            web.2 n2 running -> running
            agent n1 running -> running
            agent n2 running -> running
            -- then the new ones run
            web.1 n2 running -> running
            web.1 n1 shutdown -> shutdown
            web.2 n2 running -> running
            -- a returned node gets its global task, nothing else moves
            web.1 n2 running -> running
            web.1 n1 shutdown -> shutdown
            web.2 n2 running -> running
            agent n1 running -> running
            agent n1 shutdown -> shutdown
            agent n2 running -> running"#]],
    );
}

#[test]
fn tasks_of_a_silent_node_are_replaced_once_it_is_down() {
    check(
        "
        node n1
        node n2
        service web replicas=2
        run
        silence n2
        step 2s
        nodes
        step 1s
        nodes
        ps web
        say it comes back
        wake n2
        run
        ps web
        nodes
        ",
        expect![[r#"
            n1 ready 10.255.0.1 
            n2 ready 10.255.0.2 
            n1 ready 10.255.0.1 
            n2 down 10.255.0.2 heartbeat failure
            web.1 n1 running -> running
            web.2 n1 running -> running
            web.2 n2 running -> shutdown
            -- it comes back
            web.1 n1 running -> running
            web.2 n1 running -> running
            web.2 n2 shutdown -> shutdown
            n1 ready 10.255.0.1 
            n2 ready 10.255.0.2"#]],
    );
}

#[test]
fn a_new_leader_waits_before_it_calls_a_node_down() {
    check(
        "
        node n1
        node n2
        service web replicas=2
        run
        silence n2
        step 2s
        leader
        step 3s
        nodes
        step 1s
        nodes
        ",
        expect![[r#"
            n1 ready 10.255.0.1 
            n2 ready 10.255.0.2 
            n1 ready 10.255.0.1 
            n2 down 10.255.0.2 heartbeat failure"#]],
    );
}

#[test]
fn the_silence_of_a_former_leader_began_before_the_next_one_led() {
    check(
        "
        node n1
        node n2
        run
        silence n1
        step 0.7s
        leader n1 heard 0.7s
        step 2.2s
        nodes
        step 0.1s
        nodes
        ",
        expect![[r#"
            n1 ready 10.255.0.1 
            n2 ready 10.255.0.2 
            n1 down 10.255.0.1 heartbeat failure
            n2 ready 10.255.0.2"#]],
    );
}

#[test]
fn a_former_leader_has_two_heartbeats_to_find_the_next_one() {
    check(
        "
        node n1
        node n2
        run
        silence n1
        step 2s
        leader n1 heard 9s
        step 1.9s
        nodes
        step 0.1s
        nodes
        ",
        expect![[r#"
            n1 ready 10.255.0.1 
            n2 ready 10.255.0.2 
            n1 down 10.255.0.1 heartbeat failure
            n2 ready 10.255.0.2"#]],
    );
}

#[test]
fn a_paused_node_keeps_its_tasks_and_gets_no_more() {
    check(
        "
        node n1
        node n2
        service agent global image=a monitor=0s
        run
        pause n2
        service web replicas=2
        update agent image=b
        run
        ps web
        ps agent
        ",
        expect![[r#"
            web.1 n1 running -> running
            web.2 n1 running -> running
            agent n1 running -> running image b
            agent n1 shutdown -> shutdown image a
            agent n2 running -> running image a"#]],
    );
}

#[test]
fn a_removed_node_takes_its_tasks_along_and_gives_its_blocks_back() {
    check(
        "
        node n1
        node n2
        network front
        service web replicas=2 net=front
        run
        forget n2
        run
        ps web
        networks
        ",
        expect![[r#"
            web.1 n1 running -> running
            web.2 n1 running -> running
            ingress 10.0.0.0/24
            front 10.0.1.0/24
              10.0.1.0/28 services
              10.0.1.16/28 n1"#]],
    );
}

#[test]
fn a_node_told_a_long_heartbeat_may_keep_to_it_until_it_hears_of_the_short_one() {
    check(
        "
        node n1
        heartbeat 10s
        run
        heartbeat 1s
        silence n1
        step 20s
        nodes
        wake n1
        run
        silence n1
        step 3s
        nodes
        ",
        expect![[r#"
            n1 ready 10.255.0.1 
            n1 down 10.255.0.1 heartbeat failure"#]],
    );
}

#[test]
fn a_node_that_never_spoke_is_forgotten_after_an_hour() {
    check(
        "
        node n1
        ghost n2
        ghost n3 manager
        ghost n4 manager
        run
        skip 3590s
        nodes
        skip 20s
        nodes
        say n1 was silent for as long, but spoke once; a last manager stays
        silence n1
        skip 4000s
        nodes
        ",
        expect![[r#"
            n1 ready 10.255.0.1 
            n2 down 10.255.0.2 heartbeat failure
            n3 down 10.255.0.3 heartbeat failure
            n4 down 10.255.0.4 heartbeat failure
            n1 ready 10.255.0.1 
            n4 down 10.255.0.4 heartbeat failure
            -- n1 was silent for as long, but spoke once; a last manager stays
            n1 down 10.255.0.1 heartbeat failure
            n4 down 10.255.0.4 heartbeat failure"#]],
    );
}
