//! From the bytes of a layer's blob to its directory: decompression by what the
//! bytes say (media types lie), digests of both the compressed blob and the tar
//! inside, and limits, all in one pass over the stream.

use std::io::{self, Cursor, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::stream::TarReader;
use super::unpack::unpack_tar;
use super::{Limits, UnpackError, Unpacked};
use crate::digest::{Digest, Hasher};

/// What the image says about a layer.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// Digest and size in bytes of the blob, compressed or not, where the
    /// source of the layer gives them.
    pub blob: Option<(Digest, u64)>,
    /// Digest of the tar stream inside.
    pub diff_id: Digest,
}

/// Unpacks a layer's blob into an existing empty directory and verifies it.
/// After an error the directory holds rubbish.
pub(crate) fn unpack_layer(
    blob: impl Read,
    expected: &Expected,
    into: &Path,
    limits: &Limits,
) -> Result<Unpacked, UnpackError> {
    let blob_hasher = expected.blob.as_ref().map(|(digest, _)| digest.hasher());
    let mut blob = Hashing::new(blob, blob_hasher);
    let outcome = unpack_stream(&mut blob, expected, into, limits);
    let failed = match outcome {
        Ok(unpacked) => {
            expected.check_blob(blob.read, blob.hasher)?;
            return Ok(unpacked);
        }
        // The disk is full or a limit is reached: the rest does not matter.
        Err(error) if error.is_no_space() || matches!(error, UnpackError::TooLarge { .. }) => {
            return Err(error);
        }
        Err(error) => error,
    };
    // A damaged blob shows as anything at all; its digest says so clearly.
    let left = expected
        .blob
        .as_ref()
        .map_or(0, |(_, size)| size.saturating_sub(blob.read));
    if let Ok(true) = drain(&mut blob, left) {
        expected.check_blob(blob.read, blob.hasher)?;
    }
    Err(failed)
}

fn unpack_stream(
    blob: &mut Hashing<impl Read>,
    expected: &Expected,
    into: &Path,
    limits: &Limits,
) -> Result<Unpacked, UnpackError> {
    let mut tar = Hashing::new(
        decoder(&mut *blob).map_err(UnpackError::Stream)?,
        Some(expected.diff_id.hasher()),
    );
    tar.limit = limits.layer_bytes;
    let mut reader = TarReader::new(&mut tar);
    let unpacked = unpack_tar(&mut reader, into, limits);
    if tar.over {
        return Err(UnpackError::TooLarge {
            limit: limits.layer_bytes,
            unit: "bytes",
        });
    }
    let unpacked = unpacked?;
    // What follows the end of the archive counts for the digests as well.
    let ended = drain(&mut tar, u64::MAX).map_err(UnpackError::Stream);
    if tar.over {
        return Err(UnpackError::TooLarge {
            limit: limits.layer_bytes,
            unit: "bytes",
        });
    }
    ended?;
    let hasher = tar.hasher.take();
    drop(tar);
    drain(blob, u64::MAX).map_err(UnpackError::Stream)?;
    if let Some(actual) = hasher.map(Hasher::finish)
        && actual != expected.diff_id
    {
        // Damage of the blob is the likelier tale, if it is damaged.
        expected.check_blob(blob.read, blob.hasher.clone())?;
        return Err(UnpackError::Digest {
            expected: expected.diff_id.clone(),
            actual,
        });
    }
    Ok(unpacked)
}

impl Expected {
    fn check_blob(&self, read: u64, hasher: Option<Hasher>) -> Result<(), UnpackError> {
        let Some((digest, size)) = &self.blob else {
            return Ok(());
        };
        if read != *size {
            return Err(UnpackError::Size {
                expected: *size,
                actual: read,
            });
        }
        match hasher.map(Hasher::finish) {
            Some(actual) if actual != *digest => Err(UnpackError::Digest {
                expected: digest.clone(),
                actual,
            }),
            _ => Ok(()),
        }
    }
}

/// Reads on until the end, or past `most` bytes; says whether the end came.
fn drain(reader: &mut impl Read, most: u64) -> io::Result<bool> {
    let mut scratch = [0u8; 16 << 10];
    let mut total = 0u64;
    loop {
        match reader.read(&mut scratch) {
            Ok(0) => return Ok(true),
            Ok(got) => total += got as u64,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        }
        if total > most {
            return Ok(false);
        }
    }
}

/// The uncompressed content of gzip, zstd or plain data, told by its first bytes.
pub(crate) fn decoder<'a>(mut reader: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = [0u8; 4];
    let mut got = 0;
    while got < magic.len() {
        match reader.read(&mut magic[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let whole = Cursor::new(magic[..got].to_vec()).chain(reader);
    Ok(match &magic[..got] {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(io::BufReader::with_capacity(
            64 << 10,
            whole,
        ))),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::stream::read::Decoder::new(whole)?),
        _ => Box::new(io::BufReader::with_capacity(64 << 10, whole)),
    })
}

/// Counts and digests what is read through it.
struct Hashing<R> {
    inner: R,
    hasher: Option<Hasher>,
    read: u64,
    limit: u64,
    /// Whether the limit was reached.
    over: bool,
}

impl<R> Hashing<R> {
    fn new(inner: R, hasher: Option<Hasher>) -> Hashing<R> {
        Hashing {
            inner,
            hasher,
            read: 0,
            limit: u64::MAX,
            over: false,
        }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.read += got as u64;
        if self.read > self.limit {
            self.over = true;
            return Err(io::Error::other("limit of bytes reached"));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..got]);
        }
        Ok(got)
    }
}
