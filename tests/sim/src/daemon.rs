//! What runs on a host: the node as `cli/daemon` composes it, without what
//! only a real machine has.
//!
//! Owns the moves of a node (found a swarm, join, be promoted, be demoted,
//! renew) and what it keeps in its files meanwhile. The manager and the
//! agent's session are the real ones; containers are `containers`.

use crate::containers::Worker;
use crate::host::{Seat, Site};
use skep_agent::{Held, Line, Reporter, Told};
use skep_manager::{LogState, Manager, ManagerConfig, RaftConfig, Start, first_actions, join_raft};
use skep_manager_ca::{
    CaBundle, Credentials, Identity, JoinToken, Request, Root, Subject, bootstrap_config,
    joining_config,
};
use skep_proto::pb;
use skep_proto::pb::ca_client::CaClient;
use skep_transport::{Channels, redirected_to};
use skep_types::{
    ByteCount, Cluster, ClusterId, ClusterSpec, JoinSecrets, ManagerStatus, Meta, NanoCpus, Node,
    NodeDescription, NodeId, NodeSpec, NodeStatus, Role, RootCa, Timestamp, chain,
};
use std::collections::BTreeMap;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// How long a manager may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a move that did not succeed.
const RETRY: Duration = Duration::from_secs(5);
/// The clock is looked at this often.
const LOOK: Duration = Duration::from_secs(60);

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How a host without a swarm comes to one.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// It makes one.
    Founds(Box<ClusterSpec>),
    /// It joins by this token at one of these managers.
    Joins(String, Vec<String>),
}

