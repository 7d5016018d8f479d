//! The swarm's certificate authority as the store keeps it: under which root
//! certificates are issued, which roots nodes trust, and what lets those that
//! missed a rotation still find their way.

use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use skep_types::{FormerRoot, RootCa, Timestamp};

use crate::bundle::{CaBundle, Digest};
use crate::client::ClientIdentity;
use crate::error::CaError;
use crate::root::{Issued, Root, Subject};

/// The authority at one moment.
#[derive(Debug)]
pub struct Authority {
    signer: Root,
    chain: String,
    trusted: CaBundle,
    former: Option<CaBundle>,
}

impl Authority {
    /// Takes it up from the store.
    ///
    /// # Errors
    /// If the store holds something that is no CA.
    pub fn of(root_ca: &RootCa) -> Result<Self, CaError> {
        let RootCa {
            certificate,
            key,
            next,
            former,
        } = root_ca;
        let mut chain = String::new();
        let signer = match next {
            None => Root::from_pem(certificate, key)?,
            Some(next) => {
                push(&mut chain, &next.cross_signed);
                Root::from_pem(&next.certificate, &next.key)?
            }
        };
        for root in former {
            push(&mut chain, &root.cross_signed);
        }
        Ok(Self {
            signer,
            chain,
            trusted: CaBundle::from_pem(&trusted_pem(root_ca))?,
            former: former_roots(root_ca)?,
        })
    }

    /// As [`Root::issue`], with what makes those believe the certificate who
    /// trust only an older root.
    ///
    /// # Errors
    /// As there.
    pub fn issue(
        &self,
        request: &str,
        subject: &Subject,
        validity: Duration,
        now: SystemTime,
    ) -> Result<Issued, CaError> {
        let mut issued = self.signer.issue(request, subject, validity, now)?;
        push(&mut issued.pem, &self.chain);
        Ok(issued)
    }

    /// The same for a client.
    ///
    /// # Errors
    /// As [`Root::issue_client`].
    pub fn issue_client(
        &self,
        request: &str,
        client: &ClientIdentity,
        validity: Duration,
        now: SystemTime,
    ) -> Result<Issued, CaError> {
        let mut issued = self.signer.issue_client(request, client, validity, now)?;
        push(&mut issued.pem, &self.chain);
        Ok(issued)
    }

    /// What nodes trust.
    pub fn trusted(&self) -> &CaBundle {
        &self.trusted
    }

    /// The root that certificates are issued under.
    pub fn issuer(&self) -> Digest {
        self.trusted.newest()
    }

    /// The root, present, next or former, whose key signed a certificate.
    pub fn issuer_of(&self, certificate: &CertificateDer<'_>) -> Option<Digest> {
        self.trusted.issuer_of(certificate).or_else(|| {
            self.former
                .as_ref()
                .and_then(|former| former.issuer_of(certificate))
        })
    }
}

/// The roots that nodes trust, PEM; certificates are issued under the last one
/// (see [`CaBundle::newest`]). Reads none of it.
pub fn trusted_pem(root_ca: &RootCa) -> String {
    let mut pem = root_ca.certificate.clone();
    if let Some(next) = &root_ca.next {
        push(&mut pem, &next.certificate);
    }
    pem
}

/// The roots that were replaced while some nodes were away.
///
/// # Errors
/// If one is no CA.
pub fn former_roots(root_ca: &RootCa) -> Result<Option<CaBundle>, CaError> {
    let mut pem = String::new();
    for root in &root_ca.former {
        push(&mut pem, &root.certificate);
    }
    match pem.is_empty() {
        true => Ok(None),
        false => CaBundle::from_pem(&pem).map(Some),
    }
}

/// The authority once its next root has taken the present one's place; `None`
/// while there is no next one. Certificates issued before have all ended at
/// `until`.
pub fn rotated(root_ca: &RootCa, until: Timestamp) -> Option<RootCa> {
    let next = root_ca.next.clone()?;
    let replaced = FormerRoot {
        certificate: root_ca.certificate.clone(),
        cross_signed: next.cross_signed,
        until,
    };
    Some(RootCa {
        certificate: next.certificate,
        key: next.key,
        next: None,
        former: std::iter::once(replaced)
            .chain(root_ca.former.iter().cloned())
            .collect(),
    })
}

fn push(pem: &mut String, more: &str) {
    if !pem.is_empty() && !pem.ends_with('\n') {
        pem.push('\n');
    }
    pem.push_str(more);
}
