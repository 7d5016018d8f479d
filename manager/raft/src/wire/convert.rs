//! Conversions between openraft's types and the wire's.
//!
//! Towards the wire they cannot fail; from it they fail with the name of the
//! part that is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, CommittedLeaderId, EntryPayload};

use super::{self as wire, WireError};
use crate::types::{self, TypeConfig};

fn need<T>(what: &'static str, field: &'static str, value: Option<T>) -> Result<T, WireError> {
    value.ok_or(WireError::Missing { what, field })
}

impl From<&types::Vote> for wire::Vote {
    fn from(vote: &types::Vote) -> Self {
        Self {
            term: vote.leader_id.term,
            node: vote.leader_id.node_id,
            committed: vote.committed,
        }
    }
}

impl From<&wire::Vote> for types::Vote {
    fn from(vote: &wire::Vote) -> Self {
        if vote.committed {
            Self::new_committed(vote.term, vote.node)
        } else {
            Self::new(vote.term, vote.node)
        }
    }
}

impl From<&types::LogId> for wire::LogId {
    fn from(id: &types::LogId) -> Self {
        Self {
            term: id.leader_id.term,
            node: id.leader_id.node_id,
            index: id.index,
        }
    }
}

impl From<&wire::LogId> for types::LogId {
    fn from(id: &wire::LogId) -> Self {
        Self::new(CommittedLeaderId::new(id.term, id.node), id.index)
    }
}

pub(crate) fn to_wire_id(id: &Option<types::LogId>) -> Option<wire::LogId> {
    id.as_ref().map(Into::into)
}

pub(crate) fn from_wire_id(id: &Option<wire::LogId>) -> Option<types::LogId> {
    id.as_ref().map(Into::into)
}

type Membership = openraft::Membership<u64, BasicNode>;

impl From<&Membership> for wire::Membership {
    fn from(membership: &Membership) -> Self {
        Self {
            configs: membership
                .get_joint_config()
                .iter()
                .map(|voters| wire::Quorum {
                    voters: voters.iter().copied().collect(),
                })
                .collect(),
            members: membership
                .nodes()
                .map(|(id, node)| wire::Member {
                    id: *id,
                    address: node.addr.clone(),
                })
                .collect(),
        }
    }
}

impl From<wire::Membership> for Membership {
    fn from(membership: wire::Membership) -> Self {
        let configs: Vec<BTreeSet<u64>> = membership
            .configs
            .into_iter()
            .map(|c| c.voters.into_iter().collect())
            .collect();
        let nodes: BTreeMap<u64, BasicNode> = membership
            .members
            .into_iter()
            .map(|m| (m.id, BasicNode { addr: m.address }))
            .collect();
        Self::new(configs, nodes)
    }
}

impl From<&types::StoredMembership> for wire::StoredMembership {
    fn from(stored: &types::StoredMembership) -> Self {
        Self {
            log_id: to_wire_id(stored.log_id()),
            membership: Some(stored.membership().into()),
        }
    }
}

impl From<wire::StoredMembership> for types::StoredMembership {
    fn from(stored: wire::StoredMembership) -> Self {
        let membership = stored.membership.map(Into::into).unwrap_or_default();
        Self::new(from_wire_id(&stored.log_id), membership)
    }
}

impl From<&types::Entry> for wire::Entry {
    fn from(entry: &types::Entry) -> Self {
        let payload = match &entry.payload {
            EntryPayload::Blank => None,
            EntryPayload::Normal(batch) => Some(wire::Payload::Normal(wire::Batch {
                proposals: batch.0.to_vec(),
            })),
            EntryPayload::Membership(m) => Some(wire::Payload::Membership(m.into())),
        };
        Self {
            log_id: Some((&entry.log_id).into()),
            payload,
        }
    }
}

impl TryFrom<wire::Entry> for types::Entry {
    type Error = WireError;

    fn try_from(entry: wire::Entry) -> Result<Self, WireError> {
        let log_id = need("entry", "log id", from_wire_id(&entry.log_id))?;
        let payload = match entry.payload {
            None => EntryPayload::Blank,
            Some(wire::Payload::Normal(batch)) => {
                EntryPayload::Normal(types::Batch(Arc::new(batch.proposals)))
            }
            Some(wire::Payload::Membership(m)) => EntryPayload::Membership(m.into()),
        };
        Ok(Self { log_id, payload })
    }
}

impl From<&types::SnapshotMeta> for wire::SnapshotMeta {
    fn from(meta: &types::SnapshotMeta) -> Self {
        Self {
            last_log_id: to_wire_id(&meta.last_log_id),
            membership: Some((&meta.last_membership).into()),
            id: meta.snapshot_id.clone(),
            length: 0,
        }
    }
}

