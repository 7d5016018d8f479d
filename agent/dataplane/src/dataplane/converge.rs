//! One pass from what is to what should be. The order matters: the packet filter comes before the first
//! link, so that nothing is ever open that should be closed; links come before what uses them; removals come
//! last.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use skep_agent_planner::network::Desired;
use skep_agent_planner::network::kernel::{
    self, CONTAINER_LINK, LinkKind, State, Step, TUNNEL, WIREGUARD, WIREGUARD_OVERHEAD, diff,
    veth_name,
};
use skep_types::TaskId;

use super::usable::usable;
use super::{Applied, Inner, Progress};
use crate::error::Error;
use crate::links::{Links, Reading};
use crate::mesh::MeshLink;
use crate::ruleset;
use crate::{netns, settings};

impl Inner {
    /// See [`super::Dataplane::apply`].
    pub(super) async fn converge(self: &Arc<Self>, desired: &Desired) -> Result<Applied, Error> {
        let mut progress = self.progress.lock().await;
        if progress.ended {
            return Err(Error::Ended);
        }
        progress.desired = Some(desired.clone());
        self.pass(&mut progress, desired).await
    }

    /// Makes good what went away since the last pass: always when the mesh failed, or all there is if `all`.
    /// Tells whether there was anything.
    pub(super) async fn repair(self: &Arc<Self>, all: bool) -> Result<bool, Error> {
        let mut progress = self.progress.lock().await;
        let Some(desired) = progress.desired.clone() else {
            return Ok(false);
        };
        let failed = progress.mesh.as_ref().is_none_or(MeshLink::failed);
        if !failed && !all {
            return Ok(false);
        }
        let applied = self.pass(&mut progress, &desired).await?;
        Ok(failed || applied.steps > 0)
    }

    async fn pass(
        self: &Arc<Self>,
        progress: &mut Progress,
        desired: &Desired,
    ) -> Result<Applied, Error> {
        let mut applied = Applied::default();
        let mut found = self.links.read().await?;
        let routes = found.underlay.routes();
        let here = |task| netns::exists(&self.netns_path(task));
        // It outlives the daemon, as WireGuard in the process does not.
        let mesh = found.state.links.contains_key(TUNNEL);
        let desired = Arc::new(usable(desired, &routes, mesh, here, &mut applied.failed)?);
        let mtu = mesh_mtu(&desired, &found);
        self.flows.expect(&desired);
        self.filter(&desired).await?;
        if self.mesh(&desired, progress, mtu).await? {
            // Routes went with the former interface, or when it was set down.
            found = self.links.read().await?;
        }
        self.resolver.publish(Arc::clone(&desired));
        self.node(&desired, &found.state, progress, mtu, &mut applied)
            .await?;
        for task in desired.endpoints.keys() {
            if !applied.failed.contains_key(task)
                && let Err(error) = self.container(&desired, *task, progress, mtu).await
            {
                progress.settled.remove(task);
                applied.failed.insert(*task, error);
            }
        }
        progress.mtu = mtu;
        self.forget(&desired, progress)?;
        Ok(applied)
    }

    async fn filter(self: &Arc<Self>, desired: &Arc<Desired>) -> Result<(), Error> {
        let (inner, desired) = (Arc::clone(self), Arc::clone(desired));
        let written = tokio::task::spawn_blocking(move || {
            let table = ruleset::node(&desired, &inner.outer);
            inner.rules().write(table)
        });
        written.await.map_err(|_| Error::Interrupted)?
    }

    /// WireGuard: the interface, then who is at its other ends. Tells whether the interface was touched.
    async fn mesh(
        &self,
        desired: &Desired,
        progress: &mut Progress,
        mtu: u32,
    ) -> Result<bool, Error> {
        let works = progress.mesh.as_ref().is_some_and(|link| !link.failed());
        let found = self.links.find(WIREGUARD).await?;
        let anew = !works || found.is_none();
        if anew {
            progress.mesh = None;
            // What a former engine left under this name has our address but nobody behind it. The kernel's
            // own is taken over with its sessions.
            if found.is_some_and(|seen| !seen.kernel_wireguard) {
                let remove = Step::RemoveLink(WIREGUARD.to_owned());
                self.links.apply(&remove, None).await?;
            }
            let (key, port) = (self.config.private_key, self.config.listen_port);
            let opening =
                tokio::task::spawn_blocking(move || MeshLink::open(WIREGUARD, key, port, mtu));
            progress.mesh = Some(opening.await.map_err(|_| Error::Interrupted)??);
        }
        let fits = !anew && found.is_some_and(|seen| seen.up && seen.mtu == mtu);
        if !fits {
            self.links.set_up(WIREGUARD, Some(mtu)).await?;
        }
        // Each time: it is not known whether it was done the last time, and looking costs next to nothing.
        settings::prepare_link(WIREGUARD, false)?;
        match &mut progress.mesh {
            Some(link) => link.set_peers(desired.peers.values()).map(|()| !fits),
            None => Err(Error::NoLink {
                name: WIREGUARD.to_owned(),
            }),
        }
    }

