//! Containers and what they are given.

use super::basic::{WireId, id, id_bytes, millis, port, require, wire_enum};
use crate::{Invalid, pb};
use skep_types::{
    ByteCount, ContainerSpec, Device, FileReference, FileTarget, HealthCheck, HealthTest,
    InvalidDevice, Ipc, Mount, MountKind, Ulimit,
};
use std::time::Duration;

wire_enum!(Ipc, Ipc, ipc, "container.ipc", {
    Private = Private, NoShm = NoShm, Host = Host,
});

impl From<&ContainerSpec> for pb::ContainerSpec {
    fn from(spec: &ContainerSpec) -> Self {
        let ContainerSpec {
            image,
            labels,
            command,
            args,
            hostname,
            env,
            dir,
            user,
            groups,
            tty,
            open_stdin,
            read_only,
            stop_signal,
            stop_grace_period,
            health_check,
            mounts,
            hosts,
            dns_servers,
            dns_search,
            dns_options,
            secrets,
            configs,
            sysctls,
            cap_add,
            cap_drop,
            ulimits,
            init,
            oom_score_adj,
            shm_size,
            readiness,
            shutdown_delay,
            host_pid,
            ipc,
            host_uts,
            privileged,
            devices,
            device_rules,
            no_new_privileges,
            seccomp_unconfined,
            system_paths_unconfined,
        } = spec;
        pb::ContainerSpec {
            image: image.clone(),
            labels: labels.clone(),
            command: command.clone(),
            args: args.clone(),
            hostname: hostname.clone(),
            env: env.clone(),
            dir: dir.clone(),
            user: user.clone(),
            groups: groups.clone(),
            tty: *tty,
            open_stdin: *open_stdin,
            read_only: *read_only,
            stop_signal: stop_signal.clone(),
            stop_grace_period_ms: stop_grace_period.map(millis),
            health_check: health_check.as_ref().map(Into::into),
            mounts: mounts.iter().map(Into::into).collect(),
            hosts: hosts.clone(),
            dns_servers: dns_servers.clone(),
            dns_search: dns_search.clone(),
            dns_options: dns_options.clone(),
            secrets: secrets.iter().map(Into::into).collect(),
            configs: configs.iter().map(Into::into).collect(),
            sysctls: sysctls.clone(),
            cap_add: cap_add.clone(),
            cap_drop: cap_drop.clone(),
            ulimits: ulimits.iter().map(Into::into).collect(),
            init: *init,
            oom_score_adj: *oom_score_adj,
            shm_size_bytes: shm_size.map(|size| size.0),
            readiness: readiness.as_ref().map(Into::into),
            shutdown_delay_ms: shutdown_delay.map(millis),
            host_pid: *host_pid,
            ipc: pb::Ipc::from(*ipc).into(),
            host_uts: *host_uts,
            privileged: *privileged,
            devices: devices.iter().map(Into::into).collect(),
            device_rules: device_rules.iter().map(ToString::to_string).collect(),
            no_new_privileges: *no_new_privileges,
            seccomp_unconfined: *seccomp_unconfined,
            system_paths_unconfined: *system_paths_unconfined,
        }
    }
}

