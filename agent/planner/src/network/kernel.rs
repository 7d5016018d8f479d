//! The kernel objects that make up a node's network, wanted and found, and the ordered steps from one to
//! the other. All are derived: an object that is not in the wanted state and carries our name or protocol
//! number is removed, and nothing else ever is.

mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use skep_types::TaskId;

use super::{Desired, Endpoint};

pub use steps::{Step, diff};

/// The WireGuard interface.
pub const WIREGUARD: &str = "skep-wg";
/// The tunnel that carries published ports' connections with the client's address kept.
pub const TUNNEL: &str = "skep-vxi";
/// The tunnel's UDP port, used inside the mesh only.
pub const TUNNEL_PORT: u16 = 4790;
/// What all host ends of containers' links begin with.
pub const VETH_PREFIX: &str = "skepv";
/// What every interface of ours begins with.
pub const PREFIX: &str = "skep";
/// The interface inside a container.
pub const CONTAINER_LINK: &str = "eth0";
/// The next hop of every container.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// Hardware address of the host end of every container's link.
pub const GATEWAY_MAC: Mac = [0xee; 6];
/// Bytes that WireGuard adds to a packet, over IPv6.
pub const WIREGUARD_OVERHEAD: u32 = 80;
/// Bytes that the tunnel adds.
pub const TUNNEL_OVERHEAD: u32 = 50;

/// Mark of a connection that this node passes on to another node's task, client address kept.
pub const MARK_INGRESS: u32 = 0x10000;
/// Mark of a connection that came in by the tunnel, with the number of the node it came from.
pub const MARK_RETURN: u32 = 0x20000;
/// Mark of a connection to a published port whose client address is to be hidden.
pub const MARK_MASQUERADE: u32 = 0x40000;
/// Both marks that choose a route.
pub const MARK_ROUTED: u32 = MARK_INGRESS | MARK_RETURN;

/// Routing table of the main routes.
pub const TABLE_MAIN: u32 = 254;
/// Routing table towards other nodes' tasks through the tunnel; table `TABLE_INGRESS + n` leads back to
/// node number n.
pub const TABLE_INGRESS: u32 = 0x5be0_0000;

/// A hardware address.
pub type Mac = [u8; 6];

/// The host end's name of a task's link.
pub fn veth_name(task: TaskId) -> String {
    let text = task.to_string();
    format!("{VETH_PREFIX}{}", &text[text.len() - 10..])
}

/// Hardware address of a container, made from an address of its own.
pub fn container_mac(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    [0x02, 0x5b, a, b, c, d]
}

/// Hardware address of a node in the tunnel.
pub fn node_mac(index: u16) -> Mac {
    let [high, low] = index.to_be_bytes();
    [0x02, 0xee, 0x5b, 0, high, low]
}

/// The objects of one network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// Links other than WireGuard's, by name.
    pub links: BTreeMap<String, Link>,
    /// Addresses, a link.
    pub addresses: BTreeSet<(String, Ipv4Addr)>,
    /// Routes, by what makes them unique.
    pub routes: BTreeMap<(u32, Ipv4Net), Route>,
    /// Permanent neighbours: hardware address by link and address.
    pub neighbours: BTreeMap<(String, Ipv4Addr), Mac>,
    /// Where the tunnel sends a hardware address.
    pub forwards: BTreeMap<Mac, Ipv4Addr>,
    /// Policy rules.
    pub rules: BTreeSet<Rule>,
}

/// A link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// What it is.
    pub kind: LinkKind,
    /// Hardware address.
    pub mac: Mac,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// It is set up. One that is not was never finished, or others set it down.
    pub up: bool,
}

/// What a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// The host end of a container's link; the task is known only of wanted ones.
    Veth {
        /// The task.
        task: Option<TaskId>,
        /// Hardware address of the other end.
        peer_mac: Mac,
    },
    /// The tunnel.
    Tunnel {
        /// Our own end, a mesh address.
        local: Ipv4Addr,
    },
}

impl Link {
    /// Whether a link found can be kept: what cannot be seen from outside (the task and the other end) is
    /// not compared, and the largest packet and whether it is up can be changed in place.
    fn keeps(&self, found: &Link) -> bool {
        let same_kind = match (self.kind, found.kind) {
            (LinkKind::Veth { .. }, LinkKind::Veth { .. }) => true,
            (LinkKind::Tunnel { local }, LinkKind::Tunnel { local: other }) => local == other,
            _ => false,
        };
        same_kind && self.mac == found.mac
    }
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Route {
    /// Link it goes through; none drops what it matches.
    pub link: Option<String>,
    /// Next hop.
    pub gateway: Option<Ipv4Addr>,
    /// The next hop is reachable although no route says so.
    pub onlink: bool,
    /// Source address of connections begun here.
    pub source: Option<Ipv4Addr>,
    /// The destination is on the link itself.
    pub on_link_scope: bool,
}

/// A policy rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Lower numbers are asked first.
    pub priority: u32,
    /// Mark and mask.
    pub mark: Option<(u32, u32)>,
    /// Destination.
    pub to: Option<Ipv4Net>,
    /// What is done with what matches.
    pub action: RuleAction,
}

/// What a policy rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleAction {
    /// Asks a table; goes on with the next rule if that knows nothing.
    Table(u32),
    /// Goes on with the rule of this priority.
    Goto(u32),
    /// Nothing: a place to go to.
    Nop,
}

