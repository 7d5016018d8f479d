//! What is drawn, and what is said to who leaves.

use super::Course;
use crate::progress::{Line, going_on, render};
use crate::style::Tone;
use crate::testing::{service, swarm};
use expect_test::expect;
use skep_types::{ServiceMode, TaskState};

fn draw(course: &Course, columns: usize, rows: usize) -> Vec<String> {
    let lines = render::lines(&course.reports(), &course.judge, (columns, rows));
    lines.iter().map(ToString::to_string).collect()
}

#[test]
fn a_global_service_has_a_bar_a_node() {
    let mut agent = service(1, "agent", 0);
    agent.spec.mode = ServiceMode::Global;
    let mut course = Course::of(swarm(vec![agent]));
    course.look(0);
    course.view.add(0, 0, 2, TaskState::Running);
    course.view.add(0, 0, 1, TaskState::Starting);
    course.look(1);
    let lines = draw(&course, 60, 24);
    course.said.push_str(&lines.join("\n"));
    course.check(expect![[r#"
        0 s: overall progress: waiting for new tasks
        1 s: overall progress: 1 out of 2 tasks
        overall progress: 1 out of 2 tasks
        one: starting  [===================================>      ]
        two: running   [=========================================>]"#]]);
}

#[test]
fn a_terminal_shows_bars_and_what_is_wrong() {
    let mut view = swarm(vec![service(1, "web", 3)]);
    view.add(0, 1, 1, TaskState::Preparing);
    let task = view.add(0, 3, 0, TaskState::Pending);
    task.status.error = "no suitable node\n(insufficient memory on 3 nodes)".to_owned();
    let mut course = Course::of(view);
    course.look(0);
    let draw = |columns, rows| draw(&course, columns, rows);
    expect![[r#"
        overall progress: 0 out of 3 tasks
        1/3: preparing [==============================>                   ]
        2/3: new       [=====>                                            ]
        3/3: no suitable node (insufficient memory on 3 nodes)"#]]
    .assert_eq(&draw(70, 6).join("\n"));
    let narrow = draw(24, 24);
    assert!(
        narrow.iter().all(|line| line.chars().count() <= 24),
        "{narrow:?}"
    );
    // Another line would move the first out of the terminal.
    assert_eq!(draw(70, 5), ["overall progress: 0 out of 3 tasks"]);
}

#[test]
fn of_several_services_each_has_a_line() {
    let services = (1..).zip(["db", "web", "worker", "cron"]);
    let services = services.map(|(n, name)| service(n, name, 2));
    let mut view = swarm(services.collect());
    view.add(0, 1, 1, TaskState::Running);
    view.add(0, 2, 1, TaskState::Running);
    view.add(1, 1, 1, TaskState::Preparing);
    let task = view.add(1, 2, 0, TaskState::Pending);
    task.status.error = "no suitable node\n(insufficient memory on 3 nodes)".to_owned();
    let mut course = Course::of(view);
    course.look(0);
    course.look(5);
    for _ in 0..3 {
        course.fails(2, 1, "exit code 3");
        course.look(1);
    }
    let draw = |rows| draw(&course, 70, rows).join("\n");
    let all = draw(24);
    expect![[r#"
        overall progress: 2 out of 8 tasks, 1 out of 4 services done
        worker  0/2  failed     worker.1 failed on two: exit code 3
        cron    0/2  new
        db      2/2  converged
        web     0/2  pending    web.2 is pending: no suitable node (insuffici…"#]]
    .assert_eq(&all);
    assert_eq!(draw(6), all, "they all find room");
    let lines = render::lines(&course.reports(), &course.judge, (70, 24));
    let failed = Line::from(all.lines().nth(1).unwrap_or_default().to_owned());
    assert_eq!(lines[1], failed.toned(13..19, Tone::Bad));
    expect![[r#"
        overall progress: 2 out of 8 tasks, 1 out of 4 services done
        worker  0/2  failed   worker.1 failed on two: exit code 3
        web     0/2  pending  web.2 is pending: no suitable node (insufficien…
        ... 2 more"#]]
    .assert_eq(&draw(5));
    expect![[r#"
        overall progress: 2 out of 8 tasks, 1 out of 4 services done
        ... 4 more"#]]
    .assert_eq(&draw(3));
    assert_eq!(draw(2).lines().count(), 1);
}

#[test]
fn who_leaves_is_told_what_goes_on_and_where_to_look() {
    let services: Vec<_> = (1..=8).map(|n| service(n, &format!("s{n}"), 1)).collect();
    let mut course = Course::of(swarm(services));
    let named: Vec<_> = course
        .reports()
        .iter()
        .map(|r| (r.id, r.name.clone()))
        .collect();
    assert!(course.judge.unfinished().is_empty(), "nothing is known yet");
    course.view.add(0, 1, 1, TaskState::Running);
    course.look(61);
    let unfinished = course.judge.unfinished();
    let said = going_on(&named, Some("shop"), &unfinished).join("\n");
    expect![[r#"
        Operation continuing in background.
          service s2 has 0 out of 1 tasks running
          service s3 has 0 out of 1 tasks running
          service s4 has 0 out of 1 tasks running
          service s5 has 0 out of 1 tasks running
          service s6 has 0 out of 1 tasks running
          and 2 more
        Use `skep stack ps shop` to check progress."#]]
    .assert_eq(&said);
    let said = going_on(&named[..2], None, &[]).join("\n");
    expect![[r#"
        Operation continuing in background.
        Use `skep service ps s1 s2` to check progress."#]]
    .assert_eq(&said);
    let said = going_on(&named[1..2], None, &unfinished).join("\n");
    expect![[r#"
        Operation continuing in background.
        Use `skep service ps s2` to check progress."#]]
    .assert_eq(&said);
}

#[test]
fn many_tasks_are_a_sum_alone() {
    let course = Course::of(swarm(vec![service(1, "web", 21)]));
    let lines = draw(&course, 80, 24);
    assert_eq!(lines, ["overall progress: 0 out of 21 tasks"]);
}
