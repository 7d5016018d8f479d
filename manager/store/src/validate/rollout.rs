//! What becomes of an update that somebody halts, or lets go on.

use super::Invalid;
use skep_types::{Service, Timestamp, UpdateState, UpdateStatus};

/// The status of an update that is to change no further task.
///
/// # Errors
/// None is under way.
pub fn pause_update(service: &Service) -> Result<UpdateStatus, Invalid> {
    let status = present(service)?;
    let (state, message) = match status.state {
        UpdateState::Updating => (UpdateState::Paused, "update paused on request"),
        UpdateState::RollbackStarted => (UpdateState::RollbackPaused, "rollback paused on request"),
        UpdateState::Paused | UpdateState::RollbackPaused => {
            return refuse(service, "its update is paused already");
        }
        UpdateState::Completed | UpdateState::RollbackCompleted => {
            return refuse(service, NO_UPDATE);
        }
    };
    Ok(UpdateStatus {
        state,
        message: message.to_owned(),
        ..status.clone()
    })
}

/// The status of a paused update that is to go on. What failed before `now` counts no
/// more.
///
/// # Errors
/// It is not paused.
pub fn resume_update(service: &Service, now: Timestamp) -> Result<UpdateStatus, Invalid> {
    let status = present(service)?;
    let (state, message) = match status.state {
        UpdateState::Paused => (UpdateState::Updating, "update in progress"),
        UpdateState::RollbackPaused => (UpdateState::RollbackStarted, "rollback in progress"),
        UpdateState::Updating | UpdateState::RollbackStarted => {
            return refuse(service, "its update is under way already");
        }
        UpdateState::Completed | UpdateState::RollbackCompleted => {
            return refuse(service, NO_UPDATE);
        }
    };
    Ok(UpdateStatus {
        state,
        message: message.to_owned(),
        resumed_at: Some(now),
        ..status.clone()
    })
}

const NO_UPDATE: &str = "no update of it is under way";

fn present(service: &Service) -> Result<&UpdateStatus, Invalid> {
    match &service.update_status {
        Some(status) => Ok(status),
        None => refuse(service, NO_UPDATE),
    }
}

fn refuse<T>(service: &Service, why: &'static str) -> Result<T, Invalid> {
    Err(Invalid::Rollout {
        service: service.spec.name.clone(),
        why,
    })
}
