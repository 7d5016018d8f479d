//! What managers foresee of a change, for people and for programs.

use crate::json;
use crate::output::say;
use crate::style::Tone;
use crate::table::{FormatArgs, Table};
use crate::view::View;
use anyhow::Result;
use serde_json::{Value, json};
use skep_proto::{id, pb};
use skep_types::{NodeId, ServiceId, UpdateStatus};

/// What they answered, and the swarm as it is.
#[derive(Debug, Clone, Copy)]
pub struct Foreseen<'a> {
    /// Services and nodes as they are.
    pub view: &'a View,
    /// The answer.
    pub answer: &'a pb::ForeseeResponse,
}

impl Foreseen<'_> {
    /// What starts and stops, in order.
    pub fn steps(&self) -> Result<Table> {
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
        for step in &self.answer.steps {
            let node: NodeId = id(&step.node, "foresee.step.node")?;
            table.row([
                ("When", when(step.after_ms)),
                ("Task", self.task(&step.service, step.slot, &step.node)?),
                (
                    "What",
                    if step.starts { "starts" } else { "stops" }.to_owned(),
                ),
                ("Node", self.view.hostname(node)),
                ("Cause", step.cause.clone()),
            ]);
        }
        Ok(table)
    }

    /// Tells what tasks would do. `of`: what is changed; `kept`: tasks that go on.
    pub fn tell(&self, of: &str, kept: u64, form: &FormatArgs) -> Result<()> {
        if self.answer.steps.is_empty() {
            say!("{of}: no task would start or stop")?;
        } else {
            self.steps()?.print(form)?;
            say!("")?;
            say!("Times are the earliest: pulls, starts and health checks come on top.")?;
        }
        match kept {
            0 => {}
            1 => say!("1 task goes on as it is.")?,
            kept => say!("{kept} tasks go on as they are.")?,
        }
        for wait in &self.answer.waits {
            let task = self.task(&wait.service, wait.slot, &wait.node)?;
            say!("{task} would wait: {}", wait.why)?;
        }
        Ok(())
    }

    /// Tells how updates would end, and whether that is all. `named`: of several services.
    pub fn tell_end(&self, named: bool) -> Result<()> {
        for update in &self.answer.updates {
            if let Some(status) = update.status.clone() {
                let status: UpdateStatus = status.try_into()?;
                match named {
                    true => say!(
                        "In the end: {}: {}",
                        self.service(&update.service)?,
                        status.message
                    )?,
                    false => say!("In the end: {}", status.message)?,
                }
            }
        }
        if self.answer.goes_on {
            say!("It would go on after that; so far it was looked into.")?;
        }
        Ok(())
    }

    /// What tasks would do, for programs. `object`: what else there is to say.
    pub fn json(&self, mut object: Value, kept: u64) -> Result<Value> {
        let step = |step: &pb::ForeseenStep| -> Result<Value> {
            let node = id(&step.node, "foresee.step.node")?;
            Ok(json!({
                "AfterMs": step.after_ms,
                "Task": self.task(&step.service, step.slot, &step.node)?,
                "Starts": step.starts,
                "Node": self.view.hostname(node),
                "Cause": step.cause,
            }))
        };
        let wait = |wait: &pb::ForeseenWait| -> Result<Value> {
            Ok(json!({
                "Task": self.task(&wait.service, wait.slot, &wait.node)?,
                "Why": wait.why,
            }))
        };
        let update = |update: &pb::ForeseenUpdate| -> Option<Result<Value>> {
            let told = |status: pb::UpdateStatus| {
                let status: UpdateStatus = status.try_into()?;
                let state = json::update_state(status.state);
                let service = self.service(&update.service)?;
                Ok(json!({"Service": service, "State": state, "Message": status.message}))
            };
            update.status.clone().map(told)
        };
        let all = self.answer;
        object["Steps"] = all.steps.iter().map(step).collect::<Result<_>>()?;
        object["Kept"] = json!(kept);
        object["Waiting"] = all.waits.iter().map(wait).collect::<Result<_>>()?;
        let updates = all.updates.iter().filter_map(update);
        object["Updates"] = updates.collect::<Result<_>>()?;
        object["GoesOn"] = json!(all.goes_on);
        Ok(object)
    }

    /// Name of a service, also of one that is not there yet.
    fn service(&self, bytes: &[u8]) -> Result<String> {
        let service: ServiceId = id(bytes, "foresee.service")?;
        let known = self.view.services.iter().find(|known| known.id == service);
        if let Some(known) = known {
            return Ok(known.spec.name.clone());
        }
        let made = self.answer.objects.iter().find(|made| made.id == bytes);
        Ok(made.map_or_else(|| service.to_string(), |made| made.name.clone()))
    }

    /// `web.3`, or `web.n1` for one of a global service.
    fn task(&self, service: &[u8], slot: u32, node: &[u8]) -> Result<String> {
        let name = self.service(service)?;
        Ok(match slot {
            0 => format!("{name}.{}", self.view.hostname(id(node, "foresee.node")?)),
            slot => format!("{name}.{slot}"),
        })
    }
}

fn what_tone(what: &str) -> Option<Tone> {
    Some(match what {
        "starts" => Tone::Good,
        _ => Tone::Bad,
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
