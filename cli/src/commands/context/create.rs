//! `skep context create`.

use super::Parts;
use crate::contexts::{Context, Contexts};
use crate::error::usage;
use crate::output::{note, say};
use anyhow::Result;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  skep context create prod --host tcp://192.0.2.10,192.0.2.11 --cert alice.pem"
)]
pub struct Args {
    #[command(flatten)]
    parts: Parts,
    /// Begin with what another context is
    #[arg(long, value_name = "CONTEXT")]
    from: Option<String>,
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
}

/// Makes it.
pub fn run(args: Args, contexts: &Contexts) -> Result<()> {
    let Args { parts, from, name } = args;
    if contexts.has(&name)? {
        return Err(usage(format!(
            "context {name:?} exists: change it with \"skep context update\", or remove it first"
        )));
    }
    let begun = match &from {
        Some(other) => contexts.find(other)?,
        None if parts.host.is_none() => {
            return Err(usage(
                "say whom the context is to speak to: --host tcp://HOST[:PORT] or \
                 unix:///path/to/skep.sock, or --from CONTEXT",
            ));
        }
        None => Context {
            name: String::new(),
            description: String::new(),
            host: String::new(),
            certificate: None,
        },
    };
    let begun = Context {
        name: name.clone(),
        ..begun
    };
    contexts.keep(&parts.put_into(begun)?)?;
    say!("{name}")?;
    note!("Successfully created context \"{name}\"");
    Ok(())
}
