//! What one Raft entry holds: changes of the store as plain data.
//!
//! An action names the version of the object it was planned on wherever a
//! newer state of that object could make it wrong; the store then refuses it
//! when stale. This file says what may be asked; `apply` says what happens.

mod stack;

pub use stack::{StackAction, StackPart};

use ipnet::Ipv4Net;
use skep_types::{
    Attachment, BlockOwner, Cause, Clients, Cluster, ClusterSpec, ConfigId, ConfigSpec, Endpoint,
    Format, Generics, JobStatus, JoinSecrets, Labels, ManagerStatus, NetworkId, NetworkSpec, Node,
    NodeDescription, NodeId, NodeSpec, NodeStatus, Restarts, RevisionOutcome, Role, RootCa,
    SecretId, SecretSpec, ServiceId, ServiceSpec, Slot, TaskId, TaskState, TaskStatus, Timestamp,
    UnlockKey, UpdateStatus, Version,
};
use std::net::{IpAddr, Ipv4Addr};

/// One change of the store.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Of the cluster object.
    Cluster(ClusterAction),
    /// Of a node.
    Node(NodeAction),
    /// Of a service.
    Service(ServiceAction),
    /// Of a network.
    Network(NetworkAction),
    /// Of a secret.
    Secret(SecretAction),
    /// Of a config.
    Config(ConfigAction),
    /// Of tasks; these are grouped.
    Task(TaskAction),
    /// Of a stack, with all that is part of it.
    Stack(StackAction),
}

/// A change of the cluster object.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterAction {
    /// Makes it; refused when there is one. Its `meta` is set by the store.
    Create(Box<Cluster>),
    /// Replaces its settings.
    Update {
        /// Version read.
        version: Version,
        /// New settings.
        spec: ClusterSpec,
    },
    /// Replaces the secrets of the join tokens.
    SetJoinSecrets {
        /// Version read.
        version: Version,
        /// New secrets.
        secrets: JoinSecrets,
    },
    /// Replaces the certificate authority.
    SetRootCa {
        /// Version read.
        version: Version,
        /// New authority.
        root_ca: RootCa,
    },
    /// Replaces the unlock key, or takes it away.
    SetUnlockKey {
        /// Version read.
        version: Version,
        /// New key.
        key: Option<UnlockKey>,
    },
    /// Replaces who has a certificate without being a node.
    SetClients {
        /// Version read.
        version: Version,
        /// All of them.
        clients: Clients,
    },
    /// Forgets removed nodes and former roots whose certificates have all
    /// ended.
    Prune,
    /// Writes in this format from now on; refused while a manager does not read
    /// it. Formats never fall.
    RaiseFormat {
        /// The format.
        format: Format,
    },
}

/// A change of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeAction {
    /// Makes it; refused when its id is taken. Its `meta` is set by the store.
    Create(Box<Node>),
    /// Replaces what the user wants of it.
    Update {
        /// The node.
        id: NodeId,
        /// Version read.
        version: Version,
        /// New intent.
        spec: NodeSpec,
    },
    /// Takes over what the node says of itself; the last session wins.
    Describe {
        /// The node.
        id: NodeId,
        /// Its words.
        description: Box<NodeDescription>,
        /// The address it was seen to come from.
        address: Option<IpAddr>,
    },
    /// Sets whether it answers.
    SetStatus {
        /// The node.
        id: NodeId,
        /// Version planned on.
        version: Version,
        /// New status. An absent address keeps the known one.
        status: NodeStatus,
    },
    /// Sets the role in force (that of its next certificate).
    SetRole {
        /// The node.
        id: NodeId,
        /// The role.
        role: Role,
    },
    /// Sets its place among the managers, or takes it away. A Raft id that
    /// was given before is refused, and a manager that does not read what the
    /// swarm is kept in.
    SetManager {
        /// The node.
        id: NodeId,
        /// The place.
        manager: Option<ManagerStatus>,
    },
    /// Gives it its address in the mesh.
    SetMesh {
        /// The node.
        id: NodeId,
        /// Version planned on.
        version: Version,
        /// The address.
        mesh: Ipv4Addr,
    },
    /// Removes it with its tasks and blocks; refused for managers, and for
    /// nodes that are not down unless forced.
    Remove {
        /// The node.
        id: NodeId,
        /// Do not ask for the node to be down.
        force: bool,
        /// Refuse its certificate until then.
        blocked_until: Timestamp,
    },
}

