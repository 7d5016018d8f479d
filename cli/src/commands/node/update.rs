//! `skep node update`.

use crate::client::Host;
use crate::commands::swarm::Availability;
use crate::flags;
use crate::output::say;
use anyhow::{Result, bail};
use clap::ValueEnum;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep node update --availability drain node-2")]
pub struct Args {
    /// Whether tasks may run there
    #[arg(long, value_enum)]
    availability: Option<Availability>,
    /// What the node does in the swarm
    #[arg(long, value_enum)]
    role: Option<Role>,
    /// Add or change a label; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = flags::key_value)]
    label_add: Vec<(String, String)>,
    /// Remove a label; repeatable
    #[arg(long, value_name = "KEY")]
    label_rm: Vec<String>,
    /// Host name, id or `self`
    node: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    Worker,
    Manager,
}

/// Changes what is given.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    super::edit(&client, &args.node, |spec| {
        for key in &args.label_rm {
            if spec.labels.remove(key).is_none() {
                bail!("key {key} doesn't exist in node's labels");
            }
        }
        spec.labels.extend(args.label_add.iter().cloned());
        if let Some(availability) = args.availability.map(Into::into)
            && spec.availability != availability
        {
            spec.availability = availability;
            // That of an earlier drain is none of this one.
            spec.drain_deadline = None;
        }
        match args.role {
            Some(Role::Worker) => spec.role = skep_types::Role::Worker,
            Some(Role::Manager) => spec.role = skep_types::Role::Manager,
            None => {}
        }
        Ok(())
    })
    .await?;
    say!("{}", args.node)?;
    Ok(())
}
