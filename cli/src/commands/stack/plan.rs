//! `skep stack plan`, which is `skep stack deploy --dry-run` too.

use super::asked::{Asked, SERVICE, refused};
use super::belongs;
use super::file::{Files, Named};
use super::findings::Findings;
use super::networks::changed_networks;
use crate::changes::changes;
use crate::client::{Client, Host};
use crate::error::CliError;
use crate::foreseen::Foreseen;
use crate::json;
use crate::output::say;
use crate::style::{Style, Tone};
use crate::table::FormatArgs;
use crate::view::View;
use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde_json::{Value, json};
use skep_proto::pb::ChangedObject;
use skep_proto::pb::change::Change;
use skep_proto::pb::changed_object::What;
use skep_proto::{id, pb};
use skep_types::{Content, NetworkId, ServiceSpec, StackData, StackSpec, TaskState};
use std::collections::{BTreeMap, BTreeSet};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  skep stack plan -c docker-stack.yml vote",
    after_help = "Exit code: 0 if nothing would change, 2 if something would, 1 if that cannot be said"
)]
pub struct Args {
    #[command(flatten)]
    files: Named,
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    findings: Findings,
    #[command(flatten)]
    form: Form,
    /// Name of the stack; the `name` of the files, where it is left out
    stack: Option<String>,
}

/// The form of a plan.
#[derive(Debug, clap::Args)]
pub struct Form {
    /// Form of the plan: text, or json
    #[arg(long, value_enum, value_name = "FORMAT", hide_possible_values = true)]
    pub format: Option<Format>,
}

/// For whom a plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Tells what a deploy would change.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let loaded = Files::read(&args.files)?.load(args.stack.as_deref(), &args.findings)?;
    let client = host.connect().await?;
    plan(
        &client,
        &loaded.stack,
        &args.asked,
        &args.findings,
        &args.form,
    )
    .await
}

/// Asks the managers what a deploy would change, and tells it.
///
/// # Errors
/// [`CliError::WouldChange`] when there is anything.
pub async fn plan(
    client: &Client,
    stack: &StackSpec,
    asked: &Asked,
    findings: &Findings,
    form: &Form,
) -> Result<()> {
    let request = pb::ReadRequest {
        nodes: true,
        tasks: true,
        secrets: true,
        configs: true,
        ..Asked::to_read()
    };
    let view = client.read(request).await?;
    findings.tell_of_swarm(&changed_networks(stack, &view))?;
    let change = Change::ApplyStack(asked.change(stack, &view)?);
    let answer = client.foresee(change).await;
    let mut answer =
        answer.map_err(|error| refused(error, &stack.name, "cannot be deployed as it is"))?;
    if answer.objects.is_empty() {
        // Without a change the managers tell what goes on anyway.
        answer = pb::ForeseeResponse::default();
    }
    let objects = objects(&view, &answer.objects)?;
    let kept = answer.kept + going_on(&view, &stack.name, &answer.objects);
    let same = own(stack).difference(&touched(&answer.objects)).count();
    let foreseen = Foreseen {
        view: &view,
        answer: &answer,
    };
    match form.format {
        Some(Format::Json) => {
            let known = view.stacks.iter().find(|s| s.spec.name == stack.name);
            let object = json!({
                "Stack": stack.name,
                "Revision": known.map(|stack| stack.revision.number),
                "Objects": objects.iter().map(Object::json).collect::<Vec<_>>(),
                "Same": same,
            });
            say!("{}", foreseen.json(object, kept)?)?;
        }
        Some(Format::Text) | None => {
            for line in lines(&stack.name, &objects, same, Style::stdout()) {
                say!("{line}")?;
            }
            let form = FormatArgs {
                format: None,
                quiet: false,
            };
            if !objects.is_empty() {
                say!("")?;
            }
            foreseen.tell(&stack.name, kept, &form)?;
            foreseen.tell_end(true)?;
        }
    }
    match objects.is_empty() {
        true => Ok(()),
        false => Err(CliError::WouldChange.into()),
    }
}

/// What would be done to an object.
struct Object<'a> {
    kind: &'a str,
    name: &'a str,
    what: What,
    /// What of it changes, a line each.
    changes: Vec<String>,
}

