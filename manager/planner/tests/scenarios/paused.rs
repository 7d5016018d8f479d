//! An update that has paused: what goes on, and what does not.

use crate::support::check;
use expect_test::expect;

#[test]
fn a_paused_update_stays_so_when_the_service_is_scaled_and_can_be_taken_back() {
    check(
        "
        node n1
        service web replicas=2 image=a monitor=2s delay=1s
        run
        fail web.1@b
        update web image=b
        step 5s
        services
        scale web 3
        update web parallelism=2
        step 60s
        services
        rollback web
        step 60s
        say back, and as many as were asked for
        services
        ps web
        ",
        expect![[r#"
            web [Paused: update paused due to failure or early termination]
            web [Paused: update paused due to failure or early termination]
            -- back, and as many as were asked for
            web [RollbackCompleted: rollback completed]
            web.1 n1 running -> running image a
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.2 n1 running -> running image a
            web.3 n1 running -> running image a
            web.3 n1 shutdown -> shutdown image b"#]],
    );
}
