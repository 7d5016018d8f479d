//! The daemon from start to stop.

use crate::args::DaemonArgs;
use crate::door::ControlDoor;
use crate::files::Files;
use crate::keyring::Keyring;
use crate::local::LocalNode;
use crate::member::Parts;
use crate::node::SwarmNode;
use crate::open_files;
use anyhow::{Context, Result, bail};
use skep_agent_images::{ImageStore, RegistryConfig};
use skep_agent_runtime::{Runtime, RuntimeConfig};
use skep_proto::pb;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tracing_subscriber::EnvFilter;

/// Largest message on the socket.
const MESSAGE_MAX_BYTES: usize = 64 << 20;

/// How long work that is still under way may take once all else has stopped.
const END_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs the node until it is told to stop. Containers outlive it.
///
/// # Errors
/// When the directories, the socket or what the node remembers cannot be used.
pub fn run(args: DaemonArgs) -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&args.log).context("--log")?)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    // Before anything counts on it.
    let open_files = match open_files::raise() {
        Ok(before) => Some(before),
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            None
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(serve(args, open_files));
    // Work on files may hang; it does not hold up the end.
    runtime.shutdown_timeout(END_TIMEOUT);
    result
}

async fn serve(args: DaemonArgs, open_files: Option<u64>) -> Result<()> {
    for dir in [&args.data_dir, &args.run_dir] {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let data_dir = absolute(&args.data_dir)?;
    let run_dir = absolute(&args.run_dir)?;
    let args = DaemonArgs {
        data_dir,
        run_dir,
        ..args
    };
    let listener = listen(&args.host).await?;
    let runtime = Runtime::open(RuntimeConfig {
        data_dir: args.data_dir.clone(),
        run_dir: args.run_dir.clone(),
        shim: shim(&args)?,
        open_files,
        cgroup_parent: cgroup_parent(&args.data_dir),
    })?;
    let files = Files::new(&args.data_dir);
    let registries = RegistryConfig {
        mirrors: args.registry_mirror.clone(),
        insecure: args.insecure_registry.clone(),
        ..RegistryConfig::default()
    };
    let images = ImageStore::open(&files.images(), registries)?;
    if files.is_leaving()? {
        files.forget_swarm()?;
    }
    let keyring = Keyring::open(&files)?;
    let host = args.host.clone();
    let parts = Parts {
        args: Arc::new(args),
        files,
        images,
        runtime,
        keyring,
        control: Default::default(),
    };
    let node = SwarmNode::resume(parts.clone()).await?;
    let local = pb::local_node_server::LocalNodeServer::new(LocalNode { node: node.clone() })
        .max_decoding_message_size(MESSAGE_MAX_BYTES);
    let control = pb::control_server::ControlServer::new(ControlDoor {
        slot: parts.control.clone(),
    })
    .max_decoding_message_size(MESSAGE_MAX_BYTES);
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    tracing::info!(%host, version = crate::describe::VERSION, "ready");
    let server = Server::builder()
        .layer(skep_transport::name_version(crate::describe::VERSION))
        .add_service(local)
        .add_service(control)
        .serve_with_incoming(UnixListenerStream::new(listener));
    let result = tokio::select! {
        served = server => served.context("the socket is not served any more"),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    tracing::info!("stopping; containers go on");
    node.stop().await;
    if let Err(error) = parts.runtime.close().await {
        tracing::warn!(error = %error.chain(), "cgroup not removed");
    }
    if let Some(path) = host.strip_prefix("unix://") {
        // Somebody else may have taken it away.
        let _ = fs::remove_file(path);
    }
    result
}

fn absolute(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).with_context(|| format!("cannot use {}", path.display()))
}

/// A socket that is listened to belongs to another daemon; one that is not was
/// left by a daemon that was killed.
async fn listen(host: &str) -> Result<UnixListener> {
    let Some(path) = host.strip_prefix("unix://") else {
        bail!("--host {host:?}: only unix://PATH is supported");
    };
    if UnixStream::connect(path).await.is_ok() {
        bail!(
            "another daemon listens on {path}; give this one its own --host, --data-dir and --run-dir"
        );
    }
    if let Some(dir) = Path::new(path).parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {path}"));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).with_context(|| format!("cannot listen on {path}"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))
        .with_context(|| format!("cannot protect {path}"))?;
    Ok(listener)
}

fn shim(args: &DaemonArgs) -> Result<PathBuf> {
    let path = match &args.shim {
        Some(path) => path.clone(),
        None => std::env::current_exe()
            .context("cannot find this program")?
            .with_file_name("skep-shim"),
    };
    if !path.is_file() {
        bail!(
            "{} does not exist; name the skep-shim program with --shim",
            path.display()
        );
    }
    absolute(&path)
}

/// Daemons that share a machine have a data directory each, and so a cgroup.
fn cgroup_parent(data_dir: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    data_dir.hash(&mut hasher);
    format!("skep-{:08x}", hasher.finish() as u32)
}
