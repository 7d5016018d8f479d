//! The node over its life: into a swarm, through its changes, out again.
//!
//! A node is in one swarm at a time, so these moves come one after another.
//! They wait for other nodes; who only wants to know how things are does not
//! wait for them.

use crate::door::Door;
use crate::farewell::{announce, say_goodbye, why_not_leave};
use crate::files::Membership;
use crate::join::Issued;
use crate::lock::{LOCKED, Locked, may_leave};
use crate::member::{Member, Parts};
use crate::new_swarm::NewSwarm;
use crate::{address, describe, join, renew};
use anyhow::{Context, Result, anyhow, bail};
use skep_manager::{Start, format};
use skep_manager_ca::{Credentials, StoredIdentity};
use skep_proto::pb;
use skep_types::{Availability, ClusterSpec, NodeSpec, Role};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, SystemTime};
use tokio::sync::{Mutex, MutexGuard};

pub(crate) const ALREADY: &str = "This node is already part of a swarm. Use \"skep swarm leave\" to leave \
                       this swarm and join another one.";
/// How long a daemon that stops waits for a move to end. One that is given up
/// is as one that a crash cut short.
const MOVE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long its parts may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) const NOT_IN_SWARM: &str = "This node is not part of a swarm";

/// The node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SwarmNode {
    pub(crate) parts: Parts,
    standing: Arc<RwLock<Standing>>,
    moves: Arc<Mutex<()>>,
}

/// How a node stands to a swarm.
#[derive(Clone, Default)]
pub(crate) enum Standing {
    /// It is in none.
    #[default]
    Outside,
    /// It is a manager that has to be unlocked before it can be one.
    Locked(Arc<Locked>),
    /// It takes part.
    Member(Arc<Member>),
}

impl SwarmNode {
    /// Goes on where the node was, if it is in a swarm.
    pub(crate) async fn resume(parts: Parts) -> Result<SwarmNode> {
        let node = SwarmNode {
            parts: parts.clone(),
            standing: Arc::default(),
            moves: Arc::default(),
        };
        let Some(membership) = parts.files.load()? else {
            return Ok(node);
        };
        let membership = at_home(&parts, membership)?;
        let peer = StoredIdentity::read(&parts.files.certificates())?.peer()?;
        match peer.role {
            Role::Manager if parts.keyring.is_locked() => {
                tracing::warn!("{LOCKED} The containers of this node go on meanwhile.");
                parts.control.set(Door::Shut(LOCKED.to_owned()));
                node.set(Standing::Locked(Arc::new(Locked { membership, peer })));
                return Ok(node);
            }
            // A demotion was cut short.
            Role::Worker if membership.raft_id.is_none() => parts.keyring.forget()?,
            Role::Manager | Role::Worker => {}
        }
        let member = node.resumed(membership).await?;
        node.follow(Arc::new(member));
        Ok(node)
    }

    /// Starts the roles of this node where it left them.
    pub(crate) async fn resumed(&self, membership: Membership) -> Result<Member> {
        let parts = self.parts.clone();
        let stored = StoredIdentity::read(&parts.files.certificates())?;
        let identity = parts.keyring.identity(&stored)?;
        if let Err(error) = identity.check_time(SystemTime::now()) {
            // Its containers go on; the managers will refuse it.
            tracing::error!(%error, "certificate");
        }
        let member = Member::start(parts, membership.clone(), identity, Start::Member).await?;
        if member.membership() != membership
            && let Err(error) = member.save()
        {
            member.stop().await;
            return Err(error);
        }
        Ok(member)
    }

    /// How this node stands to a swarm.
    pub(crate) fn standing(&self) -> Standing {
        let standing = self.standing.read();
        standing.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// This node's part in its swarm, if it is in one.
    pub(crate) fn member(&self) -> Option<Arc<Member>> {
        match self.standing() {
            Standing::Member(member) => Some(member),
            Standing::Outside | Standing::Locked(_) => None,
        }
    }

    fn set(&self, standing: Standing) {
        let present = self.standing.write();
        *present.unwrap_or_else(PoisonError::into_inner) = standing;
    }

    /// # Errors
    /// If this node is in a swarm, locked or not.
    pub(crate) fn must_be_outside(&self) -> Result<()> {
        match self.standing() {
            Standing::Outside => Ok(()),
            Standing::Locked(_) | Standing::Member(_) => bail!(ALREADY),
        }
    }

    /// Is this member from now on, and goes with its swarm.
    pub(crate) fn follow(&self, member: Arc<Member>) {
        self.set(Standing::Member(member.clone()));
        renew::follow(self.clone(), &member);
    }

    /// Waits until no move is under way, and has none begin.
    pub(crate) async fn turns(&self) -> MutexGuard<'_, ()> {
        self.moves.lock().await
    }

