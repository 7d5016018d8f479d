//! A runtime of its own for each test, with an image made from busybox, that
//! leaves nothing behind whatever happens.
#![allow(dead_code, missing_docs)]

use skep_agent_runtime::{
    ContainerRequest, Error, ExitRecord, ImageConfig, LogOptions, RootImage, Runtime,
    RuntimeConfig, Started,
};
use skep_agent_shim_api::Cgroup;
use skep_types::{ContainerSpec, Resources, TaskId};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio_stream::StreamExt;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Open files of a container that asks for nothing else.
pub const OPEN_FILES: u64 = 900;

pub type TestResult = Result<(), Box<dyn std::error::Error>>;

/// The shim, built beside the test itself, or the one that `SKEP_TEST_SHIM`
/// names.
pub fn shim() -> &'static Path {
    static SHIM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = SHIM.get_or_init(|| {
        if let Some(given) = std::env::var_os("SKEP_TEST_SHIM") {
            return Some(PathBuf::from(given));
        }
        let test = std::env::current_exe().unwrap();
        // .../debug/deps/test -> ...
        let target = test.ancestors().nth(3).unwrap();
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "-p", "skep-agent-shim", "--target-dir"])
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        status.success().then(|| target.join("debug/skep-shim"))
    });
    built.as_deref().expect("the shim cannot be built")
}

/// Runs tests of this program in a mount namespace in which the machine has cgroup
/// v2 alone. Its controllers stay with v1, so what needs limits is not for this.
pub fn as_on_cgroup_v2(tests: &[&str]) -> TestResult {
    let pretend = "umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && \
                   exec \"$0\" --exact \"$@\"";
    let output = Command::new("unshare")
        .args(["-m", "sh", "-e", "-c", pretend])
        .arg(std::env::current_exe()?)
        .args(tests)
        .env("SKEP_TEST_SHIM", shim())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains(&format!("{} passed", tests.len())), "{text}");
    Ok(())
}

pub struct Node {
    pub runtime: Runtime,
    pub dir: tempfile::TempDir,
    pub parent: String,
}

