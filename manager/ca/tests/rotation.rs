//! A root CA takes the place of another: who still knows whom at each moment.

mod common;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, SystemTime};

use common::{CLUSTER, NODE_VALIDITY, connect, credentials, words};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use skep_manager_ca::{
    Authority, CaBundle, Excused, Identity, Request, Root, Subject, fingerprint, former_roots,
    next_root, rotated,
};
use skep_types::{NodeId, Role, RootCa, Timestamp};

fn authority() -> RootCa {
    let root = Root::generate(SystemTime::now()).unwrap();
    RootCa::new(root.certificate().pem().to_owned(), root.key_pem())
}

fn began(root_ca: &RootCa) -> RootCa {
    RootCa {
        next: Some(next_root(root_ca, None, SystemTime::now()).unwrap()),
        ..root_ca.clone()
    }
}

/// A node's certificate, with `trusted` as the roots the node knows.
fn issue(root_ca: &RootCa, node: u128, role: Role, trusted: &CaBundle) -> Identity {
    let key = Request::generate().unwrap();
    let subject = Subject {
        node: NodeId::from_bits(node),
        role,
        cluster: CLUSTER,
    };
    let authority = Authority::of(root_ca).unwrap();
    let now = SystemTime::now();
    let issued = authority.issue(key.pem(), &subject, NODE_VALIDITY, now);
    key.complete(&issued.unwrap().pem, trusted.clone()).unwrap()
}

fn trusted(root_ca: &RootCa) -> CaBundle {
    Authority::of(root_ca).unwrap().trusted().clone()
}

fn der(identity: &Identity) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(identity.certificate_pem().as_bytes()).unwrap()
}

fn know_each_other(worker: &Identity, manager: &Identity) -> bool {
    let client = credentials(worker.clone()).client_config().unwrap();
    let server = credentials(manager.clone()).server_config().unwrap();
    let ends = connect(client, server);
    ends.client.is_ok() && ends.server.is_ok()
}

#[test]
fn at_every_moment_of_a_rotation_live_nodes_know_each_other() {
    let before = authority();
    let during = began(&before);
    let after = rotated(&during, Timestamp(0)).unwrap();
    let (old, both, new) = (trusted(&before), trusted(&during), trusted(&after));
    // What a node may hold: its certificate, and whom it trusts.
    let stages = [
        (&before, &old),
        (&before, &both),
        (&during, &old),
        (&during, &both),
        (&during, &new),
        (&after, &new),
    ];
    let side = |node, role| stages.map(|(root_ca, trusted)| issue(root_ca, node, role, trusted));
    let (managers, workers) = (side(1, Role::Manager), side(2, Role::Worker));
    // One has not begun to move while the other has ended: never, since the
    // rotation ends when all have moved.
    let apart = |a: usize, b: usize| a < 2 && b >= 4;
    for (i, manager) in managers.iter().enumerate() {
        for (j, worker) in workers.iter().enumerate() {
            let expected = !apart(i, j) && !apart(j, i);
            assert_eq!(know_each_other(worker, manager), expected, "{i} {j}");
        }
    }
}

#[test]
fn a_second_rotation_is_believed_by_who_missed_the_first() {
    let first = authority();
    let second = rotated(&began(&first), Timestamp(0)).unwrap();
    let during = began(&second);
    let third = rotated(&during, Timestamp(0)).unwrap();
    for later in [&second, &during, &third] {
        issue(later, 1, Role::Manager, &trusted(&first));
    }
    assert_eq!(third.former.len(), 2);
}

#[test]
fn of_a_former_root_only_the_certificates_of_nodes_left_behind_are_good() {
    let before = authority();
    let after = rotated(&began(&before), Timestamp(0)).unwrap();
    let left_behind = issue(&before, 2, Role::Worker, &trusted(&before));
    // Whoever took the old key can make these.
    let forged = issue(&before, 2, Role::Worker, &trusted(&before));
    let manager = credentials(issue(&after, 1, Role::Manager, &trusted(&after)));
    let server = manager.server_config().unwrap();
    let dial = |identity: &Identity| {
        let client = credentials(identity.clone()).client_config().unwrap();
        connect(client, server.clone())
    };
    assert!(dial(&left_behind).server.is_err());
    let excuse = |certificates: BTreeSet<_>| {
        let roots = former_roots(&after).unwrap().unwrap();
        let excused = Excused {
            roots,
            certificates,
        };
        manager.set_exceptions([], Some(excused)).unwrap();
    };
    excuse([fingerprint(&der(&left_behind))].into());
    let ends = dial(&left_behind);
    assert_eq!((ends.client, ends.server), (Ok(()), Ok(())));
    let refused = words(&dial(&forged).server);
    assert!(refused.contains("root CA that was replaced"), "{refused}");
    // The same holds for connections that stand.
    assert!(manager.recheck(&der(&left_behind)).is_ok());
    assert!(manager.recheck(&der(&forged)).is_err());
    excuse(BTreeSet::new());
    assert!(manager.recheck(&der(&left_behind)).is_err());
    let own = manager.identity();
    assert!(manager.recheck(&der(&own)).is_ok());
}

