//! Why a stack is as it is: by the worst of its services.

use super::{Rank, Story, service, several};
use crate::view::View;
use skep_types::STACK_LABEL;
use skep_types::Service;

/// Sentences of the worst service that are told.
const OF_WORST: usize = 3;

/// The story of a stack, from a view with the tasks of its services and all nodes; `None`
/// where it has no services. `now` is in milliseconds since the epoch.
pub fn story(view: &View, stack: &str, now: u64) -> Option<Story> {
    let of_stack = |service: &&Service| {
        let label = service.spec.labels.get(STACK_LABEL);
        label.is_some_and(|label| label == stack)
    };
    let services = view.services.iter().filter(of_stack);
    let mut stories: Vec<Story> = services
        .map(|service| service::story(view, service, now))
        .collect();
    if stories.is_empty() {
        return None;
    }
    // What waits for others is not where to look.
    stories.sort_by_key(|story| {
        let rank = story.rank();
        (rank == Rank::Note, rank == Rank::Waits, rank != Rank::Wrong)
    });
    let (all, well) = (
        stories.len(),
        stories.iter().filter(|story| story.is_well()).count(),
    );
    let state = format!("{well} of {all} services are as they should be");
    let mut story = Story::new("stack", stack, state, format!("skep stack ps {stack}"));
    let mut bad = stories.iter().filter(|story| !story.is_well());
    let Some(worst) = bad.next() else {
        return Some(story);
    };
    for sentence in worst.sentences().into_iter().take(1 + OF_WORST) {
        story.add(Rank::Wrong, sentence, worst.next());
    }
    let others: Vec<String> = bad.map(|story| story.name.clone()).collect();
    if !others.is_empty() {
        let sentence = format!("Also not as they should be: {}", several(&others));
        story.add(Rank::Wrong, sentence, worst.next());
    }
    Some(story)
}