impl Node {
    pub fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let parent = format!("skep-t{}-{number}", std::process::id());
        let dir = tempfile::Builder::new().prefix("skep-t").tempdir().unwrap();
        busybox(&dir.path().join("layer"));
        Self {
            runtime: open(dir.path(), &parent, shim()),
            dir,
            parent,
        }
    }

    /// A runtime as a daemon has it after a restart.
    pub fn restarted(&self) -> Runtime {
        self.with_shim(shim())
    }

    /// A runtime that runs another program for each container.
    pub fn with_shim(&self, shim: &Path) -> Runtime {
        open(self.dir.path(), &self.parent, shim)
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn bundle(&self, task: &TaskId) -> PathBuf {
        self.data().join("tasks").join(task.to_string())
    }

    pub fn layer(&self) -> PathBuf {
        self.dir.path().join("layer")
    }

    /// A request for a container that runs a line of shell.
    pub fn request(&self, shell: &str) -> ContainerRequest {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let task = TaskId::from_bits(u128::from(std::process::id()) << 32 | u128::from(number));
        ContainerRequest {
            task,
            container_id: format!("{:064x}", task.bits()),
            spec: ContainerSpec {
                command: vec!["/bin/sh".into(), "-c".into(), shell.into()],
                ..ContainerSpec::default()
            },
            resources: Resources::default(),
            image: RootImage {
                id: "sha256:busybox".into(),
                layers: vec![self.layer()],
                config: ImageConfig::default(),
            },
            netns: None,
            hostname: String::new(),
            extra_env: Vec::new(),
            hosts: "127.0.0.1 localhost\n".into(),
            resolv_conf: "nameserver 127.0.0.11\n".into(),
            secrets: Vec::new(),
            configs: Vec::new(),
            labels: Default::default(),
            log_max_bytes: None,
            log_max_files: None,
        }
    }

    /// Puts the libraries of the shim into the image, for what runs as that in the
    /// container: the one that is installed is static and needs none.
    pub fn with_libraries_of_the_shim(&self) {
        let said = Command::new("ldd").arg(shim()).output().unwrap();
        let said = String::from_utf8_lossy(&said.stdout);
        let paths = said.split_whitespace().filter(|word| word.starts_with('/'));
        for path in paths.map(Path::new) {
            let copy = self.layer().join(path.strip_prefix("/").unwrap());
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(path, copy).unwrap();
        }
    }

    pub async fn run(&self, request: ContainerRequest) -> Result<(TaskId, Started), Error> {
        let task = request.task;
        self.runtime.create(request).await?;
        let started = self.runtime.start(&task).await?;
        Ok((task, started))
    }

    /// Runs to the end: the record and all output.
    pub async fn finish(&self, request: ContainerRequest) -> Result<(ExitRecord, String), Error> {
        let (task, _) = self.run(request).await?;
        let record = self.runtime.wait(&task).await?;
        let text = self.output(&task).await?;
        self.runtime.remove(&task).await?;
        Ok((record, text))
    }

    pub async fn output(&self, task: &TaskId) -> Result<String, Error> {
        let mut lines = self.runtime.logs(task, LogOptions::default())?;
        let mut text = String::new();
        while let Some(line) = lines.next().await {
            text.push_str(&line?.text);
        }
        Ok(text)
    }

    /// Waits until the container has written this much.
    pub async fn until_output(&self, task: &TaskId, wanted: &str) -> Result<(), Error> {
        let options = LogOptions {
            follow: true,
            ..LogOptions::default()
        };
        let mut lines = self.runtime.logs(task, options)?;
        let found = async {
            while let Some(line) = lines.next().await {
                if line?.text.contains(wanted) {
                    return Ok(true);
                }
            }
            Ok::<bool, Error>(false)
        };
        let found = tokio::time::timeout(Duration::from_secs(30), found).await;
        assert!(matches!(found, Ok(Ok(true))), "no {wanted:?} in the log");
        Ok(())
    }

    pub fn cgroup(&self, task: &TaskId) -> Cgroup {
        Cgroup::locate(&format!("/{}/{:064x}", self.parent, task.bits())).unwrap()
    }

    fn has_shims(&self) -> bool {
        let tasks = fs::read_dir(self.data().join("tasks")).unwrap();
        tasks.flatten().any(|entry| {
            let dir = entry.path();
            dir.join("shim.sock").exists() || dir.join("state").exists()
        })
    }

    /// What is mounted below this node's directory, as the machine sees it.
    pub fn mounts(&self) -> Vec<String> {
        let mounts = mounts_below(self.dir.path()).into_iter();
        mounts
            .map(|path| format!("mount {}", path.display()))
            .collect()
    }

    /// What is left of all containers: mounts, directories, cgroups.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = self.mounts();
        for entry in fs::read_dir(self.data().join("tasks")).unwrap().flatten() {
            left.push(format!("directory {}", entry.path().display()));
        }
        let processes = Cgroup::locate(&self.parent).unwrap().processes();
        left.extend(processes.into_iter().map(|pid| format!("process {pid}")));
        left
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let cgroup = Cgroup::locate(&self.parent).unwrap();
        let killed = cgroup.kill_all(Duration::from_secs(10));
        // Shims end with their containers, and their sockets go with them.
        let end = Instant::now() + Duration::from_secs(10);
        while self.has_shims() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        let removed = cgroup.remove(Duration::from_secs(10));
        for path in mounts_below(self.dir.path()) {
            let _gone = nix::mount::umount2(&path, nix::mount::MntFlags::MNT_DETACH);
        }
        if !std::thread::panicking() {
            assert!(killed.is_ok() && removed.is_ok(), "{killed:?} {removed:?}");
        }
    }
}

fn open(dir: &Path, parent: &str, shim: &Path) -> Runtime {
    Runtime::open(RuntimeConfig {
        data_dir: dir.join("data"),
        run_dir: dir.join("run"),
        shim: shim.to_owned(),
        open_files: Some(OPEN_FILES),
        cgroup_parent: parent.to_owned(),
    })
    .unwrap()
}

/// The parent of a process; of process 1 of a container, that is its shim.
pub fn parent_of(pid: i32) -> Result<i32, Box<dyn std::error::Error>> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mut lines = status.lines();
    let parent = lines.find_map(|line| line.strip_prefix("PPid:"));
    Ok(parent.unwrap_or_default().trim().parse()?)
}

pub fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut found: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4).map(PathBuf::from))
        .filter(|path| path.starts_with(dir))
        .collect();
    found.reverse();
    found
}

/// A root file system with nothing but busybox and two files of users.
fn busybox(root: &Path) {
    for dir in ["bin", "etc", "tmp", "proc", "dev", "sys", "home/web"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect("install busybox-static");
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    let list = Command::new(busybox).arg("--list").output().unwrap();
    for applet in String::from_utf8_lossy(&list.stdout).lines() {
        if applet != "busybox" {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001:web:/home/web:/bin/sh\n",
    )
    .unwrap();
    fs::write(
        root.join("etc/group"),
        "root:x:0:\nweb:x:1001:\nextra:x:2000:web\n",
    )
    .unwrap();
}
