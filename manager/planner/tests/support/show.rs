//! What a scenario prints.

use super::World;
use skep_manager_planner::{NodeUse, Subject, explain};
use skep_types::{BlockOwner, ByteCount, NanoCpus, NodeState, Task, TaskState, Timestamp};
use std::collections::BTreeMap;
use std::fmt::Write as _;

impl World {
    pub(super) fn show(&mut self, words: &[&str]) {
        let mut out = std::mem::take(&mut self.out);
        match words[0] {
            "say" => {
                let _ = writeln!(out, "-- {}", words[1..].join(" "));
            }
            "ps" => self.show_tasks(&mut out, words[1]),
            "runs" => self.show_runs(&mut out, words[1]),
            "count" => self.show_counts(&mut out, words[1]),
            "images" => self.show_images(&mut out, words[1]),
            "revisions" => self.show_revisions(&mut out, words[1]),
            "nodes" => self.show_nodes(&mut out),
            "explain" => self.explain_service(&mut out, words[1]),
            "given" => self.show_given(&mut out, words[1]),
            "explain-node" => self.explain_node(&mut out, words[1]),
            "services" => self.show_services(&mut out),
            "rest" => {
                let services = self.store.state().services();
                let rest = services.filter(|service| self.settled.rests(service.id));
                let names: Vec<&str> = rest.map(|service| &*service.spec.name).collect();
                let _ = writeln!(out, "rest: {}", names.join(" "));
            }
            "secrets" => self.show_secrets(&mut out),
            "contents" => self.show_contents(&mut out, words[1]),
            "networks" => self.show_networks(&mut out),
            "stacks" => self.show_stacks(&mut out),
            "addresses" => self.show_addresses(&mut out, words[1]),
            "why" => {
                let mut reasons: Vec<String> = Vec::new();
                for (task, reason) in &self.last.explanations {
                    let task = self.store.state().task(*task);
                    let name = task.map(|task| task.name()).unwrap_or_default();
                    reasons.push(format!("{name}: {reason}"));
                }
                reasons.sort();
                for reason in reasons.iter().take(5) {
                    let _ = writeln!(out, "{reason}");
                }
                if reasons.len() > 5 {
                    let _ = writeln!(out, "and {} more", reasons.len() - 5);
                }
            }
            "wakes" => {
                let at = self.last.wake_at.map_or(0, |Timestamp(at)| at);
                let _ = writeln!(out, "wakes in {} ms", at.saturating_sub(self.now.0));
            }
            other => panic!("scenario line {other}"),
        }
        self.out = out;
    }

    pub(super) fn hostname(&self, task: &Task) -> String {
        task.node.map_or_else(
            || "-".to_owned(),
            |node| match self.store.state().node(node) {
                Some(node) => node.description.hostname.clone(),
                None => "gone".to_owned(),
            },
        )
    }

    fn explain_service(&self, out: &mut String, service: &str) {
        let state = self.store.state();
        let of = Subject::Service(state.service_named(service).unwrap().id);
        let explained = explain(state, self.now, of);
        for verdict in &explained.verdicts {
            let node = &state.node(verdict.node).unwrap().description.hostname;
            let (fit, tasks, why) = (verdict.fit, verdict.tasks, verdict.why.join("; "));
            let _ = writeln!(out, "{node} {fit:?} {tasks} {why}");
        }
        for vacancy in &explained.vacancies {
            let node = vacancy.node.and_then(|node| state.node(node));
            let place = match node {
                Some(node) => node.description.hostname.clone(),
                None => vacancy.slot.unwrap().0.to_string(),
            };
            let _ = writeln!(out, "empty {service}@{place}: {}", vacancy.why);
        }
    }

    fn explain_node(&self, out: &mut String, node: &str) {
        let state = self.store.state();
        let explained = explain(state, self.now, Subject::Node(self.node_named(node)));
        for given in &explained.nodes {
            let NodeUse {
                node: _,
                cpu_reserved: NanoCpus(cpu),
                memory_reserved: ByteCount(memory),
                tasks,
                ports,
                generic,
            } = given;
            let kinds = generic
                .iter()
                .map(|(kind, given)| format!(" {kind}={given}"));
            let kinds: String = kinds.collect();
            let _ = writeln!(out, "{node} {cpu} {memory} {tasks} {ports:?}{kinds}");
        }
        for verdict in &explained.verdicts {
            let service = &state.service(verdict.service).unwrap().spec.name;
            let (fit, tasks, why) = (verdict.fit, verdict.tasks, verdict.why.join("; "));
            let _ = writeln!(out, "{service} {fit:?} {tasks} {why}");
        }
    }

    fn show_tasks(&self, out: &mut String, service: &str) {
        let mut tasks: Vec<&Task> = self
            .store
            .state()
            .tasks()
            .map(|task| &**task)
            .filter(|task| &*task.service_name == service)
            .collect();
        tasks.sort_by_key(|task| {
            let newest = std::cmp::Reverse((task.meta.created_at, task.is_live()));
            (
                task.slot,
                task.node.filter(|_| task.slot.0 == 0),
                newest,
                task.id,
            )
        });
        for task in tasks {
            let slot = match task.slot.0 {
                0 => String::new(),
                slot => format!(".{slot}"),
            };
            let _ = write!(
                out,
                "{service}{slot} {} {} -> {}",
                self.hostname(task),
                task.status.state,
                task.desired,
            );
            if !task.spec.container.image.is_empty() {
                let _ = write!(out, " image {}", task.spec.container.image);
            }
            if !task.status.error.is_empty() {
                let _ = write!(out, ": {}", task.status.error);
            }
            out.push('\n');
        }
    }

