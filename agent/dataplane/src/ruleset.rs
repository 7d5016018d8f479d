//! What skep's nftables table of the node says: isolation, no forged addresses, virtual addresses, published
//! ports, the way out. Pure: from a [`Desired`] to a [`Table`].
//!
//! The chains hardly ever change. All that comes and goes with networks, services and tasks is in sets and
//! maps; chains that depend on it exist once per *number* of backends, not per service.

mod sets;

pub(crate) use sets::known_backends;

use skep_agent_planner::network::Desired;
use skep_agent_planner::network::kernel::{
    GATEWAY, MARK_INGRESS, MARK_MASQUERADE, MARK_RETURN, MARK_ROUTED, TUNNEL, TUNNEL_PORT,
    VETH_PREFIX, WIREGUARD,
};

use crate::nft::expr::{
    CT_DNAT, CT_ESTABLISHED, CT_NEW, CT_RELATED, Ct, Expr, Header, Meta, ROUTE_LOCAL, Reg, Verdict,
};
use crate::nft::table::{Base, Chain, Hook, Kind, Table, interface};

/// Name of the node's table, and the only one ever touched there.
pub(crate) const TABLE: &str = "skep";
/// Name of the table inside each container.
pub(crate) const DNS_TABLE: &str = "skep-dns";

type Rule = Vec<Expr>;

/// The node's table.
pub(crate) fn node(desired: &Desired) -> Table {
    let mut table = Table {
        name: TABLE.to_owned(),
        sets: sets::all(desired),
        ..Table::default()
    };
    let mut base = |name: &str, kind, hook, priority, rules| {
        let base = Some(Base {
            kind,
            hook,
            priority,
        });
        table.chains.insert(name.to_owned(), Chain { base, rules });
    };
    base("raw", Kind::Filter, Hook::Prerouting, -300, raw());
    base("mark-in", Kind::Filter, Hook::Prerouting, -150, mark_in());
    base("mark-out", Kind::Route, Hook::Output, -150, mark_out());
    base("nat-in", Kind::Nat, Hook::Prerouting, -100, nat_in());
    base("nat-out", Kind::Nat, Hook::Output, -100, nat_out());
    base("forward", Kind::Filter, Hook::Forward, 0, forward());
    base(
        "nat-post",
        Kind::Nat,
        Hook::Postrouting,
        100,
        nat_post(desired),
    );
    table.chains.insert(
        "none".to_owned(),
        Chain {
            base: None,
            rules: none(),
        },
    );
    for backends in desired.services.values() {
        let count = backends.len() as u32;
        if count > 0 {
            table
                .chains
                .entry(vip_chain(count))
                .or_insert_with(|| Chain {
                    base: None,
                    rules: vip(count),
                });
        }
    }
    for port in desired.ports.values() {
        let count = port.backends.len() as u32;
        if count > 0 {
            let mark = if port.masquerade {
                MARK_MASQUERADE
            } else {
                MARK_INGRESS
            };
            let name = port_chain(count, port.masquerade);
            table.chains.entry(name).or_insert_with(|| Chain {
                base: None,
                rules: publish(count, mark),
            });
        }
    }
    table
}

/// The table of a container: what it asks of 127.0.0.11:53 goes to the resolver's port there.
pub(crate) fn resolver(address: std::net::Ipv4Addr, port: u16) -> Table {
    let rule = |protocol: i32| {
        vec![
            Expr::Payload {
                header: Header::Network,
                offset: 16,
                length: 4,
                to: Reg(0),
            },
            Expr::Equal(Reg(0), address.octets().to_vec()),
            Expr::Meta(Meta::Protocol, Reg(0)),
            Expr::Equal(Reg(0), vec![protocol as u8]),
            Expr::Payload {
                header: Header::Transport,
                offset: 2,
                length: 2,
                to: Reg(0),
            },
            Expr::Equal(Reg(0), 53u16.to_be_bytes().to_vec()),
            Expr::Load(Reg(0), address.octets().to_vec()),
            Expr::Load(Reg(1), port.to_be_bytes().to_vec()),
            Expr::Dnat {
                address: Reg(0),
                port: Some(Reg(1)),
            },
        ]
    };
    let base = Some(Base {
        kind: Kind::Nat,
        hook: Hook::Output,
        priority: -100,
    });
    let rules = vec![rule(libc::IPPROTO_UDP), rule(libc::IPPROTO_TCP)];
    let mut table = Table {
        name: DNS_TABLE.to_owned(),
        ..Table::default()
    };
    table.chains.insert("out".to_owned(), Chain { base, rules });
    table
}

