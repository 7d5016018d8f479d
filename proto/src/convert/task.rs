//! Tasks. Their spec is shared, so it is put in and out apart from them.

use super::basic::{address, address_bytes, id, id_bytes, optional_id, require, wire_enum};
use super::resources::{generics, generics_on_wire};
use crate::{Invalid, pb};
use skep_types::{
    Attachment, Cause, LocalRestarts, Restarts, Slot, Task, TaskSpec, TaskState, TaskStatus,
    Timestamp, Version,
};
use std::sync::Arc;

wire_enum!(TaskState, TaskState, task_state, "task.state", {
    New = New, Pending = Pending, Assigned = Assigned, Accepted = Accepted,
    Preparing = Preparing, Ready = Ready, Starting = Starting, Running = Running,
    Complete = Complete, Shutdown = Shutdown, Failed = Failed, Rejected = Rejected,
    Remove = Remove, Orphaned = Orphaned,
});

wire_enum!(Cause, Cause, cause, "task.cause", {
    Created = Created, Restarted = Restarted, Scaled = Scaled, Updated = Updated,
    RolledBack = RolledBack, NodeLost = NodeLost, Drained = Drained, Constraint = Constraint,
    Removed = Removed, RunEnded = RunEnded, NodeBack = NodeBack, Rebalanced = Rebalanced,
});

impl From<&Restarts> for pb::Restarts {
    fn from(restarts: &Restarts) -> Self {
        let Restarts {
            in_row,
            attempts,
            window_from,
        } = restarts;
        pb::Restarts {
            in_row: *in_row,
            attempts: *attempts,
            window_from_ms: window_from.0,
        }
    }
}

impl From<pb::Restarts> for Restarts {
    fn from(restarts: pb::Restarts) -> Self {
        let pb::Restarts {
            in_row,
            attempts,
            window_from_ms,
        } = restarts;
        Restarts {
            in_row,
            attempts,
            window_from: Timestamp(window_from_ms),
        }
    }
}

/// Nothing for the most: a task before which nothing was counted.
pub(crate) fn restarts_on_wire(restarts: &Restarts) -> Option<pb::Restarts> {
    (*restarts != Restarts::default()).then(|| restarts.into())
}

impl From<&LocalRestarts> for pb::LocalRestarts {
    fn from(local: &LocalRestarts) -> Self {
        let LocalRestarts { count, counted, at } = local;
        pb::LocalRestarts {
            count: *count,
            counted: restarts_on_wire(counted),
            at_ms: at.0,
        }
    }
}

impl From<pb::LocalRestarts> for LocalRestarts {
    fn from(local: pb::LocalRestarts) -> Self {
        let pb::LocalRestarts {
            count,
            counted,
            at_ms,
        } = local;
        LocalRestarts {
            count,
            counted: counted.map(Restarts::from).unwrap_or_default(),
            at: Timestamp(at_ms),
        }
    }
}

impl From<&TaskStatus> for pb::TaskStatus {
    fn from(status: &TaskStatus) -> Self {
        let TaskStatus {
            state,
            at,
            message,
            error,
            exit_code,
            oom_killed,
            container,
            pid,
            ran_at,
            ready_at,
            not_ready,
            local,
        } = status;
        pb::TaskStatus {
            state: pb::TaskState::from(*state).into(),
            at_ms: at.0,
            message: message.clone(),
            error: error.clone(),
            exit_code: *exit_code,
            oom_killed: *oom_killed,
            container: container.clone(),
            pid: *pid,
            ran_at_ms: ran_at.map(|at| at.0),
            ready_at_ms: ready_at.map(|at| at.0),
            not_ready: *not_ready,
            local: (*local != LocalRestarts::default()).then(|| local.into()),
        }
    }
}

