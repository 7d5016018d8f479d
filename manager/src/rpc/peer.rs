//! Who calls, by the certificate the connection was opened with.

use crate::shared::Shared;
use rustls::pki_types::CertificateDer;
use skep_manager_ca::{PeerIdentity, Validity};
use skep_transport::PeerConnection;
use skep_types::{NodeId, Role, Timestamp};
use std::net::IpAddr;
use std::time::SystemTime;
use tonic::codegen::http::Extensions;
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

/// The connection a request came over.
///
/// # Errors
/// When it did not come over one of this port.
pub(crate) fn connection(extensions: &Extensions) -> Result<&PeerConnection, Status> {
    extensions
        .get()
        .ok_or_else(|| Status::unauthenticated("the connection is not known"))
}

fn certificate(
    extensions: &Extensions,
) -> Result<(&PeerConnection, &CertificateDer<'static>), Status> {
    let connection = connection(extensions)?;
    let certificate = connection.certificate.as_ref().ok_or_else(|| {
        Status::unauthenticated(
            "a certificate of this swarm is needed; run \"skep swarm join\" on the node",
        )
    })?;
    Ok((connection, certificate))
}

/// The role of the certificate that was shown, if any was.
pub(crate) fn role(connection: &PeerConnection) -> Option<Role> {
    let identity = PeerIdentity::from_der(connection.certificate.as_ref()?);
    Some(identity.ok()?.role)
}

/// Who calls, as the gate has found.
///
/// # Errors
/// When the call did not pass it as one that only nodes may make.
pub(crate) fn of<T>(request: &Request<T>) -> Result<Peer, Status> {
    request
        .extensions()
        .get()
        .copied()
        .ok_or_else(|| Status::internal("the call did not pass the gate"))
}

/// The certificate a request came with, if any.
pub(crate) fn shown_by<T>(request: &Request<T>) -> Option<CertificateDer<'static>> {
    let connection = request.extensions().get::<PeerConnection>()?;
    connection.certificate.clone()
}

/// The node that calls.
///
/// # Errors
/// When it showed no certificate, one of another swarm, or was removed.
pub(crate) fn node(shared: &Shared, extensions: &Extensions) -> Result<Peer, Status> {
    let (connection, certificate) = certificate(extensions)?;
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
/// A certificate outlives a demotion, so the store has to agree. It may be
/// older than the certificate, of a node that was promoted since: then the
/// certificate is right, or this manager would never hear of the promotion.
///
/// # Errors
/// As [`node`], and when it is a worker.
pub(crate) fn manager(shared: &Shared, extensions: &Extensions) -> Result<Peer, Status> {
    let peer = node(shared, extensions)?;
    if peer.role != Role::Manager {
        return Err(Status::permission_denied(format!(
            "node {} is a worker; only managers may ask this",
            peer.node
        )));
    }
    let snapshot = shared.state.snapshot();
    if let Some(known) = snapshot.node(peer.node)
        && known.role == Role::Worker
        && issued_at(extensions)? <= known.role_since
    {
        return Err(Status::permission_denied(format!(
            "node {} is not a manager any more",
            peer.node
        )));
    }
    Ok(peer)
}

/// When the caller's certificate was issued.
fn issued_at(extensions: &Extensions) -> Result<Timestamp, Status> {
    let (_, certificate) = certificate(extensions)?;
    let validity = Validity::from_der(certificate)
        .map_err(|error| Status::unauthenticated(error.to_string()))?;
    let since_epoch = validity.issued_at().duration_since(SystemTime::UNIX_EPOCH);
    let millis = since_epoch.unwrap_or_default().as_millis();
    Ok(Timestamp(u64::try_from(millis).unwrap_or(u64::MAX)))
}
