//! Identities and connections for tests: real TLS over pipes in memory.

#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use skep_manager_ca::{Credentials, Identity, PeerIdentity, Request, Root, Subject, explain};
use skep_types::{ClusterId, NodeId, Role};

pub const CLUSTER: ClusterId = ClusterId::from_bits(77);
pub const NODE_VALIDITY: Duration = Duration::from_secs(90 * 24 * 3600);

pub fn identity_at(root: &Root, node: u128, role: Role, now: SystemTime) -> Identity {
    identity_in(root, node, role, CLUSTER, now)
}

pub fn identity_in(
    root: &Root,
    node: u128,
    role: Role,
    cluster: ClusterId,
    now: SystemTime,
) -> Identity {
    let request = Request::generate().unwrap();
    let subject = Subject {
        node: NodeId::from_bits(node),
        role,
        cluster,
    };
    let issued = root
        .issue(request.pem(), &subject, NODE_VALIDITY, now)
        .unwrap();
    request
        .complete(&issued.pem, root.certificate().clone())
        .unwrap()
}

pub fn identity(root: &Root, node: u128, role: Role) -> Identity {
    identity_at(root, node, role, SystemTime::now())
}

pub fn root() -> Root {
    Root::generate(SystemTime::now()).unwrap()
}

/// Both ends of a connection after what they had to say, or the error of
/// whoever gave up first and what the other made of it.
pub struct Ends {
    pub client: Result<(), rustls::Error>,
    pub server: Result<(), rustls::Error>,
    pub client_connection: ClientConnection,
    pub server_connection: ServerConnection,
}

impl Ends {
    pub fn peer(&self) -> Option<PeerIdentity> {
        let certificates = self.server_connection.peer_certificates()?;
        Some(PeerIdentity::from_der(&certificates[0]).unwrap())
    }
}

/// Carries bytes one way; the receiver's verdict.
pub fn carry<A, B>(
    from: &mut rustls::ConnectionCommon<A>,
    to: &mut rustls::ConnectionCommon<B>,
) -> (bool, Result<(), rustls::Error>) {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        if let Err(error) = to.process_new_packets() {
            return (true, Err(error));
        }
    }
    (!bytes.is_empty(), Ok(()))
}

pub fn connect(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Ends {
    let mut ends = Ends {
        client: Ok(()),
        server: Ok(()),
        client_connection: ClientConnection::new(client, "skep".try_into().unwrap()).unwrap(),
        server_connection: ServerConnection::new(server).unwrap(),
    };
    loop {
        let (to_server, verdict) = carry(&mut ends.client_connection, &mut ends.server_connection);
        if ends.server.is_ok() {
            ends.server = verdict;
        }
        let (to_client, verdict) = carry(&mut ends.server_connection, &mut ends.client_connection);
        if ends.client.is_ok() {
            ends.client = verdict;
        }
        if !to_server && !to_client {
            return ends;
        }
    }
}

pub fn words(result: &Result<(), rustls::Error>) -> String {
    explain(result.as_ref().unwrap_err()).unwrap()
}

pub fn credentials(identity: Identity) -> Arc<Credentials> {
    Credentials::new(identity).unwrap()
}
