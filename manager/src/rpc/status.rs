//! The only place that turns this crate's errors into gRPC statuses.

use crate::error::ProposeError;
use skep_manager_store::Refused;
use skep_proto::{ActionResult, Invalid};
use skep_transport::not_leader;
use tonic::Status;

pub(crate) fn invalid(error: Invalid) -> Status {
    Status::invalid_argument(error.to_string())
}

pub(crate) fn propose(error: ProposeError) -> Status {
    match error {
        ProposeError::NotLeader { leader } => not_leader(leader.as_deref()),
        ProposeError::Unavailable(reason) => Status::unavailable(reason),
        ProposeError::Unreadable(_) => Status::internal(error.to_string()),
        ProposeError::NotYet { .. } => Status::failed_precondition(error.to_string()),
        ProposeError::TooLarge(reason) => Status::resource_exhausted(reason),
    }
}

/// The status of an action that changed nothing; `Ok` for one that did.
pub(crate) fn refused(result: &ActionResult) -> Result<(), Status> {
    let Some(reason) = &result.refused else {
        return Ok(());
    };
    Err(refusal(reason, result.not_found, result.stale))
}

/// The status of an action that would change nothing.
pub(crate) fn would_refuse(refused: &Refused) -> Status {
    let not_found = matches!(refused, Refused::NotFound(_));
    refusal(&refused.to_string(), not_found, refused.is_stale())
}

fn refusal(reason: &str, not_found: bool, stale: bool) -> Status {
    if not_found {
        Status::not_found(reason)
    } else if stale {
        Status::aborted(reason)
    } else {
        Status::failed_precondition(reason)
    }
}
