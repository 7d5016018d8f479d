//! A deterministic simulation of the managers: the real store and planner,
//! simulated agents, a clock that only the simulation moves, and faults.
//!
//! A seed decides everything: topology, workload, faults. Safety is checked
//! after every step; then the faults stop, and everything wanted must come
//! about within a bounded time. The same seed gives the same trace.

#![forbid(unsafe_code)]

mod agent;
mod driver;
mod faults;
pub mod invariants;
mod rng;
mod workload;
mod world;

pub use world::{Failure, run};
