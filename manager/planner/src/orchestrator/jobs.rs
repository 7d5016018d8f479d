//! Runs of jobs: which of their tasks should exist, and how a run ends.
//!
//! A run's places are slots, or nodes for a global job. A place is done once a task of it
//! is Complete, and failed once one has ended by itself and the restart policy has none
//! follow it; what was told to stop or was lost with its node is always replaced and
//! counts for nothing. All of that is read from the tasks. Runs that somebody asks for
//! are opened by the store, which also keeps their records; those of a schedule here.

use super::template::is_whole;
use super::{allowed_nodes, gate, is_stopping, restart};
use crate::draft::{Draft, Origin, Position, ServiceWork, Template, Work};
use crate::ids::IdSource;
use skep_manager_store::runs::completed;
use skep_manager_store::schedule::next_after;
use skep_manager_store::{Action, ServiceAction};
use skep_types::{
    Cause, Concurrency, JobRun, JobStatus, NodeId, Outcome, RunCause, RunEnd, Service, ServiceMode,
    Slot, TaskState, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Runs that were due and missed, of which the last is looked for: a day of minutes.
const MISSED_MAX: usize = 24 * 60;

/// Goes on with the runs of a job that are open, ends those that are over, and removes
/// a job that is to be kept no longer.
pub(super) fn advance<'a>(
    draft: &mut Draft<'a>,
    work: &mut ServiceWork<'a>,
    service: &'a Arc<Service>,
    ids: &mut IdSource,
) {
    let mut job = service.job.clone();
    stop_ended(work, service);
    for run in &service.job.runs {
        if !service.is_current(run) {
            continue;
        }
        let places = Places::of(draft, work, service, run);
        let end = match run.end {
            // It was closed; a node that came later does what the others have done.
            Some(_) => None,
            None => places.end(draft, work, service, run),
        };
        match end {
            Some(end) => close(&mut job, run, end),
            None => places.fill(draft, work, service, run, ids),
        }
    }
    tick(draft, service, &mut job);
    if job != service.job {
        draft
            .plan
            .actions
            .push(Action::Service(ServiceAction::SetJobStatus {
                id: service.id,
                version: service.meta.version,
                status: job,
            }));
        return;
    }
    expire(draft, work, service);
}

fn close(job: &mut JobStatus, closed: &JobRun, end: RunEnd) {
    let run = job.runs.iter_mut().find(|run| run.number == closed.number);
    if let Some(run) = run {
        run.end = Some(end);
    }
}

/// What belongs to a run that has ended, or is forgotten, stops.
fn stop_ended(work: &mut ServiceWork<'_>, service: &Service) {
    let current: BTreeSet<u64> = service
        .job
        .runs
        .iter()
        .filter(|run| service.is_current(run))
        .map(|run| run.number)
        .collect();
    for task in work.tasks.iter_mut().filter(|task| task.is_wanted()) {
        if !current.contains(&task.run) {
            task.stop(TaskState::Shutdown, Cause::RunEnded);
        }
    }
}

/// Opens a run that is due. However many were, while nobody could, become one.
fn tick(draft: &mut Draft<'_>, service: &Service, job: &mut JobStatus) {
    let Some(schedule) = service.spec.schedule().filter(|schedule| !schedule.suspend) else {
        return;
    };
    let earliest = schedule.starting_deadline.map(|late| {
        let late = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
        Timestamp(draft.now.0.saturating_sub(late))
    });
    let from = earliest.map_or(job.due_until, |earliest| earliest.max(job.due_until));
    let Some(mut due) = next_after(schedule, from) else {
        return;
    };
    if due > draft.now {
        return draft.plan.wake(due);
    }
    // The last day is enough to find the last that was missed, if it had any.
    let day_ago = Timestamp(draft.now.0.saturating_sub(24 * 60 * 60 * 1000));
    let lately = next_after(schedule, day_ago.max(due));
    if let Some(lately) = lately.filter(|lately| *lately <= draft.now) {
        due = lately;
    }
    let mut next = next_after(schedule, due);
    for _ in 0..MISSED_MAX {
        match next {
            Some(later) if later <= draft.now => due = later,
            _ => break,
        }
        next = next_after(schedule, due);
    }
    job.due_until = draft.now;
    let open = job.open().count();
    match schedule.concurrency {
        Concurrency::Forbid if open > 0 => job.skipped = job.skipped.saturating_add(1),
        Concurrency::Allow if open >= JobStatus::MOST_OPEN => {
            job.skipped = job.skipped.saturating_add(1)
        }
        concurrency => {
            if concurrency == Concurrency::Replace {
                job.replace(draft.now, |run| completed(draft.snapshot, service.id, run));
            }
            job.begin(RunCause::Scheduled, service.spec_version, draft.now);
            if let Some(run) = job.runs.last_mut() {
                run.due_at = Some(due);
            }
        }
    }
}

