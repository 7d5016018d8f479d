//! `skep events`, `skep system events`.

use crate::client::Host;
use crate::error::{CliError, usage};
use crate::filter::FilterArgs;
use crate::human::{parse_moment, timestamp};
use crate::output::{now_ms, say};
use crate::template::{Missing, Template};
use anyhow::Result;
use serde_json::json;
use skep_proto::pb;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep events --filter type=service --filter event=update")]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    /// Events since then, too, as far as the manager remembers: 10m, or
    /// 2026-01-31T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Events until then, and no longer
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// `json`, or a template such as `{{.Type}} {{.Action}}`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

const KINDS: &[&str] = &[
    "cluster", "node", "service", "task", "network", "secret", "config", "stack",
];

/// Prints events until the stream or the reader ends.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let known: Vec<&str> = ["type", "event", "id", "scope"]
        .into_iter()
        .chain(KINDS.iter().copied())
        .collect();
    let filters = args.filter.read(&known)?;
    let template = match args.format.as_deref() {
        None | Some("json" | "") => None,
        Some(text) => Some(Template::parse(text).map_err(|error| usage(error.to_string()))?),
    };
    let client = host.connect().await?;
    let now = now_ms();
    let moment = |text: &Option<String>| {
        let moment = text.as_deref().map(|text| parse_moment(text, now));
        moment.transpose().map_err(usage)
    };
    let request = pb::WatchRequest {
        since_ms: moment(&args.since)?,
        until_ms: moment(&args.until)?,
    };
    let stream = client.control().watch(request).await;
    let mut stream = stream.map_err(CliError::from)?.into_inner();
    while let Some(event) = stream.message().await.map_err(CliError::from)? {
        let mine = |value: &str| event.id.starts_with(value) || event.name == value;
        let shown = filters.exact("type", &event.kind)
            && filters.exact("event", &event.action)
            && filters.exact("scope", "swarm")
            && filters.any("id", |value| event.id.starts_with(value))
            && KINDS
                .iter()
                .all(|kind| filters.any(kind, |value| event.kind == *kind && mine(value)));
        if !shown {
            continue;
        }
        match (&template, args.format.as_deref()) {
            (Some(template), _) => say!("{}", template.render(&object(&event), Missing::NoValue)?)?,
            (None, Some("json")) => say!("{}", object(&event))?,
            (None, _) => say!("{}", line(&event))?,
        }
    }
    Ok(())
}

fn object(event: &pb::Event) -> serde_json::Value {
    let mut attributes: serde_json::Map<_, _> = event
        .attributes
        .iter()
        .map(|(key, value)| (key.clone(), value.clone().into()))
        .collect();
    attributes.insert("name".to_owned(), event.name.clone().into());
    json!({
        "Type": event.kind,
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": attributes},
        "ID": event.id,
        "Name": event.name,
        "scope": "swarm",
        "time": event.at_ms / 1000,
        "timeNano": event.at_ms * 1_000_000,
    })
}

fn line(event: &pb::Event) -> String {
    let mut attributes: Vec<String> = event
        .attributes
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    attributes.push(format!("name={}", event.name));
    attributes.sort();
    format!(
        "{} {} {} {} ({})",
        timestamp(event.at_ms),
        event.kind,
        event.action,
        event.id,
        attributes.join(", ")
    )
}
