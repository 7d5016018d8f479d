//! The checks on a peer's certificate during the handshake.
//!
//! One verifier serves both directions and every state a node can be in. It
//! asks whom to trust each time, so that a renewal, a new root or a removal
//! counts from the next handshake on without a restart.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use skep_types::Role;

use crate::client::ClientIdentity;
use crate::credentials::{Credentials, Former, Trust};
use crate::error::CaError;
use crate::peer::PeerIdentity;

/// Whom a node believes.
#[derive(Debug)]
pub(crate) enum Trusted {
    /// Its swarm, as its credentials have it at the moment.
    Swarm(Arc<Credentials>),
    /// Managers under a root it has, while it has no certificate.
    Root(Arc<Trust>),
    /// Any server: only for the download of the CA, which is then checked
    /// against the join token.
    Anyone,
}

impl Trusted {
    fn now(&self) -> Option<Arc<Trust>> {
        match self {
            Trusted::Swarm(credentials) => Some(credentials.trust()),
            Trusted::Root(trust) => Some(trust.clone()),
            Trusted::Anyone => None,
        }
    }
}

/// Checks peers against what is trusted at the moment.
#[derive(Debug)]
pub(crate) struct Verifier {
    pub trusted: Trusted,
    pub provider: Arc<CryptoProvider>,
}

fn refused(error: CaError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

/// The checks beyond the chain: the right swarm, and not removed.
pub(crate) fn check(trust: &Trust, der: &CertificateDer<'_>) -> Result<PeerIdentity, CaError> {
    let peer = PeerIdentity::from_der(der)?;
    if let Some(expected) = trust.cluster
        && peer.cluster != expected
    {
        return Err(CaError::OtherCluster {
            node: peer.node,
            found: peer.cluster,
            expected,
        });
    }
    if trust.removed.contains(&peer.node) {
        return Err(CaError::Removed { node: peer.node });
    }
    Ok(peer)
}

/// The same for who connects: a client will do. Whether it still is one is asked at
/// each of its calls, where it can be told why not.
pub(crate) fn admit(trust: &Trust, der: &CertificateDer<'_>) -> Result<(), CaError> {
    let Some(client) = ClientIdentity::of(der)? else {
        return check(trust, der).map(drop);
    };
    match trust.cluster {
        Some(expected) if client.cluster != expected => Err(CaError::ClientOfOther {
            name: client.name,
            found: client.cluster,
            expected,
        }),
        _ => Ok(()),
    }
}

/// Whose a certificate says it is, in words.
pub(crate) fn whose(der: &CertificateDer<'_>) -> String {
    let node = PeerIdentity::from_der(der).map(|peer| format!("node {}", peer.node));
    node.or_else(|_| match ClientIdentity::of(der) {
        Ok(Some(client)) => Ok(format!("client {}", client.name)),
        Ok(None) => Ok("nobody".to_owned()),
        Err(error) => Err(error),
    })
    .unwrap_or_else(|error| format!("somebody ({error})"))
}

/// A chain that leads to no root of ours may lead to one that was replaced.
/// Says how to go on: `Some` if the certificate is excused.
fn excuse<'a>(
    trust: &'a Trust,
    own: &CertificateDer<'_>,
    error: &Error,
) -> Result<Option<&'a Former>, Error> {
    let foreign = matches!(
        error,
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)
    );
    match &trust.excused {
        Some(former) if foreign && former.excuses(own) => Ok(Some(former)),
        Some(former) if foreign && former.ca.issuer_of(own).is_some() => {
            Err(refused(CaError::Replaced { whose: whose(own) }))
        }
        _ => Ok(None),
    }
}

impl Verifier {
    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn old_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }
}

/// A manager must be on the other side, whatever its name or address.
impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(trust) = self.trusted.now() else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(own)?;
        let verify = |roots: &RootCertStore| {
            verify_server_cert_signed_by_trust_anchor(
                &parsed,
                roots,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )
        };
        if let Err(error) = verify(&trust.roots) {
            match excuse(&trust, own, &error)? {
                Some(former) => verify(&former.roots)?,
                None => return Err(error),
            }
        }
        let peer = check(&trust, own).map_err(refused)?;
        if peer.role != Role::Manager {
            return Err(refused(CaError::NotManager { node: peer.node }));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.old_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// A node or a client of the swarm, or nobody: one that joins has no certificate yet.
impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Who knows nobody lets nobody in.
        let trust = self.trusted.now().ok_or(CertificateError::UnknownIssuer)?;
        let verified = trust.clients.verify_client_cert(own, intermediates, now);
        let verified = match verified {
            Ok(verified) => verified,
            Err(error) => match excuse(&trust, own, &error)? {
                Some(former) => former.clients.verify_client_cert(own, intermediates, now)?,
                None => return Err(error),
            },
        };
        admit(&trust, own).map_err(refused)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.old_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
