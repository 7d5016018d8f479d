//! Changing the data key of a running member.

use crate::disk;
use crate::error::RotateError;
use crate::node::Raft;

impl Raft {
    /// Writes everything on disk again under another key. When it returns,
    /// nothing on disk needs another key than `new`, and the caller may forget
    /// the one before. Needs nobody else; proposals go on meanwhile.
    ///
    /// Keep both keys durably before the call: a crash leaves files under
    /// either. [`Raft::open`] with `new` as `data_key` and the other in
    /// `old_keys` finishes the work.
    ///
    /// # Errors
    /// [`RotateError`], if the disk fails or has no room, or the member is
    /// stopping: then files may be under either key.
    pub async fn rotate_data_key(&self, new: [u8; 32]) -> Result<(), RotateError> {
        let _one_at_a_time = self.inner.rotating.lock().await;
        let failed = |what| move |source| RotateError { what, source };
        let snapshots = self.inner.snapshots.clone();
        let done = disk::work(&*self.inner.config.disk, move || snapshots.rekey(new));
        done.await
            .and_then(|done| done.map_err(std::io::Error::other))
            .map_err(failed("snapshot"))?;
        self.inner.log.rekey(new).await.map_err(failed("log"))
    }
}
