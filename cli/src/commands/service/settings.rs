//! Flags that `service create` and `service update` share: each sets one value
//! of a spec.

mod health;
mod job;
mod placement;
mod readiness;

use crate::flags;
use anyhow::Result;
use clap::ValueEnum;
use health::Health;
use job::Job;
use placement::Place;
use readiness::Ready;
use skep_types::{
    ByteCount, EndpointMode, FailureAction, LogDriver, NanoCpus, Rebalance, RestartCondition,
    ServiceSpec, UpdateConfig, UpdateOrder,
};
use std::sync::Arc;
use std::time::Duration;

/// Values of a spec that a flag each sets.
#[derive(Debug, Default, PartialEq, clap::Args)]
pub struct Settings {
    /// Host name of the containers
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// User, and group, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Working directory
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<String>,
    /// Replaces the image's entrypoint
    #[arg(long, value_name = "COMMAND", value_parser = parse_words)]
    entrypoint: Option<Words>,
    /// Mount the root file system read-only
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    read_only: Option<bool>,
    /// Allocate a terminal
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    tty: Option<bool>,
    /// Run a small init as process 1
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    init: Option<bool>,
    /// Signal that asks a container to stop
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Time between that signal and SIGKILL, e.g. 10s
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    stop_grace_period: Option<Duration>,
    /// Time before that signal in which nothing new is sent to the task; 500ms when
    /// not given
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    shutdown_delay: Option<Duration>,

    /// Most CPU time, in CPUs, e.g. 0.5
    #[arg(long, value_name = "CPUS", value_parser = flags::cpus)]
    limit_cpu: Option<NanoCpus>,
    /// Most memory, e.g. 512m
    #[arg(long, value_name = "BYTES", value_parser = flags::bytes)]
    limit_memory: Option<ByteCount>,
    /// Most processes and threads; 0 for no limit
    #[arg(long, value_name = "NUMBER")]
    limit_pids: Option<u64>,
    /// CPUs kept free for each task
    #[arg(long, value_name = "CPUS", value_parser = flags::cpus)]
    reserve_cpu: Option<NanoCpus>,
    /// Memory kept free for each task
    #[arg(long, value_name = "BYTES", value_parser = flags::bytes)]
    reserve_memory: Option<ByteCount>,

    /// Which ends of a task are followed by a new one
    #[arg(long, value_enum)]
    restart_condition: Option<Condition>,
    /// Time before the new task starts, e.g. 5s
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    restart_delay: Option<Duration>,
    /// Restarts allowed; 0 is unlimited
    #[arg(long, value_name = "NUMBER")]
    restart_max_attempts: Option<u32>,
    /// Time over which restarts are counted
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    restart_window: Option<Duration>,
    /// Longest time that repeated failures make of the delay, which doubles each
    /// time (default 5m)
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    restart_max_delay: Option<Duration>,

    #[command(flatten)]
    update: Update,
    #[command(flatten)]
    rollback: Rollback,
    #[command(flatten)]
    health: Health,
    #[command(flatten)]
    readiness: Ready,
    #[command(flatten)]
    job: Job,
    #[command(flatten)]
    place: Place,

    /// How the service's name resolves
    #[arg(long, value_enum)]
    endpoint_mode: Option<Endpoint>,
    /// Whether tasks move by themselves to nodes with fewer of them
    #[arg(long, value_enum)]
    rebalance: Option<Rebalancing>,
    /// Where the output of tasks goes
    #[arg(long, value_name = "NAME")]
    log_driver: Option<String>,
    /// Option of the log driver, e.g. max-size=10m; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = flags::key_value)]
    log_opt: Vec<(String, String)>,

    /// Accepted for compatibility, without effect yet: see `skep image pull`
    #[arg(long, hide = true)]
    with_registry_auth: bool,
    /// Accepted for compatibility: nodes look images up in any case
    #[arg(long, hide = true)]
    no_resolve_image: bool,
}

