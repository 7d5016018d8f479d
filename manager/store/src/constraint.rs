//! Placement constraints: `key==value` and `key!=value` over what is known of
//! a node. One grammar for the check of a request and for the scheduler.

use ipnet::IpNet;
use skep_types::{Node, Role};
use std::net::IpAddr;

/// A constraint that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    key: Key,
    equal: bool,
    value: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Id,
    Hostname,
    Ip,
    Role,
    Os,
    Architecture,
    NodeLabel(String),
    EngineLabel(String),
    /// Not known to this release: never holds, whatever the operator.
    Unknown,
}

/// Text that is not a constraint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// No operator.
    #[error("constraint expected one operator from ==, != in '{0}'")]
    NoOperator(String),
    /// A key with characters that no key has.
    #[error("key '{0}' is invalid")]
    Key(String),
    /// A value that is empty or has characters that no value has.
    #[error("value '{0}' is invalid")]
    Value(String),
}

impl Constraint {
    /// Reads one constraint. Spaces around key and value do not count.
    ///
    /// # Errors
    /// The text has no operator, or a part that no key or value can have.
    pub fn parse(text: &str) -> Result<Constraint, Invalid> {
        let (key, equal, value) = if let Some((key, value)) = text.split_once("==") {
            (key, true, value)
        } else if let Some((key, value)) = text.split_once("!=") {
            (key, false, value)
        } else {
            return Err(Invalid::NoOperator(text.to_owned()));
        };
        let (key, value) = (key.trim(), value.trim());
        let word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let starts = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts || !key.chars().all(|c| word(c) || c == '/') {
            return Err(Invalid::Key(key.to_owned()));
        }
        let in_value = |c: char| word(c) || " :/()?+*[]\\^$|@,=".contains(c);
        if value.is_empty() || !value.chars().all(in_value) {
            return Err(Invalid::Value(value.to_owned()));
        }
        Ok(Constraint {
            key: Key::parse(key),
            equal,
            value: value.to_owned(),
        })
    }

    /// Whether a node meets it. A missing label counts as an empty one.
    pub fn holds(&self, node: &Node) -> bool {
        let same = |text: &str| text.eq_ignore_ascii_case(&self.value);
        let found = match &self.key {
            Key::Id => same(&node.id.to_string()),
            Key::Hostname => same(&node.description.hostname),
            Key::Ip => match node.status.address {
                Some(address) => self.covers(address),
                None => false,
            },
            Key::Role => same(match node.role {
                Role::Manager => "manager",
                Role::Worker => "worker",
            }),
            Key::Os => same(&node.description.platform.os),
            Key::Architecture => {
                normal(&node.description.platform.architecture) == normal(&self.value)
            }
            Key::NodeLabel(label) => same(node.spec.labels.get(label).map_or("", String::as_str)),
            Key::EngineLabel(label) => same(
                node.description
                    .engine_labels
                    .get(label)
                    .map_or("", String::as_str),
            ),
            Key::Unknown => return false,
        };
        found == self.equal
    }

    fn covers(&self, address: IpAddr) -> bool {
        if let Ok(wanted) = self.value.parse::<IpAddr>() {
            return wanted == address;
        }
        self.value
            .parse::<IpNet>()
            .is_ok_and(|range| range.contains(&address))
    }
}

impl Key {
    fn parse(text: &str) -> Key {
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            "node.id" => return Key::Id,
            "node.hostname" => return Key::Hostname,
            "node.ip" => return Key::Ip,
            "node.role" => return Key::Role,
            "node.platform.os" => return Key::Os,
            "node.platform.arch" => return Key::Architecture,
            _ => {}
        }
        // The label itself keeps its case.
        for (prefix, make) in [
            (NODE_LABEL, Key::NodeLabel as fn(String) -> Key),
            (ENGINE_LABEL, Key::EngineLabel),
        ] {
            if lower.starts_with(prefix) && lower.len() > prefix.len() {
                return make(text[prefix.len()..].to_owned());
            }
        }
        Key::Unknown
    }
}

/// Prefix of keys that name a label of the node object.
pub const NODE_LABEL: &str = "node.labels.";
/// Prefix of keys that name a label of the daemon.
pub const ENGINE_LABEL: &str = "engine.labels.";

fn normal(architecture: &str) -> String {
    match architecture.to_ascii_lowercase().as_str() {
        "x86_64" => "amd64".to_owned(),
        "aarch64" => "arm64".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_types::{NodeDescription, NodeId, NodeSpec, NodeStatus, Platform};

    fn node() -> Node {
        Node {
            id: NodeId::from_bits(7),
            meta: Default::default(),
            spec: NodeSpec {
                labels: [("Zone".to_owned(), "a".to_owned())].into(),
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
            manager: None,
            mesh: None,
        }
    }

    #[test]
    fn constraints_hold_as_swarm_reads_them() {
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
        ] {
            let constraint = Constraint::parse(text).unwrap();
            assert_eq!(constraint.holds(&node()), expected, "{text}");
        }
    }

    #[test]
    fn text_that_is_no_constraint_is_refused_with_the_part_at_fault() {
        for (text, message) in [
            (
                "node.role=manager",
                "constraint expected one operator from ==, != in 'node.role=manager'",
            ),
            ("node role==x", "key 'node role' is invalid"),
            ("==x", "key '' is invalid"),
            ("node.role==", "value '' is invalid"),
        ] {
            assert_eq!(Constraint::parse(text).unwrap_err().to_string(), message);
        }
    }
}
