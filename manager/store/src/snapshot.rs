//! The tables, and how they are read. A clone is cheap and never changes.
//!
//! Objects and indexes are written in `write` only (`put_*`, `drop_*`), so
//! that no caller can forget one. Who may write what is `apply`'s business.

mod contents;
mod giving;
mod stacks;
mod uses;
mod write;

pub use contents::Contents;

use crate::given::Given;
use crate::shelf::Shelf;
use crate::usage::NodeUsage;
use imbl::{OrdMap, OrdSet};
use skep_types::{
    Cluster, Config, ConfigId, Network, NetworkId, Node, NodeId, Secret, SecretId, Service,
    ServiceId, Slot, Stack, StackId, Task, TaskId, TaskSpec, TaskState, Version, heartbeat_among,
};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
pub(crate) use uses::Uses;

/// Heartbeat while there is no cluster object.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(1);

/// All objects at one version.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub(crate) version: Version,
    pub(crate) cluster: Option<Arc<Cluster>>,
    pub(crate) nodes: OrdMap<NodeId, Arc<Node>>,
    pub(crate) services: OrdMap<ServiceId, Arc<Service>>,
    /// By service and slot, so that those of a service lie side by side.
    pub(crate) tasks: OrdMap<TaskKey, Arc<Task>>,
    pub(crate) networks: OrdMap<NetworkId, Arc<Network>>,
    /// Networks that were removed while tasks on them still stop. Nothing is
    /// decided by them, they only help nodes: not part of a dump.
    pub(crate) leaving: OrdMap<NetworkId, Arc<Network>>,
    pub(crate) secrets: OrdMap<SecretId, Arc<Secret>>,
    pub(crate) configs: OrdMap<ConfigId, Arc<Config>>,
    pub(crate) stacks: OrdMap<StackId, Arc<Stack>>,

    /// Task templates, stored once: that of every service and every one a
    /// task still refers to.
    pub(crate) templates: OrdMap<(ServiceId, Version), Template>,

    service_names: OrdMap<String, ServiceId>,
    network_names: OrdMap<String, NetworkId>,
    secret_names: OrdMap<String, SecretId>,
    config_names: OrdMap<String, ConfigId>,
    stack_names: OrdMap<String, StackId>,
    task_places: OrdMap<TaskId, (ServiceId, Slot)>,
    tasks_on_node: OrdSet<(NodeId, TaskId)>,
    addresses: OrdMap<(NetworkId, Ipv4Addr), AddressUse>,
    vips: OrdMap<(NetworkId, IpAddr), ServiceId>,
    used: OrdMap<NodeId, NodeUsage>,
    given: OrdMap<NodeId, Arc<Given>>,
    used_at: Version,
    pub(crate) uses: Uses,
    changed: OrdMap<(ServiceId, Shelf), Version>,
    surroundings: Version,
}

/// Where a task is in its table.
pub(crate) type TaskKey = (ServiceId, Slot, TaskId);

/// A task template and the number of tasks that refer to it.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) spec: Arc<TaskSpec>,
    pub(crate) tasks: u64,
}

/// What is known of an address of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressUse {
    /// A task that has not ended has it.
    Held(TaskId),
    /// It was given back at that version. Only a hint, so that addresses are
    /// not reused at once: not part of a dump.
    Freed(Version),
}

