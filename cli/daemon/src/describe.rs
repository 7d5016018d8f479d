//! What this machine is.

use crate::args::DaemonArgs;
use crate::resources;
use anyhow::{Result, bail};
use skep_types::{ByteCount, Labels, NanoCpus, NodeDescription, NodeTls, Platform};

/// Version of this build.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// This machine, in the words managers are told.
pub(crate) fn machine(args: &DaemonArgs) -> Result<NodeDescription> {
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let (cpus, memory) = (NanoCpus(cpus * 1_000_000_000), memory());
    let (reserved_cpus, reserved_memory) = resources::system_reserve(&args.system_reserve)?;
    if reserved_cpus >= cpus || (memory > ByteCount(0) && reserved_memory >= memory) {
        bail!(
            "--system-reserve {:?} leaves nothing for tasks: this machine has {} CPUs and {} MiB \
             of memory",
            args.system_reserve,
            cpus.0 / 1_000_000_000,
            memory.0 / (1024 * 1024)
        );
    }
    Ok(NodeDescription {
        hostname: hostname(),
        platform: Platform {
            os: "linux".to_owned(),
            architecture: match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            }
            .to_owned(),
        },
        cpus,
        memory,
        reserved_cpus,
        reserved_memory,
        generic: resources::generic(&args.node_generic_resource)?,
        engine_version: VERSION.to_owned(),
        engine_labels: labels(&args.labels)?,
        wireguard_key: [0; 32],
        data_path: None,
        tls: NodeTls::default(),
    })
}

fn labels(given: &[String]) -> Result<Labels> {
    let mut labels = Labels::new();
    for label in given {
        match label.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                labels.insert(key.to_owned(), value.to_owned());
            }
            _ => bail!("--label {label:?} is not of the form KEY=VALUE"),
        }
    }
    Ok(labels)
}

pub(crate) fn hostname() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "localhost".to_owned())
}

pub(crate) fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map(|release| release.trim().to_owned())
        .unwrap_or_default()
}

fn memory() -> ByteCount {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| {
            rest.trim()
                .trim_end_matches("kB")
                .trim()
                .parse::<u64>()
                .ok()
        });
    ByteCount(kib.unwrap_or_default() * 1024)
}