    /// Waits until no move is under way, and has none begin. `None` when the
    /// node is not this member any more.
    pub(crate) async fn turn(
        &self,
        member: &Weak<Member>,
    ) -> Option<(MutexGuard<'_, ()>, Arc<Member>)> {
        let turn = self.moves.lock().await;
        let member = self
            .member()
            .filter(|present| std::ptr::eq(Arc::as_ptr(present), member.as_ptr()))?;
        Some((turn, member))
    }

    /// The address to advertise that the user gave, with the command or with the
    /// daemon.
    pub(crate) fn address_given<'a>(&'a self, command: &'a str) -> &'a str {
        match command {
            "" => &self.parts.args.advertise_addr,
            given => given,
        }
    }

    /// Makes a swarm with this node as its first manager.
    pub(crate) async fn init(&self, request: pb::InitRequest) -> Result<pb::InitResponse> {
        if request.force_new_cluster {
            return self.init_anew(request).await;
        }
        let _turn = self.moves.lock().await;
        self.must_be_outside()?;
        let of_node = NodeSpec {
            labels: request.labels,
            availability: availability(request.availability),
            ..NodeSpec::default()
        };
        let listen = address::listen(&request.listen)?;
        let advertise = address::advertise(self.address_given(&request.advertise), listen)?;
        let spec = match request.spec {
            Some(spec) => spec.try_into().map_err(|error| anyhow!("{error}"))?,
            None => ClusterSpec::default(),
        };
        let NewSwarm {
            identity,
            membership,
            unlock,
            start,
            answer,
        } = NewSwarm::new(spec, listen, advertise, of_node, request.autolock)?;
        let identity = (identity, unlock);
        let member = self.enter(membership, identity, start).await?;
        self.follow(member);
        Ok(answer)
    }

    /// Becomes part of an existing swarm.
    pub(crate) async fn join(
        &self,
        request: pb::JoinSwarmRequest,
    ) -> Result<pb::JoinSwarmResponse> {
        let _turn = self.moves.lock().await;
        self.must_be_outside()?;
        let listen = address::listen(&request.listen)?;
        let advertise = address::advertise(self.address_given(&request.advertise), listen)?;
        let managers: Vec<String> = request
            .managers
            .iter()
            .map(|manager| with_port(manager))
            .collect();
        let issue = pb::IssueRequest {
            availability: request.availability,
            labels: request.labels,
            hostname: describe::hostname(),
            format: format::NEWEST.0,
            version: format::VERSION.to_owned(),
            ..pb::IssueRequest::default()
        };
        let joined = join::join(&request.token, &managers, issue).await?;
        let peer = joined.issued.0.peer();
        let membership = Membership {
            listen: listen.to_string(),
            advertise: advertise.to_string(),
            interface: address::interface_of(advertise.ip()),
            managers: vec![joined.manager],
            data_path_port: joined.data_path_port,
            raft_id: None,
            has_log: false,
            reform: None,
        };
        let entered = async {
            let identity = joined.issued.clone();
            let member = self
                .enter(membership.clone(), identity, Start::Member)
                .await?;
            if let Err(error) = member.settle(None).await {
                // Half a manager is none.
                if let Err(error) = member.leave().await {
                    tracing::error!(%error, "not all was taken back");
                }
                return Err(error);
            }
            // Whoever joined managers counts on their votes.
            member.seated().await;
            Ok(member)
        };
        match entered.await {
            Ok(member) => self.follow(member),
            Err(error) => {
                // The managers know a node by now that will never come.
                let credentials = Credentials::new(joined.issued.0)?;
                if let Err(error) = announce(&credentials, membership.managers).await {
                    tracing::warn!(%error, "the managers were not told");
                }
                return Err(error);
            }
        }
        Ok(pb::JoinSwarmResponse {
            node_id: skep_proto::id_bytes(peer.node),
            role: pb::Role::from(peer.role).into(),
        })
    }

