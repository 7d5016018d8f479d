//! The name server of each container at 127.0.0.11, UDP and TCP.
//!
//! Its sockets are made inside the container's namespace, on a port of their own to which the packet filter
//! there redirects port 53, and are served by the daemon. After a restart of the daemon they are made again;
//! the container notices nothing but a question that has to be repeated.

mod answer;
mod forward;
mod serve;
mod upstream;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use hickory_proto::op::ResponseCode;
use ipnet::Ipv4Net;
use skep_agent_planner::network::{Desired, Mesh};
use skep_types::{NodeId, TaskId};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::netns;
use crate::nft::Nft;
use crate::ruleset;

/// Where containers find it.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// The first port tried for the sockets: above those the kernel gives out by itself.
const FIRST_PORT: u16 = 61053;
/// How many ports are tried before giving up.
const PORTS: u16 = 16;

/// All containers' name servers.
#[derive(Debug)]
pub(crate) struct Resolver {
    shared: Arc<Shared>,
    serving: Mutex<BTreeMap<TaskId, JoinHandle<()>>>,
}

/// What every one of them answers from.
#[derive(Debug)]
struct Shared {
    names: RwLock<Option<Arc<Desired>>>,
    /// Names the servers for what the cluster does not know.
    resolv_conf: PathBuf,
}

impl Shared {
    fn names(&self) -> Option<Arc<Desired>> {
        self.names
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Resolver {
    /// None is open yet. The servers that `resolv_conf` names are asked for what the cluster does not know.
    pub(crate) fn new(resolv_conf: PathBuf) -> Self {
        let shared = Arc::new(Shared {
            names: RwLock::new(None),
            resolv_conf,
        });
        Resolver {
            shared,
            serving: Mutex::default(),
        }
    }

    /// From now on answers come from these names.
    pub(crate) fn publish(&self, names: Arc<Desired>) {
        *self
            .shared
            .names
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(names);
    }

    /// Opens the name server of a task whose namespace is mounted at `namespace`.
    pub(crate) async fn open(&self, task: TaskId, namespace: PathBuf) -> Result<(), Error> {
        if self.serving().contains_key(&task) {
            return Ok(());
        }
        let (udp, tcp, nft) = netns::within(namespace, bind).await?;
        // The kernel takes its time to close the door to nftables, some ten milliseconds.
        tokio::task::spawn_blocking(move || drop(nft));
        let shared = Arc::clone(&self.shared);
        let serving = tokio::spawn(serve::serve(shared, task, udp, tcp));
        if let Some(former) = self.serving().insert(task, serving) {
            former.abort();
        }
        Ok(())
    }

    /// Closes those of all other tasks.
    pub(crate) fn keep_only(&self, wanted: impl Fn(TaskId) -> bool) {
        self.serving().retain(|task, serving| {
            let keep = wanted(*task);
            if !keep {
                serving.abort();
            }
            keep
        });
    }

    fn serving(&self) -> std::sync::MutexGuard<'_, BTreeMap<TaskId, JoinHandle<()>>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.keep_only(|_| false);
    }
}

/// Makes both sockets in the calling thread's namespace, and the redirection to them.
fn bind() -> Result<(UdpSocket, TcpListener, Nft), Error> {
    let mut port = FIRST_PORT;
    loop {
        let address = SocketAddr::V4(SocketAddrV4::new(ADDRESS, port));
        let sockets = std::net::UdpSocket::bind(address)
            .and_then(|udp| Ok((udp, std::net::TcpListener::bind(address)?)));
        let result = sockets.and_then(|(udp, tcp)| {
            udp.set_nonblocking(true)?;
            tcp.set_nonblocking(true)?;
            Ok((UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?))
        });
        match result {
            Ok((udp, tcp)) => {
                let nft = Nft::open()?;
                nft.replace(&ruleset::resolver(ADDRESS, port))?;
                return Ok((udp, tcp, nft));
            }
            // Something in the container took it.
            Err(error)
                if error.kind() == std::io::ErrorKind::AddrInUse && port < FIRST_PORT + PORTS =>
            {
                port += 1
            }
            Err(source) => return Err(Error::OpenResolver { address, source }),
        }
    }
}

/// Answers a question in a cluster that knows no names; for `decoders`.
pub(crate) fn read_question(question: &[u8]) {
    for tcp in [false, true] {
        let nothing = Desired {
            node: NodeId::default(),
            mesh: Mesh {
                address: Ipv4Addr::UNSPECIFIED,
                subnet: Ipv4Net::default(),
                mtu: None,
            },
            peers: BTreeMap::new(),
            networks: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            services: BTreeMap::new(),
            ports: BTreeMap::new(),
            zones: BTreeMap::new(),
        };
        answer::answer(&nothing, TaskId::default(), question, tcp);
        answer::refusal(question, ResponseCode::ServFail, tcp);
    }
}
