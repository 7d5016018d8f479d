//! Jobs: tasks that run to their end, and what is kept of their runs.

use crate::support::check;
use expect_test::expect;

#[test]
fn a_job_runs_as_many_at_a_time_as_it_may_until_all_are_done() {
    check(
        "
        node n1
        node n2
        service job completions=5 concurrent=2
        run
        ps job
        complete job.1
        run
        runs job
        complete job.2
        complete job.3
        run
        ps job
        complete job.4
        complete job.5
        run
        runs job
        ps job
        say it stays as it is
        step 100s
        leader
        skip 90000s
        runs job
        ",
        expect![[r#"
            job.1 n1 running -> running
            job.2 n2 running -> running
            run 1 created open: 2 running, 1 complete
            job.1 n1 complete -> shutdown
            job.2 n2 complete -> shutdown
            job.3 n1 complete -> shutdown
            job.4 n1 running -> running
            job.5 n2 running -> running
            run 1 created succeeded after 0ns: 5 done, 0 failed, exit code 0
            job.1 n1 complete -> shutdown
            job.2 n2 complete -> shutdown
            job.3 n1 complete -> shutdown
            job.4 n1 complete -> shutdown
            job.5 n2 complete -> shutdown
            -- it stays as it is
            run 1 created succeeded after 0ns: 5 done, 0 failed, exit code 0"#]],
    );
}

#[test]
fn what_is_done_in_a_run_outlives_the_history_until_the_run_is_over() {
    check(
        "
        node n1
        history 1
        service job completions=3 concurrent=1 delay=0s
        complete job.1
        fail job.2
        step 1s
        heal job.2
        complete job.2
        step 1s
        ps job
        complete job.3
        run
        runs job
        ",
        expect![[r#"
            job.1 n1 complete -> shutdown
            job.2 n1 complete -> shutdown
            job.2 n1 failed -> shutdown
            job.2 n1 failed -> shutdown
            job.2 n1 failed -> shutdown
            job.3 n1 running -> running
            run 1 created succeeded after 2s: 3 done, 0 failed, exit code 0"#]],
    );
}

#[test]
fn a_place_without_an_attempt_left_ends_the_run_as_failed() {
    check(
        "
        node n1
        service job completions=4 concurrent=2 attempts=1 delay=1s
        fail job.1
        run
        ps job
        step 2s
        say what runs may end; what has not begun is not begun
        ps job
        runs job
        complete job.2
        run
        runs job
        ps job
        step 600s
        runs job
        ",
        expect![[r#"
            job.1 n1 ready -> ready
            job.1 n1 failed -> shutdown
            job.2 n1 running -> running
            -- what runs may end; what has not begun is not begun
            job.1 n1 failed -> shutdown
            job.1 n1 failed -> shutdown
            job.2 n1 running -> running
            run 1 created open: 1 running, 2 failed
            run 1 created failed after 2s: 1 done, 1 failed, exit code 3
            job.1 n1 failed -> shutdown
            job.1 n1 failed -> shutdown
            job.2 n1 complete -> shutdown
            run 1 created failed after 2s: 1 done, 1 failed, exit code 3"#]],
    );
}

#[test]
fn without_restarts_the_first_failure_counts() {
    check(
        "
        node n1
        service job completions=1 restart=none
        fail job.1
        run
        runs job
        say force runs it again
        heal job.1
        complete job.1
        update job force
        run
        runs job
        ps job
        ",
        expect![[r#"
            run 1 created failed after 0ns: 0 done, 1 failed, exit code 3
            -- force runs it again
            run 1 created failed after 0ns: 0 done, 1 failed, exit code 3
            run 2 updated succeeded after 0ns: 1 done, 0 failed, exit code 0
            job.1 n1 complete -> shutdown
            job.1 n1 failed -> shutdown"#]],
    );
}

#[test]
fn failures_are_followed_with_the_backoff_of_the_restart_policy() {
    check(
        "
        node n1
        service job completions=1
        fail job.1
        step 16s
        ps job
        wakes
        runs job
        ",
        expect![[r#"
            job.1 - pending -> ready: crash loop: failed 3 times in a row, starts again at 00:17:16 UTC; last: exit code 3
            job.1 n1 failed -> shutdown
            job.1 n1 failed -> shutdown
            job.1 n1 failed -> shutdown
            wakes in 3000 ms
            run 1 created open: 1 pending, 3 failed"#]],
    );
}

#[test]
fn a_lost_or_drained_node_costs_no_attempt() {
    check(
        "
        node n1
        node n2
        service job completions=1 restart=none constraint=node.hostname!=n3
        run
        ps job
        silence n1
        step 6s
        ps job
        drain n2
        node n3
        active n2
        wake n1
        step 2s
        drain n2
        step 1s
        say it may end there
        ps job
        drain n2 0s
        step 1s
        ps job
        runs job
        complete job.1
        step 1s
        runs job
        ",
        expect![[r#"
            job.1 n1 running -> running
            job.1 n2 running -> running
            job.1 n1 running -> shutdown
            -- it may end there
            job.1 n2 running -> running
            job.1 n1 shutdown -> shutdown
            job.1 n1 running -> running
            job.1 n2 shutdown -> shutdown
            job.1 n1 shutdown -> shutdown
            run 1 created open: 1 running, 2 shutdown
            run 1 created succeeded after 10.5s: 1 done, 0 failed, exit code 0"#]],
    );
}

#[test]
fn what_a_silent_node_has_done_is_done() {
    check(
        "
        node n1
        history 1
        service job completions=2
        run
        node n2
        silence n1
        step 6s
        ps job
        say it had ended before it was told to stop
        finish job.1 n1
        run
        ps job
        wake n1
        step 600s
        ps job
        complete job.2
        run
        runs job
        ",
        expect![[r#"
            job.1 n2 running -> running
            job.1 n1 running -> shutdown
            job.2 n2 running -> running
            job.2 n1 running -> shutdown
            -- it had ended before it was told to stop
            job.1 n2 shutdown -> shutdown
            job.1 n1 complete -> shutdown
            job.2 n2 running -> running
            job.2 n1 running -> shutdown
            job.1 n2 shutdown -> shutdown
            job.1 n1 complete -> shutdown
            job.2 n2 running -> running
            run 1 created succeeded after 606s: 2 done, 0 failed, exit code 0"#]],
    );
}

#[test]
fn another_template_runs_it_again_and_a_label_does_not() {
    check(
        "
        node n1
        service job completions=2 image=a
        complete job.1
        run
        update job label=x
        run
        runs job
        say nor do other restarts or other numbers, while it runs
        update job attempts=7
        run
        scale job 3
        run
        runs job
        scale job 2
        run
        ps job
        update job image=b
        run
        runs job
        ps job
        complete job.2
        run
        runs job
        say once it is over other numbers are for the next run
        scale job 1
        run
        runs job
        ",
        expect![[r#"
            run 1 created open: 1 running, 1 complete
            -- nor do other restarts or other numbers, while it runs
            run 1 created open: 2 running, 1 complete
            job.1 n1 complete -> shutdown image a
            job.2 n1 running -> running image a
            job.3 n1 shutdown -> shutdown image a
            run 1 created replaced after 0ns: 1 done, 0 failed
            run 2 updated open: 1 running, 1 complete
            job.1 n1 complete -> shutdown image a
            job.1 n1 complete -> shutdown image b
            job.2 n1 running -> running image b
            job.2 n1 shutdown -> shutdown image a
            job.3 n1 shutdown -> shutdown image a
            run 1 created replaced after 0ns: 1 done, 0 failed
            run 2 updated succeeded after 0ns: 2 done, 0 failed, exit code 0
            -- once it is over other numbers are for the next run
            run 1 created replaced after 0ns: 1 done, 0 failed
            run 2 updated succeeded after 0ns: 2 done, 0 failed, exit code 0
            run 3 updated succeeded after 0ns: 1 done, 0 failed, exit code 0"#]],
    );
}

#[test]
fn a_run_begins_when_the_one_before_has_stopped() {
    check(
        "
        node n1
        service job completions=3 concurrent=1 image=a
        run
        finish job n1
        run
        linger job.2
        update job image=b
        step 3s
        ps job
        runs job
        end job.2
        run
        ps job
        ",
        expect![[r#"
            job.1 n1 ready -> ready image b
            job.1 n1 complete -> shutdown image a
            job.2 n1 running -> shutdown image a
            run 1 created replaced after 0ns: 1 done, 0 failed
            run 2 updated open: 1 ready
            job.1 n1 running -> running image b
            job.1 n1 complete -> shutdown image a
            job.2 n1 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn fewer_than_are_done_end_the_run() {
    check(
        "
        node n1
        service job completions=3
        complete job.1
        complete job.2
        run
        scale job 2
        run
        runs job
        ps job
        service none completions=0
        run
        runs none
        ",
        expect![[r#"
            run 1 created succeeded after 0ns: 2 done, 0 failed, exit code 0
            job.1 n1 complete -> shutdown
            job.2 n1 complete -> shutdown
            job.3 n1 shutdown -> shutdown
            run 1 created succeeded after 0ns: 0 done, 0 failed"#]],
    );
}

#[test]
fn a_deadline_ends_the_run() {
    check(
        "
        node n1
        service job completions=2 job-deadline=30s
        complete job.1
        run
        wakes
        step 29s
        runs job
        step 1s
        runs job
        ps job
        ",
        expect![[r#"
            wakes in 3000 ms
            run 1 created open: 1 running, 1 complete
            run 1 created deadline exceeded after 30s: 1 done, 0 failed
            job.1 n1 complete -> shutdown
            job.2 n1 shutdown -> shutdown"#]],
    );
}

#[test]
fn a_job_is_removed_when_its_time_is_over() {
    check(
        "
        node n1
        service job completions=1 ttl=60s
        complete job.1
        run
        runs job
        wakes
        step 59s
        update job force
        step 2s
        runs job
        step 60s
        runs job
        ps job
        ",
        expect![[r#"
            run 1 created succeeded after 0ns: 1 done, 0 failed, exit code 0
            wakes in 3000 ms
            run 1 created succeeded after 0ns: 1 done, 0 failed, exit code 0
            run 2 updated succeeded after 500ms: 1 done, 0 failed, exit code 0
            job is gone"#]],
    );
}

#[test]
fn a_global_job_runs_once_on_every_node_also_on_late_ones() {
    check(
        "
        node n1 label=zone=a
        node n2 label=zone=a
        node n3 label=zone=b
        node n4 label=zone=a
        drain n4
        service scan global-job constraint=node.labels.zone==a
        run
        ps scan
        finish scan n1
        run
        runs scan
        finish scan n2
        step 60s
        runs scan
        say a node that comes later does it too
        node n5 label=zone=a
        run
        ps scan
        finish scan n5
        step 60s
        runs scan
        ps scan
        ",
        expect![[r#"
            scan n1 running -> running
            scan n2 running -> running
            run 1 created open: 1 running, 1 complete
            run 1 created succeeded after 500ms: 2 done, 0 failed, exit code 0
            -- a node that comes later does it too
            scan n1 complete -> shutdown
            scan n2 complete -> shutdown
            scan n5 running -> running
            run 1 created succeeded after 500ms: 2 done, 0 failed, exit code 0
            scan n1 complete -> shutdown
            scan n2 complete -> shutdown
            scan n5 complete -> shutdown"#]],
    );
}

#[test]
fn a_job_without_a_node_says_why_it_waits() {
    check(
        "
        node n1
        service job completions=1 constraint=node.role==manager
        run
        ps job
        why
        say a constraint that is lifted is no other job
        update job no-constraints
        complete job.1
        run
        runs job
        ",
        expect![[r#"
            job.1 - pending -> running: no suitable node (scheduling constraints not satisfied on 1 node)
            job.1: no suitable node (scheduling constraints not satisfied on 1 node)
            -- a constraint that is lifted is no other job
            run 1 created succeeded after 0ns: 1 done, 0 failed, exit code 0"#]],
    );
}
