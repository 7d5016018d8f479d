//! `skep service update`.

use super::create::{Ports, constraint, environment, ports, preference};
use super::settings::{Settings, Words, parse_words};
use super::{WaitArgs, effect, references};
use crate::client::Host;
use crate::error::usage;
use crate::find;
use crate::flags::{self, FileRef, NetworkRef};
use crate::output::{note, say};
use crate::progress::{Waiting, wait};
use crate::view::View;
use anyhow::{Result, bail};
use skep_proto::pb::change::Change;
use skep_proto::{id_bytes, pb};
use skep_types::{
    FileReference, Labels, Mount, NetworkAttachmentSpec, Service, ServiceMode, ServiceSpec, Spread,
    Ulimit,
};
use std::sync::Arc;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  skep service update --image nginx:1.29 --update-order start-first web"
)]
pub struct Args {
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    asked: Asked,
}

/// What is asked for.
#[derive(Debug, clap::Args)]
pub struct Asked {
    /// Run another image
    #[arg(long)]
    image: Option<String>,
    /// Arguments of the command, in one text
    #[arg(long, value_name = "ARGUMENTS", value_parser = parse_words)]
    args: Option<Words>,
    /// Replace all tasks although nothing changed
    #[arg(long)]
    force: bool,
    /// Number of tasks
    #[arg(long, value_name = "NUMBER")]
    replicas: Option<u32>,
    /// Most tasks of a job that run at a time
    #[arg(long, value_name = "NUMBER")]
    max_concurrent: Option<u32>,
    /// Go back to what the service was before its last change; alone
    #[arg(long)]
    pub rollback: bool,
    #[command(flatten)]
    lists: Lists,
    #[command(flatten)]
    settings: Settings,
    /// Name or id
    pub service: String,
}

/// Flags that add to lists and take from them.
#[derive(Debug, Default, PartialEq, clap::Args)]
struct Lists {
    /// Publish a further port; repeatable
    #[arg(long, value_name = "PORT", value_parser = ports)]
    publish_add: Vec<Ports>,
    /// No longer publish what leads to this port of the containers; repeatable
    #[arg(long, value_name = "TARGET[/PROTOCOL]", value_parser = target)]
    publish_rm: Vec<(u16, Option<skep_types::Protocol>)>,
    /// Add or change a variable; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    env_add: Vec<String>,
    /// Remove a variable; repeatable
    #[arg(long, value_name = "KEY")]
    env_rm: Vec<String>,
    /// Add or change a mount; repeatable
    #[arg(long, value_name = "MOUNT", value_parser = flags::mount)]
    mount_add: Vec<Mount>,
    /// Remove the mount at a path; repeatable
    #[arg(long, value_name = "TARGET")]
    mount_rm: Vec<String>,
    /// Add a network; repeatable
    #[arg(long, value_name = "NETWORK", value_parser = flags::network)]
    network_add: Vec<NetworkRef>,
    /// Remove a network; repeatable
    #[arg(long, value_name = "NETWORK")]
    network_rm: Vec<String>,
    /// Add a condition on nodes; repeatable
    #[arg(long, value_name = "CONSTRAINT", value_parser = constraint)]
    constraint_add: Vec<String>,
    /// Remove a condition; repeatable
    #[arg(long, value_name = "CONSTRAINT")]
    constraint_rm: Vec<String>,
    /// Spread over a further label of nodes, or with another max-skew; repeatable
    #[arg(long, value_name = "PREFERENCE", value_parser = preference)]
    placement_pref_add: Vec<Spread>,
    /// No longer spread over it; repeatable
    #[arg(long, value_name = "PREFERENCE", value_parser = preference)]
    placement_pref_rm: Vec<Spread>,
    /// Add or change what each task needs for itself of what nodes have; repeatable
    #[arg(long, value_name = "KIND=NUMBER", value_parser = flags::generic)]
    generic_resource_add: Vec<(String, u64)>,
    /// It needs none of this kind; repeatable
    #[arg(long, value_name = "KIND")]
    generic_resource_rm: Vec<String>,
    /// Add or change a label of the service; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = flags::key_value)]
    label_add: Vec<(String, String)>,
    /// Remove a label of the service; repeatable
    #[arg(long, value_name = "KEY")]
    label_rm: Vec<String>,
    /// Add or change a label of the containers; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = flags::key_value)]
    container_label_add: Vec<(String, String)>,
    /// Remove a label of the containers; repeatable
    #[arg(long, value_name = "KEY")]
    container_label_rm: Vec<String>,
    /// Add or change a secret; repeatable
    #[arg(long, value_name = "SECRET", value_parser = flags::file_ref)]
    secret_add: Vec<FileRef>,
    /// Remove a secret; repeatable
    #[arg(long, value_name = "SECRET")]
    secret_rm: Vec<String>,
    /// Add or change a config; repeatable
    #[arg(long, value_name = "CONFIG", value_parser = flags::file_ref)]
    config_add: Vec<FileRef>,
    /// Remove a config; repeatable
    #[arg(long, value_name = "CONFIG")]
    config_rm: Vec<String>,
    /// Add a capability; repeatable
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Take a capability away; repeatable
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// Add or change a limit of processes; repeatable
    #[arg(long, value_name = "LIMIT", value_parser = flags::ulimit)]
    ulimit_add: Vec<Ulimit>,
    /// Remove a limit of processes; repeatable
    #[arg(long, value_name = "NAME")]
    ulimit_rm: Vec<String>,
    /// Add or change a kernel setting; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = flags::key_value)]
    sysctl_add: Vec<(String, String)>,
    /// Remove a kernel setting; repeatable
    #[arg(long, value_name = "KEY")]
    sysctl_rm: Vec<String>,
    /// Add a further name of an address; repeatable
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = flags::host_entry)]
    host_add: Vec<String>,
    /// Remove it; repeatable
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = flags::host_entry)]
    host_rm: Vec<String>,
    /// Add a name server; repeatable
    #[arg(long, value_name = "ADDRESS")]
    dns_add: Vec<std::net::IpAddr>,
    /// Remove a name server; repeatable
    #[arg(long, value_name = "ADDRESS")]
    dns_rm: Vec<std::net::IpAddr>,
    /// Add a search domain; repeatable
    #[arg(long, value_name = "DOMAIN")]
    dns_search_add: Vec<String>,
    /// Remove a search domain; repeatable
    #[arg(long, value_name = "DOMAIN")]
    dns_search_rm: Vec<String>,
    /// Add an option of the resolver; repeatable
    #[arg(long, value_name = "OPTION")]
    dns_option_add: Vec<String>,
    /// Remove an option of the resolver; repeatable
    #[arg(long, value_name = "OPTION")]
    dns_option_rm: Vec<String>,
    /// Add a supplementary group, by name or number; repeatable
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// Remove a supplementary group; repeatable
    #[arg(long, value_name = "GROUP")]
    group_rm: Vec<String>,
}

