//! `skep stack rm`.

use super::belongs;
use crate::client::{Client, Host};
use crate::error::CliError;
use crate::output::{note, say};
use anyhow::{Result, bail};
use bytes::Bytes;
use skep_proto::pb::change::Change;
use skep_proto::{id_bytes, pb};
use std::time::Duration;
use tonic::Code;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(visible_aliases = ["remove", "down"], before_help = "Example:\n  skep stack rm vote")]
pub struct Args {
    /// Do not wait until the tasks have stopped
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", hide_default_value = true, hide_possible_values = true)]
    detach: bool,
    /// Names of stacks
    #[arg(value_name = "STACK", required = true)]
    stacks: Vec<String>,
}

/// Longest wait: for a network whose tasks have not all been told to stop yet, then for tasks to end.
const MOST_WAIT: Duration = Duration::from_secs(60);
const PERIOD: Duration = Duration::from_millis(200);

/// Removes each. Networks go when their last task has been told to stop; on its node one stays until it has.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let mut failed = Vec::new();
    for stack in &args.stacks {
        if !remove(&client, stack, args.detach).await? {
            failed.push(stack.as_str());
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => bail!(
            "failed to remove some resources from stack: {}",
            failed.join(", ")
        ),
    }
}

/// Whether everything of the stack is gone.
async fn remove(client: &Client, stack: &str, detach: bool) -> Result<bool> {
    let all = pb::ReadRequest {
        services: true,
        networks: true,
        secrets: true,
        configs: true,
        ..Default::default()
    };
    let view = client.read(all).await?;
    let mine = |labels: &skep_types::Labels| belongs(labels, stack);
    let mut work: Vec<(&str, &str, Change)> = Vec::new();
    let mut services: Vec<Bytes> = Vec::new();
    for service in view.services.iter().filter(|s| mine(&s.spec.labels)) {
        let id = id_bytes(service.id);
        services.push(id.clone());
        work.push(("service", &service.spec.name, Change::RemoveService(id)));
    }
    for secret in view.secrets.iter().filter(|s| mine(&s.spec.labels)) {
        let change = Change::RemoveSecret(id_bytes(secret.id));
        work.push(("secret", &secret.spec.name, change));
    }
    for config in view.configs.iter().filter(|c| mine(&c.spec.labels)) {
        let change = Change::RemoveConfig(id_bytes(config.id));
        work.push(("config", &config.spec.name, change));
    }
    for network in view.networks.iter().filter(|n| mine(&n.spec.labels)) {
        let change = Change::RemoveNetwork(id_bytes(network.id));
        work.push(("network", &network.spec.name, change));
    }
    if work.is_empty() {
        note!("Nothing found in stack: {stack}");
        return Ok(true);
    }
    let mut whole = true;
    for (kind, name, change) in work {
        say!("Removing {kind} {name}")?;
        let patient = kind == "network";
        if let Err(error) = remove_one(client, change, patient).await {
            note!("skep: failed to remove {kind} {name}: {error:#}");
            whole = false;
        }
    }
    if !detach && !services.is_empty() {
        whole &= stopped(client, &services).await?;
    }
    Ok(whole)
}

/// Removes one object; one that is still in use is tried for as long as tasks
/// take to stop, when `patient`.
async fn remove_one(client: &Client, change: Change, patient: bool) -> Result<()> {
    let until = tokio::time::Instant::now() + MOST_WAIT;
    loop {
        let error = match client.change(change.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        match error.downcast_ref() {
            // Somebody else was faster, which comes to the same.
            Some(CliError::Refused {
                code: Code::NotFound,
                ..
            }) => return Ok(()),
            Some(CliError::Refused {
                code: Code::FailedPrecondition | Code::Unavailable,
                ..
            }) if patient && tokio::time::Instant::now() < until => {
                tokio::time::sleep(PERIOD).await;
            }
            _ => return Err(error),
        }
    }
}

/// Waits until no task of the services is left; `false` when some stay.
async fn stopped(client: &Client, services: &[Bytes]) -> Result<bool> {
    let until = tokio::time::Instant::now() + MOST_WAIT;
    loop {
        let view = client
            .read(pb::ReadRequest {
                tasks: true,
                nodes: true,
                task_services: services.to_vec(),
                ..Default::default()
            })
            .await?;
        // Those of a node that is down are forgotten when it comes back.
        let left = view
            .tasks
            .iter()
            .filter(|task| !task.status.state.is_terminal() && view.is_on_live_node(task))
            .count();
        if left == 0 {
            return Ok(true);
        }
        if tokio::time::Instant::now() >= until {
            note!("skep: {left} tasks have not stopped yet; they go on stopping in background");
            return Ok(false);
        }
        tokio::time::sleep(PERIOD).await;
    }
}
