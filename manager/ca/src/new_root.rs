//! The root that is to take the place of the present one: made here or given
//! by the user, and what a given one must be like.

use std::time::{Duration, SystemTime};

use skep_types::{ClusterId, NextRoot, NodeId, Role, RootCa};
use x509_parser::oid_registry as oid;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::bundle::CaBundle;
use crate::error::CaError;
use crate::identity::Request;
use crate::peer::Validity;
use crate::root::{MIN_VALIDITY, Root, Subject};

/// Least life that a given root must have left: 1 year.
const LIFE_LEFT: Duration = Duration::from_secs(365 * 24 * 3600);
/// Least size of an RSA key, in bits.
const RSA_BITS: usize = 2048;

/// Makes the root that is to replace the present one, or checks the one that
/// is given (certificate and key, PEM), and has the present one vouch for it.
///
/// # Errors
/// The first limit of Swarm's that the given one does not keep.
pub fn next_root(
    present: &RootCa,
    given: Option<(&str, &str)>,
    now: SystemTime,
) -> Result<NextRoot, CaError> {
    let old = Root::from_pem(&present.certificate, &present.key)?;
    let root = match given {
        None => Root::generate(now)?,
        Some((certificate, key)) => {
            check(certificate, now)?;
            let root = Root::from_pem(certificate, key)?;
            if root.public_key() == old.public_key() {
                return Err(refused("Cannot update to a cert with an identical key"));
            }
            root
        }
    };
    let next = NextRoot {
        certificate: root.certificate().pem().to_owned(),
        key: root.key_pem(),
        cross_signed: old.cross_sign(&root)?,
    };
    rehearse(&old, &root, &next, now)?;
    Ok(next)
}

fn refused(reason: impl Into<String>) -> CaError {
    CaError::NewRoot {
        reason: reason.into(),
    }
}

fn check(certificate: &str, now: SystemTime) -> Result<(), CaError> {
    let bundle = CaBundle::from_pem(certificate)?;
    if bundle.len() != 1 {
        return Err(refused(
            "the desired CA certificate cannot contain multiple certificates",
        ));
    }
    let der = bundle.first();
    let (_, parsed) =
        X509Certificate::from_der(der).map_err(|e| CaError::invalid("CA certificate", e))?;
    let signed = &parsed.signature_algorithm.algorithm;
    let good = [
        oid::OID_PKCS1_SHA256WITHRSA,
        oid::OID_PKCS1_SHA384WITHRSA,
        oid::OID_PKCS1_SHA512WITHRSA,
        oid::OID_SIG_ECDSA_WITH_SHA256,
        oid::OID_SIG_ECDSA_WITH_SHA384,
        oid::OID_SIG_ECDSA_WITH_SHA512,
    ];
    if !good.contains(signed) {
        return Err(refused(
            "the CA certificate must be signed by RSA or ECDSA with SHA-256, SHA-384 or SHA-512",
        ));
    }
    let key = parsed
        .public_key()
        .parsed()
        .map_err(|e| CaError::invalid("CA certificate", e))?;
    match key {
        PublicKey::RSA(rsa) if rsa.key_size() >= RSA_BITS => {}
        PublicKey::RSA(rsa) => {
            return Err(refused(format!(
                "unsupported RSA key size: {} bits; at least {RSA_BITS} are needed",
                rsa.key_size()
            )));
        }
        PublicKey::EC(point) if matches!(point.key_size(), 256 | 384) => {}
        _ => {
            return Err(refused(
                "only RSA keys and ECDSA keys on P-256 or P-384 can be used for a CA",
            ));
        }
    }
    let ends = Validity::from_der(der)?;
    if ends.not_before > now {
        return Err(refused("not yet valid CA certificate"));
    }
    if ends.not_after < now + LIFE_LEFT {
        return Err(refused(
            "CA certificate expires too soon: it must be good for at least one more year",
        ));
    }
    Ok(())
}

/// Issues a certificate that nobody gets: a root whose certificates somebody
/// would not believe must be found out now.
fn rehearse(old: &Root, root: &Root, next: &NextRoot, now: SystemTime) -> Result<(), CaError> {
    let key = Request::generate()?;
    let subject = Subject {
        node: NodeId::from_bits(0),
        role: Role::Worker,
        cluster: ClusterId::from_bits(0),
    };
    let issued = root.issue(key.pem(), &subject, MIN_VALIDITY, now)?;
    let chain = format!("{}\n{}", issued.pem.trim_end(), next.cross_signed);
    let unusable = |_| refused("certificates issued under the CA certificate cannot be verified");
    let identity = key
        .complete(&chain, old.certificate().clone())
        .map_err(unusable)?;
    identity
        .with_ca(root.certificate().clone())
        .map_err(unusable)?;
    Ok(())
}
