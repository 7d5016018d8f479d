//! `skep stack ls`.

use crate::client::Host;
use crate::commands::service;
use crate::table::{FormatArgs, Table};
use crate::view::natural;
use anyhow::Result;
use skep_types::STACK_LABEL;
use std::collections::BTreeMap;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "list",
    before_help = "Example:\n  skep stack ls --format '{{.Name}}'"
)]
pub struct Args {
    #[command(flatten)]
    form: FormatArgs,
}

/// Lists.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let view = service::read(&client).await?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for service in &view.services {
        if let Some(stack) = service.spec.labels.get(STACK_LABEL) {
            *counts.entry(stack).or_default() += 1;
        }
    }
    let mut stacks: Vec<_> = counts.into_iter().collect();
    stacks.sort_by(|(a, _), (b, _)| natural(a, b));
    let mut table = Table::new(&[("NAME", "Name"), ("SERVICES", "Services")], "Name");
    for (name, services) in stacks {
        table.row([
            ("Name", name.to_owned()),
            ("Services", services.to_string()),
        ]);
    }
    table.print(&args.form)
}
