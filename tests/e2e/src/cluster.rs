//! A cluster: hosts, a registry outside, a daemon on each host.

use crate::command::{self, Output};
use crate::hosts::Hosts;
use crate::http::From;
use crate::leftovers;
use crate::programs::{Programs, voting_stack};
use crate::tables::{Row, cell, rows};
use crate::wait::wait_for;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::ops::Deref;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The voting page: serves on port 80 and says who it is at `/whoami`.
pub const VOTE_IMAGE: &str = "dockersamples/examplevotingapp_vote";

/// How long a command of `skep` may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(300);
/// How long a read is repeated: a busy machine costs a leader its place, and the
/// program waits only three seconds for the next one.
const READ_LIMIT: Duration = Duration::from_secs(30);
/// How long a change is.
const CHANGE_LIMIT: Duration = Duration::from_secs(60);
/// Said only where the swarm has no leader just now.
const LEADERLESS: &str = "--stale";
/// What is said of a change that was not made, or that nobody knows of.
const UNSURE: [&str; 5] = [
    LEADERLESS,
    "lost before it answered",
    "cannot reach the leader",
    "loss of quorum",
    "no answer from",
];
/// What is said of a change that an earlier try made without hearing of it.
const MADE: [&str; 3] = ["already exists", "already part of", "no such"];
/// How many lines of each daemon's log a failure shows.
const LOG_LINES: usize = 40;

/// Hosts with daemons. Gone with all that belongs to it when it is dropped, and even
/// when this process is killed.
#[derive(Debug)]
pub struct Cluster {
    programs: Programs,
    hosts: Hosts,
    daemons: Vec<Option<Child>>,
    finished: bool,
}

impl Cluster {
    /// Hosts 1 to `count` with a daemon on each, in no swarm yet.
    ///
    /// # Panics
    /// When that cannot be had.
    #[must_use]
    pub fn start(name: &str, count: usize) -> Self {
        let programs = Programs::find();
        let mut cluster = Self {
            programs,
            hosts: Hosts::start(name, count),
            daemons: (0..count).map(|_| None).collect(),
            finished: false,
        };
        for host in 1..=count {
            cluster.start_daemon(host);
        }
        for host in 1..=count {
            cluster.await_daemon(host);
        }
        cluster
    }

    /// [`Cluster::start`], then [`Cluster::form`].
    ///
    /// # Panics
    /// When a node does not become ready.
    #[must_use]
    pub fn swarm(name: &str, managers: usize, workers: usize) -> Self {
        let cluster = Self::start(name, managers + workers);
        cluster.form(managers);
        cluster
    }

    /// Makes one swarm of the hosts: the first so many are managers, the rest workers.
    ///
    /// # Panics
    /// When a node does not become ready.
    pub fn form(&self, managers: usize) {
        let count = self.count();
        let own = self.address(1).to_owned();
        self.skep(1, &["swarm", "init", "--advertise-addr", &own])
            .succeeds();
        for host in 2..=count {
            let role = if host <= managers {
                "manager"
            } else {
                "worker"
            };
            self.join(host, role).succeeds();
        }
        wait_for("every node is ready", Duration::from_secs(90), || {
            let nodes = self.table(1, &["node", "ls"])?;
            let ready = nodes
                .iter()
                .filter(|n| cell(n, "STATUS") == "Ready")
                .count();
            if ready == count && nodes.len() == count {
                Ok(())
            } else {
                Err(format!("{nodes:?}"))
            }
        });
    }

    /// Joins a host to the swarm of host 1.
    pub fn join(&self, host: usize, role: &str) -> Output {
        let token = self
            .read(1, &["swarm", "join-token", "-q", role])
            .succeeds();
        let manager = format!("{}:2377", self.address(1));
        self.change(host, &["swarm", "join", "--token", token.text(), &manager])
    }

