//! `skep service rebalance`.

use super::WaitArgs;
use crate::client::Host;
use crate::find;
use crate::output::say;
use crate::progress::{Waiting, wait};
use anyhow::{Result, bail};
use skep_proto::id_bytes;
use skep_proto::pb::change::Change;
use skep_types::ServiceMode;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  skep service rebalance web worker",
    after_help = "Tasks move to nodes that have at least two fewer of their service, as an update \
                  changes them: so many\nat a time, in its order, each watched before the next. \
                  What is as even as it can be stays as it is."
)]
pub struct Args {
    #[command(flatten)]
    wait: WaitArgs,
    /// Names or ids of services
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
}

/// Asks for each, then waits for all of them together.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let view = super::read(&client).await?;
    // Nothing is done where one of them is wrong.
    let mut wanted = Vec::new();
    for key in &args.services {
        let service = find::service(&view.services, key)?;
        if !matches!(service.spec.mode, ServiceMode::Replicated { .. }) {
            bail!("{key}: rebalance can only be used with replicated mode");
        }
        wanted.push((service.id, service.spec.name.clone()));
    }
    for (id, name) in &wanted {
        let change = Change::RebalanceService(id_bytes(*id));
        client.change_as_it_is(change).await?;
        say!("{name}")?;
    }
    if args.wait.detach {
        return Ok(());
    }
    let how = Waiting {
        quiet: args.wait.quiet,
        timeout: args.wait.timeout,
        // That its last update was taken back is no news.
        rollback: true,
        ..Waiting::default()
    };
    wait(&client, &wanted, how).await
}
