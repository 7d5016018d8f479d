//! The OCI configuration of a container: Docker's defaults plus what the spec
//! asks for.
//!
//! Capabilities, seccomp, working directory and environment are applied by the
//! shim itself (see `skep_agent_shim_api::ProcessSpec`), because libcontainer
//! has holes there; so they are left out here.

use crate::devices::Devices;
use crate::request::ContainerRequest;
use crate::rootfs::FileMount;
use crate::{Error, Result};
use nix::sys::resource::{Resource, getrlimit};
use serde_json::{Map, Value, json};
use skep_agent_shim_api::{Bundle, Cgroup, DeviceRule, ProcessSpec};
use skep_types::{ContainerSpec, Ipc, Resources, Ulimit};
use std::path::Path;

/// Size of `/dev/shm` unless the spec says otherwise, in bytes.
const SHM_BYTES: u64 = 64 << 20;
/// Processes and threads a container may have unless the spec says otherwise.
const PIDS_LIMIT: u64 = 4096;
/// Period of the CPU quota, in microseconds.
const CPU_PERIOD: u64 = 100_000;

const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// What else the configuration needs.
pub(crate) struct Parts<'a> {
    pub(crate) bundle: &'a Bundle,
    pub(crate) request: &'a ContainerRequest,
    pub(crate) process: &'a ProcessSpec,
    pub(crate) hostname: &'a str,
    pub(crate) cgroup_path: &'a str,
    pub(crate) devices: &'a Devices,
    /// Volumes, binds, tmpfs: target and OCI mount, outer ones first.
    pub(crate) volumes: Vec<(String, Value)>,
    pub(crate) files: Vec<FileMount>,
}

/// The configuration as libcontainer reads it.
pub(crate) fn build(parts: Parts<'_>) -> Result<Value> {
    let spec = &parts.request.spec;
    let mut process = json!({
        "terminal": spec.tty,
        "args": parts.process.args,
        "env": parts.process.env,
        "cwd": "/",
        "user": {
            "uid": parts.process.uid,
            "gid": parts.process.gid,
            "additionalGids": parts.process.groups,
        },
    });
    if !spec.ulimits.is_empty() {
        let limits: Result<Vec<Value>> = spec.ulimits.iter().map(rlimit).collect();
        process["rlimits"] = Value::from(limits?);
    }
    let cgroup = Cgroup::locate(parts.cgroup_path)
        .map_err(Error::file("find the cgroup", parts.cgroup_path))?;
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": parts.bundle.rootfs(), "readonly": spec.read_only},
        "mounts": mounts(&parts),
        "linux": {
            "namespaces": namespaces(&parts),
            "cgroupsPath": parts.cgroup_path,
            "resources": resources(&parts.request.resources, &parts.devices.allowed, &cgroup),
            "sysctl": sysctls(spec)?,
        },
    });
    if !parts.devices.nodes.is_empty() {
        config["linux"]["devices"] = json!(parts.devices.nodes);
    }
    if !(spec.privileged || spec.system_paths_unconfined) {
        config["linux"]["maskedPaths"] = json!(MASKED);
        config["linux"]["readonlyPaths"] = json!(READ_ONLY);
    }
    // It would be the node's that is changed.
    if !spec.host_uts {
        config["hostname"] = json!(parts.hostname);
    }
    Ok(config)
}

/// Those that the container has of its own.
fn namespaces(parts: &Parts<'_>) -> Vec<Value> {
    let spec = &parts.request.spec;
    let own = [
        ("pid", !spec.host_pid),
        ("mount", true),
        ("ipc", spec.ipc != Ipc::Host),
        ("uts", !spec.host_uts),
        ("cgroup", true),
    ];
    let own = own.into_iter().filter(|(_, own)| *own);
    let mut namespaces: Vec<Value> = own.map(|(kind, _)| json!({"type": kind})).collect();
    let mut network = json!({"type": "network"});
    if parts.request.netns.is_some() {
        network["path"] = json!(parts.bundle.netns());
    }
    namespaces.push(network);
    namespaces
}

fn mounts(parts: &Parts<'_>) -> Vec<Value> {
    let spec = &parts.request.spec;
    let shm = spec.shm_size.map_or(SHM_BYTES, |size| size.0);
    let system = if spec.privileged { "rw" } else { "ro" };
    let standard = [
        ("/proc", "proc", "nosuid,noexec,nodev".to_owned()),
        (
            "/dev",
            "tmpfs",
            "nosuid,strictatime,mode=755,size=65536k".to_owned(),
        ),
        (
            "/dev/pts",
            "devpts",
            "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5".to_owned(),
        ),
        ("/sys", "sysfs", format!("nosuid,noexec,nodev,{system}")),
        (
            "/sys/fs/cgroup",
            "cgroup",
            format!("nosuid,noexec,nodev,relatime,{system}"),
        ),
        ("/dev/mqueue", "mqueue", "nosuid,noexec,nodev".to_owned()),
        (
            "/dev/shm",
            "tmpfs",
            format!("nosuid,noexec,nodev,mode=1777,size={shm}"),
        ),
    ];
    let taken = |target: &str| {
        parts
            .volumes
            .iter()
            .any(|(other, _)| Path::new(other) == Path::new(target))
    };
    let ipc = spec.ipc;
    let mut mounts = Vec::new();
    for (target, kind, options) in standard {
        if taken(target) {
            continue;
        }
        if target != "/dev/shm" || ipc == Ipc::Private {
            mounts.push(json!({
                "destination": target,
                "type": kind,
                "source": kind,
                "options": options.split(',').collect::<Vec<_>>(),
            }));
        }
    }
    if ipc == Ipc::Host && !taken("/dev/shm") {
        mounts.push(json!({
            "destination": "/dev/shm",
            "type": "bind",
            "source": "/dev/shm",
            "options": ["rbind", "rprivate", "nosuid", "nodev", "noexec"],
        }));
    }
    mounts.extend(parts.volumes.iter().map(|(_, mount)| mount.clone()));
    for file in &parts.files {
        // A volume at the very place of a generated file wins.
        if !taken(&file.target) {
            let options: &[&str] = if file.read_only {
                &["rbind", "rprivate", "ro", "nosuid", "nodev", "noexec"]
            } else {
                &["rbind", "rprivate", "rw"]
            };
            mounts.push(json!({
                "destination": file.target,
                "type": "bind",
                "source": file.source,
                "options": options,
            }));
        }
    }
    mounts
}