impl Object<'_> {
    fn json(&self) -> Value {
        json!({
            "Kind": self.kind,
            "Name": self.name,
            "What": match self.what {
                What::Created => "create",
                What::Updated => "update",
                What::Removed => "remove",
            },
            "Changes": self.changes,
        })
    }
}

fn objects<'a>(view: &View, all: &'a [ChangedObject]) -> Result<Vec<Object<'a>>> {
    let names = names(view, all)?;
    let object = |object: &'a ChangedObject| -> Result<Object<'a>> {
        let mut changes = object.keys.clone();
        if let (What::Updated, Some(after)) = (object.what(), object.service.clone()) {
            let after: ServiceSpec = after.try_into()?;
            let before = view.services.iter().find(|s| s.spec.name == object.name);
            let before = before.context("the stack changed while it was looked at; ask again")?;
            let [before, after] = [&before.spec, &after].map(|spec| {
                let mut spec = json::service_spec(spec);
                name_all(&mut spec, &names);
                spec
            });
            changes = self::changes(&before, &after);
        }
        Ok(Object {
            kind: &object.kind,
            name: &object.name,
            what: object.what(),
            changes,
        })
    };
    all.iter().map(object).collect()
}

/// What ids in specs mean to people.
fn names(view: &View, all: &[ChangedObject]) -> Result<BTreeMap<String, String>> {
    let mut names = BTreeMap::new();
    for network in &view.networks {
        names.insert(network.id.to_string(), network.spec.name.clone());
    }
    for secret in &view.secrets {
        names.insert(secret.id.to_string(), secret.spec.name.clone());
    }
    for config in &view.configs {
        names.insert(config.id.to_string(), config.spec.name.clone());
    }
    for object in all {
        // Ids of all kinds are written alike.
        let id: NetworkId = id(&object.id, "changed_object.id")?;
        let name = match object.what() {
            // Its id is another then.
            What::Updated => format!("{} (new content)", object.name),
            _ => object.name.clone(),
        };
        names.entry(id.to_string()).or_insert(name);
    }
    Ok(names)
}

fn name_all(value: &mut Value, names: &BTreeMap<String, String>) {
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

/// Kind and name of all that is the stack's own.
fn own(stack: &StackSpec) -> BTreeSet<(&str, &str)> {
    fn data<'a, Id>(
        kind: &'static str,
        all: &'a [StackData<Id>],
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let own = all.iter();
        let own = own.filter(|data| !matches!(data.content, Content::External));
        own.map(move |data| (kind, data.name.as_str()))
    }
    let networks = stack.networks.iter().filter(|network| !network.external);
    let networks = networks.map(|network| ("network", network.name.as_str()));
    let services = stack.services.iter();
    let services = services.map(|service| (SERVICE, service.spec.name.as_str()));
    networks
        .chain(data("secret", &stack.secrets))
        .chain(data("config", &stack.configs))
        .chain(services)
        .collect()
}

fn touched(all: &[ChangedObject]) -> BTreeSet<(&str, &str)> {
    let all = all.iter();
    all.map(|object| (object.kind.as_str(), object.name.as_str()))
        .collect()
}

/// Tasks of services of the stack to which nothing is done.
fn going_on(view: &View, stack: &str, all: &[ChangedObject]) -> u64 {
    let touched = touched(all);
    let services = view.services.iter().filter(|service| {
        let name = service.spec.name.as_str();
        belongs(&service.spec.labels, stack) && !touched.contains(&(SERVICE, name))
    });
    let ids: BTreeSet<_> = services.map(|service| service.id).collect();
    let tasks = view.tasks.iter().filter(|task| ids.contains(&task.service));
    let live = tasks.filter(|task| {
        task.is_live()
            && task.desired == TaskState::Running
            && task.status.state >= TaskState::Assigned
    });
    live.count() as u64
}

