//! Normal form to specs: names, labels, references between sections.
//!
//! Owns the sections beside services and what holds for all of them; services
//! are in `convert/`. From here on the file is understood; what is left to
//! complain of is what it means.

mod container;
mod content;
mod depends;
mod deploy;
mod health;
mod ignored;
mod image;
mod isolation;
mod limits;
mod mode;
mod mounts;
mod placement;
mod resources;
mod security;
mod service;

use crate::codes::{self, Code};
use crate::diagnostic::{Place, Report};
use crate::model::{self, File, Pairs};
use crate::normal::Context;
use crate::schema::nearest;
use crate::tree::{Node, Step};
use ipnet::IpNet;
use skep_types::secret::{CONFIG_MAX_BYTES, SECRET_MAX_BYTES};
use skep_types::{
    Content, Labels, NetworkSpec, STACK_LABEL, StackData, StackNetwork, StackSpec, StackVolume,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The network of services that name none.
const DEFAULT_NETWORK: &str = "default";
/// Networks of a node that are no overlay; they know no aliases.
const NODE_NETWORKS: &[&str] = &["host", "bridge", "none", "default"];

/// What the parts of a conversion share.
pub(crate) struct Maker<'a> {
    stack: &'a str,
    file: &'a File,
    tree: &'a Node,
    context: &'a Context<'a>,
    report: &'a mut Report,
}

/// Converts a merged file. `None` means that errors were reported.
pub(crate) fn stack(
    name: &str,
    file: &File,
    tree: &Node,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<StackSpec> {
    let mut maker = Maker {
        stack: name,
        file,
        tree,
        context,
        report,
    };
    maker.check_stack_name();
    if file.services.is_empty() {
        let declared = tree.get("services").and_then(Node::as_map);
        let (message, help) = match declared {
            Some([_, ..]) => (
                "no service is asked for: all have profiles",
                "name a profile with --profile, or * for all",
            ),
            _ => (
                "the stack has no services",
                "a stack is made of services; add one under `services:`",
            ),
        };
        maker.error_help(codes::NO_SERVICES, &[], message, help);
    }
    let keys: Vec<&String> = file.services.keys().collect();
    let services: Vec<_> = keys.into_iter().map(|key| maker.service(key)).collect();
    maker.check_published(&services);
    maker.check_rings(&services);
    maker.ignored();
    let stack = StackSpec {
        name: name.to_owned(),
        networks: maker.networks(),
        secrets: maker.data("secrets", &file.secrets, SECRET_MAX_BYTES),
        configs: maker.data("configs", &file.configs, CONFIG_MAX_BYTES),
        volumes: maker.volumes(),
        services: services.into_iter().map(Arc::new).collect(),
        source: Arc::default(),
    };
    (!maker.report.failed()).then_some(stack)
}

/// `services.vote.ports[0]` of steps.
fn path_text(path: &[Step<'_>]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Key(key) if out.is_empty() => out.push_str(key),
            Step::Key(key) => {
                out.push('.');
                out.push_str(key);
            }
            Step::Index(index) => out.push_str(&format!("[{index}]")),
        }
    }
    out
}

