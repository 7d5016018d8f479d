//! What the daemon answers about its own node.

use crate::describe;
use crate::files::Membership;
use crate::lock::LOCKED;
use crate::node::{Standing, SwarmNode};
use bytes::Bytes;
use skep_agent_images::{Credentials, Image, Progress, Reference, Removed, Stage};
use skep_proto::{id_bytes, pb};
use skep_types::chain;
use std::collections::BTreeSet;
use std::pin::Pin;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tokio_util::io::{StreamReader, SyncIoBridge};
use tonic::{Request, Response, Status, Streaming};

/// Bytes of a backup in one message.
const PIECE_BYTES: usize = 1 << 20;
/// The largest backup that is taken: it is held in memory, as the swarm is.
pub(crate) const BACKUP_MAX_BYTES: usize = 1 << 30;

/// The service.
pub(crate) struct LocalNode {
    pub(crate) node: SwarmNode,
}

fn failed(error: &anyhow::Error) -> Status {
    Status::failed_precondition(format!("{error:#}"))
}

/// Makes a move to its end, also when who asked for it goes away.
async fn moved<T: Send + 'static>(
    work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
) -> Result<Response<T>, Status> {
    match tokio::spawn(work).await {
        Ok(Ok(answer)) => Ok(Response::new(answer)),
        Ok(Err(error)) => Err(failed(&error)),
        Err(error) => Err(Status::internal(error.to_string())),
    }
}

#[tonic::async_trait]
impl pb::local_node_server::LocalNode for LocalNode {
    type BackupStream = Pin<Box<dyn Stream<Item = Result<pb::BackupPiece, Status>> + Send>>;
    type PullImageStream = Pin<Box<dyn Stream<Item = Result<pb::ImageProgress, Status>> + Send>>;

    async fn info(
        &self,
        _request: Request<pb::InfoRequest>,
    ) -> Result<Response<pb::InfoResponse>, Status> {
        let parts = &self.node.parts;
        let machine = describe::machine(&parts.args).map_err(|error| failed(&error))?;
        let unified = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let mut info = pb::InfoResponse {
            version: describe::VERSION.to_owned(),
            state: "inactive".to_owned(),
            hostname: machine.hostname,
            os: machine.platform.os,
            architecture: machine.platform.architecture,
            cpus_nano: machine.cpus.0,
            memory_bytes: machine.memory.0,
            data_dir: parts.args.data_dir.display().to_string(),
            images: u32::try_from(parts.images.list().len()).unwrap_or(u32::MAX),
            kernel: describe::kernel(),
            cgroup_version: if unified { "2" } else { "1" }.to_owned(),
            ..pb::InfoResponse::default()
        };
        if let Standing::Locked(locked) = self.node.standing() {
            let Membership {
                advertise,
                managers,
                ..
            } = locked.membership.clone();
            info.state = "locked".to_owned();
            info.error = LOCKED.to_owned();
            info.node_id = id_bytes(locked.peer.node);
            info.cluster_id = id_bytes(locked.peer.cluster);
            info.role = pb::Role::from(locked.peer.role).into();
            info.address = advertise;
            info.managers = managers;
        }
        if let Some(member) = self.node.member() {
            let membership = member.membership();
            let identity = member.credentials.identity();
            let peer = identity.peer();
            info.state = "active".to_owned();
            info.node_id = id_bytes(peer.node);
            info.cluster_id = id_bytes(peer.cluster);
            info.role = pb::Role::from(peer.role).into();
            info.address = membership.advertise;
            info.managers = membership.managers;
            info.leader = member.is_leader();
            info.containers = u32::try_from(member.task_count()).unwrap_or(u32::MAX);
            info.wireguard = member.wireguard().await.to_owned();
            let expired = identity.check_time(std::time::SystemTime::now()).err();
            let expired = expired.map(|error| error.to_string());
            if let Some(problem) = expired.or_else(|| member.fault()) {
                info.state = "error".to_owned();
                info.error = problem;
            } else if let Some(problem) = member.problem() {
                info.error = problem;
            }
        }
        Ok(Response::new(info))
    }

