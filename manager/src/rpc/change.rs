//! Changes users ask for: checked, turned into actions, agreed on.

mod client;
mod data;
pub(super) mod objects;
pub(super) mod stack;

use super::status;
use crate::error::ProposeError;
use crate::proposer::Proposed;
use crate::shared::Shared;
use bytes::Bytes;
use skep_manager_ca::{JoinToken, new_unlock_key, next_root};
use skep_manager_store::format::NEWEST;
use skep_manager_store::{
    Action, ClusterAction, ConfigAction, NetworkAction, NodeAction, SecretAction, ServiceAction,
    Snapshot, runs, validate,
};
use skep_proto::pb::change::Change;
use skep_proto::{id, id_bytes, pb};
use skep_types::{
    Clients, ClusterSpec, JoinSecrets, NetworkId, NetworkSpec, Node, NodeId, NodeSpec, NodeState,
    NodeStatus, Role, RootCa, Service, ServiceId, ServiceSpec, Timestamp, UnlockKey, UpdateStatus,
    Version,
};
use std::time::SystemTime;
use tonic::Status;

/// How often a change of what others change as well is worked out before it is given up.
const TRIES: usize = 10;

/// Applies the changes in order; the first that is refused ends the call.
pub(crate) async fn change(
    shared: &Shared,
    request: pb::ChangeRequest,
) -> Result<pb::ChangeResponse, Status> {
    let count = request.changes.len();
    let mut ids = Vec::with_capacity(count);
    let (mut objects, mut revisions) = (Vec::new(), Vec::new());
    let mut client = None;
    for change in request.changes {
        let change = change
            .change
            .ok_or_else(|| Status::invalid_argument("field change.change is missing"))?;
        let made = make(shared, change).await?;
        let proposed = match made.proposed {
            Ok(proposed) => proposed,
            // A refusal to lead stands for the whole call, of which nothing was done.
            Err(ProposeError::NotLeader { .. }) if !ids.is_empty() => {
                return Err(Status::unavailable(format!(
                    "the leader was lost after {} of {count} changes; look which were made, and \
                     ask again",
                    ids.len()
                )));
            }
            Err(error) => return Err(status::propose(error)),
        };
        proposed.results.iter().try_for_each(status::refused)?;
        ids.push(made.touched);
        objects.extend(made.objects);
        client = made.client.or(client);
        revisions.extend(made.revision);
    }
    Ok(pb::ChangeResponse {
        ids,
        objects,
        client,
        revisions,
    })
}

/// A change that was proposed.
struct Made {
    /// Id of what it makes or touches.
    touched: Bytes,
    /// What it does to objects, of a stack's.
    objects: Vec<pb::ChangedObject>,
    /// What a client gets that it makes.
    client: Option<pb::IssuedClient>,
    /// The revision that it makes, of a stack's.
    revision: Option<u64>,
    proposed: Result<Proposed, ProposeError>,
}

/// Has one change agreed on. That of a stack has many objects, that of a client is one of the
/// cluster object, and somebody may change any of them meanwhile: then it is worked out anew.
async fn make(shared: &Shared, change: Change) -> Result<Made, Status> {
    let mut tries = 0;
    loop {
        let snapshot = shared.state.snapshot();
        let (touched, action, client) = match change.clone() {
            Change::CreateClient(asked) => {
                let (touched, action, issued) =
                    client::create(&snapshot, shared.state.now(), asked)?;
                (touched, action, Some(issued))
            }
            change => {
                let (touched, action) = action(&snapshot, shared.state.now(), change)?;
                (touched, action, None)
            }
        };
        keeps_quorum(shared, &snapshot, &action)?;
        let is_stack = matches!(action, Action::Stack(_));
        let of_client = matches!(action, Action::Cluster(ClusterAction::SetClients { .. }));
        let objects = objects::of(&snapshot, &action, false);
        let revision = stack::revision(&snapshot, &action);
        let proposed = shared.propose(&[action]).await;
        tries += 1;
        let is_stale = |proposed: &Proposed| proposed.results.iter().any(|result| result.stale);
        match &proposed {
            Ok(stale) if (is_stack || of_client) && is_stale(stale) && tries < TRIES => {}
            Err(ProposeError::TooLarge(reason)) if is_stack => {
                return Err(stack::too_large(reason));
            }
            _ => {
                return Ok(Made {
                    touched,
                    objects,
                    client,
                    revision,
                    proposed,
                });
            }
        }
    }
}

