//! What the lines `service` and `update` of a scenario say of a service.

use super::World;
use super::command::seconds;
use skep_types::{
    ByteCount, Concurrency, Cron, Dependency, DependencyCondition, EndpointMode, FailureAction,
    Labels, Mount, MountKind, NanoCpus, NetworkAttachmentSpec, PortConfig, PublishMode, Rebalance,
    RestartCondition, Schedule, ServiceMode, ServiceSpec, TaskSpec, UpdateOrder,
};
use std::sync::Arc;

fn schedule(spec: &mut ServiceSpec) -> &mut Schedule {
    let job = spec.job.as_mut().expect("a schedule comes first");
    job.schedule.as_mut().expect("a schedule comes first")
}

fn order(text: &str) -> UpdateOrder {
    match text {
        "start-first" => UpdateOrder::StartFirst,
        _ => UpdateOrder::StopFirst,
    }
}

/// `db:healthy`; `db:started?` where nothing waits for it while it does not exist.
fn dependency(text: &str) -> Dependency {
    let (service, condition) = text.split_once(':').expect(text);
    Dependency {
        service: service.to_owned(),
        condition: match condition.trim_end_matches('?') {
            "started" => DependencyCondition::Started,
            "healthy" => DependencyCondition::Healthy,
            "completed" => DependencyCondition::Completed,
            _ => panic!("{text}"),
        },
        optional: text.ends_with('?'),
    }
}

impl World {
    /// Options of `service` and `update`.
    pub(super) fn options(&mut self, spec: &mut ServiceSpec, words: &[&str]) {
        let mut task: TaskSpec = (*spec.task).clone();
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "replicas" => {
                    spec.mode = ServiceMode::Replicated {
                        replicas: value.parse().unwrap(),
                    }
                }
                "global" => spec.mode = ServiceMode::Global,
                "completions" => {
                    spec.mode = ServiceMode::ReplicatedJob {
                        completions: value.parse().unwrap(),
                        concurrent: 0,
                    }
                }
                "concurrent" => match &mut spec.mode {
                    ServiceMode::ReplicatedJob { concurrent, .. } => {
                        *concurrent = value.parse().unwrap();
                    }
                    _ => panic!("{word} goes with completions"),
                },
                "global-job" => spec.mode = ServiceMode::GlobalJob,
                "schedule" => {
                    let schedule = Schedule::new(Cron::parse(value).unwrap());
                    spec.job.get_or_insert_default().schedule = Some(schedule);
                }
                "tz" => schedule(spec).time_zone = value.into(),
                "late" => schedule(spec).starting_deadline = Some(seconds(value)),
                "suspend" => schedule(spec).suspend = value != "false",
                "concurrency" => {
                    schedule(spec).concurrency = match value {
                        "forbid" => Concurrency::Forbid,
                        "replace" => Concurrency::Replace,
                        _ => Concurrency::Allow,
                    }
                }
                "job-deadline" => spec.job.get_or_insert_default().deadline = Some(seconds(value)),
                "ttl" => spec.job.get_or_insert_default().ttl = Some(seconds(value)),
                "label" => {
                    spec.labels.insert(value.into(), String::new());
                }
                "image" => task.container.image = value.into(),
                "net" => {
                    let network = self.store.state().network_named(value).expect(value).id;
                    task.networks.push(NetworkAttachmentSpec {
                        network,
                        aliases: Vec::new(),
                    });
                }
                "no-net" => task.networks.clear(),
                "volume" => task.container.mounts.push(Mount {
                    target: "/data".into(),
                    kind: MountKind::Volume {
                        name: "data".into(),
                        no_copy: false,
                        driver: value.into(),
                        options: Labels::new(),
                        labels: Labels::new(),
                    },
                    read_only: false,
                }),
                "secret" => self.use_secret(&mut task.container, value),
                "no-secret" => task.container.secrets.clear(),
                "dnsrr" => spec.endpoint.mode = EndpointMode::DnsRoundRobin,
                "port" | "hostport" => {
                    let (published, target) = value.split_once(':').expect(value);
                    spec.endpoint.ports.push(PortConfig {
                        protocol: skep_types::Protocol::Tcp,
                        target: target.parse().unwrap(),
                        published: published.parse().unwrap(),
                        mode: if key == "port" {
                            PublishMode::Ingress
                        } else {
                            PublishMode::Host
                        },
                        masquerade: false,
                    });
                }
                // Of the first port.
                "masquerade" => spec.endpoint.ports[0].masquerade = true,
                "cpu" => {
                    let cpus: f64 = value.parse().unwrap();
                    task.resources.cpu_reservation = NanoCpus((cpus * 1e9) as u64);
                }
                "memory" => {
                    task.resources.memory_reservation =
                        ByteCount(value.parse::<u64>().unwrap() << 30)
                }
                "no-spread" => task.placement.spread.clear(),
                "generic" => super::resources::ask(&mut task.resources, value),
                "platform" => task.placement.platforms.push(value.parse().unwrap()),
                "no-constraints" => task.placement.constraints.clear(),
                "constraint" => task.placement.constraints.push(value.into()),
                "spread" => task.placement.spread.push(value.parse().unwrap()),
                "max-per-node" => task.placement.max_replicas_per_node = value.parse().unwrap(),
                "restart" => {
                    task.restart.condition = match value {
                        "none" => RestartCondition::None,
                        "on-failure" => RestartCondition::OnFailure,
                        _ => RestartCondition::Any,
                    }
                }
                "grace" => task.container.stop_grace_period = Some(seconds(value)),
                "delay" => task.restart.delay = Some(seconds(value)),
                "attempts" => task.restart.max_attempts = value.parse().unwrap(),
                "window" => task.restart.window = seconds(value),
                "max-delay" => task.restart.max_delay = Some(seconds(value)),
                "force" => task.force_update += 1,
                "after" => spec.depends_on.push(dependency(value)),
                "no-after" => spec.depends_on.clear(),
                "auto" => spec.rebalance = Rebalance::Auto,
                "order" => spec.update.order = order(value),
                "rollback-order" => spec.rollback.order = order(value),
                "parallelism" => spec.update.parallelism = value.parse().unwrap(),
                "deadline" => spec.update.progress_deadline = Some(seconds(value)),
                "rollback-deadline" => spec.rollback.progress_deadline = Some(seconds(value)),
                "update-delay" => spec.update.delay = seconds(value),
                "monitor" => spec.update.monitor = Some(seconds(value)),
                "ratio" => spec.update.max_failure_ratio = value.parse().unwrap(),
                "on-failure" => {
                    spec.update.failure_action = match value {
                        "continue" => FailureAction::Continue,
                        "rollback" => FailureAction::Rollback,
                        _ => FailureAction::Pause,
                    }
                }
                _ => panic!("service option {word}"),
            }
        }
        spec.task = Arc::new(task);
    }
}
