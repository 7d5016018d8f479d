//! The rules of each chain, in order.

use skep_agent_planner::network::Desired;
use skep_agent_planner::network::kernel::{
    GATEWAY, MARK_INGRESS, MARK_MASQUERADE, MARK_RETURN, MARK_ROUTED, TUNNEL, TUNNEL_PORT,
    WIREGUARD,
};

use super::Rule;
use super::parts::{
    any, connection_mark_to_packet, container, destination, destination_port, direction, is,
    is_not, loopback_net, mark_is, not_container, protocol, rule, source, within,
};
use crate::nft::expr::{
    CT_DNAT, CT_ESTABLISHED, CT_NEW, CT_RELATED, Ct, Expr, Header, Meta, ROUTE_LOCAL, Reg, Verdict,
};

pub(super) fn raw() -> Vec<Rule> {
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

pub(super) fn mark_in() -> Vec<Rule> {
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

pub(super) fn mark_out() -> Vec<Rule> {
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

pub(super) fn nat_in() -> Vec<Rule> {
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

pub(super) fn nat_out() -> Vec<Rule> {
    vec![
        rule!(to_this_node(), to_port("ports")),
        rule!(within("nodes", destination(Reg(0))), to_port("node-ports")),
    ]
}

pub(super) fn forward() -> Vec<Rule> {
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
        // Who forwarded nothing before us is no router for others now.
        rule!(
            any(Ct::State, CT_NEW),
            within("outer", Expr::Meta(In, Reg(0))),
            within("outer", Expr::Meta(Out, Reg(0))),
            drop()
        ),
    ]
}

pub(super) fn nat_post(desired: &Desired) -> Vec<Rule> {
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
pub(super) fn none() -> Vec<Rule> {
    vec![
        rule!(protocol(libc::IPPROTO_TCP), [Expr::RejectReset]),
        rule!([Expr::RejectUnreachable]),
    ]
}

pub(super) fn vip(count: u32) -> Vec<Rule> {
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

pub(super) fn publish(count: u32, mark: u32) -> Vec<Rule> {
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
