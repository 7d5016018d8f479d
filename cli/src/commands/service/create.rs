//! `skep service create`.

use super::settings::Settings;
use super::{WaitArgs, effect};
use crate::client::Host;
use crate::error::usage;
use crate::flags::{self, FileRef, NetworkRef};
use crate::output::{note, say};
use crate::progress::{Waiting, wait};
use anyhow::{Context as _, Result};
use clap::ValueEnum;
use skep_proto::pb;
use skep_types::constraint::Constraint;
use skep_types::{
    FileReference, InvalidSpread, Mount, NetworkAttachmentSpec, PortConfig, ServiceMode,
    ServiceSpec, Spread, TaskSpec, Ulimit,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  skep service create --name web --replicas 3 -p 8080:80 nginx:alpine"
)]
pub struct Args {
    #[command(flatten)]
    wait: WaitArgs,
    /// Name of the service; a made-up one by default
    #[arg(long)]
    name: Option<String>,
    /// How many tasks, and where; replicated by default, with a schedule replicated-job
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Number of tasks, of a job to be completed; 1 by default
    #[arg(long, value_name = "NUMBER")]
    replicas: Option<u32>,
    /// Most tasks of a job that run at a time; as many as are to be completed by default
    #[arg(long, value_name = "NUMBER")]
    max_concurrent: Option<u32>,
    /// Publish a port: 8080:80, 53:53/udp or published=8080,target=80,mode=host; repeatable
    #[arg(short, long, value_name = "PORT", value_parser = ports)]
    publish: Vec<Ports>,
    /// Variable of the environment; a name alone takes its value from here; repeatable
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// File with a variable a line; repeatable
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Mount: type=volume|bind|tmpfs,source=…,target=…[,readonly]; repeatable
    #[arg(long, value_name = "MOUNT", value_parser = flags::mount)]
    mount: Vec<Mount>,
    /// Network, or name=NETWORK,alias=NAME; repeatable
    #[arg(long, value_name = "NETWORK", value_parser = flags::network)]
    network: Vec<NetworkRef>,
    /// Condition on nodes, e.g. node.role==worker, 'node.labels.zone in a,b',
    /// 'node.labels.slots > 4', 'node.labels.gpu exists'; repeatable
    #[arg(long, value_name = "CONSTRAINT", value_parser = constraint)]
    constraint: Vec<String>,
    /// Spread over a label of nodes, e.g. spread=node.labels.zone; with ,max-skew=1 no
    /// value may have more tasks than that above another, rather wait; repeatable
    #[arg(long, value_name = "PREFERENCE", value_parser = preference)]
    placement_pref: Vec<Spread>,
    /// What each task needs for itself of what nodes have, e.g. gpu=1; repeatable
    #[arg(long, value_name = "KIND=NUMBER", value_parser = flags::generic)]
    generic_resource: Vec<(String, u64)>,
    /// Label of the service; repeatable
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = flags::key_value)]
    label: Vec<(String, String)>,
    /// Label of its containers; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = flags::key_value)]
    container_label: Vec<(String, String)>,
    /// Secret, or source=NAME,target=FILE[,uid=…,gid=…,mode=…]; repeatable
    #[arg(long, value_name = "SECRET", value_parser = flags::file_ref)]
    secret: Vec<FileRef>,
    /// Config, or source=NAME,target=PATH[,uid=…,gid=…,mode=…]; repeatable
    #[arg(long, value_name = "CONFIG", value_parser = flags::file_ref)]
    config: Vec<FileRef>,
    /// Supplementary group, by name or number; repeatable
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Add a capability; repeatable
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Take a capability away; repeatable
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// Limit of processes, e.g. nofile=1024:2048; repeatable
    #[arg(long, value_name = "LIMIT", value_parser = flags::ulimit)]
    ulimit: Vec<Ulimit>,
    /// Kernel setting of the containers; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = flags::key_value)]
    sysctl: Vec<(String, String)>,
    /// Name server for names outside the swarm; repeatable
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<std::net::IpAddr>,
    /// Search domain; repeatable
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// Option of the resolver; repeatable
    #[arg(long, value_name = "OPTION")]
    dns_option: Vec<String>,
    /// Further name of an address, e.g. db:10.0.0.5; repeatable
    #[arg(long = "host", id = "extra_host", value_name = "NAME:ADDRESS", value_parser = flags::host_entry)]
    host: Vec<String>,
    #[command(flatten)]
    settings: Settings,
    /// Image to run
    image: String,
    /// Command and its arguments, instead of the image's
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    args: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// A number of equal tasks
    Replicated,
    /// One task on every node
    Global,
    /// A number of equal tasks that run to their end
    ReplicatedJob,
    /// One task on every node that runs to its end
    GlobalJob,
}

/// The ports of one flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports(pub Vec<PortConfig>);

/// Reads one flag; for clap, to which a plain list means repeated values.
pub fn ports(text: &str) -> Result<Ports, String> {
    flags::publish(text).map(Ports)
}

/// `spread=node.labels.zone`, with `,max-skew=1` or without.
pub fn preference(text: &str) -> Result<Spread, String> {
    match text.split_once('=') {
        Some(("spread", by)) if !by.is_empty() => by
            .parse()
            .map_err(|invalid: InvalidSpread| invalid.to_string()),
        _ => Err(format!(
            "{text:?} is not a preference such as spread=node.labels.zone"
        )),
    }
}

/// A placement constraint, as it was written.
pub fn constraint(text: &str) -> Result<String, String> {
    match Constraint::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(invalid) => Err(match invalid.help() {
            Some(help) => format!("{}; {help}", invalid.fault),
            None => invalid.fault.to_string(),
        }),
    }
}

