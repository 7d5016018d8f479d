//! `skep service`.

mod create;
mod effect;
mod explain;
mod inspect;
mod logs;
mod ls;
mod plan;
mod ps;
mod rebalance;
mod references;
mod rm;
mod rollback;
mod rollout;
mod runs;
mod scale;
mod settings;
mod trigger;
mod update;

pub use rollout::outcome_name;

use crate::client::{Client, Host};
use crate::find;
use crate::flags;
use crate::output::say;
use crate::progress::{Waiting, wait};
use crate::view::View;
use anyhow::Result;
use clap::Subcommand;
use skep_proto::pb;
use skep_proto::pb::change::Change;
use skep_types::Service;
use std::time::Duration;

pub use ls::table as services_table;

/// Commands of the group.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run an image as a service
    Create(Box<create::Args>),
    /// Say why tasks run where they do, and why others do not run
    Explain(explain::Args),
    /// Show all that is known of services
    Inspect(inspect::Args),
    /// Show what the tasks of a service print
    Logs(logs::Args),
    /// List the services
    Ls(ls::Args),
    /// Show what an update would do, and do nothing
    Plan(Box<plan::Args>),
    /// List the tasks of services
    Ps(ps::Args),
    /// Move tasks so that nodes have equally many of them
    Rebalance(rebalance::Args),
    /// Stop and remove services
    Rm(rm::Args),
    /// Go back to what a service was before its last change
    Rollback(rollback::Args),
    /// Halt an update, let it go on, or see how far it is
    #[command(subcommand)]
    Rollout(rollout::Command),
    /// List the runs of a job, with how they ended
    Runs(runs::Args),
    /// Set how many tasks services have
    Scale(scale::Args),
    /// Have a job run now
    Trigger(trigger::Args),
    /// Change a service
    Update(Box<update::Args>),
}

/// Runs one.
pub async fn run(command: Command, host: &Host) -> Result<()> {
    match command {
        Command::Create(args) => create::run(*args, host).await,
        Command::Explain(args) => explain::run(args, host).await,
        Command::Inspect(args) => inspect::run(args, host).await,
        Command::Logs(args) => logs::run(args, host).await,
        Command::Ls(args) => ls::run(args, host).await,
        Command::Plan(args) => plan::run(*args, host).await,
        Command::Ps(args) => ps::run(args, host).await,
        Command::Rebalance(args) => rebalance::run(args, host).await,
        Command::Rm(args) => rm::run(args, host).await,
        Command::Rollback(args) => rollback::run(args, host).await,
        Command::Rollout(command) => rollout::run(command, host).await,
        Command::Runs(args) => runs::run(args, host).await,
        Command::Scale(args) => scale::run(args, host).await,
        Command::Trigger(args) => trigger::run(args, host).await,
        Command::Update(args) => update::run(*args, host).await,
    }
}

/// The services alone.
pub async fn read(client: &Client) -> Result<View> {
    client
        .read(pb::ReadRequest {
            services: true,
            ..Default::default()
        })
        .await
}

/// Flags of commands that change services and wait for them.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct WaitArgs {
    /// Do not wait until the tasks run
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", hide_default_value = true, hide_possible_values = true)]
    pub detach: bool,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
    /// Give up waiting after this long, e.g. 5m
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    pub timeout: Option<Duration>,
}

/// Asks for a change of one service, named as the user did, and waits until it has come
/// about, unless that is not wanted.
async fn ask(
    host: &Host,
    name: &str,
    args: WaitArgs,
    change: impl Fn(&Service) -> (Change, Waiting<'static>),
) -> Result<()> {
    let client = host.connect().await?;
    let view = read(&client).await?;
    let service = find::service(&view.services, name)?;
    let (change, how) = change(service);
    client.change_as_it_is(change).await?;
    say!("{name}")?;
    if args.detach {
        return Ok(());
    }
    let how = Waiting {
        quiet: args.quiet,
        timeout: args.timeout,
        ..how
    };
    wait(&client, &[(service.id, service.spec.name.clone())], how).await
}
