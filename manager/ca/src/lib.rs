//! Who may speak to whom: the swarm's certificate authority, join tokens, node
//! identities and the TLS configurations made of them.
//!
//! Owns keys and certificates and their checks, with errors that say what to
//! do. Leaves the wire (how a node asks for a certificate) and the store (where
//! the root's key is kept) to the manager, and connections to whoever holds a
//! socket: no tokio and no tonic here. The crypto provider is ring and the
//! protocol TLS 1.3, without a choice.

mod authority;
mod bundle;
mod client;
mod credentials;
mod error;
mod explain;
mod identity;
mod new_root;
mod peer;
mod root;
mod stored;
mod token;
mod unlock;
mod verify;

pub use authority::{Authority, former_roots, rotated, trusted_pem};
pub use bundle::{CaBundle, Digest, fingerprint};
pub use client::{ClientIdentity, ClientKey};
pub use credentials::{Credentials, Excused, bootstrap_config, joining_config};
pub use error::CaError;
pub use explain::{explain, explain_to_client};
pub use identity::{Identity, Request};
pub use new_root::next_root;
pub use peer::{PeerIdentity, Validity};
pub use root::{Issued, MIN_VALIDITY, Root, Subject, node_of};
pub use stored::StoredIdentity;
pub use token::{JoinToken, TokenError};
pub use unlock::{UnlockKeyError, new_unlock_key, parse_unlock_key, seal, unlock_key_text, unseal};
