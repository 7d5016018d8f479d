//! One service: its spec, and what it refers to by name.

use super::{DEFAULT_NETWORK, Maker, NODE_NETWORKS};
use crate::codes;
use crate::model::{self, FileObject, FileReference, Port};
use crate::tree::Step;
use skep_types::{
    EndpointMode, EndpointSpec, FileTarget, LogDriver, PortConfig, Protocol, PublishMode,
    ServiceSpec, StackService, TaskSpec,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The service label that keeps the image as the file has it.
const STACK_IMAGE_LABEL: &str = "com.docker.stack.image";
/// Modes that are usually meant in octal and easily written in decimal.
const DECIMAL_MODES: &[i64] = &[
    400, 440, 444, 600, 640, 644, 660, 664, 666, 700, 744, 750, 755, 770, 775, 777, 1777,
];

impl Maker<'_> {
    pub(super) fn service(&mut self, key: &str) -> StackService {
        let file = self.file;
        let default = model::Service::default();
        let service = file.services.get(key).unwrap_or(&default);
        let base = [Step::Key("services"), Step::Key(key)];
        let name = format!("{}_{key}", self.stack);
        self.check_name(&base, &name, 63, false);
        self.check_image(key, &service.image);

        let mut labels = self.labels(&service.deploy.labels);
        labels.insert(STACK_IMAGE_LABEL.to_owned(), service.image.clone());
        let log_driver = service.logging.as_ref().map(|logging| LogDriver {
            name: logging.driver.clone(),
            options: logging.options.0.clone(),
        });
        let deploy = self.sized(key, service);
        let spec = ServiceSpec {
            name,
            labels,
            mode: self.mode(key, &deploy),
            task: Arc::new(TaskSpec {
                container: self.container(key, service),
                resources: self.resources(key, service, &deploy.resources),
                restart: self.restart(key, service),
                placement: self.placement(key, service),
                networks: Vec::new(),
                log_driver,
                force_update: 0,
            }),
            update: self.update(key, "update_config", service.deploy.update_config.as_ref()),
            rollback: self.update(
                key,
                "rollback_config",
                service.deploy.rollback_config.as_ref(),
            ),
            endpoint: self.endpoint(key, service),
            job: self.job(key, &service.deploy),
            rebalance: self.rebalance(key, &service.deploy),
            depends_on: self.depends_on(key, service),
        };
        StackService {
            key: key.to_owned(),
            spec,
            replicas_given: deploy.replicas.is_some(),
            networks: self.service_networks(key, service),
            secrets: self.file_references(key, "secrets", &service.secrets, &file.secrets),
            configs: self.file_references(key, "configs", &service.configs, &file.configs),
        }
    }

    fn endpoint(&mut self, key: &str, service: &model::Service) -> EndpointSpec {
        let base = [Step::Key("services"), Step::Key(key)];
        let mode_path = [
            base[0],
            base[1],
            Step::Key("deploy"),
            Step::Key("endpoint_mode"),
        ];
        let mode = match service.deploy.endpoint_mode.to_ascii_lowercase().as_str() {
            "" | "vip" => EndpointMode::Vip,
            "dnsrr" => EndpointMode::DnsRoundRobin,
            other => {
                let message = format!("{other:?} is not an endpoint mode");
                self.error_help(
                    codes::WORD,
                    &mode_path,
                    message,
                    "endpoint modes are vip and dnsrr",
                );
                EndpointMode::Vip
            }
        };
        let mut ports: Vec<PortConfig> = service.ports.iter().map(port).collect();
        ports.sort();
        ports.dedup();
        let through_ingress = ports.iter().any(|p| p.mode == PublishMode::Ingress);
        if mode == EndpointMode::DnsRoundRobin && through_ingress {
            let message = "with endpoint_mode dnsrr, ports can only be published in mode host";
            let help = "write the ports in long form with `mode: host`, or use endpoint_mode vip";
            self.error_help(codes::EXCLUSIVE, &mode_path, message, help);
        }
        EndpointSpec { mode, ports }
    }

    /// A port of the routing mesh belongs to one service.
    pub(super) fn check_published(&mut self, services: &[StackService]) {
        let mut owners: BTreeMap<(u16, Protocol), &str> = BTreeMap::new();
        for service in services {
            for port in &service.spec.endpoint.ports {
                if port.published == 0 || port.mode != PublishMode::Ingress {
                    continue;
                }
                let owner = owners
                    .entry((port.published, port.protocol))
                    .or_insert(&service.key);
                if *owner != service.key {
                    let message = format!(
                        "the port {} is published by {owner} as well",
                        port.published
                    );
                    let path = [
                        Step::Key("services"),
                        Step::Key(&service.key),
                        Step::Key("ports"),
                    ];
                    let help = "every node opens a published port for one service only";
                    self.error_help(codes::PORT_TWICE, &path, message, help);
                }
            }
        }
    }

    fn service_networks(
        &mut self,
        key: &str,
        service: &model::Service,
    ) -> Vec<(String, Vec<String>)> {
        let file = self.file;
        let default = BTreeMap::from([(DEFAULT_NETWORK.to_owned(), None)]);
        let wanted = if service.networks.is_empty() {
            &default
        } else {
            &service.networks.0
        };
        let mut out = Vec::with_capacity(wanted.len());
        for (network_key, options) in wanted {
            let declared = file.networks.get(network_key);
            if declared.is_none() && network_key != DEFAULT_NETWORK {
                let path = [
                    Step::Key("services"),
                    Step::Key(key),
                    Step::Key("networks"),
                    Step::Key(network_key),
                ];
                self.undeclared(&path, "network", network_key, file.networks.keys());
                continue;
            }
            let given = declared.map(|n| n.name.as_str()).unwrap_or_default();
            let name = self.name(network_key, given);
            let mut aliases: Vec<String> = Vec::new();
            if !NODE_NETWORKS.contains(&name.as_str()) {
                let own = options.iter().flat_map(|o| o.aliases.iter());
                for alias in own.map(String::as_str).chain([key]) {
                    if !aliases.iter().any(|a| a == alias) {
                        aliases.push(alias.to_owned());
                    }
                }
            }
            out.push((name, aliases));
        }
        out.sort();
        out
    }

    fn file_references(
        &mut self,
        key: &str,
        section: &'static str,
        references: &[FileReference],
        declared: &model::Dict<FileObject>,
    ) -> Vec<(String, FileTarget)> {
        let mut out: Vec<(String, FileTarget)> = Vec::with_capacity(references.len());
        for (index, reference) in references.iter().enumerate() {
            let path = [
                Step::Key("services"),
                Step::Key(key),
                Step::Key(section),
                Step::Index(index),
            ];
            let Some(object) = declared.get(&reference.source) else {
                let kind = section.trim_end_matches('s');
                self.undeclared(&path, kind, &reference.source, declared.keys());
                continue;
            };
            let target = if reference.target.is_empty() {
                reference.source.clone()
            } else {
                reference.target.clone()
            };
            if out.iter().any(|(_, t)| t.path == target) {
                let message = format!("two {section} are put at {target}");
                self.error_help(
                    codes::TARGET_TWICE,
                    &path,
                    message,
                    "give one of them another `target`",
                );
            }
            let at = |last| [path[0], path[1], path[2], path[3], Step::Key(last)];
            let mode = match reference.mode {
                None => 0o444,
                Some(mode) => self.permissions(&at("mode"), mode),
            };
            let uid = self.owner(&at("uid"), &reference.uid);
            let gid = self.owner(&at("gid"), &reference.gid);
            let name = self.name(&reference.source, &object.name);
            let place = FileTarget {
                path: target,
                uid,
                gid,
                mode,
            };
            out.push((name, place));
        }
        out.sort_by(|a, b| (&a.0, &a.1.path).cmp(&(&b.0, &b.1.path)));
        out
    }

    pub(super) fn permissions(&mut self, path: &[Step<'_>], mode: i64) -> u32 {
        if DECIMAL_MODES.contains(&mode) {
            let message = format!("the mode {mode} is decimal, which is {mode:#o}");
            let help = format!("write 0{mode} for the permissions {mode}");
            self.warn_help(codes::DECIMAL_MODE, path, message, help);
        }
        self.number(path, mode, 0, 0o7777)
    }

    fn owner(&mut self, path: &[Step<'_>], text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        text.parse().unwrap_or_else(|_| {
            let message = format!("{text:?} is not a numeric id");
            self.error_help(
                codes::WORD,
                path,
                message,
                "names of users are not known here; write a number",
            );
            0
        })
    }

    /// `value` when it lies in the range, otherwise `least` and an error.
    pub(super) fn number(&mut self, path: &[Step<'_>], value: i64, least: u32, most: i64) -> u32 {
        match u32::try_from(value) {
            Ok(number) if number >= least && value <= most => number,
            _ => {
                let message = if most == i64::from(u32::MAX) {
                    format!("{value} is out of range; at least {least}")
                } else {
                    format!("{value} is out of range; {least} to {most}")
                };
                self.error(codes::OUT_OF_RANGE, path, message);
                least
            }
        }
    }
}

/// Checked already: the numbers fit and the words are known.
fn port(port: &Port) -> PortConfig {
    let number = |value: i64| u16::try_from(value).unwrap_or_default();
    PortConfig {
        protocol: match port.protocol.as_str() {
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => Protocol::Tcp,
        },
        target: number(port.target),
        published: number(port.published),
        mode: match port.mode.as_str() {
            "host" => PublishMode::Host,
            _ => PublishMode::Ingress,
        },
        masquerade: false,
    }
}
