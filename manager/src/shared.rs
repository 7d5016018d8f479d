//! What the parts of a manager share.

use crate::dispatcher::sessions::Sessions;
use crate::error::ProposeError;
use crate::machine::State;
use crate::proposer::{Proposed, Proposer};
use skep_manager_raft::Raft;
use skep_manager_store::Action;
use skep_transport::Channels;
use skep_types::NodeId;
use std::sync::Arc;

/// Handles of one manager. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shared {
    /// This node.
    pub node: NodeId,
    /// The state agreed on.
    pub state: Arc<State>,
    /// The group.
    pub raft: Raft,
    /// Channels to other managers.
    pub channels: Channels,
    /// Agents that talk to this manager.
    pub sessions: Arc<Sessions>,
    proposer: Proposer,
}

/// Who leads, from here.
pub(crate) enum Lead {
    /// This manager.
    Here,
    /// Another one, at this address.
    At(String),
    /// Nobody that is known of.
    Nowhere,
}

impl Shared {
    pub(crate) fn new(node: NodeId, state: Arc<State>, raft: Raft, channels: Channels) -> Self {
        Shared {
            node,
            state,
            proposer: Proposer::new(raft.clone()),
            raft,
            channels,
            sessions: Arc::default(),
        }
    }

    pub(crate) fn lead(&self) -> Lead {
        let leadership = self.raft.leadership();
        let leadership = leadership.borrow();
        match &leadership.leader {
            _ if leadership.is_leader => Lead::Here,
            Some((_, address)) => Lead::At(address.clone()),
            None => Lead::Nowhere,
        }
    }

    /// See [`Proposer::propose`].
    pub(crate) async fn propose(&self, actions: &[Action]) -> Result<Proposed, ProposeError> {
        self.proposer.propose(actions).await
    }

    /// Proposes and logs what was refused; for loops that plan again anyway.
    /// Returns how many actions were applied.
    pub(crate) async fn propose_all(&self, actions: &[Action]) -> Result<usize, ProposeError> {
        let proposed = self.propose(actions).await?;
        let mut applied = 0;
        for result in proposed.results {
            match result.refused {
                Some(reason) if result.stale => tracing::debug!(%reason, "action was stale"),
                Some(reason) => tracing::warn!(%reason, "action was refused"),
                None => applied += 1,
            }
        }
        Ok(applied)
    }
}