/// Priorities of our rules; those of others are far behind.
const RULE_SKIP: u32 = 80;
const RULE_MESH: u32 = 90;
const RULE_INGRESS: u32 = 100;
const RULE_RETURN: u32 = 101;
const RULE_END: u32 = 102;

/// The node's own namespace as it should be; `mtu` is that of the mesh.
pub fn host(desired: &Desired, mtu: u32) -> State {
    let mut state = State::default();
    let mesh = &desired.mesh;
    state.addresses.insert((WIREGUARD.to_owned(), mesh.address));
    let own = mesh.index(mesh.address);
    state.links.insert(
        TUNNEL.to_owned(),
        Link {
            kind: LinkKind::Tunnel {
                local: mesh.address,
            },
            mac: node_mac(own),
            mtu: mtu.saturating_sub(TUNNEL_OVERHEAD),
            up: true,
        },
    );
    for network in desired.networks.values() {
        for block in &network.own_blocks {
            state.routes.insert((TABLE_MAIN, *block), Route::default());
        }
    }
    // What is not marked skips our rules, one a node, and goes on with those of others. What is marked must
    // not be sent into the tunnel once more after it was wrapped up.
    let rule = |priority, mark, to, action| Rule {
        priority,
        mark,
        to,
        action,
    };
    state.rules.extend([
        rule(
            RULE_SKIP,
            Some((0, MARK_ROUTED)),
            None,
            RuleAction::Goto(RULE_END),
        ),
        rule(
            RULE_MESH,
            None,
            Some(mesh.subnet),
            RuleAction::Table(TABLE_MAIN),
        ),
        rule(
            RULE_INGRESS,
            Some((MARK_INGRESS, MARK_ROUTED)),
            None,
            RuleAction::Table(TABLE_INGRESS),
        ),
        rule(RULE_END, None, None, RuleAction::Nop),
    ]);
    for peer in desired.peers.values() {
        let direct = Route {
            link: Some(WIREGUARD.to_owned()),
            source: Some(mesh.address),
            on_link_scope: true,
            ..Route::default()
        };
        let tunnelled = Route {
            link: Some(TUNNEL.to_owned()),
            gateway: Some(peer.mesh),
            onlink: true,
            ..Route::default()
        };
        state
            .routes
            .insert((TABLE_MAIN, Ipv4Net::from(peer.mesh)), direct.clone());
        for block in &peer.blocks {
            state.routes.insert((TABLE_MAIN, *block), direct.clone());
            state
                .routes
                .insert((TABLE_INGRESS, *block), tunnelled.clone());
        }
        let back = TABLE_INGRESS + u32::from(peer.index);
        state.routes.insert((back, Ipv4Net::default()), tunnelled);
        let mark = MARK_RETURN | u32::from(peer.index);
        state.rules.insert(rule(
            RULE_RETURN,
            Some((mark, MARK_RETURN | 0xffff)),
            None,
            RuleAction::Table(back),
        ));
        state
            .neighbours
            .insert((TUNNEL.to_owned(), peer.mesh), node_mac(peer.index));
        state.forwards.insert(node_mac(peer.index), peer.mesh);
    }
    for (task, endpoint) in &desired.endpoints {
        add_endpoint(&mut state, *task, endpoint, mtu);
    }
    state
}

fn add_endpoint(state: &mut State, task: TaskId, endpoint: &Endpoint, mtu: u32) {
    let Some(first) = endpoint.addresses().next() else {
        return;
    };
    let name = veth_name(task);
    let peer_mac = container_mac(first);
    let kind = LinkKind::Veth {
        task: Some(task),
        peer_mac,
    };
    state.links.insert(
        name.clone(),
        Link {
            kind,
            mac: GATEWAY_MAC,
            mtu,
            up: true,
        },
    );
    for address in endpoint.addresses() {
        let route = Route {
            link: Some(name.clone()),
            on_link_scope: true,
            ..Route::default()
        };
        state
            .routes
            .insert((TABLE_MAIN, Ipv4Net::from(address)), route);
        state.neighbours.insert((name.clone(), address), peer_mac);
    }
}

/// The inside of a container as it should be. Its link is made from outside.
pub fn container(desired: &Desired, endpoint: &Endpoint) -> State {
    let mut state = State::default();
    let link = || Some(CONTAINER_LINK.to_owned());
    let through = |source| Route {
        link: link(),
        gateway: Some(GATEWAY),
        source,
        ..Route::default()
    };
    state
        .neighbours
        .insert((CONTAINER_LINK.to_owned(), GATEWAY), GATEWAY_MAC);
    let gateway = Route {
        link: link(),
        source: endpoint.source,
        on_link_scope: true,
        ..Route::default()
    };
    state
        .routes
        .insert((TABLE_MAIN, Ipv4Net::from(GATEWAY)), gateway);
    for address in endpoint.addresses() {
        state.addresses.insert((CONTAINER_LINK.to_owned(), address));
    }
    for (network, address) in &endpoint.attachments {
        let Some(network) = desired.networks.get(network) else {
            continue;
        };
        for subnet in &network.subnets {
            state
                .routes
                .insert((TABLE_MAIN, subnet.trunc()), through(Some(*address)));
        }
    }
    // Who cannot begin a connection to the outside may still have to answer one that came from there by a
    // published port.
    let published = endpoint.attachments.iter().any(|(id, _)| {
        desired
            .networks
            .get(id)
            .is_some_and(|network| network.isolated)
    });
    if endpoint.source.is_some() && (endpoint.egress || published) {
        let default = through(endpoint.source);
        state
            .routes
            .insert((TABLE_MAIN, Ipv4Net::default()), default);
    }
    state
}