/// `80` or `80/udp`.
fn target(text: &str) -> Result<(u16, Option<skep_types::Protocol>), String> {
    let ports = flags::publish(text)?;
    match ports.as_slice() {
        [port] if port.published == 0 => {
            let protocol = text.contains('/').then_some(port.protocol);
            Ok((port.target, protocol))
        }
        _ => Err(format!(
            "{text:?} is not a port of the containers such as 80 or 80/udp"
        )),
    }
}

impl Asked {
    /// Refuses a change beside a rollback, which would be lost.
    pub fn check(&self) -> Result<()> {
        let Asked {
            image,
            args,
            force,
            replicas,
            max_concurrent,
            rollback,
            lists,
            settings,
            service: _,
        } = self;
        let numbers = replicas.is_some() || max_concurrent.is_some();
        let single = image.is_some() || args.is_some() || *force || numbers;
        let changes = single || *lists != Lists::default() || *settings != Settings::default();
        match *rollback && changes {
            true => Err(usage("other flags may not be combined with --rollback")),
            false => Ok(()),
        }
    }

    /// Changes the spec of the service as asked for.
    pub fn edit(&self, view: &View, service: &Service, spec: &mut ServiceSpec) -> Result<()> {
        if let Some(replicas) = self.replicas {
            match &mut spec.mode {
                ServiceMode::Replicated { replicas: present } => *present = replicas,
                ServiceMode::ReplicatedJob { completions, .. } => *completions = replicas,
                ServiceMode::Global | ServiceMode::GlobalJob => {
                    bail!("replicas can only be used with replicated or replicated-job mode");
                }
            }
        }
        if let Some(most) = self.max_concurrent {
            match &mut spec.mode {
                ServiceMode::ReplicatedJob { concurrent, .. } => *concurrent = most,
                _ => bail!("max-concurrent can only be used with replicated-job mode"),
            }
        }
        self.settings.apply(spec)?;
        self.lists.apply(view, spec)?;
        let task = Arc::make_mut(&mut spec.task);
        if let Some(image) = &self.image {
            task.container.image.clone_from(image);
        }
        if let Some(Words(words)) = &self.args {
            task.container.args.clone_from(words);
        }
        if self.force {
            task.force_update = service.spec.task.force_update + 1;
        }
        Ok(())
    }
}

fn unlabel(labels: &mut Labels, keys: &[String], more: &[(String, String)]) {
    labels.retain(|key, _| !keys.contains(key));
    labels.extend(more.iter().cloned());
}

