//! What `apply` tells watchers: which object changed and how, in the words
//! that `skep events` shows.

use skep_types::{ClusterId, ConfigId, NetworkId, NodeId, SecretId, ServiceId, StackId, TaskId};
use std::fmt;

/// One change of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Which object.
    pub object: ObjectId,
    /// What happened to it.
    pub action: EventAction,
    /// Its name at that moment (the host name of a node, `service.slot` of a task).
    pub name: String,
    /// What changed, e.g. `replicas.old`, `replicas.new`.
    pub attributes: Vec<(&'static str, String)>,
}

/// Kind and id of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectId {
    /// The cluster.
    Cluster(ClusterId),
    /// A node.
    Node(NodeId),
    /// A service.
    Service(ServiceId),
    /// A task.
    Task(TaskId),
    /// A network.
    Network(NetworkId),
    /// A secret.
    Secret(SecretId),
    /// A config.
    Config(ConfigId),
    /// A stack.
    Stack(StackId),
}

impl ObjectId {
    /// Lower-case name of the kind, as event filters have it.
    pub fn kind(self) -> &'static str {
        match self {
            ObjectId::Cluster(_) => "cluster",
            ObjectId::Node(_) => "node",
            ObjectId::Service(_) => "service",
            ObjectId::Task(_) => "task",
            ObjectId::Network(_) => "network",
            ObjectId::Secret(_) => "secret",
            ObjectId::Config(_) => "config",
            ObjectId::Stack(_) => "stack",
        }
    }
}

impl fmt::Display for ObjectId {
    /// The id alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObjectId::Cluster(id) => id.fmt(f),
            ObjectId::Node(id) => id.fmt(f),
            ObjectId::Service(id) => id.fmt(f),
            ObjectId::Task(id) => id.fmt(f),
            ObjectId::Network(id) => id.fmt(f),
            ObjectId::Secret(id) => id.fmt(f),
            ObjectId::Config(id) => id.fmt(f),
            ObjectId::Stack(id) => id.fmt(f),
        }
    }
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventAction {
    /// It was made.
    Create,
    /// It was changed.
    Update,
    /// It was removed.
    Remove,
}

impl EventAction {
    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            EventAction::Create => "create",
            EventAction::Update => "update",
            EventAction::Remove => "remove",
        }
    }
}

impl fmt::Display for EventAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
