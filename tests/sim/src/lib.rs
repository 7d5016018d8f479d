//! A deterministic simulation of a swarm: real managers, real sessions of
//! agents, and a network, disks, clocks and containers that only the
//! simulation moves.
//!
//! A seed decides everything: topology, workload, faults. Promises are checked
//! all the time; then the faults stop, and everything wanted must come about
//! within a bounded time. The same seed gives the same trace.

mod clients;
mod containers;
mod daemon;
mod faults;
mod history;
mod host;
mod invariants;
mod kernel;
mod kills;
mod network;
mod operator;
mod process;
mod rng;
mod run;
mod trace;
mod workload;
mod world;

pub use kills::{Kills, kills};
pub use run::{Verdict, run};
