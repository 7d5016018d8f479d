//! Network namespaces of containers: made, entered, kept by a bind mount, removed.
//!
//! A namespace belongs to a thread, so each piece of work inside one gets a thread of its own that ends with
//! it: a thread of the runtime's pool must never be left behind in a container's namespace.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
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

/// Makes the directory of the namespaces a mount of its own with nothing shared: what is mounted in it is
/// not seen to appear in other mount namespaces, and these can take all of it out of their sight at once.
pub(crate) fn set_apart(directory: &Path) -> Result<(), Error> {
    fs::create_dir_all(directory).map_err(failed("make", directory))?;
    let none = None::<&str>;
    if !is_mount(directory)? {
        mount(
            Some(directory),
            directory,
            none,
            MsFlags::MS_BIND | MsFlags::MS_REC,
            none,
        )
        .map_err(|error| failed("mount", directory)(error.into()))?;
    }
    mount(none, directory, none, MsFlags::MS_PRIVATE, none)
        .map_err(|error| failed("set apart", directory)(error.into()))
}

/// Undoes [`set_apart`].
pub(crate) fn bring_back(directory: &Path) -> Result<(), Error> {
    if directory.exists() && is_mount(directory)? {
        umount2(directory, MntFlags::MNT_DETACH)
            .map_err(|error| failed("unmount", directory)(error.into()))?;
    }
    Ok(())
}

/// Whether something is mounted at `directory`: it is on another mount than its parent.
fn is_mount(directory: &Path) -> Result<bool, Error> {
    let id = |path: &Path| -> io::Result<String> {
        let file = File::open(path)?;
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
        let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:"));
        Ok(id.unwrap_or_default().trim().to_owned())
    };
    let parent = directory.parent().unwrap_or(directory);
    let (here, above) = id(directory)
        .and_then(|here| Ok((here, id(parent)?)))
        .map_err(failed("look at", directory))?;
    Ok(here != above)
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

/// Unmounts and removes the namespace at `path`. It ends with the last process inside: other mount namespaces
/// that copied the mount (containers' supervisors have those of other daemons) lose it with the file under it.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn change_all(flags: MsFlags) {
        let none = None::<&str>;
        mount(none, "/", none, flags | MsFlags::MS_REC, none).expect("a change of all mounts");
    }

    /// Runs `work` on a thread of the calling one's namespaces.
    fn on_runtime<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(work)
    }

    #[test]
    fn a_namespace_that_is_removed_goes_from_where_the_directory_was_copied_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("netns/one");
        let work = move || {
            unshare(CloneFlags::CLONE_NEWNS).expect("needs root");
            change_all(MsFlags::MS_PRIVATE);
            let parent = path.parent().expect("a parent");
            set_apart(parent).expect("set apart");
            on_runtime(create(path.clone())).expect("a namespace");
            let (copied, wait) = std::sync::mpsc::channel();
            let (removed, go_on) = std::sync::mpsc::channel();
            let there = path.clone();
            let copy = std::thread::spawn(move || {
                unshare(CloneFlags::CLONE_NEWNS).expect("needs root");
                change_all(MsFlags::MS_SLAVE);
                let mounted = || {
                    let mounts = fs::read_to_string("/proc/thread-self/mountinfo");
                    let text = there.to_string_lossy();
                    mounts.expect("mounts").contains(text.as_ref())
                };
                let before = mounted();
                copied.send(()).expect("the other side waits");
                go_on.recv().expect("the other side removes");
                (before, mounted())
            });
            wait.recv().expect("a copy");
            remove(&path).expect("removed");
            removed.send(()).expect("the copy waits");
            let seen = copy.join().expect("the copy");
            bring_back(parent).expect("brought back");
            seen
        };
        let seen = std::thread::spawn(work).join().expect("the thread");
        assert_eq!(seen, (true, false), "before and after it was removed");
    }
}
