//! What one view of the swarm says of one service: pure. Jobs are `job`'s.

use crate::view::View;
use skep_types::constraint::Constraint;
use skep_types::{
    Cause, JobRun, Placement, Service, ServiceId, ServiceMode, Task, TaskId, TaskState, UpdateState,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Time a service has to be up before it counts as stable, unless it says.
const DEFAULT_MONITOR: Duration = Duration::from_secs(5);

/// A service at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Which.
    pub id: ServiceId,
    /// Its name.
    pub name: String,
    /// It is there.
    pub exists: bool,
    /// It has one task a node.
    pub global: bool,
    /// Positions that are as they should be.
    pub done: usize,
    /// Positions there should be.
    pub total: usize,
    /// One a position.
    pub bars: Vec<Bar>,
    /// Tasks of an older spec that still live.
    pub outdated: usize,
    /// Where its update is, with the words for it.
    pub update: Option<(UpdateState, String)>,
    /// Attempts at the present spec that ended badly.
    pub failed: Vec<Attempt>,
    /// Time it has to be up before it counts as stable.
    pub monitor: Duration,
    /// When the last of its tasks began to run, in milliseconds since the epoch.
    pub running_since: u64,
    /// Its newest run, where it is a job: what is done is completed, then.
    pub run: Option<JobRun>,
    /// It runs by a schedule, and nobody waits for a run.
    pub scheduled: bool,
    /// Its tasks are being spread evenly, and so many were moved.
    pub rebalanced: Option<usize>,
    /// What it waits for before its tasks start or change, in words; empty where nothing is.
    pub waits_for: String,
    /// The services it depends on.
    pub depends_on: Vec<String>,
}

/// A position of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// `1/5`, or the node of a global service.
    pub label: String,
    /// Name of the task, e.g. `web.1`.
    pub task: String,
    /// Furthest its present task got.
    pub state: TaskState,
    /// What keeps it.
    pub error: String,
    /// Nothing more will happen here: the task failed and none follows.
    pub dead: bool,
    /// It waits out a crash loop, and starts by itself.
    pub held: bool,
}

impl Bar {
    /// Something keeps it: from running, or from taking traffic.
    pub fn waits(&self) -> bool {
        self.state <= TaskState::Running && !self.error.is_empty() && !self.held
    }
}

/// A task that ended badly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Which.
    pub id: TaskId,
    /// Its name.
    pub task: String,
    /// Its node's host name, where it had one.
    pub node: String,
    /// `failed` or `rejected`.
    pub state: TaskState,
    /// Why.
    pub error: String,
}

impl Report {
    /// Every position is as it should be, and nothing old is left.
    pub fn is_up(&self) -> bool {
        // A global service without a task is one whose tasks are not there yet.
        let any = self.total > 0 || !self.global;
        let changes = self.outdated > 0 || self.rebalanced.is_some();
        self.exists && any && !changes && self.done == self.total
    }

    /// What its tasks complain of: what ended badly goes before what is kept from running.
    pub fn complaint(&self) -> Option<String> {
        let failed = self.failed.iter();
        if let Some(attempt) = failed.max_by_key(|attempt| !attempt.error.is_empty()) {
            let Attempt {
                task,
                node,
                state,
                error,
                ..
            } = attempt;
            let at = match node.as_str() {
                "" => String::new(),
                node => format!(" on {node}"),
            };
            return Some(format!("{task} {state}{at}: {error}"));
        }
        let waiting = self.bars.iter().rev().find(|bar| !bar.error.is_empty())?;
        let Bar {
            task, state, error, ..
        } = waiting;
        Some(format!("{task} is {state}: {error}"))
    }
}

/// Positions: slots, or nodes for a global service.
type Key = (u32, u128);

/// What the view says of the newest run of a job.
pub fn assess_run(view: &View, id: ServiceId, name: &str) -> Report {
    let mut report = assess(view, id, name);
    let service = view.services.iter().find(|service| service.id == id);
    if let Some(service) = service.filter(|_| report.scheduled) {
        report.scheduled = false;
        super::job::assess(view, service, &mut report);
    }
    report
}

