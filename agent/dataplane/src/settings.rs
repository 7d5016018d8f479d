//! Kernel settings below `/proc/sys/net` of the calling thread's network namespace.

use std::fs;
use std::path::PathBuf;

use crate::error::Error;

/// Reads a setting.
pub(crate) fn get(name: &str) -> Result<String, Error> {
    let path = PathBuf::from("/proc/sys/net").join(name);
    let now = fs::read_to_string(&path).map_err(|source| Error::Record { path, source })?;
    Ok(now.trim().to_owned())
}

/// Writes a setting unless it has that value already: writing some of them, `ip_forward` above all, resets
/// others.
pub(crate) fn set(name: &str, value: &str) -> Result<(), Error> {
    let path = PathBuf::from("/proc/sys/net").join(name);
    let failed = |source| Error::Setting {
        name: format!("net/{name}"),
        value: value.to_owned(),
        source,
    };
    let now = fs::read_to_string(&path).map_err(failed)?;
    if now.trim() == value {
        return Ok(());
    }
    fs::write(&path, value).map_err(failed)
}

/// What routing between containers and nodes needs of the namespace as a whole, forwarding aside.
pub(crate) fn prepare_node() -> Result<(), Error> {
    // Strict checking on all interfaces would override the tunnel's own setting, through which clients'
    // addresses arrive that are routed elsewhere. Loose checking still drops what no route leads back to.
    let all = "ipv4/conf/all/rp_filter";
    if fs::read_to_string(PathBuf::from("/proc/sys/net").join(all))
        .is_ok_and(|now| now.trim() == "1")
    {
        tracing::info!("{all} goes from strict (1) to loose (2): published ports need it");
        set(all, "2")?;
    }
    Ok(())
}

/// What a link of ours needs. `tunnel` takes packets whose sources are routed elsewhere.
pub(crate) fn prepare_link(name: &str, tunnel: bool) -> Result<(), Error> {
    // Connections from the node to its own 127.0.0.1 leave through this link when the port is published.
    set(&format!("ipv4/conf/{name}/route_localnet"), "1")?;
    if tunnel {
        set(&format!("ipv4/conf/{name}/rp_filter"), "0")?;
    }
    let ipv6 = format!("ipv6/conf/{name}/disable_ipv6");
    if PathBuf::from("/proc/sys/net").join(&ipv6).exists() {
        set(&ipv6, "1")?;
    }
    Ok(())
}
