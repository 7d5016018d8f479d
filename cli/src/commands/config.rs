//! `skep config`.

mod create;
mod inspect;
mod ls;
mod rm;
mod update;

use crate::client::{Client, Host};
use anyhow::Result;
use clap::Subcommand;
use skep_proto::pb;
use skep_types::Config;

/// Commands of the group.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a config from a file
    Create(create::Args),
    /// Show all that is known of configs
    Inspect(inspect::Args),
    /// List the configs
    Ls(ls::Args),
    /// Remove configs
    Rm(rm::Args),
    /// Give a config other content, and have the services that use it use that
    Update(update::Args),
}

/// Runs one.
pub async fn run(command: Command, host: &Host) -> Result<()> {
    match command {
        Command::Create(args) => create::run(args, host).await,
        Command::Inspect(args) => inspect::run(args, host).await,
        Command::Ls(args) => ls::run(args, host).await,
        Command::Rm(args) => rm::run(args, host).await,
        Command::Update(args) => update::run(args, host).await,
    }
}

/// All configs, and their earlier generations.
struct Known {
    newest: Vec<Config>,
    earlier: Vec<Config>,
}

impl Known {
    /// The generations of a name, oldest first.
    fn generations_of<'a>(&'a self, of: &'a Config) -> Vec<&'a Config> {
        let name = of.spec.name.to_lowercase();
        let earlier = self.earlier.iter();
        let same = earlier.filter(|config| config.spec.name.to_lowercase() == name);
        let mut all: Vec<&Config> = same.chain([of]).collect();
        all.sort_by_key(|config| config.generation);
        all
    }
}

async fn read(client: &Client) -> Result<Known> {
    let asked = pb::ReadRequest {
        configs: true,
        generations: true,
        ..Default::default()
    };
    let all = client.read(asked).await?.configs.into_iter();
    let (newest, earlier) = all.partition(|config| config.superseded_at.is_none());
    Ok(Known { newest, earlier })
}
