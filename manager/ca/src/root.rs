//! The root of trust: made once per swarm, issues all node certificates.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData,
};
use ring::digest::{SHA256, digest};
use skep_types::{ClusterId, NodeId, Role};
use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::x509::X509Name;

use crate::bundle::{CaBundle, Digest, fingerprint};
use crate::client::ClientIdentity;
use crate::error::CaError;
use crate::peer::{self, BACKDATE, CLIENT, Validity};

/// CN of the root, and a name under which managers serve it.
const NAME: &str = "swarm-ca";
/// 20 years, as Swarm has it.
const ROOT_VALIDITY: Duration = Duration::from_secs(630_720_000);
/// Least life of a node certificate: 1 hour.
pub const MIN_VALIDITY: Duration = Duration::from_secs(3600);

/// The CA with its key. Only managers hold one.
pub struct Root {
    certificate: CaBundle,
    issuer: Issuer<'static, KeyPair>,
}

/// Whom a certificate is for; the CA says so, not the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The node.
    pub node: NodeId,
    /// As what it is admitted.
    pub role: Role,
    /// The swarm.
    pub cluster: ClusterId,
}

/// What a certificate says of whom it is for.
struct Wording {
    /// O.
    cluster: ClusterId,
    /// OU.
    unit: &'static str,
    /// CN.
    name: String,
    /// Other names of it.
    alternatives: Vec<String>,
    purposes: Vec<ExtendedKeyUsagePurpose>,
}

/// A certificate that was just made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The certificate, PEM.
    pub pem: String,
    /// From when to when it holds.
    pub validity: Validity,
    /// SHA-256 of it.
    pub fingerprint: Digest,
}

/// The node that a request (PEM, signed by its key) is for when it joins. The
/// same for the same key: a machine that asks again, because it did not hear
/// the answer, is not taken for another one.
///
/// # Errors
/// If the request is broken or signed by another key.
pub fn node_of(request: &str) -> Result<NodeId, CaError> {
    let key = read(request)?.public_key.subject_public_key_info();
    let digest = digest(&SHA256, &key);
    let mut bits = [0; 16];
    bits.copy_from_slice(&digest.as_ref()[..16]);
    Ok(NodeId::from_bits(u128::from_be_bytes(bits)))
}

fn read(request: &str) -> Result<CertificateSigningRequestParams, CaError> {
    CertificateSigningRequestParams::from_pem(request)
        .map_err(|e| CaError::invalid("certificate request", e))
}