/// Refuses what an older leader would pass over in silence.
pub(crate) fn known_to_all(shared: &Shared, request: &pb::ChangeRequest) -> Result<(), Status> {
    let snapshot = shared.state.snapshot();
    if snapshot.format() == NEWEST {
        return Ok(());
    }
    for change in request.changes.iter().filter_map(|c| c.change.clone()) {
        // Whatever else is wrong with it is for the leader to say.
        if let Ok((_, action)) = action(&snapshot, shared.state.now(), change) {
            shared.may_write(&action).map_err(status::propose)?;
        }
    }
    Ok(())
}

fn required<T>(value: Option<T>, field: &'static str) -> Result<T, Status> {
    value.ok_or_else(|| Status::invalid_argument(format!("field {field} is missing")))
}

fn fresh() -> u128 {
    rand::random()
}

/// What a change is to the store, and the id of what it makes or touches.
///
/// # Errors
/// What is wrong with it, as far as can be said before it is applied.
#[allow(clippy::too_many_lines, reason = "one arm a change")]
pub(super) fn action(
    snapshot: &Snapshot,
    now: Timestamp,
    change: Change,
) -> Result<(Bytes, Action), Status> {
    let refuse = |error: validate::Invalid| Status::invalid_argument(error.to_string());
    Ok(match change {
        Change::ApplyStack(asked) => stack::apply(snapshot, now, asked)?,
        Change::RemoveStack(asked) => stack::remove_stack(snapshot, now, asked)?,
        Change::RollbackStack(asked) => stack::roll_back(snapshot, now, asked)?,
        Change::CreateService(spec) => {
            let spec: ServiceSpec = spec.try_into().map_err(status::invalid)?;
            validate::validate_service(snapshot, &spec).map_err(refuse)?;
            let id = ServiceId::from_bits(fresh());
            let action = ServiceAction::Create {
                id,
                spec: Box::new(spec),
            };
            (id_bytes(id), Action::Service(action))
        }
        Change::UpdateService(pb::UpdateService {
            id: service,
            version,
            spec,
        }) => {
            let service_id: ServiceId =
                id(&service, "update_service.id").map_err(status::invalid)?;
            let spec: ServiceSpec = required(spec, "update_service.spec")?
                .try_into()
                .map_err(status::invalid)?;
            let present = known(snapshot.service(service_id), "service", service_id)?;
            validate::validate_service_update(snapshot, present, &spec).map_err(refuse)?;
            let version = if version == 0 {
                present.meta.version
            } else {
                Version(version)
            };
            let action = ServiceAction::Update {
                id: service_id,
                version,
                spec: Box::new(spec),
            };
            (service, Action::Service(action))
        }
        Change::RollbackService(service) => {
            let service_id: ServiceId =
                id(&service, "rollback_service").map_err(status::invalid)?;
            (service, roll_back(snapshot, service_id, None)?)
        }
        Change::RollbackTo(pb::RollbackTo {
            id: service,
            revision,
        }) => {
            let service_id: ServiceId = id(&service, "rollback_to.id").map_err(status::invalid)?;
            (service, roll_back(snapshot, service_id, Some(revision))?)
        }
        Change::PauseUpdate(service) => {
            let service_id: ServiceId = id(&service, "pause_update").map_err(status::invalid)?;
            let found = known(snapshot.service(service_id), "service", service_id)?;
            let status = validate::pause_update(found).map_err(not_now)?;
            (service, set_update_status(found, status))
        }
        Change::ResumeUpdate(service) => {
            let service_id: ServiceId = id(&service, "resume_update").map_err(status::invalid)?;
            let found = known(snapshot.service(service_id), "service", service_id)?;
            let status = validate::resume_update(found, now).map_err(not_now)?;
            (service, set_update_status(found, status))
        }
        Change::TriggerJob(service) => {
            let service_id: ServiceId = id(&service, "trigger_job").map_err(status::invalid)?;
            let found = known(snapshot.service(service_id), "service", service_id)?;
            let action = ServiceAction::SetJobStatus {
                id: service_id,
                version: found.meta.version,
                status: runs::trigger(snapshot, found, now).map_err(not_now)?,
            };
            (service, Action::Service(action))
        }
        Change::RebalanceService(service) => {
            let service_id: ServiceId =
                id(&service, "rebalance_service").map_err(status::invalid)?;
            let found = known(snapshot.service(service_id), "service", service_id)?;
            validate::rebalance(found).map_err(not_now)?;
            let action = ServiceAction::Rebalance {
                id: service_id,
                version: found.meta.version,
                begins: true,
            };
            (service, Action::Service(action))
        }
        Change::RemoveService(service) => {
            let service_id = id(&service, "remove_service").map_err(status::invalid)?;
            (
                service,
                Action::Service(ServiceAction::Remove { id: service_id }),
            )
        }
        Change::CreateNetwork(spec) => {
            let spec: NetworkSpec = spec.try_into().map_err(status::invalid)?;
            validate::validate_network(snapshot, &spec).map_err(refuse)?;
            let id = NetworkId::from_bits(fresh());
            (
                id_bytes(id),
                Action::Network(NetworkAction::Create {
                    id,
                    spec: Box::new(spec),
                }),
            )
        }
        Change::RemoveNetwork(network) => {
            let network_id = id(&network, "remove_network").map_err(status::invalid)?;
            (
                network,
                Action::Network(NetworkAction::Remove { id: network_id }),
            )
        }
        Change::CreateSecret(spec) => data::create_secret(snapshot, spec)?,
        Change::UpdateSecret(update) => data::update_secret(snapshot, update)?,
        Change::RemoveSecret(secret) => {
            let secret_id = id(&secret, "remove_secret").map_err(status::invalid)?;
            (
                secret,
                Action::Secret(SecretAction::Remove { id: secret_id }),
            )
        }
        Change::CreateConfig(spec) => data::create_config(snapshot, spec)?,
        Change::UpdateConfig(update) => data::update_config(snapshot, update)?,
        Change::RemoveConfig(config) => {
            let config_id = id(&config, "remove_config").map_err(status::invalid)?;
            (
                config,
                Action::Config(ConfigAction::Remove { id: config_id }),
            )
        }
        Change::UpdateNode(pb::UpdateNode {
            id: node,
            version,
            spec,
        }) => {
            let node_id: NodeId = id(&node, "update_node.id").map_err(status::invalid)?;
            let spec: NodeSpec = required(spec, "update_node.spec")?
                .try_into()
                .map_err(status::invalid)?;
            let found = known(snapshot.node(node_id), "node", node_id)?;
            validate::validate_node(&spec).map_err(refuse)?;
            may_change_role(snapshot, found, spec.role)?;
            let version = if version == 0 {
                found.meta.version
            } else {
                Version(version)
            };
            (
                node,
                Action::Node(NodeAction::Update {
                    id: node_id,
                    version,
                    spec,
                }),
            )
        }
        Change::RemoveNode(pb::RemoveNode { id: node, force }) => {
            let node_id: NodeId = id(&node, "remove_node.id").map_err(status::invalid)?;
            let action = NodeAction::Remove {
                id: node_id,
                force,
                blocked_until: cluster(snapshot)?.certificates_end(now),
            };
            (node, Action::Node(action))
        }
        Change::RotateToken(pb::RotateToken { role }) => {
            let cluster = cluster(snapshot)?;
            let JoinSecrets {
                mut worker,
                mut manager,
            } = cluster.join_secrets.clone();
            match pb::Role::try_from(role) {
                Ok(pb::Role::Worker) => worker = new_secret()?,
                Ok(pb::Role::Manager) => manager = new_secret()?,
                Err(_) => {
                    return Err(Status::invalid_argument(
                        "field rotate_token.role is unknown",
                    ));
                }
            }
            let action = ClusterAction::SetJoinSecrets {
                version: cluster.meta.version,
                secrets: JoinSecrets { worker, manager },
            };
            (id_bytes(cluster.id), Action::Cluster(action))
        }
        Change::RotateRootCa(pb::RotateRootCa { certificate, key }) => {
            let cluster = cluster(snapshot)?;
            let given = (!certificate.is_empty()).then_some((certificate.as_str(), key.as_str()));
            let next = next_root(&cluster.root_ca, given, SystemTime::now())
                .map_err(|error| Status::invalid_argument(error.to_string()))?;
            let action = ClusterAction::SetRootCa {
                version: cluster.meta.version,
                root_ca: RootCa {
                    next: Some(next),
                    ..cluster.root_ca.clone()
                },
            };
            (id_bytes(cluster.id), Action::Cluster(action))
        }
        Change::SetAutolock(pb::SetAutolock { on }) => {
            let cluster = cluster(snapshot)?;
            let key = match (on, &cluster.unlock_key) {
                (true, Some(present)) => Some(present.clone()),
                (true, None) => Some(fresh_unlock_key()?),
                (false, _) => None,
            };
            set_unlock_key(cluster, key)
        }
        Change::RotateUnlockKey(pb::RotateUnlockKey {}) => {
            let cluster = cluster(snapshot)?;
            if cluster.unlock_key.is_none() {
                return Err(Status::failed_precondition(
                    "cannot rotate because autolock is not turned on",
                ));
            }
            set_unlock_key(cluster, Some(fresh_unlock_key()?))
        }
        Change::CreateClient(asked) => {
            let (touched, action, _) = client::create(snapshot, now, asked)?;
            (touched, action)
        }
        Change::RemoveClient(name) => client::remove(snapshot, &name)?,
        Change::UpdateCluster(pb::UpdateCluster { version, spec }) => {
            let cluster = cluster(snapshot)?;
            let spec: ClusterSpec = required(spec, "update_cluster.spec")?
                .try_into()
                .map_err(status::invalid)?;
            validate::validate_cluster(&spec).map_err(refuse)?;
            let version = if version == 0 {
                cluster.meta.version
            } else {
                Version(version)
            };
            let action = ClusterAction::Update { version, spec };
            (id_bytes(cluster.id), Action::Cluster(action))
        }
    })
}

