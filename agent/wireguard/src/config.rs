//! What an engine is told: its own settings, its peers, and what makes a list of peers valid.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::error::EngineError;
use crate::keys::short;

/// The settings an engine keeps for its life.
#[derive(Clone)]
pub struct EngineConfig {
    /// Name of the TUN device to make, at most 15 bytes.
    pub interface: String,
    /// The node's X25519 private key.
    pub private_key: [u8; 32],
    /// UDP port to listen on, for IPv4 and IPv6 alike; 0 takes a free one.
    pub listen_port: u16,
    /// MTU of the TUN device in bytes: that of the underlay less 60 (IPv4) or 80 (IPv6). It may be changed from
    /// outside afterwards, up to what jumbo frames carry (9,000 bytes).
    pub mtu: u16,
}

impl std::fmt::Debug for EngineConfig {
    /// Leaves the private key out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineConfig")
            .field("interface", &self.interface)
            .field("listen_port", &self.listen_port)
            .field("mtu", &self.mtu)
            .finish_non_exhaustive()
    }
}

/// One peer as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// The peer's X25519 public key: its identity.
    pub public_key: [u8; 32],
    /// Where to send to until the peer is heard from elsewhere. Without one, the peer has to speak
    /// first.
    pub endpoint: Option<SocketAddr>,
    /// Addresses that are reached through this peer, and the only ones it may send from.
    pub allowed_ips: Vec<IpNet>,
    /// Say something at least this often, so that ways through NAT stay open. `None` or zero: only
    /// when there is something to say.
    pub keepalive: Option<Duration>,
}

/// Checks a list of peers as a whole, before anything is changed.
///
/// # Errors
/// A key listed twice, the own key among the peers, or a network claimed by two peers.
pub fn validate_peers(own_key: &[u8; 32], peers: &[PeerConfig]) -> Result<(), EngineError> {
    let mut keys = HashSet::new();
    let mut nets: HashMap<IpNet, &[u8; 32]> = HashMap::new();
    for peer in peers {
        if peer.public_key == *own_key {
            return Err(EngineError::OwnKey {
                key: short(own_key),
            });
        }
        if !keys.insert(peer.public_key) {
            return Err(EngineError::DuplicatePeer {
                key: short(&peer.public_key),
            });
        }
        for net in &peer.allowed_ips {
            let other = nets.insert(net.trunc(), &peer.public_key);
            if let Some(other) = other.filter(|other| **other != peer.public_key) {
                return Err(EngineError::DuplicateAllowedIps {
                    net: net.trunc(),
                    first: short(other),
                    second: short(&peer.public_key),
                });
            }
        }
    }
    Ok(())
}

/// Checks what the kernel would otherwise refuse with a bare EINVAL.
pub(crate) fn validate_engine(config: &EngineConfig) -> Result<(), EngineError> {
    let name = &config.interface;
    let refused = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control() || c == '%';
    if name.is_empty() || name.len() > 15 || name == "." || name == ".." || name.contains(refused) {
        return Err(EngineError::InterfaceName { name: name.clone() });
    }
    if !(576..=65455).contains(&config.mtu) {
        return Err(EngineError::Mtu {
            interface: name.clone(),
            mtu: config.mtu,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(key: u8, nets: &[&str]) -> PeerConfig {
        PeerConfig {
            public_key: [key; 32],
            endpoint: None,
            allowed_ips: nets.iter().map(|n| n.parse().expect("a network")).collect(),
            keepalive: None,
        }
    }

    #[test]
    fn a_network_claimed_by_two_peers_is_refused_even_when_written_differently() {
        let peers = [peer(1, &["10.1.0.0/24"]), peer(2, &["10.1.0.7/24"])];
        let error = validate_peers(&[9; 32], &peers).expect_err("must be refused");
        assert!(matches!(error, EngineError::DuplicateAllowedIps { .. }));
        let peers = [peer(1, &["10.1.0.0/24"]), peer(2, &["10.1.0.0/25"])];
        validate_peers(&[9; 32], &peers).expect("a longer prefix is another network");
    }

    #[test]
    fn a_key_listed_twice_and_the_own_key_are_refused() {
        let twice = [peer(1, &[]), peer(1, &[])];
        assert!(matches!(
            validate_peers(&[9; 32], &twice),
            Err(EngineError::DuplicatePeer { .. })
        ));
        assert!(matches!(
            validate_peers(&[1; 32], &[peer(1, &[])]),
            Err(EngineError::OwnKey { .. })
        ));
    }

    #[test]
    fn names_the_kernel_would_refuse_are_refused_by_name() {
        let config = |interface: &str, mtu| EngineConfig {
            interface: interface.to_owned(),
            private_key: [0; 32],
            listen_port: 0,
            mtu,
        };
        for name in ["", "a/b", "a b", ".", "sixteen-bytes-ab", "a%d"] {
            assert!(
                matches!(
                    validate_engine(&config(name, 1420)),
                    Err(EngineError::InterfaceName { .. })
                ),
                "{name:?}"
            );
        }
        assert!(matches!(
            validate_engine(&config("skep0", 500)),
            Err(EngineError::Mtu { .. })
        ));
        validate_engine(&config("skep0", 1420)).expect("an ordinary one");
    }

    #[test]
    fn a_config_in_a_log_does_not_show_its_private_key() {
        let config = EngineConfig {
            interface: "skep0".into(),
            private_key: [0xab; 32],
            listen_port: 1,
            mtu: 1420,
        };
        let text = format!("{config:?}");
        assert!(!text.contains("171") && !text.contains("private"), "{text}");
    }
}
