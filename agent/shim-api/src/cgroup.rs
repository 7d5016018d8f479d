//! The cgroup of a container on v1, hybrid and v2 machines: where it is, who is
//! in it, killing and removing it. Limits are written by libcontainer and read
//! by the runtime's statistics.
//!
//! Only cgroups below a first part that begins with `skep` are ever touched.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// One cgroup in all hierarchies of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    /// Directory for each v1 hierarchy, with its controllers.
    v1: Vec<(Vec<String>, PathBuf)>,
    /// Directory in the v2 hierarchy.
    v2: Option<PathBuf>,
}

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    mount: PathBuf,
    /// Controllers of v1; `None` for v2.
    controllers: Option<Vec<String>>,
}

impl Cgroup {
    /// The cgroup with this path below each hierarchy's root. It need not
    /// exist.
    ///
    /// # Errors
    /// A path that is not ours, or `/proc/self/mountinfo` that cannot be read.
    pub fn locate(path: &str) -> io::Result<Self> {
        let relative = path.trim_start_matches('/');
        let sane = relative.starts_with("skep")
            && relative
                .split('/')
                .all(|part| !part.is_empty() && part != "." && part != "..");
        if !sane {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{path:?} is not a cgroup of skep"),
            ));
        }
        let mut cgroup = Self {
            v1: Vec::new(),
            v2: None,
        };
        for hierarchy in hierarchies(&fs::read_to_string("/proc/self/mountinfo")?) {
            let dir = hierarchy.mount.join(relative);
            match hierarchy.controllers {
                Some(controllers) => cgroup.v1.push((controllers, dir)),
                None => cgroup.v2 = Some(dir),
            }
        }
        Ok(cgroup)
    }

    /// Whether v2 is the hierarchy with the resource controllers.
    pub fn is_unified(&self) -> bool {
        self.v1.is_empty() && self.v2.is_some()
    }

    /// The directory of the v2 hierarchy.
    pub fn unified(&self) -> Option<&Path> {
        self.v2.as_deref()
    }

    /// The directory of a v1 controller.
    pub fn controller(&self, name: &str) -> Option<&Path> {
        self.v1
            .iter()
            .find(|(controllers, _)| controllers.iter().any(|c| c == name))
            .map(|(_, dir)| dir.as_path())
    }

    /// Whether this machine has a controller, so that a limit can be set.
    pub fn offers(&self, controller: &str) -> bool {
        if !self.is_unified() {
            return self.controller(controller).is_some();
        }
        // The root of the hierarchy: ours is two levels deep at least.
        self.v2
            .iter()
            .flat_map(|dir| dir.ancestors().skip(1))
            .filter_map(|dir| fs::read_to_string(dir.join("cgroup.controllers")).ok())
            .last()
            .is_some_and(|names| names.split_whitespace().any(|name| name == controller))
    }

    /// Whether swap is accounted here, so that a limit of it can be set.
    pub fn limits_swap(&self) -> bool {
        if let Some(memory) = self.controller("memory") {
            return memory
                .ancestors()
                .any(|dir| dir.join("memory.memsw.limit_in_bytes").exists());
        }
        // On v2 the root has no limits: look at what is right below it.
        self.v2
            .iter()
            .flat_map(|dir| dir.ancestors().skip(1))
            .filter(|dir| dir.join("cgroup.controllers").exists())
            .last()
            .is_some_and(|root| {
                children(root)
                    .iter()
                    .any(|child| child.join("memory.swap.max").exists())
            })
    }

    fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.v1
            .iter()
            .map(|(_, dir)| dir.as_path())
            .chain(self.v2.as_deref())
    }

    /// Whether it exists in any hierarchy.
    pub fn exists(&self) -> bool {
        self.dirs().any(Path::exists)
    }

    /// All processes in it and below it.
    pub fn processes(&self) -> BTreeSet<i32> {
        let mut found = BTreeSet::new();
        for dir in self.dirs() {
            collect_processes(dir, &mut found);
        }
        found
    }

    /// Sends a signal to every process; those that are gone are no error.
    pub fn signal_all(&self, signal: Signal) {
        for pid in self.processes() {
            // A process may end between the reading and the signal.
            let _gone = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Kills every process and waits for the cgroup to be empty.
    ///
    /// # Errors
    /// `TimedOut` when processes are still there after `limit`.
    pub fn kill_all(&self, limit: Duration) -> io::Result<()> {
        let end = Instant::now() + limit;
        loop {
            if self.processes().is_empty() {
                return Ok(());
            }
            self.signal_all(Signal::SIGKILL);
            // A frozen process takes no signal.
            if let Some(freezer) = self.controller("freezer") {
                let _absent = fs::write(freezer.join("freezer.state"), "THAWED");
            }
            if let Some(unified) = &self.v2 {
                let _absent = fs::write(unified.join("cgroup.freeze"), "0");
            }
            if Instant::now() >= end {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "processes of the container cannot be killed",
                ));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Removes it and all cgroups below it; absent ones are no error.
    ///
    /// # Errors
    /// The kernel's, where a directory stays busy for longer than `limit`.
    pub fn remove(&self, limit: Duration) -> io::Result<()> {
        let end = Instant::now() + limit;
        for dir in self.dirs() {
            // The kernel lets go of a cgroup a moment after its last process.
            while let Err(error) = remove_tree(dir) {
                if Instant::now() >= end {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    }

    /// How many processes the kernel killed here for lack of memory; 0 where
    /// that cannot be read. Ask before [`Cgroup::remove`].
    pub fn oom_kills(&self) -> u64 {
        let file = match (self.controller("memory"), &self.v2) {
            (Some(memory), _) => memory.join("memory.oom_control"),
            (None, Some(unified)) => unified.join("memory.events"),
            (None, None) => return 0,
        };
        fs::read_to_string(file)
            .ok()
            .and_then(|text| {
                text.lines()
                    .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
            })
            .unwrap_or(0)
    }
}

/// The hierarchies named in the text of a mountinfo file.
fn hierarchies(mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((front, back)) = line.split_once(" - ") else {
            continue;
        };
        let (Some(root), Some(mount)) = (front.split(' ').nth(3), front.split(' ').nth(4)) else {
            continue;
        };
        let mut back = back.split(' ');
        let kind = back.next().unwrap_or_default();
        let options = back.nth(1).unwrap_or_default();
        // A bind mount of a part of a hierarchy is not the hierarchy.
        if root != "/" && root != "/.." {
            continue;
        }
        let controllers = match kind {
            "cgroup" => Some(
                options
                    .split(',')
                    .filter(|option| !matches!(*option, "rw" | "ro" | "xattr"))
                    .map(str::to_owned)
                    .collect(),
            ),
            "cgroup2" => None,
            _ => continue,
        };
        let hierarchy = Hierarchy {
            mount: PathBuf::from(mount.replace("\\040", " ")),
            controllers,
        };
        if !found.iter().any(|h| h.controllers == hierarchy.controllers) {
            found.push(hierarchy);
        }
    }
    found
}

fn collect_processes(dir: &Path, found: &mut BTreeSet<i32>) {
    if let Ok(text) = fs::read_to_string(dir.join("cgroup.procs")) {
        // Zero stands for a process in a pid namespace that we cannot see.
        found.extend(
            text.lines()
                .filter_map(|l| l.parse().ok())
                .filter(|p: &i32| *p > 0),
        );
    }
    for child in children(dir) {
        collect_processes(&child, found);
    }
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    for child in children(dir) {
        remove_tree(&child)?;
    }
    match fs::remove_dir(dir) {
        Err(error) if error.raw_os_error() != Some(Errno::ENOENT as i32) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 20 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw shared:3 - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
34 30 0:28 /part /elsewhere rw - cgroup cgroup rw,memory
";

    #[test]
    fn hierarchies_are_found_in_a_hybrid_layout() {
        let found = hierarchies(HYBRID);
        assert_eq!(found.len(), 3);
        assert_eq!(
            found[0].controllers,
            Some(vec!["cpu".to_owned(), "cpuacct".to_owned()])
        );
        assert_eq!(found[1].mount, Path::new("/sys/fs/cgroup/memory"));
        assert_eq!(found[2].controllers, None);
    }

    #[test]
    fn swap_can_be_limited_where_the_kernel_has_a_file_for_it() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        fs::write(root.path().join("cgroup.controllers"), "memory")?;
        let cgroup = Cgroup {
            v1: Vec::new(),
            v2: Some(root.path().join("skep/id")),
        };
        let slice = root.path().join("system.slice");
        fs::create_dir(&slice)?;
        assert!(!cgroup.limits_swap());
        fs::write(slice.join("memory.swap.max"), "max")?;
        assert!(cgroup.limits_swap());
        Ok(())
    }

    #[test]
    fn a_cgroup_that_is_not_ours_is_refused() {
        for path in ["/", "", "/docker/x", "/skep/../init.scope", "/skep//x"] {
            assert!(Cgroup::locate(path).is_err(), "{path}");
        }
    }
}
