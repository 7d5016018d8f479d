//! `skep config inspect`.

use crate::client::Host;
use crate::find::find;
use crate::human::timestamp;
use crate::json;
use crate::output::say;
use crate::table::print_objects;
use anyhow::Result;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep config inspect site")]
pub struct Args {
    /// A template such as `{{.Spec.Name}}`, or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print for people
    #[arg(long, conflicts_with = "format")]
    pretty: bool,
    /// Name or id
    #[arg(value_name = "CONFIG", required = true)]
    configs: Vec<String>,
}

/// Shows.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let view = super::read(&client).await?;
    let found = args.configs.iter().map(|key| {
        find("config", key, &view.newest, |config| {
            (config.id.to_string(), &config.spec.name)
        })
    });
    let found = found.collect::<Result<Vec<_>, _>>()?;
    if !args.pretty {
        let objects = found.into_iter();
        let objects = objects.map(|config| json::config(config, &view.generations_of(config)));
        let objects = objects.collect();
        return print_objects(objects, args.format.as_deref());
    }
    for config in found {
        say!("ID:\t\t{}", config.id)?;
        say!("Name:\t\t{}", config.spec.name)?;
        say!("Labels:")?;
        for (key, value) in &config.spec.labels {
            say!(" - {key}={value}")?;
        }
        say!("Created at:\t{}", timestamp(config.meta.created_at.0))?;
        say!("Updated at:\t{}", timestamp(config.meta.updated_at.0))?;
        say!("Generations:")?;
        for generation in view.generations_of(config) {
            let made = timestamp(generation.meta.created_at.0);
            say!(" - {}: {}, of {made}", generation.generation, generation.id)?;
        }
        say!("Data:\n{}", String::from_utf8_lossy(&config.spec.data))?;
    }
    Ok(())
}