impl TryFrom<pb::ContainerSpec> for ContainerSpec {
    type Error = Invalid;
    fn try_from(spec: pb::ContainerSpec) -> Result<Self, Invalid> {
        let pb::ContainerSpec {
            image,
            labels,
            command,
            args,
            hostname,
            env,
            dir,
            user,
            groups,
            tty,
            open_stdin,
            read_only,
            stop_signal,
            stop_grace_period_ms,
            health_check,
            mounts,
            hosts,
            dns_servers,
            dns_search,
            dns_options,
            secrets,
            configs,
            sysctls,
            cap_add,
            cap_drop,
            ulimits,
            init,
            oom_score_adj,
            shm_size_bytes,
            readiness,
            shutdown_delay_ms,
            host_pid,
            ipc: shared,
            host_uts,
            privileged,
            devices,
            device_rules,
            no_new_privileges,
            seccomp_unconfined,
            system_paths_unconfined,
        } = spec;
        Ok(ContainerSpec {
            image,
            labels,
            command,
            args,
            hostname,
            env,
            dir,
            user,
            groups,
            tty,
            open_stdin,
            read_only,
            stop_signal,
            stop_grace_period: stop_grace_period_ms.map(Duration::from_millis),
            health_check: health_check.map(TryInto::try_into).transpose()?,
            mounts: mounts
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            hosts,
            dns_servers,
            dns_search,
            dns_options,
            secrets: secrets
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            configs: configs
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            sysctls,
            cap_add,
            cap_drop,
            ulimits: ulimits.into_iter().map(Into::into).collect(),
            init,
            oom_score_adj,
            shm_size: shm_size_bytes.map(ByteCount),
            readiness: readiness.map(TryInto::try_into).transpose()?,
            shutdown_delay: shutdown_delay_ms.map(Duration::from_millis),
            host_pid,
            ipc: ipc(shared)?,
            host_uts,
            privileged,
            devices: devices
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            device_rules: device_rules
                .iter()
                .map(|rule| rule.parse().map_err(invalid("container.device_rules")))
                .collect::<Result<_, _>>()?,
            no_new_privileges,
            seccomp_unconfined,
            system_paths_unconfined,
        })
    }
}

impl<I: WireId + Copy> From<&FileReference<I>> for pb::FileReference {
    fn from(reference: &FileReference<I>) -> Self {
        let FileReference {
            id,
            name,
            target:
                FileTarget {
                    path,
                    uid,
                    gid,
                    mode,
                },
        } = reference;
        pb::FileReference {
            id: id_bytes(*id),
            name: name.clone(),
            path: path.clone(),
            uid: *uid,
            gid: *gid,
            mode: *mode,
        }
    }
}

impl<I: WireId> TryFrom<pb::FileReference> for FileReference<I> {
    type Error = Invalid;
    fn try_from(reference: pb::FileReference) -> Result<Self, Invalid> {
        let pb::FileReference {
            id: id_field,
            name,
            path,
            uid,
            gid,
            mode,
        } = reference;
        Ok(FileReference {
            id: id(&id_field, "file_reference.id")?,
            name,
            target: FileTarget {
                path,
                uid,
                gid,
                mode,
            },
        })
    }
}

impl From<&Mount> for pb::Mount {
    fn from(mount: &Mount) -> Self {
        let Mount {
            target,
            read_only,
            kind,
        } = mount;
        let kind = match kind {
            MountKind::Bind {
                source,
                propagation,
            } => pb::mount::Kind::Bind(pb::mount::Bind {
                source: source.clone(),
                propagation: propagation.clone(),
            }),
            MountKind::Volume {
                name,
                no_copy,
                driver,
                options,
                labels,
            } => pb::mount::Kind::Volume(pb::mount::Volume {
                name: name.clone(),
                no_copy: *no_copy,
                driver: driver.clone(),
                options: options.clone(),
                labels: labels.clone(),
            }),
            MountKind::Tmpfs { size, mode } => pb::mount::Kind::Tmpfs(pb::mount::Tmpfs {
                size_bytes: size.map(|size| size.0),
                mode: *mode,
            }),
        };
        pb::Mount {
            target: target.clone(),
            read_only: *read_only,
            kind: Some(kind),
        }
    }
}

impl TryFrom<pb::Mount> for Mount {
    type Error = Invalid;
    fn try_from(mount: pb::Mount) -> Result<Self, Invalid> {
        let pb::Mount {
            target,
            read_only,
            kind,
        } = mount;
        let kind = match require(kind, "mount.kind")? {
            pb::mount::Kind::Bind(pb::mount::Bind {
                source,
                propagation,
            }) => MountKind::Bind {
                source,
                propagation,
            },
            pb::mount::Kind::Volume(pb::mount::Volume {
                name,
                no_copy,
                driver,
                options,
                labels,
            }) => MountKind::Volume {
                name,
                no_copy,
                driver,
                options,
                labels,
            },
            pb::mount::Kind::Tmpfs(pb::mount::Tmpfs { size_bytes, mode }) => MountKind::Tmpfs {
                size: size_bytes.map(ByteCount),
                mode,
            },
        };
        Ok(Mount {
            target,
            read_only,
            kind,
        })
    }
}

