//! A node's own key and certificate, and how it gets them.
//!
//! The key is made on the node and never leaves it. Key and certificate are
//! one file, so that a crash never leaves one without the other.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::bundle::CaBundle;
use crate::error::CaError;
use crate::peer::{PeerIdentity, Validity};

const IDENTITY_FILE: &str = "node.pem";
const CA_FILE: &str = "ca.pem";

/// A key that waits for its certificate.
pub struct Request {
    key: KeyPair,
    pem: String,
}

impl Request {
    /// Makes a key and the request to certify it.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn generate() -> Result<Self, CaError> {
        let fail = |e: rcgen::Error| CaError::crypto("make a node key")(&e);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(fail)?;
        let request = CertificateParams::default()
            .serialize_request(&key)
            .map_err(fail)?;
        let pem = request.pem().map_err(fail)?;
        Ok(Self { key, pem })
    }

    /// What to send to the CA, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Puts the certificate (PEM) that came back to the key.
    ///
    /// # Errors
    /// If it is for another key or of another CA.
    pub fn complete(self, certificate: &str, ca: CaBundle) -> Result<Identity, CaError> {
        Identity::from_pem(&self.key.serialize_pem(), certificate, ca)
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").finish_non_exhaustive()
    }
}

/// A node's key, its certificate and the CA it trusts.
#[derive(Clone)]
pub struct Identity {
    key_pem: String,
    certificate_pem: String,
    ca: CaBundle,
    peer: PeerIdentity,
    validity: Validity,
    pub(crate) certified: Arc<CertifiedKey>,
}

impl Identity {
    /// Takes up key and certificate, both PEM. Does not mind that the
    /// certificate is over; see [`Identity::check_time`].
    ///
    /// # Errors
    /// If they cannot be read, do not belong together or are not of this CA.
    pub fn from_pem(key: &str, certificate: &str, ca: CaBundle) -> Result<Self, CaError> {
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| CaError::invalid("node certificate", e))?;
        let own = chain
            .first()
            .ok_or_else(|| CaError::invalid("node certificate", "there is no certificate in it"))?;
        let peer = PeerIdentity::from_der(own)?;
        let validity = Validity::from_der(own)?;
        let provider = provider();
        verify_issuer(own, &chain[1..], &ca, &peer, &validity, &provider)?;
        let key_der = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|e| CaError::invalid("node key", e))?;
        let certified = CertifiedKey::from_der(chain, key_der, &provider).map_err(|e| match e {
            rustls::Error::InconsistentKeys(_) => CaError::KeyMismatch { node: peer.node },
            other => CaError::invalid("node key", other),
        })?;
        Ok(Self {
            key_pem: key.into(),
            certificate_pem: certificate.into(),
            ca,
            peer,
            validity,
            certified: Arc::new(certified),
        })
    }

    /// Who this node is.
    pub fn peer(&self) -> PeerIdentity {
        self.peer
    }

    /// From when to when the certificate holds.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The CA this node trusts.
    pub fn ca(&self) -> &CaBundle {
        &self.ca
    }

    /// The certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Checks that the certificate holds at `now`.
    ///
    /// # Errors
    /// [`CaError::Expired`] or [`CaError::NotYet`], with what to do.
    pub fn check_time(&self, now: SystemTime) -> Result<(), CaError> {
        let Validity {
            not_before,
            not_after,
        } = self.validity;
        let node = self.peer.node;
        if now > not_after {
            Err(CaError::Expired { node, not_after })
        } else if now < not_before {
            Err(CaError::NotYet {
                node,
                not_before,
                now,
            })
        } else {
            Ok(())
        }
    }

    /// Writes the identity to a directory (made if missing), readable by the
    /// owner only. What was there is replaced at once or not at all.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn save(&self, dir: &Path) -> Result<(), CaError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|e| file("make directory", dir, &e))?;
        // The CA first: it only ever grows while certificates are replaced,
        // so an old certificate is still good under the new CA.
        replace(dir, CA_FILE, self.ca.pem())?;
        let own = format!("{}\n{}", self.key_pem.trim_end(), self.certificate_pem);
        replace(dir, IDENTITY_FILE, &own)
    }

    /// Reads the identity that [`Identity::save`] wrote.
    ///
    /// # Errors
    /// [`CaError::NoIdentity`] if there is none; others if it is broken.
    pub fn load(dir: &Path) -> Result<Self, CaError> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => CaError::NoIdentity { path: dir.into() },
                _ => file("read", &path, &e),
            })
        };
        let own = read(IDENTITY_FILE)?;
        let ca = CaBundle::from_pem(&read(CA_FILE)?)?;
        let certificates = own
            .find("-----BEGIN CERTIFICATE-----")
            .ok_or_else(|| CaError::invalid("node certificate", "there is no certificate in it"))?;
        let (key, certificate) = own.split_at(certificates);
        Self::from_pem(key, certificate, ca)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("peer", &self.peer)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// The crypto library: ring.
pub(crate) fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// Checks the signatures up to the CA, at a time when the certificate holds:
/// whether it holds now is another question with another answer.
fn verify_issuer(
    own: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    ca: &CaBundle,
    peer: &PeerIdentity,
    validity: &Validity,
    provider: &CryptoProvider,
) -> Result<(), CaError> {
    let within = validity.not_before + validity.length() / 2;
    let since = within
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let parsed =
        ParsedCertificate::try_from(own).map_err(|e| CaError::invalid("node certificate", e))?;
    verify_server_cert_signed_by_trust_anchor(
        &parsed,
        &ca.roots()?,
        intermediates,
        UnixTime::since_unix_epoch(since),
        provider.signature_verification_algorithms.all,
    )
    .map_err(|_| CaError::Foreign { node: peer.node })
}

fn file(action: &'static str, path: &Path, error: &io::Error) -> CaError {
    CaError::File {
        action,
        path: path.into(),
        reason: error.to_string(),
    }
}

/// Replaces a private file: written aside, synced, renamed.
fn replace(dir: &Path, name: &str, text: &str) -> Result<(), CaError> {
    let path = dir.join(name);
    let aside = dir.join(format!("{name}.new"));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&aside, &path))
        .and_then(|()| File::open(dir)?.sync_all());
    written.map_err(|e| file("write", &path, &e))
}
