//! A task's spec, secrets and configs as they are on this node: looked up in what the
//! managers said, their templates filled in.

use crate::executor::Failure;
use skep_agent_runtime::FileInTmpfs;
use skep_types::assignment::AssignmentSet;
use skep_types::secret::{CONFIG_MAX_BYTES, SECRET_MAX_BYTES};
use skep_types::template::{self, Context, Files, NodeContext, Template};
use skep_types::{ContainerSpec, FileReference, Labels, Node, Task};
use std::fmt::Display;
use std::sync::Arc;

/// What a container is made of.
#[derive(Debug, PartialEq)]
pub(crate) struct Filled {
    /// Without templates.
    pub(crate) spec: ContainerSpec,
    pub(crate) secrets: Vec<FileInTmpfs>,
    pub(crate) configs: Vec<FileInTmpfs>,
}

/// Looks up and fills in. Right after the daemon's start the managers have said nothing
/// yet: then only a task that needs nothing of it can go on.
pub(crate) fn filled(
    task: &Task,
    set: Option<&AssignmentSet>,
    node: Option<&Node>,
) -> Result<Filled, Failure> {
    let spec = &task.spec.container;
    if spec.secrets.is_empty() && spec.configs.is_empty() && !template::is_templated(spec) {
        return Ok(Filled {
            spec: spec.clone(),
            secrets: Vec::new(),
            configs: Vec::new(),
        });
    }
    let (Some(set), Some(node)) = (set, node) else {
        let what = "waiting for a manager: secrets, configs and what templates ask for are not \
                    kept on disk";
        return Err(Failure::Temporary(what.to_owned()));
    };
    let none = Labels::new();
    let labels = set.labels.get(&task.service).map_or(&none, AsRef::as_ref);
    let here = NodeContext {
        id: node.id,
        hostname: &node.description.hostname,
        os: &node.description.platform.os,
        architecture: &node.description.platform.architecture,
        labels: Some(&node.spec.labels),
    };
    let context = Context::of(task, labels, here);
    let spec = template::expand(spec.clone(), &context)
        .map_err(|error| Failure::Fatal(error.to_string()))?;
    let beside = Beside { set, spec: &spec };
    let secrets = spec.secrets.iter().map(|reference| {
        let found = set.secrets.get(&reference.id);
        let found = found.map(|secret| (&secret.spec.data, secret.spec.template));
        file(
            "secret",
            reference,
            found,
            &context,
            &beside,
            SECRET_MAX_BYTES,
        )
    });
    let secrets = secrets.collect::<Result<_, _>>()?;
    let configs = spec.configs.iter().map(|reference| {
        let found = set.configs.get(&reference.id);
        let found = found.map(|config| (&config.spec.data, config.spec.template));
        file(
            "config",
            reference,
            found,
            &context,
            &beside,
            CONFIG_MAX_BYTES,
        )
    });
    let configs = configs.collect::<Result<_, _>>()?;
    Ok(Filled {
        spec,
        secrets,
        configs,
    })
}

fn file<Id: Display>(
    kind: &str,
    reference: &FileReference<Id>,
    found: Option<(&Arc<[u8]>, bool)>,
    context: &Context<'_>,
    beside: &Beside<'_>,
    limit: usize,
) -> Result<FileInTmpfs, Failure> {
    let FileReference { id, name, target } = reference;
    // A task is only assigned together with what it uses; what is missing was
    // removed meanwhile, and the managers know by now.
    let Some((data, is_template)) = found else {
        let what = format!("{kind} {name} ({id}) does not exist");
        return Err(Failure::Fatal(what));
    };
    let data = match is_template {
        false => data.clone(),
        true => {
            let wrong = |what: String| Failure::Fatal(format!("template in {kind} {name}: {what}"));
            let filled = Template::of_content(data)
                .and_then(|template| template.render(context, beside, limit));
            filled.map_err(|error| wrong(error.to_string()))?.into()
        }
    };
    Ok(FileInTmpfs {
        path: target.path.clone(),
        uid: target.uid,
        gid: target.gid,
        mode: target.mode,
        data,
    })
}

/// What the content of a secret or config sees: what its service uses, as it is, not
/// filled in itself.
struct Beside<'a> {
    set: &'a AssignmentSet,
    spec: &'a ContainerSpec,
}

