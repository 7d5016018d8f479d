//! Clients at the port: people and tools that have a certificate and are no nodes.
//! Who one is says its certificate, what it may do says the store.

use super::peer;
use crate::shared::Shared;
use skep_manager_ca::{ClientIdentity, fingerprint};
use skep_manager_store::Snapshot;
use skep_proto::pb;
use skep_types::{ClientRole, Timestamp};
use tonic::Status;
use tonic::codegen::http::Extensions;

/// A client that calls.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    name: String,
    role: ClientRole,
}

/// The client that calls; `None` where it is not one.
///
/// # Errors
/// When it may not call any more, with what to do.
pub(crate) fn caller(shared: &Shared, extensions: &Extensions) -> Result<Option<Client>, Status> {
    let connection = peer::connection(extensions)?;
    let Some(certificate) = &connection.certificate else {
        return Ok(None);
    };
    let identity = ClientIdentity::of(certificate)
        .map_err(|error| Status::unauthenticated(error.to_string()))?;
    let Some(ClientIdentity { name, .. }) = identity else {
        return Ok(None);
    };
    let (snapshot, now) = (shared.state.snapshot(), shared.state.now());
    let role = role_of(&snapshot, now, &name, certificate).map_err(Status::permission_denied)?;
    Ok(Some(Client { name, role }))
}

/// What whoever shows this certificate may do, or why not.
pub(crate) fn role_of(
    snapshot: &Snapshot,
    now: Timestamp,
    name: &str,
    certificate: &[u8],
) -> Result<ClientRole, String> {
    let again = format!(
        "have an admin of the swarm run \"skep swarm client create {name}\", and use the file that \
         it writes"
    );
    let known = snapshot.cluster().and_then(|it| it.clients.get(name));
    match known {
        None => Err(format!(
            "there is no client {name:?} in this swarm (any more): {again}"
        )),
        Some(client) if client.certificate != fingerprint(certificate) => Err(format!(
            "client {name} has another certificate now than the one that was shown: use that, or \
             {again}"
        )),
        Some(client) if client.until < now => Err(format!(
            "the certificate of client {name} has ended: {again}"
        )),
        Some(client) => Ok(client.role),
    }
}

impl Client {
    /// Whether it may change the swarm.
    ///
    /// # Errors
    /// When it may look only.
    pub(crate) fn may_change(&self) -> Result<(), Status> {
        match self.role {
            ClientRole::Admin => Ok(()),
            ClientRole::ReadOnly => Err(Status::permission_denied(format!(
                "client {} may only look, not change anything: that takes the certificate of a \
                 client with --role admin",
                self.name
            ))),
        }
    }

    /// Its name, where what it does is written down.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Leaves out what would let it do more than it may.
    pub(crate) fn blank(&self, answer: &mut pb::ReadResponse) {
        if let (ClientRole::ReadOnly, Some(cluster)) = (self.role, &mut answer.cluster) {
            cluster.worker_token.clear();
            cluster.manager_token.clear();
            cluster.unlock_key.clear();
        }
    }
}
