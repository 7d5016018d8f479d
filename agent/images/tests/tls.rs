//! Registries over TLS: those whose authority is known, and those that are not.

mod support;

use std::net::TcpListener;

use skep_agent_images::{PullError, RegistryConfig};
use support::*;

/// A registry with a certificate of an authority of its own; the authority's
/// certificate.
fn registry() -> (Registry, Vec<u8>, tempfile::TempDir) {
    let dir = tempdir();
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(parameters, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let (certificate_file, key_file) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&certificate_file, certificate.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    let registry = Registry::start_with(&format!(
        "  tls:\n    certificate: {}\n    key: {}\n",
        certificate_file.display(),
        key_file.display()
    ));
    (registry, authority.pem().into_bytes(), dir)
}

#[tokio::test]
async fn a_known_authority_is_trusted_and_an_unknown_one_is_not() {
    let (registry, authority, _files) = registry();
    let (store, _dir) = open(RegistryConfig {
        ca_certificates: vec![authority],
        ..quick()
    });
    // Past the handshake, it says that there is no such image.
    let error = store
        .pull(&registry.name("x"), None, |_| {})
        .await
        .unwrap_err();
    assert!(
        matches!(error, PullError::NotFound { .. }),
        "{}",
        chain(&error)
    );

    let mirror = vec![format!("https://{}", registry.address)];
    let (store, _dir) = open(RegistryConfig {
        mirrors: mirror,
        ..quick()
    });
    let name = registry.name("x");
    let error = store.pull(&name, None, |_| {}).await.unwrap_err();
    let text = chain(&error);
    assert!(!matches!(error, PullError::NotFound { .. }), "{text}");
    // Not what plain HTTP, which is tried on the loopback as well, met there.
    assert!(text.contains("certificate"), "{text}");
}

#[tokio::test]
async fn an_authority_that_is_no_certificate_is_told() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let config = RegistryConfig {
        ca_certificates: vec![
            b"-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n".to_vec(),
        ],
        ..quick()
    };
    let (store, _dir) = open(config);
    let error = store
        .pull(&format!("{port}/x").parse().unwrap(), None, |_| {})
        .await
        .unwrap_err();
    assert!(
        matches!(error, PullError::Unreachable { .. }),
        "{}",
        chain(&error)
    );
}
