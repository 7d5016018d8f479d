//! What a stack has, object by object, so that two states of it can be compared: revisions, and
//! what is there now. Everything by name, ids are nobody's business.

use super::asked::SERVICE;
use super::belongs;
use crate::changes::changes;
use crate::json;
use crate::view::View;
use anyhow::Result;
use serde_json::{Map, Value, json};
use skep_types::stack::Ids;
use skep_types::{
    ConfigId, Content, Labels, NetworkId, NetworkSpec, SecretId, ServiceSpec, Stack, StackData,
    StackSpec, StackVolume,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The kind of what is only declared: nodes make it when a task needs it.
pub const VOLUME: &str = "volume";
/// How something is called that is somebody else's.
const EXTERNAL: &str = "External";

/// Objects by kind and name.
#[derive(Debug, Default)]
pub struct Shape {
    objects: BTreeMap<(&'static str, String), Value>,
}

/// An object that two shapes do not have alike.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// Kind of the object.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What came of it.
    pub what: What,
    /// What of it differs, a line each.
    pub changes: Vec<String>,
}

/// What came of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It is new.
    Added,
    /// It is there in both.
    Changed,
    /// It is no more.
    Removed,
}

impl Shape {
    /// What a revision is.
    pub fn of(spec: &StackSpec) -> Result<Self> {
        let mut shape = Shape::default();
        for network in &spec.networks {
            let it = match network.external {
                true => external(),
                false => network_spec(&network.spec),
            };
            shape.add("network", &network.name, it);
        }
        shape.data("secret", &spec.secrets);
        shape.data("config", &spec.configs);
        shape.volumes(&spec.volumes);
        let (ids, names) = stand_ins(spec);
        for service in &spec.services {
            let mut it = service_spec(&service.resolve(&ids)?, &names);
            if !service.replicas_given {
                forget_count(&mut it);
            }
            shape.add(SERVICE, &service.spec.name, it);
        }
        Ok(shape)
    }

    /// What is there now, as far as `like`, a revision, has a say in it: the number of tasks
    /// is not its where it was not written, and volumes are declared and no more.
    pub fn now(view: &View, stack: &Stack, like: &StackSpec) -> Self {
        let name = &stack.spec.name;
        let own = |labels: &Labels| belongs(labels, name);
        let mut shape = Shape::default();
        let mut names = BTreeMap::new();
        for network in &view.networks {
            names.insert(network.id.to_string(), network.spec.name.clone());
            let mut theirs = like.networks.iter().filter(|n| n.external);
            if theirs.any(|n| n.name == network.spec.name) {
                shape.add("network", &network.spec.name, external());
            } else if own(&network.spec.labels) && !stack.leaving.contains(&network.id) {
                let it = network_spec(&network.spec);
                shape.add("network", &network.spec.name, it);
            }
        }
        for secret in &view.secrets {
            let (spec, id) = (&secret.spec, secret.id.to_string());
            if is_external(&like.secrets, &spec.name) {
                shape.add("secret", &spec.name, external());
            } else if own(&spec.labels) {
                let it = held(&spec.labels, spec.template, &id);
                shape.add("secret", &spec.name, it);
            }
            names.insert(id, spec.name.clone());
        }
        for config in &view.configs {
            let (spec, id) = (&config.spec, config.id.to_string());
            if is_external(&like.configs, &spec.name) {
                shape.add("config", &spec.name, external());
            } else if own(&spec.labels) {
                let it = held(&spec.labels, spec.template, &id);
                shape.add("config", &spec.name, it);
            }
            names.insert(id, spec.name.clone());
        }
        shape.volumes(&stack.spec.volumes);
        for service in view.services.iter().filter(|s| own(&s.spec.labels)) {
            let mut it = service_spec(&service.spec, &names);
            let mut counted = like.services.iter().filter(|s| s.replicas_given);
            if !counted.any(|counted| counted.spec.name == service.spec.name) {
                forget_count(&mut it);
            }
            // A deploy lets it be.
            it["TaskTemplate"]["ForceUpdate"] = json!(0);
            shape.add(SERVICE, &service.spec.name, it);
        }
        shape
    }

