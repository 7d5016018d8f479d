//! What changes would lead to, for who asks before making them.

use super::{change, status};
use crate::shared::Shared;
use skep_manager_planner::{Foreseen, IdSource, Step, Waiting, foresee};
use skep_manager_store::{Action, ServiceAction, StackAction, StackPart, Store};
use skep_proto::{id_bytes, pb};
use skep_types::{ServiceId, ServiceMode, Slot, UpdateStatus, Version};
use std::time::{Duration, Instant};
use tonic::Status;

/// Changes that are looked at together.
const CHANGES_MAX: usize = 64;
/// Tasks that the services in them may have in all.
const TASKS_MAX: u64 = 100_000;
/// Time for which the future is looked into: of large services it is long.
const LIMIT: Duration = Duration::from_secs(2);

/// Foresees, on a thread of its own; one at a time.
///
/// # Errors
/// As for the changes themselves.
pub(super) async fn answer(
    shared: &Shared,
    request: pb::ForeseeRequest,
) -> Result<pb::ForeseeResponse, Status> {
    if request.changes.len() > CHANGES_MAX {
        return Err(Status::invalid_argument(format!(
            "more than {CHANGES_MAX} changes cannot be foreseen at once"
        )));
    }
    let turn = shared.foresight.clone().acquire_owned().await;
    let turn = turn.map_err(|error| Status::internal(error.to_string()))?;
    let (snapshot, now) = (shared.state.snapshot(), shared.state.now());
    let mut ids = IdSource::new(rand::random());
    let look = move || {
        let _turn = turn;
        let mut store = Store::over(snapshot.clone());
        let mut actions = Vec::with_capacity(request.changes.len());
        let (mut objects, mut revisions) = (Vec::new(), Vec::new());
        for change in request.changes {
            let change = change
                .change
                .ok_or_else(|| Status::invalid_argument("field change.change is missing"))?;
            let (_, action) = change::action(store.state(), now, change)?;
            objects.extend(change::objects::of(store.state(), &action, true));
            revisions.extend(change::stack::revision(store.state(), &action));
            let version = Version(store.version().0 + 1);
            let applied = store.apply(version, now, std::slice::from_ref(&action));
            applied
                .into_result()
                .map_err(|refused| status::would_refuse(&refused))?;
            actions.push(action);
        }
        if actions.iter().map(tasks).sum::<u64>() > TASKS_MAX {
            return Err(Status::invalid_argument(format!(
                "changes of services with more than {TASKS_MAX} tasks cannot be foreseen"
            )));
        }
        let until = Instant::now() + LIMIT;
        foresee(&snapshot, now, &mut ids, &actions, || {
            Instant::now() < until
        })
        .map(|foreseen| pb::ForeseeResponse {
            objects,
            revisions,
            ..response(foreseen)
        })
        .map_err(|refused| status::would_refuse(&refused))
    };
    tokio::task::spawn_blocking(look)
        .await
        .map_err(|error| Status::internal(error.to_string()))?
}

/// Tasks that the services of a change are to have.
fn tasks(action: &Action) -> u64 {
    match action {
        Action::Service(action) => tasks_of(action),
        Action::Stack(StackAction::Apply { parts, .. }) => {
            let services = parts.iter().map(|part| match part {
                StackPart::Service(action) => tasks_of(action),
                _ => 0,
            });
            services.sum()
        }
        _ => 0,
    }
}

fn tasks_of(action: &ServiceAction) -> u64 {
    let (ServiceAction::Create { spec, .. } | ServiceAction::Update { spec, .. }) = action else {
        return 0;
    };
    match spec.mode {
        ServiceMode::Replicated { replicas } => replicas.into(),
        ServiceMode::ReplicatedJob { completions, .. } => completions.into(),
        ServiceMode::Global | ServiceMode::GlobalJob => 0,
    }
}

fn response(of: Foreseen) -> pb::ForeseeResponse {
    let Foreseen {
        steps,
        kept,
        waiting,
        updates,
        goes_on,
    } = of;
    pb::ForeseeResponse {
        steps: steps.into_iter().map(step).collect(),
        kept: kept as u64,
        waits: waiting.into_iter().map(wait).collect(),
        updates: updates.into_iter().map(update).collect(),
        goes_on,
        ..pb::ForeseeResponse::default()
    }
}

fn step(of: Step) -> pb::ForeseenStep {
    let Step {
        after,
        service,
        slot: Slot(slot),
        node,
        starts,
        cause,
    } = of;
    pb::ForeseenStep {
        after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
        service: id_bytes(service),
        slot,
        node: id_bytes(node),
        starts,
        cause: cause.name().to_owned(),
    }
}

fn wait(of: Waiting) -> pb::ForeseenWait {
    let Waiting {
        service,
        slot: Slot(slot),
        node,
        why,
    } = of;
    pb::ForeseenWait {
        service: id_bytes(service),
        slot,
        node: node.map(id_bytes).unwrap_or_default(),
        why,
    }
}

fn update((service, status): (ServiceId, UpdateStatus)) -> pb::ForeseenUpdate {
    pb::ForeseenUpdate {
        service: id_bytes(service),
        status: Some((&status).into()),
    }
}
