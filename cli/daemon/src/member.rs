//! A node as part of a swarm: its agent, and its manager while it is one.
//!
//! A member can be read at any time. What changes it is a move of the node, and
//! those come one after another.

mod anew;
mod seat;

use crate::args::DaemonArgs;
use crate::describe;
use crate::door::ControlSlot;
use crate::files::{Files, Membership};
use crate::join::{self, Issued};
use crate::keyring::Keyring;
use anyhow::{Context, Result};
use seat::{Fault, ManagerError, Seat};
use skep_agent::{Agent, AgentConfig, Told};
use skep_agent_dataplane::{Dataplane, DataplaneConfig};
use skep_agent_images::ImageStore;
use skep_agent_runtime::Runtime;
use skep_manager::{Manager, ManagerConfig, RaftConfig, Start};
use skep_manager_ca::{Credentials, Digest, Identity, bootstrap_config};
use skep_transport::Tcp;
use skep_types::{NodeDescription, NodeId, NodeTls, Role};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::sync::watch;

/// Where this machine's name servers are written.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What every node has, in a swarm or not. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) args: Arc<DaemonArgs>,
    pub(crate) files: Files,
    pub(crate) images: ImageStore,
    pub(crate) runtime: Runtime,
    pub(crate) control: ControlSlot,
    pub(crate) keyring: Keyring,
}

impl Parts {
    /// Forgets the swarm, and its keys.
    pub(crate) fn forget_swarm(&self) -> Result<()> {
        self.files.forget_swarm()?;
        self.keyring.forget()
    }
}

/// A node in a swarm.
pub(crate) struct Member {
    parts: Parts,
    membership: Mutex<Membership>,
    pub(crate) credentials: Arc<Credentials>,
    dataplane: Arc<Dataplane>,
    agent: Agent,
    seat: Mutex<Seat>,
    /// Why the certificate could not be renewed, while that is so.
    problem: Mutex<Option<String>>,
}

impl Member {
    /// Starts the roles this node has; all of them or none. A manager that was
    /// one before and cannot be one now is no reason for the agent to stay away:
    /// the containers are the node's, too.
    pub(crate) async fn start(
        parts: Parts,
        mut membership: Membership,
        identity: Identity,
        start: Start,
    ) -> Result<Member> {
        let is_manager = identity.peer().role == Role::Manager;
        let credentials = Credentials::new(identity)?;
        let resumes = matches!(start, Start::Member);
        let seat = match membership.raft_id {
            Some(_) if is_manager => {
                match anew::start_manager(&parts, &mut membership, &credentials, start).await {
                    Ok(manager) => Seat::Taken(manager),
                    Err(error) if resumes => {
                        Seat::Lost(Fault::new(error, credentials.identity().peer().node))
                    }
                    Err(error) => return Err(error).context("the manager does not start"),
                }
            }
            _ => Seat::Empty,
        };
        let node = credentials.identity().peer().node;
        let agent = start_agent(&parts, &membership, node, Some(&credentials));
        let (dataplane, agent) = match agent.await {
            Ok(started) => started,
            Err(error) => {
                if let Seat::Taken(manager) = seat {
                    manager.stop().await;
                }
                return Err(error);
            }
        };
        membership.has_log |= seat.manager().is_some();
        let member = Member {
            parts,
            membership: Mutex::new(membership),
            credentials,
            dataplane,
            agent,
            seat: Mutex::new(Seat::Empty),
            problem: Mutex::default(),
        };
        drop(member.sit(seat));
        Ok(member)
    }