    /// What its declared volumes are.
    pub fn of_volumes(all: &[StackVolume]) -> Self {
        let mut shape = Shape::default();
        shape.volumes(all);
        shape
    }

    /// What differs from it in `after`, by kind and name.
    pub fn differences(&self, after: &Self) -> Vec<Difference> {
        let nothing = Value::Null;
        let new = after.objects.keys();
        let new = new.filter(|key| !self.objects.contains_key(*key));
        let mut keys: Vec<_> = self.objects.keys().chain(new).collect();
        keys.sort();
        let difference = |key: &(&'static str, String)| {
            let old = self.objects.get(key).unwrap_or(&nothing);
            let new = after.objects.get(key).unwrap_or(&nothing);
            let (what, changes) = match (old, new) {
                (old, new) if old == new => return None,
                (Value::Null, _) => (What::Added, Vec::new()),
                (_, Value::Null) => (What::Removed, Vec::new()),
                (old, new) => (What::Changed, changes(old, new)),
            };
            Some(Difference {
                kind: key.0,
                name: key.1.clone(),
                what,
                changes: changes.into_iter().map(without_ids).collect(),
            })
        };
        keys.into_iter().filter_map(difference).collect()
    }

    fn add(&mut self, kind: &'static str, name: &str, it: Value) {
        self.objects.insert((kind, name.to_owned()), it);
    }

    fn data<Id: fmt::Display>(&mut self, kind: &'static str, all: &[StackData<Id>]) {
        for data in all {
            let it = match &data.content {
                Content::External => external(),
                Content::Kept(id) => held(&data.labels, data.template, &id.to_string()),
                // Nothing that is kept brings any.
                Content::Given(_) => held(&data.labels, data.template, ""),
            };
            self.add(kind, &data.name, it);
        }
    }

    fn volumes(&mut self, all: &[StackVolume]) {
        for volume in all {
            let StackVolume {
                key: _,
                name,
                external: theirs,
                driver,
                options,
                labels,
            } = volume;
            let it = match theirs {
                true => external(),
                false => json!({
                    "Driver": if driver.is_empty() { "local" } else { driver },
                    "Options": map(options),
                    "Labels": map(labels),
                }),
            };
            self.add(VOLUME, name, it);
        }
    }
}

impl What {
    /// The sign that stands for it.
    pub fn sign(self) -> char {
        match self {
            What::Added => '+',
            What::Changed => '~',
            What::Removed => '-',
        }
    }
}

/// How the files of two revisions differ that make the same: the lines that only one has.
pub fn written(before: &str, after: &str) -> Vec<String> {
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) =
        (before.lines().collect(), after.lines().collect());
    let gone = before.lines().filter(|line| !new.contains(line));
    let come = after.lines().filter(|line| !old.contains(line));
    let gone = gone.map(|line| format!("- {line}"));
    gone.chain(come.map(|line| format!("+ {line}"))).collect()
}

fn external() -> Value {
    json!({EXTERNAL: true})
}

fn is_external<Id>(all: &[StackData<Id>], name: &str) -> bool {
    let mut all = all.iter();
    all.any(|data| data.name == name && matches!(data.content, Content::External))
}

fn held(labels: &Labels, template: bool, generation: &str) -> Value {
    json!({CONTENT: generation, "Template": template, "Labels": map(labels)})
}

/// Which generation holds it: that it is another one is all there is to tell.
const CONTENT: &str = "Content";

fn without_ids(line: String) -> String {
    match line.strip_prefix(CONTENT) {
        Some(rest) if rest.starts_with(':') => CONTENT.to_owned(),
        _ => line,
    }
}

fn network_spec(spec: &NetworkSpec) -> Value {
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
    } = spec;
    json!({
        "Driver": json::driver(driver),
        "Options": map(options),
        "Labels": map(labels),
        "Subnets": subnets.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "Internal": internal,
        "Attachable": attachable,
        "Ingress": ingress,
        "EnableIPv6": ipv6,
    })
}

