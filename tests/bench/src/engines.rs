//! The parts that are measured by programs of their own, which lie beside them as
//! examples: the planner, the Raft log, the WireGuard engine.

use crate::etcd;
use crate::figures::{Figure, percentiles};
use skep_e2e::command;
use skep_e2e::programs::root;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(1800);

/// The planner and the WireGuard engine.
#[must_use]
pub fn measure() -> Vec<Figure> {
    vec![placements(), change(), memory(), store(), throughput()]
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
    let text = example("skep-manager-planner", "planner", &["placements"]);
    // "5000 nodes, 1 services x 100000: … placements in 90ms = 550000 a second; …"
    let line = "\n5000 nodes, 1 services x 100000:";
    let rate = text
        .split_once(line)
        .map_or(0.0, |(_, rest)| number_after(rest, " = "));
    Figure {
        promise: "placements a second, pure planner, 5,000 nodes",
        goal: "200,000",
        measured: format!("{rate:.0}"),
        kept: rate >= 200_000.0,
        dockerd: None,
        how: "manager/planner/examples/planner placements: 100,000 tasks of one service in one pass, one thread; swarmkit's shapes are printed with it",
    }
}

/// A pass after one change.
fn change() -> Figure {
    let text = example("skep-manager-planner", "planner", &["change"]);
    let line = text
        .lines()
        .find(|line| line.contains("1000 services x 100:"));
    let line = line.unwrap_or_default();
    let millis = |mark| {
        let rest = line.split_once(mark).map_or("", |(_, rest)| rest);
        let time = rest.split([';', ' ']).next().unwrap_or_default();
        match (time.strip_suffix("ms"), time.strip_suffix("\u{b5}s")) {
            (Some(millis), _) => millis.parse().unwrap_or(f64::MAX),
            (_, Some(micros)) => micros
                .parse()
                .map_or(f64::MAX, |micros: f64| micros / 1000.0),
            _ => f64::MAX,
        }
    };
    let (one, none) = (millis("one changed "), millis("nothing changed "));
    Figure {
        promise: "a pass over 100,000 tasks after one change",
        goal: "5 ms",
        measured: format!("{one:.1} ms ({none:.1} ms if nothing changed)"),
        kept: one <= 5.0,
        dockerd: None,
        how: "manager/planner/examples/planner change: 1,000 services of 100 tasks on 5,000 nodes, one task has failed, one thread; other shapes are printed with it",
    }
}

/// What a task takes in the store.
fn memory() -> Figure {
    let text = example("skep-manager-planner", "planner", &["memory"]);
    let each = number_after(&text, "MB, ");
    Figure {
        promise: "memory a task in the store",
        goal: "1 KB",
        measured: format!("{each:.2} KB"),
        kept: each > 0.0 && each <= 1.0,
        dockerd: None,
        how: "manager/planner/examples/planner memory: growth of the process by 100,000 running tasks of 1,000 services on a network",
    }
}

/// What a commit costs, beside etcd.
#[must_use]
pub fn commits() -> Vec<Figure> {
    const PROPOSALS: usize = 4000;
    let text = example("skep-manager-raft", "commit", &[&PROPOSALS.to_string()]);
    eprintln!("etcd: three members");
    let etcd = etcd::measure(PROPOSALS).unwrap_or_default();
    let micros = |text: &str, mark| Duration::from_micros(number_after(text, mark) as u64);
    let figure = |writers: usize, promise, goal, limit: Option<Duration>| {
        let mark = format!("writers: {writers},");
        let line = text.lines().find(|l| l.starts_with(&mark));
        let line = line.unwrap_or_default();
        let (half, most) = (micros(line, "p50"), micros(line, "p99"));
        let rate = number_after(line, "1 KiB,");
        let theirs = etcd.iter().find(|(n, _)| *n == writers);
        let beside = theirs.map(|(_, times)| {
            let (half, most) = percentiles(times);
            format!("etcd: p50 {}, p99 {}", fine(half), fine(most))
        });
        Figure {
            promise,
            goal,
            measured: format!("p50 {}, p99 {}, {rate:.0} a second", fine(half), fine(most)),
            kept: !half.is_zero() && limit.is_none_or(|limit| half <= limit),
            dockerd: beside,
            how: "manager/raft/examples/commit.rs: proposals of 1 KiB over TCP on 127.0.0.1 to the \
                  leader of three members, encrypted log, no TLS; etcd: Debian's, three members on \
                  127.0.0.1, puts of 1 KiB by gRPC to the leader, no TLS, same disk, right after",
        }
    };
    vec![
        figure(
            1,
            "Raft commit, three managers on one machine, one writer",
            "p50 <= 2 ms",
            Some(Duration::from_millis(2)),
        ),
        figure(64, "Raft commit, the same with 64 writers", "-", None),
    ]
}

fn fine(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn store() -> Figure {
    let text = example("skep-manager", "agents", &["store", "1000", "100"]);
    // "1000 nodes, 100000 tasks on a network: 210 MB"
    let held = number_after(&text, "network:");
    Figure {
        promise: "memory of a manager whose store holds 100,000 tasks",
        goal: "250 MB",
        measured: format!("{held:.0} MB"),
        kept: held > 0.0 && held <= 250.0,
        dockerd: None,
        how: "manager/examples/agents: resident memory of a manager's process, with its log, \
              port and leader's duties, 20 s after it began to lead; its store holds 1,000 nodes \
              and 100,000 running tasks on a network",
    }
}

/// What 10,000 agents with ten tasks each cost the manager they all talk to.
pub fn agents() -> Figure {
    let text = example("skep-manager", "agents", &["10000", "10"]);
    let rest = text.lines().find_map(|line| line.strip_prefix("at rest: "));
    let used = rest.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    Figure {
        promise: "10,000 agents on one manager",
        goal: "one core",
        measured: rest.unwrap_or("not measured").to_owned(),
        kept: used.is_some_and(|percent| percent <= 100.0),
        dockerd: None,
        how: "manager/examples/agents: a manager with one worker thread in a process of its own, \
              real TLS, gRPC and log on this machine; agents send heartbeats and run nothing",
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
