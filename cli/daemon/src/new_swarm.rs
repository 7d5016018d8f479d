//! A new swarm: its root of trust, its settings and its first node.

use crate::files::Membership;
use crate::{address, describe};
use anyhow::Result;
use skep_manager::{Start, first_actions, validate_cluster, validate_node};
use skep_manager_ca::{
    Identity, JoinToken, Request, Root, Subject, new_unlock_key, unlock_key_text,
};
use skep_proto::pb;
use skep_types::{
    Cluster, ClusterId, ClusterSpec, JoinSecrets, ManagerStatus, Meta, Node, NodeDescription,
    NodeId, NodeSpec, NodeStatus, Role, RootCa, Timestamp, UnlockKey,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::SystemTime;

/// What the first node starts with.
pub(crate) struct NewSwarm {
    /// Its certificate.
    pub identity: Identity,
    /// Its place.
    pub membership: Membership,
    /// What its keys are sealed under, if they are.
    pub unlock: Option<UnlockKey>,
    /// The first entry of its log.
    pub start: Start,
    /// What the user is told.
    pub answer: pb::InitResponse,
}

impl NewSwarm {
    /// Makes keys, tokens and ids.
    ///
    /// # Errors
    /// The first setting that no swarm can have.
    pub(crate) fn new(
        spec: ClusterSpec,
        listen: SocketAddr,
        advertise: SocketAddr,
        of_node: NodeSpec,
        autolock: bool,
    ) -> Result<NewSwarm> {
        validate_cluster(&spec)?;
        validate_node(&of_node)?;
        let now = SystemTime::now();
        let root = Root::generate(now)?;
        let unlock = autolock.then(new_unlock_key).transpose()?;
        let cluster = Cluster {
            unlock_key: unlock.clone(),
            ..cluster(&root, spec)?
        };
        let node = first_node(advertise, of_node);
        let key = Request::generate()?;
        let subject = Subject {
            node: node.id,
            role: Role::Manager,
            cluster: cluster.id,
        };
        let issued = root.issue(key.pem(), &subject, cluster.spec.cert_expiry, now)?;
        let digest = root.certificate().digest();
        let token =
            |secret: &str| Ok::<_, anyhow::Error>(JoinToken::new(digest, secret)?.to_string());
        Ok(NewSwarm {
            identity: key.complete(&issued.pem, root.certificate().clone())?,
            membership: Membership {
                listen: listen.to_string(),
                advertise: advertise.to_string(),
                interface: address::interface_of(advertise.ip()),
                managers: vec![advertise.to_string()],
                data_path_port: cluster.spec.data_path_port,
                raft_id: Some(1),
                has_log: false,
                reform: None,
            },
            answer: pb::InitResponse {
                node_id: skep_proto::id_bytes(node.id),
                worker_token: token(&cluster.join_secrets.worker)?,
                manager_token: token(&cluster.join_secrets.manager)?,
                advertise: advertise.to_string(),
                unlock_key: unlock.as_ref().map(unlock_key_text).unwrap_or_default(),
            },
            unlock,
            start: Start::Bootstrap(first_actions(cluster, node)),
        })
    }
}

fn cluster(root: &Root, spec: ClusterSpec) -> Result<Cluster> {
    Ok(Cluster {
        id: ClusterId::from_bits(rand::random()),
        meta: Meta::default(),
        spec,
        root_ca: RootCa::new(root.certificate().pem().to_owned(), root.key_pem()),
        join_secrets: JoinSecrets {
            worker: JoinToken::new_secret()?,
            manager: JoinToken::new_secret()?,
        },
        blocked: BTreeMap::new(),
        certificates_until: Timestamp::default(),
        last_raft_id: 0,
        format: Default::default(),
        unlock_key: None,
        clients: BTreeMap::new(),
    })
}

/// This node as the only manager of a swarm.
pub(crate) fn first_node(advertise: SocketAddr, spec: NodeSpec) -> Node {
    Node {
        id: NodeId::from_bits(rand::random()),
        meta: Meta::default(),
        spec: NodeSpec {
            role: Role::Manager,
            ..spec
        },
        description: NodeDescription {
            hostname: describe::hostname(),
            ..NodeDescription::default()
        },
        status: NodeStatus::default(),
        role: Role::Manager,
        role_since: Default::default(),
        drain_since: None,
        manager: Some(ManagerStatus {
            raft_id: 1,
            address: advertise.to_string(),
            format: Default::default(),
        }),
        mesh: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_types::Labels;

    #[test]
    fn a_first_node_has_the_labels_it_was_given() {
        let address = SocketAddr::from(([127, 0, 0, 1], 2377));
        let labelled = |labels: Labels| NodeSpec {
            labels,
            ..NodeSpec::default()
        };
        let zone = Labels::from([("zone".to_owned(), "a".to_owned())]);
        let node = first_node(address, labelled(zone.clone()));
        assert_eq!((node.spec.labels, node.spec.role), (zone, Role::Manager));
        let many = labelled((0..129).map(|n| (n.to_string(), String::new())).collect());
        let made = NewSwarm::new(ClusterSpec::default(), address, address, many, false);
        let refused = made.err().unwrap().to_string();
        assert!(refused.contains("129 labels"), "{refused}");
    }

    #[test]
    fn settings_that_no_swarm_can_have_are_refused_before_there_is_one() {
        let address = SocketAddr::from(([127, 0, 0, 1], 2377));
        let spec = ClusterSpec {
            subnet_length: 31,
            ..ClusterSpec::default()
        };
        let made = NewSwarm::new(spec, address, address, NodeSpec::default(), false);
        let refused = made.err().unwrap().to_string();
        assert!(refused.contains("subnet size /31"), "{refused}");
    }
}
