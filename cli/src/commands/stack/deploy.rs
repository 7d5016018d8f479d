//! `skep stack deploy`.
//!
//! The file is loaded, and what can be checked is checked, before anything is
//! written. Then networks, secrets and configs, then services, then (with
//! `--prune`) what the file no longer has; then waiting.

use super::belongs;
use super::file::{Files, Named};
use super::findings::Findings;
use super::standing::{changed_networks, check, known};
use crate::client::{Client, Host};
use crate::error::refusal;
use crate::flags;
use crate::output::say;
use crate::progress::{Waiting, wait};
use crate::view::View;
use anyhow::{Context as _, Result};
use bytes::Bytes;
use skep_proto::pb::change::Change;
use skep_proto::{id, id_bytes, pb};
use skep_types::stack::Ids;
use skep_types::{Content, ServiceId, ServiceMode, ServiceSpec, StackData, StackSpec};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tonic::Code;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep stack deploy -c docker-stack.yml vote")]
pub struct Args {
    #[command(flatten)]
    files: Named,
    /// Do not wait until the tasks run
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", hide_default_value = true, hide_possible_values = true)]
    detach: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Give up waiting after this long, e.g. 5m
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    timeout: Option<Duration>,
    /// Remove services of the stack that the file no longer has
    #[arg(long)]
    prune: bool,
    /// Leave the number of tasks as it is where the file does not say one
    #[arg(long)]
    keep_replicas: bool,
    #[command(flatten)]
    findings: Findings,
    /// Accepted for compatibility, without effect yet: see `skep image pull`
    #[arg(long, hide = true)]
    with_registry_auth: bool,
    /// Accepted for compatibility, without effect yet: nodes look images up
    #[arg(long, value_enum, hide = true)]
    resolve_image: Option<flags::Resolve>,
    /// Name of the stack; the `name` of the files, where it is left out
    stack: Option<String>,
}

/// Deploys, and waits.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    flags::note_without_effect(args.with_registry_auth, args.resolve_image);
    let loaded = Files::read(&args.files)?.load(args.stack.as_deref(), &args.findings)?;
    let stack = &loaded.stack;
    let client = host.connect().await?;
    let view = client.read(everything()).await?;
    let mut ids = known(&view);
    check(stack, &view)?;
    args.findings
        .tell_of_swarm(&changed_networks(stack, &view))?;
    let rotated = refresh_data(&client, stack, &view, &mut ids).await?;
    for network in &stack.networks {
        if network.external || ids.networks.contains_key(&network.name) {
            continue;
        }
        say!("Creating network {}", network.name)?;
        let made = client
            .change(Change::CreateNetwork((&network.spec).into()))
            .await;
        let made = made.with_context(|| format!("failed to create network {}", network.name))?;
        ids.networks
            .insert(network.name.clone(), id(&made, "change.ids")?);
    }
    for secret in &stack.secrets {
        let Some(spec) = content(secret).filter(|_| !ids.secrets.contains_key(&secret.name)) else {
            continue;
        };
        say!("Creating secret {}", secret.name)?;
        let made = client.change(Change::CreateSecret(spec)).await;
        let made = made.with_context(|| format!("failed to create secret {}", secret.name))?;
        ids.secrets
            .insert(secret.name.clone(), id(&made, "change.ids")?);
    }
    for config in &stack.configs {
        let Some(spec) = content(config).filter(|_| !ids.configs.contains_key(&config.name)) else {
            continue;
        };
        say!("Creating config {}", config.name)?;
        let made = client.change(Change::CreateConfig(spec)).await;
        let made = made.with_context(|| format!("failed to create config {}", config.name))?;
        ids.configs
            .insert(config.name.clone(), id(&made, "change.ids")?);
    }
    let (mut deployed, unchanged) = services(&client, &args, stack, &view, &ids).await?;
    for (what, update) in rotated {
        let changed = client.change_as_it_is(update).await;
        changed.with_context(|| format!("failed to update the services that use {what}"))?;
    }
    if args.prune {
        prune(&client, stack, &view).await?;
    }
    if args.detach {
        return Ok(());
    }
    let now = super::super::service::read(&client).await?;
    deployed.retain(|(id, _)| !ran_before(&view, &now, *id));
    let how = Waiting {
        quiet: args.quiet,
        timeout: args.timeout,
        unchanged: &unchanged,
        stack: Some(&stack.name),
        ..Waiting::default()
    };
    wait(&client, &deployed, how).await
}

/// It is a job whose newest run had ended before, well or badly: the deploy asked for
/// none, so there is none to wait for.
fn ran_before(before: &View, now: &View, id: ServiceId) -> bool {
    let newest = |view: &View| {
        let service = view.services.iter().find(|service| service.id == id)?;
        service.job.newest().copied()
    };
    newest(before).is_some_and(|run| run.end.is_some() && newest(now) == Some(run))
}

fn everything() -> pb::ReadRequest {
    pb::ReadRequest {
        services: true,
        networks: true,
        secrets: true,
        configs: true,
        ..Default::default()
    }
}

