//! The names containers can ask for: services, their tasks, aliases and addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use skep_types::assignment::{EndpointView, ServiceOnNetwork};
use skep_types::task::Slot;
use skep_types::{NetworkId, TaskId};

use super::Desired;

/// The names of one network. Names are lower case and without a final dot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Zone {
    /// Name of the network; every name can also be asked for with it as suffix.
    pub network: String,
    /// Addresses of a name.
    pub names: BTreeMap<String, BTreeSet<Ipv4Addr>>,
    /// Name of an address.
    pub pointers: BTreeMap<Ipv4Addr, String>,
}

impl Zone {
    /// A zone without names for the network called `network`.
    pub fn new(network: &str) -> Self {
        Zone {
            network: network.to_ascii_lowercase(),
            ..Zone::default()
        }
    }

    fn add(&mut self, name: &str, address: Ipv4Addr) {
        self.names
            .entry(name.to_ascii_lowercase())
            .or_default()
            .insert(address);
    }

    /// Adds a service: its name and aliases lead to the virtual address (or to the tasks where it has none),
    /// `tasks.NAME` to the tasks, and `SLOT.NAME`, `NAME.SLOT` and `NAME.SLOT.TASK` to one of them.
    pub fn add_service(
        &mut self,
        service: &str,
        on: &ServiceOnNetwork,
        endpoints: &[EndpointView],
        network: NetworkId,
    ) {
        let names: BTreeSet<&str> = on
            .aliases
            .iter()
            .map(String::as_str)
            .chain([service])
            .collect();
        if let Some(vip) = on.vip {
            names.iter().for_each(|name| self.add(name, vip));
            self.pointers
                .insert(vip, format!("{service}.{}", self.network));
        }
        // A service without tasks is known: it has no addresses, rather than not existing.
        for name in &names {
            let name = name.to_ascii_lowercase();
            self.names.entry(format!("tasks.{name}")).or_default();
            self.names.entry(name).or_default();
        }
        for endpoint in endpoints {
            let Some(address) = endpoint.addresses.get(&network).copied() else {
                continue;
            };
            let slot = match endpoint.slot {
                Slot(0) => endpoint.node.to_string(),
                Slot(number) => number.to_string(),
            };
            for name in &names {
                if on.vip.is_none() {
                    self.add(name, address);
                }
                self.add(&format!("tasks.{name}"), address);
                self.add(&format!("{slot}.{name}"), address);
                self.add(&format!("{name}.{slot}"), address);
            }
            let full = format!("{service}.{slot}.{}", endpoint.task);
            self.add(&full, address);
            self.pointers
                .insert(address, format!("{full}.{}", self.network));
        }
    }

    fn get(&self, name: &str) -> Option<&BTreeSet<Ipv4Addr>> {
        self.names.get(name).or_else(|| {
            let short = name
                .strip_suffix(self.network.as_str())?
                .strip_suffix('.')?;
            self.names.get(short)
        })
    }
}

/// The addresses of `name` as a container sees it: in the first of its networks that knows the name.
pub fn addresses(desired: &Desired, task: TaskId, name: &str) -> Option<Vec<Ipv4Addr>> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let endpoint = desired.endpoints.get(&task)?;
    let mut zones = endpoint
        .attachments
        .iter()
        .filter_map(|(network, _)| desired.zones.get(network));
    zones
        .find_map(|zone| zone.get(&name))
        .map(|found| found.iter().copied().collect())
}

/// The name of an address as a container sees it.
pub fn pointer(desired: &Desired, task: TaskId, address: Ipv4Addr) -> Option<&str> {
    let endpoint = desired.endpoints.get(&task)?;
    let mut zones = endpoint
        .attachments
        .iter()
        .filter_map(|(network, _)| desired.zones.get(network));
    zones
        .find_map(|zone| zone.pointers.get(&address))
        .map(String::as_str)
}

/// Whether an address belongs to a network of the cluster, so that nobody outside can know its name.
pub fn is_ours(desired: &Desired, address: Ipv4Addr) -> bool {
    desired.networks.values().any(|network| {
        network
            .subnets
            .iter()
            .any(|subnet| subnet.contains(&address))
    })
}
