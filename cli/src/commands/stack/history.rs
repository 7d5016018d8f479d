//! `skep stack history`.

use super::revisions::{all, find, to_read};
use super::shape::Shape;
use crate::client::Host;
use crate::commands::service::outcome_name;
use crate::human::{ago, ellipsis, timestamp};
use crate::output::now_ms;
use crate::table::{FormatArgs, Table};
use crate::view::View;
use anyhow::Result;
use skep_types::{RevisionOutcome, Stack, StackSpec, UpdateState};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep stack history vote")]
pub struct Args {
    #[command(flatten)]
    form: FormatArgs,
    /// Do not truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Name of the stack
    stack: String,
}

/// How much of the changes a line has room for.
const CHANGES_WIDTH: usize = 48;

/// Lists the revisions, oldest first.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let view = client.read(to_read(&args.stack)).await?;
    let stack = find(&view, &args.stack)?;
    table(&view, stack, args.no_trunc, now_ms())?.print(&args.form)
}

fn table(view: &View, stack: &Stack, whole: bool, now: u64) -> Result<Table> {
    let mut table = Table::new(
        &[
            ("REVISION", "Marked"),
            ("CREATED", "CreatedAgo"),
            ("CAUSE", "Cause"),
            ("SERVICES", "Services"),
            ("CHANGES", "ShortChanges"),
            ("OUTCOME", "Outcome"),
        ],
        "Revision",
    );
    let mut before: Option<(u64, &StackSpec)> = None;
    for (revision, spec) in all(stack) {
        let number = revision.number;
        let present = number == stack.revision.number;
        let cause = match revision.returns_to {
            Some(to) => format!("rolled back to {to}"),
            None => "deployed".to_owned(),
        };
        let changes = match before {
            Some((earlier, old)) if earlier + 1 == number => changes(Shape::of(old)?, spec)?,
            None if number == 1 => changes(Shape::default(), spec)?,
            // The one before is not kept.
            _ => String::new(),
        };
        let outcome = match present {
            true => present_outcome(view, stack),
            false => outcome_name(revision.outcome),
        };
        table.row([
            (
                "Marked",
                format!("{number}{}", if present { " *" } else { "" }),
            ),
            ("Revision", number.to_string()),
            ("Present", present.to_string()),
            ("CreatedAgo", ago(revision.made_at.0, now)),
            ("CreatedAt", timestamp(revision.made_at.0)),
            ("Cause", cause),
            ("Services", spec.services.len().to_string()),
            (
                "ShortChanges",
                match whole {
                    true => changes.clone(),
                    false => ellipsis(&changes, CHANGES_WIDTH),
                },
            ),
            ("Changes", changes),
            ("Outcome", outcome.to_owned()),
        ]);
        before = Some((number, spec));
    }
    Ok(table)
}

/// What a revision made of the one before, e.g. `~shop_web, +network shop_back`.
fn changes(before: Shape, spec: &StackSpec) -> Result<String> {
    let differences = before.differences(&Shape::of(spec)?).into_iter();
    let words = differences.map(|difference| {
        let kind = match difference.kind {
            super::asked::SERVICE => String::new(),
            kind => format!("{kind} "),
        };
        format!("{}{kind}{}", difference.what.sign(), difference.name)
    });
    Ok(words.collect::<Vec<_>>().join(", "))
}

