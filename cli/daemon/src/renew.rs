//! Keeps the node's certificate fresh and its role what the managers want.

use crate::join;
use crate::node::SwarmNode;
use anyhow::{Result, bail};
use skep_agent::Told;
use skep_manager_ca::Credentials;
use skep_transport::Channels;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// Pause after a renewal that did not succeed.
const RETRY: Duration = Duration::from_secs(5);

/// Follows what the managers say of this node, until it leaves.
pub(crate) async fn follow(node: SwarmNode) {
    let (told, credentials) = match node.member.read().await.as_ref() {
        Some(member) => (member.told(), member.credentials.clone()),
        None => return,
    };
    tokio::spawn(run(node, told, credentials));
}

async fn run(
    node: SwarmNode,
    mut told: watch::Receiver<Option<Told>>,
    credentials: Arc<Credentials>,
) {
    let mut unsettled;
    let mut due = credentials.identity().validity().renewal_time();
    loop {
        let now = told.borrow_and_update().clone();
        let identity = credentials.identity();
        let role_changed = now
            .as_ref()
            .is_some_and(|told| told.node.role != identity.peer().role);
        {
            let mut slot = node.member.write().await;
            // The node has left, and may be in another swarm by now.
            let Some(member) = slot
                .as_mut()
                .filter(|m| Arc::ptr_eq(&m.credentials, &credentials))
            else {
                return;
            };
            if let Some(told) = &now
                && let Err(error) = member.remember_managers(told.managers.clone())
            {
                tracing::warn!(%error, "managers not remembered");
            }
            if !role_changed
                && !member.is_settled()
                && let Err(error) = member.settle().await
            {
                tracing::warn!(error = %format!("{error:#}"), "role not taken on yet");
                unsettled = true;
            } else {
                unsettled = false;
            }
        }
        let mut pause = due.duration_since(SystemTime::now()).unwrap_or_default();
        if unsettled {
            pause = pause.min(RETRY);
        }
        if role_changed || due <= SystemTime::now() {
            match renew(&node, &credentials).await {
                Ok(()) => {
                    due = credentials.identity().validity().renewal_time();
                    tracing::info!(role = ?credentials.identity().peer().role, "certificate renewed");
                    continue;
                }
                Err(error) => {
                    tracing::warn!(error = %format!("{error:#}"), "certificate not renewed");
                    pause = RETRY;
                }
            }
        }
        tokio::select! {
            changed = told.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn renew(node: &SwarmNode, credentials: &Arc<Credentials>) -> Result<()> {
    let managers = match node.member.read().await.as_ref() {
        Some(member) => member.membership.managers.clone(),
        None => bail!("the node has left its swarm"),
    };
    let channels = Channels::new(credentials.client_config()?);
    let identity = join::renew(&channels, &managers, &credentials.identity()).await?;
    match node.member.write().await.as_mut() {
        Some(member) if Arc::ptr_eq(&member.credentials, credentials) => {
            member.take_role(identity).await
        }
        _ => bail!("the node has left its swarm"),
    }
}
