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
    resolve(given, CONTROL_PORT, "--listen-addr")
}

/// Where others reach this node: as given, or the only address there is.
pub(crate) fn advertise(given: &str, listen: SocketAddr) -> Result<SocketAddr> {
    if !given.is_empty() {
        return reachable(given, CONTROL_PORT);
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

/// The address given to advertise, if others can reach it.
fn reachable(given: &str, port: u16) -> Result<SocketAddr> {
    let address = resolve(given, port, "--advertise-addr")?;
    if address.ip().is_unspecified() {
        bail!("--advertise-addr must be an address that other nodes can reach, not {given}");
    }
    Ok(address)
}

/// Where others reach a node that was reached at `known` before: the address
/// given, the one it has, or the one that the interface has now which had it.
/// Without another port in what is given, the port stays.
/// An address that was never this machine's own (one of a router that passes
/// everything on) stays.
pub(crate) fn present(
    known: SocketAddr,
    interface: Option<&str>,
    given: &str,
) -> Result<SocketAddr> {
    if !given.is_empty() {
        return reachable(given, known.port());
    }
    Ok(moved(known, interface, &interfaces()?))
}

fn moved(
    known: SocketAddr,
    interface: Option<&str>,
    now: &BTreeMap<String, Vec<Ipv4Addr>>,
) -> SocketAddr {
    let Some(name) = interface else { return known };
    if now.values().flatten().any(|address| *address == known.ip()) {
        return known;
    }
    match now.get(name).map(Vec::as_slice) {
        Some([address]) => SocketAddr::new(IpAddr::V4(*address), known.port()),
        _ => {
            tracing::error!(
                address = %known,
                interface = name,
                "this node's address is gone, and its interface does not have exactly one \
                 other; name one with skep daemon --advertise-addr"
            );
            known
        }
    }
}

/// The interface of this machine with this address.
pub(crate) fn interface_of(address: IpAddr) -> Option<String> {
    let has = |(name, addresses): (String, Vec<Ipv4Addr>)| {
        addresses.iter().any(|a| *a == address).then_some(name)
    };
    interfaces().ok()?.into_iter().find_map(has)
}

/// An address, or the name of an interface with one address; with a port, or
/// with this one.
fn resolve(given: &str, port: u16, flag: &str) -> Result<SocketAddr> {
    if let Ok(address) = given.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let Ok(ip) = given.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let (name, port) = match given.rsplit_once(':') {
        Some((name, port)) => (
            name,
            port.parse()
                .with_context(|| format!("{flag}: {port:?} is not a port"))?,
        ),
        None => (given, port),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_address_keeps_the_port_and_can_be_reached() {
        let known: SocketAddr = "10.0.0.1:2400".parse().unwrap();
        let now = |given| present(known, Some("eth0"), given).map(|a| a.to_string());
        assert_eq!(now("10.0.0.9").unwrap(), "10.0.0.9:2400");
        assert_eq!(now("10.0.0.9:2500").unwrap(), "10.0.0.9:2500");
        for refused in ["0.0.0.0", "0.0.0.0:2400", "::", "no-such-if0"] {
            let error = now(refused).unwrap_err().to_string();
            assert!(error.contains(refused), "{error}");
        }
    }

    #[test]
    fn an_address_is_followed_only_where_it_is_clear_whereto() {
        let now = |table: &[(&str, &[&str])]| -> BTreeMap<String, Vec<Ipv4Addr>> {
            let parse = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect();
            let row = |(name, list): &(&str, &[&str])| ((*name).to_owned(), parse(list));
            table.iter().map(row).collect()
        };
        let known: SocketAddr = "10.0.0.1:2400".parse().unwrap();
        for (interface, table, expected) in [
            (
                Some("eth0"),
                now(&[("eth0", &["10.0.0.1"])]),
                "10.0.0.1:2400",
            ),
            (
                Some("eth0"),
                now(&[("eth0", &["10.0.0.9"])]),
                "10.0.0.9:2400",
            ),
            // Another interface has it now.
            (
                Some("eth0"),
                now(&[("eth0", &["10.0.0.9"]), ("bond0", &["10.0.0.1"])]),
                "10.0.0.1:2400",
            ),
            (
                Some("eth0"),
                now(&[("eth0", &["10.0.0.8", "10.0.0.9"])]),
                "10.0.0.1:2400",
            ),
            (
                Some("eth0"),
                now(&[("eth1", &["10.0.0.9"])]),
                "10.0.0.1:2400",
            ),
            // A router's.
            (None, now(&[("eth0", &["192.168.0.2"])]), "10.0.0.1:2400"),
        ] {
            assert_eq!(
                moved(known, interface, &table).to_string(),
                expected,
                "{table:?}"
            );
        }
    }
}
