//! What differs between two snapshots, found without looking at what they
//! share. Leaves what follows from it to the reader.

use crate::snapshot::Snapshot;
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use skep_types::{Network, NetworkId, Node, NodeId, Service, ServiceId, Task, TaskId};
use std::sync::Arc;

/// An object before and after; `None` where it does not exist.
#[derive(Debug, Clone, PartialEq)]
pub struct Change<K, V> {
    /// Its id.
    pub id: K,
    /// In the older snapshot.
    pub before: Option<Arc<V>>,
    /// In the newer one.
    pub after: Option<Arc<V>>,
}

/// What differs between two snapshots. Costs as much as there are changes
/// when the newer one came of the older, and a look at everything otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The cluster object.
    pub cluster: bool,
    /// A secret or a config.
    pub data: bool,
    /// Nodes, by id.
    pub nodes: Vec<Change<NodeId, Node>>,
    /// Services, by id.
    pub services: Vec<Change<ServiceId, Service>>,
    /// Tasks, by service and slot.
    pub tasks: Vec<Change<TaskId, Task>>,
    /// Networks, by id; those that were removed while tasks still stop count
    /// as being there.
    pub networks: Vec<Change<NetworkId, Network>>,
}

impl Difference {
    /// The changes that lead from one snapshot to another.
    pub fn between(old: &Snapshot, new: &Snapshot) -> Difference {
        let mut networks = changes(&old.networks, &new.networks);
        networks.extend(changes(&old.leaving, &new.leaving));
        for change in &mut networks {
            let in_either = |snapshot: &Snapshot| {
                let kept = || snapshot.leaving.get(&change.id);
                snapshot.networks.get(&change.id).or_else(kept).cloned()
            };
            (change.before, change.after) = (in_either(old), in_either(new));
        }
        networks.sort_by_key(|change| change.id);
        networks.dedup_by_key(|change| change.id);
        networks.retain(|change| change.before != change.after);
        Difference {
            cluster: old.cluster != new.cluster,
            data: old.secrets.diff(&new.secrets).next().is_some()
                || old.configs.diff(&new.configs).next().is_some(),
            nodes: changes(&old.nodes, &new.nodes),
            services: changes(&old.services, &new.services),
            tasks: changes(&old.tasks, &new.tasks)
                .into_iter()
                .map(|change| Change {
                    id: change.id.2,
                    before: change.before,
                    after: change.after,
                })
                .collect(),
            networks,
        }
    }
}

fn changes<K: Ord + Copy, V: PartialEq>(
    old: &OrdMap<K, Arc<V>>,
    new: &OrdMap<K, Arc<V>>,
) -> Vec<Change<K, V>> {
    let change = |item: DiffItem<'_, '_, K, Arc<V>>| match item {
        DiffItem::Add(id, after) => Change {
            id: *id,
            before: None,
            after: Some(after.clone()),
        },
        DiffItem::Update { old, new } => Change {
            id: *new.0,
            before: Some(old.1.clone()),
            after: Some(new.1.clone()),
        },
        DiffItem::Remove(id, before) => Change {
            id: *id,
            before: Some(before.clone()),
            after: None,
        },
    };
    old.diff(new).map(change).collect()
}
