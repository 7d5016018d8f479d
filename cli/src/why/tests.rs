//! Stories, each as a person reads it: what is wrong goes first, and the last line is a
//! command.

use super::{MOST, Story, node, service, stack, task};
use crate::testing::{self, service as web};
use crate::view::View;
use expect_test::{Expect, expect};
use skep_proto::{id_bytes, pb};
use skep_types::STACK_LABEL;
use skep_types::{
    Availability, Cause, Dependency, JobRun, NodeId, NodeState, Outcome, RestartCondition,
    RunCause, RunEnd, Service, ServiceMode, TaskState, Timestamp, UpdateState, UpdateStatus,
    Version,
};
use std::sync::Arc;

/// Ten minutes after tasks got where they are.
const NOW: u64 = 601_000;

fn check(story: &Story, well: bool, expected: Expect) {
    let text = story.text();
    assert!(text.lines().count() <= MOST + 1, "{text}");
    assert_eq!(story.is_well(), well, "{text}");
    expected.assert_eq(&text);
}

/// A service `web`, and what makes the swarm of it.
fn of(replicas: u32, well: bool, change: impl FnOnce(&mut View), expected: Expect) {
    let mut view = testing::swarm(vec![web(7, "web", replicas)]);
    change(&mut view);
    check(
        &service::story(&view, &view.services[0], NOW),
        well,
        expected,
    );
}

fn fails(view: &mut View, slot: u32, node: u128, error: &str) {
    let task = view.add(0, slot, node, TaskState::Failed);
    task.status.error = error.to_owned();
    task.status.exit_code = Some(1);
}

fn update(state: UpdateState, message: &str) -> Option<UpdateStatus> {
    Some(UpdateStatus {
        state,
        started_at: Timestamp(301_000),
        completed_at: None,
        message: message.to_owned(),
        resumed_at: None,
    })
}

fn down(view: &mut View, number: u128) {
    let entry = view.nodes.get_mut(&NodeId::from_bits(number));
    let status = &mut entry.expect("a node of the test").node.status;
    status.state = NodeState::Down;
    status.message = "heartbeat failure".to_owned();
}

