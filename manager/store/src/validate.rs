//! Checks of what users ask for, before it becomes an action: names, sizes,
//! ranges, references and ports, with Swarm's messages.
//!
//! A check against a snapshot can be overtaken by another request; what must
//! hold in any case is refused by `apply` again.

mod data;
mod dependencies;
mod isolation;
mod job;
mod placement;
mod resources;
mod rollout;
mod service;
mod stack;

pub use data::{
    validate_config, validate_config_content, validate_secret, validate_secret_content,
};
pub use rollout::{pause_update, rebalance, resume_update, roll_back};
pub use service::{validate_service, validate_service_update};
pub use stack::{STACK_MAX_BYTES, validate_stack};

use crate::data::Superseded;
use crate::snapshot::Snapshot;
use ipnet::Ipv4Net;
use skep_types::template::{SpecError, TemplateError};
use skep_types::{ClusterSpec, NetworkSpec, NodeSpec};
use std::time::Duration;

/// Longest name of a service or network.
const NAME_MAX: usize = 63;
/// Least life of a node certificate.
const CERT_EXPIRY_MIN: Duration = Duration::from_secs(60 * 60);
/// Smallest subnet of the pools, as a prefix length.
const SUBNET_LENGTH_MAX: u8 = 29;
/// Most tasks moved a minute so that services are even.
const REBALANCE_MAX: u32 = 10_000;

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The name is missing.
    #[error("{0}: name must be provided")]
    NoName(&'static str),
    /// The name has characters that a DNS label has not.
    #[error("name must be valid as a DNS name component: '{0}'")]
    Name(String),
    /// The name is too long.
    #[error("name must be {max} characters or fewer: '{name}'")]
    NameTooLong {
        /// The name.
        name: String,
        /// The limit.
        max: usize,
    },
    /// The name of a secret or config is not one.
    #[error(
        "invalid {kind} name '{name}': only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]"
    )]
    FileName {
        /// Kind of object.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The name is taken.
    #[error("name conflicts with an existing object: {kind} {name} already exists")]
    NameTaken {
        /// Kind of object.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// Content of a secret or config is too large, or a secret's is empty.
    #[error("{kind} '{name}' has {bytes} bytes: it must have {range}")]
    Size {
        /// Kind of object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// How many it has.
        bytes: usize,
        /// How many it may have, in words.
        range: String,
    },
    /// A part of a service's spec; the message says which.
    #[error("{0}")]
    Spec(String),
    /// A constraint cannot be read.
    #[error(transparent)]
    Constraint(#[from] skep_types::constraint::Invalid),
    /// A template of a service's spec cannot be read or filled in.
    #[error("ContainerSpec: {0}")]
    Template(#[from] SpecError),
    /// The content of a secret or config is to be a template and is none.
    #[error("{kind} '{name}' is not a template: {error}")]
    Content {
        /// Kind of object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Why not.
        error: TemplateError,
    },
    /// The spec refers anew to what was superseded.
    #[error(transparent)]
    Superseded(#[from] Superseded),
    /// Something the spec refers to is not there.
    #[error("{kind} {name} not found; create it first")]
    Missing {
        /// Kind of object.
        kind: &'static str,
        /// Its name, or its id.
        name: String,
    },
    /// A published port is in use.
    #[error("port '{port}' is already in use by service '{service}' ({id}) as {how}")]
    PortInUse {
        /// The port.
        port: u16,
        /// Name of the service.
        service: String,
        /// Its id.
        id: skep_types::ServiceId,
        /// How it is used.
        how: &'static str,
    },
    /// Ingress ports need the ingress network.
    #[error("service needs ingress network, but no ingress network is present")]
    NoIngress,
    /// A subnet cannot be used.
    #[error("subnet {subnet}: {reason}")]
    Subnet {
        /// The subnet.
        subnet: Ipv4Net,
        /// Why.
        reason: String,
    },
    /// A cluster setting is out of its range.
    #[error("{0}")]
    Setting(String),
    /// An update cannot be halted, let go on, or taken back.
    #[error("service {service}: {why}")]
    Rollout {
        /// Name of the service.
        service: String,
        /// Why.
        why: String,
    },
    /// A job cannot run now.
    #[error("service {service}: {why}")]
    Run {
        /// Name of the service.
        service: String,
        /// Why.
        why: String,
    },
    /// A stack is not one.
    #[error("stack {stack}: {why}")]
    Stack {
        /// Its name.
        stack: String,
        /// What is wrong with it.
        why: String,
    },
    /// A service cannot be renamed.
    #[error("renaming services is not supported")]
    Renamed,
    /// The mode of a service cannot be changed.
    #[error("service mode change is not allowed")]
    ModeChanged,
}

/// Checks a network that is to be made.
///
/// # Errors
/// What is wrong with it.
pub fn validate_network(snapshot: &Snapshot, spec: &NetworkSpec) -> Result<(), Invalid> {
    dns_name("network", &spec.name)?;
    if snapshot.network_named(&spec.name).is_some() {
        return Err(Invalid::NameTaken {
            kind: "network",
            name: spec.name.clone(),
        });
    }
    if !spec.driver.is_empty() && spec.driver != "overlay" {
        return Err(Invalid::Spec(format!(
            "network driver '{}' is not supported: only overlay networks reach over the swarm",
            spec.driver
        )));
    }
    if spec.ipv6 {
        return Err(Invalid::Spec(format!(
            "network {}: IPv6 is not supported yet; leave it out",
            spec.name
        )));
    }
    for subnet in &spec.subnets {
        let refuse = |reason: String| Invalid::Subnet {
            subnet: *subnet,
            reason,
        };
        if subnet.prefix_len() > SUBNET_LENGTH_MAX || subnet.prefix_len() < 8 {
            return Err(refuse(format!(
                "its length must be from /8 to /{SUBNET_LENGTH_MAX}"
            )));
        }
        if subnet.addr() != subnet.network() {
            return Err(refuse(format!(
                "has host bits set; write {}",
                subnet.trunc()
            )));
        }
        let user = snapshot.networks().find(|network| {
            let mut others = network.subnets.iter();
            others.any(|other| other.contains(subnet) || subnet.contains(other))
        });
        if let Some(network) = user {
            return Err(refuse(format!(
                "overlaps network {}; choose another",
                network.spec.name
            )));
        }
    }
    Ok(())
}

/// Checks what is wanted of a node.
///
/// # Errors
/// The first setting out of its range.
pub fn validate_node(spec: &NodeSpec) -> Result<(), Invalid> {
    let NodeSpec {
        labels,
        role: _,
        availability: _,
        drain_deadline,
    } = spec;
    if labels.len() > NodeSpec::LABELS_MAX {
        return Err(Invalid::Setting(format!(
            "{} labels of a node are too many: it can have {} at most",
            labels.len(),
            NodeSpec::LABELS_MAX
        )));
    }
    for (key, value) in labels {
        if key.is_empty() || key.len().max(value.len()) > NodeSpec::LABEL_MAX {
            let start = &key[..key.floor_char_boundary(32)];
            return Err(Invalid::Setting(format!(
                "the label {start:?} of a node must have a key, and {} bytes at most in key and \
                 value each",
                NodeSpec::LABEL_MAX
            )));
        }
    }
    if drain_deadline.is_some_and(|deadline| deadline > NodeSpec::DRAIN_DEADLINE_MAX) {
        return Err(Invalid::Setting(
            "a node cannot be given more than 30 days to be drained".to_owned(),
        ));
    }
    Ok(())
}

/// Checks settings of the cluster.
///
/// # Errors
/// The first setting out of its range.
pub fn validate_cluster(spec: &ClusterSpec) -> Result<(), Invalid> {
    let refuse = |message: String| Err(Invalid::Setting(message));
    if spec.cert_expiry < CERT_EXPIRY_MIN {
        return refuse("minimum certificate expiry time is: 1h0m0s".to_owned());
    }
    if spec.heartbeat < Duration::from_millis(100) {
        return refuse("the heartbeat period must be 100 ms or more".to_owned());
    }
    if spec.data_path_port < 1024 {
        return refuse(format!(
            "data path port {} is out of range: 1024 to 65535",
            spec.data_path_port
        ));
    }
    if spec.rebalance_per_minute > REBALANCE_MAX {
        return refuse(format!(
            "a rebalance rate of {} is out of range: 0 to {REBALANCE_MAX} tasks a minute",
            spec.rebalance_per_minute
        ));
    }
    if spec.subnet_length > SUBNET_LENGTH_MAX {
        return refuse(format!(
            "subnet size /{} is out of range: /{SUBNET_LENGTH_MAX} is the smallest",
            spec.subnet_length
        ));
    }
    for (index, pool) in spec.address_pools.iter().enumerate() {
        if pool.prefix_len() > spec.subnet_length {
            return refuse(format!(
                "address pool {pool} is smaller than a subnet (/{})",
                spec.subnet_length
            ));
        }
        let mut earlier = spec.address_pools[..index].iter();
        if let Some(other) = earlier.find(|o| o.contains(pool) || pool.contains(*o)) {
            return refuse(format!("address pools {pool} and {other} overlap"));
        }
    }
    Ok(())
}

/// `^[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*$`, at most 63 characters.
fn dns_name(kind: &'static str, name: &str) -> Result<(), Invalid> {
    if name.is_empty() {
        return Err(Invalid::NoName(kind));
    }
    let middle = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let ends = |c: char| c.is_ascii_alphanumeric();
    if !name.chars().all(middle) || !name.starts_with(ends) || !name.ends_with(ends) {
        return Err(Invalid::Name(name.to_owned()));
    }
    if name.len() > NAME_MAX {
        return Err(Invalid::NameTooLong {
            name: name.to_owned(),
            max: NAME_MAX,
        });
    }
    Ok(())
}
