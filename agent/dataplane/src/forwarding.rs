//! Forwarding of packets, which containers need: turned on for them, and as nobody else's way through the node.
//!
//! A node that forwarded nothing must not become its neighbours' router. The links that were there when we
//! turned forwarding on are written down, and new connections from one of them to another are dropped. A link
//! that comes later (of dockerd, of a virtual machine, of a VPN) comes with a purpose and is left alone; so is
//! a node that forwarded before.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::links::Links;
use crate::settings;

const SETTING: &str = "ipv4/ip_forward";

/// Where the links are written down, a line each. It does not outlast a restart of the machine, as the
/// setting does not.
fn record(run_dir: &Path) -> PathBuf {
    run_dir.join("forwarding")
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Record { path, source }
}

/// Turns forwarding on; gives the links between which nothing is to be forwarded.
pub(crate) async fn turn_on(links: &Links, run_dir: &Path) -> Result<BTreeSet<String>, Error> {
    let path = record(run_dir);
    if settings::get(SETTING)? == "1" {
        return match fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(failed(&path)(error)),
        };
    }
    // What a bridge joins may be forwarded by other rules than those of routing.
    let others = links.others().await?.into_iter();
    let before: BTreeSet<String> = others
        .filter(|(_, bridge)| !bridge)
        .map(|(name, _)| name)
        .collect();
    let text: String = before.iter().map(|name| format!("{name}\n")).collect();
    fs::create_dir_all(run_dir).map_err(failed(run_dir))?;
    // Before the setting: else nobody would know whose it is.
    fs::write(&path, text).map_err(failed(&path))?;
    settings::set(SETTING, "1")?;
    Ok(before)
}

/// Turns forwarding off again if it was we who turned it on, and no link came since that may need it.
pub(crate) async fn turn_off(links: &Links, run_dir: &Path) -> Result<(), Error> {
    let path = record(run_dir);
    let before = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(&path)(error)),
    };
    let others = links.others().await?;
    if others
        .keys()
        .all(|name| before.lines().any(|line| line == name))
    {
        settings::set(SETTING, "0")?;
    }
    fs::remove_file(&path).map_err(failed(&path))
}