fn service_spec(spec: &ServiceSpec, names: &BTreeMap<String, String>) -> Value {
    let mut it = json::service_spec(spec);
    name_all(&mut it, names);
    it
}

fn map(labels: &Labels) -> Value {
    let entries = labels.iter();
    let entries = entries.map(|(key, value)| (key.clone(), Value::from(value.as_str())));
    Value::Object(entries.collect::<Map<_, _>>())
}

/// How many tasks there are is not the stack's where its files do not say it.
fn forget_count(service: &mut Value) {
    for (mode, key) in [
        ("Replicated", "Replicas"),
        ("ReplicatedJob", "TotalCompletions"),
    ] {
        let mode = service["Mode"].get_mut(mode).and_then(Value::as_object_mut);
        if let Some(mode) = mode {
            mode.remove(key);
        }
    }
}

/// Ids for all that a revision names, and what they mean: what they were is not kept.
fn stand_ins(spec: &StackSpec) -> (Ids, BTreeMap<String, String>) {
    let (mut ids, mut names) = (Ids::default(), BTreeMap::new());
    let mut next = 0;
    let mut number = |names: &mut BTreeMap<String, String>, name: &str| {
        next += 1;
        // Those of all kinds are written alike.
        names.insert(NetworkId::from_bits(next).to_string(), name.to_owned());
        next
    };
    for network in &spec.networks {
        let id = NetworkId::from_bits(number(&mut names, &network.name));
        ids.networks.insert(network.name.clone(), id);
    }
    for secret in &spec.secrets {
        let id = SecretId::from_bits(number(&mut names, &secret.name));
        ids.secrets.insert(secret.name.clone(), id);
    }
    for config in &spec.configs {
        let id = ConfigId::from_bits(number(&mut names, &config.name));
        ids.configs.insert(config.name.clone(), id);
    }
    (ids, names)
}

