//! What the parts of a manager share.

use crate::dispatcher::board::Board;
use crate::dispatcher::sessions::Sessions;
use crate::error::ProposeError;
use crate::machine::State;
use crate::proposer::{Proposed, Proposer};
use crate::registrations::Registrations;
use crate::seats::Seats;
use skep_manager_raft::Raft;
use skep_manager_store::Action;
use skep_transport::Channels;
use skep_types::NodeId;
use std::sync::Arc;
use tokio::sync::Semaphore;

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
    /// What they are told.
    pub board: Arc<Board>,
    /// What nodes said of themselves lately.
    pub registrations: Arc<Registrations>,
    /// Which managers lead and answer, as people who watch were told.
    pub seats: Arc<Seats>,
    /// Turns of those who want to know what changes would lead to.
    pub foresight: Arc<Semaphore>,
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
            proposer: Proposer::new(raft.clone(), state.clone()),
            state,
            raft,
            channels,
            sessions: Arc::new(Sessions::new(node)),
            board: Board::new(),
            registrations: Arc::default(),
            seats: Arc::default(),
            foresight: Arc::new(Semaphore::new(1)),
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

    /// Why this manager takes no part any more, if its log failed while it ran,
    /// and what to do.
    pub(crate) fn failure(&self) -> Option<String> {
        let reason = self.raft.failure()?;
        Some(format!(
            "this manager takes no part any more: {reason}; mend that, then restart the daemon on \
             this node. Its containers go on"
        ))
    }

    /// See [`Proposer::format_for`].
    pub(crate) fn may_write(&self, action: &Action) -> Result<(), ProposeError> {
        let action = std::slice::from_ref(action);
        self.proposer.format_for(action).map(drop)
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
