//! A node as part of a swarm: its agent, and its manager while it is one.

use crate::args::DaemonArgs;
use crate::describe;
use crate::files::{Files, Membership};
use anyhow::{Context, Result};
use skep_agent::{Agent, AgentConfig, Told};
use skep_agent_dataplane::{Dataplane, DataplaneConfig};
use skep_agent_images::ImageStore;
use skep_agent_runtime::Runtime;
use skep_manager::{Control, Manager, ManagerConfig, Start, join_raft};
use skep_manager_ca::{Credentials, Identity};
use skep_types::Role;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// The control service of this node's manager, while there is one. Cheap to
/// clone; the socket asks it at every call.
#[derive(Clone, Default)]
pub(crate) struct ControlSlot(Arc<RwLock<Option<Control>>>);

impl ControlSlot {
    pub(crate) fn get(&self) -> Option<Control> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, control: Option<Control>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = control;
    }
}

/// What every node has, in a swarm or not. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) args: Arc<DaemonArgs>,
    pub(crate) files: Files,
    pub(crate) images: ImageStore,
    pub(crate) runtime: Runtime,
    pub(crate) control: ControlSlot,
}

/// A node in a swarm.
pub(crate) struct Member {
    parts: Parts,
    pub(crate) membership: Membership,
    pub(crate) credentials: Arc<Credentials>,
    dataplane: Arc<Dataplane>,
    agent: Agent,
    manager: Option<Manager>,
}

impl Member {
    /// Starts the roles this node has.
    pub(crate) async fn start(
        parts: Parts,
        membership: Membership,
        identity: Identity,
        start: Start,
    ) -> Result<Member> {
        let node = identity.peer().node;
        let is_manager = identity.peer().role == Role::Manager;
        let credentials = Credentials::new(identity)?;
        let manager = match membership.raft_id {
            Some(raft_id) if is_manager => {
                Some(start_manager(&parts, &membership, &credentials, raft_id, start).await?)
            }
            _ => None,
        };
        let private_key = parts.files.key("wireguard.key")?;
        let dataplane = Dataplane::open(DataplaneConfig {
            run_dir: parts.args.run_dir.clone(),
            private_key,
            listen_port: membership.data_path_port,
            upstream_dns: describe::name_servers(),
        })
        .await
        .context("cannot take over this node's network")?;
        let dataplane = Arc::new(dataplane);
        let advertise: SocketAddr = membership
            .advertise
            .parse()
            .context("the advertised address is damaged")?;
        let mut description = describe::machine(&parts.args)?;
        description.wireguard_key = dataplane.public_key();
        description.data_path = Some(SocketAddr::new(advertise.ip(), membership.data_path_port));
        let agent = Agent::start(AgentConfig {
            node,
            ledger_dir: parts.files.ledger(),
            description,
            managers: membership.managers.clone(),
            tls: credentials.client_config()?,
            images: parts.images.clone(),
            runtime: parts.runtime.clone(),
            dataplane: dataplane.clone(),
        })
        .await?;
        parts.control.set(manager.as_ref().map(Manager::control));
        Ok(Member {
            parts,
            membership,
            credentials,
            dataplane,
            agent,
            manager,
        })
    }

    /// What the managers say of this node, as it changes.
    pub(crate) fn told(&self) -> watch::Receiver<Option<Told>> {
        self.agent.told()
    }

    /// The managers hear nothing more of this node's agent.
    pub(crate) fn disconnect(&self) {
        self.agent.disconnect();
    }

    /// Whether this node is a manager now.
    pub(crate) fn is_manager(&self) -> bool {
        self.manager.is_some()
    }

    /// Whether it leads.
    pub(crate) fn is_leader(&self) -> bool {
        self.manager.as_ref().is_some_and(Manager::is_leader)
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
    pub(crate) fn remember_managers(&mut self, managers: Vec<String>) -> Result<()> {
        if managers.is_empty() || managers == self.membership.managers {
            return Ok(());
        }
        self.membership.managers = managers;
        self.parts.files.save(&self.membership)
    }

    /// Takes on the role of a newly issued certificate.
    pub(crate) async fn take_role(&mut self, identity: Identity) -> Result<()> {
        identity.save(&self.parts.files.certificates())?;
        self.credentials.replace(identity)?;
        self.settle().await
    }

    /// Whether the node does what its certificate says.
    pub(crate) fn is_settled(&self) -> bool {
        (self.credentials.identity().peer().role == Role::Manager) == self.is_manager()
    }

    /// Starts or stops the manager, as the certificate says.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        match (self.credentials.identity().peer().role, &self.manager) {
            (Role::Manager, None) => self.promote().await,
            (Role::Worker, Some(_)) => self.demote().await,
            _ => Ok(()),
        }
    }

    /// Becomes a manager: asks to be let in, then takes part.
    pub(crate) async fn promote(&mut self) -> Result<()> {
        let raft_id = join_raft(
            self.credentials.client_config()?,
            &self.membership.managers,
            &self.membership.advertise,
        )
        .await?;
        if self.membership.raft_id != Some(raft_id) {
            // A log of an earlier time as a manager is another member's.
            self.parts.files.forget_raft()?;
        }
        self.membership.raft_id = Some(raft_id);
        self.parts.files.save(&self.membership)?;
        let manager = start_manager(
            &self.parts,
            &self.membership,
            &self.credentials,
            raft_id,
            Start::Member,
        )
        .await?;
        self.parts.control.set(Some(manager.control()));
        self.manager = Some(manager);
        tracing::info!("this node is a manager now");
        Ok(())
    }

    async fn demote(&mut self) -> Result<()> {
        self.parts.control.set(None);
        if let Some(manager) = self.manager.take() {
            manager.stop().await;
        }
        self.membership.raft_id = None;
        self.parts.files.save(&self.membership)?;
        self.parts.files.forget_raft()?;
        tracing::info!("this node is a worker now");
        Ok(())
    }

    /// Ends this daemon's part; containers go on.
    pub(crate) async fn stop(self) {
        self.parts.control.set(None);
        self.agent.stop().await;
        if let Some(manager) = self.manager {
            manager.stop().await;
        }
        if let Err(error) = self.dataplane.shutdown(false).await {
            tracing::warn!(%error, "network not ended");
        }
    }

    /// Leaves: containers, network and all that was remembered go.
    pub(crate) async fn leave(self) -> Result<()> {
        self.parts.control.set(None);
        self.agent.clear().await;
        if let Some(manager) = self.manager {
            manager.stop().await;
        }
        let network = self.dataplane.shutdown(true).await;
        self.parts.files.forget_swarm()?;
        network.context("the node's network was not all removed")
    }
}

async fn start_manager(
    parts: &Parts,
    membership: &Membership,
    credentials: &Arc<Credentials>,
    raft_id: u64,
    start: Start,
) -> Result<Manager> {
    let config = ManagerConfig {
        node: credentials.identity().peer().node,
        dir: parts.files.raft(),
        data_key: parts.files.key("raft.key")?,
        raft_id,
        listen: membership
            .listen
            .parse()
            .context("the address to listen on is damaged")?,
        advertise: membership.advertise.clone(),
        server_tls: credentials.server_config()?,
        client_tls: credentials.client_config()?,
        start,
    };
    Manager::start(config)
        .await
        .context("the manager does not start")
}
