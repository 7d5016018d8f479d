//! `skep service ps`.

use crate::client::Host;
use crate::error::CliError;
use crate::filter::FilterArgs;
use crate::find;
use crate::output::note;
use crate::tasks::{self, PsArgs};
use anyhow::Result;
use skep_proto::{id_bytes, pb};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep service ps --no-trunc vote_vote")]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    form: PsArgs,
    /// Name or id
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
}

/// Lists; those services that are there also where another one is not.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let filters = args.filter.read(tasks::FILTERS)?;
    let client = host.connect().await?;
    let view = super::read(&client).await?;
    let mut ids = Vec::new();
    let mut problems = Vec::new();
    for key in &args.services {
        match find::service(&view.services, key) {
            Ok(service) => ids.push(id_bytes(service.id)),
            Err(error) => problems.push(error),
        }
    }
    if !ids.is_empty() {
        let view = client
            .read(pb::ReadRequest {
                services: true,
                tasks: true,
                nodes: true,
                task_services: ids,
                ..Default::default()
            })
            .await?;
        tasks::print(&view, view.tasks.iter().collect(), &filters, &args.form)?;
    }
    for problem in &problems {
        note!("skep: {problem}");
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(CliError::Reported.into()),
    }
}
