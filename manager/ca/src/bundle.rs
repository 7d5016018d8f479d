//! The certificates a node trusts.

use ring::digest::{SHA256, digest};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::CaError;
use crate::identity::{provider, verify_issuer};
use crate::peer::Validity;
use crate::token::{JoinToken, to_base36};

/// SHA-256 of certificates.
pub type Digest = [u8; 32];

/// SHA-256 of one certificate in DER.
pub fn fingerprint(certificate: &[u8]) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, certificate).as_ref());
    out
}

/// One or, while the root is being replaced, more CA certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaBundle {
    pem: String,
    certificates: Vec<CertificateDer<'static>>,
}

impl CaBundle {
    /// Reads CA certificates in PEM.
    ///
    /// # Errors
    /// If there is none, or one is no CA's.
    pub fn from_pem(pem: &str) -> Result<Self, CaError> {
        let invalid = |reason: &dyn std::fmt::Display| CaError::invalid("CA certificate", reason);
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| invalid(&e))?;
        if certificates.is_empty() {
            return Err(invalid(&"there is no certificate in it"));
        }
        for certificate in &certificates {
            let (_, parsed) = X509Certificate::from_der(certificate).map_err(|e| invalid(&e))?;
            if !parsed.is_ca() {
                return Err(invalid(&"it may not issue certificates"));
            }
        }
        Ok(Self {
            pem: pem.into(),
            certificates,
        })
    }

    /// Takes what a manager sent over a connection that was not verified (see
    /// [`crate::bootstrap_config`]) and checks it against the join token.
    ///
    /// # Errors
    /// [`CaError::Fingerprint`] if it is another CA: a wrong address, an old
    /// token, or someone in between.
    pub fn from_download(pem: &str, token: &JoinToken) -> Result<Self, CaError> {
        let bundle = Self::from_pem(pem)?;
        let (expected, got) = (token.digest(), bundle.digest());
        if expected != got {
            return Err(CaError::Fingerprint {
                expected: to_base36(&expected, 50),
                got: to_base36(&got, 50),
            });
        }
        Ok(bundle)
    }

    /// The certificates in PEM, as read.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// SHA-256 of the certificates (their DER, in order): what a join token
    /// carries.
    pub fn digest(&self) -> Digest {
        let mut all = Vec::new();
        for certificate in &self.certificates {
            all.extend_from_slice(certificate);
        }
        fingerprint(&all)
    }

    /// The digest of each certificate.
    pub fn each(&self) -> Vec<Digest> {
        let all = self.certificates.iter();
        all.map(|certificate| fingerprint(certificate)).collect()
    }

    /// The digest of the last certificate: that of the root which certificates
    /// are issued under, where managers say whom to trust.
    pub fn newest(&self) -> Digest {
        self.certificates
            .last()
            .map_or([0; 32], |last| fingerprint(last))
    }

    /// The digest of the one of these certificates whose key signed `own`
    /// (DER), if there is one.
    pub fn issuer_of(&self, own: &CertificateDer<'_>) -> Option<Digest> {
        let validity = Validity::from_der(own).ok()?;
        let provider = provider();
        self.certificates.iter().find_map(|certificate| {
            let mut root = RootCertStore::empty();
            root.add(certificate.clone()).ok()?;
            verify_issuer(own, &[], &root, &validity, &provider).ok()?;
            Some(fingerprint(certificate))
        })
    }

    /// Number of certificates.
    pub(crate) fn len(&self) -> usize {
        self.certificates.len()
    }

    /// The first certificate; there always is one.
    pub(crate) fn first(&self) -> &CertificateDer<'static> {
        &self.certificates[0]
    }

    pub(crate) fn roots(&self) -> Result<RootCertStore, CaError> {
        let mut roots = RootCertStore::empty();
        for certificate in &self.certificates {
            roots
                .add(certificate.clone())
                .map_err(|e| CaError::invalid("CA certificate", e))?;
        }
        Ok(roots)
    }
}
