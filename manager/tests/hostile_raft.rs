//! What a machine that has a manager's certificate may say as a Raft member that
//! no member says: it is refused, the manager goes on, and its term stays.

mod support;

use prost::Message;
use skep_manager_ca::Request;
use skep_proto::pb;
use skep_proto::pb::control_server::Control as _;
use skep_proto::pb::raft_client::RaftClient;
use skep_transport::connect;
use skep_types::Role;
use support::{Swarm, credentials};
use tonic::transport::Channel;
use tonic::{Code, Status};

/// The messages of Raft, as they are on the wire, as far as they are needed here.
mod wire {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Vote {
        #[prost(uint64, tag = "1")]
        pub term: u64,
        #[prost(uint64, tag = "2")]
        pub node: u64,
        #[prost(bool, tag = "3")]
        pub committed: bool,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct LogId {
        #[prost(uint64, tag = "1")]
        pub term: u64,
        #[prost(uint64, tag = "2")]
        pub node: u64,
        #[prost(uint64, tag = "3")]
        pub index: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Entry {
        #[prost(message, optional, tag = "1")]
        pub log_id: Option<LogId>,
    }

    /// A request for a vote, or an append: alike in their first fields.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Said {
        #[prost(message, optional, tag = "1")]
        pub vote: Option<Vote>,
        #[prost(message, optional, tag = "2")]
        pub last: Option<LogId>,
        #[prost(message, repeated, tag = "3")]
        pub entries: Vec<Entry>,
        #[prost(message, optional, tag = "4")]
        pub commit: Option<LogId>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Quorum {
        #[prost(uint64, repeated, tag = "1")]
        pub voters: Vec<u64>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Member {
        #[prost(uint64, tag = "1")]
        pub id: u64,
        #[prost(string, tag = "2")]
        pub address: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Membership {
        #[prost(message, repeated, tag = "1")]
        pub configs: Vec<Quorum>,
        #[prost(message, repeated, tag = "2")]
        pub members: Vec<Member>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Stored {
        #[prost(message, optional, tag = "2")]
        pub membership: Option<Membership>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Meta {
        #[prost(message, optional, tag = "1")]
        pub last: Option<LogId>,
        #[prost(message, optional, tag = "2")]
        pub membership: Option<Stored>,
        #[prost(string, tag = "3")]
        pub id: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Chunk {
        #[prost(message, optional, tag = "1")]
        pub vote: Option<Vote>,
        #[prost(message, optional, tag = "2")]
        pub meta: Option<Meta>,
        #[prost(uint64, tag = "3")]
        pub offset: u64,
        #[prost(bytes = "vec", tag = "4")]
        pub data: Vec<u8>,
        #[prost(bool, tag = "5")]
        pub done: bool,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Request {
        #[prost(uint64, tag = "1")]
        pub from: u64,
        #[prost(uint64, tag = "2")]
        pub to: u64,
        #[prost(message, optional, tag = "3")]
        pub vote: Option<Said>,
        #[prost(message, optional, tag = "4")]
        pub append: Option<Said>,
        #[prost(message, optional, tag = "5")]
        pub snapshot: Option<Chunk>,
    }
}

use wire::{Chunk, Entry, LogId, Member, Membership, Meta, Quorum, Said, Stored, Vote};

/// The manager's Raft id, and that of one who is no member.
const MANAGER: u64 = 1;
const STRANGER: u64 = 2;

struct Attack {
    swarm: Swarm,
    client: RaftClient<Channel>,
}

impl Attack {
    async fn start() -> Attack {
        let swarm = Swarm::start().await;
        let key = Request::generate().unwrap();
        let answer = swarm.join(&key, Role::Manager).await.unwrap();
        let manager = credentials(&swarm, key, &answer);
        let channel = connect(&swarm.address, manager.client_config().unwrap()).unwrap();
        let client = RaftClient::new(channel);
        Attack { swarm, client }
    }

    fn term(&self) -> u64 {
        self.swarm.manager.raft_status().leadership.term
    }

    async fn send(&mut self, payload: Vec<u8>) -> Result<(), Status> {
        let payload = payload.into();
        let sent = self.client.step(pb::StepRequest { payload });
        sent.await.map(drop)
    }

    async fn is_refused(&mut self, request: wire::Request) {
        let before = self.term();
        let refused = self.send(request.encode_to_vec()).await;
        let refused = refused.expect_err(&format!("it was taken: {request:?}"));
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert_eq!(self.term(), before);
    }

    /// The manager still agrees on changes with itself.
    async fn goes_on(&self, name: &str) {
        let spec = pb::NetworkSpec {
            name: name.to_owned(),
            driver: "overlay".to_owned(),
            ..pb::NetworkSpec::default()
        };
        let change = pb::change::Change::CreateNetwork(spec);
        let request = pb::ChangeRequest {
            changes: vec![pb::Change {
                change: Some(change),
            }],
        };
        let control = self.swarm.manager.control();
        let changed = control.change(tonic::Request::new(request)).await;
        changed.unwrap();
        assert!(self.swarm.manager.is_leader());
        assert_eq!(self.swarm.manager.failure(), None);
    }
}

fn vote(term: u64, committed: bool) -> Option<Vote> {
    Some(Vote {
        term,
        node: STRANGER,
        committed,
    })
}

fn place(term: u64, index: u64) -> Option<LogId> {
    Some(LogId {
        term,
        node: STRANGER,
        index,
    })
}

fn request() -> wire::Request {
    wire::Request {
        from: STRANGER,
        to: MANAGER,
        ..wire::Request::default()
    }
}

fn stands(term: u64, last: Option<LogId>) -> wire::Request {
    let said = Said {
        vote: vote(term, false),
        last,
        ..Said::default()
    };
    wire::Request {
        vote: Some(said),
        ..request()
    }
}

fn leads(term: u64, last: Option<LogId>, entries: &[(u64, u64)]) -> wire::Request {
    let entry = |(term, index): &(u64, u64)| Entry {
        log_id: place(*term, *index),
    };
    let said = Said {
        vote: vote(term, true),
        last,
        entries: entries.iter().map(entry).collect(),
        commit: None,
    };
    wire::Request {
        append: Some(said),
        ..request()
    }
}

fn part(term: u64, offset: u64, data: &[u8], done: bool) -> wire::Request {
    let membership = Membership {
        configs: vec![Quorum {
            voters: vec![MANAGER],
        }],
        members: vec![Member {
            id: MANAGER,
            address: "a:1".to_owned(),
        }],
    };
    let chunk = Chunk {
        vote: vote(term, true),
        meta: Some(Meta {
            last: place(term, 1 << 40),
            membership: Some(Stored {
                membership: Some(membership),
            }),
            id: "lie".to_owned(),
        }),
        offset,
        data: data.to_vec(),
        done,
    };
    wire::Request {
        snapshot: Some(chunk),
        ..request()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absurd_terms_and_places_do_not_get_into_the_log() {
    let mut attack = Attack::start().await;
    let term = attack.term();
    for absurd in [u64::MAX, u64::MAX - 1, 1 << 62, term + (1 << 33)] {
        attack.is_refused(stands(absurd, None)).await;
        attack.is_refused(stands(absurd, place(absurd, 7))).await;
        attack.is_refused(leads(absurd, None, &[])).await;
        attack.is_refused(leads(absurd, None, &[(absurd, 0)])).await;
        attack.is_refused(part(absurd, 0, &[1; 100], true)).await;
    }
    let next = term + 1;
    for (last, entries) in [
        (place(next, u64::MAX), &[][..]),
        (place(next, u64::MAX), &[(next, 0)]),
        (place(next, 1 << 20), &[(next, u64::MAX)]),
        (place(u64::MAX, 1), &[]),
        (None, &[(u64::MAX, 0)]),
        // What the manager has applied is of another leader.
        (place(next, 0), &[]),
    ] {
        attack.is_refused(leads(next, last, entries)).await;
    }
    attack.is_refused(stands(next, place(next, u64::MAX))).await;
    // One that says that it is the manager itself.
    let mut own = leads(term, None, &[]);
    own.from = MANAGER;
    attack.is_refused(own).await;
    attack.goes_on("after").await;
    attack.swarm.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_a_lie_replaces_nothing() {
    let mut attack = Attack::start().await;
    let next = attack.term() + 1;
    // Far away, and beyond any end.
    for offset in [1 << 30, u64::MAX - 3, u64::MAX] {
        attack
            .is_refused(part(next, offset, &[1; 100], false))
            .await;
    }
    // A hole is answered by where to go on, and nothing is kept for it.
    let mib = vec![1; 1 << 20];
    let first = part(next, 0, &mib, false).encode_to_vec();
    attack.send(first).await.unwrap();
    let hole = part(next, 1 << 29, &mib, true).encode_to_vec();
    attack.send(hole).await.unwrap();
    attack.goes_on("hole").await;
    // Garbage to the end.
    attack.is_refused(part(next, 1 << 20, &mib, true)).await;
    attack.is_refused(part(next, 0, &[], true)).await;
    attack.goes_on("garbage").await;
    attack.swarm.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_message_is_refused() {
    let mut attack = Attack::start().await;
    for payload in [
        vec![],
        vec![0xff; 1 << 20],
        vec![0; 7 << 20],
        [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f].to_vec(),
        request().encode_to_vec(),
    ] {
        let refused = attack.send(payload).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    let large = attack.send(vec![0; 9 << 20]).await.unwrap_err();
    assert_eq!(large.code(), Code::OutOfRange, "{large}");
    attack.goes_on("after").await;
    attack.swarm.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_says_what_only_another_member_may() {
    let mut attack = Attack::start().await;
    let second = attack.swarm.add_manager().await;
    assert_eq!(second.manager.raft_status().id, STRANGER);
    // As that member, well formed, from a manager that is another.
    let next = attack.term() + 1;
    attack.is_refused(stands(next, place(1, 1 << 20))).await;
    attack.is_refused(leads(next, None, &[])).await;
    attack.goes_on("after").await;
    second.manager.stop().await;
    attack.swarm.manager.stop().await;
}
