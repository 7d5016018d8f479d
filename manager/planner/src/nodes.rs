//! Which nodes answer, and their addresses in the mesh.

use crate::draft::{Draft, NodeWork};
use crate::liveness::Liveness;
use skep_manager_store::{Action, NodeAction};
use skep_types::{NodeSpec, NodeState, NodeStatus, Role, Timestamp};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Heartbeats a node may miss before it is Down.
const MISSED_HEARTBEATS: u32 = 3;
/// The same for a node that has not yet spoken to a new leader: it first has
/// to find it.
const MISSED_HEARTBEATS_NEW_LEADER: u32 = 4;
/// So many it may miss in any case, if it led before: it, too, has to find the new one.
const MISSED_HEARTBEATS_FORMER_LEADER: u32 = 2;
/// How long a node that never spoke is kept. Its object is made before the machine
/// has its certificate, so that of a join whose answer was lost stays behind.
const UNHEARD: Duration = Duration::from_secs(60 * 60);

/// Sets the state of every node from what was heard of it.
pub(crate) fn judge(draft: &mut Draft<'_>, liveness: &Liveness) {
    let heartbeat = draft.snapshot.heartbeat();
    let mut wake: Option<Timestamp> = None;
    let mut heard = liveness.heard.iter().peekable();
    for (id, work) in draft.nodes.iter_mut() {
        let status = &work.node.status;
        while heard.next_if(|(other, _)| **other < id).is_some() {}
        let heard = heard.next_if(|(other, _)| **other == id).map(|(_, at)| *at);
        let deadline = match heard {
            Some(heard) => heard.at + heartbeat.max(heard.period) * MISSED_HEARTBEATS,
            None => {
                let since = liveness.leader_since.max(work.node.meta.created_at);
                let latest = since + heartbeat * MISSED_HEARTBEATS_NEW_LEADER;
                match liveness.former {
                    Some((former, heard)) if former == id => latest.min(
                        (heard + heartbeat * MISSED_HEARTBEATS)
                            .max(since + heartbeat * MISSED_HEARTBEATS_FORMER_LEADER),
                    ),
                    _ => latest,
                }
            }
        };
        let silent = draft.now >= deadline;
        let (state, message) = if silent {
            (NodeState::Down, "heartbeat failure")
        } else if heard.is_some() {
            (NodeState::Ready, "")
        } else {
            (status.state, status.message.as_str())
        };
        if !silent {
            wake = Some(wake.map_or(deadline, |earlier| earlier.min(deadline)));
        }
        if state != status.state {
            work.state = state;
            draft.plan.actions.push(Action::Node(NodeAction::SetStatus {
                id,
                version: work.node.meta.version,
                status: NodeStatus {
                    state,
                    message: message.to_owned(),
                    address: None,
                },
            }));
        }
    }
    if let Some(at) = wake {
        draft.plan.wake(at);
    }
}

/// Forgets nodes that never spoke. One that was to be a manager loses that first.
pub(crate) fn forget_unheard(draft: &mut Draft<'_>) {
    let Some(cluster) = draft.snapshot.cluster() else {
        return;
    };
    let wanted = |role| move |work: &&NodeWork<'_>| work.node.spec.role == role;
    let mut managers = draft.nodes.values().filter(wanted(Role::Manager)).count();
    for (id, work) in draft.nodes.iter() {
        let node = work.node;
        // Every session begins with what the machine is, its version among it.
        if !node.description.engine_version.is_empty() || work.state == NodeState::Ready {
            continue;
        }
        let due = node.meta.created_at + UNHEARD;
        if due > draft.now {
            draft.plan.wake(due);
        } else if node.spec.role == Role::Manager && managers > 1 {
            managers -= 1;
            draft.plan.actions.push(Action::Node(NodeAction::Update {
                id,
                version: node.meta.version,
                spec: NodeSpec {
                    role: Role::Worker,
                    ..node.spec.clone()
                },
            }));
        } else if node.spec.role == Role::Worker
            && node.role == Role::Worker
            && node.manager.is_none()
        {
            draft.plan.actions.push(Action::Node(NodeAction::Remove {
                id,
                force: true,
                blocked_until: cluster.certificates_end(draft.now),
            }));
        }
    }
}

/// Gives every node an address in the mesh.
pub(crate) fn join_mesh(draft: &mut Draft<'_>) {
    let Some(cluster) = draft.snapshot.cluster() else {
        return;
    };
    if draft.nodes.values().all(|work| work.node.mesh.is_some()) {
        return;
    }
    let taken: BTreeSet<Ipv4Addr> = draft.nodes.values().filter_map(|w| w.node.mesh).collect();
    let mut free = cluster
        .spec
        .mesh_subnet
        .hosts()
        .filter(|address| !taken.contains(address));
    for (id, work) in draft.nodes.iter() {
        if work.node.mesh.is_none()
            && let Some(mesh) = free.next()
        {
            draft.plan.actions.push(Action::Node(NodeAction::SetMesh {
                id,
                version: work.node.meta.version,
                mesh,
            }));
        }
    }
}