#[test]
fn the_manager_finds_out_under_which_root_a_certificate_is() {
    let before = authority();
    let during = began(&before);
    let old = issue(&before, 2, Role::Worker, &trusted(&before));
    let new = issue(&during, 2, Role::Worker, &trusted(&before));
    let judge = Authority::of(&during).unwrap();
    assert_eq!(judge.issuer_of(&der(&new)), Some(judge.issuer()));
    let found = judge.issuer_of(&der(&old));
    assert_eq!(found, Some(trusted(&before).digest()));
    assert_eq!(new.issuer(), None, "its root is not among those trusted");
    let after = rotated(&during, Timestamp(0)).unwrap();
    let judge = Authority::of(&after).unwrap();
    assert_eq!(judge.issuer_of(&der(&old)), found, "also when replaced");
    let foreign = authority();
    let foreign = issue(&foreign, 2, Role::Worker, &trusted(&foreign));
    assert_eq!(judge.issuer_of(&der(&foreign)), None);
}

/// Certificate and key of a root made by another program.
fn made(key: &[&str], more: &[&str], days: &str) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (key_file, cert_file) = (path("key.pem"), path("cert.pem"));
    let mut openssl = Command::new("openssl");
    openssl
        .args(["req", "-x509", "-nodes", "-newkey"])
        .args(key);
    openssl.args(["-subj", "/O=Example/CN=Example Root", "-days", days]);
    openssl
        .args(["-keyout", &key_file, "-out", &cert_file])
        .args(more);
    let made = openssl.output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    (read(&cert_file), read(&key_file))
}

#[test]
fn a_root_of_the_users_must_keep_the_limits() {
    let present = authority();
    let judge = |key: &[&str], more: &[&str], days: &str| {
        let (certificate, key) = made(key, more, days);
        let next = next_root(&present, Some((&certificate, &key)), SystemTime::now());
        next.map(drop).map_err(|error| error.to_string())
    };
    let p256 = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    assert_eq!(judge(&p256, &[], "800"), Ok(()));
    let p384 = ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"];
    assert_eq!(judge(&p384, &["-sha384"], "800"), Ok(()));
    assert_eq!(judge(&["rsa:2048"], &[], "800"), Ok(()));
    let expect = |got: Result<(), String>, part: &str| {
        let got = got.unwrap_err();
        assert!(got.contains(part), "{got}");
    };
    expect(judge(&p256, &[], "300"), "expires too soon");
    expect(judge(&["rsa:1024"], &[], "800"), "1024 bits");
    expect(judge(&p256, &["-sha1"], "800"), "SHA-256");
    let p521 = ["ec", "-pkeyopt", "ec_paramgen_curve:P-521"];
    expect(judge(&p521, &["-sha512"], "800"), "P-256 or P-384");
    let leaf = ["-addext", "basicConstraints=critical,CA:FALSE"];
    expect(judge(&p256, &leaf, "800"), "may not issue");

    let given = |certificate: &str, key: &str| {
        let next = next_root(&present, Some((certificate, key)), SystemTime::now());
        next.map(drop).map_err(|error| error.to_string())
    };
    let (one, key) = made(&p256, &[], "800");
    let (other, other_key) = made(&p256, &[], "800");
    expect(given(&format!("{one}{other}"), &key), "multiple");
    expect(given(&one, &other_key), "does not belong");
    expect(given(&present.certificate, &present.key), "identical key");
    expect(given("nothing", &key), "no certificate");
}

#[test]
fn a_crash_while_roots_change_leaves_an_identity_that_loads() {
    let before = authority();
    let after = rotated(&began(&before), Timestamp(0)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let old = issue(&before, 2, Role::Worker, &trusted(&before));
    old.save(dir.path(), None).unwrap();
    let own = std::fs::read(dir.path().join("node.pem")).unwrap();
    // The new certificate cannot be put in place: what was written before it
    // must go with the old one.
    std::fs::remove_file(dir.path().join("node.pem")).unwrap();
    std::fs::create_dir(dir.path().join("node.pem")).unwrap();
    let new = issue(&after, 2, Role::Worker, &trusted(&after));
    assert!(new.save(dir.path(), None).is_err());
    std::fs::remove_dir(dir.path().join("node.pem")).unwrap();
    std::fs::write(dir.path().join("node.pem"), own).unwrap();
    assert_eq!(Identity::load(dir.path(), &[]).unwrap().peer(), old.peer());
    new.save(dir.path(), None).unwrap();
    let loaded = Identity::load(dir.path(), &[]).unwrap();
    assert_eq!(loaded.ca().digest(), trusted(&after).digest());
    assert!(loaded.validity().length() > Duration::from_secs(1));
}
