//! Which nodes may run a task, and how tasks are spread.

use crate::pb;
use skep_types::{Placement, Platform, Spread};

impl From<&Placement> for pb::Placement {
    fn from(placement: &Placement) -> Self {
        let Placement {
            constraints,
            spread,
            max_replicas_per_node,
            platforms,
        } = placement;
        pb::Placement {
            constraints: constraints.clone(),
            spread: spread.iter().map(pb::Spread::from).collect(),
            max_replicas_per_node: *max_replicas_per_node,
            platforms: platforms.iter().map(pb::Platform::from).collect(),
        }
    }
}

impl From<pb::Placement> for Placement {
    fn from(placement: pb::Placement) -> Self {
        let pb::Placement {
            constraints,
            spread,
            max_replicas_per_node,
            platforms,
        } = placement;
        Placement {
            constraints,
            spread: spread.into_iter().map(Spread::from).collect(),
            max_replicas_per_node,
            platforms: platforms.into_iter().map(Platform::from).collect(),
        }
    }
}

impl From<&Platform> for pb::Platform {
    fn from(platform: &Platform) -> Self {
        let Platform { os, architecture } = platform;
        pb::Platform {
            os: os.clone(),
            architecture: architecture.clone(),
        }
    }
}

impl From<pb::Platform> for Platform {
    fn from(platform: pb::Platform) -> Self {
        let pb::Platform { os, architecture } = platform;
        Platform { os, architecture }
    }
}

impl From<&Spread> for pb::Spread {
    fn from(spread: &Spread) -> Self {
        let Spread { by, max_skew } = spread;
        pb::Spread {
            by: by.clone(),
            max_skew: *max_skew,
        }
    }
}

impl From<pb::Spread> for Spread {
    fn from(spread: pb::Spread) -> Self {
        let pb::Spread { by, max_skew } = spread;
        Spread { by, max_skew }
    }
}
