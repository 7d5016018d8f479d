//! Changes of nodes.

use super::{Write, changed, cluster};
use crate::action::NodeAction;
use crate::event::{EventAction, ObjectId};
use crate::refused::Refused;
use skep_types::{
    Availability, BlockOwner, Format, ManagerStatus, Network, Node, NodeId, NodeState, Role,
    TaskId, Version,
};
use std::sync::Arc;

pub(super) fn apply(write: &mut Write<'_>, action: &NodeAction) -> Result<(), Refused> {
    match action {
        NodeAction::Create(node) => create(write, node),
        NodeAction::Update { id, version, spec } => {
            if spec.role == Role::Worker {
                another_manager(write, *id)?;
            }
            edit(write, *id, Some(*version), |node| {
                node.spec = spec.clone();
                Ok(())
            })
        }
        NodeAction::Describe {
            id,
            description,
            address,
        } => edit(write, *id, None, |node| {
            node.description = (**description).clone();
            node.status.address = address.or(node.status.address);
            Ok(())
        }),
        NodeAction::SetStatus {
            id,
            version,
            status,
        } => edit(write, *id, Some(*version), |node| {
            let known = node.status.address;
            node.status = status.clone();
            node.status.address = status.address.or(known);
            Ok(())
        }),
        NodeAction::SetRole { id, role } => {
            let now = write.now;
            edit(write, *id, None, |node| {
                if node.role != *role {
                    node.role = *role;
                    node.role_since = now;
                }
                Ok(())
            })
        }
        NodeAction::SetManager { id, manager } => {
            if let Some(manager) = manager {
                take_seat(write, *id, manager)?;
            }
            edit(write, *id, None, |node| {
                node.manager = manager.clone();
                Ok(())
            })
        }
        NodeAction::SetMesh { id, version, mesh } => {
            let holder = write
                .state
                .nodes()
                .find(|node| node.mesh == Some(*mesh) && node.id != *id);
            if let Some(holder) = holder {
                return Err(Refused::IdTaken(ObjectId::Node(holder.id)));
            }
            edit(write, *id, Some(*version), |node| {
                node.mesh = Some(*mesh);
                Ok(())
            })
        }
        NodeAction::Remove {
            id,
            force,
            blocked_until,
        } => {
            remove(write, *id, *force)?;
            if let Some(present) = write.state.cluster.clone() {
                let now = write.now;
                cluster::put(write, &present, |cluster| {
                    cluster::prune(cluster, now);
                    cluster.blocked.insert(*id, *blocked_until);
                });
            }
            Ok(())
        }
    }
}

fn create(write: &mut Write<'_>, node: &Node) -> Result<(), Refused> {
    let object = ObjectId::Node(node.id);
    if write.state.node(node.id).is_some() {
        return Err(Refused::IdTaken(object));
    }
    if let Some(manager) = &node.manager {
        take_seat(write, node.id, manager)?;
    }
    let mut node = node.clone();
    node.meta = write.created();
    node.role_since = write.now;
    node.drain_since = (node.spec.availability == Availability::Drain).then_some(write.now);
    let name = node.description.hostname.clone();
    write.state.put_node(node);
    write.event(object, EventAction::Create, name, Vec::new());
    Ok(())
}

fn take_seat(write: &mut Write<'_>, node: NodeId, manager: &ManagerStatus) -> Result<(), Refused> {
    reads(node, manager, write.state.format())?;
    take_raft_id(write, node, manager.raft_id)
}

/// A manager that cannot read what the others write would stop at once.
pub(super) fn reads(node: NodeId, manager: &ManagerStatus, wanted: Format) -> Result<(), Refused> {
    if manager.format >= wanted {
        return Ok(());
    }
    Err(Refused::FormatUnread {
        node,
        reads: manager.format,
        wanted,
    })
}

/// Raft ids are never reused: a late message to a former member must not
/// reach a new one.
fn take_raft_id(write: &mut Write<'_>, node: NodeId, raft_id: u64) -> Result<(), Refused> {
    let present = write.state.node(node).and_then(|n| n.manager.as_ref());
    if present.is_some_and(|manager| manager.raft_id == raft_id) {
        return Ok(());
    }
    let Some(cluster) = write.state.cluster.clone() else {
        return Ok(());
    };
    // The first manager's id comes with the cluster object that names it.
    let free_holder = raft_id == cluster.last_raft_id
        && !write
            .state
            .nodes()
            .any(|n| n.manager.as_ref().is_some_and(|m| m.raft_id == raft_id))
        && write.state.node_count() == 0;
    if raft_id <= cluster.last_raft_id && !free_holder {
        return Err(Refused::RaftIdUsed { node, raft_id });
    }
    if raft_id > cluster.last_raft_id {
        cluster::put(write, &cluster, |cluster| cluster.last_raft_id = raft_id);
    }
    Ok(())
}

