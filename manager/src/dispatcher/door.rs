//! What makes a manager that does not lead a door for agents: it tells the
//! leader several times a heartbeat who was heard here, and takes back what
//! their agents are to be sent.
//!
//! One message at a time, whatever the number of agents. A manager that the
//! leader does not answer sends its agents to another one before the leader
//! gives them up.

use super::sessions::{self, Beat, Fetched, Forward};
use crate::shared::{Lead, Shared};
use skep_proto::pb::relay_client::RelayClient;
use skep_proto::{Invalid, id, id_bytes, pb};
use std::time::Duration;
use tonic::Status;
use tonic::transport::Channel;

/// Messages to the leader during one heartbeat.
const PULSES: u32 = 8;
/// Most bytes of an answer: messages for agents, of some hundred bytes each.
/// Far more than a leader sends at once.
const ANSWER_MAX_BYTES: usize = 8 << 20;

/// A newer leader has something to say that this version has no word for.
const UNKNOWN_MESSAGE: Invalid = Invalid::Missing("forward.message");

/// A client of the leader at this address.
pub(crate) fn leader(shared: &Shared, address: &str) -> Result<RelayClient<Channel>, Status> {
    let channel = shared.channels.to(address);
    let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(RelayClient::new(channel).max_decoding_message_size(ANSWER_MAX_BYTES))
}

/// Keeps the door open for as long as the leader answers; until it is dropped.
pub(crate) async fn run(shared: Shared) {
    let mut leadership = shared.raft.leadership();
    let mut told_in = None;
    loop {
        let term = leadership.borrow_and_update().term;
        let period = shared.state.snapshot().heartbeat();
        if let Lead::At(address) = shared.lead() {
            if told_in != Some(term) {
                // Agents here need not show themselves soon: they were asked to
                // by another leader, perhaps for another period.
                shared.sessions.all_untold();
            }
            let beats = shared.sessions.take_untold();
            let told = tokio::select! {
                told = tokio::time::timeout(period, pulse(&shared, &address, &beats)) => {
                    told.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")))
                }
                // Another one leads, perhaps.
                _ = leadership.changed() => Err(Status::cancelled("leadership changed")),
            };
            match told {
                Ok(forward) => {
                    told_in = Some(term);
                    shared.sessions.hears_leader();
                    shared.sessions.take(forward);
                }
                Err(error) => {
                    tracing::debug!(%address, %error, "the leader does not answer");
                    shared.sessions.still_untold(beats);
                }
            }
        }
        if shared.sessions.shut_after(period) {
            tracing::warn!("the leader is not heard: agents are sent to other managers");
        }
        tokio::select! {
            () = tokio::time::sleep(period / PULSES) => {}
            () = shared.sessions.arrived() => {}
            changed = leadership.changed() => if changed.is_err() {
                // It takes no part any more: nobody hears of its agents.
                shared.sessions.stop();
                return;
            },
        }
    }
}

async fn pulse(shared: &Shared, address: &str, beats: &[Beat]) -> Result<Fetched, Status> {
    let request = pb::PulseRequest {
        beats: beats.iter().map(beat_to_wire).collect(),
        taken: shared.sessions.taken(),
    };
    let answer = leader(shared, address)?.pulse(request).await?;
    let pb::PulseResponse {
        forward,
        reachable,
        unreachable,
    } = answer.into_inner();
    let reachable = reachable.into_iter().map(|member| (member, true));
    let unreachable = unreachable.into_iter().map(|member| (member, false));
    let found = reachable.chain(unreachable);
    shared.seats.answer(&shared.state, found);
    Ok(Fetched {
        last: forward.last().map(|last| last.number),
        // What this version does not know is not for it to pass on.
        forward: forward
            .into_iter()
            .filter_map(|one| from_wire(one).ok())
            .collect(),
    })
}

fn beat_to_wire(beat: &Beat) -> pb::Beat {
    let Beat {
        node,
        session,
        age,
        period,
    } = beat;
    let ms = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    pb::Beat {
        node: id_bytes(*node),
        session: sessions::name(*session),
        age_ms: ms(age),
        period_ms: ms(period),
    }
}

/// What another manager heard.
pub(crate) fn beat_from_wire(beat: pb::Beat) -> Result<Beat, Invalid> {
    let pb::Beat {
        node,
        session,
        age_ms,
        period_ms,
    } = beat;
    Ok(Beat {
        node: id(&node, "beat.node")?,
        session: sessions::number(&session).ok_or(Invalid::Missing("beat.session"))?,
        age: Duration::from_millis(age_ms),
        period: Duration::from_millis(period_ms),
    })
}

fn from_wire(forward: pb::Forward) -> Result<Forward, Invalid> {
    let pb::Forward {
        node,
        session,
        message,
        number,
    } = forward;
    Ok(Forward {
        number,
        node: id(&node, "forward.node")?,
        session: sessions::number(&session).ok_or(Invalid::Missing("forward.session"))?,
        message: match message {
            None => None,
            Some(message) => Some(message.message.ok_or(UNKNOWN_MESSAGE)?),
        },
    })
}

/// A message for an agent of another manager.
pub(crate) fn to_wire(forward: Forward) -> pb::Forward {
    let Forward {
        number,
        node,
        session,
        message,
    } = forward;
    pb::Forward {
        number,
        node: id_bytes(node),
        session: sessions::name(session),
        message: message.map(|message| pb::SessionMessage {
            message: Some(message),
        }),
    }
}
