//! Whom this manager lets in: what the store says of removed nodes, of clients and of
//! those that missed a rotation of the root CA, made to count at the port, for
//! new connections and for those that stand.

use crate::machine::State;
use crate::rpc::client;
use rustls::pki_types::CertificateDer;
use skep_manager_ca::{
    CaBundle, CaError, ClientIdentity, Credentials, Digest, Excused, PeerIdentity, former_roots,
    trusted_pem,
};
use skep_manager_store::Snapshot;
use skep_proto::id_bytes;
use skep_transport::Recheck;
use skep_types::NodeId;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;

/// What the store says of whom to let in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Exceptions {
    /// Refused.
    removed: BTreeSet<NodeId>,
    /// Roots that were replaced.
    former: Option<CaBundle>,
    /// Certificates that are good although they are not under a present root.
    excused: BTreeSet<Digest>,
    /// Those of clients; all others of theirs are refused.
    clients: BTreeSet<Digest>,
}

impl Exceptions {
    fn of(snapshot: &Snapshot) -> Result<Self, CaError> {
        let Some(cluster) = snapshot.cluster() else {
            return Ok(Self::default());
        };
        let former = former_roots(&cluster.root_ca)?;
        let clients = cluster.clients.values().map(|client| client.certificate);
        let clients: BTreeSet<Digest> = clients.collect();
        let mut excused = BTreeSet::new();
        if former.is_some() {
            let present = CaBundle::from_pem(&trusted_pem(&cluster.root_ca))?.each();
            let shown = snapshot.nodes().map(|node| node.description.tls);
            let missed = shown.filter(|tls| !present.contains(&tls.issuer));
            excused.extend(missed.map(|tls| tls.certificate));
            excused.extend(&clients);
        }
        Ok(Exceptions {
            removed: cluster.blocked.keys().copied().collect(),
            former,
            excused,
            clients,
        })
    }
}

/// Asks about connections that stand, when told by [`follow`], and counts them by
/// node.
pub(crate) fn recheck(
    state: Arc<State>,
    credentials: &Arc<Credentials>,
    asked: watch::Receiver<()>,
) -> Recheck {
    let credentials = credentials.clone();
    let judge = move |certificate: &CertificateDer<'_>| {
        let good = credentials.recheck(certificate);
        let good = good.map_err(|error| error.to_string());
        match good.and_then(|()| is_client(&state, certificate)) {
            Ok(()) => true,
            Err(error) => {
                tracing::info!(%error, "connection cut");
                false
            }
        }
    };
    // A node may have several certificates: it can renew its own at any time.
    let owner = |certificate: &CertificateDer<'_>| {
        let identity = PeerIdentity::from_der(certificate).ok()?;
        Some(id_bytes(identity.node).to_vec())
    };
    Recheck::new(asked, judge, owner)
}

/// Whether a client is one still; whoever is none does not mind.
fn is_client(state: &State, certificate: &CertificateDer<'_>) -> Result<(), String> {
    match ClientIdentity::of(certificate) {
        Ok(Some(ClientIdentity { name, .. })) => {
            client::role_of(&state.snapshot(), state.now(), &name, certificate).map(drop)
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Keeps the port at what the store says, as soon as this manager knows of it;
/// until it is dropped.
pub(crate) async fn follow(
    state: Arc<State>,
    credentials: Arc<Credentials>,
    ask: watch::Sender<()>,
) {
    let mut changes = state.changes();
    let mut seen = Exceptions::default();
    loop {
        changes.borrow_and_update();
        match Exceptions::of(&state.snapshot()) {
            Ok(now) if now == seen => {}
            Ok(now) => {
                let excused = now.former.clone().map(|roots| Excused {
                    roots,
                    certificates: now.excused.clone(),
                });
                if let Err(error) = credentials.set_exceptions(now.removed.iter().copied(), excused)
                {
                    tracing::error!(%error, "a former root CA cannot be used");
                }
                // A certificate that is not excused any more was replaced:
                // its connections end by themselves.
                let stricter = !now.removed.is_subset(&seen.removed)
                    || now.former != seen.former
                    || !seen.clients.is_subset(&now.clients);
                seen = now;
                if stricter {
                    ask.send_replace(());
                }
            }
            Err(error) => tracing::error!(%error, "the root CA in the store cannot be used"),
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
