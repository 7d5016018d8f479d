//! Where progress appears: drawn over and over on a terminal, as lines that say
//! each change once elsewhere.

use super::assess::Report;
use super::board::Board;
use super::judge::Judge;
use super::render;
use crate::output::{raw, terminal_size};
use anyhow::Result;
use std::collections::BTreeSet;
use std::io::Write as _;

/// A place for progress.
#[derive(Debug)]
pub struct Screen(Kind);

#[derive(Debug)]
enum Kind {
    None,
    Live(Board),
    Plain { to_stderr: bool, lines: Plain },
}

impl Screen {
    /// Nowhere.
    pub fn none() -> Self {
        Screen(Kind::None)
    }

    /// The terminal.
    pub fn live() -> Self {
        Screen(Kind::Live(Board::default()))
    }

    /// Plain lines on standard output or standard error.
    pub fn plain(to_stderr: bool) -> Self {
        Screen(Kind::Plain {
            to_stderr,
            lines: Plain::default(),
        })
    }

    /// Shows the moment.
    pub fn show(&mut self, reports: &[Report], judge: &Judge) -> Result<()> {
        match &mut self.0 {
            Kind::None => Ok(()),
            Kind::Live(board) => board.show(render::lines(reports, judge, terminal_size())),
            Kind::Plain { to_stderr, lines } => {
                let mut text = lines.next(reports, judge).join("\n");
                if text.is_empty() {
                    return Ok(());
                }
                text.push('\n');
                if *to_stderr {
                    // Where that fails there is nobody to tell.
                    let _ = std::io::stderr().lock().write_all(text.as_bytes());
                    return Ok(());
                }
                Ok(raw(text.as_bytes())?)
            }
        }
    }

    /// Leaves what is shown as it is.
    pub fn end(&mut self) -> Result<()> {
        self.0 = Kind::None;
        Ok(())
    }
}

/// Says each change once.
#[derive(Debug, Default)]
pub(super) struct Plain {
    said: BTreeSet<String>,
    overall: String,
    standing: Vec<(usize, usize)>,
}

impl Plain {
    pub(super) fn next(&mut self, reports: &[Report], judge: &Judge) -> Vec<String> {
        let single = reports.len() == 1;
        let mut out = Vec::new();
        let overall = render::overall(reports, judge);
        self.standing
            .resize(reports.len(), (usize::MAX, usize::MAX));
        if single {
            if overall != self.overall && reports.iter().all(|report| report.exists) {
                out.push(overall.clone());
            }
        } else {
            for (report, said) in reports.iter().zip(&mut self.standing) {
                if *said != (report.done, report.total) {
                    *said = (report.done, report.total);
                    let Report {
                        name, done, total, ..
                    } = report;
                    out.push(format!("{name}: {done} out of {total} tasks"));
                }
            }
        }
        self.overall = overall;
        for report in reports {
            if let Some(line) = render::waiting(report)
                && self.said.insert(line.clone())
            {
                out.push(line);
            }
            for attempt in &report.failed {
                let key = format!("{}", attempt.id);
                if self.said.insert(key) {
                    let at = match attempt.node.as_str() {
                        "" => String::new(),
                        node => format!(" on {node}"),
                    };
                    let (task, state, error) = (&attempt.task, attempt.state, &attempt.error);
                    out.push(format!("{task} {state}{at}: {error}"));
                }
            }
            for bar in report.bars.iter().filter(|bar| !bar.state.is_terminal()) {
                let line = format!("{} is {}: {}", bar.task, bar.state, bar.error);
                if !bar.error.is_empty() && self.said.insert(line.clone()) {
                    out.push(line);
                }
            }
            if let Some(line) = render::verify(report, judge.phase(report.id), single)
                && self.said.insert(line.clone())
            {
                out.push(line);
            }
        }
        out
    }
}
