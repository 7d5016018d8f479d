//! `skep service ls`.

use crate::client::Host;
use crate::filter::{FilterArgs, Filters};
use crate::human::id;
use crate::style::Tone;
use crate::table::{FormatArgs, Table};
use crate::tasks::{image, ports};
use crate::view::View;
use anyhow::Result;
use skep_proto::pb;
use skep_types::{PublishMode, Service, ServiceMode};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "list",
    before_help = "Example:\n  skep service ls --format '{{.Name}} {{.Replicas}}'"
)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    form: FormatArgs,
}

/// Filters that lists of services have.
pub const FILTERS: &[&str] = &["id", "name", "label", "mode"];

/// Lists.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let filters = args.filter.read(FILTERS)?;
    let client = host.connect().await?;
    let view = client
        .read(pb::ReadRequest {
            services: true,
            tasks: true,
            nodes: true,
            ..Default::default()
        })
        .await?;
    table(&view, view.services.iter(), &filters).print(&args.form)
}

/// Those of the services that pass the filters.
pub fn table<'a>(
    view: &View,
    services: impl Iterator<Item = &'a Service>,
    filters: &Filters,
) -> Table {
    let mut table = Table::new(
        &[
            ("ID", "ID"),
            ("NAME", "Name"),
            ("MODE", "Mode"),
            ("REPLICAS", "Replicas"),
            ("IMAGE", "Image"),
            ("PORTS", "Ports"),
        ],
        "ID",
    )
    .toned(&[("Replicas", replicas_tone)]);
    for service in services {
        let spec = &service.spec;
        let mode = match spec.mode {
            ServiceMode::Replicated { .. } => "replicated",
            ServiceMode::Global => "global",
            ServiceMode::ReplicatedJob { .. } => "replicated job",
            ServiceMode::GlobalJob => "global job",
        };
        let shown = filters.prefix("id", &service.id.to_string())
            && filters.prefix("name", &spec.name)
            && filters.labels("label", &spec.labels)
            && filters.exact("mode", mode);
        if !shown {
            continue;
        }
        let (running, desired) = view.replicas(service);
        let mut replicas = format!("{running}/{desired}");
        if let Some(run) = service.job.newest() {
            let (completed, total) = view.completed(service, run);
            replicas.push_str(&format!(" ({completed}/{total} completed)"));
        } else if spec.task.placement.max_replicas_per_node > 0 {
            let most = spec.task.placement.max_replicas_per_node;
            replicas.push_str(&format!(" (max {most} per node)"));
        }
        table.row([
            ("ID", id(&service.id.to_string(), false)),
            ("Name", spec.name.clone()),
            ("Mode", mode.to_owned()),
            (
                "Schedule",
                spec.schedule()
                    .map_or_else(String::new, |s| s.cron.to_string()),
            ),
            ("Replicas", replicas),
            ("Image", image(&spec.task.container.image, false)),
            (
                "Ports",
                ports(&service.endpoint.ports, PublishMode::Ingress),
            ),
        ]);
    }
    table
}

/// Colours `2/3` and `0/3`, also where more is said behind; of jobs what is completed
/// counts.
fn replicas_tone(replicas: &str) -> Option<Tone> {
    let completed = replicas.strip_suffix(" completed)");
    let counts = match completed.and_then(|text| text.split_once('(')) {
        Some((_, counts)) => counts,
        None => replicas.split(' ').next().unwrap_or_default(),
    };
    match counts.split_once('/') {
        Some((done, wanted)) if done == wanted => None,
        Some(("0", _)) if completed.is_none() => Some(Tone::Bad),
        Some(_) => Some(Tone::Busy),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_of_tasks_stands_out() {
        assert_eq!(replicas_tone("3/3"), None);
        assert_eq!(replicas_tone("0/0"), None);
        assert_eq!(replicas_tone("2/3 (max 1 per node)"), Some(Tone::Busy));
        assert_eq!(replicas_tone("0/3"), Some(Tone::Bad));
        assert_eq!(replicas_tone("0/3 (3/3 completed)"), None);
        assert_eq!(replicas_tone("1/1 (0/3 completed)"), Some(Tone::Busy));
    }
}
