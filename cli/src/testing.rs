//! Swarms for tests, made by hand.

use crate::view::{NodeView, View};
use skep_proto::pb;
use skep_types::{
    Endpoint, Meta, Node, NodeDescription, NodeId, NodeSpec, NodeState, NodeStatus, Revision, Role,
    Service, ServiceId, ServiceMode, ServiceSpec, Slot, Stack, StackId, StackService, StackSpec,
    Task, TaskId, TaskState, TaskStatus, Timestamp, Version,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A node that is Ready.
pub fn node(number: u128, hostname: &str) -> NodeView {
    let node = Node {
        id: NodeId::from_bits(number),
        meta: Meta::default(),
        spec: NodeSpec::default(),
        description: NodeDescription {
            hostname: hostname.to_owned(),
            ..NodeDescription::default()
        },
        status: NodeStatus {
            state: NodeState::Ready,
            ..NodeStatus::default()
        },
        role: Role::Worker,
        role_since: Default::default(),
        drain_since: None,
        manager: None,
        mesh: None,
    };
    NodeView {
        node,
        reachability: pb::Reachability::Unknown,
        leader: false,
    }
}

/// A replicated service.
pub fn service(number: u128, name: &str, replicas: u32) -> Service {
    Service {
        id: ServiceId::from_bits(number),
        meta: Meta::default(),
        spec: ServiceSpec {
            name: name.to_owned(),
            mode: ServiceMode::Replicated { replicas },
            ..ServiceSpec::default()
        },
        spec_version: Version(1),
        revision: Revision::first(Timestamp(0)),
        past: Vec::new(),
        endpoint: Endpoint::default(),
        update_status: None,
        rebalance_since: None,
        waits_for: String::new(),
        job: Default::default(),
    }
}

/// A swarm of nodes `one`, `two` and `three` with these services.
pub fn swarm(services: Vec<Service>) -> View {
    let mut view = View {
        services,
        ..View::default()
    };
    for (number, name) in [(1, "one"), (2, "two"), (3, "three")] {
        let node = node(number, name);
        view.nodes.insert(node.node.id, node);
    }
    view
}

impl View {
    /// Adds a task that is wanted, on the node with this number (0 for none).
    pub fn add(&mut self, service: usize, slot: u32, node: u128, state: TaskState) -> &mut Task {
        let number = self.tasks.len() as u128 + 1;
        let service = &self.services[service];
        let status = TaskStatus {
            state,
            at: Timestamp(1_000),
            ..TaskStatus::default()
        };
        self.tasks.push(Task {
            id: TaskId::from_bits(number),
            meta: Meta {
                created_at: Timestamp(u64::try_from(number).unwrap_or(u64::MAX)),
                ..Meta::default()
            },
            service: service.id,
            service_name: service.spec.name.as_str().into(),
            slot: Slot(slot),
            node: (node > 0).then(|| NodeId::from_bits(node)),
            spec: service.spec.task.clone(),
            spec_version: service.spec_version,
            desired: match state.is_terminal() {
                true => TaskState::Shutdown,
                false => TaskState::Running,
            },
            status,
            attachments: Vec::new(),
            cause: Default::default(),
            stop_cause: None,
            restarts: Default::default(),
            start_at: None,
            run: 0,
            generic: Default::default(),
        });
        let last = self.tasks.len() - 1;
        &mut self.tasks[last]
    }
}

/// A stack of services with these names and images.
pub fn stack_of(name: &str, services: &[(&str, &str)]) -> Stack {
    let services = services.iter().map(|(service, image)| {
        let mut of_stack = StackService::default();
        of_stack.spec.name = (*service).to_owned();
        Arc::make_mut(&mut of_stack.spec.task).container.image = (*image).to_owned();
        Arc::new(of_stack)
    });
    Stack {
        id: StackId::from_bits(1),
        meta: Meta::default(),
        revision: Revision::first(Timestamp(0)),
        spec: Arc::new(StackSpec {
            name: name.to_owned(),
            services: services.collect(),
            ..StackSpec::default()
        }),
        past: Vec::new(),
        services: BTreeMap::new(),
        leaving: Vec::new(),
    }
}