/// A change of a service.
#[derive(Debug, Clone, PartialEq)]
pub enum ServiceAction {
    /// Makes it; refused when its name is taken.
    Create {
        /// Its id.
        id: ServiceId,
        /// Intent.
        spec: Box<ServiceSpec>,
    },
    /// Replaces its intent. What is more than a change of labels or of the number
    /// of tasks makes a new revision; while a template is rolled out, or its update is
    /// paused, only another template does, and ends that update.
    Update {
        /// The service.
        id: ServiceId,
        /// Version read.
        version: Version,
        /// New intent.
        spec: Box<ServiceSpec>,
    },
    /// Returns to an earlier revision, by a new one like it.
    Rollback {
        /// The service.
        id: ServiceId,
        /// Version read or planned on.
        version: Version,
        /// Number of the revision.
        to: u64,
        /// Said in the update status, e.g. `manually requested rollback`.
        message: String,
        /// The present revision has failed.
        failed: bool,
    },
    /// Removes it; its tasks are stopped and go by themselves.
    Remove {
        /// The service.
        id: ServiceId,
    },
    /// Sets its virtual addresses and published ports.
    SetEndpoint {
        /// The service.
        id: ServiceId,
        /// Version planned on.
        version: Version,
        /// New endpoint.
        endpoint: Endpoint,
    },
    /// Sets the progress of its update.
    SetUpdateStatus {
        /// The service.
        id: ServiceId,
        /// Version planned on.
        version: Version,
        /// New progress.
        status: UpdateStatus,
        /// What has come of the present revision by that.
        outcome: Option<RevisionOutcome>,
    },
    /// Sets the runs of a job.
    SetJobStatus {
        /// The service.
        id: ServiceId,
        /// Version read or planned on.
        version: Version,
        /// Its runs.
        status: JobStatus,
    },
    /// Removes a job whose time to be kept is over.
    Expire {
        /// The service.
        id: ServiceId,
        /// Version planned on: somebody may have had it run again.
        version: Version,
    },
    /// Begins or ends to spread its tasks evenly.
    Rebalance {
        /// The service.
        id: ServiceId,
        /// Version read or planned on.
        version: Version,
        /// Whether it begins.
        begins: bool,
    },
    /// Says what it waits for before tasks of it start.
    SetWait {
        /// The service.
        id: ServiceId,
        /// Version planned on.
        version: Version,
        /// In words; empty where nothing is held up.
        waits_for: String,
    },
}

/// A change of a network.
#[derive(Debug, Clone, PartialEq)]
pub enum NetworkAction {
    /// Makes it; refused when its name is taken or its subnets overlap others.
    Create {
        /// Its id.
        id: NetworkId,
        /// Intent.
        spec: Box<NetworkSpec>,
    },
    /// Removes it; refused while a service or a task uses it.
    Remove {
        /// The network.
        id: NetworkId,
    },
    /// Changes subnets and blocks; frees come before takes.
    SetBlocks {
        /// The network.
        id: NetworkId,
        /// Version planned on.
        version: Version,
        /// Subnets it grows by.
        add_subnets: Vec<Ipv4Net>,
        /// Blocks given back; refused while an address of one is held.
        free: Vec<Ipv4Net>,
        /// Blocks given out.
        take: Vec<(Ipv4Net, BlockOwner)>,
    },
}

/// A change of a secret.
pub type SecretAction = DataAction<SecretId, SecretSpec>;
/// A change of a config.
pub type ConfigAction = DataAction<ConfigId, ConfigSpec>;

