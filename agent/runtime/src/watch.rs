//! Waits for changes in a directory.
#![allow(unsafe_code)]

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;
use tokio::io::unix::AsyncFd;

/// A watched directory.
pub(crate) struct Watch {
    descriptor: AsyncFd<Descriptor>,
}

struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Watch {
    /// Watches for writes to the files of a directory, for new and renamed ones
    /// and for its removal, from now on.
    pub(crate) fn new(dir: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let events = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE_SELF;
        inotify.add_watch(dir, events)?;
        // SAFETY: `Descriptor` owns its descriptor, never hands it out and
        // always names the same one, until the `AsyncFd` drops it.
        let descriptor = unsafe { AsyncFd::register(Descriptor(inotify)) }?;
        Ok(Self { descriptor })
    }

    /// Returns when something has changed since the last return.
    pub(crate) async fn changed(&self) -> io::Result<()> {
        let mut ready = self.descriptor.readable().await?;
        while self.descriptor.get_ref().0.read_events().is_ok() {}
        ready.clear_ready();
        Ok(())
    }
}
