//! What nodes keep for themselves, what they have of kinds of their own, and what they run.

use crate::support::check;
use expect_test::expect;

#[test]
fn what_a_node_keeps_for_itself_is_not_given_out() {
    check(
        "
        node n1 cpus=4 memory=4 reserve=0.5 reserve-memory=1g
        node n2 cpus=1 reserve=2
        service web replicas=5 cpu=1
        run
        count web
        explain web
        service db replicas=1 memory=4
        run
        why
        explain db
        ",
        expect![[r#"
            n1: 3
            n2: 0
            n2 Unfit 0 needs 1 CPUs, 0 of 0 are free (2 kept for the system)
            n1 Unfit 3 needs 1 CPUs, 0.5 of 3.5 are free (0.5 kept for the system)
            web.4: no suitable node (insufficient resources on 2 nodes)
            web.5: no suitable node (insufficient resources on 2 nodes)
            n2 Next 1 
            n1 Unfit 0 needs 4 GiB of memory, 3 GiB of 3 GiB are free (1 GiB kept for the system)"#]],
    );
}

#[test]
fn generic_resources_are_counted_and_freed() {
    check(
        "
        node n1 generic=gpu=2
        node n2 generic=gpu=b,a generic=ssd=1
        node n3
        service ai replicas=5 generic=gpu=1
        run
        given ai
        why
        explain ai
        explain-node n2
        # Of the two that are free again the other gets one.
        scale ai 3
        run
        service disk replicas=1 generic=gpu=1 generic=ssd=1
        run
        given ai
        given disk
        ",
        expect![[r#"
            ai.1 n1 gpu=1
            ai.2 n2 gpu=a
            ai.3 n1 gpu=1
            ai.4 n2 gpu=b
            ai.5 - 
            ai.5: no suitable node (insufficient resources on 3 nodes)
            n3 Unfit 0 needs 1 gpu, it has none
            n1 Unfit 2 needs 1 gpu, 0 of 2 are free
            n2 Unfit 2 needs 1 gpu, 0 of 2 are free
            n2 0 0 2 [] gpu=2
            ai Unfit 2 needs 1 gpu, 0 of 2 are free
            ai.1 n1 gpu=1
            ai.2 n2 gpu=a
            ai.3 n1 gpu=1
            disk.1 n2 gpu=b ssd=1"#]],
    );
}

#[test]
fn a_name_is_free_once_its_task_has_ended() {
    check(
        "
        node n1 generic=gpu=a
        service ai replicas=1 generic=gpu=1 image=a grace=10s
        run
        linger ai.1
        update ai image=b
        run
        ps ai
        given ai
        end ai.1
        run
        given ai
        ",
        expect![[r#"
            ai.1 - pending -> ready image b: no suitable node (insufficient resources on 1 node)
            ai.1 n1 running -> shutdown image a
            ai.1 - 
            ai.1 n1 gpu=a
            ai.1 n1 gpu=a"#]],
    );
}

#[test]
fn a_new_task_that_starts_first_gets_the_name_of_the_old_one() {
    check(
        "
        node n1 generic=gpu=a
        service ai replicas=1 generic=gpu=1 image=a order=start-first monitor=0s
        run
        update ai image=b
        run
        services
        given ai
        ",
        expect![[r#"
            ai [Completed: update completed]
            ai.1 n1 gpu=a"#]],
    );
}

#[test]
fn global_services_wait_where_there_is_none() {
    check(
        "
        node n1 generic=gpu=a
        node n2
        service ai global generic=gpu=1
        run
        given ai
        why
        ",
        expect![[r#"
            ai.bwsu4evzw0yccv95rqxlxm4wf n2 
            ai.bctup7g1u5b6xvsadagw7zrr1 n1 gpu=a
            ai.bwsu4evzw0yccv95rqxlxm4wf: no suitable node (insufficient resources on 1 node)"#]],
    );
}

#[test]
fn a_task_goes_where_its_image_runs() {
    check(
        "
        node n1 platform=linux/x86_64
        node n2 platform=linux/aarch64
        node n3
        service web replicas=2 platform=linux/amd64
        service pi replicas=2 platform=linux/arm64 platform=linux/arm
        service mac replicas=1 platform=darwin/arm64
        service all global platform=linux/amd64
        run
        count web
        count pi
        count all
        why
        explain mac
        ",
        expect![[r#"
            n1: 2
            n2: 0
            n3: 0
            n1: 0
            n2: 2
            n3: 0
            n1: 1
            n2: 0
            n3: 0
            mac.1: no suitable node (unsupported platform on 3 nodes)
            n3 Unfit 0 has not said what it is, and the image is for darwin/arm64
            n2 Unfit 0 is linux/aarch64, and the image is for darwin/arm64
            n1 Unfit 0 is linux/x86_64, and the image is for darwin/arm64"#]],
    );
}

#[test]
fn tasks_leave_nodes_that_their_image_does_not_run_on() {
    check(
        "
        node n1 platform=linux/amd64
        node n2 platform=linux/arm64
        service web replicas=2 monitor=0s
        run
        count web
        update web platform=linux/arm64
        run
        step 60s
        ps web
        ",
        expect![[r#"
            n1: 1
            n2: 1
            web.1 n2 running -> running
            web.1 n1 shutdown -> shutdown
            web.2 n2 running -> running"#]],
    );
}

#[test]
fn what_has_generic_resources_and_host_ports_rests_as_others_do() {
    check(
        "
        node n1 generic=gpu=a
        node n2 generic=gpu=1
        service ai replicas=2 generic=gpu=1
        service edge replicas=2 hostport=80:80
        run
        step 60s
        rest
        say and what they have is taken all the same
        service more replicas=1 generic=gpu=1
        service proxy replicas=1 hostport=80:80
        run
        why
        scale edge 1
        run
        ps proxy
        rest
        ",
        expect![[r#"
            rest: ai edge
            -- and what they have is taken all the same
            more.1: no suitable node (insufficient resources on 2 nodes)
            proxy.1: no suitable node (host-mode port already in use on 2 nodes)
            proxy.1 n2 running -> running
            rest: ai proxy edge"#]],
    );
}

#[test]
fn what_needs_a_volume_that_no_node_can_make_waits() {
    check(
        "
        node n1
        node n2
        service db volume=rexray/dobs
        service agent global volume=rexray/dobs
        service web volume=local
        run
        why
        ps web
        explain db
        ",
        expect![[r#"
            agent.bctup7g1u5b6xvsadagw7zrr1: no suitable node (missing volume driver on 1 node)
            agent.bwsu4evzw0yccv95rqxlxm4wf: no suitable node (missing volume driver on 1 node)
            db.1: no suitable node (missing volume driver on 2 nodes)
            web.1 n1 running -> running
            n2 Unfit 0 does not have the volume driver rexray/dobs
            n1 Unfit 0 does not have the volume driver rexray/dobs"#]],
    );
}
