//! `skep context inspect`.

use crate::contexts::{Context, Contexts};
use crate::human::timestamp;
use crate::place::{Place, variable};
use crate::table::print_objects;
use anyhow::Result;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep context inspect prod --format '{{.Client.Until}}'")]
pub struct Args {
    /// A template such as `{{.Host}}`, or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names; the one in use where none is given
    #[arg(value_name = "CONTEXT")]
    contexts: Vec<String>,
}

/// Shows.
pub fn run(args: Args, contexts: &Contexts, place: &Place) -> Result<()> {
    let names = match args.contexts.is_empty() {
        true => vec![place.context(variable)?],
        false => args.contexts,
    };
    let objects = names.iter().map(|name| object(&contexts.find(name)?));
    let objects = objects.collect::<Result<Vec<_>>>()?;
    print_objects(objects, args.format.as_deref())
}

/// Without the key: that is for `export`.
fn object(context: &Context) -> Result<Value> {
    let host = context.to_host()?;
    let client = host.client().map(|client| {
        let validity = client.validity();
        json!({
            "Name": client.identity().name,
            "Swarm": client.identity().cluster.to_string(),
            "From": moment(validity.not_before),
            "Until": moment(validity.not_after),
        })
    });
    Ok(json!({
        "Name": context.name,
        "Description": context.description,
        "Host": context.host,
        "Client": client,
    }))
}

fn moment(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
