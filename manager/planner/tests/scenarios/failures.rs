//! What counts as a failure of an update.

use crate::support::check;
use expect_test::expect;

#[test]
fn a_task_that_fails_before_it_takes_traffic_or_soon_after_is_a_failure_however_long_it_warmed() {
    check(
        "
        node n1
        service web replicas=2 image=a monitor=5s
        service db replicas=2 image=a monitor=5s on-failure=rollback
        run
        warm web@b
        warm db@b
        update web image=b
        update db image=b
        step 10s
        kill web.1
        ready db@b
        step 1s
        kill db.1
        step 10s
        say web never took traffic, db for a second
        services
        ",
        expect![[r#"
            -- web never took traffic, db for a second
            web [Paused: update paused due to failure or early termination]
            db [RollbackCompleted: rollback completed]"#]],
    );
}

#[test]
fn an_update_that_is_let_go_on_is_not_done_while_what_it_made_before_is_in_a_crash_loop() {
    check(
        "
        node n1
        service web image=a monitor=2s delay=60s
        run
        fail web.1@b
        update web image=b
        step 5s
        services
        resume-update web
        step 10s
        services
        say what it makes from then on counts again
        step 110s
        services
        step 400s
        services
        heal web.1@b
        resume-update web
        step 500s
        services
        ",
        expect![[r#"
            web [Paused: update paused due to failure or early termination]
            web [Updating: update in progress]
            -- what it makes from then on counts again
            web [Updating: update in progress]
            web [Paused: update paused due to failure or early termination]
            web [Completed: update completed]"#]],
    );
}

#[test]
fn what_fails_after_a_first_try_was_drained_is_a_failure_however_few_tasks_are_kept() {
    check(
        "
        history 1
        node n1
        node n2
        service web replicas=2 image=a monitor=5s delay=1s
        service db replicas=3 image=a monitor=5s update-delay=400s delay=1s ratio=0.4
        run
        update web image=b
        update db image=b
        run
        ps web
        fail web@b
        fail db.1@b
        drain n1
        step 1s
        services
        say of db one of three may fail: it came up then, and ended once more later
        heal db.1@b
        step 10s
        kill db.1
        step 402s
        ps db
        kill db.2
        step 1s
        services
        ",
        expect![[r#"
            web.1 n1 running -> running image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n2 running -> running image a
            web [Paused: update paused due to failure or early termination]
            db [Updating: update in progress]
            -- of db one of three may fail: it came up then, and ended once more later
            db.1 n2 running -> running image b
            db.1 n2 failed -> shutdown image b: task: non-zero exit (137)
            db.1 n2 failed -> shutdown image b
            db.1 n1 shutdown -> shutdown image a
            db.1 n1 shutdown -> shutdown image b
            db.2 n2 running -> running image b
            db.2 n2 shutdown -> shutdown image a
            db.3 n2 running -> running image b
            db.3 n1 shutdown -> shutdown image a
            web [Paused: update paused due to failure or early termination]
            db [Paused: update paused due to failure or early termination]"#]],
    );
}

#[test]
fn an_update_that_starts_first_tries_as_often_as_the_restart_policy_says() {
    check(
        "
        history 20
        node n1
        service web image=a monitor=2s order=start-first on-failure=continue restart=none delay=1s deadline=120s
        service db image=a monitor=2s order=start-first on-failure=continue attempts=2 delay=1s deadline=120s
        run
        fail web@b
        fail db@b
        update web image=b
        update db image=b
        step 60s
        services
        ps web
        ps db
        say it tries again when it is told to
        heal web@b
        resume-update web
        step 3s
        services
        ",
        expect![[r#"
            web [Paused: update paused after the last try that the restart policy allows: web.1 failed]
            db [Paused: update paused after the last try that the restart policy allows: db.1 failed]
            web.1 n1 failed -> shutdown image b
            web.1 n1 running -> running image a
            db.1 n1 failed -> shutdown image b
            db.1 n1 failed -> shutdown image b
            db.1 n1 failed -> shutdown image b
            db.1 n1 running -> running image a
            -- it tries again when it is told to
            web [Completed: update completed]
            db [Paused: update paused after the last try that the restart policy allows: db.1 failed]"#]],
    );
}
