//! `skep why`.
//!
//! Owns which thing a name means, and what has to be read for it. The sentences are
//! `crate::why`'s.

use crate::client::{Client, Host};
use crate::error::{CliError, usage};
use crate::find::{self, FindError};
use crate::output::{now_ms, say};
use crate::table::print_objects;
use crate::view::View;
use crate::why::{self, Story};
use anyhow::{Result, bail};
use clap::ValueEnum;
use skep_proto::pb::read_request::Explain;
use skep_proto::{id_bytes, pb};
use skep_types::STACK_LABEL;
use skep_types::{NodeId, Service, ServiceId};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep why vote_vote                                 a service
  skep why vote_vote.2                               one of its tasks
  skep why --type node h2                            a node, where something else has its name
  skep why --format json vote                        a stack, for programs")]
pub struct Args {
    /// What it is, where the name alone does not say
    #[arg(long = "type", value_name = "KIND")]
    kind: Option<Kind>,
    /// A template such as `{{.Next}}`, or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Name or id; of a task also the name of its service with its number or host
    #[arg(value_name = "SERVICE|STACK|NODE|TASK")]
    name: String,
}

/// What can be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Service,
    Stack,
    Node,
    Task,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Service => "service",
            Kind::Stack => "stack",
            Kind::Node => "node",
            Kind::Task => "task",
        }
    }
}

/// What a name means.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Service(ServiceId),
    Stack(String),
    Node(NodeId),
    /// The task of a service at a place.
    Place(ServiceId, String),
    /// A task by its id.
    Task(String),
}

impl Target {
    fn kind(&self) -> Kind {
        match self {
            Target::Service(_) => Kind::Service,
            Target::Stack(_) => Kind::Stack,
            Target::Node(_) => Kind::Node,
            Target::Place(..) | Target::Task(_) => Kind::Task,
        }
    }
}

/// Says why; 1 where it is not as it should be.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let this = client.self_id().await?;
    let view = client.read(request()).await?;
    let target = target(&view, &args.name, args.kind, this)?;
    let story = tell(&client, &target, &args.name).await?;
    match args.format.as_deref() {
        None => say!("{}", story.text())?,
        Some("json") => say!("{}", story.object())?,
        format => print_objects(vec![story.object()], format)?,
    }
    match story.is_well() {
        true => Ok(()),
        false => Err(CliError::Reported.into()),
    }
}

fn request() -> pb::ReadRequest {
    pb::ReadRequest {
        services: true,
        nodes: true,
        dues: true,
        ..Default::default()
    }
}

/// What the name means: what has just this name or id goes before what it is short for.
fn target(view: &View, key: &str, kind: Option<Kind>, this: Option<NodeId>) -> Result<Target> {
    let asked = |of: Kind| kind.is_none_or(|kind| kind == of);
    let is = |id: String, name: &str| id == key || name.eq_ignore_ascii_case(key);
    // With whether it is just this.
    let mut found: Vec<(Target, bool)> = Vec::new();
    let mut vague = None;
    if asked(Kind::Service)
        && let Some(service) = some(find::service(&view.services, key), &mut vague)
    {
        let exact = is(service.id.to_string(), &service.spec.name);
        found.push((Target::Service(service.id), exact));
    }
    let of_stack = |service: &Service| {
        service
            .spec
            .labels
            .get(STACK_LABEL)
            .is_some_and(|s| s == key)
    };
    if asked(Kind::Stack) && view.services.iter().any(of_stack) {
        found.push((Target::Stack(key.to_owned()), true));
    }
    if asked(Kind::Node)
        && let Some(entry) = some(find::node(view.nodes.values(), key, this), &mut vague)
    {
        let exact =
            key == "self" || is(entry.node.id.to_string(), &entry.node.description.hostname);
        found.push((Target::Node(entry.node.id), exact));
    }
    if asked(Kind::Task)
        && let Some((of, place)) = key.split_once('.')
        && let Some(service) = some(find::service(&view.services, of), &mut vague)
    {
        found.push((Target::Place(service.id, place.to_owned()), true));
    }
    if found.iter().any(|(_, exact)| *exact) {
        found.retain(|(_, exact)| *exact);
    } else if let Some(vague) = vague {
        return Err(usage(vague.to_string()));
    }
    match found.as_slice() {
        [(target, _)] => Ok(target.clone()),
        [] if asked(Kind::Task) => Ok(Target::Task(key.to_owned())),
        [] => bail!("no such {}: {key}", kind.map_or("thing", Kind::name)),
        several => {
            let kinds = several.iter().map(|(target, _)| target.kind().name());
            let kinds = kinds.collect::<Vec<_>>().join(" and a ");
            Err(usage(format!("{key} is a {kinds}: say which with --type")))
        }
    }
}