    /// Images of the tasks that run, and how many there are of each.
    fn show_images(&self, out: &mut String, service: &str) {
        let mut images: BTreeMap<&str, u32> = BTreeMap::new();
        let tasks = self.store.state().tasks();
        for task in tasks.filter(|task| &*task.service_name == service) {
            if task.is_live() && task.status.state == TaskState::Running {
                *images.entry(&task.spec.container.image).or_default() += 1;
            }
        }
        let images: Vec<String> = images
            .iter()
            .map(|(image, count)| format!("{count} {image}"))
            .collect();
        let _ = writeln!(out, "{}", images.join(", "));
    }

    /// What the service was, oldest first, and is.
    fn show_revisions(&self, out: &mut String, service: &str) {
        let service = self.store.state().service_named(service).unwrap();
        let past = service.past.iter().map(|past| (&past.revision, &past.spec));
        for (revision, spec) in past.chain([(&service.revision, &service.spec)]) {
            let back = revision
                .returns_to
                .map_or(String::new(), |to| format!(" as {to}"));
            let outcome = revision
                .outcome
                .map_or(String::new(), |outcome| format!(" {outcome:?}"));
            let image = &spec.task.container.image;
            let _ = writeln!(out, "{} {image}{back}{outcome}", revision.number);
        }
    }

    /// The runs of a job, and of open ones how many tasks of each state there are.
    fn show_runs(&self, out: &mut String, name: &str) {
        let Some(service) = self.store.state().service_named(name) else {
            let _ = writeln!(out, "{name} is gone");
            return;
        };
        for run in &service.job.runs {
            let _ = write!(out, "run {} {}", run.number, run.cause);
            if let Some(Timestamp(due)) = run.due_at {
                let minute = due / 60_000 % (24 * 60);
                let _ = write!(out, " {:02}:{:02}", minute / 60, minute % 60);
            }
            match run.end {
                Some(end) => {
                    let took = end.at.since(run.started_at);
                    let _ = write!(
                        out,
                        " {} after {took:?}: {} done, {} failed",
                        end.outcome, end.succeeded, end.failed
                    );
                    if let Some(code) = end.exit_code {
                        let _ = write!(out, ", exit code {code}");
                    }
                }
                None => {
                    let mut states: BTreeMap<TaskState, usize> = BTreeMap::new();
                    let tasks = self.store.state().tasks_of(service.id);
                    for task in tasks.filter(|task| task.run == run.number) {
                        *states.entry(task.status.state).or_default() += 1;
                    }
                    let states: Vec<String> = states
                        .iter()
                        .map(|(state, count)| format!("{count} {state}"))
                        .collect();
                    let _ = write!(out, " open: {}", states.join(", "));
                }
            }
            out.push('\n');
        }
        if service.job.skipped > 0 {
            let _ = writeln!(out, "{} passed over", service.job.skipped);
        }
    }

    /// Live tasks by node.
    fn show_counts(&self, out: &mut String, service: &str) {
        for node in self.store.state().nodes() {
            let live = self
                .store
                .state()
                .tasks_on(node.id)
                .filter(|task| &*task.service_name == service && task.is_live())
                .count();
            let _ = writeln!(out, "{}: {live}", node.description.hostname);
        }
    }

    fn show_nodes(&self, out: &mut String) {
        for node in self.store.state().nodes() {
            let state = match node.status.state {
                NodeState::Unknown => "unknown",
                NodeState::Down => "down",
                NodeState::Ready => "ready",
                NodeState::Disconnected => "disconnected",
            };
            let mesh = node
                .mesh
                .map_or_else(|| "-".to_owned(), |mesh| mesh.to_string());
            let _ = writeln!(
                out,
                "{} {state} {mesh} {}",
                node.description.hostname, node.status.message
            );
        }
    }

    fn show_services(&self, out: &mut String) {
        for service in self.store.state().services() {
            let _ = write!(out, "{}", service.spec.name);
            for port in &service.endpoint.ports {
                let _ = write!(out, " {}->{}", port.published, port.target);
            }
            for vip in &service.endpoint.vips {
                let network = self.store.state().network(vip.network).unwrap();
                let _ = write!(out, " {}={}", network.spec.name, vip.address);
            }
            if let Some(status) = &service.update_status {
                // The task named in a failure has a random id.
                let message = status.message.split(" of task ").next().unwrap_or_default();
                let _ = write!(out, " [{:?}: {message}]", status.state);
            }
            if service.rebalance_since.is_some() {
                out.push_str(" rebalancing");
            }
            if !service.waits_for.is_empty() {
                let _ = write!(out, " ({})", service.waits_for);
            }
            out.push('\n');
        }
    }

    fn show_networks(&self, out: &mut String) {
        for network in self.store.state().networks() {
            let subnets: Vec<String> = network.subnets.iter().map(|s| s.to_string()).collect();
            let _ = writeln!(out, "{} {}", network.spec.name, subnets.join(" "));
            for (block, owner) in &network.blocks {
                let owner = match owner {
                    BlockOwner::Services => "services".to_owned(),
                    BlockOwner::Node(id) => match self.store.state().node(*id) {
                        Some(node) => node.description.hostname.clone(),
                        None => "gone".to_owned(),
                    },
                };
                let _ = writeln!(out, "  {block} {owner}");
            }
        }
    }

    fn show_addresses(&self, out: &mut String, service: &str) {
        for task in self.store.state().tasks() {
            if &*task.service_name != service || !task.is_live() {
                continue;
            }
            let mut texts: Vec<String> = task
                .attachments
                .iter()
                .map(|a| {
                    let network = self.store.state().network(a.network).unwrap();
                    format!("{}={}", network.spec.name, a.address)
                })
                .collect();
            texts.sort();
            let _ = writeln!(
                out,
                "{} {} {}",
                task.name(),
                self.hostname(task),
                texts.join(" ")
            );
        }
    }
}
