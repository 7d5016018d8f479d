//! The control service on the node's socket: the manager's, while the node is
//! one, and an answer that says what to do while it is not.

use skep_manager::Control;
use skep_proto::pb;
use std::sync::{Arc, PoisonError, RwLock};
use tonic::{Request, Response, Status};

/// Who answers for the swarm at this node.
#[derive(Clone, Default)]
pub(crate) enum Door {
    /// Nobody: the node is a worker, or in no swarm.
    #[default]
    Absent,
    /// Its manager.
    Open(Control),
    /// Its manager cannot; this is why, and what to do.
    Shut(String),
}

/// The door of this node as it is now. Cheap to clone; the socket asks it at
/// every call.
#[derive(Clone, Default)]
pub(crate) struct ControlSlot(Arc<RwLock<Door>>);

impl ControlSlot {
    pub(crate) fn get(&self) -> Door {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set(&self, door: Door) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = door;
    }
}

/// Asks the slot at every call, since a node's role may change.
pub(crate) struct ControlDoor {
    pub(crate) slot: ControlSlot,
}

impl ControlDoor {
    fn control(&self) -> Result<Control, Status> {
        match self.slot.get() {
            Door::Open(control) => Ok(control),
            Door::Shut(reason) => Err(Status::failed_precondition(reason)),
            Door::Absent => Err(Status::failed_precondition(
                "This node is not a swarm manager. Worker nodes can't be used to view or modify \
                 cluster state. Please run this command on a manager node or promote the current \
                 node to a manager. (A node that is in no swarm gets one by \"skep swarm init\" or \
                 \"skep swarm join\".)",
            )),
        }
    }
}

#[tonic::async_trait]
impl pb::control_server::Control for ControlDoor {
    type WatchStream = <Control as pb::control_server::Control>::WatchStream;
    type LogsStream = <Control as pb::control_server::Control>::LogsStream;

    async fn read(
        &self,
        request: Request<pb::ReadRequest>,
    ) -> Result<Response<pb::ReadResponse>, Status> {
        self.control()?.read(request).await
    }

    async fn change(
        &self,
        request: Request<pb::ChangeRequest>,
    ) -> Result<Response<pb::ChangeResponse>, Status> {
        self.control()?.change(request).await
    }

    async fn foresee(
        &self,
        request: Request<pb::ForeseeRequest>,
    ) -> Result<Response<pb::ForeseeResponse>, Status> {
        self.control()?.foresee(request).await
    }

    async fn watch(
        &self,
        request: Request<pb::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.control()?.watch(request).await
    }

    async fn logs(
        &self,
        request: Request<pb::LogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        self.control()?.logs(request).await
    }
}
