//! Rotation of the root CA: when it ends, and what time makes meaningless.
//!
//! A rotation begins with a change that a user asks for (`rpc/change.rs`): the
//! store then holds a next root, certificates are issued under it, and every
//! session tells its node whom to trust and so to renew. Here it is ended, once
//! every node that answers has followed. Nodes that do not answer are left
//! behind: what they last showed stays good until it expires
//! (`admission.rs`).

use crate::shared::Shared;
use rustls::pki_types::CertificateDer;
use skep_manager_ca::{Authority, CaBundle, Digest, JoinToken, fingerprint, rotated};
use skep_manager_store::{Action, ClusterAction, Snapshot};
use skep_types::{Cluster, JoinSecrets, NodeState, NodeTls, RootCa, Timestamp};
use std::time::Duration;

/// Pause after a step that could not be agreed on.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Time is looked at this often at least.
const LOOK: Duration = Duration::from_secs(3600);

/// The next thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The next root takes the present one's place. So many nodes did not
    /// answer and are left behind.
    Flip {
        /// How many.
        left_behind: usize,
    },
    /// Something in the cluster object has no use any more.
    Prune,
    /// Nothing, until then at most.
    Wait(Option<Timestamp>),
}

/// Works until it is dropped. Run by the leader only.
pub(crate) async fn run(shared: Shared) {
    let mut changes = shared.state.changes();
    loop {
        changes.borrow_and_update();
        let (snapshot, now) = (shared.state.snapshot(), shared.state.now());
        let pause = match next(&snapshot, now) {
            Step::Wait(until) => until.map_or(LOOK, |until| until.since(now).min(LOOK)),
            step => match take(&shared, &snapshot, step, now).await {
                Ok(()) => continue,
                Err(error) => {
                    tracing::warn!(?step, %error, "rotation of the root CA goes on later");
                    tokio::time::sleep(AFTER_FAILURE).await;
                    continue;
                }
            },
        };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn next(snapshot: &Snapshot, now: Timestamp) -> Step {
    let Some(cluster) = snapshot.cluster() else {
        return Step::Wait(None);
    };
    if let Some(root) = &cluster.root_ca.next
        && let Ok(root) = CaBundle::from_pem(&root.certificate)
        && let Some(left_behind) = left_behind(snapshot, root.newest())
    {
        return Step::Flip { left_behind };
    }
    let former = cluster.root_ca.former.iter().map(|root| root.until);
    match cluster.blocked.values().copied().chain(former).min() {
        Some(first) if first <= now => Step::Prune,
        first => Step::Wait(first),
    }
}

/// How many nodes have not followed to this root because they are down; `None`
/// while one that is not has still to follow.
fn left_behind(snapshot: &Snapshot, root: Digest) -> Option<usize> {
    let mut behind = 0;
    for node in snapshot.nodes() {
        if node.description.tls.issuer == root {
            continue;
        }
        if node.status.state != NodeState::Down {
            return None;
        }
        behind += 1;
    }
    Some(behind)
}

async fn take(
    shared: &Shared,
    snapshot: &Snapshot,
    step: Step,
    now: Timestamp,
) -> Result<(), String> {
    let Some(cluster) = snapshot.cluster() else {
        return Ok(());
    };
    let actions = match step {
        Step::Flip { left_behind } => {
            tracing::info!(
                left_behind,
                "the new root CA takes the place of the old one"
            );
            flip(cluster, now)?
        }
        Step::Prune => vec![Action::Cluster(ClusterAction::Prune)],
        Step::Wait(_) => return Ok(()),
    };
    match shared.propose_all(&actions).await {
        // Somebody else changed the cluster object: plan again.
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// The tokens pin the root, and whoever held the old ones may hold its key.
fn flip(cluster: &Cluster, now: Timestamp) -> Result<Vec<Action>, String> {
    let version = cluster.meta.version;
    let root_ca = rotated(&cluster.root_ca, cluster.all_certificates_end(now))
        .ok_or("there is no next root CA")?;
    let secret = || JoinToken::new_secret().map_err(|error| error.to_string());
    let secrets = JoinSecrets {
        worker: secret()?,
        manager: secret()?,
    };
    Ok(vec![
        Action::Cluster(ClusterAction::SetRootCa { version, root_ca }),
        Action::Cluster(ClusterAction::SetJoinSecrets { version, secrets }),
    ])
}

/// What a node proved itself with, for the store: `known` is what the store
/// has, `said` what the node says itself.
pub(crate) fn tls_of(
    root_ca: &RootCa,
    certificate: &CertificateDer<'_>,
    known: NodeTls,
    said: NodeTls,
) -> NodeTls {
    let shown = fingerprint(certificate);
    // Found out once for each certificate: it takes a signature check.
    let issuer = if known.certificate == shown && known.issuer != [0; 32] {
        known.issuer
    } else {
        match Authority::of(root_ca) {
            Ok(authority) => authority.issuer_of(certificate).unwrap_or_default(),
            Err(error) => {
                tracing::error!(%error, "the root CA in the store cannot be used");
                [0; 32]
            }
        }
    };
    NodeTls {
        issuer,
        certificate: shown,
        trusted: said.trusted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::swarm;
    use skep_manager_ca::next_root;
    use skep_manager_store::{NodeAction, Store};
    use skep_types::{
        Client, ClientRole, FormerRoot, Meta, Node, NodeId, NodeStatus, Role, Version,
    };
    use std::time::SystemTime;

    /// A swarm in which a rotation goes on.
    struct Rotating {
        store: Store,
        old: Digest,
        new: Digest,
    }

    impl Rotating {
        fn begin() -> Rotating {
            let mut cluster = swarm();
            let next = next_root(&cluster.root_ca, None, SystemTime::now()).unwrap();
            let digest = |pem: &str| CaBundle::from_pem(pem).unwrap().newest();
            let (old, new) = (
                digest(&cluster.root_ca.certificate),
                digest(&next.certificate),
            );
            cluster.root_ca.next = Some(next);
            let mut store = Store::new();
            let create = Action::Cluster(ClusterAction::Create(Box::new(cluster)));
            store.apply(Version(1), Timestamp(1), &[create]);
            Rotating { store, old, new }
        }

        /// A node with this certificate, in this state.
        fn node(mut self, issuer: Digest, state: NodeState) -> Rotating {
            let version = self.store.version();
            let mut node = Node {
                id: NodeId::from_bits(u128::from(version.0)),
                meta: Meta::default(),
                spec: Default::default(),
                description: Default::default(),
                status: NodeStatus {
                    state,
                    ..NodeStatus::default()
                },
                role: Role::Worker,
                role_since: Timestamp(0),
                drain_since: None,
                manager: None,
                mesh: None,
            };
            node.description.tls.issuer = issuer;
            let create = Action::Node(NodeAction::Create(Box::new(node)));
            self.store
                .apply(Version(version.0 + 1), Timestamp(2), &[create]);
            self
        }

        fn next(&self) -> Step {
            next(&self.store.snapshot(), Timestamp(1000))
        }
    }

    #[test]
    fn a_rotation_waits_for_every_node_that_answers() {
        let begun = Rotating::begin();
        let (old, new) = (begun.old, begun.new);
        let half = begun
            .node(new, NodeState::Ready)
            .node(old, NodeState::Ready);
        assert_eq!(half.next(), Step::Wait(None));
        let joining = Rotating::begin();
        let new = joining.new;
        let joining = joining
            .node(new, NodeState::Ready)
            .node([0; 32], NodeState::Unknown);
        assert_eq!(
            joining.next(),
            Step::Wait(None),
            "it may have joined just now"
        );
    }

    #[test]
    fn a_node_that_is_down_is_left_behind_once_the_others_are_done() {
        let begun = Rotating::begin();
        let (old, new) = (begun.old, begun.new);
        let done = begun
            .node(new, NodeState::Ready)
            .node(old, NodeState::Down)
            .node(new, NodeState::Down);
        assert_eq!(done.next(), Step::Flip { left_behind: 1 });
        // It came back before the end: it follows like the others.
        let back = done.node(old, NodeState::Ready);
        assert_eq!(back.next(), Step::Wait(None));
    }

    #[test]
    fn a_replaced_root_is_known_as_long_as_certificates_of_clients_live() {
        let mut begun = Rotating::begin();
        let version = begun.store.version();
        let client = Client {
            role: ClientRole::Admin,
            certificate: [1; 32],
            created_at: Timestamp(1),
            until: Timestamp(u64::MAX / 2),
        };
        let clients = [("alice".to_owned(), client)].into();
        let set = [Action::Cluster(ClusterAction::SetClients {
            version,
            clients,
        })];
        let applied = begun.store.apply(Version(2), Timestamp(2), &set);
        applied.into_result().unwrap();
        let cluster = begun.store.snapshot().cluster().cloned().unwrap();
        let actions = flip(&cluster, Timestamp(50)).unwrap();
        let Action::Cluster(ClusterAction::SetRootCa { root_ca, .. }) = &actions[0] else {
            panic!("{actions:?}");
        };
        assert_eq!(root_ca.former[0].until, Timestamp(u64::MAX / 2));
        // Removed nodes are not remembered for longer because of them.
        assert!(cluster.certificates_end(Timestamp(50)) < Timestamp(u64::MAX / 2));
    }

    #[test]
    fn the_end_changes_root_and_tokens_together_or_not_at_all() {
        let begun = Rotating::begin();
        let new = begun.new;
        let mut done = begun.node(new, NodeState::Ready);
        let before = done.store.snapshot();
        let before = before.cluster().unwrap();
        let actions = flip(before, Timestamp(50)).unwrap();
        let mut stale = Store::load(done.store.snapshot().dump());
        let touch = ClusterAction::SetJoinSecrets {
            version: before.meta.version,
            secrets: before.join_secrets.clone(),
        };
        stale.apply(Version(50), Timestamp(50), &[Action::Cluster(touch)]);
        let refused = stale.apply(Version(51), Timestamp(51), &actions);
        assert!(refused.results.iter().all(Result::is_err));

        let applied = done.store.apply(Version(50), Timestamp(50), &actions);
        applied.into_result().unwrap();
        let after = done.store.snapshot();
        let after = after.cluster().unwrap();
        assert_eq!(after.root_ca.next, None);
        assert_ne!(after.join_secrets.worker, before.join_secrets.worker);
        assert_ne!(after.join_secrets.manager, before.join_secrets.manager);
        let until = before.certificates_end(Timestamp(50));
        let [
            FormerRoot {
                certificate,
                until: kept,
                ..
            },
        ] = after.root_ca.former.as_slice()
        else {
            panic!("{:?}", after.root_ca);
        };
        assert_eq!((certificate, *kept), (&before.root_ca.certificate, until));
        // It is forgotten when all that was issued under it has ended.
        assert_eq!(done.next(), Step::Wait(Some(until)));
        assert_eq!(next(&done.store.snapshot(), until), Step::Prune);
        let prune = [Action::Cluster(ClusterAction::Prune)];
        done.store.apply(Version(60), until, &prune);
        assert_eq!(next(&done.store.snapshot(), until), Step::Wait(None));
    }
}
