//! Checks of a service's spec.

use super::{Invalid, dependencies, dns_name, isolation, job, placement, resources};
use crate::data::Data;
use crate::snapshot::Snapshot;
use skep_types::template;
use skep_types::{
    Config, ContainerSpec, EndpointMode, EndpointSpec, HealthCheck, HealthTest, Mount, MountKind,
    PortConfig, PublishMode, Rebalance, RestartPolicy, SHUTDOWN_DELAY_MAX, Secret, Service,
    ServiceMode, ServiceSpec, TaskSpec, UpdateConfig,
};
use std::collections::BTreeSet;
use std::time::Duration;

/// Most replicas of a service.
const REPLICAS_MAX: u32 = 100_000;
/// Shortest time in which an update must get further.
const DEADLINE_MIN: Duration = Duration::from_secs(1);

/// Checks a service that is to be made.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn validate_service(snapshot: &Snapshot, spec: &ServiceSpec) -> Result<(), Invalid> {
    dns_name("service", &spec.name)?;
    if snapshot.service_named(&spec.name).is_some() {
        return Err(Invalid::NameTaken {
            kind: "service",
            name: spec.name.clone(),
        });
    }
    require_newest(snapshot, spec, None)?;
    check(snapshot, spec, None)
}

/// Checks the new spec of a service.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn validate_service_update(
    snapshot: &Snapshot,
    present: &Service,
    spec: &ServiceSpec,
) -> Result<(), Invalid> {
    require_newest(snapshot, spec, Some(&present.spec.task.container))?;
    validate_return(snapshot, present, spec)
}

/// What is new refers to what is newest.
fn require_newest(
    snapshot: &Snapshot,
    spec: &ServiceSpec,
    present: Option<&ContainerSpec>,
) -> Result<(), Invalid> {
    Secret::require_newest(snapshot, &spec.task.container, present)?;
    Config::require_newest(snapshot, &spec.task.container, present)?;
    Ok(())
}

/// Checks the spec of an earlier revision, which may refer to what was superseded since.
///
/// # Errors
/// The first thing that is wrong with it.
pub(super) fn validate_return(
    snapshot: &Snapshot,
    present: &Service,
    spec: &ServiceSpec,
) -> Result<(), Invalid> {
    if present.spec.name != spec.name {
        return Err(Invalid::Renamed);
    }
    if !present.spec.mode.is_like(spec.mode) {
        return Err(Invalid::ModeChanged);
    }
    check(snapshot, spec, Some(present))
}

fn check(
    snapshot: &Snapshot,
    spec: &ServiceSpec,
    present: Option<&Service>,
) -> Result<(), Invalid> {
    // Destructured, so that a new part of a spec has to be thought of here.
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
    check_mode(*mode)?;
    if *rebalance == Rebalance::Auto && !matches!(mode, ServiceMode::Replicated { .. }) {
        return refuse("only tasks of a replicated service can be spread by themselves");
    }
    job::check(spec, job.as_deref())?;
    check_task(snapshot, task)?;
    let before = template::Context::before(name, labels);
    template::check(&task.container, &before)?;
    placement::check(*mode, &task.placement)?;
    check_update("update", update)?;
    check_update("rollback", rollback)?;
    check_endpoint(endpoint)?;
    check_ports_in_use(snapshot, endpoint, present)?;
    dependencies::check(snapshot, name, depends_on)
}

fn refuse<T>(message: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid::Spec(message.into()))
}

fn check_mode(mode: ServiceMode) -> Result<(), Invalid> {
    match mode {
        ServiceMode::Replicated { replicas } if replicas > REPLICAS_MAX => refuse(format!(
            "{replicas} replicas are too many: a service can have {REPLICAS_MAX} at most"
        )),
        ServiceMode::ReplicatedJob { completions, .. } if completions > REPLICAS_MAX => {
            refuse(format!(
                "{completions} completions are too many: a job can have {REPLICAS_MAX} at most"
            ))
        }
        ServiceMode::Replicated { .. }
        | ServiceMode::Global
        | ServiceMode::ReplicatedJob { .. }
        | ServiceMode::GlobalJob => Ok(()),
    }
}

