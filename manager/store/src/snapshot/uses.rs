//! How often templates and earlier revisions refer to each generation of a secret or config,
//! counted as they come and go, so that nobody has to read all of them for it.

use super::{Snapshot, Template};
use imbl::OrdMap;
use skep_types::{
    ConfigId, ContainerSpec, FileReference, PastRevision, SecretId, ServiceId, TaskSpec, Version,
};
use std::sync::Arc;

/// References by what they refer to; none is not in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Uses {
    pub(crate) secrets: OrdMap<SecretId, u64>,
    pub(crate) configs: OrdMap<ConfigId, u64>,
}

impl Uses {
    fn add(&mut self, container: &ContainerSpec) {
        add(&mut self.secrets, &container.secrets);
        add(&mut self.configs, &container.configs);
    }

    fn remove(&mut self, container: &ContainerSpec) {
        remove(&mut self.secrets, &container.secrets);
        remove(&mut self.configs, &container.configs);
    }
}

fn add<T: Copy + Ord>(uses: &mut OrdMap<T, u64>, references: &[FileReference<T>]) {
    for reference in references {
        *uses.entry(reference.id).or_default() += 1;
    }
}

fn remove<T: Copy + Ord>(uses: &mut OrdMap<T, u64>, references: &[FileReference<T>]) {
    for reference in references {
        match uses.get(&reference.id) {
            Some(count) if *count > 1 => uses.insert(reference.id, count - 1),
            _ => uses.remove(&reference.id),
        };
    }
}

impl Snapshot {
    /// The template of that key, which is put there if there is none.
    pub(super) fn template_for(
        &mut self,
        key: (ServiceId, Version),
        spec: &Arc<TaskSpec>,
    ) -> &mut Template {
        if !self.templates.contains_key(&key) {
            self.uses.add(&spec.container);
        }
        self.templates.entry(key).or_insert_with(|| Template {
            spec: Arc::clone(spec),
            tasks: 0,
        })
    }

    pub(super) fn drop_template(&mut self, key: (ServiceId, Version)) {
        if let Some(template) = self.templates.remove(&key) {
            self.uses.remove(&template.spec.container);
        }
    }

    /// Takes in that a service has these earlier revisions instead of those.
    pub(super) fn count_past(&mut self, before: &[PastRevision], after: &[PastRevision]) {
        let refers = |past: &PastRevision| {
            let container = &past.spec.task.container;
            !container.secrets.is_empty() || !container.configs.is_empty()
        };
        if !before.iter().chain(after).any(refers) {
            return;
        }
        for past in after {
            self.uses.add(&past.spec.task.container);
        }
        for past in before {
            self.uses.remove(&past.spec.task.container);
        }
    }
}
