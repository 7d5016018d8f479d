//! `skep node`.

mod demote;
mod drain;
mod explain;
mod inspect;
mod ls;
mod promote;
mod ps;
mod rm;
mod update;

use crate::client::{Client, Host};
use crate::error::is_stale;
use crate::find;
use crate::view::View;
use anyhow::{Result, bail};
use clap::Subcommand;
use skep_proto::pb::change::Change;
use skep_proto::{id_bytes, pb};
use skep_types::{Node, NodeSpec};

/// Commands of the group.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the nodes
    Ls(ls::Args),
    /// Say what a node has given away, and which services it would take
    Explain(explain::Args),
    /// Show all that is known of nodes
    Inspect(inspect::Args),
    /// Change a node's labels, role or availability
    Update(update::Args),
    /// Move all tasks off nodes, and wait until they have left
    Drain(drain::Args),
    /// Make nodes managers
    Promote(promote::Args),
    /// Make managers workers
    Demote(demote::Args),
    /// Forget nodes that are gone
    Rm(rm::Args),
    /// List the tasks of nodes
    Ps(ps::Args),
}

/// Runs one.
pub async fn run(command: Command, host: &Host) -> Result<()> {
    match command {
        Command::Ls(args) => ls::run(args, host).await,
        Command::Explain(args) => explain::run(args, host).await,
        Command::Inspect(args) => inspect::run(args, host).await,
        Command::Update(args) => update::run(args, host).await,
        Command::Drain(args) => drain::run(args, host).await,
        Command::Promote(args) => promote::run(args, host).await,
        Command::Demote(args) => demote::run(args, host).await,
        Command::Rm(args) => rm::run(args, host).await,
        Command::Ps(args) => ps::run(args, host).await,
    }
}

/// The nodes, as managers know them.
async fn read(client: &Client) -> Result<View> {
    client
        .read(pb::ReadRequest {
            nodes: true,
            ..Default::default()
        })
        .await
}

/// Reads a node, edits its spec and writes it back; again from the start when
/// it was changed in between. Returns the node as it was, and whether there
/// was anything to change.
async fn edit(
    client: &Client,
    key: &str,
    edit: impl Fn(&mut NodeSpec) -> Result<()>,
) -> Result<(Node, bool)> {
    let this = client.self_id().await?;
    for _ in 0..10 {
        let view = read(client).await?;
        let node = find::node(view.nodes.values(), key, this)?.node.clone();
        let mut spec = node.spec.clone();
        edit(&mut spec)?;
        if spec == node.spec {
            return Ok((node, false));
        }
        let update = pb::UpdateNode {
            id: id_bytes(node.id),
            version: node.meta.version.0,
            spec: Some((&spec).into()),
        };
        match client.change(Change::UpdateNode(update)).await {
            Err(error) if is_stale(&error) => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok((node, true)),
        }
    }
    bail!("node {key} is being changed by others all the time; try again")
}
