//! Questions to the resolver of a container, as a resolver library would ask, and the server behind it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

use super::lan::within;

const SERVER: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 0, 0, 11), 53);

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    message.to_vec().expect("a question")
}

/// Asks over UDP.
pub fn ask(namespace: &Path, name: &str, kind: RecordType) -> Message {
    let question = question(name, kind);
    within(namespace, move || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        socket.connect(SERVER).expect("an address");
        socket.send(&question).expect("asked");
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).expect("an answer");
        Message::from_vec(&buffer[..length]).expect("a DNS message")
    })
}

/// Asks over TCP.
pub fn ask_tcp(namespace: &Path, name: &str, kind: RecordType) -> Message {
    let question = question(name, kind);
    within(namespace, move || {
        let mut stream = TcpStream::connect(SERVER).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        stream
            .write_all(&(question.len() as u16).to_be_bytes())
            .expect("asked");
        stream.write_all(&question).expect("asked");
        let mut length = [0; 2];
        stream.read_exact(&mut length).expect("an answer");
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).expect("an answer");
        Message::from_vec(&answer).expect("a DNS message")
    })
}

/// The addresses in an answer, sorted.
pub fn addresses(message: &Message) -> Vec<Ipv4Addr> {
    assert_eq!(
        message.metadata.response_code,
        ResponseCode::NoError,
        "{message}"
    );
    let mut found: Vec<Ipv4Addr> = message
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(address) => Some(address.0),
            _ => None,
        })
        .collect();
    found.sort();
    found
}

/// A name server that knows no name, until it is asked for one that begins with `stop.`.
pub fn upstream(namespace: &Path) {
    let socket = within(namespace, || {
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53)).expect("port 53")
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let Ok(asked) = Message::from_vec(&buffer[..length]) else {
                continue;
            };
            if asked
                .queries
                .iter()
                .any(|query| query.name.to_ascii().starts_with("stop."))
            {
                return;
            }
            let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
            answer.queries.clone_from(&asked.queries);
            answer.metadata.response_code = ResponseCode::NXDomain;
            let _ = socket.send_to(&answer.to_vec().expect("an answer"), from);
        }
    });
}
