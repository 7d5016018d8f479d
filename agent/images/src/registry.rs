//! The client side of the registry protocol (OCI distribution, Docker's v2):
//! `endpoint` says where to ask for a name, `auth` obtains what a registry
//! demands, `session` talks to one registry about one image
//! through the clients of `http`; `words` is what people are told. Nothing here
//! touches the store.

mod auth;
mod endpoint;
mod http;
mod session;
mod words;

pub(crate) use endpoint::{Endpoint, check_mirrors};
pub(crate) use http::Http;
pub(crate) use session::{BlobEvent, Session};
pub(crate) use words::chain;

use std::fmt;
use std::time::Duration;

use crate::digest::Digest;
use crate::layer::Limits;
use crate::manifest::Platform;

/// How the store reaches registries, and the limits it keeps.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// Stand in for Docker Hub's names, tried in order, then the hub itself:
    /// URLs such as `http://10.0.0.1:5000`, whose scheme decides about TLS. A
    /// path (`https://host/cache`) is put before the repository's name.
    pub mirrors: Vec<String>,
    /// Registries spoken to in plain HTTP, as `HOST:PORT` or `HOST`, just as
    /// references name them. Those on the loopback are tried so in any case.
    pub insecure: Vec<String>,
    /// PEM certificates of authorities that are trusted beside the system's.
    pub ca_certificates: Vec<Vec<u8>>,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a registry may be silent within an answer.
    pub read_timeout: Duration,
    /// How often in a row something is tried again before the pull fails.
    pub retries: u32,
    /// The wait before the first retry; it doubles up to [`RegistryConfig::backoff_max`].
    pub backoff: Duration,
    /// The longest wait between retries.
    pub backoff_max: Duration,
    /// How many layers of one image are downloaded and unpacked at a time.
    pub parallel: usize,
    /// What layers and documents may hold.
    pub limits: Limits,
}

impl Default for RegistryConfig {
    fn default() -> RegistryConfig {
        RegistryConfig {
            mirrors: Vec::new(),
            insecure: Vec::new(),
            ca_certificates: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            retries: 5,
            backoff: Duration::from_millis(250),
            backoff_max: Duration::from_secs(10),
            parallel: 3,
            limits: Limits::default(),
        }
    }
}

/// What a registry wants to know of a user. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// A name and a password (or access token in its place).
    Password {
        /// The user's name.
        username: String,
        /// The password.
        password: String,
    },
    /// A long-lived token that is exchanged for short ones.
    IdentityToken(String),
    /// A token that goes to the registry as it is.
    Bearer(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::Password { .. } => "Credentials::Password(..)",
            Credentials::IdentityToken(_) => "Credentials::IdentityToken(..)",
            Credentials::Bearer(_) => "Credentials::Bearer(..)",
        })
    }
}

/// What a registry says about a name, without pulling it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteImage {
    /// The digest that the name stands for at the moment.
    pub digest: Digest,
    /// Size of the manifest or index in bytes.
    pub size: u64,
    /// The platforms for which there is an image.
    pub platforms: Vec<Platform>,
    /// The registry or mirror that answered.
    pub registry: String,
}

/// Reads what a registry or its token service may say; for `decoders`.
pub(crate) fn read_answer(bytes: &[u8]) {
    drop(auth::read_token(bytes));
    drop(auth::parse(&String::from_utf8_lossy(bytes)));
    drop(words::registry_message(bytes));
}
