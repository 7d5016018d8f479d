//! A node's own key and certificate, and how it gets them. The key is made on
//! the node and never leaves it. How they are kept: `stored.rs`.

use std::sync::Arc;
use std::time::SystemTime;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::bundle::{CaBundle, Digest};
use crate::error::CaError;
use crate::explain::Moment;
use crate::peer::{PeerIdentity, Validity};

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

    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Puts the certificate (PEM) that came back to the key.
    ///
    /// # Errors
    /// If it is for another key or of another CA.
    pub fn complete(self, certificate: &str, ca: CaBundle) -> Result<Identity, CaError> {
        Identity::from_pem(&self.key_pem(), certificate, ca)
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
    pub(crate) key_pem: String,
    certificate_pem: String,
    ca: CaBundle,
    peer: PeerIdentity,
    validity: Validity,
    issuer: Option<Digest>,
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
        verify_issuer(own, &chain[1..], &ca.roots()?, &validity, &provider)
            .map_err(|()| CaError::Foreign { node: peer.node })?;
        let issuer = ca.issuer_of(own);
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
            issuer,
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

    /// The root it trusts that signed the certificate itself; `None` where the
    /// certificate is believed by a cross-signature only.
    pub fn issuer(&self) -> Option<Digest> {
        self.issuer
    }

    /// The same key and certificate, with other roots to trust.
    ///
    /// # Errors
    /// If the certificate is good under none of them.
    pub fn with_ca(&self, ca: CaBundle) -> Result<Identity, CaError> {
        Self::from_pem(&self.key_pem, &self.certificate_pem, ca)
    }

    /// The certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// When the certificate holds and what time it is here, in words: what to
    /// compare with a manager that does not accept it.
    pub fn times(&self, now: SystemTime) -> String {
        format!(
            "the certificate of this node holds from {} until {}, and the clock here says {}",
            Moment(self.validity.not_before),
            Moment(self.validity.not_after),
            Moment(now)
        )
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
            Err(CaError::Expired {
                node,
                not_after,
                now,
            })
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
pub(crate) fn verify_issuer(
    own: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &RootCertStore,
    validity: &Validity,
    provider: &CryptoProvider,
) -> Result<(), ()> {
    let within = validity.not_before + validity.length() / 2;
    let since = within
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let parsed = ParsedCertificate::try_from(own).map_err(|_| ())?;
    verify_server_cert_signed_by_trust_anchor(
        &parsed,
        roots,
        intermediates,
        UnixTime::since_unix_epoch(since),
        provider.signature_verification_algorithms.all,
    )
    .map_err(|_| ())
}
