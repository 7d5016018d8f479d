//! Managers of two versions in one swarm: both directions, the gate between their
//! formats, and one that goes back.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// For everything: a loaded machine elects slowly.
const LIMIT: Duration = Duration::from_secs(90);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Build {
    This,
    Next,
}

impl Build {
    fn program(self) -> PathBuf {
        let this = Path::new(env!("CARGO_BIN_EXE_member"));
        match self {
            Build::This => this.to_owned(),
            Build::Next => {
                let next = this.with_file_name("member-next");
                assert!(next.is_file(), "not built; run: tests/run versions");
                next
            }
        }
    }
}

/// A manager's process.
struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    /// What it said first: that it started, or why not.
    fn start(build: Build, arguments: &[&str]) -> (Process, String) {
        let mut child = Command::new(build.program())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (say, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    return;
                }
            }
        });
        let input = child.stdin.take();
        let process = Process {
            child,
            input,
            lines,
        };
        let first = process.lines.recv_timeout(LIMIT).unwrap();
        (process, first)
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.input.as_mut().unwrap(), "{command}").unwrap();
        self.lines.recv_timeout(LIMIT).unwrap()
    }

    fn stop(&mut self) {
        self.input = None;
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A test that failed leaves it running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A manager, through all its processes.
struct Member {
    build: Build,
    dir: String,
    address: String,
    process: Process,
}

impl Member {
    /// As one of no swarm, or of the one that a member is in.
    fn new(build: Build, dir: &Path, name: &str, other: Option<&mut Member>) -> Member {
        let dir = dir.join(name).to_str().unwrap().to_owned();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let (process, first) = match other {
            None => Process::start(build, &[&dir, &address]),
            Some(other) => {
                let token = other.process.ask("token");
                Process::start(build, &[&dir, &address, &other.address, &token])
            }
        };
        assert_eq!(first, "started");
        Member {
            build,
            dir,
            address,
            process,
        }
    }

    /// Stops it and starts it in this build; what it said then.
    fn restart(&mut self, build: Build) -> String {
        self.process.stop();
        self.build = build;
        let (process, first) = Process::start(build, &[&self.dir, &self.address]);
        self.process = process;
        first
    }

    fn status(&mut self) -> BTreeMap<String, String> {
        let line = self.process.ask("status");
        let parts = line.split('\t').map(|part| part.split_once('=').unwrap());
        parts.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    fn leads(&mut self) -> bool {
        self.status()["leads"] == "true"
    }

    /// Tries again until the answer is no passing one.
    fn changed(&mut self, command: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let said = self.process.ask(command);
            if said == "ok" || said.contains("already exists") || said.contains("this change needs")
            {
                return said;
            }
            assert!(Instant::now() < deadline, "{command}: {said}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Makes a network at each, and sees it at all.
fn all_write(members: &mut [Member], round: &str) {
    for place in 0..members.len() {
        let name = format!("{round}-{place}");
        let said = members[place].changed(&format!("network {name}"));
        assert!(said == "ok" || said.contains("already exists"), "{said}");
        until(&format!("all know {name}"), || {
            let knows = |m: &mut Member| m.status()["networks"].split(',').any(|n| n == name);
            members.iter_mut().all(knows)
        });
    }
}

fn all_have(members: &mut [Member], key: &str, value: &str) {
    until(&format!("{key} is {value} everywhere"), || {
        members.iter_mut().all(|m| m.status()[key] == value)
    });
}

/// Restarts leaders until one of this build leads.
fn led_by(members: &mut [Member], build: Build) {
    let deadline = Instant::now() + LIMIT;
    loop {
        assert!(Instant::now() < deadline, "{build:?} never leads");
        let Some(leader) = members.iter_mut().find_map(|m| m.leads().then_some(m)) else {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        if leader.build == build {
            return;
        }
        let same = leader.build;
        assert_eq!(leader.restart(same), "started");
    }
}

#[test]
fn two_versions_in_one_swarm() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let mut first = Member::new(Build::This, dir, "1", None);
    let second = Member::new(Build::This, dir, "2", Some(&mut first));
    let third = Member::new(Build::This, dir, "3", Some(&mut first));
    let mut swarm = [first, second, third];
    all_write(&mut swarm, "before");

    // One follower is upgraded: an old leader and a new follower.
    led_by(&mut swarm, Build::This);
    let follower = (0..3).find(|place| !swarm[*place].leads()).unwrap();
    assert_eq!(swarm[follower].restart(Build::Next), "started");
    led_by(&mut swarm, Build::This);
    all_have(&mut swarm, "managers-read", "1,1,2");
    all_write(&mut swarm, "old-leads");
    // An old leader would pass the field over; the new follower says so instead.
    let refused = swarm[follower].changed("note too early");
    let needs = "this change needs skep 0.2.0 or newer on every manager";
    assert!(refused.contains(needs), "{refused}");

    // The new one leads the old ones.
    led_by(&mut swarm, Build::Next);
    all_write(&mut swarm, "new-leads");
    let refused = swarm[follower].changed("note too early");
    assert!(refused.contains(needs), "{refused}");
    all_have(&mut swarm, "format", "1");
    assert_eq!(swarm[follower].status()["note"], "");

    // An old one that is away still counts.
    let old: Vec<_> = (0..3).filter(|place| *place != follower).collect();
    assert_eq!(swarm[old[0]].restart(Build::Next), "started");
    swarm[old[1]].process.stop();
    until("the upgraded one says what it reads", || {
        swarm[old[0]].status()["managers-read"] == "1,2,2"
    });
    let refused = swarm[old[0]].changed("note too early");
    assert!(refused.contains(needs), "{refused}");

    // The last one is upgraded: now the field is written.
    assert_eq!(swarm[old[1]].restart(Build::Next), "started");
    all_have(&mut swarm, "format", "2");
    assert_eq!(swarm[old[1]].changed("note written"), "ok");
    all_have(&mut swarm, "note", "written");
    all_write(&mut swarm, "upgraded");

    // One that goes back stops and says what to install; the others go on.
    let back = old[0];
    let said = swarm[back].restart(Build::This);
    let mut reason = said.clone();
    if said == "started" {
        until("the old version stops", || {
            reason = swarm[back].status()["failure"].clone();
            !reason.is_empty()
        });
    }
    for part in [
        "format 2",
        "this is skep 0.1.0",
        "install skep 0.2.0 or newer",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
    let staying = [follower, old[1]];
    for place in staying {
        let said = swarm[place].changed(&format!("network without-{place}"));
        assert!(said == "ok" || said.contains("already exists"), "{said}");
    }
    // Nor is another old one let in.
    let token = swarm[follower].process.ask("token");
    let late = dir.join("4").to_str().unwrap().to_owned();
    let address = swarm[follower].address.clone();
    let (_, said) = Process::start(Build::This, &[&late, "127.0.0.1:1", &address, &token]);
    for part in [
        "runs skep 0.1.0",
        "write format 2",
        "install skep 0.2.0 or newer",
    ] {
        assert!(said.contains(part), "{said}");
    }

    // With the right version it is back.
    assert_eq!(swarm[back].restart(Build::Next), "started");
    all_have(&mut swarm, "note", "written");
    all_write(&mut swarm, "back");
    swarm.iter_mut().for_each(|member| member.process.stop());
}
