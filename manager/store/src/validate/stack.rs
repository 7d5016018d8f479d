//! Checks of a stack as it was sent: its name, its size, whose its objects are, and what
//! its services refer to. Each object is checked by itself once it is known what is to be
//! done with it.

use super::{Invalid, NAME_MAX};
use crate::snapshot::fold;
use skep_types::{Content, Labels, STACK_LABEL, StackData, StackService, StackSpec};
use std::collections::BTreeSet;

/// Most bytes of a stack, without the contents of its secrets and configs. As much is
/// kept of it, and of each of its earlier revisions.
pub const STACK_MAX_BYTES: usize = 512 * 1024;

/// Checks a stack that is to be deployed. `bytes`: how large it was when it was sent.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn validate_stack(spec: &StackSpec, bytes: usize) -> Result<(), Invalid> {
    // Destructured, so that a new part has to be thought of here.
    let StackSpec {
        name,
        networks,
        secrets,
        configs,
        volumes,
        services,
        source: _,
    } = spec;
    check_name(name)?;
    let stack = Checked { name };
    let contents = contents(secrets) + contents(configs);
    let bytes = bytes.saturating_sub(contents);
    if bytes > STACK_MAX_BYTES {
        return stack.refuse(format!(
            "it has {bytes} bytes beside the contents of its secrets and configs, and \
             {STACK_MAX_BYTES} at most are kept: make two stacks of it"
        ));
    }
    let networks = stack.unique("network", networks, |n| &n.name)?;
    for network in spec.networks.iter().filter(|network| !network.external) {
        stack.require_own("network", &network.name, &network.spec.labels)?;
        if network.spec.name != network.name {
            return stack.refuse(format!(
                "network {} is {} in its spec",
                network.name, network.spec.name
            ));
        }
        if network.spec.ingress {
            return stack.refuse(format!(
                "network {} is an ingress network, which is the whole swarm's",
                network.name
            ));
        }
    }
    let secrets = stack.data("secret", secrets)?;
    let configs = stack.data("config", configs)?;
    stack.unique("volume", volumes, |volume| &volume.name)?;
    stack.unique("service", services, |service| &service.spec.name)?;
    for service in services {
        let StackService {
            key: _,
            spec: of_service,
            replicas_given: _,
            networks: on,
            secrets: its_secrets,
            configs: its_configs,
        } = service.as_ref();
        let name = &of_service.name;
        stack.require_own("service", name, &of_service.labels)?;
        let container = &of_service.task.container;
        let names_ids = !of_service.task.networks.is_empty()
            || !container.secrets.is_empty()
            || !container.configs.is_empty();
        if names_ids {
            return stack.refuse(format!(
                "service {name} refers to something by id: a stack refers by name"
            ));
        }
        stack.require_declared(name, "network", on, &networks)?;
        stack.require_declared(name, "secret", its_secrets, &secrets)?;
        stack.require_declared(name, "config", its_configs, &configs)?;
    }
    Ok(())
}

/// As stack files have it: what its services are called begins with it.
fn check_name(name: &str) -> Result<(), Invalid> {
    if name.is_empty() {
        return Err(Invalid::NoName("stack"));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.chars().all(fits) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(Invalid::Name(name.to_owned()));
    }
    if name.len() > NAME_MAX {
        return Err(Invalid::NameTooLong {
            name: name.to_owned(),
            max: NAME_MAX,
        });
    }
    Ok(())
}

fn contents<Id>(all: &[StackData<Id>]) -> usize {
    let sizes = all.iter().map(|data| match &data.content {
        Content::Given(content) => content.len(),
        Content::External | Content::Kept(_) => 0,
    });
    sizes.sum()
}

/// The stack, as far as messages need it.
struct Checked<'a> {
    name: &'a str,
}

impl Checked<'_> {
    fn refuse<T>(&self, why: String) -> Result<T, Invalid> {
        Err(Invalid::Stack {
            stack: self.name.to_owned(),
            why,
        })
    }

    /// The names of all objects of a kind: one each, whatever its case.
    fn unique<'t, T>(
        &self,
        kind: &str,
        all: &'t [T],
        name: impl Fn(&'t T) -> &'t String,
    ) -> Result<BTreeSet<&'t str>, Invalid> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = all.iter().map(&name).find(|name| !seen.insert(fold(name))) {
            return self.refuse(format!("there is more than one {kind} named '{twice}'"));
        }
        Ok(all.iter().map(|one| name(one).as_str()).collect())
    }

    /// Its secrets or configs: whose they are, and that they have content.
    fn data<'t, Id>(
        &self,
        kind: &str,
        all: &'t [StackData<Id>],
    ) -> Result<BTreeSet<&'t str>, Invalid> {
        for data in all {
            match data.content {
                Content::External => {}
                Content::Given(_) => self.require_own(kind, &data.name, &data.labels)?,
                Content::Kept(_) => {
                    return self.refuse(format!("{kind} {} comes without content", data.name));
                }
            }
        }
        self.unique(kind, all, |data| &data.name)
    }

    /// What it brings bears its label: by that it is known to belong to it.
    fn require_own(&self, kind: &str, name: &str, labels: &Labels) -> Result<(), Invalid> {
        if labels.get(STACK_LABEL).is_some_and(|of| of == self.name) {
            return Ok(());
        }
        self.refuse(format!(
            "{kind} {name} is to be part of it without the label {STACK_LABEL}={}",
            self.name
        ))
    }

    fn require_declared<T>(
        &self,
        service: &str,
        kind: &str,
        references: &[(String, T)],
        declared: &BTreeSet<&str>,
    ) -> Result<(), Invalid> {
        let mut names = references.iter().map(|(name, _)| name.as_str());
        match names.find(|name| !declared.contains(name)) {
            None => Ok(()),
            Some(name) => self.refuse(format!(
                "service {service} refers to the {kind} {name}, which the stack does not declare"
            )),
        }
    }
}