impl Files for Beside<'_> {
    fn secret(&self, target: &str) -> Option<Arc<[u8]>> {
        let mut secrets = self.spec.secrets.iter();
        let reference = secrets.find(|secret| secret.target.path == target)?;
        let secret = self.set.secrets.get(&reference.id)?;
        Some(secret.spec.data.clone())
    }

    fn config(&self, target: &str) -> Option<Arc<[u8]>> {
        let mut configs = self.spec.configs.iter();
        let reference = configs.find(|config| config.target.path == target)?;
        let config = self.set.configs.get(&reference.id)?;
        Some(config.spec.data.clone())
    }

    fn env(&self, name: &str) -> Option<String> {
        let variables = self.spec.env.iter();
        let mut pairs = variables.filter_map(|variable| variable.split_once('='));
        pairs
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_types::{
        Availability, ConfigId, ConfigSpec, FileTarget, Meta, NodeDescription, NodeId, NodeSpec,
        Platform, SecretId, SecretSpec, ServiceId, Slot, TaskId, TaskSpec, TaskState, TaskStatus,
        Version,
    };

    fn reference<Id>(id: Id, path: &str) -> FileReference<Id> {
        FileReference {
            id,
            name: "it".to_owned(),
            target: FileTarget {
                path: path.to_owned(),
                uid: 0,
                gid: 0,
                mode: 0o444,
            },
        }
    }

    /// A task with a template as the value of a variable, a secret and a config.
    fn task(env: &str) -> Task {
        let mut spec = TaskSpec::default();
        spec.container.env = vec![format!("WHO={env}")];
        spec.container.secrets = vec![reference(SecretId::from_bits(1), "key")];
        spec.container.configs = vec![reference(ConfigId::from_bits(1), "/page")];
        Task {
            id: TaskId::from_bits(1),
            meta: Meta::default(),
            service: ServiceId::from_bits(9),
            service_name: "web".into(),
            slot: Slot(2),
            node: None,
            spec: Arc::new(spec),
            spec_version: Version(1),
            desired: TaskState::Running,
            status: TaskStatus::default(),
            attachments: Vec::new(),
            cause: Default::default(),
            stop_cause: None,
            restarts: Default::default(),
            start_at: None,
            run: 0,
            generic: Default::default(),
        }
    }

    fn node() -> Node {
        Node {
            id: NodeId::from_bits(7),
            meta: Meta::default(),
            spec: NodeSpec {
                labels: [("zone".to_owned(), "z1".to_owned())].into(),
                availability: Availability::Active,
                ..NodeSpec::default()
            },
            description: NodeDescription {
                hostname: "alfa".to_owned(),
                platform: Platform {
                    os: "linux".to_owned(),
                    architecture: "x86_64".to_owned(),
                },
                ..NodeDescription::default()
            },
            status: Default::default(),
            role: Default::default(),
            role_since: Default::default(),
            drain_since: None,
            manager: None,
            mesh: None,
        }
    }

    /// What the managers told, with that as the content of the config.
    fn set(page: &str, template: bool) -> AssignmentSet {
        let secret = skep_types::Secret {
            id: SecretId::from_bits(1),
            meta: Meta::default(),
            spec: SecretSpec {
                data: Arc::from(*b"{{hush}}"),
                ..SecretSpec::default()
            },
            generation: 1,
            superseded_at: None,
        };
        let config = skep_types::Config {
            id: ConfigId::from_bits(1),
            meta: Meta::default(),
            spec: ConfigSpec {
                data: page.as_bytes().into(),
                template,
                ..ConfigSpec::default()
            },
            generation: 1,
            superseded_at: None,
        };
        let labels = [("tier".to_owned(), "front".to_owned())].into();
        AssignmentSet {
            secrets: [(secret.id, Arc::new(secret))].into(),
            configs: [(config.id, Arc::new(config))].into(),
            labels: [(ServiceId::from_bits(9), Arc::new(labels))].into(),
            ..AssignmentSet::default()
        }
    }

    /// The variable and the config, or what is said instead.
    fn made(env: &str, page: &str, template: bool) -> Result<(String, String), String> {
        match filled(&task(env), Some(&set(page, template)), Some(&node())) {
            Ok(filled) => {
                let page = String::from_utf8_lossy(&filled.configs[0].data).into_owned();
                Ok((filled.spec.env[0].clone(), page))
            }
            Err(Failure::Fatal(said)) => Err(said),
            Err(Failure::Temporary(said)) => Err(format!("later: {said}")),
        }
    }

    #[test]
    fn templates_know_node_service_task_and_each_other() {
        let env =
            "{{.Node.Hostname}} {{.Node.Labels.zone}} {{.Service.Labels.tier}}.{{.Task.Slot}}";
        let page = "{{.Node.Platform.Architecture}} {{secret \"key\"}} {{env \"WHO\"}}";
        let (variable, filled) = made(env, page, true).unwrap();
        assert_eq!(variable, "WHO=alfa z1 front.2");
        // What a secret holds is not filled in itself.
        assert_eq!(filled, "x86_64 {{hush}} alfa z1 front.2");
        assert_eq!(made("", page, false).unwrap().1, page);
    }

    #[test]
    fn what_cannot_be_filled_in_says_where() {
        assert_eq!(
            made("{{.Node.Labels.rack}}", "", false).unwrap_err(),
            "template in env WHO: column 3: node alfa has no label rack"
        );
        assert_eq!(
            made("", "\n {{secret \"none\"}}", true).unwrap_err(),
            "template in config it: line 2, column 4: the service has no secret with this target"
        );
        let large = "{{config \"/page\"}}".repeat(40_000);
        let said = made("", &large, true).unwrap_err();
        assert!(
            said.ends_with("the result gets longer than 1024000 bytes"),
            "{said}"
        );
    }

    #[test]
    fn before_a_manager_was_heard_only_what_needs_none_goes_on() {
        assert!(matches!(
            filled(&task("a"), None, None),
            Err(Failure::Temporary(_))
        ));
        let mut alone = task("{{.Task.Slot}}");
        let container = &mut Arc::make_mut(&mut alone.spec).container;
        container.secrets.clear();
        container.configs.clear();
        assert!(matches!(
            filled(&alone, None, None),
            Err(Failure::Temporary(_))
        ));
        Arc::make_mut(&mut alone.spec).container.env = vec!["A=b".to_owned()];
        assert!(filled(&alone, None, None).is_ok());
    }
}