/// The chain that spreads over this many backends of a virtual address.
fn vip_chain(count: u32) -> String {
    format!("vip-{count}")
}

/// The chain that spreads over this many backends of a published port.
fn port_chain(count: u32, masquerade: bool) -> String {
    if masquerade {
        format!("port-masq-{count}")
    } else {
        format!("port-{count}")
    }
}

fn source(to: Reg) -> Expr {
    Expr::Payload {
        header: Header::Network,
        offset: 12,
        length: 4,
        to,
    }
}

fn destination(to: Reg) -> Expr {
    Expr::Payload {
        header: Header::Network,
        offset: 16,
        length: 4,
        to,
    }
}

fn destination_port(to: Reg) -> Expr {
    Expr::Payload {
        header: Header::Transport,
        offset: 2,
        length: 2,
        to,
    }
}

fn is(name: Meta, link: &str) -> [Expr; 2] {
    [
        Expr::Meta(name, Reg(0)),
        Expr::Equal(Reg(0), interface(link)),
    ]
}

fn is_not(name: Meta, link: &str) -> [Expr; 2] {
    [
        Expr::Meta(name, Reg(0)),
        Expr::NotEqual(Reg(0), interface(link)),
    ]
}

/// Comes from, or goes to, a container. Only the beginning of the name is compared.
fn container(name: Meta) -> [Expr; 2] {
    [
        Expr::Meta(name, Reg(0)),
        Expr::Equal(Reg(0), VETH_PREFIX.as_bytes().to_vec()),
    ]
}

fn not_container(name: Meta) -> [Expr; 2] {
    [
        Expr::Meta(name, Reg(0)),
        Expr::NotEqual(Reg(0), VETH_PREFIX.as_bytes().to_vec()),
    ]
}

/// Some of these bits of the connection's state, status or mark are set.
fn any(key: Ct, bits: u32) -> [Expr; 3] {
    [
        Expr::Ct(key, Reg(0)),
        Expr::Mask(Reg(0), bits.to_ne_bytes().to_vec()),
        Expr::NotEqual(Reg(0), vec![0; 4]),
    ]
}

fn mark_is(mask: u32, value: u32) -> [Expr; 3] {
    [
        Expr::Ct(Ct::Mark, Reg(0)),
        Expr::Mask(Reg(0), mask.to_ne_bytes().to_vec()),
        Expr::Equal(Reg(0), value.to_ne_bytes().to_vec()),
    ]
}

fn direction(reply: bool) -> [Expr; 2] {
    [
        Expr::Ct(Ct::Direction, Reg(0)),
        Expr::Equal(Reg(0), vec![u8::from(reply)]),
    ]
}

fn loopback_net(address: Expr) -> [Expr; 2] {
    [address, Expr::Equal(Reg(0), vec![127])]
}

fn protocol(number: i32) -> [Expr; 2] {
    [
        Expr::Meta(Meta::Protocol, Reg(0)),
        Expr::Equal(Reg(0), vec![number as u8]),
    ]
}

fn within(set: &str, key: Expr) -> [Expr; 2] {
    [
        key,
        Expr::In {
            set: set.to_owned(),
            key: Reg(0),
        },
    ]
}

