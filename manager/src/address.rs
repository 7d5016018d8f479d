//! Tells the other managers where this one is reached and the newest format it
//! reads, when that has changed.
//!
//! Both are part of the group's agreed state: the others go on calling a manager
//! at its old address, and write what its old version reads, until it says
//! otherwise. It can: it still knows where they are, and its certificate proves
//! who it is.

use crate::join;
use crate::shared::{Lead, Shared};
use skep_manager_store::format::NEWEST;
use skep_manager_store::{Action, NodeAction, Snapshot};
use skep_types::{ManagerStatus, NodeId};
use std::time::Duration;

/// Pause after nobody could be told.
const AGAIN: Duration = Duration::from_secs(5);

/// Sees to it that the others know this address, until it is dropped.
pub(crate) async fn announce(shared: Shared, address: String) {
    let mut changes = shared.state.changes();
    loop {
        changes.borrow_and_update();
        let raft_id = shared.raft.id();
        let own = ManagerStatus {
            raft_id,
            address: address.clone(),
            format: NEWEST,
        };
        let known_as = known_as(&shared.state.snapshot(), shared.node, raft_id);
        if let Some(old) = known_as.filter(|known| *known != own) {
            match tell(&shared, &own).await {
                Ok(()) => tracing::info!(?old, new = ?own, "the managers know what changed here"),
                Err(reason) => {
                    tracing::warn!(?old, new = ?own, %reason, "the managers do not know yet what changed here");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// What the others have for this member; `None` while it is not one.
fn known_as(snapshot: &Snapshot, node: NodeId, raft_id: u64) -> Option<ManagerStatus> {
    let manager = snapshot.node(node)?.manager.as_ref()?;
    (manager.raft_id == raft_id).then(|| manager.clone())
}

async fn tell(shared: &Shared, own: &ManagerStatus) -> Result<(), String> {
    if let Lead::Here = shared.lead() {
        let action = NodeAction::SetManager {
            id: shared.node,
            manager: Some(own.clone()),
        };
        let proposed = shared.propose_all(&[Action::Node(action)]).await;
        return proposed.map(drop).map_err(|error| error.to_string());
    }
    let snapshot = shared.state.snapshot();
    let others: Vec<String> = snapshot
        .nodes()
        .filter(|node| node.id != shared.node)
        .filter_map(|node| Some(node.manager.as_ref()?.address.clone()))
        .collect();
    let request = join::request(&own.address, own.raft_id);
    let asked = join::ask(&shared.channels, &others, request).await;
    asked.map(drop).map_err(|error| error.to_string())
}
