//! `skep stack plan`, which is `skep stack deploy --dry-run` too.

use super::asked::{Asked, SERVICE, refused};
use super::belongs;
use super::file::{Files, Named};
use super::findings::Findings;
use super::networks::changed_networks;
use super::shape::{self, Difference, Shape, VOLUME, name_all, written};
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
use std::borrow::Cow;
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

/// Asks the managers what a deploy would change, and tells it, with what is to be said of the
/// swarm before.
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
    let view = client.read(to_read()).await?;
    findings.tell_of_swarm(&changed_networks(stack, &view))?;
    let change = Change::ApplyStack(asked.change(stack, &view)?);
    foresee(client, &view, stack, change, form).await
}

/// What has to be read before something is foreseen of a stack.
pub fn to_read() -> pb::ReadRequest {
    pb::ReadRequest {
        nodes: true,
        tasks: true,
        secrets: true,
        configs: true,
        ..Asked::to_read()
    }
}

/// Asks the managers what a change would do that makes a stack what `stack` says, and tells it.
///
/// # Errors
/// [`CliError::WouldChange`] when there is anything.
pub async fn foresee(
    client: &Client,
    view: &View,
    stack: &StackSpec,
    change: Change,
    form: &Form,
) -> Result<()> {
    let answer = client.foresee(change).await;
    let mut answer =
        answer.map_err(|error| refused(error, &stack.name, "cannot be deployed as it is"))?;
    let revision = answer.revisions.first().copied().filter(|made| *made > 0);
    if answer.objects.is_empty() {
        // Without a change the managers tell what goes on anyway.
        answer = pb::ForeseeResponse::default();
    }
    let present = view.stacks.iter().find(|s| s.spec.name == stack.name);
    let mut objects = objects(view, &answer.objects)?;
    let mut kept_alone = Vec::new();
    if let Some(present) = present.filter(|_| revision.is_some()) {
        objects.extend(volumes(&present.spec, stack));
        if objects.is_empty() {
            kept_alone = only_kept(&present.spec, stack)?;
        }
    }
    let kept = answer.kept + going_on(view, &stack.name, &answer.objects);
    let same = own(stack).difference(&touched(&answer.objects)).count();
    let foreseen = Foreseen {
        view,
        answer: &answer,
    };
    let told = Told {
        stack: &stack.name,
        objects: &objects,
        same,
        revision,
        kept: &kept_alone,
    };
    match form.format {
        Some(Format::Json) => {
            let object = json!({
                "Stack": stack.name,
                "Revision": present.map(|stack| stack.revision.number),
                "NewRevision": revision,
                "Objects": objects.iter().map(Object::json).collect::<Vec<_>>(),
                "Same": same,
                "Written": kept_alone,
            });
            say!("{}", foreseen.json(object, kept)?)?;
        }
        Some(Format::Text) | None => {
            for line in told.lines(Style::stdout()) {
                say!("{line}")?;
            }
            let form = FormatArgs {
                format: None,
                quiet: false,
            };
            if !told.is_nothing() {
                say!("")?;
            }
            foreseen.tell(&stack.name, kept, &form)?;
            foreseen.tell_end(true)?;
        }
    }
    match told.is_nothing() {
        true => Ok(()),
        false => Err(CliError::WouldChange.into()),
    }
}

/// What would be done to an object.
struct Object<'a> {
    kind: &'a str,
    name: Cow<'a, str>,
    what: What,
    /// What of it changes, a line each.
    changes: Vec<String>,
}

impl From<Difference> for Object<'_> {
    fn from(difference: Difference) -> Self {
        Object {
            kind: difference.kind,
            name: difference.name.into(),
            what: match difference.what {
                shape::What::Added => What::Created,
                shape::What::Changed => What::Updated,
                shape::What::Removed => What::Removed,
            },
            changes: difference.changes,
        }
    }
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
            name: object.name.as_str().into(),
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

/// Volumes that are declared otherwise: that makes or removes none.
fn volumes<'a>(before: &StackSpec, after: &'a StackSpec) -> Vec<Object<'a>> {
    let [before, after] = [before, after].map(|spec| Shape::of_volumes(&spec.volumes));
    let differences = before.differences(&after).into_iter();
    differences.map(Object::from).collect()
}

