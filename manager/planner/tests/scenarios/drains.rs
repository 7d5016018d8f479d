//! Tasks that have to leave nodes which answer: drained ones, and ones that changed.

use crate::support::check;
use expect_test::expect;

#[test]
fn a_drained_node_is_left_by_so_many_tasks_at_a_time_as_an_update_changes() {
    check(
        "
        node n1
        service web replicas=4 image=a monitor=2s
        service db replicas=1 image=a
        run
        node n2
        drain n1
        plan
        say one of each stops
        count web
        images web
        images db
        run
        images web
        step 1s
        images web
        say the next stops once the first was watched long enough
        step 1s
        ps web
        step 6s
        count web
        count db
        ",
        expect![[r#"
            -- one of each stops
            n1: 3
            n2: 1
            3 a

            4 a
            4 a
            -- the next stops once the first was watched long enough
            web.1 n2 running -> running image a
            web.1 n1 shutdown -> shutdown image a
            web.2 n2 running -> running image a
            web.2 n1 shutdown -> shutdown image a
            web.3 n1 running -> running image a
            web.4 n1 running -> running image a
            n1: 0
            n2: 4
            n1: 0
            n2: 1"#]],
    );
}

#[test]
fn a_drain_of_what_starts_first_never_has_fewer_tasks_serving() {
    check(
        "
        node n1
        service web replicas=3 image=a monitor=1s order=start-first parallelism=2
        run
        node n2
        warm web@a
        drain n1
        step 5s
        say they serve until the new ones do
        ps web
        ready web@a
        run
        ps web
        step 1s
        ready web@a
        run
        ps web
        ",
        expect![[r#"
            -- they serve until the new ones do
            web.1 n2 running -> running image a
            web.1 n1 running -> running image a
            web.2 n2 running -> running image a
            web.2 n1 running -> running image a
            web.3 n1 running -> running image a
            web.1 n2 running -> running image a
            web.1 n1 shutdown -> shutdown image a
            web.2 n2 running -> running image a
            web.2 n1 shutdown -> shutdown image a
            web.3 n1 running -> running image a
            web.1 n2 running -> running image a
            web.1 n1 shutdown -> shutdown image a
            web.2 n2 running -> running image a
            web.2 n1 shutdown -> shutdown image a
            web.3 n2 running -> running image a
            web.3 n1 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn a_try_beside_a_task_that_serves_is_made_again_after_a_while_and_leaves_a_history() {
    check(
        "
        history 1
        node n1
        service web replicas=2 parallelism=2 image=a monitor=1s order=start-first delay=1s
        run
        node n2
        step 1s
        warm web@a
        drain n1
        plan
        kill web.1
        step 4s
        ps web
        say it is tried again five seconds later, then after longer
        step 1s
        kill web.1
        step 6s
        ps web
        ready web@a
        step 30s
        ready web@a
        step 2s
        ps web
        ",
        expect![[r#"
            web.1 n2 failed -> shutdown image a: task: non-zero exit (137)
            web.1 n1 running -> running image a
            web.2 n2 running -> running image a
            web.2 n1 running -> running image a
            -- it is tried again five seconds later, then after longer
            web.1 n2 running -> running image a
            web.1 n2 failed -> shutdown image a: task: non-zero exit (137)
            web.1 n2 failed -> shutdown image a: task: non-zero exit (137)
            web.1 n1 running -> running image a
            web.2 n2 running -> running image a
            web.2 n1 running -> running image a
            web.1 n2 running -> running image a
            web.1 n2 failed -> shutdown image a: task: non-zero exit (137)
            web.1 n2 failed -> shutdown image a: task: non-zero exit (137)
            web.2 n2 running -> running image a"#]],
    );
}

#[test]
fn a_drain_that_finds_no_room_holds_until_its_deadline() {
    check(
        "
        node n1 cpus=4
        node n2 cpus=1
        service web replicas=3 cpu=1 monitor=1s
        run
        count web
        drain n1 600s
        step 500s
        count web
        why
        step 100s
        count web
        say a deadline of nothing is none at all
        active n1
        step 1s
        drain n1 0s
        plan
        count web
        ",
        expect![[r#"
            n1: 2
            n2: 1
            n1: 1
            n2: 1
            web.1: no suitable node (1 node not available for new tasks; insufficient resources on 1 node)
            n1: 0
            n2: 1
            -- a deadline of nothing is none at all
            n1: 0
            n2: 1"#]],
    );
}

#[test]
fn a_drain_that_is_called_off_keeps_what_serves() {
    check(
        "
        node n1
        service web replicas=2 monitor=1s order=start-first
        run
        node n2
        hang web.1
        drain n1
        step 3s
        ps web
        active n1
        run
        ps web
        say when both are to be left, one stays until the other was moved
        heal web.1
        drain n1
        step 2s
        node n3
        drain n2
        step 30s
        ps web
        ",
        expect![[r#"
            web.1 n2 preparing -> running
            web.1 n1 running -> running
            web.2 n1 running -> running
            web.1 n2 shutdown -> shutdown
            web.1 n1 running -> running
            web.2 n1 running -> running
            -- when both are to be left, one stays until the other was moved
            web.1 n3 running -> running
            web.1 n2 shutdown -> shutdown
            web.1 n2 shutdown -> shutdown
            web.1 n1 shutdown -> shutdown
            web.2 n3 running -> running
            web.2 n2 shutdown -> shutdown
            web.2 n1 shutdown -> shutdown"#]],
    );
}

#[test]
fn tasks_of_global_services_leave_a_drained_node_last() {
    check(
        "
        node n1
        service web replicas=2 monitor=5s
        service agent global
        run
        node n2
        drain n1
        step 4s
        ps web
        ps agent
        step 6s
        ps agent
        ",
        expect![[r#"
            web.1 n2 running -> running
            web.1 n1 shutdown -> shutdown
            web.2 n1 running -> running
            agent n1 running -> running
            agent n2 running -> running
            agent n1 shutdown -> shutdown
            agent n2 running -> running"#]],
    );
}

#[test]
fn a_drain_and_an_update_take_no_more_together_than_one_of_them() {
    check(
        "
        node n1
        node n2
        service web replicas=4 image=a monitor=2s
        run
        node n3
        drain n1
        plan
        update web image=b
        plan
        ps web
        step 1s
        images web
        step 2s
        images web
        step 30s
        images web
        count web
        services
        say nor does what is stuck in a drain keep an update that frees it
        node n4 cpus=2 label=pool=db
        node n5 cpus=1.5 label=pool=db
        service db replicas=3 cpu=1 image=a monitor=1s constraint=node.labels.pool==db
        run
        ps db
        drain n4
        step 30s
        ps db
        update db cpu=0.2 image=b
        step 30s
        services
        ps db
        ",
        expect![[r#"
            web.1 n3 assigned -> ready image b
            web.1 n3 assigned -> shutdown image a
            web.1 n1 running -> shutdown image a
            web.2 n2 running -> running image a
            web.3 n1 running -> running image a
            web.4 n2 running -> running image a
            3 a, 1 b
            2 a, 2 b
            4 b
            n1: 0
            n2: 2
            n3: 2
            web [Completed: update completed]
            -- nor does what is stuck in a drain keep an update that frees it
            db.1 n5 running -> running image a
            db.2 n4 running -> running image a
            db.3 n4 running -> running image a
            db.1 n5 running -> running image a
            db.2 - pending -> running image a: no suitable node (2 nodes not available for new tasks; scheduling constraints not satisfied on 2 nodes; insufficient resources on 1 node)
            db.2 n4 shutdown -> shutdown image a
            db.3 n4 running -> running image a
            web [Completed: update completed]
            db [Completed: update completed]
            db.1 n5 running -> running image b
            db.1 n5 shutdown -> shutdown image a
            db.2 n5 running -> running image b
            db.2 n4 shutdown -> shutdown image a
            db.3 n5 running -> running image b
            db.3 n4 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn a_label_that_goes_moves_tasks_one_after_the_other() {
    check(
        "
        node n1 label=disk=ssd
        service web replicas=3 monitor=1s constraint=node.labels.disk==ssd
        run
        node n2 label=disk=ssd
        label n1 disk=hdd
        run
        count web
        step 1s
        count web
        step 10s
        count web
        ",
        expect![[r#"
            n1: 2
            n2: 1
            n1: 1
            n2: 2
            n1: 0
            n2: 3"#]],
    );
}

#[test]
fn a_deadline_holds_whatever_else_is_wrong_with_a_node() {
    check(
        "
        node n1 label=disk=ssd
        service web replicas=3 monitor=1s constraint=node.labels.disk==ssd
        run
        label n1 disk=hdd
        drain n1 60s
        step 50s
        count web
        step 10s
        count web
        ",
        expect![[r#"
            n1: 2
            n1: 0"#]],
    );
}

#[test]
fn what_a_paused_update_left_as_it_was_is_moved_as_it_was() {
    check(
        "
        node n1
        service web replicas=3 image=a monitor=1s
        run
        update web image=b
        step 1s
        pause-update web
        run
        images web
        node n2
        drain n1
        step 30s
        count web
        images web
        services
        ",
        expect![[r#"
            2 a, 1 b
            n1: 0
            n2: 3
            2 a, 1 b
            web [Paused: update paused on request]"#]],
    );
}

#[test]
fn a_task_of_a_global_service_that_ends_on_a_paused_node_is_started_there_again() {
    check(
        "
        node n1
        node n2
        node n3
        service agent global image=a monitor=0s
        run
        pause n2
        pause n3
        update agent image=b
        run
        kill-on agent n2
        lose-on agent n3
        step 10s
        ps agent
        services
        node n4
        pause n4
        step 10s
        say one that never had one gets none
        count agent
        ",
        expect![[r#"
            agent n1 running -> running image b
            agent n1 shutdown -> shutdown image a
            agent n2 running -> running image a
            agent n2 failed -> shutdown image a: task: non-zero exit (137)
            agent n3 running -> running image a
            agent n3 orphaned -> shutdown image a: task: lost
            agent [Completed: update completed]
            -- one that never had one gets none
            n1: 1
            n2: 1
            n3: 1
            n4: 0"#]],
    );
}

#[test]
fn a_move_that_fails_elsewhere_holds_the_others_back() {
    check(
        "
        node n1
        service web replicas=4 monitor=1s delay=1s
        run
        node n2
        step 1s
        reject web.1
        drain n1
        run
        step 60s
        count web
        ps web
        heal web.1
        step 60s
        step 30s
        count web
        ",
        expect![[r#"
            n1: 3
            n2: 0
            web.1 - pending -> ready: crash loop: failed 6 times in a row, starts again at 00:17:43 UTC; last: rejected
            web.1 n2 rejected -> shutdown
            web.1 n2 rejected -> shutdown
            web.1 n2 rejected -> shutdown
            web.1 n2 rejected -> shutdown
            web.1 n2 rejected -> shutdown
            web.1 n2 rejected -> shutdown
            web.2 n1 running -> running
            web.3 n1 running -> running
            web.4 n1 running -> running
            n1: 0
            n2: 4"#]],
    );
}

#[test]
fn tasks_of_global_services_leave_after_jobs() {
    check(
        "
        node n1
        service agent global
        service scan global-job
        run
        drain n1
        run
        ps agent
        complete scan@n1
        finish scan n1
        run
        ps agent
        ",
        expect![[r#"
            agent n1 running -> running
            agent n1 shutdown -> shutdown"#]],
    );
}
