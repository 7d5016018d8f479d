//! `skep service rollout status`.

use crate::client::Host;
use crate::find;
use crate::human::ago;
use crate::json::update_state;
use crate::output::{now_ms, say};
use crate::progress::{Report, assess};
use crate::view::View;
use anyhow::Result;
use skep_proto::{id_bytes, pb};
use skep_types::{Service, TaskState};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep service rollout status web")]
pub struct Args {
    /// Name or id
    service: String,
}

/// Prints how far it is.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let view = super::super::read(&client).await?;
    let id = find::service(&view.services, &args.service)?.id;
    let request = pb::ReadRequest {
        services: true,
        tasks: true,
        nodes: true,
        task_services: vec![id_bytes(id)],
        ..Default::default()
    };
    let view = client.read(request).await?;
    let service = find::service(&view.services, &id.to_string())?;
    say!("{}", text(&view, service, now_ms()).join("\n"))?;
    Ok(())
}

fn text(view: &View, service: &Service, now: u64) -> Vec<String> {
    let name = &service.spec.name;
    let Report {
        done,
        total,
        bars,
        outdated,
        ..
    } = assess(view, service.id, name);
    let mut lines = vec![format!("Service:  {name}")];
    match &service.update_status {
        None => lines.push("State:    no update since its last change".to_owned()),
        Some(status) => {
            lines.push(format!("State:    {}", update_state(status.state)));
            lines.push(format!("Started:  {}", ago(status.started_at.0, now)));
            if let Some(at) = status.resumed_at {
                lines.push(format!("Resumed:  {}", ago(at.0, now)));
            }
            if let Some(at) = status.completed_at {
                lines.push(format!("Ended:    {}", ago(at.0, now)));
            }
            lines.push(format!("Message:  {}", status.message));
        }
    }
    lines.push(format!(
        "Tasks:    {done} of {total} run as the service says now, {outdated} still as before"
    ));
    let waiting = bars
        .iter()
        .filter(|bar| bar.state < TaskState::Running || bar.waits());
    for bar in waiting.filter(|bar| bar.state > TaskState::New) {
        let why = match bar.error.is_empty() {
            true => String::new(),
            false => format!(": {}", bar.error),
        };
        lines.push(format!("Waiting:  {} is {}{why}", bar.task, bar.state));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use skep_types::{Timestamp, UpdateState, UpdateStatus, Version};
    use std::sync::Arc;

    #[test]
    fn a_paused_update_tells_how_far_it_came_and_what_waits() {
        let mut web = testing::service(7, "web", 3);
        web.update_status = Some(UpdateStatus {
            state: UpdateState::Paused,
            started_at: Timestamp(1_000),
            completed_at: None,
            message: "update paused on request".to_owned(),
            resumed_at: Some(Timestamp(31_000)),
        });
        let mut view = testing::swarm(vec![web]);
        view.add(0, 1, 1, TaskState::Running);
        view.add(0, 2, 0, TaskState::Pending).status.error = "no suitable node".to_owned();
        let old = view.add(0, 3, 2, TaskState::Running);
        old.spec_version = Version(0);
        Arc::make_mut(&mut old.spec).container.image = "old".to_owned();
        let shown = text(&view, &view.services[0], 61_000).join("\n");
        assert_eq!(
            shown,
            "Service:  web\n\
             State:    paused\n\
             Started:  About a minute ago\n\
             Resumed:  30 seconds ago\n\
             Message:  update paused on request\n\
             Tasks:    1 of 3 run as the service says now, 1 still as before\n\
             Waiting:  web.2 is pending: no suitable node"
        );
        let new = &mut view.tasks[0].status;
        new.not_ready = true;
        new.error = "not ready: check exited with 1".to_owned();
        let shown = text(&view, &view.services[0], 61_000).join("\n");
        assert!(
            shown.contains("Waiting:  web.1 is running: not ready"),
            "{shown}"
        );
        view.services[0].update_status = None;
        let shown = text(&view, &view.services[0], 61_000);
        assert_eq!(shown[1], "State:    no update since its last change");
    }
}
