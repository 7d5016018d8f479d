//! When waiting is over. Keeps what a single view cannot show: since when a
//! service is up, and which failures are new. Where a run of a job is, is `job`'s.

use super::assess::Report;
use super::gate::Gate;
use super::job::{self, Standing};
use skep_types::{JobRun, ServiceId, TaskId, TaskState, UpdateState};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Failed attempts of one position after which another one is not waited for.
const MOST_ATTEMPTS: usize = 3;
/// Time a task may be kept from running by the same trouble (no node, no image),
/// or a global service be without a task.
const MOST_STUCK: Duration = Duration::from_secs(30);
/// Time a task may run without taking traffic: programs warm up for long. As long as an
/// update may get no further, where nothing else is said.
const MOST_UNREADY: Duration = Duration::from_secs(10 * 60);

/// Services that are named where those that are not done are told.
const MOST_NAMED: usize = 5;

/// Age, in milliseconds, from which tasks need no watching to count as stable:
/// far above what clocks of nodes may differ by.
const LONG_UP_MS: u64 = 60_000;

/// Whether to go on waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    GoOn,
    /// Every service is up and has stayed so.
    Converged,
    /// Some went back to what they were, the others are up: why.
    RolledBack(String),
    /// It will not get better by itself: why.
    Failed(String),
}

/// Where waiting for one service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Tasks are coming.
    Coming,
    /// Up; being watched for this long in all.
    Verifying(Duration),
    /// It was up and no longer is.
    Relapsed,
    /// Going back to the previous spec.
    RollingBack,
    /// Up and stable.
    Done,
    /// Back at the previous spec, which was not asked for.
    RolledBack,
    /// It will not come up.
    Failed,
}

#[derive(Debug)]
struct Course {
    phase: Phase,
    up_since: Option<Instant>,
    /// Since when which task is stuck, or the service as a whole.
    stuck_since: Option<(String, Instant)>,
    /// Failures that do not count: from before, or of a time when what the
    /// service may need was not there yet.
    forgiven: BTreeSet<TaskId>,
    seen: BTreeSet<TaskId>,
    attempts: BTreeMap<String, BTreeSet<TaskId>>,
    /// Going back is no failure of it.
    rollback: bool,
    /// Why it is going back, or went, said only while it does.
    rolled_back: Option<String>,
    why: String,
    last: String,
}

/// Judges one view after the other.
#[derive(Debug)]
pub struct Judge {
    /// In the order in which the services were named.
    courses: Vec<(ServiceId, Course)>,
    first: bool,
}

impl Judge {
    /// For these services; `rollback` says of which that they went back is no failure.
    pub fn new(services: &[ServiceId], rollback: impl Fn(ServiceId) -> bool) -> Self {
        let course = |id: &ServiceId| {
            let course = Course {
                phase: Phase::Coming,
                up_since: None,
                stuck_since: None,
                forgiven: BTreeSet::new(),
                seen: BTreeSet::new(),
                attempts: BTreeMap::new(),
                rollback: rollback(*id),
                rolled_back: None,
                why: String::new(),
                last: String::new(),
            };
            (*id, course)
        };
        Judge {
            courses: services.iter().map(course).collect(),
            first: true,
        }
    }

    /// Where waiting for a service is.
    pub fn phase(&self, service: ServiceId) -> Phase {
        self.course(service)
            .map_or(Phase::Coming, |course| course.phase)
    }

    fn course(&self, service: ServiceId) -> Option<&Course> {
        let mut known = self.courses.iter();
        known
            .find(|(id, _)| *id == service)
            .map(|(_, course)| course)
    }

    fn all(&self) -> impl Iterator<Item = &Course> {
        self.courses.iter().map(|(_, course)| course)
    }

