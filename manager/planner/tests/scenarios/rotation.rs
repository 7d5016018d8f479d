//! Secrets that get other content under the same name.

use crate::support::check;
use expect_test::expect;

#[test]
fn services_follow_by_their_update_policy_and_back() {
    check(
        "
        node n1
        secret key one
        service web replicas=3 image=a secret=key monitor=1s delay=0s
        service other image=a monitor=0s
        run
        rotate key two
        step 2s
        say one at a time
        contents web
        step 30s
        contents web
        revisions web
        revisions other
        secrets
        say a rollback gets the old content
        rollback web
        step 30s
        contents web
        secrets
        ",
        expect![[r#"
            -- one at a time
            1 one, 2 two
            3 two
            1 a Completed
            2 a Completed
            1 a
            key 1 one superseded, key 2 two
            -- a rollback gets the old content
            3 one
            key 1 one superseded, key 2 two"#]],
    );
}

#[test]
fn an_update_that_fails_for_it_goes_back_by_itself() {
    check(
        "
        node n1
        secret key one
        service web replicas=2 image=a secret=key monitor=1s delay=0s on-failure=rollback
        run
        step 10s
        rotate key two
        step 0.5s
        contents web
        kill web.1
        step 60s
        contents web
        services
        ",
        expect![[r#"
            1 one, 1 two
            2 one
            web [RollbackCompleted: rollback completed]"#]],
    );
}

#[test]
fn without_a_rollout_tasks_keep_what_they_have_until_somebody_asks() {
    check(
        "
        node n1
        secret key one
        service web replicas=2 image=a secret=key monitor=0s
        run
        rotate key two no-rollout
        run
        say also those that are new
        scale web 3
        run
        contents web
        say the same content again is no generation, but is rolled out
        rotate key two
        step 30s
        contents web
        secrets
        revisions web
        ",
        expect![[r#"
            -- also those that are new
            3 one
            -- the same content again is no generation, but is rolled out
            3 two
            key 1 one superseded, key 2 two
            1 a Completed
            2 a Completed"#]],
    );
}

#[test]
fn a_generation_goes_with_the_last_that_refers_to_it() {
    check(
        "
        node n1
        history 1
        secret key one
        service web image=a secret=key monitor=0s
        run
        rotate key two
        step 10s
        rotate key three
        step 10s
        secrets
        say ten revisions later
        update web image=b
        step 10s
        update web image=c
        step 10s
        update web image=d
        step 10s
        update web image=e
        step 10s
        update web image=f
        step 10s
        update web image=g
        step 10s
        update web image=h
        step 10s
        update web image=i
        step 10s
        secrets
        update web image=j
        step 10s
        secrets
        say with the service the rest
        rm web
        run
        secrets
        ",
        expect![[r#"
            key 1 one superseded, key 2 two superseded, key 3 three
            -- ten revisions later
            key 1 one superseded, key 2 two superseded, key 3 three
            key 2 two superseded, key 3 three
            -- with the service the rest
            key 3 three"#]],
    );
}

#[test]
fn what_nobody_uses_leaves_nothing_behind() {
    check(
        "
        node n1
        secret key one
        rotate key two
        run
        secrets
        rm-secret key
        run
        secrets
        ",
        expect!["key 2 two"],
    );
}

#[test]
fn a_removed_secret_stays_for_rollbacks_and_running_tasks() {
    check(
        "
        node n1
        secret key one
        service web image=a secret=key monitor=0s
        run
        rotate key two no-rollout
        run
        rm-secret key
        update web no-secret
        step 10s
        rm-secret key
        secrets
        say the name is free, and numbers go on
        secret key other
        secrets
        rollback web
        step 10s
        contents web
        rm-secret key
        rm web
        run
        secrets
        ",
        expect![[r#"
            refused: secret 'key' is in use by the following service: web; update or remove it first
            key 1 one superseded
            -- the name is free, and numbers go on
            key 1 one superseded, key 2 other
            1 one
            refused: secret 'key' is in use by the following service: web; update or remove it first
            key 2 other"#]],
    );
}

#[test]
fn a_job_does_not_run_again_for_it_but_uses_it_when_it_does() {
    check(
        "
        node n1
        secret key one
        service job completions=1 image=a secret=key
        run
        complete job.1
        finish job.1 n1
        run
        runs job
        rotate key two
        run
        runs job
        heal job.1
        trigger job
        run
        contents job
        ",
        expect![[r#"
            run 1 created succeeded after 0ns: 1 done, 0 failed, exit code 0
            run 1 created succeeded after 0ns: 1 done, 0 failed, exit code 0
            1 two"#]],
    );
}
