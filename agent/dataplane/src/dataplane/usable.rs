//! What of a desired state can be made on this node, and who goes without.
//!
//! Only containers that are yet to come are refused. One whose namespace is there runs in it, or did a moment
//! ago: a namespace that is taken away cannot be given back, as another at the same path is not the one its
//! processes are in. So it keeps its links whatever happens to its networks, until its task is gone.
//!
//! In the same way a mesh is refused that is yet to be made. One that carries traffic goes on beside a route
//! that came later: our routes are the more specific ones, and a node whose network stood still would send
//! connections to tasks that are long gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use skep_agent_planner::network::clash::{self, HostRoute};
use skep_agent_planner::network::{Desired, Endpoint};
use skep_types::{NetworkId, TaskId};

use crate::error::Error;

/// The desired state without what cannot be made beside the node's `routes`; why not goes to its containers.
/// `here` tells whether a task's namespace is there, `mesh` whether the mesh was made before.
pub(super) fn usable(
    desired: &Desired,
    routes: &[HostRoute],
    mesh: bool,
    here: impl Fn(TaskId) -> bool,
    failed: &mut BTreeMap<TaskId, Error>,
) -> Result<Desired, Error> {
    let mut desired = desired.clone();
    let here: BTreeSet<TaskId> = desired
        .endpoints
        .keys()
        .copied()
        .filter(|task| here(*task))
        .collect();
    let used: BTreeSet<NetworkId> = desired
        .endpoints
        .iter()
        .filter(|(task, _)| here.contains(task))
        .flat_map(|(_, endpoint)| networks(endpoint))
        .collect();
    let mut refused = BTreeMap::new();
    for clash in clash::find(&desired, routes) {
        let Some(network) = clash.network else {
            if !mesh {
                return Err(Error::Clash(clash));
            }
            tracing::warn!("{clash}; the mesh is there already and stays");
            continue;
        };
        if used.contains(&network) {
            tracing::warn!("{clash}; containers that are on it already stay on it");
            leave_routes(&mut desired, network, routes);
        } else {
            tracing::warn!("{clash}");
            desired.networks.remove(&network);
            for peer in desired.peers.values_mut() {
                peer.blocks.retain(|block| !clash.subnet.contains(block));
            }
        }
        refused.insert(network, clash);
    }
    for (task, endpoint) in &desired.endpoints {
        let here = here.contains(task);
        let clash = networks(endpoint).find_map(|network| refused.get(&network));
        if let Some(clash) = clash.filter(|_| !here) {
            failed.insert(*task, Error::Clash(clash.clone()));
            continue;
        }
        let without = endpoint.attachments.iter().find(|(network, address)| {
            let known = desired.networks.contains_key(network);
            !known && (!here || is_anothers(&desired, *address))
        });
        if let Some((network, _)) = without {
            let error = Error::UnknownNetwork { network: *network };
            failed.insert(*task, error);
        }
    }
    desired
        .endpoints
        .retain(|task, _| !failed.contains_key(task));
    Ok(desired)
}

fn networks(endpoint: &Endpoint) -> impl Iterator<Item = NetworkId> + '_ {
    endpoint.attachments.iter().map(|(network, _)| *network)
}

/// Whether an address of a network that was removed is another's by now.
fn is_anothers(desired: &Desired, address: Ipv4Addr) -> bool {
    let mut subnets = desired.networks.values().flat_map(|found| &found.subnets);
    subnets.any(|subnet| subnet.contains(&address))
}

/// A route to exactly one of the network's blocks is the node's: ours would take its place.
fn leave_routes(desired: &mut Desired, network: NetworkId, routes: &[HostRoute]) {
    let ours = |block: &Ipv4Net| routes.iter().all(|route| route.destination != *block);
    if let Some(network) = desired.networks.get_mut(&network) {
        network.own_blocks.retain(ours);
    }
    for peer in desired.peers.values_mut() {
        peer.blocks.retain(ours);
    }
}
