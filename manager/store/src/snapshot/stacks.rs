//! Stacks, read and written. What of a stack is the same in several revisions is held
//! once in memory.

use super::{Snapshot, fold};
use skep_types::{Stack, StackId, StackSpec};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Snapshot {
    /// A stack.
    pub fn stack(&self, id: StackId) -> Option<&Arc<Stack>> {
        self.stacks.get(&id)
    }

    /// A stack by its name, in any case.
    pub fn stack_named(&self, name: &str) -> Option<&Arc<Stack>> {
        let id = self.stack_names.get(&fold(name))?;
        self.stacks.get(id)
    }

    /// All stacks, by id.
    pub fn stacks(&self) -> impl Iterator<Item = &Arc<Stack>> + '_ {
        self.stacks.values()
    }

    /// Its name never changes.
    pub(crate) fn put_stack(&mut self, mut stack: Stack) {
        share(&mut stack);
        let old = self.stacks.get(&stack.id).cloned();
        self.uses.add_stack(&stack);
        if let Some(old) = old {
            self.uses.remove_stack(&old);
        }
        self.stack_names.insert(fold(&stack.spec.name), stack.id);
        self.stacks.insert(stack.id, Arc::new(stack));
    }

    pub(crate) fn drop_stack(&mut self, id: StackId) -> Option<Arc<Stack>> {
        let old = self.stacks.remove(&id)?;
        self.stack_names.remove(&fold(&old.spec.name));
        self.uses.remove_stack(&old);
        Some(old)
    }
}

/// Has each revision hold the services that are as in the one before together with it.
fn share(stack: &mut Stack) {
    let past = stack.past.iter_mut().map(|past| &mut past.spec);
    let mut before: Option<Arc<StackSpec>> = None;
    for spec in past.chain([&mut stack.spec]) {
        if let Some(before) = &before {
            share_services(spec, before);
        }
        before = Some(Arc::clone(spec));
    }
}

fn share_services(spec: &mut Arc<StackSpec>, before: &StackSpec) {
    let earlier = before.services.iter();
    let earlier: BTreeMap<&str, _> = earlier.map(|s| (s.spec.name.as_str(), s)).collect();
    for number in 0..spec.services.len() {
        let service = &spec.services[number];
        let Some(same) = earlier.get(service.spec.name.as_str()) else {
            continue;
        };
        if !Arc::ptr_eq(service, same) && *service == **same {
            Arc::make_mut(spec).services[number] = Arc::clone(same);
        }
    }
}
