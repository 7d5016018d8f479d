//! Clusters of real daemons on hosts made of namespaces, for the end-to-end tests
//! and the benchmarks.
//!
//! Owns: starting and ending such a cluster so that nothing is left of it even when
//! the test is killed, asking it from outside as a user would (the `skep` program,
//! HTTP), looking into its hosts as an operator would, and waiting with a deadline
//! that ends in a message worth reading. Leaves to the tests: what must be true.
//!
//! Everything here panics with an explanation when it cannot go on: a test has
//! nobody else to tell.

#![forbid(unsafe_code)]

pub mod cluster;
pub mod command;
pub mod containers;
pub mod hosts;
pub mod http;
pub mod leftovers;
pub mod programs;
pub mod tables;
pub mod wait;

pub use cluster::{Cluster, VOTE_IMAGE};
pub use command::Output;
pub use containers::Container;
pub use hosts::Hosts;
pub use http::{From, Response};
pub use leftovers::Traces;
pub use programs::Programs;
pub use wait::{holds_for, wait_for};

use std::time::Instant;

/// Prints what a test is about to show, with the time since it began.
#[derive(Debug)]
pub struct Steps(Instant);

impl Steps {
    /// Starts the clock.
    #[must_use]
    pub fn begin() -> Self {
        Self(Instant::now())
    }

    /// One line.
    pub fn step(&self, what: &str) {
        println!("[{:5.1} s] {what}", self.0.elapsed().as_secs_f64());
    }
}
