//! The line to the managers: a session with one of them, and when it ends one
//! with the next.
//!
//! Leaves what to do to the node's [`Work`], what is said in a session to
//! `session`, and whom to ask to `search`.

use crate::reporter::Reporter;
use crate::search::Search;
use crate::session::{self, Ended, Held, Open};
use async_trait::async_trait;
use ipnet::Ipv4Net;
use skep_proto::pb;
use skep_proto::pb::dispatcher_client::DispatcherClient;
use skep_transport::Channels;
use skep_types::assignment::AssignmentSet;
use skep_types::{Node, NodeDescription, NodeId};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tonic::transport::Channel;

/// A node that does not talk to its preferred manager looks after about this long
/// whether it can.
const MOVE_AFTER: Duration = Duration::from_secs(30);
/// Pause after a new session that a manager did not open while the old one goes on.
const RENEW_AFTER: Duration = Duration::from_secs(1);

/// What the managers said of this node last.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The node as they know it; its role may have changed.
    pub node: Node,
    /// Where managers are.
    pub managers: Vec<String>,
    /// The root certificate, PEM.
    pub root_ca: String,
    /// Addresses of the nodes in the mesh.
    pub mesh_subnet: Ipv4Net,
}

/// The node as its managers' tasks see it. A simulation has its own.
#[async_trait]
pub trait Work: Send + Sync + 'static {
    /// This is all that the node is to do, in a mesh with these addresses.
    async fn assign(&self, set: Arc<AssignmentSet>, mesh: Ipv4Net);

    /// Sends the output of tasks to the manager that asked for it.
    fn logs(
        &self,
        client: DispatcherClient<Channel>,
        request: pb::LogRequest,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// How a manager is reached, and what is said to it.
pub struct Line {
    /// Does what managers say.
    pub work: Arc<dyn Work>,
    /// Says where tasks are.
    pub reporter: Reporter,
    /// Is given what the managers say of this node.
    pub told: watch::Sender<Option<Told>>,
    /// Channels that show this node's certificate.
    pub channels: Channels,
    /// Managers it knows of, until one names others.
    pub known: Vec<String>,
    /// What the node says of itself. A change, or what is no change but was
    /// sent, makes it open a new session over a new connection.
    pub described: watch::Receiver<NodeDescription>,
    /// Nothing, to begin with.
    pub held: Held,
}

impl Line {
    /// Keeps in touch with a manager. Ends only if none is known.
    pub async fn hold(self, node: NodeId) {
        let mut search = Search::new(node);
        let mut described = self.described.clone();
        while let Some(address) = search.next(&self.managers()) {
            described.mark_unchanged();
            let (address, ended) = match self.open(&address, search.limit()).await {
                Ok(open) => self.run(address, open, &search, &mut described).await,
                Err(ended) => (address, ended),
            };
            tracing::info!(manager = %address, reason = %ended.reason, "session ended");
            // A broken connection is made anew, not waited for.
            self.channels.forget(&address);
            let pause = search.ended(&address, &ended, self.managers().len());
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
        }
        tracing::error!("no manager is known");
    }

    fn managers(&self) -> Vec<String> {
        match self.told.borrow().as_ref() {
            Some(told) if !told.managers.is_empty() => told.managers.clone(),
            _ => self.known.clone(),
        }
    }

    async fn open(&self, address: &str, limit: Duration) -> Result<Open, Ended> {
        let channel = self.channels.to(address);
        let channel = channel.map_err(|error| Ended::unopened(error.to_string()))?;
        let description = self.described.borrow().clone();
        session::open(channel, &description, limit).await
    }

    /// Runs a session, and when it can be had, one with the preferred manager in
    /// its place. Returns which one ended, and why.
    async fn run(
        &self,
        mut address: String,
        mut open: Open,
        search: &Search,
        described: &mut watch::Receiver<NodeDescription>,
    ) -> (String, Ended) {
        loop {
            // The old session goes on until the new one is open.
            let session = session::run(self, open);
            tokio::pin!(session);
            (address, open) = tokio::select! {
                ended = &mut session => return (address, ended),
                preferred = self.preferred(&address, search) => {
                    tracing::info!(
                        manager = %preferred.0,
                        "this node talks to its preferred manager again"
                    );
                    // It would be kept, and show a certificate that is outlived.
                    self.channels.forget(&address);
                    preferred
                }
                () = is_new(described) => {
                    match self.renewed(&address, search, described, session).await {
                        Ok(open) => (address, open),
                        Err(ended) => return (address, ended),
                    }
                }
            };
        }
    }

    /// A session with the same manager over a new connection, for a node that
    /// describes itself otherwise or has another certificate. It is tried for as
    /// long as the old session goes on: a manager that has no new one to give is
    /// no reason to leave it.
    async fn renewed(
        &self,
        present: &str,
        search: &Search,
        described: &mut watch::Receiver<NodeDescription>,
        mut session: Pin<&mut impl Future<Output = Ended>>,
    ) -> Result<Open, Ended> {
        tracing::info!(manager = %present, "a new session, with what is new of this node");
        loop {
            described.mark_unchanged();
            self.channels.forget(present);
            let opening = self.open(present, search.limit());
            tokio::pin!(opening);
            let (opened, ended) = tokio::select! {
                opened = &mut opening => (opened, None),
                // The manager ends the old one when it opens the new one, so this
                // is not yet the end.
                ended = &mut session => (opening.await, Some(ended)),
            };
            match (opened, ended) {
                (Ok(open), _) => return Ok(open),
                (Err(_), Some(ended)) => return Err(ended),
                (Err(refused), None) => {
                    tracing::info!(manager = %present, reason = %refused.reason, "not yet");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(RENEW_AFTER.mul_f64(rand::random_range(0.5..1.5))) => {}
                ended = &mut session => return Err(ended),
            }
        }
    }

    /// Waits for a session with the preferred manager, if that is another one.
    async fn preferred(&self, present: &str, search: &Search) -> (String, Open) {
        loop {
            tokio::time::sleep(MOVE_AFTER.mul_f64(rand::random_range(0.5..1.5))).await;
            let preferred = search.preferred(&self.managers());
            let Some(preferred) = preferred.filter(|preferred| preferred != present) else {
                continue;
            };
            match self.open(&preferred, search.limit()).await {
                Ok(open) => return (preferred, open),
                Err(_) => self.channels.forget(&preferred),
            }
        }
    }
}

/// Waits until this node has something new to say. One that is being taken down
/// never does.
async fn is_new(described: &mut watch::Receiver<NodeDescription>) {
    // A copy: what is seen here has not been said yet.
    if described.clone().changed().await.is_err() {
        std::future::pending().await
    }
}
