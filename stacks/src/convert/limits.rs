//! What a service says of its size outside of `deploy`, as files before version 3 and the
//! Compose Specification have it.
//!
//! Owns how such a key and the one under `deploy` become one; what they say is judged there.

use super::Maker;
use crate::codes;
use crate::model::{Bytes, Deploy, Service};
use crate::normal::cpus;
use crate::tree::Step;

impl Maker<'_> {
    /// `deploy` of a service, with what the keys beside it say.
    pub(super) fn sized(&mut self, key: &str, service: &Service) -> Deploy {
        let mut deploy = service.deploy.clone();
        let at = |last| [Step::Key("services"), Step::Key(key), Step::Key(last)];
        if !service.cpus.is_empty() {
            let limits = deploy.resources.limits.get_or_insert_default();
            match cpus(&service.cpus) {
                None => self.not_cpus(&at("cpus"), &service.cpus),
                Some(_) if limits.cpus.is_empty() => limits.cpus.clone_from(&service.cpus),
                nanos => {
                    let same = cpus(&limits.cpus) == nanos;
                    self.one_of(same, &at("cpus"), "deploy.resources.limits.cpus");
                }
            }
        }
        if let Some(memory) = service.mem_limit {
            let limits = deploy.resources.limits.get_or_insert_default();
            let same = limits.memory == Bytes(0) || limits.memory == memory;
            limits.memory = memory;
            self.one_of(same, &at("mem_limit"), "deploy.resources.limits.memory");
        }
        if let Some(memory) = service.mem_reservation {
            let kept = deploy.resources.reservations.get_or_insert_default();
            let same = kept.memory == Bytes(0) || kept.memory == memory;
            kept.memory = memory;
            let other = "deploy.resources.reservations.memory";
            self.one_of(same, &at("mem_reservation"), other);
        }
        if let Some(pids) = service.pids_limit {
            let limits = deploy.resources.limits.get_or_insert_default();
            let same = limits.pids == 0 || limits.pids == pids;
            if pids < -1 {
                let message = format!("{pids} is not a number of processes");
                let help = "leave it out for no limit";
                self.error_help(codes::OUT_OF_RANGE, &at("pids_limit"), message, help);
            } else {
                limits.pids = pids;
                self.one_of(same, &at("pids_limit"), "deploy.resources.limits.pids");
            }
        }
        if let Some(count) = service.scale {
            let path = at("scale");
            let count = i64::from(self.number(&path, count, 0, i64::from(u32::MAX)));
            if matches!(deploy.mode.as_str(), "global" | "global-job") {
                let message = "it runs once on every node, whatever its scale";
                let help = "remove `scale`, or the mode";
                self.error_help(codes::NOT_IN_THIS_MODE, &path, message, help);
            } else {
                let same = deploy.replicas.is_none_or(|replicas| replicas == count);
                deploy.replicas = Some(count);
                self.one_of(same, &path, "deploy.replicas");
            }
        }
        deploy
    }

    /// Two keys for one thing have to say the same.
    pub(super) fn one_of(&mut self, same: bool, path: &[Step<'_>], other: &str) {
        if !same {
            let message = format!("`{other}` says something else");
            let help = "leave one of the two out";
            self.error_help(codes::EXCLUSIVE, path, message, help);
        }
    }
}
