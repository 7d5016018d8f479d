//! Who talks to this manager, and while it leads, who was heard by any.
//!
//! Every manager holds sessions of agents as long as it hears the leader.
//! When each node was heard is the memory of the leader's term alone: a new
//! leader starts with nobody heard and gives everybody time to come.

use super::heartbeats;
use super::logs::LogRequests;
pub(crate) use super::term::Forward;
use super::term::Term;
use bytes::Bytes;
use pb::session_message::Message;
use skep_manager_planner::Liveness;
use skep_proto::pb;
use skep_types::{NodeId, Timestamp};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

/// Messages waiting for an agent that does not read; more end its session.
const BACKLOG: usize = 64;

/// Sessions at this manager, and the leader's memory.
pub(crate) struct Sessions {
    this: NodeId,
    inner: Mutex<Inner>,
    liveness_changed: Notify,
    arrived: Notify,
    /// Log requests under way.
    pub(crate) logs: LogRequests,
}

struct Inner {
    /// Whether agents may talk to this manager: it leads, or hears who does.
    open: bool,
    /// This manager ends.
    stopped: bool,
    /// When the leader was heard last, where this is not it.
    leader_heard: Instant,
    next: u64,
    sessions: HashMap<NodeId, Session>,
    /// Heard here since the leader was told last.
    untold: HashSet<NodeId>,
    /// The number of the last message that the leader sent by this manager.
    taken: u64,
    term: Option<Term>,
}

/// What the leader had for agents of this manager.
pub(crate) struct Fetched {
    /// The number of the last message, if there was one.
    pub last: Option<u64>,
    /// Those that this version knows.
    pub forward: Vec<Forward>,
}

struct Session {
    number: u64,
    /// When the node was heard last, and how often it was asked to be then.
    heard: (Instant, Duration),
    messages: mpsc::Sender<pb::SessionMessage>,
    /// Dropped with the session, which ends its streams.
    _alive: watch::Sender<()>,
    /// Dropped with the session, too, or when it is told what to do anew.
    telling: Option<oneshot::Sender<()>>,
}

/// That a node was heard here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beat {
    pub node: NodeId,
    /// By this session.
    pub session: u64,
    /// So long ago.
    pub age: Duration,
    /// It will be heard again after this.
    pub period: Duration,
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

/// The name of a session on the wire.
pub(crate) fn name(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// The session of that name.
pub(crate) fn number(name: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(name.try_into().ok()?))
}

