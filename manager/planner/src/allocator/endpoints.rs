//! Virtual addresses and published ports of services.

use super::{Allocator, uses_ingress};
use crate::draft::Draft;
use skep_manager_store::{Action, ServiceAction};
use skep_types::{
    Endpoint, EndpointMode, NetworkId, PortConfig, Protocol, PublishMode, Service, Vip,
};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Ports given to services that leave the choice to the swarm.
const DYNAMIC_PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;

pub(super) fn allocate<'a>(allocator: &mut Allocator<'a>, draft: &mut Draft<'a>) {
    let mut taken: Option<BTreeSet<(Protocol, u16)>> = None;
    // Taken out, so that the rest of the draft can be read meanwhile.
    let mut services = std::mem::take(&mut draft.services);
    for work in services.values_mut() {
        let Some(service) = work.service else {
            continue;
        };
        let ports = ports(draft, service, &mut taken);
        let (vips, wanted) = vips(allocator, draft, service);
        let undecided =
            |port: &PortConfig| port.published == 0 && port.mode == PublishMode::Ingress;
        // What it lacks may be given back by another.
        work.acted |= vips.len() < wanted || ports.iter().any(undecided);
        let endpoint = Endpoint {
            mode: service.spec.endpoint.mode,
            ports,
            vips,
        };
        if endpoint != service.endpoint {
            work.acted = true;
            draft
                .plan
                .actions
                .push(Action::Service(ServiceAction::SetEndpoint {
                    id: service.id,
                    version: service.meta.version,
                    endpoint,
                }));
        }
    }
    draft.services = services;
}

/// Endpoints need the blocks that this pass gives out: moves them behind.
pub(super) fn finish(draft: &mut Draft<'_>) {
    let actions = std::mem::take(&mut draft.plan.actions);
    let (endpoints, others): (Vec<Action>, Vec<Action>) = actions
        .into_iter()
        .partition(|action| matches!(action, Action::Service(ServiceAction::SetEndpoint { .. })));
    draft.plan.actions = others;
    draft.plan.actions.extend(endpoints);
}

/// Those that it has or gets, and how many it should have.
fn vips(allocator: &mut Allocator<'_>, draft: &Draft<'_>, service: &Service) -> (Vec<Vip>, usize) {
    if service.spec.endpoint.mode != EndpointMode::Vip {
        return (Vec::new(), 0);
    }
    let mut wanted: Vec<NetworkId> = Vec::new();
    for attachment in &service.spec.task.networks {
        if !wanted.contains(&attachment.network) {
            wanted.push(attachment.network);
        }
    }
    if uses_ingress(&service.spec.endpoint.ports) {
        wanted.extend(allocator.ingress.filter(|id| !wanted.contains(id)));
    }
    let count = wanted.len();
    let mut vips = Vec::with_capacity(count);
    for id in wanted {
        let kept = service.endpoint.vips.iter().find(|vip| vip.network == id);
        if let Some(vip) = kept {
            vips.push(*vip);
            continue;
        }
        let Some(network) = allocator.networks.get_mut(&id) else {
            continue;
        };
        // A service without a virtual address still has its tasks; they say
        // by themselves that the network is full.
        if let Ok(address) = network.vip(draft.snapshot, &mut allocator.pool) {
            vips.push(Vip {
                network: id,
                address: IpAddr::V4(address),
            });
        }
    }
    (vips, count)
}

fn ports(
    draft: &Draft<'_>,
    service: &Service,
    taken: &mut Option<BTreeSet<(Protocol, u16)>>,
) -> Vec<PortConfig> {
    let mut ports: Vec<PortConfig> = Vec::with_capacity(service.spec.endpoint.ports.len());
    for asked in &service.spec.endpoint.ports {
        let mut port = asked.clone();
        if port.published == 0 && port.mode == PublishMode::Ingress {
            let taken = taken.get_or_insert_with(|| published(draft));
            // Their other attributes may have changed: the number is what counts.
            let is_given = |old: &PortConfig| {
                let number = (old.protocol, old.published);
                ports.iter().any(|p| (p.protocol, p.published) == number)
            };
            let same = |old: &&PortConfig| {
                (old.protocol, old.target, old.mode) == (port.protocol, port.target, port.mode)
                    && DYNAMIC_PORTS.contains(&old.published)
                    && !is_given(old)
            };
            let kept = service.endpoint.ports.iter().find(same);
            port.published = kept.map(|old| old.published).unwrap_or_else(|| {
                DYNAMIC_PORTS
                    .into_iter()
                    .find(|number| taken.insert((port.protocol, *number)))
                    // All are taken: the port stays undecided and closed.
                    .unwrap_or(0)
            });
        }
        ports.push(port);
    }
    ports
}

fn published(draft: &Draft<'_>) -> BTreeSet<(Protocol, u16)> {
    draft
        .snapshot
        .services()
        .flat_map(|service| {
            service
                .endpoint
                .ports
                .iter()
                .chain(&service.spec.endpoint.ports)
        })
        .map(|port| (port.protocol, port.published))
        .collect()
}
