//! Certificates for clients: issued, and ended by being forgotten.

use super::{cluster, set_clients};
use crate::rpc::status;
use bytes::Bytes;
use skep_manager_ca::{Authority, CaError, ClientIdentity};
use skep_manager_store::{Action, Snapshot};
use skep_proto::{client_role, pb};
use skep_types::{CLIENTS_MAX, Client, Timestamp, check_client_name};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tonic::Status;

/// Issues one to a client that is new, or whose own has ended.
pub(super) fn create(
    snapshot: &Snapshot,
    now: Timestamp,
    asked: pb::CreateClient,
) -> Result<(Bytes, Action, pb::IssuedClient), Status> {
    let pb::CreateClient {
        name,
        csr,
        role: number,
        life_ms,
    } = asked;
    let cluster = cluster(snapshot)?;
    check_client_name(&name).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let role = client_role(number, "create_client.role").map_err(status::invalid)?;
    let mut clients = cluster.clients.clone();
    match clients.get(&name) {
        Some(present) if present.until > now => {
            return Err(Status::already_exists(format!(
                "client {name} has a certificate that has not ended: \"skep swarm client rm \
                 {name}\" ends it"
            )));
        }
        None if clients.len() >= CLIENTS_MAX => {
            return Err(Status::failed_precondition(format!(
                "a swarm has {CLIENTS_MAX} clients at most: remove those that are not needed any \
                 more (\"skep swarm client ls\")"
            )));
        }
        Some(_) | None => {}
    }
    let internal = |error: CaError| Status::internal(error.to_string());
    let refused = |error: CaError| {
        Status::invalid_argument(format!("the certificate cannot be issued: {error}"))
    };
    let authority = Authority::of(&cluster.root_ca).map_err(internal)?;
    let identity = ClientIdentity {
        name: name.clone(),
        cluster: cluster.id,
    };
    let life = Duration::from_millis(life_ms);
    let issued = authority
        .issue_client(&csr, &identity, life, SystemTime::now())
        .map_err(refused)?;
    let client = Client {
        role,
        certificate: issued.fingerprint,
        created_at: now,
        until: timestamp(issued.validity.not_after),
    };
    clients.insert(name, client);
    let issued = pb::IssuedClient {
        certificate: issued.pem,
        roots: authority.trusted().pem().to_owned(),
    };
    let (touched, action) = set_clients(cluster, clients);
    Ok((touched, action, issued))
}

pub(super) fn remove(snapshot: &Snapshot, name: &str) -> Result<(Bytes, Action), Status> {
    let cluster = cluster(snapshot)?;
    let mut clients = cluster.clients.clone();
    if clients.remove(name).is_none() {
        return Err(Status::not_found(format!("client {name} not found")));
    }
    Ok(set_clients(cluster, clients))
}

fn timestamp(at: SystemTime) -> Timestamp {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