    async fn init(
        &self,
        request: Request<pb::InitRequest>,
    ) -> Result<Response<pb::InitResponse>, Status> {
        let node = self.node.clone();
        moved(async move { node.init(request.into_inner()).await }).await
    }

    async fn join(
        &self,
        request: Request<pb::JoinSwarmRequest>,
    ) -> Result<Response<pb::JoinSwarmResponse>, Status> {
        let node = self.node.clone();
        moved(async move { node.join(request.into_inner()).await }).await
    }

    async fn leave(
        &self,
        request: Request<pb::LeaveRequest>,
    ) -> Result<Response<pb::LeaveResponse>, Status> {
        let node = self.node.clone();
        moved(async move {
            node.leave(request.into_inner().force).await?;
            Ok(pb::LeaveResponse {})
        })
        .await
    }

    async fn unlock(
        &self,
        request: Request<pb::UnlockRequest>,
    ) -> Result<Response<pb::UnlockResponse>, Status> {
        let node = self.node.clone();
        moved(async move {
            node.unlock(&request.into_inner().unlock_key).await?;
            Ok(pb::UnlockResponse {})
        })
        .await
    }

    async fn backup(
        &self,
        request: Request<pb::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        let file = self.node.backup(request.into_inner()).await;
        let file = Bytes::from(file.map_err(|error| failed(&error))?);
        let total_bytes = file.len() as u64;
        let mut rest = file;
        let pieces = std::iter::from_fn(move || {
            let size = rest.len().min(PIECE_BYTES);
            let data = rest.split_to(size);
            (size > 0).then_some(Ok(pb::BackupPiece { data, total_bytes }))
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(pieces))))
    }

    async fn restore(
        &self,
        request: Request<Streaming<pb::RestoreRequest>>,
    ) -> Result<Response<pb::InitResponse>, Status> {
        let mut pieces = request.into_inner();
        let mut settings = None;
        let mut file = Vec::new();
        while let Some(piece) = pieces.message().await? {
            settings = settings.or(piece.settings);
            if file.len() + piece.data.len() > BACKUP_MAX_BYTES {
                return Err(Status::resource_exhausted(format!(
                    "a backup has at most {} MiB",
                    BACKUP_MAX_BYTES >> 20
                )));
            }
            file.extend_from_slice(&piece.data);
        }
        let settings =
            settings.ok_or_else(|| Status::invalid_argument("field settings is missing"))?;
        let node = self.node.clone();
        moved(async move { node.restore(settings, file).await }).await
    }

    async fn pull_image(
        &self,
        request: Request<pb::PullImageRequest>,
    ) -> Result<Response<Self::PullImageStream>, Status> {
        let pb::PullImageRequest {
            reference,
            username,
            password,
        } = request.into_inner();
        let reference: Reference = parse(&reference)?;
        let credentials =
            (!username.is_empty()).then_some(Credentials::Password { username, password });
        let images = self.node.parts.images.clone();
        let (out, stream) = mpsc::channel(256);
        tokio::spawn(async move {
            // Progress may be dropped when nobody keeps up with it.
            let progress = |step: Progress| drop(out.try_send(Ok(on_wire(step))));
            let last = match images.pull(&reference, credentials, progress).await {
                Ok(image) => Ok(pb::ImageProgress {
                    image: Some(view(&image)),
                    ..Default::default()
                }),
                Err(error) => Err(Status::failed_precondition(chain(&error))),
            };
            // The caller has gone away when this fails.
            let _ = out.send(last).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn load_image(
        &self,
        request: Request<Streaming<pb::LoadImageRequest>>,
    ) -> Result<Response<pb::LoadImageResponse>, Status> {
        let pieces = request.into_inner().map(|piece| {
            piece
                .map(|piece| piece.data)
                .map_err(|status| std::io::Error::other(status.message()))
        });
        let archive = SyncIoBridge::new(StreamReader::new(pieces));
        let loaded = self
            .node
            .parts
            .images
            .load(archive, |_| {})
            .await
            .map_err(|error| Status::invalid_argument(chain(&error)))?;
        let images = loaded.iter().map(view).collect();
        Ok(Response::new(pb::LoadImageResponse { images }))
    }

    async fn list_images(
        &self,
        _request: Request<pb::ListImagesRequest>,
    ) -> Result<Response<pb::ListImagesResponse>, Status> {
        let images = self.node.parts.images.list().iter().map(view).collect();
        Ok(Response::new(pb::ListImagesResponse { images }))
    }

    async fn remove_image(
        &self,
        request: Request<pb::RemoveImageRequest>,
    ) -> Result<Response<pb::RemoveImageResponse>, Status> {
        let pb::RemoveImageRequest { reference, force } = request.into_inner();
        let in_use = self.images_in_use()?;
        let images = &self.node.parts.images;
        let removed = images
            .remove(&reference, force, move |id| {
                in_use.contains(&id.to_string())
            })
            .await
            .map_err(|error| Status::failed_precondition(chain(&error)))?;
        Ok(Response::new(gone(&removed)))
    }

    async fn prune_images(
        &self,
        request: Request<pb::PruneImagesRequest>,
    ) -> Result<Response<pb::RemoveImageResponse>, Status> {
        let pb::PruneImagesRequest { all } = request.into_inner();
        let in_use = self.images_in_use()?;
        let images = &self.node.parts.images;
        let removed = images
            .prune(all, move |id| in_use.contains(&id.to_string()))
            .await
            .map_err(|error| Status::failed_precondition(chain(&error)))?;
        Ok(Response::new(gone(&removed)))
    }
}

impl LocalNode {
    /// Ids of the images that containers were made of, and of those that tasks are
    /// about to use.
    fn images_in_use(&self) -> Result<BTreeSet<String>, Status> {
        let named = self.node.member().map(|member| member.images_in_use());
        let parts = &self.node.parts;
        let mut ids = parts
            .runtime
            .images_in_use()
            .map_err(|error| Status::failed_precondition(chain(&error)))?;
        let present = named.into_iter().flatten();
        let present = present.filter_map(|name| parts.images.get(&name).ok());
        ids.extend(present.map(|image| image.id.to_string()));
        Ok(ids)
    }
}

fn gone(removed: &Removed) -> pb::RemoveImageResponse {
    pb::RemoveImageResponse {
        untagged: removed.untagged.iter().map(Reference::familiar).collect(),
        deleted: removed.deleted.iter().map(ToString::to_string).collect(),
    }
}

fn parse(reference: &str) -> Result<Reference, Status> {
    reference.parse().map_err(|error| {
        Status::invalid_argument(format!("invalid image reference {reference:?}: {error}"))
    })
}

fn view(image: &Image) -> pb::ImageView {
    pb::ImageView {
        id: image.id.to_string(),
        references: image.references.iter().map(Reference::familiar).collect(),
        digests: image.digests.iter().map(Reference::familiar).collect(),
        size_bytes: image.size,
        created: image.created.clone().unwrap_or_default(),
    }
}

fn on_wire(step: Progress) -> pb::ImageProgress {
    let (current, total) = match step.stage {
        Stage::Downloading { current, total } => (current, total),
        _ => (0, 0),
    };
    let id = step
        .layer
        .as_ref()
        .map(|layer| layer.short().to_string())
        .unwrap_or_default();
    let status = match &step.stage {
        Stage::Downloading { .. } => "Downloading".to_owned(),
        _ => {
            let whole = Progress {
                layer: None,
                stage: step.stage,
            };
            whole.to_string()
        }
    };
    pb::ImageProgress {
        id,
        status,
        current,
        total,
        image: None,
    }
}
