//! What one task needs of this node: image, network, container. Brings the
//! three together and knows nothing of when.

use crate::health;
use crate::network::{Network, chain};
use skep_agent_images::{Image, ImageStore, Reference};
use skep_agent_runtime::{
    ContainerRequest, ExitRecord, FileInTmpfs, ImageConfig, RootImage, Runtime,
};
use skep_types::assignment::AssignmentSet;
use skep_types::{FileReference, HealthCheck, Task, TaskId};
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Time between the stop signal and the end, where nobody says another.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// How long a registry may take to say whether it has a newer image than the
/// one that is here.
const FRESHNESS_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause after a wait that failed.
const WAIT_RETRY: Duration = Duration::from_secs(1);

/// Why a task cannot go on.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It may work later.
    Temporary(String),
    /// It will not.
    Fatal(String),
}

/// The means of this node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Executor {
    pub(crate) images: ImageStore,
    pub(crate) runtime: Runtime,
    pub(crate) network: Network,
    told: Arc<RwLock<Option<Arc<AssignmentSet>>>>,
}

impl Executor {
    pub(crate) fn new(images: ImageStore, runtime: Runtime, network: Network) -> Executor {
        Executor {
            images,
            runtime,
            network,
            told: Arc::default(),
        }
    }

    /// Secrets and configs are looked up in this set from now on.
    pub(crate) fn told(&self, set: Arc<AssignmentSet>) {
        *self.told.write().unwrap_or_else(PoisonError::into_inner) = Some(set);
    }

    /// What the managers said; right after the daemon's start, nothing yet.
    fn set(&self) -> Result<Arc<AssignmentSet>, Failure> {
        let told = self
            .told
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        told.ok_or_else(|| Failure::Temporary("waiting for a manager".to_owned()))
    }

    /// Makes everything but the process. May be called again after a failure.
    pub(crate) async fn prepare(&self, task: &Arc<Task>, container: &str) -> Result<(), Failure> {
        let image = self.image(task).await?;
        let secrets = self.secrets(task)?;
        let configs = self.configs(task)?;
        let netns = self
            .network
            .attach(task.clone())
            .await
            .map_err(Failure::Temporary)?;
        let spec = &task.spec.container;
        let hostname = match spec.hostname.as_str() {
            "" => container.chars().take(12).collect(),
            name => name.to_owned(),
        };
        let log_options = task.spec.log_driver.as_ref().map(|driver| &driver.options);
        let option = |name: &str| log_options.and_then(|options| options.get(name));
        let request = ContainerRequest {
            task: task.id,
            container_id: container.to_owned(),
            spec: spec.clone(),
            resources: task.spec.resources.clone(),
            image: root_image(&image),
            netns: Some(netns),
            hosts: hosts_file(task, &hostname),
            resolv_conf: resolv_conf(task),
            hostname,
            extra_env: Vec::new(),
            secrets,
            configs,
            labels: labels(task),
            log_max_bytes: option("max-size").and_then(|size| bytes(size)),
            log_max_files: option("max-file").and_then(|count| count.parse().ok()),
        };
        // What an earlier attempt left must not stand in the way.
        self.runtime
            .remove(&task.id)
            .await
            .map_err(|error| Failure::Temporary(error.chain()))?;
        self.runtime
            .create(request)
            .await
            .map_err(|error| Failure::Fatal(error.chain()))
    }

    async fn image(&self, task: &Task) -> Result<Image, Failure> {
        let name = &task.spec.container.image;
        let reference: Reference = name.parse().map_err(|error| {
            Failure::Fatal(format!("invalid image reference {name:?}: {error}"))
        })?;
        let present = self.images.lookup(&reference);
        let pull = self.images.pull(&reference, None, |_| {});
        let pulled = match &present {
            None => pull.await,
            // The name may stand for something newer by now. A registry that
            // does not say so at once must not hold the task up.
            Some(present) => match tokio::time::timeout(FRESHNESS_TIMEOUT, pull).await {
                Ok(pulled) => pulled,
                Err(_) => return Ok(present.clone()),
            },
        };
        match (pulled, present) {
            (Ok(image), _) => Ok(image),
            (Err(error), Some(present)) => {
                tracing::info!(image = %name, error = %chain(&error), "using the local image");
                Ok(present)
            }
            (Err(error), None) if error.is_transient() => Err(Failure::Temporary(chain(&error))),
            (Err(error), None) => Err(Failure::Fatal(chain(&error))),
        }
    }

    fn secrets(&self, task: &Task) -> Result<Vec<FileInTmpfs>, Failure> {
        let set = match &task.spec.container {
            spec if spec.secrets.is_empty() => return Ok(Vec::new()),
            _ => self.set()?,
        };
        let files = task.spec.container.secrets.iter().map(|reference| {
            let secret = set.secrets.get(&reference.id);
            file(
                reference,
                "secret",
                secret.map(|secret| secret.spec.data.clone()),
            )
        });
        files.collect()
    }

    fn configs(&self, task: &Task) -> Result<Vec<FileInTmpfs>, Failure> {
        let set = match &task.spec.container {
            spec if spec.configs.is_empty() => return Ok(Vec::new()),
            _ => self.set()?,
        };
        let files = task.spec.container.configs.iter().map(|reference| {
            let config = set.configs.get(&reference.id);
            file(
                reference,
                "config",
                config.map(|config| config.spec.data.clone()),
            )
        });
        files.collect()
    }

