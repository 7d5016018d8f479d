//! `skep network ls`.

use crate::client::Host;
use crate::filter::FilterArgs;
use crate::human::{id, timestamp};
use crate::json;
use crate::table::{FormatArgs, Table};
use anyhow::Result;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "list",
    before_help = "Example:\n  skep network ls --filter driver=overlay"
)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    form: FormatArgs,
    /// Do not cut ids
    #[arg(long)]
    no_trunc: bool,
}

/// Lists.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let filters = args
        .filter
        .read(&["id", "name", "driver", "label", "scope"])?;
    let client = host.connect().await?;
    let view = super::read(&client).await?;
    let mut table = Table::new(
        &[
            ("NETWORK ID", "ID"),
            ("NAME", "Name"),
            ("DRIVER", "Driver"),
            ("SCOPE", "Scope"),
        ],
        "ID",
    );
    for network in &view.networks {
        let spec = &network.spec;
        let whole = network.id.to_string();
        let driver = json::driver(&spec.driver);
        let shown = filters.prefix("id", &whole)
            && filters.any("name", |value| spec.name.contains(value))
            && filters.exact("driver", driver)
            && filters.exact("scope", "swarm")
            && filters.labels("label", &spec.labels);
        if !shown {
            continue;
        }
        let subnets: Vec<String> = network.subnets.iter().map(ToString::to_string).collect();
        table.row([
            ("ID", id(&whole, args.no_trunc)),
            ("Name", spec.name.clone()),
            ("Driver", driver.to_owned()),
            ("Scope", "swarm".to_owned()),
            ("IPv6", spec.ipv6.to_string()),
            ("Internal", spec.internal.to_string()),
            ("Subnets", subnets.join(",")),
            ("CreatedAt", timestamp(network.meta.created_at.0)),
        ]);
    }
    table.print(&args.form)
}
