//! Who of the managers leads and who answers, told to people who watch.
//!
//! Neither is in the store, as heartbeats never enter Raft: each manager tells who watches there
//! what it sees, each change once. Who leads it sees itself; who answers only the leader does, and
//! the answers to pulses bring that to the others (`dispatcher/door.rs`).

use crate::events::EntryEvents;
use crate::machine::State;
use crate::shared::Shared;
use skep_manager_raft::{MemberStatus, Reachability};
use skep_manager_store::{Event, EventAction, ObjectId, Snapshot};
use skep_types::{Node, NodeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How often a leader looks who answers.
const LOOK: Duration = Duration::from_millis(250);

/// What this manager has told of the others and of itself.
#[derive(Default)]
pub(crate) struct Seats {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    leader: Leader,
    /// By Raft id.
    answers: BTreeMap<u64, bool>,
}

/// A leader, by its Raft id, and the node it is on.
#[derive(Clone, Copy, Default)]
enum Leader {
    /// There was none yet.
    #[default]
    Unknown,
    /// The one that this manager found when it began, which is no change. The store here has no
    /// node for it yet.
    Found(u64),
    /// People know of this one, or that there is none.
    Told(Option<(u64, NodeId)>),
}

impl Seats {
    /// The leader that is known now, by its Raft id.
    fn lead(&self, state: &State, raft_id: Option<u64>) {
        let mut seen = self.seen();
        if matches!(seen.leader, Leader::Told(Some((id, _))) if raft_id == Some(id)) {
            return;
        }
        let snapshot = state.snapshot();
        let events = seen.lead(raft_id, |id| Some(holder(&snapshot, id)?.id));
        let events = events.into_iter();
        let events = events.filter_map(|(node, leads)| {
            let was = if leads { "false" } else { "true" };
            let is = if leads { "true" } else { "false" };
            let changed = [("leader.old", was), ("leader.new", is)];
            Some(event(snapshot.node(node)?, changed))
        });
        tell(state, &snapshot, events.collect());
    }

    /// Whether members answer, by their Raft ids, as the leader finds it; of those that are left
    /// out nothing is known anew.
    pub(crate) fn answer(&self, state: &State, found: impl IntoIterator<Item = (u64, bool)>) {
        let mut seen = self.seen();
        let mut changes = Vec::new();
        for (id, answers) in found {
            let was = seen.answers.insert(id, answers);
            // One that is new and answers is as it should be.
            if was.unwrap_or(true) != answers {
                changes.push((id, was, answers));
            }
        }
        if changes.is_empty() {
            return;
        }
        let snapshot = state.snapshot();
        let word = |answers: Option<bool>| match answers {
            None => "unknown",
            Some(false) => "unreachable",
            Some(true) => "reachable",
        };
        let events = changes.into_iter().filter_map(|(id, was, answers)| {
            let changed = [
                ("reachability.old", word(was)),
                ("reachability.new", word(Some(answers))),
            ];
            Some(event(holder(&snapshot, id)?, changed))
        });
        tell(state, &snapshot, events.collect());
    }

    /// Who answers and who does not, for a manager that does not lead.
    pub(crate) fn found(&self) -> (Vec<u64>, Vec<u64>) {
        let seen = self.seen();
        let all = seen.answers.iter();
        let (answer, silent): (Vec<_>, Vec<_>) = all.partition(|(_, answers)| **answers);
        let ids = |members: Vec<(&u64, _)>| members.into_iter().map(|(id, _)| *id).collect();
        (ids(answer), ids(silent))
    }

    /// Members that are no more are forgotten.
    fn keep(&self, members: &[MemberStatus]) {
        let is_member = |id: u64| members.iter().any(|status| status.member.id == id);
        self.seen().answers.retain(|id, _| is_member(*id));
    }

    /// Held while an event is made, so that no two tell of one change.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// Takes the leader in, and gives the nodes that lead or do not lead now.
    fn lead(
        &mut self,
        raft_id: Option<u64>,
        node: impl Fn(u64) -> Option<NodeId>,
    ) -> Vec<(NodeId, bool)> {
        // One that the store here does not know yet is told of once it does.
        let leader = raft_id.and_then(|id| Some((id, node(id)?)));
        let former = match (self.leader, raft_id) {
            (Leader::Told(former), _) => former,
            (Leader::Unknown, None) => return Vec::new(),
            (Leader::Unknown, Some(found)) | (Leader::Found(found), _) => match node(found) {
                Some(node) => Some((found, node)),
                None if raft_id == Some(found) => {
                    self.leader = Leader::Found(found);
                    return Vec::new();
                }
                None => None,
            },
        };
        self.leader = Leader::Told(leader);
        let (former, leader) = (former.map(|(_, node)| node), leader.map(|(_, node)| node));
        if former == leader {
            return Vec::new();
        }
        let gone = former.map(|node| (node, false));
        gone.into_iter()
            .chain(leader.map(|node| (node, true)))
            .collect()
    }
}

/// Tells for as long as it is not dropped.
pub(crate) async fn run(shared: Shared) {
    let mut leadership = shared.raft.leadership();
    let mut leads: Option<(u64, Instant)> = None;
    loop {
        let current = leadership.borrow_and_update().clone();
        let (seats, state) = (&shared.seats, &shared.state);
        seats.lead(state, current.leader.map(|(id, _)| id));
        let since = leads.filter(|(term, _)| *term == current.term);
        leads = current
            .is_leader
            .then(|| since.unwrap_or((current.term, Instant::now())));
        // Who has just begun to lead has had no time to hear anybody.
        if leads.is_some_and(|(_, since)| since.elapsed() > shared.raft.silence()) {
            let members = shared.raft.status().members;
            seats.keep(&members);
            seats.answer(state, members.iter().filter_map(heard));
        }
        tokio::select! {
            changed = leadership.changed() => if changed.is_err() {
                return;
            },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

fn heard(status: &MemberStatus) -> Option<(u64, bool)> {
    let answers = match status.reachability {
        Reachability::Reachable => true,
        Reachability::Unreachable => false,
        Reachability::Unknown => return None,
    };
    Some((status.member.id, answers))
}

/// The node that has this seat.
fn holder(snapshot: &Snapshot, raft_id: u64) -> Option<&Arc<Node>> {
    let has_seat = |node: &&Arc<Node>| node.manager.as_ref().is_some_and(|m| m.raft_id == raft_id);
    snapshot.nodes().find(has_seat)
}

fn event(node: &Node, changed: [(&'static str, &str); 2]) -> Event {
    Event {
        object: ObjectId::Node(node.id),
        action: EventAction::Update,
        name: node.description.hostname.clone(),
        attributes: changed.map(|(key, value)| (key, value.to_owned())).to_vec(),
    }
}

fn tell(state: &State, snapshot: &Snapshot, events: Vec<Event>) {
    if !events.is_empty() {
        state.events.add(EntryEvents {
            version: snapshot.version(),
            at: state.now(),
            events,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_manager_raft::Machine;
    use skep_manager_store::{Action, NodeAction};
    use skep_types::{
        Format, ManagerStatus, Meta, NodeDescription, NodeSpec, NodeStatus, Role, Timestamp,
    };

    fn node(bits: u64) -> Action {
        Action::Node(NodeAction::Create(Box::new(Node {
            id: NodeId::from_bits(bits.into()),
            meta: Meta::default(),
            spec: NodeSpec::default(),
            description: NodeDescription {
                hostname: format!("m{bits}"),
                ..NodeDescription::default()
            },
            status: NodeStatus::default(),
            role: Role::Manager,
            role_since: Timestamp::default(),
            drain_since: None,
            manager: Some(ManagerStatus {
                raft_id: bits,
                address: String::new(),
                format: Format::FIRST,
            }),
            mesh: None,
        })))
    }

    /// What was told of seats, as `name old new`.
    fn told(state: &State) -> Vec<String> {
        let (entries, _) = state.events.since(Timestamp(0));
        let events = entries.iter().flat_map(|entry| &entry.events);
        let events = events.filter(|event| event.action == EventAction::Update);
        let words = events.map(|event| {
            let [(old, was), (new, is)] = &event.attributes[..] else {
                panic!("{event:?}");
            };
            assert!(old.ends_with(".old") && new.ends_with(".new"), "{event:?}");
            format!("{} {was} {is}", event.name)
        });
        words.collect()
    }

    #[test]
    fn each_change_is_told_once_and_what_was_found_is_none() {
        let (state, seats) = (State::new(), Seats::default());
        let entry = skep_proto::encode_entry(Format::FIRST, Timestamp(1), &[node(1), node(2)]);
        state.apply(1, &entry).unwrap();
        for leader in [None, Some(1), Some(1), None, None, Some(1), Some(2)] {
            seats.lead(&state, leader);
        }
        let of_leaders = [
            "m1 true false",
            "m1 false true",
            "m1 true false",
            "m2 false true",
        ];
        assert_eq!(told(&state), of_leaders);
        // 3 is not known here.
        seats.lead(&state, Some(3));
        assert_eq!(told(&state)[4..], ["m2 true false"]);
        seats.lead(&state, Some(2));
        assert_eq!(told(&state)[5..], ["m2 false true"]);

        seats.answer(&state, [(1, true), (2, false), (3, false)]);
        assert_eq!(seats.found(), (vec![1], vec![2, 3]));
        seats.answer(&state, [(1, true), (2, false)]);
        seats.answer(&state, [(1, false), (2, true)]);
        let of_answers = [
            "m2 unknown unreachable",
            "m1 reachable unreachable",
            "m2 unreachable reachable",
        ];
        assert_eq!(told(&state)[6..], of_answers);
    }
    #[test]
    fn a_leader_that_is_lost_before_its_node_is_known_is_told_of() {
        let (state, seats) = (State::new(), Seats::default());
        seats.lead(&state, Some(1));
        let entry = skep_proto::encode_entry(Format::FIRST, Timestamp(1), &[node(1), node(2)]);
        state.apply(1, &entry).unwrap();
        seats.lead(&state, None);
        seats.lead(&state, Some(2));
        assert_eq!(told(&state), ["m1 true false", "m2 false true"]);

        // Once it is known it is what it was.
        let (state, seats) = (State::new(), Seats::default());
        seats.lead(&state, Some(1));
        state.apply(1, &entry).unwrap();
        seats.lead(&state, Some(1));
        assert_eq!(told(&state), [""; 0]);
    }
}
