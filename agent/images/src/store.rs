//! The store itself: what images, names and layers there are. `disk` keeps them
//! as files, `state` holds them in memory, `commit` makes a finished set of
//! layers an image. Pulling and loading are elsewhere and end in a commit.

mod commit;
mod disk;
mod state;

pub(crate) use commit::NewImage;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::digest::Digest;
use crate::error::StoreError;
use crate::image::{Image, Removed};
use crate::layer::{Expected, UnpackError, Unpacked, unpack_layer};
use crate::pull::Flights;
use crate::reference::Reference;
use crate::registry::{Http, RegistryConfig};
use disk::Disk;
use state::{LayerRecord, State};

/// The images of one node, in one directory that is this store's alone.
///
/// Cheap to clone; all clones are the same store. Methods that are `async`
/// must be called within a tokio runtime.
#[derive(Clone)]
pub struct ImageStore {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    disk: Disk,
    state: Mutex<State>,
    /// Held while an image is committed or files are removed.
    commit: Mutex<()>,
    /// One unpacking of a layer at a time.
    layers: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
    pub(crate) flights: Flights,
    pub(crate) http: Http,
    pub(crate) config: Arc<RegistryConfig>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is held across these locks is left inconsistent by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ImageStore {
    /// Opens the store in `dir`, which is made if it is missing. What an
    /// interrupted pull, load or removal left is cleaned up.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if another store has the directory open,
    /// [`StoreError::Mirror`] for a mirror that is no URL, [`StoreError::Disk`]
    /// if the directory cannot be used.
    pub fn open(dir: &Path, config: RegistryConfig) -> Result<ImageStore, StoreError> {
        crate::registry::check_mirrors(&config)?;
        let (disk, state) = Disk::open(dir)?;
        let config = Arc::new(config);
        Ok(ImageStore {
            inner: Arc::new(Inner {
                disk,
                state: Mutex::new(state),
                commit: Mutex::new(()),
                layers: Mutex::default(),
                flights: Flights::default(),
                http: Http::new(config.clone()),
                config,
            }),
        })
    }

    /// The image of a name (`redis:alpine`), an id, or the beginning of an id.
    ///
    /// # Errors
    /// [`StoreError::NoSuchImage`], or [`StoreError::Ambiguous`] if several ids
    /// begin like that.
    pub fn get(&self, name: &str) -> Result<Image, StoreError> {
        let state = lock(&self.inner.state);
        let id = state.find(name)?.0;
        state
            .image(&id, &self.inner.disk)
            .ok_or_else(|| StoreError::NoSuchImage(name.to_owned()))
    }

    /// The image of a name, if it is here.
    pub fn lookup(&self, reference: &Reference) -> Option<Image> {
        let state = lock(&self.inner.state);
        let id = state.of_name(reference)?;
        state.image(&id, &self.inner.disk)
    }

    /// All images, sorted by id.
    pub fn list(&self) -> Vec<Image> {
        let state = lock(&self.inner.state);
        state
            .ids()
            .iter()
            .filter_map(|id| state.image(id, &self.inner.disk))
            .collect()
    }

    /// Removes a name; with its last name goes the image, with the last image
    /// that has it goes a layer. An id removes the image at once if all its
    /// names are in one repository, or with `force`. `in_use` says whether
    /// containers use an image; such a one is not deleted, forced or not.
    ///
    /// # Errors
    /// Those of [`ImageStore::get`], [`StoreError::InUse`],
    /// [`StoreError::SeveralNames`], [`StoreError::Disk`].
    pub async fn remove(
        &self,
        name: &str,
        force: bool,
        in_use: impl Fn(&Digest) -> bool + Send + 'static,
    ) -> Result<Removed, StoreError> {
        let name = name.to_owned();
        self.blocking(move |inner| {
            inner.discard(|state| {
                let (id, reference) = state.find(&name)?;
                let mut removed = Removed::default();
                let names = state.names_of(&id);
                let going: Vec<Reference> = match &reference {
                    Some(reference) => state.with_name(&id, reference),
                    None => {
                        let repositories: BTreeSet<String> =
                            names.iter().map(Reference::repository).collect();
                        if repositories.len() > 1 && !force {
                            return Err(StoreError::SeveralNames(name.clone()));
                        }
                        names.clone()
                    }
                };
                if going.len() == names.len() {
                    if in_use(&id) {
                        return Err(StoreError::InUse(name.clone()));
                    }
                    state.forget(&id);
                    removed.deleted.push(id);
                } else {
                    state.unname(&going);
                }
                removed.untagged = going;
                Ok(removed)
            })
        })
        .await
    }

    /// Deletes every image without a tag, or with `all` every image, that no
    /// container uses.
    ///
    /// # Errors
    /// [`StoreError::Disk`] if the disk fails.
    pub async fn prune(
        &self,
        all: bool,
        in_use: impl Fn(&Digest) -> bool + Send + 'static,
    ) -> Result<Removed, StoreError> {
        self.blocking(move |inner| {
            inner.discard(|state| {
                let mut removed = Removed::default();
                for id in state.ids() {
                    let names = state.names_of(&id);
                    let tagged = names.iter().any(|name| name.digest().is_none());
                    if (all || !tagged) && !in_use(&id) {
                        state.forget(&id);
                        removed.untagged.extend(names);
                        removed.deleted.push(id);
                    }
                }
                Ok(removed)
            })
        })
        .await
    }

    /// Runs work on files where it may block.
    pub(crate) async fn blocking<T: Send + 'static, E: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let inner = self.inner.clone();
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(outcome) => outcome,
            Err(stopped) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Blocking work is only ever cancelled with the whole runtime,
                // and then nobody is left to take an answer.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

impl Inner {
    /// Changes names and images and deletes what nobody needs: the files first,
    /// which needs no room, the names last. A name without an image counts for
    /// nothing, so a crash in between does no harm.
    fn discard(
        &self,
        change: impl FnOnce(&mut State) -> Result<Removed, StoreError>,
    ) -> Result<Removed, StoreError> {
        let _commit = lock(&self.commit);
        let (mut removed, before, names, unused) = {
            let mut state = lock(&self.state);
            let before = state.names_document();
            let removed = change(&mut state)?;
            let unused = if removed.deleted.is_empty() {
                Vec::new()
            } else {
                state.drop_unused()
            };
            (removed, before, state.names_document(), unused)
        };
        removed.layers = unused.len();
        self.disk.delete(&removed.deleted, &unused)?;
        match self.disk.write_names(&names) {
            Err(error) if removed.deleted.is_empty() => {
                lock(&self.state).set_names(before);
                Err(error)
            }
            Err(error) => {
                tracing::warn!(?error, "names of removed images stay on disk");
                Ok(removed)
            }
            Ok(()) => Ok(removed),
        }
    }

    /// Keeps layers from being deleted as long as the guard lives.
    pub(crate) fn pin(self: &Arc<Inner>, diff_ids: Vec<Digest>) -> Pins {
        lock(&self.state).pin(&diff_ids);
        Pins {
            inner: self.clone(),
            diff_ids,
        }
    }

    /// The lock under which one layer is unpacked.
    pub(crate) fn layer_lock(&self, diff_id: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = lock(&self.layers);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(existing) = locks.get(diff_id).and_then(Weak::upgrade) {
            return existing;
        }
        let made = Arc::new(tokio::sync::Mutex::new(()));
        locks.insert(diff_id.clone(), Arc::downgrade(&made));
        made
    }

    pub(crate) fn has_layer(&self, diff_id: &Digest) -> bool {
        lock(&self.state).layer(diff_id).is_some()
    }

    /// Unpacks and verifies a layer and takes it into the store. Blocks.
    /// The caller holds the layer's lock and a pin on it.
    pub(crate) fn add_layer(
        &self,
        blob: impl std::io::Read,
        expected: &Expected,
    ) -> Result<(), UnpackError> {
        let aside = self.disk.aside().map_err(|e| match e {
            StoreError::Disk { source, .. } => UnpackError::Directory(source),
            other => UnpackError::Directory(std::io::Error::other(other)),
        })?;
        let Unpacked { size, implied } =
            unpack_layer(blob, expected, aside.path(), &self.config.limits)?;
        let name = expected.diff_id.hex().to_owned();
        // A removal that is under way must not take the new directory for the old.
        let _commit = lock(&self.commit);
        self.disk
            .put_layer(aside, &name)
            .map_err(UnpackError::Directory)?;
        lock(&self.state).add_layer(LayerRecord::new(
            name,
            expected.diff_id.clone(),
            size,
            implied,
        ));
        Ok(())
    }

    /// A file aside that is gone when it is dropped.
    pub(crate) fn spool(&self) -> Result<std::fs::File, StoreError> {
        self.disk.spool()
    }
}

/// Keeps layers from being deleted.
pub(crate) struct Pins {
    inner: Arc<Inner>,
    diff_ids: Vec<Digest>,
}

impl Drop for Pins {
    fn drop(&mut self) {
        lock(&self.inner.state).unpin(&self.diff_ids);
    }
}
