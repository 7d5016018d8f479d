//! `skep info`, `skep system info`.

use crate::client::{Client, Host};
use crate::human::{binary_size, timestamp};
use crate::output::say;
use crate::table::print_objects;
use anyhow::Result;
use serde_json::{Value, json};
use skep_proto::{id, pb};
use skep_types::{ClusterId, NodeId, heartbeat_among};
use std::time::Duration;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep info --format '{{.Swarm.LocalNodeState}}'")]
pub struct Args {
    /// A template, or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

/// What managers know beyond the node itself.
struct Swarm {
    nodes: usize,
    managers: usize,
    spec: pb::ClusterSpec,
    autolock: bool,
    created_ms: u64,
}

/// Prints what the daemon says of its node and, on a manager, of the swarm.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let info = client.info().await?;
    let is_manager = info.state == "active" && info.role() == pb::Role::Manager;
    // Without a leader there is still something to say of the node.
    let swarm = match is_manager {
        true => swarm(&client).await.map(Some),
        false => Ok(None),
    };
    let (swarm, problem) = match swarm {
        Ok(swarm) => (swarm, info.error.clone()),
        Err(error) => (None, format!("{error:#}")),
    };
    match args.format {
        Some(format) if format == "json" => say!("{}", object(&info, swarm.as_ref(), &problem))?,
        Some(format) => {
            print_objects(vec![object(&info, swarm.as_ref(), &problem)], Some(&format))?
        }
        None => say!("{}", text(&info, swarm.as_ref(), &problem))?,
    }
    Ok(())
}

async fn swarm(client: &Client) -> Result<Swarm> {
    let view = client
        .read(pb::ReadRequest {
            cluster: true,
            nodes: true,
            ..Default::default()
        })
        .await?;
    let cluster = view.cluster.unwrap_or_default();
    Ok(Swarm {
        nodes: view.nodes.len(),
        managers: view
            .nodes
            .values()
            .filter(|v| v.node.manager.is_some())
            .count(),
        created_ms: cluster.meta.unwrap_or_default().created_at_ms,
        autolock: !cluster.unlock_key.is_empty(),
        spec: cluster.spec.unwrap_or_default(),
    })
}

fn node_id(info: &pb::InfoResponse) -> String {
    id::<NodeId>(&info.node_id, "node_id").map_or_else(|_| String::new(), |id| id.to_string())
}

fn cluster_id(info: &pb::InfoResponse) -> String {
    id::<ClusterId>(&info.cluster_id, "cluster_id")
        .map_or_else(|_| String::new(), |id| id.to_string())
}

fn object(info: &pb::InfoResponse, swarm: Option<&Swarm>, problem: &str) -> Value {
    let mut out = json!({
        "Name": info.hostname,
        "ServerVersion": info.version,
        "OSType": info.os,
        "Architecture": info.architecture,
        "KernelVersion": info.kernel,
        "NCPU": info.cpus_nano / 1_000_000_000,
        "MemTotal": info.memory_bytes,
        "DockerRootDir": info.data_dir,
        "Containers": info.containers,
        "ContainersRunning": info.containers,
        "Images": info.images,
        "CgroupVersion": info.cgroup_version,
        "WireGuard": info.wireguard,
        "Swarm": {
            "NodeID": node_id(info),
            "NodeAddr": info.address,
            "LocalNodeState": info.state,
            "ControlAvailable": info.state == "active" && info.role() == pb::Role::Manager,
            "Error": problem,
            "RemoteManagers": info.managers.iter().map(|a| json!({"Addr": a})).collect::<Vec<_>>(),
        },
    });
    if let Some(swarm) = swarm {
        out["Swarm"]["Nodes"] = swarm.nodes.into();
        out["Swarm"]["Managers"] = swarm.managers.into();
        out["Swarm"]["Cluster"] = json!({
            "ID": cluster_id(info),
            "CreatedAt": timestamp(swarm.created_ms),
            "DefaultAddrPool": swarm.spec.address_pools,
            "SubnetSize": swarm.spec.subnet_length,
            "DataPathPort": swarm.spec.data_path_port,
            "Spec": crate::json::cluster_spec(&swarm.spec, swarm.autolock),
        });
    }
    out
}

