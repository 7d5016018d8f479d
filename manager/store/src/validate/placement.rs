//! Checks of which nodes may run a service, and how it is spread.

use super::Invalid;
use skep_types::constraint::Constraint;
use skep_types::{Placement, ServiceMode, Spread};

/// Most labels to spread over.
const SPREAD_MAX: usize = 16;

/// What cannot be read would hold nowhere; what cannot be kept is not promised.
pub(super) fn check(mode: ServiceMode, placement: &Placement) -> Result<(), Invalid> {
    let Placement {
        constraints,
        spread,
        max_replicas_per_node: _,
    } = placement;
    for constraint in constraints {
        Constraint::parse(constraint)?;
    }
    if spread.len() > SPREAD_MAX {
        return refuse(format!(
            "{} placement preferences are too many: a service can have {SPREAD_MAX} at most",
            spread.len()
        ));
    }
    spread.iter().try_for_each(|spread| bound(mode, spread))
}

fn bound(mode: ServiceMode, spread: &Spread) -> Result<(), Invalid> {
    let Some(most) = spread.max_skew else {
        return Ok(());
    };
    if matches!(mode, ServiceMode::Global | ServiceMode::GlobalJob) {
        return refuse("max-skew can only be used with replicated or replicated-job mode");
    }
    if spread.label().is_none() {
        return refuse(format!(
            "max-skew needs a label to spread over, such as node.labels.zone; '{}' is none",
            spread.by
        ));
    }
    if most == 0 || most > Spread::SKEW_MAX {
        return refuse(format!(
            "a max-skew must be from 1 to {}; leave it out for none",
            Spread::SKEW_MAX
        ));
    }
    Ok(())
}

fn refuse<T>(message: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid::Spec(message.into()))
}
