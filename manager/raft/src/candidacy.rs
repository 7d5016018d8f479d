//! When a member stands for election, and whether it would vote for another.
//!
//! In place of openraft's own timer, which draws its timeout once, when a member
//! starts, and stands without a question. Here it is drawn anew each time, so that two
//! are not in each other's way for ever; and who would stand asks the others first
//! (pre-vote, section 9.6 of Ongaro's thesis on Raft). So a member that was cut off, or
//! that was removed without having heard so, raises no terms, and does not depose a
//! leader whom the others hear when it comes back. The vote itself is openraft's.

use std::sync::Arc;
use std::time::Duration;

use openraft::{BasicNode, Membership, ServerState};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::error::HandleError;
use crate::leadership::quorum_lost;
use crate::network::Peers;
use crate::node::Raft;
use crate::runtime;
use crate::storage::LogStore;
use crate::types::{CoreRaft, LogId, NodeId, Vote};
use crate::wire::{self, RequestKind, ResponseKind, to_wire_id};

/// Candidacies in a row after which the pauses between them grow no more.
const MOST_DOUBLED: u32 = 3;

/// The times of a candidate.
#[derive(Clone, Copy)]
pub(crate) struct Timers {
    pub heartbeat: Duration,
    /// For so long after a leader was heard nobody votes for another.
    pub lease: Duration,
    /// A leader is missed after so long at the latest.
    pub election_max: Duration,
}

impl Timers {
    /// The least time to wait after a leader was heard: more than two of its heartbeats
    /// are missing. openraft sends them every one and a half.
    pub(crate) fn least(&self) -> Duration {
        self.lease + self.heartbeat * 3 / 2
    }

    /// How long to wait after a leader was heard; `chance` is from 0 to 1.
    fn patience(&self, chance: f64) -> Duration {
        let least = self.least();
        least + self.election_max.saturating_sub(least).mul_f64(chance)
    }

    /// How long to wait after somebody stood, this member or another. It grows with
    /// the candidacies that came to nothing: who was in the way once may be again.
    fn pause(&self, vain: u32, chance: f64) -> Duration {
        let longest = self.heartbeat * 2 * (1 << vain.min(MOST_DOUBLED));
        self.heartbeat + longest.mul_f64(chance)
    }
}

/// A number from 0 to 1.
fn draw() -> f64 {
    // Without chance it is as if it stood alone.
    let drawn = runtime::random().map_or(0, u32::from_le_bytes);
    f64::from(drawn) / f64::from(u32::MAX)
}

/// What a member knows that decides whether it stands.
struct Position {
    vote: Vote,
    /// When a leader was heard, or somebody voted for.
    since: Option<Instant>,
    leads: bool,
    membership: Membership<NodeId, BasicNode>,
}

impl Position {
    /// Waits while the core writes.
    async fn of(core: &CoreRaft) -> Option<Position> {
        let seen = core.with_raft_state(|state| Position {
            vote: *state.vote_ref(),
            since: state.vote_last_modified(),
            leads: state.server_state == ServerState::Leader,
            membership: state.membership_state.effective().membership().clone(),
        });
        seen.await.ok()
    }
}

/// A member that may stand.
pub(crate) struct Candidate {
    pub id: NodeId,
    pub core: CoreRaft,
    pub log: LogStore,
    pub peers: Arc<Peers>,
    pub timers: Timers,
}

impl Candidate {
    /// Stands for election whenever no leader is heard. Ends with the core.
    pub(crate) async fn run(self) {
        let began = Instant::now();
        // Anew for each try only: a time that is drawn again whenever it is looked at
        // is longer than it should be, and more like that of others.
        let mut chance = draw();
        let mut vain = 0;
        while let Some(position) = Position::of(&self.core).await {
            let mut voters = position.membership.voter_ids();
            if position.leads || !voters.any(|voter| voter == self.id) {
                vain = 0;
                sleep(self.timers.lease).await;
                continue;
            }
            let alone = voters_besides(&position.membership, self.id)
                .next()
                .is_none();
            let since = position.since.unwrap_or(began);
            let due = if position.vote.committed {
                vain = 0;
                since + self.timers.patience(chance)
            } else {
                since + self.timers.pause(vain, chance)
            };
            // One that is alone waits for nobody, but for its own last try.
            if (!alone || vain > 0) && Instant::now() < due {
                sleep_until(due).await;
                continue;
            }
            if self.is_wanted(&position).await {
                vain += 1;
                if self.core.trigger().elect().await.is_err() {
                    return;
                }
            } else {
                sleep(self.timers.pause(0, draw())).await;
            }
            chance = draw();
        }
    }

    /// Whether a majority would vote for this member, and nothing came meanwhile.
    async fn is_wanted(&self, position: &Position) -> bool {
        let granted = self.canvass(position);
        if !timeout(self.timers.lease, granted).await.unwrap_or(false) {
            return false;
        }
        let now = Position::of(&self.core).await;
        now.is_some_and(|now| now.vote == position.vote && now.since == position.since)
    }