/// A command line split into words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

/// Splits a command line; for clap, to which a plain list means repeated values.
pub fn parse_words(text: &str) -> Result<Words, String> {
    flags::words(text).map(Words)
}

#[derive(Debug, Default, PartialEq, clap::Args)]
struct Update {
    /// Tasks changed at a time; 0 is all
    #[arg(long, value_name = "NUMBER")]
    update_parallelism: Option<u32>,
    /// Time between batches of changed tasks
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    update_delay: Option<Duration>,
    /// Time after its start in which a task's end counts as a failure
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    update_monitor: Option<Duration>,
    /// What a failed update does
    #[arg(long, value_enum)]
    update_failure_action: Option<Failure>,
    /// Share of failed tasks (0 to 1) above which an update has failed
    #[arg(long, value_name = "SHARE", value_parser = ratio)]
    update_max_failure_ratio: Option<f32>,
    /// Whether the old task stops before the new one starts
    #[arg(long, value_enum)]
    update_order: Option<Order>,
    /// Time without progress after which an update has failed; 10m by default, 0 is never
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    update_progress_deadline: Option<Duration>,
}

#[derive(Debug, Default, PartialEq, clap::Args)]
struct Rollback {
    /// Tasks rolled back at a time; 0 is all
    #[arg(long, value_name = "NUMBER")]
    rollback_parallelism: Option<u32>,
    /// Time between batches of rolled back tasks
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    rollback_delay: Option<Duration>,
    /// Time after its start in which a rolled back task's end counts as a failure
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    rollback_monitor: Option<Duration>,
    /// What a failed rollback does
    #[arg(long, value_enum)]
    rollback_failure_action: Option<RollbackFailure>,
    /// Share of failed tasks (0 to 1) above which a rollback has failed
    #[arg(long, value_name = "SHARE", value_parser = ratio)]
    rollback_max_failure_ratio: Option<f32>,
    /// Whether the task rolled back stops before its substitute starts
    #[arg(long, value_enum)]
    rollback_order: Option<Order>,
    /// Time without progress after which a rollback has failed; 10m by default, 0 is never
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    rollback_progress_deadline: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Condition {
    None,
    OnFailure,
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Failure {
    Pause,
    Continue,
    Rollback,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RollbackFailure {
    Pause,
    Continue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    StopFirst,
    StartFirst,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Endpoint {
    Vip,
    Dnsrr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rebalancing {
    Auto,
    Manual,
}

fn ratio(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("{text:?} is not a share between 0 and 1")),
    }
}

/// Puts a value in its place where there is one.
fn put<T>(place: &mut T, value: &Option<T>)
where
    T: Clone,
{
    if let Some(value) = value {
        place.clone_from(value);
    }
}

impl Settings {
    /// Says on standard error what of it has no effect.
    pub fn note_without_effect(&self) {
        let never = self.no_resolve_image.then_some(flags::Resolve::Never);
        flags::note_without_effect(self.with_registry_auth, never);
    }

    /// Puts what is given into a spec.
    ///
    /// # Errors
    /// Flags of a schedule where there is none.
    pub fn apply(&self, spec: &mut ServiceSpec) -> Result<()> {
        self.update.apply(&mut spec.update);
        self.rollback.apply(&mut spec.rollback);
        self.job.apply(spec)?;
        match self.endpoint_mode {
            Some(Endpoint::Vip) => spec.endpoint.mode = EndpointMode::Vip,
            Some(Endpoint::Dnsrr) => spec.endpoint.mode = EndpointMode::DnsRoundRobin,
            None => {}
        }
        match self.rebalance {
            Some(Rebalancing::Auto) => spec.rebalance = Rebalance::Auto,
            Some(Rebalancing::Manual) => spec.rebalance = Rebalance::Manual,
            None => {}
        }
        let task = Arc::make_mut(&mut spec.task);
        let container = &mut task.container;
        put(&mut container.hostname, &self.hostname);
        put(&mut container.user, &self.user);
        put(&mut container.dir, &self.workdir);
        if let Some(Words(words)) = &self.entrypoint {
            container.command.clone_from(words);
        }
        put(&mut container.read_only, &self.read_only);
        put(&mut container.tty, &self.tty);
        container.init = self.init.or(container.init);
        put(&mut container.stop_signal, &self.stop_signal);
        container.stop_grace_period = self.stop_grace_period.or(container.stop_grace_period);
        container.shutdown_delay = self.shutdown_delay.or(container.shutdown_delay);
        self.health.apply(&mut container.health_check);
        self.readiness.apply(&mut container.readiness);
        let resources = &mut task.resources;
        put(&mut resources.cpu_limit, &self.limit_cpu);
        put(&mut resources.memory_limit, &self.limit_memory);
        if let Some(pids) = self.limit_pids {
            resources.pids_limit = (pids > 0).then_some(pids);
        }
        put(&mut resources.cpu_reservation, &self.reserve_cpu);
        put(&mut resources.memory_reservation, &self.reserve_memory);
        let restart = &mut task.restart;
        match self.restart_condition {
            Some(Condition::None) => restart.condition = RestartCondition::None,
            Some(Condition::OnFailure) => restart.condition = RestartCondition::OnFailure,
            Some(Condition::Any) => restart.condition = RestartCondition::Any,
            None => {}
        }
        restart.delay = self.restart_delay.or(restart.delay);
        put(&mut restart.max_attempts, &self.restart_max_attempts);
        put(&mut restart.window, &self.restart_window);
        restart.max_delay = self.restart_max_delay.or(restart.max_delay);
        self.place.apply(&mut task.placement);
        if self.log_driver.is_some() || !self.log_opt.is_empty() {
            let driver = task.log_driver.get_or_insert_with(LogDriver::default);
            put(&mut driver.name, &self.log_driver);
            driver.options.extend(self.log_opt.iter().cloned());
        }
        Ok(())
    }

    /// It is to run by itself.
    pub fn has_schedule(&self) -> bool {
        self.job.has_schedule()
    }
}

impl Update {
    fn apply(&self, config: &mut UpdateConfig) {
        put(&mut config.parallelism, &self.update_parallelism);
        put(&mut config.delay, &self.update_delay);
        config.monitor = self.update_monitor.or(config.monitor);
        put(
            &mut config.max_failure_ratio,
            &self.update_max_failure_ratio,
        );
        put(&mut config.order, &self.update_order.map(order));
        config.progress_deadline = self.update_progress_deadline.or(config.progress_deadline);
        match self.update_failure_action {
            Some(Failure::Pause) => config.failure_action = FailureAction::Pause,
            Some(Failure::Continue) => config.failure_action = FailureAction::Continue,
            Some(Failure::Rollback) => config.failure_action = FailureAction::Rollback,
            None => {}
        }
    }
}

impl Rollback {
    fn apply(&self, config: &mut UpdateConfig) {
        put(&mut config.parallelism, &self.rollback_parallelism);
        put(&mut config.delay, &self.rollback_delay);
        config.monitor = self.rollback_monitor.or(config.monitor);
        put(
            &mut config.max_failure_ratio,
            &self.rollback_max_failure_ratio,
        );
        put(&mut config.order, &self.rollback_order.map(order));
        config.progress_deadline = self.rollback_progress_deadline.or(config.progress_deadline);
        match self.rollback_failure_action {
            Some(RollbackFailure::Pause) => config.failure_action = FailureAction::Pause,
            Some(RollbackFailure::Continue) => config.failure_action = FailureAction::Continue,
            None => {}
        }
    }
}

fn order(order: Order) -> UpdateOrder {
    match order {
        Order::StopFirst => UpdateOrder::StopFirst,
        Order::StartFirst => UpdateOrder::StartFirst,
    }
}
