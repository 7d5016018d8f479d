//! How a machine becomes a node, and how a node's certificate is renewed.

use super::{peer, status};
use crate::shared::{Lead, Shared};
use skep_manager_ca::{JoinToken, Root, Subject};
use skep_manager_store::{Action, NodeAction};
use skep_proto::{id_bytes, pb};
use skep_transport::not_leader;
use skep_types::{
    Availability, Cluster, Meta, Node, NodeDescription, NodeId, NodeSpec, NodeState, NodeStatus,
    Role,
};
use std::time::SystemTime;
use tonic::{Request, Response, Status};

/// The service.
pub(crate) struct CaService {
    pub(crate) shared: Shared,
}

#[tonic::async_trait]
impl pb::ca_server::Ca for CaService {
    async fn root_ca(
        &self,
        _request: Request<pb::RootCaRequest>,
    ) -> Result<Response<pb::RootCaResponse>, Status> {
        let snapshot = self.shared.state.snapshot();
        let cluster = snapshot
            .cluster()
            .ok_or_else(|| Status::unavailable("this manager does not know its swarm yet"))?;
        let certificate = cluster.root_ca.certificate.clone();
        Ok(Response::new(pb::RootCaResponse { certificate }))
    }

    async fn issue(
        &self,
        request: Request<pb::IssueRequest>,
    ) -> Result<Response<pb::IssueResponse>, Status> {
        match self.shared.lead() {
            Lead::Here => {}
            Lead::At(address) => return Err(not_leader(Some(&address))),
            Lead::Nowhere => return Err(not_leader(None)),
        }
        let snapshot = self.shared.state.snapshot();
        let cluster = snapshot
            .cluster()
            .ok_or_else(|| Status::unavailable("this manager does not know its swarm yet"))?
            .clone();
        if request.get_ref().token.is_empty() {
            let peer = peer::node(&self.shared, &request)?;
            let node = snapshot
                .node(peer.node)
                .ok_or_else(|| Status::not_found(format!("node {} is not known", peer.node)))?;
            return sign(&cluster, node.id, node.role, &request.into_inner().csr);
        }
        let address = peer::address(&request);
        let request = request.into_inner();
        let role = role_of(&cluster, &request.token)?;
        let availability = match pb::Availability::try_from(request.availability) {
            Ok(pb::Availability::Pause) => Availability::Pause,
            Ok(pb::Availability::Drain) => Availability::Drain,
            Ok(pb::Availability::Active) | Err(_) => Availability::Active,
        };
        let node = Node {
            id: NodeId::from_bits(rand::random()),
            meta: Meta::default(),
            spec: NodeSpec {
                role,
                availability,
                ..NodeSpec::default()
            },
            description: NodeDescription {
                hostname: request.hostname,
                ..NodeDescription::default()
            },
            status: NodeStatus {
                state: NodeState::Unknown,
                message: String::new(),
                address,
            },
            role,
            manager: None,
            mesh: None,
        };
        // The certificate first: a bad request must not leave a node behind.
        let answer = sign(&cluster, node.id, role, &request.csr)?;
        let action = Action::Node(NodeAction::Create(Box::new(node)));
        let proposed = self
            .shared
            .propose(&[action])
            .await
            .map_err(status::propose)?;
        proposed.results.iter().try_for_each(status::refused)?;
        Ok(answer)
    }
}

/// The role a token gives.
fn role_of(cluster: &Cluster, token: &str) -> Result<Role, Status> {
    let token: JoinToken = token
        .parse()
        .map_err(|error: skep_manager_ca::TokenError| {
            Status::invalid_argument(error.to_string())
        })?;
    if token.has_secret(&cluster.join_secrets.manager) {
        Ok(Role::Manager)
    } else if token.has_secret(&cluster.join_secrets.worker) {
        Ok(Role::Worker)
    } else {
        Err(Status::unauthenticated(
            "A valid join token is necessary to join this cluster: this one was rotated or is of \
             another swarm. Run \"skep swarm join-token worker\" on a manager for the present one",
        ))
    }
}

fn sign(
    cluster: &Cluster,
    node: NodeId,
    role: Role,
    csr: &str,
) -> Result<Response<pb::IssueResponse>, Status> {
    let internal = |error: skep_manager_ca::CaError| Status::internal(error.to_string());
    let root =
        Root::from_pem(&cluster.root_ca.certificate, &cluster.root_ca.key).map_err(internal)?;
    let subject = Subject {
        node,
        role,
        cluster: cluster.id,
    };
    let issued = root
        .issue(csr, &subject, cluster.spec.cert_expiry, SystemTime::now())
        .map_err(|error| {
            Status::invalid_argument(format!("the request cannot be signed: {error}"))
        })?;
    Ok(Response::new(pb::IssueResponse {
        node_id: id_bytes(node),
        cluster_id: id_bytes(cluster.id),
        role: pb::Role::from(role).into(),
        certificate: issued.pem,
        root_ca_certificate: cluster.root_ca.certificate.clone(),
        data_path_port: u32::from(cluster.spec.data_path_port),
    }))
}
