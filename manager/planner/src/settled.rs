//! Services of which a pass found nothing to do, and which need not be looked at before
//! something changes or their time comes.
//!
//! This is a shortcut and nothing else: with it and without it a pass decides the same.
//! What a service is decided by is the service and its tasks, and what surrounds all of
//! them; what another one decides for it too (places on nodes, a drain that it waits
//! for) never lets it settle. Of a large service only a part may have to be looked at:
//! that is `quiet`'s.

mod quiet;

use crate::draft::{Draft, NodeWork, Quiet, ServiceWork, Work};
use skep_manager_store::Snapshot;
use skep_types::{ServiceId, Timestamp, Version};
use std::collections::BTreeMap;

/// What earlier passes found to be settled. Belongs to one leadership: versions are
/// compared with those of the same store.
#[derive(Debug, Clone, Default)]
pub struct Settled {
    leader_since: Timestamp,
    surroundings: Version,
    /// The states of nodes by which this pass decides are those of the store.
    agreed: bool,
    /// By id.
    services: Vec<Rest>,
    /// Of large ones, what is left out even when they are looked at.
    quiet: BTreeMap<ServiceId, Quiet>,
}

/// A service that is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rest {
    service: ServiceId,
    /// When it or one of its tasks had changed last.
    changed: Version,
    /// When its time comes.
    wake_at: Option<Timestamp>,
    /// When what nodes have given away had changed last, where that counts.
    room: Option<Version>,
}

/// What a pass found of a service that it looked at.
#[derive(Debug)]
pub(crate) struct Looked {
    service: ServiceId,
    rests: bool,
    by_room: bool,
    wake_at: Option<Timestamp>,
    quiet: Quiet,
}

/// At the end of a pass.
pub(crate) fn look(draft: &mut Draft<'_>) -> Vec<Looked> {
    let (snapshot, now) = (draft.snapshot, draft.now);
    let services = draft.services.values_mut();
    let looked = services.map(|work| Looked {
        service: work.id,
        rests: work.is_settled(now),
        by_room: work.by_room,
        wake_at: work.wake_at,
        quiet: quiet::after(work, snapshot, now),
    });
    looked.collect()
}

impl Settled {
    /// Whether the last pass found that the service need not be looked at.
    pub fn rests(&self, service: ServiceId) -> bool {
        self.services.iter().any(|rest| rest.service == service)
    }

    /// Whether what surrounds the services is what it was, in this pass as in the store.
    fn surrounds(&self, draft: &Draft<'_>) -> bool {
        self.agreed
            && self.leader_since == draft.leader_since
            && self.surroundings == draft.snapshot.surroundings()
    }

    /// Fills a draft with the services that have to be looked at, and gives those that
    /// need not be.
    pub(crate) fn gather(&mut self, draft: &mut Draft<'_>) -> Vec<Rest> {
        let as_stored = |node: &NodeWork<'_>| node.state == node.node.status.state;
        self.agreed = draft.nodes.values().all(as_stored);
        let mut known = match self.surrounds(draft) {
            true => std::mem::take(&mut self.services).into_iter().peekable(),
            false => {
                self.quiet.clear();
                Vec::new().into_iter().peekable()
            }
        };
        let mut kept = Vec::new();
        for (id, changed) in draft.snapshot.changed() {
            while known.next_if(|rest| rest.service < id).is_some() {}
            let rest = known.next_if(|rest| rest.service == id);
            let now = draft.now;
            let rests = |rest: &Rest| {
                rest.changed == changed
                    && rest.wake_at.is_none_or(|wake_at| wake_at > now)
                    && rest
                        .room
                        .is_none_or(|room| room == draft.snapshot.used_at())
            };
            match rest.filter(rests) {
                Some(rest) => {
                    if let Some(at) = rest.wake_at {
                        draft.plan.wake(at);
                    }
                    kept.push(rest);
                }
                None => {
                    let quiet = self.quiet.remove(&id);
                    match quiet.and_then(|quiet| quiet::still(quiet, draft.snapshot, id)) {
                        Some(quiet) => draft.add_rest(id, quiet),
                        None => draft.add_service(id),
                    }
                }
            }
        }
        kept
    }

    /// Remembers what is settled: what was not looked at, and what was found to be.
    pub(crate) fn keep(
        &mut self,
        snapshot: &Snapshot,
        leader_since: Timestamp,
        mut kept: Vec<Rest>,
        looked: Vec<Looked>,
    ) {
        self.leader_since = leader_since;
        self.surroundings = snapshot.surroundings();
        // What follows from a state that the store may yet refuse is no ground to rest on.
        if !self.agreed {
            self.services.clear();
            self.quiet.clear();
            return;
        }
        for found in looked {
            let service = found.service;
            if !found.quiet.is_empty() {
                self.quiet.insert(service, found.quiet);
            }
            if let Some(changed) = snapshot.changed_at(service).filter(|_| found.rests) {
                kept.push(Rest {
                    service,
                    changed,
                    wake_at: found.wake_at,
                    room: found.by_room.then(|| snapshot.used_at()),
                });
            }
        }
        kept.sort();
        self.services = kept;
    }
}

impl ServiceWork<'_> {
    /// Nothing was planned for it, and nothing will be that other services decide.
    pub(crate) fn is_settled(&self, now: Timestamp) -> bool {
        !self.acted && self.service.is_some() && self.tasks.iter().all(|task| task.is_left(now))
    }
}

impl Work<'_> {
    /// Nothing was planned for it, and nothing will be that other tasks decide.
    fn is_left(&self, now: Timestamp) -> bool {
        let stays = self.known.is_some_and(|known| {
            self.desired == known.desired
                && self.state == known.status.state
                && self.start_at == known.start_at
        });
        stays
            && !self.removed
            && !self.placed
            && self.error.is_none()
            && self.leaves.is_none()
            && !self.waits_for_node(now)
    }
}
