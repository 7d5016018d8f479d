//! `skep service inspect`.

use crate::client::Host;
use crate::find;
use crate::human::{binary_size, timestamp};
use crate::json;
use crate::output::say;
use crate::table::print_objects;
use crate::view::View;
use anyhow::Result;
use skep_proto::pb;
use skep_types::{
    EndpointMode, HealthTest, MountKind, Platform, Rebalance, Service, ServiceMode, UpdateConfig,
    UpdateOrder,
};
use std::time::Duration;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep service inspect --pretty web")]
pub struct Args {
    /// A template such as `{{.Spec.Name}}`, or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print for people
    #[arg(long, conflicts_with = "format")]
    pretty: bool,
    /// Name or id
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
}

/// Shows.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let view = client
        .read(pb::ReadRequest {
            services: true,
            revisions: true,
            networks: true,
            dues: true,
            ..Default::default()
        })
        .await?;
    let found = args
        .services
        .iter()
        .map(|key| find::service(&view.services, key))
        .collect::<Result<Vec<_>, _>>()?;
    if !args.pretty {
        let object = |service: &Service| {
            let mut object = json::service(service);
            if let Some(at) = view.dues.get(&service.id) {
                object["NextRun"] = timestamp(at.0).into();
            }
            object
        };
        let objects = found.into_iter().map(object).collect();
        return print_objects(objects, args.format.as_deref());
    }
    for service in found {
        say!("{}", pretty(&view, service))?;
    }
    Ok(())
}

/// Of a job: its newest run, and what holds for all of them.
fn job(service: &Service) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(job) = &service.spec.job {
        if let Some(time) = job.deadline {
            lines.push(format!("Job Deadline:\t{time:?}"));
        }
        if let Some(time) = job.ttl {
            lines.push(format!("Job TTL:\t{time:?}"));
        }
        if let Some(schedule) = &job.schedule {
            let suspended = if schedule.suspend { ", suspended" } else { "" };
            lines.push(format!(
                "Schedule:\t{} ({}), runs that overlap: {}{suspended}",
                schedule.cron,
                schedule.time_zone,
                schedule.concurrency.name()
            ));
            if service.job.skipped > 0 {
                lines.push(format!(" Passed over:\t{}", service.job.skipped));
            }
        }
    }
    if let Some(run) = service.job.newest() {
        let state = run.end.map_or("open", |end| end.outcome.name());
        lines.push(format!("Run:\t\t{} ({}), {state}", run.number, run.cause));
    }
    lines
}