impl Sessions {
    /// Nobody, until this manager leads or hears who does.
    pub(crate) fn new(this: NodeId) -> Sessions {
        Sessions {
            this,
            inner: Mutex::new(Inner {
                open: false,
                stopped: false,
                leader_heard: Instant::now(),
                // Sessions of all managers must differ, of earlier ones, too.
                next: rand::random(),
                sessions: HashMap::new(),
                untold: HashSet::new(),
                taken: 0,
                term: None,
            }),
            liveness_changed: Notify::new(),
            arrived: Notify::new(),
            logs: LogRequests::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A term begins in which this manager leads. Sessions here go on.
    pub(crate) fn begin_term(&self) {
        let mut inner = self.lock();
        let now = Instant::now();
        let mut term = Term::new(now);
        for (node, session) in &inner.sessions {
            let (at, period) = session.heard;
            term.hear(self.this, *node, session.number, at, period);
        }
        inner.open = true;
        inner.untold.clear();
        inner.term = Some(term);
    }

    /// It ends. Sessions here go on if the next leader is heard soon.
    pub(crate) fn end_term(&self) {
        let mut inner = self.lock();
        if inner.term.take().is_some() {
            inner.leader_heard = Instant::now();
        }
    }

    /// This manager ends: agents go elsewhere for good.
    pub(crate) fn stop(&self) {
        let mut inner = self.lock();
        inner.stopped = true;
        inner.shut();
    }

    /// The leader took what it was told: agents may talk to this manager.
    pub(crate) fn hears_leader(&self) {
        let mut inner = self.lock();
        inner.open = true;
        inner.leader_heard = Instant::now();
    }

    /// Sends agents elsewhere when the leader was not heard for `limit`: it
    /// does not hear of them either, and would soon give them up. Says whether
    /// it did.
    pub(crate) fn shut_after(&self, limit: Duration) -> bool {
        let mut inner = self.lock();
        let alone = inner.term.is_none() && inner.leader_heard.elapsed() > limit;
        let shut = alone && inner.open;
        if shut {
            inner.shut();
        }
        shut
    }

    /// Opens a session, which ends an older one of the same node here, and
    /// asks for a heartbeat every `period`. `None` when this manager does not
    /// hear the leader.
    pub(crate) fn open(&self, node: NodeId, period: Duration) -> Option<Opened> {
        let mut inner = self.lock();
        if !inner.open || inner.stopped {
            return None;
        }
        inner.next = inner.next.wrapping_add(1);
        let number = inner.next;
        let (messages, receiver) = mpsc::channel(BACKLOG);
        let (alive, alive_receiver) = watch::channel(());
        let session = Session {
            number,
            heard: (Instant::now(), period),
            messages,
            _alive: alive,
            telling: None,
        };
        inner.sessions.insert(node, session);
        let was_away = inner.hear(self.this, node, number, period);
        drop(inner);
        self.say(was_away);
        self.arrived.notify_one();
        Some(Opened {
            session: name(number),
            messages: receiver,
            alive: alive_receiver,
        })
    }

    /// Takes note that the node lives, and will be heard again after `period`.
    /// False when this is not its session.
    pub(crate) fn heard(&self, node: NodeId, session: &[u8], period: Duration) -> bool {
        let mut inner = self.lock();
        let Some(number) = inner.number(node, session) else {
            return false;
        };
        let was_away = inner.hear(self.this, node, number, period);
        drop(inner);
        self.say(was_away);
        true
    }

    fn say(&self, was_away: bool) {
        if was_away {
            self.liveness_changed.notify_one();
        }
    }

    /// The leader is one that has been told nothing.
    pub(crate) fn all_untold(&self) {
        let mut inner = self.lock();
        inner.untold = inner.sessions.keys().copied().collect();
    }

    /// Takes what the leader has not been told: who was heard.
    pub(crate) fn take_untold(&self) -> Vec<Beat> {
        let mut inner = self.lock();
        let untold = std::mem::take(&mut inner.untold);
        let now = Instant::now();
        let beat = |node: NodeId| {
            let Session { number, heard, .. } = inner.sessions.get(&node)?;
            Some(Beat {
                node,
                session: *number,
                age: now.duration_since(heard.0),
                period: heard.1,
            })
        };
        untold.into_iter().filter_map(beat).collect()
    }

    /// The leader could not be told.
    pub(crate) fn still_untold(&self, beats: Vec<Beat>) {
        let nodes = beats.into_iter().map(|beat| beat.node);
        self.lock().untold.extend(nodes);
    }

    /// Waits until a session was opened that the leader has not been told of.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Takes note of what another manager heard, and returns what its agents
    /// are to be sent after the message `taken`. `None` when this manager does
    /// not lead.
    pub(crate) fn heard_at(
        &self,
        door: NodeId,
        beats: &[Beat],
        taken: u64,
    ) -> Option<Vec<Forward>> {
        let mut inner = self.lock();
        let now = Instant::now();
        let term = inner.term.as_mut()?;
        let mut was_away = false;
        for beat in beats {
            let at = now.checked_sub(beat.age).unwrap_or(now);
            was_away |= term.hear(door, beat.node, beat.session, at, beat.period);
        }
        let forward = term.fetch(door, taken);
        drop(inner);
        self.say(was_away);
        Some(forward)
    }

    /// The number of the last message from the leader that arrived here.
    pub(crate) fn taken(&self) -> u64 {
        self.lock().taken
    }

    /// Sends agents of this manager what the leader has for them. One answer
    /// is taken at a time, and the leader is told with the next question: so
    /// nothing comes twice.
    pub(crate) fn take(&self, fetched: Fetched) {
        let mut inner = self.lock();
        let Fetched { last, forward } = fetched;
        inner.taken = last.unwrap_or(inner.taken);
        for one in forward {
            inner.deliver(one);
        }
    }

    /// Whether this is the node's session.
    pub(crate) fn is_session(&self, node: NodeId, session: &[u8]) -> bool {
        self.lock().number(node, session).is_some()
    }

    /// Whether this session of the node goes on; see [`Sessions::send`].
    pub(crate) fn is_open(&self, node: NodeId, number: u64) -> bool {
        let inner = self.lock();
        match inner.sessions.get(&node) {
            Some(open) => open.number == number,
            None => inner
                .elsewhere(self.this, node)
                .is_some_and(|by| by.number == number),
        }
    }

    /// Forgets a session whose stream has ended. A newer one of the node, and
    /// when the node was heard, stay.
    pub(crate) fn end(&self, node: NodeId, session: &[u8]) {
        let mut inner = self.lock();
        if inner.number(node, session).is_some() {
            inner.sessions.remove(&node);
        }
    }

    /// The node is told what to do, once in a session: what comes of this ends when
    /// it is asked for anew, or with the session. `None` when this is not its session.
    pub(crate) fn tell(&self, node: NodeId, session: &[u8]) -> Option<oneshot::Receiver<()>> {
        let mut inner = self.lock();
        inner.number(node, session)?;
        let session = inner.sessions.get_mut(&node)?;
        let (telling, ended) = oneshot::channel();
        session.telling = Some(telling);
        Some(ended)
    }

    /// Ends a node's sessions, because the node was removed or says goodbye; it
    /// is as if it had never been heard.
    pub(crate) fn close(&self, node: NodeId) {
        let this = self.this;
        let mut inner = self.lock();
        let here = inner.end(node);
        let Some(term) = &mut inner.term else { return };
        let elsewhere = term
            .close(node, here, Instant::now())
            .filter(|by| by.door != this);
        if let Some(by) = elsewhere {
            term.forward(by, node, None);
        }
    }

    /// Sends a message to a node's agent, at whichever manager it is. Returns
    /// the number of the session it went to; `None` when there is none.
    pub(crate) fn send(&self, node: NodeId, message: Message) -> Option<u64> {
        let mut inner = self.lock();
        if let Some(session) = inner.sessions.get(&node) {
            let number = session.number;
            if session.send(message) {
                return Some(number);
            }
            inner.end(node);
            return None;
        }
        let by = inner.elsewhere(self.this, node)?;
        let term = inner.term.as_mut()?;
        term.forward(by, node, Some(message)).then_some(by.number)
    }

    /// Whether this term is so young that managers and agents may still come
    /// that have been here all the time: it takes them a heartbeat, `period`.
    pub(crate) fn may_still_come(&self, period: Duration) -> bool {
        match &self.lock().term {
            Some(term) => term.heartbeats.age(Instant::now()) <= period,
            None => false,
        }
    }

    /// This process runs, and can hear; see [`Heartbeats::awake`].
    pub(crate) fn awake(&self, period: Duration) {
        if let Some(term) = &mut self.lock().term {
            term.heartbeats.awake(Instant::now(), period);
        }
    }

    /// When each node was last heard, as of `at`, which is now.
    pub(crate) fn liveness(&self, at: Timestamp, period: Duration) -> Liveness {
        let now = Instant::now();
        match &mut self.lock().term {
            Some(term) => {
                term.heartbeats.awake(now, period);
                term.heartbeats.liveness(now, at)
            }
            None => Liveness::new(at),
        }
    }

    /// Waits until a node has come that may have been away.
    pub(crate) async fn liveness_changed(&self) {
        self.liveness_changed.notified().await;
    }
}

impl Session {
    /// False when the agent does not read.
    fn send(&self, message: Message) -> bool {
        let message = pb::SessionMessage {
            message: Some(message),
        };
        self.messages.try_send(message).is_ok()
    }
}

impl Inner {
    fn shut(&mut self) {
        self.open = false;
        self.untold.clear();
        self.sessions.clear();
    }

    /// The number of the node's session here, if that is its name.
    fn number(&self, node: NodeId, session: &[u8]) -> Option<u64> {
        let open = self.sessions.get(&node)?.number;
        (number(session) == Some(open)).then_some(open)
    }

    fn hear(&mut self, this: NodeId, node: NodeId, number: u64, period: Duration) -> bool {
        let now = Instant::now();
        if let Some(session) = self.sessions.get_mut(&node) {
            session.heard = (now, period);
        }
        match &mut self.term {
            Some(term) => term.hear(this, node, number, now, period),
            None => {
                self.untold.insert(node);
                false
            }
        }
    }

    /// Where the node is heard now, if that is another manager.
    fn elsewhere(&self, this: NodeId, node: NodeId) -> Option<heartbeats::Session> {
        let term = self.term.as_ref()?;
        let by = term.heartbeats.session(node, Instant::now())?;
        (by.door != this).then_some(by)
    }

    fn deliver(&mut self, forward: Forward) {
        let Forward {
            number: _,
            node,
            session,
            message,
        } = forward;
        let open = self.sessions.get(&node);
        let Some(open) = open.filter(|open| open.number == session) else {
            return;
        };
        if message.is_none_or(|message| !open.send(message)) {
            self.end(node);
        }
    }

    fn end(&mut self, node: NodeId) -> Option<u64> {
        self.untold.remove(&node);
        self.sessions.remove(&node).map(|session| session.number)
    }
}

#[cfg(test)]
mod tests;
