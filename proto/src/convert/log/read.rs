//! Actions of an entry, from the wire.

use super::{data, stack};
use crate::convert::basic::{address, id, ipv4, optional_id, prefixes, require};
use crate::convert::client;
use crate::convert::cluster::unlock_key;
use crate::convert::format::known;
use crate::convert::network::block;
use crate::convert::node::role;
use crate::convert::resources::generics;
use crate::convert::revision::outcome;
use crate::convert::task::{cause, task_state};
use crate::pb::action as wire;
use crate::{Invalid, pb};
use skep_manager_store::{
    Action, Attached, ClusterAction, ConfigAction, DesiredChange, Explanation, NetworkAction,
    NewTask, NodeAction, Placement, SecretAction, ServiceAction, TaskAction,
};
use skep_types::{JoinSecrets, RootCa, Slot, Timestamp, Version};

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
                next,
                former,
            }) => Action::Cluster(ClusterAction::SetRootCa {
                version: Version(version),
                root_ca: RootCa {
                    certificate,
                    key,
                    next: next.map(Into::into),
                    former: former.into_iter().map(Into::into).collect(),
                },
            }),
            Wire::Prune(wire::Prune {}) => Action::Cluster(ClusterAction::Prune),
            Wire::RaiseFormat(wire::RaiseFormat { format, since }) => {
                let format = known(format, since)?;
                Action::Cluster(ClusterAction::RaiseFormat { format })
            }
            Wire::SetUnlockKey(wire::SetUnlockKey { version, key }) => {
                Action::Cluster(ClusterAction::SetUnlockKey {
                    version: Version(version),
                    key: unlock_key(&key, "set_unlock_key.key")?,
                })
            }
            Wire::SetClients(wire::SetClients { version, clients }) => {
                Action::Cluster(ClusterAction::SetClients {
                    version: Version(version),
                    clients: client::clients(clients)?,
                })
            }
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
                failed,
                to_revision,
            }) => Action::Service(ServiceAction::Rollback {
                id: id(&service, "rollback_service.id")?,
                version: Version(version),
                to: to_revision,
                message,
                failed,
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
                outcome: outcome_field,
            }) => Action::Service(ServiceAction::SetUpdateStatus {
                id: id(&service, "set_update_status.id")?,
                version: Version(version),
                status: require(status, "set_update_status.status")?.try_into()?,
                outcome: outcome_field.map(outcome).transpose()?,
            }),
            Wire::SetJobStatus(wire::SetJobStatus {
                id: service,
                version,
                status,
            }) => Action::Service(ServiceAction::SetJobStatus {
                id: id(&service, "set_job_status.id")?,
                version: Version(version),
                status: require(status, "set_job_status.status")?.try_into()?,
            }),
            Wire::ExpireService(wire::ExpireService {
                id: service,
                version,
            }) => Action::Service(ServiceAction::Expire {
                id: id(&service, "expire_service.id")?,
                version: Version(version),
            }),
            Wire::RebalanceService(wire::RebalanceService {
                id: service,
                version,
                begins,
            }) => Action::Service(ServiceAction::Rebalance {
                id: id(&service, "rebalance_service.id")?,
                version: Version(version),
                begins,
            }),
            Wire::SetWait(wire::SetWait {
                id: service,
                version,
                waits_for,
            }) => Action::Service(ServiceAction::SetWait {
                id: id(&service, "set_wait.id")?,
                version: Version(version),
                waits_for,
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
            }) => Action::Network(NetworkAction::SetBlocks {
                id: id(&network, "set_blocks.id")?,
                version: Version(version),
                add_subnets: prefixes(&add_subnets, "set_blocks.add_subnets")?,
                free: prefixes(&free, "set_blocks.free")?,
                take: take
                    .into_iter()
                    .map(block)
                    .collect::<Result<_, Invalid>>()?,
            }),
            Wire::CreateSecret(made) => Action::Secret(data::created(made)?),
            Wire::SetSecretLabels(set) => Action::Secret(data::labelled(set)?),
            Wire::RotateSecret(rotated) => Action::Secret(data::rotated(rotated)?),
            Wire::RemoveSecret(secret) => Action::Secret(SecretAction::Remove {
                id: id(&secret, "remove_secret")?,
            }),
            Wire::RollOutSecret(secret) => Action::Secret(SecretAction::RollOut {
                id: id(&secret, "roll_out_secret")?,
            }),
            Wire::CollectSecret(secret) => Action::Secret(SecretAction::Collect {
                id: id(&secret, "collect_secret")?,
            }),
            Wire::CreateConfig(made) => Action::Config(data::created(made)?),
            Wire::SetConfigLabels(set) => Action::Config(data::labelled(set)?),
            Wire::RotateConfig(rotated) => Action::Config(data::rotated(rotated)?),
            Wire::RemoveConfig(config) => Action::Config(ConfigAction::Remove {
                id: id(&config, "remove_config")?,
            }),
            Wire::RollOutConfig(config) => Action::Config(ConfigAction::RollOut {
                id: id(&config, "roll_out_config")?,
            }),
            Wire::CollectConfig(config) => Action::Config(ConfigAction::Collect {
                id: id(&config, "collect_config")?,
            }),
            Wire::CreateTasks(wire::CreateTasks {
                service,
                spec_version,
                tasks,
                version,
            }) => Action::Task(TaskAction::Create {
                service: id(&service, "create_tasks.service")?,
                version: Version(version),
                spec_version: Version(spec_version),
                tasks: tasks.into_iter().map(new_task).collect::<Result<_, _>>()?,
            }),
            Wire::PlaceTasks(wire::PlaceTasks { tasks }) => Action::Task(TaskAction::Place {
                tasks: tasks.into_iter().map(placement).collect::<Result<_, _>>()?,
            }),
            Wire::AttachTasks(wire::AttachTasks { tasks }) => Action::Task(TaskAction::Attach {
                tasks: tasks.into_iter().map(attached).collect::<Result<_, _>>()?,
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
                                  cause: number,
                              }| {
                    Ok(DesiredChange {
                        task: id(&task, "set_desired.task")?,
                        version: Version(version),
                        desired: task_state(desired)?,
                        cause: number.map(cause).transpose()?,
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
            Wire::ApplyStack(apply) => Action::Stack(stack::applied(apply)?),
            Wire::RemoveStack(remove) => Action::Stack(stack::removed(remove)?),
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
        cause: number,
        restarts,
        start_at_ms,
        run,
        generic,
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
        cause: cause(number)?,
        restarts: restarts.map(Into::into).unwrap_or_default(),
        start_at: start_at_ms.map(Timestamp),
        run,
        generic: generics(generic)?,
    })
}

fn attached(attached: wire::Attached) -> Result<Attached, Invalid> {
    let wire::Attached {
        task,
        version,
        attachments,
    } = attached;
    Ok(Attached {
        task: id(&task, "attached.task")?,
        version: Version(version),
        attachments: attachments
            .into_iter()
            .map(TryInto::try_into)
            .collect::<Result<_, _>>()?,
    })
}

fn placement(placement: wire::Placement) -> Result<Placement, Invalid> {
    let wire::Placement {
        task,
        version,
        node,
        attachments,
        generic,
    } = placement;
    Ok(Placement {
        task: id(&task, "placement.task")?,
        version: Version(version),
        node: id(&node, "placement.node")?,
        attachments: attachments
            .into_iter()
            .map(TryInto::try_into)
            .collect::<Result<_, _>>()?,
        generic: generics(generic)?,
    })
}