    /// Starts the roles and remembers the swarm; or leaves nothing behind.
    pub(crate) async fn enter(
        &self,
        membership: Membership,
        (identity, unlock): Issued,
        start: Start,
    ) -> Result<Arc<Member>> {
        let parts = &self.parts;
        let entered = async {
            // What a move left behind that was cut short.
            parts.forget_swarm()?;
            parts.keyring.save(&identity, unlock.as_ref())?;
            let member = Member::start(self.parts.clone(), membership, identity, start).await?;
            if let Err(error) = member.save() {
                member.stop().await;
                return Err(error);
            }
            Ok(Arc::new(member))
        };
        let entered = entered.await;
        if entered.is_err()
            && let Err(left) = parts.forget_swarm()
        {
            tracing::error!(error = %left, "not all was taken back");
        }
        entered
    }

    /// Leaves the swarm.
    pub(crate) async fn leave(&self, force: bool) -> Result<()> {
        let _turn = self.moves.lock().await;
        let member = match self.standing() {
            Standing::Member(member) => member,
            Standing::Outside => bail!(NOT_IN_SWARM),
            Standing::Locked(locked) => {
                may_leave(force)?;
                let left = locked.leave(self).await;
                self.outside();
                return left;
            }
        };
        if member.is_manager() && !force {
            bail!(why_not_leave(self.parts.control.get()).await);
        }
        if let Err(error) = say_goodbye(&member).await {
            // A swarm that is gone cannot be told.
            tracing::warn!(%error, "the managers were not told that this node leaves");
        }
        let left = member.leave().await;
        self.outside();
        left
    }

    fn outside(&self) {
        self.parts.control.set(Door::Absent);
        self.set(Standing::Outside);
    }

    /// Ends this daemon's part; containers go on.
    pub(crate) async fn stop(&self) {
        let turn = tokio::time::timeout(MOVE_TIMEOUT, self.moves.lock()).await;
        if turn.is_err() {
            tracing::warn!("a join, a leave or a change of role under way is given up");
        }
        if let Some(member) = self.member() {
            if tokio::time::timeout(STOP_TIMEOUT, member.stop())
                .await
                .is_err()
            {
                tracing::warn!("not all of this node's parts ended in time");
            }
            self.set(Standing::Outside);
        }
    }
}

/// The node's place, at the address that this machine has now.
fn at_home(parts: &Parts, membership: Membership) -> Result<Membership> {
    let old: SocketAddr = membership
        .advertise
        .parse()
        .context("the advertised address is damaged")?;
    let given = &parts.args.advertise_addr;
    let advertise = address::present(old, membership.interface.as_deref(), given);
    let advertise = advertise.unwrap_or_else(|error| {
        // An interface may come up later; the containers go on meanwhile.
        let error = format!("{error:#}");
        tracing::error!(error, address = %old, "this node keeps the address it had");
        old
    });
    if advertise == old {
        return Ok(membership);
    }
    tracing::info!(%old, new = %advertise, "this machine has another address now");
    let listen: SocketAddr = membership
        .listen
        .parse()
        .context("the address to listen on is damaged")?;
    let listen = match listen.ip() == old.ip() {
        true => SocketAddr::new(advertise.ip(), listen.port()),
        false => listen,
    };
    let membership = Membership {
        listen: listen.to_string(),
        advertise: advertise.to_string(),
        interface: address::interface_of(advertise.ip()),
        ..membership
    };
    parts.files.save(&membership)?;
    Ok(membership)
}