/// What a revision would be for that changes no object: what is written otherwise than it was
/// in the one before.
fn only_kept(before: &StackSpec, after: &StackSpec) -> Result<Vec<String>> {
    let differences = Shape::of(before)?.differences(&Shape::of(after)?);
    // Contents are not told apart here, and are alike where no object changes.
    let mut lines = Vec::new();
    for difference in differences
        .iter()
        .filter(|d| d.kind == SERVICE || d.kind == "network")
    {
        let name = format!(
            "{} {} {}",
            difference.what.sign(),
            difference.kind,
            difference.name
        );
        lines.push(name);
        lines.extend(
            difference
                .changes
                .iter()
                .map(|change| format!("    {change}")),
        );
    }
    if lines.is_empty() {
        lines = written(&before.source, &after.source);
    }
    Ok(lines)
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

/// What is told of a stack.
struct Told<'a> {
    stack: &'a str,
    objects: &'a [Object<'a>],
    /// Objects to which nothing is done.
    same: usize,
    /// Number of the revision that is made.
    revision: Option<u64>,
    /// What it is for where no object changes.
    kept: &'a [String],
}

impl Told<'_> {
    fn is_nothing(&self) -> bool {
        self.objects.is_empty() && self.revision.is_none()
    }

    fn lines(&self, style: Style) -> Vec<String> {
        let stack = self.stack;
        let mut lines = match (self.objects, self.revision) {
            ([], None) => return vec![format!("{stack}: nothing would change")],
            ([], Some(revision)) => {
                let head = format!(
                    "{stack}: nothing of it would change, but what is kept of it, as revision \
                     {revision}:"
                );
                let kept = self.kept.iter().map(|line| format!("  {line}"));
                return [head].into_iter().chain(kept).collect();
            }
            (_, None) => vec![format!("{stack} would change:")],
            (_, Some(revision)) => vec![format!("{stack} would change, to revision {revision}:")],
        };
        for object in self.objects {
            let (mark, tone) = match (object.what, object.kind) {
                (What::Created, VOLUME) => ("+ declare", Tone::Good),
                (What::Updated, VOLUME) => ("~ declare", Tone::Busy),
                (What::Removed, VOLUME) => ("- forget", Tone::Bad),
                (What::Created, _) => ("+ create", Tone::Good),
                (What::Updated, _) => ("~ update", Tone::Busy),
                (What::Removed, _) => ("- remove", Tone::Bad),
            };
            let mark = style.paint(tone, mark);
            lines.push(format!("  {mark} {} {}", object.kind, object.name));
            let changes = object.changes.iter();
            lines.extend(changes.map(|change| format!("      {change}")));
        }
        match self.same {
            0 => {}
            1 => lines.push("  = 1 object stays as it is".to_owned()),
            same => lines.push(format!("  = {same} objects stay as they are")),
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{service, swarm};
    use expect_test::expect;
    use skep_proto::id_bytes;
    use skep_types::{NetworkAttachmentSpec, STACK_LABEL, ServiceId, StackService, StackVolume};
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
        let told = Told {
            stack: "shop",
            objects: &objects,
            same,
            revision: Some(4),
            kept: &[],
        };
        let told = told.lines(Style::default()).join("\n");
        expect![[r#"
            shop would change, to revision 4:
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
        Ok(())
    }

    #[test]
    fn a_revision_that_changes_no_object_is_told_by_what_is_written_otherwise() -> Result<()> {
        let (_, before, _) = planned();
        let told = |after: &StackSpec, revision| -> Result<String> {
            let objects = volumes(&before, after);
            let kept = match objects.is_empty() {
                true => only_kept(&before, after)?,
                false => Vec::new(),
            };
            let told = Told {
                stack: "shop",
                objects: &objects,
                same: 2,
                revision,
                kept: &kept,
            };
            let mut lines = told.lines(Style::default());
            lines.push(format!("nothing: {}", told.is_nothing()));
            Ok(lines.join("\n"))
        };
        let mut said = vec![told(&before, None)?];
        let mut after = before.clone();
        after.source = "x-note: other\n".into();
        said.push(told(&after, Some(2))?);
        Arc::make_mut(&mut after.services[0]).replicas_given = true;
        said.push(told(&after, Some(2))?);
        after.volumes.push(StackVolume {
            name: "shop_data".to_owned(),
            ..StackVolume::default()
        });
        said.push(told(&after, Some(2))?);
        expect![[r#"
            shop: nothing would change
            nothing: true
            shop: nothing of it would change, but what is kept of it, as revision 2:
              + x-note: other
            nothing: false
            shop: nothing of it would change, but what is kept of it, as revision 2:
              ~ service shop_web
                  Mode.Replicated.Replicas: 1
            nothing: false
            shop would change, to revision 2:
              + declare volume shop_data
              = 2 objects stay as they are
            nothing: false"#]]
        .assert_eq(&said.join("\n"));
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
