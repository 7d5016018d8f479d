//! The planner, seen as an operator sees the swarm.

mod support;

use expect_test::expect;
use support::check;

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
            web.2 n2 front=10.0.1.32 ingress=10.0.0.32
            web.3 n3 front=10.0.1.48 ingress=10.0.0.48
            web.1 n1 front=10.0.1.16 ingress=10.0.0.16
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
            agent n1 running -> shutdown
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
fn tasks_of_a_silent_node_are_replaced_in_the_pass_that_finds_it_down() {
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
fn a_task_that_ends_is_followed_after_the_delay() {
    check(
        "
        node n1
        service web delay=2s
        run
        kill web.1
        plan
        ps web
        wakes
        step 1s
        ps web
        step 1s
        ps web
        say failing again and again takes longer each time
        fail web.1
        step 5s
        ps web
        wakes
        ",
        expect![[r#"
            web.1 n1 assigned -> ready
            web.1 n1 failed -> shutdown: task: non-zero exit (137)
            wakes in 2000 ms
            web.1 n1 ready -> ready
            web.1 n1 failed -> shutdown: task: non-zero exit (137)
            web.1 n1 running -> running
            web.1 n1 failed -> shutdown: task: non-zero exit (137)
            -- failing again and again takes longer each time
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown: task: non-zero exit (137)
            wakes in 3000 ms"#]],
    );
}

#[test]
fn the_restart_policy_leaves_a_position_empty() {
    check(
        "
        node n1
        service once restart=none
        service twice attempts=1 delay=0s
        service done restart=on-failure
        complete done.1
        fail once.1
        fail twice.1
        step 10s
        ps once
        ps twice
        ps done
        say but a lost node's task is always replaced
        heal once.1
        heal twice.1
        update once force
        update twice force
        run
        node n2
        drain n1
        run
        ps once
        ps twice
        ",
        expect![[r#"
            once.1 n1 failed -> shutdown
            twice.1 n1 failed -> shutdown
            twice.1 n1 failed -> shutdown
            done.1 n1 complete -> shutdown
            -- but a lost node's task is always replaced
            once.1 n2 running -> running
            once.1 n1 shutdown -> shutdown
            once.1 n1 failed -> shutdown
            twice.1 n2 running -> running
            twice.1 n1 shutdown -> shutdown
            twice.1 n1 failed -> shutdown
            twice.1 n1 failed -> shutdown"#]],
    );
}

#[test]
fn history_is_kept_to_its_limit() {
    check(
        "
        node n1
        service web delay=0s
        fail web.1
        step 300s
        ps web
        ",
        expect![[r#"
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown"#]],
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
fn an_update_changes_one_task_at_a_time_and_waits_for_the_monitor_time() {
    check(
        "
        node n1
        node n2
        service web replicas=3 image=a monitor=2s
        run
        update web image=b
        plan
        ps web
        services
        run
        say the first runs
        ps web
        step 1s
        services
        step 1s
        say then the second
        ps web
        step 10s
        ps web
        services
        ",
        expect![[r#"
            web.1 n1 assigned -> ready image b
            web.1 n1 running -> shutdown image a
            web.2 n2 running -> running image a
            web.3 n1 running -> running image a
            web [Updating: update in progress]
            -- the first runs
            web.1 n1 running -> running image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n2 running -> running image a
            web.3 n1 running -> running image a
            web [Updating: update in progress]
            -- then the second
            web.1 n1 running -> running image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n2 running -> running image b
            web.2 n2 shutdown -> shutdown image a
            web.3 n1 running -> running image a
            web.1 n1 running -> running image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n2 running -> running image b
            web.2 n2 shutdown -> shutdown image a
            web.3 n1 running -> running image b
            web.3 n1 shutdown -> shutdown image a
            web [Completed: update completed]"#]],
    );
}

#[test]
fn a_start_first_update_never_has_fewer_tasks_running() {
    check(
        "
        node n1
        node n2
        service web replicas=2 image=a monitor=1s order=start-first parallelism=2 max-per-node=1
        run
        update web image=b
        plan
        ps web
        run
        ps web
        step 1s
        services
        ",
        expect![[r#"
            web.1 n1 assigned -> running image b
            web.1 n1 running -> running image a
            web.2 n2 running -> running image a
            web.2 n2 assigned -> running image b
            web.1 n1 running -> running image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n2 running -> running image b
            web.2 n2 shutdown -> shutdown image a
            web [Completed: update completed]"#]],
    );
}

#[test]
fn a_failing_update_pauses() {
    check(
        "
        node n1
        service web replicas=3 image=a monitor=2s delay=1s
        run
        reject web.1
        update web image=b
        step 5s
        services
        ps web
        say another change resumes it
        heal web.1
        update web image=c
        step 20s
        services
        ps web
        ",
        expect![[r#"
            web [Paused: update paused due to failure or early termination]
            web.1 n1 rejected -> shutdown image b
            web.1 n1 rejected -> shutdown image b
            web.1 n1 rejected -> shutdown image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 running -> running image a
            web.3 n1 running -> running image a
            -- another change resumes it
            web [Completed: update completed]
            web.1 n1 running -> running image c
            web.1 n1 rejected -> shutdown image b
            web.1 n1 rejected -> shutdown image b
            web.1 n1 rejected -> shutdown image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 running -> running image c
            web.2 n1 shutdown -> shutdown image a
            web.3 n1 running -> running image c
            web.3 n1 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn a_failing_update_rolls_back_if_the_service_says_so() {
    check(
        "
        node n1
        service web replicas=2 image=a monitor=2s delay=1s on-failure=rollback
        run
        fail web.1@b
        update web image=b
        run
        services
        step 20s
        services
        ps web
        ",
        expect![[r#"
            web [RollbackStarted: update rolled back due to failure or early termination]
            web [RollbackCompleted: rollback completed]
            web.1 n1 running -> running image a
            web.1 n1 failed -> shutdown image b
            web.1 n1 shutdown -> shutdown image b
            web.1 n1 shutdown -> shutdown image a
            web.1 n1 failed -> shutdown image b
            web.2 n1 running -> running image a"#]],
    );
}

#[test]
fn an_update_that_tolerates_failures_goes_on() {
    check(
        "
        node n1
        service web replicas=3 image=a monitor=1s delay=1s on-failure=continue
        run
        fail web.1
        update web image=b
        step 10s
        services
        count web
        ps web
        ",
        expect![[r#"
            web [Completed: update completed]
            n1: 2
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 running -> running image b
            web.2 n1 shutdown -> shutdown image a
            web.3 n1 running -> running image b
            web.3 n1 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn a_manual_rollback_returns_to_the_previous_spec_and_twice_to_the_newer() {
    check(
        "
        node n1
        service web replicas=2 image=a monitor=0s
        run
        update web image=b
        run
        services
        rollback web
        step 20s
        services
        ps web
        rollback web
        step 20s
        services
        ",
        expect![[r#"
            web [Completed: update completed]
            web [RollbackCompleted: rollback completed]
            web.1 n1 running -> running image a
            web.1 n1 shutdown -> shutdown image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 running -> running image a
            web.2 n1 shutdown -> shutdown image a
            web.2 n1 shutdown -> shutdown image b
            web [RollbackCompleted: rollback completed]"#]],
    );
}

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
            web.1 n2 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown"#]],
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
fn an_update_pauses_where_the_previous_spec_cannot_be_had_back() {
    check(
        "
        node n1
        network front
        service web image=a net=front on-failure=rollback monitor=1s
        run
        fail web.1@b
        update web image=b no-net
        plan
        rm-network front
        step 3s
        services
        ",
        expect!["web [Paused: update paused due to failure or early termination]"],
    );
}
