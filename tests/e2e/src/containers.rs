//! The containers of a host as its kernel has them: by cgroups and processes, and
//! not by what a daemon says.

use crate::cluster::Cluster;
use crate::command::{self, Output};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A container that runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Container {
    /// The host, by number.
    pub host: usize,
    /// Its id.
    pub id: String,
    /// Its first process, seen from this machine.
    pub pid: i32,
    /// When that was started, in ticks of the kernel: a pid may be used again.
    pub started: String,
}

impl Container {
    /// Whether its program has been started: one that waits for its start is the
    /// library's still.
    #[must_use]
    pub fn is_started(&self) -> bool {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.pid));
        name.is_ok_and(|name| !name.starts_with("youki"))
    }
}

impl Cluster {
    /// The containers of a host, started or not.
    #[must_use]
    pub fn containers(&self, host: usize) -> Vec<Container> {
        let mut found = Vec::new();
        for group in self.container_groups(host) {
            let Some(pid) = processes(&group).into_iter().min() else {
                continue;
            };
            let Some(started) = started(pid) else {
                continue;
            };
            let id = group.file_name().unwrap_or_default().to_string_lossy();
            found.push(Container {
                host,
                id: id.into_owned(),
                pid,
                started,
            });
        }
        found.sort();
        found
    }

    /// The container of a task, if it runs on `host`.
    #[must_use]
    pub fn container_of(&self, host: usize, task: &str) -> Option<Container> {
        let folder = self.data_dir(host).join("tasks").join(task);
        let text: String = fs::read_dir(folder)
            .ok()?
            .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok())
            .collect();
        self.containers(host)
            .into_iter()
            .find(|container| text.contains(&container.id))
    }

    /// Runs a command inside a container's network and files, without the daemon.
    ///
    /// # Panics
    /// When nsenter cannot be started.
    pub fn inside(&self, container: &Container, command: &[&str]) -> Output {
        let mut nsenter = Command::new("nsenter");
        nsenter
            .args(["-t", &container.pid.to_string(), "-m", "-n", "-u"])
            .args(command);
        command::run(&mut nsenter, Duration::from_secs(120))
    }

    /// The cgroups of a host's containers, in the hierarchy that counts processes.
    fn container_groups(&self, host: usize) -> Vec<PathBuf> {
        let name = format!("skep-{}-h{host}", self.prefix());
        let hierarchies = ["pids", "memory", "."].map(|h| Path::new("/sys/fs/cgroup").join(h));
        let top = hierarchies.into_iter().map(|h| h.join(&name));
        let Some(top) = top.into_iter().find(|t| t.is_dir()) else {
            return Vec::new();
        };
        let parents = folders(&top).into_iter().filter(|p| {
            let name = p.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("skep-")
        });
        parents.flat_map(|p| folders(&p)).collect()
    }
}

/// The processes of a cgroup and all below it.
fn processes(group: &Path) -> BTreeSet<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut all: BTreeSet<i32> = text.lines().filter_map(|l| l.parse().ok()).collect();
    for below in folders(group) {
        all.extend(processes(&below));
    }
    all
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.flatten().map(|e| e.path());
    paths.filter(|p| p.is_dir()).collect()
}

/// When a process was started, in ticks since the machine was.
#[must_use]
pub fn started(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_owned)
}
