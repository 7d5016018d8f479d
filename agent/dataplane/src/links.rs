//! Links, addresses, neighbours, routes and policy rules of one network namespace, by route netlink: read as
//! a [`State`], changed by [`Step`]s.
//!
//! What should be there is decided in [`skep_agent_planner::network::kernel`].

mod read;
mod underlay;
mod write;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{
    InfoKind, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::route::RouteProtocol;
use rtnetlink::{Handle, LinkUnspec};

pub(crate) use read::Reading;

use crate::error::Error;
use crate::netns;

/// Marks our routes and rules among those of others.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(0x5b);
/// The VXLAN network identifier of the tunnel.
const TUNNEL_ID: u32 = 1;

/// The kernel's reason in its own words.
fn reason(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}

/// Whether a refusal says that the thing is there already, or is gone already.
fn is_code(error: &rtnetlink::Error, codes: &[i32]) -> bool {
    match error {
        rtnetlink::Error::NetlinkError(message) => message
            .code
            .is_some_and(|code| codes.contains(&-code.get())),
        _ => false,
    }
}

/// What [`Links::find`] tells of a link.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) index: u32,
    /// Largest packet in bytes.
    pub(crate) mtu: u32,
    /// It is set up.
    pub(crate) up: bool,
    /// The kernel's own WireGuard.
    pub(crate) kernel_wireguard: bool,
}

fn seen(link: &LinkMessage) -> Seen {
    let mut seen = Seen {
        index: link.header.index,
        up: link.header.flags.contains(LinkFlags::Up),
        ..Seen::default()
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => seen.mtu = *mtu,
            LinkAttribute::LinkInfo(infos) => {
                seen.kernel_wireguard = infos.contains(&LinkInfo::Kind(InfoKind::Wireguard));
            }
            _ => {}
        }
    }
    seen
}

/// The links of one network namespace.
#[derive(Debug, Clone)]
pub(crate) struct Links {
    handle: Handle,
    /// A container's namespace rather than the node's.
    inside: bool,
    /// Numbers of links inside a container, where none is ever made anew.
    known: Arc<Mutex<HashMap<String, u32>>>,
}

impl Links {
    /// Those of the node: of the calling thread's namespace.
    pub(crate) fn open() -> Result<Self, Error> {
        Ok(Links {
            handle: connect()?,
            inside: false,
            known: Arc::default(),
        })
    }

    /// Those of the namespace mounted at `path`.
    pub(crate) async fn open_container(path: PathBuf) -> Result<Self, Error> {
        let handle = netns::within(path, connect).await?;
        Ok(Links {
            handle,
            inside: true,
            known: Arc::default(),
        })
    }

    /// A link as far as it concerns us; none if there is no such link.
    pub(crate) async fn find(&self, name: &str) -> Result<Option<Seen>, Error> {
        let found = self
            .handle
            .link()
            .get()
            .match_name(name)
            .set_filter_mask(AddressFamily::Unspec, vec![LinkExtentMask::SkipStats])
            .execute()
            .try_next()
            .await;
        match found {
            Ok(found) => Ok(found.map(|link| seen(&link))),
            Err(error) if is_code(&error, &[libc::ENODEV]) => Ok(None),
            Err(error) => Err(Error::ReadNetwork {
                objects: "links",
                source: reason(error),
            }),
        }
    }

    async fn index(&self, name: &str) -> Result<u32, Error> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = known().get(name) {
            return Ok(*index);
        }
        match self.find(name).await? {
            Some(seen) => {
                if self.inside {
                    known().insert(name.to_owned(), seen.index);
                }
                Ok(seen.index)
            }
            None => Err(Error::NoLink {
                name: name.to_owned(),
            }),
        }
    }

    /// Sets a link up, with this largest packet if one is given.
    pub(crate) async fn set_up(&self, name: &str, mtu: Option<u32>) -> Result<(), Error> {
        let mut message = LinkUnspec::new_with_index(self.index(name).await?).up();
        if let Some(mtu) = mtu {
            message = message.mtu(mtu);
        }
        let step = || format!("set up link {name}");
        let result = self.handle.link().set(message.build()).execute().await;
        result.map_err(|error| Error::ChangeNetwork {
            step: step(),
            source: reason(error),
        })
    }
}

fn connect() -> Result<Handle, Error> {
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(|source| Error::OpenNetlink {
            family: "route",
            source,
        })?;
    tokio::spawn(connection);
    Ok(handle)
}
