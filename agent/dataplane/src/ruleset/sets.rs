//! The sets and maps of the node's table: everything that comes and goes with networks, services, tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use skep_agent_planner::network::Desired;
use skep_agent_planner::network::kernel::{GATEWAY, MARK_RETURN, node_mac, veth_name};
use skep_types::{Protocol, PublishMode};

use super::{port_chain, vip_chain};
use crate::nft::expr::Verdict;
use crate::nft::table::{Set, Type, concat, interface};

/// All of them, by name.
pub(super) fn all(desired: &Desired, outer: &BTreeSet<String>) -> BTreeMap<String, Set> {
    let mut sets = BTreeMap::new();
    let mut put = |name: &str, set| sets.insert(name.to_owned(), set);
    put("eps", endpoints(desired));
    put("hairpin", hairpin(desired));
    put("egress", egress(desired));
    put("nets", networks(desired));
    put("pools", pools(desired));
    put("mesh", ranges([desired.mesh.subnet]));
    put("nodes", nodes(desired));
    put("innodes", tunnel_nodes(desired));
    put("vips", vips(desired));
    put("backends", backends(desired));
    put("ports", ports(desired, |_| true));
    // Only what every node answers may be answered here in another node's place.
    put(
        "node-ports",
        ports(desired, |mode| mode == PublishMode::Ingress),
    );
    put("targets", targets(desired));
    put("outer", links(outer));
    sets
}

/// The number nftables and IP have for the protocol.
pub(crate) fn protocol_number(protocol: Protocol) -> u8 {
    let number = match protocol {
        Protocol::Tcp => libc::IPPROTO_TCP,
        Protocol::Udp => libc::IPPROTO_UDP,
        Protocol::Sctp => libc::IPPROTO_SCTP,
    };
    number as u8
}

fn links(names: &BTreeSet<String>) -> Set {
    let mut set = Set::new(&[Type::InterfaceName]);
    for name in names {
        set.add(interface(name));
    }
    set
}

/// Which addresses a container may speak from.
fn endpoints(desired: &Desired) -> Set {
    let mut set = Set::new(&[Type::InterfaceName, Type::Ipv4]);
    for (task, endpoint) in &desired.endpoints {
        for address in endpoint.addresses() {
            set.add(concat(&[&interface(&veth_name(*task)), &address.octets()]));
        }
    }
    set
}

/// What a task sees as source when it has reached itself: the gateway of the network it did so on, so that
/// its answer leaves from the same address.
fn hairpin(desired: &Desired) -> Set {
    let mut map = Set::map(&[Type::Ipv4, Type::Ipv4], &[Type::Ipv4]);
    for endpoint in desired.endpoints.values() {
        for (network, address) in &endpoint.attachments {
            let subnets = desired
                .networks
                .get(network)
                .map(|network| &network.subnets);
            let subnet =
                subnets.and_then(|subnets| subnets.iter().find(|net| net.contains(address)));
            let gateway = subnet
                .and_then(|subnet| subnet.hosts().next())
                .unwrap_or(GATEWAY);
            let key = concat(&[&address.octets(), &address.octets()]);
            map.put(key, gateway.octets().to_vec());
        }
    }
    map
}

/// Addresses from which connections to the outside may begin.
fn egress(desired: &Desired) -> Set {
    let mut set = Set::new(&[Type::Ipv4]);
    for address in desired
        .endpoints
        .values()
        .filter(|endpoint| endpoint.egress)
        .filter_map(|endpoint| endpoint.source)
    {
        set.add(address.octets().to_vec());
    }
    set
}

/// Who may reach whom: each network's subnets each other.
fn networks(desired: &Desired) -> Set {
    let mut set = Set::ranges(&[Type::Ipv4, Type::Ipv4]);
    for network in desired
        .networks
        .values()
        .filter(|network| !network.isolated)
    {
        for from in &network.subnets {
            for to in &network.subnets {
                let start = concat(&[&from.network().octets(), &to.network().octets()]);
                let end = concat(&[&from.broadcast().octets(), &to.broadcast().octets()]);
                set.add_range(start, end);
            }
        }
    }
    set
}

/// All addresses that are the cluster's.
fn pools(desired: &Desired) -> Set {
    let subnets = desired
        .networks
        .values()
        .flat_map(|network| network.subnets.iter().copied());
    let local = desired
        .endpoints
        .values()
        .filter_map(|endpoint| endpoint.local.map(Ipv4Net::from));
    ranges(subnets.chain([desired.mesh.subnet]).chain(local))
}

