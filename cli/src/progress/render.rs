//! The look of progress, as lines of text: pure. Of several services it is `stack`'s.

mod stack;

use super::assess::{Bar, Report};
use super::board::Line;
use super::judge::{Judge, Phase};
use crate::human::ellipsis;
use crate::style::Tone;
use skep_types::TaskState;

/// Bars are shown up to this many; beyond, the sum alone.
const MOST_BARS: usize = 20;
/// Cells of a full bar.
const BAR_WIDTH: usize = 50;
/// Characters of an error that stands in for a bar.
const ERROR_WIDTH: usize = 75;
/// States on the way to running.
const STEPS: [TaskState; 8] = [
    TaskState::New,
    TaskState::Pending,
    TaskState::Assigned,
    TaskState::Accepted,
    TaskState::Preparing,
    TaskState::Ready,
    TaskState::Starting,
    TaskState::Running,
];

/// All lines of the moment, for a terminal of so many columns and rows.
pub fn lines(reports: &[Report], judge: &Judge, size: (usize, usize)) -> Vec<Line> {
    let [report] = reports else {
        return stack::lines(reports, judge, size);
    };
    let (columns, rows) = size;
    let mut out = vec![Line::from(overall(reports, judge))];
    if let Some(line) = waiting(report) {
        out.push(line.into());
    }
    // The sum, the verdict and the cursor take a line each.
    if report.total <= MOST_BARS && report.bars.len() + out.len() + 2 <= rows {
        let labels = report.bars.iter().map(|bar| bar.label.chars().count());
        let widest = labels.max().unwrap_or(0);
        let bars = report.bars.iter();
        out.extend(bars.map(|bar| bar_line(widest, bar, columns)));
    }
    out.extend(verify(report, judge.phase(report.id), true).map(Line::from));
    out.into_iter().map(|line| line.cut(columns)).collect()
}

/// `web waits for db to be healthy`, where it does.
pub fn waiting(report: &Report) -> Option<String> {
    let Report {
        name, waits_for, ..
    } = report;
    (!waits_for.is_empty()).then(|| format!("{name} {waits_for}"))
}

/// `overall progress: 3 out of 5 tasks`.
pub fn overall(reports: &[Report], judge: &Judge) -> String {
    let done: usize = reports.iter().map(|report| report.done).sum();
    let total: usize = reports.iter().map(|report| report.total).sum();
    let back = reports
        .iter()
        .any(|report| judge.phase(report.id) == Phase::RollingBack);
    if reports.iter().all(|report| report.run.is_some()) {
        return format!("job progress: {done} out of {total} complete");
    }
    let moved: Vec<usize> = reports
        .iter()
        .filter_map(|report| report.rebalanced)
        .collect();
    if !moved.is_empty() {
        let moved: usize = moved.iter().sum();
        return format!("rebalancing: {moved} moved, {done} out of {total} tasks run");
    }
    match (back, total) {
        (true, _) => format!("rolling back update: {done} out of {total} tasks"),
        (false, 0) if reports.iter().any(|report| report.global) => {
            "overall progress: waiting for new tasks".to_owned()
        }
        (false, _) => format!("overall progress: {done} out of {total} tasks"),
    }
}

fn bar_line(widest: usize, bar: &Bar, width: usize) -> Line {
    let head = format!("{:<widest$}: ", bar.label);
    if !bar.error.is_empty() {
        let error = bar.error.split_whitespace().collect::<Vec<_>>().join(" ");
        let start = head.chars().count();
        let line = Line::from(format!("{head}{}", ellipsis(&error, ERROR_WIDTH)));
        return line.toned(start..start + ERROR_WIDTH, Tone::Bad);
    }
    let state = format!("{:<9}", bar.state.name());
    let room = width.saturating_sub(head.chars().count() + state.len() + 4);
    let cells = BAR_WIDTH.min(room);
    let Some(step) = STEPS.iter().position(|step| *step == bar.state) else {
        return format!("{head}{state}").trim_end().to_owned().into();
    };
    if cells < 10 {
        return format!("{head}{state}").trim_end().to_owned().into();
    }
    let full = (step + 1) * cells / STEPS.len();
    let empty = cells - full;
    let bar = "=".repeat(full.saturating_sub(1));
    format!("{head}{state} [{bar}>{}]", " ".repeat(empty)).into()
}

/// What follows once the tasks run.
pub fn verify(report: &Report, phase: Phase, single: bool) -> Option<String> {
    let whose = match single {
        true => String::new(),
        false => format!("{}: ", report.name),
    };
    Some(match phase {
        Phase::Verifying(time) => format!(
            "verify: {whose}Waiting {} seconds to verify that tasks are stable...",
            time.as_secs_f32().ceil()
        ),
        Phase::Relapsed => format!("verify: {whose}Detected task failure"),
        Phase::Done if report.scheduled => format!("{whose}it runs when it is due"),
        Phase::Done if report.run.is_some() => format!("{whose}job complete"),
        Phase::Done => format!("verify: Service {} converged", report.name),
        Phase::Coming | Phase::RollingBack | Phase::RolledBack | Phase::Failed => return None,
    })
}
