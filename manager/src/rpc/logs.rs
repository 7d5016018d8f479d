//! Output of tasks, gathered from the nodes they run on.

use crate::shared::Shared;
use skep_manager_store::Snapshot;
use skep_proto::{Invalid, id, id_bytes, pb};
use skep_types::{NodeId, NodeState, ServiceId, Task, TaskId, TaskState};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// How often it is looked whether the agents asked are still there.
const SESSION_CHECK: Duration = Duration::from_secs(1);
/// How often nodes are looked for that a new leader has not heard of yet.
const EARLY_CHECK: Duration = Duration::from_millis(50);
/// Nobody waits for them for longer, however rare heartbeats are.
const EARLY_MAX: Duration = Duration::from_secs(3);

type Line = Result<pb::LogLine, Status>;

/// Lines as they come. A node that cannot be asked is named in a line of its
/// own; the others' lines come all the same.
pub(crate) fn logs(
    shared: &Shared,
    request: pb::LogsRequest,
) -> Result<impl Stream<Item = Line> + Send + use<>, Invalid> {
    let services: BTreeSet<ServiceId> = request
        .services
        .iter()
        .map(|s| id(s, "logs.services"))
        .collect::<Result<_, _>>()?;
    let tasks: BTreeSet<TaskId> = request
        .tasks
        .iter()
        .map(|t| id(t, "logs.tasks"))
        .collect::<Result<_, _>>()?;
    let options = request.options.unwrap_or_default();
    let (out, lines) = mpsc::channel(64);
    tokio::spawn(gather(shared.clone(), services, tasks, options, out));
    Ok(ReceiverStream::new(lines))
}

async fn gather(
    shared: Shared,
    services: BTreeSet<ServiceId>,
    tasks: BTreeSet<TaskId>,
    options: pb::LogOptions,
    out: mpsc::Sender<Line>,
) {
    let wanted = |task: &Task| {
        (services.contains(&task.service) || tasks.contains(&task.id))
            && task.status.state >= TaskState::Starting
    };
    let (batches, mut received) = mpsc::channel(64);
    let mut gathering = Gathering {
        shared: &shared,
        options,
        batches,
        requests: BTreeMap::new(),
        asked: BTreeSet::new(),
        last: BTreeMap::new(),
        missing: BTreeSet::new(),
        early: false,
    };
    let mut changes = shared.state.changes();
    let mut leadership = shared.raft.leadership();
    let mut check = tokio::time::interval(SESSION_CHECK);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        changes.borrow_and_update();
        let mut lines = gathering.ask(&shared.state.snapshot(), &wanted);
        let early = gathering.early;
        let done = gathering.requests.is_empty() && !options.follow && !early;
        // An error means that this manager stops.
        let lost = async {
            let _ = leadership.wait_for(|now| !now.is_leader).await;
        };
        if lines.is_empty() && !done {
            tokio::select! {
                Some(batch) = received.recv() => lines = gathering.take(batch),
                // New tasks join, when following.
                _ = changes.changed(), if options.follow => {}
                _ = check.tick() => gathering.drop_ended(),
                () = tokio::time::sleep(EARLY_CHECK), if early => {}
                // What agents send is brought to the leader alone.
                () = lost => {
                    let lost = "the leader was lost while it gathered the logs; ask again";
                    // Whoever asked may have gone.
                    let _ = out.send(Err(Status::unavailable(lost))).await;
                    break;
                }
                () = out.closed() => break,
            }
        }
        for line in lines {
            if out.send(Ok(line)).await.is_err() {
                return gathering.cancel();
            }
        }
        if done {
            break;
        }
    }
    gathering.cancel();
}

/// What one caller wants gathered.
struct Gathering<'a> {
    shared: &'a Shared,
    options: pb::LogOptions,
    batches: mpsc::Sender<pb::PublishLogsRequest>,
    requests: BTreeMap<u64, Asked>,
    /// Tasks that need not be asked for any more.
    asked: BTreeSet<TaskId>,
    /// When the last line was written that came of each task.
    last: BTreeMap<TaskId, u64>,
    /// Nodes that were said to be missing and have not come since.
    missing: BTreeSet<NodeId>,
    /// There are nodes that a new leader has not heard of and soon may.
    early: bool,
}

/// A request to one session of a node.
struct Asked {
    node: NodeId,
    session: u64,
    tasks: Vec<TaskId>,
    /// Lines up to then came before, from a session that has ended.
    after: BTreeMap<TaskId, u64>,
}

