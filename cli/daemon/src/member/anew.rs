//! A manager that makes the group anew out of what it has, after most others
//! were lost. What was begun is ended by the next daemon, if need be: the node
//! remembers the id of the new group before it touches the log.

use super::seat::ManagerError;
use super::{Member, Parts, description, raft_config};
use crate::files::Membership;
use anyhow::{Context, Result, anyhow, bail};
use skep_manager::{Manager, Start, StartError, fresh_raft_id, reform};
use skep_manager_ca::Credentials;
use std::sync::Arc;

/// Starts the manager of this node, in the group made anew if that was asked
/// for; then `membership` is the new one, for the caller to remember, also if
/// its manager does not start.
pub(super) async fn start_manager(
    parts: &Parts,
    membership: &mut Membership,
    credentials: &Arc<Credentials>,
    start: Start,
) -> Result<Manager, ManagerError> {
    let no_seat = || ManagerError::Node(anyhow!("this node is not a manager"));
    let mut raft_id = membership.raft_id.ok_or_else(no_seat)?;
    if let Some(fresh) = membership.reform {
        let config = raft_config(parts, membership, fresh)?;
        if reform(&config, raft_id).await.is_err() {
            // The disk may have failed after it was done; asked again, it says so.
            reform(&config, raft_id).await.map_err(StartError::Raft)?;
        }
        raft_id = fresh;
        *membership = Membership {
            raft_id: Some(fresh),
            reform: None,
            managers: vec![membership.advertise.clone()],
            ..membership.clone()
        };
    }
    super::start_manager(parts, membership, credentials, raft_id, start).await
}

impl Member {
    /// Makes this manager the only one of its swarm, at the place given. Tasks,
    /// their containers and all objects stay as they are.
    pub(crate) async fn reform(&self, place: Membership) -> Result<()> {
        let former = place.raft_id.context("this node is not a manager")?;
        let known = self.seat().manager().map(Manager::snapshot);
        let last = known.and_then(|known| Some(known.cluster()?.last_raft_id));
        let fresh = || fresh_raft_id(last.unwrap_or(former).max(former));
        let before = Membership {
            reform: None,
            ..self.membership()
        };
        let membership = Membership {
            reform: Some(place.reform.unwrap_or_else(fresh)),
            ..place
        };
        self.remember(membership.clone())?;
        self.stop_manager().await;
        let Err(error) = self.start_seat(membership).await else {
            return self.reconnect();
        };
        let reason = error.root_cause().to_string();
        if self.membership().reform.is_none() {
            self.reconnect()?;
            bail!("the group was made anew, but {error:#}");
        }
        // Or the next daemon would make a second group, when others are back.
        if let Err(kept) = self.remember(before.clone()) {
            self.reconnect()?;
            bail!(
                "the group is not made anew yet: {reason}. It is tried again, because this \
                 cannot be taken back: {kept:#}"
            );
        }
        // As the former member; what is wrong with it is said like at any start.
        drop(self.start_seat(before).await);
        self.reconnect()?;
        bail!("the group was not made anew: {reason}")
    }

    /// Has the agent look for the managers that are known now. What was told
    /// before is forgotten; so the seat is looked after at once.
    pub(super) fn reconnect(&self) -> Result<()> {
        let membership = self.membership();
        let key = self.dataplane.public_key();
        let trusted = self.credentials.identity().ca().digest();
        let about = description(&self.parts, &membership, trusted, key)?;
        let tls = self.credentials.client_config()?;
        self.agent.reconnect(tls, membership.managers, about);
        Ok(())
    }
}
