//! How a node tells the managers that it goes.

use crate::door::Door;
use crate::member::Member;
use anyhow::{Result, anyhow, bail};
use skep_manager::Control;
use skep_manager_ca::Credentials;
use skep_proto::pb;
use skep_proto::pb::raft_client::RaftClient;
use skep_transport::{Channels, redirected_to};
use skep_types::Role;
use std::sync::Arc;
use std::time::Duration;
use tonic::Code;

/// How long a manager that leaves waits to be removed by the others.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a manager has to answer who goes, and how long until it is asked again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(500);

/// Why a manager should not just leave, and what to do instead.
pub(crate) async fn why_not_leave(door: Door) -> String {
    let known = match door {
        Door::Open(control) => reachability(&control).await,
        Door::Absent | Door::Shut(_) => None,
    };
    format!(
        "You are attempting to leave the swarm on a node that is participating as a manager. {}",
        consequence(known)
    )
}

/// How many managers answer, and how many do not; `None` without a majority.
async fn reachability(control: &Control) -> Option<(usize, usize)> {
    use pb::control_server::Control as _;
    let request = pb::ReadRequest {
        nodes: true,
        ..pb::ReadRequest::default()
    };
    let read = control.read(tonic::Request::new(request)).await.ok()?;
    let nodes = read.into_inner().nodes.into_iter();
    let managers = nodes.filter(|view| view.node.as_ref().is_some_and(|n| n.manager.is_some()));
    let (answer, silent): (Vec<_>, Vec<_>) =
        managers.partition(|view| view.reachability() == pb::Reachability::Reachable);
    Some((answer.len(), silent.len()))
}

fn consequence(managers: Option<(usize, usize)>) -> String {
    const LOST: &str = "The only way to restore a swarm that has lost consensus is to \
                        reinitialize it with `--force-new-cluster`. Use `--force` to suppress \
                        this message.";
    match managers {
        None => format!("Doing so may lose the consensus of your cluster. {LOST}"),
        Some((1, 0)) => "Removing the last manager erases all current state of the swarm. Use \
                         `--force` to ignore this message."
            .to_owned(),
        // The others shrink their quorum with it, if they can agree on that.
        Some((answer, silent)) if answer.max(1) * 2 - 2 < answer + silent => format!(
            "Removing this node leaves {} managers out of {}. Without a Raft quorum your swarm \
             will be inaccessible. {LOST}",
            answer.max(1) - 1,
            answer + silent
        ),
        Some(_) => "Demote it first with \"skep node demote self\", or use `--force`: the other \
                    managers then go on without it."
            .to_owned(),
    }
}

/// Has the others go on without this node at once: as a manager it loses its
/// seat first, then it is Down.
pub(crate) async fn say_goodbye(member: &Member) -> Result<()> {
    if member.is_manager() {
        announce(&member.credentials, member.membership().managers).await?;
        // Its vote may be needed for its own removal.
        let mut told = member.told();
        let gone = told.wait_for(|told| {
            told.as_ref()
                .is_some_and(|told| told.node.role == Role::Worker)
        });
        if tokio::time::timeout(REMOVAL_TIMEOUT, gone).await.is_err() {
            bail!("the others have not yet removed this manager");
        }
    }
    // A session would be taken for a sign of life.
    member.disconnect();
    announce(&member.credentials, member.membership().managers).await
}

/// Says that the node with these credentials goes.
pub(crate) async fn announce(credentials: &Arc<Credentials>, managers: Vec<String>) -> Result<()> {
    let channels = Channels::new(credentials.client_config()?);
    let mut last = anyhow!("no manager is known");
    let mut ask = managers.clone();
    for tried in 0..5 {
        // They may have been slow, or about to elect a leader.
        if tried > 0 && ask.is_empty() {
            tokio::time::sleep(PAUSE).await;
            ask.clone_from(&managers);
        }
        let Some(manager) = ask.pop() else { break };
        let mut client = RaftClient::new(channels.to(&manager)?);
        let call = client.leave(pb::RaftLeaveRequest {});
        match tokio::time::timeout(ANSWER_TIMEOUT, call).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(status)) if status.code() == Code::FailedPrecondition => {
                bail!("{}", status.message())
            }
            Ok(Err(status)) => {
                ask.extend(redirected_to(&status));
                last = anyhow!("{}", status.message());
            }
            Err(_) => last = anyhow!("{manager} does not answer"),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::new_swarm::NewSwarm;
    use skep_types::{ClusterSpec, NodeSpec};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::net::TcpListener;

    #[test]
    fn a_manager_is_told_what_its_leave_would_do() {
        for (managers, words) in [
            (None, "may lose the consensus"),
            (Some((1, 0)), "erases all current state"),
            (Some((2, 0)), "node demote self"),
            (Some((3, 0)), "node demote self"),
            (Some((2, 1)), "leaves 1 managers out of 3"),
            (Some((3, 1)), "node demote self"),
            (Some((3, 2)), "leaves 2 managers out of 5"),
        ] {
            let said = consequence(managers);
            assert!(said.contains(words), "{managers:?}: {said}");
        }
    }

    #[tokio::test]
    async fn a_sole_manager_that_did_not_answer_is_asked_again() {
        let listen = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listen.local_addr().unwrap();
        let spec = ClusterSpec::default();
        let swarm = NewSwarm::new(spec, address, address, NodeSpec::default(), false).unwrap();
        let credentials = Credentials::new(swarm.identity).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let hangs_up = tokio::spawn(async move {
            while listen.accept().await.is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let told = announce(&credentials, vec![address.to_string()]).await;
        hangs_up.abort();
        assert!(told.is_err());
        assert!(asked.load(Ordering::Relaxed) > 1, "{told:?}");
    }
}
