//! Words that the rules are put together from.

use skep_agent_planner::network::kernel::VETH_PREFIX;

use crate::nft::expr::{Ct, Expr, Header, Meta, Reg};
use crate::nft::table::interface;

pub(super) fn source(to: Reg) -> Expr {
    Expr::Payload {
        header: Header::Network,
        offset: 12,
        length: 4,
        to,
    }
}

pub(super) fn destination(to: Reg) -> Expr {
    Expr::Payload {
        header: Header::Network,
        offset: 16,
        length: 4,
        to,
    }
}

pub(super) fn destination_port(to: Reg) -> Expr {
    Expr::Payload {
        header: Header::Transport,
        offset: 2,
        length: 2,
        to,
    }
}

pub(super) fn is(name: Meta, link: &str) -> [Expr; 2] {
    [
        Expr::Meta(name, Reg(0)),
        Expr::Equal(Reg(0), interface(link)),
    ]
}

pub(super) fn is_not(name: Meta, link: &str) -> [Expr; 2] {
    [
        Expr::Meta(name, Reg(0)),
        Expr::NotEqual(Reg(0), interface(link)),
    ]
}

/// Comes from, or goes to, a container. Only the beginning of the name is compared.
pub(super) fn container(name: Meta) -> [Expr; 2] {
    [
        Expr::Meta(name, Reg(0)),
        Expr::Equal(Reg(0), VETH_PREFIX.as_bytes().to_vec()),
    ]
}

pub(super) fn not_container(name: Meta) -> [Expr; 2] {
    [
        Expr::Meta(name, Reg(0)),
        Expr::NotEqual(Reg(0), VETH_PREFIX.as_bytes().to_vec()),
    ]
}

/// Some of these bits of the connection's state, status or mark are set.
pub(super) fn any(key: Ct, bits: u32) -> [Expr; 3] {
    [
        Expr::Ct(key, Reg(0)),
        Expr::Mask(Reg(0), bits.to_ne_bytes().to_vec()),
        Expr::NotEqual(Reg(0), vec![0; 4]),
    ]
}

pub(super) fn mark_is(mask: u32, value: u32) -> [Expr; 3] {
    [
        Expr::Ct(Ct::Mark, Reg(0)),
        Expr::Mask(Reg(0), mask.to_ne_bytes().to_vec()),
        Expr::Equal(Reg(0), value.to_ne_bytes().to_vec()),
    ]
}

pub(super) fn direction(reply: bool) -> [Expr; 2] {
    [
        Expr::Ct(Ct::Direction, Reg(0)),
        Expr::Equal(Reg(0), vec![u8::from(reply)]),
    ]
}

pub(super) fn loopback_net(address: Expr) -> [Expr; 2] {
    [address, Expr::Equal(Reg(0), vec![127])]
}

pub(super) fn protocol(number: i32) -> [Expr; 2] {
    [
        Expr::Meta(Meta::Protocol, Reg(0)),
        Expr::Equal(Reg(0), vec![number as u8]),
    ]
}

pub(super) fn within(set: &str, key: Expr) -> [Expr; 2] {
    [
        key,
        Expr::In {
            set: set.to_owned(),
            key: Reg(0),
        },
    ]
}

pub(super) fn connection_mark_to_packet() -> [Expr; 2] {
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

pub(super) use rule;