impl Root {
    /// Makes a new root, valid from `now` (less an hour) for 20 years.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn generate(now: SystemTime) -> Result<Self, CaError> {
        let fail = |e: rcgen::Error| CaError::crypto("make a root CA")(&e);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(fail)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, NAME);
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now + ROOT_VALIDITY).into();
        // A root that replaces this one may be signed by it.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(fail)?;
        Self::from_pem(&certificate.pem(), &key.serialize_pem())
    }

    /// Takes up a root from its certificate and key, both PEM.
    ///
    /// # Errors
    /// If they cannot be read or do not belong together.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, CaError> {
        let bundle = CaBundle::from_pem(certificate)?;
        let key = KeyPair::from_pem(key).map_err(|e| CaError::invalid("CA key", e))?;
        let matches = {
            let der = bundle.first();
            let (_, parsed) = x509_parser::parse_x509_certificate(der)
                .map_err(|e| CaError::invalid("CA certificate", e))?;
            parsed.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
        };
        if !matches {
            return Err(CaError::invalid(
                "CA key",
                "it does not belong to the CA certificate",
            ));
        }
        let issuer = Issuer::from_ca_cert_der(bundle.first(), key)
            .map_err(|e| CaError::invalid("CA certificate", e))?;
        Ok(Self {
            certificate: bundle,
            issuer,
        })
    }

    /// The certificate, to be given to every node.
    pub fn certificate(&self) -> &CaBundle {
        &self.certificate
    }

    /// The public key, as its algorithm writes it.
    pub(crate) fn public_key(&self) -> &[u8] {
        self.issuer.key().public_key_raw()
    }

    /// The private key, PEM.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Signs the key and name of another root: who trusts only this one then
    /// believes that one, until either ends.
    ///
    /// # Errors
    /// If the other's name is written in a way that cannot be repeated.
    pub fn cross_sign(&self, other: &Root) -> Result<String, CaError> {
        let der = other.certificate.first();
        let (_, parsed) = x509_parser::parse_x509_certificate(der)
            .map_err(|e| CaError::invalid("CA certificate", e))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name_of(parsed.subject())?;
        let (ours, theirs) = (
            Validity::from_der(self.certificate.first())?,
            Validity::from_der(der)?,
        );
        params.not_before = ours.not_before.max(theirs.not_before).into();
        params.not_after = ours.not_after.min(theirs.not_after).into();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        let signed = params
            .signed_by(other.issuer.key(), &self.issuer)
            .map_err(|e| CaError::crypto("cross-sign a root CA")(&e))?;
        Ok(signed.pem())
    }

    /// Issues a certificate for the key in a request (PEM, signed by that
    /// key). All else in the request is ignored. It holds from an hour before
    /// `now` until `validity` after it, but never longer than the root.
    ///
    /// # Errors
    /// If the request is broken or signed by another key, or `validity` is
    /// less than [`MIN_VALIDITY`].
    pub fn issue(
        &self,
        request: &str,
        subject: &Subject,
        validity: Duration,
        now: SystemTime,
    ) -> Result<Issued, CaError> {
        self.sign(request, subject, &self.life(validity, now)?)
    }

    /// As [`Root::issue`], for a client.
    ///
    /// # Errors
    /// As there.
    pub fn issue_client(
        &self,
        request: &str,
        client: &ClientIdentity,
        validity: Duration,
        now: SystemTime,
    ) -> Result<Issued, CaError> {
        let wording = Wording {
            cluster: client.cluster,
            unit: CLIENT,
            name: client.name.clone(),
            alternatives: Vec::new(),
            // It serves nobody.
            purposes: vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        self.certify(request, wording, &self.life(validity, now)?)
    }

    fn life(&self, validity: Duration, now: SystemTime) -> Result<Validity, CaError> {
        if validity < MIN_VALIDITY {
            return Err(CaError::TooShort { asked: validity });
        }
        let root_ends = Validity::from_der(self.certificate.first())?.not_after;
        // What is too far off to be told ends with the root as well.
        let not_after = now.checked_add(validity).unwrap_or(root_ends);
        Ok(Validity {
            not_before: now - BACKDATE,
            not_after: not_after.min(root_ends),
        })
    }

    /// As [`Root::issue`], with the times as they are given.
    pub(crate) fn sign(
        &self,
        request: &str,
        subject: &Subject,
        validity: &Validity,
    ) -> Result<Issued, CaError> {
        let unit = peer::unit_of(subject.role);
        let node = subject.node.to_string();
        let mut alternatives = vec![unit.to_owned(), node.clone()];
        if subject.role == Role::Manager {
            alternatives.push(NAME.into());
        }
        let wording = Wording {
            cluster: subject.cluster,
            unit,
            name: node,
            alternatives,
            purposes: vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
        };
        self.certify(request, wording, validity)
    }

    fn certify(
        &self,
        request: &str,
        wording: Wording,
        validity: &Validity,
    ) -> Result<Issued, CaError> {
        let Wording {
            cluster,
            unit,
            name,
            alternatives,
            purposes,
        } = wording;
        let mut csr = read(request)?;
        let mut params = CertificateParams::new(alternatives)
            .map_err(|e| CaError::invalid("certificate subject", e))?;
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, cluster.to_string());
        params
            .distinguished_name
            .push(DnType::OrganizationalUnitName, unit);
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = validity.not_before.into();
        params.not_after = validity.not_after.into();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = purposes;
        params.use_authority_key_identifier_extension = true;
        csr.params = params;
        let certificate = csr
            .signed_by(&self.issuer)
            .map_err(|e| CaError::crypto("sign a certificate")(&e))?;
        Ok(Issued {
            validity: Validity::from_der(certificate.der())?,
            fingerprint: fingerprint(certificate.der()),
            pem: certificate.pem(),
        })
    }
}

