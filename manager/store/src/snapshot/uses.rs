//! How often templates, earlier revisions and stacks refer to each generation of a secret or config,
//! counted as they come and go, so that nobody has to read all of them for it.

use super::{Snapshot, Template};
use imbl::OrdMap;
use skep_types::{
    ConfigId, ContainerSpec, FileReference, PastRevision, SecretId, ServiceId, Stack, StackData,
    TaskSpec, Version,
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
        add(&mut self.secrets, ids(&container.secrets));
        add(&mut self.configs, ids(&container.configs));
    }

    fn remove(&mut self, container: &ContainerSpec) {
        remove(&mut self.secrets, ids(&container.secrets));
        remove(&mut self.configs, ids(&container.configs));
    }

    /// Takes in what a stack names in all its revisions.
    pub(super) fn add_stack(&mut self, stack: &Stack) {
        for spec in stack.specs() {
            add(&mut self.secrets, kept(&spec.secrets));
            add(&mut self.configs, kept(&spec.configs));
        }
    }

    pub(super) fn remove_stack(&mut self, stack: &Stack) {
        for spec in stack.specs() {
            remove(&mut self.secrets, kept(&spec.secrets));
            remove(&mut self.configs, kept(&spec.configs));
        }
    }
}

fn ids<T: Copy>(references: &[FileReference<T>]) -> impl Iterator<Item = T> {
    references.iter().map(|reference| reference.id)
}

fn kept<T: Copy>(data: &[StackData<T>]) -> impl Iterator<Item = T> {
    data.iter().filter_map(StackData::kept)
}

fn add<T: Copy + Ord>(uses: &mut OrdMap<T, u64>, ids: impl Iterator<Item = T>) {
    for id in ids {
        *uses.entry(id).or_default() += 1;
    }
}

fn remove<T: Copy + Ord>(uses: &mut OrdMap<T, u64>, ids: impl Iterator<Item = T>) {
    for id in ids {
        match uses.get(&id) {
            Some(count) if *count > 1 => uses.insert(id, count - 1),
            _ => uses.remove(&id),
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
