//! The node's end of the mesh: WireGuard told who the other nodes are. Which WireGuard it is, is not seen
//! here.

use std::time::Duration;

use skep_agent_planner::network::Peer;
use skep_agent_wireguard::{EngineConfig, PeerConfig};

use crate::error::Error;
use crate::wireguard::{self, WireGuard};

/// How often a node says something to every other: after a restart they know it again at once, instead of
/// when they next miss an answer.
const KEEPALIVE: Duration = Duration::from_secs(25);

/// The open WireGuard interface.
#[derive(Debug)]
pub(crate) struct MeshLink {
    wireguard: Box<dyn WireGuard>,
    peers: Option<Vec<PeerConfig>>,
}

impl MeshLink {
    /// Opens the interface in the calling thread's network namespace.
    pub(crate) fn open(
        interface: &str,
        private_key: [u8; 32],
        listen_port: u16,
        mtu: u32,
    ) -> Result<Self, Error> {
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        let config = EngineConfig {
            interface: interface.to_owned(),
            private_key,
            listen_port,
            mtu,
        };
        let wireguard = wireguard::open(config).map_err(|error| Error::WireGuard {
            operation: "start",
            source: Box::new(error),
        })?;
        Ok(MeshLink {
            wireguard,
            peers: None,
        })
    }

    /// Tells WireGuard the other nodes, if they changed.
    pub(crate) fn set_peers<'p>(
        &mut self,
        peers: impl Iterator<Item = &'p Peer>,
    ) -> Result<(), Error> {
        let peers: Vec<PeerConfig> = peers
            .map(|peer| {
                let nets = std::iter::once(peer.mesh.into()).chain(peer.blocks.iter().copied());
                PeerConfig {
                    public_key: peer.public_key,
                    endpoint: Some(peer.endpoint),
                    allowed_ips: nets.map(ipnet::IpNet::V4).collect(),
                    keepalive: Some(KEEPALIVE),
                }
            })
            .collect();
        if self.peers.as_ref() == Some(&peers) {
            return Ok(());
        }
        self.peers = None;
        self.wireguard
            .set_peers(&peers)
            .map_err(|error| Error::WireGuard {
                operation: "set the peers of",
                source: Box::new(error),
            })?;
        self.peers = Some(peers);
        Ok(())
    }

    /// Which WireGuard it is: `kernel` or `in-process`.
    pub(crate) fn kind(&self) -> &'static str {
        self.wireguard.name()
    }

    /// Whether it ended by itself.
    pub(crate) fn failed(&self) -> bool {
        self.wireguard.failure().is_some()
    }
}
