//! What keeps the tasks of a service from running, those with the same trouble together.

use super::{Rank, Story, because, several};
use crate::human::{ago, duration, id};
use crate::progress::{attempt, short_name};
use crate::view::View;
use skep_types::{Task, TaskState, Timestamp};
use std::time::Duration;

/// The command that shows what a task printed last.
pub(super) fn logs(task: &Task) -> String {
    let id = id(&task.id.to_string(), false);
    format!("skep service logs --tail 20 {id}")
}

/// `in 40 seconds`.
pub(super) fn until(at: Timestamp, now: u64) -> String {
    let left = Duration::from_millis(at.0.saturating_sub(now));
    format!("in {}", duration(left).to_lowercase())
}

/// What to look at after an end: what the task printed, unless it never came to that.
pub(super) fn after(task: &Task) -> String {
    match task.status.state == TaskState::Rejected {
        true => format!("skep service ps --no-trunc {}", task.service_name),
        false => logs(task),
    }
}

/// `web.2 failed on two 3 minutes ago: exit code 1`.
pub(super) fn end(view: &View, task: &Task, now: u64) -> String {
    let attempt = attempt(view, task);
    let at = match attempt.node.as_str() {
        "" => String::new(),
        node => format!(" on {node}"),
    };
    let (name, state, when) = (attempt.task, task.status.state, task.status.at.0);
    let verb = match state {
        TaskState::Rejected => "was rejected",
        _ => "failed",
    };
    format!(
        "{name} {verb}{at} {}{}",
        ago(when, now).to_lowercase(),
        because(&attempt.error)
    )
}

/// One kind of trouble.
struct Group {
    rank: Rank,
    what: String,
    names: Vec<String>,
    why: String,
    next: String,
}

/// Tells of tasks that are wanted and do not run. `coming`: the rank of those that nothing
/// keeps. Returns whether any has no node for a reason.
pub(super) fn tell(story: &mut Story, view: &View, tasks: &[&Task], coming: Rank) -> bool {
    let mut groups: Vec<Group> = Vec::new();
    let mut homeless = false;
    for task in tasks.iter().copied().filter(|task| task.is_live()) {
        if view.runs(task) || task.held_until().is_some() {
            continue;
        }
        let service = &task.service_name;
        let ps = format!("skep service ps --no-trunc {service}");
        let error = task.status.error.clone();
        let rank = match error.is_empty() {
            true => coming,
            false => Rank::Wrong,
        };
        let host = task.node.map(|node| view.hostname(node));
        let state = task.status.state;
        let (rank, what, why, next) = match &host {
            Some(host) if view.is_away(task) => (
                Rank::Wrong,
                format!("Lost with node {host}, and replaced unless it is back before:"),
                String::new(),
                format!("skep why --type node {host}"),
            ),
            _ if state <= TaskState::Pending && error.is_empty() => {
                (rank, "Not placed yet:".to_owned(), error, ps)
            }
            _ if state <= TaskState::Pending => {
                homeless = true;
                let explain = format!("skep service explain {service}");
                (rank, "No node for".to_owned(), error, explain)
            }
            _ if state == TaskState::Running => {
                let what = "Running without traffic:".to_owned();
                (rank, what, error, logs(task))
            }
            _ if rank == Rank::Wrong => (rank, format!("No further than {state}:"), error, ps),
            _ => (rank, format!("On its way, {state}:"), error, ps),
        };
        let name = match host.filter(|_| !view.is_away(task) && task.slot.0 > 0) {
            Some(host) => format!("{} on {host}", short_name(view, task)),
            None => short_name(view, task),
        };
        let known = groups
            .iter_mut()
            .find(|group| (group.rank, &group.what, &group.why) == (rank, &what, &why));
        match known {
            Some(group) => group.names.push(name),
            None => groups.push(Group {
                rank,
                what,
                names: vec![name],
                why,
                next,
            }),
        }
    }
    for group in groups {
        let names = several(&group.names);
        let sentence = format!("{} {names}{}", group.what, because(&group.why));
        story.add(group.rank, sentence, group.next);
    }
    homeless
}

/// Tells of tasks that wait out a crash loop.
pub(super) fn tell_held(story: &mut Story, view: &View, tasks: &[&Task], now: u64) {
    for task in tasks.iter().copied() {
        let Some(at) = task.held_until() else {
            continue;
        };
        let before = newest_end(tasks, |ended| ended.slot == task.slot);
        let (last, next) = match before {
            Some(before) => {
                let last = attempt(view, before);
                let on = match last.node.as_str() {
                    "" => String::new(),
                    node => format!(" on {node}"),
                };
                (
                    format!("; the last one{on}{}", because(&last.error)),
                    after(before),
                )
            }
            None => {
                let ps = format!("skep service ps --no-trunc {}", task.service_name);
                (String::new(), ps)
            }
        };
        let (name, times) = (short_name(view, task), task.restarts.in_row);
        let sentence = format!(
            "{name} failed {times} times in a row and starts again {}{last}",
            until(at, now)
        );
        story.add(Rank::Wrong, sentence, next);
    }
}

/// The task of these that ended badly last.
pub(super) fn newest_end<'a>(tasks: &[&'a Task], of: impl Fn(&Task) -> bool) -> Option<&'a Task> {
    let bad = |task: &&Task| matches!(task.status.state, TaskState::Failed | TaskState::Rejected);
    let ended = tasks.iter().copied().filter(bad).filter(|task| of(task));
    ended.max_by_key(|task| (task.status.at, task.id))
}
