//! TLS configurations that follow the node's identity as it is renewed.

use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};

use rustls::client::ResolvesClientCert;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::CertificateDer;
use skep_types::{ClusterId, NodeId};

use crate::bundle::{CaBundle, Digest, fingerprint};
use crate::error::CaError;
use crate::identity::{Identity, provider};
use crate::verify::{Trusted, Verifier, admit, whose};

/// gRPC runs over HTTP/2.
const ALPN: &[u8] = b"h2";

/// Whom to trust at one moment.
#[derive(Debug)]
pub(crate) struct Trust {
    pub roots: Arc<RootCertStore>,
    pub clients: Arc<dyn ClientCertVerifier>,
    /// Only known once a node has an identity.
    pub cluster: Option<ClusterId>,
    pub removed: Arc<BTreeSet<NodeId>>,
    pub excused: Option<Arc<Former>>,
}

/// Certificates that are still good although their root was replaced: those
/// that nodes, which were away meanwhile, showed last. Whoever took the old
/// root's key cannot make one of them.
#[derive(Debug, Clone)]
pub struct Excused {
    /// The roots that were replaced.
    pub roots: CaBundle,
    /// SHA-256 of those certificates.
    pub certificates: BTreeSet<Digest>,
}

/// [`Excused`], ready for use.
#[derive(Debug)]
pub(crate) struct Former {
    pub ca: CaBundle,
    pub roots: Arc<RootCertStore>,
    pub clients: Arc<dyn ClientCertVerifier>,
    pub certificates: BTreeSet<Digest>,
}

impl Former {
    fn new(excused: Excused) -> Result<Self, CaError> {
        let roots = Arc::new(excused.roots.roots()?);
        Ok(Self {
            clients: client_verifier(&roots)?,
            ca: excused.roots,
            roots,
            certificates: excused.certificates,
        })
    }

    /// Whether this is one of those certificates.
    pub(crate) fn excuses(&self, own: &CertificateDer<'_>) -> bool {
        self.certificates.contains(&fingerprint(own))
    }
}

pub(crate) fn client_verifier(
    roots: &Arc<RootCertStore>,
) -> Result<Arc<dyn ClientCertVerifier>, CaError> {
    WebPkiClientVerifier::builder_with_provider(roots.clone(), Arc::new(provider()))
        .allow_unauthenticated()
        .build()
        .map_err(|e| CaError::invalid("CA certificate", e))
}

impl Trust {
    fn new(
        ca: &CaBundle,
        cluster: Option<ClusterId>,
        removed: Arc<BTreeSet<NodeId>>,
        excused: Option<Arc<Former>>,
    ) -> Result<Self, CaError> {
        let roots = Arc::new(ca.roots()?);
        Ok(Self {
            clients: client_verifier(&roots)?,
            roots,
            cluster,
            removed,
            excused,
        })
    }
}

struct Current {
    identity: Arc<Identity>,
    trust: Arc<Trust>,
}

/// The identity that all connections of a node use, replaceable at any time:
/// connections that stand go on, new ones use the new one.
pub struct Credentials {
    current: RwLock<Current>,
}

impl Credentials {
    /// Starts with this identity.
    ///
    /// # Errors
    /// If its CA cannot be used.
    pub fn new(identity: Identity) -> Result<Arc<Self>, CaError> {
        let cluster = Some(identity.peer().cluster);
        let trust = Trust::new(identity.ca(), cluster, Arc::default(), None)?;
        let current = Current {
            identity: Arc::new(identity),
            trust: Arc::new(trust),
        };
        Ok(Arc::new(Self {
            current: RwLock::new(current),
        }))
    }

    /// Uses another identity (renewed, with another role, or under another
    /// CA) from now on.
    ///
    /// # Errors
    /// If its CA cannot be used; the old one then stays.
    pub fn replace(&self, identity: Identity) -> Result<(), CaError> {
        let mut current = self.write();
        let removed = current.trust.removed.clone();
        let excused = current.trust.excused.clone();
        let cluster = Some(identity.peer().cluster);
        let trust = Trust::new(identity.ca(), cluster, removed, excused)?;
        *current = Current {
            identity: Arc::new(identity),
            trust: Arc::new(trust),
        };
        Ok(())
    }

    /// From the next handshake on, refuses these nodes and lets those in that
    /// are excused.
    ///
    /// # Errors
    /// If a former root cannot be used.
    pub fn set_exceptions(
        &self,
        removed: impl IntoIterator<Item = NodeId>,
        excused: Option<Excused>,
    ) -> Result<(), CaError> {
        let excused = excused.map(Former::new).transpose()?.map(Arc::new);
        let mut current = self.write();
        let old = &current.trust;
        current.trust = Arc::new(Trust {
            roots: old.roots.clone(),
            clients: old.clients.clone(),
            cluster: old.cluster,
            removed: Arc::new(removed.into_iter().collect()),
            excused,
        });
        Ok(())
    }

