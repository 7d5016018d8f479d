//! The server side of the network: one message in, one answer out.

use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use prost::Message;

use crate::error::HandleError;
use crate::node::Raft;
use crate::types::{NodeId, TypeConfig};
use crate::wire::{self, Empty, RequestKind, ResponseKind, from_wire_id};

impl Raft {
    /// Serves a message that another member's [`crate::Transport`] brought.
    /// The caller has made sure that it comes from a manager of this cluster, and
    /// says whether that manager may be the member of this number.
    ///
    /// # Errors
    /// If it is not a message for this member, is another member's than it says, or
    /// this one is stopping.
    pub async fn handle(
        &self,
        message: Vec<u8>,
        may_be: impl FnOnce(u64) -> bool,
    ) -> Result<Vec<u8>, HandleError> {
        let request: wire::Request =
            wire::decode("raft request", &message).map_err(HandleError::Decode)?;
        drop(message);
        if request.to != self.inner.id {
            return Err(HandleError::WrongMember {
                to: request.to,
                this: self.inner.id,
            });
        }
        let Some(kind) = request.kind else {
            return Err(HandleError::Decode(wire::WireError::Missing {
                what: "raft request",
                field: "kind",
            }));
        };
        let from = request.from;
        let implausible = |reason| HandleError::Implausible { from, reason };
        if !may_be(from) {
            let reason = "the manager that sent it is not that member".to_owned();
            return Err(implausible(reason));
        }
        self.inner
            .peers
            .known()
            .request(from, &kind)
            .map_err(implausible)?;
        // Only of members is it of interest; anybody else may name himself as he
        // likes.
        if self.member(from).is_some() {
            self.inner.peers.note_heard(from);
        }
        let kind = self.serve(kind).await?;
        Ok(wire::Response { kind: Some(kind) }.encode_to_vec())
    }

    /// Takes entries and answers when they are on disk. The leader, which also
    /// wants to know whether this member lives, hears from it before if that
    /// takes long.
    async fn append(
        &self,
        request: AppendEntriesRequest<TypeConfig>,
    ) -> Result<AppendEntriesResponse<NodeId>, HandleError> {
        let previous = request.prev_log_id;
        let last = request.entries.last().map(|e| e.log_id).or(previous);
        let response = self.inner.core.append_entries(request).await;
        let response = response.map_err(|_| HandleError::Stopped)?;
        let (AppendEntriesResponse::Success, Some(last)) = (&response, last) else {
            return Ok(response);
        };
        let durable = self.inner.log.durable();
        let on_disk = durable.reach(last.index);
        match tokio::time::timeout(self.inner.config.heartbeat / 2, on_disk).await {
            Ok(true) => return Ok(response),
            Ok(false) => return Err(HandleError::Stopped),
            Err(_) => {}
        }
        if previous.is_none_or(|id| durable.holds(id.index)) {
            return Ok(AppendEntriesResponse::PartialSuccess(previous));
        }
        if durable.reach(last.index).await {
            Ok(response)
        } else {
            Err(HandleError::Stopped)
        }
    }

    async fn serve(&self, kind: RequestKind) -> Result<ResponseKind, HandleError> {
        let core = &self.inner.core;
        Ok(match kind {
            RequestKind::Append(request) => {
                let request = request.try_into().map_err(HandleError::Decode)?;
                ResponseKind::Append((&self.append(request).await?).into())
            }
            RequestKind::Vote(request) => {
                let request = request.try_into().map_err(HandleError::Decode)?;
                let response = core.vote(request).await.map_err(|_| HandleError::Stopped)?;
                ResponseKind::Vote((&response).into())
            }
            RequestKind::Snapshot(chunk) => self.receive(chunk).await?,
            RequestKind::ReadIndex(_) => match self.leader_barrier().await {
                Ok(applied) => ResponseKind::ReadIndex(wire::ReadIndex { applied }),
                Err(error) => ResponseKind::Refused(error.to_string()),
            },
            RequestKind::TakeOver(_) => {
                core.trigger()
                    .elect()
                    .await
                    .map_err(|_| HandleError::Stopped)?;
                ResponseKind::Done(Empty {})
            }
            RequestKind::Ping(_) => ResponseKind::Done(Empty {}),
            RequestKind::PreVote(request) => {
                let last = from_wire_id(&request.last_log_id);
                let granted = self.would_vote(last).await?;
                ResponseKind::PreVote(wire::PreVoteResponse { granted })
            }
        })
    }
}