fn lines(stack: &str, objects: &[Object<'_>], same: usize, style: Style) -> Vec<String> {
    if objects.is_empty() {
        return vec![format!("{stack}: nothing would change")];
    }
    let mut lines = vec![format!("{stack} would change:")];
    for object in objects {
        let (mark, tone) = match object.what {
            What::Created => ("+ create", Tone::Good),
            What::Updated => ("~ update", Tone::Busy),
            What::Removed => ("- remove", Tone::Bad),
        };
        let mark = style.paint(tone, mark);
        lines.push(format!("  {mark} {} {}", object.kind, object.name));
        let changes = object.changes.iter();
        lines.extend(changes.map(|change| format!("      {change}")));
    }
    match same {
        0 => {}
        1 => lines.push("  = 1 object stays as it is".to_owned()),
        same => lines.push(format!("  = {same} objects stay as they are")),
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{service, swarm};
    use expect_test::expect;
    use skep_proto::id_bytes;
    use skep_types::{NetworkAttachmentSpec, STACK_LABEL, ServiceId, StackService};
    use std::sync::Arc;

    /// A stack of three services, as it is, and what is done to it.
    fn planned() -> (View, StackSpec, Vec<ChangedObject>) {
        let mut view = swarm(vec![
            service(1, "shop_web", 2),
            service(2, "shop_api", 1),
            service(3, "shop_old", 1),
        ]);
        for service in &mut view.services {
            let labels = &mut service.spec.labels;
            labels.insert(STACK_LABEL.to_owned(), "shop".to_owned());
        }
        for (at, slot) in [(0, 1), (0, 2), (1, 1), (2, 1)] {
            view.add(at, slot, 1, TaskState::Running);
        }
        let mut web = view.services[0].spec.clone();
        let task = Arc::make_mut(&mut web.task);
        task.container.image = "web:2".to_owned();
        task.networks.push(NetworkAttachmentSpec {
            network: NetworkId::from_bits(8),
            aliases: Vec::new(),
        });
        let object = |kind: &str, name: &str, number, what: What| ChangedObject {
            kind: kind.to_owned(),
            name: name.to_owned(),
            id: id_bytes(NetworkId::from_bits(number)),
            what: what.into(),
            keys: Vec::new(),
            service: None,
        };
        let changed = vec![
            object("network", "shop_front", 8, What::Created),
            ChangedObject {
                keys: vec!["content".to_owned()],
                ..object("secret", "shop_key", 9, What::Updated)
            },
            object(SERVICE, "shop_old", 3, What::Removed),
            ChangedObject {
                id: id_bytes(ServiceId::from_bits(1)),
                service: Some((&web).into()),
                ..object(SERVICE, "shop_web", 1, What::Updated)
            },
        ];
        let services = ["shop_web", "shop_api"].map(|name| {
            let mut service = StackService::default();
            service.spec.name = name.to_owned();
            Arc::new(service)
        });
        let stack = StackSpec {
            name: "shop".to_owned(),
            services: services.to_vec(),
            ..StackSpec::default()
        };
        (view, stack, changed)
    }

    #[test]
    fn each_object_is_told_with_what_changes_of_it() -> Result<()> {
        let (view, stack, changed) = planned();
        let objects = objects(&view, &changed)?;
        let same = own(&stack).difference(&touched(&changed)).count();
        let told = lines("shop", &objects, same, Style::default()).join("\n");
        expect![[r#"
            shop would change:
              + create network shop_front
              ~ update secret shop_key
                  content
              - remove service shop_old
              ~ update service shop_web
                  TaskTemplate.ContainerSpec.Image: "web:2"
                  TaskTemplate.Networks: + {"Target":"shop_front"}
              = 1 object stays as it is"#]]
        .assert_eq(&told);
        let json: Vec<Value> = objects.iter().map(Object::json).collect();
        assert_eq!(json[1]["What"], "update");
        assert_eq!(json[1]["Changes"][0], "content");
        assert_eq!(
            lines("shop", &[], 4, Style::default()),
            ["shop: nothing would change"]
        );
        Ok(())
    }

    #[test]
    fn tasks_of_services_to_which_nothing_is_done_go_on() {
        let (view, _, changed) = planned();
        assert_eq!(going_on(&view, "shop", &changed), 1);
        assert_eq!(going_on(&view, "shop", &[]), 4);
        assert_eq!(going_on(&view, "blog", &[]), 0);
    }
}
