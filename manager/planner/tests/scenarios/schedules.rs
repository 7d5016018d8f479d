//! Jobs that run by a schedule.

use crate::support::check;
use expect_test::expect;

#[test]
fn a_job_runs_when_it_is_due() {
    check(
        "
        clock 2024-01-10T12:03:58Z
        node n1
        service job completions=1 \"schedule=*/5 * * * *\"
        complete job.1
        run
        runs job
        wakes
        clock 2024-01-10T12:04:59Z
        step 2s
        runs job
        clock 2024-01-10T12:09:59Z
        step 2s
        runs job
        leader
        run
        runs job
        ",
        expect![[r#"
            wakes in 3000 ms
            run 1 scheduled 12:05 succeeded after 0ns: 1 done, 0 failed, exit code 0
            run 1 scheduled 12:05 succeeded after 0ns: 1 done, 0 failed, exit code 0
            run 2 scheduled 12:10 succeeded after 0ns: 1 done, 0 failed, exit code 0
            run 1 scheduled 12:05 succeeded after 0ns: 1 done, 0 failed, exit code 0
            run 2 scheduled 12:10 succeeded after 0ns: 1 done, 0 failed, exit code 0"#]],
    );
}

#[test]
fn what_was_missed_becomes_one_run() {
    check(
        "
        clock 2024-01-10T12:03:58Z
        node n1
        service job completions=1 \"schedule=*/5 * * * *\"
        service late completions=1 \"schedule=*/5 * * * *\" late=60s
        complete job.1
        complete late.1
        run
        leaderless 1200s
        step 10s
        runs job
        say the last of them is older than it may be
        runs late
        clock 2024-01-10T12:30:20Z
        run
        runs late
        ",
        expect![[r#"
            run 1 scheduled 12:20 succeeded after 0ns: 1 done, 0 failed, exit code 0
            -- the last of them is older than it may be
            run 1 scheduled 12:30 succeeded after 0ns: 1 done, 0 failed, exit code 0"#]],
    );
}

#[test]
fn runs_overlap_or_not_as_it_says() {
    check(
        "
        clock 2024-01-10T12:04:59Z
        node n1
        service beside completions=1 \"schedule=* * * * *\"
        service over completions=1 \"schedule=* * * * *\" concurrency=forbid
        service instead completions=1 \"schedule=* * * * *\" concurrency=replace
        step 62s
        runs beside
        runs over
        runs instead
        ps beside
        ps instead
        say who asks for one more is told the same
        trigger beside
        trigger over
        trigger instead
        run
        runs beside
        runs over
        runs instead
        ",
        expect![[r#"
            run 1 scheduled 12:05 open: 1 running
            run 2 scheduled 12:06 open: 1 running
            run 1 scheduled 12:05 open: 1 running
            1 passed over
            run 1 scheduled 12:05 replaced after 60s: 0 done, 0 failed
            run 2 scheduled 12:06 open: 1 running
            beside.1 n1 running -> running
            beside.1 n1 running -> running
            instead.1 n1 running -> running
            instead.1 n1 shutdown -> shutdown
            -- who asks for one more is told the same
            refused: service over: run 1 is still open
            run 1 scheduled 12:05 open: 1 running
            run 2 scheduled 12:06 open: 1 running
            run 3 triggered open: 1 running
            run 1 scheduled 12:05 open: 1 running
            1 passed over
            run 1 scheduled 12:05 replaced after 60s: 0 done, 0 failed
            run 2 scheduled 12:06 replaced after 1s: 0 done, 0 failed
            run 3 triggered open: 1 running"#]],
    );
}

#[test]
fn the_number_of_open_runs_has_an_end() {
    check(
        "
        clock 2024-01-10T12:04:59Z
        node n1
        service job completions=1 \"schedule=* * * * *\"
        step 780s
        runs job
        trigger job
        ",
        expect![[r#"
            run 1 scheduled 12:05 open: 1 running
            run 2 scheduled 12:06 open: 1 running
            run 3 scheduled 12:07 open: 1 running
            run 4 scheduled 12:08 open: 1 running
            run 5 scheduled 12:09 open: 1 running
            run 6 scheduled 12:10 open: 1 running
            run 7 scheduled 12:11 open: 1 running
            run 8 scheduled 12:12 open: 1 running
            run 9 scheduled 12:13 open: 1 running
            run 10 scheduled 12:14 open: 1 running
            3 passed over
            refused: service job: 10 runs of it are still open"#]],
    );
}

#[test]
fn a_schedule_is_suspended_and_changed() {
    check(
        "
        clock 2024-01-10T12:04:59Z
        node n1
        service job completions=1 image=a \"schedule=*/5 * * * *\"
        complete job.1
        step 2s
        update job suspend
        step 900s
        runs job
        say what was due meanwhile is not made up for
        update job suspend=false
        step 200s
        runs job
        say another image is for the next run
        update job image=b
        step 100s
        runs job
        step 100s
        runs job
        say somebody asks for one more
        trigger job
        run
        runs job
        ",
        expect![[r#"
            run 1 scheduled 12:05 succeeded after 0ns: 1 done, 0 failed, exit code 0
            -- what was due meanwhile is not made up for
            run 1 scheduled 12:05 succeeded after 0ns: 1 done, 0 failed, exit code 0
            -- another image is for the next run
            run 1 scheduled 12:05 succeeded after 0ns: 1 done, 0 failed, exit code 0
            run 2 scheduled 12:25 succeeded after 0ns: 1 done, 0 failed, exit code 0
            run 1 scheduled 12:05 succeeded after 0ns: 1 done, 0 failed, exit code 0
            run 2 scheduled 12:25 succeeded after 0ns: 1 done, 0 failed, exit code 0
            -- somebody asks for one more
            run 1 scheduled 12:05 succeeded after 0ns: 1 done, 0 failed, exit code 0
            run 2 scheduled 12:25 succeeded after 0ns: 1 done, 0 failed, exit code 0
            run 3 triggered succeeded after 0ns: 1 done, 0 failed, exit code 0"#]],
    );
}

#[test]
fn a_run_ends_with_the_image_it_began_with() {
    check(
        "
        clock 2024-01-10T12:04:58Z
        node n1
        service job completions=2 concurrent=1 image=a \"schedule=5 12 * * *\"
        step 4s
        update job image=b
        finish job n1
        run
        ps job
        ",
        expect![[r#"
            job.1 n1 complete -> shutdown image a
            job.2 n1 running -> running image a"#]],
    );
}

#[test]
fn a_time_of_day_is_that_of_its_zone_when_the_clocks_change() {
    check(
        "
        clock 2024-03-31T00:58:00Z
        node n1
        service job completions=1 \"schedule=30 2 * * *\" tz=Europe/Zurich
        complete job.1
        step 180s
        runs job
        clock 2024-04-01T00:29:00Z
        step 120s
        runs job
        clock 2024-10-26T12:00:00Z
        runs job
        say in autumn half past two comes twice
        clock 2024-10-27T00:29:00Z
        step 120s
        clock 2024-10-27T01:29:00Z
        step 120s
        runs job
        ",
        expect![[r#"
            run 1 scheduled 01:00 succeeded after 0ns: 1 done, 0 failed, exit code 0
            run 1 scheduled 01:00 succeeded after 0ns: 1 done, 0 failed, exit code 0
            run 2 scheduled 00:30 succeeded after 0ns: 1 done, 0 failed, exit code 0
            run 1 scheduled 01:00 succeeded after 0ns: 1 done, 0 failed, exit code 0
            run 2 scheduled 00:30 succeeded after 0ns: 1 done, 0 failed, exit code 0
            run 3 scheduled 00:30 succeeded after 0ns: 1 done, 0 failed, exit code 0
            -- in autumn half past two comes twice
            run 1 scheduled 01:00 succeeded after 0ns: 1 done, 0 failed, exit code 0
            run 2 scheduled 00:30 succeeded after 0ns: 1 done, 0 failed, exit code 0
            run 3 scheduled 00:30 succeeded after 0ns: 1 done, 0 failed, exit code 0
            run 4 scheduled 00:30 succeeded after 0ns: 1 done, 0 failed, exit code 0"#]],
    );
}

#[test]
fn a_job_without_a_schedule_runs_again_when_it_is_over() {
    check(
        "
        node n1
        service job completions=1
        service web
        run
        trigger job
        trigger web
        complete job.1
        run
        trigger job
        run
        runs job
        ",
        expect![[r#"
            refused: service job: run 1 is still open
            refused: service web: it is no job
            run 1 created succeeded after 0ns: 1 done, 0 failed, exit code 0
            run 2 triggered succeeded after 0ns: 1 done, 0 failed, exit code 0"#]],
    );
}

#[test]
fn an_open_run_goes_where_the_service_says_now() {
    check(
        "
        clock 2024-01-10T12:00:00Z
        node n1 label=zone=a
        node n2 label=zone=b
        service scan global-job image=a constraint=node.labels.zone==a \"schedule=0 0 * * *\"
        trigger scan
        run
        ps scan
        update scan image=b no-constraints constraint=node.labels.zone==b
        run
        ps scan
        finish scan n1
        finish scan n2
        run
        runs scan
        ",
        expect![[r#"
            scan n1 running -> running image a
            scan n1 running -> running image a
            scan n2 running -> running image a
            run 1 triggered succeeded after 0ns: 2 done, 0 failed, exit code 0"#]],
    );
}

#[test]
fn after_days_without_a_manager_the_last_that_was_missed_is_what_is_due() {
    check(
        "
        clock 2024-01-10T12:00:30Z
        node n1
        service job completions=1 \"schedule=* * * * *\"
        complete job.1
        leaderless 298800s
        step 1s
        runs job
        ",
        expect!["run 1 scheduled 23:00 succeeded after 0ns: 1 done, 0 failed, exit code 0"],
    );
}
