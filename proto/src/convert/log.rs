//! Raft entries and their results.

use super::basic::{
    address, address_bytes, id, id_bytes, ipv4, optional_id, prefix, prefixes, require,
};
use super::node::role;
use super::task::task_state;
use crate::pb::action as wire;
use crate::{Invalid, pb};
use prost::Message;
use skep_manager_store::{
    Action, ClusterAction, ConfigAction, DesiredChange, Explanation, NetworkAction, NewTask,
    NodeAction, Placement, Refused, SecretAction, ServiceAction, TaskAction,
};
use skep_types::{BlockOwner, JoinSecrets, RootCa, Slot, Timestamp, Version};

/// Version of the entry and snapshot format this build writes, and the newest
/// it reads.
pub(crate) const FORMAT: u32 = 1;

/// What became of one action of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionResult {
    /// Why it changed nothing; `None` when it was applied.
    pub refused: Option<String>,
    /// It was planned on an older state; planning again is all it takes.
    pub stale: bool,
    /// It names an object that does not exist.
    pub not_found: bool,
}

/// The bytes of an entry.
pub fn encode_entry(now: Timestamp, actions: &[Action]) -> Vec<u8> {
    pb::Entry {
        format: FORMAT,
        now_ms: now.0,
        actions: actions.iter().map(Into::into).collect(),
    }
    .encode_to_vec()
}

/// Reads an entry.
///
/// # Errors
/// When it is damaged, or of a newer format than this build knows.
pub fn decode_entry(bytes: &[u8]) -> Result<(Timestamp, Vec<Action>), Invalid> {
    let pb::Entry {
        format,
        now_ms,
        actions,
    } = pb::Entry::decode(bytes).map_err(|error| Invalid::Encoding(error.to_string()))?;
    known_format(format)?;
    let actions = actions
        .into_iter()
        .map(TryInto::try_into)
        .collect::<Result<_, _>>()?;
    Ok((Timestamp(now_ms), actions))
}

pub(crate) fn known_format(format: u32) -> Result<(), Invalid> {
    if (1..=FORMAT).contains(&format) {
        return Ok(());
    }
    Err(Invalid::Value(
        "format",
        format!("{format}; this version of skep reads up to {FORMAT}"),
    ))
}

/// The bytes of an entry's results.
pub fn encode_results(results: &[Result<(), Refused>]) -> Vec<u8> {
    let result = |result: &Result<(), Refused>| match result {
        Ok(()) => pb::ActionResult::default(),
        Err(refused) => pb::ActionResult {
            refused: true,
            stale: refused.is_stale(),
            not_found: matches!(refused, Refused::NotFound(_)),
            message: refused.to_string(),
        },
    };
    pb::EntryResults {
        results: results.iter().map(result).collect(),
    }
    .encode_to_vec()
}

/// Reads an entry's results.
///
/// # Errors
/// When they are damaged.
pub fn decode_results(bytes: &[u8]) -> Result<Vec<ActionResult>, Invalid> {
    let pb::EntryResults { results } =
        pb::EntryResults::decode(bytes).map_err(|error| Invalid::Encoding(error.to_string()))?;
    Ok(results
        .into_iter()
        .map(
            |pb::ActionResult {
                 refused,
                 stale,
                 not_found,
                 message,
             }| ActionResult {
                refused: refused.then_some(message),
                stale,
                not_found,
            },
        )
        .collect())
}

impl From<&Action> for pb::Action {
    fn from(action: &Action) -> Self {
        let action = match action {
            Action::Cluster(action) => cluster(action),
            Action::Node(action) => node(action),
            Action::Service(action) => service(action),
            Action::Network(action) => network(action),
            Action::Secret(action) => secret(action),
            Action::Config(action) => config(action),
            Action::Task(action) => task(action),
        };
        pb::Action {
            action: Some(action),
        }
    }
}