/// Nothing where nothing goes by the name, or several do, which `vague` keeps.
fn some<T>(found: Result<T, FindError>, vague: &mut Option<FindError>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(FindError::NotFound { .. }) => None,
        Err(several) => {
            *vague = Some(several);
            None
        }
    }
}

/// Reads what there is of it, at one moment, and tells.
async fn tell(client: &Client, target: &Target, key: &str) -> Result<Story> {
    let mut request = request();
    request.tasks = true;
    match target {
        Target::Service(id) => {
            request.task_services = vec![id_bytes(*id)];
            request.explain = Some(Explain::ExplainService(id_bytes(*id)));
        }
        Target::Place(id, _) => request.task_services = vec![id_bytes(*id)],
        Target::Node(id) => request.task_node = id_bytes(*id),
        Target::Stack(_) | Target::Task(_) => {}
    }
    let view = client.read(request).await?;
    story(&view, target, key, now_ms())
}

fn story(view: &View, target: &Target, key: &str, now: u64) -> Result<Story> {
    let of = |id: &ServiceId| find::service(&view.services, &id.to_string());
    Ok(match target {
        Target::Service(id) => why::service::story(view, of(id)?, now),
        Target::Stack(name) => match why::stack::story(view, name, now) {
            Some(story) => story,
            None => bail!("nothing found in stack: {name}"),
        },
        Target::Node(id) => match view.nodes.get(id) {
            Some(entry) => why::node::story(view, entry, now),
            None => bail!("node {id} is gone"),
        },
        Target::Place(id, place) => match why::service::task_at(view, of(id)?, place) {
            Some(task) => why::task::story(view, task, now),
            None => bail!("no such task: {key}; `skep service ps` lists those there are"),
        },
        Target::Task(key) => {
            match find::find("task", key, &view.tasks, |task| (task.id.to_string(), "")) {
                Ok(task) => why::task::story(view, task, now),
                Err(FindError::NotFound { .. }) => {
                    bail!("no service, stack, node or task goes by {key}")
                }
                Err(error) => return Err(error.into()),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_name_means_what_has_just_this_name() -> Result<()> {
        let member = |number: u128, name: &str| {
            let mut service = testing::service(number << 100, name, 1);
            let labels = &mut service.spec.labels;
            labels.insert(STACK_LABEL.to_owned(), "shop".to_owned());
            service
        };
        let services = vec![
            member(1, "shop_shop"),
            member(2, "shop_two"),
            member(3, "one"),
        ];
        let view = testing::swarm(services);
        let id = |at: usize| view.services[at].id;
        let target = |key: &str, kind| target(&view, key, kind, Some(NodeId::from_bits(3)));
        // A stack and what is called so in its file; a node and a service of a stack.
        assert_eq!(target("shop", None)?, Target::Stack("shop".to_owned()));
        assert_eq!(target("shop", Some(Kind::Service))?, Target::Service(id(0)));
        assert_eq!(target("two", None)?, Target::Node(NodeId::from_bits(2)));
        assert_eq!(target("self", None)?, Target::Node(NodeId::from_bits(3)));
        assert_eq!(
            target("shop_two.1", None)?,
            Target::Place(id(1), "1".to_owned())
        );
        assert_eq!(target("0f00", None)?, Target::Task("0f00".to_owned()));
        let both = target("one", None).map_err(|error| error.to_string());
        let both = both.err().unwrap_or_default();
        assert_eq!(both, "one is a service and a node: say which with --type");
        // Beginnings of ids, all of them.
        let vague = target("0000", Some(Kind::Service)).map_err(|error| error.to_string());
        let vague = vague.err().unwrap_or_default();
        assert!(vague.starts_with("service 0000 is ambiguous"), "{vague}");
        let none = target("none", Some(Kind::Node)).map_err(|error| error.to_string());
        assert_eq!(none.err().unwrap_or_default(), "no such node: none");
        Ok(())
    }
}
