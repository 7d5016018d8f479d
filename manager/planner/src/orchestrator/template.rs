//! Which task template fills an empty position.

use crate::current::Current;
use crate::draft::{Draft, Position, Template, Work};
use skep_manager_store::Snapshot;
use skep_types::constraint::Constraint;
use skep_types::{Cause, Service, TaskSpec, UpdateState};
use std::sync::Arc;

/// The present one; but while an update is paused or cannot begin yet, or the node is
/// paused, that of the task which was there last. Somebody is to look at what the new one did first: old tasks
/// that end must not be changed one by one meanwhile.
pub(super) fn choose<'a>(
    draft: &Draft<'_>,
    service: &'a Arc<Service>,
    position: Position,
    latest: Option<&Work<'a>>,
    current: &Current<'_>,
    waits: bool,
) -> Template<'a> {
    let state = service.update_status.as_ref().map(|status| status.state);
    let paused = matches!(
        state,
        Some(UpdateState::Paused | UpdateState::RollbackPaused)
    );
    let paused = paused || waits || super::update::is_left_alone(draft, position);
    latest
        .filter(|task| paused && current.runs_other(task))
        .filter(|task| {
            is_whole(draft.snapshot, task.spec) && is_allowed(draft, task.spec, position)
        })
        .map_or(Template::present(service), Template::of)
}

/// Why a task is made of the present template, or one of another is stopped.
pub(super) fn change_of(service: &Service) -> Cause {
    let state = service.update_status.as_ref().map(|status| status.state);
    match state {
        Some(
            UpdateState::RollbackStarted
            | UpdateState::RollbackPaused
            | UpdateState::RollbackCompleted,
        ) => Cause::RolledBack,
        None | Some(UpdateState::Updating | UpdateState::Paused | UpdateState::Completed) => {
            Cause::Updated
        }
    }
}

/// All that it refers to is still there.
pub(super) fn is_whole(snapshot: &Snapshot, task: &TaskSpec) -> bool {
    let container = &task.container;
    task.networks
        .iter()
        .all(|n| snapshot.network(n.network).is_some())
        && container
            .secrets
            .iter()
            .all(|s| snapshot.secret(s.id).is_some())
        && container
            .configs
            .iter()
            .all(|c| snapshot.config(c.id).is_some())
}

/// Its placement may be another than those by which the position was chosen.
fn is_allowed(draft: &Draft<'_>, task: &TaskSpec, position: Position) -> bool {
    let Position::Node(node) = position else {
        return true;
    };
    draft.nodes.get(node).is_some_and(|node| {
        let mut texts = task.placement.constraints.iter();
        texts.all(|text| Constraint::parse(text).is_ok_and(|c| c.holds(node.node)))
            && task.placement.runs_on(&node.node.description.platform)
    })
}