fn cluster(action: &ClusterAction) -> wire::Action {
    match action {
        ClusterAction::Create(cluster) => wire::Action::CreateCluster(cluster.as_ref().into()),
        ClusterAction::Update { version, spec } => {
            wire::Action::UpdateCluster(wire::UpdateCluster {
                version: version.0,
                spec: Some(spec.into()),
            })
        }
        ClusterAction::SetJoinSecrets {
            version,
            secrets: JoinSecrets { worker, manager },
        } => wire::Action::SetJoinSecrets(wire::SetJoinSecrets {
            version: version.0,
            worker: worker.clone(),
            manager: manager.clone(),
        }),
        ClusterAction::SetRootCa {
            version,
            root_ca: RootCa { certificate, key },
        } => wire::Action::SetRootCa(wire::SetRootCa {
            version: version.0,
            certificate: certificate.clone(),
            key: key.clone(),
        }),
    }
}

fn node(action: &NodeAction) -> wire::Action {
    match action {
        NodeAction::Create(node) => wire::Action::CreateNode(node.as_ref().into()),
        NodeAction::Update { id, version, spec } => wire::Action::UpdateNode(wire::UpdateNode {
            id: id_bytes(*id),
            version: version.0,
            spec: Some(spec.into()),
        }),
        NodeAction::Describe {
            id,
            description,
            address,
        } => wire::Action::DescribeNode(wire::DescribeNode {
            id: id_bytes(*id),
            description: Some(description.as_ref().into()),
            address: address.map(address_bytes).unwrap_or_default(),
        }),
        NodeAction::SetStatus {
            id,
            version,
            status,
        } => wire::Action::SetNodeStatus(wire::SetNodeStatus {
            id: id_bytes(*id),
            version: version.0,
            status: Some(status.into()),
        }),
        NodeAction::SetRole { id, role } => wire::Action::SetNodeRole(wire::SetNodeRole {
            id: id_bytes(*id),
            role: pb::Role::from(*role).into(),
        }),
        NodeAction::SetManager { id, manager } => {
            wire::Action::SetNodeManager(wire::SetNodeManager {
                id: id_bytes(*id),
                manager: manager.as_ref().map(Into::into),
            })
        }
        NodeAction::SetMesh { id, version, mesh } => wire::Action::SetNodeMesh(wire::SetNodeMesh {
            id: id_bytes(*id),
            version: version.0,
            mesh: address_bytes((*mesh).into()),
        }),
        NodeAction::Remove {
            id,
            force,
            blocked_until,
        } => wire::Action::RemoveNode(wire::RemoveNode {
            id: id_bytes(*id),
            force: *force,
            blocked_until_ms: blocked_until.0,
        }),
    }
}

fn service(action: &ServiceAction) -> wire::Action {
    match action {
        ServiceAction::Create { id, spec } => wire::Action::CreateService(wire::CreateService {
            id: id_bytes(*id),
            spec: Some(spec.as_ref().into()),
        }),
        ServiceAction::Update { id, version, spec } => {
            wire::Action::UpdateService(wire::UpdateService {
                id: id_bytes(*id),
                version: version.0,
                spec: Some(spec.as_ref().into()),
            })
        }
        ServiceAction::Rollback {
            id,
            version,
            message,
            keep,
        } => wire::Action::RollbackService(wire::RollbackService {
            id: id_bytes(*id),
            version: version.0,
            message: message.clone(),
            keep: *keep,
        }),
        ServiceAction::Remove { id } => wire::Action::RemoveService(id_bytes(*id)),
        ServiceAction::SetEndpoint {
            id,
            version,
            endpoint,
        } => wire::Action::SetEndpoint(wire::SetEndpoint {
            id: id_bytes(*id),
            version: version.0,
            endpoint: Some(endpoint.into()),
        }),
        ServiceAction::SetUpdateStatus {
            id,
            version,
            status,
        } => wire::Action::SetUpdateStatus(wire::SetUpdateStatus {
            id: id_bytes(*id),
            version: version.0,
            status: Some(status.into()),
        }),
    }
}

