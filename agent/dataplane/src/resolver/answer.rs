//! What a question of a container is answered with, as far as the cluster knows.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use rand::seq::SliceRandom;
use skep_agent_planner::network::{Desired, names};
use skep_types::TaskId;

/// Seconds an answer may be kept: changes of endpoints must show at once.
const TTL: u32 = 1;
/// Largest UDP answer to who did not say that more is welcome, in bytes.
const SMALL: usize = 512;
/// Largest UDP answer we welcome ourselves.
const PAYLOAD: u16 = 1232;

/// What to do with a question.
#[derive(Debug)]
pub(super) enum Outcome {
    /// This is the answer.
    Reply(Vec<u8>),
    /// The cluster does not know; others may.
    Forward,
    /// Not a question that can be answered at all.
    Ignore,
}

/// Answers `question` of a task from the cluster's names.
pub(super) fn answer(desired: &Desired, task: TaskId, question: &[u8], tcp: bool) -> Outcome {
    let Ok(asked) = Message::from_vec(question) else {
        return malformed(question);
    };
    if asked.metadata.message_type != MessageType::Query {
        return Outcome::Ignore;
    }
    if asked.metadata.op_code != OpCode::Query {
        return reply(&asked, ResponseCode::NotImp, Vec::new(), tcp);
    }
    let [query] = asked.queries.as_slice() else {
        return reply(&asked, ResponseCode::FormErr, Vec::new(), tcp);
    };
    if query.query_class != DNSClass::IN {
        return Outcome::Forward;
    }
    if query.query_type == RecordType::PTR {
        return pointer(desired, task, &asked, &query.name, tcp);
    }
    let Some(mut addresses) = names::addresses(desired, task, &query.name.to_ascii()) else {
        return Outcome::Forward;
    };
    let mut answers = Vec::new();
    // A name that is known but has nothing of this type gets an empty answer, not "no such name".
    if matches!(query.query_type, RecordType::A | RecordType::ANY) {
        addresses.shuffle(&mut rand::rng());
        let record = |address| Record::from_rdata(query.name.clone(), TTL, RData::A(A(address)));
        answers.extend(addresses.into_iter().map(record));
    }
    reply(&asked, ResponseCode::NoError, answers, tcp)
}

fn pointer(desired: &Desired, task: TaskId, asked: &Message, name: &Name, tcp: bool) -> Outcome {
    let Some(IpAddr::V4(address)) = name.parse_arpa_name().ok().map(|net| net.addr()) else {
        return Outcome::Forward;
    };
    if let Some(target) = names::pointer(desired, task, address)
        && let Ok(target) = Name::from_ascii(format!("{target}."))
    {
        let record = Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(target)));
        return reply(asked, ResponseCode::NoError, vec![record], tcp);
    }
    if names::is_ours(desired, address) {
        return reply(asked, ResponseCode::NXDomain, Vec::new(), tcp);
    }
    Outcome::Forward
}

/// An answer that only says how it went.
pub(super) fn refusal(question: &[u8], code: ResponseCode, tcp: bool) -> Outcome {
    match Message::from_vec(question) {
        Ok(asked) => reply(&asked, code, Vec::new(), tcp),
        Err(_) => malformed(question),
    }
}

fn reply(asked: &Message, code: ResponseCode, answers: Vec<Record>, tcp: bool) -> Outcome {
    let mut message = Message::response(asked.metadata.id, asked.metadata.op_code);
    message.metadata.recursion_desired = asked.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    message.queries.clone_from(&asked.queries);
    message.answers = answers;
    if asked.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD);
        message.set_edns(edns);
    }
    let limit = if tcp {
        usize::from(u16::MAX)
    } else {
        usize::from(asked.max_payload()).clamp(SMALL, 4096)
    };
    match message.to_vec() {
        Ok(bytes) if bytes.len() <= limit => Outcome::Reply(bytes),
        Ok(_) => {
            message.metadata.truncation = true;
            message.answers.clear();
            message.to_vec().map_or(Outcome::Ignore, Outcome::Reply)
        }
        Err(_) => Outcome::Ignore,
    }
}

/// A question that cannot be read: say so if at least its id can.
fn malformed(question: &[u8]) -> Outcome {
    let [high, low, flags, ..] = question else {
        return Outcome::Ignore;
    };
    if flags & 0x80 != 0 {
        return Outcome::Ignore;
    }
    let id = u16::from_be_bytes([*high, *low]);
    let message = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
    message.to_vec().map_or(Outcome::Ignore, Outcome::Reply)
}
