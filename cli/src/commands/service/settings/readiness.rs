//! Flags of `service create` and `update` that say whether a task takes traffic.

use crate::flags;
use skep_types::{HealthCheck, HealthTest};
use std::time::Duration;

#[derive(Debug, Default, PartialEq, clap::Args)]
pub(super) struct Ready {
    /// Command, for the image's shell, that finds out whether a task takes traffic
    #[arg(long, value_name = "COMMAND", group = "readiness_test")]
    readiness_cmd: Option<String>,
    /// Port and path of the container where a GET finds that out: 8080/ready
    #[arg(long, value_name = "PORT/PATH", group = "readiness_test", value_parser = HealthTest::http)]
    readiness_http: Option<HealthTest>,
    /// Port of the container that takes connections when the task takes traffic
    #[arg(long, value_name = "PORT", group = "readiness_test", value_parser = HealthTest::tcp)]
    readiness_tcp: Option<HealthTest>,
    /// Time between checks of a task that takes traffic; 5s when not given
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    readiness_interval: Option<Duration>,
    /// Time between checks of one that does not; 500ms when not given
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    readiness_start_interval: Option<Duration>,
    /// Longest time of one check
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    readiness_timeout: Option<Duration>,
    /// Failures in a row after which a task takes no traffic; 3 when not given
    #[arg(long, value_name = "NUMBER")]
    readiness_retries: Option<u32>,
    /// Tasks take traffic whenever they run
    #[arg(long, group = "readiness_test")]
    no_readiness: bool,
}

impl Ready {
    /// Puts what was given into a check.
    pub(super) fn apply(&self, check: &mut Option<HealthCheck>) {
        let Ready {
            readiness_cmd,
            readiness_http,
            readiness_tcp,
            readiness_interval,
            readiness_start_interval,
            readiness_timeout,
            readiness_retries,
            no_readiness,
        } = self;
        if *no_readiness {
            *check = None;
        }
        let shell = readiness_cmd.clone().map(HealthTest::Shell);
        let test = shell.or(readiness_http.clone()).or(readiness_tcp.clone());
        let times = [
            readiness_interval,
            readiness_start_interval,
            readiness_timeout,
        ];
        let given = test.is_some()
            || readiness_retries.is_some()
            || times.iter().any(|time| time.is_some());
        if !given {
            return;
        }
        let check = check.get_or_insert_default();
        check.test = test.unwrap_or(std::mem::take(&mut check.test));
        check.interval = readiness_interval.or(check.interval);
        check.start_interval = readiness_start_interval.or(check.start_interval);
        check.timeout = readiness_timeout.or(check.timeout);
        check.retries = readiness_retries.or(check.retries);
    }
}
