//! Services that others wait for before their tasks start.

use crate::support::check;
use expect_test::expect;

#[test]
fn tasks_are_prepared_and_start_when_what_they_wait_for_has_started() {
    check(
        "
        node n1
        hang db.1
        service db image=d
        service web replicas=2 after=db:started
        run
        ps web
        services
        heal db.1
        run
        ps web
        services
        ",
        expect![[r#"
            web.1 n1 ready -> ready
            web.2 n1 ready -> ready
            db
            web (waits for db to start)
            web.1 n1 running -> running
            web.2 n1 running -> running
            db
            web"#]],
    );
}

#[test]
fn a_service_is_healthy_once_a_task_takes_traffic() {
    check(
        "
        node n1
        warm db.1
        service db
        service web after=db:healthy
        run
        ps web
        services
        ready db.1
        run
        ps web
        services
        ",
        expect![[r#"
            web.1 n1 ready -> ready
            db
            web (waits for db to be healthy)
            web.1 n1 running -> running
            db
            web"#]],
    );
}

#[test]
fn what_is_to_complete_is_a_job_or_a_service_that_ends() {
    check(
        "
        node n1
        service migrate completions=1
        service seed replicas=2 restart=on-failure
        service web after=migrate:completed after=seed:completed
        run
        services
        finish migrate.1 n1
        run
        services
        finish seed.1 n1
        run
        services
        finish seed.2 n1
        run
        services
        ps web
        ",
        expect![[r#"
            migrate
            web (waits for migrate to complete, and for seed to complete)
            seed
            migrate
            web (waits for seed to complete)
            seed
            migrate
            web (waits for seed to complete)
            seed
            migrate
            web
            seed
            web.1 n1 running -> running"#]],
    );
}

#[test]
fn what_has_failed_is_said() {
    check(
        "
        node n1
        fail migrate.1
        fail seed.1
        service migrate completions=1 restart=none
        service seed restart=none
        service web after=migrate:completed after=seed:completed
        run
        services
        ps web
        ",
        expect![[r#"
            migrate
            web (waits for migrate to complete, which failed, and for seed to complete, which failed)
            seed
            web.1 n1 ready -> ready"#]],
    );
}

#[test]
fn one_that_does_not_exist_is_waited_for_unless_it_is_optional() {
    check(
        "
        node n1
        service web after=db:started
        service shop after=db:started?
        run
        services
        ps web
        ps shop
        service db
        run
        services
        ps web
        ",
        expect![[r#"
            web (waits for db, which does not exist)
            shop
            web.1 n1 ready -> ready
            shop.1 n1 running -> running
            web
            db
            shop
            web.1 n1 running -> running"#]],
    );
}

#[test]
fn what_replaces_a_task_that_ran_does_not_wait() {
    check(
        "
        node n1
        node n2
        service db
        service web replicas=2 after=db:healthy
        run
        fail db.1
        kill db.1
        kill web.1
        step 6s
        ps web
        # Nor does what moves; a place that is new does.
        drain n1
        run
        step 10s
        scale web 3
        run
        ps web
        services
        ",
        expect![[r#"
            web.1 n2 running -> running
            web.1 n2 failed -> shutdown: task: non-zero exit (137)
            web.2 n1 running -> running
            web.1 n2 running -> running
            web.1 n2 failed -> shutdown: task: non-zero exit (137)
            web.2 n2 running -> running
            web.2 n1 shutdown -> shutdown
            web.3 n2 ready -> ready
            db
            web (waits for db to be healthy)"#]],
    );
}

#[test]
fn an_update_begins_when_what_it_waits_for_is_there_at_its_new_template() {
    check(
        "
        node n1
        service migrate completions=1
        service web replicas=2 image=a after=migrate:completed
        run
        finish migrate.1 n1
        run
        ps web
        # Both are deployed anew: what serves goes on while the data is changed.
        update migrate image=b
        update web image=b
        run
        services
        # One that ends meanwhile is followed by one of the old.
        kill web.1
        step 6s
        ps web
        finish migrate.1 n1
        run
        step 10s
        ps web
        services
        ",
        expect![[r#"
            web.1 n1 running -> running image a
            web.2 n1 running -> running image a
            migrate
            web (waits for migrate to complete)
            web.1 n1 running -> running image a
            web.1 n1 failed -> shutdown image a: task: non-zero exit (137)
            web.2 n1 running -> running image a
            web.1 n1 running -> running image b
            web.1 n1 shutdown -> shutdown image a
            web.1 n1 failed -> shutdown image a: task: non-zero exit (137)
            web.2 n1 running -> running image b
            web.2 n1 shutdown -> shutdown image a
            migrate
            web [Completed: update completed]"#]],
    );
}

#[test]
fn a_rollback_waits_for_nothing_and_keeps_what_is_waited_for() {
    check(
        "
        node n1
        service db
        service web image=a after=db:started
        run
        update web image=b
        run
        step 10s
        scale db 0
        run
        update db replicas=1 image=new
        hang db.1
        run
        rollback web
        run
        step 10s
        ps web
        services
        update web image=c
        run
        services
        update web no-after
        run
        step 10s
        services
        ps web
        ",
        expect![[r#"
            web.1 n1 running -> running image a
            web.1 n1 shutdown -> shutdown image a
            web.1 n1 shutdown -> shutdown image b
            db
            web [RollbackCompleted: rollback completed]
            db
            web (waits for db to start)
            db
            web [Completed: update completed]
            web.1 n1 running -> running image c
            web.1 n1 shutdown -> shutdown image a
            web.1 n1 shutdown -> shutdown image a
            web.1 n1 shutdown -> shutdown image b"#]],
    );
}

#[test]
fn one_that_is_scaled_to_nothing_is_not_waited_for() {
    check(
        "
        node n1
        service db replicas=0
        service web after=db:healthy
        run
        services
        ps web
        ",
        expect![[r#"
            db
            web
            web.1 n1 running -> running"#]],
    );
}

#[test]
fn a_run_of_a_job_waits_as_well() {
    check(
        "
        node n1
        warm db.1
        service db
        service report completions=2 after=db:healthy
        run
        services
        ps report
        ready db.1
        run
        services
        ps report
        ",
        expect![[r#"
            db
            report (waits for db to be healthy)
            report.1 n1 ready -> ready
            report.2 n1 ready -> ready
            db
            report
            report.1 n1 running -> running
            report.2 n1 running -> running"#]],
    );
}

#[test]
fn a_task_that_could_not_be_prepared_waits_on() {
    check(
        "
        node n1
        hang db.1
        service db
        reject web.1
        service web after=db:started
        run
        heal web.1
        step 6s
        ps web
        services
        ",
        expect![[r#"
            web.1 - pending -> ready: crash loop: failed 2 times in a row, starts again at 00:16:50 UTC; last: rejected
            web.1 n1 rejected -> shutdown
            web.1 n1 rejected -> shutdown
            db
            web (waits for db to start)"#]],
    );
}

#[test]
fn an_update_that_fails_goes_back_whatever_it_depends_on() {
    check(
        "
        node n1
        service db
        service web image=a restart=none on-failure=rollback after=db:healthy
        run
        step 10s
        fail web@b
        fail db.1
        update web image=b
        run
        kill db.1
        step 1s
        services
        step 20s
        services
        ps web
        ",
        expect![[r#"
            db
            web [RollbackStarted: update rolled back due to failure or early termination]
            db
            web [RollbackCompleted: rollback completed]
            web.1 n1 running -> running image a
            web.1 n1 failed -> shutdown image b
            web.1 n1 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn a_crash_that_is_followed_is_no_failure() {
    check(
        "
        node n1
        fail db.1
        service db
        service gone restart=on-failure attempts=1 delay=1s
        fail gone.1
        service web after=db:healthy after=gone:completed
        run
        services
        step 9s
        services
        ",
        expect![[r#"
            db
            web (waits for db to be healthy, and for gone to complete)
            gone
            db
            web (waits for db to be healthy, and for gone to complete, which failed)
            gone"#]],
    );
}
