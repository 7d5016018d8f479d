//! The life of containers: create, start, wait, stop, remove.

use crate::jail::Jail;
use crate::request::ContainerRequest;
use crate::rootfs::{self, private_dir};
use crate::shim::{self, NoAnswer};
use crate::signal::StopSignal;
use crate::volumes::Volumes;
use crate::{Error, Result, apart, devices, process, spec, users};
use serde::{Deserialize, Serialize};
use skep_agent_shim_api::exit::unix_nanos_now;
use skep_agent_shim_api::{
    Bundle, Cgroup, ControlRequest, ControlResponse, ExitRecord, LogConfig, ShimRequest,
};
use skep_types::{Labels, TaskId};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// How long processes may take to die, and the kernel to let go of a cgroup.
pub(crate) const KILL_LIMIT: Duration = Duration::from_secs(10);
/// How long a shim may take to answer what it knows without waiting for anything.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Size at which a log is rotated unless the request says otherwise, in bytes.
const LOG_MAX_BYTES: u64 = 10 << 20;
/// A log is not rotated below this size, whatever the request says, in bytes.
const LOG_MIN_BYTES: u64 = 4 << 10;
/// No more log files than this are kept, whatever the request says.
pub(crate) const LOG_FILES_MAX: u32 = 1000;
/// Log files kept unless the request says otherwise.
const LOG_MAX_FILES: u32 = 3;

/// Smallest memory limit, in bytes: below it not even the start succeeds.
const MEMORY_MIN_BYTES: u64 = 6 << 20;

/// Where a runtime keeps things and what it runs.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// Containers and volumes live below it.
    pub data_dir: PathBuf,
    /// Caches live below it; may be empty after each boot.
    pub run_dir: PathBuf,
    /// The `skep-shim` program.
    pub shim: PathBuf,
    /// How many files a container may have open unless its spec says otherwise,
    /// where that is not what this process itself may.
    pub open_files: Option<u64>,
    /// Name of the cgroup above those of the containers; begins with `skep`.
    pub cgroup_parent: String,
}

/// A container that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Process 1 of the container as the host sees it.
    pub pid: i32,
}

/// What is kept with a container for later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) container_id: String,
    /// Id of its image.
    pub(crate) image: String,
    pub(crate) labels: Labels,
    /// Signal that asks the container to stop.
    pub(crate) stop_signal: i32,
}

