//! The tables, and how they are read. A clone is cheap and never changes.
//!
//! Indexes are kept by the write half of this file (`put_*`, `drop_*`), so
//! that no caller can forget one. Who may write what is `apply`'s business.

use imbl::{OrdMap, OrdSet};
use skep_types::{
    Attachment, Cluster, Config, ConfigId, Network, NetworkId, Node, NodeId, Secret, SecretId,
    Service, ServiceId, Slot, Task, TaskId, TaskSpec, TaskState, Version, heartbeat_among,
};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// Heartbeat while there is no cluster object.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(1);

/// All objects at one version.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub(crate) version: Version,
    pub(crate) cluster: Option<Arc<Cluster>>,
    pub(crate) nodes: OrdMap<NodeId, Arc<Node>>,
    pub(crate) services: OrdMap<ServiceId, Arc<Service>>,
    pub(crate) tasks: OrdMap<TaskId, Arc<Task>>,
    pub(crate) networks: OrdMap<NetworkId, Arc<Network>>,
    /// Networks that were removed while tasks on them still stop. Nothing is
    /// decided by them, they only help nodes: not part of a dump.
    pub(crate) leaving: OrdMap<NetworkId, Arc<Network>>,
    pub(crate) secrets: OrdMap<SecretId, Arc<Secret>>,
    pub(crate) configs: OrdMap<ConfigId, Arc<Config>>,

    /// Task templates, stored once: that of every service and every one a
    /// task still refers to.
    pub(crate) templates: OrdMap<(ServiceId, Version), Template>,

    service_names: OrdMap<String, ServiceId>,
    network_names: OrdMap<String, NetworkId>,
    secret_names: OrdMap<String, SecretId>,
    config_names: OrdMap<String, ConfigId>,
    tasks_of_service: OrdSet<(ServiceId, Slot, TaskId)>,
    tasks_on_node: OrdSet<(NodeId, TaskId)>,
    addresses: OrdMap<(NetworkId, Ipv4Addr), AddressUse>,
    vips: OrdMap<(NetworkId, IpAddr), ServiceId>,
}

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
        self.tasks.get(&id)
    }

    /// All tasks, by id.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> + '_ {
        self.tasks.values()
    }

    /// Number of tasks.
    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }

    /// Tasks of a service by slot; of one that is gone, too.
    pub fn tasks_of(&self, service: ServiceId) -> impl Iterator<Item = &Arc<Task>> + '_ {
        let first = (service, Slot(0), TaskId::from_bits(0));
        let last = (service, Slot(u32::MAX), TaskId::from_bits(u128::MAX));
        self.tasks_of_service
            .range(first..=last)
            .filter_map(|(_, _, id)| self.tasks.get(id))
    }

    /// All tasks, by service and slot.
    pub fn tasks_by_service(&self) -> impl Iterator<Item = &Arc<Task>> + '_ {
        self.tasks_of_service
            .iter()
            .filter_map(|(_, _, id)| self.tasks.get(id))
    }

    /// Tasks of one slot of a service.
    pub fn tasks_in(&self, service: ServiceId, slot: Slot) -> impl Iterator<Item = &Arc<Task>> {
        let first = (service, slot, TaskId::from_bits(0));
        let last = (service, slot, TaskId::from_bits(u128::MAX));
        self.tasks_of_service
            .range(first..=last)
            .filter_map(|(_, _, id)| self.tasks.get(id))
    }

    /// Tasks of a node.
    pub fn tasks_on(&self, node: NodeId) -> impl Iterator<Item = &Arc<Task>> + '_ {
        let first = (node, TaskId::from_bits(0));
        let last = (node, TaskId::from_bits(u128::MAX));
        self.tasks_on_node
            .range(first..=last)
            .filter_map(|(_, id)| self.tasks.get(id))
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

    /// A secret by its name, in any case.
    pub fn secret_named(&self, name: &str) -> Option<&Arc<Secret>> {
        self.secret_names
            .get(&fold(name))
            .and_then(|id| self.secrets.get(id))
    }

    /// All secrets, by id.
    pub fn secrets(&self) -> impl Iterator<Item = &Arc<Secret>> + '_ {
        self.secrets.values()
    }

    /// A config.
    pub fn config(&self, id: ConfigId) -> Option<&Arc<Config>> {
        self.configs.get(&id)
    }

    /// A config by its name, in any case.
    pub fn config_named(&self, name: &str) -> Option<&Arc<Config>> {
        self.config_names
            .get(&fold(name))
            .and_then(|id| self.configs.get(id))
    }

    /// All configs, by id.
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

