//! Real TLS connections between real identities, over pipes in memory.

mod common;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::{
    CLUSTER, NODE_VALIDITY, carry, connect, credentials, identity, identity_at, identity_in, root,
    words,
};
use skep_manager_ca::{
    CaBundle, CaError, Identity, JoinToken, Request, Root, StoredIdentity, Subject,
    bootstrap_config, joining_config,
};
use skep_types::{ClusterId, NodeId, Role};

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
    let expired = words(&ends.server);
    assert!(expired.contains("expired at 20") && expired.contains("the clock here says 20"));
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
    manager
        .set_exceptions([NodeId::from_bits(2)], None)
        .unwrap();
    let ends = connect(client.clone(), server.clone());
    assert!(words(&ends.server).contains("was removed from the swarm"));
    assert!(words(&ends.client).contains("removed from the swarm"));
    manager.set_exceptions([], None).unwrap();
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
        Identity::load(&dir, &[]),
        Err(CaError::NoIdentity { .. })
    ));
    identity.save(&dir, None).unwrap();
    identity.save(&dir, None).unwrap();
    let loaded = Identity::load(&dir, &[]).unwrap();
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
fn a_sealed_key_shows_who_the_node_is_and_opens_under_its_key_alone() {
    let identity = identity(&root(), 5, Role::Manager);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (key, other) = ([1; 32], [2; 32]);
    identity.save(dir, Some(&key)).unwrap();
    let file = std::fs::read_to_string(dir.join("node.pem")).unwrap();
    assert!(!file.contains("PRIVATE KEY"), "{file}");
    let stored = StoredIdentity::read(dir).unwrap();
    assert!(stored.is_sealed());
    assert_eq!(stored.peer(), Ok(identity.peer()));
    let refused = |keys: &[_]| stored.open(keys).unwrap_err().to_string();
    assert!(refused(&[]).contains("does not have"));
    assert!(refused(&[other]).contains("does not have"));
    let opened = stored.open(&[other, key]).unwrap();
    assert_eq!(opened.certificate_pem(), identity.certificate_pem());
    std::fs::write(dir.join("node.pem"), file.replace("SEALED KEY-----\n", "")).unwrap();
    assert!(Identity::load(dir, &[key]).is_err());

    identity.save(dir, None).unwrap();
    assert!(!StoredIdentity::read(dir).unwrap().is_sealed());
    Identity::load(dir, &[]).unwrap();
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
