//! `skep context`: names for the swarms and daemons that a user speaks to.

mod create;
mod export;
mod import;
mod inspect;
mod ls;
mod rm;
mod show;
mod update;
mod use_;

use crate::contexts::{Context, Contexts};
use crate::error::usage;
use crate::output::note;
use crate::place::{self, Place, variable};
use anyhow::Result;
use clap::Subcommand;
use std::path::PathBuf;

/// Commands of the group.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Give a swarm or a daemon a name
    Create(create::Args),
    /// Write a context to a file, with its private key
    Export(export::Args),
    /// Take over a context from a file
    Import(import::Args),
    /// Show all that is known of contexts, but for keys
    Inspect(inspect::Args),
    /// List the contexts
    Ls(ls::Args),
    /// Remove contexts
    Rm(rm::Args),
    /// Print the name of the context in use
    Show(show::Args),
    /// Change a context
    Update(update::Args),
    /// Use a context from now on
    Use(use_::Args),
}

/// Runs one; nobody is spoken to.
///
/// # Errors
/// What ended it.
pub fn run(command: Command, place: &Place) -> Result<()> {
    let contexts = Contexts::of(variable)?;
    match command {
        Command::Create(args) => create::run(args, &contexts),
        Command::Export(args) => export::run(args, &contexts),
        Command::Import(args) => import::run(args, &contexts),
        Command::Inspect(args) => inspect::run(args, &contexts, place),
        Command::Ls(args) => ls::run(args, &contexts, place),
        Command::Rm(args) => rm::run(args, &contexts, place),
        Command::Show(args) => show::run(args, place),
        Command::Update(args) => update::run(args, &contexts),
        Command::Use(args) => use_::run(args, &contexts),
    }
}

/// What a context is made of.
#[derive(Debug, Clone, clap::Args)]
struct Parts {
    /// Something to say of it
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Socket of a daemon, or managers: `tcp://HOST[:PORT][,HOST[:PORT]]...`
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Certificate to show to managers, as `skep swarm client create` wrote it; it is copied
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
}

impl Parts {
    /// The context with what was given in place of what was there, if it can be used.
    fn put_into(self, mut context: Context) -> Result<Context> {
        if let Some(description) = self.description {
            context.description = description;
        }
        if let Some(host) = self.host {
            context.host = host;
        }
        if let Some(file) = place::read(self.cert.as_deref())? {
            context.certificate = Some(file);
        }
        let host = context.to_host()?;
        if host.client().is_none() && context.certificate.take().is_some() {
            return Err(usage(format!(
                "a certificate is for managers, and {} is a socket: leave --cert out, or give \
                 --host tcp://HOST",
                context.host
            )));
        }
        Ok(context)
    }
}

/// Says so where something else counts for more than the context in use.
fn note_what_counts_more() {
    for name in [place::HOST, place::CONTEXT] {
        if variable(name).is_some() {
            note!(
                "Warning: {name} is set, which counts for more than the context in use. Unset it \
                 to have that used."
            );
            return;
        }
    }
}
