//! Output of tasks, gathered from the nodes they run on.

use crate::shared::Shared;
use skep_proto::{Invalid, id, id_bytes, pb};
use skep_types::{NodeId, ServiceId, Task, TaskId, TaskState};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// How often it is looked whether the agents asked are still there.
const SESSION_CHECK: Duration = Duration::from_secs(1);

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
    let mut requests: BTreeMap<u64, NodeId> = BTreeMap::new();
    let mut asked: BTreeSet<TaskId> = BTreeSet::new();
    let mut changes = shared.state.changes();
    loop {
        changes.borrow_and_update();
        let snapshot = shared.state.snapshot();
        let mut by_node: BTreeMap<NodeId, Vec<Arc<Task>>> = BTreeMap::new();
        for task in snapshot.tasks().filter(|task| wanted(task)) {
            if let Some(node) = task.node
                && asked.insert(task.id)
            {
                by_node.entry(node).or_default().push(task.clone());
            }
        }
        for (node, tasks) in by_node {
            let number = shared.sessions.logs.begin(node, batches.clone());
            let message = pb::session_message::Message::Logs(pb::LogRequest {
                id: number,
                tasks: tasks.iter().map(|task| id_bytes(task.id)).collect(),
                options: Some(options),
            });
            let message = pb::SessionMessage {
                message: Some(message),
            };
            if shared.sessions.send(node, message) {
                requests.insert(number, node);
                continue;
            }
            shared.sessions.logs.end(number);
            let hostname = snapshot
                .node(node)
                .map(|node| node.description.hostname.clone());
            let problem = format!(
                "some logs could not be retrieved: node {} is not available",
                hostname.unwrap_or_else(|| node.to_string())
            );
            let line = pb::LogLine {
                node: id_bytes(node),
                problem,
                ..pb::LogLine::default()
            };
            if out.send(Ok(line)).await.is_err() {
                break;
            }
        }
        if requests.is_empty() && !options.follow {
            break;
        }
        tokio::select! {
            batch = received.recv() => {
                let Some(pb::PublishLogsRequest { id: number, lines, end }) = batch else { break };
                for line in lines {
                    if out.send(Ok(line)).await.is_err() {
                        break;
                    }
                }
                if end {
                    shared.sessions.logs.end(number);
                    requests.remove(&number);
                }
            }
            // New tasks join, when following.
            _ = changes.changed(), if options.follow => {}
            // An agent whose session has ended answers no more.
            () = tokio::time::sleep(SESSION_CHECK) => {
                requests.retain(|number, node| {
                    let open = shared.sessions.is_open(*node);
                    if !open {
                        shared.sessions.logs.end(*number);
                    }
                    open
                });
            }
            () = out.closed() => break,
        }
    }
    for (number, node) in requests {
        shared.sessions.logs.end(number);
        let message = pb::session_message::Message::CancelLogs(number);
        shared.sessions.send(
            node,
            pb::SessionMessage {
                message: Some(message),
            },
        );
    }
}
