//! Volumes, binds and tmpfs mounts of a container: what they are on this node.

use crate::jail::Jail;
use crate::request::ContainerRequest;
use crate::rootfs::private_dir;
use crate::{Error, Result, fill};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::syncfs;
use serde_json::{Value, json};
use skep_agent_shim_api::Bundle;
use skep_types::{Mount, MountKind};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Named volumes live here, below the data directory.
pub(crate) struct Volumes {
    dir: PathBuf,
}

impl Volumes {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self {
            dir: data_dir.join("volumes"),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The OCI mounts for what the spec and the image declare, outer targets
    /// before inner ones. Volumes are made and filled.
    pub(crate) fn mounts(
        &self,
        request: &ContainerRequest,
        bundle: &Bundle,
        root: &Jail,
    ) -> Result<Vec<(String, Value)>> {
        let mut declared = request.spec.mounts.clone();
        for target in &request.image.config.volumes {
            if !declared
                .iter()
                .any(|mount| same_path(&mount.target, target))
            {
                declared.push(Mount {
                    target: target.clone(),
                    read_only: false,
                    kind: MountKind::Volume {
                        name: String::new(),
                        no_copy: false,
                        driver: String::new(),
                        options: Default::default(),
                        labels: Default::default(),
                    },
                });
            }
        }
        let mut mounts = Vec::new();
        for (number, mount) in declared.iter().enumerate() {
            check_target(&mount.target)?;
            let value = match &mount.kind {
                MountKind::Bind {
                    source,
                    propagation,
                } => bind(source, mount, propagation)?,
                MountKind::Volume {
                    name,
                    no_copy,
                    driver,
                    options,
                    labels: _,
                } => {
                    if !matches!(driver.as_str(), "" | "local") || !options.is_empty() {
                        return Err(Error::Spec(format!(
                            "volume {name:?}: driver {driver:?} with options is not supported; \
                             use the local driver without options, or a bind mount"
                        )));
                    }
                    let data = if name.is_empty() {
                        bundle.dir().join("volumes").join(number.to_string())
                    } else {
                        check_name(name)?;
                        self.dir.join(name)
                    };
                    let data = volume(&data, &mount.target, *no_copy, root)?;
                    bind(&data.to_string_lossy(), mount, "")?
                }
                MountKind::Tmpfs { size, mode } => {
                    let mut options: Vec<String> =
                        ["nosuid", "nodev", "noexec"].map(str::to_owned).to_vec();
                    options.push(format!("mode={:o}", mode.unwrap_or(0o1777)));
                    options.extend(size.map(|size| format!("size={}", size.0)));
                    options.extend(mount.read_only.then(|| "ro".to_owned()));
                    json!({
                        "destination": mount.target,
                        "type": "tmpfs",
                        "source": "tmpfs",
                        "options": options,
                    })
                }
            };
            mounts.push((mount.target.clone(), value));
        }
        mounts.sort_by_key(|(target, _)| Path::new(target).components().count());
        Ok(mounts)
    }
}

fn same_path(a: &str, b: &str) -> bool {
    Path::new(a).components().eq(Path::new(b).components())
}

fn check_target(target: &str) -> Result<()> {
    let plain = target.starts_with('/')
        && Path::new(target).components().count() > 1
        && !target.split('/').any(|part| part == "..");
    if plain {
        Ok(())
    } else {
        Err(Error::Spec(format!(
            "mount target {target:?} is not an absolute path inside the container"
        )))
    }
}

fn check_name(name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let plain = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        && name.len() <= 255;
    if plain {
        Ok(())
    } else {
        Err(Error::Spec(format!(
            "volume name {name:?} is not valid: use letters, digits, '_', '.' and '-'"
        )))
    }
}

fn bind(source: &str, mount: &Mount, propagation: &str) -> Result<Value> {
    if !source.starts_with('/') {
        return Err(Error::Spec(format!(
            "bind source {source:?} is not an absolute path"
        )));
    }
    if let Err(error) = fs::metadata(source) {
        return Err(match error.kind() {
            io::ErrorKind::NotFound => {
                Error::Spec(format!("bind source path does not exist: {source}"))
            }
            _ => Error::file("look at the bind source", source)(error),
        });
    }
    let propagation = match propagation {
        "" => "rprivate",
        known @ ("private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave") => known,
        other => {
            return Err(Error::Spec(format!(
                "bind propagation {other:?} is not known"
            )));
        }
    };
    let access = if mount.read_only { "ro" } else { "rw" };
    Ok(json!({
        "destination": mount.target,
        "type": "bind",
        "source": source,
        "options": ["rbind", propagation, access],
    }))
}

/// Makes a volume where it is missing and fills it while it is empty, as Docker
/// does. Returns where its data is.
fn volume(dir: &Path, target: &str, no_copy: bool, root: &Jail) -> Result<PathBuf> {
    private_dir(dir)?;
    let data = dir.join("_data");
    // Two tasks may use a new volume at the same moment.
    let lock = File::create(dir.join(".lock")).map_err(Error::file("lock", dir))?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive)
        .map_err(|(_, errno)| Error::file("lock", dir)(errno))?;
    let source = if no_copy {
        None
    } else {
        root.directory(Path::new(target))
            .map_err(Error::file("look into the image at", target))?
    };
    if !data.exists() {
        // It gets its name when it is complete: what was cut off midway is not
        // taken for a volume that has been filled.
        let aside = dir.join("_data.new");
        match fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::file("remove", &aside)(error));
            }
            _ => {}
        }
        fs::create_dir(&aside)
            .and_then(|()| fs::set_permissions(&aside, Permissions::from_mode(0o755)))
            .map_err(Error::file("make", &aside))?;
        if let Some(source) = source {
            fill_from(source, &aside)?;
        }
        fs::rename(&aside, &data).map_err(Error::file("make", &data))?;
        return Ok(data);
    }
    let empty = fs::read_dir(&data)
        .map_err(Error::file("read", &data))?
        .next()
        .is_none();
    if let (true, Some(source)) = (empty, source) {
        // In place: another container may have it mounted.
        fill_from(source, &data)?;
    }
    Ok(data)
}