fn check_task(snapshot: &Snapshot, task: &TaskSpec) -> Result<(), Invalid> {
    let TaskSpec {
        container,
        resources,
        restart,
        placement: _,
        networks,
        log_driver: _,
        force_update: _,
    } = task;
    check_container(snapshot, container)?;
    resources::check(resources)?;
    check_restart(restart)?;
    let mut seen = BTreeSet::new();
    for attachment in networks {
        let Some(network) = snapshot.network(attachment.network) else {
            return Err(Invalid::Missing {
                kind: "network",
                name: attachment.network.to_string(),
            });
        };
        if network.spec.ingress {
            return refuse(format!(
                "ingress network '{}' cannot be used by services by name; publish a port instead",
                network.spec.name
            ));
        }
        if !seen.insert(attachment.network) {
            return refuse(format!(
                "network '{}' is given more than once",
                network.spec.name
            ));
        }
    }
    Ok(())
}

fn check_container(snapshot: &Snapshot, container: &ContainerSpec) -> Result<(), Invalid> {
    if container.image.is_empty() {
        return refuse("ContainerSpec: image reference must be provided");
    }
    let image_fits = |c: char| c.is_ascii_graphic() && !"\"'\\<>|".contains(c);
    if !container.image.chars().all(image_fits) {
        return refuse(format!(
            "ContainerSpec: \"{}\" is not a valid repository/tag",
            container.image
        ));
    }
    let mut targets = BTreeSet::new();
    for mount in &container.mounts {
        check_mount(mount)?;
        if !targets.insert(mount.target.trim_end_matches('/')) {
            return refuse(format!(
                "ContainerSpec: duplicate mount point: {}",
                mount.target
            ));
        }
    }
    if let Some(health) = &container.health_check {
        check_health("Healthcheck", HealthCheck::MIN, health)?;
    }
    if let Some(readiness) = &container.readiness {
        check_health("Readiness", HealthCheck::READINESS_MIN, readiness)?;
        if matches!(readiness.test, HealthTest::Inherit | HealthTest::Disabled) {
            return refuse("ContainerSpec: Readiness has no Test; leave it out for none");
        }
    }
    if container
        .shutdown_delay
        .is_some_and(|delay| delay > SHUTDOWN_DELAY_MAX)
    {
        return refuse("ContainerSpec: ShutdownDelay cannot be more than one hour");
    }
    isolation::check(container)?;
    let mut files = BTreeSet::new();
    for secret in &container.secrets {
        if snapshot.secret(secret.id).is_none() {
            return Err(Invalid::Missing {
                kind: "secret",
                name: secret.name.clone(),
            });
        }
        if !files.insert(("secret", &secret.target.path)) {
            return refuse(format!(
                "secrets '{}' and another have a conflicting target: '{}'",
                secret.name, secret.target.path
            ));
        }
    }
    for config in &container.configs {
        if snapshot.config(config.id).is_none() {
            return Err(Invalid::Missing {
                kind: "config",
                name: config.name.clone(),
            });
        }
        if !files.insert(("config", &config.target.path)) {
            return refuse(format!(
                "configs '{}' and another have a conflicting target: '{}'",
                config.name, config.target.path
            ));
        }
    }
    Ok(())
}

fn check_mount(mount: &Mount) -> Result<(), Invalid> {
    if mount.target.is_empty() {
        return refuse("invalid mount: its target must not be empty");
    }
    if !mount.target.starts_with('/') {
        return refuse(format!(
            "invalid mount target, must be an absolute path: {}",
            mount.target
        ));
    }
    match &mount.kind {
        MountKind::Bind { source, .. } if !source.starts_with('/') => refuse(format!(
            "invalid bind mount source, must be an absolute path: {source}"
        )),
        _ => Ok(()),
    }
}