impl Maker<'_> {
    /// The place of `path`, or of as much of it as there is.
    fn place(&self, code: &Code, path: &[Step<'_>]) -> Option<Place> {
        // These are about a key that should not be there, whatever its value.
        let about_key = [
            codes::NOT_IN_THIS_MODE,
            codes::EXCLUSIVE,
            codes::LIMIT,
            codes::OVERRULED,
        ];
        Some(match about_key.contains(&code) {
            true => self.tree.find_key(path),
            false => self.tree.find(path),
        })
    }

    fn error(&mut self, code: &'static Code, path: &[Step<'_>], message: impl Into<String>) {
        let place = self.place(code, path);
        self.report.error(code, place, &path_text(path), message);
    }

    fn error_help(
        &mut self,
        code: &'static Code,
        path: &[Step<'_>],
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let place = self.place(code, path);
        self.report
            .error_help(code, place, &path_text(path), message, help);
    }

    fn warn_help(
        &mut self,
        code: &'static Code,
        path: &[Step<'_>],
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let place = self.place(code, path);
        self.report
            .warn_help(code, place, &path_text(path), message, help);
    }

    /// `<stack>_<key>`, or the name that the file gives.
    fn name(&self, key: &str, given: &str) -> String {
        if given.is_empty() {
            format!("{}_{key}", self.stack)
        } else {
            given.to_owned()
        }
    }

    fn labels(&self, own: &Pairs) -> Labels {
        let mut labels = own.0.clone();
        labels.insert(STACK_LABEL.to_owned(), self.stack.to_owned());
        labels
    }

    fn check_stack_name(&mut self) {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name = self.stack;
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(good) {
            let message = format!("{name:?} cannot be the name of a stack");
            let help = "a name begins with a letter or digit, and has letters, digits, `-` and `_`";
            let said = self.tree.get("name");
            let said = said.filter(|node| node.as_str() == Some(name));
            let (place, path) = (said.map(|node| node.place), said.map_or("", |_| "name"));
            self.report
                .error_help(codes::NOT_A_NAME, place, path, message, help);
        }
    }

    /// Names that the cluster would refuse are refused before anything is made.
    fn check_name(&mut self, path: &[Step<'_>], name: &str, longest: usize, dots: bool) {
        let good =
            |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || (dots && c == '.');
        let ends = |c: char| c.is_ascii_alphanumeric();
        if !name.starts_with(ends) || !name.ends_with(ends) || !name.chars().all(good) {
            let message = format!("{name:?} cannot be a name in the cluster");
            let help = if dots {
                "names have letters, digits, `-`, `_` and `.`, and begin and end with one of the first two"
            } else {
                "names have letters, digits, `-` and `_`, and begin and end with one of the first two"
            };
            self.error_help(codes::NOT_A_NAME, path, message, help);
        } else if name.len() > longest {
            let message = format!(
                "the name {name} has {} characters; at most {longest} fit",
                name.len()
            );
            self.error_help(
                codes::NOT_A_NAME,
                path,
                message,
                "shorten the key or the name of the stack",
            );
        }
    }

    /// Says that `section` has no `key`, and which one was meant.
    fn undeclared<'k>(
        &mut self,
        path: &[Step<'_>],
        kind: &str,
        key: &str,
        known: impl Iterator<Item = &'k String>,
    ) {
        let meant = nearest(key, known.map(String::as_str)).map(str::to_owned);
        let message = format!("the {kind} {key} is not declared");
        let help = match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("declare it under the top-level `{kind}s`"),
        };
        self.error_help(codes::UNDECLARED, path, message, help);
    }

    /// The networks that services use, declared or default.
    fn networks(&mut self) -> Vec<StackNetwork> {
        let mut used = BTreeSet::new();
        for service in self.file.services.values() {
            if service.networks.is_empty() {
                used.insert(DEFAULT_NETWORK);
            }
            used.extend(service.networks.keys().map(String::as_str));
        }
        let unused: Vec<&String> = self
            .file
            .networks
            .keys()
            .filter(|key| !used.contains(key.as_str()))
            .collect();
        for key in unused {
            let path = [Step::Key("networks"), Step::Key(key)];
            let help = "remove it, or name it under a service's `networks`";
            self.warn_help(
                codes::UNUSED_NETWORK,
                &path,
                "no service uses this network; it is not made",
                help,
            );
        }
        let default = model::Network::default();
        let mut out = Vec::with_capacity(used.len());
        for key in used {
            let declared = self.file.networks.get(key);
            if declared.is_none() && key != DEFAULT_NETWORK {
                // The service that names it has said so.
                continue;
            }
            let network = declared.unwrap_or(&default);
            let name = self.name(key, &network.name);
            let spec = if network.external {
                NetworkSpec {
                    name: name.clone(),
                    ..NetworkSpec::default()
                }
            } else {
                self.network_spec(key, &name, network)
            };
            out.push(StackNetwork {
                key: key.to_owned(),
                name,
                external: network.external,
                spec,
            });
        }
        out.sort_by(|a, b| a.name.cmp(&b.name));
        out
    }

    fn network_spec(&mut self, key: &str, name: &str, network: &model::Network) -> NetworkSpec {
        let base = [Step::Key("networks"), Step::Key(key)];
        let at = |more: &[Step<'static>]| [&base[..], more].concat();
        self.check_name(&base, name, 63, true);
        if !matches!(network.driver.as_str(), "" | "overlay") {
            let message = format!("the network driver {:?} is not supported", network.driver);
            let help = "networks of a stack span its nodes: leave the driver out, or write overlay";
            self.error_help(
                codes::NOT_SUPPORTED,
                &at(&[Step::Key("driver")]),
                message,
                help,
            );
        }
        let mut subnets = Vec::new();
        for (index, pool) in network.ipam.config.iter().enumerate() {
            let path = at(&[
                Step::Key("ipam"),
                Step::Key("config"),
                Step::Index(index),
                Step::Key("subnet"),
            ]);
            match pool.subnet.parse::<IpNet>() {
                Ok(IpNet::V4(subnet)) => subnets.push(subnet.trunc()),
                Ok(IpNet::V6(_)) => {
                    let message = format!("{:?} is left out", pool.subnet);
                    let help = "networks have IPv4 addresses only";
                    self.warn_help(codes::VALUE_WITHOUT_EFFECT, &path, message, help);
                }
                Err(_) => {
                    let message = format!("{:?} is not a subnet", pool.subnet);
                    self.error_help(
                        codes::ADDRESS,
                        &path,
                        message,
                        "a subnet is written as 10.1.0.0/16",
                    );
                }
            }
        }
        NetworkSpec {
            name: name.to_owned(),
            labels: self.labels(&network.labels),
            driver: "overlay".to_owned(),
            options: network.driver_opts.0.clone(),
            subnets,
            internal: network.internal,
            attachable: network.attachable,
            ingress: false,
            ipv6: false,
        }
    }

    /// Secrets or configs.
    fn data<Id>(
        &mut self,
        section: &'static str,
        declared: &model::Dict<model::FileObject>,
        most: usize,
    ) -> Vec<StackData<Id>> {
        let mut out = Vec::new();
        for (key, object) in &declared.0 {
            let name = self.name(key, &object.name);
            let mut data = StackData {
                key: key.clone(),
                name,
                labels: Labels::new(),
                template: false,
                content: Content::External,
            };
            if object.external {
                self.no_content(section, key, object);
            } else {
                let content = self.content(section, key, &data.name, object, most);
                data.labels = self.labels(&object.labels);
                data.template = self.is_template(section, key, object, &content);
                data.content = Content::Given(content);
            }
            out.push(data);
        }
        out.sort_by(|a, b| a.name.cmp(&b.name));
        out
    }

    fn volumes(&mut self) -> Vec<StackVolume> {
        let file = self.file;
        let make = |(key, volume): (&String, &model::Volume)| StackVolume {
            key: key.clone(),
            name: self.name(key, &volume.name),
            external: volume.external,
            driver: volume.driver.clone(),
            options: volume.driver_opts.0.clone(),
            labels: if volume.external {
                Labels::new()
            } else {
                self.labels(&volume.labels)
            },
        };
        let mut out: Vec<_> = file.volumes.iter().map(make).collect();
        out.sort_by(|a, b| a.name.cmp(&b.name));
        out
    }
}
