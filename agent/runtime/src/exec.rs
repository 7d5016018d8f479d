//! Commands beside process 1 of a container, for health checks.

use crate::runtime::read_json;
use crate::{Error, Result, Runtime, shim};
use skep_agent_shim_api::{ExecOutcome, ExecRequest, ShimRequest};
use skep_types::TaskId;
use std::time::Duration;
use tokio::time::timeout;

/// Output that is kept of a command, in bytes: what Docker keeps of a health
/// check.
const OUTPUT_BYTES: usize = 4096;

/// How long a command may take beyond its limit, which the shim keeps.
const SPARE: Duration = Duration::from_secs(5);

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecResult {
    /// By itself or by a signal.
    Exited {
        /// Exit code; 128 + signal number where a signal ended it.
        code: i32,
        /// The first 4096 bytes of its output and error output.
        output: String,
    },
    /// It was killed when its time was up.
    TimedOut {
        /// As above.
        output: String,
    },
}

impl Runtime {
    /// Runs a command in a container with the user, environment, directory and
    /// confinement of its process 1, and waits for it.
    ///
    /// # Errors
    /// [`Error::Exec`] when the command cannot be run.
    pub async fn exec(
        &self,
        task: &TaskId,
        command: &[String],
        limit: Duration,
    ) -> Result<ExecResult> {
        let bundle = self.existing(task)?;
        let of_container: ShimRequest = read_json(&bundle.request())?;
        let mut process = of_container.process;
        process.args = command.to_vec();
        process.init = false;
        let request = ExecRequest {
            container_id: of_container.container_id,
            process,
            timeout_millis: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            max_output_bytes: OUTPUT_BYTES,
            seccomp_cache: of_container.seccomp_cache,
        };
        let asked = shim::ask_process(&self.inner.config, "exec", &bundle, &request);
        // It may hang before it has a command whose time it could keep.
        let Ok(answer) = timeout(limit.saturating_add(SPARE), asked).await else {
            let output = String::new();
            return Ok(ExecResult::TimedOut { output });
        };
        match answer? {
            ExecOutcome::Exited { code, output } => Ok(ExecResult::Exited { code, output }),
            ExecOutcome::TimedOut { output } => Ok(ExecResult::TimedOut { output }),
            ExecOutcome::Failed { reason } => Err(Error::Exec { reason }),
        }
    }
}