fn invalid(field: &'static str) -> impl Fn(InvalidDevice) -> Invalid {
    move |wrong| Invalid::Value(field, wrong.to_string())
}

impl From<&Device> for pb::Device {
    fn from(device: &Device) -> Self {
        let Device {
            source,
            target,
            access,
        } = device;
        pb::Device {
            source: source.clone(),
            target: target.clone(),
            access: access.to_string(),
        }
    }
}

impl TryFrom<pb::Device> for Device {
    type Error = Invalid;
    fn try_from(device: pb::Device) -> Result<Self, Invalid> {
        let pb::Device {
            source,
            target,
            access,
        } = device;
        let access = access.parse().map_err(invalid("device.access"))?;
        Device::new(&source, &target, access).map_err(invalid("device"))
    }
}

impl From<&Ulimit> for pb::Ulimit {
    fn from(ulimit: &Ulimit) -> Self {
        let Ulimit { name, soft, hard } = ulimit;
        pb::Ulimit {
            name: name.clone(),
            soft: *soft,
            hard: *hard,
        }
    }
}

impl From<pb::Ulimit> for Ulimit {
    fn from(ulimit: pb::Ulimit) -> Self {
        let pb::Ulimit { name, soft, hard } = ulimit;
        Ulimit { name, soft, hard }
    }
}

impl From<&HealthCheck> for pb::HealthCheck {
    fn from(check: &HealthCheck) -> Self {
        use pb::health_check::Test;
        let HealthCheck {
            test,
            interval,
            timeout,
            retries,
            start_period,
            start_interval,
        } = check;
        pb::HealthCheck {
            test: Some(match test {
                HealthTest::Inherit => Test::Inherit(pb::Empty {}),
                HealthTest::Disabled => Test::Disabled(pb::Empty {}),
                HealthTest::Command(words) => Test::Command(pb::CommandLine {
                    words: words.clone(),
                }),
                HealthTest::Shell(line) => Test::Shell(line.clone()),
                HealthTest::Http { port, path } => Test::Http(pb::HttpTest {
                    port: u32::from(*port),
                    path: path.clone(),
                }),
                HealthTest::Tcp { port } => Test::Tcp(pb::TcpTest {
                    port: u32::from(*port),
                }),
            }),
            interval_ms: interval.map(millis),
            timeout_ms: timeout.map(millis),
            retries: *retries,
            start_period_ms: start_period.map(millis),
            start_interval_ms: start_interval.map(millis),
        }
    }
}

impl TryFrom<pb::HealthCheck> for HealthCheck {
    type Error = Invalid;
    fn try_from(check: pb::HealthCheck) -> Result<Self, Invalid> {
        use pb::health_check::Test;
        let pb::HealthCheck {
            test,
            interval_ms,
            timeout_ms,
            retries,
            start_period_ms,
            start_interval_ms,
        } = check;
        Ok(HealthCheck {
            test: match require(test, "health_check.test")? {
                Test::Inherit(pb::Empty {}) => HealthTest::Inherit,
                Test::Disabled(pb::Empty {}) => HealthTest::Disabled,
                Test::Command(pb::CommandLine { words }) => HealthTest::Command(words),
                Test::Shell(line) => HealthTest::Shell(line),
                Test::Http(pb::HttpTest { port: number, path }) => HealthTest::Http {
                    port: port(number, "health_check.http.port")?,
                    path,
                },
                Test::Tcp(pb::TcpTest { port: number }) => HealthTest::Tcp {
                    port: port(number, "health_check.tcp.port")?,
                },
            },
            interval: interval_ms.map(Duration::from_millis),
            timeout: timeout_ms.map(Duration::from_millis),
            retries,
            start_period: start_period_ms.map(Duration::from_millis),
            start_interval: start_interval_ms.map(Duration::from_millis),
        })
    }
}
