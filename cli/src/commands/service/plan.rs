//! `skep service plan`.

use super::update::{Asked, to_read};
use crate::changes::changes;
use crate::client::Host;
use crate::error::CliError;
use crate::find;
use crate::json;
use crate::output::say;
use crate::style::Tone;
use crate::table::{FormatArgs, Table};
use crate::view::View;
use anyhow::Result;
use serde_json::{Value, json};
use skep_proto::pb::change::Change;
use skep_proto::{id, id_bytes, pb};
use skep_types::{NodeId, Service, ServiceId, UpdateStatus};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  skep service plan --image nginx:1.29 web",
    after_help = "Exit code: 0 if nothing would change, 2 if something would, 1 if that cannot be said"
)]
pub struct Args {
    #[command(flatten)]
    form: FormatArgs,
    #[command(flatten)]
    asked: Asked,
}

/// Asks the managers what would come of the change.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let Args { form, asked } = args;
    asked.check()?;
    let client = host.connect().await?;
    let request = pb::ReadRequest {
        nodes: true,
        ..to_read()
    };
    let view = client.read(request).await?;
    let service = find::service(&view.services, &asked.service)?;
    let (change, after) = change(&asked, &view, service)?;
    let told = changes(
        &json::service_spec(&service.spec),
        &json::service_spec(&after.spec),
    );
    let foreseen = client.foresee(change).await?;
    let acts = !told.is_empty() || !foreseen.steps.is_empty() || !foreseen.updates.is_empty();
    if form.format.as_deref() == Some("json") {
        say!("{}", object(&view, &told, &foreseen)?)?;
    } else if form.format.is_some() || form.quiet {
        steps(&view, &foreseen)?.print(&form)?;
    } else {
        print(&view, service, &told, &foreseen, &form)?;
    }
    match acts {
        true => Err(CliError::WouldChange.into()),
        false => Ok(()),
    }
}

/// The change, and the service as it leaves it, as far as that is known here.
fn change(asked: &Asked, view: &View, service: &Service) -> Result<(Change, Service)> {
    let mut after = service.clone();
    if asked.rollback {
        return Ok((Change::RollbackService(id_bytes(service.id)), after));
    }
    asked.edit(view, service, &mut after.spec)?;
    let update = pb::UpdateService {
        id: id_bytes(service.id),
        version: service.meta.version.0,
        spec: Some((&after.spec).into()),
    };
    Ok((Change::UpdateService(update), after))
}

fn print(
    view: &View,
    service: &Service,
    told: &[String],
    foreseen: &pb::ForeseeResponse,
    form: &FormatArgs,
) -> Result<()> {
    let name = &service.spec.name;
    if !told.is_empty() {
        say!("{name} would change:")?;
        for line in told {
            say!("  {line}")?;
        }
        say!("")?;
    }
    if foreseen.steps.is_empty() {
        say!("{name}: no task would start or stop")?;
    } else {
        steps(view, foreseen)?.print(form)?;
        say!("")?;
        say!("Times are the earliest: pulls, starts and health checks come on top.")?;
    }
    match foreseen.kept {
        0 => {}
        1 => say!("1 task goes on as it is.")?,
        kept => say!("{kept} tasks go on as they are.")?,
    }
    for wait in &foreseen.waits {
        let task = task(view, &wait.service, wait.slot, &wait.node)?;
        say!("{task} would wait: {}", wait.why)?;
    }
    for update in &foreseen.updates {
        if let Some(status) = update.status.clone() {
            let status: UpdateStatus = status.try_into()?;
            say!("In the end: {}", status.message)?;
        }
    }
    if foreseen.goes_on {
        say!("It would go on after that; so far it was looked into.")?;
    }
    Ok(())
}

/// All of it, for programs.
fn object(view: &View, told: &[String], foreseen: &pb::ForeseeResponse) -> Result<Value> {
    let step = |step: &pb::ForeseenStep| -> Result<Value> {
        Ok(json!({
            "AfterMs": step.after_ms,
            "Task": task(view, &step.service, step.slot, &step.node)?,
            "Starts": step.starts,
            "Node": view.hostname(id(&step.node, "foresee.step.node")?),
            "Cause": step.cause,
        }))
    };
    let wait = |wait: &pb::ForeseenWait| -> Result<Value> {
        Ok(json!({
            "Task": task(view, &wait.service, wait.slot, &wait.node)?,
            "Why": wait.why,
        }))
    };
    let updates = foreseen.updates.iter().filter_map(|u| u.status.clone());
    let update = |status: pb::UpdateStatus| -> Result<Value> {
        let status: UpdateStatus = status.try_into()?;
        let state = json::update_state(status.state);
        Ok(json!({"State": state, "Message": status.message}))
    };
    Ok(json!({
        "Changes": told,
        "Steps": foreseen.steps.iter().map(step).collect::<Result<Vec<_>>>()?,
        "Kept": foreseen.kept,
        "Waiting": foreseen.waits.iter().map(wait).collect::<Result<Vec<_>>>()?,
        "Updates": updates.map(update).collect::<Result<Vec<_>>>()?,
        "GoesOn": foreseen.goes_on,
    }))
}

fn steps(view: &View, foreseen: &pb::ForeseeResponse) -> Result<Table> {
    let mut table = Table::new(
        &[
            ("WHEN", "When"),
            ("TASK", "Task"),
            ("WHAT", "What"),
            ("NODE", "Node"),
            ("CAUSE", "Cause"),
        ],
        "Task",
    )
    .toned(&[("What", what_tone)]);
    for step in &foreseen.steps {
        let node: NodeId = id(&step.node, "foresee.step.node")?;
        table.row([
            ("When", when(step.after_ms)),
            ("Task", task(view, &step.service, step.slot, &step.node)?),
            (
                "What",
                if step.starts { "starts" } else { "stops" }.to_owned(),
            ),
            ("Node", view.hostname(node)),
            ("Cause", step.cause.clone()),
        ]);
    }
    Ok(table)
}

fn what_tone(what: &str) -> Option<Tone> {
    Some(match what {
        "starts" => Tone::Good,
        _ => Tone::Bad,
    })
}

/// `web.3`, or `web.n1` for one of a global service.
fn task(view: &View, service: &[u8], slot: u32, node: &[u8]) -> Result<String> {
    let service: ServiceId = id(service, "foresee.service")?;
    let known = view.services.iter().find(|known| known.id == service);
    let name = known.map_or_else(|| service.to_string(), |known| known.spec.name.clone());
    Ok(match slot {
        0 => format!("{name}.{}", view.hostname(id(node, "foresee.node")?)),
        slot => format!("{name}.{slot}"),
    })
}

/// `now`, `+5s`, `+1m30s`.
fn when(after_ms: u64) -> String {
    let seconds = after_ms.div_ceil(1000);
    match (seconds / 60, seconds % 60) {
        (0, 0) => "now".to_owned(),
        (0, seconds) => format!("+{seconds}s"),
        (minutes, 0) => format!("+{minutes}m"),
        (minutes, seconds) => format!("+{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let times = [0, 1, 5000, 60_000, 90_500].map(when);
        assert_eq!(times, ["now", "+1s", "+5s", "+1m", "+1m31s"]);
    }
}