pub(crate) fn availability(number: i32) -> Availability {
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::args::DaemonArgs;
    use crate::files::Files;
    use crate::keyring::Keyring;
    use crate::local::LocalNode;
    use crate::member::start_manager;
    use pb::control_server::Control as _;
    use pb::local_node_server::LocalNode as _;
    use skep_agent_images::{ImageStore, RegistryConfig};
    use skep_agent_runtime::{Runtime, RuntimeConfig};
    use skep_manager::Manager;
    use skep_manager_ca::{JoinToken, Root};
    use std::path::Path;
    use std::time::Instant;
    use tokio::net::TcpListener;
    use tonic::Code;

    pub(crate) async fn outside(dir: &Path, labels: &[&str]) -> SwarmNode {
        let (data_dir, run_dir) = (dir.join("data"), dir.join("run"));
        let files = Files::new(&data_dir);
        let runtime = Runtime::open(RuntimeConfig {
            data_dir: data_dir.clone(),
            run_dir: run_dir.clone(),
            shim: dir.join("skep-shim"),
            open_files: None,
            cgroup_parent: "skep-test".to_owned(),
        });
        let args = DaemonArgs {
            data_dir,
            run_dir,
            host: String::new(),
            advertise_addr: String::new(),
            registry_mirror: Vec::new(),
            insecure_registry: Vec::new(),
            labels: labels.iter().map(ToString::to_string).collect(),
            system_reserve: String::new(),
            node_generic_resource: Vec::new(),
            shim: None,
            log: String::new(),
        };
        let parts = Parts {
            args: Arc::new(args),
            images: ImageStore::open(&files.images(), RegistryConfig::default()).unwrap(),
            keyring: Keyring::open(&files).unwrap(),
            files,
            runtime: runtime.unwrap(),
            control: Default::default(),
        };
        SwarmNode::resume(parts).await.unwrap()
    }

    /// On a busy machine there may be no leader for a moment.
    pub(crate) async fn read(manager: &Manager, request: pb::ReadRequest) -> pb::ReadResponse {
        let (control, begun) = (manager.control(), Instant::now());
        loop {
            match control.read(tonic::Request::new(request.clone())).await {
                Ok(read) => return read.into_inner(),
                Err(refused) => assert!(
                    refused.code() == Code::Unavailable
                        && begun.elapsed() < Duration::from_secs(30),
                    "{refused}"
                ),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn a_join_under_way_holds_up_neither_questions_nor_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let node = outside(dir.path(), &[]).await;
        // Accepts connections, and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let manager = silent.local_addr().unwrap().to_string();
        let token = JoinToken::new(
            Root::generate(SystemTime::now())
                .unwrap()
                .certificate()
                .digest(),
            &JoinToken::new_secret().unwrap(),
        );
        let request = pb::JoinSwarmRequest {
            token: token.unwrap().to_string(),
            // It is done with one after three seconds.
            managers: vec![manager; 10],
            listen: "127.0.0.1:0".to_owned(),
            ..pb::JoinSwarmRequest::default()
        };
        let joining = node.clone();
        let join = tokio::spawn(async move { joining.join(request).await });
        let (_connection, _) = silent.accept().await.unwrap();

        let asked = Instant::now();
        let local = LocalNode { node: node.clone() };
        let info = local.info(tonic::Request::new(pb::InfoRequest {})).await;
        assert_eq!(info.unwrap().into_inner().state, "inactive");
        assert!(!join.is_finished());
        node.stop().await;
        assert!(asked.elapsed() < MOVE_TIMEOUT + Duration::from_secs(12));
    }

    #[tokio::test]
    async fn a_swarm_that_cannot_be_made_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        // The manager starts; the agent does not get to.
        let node = outside(dir.path(), &["no equals sign"]).await;
        let listen = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listen.local_addr().unwrap().to_string();
        drop(listen);
        let request = pb::InitRequest {
            listen: address.clone(),
            ..pb::InitRequest::default()
        };
        let refused = node.init(request).await.unwrap_err();
        assert!(refused.to_string().contains("--label"), "{refused:#}");
        assert!(node.member().is_none() && matches!(node.parts.control.get(), Door::Absent));
        assert!(!node.parts.files.raft().exists());
        TcpListener::bind(&address).await.unwrap();
    }

    #[tokio::test]
    async fn a_node_that_cannot_enter_says_so_to_the_managers() {
        let dir = tempfile::tempdir().unwrap();
        let first = outside(&dir.path().join("first"), &[]).await;
        let listen = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listen.local_addr().unwrap();
        drop(listen);
        let spec = ClusterSpec::default();
        let swarm = NewSwarm::new(spec, address, address, NodeSpec::default(), false).unwrap();
        let credentials = Credentials::new(swarm.identity).unwrap();
        let manager = start_manager(
            &first.parts,
            &swarm.membership,
            &credentials,
            1,
            swarm.start,
        );
        let manager = manager.await.unwrap();

        // It gets its certificate; its agent does not start.
        let second = outside(&dir.path().join("second"), &["no equals sign"]).await;
        let request = pb::JoinSwarmRequest {
            token: swarm.answer.manager_token,
            managers: vec![address.to_string()],
            listen: "127.0.0.1:0".to_owned(),
            ..pb::JoinSwarmRequest::default()
        };
        let refused = second.join(request).await.unwrap_err();
        assert!(refused.to_string().contains("--label"), "{refused:#}");
        let request = pb::ReadRequest {
            nodes: true,
            ..pb::ReadRequest::default()
        };
        let nodes = read(&manager, request).await.nodes.into_iter();
        let statuses = nodes.filter_map(|view| view.node?.status);
        let gone: Vec<_> = statuses
            .filter(|status| status.state() == pb::NodeState::Down)
            .collect();
        assert_eq!(gone.len(), 1, "{gone:?}");
        assert_eq!(gone[0].message, "left the swarm");
        manager.stop().await;
    }
}