fn network(action: &NetworkAction) -> wire::Action {
    match action {
        NetworkAction::Create { id, spec } => wire::Action::CreateNetwork(wire::CreateNetwork {
            id: id_bytes(*id),
            spec: Some(spec.as_ref().into()),
        }),
        NetworkAction::Remove { id } => wire::Action::RemoveNetwork(id_bytes(*id)),
        NetworkAction::SetBlocks {
            id,
            version,
            add_subnets,
            free,
            take,
        } => wire::Action::SetBlocks(wire::SetBlocks {
            id: id_bytes(*id),
            version: version.0,
            add_subnets: add_subnets.iter().map(ToString::to_string).collect(),
            free: free.iter().map(ToString::to_string).collect(),
            take: take
                .iter()
                .map(|(block, owner)| pb::Block {
                    prefix: block.to_string(),
                    node: match owner {
                        BlockOwner::Node(node) => id_bytes(*node),
                        BlockOwner::Services => bytes::Bytes::new(),
                    },
                })
                .collect(),
        }),
    }
}

fn secret(action: &SecretAction) -> wire::Action {
    match action {
        SecretAction::Create { id, spec } => wire::Action::CreateSecret(wire::CreateData {
            id: id_bytes(*id),
            spec: Some(spec.as_ref().into()),
        }),
        SecretAction::SetLabels {
            id,
            version,
            labels,
        } => wire::Action::SetSecretLabels(wire::SetLabels {
            id: id_bytes(*id),
            version: version.0,
            labels: labels.clone(),
        }),
        SecretAction::Remove { id } => wire::Action::RemoveSecret(id_bytes(*id)),
    }
}

fn config(action: &ConfigAction) -> wire::Action {
    match action {
        ConfigAction::Create { id, spec } => wire::Action::CreateConfig(wire::CreateData {
            id: id_bytes(*id),
            spec: Some(spec.as_ref().into()),
        }),
        ConfigAction::SetLabels {
            id,
            version,
            labels,
        } => wire::Action::SetConfigLabels(wire::SetLabels {
            id: id_bytes(*id),
            version: version.0,
            labels: labels.clone(),
        }),
        ConfigAction::Remove { id } => wire::Action::RemoveConfig(id_bytes(*id)),
    }
}

fn task(action: &TaskAction) -> wire::Action {
    match action {
        TaskAction::Create {
            service,
            spec_version,
            tasks,
        } => {
            let task = |NewTask {
                            id,
                            slot,
                            desired,
                            node,
                            attachments,
                            error,
                        }: &NewTask| {
                wire::NewTask {
                    id: id_bytes(*id),
                    slot: slot.0,
                    desired: pb::TaskState::from(*desired).into(),
                    node: node.map(id_bytes).unwrap_or_default(),
                    attachments: attachments.iter().map(Into::into).collect(),
                    error: error.clone(),
                }
            };
            wire::Action::CreateTasks(wire::CreateTasks {
                service: id_bytes(*service),
                spec_version: spec_version.0,
                tasks: tasks.iter().map(task).collect(),
            })
        }
        TaskAction::Place { tasks } => {
            let placement = |Placement {
                                 task,
                                 version,
                                 node,
                                 attachments,
                             }: &Placement| wire::Placement {
                task: id_bytes(*task),
                version: version.0,
                node: id_bytes(*node),
                attachments: attachments.iter().map(Into::into).collect(),
            };
            wire::Action::PlaceTasks(wire::PlaceTasks {
                tasks: tasks.iter().map(placement).collect(),
            })
        }
        TaskAction::Explain { tasks } => {
            let explanation = |Explanation {
                                   task,
                                   version,
                                   error,
                               }: &Explanation| {
                wire::Explanation {
                    task: id_bytes(*task),
                    version: version.0,
                    error: error.clone(),
                }
            };
            wire::Action::ExplainTasks(wire::ExplainTasks {
                tasks: tasks.iter().map(explanation).collect(),
            })
        }
        TaskAction::SetDesired { tasks } => {
            let change = |DesiredChange {
                              task,
                              version,
                              desired,
                          }: &DesiredChange| {
                wire::DesiredChange {
                    task: id_bytes(*task),
                    version: version.0,
                    desired: pb::TaskState::from(*desired).into(),
                }
            };
            wire::Action::SetDesired(wire::SetDesired {
                tasks: tasks.iter().map(change).collect(),
            })
        }
        TaskAction::UpdateStatus { updates } => wire::Action::UpdateStatus(wire::UpdateStatus {
            updates: updates
                .iter()
                .map(|(task, status)| wire::Observation {
                    task: id_bytes(*task),
                    status: Some(status.into()),
                })
                .collect(),
        }),
        TaskAction::Remove { tasks } => wire::Action::RemoveTasks(wire::RemoveTasks {
            tasks: tasks.iter().copied().map(id_bytes).collect(),
        }),
    }
}

