//! A manager whose keys wait for somebody to unlock them.
//!
//! Its daemon can read neither the log nor the private key of its node: it has
//! no agent and no manager, only this place and the containers that their shims
//! hold.

use crate::files::Membership;
use crate::member::{self, Member};
use crate::node::{NOT_IN_SWARM, Standing, SwarmNode};
use anyhow::{Result, bail};
use skep_manager_ca::{PeerIdentity, parse_unlock_key};
use std::sync::Arc;

/// What everybody is told who asks about the swarm.
pub(crate) const LOCKED: &str = "Swarm is encrypted and needs to be unlocked before it can be \
                                 used. Please use \"skep swarm unlock\" to unlock it.";
const NOT_LOCKED: &str = "swarm is not locked";
const WRONG_KEY: &str = "swarm could not be unlocked: invalid key provided. If the unlock key was \
                         changed while this manager was down, it still needs the one from before; \
                         otherwise \"skep swarm unlock-key\" on another manager shows the key";
const LEAVE_LOCKED: &str = "Swarm is encrypted and locked. Please unlock it first or use `--force` \
                            to ignore this message.";

/// A node that is locked.
pub(crate) struct Locked {
    /// Its place in its swarm.
    pub(crate) membership: Membership,
    /// Who its certificate says it is.
    pub(crate) peer: PeerIdentity,
}

impl Locked {
    /// Leaves. The other managers cannot be told: only this node could prove
    /// who it is.
    pub(crate) async fn leave(&self, node: &SwarmNode) -> Result<()> {
        member::abandon(&node.parts, &self.membership, self.peer.node).await
    }
}

/// Whether a locked node may leave.
pub(crate) fn may_leave(force: bool) -> Result<()> {
    if !force {
        bail!(LEAVE_LOCKED);
    }
    Ok(())
}

