//! Why a service is as it is.

use super::{Rank, Story, because, live, several};
use crate::human::{ago, timestamp};
use crate::progress::{Report, assess_run};
use crate::view::View;
use skep_proto::pb;
use skep_types::{NodeId, Outcome, Service, ServiceMode, Task, TaskState, UpdateState};

/// The story of a service, from a view with its tasks and all nodes, and with why its tasks
/// are where they are, if that was asked for. `now` is in milliseconds since the epoch.
pub fn story(view: &View, service: &Service, now: u64) -> Story {
    let name = &service.spec.name;
    let report = assess_run(view, service.id, name);
    let mut tasks: Vec<&Task> = view
        .tasks
        .iter()
        .filter(|task| task.service == service.id)
        .collect();
    tasks.sort_by_key(|task| (task.slot, task.node, task.id));
    let usual = format!("skep service ps {name}");
    let mut story = Story::new("service", name, state(service, &report), usual);
    wait(&mut story, service);
    match service.spec.mode.is_job() {
        true => job(&mut story, view, service, &tasks, now),
        false => lasting(&mut story, view, service, &report, &tasks, now),
    }
    story
}

fn state(service: &Service, report: &Report) -> String {
    let (done, total) = (report.done, report.total);
    let Some(run) = &report.run else {
        return match service.spec.mode.is_job() {
            true => "a job that has not run yet".to_owned(),
            false => format!("{done} of {total} tasks run as they should"),
        };
    };
    match run.end {
        None => format!("run {} has {done} of {total} tasks completed", run.number),
        Some(end) => format!("run {} has ended: {}", run.number, end.outcome),
    }
}

/// What holds the service up.
fn wait(story: &mut Story, service: &Service) {
    let text = &service.waits_for;
    if text.is_empty() {
        return;
    }
    let words = || text.split([' ', ',']);
    let mut on = service.spec.depends_on.iter().map(|on| &on.service);
    let on = on.find(|on| words().any(|word| word == **on));
    let next = match on {
        Some(on) if !text.contains("does not exist") => format!("skep why --type service {on}"),
        _ => "skep service ls".to_owned(),
    };
    story.add(Rank::Waits, format!("It {text}"), next);
}

/// A service whose tasks go on for ever.
fn lasting(
    story: &mut Story,
    view: &View,
    service: &Service,
    report: &Report,
    tasks: &[&Task],
    now: u64,
) {
    let name = &service.spec.name;
    if service.spec.mode == (ServiceMode::Replicated { replicas: 0 }) {
        story.add(
            Rank::Note,
            "It is to have no tasks: its replicas are 0",
            format!("skep service scale {name}=1"),
        );
    }
    let last = live::newest_end(tasks, |_| true);
    update(story, service, report, last, now);
    let waits = !service.waits_for.is_empty();
    let dead: Vec<String> = report
        .bars
        .iter()
        .filter(|bar| bar.dead)
        .map(|bar| bar.task.clone())
        .collect();
    if let Some(last) = last.filter(|_| !dead.is_empty()) {
        let sentence = format!("Not tried again, by the restart policy: {}", several(&dead));
        story.add(Rank::Wrong, sentence, live::after(last));
        story.add(Rank::Wrong, live::end(view, last, now), live::after(last));
    }
    live::tell_held(story, view, tasks, now);
    let homeless = live::tell(story, view, tasks, Rank::Coming);
    if dead.is_empty() && !waits {
        vacancies(story, view, name);
    }
    if report.global && report.total == 0 && !waits {
        let explain = format!("skep service explain {name}");
        story.add(Rank::Wrong, "No node is eligible for a task of it", explain);
    }
    if homeless || report.global && report.total == 0 {
        unfit(story, view, name);
    }
    let told = !dead.is_empty() || tasks.iter().any(|task| task.held_until().is_some());
    if let Some(last) = last.filter(|_| !told) {
        // One of an earlier template says nothing about this one.
        let counts = report.failed.iter().any(|attempt| attempt.id == last.id);
        let sentence = live::end(view, last, now);
        match counts && !report.is_up() {
            true => story.add(Rank::Wrong, sentence, live::after(last)),
            false => story.note(sentence),
        }
    }
    if let Some(moved) = report.rebalanced {
        let status = format!("skep service ps {name}");
        let sentence = format!("Its tasks are being spread evenly; moved so far: {moved}");
        story.add(Rank::Coming, sentence, status);
    }
    if !report.is_up() && story.is_well() {
        let (done, total) = (report.done, report.total);
        let sentence = match (total.saturating_sub(done), report.outdated) {
            (0, old) => format!("Of before, and still to go: {}", super::tasks(old)),
            (missing, _) => format!("Still to be made: {}", super::tasks(missing)),
        };
        story.add(Rank::Coming, sentence, format!("skep service ps {name}"));
    }
}