fn resources(limits: &Resources, allowed: &[DeviceRule], cgroup: &Cgroup) -> Value {
    let mut memory = Map::new();
    if limits.memory_limit.0 > 0 {
        memory.insert("limit".into(), json!(limits.memory_limit.0));
        // Docker's rule: as much swap again. Only where swap is accounted.
        // On v2 libcontainer sets the difference, as swap is apart there.
        if cgroup.limits_swap() {
            memory.insert(
                "swap".into(),
                json!(limits.memory_limit.0.saturating_mul(2)),
            );
        }
    }
    if limits.memory_reservation.0 > 0 {
        memory.insert("reservation".into(), json!(limits.memory_reservation.0));
    }
    let mut resources = Map::new();
    if !memory.is_empty() {
        resources.insert("memory".into(), Value::Object(memory));
    }
    if limits.cpu_limit.0 > 0 {
        // The kernel takes no quota below a millisecond.
        let quota = (limits.cpu_limit.0 / (1_000_000_000 / CPU_PERIOD)).max(1000);
        resources.insert("cpu".into(), json!({"quota": quota, "period": CPU_PERIOD}));
    }
    let default = cgroup.offers("pids").then_some(PIDS_LIMIT);
    let pids = limits.pids_limit.filter(|limit| *limit > 0).or(default);
    if let Some(pids) = pids {
        resources.insert("pids".into(), json!({"limit": pids}));
    }
    let mut devices = vec![json!({"allow": false, "access": "rwm"})];
    devices.extend(allowed.iter().map(|rule| {
        let mut device = json!({
            "allow": true,
            "type": rule.kind.to_string(),
            "access": rule.access,
        });
        if let Some(major) = rule.major {
            device["major"] = json!(major);
        }
        if let Some(minor) = rule.minor {
            device["minor"] = json!(minor);
        }
        device
    }));
    resources.insert("devices".into(), Value::from(devices));
    Value::Object(resources)
}

fn sysctls(spec: &ContainerSpec) -> Result<Value> {
    // Docker's: no capability needed for low ports and ping, as nobody else is
    // in the namespace.
    let mut all = Map::new();
    all.insert("net.ipv4.ip_unprivileged_port_start".into(), json!("0"));
    all.insert("net.ipv4.ping_group_range".into(), json!("0 2147483647"));
    for (key, value) in &spec.sysctls {
        // libcontainer would set it for the whole node.
        if !spec.owns_sysctl(key) {
            return Err(Error::Spec(format!(
                "the setting {key} of the kernel is the node's, not the container's"
            )));
        }
        all.insert(key.clone(), json!(value));
    }
    Ok(Value::Object(all))
}

fn rlimit(ulimit: &Ulimit) -> Result<Value> {
    let resource = match ulimit.name.as_str() {
        "as" => Resource::RLIMIT_AS,
        "core" => Resource::RLIMIT_CORE,
        "cpu" => Resource::RLIMIT_CPU,
        "data" => Resource::RLIMIT_DATA,
        "fsize" => Resource::RLIMIT_FSIZE,
        "locks" => Resource::RLIMIT_LOCKS,
        "memlock" => Resource::RLIMIT_MEMLOCK,
        "msgqueue" => Resource::RLIMIT_MSGQUEUE,
        "nice" => Resource::RLIMIT_NICE,
        "nofile" => Resource::RLIMIT_NOFILE,
        "nproc" => Resource::RLIMIT_NPROC,
        "rss" => Resource::RLIMIT_RSS,
        "rtprio" => Resource::RLIMIT_RTPRIO,
        "rttime" => Resource::RLIMIT_RTTIME,
        "sigpending" => Resource::RLIMIT_SIGPENDING,
        "stack" => Resource::RLIMIT_STACK,
        other => return Err(Error::Spec(format!("ulimit {other:?} is not known"))),
    };
    // Without CAP_SYS_RESOURCE nobody may go beyond their own hard limit.
    let (_, ours) = getrlimit(resource).map_err(Error::file("read the limits of", "the daemon"))?;
    let clamp = |value: i64| u64::try_from(value).unwrap_or(u64::MAX).min(ours);
    let hard = clamp(ulimit.hard);
    Ok(json!({
        "type": format!("RLIMIT_{}", ulimit.name.to_uppercase()),
        "soft": clamp(ulimit.soft).min(hard),
        "hard": hard,
    }))
}
