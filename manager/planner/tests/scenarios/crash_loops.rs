//! Tasks that fail again and again: how often, how soon, and what is seen of it.

use crate::support::check;
use expect_test::expect;

#[test]
fn a_crash_loop_shows_how_often_when_next_and_why() {
    check(
        "
        node n1
        service web delay=1s
        run
        kill web.1
        plan
        say once is no loop: the next one is prepared meanwhile
        ps web
        step 1s
        kill web.1
        plan
        ps web
        wakes
        step 2s
        say it starts when it said
        ps web
        ",
        expect![[r#"
            -- once is no loop: the next one is prepared meanwhile
            web.1 n1 assigned -> ready
            web.1 n1 failed -> shutdown: task: non-zero exit (137)
            web.1 - pending -> ready: crash loop: failed 2 times in a row, starts again at 00:16:43 UTC; last: task: non-zero exit (137)
            web.1 n1 failed -> shutdown: task: non-zero exit (137)
            web.1 n1 failed -> shutdown: task: non-zero exit (137)
            wakes in 2000 ms
            -- it starts when it said
            web.1 n1 running -> running
            web.1 n1 failed -> shutdown: task: non-zero exit (137)
            web.1 n1 failed -> shutdown: task: non-zero exit (137)"#]],
    );
}

#[test]
fn the_delay_doubles_up_to_its_cap_however_few_tasks_are_kept() {
    check(
        "
        history 1
        node n1
        service web delay=1s
        service often delay=1s max-delay=3s
        fail web.1
        fail often.1
        step 1000s
        ps web
        ps often
        say one that runs steadily ends the row
        heal web.1
        step 601s
        kill web.1
        run
        ps web
        ",
        expect![[r#"
            web.1 - pending -> ready: crash loop: failed 11 times in a row, starts again at 00:35:12 UTC; last: failed
            web.1 n1 failed -> shutdown
            often.1 - pending -> ready: crash loop: failed 335 times in a row, starts again at 00:33:23 UTC; last: failed
            often.1 n1 failed -> shutdown
            often.1 n1 failed -> shutdown
            often.1 n1 failed -> shutdown
            often.1 n1 failed -> shutdown
            often.1 n1 failed -> shutdown
            -- one that runs steadily ends the row
            web.1 n1 ready -> ready
            web.1 n1 failed -> shutdown: task: non-zero exit (137)"#]],
    );
}

#[test]
fn a_failing_node_is_known_however_few_tasks_are_kept() {
    check(
        "
        history 1
        node n1
        node n2
        service busy replicas=3 constraint=node.hostname==n2
        run
        service web delay=0s
        fail web.1
        step 4s
        say the fifth failure on one node puts it last
        ps web
        step 400s
        say they are kept as long as they are looked at
        ps web
        ",
        expect![[r#"
            -- the fifth failure on one node puts it last
            web.1 - pending -> ready: crash loop: failed 6 times in a row, starts again at 00:16:47 UTC; last: failed
            web.1 n2 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            -- they are kept as long as they are looked at
            web.1 - pending -> ready: crash loop: failed 12 times in a row, starts again at 00:23:30 UTC; last: failed
            web.1 n1 failed -> shutdown"#]],
    );
}

#[test]
fn a_new_leader_goes_on_where_the_old_one_stopped() {
    check(
        "
        history 1
        node n1
        service web delay=0s attempts=3
        fail web.1
        step 0.3s
        leader
        step 1s
        leader
        step 10s
        say the first and three more
        ps web
        ",
        expect![[r#"
            -- the first and three more
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown"#]],
    );
}

#[test]
fn attempts_are_counted_in_windows() {
    check(
        "
        node n1
        service web delay=0s attempts=2 window=10s
        run
        kill web.1
        run
        kill web.1
        step 11s
        say two within the window, and after it two more
        kill web.1
        step 2s
        kill web.1
        step 2s
        ps web
        say but not three
        kill web.1
        step 11s
        ps web
        ",
        expect![[r#"
            -- two within the window, and after it two more
            web.1 n1 running -> running
            web.1 n1 failed -> shutdown: task: non-zero exit (137)
            web.1 n1 failed -> shutdown: task: non-zero exit (137)
            web.1 n1 failed -> shutdown: task: non-zero exit (137)
            web.1 n1 failed -> shutdown: task: non-zero exit (137)
            -- but not three
            web.1 n1 failed -> shutdown: task: non-zero exit (137)
            web.1 n1 failed -> shutdown: task: non-zero exit (137)
            web.1 n1 failed -> shutdown: task: non-zero exit (137)
            web.1 n1 failed -> shutdown: task: non-zero exit (137)
            web.1 n1 failed -> shutdown: task: non-zero exit (137)"#]],
    );
}

#[test]
fn what_waits_out_a_crash_loop_follows_an_update_and_a_scale_at_once() {
    check(
        "
        node n1
        service web image=a delay=5s replicas=2
        fail web.1@a
        step 20s
        ps web
        update web image=b
        step 1s
        say what does not serve is changed first, and nothing is counted any more
        ps web
        step 20s
        services
        update web image=a
        step 30s
        say nor is what waits kept when there are fewer
        scale web 1
        run
        ps web
        ",
        expect![[r#"
            web.1 - pending -> ready image a: crash loop: failed 3 times in a row, starts again at 00:17:16 UTC; last: failed
            web.1 n1 failed -> shutdown image a
            web.1 n1 failed -> shutdown image a
            web.1 n1 failed -> shutdown image a
            web.2 n1 running -> running image a
            -- what does not serve is changed first, and nothing is counted any more
            web.1 n1 running -> running image b
            web.1 n1 failed -> shutdown image a
            web.1 n1 failed -> shutdown image a
            web.1 n1 failed -> shutdown image a
            web.2 n1 running -> running image a
            web [Completed: update completed]
            -- nor is what waits kept when there are fewer
            web.2 n1 running -> running image b
            web.2 n1 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn what_waits_on_a_drained_node_goes_and_waits_anew_when_that_is_back() {
    check(
        "
        node n1
        node n2
        service web global image=a delay=5s
        fail web@a
        step 20s
        ps web
        heal web@a
        drain n2
        run
        ps web
        active n2
        run
        say the node is back: it was counted there
        ps web
        ",
        expect![[r#"
            web n1 pending -> ready image a: crash loop: failed 3 times in a row, starts again at 00:17:16 UTC; last: failed
            web n1 failed -> shutdown image a
            web n1 failed -> shutdown image a
            web n1 failed -> shutdown image a
            web n2 pending -> ready image a: crash loop: failed 3 times in a row, starts again at 00:17:16 UTC; last: failed
            web n2 failed -> shutdown image a
            web n2 failed -> shutdown image a
            web n2 failed -> shutdown image a
            web n1 pending -> ready image a: crash loop: failed 3 times in a row, starts again at 00:17:16 UTC; last: failed
            web n1 failed -> shutdown image a
            web n1 failed -> shutdown image a
            web n1 failed -> shutdown image a
            web n2 failed -> shutdown image a
            web n2 failed -> shutdown image a
            web n2 failed -> shutdown image a
            -- the node is back: it was counted there
            web n1 pending -> ready image a: crash loop: failed 3 times in a row, starts again at 00:17:16 UTC; last: failed
            web n1 failed -> shutdown image a
            web n1 failed -> shutdown image a
            web n1 failed -> shutdown image a
            web n2 pending -> ready image a: crash loop: failed 3 times in a row, starts again at 00:17:20 UTC; last: failed
            web n2 failed -> shutdown image a
            web n2 failed -> shutdown image a
            web n2 failed -> shutdown image a"#]],
    );
}

#[test]
fn a_task_lost_in_a_crash_loop_takes_the_count_along() {
    check(
        "
        node n1
        service web delay=1s
        fail web.1
        step 4s
        heal web.1
        step 5s
        lose web.1
        run
        ps web
        kill web.1
        run
        say the fourth in a row
        ps web
        ",
        expect![[r#"
            web.1 n1 running -> running
            web.1 n1 orphaned -> shutdown: task: lost
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            -- the fourth in a row
            web.1 - pending -> ready: crash loop: failed 4 times in a row, starts again at 00:16:57 UTC; last: task: non-zero exit (137)
            web.1 n1 failed -> shutdown: task: non-zero exit (137)
            web.1 n1 orphaned -> shutdown: task: lost
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown
            web.1 n1 failed -> shutdown"#]],
    );
}

#[test]
fn what_is_done_follows_its_delay_and_is_no_crash_loop() {
    check(
        "
        node n1
        service cron image=a delay=60s
        complete cron.1
        step 305s
        ps cron
        say and it ends a row of failures
        fail cron.1
        step 180s
        ps cron
        complete cron.1
        step 300s
        fail cron.1
        step 60s
        ps cron
        ",
        expect![[r#"
            cron.1 n1 ready -> ready image a
            cron.1 n1 complete -> shutdown image a
            cron.1 n1 complete -> shutdown image a
            cron.1 n1 complete -> shutdown image a
            cron.1 n1 complete -> shutdown image a
            -- and it ends a row of failures
            cron.1 - pending -> ready image a: crash loop: failed 2 times in a row, starts again at 00:25:41 UTC; last: failed
            cron.1 n1 failed -> shutdown image a
            cron.1 n1 failed -> shutdown image a
            cron.1 n1 complete -> shutdown image a
            cron.1 n1 complete -> shutdown image a
            cron.1 n1 complete -> shutdown image a
            cron.1 n1 ready -> ready image a
            cron.1 n1 failed -> shutdown image a
            cron.1 n1 complete -> shutdown image a
            cron.1 n1 complete -> shutdown image a
            cron.1 n1 complete -> shutdown image a"#]],
    );
}

#[test]
fn what_is_done_at_once_starts_ten_times_a_second_at_most() {
    check(
        "
        history 30
        node n1
        service quick image=a delay=0s
        complete quick.1
        run
        step 0.3s
        ps quick
        ",
        expect![[r#"
            quick.1 n1 ready -> ready image a
            quick.1 n1 complete -> shutdown image a
            quick.1 n1 complete -> shutdown image a
            quick.1 n1 complete -> shutdown image a
            quick.1 n1 complete -> shutdown image a"#]],
    );
}

#[test]
fn a_delay_that_is_lowered_holds_for_what_waits_already() {
    check(
        "
        node n1
        service web image=a delay=3600s max-delay=86400s
        fail web.1
        step 3700s
        ps web
        update web delay=60s max-delay=600s
        run
        ps web
        step 100s
        say it has waited so long already
        ps web
        step 240s
        update web delay=10s
        run
        ps web
        update web delay=3600s max-delay=86400s
        run
        say nor does a longer one stretch it
        ps web
        ",
        expect![[r#"
            web.1 - pending -> ready image a: crash loop: failed 2 times in a row, starts again at 03:16:41 UTC; last: failed
            web.1 n1 failed -> shutdown image a
            web.1 n1 failed -> shutdown image a
            web.1 - pending -> ready image a: crash loop: failed 2 times in a row, starts again at 01:18:41 UTC; last: failed
            web.1 n1 failed -> shutdown image a
            web.1 n1 failed -> shutdown image a
            -- it has waited so long already
            web.1 - pending -> ready image a: crash loop: failed 3 times in a row, starts again at 01:22:41 UTC; last: failed
            web.1 n1 failed -> shutdown image a
            web.1 n1 failed -> shutdown image a
            web.1 n1 failed -> shutdown image a
            web.1 - pending -> ready image a: crash loop: failed 4 times in a row, starts again at 01:24:01 UTC; last: failed
            web.1 n1 failed -> shutdown image a
            web.1 n1 failed -> shutdown image a
            web.1 n1 failed -> shutdown image a
            web.1 n1 failed -> shutdown image a
            -- nor does a longer one stretch it
            web.1 - pending -> ready image a: crash loop: failed 4 times in a row, starts again at 01:30:41 UTC; last: failed
            web.1 n1 failed -> shutdown image a
            web.1 n1 failed -> shutdown image a
            web.1 n1 failed -> shutdown image a
            web.1 n1 failed -> shutdown image a"#]],
    );
}

#[test]
fn what_a_node_started_again_by_itself_counts() {
    check(
        "
        node n1
        service web delay=1s
        run
        step 601s
        say it ran for long before, and not since
        again web.1 3
        plan
        kill web.1
        plan
        ps web
        ",
        expect![[r#"
            -- it ran for long before, and not since
            web.1 - pending -> ready: crash loop: failed 4 times in a row, starts again at 00:26:49 UTC; last: task: non-zero exit (137)
            web.1 n1 failed -> shutdown: task: non-zero exit (137)"#]],
    );
    check(
        "
        node n1
        service web delay=1s
        run
        again web.1 3
        step 601s
        say it runs steadily since
        kill web.1
        plan
        ps web
        ",
        expect![[r#"
            -- it runs steadily since
            web.1 n1 assigned -> ready
            web.1 n1 failed -> shutdown: task: non-zero exit (137)"#]],
    );
    check(
        "
        node n1
        service web delay=1s attempts=3
        run
        say its node has used up the attempts
        again web.1 3
        kill web.1
        run
        ps web
        ",
        expect![[r#"
            -- its node has used up the attempts
            web.1 n1 failed -> shutdown: task: non-zero exit (137)"#]],
    );
}
