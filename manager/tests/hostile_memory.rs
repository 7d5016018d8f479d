//! What of a manager's memory another one can fill, whose certificate somebody holds
//! who means harm: measured on the whole process.

mod support;

use bytes::Bytes;
use http_body::{Body, Frame};
use skep_manager_ca::Request;
use skep_proto::pb;
use skep_proto::pb::relay_client::RelayClient;
use skep_transport::connect;
use skep_types::Role;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use support::{Swarm, credentials};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::codegen::{Service, http};

const PATIENCE: Duration = Duration::from_secs(50);

/// A message of many bytes, of which the last never come.
struct Unfinished {
    /// Bytes still to be sent.
    left: usize,
}

impl Body for Unfinished {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        let Some(left) = self.left.checked_sub(ZEROS.len()) else {
            return Poll::Pending;
        };
        let first = self.left == OFFERED;
        self.left = left;
        let bytes = match first {
            // As long as any may be.
            true => Bytes::copy_from_slice(&[&[0, 3, 0xff, 0xff, 0], &ZEROS[5..]].concat()),
            false => Bytes::from_static(&ZEROS),
        };
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

/// What one such call sends.
const OFFERED: usize = 16 << 20;

/// Bytes of memory that this process has.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages = pages.split(' ').nth(1).unwrap();
    pages.parse::<usize>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_sends_without_end_has_so_much_memory_of_another_and_no_more() {
    let swarm = Swarm::start().await;
    let key = Request::generate().unwrap();
    let answer = swarm.join(&key, Role::Manager).await.unwrap();
    let manager = credentials(&swarm, key, &answer);
    let channel = connect(&swarm.address, manager.client_config().unwrap()).unwrap();
    let before = resident();
    let mut calls = JoinSet::new();
    for _ in 0..40 {
        let mut channel = channel.clone();
        let body = tonic::body::Body::new(Unfinished { left: OFFERED });
        let request = http::Request::post("http://manager/skep.v1.Relay/Report")
            .header("content-type", "application/grpc")
            .body(body)
            .unwrap();
        calls.spawn(async move {
            std::future::poll_fn(|context| channel.poll_ready(context)).await?;
            channel.call(request).await
        });
    }
    // Eight of them fit; they all grow at a time, so that of these some may find no room.
    for _ in 0..32 {
        let ended = timeout(PATIENCE, calls.join_next()).await.unwrap();
        let answer = ended.unwrap().unwrap().unwrap();
        assert_eq!(answer.headers()["grpc-status"], "8", "{answer:?}");
    }
    let more = resident().saturating_sub(before) >> 20;
    assert!(more < 400, "{more} MiB");
    let refused = std::iter::from_fn(|| calls.try_join_next()).count();
    assert!(refused <= 4, "those that fit are waited for: {refused} not");
    calls.shutdown().await;
    // When they have ended there is room again.
    let report = async {
        loop {
            let mut client = RelayClient::new(channel.clone());
            match client.report(pb::ReportRequest::default()).await {
                Err(error) if error.code() == tonic::Code::ResourceExhausted => {}
                other => return other,
            }
        }
    };
    timeout(PATIENCE, report).await.unwrap().unwrap();
    swarm.manager.stop().await;
}
