//! The store's files. Everything is written aside and renamed; an image exists
//! once its record does, and the record is written when all it speaks of is
//! durable.
//!
//! ```text
//! lock                  held by the one daemon that may use the directory
//! names.json            names -> ids
//! images/HEX.json       records of images
//! configs/HEX.json      configurations, byte for byte
//! layers/HEX[-N]/       directories of layers, by the digest of their tar stream
//! layers/HEX[-N].json   what is known of them
//! tmp/                  what is being made; emptied at open
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FlockOperation;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::state::{ImageRecord, LayerRecord, Names, State};
use crate::config::Document;
use crate::digest::Digest;
use crate::error::StoreError;

pub(super) struct Disk {
    root: PathBuf,
    counter: AtomicU64,
    /// Locked as long as it is open.
    _lock: File,
}

impl Disk {
    /// Opens the directory, cleans it up, and reads what is in it.
    pub(super) fn open(root: &Path) -> Result<(Disk, State), StoreError> {
        let root = std::path::absolute(root).map_err(|e| StoreError::disk("find", root, e))?;
        make_directory(&root)?;
        let path = root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| StoreError::disk("open", &path, e))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|errno| {
            match errno {
                rustix::io::Errno::WOULDBLOCK => StoreError::Busy(root.clone()),
                errno => StoreError::disk("lock", &path, errno),
            }
        })?;
        let disk = Disk {
            root,
            counter: AtomicU64::new(0),
            _lock: lock,
        };
        remove_all(&disk.root.join("tmp"))?;
        for name in ["tmp", "images", "configs", "layers"] {
            make_directory(&disk.root.join(name))?;
        }
        let state = disk.read()?;
        Ok((disk, state))
    }

    /// Reads all records. An image that lacks anything is dropped with a word
    /// in the log: it can be pulled again, and half of it is worse than none.
    fn read(&self) -> Result<State, StoreError> {
        let mut state = State::default();
        let layers = self.root.join("layers");
        for name in file_names(&layers)? {
            if let Some(stem) = name.strip_suffix(".json")
                && let Some(record) = read_json::<LayerRecord>(&layers.join(&name))
                && record.name == stem
                && self.layer(stem).is_dir()
            {
                state.add_layer(record);
            }
        }
        let images = self.root.join("images");
        for name in file_names(&images)? {
            let path = images.join(&name);
            let read = read_json::<ImageRecord>(&path).and_then(|record| {
                let config = fs::read(self.config(&record.id)).ok()?;
                let whole = record.id.matches(&config)
                    && record.layers.iter().all(|layer| state.has_directory(layer));
                let document = Document::parse(&config).ok()?;
                whole.then_some((record, document))
            });
            match read {
                Some((record, document)) => state.add_image(record, document),
                None => {
                    tracing::warn!(?path, "image is damaged on disk: dropped, pull it again");
                    remove_all(&path)?;
                }
            }
        }
        let ids = state.ids();
        let path = self.root.join("names.json");
        if path.exists() {
            match read_json::<Names>(&path) {
                Some(names) => {
                    for (name, id) in names {
                        if ids.contains(&id) {
                            state.name(name, id);
                        }
                    }
                }
                None => tracing::warn!(?path, "names of images are damaged on disk: pull again"),
            }
        }
        state.drop_unused();
        self.sweep(&state, &ids)?;
        Ok(state)
    }

    /// Deletes the files that nothing in the state speaks of.
    fn sweep(&self, state: &State, ids: &[Digest]) -> Result<(), StoreError> {
        let layers = self.root.join("layers");
        for name in file_names(&layers)? {
            let stem = name.strip_suffix(".json").unwrap_or(&name);
            if !state.has_directory(stem) {
                remove_all(&layers.join(&name))?;
            }
        }
        let configs = self.root.join("configs");
        for name in file_names(&configs)? {
            if !ids
                .iter()
                .any(|id| name.strip_suffix(".json") == Some(id.hex()))
            {
                remove_all(&configs.join(&name))?;
            }
        }
        Ok(())
    }

    pub(super) fn layer(&self, name: &str) -> PathBuf {
        self.root.join("layers").join(name)
    }

    fn config(&self, id: &Digest) -> PathBuf {
        self.root.join("configs").join(format!("{}.json", id.hex()))
    }

    fn temporary(&self) -> PathBuf {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        self.root.join("tmp").join(number.to_string())
    }

    /// A new empty directory aside.
    pub(super) fn aside(&self) -> Result<Aside, StoreError> {
        let path = self.temporary();
        // Roots of images are readable unless the layer says otherwise.
        DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .map_err(|e| StoreError::disk("make", &path, e))?;
        Ok(Aside { path, keep: false })
    }

    /// A new nameless file.
    pub(super) fn spool(&self) -> Result<File, StoreError> {
        let path = self.temporary();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| StoreError::disk("make", &path, e))?;
        fs::remove_file(&path).map_err(|e| StoreError::disk("unlink", &path, e))?;
        Ok(file)
    }

    /// Writes what is known of a layer. Not durable before [`Disk::sync`].
    pub(super) fn write_layer(&self, record: &LayerRecord) -> Result<(), StoreError> {
        let path = self
            .root
            .join("layers")
            .join(format!("{}.json", record.name));
        self.write(&path, &json(&path, record)?, false)
    }

    /// Writes a configuration. Not durable before [`Disk::sync`].
    pub(super) fn write_config(&self, id: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        self.write(&self.config(id), bytes, false)
    }

    /// Makes everything written so far durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let directory =
            File::open(&self.root).map_err(|e| StoreError::disk("open", &self.root, e))?;
        rustix::fs::syncfs(&directory).map_err(|e| StoreError::disk("sync", &self.root, e))
    }

    pub(super) fn write_image(&self, record: &ImageRecord) -> Result<(), StoreError> {
        let path = self
            .root
            .join("images")
            .join(format!("{}.json", record.id.hex()));
        self.write(&path, &json(&path, record)?, true)
    }

    pub(super) fn write_names(&self, names: &Names) -> Result<(), StoreError> {
        let path = self.root.join("names.json");
        self.write(&path, &json(&path, names)?, true)
    }

    fn write(&self, path: &Path, bytes: &[u8], durable: bool) -> Result<(), StoreError> {
        let aside = self.temporary();
        let written = (|| {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&aside)?;
            file.write_all(bytes)?;
            if durable {
                file.sync_all()?;
            }
            fs::rename(&aside, path)?;
            if durable && let Some(parent) = path.parent() {
                File::open(parent)?.sync_all()?;
            }
            Ok(())
        })();
        written.map_err(|e: io::Error| {
            let _ = fs::remove_file(&aside);
            StoreError::disk("write", path, e)
        })
    }

    /// Deletes images' files and layers' directories, records first. One that
    /// cannot be deleted does not keep the others: the first error is returned.
    pub(super) fn delete(&self, images: &[Digest], layers: &[String]) -> Result<(), StoreError> {
        let mut result = Ok(());
        for id in images {
            let record = self.root.join("images").join(format!("{}.json", id.hex()));
            let deleted = remove_all(&record).and_then(|()| remove_all(&self.config(id)));
            result = result.and(deleted);
        }
        for name in layers {
            let record = self.root.join("layers").join(format!("{name}.json"));
            let deleted = remove_all(&record).and_then(|()| self.delete_directory(name));
            result = result.and(deleted);
        }
        result
    }

    /// Deletes the directory of a layer, out of the way first: half a layer must
    /// not look like one.
    fn delete_directory(&self, name: &str) -> Result<(), StoreError> {
        let (from, to) = (self.layer(name), self.temporary());
        match fs::rename(&from, &to) {
            Ok(()) => remove_all(&to),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(StoreError::disk("remove", from, e)),
        }
    }

    /// Puts a finished directory in the place of the layer `name`, which is in no
    /// record: what a failed removal left there goes.
    pub(super) fn put_layer(&self, aside: Aside, name: &str) -> io::Result<()> {
        let place = self.layer(name);
        if place.symlink_metadata().is_ok() {
            // Deleted when it is dropped.
            let old = self.temporary();
            fs::rename(&place, &old)?;
            drop(Aside {
                path: old,
                keep: false,
            });
        }
        aside.rename(&place)
    }
}

/// A directory that is being made, deleted unless it is renamed.
pub(super) struct Aside {
    path: PathBuf,
    keep: bool,
}

impl Aside {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn rename(mut self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)?;
        self.keep = true;
        Ok(())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = remove_all(&self.path)
        {
            tracing::warn!(path = ?self.path, %error, "leftover of an image stays until the next start");
        }
    }
}

fn make_directory(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| StoreError::disk("make", path, e))
}

/// Removes a file or a directory with everything in it, if it is there.
/// Does not follow links.
fn remove_all(path: &Path) -> Result<(), StoreError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::disk("remove", path, e)),
        _ => Ok(()),
    }
}

fn file_names(directory: &Path) -> Result<Vec<String>, StoreError> {
    let read = || {
        fs::read_dir(directory)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<String>>>()
    };
    read().map_err(|e| StoreError::disk("read", directory, e))
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn json<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec_pretty(value)
        .map_err(|e| StoreError::disk("write", path, io::Error::from(e)))
}
