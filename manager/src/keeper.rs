//! Keeps the Raft group and the roles of nodes at what users asked for:
//! members come and go, roles follow.

use crate::shared::Shared;
use skep_manager_store::{Action, NodeAction, Snapshot};
use skep_types::{ManagerStatus, Node, NodeId, Role};
use std::collections::BTreeMap;
use std::time::Duration;

/// A step that failed (a member out of reach, mostly) is tried again after
/// this long.
const RETRY: Duration = Duration::from_secs(1);

/// The next thing to do.
#[derive(Debug, PartialEq)]
enum Step {
    /// The node may have a manager's certificate.
    Promote(NodeId),
    /// The member catches up, then votes.
    Add(u64, String),
    /// The member lives somewhere else now.
    Move(u64, String),
    /// The member goes; then its node is a worker.
    Remove(u64),
    /// This manager leads and has to go: another one has to lead first.
    StepDown,
    /// The node is a worker.
    Demote(NodeId),
}

/// Works until it is dropped. Run by the leader only.
pub(crate) async fn run(shared: Shared) {
    let mut changes = shared.state.changes();
    let mut unsuccessful = Vec::new();
    loop {
        changes.borrow_and_update();
        let members = shared
            .raft
            .members()
            .into_iter()
            .map(|m| (m.id, m.address))
            .collect();
        let steps = steps(&shared.state.snapshot(), &members, shared.node);
        let next = steps.into_iter().find(|step| !unsuccessful.contains(step));
        if let Some(step) = next {
            tracing::info!(?step, "membership");
            if let Err(error) = take(&shared, &step).await {
                tracing::warn!(?step, %error, "membership step did not succeed");
                unsuccessful.push(step);
            }
            continue;
        }
        if unsuccessful.is_empty() {
            if changes.changed().await.is_err() {
                return;
            }
        } else {
            // Whatever stood in the way may be gone by then.
            tokio::time::sleep(RETRY).await;
            unsuccessful.clear();
        }
    }
}

/// What is left to do, most urgent first.
fn steps(snapshot: &Snapshot, members: &BTreeMap<u64, String>, this: NodeId) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut known = BTreeMap::new();
    for node in snapshot.nodes() {
        let Node {
            id,
            spec,
            role,
            manager,
            ..
        } = node.as_ref();
        if let Some(ManagerStatus { raft_id, address }) = manager {
            known.insert(*raft_id, *id);
            match (spec.role, members.get(raft_id)) {
                (Role::Manager, None) => steps.push(Step::Add(*raft_id, address.clone())),
                (Role::Manager, Some(at)) if at != address => {
                    steps.push(Step::Move(*raft_id, address.clone()));
                }
                (Role::Manager, Some(_)) => {}
                (Role::Worker, Some(_)) if *id == this => steps.push(Step::StepDown),
                (Role::Worker, Some(_)) => steps.push(Step::Remove(*raft_id)),
                (Role::Worker, None) => steps.push(Step::Demote(*id)),
            }
        } else if spec.role == Role::Manager && *role == Role::Worker {
            steps.push(Step::Promote(*id));
        } else if spec.role == Role::Worker && *role == Role::Manager {
            steps.push(Step::Demote(*id));
        }
    }
    for id in members.keys() {
        if !known.contains_key(id) {
            steps.push(Step::Remove(*id));
        }
    }
    steps
}

async fn take(shared: &Shared, step: &Step) -> Result<(), String> {
    let say = |error: &dyn std::fmt::Display| error.to_string();
    match step {
        Step::Promote(id) => {
            let action = NodeAction::SetRole {
                id: *id,
                role: Role::Manager,
            };
            shared
                .propose_all(&[Action::Node(action)])
                .await
                .map_err(|e| say(&e))
        }
        Step::Add(id, address) => shared
            .raft
            .add_member(*id, address)
            .await
            .map_err(|e| say(&e)),
        Step::Move(id, address) => shared
            .raft
            .update_address(*id, address)
            .await
            .map_err(|e| say(&e)),
        Step::Remove(id) => shared.raft.remove_member(*id).await.map_err(|e| say(&e)),
        Step::StepDown => shared
            .raft
            .transfer_leadership()
            .await
            .map(|_| ())
            .map_err(|e| say(&e)),
        Step::Demote(id) => {
            let actions = [
                Action::Node(NodeAction::SetManager {
                    id: *id,
                    manager: None,
                }),
                Action::Node(NodeAction::SetRole {
                    id: *id,
                    role: Role::Worker,
                }),
            ];
            shared.propose_all(&actions).await.map_err(|e| say(&e))
        }
    }
}
