//! Spreading over labels: bounds that hold, and nodes without the label.

use crate::support::check;
use expect_test::expect;

#[test]
fn nodes_without_the_label_are_the_last_resort() {
    check(
        "
        node n1 cpus=2 label=zone=a
        node n2 cpus=2 label=zone=b
        node n3
        service web replicas=4 cpu=1 spread=node.labels.zone
        run
        count web
        explain web
        scale web 5
        run
        count web
        ",
        expect![[r#"
            n1: 2
            n2: 2
            n3: 0
            n3 Next 0 has no label zone to spread over: tried last
            n1 Unfit 2 needs 1 CPUs, 0 of 2 are free
            n2 Unfit 2 needs 1 CPUs, 0 of 2 are free
            n1: 2
            n2: 2
            n3: 1"#]],
    );
}

#[test]
fn inside_a_zone_nodes_without_a_rack_come_last_too() {
    check(
        "
        node n1 label=zone=a
        node n2 label=zone=a label=rack=1
        node n3 label=zone=b
        service web replicas=4 spread=node.labels.zone spread=node.labels.rack
        run
        count web
        ",
        expect![[r#"
            n1: 0
            n2: 2
            n3: 2"#]],
    );
}

#[test]
fn a_bound_on_the_skew_holds_tasks_back() {
    check(
        "
        node n1 label=zone=a
        node n2 label=zone=a
        node n3 label=zone=a
        node n4 cpus=1 label=zone=b
        node n5
        service web replicas=4 cpu=1 spread=node.labels.zone,max-skew=1
        run
        ps web
        explain web
        # Room comes, of the zone or with another one.
        node n6 label=zone=b
        run
        ps web
        ",
        expect![[r#"
            web.1 n1 running -> running
            web.2 n4 running -> running
            web.3 n2 running -> running
            web.4 - pending -> running: no suitable node (max skew exceeded on 4 nodes; insufficient resources on 1 node)
            n3 Unfit 0 zone=a would have 2 more than another, with a max skew of 1
            n1 Unfit 1 zone=a would have 2 more than another, with a max skew of 1
            n2 Unfit 1 zone=a would have 2 more than another, with a max skew of 1
            n4 Unfit 1 needs 1 CPUs, 0 of 1 are free
            n5 Unfit 0 has no label zone to spread over, with a max skew of 1
            web.1 n1 running -> running
            web.2 n4 running -> running
            web.3 n2 running -> running
            web.4 n6 running -> running"#]],
    );
}

#[test]
fn a_wider_bound_lets_more_pass() {
    check(
        "
        node n1 label=zone=a
        node n2 cpus=1 label=zone=b
        service web replicas=5 cpu=1 spread=node.labels.zone,max-skew=2
        run
        count web
        why
        update web no-spread spread=node.labels.zone
        run
        count web
        ",
        expect![[r#"
            n1: 3
            n2: 1
            web.5: no suitable node (insufficient resources on 1 node; max skew exceeded on 1 node)
            n1: 4
            n2: 1"#]],
    );
}

#[test]
fn a_zone_in_which_nothing_could_run_bounds_nobody() {
    check(
        "
        node n1 label=zone=a
        node n2 label=zone=b
        node n3 label=zone=c label=disk=ssd
        service web replicas=4 spread=node.labels.zone,max-skew=1 constraint=node.labels.disk!=ssd
        run
        count web
        drain n2
        run
        step 60s
        ps web
        active n2
        silence n1
        step 60s
        count web
        ",
        expect![[r#"
            n1: 2
            n2: 2
            n3: 0
            web.1 n1 running -> running
            web.2 n1 running -> running
            web.2 n2 shutdown -> shutdown
            web.3 n1 running -> running
            web.4 n1 running -> running
            web.4 n2 shutdown -> shutdown
            n1: 0
            n2: 4
            n3: 0"#]],
    );
}

#[test]
fn racks_are_bounded_within_their_zone() {
    check(
        "
        node n1 label=zone=a label=rack=1
        node n2 label=zone=a label=rack=2 cpus=1
        node n3 label=zone=b label=rack=1
        service web replicas=8 cpu=1 spread=node.labels.zone spread=node.labels.rack,max-skew=1
        run
        count web
        explain web
        ",
        expect![[r#"
            n1: 2
            n2: 1
            n3: 4
            n2 Unfit 1 needs 1 CPUs, 0 of 1 are free
            n1 Unfit 2 rack=1 would have 2 more than another, with a max skew of 1
            n3 Unfit 4 needs 1 CPUs, 0 of 4 are free"#]],
    );
}

#[test]
fn what_starts_before_the_old_task_stops_counts_for_it() {
    check(
        "
        node n1 cpus=8 label=zone=a
        node n2 cpus=2 label=zone=b
        service web replicas=4 cpu=1 order=start-first monitor=0s image=a spread=node.labels.zone,max-skew=1
        run
        count web
        update web image=b
        run
        step 20s
        services
        count web
        ",
        expect![[r#"
            n1: 2
            n2: 2
            web [Completed: update completed]
            n1: 2
            n2: 2"#]],
    );
}

#[test]
fn what_is_uneven_already_stays_and_is_evened_by_what_comes() {
    check(
        "
        node n1 label=zone=a
        node n2 label=zone=a
        node n3 label=zone=b
        service web replicas=4 constraint=node.labels.zone==a
        run
        update web no-constraints spread=node.labels.zone,max-skew=1
        run
        count web
        explain web
        scale web 6
        run
        count web
        ",
        expect![[r#"
            n1: 2
            n2: 2
            n3: 0
            n3 Next 0 
            n1 Unfit 2 zone=a would have 5 more than another, with a max skew of 1
            n2 Unfit 2 zone=a would have 5 more than another, with a max skew of 1
            n1: 2
            n2: 2
            n3: 2"#]],
    );
}