fn holds_addresses(task: &Task) -> bool {
    !task.status.state.is_terminal()
}

// The write half.
impl Snapshot {
    pub(crate) fn put_service(&mut self, service: Service) {
        let id = service.id;
        let key = (id, service.spec_version);
        let spec = Arc::clone(&service.spec.task);
        self.templates
            .entry(key)
            .or_insert_with(|| Template { spec, tasks: 0 });
        if let Some(old) = self.services.get(&id).cloned() {
            for vip in &old.endpoint.vips {
                self.vips.remove(&(vip.network, vip.address));
            }
            if old.spec.name != service.spec.name {
                self.service_names.remove(&fold(&old.spec.name));
            }
            if old.spec_version != service.spec_version {
                self.forget_template(id, old.spec_version, Some(service.spec_version));
            }
        }
        for vip in &service.endpoint.vips {
            self.vips.insert((vip.network, vip.address), id);
        }
        self.service_names.insert(fold(&service.spec.name), id);
        self.services.insert(id, Arc::new(service));
    }

    pub(crate) fn drop_service(&mut self, id: ServiceId) -> Option<Arc<Service>> {
        let old = self.services.remove(&id)?;
        self.service_names.remove(&fold(&old.spec.name));
        for vip in &old.endpoint.vips {
            self.vips.remove(&(vip.network, vip.address));
        }
        self.forget_template(id, old.spec_version, None);
        Some(old)
    }

    fn forget_template(&mut self, service: ServiceId, version: Version, current: Option<Version>) {
        let unused = self
            .templates
            .get(&(service, version))
            .is_some_and(|template| template.tasks == 0);
        if unused && current != Some(version) {
            self.templates.remove(&(service, version));
        }
    }

    pub(crate) fn put_network(&mut self, network: Network) {
        // The new one has the better right to these addresses.
        let meets = |other: &Network| {
            let mut pairs = other.subnets.iter().flat_map(|one| {
                let subnets = network.subnets.iter();
                subnets.map(move |new| new.contains(one) || one.contains(new))
            });
            pairs.any(|meets| meets)
        };
        let parted: Vec<NetworkId> = self
            .leaving_networks()
            .filter(|other| meets(other))
            .map(|other| other.id)
            .collect();
        for id in parted {
            self.leaving.remove(&id);
        }
        self.network_names
            .insert(fold(&network.spec.name), network.id);
        self.networks.insert(network.id, Arc::new(network));
    }

    pub(crate) fn drop_network(&mut self, id: NetworkId) -> Option<Arc<Network>> {
        let old = self.networks.remove(&id)?;
        self.network_names.remove(&fold(&old.spec.name));
        let freed: Vec<Ipv4Addr> = self
            .addresses_of(id)
            .filter(|(_, usage)| matches!(usage, AddressUse::Freed(_)))
            .map(|(address, _)| address)
            .collect();
        for address in freed {
            self.addresses.remove(&(id, address));
        }
        if self.addresses_of(id).next().is_some() {
            self.leaving.insert(id, Arc::clone(&old));
        }
        Some(old)
    }

