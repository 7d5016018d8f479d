//! An address of a network belongs to one running task or service, lies in a
//! block of its owner, and blocks and subnets overlap nowhere.

use super::Verdict;
use ipnet::Ipv4Net;
use skep_manager_store::Snapshot;
use skep_types::{BlockOwner, NetworkId};
use std::collections::BTreeMap;
use std::net::IpAddr;

pub(super) fn check(state: &Snapshot) -> Verdict {
    let mut held: BTreeMap<(NetworkId, IpAddr), String> = BTreeMap::new();
    let mut take = |network, address, owner, name: String| -> Verdict {
        let Some(there) = state.network(network) else {
            return Err(format!("{name} is on network {network}, which is gone"));
        };
        let block = there
            .blocks
            .iter()
            .find(|(block, _)| matches!(address, IpAddr::V4(a) if block.contains(&a)));
        if block.map(|(_, owner)| *owner) != Some(owner) {
            return Err(format!(
                "{name} has {address} out of a block it does not own"
            ));
        }
        match held.insert((network, address), name.clone()) {
            Some(other) => Err(format!("{name} and {other} both have {address}")),
            None => Ok(()),
        }
    };
    for task in state
        .tasks()
        .filter(|task| !task.status.state.is_terminal())
    {
        let Some(node) = task.node else { continue };
        for attachment in &task.attachments {
            // A network may go while its last tasks stop, or with their service, which the
            // next pass tells them.
            let stops = !task.is_live() || state.service(task.service).is_none();
            if stops && state.network(attachment.network).is_none() {
                continue;
            }
            take(
                attachment.network,
                attachment.address,
                BlockOwner::Node(node),
                format!("{} {}", task.name(), task.id),
            )?;
        }
    }
    for service in state.services() {
        for vip in &service.endpoint.vips {
            take(
                vip.network,
                vip.address,
                BlockOwner::Services,
                service.spec.name.clone(),
            )?;
        }
    }
    let mut subnets: Vec<Ipv4Net> = Vec::new();
    for network in state.networks() {
        disjoint(&network.blocks.keys().copied().collect::<Vec<_>>())?;
        subnets.extend(&network.subnets);
    }
    subnets.sort();
    disjoint(&subnets)
}

/// Sorted ranges overlap only if neighbours do.
fn disjoint(sorted: &[Ipv4Net]) -> Verdict {
    for pair in sorted.windows(2) {
        if pair[0].contains(&pair[1]) || pair[1].contains(&pair[0]) {
            return Err(format!("{} and {} overlap", pair[0], pair[1]));
        }
    }
    Ok(())
}
