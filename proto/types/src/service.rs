//! Services: intent (`ServiceSpec`) and what the cluster keeps of it (`Service`).

use crate::container::ContainerSpec;
use crate::dependency::Dependency;
use crate::endpoint::{Endpoint, EndpointSpec};
use crate::id::ServiceId;
use crate::job::{JobRun, JobSpec, JobStatus, Outcome, Schedule};
use crate::meta::{Labels, Meta, Timestamp, Version};
use crate::network::NetworkAttachmentSpec;
use crate::placement::Placement;
use crate::resources::Resources;
use crate::restart::RestartPolicy;
use crate::revision::{PastRevision, Revision};
use std::sync::Arc;
use std::time::Duration;

/// What the user wants to run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServiceSpec {
    /// Unique name; at most 63 characters of a DNS label.
    pub name: String,
    /// Labels of the service (not of its containers).
    pub labels: Labels,
    /// How many tasks, and where.
    pub mode: ServiceMode,
    /// What each task is.
    pub task: Arc<TaskSpec>,
    /// How changes are rolled out.
    pub update: UpdateConfig,
    /// How a rollback is rolled out.
    pub rollback: UpdateConfig,
    /// How it is reached.
    pub endpoint: EndpointSpec,
    /// What holds for its runs, where it is a job.
    pub job: Option<Box<JobSpec>>,
    /// Whether its tasks are moved to nodes that have fewer, without being asked.
    pub rebalance: Rebalance,
    /// What has to be there before its tasks start.
    pub depends_on: Vec<Dependency>,
}

/// When tasks of a replicated service are moved so that they are spread evenly again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rebalance {
    /// When somebody asks for it.
    #[default]
    Manual,
    /// Also by themselves, a few of the swarm a minute.
    Auto,
}

/// How many tasks a service has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceMode {
    /// A number of equal tasks.
    Replicated {
        /// The number.
        replicas: u32,
    },
    /// One task on every eligible node.
    Global,
    /// A number of equal tasks that run to their end.
    ReplicatedJob {
        /// Tasks of a run that are to end well.
        completions: u32,
        /// Most that run at a time; 0 is all.
        concurrent: u32,
    },
    /// One task on every eligible node that runs to its end.
    GlobalJob,
}

impl ServiceMode {
    /// Its tasks run to their end.
    pub fn is_job(self) -> bool {
        match self {
            ServiceMode::Replicated { .. } | ServiceMode::Global => false,
            ServiceMode::ReplicatedJob { .. } | ServiceMode::GlobalJob => true,
        }
    }

    /// It differs from the other one in numbers at most.
    pub fn is_like(self, other: ServiceMode) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

impl Default for ServiceMode {
    fn default() -> Self {
        ServiceMode::Replicated { replicas: 1 }
    }
}

/// The template of a service's tasks. Stored once per version and shared.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TaskSpec {
    /// The container.
    pub container: ContainerSpec,
    /// Limits and reservations.
    pub resources: Resources,
    /// What happens when a task ends.
    pub restart: RestartPolicy,
    /// Which nodes.
    pub placement: Placement,
    /// Networks, in the order of the file.
    pub networks: Vec<NetworkAttachmentSpec>,
    /// Where its output goes; the node's default when `None`.
    pub log_driver: Option<LogDriver>,
    /// Counter that makes every task outdated when raised.
    pub force_update: u64,
}

impl TaskSpec {
    /// A task made from one of them runs as one made from the other would: they differ at
    /// most in where tasks may go and in what follows when one ends.
    pub fn runs_like(&self, other: &TaskSpec) -> bool {
        // Destructured, so that a new part has to be decided on here.
        let TaskSpec {
            container,
            resources,
            restart: _,
            placement: _,
            networks,
            log_driver,
            force_update,
        } = self;
        *container == other.container
            && *resources == other.resources
            && *networks == other.networks
            && *log_driver == other.log_driver
            && *force_update == other.force_update
    }
}

/// A log driver and its options.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogDriver {
    /// Name, e.g. `json-file`.
    pub name: String,
    /// Options, e.g. `max-size`.
    pub options: Labels,
}

impl LogDriver {
    /// Bytes of a `max-size`: a whole number above 0, of powers of 1024 with a unit
    /// of k, m or g. `None` when the text is something else.
    pub fn size_bytes(text: &str) -> Option<u64> {
        let text = text.trim();
        let (number, unit) = match text.char_indices().find(|(_, c)| !c.is_ascii_digit()) {
            Some((at, _)) => text.split_at(at),
            None => (text, ""),
        };
        let factor = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" | "kib" => 1 << 10,
            "m" | "mb" | "mib" => 1 << 20,
            "g" | "gb" | "gib" => 1 << 30,
            _ => return None,
        };
        let bytes = number.parse::<u64>().ok()?.checked_mul(factor)?;
        (bytes > 0).then_some(bytes)
    }

    /// Number of a `max-file`, above 0. `None` when the text is something else.
    pub fn file_count(text: &str) -> Option<u32> {
        text.trim().parse().ok().filter(|count| *count > 0)
    }
}