/// What the view says of the service.
pub fn assess(view: &View, id: ServiceId, name: &str) -> Report {
    let mut report = Report {
        id,
        name: name.to_owned(),
        exists: false,
        global: false,
        done: 0,
        total: 0,
        bars: Vec::new(),
        outdated: 0,
        update: None,
        failed: Vec::new(),
        monitor: DEFAULT_MONITOR,
        running_since: 0,
        run: None,
        scheduled: false,
        rebalanced: None,
        waits_for: String::new(),
        depends_on: Vec::new(),
    };
    let Some(service) = view.services.iter().find(|service| service.id == id) else {
        return report;
    };
    report.exists = true;
    report.waits_for.clone_from(&service.waits_for);
    let depends_on = service.spec.depends_on.iter();
    report.depends_on = depends_on.map(|on| on.service.clone()).collect();
    if service.spec.mode.is_job() {
        report.scheduled = service.spec.schedule().is_some();
        if !report.scheduled {
            super::job::assess(view, service, &mut report);
        }
        return report;
    }
    report.global = service.spec.mode == ServiceMode::Global;
    report.monitor = service.spec.update.monitor.unwrap_or(DEFAULT_MONITOR);
    report.rebalanced = service.rebalance_since.map(|since| {
        let mine = view.tasks.iter().filter(|task| task.service == id);
        let moved = mine.filter(|task| task.cause == Cause::Rebalanced);
        moved.filter(|task| task.meta.created_at >= since).count()
    });
    let status = service.update_status.as_ref();
    report.update = status.map(|status| (status.state, status.message.clone()));
    let mut positions: BTreeMap<Key, Vec<&Task>> = BTreeMap::new();
    for task in view.tasks.iter().filter(|task| task.service == id) {
        if !is_current(view, service, task) {
            // One on a node that is Down may live on for long, unseen.
            let counts = !task.status.state.is_terminal() && view.is_on_live_node(task);
            report.outdated += usize::from(counts && task.desired != TaskState::Remove);
            continue;
        }
        if matches!(task.status.state, TaskState::Failed | TaskState::Rejected) {
            report.failed.push(attempt(view, task));
        }
        let key = match report.global {
            true => (0, task.node.map_or(0, |node| node.bits())),
            false => (task.slot.0, 0),
        };
        positions.entry(key).or_default().push(task);
    }
    report
        .failed
        .sort_by(|a, b| a.task.cmp(&b.task).then(a.id.cmp(&b.id)));
    let mut slots: Vec<(usize, Bar)> = Vec::new();
    for ((slot, _), tasks) in &positions {
        let Some(task) = present(view, tasks) else {
            continue;
        };
        if report.global && view.is_away(task) {
            continue;
        }
        let state = task.status.state;
        let by_itself = matches!(
            state,
            TaskState::Complete | TaskState::Failed | TaskState::Rejected
        );
        let policy = &service.spec.task.restart;
        let over = by_itself
            && task.desired != TaskState::Remove
            && !policy.follows(state, &task.counted(), task.status.at);
        // What is told to stop, or has, is no position any more.
        if !over && !task.is_live() && task.desired > TaskState::Running {
            continue;
        }
        if view.runs(task) || (over && state == TaskState::Complete) {
            report.done += 1;
            report.running_since = report.running_since.max(task.status.at.0);
        }
        let node = task.node.filter(|_| report.global);
        let bar = Bar {
            label: node.map_or_else(String::new, |node| view.hostname(node)),
            task: short_name(view, task),
            state,
            error: task.status.error.clone(),
            dead: over && state != TaskState::Complete,
            held: task.held_until().is_some(),
        };
        slots.push((*slot as usize, bar));
    }
    match service.spec.mode {
        ServiceMode::Global | ServiceMode::ReplicatedJob { .. } | ServiceMode::GlobalJob => {
            report.total = slots.len();
            report.bars = slots.into_iter().map(|(_, bar)| bar).collect();
            report.bars.sort_by(|a, b| a.label.cmp(&b.label));
        }
        ServiceMode::Replicated { replicas } => {
            report.total = replicas as usize;
            report.done = report.done.min(report.total);
            report.bars = numbered(slots, report.total, name);
        }
    }
    report
}

/// One bar a slot, in order; slots beyond the number take the places left.
fn numbered(slots: Vec<(usize, Bar)>, total: usize, name: &str) -> Vec<Bar> {
    let mut places: Vec<Option<Bar>> = vec![None; total];
    let mut rest = Vec::new();
    for (slot, bar) in slots {
        match slot.checked_sub(1).and_then(|at| places.get_mut(at)) {
            Some(place) if place.is_none() => *place = Some(bar),
            _ => rest.push(bar),
        }
    }
    let mut rest = rest.into_iter();
    let coming = |at: usize| Bar {
        label: String::new(),
        task: format!("{name}.{}", at + 1),
        state: TaskState::New,
        error: String::new(),
        dead: false,
        held: false,
    };
    let bars = places.into_iter().enumerate().map(|(at, place)| {
        let mut bar = place.or_else(|| rest.next()).unwrap_or_else(|| coming(at));
        bar.label = format!("{}/{total}", at + 1);
        bar
    });
    bars.collect()
}

/// The task runs what the service says now, on a node where it still may be.
fn is_current(view: &View, service: &Service, task: &Task) -> bool {
    let present = &service.spec.task;
    task.spec_version == service.spec_version
        || task.spec.runs_like(present)
            && (task.spec.placement.constraints == present.placement.constraints
                || is_allowed(view, &present.placement, task))
}

fn is_allowed(view: &View, placement: &Placement, task: &Task) -> bool {
    let Some(at) = task.node.and_then(|node| view.nodes.get(&node)) else {
        return true;
    };
    let mut read = placement
        .constraints
        .iter()
        .flat_map(|t| Constraint::parse(t));
    read.all(|constraint| constraint.holds(&at.node))
}

/// The task that stands for a position: a live one, or the newest. What is on a node that
/// is Down is wanted there until another takes its place, and does not stand for it.
fn present<'a>(view: &View, tasks: &[&'a Task]) -> Option<&'a Task> {
    tasks.iter().copied().max_by_key(|task| {
        (
            task.is_live() && !view.is_away(task),
            task.status.state == TaskState::Running,
            task.meta.created_at,
        )
    })
}

/// How a task ended that ended badly.
pub fn attempt(view: &View, task: &Task) -> Attempt {
    let status = &task.status;
    let error = match (&status.error, status.exit_code, status.oom_killed) {
        (error, ..) if !error.is_empty() => error.clone(),
        (_, _, true) => "killed for want of memory".to_owned(),
        (_, Some(code), _) => format!("exit code {code}"),
        _ => status.message.clone(),
    };
    Attempt {
        id: task.id,
        task: short_name(view, task),
        node: task
            .node
            .map(|node| view.hostname(node))
            .unwrap_or_default(),
        state: status.state,
        error,
    }
}

/// `service.slot`, or `service.host` for a global service.
pub fn short_name(view: &View, task: &Task) -> String {
    match (task.slot.0, task.node) {
        (0, Some(node)) => format!("{}.{}", task.service_name, view.hostname(node)),
        (slot, _) => format!("{}.{slot}", task.service_name),
    }
}
