//! `skep image pull`.

use crate::client::Host;
use crate::error::CliError;
use crate::human::size;
use crate::output::{is_terminal, raw, say};
use anyhow::{Context as _, Result};
use skep_proto::pb;
use std::fmt::Write as _;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  skep image pull redis:alpine",
    after_help = "Nodes have no credentials of their own. For services with an image that needs \
                  them, pull it on each node before they are deployed."
)]
pub struct Args {
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// User at the registry
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    username: String,
    /// Password at the registry; better given in the environment
    #[arg(
        long,
        value_name = "TEXT",
        env = "SKEP_REGISTRY_PASSWORD",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true
    )]
    password: String,
    /// Name of the image
    #[arg(value_name = "IMAGE[:TAG|@DIGEST]")]
    reference: String,
}

/// Pulls.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let request = pb::PullImageRequest {
        reference: args.reference.clone(),
        username: args.username,
        password: args.password,
    };
    let stream = client.node().pull_image(request).await;
    let mut stream = stream.map_err(CliError::from)?.into_inner();
    let mut layers = Layers {
        live: is_terminal(),
        ..Layers::default()
    };
    let mut image = None;
    while let Some(mut progress) = stream.message().await.map_err(CliError::from)? {
        image = progress.image.take().or(image);
        if !args.quiet && image.is_none() {
            layers.show(&progress)?;
        }
    }
    let image = image.context("the daemon did not say which image it pulled")?;
    if args.quiet {
        say!("{}", image.references.first().unwrap_or(&args.reference))?;
        return Ok(());
    }
    if let Some((_, digest)) = image
        .digests
        .first()
        .and_then(|digest| digest.split_once('@'))
    {
        say!("Digest: {digest}")?;
    }
    say!("{}", image.references.first().unwrap_or(&args.reference))?;
    Ok(())
}

/// One line a layer: drawn over on a terminal, elsewhere a line for each step.
#[derive(Debug, Default)]
struct Layers {
    live: bool,
    /// Id and status of each, in the order they came.
    known: Vec<(String, String)>,
}

impl Layers {
    fn show(&mut self, progress: &pb::ImageProgress) -> Result<()> {
        let place = match self.known.iter().position(|(id, _)| *id == progress.id) {
            Some(place) => place,
            None => {
                self.known.push((progress.id.clone(), String::new()));
                if self.live {
                    say!("")?;
                }
                self.known.len() - 1
            }
        };
        let Some((id, status)) = self.known.get_mut(place) else {
            return Ok(());
        };
        let head = match id.is_empty() {
            true => String::new(),
            false => format!("{id}: "),
        };
        if !self.live {
            if *status != progress.status {
                status.clone_from(&progress.status);
                say!("{head}{}", progress.status)?;
            }
            return Ok(());
        }
        let mut line = format!("{head}{}", progress.status);
        if progress.total > 0 && progress.current < progress.total {
            // Writing to a string cannot fail.
            let _ = write!(line, " {}/{}", size(progress.current), size(progress.total));
        }
        if *status != line {
            status.clone_from(&line);
            let up = self.known.len() - place;
            raw(format!("\x1b[{up}A\r\x1b[2K{line}\x1b[{up}B\r").as_bytes())?;
        }
        Ok(())
    }
}