impl Snapshot {
    /// Index of the last entry applied.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The cluster object.
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref()
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(&id)
    }

    /// All nodes, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> + '_ {
        self.nodes.values()
    }

    /// Number of nodes.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The period of heartbeats that is asked of agents now: the cluster's own, and in
    /// large swarms a multiple, so that the work of hearing them stays within a core.
    pub fn heartbeat(&self) -> Duration {
        let own = self
            .cluster()
            .map_or(DEFAULT_HEARTBEAT, |c| c.spec.heartbeat);
        heartbeat_among(own, self.node_count())
    }

    /// A service.
    pub fn service(&self, id: ServiceId) -> Option<&Arc<Service>> {
        self.services.get(&id)
    }

    /// A service by its name, in any case.
    pub fn service_named(&self, name: &str) -> Option<&Arc<Service>> {
        self.service_names
            .get(&fold(name))
            .and_then(|id| self.services.get(id))
    }

    /// All services, by id.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> + '_ {
        self.services.values()
    }

    /// A task.
    pub fn task(&self, id: TaskId) -> Option<&Arc<Task>> {
        let (service, slot) = self.task_places.get(&id)?;
        self.tasks.get(&(*service, *slot, id))
    }

    /// All tasks, by service and slot.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> + '_ {
        self.tasks.values()
    }

    /// Number of tasks.
    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }

    /// Tasks of a service by slot; of one that is gone, too.
    pub fn tasks_of(&self, service: ServiceId) -> impl Iterator<Item = &Arc<Task>> + '_ {
        self.tasks_between(service, Slot(0), Slot(u32::MAX))
    }

    /// Tasks of one slot of a service.
    pub fn tasks_in(&self, service: ServiceId, slot: Slot) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks_between(service, slot, slot)
    }

    fn tasks_between(
        &self,
        service: ServiceId,
        first: Slot,
        last: Slot,
    ) -> impl Iterator<Item = &Arc<Task>> + '_ {
        let first = (service, first, TaskId::from_bits(0));
        let last = (service, last, TaskId::from_bits(u128::MAX));
        self.tasks.range(first..=last).map(|(_, task)| task)
    }

    /// Tasks of a node.
    pub fn tasks_on(&self, node: NodeId) -> impl Iterator<Item = &Arc<Task>> + '_ {
        let first = (node, TaskId::from_bits(0));
        let last = (node, TaskId::from_bits(u128::MAX));
        self.tasks_on_node
            .range(first..=last)
            .filter_map(|(_, id)| self.task(*id))
    }

    /// What the tasks of a node take of it.
    pub fn used(&self, node: NodeId) -> NodeUsage {
        self.used.get(&node).copied().unwrap_or_default()
    }

    /// The version at which what nodes give to tasks (room, resources, ports, addresses)
    /// changed last. Of a store that was loaded it may be a later one.
    pub fn used_at(&self) -> Version {
        self.used_at
    }

    /// All services, and those that are gone and have tasks left, by id, each with the
    /// version at which it or one of its tasks changed last. Of a store that was loaded
    /// it may be a later one.
    pub fn changed(&self) -> impl Iterator<Item = (ServiceId, Version)> + '_ {
        let mut shelves = self.changed.iter().peekable();
        std::iter::from_fn(move || {
            let ((id, _), at) = shelves.next()?;
            let mut last = *at;
            while let Some((_, at)) = shelves.next_if(|((other, _), _)| other == id) {
                last = last.max(*at);
            }
            Some((*id, last))
        })
    }

    /// When such a service changed last.
    pub fn changed_at(&self, service: ServiceId) -> Option<Version> {
        self.shelves_of(service).map(|(_, at)| at).max()
    }

    /// The shelves of such a service, in order, each with the version at which a task
    /// of it changed last. What is of the service itself may change the first.
    pub fn shelves_of(&self, service: ServiceId) -> impl Iterator<Item = (Shelf, Version)> + '_ {
        let (first, last) = (Shelf::of(Slot(0)), Shelf::of(Slot(u32::MAX)));
        let shelves = self.changed.range((service, first)..=(service, last));
        shelves.map(|((_, shelf), at)| (*shelf, *at))
    }

    /// Tasks of a service on one of its shelves, by slot.
    pub fn tasks_on_shelf(
        &self,
        service: ServiceId,
        shelf: Shelf,
    ) -> impl Iterator<Item = &Arc<Task>> + '_ {
        let (first, last) = shelf.ends();
        self.tasks_between(service, first, last)
    }

    /// The version at which anything but services, tasks and stacks changed last, as exactly.
    pub fn surroundings(&self) -> Version {
        self.surroundings
    }

    /// A network.
    pub fn network(&self, id: NetworkId) -> Option<&Arc<Network>> {
        self.networks.get(&id)
    }

    /// A network by its name, in any case.
    pub fn network_named(&self, name: &str) -> Option<&Arc<Network>> {
        self.network_names
            .get(&fold(name))
            .and_then(|id| self.networks.get(id))
    }

    /// All networks, by id.
    pub fn networks(&self) -> impl Iterator<Item = &Arc<Network>> + '_ {
        self.networks.values()
    }

    /// Networks that were removed while tasks on them still stop: no longer
    /// there for anybody but the nodes, which need them until these have ended.
    /// A manager that started from a dump does not know of those removed before.
    pub fn leaving_networks(&self) -> impl Iterator<Item = &Arc<Network>> + '_ {
        self.leaving.values()
    }

    /// The network through which published ports reach tasks.
    pub fn ingress(&self) -> Option<&Arc<Network>> {
        self.networks.values().find(|network| network.spec.ingress)
    }

    /// A secret.
    pub fn secret(&self, id: SecretId) -> Option<&Arc<Secret>> {
        self.secrets.get(&id)
    }

    /// The newest generation of a secret by its name, in any case.
    pub fn secret_named(&self, name: &str) -> Option<&Arc<Secret>> {
        self.secret_names
            .get(&fold(name))
            .and_then(|id| self.secrets.get(id))
    }

    /// All secrets with all their generations, by id.
    pub fn secrets(&self) -> impl Iterator<Item = &Arc<Secret>> + '_ {
        self.secrets.values()
    }

    /// A config.
    pub fn config(&self, id: ConfigId) -> Option<&Arc<Config>> {
        self.configs.get(&id)
    }

    /// The newest generation of a config by its name, in any case.
    pub fn config_named(&self, name: &str) -> Option<&Arc<Config>> {
        self.config_names
            .get(&fold(name))
            .and_then(|id| self.configs.get(id))
    }

    /// All configs with all their generations, by id.
    pub fn configs(&self) -> impl Iterator<Item = &Arc<Config>> + '_ {
        self.configs.values()
    }

    /// The task template of a service at a version.
    pub fn template(&self, service: ServiceId, version: Version) -> Option<&Arc<TaskSpec>> {
        self.templates
            .get(&(service, version))
            .map(|template| &template.spec)
    }

    /// What is known of an address; `None` when it was never given to a task.
    pub fn address(&self, network: NetworkId, address: Ipv4Addr) -> Option<AddressUse> {
        self.addresses.get(&(network, address)).copied()
    }

    /// The known addresses of a network within a range, both ends included.
    pub fn addresses_in(
        &self,
        network: NetworkId,
        first: Ipv4Addr,
        last: Ipv4Addr,
    ) -> impl Iterator<Item = (Ipv4Addr, AddressUse)> + '_ {
        self.addresses
            .range((network, first)..=(network, last))
            .map(|((_, address), usage)| (*address, *usage))
    }

    /// The service that has a virtual address.
    pub fn vip_holder(&self, network: NetworkId, address: IpAddr) -> Option<ServiceId> {
        self.vips.get(&(network, address)).copied()
    }
}

/// Names are unique whatever their case.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// A task that may have work left on its node: it was given to one and is not
/// known to have ended.
pub fn may_run(task: &Task) -> bool {
    task.node.is_some()
        && task.status.state >= TaskState::Assigned
        && !task.status.state.is_terminal()
}
