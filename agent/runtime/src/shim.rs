//! Talking to shims: starting one, and asking one through its control socket.

use crate::runtime::RuntimeConfig;
use crate::{Error, Result, alive};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use skep_agent_shim_api::control::{self, ControlRequest, ControlResponse, MESSAGE_MAX_BYTES};
use skep_agent_shim_api::{Bundle, CreateOutcome};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longer than the shim's own watchdog.
const CREATE_LIMIT: Duration = Duration::from_secs(70);

fn command(config: &RuntimeConfig, verb: &str, bundle: &Bundle) -> Result<Command> {
    let errors = bundle.dir().join("shim.err");
    let stderr = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&errors)
        .map_err(Error::file("open", &errors))?;
    let mut command = Command::new(&config.shim);
    command
        .args([verb, "--bundle"])
        .arg(bundle.dir())
        // libcontainer hands on some of what it finds in its environment.
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::from(stderr));
    if let Some(files) = config.open_files {
        command.args(["--open-files", &files.to_string()]);
    }
    Ok(command)
}

/// Starts the shim of a bundle, which makes the container and has the bundle's
/// lock for as long as it lives.
pub(crate) fn spawn(config: &RuntimeConfig, bundle: &Bundle) -> Result<Child> {
    let lock = Stdio::from(alive::lock(bundle)?);
    let started = command(config, "create", bundle)?.stdin(lock).spawn();
    started.map_err(|source| Error::Shim {
        shim: config.shim.clone(),
        source,
    })
}

/// Waits until a started shim has made its container.
pub(crate) async fn created(
    mut child: Child,
    config: &RuntimeConfig,
    bundle: &Bundle,
) -> Result<()> {
    let fail = |source| Error::Shim {
        shim: config.shim.clone(),
        source,
    };
    let stdout = child.stdout.take();
    // The shim lives as long as the container and we reap it whenever that is.
    tokio::spawn(async move {
        let _status = child.wait().await;
    });
    let mut line = String::new();
    if let Some(stdout) = stdout {
        let mut reader = BufReader::new(stdout.take(64 * 1024));
        match timeout(CREATE_LIMIT, reader.read_line(&mut line)).await {
            Ok(result) => drop(result.map_err(fail)?),
            Err(_) => {
                return Err(Error::Create {
                    reason: format!("the shim did not answer for {CREATE_LIMIT:?}"),
                });
            }
        }
    }
    match serde_json::from_str(&line) {
        Ok(CreateOutcome::Created { .. }) => Ok(()),
        Ok(CreateOutcome::Failed { reason }) => Err(Error::Create { reason }),
        Err(_) => {
            let path = bundle.dir().join("shim.err");
            let said = std::fs::read_to_string(path).unwrap_or_default();
            let said = said.lines().next_back().unwrap_or("nothing").to_owned();
            Err(Error::Create {
                reason: format!("the shim ended without an answer; it said: {said}"),
            })
        }
    }
}

/// Runs a command of the shim that reads a request and prints an answer. It is
/// killed when nobody waits for it any more.
pub(crate) async fn ask_process<Q: Serialize, A: DeserializeOwned>(
    config: &RuntimeConfig,
    verb: &str,
    bundle: &Bundle,
    request: &Q,
) -> Result<A> {
    let fail = |source| Error::Shim {
        shim: config.shim.clone(),
        source,
    };
    let request = serde_json::to_vec(request)
        .map_err(io::Error::from)
        .map_err(fail)?;
    let mut child = command(config, verb, bundle)?
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(fail)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&request).await.map_err(fail)?;
    }
    let output = child.wait_with_output().await.map_err(fail)?;
    serde_json::from_slice(&output.stdout)
        .map_err(io::Error::from)
        .map_err(fail)
}

/// Why a request got no response.
pub(crate) enum NoAnswer {
    /// There is no shim: it has ended or never was.
    Gone,
    /// Something else on the connection.
    Broken(io::Error),
}

impl From<io::Error> for NoAnswer {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{
            BrokenPipe, ConnectionRefused, ConnectionReset, NotConnected, NotFound, UnexpectedEof,
        };
        match error.kind() {
            ConnectionRefused | NotFound | ConnectionReset | BrokenPipe | NotConnected
            | UnexpectedEof => Self::Gone,
            _ => Self::Broken(error),
        }
    }
}

/// Sends one request and waits for its response, as long as that takes.
pub(crate) async fn ask(
    bundle: &Bundle,
    request: &ControlRequest,
) -> std::result::Result<ControlResponse, NoAnswer> {
    let mut stream = connect(bundle).await?;
    stream.write_all(&control::encode(request)?).await?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let size = u32::from_be_bytes(length) as usize;
    if size > MESSAGE_MAX_BYTES {
        return Err(NoAnswer::Broken(io::ErrorKind::InvalidData.into()));
    }
    let mut frame = length.to_vec();
    frame.resize(4 + size, 0);
    stream.read_exact(&mut frame[4..]).await?;
    control::decode(&frame)?.ok_or(NoAnswer::Broken(io::ErrorKind::InvalidData.into()))
}

/// Connects through the open directory, as a socket address holds 108 bytes and
/// a path more.
async fn connect(bundle: &Bundle) -> io::Result<UnixStream> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let dir = nix::fcntl::open(bundle.dir(), flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), Bundle::SOCKET_NAME);
    UnixStream::connect(path).await
}
