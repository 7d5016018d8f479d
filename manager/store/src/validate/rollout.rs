//! What becomes of an update that somebody halts, lets go on, or takes back.

use super::Invalid;
use super::service::validate_return;
use crate::snapshot::Snapshot;
use skep_types::{Service, ServiceMode, Timestamp, UpdateState, UpdateStatus};

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

/// Whether the tasks of a service can be spread evenly now.
///
/// # Errors
/// They are not that many, or are being changed.
pub fn rebalance(service: &Service) -> Result<(), Invalid> {
    if !matches!(service.spec.mode, ServiceMode::Replicated { .. }) {
        return refuse(service, "only tasks of a replicated service are moved so");
    }
    let state = service.update_status.as_ref().map(|status| status.state);
    match state {
        None | Some(UpdateState::Completed | UpdateState::RollbackCompleted) => Ok(()),
        Some(UpdateState::Paused | UpdateState::RollbackPaused) => {
            refuse(service, "its update is paused; end that first")
        }
        Some(UpdateState::Updating | UpdateState::RollbackStarted) => refuse(
            service,
            "its update is under way; ask again when that is over",
        ),
    }
}

/// The number of the revision to go back to: this one, or else the newest earlier one
/// that did not fail.
///
/// # Errors
/// There is none, or something that it needs is not there any more.
pub fn roll_back(snapshot: &Snapshot, service: &Service, to: Option<u64>) -> Result<u64, Invalid> {
    is_rolled_out(service)?;
    let found = match to {
        Some(number) if number == service.revision.number => {
            return refuse(service, format!("it is at revision {number} already"));
        }
        Some(number) => service.past_revision(number),
        None => service.before(),
    };
    let Some(past) = found else {
        let numbers: Vec<String> = service
            .past
            .iter()
            .map(|past| past.revision.number.to_string())
            .collect();
        let numbers = numbers.join(", ");
        return match to {
            _ if numbers.is_empty() => refuse(service, "it has no earlier revision"),
            Some(number) => refuse(
                service,
                format!("it has no revision {number} to go back to, but {numbers}"),
            ),
            None => refuse(
                service,
                format!(
                    "no earlier revision differs from the present one and did not fail; \
                     name one to go back to: {numbers}"
                ),
            ),
        };
    };
    let number = past.revision.number;
    match validate_return(snapshot, service, &service.as_before(past)) {
        Ok(()) => Ok(number),
        Err(error) => refuse(
            service,
            format!("revision {number} cannot be had back: {error}"),
        ),
    }
}

const NO_UPDATE: &str = "no update of it is under way";

/// # Errors
/// It is a job.
fn is_rolled_out(service: &Service) -> Result<(), Invalid> {
    match service.spec.mode.is_job() {
        true => refuse(
            service,
            "it is a job: it has runs, which \"skep service runs\" lists, and neither updates nor \
             revisions; \"skep service update\" changes it",
        ),
        false => Ok(()),
    }
}

fn present(service: &Service) -> Result<&UpdateStatus, Invalid> {
    is_rolled_out(service)?;
    match &service.update_status {
        Some(status) => Ok(status),
        None => refuse(service, NO_UPDATE),
    }
}

fn refuse<T>(service: &Service, why: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid::Rollout {
        service: service.spec.name.clone(),
        why: why.into(),
    })
}
