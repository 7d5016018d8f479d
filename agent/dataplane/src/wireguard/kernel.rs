//! WireGuard by the kernel, over netlink. Never touches the user-space backend of the library, which would
//! start programs.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use ipnet::IpNet;
use skep_agent_wireguard::{EngineConfig, PeerConfig, PeerStats, public_key, validate_peers};
use wireguard_control::{
    AllowedIp, Backend, Device, DeviceUpdate, InterfaceName, Key, PeerConfigBuilder, PeerInfo,
};

use super::plan::{Change, Known, Told, plan};
use super::{WireGuard, WireGuardError};

/// Changes sent in one go; the library cuts them into netlink messages.
const BATCH: usize = 64;

/// An interface of the kernel's own.
pub(super) struct Kernel {
    interface: InterfaceName,
    public_key: [u8; 32],
    told: Mutex<Told>,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel")
            .field("interface", &self.interface)
            .finish_non_exhaustive()
    }
}

impl Kernel {
    /// Makes the interface, or takes over the one that is there, and gives it key and port. `None` where the
    /// kernel has no WireGuard; nothing is changed then.
    pub(super) fn open(config: &EngineConfig) -> Result<Option<Self>, WireGuardError> {
        let name = &config.interface;
        let interface: InterfaceName = name
            .parse()
            .map_err(|_| WireGuardError::InterfaceName { name: name.clone() })?;
        let update = DeviceUpdate::new()
            .set_private_key(Key(config.private_key))
            .set_listen_port(config.listen_port);
        match update.apply(&interface, Backend::Kernel) {
            Ok(()) => {}
            Err(error) if is_absent(&error) => return Ok(None),
            Err(source) => {
                return Err(WireGuardError::OpenKernel {
                    interface: name.clone(),
                    source,
                });
            }
        }
        let public_key = public_key(&config.private_key);
        Ok(Some(Self {
            interface,
            public_key,
            told: Mutex::default(),
        }))
    }

    fn read(&self) -> Result<Vec<PeerInfo>, WireGuardError> {
        let device = Device::get(&self.interface, Backend::Kernel).map_err(|source| {
            WireGuardError::ReadKernel {
                interface: self.interface.to_string(),
                source,
            }
        })?;
        // A peer with many allowed IPs comes in several parts.
        let mut at: HashMap<[u8; 32], usize> = HashMap::new();
        let mut peers: Vec<PeerInfo> = Vec::new();
        for peer in device.peers {
            match at.get(&peer.config.public_key.0) {
                Some(first) => peers[*first]
                    .config
                    .allowed_ips
                    .extend(peer.config.allowed_ips),
                None => {
                    at.insert(peer.config.public_key.0, peers.len());
                    peers.push(peer);
                }
            }
        }
        Ok(peers)
    }
}

impl WireGuard for Kernel {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn set_peers(&self, peers: &[PeerConfig]) -> Result<(), WireGuardError> {
        validate_peers(&self.public_key, peers).map_err(WireGuardError::Peers)?;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let known: Vec<Known> = self.read()?.into_iter().map(known).collect();
        for changes in plan(&known, peers, &told).chunks(BATCH) {
            let changes: Vec<PeerConfigBuilder> = changes.iter().map(builder).collect();
            let applied = DeviceUpdate::new()
                .add_peers(&changes)
                .apply(&self.interface, Backend::Kernel);
            applied.map_err(|source| WireGuardError::ChangeKernel {
                interface: self.interface.to_string(),
                source,
            })?;
        }
        *told = peers
            .iter()
            .map(|peer| (peer.public_key, peer.endpoint))
            .collect();
        Ok(())
    }

    fn stats(&self) -> Result<Vec<PeerStats>, WireGuardError> {
        Ok(self.read()?.into_iter().map(stats).collect())
    }

    fn failure(&self) -> Option<String> {
        None
    }
}

/// Whether the answer means that there is no WireGuard in this kernel: no such kind of link, or, for a link of
/// another kind that has the name, no such family of messages.
fn is_absent(error: &io::Error) -> bool {
    match error.raw_os_error() {
        Some(code) => matches!(
            code,
            libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT | libc::ENOENT
        ),
        None => matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::Unsupported
        ),
    }
}

fn known(peer: PeerInfo) -> Known {
    let nets = peer.config.allowed_ips.iter();
    Known {
        key: peer.config.public_key.0,
        keepalive_seconds: peer.config.persistent_keepalive_interval.unwrap_or(0),
        allowed_ips: nets
            .filter_map(|net| IpNet::new(net.address, net.cidr).ok())
            .collect(),
    }
}

fn builder(change: &Change) -> PeerConfigBuilder {
    let mut peer = PeerConfigBuilder::new(&Key(change.key));
    if change.remove {
        return peer.remove();
    }
    if let Some(endpoint) = change.endpoint {
        peer = peer.set_endpoint(endpoint);
    }
    if let Some(seconds) = change.keepalive_seconds {
        peer = peer.set_persistent_keepalive_interval(seconds);
    }
    if change.replace_allowed_ips {
        peer = peer.replace_allowed_ips();
    }
    let nets = change.allowed_ips.iter();
    let nets: Vec<AllowedIp> = nets
        .map(|net| AllowedIp {
            address: net.addr(),
            cidr: net.prefix_len(),
        })
        .collect();
    peer.add_allowed_ips(&nets)
}

fn stats(peer: PeerInfo) -> PeerStats {
    PeerStats {
        public_key: peer.config.public_key.0,
        endpoint: peer.config.endpoint,
        last_handshake: peer.stats.last_handshake_time,
        tx_bytes: peer.stats.tx_bytes,
        rx_bytes: peer.stats.rx_bytes,
        dropped_source: 0,
        dropped_replay: 0,
        dropped_forged: 0,
        dropped_malformed: 0,
        dropped_no_endpoint: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_such_kind_of_link_is_absent_and_a_missing_right_is_not() {
        for code in [libc::EOPNOTSUPP, libc::ENOENT] {
            assert!(is_absent(&io::Error::from_raw_os_error(code)));
        }
        for code in [libc::EPERM, libc::EINVAL, libc::EADDRINUSE, libc::EEXIST] {
            assert!(!is_absent(&io::Error::from_raw_os_error(code)));
        }
    }

    #[test]
    fn a_change_says_what_it_holds_and_no_more() {
        let key = [7; 32];
        let nothing = builder(&Change {
            key,
            ..Change::default()
        })
        .into_peer_config();
        assert_eq!(
            (nothing.endpoint, nothing.persistent_keepalive_interval),
            (None, None)
        );
        assert!(nothing.allowed_ips.is_empty());
        let change = Change {
            key,
            endpoint: Some(([192, 0, 2, 1], 5).into()),
            keepalive_seconds: Some(0),
            allowed_ips: vec!["fd00::/64".parse().expect("a network")],
            ..Change::default()
        };
        let said = builder(&change).into_peer_config();
        assert_eq!((said.public_key.0, said.endpoint), (key, change.endpoint));
        assert_eq!(said.persistent_keepalive_interval, Some(0));
        assert_eq!(format!("{:?}", said.allowed_ips), "[fd00::/64]");
    }
}
