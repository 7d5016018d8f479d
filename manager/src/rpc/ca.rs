//! How a machine becomes a node, and how a node's certificate is renewed.

use super::{describe, peer, status};
use crate::shared::{Lead, Shared};
use bytes::Bytes;
use skep_manager_ca::{Authority, CaError, JoinToken, Subject, node_of};
use skep_manager_store::validate::validate_node;
use skep_manager_store::{Action, NodeAction};
use skep_proto::{id_bytes, pb, unlock_key_bytes};
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
        // What join tokens pin; the one that may be about to replace it vouches
        // for itself by a cross-signature.
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
            let peer = peer::node(&self.shared, request.extensions())?;
            let node = snapshot
                .node(peer.node)
                .ok_or_else(|| Status::not_found(format!("node {} is not known", peer.node)))?;
            let answer = sign(&cluster, node.id, node.role, &request.into_inner().csr)?;
            return Ok(Response::new(answer));
        }
        let address = peer::address(&request);
        let request = request.into_inner();
        let role = role_of(&cluster, &request.token)?;
        describe::hostname(&request.hostname)?;
        if role == Role::Manager {
            describe::format(cluster.format, request.format, &request.version)?;
        }
        let id = node_of(&request.csr).map_err(bad_request)?;
        if cluster.blocked.contains_key(&id) {
            return Err(Status::permission_denied(format!(
                "node {id} was removed from the swarm while it joined; join again"
            )));
        }
        if let Some(node) = snapshot.node(id) {
            // A token is for whoever is new: it gives nobody another role, nor back
            // what expired.
            let has_come = !node.description.engine_version.is_empty();
            if has_come || node.role != role {
                return Err(Status::permission_denied(format!(
                    "node {id} has joined already; run \"skep swarm leave --force\" on it, then \
                     join again"
                )));
            }
            // It was answered before and did not hear it.
            let answer = sign(&cluster, id, node.role, &request.csr)?;
            return Ok(Response::new(answer));
        }
        let availability = match pb::Availability::try_from(request.availability) {
            Ok(pb::Availability::Pause) => Availability::Pause,
            Ok(pb::Availability::Drain) => Availability::Drain,
            Ok(pb::Availability::Active) | Err(_) => Availability::Active,
        };
        let spec = NodeSpec {
            labels: request.labels,
            role,
            availability,
            drain_deadline: None,
        };
        validate_node(&spec).map_err(|invalid| Status::invalid_argument(invalid.to_string()))?;
        let node = Node {
            id,
            meta: Meta::default(),
            spec,
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
            role_since: Default::default(),
            drain_since: None,
            manager: None,
            mesh: None,
        };
        // The certificate first: a bad request must not leave a node behind.
        let answer = sign(&cluster, id, role, &request.csr)?;
        let action = Action::Node(NodeAction::Create(Box::new(node)));
        let proposed = self
            .shared
            .propose(&[action])
            .await
            .map_err(status::propose)?;
        let made = proposed.results.iter().try_for_each(status::refused);
        if self.shared.state.snapshot().node(id).is_none() {
            made?;
        }
        // An answer that was not heard may have been on its way until now.
        Ok(Response::new(answer))
    }
}

/// A certificate for this manager's own node, without asking the leader.
pub(crate) fn issue_own(shared: &Shared, csr: &str) -> Result<pb::IssueResponse, Status> {
    let snapshot = shared.state.snapshot();
    let own = snapshot.cluster().zip(snapshot.node(shared.node));
    match own {
        Some((cluster, node)) if node.role == Role::Manager => {
            sign(cluster, node.id, node.role, csr)
        }
        Some(_) => Err(Status::permission_denied(
            "this node is not one of the managers any more",
        )),
        None => Err(Status::unavailable(
            "this manager does not know its swarm yet",
        )),
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

fn bad_request(error: CaError) -> Status {
    Status::invalid_argument(format!("the request cannot be signed: {error}"))
}

fn sign(
    cluster: &Cluster,
    node: NodeId,
    role: Role,
    csr: &str,
) -> Result<pb::IssueResponse, Status> {
    let internal = |error: CaError| Status::internal(error.to_string());
    let authority = Authority::of(&cluster.root_ca).map_err(internal)?;
    let subject = Subject {
        node,
        role,
        cluster: cluster.id,
    };
    let issued = authority
        .issue(csr, &subject, cluster.spec.cert_expiry, SystemTime::now())
        .map_err(bad_request)?;
    Ok(pb::IssueResponse {
        node_id: id_bytes(node),
        cluster_id: id_bytes(cluster.id),
        role: pb::Role::from(role).into(),
        certificate: issued.pem,
        root_ca_certificate: authority.trusted().pem().to_owned(),
        data_path_port: u32::from(cluster.spec.data_path_port),
        unlock_key: match role {
            Role::Manager => unlock_key_bytes(cluster.unlock_key.as_ref()),
            Role::Worker => Bytes::new(),
        },
    })
}