impl TryFrom<pb::TaskStatus> for TaskStatus {
    type Error = Invalid;
    fn try_from(status: pb::TaskStatus) -> Result<Self, Invalid> {
        let pb::TaskStatus {
            state,
            at_ms,
            message,
            error,
            exit_code,
            oom_killed,
            container,
            pid,
            ran_at_ms,
            ready_at_ms,
            not_ready,
            local,
        } = status;
        Ok(TaskStatus {
            state: task_state(state)?,
            at: Timestamp(at_ms),
            message,
            error,
            exit_code,
            oom_killed,
            container,
            pid,
            ran_at: ran_at_ms.map(Timestamp),
            ready_at: ready_at_ms.map(Timestamp),
            not_ready,
            local: local.map(LocalRestarts::from).unwrap_or_default(),
        })
    }
}

impl From<&Attachment> for pb::Attachment {
    fn from(attachment: &Attachment) -> Self {
        let Attachment { network, address } = attachment;
        pb::Attachment {
            network: id_bytes(*network),
            address: address_bytes(*address),
        }
    }
}

impl TryFrom<pb::Attachment> for Attachment {
    type Error = Invalid;
    fn try_from(attachment: pb::Attachment) -> Result<Self, Invalid> {
        let pb::Attachment {
            network,
            address: bytes,
        } = attachment;
        Ok(Attachment {
            network: id(&network, "attachment.network")?,
            address: address(&bytes, "attachment.address")?,
        })
    }
}

/// A task for the wire, with its spec or without (where specs are sent once
/// beside the tasks).
pub fn task_on_wire(task: &Task, with_spec: bool) -> pb::Task {
    let Task {
        id,
        meta,
        service,
        service_name,
        slot,
        node,
        spec,
        spec_version,
        desired,
        status,
        attachments,
        cause,
        stop_cause,
        restarts,
        start_at,
        run,
        generic,
    } = task;
    pb::Task {
        id: id_bytes(*id),
        meta: Some(meta.into()),
        service: id_bytes(*service),
        service_name: service_name.to_string(),
        slot: slot.0,
        node: node.map(id_bytes).unwrap_or_default(),
        spec: with_spec.then(|| spec.as_ref().into()),
        spec_version: spec_version.0,
        desired: pb::TaskState::from(*desired).into(),
        status: Some(status.into()),
        attachments: attachments.iter().map(Into::into).collect(),
        restarts: restarts_on_wire(restarts),
        start_at_ms: start_at.map(|at| at.0),
        run: *run,
        generic: generics_on_wire(generic),
        cause: pb::Cause::from(*cause).into(),
        stop_cause: stop_cause.map(|cause| pb::Cause::from(cause).into()),
    }
}

/// A task from the wire, with the spec that was sent beside it.
///
/// # Errors
/// Names the field that is wrong.
pub fn task_with_spec(task: pb::Task, shared: Option<Arc<TaskSpec>>) -> Result<Task, Invalid> {
    let pb::Task {
        id: id_field,
        meta,
        service,
        service_name,
        slot,
        node,
        spec,
        spec_version,
        desired,
        status,
        attachments,
        restarts,
        start_at_ms,
        run,
        cause: cause_number,
        stop_cause,
        generic,
    } = task;
    let spec = match shared {
        Some(spec) => spec,
        None => Arc::new(require(spec, "task.spec")?.try_into()?),
    };
    Ok(Task {
        id: id(&id_field, "task.id")?,
        meta: require(meta, "task.meta")?.into(),
        service: id(&service, "task.service")?,
        service_name: service_name.into(),
        slot: Slot(slot),
        node: optional_id(&node, "task.node")?,
        spec,
        spec_version: Version(spec_version),
        desired: task_state(desired)?,
        status: require(status, "task.status")?.try_into()?,
        attachments: attachments
            .into_iter()
            .map(TryInto::try_into)
            .collect::<Result<_, _>>()?,
        cause: cause(cause_number)?,
        stop_cause: stop_cause.map(cause).transpose()?,
        restarts: restarts.map(Into::into).unwrap_or_default(),
        start_at: start_at_ms.map(Timestamp),
        run,
        generic: generics(generic)?,
    })
}
