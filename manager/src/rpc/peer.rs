//! Who calls, by the certificate the connection was opened with.

use crate::shared::Shared;
use skep_manager_ca::PeerIdentity;
use skep_transport::PeerConnection;
use skep_types::{NodeId, Role};
use std::net::IpAddr;
use tonic::{Request, Status};

/// A node that calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// Which.
    pub node: NodeId,
    /// The role of its certificate.
    pub role: Role,
    /// Where it comes from.
    pub address: IpAddr,
}

/// Where a request comes from.
pub(crate) fn address<T>(request: &Request<T>) -> Option<IpAddr> {
    request
        .extensions()
        .get::<PeerConnection>()
        .map(|peer| peer.address.ip())
}

/// The node that calls.
///
/// # Errors
/// When it showed no certificate, one of another swarm, or was removed.
pub(crate) fn node<T>(shared: &Shared, request: &Request<T>) -> Result<Peer, Status> {
    let connection = request
        .extensions()
        .get::<PeerConnection>()
        .ok_or_else(|| Status::unauthenticated("the connection is not known"))?;
    let certificate = connection.certificate.as_ref().ok_or_else(|| {
        Status::unauthenticated(
            "a certificate of this swarm is needed; run \"skep swarm join\" on the node",
        )
    })?;
    let identity = PeerIdentity::from_der(certificate)
        .map_err(|error| Status::unauthenticated(error.to_string()))?;
    let PeerIdentity {
        node,
        role,
        cluster: swarm,
    } = identity;
    let snapshot = shared.state.snapshot();
    if let Some(cluster) = snapshot.cluster() {
        if swarm != cluster.id {
            return Err(Status::permission_denied(
                "the certificate is of another swarm",
            ));
        }
        if cluster.blocked.contains_key(&node) {
            return Err(Status::permission_denied(format!(
                "node {node} was removed from the swarm; run \"skep swarm leave --force\" on it, \
                 then join again"
            )));
        }
    }
    Ok(Peer {
        node,
        role,
        address: connection.address.ip(),
    })
}

/// The manager that calls.
///
/// # Errors
/// As [`node`], and when its certificate is a worker's.
pub(crate) fn manager<T>(shared: &Shared, request: &Request<T>) -> Result<Peer, Status> {
    let peer = node(shared, request)?;
    if peer.role != Role::Manager {
        return Err(Status::permission_denied(format!(
            "node {} is a worker; only managers may ask this",
            peer.node
        )));
    }
    Ok(peer)
}
