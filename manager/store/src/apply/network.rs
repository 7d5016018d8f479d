//! Changes of networks: subnets and blocks.

use super::Write;
use crate::action::NetworkAction;
use crate::event::{EventAction, ObjectId};
use crate::refused::Refused;
use crate::snapshot::{AddressUse, Snapshot};
use ipnet::Ipv4Net;
use skep_types::{Attachment, BlockOwner, Network, NetworkId, NetworkSpec, NodeId, Task, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

pub(super) fn apply(write: &mut Write<'_>, action: &NetworkAction) -> Result<(), Refused> {
    match action {
        NetworkAction::Create { id, spec } => create(write, *id, spec),
        NetworkAction::Remove { id } => remove(write, *id),
        NetworkAction::SetBlocks {
            id,
            version,
            add_subnets,
            free,
            take,
        } => {
            let object = ObjectId::Network(*id);
            let present = Arc::clone(write.state.network(*id).ok_or(Refused::NotFound(object))?);
            write.require_fresh(present.meta, *version, object, &present.spec.name)?;
            let mut network = Network::clone(&present);
            for subnet in add_subnets {
                require_no_overlap(write, &network.spec.name, *subnet)?;
                if let Some(other) = network.subnets.iter().find(|o| overlap(**o, *subnet)) {
                    return Err(Refused::SubnetOverlaps {
                        subnet: *subnet,
                        network: network.spec.name.clone(),
                        other: *other,
                        user: "itself".to_owned(),
                    });
                }
                network.subnets.push(*subnet);
            }
            for block in free {
                give_back(write, &mut network, *block)?;
            }
            for (block, owner) in take {
                give_out(write, &mut network, *block, *owner)?;
            }
            network.meta = write.touched(network.meta);
            let name = network.spec.name.clone();
            write.state.put_network(network);
            write.event(object, EventAction::Update, name, Vec::new());
            Ok(())
        }
    }
}

fn create(write: &mut Write<'_>, id: NetworkId, spec: &NetworkSpec) -> Result<(), Refused> {
    let object = ObjectId::Network(id);
    if write.state.network(id).is_some() {
        return Err(Refused::IdTaken(object));
    }
    if write.state.network_named(&spec.name).is_some() {
        return Err(Refused::NameTaken {
            kind: object.kind(),
            name: spec.name.clone(),
        });
    }
    if spec.ingress
        && let Some(present) = write.state.ingress()
    {
        return Err(Refused::NameTaken {
            kind: "ingress network",
            name: present.spec.name.clone(),
        });
    }
    for (index, subnet) in spec.subnets.iter().enumerate() {
        require_no_overlap(write, &spec.name, *subnet)?;
        if let Some(other) = spec.subnets[..index].iter().find(|o| overlap(**o, *subnet)) {
            return Err(Refused::SubnetOverlaps {
                subnet: *subnet,
                network: spec.name.clone(),
                other: *other,
                user: "itself".to_owned(),
            });
        }
    }
    let meta = write.created();
    write.state.put_network(Network {
        id,
        meta,
        spec: spec.clone(),
        subnets: spec.subnets.iter().map(Ipv4Net::trunc).collect(),
        blocks: BTreeMap::new(),
    });
    write.event(object, EventAction::Create, spec.name.clone(), Vec::new());
    Ok(())
}

fn remove(write: &mut Write<'_>, id: NetworkId) -> Result<(), Refused> {
    let object = ObjectId::Network(id);
    let present = Arc::clone(write.state.network(id).ok_or(Refused::NotFound(object))?);
    let name = present.spec.name.clone();
    if let Some(refused) = in_use(write.state, &present) {
        return Err(refused);
    }
    write.state.drop_network(id);
    write.event(object, EventAction::Remove, name, Vec::new());
    Ok(())
}

/// Why it cannot be removed yet.
fn in_use(state: &Snapshot, network: &Network) -> Option<Refused> {
    let (id, name) = (network.id, network.spec.name.clone());
    let user = state.services().find(|service| {
        let asked = service.spec.task.networks.iter().any(|n| n.network == id);
        asked || service.endpoint.vips.iter().any(|vip| vip.network == id)
    });
    if let Some(service) = user {
        return Some(Refused::NetworkInUse {
            network: name,
            service: service.spec.name.clone(),
        });
    }
    // Tasks that are told to stop, or will be since their service is gone, are not waited
    // for: a stack is removed with its networks at once. A manager that started from a
    // dump does not tell nodes of it any more; a node keeps the network of a container
    // that is stopping by itself.
    let held = state.addresses_in(id, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    let mut held = held.filter_map(|(_, usage)| match usage {
        AddressUse::Held(task) => state.task(task),
        AddressUse::Freed(_) => None,
    });
    let stays = |task: &&Arc<Task>| task.is_live() && state.service(task.service).is_some();
    // Those of an earlier template, too, that still wait for their addresses.
    let wanted = || {
        let templates = state.templates.iter();
        let mut on = templates.filter(|(_, template)| {
            let networks = &template.spec.networks;
            template.tasks > 0 && networks.iter().any(|n| n.network == id)
        });
        on.find_map(|((service, version), _)| {
            let mut tasks = state.tasks_of(*service).filter(stays);
            tasks.find(|task| task.spec_version == *version)
        })
    };
    let task = held.find(stays).or_else(wanted)?;
    Some(Refused::NetworkInUseByTask {
        network: name,
        task: task.id,
    })
}

impl Snapshot {
    /// Networks that stacks had before and that nothing uses any more, nor will if an update
    /// goes back that is not over.
    pub fn networks_left(&self) -> BTreeSet<NetworkId> {
        let left = self.stacks().flat_map(|stack| &stack.leaving).copied();
        let is_free = |id: &NetworkId| {
            let network = self.network(*id);
            let is_unused = |network| in_use(self, network).is_none();
            network.is_some_and(|network| is_unused(network) && !self.may_return_to(*id))
        };
        left.filter(is_free).collect()
    }

    fn may_return_to(&self, network: NetworkId) -> bool {
        let mut services = self.services();
        services.any(|service| {
            let status = service.update_status.as_ref();
            let goes_on = status.is_some_and(|status| !super::service::is_over(status.state));
            let good = service.last_good().filter(|_| goes_on);
            good.is_some_and(|good| {
                let mut on = good.spec.task.networks.iter();
                on.any(|on| on.network == network)
            })
        })
    }
}

fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

fn require_no_overlap(write: &Write<'_>, name: &str, subnet: Ipv4Net) -> Result<(), Refused> {
    let refuse = |other: Ipv4Net, user: String| Refused::SubnetOverlaps {
        subnet,
        network: name.to_owned(),
        other,
        user,
    };
    if let Some(cluster) = write.state.cluster()
        && overlap(cluster.spec.mesh_subnet, subnet)
    {
        return Err(refuse(
            cluster.spec.mesh_subnet,
            "the mesh between the nodes".to_owned(),
        ));
    }
    for network in write.state.networks() {
        if network.spec.name == name {
            continue;
        }
        if let Some(other) = network.subnets.iter().find(|o| overlap(**o, subnet)) {
            return Err(refuse(*other, format!("network {}", network.spec.name)));
        }
    }
    Ok(())
}

fn give_back(write: &Write<'_>, network: &mut Network, block: Ipv4Net) -> Result<(), Refused> {
    let refuse = |reason| Refused::Block {
        block,
        network: network.id,
        reason,
    };
    let Some(owner) = network.blocks.get(&block) else {
        return Err(refuse("nobody has it"));
    };
    let held = match owner {
        BlockOwner::Node(_) => write
            .state
            .addresses_in(network.id, block.network(), block.broadcast())
            .any(|(_, usage)| matches!(usage, AddressUse::Held(_))),
        BlockOwner::Services => block
            .hosts()
            .chain([block.network(), block.broadcast()])
            .any(|a| write.state.vip_holder(network.id, a.into()).is_some()),
    };
    if held {
        return Err(refuse("an address of it is held"));
    }
    network.blocks.remove(&block);
    Ok(())
}

fn give_out(
    write: &Write<'_>,
    network: &mut Network,
    block: Ipv4Net,
    owner: BlockOwner,
) -> Result<(), Refused> {
    let id = network.id;
    let refuse = |reason| Refused::Block {
        block,
        network: id,
        reason,
    };
    if !network.subnets.iter().any(|subnet| subnet.contains(&block)) {
        return Err(refuse("it is in no subnet of the network"));
    }
    if let BlockOwner::Node(node) = owner
        && write.state.node(node).is_none()
    {
        return Err(Refused::NotFound(ObjectId::Node(node)));
    }
    // Blocks do not overlap, so only the neighbours can be in the way.
    let before = network.blocks.range(..=block).next_back();
    let after = network.blocks.range(block..).next();
    if before
        .into_iter()
        .chain(after)
        .any(|(other, _)| overlap(*other, block))
    {
        return Err(refuse("it is taken"));
    }
    network.blocks.insert(block, owner);
    Ok(())
}

/// The block of a network that an address is in, with its owner.
fn block_of(network: &Network, address: IpAddr) -> Option<BlockOwner> {
    let IpAddr::V4(address) = address else {
        return None;
    };
    let (block, owner) = network
        .blocks
        .range(..=Ipv4Net::from(address))
        .next_back()?;
    block.contains(&address).then_some(*owner)
}

/// An address lies in a block of virtual addresses.
pub(super) fn service_block_holds(network: &Network, address: IpAddr) -> bool {
    block_of(network, address) == Some(BlockOwner::Services)
}

/// The addresses of a task must come from blocks of its node and be free.
pub(super) fn require_addresses(
    write: &Write<'_>,
    task: TaskId,
    node: NodeId,
    attachments: &[Attachment],
) -> Result<(), Refused> {
    for Attachment { network, address } in attachments {
        let object = ObjectId::Network(*network);
        let present = write
            .state
            .network(*network)
            .ok_or(Refused::NotFound(object))?;
        let refuse = |reason| Refused::Address {
            address: *address,
            network: *network,
            reason,
        };
        if block_of(present, *address) != Some(BlockOwner::Node(node)) {
            return Err(refuse("it is in no block of the task's node"));
        }
        let IpAddr::V4(v4) = address else {
            return Err(refuse("it is in no block of the task's node"));
        };
        if let Some(AddressUse::Held(holder)) = write.state.address(*network, *v4)
            && holder != task
        {
            return Err(refuse("another task has it"));
        }
    }
    Ok(())
}
