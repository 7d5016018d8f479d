//! Who may speak to whom: the swarm's certificate authority, join tokens, node
//! identities and the TLS configurations made of them.
//!
//! Owns keys and certificates and their checks, with errors that say what to
//! do. Leaves the wire (how a node asks for a certificate) and the store (where
//! the root's key is kept) to the manager, and connections to whoever holds a
//! socket: no tokio and no tonic here. The crypto provider is ring and the
//! protocol TLS 1.3, without a choice.

mod bundle;
mod credentials;
mod error;
mod explain;
mod identity;
mod peer;
mod root;
mod token;
mod verify;

pub use bundle::CaBundle;
pub use credentials::{Credentials, bootstrap_config, joining_config};
pub use error::CaError;
pub use explain::explain;
pub use identity::{Identity, Request};
pub use peer::{PeerIdentity, Validity};
pub use root::{Issued, MIN_VALIDITY, NODE_VALIDITY, Root, Subject};
pub use token::{JoinToken, TokenError};