/// The containers of a node. Cheap to clone; holds no state that matters.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: RuntimeConfig,
    volumes: Volumes,
    /// Making and removing the same container exclude each other.
    locks: Mutex<HashMap<TaskId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Runtime {
    /// Opens the runtime and makes its directories. Touches no container.
    ///
    /// # Errors
    /// Directories that cannot be made, a cgroup name that is not ours.
    pub fn open(config: RuntimeConfig) -> Result<Self> {
        let parent = &config.cgroup_parent;
        if !parent.starts_with("skep") || parent.contains('/') {
            return Err(Error::Spec(format!(
                "cgroup {parent:?} does not begin with skep"
            )));
        }
        // Everything that is written down there is absolute.
        let absolute = |path: &Path| {
            fs::create_dir_all(path)
                .and_then(|()| path.canonicalize())
                .map_err(Error::file("make", path))
        };
        let config = RuntimeConfig {
            data_dir: absolute(&config.data_dir)?,
            run_dir: absolute(&config.run_dir)?,
            shim: std::path::absolute(&config.shim).map_err(Error::file("find", &config.shim))?,
            open_files: config.open_files,
            cgroup_parent: config.cgroup_parent,
        };
        let volumes = Volumes::new(&config.data_dir);
        private_dir(&config.data_dir.join("tasks"))?;
        private_dir(volumes.dir())?;
        private_dir(&config.run_dir.join("seccomp"))?;
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                volumes,
                locks: Mutex::default(),
            }),
        })
    }

    pub(crate) fn tasks_dir(&self) -> PathBuf {
        self.inner.config.data_dir.join("tasks")
    }

    pub(crate) fn seccomp_cache(&self) -> PathBuf {
        self.inner.config.run_dir.join("seccomp")
    }

    pub(crate) fn bundle(&self, task: &TaskId) -> Bundle {
        Bundle::new(self.tasks_dir().join(task.to_string()))
    }

    /// The bundle, if there is one.
    pub(crate) fn existing(&self, task: &TaskId) -> Result<Bundle> {
        let bundle = self.bundle(task);
        if bundle.dir().exists() {
            Ok(bundle)
        } else {
            Err(Error::NotFound(*task))
        }
    }

    fn lock_of(&self, task: TaskId) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self
            .inner
            .locks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Nobody holds the locks that only this table knows.
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(task).or_default())
    }

    /// Makes a container that waits for its start. Nothing is left of it when
    /// this fails. Goes on by itself when the caller is gone.
    ///
    /// # Errors
    /// [`Error::Create`] and [`Error::Spec`] with a reason for the user,
    /// [`Error::Exists`], and those of files and mounts.
    pub async fn create(&self, request: ContainerRequest) -> Result<()> {
        let runtime = self.clone();
        let task = request.task;
        // Locked before it goes its own way: who removes the container from now on
        // waits for it, even if it has not got further than this.
        let guard = self.lock_of(task).lock_owned().await;
        let work = tokio::spawn(async move {
            let _guard = guard;
            if runtime.bundle(&task).dir().exists() {
                return Err(Error::Exists(task));
            }
            let result = runtime.create_locked(request).await;
            if result.is_err()
                && let Err(error) = runtime.remove_locked(&task).await
            {
                tracing::warn!(%task, error = error.chain(), "cannot clean up");
            }
            result
        });
        work.await.map_err(Error::Interrupted)?
    }

    async fn create_locked(&self, request: ContainerRequest) -> Result<()> {
        let bundle = self.bundle(&request.task);
        let runtime = self.clone();
        let made = bundle.clone();
        let shim = apart::run(move || {
            runtime.prepare(&made, &request)?;
            shim::spawn(&runtime.inner.config, &made)
        })
        .await?;
        shim::created(shim, &self.inner.config, &bundle).await
    }

    /// Everything that is there before the shim is started.
    fn prepare(&self, bundle: &Bundle, request: &ContainerRequest) -> Result<()> {
        let id = &request.container_id;
        if id.len() != 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Error::Spec(format!("{id:?} is not a container id")));
        }
        let memory = request.resources.memory_limit.0;
        if (1..MEMORY_MIN_BYTES).contains(&memory) {
            return Err(Error::Spec(format!(
                "a memory limit of {memory} bytes is below the minimum of 6 MiB"
            )));
        }
        let hostname = match request.hostname.as_str() {
            "" => &id[..12],
            name => name,
        };
        let stop_signal = [
            Some(request.spec.stop_signal.as_str()),
            request.image.config.stop_signal.as_deref(),
        ]
        .into_iter()
        .flatten()
        .find(|text| !text.is_empty())
        .map_or(Ok(StopSignal::TERM), str::parse)
        .map_err(|error| Error::Spec(format!("stop signal: {error}")))?;
        let meta = Meta {
            container_id: id.clone(),
            image: request.image.id.clone(),
            labels: request.labels.clone(),
            stop_signal: stop_signal.number(),
        };
        private_dir(bundle.dir())?;
        // Before its layers are used, so that nobody removes them.
        write_json(&bundle.meta(), &meta)?;
        rootfs::mount_overlay(bundle, &request.image.layers)?;
        let root = Jail::open(&bundle.rootfs()).map_err(Error::file("open", bundle.rootfs()))?;
        let user = match request.spec.user.as_str() {
            "" => request.image.config.user.as_str(),
            user => user,
        };
        let user = users::resolve(&root, user, &request.spec.groups)?;
        let process = process::build(request, hostname, &user)?;
        // Where it lies in a volume, the shim makes it.
        root.make_directories(Path::new(&process.cwd))
            .map_err(Error::file("make the working directory", &process.cwd))?;
        let volumes = self.inner.volumes.mounts(request, bundle, &root)?;
        if let Some(netns) = &request.netns {
            apart::take_netns(bundle, netns)?;
        }
        let mut files = rootfs::write_etc(bundle, request, hostname)?;
        files.extend(rootfs::write_files(bundle, request)?);
        let devices = devices::find(&request.spec)?;
        let cgroup_path = format!("/{}/{id}", self.inner.config.cgroup_parent);
        let config = spec::build(spec::Parts {
            bundle,
            request,
            process: &process,
            hostname,
            cgroup_path: &cgroup_path,
            devices: &devices,
            volumes,
            files,
        })?;
        let shim_request = ShimRequest {
            container_id: id.clone(),
            cgroup_path,
            process,
            new_network: request.netns.is_none(),
            host_pid: request.spec.host_pid,
            tty: request.spec.tty,
            open_stdin: request.spec.open_stdin,
            devices: devices.allowed,
            log: LogConfig {
                path: bundle.log(),
                max_bytes: request
                    .log_max_bytes
                    .map_or(LOG_MAX_BYTES, |bytes| bytes.max(LOG_MIN_BYTES)),
                max_files: request
                    .log_max_files
                    .map_or(LOG_MAX_FILES, |files| files.clamp(1, LOG_FILES_MAX)),
            },
            seccomp_cache: self.seccomp_cache(),
        };
        write_json(&bundle.config(), &config)?;
        write_json(&bundle.request(), &shim_request)
    }

    /// Runs the program of a container that was made.
    ///
    /// # Errors
    /// [`Error::Start`] when the kernel does not run the program.
    pub async fn start(&self, task: &TaskId) -> Result<Started> {
        let bundle = self.existing(task)?;
        // The daemon may have died between the start and its answer.
        if let Ok(ControlResponse::State(status)) = shim::ask(&bundle, &ControlRequest::State).await
            && status.started
        {
            return Ok(Started { pid: status.pid });
        }
        match shim::ask(&bundle, &ControlRequest::Start).await {
            Ok(ControlResponse::Done) => {}
            Ok(ControlResponse::Failed { reason }) => return Err(Error::Start { reason }),
            Ok(ControlResponse::Exited(record)) => {
                return Err(Error::Start {
                    reason: record
                        .error
                        .unwrap_or_else(|| format!("it ended at once with code {}", record.code)),
                });
            }
            other => return Err(unexpected(task, other)),
        }
        match shim::ask(&bundle, &ControlRequest::State).await {
            Ok(ControlResponse::State(status)) => Ok(Started { pid: status.pid }),
            // A short program may be at its end already.
            Ok(ControlResponse::Exited(_)) | Err(NoAnswer::Gone) => Ok(Started { pid: 0 }),
            other => Err(unexpected(task, other)),
        }
    }

    /// Waits for the end of a container, whoever made it. A container whose
    /// shim was killed ended with it: that is code 137, and the record says so.
    ///
    /// # Errors
    /// [`Error::NotFound`], and a record that cannot be read.
    pub async fn wait(&self, task: &TaskId) -> Result<ExitRecord> {
        let bundle = self.existing(task)?;
        match shim::ask(&bundle, &ControlRequest::Wait).await {
            Ok(ControlResponse::Exited(record)) => Ok(record),
            Err(NoAnswer::Gone) => self.record_or_lost(task).await,
            other => Err(unexpected(task, other)),
        }
    }

    /// The exit record; where there is none, the rest of shim and container is
    /// killed and a record is written that says so.
    pub(crate) async fn record_or_lost(&self, task: &TaskId) -> Result<ExitRecord> {
        let bundle = self.existing(task)?;
        if let Some(record) = read_record(&bundle)? {
            return Ok(record);
        }
        self.end_shim(task).await?;
        if let Some(record) = read_record(&bundle)? {
            return Ok(record);
        }
        self.blocking({
            let task = *task;
            move |runtime| {
                runtime.kill_cgroup(&task)?;
                let record = ExitRecord {
                    code: 137,
                    signal: Some(9),
                    oom: false,
                    at_unix_nanos: unix_nanos_now(),
                    error: Some(
                        "the supervisor of the container ended without a record: it was \
                         killed, or the disk was full"
                            .to_owned(),
                    ),
                };
                // Dead is dead, whether or not there is room to write it down.
                if let Err(error) = record.write(&bundle) {
                    tracing::error!(%task, %error, "cannot write the exit record");
                }
                Ok(record)
            }
        })
        .await
    }

    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Runtime) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let runtime = self.clone();
        tokio::task::spawn_blocking(move || work(&runtime))
            .await
            .map_err(Error::Interrupted)?
    }

    /// Asks a container to stop and waits for that; after `grace` it is killed,
    /// and so is a shim that does not answer, with its container. `signal` is as
    /// the spec or the image says when `None`. One that has ended already is no
    /// error.
    ///
    /// # Errors
    /// [`Error::Signal`], [`Error::NotFound`]; [`Error::Remove`] with what cannot
    /// be killed.
    pub async fn stop(
        &self,
        task: &TaskId,
        signal: Option<StopSignal>,
        grace: Duration,
    ) -> Result<()> {
        let bundle = self.existing(task)?;
        let number = match signal {
            Some(signal) => signal.number(),
            None => read_json::<Meta>(&bundle.meta())
                .map_or(StopSignal::TERM.number(), |meta| meta.stop_signal),
        };
        let asked = async {
            // What has not been started does not hear a polite signal.
            let state = shim::ask(&bundle, &ControlRequest::State).await;
            let number = match state {
                Ok(ControlResponse::State(status)) if !status.started => StopSignal::KILL.number(),
                _ => number,
            };
            self.signal(task, number).await
        };
        match timeout(ANSWER_LIMIT, asked).await {
            Ok(asked) => asked?,
            Err(_) => return self.record_or_lost(task).await.map(drop),
        }
        if let Ok(ended) = timeout(grace, self.wait(task)).await {
            return ended.map(drop);
        }
        let killed = async {
            self.signal(task, StopSignal::KILL.number()).await?;
            self.wait(task).await
        };
        match timeout(KILL_LIMIT, killed).await {
            Ok(ended) => ended.map(drop),
            Err(_) => self.record_or_lost(task).await.map(drop),
        }
    }

    async fn signal(&self, task: &TaskId, signal: i32) -> Result<()> {
        let bundle = self.existing(task)?;
        match shim::ask(&bundle, &ControlRequest::Kill { signal }).await {
            Ok(ControlResponse::Done | ControlResponse::Exited(_)) | Err(NoAnswer::Gone) => Ok(()),
            Ok(ControlResponse::Failed { reason }) => Err(Error::Signal { reason }),
            other => Err(unexpected(task, other)),
        }
    }

    /// Removes a container with everything that belongs to it, killing it if it
    /// runs. Named volumes stay. One that is gone is no error.
    ///
    /// # Errors
    /// [`Error::Remove`] with what is in the way; call again then.
    pub async fn remove(&self, task: &TaskId) -> Result<()> {
        let lock = self.lock_of(*task);
        let _guard = lock.lock().await;
        self.remove_locked(task).await
    }

    async fn remove_locked(&self, task: &TaskId) -> Result<()> {
        let bundle = self.bundle(task);
        if !bundle.dir().exists() {
            return Ok(());
        }
        // A shim that hangs must not stop us: it is killed below.
        let _ended = timeout(KILL_LIMIT, shim::ask(&bundle, &ControlRequest::Delete)).await;
        self.end_shim(task).await?;
        let task = *task;
        self.blocking(move |runtime| {
            runtime.kill_cgroup(&task)?;
            remove_tree(bundle.dir()).map_err(|source| Error::Remove {
                task,
                what: "its directory".to_owned(),
                source,
            })
        })
        .await
    }

    /// Kills what is left in the cgroup of a container and removes it.
    pub(crate) fn kill_cgroup(&self, task: &TaskId) -> Result<()> {
        let bundle = self.bundle(task);
        // Without a request no shim was started.
        let Ok(request) = read_json::<ShimRequest>(&bundle.request()) else {
            return Ok(());
        };
        let fail = |source| Error::Remove {
            task: *task,
            what: "its cgroup".to_owned(),
            source,
        };
        let cgroup = Cgroup::locate(&request.cgroup_path).map_err(fail)?;
        cgroup.kill_all(KILL_LIMIT).map_err(fail)?;
        cgroup.remove(KILL_LIMIT).map_err(fail)
    }
}

