//! Whom managers serve at their port besides nodes: people and tools with a
//! certificate of the swarm. What that says and how it is checked is the CA's.

use crate::meta::Timestamp;
use std::collections::BTreeMap;
use std::fmt;

/// Most clients of a swarm: all of them are in the cluster object.
pub const CLIENTS_MAX: usize = 256;
/// Longest name of a client. It is the common name of a certificate.
const NAME_MAX: usize = 64;

/// Clients by name.
pub type Clients = BTreeMap<String, Client>;

/// A person or a tool that was given a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// What it may do. Here and not in the certificate, so that what is in force
    /// is what the managers say.
    pub role: ClientRole,
    /// SHA-256 of its certificate (DER): no other one of that name is good.
    pub certificate: [u8; 32],
    /// When it was issued.
    pub created_at: Timestamp,
    /// When it ends.
    pub until: Timestamp,
}

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientRole {
    /// All that users may.
    Admin,
    /// Look, and see nothing that would let it do more.
    ReadOnly,
}

/// Why a name is none for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidClientName(pub String);

impl fmt::Display for InvalidClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid client name {:?}: 1 to {NAME_MAX} of a-z, A-Z, 0-9 and -_.@ are allowed, the \
             first of them a letter or a digit",
            self.0
        )
    }
}

impl std::error::Error for InvalidClientName {}

/// Checks the name of a client.
///
/// # Errors
/// When it is none, with what would be one.
pub fn check_client_name(name: &str) -> Result<(), InvalidClientName> {
    let fits = !name.is_empty() && name.len() <= NAME_MAX;
    let begins = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    let other = |c: char| !c.is_ascii_alphanumeric() && !"-_.@".contains(c);
    match fits && begins && !name.contains(other) {
        true => Ok(()),
        false => Err(InvalidClientName(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_tools_have_names() {
        let longest = "a".repeat(NAME_MAX);
        for name in ["alice", "ci-2", "bob@example.org", "9", longest.as_str()] {
            assert_eq!(check_client_name(name), Ok(()), "{name}");
        }
        let too_long = "a".repeat(NAME_MAX + 1);
        for name in ["", "-a", "a b", "a/b", "é", "a\n", too_long.as_str()] {
            assert!(check_client_name(name).is_err(), "{name}");
        }
    }
}
