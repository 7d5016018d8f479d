//! `skep network create`.

use crate::client::Host;
use crate::flags;
use crate::output::say;
use anyhow::Result;
use ipnet::Ipv4Net;
use skep_proto::pb::change::Change;
use skep_types::{NetworkId, NetworkSpec};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep network create --driver overlay front")]
pub struct Args {
    /// Driver
    #[arg(short, long, default_value = "overlay")]
    driver: String,
    /// Subnet, instead of one from the swarm's pool; repeatable
    #[arg(long, value_name = "SUBNET")]
    subnet: Vec<Ipv4Net>,
    /// No way out of the swarm
    #[arg(long)]
    internal: bool,
    /// Let plain containers join
    #[arg(long)]
    attachable: bool,
    /// Make it the network through which published ports reach tasks
    #[arg(long)]
    ingress: bool,
    /// IPv6 beside IPv4; not supported yet, and refused
    #[arg(long, hide = true)]
    ipv6: bool,
    /// Label; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = flags::key_value)]
    label: Vec<(String, String)>,
    /// Option of the driver; repeatable
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = flags::key_value)]
    opt: Vec<(String, String)>,
    /// `swarm`, the only one there is
    #[arg(long, hide = true, value_parser = ["swarm"])]
    scope: Option<String>,
    /// Name of the network
    name: String,
}

/// Makes it and prints its id.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let spec = NetworkSpec {
        name: args.name,
        labels: flags::labels(&args.label),
        driver: args.driver,
        options: flags::labels(&args.opt),
        subnets: args.subnet,
        internal: args.internal,
        attachable: args.attachable,
        ingress: args.ingress,
        ipv6: args.ipv6,
    };
    let client = host.connect().await?;
    let made = client.change(Change::CreateNetwork((&spec).into())).await?;
    let id: NetworkId = skep_proto::id(&made, "change.ids")?;
    say!("{id}")?;
    Ok(())
}
