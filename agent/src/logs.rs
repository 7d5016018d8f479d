//! Sends the output of tasks to a manager that asks for it.

use crate::executor::Executor;
use bytes::Bytes;
use futures::StreamExt;
use prost::Message;
use skep_agent_runtime::{LogLine, LogOptions};
use skep_proto::pb::dispatcher_client::DispatcherClient;
use skep_proto::{id, id_bytes, pb};
use skep_types::{ServiceId, TaskId};
use std::collections::BTreeMap;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// Lines sent in one message, and about how many bytes: managers take no messages
/// from agents that are much larger.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 128 << 10;

/// Answers one request; ends when all has been sent, or nobody reads.
pub(crate) async fn publish(
    executor: Executor,
    mut client: DispatcherClient<Channel>,
    request: pb::LogRequest,
    services: BTreeMap<TaskId, ServiceId>,
) {
    let number = request.id;
    let options = request.options.unwrap_or_default();
    let at = |ms: u64| (ms > 0).then(|| ms.saturating_mul(1_000_000));
    let options = LogOptions {
        follow: options.follow,
        tail: options
            .tail
            .map(|lines| usize::try_from(lines).unwrap_or(usize::MAX)),
        since_unix_nanos: at(options.since_ms),
        until_unix_nanos: at(options.until_ms),
    };
    let (out, messages) = mpsc::channel::<pb::PublishLogsRequest>(16);
    let sending = tokio::spawn(async move {
        if let Err(status) = client.publish_logs(ReceiverStream::new(messages)).await {
            tracing::debug!(error = status.message(), "logs not sent");
        }
    });
    let mut streams = futures::stream::SelectAll::new();
    for task in &request.tasks {
        let Ok(task) = id::<TaskId>(task, "logs.tasks") else {
            continue;
        };
        let lines = match executor.runtime.logs(&task, options.clone()) {
            Ok(lines) => lines.boxed(),
            // It has no container yet, or no more: it said nothing.
            Err(skep_agent_runtime::Error::NotFound(_)) => continue,
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        };
        streams.push(lines.map(move |line| (task, line)).boxed());
    }
    let mut chunks = streams.ready_chunks(BATCH);
    while let Some(chunk) = chunks.next().await {
        let lines = chunk.into_iter().map(|(task, line)| {
            let service = services.get(&task).copied().unwrap_or_default();
            on_wire(service, task, line)
        });
        for lines in in_batches(lines) {
            let message = pb::PublishLogsRequest {
                id: number,
                lines,
                ..pb::PublishLogsRequest::default()
            };
            if out.send(message).await.is_err() {
                return;
            }
        }
    }
    let end = pb::PublishLogsRequest {
        id: number,
        end: true,
        ..pb::PublishLogsRequest::default()
    };
    // The manager has gone away when this fails.
    let _ = out.send(end).await;
    drop(out);
    if let Err(error) = sending.await {
        tracing::debug!(%error, "log sender ended badly");
    }
}

/// The lines in order, in messages that are not too large.
fn in_batches(lines: impl Iterator<Item = pb::LogLine>) -> Vec<Vec<pb::LogLine>> {
    let (mut batches, mut bytes) = (Vec::new(), 0);
    for line in lines {
        let length = line.encoded_len();
        if batches.is_empty() || bytes + length > BATCH_BYTES {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += length;
        if let Some(batch) = batches.last_mut() {
            batch.push(line);
        }
    }
    batches
}

fn on_wire(
    service: ServiceId,
    task: TaskId,
    line: Result<LogLine, skep_agent_runtime::Error>,
) -> pb::LogLine {
    let place = pb::LogLine {
        service: id_bytes(service),
        task: id_bytes(task),
        ..pb::LogLine::default()
    };
    match line {
        Ok(LogLine {
            is_stderr,
            at_unix_nanos,
            text,
        }) => pb::LogLine {
            stderr: is_stderr,
            at_ns: at_unix_nanos,
            data: Bytes::from(text),
            ..place
        },
        Err(error) => pb::LogLine {
            problem: error.chain(),
            ..place
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_go_in_several_messages_and_keep_their_order() {
        let line = |n: usize| pb::LogLine {
            at_ns: n as u64,
            data: vec![b'x'; (n % 7) * 5000].into(),
            ..pb::LogLine::default()
        };
        let batches = in_batches((0..BATCH).map(line));
        assert!(batches.len() > 1);
        for batch in &batches {
            let bytes: usize = batch.iter().map(Message::encoded_len).sum();
            assert!(!batch.is_empty() && bytes <= BATCH_BYTES, "{bytes}");
        }
        let all: Vec<_> = batches.into_iter().flatten().collect();
        assert_eq!(all, (0..BATCH).map(line).collect::<Vec<_>>());
        // One that is longer than all of them may be goes alone.
        let long = pb::LogLine {
            data: vec![b'x'; 2 * BATCH_BYTES].into(),
            ..pb::LogLine::default()
        };
        let batches = in_batches([line(1), long, line(1)].into_iter());
        assert_eq!(batches.len(), 3);
        assert!(in_batches([].into_iter()).is_empty());
    }
}