fn connection_mark_to_packet() -> [Expr; 2] {
    [
        Expr::Ct(Ct::Mark, Reg(0)),
        Expr::SetMeta(Meta::Mark, Reg(0)),
    ]
}

/// Joins the steps of a rule.
macro_rules! rule {
    ($($part:expr),+ $(,)?) => {{
        let mut rule: Rule = Vec::new();
        $(rule.extend($part);)+
        rule
    }};
}

fn raw() -> Vec<Rule> {
    use Meta::InputName as In;
    let drop = || [Expr::Counter, Expr::Verdict(Verdict::Drop)];
    vec![
        // A container speaks from its own addresses only.
        rule!(
            container(In),
            [
                source(Reg(4)),
                Expr::NotIn {
                    set: "eps".to_owned(),
                    key: Reg(0)
                }
            ],
            drop()
        ),
        // Nobody else speaks from ours; what comes over the mesh was checked there.
        rule!(
            not_container(In),
            is_not(In, WIREGUARD),
            is_not(In, TUNNEL),
            is_not(In, "lo"),
            within("pools", source(Reg(0))),
            drop()
        ),
        // The tunnel's frames come over the mesh and from nowhere else.
        rule!(
            is_not(In, WIREGUARD),
            protocol(libc::IPPROTO_UDP),
            [
                destination_port(Reg(0)),
                Expr::Equal(Reg(0), TUNNEL_PORT.to_be_bytes().to_vec())
            ],
            drop()
        ),
        // Routing loopback addresses (needed for published ports) must not open them to others.
        rule!(
            is_not(In, "lo"),
            loopback_net(Expr::Payload {
                header: Header::Network,
                offset: 16,
                length: 1,
                to: Reg(0)
            }),
            drop()
        ),
    ]
}

fn mark_in() -> Vec<Rule> {
    vec![
        // A connection that came by the tunnel: remember the node that sent it …
        rule!(
            is(Meta::InputName, TUNNEL),
            any(Ct::State, CT_NEW),
            [
                Expr::Payload {
                    header: Header::Link,
                    offset: 6,
                    length: 6,
                    to: Reg(0)
                },
                Expr::Map {
                    map: "innodes".to_owned(),
                    key: Reg(0),
                    to: Reg(0)
                },
                Expr::SetCt(Ct::Mark, Reg(0)),
            ]
        ),
        // … and send the answers back to it.
        rule!(
            container(Meta::InputName),
            direction(true),
            mark_is(MARK_RETURN, MARK_RETURN),
            connection_mark_to_packet()
        ),
        // The packets after the first of a connection this node passes on.
        rule!(
            direction(false),
            mark_is(MARK_ROUTED, MARK_INGRESS),
            connection_mark_to_packet()
        ),
    ]
}

fn mark_out() -> Vec<Rule> {
    vec![rule!(
        direction(false),
        mark_is(MARK_ROUTED, MARK_INGRESS),
        connection_mark_to_packet()
    )]
}

/// The published port of this map, if the packet is for one.
fn to_port(map: &str) -> [Expr; 3] {
    [
        Expr::Meta(Meta::Protocol, Reg(0)),
        destination_port(Reg(1)),
        Expr::VerdictMap {
            map: map.to_owned(),
            key: Reg(0),
        },
    ]
}

fn to_this_node() -> [Expr; 2] {
    [
        Expr::FibDestinationType(Reg(0)),
        Expr::Equal(Reg(0), ROUTE_LOCAL.to_ne_bytes().to_vec()),
    ]
}

fn nat_in() -> Vec<Rule> {
    vec![
        rule!(
            container(Meta::InputName),
            [
                destination(Reg(0)),
                Expr::VerdictMap {
                    map: "vips".to_owned(),
                    key: Reg(0)
                }
            ]
        ),
        rule!(to_this_node(), to_port("ports")),
        // A container that asks another node's port is answered here: balanced back to this node, the answer
        // would otherwise come from nowhere.
        rule!(
            container(Meta::InputName),
            within("nodes", destination(Reg(0))),
            to_port("node-ports")
        ),
    ]
}

