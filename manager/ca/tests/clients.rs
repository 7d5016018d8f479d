//! Clients: what their certificates are good for, and for how long.

mod common;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::{CLUSTER, NODE_VALIDITY, connect, credentials, identity, root, words};
use skep_manager_ca::{
    Authority, CaError, ClientIdentity, ClientKey, Excused, PeerIdentity, Request,
    bootstrap_config, explain_to_client, former_roots, next_root, rotated,
};
use skep_types::{ClusterId, Role, RootCa, Timestamp};

const LIFE: Duration = Duration::from_secs(30 * 86_400);

/// What a client gets, and the SHA-256 of its certificate.
fn client_of(root_ca: &RootCa, cluster: ClusterId, now: SystemTime) -> (ClientKey, [u8; 32]) {
    let request = Request::generate().unwrap();
    let authority = Authority::of(root_ca).unwrap();
    let name = "alice@example.org".to_owned();
    let identity = ClientIdentity { name, cluster };
    let issued = authority.issue_client(request.pem(), &identity, LIFE, now);
    let issued = issued.unwrap();
    let key = request.complete_client(&issued.pem, authority.trusted().pem());
    (key.unwrap(), issued.fingerprint)
}

fn authority_at(now: SystemTime) -> RootCa {
    let root = skep_manager_ca::Root::generate(now).unwrap();
    RootCa::new(root.certificate().pem().to_owned(), root.key_pem())
}

fn manager(root_ca: &RootCa) -> Arc<skep_manager_ca::Credentials> {
    let authority = Authority::of(root_ca).unwrap();
    let request = Request::generate().unwrap();
    let subject = skep_manager_ca::Subject {
        node: skep_types::NodeId::from_bits(1),
        role: Role::Manager,
        cluster: CLUSTER,
    };
    let issued = authority.issue(request.pem(), &subject, NODE_VALIDITY, SystemTime::now());
    let trusted = authority.trusted().clone();
    credentials(request.complete(&issued.unwrap().pem, trusted).unwrap())
}

#[test]
fn a_client_and_a_manager_of_one_swarm_know_each_other() {
    let root_ca = authority_at(SystemTime::now());
    let manager = manager(&root_ca);
    let (client, _) = client_of(&root_ca, CLUSTER, SystemTime::now());
    assert!(!format!("{client:?}").contains("PRIVATE"));
    let again = ClientKey::from_pem(client.pem()).unwrap();
    assert_eq!(again.identity().name, "alice@example.org");
    let server = manager.server_config().unwrap();
    let ends = connect(again.config().unwrap(), server.clone());
    assert_eq!((ends.client.clone(), ends.server.clone()), (Ok(()), Ok(())));
    let shown = &ends.server_connection.peer_certificates().unwrap()[0];
    let known = ClientIdentity::of(shown).unwrap().unwrap();
    assert_eq!(&known, again.identity());
    assert!(PeerIdentity::from_der(shown).is_err(), "it is no node");
    manager.recheck(shown).unwrap();

    let (stranger, _) = client_of(&root_ca, ClusterId::from_bits(78), SystemTime::now());
    let mut careless = (*bootstrap_config().unwrap()).clone();
    careless.client_auth_cert_resolver =
        stranger.config().unwrap().client_auth_cert_resolver.clone();
    let ends = connect(Arc::new(careless), server);
    assert!(words(&ends.server).contains("is for swarm"));
    let told = explain_to_client(ends.client.as_ref().unwrap_err()).unwrap();
    assert!(told.contains("refuses the client's certificate"), "{told}");
    // A client does not speak to just anybody.
    let other = credentials(identity(&root(), 1, Role::Manager));
    let ends = connect(again.config().unwrap(), other.server_config().unwrap());
    let told = explain_to_client(ends.client.as_ref().unwrap_err()).unwrap();
    assert!(told.contains("of another swarm"), "{told}");
    let worker = credentials(identity(&root(), 1, Role::Worker));
    assert!(
        connect(again.config().unwrap(), worker.server_config().unwrap())
            .client
            .is_err()
    );
}

