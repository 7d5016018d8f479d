//! What the managers said of the swarm's network, on disk: a node that finds none of
//! them after its start makes its network by it, so that its tasks run again.
//!
//! Networks, peers and services only. What tasks use beside them may be secret, and is
//! never written.

use bytes::BytesMut;
use ipnet::Ipv4Net;
use prost::Message;
use skep_proto::pb;
use skep_types::assignment::{AssignmentChange, AssignmentSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Least time between two writes: of a large swarm something is new all the time.
const PAUSE: Duration = Duration::from_secs(60);

/// What was said, and the addresses of the mesh.
pub(crate) type Said = (Arc<AssignmentSet>, Ipv4Net);

/// The file.
#[derive(Clone)]
pub(crate) struct Kept(PathBuf);

impl Kept {
    pub(crate) fn at(path: PathBuf) -> Kept {
        Kept(path)
    }

    /// What was written last; `None` if that is nothing that can be read.
    pub(crate) fn load(&self) -> Option<Said> {
        let bytes = match fs::read(&self.0) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %self.0.display(), %error, "file not read");
                return None;
            }
        };
        let said = decode(&bytes);
        if let Err(error) = &said {
            tracing::warn!(path = %self.0.display(), %error, "file not used");
        }
        said.ok()
    }

    /// Writes whatever is new, for as long as something may be.
    pub(crate) async fn follow(self, mut said: watch::Receiver<Option<Said>>) {
        let mut written: Option<Said> = None;
        while said.changed().await.is_ok() {
            let now = said.borrow_and_update().clone();
            let Some(now) =
                now.filter(|now| !written.as_ref().is_some_and(|old| is_same(old, now)))
            else {
                continue;
            };
            let (kept, new) = (self.clone(), now.clone());
            let done = tokio::task::spawn_blocking(move || kept.write(&new)).await;
            match done {
                Ok(Ok(())) => written = Some(now),
                Ok(Err(error)) => {
                    tracing::warn!(path = %self.0.display(), %error, "file not written");
                }
                Err(cut) => tracing::warn!(%cut, "file not written"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn write(&self, said: &Said) -> io::Result<()> {
        let aside = self.0.with_extension("network-new");
        let mut file = File::create(&aside)?;
        file.write_all(&encode(said))?;
        file.sync_data()?;
        fs::rename(&aside, &self.0)
    }
}

fn is_same((old, old_mesh): &Said, (new, new_mesh): &Said) -> bool {
    old_mesh == new_mesh
        && old.networks == new.networks
        && old.peers == new.peers
        && old.services == new.services
}

fn encode((set, mesh): &Said) -> BytesMut {
    let networks = set.networks.iter();
    let networks = networks.map(|(id, it)| AssignmentChange::Network(*id, Some(it.clone())));
    let peers = set.peers.iter();
    let peers = peers.map(|(id, it)| AssignmentChange::Peer(*id, Some(it.clone())));
    let services = set.services.iter();
    let services = services.map(|(id, it)| AssignmentChange::Service(*id, Some(it.clone())));
    let changes = networks.chain(peers).chain(services);
    let welcome = pb::Welcome {
        mesh_subnet: mesh.to_string(),
        ..pb::Welcome::default()
    };
    let message = pb::AssignmentsMessage {
        complete: true,
        changes: changes.map(|change| (&change).into()).collect(),
        ..pb::AssignmentsMessage::default()
    };
    let mut bytes = BytesMut::from(welcome.encode_length_delimited_to_vec().as_slice());
    bytes.extend_from_slice(&message.encode_to_vec());
    bytes
}

fn decode(mut bytes: &[u8]) -> Result<Said, String> {
    let wrong = |error: prost::DecodeError| error.to_string();
    let welcome = pb::Welcome::decode_length_delimited(&mut bytes).map_err(wrong)?;
    let message = pb::AssignmentsMessage::decode(bytes).map_err(wrong)?;
    let mesh = welcome
        .mesh_subnet
        .parse()
        .map_err(|_| format!("{:?} is no subnet", welcome.mesh_subnet))?;
    let mut set = AssignmentSet::default();
    for change in message.changes {
        let change = AssignmentChange::try_from(change).map_err(|error| error.to_string())?;
        set.apply(change);
    }
    Ok((Arc::new(set), mesh))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_types::assignment::{Peer, ServiceView};
    use skep_types::{NodeId, Secret, SecretId, SecretSpec, ServiceId};

    fn said() -> Said {
        let mut set = AssignmentSet::default();
        let id = NodeId::from_bits(1);
        let peer = Peer {
            id,
            hostname: "n1".to_owned(),
            public_key: [7; 32],
            endpoint: ([127, 0, 0, 1], 51820).into(),
            mesh: [100, 64, 0, 1].into(),
        };
        set.peers.insert(id, Arc::new(peer));
        let view = ServiceView {
            name: "web".to_owned(),
            ..ServiceView::default()
        };
        set.services.insert(ServiceId::from_bits(2), Arc::new(view));
        (Arc::new(set), "100.64.0.0/16".parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_said_of_the_network_is_found_again_and_no_secret_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tasks.network");
        let kept = Kept::at(path.clone());
        assert!(kept.load().is_none());
        let (sender, receiver) = watch::channel(None);
        let writer = tokio::spawn(kept.clone().follow(receiver));
        let (mut set, mesh) = said();
        let id = SecretId::from_bits(3);
        let secret = Secret {
            id,
            meta: Default::default(),
            spec: SecretSpec {
                data: Arc::from(*b"hunter2"),
                ..SecretSpec::default()
            },
            generation: 1,
            superseded_at: None,
        };
        Arc::make_mut(&mut set).secrets.insert(id, Arc::new(secret));
        sender.send_replace(Some((set, mesh)));
        while kept.load().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(kept.load(), Some(said()));
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"));
        // Spoilt, it is as good as none.
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(kept.load().is_none());
        writer.abort();
    }
}