    /// Takes one view in.
    pub fn look(&mut self, reports: &[Report], now: Instant, now_ms: u64) -> Verdict {
        let mut came_up = false;
        let others = reports.iter().map(|other| (other, self.phase(other.id)));
        let gates = reports
            .iter()
            .map(|report| Gate::of(report, others.clone()));
        let gates: Vec<Gate> = gates.collect();
        for (report, gate) in reports.iter().zip(gates) {
            let mut known = self.courses.iter_mut();
            let Some((_, course)) = known.find(|(id, _)| *id == report.id) else {
                continue;
            };
            if self.first {
                course.forgiven = report.failed.iter().map(|attempt| attempt.id).collect();
            }
            let before = course.phase;
            course.look(report, gate, now, now_ms);
            came_up |= before != Phase::Done && course.phase == Phase::Done;
        }
        self.first = false;
        if self.all().all(|course| course.phase == Phase::Done) {
            return Verdict::Converged;
        }
        let settled = |course: &Course| {
            let phase = course.phase;
            matches!(phase, Phase::Done | Phase::RolledBack | Phase::Failed)
        };
        if came_up {
            // What failed for want of this one gets new attempts.
            for (_, course) in &mut self.courses {
                course.forgive();
            }
            return Verdict::GoOn;
        }
        if !self.all().all(settled) {
            return Verdict::GoOn;
        }
        let reasons: Vec<&str> = self
            .all()
            .filter(|course| course.phase != Phase::Done)
            .map(|course| course.why.as_str())
            .collect();
        let reasons = reasons.join("; ");
        match self.all().any(|course| course.phase == Phase::Failed) {
            true => Verdict::Failed(reasons),
            false => Verdict::RolledBack(reasons),
        }
    }

    /// Why a service failed, or is going or went back; in a sentence of its own where it
    /// failed.
    pub fn why(&self, service: ServiceId) -> Option<&str> {
        let course = self.course(service)?;
        match course.phase {
            Phase::Failed => Some(&course.why),
            Phase::RollingBack | Phase::RolledBack => course.rolled_back.as_deref(),
            _ => None,
        }
    }

    /// How far those are that are not done: the first few of them. Empty where nothing is
    /// known yet.
    pub fn unfinished(&self) -> Vec<String> {
        let open = |course: &Course| match course.phase {
            Phase::Done => None,
            Phase::Failed | Phase::RolledBack => Some(course.why.clone()),
            Phase::Verifying(_) => Some(format!("{}, and is being watched", course.last)),
            _ => Some(course.last.clone()).filter(|last| !last.is_empty()),
        };
        let mut open: Vec<String> = self.all().filter_map(open).collect();
        let more = open.len().saturating_sub(MOST_NAMED);
        if more > 0 {
            open.truncate(MOST_NAMED);
            open.push(format!("and {more} more"));
        }
        open
    }
}

impl Course {
    fn look(&mut self, report: &Report, gate: Gate, now: Instant, now_ms: u64) {
        if self.phase == Phase::Done {
            return;
        }
        if report.exists && report.scheduled {
            self.phase = Phase::Done;
            return;
        }
        let paused = matches!(
            report.update,
            Some((UpdateState::Paused | UpdateState::RollbackPaused, _))
        );
        if report.exists && gate != Gate::Open && !paused {
            return self.look_at_gate(report, gate, now);
        }
        if let Some(run) = report.run.filter(|_| report.exists) {
            return self.look_at_run(report, &run, now);
        }
        self.count(report);
        self.last = standing(report);
        let up = report.is_up();
        if !up {
            self.up_since = None;
        }
        let name = &report.name;
        self.phase = match &report.update {
            _ if !report.exists => {
                self.why = format!("service {name} was removed");
                Phase::Failed
            }
            Some((UpdateState::Paused, message)) => {
                self.why = format!("service update paused: {message}{}", reason(report));
                Phase::Failed
            }
            Some((UpdateState::RollbackPaused, message)) => {
                self.why = format!("service rollback paused: {message}{}", reason(report));
                Phase::Failed
            }
            Some((UpdateState::RollbackCompleted, message)) if !self.rollback => {
                let why = self.rolled_back.get_or_insert_with(|| message.clone());
                self.why = format!("service {name} was rolled back: {why}");
                Phase::RolledBack
            }
            Some((UpdateState::Completed | UpdateState::RollbackCompleted, _)) if up => Phase::Done,
            Some((UpdateState::Updating, _)) if up => Phase::Verifying(report.monitor),
            Some((UpdateState::RollbackStarted, message)) => {
                self.rolled_back = Some(message.clone());
                Phase::RollingBack
            }
            _ if up => {
                let since = *self.up_since.get_or_insert(now);
                let long_up = now_ms.saturating_sub(report.running_since) >= LONG_UP_MS;
                match long_up || now.saturating_duration_since(since) >= report.monitor {
                    true => Phase::Done,
                    false => Phase::Verifying(report.monitor),
                }
            }
            _ => match (self.hopeless(report, now), self.phase) {
                (Some(why), _) => {
                    self.why = why;
                    Phase::Failed
                }
                (None, Phase::Verifying(_) | Phase::Relapsed) => Phase::Relapsed,
                (None, _) => Phase::Coming,
            },
        };
    }

