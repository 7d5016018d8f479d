//! The root file system of a container (an overlay over the image's layers) and
//! the files that are its own: `/etc/hosts` and the like, secrets, configs.

use crate::request::{ContainerRequest, FileInTmpfs};
use crate::{Error, Result};
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use skep_agent_shim_api::Bundle;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Room for the options of a mount: the kernel takes one page.
const OPTIONS_MAX_BYTES: usize = 4000;

/// A file that is mounted into the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileMount {
    pub(crate) source: PathBuf,
    pub(crate) target: String,
    pub(crate) read_only: bool,
}

/// Makes a directory that only root can look into.
pub(crate) fn private_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(Error::file("make", path))
}

/// Mounts the overlay of the image's layers on the bundle's root.
pub(crate) fn mount_overlay(bundle: &Bundle, layers: &[PathBuf]) -> Result<()> {
    for dir in [bundle.rootfs(), bundle.upper(), bundle.work()] {
        private_dir(&dir)?;
    }
    // The root of the overlay shows owner and mode of the upper directory.
    let (mode, uid, gid) = match layers.last() {
        Some(top) => {
            let metadata = fs::metadata(top).map_err(Error::file("find the layer", top))?;
            (metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
        }
        None => (0o755, 0, 0),
    };
    let upper = bundle.upper();
    fs::set_permissions(&upper, Permissions::from_mode(mode))
        .and_then(|()| chown(&upper, Some(uid), Some(gid)))
        .map_err(Error::file("set the owner of", &upper))?;

    let empty = bundle.dir().join("empty");
    let mut lower: Vec<PathBuf> = layers.iter().rev().cloned().collect();
    if lower.is_empty() {
        private_dir(&empty)?;
        lower.push(empty);
    }
    lower.extend([bundle.upper(), bundle.work()]);
    // Held open until after the mount where they stand in for long paths.
    let mut held = Vec::new();
    let plain = lower.iter().all(|path| {
        let bytes = path.as_os_str().as_encoded_bytes();
        std::str::from_utf8(bytes).is_ok()
            && !bytes.iter().any(|b| matches!(b, b':' | b',' | b'\\'))
    });
    let total: usize = lower.iter().map(|path| path.as_os_str().len() + 1).sum();
    if !plain || total > OPTIONS_MAX_BYTES - 100 {
        for path in &mut lower {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let fd = nix::fcntl::open(path.as_path(), flags, Mode::empty())
                .map_err(Error::file("open", &path))?;
            *path = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
            held.push(fd);
        }
    }
    let texts: Vec<String> = lower
        .iter()
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    let [below @ .., upper, work] = texts.as_slice() else {
        return Ok(());
    };
    let options = format!(
        "lowerdir={},upperdir={upper},workdir={work}",
        below.join(":")
    );
    if options.len() > OPTIONS_MAX_BYTES {
        return Err(Error::Spec(format!(
            "the image has {} layers, more than can be mounted",
            layers.len()
        )));
    }
    let target = bundle.rootfs();
    mount(
        Some("overlay"),
        &target,
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .map_err(|errno| Error::Mount {
        what: "the image".to_owned(),
        path: target,
        source: errno.into(),
    })
}

/// Writes hosts, resolv.conf and hostname.
pub(crate) fn write_etc(
    bundle: &Bundle,
    request: &ContainerRequest,
    hostname: &str,
) -> Result<Vec<FileMount>> {
    private_dir(&bundle.etc())?;
    let hostname = format!("{hostname}\n");
    let mut mounts = Vec::new();
    for (name, text) in [
        ("hosts", request.hosts.as_str()),
        ("resolv.conf", request.resolv_conf.as_str()),
        ("hostname", hostname.as_str()),
    ] {
        let source = bundle.etc().join(name);
        fs::write(&source, text)
            .and_then(|()| fs::set_permissions(&source, Permissions::from_mode(0o644)))
            .map_err(Error::file("write", &source))?;
        mounts.push(FileMount {
            source,
            target: format!("/etc/{name}"),
            read_only: false,
        });
    }
    Ok(mounts)
}

/// Puts secrets and configs into a tmpfs that is read-only from then on.
pub(crate) fn write_files(bundle: &Bundle, request: &ContainerRequest) -> Result<Vec<FileMount>> {
    let files: Vec<(&FileInTmpfs, &str)> = request
        .secrets
        .iter()
        .map(|file| (file, "/run/secrets/"))
        .chain(request.configs.iter().map(|file| (file, "/")))
        .collect();
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let dir = bundle.files();
    private_dir(&dir)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let mount_tmpfs = |flags, options: Option<&str>| {
        mount(Some("tmpfs"), &dir, Some("tmpfs"), flags, options).map_err(|errno| Error::Mount {
            what: "secrets and configs".to_owned(),
            path: dir.clone(),
            source: errno.into(),
        })
    };
    mount_tmpfs(flags, Some("mode=0700"))?;
    let mut mounts = Vec::new();
    for (number, (file, base)) in files.into_iter().enumerate() {
        let source = dir.join(number.to_string());
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&source)
            .and_then(|mut open| {
                open.write_all(&file.data)?;
                chown(&source, Some(file.uid), Some(file.gid))?;
                fs::set_permissions(&source, Permissions::from_mode(file.mode & 0o7777))
            })
            .map_err(Error::file("write", &source))?;
        let target = match file.path.starts_with('/') {
            true => file.path.clone(),
            false => format!("{base}{}", file.path),
        };
        mounts.push(FileMount {
            source,
            target,
            read_only: true,
        });
    }
    mount_tmpfs(flags | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, None)?;
    Ok(mounts)
}
