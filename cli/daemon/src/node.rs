//! The node over its life: into a swarm, through its changes, out again.
//!
//! One lock covers these moves: a node is in one swarm at a time.

use crate::files::Membership;
use crate::member::{Member, Parts};
use crate::{address, describe, join, renew};
use anyhow::{Context, Result, anyhow, bail};
use skep_manager::{Start, first_actions};
use skep_manager_ca::{Identity, JoinToken, Request, Root, Subject};
use skep_proto::pb;
use skep_proto::pb::raft_client::RaftClient;
use skep_transport::{Channels, redirected_to};
use skep_types::{
    Availability, Cluster, ClusterId, ClusterSpec, JoinSecrets, ManagerStatus, Meta, Node,
    NodeDescription, NodeId, NodeSpec, NodeStatus, Role, RootCa,
};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::RwLock;

const ALREADY: &str = "This node is already part of a swarm. Use \"skep swarm leave\" to leave \
                       this swarm and join another one.";
/// How long a manager that leaves waits to be removed by the others.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(10);

const NOT_IN_SWARM: &str = "This node is not part of a swarm";

/// The node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SwarmNode {
    pub(crate) parts: Parts,
    pub(crate) member: Arc<RwLock<Option<Member>>>,
}

impl SwarmNode {
    /// Goes on where the node was, if it is in a swarm.
    pub(crate) async fn resume(parts: Parts) -> Result<SwarmNode> {
        let node = SwarmNode {
            parts: parts.clone(),
            member: Arc::default(),
        };
        if let Some(membership) = parts.files.load()? {
            let identity = Identity::load(&parts.files.certificates())?;
            if let Err(error) = identity.check_time(SystemTime::now()) {
                // Its containers go on; the managers will refuse it.
                tracing::error!(%error, "certificate");
            }
            let member = Member::start(parts, membership, identity, Start::Member).await?;
            *node.member.write().await = Some(member);
            renew::follow(node.clone()).await;
        }
        Ok(node)
    }

    /// Makes a swarm with this node as its first manager.
    pub(crate) async fn init(&self, request: pb::InitRequest) -> Result<pb::InitResponse> {
        let mut slot = self.member.write().await;
        if slot.is_some() {
            bail!(ALREADY);
        }
        if request.force_new_cluster {
            bail!("--force-new-cluster is not supported yet");
        }
        let availability = availability(request.availability);
        let listen = address::listen(&request.listen)?;
        let advertise = address::advertise(&request.advertise, listen)?;
        let spec = match request.spec {
            Some(spec) => spec.try_into().map_err(|error| anyhow!("{error}"))?,
            None => default_cluster_spec()?,
        };
        let now = SystemTime::now();
        let root = Root::generate(now)?;
        let node_id = NodeId::from_bits(rand::random());
        let cluster = new_cluster(&root, spec)?;
        let key = Request::generate()?;
        let subject = Subject {
            node: node_id,
            role: Role::Manager,
            cluster: cluster.id,
        };
        let issued = root.issue(key.pem(), &subject, cluster.spec.cert_expiry, now)?;
        let identity = key.complete(&issued.pem, root.certificate().clone())?;
        let membership = Membership {
            listen: listen.to_string(),
            advertise: advertise.to_string(),
            managers: vec![advertise.to_string()],
            data_path_port: cluster.spec.data_path_port,
            raft_id: Some(1),
        };
        let node = Node {
            id: node_id,
            meta: Meta::default(),
            spec: NodeSpec {
                role: Role::Manager,
                availability,
                ..NodeSpec::default()
            },
            description: NodeDescription {
                hostname: describe::hostname(),
                ..NodeDescription::default()
            },
            status: NodeStatus::default(),
            role: Role::Manager,
            manager: Some(ManagerStatus {
                raft_id: 1,
                address: advertise.to_string(),
            }),
            mesh: None,
        };
        let digest = root.certificate().digest();
        let token =
            |secret: &str| Ok::<_, anyhow::Error>(JoinToken::new(digest, secret)?.to_string());
        let response = pb::InitResponse {
            node_id: skep_proto::id_bytes(node_id),
            worker_token: token(&cluster.join_secrets.worker)?,
            manager_token: token(&cluster.join_secrets.manager)?,
            advertise: advertise.to_string(),
        };
        let start = Start::Bootstrap(first_actions(cluster, node));
        self.enter(&mut slot, membership, identity, start).await?;
        drop(slot);
        renew::follow(self.clone()).await;
        Ok(response)
    }

    /// Becomes part of an existing swarm.
    pub(crate) async fn join(
        &self,
        request: pb::JoinSwarmRequest,
    ) -> Result<pb::JoinSwarmResponse> {
        let mut slot = self.member.write().await;
        if slot.is_some() {
            bail!(ALREADY);
        }
        let listen = address::listen(&request.listen)?;
        let advertise = address::advertise(&request.advertise, listen)?;
        let managers: Vec<String> = request
            .managers
            .iter()
            .map(|manager| with_port(manager))
            .collect();
        let issue = pb::IssueRequest {
            availability: request.availability,
            hostname: describe::hostname(),
            ..pb::IssueRequest::default()
        };
        let joined = join::join(&request.token, &managers, issue).await?;
        let peer = joined.identity.peer();
        let membership = Membership {
            listen: listen.to_string(),
            advertise: advertise.to_string(),
            managers: vec![joined.manager],
            data_path_port: joined.data_path_port,
            raft_id: None,
        };
        self.enter(&mut slot, membership, joined.identity, Start::Member)
            .await?;
        if let (Role::Manager, Some(member)) = (peer.role, slot.as_mut())
            && let Err(error) = member.promote().await
        {
            // Half a manager is none.
            if let Some(member) = slot.take() {
                if let Err(error) = announce(&member).await {
                    tracing::warn!(%error, "the managers were not told");
                }
                if let Err(error) = member.leave().await {
                    tracing::error!(%error, "not all was taken back");
                }
            }
            return Err(error);
        }
        drop(slot);
        renew::follow(self.clone()).await;
        Ok(pb::JoinSwarmResponse {
            node_id: skep_proto::id_bytes(peer.node),
            role: pb::Role::from(peer.role).into(),
        })
    }

