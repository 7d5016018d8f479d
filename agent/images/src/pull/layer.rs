//! One layer of a pull: downloaded and unpacked at the same time, once, whoever
//! else wants it.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{broadcast, mpsc};

use crate::digest::Digest;
use crate::error::PullError;
use crate::layer::{Expected, UnpackError};
use crate::progress::{Progress, Stage};
use crate::reference::Reference;
use crate::registry::{BlobEvent, Session};
use crate::store::ImageStore;

/// Chunks of a layer between the network and the unpacking.
const CHUNKS: usize = 64;
/// A layer's download is reported when this many more bytes are here.
const REPORT: u64 = 512 << 10;
/// How often a layer that arrived damaged is fetched anew.
const DAMAGED_MAX: u32 = 1;

/// One layer on its way.
pub(super) struct Layer {
    pub store: ImageStore,
    pub session: Arc<Session>,
    pub reference: Reference,
    pub progress: broadcast::Sender<Progress>,
    pub blob: Digest,
    pub size: u64,
    pub diff_id: Digest,
}

impl Layer {
    pub(super) fn tell(&self, stage: Stage) {
        let _ = self.progress.send(Progress {
            layer: Some(self.blob.clone()),
            stage,
        });
    }

    pub(super) async fn bring(&self) -> Result<(), PullError> {
        let lock = self.store.inner.layer_lock(&self.diff_id);
        let held = Arc::new(lock.lock_owned().await);
        if self.store.inner.has_layer(&self.diff_id) {
            self.tell(Stage::AlreadyExists);
            return Ok(());
        }
        let mut damaged = 0;
        loop {
            match self.try_bring(&held).await {
                Ok(()) => break,
                Err(error @ PullError::DigestMismatch { .. }) if damaged < DAMAGED_MAX => {
                    damaged += 1;
                    self.tell(Stage::Retrying {
                        attempt: damaged,
                        reason: error.to_string(),
                    });
                }
                Err(error) => return Err(error),
            }
        }
        self.tell(Stage::Complete);
        Ok(())
    }

    /// Downloads and unpacks at the same time. `held` lives as long as the
    /// unpacking does, even if this future is dropped before.
    async fn try_bring(
        &self,
        held: &Arc<tokio::sync::OwnedMutexGuard<()>>,
    ) -> Result<(), PullError> {
        let (chunks, received) = mpsc::channel(CHUNKS);
        let expected = Expected {
            blob: Some((self.blob.clone(), self.size)),
            diff_id: self.diff_id.clone(),
        };
        let held = held.clone();
        let pin = self.store.inner.pin(vec![self.diff_id.clone()]);
        let unpacking = self.store.blocking(move |inner| {
            let _held = (held, pin);
            inner.add_layer(
                Chunks {
                    received,
                    current: Bytes::new(),
                },
                &expected,
            )
        });
        let reported = std::sync::atomic::AtomicU64::new(0);
        let downloading = self
            .session
            .blob(&self.blob, self.size, chunks, |event| match event {
                BlobEvent::Bytes(current) => {
                    use std::sync::atomic::Ordering::Relaxed;
                    if current >= reported.load(Relaxed) + REPORT || current == self.size {
                        reported.store(current, Relaxed);
                        self.tell(Stage::Downloading {
                            current,
                            total: self.size,
                        });
                    }
                }
                BlobEvent::Retry(attempt, reason) => self.tell(Stage::Retrying { attempt, reason }),
            });
        let (downloaded, unpacked) = tokio::join!(downloading, unpacking);
        // A broken download breaks the unpacking as well, and is the reason.
        downloaded?;
        unpacked.map_err(|source| self.unpack_error(source))
    }

    fn unpack_error(&self, source: UnpackError) -> PullError {
        let reference = self.reference.clone();
        match source {
            source if source.is_no_space() => PullError::NoSpace {
                reference,
                source: Arc::new(source),
            },
            UnpackError::Digest { expected, actual } => PullError::DigestMismatch {
                reference,
                registry: self.session.registry(),
                what: format!("layer {}", self.blob.short()),
                expected,
                actual,
            },
            source => PullError::Unpack {
                reference,
                layer: self.blob.clone(),
                source: Arc::new(source),
            },
        }
    }
}

/// The chunks of a download as something to read, for the unpacking thread.
struct Chunks {
    received: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.received.blocking_recv() {
                Some(chunk) => self.current = chunk?,
                None => return Ok(0),
            }
        }
        let most = buffer.len().min(self.current.len());
        buffer[..most].copy_from_slice(&self.current.split_to(most));
        Ok(most)
    }
}