impl Gathering<'_> {
    /// Asks for what has not been asked for. Returns a line for each node that
    /// cannot be asked.
    fn ask(&mut self, snapshot: &Snapshot, wanted: &impl Fn(&Task) -> bool) -> Vec<pb::LogLine> {
        let mut groups: BTreeMap<(NodeId, bool), Vec<TaskId>> = BTreeMap::new();
        for task in snapshot.tasks().filter(|task| wanted(task)) {
            if let Some(node) = task.node
                && !self.asked.contains(&task.id)
            {
                let again = self.last.contains_key(&task.id);
                groups.entry((node, again)).or_default().push(task.id);
            }
        }
        let period = snapshot.heartbeat().min(EARLY_MAX);
        let young = self.shared.sessions.may_still_come(period);
        self.early = false;
        let mut problems = Vec::new();
        for ((node, again), tasks) in groups {
            if self.request(node, again, &tasks) {
                self.missing.remove(&node);
                self.asked.extend(tasks);
                continue;
            }
            if young && is_up(snapshot, node) {
                self.early = true;
                continue;
            }
            // Who follows waits for the node to come back.
            if !self.options.follow {
                self.asked.extend(tasks);
            }
            if self.missing.insert(node) {
                problems.push(missing(snapshot, node));
            }
        }
        problems
    }

    /// False when the node has no session here.
    fn request(&mut self, node: NodeId, again: bool, tasks: &[TaskId]) -> bool {
        let mut after = BTreeMap::new();
        let mut options = self.options;
        if again {
            let last = |task: &TaskId| Some((*task, *self.last.get(task)?));
            after = tasks.iter().filter_map(last).collect();
            options.tail = None;
            options.since_ms = after.values().min().copied().unwrap_or(0) / 1_000_000;
        }
        let logs = &self.shared.sessions.logs;
        let number = logs.begin(node, self.batches.clone());
        let request = pb::LogRequest {
            id: number,
            tasks: tasks.iter().copied().map(id_bytes).collect(),
            options: Some(options),
        };
        let message = pb::session_message::Message::Logs(request);
        let Some(session) = self.shared.sessions.send(node, message) else {
            logs.end(number);
            return false;
        };
        let asked = Asked {
            node,
            session,
            tasks: tasks.to_vec(),
            after,
        };
        self.requests.insert(number, asked);
        true
    }

    /// The lines of a batch that are new.
    fn take(&mut self, batch: pb::PublishLogsRequest) -> Vec<pb::LogLine> {
        let pb::PublishLogsRequest {
            id: number,
            mut lines,
            end,
            node: _,
        } = batch;
        let Some(asked) = self.requests.get(&number) else {
            return Vec::new();
        };
        lines.retain(|line| {
            let Ok(task) = id::<TaskId>(&line.task, "line.task") else {
                return true;
            };
            if asked.after.get(&task).is_some_and(|at| line.at_ns <= *at) {
                return false;
            }
            self.last.insert(task, line.at_ns);
            true
        });
        if end {
            self.shared.sessions.logs.end(number);
            self.requests.remove(&number);
        }
        lines
    }

    /// An agent whose session has ended answers no more; its tasks are asked
    /// for again.
    fn drop_ended(&mut self) {
        let sessions = &self.shared.sessions;
        self.requests.retain(|number, request| {
            let open = sessions.is_open(request.node, request.session);
            if !open {
                sessions.logs.end(*number);
                for task in &request.tasks {
                    self.asked.remove(task);
                }
            }
            open
        });
    }

    /// Tells the agents that nobody listens any more.
    fn cancel(self) {
        for (number, request) in self.requests {
            self.shared.sessions.logs.end(number);
            let message = pb::session_message::Message::CancelLogs(number);
            // An agent that has gone need not be told.
            let _ = self.shared.sessions.send(request.node, message);
        }
    }
}

fn is_up(snapshot: &Snapshot, node: NodeId) -> bool {
    let known = snapshot.node(node);
    known.is_some_and(|known| known.status.state != NodeState::Down)
}

