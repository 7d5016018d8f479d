//! What a swarm has already of a stack that is deployed: found out, and judged,
//! before anything is sent.
//!
//! Owns the comparing; sending is `deploy`'s.

use super::belongs;
use crate::view::View;
use anyhow::{Result, bail};
use skep_types::stack::Ids;
use skep_types::{Content, Labels, NetworkSpec, STACK_LABEL, StackData, StackSpec};
use std::collections::BTreeMap;

/// What the cluster has, by name.
pub fn known(view: &View) -> Ids {
    Ids {
        networks: view
            .networks
            .iter()
            .map(|n| (n.spec.name.clone(), n.id))
            .collect(),
        secrets: view
            .secrets
            .iter()
            .map(|s| (s.spec.name.clone(), s.id))
            .collect(),
        configs: view
            .configs
            .iter()
            .map(|c| (c.spec.name.clone(), c.id))
            .collect(),
    }
}

/// Everything that speaks against deploying the stack.
///
/// # Errors
/// What is missing, is somebody else's or cannot be changed, and what to do.
pub fn check(stack: &StackSpec, view: &View) -> Result<()> {
    require_externals(stack, &known(view))?;
    require_own(stack, view)
}

fn require_externals(stack: &StackSpec, ids: &Ids) -> Result<()> {
    for network in stack.networks.iter().filter(|network| network.external) {
        if !ids.networks.contains_key(&network.name) {
            bail!(
                "network {:?} is declared as external, but could not be found. You need to create \
                 a swarm-scoped network before the stack is deployed: skep network create {}",
                network.name,
                network.name
            );
        }
    }
    for secret in stack.secrets.iter().filter(|secret| is_external(secret)) {
        if !ids.secrets.contains_key(&secret.name) {
            bail!(
                "secret {:?} is declared as external, but does not exist",
                secret.name
            );
        }
    }
    for config in stack.configs.iter().filter(|config| is_external(config)) {
        if !ids.configs.contains_key(&config.name) {
            bail!(
                "config {:?} is declared as external, but does not exist",
                config.name
            );
        }
    }
    Ok(())
}

fn is_external<Id>(data: &StackData<Id>) -> bool {
    matches!(data.content, Content::External)
}

/// What bears a name of the stack must be part of it: a deploy changes what it
/// finds, and `stack rm` would remove it.
fn require_own(stack: &StackSpec, view: &View) -> Result<()> {
    let own = |kind: &str, names: Vec<&str>, present: BTreeMap<&str, &Labels>| {
        for name in names {
            let Some(labels) = present.get(name) else {
                continue;
            };
            if belongs(labels, &stack.name) {
                continue;
            }
            let whose = match labels.get(STACK_LABEL) {
                Some(other) => format!("is part of the stack {other}"),
                None => format!("is not part of the stack {}", stack.name),
            };
            let help = match kind {
                "service" => format!("remove it (skep service rm {name}), or rename the file's"),
                _ => format!(
                    "to use it as it is, write `name: {name}` and `external: true` in the file; \
                     else give the file's another name"
                ),
            };
            bail!(
                "name conflicts with an existing object: {kind} {name} already exists and \
                 {whose}; {help}"
            );
        }
        Ok(())
    };
    own(
        "network",
        names(&stack.networks, |n| (!n.external).then_some(&n.name)),
        labels(&view.networks, |n| (&n.spec.name, &n.spec.labels)),
    )?;
    own(
        "secret",
        names(&stack.secrets, |s| (!is_external(s)).then_some(&s.name)),
        labels(&view.secrets, |s| (&s.spec.name, &s.spec.labels)),
    )?;
    own(
        "config",
        names(&stack.configs, |c| (!is_external(c)).then_some(&c.name)),
        labels(&view.configs, |c| (&c.spec.name, &c.spec.labels)),
    )?;
    own(
        "service",
        names(&stack.services, |s| Some(&s.spec.name)),
        labels(&view.services, |s| (&s.spec.name, &s.spec.labels)),
    )
}

fn names<T>(all: &[T], name: impl Fn(&T) -> Option<&String>) -> Vec<&str> {
    all.iter().filter_map(name).map(String::as_str).collect()
}

fn labels<T>(all: &[T], of: impl Fn(&T) -> (&String, &Labels)) -> BTreeMap<&str, &Labels> {
    let entry = |(name, labels): (_, _)| (String::as_str(name), labels);
    all.iter().map(of).map(entry).collect()
}

/// A warning for each network that is there and not as the file has it: networks
/// cannot be changed.
pub fn changed_networks(stack: &StackSpec, view: &View) -> Vec<String> {
    let own = stack.networks.iter().filter(|network| !network.external);
    own.filter_map(|network| {
        let name = &network.name;
        let present = view.networks.iter().find(|n| n.spec.name == *name)?;
        let keys = differing(&present.spec, &network.spec);
        (!keys.is_empty()).then(|| {
            format!(
                "network {name} stays as it is: it differs from the file in {}, and a \
                 network cannot be changed\n  help: remove the stack (skep stack rm {stack}), or \
                 only the services on the network and then it (skep network rm {name}), and \
                 deploy again",
                keys.join(", "),
                stack = stack.name,
            )
        })
    })
    .collect()
}