/// A name, to be written again byte for byte: verifiers compare bytes.
fn name_of(name: &X509Name<'_>) -> Result<DistinguishedName, CaError> {
    let refuse = |reason: &str| CaError::NewRoot {
        reason: format!("the subject of the CA certificate cannot be used: {reason}"),
    };
    let mut written = DistinguishedName::new();
    for part in name.iter_attributes() {
        let kind: Vec<u64> = part
            .attr_type()
            .iter()
            .ok_or_else(|| refuse("an attribute has no type"))?
            .collect();
        let text = part
            .as_str()
            .map_err(|_| refuse("only text is supported in it"))?;
        let value = match part.attr_value().tag() {
            Tag::Utf8String => DnValue::Utf8String(text.to_owned()),
            Tag::PrintableString => DnValue::PrintableString(
                text.try_into()
                    .map_err(|_| refuse("it has characters that its type forbids"))?,
            ),
            Tag::Ia5String => DnValue::Ia5String(
                text.try_into()
                    .map_err(|_| refuse("it has characters that its type forbids"))?,
            ),
            _ => {
                return Err(refuse(
                    "only UTF-8, printable and IA5 text is supported in it",
                ));
            }
        };
        written.push(DnType::CustomDnType(kind), value);
    }
    Ok(written)
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Root")
            .field("certificate", &self.certificate.pem())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Request;
    use crate::peer::PeerIdentity;
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    const NODE_VALIDITY: Duration = Duration::from_secs(90 * 24 * 3600);

    fn subject(role: Role) -> Subject {
        Subject {
            node: NodeId::from_bits(1),
            role,
            cluster: ClusterId::from_bits(2),
        }
    }

    #[test]
    fn a_root_survives_being_stored() {
        let now = SystemTime::now();
        let root = Root::generate(now).unwrap();
        let again = Root::from_pem(root.certificate().pem(), &root.key_pem()).unwrap();
        assert_eq!(root.certificate().digest(), again.certificate().digest());
        let other = Root::generate(now).unwrap();
        assert!(Root::from_pem(root.certificate().pem(), &other.key_pem()).is_err());
        assert!(!format!("{root:?}").contains("PRIVATE"));
        let life = Validity::from_der(root.certificate().first())
            .unwrap()
            .length();
        assert_eq!(life, ROOT_VALIDITY + BACKDATE);
    }

    #[test]
    fn the_ca_writes_the_subject_and_the_names_whatever_was_asked() {
        let now = SystemTime::now();
        let root = Root::generate(now).unwrap();
        let request = Request::generate().unwrap();
        let issued = root
            .issue(request.pem(), &subject(Role::Manager), NODE_VALIDITY, now)
            .unwrap();
        let der = CertificateDer::from_pem_slice(issued.pem.as_bytes()).unwrap();
        assert_eq!(
            PeerIdentity::from_der(&der).unwrap(),
            PeerIdentity {
                node: NodeId::from_bits(1),
                role: Role::Manager,
                cluster: ClusterId::from_bits(2)
            }
        );
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        let names: Vec<String> = names
            .value
            .general_names
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(names.iter().any(|n| n.contains("swarm-ca")), "{names:?}");
        assert!(!parsed.is_ca());
        assert_eq!(issued.validity.length(), NODE_VALIDITY + BACKDATE);
    }

    #[test]
    fn a_request_that_was_tampered_with_or_a_life_too_short_is_refused() {
        let now = SystemTime::now();
        let root = Root::generate(now).unwrap();
        let request = Request::generate().unwrap();
        let short = root.issue(
            request.pem(),
            &subject(Role::Worker),
            Duration::from_secs(60),
            now,
        );
        assert!(matches!(short, Err(CaError::TooShort { .. })));
        let mut lines: Vec<String> = request.pem().lines().map(Into::into).collect();
        let last = lines.len() - 2;
        let flipped = if lines[last].starts_with('A') {
            "B"
        } else {
            "A"
        };
        lines[last].replace_range(0..1, flipped);
        let bad = root.issue(
            &lines.join("\n"),
            &subject(Role::Worker),
            NODE_VALIDITY,
            now,
        );
        assert!(matches!(bad, Err(CaError::Invalid { .. })), "{bad:?}");
        assert!(node_of(&lines.join("\n")).is_err());
        assert!(
            root.issue("not pem", &subject(Role::Worker), NODE_VALIDITY, now)
                .is_err()
        );
    }
}
