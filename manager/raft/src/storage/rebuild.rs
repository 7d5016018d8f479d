//! Making a group of one anew: out of what one member of a lost group has, or
//! out of a backup.
//!
//! Owns the order of the steps. Each is done when one file gets its name: a
//! crash before it leaves everything as it was.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{BasicNode, CommittedLeaderId, EntryPayload, Membership};
use prost::Message;

use super::files::{self, at};
use super::recovery::{self, State};
use super::segment::{self, Beginning, Segment};
use super::snapshot::Snapshots;
use super::{Place, check_together};
use crate::error::OpenError;
use crate::types::{Entry, LogId, NodeId, SnapshotMeta, StoredMembership, Vote};
use crate::wire;

fn alone(id: NodeId, address: &str) -> Membership<NodeId, BasicNode> {
    let members = BTreeMap::from([(id, BasicNode::new(address))]);
    Membership::new(vec![BTreeSet::from([id])], members)
}

/// Gives all that member `former` has, committed or not, to a group of
/// `place.node` alone. Does nothing if that was done before. Blocks on the
/// disk.
pub(crate) fn reform(place: &Place, former: NodeId, address: &str) -> Result<(), OpenError> {
    let _lock = files::lock(&*place.disk, &place.dir)?;
    let old = Place {
        node: former,
        ..place.clone()
    };
    let mut recovered = match recovery::recover(&old) {
        Err(OpenError::OtherMember { found, .. }) if found == place.node => return Ok(()),
        recovered => recovered?,
    };
    let (snapshots, stored) = Snapshots::open(&old)?;
    drop(snapshots);
    let snapshot = stored.and_then(|stored| stored.meta.last_log_id);
    check_together(&old, &recovered, snapshot)?;
    let mut entries: Vec<Entry> = recovered.entries.drain(..).collect();
    let state = &mut recovered.state;
    let mut last = entries.last().map(|e| e.log_id).max(state.purged);
    if last < snapshot {
        // A snapshot came from the leader and the log was still behind it.
        entries.clear();
        state.purged = snapshot;
        last = snapshot;
    }
    let Some(last) = last else {
        // It never was a member of anything.
        return Err(OpenError::Missing {
            path: place.dir.clone(),
        });
    };
    let voted = state.vote.map_or(0, |vote| vote.leader_id().term);
    let term = voted.max(last.leader_id.term) + 1;
    state.vote = Some(Vote::new(term, place.node));
    let leader = CommittedLeaderId::new(term, place.node);
    entries.push(Entry {
        log_id: LogId::new(leader, last.index + 1),
        payload: EntryPayload::Membership(alone(place.node, address)),
    });
    let newest = recovered.sealed.last().map_or(0, |file| file.number);
    begin(place, newest + 1, &recovered.state, &entries)?;
    for old in &recovered.sealed {
        place
            .disk
            .remove(&old.path)
            .map_err(at("remove", &old.path))?;
    }
    Ok(())
}

/// Makes a group of `place.node` alone that has applied `applied` proposals,
/// with this state. Blocks on the disk.
pub(crate) fn seed(
    place: &Place,
    address: &str,
    applied: u64,
    machine: Vec<u8>,
) -> Result<(), OpenError> {
    let _lock = files::lock(&*place.disk, &place.dir)?;
    if !files::list(&*place.disk, &place.dir, "log")?.is_empty() {
        return Err(OpenError::Exists {
            path: place.dir.clone(),
        });
    }
    // What an attempt left that was cut short.
    for (_, path) in files::list(&*place.disk, &place.dir, "snapshot")? {
        place.disk.remove(&path).map_err(at("remove", &path))?;
    }
    let id = LogId::new(CommittedLeaderId::new(1, place.node), 1);
    let meta = SnapshotMeta {
        last_log_id: Some(id),
        last_membership: StoredMembership::new(Some(id), alone(place.node, address)),
        snapshot_id: "seed".into(),
    };
    let (snapshots, _) = Snapshots::open(place)?;
    let bytes = wire::MachineState { applied, machine }.encode_to_vec();
    snapshots
        .save(&meta, &bytes)
        .map_err(at("write a snapshot in", &place.dir))?;
    let state = State {
        vote: Some(Vote::new(1, place.node)),
        purged: Some(id),
        committed: Some(id),
    };
    begin(place, 1, &state, &[])
}

/// Writes the log file that is the whole log.
fn begin(place: &Place, number: u64, state: &State, entries: &[Entry]) -> Result<(), OpenError> {
    let beginning = Beginning {
        number,
        previous_end: None,
        state,
        entries: Some(entries),
    };
    segment::make_spare(&*place.disk, &place.dir, place.segment_bytes)
        .and_then(|()| Segment::prepare(place, &beginning))
        .and_then(|segment| segment.publish(place))
        .map(drop)
        .map_err(at("start log file in", &place.dir))
}
