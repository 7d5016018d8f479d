//! Nodes that fall silent and come back: what is replaced, and what goes on.

use crate::support::check;
use expect_test::expect;

#[test]
fn a_task_stays_where_it_is_if_its_node_is_back_before_the_replacement_runs() {
    check(
        "
        node n1
        node n2
        service web replicas=2
        run
        hang web.2
        silence n2
        step 3s
        say the image is still being pulled
        ps web
        leader n1 heard 0s
        wake n2
        run
        say the node is given a heartbeat to say what became of its tasks
        ps web
        step 1s
        ps web
        heal web.2
        step 10s
        ps web
        ",
        expect![[r#"
            -- the image is still being pulled
            web.1 n1 running -> running
            web.2 n1 preparing -> running
            web.2 n2 running -> running
            -- the node is given a heartbeat to say what became of its tasks
            web.1 n1 running -> running
            web.2 n1 preparing -> running
            web.2 n2 running -> running
            web.1 n1 running -> running
            web.2 n1 shutdown -> shutdown
            web.2 n2 running -> running
            web.1 n1 running -> running
            web.2 n1 shutdown -> shutdown
            web.2 n2 running -> running"#]],
    );
}

#[test]
fn what_did_not_outlive_the_silence_is_replaced_by_what_was_begun() {
    check(
        "
        node n1
        node n2
        service web replicas=2
        run
        hang web.2
        silence n2
        step 3s
        wake n2
        run
        lose-at web.2 n2
        heal web.2
        run
        ps web
        ",
        expect![[r#"
            web.1 n1 running -> running
            web.2 n1 running -> running
            web.2 n2 orphaned -> shutdown"#]],
    );
}

#[test]
fn a_task_is_given_up_once_its_replacement_takes_traffic() {
    check(
        "
        node n1
        node n2
        service web replicas=2
        run
        warm web.2
        silence n2
        step 3s
        ps web
        ready web.2
        run
        ps web
        ",
        expect![[r#"
            web.1 n1 running -> running
            web.2 n1 running -> running
            web.2 n2 running -> running
            web.1 n1 running -> running
            web.2 n1 running -> running
            web.2 n2 running -> shutdown"#]],
    );
}

#[test]
fn a_replacement_that_finds_no_room_goes_when_the_node_is_back() {
    check(
        "
        node n1 cpus=1
        node n2 cpus=1
        service web replicas=2 cpu=0.6
        service shop hostport=80:80 max-per-node=1 replicas=2
        run
        silence n2
        step 3s
        ps web
        ps shop
        wake n2
        run
        step 1s
        ps web
        ps shop
        ",
        expect![[r#"
            web.1 n1 running -> running
            web.2 - pending -> running: no suitable node (1 node not available for new tasks; insufficient resources on 1 node)
            web.2 n2 running -> running
            shop.1 n1 running -> running
            shop.2 - pending -> running: no suitable node (1 node not available for new tasks; host-mode port already in use on 1 node)
            shop.2 n2 running -> running
            web.1 n1 running -> running
            web.2 n2 running -> running
            shop.1 n1 running -> running
            shop.2 n2 running -> running"#]],
    );
}

#[test]
fn a_replacement_that_failed_is_not_made_again_when_the_node_is_back() {
    check(
        "
        node n1
        node n2
        service web replicas=2 delay=1s
        run
        fail web.2
        silence n2
        step 5s
        wake n2
        heal web.2
        step 1s
        ps web
        ",
        expect![[r#"
            web.1 n1 running -> running
            web.2 n1 ready -> ready
            web.2 n1 failed -> shutdown
            web.2 n1 failed -> shutdown
            web.2 n2 running -> running"#]],
    );
}

#[test]
fn scaling_down_takes_what_is_away_first() {
    check(
        "
        node n1
        node n2
        service web replicas=4
        run
        hang web.2
        hang web.4
        silence n2
        step 3s
        scale web 2
        run
        ps web
        wake n2
        run
        step 1s
        ps web
        ",
        expect![[r#"
            web.1 n1 running -> running
            web.2 n2 running -> remove
            web.3 n1 running -> running
            web.4 n2 running -> remove
            web.1 n1 running -> running
            web.3 n1 running -> running"#]],
    );
}

#[test]
fn a_global_service_goes_on_where_it_was() {
    check(
        "
        node n1
        node n2
        service agent global image=a
        run
        silence n2
        step 3s
        ps agent
        wake n2
        run
        step 1s
        ps agent
        say what was updated meanwhile is not kept
        silence n2
        step 3s
        update agent image=b
        run
        step 20s
        ps agent
        wake n2
        run
        step 1s
        ps agent
        ",
        expect![[r#"
            agent n1 running -> running image a
            agent n2 running -> running image a
            agent n1 running -> running image a
            agent n2 running -> running image a
            -- what was updated meanwhile is not kept
            agent n1 running -> running image b
            agent n1 shutdown -> shutdown image a
            agent n2 running -> shutdown image a
            agent n1 running -> running image b
            agent n1 shutdown -> shutdown image a
            agent n2 running -> running image b
            agent n2 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn what_an_update_would_replace_is_given_up_at_once() {
    check(
        "
        node n1
        node n2
        service web replicas=2 image=a order=start-first
        run
        hang web.2@a
        silence n2
        step 3s
        ps web
        update web image=b
        run
        ps web
        ",
        expect![[r#"
            web.1 n1 running -> running image a
            web.2 n1 preparing -> running image a
            web.2 n2 running -> running image a
            web.1 n1 running -> running image a
            web.2 n1 running -> running image b
            web.2 n1 shutdown -> shutdown image a
            web.2 n2 running -> shutdown image a"#]],
    );
}

#[test]
fn while_an_update_is_paused_old_tasks_stay_wanted() {
    check(
        "
        node n1
        node n2
        service web replicas=2 image=a
        run
        update web image=b
        plan
        pause-update web
        run
        ps web
        hang web.2
        silence n2
        step 3s
        ps web
        wake n2
        run
        step 1s
        ps web
        ",
        expect![[r#"
            web.1 n1 running -> running image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n2 running -> running image a
            web.1 n1 running -> running image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 preparing -> running image a
            web.2 n2 running -> running image a
            web.1 n1 running -> running image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 shutdown -> shutdown image a
            web.2 n2 running -> running image a"#]],
    );
}

#[test]
fn a_node_that_is_drained_while_it_is_silent_keeps_nothing() {
    check(
        "
        node n1
        node n2
        service web replicas=2
        run
        hang web.2
        silence n2
        step 3s
        drain n2
        run
        ps web
        ",
        expect![[r#"
            web.1 n1 running -> running
            web.2 n1 preparing -> running
            web.2 n2 running -> shutdown"#]],
    );
}

#[test]
fn two_silent_nodes_leave_one_task_in_the_end() {
    check(
        "
        node n1
        node n2
        node n3
        service web replicas=1
        run
        hang web.1
        silence n1
        step 3s
        silence n2
        step 3s
        ps web
        wake n1
        wake n2
        run
        step 1s
        ps web
        ",
        expect![[r#"
            web.1 n3 preparing -> running
            web.1 n2 preparing -> shutdown
            web.1 n1 running -> running
            web.1 n3 shutdown -> shutdown
            web.1 n2 shutdown -> shutdown
            web.1 n1 running -> running"#]],
    );
}

#[test]
fn a_job_goes_on_where_it_was() {
    check(
        "
        node n1
        node n2
        service job completions=2
        run
        hang job.2
        silence n2
        step 3s
        ps job
        wake n2
        run
        step 1s
        ps job
        finish job.2 n2
        run
        finish job.1 n1
        run
        runs job
        ",
        expect![[r#"
            job.1 n1 running -> running
            job.2 n1 preparing -> running
            job.2 n2 running -> running
            job.1 n1 running -> running
            job.2 n1 shutdown -> shutdown
            job.2 n2 running -> running
            run 1 created succeeded after 4s: 2 done, 0 failed, exit code 0"#]],
    );
}

#[test]
fn what_a_job_has_done_on_a_silent_node_counts_when_it_is_told() {
    check(
        "
        node n1
        node n2
        service job completions=2
        run
        hang job.2
        silence n2
        step 3s
        wake n2
        finish job.2 n2
        run
        ps job
        ",
        expect![[r#"
            job.1 n1 running -> running
            job.2 n1 shutdown -> shutdown
            job.2 n2 complete -> shutdown"#]],
    );
}

#[test]
fn a_node_that_was_away_for_long_is_given_the_same_time_to_say_what_it_runs() {
    check(
        "
        node n1
        node n2
        service web replicas=2
        run
        hang web.2
        silence n2
        step 20s
        wake n2
        run
        ps web
        step 1s
        ps web
        ",
        expect![[r#"
            web.1 n1 running -> running
            web.2 n1 preparing -> running
            web.2 n2 running -> running
            web.1 n1 running -> running
            web.2 n1 shutdown -> shutdown
            web.2 n2 running -> running"#]],
    );
}

#[test]
fn a_replacement_that_waits_is_not_let_run_beside_a_task_that_is_back() {
    check(
        "
        node n1
        node n2
        service web replicas=2 delay=2s
        run
        fail web.2
        silence n2
        step 3s
        heal web.2
        ps web
        step 1.5s
        say its node is back half a second before the next try is due
        wake n2
        run
        step 0.5s
        ps web
        step 0.5s
        ps web
        ",
        expect![[r#"
            web.1 n1 running -> running
            web.2 n1 ready -> ready
            web.2 n1 failed -> shutdown
            web.2 n2 running -> running
            -- its node is back half a second before the next try is due
            web.1 n1 running -> running
            web.2 n1 ready -> ready
            web.2 n1 failed -> shutdown
            web.2 n2 running -> running
            web.1 n1 running -> running
            web.2 n1 failed -> shutdown
            web.2 n1 shutdown -> shutdown
            web.2 n2 running -> running"#]],
    );
}
