//! Who belongs to the cluster.
//!
//! Owns the steps by which a member joins (reachable, learner, caught up,
//! voter), leaves and moves. Every call is idempotent, so that a new leader
//! may simply repeat what the last one began.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{BasicNode, ChangeMembers, LogIdOptionExt, Membership};
use tokio::time::Instant;

use crate::error::MemberError;
use crate::leadership::leader_of;
use crate::node::Raft;
use crate::propose::named;
use crate::types::NodeId;
use crate::wire::{Empty, RequestKind};

/// How long a prospective member may take to answer at its address.
const DIAL_BACK: Duration = Duration::from_secs(5);
/// Pause before trying again when another change is under way.
const RETRY: Duration = Duration::from_millis(50);

/// One member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its Raft id.
    pub id: u64,
    /// Where it is reached.
    pub address: String,
    /// Whether it votes; one that does not is still catching up.
    pub voter: bool,
}

pub(crate) fn list(membership: &Membership<NodeId, BasicNode>) -> Vec<Member> {
    let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
    membership
        .nodes()
        .map(|(id, node)| Member {
            id: *id,
            address: node.addr.clone(),
            voter: voters.contains(id),
        })
        .collect()
}

impl Raft {
    /// The members as known here, in the order of their ids.
    pub fn members(&self) -> Vec<Member> {
        list(self.inner.metrics.borrow().membership_config.membership())
    }

    pub(crate) fn member(&self, id: u64) -> Option<Member> {
        self.members().into_iter().find(|m| m.id == id)
    }