/// Runs a node until its process ends.
pub(crate) async fn run(site: Arc<Site>) {
    loop {
        match node(&site).await {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(%error, "the daemon starts anew");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn node(site: &Arc<Site>) -> Outcome<()> {
    let mut start = Start::Member;
    let known = site.files().identity.clone();
    let identity = match known {
        Some(identity) => identity,
        None => match site.origin.clone() {
            Origin::Founds(spec) => {
                let (identity, actions) = found(site, *spec)?;
                start = actions;
                identity
            }
            Origin::Joins(token, managers) => {
                let identity = join(site, &token, &managers).await?;
                site.files().managers = managers;
                site.files().identity = Some(identity.clone());
                identity
            }
        },
    };
    let credentials = Credentials::new(identity)?;
    let role = credentials.identity().peer().role;
    let raft_id = site.files().raft_id;
    if let (Role::Manager, Some(raft_id)) = (role, raft_id) {
        let founds = matches!(start, Start::Bootstrap(_));
        if let Err(error) = start_manager(site, &credentials, raft_id, start).await {
            // A swarm that was not founded is founded anew.
            if founds {
                return Err(error);
            }
            tracing::warn!(%error, "this node goes on without its manager");
        }
    }
    let identity = credentials.identity().as_ref().clone();
    let node = identity.peer().node;
    site.files().identity = Some(identity);
    let (told, listener) = watch::channel(None);
    // Ends with this function, as the line does.
    let (_description, described) = watch::channel(description(site, node));
    let reporter = Reporter::default();
    let line = Line {
        work: Arc::new(Worker::open(site.containers.clone(), reporter.clone())),
        reporter,
        told,
        channels: Channels::over(site.network.clone(), credentials.client_config()?).patient(),
        known: site.files().managers.clone(),
        described,
        held: Held::default(),
    };
    tokio::spawn(line.hold(node));
    follow(site, &credentials, listener).await
}

fn description(site: &Site, node: NodeId) -> NodeDescription {
    // A machine that joins anew has a new one.
    let mut wireguard_key = [0; 32];
    let (half, _) = wireguard_key.split_at_mut(16);
    half.copy_from_slice(&skep_proto::id_bytes(node));
    let number = match site.ip {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(_) => 0,
    };
    NodeDescription {
        hostname: site.name.clone(),
        cpus: NanoCpus(4_000_000_000),
        memory: ByteCount(8 << 30),
        engine_version: "1".to_owned(),
        wireguard_key,
        data_path: Some(SocketAddr::new(site.ip, 51820)),
        engine_labels: [("zone".to_owned(), format!("z{}", number % 2))].into(),
        ..NodeDescription::default()
    }
}

/// Keeps role and certificate at what the managers say.
async fn follow(
    site: &Arc<Site>,
    credentials: &Arc<Credentials>,
    mut told: watch::Receiver<Option<Told>>,
) -> Outcome<()> {
    let mut due = credentials.identity().validity().renewal_time();
    loop {
        let now = told.borrow_and_update().clone();
        let mut pause = due.duration_since(SystemTime::now()).unwrap_or_default();
        pause = pause.min(LOOK);
        let identity = credentials.identity();
        let role = identity.peer().role;
        let role_changed = now.as_ref().is_some_and(|told| told.node.role != role);
        if let Some(told) = &now
            && !told.managers.is_empty()
        {
            site.files().managers = told.managers.clone();
        }
        if !role_changed && let Err(error) = settle(site, credentials, now.as_ref()).await {
            tracing::warn!(%error, "role not taken on yet");
            pause = pause.min(RETRY);
        }
        let is_due = due <= SystemTime::now();
        if role_changed || is_due || identity.check_time(SystemTime::now()).is_err() {
            match renew(site, credentials).await {
                Ok(()) => {
                    due = credentials.identity().validity().renewal_time();
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "certificate not renewed");
                    pause = RETRY;
                }
            }
        }
        tokio::select! {
            changed = told.changed() => changed?,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn renew(site: &Arc<Site>, credentials: &Arc<Credentials>) -> Outcome<()> {
    let key = Request::generate()?;
    let request = pb::IssueRequest {
        csr: key.pem().to_owned(),
        ..pb::IssueRequest::default()
    };
    let answer = match renew_alone(site, credentials, key.pem()) {
        Some(answer) => answer?,
        None => {
            let channels = Channels::over(site.network.clone(), credentials.client_config()?);
            let managers = site.files().managers.clone();
            issue(&channels, &managers, &request).await?
        }
    };
    let identity = key.complete(&answer.certificate, credentials.identity().ca().clone())?;
    tracing::info!(role = ?identity.peer().role, "certificate renewed");
    site.files().identity = Some(identity.clone());
    credentials.replace(identity)?;
    settle(site, credentials, None).await
}

/// Its own manager's answer, if that runs and the certificate does not hold now.
fn renew_alone(
    site: &Site,
    credentials: &Credentials,
    csr: &str,
) -> Option<Outcome<pb::IssueResponse>> {
    let identity = credentials.identity();
    identity.check_time(SystemTime::now()).err()?;
    let answer = site.seat().manager()?.issue_own(csr);
    Some(answer.map_err(Into::into))
}

/// Starts, changes or ends the manager, as the certificate and the managers
/// say; see `cli/daemon/src/member/seat.rs`.
async fn settle(
    site: &Arc<Site>,
    credentials: &Arc<Credentials>,
    told: Option<&Told>,
) -> Outcome<()> {
    let raft_id = site.files().raft_id;
    let elsewhere = told.is_some_and(|told| {
        told.node.role == Role::Manager
            && told.node.manager.as_ref().map(|manager| manager.raft_id) != raft_id
    });
    let (waits, again) = match &*site.seat() {
        Seat::Empty => (false, None),
        _ if elsewhere => (false, None),
        Seat::Taken(_) => (true, None),
        Seat::Lost(lasts) => (*lasts, raft_id.filter(|_| !*lasts)),
    };
    let is_manager = site.seat().manager().is_some();
    match (credentials.identity().peer().role, again) {
        (Role::Manager, _) if waits => Ok(()),
        // The others may be waiting for this one: there may be no leader to ask.
        (Role::Manager, Some(id)) => start_manager(site, credentials, id, Start::Member).await,
        (Role::Manager, None) => promote(site, credentials).await,
        (Role::Worker, _) if raft_id.is_some() || is_manager => {
            stop_manager(site).await;
            site.files().raft_id = None;
            site.new_raft_dir();
            tracing::info!("this node is a worker now");
            Ok(())
        }
        (Role::Worker, _) => Ok(()),
    }
}

async fn stop_manager(site: &Site) {
    let seat = std::mem::take(&mut *site.seat());
    if let Seat::Taken(manager) = seat {
        manager.stop().await;
    }
}

async fn promote(site: &Arc<Site>, credentials: &Arc<Credentials>) -> Outcome<()> {
    let managers = site.files().managers.clone();
    let channels = Channels::over(site.network.clone(), credentials.client_config()?);
    let raft_id = join_raft(&channels, &managers, &site.address()).await?;
    let same = site.files().raft_id == Some(raft_id);
    let settled = match &*site.seat() {
        Seat::Empty => false,
        Seat::Taken(_) => same,
        Seat::Lost(lasts) => same && *lasts,
    };
    if settled {
        return Ok(());
    }
    stop_manager(site).await;
    if !same {
        site.new_raft_dir();
        site.files().raft_id = Some(raft_id);
    }
    start_manager(site, credentials, raft_id, Start::Member).await
}

async fn start_manager(
    site: &Arc<Site>,
    credentials: &Arc<Credentials>,
    raft_id: u64,
    start: Start,
) -> Outcome<()> {
    let existing = site.files().has_log;
    let raft = RaftConfig {
        disk: site.disk.start(),
        existing,
        segment_bytes: 256 << 10,
        snapshot_every: site.snapshot_every,
        keep_entries: site.snapshot_every / 4,
        ..RaftConfig::new(site.raft_dir(), raft_id, site.address(), [7; 32])
    };
    let manager = Manager::start(ManagerConfig {
        raft,
        listen: site.listen(),
        credentials: credentials.clone(),
        network: site.network.clone(),
        keys: None,
        start,
    });
    match manager.await {
        Ok(manager) => {
            tracing::info!(raft.id = raft_id, "manager started");
            site.files().has_log = true;
            *site.seat() = Seat::Taken(manager);
            Ok(())
        }
        Err(error) => {
            *site.seat() = Seat::Lost(error.log_state() != LogState::Whole);
            Err(chain(&error).into())
        }
    }
}

fn found(site: &Site, spec: ClusterSpec) -> Outcome<(Identity, Start)> {
    let now = SystemTime::now();
    let root = Root::generate(now)?;
    let secrets = JoinSecrets {
        worker: JoinToken::new_secret()?,
        manager: JoinToken::new_secret()?,
    };
    let cluster = Cluster {
        id: ClusterId::from_bits(rand::random()),
        meta: Meta::default(),
        spec,
        root_ca: RootCa::new(root.certificate().pem().to_owned(), root.key_pem()),
        join_secrets: secrets,
        blocked: BTreeMap::new(),
        certificates_until: Timestamp::default(),
        last_raft_id: 0,
        format: Default::default(),
        unlock_key: None,
        clients: Default::default(),
    };
    let node = Node {
        id: NodeId::from_bits(rand::random()),
        meta: Meta::default(),
        spec: NodeSpec {
            role: Role::Manager,
            ..NodeSpec::default()
        },
        description: NodeDescription {
            hostname: site.name.clone(),
            ..NodeDescription::default()
        },
        status: NodeStatus::default(),
        role: Role::Manager,
        role_since: Timestamp::default(),
        drain_since: None,
        manager: Some(ManagerStatus {
            raft_id: 1,
            address: site.address(),
            format: Default::default(),
        }),
        mesh: None,
    };
    let subject = Subject {
        node: node.id,
        role: Role::Manager,
        cluster: cluster.id,
    };
    let key = Request::generate()?;
    let issued = root.issue(key.pem(), &subject, cluster.spec.cert_expiry, now)?;
    let identity = key.complete(&issued.pem, root.certificate().clone())?;
    let mut files = site.files();
    files.raft_id = Some(1);
    files.managers = vec![site.address()];
    Ok((identity, Start::Bootstrap(first_actions(cluster, node))))
}

async fn join(site: &Site, token: &str, managers: &[String]) -> Outcome<Identity> {
    let trusted: JoinToken = token.parse()?;
    let key = {
        // One key for all attempts: managers know by it that it is the same node.
        let mut files = site.files();
        files.joining.take().map_or_else(Request::generate, Ok)?
    };
    let joined = join_with(site, &trusted, token, managers, &key).await;
    match joined {
        Ok((certificate, ca)) => Ok(key.complete(&certificate, ca)?),
        Err(error) => {
            site.files().joining = Some(key);
            Err(error)
        }
    }
}

async fn join_with(
    site: &Site,
    trusted: &JoinToken,
    token: &str,
    managers: &[String],
    key: &Request,
) -> Outcome<(String, CaBundle)> {
    let first = managers.first().ok_or("no manager is known")?;
    let channels = Channels::over(site.network.clone(), bootstrap_config()?);
    let mut client = CaClient::new(channels.to(first)?);
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, client.root_ca(pb::RootCaRequest {}));
    let ca = CaBundle::from_download(&answer.await??.into_inner().certificate, trusted)?;
    let channels = Channels::over(site.network.clone(), joining_config(&ca)?);
    let request = pb::IssueRequest {
        csr: key.pem().to_owned(),
        token: token.to_owned(),
        hostname: site.name.clone(),
        format: skep_manager::format::NEWEST.0,
        ..pb::IssueRequest::default()
    };
    let answer = issue(&channels, managers, &request).await?;
    Ok((answer.certificate, ca))
}

/// Asks for a certificate at the leader, wherever that is.
async fn issue(
    channels: &Channels,
    managers: &[String],
    request: &pb::IssueRequest,
) -> Outcome<pb::IssueResponse> {
    let mut ask = managers.to_vec();
    let mut last = "no manager is known".to_owned();
    for _ in 0..20 {
        let Some(manager) = ask.pop() else {
            ask = managers.to_vec();
            tokio::time::sleep(Duration::from_millis(250)).await;
            continue;
        };
        let mut client = CaClient::new(channels.to(&manager)?);
        match tokio::time::timeout(ANSWER_TIMEOUT, client.issue(request.clone())).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(status)) => {
                ask.extend(redirected_to(&status));
                last = format!("{manager}: {}", status.message());
            }
            Err(_) => last = format!("{manager} does not answer"),
        }
    }
    Err(last.into())
}