    /// What waits for others comes once they are there. One that others wait for here is
    /// judged by itself, however long it takes.
    fn look_at_gate(&mut self, report: &Report, gate: Gate, now: Instant) {
        self.last = format!("service {} {}", report.name, report.waits_for);
        let hopeless = match gate {
            Gate::Open | Gate::Held => {
                self.stuck_since = None;
                false
            }
            Gate::Shut => true,
            Gate::Foreign => self.is_stuck(report.waits_for.clone(), MOST_UNREADY, now),
        };
        self.phase = match hopeless {
            true => {
                self.why.clone_from(&self.last);
                Phase::Failed
            }
            false => Phase::Coming,
        };
    }

    /// A job has no attempts that are too many: its restart policy says when it has
    /// failed.
    fn look_at_run(&mut self, report: &Report, run: &JobRun, now: Instant) {
        let (name, done, total) = (&report.name, report.done, report.total);
        self.last = format!("job {name} has {done} out of {total} tasks completed");
        self.phase = match job::standing(report, run) {
            Standing::Running => {
                self.stuck_since = None;
                Phase::Coming
            }
            Standing::Waiting => match self.hopeless(report, now) {
                Some(why) => {
                    self.why = why;
                    Phase::Failed
                }
                None => Phase::Coming,
            },
            Standing::Succeeded => Phase::Done,
            Standing::Failed(why) => {
                self.why = format!("{why}{}", reason(report));
                Phase::Failed
            }
        };
    }

    fn count(&mut self, report: &Report) {
        for attempt in &report.failed {
            self.seen.insert(attempt.id);
            if !self.forgiven.contains(&attempt.id) {
                let ids = self.attempts.entry(attempt.task.clone()).or_default();
                ids.insert(attempt.id);
            }
        }
    }

    fn forgive(&mut self) {
        self.forgiven.extend(self.seen.iter().copied());
        self.attempts.clear();
        self.stuck_since = None;
    }

    /// Whether this has been what keeps the service for that long.
    fn is_stuck(&mut self, which: String, most: Duration, now: Instant) -> bool {
        let since = match &self.stuck_since {
            Some((known, since)) if *known == which => *since,
            _ => now,
        };
        self.stuck_since = Some((which, since));
        now.saturating_duration_since(since) >= most
    }

    /// Why the service will not come up by itself.
    fn hopeless(&mut self, report: &Report, now: Instant) -> Option<String> {
        let name = &report.name;
        if report.bars.iter().any(|bar| bar.dead) {
            let why = reason(report);
            return Some(format!(
                "service {name} has failed and is not restarted{why}"
            ));
        }
        let most = self.attempts.values().map(BTreeSet::len).max();
        if most.is_some_and(|attempts| attempts >= MOST_ATTEMPTS) {
            let attempts = most.unwrap_or_default();
            let why = reason(report);
            return Some(format!(
                "service {name} does not come up after {attempts} attempts{why}"
            ));
        }
        // A node that cannot get an image, say, goes on trying for ever.
        let mut waiting = report.bars.iter().filter(|bar| bar.waits());
        let coming = waiting.clone().find(|bar| bar.state < TaskState::Running);
        let (stuck, most) = match coming {
            Some(bar) => (Some(bar), MOST_STUCK),
            None => (waiting.next(), MOST_UNREADY),
        };
        let homeless = report.global && report.bars.is_empty();
        let most = if homeless { MOST_STUCK } else { most };
        if stuck.is_none() && !homeless {
            self.stuck_since = None;
            return None;
        }
        let which = stuck.map_or(String::new(), |bar| format!("{} {}", bar.task, bar.state));
        if !self.is_stuck(which, most, now) {
            return None;
        }
        Some(match stuck {
            Some(bar) if bar.state <= TaskState::Pending => {
                format!("{} cannot be placed: {}", bar.task, bar.error)
            }
            Some(bar) => format!(
                "{} gets no further than {}: {}",
                bar.task, bar.state, bar.error
            ),
            None => format!("service {name} has no task: no node is eligible"),
        })
    }
}

/// `service web: 1 out of 3 tasks run`, and what is known of the rest.
fn standing(report: &Report) -> String {
    let Report {
        name, done, total, ..
    } = report;
    format!(
        "service {name} has {done} out of {total} tasks running{}",
        reason(report)
    )
}

/// What the service's tasks complain of, to be added to a sentence.
fn reason(report: &Report) -> String {
    match report.complaint() {
        Some(complaint) => format!(": {complaint}"),
        None => String::new(),
    }
}
