//! One consistent view of the objects asked for.

use super::{explain, status};
use crate::shared::Shared;
use skep_manager_ca::{CaBundle, JoinToken, trusted_pem, unlock_key_text};
use skep_manager_raft::Reachability;
use skep_manager_store::Snapshot;
use skep_manager_store::schedule::next_after;
use skep_proto::{clients_on_wire, id, id_bytes, pb, service_on_wire, stack_on_wire, task_on_wire};
use skep_types::{Cluster, NodeId, Service, ServiceId, Task, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tonic::Status;

/// Answers from this manager's own copy.
pub(crate) fn read(shared: &Shared, request: &pb::ReadRequest) -> Result<pb::ReadResponse, Status> {
    let snapshot = shared.state.snapshot();
    let mut response = pb::ReadResponse {
        version: snapshot.version().0,
        ..pb::ReadResponse::default()
    };
    if request.cluster {
        let cluster = snapshot
            .cluster()
            .ok_or_else(|| Status::unavailable("the swarm is being made"))?;
        response.cluster = Some(cluster_view(cluster)?);
    }
    if request.nodes {
        let members: BTreeMap<u64, _> = shared
            .raft
            .status()
            .members
            .into_iter()
            .map(|status| (status.member.id, status))
            .collect();
        response.nodes = snapshot
            .nodes()
            .map(|node| {
                let member = node.manager.as_ref().and_then(|m| members.get(&m.raft_id));
                let reachability = match member.map(|member| member.reachability) {
                    Some(Reachability::Reachable) => pb::Reachability::Reachable,
                    Some(Reachability::Unreachable) => pb::Reachability::Unreachable,
                    Some(Reachability::Unknown) | None => pb::Reachability::Unknown,
                };
                pb::NodeView {
                    node: Some(node.as_ref().into()),
                    reachability: reachability.into(),
                    leader: member.is_some_and(|member| member.is_leader),
                }
            })
            .collect();
    }
    if request.services {
        response.services = snapshot
            .services()
            .map(|service| service_on_wire(service, request.revisions))
            .collect();
    }
    if request.dues {
        let now = shared.state.now();
        let due = |service: &Arc<Service>| {
            let schedule = service.spec.schedule().filter(|s| !s.suspend)?;
            Some(pb::Due {
                service: id_bytes(service.id),
                at_ms: next_after(schedule, now)?.0,
            })
        };
        response.dues = snapshot.services().filter_map(due).collect();
    }
    if request.tasks {
        let tasks: Vec<Arc<Task>> = if !request.task_node.is_empty() {
            let node: NodeId = id(&request.task_node, "task_node").map_err(status::invalid)?;
            snapshot.tasks_on(node).cloned().collect()
        } else if request.task_services.is_empty() {
            snapshot.tasks().cloned().collect()
        } else {
            let mut tasks = Vec::new();
            for service in &request.task_services {
                let service: ServiceId = id(service, "task_services").map_err(status::invalid)?;
                tasks.extend(snapshot.tasks_of(service).cloned());
            }
            tasks
        };
        let mut seen: BTreeSet<(ServiceId, Version)> = BTreeSet::new();
        for task in &tasks {
            if seen.insert((task.service, task.spec_version)) {
                response.specs.push(pb::SpecEntry {
                    service: id_bytes(task.service),
                    spec_version: task.spec_version.0,
                    spec: Some(task.spec.as_ref().into()),
                });
            }
        }
        response.tasks = tasks.iter().map(|task| task_on_wire(task, false)).collect();
    }
    if request.networks {
        response.networks = snapshot
            .networks()
            .map(|network| network.as_ref().into())
            .collect();
    }
    if request.secrets {
        response.secrets = snapshot
            .secrets()
            .filter(|secret| request.generations || secret.superseded_at.is_none())
            .map(|secret| without_data(pb::DataObject::from(secret.as_ref())))
            .collect();
    }
    if request.configs {
        response.configs = snapshot
            .configs()
            .filter(|config| request.generations || config.superseded_at.is_none())
            .map(|config| config.as_ref().into())
            .collect();
    }
    if request.stacks || request.stack_history {
        response.stacks = stacks(&snapshot, request);
    }
    if let Some(asked) = &request.explain {
        response.explained = Some(explain::answer(&snapshot, shared.state.now(), asked)?);
    }
    Ok(response)
}

fn stacks(snapshot: &Snapshot, request: &pb::ReadRequest) -> Vec<pb::Stack> {
    let names = &request.stack_names;
    let all = snapshot.stacks();
    let asked = all.filter(|stack| names.is_empty() || names.contains(&stack.spec.name));
    if !request.stack_history {
        return asked.map(|stack| stack_on_wire(stack, false)).collect();
    }
    let contents = snapshot.contents();
    let whole = asked.map(|stack| stack_on_wire(&contents.of(stack), true));
    whole.collect()
}

fn without_data(mut object: pb::DataObject) -> pb::DataObject {
    if let Some(spec) = &mut object.spec {
        spec.data = bytes::Bytes::new();
    }
    object
}

fn cluster_view(cluster: &Cluster) -> Result<pb::ClusterView, Status> {
    let trusted = CaBundle::from_pem(&trusted_pem(&cluster.root_ca))
        .map_err(|error| Status::internal(error.to_string()))?;
    let digest = CaBundle::from_pem(&cluster.root_ca.certificate)
        .map_err(|error| Status::internal(error.to_string()))?
        .digest();
    let token = |secret: &str| {
        JoinToken::new(digest, secret)
            .map(|token| token.to_string())
            .map_err(|error| Status::internal(error.to_string()))
    };
    Ok(pb::ClusterView {
        id: id_bytes(cluster.id),
        meta: Some((&cluster.meta).into()),
        spec: Some((&cluster.spec).into()),
        root_ca_certificate: cluster.root_ca.certificate.clone(),
        worker_token: token(&cluster.join_secrets.worker)?,
        manager_token: token(&cluster.join_secrets.manager)?,
        desired_root: trusted.newest().to_vec().into(),
        trusted_roots: trusted.digest().to_vec().into(),
        rotating_root: cluster.root_ca.next.is_some(),
        unlock_key: cluster
            .unlock_key
            .as_ref()
            .map(unlock_key_text)
            .unwrap_or_default(),
        clients: clients_on_wire(&cluster.clients),
    })
}
