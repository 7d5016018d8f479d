//! Where sessions see what to tell their agents, and what wakes them.
//!
//! What is alike for all nodes is encoded once and shared. A change wakes only
//! the sessions it concerns. An agent that comes from another manager, or back,
//! names what it holds by its digest and is told only what is new since.

use super::digest::Digest;
use super::views::Views;
use crate::machine::State;
use bytes::Bytes;
use prost::Message;
use skep_manager_store::{Difference, Snapshot};
use skep_proto::pb;
use skep_types::assignment::AssignmentChange;
use skep_types::{NodeId, Version};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// Bytes of shared changes kept for sessions that lag; one that lags more is
/// told everything anew.
const KEPT_BYTES: usize = 8 << 20;
/// Bytes of a complete set that go into one message, about. As long as a stream
/// lives, its encoder (of tonic) keeps the buffer that its longest message needed: so
/// one that is large costs memory for each agent.
const PIECE_BYTES: usize = 16 << 10;

/// The newest state that sessions may tell of.
pub(crate) struct Board {
    inner: Mutex<Inner>,
    version: watch::Sender<Version>,
}

#[derive(Default)]
struct Inner {
    snapshot: Snapshot,
    views: Views,
    /// How many steps of the shared part there were.
    steps: u64,
    /// The last of them, encoded, each with the digest of what was before it.
    kept: VecDeque<(Bytes, Bytes)>,
    kept_bytes: usize,
    digest: Digest,
    /// The whole shared part, encoded when it is first asked for.
    whole: Option<Arc<[Bytes]>>,
    listeners: BTreeMap<(NodeId, u64), (Topic, Arc<Notify>)>,
    next: u64,
}

/// What a session listens for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Assignments of the node.
    Assignments,
    /// The node itself, the cluster and its managers.
    Welcome,
}

/// What there is to tell.
pub(crate) struct Look {
    /// Everything, as of now.
    pub snapshot: Snapshot,
    /// The number of the newest step of the shared part.
    pub step: u64,
    /// Names the shared part as it is after it.
    pub digest: Bytes,
    /// The shared part.
    pub shared: SharedPart,
}

/// What is alike for all nodes, encoded.
pub(crate) enum SharedPart {
    /// The steps since the one that was told.
    Since(Vec<Bytes>),
    /// Everything, in pieces.
    Whole(Arc<[Bytes]>),
}

