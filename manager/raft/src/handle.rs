//! The server side of the network: one message in, one answer out.

use openraft::error::{InstallSnapshotError, RaftError};
use prost::Message;

use crate::error::HandleError;
use crate::node::Raft;
use crate::wire::{self, Empty, RequestKind, ResponseKind};

impl Raft {
    /// Serves a message that another member's [`crate::Transport`] brought.
    /// The caller has made sure that it comes from a manager of this cluster.
    ///
    /// # Errors
    /// If it is not a message for this member, or the member is stopping.
    pub async fn handle(&self, message: Vec<u8>) -> Result<Vec<u8>, HandleError> {
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
        self.inner.peers.note_heard(request.from);
        let kind = self.serve(kind).await?;
        Ok(wire::Response { kind: Some(kind) }.encode_to_vec())
    }

    async fn serve(&self, kind: RequestKind) -> Result<ResponseKind, HandleError> {
        let core = &self.inner.core;
        Ok(match kind {
            RequestKind::Append(request) => {
                let request = request.try_into().map_err(HandleError::Decode)?;
                let response = core
                    .append_entries(request)
                    .await
                    .map_err(|_| HandleError::Stopped)?;
                ResponseKind::Append((&response).into())
            }
            RequestKind::Vote(request) => {
                let request = request.try_into().map_err(HandleError::Decode)?;
                let response = core.vote(request).await.map_err(|_| HandleError::Stopped)?;
                ResponseKind::Vote((&response).into())
            }
            RequestKind::Snapshot(chunk) => {
                let chunk = chunk.try_into().map_err(HandleError::Decode)?;
                match core.install_snapshot(chunk).await {
                    Ok(response) => ResponseKind::Snapshot(wire::SnapshotResponse {
                        vote: Some((&response.vote).into()),
                    }),
                    Err(RaftError::APIError(InstallSnapshotError::SnapshotMismatch(m))) => {
                        ResponseKind::SnapshotMismatch(wire::SnapshotMismatch {
                            expected_id: m.expect.id,
                            expected_offset: m.expect.offset,
                            got_id: m.got.id,
                            got_offset: m.got.offset,
                        })
                    }
                    Err(RaftError::Fatal(_)) => return Err(HandleError::Stopped),
                }
            }
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
        })
    }
}
