//! What a node certificate says.

use std::time::{Duration, SystemTime};

use ring::rand::{SecureRandom, SystemRandom};
use skep_types::{ClusterId, NodeId, Role};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::error::CaError;
use crate::explain::from_unix;

/// Certificates begin this much before they are made, for clocks that are
/// behind.
pub(crate) const BACKDATE: Duration = Duration::from_secs(3600);

/// OU of managers and of workers.
pub(crate) const MANAGER: &str = "swarm-manager";
pub(crate) const WORKER: &str = "swarm-worker";
/// OU of clients, which are no nodes.
pub(crate) const CLIENT: &str = "swarm-client";

pub(crate) fn unit_of(role: Role) -> &'static str {
    match role {
        Role::Manager => MANAGER,
        Role::Worker => WORKER,
    }
}

/// Who a peer is, by its certificate. Only worth something after TLS has
/// verified it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// CN: the node.
    pub node: NodeId,
    /// OU: as what it was admitted.
    pub role: Role,
    /// O: where.
    pub cluster: ClusterId,
}

/// From when to when a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub not_before: SystemTime,
    /// Its last second.
    pub not_after: SystemTime,
}

fn invalid(reason: impl std::fmt::Display) -> CaError {
    CaError::invalid("node certificate", reason)
}

pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CaError> {
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate)
        .map_err(invalid)
}

/// The one value of an attribute; two would be for two readers to disagree
/// about.
pub(crate) fn only<'a>(
    what: &str,
    mut values: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>,
) -> Result<&'a str, CaError> {
    let value = values
        .next()
        .ok_or_else(|| invalid(format!("it has no {what}")))?;
    if values.next().is_some() {
        return Err(invalid(format!("it has more than one {what}")));
    }
    value.as_str().map_err(invalid)
}

fn read(subject: &X509Name<'_>) -> Result<PeerIdentity, CaError> {
    let role = match only("role (OU)", subject.iter_organizational_unit())? {
        MANAGER => Role::Manager,
        WORKER => Role::Worker,
        CLIENT => return Err(invalid("it is that of a client, which is no node")),
        other => return Err(invalid(format!("{other:?} is not a role"))),
    };
    Ok(PeerIdentity {
        node: only("node id (CN)", subject.iter_common_name())?
            .parse()
            .map_err(invalid)?,
        role,
        cluster: only("swarm id (O)", subject.iter_organization())?
            .parse()
            .map_err(invalid)?,
    })
}

impl PeerIdentity {
    /// Reads the subject of a certificate in DER. Verifies nothing.
    ///
    /// # Errors
    /// If it is not a node's certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, CaError> {
        read(parse(der)?.subject())
    }
}

impl Validity {
    /// Reads the validity of a certificate in DER.
    ///
    /// # Errors
    /// If it is not a certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, CaError> {
        let certificate = parse(der)?;
        let validity = certificate.validity();
        Ok(Self {
            not_before: from_unix(validity.not_before.timestamp()),
            not_after: from_unix(validity.not_after.timestamp()),
        })
    }

    /// When the certificate was issued, by the clock of the CA.
    pub fn issued_at(&self) -> SystemTime {
        self.not_before + BACKDATE
    }

    /// How long it holds in all.
    pub fn length(&self) -> Duration {
        self.not_after
            .duration_since(self.not_before)
            .unwrap_or_default()
    }

    /// A random moment between 50 and 80 % of its life, so that nodes which
    /// joined together do not renew together.
    pub fn renewal_time(&self) -> SystemTime {
        let mut bytes = [0; 4];
        // Without randomness the middle of the range will do.
        let share = match SystemRandom::new().fill(&mut bytes) {
            Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
            Err(_) => 0.5,
        };
        self.not_before + self.length().mul_f64(0.5 + 0.3 * share)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn renewal_is_between_half_and_four_fifths_of_life() {
        let day = Duration::from_secs(24 * 3600);
        let validity = Validity {
            not_before: UNIX_EPOCH,
            not_after: UNIX_EPOCH + day * 100,
        };
        let times: Vec<_> = (0..200).map(|_| validity.renewal_time()).collect();
        assert!(times.iter().all(|t| *t >= UNIX_EPOCH + day * 50));
        assert!(times.iter().all(|t| *t <= UNIX_EPOCH + day * 80));
        let (first, last) = (times.iter().min(), times.iter().max());
        assert!(last.unwrap().duration_since(*first.unwrap()).unwrap() > day * 10);
    }
}
