//! The state machine: one entry in, results and events out.
//!
//! Deterministic: everything it knows is the state, the entry, its index and
//! its time. One file per kind of object beside this one.

mod cluster;
mod data;
mod network;
mod node;
mod revision;
mod service;
mod stack;
mod task;

use crate::action::Action;
use crate::event::{Event, EventAction, ObjectId};
use crate::refused::Refused;
use crate::snapshot::Snapshot;
use skep_types::{Config, Meta, Secret, Timestamp, Version};

/// The tables and the right to change them.
#[derive(Debug, Default)]
pub struct Store {
    state: Snapshot,
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Applied {
    /// One result an action, in order.
    pub results: Vec<Result<(), Refused>>,
    /// What changed, in order.
    pub events: Vec<Event>,
}

impl Applied {
    /// The first refusal, where a caller sent one action and wants its result.
    ///
    /// # Errors
    /// The refusal.
    pub fn into_result(self) -> Result<(), Refused> {
        self.results.into_iter().collect()
    }
}

impl Store {
    /// An empty store.
    pub fn new() -> Store {
        Store::default()
    }

    /// One that goes on from a snapshot; what the snapshot is of does not change.
    pub fn over(state: Snapshot) -> Store {
        Store { state }
    }

    /// Everything as it is now.
    pub fn snapshot(&self) -> Snapshot {
        self.state.clone()
    }

    /// The state itself, to read without a clone.
    pub fn state(&self) -> &Snapshot {
        &self.state
    }

    /// Index of the last entry applied.
    pub fn version(&self) -> Version {
        self.state.version
    }

    /// Applies one entry. `index` is its place in the log, `now` the time its
    /// proposer put into it.
    ///
    /// A version is fresh when it is that of the object, or when the object
    /// was changed by this very entry: its actions were planned together.
    pub fn apply(&mut self, index: Version, now: Timestamp, actions: &[Action]) -> Applied {
        self.state.version = index;
        let mut write = Write {
            state: &mut self.state,
            index,
            now,
            events: Vec::new(),
        };
        let results = actions
            .iter()
            .map(|action| match action {
                Action::Cluster(action) => cluster::apply(&mut write, action),
                Action::Node(action) => node::apply(&mut write, action),
                Action::Service(action) => service::apply(&mut write, action),
                Action::Network(action) => network::apply(&mut write, action),
                Action::Secret(action) => data::apply::<Secret>(&mut write, action),
                Action::Config(action) => data::apply::<Config>(&mut write, action),
                Action::Task(action) => task::apply(&mut write, action),
                Action::Stack(action) => stack::apply(&mut write, action),
            })
            .collect();
        let events = write.events;
        Applied { results, events }
    }
}

/// One entry being applied.
struct Write<'a> {
    state: &'a mut Snapshot,
    index: Version,
    now: Timestamp,
    events: Vec<Event>,
}

impl Write<'_> {
    fn created(&self) -> Meta {
        Meta {
            version: self.index,
            created_at: self.now,
            updated_at: self.now,
        }
    }

    fn touched(&self, meta: Meta) -> Meta {
        Meta {
            version: self.index,
            created_at: meta.created_at,
            updated_at: self.now,
        }
    }

    fn is_fresh(&self, meta: Meta, planned_on: Version) -> bool {
        meta.version == planned_on || meta.version == self.index
    }

    fn require_fresh(
        &self,
        meta: Meta,
        planned_on: Version,
        object: ObjectId,
        name: &str,
    ) -> Result<(), Refused> {
        if self.is_fresh(meta, planned_on) {
            return Ok(());
        }
        Err(Refused::Stale {
            object,
            name: name.to_owned(),
        })
    }

    fn event(
        &mut self,
        object: ObjectId,
        action: EventAction,
        name: String,
        attributes: Vec<(&'static str, String)>,
    ) {
        self.events.push(Event {
            object,
            action,
            name,
            attributes,
        });
    }
}

/// Adds `key.old` and `key.new` where they differ.
fn changed<T: PartialEq>(
    attributes: &mut Vec<(&'static str, String)>,
    keys: (&'static str, &'static str),
    old: &T,
    new: &T,
    show: impl Fn(&T) -> String,
) {
    if old != new {
        attributes.push((keys.0, show(old)));
        attributes.push((keys.1, show(new)));
    }
}