#[test]
fn a_service_that_runs_is_as_it_should_be() {
    of(
        2,
        true,
        |view| {
            view.add(0, 1, 1, TaskState::Running);
            view.add(0, 2, 2, TaskState::Running);
        },
        expect![[r#"
            web: 2 of 2 tasks run as they should.
            skep service ps web"#]],
    );
}

#[test]
fn an_old_failure_of_a_service_that_runs_is_no_more_than_a_note() {
    of(
        1,
        true,
        |view| {
            fails(view, 1, 1, "task: non-zero exit (1)");
            view.add(0, 1, 2, TaskState::Running);
        },
        expect![[r#"
            web: 1 of 1 tasks run as they should.
            web.1 failed on one 10 minutes ago: task: non-zero exit (1).
            skep service ps web"#]],
    );
}

#[test]
fn a_service_without_replicas_is_as_it_should_be() {
    of(
        0,
        true,
        |_| {},
        expect![[r#"
        web: 0 of 0 tasks run as they should.
        It is to have no tasks: its replicas are 0.
        skep service scale web=1"#]],
    );
}

#[test]
fn no_node_for_a_task_comes_with_what_nodes_say() {
    of(
        3,
        false,
        |view| {
            view.add(0, 1, 1, TaskState::Running);
            for slot in [2, 3] {
                let task = view.add(0, slot, 0, TaskState::Pending);
                task.status.error = "no suitable node (insufficient memory on 2 nodes)".to_owned();
            }
            let verdict = |node, fit: pb::Fit, why: &[&str]| pb::Verdict {
                node: id_bytes(NodeId::from_bits(node)),
                fit: fit.into(),
                why: why.iter().map(|why| (*why).to_owned()).collect(),
                ..Default::default()
            };
            view.explained.verdicts = vec![
                verdict(1, pb::Fit::Unfit, &["512MiB of 2GiB free", "drained"]),
                verdict(2, pb::Fit::Unfit, &["1GiB of 2GiB free"]),
                verdict(3, pb::Fit::Fits, &[]),
            ];
        },
        expect![[r#"
            web: 1 of 3 tasks run as they should.
            No node for web.2, web.3: no suitable node (insufficient memory on 2 nodes).
            2 of 3 nodes take none: one (512MiB of 2GiB free, drained), two (1GiB of 2GiB free).
            skep service explain web"#]],
    );
}

#[test]
fn what_loops_is_told_with_its_error_and_when_it_goes_on() {
    of(
        2,
        false,
        |view| {
            view.add(0, 1, 1, TaskState::Running);
            fails(view, 2, 2, "task: non-zero exit (1)");
            let held = view.add(0, 2, 0, TaskState::Pending);
            held.restarts.in_row = 4;
            held.start_at = Some(Timestamp(NOW + 40_000));
            held.desired = TaskState::Ready;
        },
        expect![[r#"
            web: 1 of 2 tasks run as they should.
            web.2 failed 4 times in a row and starts again in 40 seconds; the last one on two: task: non-zero exit (1).
            skep service logs --tail 20 000000000000"#]],
    );
}

#[test]
fn what_is_not_tried_again_is_told_before_all_else() {
    of(
        2,
        false,
        |view| {
            let task = &mut view.services[0].spec.task;
            Arc::make_mut(task).restart.condition = RestartCondition::None;
            view.add(0, 2, 1, TaskState::Preparing);
            fails(view, 1, 2, "");
        },
        expect![[r#"
            web: 0 of 2 tasks run as they should.
            Not tried again, by the restart policy: web.1.
            web.1 failed on two 10 minutes ago: exit code 1.
            On its way, preparing: web.2 on one.
            skep service logs --tail 20 000000000000"#]],
    );
}

fn on(service: &str) -> Dependency {
    Dependency {
        service: service.to_owned(),
        condition: Default::default(),
        optional: false,
    }
}

#[test]
fn what_others_have_to_do_first_is_where_to_look() {
    of(
        1,
        false,
        |view| {
            view.services[0].waits_for = "waits for db to be healthy, which failed".to_owned();
            view.services[0].spec.depends_on = vec![on("d"), on("db")];
        },
        expect![[r#"
            web: 0 of 1 tasks run as they should.
            It waits for db to be healthy, which failed.
            skep why --type service db"#]],
    );
}

#[test]
fn an_update_halted_by_a_failure_shows_what_failed() {
    of(
        2,
        false,
        |view| {
            let message = "update paused due to failure or early termination of task web.1";
            view.services[0].update_status = update(UpdateState::Paused, message);
            fails(view, 1, 1, "task: non-zero exit (1)");
            let old = view.add(0, 2, 2, TaskState::Running);
            old.spec_version = Version(0);
            Arc::make_mut(&mut old.spec).container.image = "old".to_owned();
        },
        expect![[r#"
            web: 0 of 2 tasks run as they should.
            Its update is halted: update paused due to failure or early termination of task web.1.
            web.1 failed on one 10 minutes ago: task: non-zero exit (1).
            skep service logs --tail 20 000000000000"#]],
    );
}

#[test]
fn an_update_halted_on_request_can_go_on() {
    of(
        1,
        false,
        |view| {
            let message = "update paused on request";
            view.services[0].update_status = update(UpdateState::Paused, message);
            view.add(0, 1, 1, TaskState::Running);
        },
        expect![[r#"
            web: 1 of 1 tasks run as they should.
            Its update is halted: update paused on request.
            skep service rollout resume web"#]],
    );
}

#[test]
fn an_update_under_way_is_on_its_way() {
    of(
        2,
        false,
        |view| {
            view.services[0].update_status = update(UpdateState::Updating, "update in progress");
            view.add(0, 1, 1, TaskState::Starting);
            let old = view.add(0, 2, 2, TaskState::Running);
            old.spec_version = Version(0);
            Arc::make_mut(&mut old.spec).container.image = "old".to_owned();
        },
        expect![[r#"
            web: 0 of 2 tasks run as they should.
            An update began 5 minutes ago; still as before: 1 task.
            On its way, starting: web.1 on one.
            skep service rollout status web"#]],
    );
}

#[test]
fn a_service_that_went_back_runs_and_says_so() {
    of(
        1,
        true,
        |view| {
            let message = "rolled back: 2 of 3 tasks failed";
            view.services[0].update_status = update(UpdateState::RollbackCompleted, message);
            view.add(0, 1, 1, TaskState::Running);
        },
        expect![[r#"
            web: 1 of 1 tasks run as they should.
            It went back to what it was 5 minutes ago: rolled back: 2 of 3 tasks failed.
            skep service rollout history web"#]],
    );
}

#[test]
fn tasks_of_a_lost_node_are_told_with_it() {
    of(
        3,
        false,
        |view| {
            view.add(0, 1, 1, TaskState::Running);
            view.add(0, 2, 2, TaskState::Running);
            view.add(0, 3, 2, TaskState::Running);
            down(view, 2);
        },
        expect![[r#"
            web: 1 of 3 tasks run as they should.
            Lost with node two, and replaced unless it is back before: web.2, web.3.
            skep why --type node two"#]],
    );
}

#[test]
fn tasks_with_the_same_trouble_share_a_sentence() {
    of(
        6,
        false,
        |view| {
            for slot in 1..=5 {
                let task = view.add(0, slot, u128::from(slot % 3 + 1), TaskState::Preparing);
                task.status.error = "cannot pull shop/web:2: not found".to_owned();
            }
            let task = view.add(0, 6, 1, TaskState::Running);
            task.status.not_ready = true;
            task.status.error = "not ready: check exited with 1".to_owned();
        },
        expect![[r#"
            web: 0 of 6 tasks run as they should.
            No further than preparing: web.1 on two, web.2 on three, web.3 on one and 2 more: cannot pull shop/web:2: not found.
            Running without traffic: web.6 on one: not ready: check exited with 1.
            skep service ps --no-trunc web"#]],
    );
}

#[test]
fn there_are_never_more_than_six_sentences() {
    of(
        9,
        false,
        |view| {
            for slot in 1..=9 {
                let task = view.add(0, slot, 1, TaskState::Preparing);
                task.status.error = format!("trouble {slot}");
            }
        },
        expect![[r#"
            web: 0 of 9 tasks run as they should.
            No further than preparing: web.1 on one: trouble 1.
            No further than preparing: web.2 on one: trouble 2.
            No further than preparing: web.3 on one: trouble 3.
            No further than preparing: web.4 on one: trouble 4.
            No further than preparing: web.5 on one: trouble 5.
            skep service ps --no-trunc web"#]],
    );
}

#[test]
fn places_that_stay_empty_are_named() {
    of(
        2,
        false,
        |view| {
            view.add(0, 1, 1, TaskState::Running);
            view.explained.vacancies = vec![pb::Vacancy {
                slot: 2,
                why: "the update is paused".to_owned(),
                ..Default::default()
            }];
        },
        expect![[r#"
            web: 1 of 2 tasks run as they should.
            Without a task: web.2: the update is paused.
            skep service explain web"#]],
    );
}

#[test]
fn a_global_service_without_a_node_says_why() {
    of(
        0,
        false,
        |view| {
            view.services[0].spec.mode = ServiceMode::Global;
            view.explained.verdicts = vec![pb::Verdict {
                node: id_bytes(NodeId::from_bits(1)),
                why: vec!["node.role==manager does not hold".to_owned()],
                ..Default::default()
            }];
        },
        expect![[r#"
            web: 0 of 0 tasks run as they should.
            No node is eligible for a task of it.
            1 of 1 nodes take none: one (node.role==manager does not hold).
            skep service explain web"#]],
    );
}

fn job(end: Option<Outcome>, change: impl FnOnce(&mut View), well: bool, expected: Expect) {
    of(
        0,
        well,
        |view| {
            view.services[0].spec.mode = ServiceMode::ReplicatedJob {
                completions: 3,
                concurrent: 2,
            };
            view.services[0].job.runs = vec![JobRun {
                number: 4,
                cause: RunCause::Created,
                spec_version: Version(1),
                due_at: None,
                started_at: Timestamp(1_000),
                end: end.map(|outcome| RunEnd {
                    outcome,
                    at: Timestamp(301_000),
                    succeeded: 2,
                    failed: 1,
                    exit_code: Some(3),
                }),
            }];
            change(view);
        },
        expected,
    );
}

#[test]
fn a_run_that_goes_on_is_as_it_should_be() {
    job(
        None,
        |view| {
            view.add(0, 1, 1, TaskState::Complete).run = 4;
            view.add(0, 2, 1, TaskState::Running).run = 4;
            view.add(0, 3, 1, TaskState::Starting).run = 4;
        },
        true,
        expect![[r#"
            web: run 4 has 1 of 3 tasks completed.
            On its way, starting: web.3 on one.
            skep service ps --no-trunc web"#]],
    );
}

#[test]
fn a_run_that_failed_shows_what_failed() {
    job(
        Some(Outcome::Failed),
        |view| {
            fails(view, 3, 2, "task: non-zero exit (3)");
            view.tasks[0].run = 4;
        },
        false,
        expect![[r#"
            web: run 4 has ended: failed.
            It ended 5 minutes ago with 2 completed and 1 failed.
            web.3 failed on two 10 minutes ago: task: non-zero exit (3).
            skep service logs --tail 20 000000000000"#]],
    );
}

#[test]
fn a_task_that_failed_shows_its_log() {
    let mut view = testing::swarm(vec![web(7, "web", 1)]);
    fails(&mut view, 1, 2, "");
    view.tasks[0].status.oom_killed = true;
    view.tasks[0].cause = Cause::Restarted;
    let found = service::task_at(&view, &view.services[0], "1").expect("it is there");
    check(
        &task::story(&view, found, NOW),
        false,
        expect![[r#"
            web.1: failed on two, as of 10 minutes ago.
            web.1 failed on two 10 minutes ago: killed for want of memory.
            Its memory limit is too low for it, or its node has too little.
            It was made 10 minutes ago: the one before it had ended.
            skep service logs --tail 20 000000000000"#]],
    );
}

#[test]
fn a_task_that_was_told_to_stop_is_as_it_should_be() {
    let mut view = testing::swarm(vec![web(7, "web", 1)]);
    view.add(0, 1, 2, TaskState::Shutdown).stop_cause = Some(Cause::Drained);
    check(
        &task::story(&view, &view.tasks[0], NOW),
        true,
        expect![[r#"
            web.1: shutdown on two, as of 10 minutes ago.
            It was told to stop: its node is drained.
            skep service ps web"#]],
    );
}

#[test]
fn the_task_of_a_global_service_goes_by_its_host() {
    let mut view = testing::swarm(vec![web(7, "web", 1)]);
    view.add(0, 0, 2, TaskState::Running);
    let found = service::task_at(&view, &view.services[0], "two").expect("it is there");
    check(
        &task::story(&view, found, NOW),
        true,
        expect![[r#"
            web.two: running on two, as of 10 minutes ago.
            skep service ps web"#]],
    );
    assert!(service::task_at(&view, &view.services[0], "0").is_none());
}

fn of_node(well: bool, change: impl FnOnce(&mut View), expected: Expect) {
    let mut view = testing::swarm(vec![web(7, "web", 1)]);
    change(&mut view);
    let entry = &view.nodes[&NodeId::from_bits(2)];
    check(&node::story(&view, entry, NOW), well, expected);
}

#[test]
fn a_node_that_answers_is_as_it_should_be() {
    of_node(
        true,
        |view| {
            view.add(0, 1, 2, TaskState::Running);
        },
        expect![[r#"
            two: ready, active.
            Running on it: 1 of 1 task.
            skep node ps two"#]],
    );
}

#[test]
fn a_node_that_is_down_says_what_is_left_there() {
    of_node(
        false,
        |view| {
            view.add(0, 1, 2, TaskState::Running);
            down(view, 2);
        },
        expect![[r#"
            two: down, active.
            Managers do not hear it: heartbeat failure; on that machine `skep info` says whether its daemon runs.
            Still to be replaced, unless it is back before: 1 task.
            skep node ps two"#]],
    );
}

#[test]
fn a_drain_says_what_is_left_and_until_when() {
    let drained = |view: &mut View| {
        for entry in view.nodes.values_mut() {
            entry.node.spec.availability = Availability::Drain;
            entry.node.drain_since = Some(Timestamp(1_000));
        }
    };
    of_node(
        true,
        drained,
        expect![[r#"
            two: ready, drain.
            It is drained, as somebody asked for, and takes no tasks.
            skep node update --availability active two"#]],
    );
    of_node(
        false,
        |view| {
            drained(view);
            view.add(0, 1, 2, TaskState::Running);
        },
        expect![[r#"
            two: ready, drain.
            It is being drained and has 1 task left; what is left stops in 50 minutes.
            Running on it: 1 of 1 task.
            skep node ps two"#]],
    );
}

#[test]
fn a_stack_tells_of_the_worst_of_its_services() {
    let member = |number, name: &str| -> Service {
        let mut service = web(number, name, 1);
        let labels = &mut service.spec.labels;
        labels.insert(STACK_LABEL.to_owned(), "shop".to_owned());
        service
    };
    let mut api = member(1, "shop_api");
    api.waits_for = "waits for shop_db to be healthy".to_owned();
    let services = vec![
        api,
        member(2, "shop_db"),
        member(3, "shop_web"),
        web(4, "other", 1),
    ];
    let mut view = testing::swarm(services);
    let task = view.add(1, 1, 1, TaskState::Preparing);
    task.status.error = "cannot pull db:1: not found".to_owned();
    view.add(2, 1, 1, TaskState::Running);
    let told = stack::story(&view, "shop", NOW).expect("it has services");
    check(
        &told,
        false,
        expect![[r#"
        shop: 1 of 3 services are as they should be.
        shop_db: 0 of 1 tasks run as they should.
        No further than preparing: shop_db.1 on one: cannot pull db:1: not found.
        Also not as they should be: shop_api.
        skep service ps --no-trunc shop_db"#]],
    );
    assert!(stack::story(&view, "other", NOW).is_none());
}

#[test]
fn programs_get_the_same() {
    let mut view = testing::swarm(vec![web(7, "web", 1)]);
    view.add(0, 1, 1, TaskState::Running);
    let story = service::story(&view, &view.services[0], NOW);
    expect![[r#"{"Kind":"service","Name":"web","AsItShouldBe":true,"Sentences":["web: 1 of 1 tasks run as they should."],"Next":"skep service ps web"}"#]].assert_eq(&story.object().to_string());
}
