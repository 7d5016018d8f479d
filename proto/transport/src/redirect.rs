//! How a manager that does not lead tells a caller who does.

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// Metadata key that holds the leader's address.
pub const LEADER_HEADER: &str = "skep-leader";

/// The refusal of a manager that does not lead, with the leader's address
/// where it is known. It passes: who can wait may ask again.
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
