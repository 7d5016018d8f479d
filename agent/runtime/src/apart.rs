//! The mount namespace a container is made in.
//!
//! Its root file system and its secrets are mounted where only the supervisor and
//! its children see them. They go with these, however they end; and the node's
//! table of mounts, which libcontainer reads some thirty times for each start,
//! does not grow with the containers.

use crate::{Error, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use skep_agent_shim_api::Bundle;
use std::fs::File;
use std::path::Path;

/// Runs `work` on a thread with a mount namespace of its own, in which mounts of
/// the node still come and go but which no mount leaves. A process started by
/// `work` keeps the namespace.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (done, result) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let thread = move || {
        let _inside = runtime.enter();
        // Nobody wants the result any more when this fails.
        let _ = done.send(separate().and_then(|()| work()));
    };
    std::thread::Builder::new()
        .name("skep-create".to_owned())
        .spawn(thread)
        .map_err(|source| Error::Apart { source })?;
    // The sender is dropped unused when the thread panics.
    result.await.map_err(|_| Error::Apart {
        source: std::io::Error::other("the thread that makes the container ended"),
    })?
}

fn separate() -> Result<()> {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none))
        .map_err(|errno| Error::Apart {
            source: errno.into(),
        })
}

/// Mounts the network namespace where the container's supervisor finds it. If the
/// directory it was in is a mount of its own, it is taken out of sight, with the
/// namespaces of all other containers.
pub(crate) fn take_netns(bundle: &Bundle, netns: &Path) -> Result<()> {
    let target = bundle.netns();
    let none = None::<&str>;
    File::create(&target).map_err(Error::file("make", &target))?;
    match mount(Some(netns), &target, none, MsFlags::MS_BIND, none) {
        Ok(()) => {}
        Err(Errno::ENOENT) => {
            return Err(Error::Spec(format!(
                "network namespace {} does not exist",
                netns.display()
            )));
        }
        Err(errno) => {
            return Err(Error::Mount {
                what: "the network namespace".to_owned(),
                path: target,
                source: errno.into(),
            });
        }
    }
    let Some(others) = netns.parent() else {
        return Ok(());
    };
    match umount2(others, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        // It is an ordinary directory.
        Ok(()) | Err(Errno::EINVAL) => Ok(()),
        Err(errno) => Err(Error::file(
            "hide the other containers' networks in",
            others,
        )(errno)),
    }
}
