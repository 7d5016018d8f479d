//! What the commands of secrets and configs share: where content comes from, and
//! what it is.

use super::service::{self, WaitArgs};
use crate::client::Client;
use crate::output::say;
use crate::progress::{Waiting, wait};
use crate::view::View;
use anyhow::{Context as _, Result};
use bytes::Bytes;
use clap::ValueEnum;
use skep_proto::pb;
use skep_proto::pb::change::Change;
use skep_types::{ContainerSpec, Service, ServiceId, Version};
use std::collections::BTreeSet;
use std::io::Read as _;

/// What fills content in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TemplateDriver {
    /// A template, as Go's text/template has them.
    Golang,
    /// Nothing: it is as it was given.
    None,
}

/// Whether content is a template, where that is said.
pub fn is_template(driver: Option<TemplateDriver>) -> Option<bool> {
    driver.map(|driver| driver == TemplateDriver::Golang)
}

/// The content of a file; of standard input for `-`.
///
/// # Errors
/// It cannot be read.
pub fn read(file: &str) -> Result<Vec<u8>> {
    if file != "-" {
        return std::fs::read(file).with_context(|| format!("cannot read {file}"));
    }
    let mut data = Vec::new();
    let read = std::io::stdin().read_to_end(&mut data);
    read.context("cannot read standard input")?;
    Ok(data)
}

/// What commands that change content have in common.
#[derive(Debug, clap::Args)]
pub struct UpdateArgs {
    /// Leave the services that use it with what they have
    #[arg(long)]
    no_rollout: bool,
    /// What its content is from now on: golang, a template that is filled in for each task;
    /// none, plain. As before where nothing is said
    #[arg(long, value_name = "DRIVER", value_enum)]
    template_driver: Option<TemplateDriver>,
    #[command(flatten)]
    wait: WaitArgs,
}

impl UpdateArgs {
    /// The update that gives what had `spec` at that version the content of a file. What
    /// is a template stays one where nothing else is said.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of_file(
        &self,
        file: &str,
        id: Bytes,
        version: Version,
        spec: pb::DataSpec,
    ) -> Result<pb::UpdateData> {
        Ok(pb::UpdateData {
            id,
            version: version.0,
            spec: Some(pb::DataSpec {
                data: read(file)?.into(),
                template: is_template(self.template_driver).unwrap_or(spec.template),
                ..spec
            }),
            rollout: Some(!self.no_rollout),
        })
    }

    /// Sends the change, prints the name, and waits for the services that use what is
    /// newest now and did not before. `used` says what a container uses.
    ///
    /// # Errors
    /// What the manager says; an update that fails.
    pub async fn send(
        self,
        client: &Client,
        name: &str,
        change: Change,
        used: impl Fn(&ContainerSpec) -> Vec<Bytes>,
    ) -> Result<()> {
        let before = service::read(client).await?;
        let newest = client.change(change).await?;
        say!("{name}")?;
        let users = |view: &View| -> BTreeSet<ServiceId> {
            let uses = |service: &&Service| {
                let runs = !service.spec.mode.is_job();
                runs && used(&service.spec.task.container).contains(&newest)
            };
            let services = view.services.iter().filter(uses);
            services.map(|service| service.id).collect()
        };
        if self.wait.detach {
            return Ok(());
        }
        let after = service::read(client).await?;
        let mut updated = users(&after);
        updated.retain(|id| !users(&before).contains(id));
        let services = after.services.iter().filter(|s| updated.contains(&s.id));
        let services: Vec<_> = services.map(|s| (s.id, s.spec.name.clone())).collect();
        let how = Waiting {
            quiet: self.wait.quiet,
            timeout: self.wait.timeout,
            ..Waiting::default()
        };
        match services.is_empty() {
            true => Ok(()),
            false => wait(client, &services, how).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_stays_one_until_it_is_said_to_be_plain() {
        let file = std::env::temp_dir().join(format!("skep-content-{}", std::process::id()));
        std::fs::write(&file, "{{.Node.Hostname}}").unwrap();
        let becomes = |template_driver, was| {
            let args = UpdateArgs {
                no_rollout: false,
                template_driver,
                wait: WaitArgs {
                    detach: true,
                    quiet: true,
                    timeout: None,
                },
            };
            let spec = pb::DataSpec {
                template: was,
                ..pb::DataSpec::default()
            };
            let update = args.of_file(file.to_str().unwrap(), Bytes::new(), Version(1), spec);
            update.unwrap().spec.unwrap().template
        };
        for (driver, was, is) in [
            (None, false, false),
            (None, true, true),
            (Some(TemplateDriver::Golang), false, true),
            (Some(TemplateDriver::None), true, false),
            (Some(TemplateDriver::None), false, false),
        ] {
            assert_eq!(becomes(driver, was), is, "{driver:?} {was}");
        }
        std::fs::remove_file(&file).unwrap();
    }
}
