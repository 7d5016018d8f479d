//! A swarm that one manager makes anew: out of what it has when most others
//! are lost, or out of a backup.
//!
//! Raft's part is a group of one under an id that was never used; here the
//! store is brought in line with it. Former managers become workers: they are
//! not members of the new group, and one that comes back learns so from its
//! session, drops its log and goes on with its containers.

use crate::error::StartError;
use crate::machine::State;
use crate::proposer::Proposer;
use skep_manager_raft::Raft;
use skep_manager_store::format::NEWEST;
use skep_manager_store::{Action, NodeAction, Snapshot};
use skep_types::{ManagerStatus, Node, NodeId, NodeSpec, Role, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// How long a group of one may take to lead itself.
const LEAD_TIMEOUT: Duration = Duration::from_secs(20);

/// Everything a swarm is, the key of its certificates and its secrets among it.
pub struct Backup {
    /// Entries it holds.
    pub version: u64,
    /// When it was made.
    pub at: Timestamp,
    /// The store, as in snapshots of Raft.
    pub snapshot: Vec<u8>,
}

/// An id for the group of one, beyond all that an entry which is not applied
/// yet, or another manager that does the same, may give.
pub fn fresh_raft_id(last: u64) -> u64 {
    last + 1 + u64::from(rand::random::<u32>())
}

/// Where the one manager of a group made anew is.
pub(crate) struct Seat<'a> {
    pub(crate) node: NodeId,
    pub(crate) raft_id: u64,
    pub(crate) address: &'a str,
}

/// Brings the store in line with the group, if this manager is alone in one
/// that the store does not know of. Until then nobody else may act on it.
pub(crate) async fn take_over(
    raft: &Raft,
    state: &Arc<State>,
    seat: Seat<'_>,
    node: Option<Box<Node>>,
) -> Result<(), StartError> {
    let members = raft.members();
    if members.len() != 1 || members[0].id != seat.raft_id {
        return Ok(());
    }
    let failed = |reason: String| StartError::Form(reason);
    let mut leadership = raft.leadership();
    let leads = leadership.wait_for(|now| now.is_leader);
    match tokio::time::timeout(LEAD_TIMEOUT, leads).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => {
            return Err(failed(
                "this manager does not come to lead itself".to_owned(),
            ));
        }
    }
    let actions = actions(&state.snapshot(), &seat, node);
    if actions.is_empty() {
        return Ok(());
    }
    let proposed = Proposer::new(raft.clone(), state.clone())
        .propose(&actions)
        .await
        .map_err(StartError::Bootstrap)?;
    match proposed.results.into_iter().find_map(|r| r.refused) {
        Some(reason) => Err(failed(reason)),
        None => Ok(()),
    }
}

/// What the store must be told; nothing when it knows this seat.
fn actions(snapshot: &Snapshot, seat: &Seat<'_>, own: Option<Box<Node>>) -> Vec<Action> {
    let Seat {
        node: this,
        raft_id,
        address,
    } = *seat;
    let known = snapshot.node(this);
    let seated = known.and_then(|node| node.manager.as_ref());
    if seated.is_some_and(|manager| manager.raft_id == raft_id) {
        return Vec::new();
    }
    let mut actions = Vec::new();
    match (known, own) {
        // First this one: there is always a manager.
        (None, Some(own)) => actions.push(NodeAction::Create(own)),
        (None, None) => {}
        (Some(node), _) => {
            actions.extend(wanted(node, Role::Manager));
            actions.push(NodeAction::SetRole {
                id: this,
                role: Role::Manager,
            });
        }
    }
    actions.push(NodeAction::SetManager {
        id: this,
        manager: Some(ManagerStatus {
            raft_id,
            address: address.to_owned(),
            format: NEWEST,
        }),
    });
    for node in snapshot.nodes().filter(|node| node.id != this) {
        let id = node.id;
        actions.extend(wanted(node, Role::Worker));
        if node.manager.is_some() {
            actions.push(NodeAction::SetManager { id, manager: None });
        }
        if node.role == Role::Manager {
            let role = Role::Worker;
            actions.push(NodeAction::SetRole { id, role });
        }
    }
    actions.into_iter().map(Action::Node).collect()
}

