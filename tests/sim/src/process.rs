//! A simulated process: tasks that live and die together, on a clock of their
//! own that stands still unless the simulation lets it run.

use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// A process. Dropped, it is as after SIGKILL: no task of it runs again, and
/// what its tasks held is let go.
pub struct Process {
    runtime: Runtime,
}

impl Process {
    /// One without tasks, whose clock shows the present.
    ///
    /// # Errors
    /// If the system has no room for it.
    pub fn new() -> std::io::Result<Process> {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()?;
        Ok(Process { runtime })
    }

    /// Starts a task.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Does something as one of its tasks would, without waiting.
    pub fn enter<T>(&self, what: impl FnOnce() -> T) -> T {
        let _inside = self.runtime.enter();
        what()
    }

    /// Runs all tasks until its clock shows `until` and nothing is left to do
    /// before. Timers that were due while it was stopped all fire now.
    pub fn run(&self, now: Instant, until: Instant) {
        self.runtime.block_on(async {
            let behind = now.saturating_duration_since(tokio::time::Instant::now().into_std());
            if behind > Duration::ZERO {
                tokio::time::advance(behind).await;
            }
            tokio::time::sleep_until(until.into()).await;
        });
    }
}