impl SwarmNode {
    /// Starts a manager that is locked, with the key that a person typed.
    pub(crate) async fn unlock(&self, key: &str) -> Result<()> {
        let _turn = self.turns().await;
        let locked: Arc<Locked> = match self.standing() {
            Standing::Locked(locked) => locked,
            Standing::Member(_) => bail!(NOT_LOCKED),
            Standing::Outside => bail!(NOT_IN_SWARM),
        };
        if !self.parts.keyring.unlock(&parse_unlock_key(key)?)? {
            bail!(WRONG_KEY);
        }
        let member: Member = self.resumed(locked.membership.clone()).await?;
        tracing::info!("unlocked");
        self.follow(Arc::new(member));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::Door;
    use crate::local::LocalNode;
    use crate::member::start_manager;
    use crate::new_swarm::NewSwarm;
    use crate::node::tests::{outside, read};
    use pb::change::Change;
    use pb::control_server::Control as _;
    use pb::local_node_server::LocalNode as _;
    use skep_manager::{Manager, Start};
    use skep_manager_ca::{Credentials, unlock_key_text};
    use skep_proto::pb;
    use skep_types::{ClusterSpec, NodeSpec, UnlockKey};
    use std::net::{SocketAddr, TcpListener};
    use std::path::Path;
    use std::time::{Duration, Instant};

    fn free_address() -> SocketAddr {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    }

    fn new_swarm(autolock: bool) -> NewSwarm {
        let (address, spec) = (free_address(), ClusterSpec::default());
        NewSwarm::new(spec, address, address, NodeSpec::default(), autolock).unwrap()
    }

    async fn change(manager: &Manager, change: Change) {
        let request = pb::ChangeRequest {
            changes: vec![pb::Change {
                change: Some(change),
            }],
        };
        let control = manager.control();
        control.change(tonic::Request::new(request)).await.unwrap();
    }

    async fn unlock_key(manager: &Manager) -> String {
        let request = pb::ReadRequest {
            cluster: true,
            ..pb::ReadRequest::default()
        };
        read(manager, request).await.cluster.unwrap().unlock_key
    }

    /// Waits until a daemon that starts on this disk asks for this key, and for
    /// no other one; for none where it is empty.
    async fn sealed_under(dir: &Path, key: &str) {
        let begun = Instant::now();
        let files = crate::files::Files::new(&dir.join("data"));
        loop {
            let keyring = crate::keyring::Keyring::open(&files).unwrap();
            let opened = match key {
                "" => !keyring.is_locked(),
                key => {
                    keyring.is_locked() && keyring.unlock(&parse_unlock_key(key).unwrap()).unwrap()
                }
            };
            // The log is rewritten by then, too.
            if opened && keyring.data_keys().unwrap().1.is_empty() {
                return;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "not sealed under {key:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn a_manager_follows_autolock_and_starts_with_the_key_of_the_moment() {
        let dir = tempfile::tempdir().unwrap();
        let parts = outside(dir.path(), &[]).await.parts;
        let NewSwarm {
            identity,
            membership: mut place,
            start,
            ..
        } = new_swarm(false);
        parts.keyring.save(&identity, None).unwrap();
        let credentials = Credentials::new(identity).unwrap();
        let manager = start_manager(&parts, &place, &credentials, 1, start)
            .await
            .unwrap();
        place.has_log = true;
        assert_eq!(unlock_key(&manager).await, "");

        change(&manager, Change::SetAutolock(pb::SetAutolock { on: true })).await;
        let first = unlock_key(&manager).await;
        sealed_under(dir.path(), &first).await;
        change(&manager, Change::RotateUnlockKey(pb::RotateUnlockKey {})).await;
        let second = unlock_key(&manager).await;
        assert_ne!(first, second);
        sealed_under(dir.path(), &second).await;
        manager.stop().await;
        drop(parts);

        // The next daemon goes through what was agreed on: autolock off, the
        // first key, the second. Its keys stay sealed under the second.
        let parts = outside(dir.path(), &[]).await.parts;
        assert!(
            parts
                .keyring
                .unlock(&parse_unlock_key(&second).unwrap())
                .unwrap()
        );
        let start = Start::Member;
        let manager = start_manager(&parts, &place, &credentials, 1, start)
            .await
            .unwrap();
        assert_eq!(unlock_key(&manager).await, second);
        sealed_under(dir.path(), &second).await;
        change(&manager, Change::SetAutolock(pb::SetAutolock { on: false })).await;
        sealed_under(dir.path(), "").await;
        manager.stop().await;
    }

    #[tokio::test]
    async fn a_locked_node_says_so_until_it_is_unlocked() {
        let dir = tempfile::tempdir().unwrap();
        let parts = outside(dir.path(), &[]).await.parts;
        let NewSwarm {
            identity,
            membership,
            unlock,
            answer,
            ..
        } = new_swarm(true);
        parts.keyring.save(&identity, unlock.as_ref()).unwrap();
        parts.files.save(&membership).unwrap();
        drop(parts);

        let node = outside(dir.path(), &[]).await;
        let Door::Shut(refused) = node.parts.control.get() else {
            panic!("it can be asked about the swarm");
        };
        assert_eq!(refused, LOCKED);
        let local = LocalNode { node: node.clone() };
        let info = local.info(tonic::Request::new(pb::InfoRequest {})).await;
        let info = info.unwrap().into_inner();
        assert_eq!(
            (info.state.as_str(), info.error.as_str()),
            ("locked", LOCKED)
        );
        assert_eq!(info.node_id, skep_proto::id_bytes(identity.peer().node));
        assert_eq!(info.role(), pb::Role::Manager);

        let said = |result: Result<()>| result.unwrap_err().to_string();
        assert_eq!(said(node.leave(false).await), LEAVE_LOCKED);
        let again = pb::InitRequest::default();
        assert_eq!(
            said(node.init(again.clone()).await.map(drop)),
            crate::node::ALREADY
        );
        let anew = pb::InitRequest {
            force_new_cluster: true,
            ..again
        };
        assert_eq!(said(node.init(anew).await.map(drop)), LOCKED);
        assert!(said(node.unlock("SWMKEY-2").await).contains("invalid unlock key"));
        let other = unlock_key_text(&UnlockKey([1; 32]));
        assert_eq!(said(node.unlock(&other).await), WRONG_KEY);
        // The right one gets it as far as to its agent, which does not start: it
        // is locked still.
        drop((node, local));
        let node = outside(dir.path(), &["no equals sign"]).await;
        let key = answer.unlock_key;
        for key in [&key, &key] {
            assert!(said(node.unlock(key).await).contains("--label"));
            assert!(matches!(node.standing(), Standing::Locked(_)));
        }
        assert_eq!(said(node.unlock(&other).await), WRONG_KEY);
        let nobody = outside(&dir.path().join("other"), &[]).await;
        assert_eq!(said(nobody.unlock(&key).await), NOT_IN_SWARM);
    }
}
