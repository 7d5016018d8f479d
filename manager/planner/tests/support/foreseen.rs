//! What is foreseen of a line, and what then comes of it.

use super::World;
use skep_manager_planner::{Foreseen, foresee};
use skep_types::{NodeId, ServiceId, Slot};
use std::collections::BTreeSet;
use std::fmt::Write as _;

impl World {
    /// The outcome of a line that is not carried out.
    pub fn foresee(&mut self, line: &str) -> Result<Foreseen, String> {
        self.held_back = Some(Vec::new());
        self.line(line);
        let actions = self.held_back.take().unwrap_or_default();
        let mut ids = self.ids.clone();
        foresee(self.store.state(), self.now, &mut ids, &actions, || true)
            .map_err(|error| error.to_string())
    }

    pub(super) fn show_foreseen(&mut self, line: &str) {
        let foreseen = match self.foresee(line) {
            Ok(foreseen) => foreseen,
            Err(refused) => return self.out.push_str(&format!("refused: {refused}\n")),
        };
        let mut out = std::mem::take(&mut self.out);
        let Foreseen {
            steps,
            kept,
            waiting,
            updates,
            goes_on,
        } = foreseen;
        for step in steps {
            let name = self.place(step.service, step.slot);
            let node = self.hostname_of(step.node);
            let _ = writeln!(
                out,
                "+{:?} {name} {} {node}: {}",
                step.after,
                if step.starts { "starts on" } else { "stops on" },
                step.cause
            );
        }
        for wait in waiting {
            let name = self.place(wait.service, wait.slot);
            let _ = writeln!(out, "{name} waits: {}", wait.why);
        }
        for (_, status) in updates {
            let message = status.message.split(" of task ").next().unwrap_or_default();
            let _ = writeln!(out, "{:?}: {message}", status.state);
        }
        let end = if goes_on { ", and so on" } else { "" };
        let _ = writeln!(out, "{kept} kept{end}");
        self.out = out;
    }

    fn place(&self, service: ServiceId, slot: Slot) -> String {
        let service = self.store.state().service(service);
        let name = service.map_or("gone", |service| &service.spec.name);
        format!("{name}.{}", slot.0)
    }

    fn hostname_of(&self, node: NodeId) -> String {
        let node = self.store.state().node(node);
        node.map_or("gone".to_owned(), |node| node.description.hostname.clone())
    }

    /// Where tasks of all services run that are to.
    pub fn places(&self) -> BTreeSet<(ServiceId, Slot, Option<NodeId>)> {
        let tasks = self.store.state().tasks().filter(|task| task.is_live());
        tasks
            .map(|task| (task.service, task.slot, task.node))
            .collect()
    }
}
