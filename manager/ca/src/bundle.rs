//! The certificates a node trusts.

use ring::digest::{SHA256, digest};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::CaError;
use crate::token::{JoinToken, to_base36};

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
    pub fn digest(&self) -> [u8; 32] {
        let mut all = Vec::new();
        for certificate in &self.certificates {
            all.extend_from_slice(certificate);
        }
        let mut out = [0; 32];
        out.copy_from_slice(digest(&SHA256, &all).as_ref());
        out
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
