//! How a manager that does not lead tells a caller who does, and which calls may
//! be made again.

use tonic::metadata::MetadataValue;
use tonic::{Code, ConnectError, Status};

/// Metadata key that holds the leader's address; empty where none is known.
pub const LEADER_HEADER: &str = "skep-leader";

/// The refusal of a manager that does not lead, with the leader's address
/// where it is known. It did nothing, and it passes: who can wait may ask again.
pub fn not_leader(leader: Option<&str>) -> Status {
    let mut status = Status::new(
        Code::Unavailable,
        match leader {
            Some(address) => format!("this manager does not lead; ask {address}"),
            None => "The swarm does not have a leader. It's possible that too few managers are \
                     online. Make sure more than half of the managers are online."
                .to_owned(),
        },
    );
    if let Ok(value) = MetadataValue::try_from(leader.unwrap_or_default()) {
        status.metadata_mut().insert(LEADER_HEADER, value);
    }
    status
}

/// The leader's address, where a refusal names it.
pub fn redirected_to(status: &Status) -> Option<String> {
    let value = status.metadata().get(LEADER_HEADER)?.to_str().ok()?;
    (!value.is_empty()).then(|| value.to_owned())
}

/// Whether a call failed before anybody could act on it: nobody was there, or
/// only a manager that does not lead.
pub fn never_taken(status: &Status) -> bool {
    if status.metadata().contains_key(LEADER_HEADER) {
        return true;
    }
    let mut reason = std::error::Error::source(status);
    while let Some(error) = reason {
        if error.is::<ConnectError>() {
            return true;
        }
        reason = error.source();
    }
    false
}
