//! From one spec to the next, and back.

use crate::support::check;
use expect_test::expect;

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
fn a_task_counts_from_when_it_takes_traffic() {
    check(
        "
        node n1
        service web replicas=2 image=a monitor=2s order=start-first
        run
        warm web@b
        update web image=b
        step 60s
        say the old ones serve until the new one does
        ps web
        ready web@b
        run
        ps web
        step 1s
        say the next begins when it did so for the monitor time
        ps web
        step 1s
        ps web
        ",
        expect![[r#"
            -- the old ones serve until the new one does
            web.1 n1 running -> running image b
            web.1 n1 running -> running image a
            web.2 n1 running -> running image a
            web.1 n1 running -> running image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 running -> running image a
            -- the next begins when it did so for the monitor time
            web.1 n1 running -> running image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 running -> running image a
            web.1 n1 running -> running image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 running -> running image b
            web.2 n1 shutdown -> shutdown image a"#]],
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
            web.1 - pending -> ready image b: crash loop: failed 3 times in a row, starts again at 00:16:47 UTC; last: rejected
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
            web.1 - pending -> ready image b: crash loop: failed 4 times in a row, starts again at 00:16:56 UTC; last: failed
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

#[test]
fn an_update_that_starts_first_has_two_tasks_a_slot_and_no_third() {
    check(
        "
        node n1
        service web image=a order=start-first monitor=0s
        run
        linger web.1
        update web image=b
        run
        update web image=c
        step 5s
        ps web
        end web.1
        step 5s
        ps web
        ",
        expect![[r#"
            web.1 n1 ready -> ready image c
            web.1 n1 running -> running image b
            web.1 n1 running -> shutdown image a
            web.1 n1 running -> running image c
            web.1 n1 shutdown -> shutdown image b
            web.1 n1 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn a_task_that_ends_after_its_monitor_time_is_no_failure_of_the_update() {
    check(
        "
        node n1
        service web replicas=3 image=a delay=0s monitor=2s update-delay=10s
        run
        update web image=b
        step 5s
        kill web.1
        run
        services
        say within the monitor time it is one
        step 1s
        kill web.2
        run
        services
        ",
        expect![[r#"
            web [Updating: update in progress]
            -- within the monitor time it is one
            web [Paused: update paused due to failure or early termination]"#]],
    );
}

#[test]
fn an_update_that_starts_first_and_never_succeeds_slows_down_and_keeps_a_history() {
    check(
        "
        history 100
        node n1
        service web replicas=2 image=a monitor=1s order=start-first on-failure=continue deadline=0s
        run
        fail web.1@b
        update web image=b
        step 130s
        say every five seconds would be 26
        ps web
        history 5
        step 600s
        say the first one counts, whatever came after it
        services
        ps web
        ",
        expect![[r#"
            -- every five seconds would be 26
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 running -> running image a
            web.2 n1 running -> running image b
            web.2 n1 shutdown -> shutdown image a
            -- the first one counts, whatever came after it
            web [Updating: update in progress]
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 running -> running image a
            web.2 n1 running -> running image b
            web.2 n1 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn an_update_goes_on_where_little_history_is_kept() {
    check(
        "
        history 1
        node n1
        service web replicas=3 image=a monitor=1s order=start-first on-failure=continue deadline=0s
        run
        fail web.1@b
        fail web.2@b
        update web image=b
        step 600s
        services
        ps web
        heal web.1@b
        heal web.2@b
        step 70s
        services
        ps web
        ",
        expect![[r#"
            web [Updating: update in progress]
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 running -> running image a
            web.2 n1 failed -> shutdown image b
            web.2 n1 failed -> shutdown image b
            web.2 n1 running -> running image a
            web.3 n1 running -> running image b
            web.3 n1 shutdown -> shutdown image a
            web [Completed: update completed]
            web.1 n1 running -> running image b
            web.2 n1 running -> running image b
            web.3 n1 running -> running image b"#]],
    );
}

#[test]
fn nothing_is_changed_before_it_is_agreed_that_an_update_is_under_way() {
    check(
        "
        node n1
        service web image=a
        service db image=a order=start-first
        run
        update web image=b
        update db image=b
        pass
        services
        ps web
        ps db
        pass
        say and then
        ps web
        ps db
        ",
        expect![[r#"
            web [Updating: update in progress]
            db [Updating: update in progress]
            web.1 n1 running -> running image a
            db.1 n1 running -> running image a
            -- and then
            web.1 n1 assigned -> ready image b
            web.1 n1 running -> shutdown image a
            db.1 n1 running -> running image a
            db.1 n1 assigned -> running image b"#]],
    );
}

#[test]
fn an_update_of_what_waits_to_be_started_again_is_watched_too() {
    check(
        "
        node n1
        service web image=a monitor=2s
        fail web.1
        step 20s
        ps web
        update web image=b
        step 1s
        services
        ps web
        ",
        expect![[r#"
            web.1 - pending -> ready image a: crash loop: failed 3 times in a row, starts again at 00:17:16 UTC; last: failed
            web.1 n1 failed -> shutdown image a
            web.1 n1 failed -> shutdown image a
            web.1 n1 failed -> shutdown image a
            web [Paused: update paused due to failure or early termination]
            web.1 n1 ready -> ready image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image a
            web.1 n1 failed -> shutdown image a
            web.1 n1 failed -> shutdown image a"#]],
    );
}

#[test]
fn a_node_that_returns_to_a_global_service_is_no_update() {
    check(
        "
        node n1
        node n2
        service agent global image=a monitor=5s
        run
        drain n2
        run
        update agent image=b
        step 6s
        active n2
        run
        services
        ps agent
        ",
        expect![[r#"
            agent [Completed: update completed]
            agent n1 running -> running image b
            agent n1 shutdown -> shutdown image a
            agent n2 running -> running image b
            agent n2 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn what_its_node_lost_is_no_failure_of_an_update() {
    check(
        "
        node n1
        service web replicas=2 image=a monitor=2s delay=1s
        step 1s
        update web image=b
        run
        say the node is started anew right after the first start
        step 1s
        lose web.1
        run
        ps web
        say what then fails is one
        kill web.1
        step 10s
        services
        ps web
        ",
        expect![[r#"
            -- the node is started anew right after the first start
            web.1 n1 running -> running image b
            web.1 n1 orphaned -> shutdown image b: task: lost
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 running -> running image a
            -- what then fails is one
            web [Paused: update paused due to failure or early termination]
            web.1 n1 running -> running image b
            web.1 n1 failed -> shutdown image b: task: non-zero exit (137)
            web.1 n1 orphaned -> shutdown image b: task: lost
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 running -> running image a"#]],
    );
}
