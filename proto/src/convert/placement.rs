//! Which nodes may run a task, and how tasks are spread.

use crate::pb;
use skep_types::{Placement, Spread};

impl From<&Placement> for pb::Placement {
    fn from(placement: &Placement) -> Self {
        let Placement {
            constraints,
            spread,
            max_replicas_per_node,
        } = placement;
        pb::Placement {
            constraints: constraints.clone(),
            spread: spread.iter().map(pb::Spread::from).collect(),
            max_replicas_per_node: *max_replicas_per_node,
        }
    }
}

impl From<pb::Placement> for Placement {
    fn from(placement: pb::Placement) -> Self {
        let pb::Placement {
            constraints,
            spread,
            max_replicas_per_node,
        } = placement;
        Placement {
            constraints,
            spread: spread.into_iter().map(Spread::from).collect(),
            max_replicas_per_node,
        }
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
