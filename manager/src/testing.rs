//! A manager of its own for tests.

use crate::machine::State;
use crate::shared::Shared;
use async_trait::async_trait;
use skep_manager_ca::{Root, joining_config};
use skep_manager_raft::{Raft, RaftConfig, Transport, TransportError};
use skep_manager_store::{Action, NewTask};
use skep_transport::Channels;
use skep_types::{
    Cluster, ClusterId, ClusterSpec, JoinSecrets, Meta, Node, NodeId, RootCa, Slot, TaskId,
    TaskState, Timestamp,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// A group of one talks to nobody.
struct Alone;

#[async_trait]
impl Transport for Alone {
    async fn send(&self, id: u64, at: &str, _: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        Err(TransportError {
            target: id,
            address: at.to_owned(),
            reason: "nobody there".to_owned(),
        })
    }
}

/// One that leads, with these actions as its first entry. Only what a test
/// starts runs.
pub(crate) async fn leader(dir: &Path, actions: &[Action]) -> Shared {
    let state = State::new();
    let config = RaftConfig::new(dir, 1, "127.0.0.1:1", [7; 32]);
    let raft = Raft::open(config, state.clone(), Arc::new(Alone)).await;
    let raft = raft.unwrap();
    raft.bootstrap().await.unwrap();
    let mut leadership = raft.leadership();
    leadership.wait_for(|now| now.is_leader).await.unwrap();
    let root = Root::generate(SystemTime::now()).unwrap();
    let channels = Channels::new(joining_config(root.certificate()).unwrap());
    let shared = Shared::new(NodeId::from_bits(1), state, raft, channels);
    shared.sessions.begin_term();
    let proposed = shared.propose(actions).await.unwrap();
    for result in proposed.results {
        assert_eq!(result.refused, None);
    }
    shared
}

/// A worker of which nothing is known.
pub(crate) fn host(id: NodeId) -> Node {
    Node {
        id,
        meta: Meta::default(),
        spec: Default::default(),
        description: Default::default(),
        status: Default::default(),
        role: Default::default(),
        role_since: Default::default(),
        drain_since: None,
        manager: None,
        mesh: None,
    }
}

/// A task that is to run on this node, as the first of its service.
pub(crate) fn new_task(id: TaskId, node: NodeId) -> NewTask {
    NewTask {
        id,
        slot: Slot(1),
        desired: TaskState::Running,
        node: Some(node),
        attachments: Vec::new(),
        error: String::new(),
        cause: Default::default(),
        restarts: Default::default(),
        start_at: None,
        run: 0,
        generic: Default::default(),
    }
}

/// A cluster object with a real root CA.
pub(crate) fn swarm() -> Cluster {
    let root = Root::generate(SystemTime::now()).unwrap();
    Cluster {
        id: ClusterId::from_bits(9),
        meta: Meta::default(),
        spec: ClusterSpec::default(),
        root_ca: RootCa::new(root.certificate().pem().to_owned(), root.key_pem()),
        join_secrets: JoinSecrets {
            worker: "w".to_owned(),
            manager: "m".to_owned(),
        },
        blocked: BTreeMap::new(),
        certificates_until: Timestamp::default(),
        last_raft_id: 0,
        format: Default::default(),
        unlock_key: None,
        clients: BTreeMap::new(),
    }
}