fn nat_out() -> Vec<Rule> {
    vec![
        rule!(to_this_node(), to_port("ports")),
        rule!(within("nodes", destination(Reg(0))), to_port("node-ports")),
    ]
}

fn forward() -> Vec<Rule> {
    use Meta::{InputName as In, OutputName as Out};
    let accept = || [Expr::Verdict(Verdict::Accept)];
    let drop = || [Expr::Counter, Expr::Verdict(Verdict::Drop)];
    let clamp = |side| {
        rule!(
            is(side, TUNNEL),
            protocol(libc::IPPROTO_TCP),
            [
                Expr::Payload {
                    header: Header::Transport,
                    offset: 13,
                    length: 1,
                    to: Reg(0)
                },
                Expr::Mask(Reg(0), vec![0x02]),
                Expr::NotEqual(Reg(0), vec![0]),
                Expr::RouteTcpMss(Reg(0)),
                Expr::ToNetwork16(Reg(0)),
                Expr::SetTcpMss(Reg(0)),
            ]
        )
    };
    vec![
        clamp(Out),
        clamp(In),
        rule!(any(Ct::State, CT_ESTABLISHED | CT_RELATED), accept()),
        // Within a network; the destination is already that of the task, the source was checked.
        rule!(
            [
                source(Reg(0)),
                destination(Reg(1)),
                Expr::In {
                    set: "nets".to_owned(),
                    key: Reg(0)
                }
            ],
            accept()
        ),
        // To a published port: here, through the tunnel, or masqueraded by another node.
        rule!(
            any(Ct::Status, CT_DNAT),
            any(Ct::Mark, MARK_INGRESS | MARK_MASQUERADE),
            accept()
        ),
        rule!(is(In, TUNNEL), container(Out), accept()),
        rule!(
            is(In, WIREGUARD),
            container(Out),
            within("mesh", source(Reg(0))),
            accept()
        ),
        rule!(within("pools", destination(Reg(0))), drop()),
        rule!(
            container(In),
            not_container(Out),
            is_not(Out, WIREGUARD),
            is_not(Out, TUNNEL),
            within("egress", source(Reg(0))),
            accept()
        ),
        rule!(container(In), drop()),
        rule!(container(Out), drop()),
        rule!(is(In, WIREGUARD), drop()),
        rule!(is(In, TUNNEL), drop()),
    ]
}

fn nat_post(desired: &Desired) -> Vec<Rule> {
    use Meta::OutputName as Out;
    let snat = |address: std::net::Ipv4Addr| {
        [
            Expr::Load(Reg(0), address.octets().to_vec()),
            Expr::Snat { address: Reg(0) },
        ]
    };
    let from_loopback = || {
        loopback_net(Expr::Payload {
            header: Header::Network,
            offset: 12,
            length: 1,
            to: Reg(0),
        })
    };
    let mesh = desired.mesh.address;
    vec![
        // A task that reached itself through a virtual address or a port.
        rule!(
            any(Ct::Status, CT_DNAT),
            [
                source(Reg(0)),
                destination(Reg(1)),
                Expr::Map {
                    map: "hairpin".to_owned(),
                    key: Reg(0),
                    to: Reg(0)
                },
                Expr::Snat { address: Reg(0) },
            ]
        ),
        rule!(container(Out), from_loopback(), snat(GATEWAY)),
        rule!(is(Out, WIREGUARD), from_loopback(), snat(mesh)),
        rule!(is(Out, TUNNEL), from_loopback(), snat(mesh)),
        rule!(
            is(Out, WIREGUARD),
            mark_is(MARK_MASQUERADE, MARK_MASQUERADE),
            snat(mesh)
        ),
        rule!(
            not_container(Out),
            is_not(Out, WIREGUARD),
            is_not(Out, TUNNEL),
            is_not(Out, "lo"),
            within("pools", source(Reg(0))),
            [Expr::Masquerade]
        ),
    ]
}