/// A swarm keeps at least one manager, also when two go at the same moment.
fn another_manager(write: &Write<'_>, id: NodeId) -> Result<(), Refused> {
    let mut managers = write
        .state
        .nodes
        .values()
        .filter(|node| node.spec.role == Role::Manager);
    match (managers.next(), managers.next()) {
        (Some(last), None) if last.id == id => Err(Refused::LastManager),
        _ => Ok(()),
    }
}

fn edit(
    write: &mut Write<'_>,
    id: NodeId,
    version: Option<Version>,
    edit: impl FnOnce(&mut Node) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let object = ObjectId::Node(id);
    let present = Arc::clone(write.state.node(id).ok_or(Refused::NotFound(object))?);
    if let Some(version) = version {
        write.require_fresh(present.meta, version, object, &present.description.hostname)?;
    }
    let mut node = Node::clone(&present);
    edit(&mut node)?;
    if node.spec.availability != Availability::Drain {
        node.drain_since = None;
    } else if present.spec.availability != Availability::Drain {
        node.drain_since = Some(write.now);
    }
    if node == *present {
        return Ok(());
    }
    node.meta = write.touched(node.meta);
    let mut attributes = Vec::new();
    changed(
        &mut attributes,
        ("state.old", "state.new"),
        &present.status.state,
        &node.status.state,
        |state| state_name(*state).to_owned(),
    );
    changed(
        &mut attributes,
        ("availability.old", "availability.new"),
        &present.spec.availability,
        &node.spec.availability,
        |availability| availability_name(*availability).to_owned(),
    );
    changed(
        &mut attributes,
        ("desired_role.old", "desired_role.new"),
        &present.spec.role,
        &node.spec.role,
        |role| role_name(*role).to_owned(),
    );
    changed(
        &mut attributes,
        ("role.old", "role.new"),
        &present.role,
        &node.role,
        |role| role_name(*role).to_owned(),
    );
    let name = node.description.hostname.clone();
    write.state.put_node(node);
    write.event(object, EventAction::Update, name, attributes);
    Ok(())
}

fn remove(write: &mut Write<'_>, id: NodeId, force: bool) -> Result<(), Refused> {
    let object = ObjectId::Node(id);
    let present = Arc::clone(write.state.node(id).ok_or(Refused::NotFound(object))?);
    if present.manager.is_some() || present.role == Role::Manager {
        return Err(Refused::NodeIsManager(id));
    }
    if !force && present.status.state != NodeState::Down {
        return Err(Refused::NodeNotDown(id));
    }
    let tasks: Vec<TaskId> = write.state.tasks_on(id).map(|task| task.id).collect();
    for task in tasks {
        super::task::forget(write, task);
    }
    // Its addresses are nobody's now: the blocks go back.
    let holders: Vec<Arc<Network>> = write
        .state
        .networks()
        .filter(|network| network.blocks.values().any(|o| *o == BlockOwner::Node(id)))
        .cloned()
        .collect();
    for network in holders {
        let mut network = Network::clone(&network);
        network
            .blocks
            .retain(|_, owner| *owner != BlockOwner::Node(id));
        network.meta = write.touched(network.meta);
        let (object, name) = (ObjectId::Network(network.id), network.spec.name.clone());
        write.state.put_network(network);
        write.event(object, EventAction::Update, name, Vec::new());
    }
    write.state.drop_node(id);
    let name = present.description.hostname.clone();
    write.event(object, EventAction::Remove, name, Vec::new());
    Ok(())
}

fn state_name(state: NodeState) -> &'static str {
    match state {
        NodeState::Unknown => "unknown",
        NodeState::Down => "down",
        NodeState::Ready => "ready",
        NodeState::Disconnected => "disconnected",
    }
}

fn availability_name(availability: Availability) -> &'static str {
    match availability {
        Availability::Active => "active",
        Availability::Pause => "pause",
        Availability::Drain => "drain",
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Worker => "worker",
        Role::Manager => "manager",
    }
}
