//! Changes of stacks: of many objects at once, all or none of them.

use super::{ConfigAction, NetworkAction, SecretAction, ServiceAction};
use skep_types::{NetworkId, StackId, StackSpec, Version};
use std::sync::Arc;

/// A change of a stack. Its parts are applied in order; where one is refused, or the
/// stack is not what it was planned on, nothing of it is done.
#[derive(Debug, Clone, PartialEq)]
pub enum StackAction {
    /// Deploys it, and keeps what was deployed as a revision, unless that is what it was.
    Apply {
        /// Its id.
        id: StackId,
        /// Version read; none where there was no stack of that name.
        version: Option<Version>,
        /// What is kept, with contents by generation.
        spec: Arc<StackSpec>,
        /// Number of the revision that it goes back to.
        returns_to: Option<u64>,
        /// Networks that it has no more: they are removed once nothing uses them.
        leaving: Vec<NetworkId>,
        /// What it takes to get there.
        parts: Vec<StackPart>,
    },
    /// Forgets it with its revisions. Networks that were leaving it go with it.
    Remove {
        /// Its name.
        name: String,
        /// Version read; none where there was no stack of that name, only objects with
        /// its label.
        version: Option<Version>,
        /// What removes its objects.
        parts: Vec<StackPart>,
    },
}

/// A change of one object of a stack.
#[derive(Debug, Clone, PartialEq)]
pub enum StackPart {
    /// Of a service.
    Service(ServiceAction),
    /// Of a network.
    Network(NetworkAction),
    /// Of a secret.
    Secret(SecretAction),
    /// Of a config.
    Config(ConfigAction),
}
