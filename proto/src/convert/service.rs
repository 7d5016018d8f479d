//! Services, their specs and how they are reached. Modes and jobs are `job`'s.

use super::basic::{address, address_bytes, id, id_bytes, millis, port, require, wire_enum};
use crate::{Invalid, pb};
use skep_types::{
    Dependency, DependencyCondition, Endpoint, EndpointMode, EndpointSpec, FailureAction,
    LogDriver, NetworkAttachmentSpec, PortConfig, Protocol, PublishMode, Rebalance,
    RestartCondition, RestartPolicy, ServiceSpec, TaskSpec, Timestamp, UpdateConfig, UpdateOrder,
    UpdateState, UpdateStatus, Vip,
};
use std::sync::Arc;
use std::time::Duration;

wire_enum!(RestartCondition, RestartCondition, restart_condition, "restart.condition", {
    None = None, OnFailure = OnFailure, Any = Any,
});
wire_enum!(FailureAction, FailureAction, failure_action, "update.failure_action", {
    Pause = Pause, Continue = Continue, Rollback = Rollback,
});
wire_enum!(UpdateOrder, UpdateOrder, update_order, "update.order", {
    StopFirst = StopFirst, StartFirst = StartFirst,
});
wire_enum!(EndpointMode, EndpointMode, endpoint_mode, "endpoint.mode", {
    Vip = Vip, DnsRoundRobin = Dnsrr,
});
wire_enum!(Protocol, Protocol, protocol, "port.protocol", { Tcp = Tcp, Udp = Udp, Sctp = Sctp });
wire_enum!(PublishMode, PublishMode, publish_mode, "port.mode", { Ingress = Ingress, Host = Host });
wire_enum!(UpdateState, UpdateState, update_state, "update_status.state", {
    Updating = Updating, Paused = Paused, Completed = Completed,
    RollbackStarted = RollbackStarted, RollbackPaused = RollbackPaused,
    RollbackCompleted = RollbackCompleted,
});

wire_enum!(Rebalance, Rebalance, rebalance, "service.rebalance", {
    Manual = Manual, Auto = Auto,
});

