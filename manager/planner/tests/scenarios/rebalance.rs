//! Tasks that are moved to nodes with fewer of their service.

use crate::support::check;
use expect_test::expect;

#[test]
fn a_node_that_came_gets_its_share_when_that_is_asked_for() {
    check(
        "
        node n1
        node n2
        service web replicas=6 monitor=2s
        run
        node n3
        step 60s
        say nothing moves by itself
        count web
        rebalance web
        run
        say one at a time, as an update changes them
        services
        count web
        ps web
        step 2s
        count web
        step 10s
        count web
        services
        ",
        expect![[r#"
            -- nothing moves by itself
            n1: 3
            n2: 3
            n3: 0
            -- one at a time, as an update changes them
            web rebalancing
            n1: 2
            n2: 3
            n3: 1
            web.1 n1 running -> running
            web.2 n2 running -> running
            web.3 n1 running -> running
            web.4 n2 running -> running
            web.5 n3 running -> running
            web.5 n1 shutdown -> shutdown
            web.6 n2 running -> running
            n1: 2
            n2: 2
            n3: 2
            n1: 2
            n2: 2
            n3: 2
            web"#]],
    );
}

#[test]
fn what_starts_first_is_never_fewer() {
    check(
        "
        node n1
        service web replicas=4 order=start-first parallelism=2
        run
        node n2
        warm web.3
        warm web.4
        rebalance web
        run
        ps web
        ready web.3
        ready web.4
        run
        count web
        ",
        expect![[r#"
            web.1 n1 running -> running
            web.2 n1 running -> running
            web.3 n1 running -> running
            web.3 n2 running -> running
            web.4 n1 running -> running
            web.4 n2 running -> running
            n1: 2
            n2: 2"#]],
    );
}

#[test]
fn by_itself_so_many_move_a_minute_in_the_whole_swarm() {
    check(
        "
        node n1
        rebalance-rate 3
        service web replicas=8 auto parallelism=0 monitor=1s
        service db replicas=4 auto parallelism=0 monitor=1s
        run
        node n2
        run
        say a node has to be there for a minute
        step 59s
        count web
        count db
        step 2s
        count web
        count db
        say the next when the first are a minute ago
        step 57s
        count web
        count db
        step 2s
        count web
        count db
        step 120s
        count web
        count db
        ",
        expect![[r#"
            -- a node has to be there for a minute
            n1: 8
            n2: 0
            n1: 4
            n2: 0
            n1: 5
            n2: 3
            n1: 4
            n2: 0
            -- the next when the first are a minute ago
            n1: 5
            n2: 3
            n1: 4
            n2: 0
            n1: 4
            n2: 4
            n1: 2
            n2: 2
            n1: 4
            n2: 4
            n1: 2
            n2: 2"#]],
    );
}

#[test]
fn a_rate_of_nothing_moves_nothing() {
    check(
        "
        node n1
        rebalance-rate 0
        service web replicas=4 auto
        run
        node n2
        step 120s
        count web
        wakes
        ",
        expect![[r#"
            n1: 4
            n2: 0
            wakes in 3000 ms"#]],
    );
}

#[test]
fn nothing_moves_where_nothing_would_be_better() {
    check(
        "
        node n1 label=disk=ssd
        node n2
        node n3 cpus=1
        service pinned replicas=4 constraint=node.labels.disk==ssd
        service big replicas=2 cpu=2 auto
        service few replicas=5
        run
        count few
        pause n2
        rebalance pinned
        rebalance big
        rebalance few
        step 120s
        count pinned
        count big
        count few
        services
        ",
        expect![[r#"
            n1: 1
            n2: 2
            n3: 2
            n1: 4
            n2: 0
            n3: 0
            n1: 1
            n2: 1
            n3: 0
            n1: 1
            n2: 2
            n3: 2
            pinned
            few
            big"#]],
    );
}

#[test]
fn branches_are_evened_before_nodes() {
    check(
        "
        node a1 label=zone=a
        node a2 label=zone=a
        service web replicas=6 spread=node.labels.zone parallelism=0
        run
        node b1 label=zone=b
        rebalance web
        run
        count web
        ",
        expect![[r#"
            a1: 1
            a2: 2
            b1: 3"#]],
    );
}

#[test]
fn a_move_that_fails_is_given_up_and_the_old_task_serves() {
    check(
        "
        node n1
        service web replicas=4 order=start-first monitor=1s attempts=1
        run
        step 1s
        node n2
        warm web.4
        rebalance web
        run
        ps web
        kill web.4
        run
        say it is tried once more, as the restart policy allows
        step 6s
        ps web
        kill web.4
        run
        step 60s
        say and that was it
        ps web
        services
        ",
        expect![[r#"
            web.1 n1 running -> running
            web.2 n1 running -> running
            web.3 n1 running -> running
            web.4 n2 running -> running
            web.4 n1 running -> running
            -- it is tried once more, as the restart policy allows
            web.1 n1 running -> running
            web.2 n1 running -> running
            web.3 n1 running -> running
            web.4 n2 running -> running
            web.4 n2 failed -> shutdown: task: non-zero exit (137)
            web.4 n1 running -> running
            -- and that was it
            web.1 n1 running -> running
            web.2 n1 running -> running
            web.3 n1 running -> running
            web.4 n2 failed -> shutdown: task: non-zero exit (137)
            web.4 n2 failed -> shutdown: task: non-zero exit (137)
            web.4 n1 running -> running
            web"#]],
    );
}

#[test]
fn jobs_global_services_and_updates_are_left_alone() {
    check(
        "
        node n1
        service agent global
        service job completions=2
        service web replicas=2 image=a
        run
        rebalance agent
        rebalance job
        update web image=b
        plan
        rebalance web
        pause-update web
        rebalance web
        ",
        expect![[r#"
            refused: service agent: only tasks of a replicated service are moved so
            refused: service job: only tasks of a replicated service are moved so
            refused: service web: its update is under way; ask again when that is over
            refused: service web: its update is paused; end that first"#]],
    );
}

#[test]
fn an_update_that_begins_meanwhile_goes_first() {
    check(
        "
        node n1
        service web replicas=4 image=a monitor=1s
        run
        node n2
        rebalance web
        run
        update web image=b
        step 20s
        images web
        count web
        services
        ",
        expect![[r#"
            4 b
            n1: 2
            n2: 2
            web [Completed: update completed]"#]],
    );
}

#[test]
fn a_scale_in_the_same_moment_is_taken_into_account() {
    check(
        "
        node n1
        service web replicas=4 parallelism=0 monitor=1s
        run
        node n2
        scale web 2
        rebalance web
        run
        count web
        services
        step 1s
        count web
        services
        ",
        expect![[r#"
            n1: 1
            n2: 1
            web rebalancing
            n1: 1
            n2: 1
            web"#]],
    );
}

#[test]
fn what_cannot_be_evened_rests_until_there_is_room() {
    check(
        "
        node n1 cpus=4
        service web replicas=4 auto cpu=1 parallelism=0 monitor=0s
        run
        node n2 cpus=4
        service big replicas=1 cpu=4
        run
        step 61s
        step 61s
        count web
        rest
        rm big
        run
        step 1s
        count web
        rest
        ",
        expect![[r#"
            n1: 4
            n2: 0
            rest: web big
            n1: 2
            n2: 2
            rest: web"#]],
    );
}

#[test]
fn a_look_at_what_might_move_takes_no_addresses() {
    check(
        "
        node n1
        network front subnet=10.9.0.0/24
        service web replicas=4 auto net=front parallelism=0 monitor=0s
        run
        node n2
        run
        step 30s
        say the node has to be there for a minute
        count web
        networks
        step 31s
        count web
        networks
        ",
        expect![[r#"
            -- the node has to be there for a minute
            n1: 4
            n2: 0
            ingress 10.0.0.0/24
            front 10.9.0.0/24
              10.9.0.0/28 services
              10.9.0.16/28 n1
            n1: 2
            n2: 2
            ingress 10.0.0.0/24
            front 10.9.0.0/24
              10.9.0.0/28 services
              10.9.0.16/28 n1
              10.9.0.32/28 n2"#]],
    );
}
