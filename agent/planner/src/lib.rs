//! What an agent decides, apart from doing it: pure functions from what it was told and what it found to
//! what it should do.

#![forbid(unsafe_code)]

pub mod network;
pub mod patience;
pub mod restart;
pub mod task;
