//! What the daemon answers about its own node.

use crate::describe;
use crate::node::SwarmNode;
use skep_agent_images::{Credentials, Image, Progress, Reference, Stage};
use skep_proto::{id_bytes, pb};
use std::pin::Pin;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tokio_util::io::{StreamReader, SyncIoBridge};
use tonic::{Request, Response, Status, Streaming};

/// The service.
pub(crate) struct LocalNode {
    pub(crate) node: SwarmNode,
}

fn failed(error: &anyhow::Error) -> Status {
    Status::failed_precondition(format!("{error:#}"))
}

/// An error with its causes, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[tonic::async_trait]
impl pb::local_node_server::LocalNode for LocalNode {
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
        if let Some(member) = self.node.member.read().await.as_ref() {
            let identity = member.credentials.identity();
            let peer = identity.peer();
            info.state = "active".to_owned();
            info.node_id = id_bytes(peer.node);
            info.cluster_id = id_bytes(peer.cluster);
            info.role = pb::Role::from(peer.role).into();
            info.address.clone_from(&member.membership.advertise);
            info.managers.clone_from(&member.membership.managers);
            info.leader = member.is_leader();
            info.containers = u32::try_from(member.task_count()).unwrap_or(u32::MAX);
            info.wireguard = member.wireguard().await.to_owned();
            if let Err(error) = identity.check_time(std::time::SystemTime::now()) {
                info.state = "error".to_owned();
                info.error = error.to_string();
            }
        }
        Ok(Response::new(info))
    }

    async fn init(
        &self,
        request: Request<pb::InitRequest>,
    ) -> Result<Response<pb::InitResponse>, Status> {
        let made = self.node.init(request.into_inner()).await;
        made.map(Response::new).map_err(|error| failed(&error))
    }

    async fn join(
        &self,
        request: Request<pb::JoinSwarmRequest>,
    ) -> Result<Response<pb::JoinSwarmResponse>, Status> {
        let joined = self.node.join(request.into_inner()).await;
        joined.map(Response::new).map_err(|error| failed(&error))
    }

    async fn leave(
        &self,
        request: Request<pb::LeaveRequest>,
    ) -> Result<Response<pb::LeaveResponse>, Status> {
        self.node
            .leave(request.into_inner().force)
            .await
            .map_err(|error| failed(&error))?;
        Ok(Response::new(pb::LeaveResponse {}))
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
        let in_use = match self.node.member.read().await.as_ref() {
            Some(member) => member.images_in_use(),
            None => std::collections::BTreeSet::new(),
        };
        let images = self.node.parts.images.clone();
        let ids: std::collections::BTreeSet<_> = in_use
            .iter()
            .filter_map(|name| images.get(name).ok())
            .map(|image| image.id)
            .collect();
        let removed = images
            .remove(&reference, force, move |id| ids.contains(id))
            .await
            .map_err(|error| Status::failed_precondition(chain(&error)))?;
        Ok(Response::new(pb::RemoveImageResponse {
            untagged: removed.untagged.iter().map(Reference::familiar).collect(),
            deleted: removed.deleted.iter().map(ToString::to_string).collect(),
        }))
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
