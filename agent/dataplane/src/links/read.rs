//! Reading a namespace's links, addresses, neighbours, routes and rules.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt;
use ipnet::Ipv4Net;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourState};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute};
use rtnetlink::{IpVersion, RouteMessageBuilder};
use skep_agent_planner::network::kernel::{
    self, CONTAINER_LINK, Link, LinkKind, Mac, PREFIX, Route, Rule, State, TABLE_MAIN, VETH_PREFIX,
};

use super::underlay::Underlay;
use super::{Links, PROTOCOL, reason};
use crate::error::Error;

fn failed(objects: &'static str) -> impl FnOnce(rtnetlink::Error) -> Error {
    move |error| Error::ReadNetwork {
        objects,
        source: reason(error),
    }
}

/// What was read of a namespace.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// What is ours.
    pub(crate) state: State,
    /// The routes that are not.
    pub(crate) underlay: Underlay,
}

/// A link as it was found.
struct Found {
    name: String,
    mtu: u32,
    bridge: bool,
    link: Option<Link>,
}

impl Links {
    /// Everything of ours in this namespace, and the routes that are not.
    pub(crate) async fn read(&self) -> Result<Reading, Error> {
        let mut state = State::default();
        let names = self.links().await?;
        for found in names.values() {
            if let Some(link) = found.link {
                state.links.insert(found.name.clone(), link);
            }
        }
        let ours = |index: u32| {
            let name = &names.get(&index)?.name;
            let ours = if self.inside {
                name == CONTAINER_LINK
            } else {
                name.starts_with(PREFIX)
            };
            ours.then(|| name.clone())
        };
        self.read_addresses(&mut state, &ours).await?;
        self.read_neighbours(&mut state, &ours).await?;
        if !self.inside {
            self.read_forwards(&mut state, &ours).await?;
            self.read_rules(&mut state).await?;
        }
        let mut underlay = Underlay::default();
        for message in self.routes().await? {
            let mut through = None;
            let parsed = parse_route(&message, |index| {
                through = names.get(&index);
                through.map(|found| found.name.clone())
            });
            let Some(((table, to), route)) = parsed else {
                continue;
            };
            if message.header.protocol == PROTOCOL {
                state.routes.insert((table, to), route);
            } else if table == TABLE_MAIN
                && let Some(found) = through.filter(|found| !found.name.starts_with(PREFIX))
            {
                underlay.add(to, &found.name, found.mtu);
            }
        }
        Ok(Reading { state, underlay })
    }

    /// Names of the links that are not ours, and whether each is a bridge; loopback is none of them.
    pub(crate) async fn others(&self) -> Result<BTreeMap<String, bool>, Error> {
        let found = self.links().await?.into_values();
        Ok(found
            .filter(|found| !found.name.starts_with(PREFIX) && found.name != "lo")
            .map(|found| (found.name, found.bridge))
            .collect())
    }

    async fn links(&self) -> Result<BTreeMap<u32, Found>, Error> {
        let messages: Vec<LinkMessage> = self
            .handle
            .link()
            .get()
            .set_filter_mask(AddressFamily::Unspec, vec![LinkExtentMask::SkipStats])
            .execute()
            .try_collect()
            .await
            .map_err(failed("links"))?;
        Ok(messages
            .iter()
            .map(|message| (message.header.index, parse_link(message)))
            .collect())
    }

    async fn routes(&self) -> Result<Vec<RouteMessage>, Error> {
        let ask = RouteMessageBuilder::<Ipv4Addr>::new().build();
        self.handle
            .route()
            .get(ask)
            .execute()
            .try_collect()
            .await
            .map_err(failed("routes"))
    }

    async fn read_addresses(
        &self,
        state: &mut State,
        ours: &(dyn Fn(u32) -> Option<String> + Sync),
    ) -> Result<(), Error> {
        let messages: Vec<_> = self
            .handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(failed("addresses"))?;
        for message in messages {
            let Some(link) = ours(message.header.index) else {
                continue;
            };
            for attribute in &message.attributes {
                if let AddressAttribute::Local(IpAddr::V4(address)) = attribute {
                    state.addresses.insert((link.clone(), *address));
                }
            }
        }
        Ok(())
    }

    async fn read_neighbours(
        &self,
        state: &mut State,
        ours: &(dyn Fn(u32) -> Option<String> + Sync),
    ) -> Result<(), Error> {
        let ask = self
            .handle
            .neighbours()
            .get()
            .set_address_family(AddressFamily::Inet);
        let messages: Vec<_> = ask
            .execute()
            .try_collect()
            .await
            .map_err(failed("neighbours"))?;
        for message in messages {
            let Some(link) = ours(message.header.ifindex) else {
                continue;
            };
            if message.header.state != NeighbourState::Permanent {
                continue;
            }
            if let (Some(address), Some(mac)) = parse_neighbour(&message.attributes) {
                state.neighbours.insert((link, address), mac);
            }
        }
        Ok(())
    }

