//! The nouns of skep: what users declare (specs), what the cluster keeps
//! (objects) and what a node is told (assignments).
//!
//! This crate owns meaning only. It has no serde, no prost and no tokio: every
//! edge (wire, disk, Docker's JSON) has its own representation and converts.
//! Conversions destructure these types exhaustively, so that a new field is a
//! compile error at each place that has to decide about it. Beside them, the
//! one way in which errors are told.

#![forbid(unsafe_code)]

pub mod assignment;
pub mod client;
pub mod cluster;
pub mod constraint;
pub mod container;
pub mod cron;
pub mod dependency;
pub mod device;
pub mod endpoint;
pub mod error;
pub mod format;
pub mod health;
pub mod id;
pub mod isolation;
pub mod job;
pub mod meta;
pub mod network;
pub mod node;
pub mod placement;
pub mod resources;
pub mod restart;
pub mod revision;
pub mod secret;
pub mod service;
pub mod stack;
pub mod task;
pub mod template;

pub use client::{CLIENTS_MAX, Client, ClientRole, Clients, InvalidClientName, check_client_name};
pub use cluster::{
    Cluster, ClusterSpec, FormerRoot, JoinSecrets, NextRoot, RootCa, UnlockKey, heartbeat_among,
};
pub use container::{
    ContainerSpec, FileReference, FileTarget, Mount, MountKind, SHUTDOWN_DELAY, SHUTDOWN_DELAY_MAX,
    Ulimit,
};
pub use cron::{Cron, InvalidCron};
pub use dependency::{Dependency, DependencyCondition};
pub use device::{Access, Device, DeviceKind, DeviceRule, InvalidDevice};
pub use endpoint::{Endpoint, EndpointMode, EndpointSpec, PortConfig, Protocol, PublishMode, Vip};
pub use error::{chain, with_causes};
pub use format::Format;
pub use health::{HealthCheck, HealthTest};
pub use id::{
    ClusterId, ConfigId, NetworkId, NodeId, ParseIdError, SecretId, ServiceId, StackId, TaskId,
};
pub use isolation::Ipc;
pub use job::{Concurrency, JobRun, JobSpec, JobStatus, Outcome, RunCause, RunEnd, Schedule};
pub use meta::{Labels, Meta, Timestamp, Version};
pub use network::{BlockOwner, Network, NetworkAttachmentSpec, NetworkSpec};
pub use node::{
    Availability, InvalidPlatform, ManagerStatus, Node, NodeDescription, NodeSpec, NodeState,
    NodeStatus, NodeTls, Platform, Role,
};
pub use placement::{InvalidSpread, Placement, Spread, SpreadLabel};
pub use resources::{ByteCount, GenericResource, Generics, InvalidAmount, NanoCpus, Resources};
pub use restart::{LocalRestarts, RestartCondition, RestartPolicy, Restarts};
pub use revision::{PastRevision, Revision, RevisionOutcome};
pub use secret::{Config, ConfigSpec, Secret, SecretSpec};
pub use service::{
    FailureAction, LogDriver, Rebalance, Service, ServiceMode, ServiceSpec, TaskSpec, UpdateConfig,
    UpdateOrder, UpdateState, UpdateStatus,
};
pub use stack::{
    Content, PastStack, STACK_LABEL, Stack, StackData, StackNetwork, StackService, StackSpec,
    StackVolume,
};
pub use task::{Attachment, Cause, Slot, Task, TaskState, TaskStatus};