impl Board {
    pub(crate) fn new() -> Arc<Board> {
        Arc::new(Board {
            inner: Mutex::default(),
            version: watch::Sender::new(Version(0)),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up a newer state and wakes those whom it concerns.
    pub(crate) fn advance(&self, snapshot: Snapshot) {
        let version = snapshot.version();
        // The old state is dropped after the lock.
        let _old = self.lock().advance(snapshot);
        self.version.send_replace(version);
    }

    /// Waits until this version is to be seen here.
    pub(crate) async fn reached(&self, version: Version) {
        let mut seen = self.version.subscribe();
        // Its sender lives as long as this does.
        let _ = seen.wait_for(|seen| *seen >= version).await;
    }

    /// Everything as of now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.lock().snapshot.clone()
    }

    /// What there is to tell to who was `told` the shared part up to this step.
    pub(crate) fn look(&self, told: Option<u64>) -> Look {
        let mut inner = self.lock();
        let steps = told.and_then(|told| usize::try_from(inner.steps - told).ok());
        let shared = match steps.filter(|steps| *steps <= inner.kept.len()) {
            Some(steps) => {
                let first = inner.kept.len() - steps;
                let steps = inner.kept.range(first..).map(|(_, step)| step.clone());
                SharedPart::Since(steps.collect())
            }
            None => SharedPart::Whole(inner.whole()),
        };
        Look {
            snapshot: inner.snapshot.clone(),
            step: inner.steps,
            digest: inner.digest.name(),
            shared,
        }
    }

    /// The step after which the shared part was what this names, if that is
    /// still known.
    pub(crate) fn step_of(&self, digest: &[u8]) -> Option<u64> {
        let inner = self.lock();
        if inner.digest.name() == digest {
            return Some(inner.steps);
        }
        let mut steps = (1..=inner.steps).rev().zip(inner.kept.iter().rev());
        let found = steps.find(|(_, (before, _))| before == digest);
        found.map(|(step, _)| step - 1)
    }

    /// Has a session of this node woken when there may be more to tell.
    pub(crate) fn listen(self: &Arc<Board>, node: NodeId, topic: Topic) -> Listener {
        let mut inner = self.lock();
        inner.next += 1;
        let key = (node, inner.next);
        let wake = Arc::new(Notify::new());
        inner.listeners.insert(key, (topic, wake.clone()));
        Listener {
            board: self.clone(),
            key,
            wake,
        }
    }
}

impl Inner {
    fn advance(&mut self, snapshot: Snapshot) -> Snapshot {
        let difference = Difference::between(&self.snapshot, &snapshot);
        let changes = self.views.advance(&self.snapshot, &snapshot, &difference);
        if !changes.is_empty() {
            let before = self.digest.name();
            changes.iter().for_each(|change| self.digest.apply(change));
            let step = encode(changes.iter());
            self.steps += 1;
            self.kept_bytes += step.len();
            self.kept.push_back((before, step));
            while self.kept_bytes > KEPT_BYTES
                && let Some((_, oldest)) = self.kept.pop_front()
            {
                self.kept_bytes -= oldest.len();
            }
            self.whole = None;
        }
        let managers = difference.nodes.iter().any(|change| {
            let seat = |node: &Option<Arc<skep_types::Node>>| {
                node.as_ref().and_then(|node| node.manager.clone())
            };
            seat(&change.before) != seat(&change.after)
        });
        let beat = self.snapshot.heartbeat() != snapshot.heartbeat();
        let all_welcomes = difference.cluster || managers || beat;
        let all_assignments = !changes.is_empty() || difference.data;
        let each = |wake: &(Topic, Arc<Notify>)| wake.1.notify_one();
        if all_welcomes || all_assignments {
            let of = |topic: Topic| match topic {
                Topic::Assignments => all_assignments,
                Topic::Welcome => all_welcomes,
            };
            let listeners = self.listeners.values();
            listeners.filter(|(topic, _)| of(*topic)).for_each(each);
        }
        for change in &difference.nodes {
            self.of_node(change.id).for_each(each);
        }
        // A welcome says nothing of tasks, and all managers are looked up for it.
        for node in with_other_tasks(&difference) {
            let of_node = self.of_node(node);
            of_node
                .filter(|(topic, _)| *topic == Topic::Assignments)
                .for_each(each);
        }
        std::mem::replace(&mut self.snapshot, snapshot)
    }

    fn of_node(&self, node: NodeId) -> impl Iterator<Item = &(Topic, Arc<Notify>)> {
        let of_node = self.listeners.range((node, 0)..=(node, u64::MAX));
        of_node.map(|(_, wake)| wake)
    }

    fn whole(&mut self) -> Arc<[Bytes]> {
        let views = &self.views;
        let made = self.whole.get_or_insert_with(|| pieces(views.all()).into());
        made.clone()
    }
}

/// Nodes whose own tasks are not as before.
fn with_other_tasks(difference: &Difference) -> BTreeSet<NodeId> {
    let changes = difference.tasks.iter();
    let tasks = changes.flat_map(|change| change.before.iter().chain(&change.after));
    tasks.filter_map(|task| task.node).collect()
}

fn encode<'a>(changes: impl Iterator<Item = &'a AssignmentChange>) -> Bytes {
    let message = pb::AssignmentsMessage {
        changes: changes.map(Into::into).collect(),
        ..pb::AssignmentsMessage::default()
    };
    message.encode_to_vec().into()
}

fn pieces(changes: impl Iterator<Item = AssignmentChange>) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut piece = pb::AssignmentsMessage::default();
    let mut bytes = 0;
    for change in changes {
        let change = pb::AssignmentChange::from(&change);
        bytes += change.encoded_len();
        piece.changes.push(change);
        if bytes >= PIECE_BYTES {
            pieces.push(std::mem::take(&mut piece).encode_to_vec().into());
            bytes = 0;
        }
    }
    if bytes > 0 {
        pieces.push(piece.encode_to_vec().into());
    }
    pieces
}

/// Wakes one session until it is dropped.
pub(crate) struct Listener {
    board: Arc<Board>,
    key: (NodeId, u64),
    wake: Arc<Notify>,
}

impl Listener {
    /// Waits until there may be more to tell than at the last look.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.board.lock().listeners.remove(&self.key);
    }
}

