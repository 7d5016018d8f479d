//! Why tasks are where they are.

use crate::support::check;
use expect_test::expect;

#[test]
fn every_node_is_told_of_with_all_that_is_against_it() {
    check(
        "
        node n1 cpus=2 memory=4 label=zone=a
        node n2 cpus=1 memory=4 label=zone=b
        node n3 cpus=4 memory=4 label=zone=b
        node n4
        node n5
        service db replicas=1 cpu=1 hostport=5432:5432 constraint=node.hostname==n3
        run
        drain n4
        silence n5
        step 10s
        service web replicas=3 cpu=2 hostport=5432:5432 constraint=node.labels.zone!=c max-per-node=1
        run
        explain web
        explain-node n3
        ps web
        ",
        expect![[r#"
            n2 Unfit 0 needs 2 CPUs, 1 of 1 are free
            n5 Unfit 0 it is down
            n4 Unfit 0 it is drained
            n3 Unfit 0 host port 5432/tcp is taken
            n1 Unfit 1 needs 2 CPUs, 0 of 2 are free; host port 5432/tcp is taken; has 1 of at most 1 tasks of the service
            n3 1000000000 0 1 [(Tcp, 5432)]
            db Unfit 1 host port 5432/tcp is taken
            web Unfit 0 host port 5432/tcp is taken
            web.1 n1 running -> running
            web.2 - pending -> running: no suitable node (2 nodes not available for new tasks; insufficient resources on 2 nodes; host-mode port already in use on 1 node)
            web.3 - pending -> running: no suitable node (2 nodes not available for new tasks; insufficient resources on 2 nodes; host-mode port already in use on 1 node)"#]],
    );
}

#[test]
fn the_next_node_is_the_one_that_gets_the_next_task() {
    check(
        "
        node n1 label=zone=a
        node n2 label=zone=a
        node n3 label=zone=b
        service web replicas=3 spread=node.labels.zone
        run
        explain web
        scale web 4
        run
        count web
        explain web
        ",
        expect![[r#"
            n3 Next 1 
            n1 Fits 1 
            n2 Fits 1 
            n1: 1
            n2: 1
            n3: 2
            n1 Next 1 
            n2 Fits 1 
            n3 Fits 2"#]],
    );
}

#[test]
fn a_place_that_stays_empty_is_told_of() {
    check(
        "
        node n1
        node n2
        service web replicas=2 restart=any attempts=1 delay=0s
        fail web.2
        run
        step 10s
        explain web
        service job replicas=1 restart=on-failure delay=0s
        run
        complete job.1
        run
        explain job
        service agent global restart=none
        run
        kill agent@n1
        run
        explain agent
        ",
        expect![[r#"
            n2 Next 0 
            n1 Fits 1 
            empty web@2: the one attempt to restart it is used
            n2 Next 0 
            n1 Fits 0 
            empty job@1: it is done, and its restart condition is on-failure
            n1 Fits 0 
            n2 Serves 1 
            empty agent@n1: it ended, and its restart condition is none; last: task: non-zero exit (137)"#]],
    );
}

#[test]
fn a_node_that_is_blamed_is_tried_last_and_told_so() {
    check(
        "
        node n1
        node n2
        service web replicas=1 delay=0s constraint=node.hostname==n1
        reject web.1
        run
        step 60s
        explain web
        ",
        expect![[r#"
            n1 Next 0 5 tasks failed here in the last minutes: tried last
            n2 Unfit 0 does not satisfy node.hostname==n1"#]],
    );
}

#[test]
fn of_a_job_that_has_ended_no_node_gets_the_next_task() {
    check(
        "
        node n1
        node n2
        service job completions=2 concurrent=1
        run
        explain job
        finish job.1 n1
        run
        finish job.2 n1
        run
        explain job
        ",
        expect![[r#"
            n2 Next 0 
            n1 Fits 1 
            n1 Fits 0 
            n2 Fits 0"#]],
    );
}
