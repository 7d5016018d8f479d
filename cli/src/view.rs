//! One consistent view of the swarm, in domain types.

use anyhow::{Context as _, Result};
use skep_proto::{id, pb, task_with_spec};
use skep_types::{
    Config, JobRun, Network, Node, NodeId, NodeState, Secret, Service, ServiceId, ServiceMode,
    Slot, Stack, Task, TaskSpec, TaskState, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a manager answered. Kinds that were not asked for are empty.
#[derive(Debug, Default)]
pub struct View {
    /// The cluster's settings and tokens.
    pub cluster: Option<pb::ClusterView>,
    /// Nodes by id.
    pub nodes: BTreeMap<NodeId, NodeView>,
    /// Services, by name.
    pub services: Vec<Service>,
    /// Tasks.
    pub tasks: Vec<Task>,
    /// Networks, by name.
    pub networks: Vec<Network>,
    /// Secrets, by name, without their data.
    pub secrets: Vec<Secret>,
    /// Configs, by name.
    pub configs: Vec<Config>,
    /// Stacks that were deployed as one, by name.
    pub stacks: Vec<Stack>,
    /// When jobs with a schedule run next.
    pub dues: BTreeMap<ServiceId, Timestamp>,
    /// Why tasks are where they are.
    pub explained: pb::Explained,
}

/// A node, and what the leader knows of it as a manager.
#[derive(Debug)]
pub struct NodeView {
    /// The node.
    pub node: Node,
    /// Whether it answers as a manager.
    pub reachability: pb::Reachability,
    /// It leads.
    pub leader: bool,
}

impl View {
    pub(crate) fn decode(answer: pb::ReadResponse) -> Result<Self> {
        let pb::ReadResponse {
            version: _,
            cluster,
            nodes,
            services,
            tasks,
            specs,
            networks,
            secrets,
            configs,
            explained,
            dues,
            stacks,
            asked: _,
        } = answer;
        let mut shared: BTreeMap<(ServiceId, u64), Arc<TaskSpec>> = BTreeMap::new();
        for entry in specs {
            let service = id(&entry.service, "specs.service")?;
            let spec = entry.spec.context("field specs.spec is missing")?;
            shared.insert((service, entry.spec_version), Arc::new(spec.try_into()?));
        }
        let mut view = View {
            cluster,
            explained: explained.unwrap_or_default(),
            ..View::default()
        };
        for due in dues {
            let service = id(&due.service, "dues.service")?;
            view.dues.insert(service, Timestamp(due.at_ms));
        }
        for entry in nodes {
            let reachability = entry.reachability();
            let node: Node = entry
                .node
                .context("field nodes.node is missing")?
                .try_into()?;
            let leader = entry.leader;
            view.nodes.insert(
                node.id,
                NodeView {
                    node,
                    reachability,
                    leader,
                },
            );
        }
        for task in tasks {
            let service = id(&task.service, "tasks.service")?;
            let spec = shared.get(&(service, task.spec_version)).cloned();
            view.tasks.push(task_with_spec(task, spec)?);
        }
        view.services = decode(services)?;
        view.networks = decode(networks)?;
        view.secrets = decode(secrets)?;
        view.configs = decode(configs)?;
        view.stacks = decode(stacks)?;
        view.services
            .sort_by(|a, b| natural(&a.spec.name, &b.spec.name));
        view.networks
            .sort_by(|a, b| natural(&a.spec.name, &b.spec.name));
        view.secrets
            .sort_by(|a, b| natural(&a.spec.name, &b.spec.name));
        view.configs
            .sort_by(|a, b| natural(&a.spec.name, &b.spec.name));
        view.stacks
            .sort_by(|a, b| natural(&a.spec.name, &b.spec.name));
        Ok(view)
    }

    /// Whether what a task's node said last still holds: it does not for a
    /// node that is Down.
    pub fn is_on_live_node(&self, task: &Task) -> bool {
        task.node
            .and_then(|node| self.nodes.get(&node))
            .is_some_and(|view| view.node.status.state != NodeState::Down)
    }

    /// Whether a task has a node that is Down.
    pub fn is_away(&self, task: &Task) -> bool {
        task.node.is_some() && !self.is_on_live_node(task)
    }

    /// Whether a task counts as running: one that takes no traffic does not.
    pub fn runs(&self, task: &Task) -> bool {
        task.desired <= TaskState::Running && task.status.is_ready() && self.is_on_live_node(task)
    }

    /// Tasks that run and tasks that should, of a service.
    pub fn replicas(&self, service: &Service) -> (usize, usize) {
        let mine = || self.tasks.iter().filter(|task| task.service == service.id);
        let running = mine().filter(|task| self.runs(task)).count();
        let desired = match service.spec.mode {
            ServiceMode::Replicated { replicas } => replicas as usize,
            ServiceMode::ReplicatedJob {
                completions,
                concurrent: 0,
            } => completions as usize,
            ServiceMode::ReplicatedJob { concurrent, .. } => concurrent as usize,
            // A task each on the nodes that can have one: Down ones cannot.
            ServiceMode::Global | ServiceMode::GlobalJob => mine()
                .filter(|task| task.desired <= TaskState::Running && self.is_on_live_node(task))
                .count(),
        };
        (running, desired)
    }

    /// Places of a run of a job that are done, and places there are.
    pub fn completed(&self, service: &Service, run: &JobRun) -> (usize, usize) {
        let mine = self.tasks.iter().filter(|task| task.service == service.id);
        let (mut done, mut open) = (BTreeSet::new(), BTreeSet::new());
        for task in mine.filter(|task| task.run == run.number) {
            let place = (task.slot, task.node.filter(|_| task.slot == Slot(0)));
            if task.status.state == TaskState::Complete {
                done.insert(place);
            } else if task.is_live() {
                open.insert(place);
            }
        }
        // Tasks of runs that are over may be forgotten; a node that came later does what
        // was done on the others.
        let ended = run.end.map_or(0, |end| end.succeeded as usize);
        let count = done.len().max(ended);
        let total = match service.spec.mode {
            ServiceMode::ReplicatedJob { completions, .. } => completions as usize,
            _ => count + open.difference(&done).count(),
        };
        (count, total)
    }

    /// A node's host name, or its id where it is not known (any more).
    pub fn hostname(&self, node: NodeId) -> String {
        match self.nodes.get(&node) {
            Some(view) if !view.node.description.hostname.is_empty() => {
                view.node.description.hostname.clone()
            }
            _ => node.to_string(),
        }
    }
}

fn decode<W, T>(values: Vec<W>) -> Result<Vec<T>>
where
    T: TryFrom<W, Error = skep_proto::Invalid>,
{
    Ok(values
        .into_iter()
        .map(T::try_from)
        .collect::<Result<_, _>>()?)
}

/// Compares names as people count: `web2` before `web10`.
pub fn natural(a: &str, b: &str) -> std::cmp::Ordering {
    let (mut left, mut right) = (a, b);
    while let (Some(x), Some(y)) = (left.chars().next(), right.chars().next()) {
        let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).count();
        let (n, m) = (digits(left), digits(right));
        let order = if n > 0 && m > 0 {
            let (i, j) = (&left[..n], &right[..m]);
            (left, right) = (&left[n..], &right[m..]);
            let (i, j) = (i.trim_start_matches('0'), j.trim_start_matches('0'));
            i.len().cmp(&j.len()).then(i.cmp(j))
        } else {
            (left, right) = (&left[x.len_utf8()..], &right[y.len_utf8()..]);
            x.cmp(&y)
        };
        if order.is_ne() {
            return order;
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_people_count() {
        let mut names = ["web10", "web2", "db", "web", "web02b", "é"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["db", "web", "web2", "web02b", "web10", "é"]);
    }
}