    async fn canvass(&self, position: &Position) -> bool {
        let request = wire::VoteRequest {
            vote: Some(wire::Vote {
                term: position.vote.leader_id.term.saturating_add(1),
                node: self.id,
                committed: false,
            }),
            last_log_id: to_wire_id(&self.log.last()),
        };
        let mut asked = JoinSet::new();
        for (id, address) in voters_besides(&position.membership, self.id) {
            let (peers, kind) = (self.peers.clone(), RequestKind::PreVote(request.clone()));
            asked.spawn(async move {
                let answer = peers.ask(id, &address, kind).await;
                matches!(answer, Ok(ResponseKind::PreVote(would)) if would.granted).then_some(id)
            });
        }
        agreed(&position.membership, self.id, asked).await
    }
}

/// Whether a majority says yes, this member among them. Each asked gives its id if it does.
pub(crate) async fn agreed(
    membership: &Membership<NodeId, BasicNode>,
    id: NodeId,
    mut asked: JoinSet<Option<NodeId>>,
) -> bool {
    let mut granted = vec![id];
    loop {
        if is_majority(membership, &granted) {
            return true;
        }
        match asked.join_next().await {
            Some(answer) => granted.extend(answer.ok().flatten()),
            None => return false,
        }
    }
}

/// The voters but for one, with their addresses.
pub(crate) fn voters_besides(
    membership: &Membership<NodeId, BasicNode>,
    id: NodeId,
) -> impl Iterator<Item = (NodeId, String)> {
    let others = membership.voter_ids().filter(move |voter| *voter != id);
    others.filter_map(|voter| Some((voter, membership.get_node(&voter)?.addr.clone())))
}

/// Whether these are more than half of the voters, before and after a change of them.
fn is_majority(membership: &Membership<NodeId, BasicNode>, granted: &[NodeId]) -> bool {
    membership.get_joint_config().iter().all(|voters| {
        let granted = voters.iter().filter(|voter| granted.contains(voter));
        granted.count() > voters.len() / 2
    })
}

impl Raft {
    /// Whether this member would vote for one whose log ends there. It promises
    /// nothing.
    ///
    /// # Errors
    /// When it has stopped.
    pub(crate) async fn would_vote(&self, last: Option<LogId>) -> Result<bool, HandleError> {
        let inner = &self.inner;
        let position = Position::of(&inner.core).await;
        let position = position.ok_or(HandleError::Stopped)?;
        if position.leads {
            let limit = inner.config.quorum_timeout();
            let metrics = inner.metrics.borrow();
            // One that nobody ever answered is no better than one that was left.
            let unheard = metrics.millis_since_quorum_ack.is_none()
                && position.since.is_none_or(|since| since.elapsed() > limit);
            return Ok(unheard || quorum_lost(&metrics, limit));
        }
        let timers = inner.config.timers();
        // A candidate that was voted for is given the time to be elected.
        let bound = if position.vote.committed {
            timers.lease
        } else {
            timers.heartbeat
        };
        let free = position.since.is_none_or(|since| since.elapsed() > bound);
        Ok(free && last >= inner.log.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn a_change_of_voters_needs_both_majorities() {
        let nodes: BTreeMap<u64, BasicNode> = (1..=5).map(|id| (id, BasicNode::new(id))).collect();
        let before = BTreeSet::from([1, 2, 3]);
        let after = BTreeSet::from([1, 4, 5]);
        let one = Membership::new(vec![before.clone()], nodes.clone());
        let both = Membership::new(vec![before, after], nodes);
        for (granted, of_one, of_both) in [
            (&[1][..], false, false),
            (&[1, 2], true, false),
            (&[1, 4, 5], false, false),
            (&[2, 3], true, false),
            (&[1, 2, 4], true, true),
            (&[2, 3, 4, 5], true, true),
        ] {
            assert_eq!(is_majority(&one, granted), of_one, "{granted:?}");
            assert_eq!(is_majority(&both, granted), of_both, "{granted:?}");
        }
    }

    #[test]
    fn pauses_are_drawn_and_grow_up_to_a_limit() {
        runtime::seed_this_thread(1);
        let timers = Timers {
            heartbeat: Duration::from_millis(100),
            lease: Duration::from_millis(300),
            election_max: Duration::from_millis(600),
        };
        let longest = |vain| (0..1000).map(|_| timers.pause(vain, draw())).max();
        assert!(longest(0) <= Some(Duration::from_millis(300)));
        assert!(longest(2) > Some(Duration::from_millis(700)));
        assert!(longest(u32::MAX) <= Some(Duration::from_millis(1700)));
        let patience: BTreeSet<_> = (0..1000).map(|_| timers.patience(draw())).collect();
        assert!(patience.first() >= Some(&Duration::from_millis(450)));
        assert!(patience.last() <= Some(&Duration::from_millis(600)));
        assert!(patience.len() > 100);
    }
}