/// Fills an empty directory; what is there then survives a power cut.
fn fill_from(source: OwnedFd, target: &Path) -> Result<()> {
    let open = File::open(target).map_err(Error::file("open", target))?;
    let sync = open.try_clone().map_err(Error::file("open", target))?;
    fill::copy_directory(source, open.into())
        .and_then(|()| Ok(syncfs(sync)?))
        .map_err(Error::file("fill", target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::mount::{MntFlags, MsFlags, mount, umount2};

    #[test]
    fn names_that_are_paths_are_refused() {
        for name in ["", "..", "a/b", ".hidden", "x\0"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert!(check_name("vote_db-data.1").is_ok());
    }

    #[test]
    fn what_could_not_be_filled_is_filled_anew()
    -> std::result::Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let (image, small) = (dir.path().join("image"), dir.path().join("small"));
        fs::create_dir_all(image.join("db"))?;
        fs::create_dir(&small)?;
        for name in ["a", "b", "c"] {
            fs::write(image.join("db").join(name), vec![b'x'; 300 << 10])?;
        }
        let tmpfs =
            |flags, options| mount(Some("tmpfs"), &small, Some("tmpfs"), flags, Some(options));
        tmpfs(MsFlags::empty(), "size=512k")?;
        let root = Jail::open(&image)?;
        let first = volume(&small.join("data"), "/db", false, &root).map_err(|error| error.chain());
        tmpfs(MsFlags::MS_REMOUNT, "size=4m")?;
        let second = volume(&small.join("data"), "/db", false, &root).and_then(|data| {
            let entries = fs::read_dir(&data).map_err(Error::file("read", &data))?;
            Ok(entries
                .flatten()
                .filter_map(|e| e.metadata().ok())
                .map(|m| m.len())
                .sum::<u64>())
        });
        umount2(&small, MntFlags::MNT_DETACH)?;
        assert!(first.is_err_and(|text| text.contains("No space left")));
        assert_eq!(second?, 3 * (300 << 10));
        Ok(())
    }

    #[test]
    fn targets_outside_of_the_container_are_refused() {
        for target in ["", "/", "data", "/a/../../b"] {
            assert!(check_target(target).is_err(), "{target:?}");
        }
        assert!(check_target("/var/lib/data").is_ok());
    }
}
