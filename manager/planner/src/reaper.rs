//! Which tasks are forgotten: history beyond the limit, tasks to be removed
//! once they have ended, tasks nobody can tell about any more.

use crate::current::Current;
use crate::draft::{Draft, Nodes, Position, ServiceWork, Work};
use crate::scheduler::{FAILURES_MAX, FAILURES_WINDOW, failures};
use skep_types::{NodeId, Service, TaskState, Timestamp, UpdateState};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Tasks kept a position while there is no cluster object.
const DEFAULT_HISTORY: i32 = 5;
/// After this time a silent node's tasks are given up.
const ORPHAN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Forgets tasks.
pub(crate) fn reap(draft: &mut Draft<'_>) {
    let history = draft
        .snapshot
        .cluster()
        .map_or(DEFAULT_HISTORY, |cluster| cluster.spec.task_history);
    let now = draft.now;
    for work in draft.services.values_mut() {
        for task in &mut work.tasks {
            let unwanted = task.desired == TaskState::Remove
                || (task.desired > TaskState::Running && task.state < TaskState::Assigned);
            if unwanted && !task.may_run() {
                task.removed = true;
            }
        }
        if let Some(at) = trim(&draft.nodes, work, history, now) {
            work.wake(at);
        }
    }
    // Last: what is given up now is forgotten once that is written.
    orphan(draft);
}

/// Keeps `history` tasks a position, the live one included, and the failures that
/// tell of a bad node. Says when the first of these is told of no more.
fn trim(
    nodes: &Nodes<'_>,
    work: &mut ServiceWork<'_>,
    history: i32,
    now: Timestamp,
) -> Option<Timestamp> {
    let history = usize::try_from(history).ok()?;
    let service = work.service?;
    let ended = |task: &&Work<'_>| !task.is_live() && !task.removed;
    let ended: BTreeSet<Position> = work
        .tasks
        .iter()
        .filter(ended)
        .map(Work::position)
        .collect();
    if ended.is_empty() {
        return None;
    }
    let mut telling = None;
    let mut wake: Option<Timestamp> = None;
    let rolling = Rolling::of(nodes, work, service);
    let positions = work.positions_among(|position| ended.contains(position));
    for tasks in positions.into_values() {
        let live = match rolling {
            // What follows its last try is read from that, whatever lives beside it.
            Some(_) => 0,
            // While a crash loop is waited out, the last end is looked into.
            None => {
                let lives = |task: &Work<'_>| task.is_live() && !task.is_held(now);
                tasks.iter().filter(|i| lives(&work.tasks[**i])).count()
            }
        };
        // Without a live task the last one says why there is none, and what was
        // counted.
        let mut keep = history.max(1).saturating_sub(live);
        // What was tried beside a task that serves says when to try again.
        let newest = tasks.last().map(|index| &work.tasks[*index]);
        if live > 0 && newest.is_some_and(|task| !task.is_live()) {
            keep = keep.max(1);
        }
        let read = rolling.as_ref().map(|r| r.reads(&work.tasks, &tasks));
        let run = tasks.first().map(|index| work.tasks[*index].run);
        let keep = match run.filter(|run| *run != 0) {
            Some(run) if !keeps_run(service, run, history) => 0,
            _ => keep,
        };
        let ended: Vec<usize> = tasks
            .into_iter()
            .filter(|i| !work.tasks[*i].is_live())
            .collect();
        let surplus = ended.len().saturating_sub(keep);
        for index in &ended[..surplus] {
            let is_read = read.is_some_and(|read| read.contains(&Some(*index)));
            let task = &work.tasks[*index];
            if task.may_run() || is_read || is_of_open_run(service, task) {
                continue;
            }
            let telling = telling.get_or_insert_with(|| failures_that_tell(&work.tasks, now));
            match telling.get(index) {
                Some(until) => wake = Some(wake.map_or(*until, |at| at.min(*until))),
                None => work.tasks[*index].removed = true,
            }
        }
    }
    wake
}

