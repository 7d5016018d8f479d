//! Updates that get no further, and those that somebody halts and lets go on.

use crate::support::check;
use expect_test::expect;

#[test]
fn an_update_that_gets_no_further_pauses_and_says_which_task_keeps_it() {
    check(
        "
        node n1
        service web replicas=2 image=a monitor=2s
        service slow replicas=2 image=a monitor=2s deadline=90s on-failure=continue
        service ever image=a deadline=0s
        run
        hang slow.1@b
        hang ever.1@b
        update web image=b cpu=64
        update slow image=b
        update ever image=b
        step 89s
        services
        step 3s
        services
        step 510s
        services
        ps web
        wakes
        ",
        expect![[r#"
            web [Updating: update in progress]
            ever [Updating: update in progress]
            slow [Updating: update in progress]
            web [Updating: update in progress]
            ever [Updating: update in progress]
            slow [Paused: update paused after 90s without progress: slow.1 is preparing]
            web [Paused: update paused after 10m without progress: web.1 is pending: no suitable node (insufficient resources on 1 node)]
            ever [Updating: update in progress]
            slow [Paused: update paused after 90s without progress: slow.1 is preparing]
            web.1 - pending -> running image b: no suitable node (insufficient resources on 1 node)
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 running -> running image a
            wakes in 3000 ms"#]],
    );
}

#[test]
fn an_update_that_gets_no_further_is_rolled_back_if_the_service_says_so() {
    check(
        "
        node n1
        service web replicas=2 image=a monitor=2s on-failure=rollback deadline=30s rollback-deadline=20s
        run
        update web image=b cpu=64
        step 31s
        services
        step 10s
        services
        ps web
        say nor does a rollback wait for ever
        update web image=c
        step 20s
        hang web@b
        rollback web
        hang web@a
        step 30s
        services
        ",
        expect![[r#"
            web [RollbackCompleted: rollback completed]
            web [RollbackCompleted: rollback completed]
            web.1 n1 running -> running image a
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 running -> running image a
            -- nor does a rollback wait for ever
            web [RollbackPaused: rollback paused after 20s without progress: web.1 is preparing]"#]],
    );
}

#[test]
fn waits_that_a_service_asks_for_are_no_lack_of_progress() {
    check(
        "
        node n1
        service web replicas=3 image=a monitor=60s deadline=10s grace=100s
        run
        linger web.2
        update web image=b
        step 125s
        services
        say its old task has its time to stop
        step 100s
        services
        step 30s
        services
        ",
        expect![[r#"
            web [Updating: update in progress]
            -- its old task has its time to stop
            web [Updating: update in progress]
            web [Updating: update in progress]"#]],
    );
}

#[test]
fn an_update_that_was_held_up_by_the_managers_goes_on() {
    check(
        "
        node n1
        service web replicas=3 image=a monitor=2s deadline=10s
        run
        update web image=b
        run
        skip 3600s
        leader
        step 20s
        services
        ",
        expect!["web [Completed: update completed]"],
    );
}

#[test]
fn time_in_which_no_manager_led_is_no_lack_of_progress() {
    check(
        "
        node n1
        service web image=a monitor=2s deadline=30s on-failure=rollback
        service db image=a monitor=2s deadline=30s
        run
        hang web.1@b
        hang db.1@b
        update web image=b
        update db image=b
        run
        say it is prepared while there is no leader
        heal web.1@b
        leaderless 60s
        services
        step 31s
        services
        ",
        expect![[r#"
            -- it is prepared while there is no leader
            web [Updating: update in progress]
            db [Updating: update in progress]
            web [Completed: update completed]
            db [Paused: update paused after 30s without progress: db.1 is preparing]"#]],
    );
}

#[test]
fn a_task_that_comes_to_run_is_progress_and_one_that_does_so_again_is_none() {
    check(
        "
        node n1
        service web image=a monitor=2s deadline=30s
        service db image=a monitor=2s deadline=30s order=start-first on-failure=continue
        run
        hang web.1@b
        warm web@b
        fail db@b
        update web image=b
        update db image=b
        step 28s
        heal web.1@b
        step 3s
        say web warms up for as long as another deadline, db fails again and again
        services
        step 30s
        services
        ",
        expect![[r#"
            -- web warms up for as long as another deadline, db fails again and again
            web [Updating: update in progress]
            db [Paused: update paused after 30s without progress: db.1 failed]
            web [Paused: update paused after 30s without progress: web.1 is running]
            db [Paused: update paused after 30s without progress: db.1 failed]"#]],
    );
}

#[test]
fn an_update_is_halted_and_goes_on_when_it_is_told_to() {
    check(
        "
        node n1
        service web replicas=4 image=a monitor=2s delay=1s
        run
        update web image=b
        step 3s
        pause-update web
        pause-update web
        step 60s
        services
        say what ends is what it was
        kill web.1
        kill web.4
        step 5s
        ps web
        resume-update web
        resume-update web
        step 30s
        services
        count web
        pause-update web
        ",
        expect![[r#"
            refused: service web: its update is paused already
            web [Paused: update paused on request]
            -- what ends is what it was
            web.1 n1 running -> running image b
            web.1 n1 failed -> shutdown image b: task: non-zero exit (137)
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 running -> running image b
            web.2 n1 shutdown -> shutdown image a
            web.3 n1 running -> running image a
            web.4 n1 running -> running image a
            web.4 n1 failed -> shutdown image a: task: non-zero exit (137)
            refused: service web: its update is under way already
            web [Completed: update completed]
            n1: 4
            refused: service web: no update of it is under way"#]],
    );
}

#[test]
fn failures_and_time_from_before_an_update_was_let_go_on_count_no_more() {
    check(
        "
        node n1
        service web replicas=4 image=a monitor=2s ratio=0.3 deadline=60s restart=none
        run
        fail web.1@b
        fail web.2@b
        update web image=b
        step 10s
        services
        heal web.1@b
        heal web.2@b
        step 120s
        resume-update web
        step 1s
        services
        fail web.3@b
        step 30s
        services
        ps web
        ",
        expect![[r#"
            web [Paused: update paused due to failure or early termination]
            web [Updating: update in progress]
            web [Completed: update completed]
            web.1 n1 failed -> shutdown image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 failed -> shutdown image b
            web.2 n1 shutdown -> shutdown image a
            web.3 n1 failed -> shutdown image b
            web.3 n1 shutdown -> shutdown image a
            web.4 n1 running -> running image b
            web.4 n1 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn the_share_that_may_fail_is_one_of_the_tasks_that_are_changed() {
    check(
        "
        node n1 label=zone=a
        node n2 label=zone=b
        service web replicas=8 image=a monitor=2s ratio=0.2 restart=none
        run
        update web constraint=node.labels.zone==a
        run
        say the first of four that move, of eight
        ps web
        fail web.2
        step 5s
        services
        ",
        expect![[r#"
            -- the first of four that move, of eight
            web.1 n1 running -> running image a
            web.2 n1 running -> running image a
            web.2 n2 shutdown -> shutdown image a
            web.3 n1 running -> running image a
            web.4 n2 running -> running image a
            web.5 n1 running -> running image a
            web.6 n2 running -> running image a
            web.7 n1 running -> running image a
            web.8 n2 running -> running image a
            web [Paused: update paused due to failure or early termination]"#]],
    );
}

#[test]
fn an_update_that_starts_first_takes_the_room_of_the_old_task_where_there_is_no_other() {
    check(
        "
        node n1 cpus=2
        node n2 cpus=2
        service web replicas=2 image=a cpu=2 monitor=2s order=start-first
        service agent global image=a cpu=0 memory=5 monitor=2s order=start-first
        run
        linger web.1
        update web image=b
        update agent image=b
        run
        say one at a time, and no other than what makes room
        ps web
        step 10s
        end web.1
        step 20s
        services
        ps web
        ps agent
        ",
        expect![[r#"
            -- one at a time, and no other than what makes room
            web.1 - pending -> running image b: no suitable node (insufficient resources on 2 nodes)
            web.1 n1 running -> shutdown image a
            web.2 n2 running -> running image a
            web [Completed: update completed]
            agent [Completed: update completed]
            web.1 n1 running -> running image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n2 running -> running image b
            web.2 n2 shutdown -> shutdown image a
            agent n1 running -> running image b
            agent n1 shutdown -> shutdown image a
            agent n2 running -> running image b
            agent n2 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn no_old_task_stops_for_a_new_one_that_finds_no_room_then_either() {
    check(
        "
        node n1 cpus=5
        service web replicas=2 image=a cpu=2 monitor=2s order=start-first parallelism=2 deadline=60s
        service db image=a monitor=2s order=start-first
        run
        update web image=b cpu=3
        update db image=b constraint=node.role==manager
        run
        ps web
        say one has stopped for one, the room of the other is too little
        step 65s
        services
        ps web
        ps db
        ",
        expect![[r#"
            web.1 n1 running -> running image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 running -> running image a
            web.2 - pending -> running image b: no suitable node (insufficient resources on 1 node)
            -- one has stopped for one, the room of the other is too little
            web [Paused: update paused after 1m without progress: web.2 is pending: no suitable node (insufficient resources on 1 node)]
            db [Updating: update in progress]
            web.1 n1 running -> running image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 running -> running image a
            web.2 - pending -> running image b: no suitable node (insufficient resources on 1 node)
            db.1 n1 running -> running image a
            db.1 - pending -> running image b: no suitable node (scheduling constraints not satisfied on 1 node)"#]],
    );
}

#[test]
fn a_rollback_goes_by_its_own_order() {
    check(
        "
        node n1
        service web image=a monitor=2s rollback-order=start-first max-per-node=1
        run
        update web image=b
        step 10s
        rollback web
        step 10s
        services
        ps web
        ",
        expect![[r#"
            web [RollbackCompleted: rollback completed]
            web.1 n1 running -> running image a
            web.1 n1 shutdown -> shutdown image b
            web.1 n1 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn a_global_service_that_moves_serves_until_it_is_up_elsewhere_and_leaves_one_node_at_a_time() {
    check(
        "
        node n1 label=zone=a
        node n2 label=zone=a
        node n3 label=zone=b
        service agent global image=a monitor=2s constraint=node.labels.zone==a
        service hung global image=a monitor=2s deadline=60s constraint=node.labels.zone==a
        service slow global image=a monitor=2s constraint=node.labels.zone!=b
        run
        hang agent@a
        hang hung@a
        linger slow@n1
        update agent no-constraints constraint=node.labels.zone==b
        update hung no-constraints constraint=node.labels.zone==b
        update slow constraint=node.labels.zone!=a
        run
        say while it is prepared there, and while the first one stops
        ps agent
        ps slow
        heal agent@a
        step 1s
        ps agent
        say then it goes
        step 2s
        ps agent
        step 59s
        services
        ps slow
        ",
        expect![[r#"
            -- while it is prepared there, and while the first one stops
            agent n1 running -> running image a
            agent n2 running -> running image a
            agent n3 preparing -> running image a
            slow n1 running -> shutdown image a
            slow n2 running -> running image a
            agent n1 running -> running image a
            agent n2 running -> running image a
            agent n3 running -> running image a
            -- then it goes
            agent n1 shutdown -> shutdown image a
            agent n2 shutdown -> shutdown image a
            agent n3 running -> running image a
            agent [Completed: update completed]
            slow [Completed: update completed]
            hung [Paused: update paused after 1m without progress: hung.n3 is preparing]
            slow n1 running -> shutdown image a
            slow n2 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn what_an_update_that_is_taken_back_has_begun_is_no_second_task() {
    check(
        "
        node n1 cpus=1 label=zone=a
        node n2 cpus=2
        service web replicas=2 cpu=1 order=start-first on-failure=rollback
        run
        update web constraint=node.labels.zone==a
        run
        ps web
        step 601s
        services
        ps web
        ",
        expect![[r#"
            web.1 n1 running -> running
            web.2 n2 running -> running
            web.2 - pending -> running: no suitable node (insufficient resources on 1 node; scheduling constraints not satisfied on 1 node)
            web [RollbackCompleted: rollback completed]
            web.1 n1 running -> running
            web.2 n2 running -> running"#]],
    );
}
