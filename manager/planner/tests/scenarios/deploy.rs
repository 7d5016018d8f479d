//! Deploys of stacks: what each would change, and that this is all.

use crate::support::check;
use expect_test::expect;

#[test]
fn the_first_makes_all_and_the_same_again_changes_nothing() {
    check(
        "
        node n1
        deploy shop web=nginx*2@8080 api=img net=front secret=key:hush
        run
        ps shop_web
        ps shop_api
        deploy shop web=nginx*2@8080 api=img net=front secret=key:hush
        say one image
        deploy shop web=nginx2*2@8080 api=img net=front secret=key:hush
        run
        stacks
        ",
        expect![[r#"
            create network shop_front
            create secret key
            create service shop_web
            create service shop_api
            shop_web.1 n1 running -> running image nginx
            shop_web.2 n1 running -> running image nginx
            shop_api.1 n1 running -> running image img
            nothing to change
            -- one image
            update service shop_web
            shop 2; 1 Completed"#]],
    );
}

#[test]
fn what_is_left_out_stays_until_it_is_pruned() {
    check(
        "
        node n1
        deploy shop web=nginx api=img net=front net=back secret=key:hush secret=used:yes
        service other secret=used
        run
        deploy shop web=nginx net=front
        run
        say pruned, but for what another uses
        deploy shop web=nginx net=front prune
        step 20s
        networks
        secrets
        services
        ",
        expect![[r#"
            create network shop_front
            create network shop_back
            create secret key
            create secret used
            create service shop_web
            create service shop_api
            update service shop_web
            -- pruned, but for what another uses
            remove service shop_api
            remove secret key
            ingress 10.0.0.0/24
              10.0.0.0/28 n1
            shop_front 10.0.1.0/24
              10.0.1.0/28 services
              10.0.1.16/28 n1
            key 1 hush superseded, used 1 yes
            shop_web shop_front=10.0.1.2 [Completed: update completed]
            other"#]],
    );
}

#[test]
fn a_port_goes_from_a_service_that_is_pruned_to_a_new_one() {
    check(
        "
        node n1
        deploy shop old=nginx@8080
        run
        deploy shop new=nginx@8080
        say and with prune
        deploy shop new=nginx@8080 prune
        run
        ps shop_new
        ",
        expect![[r#"
            create service shop_old
            service shop_new: port '8080' is already in use by service 'shop_old' (5b4at7e9v97wp3frf44l85v5w) as an ingress port
            -- and with prune
            remove service shop_old
            create service shop_new
            shop_new.1 n1 running -> running image nginx"#]],
    );
}

#[test]
fn the_number_of_tasks_stays_unless_it_is_said() {
    check(
        "
        node n1
        deploy shop web=nginx
        scale shop_web 3
        run
        deploy shop web=nginx
        foresee deploy shop web=nginx2
        deploy shop web=nginx2
        run
        count shop_web
        deploy shop web=nginx2 reset-scale
        run
        count shop_web
        deploy shop web=nginx2*4
        run
        count shop_web
        ",
        expect![[r#"
            create service shop_web
            nothing to change
            update service shop_web
            +0ns shop_web.1 stops on n1: updated
            +0ns shop_web.1 starts on n1: updated
            +5s shop_web.2 stops on n1: updated
            +5s shop_web.2 starts on n1: updated
            +10s shop_web.3 stops on n1: updated
            +10s shop_web.3 starts on n1: updated
            Completed: update completed
            0 kept
            update service shop_web
            n1: 3
            update service shop_web
            n1: 1
            update service shop_web
            n1: 4"#]],
    );
}

#[test]
fn other_content_reaches_all_who_use_it_in_one_update_each() {
    check(
        "
        node n1
        deploy shop web=nginx secret=key:one
        service other secret=key
        run
        deploy shop web=nginx2 secret=key:two
        step 30s
        revisions shop_web
        revisions other
        contents shop_web
        contents other
        say back
        deploy shop back=1
        step 30s
        contents shop_web
        contents other
        stacks
        ",
        expect![[r#"
            create secret key
            create service shop_web
            rotate secret key
            update service shop_web
            roll out its new content
            1 nginx Completed
            2 nginx2 Completed
            1  Completed
            2  Completed
            1 two
            1 two
            -- back
            rotate secret key
            update service shop_web
            roll out its new content
            1 one
            1 one
            shop 3, like 1; 1 Completed; 2 Completed"#]],
    );
}

#[test]
fn all_that_speaks_against_it_is_said_and_nothing_is_done() {
    check(
        "
        node n1
        secret key one
        network shop_front
        service shop_api image=a
        service taken port=8080:80
        deploy shop web=nginx
        run
        deploy shop web=nginx*global
        deploy shop web=nginx@8080 api=img
        deploy shop web=nginx net=front ext-net=theirs secret=key:two ext-secret=pass
        deploy SHOP web=nginx
        stacks
        ",
        expect![[r#"
            create service shop_web
            service shop_web: its mode cannot be changed: remove it first (skep service rm shop_web)
            service shop_web: port '8080' is already in use by service 'taken' (eoduweg9qgem4rm042vpvcqb8) as an ingress port
            service shop_api: name conflicts with an existing object: one of that name exists and is not part of the stack shop; remove it (skep service rm shop_api), or rename the file's
            network shop_front: name conflicts with an existing object: one of that name exists and is not part of the stack shop; to use it as it is, write `name: shop_front` and `external: true` in the file; else give the file's another name
            network theirs: it is declared as external, but could not be found; make it before the stack is deployed: skep network create theirs
            secret key: name conflicts with an existing object: one of that name exists and is not part of the stack shop; to use it as it is, write `name: key` and `external: true` in the file; else give the file's another name
            secret pass: it is declared as external, but does not exist
            stack SHOP: a stack is named 'shop' already
            service SHOP_web: name conflicts with an existing object: one of that name exists and is part of the stack shop; remove it (skep service rm SHOP_web), or rename the file's
            shop 1"#]],
    );
}

#[test]
fn services_that_only_bear_the_label_are_the_stacks_and_go_with_it() {
    check(
        "
        node n1
        deploy shop web=nginx api=img net=front secret=key:one
        run
        forget-stacks
        deploy shop web=nginx net=front secret=key:one
        stacks
        forget-stacks
        undeploy shop
        run
        services
        networks
        secrets
        undeploy shop
        ",
        expect![[r#"
            create network shop_front
            create secret key
            create service shop_web
            create service shop_api
            nothing to change
            shop 1
            remove service shop_web
            remove service shop_api
            remove secret key
            remove network shop_front
            ingress 10.0.0.0/24

            nothing to remove"#]],
    );
}

#[test]
fn who_waits_for_whom_can_be_turned_round_in_one_deploy() {
    check(
        "
        node n1
        deploy shop a=nginx b=nginx>a
        run
        deploy shop a=nginx>b b=nginx
        run
        services
        say a ring is none at any time
        deploy shop a=nginx>b b=nginx>a
        ",
        expect![[r#"
            create service shop_a
            create service shop_b
            update service shop_b
            update service shop_a
            shop_a
            shop_b
            -- a ring is none at any time
            service shop_b: its tasks would wait for each other without end: shop_b waits for shop_a waits for shop_b"#]],
    );
}

#[test]
fn a_way_back_keeps_the_numbers_of_tasks_that_the_file_says() {
    check(
        "
        node n1
        deploy shop web=nginx*2
        run
        scale shop_web 5
        run
        deploy shop web=bad*5
        run
        deploy shop back=1
        step 20s
        ps shop_web
        ",
        expect![[r#"
            create service shop_web
            update service shop_web
            update service shop_web
            shop_web.1 n1 running -> running image nginx
            shop_web.1 n1 shutdown -> shutdown image nginx
            shop_web.1 n1 shutdown -> shutdown image bad
            shop_web.2 n1 running -> running image nginx
            shop_web.3 n1 running -> running image nginx
            shop_web.4 n1 running -> running image nginx
            shop_web.5 n1 running -> running image nginx"#]],
    );
}

#[test]
fn a_network_stays_while_an_update_may_go_back_to_it() {
    check(
        "
        node n1
        deploy shop web=nginx net=front net=back
        run
        fail shop_web.1
        deploy shop web=bad net=front prune
        run
        networks
        heal shop_web.1
        update shop_web image=good
        step 30s
        networks
        ",
        expect![[r#"
            create network shop_front
            create network shop_back
            create service shop_web
            update service shop_web
            ingress 10.0.0.0/24
            shop_front 10.0.1.0/24
              10.0.1.0/28 services
              10.0.1.16/28 n1
            shop_back 10.0.2.0/24
              10.0.2.0/28 services
              10.0.2.16/28 n1
            ingress 10.0.0.0/24
            shop_front 10.0.1.0/24
              10.0.1.0/28 services
              10.0.1.16/28 n1"#]],
    );
}

#[test]
fn what_others_use_keeps_a_stack_from_being_removed() {
    check(
        "
        node n1
        deploy shop web=nginx secret=key:hush
        service other secret=key
        run
        undeploy shop
        services
        ",
        expect![[r#"
            create secret key
            create service shop_web
            secret 'key' is in use by the following service: other; update or remove it first
            shop_web
            other"#]],
    );
}

#[test]
fn services_exchange_what_they_have() {
    check(
        "
        node n1
        deploy shop web=nginx@8080 api=nginx@8081 db=nginx@8082
        run
        say a ring of ports
        deploy shop web=nginx@8081 api=nginx@8082 db=nginx@8080
        run
        services
        say one is another's, and says so alone
        service other image=nginx port=9000:80
        run
        deploy shop web=nginx@8082 api=nginx@8081 db=nginx@9000
        say a new one takes what they leave
        deploy shop web=nginx@8082 api=nginx@8081 db=nginx@8083 new=nginx@8080
        run
        services
        ",
        expect![[r#"
            create service shop_web
            create service shop_api
            create service shop_db
            -- a ring of ports
            update service shop_web
            update service shop_api
            update service shop_db
            shop_web 8081->80 ingress=10.0.0.2
            shop_db 8080->80 ingress=10.0.0.3
            shop_api 8082->80 ingress=10.0.0.4
            -- one is another's, and says so alone
            service shop_db: port '9000' is already in use by service 'other' (cnrc61nqathke2az6ts1ntzz1) as an ingress port
            -- a new one takes what they leave
            update service shop_db
            create service shop_new
            update service shop_web
            update service shop_api
            shop_web 8082->80 ingress=10.0.0.2
            shop_db 8083->80 ingress=10.0.0.3
            shop_new 8080->80 ingress=10.0.0.6
            other 9000->80 ingress=10.0.0.5
            shop_api 8081->80 ingress=10.0.0.4"#]],
    );
}
