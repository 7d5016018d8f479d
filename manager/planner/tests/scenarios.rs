//! The planner, seen as an operator sees the swarm.

mod support;

use expect_test::expect;
use support::check;

#[test]
fn replicas_spread_over_the_nodes() {
    check(
        "
        node n1
        node n2
        node n3
        network front
        service web replicas=4 net=front port=8080:80
        run
        ps web
        addresses web
        services
        networks
        nodes
        ",
        expect![[r#"
            web.1 n1 running -> running
            web.2 n2 running -> running
            web.3 n3 running -> running
            web.4 n1 running -> running
            web.2 n2 front=10.0.1.32 ingress=10.0.0.32
            web.3 n3 front=10.0.1.48 ingress=10.0.0.48
            web.1 n1 front=10.0.1.16 ingress=10.0.0.16
            web.4 n1 front=10.0.1.17 ingress=10.0.0.17
            web 8080->80 front=10.0.1.2 ingress=10.0.0.2
            ingress 10.0.0.0/24
              10.0.0.0/28 services
              10.0.0.16/28 n1
              10.0.0.32/28 n2
              10.0.0.48/28 n3
            front 10.0.1.0/24
              10.0.1.0/28 services
              10.0.1.16/28 n1
              10.0.1.32/28 n2
              10.0.1.48/28 n3
            n1 ready 10.255.0.1 
            n2 ready 10.255.0.2 
            n3 ready 10.255.0.3"#]],
    );
}