/// The change that makes this the role wanted of a node.
fn wanted(node: &Node, role: Role) -> Option<NodeAction> {
    (node.spec.role != role).then(|| NodeAction::Update {
        id: node.id,
        version: node.meta.version,
        spec: NodeSpec {
            role,
            ..node.spec.clone()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_manager_store::Store;
    use skep_types::{NodeDescription, NodeStatus, Version};

    const THIS: NodeId = NodeId::from_bits(1);
    const SEAT: Seat<'static> = Seat {
        node: THIS,
        raft_id: 77,
        address: "10.0.0.9:2377",
    };

    fn node(bits: u128, role: Role, raft_id: Option<u64>) -> Box<Node> {
        Box::new(Node {
            id: NodeId::from_bits(bits),
            meta: Default::default(),
            spec: NodeSpec {
                role,
                ..NodeSpec::default()
            },
            description: NodeDescription::default(),
            status: NodeStatus::default(),
            role,
            role_since: Default::default(),
            drain_since: None,
            manager: raft_id.map(|raft_id| ManagerStatus {
                raft_id,
                address: format!("10.0.0.{bits}:2377"),
                format: NEWEST,
            }),
            mesh: None,
        })
    }

    fn applied<const N: usize>(nodes: [Box<Node>; N], own: Option<Box<Node>>) -> Vec<String> {
        let mut store = Store::new();
        let create = |node| Action::Node(NodeAction::Create(node));
        let nodes: Vec<_> = nodes.into_iter().map(create).collect();
        let made = store.apply(Version(1), Timestamp(1), &nodes);
        made.into_result().unwrap();
        let actions = actions(&store.snapshot(), &SEAT, own);
        let changed = store.apply(Version(2), Timestamp(2), &actions);
        changed.into_result().unwrap();
        let snapshot = store.snapshot();
        assert!(
            super::actions(&snapshot, &SEAT, None).is_empty(),
            "once is enough"
        );
        let show = |node: &std::sync::Arc<Node>| {
            let Node {
                spec,
                role,
                manager,
                ..
            } = node.as_ref();
            let seat = manager.as_ref().map(|m| (m.raft_id, m.address.as_str()));
            format!("{:?} {role:?} {seat:?}", spec.role)
        };
        snapshot.nodes().map(show).collect()
    }

    #[test]
    fn the_survivor_keeps_its_place_and_the_others_lose_theirs() {
        let nodes = [
            node(1, Role::Manager, Some(1)),
            node(2, Role::Manager, Some(2)),
            // It was being promoted.
            node(3, Role::Manager, None),
            node(4, Role::Worker, None),
        ];
        let worker = "Worker Worker None".to_owned();
        let expected = vec![
            "Manager Manager Some((77, \"10.0.0.9:2377\"))".to_owned(),
            worker.clone(),
            worker.clone(),
            worker,
        ];
        assert_eq!(applied(nodes, None), expected);
    }

    #[test]
    fn a_survivor_that_was_being_demoted_is_the_manager_all_the_same() {
        let mut this = node(1, Role::Manager, Some(1));
        this.spec.role = Role::Worker;
        let nodes = [this, node(2, Role::Manager, Some(2))];
        let shown = applied(nodes, None);
        assert!(
            shown[0].starts_with("Manager Manager Some((77"),
            "{shown:?}"
        );
        assert_eq!(shown[1], "Worker Worker None");
    }

    #[test]
    fn a_swarm_from_a_backup_has_a_new_node() {
        let nodes = [node(2, Role::Manager, Some(2))];
        let shown = applied(nodes, Some(node(1, Role::Manager, None)));
        assert!(
            shown[0].starts_with("Manager Manager Some((77"),
            "{shown:?}"
        );
        assert_eq!(shown[1], "Worker Worker None");
    }
}
