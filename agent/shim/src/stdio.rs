//! The standard streams of a container: pipes, or a terminal that libcontainer
//! opens inside the container and sends to us.

use crate::create::{listen, pipe};
use crate::error::Error;
use crate::sys;
use libcontainer::container::builder::ContainerBuilder;
use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use skep_agent_shim_api::{Bundle, ShimRequest};
use std::fs::{self, File};
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::fchown;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

const CONSOLE_SOCKET: &str = "console.sock";

/// What the container gets.
pub enum Theirs {
    /// Its ends of the streams.
    Pipes {
        /// Standard input.
        stdin: OwnedFd,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
    /// The socket through which it sends us its terminal.
    Terminal(PathBuf),
}

/// What will be ours once the container is made.
pub enum Ours {
    /// Our ends of pipes.
    Pipes(Kept),
    /// Where the terminal comes from.
    Terminal(UnixListener, PathBuf),
}

/// Our ends of the streams.
pub struct Kept {
    /// Write end of standard input, where that is to stay open.
    pub stdin: Option<OwnedFd>,
    /// Read end of standard output, or the terminal.
    pub stdout: OwnedFd,
    /// Read end of standard error; none with a terminal.
    pub stderr: Option<OwnedFd>,
}

/// Opens what the request asks for.
///
/// # Errors
/// The kernel's.
pub fn open(request: &ShimRequest, bundle: &Bundle) -> Result<(Theirs, Ours), Error> {
    if request.tty {
        let listener = listen(bundle, CONSOLE_SOCKET)?;
        let path = bundle.dir().join(CONSOLE_SOCKET);
        return Ok((
            Theirs::Terminal(path.clone()),
            Ours::Terminal(listener, path),
        ));
    }
    let (our_out, stdout) = pipe()?;
    let (our_err, stderr) = pipe()?;
    let (stdin, our_in) = if request.open_stdin {
        let (read, write) = pipe()?;
        (read, Some(write))
    } else {
        let null = File::open("/dev/null").map_err(Error::kernel("open /dev/null"))?;
        (null.into(), None)
    };
    // A program that reopens /dev/stdout by name needs to own it.
    for end in [&stdout, &stderr] {
        fchown(end, Some(request.process.uid), Some(request.process.gid))
            .map_err(Error::kernel("hand over the output"))?;
    }
    let theirs = Theirs::Pipes {
        stdin,
        stdout,
        stderr,
    };
    let ours = Ours::Pipes(Kept {
        stdin: our_in,
        stdout: our_out,
        stderr: Some(our_err),
    });
    Ok((theirs, ours))
}

impl Theirs {
    /// Gives them to the container that is being made.
    pub fn hand_to(self, builder: ContainerBuilder) -> ContainerBuilder {
        match self {
            Self::Pipes {
                stdin,
                stdout,
                stderr,
            } => builder
                .with_stdin(stdin)
                .with_stdout(stdout)
                .with_stderr(stderr),
            Self::Terminal(socket) => builder.with_console_socket(Some(socket)),
        }
    }
}

impl Ours {
    /// Our ends, after the container was made.
    ///
    /// # Errors
    /// A terminal that did not come.
    pub fn receive(self) -> Result<Kept, Error> {
        let (listener, path) = match self {
            Self::Pipes(kept) => return Ok(kept),
            Self::Terminal(listener, path) => (listener, path),
        };
        // It was connected and written to before the container was made.
        let (stream, _) = listener
            .accept()
            .map_err(Error::kernel("receive the terminal"))?;
        let _left_for_remove = fs::remove_file(path);
        let mut payload = [0; 64];
        let mut parts = [IoSliceMut::new(&mut payload)];
        let mut space = cmsg_space!([RawFd; 1]);
        let message = recvmsg::<()>(
            stream.as_raw_fd(),
            &mut parts,
            Some(&mut space),
            MsgFlags::MSG_CMSG_CLOEXEC,
        )
        .map_err(Error::kernel("receive the terminal"))?;
        let terminal = message
            .cmsgs()
            .map_err(Error::kernel("receive the terminal"))?
            .find_map(|part| match part {
                ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
                _ => None,
            })
            .ok_or_else(|| Error::Reported("the container sent no terminal".to_owned()))?;
        Ok(Kept {
            stdin: None,
            stdout: sys::adopt_fd(terminal).map_err(Error::kernel("take over the terminal"))?,
            stderr: None,
        })
    }
}