    /// The node's own namespace, and the containers' namespaces that links go into.
    async fn node(
        &self,
        desired: &Desired,
        found: &State,
        progress: &mut Progress,
        mtu: u32,
        applied: &mut Applied,
    ) -> Result<(), Error> {
        let wanted = kernel::host(desired, mtu);
        let owners: BTreeMap<String, TaskId> = desired
            .endpoints
            .keys()
            .map(|task| (veth_name(*task), *task))
            .collect();
        for task in desired.endpoints.keys() {
            let path = self.netns_path(*task);
            if !netns::exists(&path) {
                progress.settled.remove(task);
                if let Err(error) = netns::create(path).await {
                    applied.failed.insert(*task, error);
                }
            }
        }
        for step in diff(&wanted, found) {
            let owner = link_of(&step).and_then(|link| owners.get(link)).copied();
            if owner.is_some_and(|task| applied.failed.contains_key(&task)) {
                continue;
            }
            let namespace = match &step {
                Step::AddLink(_, link) => match link.kind {
                    LinkKind::Veth {
                        task: Some(task), ..
                    } => {
                        progress.settled.remove(&task);
                        Some(self.netns_path(task))
                    }
                    _ => None,
                },
                _ => None,
            };
            tracing::debug!(?step, "network");
            applied.steps += 1;
            match (self.links.apply(&step, namespace.as_deref()).await, owner) {
                (Err(error), Some(task)) => {
                    applied.failed.insert(task, error);
                }
                (result, _) => result?,
            }
        }
        Ok(())
    }

    /// The inside of a container.
    async fn container(
        &self,
        desired: &Desired,
        task: TaskId,
        progress: &mut Progress,
        mtu: u32,
    ) -> Result<(), Error> {
        let Some(endpoint) = desired.endpoints.get(&task) else {
            return Ok(());
        };
        let wanted = kernel::container(desired, endpoint);
        let same_mtu = progress.mtu == 0 || progress.mtu == mtu;
        if progress.settled.get(&task) == Some(&wanted) && same_mtu {
            return Ok(());
        }
        let path = self.netns_path(task);
        // How the inside of one that outlives a network should be is not known any more: it stays as it is.
        let known = |network| desired.networks.contains_key(network);
        if endpoint.attachments.iter().all(|(id, _)| known(id)) {
            let links = Links::open_container(path.clone()).await?;
            links.set_up("lo", None).await?;
            links.set_up(CONTAINER_LINK, Some(mtu)).await?;
            let found = links.read().await?.state;
            for step in diff(
                &wanted,
                &State {
                    links: BTreeMap::new(),
                    ..found
                },
            ) {
                links.apply(&step, None).await?;
            }
        }
        self.resolver.open(task, path).await?;
        progress.settled.insert(task, wanted);
        Ok(())
    }

    /// What is no longer wanted and is not a link: namespaces, resolvers, flows to tasks that are gone.
    fn forget(&self, desired: &Desired, progress: &mut Progress) -> Result<(), Error> {
        self.resolver
            .keep_only(|task| desired.endpoints.contains_key(&task));
        let wanted: BTreeSet<TaskId> = desired.endpoints.keys().copied().collect();
        progress.settled.retain(|task, _| wanted.contains(task));
        self.remove_namespaces(&wanted)?;
        self.flows.forget();
        Ok(())
    }
}

/// The link a step is about.
fn link_of(step: &Step) -> Option<&str> {
    match step {
        Step::AddLink(name, _)
        | Step::SetMtu(name, _)
        | Step::RemoveLink(name)
        | Step::AddAddress(name, _)
        | Step::RemoveAddress(name, _)
        | Step::SetNeighbour(name, _, _)
        | Step::RemoveNeighbour(name, _) => Some(name),
        Step::SetRoute(_, _, route) | Step::RemoveRoute(_, _, route) => route.link.as_deref(),
        Step::SetForward(..) | Step::RemoveForward(..) | Step::AddRule(_) | Step::RemoveRule(_) => {
            None
        }
    }
}

/// The largest packet of the mesh.
fn mesh_mtu(desired: &Desired, found: &Reading) -> u32 {
    let peers = desired
        .peers
        .values()
        .filter_map(|peer| match peer.endpoint.ip() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
    // Loopback carries 65,536 bytes, which nothing else does; IPv4 needs 576 at the very least.
    let underlay = || found.underlay.mtu(peers).min(9000);
    desired
        .mesh
        .mtu
        .unwrap_or_else(|| underlay().saturating_sub(WIREGUARD_OVERHEAD).max(576))
}
