//! The look of progress where several services are waited for: a line each.

use super::overall;
use crate::progress::assess::Report;
use crate::progress::board::Line;
use crate::progress::judge::{Judge, Phase};
use crate::style::Tone;
use skep_types::{TaskState, UpdateState};

/// A service on its line.
struct Row<'a> {
    name: &'a str,
    tasks: String,
    state: &'static str,
    why: String,
    rank: Rank,
    tone: Option<Tone>,
}

/// What is shown first where not all can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Failed,
    Complaining,
    Coming,
    Done,
}

/// All lines of the moment: what failed first, the others by name. Where not all find room,
/// those that are furthest are left out.
pub fn lines(reports: &[Report], judge: &Judge, (columns, rows): (usize, usize)) -> Vec<Line> {
    let mut services: Vec<Row<'_>> = reports.iter().map(|report| row(report, judge)).collect();
    // The sum has a line above them, the cursor one below.
    let room = rows.saturating_sub(2);
    let whole = services.len() <= room;
    services.sort_by_key(|row| {
        let rank = match whole {
            // They keep their places for as long as they can.
            true if row.rank != Rank::Failed => Rank::Done,
            _ => row.rank,
        };
        (rank, row.name)
    });
    let total = services.len();
    let done = services.iter().filter(|row| row.rank == Rank::Done).count();
    if !whole {
        services.truncate(room.saturating_sub(1));
    }
    let widest = |text: fn(&Row<'_>) -> usize| services.iter().map(text).max().unwrap_or(0);
    let name = widest(|row| row.name.chars().count());
    let tasks = widest(|row| row.tasks.len());
    let state = widest(|row| row.state.len());
    let sum = overall(reports, judge);
    let mut out: Vec<Line> = vec![format!("{sum}, {done} out of {total} services done").into()];
    out.extend(services.iter().map(|row| {
        let head = format!("{:<name$}  {:>tasks$}  ", row.name, row.tasks);
        let line = format!("{head}{:<state$}  {}", row.state, row.why);
        let line = Line::from(line.trim_end().to_owned());
        let start = head.chars().count();
        match row.tone {
            Some(tone) => line.toned(start..start + row.state.len(), tone),
            None => line,
        }
    }));
    if !whole && room > 0 {
        out.push(format!("... {} more", total - services.len()).into());
    }
    out.into_iter().map(|line| line.cut(columns)).collect()
}

fn row<'a>(report: &'a Report, judge: &Judge) -> Row<'a> {
    let phase = judge.phase(report.id);
    let waits = Some(&report.waits_for).filter(|waits| !waits.is_empty());
    let complaint = waits.cloned().or_else(|| report.complaint());
    let rank = match phase {
        Phase::Failed | Phase::RolledBack => Rank::Failed,
        Phase::Relapsed | Phase::RollingBack => Rank::Complaining,
        Phase::Coming if waits.is_none() && complaint.is_some() => Rank::Complaining,
        Phase::Coming | Phase::Verifying(_) => Rank::Coming,
        Phase::Done => Rank::Done,
    };
    let tone = match rank {
        Rank::Failed => Some(Tone::Bad),
        Rank::Complaining => Some(Tone::Busy),
        Rank::Coming => None,
        Rank::Done => Some(Tone::Good),
    };
    let judged = judge.why(report.id).map(str::to_owned);
    let why = match phase {
        // What a task says is shorter than the sentence that is told in the end.
        Phase::Failed => complaint.or(judged),
        Phase::RollingBack | Phase::RolledBack => judged,
        Phase::Relapsed | Phase::Coming => complaint,
        Phase::Done | Phase::Verifying(_) => None,
    };
    let why = why.unwrap_or_default();
    Row {
        name: &report.name,
        tasks: format!("{}/{}", report.done, report.total),
        state: state(report, phase),
        why: why.split_whitespace().collect::<Vec<_>>().join(" "),
        rank,
        tone,
    }
}

fn state(report: &Report, phase: Phase) -> &'static str {
    match phase {
        Phase::Failed => "failed",
        Phase::RolledBack => "rolled back",
        Phase::RollingBack => "rolling back",
        Phase::Relapsed => "unstable",
        Phase::Verifying(_) => "verifying",
        Phase::Done if report.scheduled => "scheduled",
        Phase::Done if report.run.is_some() => "complete",
        Phase::Done => "converged",
        Phase::Coming if !report.waits_for.is_empty() => "waiting",
        Phase::Coming if report.run.is_some() => "running",
        Phase::Coming if report.rebalanced.is_some() => "rebalancing",
        Phase::Coming => coming(report),
    }
}

/// Where a service is whose tasks are coming: where the last of them is. One that has
/// ended is followed by another, or the service would have failed.
fn coming(report: &Report) -> &'static str {
    let updating = matches!(report.update, Some((UpdateState::Updating, _)));
    if updating || report.outdated > 0 {
        return "updating";
    }
    let states = report.bars.iter().map(|bar| bar.state);
    match states.min().unwrap_or(TaskState::New) {
        state if state.is_terminal() => "restarting",
        state => state.name(),
    }
}
