//! How a node with a manager's certificate comes to be one of the managers.

use crate::error::StartError;
use skep_manager_store::format::{NEWEST, VERSION};
use skep_proto::pb;
use skep_proto::pb::raft_client::RaftClient;
use skep_transport::{Channels, redirected_to};
use std::time::Duration;
use tokio::time::Instant;

/// How long the managers are asked in all.
const JOIN_TIMEOUT: Duration = Duration::from_secs(20);
/// How long one of them may take to answer: it may be waiting for a majority.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before they are asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// Asks the managers, over channels that show this node's manager certificate,
/// to let it be one of them. Returns its id in the group.
///
/// # Errors
/// When none of them, nor the leader they name, does so in time.
pub async fn join_raft(
    channels: &Channels,
    managers: &[String],
    advertise: &str,
) -> Result<u64, StartError> {
    ask(channels, managers, request(advertise, 0)).await
}

/// What a manager of this build says of itself, reached at this address; its
/// Raft id is 0 while it has none.
pub(crate) fn request(address: &str, raft_id: u64) -> pb::RaftJoinRequest {
    pb::RaftJoinRequest {
        address: address.to_owned(),
        raft_id,
        format: NEWEST.0,
        version: VERSION.to_owned(),
    }
}

/// Asks for a seat, or to have the address of one changed.
pub(crate) async fn ask(
    channels: &Channels,
    managers: &[String],
    request: pb::RaftJoinRequest,
) -> Result<u64, StartError> {
    let deadline = Instant::now() + JOIN_TIMEOUT;
    ask_until(deadline, channels, managers, request).await
}

async fn ask_until(
    deadline: Instant,
    channels: &Channels,
    managers: &[String],
    request: pb::RaftJoinRequest,
) -> Result<u64, StartError> {
    let mut last = "no manager is known".to_owned();
    let mut ask = managers.to_vec();
    while Instant::now() < deadline {
        for address in std::mem::replace(&mut ask, managers.to_vec()) {
            let channel = match channels.to(&address) {
                Ok(channel) => channel,
                Err(error) => {
                    last = error.to_string();
                    continue;
                }
            };
            let mut client = RaftClient::new(channel);
            let patience = deadline.min(Instant::now() + CALL_TIMEOUT);
            match tokio::time::timeout_at(patience, client.join(request.clone())).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner().raft_id),
                Ok(Err(status)) => {
                    last = format!("{address}: {}", status.message());
                    if let Some(leader) = redirected_to(&status) {
                        ask.insert(0, leader);
                        break;
                    }
                }
                Err(_) => last = format!("{address} did not answer in time"),
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
    Err(StartError::Join {
        managers: managers.join(", "),
        last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_manager_ca::{Credentials, Request, Root, Subject};
    use skep_types::{ClusterId, NodeId, Role};
    use std::time::SystemTime;
    use tonic::{Response, Status};

    /// A manager that answers nothing, on a connection that is fine.
    struct Mute;

    #[tonic::async_trait]
    impl pb::raft_server::Raft for Mute {
        async fn step(
            &self,
            _: tonic::Request<pb::StepRequest>,
        ) -> Result<Response<pb::StepResponse>, Status> {
            std::future::pending().await
        }
        async fn join(
            &self,
            _: tonic::Request<pb::RaftJoinRequest>,
        ) -> Result<Response<pb::RaftJoinResponse>, Status> {
            std::future::pending().await
        }
        async fn leave(
            &self,
            _: tonic::Request<pb::RaftLeaveRequest>,
        ) -> Result<Response<pb::RaftLeaveResponse>, Status> {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_manager_that_does_not_answer_holds_nobody_up() {
        let now = SystemTime::now();
        let root = Root::generate(now).unwrap();
        let key = Request::generate().unwrap();
        let subject = Subject {
            node: NodeId::from_bits(1),
            role: Role::Manager,
            cluster: ClusterId::from_bits(2),
        };
        let life = Duration::from_secs(3600);
        let issued = root.issue(key.pem(), &subject, life, now).unwrap();
        let identity = key.complete(&issued.pem, root.certificate().clone());
        let credentials = Credentials::new(identity.unwrap()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tonic::transport::Server::builder()
            .add_service(pb::raft_server::RaftServer::new(Mute))
            .serve_with_incoming(skep_transport::accept(
                Box::new(listener),
                credentials.server_config().unwrap(),
                None,
            ));
        let server = tokio::spawn(server);

        let deadline = Instant::now() + Duration::from_secs(1);
        let channels = Channels::new(credentials.client_config().unwrap());
        let managers = [address];
        let joined = ask_until(deadline, &channels, &managers, request("127.0.0.1:1", 0));
        let joined = tokio::time::timeout(Duration::from_secs(10), joined).await;
        let refused = joined.unwrap().unwrap_err().to_string();
        assert!(refused.contains("did not answer in time"), "{refused}");
        server.abort();
    }
}