/// Removes from a list, then adds what is not in it.
fn relist<T: PartialEq + Clone>(list: &mut Vec<T>, gone: &[T], more: &[T]) {
    list.retain(|item| !gone.contains(item));
    for item in more {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

impl Lists {
    fn apply(&self, view: &View, spec: &mut ServiceSpec) -> Result<()> {
        unlabel(&mut spec.labels, &self.label_rm, &self.label_add);
        let ports = &mut spec.endpoint.ports;
        ports.retain(|port| {
            !self.publish_rm.iter().any(|(target, protocol)| {
                port.target == *target && protocol.is_none_or(|p| p == port.protocol)
            })
        });
        for port in self.publish_add.iter().flat_map(|Ports(ports)| ports) {
            // One port outside leads to one place.
            ports.retain(|present| {
                let same = (present.published, present.protocol, present.mode)
                    == (port.published, port.protocol, port.mode);
                present != port && !(same && port.published != 0)
            });
            ports.push(port.clone());
        }
        let task = Arc::make_mut(&mut spec.task);
        relist(
            &mut task.placement.constraints,
            &self.constraint_rm,
            &self.constraint_add,
        );
        let spread = &mut task.placement.spread;
        spread.retain(|present| !self.placement_pref_rm.iter().any(|s| s.by == present.by));
        for added in &self.placement_pref_add {
            match spread.iter_mut().find(|present| present.by == added.by) {
                Some(present) => present.clone_from(added),
                None => spread.push(added.clone()),
            }
        }
        let generic = &mut task.resources.generic;
        generic.retain(|kind, _| !self.generic_resource_rm.contains(kind));
        generic.extend(self.generic_resource_add.iter().cloned());
        for key in &self.network_rm {
            let network = references::network(view, key)?;
            task.networks.retain(|present| present.network != network);
        }
        for given in &self.network_add {
            let network = references::network(view, &given.network)?;
            task.networks.retain(|present| present.network != network);
            let aliases = given.aliases.clone();
            task.networks
                .push(NetworkAttachmentSpec { network, aliases });
        }
        let container = &mut task.container;
        unlabel(
            &mut container.labels,
            &self.container_label_rm,
            &self.container_label_add,
        );
        unlabel(&mut container.sysctls, &self.sysctl_rm, &self.sysctl_add);
        let added = environment(&[], &self.env_add)?;
        let key = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
        let replaced: Vec<String> = added.iter().map(|variable| key(variable)).collect();
        container.env.retain(|variable| {
            let key = key(variable);
            !self.env_rm.contains(&key) && !replaced.contains(&key)
        });
        container.env.extend(added);
        container.mounts.retain(|mount| {
            !self.mount_rm.contains(&mount.target)
                && !self
                    .mount_add
                    .iter()
                    .any(|added| added.target == mount.target)
        });
        container.mounts.extend(self.mount_add.iter().cloned());
        container.ulimits.retain(|limit| {
            !self.ulimit_rm.contains(&limit.name)
                && !self.ulimit_add.iter().any(|added| added.name == limit.name)
        });
        container.ulimits.extend(self.ulimit_add.iter().cloned());
        for name in &self.secret_rm {
            container
                .secrets
                .retain(|file| file.name != *name && file.id.to_string() != *name);
        }
        for file in &self.secret_add {
            let (id, name) = references::secret(view, &file.source)?;
            let target = file.target.clone();
            container
                .secrets
                .retain(|present| present.target.path != target.path);
            container.secrets.push(FileReference { id, name, target });
        }
        for name in &self.config_rm {
            container
                .configs
                .retain(|file| file.name != *name && file.id.to_string() != *name);
        }
        for file in &self.config_add {
            let (id, name) = references::config(view, &file.source)?;
            let target = references::at_root(file);
            container
                .configs
                .retain(|present| present.target.path != target.path);
            container.configs.push(FileReference { id, name, target });
        }
        relist(&mut container.cap_add, &self.cap_drop, &self.cap_add);
        relist(&mut container.cap_drop, &self.cap_add, &self.cap_drop);
        relist(&mut container.hosts, &self.host_rm, &self.host_add);
        let text =
            |list: &[std::net::IpAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        relist(
            &mut container.dns_servers,
            &text(&self.dns_rm),
            &text(&self.dns_add),
        );
        relist(
            &mut container.dns_search,
            &self.dns_search_rm,
            &self.dns_search_add,
        );
        relist(
            &mut container.dns_options,
            &self.dns_option_rm,
            &self.dns_option_add,
        );
        relist(&mut container.groups, &self.group_rm, &self.group_add);
        Ok(())
    }
}

/// What has to be read for a change.
pub fn to_read() -> pb::ReadRequest {
    pb::ReadRequest {
        services: true,
        networks: true,
        secrets: true,
        configs: true,
        ..Default::default()
    }
}

/// Changes the service and waits.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let Args { wait: how, asked } = args;
    asked.check()?;
    asked.settings.note_without_effect();
    let client = host.connect().await?;
    let view = client.read(to_read()).await?;
    let service = find::service(&view.services, &asked.service)?;
    // The newest run of a job, where it had ended before.
    let mut over = None;
    if asked.rollback {
        let change = Change::RollbackService(id_bytes(service.id));
        client.change_as_it_is(change).await?;
    } else {
        let mut warnings = Vec::new();
        client
            .edit_service(service.id, |present, spec| {
                over = present
                    .job
                    .newest()
                    .filter(|run| run.end.is_some())
                    .copied();
                asked.edit(&view, present, spec)?;
                warnings = effect::added(&present.spec, spec)?;
                Ok(())
            })
            .await?;
        for warning in warnings {
            note!("{warning}");
        }
    }
    say!("{}", asked.service)?;
    if how.detach {
        return Ok(());
    }
    if let Some(over) = over {
        let view = super::read(&client).await?;
        let now = view.services.iter().find(|known| known.id == service.id);
        if now.is_some_and(|now| now.job.newest() == Some(&over)) {
            // The change asked for no run: there is none to wait for.
            return Ok(());
        }
    }
    let how = Waiting {
        quiet: how.quiet,
        timeout: how.timeout,
        rollback: asked.rollback,
        ..Waiting::default()
    };
    wait(&client, &[(service.id, service.spec.name.clone())], how).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(flags: &[&str]) -> Result<Asked> {
        let words = [&["update"], flags, &["web"]].concat();
        Ok(Line::try_parse_from(words)?.args.asked)
    }

    #[test]
    fn a_rollback_takes_no_other_change() -> Result<()> {
        parsed(&["--rollback"])?.check()?;
        parsed(&["--rollback", "--detach", "--quiet"])?.check()?;
        for flag in [
            "--image=a",
            "--force",
            "--replicas=2",
            "--args=a",
            "--env-add=A=b",
            "--label-rm=a",
            "--hostname=a",
            "--with-registry-auth",
            "--update-delay=5s",
            "--rollback-order=stop-first",
            "--health-retries=2",
        ] {
            parsed(&[flag])?.check()?;
            let refused = parsed(&["--rollback", flag])?.check().err();
            assert_eq!(
                refused.map(|error| error.to_string()).as_deref(),
                Some("other flags may not be combined with --rollback"),
                "{flag}"
            );
        }
        Ok(())
    }

    #[test]
    fn a_preference_is_known_by_its_label() -> Result<()> {
        let args = parsed(&[
            "--placement-pref-add=spread=node.labels.zone,max-skew=1",
            "--placement-pref-add=spread=node.labels.row",
            "--placement-pref-rm=spread=node.labels.rack",
        ])?;
        let mut service = crate::testing::service(1, "web", 1);
        let task = Arc::make_mut(&mut service.spec.task);
        for text in ["node.labels.zone", "node.labels.rack,max-skew=2"] {
            task.placement.spread.push(text.parse()?);
        }
        let mut spec = service.spec.clone();
        args.edit(&View::default(), &service, &mut spec)?;
        let spread: Vec<String> = spec
            .task
            .placement
            .spread
            .iter()
            .map(Spread::to_string)
            .collect();
        assert_eq!(spread, ["node.labels.zone,max-skew=1", "node.labels.row"]);
        assert!(parsed(&["--placement-pref-add=spread=node.labels.zone,skew=1"]).is_err());
        Ok(())
    }

    #[test]
    fn lists_of_resolvers_and_groups_are_edited() -> Result<()> {
        let args = parsed(&[
            "--dns-search-add=new.example",
            "--dns-search-rm=old.example",
            "--dns-option-add=ndots:2",
            "--dns-option-rm=rotate",
            "--group-add=audio",
            "--group-rm=video",
        ])?;
        let mut service = crate::testing::service(1, "web", 1);
        let container = &mut Arc::make_mut(&mut service.spec.task).container;
        container.dns_search = vec!["old.example".to_owned(), "kept.example".to_owned()];
        container.dns_options = vec!["rotate".to_owned()];
        container.groups = vec!["video".to_owned()];
        let mut spec = service.spec.clone();
        args.edit(&View::default(), &service, &mut spec)?;
        let container = &spec.task.container;
        assert_eq!(container.dns_search, ["kept.example", "new.example"]);
        assert_eq!(container.dns_options, ["ndots:2"]);
        assert_eq!(container.groups, ["audio"]);
        Ok(())
    }
}
