//! Restarts and updates of a service.

use super::Maker;
use crate::codes;
use crate::model::{self, Nanos};
use crate::tree::Step;
use skep_types::{FailureAction, RestartCondition, RestartPolicy, UpdateConfig, UpdateOrder};
use std::time::Duration;

pub(super) fn deploy_path<'a>(key: &'a str, section: &'a str, last: &'a str) -> [Step<'a>; 5] {
    [
        Step::Key("services"),
        Step::Key(key),
        Step::Key("deploy"),
        Step::Key(section),
        Step::Key(last),
    ]
}

impl Maker<'_> {
    /// A time that passes: not negative.
    pub(super) fn duration(&mut self, path: &[Step<'_>], nanos: Nanos) -> Duration {
        match u64::try_from(nanos.0) {
            Ok(nanos) => Duration::from_nanos(nanos),
            Err(_) => {
                self.error(codes::OUT_OF_RANGE, path, "a time cannot be negative");
                Duration::ZERO
            }
        }
    }

    /// `deploy.restart_policy`, or else `restart`.
    pub(super) fn restart(&mut self, key: &str, service: &model::Service) -> RestartPolicy {
        let Some(policy) = &service.deploy.restart_policy else {
            return self.plain_restart(key, &service.restart);
        };
        if !service.restart.is_empty() {
            let path = [Step::Key("services"), Step::Key(key), Step::Key("restart")];
            let message = "`deploy.restart_policy` is there too, and wins";
            self.warn_help(codes::OVERRULED, &path, message, "remove `restart`");
        }
        let at = |last| deploy_path(key, "restart_policy", last);
        let default = RestartPolicy::default();
        RestartPolicy {
            condition: match policy.condition.as_str() {
                "none" => RestartCondition::None,
                "on-failure" => RestartCondition::OnFailure,
                _ => RestartCondition::Any,
            },
            delay: policy.delay.map(|d| self.duration(&at("delay"), d)),
            max_attempts: policy.max_attempts.map_or(default.max_attempts, |n| {
                self.number(&at("max_attempts"), n, 0, i64::from(u32::MAX))
            }),
            window: policy
                .window
                .map_or(default.window, |w| self.duration(&at("window"), w)),
            max_delay: policy
                .max_delay
                .and_then(|d| self.max_delay(&at("x-max-delay"), d)),
        }
    }

    fn max_delay(&mut self, path: &[Step<'_>], given: model::Nanos) -> Option<Duration> {
        let delay = self.duration(path, given);
        if delay > RestartPolicy::MAX_DELAY {
            self.error(
                codes::OUT_OF_RANGE,
                path,
                "a restart cannot be put off by more than 24h",
            );
            return None;
        }
        Some(delay)
    }

    fn plain_restart(&mut self, key: &str, text: &str) -> RestartPolicy {
        let path = [Step::Key("services"), Step::Key(key), Step::Key("restart")];
        let (word, attempts) = match text.split_once(':') {
            Some((word, attempts)) => (word, Some(attempts)),
            None => (text, None),
        };
        let condition = match word {
            "" | "always" | "unless-stopped" => RestartCondition::Any,
            "on-failure" => RestartCondition::OnFailure,
            "no" => RestartCondition::None,
            _ => {
                let message = format!("{text:?} is not a restart policy");
                let help = "policies are \"no\", always, unless-stopped and on-failure[:times]";
                self.error_help(codes::WORD, &path, message, help);
                RestartCondition::Any
            }
        };
        let max_attempts = match (attempts, condition) {
            (None, _) => 0,
            (Some(count), RestartCondition::OnFailure) => count.parse().unwrap_or_else(|_| {
                let message = format!("{count:?} is not a number of restarts");
                self.error(codes::WORD, &path, message);
                0
            }),
            (Some(_), _) => {
                let message = format!("a number of restarts does not go with {word:?}");
                self.error_help(
                    codes::WORD,
                    &path,
                    message,
                    "only on-failure takes one: on-failure:3",
                );
                0
            }
        };
        RestartPolicy {
            condition,
            max_attempts,
            ..RestartPolicy::default()
        }
    }

    pub(super) fn update(
        &mut self,
        key: &str,
        section: &'static str,
        update: Option<&model::Update>,
    ) -> UpdateConfig {
        let default = UpdateConfig::default();
        let Some(update) = update else {
            return default;
        };
        let at = |last| deploy_path(key, section, last);
        let failure_action = match (update.failure_action.as_str(), section) {
            ("" | "pause", _) => FailureAction::Pause,
            ("continue", _) => FailureAction::Continue,
            ("rollback", "update_config") => FailureAction::Rollback,
            ("rollback", _) => {
                let message = "a rollback cannot be rolled back; it pauses when it fails";
                let help = "write pause or continue";
                self.warn_help(
                    codes::VALUE_WITHOUT_EFFECT,
                    &at("failure_action"),
                    message,
                    help,
                );
                FailureAction::Pause
            }
            (other, _) => {
                let message = format!("{other:?} is not a failure action");
                let help = "failure actions are pause, continue and rollback";
                self.error_help(codes::WORD, &at("failure_action"), message, help);
                FailureAction::Pause
            }
        };
        let ratio = update.max_failure_ratio.0;
        if !(0.0..=1.0).contains(&ratio) {
            let message = format!("{ratio} is not a share");
            let help = "0 is none, 1 is all";
            self.error_help(codes::OUT_OF_RANGE, &at("max_failure_ratio"), message, help);
        }
        UpdateConfig {
            parallelism: update.parallelism.map_or(default.parallelism, |n| {
                self.number(&at("parallelism"), n, 0, i64::from(u32::MAX))
            }),
            delay: self.duration(&at("delay"), update.delay),
            failure_action,
            monitor: (update.monitor != Nanos::default())
                .then(|| self.duration(&at("monitor"), update.monitor)),
            max_failure_ratio: ratio,
            order: match update.order.as_str() {
                "start-first" => UpdateOrder::StartFirst,
                _ => UpdateOrder::StopFirst,
            },
            progress_deadline: self.progress_deadline(&at("x-progress-deadline"), update),
        }
    }

    fn progress_deadline(&mut self, path: &[Step<'_>], update: &model::Update) -> Option<Duration> {
        let deadline = self.duration(path, update.progress_deadline?);
        if !deadline.is_zero() && deadline < Duration::from_secs(1) {
            let message = format!("{deadline:?} is too short to get further in");
            self.error_help(
                codes::OUT_OF_RANGE,
                path,
                message,
                "write at least 1s, or 0s for no deadline",
            );
        }
        Some(deadline)
    }
}
