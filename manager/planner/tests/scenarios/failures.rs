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
