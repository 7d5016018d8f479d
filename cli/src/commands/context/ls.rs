//! `skep context ls`.

use super::note_what_counts_more;
use crate::contexts::{Context, Contexts};
use crate::place::{Place, variable};
use crate::style::Tone;
use crate::table::{FormatArgs, Table};
use anyhow::Result;
use std::time::SystemTime;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "list",
    before_help = "Example:\n  skep context ls --format '{{.Name}} {{.Endpoint}}'"
)]
pub struct Args {
    #[command(flatten)]
    form: FormatArgs,
}

/// Lists.
pub fn run(args: Args, contexts: &Contexts, place: &Place) -> Result<()> {
    let current = place.context(variable)?;
    let columns = &[
        ("NAME", "Name"),
        ("DESCRIPTION", "Description"),
        ("ENDPOINT", "Endpoint"),
        ("ERROR", "Error"),
    ];
    let mut table = Table::new(columns, "Plain")
        .toned(&[("Error", |text| (!text.is_empty()).then_some(Tone::Bad))]);
    for (name, read) in contexts.all()? {
        let is_current = name == current;
        let problem = match &read {
            Ok(context) => problem(context).err(),
            Err(_) => None,
        };
        let (context, problem) = match read {
            Ok(context) => (Some(context), problem),
            Err(error) => (None, Some(error)),
        };
        let of = |read: fn(&Context) -> &String| context.as_ref().map(read).cloned();
        let shown = match is_current && args.form.format.is_none() {
            true => format!("{name} *"),
            false => name.clone(),
        };
        table.row([
            ("Name", shown),
            ("Plain", name),
            ("Current", is_current.to_string()),
            ("Description", of(|it| &it.description).unwrap_or_default()),
            ("Endpoint", of(|it| &it.host).unwrap_or_default()),
            (
                "Error",
                problem.map(|it| format!("{it:#}")).unwrap_or_default(),
            ),
        ]);
    }
    table.print(&args.form)?;
    if !args.form.quiet && args.form.format.is_none() {
        note_what_counts_more();
    }
    Ok(())
}

/// Whether it could be used now, as far as can be said without anybody there.
fn problem(context: &Context) -> Result<()> {
    let host = context.to_host()?;
    match host.client() {
        Some(client) => Ok(client.check_time(SystemTime::now())?),
        None => Ok(()),
    }
}
