//! Addresses: subnets of networks, blocks of nodes, addresses of tasks,
//! virtual addresses and published ports of services.
//!
//! A node gets blocks of a network's subnet on demand, so that a starting
//! task changes nothing on other nodes. This file holds what a pass knows of
//! the networks; the files beside it decide.

mod blocks;
mod endpoints;
mod late;

pub(crate) use blocks::Exhausted;
pub(crate) use late::attach;

use crate::draft::Draft;
use blocks::{NetworkWork, SubnetPool};
use skep_manager_store::{Action, NetworkAction, Snapshot};
use skep_types::{Attachment, NetworkId, NodeId, PortConfig, PublishMode, Service, TaskSpec};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The networks in a pass.
pub(crate) struct Allocator<'a> {
    networks: BTreeMap<NetworkId, NetworkWork<'a>>,
    pool: SubnetPool,
    ingress: Option<NetworkId>,
}

impl<'a> Allocator<'a> {
    pub(crate) fn new(draft: &Draft<'a>) -> Allocator<'a> {
        let snapshot = draft.snapshot;
        let mut allocator = Allocator {
            networks: snapshot
                .networks()
                .map(|network| (network.id, NetworkWork::new(network)))
                .collect(),
            pool: SubnetPool::new(snapshot),
            ingress: snapshot.ingress().map(|network| network.id),
        };
        for network in allocator.networks.values_mut() {
            network.ensure_subnet(snapshot, &mut allocator.pool);
        }
        allocator
    }

    /// Gives services their virtual addresses and ports.
    pub(crate) fn endpoints(&mut self, draft: &mut Draft<'a>) {
        endpoints::allocate(self, draft);
    }

    /// The networks a task of a service is attached to. Published ports come
    /// in through the ingress network; a task that is on no network has it
    /// for its way out.
    pub(crate) fn networks_of(&self, service: &Service, spec: &TaskSpec) -> Vec<NetworkId> {
        let mut networks: Vec<NetworkId> = Vec::with_capacity(spec.networks.len() + 1);
        for attachment in &spec.networks {
            if !networks.contains(&attachment.network) {
                networks.push(attachment.network);
            }
        }
        if networks.is_empty() || uses_ingress(&service.spec.endpoint.ports) {
            networks.extend(self.ingress.filter(|ingress| !networks.contains(ingress)));
        }
        networks
    }

    /// One address on each of the networks, out of blocks of the node; all or
    /// none.
    ///
    /// # Errors
    /// A network that has no address left, in words.
    pub(crate) fn attach(
        &mut self,
        snapshot: &Snapshot,
        node: NodeId,
        networks: &[NetworkId],
    ) -> Result<Vec<Attachment>, Exhausted> {
        let mut attachments = Vec::with_capacity(networks.len());
        for id in networks {
            let given = match self.networks.get_mut(id) {
                Some(network) => network.address(snapshot, node, &mut self.pool),
                None => Err(Exhausted::gone(*id)),
            };
            match given {
                Ok(address) => attachments.push(Attachment {
                    network: *id,
                    address: IpAddr::V4(address),
                }),
                Err(exhausted) => {
                    for attachment in &attachments {
                        self.detach(node, attachment);
                    }
                    return Err(exhausted);
                }
            }
        }
        Ok(attachments)
    }

    /// Whether a task on these networks would get its addresses on a node. Nothing is
    /// given out, neither addresses nor blocks.
    ///
    /// # Errors
    /// As [`Allocator::attach`].
    pub(crate) fn try_attach(
        &mut self,
        draft: &Draft<'a>,
        node: NodeId,
        networks: &[NetworkId],
    ) -> Result<(), Exhausted> {
        let pool = self.pool.mark();
        let known = |id: &NetworkId| Some((*id, self.networks.get(id)?.mark()));
        let before: Vec<(NetworkId, blocks::Mark)> = networks.iter().filter_map(known).collect();
        let attached = self.attach(draft.snapshot, node, networks);
        for attachment in attached.iter().flatten() {
            self.detach(node, attachment);
        }
        for (id, mark) in before {
            if let Some(network) = self.networks.get_mut(&id) {
                network.take_back(node, mark);
            }
        }
        self.pool.take_back(pool);
        if attached.is_ok() {
            return Ok(());
        }
        // The nodes before it may have used up the blocks.
        let mut alone = Allocator::new(draft);
        alone.attach(draft.snapshot, node, networks).map(drop)
    }

    fn detach(&mut self, node: NodeId, attachment: &Attachment) {
        if let IpAddr::V4(address) = attachment.address
            && let Some(network) = self.networks.get_mut(&attachment.network)
        {
            network.give_back(node, address);
        }
    }

    /// Turns what was given out into actions; they go before those that use it.
    pub(crate) fn finish(self, draft: &mut Draft<'a>) {
        for (id, work) in self.networks {
            let (version, add_subnets, take) = work.changes();
            if add_subnets.is_empty() && take.is_empty() {
                continue;
            }
            draft
                .plan
                .actions
                .push(Action::Network(NetworkAction::SetBlocks {
                    id,
                    version,
                    add_subnets,
                    free: Vec::new(),
                    take,
                }));
        }
        endpoints::finish(draft);
    }
}

/// Whether any of the ports is open on every node.
pub(crate) fn uses_ingress(ports: &[PortConfig]) -> bool {
    ports.iter().any(|port| port.mode == PublishMode::Ingress)
}

/// Whether any of the service's ports is open on its tasks' nodes only, under
/// a fixed number: two tasks cannot then share a node.
pub(crate) fn has_host_ports(service: &Service) -> bool {
    let ports = &service.spec.endpoint.ports;
    ports
        .iter()
        .any(|port| port.mode == PublishMode::Host && port.published != 0)
}
