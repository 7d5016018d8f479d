//! The door of this crate: a node's network that is opened once, brought to a [`Desired`] state as often as
//! one comes, and either left in place for the next daemon or torn down.

mod converge;
mod flows;
mod guard;
mod rules;
mod usable;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use skep_agent_planner::network::Desired;
use skep_agent_planner::network::kernel::{State, Step, WIREGUARD, diff};
use skep_types::TaskId;
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::links::Links;
use crate::mesh::MeshLink;
use crate::nft::Nft;
use crate::resolver::Resolver;
use crate::{forwarding, netns, settings};
use flows::Flows;
use rules::Rules;

/// What the network of a node is made with.
#[derive(Clone)]
pub struct DataplaneConfig {
    /// Directory for what lasts until the machine restarts; containers' namespaces are mounted in `netns`
    /// below it.
    pub run_dir: PathBuf,
    /// The node's WireGuard private key.
    pub private_key: [u8; 32],
    /// WireGuard's UDP port.
    pub listen_port: u16,
    /// The file with the name servers that are asked for what the cluster does not know, in this order:
    /// `/etc/resolv.conf`. It is read at each question: it may come late, and change.
    pub resolv_conf: PathBuf,
}

impl std::fmt::Debug for DataplaneConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataplaneConfig")
            .field("run_dir", &self.run_dir)
            .field("listen_port", &self.listen_port)
            .field("resolv_conf", &self.resolv_conf)
            .finish_non_exhaustive()
    }
}

/// What came of bringing the network to a desired state.
#[derive(Debug, Default)]
pub struct Applied {
    /// Containers whose network could not be made, and why. All others have theirs.
    pub failed: BTreeMap<TaskId, Error>,
    /// How many objects of the node had to be changed, packet filter, WireGuard and the insides of containers
    /// aside.
    pub steps: usize,
}

/// The network of this node: of the network namespace it was opened in.
#[derive(Debug)]
pub struct Dataplane {
    inner: Arc<Inner>,
    guard: JoinHandle<()>,
}

#[derive(Debug)]
struct Inner {
    config: DataplaneConfig,
    links: Links,
    /// Links between which nothing is forwarded.
    outer: BTreeSet<String>,
    rules: Mutex<Rules>,
    flows: Arc<Flows>,
    resolver: Resolver,
    progress: tokio::sync::Mutex<Progress>,
}

/// What saves work from one call to the next; none of it is needed to be right, but for `ended`.
#[derive(Debug, Default)]
struct Progress {
    mesh: Option<MeshLink>,
    /// Containers whose inside is known to be as wanted.
    settled: BTreeMap<TaskId, State>,
    /// What was asked for last, for repairs.
    desired: Option<Desired>,
    /// Largest packet of the mesh; 0 at first.
    mtu: u32,
    /// Nothing is made any more. This alone is no matter of saving work: what is still on its way when the
    /// node leaves would make all anew that was just removed.
    ended: bool,
}

impl Dataplane {
    /// Takes over the network of the calling thread's network namespace. Nothing is changed but the settings
    /// that forwarding needs and the place where namespaces are mounted. Must be called within a tokio runtime, all of whose threads are in
    /// that namespace.
    ///
    /// # Errors
    /// Without the right to administer the network, or without nftables in the kernel.
    pub async fn open(config: DataplaneConfig) -> Result<Self, Error> {
        settings::prepare_node()?;
        netns::set_apart(&netns_dir(&config))?;
        let links = Links::open()?;
        let outer = forwarding::turn_on(&links, &config.run_dir).await?;
        let rules = Rules::new(Nft::open()?);
        let inner = Arc::new(Inner {
            links,
            outer,
            rules: Mutex::new(rules),
            flows: Arc::new(Flows::open()?),
            resolver: Resolver::new(config.resolv_conf.clone()),
            progress: tokio::sync::Mutex::default(),
            config,
        });
        let guard = tokio::spawn(guard::watch(Arc::downgrade(&inner)));
        Ok(Dataplane { inner, guard })
    }

