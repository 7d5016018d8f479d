//! `skep swarm init`.

use super::{Availability, join_command};
use crate::client::Host;
use crate::error::CliError;
use crate::flags;
use crate::output::say;
use anyhow::Result;
use ipnet::Ipv4Net;
use skep_proto::{id, pb};
use skep_types::NodeId;
use std::time::Duration;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep swarm init --advertise-addr 192.0.2.10")]
pub struct Args {
    /// Address other nodes reach this one at, or the interface that has it
    #[arg(
        long,
        value_name = "ADDRESS|INTERFACE[:PORT]",
        default_value = "",
        hide_default_value = true
    )]
    advertise_addr: String,
    /// Address to listen at
    #[arg(long, value_name = "ADDRESS[:PORT]", default_value = "0.0.0.0:2377")]
    listen_addr: String,
    /// Whether tasks may run on this node
    #[arg(long, value_enum, default_value = "active")]
    availability: Availability,
    /// Make a new swarm of what this manager knows, after most others were lost
    #[arg(long)]
    force_new_cluster: bool,
    #[command(flatten)]
    settings: Settings,
    /// Where subnets of networks are taken from; repeatable
    #[arg(long, value_name = "SUBNET")]
    default_addr_pool: Vec<Ipv4Net>,
    /// Prefix length of those subnets
    #[arg(long, value_name = "LENGTH", default_value_t = 24, value_parser = clap::value_parser!(u8).range(8..=29))]
    default_addr_pool_mask_length: u8,
    /// UDP port between nodes for the traffic of networks
    #[arg(long, value_name = "PORT", default_value_t = 51820, value_parser = clap::value_parser!(u16).range(1024..))]
    data_path_port: u16,
    /// Addresses of the nodes inside that traffic
    #[arg(long, value_name = "SUBNET")]
    mesh_subnet: Option<Ipv4Net>,
}

/// Settings that can also be changed later.
#[derive(Debug, clap::Args)]
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
}

impl Settings {
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
    }

    fn given(&self) -> bool {
        self.cert_expiry.is_some()
            || self.dispatcher_heartbeat.is_some()
            || self.task_history_limit.is_some()
    }
}

impl Args {
    /// The settings, where any differs from the daemon's own defaults.
    fn spec(&self) -> Option<pb::ClusterSpec> {
        let as_usual = !self.settings.given()
            && self.default_addr_pool.is_empty()
            && self.default_addr_pool_mask_length == 24
            && self.data_path_port == 51820
            && self.mesh_subnet.is_none();
        if as_usual {
            return None;
        }
        let mut spec = pb::ClusterSpec {
            heartbeat_ms: 1_000,
            task_history: 5,
            cert_expiry_ms: 90 * 86_400_000,
            address_pools: vec!["10.0.0.0/8".to_owned()],
            subnet_length: u32::from(self.default_addr_pool_mask_length),
            mesh_subnet: "10.255.0.0/16".to_owned(),
            data_path_port: u32::from(self.data_path_port),
        };
        if !self.default_addr_pool.is_empty() {
            spec.address_pools = self
                .default_addr_pool
                .iter()
                .map(ToString::to_string)
                .collect();
        }
        if let Some(mesh) = self.mesh_subnet {
            spec.mesh_subnet = mesh.to_string();
        }
        self.settings.apply(&mut spec);
        Some(spec)
    }
}

/// Makes the swarm and says how others join.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let request = pb::InitRequest {
        listen: args.listen_addr.clone(),
        advertise: args.advertise_addr.clone(),
        availability: pb::Availability::from(args.availability).into(),
        spec: args.spec(),
        force_new_cluster: args.force_new_cluster,
    };
    let answer = client
        .node()
        .init(request)
        .await
        .map_err(CliError::from)?
        .into_inner();
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
    Ok(())
}