    fn addresses_of(
        &self,
        network: NetworkId,
    ) -> impl Iterator<Item = (Ipv4Addr, AddressUse)> + '_ {
        self.addresses_in(network, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST)
    }

    pub(crate) fn put_secret(&mut self, secret: Secret) {
        self.secret_names.insert(fold(&secret.spec.name), secret.id);
        self.secrets.insert(secret.id, Arc::new(secret));
    }

    pub(crate) fn drop_secret(&mut self, id: SecretId) -> Option<Arc<Secret>> {
        let old = self.secrets.remove(&id)?;
        self.secret_names.remove(&fold(&old.spec.name));
        Some(old)
    }

    pub(crate) fn put_config(&mut self, config: Config) {
        self.config_names.insert(fold(&config.spec.name), config.id);
        self.configs.insert(config.id, Arc::new(config));
    }

    pub(crate) fn drop_config(&mut self, id: ConfigId) -> Option<Arc<Config>> {
        let old = self.configs.remove(&id)?;
        self.config_names.remove(&fold(&old.spec.name));
        Some(old)
    }

    pub(crate) fn put_node(&mut self, node: Node) {
        self.nodes.insert(node.id, Arc::new(node));
    }

    pub(crate) fn drop_node(&mut self, id: NodeId) -> Option<Arc<Node>> {
        self.nodes.remove(&id)
    }

    pub(crate) fn put_task(&mut self, task: Task) {
        let id = task.id;
        match self.tasks.get(&id).cloned() {
            Some(old) => {
                if old.node != task.node {
                    if let Some(node) = old.node {
                        self.tasks_on_node.remove(&(node, id));
                    }
                    if let Some(node) = task.node {
                        self.tasks_on_node.insert((node, id));
                    }
                }
                if holds_addresses(&old)
                    && (!holds_addresses(&task) || old.attachments != task.attachments)
                {
                    self.free_addresses(&old);
                }
                if holds_addresses(&task)
                    && (!holds_addresses(&old) || old.attachments != task.attachments)
                {
                    self.hold_addresses(id, &task.attachments);
                }
            }
            None => {
                self.tasks_of_service.insert((task.service, task.slot, id));
                if let Some(node) = task.node {
                    self.tasks_on_node.insert((node, id));
                }
                if holds_addresses(&task) {
                    self.hold_addresses(id, &task.attachments);
                }
                let spec = Arc::clone(&task.spec);
                self.templates
                    .entry((task.service, task.spec_version))
                    .or_insert_with(|| Template { spec, tasks: 0 })
                    .tasks += 1;
            }
        }
        self.tasks.insert(id, Arc::new(task));
    }

    pub(crate) fn drop_task(&mut self, id: TaskId) -> Option<Arc<Task>> {
        let old = self.tasks.remove(&id)?;
        self.tasks_of_service.remove(&(old.service, old.slot, id));
        if let Some(node) = old.node {
            self.tasks_on_node.remove(&(node, id));
        }
        if holds_addresses(&old) {
            self.free_addresses(&old);
        }
        let key = (old.service, old.spec_version);
        if let Some(template) = self.templates.get_mut(&key) {
            template.tasks = template.tasks.saturating_sub(1);
        }
        let current = self.services.get(&old.service).map(|s| s.spec_version);
        self.forget_template(old.service, old.spec_version, current);
        Some(old)
    }

    fn hold_addresses(&mut self, task: TaskId, attachments: &[Attachment]) {
        for attachment in attachments {
            if let IpAddr::V4(address) = attachment.address {
                self.addresses
                    .insert((attachment.network, address), AddressUse::Held(task));
            }
        }
    }

    fn free_addresses(&mut self, task: &Task) {
        let freed = AddressUse::Freed(self.version);
        for attachment in &task.attachments {
            let IpAddr::V4(address) = attachment.address else {
                continue;
            };
            let network = attachment.network;
            let key = (network, address);
            if self.addresses.get(&key) != Some(&AddressUse::Held(task.id)) {
                continue;
            }
            if self.networks.contains_key(&network) {
                self.addresses.insert(key, freed);
                continue;
            }
            self.addresses.remove(&key);
            if self.addresses_of(network).next().is_none() {
                self.leaving.remove(&network);
            }
        }
    }
}

/// A task that may have work left on its node: it was given to one and is not
/// known to have ended.
pub fn may_run(task: &Task) -> bool {
    task.node.is_some()
        && task.status.state >= TaskState::Assigned
        && !task.status.state.is_terminal()
}
