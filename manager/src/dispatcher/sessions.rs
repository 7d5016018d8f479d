//! Who talks to this manager, and when each was last heard.
//!
//! In memory of the leader only: heartbeats never enter Raft. A new leader
//! starts with nobody heard and gives everybody time to come.

use bytes::Bytes;
use skep_manager_planner::Liveness;
use skep_proto::pb;
use skep_types::{NodeId, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};

use super::logs::LogRequests;

/// Messages waiting for an agent that does not read; more end its session.
const BACKLOG: usize = 64;

/// A node that comes back after this long may be held for Down.
const LONG_SILENCE: Duration = Duration::from_secs(2);

/// Sessions of this term.
#[derive(Default)]
pub(crate) struct Sessions {
    inner: Mutex<Inner>,
    liveness_changed: Notify,
    /// Log requests under way.
    pub(crate) logs: LogRequests,
}

#[derive(Default)]
struct Inner {
    leading: bool,
    next: u64,
    sessions: HashMap<NodeId, Session>,
    liveness: Liveness,
}

struct Session {
    number: u64,
    messages: mpsc::Sender<pb::SessionMessage>,
    /// Dropped with the session, which ends its streams.
    _alive: watch::Sender<()>,
}

/// A newly opened session.
pub(crate) struct Opened {
    /// Its name on the wire.
    pub session: Bytes,
    /// What the agent is to be sent, besides assignments.
    pub messages: mpsc::Receiver<pb::SessionMessage>,
    /// Closes when the session ends.
    pub alive: watch::Receiver<()>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A term begins in which this manager leads.
    pub(crate) fn begin_term(&self, now: Timestamp) {
        let mut inner = self.lock();
        inner.leading = true;
        inner.sessions.clear();
        inner.liveness = Liveness::new(now);
    }

    /// It ends: agents go elsewhere.
    pub(crate) fn end_term(&self) {
        let mut inner = self.lock();
        inner.leading = false;
        inner.sessions.clear();
    }

    /// Opens a session, which ends an older one of the same node. `None`
    /// when this manager does not lead.
    pub(crate) fn open(&self, node: NodeId, now: Timestamp) -> Option<Opened> {
        let mut inner = self.lock();
        if !inner.leading {
            return None;
        }
        inner.next += 1;
        let number = inner.next;
        let (messages, receiver) = mpsc::channel(BACKLOG);
        let (alive, alive_receiver) = watch::channel(());
        inner.sessions.insert(
            node,
            Session {
                number,
                messages,
                _alive: alive,
            },
        );
        inner.liveness.heard.insert(node, now);
        drop(inner);
        self.liveness_changed.notify_one();
        Some(Opened {
            session: Bytes::copy_from_slice(&number.to_be_bytes()),
            messages: receiver,
            alive: alive_receiver,
        })
    }

    /// Takes note that the node lives. False when this is not its session.
    pub(crate) fn heard(&self, node: NodeId, session: &[u8], now: Timestamp) -> bool {
        let mut inner = self.lock();
        if !inner.is_session(node, session) {
            return false;
        }
        let before = inner.liveness.heard.insert(node, now);
        drop(inner);
        // It may have been given up in the meantime.
        if before.is_none_or(|before| now.since(before) > LONG_SILENCE) {
            self.liveness_changed.notify_one();
        }
        true
    }

    /// Whether this is the node's session.
    pub(crate) fn is_session(&self, node: NodeId, session: &[u8]) -> bool {
        self.lock().is_session(node, session)
    }

    /// Whether the node has a session here.
    pub(crate) fn is_open(&self, node: NodeId) -> bool {
        self.lock().sessions.contains_key(&node)
    }

    /// Closes when the node's session ends.
    pub(crate) fn alive(&self, node: NodeId, session: &[u8]) -> Option<watch::Receiver<()>> {
        let inner = self.lock();
        if !inner.is_session(node, session) {
            return None;
        }
        inner
            .sessions
            .get(&node)
            .map(|session| session._alive.subscribe())
    }

    /// Ends a node's session, because the node was removed or says goodbye; it
    /// is as if it had never been heard.
    pub(crate) fn close(&self, node: NodeId) {
        let mut inner = self.lock();
        inner.sessions.remove(&node);
        inner.liveness.heard.remove(&node);
    }

    /// Sends a message to a node's agent. False when it has no session here.
    pub(crate) fn send(&self, node: NodeId, message: pb::SessionMessage) -> bool {
        let mut inner = self.lock();
        let Some(session) = inner.sessions.get(&node) else {
            return false;
        };
        match session.messages.try_send(message) {
            Ok(()) => true,
            Err(_) => {
                inner.sessions.remove(&node);
                false
            }
        }
    }

    /// When each node was last heard.
    pub(crate) fn liveness(&self) -> Liveness {
        self.lock().liveness.clone()
    }

    /// Waits until a node has come that may have been away.
    pub(crate) async fn liveness_changed(&self) {
        self.liveness_changed.notified().await;
    }
}

impl Inner {
    fn is_session(&self, node: NodeId, session: &[u8]) -> bool {
        self.sessions
            .get(&node)
            .is_some_and(|open| open.number.to_be_bytes().as_slice() == session)
    }
}
