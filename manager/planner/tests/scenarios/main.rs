//! The planner, seen as an operator sees the swarm.

#[path = "../support/mod.rs"]
mod support;

mod crash_loops;
mod depends;
mod deploy;
mod drains;
mod explain;
mod failures;
mod foresee;
mod jobs;
mod lost;
mod networks;
mod nodes;
mod paused;
mod placement;
mod rebalance;
mod resources;
mod restart;
mod revisions;
mod rollout;
mod rotation;
mod schedules;
mod scheduling;
mod spreading;
mod stacks;
mod update;
