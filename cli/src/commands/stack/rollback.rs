//! `skep stack rollback`.

use super::asked::{refused, tell};
use super::follow::follow;
use super::plan::{Form, foresee};
use super::revisions::{find, numbered, to_read};
use crate::client::Host;
use crate::commands::service::WaitArgs;
use crate::error::usage;
use crate::output::say;
use anyhow::{Context as _, Result, bail};
use skep_proto::pb;
use skep_proto::pb::change::Change;
use skep_types::Stack;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  skep stack rollback vote\n  skep stack rollback --dry-run --to 3 vote"
)]
pub struct Args {
    /// Go back to this revision, not to the newest earlier one that is another and did not fail
    /// (see stack history)
    #[arg(long, value_name = "REVISION")]
    to: Option<u64>,
    #[command(flatten)]
    wait: WaitArgs,
    /// Only tell what would change, as `stack plan` does, with its exit codes
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    form: Form,
    /// Name of the stack
    stack: String,
}

/// Goes back, and waits.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    if args.form.format.is_some() && !args.dry_run {
        return Err(usage("--format is the form of a plan: add --dry-run"));
    }
    let client = host.connect().await?;
    let request = match args.dry_run {
        false => to_read(&args.stack),
        true => pb::ReadRequest {
            stack_history: true,
            stack_names: vec![args.stack.clone()],
            ..super::plan::to_read()
        },
    };
    let view = client.read(request).await?;
    let stack = find(&view, &args.stack)?;
    let to = target(stack, args.to)?;
    let spec = numbered(stack, to)?;
    // To what was looked at: who deploys meanwhile is not passed over.
    let change = Change::RollbackStack(pb::RollbackStack {
        name: args.stack.clone(),
        version: stack.meta.version.0,
        revision: Some(to),
    });
    if args.dry_run {
        if args.form.format.is_none() {
            say!("{} would be what it was as revision {to}.", args.stack)?;
        }
        return foresee(&client, &view, spec, change, &args.form).await;
    }
    let made = client.change_told(change).await;
    let made = made.map_err(|error| {
        refused(
            error,
            &args.stack,
            "did not go back, and nothing was changed",
        )
    })?;
    let number = made.revisions.first().copied().filter(|made| *made > 0);
    match number {
        Some(number) => say!("Going back to revision {to}, as revision {number}")?,
        None => say!("Going back to revision {to}, which it is")?,
    }
    tell(&made.objects)?;
    follow(&client, spec, &view, &made.objects, args.wait).await
}

/// The revision that is gone back to.
fn target(stack: &Stack, asked: Option<u64>) -> Result<u64> {
    let (name, present) = (&stack.spec.name, stack.revision.number);
    match asked {
        Some(number) if number == present => bail!(
            "stack {name} is at revision {number}; what was changed by hand since (skep stack \
             diff {name} {number}) is undone by a deploy of its files"
        ),
        Some(number) => Ok(number),
        None => {
            let before = stack.before().with_context(|| {
                format!(
                    "stack {name} has no earlier revision that did not fail and is another than \
                     what it is; see `skep stack history {name}`, and name one with --to"
                )
            })?;
            Ok(before.revision.number)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::stack_of;
    use skep_types::{PastStack, RevisionOutcome};

    #[test]
    fn the_way_back_is_the_newest_that_did_not_fail_and_is_another() -> Result<()> {
        let past = |number, outcome, image: &str| {
            let mut past = PastStack {
                revision: stack_of("shop", &[]).revision,
                spec: stack_of("shop", &[("shop_web", image)]).spec,
            };
            past.revision.number = number;
            past.revision.outcome = Some(outcome);
            past
        };
        let mut shop = stack_of("shop", &[("shop_web", "good")]);
        shop.revision.number = 4;
        shop.past = vec![
            past(1, RevisionOutcome::Superseded, "first"),
            past(2, RevisionOutcome::Completed, "good"),
            past(3, RevisionOutcome::Failed, "bad"),
        ];
        assert_eq!(target(&shop, None)?, 1);
        assert_eq!(target(&shop, Some(3))?, 3);
        let said = |error: Result<u64>| error.err().map(|e| e.to_string()).unwrap_or_default();
        let present = said(target(&shop, Some(4)));
        assert!(present.contains("is at revision 4"), "{present}");
        shop.past.remove(0);
        let none = said(target(&shop, None));
        assert!(none.contains("name one with --to"), "{none}");
        Ok(())
    }
}
