//! Services and their parts as JSON.

use super::resources::wanted;
use super::{head, labels, lean, publish_mode};
use crate::human::timestamp;
use serde_json::{Value, json};
use skep_types::{
    ContainerSpec, EndpointMode, FailureAction, FileReference, HealthCheck, Ipc, JobRun, Mount,
    MountKind, PortConfig, Rebalance, RestartCondition, Service, ServiceMode, ServiceSpec,
    TaskSpec, UpdateConfig, UpdateOrder, UpdateState,
};
use std::time::Duration;

/// A service.
pub fn service(service: &Service) -> Value {
    let mut out = head(&service.id.to_string(), &service.meta);
    out["Spec"] = spec(&service.spec);
    if let Some(before) = service.before() {
        out["PreviousSpec"] = spec(&service.as_before(before));
    }
    let endpoint = &service.endpoint;
    out["Endpoint"] = lean(json!({
        "Spec": {
            "Mode": mode(service.spec.endpoint.mode),
            "Ports": ports(&service.spec.endpoint.ports),
        },
        "Ports": ports(&endpoint.ports),
        "VirtualIPs": endpoint.vips.iter().map(|vip| json!({
            "NetworkID": vip.network.to_string(),
            "Addr": vip.address.to_string(),
        })).collect::<Vec<_>>(),
    }));
    if let Some(status) = &service.update_status {
        out["UpdateStatus"] = lean(json!({
            "State": update_state(status.state),
            "StartedAt": timestamp(status.started_at.0),
            "CompletedAt": status.completed_at.map(|at| timestamp(at.0)),
            "ResumedAt": status.resumed_at.map(|at| timestamp(at.0)),
            "Message": status.message,
        }));
    }
    if let Some(since) = service.rebalance_since {
        out["RebalanceSince"] = json!(timestamp(since.0));
    }
    if !service.waits_for.is_empty() {
        out["WaitsFor"] = json!(service.waits_for);
    }
    if let Some(newest) = service.job.newest() {
        out["JobStatus"] = json!({
            "JobIteration": {"Index": newest.number},
            "LastExecution": timestamp(newest.started_at.0),
            "Skipped": service.job.skipped,
            "Runs": service.job.runs.iter().map(job_run).collect::<Vec<_>>(),
        });
    }
    out
}

fn job_run(run: &JobRun) -> Value {
    lean(json!({
        "Number": run.number,
        "Cause": run.cause.name(),
        "DueAt": run.due_at.map(|at| timestamp(at.0)),
        "StartedAt": timestamp(run.started_at.0),
        "EndedAt": run.end.map(|end| timestamp(end.at.0)),
        "Outcome": run.end.map(|end| end.outcome.name()),
        "Succeeded": run.end.map(|end| end.succeeded),
        "Failed": run.end.map(|end| end.failed),
        "ExitCode": run.end.and_then(|end| end.exit_code),
    }))
}

/// The state of an update in Docker's words.
pub fn update_state(state: UpdateState) -> &'static str {
    match state {
        UpdateState::Updating => "updating",
        UpdateState::Paused => "paused",
        UpdateState::Completed => "completed",
        UpdateState::RollbackStarted => "rollback_started",
        UpdateState::RollbackPaused => "rollback_paused",
        UpdateState::RollbackCompleted => "rollback_completed",
    }
}

/// The spec of a service.
pub fn spec(spec: &ServiceSpec) -> Value {
    let mut out = json!({
        "Name": spec.name,
        "Labels": labels(&spec.labels),
        "TaskTemplate": task_spec(&spec.task),
        "Mode": match spec.mode {
            ServiceMode::Replicated { replicas } => json!({"Replicated": {"Replicas": replicas}}),
            ServiceMode::Global => json!({"Global": {}}),
            ServiceMode::ReplicatedJob { completions, concurrent } => json!({"ReplicatedJob": {
                "MaxConcurrent": concurrent,
                "TotalCompletions": completions,
            }}),
            ServiceMode::GlobalJob => json!({"GlobalJob": {}}),
        },
        "EndpointSpec": lean(json!({
            "Mode": mode(spec.endpoint.mode),
            "Ports": ports(&spec.endpoint.ports),
        })),
    });
    if !spec.mode.is_job() {
        out["UpdateConfig"] = update(&spec.update);
        out["RollbackConfig"] = update(&spec.rollback);
    }
    if spec.rebalance == Rebalance::Auto {
        out["Rebalance"] = json!("auto");
    }
    if !spec.depends_on.is_empty() {
        let depends_on = spec.depends_on.iter().map(|on| {
            json!({
                "Service": on.service,
                "Condition": on.condition.name(),
                "Required": !on.optional,
            })
        });
        out["DependsOn"] = depends_on.collect();
    }
    if let Some(job) = &spec.job {
        out["Job"] = lean(json!({
            "Deadline": job.deadline.map(nanos),
            "TTL": job.ttl.map(nanos),
            "Schedule": job.schedule.as_ref().map(|schedule| json!({
                "Cron": schedule.cron.to_string(),
                "TimeZone": schedule.time_zone,
                "Concurrency": schedule.concurrency.name(),
                "StartingDeadline": schedule.starting_deadline.map(nanos),
                "Suspend": schedule.suspend,
            })),
        }));
    }
    out
}

