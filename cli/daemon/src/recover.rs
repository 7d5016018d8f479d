//! Second chances of a swarm: backups, a swarm from a backup, and one made anew
//! by a manager that is left.

use crate::describe;
use crate::door::Door;
use crate::files::Membership;
use crate::local::BACKUP_MAX_BYTES;
use crate::lock::LOCKED;
use crate::new_swarm::first_node;
use crate::node::{Standing, SwarmNode, availability};
use crate::{address, sealed};
use anyhow::{Context, Result, anyhow, bail};
use prost::Message;
use skep_manager::{Backup, Control, Start, fresh_raft_id, validate_node};
use skep_manager_ca::{Authority, Request, Subject};
use skep_proto::{decode_snapshot, id_bytes, pb};
use skep_types::{Cluster, NodeSpec, Role, Timestamp};
use std::net::SocketAddr;
use std::time::SystemTime;

/// What is in the file of a backup, of which version.
const FORMAT: u32 = 1;

impl SwarmNode {
    /// Everything the swarm is, sealed under a passphrase.
    pub(crate) async fn backup(&self, request: pb::BackupRequest) -> Result<Vec<u8>> {
        if request.passphrase.is_empty() {
            bail!("a backup holds the keys of the swarm: it needs a passphrase");
        }
        let control = self.control()?;
        let backup = control.backup(request.stale).await;
        let Backup {
            version,
            at,
            snapshot,
        } = backup.map_err(|status| anyhow!("{}", status.message()))?;
        let content = pb::BackedUp {
            format: FORMAT,
            skep_version: describe::VERSION.to_owned(),
            at_ms: at.0,
            version,
            snapshot: snapshot.into(),
        };
        // The key is costly on purpose.
        let work = move || sealed::seal(&request.passphrase, &content.encode_to_vec());
        let file: Vec<u8> = tokio::task::spawn_blocking(work).await??;
        if file.len() > BACKUP_MAX_BYTES {
            // Better said now than when it is needed.
            bail!(
                "the state of this swarm takes {} MiB, and a backup of more than {} MiB cannot be \
                 restored",
                file.len() >> 20,
                BACKUP_MAX_BYTES >> 20
            );
        }
        Ok(file)
    }

    /// Makes this node the only manager of a swarm that was backed up.
    pub(crate) async fn restore(
        &self,
        settings: pb::RestoreSettings,
        file: Vec<u8>,
    ) -> Result<pb::InitResponse> {
        let _turn = self.turns().await;
        self.must_be_outside()?;
        let listen = address::listen(&settings.listen)?;
        let advertise = address::advertise(self.address_given(&settings.advertise), listen)?;
        let work = move || unsealed(&settings.passphrase, &file);
        let (backup, cluster) = tokio::task::spawn_blocking(work).await??;
        let raft_id = fresh_raft_id(cluster.last_raft_id);
        let of_node = NodeSpec {
            labels: settings.labels,
            availability: availability(settings.availability),
            ..NodeSpec::default()
        };
        validate_node(&of_node)?;
        let node = first_node(advertise, of_node);
        let authority = Authority::of(&cluster.root_ca)
            .context("the certificate authority in the backup cannot be used")?;
        let subject = Subject {
            node: node.id,
            role: Role::Manager,
            cluster: cluster.id,
        };
        let key = Request::generate()?;
        let life = cluster.spec.cert_expiry;
        let issued = authority.issue(key.pem(), &subject, life, SystemTime::now())?;
        let identity = key.complete(&issued.pem, authority.trusted().clone())?;
        let membership = Membership {
            listen: listen.to_string(),
            advertise: advertise.to_string(),
            interface: address::interface_of(advertise.ip()),
            managers: vec![advertise.to_string()],
            data_path_port: cluster.spec.data_path_port,
            raft_id: Some(raft_id),
            has_log: false,
            reform: None,
        };
        let start = Start::Restore {
            backup,
            node: Box::new(skep_types::Node {
                manager: None,
                ..node
            }),
        };
        let identity = (identity, cluster.unlock_key);
        let member = self.enter(membership, identity, start).await?;
        self.follow(member);
        self.initialised().await
    }

    /// Makes this manager the only one of its swarm.
    pub(crate) async fn init_anew(&self, request: pb::InitRequest) -> Result<pb::InitResponse> {
        let _turn = self.turns().await;
        let worker = "--force-new-cluster makes the swarm anew from what one of its managers \
                      knows, and this node is not one: run it on a manager that is left";
        if let Standing::Locked(_) = self.standing() {
            bail!(LOCKED);
        }
        let member = self.member().context(worker)?;
        let known = member.membership();
        if known.raft_id.is_none() {
            bail!(worker);
        }
        let listen: SocketAddr = match request.listen.as_str() {
            "" => known
                .listen
                .parse()
                .context("the address to listen on is damaged")?,
            given => address::listen(given)?,
        };
        let advertise: SocketAddr = match request.advertise.as_str() {
            // What the daemon was given is in it.
            "" => known
                .advertise
                .parse()
                .context("the advertised address is damaged")?,
            given => address::advertise(given, listen)?,
        };
        let place = Membership {
            listen: listen.to_string(),
            advertise: advertise.to_string(),
            interface: match advertise.to_string() == known.advertise {
                true => known.interface.clone(),
                false => address::interface_of(advertise.ip()),
            },
            ..known
        };
        member.reform(place).await?;
        self.initialised().await
    }

    fn control(&self) -> Result<Control> {
        match self.parts.control.get() {
            Door::Open(control) => Ok(control),
            Door::Shut(reason) => bail!(reason),
            Door::Absent => bail!("this node is not a manager: run this on one"),
        }
    }

    /// What the user is told of a swarm that this node is the first manager of.
    async fn initialised(&self) -> Result<pb::InitResponse> {
        use pb::control_server::Control as _;
        let request = pb::ReadRequest {
            cluster: true,
            ..pb::ReadRequest::default()
        };
        let read = self.control()?.read(tonic::Request::new(request)).await;
        let read = read.map_err(|status| anyhow!("{}", status.message()))?;
        let view = read
            .into_inner()
            .cluster
            .context("the swarm has no settings")?;
        let member = self.member().context("this node has left")?;
        Ok(pb::InitResponse {
            node_id: id_bytes(member.credentials.identity().peer().node),
            worker_token: view.worker_token,
            manager_token: view.manager_token,
            unlock_key: view.unlock_key,
            advertise: member.membership().advertise,
        })
    }
}

/// What is in the file of a backup. All of it is read before anything is made.
fn unsealed(passphrase: &str, file: &[u8]) -> Result<(Backup, Cluster)> {
    contents(&sealed::open(passphrase, file)?)
}

/// What a backup holds.
pub(crate) fn contents(content: &[u8]) -> Result<(Backup, Cluster)> {
    let pb::BackedUp {
        format,
        skep_version,
        at_ms,
        version,
        snapshot,
    } = pb::BackedUp::decode(content).context("the backup cannot be read")?;
    if format > FORMAT {
        bail!(
            "the backup was made by skep {skep_version} in format {format}, and this version \
             knows formats up to {FORMAT}; install the version that made it"
        );
    }
    let dump = decode_snapshot(&snapshot).with_context(|| {
        format!("the backup was made by skep {skep_version} and cannot be read")
    })?;
    let cluster = dump.cluster.context("the backup holds no swarm")?;
    let backup = Backup {
        version,
        at: Timestamp(at_ms),
        snapshot: snapshot.into(),
    };
    Ok((backup, Cluster::clone(&cluster)))
}