/// A set of address ranges. What touches is joined, as the kernel takes no overlaps.
fn ranges(subnets: impl IntoIterator<Item = Ipv4Net>) -> Set {
    let mut set = Set::ranges(&[Type::Ipv4]);
    let mut bounds: Vec<(u32, u32)> = subnets
        .into_iter()
        .map(|net| (net.network().to_bits(), net.broadcast().to_bits()))
        .collect();
    bounds.sort_unstable();
    let mut joined: Vec<(u32, u32)> = Vec::new();
    for (start, end) in bounds {
        match joined.last_mut() {
            Some((_, last)) if start <= last.saturating_add(1) => *last = end.max(*last),
            _ => joined.push((start, end)),
        }
    }
    for (start, end) in joined {
        set.add_range(start.to_be_bytes().to_vec(), end.to_be_bytes().to_vec());
    }
    set
}

/// The other nodes' addresses on the underlay.
fn nodes(desired: &Desired) -> Set {
    let mut set = Set::new(&[Type::Ipv4]);
    for peer in desired.peers.values() {
        if let IpAddr::V4(address) = peer.endpoint.ip() {
            set.add(address.octets().to_vec());
        }
    }
    set
}

/// The mark that leads back to the node a frame of the tunnel came from.
fn tunnel_nodes(desired: &Desired) -> Set {
    let mut map = Set::map(&[Type::Ether], &[Type::Mark]);
    for peer in desired.peers.values() {
        let mark = MARK_RETURN | u32::from(peer.index);
        map.put(node_mac(peer.index).to_vec(), mark.to_ne_bytes().to_vec());
    }
    map
}

fn chain_for(count: usize, name: impl FnOnce(u32) -> String) -> Verdict {
    match count as u32 {
        0 => Verdict::Goto("none".to_owned()),
        count => Verdict::Goto(name(count)),
    }
}

fn vips(desired: &Desired) -> Set {
    let mut map = Set::verdicts(&[Type::Ipv4]);
    for (vip, backends) in &desired.services {
        map.put_verdict(vip.octets().to_vec(), chain_for(backends.len(), vip_chain));
    }
    map
}

fn backends(desired: &Desired) -> Set {
    let mut map = Set::map(&[Type::Ipv4, Type::Mark], &[Type::Ipv4]);
    for (vip, backends) in &desired.services {
        for (slot, backend) in (0u32..).zip(backends) {
            map.put(
                concat(&[&vip.octets(), &slot.to_ne_bytes()]),
                backend.address.octets().to_vec(),
            );
        }
    }
    map
}

fn ports(desired: &Desired, wanted: impl Fn(PublishMode) -> bool) -> Set {
    let mut map = Set::verdicts(&[Type::Protocol, Type::Service]);
    for (key, port) in desired.ports.iter().filter(|(_, port)| wanted(port.mode)) {
        let verdict = chain_for(port.backends.len(), |count| {
            port_chain(count, port.masquerade)
        });
        map.put_verdict(
            concat(&[
                &[protocol_number(key.protocol)],
                &key.published.to_be_bytes(),
            ]),
            verdict,
        );
    }
    map
}

fn targets(desired: &Desired) -> Set {
    let mut map = Set::map(
        &[Type::Protocol, Type::Service, Type::Mark],
        &[Type::Ipv4, Type::Service],
    );
    for (key, port) in &desired.ports {
        for (slot, backend) in (0u32..).zip(&port.backends) {
            let key = concat(&[
                &[protocol_number(key.protocol)],
                &key.published.to_be_bytes(),
                &slot.to_ne_bytes(),
            ]);
            map.put(
                key,
                concat(&[&backend.address.octets(), &port.target.to_be_bytes()]),
            );
        }
    }
    map
}

/// Every address that a connection to a service may have been sent to.
pub(crate) fn known_backends(desired: &Desired) -> BTreeSet<Ipv4Addr> {
    let services = desired.services.values().flatten();
    let ports = desired.ports.values().flat_map(|port| &port.backends);
    services
        .chain(ports)
        .map(|backend| backend.address)
        .chain(
            desired
                .endpoints
                .values()
                .flat_map(|endpoint| endpoint.addresses()),
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_that_touch_become_one_range() {
        let nets = ["10.1.0.0/16", "10.0.0.0/16", "10.0.4.0/24", "10.9.0.0/16"];
        let set = ranges(
            nets.iter()
                .map(|net| net.parse::<Ipv4Net>().expect("a subnet")),
        );
        let found: Vec<_> = set
            .elements
            .keys()
            .map(|key| (key.start[1], key.end.clone()))
            .collect();
        assert_eq!(
            found,
            [
                (0, Some(vec![10, 1, 255, 255])),
                (9, Some(vec![10, 9, 255, 255]))
            ]
        );
    }
}
