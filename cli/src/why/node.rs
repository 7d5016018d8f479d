//! Why a node is as it is.

use super::{Rank, Story, because, live};
use crate::json;
use crate::view::{NodeView, View};
use skep_proto::pb;
use skep_types::{Availability, NodeState, Role, Task};

/// The story of a node, from a view with its tasks. `now` is in milliseconds since the
/// epoch.
pub fn story(view: &View, entry: &NodeView, now: u64) -> Story {
    let node = &entry.node;
    let host = view.hostname(node.id);
    let state = json::node_state(node.status.state);
    let head = format!("{state}, {}", json::availability(node.spec.availability));
    let ps = format!("skep node ps {host}");
    let mut story = Story::new("node", &host, head, ps.clone());
    let wanted = |task: &&Task| task.node == Some(node.id) && task.is_live();
    let mut tasks: Vec<&Task> = view.tasks.iter().filter(wanted).collect();
    tasks.sort_by_key(|task| (&task.service_name, task.slot, task.id));
    let message = because(&node.status.message);
    match node.status.state {
        NodeState::Ready => {}
        NodeState::Down => {
            let sentence = format!(
                "Managers do not hear it{message}; on that machine `skep info` says whether its \
                 daemon runs"
            );
            story.add(Rank::Wrong, sentence, ps.clone());
        }
        NodeState::Unknown => {
            let sentence = format!("Managers have not heard it yet{message}");
            story.add(Rank::Wrong, sentence, "skep node ls");
        }
        NodeState::Disconnected => {
            let sentence = format!("It is changing managers{message}");
            story.add(Rank::Coming, sentence, "skep node ls");
        }
    }
    if node.manager.is_some() && entry.reachability == pb::Reachability::Unreachable {
        let sentence = "As a manager it does not answer the leader";
        story.add(Rank::Wrong, sentence, "skep node ls");
    }
    if node.role != node.spec.role {
        let becomes = match node.spec.role {
            Role::Manager => "a manager",
            Role::Worker => "a worker",
        };
        let sentence = format!("It is to become {becomes} and is not yet");
        story.add(Rank::Coming, sentence, format!("skep node inspect {host}"));
    }
    drain(&mut story, entry, &host, tasks.len(), now);
    if node.status.state == NodeState::Down {
        if !tasks.is_empty() {
            let left = super::tasks(tasks.len());
            let sentence = format!("Still to be replaced, unless it is back before: {left}");
            story.add(Rank::Wrong, sentence, ps);
        }
        return story;
    }
    live::tell(&mut story, view, &tasks, Rank::Coming);
    let running = tasks.iter().filter(|task| view.runs(task)).count();
    if !tasks.is_empty() {
        let all = super::tasks(tasks.len());
        story.note(format!("Running on it: {running} of {all}"));
    }
    story
}

/// What its availability means for tasks.
fn drain(story: &mut Story, entry: &NodeView, host: &str, left: usize, now: u64) {
    let again = format!("skep node update --availability active {host}");
    match entry.node.spec.availability {
        Availability::Active => {}
        Availability::Pause => {
            let sentence = "It takes no new tasks, as somebody asked for";
            story.add(Rank::Note, sentence, again);
        }
        Availability::Drain if left == 0 => {
            let sentence = "It is drained, as somebody asked for, and takes no tasks";
            story.add(Rank::Note, sentence, again);
        }
        Availability::Drain => {
            let by = entry.node.drained_by();
            let by = by.map_or_else(String::new, |at| match at.0 > now {
                true => format!("; what is left stops {}", live::until(at, now)),
                false => "; what is left stops now".to_owned(),
            });
            let left = super::tasks(left);
            let sentence = format!("It is being drained and has {left} left{by}");
            story.add(Rank::Coming, sentence, format!("skep node ps {host}"));
        }
    }
}
