//! What a change would lead to.

use crate::support::check;
use expect_test::expect;

#[test]
fn an_update_is_foreseen_step_by_step_and_changes_nothing() {
    check(
        "
        node n1
        node n2
        service web replicas=3 image=a monitor=5s
        run
        foresee update web image=b
        say the other order
        foresee update web image=b order=start-first parallelism=2
        say more of them
        foresee scale web 5
        say fewer
        foresee scale web 1
        say no new tasks
        foresee update web on-failure=rollback
        say gone
        foresee rm web
        say nothing has changed
        images web
        ",
        expect![[r#"
            +0ns web.1 stops on n1: updated
            +0ns web.1 starts on n1: updated
            +5s web.2 stops on n2: updated
            +5s web.2 starts on n2: updated
            +10s web.3 stops on n1: updated
            +10s web.3 starts on n1: updated
            Completed: update completed
            0 kept
            -- the other order
            +0ns web.1 starts on n2: updated
            +0ns web.2 starts on n1: updated
            +0ns web.1 stops on n1: updated
            +0ns web.2 stops on n2: updated
            +5s web.3 starts on n2: updated
            +5s web.3 stops on n1: updated
            Completed: update completed
            0 kept
            -- more of them
            +0ns web.4 starts on n2: created
            +0ns web.5 starts on n1: created
            3 kept
            -- fewer
            +0ns web.2 stops on n2: scaled
            +0ns web.3 stops on n1: scaled
            1 kept
            -- no new tasks
            3 kept
            -- gone
            +0ns web.1 stops on n1: removed
            +0ns web.2 stops on n2: removed
            +0ns web.3 stops on n1: removed
            0 kept
            -- nothing has changed
            3 a"#]],
    );
}

#[test]
fn what_does_not_fit_is_foreseen() {
    check(
        "
        node n1 cpus=2
        node n2 cpus=2
        service web replicas=2 image=a cpu=1
        run
        foresee scale web 6
        foresee update web constraint=node.labels.zone==a
        foresee update web cpu=64
        ",
        expect![[r#"
            +0ns web.3 starts on n1: created
            +0ns web.4 starts on n2: created
            web.5 waits: no suitable node (insufficient resources on 2 nodes)
            web.6 waits: no suitable node (insufficient resources on 2 nodes)
            2 kept
            +0ns web.1 stops on n1: updated
            web.1 waits: no suitable node (scheduling constraints not satisfied on 2 nodes)
            Paused: update paused after 10m without progress: web.1 is pending: no suitable node (scheduling constraints not satisfied on 2 nodes)
            1 kept
            +0ns web.1 stops on n1: updated
            web.1 waits: no suitable node (insufficient resources on 2 nodes)
            Paused: update paused after 10m without progress: web.1 is pending: no suitable node (insufficient resources on 2 nodes)
            1 kept"#]],
    );
}

#[test]
fn a_drain_is_foreseen_for_all_services() {
    check(
        "
        node n1
        node n2
        service web replicas=2 image=a
        service db replicas=2 order=start-first
        service agent global
        run
        foresee drain n1
        ",
        expect![[r#"
            +0ns web.1 stops on n1: drained
            +0ns db.1 starts on n2: drained
            +0ns web.1 starts on n2: drained
            +0ns db.1 stops on n1: drained
            +0ns agent.0 stops on n1: drained
            3 kept"#]],
    );
}

#[test]
fn a_rebalance_is_foreseen() {
    check(
        "
        node n1
        service web replicas=4 monitor=2s
        run
        node n2
        run
        foresee rebalance web
        ",
        expect![[r#"
            +0ns web.4 stops on n1: rebalanced
            +0ns web.4 starts on n2: rebalanced
            +2s web.3 stops on n1: rebalanced
            +2s web.3 starts on n2: rebalanced
            2 kept"#]],
    );
}