    /// Starts the daemon of a host that runs.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_daemon(&mut self, host: usize) {
        self.start_daemon_at(host, None, &[]);
    }

    /// [`Cluster::start_daemon`] with more options, and with a clock that is so much off:
    /// `+100d`, or as much as the file says that is named after an `@`, read each second.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_daemon_at(&mut self, host: usize, clock: Option<&str>, more: &[&str]) {
        let home = self.home(host);
        fs::create_dir_all(&home).expect("a node's folder can be made");
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(home.join("daemon.log"))
            .expect("the log can be opened");
        let error = log.try_clone().expect("a file can be had twice");
        let mut command = self.hosts.exec_command(host);
        if let Some(clock) = clock {
            // Time that is measured, and not told, goes on as it does.
            let library = format!(
                "LD_PRELOAD=/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1",
                std::env::consts::ARCH
            );
            let clock = match clock.strip_prefix('@') {
                Some(file) => format!("FAKETIME_TIMESTAMP_FILE={file}"),
                None => format!("FAKETIME={clock}"),
            };
            command.args(["env", "FAKETIME_DONT_FAKE_MONOTONIC=1", &clock, &library]);
            command.arg("FAKETIME_CACHE_DURATION=1");
        }
        command
            .arg(self.programs.skep())
            .args(["daemon", "--data-dir"])
            .arg(self.data_dir(host))
            .arg("--run-dir")
            .arg(home.join("run"))
            .args(["--host", &self.socket(host)])
            .args(["--registry-mirror", &format!("http://{}", self.registry())])
            .args(["--insecure-registry", &self.registry()])
            .args(more)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(error);
        let child = command.spawn().expect("deploy/hosts starts");
        self.daemons[host - 1] = Some(child);
    }

    /// Waits until the daemon of a host answers.
    ///
    /// # Panics
    /// When it does not, or ends.
    pub fn await_daemon(&mut self, host: usize) {
        let limit = Duration::from_secs(90);
        let mut child = self.daemons[host - 1].take();
        wait_for(&format!("the daemon of host {host} answers"), limit, || {
            if let Some(Ok(Some(status))) = child.as_mut().map(Child::try_wait) {
                panic!(
                    "the daemon of host {host} ended: {status}\n{}",
                    self.log_tail(host)
                );
            }
            self.skep(host, &["version"]).checked()
        });
        self.daemons[host - 1] = child;
    }

    /// Ends a daemon by KILL and waits until it is gone.
    ///
    /// # Panics
    /// When none runs.
    pub fn kill_daemon(&mut self, host: usize) {
        let pid = self.daemon_pid(host).and_then(Pid::from_raw);
        kill_process(pid.expect("a daemon runs there"), Signal::KILL).expect("it can be killed");
        let mut child = self.daemons[host - 1].take().expect("a daemon runs there");
        child.wait().expect("a child of ours can be waited for");
    }

    /// The daemon's process, seen from this machine.
    #[must_use]
    pub fn daemon_pid(&self, host: usize) -> Option<i32> {
        let outer = self.daemons[host - 1].as_ref()?.id();
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).ok()?;
        let first = children.split_whitespace().next()?;
        first.parse().ok()
    }

    /// Takes a host's power away: everything in it dies at once.
    ///
    /// # Panics
    /// When that fails.
    pub fn kill_host(&mut self, host: usize) {
        self.hosts.do_to("kill", host);
        if let Some(mut child) = self.daemons[host - 1].take() {
            child.wait().expect("a child of ours can be waited for");
        }
    }

    /// Powers a host on again and starts its daemon.
    ///
    /// # Panics
    /// When that fails.
    pub fn start_host(&mut self, host: usize) {
        self.hosts.do_to("start", host);
        self.start_daemon(host);
        self.await_daemon(host);
    }

    /// Runs `skep` against the daemon of a host.
    pub fn skep(&self, host: usize, arguments: &[&str]) -> Output {
        let mut skep = Command::new(self.programs.skep());
        skep.args(["-H", &self.socket(host)])
            .args(arguments)
            .env_remove("SKEP_HOST");
        command::run(&mut skep, COMMAND_LIMIT)
    }

    /// [`Cluster::skep`] for what only asks; again while no manager leads.
    pub fn read(&self, host: usize, arguments: &[&str]) -> Output {
        self.repeat(host, arguments, READ_LIMIT, &[LEADERLESS])
    }

    /// [`Cluster::skep`] for a change that may be made twice; again while it is in
    /// doubt whether it was made.
    pub fn change(&self, host: usize, arguments: &[&str]) -> Output {
        self.repeat(host, arguments, CHANGE_LIMIT, &UNSURE)
    }

    fn repeat(&self, host: usize, arguments: &[&str], limit: Duration, on: &[&str]) -> Output {
        let begun = Instant::now();
        let mut last = self.skep(host, arguments);
        let says = |output: &Output, words: &[&str]| {
            output.code != 0 && words.iter().any(|word| output.err.contains(word))
        };
        while says(&last, on) && begun.elapsed() < limit {
            eprintln!("again: {last}");
            thread::sleep(Duration::from_millis(500));
            last = self.skep(host, arguments);
            if says(&last, &MADE) {
                last.code = 0;
            }
        }
        last
    }

    /// How often agents report, from now on. A node is Down after three of these,
    /// and what it ran is replaced: long where a test counts what runs, also on a
    /// machine that stands still for seconds.
    ///
    /// # Panics
    /// When it cannot be set.
    pub fn heartbeat(&self, host: usize, period: &str) {
        self.change(host, &["swarm", "update", "--dispatcher-heartbeat", period])
            .succeeds();
    }

    /// The table that a command of `skep` prints.
    ///
    /// # Errors
    /// The command's output, when it failed.
    pub fn table(&self, host: usize, arguments: &[&str]) -> Result<Vec<Row>, String> {
        Ok(rows(&self.read(host, arguments).checked()?))
    }

    /// Creates a service `web` of so many tasks of [`VOTE_IMAGE`], with these
    /// options of the command as well, and waits until it runs.
    ///
    /// # Panics
    /// When it does not.
    pub fn create_web(&self, replicas: usize, options: &[&str]) {
        let replicas = replicas.to_string();
        let mut command = vec!["service", "create", "--name", "web"];
        command.extend(["--replicas", &replicas]);
        command.extend(options);
        command.push(VOTE_IMAGE);
        self.change(1, &command).succeeds();
        wait_for("web runs", Duration::from_secs(120), || self.converged(1));
    }

    /// Deploys the voting application and waits until it runs.
    ///
    /// # Panics
    /// When it does not.
    pub fn deploy_voting(&self, stack: &str) {
        let file = voting_stack();
        let file = file.to_string_lossy();
        self.change(1, &["stack", "deploy", "-c", &file, stack])
            .succeeds();
        wait_for(
            "every service has its tasks",
            Duration::from_secs(120),
            || self.converged(1),
        );
    }

    /// Whether every service has as many running tasks as it wants, and there is one.
    ///
    /// # Errors
    /// The table of services, when not.
    pub fn converged(&self, host: usize) -> Result<(), String> {
        let services = self.table(host, &["service", "ls"])?;
        let full = |row: &Row| {
            let replicas = cell(row, "REPLICAS").split(' ').next().unwrap_or_default();
            replicas
                .split_once('/')
                .is_some_and(|(have, want)| have == want)
        };
        if !services.is_empty() && services.iter().all(full) {
            Ok(())
        } else {
            Err(format!("{services:#?}"))
        }
    }

    /// The tasks of a service that run: (task id, host).
    ///
    /// # Errors
    /// What the program said, when it failed.
    pub fn running(&self, asked: usize, service: &str) -> Result<Vec<(String, usize)>, String> {
        let filter = "desired-state=running";
        let rows = self.table(
            asked,
            &["service", "ps", "--no-trunc", "--filter", filter, service],
        )?;
        let runs = |row: &&Row| cell(row, "CURRENT STATE").starts_with("Running");
        let place = |row: &Row| {
            let host = cell(row, "NODE").rsplit_once("-h")?.1.parse().ok()?;
            Some((cell(row, "ID").to_owned(), host))
        };
        Ok(rows.iter().filter(runs).filter_map(place).collect())
    }

    /// The host whose manager leads, as `asked` sees it.
    ///
    /// # Errors
    /// The table of nodes, when none leads.
    pub fn leader(&self, asked: usize) -> Result<usize, String> {
        let nodes = self.table(asked, &["node", "ls"])?;
        let leads = |row: &&Row| cell(row, "MANAGER STATUS") == "Leader";
        let name = nodes.iter().find(leads).map(|row| cell(row, "HOSTNAME"));
        name.and_then(|n| n.rsplit_once("-h")?.1.parse().ok())
            .ok_or_else(|| format!("{nodes:#?}"))
    }

    /// Who answers at a URL: the container's host name and the client it saw.
    ///
    /// # Errors
    /// When nobody does.
    pub fn whoami(&self, from: From, url: &str) -> Result<(String, String), String> {
        self.whoami_within(from, url, 5.0)
    }

    /// [`Cluster::whoami`] with so many seconds for the answer.
    ///
    /// # Errors
    /// When nobody answers in time.
    pub fn whoami_within(
        &self,
        from: From,
        url: &str,
        seconds: f32,
    ) -> Result<(String, String), String> {
        let answer = self
            .get_within(from, &format!("{url}/whoami"), seconds)?
            .json()?;
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        Ok((text("hostname"), text("client")))
    }

    /// Takes the cluster down and looks whether anything of it is left.
    ///
    /// # Panics
    /// When something is.
    pub fn finish(mut self) {
        self.take_down();
        let folder = self.folder().to_string_lossy().into_owned();
        let left = leftovers::on_the_machine(self.prefix(), &folder);
        assert!(left.is_empty(), "left on the machine: {left:#?}");
    }

    fn take_down(&mut self) {
        if self.finished {
            return;
        }
        self.finished = true;
        self.hosts.take_down();
        for child in self.daemons.iter_mut().flatten() {
            if let Err(error) = child.wait() {
                eprintln!("a daemon: {error}");
            }
        }
    }

    /// The socket of a host's daemon, as a URL.
    #[must_use]
    pub fn socket(&self, host: usize) -> String {
        format!("unix://{}/skep.sock", self.home(host).display())
    }

    /// The data directory of a host's daemon.
    #[must_use]
    pub fn data_dir(&self, host: usize) -> PathBuf {
        self.home(host).join("data")
    }

    fn home(&self, host: usize) -> PathBuf {
        self.folder().join(format!("h{host}"))
    }

    /// The last lines of a daemon's log.
    #[must_use]
    pub fn log_tail(&self, host: usize) -> String {
        let Ok(file) = File::open(self.home(host).join("daemon.log")) else {
            return String::new();
        };
        let lines: Vec<_> = BufReader::new(file).lines().map_while(Result::ok).collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    fn show_state(&self) {
        for host in 1..=self.count() {
            eprintln!(
                "--- the log of host {host}, its end\n{}",
                self.log_tail(host)
            );
        }
        let alive = (1..=self.count()).find(|h| self.daemon_pid(*h).is_some());
        if let Some(host) = alive {
            for command in [&["node", "ls"][..], &["service", "ls"]] {
                eprintln!("{}", self.skep(host, command));
            }
            let services = self.skep(host, &["service", "ls", "-q"]).lines();
            for service in services {
                eprintln!(
                    "{}",
                    self.skep(host, &["service", "ps", "--no-trunc", &service])
                );
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() && !self.finished {
            self.show_state();
            if std::env::var_os("SKEP_KEEP").is_some() {
                eprintln!(
                    "kept for a look: {} in {}; press Ctrl-C",
                    self.prefix(),
                    self.folder().display()
                );
                loop {
                    thread::park();
                }
            }
        }
        self.take_down();
    }
}

impl Deref for Cluster {
    type Target = Hosts;

    fn deref(&self) -> &Hosts {
        &self.hosts
    }
}
