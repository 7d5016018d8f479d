//! Which networks are removed that stacks had before: those that nothing uses any more.
//! Looked at in every pass, whatever services are settled.

use crate::draft::Draft;
use skep_manager_store::{Action, NetworkAction};

/// Removes them.
pub(crate) fn remove_left(draft: &mut Draft<'_>) {
    let left = draft.snapshot.networks_left().into_iter();
    let actions = left.map(|id| Action::Network(NetworkAction::Remove { id }));
    draft.plan.actions.extend(actions);
}
