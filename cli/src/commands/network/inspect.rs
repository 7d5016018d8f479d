//! `skep network inspect`.

use crate::client::Host;
use crate::find::find;
use crate::json;
use crate::table::print_objects;
use anyhow::Result;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep network inspect front")]
pub struct Args {
    /// A template such as `{{.Name}}`, or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Name or id
    #[arg(value_name = "NETWORK", required = true)]
    networks: Vec<String>,
}

/// Shows.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let view = super::read(&client).await?;
    let found = args.networks.iter().map(|key| {
        find("network", key, &view.networks, |network| {
            (network.id.to_string(), &network.spec.name)
        })
    });
    let found = found.collect::<Result<Vec<_>, _>>()?;
    let objects = found.into_iter().map(json::network).collect();
    print_objects(objects, args.format.as_deref())
}
