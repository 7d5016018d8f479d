//! `skep swarm init`.

use super::place::PlaceArgs;
use super::unlock_key::say_unlock;
use super::{EXTERNAL_CA, join_command};
use crate::client::Host;
use crate::error::{CliError, usage};
use crate::flags;
use crate::output::say;
use anyhow::Result;
use ipnet::Ipv4Net;
use skep_proto::{id, pb};
use skep_types::{ClusterSpec, NodeId};
use std::time::Duration;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep swarm init --advertise-addr 192.0.2.10")]
pub struct Args {
    #[command(flatten)]
    place: PlaceArgs,
    /// Make a new swarm of what this manager knows, after most others were lost
    #[arg(long)]
    force_new_cluster: bool,
    #[command(flatten)]
    settings: Settings,
    /// Where subnets of networks are taken from; repeatable
    #[arg(long, value_name = "SUBNET")]
    default_addr_pool: Vec<Ipv4Net>,
    /// Prefix length of those subnets
    #[arg(long, value_name = "LENGTH", default_value_t = ClusterSpec::default().subnet_length, value_parser = clap::value_parser!(u8).range(8..=29))]
    default_addr_pool_mask_length: u8,
    /// UDP port between nodes for the traffic of networks
    #[arg(long, value_name = "PORT", default_value_t = ClusterSpec::default().data_path_port, value_parser = clap::value_parser!(u16).range(1024..))]
    data_path_port: u16,
    /// Addresses of the nodes inside that traffic
    #[arg(long, value_name = "SUBNET")]
    mesh_subnet: Option<Ipv4Net>,
}

/// Settings that can also be changed later.
#[derive(Debug, Default, clap::Args)]
pub struct Settings {
    /// Life of a node's certificate, e.g. 2160h
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    pub cert_expiry: Option<Duration>,
    /// Time between signs of life of a node, e.g. 5s
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    pub dispatcher_heartbeat: Option<Duration>,
    /// Tasks remembered per slot; -1 for all
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub task_history_limit: Option<i32>,
    /// Tasks moved a minute, at most, in services that are rebalanced by themselves; 0 for none
    #[arg(long, value_name = "NUMBER")]
    pub rebalance_rate: Option<u32>,
    /// Have managers that restart wait until they are unlocked with a key
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    pub autolock: Option<bool>,
    /// Not supported
    #[arg(long, value_name = "SPEC", hide = true)]
    pub external_ca: Vec<String>,
}

impl Settings {
    /// Refuses what skep does not have.
    pub fn check(&self) -> Result<()> {
        match self.external_ca.is_empty() {
            true => Ok(()),
            false => Err(usage(EXTERNAL_CA)),
        }
    }

    /// Puts what is given into a spec.
    pub fn apply(&self, spec: &mut pb::ClusterSpec) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        if let Some(expiry) = self.cert_expiry {
            spec.cert_expiry_ms = millis(expiry);
        }
        if let Some(period) = self.dispatcher_heartbeat {
            spec.heartbeat_ms = millis(period);
        }
        if let Some(limit) = self.task_history_limit {
            spec.task_history = limit;
        }
        if let Some(rate) = self.rebalance_rate {
            spec.rebalance_per_minute = rate;
        }
    }
}

impl Args {
    fn spec(&self) -> pb::ClusterSpec {
        let mut spec = ClusterSpec {
            subnet_length: self.default_addr_pool_mask_length,
            data_path_port: self.data_path_port,
            ..ClusterSpec::default()
        };
        if !self.default_addr_pool.is_empty() {
            spec.address_pools.clone_from(&self.default_addr_pool);
        }
        if let Some(mesh) = self.mesh_subnet {
            spec.mesh_subnet = mesh;
        }
        let mut spec = pb::ClusterSpec::from(&spec);
        self.settings.apply(&mut spec);
        spec
    }
}

/// Makes the swarm and says how others join.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    args.settings.check()?;
    if args.force_new_cluster && !args.place.label.is_empty() {
        return Err(usage(
            "--force-new-cluster keeps the labels that this node has; change them with \
             \"skep node update --label-add\"",
        ));
    }
    let client = host.connect().await?;
    let request = pb::InitRequest {
        listen: args.place.listen_addr.clone(),
        advertise: args.place.advertise_addr.clone(),
        availability: pb::Availability::from(args.place.availability).into(),
        spec: Some(args.spec()),
        force_new_cluster: args.force_new_cluster,
        autolock: args.settings.autolock.unwrap_or_default(),
        labels: flags::labels(&args.place.label),
    };
    let answer = client
        .node()?
        .init(request)
        .await
        .map_err(CliError::from)?
        .into_inner();
    say_initialized(&answer)
}

/// Says that this node is the first manager, and how others join.
pub fn say_initialized(answer: &pb::InitResponse) -> Result<()> {
    let node: NodeId = id(&answer.node_id, "init.node_id")?;
    say!("Swarm initialized: current node ({node}) is now a manager.\n")?;
    say!("To add a worker to this swarm, run the following command:\n")?;
    say!(
        "{}\n",
        join_command(&answer.worker_token, &answer.advertise)
    )?;
    say!(
        "To add a manager to this swarm, run 'skep swarm join-token manager' and follow the instructions.\n"
    )?;
    match answer.unlock_key.as_str() {
        "" => Ok(()),
        key => say_unlock(key),
    }
}
