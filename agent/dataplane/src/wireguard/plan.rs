//! What has to be said to the kernel so that its peers become the wanted ones. Pure: the kernel's state comes
//! in as a value, and the changes go out as values.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use skep_agent_wireguard::PeerConfig;

/// Allowed IPs in one change. A change must fit one netlink message of 4 KB together with the interface's
/// name; each takes up to 40 bytes (IPv6) and the rest of a peer about 150.
pub(super) const CHUNK: usize = 80;

/// A peer as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) key: [u8; 32],
    pub(super) keepalive_seconds: u16,
    pub(super) allowed_ips: BTreeSet<IpNet>,
}

/// One message about one peer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Change {
    pub(super) key: [u8; 32],
    /// The peer goes; nothing else is said.
    pub(super) remove: bool,
    /// The peer moves here.
    pub(super) endpoint: Option<SocketAddr>,
    /// Seconds, 0 for none.
    pub(super) keepalive_seconds: Option<u16>,
    /// The allowed IPs it has are forgotten first.
    pub(super) replace_allowed_ips: bool,
    /// Allowed IPs to add, at most [`CHUNK`].
    pub(super) allowed_ips: Vec<IpNet>,
}

/// Endpoints as they were last configured, by key: a peer that roamed keeps where it is until another one is
/// configured.
pub(super) type Told = HashMap<[u8; 32], Option<SocketAddr>>;

/// The changes that make `wanted` of `known`, in the order to make them. Empty when all is as wanted.
pub(super) fn plan(known: &[Known], wanted: &[PeerConfig], told: &Told) -> Vec<Change> {
    let keep: HashSet<&[u8; 32]> = wanted.iter().map(|peer| &peer.public_key).collect();
    let by_key: HashMap<&[u8; 32], &Known> = known.iter().map(|peer| (&peer.key, peer)).collect();
    let gone = known.iter().filter(|peer| !keep.contains(&peer.key));
    let mut changes: Vec<Change> = gone
        .map(|peer| Change {
            key: peer.key,
            remove: true,
            ..Change::default()
        })
        .collect();
    for peer in wanted {
        let now = by_key.get(&peer.public_key).copied();
        let before = told.get(&peer.public_key).copied().flatten();
        change_peer(now, peer, before, &mut changes);
    }
    changes
}

fn change_peer(
    known: Option<&Known>,
    wanted: &PeerConfig,
    told: Option<SocketAddr>,
    changes: &mut Vec<Change>,
) {
    let none = BTreeSet::new();
    let have = known.map_or(&none, |known| &known.allowed_ips);
    let want: BTreeSet<IpNet> = wanted.allowed_ips.iter().map(IpNet::trunc).collect();
    // Forgetting all and adding again leaves packets without a way for a moment: only when something goes.
    let replace = known.is_none() || !have.is_subset(&want);
    let add: Vec<IpNet> = match replace {
        true => want.into_iter().collect(),
        false => want.difference(have).copied().collect(),
    };
    let keepalive = keepalive_seconds(wanted.keepalive);
    let mut first = Change {
        key: wanted.public_key,
        endpoint: wanted
            .endpoint
            .filter(|endpoint| known.is_none() || told != Some(*endpoint)),
        keepalive_seconds: Some(keepalive)
            .filter(|now| known.map(|known| known.keepalive_seconds) != Some(*now)),
        replace_allowed_ips: replace,
        ..Change::default()
    };
    let mut chunks = add.chunks(CHUNK);
    first.allowed_ips = chunks.next().unwrap_or_default().to_vec();
    let nothing = !replace && first.allowed_ips.is_empty();
    if !(nothing && first.endpoint.is_none() && first.keepalive_seconds.is_none()) {
        changes.push(first);
    }
    changes.extend(chunks.map(|chunk| Change {
        key: wanted.public_key,
        allowed_ips: chunk.to_vec(),
        ..Change::default()
    }));
}

