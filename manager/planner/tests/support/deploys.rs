//! Deploys of stacks in scenarios. Each service is on all its networks and has all its
//! secrets.
//!
//! ```text
//! deploy shop web=nginx*3@8080 agent=tool*global net=front secret=key:hush
//! deploy shop web=nginx>db db=postgres (web waits for db)
//! deploy shop web=nginx ext-net=theirs ext-secret=pass prune reset-scale
//! deploy shop back=1 | undeploy shop | forget-stacks (what they are of stays)
//! ```

use super::World;
use skep_manager_planner::deploy::{DeployOptions, deploy, remove};
use skep_manager_store::{
    Action, ConfigAction, DataAction, Dump, NetworkAction, SecretAction, ServiceAction,
    StackAction, StackPart, Store,
};
use skep_types::{
    Content, Dependency, DependencyCondition, FileTarget, Labels, NetworkSpec, PortConfig,
    STACK_LABEL, SecretId, ServiceMode, StackData, StackNetwork, StackService, StackSpec,
};
use std::fmt::Write as _;
use std::sync::Arc;

fn target(name: &str) -> FileTarget {
    FileTarget {
        path: name.to_owned(),
        uid: 0,
        gid: 0,
        mode: 0o444,
    }
}

/// A service of `web=nginx*3@8080>db`.
fn service(stack: &str, key: &str, value: &str) -> StackService {
    let (value, on) = value.split_once('>').unwrap_or((value, ""));
    let (value, port) = value.split_once('@').unwrap_or((value, ""));
    let (image, count) = value.split_once('*').unwrap_or((value, ""));
    let mut service = StackService {
        key: key.to_owned(),
        replicas_given: !count.is_empty(),
        ..StackService::default()
    };
    service.spec.name = format!("{stack}_{key}");
    service.spec.labels = Labels::from([(STACK_LABEL.to_owned(), stack.to_owned())]);
    Arc::make_mut(&mut service.spec.task).container.image = image.to_owned();
    service.spec.mode = match count {
        "global" => ServiceMode::Global,
        count => ServiceMode::Replicated {
            replicas: count.parse().unwrap_or(1),
        },
    };
    if !on.is_empty() {
        service.spec.depends_on = vec![Dependency {
            service: format!("{stack}_{on}"),
            condition: DependencyCondition::Started,
            optional: false,
        }];
    }
    if let Ok(published) = port.parse() {
        service.spec.endpoint.ports = vec![PortConfig {
            protocol: Default::default(),
            target: 80,
            published,
            mode: Default::default(),
            masquerade: false,
        }];
    }
    service
}

impl World {
    pub(super) fn deploy_line(&mut self, words: &[&str]) {
        if words[0] == "forget-stacks" {
            // As if something else had deployed them.
            let stacks = Vec::new();
            let dump = self.store.state().dump();
            self.store = Store::load(Dump { stacks, ..dump });
            return;
        }
        let stack = words[1];
        if words[0] == "undeploy" {
            match remove(self.store.state(), self.now, stack) {
                Err(refused) => self.out.push_str(&format!("{refused}\n")),
                Ok(Some(action)) => self.try_stack(action),
                Ok(None) => self.out.push_str("nothing to remove\n"),
            }
            return;
        }
        let labels = Labels::from([(STACK_LABEL.to_owned(), stack.to_owned())]);
        let mut how = DeployOptions::default();
        let mut spec = StackSpec {
            name: stack.to_owned(),
            ..StackSpec::default()
        };
        let mut services = Vec::new();
        for word in &words[2..] {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "prune" => how.prune = true,
                "reset-scale" => how.reset_scale = true,
                "back" => {
                    let to = value.parse().unwrap();
                    let present = self.store.state().stack_named(stack).unwrap();
                    spec = StackSpec::clone(&present.past_revision(to).unwrap().spec);
                    how.returns_to = Some(to);
                    how.prune = true;
                }
                "net" | "ext-net" => {
                    let external = key == "ext-net";
                    let name = if external {
                        value.to_owned()
                    } else {
                        format!("{stack}_{value}")
                    };
                    spec.networks.push(StackNetwork {
                        key: value.to_owned(),
                        name: name.clone(),
                        external,
                        spec: NetworkSpec {
                            name,
                            labels: labels.clone(),
                            ..NetworkSpec::default()
                        },
                    });
                }
                "secret" | "ext-secret" => {
                    let (name, content) = value.split_once(':').unwrap_or((value, ""));
                    spec.secrets.push(StackData::<SecretId> {
                        key: name.to_owned(),
                        name: name.to_owned(),
                        labels: labels.clone(),
                        template: false,
                        content: match key {
                            "secret" => Content::Given(content.as_bytes().into()),
                            _ => Content::External,
                        },
                    });
                }
                _ => services.push(service(stack, key, value)),
            }
        }
        for mut service in services {
            let networks = spec.networks.iter();
            service.networks = networks.map(|n| (n.name.clone(), vec![])).collect();
            let secrets = spec.secrets.iter();
            service.secrets = secrets.map(|s| (s.name.clone(), target(&s.name))).collect();
            spec.services.push(Arc::new(service));
        }
        match deploy(self.store.state(), self.now, &spec, how, &mut self.ids) {
            Ok(action) => self.try_stack(action),
            Err(faults) => {
                for fault in faults {
                    let _ = writeln!(self.out, "{fault}");
                }
            }
        }
    }

    /// Shows and applies it: what was planned on this state is not refused.
    fn try_stack(&mut self, action: StackAction) {
        let (StackAction::Apply { parts, .. } | StackAction::Remove { parts, .. }) = &action;
        for part in parts {
            let text = self.shown(part);
            let _ = writeln!(self.out, "{text}");
        }
        if parts.is_empty() {
            self.out.push_str("nothing to change\n");
        }
        self.must(Action::Stack(action));
    }

    fn shown(&self, part: &StackPart) -> String {
        let state = self.store.state();
        match part {
            StackPart::Service(ServiceAction::Create { spec, .. }) => {
                format!("create service {}", spec.name)
            }
            StackPart::Service(ServiceAction::Update { spec, .. }) => {
                format!("update service {}", spec.name)
            }
            StackPart::Service(ServiceAction::Remove { id }) => {
                format!("remove service {}", state.service(*id).unwrap().spec.name)
            }
            StackPart::Service(other) => format!("{other:?}"),
            StackPart::Network(NetworkAction::Create { spec, .. }) => {
                format!("create network {}", spec.name)
            }
            StackPart::Network(NetworkAction::Remove { id }) => {
                format!("remove network {}", state.network(*id).unwrap().spec.name)
            }
            StackPart::Network(other) => format!("{other:?}"),
            StackPart::Secret(action) => shown_secret(action, |id| {
                let secret = state.secret(id);
                secret.map_or("its new content".to_owned(), |s| s.spec.name.clone())
            }),
            StackPart::Config(ConfigAction::Remove { id }) => format!("remove config {id}"),
            StackPart::Config(other) => format!("{other:?}"),
        }
    }
}

fn shown_secret(action: &SecretAction, name: impl Fn(SecretId) -> String) -> String {
    match action {
        DataAction::Create { spec, .. } => format!("create secret {}", spec.name),
        DataAction::SetLabels { id, .. } => format!("label secret {}", name(*id)),
        DataAction::Rotate { spec, .. } => format!("rotate secret {}", spec.name),
        DataAction::RollOut { id } => format!("roll out {}", name(*id)),
        DataAction::Remove { id } => format!("remove secret {}", name(*id)),
        DataAction::Collect { id } => format!("collect secret {}", name(*id)),
    }
}