/// Keeps the board up with the state until it is dropped.
pub(crate) async fn run(state: Arc<State>, board: Arc<Board>) {
    let mut changes = state.changes();
    loop {
        changes.borrow_and_update();
        board.advance(state.snapshot());
        if changes.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use skep_manager_store::{Action, NetworkAction, NodeAction, ServiceAction, Store, TaskAction};
    use skep_types::assignment::AssignmentSet;
    use skep_types::{NetworkId, NetworkSpec, ServiceId, TaskId, Timestamp};

    /// Adds a network with this number, or removes it.
    fn act(store: &mut Store, number: u128, there: bool) -> Snapshot {
        let id = NetworkId::from_bits(number);
        let spec = NetworkSpec {
            name: format!("n{number}"),
            ..NetworkSpec::default()
        };
        let action = match there {
            true => NetworkAction::Create {
                id,
                spec: Box::new(spec),
            },
            false => NetworkAction::Remove { id },
        };
        let version = Version(store.snapshot().version().0 + 1);
        let applied = store.apply(version, Timestamp(1), &[Action::Network(action)]);
        assert_eq!(applied.results, [Ok(())]);
        store.snapshot()
    }

    fn told(set: &mut AssignmentSet, shared: &SharedPart) {
        let pieces: Vec<Bytes> = match shared {
            SharedPart::Since(steps) => steps.clone(),
            SharedPart::Whole(pieces) => {
                *set = AssignmentSet::default();
                pieces.to_vec()
            }
        };
        for piece in pieces {
            for change in pb::AssignmentsMessage::decode(piece).unwrap().changes {
                set.apply(change.try_into().unwrap());
            }
        }
    }

    #[test]
    fn who_lags_is_told_what_is_missing_and_knows_the_same_as_who_comes_new() {
        let (mut store, board) = (Store::new(), Board::new());
        let (mut lagging, mut new) = (AssignmentSet::default(), AssignmentSet::default());
        board.advance(act(&mut store, 1, true));
        let first = board.look(None);
        told(&mut lagging, &first.shared);
        for (number, there) in [(2, true), (3, true), (1, false), (2, false)] {
            board.advance(act(&mut store, number, there));
        }
        let second = board.look(Some(first.step));
        assert!(matches!(&second.shared, SharedPart::Since(steps) if steps.len() == 4));
        told(&mut lagging, &second.shared);
        told(&mut new, &board.look(None).shared);
        assert_eq!(lagging, new);
        assert_eq!(new.networks.len(), 1);
        assert!(
            matches!(&board.look(Some(second.step)).shared, SharedPart::Since(s) if s.is_empty())
        );
    }

    #[test]
    fn what_an_agent_holds_is_found_by_its_digest_at_any_manager() {
        let (mut store, board, other) = (Store::new(), Board::new(), Board::new());
        let old = board.look(None).digest;
        let first = act(&mut store, 1, true);
        board.advance(first.clone());
        let held = board.look(None).digest;
        assert_ne!(held, old);
        // Another manager came to it by other steps.
        let second = act(&mut store, 2, true);
        other.advance(second);
        other.advance(act(&mut store, 2, false));
        assert_eq!(other.step_of(&held), Some(2));
        other.advance(act(&mut store, 3, true));
        assert_eq!(other.step_of(&held), Some(2));
        assert_eq!(other.step_of(&old), Some(0));
        assert_eq!(other.step_of(b"another"), None);
    }

    #[tokio::test]
    async fn a_change_wakes_whom_it_concerns() {
        let (mut store, board) = (Store::new(), Board::new());
        let node = NodeId::from_bits(1);
        let assignments = board.listen(node, Topic::Assignments);
        let welcome = board.listen(node, Topic::Welcome);
        board.advance(act(&mut store, 1, true));
        assignments.woken().await;
        let moment = std::time::Duration::from_millis(10);
        let quiet = tokio::time::timeout(moment, welcome.woken());
        assert!(quiet.await.is_err(), "a network is no matter of a welcome");

        let host = Action::Node(NodeAction::Create(Box::new(testing::host(node))));
        let mut step = |version: u64, action: Action| {
            let applied = store.apply(Version(version), Timestamp(1), &[action]);
            assert_eq!(applied.results, [Ok(())]);
            board.advance(store.snapshot());
        };
        step(2, host);
        assignments.woken().await;
        welcome.woken().await;
        let id = ServiceId::from_bits(1);
        let spec = Box::default();
        step(3, Action::Service(ServiceAction::Create { id, spec }));
        let task = testing::new_task(TaskId::from_bits(1), node);
        let (version, spec_version) = (Version(3), Version(3));
        let create = TaskAction::Create {
            service: id,
            version,
            spec_version,
            tasks: vec![task],
        };
        step(4, Action::Task(create));
        assignments.woken().await;
        let quiet = tokio::time::timeout(moment, welcome.woken());
        assert!(quiet.await.is_err(), "nor is a task");
    }
}