    /// Starts the roles and remembers the swarm; or leaves nothing behind.
    async fn enter(
        &self,
        slot: &mut Option<Member>,
        membership: Membership,
        identity: Identity,
        start: Start,
    ) -> Result<()> {
        let files = &self.parts.files;
        let entered = async {
            identity.save(&files.certificates())?;
            let member =
                Member::start(self.parts.clone(), membership.clone(), identity, start).await?;
            files.save(&membership)?;
            Ok::<_, anyhow::Error>(member)
        };
        match entered.await {
            Ok(member) => {
                *slot = Some(member);
                Ok(())
            }
            Err(error) => {
                if let Err(left) = files.forget_swarm() {
                    tracing::error!(error = %left, "not all was taken back");
                }
                Err(error)
            }
        }
    }

    /// Leaves the swarm.
    pub(crate) async fn leave(&self, force: bool) -> Result<()> {
        let mut slot = self.member.write().await;
        let member = slot.as_ref().context(NOT_IN_SWARM)?;
        if member.is_manager() && !force {
            bail!(
                "You are attempting to leave the swarm on a node that is participating as a \
                 manager. {} Use \"--force\" to leave anyway.",
                if member.membership.managers.len() <= 1 {
                    "Removing the last manager erases all current state of the swarm."
                } else {
                    "Demote it first with \"skep node demote self\", so that the others can agree \
                     to go on without it."
                }
            );
        }
        if let Err(error) = say_goodbye(member).await {
            // A swarm that is gone cannot be told.
            tracing::warn!(%error, "the managers were not told that this node leaves");
        }
        let Some(member) = slot.take() else {
            bail!(NOT_IN_SWARM)
        };
        member.leave().await
    }

    /// Ends this daemon's part; containers go on.
    pub(crate) async fn stop(&self) {
        if let Some(member) = self.member.write().await.take() {
            member.stop().await;
        }
    }
}

/// Has the others go on without this node at once: as a manager it loses its
/// seat first, then it is Down.
async fn say_goodbye(member: &Member) -> Result<()> {
    if member.is_manager() {
        announce(member).await?;
        // Its vote may be needed for its own removal.
        let mut told = member.told();
        let gone = told.wait_for(|told| {
            told.as_ref()
                .is_some_and(|told| told.node.role == Role::Worker)
        });
        if tokio::time::timeout(REMOVAL_TIMEOUT, gone).await.is_err() {
            bail!("the others have not yet removed this manager");
        }
    }
    // A session would be taken for a sign of life.
    member.disconnect();
    announce(member).await
}

async fn announce(member: &Member) -> Result<()> {
    let channels = Channels::new(member.credentials.client_config()?);
    let mut ask = member.membership.managers.clone();
    let mut last = anyhow!("no manager is known");
    for _ in 0..5 {
        let Some(manager) = ask.pop() else { break };
        let mut client = RaftClient::new(channels.to(&manager)?);
        let call = client.leave(pb::RaftLeaveRequest::default());
        match tokio::time::timeout(Duration::from_secs(3), call).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(status)) => {
                ask.extend(redirected_to(&status));
                last = anyhow!("{}", status.message());
            }
            Err(_) => last = anyhow!("{manager} does not answer"),
        }
    }
    Err(last)
}

fn availability(number: i32) -> Availability {
    match pb::Availability::try_from(number) {
        Ok(pb::Availability::Pause) => Availability::Pause,
        Ok(pb::Availability::Drain) => Availability::Drain,
        Ok(pb::Availability::Active) | Err(_) => Availability::Active,
    }
}

fn with_port(manager: &str) -> String {
    let has_port = manager
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port {
        manager.to_owned()
    } else {
        format!("{manager}:{}", address::CONTROL_PORT)
    }
}

fn new_cluster(root: &Root, spec: ClusterSpec) -> Result<Cluster> {
    Ok(Cluster {
        id: ClusterId::from_bits(rand::random()),
        meta: Meta::default(),
        spec,
        root_ca: RootCa {
            certificate: root.certificate().pem().to_owned(),
            key: root.key_pem(),
        },
        join_secrets: JoinSecrets {
            worker: JoinToken::new_secret()?,
            manager: JoinToken::new_secret()?,
        },
        blocked: BTreeMap::new(),
        last_raft_id: 0,
    })
}

/// Swarm's settings, but for the heartbeat: a silent node is to be replaced
/// within seconds.
fn default_cluster_spec() -> Result<ClusterSpec> {
    let pool = |address: Ipv4Addr, length: u8| {
        skep_types::cluster::subnet(address, length).context("a built-in subnet is wrong")
    };
    Ok(ClusterSpec {
        heartbeat: Duration::from_secs(1),
        task_history: 5,
        cert_expiry: Duration::from_secs(90 * 24 * 3600),
        address_pools: vec![pool(Ipv4Addr::new(10, 0, 0, 0), 8)?],
        subnet_length: 24,
        mesh_subnet: pool(Ipv4Addr::new(10, 255, 0, 0), 16)?,
        data_path_port: 51820,
    })
}
