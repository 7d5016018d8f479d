//! The HTTP clients that all conversations with registries share.

use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::{Certificate, Client};

use super::RegistryConfig;
use crate::error::Cause;

/// The HTTP clients, made when first needed: reading the system's certificates
/// takes time and memory, and a node on a plain mirror never needs them.
pub(crate) struct Http {
    pub(super) config: Arc<RegistryConfig>,
    tls: OnceLock<Result<Client, Cause>>,
    plain: OnceLock<Result<Client, Cause>>,
}

impl Http {
    pub(crate) fn new(config: Arc<RegistryConfig>) -> Http {
        Http {
            config,
            tls: OnceLock::new(),
            plain: OnceLock::new(),
        }
    }

    pub(super) fn client(&self, tls: bool) -> Result<Client, Cause> {
        let slot = if tls { &self.tls } else { &self.plain };
        slot.get_or_init(|| self.build(tls)).clone()
    }

    fn build(&self, tls: bool) -> Result<Client, Cause> {
        // An error says that there is a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let redirects = reqwest::redirect::Policy::custom(|attempt| {
            let downgrade = attempt.url().scheme() != "https"
                && attempt.previous().iter().any(|url| url.scheme() == "https");
            if downgrade {
                attempt.error("redirected from TLS to plain HTTP")
            } else if attempt.previous().len() > 10 {
                attempt.error("redirected too often")
            } else {
                attempt.follow()
            }
        });
        let mut certificates = Vec::new();
        for pem in &self.config.ca_certificates {
            certificates.extend(Certificate::from_pem_bundle(pem).map_err(cause)?);
        }
        let builder = || {
            Client::builder()
                .user_agent(concat!("skep/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(self.config.connect_timeout)
                .read_timeout(self.config.read_timeout)
                .tcp_keepalive(Duration::from_secs(30))
                .pool_idle_timeout(Duration::from_secs(15))
                .redirect(redirects)
        };
        if tls {
            return builder()
                .tls_certs_merge(certificates)
                .build()
                .map_err(cause);
        }
        builder()
            .tls_certs_only(certificates)
            .build()
            .map_err(cause)
    }
}

pub(super) fn cause(error: impl Error + Send + Sync + 'static) -> Cause {
    Arc::new(error)
}
