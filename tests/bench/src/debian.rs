//! Programs out of Debian's packages, fetched and unpacked, not installed: that
//! would start services on this machine.

use skep_e2e::command;
use skep_e2e::programs::root;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);

/// The folder into which `packages` are unpacked, once `proof` is in it; nothing
/// if they cannot be had.
#[must_use]
pub fn unpacked(folder: &str, packages: &[&str], proof: &str) -> Option<PathBuf> {
    let place = root().join("target").join(folder);
    if place.join(proof).is_file() {
        return Some(place);
    }
    std::fs::create_dir_all(&place).ok()?;
    let script = format!(
        "apt-get download -qq -o APT::Sandbox::User=root {} && for d in *.deb; do dpkg-deb -x $d . && rm $d; done",
        packages.join(" ")
    );
    let mut fetch = Command::new("sh");
    let fetched = command::run(fetch.current_dir(&place).args(["-c", &script]), SOON);
    if fetched.code != 0 {
        eprintln!("{fetched}");
    }
    place.join(proof).is_file().then_some(place)
}
