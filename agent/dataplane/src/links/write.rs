//! Making one step of a plan happen.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::path::Path;

use ipnet::Ipv4Net;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, InfoVxlan};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAttribute, RouteFlags, RouteMessage, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVxlan, RouteMessageBuilder};
use skep_agent_planner::network::kernel::{
    self, CONTAINER_LINK, Link, LinkKind, Mac, Route, Rule, Step, TUNNEL, TUNNEL_PORT,
};

use super::{Links, PROTOCOL, TUNNEL_ID, is_code, reason};
use crate::error::Error;
use crate::settings;

const GONE: [i32; 4] = [libc::ESRCH, libc::ENOENT, libc::ENODEV, libc::EADDRNOTAVAIL];

impl Links {
    /// Makes a step happen. `namespace` is where a container's namespace is mounted, for links into it.
    pub(crate) async fn apply(&self, step: &Step, namespace: Option<&Path>) -> Result<(), Error> {
        match step {
            Step::AddLink(name, link) => self.add_link(name, link, namespace).await,
            Step::SetMtu(name, mtu) => self.set_up(name, Some(*mtu)).await,
            Step::RemoveLink(name) => match self.find(name).await? {
                Some(seen) => {
                    let result = self.handle.link().del(seen.index).execute().await;
                    accept(result, &GONE, || format!("remove link {name}"))
                }
                None => Ok(()),
            },
            Step::AddAddress(link, address) => {
                let index = self.index(link).await?;
                let add = self.handle.address().add(index, IpAddr::V4(*address), 32);
                accept(add.execute().await, &[libc::EEXIST], || {
                    format!("add address {address} to {link}")
                })
            }
            Step::RemoveAddress(link, address) => {
                let mut message = AddressMessage::default();
                message.header.family = AddressFamily::Inet;
                message.header.prefix_len = 32;
                message.header.index = self.index(link).await?;
                message
                    .attributes
                    .push(AddressAttribute::Local(IpAddr::V4(*address)));
                let result = self.handle.address().del(message).execute().await;
                accept(result, &GONE, || {
                    format!("remove address {address} from {link}")
                })
            }
            Step::SetRoute(table, to, route) => {
                let message = self.route(*table, *to, route).await?;
                let result = self.handle.route().add(message).replace().execute().await;
                accept(result, &[], || {
                    format!("set route to {to} in table {table}")
                })
            }
            Step::RemoveRoute(table, to, route) => {
                let message = match self.route(*table, *to, route).await {
                    Ok(message) => message,
                    // Its link went, and the route with it.
                    Err(Error::NoLink { .. }) => return Ok(()),
                    Err(error) => return Err(error),
                };
                let result = self.handle.route().del(message).execute().await;
                accept(result, &GONE, || {
                    format!("remove route to {to} from table {table}")
                })
            }
            Step::SetNeighbour(link, address, mac) => {
                let index = self.index(link).await?;
                let add = self
                    .handle
                    .neighbours()
                    .add(index, IpAddr::V4(*address))
                    .link_layer_address(mac);
                accept(add.replace().execute().await, &[], || {
                    format!("set neighbour {address} on {link}")
                })
            }
            Step::RemoveNeighbour(link, address) => {
                let mut message = NeighbourMessage::default();
                message.header.family = AddressFamily::Inet;
                message.header.ifindex = self.index(link).await?;
                let address = NeighbourAddress::Inet(*address);
                message
                    .attributes
                    .push(NeighbourAttribute::Destination(address.clone()));
                let result = self.handle.neighbours().del(message).execute().await;
                accept(result, &GONE, || {
                    format!("forget neighbour {address:?} on {link}")
                })
            }
            Step::SetForward(mac, address) => {
                let index = self.index(TUNNEL).await?;
                let add = self
                    .handle
                    .neighbours()
                    .add_bridge(index, mac)
                    .destination(IpAddr::V4(*address))
                    .flags(NeighbourFlags::Own);
                accept(add.replace().execute().await, &[], || {
                    format!("send tunnel frames to {address}")
                })
            }
            Step::RemoveForward(mac, address) => self.remove_forward(mac, *address).await,
            Step::AddRule(rule) => {
                let mut add = self.handle.rule().add().v4();
                *add.message_mut() = rule_message(rule);
                accept(add.execute().await, &[libc::EEXIST], || {
                    format!("add rule {}", rule.priority)
                })
            }
            Step::RemoveRule(rule) => {
                let result = self.handle.rule().del(rule_message(rule)).execute().await;
                accept(result, &GONE, || format!("remove rule {}", rule.priority))
            }
        }
    }