    /// Starts the process; returns its id on this node.
    pub(crate) async fn start(&self, task: TaskId) -> Result<u32, Failure> {
        match self.runtime.start(&task).await {
            Ok(started) => Ok(started.pid.unsigned_abs()),
            Err(error) => Err(Failure::Fatal(error.chain())),
        }
    }

    /// The health check in force: the task's own, or its image's.
    pub(crate) fn health_check(&self, task: &Task) -> Option<HealthCheck> {
        let image = task
            .spec
            .container
            .image
            .parse()
            .ok()
            .and_then(|r| self.images.lookup(&r));
        health::effective(task.spec.container.health_check.as_ref(), image.as_ref())
    }

    /// Waits for the end of the container.
    ///
    /// # Errors
    /// When there is none, and nobody knows how it ended.
    pub(crate) async fn wait(&self, task: TaskId) -> Result<ExitRecord, String> {
        loop {
            match self.runtime.wait(&task).await {
                Ok(exit) => return Ok(exit),
                Err(error @ skep_agent_runtime::Error::NotFound(_)) => return Err(error.chain()),
                // It may well be running: asking again is all there is to do.
                Err(error) => {
                    tracing::warn!(task.id = %task, error = %error.chain(), "cannot wait");
                    tokio::time::sleep(WAIT_RETRY).await;
                }
            }
        }
    }

    /// Stops the container: signal, time to end, then the end.
    pub(crate) async fn stop(&self, task: &Task) -> Result<(), String> {
        let spec = &task.spec.container;
        let grace = spec.stop_grace_period.unwrap_or(STOP_GRACE);
        // The runtime knows the signal: the spec's, the image's, or SIGTERM.
        match self.runtime.stop(&task.id, None, grace).await {
            // What is not there does not run.
            Ok(()) | Err(skep_agent_runtime::Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error.chain()),
        }
    }

    /// Removes container and network; fine when there are none.
    pub(crate) async fn remove(&self, task: TaskId) -> Result<(), String> {
        let removed = self
            .runtime
            .remove(&task)
            .await
            .map_err(|error| error.chain());
        self.network.detach(task);
        removed
    }
}

fn root_image(image: &Image) -> RootImage {
    let config = &image.config;
    RootImage {
        layers: image.layers.clone(),
        config: ImageConfig {
            user: config.user.clone(),
            env: config.env.clone(),
            entrypoint: config.entrypoint.clone(),
            cmd: config.cmd.clone(),
            working_dir: config.working_dir.clone(),
            volumes: config.volumes.clone(),
            stop_signal: config.stop_signal.clone(),
        },
    }
}

fn file<Id: std::fmt::Display>(
    reference: &FileReference<Id>,
    kind: &str,
    data: Option<Arc<[u8]>>,
) -> Result<FileInTmpfs, Failure> {
    // A task is only assigned together with what it uses; what is missing was
    // removed meanwhile, and the managers know by now.
    let data = data.ok_or_else(|| {
        Failure::Fatal(format!(
            "{kind} {} ({}) does not exist",
            reference.name, reference.id
        ))
    })?;
    Ok(FileInTmpfs {
        path: reference.target.path.clone(),
        uid: reference.target.uid,
        gid: reference.target.gid,
        mode: reference.target.mode,
        data,
    })
}

fn hosts_file(task: &Task, hostname: &str) -> String {
    let mut text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                    fe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\n\
                    ff02::2\tip6-allrouters\n"
        .to_owned();
    for line in &task.spec.container.hosts {
        let _ = writeln!(text, "{line}");
    }
    let first = task
        .attachments
        .iter()
        .map(|attachment| attachment.address)
        .find(IpAddr::is_ipv4);
    if let Some(address) = first {
        let _ = writeln!(text, "{address}\t{hostname}");
    }
    text
}

fn resolv_conf(task: &Task) -> String {
    let spec = &task.spec.container;
    let mut text = "nameserver 127.0.0.11\n".to_owned();
    if !spec.dns_search.is_empty() {
        let _ = writeln!(text, "search {}", spec.dns_search.join(" "));
    }
    let options = match spec.dns_options.as_slice() {
        [] => "ndots:0".to_owned(),
        given => given.join(" "),
    };
    let _ = writeln!(text, "options {options}");
    text
}

/// The labels Swarm puts on a task's container; users' own cannot replace them.
fn labels(task: &Task) -> skep_types::Labels {
    let mut labels = task.spec.container.labels.clone();
    let mut put = |key: &str, value: String| labels.insert(key.to_owned(), value);
    put("com.docker.swarm.task", String::new());
    put("com.docker.swarm.task.id", task.id.to_string());
    put(
        "com.docker.swarm.task.name",
        format!("{}.{}", task.name(), task.id),
    );
    put("com.docker.swarm.service.id", task.service.to_string());
    put(
        "com.docker.swarm.service.name",
        task.service_name.to_string(),
    );
    if let Some(node) = task.node {
        put("com.docker.swarm.node.id", node.to_string());
    }
    labels
}

/// A size as log options have it: a number with k, m or g.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = match text.char_indices().find(|(_, c)| !c.is_ascii_digit()) {
        Some((at, _)) => text.split_at(at),
        None => (text, ""),
    };
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_log_options_are_read_with_their_unit() {
        assert_eq!(bytes("10m"), Some(10 << 20));
        assert_eq!(bytes("512"), Some(512));
        assert_eq!(bytes("1g"), Some(1 << 30));
        assert_eq!(bytes("ten"), None);
        assert_eq!(bytes("5x"), None);
    }
}
