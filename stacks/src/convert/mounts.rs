//! Mounts of a service: volumes, binds, tmpfs.

use super::Maker;
use crate::codes;
use crate::model::{self, Mount as Given};
use crate::tree::Step;
use skep_types::{ByteCount, Labels, Mount, MountKind};

/// Options of a tmpfs that Docker and Compose take, short of those that are honoured.
const TMPFS_WITHOUT_EFFECT: &[&str] = &[
    "async",
    "atime",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "gid",
    "huge",
    "mpol",
    "noatime",
    "nodiratime",
    "norelatime",
    "nostrictatime",
    "nr_blocks",
    "nr_inodes",
    "relatime",
    "strictatime",
    "suid",
    "sync",
    "uid",
];
const TMPFS_OPTIONS: &str = "options are size=64m, mode=1777, ro and rw";

impl Maker<'_> {
    pub(super) fn mounts(&mut self, key: &str, service: &model::Service) -> Vec<Mount> {
        let mut out: Vec<Mount> = Vec::with_capacity(service.volumes.len());
        for (index, given) in service.volumes.iter().enumerate() {
            let path = [
                Step::Key("services"),
                Step::Key(key),
                Step::Key("volumes"),
                Step::Index(index),
            ];
            let Some(kind) = self.mount_kind(&path, given) else {
                continue;
            };
            self.add_mount(
                &path,
                &mut out,
                Mount {
                    target: given.target.clone(),
                    read_only: given.read_only,
                    kind,
                },
            );
        }
        for (index, text) in service.tmpfs.iter().enumerate() {
            let path = [
                Step::Key("services"),
                Step::Key(key),
                Step::Key("tmpfs"),
                Step::Index(index),
            ];
            let mount = self.tmpfs(&path, text);
            self.add_mount(&path, &mut out, mount);
        }
        out
    }

    fn add_mount(&mut self, path: &[Step<'_>], mounts: &mut Vec<Mount>, mount: Mount) {
        let target = &mount.target;
        if !target.starts_with('/') {
            let message = format!("{target:?} is not an absolute path in the container");
            self.error_help(codes::MOUNT, path, message, "targets begin with `/`");
        } else if target.trim_end_matches('/').is_empty() {
            self.error(codes::MOUNT, path, "nothing can be mounted over `/`");
        }
        if mounts.iter().any(|m| m.target == *target) {
            let message = format!("two mounts have the target {target}");
            self.error_help(
                codes::TARGET_TWICE,
                path,
                message,
                "remove one of them, or move it",
            );
        }
        mounts.push(mount);
    }

    /// Options of another kind of mount are a mistake, not a wish.
    fn only(&mut self, path: &[Step<'_>], given: &Given, own: &str) {
        let sections = [
            ("bind", given.bind.is_some()),
            ("volume", given.volume.is_some()),
            ("tmpfs", given.tmpfs.is_some()),
        ];
        for (section, there) in sections {
            if there && section != own {
                let kind = &given.r#type;
                let message = format!("`{section}` does not go with a mount of type {kind}");
                self.error(codes::MOUNT, path, message);
            }
        }
    }

    fn mount_kind(&mut self, path: &[Step<'_>], given: &Given) -> Option<MountKind> {
        match given.r#type.as_str() {
            "volume" | "" => {
                self.only(path, given, "volume");
                self.volume(path, given)
            }
            "bind" => {
                self.only(path, given, "bind");
                let bind = given.bind.as_ref();
                Some(MountKind::Bind {
                    source: given.source.clone(),
                    propagation: bind.map(|b| b.propagation.clone()).unwrap_or_default(),
                })
            }
            "tmpfs" => {
                self.only(path, given, "tmpfs");
                if !given.source.is_empty() {
                    self.error(codes::MOUNT, path, "a mount of type tmpfs has no `source`");
                }
                let size = given.tmpfs.as_ref().map_or(0, |t| t.size);
                let mode = given.tmpfs.as_ref().and_then(|t| t.mode);
                let size = u64::try_from(size).unwrap_or_else(|_| {
                    self.error(
                        codes::OUT_OF_RANGE,
                        path,
                        "the size of a tmpfs cannot be negative",
                    );
                    0
                });
                Some(MountKind::Tmpfs {
                    size: (size > 0).then_some(ByteCount(size)),
                    mode: mode.map(|mode| {
                        let below = [Step::Key("tmpfs"), Step::Key("mode")];
                        self.permissions(&[path, &below].concat(), mode)
                    }),
                })
            }
            kind @ ("cluster" | "npipe" | "image") => {
                let message = format!("mounts of type {kind} are not supported");
                self.error_help(
                    codes::NOT_SUPPORTED,
                    path,
                    message,
                    "types are volume, bind and tmpfs",
                );
                None
            }
            other => {
                let message = format!("{other:?} is not a type of mount");
                self.error_help(
                    codes::WORD,
                    path,
                    message,
                    "types are volume, bind and tmpfs",
                );
                None
            }
        }
    }

    fn volume(&mut self, path: &[Step<'_>], given: &Given) -> Option<MountKind> {
        let file = self.file;
        let options = given.volume.clone().unwrap_or_default();
        if !options.subpath.is_empty() {
            let message = "a part of a volume cannot be mounted (`volume.subpath`)";
            self.error_help(
                codes::NOT_SUPPORTED,
                path,
                message,
                "mount the whole volume",
            );
        }
        if given.source.is_empty() {
            return Some(MountKind::Volume {
                name: String::new(),
                no_copy: options.nocopy,
                driver: String::new(),
                options: Labels::new(),
                labels: Labels::new(),
            });
        }
        let Some(volume) = file.volumes.get(&given.source) else {
            self.undeclared(path, "volume", &given.source, file.volumes.keys());
            return None;
        };
        let name = self.name(&given.source, &volume.name);
        // Its owner has given an external volume its options and labels.
        Some(if volume.external {
            MountKind::Volume {
                name,
                no_copy: options.nocopy,
                driver: String::new(),
                options: Labels::new(),
                labels: Labels::new(),
            }
        } else {
            MountKind::Volume {
                name,
                no_copy: options.nocopy,
                driver: volume.driver.clone(),
                options: volume.driver_opts.0.clone(),
                labels: self.labels(&volume.labels),
            }
        })
    }

    /// `path[:options]` of the short `tmpfs` key.
    fn tmpfs(&mut self, path: &[Step<'_>], text: &str) -> Mount {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let (mut size, mut mode, mut read_only) = (None, None, false);
        for option in options.split(',').filter(|o| !o.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let known = match name {
                "size" => {
                    let parsed = crate::normal::size(value).and_then(|s| u64::try_from(s).ok());
                    size = parsed.map(ByteCount);
                    size.is_some()
                }
                "mode" => {
                    mode = u32::from_str_radix(value, 8).ok().filter(|m| *m <= 0o7777);
                    mode.is_some()
                }
                "ro" | "rw" => {
                    read_only = name == "ro";
                    true
                }
                // In force anyway.
                "nosuid" | "nodev" | "noexec" | "defaults" => true,
                name if TMPFS_WITHOUT_EFFECT.contains(&name) => {
                    let message = format!("the tmpfs option {name} has no effect");
                    self.warn_help(codes::VALUE_WITHOUT_EFFECT, path, message, TMPFS_OPTIONS);
                    true
                }
                _ => false,
            };
            if !known {
                let message = format!("the tmpfs option {option:?} is not supported");
                self.error_help(codes::NOT_SUPPORTED, path, message, TMPFS_OPTIONS);
            }
        }
        Mount {
            target: target.to_owned(),
            read_only,
            kind: MountKind::Tmpfs { size, mode },
        }
    }
}
