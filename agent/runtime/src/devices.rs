//! Devices of the node that a container finds, and those that it may use.
//!
//! Nodes in `/dev` are made by libcontainer. The list of what may be used is
//! kept by the kernel: on cgroup v1 libcontainer writes it, on v2 the shim does.

use crate::{Error, Result};
use nix::sys::stat::{major, minor};
use serde_json::{Value, json};
use skep_agent_shim_api::DeviceRule as Allowed;
use skep_types::{Access, ContainerSpec, Device, DeviceKind, DeviceRule};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Most devices of one directory.
const DEVICES_MAX: usize = 4096;
/// Levels of directories below one that is named.
const DEPTH_MAX: u32 = 8;
/// What is below `/dev` and no device of the node, but the container's own.
const OWN: [&str; 6] = ["pts", "shm", "fd", "mqueue", "console", "ptmx"];

/// What a container has.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    /// As the OCI configuration has them.
    pub(crate) nodes: Vec<Value>,
    /// What it may use.
    pub(crate) allowed: Vec<Allowed>,
}

/// Looks the devices of a spec up on this node.
pub(crate) fn find(spec: &ContainerSpec) -> Result<Devices> {
    let mut found = Devices {
        nodes: Vec::new(),
        allowed: Allowed::docker_default(),
    };
    if spec.privileged {
        found.allow_all();
        found.below(Path::new("/dev"), "/dev", None, 0)?;
    }
    for Device {
        source,
        target,
        access,
    } in &spec.devices
    {
        let path = Path::new(source);
        let metadata = fs::metadata(path).map_err(|error| {
            Error::Spec(format!(
                "device {source}: this node does not have it: {error}"
            ))
        })?;
        let before = found.nodes.len();
        if metadata.is_dir() {
            found.below(path, target, Some(*access), 0)?;
        } else {
            found.add(&metadata, target, Some(*access));
        }
        if found.nodes.len() == before {
            return Err(Error::Spec(format!("{source} is no device on this node")));
        }
    }
    for rule in &spec.device_rules {
        found.allowed.extend(allowed(rule));
    }
    Ok(found)
}

impl Devices {
    fn allow_all(&mut self) {
        self.allowed.extend(allowed(&DeviceRule {
            kind: None,
            major: None,
            minor: None,
            access: Access::ALL,
        }));
    }

    /// All devices of a directory; links are no devices.
    fn below(
        &mut self,
        dir: &Path,
        target: &str,
        access: Option<Access>,
        depth: u32,
    ) -> Result<()> {
        let entries = fs::read_dir(dir).map_err(Error::file("list the devices of", dir))?;
        for entry in entries {
            let entry = entry.map_err(Error::file("list the devices of", dir))?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| !OWN.contains(name)) else {
                continue;
            };
            // It may be unplugged at this moment.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let target = format!("{}/{name}", target.trim_end_matches('/'));
            if metadata.is_dir() && depth < DEPTH_MAX {
                self.below(&entry.path(), &target, access, depth + 1)?;
            } else {
                self.add(&metadata, &target, access);
            }
            if self.nodes.len() > DEVICES_MAX {
                let dir = dir.display();
                let what = format!("{dir} has more than {DEVICES_MAX} devices");
                return Err(Error::Spec(what));
            }
        }
        Ok(())
    }

    /// A device with the owner and the permissions that it has on the node. What
    /// is none is passed over; without `access` it is allowed already.
    fn add(&mut self, metadata: &fs::Metadata, target: &str, access: Option<Access>) {
        let kind = metadata.file_type();
        let (kind, letter) = match (kind.is_block_device(), kind.is_char_device()) {
            (true, _) => (DeviceKind::Block, "b"),
            (_, true) => (DeviceKind::Character, "c"),
            _ => return,
        };
        let number = |number: u64| u32::try_from(number).ok();
        let (major, minor) = (
            number(major(metadata.rdev())),
            number(minor(metadata.rdev())),
        );
        self.nodes.push(json!({
            "path": target,
            "type": letter,
            "major": major,
            "minor": minor,
            "fileMode": metadata.mode() & 0o7777,
            "uid": metadata.uid(),
            "gid": metadata.gid(),
        }));
        self.allowed.extend(access.into_iter().flat_map(|access| {
            allowed(&DeviceRule {
                kind: Some(kind),
                major,
                minor,
                access,
            })
        }));
    }
}

/// One entry a kind, as the kernel has them.
fn allowed(rule: &DeviceRule) -> Vec<Allowed> {
    let kinds: &[char] = match rule.kind {
        None => &['b', 'c'],
        Some(DeviceKind::Block) => &['b'],
        Some(DeviceKind::Character) => &['c'],
    };
    let entry = |kind: &char| Allowed {
        kind: *kind,
        major: rule.major,
        minor: rule.minor,
        access: rule.access.to_string(),
    };
    kinds.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_device_is_said() {
        let found = |device: &str| {
            let spec = ContainerSpec {
                devices: vec![device.parse().unwrap()],
                ..ContainerSpec::default()
            };
            find(&spec)
                .map(|found| found.nodes.len())
                .map_err(|e| e.chain())
        };
        assert_eq!(found("/dev/null"), Ok(1));
        assert_eq!(
            found("/proc/version:/dev/v"),
            Err("/proc/version is no device on this node".into())
        );
        let missing = found("/dev/skep-none").unwrap_err();
        assert!(
            missing.starts_with("device /dev/skep-none: this node does not have it: "),
            "{missing}"
        );
    }

    #[test]
    fn all_devices_of_a_directory_come_with_it() {
        let spec = ContainerSpec {
            devices: vec!["/dev:/dev/of-the-node:r".parse().unwrap()],
            ..ContainerSpec::default()
        };
        let found = find(&spec).unwrap();
        let null = found
            .nodes
            .iter()
            .find(|node| node["path"] == "/dev/of-the-node/null");
        let null = null.unwrap();
        assert_eq!(
            (&null["type"], &null["major"], &null["minor"]),
            (&json!("c"), &json!(1), &json!(3))
        );
        let rule = Allowed {
            kind: 'c',
            major: Some(1),
            minor: Some(3),
            access: "r".to_owned(),
        };
        assert!(found.allowed.contains(&rule));
        let own = |path: &Value| path.as_str().is_some_and(|path| path.contains("/pts/"));
        assert!(!found.nodes.iter().any(|node| own(&node["path"])));
    }
}