/// Puts names where ids are.
pub fn name_all(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::String(text) => {
            if let Some(name) = names.get(text) {
                text.clone_from(name);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| name_all(item, names)),
        Value::Object(fields) => fields.values_mut().for_each(|item| name_all(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{service, swarm};
    use expect_test::expect;
    use skep_types::{
        Config, ConfigSpec, FileTarget, Meta, Network, Revision, STACK_LABEL, StackId,
        StackNetwork, StackService, Timestamp,
    };
    use std::sync::Arc;

    fn labels() -> Labels {
        Labels::from([(STACK_LABEL.to_owned(), "shop".to_owned())])
    }

    /// A stack of a service on a network with a config.
    fn spec(image: &str, generation: u128) -> StackSpec {
        let mut web = StackService {
            key: "web".to_owned(),
            networks: vec![("shop_front".to_owned(), Vec::new())],
            configs: vec![("shop_page".to_owned(), target())],
            ..StackService::default()
        };
        web.spec = service(1, "shop_web", 1).spec;
        web.spec.labels = labels();
        Arc::make_mut(&mut web.spec.task).container.image = image.to_owned();
        StackSpec {
            name: "shop".to_owned(),
            networks: vec![StackNetwork {
                name: "shop_front".to_owned(),
                spec: NetworkSpec {
                    name: "shop_front".to_owned(),
                    labels: labels(),
                    ..NetworkSpec::default()
                },
                ..StackNetwork::default()
            }],
            configs: vec![StackData {
                key: "page".to_owned(),
                name: "shop_page".to_owned(),
                labels: labels(),
                template: false,
                content: Content::Kept(ConfigId::from_bits(generation)),
            }],
            services: vec![Arc::new(web)],
            ..StackSpec::default()
        }
    }

    fn target() -> FileTarget {
        FileTarget {
            path: "page".to_owned(),
            uid: 0,
            gid: 0,
            mode: 0o444,
        }
    }

    fn told(before: &Shape, after: &Shape) -> String {
        let line = |d: Difference| {
            let changes: String = d.changes.iter().map(|c| format!("\n    {c}")).collect();
            format!("{} {} {}{changes}\n", d.what.sign(), d.kind, d.name)
        };
        before.differences(after).into_iter().map(line).collect()
    }

    #[test]
    fn two_revisions_differ_by_what_they_name_and_not_by_ids() -> Result<()> {
        let mut after = spec("web:2", 9);
        after.networks.insert(
            0,
            StackNetwork {
                name: "proxy".to_owned(),
                external: true,
                ..StackNetwork::default()
            },
        );
        after.volumes.push(StackVolume {
            name: "shop_data".to_owned(),
            ..StackVolume::default()
        });
        let web = Arc::make_mut(&mut after.services[0]);
        web.networks.push(("proxy".to_owned(), Vec::new()));
        web.replicas_given = true;
        let before = Shape::of(&spec("web:1", 8))?;
        assert_eq!(told(&before, &Shape::of(&spec("web:1", 8))?), "");
        expect![[r#"
            ~ config shop_page
                Content
            + network proxy
            ~ service shop_web
                TaskTemplate.ContainerSpec.Image: "web:1" -> "web:2"
                TaskTemplate.Networks: + {"Target":"proxy"}
                Mode.Replicated.Replicas: 1
            + volume shop_data
        "#]]
        .assert_eq(&told(&before, &Shape::of(&after)?));
        Ok(())
    }

    #[test]
    fn what_is_there_now_differs_by_what_somebody_changed() -> Result<()> {
        let kept = spec("web:1", 7);
        let mut view = swarm(vec![service(1, "shop_web", 5)]);
        let network = Network {
            id: NetworkId::from_bits(3),
            meta: Meta::default(),
            spec: kept.networks[0].spec.clone(),
            subnets: Vec::new(),
            blocks: BTreeMap::new(),
        };
        view.networks.push(network);
        view.configs.push(Config {
            id: ConfigId::from_bits(7),
            meta: Meta::default(),
            spec: ConfigSpec {
                name: "shop_page".to_owned(),
                labels: labels(),
                ..ConfigSpec::default()
            },
            generation: 1,
            superseded_at: None,
        });
        let ids = Ids {
            networks: BTreeMap::from([("shop_front".to_owned(), NetworkId::from_bits(3))]),
            configs: BTreeMap::from([("shop_page".to_owned(), ConfigId::from_bits(7))]),
            secrets: BTreeMap::new(),
        };
        view.services[0].spec = kept.services[0].resolve(&ids)?;
        let task = Arc::make_mut(&mut view.services[0].spec.task);
        task.force_update = 4;
        let stack = Stack {
            id: StackId::from_bits(1),
            meta: Meta::default(),
            revision: Revision::first(Timestamp(0)),
            spec: Arc::new(kept.clone()),
            past: Vec::new(),
            services: BTreeMap::new(),
            leaving: Vec::new(),
        };
        let deployed = Shape::of(&kept)?;
        assert_eq!(told(&deployed, &Shape::now(&view, &stack, &kept)), "");
        let task = Arc::make_mut(&mut view.services[0].spec.task);
        task.container.image = "web:hand".to_owned();
        view.configs[0].id = ConfigId::from_bits(8);
        let task = Arc::make_mut(&mut view.services[0].spec.task);
        task.container.configs[0].id = ConfigId::from_bits(8);
        expect![[r#"
            ~ config shop_page
                Content
            ~ service shop_web
                TaskTemplate.ContainerSpec.Image: "web:1" -> "web:hand"
        "#]]
        .assert_eq(&told(&deployed, &Shape::now(&view, &stack, &kept)));
        Ok(())
    }

    #[test]
    fn what_is_only_written_otherwise_is_told_by_its_lines() {
        assert_eq!(
            written("a: 1\nb: 2\n", "a: 1\nb: 3\n"),
            ["- b: 2", "+ b: 3"]
        );
    }
}