/// The line that stands for the output of a node that is not here.
fn missing(snapshot: &Snapshot, node: NodeId) -> pb::LogLine {
    let hostname = snapshot
        .node(node)
        .map(|node| node.description.hostname.clone());
    let problem = format!(
        "some logs could not be retrieved: node {} is not available",
        hostname.unwrap_or_else(|| node.to_string())
    );
    pb::LogLine {
        node: id_bytes(node),
        problem,
        ..pb::LogLine::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use pb::session_message::Message;
    use skep_manager_store::{Action, NodeAction, ServiceAction, TaskAction};
    use skep_types::{Meta, Node, NodeDescription, NodeSpec, NodeStatus, ServiceSpec};
    use skep_types::{Role, TaskStatus, Version};
    use tokio_stream::StreamExt;

    const NODE: NodeId = NodeId::from_bits(4);
    const SERVICE: ServiceId = ServiceId::from_bits(5);
    const TASK: TaskId = TaskId::from_bits(6);
    const PERIOD: Duration = Duration::from_secs(1);

    /// One task that runs on one node.
    fn one_task() -> Vec<Action> {
        let node = Node {
            id: NODE,
            meta: Meta::default(),
            spec: NodeSpec::default(),
            description: NodeDescription {
                hostname: "n4".to_owned(),
                ..NodeDescription::default()
            },
            status: NodeStatus::default(),
            role: Role::Worker,
            role_since: Default::default(),
            drain_since: None,
            manager: None,
            mesh: None,
        };
        let task = testing::new_task(TASK, NODE);
        let status = TaskStatus {
            state: TaskState::Running,
            ..TaskStatus::default()
        };
        vec![
            Action::Node(NodeAction::Create(Box::new(node))),
            Action::Service(ServiceAction::Create {
                id: SERVICE,
                spec: Box::new(ServiceSpec::default()),
            }),
            Action::Task(TaskAction::Create {
                service: SERVICE,
                version: Version(1),
                spec_version: Version(1),
                tasks: vec![task],
            }),
            Action::Task(TaskAction::UpdateStatus {
                updates: vec![(TASK, status)],
            }),
        ]
    }

    fn request(follow: bool) -> pb::LogsRequest {
        pb::LogsRequest {
            services: vec![id_bytes(SERVICE)],
            tasks: Vec::new(),
            options: Some(pb::LogOptions {
                follow,
                ..pb::LogOptions::default()
            }),
        }
    }

    fn asked(message: Option<pb::SessionMessage>) -> pb::LogRequest {
        match message.and_then(|message| message.message) {
            Some(Message::Logs(request)) => request,
            other => panic!("no request for logs: {other:?}"),
        }
    }

    fn line(request: &pb::LogRequest, at_ns: u64) -> pb::PublishLogsRequest {
        pb::PublishLogsRequest {
            id: request.id,
            lines: vec![pb::LogLine {
                task: id_bytes(TASK),
                at_ns,
                ..pb::LogLine::default()
            }],
            end: false,
            node: id_bytes(NODE),
        }
    }

    #[tokio::test]
    async fn the_logs_of_an_agent_that_goes_end() {
        let dir = tempfile::tempdir().unwrap();
        let shared = testing::leader(dir.path(), &one_task()).await;
        let mut opened = shared.sessions.open(NODE, PERIOD).unwrap();
        let mut lines = logs(&shared, request(false)).unwrap();
        asked(opened.messages.recv().await);
        shared.sessions.end(NODE, &opened.session);
        let line = lines.next().await.unwrap().unwrap();
        assert!(line.problem.contains("node n4"), "{line:?}");
        assert!(lines.next().await.is_none());
        shared.raft.shutdown().await;
    }

    #[tokio::test]
    async fn a_new_leader_waits_for_nodes_that_it_has_not_heard_yet() {
        let dir = tempfile::tempdir().unwrap();
        let shared = testing::leader(dir.path(), &one_task()).await;
        let (_opened, first) = loop {
            let mut lines = logs(&shared, request(false)).unwrap();
            shared.sessions.begin_term();
            let begun = std::time::Instant::now();
            let come = async {
                tokio::time::sleep(EARLY_CHECK * 2).await;
                // On a machine that stood still it is too late for this once.
                if begun.elapsed() > PERIOD / 2 {
                    return None;
                }
                let mut opened = shared.sessions.open(NODE, PERIOD).unwrap();
                let request = asked(opened.messages.recv().await);
                let publish = shared.sessions.logs.get(request.id, NODE).unwrap();
                publish.send(line(&request, 5_000_000)).await.unwrap();
                Some(opened)
            };
            if let (Some(opened), first) = tokio::join!(come, lines.next()) {
                break (opened, first);
            }
        };
        assert_eq!(first.unwrap().unwrap().at_ns, 5_000_000);

        // One that does not come is named.
        shared.sessions.close(NODE);
        let begun = std::time::Instant::now();
        shared.sessions.begin_term();
        let mut lines = logs(&shared, request(false)).unwrap();
        let missing = lines.next().await.unwrap().unwrap();
        assert!(missing.problem.contains("node n4"), "{missing:?}");
        assert!(begun.elapsed() > PERIOD);
        assert!(lines.next().await.is_none());
        shared.raft.shutdown().await;
    }

    #[tokio::test]
    async fn who_follows_hears_of_an_agent_that_comes_back_and_of_a_lost_leader() {
        let dir = tempfile::tempdir().unwrap();
        let shared = testing::leader(dir.path(), &one_task()).await;
        let mut first = shared.sessions.open(NODE, PERIOD).unwrap();
        let mut lines = logs(&shared, request(true)).unwrap();
        let old = asked(first.messages.recv().await);
        let publish = shared.sessions.logs.get(old.id, NODE).unwrap();
        publish.send(line(&old, 5_000_000)).await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap().at_ns, 5_000_000);

        // A newer session of the same node ends the first.
        let mut second = shared.sessions.open(NODE, PERIOD).unwrap();
        let new = asked(second.messages.recv().await);
        assert_eq!(new.options.unwrap().since_ms, 5);
        for at in [5_000_000, 6_000_000] {
            publish.send(line(&new, at)).await.unwrap();
        }
        assert_eq!(lines.next().await.unwrap().unwrap().at_ns, 6_000_000);

        shared.raft.shutdown().await;
        assert!(lines.next().await.unwrap().is_err());
        assert!(lines.next().await.is_none());
    }
}
