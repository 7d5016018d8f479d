//! The write half of the tables: every object is put and dropped here, with the indexes
//! that belong to it.

use super::{AddressUse, Snapshot, fold};
use crate::shelf::Shelf;
use crate::usage::NodeUsage;
use skep_types::{
    Attachment, Cluster, Config, ConfigId, Network, NetworkId, Node, NodeId, Secret, SecretId,
    Service, ServiceId, Task, TaskId, Version,
};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

fn holds_addresses(task: &Task) -> bool {
    !task.status.state.is_terminal()
}

impl Snapshot {
    pub(crate) fn put_cluster(&mut self, cluster: Cluster) {
        self.cluster = Some(Arc::new(cluster));
        self.surroundings = self.version;
    }

    pub(crate) fn put_service(&mut self, service: Service) {
        let id = service.id;
        let key = (id, service.spec_version);
        self.template_for(key, &service.spec.task);
        let present = self.services.get(&id).map(Arc::clone);
        let past = present.as_ref().map_or(&[][..], |old| &old.past);
        self.count_past(past, &service.past);
        self.give_ports(id, present.as_deref(), Some(&service));
        if let Some(old) = present {
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
        self.touch(id, Shelf::FIRST);
    }

    pub(crate) fn drop_service(&mut self, id: ServiceId) -> Option<Arc<Service>> {
        let old = self.services.remove(&id)?;
        self.service_names.remove(&fold(&old.spec.name));
        for vip in &old.endpoint.vips {
            self.vips.remove(&(vip.network, vip.address));
        }
        self.forget_template(id, old.spec_version, None);
        self.count_past(&old.past, &[]);
        self.give_ports(id, Some(&old), None);
        self.touch_left(id, Shelf::FIRST);
        Some(old)
    }

    /// Remembers when something on that shelf of a service changed.
    fn touch(&mut self, id: ServiceId, shelf: Shelf) {
        if self.changed.get(&(id, shelf)) != Some(&self.version) {
            self.changed.insert((id, shelf), self.version);
        }
    }

    /// Likewise, where it may have become empty. The first is there as long as anything of
    /// the service is, and tells of what the others cannot tell any more.
    fn touch_left(&mut self, id: ServiceId, shelf: Shelf) {
        if self.tasks_on_shelf(id, shelf).next().is_some() {
            return self.touch(id, shelf);
        }
        self.changed.remove(&(id, shelf));
        if self.services.contains_key(&id) || self.tasks_of(id).next().is_some() {
            self.touch(id, Shelf::FIRST);
        } else {
            self.changed.remove(&(id, Shelf::FIRST));
        }
    }

    fn forget_template(&mut self, service: ServiceId, version: Version, current: Option<Version>) {
        let unused = self
            .templates
            .get(&(service, version))
            .is_some_and(|template| template.tasks == 0);
        if unused && current != Some(version) {
            self.drop_template((service, version));
        }
    }

    pub(crate) fn put_network(&mut self, network: Network) {
        self.surroundings = self.version;
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
        self.surroundings = self.version;
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

    /// A superseded one has no name.
    pub(crate) fn put_secret(&mut self, secret: Secret) {
        self.surroundings = self.version;
        let name = fold(&secret.spec.name);
        if secret.superseded_at.is_none() {
            self.secret_names.insert(name, secret.id);
        } else if self.secret_names.get(&name) == Some(&secret.id) {
            self.secret_names.remove(&name);
        }
        self.secrets.insert(secret.id, Arc::new(secret));
    }

    pub(crate) fn drop_secret(&mut self, id: SecretId) -> Option<Arc<Secret>> {
        let old = self.secrets.remove(&id)?;
        self.surroundings = self.version;
        let name = fold(&old.spec.name);
        if self.secret_names.get(&name) == Some(&id) {
            self.secret_names.remove(&name);
        }
        Some(old)
    }

    /// A superseded one has no name.
    pub(crate) fn put_config(&mut self, config: Config) {
        self.surroundings = self.version;
        let name = fold(&config.spec.name);
        if config.superseded_at.is_none() {
            self.config_names.insert(name, config.id);
        } else if self.config_names.get(&name) == Some(&config.id) {
            self.config_names.remove(&name);
        }
        self.configs.insert(config.id, Arc::new(config));
    }

    pub(crate) fn drop_config(&mut self, id: ConfigId) -> Option<Arc<Config>> {
        let old = self.configs.remove(&id)?;
        self.surroundings = self.version;
        let name = fold(&old.spec.name);
        if self.config_names.get(&name) == Some(&id) {
            self.config_names.remove(&name);
        }
        Some(old)
    }

    pub(crate) fn put_node(&mut self, node: Node) {
        self.surroundings = self.version;
        self.nodes.insert(node.id, Arc::new(node));
    }

    pub(crate) fn drop_node(&mut self, id: NodeId) -> Option<Arc<Node>> {
        let old = self.nodes.remove(&id)?;
        self.surroundings = self.version;
        Some(old)
    }

    pub(crate) fn put_task(&mut self, task: Task) {
        let id = task.id;
        let service = task.service;
        match self.task(id).cloned() {
            Some(old) => {
                self.count(NodeUsage::of(&old), NodeUsage::of(&task));
                self.give(Some(&old), Some(&task));
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
                self.task_places.insert(id, (service, task.slot));
                self.count(None, NodeUsage::of(&task));
                self.give(None, Some(&task));
                if let Some(node) = task.node {
                    self.tasks_on_node.insert((node, id));
                }
                if holds_addresses(&task) {
                    self.hold_addresses(id, &task.attachments);
                }
                let key = (task.service, task.spec_version);
                self.template_for(key, &task.spec).tasks += 1;
            }
        }
        self.touch(service, Shelf::of(task.slot));
        self.tasks.insert((service, task.slot, id), Arc::new(task));
    }

    pub(crate) fn drop_task(&mut self, id: TaskId) -> Option<Arc<Task>> {
        let (service, slot) = self.task_places.remove(&id)?;
        let old = self.tasks.remove(&(service, slot, id))?;
        self.count(NodeUsage::of(&old), None);
        self.give(Some(&old), None);
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
        self.touch_left(service, Shelf::of(slot));
        Some(old)
    }

    /// Sums up anew what nodes are used for, where a task changed that.
    fn count(&mut self, before: Option<(NodeId, NodeUsage)>, after: Option<(NodeId, NodeUsage)>) {
        if before == after {
            return;
        }
        self.used_at = self.version;
        if let Some((node, usage)) = before {
            let left = self.used(node).minus(usage);
            if left == NodeUsage::default() {
                self.used.remove(&node);
            } else {
                self.used.insert(node, left);
            }
        }
        if let Some((node, usage)) = after {
            let sum = self.used(node).plus(usage);
            self.used.insert(node, sum);
        }
    }

    fn hold_addresses(&mut self, task: TaskId, attachments: &[Attachment]) {
        self.used_at = self.version;
        for attachment in attachments {
            if let IpAddr::V4(address) = attachment.address {
                self.addresses
                    .insert((attachment.network, address), AddressUse::Held(task));
            }
        }
    }

    fn free_addresses(&mut self, task: &Task) {
        self.used_at = self.version;
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
