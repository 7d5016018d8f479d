//! `skep stack deploy`.
//!
//! The file is loaded, and what can be checked of it is checked, before anything is sent.
//! Then it is one change, which the managers make whole or not at all; then waiting.

use super::asked::{Asked, refused, tell};
use super::file::{Files, Named};
use super::findings::Findings;
use super::follow::follow;
use super::networks::changed_networks;
use super::plan::{Form, plan};
use crate::client::Host;
use crate::commands::service::WaitArgs;
use crate::error::usage;
use crate::flags;
use anyhow::Result;
use skep_proto::pb::change::Change;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  skep stack deploy -c docker-stack.yml vote\n  skep stack deploy --dry-run -c docker-stack.yml vote"
)]
pub struct Args {
    #[command(flatten)]
    files: Named,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    asked: Asked,
    /// Only tell what would change, as `stack plan` does, with its exit codes
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    form: Form,
    /// Accepted for compatibility: it is so unless --reset-scale is given
    #[arg(long, hide = true, conflicts_with = "reset_scale")]
    keep_replicas: bool,
    #[command(flatten)]
    findings: Findings,
    /// Accepted for compatibility, without effect yet: see `skep image pull`
    #[arg(long, hide = true)]
    with_registry_auth: bool,
    /// Accepted for compatibility, without effect yet: nodes look images up
    #[arg(long, value_enum, hide = true)]
    resolve_image: Option<flags::Resolve>,
    /// Name of the stack; the `name` of the files, where it is left out
    stack: Option<String>,
}

/// Deploys, and waits.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    flags::note_without_effect(args.with_registry_auth, args.resolve_image);
    if args.form.format.is_some() && !args.dry_run {
        return Err(usage("--format is the form of a plan: add --dry-run"));
    }
    let loaded = Files::read(&args.files)?.load(args.stack.as_deref(), &args.findings)?;
    let stack = &loaded.stack;
    let client = host.connect().await?;
    if args.dry_run {
        return plan(&client, stack, &args.asked, &args.findings, &args.form).await;
    }
    let view = client.read(Asked::to_read()).await?;
    args.findings
        .tell_of_swarm(&changed_networks(stack, &view))?;
    let change = Change::ApplyStack(args.asked.change(stack, &view)?);
    let made = client.change_told(change).await;
    let made = made.map_err(|error| {
        refused(
            error,
            &stack.name,
            "was not deployed, and nothing was changed",
        )
    })?;
    tell(&made.objects)?;
    follow(&client, stack, &view, &made.objects, args.wait).await
}
