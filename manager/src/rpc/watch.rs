//! What changes, for people who watch.
//!
//! A watcher sees every change from when it asked on, or is told that it did
//! not: then it has to list again. Of the past it sees what this manager remembers.

use crate::events::{Change, EntryEvents};
use crate::machine::State;
use skep_proto::pb;
use skep_types::Timestamp;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Every change in the time asked for, which begins now and has no end unless that is
/// said.
pub(crate) fn watch(
    state: &State,
    request: pb::WatchRequest,
) -> ReceiverStream<Result<pb::Event, Status>> {
    let pb::WatchRequest { since_ms, until_ms } = request;
    let (past, mut changes) = state.events.since(Timestamp(since_ms.unwrap_or(u64::MAX)));
    let now = state.now();
    let until = Timestamp(until_ms.unwrap_or(u64::MAX));
    let (out, stream) = mpsc::channel(64);
    tokio::spawn(async move {
        for entry in past.into_iter().filter(|entry| entry.at <= until) {
            for event in on_wire(&entry) {
                if out.send(Ok(event)).await.is_err() {
                    return;
                }
            }
        }
        let over = async {
            match until_ms {
                Some(_) => tokio::time::sleep(until.since(now)).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(over);
        loop {
            let change = tokio::select! {
                biased;
                () = out.closed() => return,
                () = &mut over => return,
                change = changes.recv() => change,
            };
            let missed = match change {
                Ok(Change::Entry(entry)) => {
                    for event in on_wire(&entry) {
                        if out.send(Ok(event)).await.is_err() {
                            return;
                        }
                    }
                    continue;
                }
                Ok(Change::Restored) => Status::data_loss(
                    "this manager had fallen behind and took over the whole state at once, so \
                     some changes were not seen; list again",
                ),
                Err(RecvError::Lagged(missed)) => Status::data_loss(format!(
                    "{missed} changes came faster than they were read; list again"
                )),
                Err(RecvError::Closed) => return,
            };
            // The watcher is gone when this fails.
            let _ = out.send(Err(missed)).await;
            return;
        }
    });
    ReceiverStream::new(stream)
}

fn on_wire(entry: &EntryEvents) -> impl Iterator<Item = pb::Event> + '_ {
    entry.events.iter().map(|event| pb::Event {
        kind: event.object.kind().to_owned(),
        action: event.action.name().to_owned(),
        id: event.object.to_string(),
        name: event.name.clone(),
        attributes: event
            .attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
        at_ms: entry.at.0,
        version: entry.version.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_manager_raft::Machine;
    use skep_manager_store::{Action, ConfigAction};
    use skep_types::{ConfigId, ConfigSpec, Format};
    use tokio_stream::StreamExt;

    fn config(bits: u128) -> Vec<u8> {
        let spec = ConfigSpec {
            name: format!("config-{bits}"),
            ..ConfigSpec::default()
        };
        let create = ConfigAction::Create {
            id: ConfigId::from_bits(bits),
            spec: Box::new(spec),
        };
        skep_proto::encode_entry(Format::FIRST, Timestamp(1), &[Action::Config(create)])
    }

    #[tokio::test]
    async fn who_watches_while_a_snapshot_is_taken_over_is_told_to_list_again() {
        let ahead = State::new();
        ahead.apply(1, &config(1)).unwrap();
        ahead.apply(2, &config(2)).unwrap();
        let behind = State::new();
        let mut watcher = watch(&behind, pb::WatchRequest::default());
        behind.apply(1, &config(1)).unwrap();
        behind.restore(&Machine::snapshot(ahead.as_ref())).unwrap();
        let seen = watcher.next().await.unwrap().unwrap();
        assert_eq!((seen.name.as_str(), seen.version), ("config-1", 1));
        let told = watcher.next().await.unwrap().unwrap_err();
        assert_eq!(told.code(), tonic::Code::DataLoss);
        assert!(told.message().contains("list again"), "{told}");
        assert!(watcher.next().await.is_none());
        // Who comes after that sees everything.
        let mut watcher = watch(&behind, pb::WatchRequest::default());
        behind.apply(3, &config(3)).unwrap();
        assert_eq!(watcher.next().await.unwrap().unwrap().name, "config-3");
    }

    #[tokio::test]
    async fn the_past_is_told_in_the_time_asked_for_and_then_it_ends() {
        let state = State::new();
        for (index, bits) in [(1, 1), (2, 2)] {
            state.apply(index, &config(bits)).unwrap();
        }
        let asked = |since_ms, until_ms| {
            let request = pb::WatchRequest { since_ms, until_ms };
            watch(&state, request)
        };
        // All of it is of the first millisecond.
        let told: Vec<_> = asked(Some(1), Some(5)).collect().await;
        let names: Vec<_> = told.into_iter().map(|event| event.unwrap().name).collect();
        assert_eq!(names, ["config-1", "config-2"]);
        assert_eq!(asked(Some(2), Some(5)).collect::<Vec<_>>().await.len(), 0);
        assert_eq!(asked(None, Some(5)).collect::<Vec<_>>().await.len(), 0);
    }
}
