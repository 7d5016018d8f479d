//! What a host holds of ours, line by line, so that two moments can be compared;
//! and what the machine holds of a cluster that is gone.

use crate::cluster::Cluster;
use crate::command;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// What to look at in a host, and how. Numbers that change by themselves (counters,
/// handles, lifetimes) are left out.
const LOOKS: &[(&str, &str)] = &[
    ("mounts", "awk '{print $2, $3}' /proc/self/mounts"),
    ("links", "ip -o link | awk '{print $2}' | sed 's/@.*//'"),
    ("addresses", "ip -o addr | awk '{print $2, $3, $4}'"),
    (
        "routes",
        "ip route show table all | sed 's/ proto [a-z0-9]*//'",
    ),
    ("rules", "ip rule"),
    ("namespaces", "ls /run/netns 2>/dev/null; true"),
    (
        "cgroups",
        "find /sys/fs/cgroup -type d -name 'skep-*' | sort",
    ),
    (
        "nft",
        "nft -s list ruleset | sed -E 's/ expires [0-9a-z]+//; s/counter packets [0-9]+ bytes [0-9]+/counter/'",
    ),
    // The look itself is a process, too: by its session.
    (
        "processes",
        "for p in /proc/[0-9]*; do \
           s=$(cut -d')' -f2- $p/stat 2>/dev/null | cut -d' ' -f5); \
           [ \"$s\" = \"$(cut -d')' -f2- /proc/$$/stat | cut -d' ' -f5)\" ] || \
           tr '\\0' ' ' <$p/cmdline 2>/dev/null; echo; done | grep . ; true",
    ),
];

/// What is there, by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces(BTreeMap<String, Vec<String>>);

impl Traces {
    /// What is here and not in `before`, a line each; empty when nothing is.
    #[must_use]
    pub fn beyond(&self, before: &Self) -> Vec<String> {
        let mut more = Vec::new();
        for (kind, lines) in &self.0 {
            let mut old = before.0.get(kind).cloned().unwrap_or_default();
            for line in lines {
                match old.iter().position(|o| o == line) {
                    Some(at) => drop(old.swap_remove(at)),
                    None => more.push(format!("{kind}: {line}")),
                }
            }
        }
        more
    }
}

impl Cluster {
    /// What a host holds now.
    ///
    /// # Panics
    /// When it cannot be looked at.
    #[must_use]
    pub fn traces(&self, host: usize) -> Traces {
        let mut all = BTreeMap::new();
        for (kind, look) in LOOKS {
            let seen = self
                .exec(host, &["setsid", "-w", "sh", "-c", look])
                .succeeds();
            all.insert((*kind).to_owned(), seen.lines());
        }
        let containers = self.containers(host);
        all.insert(
            "containers".to_owned(),
            containers.into_iter().map(|c| c.id).collect(),
        );
        let tasks = fs::read_dir(self.data_dir(host).join("tasks"));
        let names = tasks.into_iter().flatten().flatten();
        let names = names.map(|e| e.file_name().to_string_lossy().into_owned());
        all.insert("task folders".to_owned(), names.collect());
        Traces(all)
    }
}

/// What this machine still holds of a cluster: namespaces, cgroups, mounts,
/// processes. `mark` is the cluster's prefix, `folder` its folder.
#[must_use]
pub fn on_the_machine(mark: &str, folder: &str) -> Vec<String> {
    let look = format!(
        "ls /run/netns 2>/dev/null | grep -F -- 'skep-{mark}-' | sed 's/^/namespace /'; \
         find /sys/fs/cgroup -maxdepth 3 -type d -name 'skep-{mark}-*' | sed 's/^/cgroup /'; \
         grep -F -- '{folder}' /proc/self/mounts | sed 's/^/mount /'; \
         grep -lF -- '{folder}' /proc/[0-9]*/cmdline 2>/dev/null | \
           grep -vE \"^/proc/(self|$$)/\" | while read -r f; do \
             tr '\\0' ' ' <$f 2>/dev/null | grep -v 'sh -c ls /run/netns' | grep -v '^grep ' | sed 's/^/process /'; echo; done | grep .; \
         true"
    );
    let seen = command::run(
        Command::new("sh").args(["-c", &look]),
        Duration::from_secs(120),
    );
    seen.succeeds().lines()
}