/// The template of a service's tasks.
fn task_spec(task: &TaskSpec) -> Value {
    let resources = &task.resources;
    let set = |value: u64| (value > 0).then_some(value);
    let mut out = json!({
        "ContainerSpec": lean(container(&task.container)),
        "Resources": {
            "Limits": lean(json!({
                "NanoCPUs": set(resources.cpu_limit.0),
                "MemoryBytes": set(resources.memory_limit.0),
                "Pids": resources.pids_limit,
            })),
            "Reservations": lean(json!({
                "NanoCPUs": set(resources.cpu_reservation.0),
                "MemoryBytes": set(resources.memory_reservation.0),
                "GenericResources": wanted(&resources.generic),
            })),
        },
        "RestartPolicy": lean(json!({
            "Condition": match task.restart.condition {
                RestartCondition::None => "none",
                RestartCondition::OnFailure => "on-failure",
                RestartCondition::Any => "any",
            },
            "Delay": nanos(task.restart.delay.unwrap_or(Duration::from_secs(5))),
            "MaxAttempts": task.restart.max_attempts,
            "Window": set(nanos(task.restart.window)),
            "MaxDelay": task.restart.max_delay.map(nanos),
        })),
        "Placement": lean(json!({
            "Constraints": task.placement.constraints,
            "Preferences": task.placement.spread.iter()
                .map(|spread| json!({"Spread": lean(json!({
                    "SpreadDescriptor": spread.by,
                    "MaxSkew": spread.max_skew,
                }))})).collect::<Vec<_>>(),
            "MaxReplicas": set(task.placement.max_replicas_per_node.into()),
            "Platforms": task.placement.platforms.iter().map(|platform| lean(json!({
                "Architecture": platform.architecture,
                "OS": platform.os,
            }))).collect::<Vec<_>>(),
        })),
        "Networks": task.networks.iter().map(|attachment| lean(json!({
            "Target": attachment.network.to_string(),
            "Aliases": attachment.aliases,
        }))).collect::<Vec<_>>(),
        "ForceUpdate": task.force_update,
        "Runtime": "container",
    });
    if let Some(driver) = &task.log_driver {
        out["LogDriver"] = lean(json!({"Name": driver.name, "Options": labels(&driver.options)}));
    }
    out
}

fn container(spec: &ContainerSpec) -> Value {
    json!({
        "Image": spec.image,
        "Labels": labels(&spec.labels),
        "Command": spec.command,
        "Args": spec.args,
        "Hostname": spec.hostname,
        "Env": spec.env,
        "Dir": spec.dir,
        "User": spec.user,
        "Groups": spec.groups,
        "TTY": spec.tty,
        "OpenStdin": spec.open_stdin,
        "ReadOnly": spec.read_only,
        "StopSignal": spec.stop_signal,
        "StopGracePeriod": spec.stop_grace_period.map(nanos),
        "Healthcheck": spec.health_check.as_ref().map(health),
        "Readiness": spec.readiness.as_ref().map(health),
        "ShutdownDelay": spec.shutdown_delay.map(nanos),
        "Mounts": spec.mounts.iter().map(mount).collect::<Vec<_>>(),
        "Hosts": spec.hosts,
        "DNSConfig": {
            "Nameservers": spec.dns_servers,
            "Search": spec.dns_search,
            "Options": spec.dns_options,
        },
        "Secrets": spec.secrets.iter().map(|s| file("Secret", s)).collect::<Vec<_>>(),
        "Configs": spec.configs.iter().map(|c| file("Config", c)).collect::<Vec<_>>(),
        "Init": spec.init,
        "Sysctls": labels(&spec.sysctls),
        "CapabilityAdd": spec.cap_add,
        "CapabilityDrop": spec.cap_drop,
        "Ulimits": spec.ulimits.iter().map(|limit| json!({
            "Name": limit.name, "Soft": limit.soft, "Hard": limit.hard,
        })).collect::<Vec<_>>(),
        "OomScoreAdj": (spec.oom_score_adj != 0).then_some(spec.oom_score_adj),
        "ShmSize": spec.shm_size.map(|size| size.0),
        "PidMode": spec.host_pid.then_some("host"),
        "IpcMode": match spec.ipc {
            Ipc::Private => None,
            Ipc::NoShm => Some("none"),
            Ipc::Host => Some("host"),
        },
        "UTSMode": spec.host_uts.then_some("host"),
        "Privileged": spec.privileged.then_some(true),
        "Devices": spec.devices.iter().map(|device| json!({
            "PathOnHost": device.source,
            "PathInContainer": device.target,
            "CgroupPermissions": device.access.to_string(),
        })).collect::<Vec<_>>(),
        "DeviceCgroupRules": spec.device_rules.iter().map(ToString::to_string)
            .collect::<Vec<_>>(),
        "Privileges": {
            "NoNewPrivileges": spec.no_new_privileges.then_some(true),
            "Seccomp": spec.seccomp_unconfined.then(|| json!({"Mode": "unconfined"})),
            "SystemPaths": spec.system_paths_unconfined.then(|| json!({"Mode": "unconfined"})),
        },
    })
}