/// Variables of files and flags; a flag's value holds over a file's.
pub fn environment(files: &[PathBuf], flags: &[String]) -> Result<Vec<String>> {
    let here = |key: &str| std::env::var(key).ok();
    let mut out: Vec<String> = Vec::new();
    let mut add = |variable: String| {
        let key = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
        out.retain(|present| key(present) != key(&variable));
        out.push(variable);
    };
    for path in files {
        let text = read_file(path)?;
        let variables = crate::flags::env_file(&text, &here)
            .map_err(|error| usage(format!("{}: {error}", path.display())))?;
        variables.into_iter().for_each(&mut add);
    }
    for flag in flags {
        let variable = crate::flags::env_value(flag, &here).map_err(usage)?;
        variable.into_iter().for_each(&mut add);
    }
    Ok(out)
}

fn read_file(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

impl Args {
    fn mode(&self) -> Result<ServiceMode> {
        let mode = self.mode.unwrap_or(match self.settings.has_schedule() {
            true => Mode::ReplicatedJob,
            false => Mode::Replicated,
        });
        if self.replicas.is_some() && matches!(mode, Mode::Global | Mode::GlobalJob) {
            return Err(usage(
                "replicas can only be used with replicated or replicated-job mode",
            ));
        }
        if self.max_concurrent.is_some() && mode != Mode::ReplicatedJob {
            return Err(usage(
                "max-concurrent can only be used with replicated-job mode",
            ));
        }
        let replicas = self.replicas.unwrap_or(1);
        Ok(match mode {
            Mode::Replicated => ServiceMode::Replicated { replicas },
            Mode::Global => ServiceMode::Global,
            Mode::ReplicatedJob => ServiceMode::ReplicatedJob {
                completions: replicas,
                concurrent: self.max_concurrent.unwrap_or(replicas),
            },
            Mode::GlobalJob => ServiceMode::GlobalJob,
        })
    }

    fn spec(&self, view: &crate::view::View) -> Result<ServiceSpec> {
        let mode = self.mode()?;
        let mut task = TaskSpec::default();
        let container = &mut task.container;
        container.image.clone_from(&self.image);
        container.args.clone_from(&self.args);
        container.env = environment(&self.env_file, &self.env)?;
        container.labels = flags::labels(&self.container_label);
        container.mounts.clone_from(&self.mount);
        container.groups.clone_from(&self.group);
        container.cap_add.clone_from(&self.cap_add);
        container.cap_drop.clone_from(&self.cap_drop);
        container.ulimits.clone_from(&self.ulimit);
        container.sysctls = flags::labels(&self.sysctl);
        container.dns_servers = self.dns.iter().map(ToString::to_string).collect();
        container.dns_search.clone_from(&self.dns_search);
        container.dns_options.clone_from(&self.dns_option);
        container.hosts.clone_from(&self.host);
        for file in &self.secret {
            let (id, name) = super::references::secret(view, &file.source)?;
            let target = file.target.clone();
            container.secrets.push(FileReference { id, name, target });
        }
        for file in &self.config {
            let (id, name) = super::references::config(view, &file.source)?;
            let target = super::references::at_root(file);
            container.configs.push(FileReference { id, name, target });
        }
        for given in &self.network {
            task.networks.push(NetworkAttachmentSpec {
                network: super::references::network(view, &given.network)?,
                aliases: given.aliases.clone(),
            });
        }
        task.placement.constraints.clone_from(&self.constraint);
        task.placement.spread.clone_from(&self.placement_pref);
        task.resources.generic = self.generic_resource.iter().cloned().collect();
        let mut spec = ServiceSpec {
            name: self.name.clone().unwrap_or_else(made_up_name),
            labels: flags::labels(&self.label),
            mode,
            task: Arc::new(task),
            ..ServiceSpec::default()
        };
        spec.endpoint.ports = self
            .publish
            .iter()
            .flat_map(|Ports(ports)| ports.clone())
            .collect();
        self.settings.apply(&mut spec)?;
        Ok(spec)
    }
}

/// Creates, prints the id, and waits.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    args.settings.note_without_effect();
    let client = host.connect().await?;
    let view = client
        .read(pb::ReadRequest {
            networks: true,
            secrets: true,
            configs: true,
            ..Default::default()
        })
        .await?;
    let spec = args.spec(&view)?;
    for warning in effect::added(&ServiceSpec::default(), &spec)? {
        note!("{warning}");
    }
    let id = client.create_service(&spec).await?;
    say!("{id}")?;
    if args.wait.detach {
        return Ok(());
    }
    let how = Waiting {
        quiet: args.wait.quiet,
        timeout: args.wait.timeout,
        spare_stdout: true,
        ..Waiting::default()
    };
    wait(&client, &[(id, spec.name)], how).await
}

/// A name for a service that was given none: two words and a number that
/// differs from call to call.
fn made_up_name() -> String {
    const FIRST: [&str; 8] = [
        "amber", "brave", "calm", "eager", "gentle", "lively", "quiet", "warm",
    ];
    const SECOND: [&str; 8] = [
        "bee", "clover", "comb", "drone", "heather", "hive", "linden", "meadow",
    ];
    let seed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |time| time.as_nanos())
        ^ u128::from(std::process::id()) << 20;
    let pick = |words: &[&'static str; 8], shift: u32| words[(seed >> shift) as usize % 8];
    format!(
        "{}_{}{}",
        pick(&FIRST, 10),
        pick(&SECOND, 13),
        (seed >> 16) % 1000
    )
}
