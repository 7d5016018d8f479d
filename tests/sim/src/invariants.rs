//! What is promised: one file a promise.

mod addresses_are_given_once;
mod everything_wanted_runs;
mod followers_agree;
mod no_more_tasks_than_wanted;
mod no_task_on_a_lost_node;
mod states_never_go_back;
mod waiting_is_explained;

use crate::world::World;
use skep_manager_planner::Plan;
use skep_manager_store::Snapshot;

/// A promise is kept, or how it was broken.
type Verdict = Result<(), String>;

/// After every entry.
pub(crate) fn check_always(world: &mut World, before: &Snapshot) {
    let after = world.store.state();
    let verdicts = [
        (
            "states_never_go_back",
            states_never_go_back::check(before, after),
        ),
        (
            "addresses_are_given_once",
            addresses_are_given_once::check(after),
        ),
    ];
    record(world, verdicts);
}

/// Whenever the planner has nothing left to do.
pub(crate) fn check_settled(world: &mut World, plan: &Plan) {
    let state = world.store.state();
    let verdicts = [
        (
            "no_task_on_a_lost_node",
            no_task_on_a_lost_node::check(state),
        ),
        (
            "no_more_tasks_than_wanted",
            no_more_tasks_than_wanted::check(state),
        ),
        (
            "waiting_is_explained",
            waiting_is_explained::check(state, plan),
        ),
    ];
    record(world, verdicts);
}

/// Now and then, for what is costly.
pub(crate) fn check_rarely(world: &mut World) {
    let verdict = followers_agree::check(&world.store, &world.follower);
    record(world, [("followers_agree", verdict)]);
}

/// When all faults have been over for long enough.
pub(crate) fn check_at_the_end(world: &mut World) {
    let verdict = everything_wanted_runs::check(world.store.state());
    record(world, [("everything_wanted_runs", verdict)]);
    check_rarely(world);
}

fn record<const N: usize>(world: &mut World, verdicts: [(&'static str, Verdict); N]) {
    for (invariant, verdict) in verdicts {
        if let Err(how) = verdict {
            world.fail(invariant, &how);
        }
    }
}
