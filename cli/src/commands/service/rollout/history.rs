//! `skep service rollout history`.

use crate::client::Host;
use crate::find;
use crate::human::{ago, timestamp};
use crate::json::update_state;
use crate::output::now_ms;
use crate::table::{FormatArgs, Table};
use anyhow::Result;
use skep_proto::pb;
use skep_types::{Revision, RevisionOutcome, Service, ServiceSpec};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep service rollout history web")]
pub struct Args {
    #[command(flatten)]
    form: FormatArgs,
    /// Name or id
    service: String,
}

/// Lists the revisions, oldest first.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let request = pb::ReadRequest {
        services: true,
        revisions: true,
        ..Default::default()
    };
    let view = client.read(request).await?;
    let service = find::service(&view.services, &args.service)?;
    table(service, now_ms()).print(&args.form)
}

/// What came of a revision, in a word.
pub fn outcome_name(outcome: Option<RevisionOutcome>) -> &'static str {
    match outcome {
        Some(RevisionOutcome::Completed) => "completed",
        Some(RevisionOutcome::Failed) => "failed",
        Some(RevisionOutcome::Superseded) => "superseded",
        None => "",
    }
}

fn table(service: &Service, now: u64) -> Table {
    let mut table = Table::new(
        &[
            ("REVISION", "Marked"),
            ("CREATED", "CreatedAgo"),
            ("CAUSE", "Cause"),
            ("IMAGE", "Image"),
            ("OUTCOME", "Outcome"),
        ],
        "Revision",
    );
    let mut add = |revision: &Revision, spec: &ServiceSpec, present: bool, outcome: String| {
        let Revision {
            number,
            made_at,
            returns_to,
            outcome: _,
        } = revision;
        let cause = match returns_to {
            Some(to) => format!("rolled back to {to}"),
            None if *number == 1 => "created".to_owned(),
            None => "updated".to_owned(),
        };
        table.row([
            (
                "Marked",
                format!("{number}{}", if present { " *" } else { "" }),
            ),
            ("Revision", number.to_string()),
            ("Present", present.to_string()),
            ("CreatedAgo", ago(made_at.0, now)),
            ("CreatedAt", timestamp(made_at.0)),
            ("Cause", cause),
            ("Image", spec.task.container.image.clone()),
            ("Outcome", outcome),
        ]);
    };
    for past in &service.past {
        let outcome = outcome_name(past.revision.outcome).to_owned();
        add(&past.revision, &past.spec, false, outcome);
    }
    let revision = &service.revision;
    let outcome = match (&revision.outcome, &service.update_status) {
        (None, Some(status)) => update_state(status.state).to_owned(),
        (outcome, _) => outcome_name(*outcome).to_owned(),
    };
    add(revision, &service.spec, true, outcome);
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::Style;
    use crate::testing;
    use skep_types::{PastRevision, Timestamp, UpdateState, UpdateStatus};
    use std::sync::Arc;

    #[test]
    fn the_present_revision_is_last_and_tells_how_far_it_is() {
        let mut web = testing::service(7, "web", 3);
        let spec = |image: &str| {
            let mut spec = web.spec.clone();
            Arc::make_mut(&mut spec.task).container.image = image.to_owned();
            spec
        };
        let revision = |number, returns_to, outcome| Revision {
            number,
            made_at: Timestamp(number * 60_000),
            returns_to,
            outcome,
        };
        let past = [
            (
                revision(1, None, Some(RevisionOutcome::Completed)),
                spec("web:1"),
            ),
            (
                revision(2, None, Some(RevisionOutcome::Failed)),
                spec("web:2"),
            ),
        ];
        let present = spec("web:1");
        web.past = past
            .map(|(revision, spec)| PastRevision { revision, spec })
            .into();
        web.spec = present;
        web.revision = revision(3, Some(1), None);
        web.update_status = Some(UpdateStatus {
            state: UpdateState::RollbackStarted,
            started_at: Timestamp(180_000),
            completed_at: None,
            message: String::new(),
            resumed_at: None,
        });
        let shown = table(&web, 240_000)
            .render(&FormatArgs::default(), Style::default())
            .unwrap();
        let lines: Vec<String> = shown
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|s| !s.is_empty()))
            .map(|cells| cells.collect::<Vec<_>>().join(" | "))
            .collect();
        assert_eq!(
            lines,
            [
                "REVISION | CREATED | CAUSE | IMAGE | OUTCOME",
                "1 | 3 minutes ago | created | web:1 | completed",
                "2 | 2 minutes ago | updated | web:2 | failed",
                "3 * | About a minute ago | rolled back to 1 | web:1 | rollback_started",
            ]
        );
        web.revision.outcome = Some(RevisionOutcome::Completed);
        let json = FormatArgs {
            format: Some("json".to_owned()),
            quiet: false,
        };
        let shown = table(&web, 240_000)
            .render(&json, Style::default())
            .unwrap();
        let last = shown.lines().last().unwrap();
        assert!(last.contains("\"Outcome\":\"completed\""), "{last}");
        assert!(last.contains("\"Revision\":\"3\""), "{last}");
    }
}
