//! Network namespaces of containers: made, entered, kept by a bind mount, removed.
//!
//! A namespace belongs to a thread, so each piece of work inside one gets a thread of its own that ends with
//! it: a thread of the runtime's pool must never be left behind in a container's namespace.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::statfs;

use crate::error::Error;

const THIS_THREAD: &str = "/proc/thread-self/ns/net";

/// Settings of a new namespace below `/proc/sys/net`, in kernels that have them.
const SETTINGS: [(&str, &str); 3] = [
    // Containers' addresses are IPv4 for now: links made here must not give themselves others.
    ("ipv6/conf/default/disable_ipv6", "1"),
    // As with Docker: programs without rights may open any port, and ping. It is their own namespace.
    ("ipv4/ip_unprivileged_port_start", "0"),
    ("ipv4/ping_group_range", "0 2147483647"),
];

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Namespace {
        operation,
        path,
        source,
    }
}

/// Runs `work` on a thread of its own and waits for it. Sockets of tokio can be made inside.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (done, result) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::Builder::new()
        .name("skep-netns".to_owned())
        .spawn(move || {
            let _inside = runtime.enter();
            // The other side only goes away when nobody wants the result any more.
            let _ = done.send(work());
        })
        .map_err(failed("start a thread for", Path::new(THIS_THREAD)))?;
    result.await.map_err(|_| Error::Interrupted)?
}

/// Runs `work` inside the namespace mounted at `path`.
pub(crate) async fn within<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    on_thread(move || {
        let file = File::open(&path).map_err(failed("open", &path))?;
        setns(&file, CloneFlags::CLONE_NEWNET)
            .map_err(|error| failed("enter", &path)(error.into()))?;
        work()
    })
    .await
}

/// Whether a namespace is mounted at `path`.
pub(crate) fn exists(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type().0 == libc::NSFS_MAGIC as _)
}

/// Makes a namespace and mounts it at `path`; leaves one that is there alone.
pub(crate) async fn create(path: PathBuf) -> Result<(), Error> {
    if exists(&path) {
        return Ok(());
    }
    on_thread(move || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed("make the directory of", &path))?;
        }
        File::create(&path).map_err(failed("make a mount point for", &path))?;
        unshare(CloneFlags::CLONE_NEWNET).map_err(|error| failed("make", &path)(error.into()))?;
        for (name, value) in SETTINGS {
            let setting = Path::new("/proc/sys/net").join(name);
            if setting.exists() {
                fs::write(setting, value).map_err(failed("change settings of", &path))?;
            }
        }
        mount(
            Some(THIS_THREAD),
            &path,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .map_err(|error| failed("mount", &path)(error.into()))
    })
    .await
}

/// Unmounts and removes the namespace at `path`. It ends with the last process inside.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    // More than one may be stacked there after a crash between mounting and noticing.
    while exists(path) {
        umount2(path, MntFlags::MNT_DETACH)
            .map_err(|error| failed("unmount", path)(error.into()))?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Names of all files where a namespace is or was mounted.
pub(crate) fn list(directory: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("list", directory)(error)),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.collect())
}
