//! Actions of an entry, onto the wire.

use super::{data, stack};
use crate::convert::basic::{address_bytes, id_bytes};
use crate::convert::client::clients_on_wire;
use crate::convert::cluster::unlock_key_bytes;
use crate::convert::format::since;
use crate::convert::network::block_on_wire;
use crate::convert::resources::generics_on_wire;
use crate::convert::task::restarts_on_wire;
use crate::pb;
use crate::pb::action as wire;
use skep_manager_store::{
    Action, Attached, ClusterAction, DesiredChange, Explanation, NetworkAction, NewTask,
    NodeAction, Placement, ServiceAction, TaskAction,
};
use skep_types::{JoinSecrets, RootCa};

impl From<&Action> for pb::Action {
    fn from(action: &Action) -> Self {
        let action = match action {
            Action::Cluster(action) => cluster(action),
            Action::Node(action) => node(action),
            Action::Service(action) => service(action),
            Action::Network(action) => network(action),
            Action::Secret(action) => data::secret(action),
            Action::Config(action) => data::config(action),
            Action::Task(action) => task(action),
            Action::Stack(action) => stack::on_wire(action),
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
            root_ca:
                RootCa {
                    certificate,
                    key,
                    next,
                    former,
                },
        } => wire::Action::SetRootCa(wire::SetRootCa {
            version: version.0,
            certificate: certificate.clone(),
            key: key.clone(),
            next: next.as_ref().map(Into::into),
            former: former.iter().map(Into::into).collect(),
        }),
        ClusterAction::Prune => wire::Action::Prune(wire::Prune {}),
        ClusterAction::RaiseFormat { format } => wire::Action::RaiseFormat(wire::RaiseFormat {
            format: format.0,
            since: since(*format),
        }),
        ClusterAction::SetUnlockKey { version, key } => {
            wire::Action::SetUnlockKey(wire::SetUnlockKey {
                version: version.0,
                key: unlock_key_bytes(key.as_ref()),
            })
        }
        ClusterAction::SetClients { version, clients } => {
            wire::Action::SetClients(wire::SetClients {
                version: version.0,
                clients: clients_on_wire(clients),
            })
        }
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

pub(super) fn service(action: &ServiceAction) -> wire::Action {
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
            to,
            message,
            failed,
        } => wire::Action::RollbackService(wire::RollbackService {
            id: id_bytes(*id),
            version: version.0,
            message: message.clone(),
            failed: *failed,
            to_revision: *to,
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
            outcome,
        } => wire::Action::SetUpdateStatus(wire::SetUpdateStatus {
            id: id_bytes(*id),
            version: version.0,
            status: Some(status.into()),
            outcome: outcome.map(|outcome| pb::RevisionOutcome::from(outcome).into()),
        }),
        ServiceAction::SetJobStatus {
            id,
            version,
            status,
        } => wire::Action::SetJobStatus(wire::SetJobStatus {
            id: id_bytes(*id),
            version: version.0,
            status: Some(status.into()),
        }),
        ServiceAction::Expire { id, version } => wire::Action::ExpireService(wire::ExpireService {
            id: id_bytes(*id),
            version: version.0,
        }),
        ServiceAction::Rebalance {
            id,
            version,
            begins,
        } => wire::Action::RebalanceService(wire::RebalanceService {
            id: id_bytes(*id),
            version: version.0,
            begins: *begins,
        }),
        ServiceAction::SetWait {
            id,
            version,
            waits_for,
        } => wire::Action::SetWait(wire::SetWait {
            id: id_bytes(*id),
            version: version.0,
            waits_for: waits_for.clone(),
        }),
    }
}

pub(super) fn network(action: &NetworkAction) -> wire::Action {
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
                .map(|(prefix, owner)| block_on_wire(prefix, owner))
                .collect(),
        }),
    }
}

fn task(action: &TaskAction) -> wire::Action {
    match action {
        TaskAction::Create {
            service,
            version,
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
                            cause,
                            restarts,
                            start_at,
                            run,
                            generic,
                        }: &NewTask| {
                wire::NewTask {
                    id: id_bytes(*id),
                    slot: slot.0,
                    desired: pb::TaskState::from(*desired).into(),
                    node: node.map(id_bytes).unwrap_or_default(),
                    attachments: attachments.iter().map(Into::into).collect(),
                    error: error.clone(),
                    cause: pb::Cause::from(*cause).into(),
                    restarts: restarts_on_wire(restarts),
                    start_at_ms: start_at.map(|at| at.0),
                    run: *run,
                    generic: generics_on_wire(generic),
                }
            };
            wire::Action::CreateTasks(wire::CreateTasks {
                service: id_bytes(*service),
                spec_version: spec_version.0,
                tasks: tasks.iter().map(task).collect(),
                version: version.0,
            })
        }
        TaskAction::Place { tasks } => {
            let placement = |Placement {
                                 task,
                                 version,
                                 node,
                                 attachments,
                                 generic,
                             }: &Placement| wire::Placement {
                task: id_bytes(*task),
                version: version.0,
                node: id_bytes(*node),
                attachments: attachments.iter().map(Into::into).collect(),
                generic: generics_on_wire(generic),
            };
            wire::Action::PlaceTasks(wire::PlaceTasks {
                tasks: tasks.iter().map(placement).collect(),
            })
        }
        TaskAction::Attach { tasks } => {
            let attached = |Attached {
                                task,
                                version,
                                attachments,
                            }: &Attached| wire::Attached {
                task: id_bytes(*task),
                version: version.0,
                attachments: attachments.iter().map(Into::into).collect(),
            };
            wire::Action::AttachTasks(wire::AttachTasks {
                tasks: tasks.iter().map(attached).collect(),
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
                              cause,
                          }: &DesiredChange| {
                wire::DesiredChange {
                    task: id_bytes(*task),
                    version: version.0,
                    desired: pb::TaskState::from(*desired).into(),
                    cause: cause.map(|cause| pb::Cause::from(cause).into()),
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
