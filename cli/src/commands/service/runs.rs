//! `skep service runs`.

use crate::client::Host;
use crate::find;
use crate::human::{ago, capital, duration, timestamp};
use crate::output::{note, now_ms};
use crate::table::{FormatArgs, Table};
use crate::view::View;
use anyhow::{Result, bail};
use skep_proto::{id_bytes, pb};
use skep_types::Service;
use std::time::Duration;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  skep service runs backup --format '{{.Run}} {{.Outcome}} {{.ExitCode}}'"
)]
pub struct Args {
    #[command(flatten)]
    form: FormatArgs,
    /// Name or id of a job
    service: String,
}

/// Lists the runs that are open and the newest that have ended, newest first.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let view = super::read(&client).await?;
    let service = find::service(&view.services, &args.service)?;
    if !service.spec.mode.is_job() {
        bail!("service {} is no job: it has no runs", service.spec.name);
    }
    let request = pb::ReadRequest {
        services: true,
        tasks: true,
        nodes: true,
        task_services: vec![id_bytes(service.id)],
        dues: true,
        ..Default::default()
    };
    let id = service.id.to_string();
    let view = client.read(request).await?;
    let service = find::service(&view.services, &id)?;
    table(&view, service, now_ms()).print(&args.form)?;
    let plain = args.form.format.is_none() && !args.form.quiet;
    if let Some(at) = view.dues.get(&service.id).filter(|_| plain) {
        let left = Duration::from_millis(at.0.saturating_sub(now_ms()));
        let left = duration(left).to_lowercase();
        // What reads the table is not in its way.
        note!("Next run in {left}, at {}", timestamp(at.0));
    }
    Ok(())
}

fn table(view: &View, service: &Service, now: u64) -> Table {
    let mut table = Table::new(
        &[
            ("RUN", "Run"),
            ("CAUSE", "Cause"),
            ("STARTED", "Started"),
            ("DURATION", "Duration"),
            ("OUTCOME", "Outcome"),
            ("COMPLETED", "Completed"),
            ("FAILED", "Failed"),
            ("EXIT CODE", "ExitCode"),
        ],
        "Run",
    );
    for run in service.job.runs.iter().rev() {
        let until = run.end.map_or(now, |end| end.at.0);
        let took = Duration::from_millis(until.saturating_sub(run.started_at.0));
        let exit_code = run.end.and_then(|end| end.exit_code);
        let (completed, total) = view.completed(service, run);
        let completed = match run.end {
            // What there was to do then may have been another number.
            Some(end) => end.succeeded.to_string(),
            None => format!("{completed}/{total}"),
        };
        table.row([
            ("Run", run.number.to_string()),
            ("Cause", run.cause.to_string()),
            ("Started", ago(run.started_at.0, now)),
            ("Duration", duration(took)),
            (
                "Outcome",
                run.end
                    .map_or_else(|| "Running".to_owned(), |end| capital(end.outcome.name())),
            ),
            ("Completed", completed),
            ("Failed", run.end.map_or(0, |end| end.failed).to_string()),
            (
                "ExitCode",
                exit_code.map_or_else(String::new, |code| code.to_string()),
            ),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::Style;
    use crate::testing;
    use skep_types::{
        JobRun, Outcome, RunCause, RunEnd, ServiceMode, TaskState, Timestamp, Version,
    };

    #[test]
    fn runs_are_listed_newest_first() -> Result<()> {
        let mut job = testing::service(7, "job", 0);
        job.spec.mode = ServiceMode::ReplicatedJob {
            completions: 3,
            concurrent: 2,
        };
        let first = JobRun {
            number: 1,
            cause: RunCause::Created,
            spec_version: Version(1),
            due_at: None,
            started_at: Timestamp(1_000),
            end: Some(RunEnd {
                outcome: Outcome::DeadlineExceeded,
                at: Timestamp(91_000),
                succeeded: 2,
                failed: 0,
                exit_code: Some(3),
            }),
        };
        let second = JobRun {
            number: 2,
            cause: RunCause::Updated,
            started_at: Timestamp(100_000),
            end: None,
            ..first
        };
        job.job.runs = vec![first, second];
        let mut view = testing::swarm(vec![job]);
        view.add(0, 1, 1, TaskState::Complete).run = 1;
        view.add(0, 1, 1, TaskState::Complete).run = 2;
        view.add(0, 2, 1, TaskState::Running).run = 2;
        let shown = table(&view, &view.services[0], 105_500)
            .render(&FormatArgs::default(), Style::default())?;
        expect_test::expect![[r#"
            RUN       CAUSE     STARTED              DURATION         OUTCOME             COMPLETED   FAILED    EXIT CODE
            2         updated   5 seconds ago        5 seconds        Running             1/3         0         
            1         created   About a minute ago   About a minute   Deadline exceeded   2           0         3
        "#]].assert_eq(&shown);
        Ok(())
    }
}
