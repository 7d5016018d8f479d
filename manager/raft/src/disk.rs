//! What the log and the snapshots need from a disk.
//!
//! Owns the two traits through which this crate does all its file work, and
//! the way to do that work without holding up a runtime. [`Real`] is the file
//! system; [`Simulated`] is one in memory that forgets, tears and fails on
//! command. Leaves file names and formats to `storage`.

mod real;
mod simulated;

use std::io;
use std::path::Path;
use std::pin::Pin;

pub use real::Real;
pub use simulated::{Fault, Simulated};

/// A file system as far as this crate uses one.
///
/// A change is durable when the sync that follows it has returned: of bytes
/// by [`File::sync`], of names by [`Disk::sync_dir`].
pub trait Disk: Send + Sync + 'static {
    /// Makes a directory that only its owner enters, with all above it. One
    /// that is there is no error.
    ///
    /// # Errors
    /// The system's.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the lock that this file stands for until what is returned is
    /// dropped; `None` if somebody else has it.
    ///
    /// # Errors
    /// The system's.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send>>>;

    /// An empty file that only its owner reads, whatever had its name before.
    ///
    /// # Errors
    /// The system's.
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// A file that is there, to be written.
    ///
    /// # Errors
    /// The system's; `NotFound` if it is not there.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// All bytes of a file.
    ///
    /// # Errors
    /// The system's; `NotFound` if it is not there.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Gives a file another name; one that had it before is gone.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The system's; `NotFound` if it is not there.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, in no order; those that are not text are
    /// left out.
    ///
    /// # Errors
    /// The system's; `NotFound` if the directory is not there.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// The system's.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Whether calls hold up their thread until they are done. If not, they
    /// return at once and are done when [`Disk::settled`] says so.
    fn blocks(&self) -> bool {
        true
    }

    /// Ends when all that was asked for before is done.
    fn settled(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

/// An open file.
pub trait File: Send {
    /// Writes some of the bytes, from the first on, and says how many.
    ///
    /// # Errors
    /// The system's; some bytes may have been written all the same.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Cuts the file, or lengthens it by zeros.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Makes bytes and length durable. After an error nobody knows what is on
    /// the disk, and trying again does not tell: the system may have dropped
    /// what it could not write.
    ///
    /// # Errors
    /// The system's.
    fn sync(&self) -> io::Result<()>;

    /// Writes all the bytes.
    ///
    /// # Errors
    /// The system's, or `WriteZero` if the disk takes no more.
    fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    offset += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Does work on a disk without holding up the runtime: on a thread for such
/// work, or, where calls do not block, here and now.
///
/// # Errors
/// If the work panicked.
pub(crate) async fn work<T: Send + 'static>(
    disk: &dyn Disk,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    if disk.blocks() {
        let done = tokio::task::spawn_blocking(work).await;
        return done.map_err(io::Error::other);
    }
    let done = work();
    disk.settled().await;
    Ok(done)
}
