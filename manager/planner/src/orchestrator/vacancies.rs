//! Places of a service that have no task and get none, and why.

use super::{eligible, lost, restart, slots};
use crate::draft::{Draft, Position, Template, Work};
use skep_types::{RestartCondition, RestartPolicy, ServiceId, ServiceMode, TaskState};

/// Looks for them; the draft is of no more use then.
pub(crate) fn vacancies(draft: &mut Draft<'_>, id: ServiceId) -> Vec<(Position, String)> {
    let Some(mut work) = draft.services.remove(&id) else {
        return Vec::new();
    };
    let Some(service) = work.service else {
        return Vec::new();
    };
    lost::mark(draft, &mut work);
    let empty = match service.spec.mode {
        ServiceMode::Replicated { replicas } => slots::choose(&mut work, replicas),
        ServiceMode::Global => eligible(draft, &work, service),
        // Its runs tell.
        ServiceMode::ReplicatedJob { .. } | ServiceMode::GlobalJob => return Vec::new(),
    };
    let present = Template::present(service);
    let positions = work.positions();
    let stays = |position: &Position| {
        let mut tasks = positions.get(position)?.iter().map(|at| &work.tasks[*at]);
        let latest = tasks.rfind(|task| task.desired != TaskState::Remove)?;
        let policy = &service.spec.task.restart;
        let left =
            restart::is_of(latest, present) && restart::follow(latest, policy, draft.now).is_none();
        left.then(|| why(latest, policy))
    };
    empty
        .into_iter()
        .filter_map(|position| stays(&position).map(|why| (position, why)))
        .collect()
}

fn why(latest: &Work<'_>, policy: &RestartPolicy) -> String {
    let done = latest.state == TaskState::Complete;
    let reason = match policy.condition {
        RestartCondition::None => "it ended, and its restart condition is none".to_owned(),
        RestartCondition::OnFailure if done => {
            "it is done, and its restart condition is on-failure".to_owned()
        }
        RestartCondition::Any | RestartCondition::OnFailure => match policy.max_attempts {
            1 => "the one attempt to restart it is used".to_owned(),
            attempts => format!("all {attempts} attempts to restart it are used"),
        },
    };
    match latest.known.map_or("", |task| task.status.error.trim()) {
        "" => reason,
        error => format!("{reason}; last: {error}"),
    }
}