    /// Whether a peer that showed this certificate (DER) in a handshake that
    /// was good then may stay.
    ///
    /// # Errors
    /// Why it may not: it was removed, or its root was replaced.
    pub fn recheck(&self, certificate: &CertificateDer<'_>) -> Result<(), CaError> {
        let trust = self.trust();
        admit(&trust, certificate)?;
        match &trust.excused {
            Some(former)
                if former.ca.issuer_of(certificate).is_some() && !former.excuses(certificate) =>
            {
                Err(CaError::Replaced {
                    whose: whose(certificate),
                })
            }
            _ => Ok(()),
        }
    }

    /// The identity in use.
    pub fn identity(&self) -> Arc<Identity> {
        self.read().identity.clone()
    }

    /// For the port between nodes: TLS 1.3, a client's certificate is
    /// verified if it shows one (a node that joins has none). Make one and
    /// keep it.
    ///
    /// # Errors
    /// If the library refuses the configuration.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, CaError> {
        let provider = Arc::new(provider());
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(tls)?
            .with_client_cert_verifier(Arc::new(Verifier {
                trusted: Trusted::Swarm(self.clone()),
                provider,
            }))
            .with_cert_resolver(Arc::new(Own(self.clone())));
        config.alpn_protocols = vec![ALPN.into()];
        // A resumed session would skip the checks on who the client is now.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// For connections to managers: the server must be a manager of this
    /// swarm; its name does not matter. Make one and keep it.
    ///
    /// # Errors
    /// If the library refuses the configuration.
    pub fn client_config(self: &Arc<Self>) -> Result<Arc<ClientConfig>, CaError> {
        let mut config = client(Trusted::Swarm(self.clone()))?
            .with_client_cert_resolver(Arc::new(Own(self.clone())));
        finish(&mut config);
        Ok(Arc::new(config))
    }

    /// Whom to trust from the next handshake on.
    pub(crate) fn trust(&self) -> Arc<Trust> {
        self.read().trust.clone()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(|e| e.into_inner())
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Current> {
        self.current.write().unwrap_or_else(|e| e.into_inner())
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Credentials")
            .field(&self.identity())
            .finish()
    }
}

/// For a node that has the CA (checked against its token) but no certificate
/// yet: the server must be a manager under that CA.
///
/// # Errors
/// If the CA cannot be used.
pub fn joining_config(ca: &CaBundle) -> Result<Arc<ClientConfig>, CaError> {
    let trust = Trust::new(ca, None, Arc::default(), None)?;
    let mut config = client(Trusted::Root(Arc::new(trust)))?.with_no_client_auth();
    finish(&mut config);
    Ok(Arc::new(config))
}

/// For a client of this swarm, which shows `own`: the server must be one of its
/// managers.
pub(crate) fn client_config(
    ca: &CaBundle,
    cluster: ClusterId,
    own: Arc<dyn ResolvesClientCert>,
) -> Result<Arc<ClientConfig>, CaError> {
    let trust = Trust::new(ca, Some(cluster), Arc::default(), None)?;
    let mut config = client(Trusted::Root(Arc::new(trust)))?.with_client_cert_resolver(own);
    finish(&mut config);
    Ok(Arc::new(config))
}

/// For the download of the CA by a node that knows nobody yet: any server
/// will do. Believe nothing that comes over it but what
/// [`CaBundle::from_download`] accepts, and send no secret.
///
/// # Errors
/// If the library refuses the configuration.
pub fn bootstrap_config() -> Result<Arc<ClientConfig>, CaError> {
    let mut config = client(Trusted::Anyone)?.with_no_client_auth();
    finish(&mut config);
    Ok(Arc::new(config))
}

fn tls(error: rustls::Error) -> CaError {
    CaError::crypto("configure TLS")(&error)
}

type ClientBuilder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn client(trusted: Trusted) -> Result<ClientBuilder, CaError> {
    let provider = Arc::new(provider());
    Ok(ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { trusted, provider })))
}

fn finish(config: &mut ClientConfig) {
    config.alpn_protocols = vec![ALPN.into()];
    config.resumption = rustls::client::Resumption::disabled();
    // The name means nothing between nodes, so it is not shown to the network.
    config.enable_sni = false;
}

/// A node's own certificate, as rustls asks for it.
#[derive(Debug)]
struct Own(Arc<Credentials>);

impl ResolvesServerCert for Own {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.identity().certified.clone())
    }
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.identity().certified.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
