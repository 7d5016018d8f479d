//! How long a command takes that only asks: what people wait for, and scripts do often.

use crate::figures::{Figure, percentiles};
use skep_e2e::programs::Programs;
use skep_e2e::{Cluster, wait_for};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const ROUNDS: usize = 100;
/// Services of the large file, of twenty lines each.
const SERVICES: usize = 100;
const SOON: Duration = Duration::from_secs(60);

/// All of it, on three managers and a worker.
#[must_use]
pub fn measure() -> Vec<Figure> {
    eprintln!("commands: a swarm of three managers and a worker");
    let cluster = Cluster::swarm("asked", 3, 1);
    for n in 0..10 {
        let name = format!("web{n}");
        let words = ["service", "create", "--detach", "--name", &name];
        let words = [&words[..], &["redis:alpine", "sleep", "infinity"]].concat();
        cluster.skep(1, &words).succeeds();
    }
    wait_for("ten services run", SOON, || {
        let services = cluster.table(1, &["service", "ls"])?;
        let text = format!("{services:?}");
        match text.matches("1/1").count() {
            10 => Ok(()),
            _ => Err(text),
        }
    });
    let path = cluster.data_dir(1).with_file_name("large.yml");
    fs::write(&path, large()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let socket = cluster.socket(1);
    let ls = times(&socket, &["service", "ls"], 0);
    let config = times(&socket, &["stack", "config", "-c", &shown(&path)], 0);
    // 2: there would be changes.
    let plan = times(&socket, &["stack", "plan", "-c", &shown(&path), "large"], 2);
    cluster.finish();
    let figure = |promise, goal, times: &[Duration], limit: u64, how| {
        let (half, most) = percentiles(times);
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        Figure {
            promise,
            goal,
            measured: format!(
                "p50 {:.1} ms, p99 {:.1} ms of {}",
                millis(half),
                millis(most),
                times.len()
            ),
            kept: half < Duration::from_millis(limit),
            dockerd: None,
            how,
        }
    };
    vec![
        figure(
            "service ls on a small cluster",
            "p50 < 15 ms",
            &ls,
            15,
            "the whole command, from before it is started until it has ended; three managers, a worker and \
             ten services of one task",
        ),
        figure(
            "a stack file of 2,000 lines, read and printed",
            "p50 < 20 ms",
            &config,
            20,
            "`stack config` as a whole command: parsed, checked, in normal form; 100 services",
        ),
        figure(
            "a stack file of 2,000 lines, planned",
            "p50 < 20 ms",
            &plan,
            20,
            "`stack plan` of the same file as a whole command, on the cluster above, which has nothing of \
             it: parsed, worked out and tried by the leader, told",
        ),
    ]
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Runs a command often. Nothing but it is counted: it is waited for, not looked at
/// now and then.
fn times(socket: &str, words: &[&str], code: i32) -> Vec<Duration> {
    let mut command = Command::new(Programs::optimised().skep());
    command.args(["-H", socket]).args(words);
    let mut once = || {
        let begun = Instant::now();
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let took = begun.elapsed();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code), "{words:?}: {said}");
        took
    };
    once();
    let times: Vec<_> = (0..ROUNDS).map(|_| once()).collect();
    eprintln!("commands: {words:?}: {:?}", percentiles(&times));
    times
}

/// A file of services as people write them.
fn large() -> String {
    let mut text = String::from("services:\n");
    for n in 0..SERVICES {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "  s{n}:
    image: registry.example.com/team/s{n}:${{TAG:-1.2}}
    environment:
      MODE: production
      PORT: \"{n}\"
      NEXT: s{}
    networks: [front, back]
    volumes:
      - data:/var/lib/s{n}
    healthcheck:
      test: [\"CMD\", \"true\"]
      interval: 10s
    deploy:
      replicas: 2
      resources:
        limits: {{cpus: \"0.5\", memory: 64M}}
      update_config: {{parallelism: 1, delay: 5s}}
      labels:
        number: \"{n}\"
        group: g{}
",
            (n + 1) % SERVICES,
            n % 7
        );
    }
    text += "networks:\n  front:\n  back:\nvolumes:\n  data:\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: usize = 2_000;

    #[test]
    fn the_large_file_is_as_large_as_promised() {
        let lines = large().lines().count();
        assert!((LINES..LINES + 20).contains(&lines), "{lines}");
    }
}