impl From<&ServiceSpec> for pb::ServiceSpec {
    fn from(spec: &ServiceSpec) -> Self {
        let ServiceSpec {
            name,
            labels,
            mode,
            task,
            update,
            rollback,
            endpoint,
            job,
            rebalance,
            depends_on,
        } = spec;
        pb::ServiceSpec {
            name: name.clone(),
            labels: labels.clone(),
            mode: Some((*mode).into()),
            task: Some(task.as_ref().into()),
            update: Some(update.into()),
            rollback: Some(rollback.into()),
            endpoint: Some(endpoint.into()),
            job: job.as_deref().map(Into::into),
            rebalance: pb::Rebalance::from(*rebalance).into(),
            depends_on: depends_on.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::ServiceSpec> for ServiceSpec {
    type Error = Invalid;
    fn try_from(spec: pb::ServiceSpec) -> Result<Self, Invalid> {
        let pb::ServiceSpec {
            name,
            labels,
            mode,
            task,
            update,
            rollback,
            endpoint,
            job,
            rebalance,
            depends_on,
        } = spec;
        Ok(ServiceSpec {
            name,
            labels,
            mode: require(mode, "service.mode")?.try_into()?,
            task: Arc::new(require(task, "service.task")?.try_into()?),
            update: require(update, "service.update")?.try_into()?,
            rollback: require(rollback, "service.rollback")?.try_into()?,
            endpoint: require(endpoint, "service.endpoint")?.try_into()?,
            job: job.map(TryInto::try_into).transpose()?.map(Box::new),
            rebalance: self::rebalance(rebalance)?,
            depends_on: depends_on
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
        })
    }
}

wire_enum!(DependencyCondition, DependencyCondition, condition, "service.depends_on.condition", {
    Started = Started, Healthy = Healthy, Completed = Completed,
});

impl From<&Dependency> for pb::Dependency {
    fn from(dependency: &Dependency) -> Self {
        let Dependency {
            service,
            condition,
            optional,
        } = dependency;
        pb::Dependency {
            service: service.clone(),
            condition: pb::DependencyCondition::from(*condition).into(),
            optional: *optional,
        }
    }
}

impl TryFrom<pb::Dependency> for Dependency {
    type Error = Invalid;
    fn try_from(dependency: pb::Dependency) -> Result<Self, Invalid> {
        let pb::Dependency {
            service,
            condition,
            optional,
        } = dependency;
        Ok(Dependency {
            service,
            condition: self::condition(condition)?,
            optional,
        })
    }
}

impl From<&TaskSpec> for pb::TaskSpec {
    fn from(spec: &TaskSpec) -> Self {
        let TaskSpec {
            container,
            resources,
            restart,
            placement,
            networks,
            log_driver,
            force_update,
        } = spec;
        pb::TaskSpec {
            container: Some(container.into()),
            resources: Some(resources.into()),
            restart: Some(restart.into()),
            placement: Some(placement.into()),
            networks: networks.iter().map(Into::into).collect(),
            log_driver: log_driver.as_ref().map(Into::into),
            force_update: *force_update,
        }
    }
}

impl TryFrom<pb::TaskSpec> for TaskSpec {
    type Error = Invalid;
    fn try_from(spec: pb::TaskSpec) -> Result<Self, Invalid> {
        let pb::TaskSpec {
            container,
            resources,
            restart,
            placement,
            networks,
            log_driver,
            force_update,
        } = spec;
        Ok(TaskSpec {
            container: require(container, "task.container")?.try_into()?,
            resources: require(resources, "task.resources")?.into(),
            restart: require(restart, "task.restart")?.try_into()?,
            placement: require(placement, "task.placement")?.into(),
            networks: networks
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            log_driver: log_driver.map(Into::into),
            force_update,
        })
    }
}

impl From<&NetworkAttachmentSpec> for pb::NetworkAttachmentSpec {
    fn from(spec: &NetworkAttachmentSpec) -> Self {
        let NetworkAttachmentSpec { network, aliases } = spec;
        pb::NetworkAttachmentSpec {
            network: id_bytes(*network),
            aliases: aliases.clone(),
        }
    }
}

impl TryFrom<pb::NetworkAttachmentSpec> for NetworkAttachmentSpec {
    type Error = Invalid;
    fn try_from(spec: pb::NetworkAttachmentSpec) -> Result<Self, Invalid> {
        let pb::NetworkAttachmentSpec { network, aliases } = spec;
        Ok(NetworkAttachmentSpec {
            network: id(&network, "task.networks.network")?,
            aliases,
        })
    }
}

impl From<&LogDriver> for pb::LogDriver {
    fn from(driver: &LogDriver) -> Self {
        let LogDriver { name, options } = driver;
        pb::LogDriver {
            name: name.clone(),
            options: options.clone(),
        }
    }
}

impl From<pb::LogDriver> for LogDriver {
    fn from(driver: pb::LogDriver) -> Self {
        let pb::LogDriver { name, options } = driver;
        LogDriver { name, options }
    }
}

impl From<&RestartPolicy> for pb::RestartPolicy {
    fn from(policy: &RestartPolicy) -> Self {
        let RestartPolicy {
            condition,
            delay,
            max_attempts,
            window,
            max_delay,
        } = policy;
        pb::RestartPolicy {
            condition: pb::RestartCondition::from(*condition).into(),
            delay_ms: delay.map(millis),
            max_attempts: *max_attempts,
            window_ms: millis(*window),
            max_delay_ms: max_delay.map(millis),
        }
    }
}

impl TryFrom<pb::RestartPolicy> for RestartPolicy {
    type Error = Invalid;
    fn try_from(policy: pb::RestartPolicy) -> Result<Self, Invalid> {
        let pb::RestartPolicy {
            condition,
            delay_ms,
            max_attempts,
            window_ms,
            max_delay_ms,
        } = policy;
        Ok(RestartPolicy {
            condition: restart_condition(condition)?,
            delay: delay_ms.map(Duration::from_millis),
            max_attempts,
            window: Duration::from_millis(window_ms),
            max_delay: max_delay_ms.map(Duration::from_millis),
        })
    }
}

impl From<&UpdateConfig> for pb::UpdateConfig {
    fn from(config: &UpdateConfig) -> Self {
        let UpdateConfig {
            parallelism,
            delay,
            failure_action,
            monitor,
            max_failure_ratio,
            order,
            progress_deadline,
        } = config;
        pb::UpdateConfig {
            parallelism: *parallelism,
            delay_ms: millis(*delay),
            failure_action: pb::FailureAction::from(*failure_action).into(),
            monitor_ms: monitor.map(millis),
            max_failure_ratio: *max_failure_ratio,
            order: pb::UpdateOrder::from(*order).into(),
            progress_deadline_ms: progress_deadline.map(millis),
        }
    }
}

impl TryFrom<pb::UpdateConfig> for UpdateConfig {
    type Error = Invalid;
    fn try_from(config: pb::UpdateConfig) -> Result<Self, Invalid> {
        let pb::UpdateConfig {
            parallelism,
            delay_ms,
            failure_action: action,
            monitor_ms,
            max_failure_ratio,
            order,
            progress_deadline_ms,
        } = config;
        Ok(UpdateConfig {
            parallelism,
            delay: Duration::from_millis(delay_ms),
            failure_action: failure_action(action)?,
            monitor: monitor_ms.map(Duration::from_millis),
            max_failure_ratio,
            order: update_order(order)?,
            progress_deadline: progress_deadline_ms.map(Duration::from_millis),
        })
    }
}

impl From<&EndpointSpec> for pb::EndpointSpec {
    fn from(spec: &EndpointSpec) -> Self {
        let EndpointSpec { mode, ports } = spec;
        pb::EndpointSpec {
            mode: pb::EndpointMode::from(*mode).into(),
            ports: ports.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::EndpointSpec> for EndpointSpec {
    type Error = Invalid;
    fn try_from(spec: pb::EndpointSpec) -> Result<Self, Invalid> {
        let pb::EndpointSpec { mode, ports } = spec;
        Ok(EndpointSpec {
            mode: endpoint_mode(mode)?,
            ports: ports
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<&PortConfig> for pb::PortConfig {
    fn from(config: &PortConfig) -> Self {
        let PortConfig {
            protocol,
            target,
            published,
            mode,
            masquerade,
        } = config;
        pb::PortConfig {
            protocol: pb::Protocol::from(*protocol).into(),
            target: u32::from(*target),
            published: u32::from(*published),
            mode: pb::PublishMode::from(*mode).into(),
            masquerade: *masquerade,
        }
    }
}

impl TryFrom<pb::PortConfig> for PortConfig {
    type Error = Invalid;
    fn try_from(config: pb::PortConfig) -> Result<Self, Invalid> {
        let pb::PortConfig {
            protocol: transport,
            target,
            published,
            mode,
            masquerade,
        } = config;
        Ok(PortConfig {
            protocol: protocol(transport)?,
            target: port(target, "port.target")?,
            published: port(published, "port.published")?,
            mode: publish_mode(mode)?,
            masquerade,
        })
    }
}

impl From<&Endpoint> for pb::Endpoint {
    fn from(endpoint: &Endpoint) -> Self {
        let Endpoint { mode, ports, vips } = endpoint;
        pb::Endpoint {
            mode: pb::EndpointMode::from(*mode).into(),
            ports: ports.iter().map(Into::into).collect(),
            vips: vips
                .iter()
                .map(|Vip { network, address }| pb::Vip {
                    network: id_bytes(*network),
                    address: address_bytes(*address),
                })
                .collect(),
        }
    }
}

impl TryFrom<pb::Endpoint> for Endpoint {
    type Error = Invalid;
    fn try_from(endpoint: pb::Endpoint) -> Result<Self, Invalid> {
        let pb::Endpoint { mode, ports, vips } = endpoint;
        let vip = |pb::Vip {
                       network,
                       address: bytes,
                   }| {
            Ok(Vip {
                network: id(&network, "vip.network")?,
                address: address(&bytes, "vip.address")?,
            })
        };
        Ok(Endpoint {
            mode: endpoint_mode(mode)?,
            ports: ports
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            vips: vips.into_iter().map(vip).collect::<Result<_, Invalid>>()?,
        })
    }
}

impl From<&UpdateStatus> for pb::UpdateStatus {
    fn from(status: &UpdateStatus) -> Self {
        let UpdateStatus {
            state,
            started_at,
            completed_at,
            message,
            resumed_at,
        } = status;
        pb::UpdateStatus {
            state: pb::UpdateState::from(*state).into(),
            started_at_ms: started_at.0,
            completed_at_ms: completed_at.map(|at| at.0),
            message: message.clone(),
            resumed_at_ms: resumed_at.map(|at| at.0),
        }
    }
}

impl TryFrom<pb::UpdateStatus> for UpdateStatus {
    type Error = Invalid;
    fn try_from(status: pb::UpdateStatus) -> Result<Self, Invalid> {
        let pb::UpdateStatus {
            state,
            started_at_ms,
            completed_at_ms,
            message,
            resumed_at_ms,
        } = status;
        Ok(UpdateStatus {
            state: update_state(state)?,
            started_at: Timestamp(started_at_ms),
            completed_at: completed_at_ms.map(Timestamp),
            message,
            resumed_at: resumed_at_ms.map(Timestamp),
        })
    }
}