/// A change of a secret or a config. Only the newest generation of a name can be named,
/// but by `Collect`.
#[derive(Debug, Clone, PartialEq)]
pub enum DataAction<Id, Spec> {
    /// Makes it; refused when its name is taken.
    Create {
        /// Its id.
        id: Id,
        /// Name, labels and content.
        spec: Box<Spec>,
    },
    /// Replaces its labels.
    SetLabels {
        /// The object.
        id: Id,
        /// Version read.
        version: Version,
        /// New labels.
        labels: Labels,
    },
    /// Replaces its labels and its content. Other content is a new generation, with an
    /// id of its own; the present one is superseded.
    Rotate {
        /// The object.
        id: Id,
        /// Version read.
        version: Version,
        /// Id of the new generation, if it becomes one.
        new_id: Id,
        /// Name, labels and content.
        spec: Box<Spec>,
        /// Services that use an earlier generation use the newest from now on: an
        /// update of each, but no new run of a job.
        rollout: bool,
    },
    /// Services that use an earlier generation use this from now on, as after a rotation.
    RollOut {
        /// The object.
        id: Id,
    },
    /// Removes all generations, which is refused while a service uses one. What an
    /// earlier revision or a task refers to stays, without a name, as long as they do.
    Remove {
        /// The object.
        id: Id,
    },
    /// Forgets a superseded generation that nothing refers to any more.
    Collect {
        /// The generation.
        id: Id,
    },
}

/// A change of tasks. The items of a group stand alone: a stale one is
/// refused, the others are applied.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskAction {
    /// Makes tasks of one version of a service.
    Create {
        /// The service.
        service: ServiceId,
        /// Its version planned on: what order is in force says all of it.
        version: Version,
        /// Which of its task templates; the store holds it.
        spec_version: Version,
        /// The tasks.
        tasks: Vec<NewTask>,
    },
    /// Gives nodes to tasks that wait for one.
    Place {
        /// The placements.
        tasks: Vec<Placement>,
    },
    /// Puts tasks that have a node on further networks; what they run goes on.
    Attach {
        /// The tasks.
        tasks: Vec<Attached>,
    },
    /// Says why tasks wait for a node.
    Explain {
        /// The reasons.
        tasks: Vec<Explanation>,
    },
    /// Raises desired states.
    SetDesired {
        /// The changes.
        tasks: Vec<DesiredChange>,
    },
    /// Takes over what agents observed. A status that would go back is
    /// refused; one that says nothing new changes nothing.
    UpdateStatus {
        /// The observations, oldest first.
        updates: Vec<(TaskId, TaskStatus)>,
    },
    /// Forgets tasks that have ended, never had a node, or whose node is gone.
    Remove {
        /// The tasks.
        tasks: Vec<TaskId>,
    },
}

/// A task to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTask {
    /// Its id.
    pub id: TaskId,
    /// Position in the service; 0 for global services.
    pub slot: Slot,
    /// Where the managers want it: `Running`, or `Ready` for a replacement
    /// that has to wait.
    pub desired: TaskState,
    /// Its node, where one was found (or is given, for global services).
    pub node: Option<NodeId>,
    /// Its addresses there.
    pub attachments: Vec<Attachment>,
    /// Why it cannot be assigned; empty when it is.
    pub error: String,
    /// Why it is made.
    pub cause: Cause,
    /// What was counted before it in its place.
    pub restarts: Restarts,
    /// It does not start before.
    pub start_at: Option<Timestamp>,
    /// The run of its job; 0 for tasks of other services.
    pub run: u64,
    /// What it is given of its node's generic resources.
    pub generic: Generics,
}

/// A node for a task that waits for one.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// The task.
    pub task: TaskId,
    /// Version planned on.
    pub version: Version,
    /// The node.
    pub node: NodeId,
    /// Its addresses there.
    pub attachments: Vec<Attachment>,
    /// What it is given of the node's generic resources.
    pub generic: Generics,
}

/// Further addresses of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Attached {
    /// The task.
    pub task: TaskId,
    /// Version planned on.
    pub version: Version,
    /// The addresses, on networks that it is not on.
    pub attachments: Vec<Attachment>,
}

/// Why a task waits for a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The task.
    pub task: TaskId,
    /// Version planned on.
    pub version: Version,
    /// The reason.
    pub error: String,
}

/// A new desired state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DesiredChange {
    /// The task.
    pub task: TaskId,
    /// Version planned on.
    pub version: Version,
    /// The state; a lower one than the present is refused.
    pub desired: TaskState,
    /// Why it is told to stop; the first one given is kept.
    pub cause: Option<Cause>,
}
