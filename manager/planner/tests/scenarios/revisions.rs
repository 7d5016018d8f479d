//! Which revision a service goes back to.

use crate::support::check;
use expect_test::expect;

#[test]
fn a_failed_update_goes_back_to_the_last_good_one_whatever_came_between() {
    check(
        "
        node n1
        service web replicas=2 image=a monitor=1s delay=0s
        run
        update web image=b
        step 10s
        fail web.1@c
        say c fails, and is left so
        update web image=c
        step 10s
        services
        scale web 3
        run
        say d fails, and goes back by itself
        fail web.1@d
        update web image=d on-failure=rollback
        step 30s
        services
        images web
        revisions web
        say after that nothing is left that did not fail, but a
        rollback web
        step 30s
        images web
        revisions web
        ",
        expect![[r#"
            -- c fails, and is left so
            web [Paused: update paused due to failure or early termination]
            -- d fails, and goes back by itself
            web [RollbackCompleted: rollback completed]
            3 b
            1 a Completed
            2 b Completed
            3 c Failed
            4 d Failed
            5 b as 2 Completed
            -- after that nothing is left that did not fail, but a
            3 a
            1 a Completed
            2 b Completed
            3 c Failed
            4 d Failed
            5 b as 2 Completed
            6 a as 1 Completed"#]],
    );
}

#[test]
fn an_update_that_overtakes_another_does_not_go_back_to_half_of_it() {
    check(
        "
        node n1
        service web replicas=4 image=a monitor=2s delay=0s
        run
        update web image=b
        step 3s
        images web
        fail web.1@c
        update web image=c on-failure=rollback
        step 30s
        services
        images web
        revisions web
        ",
        expect![[r#"
            2 a, 2 b
            web [RollbackCompleted: rollback completed]
            4 a
            1 a Completed
            2 b Superseded
            3 c Failed
            4 a as 1 Completed"#]],
    );
}

#[test]
fn a_rollback_goes_to_the_revision_that_is_named_and_keeps_the_number_of_tasks() {
    check(
        "
        node n1
        service web replicas=1 image=a monitor=0s
        run
        update web image=b
        run
        update web image=c
        run
        update web image=d
        run
        scale web 2
        run
        rollback web 2
        step 20s
        images web
        rollback web
        step 20s
        images web
        rollback web 9
        revisions web
        ",
        expect![[r#"
            2 b
            2 d
            refused: service web: it has no revision 9 to go back to, but 1, 2, 3, 4, 5
            1 a Completed
            2 b Completed
            3 c Completed
            4 d Completed
            5 b as 2 Completed
            6 d as 4 Completed"#]],
    );
}

#[test]
fn asking_for_what_is_paused_again_goes_on_with_what_was_done() {
    check(
        "
        node n1
        service web replicas=4 image=a monitor=1s delay=0s ratio=0.3
        run
        update web image=b
        step 2s
        pause-update web
        images web
        say one of four may fail, though only two are left to be changed
        fail web.4@b
        update web
        step 10s
        services
        ",
        expect![[r#"
            2 a, 2 b
            -- one of four may fail, though only two are left to be changed
            web [Completed: update completed]"#]],
    );
}