    /// Lets a node that runs at `address` join: checks that it answers, feeds
    /// it the log and, once it caught up, gives it a vote. If it does not
    /// catch up it is taken out again.
    ///
    /// # Errors
    /// [`MemberError`]; only the leader can do it.
    pub async fn add_member(&self, id: u64, address: &str) -> Result<(), MemberError> {
        let _one_at_a_time = self.inner.changing.lock().await;
        self.require_leader()?;
        if let Some(known) = self.member(id) {
            if known.address != address {
                self.set_address(id, address).await?;
            }
            if known.voter {
                return Ok(());
            }
        }
        self.dial_back(id, address).await?;
        let node = BTreeMap::from([(id, BasicNode::new(address))]);
        self.change(ChangeMembers::AddNodes(node)).await?;
        if let Err(error) = self.catch_up(id).await {
            let left = ChangeMembers::RemoveNodes(BTreeSet::from([id]));
            if let Err(error) = self.change(left).await {
                tracing::warn!(raft.id = id, %error, "cannot take out a member that did not catch up");
            }
            return Err(error);
        }
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([id])))
            .await
    }

    /// Takes a member out. One that is not there is no error.
    ///
    /// # Errors
    /// [`MemberError`]; among others if the rest would have no majority.
    pub async fn remove_member(&self, id: u64) -> Result<(), MemberError> {
        let _one_at_a_time = self.inner.changing.lock().await;
        self.require_leader()?;
        let Some(member) = self.member(id) else {
            return Ok(());
        };
        if id == self.inner.id {
            let voters = self.members().iter().filter(|m| m.voter).count();
            return Err(if voters == 1 {
                MemberError::LastVoter
            } else {
                MemberError::IsLeader
            });
        }
        if member.voter {
            self.check_rest(id)?;
            let gone = BTreeSet::from([id]);
            return self.change(ChangeMembers::RemoveVoters(gone)).await;
        }
        self.change(ChangeMembers::RemoveNodes(BTreeSet::from([id])))
            .await
    }

    /// Whether a change of the voters has begun and not ended, as when its leader was
    /// lost in between: until it ends, a majority of the old and of the new is needed.
    pub fn is_changing(&self) -> bool {
        let metrics = self.inner.metrics.borrow();
        metrics
            .membership_config
            .membership()
            .get_joint_config()
            .len()
            > 1
    }

    /// Brings such a change to its end.
    ///
    /// # Errors
    /// [`MemberError`]; only the leader can do it.
    pub async fn finish_change(&self) -> Result<(), MemberError> {
        let _one_at_a_time = self.inner.changing.lock().await;
        self.require_leader()?;
        if !self.is_changing() {
            return Ok(());
        }
        // Nothing is added to what it leads to.
        self.change(ChangeMembers::AddVoterIds(BTreeSet::new()))
            .await
    }

    /// Records that a member is reached at another address.
    ///
    /// # Errors
    /// [`MemberError`]; only the leader can do it.
    pub async fn update_address(&self, id: u64, address: &str) -> Result<(), MemberError> {
        let _one_at_a_time = self.inner.changing.lock().await;
        self.require_leader()?;
        let known = self.member(id).ok_or(MemberError::NotFound { id })?;
        if known.address == address {
            return Ok(());
        }
        self.set_address(id, address).await
    }

    async fn set_address(&self, id: u64, address: &str) -> Result<(), MemberError> {
        let node = BTreeMap::from([(id, BasicNode::new(address))]);
        self.change(ChangeMembers::SetNodes(node)).await
    }

    fn require_leader(&self) -> Result<(), MemberError> {
        let metrics = self.inner.metrics.borrow();
        if metrics.current_leader == Some(self.inner.id) {
            return Ok(());
        }
        Err(MemberError::NotLeader {
            leader: leader_of(&metrics),
        })
    }

    /// Whether those who stay still are a majority that answers, as far as the
    /// leader knows.
    ///
    /// # Errors
    /// [`MemberError::QuorumLoss`].
    pub fn check_rest(&self, leaving: u64) -> Result<(), MemberError> {
        let status = self.status();
        let rest: Vec<_> = status
            .members
            .iter()
            .filter(|m| m.member.voter && m.member.id != leaving)
            .collect();
        let answering = rest
            .iter()
            .filter(|m| m.reachability == crate::Reachability::Reachable)
            .count();
        if answering > rest.len() / 2 {
            Ok(())
        } else {
            Err(MemberError::QuorumLoss)
        }
    }

    async fn dial_back(&self, id: u64, address: &str) -> Result<(), MemberError> {
        if id == self.inner.id {
            return Ok(());
        }
        let ping = self
            .inner
            .peers
            .ask(id, address, RequestKind::Ping(Empty {}));
        let reason = match tokio::time::timeout(DIAL_BACK, ping).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error.reason,
            Err(_) => format!("no answer within {} s", DIAL_BACK.as_secs()),
        };
        Err(MemberError::Unreachable {
            address: address.into(),
            reason,
        })
    }

    /// Waits until a learner holds everything that the log held when it was
    /// added.
    async fn catch_up(&self, id: u64) -> Result<(), MemberError> {
        let mut metrics = self.inner.metrics.clone();
        let goal = metrics.borrow().last_log_index;
        let limit = self.inner.config.catch_up;
        let waited = tokio::time::timeout(
            limit,
            metrics.wait_for(|m| match &m.replication {
                Some(all) => all.get(&id).is_some_and(|at| at.index() >= goal),
                None => true,
            }),
        );
        match waited.await {
            Ok(Ok(metrics)) if metrics.replication.is_some() => Ok(()),
            Ok(Ok(metrics)) => Err(MemberError::NotLeader {
                leader: leader_of(&metrics),
            }),
            Ok(Err(_)) => Err(MemberError::Stopped),
            Err(_) => Err(MemberError::NotCaughtUp {
                id,
                seconds: limit.as_secs(),
            }),
        }
    }

    /// One change of the membership, through both its steps.
    async fn change(&self, change: ChangeMembers<NodeId, BasicNode>) -> Result<(), MemberError> {
        let until = Instant::now() + DIAL_BACK;
        loop {
            // With `retain` a removed voter would stay as a learner.
            let retain = matches!(
                change,
                ChangeMembers::AddNodes(_) | ChangeMembers::SetNodes(_)
            );
            match self
                .inner
                .core
                .change_membership(change.clone(), retain)
                .await
            {
                Ok(_) => return Ok(()),
                Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                    ChangeMembershipError::InProgress(_),
                ))) if Instant::now() < until => tokio::time::sleep(RETRY).await,
                Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error))) => {
                    return Err(MemberError::Interrupted(error.to_string()));
                }
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
                    return Err(MemberError::NotLeader { leader: named(to) });
                }
                Err(RaftError::Fatal(_)) => return Err(MemberError::Stopped),
            }
        }
    }
}
