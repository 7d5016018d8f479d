//! Which of this machine's addresses other nodes should use.

use anyhow::{Context, Result, bail};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Port for everything between nodes.
pub(crate) const CONTROL_PORT: u16 = 2377;

/// Where to listen: an address, an interface's, or everywhere.
pub(crate) fn listen(given: &str) -> Result<SocketAddr> {
    if given.is_empty() {
        return Ok(SocketAddr::new(
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            CONTROL_PORT,
        ));
    }
    resolve(given, "--listen-addr")
}

/// Where others reach this node: as given, or the only address there is.
pub(crate) fn advertise(given: &str, listen: SocketAddr) -> Result<SocketAddr> {
    if !given.is_empty() {
        let address = resolve(given, "--advertise-addr")?;
        if address.ip().is_unspecified() {
            bail!("--advertise-addr must be an address that other nodes can reach, not {given}");
        }
        return Ok(address);
    }
    if !listen.ip().is_unspecified() {
        return Ok(listen);
    }
    let usable: Vec<(String, Ipv4Addr)> = interfaces()?
        .into_iter()
        .flat_map(|(name, addresses)| addresses.into_iter().map(move |a| (name.clone(), a)))
        .collect();
    match usable.as_slice() {
        [(_, address)] => Ok(SocketAddr::new(IpAddr::V4(*address), listen.port())),
        [] => bail!("this machine has no address to advertise; specify one with --advertise-addr"),
        several => {
            let list: Vec<String> = several
                .iter()
                .map(|(name, address)| format!("{address} on {name}"))
                .collect();
            bail!(
                "could not choose an IP address to advertise since this system has multiple \
                 addresses: {} - specify one with --advertise-addr",
                list.join(", ")
            )
        }
    }
}

/// An address, `address:port`, or the name of an interface with one address.
fn resolve(given: &str, flag: &str) -> Result<SocketAddr> {
    if let Ok(address) = given.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let Ok(ip) = given.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, CONTROL_PORT));
    }
    let (name, port) = match given.rsplit_once(':') {
        Some((name, port)) => (
            name,
            port.parse()
                .with_context(|| format!("{flag}: {port:?} is not a port"))?,
        ),
        None => (given, CONTROL_PORT),
    };
    match interfaces()?.get(name).map(Vec::as_slice) {
        Some([address]) => Ok(SocketAddr::new(IpAddr::V4(*address), port)),
        Some(_) => bail!("{flag}: interface {name} has more than one address; name one of them"),
        None => bail!("{flag}: {given:?} is neither an address nor an interface of this machine"),
    }
}

/// IPv4 addresses of interfaces that lead somewhere, ours left out.
fn interfaces() -> Result<BTreeMap<String, Vec<Ipv4Addr>>> {
    let mut found: BTreeMap<String, Vec<Ipv4Addr>> = BTreeMap::new();
    for interface in getifaddrs().context("cannot list the addresses of this machine")? {
        let name = interface.interface_name;
        let ours = name.starts_with("skep") || name.starts_with("docker");
        let up = interface.flags.contains(InterfaceFlags::IFF_UP)
            && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let address = interface
            .address
            .as_ref()
            .and_then(|a| a.as_sockaddr_in().map(|a| a.ip()));
        if let (false, true, Some(address)) = (ours, up, address) {
            found.entry(name).or_default().push(address);
        }
    }
    Ok(found)
}
