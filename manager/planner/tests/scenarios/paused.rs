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
            web.1 n1 failed -> shutdown image b
            web.2 n1 running -> running image a
            web.3 n1 running -> running image a
            web.3 n1 shutdown -> shutdown image b"#]],
    );
}

#[test]
fn a_paused_update_goes_on_when_it_is_asked_for_again_as_it_is() {
    check(
        "
        node n1
        service web replicas=2 image=a monitor=2s
        run
        fail web.1@b
        update web image=b
        step 5s
        services
        heal web.1@b
        update web
        step 60s
        services
        ps web
        ",
        expect![[r#"
            web [Paused: update paused due to failure or early termination]
            web [Completed: update completed]
            web.1 n1 running -> running image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 running -> running image b
            web.2 n1 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn an_old_task_that_ends_while_an_update_is_paused_comes_back_as_it_was() {
    check(
        "
        node n1
        service web replicas=3 image=a monitor=2s delay=2s attempts=2
        run
        fail web.1@b
        update web image=b
        step 5s
        services
        kill web.2
        run
        say with the delay of its own policy
        ps web
        step 2s
        ps web
        fail web.3
        kill web.3
        step 120s
        say and as often as that allows
        ps web
        heal web.1@b
        heal web.3
        update web image=c
        step 60s
        services
        count web
        ",
        expect![[r#"
            web [Paused: update paused due to failure or early termination]
            -- with the delay of its own policy
            web.1 - pending -> ready image b: crash loop: failed 2 times in a row, starts again at 00:16:47 UTC; last: failed
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 ready -> ready image a
            web.2 n1 failed -> shutdown image a: task: non-zero exit (137)
            web.3 n1 running -> running image a
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 running -> running image a
            web.2 n1 failed -> shutdown image a: task: non-zero exit (137)
            web.3 n1 running -> running image a
            -- and as often as that allows
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 running -> running image a
            web.2 n1 failed -> shutdown image a: task: non-zero exit (137)
            web.3 n1 failed -> shutdown image a
            web.3 n1 failed -> shutdown image a
            web.3 n1 failed -> shutdown image a: task: non-zero exit (137)
            web [Completed: update completed]
            n1: 3"#]],
    );
}

#[test]
fn a_paused_update_keeps_old_tasks_where_a_node_is_lost() {
    check(
        "
        history 1
        node n1
        node n2
        service web replicas=2 image=a monitor=2s
        service agent global image=a monitor=2s
        run
        fail web@b
        fail agent@b
        update web image=b restart=none
        update agent image=b restart=none
        step 5s
        services
        ps web
        ps agent
        drain n1
        step 5s
        drain n2
        active n1
        step 5s
        active n2
        step 5s
        say the old are moved, the failed ones tell of themselves
        ps web
        ps agent
        ",
        expect![[r#"
            web [Paused: update paused due to failure or early termination]
            agent [Paused: update paused due to failure or early termination]
            web.1 n1 failed -> shutdown image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n2 running -> running image a
            agent n1 failed -> shutdown image b
            agent n1 shutdown -> shutdown image a
            agent n2 running -> running image a
            -- the old are moved, the failed ones tell of themselves
            web.1 n1 failed -> shutdown image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 running -> running image a
            web.2 n2 shutdown -> shutdown image a
            agent n1 failed -> shutdown image b
            agent n1 shutdown -> shutdown image a
            agent n2 running -> running image a
            agent n2 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn a_paused_update_uses_the_new_template_where_the_old_cannot_be_had() {
    check(
        "
        node n1 label=zone=a
        node n2 label=zone=a
        network front
        service web replicas=2 image=a net=front monitor=2s
        service agent global image=a constraint=node.labels.zone==a monitor=2s
        run
        fail web@b
        fail agent@b
        update web image=b no-net
        update agent image=b no-constraints
        step 5s
        services
        heal web@b
        heal agent@b
        label n1 zone=b
        label n2 zone=b
        kill web.2
        kill agent@n2
        rm-network front
        step 20s
        services
        ps web
        ps agent
        ",
        expect![[r#"
            web [Paused: update paused due to failure or early termination]
            agent [Paused: update paused due to failure or early termination]
            web [Paused: update paused due to failure or early termination]
            agent [Paused: update paused due to failure or early termination]
            web.1 n1 running -> running image b
            web.1 n1 failed -> shutdown image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n2 running -> running image b
            web.2 n2 failed -> shutdown image a: task: non-zero exit (137)
            agent n1 running -> running image b
            agent n1 failed -> shutdown image b
            agent n1 shutdown -> shutdown image a
            agent n2 running -> running image b
            agent n2 failed -> shutdown image a: task: non-zero exit (137)"#]],
    );
}

#[test]
fn a_paused_update_stays_so_when_only_the_restart_policy_is_changed() {
    check(
        "
        node n1
        service web replicas=3 image=a monitor=2s delay=1s
        run
        update web image=b
        step 1s
        pause-update web
        run
        update web max-delay=30s
        step 20s
        services
        update web spread=node.labels.zone
        step 20s
        services
        ",
        expect![[r#"
            web [Paused: update paused on request]
            web [Completed: update completed]"#]],
    );
}
