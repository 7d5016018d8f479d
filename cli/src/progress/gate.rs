//! Waiting for a service that waits for others itself: whether they may still come. Pure.

use super::assess::Report;
use super::judge::Phase;

/// Where the services are that one waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// It waits for none.
    Open,
    /// One of them is being waited for here, too, and may come.
    Held,
    /// One of them is being waited for here, and has failed.
    Shut,
    /// They are none of those that are waited for here.
    Foreign,
}

impl Gate {
    /// The gate of one service, by what it waits for and where the others were at last.
    pub fn of<'r>(
        report: &Report,
        others: impl Iterator<Item = (&'r Report, Phase)> + Clone,
    ) -> Self {
        if report.waits_for.is_empty() {
            return Gate::Open;
        }
        let on = others.filter(|(other, _)| report.depends_on.contains(&other.name));
        let mut phases = on.map(|(_, phase)| phase);
        match phases.clone().any(|phase| phase == Phase::Failed) {
            true => Gate::Shut,
            false if phases.any(|phase| !matches!(phase, Phase::Done | Phase::RolledBack)) => {
                Gate::Held
            }
            false => Gate::Foreign,
        }
    }
}