/// The kernel counts whole seconds in 16 bits; less than one is one.
fn keepalive_seconds(keepalive: Option<Duration>) -> u16 {
    match keepalive {
        None | Some(Duration::ZERO) => 0,
        Some(keepalive) => u16::try_from(keepalive.as_secs().max(1)).unwrap_or(u16::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    fn wanted(key: u8, port: u16, nets: &[&str]) -> PeerConfig {
        PeerConfig {
            public_key: [key; 32],
            endpoint: Some(([192, 0, 2, key], port).into()),
            allowed_ips: nets.iter().map(|text| net(text)).collect(),
            keepalive: None,
        }
    }

    fn known(key: u8, nets: &[&str]) -> Known {
        let allowed_ips = nets.iter().map(|text| net(text)).collect();
        Known {
            key: [key; 32],
            keepalive_seconds: 0,
            allowed_ips,
        }
    }

    fn told(peers: &[PeerConfig]) -> Told {
        peers
            .iter()
            .map(|peer| (peer.public_key, peer.endpoint))
            .collect()
    }

    /// What the kernel makes of changes, as its documentation says it does.
    fn apply(known: &[Known], changes: &[Change]) -> Vec<Known> {
        let mut peers: Vec<Known> = known.to_vec();
        for change in changes {
            if change.remove {
                peers.retain(|peer| peer.key != change.key);
                continue;
            }
            for peer in &mut peers {
                peer.allowed_ips
                    .retain(|net| !change.allowed_ips.contains(net));
            }
            let at = peers
                .iter()
                .position(|peer| peer.key == change.key)
                .unwrap_or_else(|| {
                    peers.push(Known {
                        key: change.key,
                        keepalive_seconds: 0,
                        allowed_ips: BTreeSet::new(),
                    });
                    peers.len() - 1
                });
            if change.replace_allowed_ips {
                peers[at].allowed_ips.clear();
            }
            peers[at]
                .allowed_ips
                .extend(change.allowed_ips.iter().copied());
            peers[at].keepalive_seconds = change
                .keepalive_seconds
                .unwrap_or(peers[at].keepalive_seconds);
        }
        peers
    }

    #[test]
    fn nothing_is_said_when_all_is_as_wanted() {
        let peers = [
            wanted(1, 1, &["10.1.0.0/24", "10.2.0.9/24"]),
            wanted(2, 1, &[]),
        ];
        let kernel = [known(2, &[]), known(1, &["10.2.0.0/24", "10.1.0.0/24"])];
        assert_eq!(plan(&kernel, &peers, &told(&peers)), []);
    }

    #[test]
    fn a_peer_that_is_not_wanted_goes_first_and_says_nothing_else() {
        let changes = plan(
            &[known(1, &["10.1.0.0/24"])],
            &[wanted(2, 1, &["10.1.0.0/24"])],
            &Told::new(),
        );
        assert_eq!(
            changes[0],
            Change {
                key: [1; 32],
                remove: true,
                ..Change::default()
            }
        );
        assert_eq!(changes[1].key, [2; 32]);
        assert_eq!(changes.len(), 2);
    }

    #[test]
    fn an_added_network_leaves_the_others_and_the_endpoint_alone() {
        let before = [wanted(1, 1, &["10.1.0.0/24"])];
        let after = [wanted(1, 1, &["10.1.0.0/24", "10.2.0.0/24"])];
        let changes = plan(&[known(1, &["10.1.0.0/24"])], &after, &told(&before));
        let only = Change {
            key: [1; 32],
            allowed_ips: vec![net("10.2.0.0/24")],
            ..Change::default()
        };
        assert_eq!(changes, [only]);
    }

    #[test]
    fn a_network_that_goes_makes_the_rest_be_said_again() {
        let peers = [wanted(1, 1, &["10.2.0.0/24"])];
        let changes = plan(
            &[known(1, &["10.1.0.0/24", "10.2.0.0/24"])],
            &peers,
            &told(&peers),
        );
        assert!(changes[0].replace_allowed_ips);
        assert_eq!(changes[0].allowed_ips, [net("10.2.0.0/24")]);
        let none = [wanted(1, 1, &[])];
        let changes = plan(&[known(1, &["10.1.0.0/24"])], &none, &told(&none));
        assert!(changes[0].replace_allowed_ips && changes[0].allowed_ips.is_empty());
    }

    #[test]
    fn an_endpoint_is_said_when_it_is_new_or_another_and_not_again() {
        let (old, new) = (wanted(1, 1, &[]), wanted(1, 2, &[]));
        let peers = [new.clone()];
        let endpoints = |told: &Told| {
            let changes = plan(&[known(1, &[])], &peers, told);
            changes
                .iter()
                .filter_map(|change| change.endpoint)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            endpoints(&told(&[old])),
            [new.endpoint.expect("it has one")]
        );
        assert_eq!(endpoints(&told(&peers)), []);
        // After a restart it is not known what was said: the configured one is as good as any.
        assert_eq!(endpoints(&Told::new()).len(), 1);
    }

    #[test]
    fn keepalive_is_whole_seconds_and_never_none_by_rounding() {
        let mut peer = wanted(1, 1, &[]);
        for (keepalive, seconds) in [(1, 1), (999, 1), (25_000, 25), (u64::MAX, u16::MAX)] {
            peer.keepalive = Some(Duration::from_millis(keepalive));
            let changes = plan(&[], std::slice::from_ref(&peer), &Told::new());
            assert_eq!(changes[0].keepalive_seconds, Some(seconds));
        }
    }

    #[test]
    fn many_networks_are_said_in_parts_and_only_the_first_replaces() {
        let nets: Vec<String> = (0..1000).map(|n| format!("fd00:{n:x}::/64")).collect();
        let nets: Vec<&str> = nets.iter().map(String::as_str).collect();
        let peers = [wanted(1, 1, &nets)];
        let kernel = [known(1, &["10.9.0.0/24"])];
        let changes = plan(&kernel, &peers, &told(&peers));
        assert_eq!(changes.len(), 1000usize.div_ceil(CHUNK));
        assert!(
            changes
                .iter()
                .all(|change| change.allowed_ips.len() <= CHUNK)
        );
        assert_eq!(
            changes
                .iter()
                .filter(|change| change.replace_allowed_ips)
                .count(),
            1
        );
        assert!(changes[0].replace_allowed_ips);
        let after = apply(&kernel, &changes);
        assert_eq!(after[0].allowed_ips.len(), 1000);
        assert_eq!(plan(&after, &peers, &told(&peers)), []);
    }

    #[test]
    fn a_network_that_moves_between_peers_ends_with_the_new_one_in_either_order() {
        for (from, to) in [(1, 2), (2, 1)] {
            let mut nets = [vec!["10.1.0.0/24"], vec!["10.2.0.0/24"]];
            let kernel = [known(1, &nets[0]), known(2, &nets[1])];
            let moved = nets[from - 1].remove(0);
            nets[to - 1].push(moved);
            let peers = [wanted(1, 1, &nets[0]), wanted(2, 1, &nets[1])];
            let after = apply(&kernel, &plan(&kernel, &peers, &told(&peers)));
            assert_eq!(plan(&after, &peers, &told(&peers)), []);
        }
    }
}