fn known<'a, T, I: std::fmt::Display>(
    found: Option<&'a T>,
    kind: &str,
    id: I,
) -> Result<&'a T, Status> {
    found.ok_or_else(|| Status::not_found(format!("{kind} {id} not found")))
}

fn cluster(snapshot: &Snapshot) -> Result<&skep_types::Cluster, Status> {
    snapshot
        .cluster()
        .map(AsRef::as_ref)
        .ok_or_else(|| Status::unavailable("the swarm is being made"))
}

fn not_now(error: validate::Invalid) -> Status {
    Status::failed_precondition(error.to_string())
}

fn roll_back(snapshot: &Snapshot, id: ServiceId, to: Option<u64>) -> Result<Action, Status> {
    let service = known(snapshot.service(id), "service", id)?;
    Ok(Action::Service(ServiceAction::Rollback {
        id,
        version: service.meta.version,
        to: validate::roll_back(snapshot, service, to).map_err(not_now)?,
        message: "manually requested rollback".to_owned(),
        failed: false,
    }))
}

fn set_update_status(service: &Service, status: UpdateStatus) -> Action {
    Action::Service(ServiceAction::SetUpdateStatus {
        id: service.id,
        version: service.meta.version,
        status,
        outcome: None,
    })
}

fn set_unlock_key(cluster: &skep_types::Cluster, key: Option<UnlockKey>) -> (Bytes, Action) {
    let version = cluster.meta.version;
    let action = ClusterAction::SetUnlockKey { version, key };
    (id_bytes(cluster.id), Action::Cluster(action))
}