    fn seat(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has this seat from now on, and the socket answer accordingly.
    fn sit(&self, seat: Seat) -> Seat {
        if let Seat::Lost(fault) = &seat {
            tracing::error!(reason = %fault, "this node's manager does not run; its containers go on");
        }
        self.parts.control.set(seat.door());
        std::mem::replace(&mut *self.seat(), seat)
    }

    /// The node's place in its swarm.
    pub(crate) fn membership(&self) -> Membership {
        self.membership
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Makes its place last.
    pub(crate) fn save(&self) -> Result<()> {
        self.parts.files.save(&self.membership())
    }

    /// Remembers another place. Readers do not wait for the disk: moves, the
    /// only writers, come one after another.
    fn remember(&self, membership: Membership) -> Result<()> {
        self.parts.files.save(&membership)?;
        self.is_at(membership);
        Ok(())
    }

    fn is_at(&self, membership: Membership) {
        let own = self.membership.lock();
        *own.unwrap_or_else(PoisonError::into_inner) = membership;
    }

    /// What the managers say of this node, as it changes.
    pub(crate) fn told(&self) -> watch::Receiver<Option<Told>> {
        self.agent.told()
    }

    /// The managers hear nothing more of this node's agent.
    pub(crate) fn disconnect(&self) {
        self.agent.disconnect();
    }

    /// Whether this node is one of the managers, be it one that cannot work.
    pub(crate) fn is_manager(&self) -> bool {
        !matches!(*self.seat(), Seat::Empty)
    }

    /// A new certificate from this node's own manager, if that runs and the one
    /// it has does not hold at `now`: it was off for longer than a certificate
    /// lives, and so were the others, perhaps.
    pub(crate) fn renew_alone(&self, now: SystemTime) -> Option<Result<Issued>> {
        self.credentials.identity().check_time(now).err()?;
        self.seat().manager().map(join::renew_alone)
    }

    /// Whether it leads.
    pub(crate) fn is_leader(&self) -> bool {
        self.seat().manager().is_some_and(Manager::is_leader)
    }

    /// Why this node's manager takes no part, if it does not, and what to do.
    pub(crate) fn fault(&self) -> Option<String> {
        self.seat().fault()
    }

    /// Number of tasks given to this node.
    pub(crate) fn task_count(&self) -> usize {
        self.agent.task_count()
    }

    /// Images of those tasks.
    pub(crate) fn images_in_use(&self) -> BTreeSet<String> {
        self.agent.images_in_use()
    }

    /// How WireGuard is done here.
    pub(crate) async fn wireguard(&self) -> &'static str {
        self.dataplane.wireguard().await.unwrap_or_default()
    }

    /// Remembers where the managers are.
    pub(crate) fn remember_managers(&self, managers: Vec<String>) -> Result<()> {
        let membership = self.membership();
        if managers.is_empty() || managers == membership.managers {
            return Ok(());
        }
        self.remember(Membership {
            managers,
            ..membership
        })
    }

    /// Why the certificate could not be renewed the last time.
    pub(crate) fn problem(&self) -> Option<String> {
        let problem = self.problem.lock();
        problem.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    /// Ends this daemon's part; containers go on.
    pub(crate) async fn stop(&self) {
        self.agent.stop().await;
        self.stop_manager().await;
        end_network(&self.dataplane).await;
    }

    /// Leaves: containers, network and all that was remembered go.
    pub(crate) async fn leave(&self) -> Result<()> {
        self.stop_manager().await;
        clear(&self.parts, &self.agent, &self.dataplane).await
    }
}

/// Has this node leave that has no keys: as [`Member::leave`].
pub(crate) async fn abandon(parts: &Parts, membership: &Membership, node: NodeId) -> Result<()> {
    let nobody = Membership {
        managers: Vec::new(),
        ..membership.clone()
    };
    let (dataplane, agent) = start_agent(parts, &nobody, node, None).await?;
    clear(parts, &agent, &dataplane).await
}

async fn clear(parts: &Parts, agent: &Agent, dataplane: &Dataplane) -> Result<()> {
    agent.clear().await;
    if let Err(error) = parts.runtime.close().await {
        tracing::warn!(error = %error.chain(), "cgroup not removed");
    }
    let network = dataplane.shutdown(true).await;
    parts.forget_swarm()?;
    network.context("the node's network was not all removed")
}

/// What the managers are told of this node.
fn description(
    parts: &Parts,
    membership: &Membership,
    trusted: Digest,
    wireguard_key: [u8; 32],
) -> Result<NodeDescription> {
    let advertise: SocketAddr = membership
        .advertise
        .parse()
        .context("the advertised address is damaged")?;
    let data_path = SocketAddr::new(advertise.ip(), membership.data_path_port);
    Ok(NodeDescription {
        wireguard_key,
        data_path: Some(data_path),
        tls: NodeTls {
            trusted,
            ..NodeTls::default()
        },
        ..describe::machine(&parts.args)?
    })
}

/// Starts this node's agent; without credentials, to take down what it holds.
async fn start_agent(
    parts: &Parts,
    membership: &Membership,
    node: NodeId,
    credentials: Option<&Arc<Credentials>>,
) -> Result<(Arc<Dataplane>, Agent)> {
    let (trusted, tls) = match credentials {
        Some(own) => (own.identity().ca().digest(), own.client_config()?),
        None => ([0; 32], bootstrap_config()?),
    };
    // What is wrong with it is wrong before anything runs.
    let _ = description(parts, membership, trusted, [0; 32])?;
    let dataplane = Dataplane::open(DataplaneConfig {
        run_dir: parts.args.run_dir.clone(),
        private_key: parts.files.key("wireguard.key")?,
        listen_port: membership.data_path_port,
        resolv_conf: RESOLV_CONF.into(),
    })
    .await
    .context("cannot take over this node's network")?;
    let dataplane = Arc::new(dataplane);
    let agent = Agent::start(AgentConfig {
        node,
        ledger_dir: parts.files.ledger(),
        description: description(parts, membership, trusted, dataplane.public_key())?,
        managers: membership.managers.clone(),
        tls,
        images: parts.images.clone(),
        runtime: parts.runtime.clone(),
        dataplane: dataplane.clone(),
    });
    match agent.await {
        Ok(agent) => Ok((dataplane, agent)),
        Err(error) => {
            end_network(&dataplane).await;
            Err(error.into())
        }
    }
}

/// Ends the daemon's part in the network; that of containers stays.
async fn end_network(dataplane: &Dataplane) {
    if let Err(error) = dataplane.shutdown(false).await {
        tracing::warn!(%error, "network not ended");
    }
}

pub(crate) async fn start_manager(
    parts: &Parts,
    membership: &Membership,
    credentials: &Arc<Credentials>,
    raft_id: u64,
    start: Start,
) -> Result<Manager, ManagerError> {
    let config = ManagerConfig {
        raft: raft_config(parts, membership, raft_id)?,
        listen: membership
            .listen
            .parse()
            .context("the address to listen on is damaged")
            .map_err(ManagerError::Node)?,
        credentials: credentials.clone(),
        network: Tcp::network(),
        keys: Some(parts.keyring.keeper(credentials)),
        start,
    };
    Ok(Manager::start(config).await?)
}

fn raft_config(
    parts: &Parts,
    membership: &Membership,
    raft_id: u64,
) -> Result<RaftConfig, ManagerError> {
    let (key, old_keys) = parts.keyring.data_keys().map_err(ManagerError::Node)?;
    let config = RaftConfig::new(parts.files.raft(), raft_id, &membership.advertise, key);
    Ok(RaftConfig {
        old_keys,
        existing: membership.has_log,
        ..config
    })
}