impl TryFrom<wire::SnapshotMeta> for types::SnapshotMeta {
    type Error = WireError;

    fn try_from(meta: wire::SnapshotMeta) -> Result<Self, WireError> {
        Ok(Self {
            last_log_id: from_wire_id(&meta.last_log_id),
            last_membership: need("snapshot meta", "membership", meta.membership)?.into(),
            snapshot_id: meta.id,
        })
    }
}

impl From<&VoteRequest<u64>> for wire::VoteRequest {
    fn from(request: &VoteRequest<u64>) -> Self {
        Self {
            vote: Some((&request.vote).into()),
            last_log_id: to_wire_id(&request.last_log_id),
        }
    }
}

impl TryFrom<wire::VoteRequest> for VoteRequest<u64> {
    type Error = WireError;

    fn try_from(request: wire::VoteRequest) -> Result<Self, WireError> {
        let vote = need("vote request", "vote", request.vote.as_ref())?;
        Ok(Self::new(vote.into(), from_wire_id(&request.last_log_id)))
    }
}

impl From<&VoteResponse<u64>> for wire::VoteResponse {
    fn from(response: &VoteResponse<u64>) -> Self {
        Self {
            vote: Some((&response.vote).into()),
            granted: response.vote_granted,
            last_log_id: to_wire_id(&response.last_log_id),
        }
    }
}

impl TryFrom<wire::VoteResponse> for VoteResponse<u64> {
    type Error = WireError;

    fn try_from(response: wire::VoteResponse) -> Result<Self, WireError> {
        let vote: types::Vote = need("vote response", "vote", response.vote.as_ref())?.into();
        Ok(Self::new(
            vote,
            from_wire_id(&response.last_log_id),
            response.granted,
        ))
    }
}

impl From<&AppendEntriesRequest<TypeConfig>> for wire::AppendRequest {
    fn from(request: &AppendEntriesRequest<TypeConfig>) -> Self {
        Self {
            vote: Some((&request.vote).into()),
            previous: to_wire_id(&request.prev_log_id),
            entries: request.entries.iter().map(Into::into).collect(),
            commit: to_wire_id(&request.leader_commit),
        }
    }
}

impl TryFrom<wire::AppendRequest> for AppendEntriesRequest<TypeConfig> {
    type Error = WireError;

    fn try_from(request: wire::AppendRequest) -> Result<Self, WireError> {
        let vote = need("append request", "vote", request.vote.as_ref())?;
        Ok(Self {
            vote: vote.into(),
            prev_log_id: from_wire_id(&request.previous),
            entries: request
                .entries
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            leader_commit: from_wire_id(&request.commit),
        })
    }
}

impl From<&AppendEntriesResponse<u64>> for wire::AppendResponse {
    fn from(response: &AppendEntriesResponse<u64>) -> Self {
        let outcome = match response {
            AppendEntriesResponse::Success => wire::AppendOutcome::Success(wire::Empty {}),
            AppendEntriesResponse::PartialSuccess(matched) => {
                wire::AppendOutcome::Partial(wire::PartialSuccess {
                    matched: to_wire_id(matched),
                })
            }
            AppendEntriesResponse::Conflict => wire::AppendOutcome::Conflict(wire::Empty {}),
            AppendEntriesResponse::HigherVote(vote) => wire::AppendOutcome::HigherVote(vote.into()),
        };
        Self {
            outcome: Some(outcome),
        }
    }
}

impl TryFrom<wire::AppendResponse> for AppendEntriesResponse<u64> {
    type Error = WireError;

    fn try_from(response: wire::AppendResponse) -> Result<Self, WireError> {
        Ok(
            match need("append response", "outcome", response.outcome)? {
                wire::AppendOutcome::Success(_) => Self::Success,
                wire::AppendOutcome::Partial(p) => Self::PartialSuccess(from_wire_id(&p.matched)),
                wire::AppendOutcome::Conflict(_) => Self::Conflict,
                wire::AppendOutcome::HigherVote(vote) => Self::HigherVote((&vote).into()),
            },
        )
    }
}

impl From<InstallSnapshotRequest<TypeConfig>> for wire::SnapshotChunk {
    fn from(request: InstallSnapshotRequest<TypeConfig>) -> Self {
        Self {
            vote: Some((&request.vote).into()),
            meta: Some((&request.meta).into()),
            offset: request.offset,
            data: request.data,
            done: request.done,
        }
    }
}
