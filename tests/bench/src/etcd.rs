//! Debian's etcd, three members on 127.0.0.1, and what a put costs there.
//!
//! Owns the cluster and its client: gRPC without TLS to the leader, values of
//! 1 KiB under a few keys. Ends with its processes.

use crate::debian;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

const MEMBERS: u16 = 3;
/// The client port of the first member; the rest follow, peers 100 higher.
const PORT: u16 = 23_790;
const SOON: Duration = Duration::from_secs(30);

#[derive(Clone, PartialEq, prost::Message)]
struct Put {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(uint64, tag = "2")]
    member: u64,
}

/// Of a put and of a question for the status; only what is needed.
#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Empty {}

/// What puts took with each number of writers.
pub type Times = Vec<(usize, Vec<Duration>)>;

struct Cluster {
    processes: Vec<Child>,
    folder: PathBuf,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // One that ended by itself cannot be killed.
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Measures `puts` of one writer, and eight times as many of 64; nothing if
/// etcd cannot be had.
#[must_use]
pub fn measure(puts: usize) -> Option<Times> {
    let place = debian::unpacked("etcd-program", &["etcd-server"], "usr/bin/etcd")?;
    let _cluster = Cluster::start(&place.join("usr/bin/etcd")).ok()?;
    let runtime = tokio::runtime::Runtime::new().ok()?;
    match runtime.block_on(write(puts)) {
        Ok(times) => Some(times),
        Err(error) => {
            eprintln!("etcd: {error}");
            None
        }
    }
}

impl Cluster {
    fn start(program: &std::path::Path) -> std::io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("skep-bench-etcd-{}", std::process::id()));
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let all: Vec<String> = (0..MEMBERS)
            .map(|n| format!("m{n}={}", url(PORT + 100 + n)))
            .collect();
        let mut cluster = Self {
            processes: Vec::new(),
            folder,
        };
        for n in 0..MEMBERS {
            let data = cluster.folder.join(n.to_string());
            std::fs::create_dir_all(&data)?;
            let (client, peer) = (url(PORT + n), url(PORT + 100 + n));
            let process = Command::new(program)
                .args(["--name", &format!("m{n}"), "--data-dir"])
                .arg(&data)
                .args(["--listen-client-urls", &client])
                .args(["--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer])
                .args(["--initial-advertise-peer-urls", &peer])
                .args(["--initial-cluster", &all.join(",")])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            cluster.processes.push(process);
        }
        Ok(cluster)
    }
}

async fn call<M: prost::Message + 'static>(
    channel: &Channel,
    path: &'static str,
    message: M,
) -> Result<Answer, String> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| error.to_string())?;
    let codec: ProstCodec<M, Answer> = ProstCodec::default();
    let path = PathAndQuery::from_static(path);
    let answered = grpc.unary(tonic::Request::new(message), path, codec).await;
    answered
        .map(tonic::Response::into_inner)
        .map_err(|error| error.to_string())
}

/// The connection to the member that leads.
async fn leader() -> Result<Channel, String> {
    let began = Instant::now();
    while began.elapsed() < SOON {
        for n in 0..MEMBERS {
            let url = format!("http://127.0.0.1:{}", PORT + n);
            let endpoint = Endpoint::from_shared(url).map_err(|error| error.to_string())?;
            let Ok(channel) = endpoint.connect().await else {
                continue;
            };
            let status = call(&channel, "/etcdserverpb.Maintenance/Status", Empty {}).await;
            let leads = |a: &Answer| a.header.as_ref().is_some_and(|h| h.member == a.leader);
            if status.is_ok_and(|answer| answer.leader != 0 && leads(&answer)) {
                return Ok(channel);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("nobody leads".into())
}

async fn write(puts: usize) -> Result<Times, String> {
    let channel = leader().await?;
    let mut all = Times::new();
    for writers in [1, 64_usize] {
        let mut running = tokio::task::JoinSet::new();
        for writer in 0..writers {
            let channel = channel.clone();
            let each = puts * writers.min(8) / writers;
            running.spawn(async move {
                let mut times = Vec::new();
                for n in 0..each {
                    let put = Put {
                        key: format!("key {writer} {}", n % 100).into_bytes(),
                        value: vec![1; 1024],
                    };
                    let began = Instant::now();
                    call(&channel, "/etcdserverpb.KV/Put", put).await?;
                    times.push(began.elapsed());
                }
                Ok::<_, String>(times)
            });
        }
        let mut times = Vec::new();
        for of_one in running.join_all().await {
            times.extend(of_one?);
        }
        all.push((writers, times));
    }
    Ok(all)
}
