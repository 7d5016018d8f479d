//! `cargo run --release -p skep-bench [PART...]`: measures what the design promises,
//! on real hosts, beside Debian's dockerd where it can do the same, and prints a
//! table that says how each number came about.
//!
//! Parts: `starts` (scale latency, container starts, memory), `losses` (leader and
//! node lost), `timelines` (Swarm's courses of events), `engines` (placements, WireGuard),
//! `commit` (Raft, beside Debian's etcd), `agents` (what 10,000 cost a manager), `durable`
//! (placements through three managers), `commands` (how long asking takes), `dockerd`. All by
//! default.
//! Owns the order and the table; what is measured and how is in the modules.

#![forbid(unsafe_code)]

mod commands;
mod debian;
mod dockerd;
mod durable;
mod engines;
mod etcd;
mod figures;
mod losses;
mod memory;
mod starts;
mod timelines;

use figures::Figure;
use skep_e2e::programs::Programs;
use std::process::ExitCode;

const PARTS: &[&str] = &[
    "starts",
    "losses",
    "timelines",
    "engines",
    "commit",
    "agents",
    "durable",
    "commands",
    "dockerd",
];

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if let Some(wrong) = given.iter().find(|part| !PARTS.contains(&part.as_str())) {
        eprintln!("bench: {wrong:?} is none of {PARTS:?}");
        return ExitCode::from(2);
    }
    let wanted = |part: &str| given.is_empty() || given.iter().any(|g| g == part);
    if ["starts", "losses", "timelines", "durable", "commands"]
        .into_iter()
        .any(wanted)
    {
        let programs = Programs::optimised();
        eprintln!("bench: programs in {}", programs.folder.display());
    }
    let mut figures: Vec<Figure> = Vec::new();
    if wanted("engines") {
        figures.extend(engines::measure());
    }
    if wanted("commit") {
        figures.extend(engines::commits());
    }
    if wanted("agents") {
        figures.push(engines::agents());
    }
    if wanted("starts") {
        figures.extend(starts::measure());
    }
    if wanted("losses") {
        figures.extend(losses::measure());
    }
    if wanted("timelines") {
        figures.extend(timelines::measure());
    }
    if wanted("durable") {
        figures.extend(durable::measure());
    }
    if wanted("commands") {
        figures.extend(commands::measure());
    }
    if wanted("dockerd") {
        dockerd::measure(&mut figures);
    }
    println!("{}", figures::table(&figures));
    ExitCode::SUCCESS
}
