//! What is let through and what is not.

use super::*;
use crate::wire::{self, Member, Quorum, StoredMembership, VoteRequest};

const FROM: NodeId = 2;

/// A member in term 5 that has applied up to entry 10.
fn known() -> Known {
    Known {
        id: 1,
        term: 5,
        applied: from_wire_id(&place(5, 10)),
    }
}

fn vote(term: u64, committed: bool) -> Option<Vote> {
    Some(Vote {
        term,
        node: FROM,
        committed,
    })
}

fn place(term: u64, index: u64) -> Option<wire::LogId> {
    Some(wire::LogId {
        term,
        node: FROM,
        index,
    })
}

fn entry(term: u64, index: u64) -> Entry {
    Entry {
        log_id: place(term, index),
        payload: None,
    }
}

/// A leader of term 5 sends entries after `previous`.
fn append(previous: Option<wire::LogId>, entries: &[Entry]) -> RequestKind {
    RequestKind::Append(AppendRequest {
        vote: vote(5, true),
        previous,
        entries: entries.to_vec(),
        commit: place(5, 10),
    })
}

fn members(configs: &[&[u64]], members: &[u64]) -> Membership {
    let quorum = |voters: &&[u64]| Quorum {
        voters: voters.to_vec(),
    };
    let member = |id: &u64| Member {
        id: *id,
        address: format!("host-{id}"),
    };
    Membership {
        configs: configs.iter().map(quorum).collect(),
        members: members.iter().map(member).collect(),
    }
}

fn chunk(offset: u64, length: usize) -> SnapshotChunk {
    SnapshotChunk {
        vote: vote(5, true),
        meta: Some(SnapshotMeta {
            last_log_id: place(5, 20),
            membership: Some(StoredMembership {
                log_id: place(4, 3),
                membership: Some(members(&[&[1, 2]], &[1, 2])),
            }),
            id: "20-1".into(),
            length: 0,
        }),
        offset,
        data: vec![7; length],
        done: false,
    }
}

fn refused(kind: &RequestKind) -> String {
    known().request(FROM, kind).unwrap_err()
}

fn taken(kind: &RequestKind) {
    known().request(FROM, kind).unwrap();
}

#[test]
fn what_a_member_says_in_good_faith_is_let_through() {
    taken(&append(None, &[]));
    taken(&append(place(5, 10), &[entry(5, 11), entry(5, 12)]));
    taken(&append(place(3, 4), &[entry(3, 5), entry(4, 6)]));
    taken(&append(None, &[entry(0, 0), entry(1, 1)]));
    taken(&RequestKind::Snapshot(chunk(0, 100)));
    taken(&RequestKind::Ping(wire::Empty {}));
    // One that was cut off for long, and one that is new and knows nothing.
    let stands = |term| {
        RequestKind::Vote(VoteRequest {
            vote: vote(term, false),
            last_log_id: place(5, 10),
        })
    };
    taken(&stands(5 + 100_000_000));
    let new = Known {
        term: 0,
        applied: None,
        ..known()
    };
    new.request(FROM, &stands(1 << 40)).unwrap();
}

#[test]
fn absurd_terms_are_refused_in_questions_and_in_answers() {
    for term in [u64::MAX, NUMBER_MAX, 5 + TERM_LEAP + 1] {
        let stands = RequestKind::Vote(VoteRequest {
            vote: vote(term, false),
            last_log_id: None,
        });
        assert!(refused(&stands).contains("absurd"));
        let mut leads = chunk(0, 1);
        leads.vote = vote(term, true);
        assert!(refused(&RequestKind::Snapshot(leads)).contains("absurd"));
        let higher = ResponseKind::Append(wire::AppendResponse {
            outcome: Some(AppendOutcome::HigherVote(vote(term, true).unwrap())),
        });
        assert!(known().response(&higher).unwrap_err().contains("absurd"));
        let voted = ResponseKind::Vote(wire::VoteResponse {
            vote: vote(term, false),
            granted: true,
            last_log_id: None,
        });
        assert!(known().response(&voted).is_err());
    }
    let new = Known { term: 0, ..known() };
    assert!(new.term(u64::MAX).is_err());
}

#[test]
fn nobody_speaks_for_another() {
    let ping = RequestKind::Ping(wire::Empty {});
    assert!(known().request(1, &ping).unwrap_err().contains("this one"));
    let beat = append(None, &[]);
    assert!(
        known()
            .request(3, &beat)
            .unwrap_err()
            .contains("speaks for")
    );
    for (kind, elected) in [("vote", true), ("append", false)] {
        let vote = vote(5, elected);
        let kind = match kind {
            "vote" => RequestKind::Vote(VoteRequest {
                vote,
                last_log_id: None,
            }),
            _ => RequestKind::Append(AppendRequest {
                vote,
                ..AppendRequest::default()
            }),
        };
        assert!(refused(&kind).contains("elected"));
    }
}

#[test]
fn entries_follow_each_other_and_contradict_nothing_that_was_applied() {
    for (previous, entries) in [
        (place(5, 10), vec![entry(5, 12)]),
        (place(5, 10), vec![entry(5, 11), entry(5, 11)]),
        (place(5, 10), vec![entry(4, 11)]),
        (place(5, 10), vec![entry(6, 11)]),
        (place(5, u64::MAX), vec![entry(5, 0)]),
        (place(5, u64::MAX), vec![]),
        (None, vec![entry(1, 1)]),
        (
            None,
            vec![Entry {
                log_id: None,
                payload: None,
            }],
        ),
    ] {
        let why = refused(&append(previous, &entries));
        assert!(why.contains("entry"), "{why}");
    }
    // What was applied is of term 5.
    let mut known = known();
    known.applied = from_wire_id(&place(4, 10));
    let other = append(place(5, 9), &[]);
    assert!(
        known
            .request(FROM, &other)
            .unwrap_err()
            .contains("agreed on")
    );
}

#[test]
fn a_group_without_voters_or_with_strangers_is_refused() {
    for (configs, of) in [
        (&[][..], &[1][..]),
        (&[&[][..]], &[1]),
        (&[&[1, 3]], &[1, 2]),
        (&[&[1], &[1, 2], &[2]], &[1, 2]),
        (&[&[1, 1, 1]], &[1]),
    ] {
        let mut entry = entry(5, 11);
        entry.payload = Some(Payload::Membership(members(configs, of)));
        refused(&append(place(5, 10), &[entry]));
        let mut chunk = chunk(0, 1);
        let meta = chunk.meta.as_mut().unwrap();
        meta.membership.as_mut().unwrap().membership = Some(members(configs, of));
        refused(&RequestKind::Snapshot(chunk));
    }
}

#[test]
fn a_snapshot_has_an_end() {
    for offset in [SNAPSHOT_MAX, u64::MAX - 3, u64::MAX] {
        refused(&RequestKind::Snapshot(chunk(offset, 10)));
    }
}
