//! Waiting for services that wait for others.

use super::Course;
use crate::progress::judge::Verdict;
use crate::progress::render;
use crate::testing::{service, swarm};
use expect_test::expect;
use skep_types::{Dependency, DependencyCondition, Service, TaskState};

/// `web`, which waits for `db`.
fn web() -> Service {
    let mut web = service(2, "web", 1);
    web.spec.depends_on = vec![Dependency {
        service: "db".to_owned(),
        condition: DependencyCondition::Healthy,
        optional: false,
    }];
    web.waits_for = "waits for db to be healthy".to_owned();
    web
}

fn waiting(services: Vec<Service>) -> Course {
    let mut course = Course::of(swarm(services));
    let last = course.view.services.len() - 1;
    course.view.add(last, 1, 1, TaskState::Ready);
    course
}

#[test]
fn what_waits_comes_when_the_other_is_there_however_long_it_takes() {
    let mut course = waiting(vec![service(1, "db", 1), web()]);
    assert_eq!(course.look(0), Verdict::GoOn);
    course.view.add(0, 1, 1, TaskState::Starting);
    assert_eq!(course.look(3_600), Verdict::GoOn);
    let draw = render::lines(&course.reports(), &course.judge, (80, 24));
    let draw: Vec<String> = draw.iter().map(ToString::to_string).collect();
    expect![[r#"
        overall progress: 0 out of 2 tasks, 0 out of 2 services done
        db   0/1  starting
        web  0/1  waiting   waits for db to be healthy"#]]
    .assert_eq(&draw.join("\n"));
    for task in &mut course.view.tasks {
        task.status.state = TaskState::Running;
    }
    course.view.services[1].waits_for.clear();
    assert_eq!(course.look(1), Verdict::Converged);
    course.check(expect![[r#"
        0 s: db: 0 out of 1 tasks
        0 s: web: 0 out of 1 tasks
        0 s: web waits for db to be healthy
        3601 s: db: 1 out of 1 tasks
        3601 s: web: 1 out of 1 tasks
        3601 s: verify: Service db converged
        3601 s: verify: Service web converged
        => converged
    "#]]);
}

#[test]
fn what_waits_for_something_that_failed_has_failed() {
    let mut course = waiting(vec![service(1, "db", 1), web()]);
    course.look(0);
    for _ in 0..3 {
        course.fails(0, 1, "exit code 3");
    }
    assert_eq!(course.look(1), Verdict::GoOn);
    assert!(matches!(course.look(1), Verdict::Failed(_)));
    course.check(expect![[r#"
        0 s: db: 0 out of 1 tasks
        0 s: web: 0 out of 1 tasks
        0 s: web waits for db to be healthy
        1 s: db.1 failed on two: exit code 3
        1 s: db.1 failed on two: exit code 3
        1 s: db.1 failed on two: exit code 3
        => failed: service db does not come up after 3 attempts: db.1 failed on two: exit code 3; service web waits for db to be healthy
    "#]]);
}

#[test]
fn what_is_not_waited_for_here_has_ten_minutes() {
    let mut course = waiting(vec![web()]);
    course.look(0);
    assert_eq!(course.look(599), Verdict::GoOn);
    assert!(matches!(course.look(1), Verdict::Failed(_)));
    let draw = render::lines(&course.reports(), &course.judge, (60, 24));
    let draw: Vec<String> = draw.iter().map(ToString::to_string).collect();
    course.said.push_str(&draw.join("\n"));
    course.check(expect![[r#"
        0 s: overall progress: 0 out of 1 tasks
        0 s: web waits for db to be healthy
        => failed: service web waits for db to be healthy
        overall progress: 0 out of 1 tasks
        web waits for db to be healthy
        1/1: ready     [==============================>           ]"#]]);
}
