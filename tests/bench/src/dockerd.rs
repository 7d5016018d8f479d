//! Debian's dockerd on a host of its own, and the same questions to it.
//!
//! It runs in its own network, mount and process namespaces and ends with them.

use crate::debian;
use crate::figures::{Figure, percentiles, spread};
use crate::memory::{mb, processes, share};
use skep_e2e::{Hosts, Output, command, wait_for};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PACKAGES: &[&str] = &["docker.io", "containerd", "runc", "tini"];
const ROUNDS: usize = 5;
const MANY: usize = 20;
const SOON: Duration = Duration::from_secs(120);

/// Measures and writes it beside the figures of the same promise.
pub fn measure(figures: &mut [Figure]) {
    let Some(programs) = debian::unpacked("docker-program", PACKAGES, "usr/sbin/dockerd") else {
        eprintln!("dockerd: left out; its packages cannot be had");
        return;
    };
    eprintln!("dockerd: one node");
    let docker = Docker::start(&programs);
    let image = format!("{}/library/redis:alpine", docker.hosts.registry());
    docker
        .ask(&["swarm", "init", "--advertise-addr", docker.hosts.address(1)])
        .succeeds();
    docker.ask(&["pull", "-q", &image]).succeeds();
    docker
        .ask(&[
            "service",
            "create",
            "-q",
            "-d",
            "--no-resolve-image",
            "--stop-signal",
            "KILL",
            "--name",
            "web",
            "--replicas",
            "0",
            &image,
            "sleep",
            "infinity",
        ])
        .succeeds();
    sleep(Duration::from_secs(5));
    let idle: u64 = docker.daemons().into_iter().map(share).sum();
    docker.scale(1);
    docker.scale(0);
    let mut times = Vec::new();
    for round in 1..=ROUNDS {
        times.push(docker.scale(5));
        eprintln!(
            "dockerd: scale 0 to 5, round {round}: {:?}",
            times[round - 1]
        );
        docker.scale(0);
    }
    let took = docker.scale(MANY);
    let mark = docker.hosts.folder().to_string_lossy().into_owned();
    let shims = processes("containerd-shim-runc-v2", &mark);
    let per = shims.iter().map(|p| share(*p)).sum::<u64>() / shims.len().max(1) as u64;
    docker.scale(0);
    docker.end();

    let (_, most) = percentiles(&times);
    let mut note = |promise: &str, text: String| {
        eprintln!("dockerd: {promise}: {text}");
        for figure in figures
            .iter_mut()
            .filter(|f| f.promise.starts_with(promise))
        {
            figure.dockerd = Some(text.clone());
        }
    };
    note(
        "service scale 0 -> 5",
        format!("{}; worst {most:.1?}", spread(&times)),
    );
    note(
        "container starts",
        format!("{:.1} ({MANY} at once)", MANY as f64 / took.as_secs_f64()),
    );
    note(
        "memory idle: manager",
        format!("{} (dockerd and containerd, one manager)", mb(idle)),
    );
    note("memory per container", format!("{} (shim)", mb(per)));
}

/// Where the programs are, unpacked; nothing when they cannot be fetched.
/// A dockerd with its containerd on a host of its own.
struct Docker {
    hosts: Hosts,
    programs: PathBuf,
    daemon: Child,
}

impl Docker {
    fn start(programs: &Path) -> Self {
        let hosts = Hosts::start("dockerd", 1);
        let folder = hosts.folder().join("docker");
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let log = std::fs::File::create(folder.join("log")).expect("the log can be made");
        let again = log.try_clone().expect("a file can be had twice");
        let daemon = hosts
            .exec_command(1)
            .arg("env")
            .arg(format!("PATH={}", Self::path(programs)))
            .arg(programs.join("usr/sbin/dockerd"))
            .arg("--data-root")
            .arg(folder.join("data"))
            .arg("--exec-root")
            .arg(folder.join("exec"))
            .arg("--pidfile")
            .arg(folder.join("pid"))
            .arg("--host")
            .arg(Self::socket(&hosts))
            .args([
                "--storage-driver",
                "overlay2",
                "--insecure-registry",
                &hosts.registry(),
            ])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(again)
            .spawn()
            .expect("deploy/hosts starts");
        let docker = Self {
            hosts,
            programs: programs.to_owned(),
            daemon,
        };
        wait_for("dockerd answers", SOON, || {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            docker
                .ask(&["version"])
                .checked()
                .map_err(|e| format!("{e}\n{log}"))
        });
        docker
    }

    fn path(programs: &Path) -> String {
        let p = programs.display();
        format!("{p}/usr/sbin:{p}/usr/bin:{p}/sbin:{p}/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    }

    fn socket(hosts: &Hosts) -> String {
        format!("unix://{}/docker/docker.sock", hosts.folder().display())
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        let mut docker = Command::new(self.programs.join("usr/bin/docker"));
        docker
            .arg("-H")
            .arg(Self::socket(&self.hosts))
            .args(arguments);
        command::run(&mut docker, SOON)
    }

    /// dockerd and the containerd that it starts.
    fn daemons(&self) -> Vec<i32> {
        let mark = self.hosts.folder().to_string_lossy().into_owned();
        let mut all = processes("dockerd", &mark);
        all.extend(processes("containerd", &mark));
        all
    }

    /// Scales, and waits until it says that so many run.
    fn scale(&self, count: usize) -> Duration {
        let begun = Instant::now();
        self.ask(&["service", "scale", "-d", &format!("web={count}")])
            .succeeds();
        let wanted = format!("{count}/{count}");
        loop {
            let shown = self
                .ask(&["service", "ls", "--format", "{{.Replicas}}"])
                .succeeds();
            let there = self.ask(&["ps", "-q"]).succeeds().lines().len();
            if shown.text() == wanted && there == count {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < SOON, "{shown} {there}");
        }
    }

    fn end(mut self) {
        self.ask(&["service", "rm", "web"]).succeeds();
        self.ask(&["swarm", "leave", "--force"]).succeeds();
        self.hosts.take_down();
        self.daemon
            .wait()
            .expect("a child of ours can be waited for");
    }
}