/// What has come of the present revision, as its services have it: that is not kept before
/// another follows.
fn present_outcome(view: &View, stack: &Stack) -> &'static str {
    let deployed = view.services.iter().filter_map(|service| {
        let then = stack.services.get(&service.id)?;
        Some((service, *then))
    });
    let (mut failed, mut rolling, mut superseded) = (false, false, false);
    for (service, then) in deployed {
        let outcome = match service.revision.number == then {
            true => {
                let state = service.update_status.as_ref().map(|status| status.state);
                rolling |= state == Some(UpdateState::Updating);
                service.revision.outcome
            }
            false => match service.past_revision(then) {
                Some(past) => past.revision.outcome,
                None => continue,
            },
        };
        failed |= outcome == Some(RevisionOutcome::Failed);
        superseded |= outcome == Some(RevisionOutcome::Superseded);
    }
    match (failed, superseded, rolling) {
        (true, ..) => outcome_name(Some(RevisionOutcome::Failed)),
        (_, true, _) => outcome_name(Some(RevisionOutcome::Superseded)),
        (.., true) => "updating",
        _ => outcome_name(Some(RevisionOutcome::Completed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::Style;
    use crate::testing::{service, stack_of, swarm};
    use expect_test::expect;
    use skep_types::{PastStack, Revision, StackNetwork, Timestamp, UpdateStatus};
    use std::sync::Arc;

    /// A stack of three revisions that are kept, and its service.
    fn shop() -> (View, Stack) {
        let mut stack = stack_of("shop", &[("shop_web", "web:1")]);
        let spec = |image: &str, network: &str| {
            let mut spec = stack_of("shop", &[("shop_web", image), ("shop_api", "api")]).spec;
            Arc::make_mut(&mut spec).networks = vec![StackNetwork {
                name: network.to_owned(),
                ..StackNetwork::default()
            }];
            spec
        };
        let revision = |number, returns_to, outcome| Revision {
            number,
            made_at: Timestamp(number * 60_000),
            returns_to,
            outcome,
        };
        let past = |number, outcome, spec| PastStack {
            revision: revision(number, None, Some(outcome)),
            spec,
        };
        stack.past = vec![
            past(
                1,
                RevisionOutcome::Completed,
                spec("web:1", "shop_a_rather_long_name_of_a_network"),
            ),
            past(2, RevisionOutcome::Failed, stack.spec.clone()),
            past(4, RevisionOutcome::Superseded, spec("web:3", "shop_n")),
        ];
        stack.spec = spec("web:1", "shop_n");
        stack.revision = revision(5, Some(1), None);
        let view = swarm(vec![service(1, "shop_web", 1)]);
        stack.services = [(view.services[0].id, 1)].into();
        (view, stack)
    }

    #[test]
    fn each_revision_is_told_by_what_it_made_of_the_one_before() -> Result<()> {
        let (view, stack) = shop();
        let table = table(&view, &stack, false, 360_000)?;
        let shown = table.render(&FormatArgs::default(), Style::default())?;
        let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
        expect![[r#"
            REVISION   CREATED              CAUSE              SERVICES   CHANGES                                            OUTCOME
            1          5 minutes ago        deployed           2          +network shop_a_rather_long_name_of_a_network, …   completed
            2          4 minutes ago        deployed           1          -network shop_a_rather_long_name_of_a_network, …   failed
            4          2 minutes ago        deployed           2                                                             superseded
            5 *        About a minute ago   rolled back to 1   2          ~shop_web                                          completed"#]].assert_eq(&lines.join("\n"));
        let quiet = FormatArgs {
            format: None,
            quiet: true,
        };
        let shown = table.render(&quiet, Style::default())?;
        assert_eq!(shown, "1\n2\n4\n5\n");
        let json = FormatArgs {
            format: Some("json".to_owned()),
            quiet: false,
        };
        let shown = table.render(&json, Style::default())?;
        let whole = "-network shop_a_rather_long_name_of_a_network";
        assert!(shown.contains(whole), "{shown}");
        Ok(())
    }

    #[test]
    fn what_came_of_the_present_one_is_what_its_services_say() {
        let (mut view, mut stack) = shop();
        let mut said = vec![present_outcome(&view, &stack)];
        view.services[0].update_status = Some(UpdateStatus {
            state: UpdateState::Updating,
            started_at: Timestamp(0),
            completed_at: None,
            message: String::new(),
            resumed_at: None,
        });
        said.push(present_outcome(&view, &stack));
        view.services[0].revision.outcome = Some(RevisionOutcome::Failed);
        said.push(present_outcome(&view, &stack));
        // It went on since, and what it was then is not kept.
        stack.services = [(view.services[0].id, 7)].into();
        said.push(present_outcome(&view, &stack));
        assert_eq!(said, ["completed", "updating", "failed", "completed"]);
    }
}
