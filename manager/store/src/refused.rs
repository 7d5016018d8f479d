//! Why the store refuses an action, in words for the user who asked for it.

use crate::data::Superseded;
use crate::event::ObjectId;
use crate::format::readers;
use ipnet::Ipv4Net;
use skep_types::{Format, NetworkId, NodeId, TaskId, TaskState};
use std::net::IpAddr;

/// Why an action changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The object changed since it was read.
    #[error("update out of sequence: {kind} {name} was changed meanwhile; read it again and retry", kind = .object.kind())]
    Stale {
        /// The object.
        object: ObjectId,
        /// Its name.
        name: String,
    },
    /// There is no such object.
    #[error("{kind} {0} not found", kind = .0.kind())]
    NotFound(ObjectId),
    /// The name is taken.
    #[error("name conflicts with an existing object: {kind} {name} already exists")]
    NameTaken {
        /// Kind of the object.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The id is taken.
    #[error("{kind} {0} already exists", kind = .0.kind())]
    IdTaken(ObjectId),
    /// There is no cluster object yet.
    #[error("this swarm has no cluster object yet; run \"skep swarm init\" first")]
    NoCluster,
    /// The object is used by services.
    #[error("{kind} '{name}' is in use by the following service{s}: {services}; update or remove {them} first",
        s = if .services.contains(", ") { "s" } else { "" },
        them = if .services.contains(", ") { "them" } else { "it" })]
    InUse {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Names of the services, joined by commas.
        services: String,
    },
    /// A spec refers anew to a generation of a secret or config that was superseded.
    #[error(transparent)]
    Superseded(#[from] Superseded),
    /// A generation of a secret or config is not to be forgotten yet.
    #[error("generation {generation} of {kind} '{name}' is still needed")]
    StillNeeded {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Which.
        generation: u32,
    },
    /// A network is used by a service.
    #[error("network {network} is in use by service {service}; update or remove the service first")]
    NetworkInUse {
        /// Its name.
        network: String,
        /// Name of the service.
        service: String,
    },
    /// A network is used by a task.
    #[error("network {network} is in use by task {task}; wait until the task has stopped")]
    NetworkInUseByTask {
        /// Its name.
        network: String,
        /// The task.
        task: TaskId,
    },
    /// A subnet overlaps one that is in use.
    #[error(
        "subnet {subnet} of network {network} overlaps {other}, which is in use by {user}; choose another subnet"
    )]
    SubnetOverlaps {
        /// The subnet.
        subnet: Ipv4Net,
        /// The network it was asked for.
        network: String,
        /// The subnet in the way.
        other: Ipv4Net,
        /// Whose it is.
        user: String,
    },
    /// A block cannot be given out or back.
    #[error("block {block} of network {network} cannot change hands: {reason}")]
    Block {
        /// The block.
        block: Ipv4Net,
        /// The network.
        network: NetworkId,
        /// Why.
        reason: &'static str,
    },
    /// An address cannot be given to a task or service.
    #[error("address {address} of network {network} cannot be given out: {reason}")]
    Address {
        /// The address.
        address: IpAddr,
        /// The network.
        network: NetworkId,
        /// Why.
        reason: &'static str,
    },
    /// A resource with a name of its own is another task's.
    #[error("{kind} {name} is given to task {task} already")]
    GenericTaken {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// The task that has it.
        task: TaskId,
    },
    /// A node that is not down cannot be removed.
    #[error("node {0} is not down and can't be removed; stop it or use --force")]
    NodeNotDown(NodeId),
    /// A manager cannot be removed.
    #[error(
        "node {0} is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal"
    )]
    NodeIsManager(NodeId),
    /// A swarm without a manager cannot be brought back.
    #[error("attempting to demote the last manager of the swarm")]
    LastManager,
    /// A Raft id was given before.
    #[error("raft id {raft_id} of node {node} was given before; ids are never reused")]
    RaftIdUsed {
        /// The node.
        node: NodeId,
        /// The id.
        raft_id: u64,
    },
    /// A manager does not read a format.
    #[error(
        "manager {node} reads formats up to {reads}, and this needs format {wanted}: install {} on it",
        readers(*.wanted)
    )]
    FormatUnread {
        /// The manager.
        node: NodeId,
        /// The newest it reads.
        reads: Format,
        /// The one it would have to.
        wanted: Format,
    },
    /// An object cannot be renamed.
    #[error("renaming is not supported: {from} cannot become {to}; create a new one instead")]
    Renamed {
        /// Present name.
        from: String,
        /// Name asked for.
        to: String,
    },
    /// The mode of a service cannot be changed.
    #[error("service mode change is not allowed: remove service {0} and create it again")]
    ModeChanged(String),
    /// A revision is not kept.
    #[error("service {service} has no revision {number} to go back to")]
    NoRevision {
        /// Name of the service.
        service: String,
        /// The number.
        number: u64,
    },
    /// The template a task was to be made from is not kept.
    #[error("task template {version} of service {service} is not known")]
    NoTemplate {
        /// The service.
        service: skep_types::ServiceId,
        /// The version.
        version: skep_types::Version,
    },
    /// A state would go back.
    #[error("task {task} is {from} and cannot become {to}: states never go back")]
    StateGoesBack {
        /// The task.
        task: TaskId,
        /// Present state.
        from: TaskState,
        /// State asked for.
        to: TaskState,
    },
    /// A task does not wait for a node.
    #[error("task {0} does not wait for a node")]
    NotWaiting(TaskId),
    /// A task has no node, or has ended.
    #[error("task {0} has nothing on a node")]
    NotPlaced(TaskId),
    /// A task may still be running.
    #[error("task {0} may still be running and cannot be forgotten")]
    StillRunning(TaskId),
    /// A part of a change of a stack was refused, and with it all of it.
    #[error("{because}; nothing of stack {stack} was changed")]
    Part {
        /// The stack.
        stack: String,
        /// Why.
        because: Box<Refused>,
    },
    /// A stack was removed since it was read.
    #[error("stack {0} was removed meanwhile; read it again and retry")]
    NoStack(String),
    /// What is kept of a stack names contents, it does not hold them.
    #[error("stack {0} cannot be kept with the content of its secrets and configs")]
    BringsContent(String),
    /// Items of a group were refused; the others were applied.
    #[error("{refused} of {of} items refused, first: {first}")]
    Items {
        /// How many were refused.
        refused: usize,
        /// Out of how many.
        of: usize,
        /// The first reason.
        first: Box<Refused>,
    },
}

impl Refused {
    /// The object moved on since the action was planned: reading again and
    /// planning again is all that is needed.
    pub fn is_stale(&self) -> bool {
        match self {
            Refused::Stale { .. }
            | Refused::StateGoesBack { .. }
            | Refused::NotWaiting(_)
            | Refused::NotPlaced(_)
            | Refused::NoStack(_)
            // It was tried out on the state it was planned on.
            | Refused::Part { .. } => true,
            Refused::Items { first, .. } => first.is_stale(),
            _ => false,
        }
    }
}
