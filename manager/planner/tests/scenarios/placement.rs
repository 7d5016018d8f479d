//! Where tasks may be, and what follows when a service says so anew.

use crate::support::check;
use expect_test::expect;

#[test]
fn saying_anew_where_tasks_may_go_or_what_follows_their_end_restarts_none_that_fits() {
    check(
        "
        node n1 label=zone=a
        node n2 label=zone=b
        service web replicas=2 image=a
        run
        update web constraint=node.labels.zone!=c spread=node.labels.zone max-per-node=4
        run
        update web restart=none delay=1s
        run
        say they are as they were
        ps web
        services
        say the policy holds for them all the same
        kill web.1
        step 20s
        ps web
        say so do the constraints
        label n2 zone=c
        run
        ps web
        ",
        expect![[r#"
            -- they are as they were
            web.1 n1 running -> running image a
            web.2 n2 running -> running image a
            web
            -- the policy holds for them all the same
            web.1 n1 failed -> shutdown image a: task: non-zero exit (137)
            web.2 n2 running -> running image a
            -- so do the constraints
            web.1 n1 failed -> shutdown image a: task: non-zero exit (137)
            web.2 n1 running -> running image a
            web.2 n2 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn tasks_on_nodes_that_a_new_constraint_leaves_out_are_moved_as_an_update_moves_them() {
    check(
        "
        node n1 label=zone=a
        node n2 label=zone=b
        service web replicas=4 image=a monitor=2s
        run
        update web constraint=node.labels.zone==a
        plan
        services
        say one at a time
        ps web
        step 20s
        services
        ps web
        ",
        expect![[r#"
            web [Updating: update in progress]
            -- one at a time
            web.1 n1 running -> running image a
            web.2 n1 assigned -> ready image a
            web.2 n2 running -> shutdown image a
            web.3 n1 running -> running image a
            web.4 n2 running -> running image a
            web [Completed: update completed]
            web.1 n1 running -> running image a
            web.2 n1 running -> running image a
            web.2 n2 shutdown -> shutdown image a
            web.3 n1 running -> running image a
            web.4 n1 running -> running image a
            web.4 n2 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn a_global_service_loses_the_tasks_on_nodes_that_a_new_constraint_leaves_out() {
    check(
        "
        node n1 label=zone=a
        node n2 label=zone=b
        node n3 label=zone=b
        service agent global image=a
        run
        update agent constraint=node.labels.zone==a
        run
        services
        ps agent
        update agent no-constraints
        run
        say and has them again, without a restart where it had one
        ps agent
        ",
        expect![[r#"
            agent [Completed: update completed]
            agent n1 running -> running image a
            agent n2 shutdown -> shutdown image a
            agent n3 shutdown -> shutdown image a
            -- and has them again, without a restart where it had one
            agent n1 running -> running image a
            agent n2 running -> running image a
            agent n2 shutdown -> shutdown image a
            agent n3 running -> running image a
            agent n3 shutdown -> shutdown image a"#]],
    );
}

#[test]
fn a_task_that_waits_goes_where_the_service_says_by_now() {
    check(
        "
        node n1 label=zone=a
        service web replicas=2 image=a constraint=node.labels.zone==b
        run
        ps web
        update web no-constraints
        run
        services
        ps web
        ",
        expect![[r#"
            web.1 - pending -> running image a: no suitable node (scheduling constraints not satisfied on 1 node)
            web.2 - pending -> running image a: no suitable node (scheduling constraints not satisfied on 1 node)
            web
            web.1 n1 running -> running image a
            web.2 n1 running -> running image a"#]],
    );
}

#[test]
fn constraints_name_sets_numbers_and_what_is_there() {
    check(
        "
        node n1 label=zone=a label=slots=5
        node n2 label=zone=b label=slots=3 ip=10.1.0.2
        node n3 label=gpu=
        service sets replicas=2 \"constraint=node.labels.zone in b,c\"
        service rest replicas=2 \"constraint=node.labels.zone notin a,b\"
        service many replicas=2 \"constraint=node.labels.slots > 4\"
        service few replicas=2 \"constraint=node.labels.slots < 4\"
        service gpu replicas=2 \"constraint=node.labels.gpu exists\"
        service cpu global \"constraint=node.labels.gpu !exists\"
        service near replicas=2 \"constraint=node.ip in 10.2.0.0/16,10.1.0.0/16\"
        run
        ps sets
        ps rest
        ps many
        ps few
        ps gpu
        ps cpu
        ps near
        say a further condition moves none that meets it, a label that changes does
        update many \"constraint=node.labels.zone in a,b\"
        run
        label n1 slots=4
        label n2 slots=6
        step 10s
        ps many
        ",
        expect![[r#"
            sets.1 n2 running -> running
            sets.2 n2 running -> running
            rest.1 n3 running -> running
            rest.2 n3 running -> running
            many.1 n1 running -> running
            many.2 n1 running -> running
            few.1 n2 running -> running
            few.2 n2 running -> running
            gpu.1 n3 running -> running
            gpu.2 n3 running -> running
            cpu n1 running -> running
            cpu n2 running -> running
            near.1 n2 running -> running
            near.2 n2 running -> running
            -- a further condition moves none that meets it, a label that changes does
            many.1 n2 running -> running
            many.1 n1 shutdown -> shutdown
            many.2 n2 running -> running
            many.2 n1 shutdown -> shutdown"#]],
    );
}

#[test]
fn scaling_and_relabelling_leave_an_update_as_it_is() {
    check(
        "
        node n1
        service web replicas=2 image=a monitor=2s
        run
        update web image=b
        step 1s
        services
        scale web 3
        update web port=8080:80
        plan
        say it goes on with the second, and the third is new
        step 1s
        ps web
        step 20s
        services
        say a port starts none anew
        update web port=8081:81
        step 20s
        ps web
        ",
        expect![[r#"
            web [Updating: update in progress]
            -- it goes on with the second, and the third is new
            web.1 n1 running -> running image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 running -> running image a
            web.3 n1 running -> running image b
            web 8080->80 ingress=10.0.0.16 [Completed: update completed]
            -- a port starts none anew
            web.1 n1 running -> running image b
            web.1 n1 shutdown -> shutdown image a
            web.2 n1 running -> running image b
            web.2 n1 shutdown -> shutdown image a
            web.3 n1 running -> running image b"#]],
    );
}

#[test]
fn a_paused_update_goes_on_when_its_service_says_where_its_tasks_may_go_instead() {
    check(
        "
        node n1 label=zone=a
        node n2 label=zone=b
        service web replicas=2 image=a monitor=2s
        run
        fail web@b
        update web image=b
        step 5s
        services
        heal web@b
        update web constraint=node.labels.zone==a
        step 20s
        services
        count web
        rollback web
        step 20s
        say the constraint was no part of the update
        count web
        services
        ",
        expect![[r#"
            web [Paused: update paused due to failure or early termination]
            web [Completed: update completed]
            n1: 2
            n2: 0
            -- the constraint was no part of the update
            n1: 2
            n2: 0
            web [RollbackCompleted: rollback completed]"#]],
    );
}
