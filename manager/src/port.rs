//! What is served on the port between nodes, and how its connections are watched. Who
//! may call what is the gate's to say, and how connections come about the transport's.

use crate::rpc::control::Control;
use crate::rpc::gate::Gate;
use crate::rpc::{ca, dispatcher, peer, raft, relay};
use crate::shared::Shared;
use skep_manager_store::format::VERSION;
use skep_proto::pb;
use skep_transport::{Probes, Secured};
use skep_types::Role;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::Connected as _;

/// Largest change another manager may forward.
const CHANGE_MAX_BYTES: usize = 64 << 20;
/// Largest request of somebody who may not have a certificate yet.
const REQUEST_MAX_BYTES: usize = 16 << 10;
/// Calls under way at once on one connection, streams among them; the gate allows
/// most peers fewer.
const CALLS_MAX: u32 = 1024;
/// What a call may send before it is read, and all calls of a connection: one that
/// nobody reads must not hold up the others, heartbeats among them.
const STREAM_WINDOW_BYTES: u32 = 128 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// A peer that is not heard for so long is asked whether it is there; who is sends
/// something twice as often. What a peer sent before it was cut off, and arrives when the
/// connection has ended, is not done any more: nobody waits for it.
const KEEP_ALIVE: Probes = Probes {
    after: Duration::from_secs(3),
    timeout: Duration::from_secs(2),
};
/// Likewise of workers. They are thousands, say by their heartbeats that they are there,
/// and must not all lose their sessions when this machine is busy for a moment.
const WORKERS_KEEP_ALIVE: Probes = Probes {
    after: Duration::from_secs(20),
    timeout: Duration::from_secs(10),
};

/// Serves until it is told to stop and what is under way has ended.
pub(crate) async fn serve(
    shared: Shared,
    secured: ReceiverStream<std::io::Result<Secured>>,
    stopping: watch::Receiver<bool>,
) {
    let gate = Gate {
        shared: shared.clone(),
    };
    let dispatcher = dispatcher::DispatcherService::new(shared.clone());
    let dispatcher = pb::dispatcher_server::DispatcherServer::new(dispatcher)
        .max_decoding_message_size(dispatcher::MESSAGE_MAX_BYTES);
    let relay = pb::relay_server::RelayServer::new(relay::RelayService {
        shared: shared.clone(),
    })
    .max_decoding_message_size(relay::MESSAGE_MAX_BYTES);
    let raft = pb::raft_server::RaftServer::new(raft::RaftService {
        shared: shared.clone(),
    })
    .max_decoding_message_size(raft::MESSAGE_MAX_BYTES)
    .max_encoding_message_size(raft::MESSAGE_MAX_BYTES);
    let control = pb::control_server::ControlServer::new(Control::remote(shared.clone()))
        .max_decoding_message_size(CHANGE_MAX_BYTES);
    let ca = pb::ca_server::CaServer::new(ca::CaService { shared })
        .max_decoding_message_size(REQUEST_MAX_BYTES);
    let server = |probes: Probes| {
        Server::builder()
            .layer(skep_transport::name_version(VERSION))
            .layer(gate.clone())
            .http2_keepalive_interval(Some(probes.after))
            .http2_keepalive_timeout(Some(probes.timeout))
            .max_concurrent_streams(CALLS_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .add_service(raft.clone())
            .add_service(dispatcher.clone())
            .add_service(relay.clone())
            .add_service(control.clone())
            .add_service(ca.clone())
    };
    let stop = || {
        let mut stopping = stopping.clone();
        async move {
            // An error means that the manager is gone: the same.
            let _ = stopping.wait_for(|stop| *stop).await;
        }
    };
    let (to_workers, workers) = mpsc::channel(1);
    let (to_others, others) = mpsc::channel(1);
    let (workers, others) = (ReceiverStream::new(workers), ReceiverStream::new(others));
    let both = async {
        tokio::try_join!(
            server(WORKERS_KEEP_ALIVE).serve_with_incoming_shutdown(workers, stop()),
            server(KEEP_ALIVE).serve_with_incoming_shutdown(others, stop()),
        )
    };
    let (served, ()) = tokio::join!(both, part(secured, to_workers, to_others));
    if let Err(error) = served {
        tracing::error!(%error, "the manager's port is not served any more");
    }
}

/// Hands connections on by who opened them, until nobody takes them any more.
async fn part(
    mut secured: ReceiverStream<std::io::Result<Secured>>,
    to_workers: mpsc::Sender<std::io::Result<Secured>>,
    to_others: mpsc::Sender<std::io::Result<Secured>>,
) {
    loop {
        let opened = tokio::select! {
            opened = secured.next() => opened,
            () = to_workers.closed() => return,
            () = to_others.closed() => return,
        };
        let Some(opened) = opened else { return };
        let of = |opened: &Secured| peer::role(&opened.connect_info());
        let is_worker = opened.as_ref().ok().and_then(of) == Some(Role::Worker);
        let to = if is_worker { &to_workers } else { &to_others };
        // What nobody takes any more is closed.
        let _ = to.send(opened).await;
    }
}