#[test]
fn a_file_that_is_no_clients_is_refused_with_what_it_should_be() {
    let root_ca = authority_at(SystemTime::now());
    let (client, _) = client_of(&root_ca, CLUSTER, SystemTime::now());
    let (other, _) = client_of(&authority_at(SystemTime::now()), CLUSTER, SystemTime::now());
    let split = |client: &ClientKey| {
        let (chain, rest) = client
            .pem()
            .split_once("-----BEGIN PRIVATE KEY-----")
            .unwrap();
        let (key, roots) = rest.split_once("-----END PRIVATE KEY-----\n").unwrap();
        let key = format!("-----BEGIN PRIVATE KEY-----{key}-----END PRIVATE KEY-----\n");
        (chain.to_owned(), key, roots.to_owned())
    };
    let (chain, key, roots) = split(&client);
    let (_, other_key, other_roots) = split(&other);
    for (text, expected) in [
        (String::new(), "skep swarm client create"),
        (chain.clone(), "no private key"),
        (
            format!("{key}{roots}"),
            "no certificate before its private key",
        ),
        (format!("{chain}{key}"), "no certificate in it"),
        (
            format!("{chain}{key}{other_roots}"),
            "not under the roots in it",
        ),
        (
            format!("{chain}{other_key}{roots}"),
            "does not belong to its certificate",
        ),
        (format!("{roots}{key}{roots}"), "it has no role"),
        (chain.clone() + &key[..key.len() / 2], "cut off"),
    ] {
        let refused = ClientKey::from_pem(&text).unwrap_err().to_string();
        assert!(refused.contains(expected), "{expected}: {refused}");
    }
}

#[test]
fn a_client_is_told_when_its_certificate_has_ended() {
    let long_ago = SystemTime::now() - LIFE - Duration::from_secs(86_400);
    let root_ca = authority_at(long_ago);
    let (client, _) = client_of(&root_ca, CLUSTER, long_ago);
    let refused = client.check_time(SystemTime::now()).unwrap_err();
    assert!(matches!(refused, CaError::ClientTime { .. }));
    assert!(
        refused
            .to_string()
            .contains("skep swarm client create alice@"),
        "{refused}"
    );
    assert!(client.check_time(long_ago).is_ok());
    let early = client.check_time(long_ago - Duration::from_secs(7200));
    assert!(early.unwrap_err().to_string().contains("set it right"));

    let manager = manager(&root_ca);
    let ends = connect(client.config().unwrap(), manager.server_config().unwrap());
    assert!(ends.server.is_err());
    let told = explain_to_client(ends.client.as_ref().unwrap_err()).unwrap();
    assert!(told.contains("not valid at this time"), "{told}");
}

#[test]
fn clients_outlive_a_rotation_of_the_root_as_long_as_they_are_known() {
    let before = authority_at(SystemTime::now());
    let during = RootCa {
        next: Some(next_root(&before, None, SystemTime::now()).unwrap()),
        ..before.clone()
    };
    let after = rotated(&during, Timestamp(u64::MAX)).unwrap();
    let (old, known) = client_of(&before, CLUSTER, SystemTime::now());
    let (new, _) = client_of(&during, CLUSTER, SystemTime::now());
    let (forged, _) = client_of(&before, CLUSTER, SystemTime::now());
    let dial = |client: &ClientKey, manager: &Arc<skep_manager_ca::Credentials>| {
        let ends = connect(client.config().unwrap(), manager.server_config().unwrap());
        ends.client.and(ends.server)
    };
    for root_ca in [&before, &during] {
        assert_eq!(dial(&old, &manager(root_ca)), Ok(()));
    }
    assert_eq!(dial(&new, &manager(&during)), Ok(()));
    let manager = manager(&after);
    assert_eq!(dial(&new, &manager), Ok(()));
    let excused = Excused {
        roots: former_roots(&after).unwrap().unwrap(),
        certificates: [known].into(),
    };
    manager.set_exceptions([], Some(excused)).unwrap();
    assert_eq!(dial(&old, &manager), Ok(()));
    // Whoever took the old root's key can make these.
    assert!(dial(&forged, &manager).is_err());
}
