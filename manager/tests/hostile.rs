//! What nobody who means well sends to the port of a manager: it is refused, and
//! others are served meanwhile.

mod support;

use skep_manager::format;
use skep_manager_ca::joining_config;
use skep_proto::pb;
use skep_proto::pb::ca_client::CaClient;
use skep_proto::pb::local_node_client::LocalNodeClient;
use skep_proto::pb::raft_client::RaftClient;
use skep_proto::pb::relay_client::RelayClient;
use skep_transport::connect;
use std::time::Duration;
use support::{Session, Swarm};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tonic::Code;

const SOON: Duration = Duration::from_secs(30);

/// Sends this and waits until the other side hangs up.
async fn hung_up_on(address: &str, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may hang up before all is sent.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "still open after {:?}", bytes.get(..16));
    assert!(answer.len() < 1024, "{} bytes in answer", answer.len());
}

async fn is_served(swarm: &Swarm) {
    let served = async {
        loop {
            // Anew each time: a busy machine may not take it within three seconds.
            let tls = joining_config(swarm.root.certificate()).unwrap();
            let mut client = CaClient::new(connect(&swarm.address, tls).unwrap());
            match client.root_ca(pb::RootCaRequest {}).await {
                Ok(_) => return,
                Err(refused) => println!("not served: {refused}"),
            }
        }
    };
    let served = tokio::time::timeout(SOON, served).await;
    served.expect("others are not served");
}

#[tokio::test]
async fn what_is_no_handshake_is_hung_up_on() {
    let swarm = Swarm::start().await;
    let garbage: Vec<u8> = (0..100_000_u32).map(|n| (n * 31 % 251) as u8).collect();
    // A record of TLS that promises more than there may be.
    let long = [22, 3, 1, 0xff, 0xff, 1, 0, 0xff, 0xff];
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for bytes in [b"GET / HTTP/1.1\r\n\r\n", &garbage[..], &long, preface] {
        hung_up_on(&swarm.address, bytes).await;
    }
    is_served(&swarm).await;
    swarm.manager.stop().await;
}

/// Another machine's address, so to speak.
const ELSEWHERE: [u8; 4] = [127, 0, 0, 2];

async fn from_elsewhere(address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((ELSEWHERE, 0).into()).unwrap();
    socket.connect(address.parse().unwrap()).await.unwrap()
}

#[tokio::test]
async fn who_begins_handshakes_and_falls_silent_does_not_keep_others_out() {
    let swarm = Swarm::start().await;
    // So many that one after the other would take longer than others wait.
    let mut silent = Vec::new();
    for _ in 0..700 {
        let mut stream = from_elsewhere(&swarm.address).await;
        // It may have been hung up on.
        let _ = stream.write_all(&[22, 3, 1, 0x02]).await;
        silent.push(stream);
    }
    is_served(&swarm).await;
    for stream in &mut silent {
        let ended = tokio::time::timeout(SOON, stream.read(&mut [0; 64])).await;
        assert!(ended.is_ok(), "a silent peer is still there");
    }
    swarm.manager.stop().await;
}

#[tokio::test]
async fn who_shows_no_certificate_and_stays_is_one_of_few() {
    let swarm = Swarm::start().await;
    let tls = TlsConnector::from(joining_config(swarm.root.certificate()).unwrap());
    let mut strangers = Vec::new();
    loop {
        let stream = from_elsewhere(&swarm.address).await;
        let name = "skep".try_into().unwrap();
        match tls.connect(name, stream).await {
            Ok(stream) => strangers.push(stream),
            Err(_) => break,
        }
        assert!(strangers.len() < 200, "as many as like to");
    }
    is_served(&swarm).await;
    // One that goes leaves its place to another.
    drop(strangers.pop());
    let came = async {
        loop {
            let stream = from_elsewhere(&swarm.address).await;
            if tls
                .connect("skep".try_into().unwrap(), stream)
                .await
                .is_ok()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let came = tokio::time::timeout(SOON, came).await;
    came.expect("the place stays taken");
    swarm.manager.stop().await;
}

#[tokio::test]
async fn a_worker_may_not_ask_what_only_managers_may() {
    let swarm = Swarm::start().await;
    let worker = swarm.add_worker().await;
    let channel = connect(&swarm.address, worker.client_config().unwrap()).unwrap();
    let step = pb::StepRequest {
        payload: vec![0xff; 1000].into(),
    };
    let refused = RaftClient::new(channel.clone()).step(step).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);

    let mut relay = RelayClient::new(channel);
    let refused = relay.pulse(pb::PulseRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let refused = relay.report(pb::ReportRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let refused = relay.describe(pb::DescribeRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    swarm.manager.stop().await;
}

#[tokio::test]
async fn who_asks_what_this_version_does_not_know_is_told_which_it_is() {
    let swarm = Swarm::start().await;
    let worker = swarm.add_worker().await;
    let channel = connect(&swarm.address, worker.client_config().unwrap()).unwrap();
    // Only the socket of a node knows this service.
    let mut client = LocalNodeClient::new(channel);
    let refused = client.info(pb::InfoRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    let version = format!("skep {}, which answers here,", format::VERSION);
    let told = refused.message();
    assert!(
        told.contains(&version) && told.contains("upgrade"),
        "{told}"
    );
    swarm.manager.stop().await;
}

#[tokio::test]
async fn a_session_that_is_none_and_a_report_too_large_are_refused() {
    let swarm = Swarm::start().await;
    let worker = swarm.add_worker().await;
    let mut session = Session::open(&swarm.address, &worker).await.unwrap();
    let own = std::mem::replace(&mut session.welcome.session, vec![9; 3].into());
    assert_eq!(session.beat().await.unwrap_err().code(), Code::NotFound);
    session.welcome.session = own.clone();
    session.beat().await.unwrap();

    let update = pb::TaskStatusUpdate {
        task: vec![7; 16].into(),
        status: Some(pb::TaskStatus {
            error: "e".repeat(8 << 20),
            ..pb::TaskStatus::default()
        }),
    };
    let report = pb::UpdateTaskStatusRequest {
        session: own,
        updates: vec![update],
    };
    let refused = session.client.update_task_status(report).await;
    assert_eq!(refused.unwrap_err().code(), Code::OutOfRange);
    session.beat().await.unwrap();
    swarm.manager.stop().await;
}
