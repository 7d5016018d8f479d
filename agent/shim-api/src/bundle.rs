//! Where things are in the directory of one container.
//!
//! Everything a container has on a node lives below its bundle directory, so
//! removing the container is removing that directory. What is mounted there is
//! so only in the shim's mount namespace. The
//! directory is readable by root only: the OCI configuration holds the
//! environment of the container.

use std::path::{Path, PathBuf};

/// The directory of one container. Cheap to make; touches no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    dir: PathBuf,
}

impl Bundle {
    /// The bundle at this absolute path.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// OCI configuration, written by the runtime, read by libcontainer.
    pub fn config(&self) -> PathBuf {
        self.dir.join("config.json")
    }

    /// [`crate::ShimRequest`] as JSON, written by the runtime.
    pub fn request(&self) -> PathBuf {
        self.dir.join("shim.json")
    }

    /// Control socket; there while the shim lives. Its path may be longer than
    /// a socket address allows: connect through an open directory.
    pub fn socket(&self) -> PathBuf {
        self.dir.join(Self::SOCKET_NAME)
    }

    /// Locked by the shim, which has it as standard input from its first moment
    /// to its last.
    pub fn lock(&self) -> PathBuf {
        self.dir.join("shim.lock")
    }

    /// Name of the control socket in the directory.
    pub const SOCKET_NAME: &'static str = "shim.sock";

    /// [`crate::ExitRecord`] as JSON; there once the container has ended.
    pub fn exit(&self) -> PathBuf {
        self.dir.join("exit.json")
    }

    /// Mount point of the root file system, in the mount namespace of the shim.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// What the container wrote: the upper directory of the overlay.
    pub fn upper(&self) -> PathBuf {
        self.dir.join("upper")
    }

    /// The overlay's work directory.
    pub fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// Mount point of the network namespace, likewise.
    pub fn netns(&self) -> PathBuf {
        self.dir.join("netns")
    }

    /// Mount point of the tmpfs that holds secrets and configs, likewise.
    pub fn files(&self) -> PathBuf {
        self.dir.join("files")
    }

    /// Generated files of `/etc` (hosts, resolv.conf, hostname).
    pub fn etc(&self) -> PathBuf {
        self.dir.join("etc")
    }

    /// libcontainer's own state.
    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// The current log file; rotated ones have `.1`, `.2` ... appended, the
    /// highest number being the oldest.
    pub fn log(&self) -> PathBuf {
        self.dir.join("container.log")
    }

    /// The log file with this rotation number; 0 is the current one.
    pub fn rotated_log(log: &Path, number: u32) -> PathBuf {
        if number == 0 {
            return log.to_owned();
        }
        let mut name = log.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }

    /// What the runtime remembers of the container for its own use.
    pub fn meta(&self) -> PathBuf {
        self.dir.join("meta.json")
    }
}
