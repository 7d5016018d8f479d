//! Which generations of secrets and configs hold the same. Revisions of a stack name
//! generations, and going back makes another one of what is not the newest: whether two
//! revisions are alike cannot be told from the numbers.

use super::{Snapshot, fold};
use crate::data::Data;
use skep_types::{Config, ConfigId, Content, Secret, SecretId, Stack, StackData};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Of each generation the newest one of its name that holds the same.
#[derive(Debug)]
pub struct Contents {
    secrets: BTreeMap<SecretId, SecretId>,
    configs: BTreeMap<ConfigId, ConfigId>,
}

impl Snapshot {
    /// What generations hold.
    pub fn contents(&self) -> Contents {
        Contents {
            secrets: newest::<Secret>(self),
            configs: newest::<Config>(self),
        }
    }
}

impl Contents {
    /// A stack whose revisions name the newest generations that hold what is theirs: what is
    /// alike in two of them is the same then.
    pub fn of(&self, stack: &Stack) -> Stack {
        let mut stack = stack.clone();
        let past = stack.past.iter_mut().map(|past| &mut past.spec);
        for spec in past.chain([&mut stack.spec]) {
            let spec = Arc::make_mut(spec);
            replace(&mut spec.secrets, &self.secrets);
            replace(&mut spec.configs, &self.configs);
        }
        stack
    }
}

fn replace<Id: Copy + Ord>(all: &mut [StackData<Id>], newest: &BTreeMap<Id, Id>) {
    for data in all {
        if let Content::Kept(id) = &mut data.content {
            *id = newest.get(id).copied().unwrap_or(*id);
        }
    }
}

fn newest<D: Data>(state: &Snapshot) -> BTreeMap<D::Id, D::Id> {
    let mut named: BTreeMap<String, Vec<&Arc<D>>> = BTreeMap::new();
    for object in D::all(state) {
        let name = fold(D::name(object.spec()));
        named.entry(name).or_default().push(object);
    }
    let mut newest = BTreeMap::new();
    for mut of_name in named.into_values() {
        // A name that was removed and made again counts anew.
        of_name.sort_by_key(|object| (object.superseded_at().is_none(), object.generation()));
        for object in &of_name {
            let mut newer = of_name.iter().rev();
            let same = newer.find(|newer| D::same_content(newer.spec(), object.spec()));
            newest.extend(same.map(|same| (object.id(), same.id())));
        }
    }
    newest
}