    async fn read_forwards(
        &self,
        state: &mut State,
        ours: &(dyn Fn(u32) -> Option<String> + Sync),
    ) -> Result<(), Error> {
        let ask = self
            .handle
            .neighbours()
            .get()
            .set_address_family(AddressFamily::Bridge);
        let messages: Vec<_> = ask
            .execute()
            .try_collect()
            .await
            .map_err(failed("tunnel forwards"))?;
        for message in messages {
            if ours(message.header.ifindex).is_none() {
                continue;
            }
            if let (Some(address), Some(mac)) = parse_neighbour(&message.attributes) {
                state.forwards.insert(mac, address);
            }
        }
        Ok(())
    }

    async fn read_rules(&self, state: &mut State) -> Result<(), Error> {
        let ask = self.handle.rule().get(IpVersion::V4);
        let messages: Vec<_> = ask.execute().try_collect().await.map_err(failed("rules"))?;
        for message in messages {
            let mut table = u32::from(message.header.table);
            let mut target = 0;
            let mut rule = Rule {
                priority: 0,
                mark: None,
                to: None,
                action: kernel::RuleAction::Nop,
            };
            let mut ours = false;
            let (mut mark, mut mask) = (None, None);
            for attribute in &message.attributes {
                match attribute {
                    RuleAttribute::Protocol(protocol) => ours = *protocol == PROTOCOL,
                    RuleAttribute::Priority(priority) => rule.priority = *priority,
                    RuleAttribute::Table(found) => table = *found,
                    RuleAttribute::Goto(found) => target = *found,
                    RuleAttribute::FwMark(value) => mark = Some(*value),
                    RuleAttribute::FwMask(value) => mask = Some(*value),
                    RuleAttribute::Destination(IpAddr::V4(address)) => {
                        rule.to = Ipv4Net::new(*address, message.header.dst_len).ok();
                    }
                    _ => {}
                }
            }
            // A mark of 0 is not told, its mask is.
            rule.mark = mask.map(|mask| (mark.unwrap_or(0), mask));
            rule.action = match message.header.action {
                RuleAction::ToTable => kernel::RuleAction::Table(table),
                RuleAction::Goto => kernel::RuleAction::Goto(target),
                _ => kernel::RuleAction::Nop,
            };
            if ours {
                state.rules.insert(rule);
            }
        }
        Ok(())
    }
}

fn parse_link(message: &LinkMessage) -> Found {
    let (mut name, mut mtu, mut mac) = (String::new(), 0, [0; 6]);
    let (mut kind, mut local) = (None, Ipv4Addr::UNSPECIFIED);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(found) => name.clone_from(found),
            LinkAttribute::Mtu(found) => mtu = *found,
            LinkAttribute::Address(found) => mac = found.as_slice().try_into().unwrap_or_default(),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(found) => kind = Some(found.clone()),
                        LinkInfo::Data(InfoData::Vxlan(options)) => {
                            let found = options.iter().find_map(|option| match option {
                                InfoVxlan::Local(address) => Some(*address),
                                _ => None,
                            });
                            local = found.unwrap_or(local);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let bridge = kind == Some(InfoKind::Bridge);
    let up = message.header.flags.contains(LinkFlags::Up);
    let kind = match kind {
        Some(InfoKind::Veth) if name.starts_with(VETH_PREFIX) => Some(LinkKind::Veth {
            task: None,
            peer_mac: [0; 6],
        }),
        Some(InfoKind::Vxlan) if name.starts_with(PREFIX) => Some(LinkKind::Tunnel { local }),
        _ => None,
    };
    Found {
        name,
        mtu,
        bridge,
        link: kind.map(|kind| Link { kind, mac, mtu, up }),
    }
}

fn parse_neighbour(attributes: &[NeighbourAttribute]) -> (Option<Ipv4Addr>, Option<Mac>) {
    let (mut address, mut mac) = (None, None);
    for attribute in attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => {
                address = Some(*found)
            }
            // The tunnel's entries are told without their family.
            NeighbourAttribute::Destination(NeighbourAddress::Other(found)) => {
                let octets: Option<[u8; 4]> = found.as_slice().try_into().ok();
                address = octets.map(Ipv4Addr::from);
            }
            NeighbourAttribute::LinkLayerAddress(found) => mac = found.as_slice().try_into().ok(),
            _ => {}
        }
    }
    (address, mac)
}

fn parse_route(
    message: &RouteMessage,
    mut name: impl FnMut(u32) -> Option<String>,
) -> Option<((u32, Ipv4Net), Route)> {
    if message.header.address_family != AddressFamily::Inet {
        return None;
    }
    let mut table = u32::from(message.header.table);
    let mut to = Ipv4Addr::UNSPECIFIED;
    let mut route = Route {
        onlink: message.header.flags.contains(RouteFlags::Onlink),
        on_link_scope: message.header.scope == RouteScope::Link,
        ..Route::default()
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(found) => table = *found,
            RouteAttribute::Destination(RouteAddress::Inet(found)) => to = *found,
            RouteAttribute::Gateway(RouteAddress::Inet(found)) => route.gateway = Some(*found),
            RouteAttribute::PrefSource(RouteAddress::Inet(found)) => route.source = Some(*found),
            RouteAttribute::Oif(index) if message.header.kind == RouteType::Unicast => {
                route.link = name(*index)
            }
            _ => {}
        }
    }
    let to = Ipv4Net::new(to, message.header.destination_prefix_length).ok()?;
    Some(((table, to), route))
}
