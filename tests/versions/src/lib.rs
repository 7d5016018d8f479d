//! One real manager as a program: its log, its port, its certificate, and nothing
//! of a node beside. Built twice, it makes swarms of two versions
//! (`tests/mixed.rs`).
//!
//! ```text
//! member DIR ADDRESS                  begins a swarm; goes on where DIR is one's
//! member DIR ADDRESS MANAGER TOKEN    joins the swarm of that manager
//! ```
//!
//! It reads one command a line and answers each with one line:
//!
//! | command | answer |
//! |---|---|
//! | `status` | what this manager knows, `name=value` with tabs between |
//! | `token` | the token for managers |
//! | `network NAME` | `ok` or the reason why it was not made |
//! | `note TEXT` | the same; a field of the version to come |
//!
//! At the end of its input it stops as a daemon does.

#![forbid(unsafe_code)]

mod control;

use anyhow::{Context, Result, anyhow, bail};
use skep_manager::{Manager, ManagerConfig, RaftConfig, Start, first_actions, format, join_raft};
use skep_manager_ca::{
    CaBundle, Credentials, Identity, JoinToken, Request, Root, Subject, bootstrap_config,
    joining_config,
};
use skep_proto::pb;
use skep_proto::pb::ca_client::CaClient;
use skep_transport::{Channels, connect, redirected_to};
use skep_types::{
    Cluster, ClusterId, ClusterSpec, JoinSecrets, ManagerStatus, Meta, Node, NodeDescription,
    NodeId, NodeSpec, NodeStatus, Role, RootCa, chain,
};
use std::io::BufRead;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The log's key; it guards nothing here.
const KEY: [u8; 32] = [7; 32];
/// How long a swarm without a leader is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the program.
///
/// # Errors
/// When its arguments are wrong. A manager that cannot start is an answer.
pub fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(run(&arguments))
}