fn set_clients(cluster: &skep_types::Cluster, clients: Clients) -> (Bytes, Action) {
    let version = cluster.meta.version;
    let action = ClusterAction::SetClients { version, clients };
    (id_bytes(cluster.id), Action::Cluster(action))
}

fn fresh_unlock_key() -> Result<UnlockKey, Status> {
    new_unlock_key().map_err(|error| Status::internal(error.to_string()))
}

fn new_secret() -> Result<String, Status> {
    JoinToken::new_secret().map_err(|error| Status::internal(error.to_string()))
}

fn may_change_role(snapshot: &Snapshot, node: &Node, role: Role) -> Result<(), Status> {
    if node.spec.role == Role::Manager && role == Role::Worker {
        let managers = snapshot
            .nodes()
            .filter(|node| node.spec.role == Role::Manager)
            .count();
        if managers <= 1 {
            return Err(Status::failed_precondition(
                "attempting to demote the last manager of the swarm",
            ));
        }
    }
    Ok(())
}

/// Refuses to demote a manager when those that stay would have no majority: as a
/// wish the demotion would wait until the others are back, and then happen.
fn keeps_quorum(shared: &Shared, snapshot: &Snapshot, action: &Action) -> Result<(), Status> {
    let Action::Node(NodeAction::Update { id, spec, .. }) = action else {
        return Ok(());
    };
    let demoted = snapshot
        .node(*id)
        .filter(|node| node.spec.role == Role::Manager && spec.role == Role::Worker);
    let Some(seat) = demoted.and_then(|node| node.manager.as_ref()) else {
        return Ok(());
    };
    let rest = shared.raft.check_rest(seat.raft_id);
    rest.map_err(|error| Status::failed_precondition(error.to_string()))
}

