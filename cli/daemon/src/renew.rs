//! Keeps the node's certificate fresh, its roots those of the swarm and its
//! role what the managers want.

use crate::join;
use crate::member::Member;
use crate::node::SwarmNode;
use anyhow::{Context, Result};
use skep_agent::Told;
use skep_manager_ca::{CaBundle, Identity};
use skep_transport::Channels;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// Pause after a renewal that did not succeed.
const RETRY: Duration = Duration::from_secs(5);
/// The clock is looked at this often: it may be set, and the machine may have
/// slept, of which a pause knows nothing.
const LOOK: Duration = Duration::from_secs(10);

/// What a node has to do about its certificate.
#[derive(Debug)]
enum Next {
    /// Nothing, until then.
    Nothing(SystemTime),
    /// Trust other roots; the certificate is good under them as well.
    Trust(Box<Identity>),
    /// Get another certificate.
    Renew(&'static str),
}

/// Follows what the managers say of this node, until it leaves.
pub(crate) fn follow(node: SwarmNode, member: &Arc<Member>) {
    let due = member.credentials.identity().validity().renewal_time();
    tokio::spawn(run(node, Arc::downgrade(member), member.told(), due));
}

/// What follows from what a node has and was told last. `due` is when its
/// certificate is to be renewed in any case.
fn next(told: Option<&Told>, identity: &Identity, due: SystemTime, now: SystemTime) -> Next {
    if let Some(told) = told {
        if told.node.role != identity.peer().role {
            return Next::Renew("its role has changed");
        }
        match CaBundle::from_pem(&told.root_ca) {
            Ok(ca) if identity.issuer() != Some(ca.newest()) => {
                // Under a cross-signature the certificate may be the wanted one.
                return match identity.with_ca(ca.clone()) {
                    Ok(same) if same.issuer() == Some(ca.newest()) => Next::Trust(Box::new(same)),
                    _ => Next::Renew("the root CA is being replaced"),
                };
            }
            Ok(ca) if ca.digest() != identity.ca().digest() => {
                return match identity.with_ca(ca) {
                    Ok(same) => Next::Trust(Box::new(same)),
                    Err(_) => Next::Renew("the root CA was replaced"),
                };
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the managers name no usable root CA"),
        }
    }
    if due <= now {
        return Next::Renew("it has lived for long enough");
    }
    if now < identity.validity().not_before {
        return Next::Renew("it is of a time to come");
    }
    Next::Nothing(due)
}

async fn run(
    node: SwarmNode,
    member: Weak<Member>,
    mut told: watch::Receiver<Option<Told>>,
    mut due: SystemTime,
) {
    loop {
        let mut pause = RETRY;
        let next = {
            // The node may have left, and be in another swarm by now.
            let Some((_turn, member)) = node.turn(&member).await else {
                return;
            };
            // Another move may have changed what counts.
            let now = told.borrow_and_update().clone();
            let identity = member.credentials.identity();
            let next = next(now.as_ref(), &identity, due, SystemTime::now());
            if let Some(told) = &now
                && let Err(error) = member.remember_managers(told.managers.clone())
            {
                tracing::warn!(%error, "managers not remembered");
            }
            if let Next::Nothing(due) = &next {
                pause = due.duration_since(SystemTime::now()).unwrap_or_default();
                pause = pause.min(LOOK);
                if let Err(error) = member.settle(now.as_ref()).await {
                    tracing::warn!(error = %format!("{error:#}"), "role not taken on yet");
                    pause = pause.min(RETRY);
                }
            }
            next
        };
        let done = match next {
            Next::Nothing(_) => None,
            Next::Trust(identity) => Some(trust(&node, &member, *identity).await.map(|()| due)),
            Next::Renew(why) => Some(renew(&node, &member, why).await),
        };
        match done {
            // What was told may be older than the certificate: the session that
            // begins with it says how things are now.
            Some(Ok(next)) => due = next,
            Some(Err(error)) => {
                tracing::warn!(error = %format!("{error:#}"), "certificate not renewed");
                if let Some(member) = member.upgrade() {
                    member.set_problem(Some(format!("{error:#}")));
                }
            }
            None => {}
        }
        tokio::select! {
            changed = told.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

const LEFT: &str = "the node has left its swarm";

/// Trusts other roots from now on.
async fn trust(node: &SwarmNode, follower: &Weak<Member>, identity: Identity) -> Result<()> {
    let (_turn, member) = node.turn(follower).await.context(LEFT)?;
    member.take_role(identity, None).await?;
    tracing::info!("the swarm's root CA is taken on");
    Ok(())
}

/// Gets a new certificate and takes on its role. Returns when it is to be
/// renewed in turn.
async fn renew(node: &SwarmNode, follower: &Weak<Member>, why: &str) -> Result<SystemTime> {
    // Issued while other moves go on; it takes a while.
    let (identity, unlock) = {
        let member = follower.upgrade().context(LEFT)?;
        let renewed = match member.renew_alone(SystemTime::now()) {
            Some(renewed) => renewed,
            None => {
                let channels = Channels::new(member.credentials.client_config()?);
                join::renew(&channels, &member.membership().managers).await
            }
        };
        renewed.map_err(|error| {
            let own = member.credentials.identity();
            error.context(own.times(SystemTime::now()))
        })?
    };
    let due = identity.validity().renewal_time();
    let role = identity.peer().role;
    let (_turn, member) = node.turn(follower).await.context(LEFT)?;
    member.take_role(identity, unlock.as_ref()).await?;
    member.set_problem(None);
    tracing::info!(?role, why, "certificate renewed");
    Ok(due)
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_manager_ca::{Authority, Request, Root, Subject, next_root, rotated};
    use skep_types::{ClusterId, Node, NodeId, Role, RootCa, Timestamp};

    fn authority() -> RootCa {
        let root = Root::generate(SystemTime::now()).unwrap();
        RootCa::new(root.certificate().pem().to_owned(), root.key_pem())
    }

    fn trusted(root_ca: &RootCa) -> CaBundle {
        Authority::of(root_ca).unwrap().trusted().clone()
    }

    /// A worker's certificate, on a node that trusts what `knows` does.
    fn worker(root_ca: &RootCa, knows: &RootCa) -> Identity {
        let key = Request::generate().unwrap();
        let subject = Subject {
            node: NodeId::from_bits(1),
            role: Role::Worker,
            cluster: ClusterId::from_bits(2),
        };
        let day = Duration::from_secs(24 * 3600);
        let authority = Authority::of(root_ca).unwrap();
        let issued = authority.issue(key.pem(), &subject, day, SystemTime::now());
        key.complete(&issued.unwrap().pem, trusted(knows)).unwrap()
    }

    fn told(role: Role, root_ca: &RootCa) -> Told {
        Told {
            node: Node {
                id: NodeId::from_bits(1),
                meta: Default::default(),
                spec: Default::default(),
                description: Default::default(),
                status: Default::default(),
                role,
                role_since: Timestamp(0),
                drain_since: None,
                manager: None,
                mesh: None,
            },
            managers: Vec::new(),
            root_ca: trusted(root_ca).pem().to_owned(),
            mesh_subnet: "10.255.0.0/16".parse().unwrap(),
        }
    }

    fn what(told: Option<&Told>, identity: &Identity, now: SystemTime) -> &'static str {
        let due = SystemTime::now() + Duration::from_secs(3600);
        match next(told, identity, due, now) {
            Next::Nothing(_) => "nothing",
            Next::Trust(_) => "trust",
            Next::Renew(_) => "renew",
        }
    }

    #[test]
    fn a_node_renews_when_its_role_or_its_time_says_so() {
        let root = authority();
        let (own, now) = (worker(&root, &root), SystemTime::now());
        assert_eq!(what(None, &own, now), "nothing");
        assert_eq!(what(Some(&told(Role::Worker, &root)), &own, now), "nothing");
        assert_eq!(what(Some(&told(Role::Manager, &root)), &own, now), "renew");
        let late = now + Duration::from_secs(7200);
        assert_eq!(what(None, &own, late), "renew");
        let early = now - Duration::from_secs(7200);
        assert_eq!(what(None, &own, early), "renew", "the clock was set back");
    }

    #[test]
    fn a_node_follows_a_rotation_from_wherever_it_is() {
        let before = authority();
        let during = RootCa {
            next: Some(next_root(&before, None, SystemTime::now()).unwrap()),
            ..before.clone()
        };
        let after = rotated(&during, Timestamp(0)).unwrap();
        let (both, new) = (told(Role::Worker, &during), told(Role::Worker, &after));
        let now = SystemTime::now();
        let old = worker(&before, &before);
        assert_eq!(what(Some(&both), &old, now), "renew");
        assert_eq!(what(Some(&new), &old, now), "renew", "it was away");
        // It joined meanwhile, and knows the token's root alone.
        let joined = worker(&during, &before);
        assert_eq!(what(Some(&both), &joined, now), "trust");
        let renewed = worker(&during, &during);
        assert_eq!(what(Some(&both), &renewed, now), "nothing");
        assert_eq!(what(Some(&new), &renewed, now), "trust");
        assert_eq!(what(Some(&new), &worker(&after, &after), now), "nothing");
    }
}
