//! `skep secret ls`.

use crate::client::Host;
use crate::filter::FilterArgs;
use crate::human::ago;
use crate::output::now_ms;
use crate::table::{FormatArgs, Table};
use anyhow::Result;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "list",
    before_help = "Example:\n  skep secret ls --filter label=app=vote"
)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    form: FormatArgs,
}

/// Lists.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let filters = args.filter.read(&["id", "name", "label"])?;
    let client = host.connect().await?;
    let view = super::read(&client).await?;
    let mut table = Table::new(
        &[
            ("ID", "ID"),
            ("NAME", "Name"),
            ("CREATED", "CreatedAt"),
            ("UPDATED", "UpdatedAt"),
        ],
        "ID",
    );
    let now = now_ms();
    for secret in &view.newest {
        let id = secret.id.to_string();
        let shown = filters.prefix("id", &id)
            && filters.prefix("name", &secret.spec.name)
            && filters.labels("label", &secret.spec.labels);
        if !shown {
            continue;
        }
        let labels = secret
            .spec
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        table.row([
            ("ID", id),
            ("Name", secret.spec.name.clone()),
            ("CreatedAt", ago(secret.meta.created_at.0, now)),
            ("UpdatedAt", ago(secret.meta.updated_at.0, now)),
            ("Generation", secret.generation.to_string()),
            ("Labels", labels.collect::<Vec<_>>().join(",")),
        ]);
    }
    table.print(&args.form)
}