impl TryFrom<pb::Action> for Action {
    type Error = Invalid;
    #[allow(clippy::too_many_lines, reason = "one arm a variant")]
    fn try_from(action: pb::Action) -> Result<Self, Invalid> {
        use wire::Action as Wire;
        Ok(match require(action.action, "action")? {
            Wire::CreateCluster(cluster) => {
                Action::Cluster(ClusterAction::Create(Box::new(cluster.try_into()?)))
            }
            Wire::UpdateCluster(wire::UpdateCluster { version, spec }) => {
                Action::Cluster(ClusterAction::Update {
                    version: Version(version),
                    spec: require(spec, "update_cluster.spec")?.try_into()?,
                })
            }
            Wire::SetJoinSecrets(wire::SetJoinSecrets {
                version,
                worker,
                manager,
            }) => Action::Cluster(ClusterAction::SetJoinSecrets {
                version: Version(version),
                secrets: JoinSecrets { worker, manager },
            }),
            Wire::SetRootCa(wire::SetRootCa {
                version,
                certificate,
                key,
            }) => Action::Cluster(ClusterAction::SetRootCa {
                version: Version(version),
                root_ca: RootCa { certificate, key },
            }),
            Wire::CreateNode(node) => Action::Node(NodeAction::Create(Box::new(node.try_into()?))),
            Wire::UpdateNode(wire::UpdateNode {
                id: node,
                version,
                spec,
            }) => Action::Node(NodeAction::Update {
                id: id(&node, "update_node.id")?,
                version: Version(version),
                spec: require(spec, "update_node.spec")?.try_into()?,
            }),
            Wire::DescribeNode(wire::DescribeNode {
                id: node,
                description,
                address: bytes,
            }) => Action::Node(NodeAction::Describe {
                id: id(&node, "describe_node.id")?,
                description: Box::new(
                    require(description, "describe_node.description")?.try_into()?,
                ),
                address: if bytes.is_empty() {
                    None
                } else {
                    Some(address(&bytes, "describe_node.address")?)
                },
            }),
            Wire::SetNodeStatus(wire::SetNodeStatus {
                id: node,
                version,
                status,
            }) => Action::Node(NodeAction::SetStatus {
                id: id(&node, "set_node_status.id")?,
                version: Version(version),
                status: require(status, "set_node_status.status")?.try_into()?,
            }),
            Wire::SetNodeRole(wire::SetNodeRole {
                id: node,
                role: number,
            }) => Action::Node(NodeAction::SetRole {
                id: id(&node, "set_node_role.id")?,
                role: role(number)?,
            }),
            Wire::SetNodeManager(wire::SetNodeManager { id: node, manager }) => {
                Action::Node(NodeAction::SetManager {
                    id: id(&node, "set_node_manager.id")?,
                    manager: manager.map(Into::into),
                })
            }
            Wire::SetNodeMesh(wire::SetNodeMesh {
                id: node,
                version,
                mesh,
            }) => Action::Node(NodeAction::SetMesh {
                id: id(&node, "set_node_mesh.id")?,
                version: Version(version),
                mesh: ipv4(&mesh, "set_node_mesh.mesh")?,
            }),
            Wire::RemoveNode(wire::RemoveNode {
                id: node,
                force,
                blocked_until_ms,
            }) => Action::Node(NodeAction::Remove {
                id: id(&node, "remove_node.id")?,
                force,
                blocked_until: Timestamp(blocked_until_ms),
            }),
            Wire::CreateService(wire::CreateService { id: service, spec }) => {
                Action::Service(ServiceAction::Create {
                    id: id(&service, "create_service.id")?,
                    spec: Box::new(require(spec, "create_service.spec")?.try_into()?),
                })
            }
            Wire::UpdateService(wire::UpdateService {
                id: service,
                version,
                spec,
            }) => Action::Service(ServiceAction::Update {
                id: id(&service, "update_service.id")?,
                version: Version(version),
                spec: Box::new(require(spec, "update_service.spec")?.try_into()?),
            }),
            Wire::RollbackService(wire::RollbackService {
                id: service,
                version,
                message,
                keep,
            }) => Action::Service(ServiceAction::Rollback {
                id: id(&service, "rollback_service.id")?,
                version: Version(version),
                message,
                keep,
            }),
            Wire::RemoveService(service) => Action::Service(ServiceAction::Remove {
                id: id(&service, "remove_service")?,
            }),
            Wire::SetEndpoint(wire::SetEndpoint {
                id: service,
                version,
                endpoint,
            }) => Action::Service(ServiceAction::SetEndpoint {
                id: id(&service, "set_endpoint.id")?,
                version: Version(version),
                endpoint: require(endpoint, "set_endpoint.endpoint")?.try_into()?,
            }),
            Wire::SetUpdateStatus(wire::SetUpdateStatus {
                id: service,
                version,
                status,
            }) => Action::Service(ServiceAction::SetUpdateStatus {
                id: id(&service, "set_update_status.id")?,
                version: Version(version),
                status: require(status, "set_update_status.status")?.try_into()?,
            }),
            Wire::CreateNetwork(wire::CreateNetwork { id: network, spec }) => {
                Action::Network(NetworkAction::Create {
                    id: id(&network, "create_network.id")?,
                    spec: Box::new(require(spec, "create_network.spec")?.try_into()?),
                })
            }
            Wire::RemoveNetwork(network) => Action::Network(NetworkAction::Remove {
                id: id(&network, "remove_network")?,
            }),
            Wire::SetBlocks(wire::SetBlocks {
                id: network,
                version,
                add_subnets,
                free,
                take,
            }) => {
                let taken = |pb::Block { prefix: text, node }| {
                    let owner = match optional_id(&node, "set_blocks.take.node")? {
                        Some(node) => BlockOwner::Node(node),
                        None => BlockOwner::Services,
                    };
                    Ok((prefix(&text, "set_blocks.take.prefix")?, owner))
                };
                Action::Network(NetworkAction::SetBlocks {
                    id: id(&network, "set_blocks.id")?,
                    version: Version(version),
                    add_subnets: prefixes(&add_subnets, "set_blocks.add_subnets")?,
                    free: prefixes(&free, "set_blocks.free")?,
                    take: take
                        .into_iter()
                        .map(taken)
                        .collect::<Result<_, Invalid>>()?,
                })
            }
            Wire::CreateSecret(wire::CreateData { id: secret, spec }) => {
                Action::Secret(SecretAction::Create {
                    id: id(&secret, "create_secret.id")?,
                    spec: Box::new(require(spec, "create_secret.spec")?.into()),
                })
            }
            Wire::SetSecretLabels(wire::SetLabels {
                id: secret,
                version,
                labels,
            }) => Action::Secret(SecretAction::SetLabels {
                id: id(&secret, "set_secret_labels.id")?,
                version: Version(version),
                labels,
            }),
            Wire::RemoveSecret(secret) => Action::Secret(SecretAction::Remove {
                id: id(&secret, "remove_secret")?,
            }),
            Wire::CreateConfig(wire::CreateData { id: config, spec }) => {
                Action::Config(ConfigAction::Create {
                    id: id(&config, "create_config.id")?,
                    spec: Box::new(require(spec, "create_config.spec")?.into()),
                })
            }
            Wire::SetConfigLabels(wire::SetLabels {
                id: config,
                version,
                labels,
            }) => Action::Config(ConfigAction::SetLabels {
                id: id(&config, "set_config_labels.id")?,
                version: Version(version),
                labels,
            }),
            Wire::RemoveConfig(config) => Action::Config(ConfigAction::Remove {
                id: id(&config, "remove_config")?,
            }),
            Wire::CreateTasks(wire::CreateTasks {
                service,
                spec_version,
                tasks,
            }) => Action::Task(TaskAction::Create {
                service: id(&service, "create_tasks.service")?,
                spec_version: Version(spec_version),
                tasks: tasks.into_iter().map(new_task).collect::<Result<_, _>>()?,
            }),
            Wire::PlaceTasks(wire::PlaceTasks { tasks }) => Action::Task(TaskAction::Place {
                tasks: tasks.into_iter().map(placement).collect::<Result<_, _>>()?,
            }),
            Wire::ExplainTasks(wire::ExplainTasks { tasks }) => {
                let explanation = |wire::Explanation {
                                       task,
                                       version,
                                       error,
                                   }| {
                    Ok(Explanation {
                        task: id(&task, "explanation.task")?,
                        version: Version(version),
                        error,
                    })
                };
                Action::Task(TaskAction::Explain {
                    tasks: tasks
                        .into_iter()
                        .map(explanation)
                        .collect::<Result<_, Invalid>>()?,
                })
            }
            Wire::SetDesired(wire::SetDesired { tasks }) => {
                let change = |wire::DesiredChange {
                                  task,
                                  version,
                                  desired,
                              }| {
                    Ok(DesiredChange {
                        task: id(&task, "set_desired.task")?,
                        version: Version(version),
                        desired: task_state(desired)?,
                    })
                };
                Action::Task(TaskAction::SetDesired {
                    tasks: tasks
                        .into_iter()
                        .map(change)
                        .collect::<Result<_, Invalid>>()?,
                })
            }
            Wire::UpdateStatus(wire::UpdateStatus { updates }) => {
                let observation = |wire::Observation { task, status }| {
                    Ok((
                        id(&task, "observation.task")?,
                        require(status, "observation.status")?.try_into()?,
                    ))
                };
                Action::Task(TaskAction::UpdateStatus {
                    updates: updates
                        .into_iter()
                        .map(observation)
                        .collect::<Result<_, Invalid>>()?,
                })
            }
            Wire::RemoveTasks(wire::RemoveTasks { tasks }) => Action::Task(TaskAction::Remove {
                tasks: tasks
                    .iter()
                    .map(|task| id(task, "remove_tasks"))
                    .collect::<Result<_, _>>()?,
            }),
        })
    }
}

fn new_task(task: wire::NewTask) -> Result<NewTask, Invalid> {
    let wire::NewTask {
        id: task_id,
        slot,
        desired,
        node,
        attachments,
        error,
    } = task;
    Ok(NewTask {
        id: id(&task_id, "new_task.id")?,
        slot: Slot(slot),
        desired: task_state(desired)?,
        node: optional_id(&node, "new_task.node")?,
        attachments: attachments
            .into_iter()
            .map(TryInto::try_into)
            .collect::<Result<_, _>>()?,
        error,
    })
}

fn placement(placement: wire::Placement) -> Result<Placement, Invalid> {
    let wire::Placement {
        task,
        version,
        node,
        attachments,
    } = placement;
    Ok(Placement {
        task: id(&task, "placement.task")?,
        version: Version(version),
        node: id(&node, "placement.node")?,
        attachments: attachments
            .into_iter()
            .map(TryInto::try_into)
            .collect::<Result<_, _>>()?,
    })
}
