//! What constraints hold, and what is none.

use super::*;
use crate::{NodeDescription, NodeId, NodeSpec, NodeStatus, Platform};

fn node() -> Node {
    let labels = [("Zone", "a"), ("slots", "7"), ("empty", "")];
    Node {
        id: NodeId::from_bits(7),
        meta: Default::default(),
        spec: NodeSpec {
            labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            ..NodeSpec::default()
        },
        description: NodeDescription {
            hostname: "Alpha".into(),
            platform: Platform {
                os: "linux".into(),
                architecture: "x86_64".into(),
            },
            ..NodeDescription::default()
        },
        status: NodeStatus {
            address: Some("10.1.2.3".parse().unwrap()),
            ..NodeStatus::default()
        },
        role: Role::Worker,
        role_since: Default::default(),
        drain_since: None,
        manager: None,
        mesh: None,
    }
}

#[test]
fn constraints_hold_as_they_read() {
    for (text, expected) in [
        ("node.hostname == alpha", true),
        ("node.hostname!=alpha", false),
        ("NODE.ROLE==Worker", true),
        ("node.role!=manager", true),
        ("node.ip==10.1.2.3", true),
        ("node.ip==10.1.0.0/16", true),
        ("node.ip!=10.2.0.0/16", true),
        ("node.platform.os==linux", true),
        ("node.platform.arch==amd64", true),
        ("node.labels.Zone==A", true),
        ("node.labels.zone==a", false),
        ("node.labels.missing!=x", true),
        ("engine.labels.disk==ssd", false),
        ("node.nonsense==1", false),
        ("node.nonsense!=1", false),
        ("node.nonsense !exists", false),
        ("node.labels.Zone in a,b", true),
        ("node.labels.Zone in b, c", false),
        ("node.labels.Zone notin b , c", true),
        ("node.labels.Zone notin A", false),
        ("node.labels.missing in a", false),
        ("node.labels.missing notin a", true),
        ("node.hostname in beta,alpha", true),
        ("node.ip in 10.2.0.0/16,10.1.0.0/16", true),
        ("node.ip in 10.2.0.0/16,10.1.2.3", true),
        ("node.ip notin 10.1.0.0/16", false),
        ("node.ip in fd00::/8", false),
        ("node.platform.arch in arm64,amd64", true),
        ("node.labels.slots > 6", true),
        ("node.labels.slots>7", false),
        ("node.labels.slots < 8", true),
        ("node.labels.slots > -1", true),
        ("node.labels.Zone > 0", false),
        ("node.labels.Zone < 0", false),
        ("node.labels.missing < 1", false),
        ("node.labels.empty exists", true),
        ("node.labels.missing exists", false),
        ("node.labels.missing !exists", true),
        ("node.labels.empty !exists", false),
        ("node.ip exists", true),
    ] {
        let constraint = Constraint::parse(text).unwrap();
        assert_eq!(constraint.holds(&node()), expected, "{text}");
        let again = Constraint::parse(&constraint.to_string()).unwrap();
        assert_eq!(again, constraint, "{text}");
    }
}

#[test]
fn a_node_without_an_address_lies_nowhere() {
    let mut node = node();
    node.status.address = None;
    for (text, expected) in [
        ("node.ip==0.0.0.0/0", false),
        ("node.ip in 0.0.0.0/0", false),
        ("node.ip notin 0.0.0.0/0", true),
        ("node.ip exists", false),
    ] {
        let constraint = Constraint::parse(text).unwrap();
        assert_eq!(constraint.holds(&node), expected, "{text}");
    }
}

#[test]
fn text_that_is_no_constraint_is_refused_with_the_part_at_fault() {
    for (text, message) in [
        (
            "node.role=manager",
            "expected one operator from ==, !=, in, notin, >, <, exists, !exists; did you \
             mean node.role==manager?",
        ),
        (
            "node.labels.a inside b",
            "expected one operator from ==, !=, in, notin, >, <, exists, !exists",
        ),
        (
            "",
            "expected one operator from ==, !=, in, notin, >, <, exists, !exists",
        ),
        ("node role==x", "key 'node role' is invalid"),
        ("==x", "key '' is invalid"),
        ("node.role==", "a value is missing"),
        ("node.labels.a in", "a value is missing"),
        ("node.labels.a in b,,c", "a value is missing"),
        ("node.labels.a in b;c", "value 'b;c' is invalid"),
        (
            "node.ip in 10.0.0.0/8,10.1",
            "'10.1' is neither an address nor a subnet",
        ),
        ("node.labels.a > many", "'many' is not a whole number"),
        (
            "node.labels.a >= 5",
            "'= 5' is not a whole number; there are only > and <: for at least 5 write > 4",
        ),
        (
            "node.labels.a < 9223372036854775808",
            "'9223372036854775808' is not a whole number",
        ),
        (
            "node.hostname > 5",
            "node.hostname has no order: > and < are for labels",
        ),
        (
            "node.labels.a exists b",
            "exists takes no value, but 'b' follows it",
        ),
    ] {
        let said = Constraint::parse(text).unwrap_err().to_string();
        assert_eq!(said, format!("constraint '{text}': {message}"));
    }
    let many = format!("node.labels.a in {}", ["b"; 257].join(","));
    let fault = Constraint::parse(&many).unwrap_err().fault;
    assert_eq!(
        fault.to_string(),
        "257 values are too many: it can have 256 at most"
    );
}