/// Tasks of that run of a job are kept: it is not over, or one of the newest that are.
fn keeps_run(service: &Service, run: u64, history: usize) -> bool {
    let newer = service.job.runs.iter().rev();
    let mut kept = newer
        .enumerate()
        .filter(|(newer, run)| run.end.is_none() || *newer < history.max(1));
    kept.any(|(_, kept)| kept.number == run)
}

/// What is done in a run is read from its tasks until it is over.
fn is_of_open_run(service: &Service, task: &Work<'_>) -> bool {
    task.state == TaskState::Complete
        && service
            .job
            .run(task.run)
            .is_some_and(|run| service.is_current(run))
}

/// Failures by which the scheduler still judges a node, the newest few of each, and
/// until when it does.
fn failures_that_tell(tasks: &[Work<'_>], now: Timestamp) -> BTreeMap<usize, Timestamp> {
    let failed = |task: &Work<'_>| !task.removed && failures(task, now) > 0;
    let mut failed: Vec<usize> = (0..tasks.len()).filter(|i| failed(&tasks[*i])).collect();
    failed.sort_by_key(|i| std::cmp::Reverse(tasks[*i].ended_at()));
    let mut of_node: BTreeMap<Option<NodeId>, u32> = BTreeMap::new();
    failed.retain(|i| {
        let count = of_node.entry(tasks[*i].node).or_default();
        *count += 1;
        *count <= FAILURES_MAX
    });
    let until = |i: usize| (i, tasks[i].ended_at() + FAILURES_WINDOW);
    failed.into_iter().map(until).collect()
}

/// An update that is under way or paused, or begins or ends in this pass: it reads
/// from the tasks what it has done already, and what a paused one left as it was.
struct Rolling<'a> {
    current: Current<'a>,
    started_at: Timestamp,
}

impl<'a> Rolling<'a> {
    fn of(
        nodes: &Nodes<'_>,
        work: &ServiceWork<'a>,
        service: &'a Arc<Service>,
    ) -> Option<Rolling<'a>> {
        let known = service.update_status.as_ref().filter(|status| {
            !matches!(
                status.state,
                UpdateState::Completed | UpdateState::RollbackCompleted
            )
        });
        let status = known.or(work.update_status.as_ref())?;
        Some(Rolling {
            current: Current::new(nodes, service, &work.tasks),
            started_at: status.counts_from(),
        })
    }

    /// What is read in a position however long ago it was, of its tasks, oldest
    /// first: the last task that was replaced, which says that the position is
    /// one to be changed, the first try, which says when that was begun, and the first
    /// that ended by itself, which says how it went.
    fn reads(&self, work: &[Work<'_>], tasks: &[usize]) -> [Option<usize>; 3] {
        let (mut replaced, mut begun) = (None, None);
        for index in tasks {
            let task = &work[*index];
            if task.desired == TaskState::Remove {
                continue;
            }
            if self.current.is_outdated(task) {
                if begun.is_none() {
                    replaced = Some(*index);
                }
            } else if replaced.is_some() && task.created_at >= self.started_at {
                begun.get_or_insert(*index);
                if task.ended_by_itself() {
                    return [replaced, begun, Some(*index)];
                }
            }
        }
        [replaced, begun, None]
    }
}

/// Gives up tasks of nodes that have been silent too long.
fn orphan(draft: &mut Draft<'_>) {
    let silent = draft.nodes.values().filter(|node| node.is_down());
    let due: BTreeMap<NodeId, Timestamp> = silent
        .map(|node| (node.node.id, node.node.meta.updated_at + ORPHAN_AFTER))
        .collect();
    if due.is_empty() {
        return;
    }
    for work in draft.services.values_mut() {
        let mut wake = None;
        for task in work.tasks.iter_mut().filter(|task| task.may_run()) {
            match task.node.and_then(|node| due.get(&node)) {
                Some(due) if *due <= draft.now => task.state = TaskState::Orphaned,
                Some(due) => wake = Some(wake.map_or(*due, |at: Timestamp| at.min(*due))),
                None => {}
            }
        }
        if let Some(at) = wake {
            work.wake(at);
        }
    }
}
