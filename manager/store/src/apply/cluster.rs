//! Changes of the cluster object.

use super::Write;
use crate::action::ClusterAction;
use crate::event::{EventAction, ObjectId};
use crate::refused::Refused;
use skep_types::{Cluster, Format, Timestamp, Version};

/// Name of the one cluster object.
const NAME: &str = "default";

pub(super) fn apply(write: &mut Write<'_>, action: &ClusterAction) -> Result<(), Refused> {
    match action {
        ClusterAction::Create(cluster) => {
            let object = ObjectId::Cluster(cluster.id);
            if let Some(present) = &write.state.cluster {
                return Err(Refused::IdTaken(ObjectId::Cluster(present.id)));
            }
            let mut cluster = Cluster::clone(cluster);
            cluster.meta = write.created();
            write.state.put_cluster(cluster);
            write.event(object, EventAction::Create, NAME.into(), Vec::new());
            Ok(())
        }
        ClusterAction::Update { version, spec } => {
            let now = write.now;
            change(write, *version, |cluster| {
                // What was issued keeps the life it was issued with.
                cluster.certificates_until = cluster.certificates_end(now);
                cluster.spec = spec.clone();
            })
        }
        ClusterAction::SetJoinSecrets { version, secrets } => change(write, *version, |cluster| {
            cluster.join_secrets = secrets.clone();
        }),
        ClusterAction::SetRootCa { version, root_ca } => change(write, *version, |cluster| {
            cluster.root_ca = root_ca.clone();
        }),
        ClusterAction::SetUnlockKey { version, key } => change(write, *version, |cluster| {
            cluster.unlock_key = key.clone();
        }),
        ClusterAction::SetClients { version, clients } => change(write, *version, |cluster| {
            cluster.clients = clients.clone();
        }),
        ClusterAction::Prune => {
            let present = write.state.cluster.clone().ok_or(Refused::NoCluster)?;
            let now = write.now;
            put(write, &present, |cluster| prune(cluster, now));
            Ok(())
        }
        ClusterAction::RaiseFormat { format } => raise(write, *format),
    }
}

fn raise(write: &mut Write<'_>, format: Format) -> Result<(), Refused> {
    let present = write.state.cluster.clone().ok_or(Refused::NoCluster)?;
    if format <= present.format {
        return Ok(());
    }
    for node in write.state.nodes() {
        if let Some(manager) = &node.manager {
            super::node::reads(node.id, manager, format)?;
        }
    }
    put(write, &present, |cluster| cluster.format = format);
    Ok(())
}

fn change(
    write: &mut Write<'_>,
    version: Version,
    edit: impl FnOnce(&mut Cluster),
) -> Result<(), Refused> {
    let present = write.state.cluster.clone().ok_or(Refused::NoCluster)?;
    let object = ObjectId::Cluster(present.id);
    write.require_fresh(present.meta, version, object, NAME)?;
    put(write, &present, edit);
    Ok(())
}

/// What refuses or excuses certificates has no use once they have ended by
/// themselves.
pub(super) fn prune(cluster: &mut Cluster, now: Timestamp) {
    cluster.blocked.retain(|_, until| *until > now);
    cluster.root_ca.former.retain(|root| root.until > now);
}

/// Edits the cluster object without a version check.
pub(super) fn put(write: &mut Write<'_>, present: &Cluster, edit: impl FnOnce(&mut Cluster)) {
    let mut cluster = present.clone();
    edit(&mut cluster);
    cluster.meta = write.touched(cluster.meta);
    let object = ObjectId::Cluster(cluster.id);
    write.state.put_cluster(cluster);
    write.event(object, EventAction::Update, NAME.into(), Vec::new());
}