fn pretty(view: &View, service: &Service) -> String {
    let spec = &service.spec;
    let task = &spec.task;
    let container = &task.container;
    let mut out = vec![
        format!("\nID:\t\t{}", service.id),
        format!("Name:\t\t{}", spec.name),
    ];
    let mut add = |line: String| out.push(line);
    if !spec.labels.is_empty() {
        add("Labels:".to_owned());
        for (key, value) in &spec.labels {
            add(format!(" {key}={value}"));
        }
    }
    match spec.mode {
        ServiceMode::Global => add("Service Mode:\tGlobal".to_owned()),
        ServiceMode::GlobalJob => add("Service Mode:\tGlobal Job".to_owned()),
        ServiceMode::ReplicatedJob {
            completions,
            concurrent,
        } => {
            add("Service Mode:\tReplicated Job".to_owned());
            add(format!(" Max Concurrent:\t{concurrent}"));
            add(format!(" Total Completions:\t{completions}"));
        }
        ServiceMode::Replicated { replicas } => {
            add("Service Mode:\tReplicated".to_owned());
            add(format!(" Replicas:\t{replicas}"));
        }
    }
    if let Some(at) = view.dues.get(&service.id) {
        add(format!("Next Run:\t{}", timestamp(at.0)));
    }
    for line in job(service) {
        add(line);
    }
    if let Some(status) = &service.update_status {
        add("UpdateStatus:".to_owned());
        add(format!(" State:\t\t{}", json::update_state(status.state)));
        let now = crate::output::now_ms();
        add(format!(
            " Started:\t{}",
            crate::human::ago(status.started_at.0, now)
        ));
        if let Some(at) = status.completed_at {
            add(format!(" Completed:\t{}", crate::human::ago(at.0, now)));
        }
        add(format!(" Message:\t{}", status.message));
    }
    if !service.waits_for.is_empty() {
        add(format!("Start:\t{}", service.waits_for));
    }
    if !spec.depends_on.is_empty() {
        add("Depends On:".to_owned());
    }
    for on in &spec.depends_on {
        let required = if on.optional { " (optional)" } else { "" };
        add(format!(
            " {}:\t{}{required}",
            on.service,
            on.condition.name()
        ));
    }
    add("Placement:".to_owned());
    if !task.placement.constraints.is_empty() {
        add(format!(
            " Constraints:\t[{}]",
            task.placement.constraints.join(" ")
        ));
    }
    for spread in &task.placement.spread {
        add(format!(" Preference:\tspread={spread}"));
    }
    if spec.rebalance == Rebalance::Auto {
        add(" Rebalance:\tauto".to_owned());
    }
    if !task.placement.platforms.is_empty() {
        let platforms = task.placement.platforms.iter();
        let platforms: Vec<String> = platforms.map(Platform::to_string).collect();
        add(format!(" Platforms:\t[{}]", platforms.join(" ")));
    }
    if task.placement.max_replicas_per_node > 0 {
        add(format!(
            " Max Replicas Per Node:\t{}",
            task.placement.max_replicas_per_node
        ));
    }
    if !spec.mode.is_job() {
        add("UpdateConfig:".to_owned());
        update(&spec.update, &mut add);
        add("RollbackConfig:".to_owned());
        update(&spec.rollback, &mut add);
    }
    add("ContainerSpec:".to_owned());
    add(format!(" Image:\t\t{}", container.image));
    for (title, words) in [("Command", &container.command), ("Args", &container.args)] {
        if !words.is_empty() {
            add(format!(" {title}:\t\t{}", words.join(" ")));
        }
    }
    if !container.env.is_empty() {
        add(format!(" Env:\t\t{}", container.env.join(" ")));
    }
    for (title, text) in [
        ("Dir", &container.dir),
        ("User", &container.user),
        ("Hostname", &container.hostname),
    ] {
        if !text.is_empty() {
            add(format!(" {title}:\t\t{text}"));
        }
    }
    if !container.mounts.is_empty() {
        add("Mounts:".to_owned());
    }
    for mount in &container.mounts {
        let (kind, source) = match &mount.kind {
            MountKind::Bind { source, .. } => ("bind", source.as_str()),
            MountKind::Volume { name, .. } => ("volume", name.as_str()),
            MountKind::Tmpfs { .. } => ("tmpfs", ""),
        };
        add(format!(" Target:\t{}", mount.target));
        add(format!("  Source:\t{source}"));
        add(format!("  ReadOnly:\t{}", mount.read_only));
        add(format!("  Type:\t\t{kind}"));
    }
    let files = |title: &str, names: Vec<(&str, &str)>, add: &mut dyn FnMut(String)| {
        if !names.is_empty() {
            add(format!("{title}:"));
        }
        for (name, target) in names {
            add(format!(" Target:\t{target}"));
            add(format!("  Source:\t{name}"));
        }
    };
    let secrets = container
        .secrets
        .iter()
        .map(|s| (s.name.as_str(), s.target.path.as_str()));
    files("Secrets", secrets.collect(), &mut add);
    let configs = container
        .configs
        .iter()
        .map(|c| (c.name.as_str(), c.target.path.as_str()));
    files("Configs", configs.collect(), &mut add);
    let resources = &task.resources;
    let amounts = |cpus: u64, memory: u64, title: &str, add: &mut dyn FnMut(String)| {
        if cpus > 0 || memory > 0 {
            add(format!(" {title}:"));
        }
        if cpus > 0 {
            add(format!("  CPU:\t\t{}", cpus as f64 / 1e9));
        }
        if memory > 0 {
            add(format!("  Memory:\t{}", binary_size(memory)));
        }
    };
    add("Resources:".to_owned());
    let (cpus, memory) = (resources.cpu_reservation.0, resources.memory_reservation.0);
    amounts(cpus, memory, "Reservations", &mut add);
    let (cpus, memory) = (resources.cpu_limit.0, resources.memory_limit.0);
    amounts(cpus, memory, "Limits", &mut add);
    for (kind, wanted) in &resources.generic {
        add(format!(" Generic:\t{kind}={wanted}"));
    }
    if !task.networks.is_empty() {
        let names = task.networks.iter().map(|attachment| {
            let network = view.networks.iter().find(|n| n.id == attachment.network);
            network.map_or_else(|| attachment.network.to_string(), |n| n.spec.name.clone())
        });
        add(format!("Networks: {}", names.collect::<Vec<_>>().join(" ")));
    }
    add(match spec.endpoint.mode {
        EndpointMode::Vip => "Endpoint Mode:\tvip".to_owned(),
        EndpointMode::DnsRoundRobin => "Endpoint Mode:\tdnsrr".to_owned(),
    });
    if !service.endpoint.ports.is_empty() {
        add("Ports:".to_owned());
    }
    for port in &service.endpoint.ports {
        add(format!(" PublishedPort = {}", port.published));
        add(format!("  Protocol = {}", port.protocol));
        add(format!("  TargetPort = {}", port.target));
        add(format!("  PublishMode = {}", json::publish_mode(port.mode)));
    }
    if let Some(delay) = container.shutdown_delay {
        add(format!("Shutdown delay:\t{delay:?}"));
    }
    for (title, check) in [
        ("Healthcheck:", &container.health_check),
        ("Readiness:", &container.readiness),
    ] {
        let Some(check) = check else { continue };
        add(title.to_owned());
        let test = match &check.test {
            HealthTest::Inherit => "as the image says".to_owned(),
            HealthTest::Disabled => "none".to_owned(),
            HealthTest::Command(words) => words.join(" "),
            HealthTest::Shell(line) => line.clone(),
            HealthTest::Http { .. } | HealthTest::Tcp { .. } => check.test.words().join(" "),
        };
        add(format!(" Test = {test}"));
        for (title, time) in [
            ("Interval", check.interval),
            ("Timeout", check.timeout),
            ("StartPeriod", check.start_period),
            ("StartInterval", check.start_interval),
        ] {
            if let Some(time) = time {
                add(format!(" {title} = {time:?}"));
            }
        }
        if let Some(retries) = check.retries {
            add(format!(" Retries = {retries}"));
        }
    }
    out.push(String::new());
    out.join("\n")
}

fn update(config: &UpdateConfig, add: &mut dyn FnMut(String)) {
    add(format!(" Parallelism:\t{}", config.parallelism));
    if !config.delay.is_zero() {
        add(format!(" Delay:\t\t{:?}", config.delay));
    }
    add(format!(
        " On failure:\t{}",
        match config.failure_action {
            skep_types::FailureAction::Pause => "pause",
            skep_types::FailureAction::Continue => "continue",
            skep_types::FailureAction::Rollback => "rollback",
        }
    ));
    let monitor = config.monitor.unwrap_or(Duration::from_secs(5));
    add(format!(" Monitoring Period: {monitor:?}"));
    add(format!(" Max failure ratio: {}", config.max_failure_ratio));
    add(format!(
        " Update order:      {}",
        match config.order {
            UpdateOrder::StopFirst => "stop-first",
            UpdateOrder::StartFirst => "start-first",
        }
    ));
    match config.progress_deadline {
        None => {}
        Some(Duration::ZERO) => add(" Progress deadline: none".to_owned()),
        Some(deadline) => add(format!(" Progress deadline: {deadline:?}")),
    }
}
