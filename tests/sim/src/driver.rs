//! The managers' loop: plan, propose in parts, wait. Proposals can come late,
//! twice or not at all.

use crate::invariants;
use crate::world::World;
use skep_manager_planner::reconcile;
use skep_manager_store::Action;
use skep_types::{Timestamp, Version};

/// Passes in a row after which a quiet swarm must have nothing left to plan.
const PASSES_MAX: usize = 10;

/// State of the loop.
#[derive(Debug, Default)]
pub(crate) struct Driver {
    /// What the last complete pass saw.
    planned_at: Option<Version>,
    wake_at: Option<Timestamp>,
    /// Proposals that were sent but not yet committed.
    late: Vec<Vec<Action>>,
}

impl Driver {
    /// A new leader plans at once; what the old one sent may still commit.
    pub(crate) fn forget(&mut self) {
        self.planned_at = None;
    }

    /// Nothing is late any more.
    pub(crate) fn calm(&mut self) {
        self.late.clear();
        self.planned_at = None;
    }
}

/// Lets the loop run until it waits.
pub(crate) fn act(world: &mut World) {
    for proposal in std::mem::take(&mut world.driver.late) {
        world.apply("late", &proposal);
    }
    for _ in 0..PASSES_MAX {
        let due = world.driver.wake_at.is_some_and(|at| at <= world.now);
        if world.driver.planned_at == Some(world.store.version()) && !due {
            return;
        }
        let snapshot = world.store.snapshot();
        let twin = &mut world.ids.clone();
        let plan = reconcile(&snapshot, &world.liveness, world.now, &mut world.ids);
        if plan != reconcile(&snapshot, &world.liveness, world.now, twin) {
            world.fail("plans_are_deterministic", "two plans from one input");
        }
        world.driver.planned_at = Some(snapshot.version());
        world.driver.wake_at = plan.wake_at;
        if plan.wake_at.is_some_and(|at| at <= world.now) {
            world.fail("waking_lies_ahead", "a pass asks to be woken in the past");
        }
        if plan.actions.is_empty() {
            invariants::check_settled(world, &plan);
            return;
        }
        let items = 1 + world.rng.below(40) as usize;
        for proposal in plan.into_proposals(items) {
            match world.rng.below(100) {
                0..=2 if world.faulty => world.note("fault: a proposal is lost"),
                3..=5 if world.faulty => {
                    world.note("fault: a proposal is late");
                    world.driver.late.push(proposal);
                }
                6..=8 if world.faulty => {
                    world.note("fault: a proposal commits twice");
                    world.apply("plan", &proposal);
                    world.apply("again", &proposal);
                }
                _ => {
                    world.apply("plan", &proposal);
                }
            }
        }
    }
    if !world.faulty {
        world.fail(
            "plans_come_to_rest",
            "the planner never runs out of actions",
        );
    }
}
