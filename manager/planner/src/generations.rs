//! Which earlier generations of secrets and configs are forgotten: those that no spec, no
//! earlier revision and no task refers to any more. Looked at in every pass, whatever
//! services are settled.

use crate::draft::Draft;
use skep_manager_store::{Action, ConfigAction, SecretAction};

/// Forgets them.
pub(crate) fn collect(draft: &mut Draft<'_>) {
    let secrets = draft.snapshot.unused_secrets().into_iter();
    let secrets = secrets.map(|id| Action::Secret(SecretAction::Collect { id }));
    let configs = draft.snapshot.unused_configs().into_iter();
    let configs = configs.map(|id| Action::Config(ConfigAction::Collect { id }));
    draft.plan.actions.extend(secrets.chain(configs));
}
