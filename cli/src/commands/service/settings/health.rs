//! Flags of `service create` and `update` that say whether a task is well.

use crate::flags;
use skep_types::{HealthCheck, HealthTest};
use std::time::Duration;

#[derive(Debug, Default, PartialEq, clap::Args)]
pub(super) struct Health {
    /// Command, for the image's shell, that finds out whether a task is well
    #[arg(long, value_name = "COMMAND", group = "health_test")]
    health_cmd: Option<String>,
    /// Port and path of the container where a GET finds that out: 8080/healthz
    #[arg(long, value_name = "PORT/PATH", group = "health_test", value_parser = HealthTest::http)]
    health_http: Option<HealthTest>,
    /// Port of the container that takes connections when the task is well
    #[arg(long, value_name = "PORT", group = "health_test", value_parser = HealthTest::tcp)]
    health_tcp: Option<HealthTest>,
    /// Time between checks
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    health_interval: Option<Duration>,
    /// Longest time of one check
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    health_timeout: Option<Duration>,
    /// Failures in a row that make a task unhealthy
    #[arg(long, value_name = "NUMBER")]
    health_retries: Option<u32>,
    /// Time at the start in which failures do not count
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    health_start_period: Option<Duration>,
    /// Time between checks in that time
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    health_start_interval: Option<Duration>,
    /// No check, even where the image has one
    #[arg(long, group = "health_test")]
    no_healthcheck: bool,
}

impl Health {
    /// Puts what was given into a check.
    pub(super) fn apply(&self, check: &mut Option<HealthCheck>) {
        let Health {
            health_cmd,
            health_http,
            health_tcp,
            health_interval,
            health_timeout,
            health_retries,
            health_start_period,
            health_start_interval,
            no_healthcheck,
        } = self;
        if *no_healthcheck {
            *check = Some(HealthCheck {
                test: HealthTest::Disabled,
                ..HealthCheck::default()
            });
            return;
        }
        let shell = health_cmd.clone().map(HealthTest::Shell);
        let test = shell.or(health_http.clone()).or(health_tcp.clone());
        let given = test.is_some()
            || health_retries.is_some()
            || [
                health_interval,
                health_timeout,
                health_start_period,
                health_start_interval,
            ]
            .iter()
            .any(|time| time.is_some());
        if !given {
            return;
        }
        let check = check.get_or_insert_with(HealthCheck::default);
        if let Some(test) = test {
            check.test = test;
        } else if check.test == HealthTest::Disabled {
            check.test = HealthTest::Inherit;
        }
        check.interval = health_interval.or(check.interval);
        check.timeout = health_timeout.or(check.timeout);
        check.retries = health_retries.or(check.retries);
        check.start_period = health_start_period.or(check.start_period);
        check.start_interval = health_start_interval.or(check.start_interval);
    }
}