/// Removes a job once its newest run has been over for as long as it is to be kept.
fn expire(draft: &mut Draft<'_>, work: &ServiceWork<'_>, service: &Service) {
    let newest = service.job.newest().and_then(|run| run.end);
    let ttl = service.spec.job.as_deref().and_then(|job| job.ttl);
    let (Some(ttl), Some(end)) = (ttl, newest) else {
        return;
    };
    if work.tasks.iter().any(Work::is_live) {
        return;
    }
    let at = end.at + ttl;
    if at > draft.now {
        return draft.plan.wake(at);
    }
    draft
        .plan
        .actions
        .push(Action::Service(ServiceAction::Expire {
            id: service.id,
            version: service.meta.version,
        }));
}

/// The places of one run.
struct Places {
    places: BTreeMap<Position, Place>,
    /// Those that have to be done for the run to succeed.
    wanted: Vec<Position>,
}

#[derive(Default)]
struct Place {
    /// Its tasks, as indexes, oldest first.
    tasks: Vec<usize>,
    done: bool,
    live: bool,
    /// Its newest task failed, and none follows it.
    failed: bool,
}

impl Places {
    fn of(draft: &Draft<'_>, work: &ServiceWork<'_>, service: &Service, run: &JobRun) -> Places {
        let policy = &service.spec.task.restart;
        let mut places: BTreeMap<Position, Place> = BTreeMap::new();
        let completions = match service.spec.mode {
            ServiceMode::ReplicatedJob { completions, .. } => completions,
            _ => u32::MAX,
        };
        for (position, tasks) in work.positions() {
            let slot = match position {
                Position::Run(number, slot, _) if number == run.number => slot,
                _ => continue,
            };
            let mut all = tasks.iter().map(|index| &work.tasks[*index]);
            let done = all.clone().any(|task| task.state == TaskState::Complete);
            let live = all.clone().any(Work::is_live);
            // A slot too many is nobody's failure.
            let failed = !done
                && !live
                && slot.0 <= completions
                && all.next_back().is_some_and(|last| {
                    last.ended_by_itself()
                        && !policy.follows(last.state, &last.restarts, last.ended_at())
                });
            let place = Place {
                tasks,
                done,
                live,
                failed,
            };
            places.insert(position, place);
        }
        let position = |slot, node| Position::Run(run.number, slot, node);
        let wanted = match service.spec.mode {
            ServiceMode::ReplicatedJob { completions, .. } => (1..=completions)
                .map(|slot| position(Slot(slot), None))
                .collect(),
            ServiceMode::GlobalJob => allowed_nodes(draft, service)
                .into_iter()
                .map(|node: NodeId| position(Slot(0), Some(node)))
                .collect(),
            ServiceMode::Replicated { .. } | ServiceMode::Global => Vec::new(),
        };
        Places { places, wanted }
    }

    fn has(&self, position: Position, is: impl Fn(&Place) -> bool) -> bool {
        self.places.get(&position).is_some_and(is)
    }

    fn count(&self, is: impl Fn(&Place) -> bool) -> usize {
        self.places.values().filter(|place| is(place)).count()
    }

    /// How the run ends now, if it does.
    fn end(
        &self,
        draft: &mut Draft<'_>,
        work: &ServiceWork<'_>,
        service: &Service,
        run: &JobRun,
    ) -> Option<RunEnd> {
        let done = self.count(|place| place.done);
        let failed = self.count(|place| place.failed);
        let live = self.places.values().any(|place| place.live);
        let succeeded = match service.spec.mode {
            ServiceMode::ReplicatedJob { completions, .. } => done >= completions as usize,
            // Without a node there was nothing to do it on yet.
            _ => {
                let open = |position: &&Position| !self.has(**position, |place| place.done);
                done > 0 && !live && !self.wanted.iter().any(|position| open(&position))
            }
        };
        let deadline = service.spec.job.as_deref().and_then(|job| job.deadline);
        let deadline = deadline.map(|time| run.started_at + time);
        let outcome = if succeeded {
            Outcome::Succeeded
        } else if failed > 0 && !live {
            Outcome::Failed
        } else if deadline.is_some_and(|at| at <= draft.now) {
            Outcome::DeadlineExceeded
        } else {
            if let Some(at) = deadline {
                draft.plan.wake(at);
            }
            return None;
        };
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Some(RunEnd {
            outcome,
            at: draft.now,
            succeeded: number(done),
            failed: number(failed),
            exit_code: self.exit_code(work, outcome),
        })
    }

