//! How many tasks a service has, and what holds for the runs of a job.

use super::Maker;
use super::deploy::deploy_path;
use crate::codes;
use crate::model;
use crate::tree::Step;
use skep_types::{Concurrency, Cron, JobSpec, Rebalance, Schedule, ServiceMode};
use std::time::Duration;

/// A year, as managers have it.
const TIME_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

impl Maker<'_> {
    pub(super) fn mode(&mut self, key: &str, deploy: &model::Deploy) -> ServiceMode {
        let path = |last| member(key, last);
        let replicas = match deploy.replicas {
            None => 1,
            Some(count) => self.number(&path("replicas"), count, 0, i64::from(u32::MAX)),
        };
        match deploy.mode.as_str() {
            "" | "replicated" => ServiceMode::Replicated { replicas },
            "global" => {
                if deploy.replicas.is_some() {
                    let message = "a global service has no `replicas`: it runs once on every node";
                    let help = "remove `replicas`, or write `mode: replicated`";
                    self.error_help(codes::NOT_IN_THIS_MODE, &path("replicas"), message, help);
                }
                ServiceMode::Global
            }
            "replicated-job" => {
                let most = deploy.job.as_ref().and_then(|job| job.max_concurrent);
                let at = deploy_path(key, "x-job", "max_concurrent");
                ServiceMode::ReplicatedJob {
                    completions: replicas,
                    concurrent: most.map_or(replicas, |most| {
                        self.number(&at, most, 1, i64::from(u32::MAX))
                    }),
                }
            }
            "global-job" => {
                if deploy.replicas.is_some() {
                    let message = "a global job has no `replicas`: it runs once on every node";
                    let help = "remove `replicas`, or write `mode: replicated-job`";
                    self.error_help(codes::NOT_IN_THIS_MODE, &path("replicas"), message, help);
                }
                let job = deploy.job.as_ref();
                if job.is_some_and(|job| job.max_concurrent.is_some()) {
                    let message = "a global job runs on all nodes at a time";
                    let help = "remove `max_concurrent`, or write `mode: replicated-job`";
                    let at = deploy_path(key, "x-job", "max_concurrent");
                    self.error_help(codes::NOT_IN_THIS_MODE, &at, message, help);
                }
                ServiceMode::GlobalJob
            }
            other => {
                let message = format!("{other:?} is not a mode");
                let help = "modes are replicated, global, replicated-job and global-job";
                self.error_help(codes::WORD, &path("mode"), message, help);
                ServiceMode::default()
            }
        }
    }

    pub(super) fn rebalance(&mut self, key: &str, deploy: &model::Deploy) -> Rebalance {
        if deploy.placement.rebalance != "auto" {
            return Rebalance::Manual;
        }
        if !matches!(deploy.mode.as_str(), "" | "replicated") {
            let path = deploy_path(key, "placement", "x-rebalance");
            let message = "only tasks of a replicated service can be spread by themselves";
            self.error_help(codes::NOT_IN_THIS_MODE, &path, message, "remove it");
        }
        Rebalance::Auto
    }

    pub(super) fn job(&mut self, key: &str, deploy: &model::Deploy) -> Option<Box<JobSpec>> {
        let is_job = matches!(deploy.mode.as_str(), "replicated-job" | "global-job");
        if is_job {
            let sections = [
                ("update_config", deploy.update_config.is_some()),
                ("rollback_config", deploy.rollback_config.is_some()),
            ];
            for (section, _) in sections.into_iter().filter(|(_, given)| *given) {
                let message = "update and rollback configuration is not supported for jobs";
                let help = "remove it: a job whose template changes runs again";
                self.error_help(
                    codes::NOT_IN_THIS_MODE,
                    &member(key, section),
                    message,
                    help,
                );
            }
        }
        if !is_job && deploy.schedule.is_some() {
            let message = "only a job runs by a schedule";
            let help = "remove it, or write `mode: replicated-job` or `global-job`";
            self.error_help(
                codes::NOT_IN_THIS_MODE,
                &member(key, "x-schedule"),
                message,
                help,
            );
            return None;
        }
        if deploy.job.is_none() && deploy.schedule.is_none() {
            return None;
        }
        let default = model::Job::default();
        let job = deploy.job.as_ref().unwrap_or(&default);
        if !is_job {
            let message = "only a job has runs";
            let help = "remove it, or write `mode: replicated-job` or `global-job`";
            self.error_help(
                codes::NOT_IN_THIS_MODE,
                &member(key, "x-job"),
                message,
                help,
            );
            return None;
        }
        let mut time = |name, value: Option<model::Nanos>| {
            let path = deploy_path(key, "x-job", name);
            let time = self.duration(&path, value?);
            if time < Duration::from_secs(1) || time > TIME_MAX {
                let message = format!("{time:?} is not from 1s to 366 days");
                self.error_help(
                    codes::OUT_OF_RANGE,
                    &path,
                    message,
                    "leave it out for no limit",
                );
            }
            Some(time)
        };
        let (deadline, ttl) = (time("deadline", job.deadline), time("ttl", job.ttl));
        Some(Box::new(JobSpec {
            deadline,
            ttl,
            schedule: self.schedule(key, deploy),
        }))
    }

    fn schedule(&mut self, key: &str, deploy: &model::Deploy) -> Option<Schedule> {
        let given = deploy.schedule.as_ref()?;
        let at = |last| deploy_path(key, "x-schedule", last);
        if deploy.job.as_ref().is_some_and(|job| job.ttl.is_some()) {
            let message = "a job that runs by a schedule is never over";
            self.error_help(
                codes::NOT_IN_THIS_MODE,
                &deploy_path(key, "x-job", "ttl"),
                message,
                "remove `ttl`",
            );
        }
        let cron = match Cron::parse(&given.cron) {
            Ok(cron) => cron,
            Err(invalid) => {
                let help = "write five fields, e.g. `\"30 3 * * mon-fri\"`, or @daily";
                self.error_help(codes::SCHEDULE, &at("cron"), invalid.to_string(), help);
                return None;
            }
        };
        let default = Schedule::new(cron);
        let late = given
            .starting_deadline
            .map(|late| self.duration(&at("starting_deadline"), late));
        if late.is_some_and(|late| late < Duration::from_secs(1) || late > TIME_MAX) {
            let message = "it is not from 1s to 366 days";
            self.error_help(
                codes::OUT_OF_RANGE,
                &at("starting_deadline"),
                message,
                "leave it out for no limit",
            );
        }
        Some(Schedule {
            time_zone: match given.time_zone.is_empty() {
                true => default.time_zone.clone(),
                false => given.time_zone.clone(),
            },
            concurrency: match given.concurrency.as_str() {
                "forbid" => Concurrency::Forbid,
                "replace" => Concurrency::Replace,
                _ => Concurrency::Allow,
            },
            starting_deadline: late,
            suspend: given.suspend,
            ..default
        })
    }
}

fn member<'k>(key: &'k str, last: &'k str) -> [Step<'k>; 4] {
    [
        Step::Key("services"),
        Step::Key(key),
        Step::Key("deploy"),
        Step::Key(last),
    ]
}
