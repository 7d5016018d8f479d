//! Courses of waiting, as the user sees them.

mod gate;
mod look;

use super::assess::{Report, assess};
use super::judge::{Judge, Verdict};
use super::screen::Plain;
use super::{Waiting, wait};
use crate::client::Host;
use crate::testing::{service, swarm};
use crate::view::View;
use expect_test::{Expect, expect};
use skep_types::{
    Cause, NodeId, NodeState, RestartCondition, TaskState, Timestamp, UpdateState, UpdateStatus,
    Version,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Waiting, with the clock in the test's hand.
struct Course {
    view: View,
    judge: Judge,
    plain: Plain,
    began: Instant,
    seconds: u64,
    said: String,
}

impl Course {
    fn of(view: View) -> Self {
        Course::how(view, Waiting::default())
    }

    fn how(view: View, how: Waiting<'_>) -> Self {
        let ids: Vec<_> = view.services.iter().map(|service| service.id).collect();
        Course {
            judge: Judge::new(&ids, |id| how.rollback || how.unchanged.contains(&id)),
            view,
            plain: Plain::default(),
            began: Instant::now(),
            seconds: 0,
            said: String::new(),
        }
    }

    fn reports(&self) -> Vec<Report> {
        let services = self.view.services.iter();
        services
            .map(|service| assess(&self.view, service.id, &service.spec.name))
            .collect()
    }

    /// Looks at the view after some more seconds.
    fn look(&mut self, seconds: u64) -> Verdict {
        self.seconds += seconds;
        let reports = self.reports();
        let now = self.began + Duration::from_secs(self.seconds);
        let verdict = self.judge.look(&reports, now, 1_000 + self.seconds * 1_000);
        for line in self.plain.next(&reports, &self.judge) {
            self.said.push_str(&format!("{} s: {line}\n", self.seconds));
        }
        match &verdict {
            Verdict::GoOn => {}
            Verdict::Converged => self.said.push_str("=> converged\n"),
            Verdict::RolledBack(why) => self.said.push_str(&format!("=> rolled back: {why}\n")),
            Verdict::Failed(why) => self.said.push_str(&format!("=> failed: {why}\n")),
        }
        verdict
    }

    fn fails(&mut self, service: usize, slot: u32, error: &str) {
        let task = self.view.add(service, slot, 2, TaskState::Failed);
        task.status.error = error.to_owned();
    }

    fn update(&mut self, state: UpdateState, message: &str) {
        self.view.services[0].update_status = Some(UpdateStatus {
            state,
            started_at: Timestamp(0),
            completed_at: None,
            message: message.to_owned(),
            resumed_at: None,
        });
    }

    fn check(&self, expected: Expect) {
        expected.assert_eq(&self.said);
    }
}

#[test]
fn a_service_that_comes_up_is_watched_and_then_done() {
    let mut course = Course::of(swarm(vec![service(1, "web", 2)]));
    course.look(0);
    course.view.add(0, 1, 1, TaskState::Preparing);
    course.view.add(0, 2, 2, TaskState::Pending);
    course.look(1);
    for task in &mut course.view.tasks {
        task.status.state = TaskState::Running;
    }
    course.view.tasks[1].node = Some(NodeId::from_bits(2));
    assert_eq!(course.look(1), Verdict::GoOn);
    assert_eq!(course.look(4), Verdict::GoOn);
    assert_eq!(course.look(1), Verdict::Converged);
    course.check(expect![[r#"
        0 s: overall progress: 0 out of 2 tasks
        2 s: overall progress: 2 out of 2 tasks
        2 s: verify: Waiting 5 seconds to verify that tasks are stable...
        7 s: verify: Service web converged
        => converged
    "#]]);
}

#[test]
fn tasks_that_have_run_for_long_need_no_watching() {
    let mut course = Course::of(swarm(vec![service(1, "web", 1)]));
    course.view.add(0, 1, 1, TaskState::Running);
    assert_eq!(course.look(61), Verdict::Converged);
}

#[test]
fn a_command_that_always_ends_is_given_three_attempts() {
    let mut course = Course::of(swarm(vec![service(1, "web", 1)]));
    course.look(0);
    for attempt in 0..3 {
        course.fails(0, 1, "task: non-zero exit (1)");
        course.view.add(0, 1, 2, TaskState::Ready);
        let verdict = course.look(5);
        assert_eq!(verdict == Verdict::GoOn, attempt < 2);
        course.view.tasks.pop();
    }
    course.check(expect![[r#"
        0 s: overall progress: 0 out of 1 tasks
        5 s: web.1 failed on two: task: non-zero exit (1)
        10 s: web.1 failed on two: task: non-zero exit (1)
        15 s: web.1 failed on two: task: non-zero exit (1)
        => failed: service web does not come up after 3 attempts: web.1 failed on two: task: non-zero exit (1)
    "#]]);
}

#[test]
fn failures_from_before_do_not_count() {
    let mut course = Course::of(swarm(vec![service(1, "web", 1)]));
    for _ in 0..4 {
        course.fails(0, 1, "exit code 1");
    }
    course.view.add(0, 1, 1, TaskState::Starting);
    assert_eq!(course.look(0), Verdict::GoOn);
}

#[test]
fn what_failed_for_want_of_another_service_is_tried_again() {
    let mut course = Course::of(swarm(vec![service(1, "db", 1), service(2, "worker", 1)]));
    course.view.add(0, 1, 1, TaskState::Preparing);
    course.look(0);
    for _ in 0..3 {
        course.fails(1, 1, "no database");
    }
    course.view.add(1, 1, 2, TaskState::Ready);
    // The database is still coming.
    assert_eq!(course.look(15), Verdict::GoOn);
    course.view.tasks[0].status.state = TaskState::Running;
    assert_eq!(course.look(1), Verdict::GoOn);
    assert_eq!(course.look(5), Verdict::GoOn);
    for task in course
        .view
        .tasks
        .iter_mut()
        .filter(|t| t.status.state == TaskState::Ready)
    {
        task.status.state = TaskState::Running;
    }
    assert_eq!(course.look(1), Verdict::GoOn);
    assert_eq!(course.look(5), Verdict::Converged);
    course.check(expect![[r#"
        0 s: db: 0 out of 1 tasks
        0 s: worker: 0 out of 1 tasks
        15 s: worker.1 failed on two: no database
        15 s: worker.1 failed on two: no database
        15 s: worker.1 failed on two: no database
        16 s: db: 1 out of 1 tasks
        16 s: verify: db: Waiting 5 seconds to verify that tasks are stable...
        21 s: verify: Service db converged
        22 s: worker: 1 out of 1 tasks
        22 s: verify: worker: Waiting 5 seconds to verify that tasks are stable...
        27 s: verify: Service worker converged
        => converged
    "#]]);
}

#[test]
fn a_task_that_no_node_can_take_is_waited_for_half_a_minute() {
    let mut course = Course::of(swarm(vec![service(1, "web", 1)]));
    let task = course.view.add(0, 1, 0, TaskState::Pending);
    task.status.error = "no suitable node (2 nodes not available)".to_owned();
    assert_eq!(course.look(0), Verdict::GoOn);
    assert_eq!(course.look(29), Verdict::GoOn);
    course.look(1);
    course.check(expect![[r#"
        0 s: overall progress: 0 out of 1 tasks
        0 s: web.1 is pending: no suitable node (2 nodes not available)
        => failed: web.1 cannot be placed: no suitable node (2 nodes not available)
    "#]]);
}

#[test]
fn what_waits_out_a_crash_loop_is_no_task_without_a_node() {
    let mut course = Course::of(swarm(vec![service(1, "web", 1)]));
    let task = course.view.add(0, 1, 0, TaskState::Pending);
    task.desired = TaskState::Ready;
    task.restarts.in_row = 2;
    task.start_at = Some(Timestamp(60_000));
    task.status.error = "crash loop: failed 2 times in a row".to_owned();
    assert_eq!(course.look(0), Verdict::GoOn);
    assert_eq!(course.look(59), Verdict::GoOn);
    // Its time has come, and no node takes it.
    course.view.tasks[0].desired = TaskState::Running;
    course.view.tasks[0].status.error = "no suitable node".to_owned();
    assert_eq!(course.look(1), Verdict::GoOn);
    assert!(matches!(course.look(30), Verdict::Failed(_)));
}

#[test]
fn attempts_are_those_counted_on_the_task_not_the_tasks_that_are_kept() {
    for (attempts, dead) in [(2, false), (3, true)] {
        let mut web = service(1, "web", 1);
        Arc::make_mut(&mut web.spec.task).restart.max_attempts = 3;
        let mut course = Course::of(swarm(vec![web]));
        course.look(0);
        let task = course.view.add(0, 1, 1, TaskState::Failed);
        task.restarts.attempts = attempts;
        let verdict = course.look(1);
        assert_eq!(matches!(verdict, Verdict::Failed(_)), dead, "{verdict:?}");
    }
}

#[test]
fn a_task_may_take_its_time_until_it_takes_traffic() {
    let mut course = Course::of(swarm(vec![service(1, "web", 2)]));
    for slot in [1, 2] {
        let task = course.view.add(0, slot, 1, TaskState::Running);
        task.status.not_ready = true;
        task.status.error = "not ready: port 80: connection refused".to_owned();
    }
    assert_eq!(course.look(0), Verdict::GoOn);
    assert_eq!(course.look(590), Verdict::GoOn);
    // Each has its own time.
    course.view.tasks[0].status.not_ready = false;
    course.view.tasks[0].status.error.clear();
    assert_eq!(course.look(5), Verdict::GoOn);
    assert_eq!(course.look(590), Verdict::GoOn);
    course.look(10);
    course.check(expect![[r#"
        0 s: overall progress: 0 out of 2 tasks
        0 s: web.1 is running: not ready: port 80: connection refused
        0 s: web.2 is running: not ready: port 80: connection refused
        595 s: overall progress: 1 out of 2 tasks
        => failed: web.2 gets no further than running: not ready: port 80: connection refused
    "#]]);
}

#[test]
fn a_task_whose_image_cannot_be_had_is_not_waited_for_for_ever() {
    let mut course = Course::of(swarm(vec![service(1, "web", 1)]));
    let task = course.view.add(0, 1, 1, TaskState::Preparing);
    task.status.error = "cannot reach registry docker.io".to_owned();
    assert_eq!(course.look(0), Verdict::GoOn);
    course.view.tasks[0].status.error.clear();
    assert_eq!(course.look(20), Verdict::GoOn);
    course.view.tasks[0].status.error = "cannot reach registry docker.io".to_owned();
    assert_eq!(course.look(5), Verdict::GoOn);
    assert_eq!(course.look(29), Verdict::GoOn);
    course.look(1);
    course.check(expect![[r#"
        0 s: overall progress: 0 out of 1 tasks
        0 s: web.1 is preparing: cannot reach registry docker.io
        => failed: web.1 gets no further than preparing: cannot reach registry docker.io
    "#]]);
}

#[test]
fn an_update_counts_its_own_tasks_and_ends_when_managers_say_so() {
    let mut course = Course::of(swarm(vec![service(1, "web", 2)]));
    course.view.add(0, 1, 1, TaskState::Running);
    course.view.add(0, 2, 2, TaskState::Running);
    let spec = &mut course.view.services[0];
    spec.spec_version = Version(2);
    Arc::make_mut(&mut spec.spec.task).container.image = "web:2".to_owned();
    assert_eq!(course.look(0), Verdict::GoOn);
    course.update(UpdateState::Updating, "update in progress");
    for slot in [1, 2] {
        let old = slot as usize - 1;
        course.view.tasks[old].desired = TaskState::Shutdown;
        course.view.tasks[old].status.state = TaskState::Shutdown;
        course.view.add(0, slot, 1, TaskState::Running);
        assert_eq!(course.look(1), Verdict::GoOn);
    }
    course.update(UpdateState::Completed, "update completed");
    assert_eq!(course.look(5), Verdict::Converged);
    course.check(expect![[r#"
        0 s: overall progress: 0 out of 2 tasks
        1 s: overall progress: 1 out of 2 tasks
        2 s: overall progress: 2 out of 2 tasks
        2 s: verify: Waiting 5 seconds to verify that tasks are stable...
        7 s: verify: Service web converged
        => converged
    "#]]);
}

#[test]
fn paused_and_rolled_back_updates_are_failures() {
    let mut course = Course::of(swarm(vec![service(1, "web", 1)]));
    course.fails(0, 1, "exit code 3");
    course.view.add(0, 1, 1, TaskState::Ready);
    course.update(
        UpdateState::Paused,
        "update paused due to failure of task x",
    );
    course.look(0);
    course.update(
        UpdateState::RollbackStarted,
        "update rolled back due to failure of task x",
    );
    assert_eq!(course.look(1), Verdict::GoOn);
    course.update(UpdateState::RollbackCompleted, "rollback completed");
    course.look(1);
    course.check(expect![[r#"
        0 s: overall progress: 0 out of 1 tasks
        0 s: web.1 failed on two: exit code 3
        => failed: service update paused: update paused due to failure of task x: web.1 failed on two: exit code 3
        1 s: rolling back update: 0 out of 1 tasks
        2 s: overall progress: 0 out of 1 tasks
        => rolled back: service web was rolled back: update rolled back due to failure of task x
    "#]]);
}

#[test]
fn a_rollback_that_was_asked_for_is_no_failure() {
    let how = Waiting {
        rollback: true,
        ..Waiting::default()
    };
    let mut course = Course::how(swarm(vec![service(1, "web", 1)]), how);
    course.view.add(0, 1, 1, TaskState::Running);
    course.update(UpdateState::RollbackStarted, "manually requested rollback");
    assert_eq!(course.look(0), Verdict::GoOn);
    course.update(UpdateState::RollbackCompleted, "rollback completed");
    assert_eq!(course.look(1), Verdict::Converged);
}

#[test]
fn a_one_shot_that_ended_well_is_done_and_one_that_failed_is_not_waited_for() {
    for (state, converges) in [(TaskState::Complete, true), (TaskState::Failed, false)] {
        let mut once = service(1, "once", 1);
        Arc::make_mut(&mut once.spec.task).restart.condition = RestartCondition::None;
        let mut course = Course::of(swarm(vec![once]));
        course.look(0);
        course.view.add(0, 1, 1, state).status.exit_code = Some(i32::from(!converges));
        course.look(1);
        let verdict = course.look(5);
        assert_eq!(verdict == Verdict::Converged, converges, "{verdict:?}");
        assert_eq!(
            matches!(verdict, Verdict::Failed(_)),
            !converges,
            "{verdict:?}"
        );
    }
}

#[test]
fn tasks_of_a_node_that_is_down_do_not_count() {
    let mut course = Course::of(swarm(vec![service(1, "web", 1)]));
    course.view.add(0, 1, 1, TaskState::Running);
    if let Some(node) = course.view.nodes.get_mut(&NodeId::from_bits(1)) {
        node.node.status.state = NodeState::Down;
    }
    assert_eq!(course.look(0), Verdict::GoOn);
    assert_eq!(course.reports()[0].done, 0);
    // It stays wanted there until its replacement is ready, which stands for the slot.
    course.view.add(0, 1, 2, TaskState::Preparing);
    assert_eq!(course.reports()[0].bars[0].state, TaskState::Preparing);
}

#[test]
fn a_service_that_is_being_rebalanced_is_waited_for() {
    let mut course = Course::of(swarm(vec![service(1, "web", 2)]));
    course.view.services[0].rebalance_since = Some(Timestamp(2));
    course.view.add(0, 1, 1, TaskState::Running);
    course.view.add(0, 2, 1, TaskState::Running);
    course.look(0);
    course.view.tasks[1].desired = TaskState::Shutdown;
    course.view.add(0, 2, 2, TaskState::Running).cause = Cause::Rebalanced;
    course.look(5);
    course.view.services[0].rebalance_since = None;
    course.look(1);
    course.look(5);
    course.check(expect![[r#"
        0 s: rebalancing: 0 moved, 2 out of 2 tasks run
        5 s: rebalancing: 1 moved, 2 out of 2 tasks run
        6 s: overall progress: 2 out of 2 tasks
        6 s: verify: Waiting 5 seconds to verify that tasks are stable...
        11 s: verify: Service web converged
        => converged
    "#]]);
}

#[test]
fn a_service_removed_meanwhile_ends_the_wait() {
    let mut course = Course::of(swarm(vec![service(1, "web", 1)]));
    course.look(0);
    let gone = course.view.services[0].id;
    course.view.services.clear();
    let report = assess(&course.view, gone, "web");
    let verdict = course.judge.look(&[report], course.began, 0);
    assert_eq!(
        verdict,
        Verdict::Failed("service web was removed".to_owned())
    );
}

#[test]
fn a_service_that_was_left_as_it_was_is_not_blamed_for_an_earlier_rollback() {
    for (unchanged, verdict) in [
        (
            false,
            Verdict::RolledBack("service web was rolled back: rollback completed".to_owned()),
        ),
        (true, Verdict::Converged),
    ] {
        let view = swarm(vec![service(1, "web", 1)]);
        let ids = [view.services[0].id];
        let how = Waiting {
            unchanged: if unchanged { &ids } else { &[] },
            ..Waiting::default()
        };
        let mut course = Course::how(view, how);
        course.view.add(0, 1, 1, TaskState::Running);
        course.update(UpdateState::RollbackCompleted, "rollback completed");
        assert_eq!(course.look(0), verdict);
    }
}

#[test]
fn what_failed_counts_for_more_than_what_was_rolled_back() {
    for fails in [false, true] {
        let mut course = Course::of(swarm(vec![service(1, "web", 1), service(2, "db", 1)]));
        course.view.add(0, 1, 1, TaskState::Running);
        course.update(UpdateState::RollbackCompleted, "rollback completed");
        assert_eq!(course.look(0), Verdict::GoOn, "the other is not there yet");
        let web = "service web was rolled back: rollback completed";
        let verdict = if fails {
            course.view.services.pop();
            let gone = Report {
                exists: false,
                ..assess(&course.view, skep_types::ServiceId::from_bits(2), "db")
            };
            course.judge.look(&[gone], course.began, 0)
        } else {
            course.view.add(1, 1, 1, TaskState::Running);
            course.look(61)
        };
        let expected = match fails {
            true => Verdict::Failed(format!("{web}; service db was removed")),
            false => Verdict::RolledBack(web.to_owned()),
        };
        match verdict {
            // That one came up is a reason to look again.
            Verdict::GoOn => assert_eq!(course.look(1), expected),
            verdict => assert_eq!(verdict, expected),
        }
    }
}

#[tokio::test]
async fn a_daemon_that_hangs_is_waited_for_no_longer_than_asked_for() {
    let name = format!("skep-hung-{}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    let _ = std::fs::remove_file(&path);
    // Connections to it are made, and that is all that happens.
    let hung = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let host = Host::parse(&path.display().to_string(), None).unwrap();
    let client = host.connect().await.unwrap();
    let how = Waiting {
        quiet: true,
        timeout: Some(Duration::from_millis(200)),
        ..Waiting::default()
    };
    let services = [(skep_types::ServiceId::from_bits(1), "web".to_owned())];
    let waiting = wait(&client, &services, how);
    let ended = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    std::fs::remove_file(&path).unwrap();
    drop(hung);
    let error = ended
        .expect("it waits for the daemon")
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "timed out after 200ms: the daemon has not answered yet; \
         the operation continues in background"
    );
}
