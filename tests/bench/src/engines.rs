//! The parts that are measured by programs of their own, which lie beside them as
//! examples: the planner, the Raft log, the WireGuard engine.

use crate::figures::Figure;
use skep_e2e::command;
use skep_e2e::programs::root;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(1800);

/// All three.
#[must_use]
pub fn measure() -> Vec<Figure> {
    vec![placements(), commits(), throughput()]
}

fn example(package: &str, name: &str, arguments: &[&str]) -> String {
    eprintln!("engines: {name}");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root())
        .args([
            "run",
            "--quiet",
            "--locked",
            "--release",
            "-p",
            package,
            "--example",
            name,
            "--",
        ])
        .args(arguments);
    let text = command::run(&mut cargo, LIMIT).succeeds().out;
    eprintln!("{text}");
    text
}

/// The first number in `text` after `mark`.
fn number_after(text: &str, mark: &str) -> f64 {
    let rest = text.split_once(mark).map_or("", |(_, rest)| rest);
    let digits = rest.trim_start_matches(|c: char| !c.is_ascii_digit());
    let digits: String = digits
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == '.' || *c == ',')
        .filter(|c| *c != ',')
        .collect();
    digits.trim_end_matches('.').parse().unwrap_or_default()
}

fn placements() -> Figure {
    let text = example("skep-manager-planner", "placements", &["5000", "50000"]);
    // "…: 50000 placements in 90ms = 550000 a second; …"
    let rate = number_after(&text, " = ");
    Figure {
        promise: "placements a second, pure planner, 5,000 nodes",
        goal: "200,000",
        measured: format!("{rate:.0}"),
        kept: rate >= 200_000.0,
        dockerd: None,
        how: "manager/planner/examples/placements.rs: 50,000 tasks of one service in one pass, one thread",
    }
}

fn commits() -> Figure {
    let text = example("skep-manager-raft", "commit", &[]);
    let line = text.lines().find(|l| l.contains("p50")).unwrap_or_default();
    let (half, most) = (number_after(line, "p50"), number_after(line, "p99"));
    Figure {
        promise: "Raft commit, three managers on one machine",
        goal: "p50 <= 2 ms",
        measured: format!("p50 {:.2} ms, p99 {:.2} ms", half / 1e3, most / 1e3),
        kept: half > 0.0 && half <= 2_000.0,
        dockerd: None,
        how: "manager/raft/examples/commit.rs: one proposal after another, three members on disk, \
              encrypted log",
    }
}

fn throughput() -> Figure {
    let text = example("skep-agent-wireguard", "throughput", &["5"]);
    let row = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name));
        line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok())
            .unwrap_or_default()
    };
    let (ours, plain) = (row("skep engine"), row("plain veth"));
    Figure {
        promise: "encrypted TCP between two hosts on one machine",
        goal: "1.5 Gbit/s",
        measured: format!("{ours:.2} Gbit/s (unencrypted veth: {plain:.2})"),
        kept: ours >= 1.5,
        dockerd: None,
        how: "agent/wireguard/examples/throughput.rs: one TCP stream of iperf3 for 5 s through the \
              engine in the process, both ends on this machine",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_after_their_mark() {
        assert!((number_after("x in 9ms = 550,000 a second", " = ") - 550_000.0).abs() < 0.1);
        assert!((number_after("one: p50 312 us, p99 1.5", "p99") - 1.5).abs() < 1e-9);
        assert!(number_after("nothing", "p50").abs() < 1e-9);
    }
}
