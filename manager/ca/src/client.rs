//! Clients of a swarm: people and tools that are no nodes and have a certificate of
//! it. What that says, the file that holds it with its key, and TLS made of both.
//!
//! What a client may do is in the store, not in its certificate.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::ClientConfig;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use skep_types::ClusterId;

use crate::bundle::CaBundle;
use crate::credentials::{client_config, client_verifier};
use crate::error::CaError;
use crate::explain::Moment;
use crate::identity::{Request, provider};
use crate::peer::{CLIENT, Validity, only, parse};

/// Between the certificates of a client and the roots it trusts, in its file.
const KEY_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const KEY_END: &str = "-----END PRIVATE KEY-----";

/// Who a client is, by its certificate. Only worth something after TLS has verified it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// CN: its name.
    pub name: String,
    /// O: where.
    pub cluster: ClusterId,
}

impl ClientIdentity {
    /// Reads the subject of a certificate in DER; `None` where it is not a client's.
    /// Verifies nothing.
    ///
    /// # Errors
    /// If it is a client's and says nothing else, or is no certificate.
    pub fn of(der: &[u8]) -> Result<Option<Self>, CaError> {
        let parsed = parse(der)?;
        let subject = parsed.subject();
        if only("role (OU)", subject.iter_organizational_unit())? != CLIENT {
            return Ok(None);
        }
        let cluster = only("swarm id (O)", subject.iter_organization())?;
        Ok(Some(Self {
            name: only("name (CN)", subject.iter_common_name())?.to_owned(),
            cluster: cluster
                .parse()
                .map_err(|e| CaError::invalid("client certificate", e))?,
        }))
    }
}

/// A client's key, its certificate and the roots it trusts.
pub struct ClientKey {
    pem: String,
    identity: ClientIdentity,
    validity: Validity,
    ca: CaBundle,
    certified: Arc<CertifiedKey>,
}

impl ClientKey {
    /// Reads the file of a client: PEM, the certificates of its chain, then its key,
    /// then the roots. Does not mind that the certificate is over; see
    /// [`ClientKey::check_time`].
    ///
    /// # Errors
    /// If it is no such file, or its parts do not belong together.
    pub fn from_pem(text: &str) -> Result<Self, CaError> {
        let refuse = |reason: &dyn std::fmt::Display| CaError::invalid("client file", reason);
        let (before, rest) = text.split_once(KEY_BEGIN).ok_or_else(|| {
            refuse(
                &"there is no private key in it; it must be as \"skep swarm client create\" \
                 wrote it",
            )
        })?;
        let (key, after) = rest
            .split_once(KEY_END)
            .ok_or_else(|| refuse(&"its private key is cut off"))?;
        let chain = CertificateDer::pem_slice_iter(before.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| refuse(&e))?;
        let own = chain
            .first()
            .ok_or_else(|| refuse(&"there is no certificate before its private key"))?;
        let identity = ClientIdentity::of(own)?
            .ok_or_else(|| refuse(&"its certificate is a node's, not a client's"))?;
        let validity = Validity::from_der(own)?;
        let ca = CaBundle::from_pem(after)?;
        // Whether it holds now is another question with another answer.
        let within = validity.not_before + validity.length() / 2;
        let within = within.duration_since(SystemTime::UNIX_EPOCH);
        client_verifier(&Arc::new(ca.roots()?))?
            .verify_client_cert(
                own,
                &chain[1..],
                UnixTime::since_unix_epoch(within.unwrap_or_default()),
            )
            .map_err(|_| refuse(&"its certificate is not under the roots in it"))?;
        let key = format!("{KEY_BEGIN}{key}{KEY_END}\n");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|e| refuse(&e))?;
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|e| match e {
            rustls::Error::InconsistentKeys(_) => {
                refuse(&"its private key does not belong to its certificate")
            }
            other => refuse(&other),
        })?;
        Ok(Self {
            pem: text.to_owned(),
            identity,
            validity,
            ca,
            certified: Arc::new(certified),
        })
    }

    /// Who it is.
    pub fn identity(&self) -> &ClientIdentity {
        &self.identity
    }

    /// From when to when its certificate holds.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The file, with the private key.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Checks that the certificate holds at `now`.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub fn check_time(&self, now: SystemTime) -> Result<(), CaError> {
        let Validity {
            not_before,
            not_after,
        } = self.validity;
        let name = &self.identity.name;
        let reason = if now > not_after {
            format!(
                "ended at {}, and the clock here says {}; have an admin of the swarm run \"skep \
                 swarm client create {name}\" and give you the new file",
                Moment(not_after),
                Moment(now)
            )
        } else if now < not_before {
            format!(
                "is valid only from {}, and the clock here says {}; set it right",
                Moment(not_before),
                Moment(now)
            )
        } else {
            return Ok(());
        };
        Err(CaError::ClientTime {
            name: name.clone(),
            reason,
        })
    }

    /// For connections to the managers of its swarm; no other server will do.
    ///
    /// # Errors
    /// If the library refuses the configuration.
    pub fn config(&self) -> Result<Arc<ClientConfig>, CaError> {
        let own = SingleCertAndKey::from(self.certified.clone());
        client_config(&self.ca, self.identity.cluster, Arc::new(own))
    }
}

impl std::fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientKey")
            .field("identity", &self.identity)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

impl Request {
    /// Puts a client's certificates (PEM, its own first) and the roots it is to trust to
    /// the key.
    ///
    /// # Errors
    /// As [`ClientKey::from_pem`].
    pub fn complete_client(self, certificates: &str, roots: &str) -> Result<ClientKey, CaError> {
        let key = self.key_pem();
        let parts = [certificates, key.as_str(), roots].map(str::trim);
        ClientKey::from_pem(&(parts.join("\n") + "\n"))
    }
}
