//! What tasks of a service may use, and what is kept free for them.

use super::Maker;
use super::deploy::deploy_path;
use crate::codes;
use crate::model;
use crate::normal::cpus;
use crate::tree::Step;
use skep_types::{ByteCount, GenericResource, NanoCpus, Resources};
use std::collections::BTreeMap;

impl Maker<'_> {
    pub(super) fn resources(
        &mut self,
        key: &str,
        service: &model::Service,
        resources: &model::Resources,
    ) -> Resources {
        let mut out = Resources::default();
        if let Some(limits) = &resources.limits {
            out.cpu_limit = self.cpus(key, "limits", &limits.cpus);
            out.memory_limit = bytes(limits.memory);
            let path = deploy_path(key, "resources", "limits");
            out.pids_limit = match limits.pids {
                0 | -1 => None,
                count => u64::try_from(count).ok().or_else(|| {
                    let message = format!("{count} is not a number of processes");
                    let help = "leave `pids` out for no limit";
                    self.error_help(
                        codes::OUT_OF_RANGE,
                        &[&path[..], &[Step::Key("pids")]].concat(),
                        message,
                        help,
                    );
                    None
                }),
            };
        }
        if let Some(reservations) = &resources.reservations {
            out.cpu_reservation = self.cpus(key, "reservations", &reservations.cpus);
            out.memory_reservation = bytes(reservations.memory);
            out.generic = self.generic(key, &reservations.generic_resources);
        }
        let exceeds = |limit: u64, reserved: u64| limit > 0 && reserved > limit;
        let cpu = exceeds(out.cpu_limit.0, out.cpu_reservation.0);
        let memory = exceeds(out.memory_limit.0, out.memory_reservation.0);
        for (bad, what) in [(cpu, "cpus"), (memory, "memory")] {
            if bad {
                let path = deploy_path(key, "resources", "reservations");
                let path = match what == "memory" && service.mem_reservation.is_some() {
                    true => [&path[..2], &[Step::Key("mem_reservation")]].concat(),
                    false => [&path[..], &[Step::Key(what)]].concat(),
                };
                let message = format!("more {what} are reserved than the limit allows to use");
                self.warn_help(
                    codes::RESERVED_ABOVE_LIMIT,
                    &path,
                    message,
                    "lower the reservation or raise the limit",
                );
            }
        }
        out
    }

    fn cpus(&mut self, key: &str, part: &str, text: &str) -> NanoCpus {
        if text.is_empty() {
            return NanoCpus(0);
        }
        NanoCpus(cpus(text).unwrap_or_else(|| {
            let path = deploy_path(key, "resources", part);
            let path = [&path[..], &[Step::Key("cpus")]].concat();
            self.not_cpus(&path, text);
            0
        }))
    }

    pub(super) fn not_cpus(&mut self, path: &[Step<'_>], text: &str) {
        let message = format!("{text:?} is not a number of CPUs");
        let help = "a number with at most nine digits after the point: \"0.5\", \"2\"";
        self.error_help(codes::SIZE, path, message, help);
    }

    /// What is there twice is needed twice, as in Swarm.
    fn generic(&mut self, key: &str, given: &[model::GenericResource]) -> BTreeMap<String, u64> {
        let mut generic: BTreeMap<String, u64> = BTreeMap::new();
        for (index, resource) in given.iter().enumerate() {
            let base = deploy_path(key, "resources", "reservations");
            let place = [Step::Key("generic_resources"), Step::Index(index)];
            let path = [&base[..], &place].concat();
            let Some(wanted) = &resource.discrete_resource_spec else {
                let help = "write `discrete_resource_spec: {kind: gpu, value: 1}`";
                self.error_help(
                    codes::PLACEMENT,
                    &path,
                    "it says neither a kind nor a number",
                    help,
                );
                continue;
            };
            let at = |last| [&path[..], &[Step::Key("discrete_resource_spec"), last]].concat();
            if !GenericResource::is_kind(&wanted.kind) {
                let message = format!("{:?} is no kind of generic resource", wanted.kind);
                let help = "a kind has letters, digits, '.', '_' and '-', 64 at most";
                self.error_help(codes::PLACEMENT, &at(Step::Key("kind")), message, help);
                continue;
            }
            let count = self.number(&at(Step::Key("value")), wanted.value, 1, GENERIC_MAX);
            *generic.entry(wanted.kind.clone()).or_default() += u64::from(count);
        }
        generic
    }
}

/// Most of one kind that a task can ask for; the managers hold it too.
const GENERIC_MAX: i64 = 1_000_000;

fn bytes(value: model::Bytes) -> ByteCount {
    ByteCount(u64::try_from(value.0).unwrap_or_default())
}