async fn run(arguments: &[String]) -> Result<()> {
    let started = match arguments {
        [dir, address] if Path::new(dir).exists() => again(dir.into(), address).await,
        [dir, address] => begin(dir.into(), address).await,
        [dir, address, manager, token] => join(dir.into(), address, manager, token).await,
        _ => bail!("member DIR ADDRESS [MANAGER TOKEN]"),
    };
    let manager = match started {
        Ok(manager) => manager,
        Err(error) => {
            println!("failed: {}", chain(error.as_ref()));
            return Ok(());
        }
    };
    println!("started");
    loop {
        let read = || std::io::stdin().lock().lines().next().transpose();
        let Some(line) = tokio::task::spawn_blocking(read).await?? else {
            break;
        };
        let (command, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let answer = match command {
            "status" => control::status(&manager),
            "token" => control::token(&manager).unwrap_or_else(|e| format!("{e:#}")),
            "network" => control::network(&manager, rest).await,
            "note" => control::note(&manager, rest).await,
            _ => format!("what is {command:?}?"),
        };
        println!("{}", answer.replace('\n', " "));
    }
    manager.stop().await;
    Ok(())
}

/// The first manager of a new swarm.
async fn begin(dir: PathBuf, address: &str) -> Result<Manager> {
    let now = SystemTime::now();
    let root = Root::generate(now)?;
    let (id, cluster) = (random_node(), ClusterId::from_bits(rand::random()));
    let key = Request::generate()?;
    let subject = Subject {
        node: id,
        role: Role::Manager,
        cluster,
    };
    let spec = ClusterSpec::default();
    let issued = root.issue(key.pem(), &subject, spec.cert_expiry, now)?;
    let identity = key.complete(&issued.pem, root.certificate().clone())?;
    let cluster = Cluster {
        id: cluster,
        meta: Meta::default(),
        spec,
        root_ca: RootCa::new(root.certificate().pem().to_owned(), root.key_pem()),
        join_secrets: JoinSecrets {
            worker: JoinToken::new_secret()?,
            manager: JoinToken::new_secret()?,
        },
        blocked: Default::default(),
        certificates_until: Default::default(),
        last_raft_id: 0,
        unlock_key: None,
        clients: Default::default(),
        format: Default::default(),
    };
    let node = Node {
        id,
        meta: Meta::default(),
        spec: NodeSpec {
            role: Role::Manager,
            ..NodeSpec::default()
        },
        description: NodeDescription::default(),
        status: NodeStatus::default(),
        role: Role::Manager,
        role_since: Default::default(),
        drain_since: None,
        manager: Some(ManagerStatus {
            raft_id: 1,
            address: address.to_owned(),
            format: Default::default(),
        }),
        mesh: None,
    };
    keep(&dir, &identity, 1)?;
    let first = Start::Bootstrap(first_actions(cluster, node));
    start(&dir, address, identity, 1, first).await
}

fn random_node() -> NodeId {
    NodeId::from_bits(rand::random())
}

/// One more manager of a swarm.
async fn join(dir: PathBuf, address: &str, manager: &str, token: &str) -> Result<Manager> {
    let parsed: JoinToken = token.parse().map_err(|error| anyhow!("{error}"))?;
    let mut client = CaClient::new(connect(manager, bootstrap_config()?)?);
    let root = client.root_ca(pb::RootCaRequest {}).await?.into_inner();
    let ca = CaBundle::from_download(&root.certificate, &parsed)?;
    let key = Request::generate()?;
    let request = pb::IssueRequest {
        csr: key.pem().to_owned(),
        token: token.to_owned(),
        format: format::NEWEST.0,
        version: format::VERSION.to_owned(),
        ..pb::IssueRequest::default()
    };
    let issued = issue(&Channels::new(joining_config(&ca)?), manager, request).await?;
    let identity = key.complete(&issued.certificate, ca)?;
    let channels = Channels::new(Credentials::new(identity.clone())?.client_config()?);
    let raft_id = join_raft(&channels, &[manager.to_owned()], address).await?;
    keep(&dir, &identity, raft_id)?;
    let manager = start(&dir, address, identity, raft_id, Start::Member).await?;
    match tokio::time::timeout(PATIENCE, manager.seated()).await {
        Ok(true) => Ok(manager),
        _ => bail!("no vote within {PATIENCE:?}"),
    }
}

async fn issue(
    channels: &Channels,
    manager: &str,
    request: pb::IssueRequest,
) -> Result<pb::IssueResponse> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut ask = manager.to_owned();
    loop {
        let mut client = CaClient::new(channels.to(&ask)?);
        let refused = match client.issue(request.clone()).await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(refused) => refused,
        };
        ask = redirected_to(&refused).unwrap_or_else(|| manager.to_owned());
        let passes = refused.code() == tonic::Code::Unavailable;
        if !passes || tokio::time::Instant::now() > deadline {
            bail!("{}", refused.message());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A manager whose process ended.
async fn again(dir: PathBuf, address: &str) -> Result<Manager> {
    let identity = Identity::load(&dir, &[])?;
    let raft_id = std::fs::read_to_string(dir.join("raft-id"))?
        .trim()
        .parse()?;
    start(&dir, address, identity, raft_id, Start::Member).await
}

fn keep(dir: &Path, identity: &Identity, raft_id: u64) -> Result<()> {
    identity.save(dir, None)?;
    std::fs::write(dir.join("raft-id"), raft_id.to_string()).context("cannot keep the raft id")
}

async fn start(
    dir: &Path,
    address: &str,
    identity: Identity,
    raft_id: u64,
    start: Start,
) -> Result<Manager> {
    let listen: SocketAddr = address.parse()?;
    let config = ManagerConfig {
        raft: RaftConfig::new(dir.join("raft"), raft_id, address, KEY),
        listen,
        credentials: Credentials::new(identity)?,
        network: skep_transport::Tcp::network(),
        keys: None,
        start,
    };
    Ok(Manager::start(config).await?)
}
