//! Real TLS connections between real identities, over pipes in memory.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use skep_manager_ca::{
    CaBundle, CaError, Credentials, Identity, JoinToken, NODE_VALIDITY, PeerIdentity, Request,
    Root, Subject, bootstrap_config, explain, joining_config,
};
use skep_types::{ClusterId, NodeId, Role};

const CLUSTER: ClusterId = ClusterId::from_bits(77);

fn identity_at(root: &Root, node: u128, role: Role, now: SystemTime) -> Identity {
    identity_in(root, node, role, CLUSTER, now)
}

fn identity_in(
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

fn identity(root: &Root, node: u128, role: Role) -> Identity {
    identity_at(root, node, role, SystemTime::now())
}

fn root() -> Root {
    Root::generate(SystemTime::now()).unwrap()
}

/// Both ends of a connection after what they had to say, or the error of
/// whoever gave up first and what the other made of it.
struct Ends {
    client: Result<(), rustls::Error>,
    server: Result<(), rustls::Error>,
    client_connection: ClientConnection,
    server_connection: ServerConnection,
}

impl Ends {
    fn peer(&self) -> Option<PeerIdentity> {
        let certificates = self.server_connection.peer_certificates()?;
        Some(PeerIdentity::from_der(&certificates[0]).unwrap())
    }
}

/// Carries bytes one way; the receiver's verdict.
fn carry<A, B>(
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

fn connect(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Ends {
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

fn words(result: &Result<(), rustls::Error>) -> String {
    explain(result.as_ref().unwrap_err()).unwrap()
}

fn credentials(identity: Identity) -> Arc<Credentials> {
    Credentials::new(identity).unwrap()
}

#[test]
fn two_nodes_of_a_swarm_know_each_other_and_speak_tls_13() {
    let root = root();
    let manager = credentials(identity(&root, 1, Role::Manager));
    let worker = credentials(identity(&root, 2, Role::Worker));
    let ends = connect(
        worker.client_config().unwrap(),
        manager.server_config().unwrap(),
    );
    assert_eq!(ends.client, Ok(()));
    assert_eq!(ends.server, Ok(()));
    assert_eq!(ends.peer(), Some(worker.identity().peer()));
    assert_eq!(
        ends.server_connection.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    assert_eq!(ends.server_connection.alpn_protocol(), Some(&b"h2"[..]));
}

#[test]
fn a_worker_cannot_stand_in_for_a_manager() {
    let root = root();
    let worker = credentials(identity(&root, 1, Role::Worker));
    let other = credentials(identity(&root, 2, Role::Worker));
    let ends = connect(
        other.client_config().unwrap(),
        worker.server_config().unwrap(),
    );
    assert!(
        words(&ends.client).contains("is a worker"),
        "{}",
        words(&ends.client)
    );
}

#[test]
fn nodes_of_another_swarm_are_refused_both_ways() {
    let (ours, theirs) = (root(), root());
    let manager = credentials(identity(&ours, 1, Role::Manager));
    let stranger = credentials(identity(&theirs, 2, Role::Manager));
    // The client refuses the server.
    let ends = connect(
        stranger.client_config().unwrap(),
        manager.server_config().unwrap(),
    );
    assert!(words(&ends.client).contains("not issued by this swarm"));
    // The server refuses the client, even one that is not careful itself.
    let mut careless = (*bootstrap_config().unwrap()).clone();
    careless.client_auth_cert_resolver = stranger
        .client_config()
        .unwrap()
        .client_auth_cert_resolver
        .clone();
    let ends = connect(Arc::new(careless), manager.server_config().unwrap());
    assert!(words(&ends.server).contains("not issued by this swarm"));
    assert!(
        words(&ends.client).contains("another swarm"),
        "{}",
        words(&ends.client)
    );
}

#[test]
fn the_same_ca_with_another_cluster_id_is_refused() {
    let root = root();
    let manager = credentials(identity(&root, 1, Role::Manager));
    let other = ClusterId::from_bits(78);
    let stranger = credentials(identity_in(
        &root,
        2,
        Role::Manager,
        other,
        SystemTime::now(),
    ));
    let ends = connect(
        stranger.client_config().unwrap(),
        manager.server_config().unwrap(),
    );
    assert!(words(&ends.client).contains("is for swarm"));
}

#[test]
fn an_expired_certificate_and_a_clock_that_is_behind_are_told_apart() {
    let root = Root::generate(SystemTime::now() - Duration::from_secs(400 * 86_400)).unwrap();
    let manager = credentials(identity(&root, 1, Role::Manager));
    let long_ago = SystemTime::now() - Duration::from_secs(91 * 86_400);
    let old = identity_at(&root, 2, Role::Worker, long_ago);
    assert!(matches!(
        old.check_time(SystemTime::now()),
        Err(CaError::Expired { .. })
    ));
    let ends = connect(
        credentials(old).client_config().unwrap(),
        manager.server_config().unwrap(),
    );
    assert!(words(&ends.server).contains("expired"));
    assert!(words(&ends.client).contains("leave the swarm and join again"));

    let to_come = SystemTime::now() + Duration::from_secs(3 * 3600);
    let early = identity_at(&root, 3, Role::Manager, to_come);
    let error = early.check_time(SystemTime::now()).unwrap_err();
    assert!(error.to_string().contains("set the clocks"), "{error}");
    let ends = connect(
        manager.client_config().unwrap(),
        credentials(early).server_config().unwrap(),
    );
    assert!(words(&ends.client).contains("set the clocks"));
}

#[test]
fn a_removed_node_is_refused_at_the_next_handshake() {
    let root = root();
    let manager = credentials(identity(&root, 1, Role::Manager));
    let worker = credentials(identity(&root, 2, Role::Worker));
    let (client, server) = (
        worker.client_config().unwrap(),
        manager.server_config().unwrap(),
    );
    assert_eq!(connect(client.clone(), server.clone()).server, Ok(()));
    manager.set_removed([NodeId::from_bits(2)]);
    let ends = connect(client.clone(), server.clone());
    assert!(words(&ends.server).contains("was removed from the swarm"));
    assert!(words(&ends.client).contains("removed from the swarm"));
    manager.set_removed([]);
    assert_eq!(connect(client, server).server, Ok(()));
}

#[test]
fn joining_goes_from_an_unverified_download_by_the_token_to_a_certificate() {
    let root = root();
    let manager = credentials(identity(&root, 1, Role::Manager));
    let server = manager.server_config().unwrap();
    let secret = JoinToken::new_secret().unwrap();
    let token = JoinToken::new(root.certificate().digest(), &secret).unwrap();

    // 1. The CA, from whoever answers.
    let ends = connect(bootstrap_config().unwrap(), server.clone());
    assert_eq!((ends.client.clone(), ends.server.clone()), (Ok(()), Ok(())));
    assert_eq!(ends.peer(), None);
    let ca = CaBundle::from_download(root.certificate().pem(), &token).unwrap();

    // 2. A certificate, from a manager under that CA.
    let ends = connect(joining_config(&ca).unwrap(), server.clone());
    assert_eq!((ends.client.clone(), ends.server.clone()), (Ok(()), Ok(())));
    assert_eq!(ends.peer(), None);
    assert!(token.has_secret(&secret));
    let request = Request::generate().unwrap();
    let subject = Subject {
        node: NodeId::from_bits(9),
        role: Role::Worker,
        cluster: CLUSTER,
    };
    let issued = root
        .issue(request.pem(), &subject, NODE_VALIDITY, SystemTime::now())
        .unwrap();
    let joined = credentials(request.complete(&issued.pem, ca).unwrap());

    // 3. Known from then on.
    let ends = connect(joined.client_config().unwrap(), server);
    assert_eq!(ends.peer().unwrap().node, NodeId::from_bits(9));
}

#[test]
fn a_ca_that_is_not_the_tokens_is_refused_with_both_digests() {
    let (ours, theirs) = (root(), root());
    let secret = JoinToken::new_secret().unwrap();
    let token = JoinToken::new(ours.certificate().digest(), &secret).unwrap();
    let error = CaBundle::from_download(theirs.certificate().pem(), &token).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("remote CA does not match fingerprint. Expected: ")
    );
    // And a manager of another CA gets no request that holds the secret.
    let stranger = credentials(identity(&theirs, 1, Role::Manager));
    let ends = connect(
        joining_config(ours.certificate()).unwrap(),
        stranger.server_config().unwrap(),
    );
    assert!(ends.client.is_err());
}

#[test]
fn renewal_leaves_standing_connections_alone_and_counts_for_new_ones() {
    use std::io::{Read as _, Write as _};
    let root = root();
    let manager = credentials(identity(&root, 1, Role::Manager));
    let node = credentials(identity(&root, 2, Role::Worker));
    let (client, server) = (
        node.client_config().unwrap(),
        manager.server_config().unwrap(),
    );
    let mut standing = connect(client.clone(), server.clone());
    assert_eq!(standing.peer().unwrap().role, Role::Worker);

    // Promoted: a new key, a new certificate, another role.
    node.replace(identity(&root, 2, Role::Manager)).unwrap();
    manager.replace(identity(&root, 1, Role::Manager)).unwrap();

    standing
        .client_connection
        .writer()
        .write_all(b"still here")
        .unwrap();
    let (_, verdict) = carry(
        &mut standing.client_connection,
        &mut standing.server_connection,
    );
    assert_eq!(verdict, Ok(()));
    let mut heard = [0; 10];
    standing
        .server_connection
        .reader()
        .read_exact(&mut heard)
        .unwrap();
    assert_eq!(&heard, b"still here");

    let fresh = connect(client, server);
    assert_eq!(
        (fresh.client.clone(), fresh.server.clone()),
        (Ok(()), Ok(()))
    );
    assert_eq!(fresh.peer().unwrap().role, Role::Manager);
    assert_ne!(
        standing.server_connection.peer_certificates().unwrap(),
        fresh.server_connection.peer_certificates().unwrap()
    );
}

#[test]
fn an_identity_is_saved_privately_and_loads_as_it_was() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = root();
    let identity = identity(&root, 5, Role::Manager);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("certificates");
    assert!(matches!(
        Identity::load(&dir),
        Err(CaError::NoIdentity { .. })
    ));
    identity.save(&dir).unwrap();
    identity.save(&dir).unwrap();
    let loaded = Identity::load(&dir).unwrap();
    assert_eq!(loaded.peer(), identity.peer());
    assert_eq!(loaded.validity(), identity.validity());
    assert_eq!(loaded.ca(), identity.ca());
    for item in std::fs::read_dir(&dir).unwrap() {
        let item = item.unwrap();
        assert_eq!(item.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!item.file_name().to_string_lossy().ends_with(".new"));
    }
    let connected = connect(
        credentials(loaded).client_config().unwrap(),
        credentials(identity).server_config().unwrap(),
    );
    assert_eq!(connected.server, Ok(()));
}

#[test]
fn a_certificate_for_another_key_or_of_another_ca_is_not_taken() {
    let (ours, theirs) = (root(), root());
    let subject = Subject {
        node: NodeId::from_bits(5),
        role: Role::Worker,
        cluster: CLUSTER,
    };
    let now = SystemTime::now();
    let (mine, other) = (Request::generate().unwrap(), Request::generate().unwrap());
    let issued = ours
        .issue(other.pem(), &subject, NODE_VALIDITY, now)
        .unwrap();
    assert!(matches!(
        mine.complete(&issued.pem, ours.certificate().clone()),
        Err(CaError::KeyMismatch { .. })
    ));
    assert!(matches!(
        other.complete(&issued.pem, theirs.certificate().clone()),
        Err(CaError::Foreign { .. })
    ));
}
