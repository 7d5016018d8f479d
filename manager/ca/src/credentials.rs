//! TLS configurations that follow the node's identity as it is renewed.

use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};
use skep_types::{ClusterId, NodeId};

use crate::bundle::CaBundle;
use crate::error::CaError;
use crate::identity::{Identity, provider};
use crate::verify::{Anyone, Trusted, Verifier};

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
}

impl Trust {
    fn new(
        ca: &CaBundle,
        cluster: Option<ClusterId>,
        removed: Arc<BTreeSet<NodeId>>,
    ) -> Result<Self, CaError> {
        let roots = Arc::new(ca.roots()?);
        let clients =
            WebPkiClientVerifier::builder_with_provider(roots.clone(), Arc::new(provider()))
                .allow_unauthenticated()
                .build()
                .map_err(|e| CaError::invalid("CA certificate", e))?;
        Ok(Self {
            roots,
            clients,
            cluster,
            removed,
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
        let trust = Trust::new(identity.ca(), Some(identity.peer().cluster), Arc::default())?;
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
        let trust = Trust::new(identity.ca(), Some(identity.peer().cluster), removed)?;
        *current = Current {
            identity: Arc::new(identity),
            trust: Arc::new(trust),
        };
        Ok(())
    }

    /// Refuses these nodes from the next handshake on.
    pub fn set_removed(&self, removed: impl IntoIterator<Item = NodeId>) {
        let mut current = self.write();
        let old = &current.trust;
        current.trust = Arc::new(Trust {
            roots: old.roots.clone(),
            clients: old.clients.clone(),
            cluster: old.cluster,
            removed: Arc::new(removed.into_iter().collect()),
        });
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
                trusted: Shared(self.clone()),
                provider,
            }))
            .with_cert_resolver(Arc::new(Shared(self.clone())));
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
        let provider = Arc::new(provider());
        let mut config = client(
            provider.clone(),
            Verifier {
                trusted: Shared(self.clone()),
                provider,
            },
        )?
        .with_client_cert_resolver(Arc::new(Shared(self.clone())));
        finish(&mut config);
        Ok(Arc::new(config))
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
    let provider = Arc::new(provider());
    let trust = Arc::new(Trust::new(ca, None, Arc::default())?);
    let mut config = client(
        provider.clone(),
        Verifier {
            trusted: Fixed(trust),
            provider,
        },
    )?
    .with_no_client_auth();
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
    let provider = Arc::new(provider());
    let mut config = client(provider.clone(), Anyone(provider))?.with_no_client_auth();
    finish(&mut config);
    Ok(Arc::new(config))
}

fn tls(error: rustls::Error) -> CaError {
    CaError::crypto("configure TLS")(&error)
}

type ClientBuilder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn client(
    provider: Arc<CryptoProvider>,
    verifier: impl rustls::client::danger::ServerCertVerifier + 'static,
) -> Result<ClientBuilder, CaError> {
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier)))
}

fn finish(config: &mut ClientConfig) {
    config.alpn_protocols = vec![ALPN.into()];
    config.resumption = rustls::client::Resumption::disabled();
    // The name means nothing between nodes, so it is not shown to the network.
    config.enable_sni = false;
}

/// The credentials as rustls asks for them.
#[derive(Debug)]
struct Shared(Arc<Credentials>);

impl Trusted for Shared {
    fn trust(&self) -> Arc<Trust> {
        self.0.read().trust.clone()
    }
}

impl ResolvesServerCert for Shared {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.identity().certified.clone())
    }
}

impl ResolvesClientCert for Shared {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.identity().certified.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Trust that does not change.
#[derive(Debug)]
struct Fixed(Arc<Trust>);

impl Trusted for Fixed {
    fn trust(&self) -> Arc<Trust> {
        self.0.clone()
    }
}
