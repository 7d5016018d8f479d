//! Checks of which nodes may run a service, and how it is spread.

use super::Invalid;
use skep_types::constraint::Constraint;
use skep_types::{Placement, Platform, ServiceMode, Spread};

/// Most labels to spread over.
const SPREAD_MAX: usize = 16;
/// Most platforms.
const PLATFORMS_MAX: usize = 64;

/// What cannot be read would hold nowhere; what cannot be kept is not promised.
pub(super) fn check(mode: ServiceMode, placement: &Placement) -> Result<(), Invalid> {
    let Placement {
        constraints,
        spread,
        max_replicas_per_node: _,
        platforms,
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
    if platforms.len() > PLATFORMS_MAX {
        return refuse(format!(
            "{} platforms are too many: a service can have {PLATFORMS_MAX} at most",
            platforms.len()
        ));
    }
    let is_part = |part: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        part.len() <= Platform::PART_MAX && part.chars().all(fits)
    };
    if platforms
        .iter()
        .any(|platform| !is_part(&platform.os) || !is_part(&platform.architecture))
    {
        return refuse(format!(
            "a platform has an operating system and an architecture of letters, digits, - and _, \
             {} bytes at most each, such as linux/amd64",
            Platform::PART_MAX
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
