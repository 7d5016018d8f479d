//! What one task needs of this node: image, network, container. Brings the
//! three together and knows nothing of when.

use crate::filled::{self, Filled};
use crate::health;
use crate::line::Told;
use crate::network::Network;
use skep_agent_images::{Image, ImageStore, Reference};
use skep_agent_runtime::{ContainerRequest, ExitRecord, ImageConfig, RootImage, Runtime};
use skep_types::assignment::AssignmentSet;
use skep_types::{
    GenericResource, Generics, HealthCheck, LogDriver, ServiceId, Task, TaskId, Version, chain,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OnceCell, watch};

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
    told: Arc<watch::Sender<Option<Arc<AssignmentSet>>>>,
    node: watch::Receiver<Option<Told>>,
    asked: Arc<Mutex<BTreeMap<ServiceId, Asked>>>,
}

/// A service's version for which the registry was asked whether the image that is
/// here is still what its name stands for. All its tasks use what came of it.
struct Asked {
    version: Version,
    done: Arc<OnceCell<()>>,
}

impl Executor {
    pub(crate) fn new(
        images: ImageStore,
        runtime: Runtime,
        network: Network,
        node: watch::Receiver<Option<Told>>,
    ) -> Executor {
        Executor {
            images,
            runtime,
            network,
            told: Arc::default(),
            node,
            asked: Arc::default(),
        }
    }

    /// Secrets and configs are looked up in this set from now on.
    pub(crate) fn told(&self, set: Arc<AssignmentSet>) {
        // Of services that nobody can reach only their tasks here are known.
        let here: BTreeSet<ServiceId> = set.tasks.values().map(|task| task.service).collect();
        self.asked()
            .retain(|service, _| set.services.contains_key(service) || here.contains(service));
        self.told.send_replace(Some(set));
    }

    /// The task's spec and files as they are here.
    fn filled(&self, task: &Task) -> Result<Filled, Failure> {
        let (set, node) = (self.told.borrow().clone(), self.node.borrow().clone());
        filled::filled(task, set.as_deref(), node.as_ref().map(|told| &told.node))
    }

    /// Waits until nobody can be sent to the task: by its service's name, address or
    /// ports, while that service is there.
    pub(crate) async fn unreached(&self, task: &Task) {
        let reached = |set: &AssignmentSet| {
            let service = set.services.get(&task.service);
            service.is_some_and(|on| !on.networks.is_empty() || !on.ports.is_empty())
        };
        let mut told = self.told.subscribe();
        // The sender is as long-lived as this.
        let _ = told
            .wait_for(|told| !told.as_ref().is_some_and(|set| reached(set)))
            .await;
    }

    /// Makes everything but the process. May be called again after a failure.
    pub(crate) async fn prepare(&self, task: &Arc<Task>, container: &str) -> Result<(), Failure> {
        let image = self.image(task).await?;
        let Filled {
            spec,
            secrets,
            configs,
        } = self.filled(task)?;
        let netns = self
            .network
            .attach(task.clone())
            .await
            .map_err(Failure::Temporary)?;
        let hostname = match spec.hostname.as_str() {
            _ if spec.host_uts => name_of_this_host()?,
            "" => container.chars().take(12).collect(),
            name => name.to_owned(),
        };
        let log_options = task.spec.log_driver.as_ref().map(|driver| &driver.options);
        let option = |name: &str| log_options.and_then(|options| options.get(name));
        let request = ContainerRequest {
            task: task.id,
            container_id: container.to_owned(),
            spec,
            resources: task.spec.resources.clone(),
            image: root_image(&image),
            netns: Some(netns),
            hosts: hosts_file(task, &hostname),
            resolv_conf: resolv_conf(task),
            hostname,
            extra_env: generic_env(&task.generic),
            secrets,
            configs,
            labels: labels(task),
            log_max_bytes: option("max-size").and_then(|size| LogDriver::size_bytes(size)),
            log_max_files: option("max-file").and_then(|count| LogDriver::file_count(count)),
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
        let Some(present) = self.images.lookup(&reference) else {
            let pulled = self.images.pull(&reference, None, |_| {}).await;
            return pulled.map_err(|error| match error.is_transient() {
                true => Failure::Temporary(chain(&error)),
                false => Failure::Fatal(chain(&error)),
            });
        };
        let freshen = || async {
            // A registry that does not answer at once must not hold the task up; what
            // it has that is newer is waited for.
            let ask = self.images.resolve(&reference, None);
            let pulled = match tokio::time::timeout(FRESHNESS_TIMEOUT, ask).await {
                Ok(Ok(_)) => self.images.pull(&reference, None, |_| {}).await.map(drop),
                Ok(Err(error)) => Err(error),
                Err(_) => {
                    let limit = FRESHNESS_TIMEOUT;
                    tracing::warn!(image = %name, ?limit, "the registry does not answer: using the local image");
                    return;
                }
            };
            if let Err(error) = pulled {
                tracing::warn!(image = %name, error = %chain(&error), "using the local image");
            }
        };
        self.once(task).get_or_init(freshen).await;
        Ok(self.images.lookup(&reference).unwrap_or(present))
    }

    fn asked(&self) -> MutexGuard<'_, BTreeMap<ServiceId, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is done once for this version of the task's service.
    fn once(&self, task: &Task) -> Arc<OnceCell<()>> {
        let mut asked = self.asked();
        let anew = || Asked {
            version: task.spec_version,
            done: Arc::default(),
        };
        let known = asked.entry(task.service).or_insert_with(anew);
        if known.version != task.spec_version {
            *known = anew();
        }
        known.done.clone()
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

/// What the kernel calls this machine.
fn name_of_this_host() -> Result<String, Failure> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let name = name.map_err(|error| {
        Failure::Temporary(format!("cannot read the name of this host: {error}"))
    })?;
    Ok(name.trim_end().to_owned())
}

fn root_image(image: &Image) -> RootImage {
    let config = &image.config;
    RootImage {
        id: image.id.to_string(),
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

/// What the task was given of the node's generic resources, as Swarm says it:
/// `DOCKER_RESOURCE_GPU=id1,id2`, or the number where they have no names.
fn generic_env(generic: &Generics) -> Vec<String> {
    let variable = |(kind, given): (&String, &GenericResource)| {
        format!("DOCKER_RESOURCE_{}={given}", kind.to_ascii_uppercase())
    };
    generic.iter().map(variable).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_told_what_it_was_given() {
        let names = ["id1".to_owned(), "id2".to_owned()];
        let generic = Generics::from([
            ("gpu".to_owned(), GenericResource::Named(names.into())),
            ("ssd".to_owned(), GenericResource::Count(3)),
        ]);
        let variables = ["DOCKER_RESOURCE_GPU=id1,id2", "DOCKER_RESOURCE_SSD=3"];
        assert_eq!(generic_env(&generic), variables);
    }
}
