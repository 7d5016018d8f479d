//! `skep secret`.

mod create;
mod inspect;
mod ls;
mod rm;
mod update;

use crate::client::{Client, Host};
use anyhow::Result;
use clap::Subcommand;
use skep_proto::pb;
use skep_types::Secret;

/// Commands of the group.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a secret from a file
    Create(create::Args),
    /// Show all that is known of secrets, never their content
    Inspect(inspect::Args),
    /// List the secrets
    Ls(ls::Args),
    /// Remove secrets
    Rm(rm::Args),
    /// Give a secret other content, and have the services that use it use that
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

/// All secrets, and their earlier generations.
struct Known {
    newest: Vec<Secret>,
    earlier: Vec<Secret>,
}

impl Known {
    /// The generations of a name, oldest first.
    fn generations_of<'a>(&'a self, of: &'a Secret) -> Vec<&'a Secret> {
        let name = of.spec.name.to_lowercase();
        let earlier = self.earlier.iter();
        let same = earlier.filter(|secret| secret.spec.name.to_lowercase() == name);
        let mut all: Vec<&Secret> = same.chain([of]).collect();
        all.sort_by_key(|secret| secret.generation);
        all
    }
}

async fn read(client: &Client) -> Result<Known> {
    let asked = pb::ReadRequest {
        secrets: true,
        generations: true,
        ..Default::default()
    };
    let all = client.read(asked).await?.secrets.into_iter();
    let (newest, earlier) = all.partition(|secret| secret.superseded_at.is_none());
    Ok(Known { newest, earlier })
}
