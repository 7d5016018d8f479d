//! What follows a task that ended.

use crate::support::check;
use expect_test::expect;

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
            web.1 - pending -> ready: crash loop: failed 3 times in a row, starts again at 00:16:55 UTC; last: failed
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
            web.1 - pending -> ready: crash loop: failed 12 times in a row, starts again at 00:23:30 UTC; last: failed
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown"#]],
    );
}

#[test]
fn a_replacement_waits_until_the_old_task_has_stopped() {
    check(
        "
        node n1
        service db
        run
        linger db.1
        scale db 0
        run
        scale db 1
        step 30s
        say scaled down and up again
        ps db
        end db.1
        step 10s
        ps db
        ",
        expect![[r#"
            -- scaled down and up again
            db.1 n1 ready -> ready
            db.1 n1 running -> remove
            db.1 n1 running -> running"#]],
    );
}

#[test]
fn a_replacement_waits_out_the_grace_period_of_the_old_task() {
    check(
        "
        node n1
        service quick
        service slow grace=300s
        run
        linger quick.1
        linger slow.1
        update quick image=b
        update slow image=b
        step 59s
        ps quick
        step 2s
        say a task that never stops is not waited for for ever
        ps quick
        ps slow
        step 260s
        ps slow
        step 10s
        ps slow
        ",
        expect![[r#"
            quick.1 n1 ready -> ready image b
            quick.1 n1 running -> shutdown
            -- a task that never stops is not waited for for ever
            quick.1 n1 running -> running image b
            quick.1 n1 running -> shutdown
            slow.1 n1 ready -> ready image b
            slow.1 n1 running -> shutdown
            slow.1 n1 ready -> ready image b
            slow.1 n1 running -> shutdown
            slow.1 n1 running -> running image b
            slow.1 n1 running -> shutdown"#]],
    );
}

#[test]
fn an_update_that_overtakes_another_waits_for_what_that_stops() {
    check(
        "
        node n1
        service db image=a
        run
        linger db.1
        update db image=b cpu=64
        run
        say the one in between found no node
        update db image=c cpu=1
        step 5s
        ps db
        end db.1
        step 5s
        ps db
        ",
        expect![[r#"
            -- the one in between found no node
            db.1 n1 ready -> ready image c
            db.1 n1 running -> shutdown image a
            db.1 n1 running -> running image c
            db.1 n1 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn a_task_lost_by_a_restart_of_its_node_is_replaced_whatever_the_policy() {
    check(
        "
        node n1
        service once restart=none
        service tried attempts=1 delay=5s
        run
        kill tried.1
        step 5s
        say the node is started anew before anybody missed it
        lose once.1
        lose tried.1
        run
        ps once
        ps tried
        say what it does by itself counts as before
        kill once.1
        kill tried.1
        step 60s
        ps once
        ps tried
        ",
        expect![[r#"
            -- the node is started anew before anybody missed it
            once.1 n1 running -> running
            once.1 n1 orphaned -> shutdown: task: lost
            tried.1 n1 running -> running
            tried.1 n1 orphaned -> shutdown: task: lost
            tried.1 n1 failed -> shutdown: task: non-zero exit (137)
            -- what it does by itself counts as before
            once.1 n1 failed -> shutdown: task: non-zero exit (137)
            once.1 n1 orphaned -> shutdown: task: lost
            tried.1 n1 failed -> shutdown: task: non-zero exit (137)
            tried.1 n1 orphaned -> shutdown: task: lost
            tried.1 n1 failed -> shutdown: task: non-zero exit (137)"#]],
    );
}

#[test]
fn a_task_that_its_node_gives_up_after_long_goes_to_another() {
    check(
        "
        node n1
        node n2
        service busy replicas=2 constraint=node.hostname==n2
        service web delay=1s
        service alone constraint=node.hostname==n1 delay=1s
        hang web.1
        hang alone.1
        run
        step 190s
        ps web
        ps alone
        give-up web.1
        give-up alone.1
        heal web.1
        heal alone.1
        step 10s
        ps web
        say where there is but one node it is tried again there
        ps alone
        ",
        expect![[r#"
            web.1 n1 preparing -> running
            alone.1 n1 preparing -> running
            web.1 n2 running -> running
            web.1 n1 rejected -> shutdown: no registry
            -- where there is but one node it is tried again there
            alone.1 n1 running -> running
            alone.1 n1 rejected -> shutdown: no registry"#]],
    );
}
