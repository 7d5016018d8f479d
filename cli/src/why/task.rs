//! Why a task is as it is.

use super::{Rank, Story, because, live};
use crate::human::ago;
use crate::progress::short_name;
use crate::view::View;
use skep_types::{Cause, Task, TaskState};

/// The story of a task, from a view with all nodes. `now` is in milliseconds since the
/// epoch.
pub fn story(view: &View, task: &Task, now: u64) -> Story {
    let service = &task.service_name;
    let host = task.node.map(|node| view.hostname(node));
    let state = task.status.state;
    let on = host.map_or_else(String::new, |host| format!(" on {host}"));
    let when = ago(task.status.at.0, now).to_lowercase();
    let usual = format!("skep service ps {service}");
    let name = short_name(view, task);
    let head = format!("{state}{on}, as of {when}");
    let mut story = Story::new("task", name, head, usual);
    let by_itself = matches!(state, TaskState::Failed | TaskState::Rejected);
    if by_itself {
        story.add(Rank::Wrong, live::end(view, task, now), live::after(task));
    } else if state == TaskState::Orphaned && task.stop_cause.is_none() {
        let sentence = "It was lost with its node";
        story.add(Rank::Wrong, sentence, story.usual.clone());
    }
    if task.status.oom_killed {
        let sentence = "Its memory limit is too low for it, or its node has too little";
        story.add(Rank::Wrong, sentence, live::logs(task));
    }
    live::tell_held(&mut story, view, &[task], now);
    live::tell(&mut story, view, &[task], Rank::Coming);
    if let Some(at) = task.start_at.filter(|at| at.0 > now)
        && task.held_until().is_none()
    {
        let sentence = format!("It starts {}", live::until(at, now));
        story.add(Rank::Coming, sentence, story.usual.clone());
    }
    if let Some(cause) = task.stop_cause {
        story.note(format!("It was told to stop: {}", stopped(cause)));
    }
    if task.status.local.count > 0 {
        let count = task.status.local.count;
        story.note(format!(
            "Its node started it again by itself, {count} times"
        ));
    }
    if let Some(made) = made(task.cause) {
        let since = ago(task.meta.created_at.0, now).to_lowercase();
        story.note(format!("It was made {since}{}", because(made)));
    }
    story
}

fn stopped(cause: Cause) -> &'static str {
    match cause {
        Cause::Created | Cause::Restarted => "another takes its place",
        Cause::Scaled => "its service has fewer replicas",
        Cause::Updated => "its service was updated",
        Cause::RolledBack => "its service went back to what it was",
        Cause::NodeLost => "its node was lost",
        Cause::Drained => "its node is drained",
        Cause::Constraint => "its node no longer meets the constraints",
        Cause::Removed => "its service was removed",
        Cause::RunEnded => "the run of its job is over",
        Cause::NodeBack => "the node whose task it was to replace is back",
        Cause::Rebalanced => "it moved to a node with fewer tasks of its service",
    }
}

/// Why it was made, where there is more to it than that its place is new.
fn made(cause: Cause) -> Option<&'static str> {
    match cause {
        Cause::Created => None,
        Cause::Restarted => Some("the one before it had ended"),
        Cause::NodeLost => Some("the node of the one before it was lost"),
        Cause::Drained => Some("the node of the one before it is drained"),
        cause => Some(stopped(cause)),
    }
}
