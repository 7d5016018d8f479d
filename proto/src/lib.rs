//! The contract between the parts of skep: generated messages and services,
//! and the only place where they meet the domain types.
//!
//! Domain to wire cannot fail and goes by reference; wire to domain names the
//! field that is wrong. Every conversion takes its input apart exhaustively,
//! so that a new field is a compile error here. The same messages are the
//! Raft log and its snapshots, so one schema governs wire and disk.

#![forbid(unsafe_code)]

/// Generated messages and services.
#[allow(missing_docs, clippy::all)]
pub mod pb {
    tonic::include_proto!("skep.v1");
}

mod convert;

pub use convert::basic::{address, address_bytes, id, id_bytes, ipv4};
pub use convert::client::{client_role, clients, clients_on_wire};
pub use convert::cluster::{unlock_key, unlock_key_bytes};
pub use convert::log::{ActionResult, decode_entry, decode_results, encode_entry, encode_results};
pub use convert::revision::service_on_wire;
pub use convert::snapshot::{decode_snapshot, encode_snapshot};
pub use convert::stack::stack_on_wire;
pub use convert::task::{task_on_wire, task_with_spec};

use skep_manager_store::format::{NEWEST, VERSION};

/// A message that does not say what it must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A field is absent.
    #[error("field {0} is missing")]
    Missing(&'static str),
    /// An id is not 16 bytes long.
    #[error("field {0} is not an id of 16 bytes")]
    Id(&'static str),
    /// An enum has a number this version does not know.
    #[error("field {0} has the unknown value {1}")]
    Enum(&'static str, i32),
    /// An address, prefix, port or key cannot be read.
    #[error("field {0} cannot be read: {1}")]
    Value(&'static str, String),
    /// It is written in a format that this version does not know.
    #[error("it is in format {found}, and this is skep {VERSION}, which reads formats up to {NEWEST}: {}", install(.since))]
    Format {
        /// The format.
        found: u32,
        /// The first version of skep that reads it; empty if that is not known.
        since: String,
    },
    /// The bytes are not such a message.
    #[error("the message cannot be decoded: {0}")]
    Encoding(String),
}

/// What to do about a format that this build does not read.
fn install(since: &str) -> String {
    if since.is_empty() {
        return "install the version of skep that the leader runs".to_owned();
    }
    format!("install skep {since} or newer")
}