fn file<Id: std::fmt::Display>(kind: &str, file: &FileReference<Id>) -> Value {
    json!({
        "File": {
            "Name": file.target.path,
            "UID": file.target.uid.to_string(),
            "GID": file.target.gid.to_string(),
            "Mode": file.target.mode,
        },
        format!("{kind}ID"): file.id.to_string(),
        format!("{kind}Name"): file.name,
    })
}

fn mount(mount: &Mount) -> Value {
    let mut out = match &mount.kind {
        MountKind::Bind {
            source,
            propagation,
        } => json!({
            "Type": "bind",
            "Source": source,
            "BindOptions": {"Propagation": propagation},
        }),
        MountKind::Volume {
            name,
            no_copy,
            driver,
            options,
            labels: own,
        } => json!({
            "Type": "volume",
            "Source": name,
            "VolumeOptions": {
                "NoCopy": no_copy,
                "Labels": labels(own),
                "DriverConfig": {"Name": driver, "Options": labels(options)},
            },
        }),
        MountKind::Tmpfs { size, mode } => json!({
            "Type": "tmpfs",
            "TmpfsOptions": {"SizeBytes": size.map(|size| size.0), "Mode": mode},
        }),
    };
    out["Target"] = mount.target.clone().into();
    out["ReadOnly"] = mount.read_only.into();
    out
}

fn health(check: &HealthCheck) -> Value {
    json!({
        "Test": check.test.words(),
        "Interval": check.interval.map(nanos),
        "Timeout": check.timeout.map(nanos),
        "Retries": check.retries,
        "StartPeriod": check.start_period.map(nanos),
        "StartInterval": check.start_interval.map(nanos),
    })
}

fn update(config: &UpdateConfig) -> Value {
    let mut out = json!({
        "Parallelism": config.parallelism,
        "Delay": nanos(config.delay),
        "FailureAction": match config.failure_action {
            FailureAction::Pause => "pause",
            FailureAction::Continue => "continue",
            FailureAction::Rollback => "rollback",
        },
        "Monitor": nanos(config.monitor.unwrap_or(Duration::from_secs(5))),
        "MaxFailureRatio": config.max_failure_ratio,
        "Order": match config.order {
            UpdateOrder::StopFirst => "stop-first",
            UpdateOrder::StartFirst => "start-first",
        },
    });
    // Docker knows none.
    if let Some(deadline) = config.progress_deadline {
        out["ProgressDeadline"] = nanos(deadline).into();
    }
    out
}

fn ports(ports: &[PortConfig]) -> Value {
    let port = |port: &PortConfig| {
        let mut out = json!({
            "Protocol": port.protocol.to_string(),
            "TargetPort": port.target,
            "PublishedPort": port.published,
            "PublishMode": publish_mode(port.mode),
        });
        if port.masquerade {
            out["Masquerade"] = true.into();
        }
        out
    };
    ports.iter().map(port).collect::<Vec<_>>().into()
}

/// `vip` or `dnsrr`.
fn mode(mode: EndpointMode) -> &'static str {
    match mode {
        EndpointMode::Vip => "vip",
        EndpointMode::DnsRoundRobin => "dnsrr",
    }
}

/// Durations are nanoseconds in Docker's JSON.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