/// A node says that it goes. A manager loses its seat first and says it again
/// once it has; a node without one is Down at once instead of after missed
/// heartbeats.
pub(crate) async fn announce_leave(shared: &Shared, node: NodeId) -> Result<(), Status> {
    let mut closed = false;
    loop {
        let actions = leave(&shared.state.snapshot(), node)?;
        if let Some(Action::Node(NodeAction::SetStatus { .. })) = actions.last()
            && !std::mem::replace(&mut closed, true)
        {
            // Once: what opens after the goodbye is not meant by it.
            shared.sessions.close(node);
        }
        let proposed = shared.propose(&actions).await.map_err(status::propose)?;
        // Somebody else changed the node meanwhile: it leaves all the same.
        if proposed.results.iter().any(|result| result.stale) {
            continue;
        }
        return proposed.results.iter().try_for_each(status::refused);
    }
}

fn leave(snapshot: &Snapshot, node: NodeId) -> Result<Vec<Action>, Status> {
    let found = known(snapshot.node(node), "node", node)?;
    may_change_role(snapshot, found, Role::Worker)?;
    let version = found.meta.version;
    let mut actions = Vec::new();
    if found.spec.role == Role::Manager {
        let spec = NodeSpec {
            role: Role::Worker,
            ..found.spec.clone()
        };
        actions.push(Action::Node(NodeAction::Update {
            id: node,
            version,
            spec,
        }));
    }
    if found.spec.role == Role::Worker || found.manager.is_none() {
        let status = NodeStatus {
            state: NodeState::Down,
            message: "left the swarm".to_owned(),
            address: None,
        };
        actions.push(Action::Node(NodeAction::SetStatus {
            id: node,
            version,
            status,
        }));
    }
    Ok(actions)
}
