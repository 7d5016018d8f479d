//! How a manager that does not lead tells a caller who does, and which calls may
//! be made again.

use tonic::metadata::MetadataValue;
use tonic::{Code, ConnectError, Status};

/// Metadata key that holds the leader's address.
pub const LEADER_HEADER: &str = "skep-leader";
/// Metadata key by which a manager says that it did nothing of what it was asked.
const NOT_TAKEN_HEADER: &str = "skep-not-taken";

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
    let not_taken = MetadataValue::from_static("1");
    status.metadata_mut().insert(NOT_TAKEN_HEADER, not_taken);
    if let Some(value) = leader.and_then(|address| MetadataValue::try_from(address).ok()) {
        status.metadata_mut().insert(LEADER_HEADER, value);
    }
    status
}

/// The leader's address, where a refusal names it.
pub fn redirected_to(status: &Status) -> Option<String> {
    let value = status.metadata().get(LEADER_HEADER)?;
    value.to_str().ok().map(str::to_owned)
}

/// Whether a call failed before anybody could act on it: nobody was there, or
/// only a manager that does not lead.
pub fn never_taken(status: &Status) -> bool {
    if status.metadata().contains_key(NOT_TAKEN_HEADER) {
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
