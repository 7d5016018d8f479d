//! Everything as plain data, for snapshots on disk and for followers that
//! are too far behind. Encoding is left to the wire crate.

use crate::apply::Store;
use crate::snapshot::Snapshot;
use skep_types::{
    Cluster, Config, Network, Node, Secret, Service, ServiceId, Stack, Task, TaskSpec, Timestamp,
    Version,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// All objects. Task templates stand once, in `templates`; a decoder may
/// leave any template in `services` (`spec.task`) and `tasks` (`spec`),
/// [`Store::load`] puts the shared one there.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dump {
    /// Index of the last entry applied.
    pub version: Version,
    /// The cluster object.
    pub cluster: Option<Arc<Cluster>>,
    /// Nodes, by id.
    pub nodes: Vec<Arc<Node>>,
    /// Task templates by service and version.
    pub templates: Vec<(ServiceId, Version, Arc<TaskSpec>)>,
    /// Services, by id.
    pub services: Vec<Arc<Service>>,
    /// Tasks, by id.
    pub tasks: Vec<Arc<Task>>,
    /// Networks, by id.
    pub networks: Vec<Arc<Network>>,
    /// Secrets, by id.
    pub secrets: Vec<Arc<Secret>>,
    /// Configs, by id.
    pub configs: Vec<Arc<Config>>,
    /// Stacks, by id.
    pub stacks: Vec<Arc<Stack>>,
}

impl Snapshot {
    /// All of it as plain data; objects are shared, not copied.
    pub fn dump(&self) -> Dump {
        Dump {
            version: self.version,
            cluster: self.cluster.clone(),
            nodes: self.nodes.values().cloned().collect(),
            templates: self
                .templates
                .iter()
                .map(|((service, version), template)| {
                    (*service, *version, Arc::clone(&template.spec))
                })
                .collect(),
            services: self.services.values().cloned().collect(),
            tasks: self.tasks.values().cloned().collect(),
            networks: self.networks.values().cloned().collect(),
            secrets: self.secrets.values().cloned().collect(),
            configs: self.configs.values().cloned().collect(),
            stacks: self.stacks.values().cloned().collect(),
        }
    }
}

impl Dump {
    /// When the last of what is in it changed.
    pub fn changed_at(&self) -> Timestamp {
        let metas = (self.cluster.iter().map(|cluster| cluster.meta))
            .chain(self.nodes.iter().map(|node| node.meta))
            .chain(self.services.iter().map(|service| service.meta))
            .chain(self.tasks.iter().map(|task| task.meta))
            .chain(self.networks.iter().map(|network| network.meta))
            .chain(self.secrets.iter().map(|secret| secret.meta))
            .chain(self.configs.iter().map(|config| config.meta))
            .chain(self.stacks.iter().map(|stack| stack.meta));
        metas.map(|meta| meta.updated_at).max().unwrap_or_default()
    }
}

impl Store {
    /// The store that was dumped.
    pub fn load(dump: Dump) -> Store {
        let Dump {
            version,
            cluster,
            nodes,
            templates,
            services,
            tasks,
            networks,
            secrets,
            configs,
            stacks,
        } = dump;
        let templates: BTreeMap<(ServiceId, Version), Arc<TaskSpec>> = templates
            .into_iter()
            .map(|(service, version, spec)| ((service, version), spec))
            .collect();
        let mut state = Snapshot::default();
        state.version = version;
        if let Some(cluster) = cluster {
            state.put_cluster(Arc::unwrap_or_clone(cluster));
        }
        for node in nodes {
            state.put_node(Arc::unwrap_or_clone(node));
        }
        for network in networks {
            state.put_network(Arc::unwrap_or_clone(network));
        }
        for secret in secrets {
            state.put_secret(Arc::unwrap_or_clone(secret));
        }
        for config in configs {
            state.put_config(Arc::unwrap_or_clone(config));
        }
        for service in services {
            let mut service = Arc::unwrap_or_clone(service);
            if let Some(spec) = templates.get(&(service.id, service.spec_version)) {
                service.spec.task = Arc::clone(spec);
            }
            state.put_service(service);
        }
        for task in tasks {
            let mut task = Arc::unwrap_or_clone(task);
            if let Some(spec) = templates.get(&(task.service, task.spec_version)) {
                task.spec = Arc::clone(spec);
            }
            state.put_task(task);
        }
        for stack in stacks {
            state.put_stack(Arc::unwrap_or_clone(stack));
        }
        Store::over(state)
    }
}