/// A length of time in the largest unit that says all of it: `90 days`, `36 hours`.
fn exactly(length: Duration) -> String {
    let seconds = length.as_secs();
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute")];
    match units.iter().find(|(unit, _)| seconds.is_multiple_of(*unit)) {
        Some((unit, name)) if seconds == *unit => format!("1 {name}"),
        Some((unit, name)) => format!("{} {name}s", seconds / unit),
        None => format!("{length:?}"),
    }
}

fn text(info: &pb::InfoResponse, swarm: Option<&Swarm>, problem: &str) -> String {
    let mut lines = vec![
        format!("Server Version: {}", info.version),
        format!("Containers: {}", info.containers),
        format!("Images: {}", info.images),
        format!("Swarm: {}", info.state),
    ];
    let mut add = |line: String| lines.push(line);
    if info.state != "inactive" {
        add(format!(" NodeID: {}", node_id(info)));
        if !problem.is_empty() {
            add(format!(" Error: {problem}"));
        }
        add(format!(" Is Manager: {}", info.role() == pb::Role::Manager));
    }
    if let Some(swarm) = swarm {
        let life = Duration::from_millis(swarm.spec.cert_expiry_ms);
        let set = Duration::from_millis(swarm.spec.heartbeat_ms);
        let asked = heartbeat_among(set, swarm.nodes);
        add(format!(" ClusterID: {}", cluster_id(info)));
        add(format!(" Leader: {}", info.leader));
        add(format!(" Managers: {}", swarm.managers));
        add(format!(" Nodes: {}", swarm.nodes));
        add(format!(
            " Default Address Pool: {}",
            swarm.spec.address_pools.join(" ")
        ));
        add(format!(" SubnetSize: {}", swarm.spec.subnet_length));
        add(format!(" Mesh Subnet: {}", swarm.spec.mesh_subnet));
        add(format!(" Data Path Port: {}", swarm.spec.data_path_port));
        add(format!(
            " Task History Retention Limit: {}",
            swarm.spec.task_history
        ));
        add(format!(
            " Rebalance Rate: {} tasks a minute",
            swarm.spec.rebalance_per_minute
        ));
        add(match asked == set {
            true => format!(" Heartbeat Period: {set:?}"),
            false => format!(" Heartbeat Period: {set:?}, {asked:?} among so many nodes"),
        });
        add(format!(" Certificate Expiry: {}", exactly(life)));
        add(format!(" Autolock Managers: {}", swarm.autolock));
    }
    if info.state != "inactive" {
        add(format!(" Node Address: {}", info.address));
        add(" Manager Addresses:".to_owned());
        for address in &info.managers {
            add(format!("  {address}"));
        }
    }
    add(format!("WireGuard: {}", info.wireguard));
    add(format!("Cgroup Version: {}", info.cgroup_version));
    add(format!("Kernel Version: {}", info.kernel));
    add(format!("OSType: {}", info.os));
    add(format!("Architecture: {}", info.architecture));
    add(format!("CPUs: {}", info.cpus_nano as f64 / 1e9));
    add(format!("Total Memory: {}", binary_size(info.memory_bytes)));
    add(format!("Name: {}", info.hostname));
    add(format!("Data Dir: {}", info.data_dir));
    if swarm.is_some_and(|swarm| swarm.managers == 2) {
        add("\nWARNING: Running Swarm in a two-manager configuration. This configuration provides\n         no fault tolerance, and poses a high risk to lose control over the cluster.\n         Add a third manager or demote one of the two.".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_shown_as_it_is() {
        for (seconds, shown) in [
            (7_776_000, "90 days"),
            (129_600, "36 hours"),
            (3_600, "1 hour"),
            (5_400, "90 minutes"),
            (3_601, "3601s"),
        ] {
            assert_eq!(exactly(Duration::from_secs(seconds)), shown);
        }
    }
}
