//! Loads beyond what a peer may put on the port of a manager: it keeps its own
//! share, and the manager its memory and its descriptors, for others.

mod support;

use skep_manager_ca::{Credentials, joining_config};
use skep_proto::pb;
use skep_proto::pb::ca_client::CaClient;
use skep_proto::pb::dispatcher_client::DispatcherClient;
use skep_transport::connect;
use skep_types::NodeDescription;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::http2::{self, DATA, END_HEADERS, HEADERS, PREFACE, SETTINGS, call, frame};
use support::{Session, Swarm};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Code;

const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for something that is sure to come.
async fn soon<T>(what: &str, it: impl Future<Output = T>) -> T {
    let come = tokio::time::timeout(PATIENCE, it).await;
    come.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

/// From one of the addresses that are this machine's own.
async fn from(last: u8, address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, last], 0).into()).unwrap();
    socket.connect(address.parse().unwrap()).await.unwrap()
}

async fn is_served(swarm: &Swarm) {
    let tls = joining_config(swarm.root.certificate()).unwrap();
    let mut client = CaClient::new(connect(&swarm.address, tls).unwrap());
    let asked = client.root_ca(pb::RootCaRequest {});
    soon("an answer", asked).await.unwrap();
}

/// A connection on which HTTP/2 has begun; with a certificate if there is one.
async fn begun(swarm: &Swarm, node: Option<&Arc<Credentials>>) -> TlsStream<TcpStream> {
    let config = match node {
        Some(node) => node.client_config().unwrap(),
        None => joining_config(swarm.root.certificate()).unwrap(),
    };
    let mut stream = http2::tls(&swarm.address, config).await;
    let begin = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    stream.write_all(&begin).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

/// Calls, from the one of this number on, that begin a message of so many bytes and do
/// not go on.
async fn half_calls(
    stream: &mut TlsStream<TcpStream>,
    first: u32,
    path: &str,
    calls: u32,
    length: u32,
) {
    let mut bytes = Vec::new();
    for id in (first..first + calls).map(|number| 2 * number - 1) {
        bytes.extend(frame(HEADERS, END_HEADERS, id, &call(path)));
        let mut begins = vec![0];
        begins.extend(length.to_be_bytes());
        begins.extend([0; 100]);
        bytes.extend(frame(DATA, 0, id, &begins));
    }
    stream.write_all(&bytes).await.unwrap();
    stream.flush().await.unwrap();
}

/// The next so many calls that are answered, in order; fewer, if the connection ends
/// before.
async fn answered(stream: &mut TlsStream<TcpStream>, enough: usize) -> Vec<u32> {
    let mut calls = Vec::new();
    while calls.len() < enough {
        let Some((kind, id)) = http2::next(stream).await else {
            break;
        };
        if kind == HEADERS {
            calls.push(id);
        }
    }
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_refused_before_it_has_sent_what_only_managers_may() {
    let swarm = Swarm::start().await;
    let worker = swarm.add_worker().await;
    for path in [
        "/skep.v1.Control/Change",
        "/skep.v1.Relay/Report",
        "/skep.v1.Relay/PublishLogs",
        "/skep.v1.Raft/Step",
    ] {
        let mut stream = begun(&swarm, Some(&worker)).await;
        // The first is waited for until its time is over, and is answered last.
        let waits = "/skep.v1.Dispatcher/Heartbeat";
        half_calls(&mut stream, 1, waits, 1, 1000).await;
        half_calls(&mut stream, 2, path, 50, 60 << 20).await;
        let refused = soon(path, answered(&mut stream, 50)).await;
        assert_eq!(refused.len(), 50, "{path}");
        assert!(!refused.contains(&1), "{path}: {refused:?}");
    }
    swarm.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_has_a_few_calls_under_way_and_not_for_long() {
    let swarm = Swarm::start().await;
    let stays = tokio::spawn(http2::stay(begun(&swarm, None).await));
    let mut stream = begun(&swarm, None).await;
    half_calls(&mut stream, 1, "/skep.v1.Ca/Issue", 100, 8 << 10).await;
    let refused = soon("the refusal of most", answered(&mut stream, 96)).await;
    assert_eq!(refused.len(), 96);
    // At once: for the few others it waits, ten seconds, though not without end.
    let at_once = Instant::now();
    let others = soon("the end of the others", answered(&mut stream, 4)).await;
    assert_eq!(others.len(), 4);
    let later = at_once.elapsed();
    assert!(
        later > Duration::from_secs(1),
        "all ended together: {later:?}"
    );
    // Nor does a stranger stay that does nothing wrong.
    soon("the end of a connection", stays).await.unwrap();
    is_served(&swarm).await;
    swarm.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_all_logs_of_a_node_does_not_silence_it() {
    let swarm = Swarm::start().await;
    let worker = swarm.add_worker().await;
    let honest = swarm.add_worker().await;
    let mut session = Session::open(&swarm.address, &honest).await.unwrap();
    let (refused, mut refusals) = mpsc::unbounded_channel();
    for _ in 0..3 {
        let mut stream = begun(&swarm, Some(&worker)).await;
        // Lines of logs that never come are allowed to last.
        half_calls(&mut stream, 1, "/skep.v1.Dispatcher/PublishLogs", 100, 1000).await;
        let refused = refused.clone();
        tokio::spawn(async move {
            while let Some((kind, _)) = http2::next(&mut stream).await {
                if kind == HEADERS {
                    let _ = refused.send(());
                }
            }
        });
    }
    // All connections of the node have its calls in common.
    for _ in 0..3 * 100 - 256 {
        soon("a refusal", refusals.recv()).await.unwrap();
    }
    session.beat().await.unwrap();
    let mut own = Session::open(&swarm.address, &worker).await.unwrap();
    own.beat().await.unwrap();
    swarm.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_has_so_many_connections_and_its_oldest_goes_for_a_newer_one() {
    let swarm = Swarm::start().await;
    let worker = swarm.add_worker().await;
    let mut streams = Vec::new();
    for _ in 0..40 {
        streams.push(begun(&swarm, Some(&worker)).await);
    }
    let newest = streams.split_off(24);
    for stream in streams {
        soon("the end of an old one", http2::stay(stream)).await;
    }
    for mut stream in newest {
        half_calls(&mut stream, 1, "/skep.v1.Control/Read", 1, 100).await;
        assert_eq!(soon("an answer", answered(&mut stream, 1)).await, [1]);
    }
    is_served(&swarm).await;
    swarm.manager.stop().await;
}

/// Of several addresses, and more than there may be of all. They stay until dropped.
async fn silent_peers(address: &str) -> JoinSet<()> {
    let came = Arc::new(AtomicUsize::new(0));
    let mut silent = JoinSet::new();
    for last in (2..8).flat_map(|last| [last; 110]) {
        let (address, came) = (address.to_owned(), came.clone());
        silent.spawn(async move {
            let mut stream = from(last, &address).await;
            came.fetch_add(1, Ordering::Relaxed);
            let _ = stream.read(&mut [0; 16]).await;
        });
    }
    // Where they are not let in at once, the others wait.
    let most = async {
        while came.load(Ordering::Relaxed) < 300 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("the silent ones", most).await;
    silent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_peers_of_many_addresses_make_room_for_who_comes_from_another() {
    let swarm = Swarm::start().await;
    let tls = TlsConnector::from(joining_config(swarm.root.certificate()).unwrap());
    let mut let_in = false;
    // A machine may be late once or twice; who has to wait until the silent ones
    // have to go, after five seconds, has to each time.
    for round in 0..5 {
        let silent = silent_peers(&swarm.address).await;
        let connected = async {
            let stream = from(100 + round, &swarm.address).await;
            tls.connect("skep".try_into().unwrap(), stream).await
        };
        let connected = tokio::time::timeout(Duration::from_secs(3), connected).await;
        let_in |= matches!(connected, Ok(Ok(_)));
        drop(silent);
    }
    assert!(let_in, "kept waiting each time");
    swarm.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_of_countless_empty_parts_is_refused_unread() {
    let swarm = Swarm::start().await;
    let worker = swarm.add_worker().await;
    let mut session = Session::open(&swarm.address, &worker).await.unwrap();
    // Of two bytes each, and a hundred times that when they are read.
    let mut report = pb::UpdateTaskStatusRequest {
        session: session.welcome.session.clone(),
        updates: vec![pb::TaskStatusUpdate::default(); 200_000],
    };
    let refused = session.client.update_task_status(report.clone()).await;
    assert_eq!(refused.unwrap_err().code(), Code::OutOfRange);
    // What a node has to say is far less.
    report.updates.truncate(100_000);
    let refused = session.client.update_task_status(report).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    session.beat().await.unwrap();
    swarm.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_of_logs_beyond_number_are_refused() {
    let swarm = Swarm::start().await;
    let worker = swarm.add_worker().await;
    let mut session = Session::open(&swarm.address, &worker).await.unwrap();
    let batch = pb::PublishLogsRequest {
        lines: vec![pb::LogLine::default(); 100_000],
        ..pb::PublishLogsRequest::default()
    };
    let publish = session.client.publish_logs(tokio_stream::once(batch));
    let refused = soon("a refusal", publish).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    session.beat().await.unwrap();
    swarm.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_has_one_stream_of_assignments() {
    let swarm = Swarm::start().await;
    let worker = swarm.add_worker().await;
    let mut session = Session::open(&swarm.address, &worker).await.unwrap();
    let mut older = session.assignments().await;
    assert!(older.message().await.unwrap().unwrap().complete);
    let mut newer = session.assignments().await;
    assert!(newer.message().await.unwrap().unwrap().complete);
    let end = soon("the end of the older one", older.message()).await;
    assert_eq!(end.unwrap(), None);
    session.beat().await.unwrap();
    swarm.manager.stop().await;
}

async fn described(swarm: &Swarm, node: &Arc<Credentials>, is: NodeDescription) -> Code {
    let channel = connect(&swarm.address, node.client_config().unwrap()).unwrap();
    let mut client = DispatcherClient::new(channel);
    let request = pb::SessionRequest {
        description: Some((&is).into()),
    };
    match client.session(request).await {
        Ok(_) => Code::Ok,
        Err(refused) => refused.code(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_describes_itself_ever_otherwise_is_told_to_wait() {
    let swarm = Swarm::start().await;
    let worker = swarm.add_worker().await;
    let honest = swarm.add_worker().await;
    let named = |name: usize| NodeDescription {
        hostname: format!("n{name}"),
        ..NodeDescription::default()
    };
    // A machine that is late may give it some again, but not ever more.
    let mut taken = 0;
    while described(&swarm, &worker, named(taken)).await == Code::Ok {
        taken += 1;
        assert!(taken < 100, "as often as it likes");
    }
    assert!(taken >= 3, "{taken}");
    // Others are not refused, nor is what is known already, and it passes.
    assert_eq!(described(&swarm, &honest, named(0)).await, Code::Ok);
    assert_eq!(described(&swarm, &worker, named(taken - 1)).await, Code::Ok);
    let again = async {
        while described(&swarm, &worker, named(1000)).await != Code::Ok {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    soon("leave to describe itself", again).await;
    swarm.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_cannot_take_the_key_of_another() {
    let swarm = Swarm::start().await;
    let (first, second) = (swarm.add_worker().await, swarm.add_worker().await);
    let with = |key: u8| NodeDescription {
        wireguard_key: [key; 32],
        ..NodeDescription::default()
    };
    assert_eq!(described(&swarm, &first, with(1)).await, Code::Ok);
    let stolen = described(&swarm, &second, with(1)).await;
    assert_eq!(stolen, Code::AlreadyExists);
    assert_eq!(described(&swarm, &second, with(2)).await, Code::Ok);
    assert_eq!(described(&swarm, &first, with(1)).await, Code::Ok);
    // One that was given up is free.
    assert_eq!(described(&swarm, &first, with(3)).await, Code::Ok);
    assert_eq!(described(&swarm, &second, with(1)).await, Code::Ok);
    swarm.manager.stop().await;
}