/// Where its last update is.
fn update(story: &mut Story, service: &Service, report: &Report, last: Option<&Task>, now: u64) {
    let Some(status) = &service.update_status else {
        return;
    };
    let name = &service.spec.name;
    let message = &status.message;
    let rollout = |what: &str| format!("skep service rollout {what} {name}");
    match status.state {
        UpdateState::Completed => {}
        UpdateState::Updating => {
            let old = super::tasks(report.outdated);
            let since = ago(status.started_at.0, now).to_lowercase();
            let sentence = format!("An update began {since}; still as before: {old}");
            story.add(Rank::Coming, sentence, rollout("status"));
        }
        UpdateState::Paused | UpdateState::RollbackPaused => {
            let what = match status.state {
                UpdateState::Paused => "update",
                _ => "rollback",
            };
            let next = match last {
                _ if message.contains("on request") => rollout("resume"),
                Some(last) => live::after(last),
                None => rollout("status"),
            };
            let sentence = format!("Its {what} is halted{}", because(message));
            story.add(Rank::Wrong, sentence, next);
        }
        UpdateState::RollbackStarted => {
            let sentence = format!("It is going back to what it was{}", because(message));
            story.add(Rank::Wrong, sentence, rollout("status"));
        }
        UpdateState::RollbackCompleted => {
            let at = status.completed_at.unwrap_or(status.started_at).0;
            let when = ago(at, now).to_lowercase();
            story.add(
                Rank::Note,
                format!("It went back to what it was {when}{}", because(message)),
                rollout("history"),
            );
        }
    }
}

/// Places that stay empty.
fn vacancies(story: &mut Story, view: &View, name: &str) {
    let mut whys: Vec<(&str, Vec<String>)> = Vec::new();
    for vacancy in &view.explained.vacancies {
        let place = match vacancy.slot {
            0 => {
                let node = skep_proto::id::<NodeId>(&vacancy.node, "explained.vacancies");
                node.map_or_else(|_| name.to_owned(), |node| view.hostname(node))
            }
            slot => format!("{name}.{slot}"),
        };
        match whys.iter_mut().find(|(why, _)| *why == vacancy.why) {
            Some((_, places)) => places.push(place),
            None => whys.push((&vacancy.why, vec![place])),
        }
    }
    for (why, places) in whys {
        let sentence = format!("Without a task: {}{}", several(&places), because(why));
        story.add(
            Rank::Wrong,
            sentence,
            format!("skep service explain {name}"),
        );
    }
}

/// How many nodes take no more task of it, and what the first say.
fn unfit(story: &mut Story, view: &View, name: &str) {
    let verdicts = &view.explained.verdicts;
    let unfit = verdicts
        .iter()
        .filter(|verdict| verdict.fit() == pb::Fit::Unfit);
    let said = unfit.map(|verdict| {
        let node = skep_proto::id::<NodeId>(&verdict.node, "explained.verdicts");
        let node = node.map_or_else(|_| "a node".to_owned(), |node| view.hostname(node));
        format!("{node} ({})", verdict.why.join(", "))
    });
    let said: Vec<String> = said.collect();
    if !said.is_empty() {
        let (no, all) = (said.len(), verdicts.len());
        let sentence = format!("{no} of {all} nodes take none: {}", several(&said));
        story.add(
            Rank::Wrong,
            sentence,
            format!("skep service explain {name}"),
        );
    }
}

/// A job: by its newest run.
fn job(story: &mut Story, view: &View, service: &Service, tasks: &[&Task], now: u64) {
    let name = &service.spec.name;
    if let Some(at) = view.dues.get(&service.id) {
        story.note(format!(
            "Its next run is {}, at {}",
            live::until(*at, now),
            timestamp(at.0)
        ));
    }
    let Some(run) = service.job.newest() else {
        if service.spec.schedule().is_none() && service.waits_for.is_empty() {
            story.add(
                Rank::Coming,
                "Its first run is still to begin",
                story.usual.clone(),
            );
        }
        return;
    };
    let of_run = tasks.iter().copied().filter(|task| task.run == run.number);
    let of_run: Vec<&Task> = of_run.collect();
    let last = live::newest_end(&of_run, |_| true);
    let Some(end) = run.end else {
        live::tell_held(story, view, &of_run, now);
        // A run that goes on is what is to be.
        if live::tell(story, view, &of_run, Rank::Note) {
            unfit(story, view, name);
        }
        if let Some(last) = last {
            let rank = match of_run.iter().any(|task| view.runs(task)) {
                true => Rank::Note,
                false => Rank::Wrong,
            };
            story.add(rank, live::end(view, last, now), live::after(last));
        }
        return;
    };
    let (when, done) = (ago(end.at.0, now).to_lowercase(), end.succeeded);
    if end.outcome == Outcome::Succeeded {
        story.note(format!("It ended {when} with {done} completed"));
        return;
    }
    let failed = end.failed;
    let sentence = format!("It ended {when} with {done} completed and {failed} failed");
    let next = match last {
        Some(last) => live::after(last),
        None => format!("skep service runs {name}"),
    };
    story.add(Rank::Wrong, sentence, next.clone());
    if let Some(last) = last {
        story.add(Rank::Wrong, live::end(view, last, now), next);
    }
}

/// The task of a service that has this place: its slot, or its node by host name or id. A
/// live one, or the newest.
pub fn task_at<'a>(view: &'a View, service: &Service, place: &str) -> Option<&'a Task> {
    let at = |task: &&Task| match (task.slot.0, task.node) {
        (0, Some(node)) => view.hostname(node) == place || node.to_string() == place,
        (0, None) => false,
        (slot, _) => slot.to_string() == place,
    };
    let mine = view.tasks.iter().filter(|task| task.service == service.id);
    mine.filter(at).max_by_key(|task| {
        let lives = task.is_live() && !view.is_away(task);
        (
            lives,
            task.status.state == TaskState::Running,
            task.meta.created_at,
        )
    })
}
