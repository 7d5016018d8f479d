//! `skep service scale`.

use super::WaitArgs;
use crate::client::Host;
use crate::error::usage;
use crate::find;
use crate::output::say;
use crate::progress::{Waiting, wait};
use anyhow::{Result, bail};
use skep_types::ServiceMode;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep service scale web=5 worker=2")]
pub struct Args {
    #[command(flatten)]
    wait: WaitArgs,
    /// Name or id of a service, and its number of tasks
    #[arg(value_name = "SERVICE=REPLICAS", required = true)]
    scales: Vec<String>,
}

/// Scales each, then waits for all of them together.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let scales = args
        .scales
        .iter()
        .map(|text| parse(text))
        .collect::<Result<Vec<_>>>()?;
    let client = host.connect().await?;
    let view = super::read(&client).await?;
    // Nothing is done where one of them is wrong.
    let mut wanted = Vec::new();
    for (key, replicas) in scales {
        let service = find::service(&view.services, key)?;
        scaled(key, service.spec.mode, replicas)?;
        wanted.push((service, key, replicas));
    }
    let mut waited = Vec::new();
    for (service, key, replicas) in wanted {
        client
            .edit_service(service.id, |_, spec| {
                spec.mode = scaled(key, spec.mode, replicas)?;
                Ok(())
            })
            .await?;
        say!("{} scaled to {replicas}", service.spec.name)?;
        waited.push((service.id, service.spec.name.clone()));
    }
    if args.wait.detach {
        return Ok(());
    }
    let how = Waiting {
        quiet: args.wait.quiet,
        timeout: args.wait.timeout,
        ..Waiting::default()
    };
    wait(&client, &waited, how).await
}

/// As Docker does it: of a job the number to be completed is set, not how many run at
/// a time.
fn scaled(key: &str, mode: ServiceMode, replicas: u32) -> Result<ServiceMode> {
    match mode {
        ServiceMode::Replicated { .. } => Ok(ServiceMode::Replicated { replicas }),
        ServiceMode::ReplicatedJob { concurrent, .. } => Ok(ServiceMode::ReplicatedJob {
            completions: replicas,
            concurrent,
        }),
        ServiceMode::Global | ServiceMode::GlobalJob => {
            bail!("{key}: scale can only be used with replicated or replicated-job mode")
        }
    }
}

fn parse(text: &str) -> Result<(&str, u32)> {
    let Some((service, replicas)) = text.split_once('=') else {
        return Err(usage(format!(
            "invalid scale specifier {text:?}: write service=replicas"
        )));
    };
    match replicas.parse() {
        Ok(replicas) if !service.is_empty() => Ok((service, replicas)),
        _ => Err(usage(format!(
            "invalid scale specifier {text:?}: {replicas:?} is not a number of replicas"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_on_every_node_is_not_scaled() -> Result<()> {
        let job = ServiceMode::ReplicatedJob {
            completions: 2,
            concurrent: 1,
        };
        let more = ServiceMode::ReplicatedJob {
            completions: 5,
            concurrent: 1,
        };
        assert_eq!(scaled("j", job, 5)?, more);
        for mode in [ServiceMode::Global, ServiceMode::GlobalJob] {
            let refused = scaled("g", mode, 5).err().map(|error| error.to_string());
            let text = "g: scale can only be used with replicated or replicated-job mode";
            assert_eq!(refused.as_deref(), Some(text));
        }
        Ok(())
    }

    #[test]
    fn a_scale_is_a_service_and_a_number() {
        assert_eq!(parse("web=5").ok(), Some(("web", 5)));
        for text in ["web", "web=", "web=-1", "web=many", "=5"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