/// Brings secrets and configs that exist up to date: labels and content. Gives what is
/// to be asked for once the services of the stack use what is new: that others, too, do.
async fn refresh_data(
    client: &Client,
    stack: &StackSpec,
    view: &View,
    ids: &mut Ids,
) -> Result<Vec<(String, Change)>> {
    let mut rotated = Vec::new();
    for secret in &stack.secrets {
        let Some(spec) = content(secret) else {
            continue;
        };
        let Some(present) = view.secrets.iter().find(|s| s.spec.name == secret.name) else {
            continue;
        };
        // Sent in any case: managers never show a secret, only they can compare.
        // Where nothing differs it changes nothing.
        let asked = update(id_bytes(present.id), spec.clone(), false);
        let made = client.change_as_it_is(Change::UpdateSecret(asked)).await;
        let made = made.with_context(|| format!("failed to update secret {}", secret.name))?;
        if made != id_bytes(present.id) {
            say!("Updating secret {}", secret.name)?;
            ids.secrets
                .insert(secret.name.clone(), id(&made, "change.ids")?);
            let rest = Change::UpdateSecret(update(made, spec, true));
            rotated.push((format!("secret {}", secret.name), rest));
        }
    }
    for config in &stack.configs {
        let Some(spec) = content(config) else {
            continue;
        };
        let Some(present) = view.configs.iter().find(|c| c.spec.name == config.name) else {
            continue;
        };
        let asked = update(id_bytes(present.id), spec.clone(), false);
        let made = client.change_as_it_is(Change::UpdateConfig(asked)).await;
        let made = made.with_context(|| format!("failed to update config {}", config.name))?;
        if made != id_bytes(present.id) {
            say!("Updating config {}", config.name)?;
            ids.configs
                .insert(config.name.clone(), id(&made, "change.ids")?);
            let rest = Change::UpdateConfig(update(made, spec, true));
            rotated.push((format!("config {}", config.name), rest));
        }
    }
    Ok(rotated)
}

/// What is to be made, of one that is the stack's own.
fn content<Id>(data: &StackData<Id>) -> Option<pb::DataSpec> {
    match &data.content {
        Content::Given(content) => Some(pb::DataSpec {
            name: data.name.clone(),
            labels: data.labels.clone(),
            data: Bytes::copy_from_slice(content),
            template: data.template,
        }),
        Content::External | Content::Kept(_) => None,
    }
}

/// An update of whatever version the manager has.
fn update(id: Bytes, spec: pb::DataSpec, rollout: bool) -> pb::UpdateData {
    pb::UpdateData {
        id,
        version: 0,
        spec: Some(spec),
        rollout: Some(rollout),
    }
}

/// Creates and updates; returns what to wait for, and which of them it left as they were.
async fn services(
    client: &Client,
    args: &Args,
    stack: &StackSpec,
    view: &View,
    ids: &Ids,
) -> Result<(Vec<(ServiceId, String)>, Vec<ServiceId>)> {
    let mut deployed = Vec::with_capacity(stack.services.len());
    let mut unchanged = Vec::new();
    for service in &stack.services {
        let spec = as_sent(&service.resolve(ids)?)?;
        let name = spec.name.clone();
        let Some(present) = view.services.iter().find(|s| s.spec.name == name) else {
            say!("Creating service {name}")?;
            let made = client.create_service(&spec).await;
            let made = made.with_context(|| format!("failed to create service {name}"))?;
            deployed.push((made, name));
            continue;
        };
        let keep = args.keep_replicas && !service.replicas_given;
        if wanted(&spec, &present.spec, keep) == present.spec {
            unchanged.push(present.id);
        } else {
            say!("Updating service {name} (id: {})", present.id)?;
            client
                .edit_service(present.id, |now, edited| {
                    *edited = wanted(&spec, &now.spec, keep);
                    Ok(())
                })
                .await
                .with_context(|| format!("failed to update service {name}"))?;
        }
        deployed.push((present.id, name));
    }
    Ok((deployed, unchanged))
}

/// The spec as it comes back from a manager: times are whole milliseconds there.
fn as_sent(spec: &ServiceSpec) -> Result<ServiceSpec> {
    Ok(ServiceSpec::try_from(pb::ServiceSpec::from(spec))?)
}

/// What the file says, with what it does not say kept from the present spec.
fn wanted(file: &ServiceSpec, present: &ServiceSpec, keep_replicas: bool) -> ServiceSpec {
    let mut spec = file.clone();
    // A forced update stays done: going back would be another one.
    if spec.task.force_update != present.task.force_update {
        Arc::make_mut(&mut spec.task).force_update = present.task.force_update;
    }
    if keep_replicas
        && let (ServiceMode::Replicated { replicas }, ServiceMode::Replicated { replicas: now }) =
            (&mut spec.mode, present.mode)
    {
        *replicas = now;
    }
    spec
}

/// Removes services of the stack that the file does not have.
async fn prune(client: &Client, stack: &StackSpec, view: &View) -> Result<()> {
    let named: BTreeSet<&str> = stack
        .services
        .iter()
        .map(|s| s.spec.name.as_str())
        .collect();
    for service in &view.services {
        let name = &service.spec.name;
        if !belongs(&service.spec.labels, &stack.name) || named.contains(name.as_str()) {
            continue;
        }
        say!("Removing service {name}")?;
        match client
            .change(Change::RemoveService(id_bytes(service.id)))
            .await
        {
            // Somebody else was faster, which comes to the same.
            Err(error) if refusal(&error) != Some(Code::NotFound) => {
                return Err(error.context(format!("failed to remove service {name}")));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_file_does_not_say_is_kept() {
        let file = ServiceSpec::default();
        let mut present = file.clone();
        Arc::make_mut(&mut present.task).force_update = 7;
        present.mode = ServiceMode::Replicated { replicas: 5 };
        assert_eq!(wanted(&file, &present, true), present);
        let reset = wanted(&file, &present, false);
        assert_eq!(reset.mode, ServiceMode::Replicated { replicas: 1 });
        assert_eq!(reset.task.force_update, 7);
    }
}
