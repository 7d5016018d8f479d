//! The container of a service.

use super::Maker;
use crate::codes;
use crate::model::{self, Ulimit as Limit};
use crate::schema::nearest;
use crate::tree::Step;
use skep_types::{ByteCount, ContainerSpec, SHUTDOWN_DELAY_MAX, Ulimit};
use std::collections::BTreeSet;
use std::net::IpAddr;

const CAPABILITIES: &[&str] = &[
    "ALL",
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_READ",
    "CAP_AUDIT_WRITE",
    "CAP_BLOCK_SUSPEND",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_KILL",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_RAW",
    "CAP_PERFMON",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYSLOG",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_NICE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM",
];

const LIMITS: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

impl Maker<'_> {
    pub(super) fn container(&mut self, key: &str, service: &model::Service) -> ContainerSpec {
        let at = |last| [Step::Key("services"), Step::Key(key), Step::Key(last)];
        let (cap_add, cap_drop) = self.capabilities(key, service);
        let shm_size = match service.shm_size.as_str() {
            "" => None,
            text => {
                let size = crate::normal::size(text).and_then(|s| u64::try_from(s).ok());
                if size.is_none() {
                    let message = format!("{text:?} is not a size");
                    self.error_help(
                        codes::SIZE,
                        &at("shm_size"),
                        message,
                        "a size is written as 64m or 1g",
                    );
                }
                size.map(ByteCount)
            }
        };
        let oom = service.oom_score_adj;
        let oom_score_adj = i32::try_from(oom)
            .ok()
            .filter(|v| (-1000..=1000).contains(v))
            .unwrap_or_else(|| {
                let message = format!("{oom} is out of range; -1000 to 1000");
                self.error(codes::OUT_OF_RANGE, &at("oom_score_adj"), message);
                0
            });
        let mut env: Vec<String> = service
            .environment
            .iter()
            .map(|(name, value)| match value {
                Some(value) => format!("{name}={value}"),
                None => name.clone(),
            })
            .collect();
        env.sort();
        let mut container = ContainerSpec {
            image: service.image.clone(),
            labels: self.labels(&service.labels),
            command: service.entrypoint.clone(),
            args: service.command.clone(),
            hostname: service.hostname.clone(),
            env,
            dir: service.working_dir.clone(),
            user: service.user.clone(),
            groups: service.group_add.clone(),
            tty: service.tty,
            open_stdin: service.stdin_open,
            read_only: service.read_only,
            stop_signal: service.stop_signal.clone(),
            stop_grace_period: service
                .stop_grace_period
                .map(|t| self.duration(&at("stop_grace_period"), t)),
            shutdown_delay: service.shutdown_delay.map(|given| {
                let path = at("x-shutdown-delay");
                let delay = self.duration(&path, given);
                if delay > SHUTDOWN_DELAY_MAX {
                    self.error(
                        codes::OUT_OF_RANGE,
                        &path,
                        "a task cannot go on for more than 1h before it stops",
                    );
                }
                delay
            }),
            health_check: self.check(key, "healthcheck", service.healthcheck.as_ref()),
            readiness: self.check(key, "x-readiness", service.readiness.as_ref()),
            mounts: self.mounts(key, service),
            hosts: self.hosts(key, &service.extra_hosts),
            dns_servers: self.dns(key, &service.dns),
            dns_search: service.dns_search.clone(),
            dns_options: service.dns_opt.clone(),
            secrets: Vec::new(),
            configs: Vec::new(),
            sysctls: service.sysctls.0.clone(),
            cap_add,
            cap_drop,
            ulimits: self.ulimits(key, service),
            init: service.init,
            oom_score_adj,
            shm_size,
            ..ContainerSpec::default()
        };
        self.isolation(key, service, &mut container);
        self.security(key, service, &mut container);
        container
    }

    /// Capabilities to add and to drop: what is in both is added, `ALL` stands
    /// for every other.
    fn capabilities(&mut self, key: &str, service: &model::Service) -> (Vec<String>, Vec<String>) {
        let mut read = |section, names: &[String]| {
            let mut out = BTreeSet::new();
            for (index, name) in names.iter().enumerate() {
                let upper = name.trim().to_ascii_uppercase();
                let full = if upper == "ALL" || upper.starts_with("CAP_") {
                    upper
                } else {
                    format!("CAP_{upper}")
                };
                if CAPABILITIES.contains(&full.as_str()) {
                    out.insert(full);
                    continue;
                }
                let path = [
                    Step::Key("services"),
                    Step::Key(key),
                    Step::Key(section),
                    Step::Index(index),
                ];
                let message = format!("{name:?} is not a capability");
                match nearest(&full, CAPABILITIES.iter().copied()) {
                    Some(meant) => {
                        let meant = meant.trim_start_matches("CAP_");
                        self.error_help(
                            codes::CAPABILITY,
                            &path,
                            message,
                            format!("did you mean {meant}?"),
                        );
                    }
                    None => self.error(codes::CAPABILITY, &path, message),
                }
            }
            if out.contains("ALL") {
                out.retain(|c| c == "ALL");
            }
            out
        };
        let add = read("cap_add", &service.cap_add);
        let mut drop = read("cap_drop", &service.cap_drop);
        drop.retain(|c| !add.contains(c));
        (add.into_iter().collect(), drop.into_iter().collect())
    }

    /// `name:address` to lines of `/etc/hosts`.
    fn hosts(&mut self, key: &str, hosts: &[String]) -> Vec<String> {
        let mut out = Vec::with_capacity(hosts.len());
        for (index, host) in hosts.iter().enumerate() {
            let path = [
                Step::Key("services"),
                Step::Key(key),
                Step::Key("extra_hosts"),
                Step::Index(index),
            ];
            let (name, address) = host.split_once(':').unwrap_or((host, ""));
            if address == "host-gateway" {
                let message = format!("host-gateway has no meaning in a swarm; {name} is left out");
                let help = "tasks run on any node; write an address that all nodes reach";
                self.warn_help(codes::VALUE_WITHOUT_EFFECT, &path, message, help);
            } else if address.parse::<IpAddr>().is_err() {
                let message = format!("{address:?} is not an address");
                self.error_help(codes::ADDRESS, &path, message, "write `name:address`");
            } else {
                out.push(format!("{address} {name}"));
            }
        }
        out
    }

    fn dns(&mut self, key: &str, servers: &[String]) -> Vec<String> {
        for (index, server) in servers.iter().enumerate() {
            if server.parse::<IpAddr>().is_err() {
                let path = [
                    Step::Key("services"),
                    Step::Key(key),
                    Step::Key("dns"),
                    Step::Index(index),
                ];
                let message = format!("{server:?} is not an address");
                self.error_help(
                    codes::ADDRESS,
                    &path,
                    message,
                    "name servers are given by address",
                );
            }
        }
        servers.to_vec()
    }

    fn ulimits(&mut self, key: &str, service: &model::Service) -> Vec<Ulimit> {
        let mut out = Vec::with_capacity(service.ulimits.len());
        for (name, limit) in &service.ulimits.0 {
            let path = [
                Step::Key("services"),
                Step::Key(key),
                Step::Key("ulimits"),
                Step::Key(name),
            ];
            let (soft, hard) = match *limit {
                Limit::Single(value) => (value, value),
                Limit::Pair { soft, hard } => (soft, hard),
            };
            if !LIMITS.contains(&name.as_str()) {
                let message = format!("{name:?} is not a limit");
                let help = match nearest(name, LIMITS.iter().copied()) {
                    Some(meant) => format!("did you mean {meant}?"),
                    None => format!("limits are {}", LIMITS.join(", ")),
                };
                self.error_help(codes::LIMIT, &path, message, help);
            }
            if soft < -1 || hard < -1 {
                self.error_help(
                    codes::LIMIT,
                    &path,
                    "a limit cannot be negative",
                    "-1 is no limit",
                );
            } else if hard != -1 && (soft > hard || soft == -1) {
                let message = format!("the soft limit {soft} is above the hard limit {hard}");
                self.error(codes::LIMIT, &path, message);
            }
            out.push(Ulimit {
                name: name.clone(),
                soft,
                hard,
            });
        }
        out
    }
}