/// Removes a directory in which a command beside the container may still have
/// a file.
fn remove_tree(dir: &Path) -> io::Result<()> {
    let mut attempts = 0;
    loop {
        use io::ErrorKind::{DirectoryNotEmpty, NotFound};
        match fs::remove_dir_all(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == NotFound && !dir.exists() => return Ok(()),
            Err(error) if matches!(error.kind(), NotFound | DirectoryNotEmpty) && attempts < 50 => {
                attempts += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(error),
        }
    }
}

pub(crate) fn read_record(bundle: &Bundle) -> Result<Option<ExitRecord>> {
    ExitRecord::read(bundle).map_err(Error::file("read", bundle.exit()))
}

pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).map_err(Error::file("read", path))?;
    serde_json::from_slice(&bytes).map_err(Error::file("understand", path))
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let bytes = serde_json::to_vec(value).map_err(Error::file("write", path))?;
    // Nobody finds half of it.
    let aside = path.with_extension("new");
    fs::write(&aside, bytes)
        .and_then(|()| fs::rename(&aside, path))
        .map_err(Error::file("write", path))
}

pub(crate) fn unexpected(
    task: &TaskId,
    answer: std::result::Result<ControlResponse, NoAnswer>,
) -> Error {
    let source = match answer {
        Err(NoAnswer::Broken(source)) => source,
        Err(NoAnswer::Gone) => io::ErrorKind::ConnectionRefused.into(),
        Ok(response) => io::Error::other(format!("it answered {response:?}")),
    };
    Error::Control {
        task: *task,
        source,
    }
}
