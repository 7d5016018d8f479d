//! `skep swarm client ls`.

use super::Role;
use crate::client::Host;
use crate::filter::FilterArgs;
use crate::human::{ago, duration};
use crate::output::now_ms;
use crate::style::Tone;
use crate::table::{FormatArgs, Table};
use anyhow::Result;
use std::time::Duration;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "list",
    before_help = "Example:\n  skep swarm client ls --filter role=admin"
)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    form: FormatArgs,
}

/// Lists.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let filters = args.filter.read(&["name", "role"])?;
    let clients = super::read(&host.connect().await?).await?;
    let columns = &[
        ("NAME", "Name"),
        ("ROLE", "Role"),
        ("CREATED", "CreatedAt"),
        ("EXPIRES", "Expires"),
    ];
    let mut table = Table::new(columns, "Name").toned(&[("Expires", |text| {
        text.starts_with("expired").then_some(Tone::Bad)
    })]);
    let now = now_ms();
    for (name, client) in clients {
        let role = Role::from(client.role).name();
        if !filters.prefix("name", &name) || !filters.exact("role", role) {
            continue;
        }
        table.row([
            ("Name", name),
            ("Role", role.to_owned()),
            ("CreatedAt", ago(client.created_at.0, now)),
            ("Expires", expires(client.until.0, now)),
        ]);
    }
    table.print(&args.form)
}

fn expires(until: u64, now: u64) -> String {
    match until.checked_sub(now) {
        Some(left) => format!("in {}", duration(Duration::from_millis(left))),
        None => format!("expired {}", ago(until, now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_as_people_say_it() {
        const DAY: u64 = 24 * 3_600_000;
        assert_eq!(expires(13 * DAY, 0), "in 13 days");
        assert_eq!(expires(DAY, 3 * DAY), "expired 2 days ago");
    }
}