    /// Brings the network to this state. May be called again at any time, and after a failure.
    ///
    /// # Errors
    /// When the node's own part cannot be made, or after [`shutdown`](Self::shutdown). What concerns a single
    /// container is in [`Applied::failed`] instead.
    pub async fn apply(&self, desired: &Desired) -> Result<Applied, Error> {
        self.inner.converge(desired).await
    }

    /// Where a task's network namespace is mounted. It is there after an [`apply`](Self::apply) with the
    /// task in it, and goes with the first one without it.
    pub fn netns_path(&self, task: &TaskId) -> PathBuf {
        self.inner.netns_path(*task)
    }

    /// Waits until the other sides have what a task whose programs have ended still had to send, at most
    /// until `limit`. To be called before an [`apply`](Self::apply) without the task.
    ///
    /// # Errors
    /// When its namespace cannot be entered.
    pub async fn sent(&self, task: &TaskId, limit: Duration) -> Result<(), Error> {
        crate::unsent::sent(self.inner.netns_path(*task), limit).await
    }

    /// A TCP socket (IPv4) within a task's network namespace.
    ///
    /// # Errors
    /// When that cannot be entered, or there are no more files.
    pub async fn socket(&self, task: &TaskId) -> Result<TcpSocket, Error> {
        let path = self.inner.netns_path(*task);
        netns::within(path.clone(), move || {
            TcpSocket::new_v4().map_err(|source| Error::Namespace {
                operation: "make a socket in",
                path,
                source,
            })
        })
        .await
    }

    /// The node's WireGuard public key, which the other nodes must be told.
    pub fn public_key(&self) -> [u8; 32] {
        skep_agent_wireguard::public_key(&self.inner.config.private_key)
    }

    /// Which WireGuard carries the mesh, `kernel` or `in-process`; none before the first
    /// [`apply`](Self::apply).
    pub async fn wireguard(&self) -> Option<&'static str> {
        let progress = self.inner.progress.lock().await;
        progress.mesh.as_ref().map(MeshLink::kind)
    }

    /// Ends the daemon's part. With `tear_down` everything of ours is removed, containers' networks
    /// included; without, all that can be is left for the next daemon (WireGuard in the process ends).
    ///
    /// # Errors
    /// When something could not be removed; the rest was.
    pub async fn shutdown(&self, tear_down: bool) -> Result<(), Error> {
        let mut progress = self.inner.progress.lock().await;
        // Not before: a pass that is broken off leaves threads behind that still make what they were told to.
        self.guard.abort();
        *progress = Progress {
            ended: true,
            ..Progress::default()
        };
        self.inner.resolver.keep_only(|_| false);
        if !tear_down {
            return Ok(());
        }
        let mut result = self.inner.remove_rules();
        let found = self.inner.links.read().await?.state;
        let mesh = Step::RemoveLink(WIREGUARD.to_owned());
        for step in diff(&State::default(), &found).into_iter().chain([mesh]) {
            result = self.inner.links.apply(&step, None).await.and(result);
        }
        let (links, run_dir) = (&self.inner.links, &self.inner.config.run_dir);
        result = forwarding::turn_off(links, run_dir).await.and(result);
        result = result.and(self.inner.remove_namespaces(&BTreeSet::new()));
        result.and(netns::bring_back(&netns_dir(&self.inner.config)))
    }
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        self.guard.abort();
    }
}

fn netns_dir(config: &DataplaneConfig) -> PathBuf {
    config.run_dir.join("netns")
}

impl Inner {
    fn netns_path(&self, task: TaskId) -> PathBuf {
        netns_dir(&self.config).join(task.to_string())
    }

    fn rules(&self) -> std::sync::MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove_rules(&self) -> Result<(), Error> {
        self.rules().remove()
    }

    /// Removes the namespaces of all other tasks. What in the directory is not named after a task is left.
    fn remove_namespaces(&self, wanted: &BTreeSet<TaskId>) -> Result<(), Error> {
        let directory = netns_dir(&self.config);
        let mut result = Ok(());
        for name in netns::list(&directory)? {
            let Ok(task) = name.parse::<TaskId>() else {
                continue;
            };
            if !wanted.contains(&task) {
                result = netns::remove(&Path::new(&directory).join(name)).and(result);
            }
        }
        result
    }
}
