//! What the program does when asked: reads and changes at its own manager, which
//! forwards them to the leader if that is another one.

use anyhow::{Context, Result};
use skep_manager::{Manager, format};
use skep_manager_ca::{CaBundle, JoinToken};
use skep_proto::pb;
use skep_proto::pb::change::Change;
use skep_proto::pb::control_server::Control as _;
use skep_types::Cluster;

/// What this manager knows.
pub(crate) fn status(manager: &Manager) -> String {
    let snapshot = manager.snapshot();
    let cluster = snapshot.cluster();
    let mut networks: Vec<_> = snapshot.networks().map(|n| n.spec.name.clone()).collect();
    networks.sort();
    let seats = snapshot.nodes().filter_map(|node| node.manager.as_ref());
    let mut reads: Vec<_> = seats.map(|seat| seat.format.to_string()).collect();
    reads.sort();
    let parts = [
        ("version", format::VERSION.to_owned()),
        ("leads", manager.is_leader().to_string()),
        (
            "format",
            cluster.map_or_else(String::new, |c| c.format.to_string()),
        ),
        ("managers-read", reads.join(",")),
        ("note", cluster.map_or_else(String::new, |c| note_of(c))),
        ("networks", networks.join(",")),
        ("failure", manager.failure().unwrap_or_default()),
    ];
    parts
        .map(|(name, value)| format!("{name}={value}"))
        .join("\t")
}

/// The token for managers.
pub(crate) fn token(manager: &Manager) -> Result<String> {
    let snapshot = manager.snapshot();
    let cluster = snapshot.cluster().context("there is no swarm yet")?;
    let ca = CaBundle::from_pem(&cluster.root_ca.certificate)?;
    let token = JoinToken::new(ca.digest(), &cluster.join_secrets.manager);
    Ok(token
        .map_err(|error| anyhow::anyhow!("{error}"))?
        .to_string())
}

/// Makes a network.
pub(crate) async fn network(manager: &Manager, name: &str) -> String {
    let spec = pb::NetworkSpec {
        name: name.to_owned(),
        driver: "overlay".to_owned(),
        ..pb::NetworkSpec::default()
    };
    change(manager, Change::CreateNetwork(spec)).await
}

async fn change(manager: &Manager, change: Change) -> String {
    let request = pb::ChangeRequest {
        changes: vec![pb::Change {
            change: Some(change),
        }],
    };
    match manager.control().change(tonic::Request::new(request)).await {
        Ok(_) => "ok".to_owned(),
        Err(refused) => refused.message().to_owned(),
    }
}

#[cfg(feature = "next-format")]
fn note_of(cluster: &Cluster) -> String {
    cluster.spec.note.clone()
}

#[cfg(not(feature = "next-format"))]
fn note_of(_: &Cluster) -> String {
    "(not known)".to_owned()
}

/// Sets the field that the next format adds.
#[cfg(feature = "next-format")]
pub(crate) async fn note(manager: &Manager, text: &str) -> String {
    let snapshot = manager.snapshot();
    let Some(cluster) = snapshot.cluster() else {
        return "there is no swarm yet".to_owned();
    };
    let mut spec = cluster.spec.clone();
    spec.note = text.to_owned();
    let update = pb::UpdateCluster {
        version: 0,
        spec: Some((&spec).into()),
    };
    change(manager, Change::UpdateCluster(update)).await
}

#[cfg(not(feature = "next-format"))]
pub(crate) async fn note(_: &Manager, _: &str) -> String {
    "not known to this version".to_owned()
}
