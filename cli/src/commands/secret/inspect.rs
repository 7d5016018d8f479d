//! `skep secret inspect`.

use crate::client::Host;
use crate::find::find;
use crate::human::timestamp;
use crate::json;
use crate::output::say;
use crate::table::print_objects;
use anyhow::Result;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep secret inspect db-password")]
pub struct Args {
    /// A template such as `{{.Spec.Name}}`, or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print for people
    #[arg(long, conflicts_with = "format")]
    pretty: bool,
    /// Name or id
    #[arg(value_name = "SECRET", required = true)]
    secrets: Vec<String>,
}

/// Shows.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let view = super::read(&client).await?;
    let found = args.secrets.iter().map(|key| {
        find("secret", key, &view.newest, |secret| {
            (secret.id.to_string(), &secret.spec.name)
        })
    });
    let found = found.collect::<Result<Vec<_>, _>>()?;
    if !args.pretty {
        let objects = found.into_iter();
        let objects = objects.map(|secret| json::secret(secret, &view.generations_of(secret)));
        let objects = objects.collect();
        return print_objects(objects, args.format.as_deref());
    }
    for secret in found {
        say!("ID:\t\t{}", secret.id)?;
        say!("Name:\t\t{}", secret.spec.name)?;
        say!("Labels:")?;
        for (key, value) in &secret.spec.labels {
            say!(" - {key}={value}")?;
        }
        say!("Created at:\t{}", timestamp(secret.meta.created_at.0))?;
        say!("Updated at:\t{}", timestamp(secret.meta.updated_at.0))?;
        say!("Generations:")?;
        for generation in view.generations_of(secret) {
            let made = timestamp(generation.meta.created_at.0);
            say!(" - {}: {}, of {made}", generation.generation, generation.id)?;
        }
    }
    Ok(())
}
