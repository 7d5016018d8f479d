//! What nodes have given to tasks, brought up to date as tasks come and go and as services
//! publish other ports.

use super::{Snapshot, may_run};
use crate::given::{Given, HostPort, host_ports};
use skep_types::{Generics, NodeId, Service, ServiceId, Task};
use std::sync::Arc;

/// What a task has of its node; none for one that has no work left there.
fn holds(task: &Task) -> Option<(NodeId, &Generics)> {
    Some((task.node.filter(|_| may_run(task))?, &task.generic))
}

impl Snapshot {
    /// What a node has given to tasks that may have work left there.
    pub fn given(&self, node: NodeId) -> Option<&Given> {
        self.given.get(&node).map(|given| &**given)
    }

    /// A task is not any more, or not yet, what it was before or is after.
    pub(super) fn give(&mut self, before: Option<&Task>, after: Option<&Task>) {
        let (old, new) = (before.and_then(holds), after.and_then(holds));
        let Some(service) = before.or(after).map(|task| task.service) else {
            return;
        };
        if old == new {
            return;
        }
        let ports = self
            .services
            .get(&service)
            .map(|service| host_ports(service));
        let ports = ports.unwrap_or_default();
        if let Some((node, generic)) = old {
            self.change_given(node, &ports, generic, |given| {
                given.close(&ports);
                given.remove(generic);
            });
        }
        if let Some((node, generic)) = new {
            self.change_given(node, &ports, generic, |given| {
                given.open(&ports);
                given.add(generic);
            });
        }
    }

    /// The tasks of a service have other ports from now on.
    pub(super) fn give_ports(
        &mut self,
        id: ServiceId,
        before: Option<&Service>,
        after: Option<&Service>,
    ) {
        let of = |service: Option<&Service>| service.map(host_ports).unwrap_or_default();
        let (before, after) = (of(before), of(after));
        if before == after {
            return;
        }
        let none = Generics::new();
        let nodes = self.tasks_of(id).filter_map(|task| Some(holds(task)?.0));
        for node in nodes.collect::<Vec<NodeId>>() {
            let ports = [&before[..], &after[..]].concat();
            self.change_given(node, &ports, &none, |given| {
                given.close(&before);
                given.open(&after);
            });
        }
    }

    fn change_given(
        &mut self,
        node: NodeId,
        ports: &[HostPort],
        generic: &Generics,
        change: impl FnOnce(&mut Given),
    ) {
        if ports.is_empty() && generic.is_empty() {
            return;
        }
        self.used_at = self.version;
        let mut given = self.given.get(&node).cloned().unwrap_or_default();
        change(Arc::make_mut(&mut given));
        if *given == Given::default() {
            self.given.remove(&node);
        } else {
            self.given.insert(node, given);
        }
    }
}
