//! This node's seat among the managers: how it is taken, kept and given up.
//!
//! A manager whose log cannot be used must not come back under its Raft id: it
//! would have forgotten what it promised, and might vote twice in a term. Its
//! node goes on as an agent and says what is wrong until the other managers
//! have given it another seat.

use super::{Member, anew};
use crate::door::Door;
use crate::files::Membership;
use anyhow::{Result, anyhow, bail};
use skep_agent::Told;
use skep_manager::{LogState, Manager, Start, StartError, join_raft};
use skep_manager_ca::Identity;
use skep_transport::Channels;
use skep_types::{NodeId, Role, UnlockKey, chain};
use std::fmt;
use std::time::Duration;

/// How long a new manager waits for its vote before it goes on without.
const SEAT_TIMEOUT: Duration = Duration::from_secs(10);

/// A node's seat among the managers.
pub(super) enum Seat {
    /// It has none.
    Empty,
    /// Its manager runs.
    Taken(Manager),
    /// It has one, and cannot take it.
    Lost(Fault),
}

impl Seat {
    pub(super) fn manager(&self) -> Option<&Manager> {
        match self {
            Seat::Taken(manager) => Some(manager),
            Seat::Empty | Seat::Lost(_) => None,
        }
    }

    /// What the socket answers those who ask about the swarm.
    pub(super) fn door(&self) -> Door {
        match self {
            Seat::Empty => Door::Absent,
            Seat::Taken(manager) => Door::Open(manager.control()),
            Seat::Lost(fault) => Door::Shut(fault.to_string()),
        }
    }

    /// What a node whose certificate is a manager's does next. `elsewhere`: the
    /// managers name another seat than this.
    fn next(&self, elsewhere: bool) -> Next {
        match self {
            Seat::Empty => Next::Ask,
            _ if elsewhere => Next::Ask,
            Seat::Taken(_) => Next::Stay,
            Seat::Lost(fault) if fault.lasts() => Next::Stay,
            // The others may be waiting for this one: there may be no leader to ask.
            Seat::Lost(_) => Next::Again,
        }
    }

    /// Why its manager takes no part, if it does not.
    pub(super) fn fault(&self) -> Option<String> {
        match self {
            Seat::Empty => None,
            Seat::Taken(manager) => manager.failure(),
            Seat::Lost(fault) => Some(fault.to_string()),
        }
    }
}

/// What a node does about its seat.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Nothing.
    Stay,
    /// Start the manager it has a seat for.
    Again,
    /// Ask the managers for the seat they have for it.
    Ask,
    /// Give it up.
    Leave,
}

/// A manager that did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManagerError {
    /// What this node remembers cannot be used.
    #[error("{0:#}")]
    Node(anyhow::Error),
    /// The manager itself.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Why a seat cannot be taken.
pub(super) struct Fault {
    error: ManagerError,
    node: NodeId,
}

impl Fault {
    pub(super) fn new(error: ManagerError, node: NodeId) -> Fault {
        Fault { error, node }
    }

    /// Whether it stays so until the other managers give this node another seat,
    /// or the daemon is another one.
    fn lasts(&self) -> bool {
        self.log() != LogState::Whole
    }

    fn log(&self) -> LogState {
        match &self.error {
            ManagerError::Start(error) => error.log_state(),
            ManagerError::Node(_) => LogState::Whole,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(&self.error))?;
        if self.log() == LogState::Lost {
            let node = self.node;
            write!(
                f,
                ". This node takes no part in deciding until it has a new log. On another manager, \
                 run \"skep node demote {node}\", then \"skep node promote {node}\". If it was the \
                 only manager, run \"skep swarm leave --force\" and \"skep swarm restore\" with a \
                 backup"
            )?;
        }
        Ok(())
    }
}

impl Member {
    /// Takes on the role of a newly issued certificate; a manager's came with
    /// the swarm's unlock key, if it has one.
    pub(crate) async fn take_role(
        &self,
        identity: Identity,
        unlock: Option<&UnlockKey>,
    ) -> Result<()> {
        let trusted = identity.ca().digest();
        let keyring = &self.parts.keyring;
        keyring.replace(identity, unlock, &self.credentials)?;
        self.agent.renewed(trusted);
        self.settle(None).await
    }

    /// Starts, changes or ends the manager, as the certificate and the managers
    /// say.
    pub(crate) async fn settle(&self, told: Option<&Told>) -> Result<()> {
        let raft_id = self.membership().raft_id;
        // What they said may be older than the seat; asked again, they know.
        let elsewhere = told.is_some_and(|told| {
            told.node.role == Role::Manager
                && told.node.manager.as_ref().map(|manager| manager.raft_id) != raft_id
        });
        let next = match self.credentials.identity().peer().role {
            Role::Manager => self.seat().next(elsewhere),
            Role::Worker if raft_id.is_some() || self.is_manager() => Next::Leave,
            Role::Worker => Next::Stay,
        };
        match next {
            Next::Stay => Ok(()),
            Next::Again => {
                let place = self.membership();
                let anew = place.reform.is_some();
                let started = self.start_seat(place).await;
                if anew && self.membership().reform.is_none() {
                    self.reconnect()?;
                }
                started
            }
            Next::Ask => self.promote().await,
            Next::Leave => self.demote().await,
        }
    }

