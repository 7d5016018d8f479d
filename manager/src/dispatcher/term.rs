//! What a leader remembers for as long as its term lasts: when each node was
//! heard, by which session at which manager, and what waits for the agents of
//! other managers. None of it enters Raft.

use super::heartbeats::{Heartbeats, Session};
use skep_proto::pb::session_message::Message;
use skep_types::NodeId;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// Messages waiting for the agents of a manager that does not fetch them.
const DOOR_BACKLOG: usize = 4096;
/// Bytes of messages handed to a manager at once, the last of them not counted.
const FETCH_BYTES: usize = 1 << 20;

/// What a leader knows of the agents at all managers.
pub(super) struct Term {
    pub heartbeats: Heartbeats,
    /// What other managers' agents are to be sent, until those managers say
    /// that they have it: the answer that brings it may be lost.
    waiting: HashMap<NodeId, VecDeque<Forward>>,
    /// The number of the next such message. It begins anywhere, so that no
    /// message of this term is taken for one of another leader's.
    next: u64,
    /// Nodes that said goodbye.
    closed: HashMap<NodeId, Goodbye>,
}

/// What is still on its way from sessions that ended with this counts for
/// nothing.
struct Goodbye {
    at: Instant,
    /// Sessions that were known then; there may be one that was not.
    sessions: [Option<u64>; 2],
}

impl Goodbye {
    fn covers(&self, number: u64, at: Instant) -> bool {
        at <= self.at || self.sessions.contains(&Some(number))
    }
}

/// A message for the agent that has this session at another manager; without
/// one the session is to end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Forward {
    /// How the other manager says that it has this one and those before.
    pub number: u64,
    pub node: NodeId,
    pub session: u64,
    pub message: Option<Message>,
}

impl Term {
    /// Nobody heard yet.
    pub(super) fn new(now: Instant) -> Term {
        Term {
            heartbeats: Heartbeats::new(now),
            waiting: HashMap::new(),
            next: rand::random(),
            closed: HashMap::new(),
        }
    }

    /// What the agents of another manager are to be sent; it has what came up
    /// to number `taken`.
    pub(super) fn fetch(&mut self, door: NodeId, taken: u64) -> Vec<Forward> {
        let Some(waiting) = self.waiting.get_mut(&door) else {
            return Vec::new();
        };
        if let Some(last) = waiting.iter().position(|one| one.number == taken) {
            waiting.drain(..=last);
        }
        let mut bytes = 0;
        let fits = |one: &&Forward| {
            let fits = bytes < FETCH_BYTES;
            bytes += one.message.as_ref().map_or(0, Message::encoded_len);
            fits
        };
        waiting.iter().take_while(fits).cloned().collect()
    }

    /// The node says goodbye; `here` is its session at this manager, if it has
    /// one. It is as if it had never been heard. Returns the session it was heard
    /// by last.
    pub(super) fn close(
        &mut self,
        node: NodeId,
        here: Option<u64>,
        now: Instant,
    ) -> Option<Session> {
        let last = self.heartbeats.forget(node);
        let goodbye = Goodbye {
            at: now,
            sessions: [here, last.map(|by| by.number)],
        };
        self.closed.insert(node, goodbye);
        last
    }

    /// Takes note of a sign of life. True when the node may have been given up.
    pub(super) fn hear(
        &mut self,
        door: NodeId,
        node: NodeId,
        number: u64,
        at: Instant,
        period: Duration,
    ) -> bool {
        if let Some(goodbye) = self.closed.get(&node)
            && goodbye.covers(number, at)
        {
            return false;
        }
        self.closed.remove(&node);
        let by = Session { door, number };
        self.heartbeats.hear(node, by, at, period)
    }

    /// False when that manager has not fetched what waits for long.
    pub(super) fn forward(&mut self, by: Session, node: NodeId, message: Option<Message>) -> bool {
        let waiting = self.waiting.entry(by.door).or_default();
        if waiting.len() >= DOOR_BACKLOG {
            return false;
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        waiting.push_back(Forward {
            number,
            node,
            session: by.number,
            message,
        });
        true
    }
}