/// Nobody is there to answer.
fn none() -> Vec<Rule> {
    vec![
        rule!(protocol(libc::IPPROTO_TCP), [Expr::RejectReset]),
        rule!([Expr::RejectUnreachable]),
    ]
}

fn vip(count: u32) -> Vec<Rule> {
    vec![rule!([
        destination(Reg(0)),
        Expr::Random {
            modulus: count,
            to: Reg(1)
        },
        Expr::Map {
            map: "backends".to_owned(),
            key: Reg(0),
            to: Reg(0)
        },
        Expr::Dnat {
            address: Reg(0),
            port: None
        },
    ])]
}

fn publish(count: u32, mark: u32) -> Vec<Rule> {
    vec![rule!([
        Expr::Load(Reg(0), mark.to_ne_bytes().to_vec()),
        Expr::SetMeta(Meta::Mark, Reg(0)),
        Expr::SetCt(Ct::Mark, Reg(0)),
        Expr::Meta(Meta::Protocol, Reg(0)),
        destination_port(Reg(1)),
        Expr::Random {
            modulus: count,
            to: Reg(2)
        },
        Expr::Map {
            map: "targets".to_owned(),
            key: Reg(0),
            to: Reg(4)
        },
        Expr::Dnat {
            address: Reg(4),
            port: Some(Reg(5))
        },
    ])]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;
    use std::process::Command;

    use skep_agent_planner::network::{
        Backend, Endpoint, Mesh, Network, Peer, PortKey, PublishedPort,
    };
    use skep_types::{NetworkId, NodeId, Protocol, PublishMode, TaskId};

    use super::*;
    use crate::nft::Nft;

    fn sample(tasks: u8) -> Desired {
        let node = NodeId::from_bits(1);
        let net = NetworkId::from_bits(7);
        let address = |n: u8| Ipv4Addr::new(10, 1, 1, n);
        let network = Network {
            name: "front".to_owned(),
            subnets: vec![
                "10.1.0.0/16".parse().expect("net"),
                "10.3.0.0/24".parse().expect("net"),
            ],
            own_blocks: vec!["10.1.1.0/24".parse().expect("net")],
            internal: false,
            isolated: false,
        };
        let peer = Peer {
            public_key: [1; 32],
            endpoint: "192.0.2.2:51820".parse().expect("endpoint"),
            mesh: Ipv4Addr::new(10, 200, 0, 2),
            blocks: vec!["10.1.2.0/24".parse().expect("net")],
            index: 2,
        };
        let endpoints = (0..tasks).map(|n| {
            let endpoint = Endpoint {
                attachments: vec![(net, address(n))],
                local: None,
                source: Some(address(n)),
                egress: true,
                dns_servers: vec![],
            };
            (TaskId::from_bits(u128::from(n) + 1), endpoint)
        });
        let backends: Vec<Backend> = (0..tasks)
            .map(|n| Backend {
                address: address(n),
                node,
            })
            .collect();
        let port = |masquerade| PublishedPort {
            target: 80,
            backends: backends.clone(),
            mode: PublishMode::Ingress,
            masquerade,
        };
        let ports = [
            (
                PortKey {
                    protocol: Protocol::Tcp,
                    published: 8080,
                },
                port(false),
            ),
            (
                PortKey {
                    protocol: Protocol::Udp,
                    published: 8081,
                },
                port(true),
            ),
        ];
        Desired {
            node,
            mesh: Mesh {
                address: Ipv4Addr::new(10, 200, 0, 1),
                subnet: "10.200.0.0/16".parse().expect("net"),
                mtu: None,
            },
            peers: BTreeMap::from([(NodeId::from_bits(2), peer)]),
            networks: BTreeMap::from([(net, network)]),
            endpoints: endpoints.collect(),
            services: BTreeMap::from([
                (Ipv4Addr::new(10, 1, 255, 1), backends.clone()),
                (Ipv4Addr::new(10, 1, 255, 2), vec![]),
            ]),
            ports: BTreeMap::from(ports),
            zones: BTreeMap::new(),
        }
    }

    /// Runs `work` on a thread with a network namespace of its own, which ends with it.
    fn in_own_namespace<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("needs root");
            work()
        });
        thread.join().expect("the work in the namespace")
    }

    fn listing() -> String {
        let output = Command::new("nft")
            .args(["list", "ruleset"])
            .output()
            .expect("nft to read back with");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    #[test]
    fn the_kernel_takes_the_table_as_it_is_meant() {
        let listing = in_own_namespace(|| {
            let nft = Nft::open().expect("a socket");
            nft.replace(&node(&sample(3)))
                .expect("the table is accepted");
            assert!(nft.exists(TABLE).expect("it can be asked for"));
            listing()
        });
        println!("{listing}");
        for part in [
            "type nat hook prerouting priority dstnat",
            "chain vip-3",
            "numgen random mod 3",
            "10.1.255.1 : goto vip-3",
            "10.1.255.2 : goto none",
            "tcp . 8080 : goto port-3",
            "udp . 8081 : goto port-masq-3",
            "10.1.0.0/16 . 10.3.0.0/24",
            "10.1.1.2 . 10.1.1.2 : 10.1.0.1",
            "tcp option maxseg size set rt mtu",
            "ct state established,related accept",
            "snat to 169.254.1.1",
            "snat to 10.200.0.1",
            "masquerade",
            "reject with tcp reset",
            "fib daddr type local",
        ] {
            assert!(listing.contains(part), "{part:?} is missing from {listing}");
        }
    }

    #[test]
    fn an_update_by_elements_ends_in_the_same_table_as_a_new_one() {
        let (updated, fresh) = in_own_namespace(|| {
            let nft = Nft::open().expect("a socket");
            let steps: Vec<Table> = [3, 5, 0, 2]
                .into_iter()
                .map(|tasks| node(&sample(tasks)))
                .collect();
            nft.replace(&steps[0]).expect("the first table");
            for pair in steps.windows(2) {
                nft.update(&pair[0], &pair[1]).expect("the update");
            }
            let updated = listing();
            nft.replace(&steps[3]).expect("the last table");
            (updated, listing())
        });
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&updated), sorted(&fresh));
    }

    #[test]
    fn ten_thousand_services_are_one_quick_transaction() {
        let took = in_own_namespace(|| {
            let mut desired = sample(10);
            let backends = desired
                .services
                .values()
                .next()
                .cloned()
                .unwrap_or_default();
            for number in 0..10_000u32 {
                desired
                    .services
                    .insert(Ipv4Addr::from_bits(0x0a02_0000 + number), backends.clone());
            }
            let nft = Nft::open().expect("a socket");
            let table = node(&desired);
            let start = std::time::Instant::now();
            nft.replace(&table).expect("a large table");
            start.elapsed()
        });
        assert!(took.as_secs() < 10, "took {took:?}");
    }

    #[test]
    fn what_the_kernel_refuses_is_named() {
        let error = in_own_namespace(|| {
            let nft = Nft::open().expect("a socket");
            let mut table = node(&sample(1));
            if let Some(chain) = table.chains.get_mut("nat-in") {
                chain.rules.push(vec![Expr::In {
                    set: "absent".to_owned(),
                    key: Reg(0),
                }]);
            }
            let error = nft
                .replace(&table)
                .expect_err("a rule about a set that is not there");
            assert!(
                !nft.exists(TABLE).expect("asked"),
                "nothing of a refused transaction stays"
            );
            error
        });
        assert_eq!(
            error.to_string(),
            "cannot write packet filter rules: rule 3 of chain nat-in"
        );
    }
}
