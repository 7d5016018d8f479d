//! What skep's nftables table of the node says: isolation, no forged addresses, virtual addresses, published
//! ports, the way out. Pure: from a [`Desired`] to a [`Table`].
//!
//! The chains hardly ever change. All that comes and goes with networks, services and tasks is in sets and
//! maps; chains that depend on it exist once per *number* of backends, not per service.

mod chains;
mod parts;
mod sets;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use skep_agent_planner::network::Desired;
use skep_agent_planner::network::kernel::{MARK_INGRESS, MARK_MASQUERADE};

use crate::nft::expr::{Expr, Meta, Reg};
use crate::nft::table::{Base, Chain, Hook, Kind, Table};
use chains::{forward, mark_in, mark_out, nat_in, nat_out, nat_post, none, publish, raw, vip};
use parts::{destination, destination_port};

pub(crate) use sets::known_backends;

/// Name of the node's table, and the only one ever touched there.
pub(crate) const TABLE: &str = "skep";
/// Name of the table inside each container.
pub(crate) const DNS_TABLE: &str = "skep-dns";

type Rule = Vec<Expr>;

/// The node's table. Nothing new is forwarded between the `outer` links.
pub(crate) fn node(desired: &Desired, outer: &BTreeSet<String>) -> Table {
    let mut table = Table {
        name: TABLE.to_owned(),
        sets: sets::all(desired, outer),
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
pub(crate) fn resolver(address: Ipv4Addr, port: u16) -> Table {
    let rule = |protocol: i32| {
        vec![
            destination(Reg(0)),
            Expr::Equal(Reg(0), address.octets().to_vec()),
            Expr::Meta(Meta::Protocol, Reg(0)),
            Expr::Equal(Reg(0), vec![protocol as u8]),
            destination_port(Reg(0)),
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

#[cfg(test)]
mod tests;