/// Keys of a stack file in which two specs of a network differ.
fn differing(present: &NetworkSpec, file: &NetworkSpec) -> Vec<&'static str> {
    let NetworkSpec {
        name: _,
        labels,
        driver,
        options,
        subnets,
        internal,
        attachable,
        ingress,
        ipv6,
    } = file;
    let keys = [
        (present.driver != *driver, "driver"),
        (present.options != *options, "driver_opts"),
        (present.subnets != *subnets, "ipam.config"),
        (present.internal != *internal, "internal"),
        (present.attachable != *attachable, "attachable"),
        (present.labels != *labels, "labels"),
        (present.ingress != *ingress, "ingress"),
        (present.ipv6 != *ipv6, "enable_ipv6"),
    ];
    let differ = keys.into_iter().filter(|(differs, _)| *differs);
    differ.map(|(_, key)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::message;
    use crate::testing::{service, swarm};
    use skep_stacks::LoadInput;
    use std::path::Path;

    const FILE: &str = "
services:
  web: {image: 'nginx:1.29', networks: [front], secrets: [key], configs: [page]}
networks:
  front: {driver_opts: {encrypted: ''}, internal: true}
secrets:
  key: {file: ./key}
configs:
  page: {file: ./page}
";

    fn shop() -> Result<StackSpec> {
        let input = LoadInput {
            files: &[("shop.yml", FILE)],
            stack: Some("shop"),
            profiles: &[],
            env: &|_| None,
            env_files: &[],
            read: &|_| Ok(b"text".to_vec()),
            workdir: Path::new("/"),
        };
        Ok(skep_stacks::load(input)?.stack)
    }

    /// The swarm after the stack was deployed once.
    fn deployed(stack: &StackSpec) -> View {
        let mut web = service(1, "shop_web", 1);
        web.spec = stack.services[0].spec.clone();
        View {
            networks: vec![skep_types::Network {
                id: skep_types::NetworkId::from_bits(1),
                meta: Default::default(),
                spec: stack.networks[0].spec.clone(),
                subnets: vec![],
                blocks: BTreeMap::new(),
            }],
            secrets: vec![skep_types::Secret {
                id: skep_types::SecretId::from_bits(1),
                meta: Default::default(),
                spec: skep_types::SecretSpec {
                    name: stack.secrets[0].name.clone(),
                    labels: stack.secrets[0].labels.clone(),
                    ..Default::default()
                },
                generation: 1,
                superseded_at: None,
            }],
            configs: vec![skep_types::Config {
                id: skep_types::ConfigId::from_bits(1),
                meta: Default::default(),
                spec: skep_types::ConfigSpec {
                    name: stack.configs[0].name.clone(),
                    labels: stack.configs[0].labels.clone(),
                    ..Default::default()
                },
                generation: 1,
                superseded_at: None,
            }],
            ..swarm(vec![web])
        }
    }

    fn refusal(stack: &StackSpec, view: &View) -> String {
        let refused = check(stack, view).err();
        refused
            .and_then(|error| message(&error))
            .unwrap_or_default()
    }

    #[test]
    fn what_is_new_and_what_is_the_stacks_own_goes_through() -> Result<()> {
        let stack = shop()?;
        check(&stack, &swarm(Vec::new()))?;
        let view = deployed(&stack);
        check(&stack, &view)?;
        assert!(changed_networks(&stack, &view).is_empty());
        Ok(())
    }

    #[test]
    fn what_is_not_the_stacks_is_not_taken_over() -> Result<()> {
        let stack = shop()?;
        let mut view = deployed(&stack);
        view.services[0].spec.labels.clear();
        assert_eq!(
            refusal(&stack, &view),
            "name conflicts with an existing object: service shop_web already exists and is not \
             part of the stack shop; remove it (skep service rm shop_web), or rename the file's"
        );
        type Strip = fn(&mut View);
        let kinds: [(&str, Strip); 3] = [
            ("network shop_front", |v| v.networks[0].spec.labels.clear()),
            ("secret shop_key", |v| v.secrets[0].spec.labels.clear()),
            ("config shop_page", |v| v.configs[0].spec.labels.clear()),
        ];
        for (object, strip) in kinds {
            let mut view = deployed(&stack);
            strip(&mut view);
            let text = refusal(&stack, &view);
            assert!(text.contains(&format!("{object} already exists")), "{text}");
            assert!(text.contains("`external: true`"), "{text}");
        }
        Ok(())
    }

    #[test]
    fn another_stack_is_named() -> Result<()> {
        let stack = shop()?;
        let mut view = deployed(&stack);
        let labels = &mut view.secrets[0].spec.labels;
        labels.insert(STACK_LABEL.to_owned(), "blog".to_owned());
        let text = refusal(&stack, &view);
        assert!(text.contains("secret shop_key already exists"), "{text}");
        assert!(text.contains("is part of the stack blog"), "{text}");
        Ok(())
    }

    #[test]
    fn an_external_object_may_be_anybodys() -> Result<()> {
        let mut stack = shop()?;
        let mut view = deployed(&stack);
        stack.secrets[0].content = Content::External;
        view.secrets[0].spec.labels.clear();
        check(&stack, &view)
    }

    #[test]
    fn a_network_that_differs_is_named_with_its_keys() -> Result<()> {
        let stack = shop()?;
        let mut view = deployed(&stack);
        view.networks[0].spec.options.clear();
        view.networks[0].spec.internal = false;
        let warnings = changed_networks(&stack, &view);
        assert_eq!(
            warnings,
            [
                "network shop_front stays as it is: it differs from the file in \
              driver_opts, internal, and a network cannot be changed\n  help: remove the stack \
              (skep stack rm shop), or only the services on the network and then it (skep network \
              rm shop_front), and deploy again"
            ]
        );
        Ok(())
    }
}
