//! `skep image pull`.

use crate::client::Host;
use crate::error::CliError;
use crate::human::size;
use crate::output::say;
use crate::progress::{Board, Line};
use crate::style::stdout_draws;
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
    let stream = client.node()?.pull_image(request).await;
    let mut stream = stream.map_err(CliError::from)?.into_inner();
    let mut layers = Layers {
        live: stdout_draws(),
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

/// One line a layer.
#[derive(Debug, Default)]
struct Layers {
    /// How much of a layer is there is told, too.
    live: bool,
    /// Id and line of each, in the order they came.
    known: Vec<(String, String)>,
    board: Board,
}

impl Layers {
    fn show(&mut self, progress: &pb::ImageProgress) -> Result<()> {
        let mut line = match progress.id.as_str() {
            "" => progress.status.clone(),
            id => format!("{id}: {}", progress.status),
        };
        if self.live && progress.total > 0 && progress.current < progress.total {
            // Writing to a string cannot fail.
            let _ = write!(line, " {}/{}", size(progress.current), size(progress.total));
        }
        match self.known.iter_mut().find(|(id, _)| *id == progress.id) {
            Some((_, known)) => *known = line,
            None => self.known.push((progress.id.clone(), line)),
        }
        let lines = self.known.iter().map(|(_, line)| Line::from(line.clone()));
        self.board.show(lines.collect())
    }
}