    async fn remove_forward(&self, mac: &Mac, address: Ipv4Addr) -> Result<(), Error> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.header.ifindex = self.index(TUNNEL).await?;
        message.header.state = NeighbourState::Permanent;
        message.header.flags = NeighbourFlags::Own;
        message
            .attributes
            .push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
        message
            .attributes
            .push(NeighbourAttribute::Destination(NeighbourAddress::Inet(
                address,
            )));
        let result = self.handle.neighbours().del(message).execute().await;
        accept(result, &GONE, || {
            format!("stop sending tunnel frames to {address}")
        })
    }

    async fn add_link(
        &self,
        name: &str,
        link: &Link,
        namespace: Option<&Path>,
    ) -> Result<(), Error> {
        let step = || format!("add link {name}");
        let (message, tunnel, _open) = match link.kind {
            LinkKind::Tunnel { local } => {
                let message = LinkMessageBuilder::<LinkVxlan>::new(name)
                    .id(TUNNEL_ID)
                    .port(TUNNEL_PORT)
                    .append_info_data(InfoVxlan::Local(local))
                    .append_info_data(InfoVxlan::Learning(false))
                    .append_info_data(InfoVxlan::UDPCsum(false))
                    .address(link.mac.to_vec())
                    .mtu(link.mtu);
                (message.build(), true, None)
            }
            LinkKind::Veth { peer_mac, .. } => {
                let path = namespace.unwrap_or(Path::new(""));
                let open = File::open(path).map_err(|source| Error::Namespace {
                    operation: "open",
                    path: path.to_owned(),
                    source,
                })?;
                let peer = LinkMessageBuilder::<LinkUnspec>::new()
                    .name(CONTAINER_LINK)
                    .address(peer_mac.to_vec())
                    .mtu(link.mtu)
                    .setns_by_fd(open.as_raw_fd())
                    .build();
                let message = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
                    .name(name)
                    .address(link.mac.to_vec())
                    .mtu(link.mtu)
                    .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)));
                (message.build(), false, Some(open))
            }
        };
        accept(
            self.handle.link().add(message).execute().await,
            &[libc::EEXIST],
            step,
        )?;
        settings::prepare_link(name, tunnel)?;
        self.set_up(name, None).await
    }

    async fn route(&self, table: u32, to: Ipv4Net, route: &Route) -> Result<RouteMessage, Error> {
        let mut builder = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(to.network(), to.prefix_len())
            .table_id(table)
            .protocol(PROTOCOL);
        match &route.link {
            Some(link) => builder = builder.output_interface(self.index(link).await?),
            None => builder = builder.kind(RouteType::BlackHole),
        }
        if let Some(gateway) = route.gateway {
            builder = builder.gateway(gateway);
        }
        if let Some(source) = route.source {
            builder = builder.pref_source(source);
        }
        if route.on_link_scope {
            builder = builder.scope(RouteScope::Link);
        }
        let mut message = builder.build();
        if route.onlink {
            message.header.flags |= RouteFlags::Onlink;
        }
        // The kernel wants no destination for the default route.
        if to.prefix_len() == 0 {
            message
                .attributes
                .retain(|attribute| !matches!(attribute, RouteAttribute::Destination(_)));
        }
        Ok(message)
    }
}

fn rule_message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = AddressFamily::Inet;
    match rule.action {
        kernel::RuleAction::Table(table) => {
            message.header.action = RuleAction::ToTable;
            match u8::try_from(table) {
                Ok(table) => message.header.table = table,
                Err(_) => message.attributes.push(RuleAttribute::Table(table)),
            }
        }
        kernel::RuleAction::Goto(target) => {
            message.header.action = RuleAction::Goto;
            message.attributes.push(RuleAttribute::Goto(target));
        }
        kernel::RuleAction::Nop => message.header.action = RuleAction::Nop,
    }
    message
        .attributes
        .push(RuleAttribute::Priority(rule.priority));
    message.attributes.push(RuleAttribute::Protocol(PROTOCOL));
    if let Some((mark, mask)) = rule.mark {
        message.attributes.push(RuleAttribute::FwMark(mark));
        message.attributes.push(RuleAttribute::FwMask(mask));
    }
    if let Some(to) = rule.to {
        message.header.dst_len = to.prefix_len();
        message
            .attributes
            .push(RuleAttribute::Destination(IpAddr::V4(to.network())));
    }
    message
}

/// Some refusals only say that the step was made before.
fn accept(
    result: Result<(), rtnetlink::Error>,
    harmless: &[i32],
    step: impl FnOnce() -> String,
) -> Result<(), Error> {
    match result {
        Err(error) if is_code(&error, harmless) => Ok(()),
        Err(error) => Err(Error::ChangeNetwork {
            step: step(),
            source: reason(error),
        }),
        Ok(()) => Ok(()),
    }
}