fn check_health(what: &str, least: Duration, health: &HealthCheck) -> Result<(), Invalid> {
    let times = [
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartInterval", health.start_interval),
    ];
    for (name, time) in times {
        if time.is_some_and(|time| !time.is_zero() && time < least) {
            return refuse(format!(
                "ContainerSpec: {name} in {what} cannot be less than {least:?}"
            ));
        }
    }
    let checked = health.test.check();
    checked.or_else(|wrong| refuse(format!("ContainerSpec: Test in {what}: {wrong}")))
}

fn check_restart(restart: &RestartPolicy) -> Result<(), Invalid> {
    let RestartPolicy {
        condition: _,
        delay: _,
        max_attempts: _,
        window: _,
        max_delay,
    } = restart;
    if max_delay.is_some_and(|most| most > RestartPolicy::MAX_DELAY) {
        return refuse("TaskSpec: restart-max-delay cannot be more than 24h");
    }
    Ok(())
}

fn check_update(kind: &str, update: &UpdateConfig) -> Result<(), Invalid> {
    if !(0.0..=1.0).contains(&update.max_failure_ratio) {
        return refuse(format!(
            "TaskSpec: {kind}-maxfailureratio cannot be less than 0 or bigger than 1"
        ));
    }
    let deadline = update.progress_deadline.unwrap_or_default();
    if !deadline.is_zero() && deadline < DEADLINE_MIN {
        return refuse(format!(
            "{kind}-progress-deadline is {deadline:?}: it must be at least 1s, or 0 for none"
        ));
    }
    Ok(())
}

fn check_endpoint(endpoint: &EndpointSpec) -> Result<(), Invalid> {
    let mut seen = BTreeSet::new();
    for port in &endpoint.ports {
        let ingress = port.mode == PublishMode::Ingress;
        if ingress && endpoint.mode == EndpointMode::DnsRoundRobin {
            return refuse(
                "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
            );
        }
        if port.target == 0 {
            return refuse("EndpointSpec: target port must be from 1 to 65535");
        }
        if port.published != 0 && !seen.insert((port.protocol, port.published)) {
            return refuse(format!(
                "EndpointSpec: duplicate published ports provided: {}",
                port.published
            ));
        }
    }
    Ok(())
}

/// The ports that a service is to have: those that it says, and those that the swarm chose
/// for it. One that it gave up and still has until the next pass is free.
fn published(service: &Service) -> impl Iterator<Item = &PortConfig> {
    let asked = &service.spec.endpoint.ports;
    let chosen = service.endpoint.ports.iter().filter(|given| {
        let is_it = |asked: &PortConfig| {
            asked.published == 0
                && (asked.protocol, asked.target, asked.mode)
                    == (given.protocol, given.target, given.mode)
        };
        asked.iter().any(is_it)
    });
    asked.iter().chain(chosen)
}

/// Ingress ports are the whole swarm's; host ports clash with them, but not
/// with each other: the scheduler keeps those apart.
fn check_ports_in_use(
    snapshot: &Snapshot,
    endpoint: &EndpointSpec,
    present: Option<&Service>,
) -> Result<(), Invalid> {
    let uses_ingress = |ports: &[PortConfig]| ports.iter().any(|p| p.mode == PublishMode::Ingress);
    if uses_ingress(&endpoint.ports) && snapshot.ingress().is_none() {
        return Err(Invalid::NoIngress);
    }
    for port in endpoint.ports.iter().filter(|port| port.published != 0) {
        for service in snapshot.services() {
            if present.is_some_and(|present| present.id == service.id) {
                continue;
            }
            for used in published(service) {
                if (used.protocol, used.published) != (port.protocol, port.published) {
                    continue;
                }
                let how = match (port.mode, used.mode) {
                    (PublishMode::Host, PublishMode::Host) => continue,
                    (_, PublishMode::Ingress) => "an ingress port",
                    (PublishMode::Ingress, PublishMode::Host) => "a host-published port",
                };
                return Err(Invalid::PortInUse {
                    port: port.published,
                    service: service.spec.name.clone(),
                    id: service.id,
                    how,
                });
            }
        }
    }
    Ok(())
}