    /// That of the newest task that ended by itself, of those that made it end so.
    fn exit_code(&self, work: &ServiceWork<'_>, outcome: Outcome) -> Option<i32> {
        let asked = |place: &&Place| match outcome {
            Outcome::Succeeded => true,
            Outcome::Failed => place.failed,
            Outcome::DeadlineExceeded | Outcome::Replaced => !place.done,
        };
        let places = self.places.values().filter(asked);
        places
            .flat_map(|place| &place.tasks)
            .map(|index| &work.tasks[*index])
            .filter(|task| task.ended_by_itself())
            .max_by_key(|task| (task.ended_at(), task.id))
            .and_then(|task| task.known?.status.exit_code)
    }

    /// Makes the tasks that the run lacks, as many as may run at a time. Once a place
    /// has failed the run cannot succeed any more: what runs may end, and nothing
    /// further begins.
    fn fill<'a>(
        &self,
        draft: &mut Draft<'a>,
        work: &mut ServiceWork<'a>,
        service: &'a Arc<Service>,
        run: &JobRun,
        ids: &mut IdSource,
    ) {
        // Of the closed run of a global job each late node stands for itself.
        let lost = run.end.is_none() && self.places.values().any(|place| place.failed);
        let wanted: BTreeSet<Position> = self.wanted.iter().copied().collect();
        let by_slot = matches!(service.spec.mode, ServiceMode::ReplicatedJob { .. });
        for (position, place) in &self.places {
            let surplus = by_slot && !wanted.contains(position);
            for index in &place.tasks {
                let task = &mut work.tasks[*index];
                if !task.is_wanted() {
                    continue;
                }
                if surplus {
                    task.stop(TaskState::Shutdown, Cause::Scaled);
                } else if place.done || (lost && task.state < TaskState::Starting) {
                    task.stop(TaskState::Shutdown, Cause::RunEnded);
                }
            }
        }
        if lost {
            return;
        }
        let live = self.count(|place| place.live && !place.done);
        let room = match service.spec.mode {
            ServiceMode::ReplicatedJob { concurrent, .. } if concurrent > 0 => {
                (concurrent as usize).saturating_sub(live)
            }
            _ => usize::MAX,
        };
        let is_empty = |position: &&Position| {
            !self.has(**position, |place| place.done || place.live || place.failed)
        };
        let template = template(draft, service, run);
        let left = left_of_ended_runs(work)
            .into_iter()
            .any(|index| is_stopping(draft, &work.tasks[index]));
        for position in self.wanted.iter().filter(is_empty).take(room) {
            let place = self.places.get(position);
            let tasks = place.into_iter().flat_map(|place| &place.tasks);
            let mut tasks = tasks.map(|index| &work.tasks[*index]);
            let stopping = left || tasks.clone().any(|task| is_stopping(draft, task));
            let held = work.gate.is_some() && gate::is_first(tasks.clone());
            let origin = match tasks.next_back() {
                None => Some(Origin::new(Cause::Created)),
                Some(last) => restart::follow(last, &service.spec.task.restart, draft.now),
            };
            let Some(mut origin) = origin else { continue };
            if stopping || held || origin.start_at.is_some_and(|at| at > draft.now) {
                origin.desired = TaskState::Ready;
            }
            work.create(template, ids.task(), *position, origin, draft.now);
        }
    }
}

/// Tasks of runs that are over. What still stops of them is waited for: two runs are
/// never at work on the same thing, unless both are to be.
pub(super) fn left_of_ended_runs(work: &ServiceWork<'_>) -> Vec<usize> {
    let Some(service) = work.service else {
        return Vec::new();
    };
    let is_over = |run: u64| {
        let run = service.job.run(run);
        !run.is_some_and(|run| service.is_current(run))
    };
    let tasks = work.tasks.iter().enumerate();
    tasks
        .filter(|(_, task)| task.run != 0 && task.may_run() && is_over(task.run))
        .map(|(index, _)| index)
        .collect()
}

/// What tasks of the run are made from: a run ends with the template it began with,
/// unless the present one runs the same, elsewhere or with other restarts, or what that
/// one needs is gone.
fn template<'a>(draft: &Draft<'a>, service: &'a Arc<Service>, run: &JobRun) -> Template<'a> {
    let present = Template::present(service);
    match draft.snapshot.template(service.id, run.spec_version) {
        Some(spec) if !spec.runs_like(present.spec) && is_whole(draft.snapshot, spec) => Template {
            spec,
            version: run.spec_version,
        },
        _ => present,
    }
}