    /// Takes the seat that the managers have for this node: the one it has, or
    /// a new one with a new log.
    async fn promote(&self) -> Result<()> {
        let known = self.membership();
        let raft_id = join_raft(
            &Channels::new(self.credentials.client_config()?),
            &known.managers,
            &known.advertise,
        )
        .await?;
        if let Some(own) = known.raft_id.filter(|own| raft_id < *own) {
            // Ids only grow: it was said before this node had its seat.
            bail!("the managers named seat {raft_id}, and this node has {own} by now");
        }
        let same = known.raft_id == Some(raft_id);
        let settled = match &*self.seat() {
            Seat::Empty => false,
            Seat::Taken(_) => same,
            Seat::Lost(fault) => same && fault.lasts(),
        };
        if settled {
            return Ok(());
        }
        self.stop_manager().await;
        let membership = Membership {
            raft_id: Some(raft_id),
            has_log: known.has_log && same,
            // The group has a leader: it is not lost.
            reform: None,
            ..known
        };
        if !same {
            // A log of an earlier time as a manager is another member's.
            self.parts.files.forget_raft()?;
        }
        self.remember(membership.clone())?;
        self.start_seat(membership).await
    }

    /// Starts the manager at this place, and remembers what came of it. Whether
    /// the group was made anew, if that was asked for, is in the membership then.
    pub(super) async fn start_seat(&self, mut place: Membership) -> Result<()> {
        let asked = place.clone();
        let (parts, credentials) = (&self.parts, &self.credentials);
        let started = anew::start_manager(parts, &mut place, credentials, Start::Member).await;
        place.has_log |= started.is_ok();
        // It is so, whether or not the disk takes it.
        self.is_at(place.clone());
        match started {
            Ok(manager) => {
                drop(self.sit(Seat::Taken(manager)));
                tracing::info!(raft.id = place.raft_id, "this node is a manager now");
                self.save()
            }
            Err(error) => {
                let reason = chain(&error);
                let node = credentials.identity().peer().node;
                drop(self.sit(Seat::Lost(Fault::new(error, node))));
                if place != asked {
                    self.save()?;
                }
                Err(anyhow!(reason).context("the manager does not start"))
            }
        }
    }

    /// Waits until this node has a vote, if it is to have one.
    pub(crate) async fn seated(&self) {
        let seated = self.seat().manager().map(Manager::seated);
        if let Some(seated) = seated
            && !matches!(tokio::time::timeout(SEAT_TIMEOUT, seated).await, Ok(true))
        {
            tracing::warn!("this manager has no vote yet; the others go on trying to let it in");
        }
    }

    async fn demote(&self) -> Result<()> {
        self.stop_manager().await;
        self.remember(Membership {
            raft_id: None,
            has_log: false,
            reform: None,
            ..self.membership()
        })?;
        self.parts.files.forget_raft()?;
        self.parts.keyring.forget()?;
        tracing::info!("this node is a worker now");
        Ok(())
    }

    pub(super) async fn stop_manager(&self) {
        if let Seat::Taken(manager) = self.sit(Seat::Empty) {
            manager.stop().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::new_swarm::NewSwarm;
    use crate::node::tests::outside;
    use skep_manager_ca::Credentials;
    use skep_types::{ClusterSpec, NodeSpec};
    use std::net::TcpListener;

    #[tokio::test]
    async fn what_may_pass_is_tried_again_without_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let parts = outside(dir.path(), &[]).await.parts;
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let spec = ClusterSpec::default();
        let swarm = NewSwarm::new(spec, address, address, NodeSpec::default(), false).unwrap();
        let credentials = Credentials::new(swarm.identity).unwrap();
        let node = credentials.identity().peer().node;
        let mut place = swarm.membership;

        // Its log is gone, which stays so; its port is taken, which may pass.
        place.has_log = true;
        let places = [
            ("127.0.0.1:0".to_owned(), Next::Stay),
            (address.to_string(), Next::Again),
        ];
        for (listen, again) in places {
            place.listen = listen;
            let start = Start::Member;
            let error = anew::start_manager(&parts, &mut place, &credentials, start).await;
            let seat = Seat::Lost(Fault::new(error.err().unwrap(), node));
            assert_eq!(seat.next(false), again, "{:?}", seat.fault());
            assert_eq!(seat.next(true), Next::Ask);
        }
        assert_eq!(Seat::Empty.next(false), Next::Ask);
    }

    #[tokio::test]
    async fn a_group_made_anew_is_remembered_though_its_manager_does_not_start() {
        let dir = tempfile::tempdir().unwrap();
        let parts = outside(dir.path(), &[]).await.parts;
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let spec = ClusterSpec::default();
        let swarm = NewSwarm::new(spec, address, address, NodeSpec::default(), false).unwrap();
        let credentials = Credentials::new(swarm.identity).unwrap();
        let mut place = swarm.membership;
        let first = anew::start_manager(&parts, &mut place, &credentials, swarm.start).await;
        first.unwrap().stop().await;

        let taken = TcpListener::bind(address).unwrap();
        place.has_log = true;
        place.reform = Some(77);
        let start = async |place: &mut Membership| {
            anew::start_manager(&parts, place, &credentials, Start::Member).await
        };
        assert!(start(&mut place).await.is_err());
        assert_eq!((place.raft_id, place.reform), (Some(77), None));
        drop(taken);
        start(&mut place).await.unwrap().stop().await;

        // One that is not made leaves what is remembered as it was.
        let other = Membership {
            raft_id: Some(5),
            reform: Some(99),
            ..place
        };
        let mut place = other.clone();
        assert!(start(&mut place).await.is_err());
        assert_eq!(place, other);
    }
}