/// How a change is rolled out.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateConfig {
    /// Tasks changed at a time; 0 is all.
    pub parallelism: u32,
    /// Time between batches.
    pub delay: Duration,
    /// What a failed update does.
    pub failure_action: FailureAction,
    /// Time after the start of a task in which its end counts as a failure of
    /// the update; 5 s when not set.
    pub monitor: Option<Duration>,
    /// Share of failed tasks (0 to 1) above which the update has failed.
    pub max_failure_ratio: f32,
    /// Whether the old task stops before the new one starts.
    pub order: UpdateOrder,
    /// Time an update may get no further, beside the times it waits by these settings,
    /// until it has failed; 10 min when not set, zero is for ever.
    pub progress_deadline: Option<Duration>,
}

impl Default for UpdateConfig {
    fn default() -> Self {
        UpdateConfig {
            parallelism: 1,
            delay: Duration::ZERO,
            failure_action: FailureAction::Pause,
            monitor: None,
            max_failure_ratio: 0.0,
            order: UpdateOrder::StopFirst,
            progress_deadline: None,
        }
    }
}

/// What a failed update does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailureAction {
    /// Stop changing tasks.
    #[default]
    Pause,
    /// Go on.
    Continue,
    /// Return to the last revision that was rolled out whole.
    Rollback,
}

/// Order within a slot during an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpdateOrder {
    /// The old task stops, then the new one starts.
    #[default]
    StopFirst,
    /// The new task runs, then the old one stops.
    StartFirst,
}

/// A service as the cluster keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Id.
    pub id: ServiceId,
    /// Version and times.
    pub meta: Meta,
    /// Intent.
    pub spec: ServiceSpec,
    /// Version at which the task template last changed; tasks of another one
    /// are outdated, unless they run alike and are where they may be.
    pub spec_version: Version,
    /// Which revision it is of.
    pub revision: Revision,
    /// Earlier ones, oldest first; where it is read by itself, it may have been left
    /// out.
    pub past: Vec<PastRevision>,
    /// Addresses and ports in force.
    pub endpoint: Endpoint,
    /// Progress of the last update.
    pub update_status: Option<UpdateStatus>,
    /// Its runs, where it is a job.
    pub job: JobStatus,
    /// Since when its tasks are being spread evenly because somebody asked for it.
    pub rebalance_since: Option<Timestamp>,
    /// What it waits for before tasks of it start, in words; empty where nothing is held up.
    pub waits_for: String,
}

impl ServiceSpec {
    /// When it runs by itself, where it is a job that does.
    pub fn schedule(&self) -> Option<&Schedule> {
        self.job.as_deref().and_then(|job| job.schedule.as_ref())
    }
}

impl Service {
    /// Tasks of this run may run: it is open, or a node that came later may still do
    /// what a global job has done on all the others.
    pub fn is_current(&self, run: &JobRun) -> bool {
        run.end.is_none_or(|end| {
            self.spec.mode == ServiceMode::GlobalJob
                && self.spec.schedule().is_none()
                && end.outcome == Outcome::Succeeded
                && self
                    .job
                    .newest()
                    .is_some_and(|newest| newest.number == run.number)
        })
    }
}

/// Progress of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateStatus {
    /// Where it is.
    pub state: UpdateState,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// In words.
    pub message: String,
    /// When it was last told to go on.
    pub resumed_at: Option<Timestamp>,
}

impl UpdateStatus {
    /// From when failures and progress count: who lets it go on has seen what was before.
    pub fn counts_from(&self) -> Timestamp {
        self.resumed_at
            .map_or(self.started_at, |at| at.max(self.started_at))
    }
}

/// Where an update is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateState {
    /// Under way.
    Updating,
    /// Stopped by a failure, or by who asked for it.
    Paused,
    /// Every task is current.
    Completed,
    /// Going back.
    RollbackStarted,
    /// Going back was stopped by a failure, or by who asked for it.
    RollbackPaused,
    /// Gone back.
    RollbackCompleted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_options_are_read_with_their_unit() {
        assert_eq!(LogDriver::size_bytes("10m"), Some(10 << 20));
        assert_eq!(LogDriver::size_bytes("512"), Some(512));
        assert_eq!(LogDriver::size_bytes("1GiB"), Some(1 << 30));
        for text in ["", "0", "-1", "ten", "5x", "1.5g", "99999999999g"] {
            assert_eq!(LogDriver::size_bytes(text), None, "{text}");
        }
        assert_eq!(LogDriver::file_count("3"), Some(3));
        for text in ["", "0", "-1", "3.0", "many"] {
            assert_eq!(LogDriver::file_count(text), None, "{text}");
        }
    }
}
