//! The members of an archive, found by their paths and read in place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::unusable;
use crate::digest::Digest;
use crate::error::{LoadError, StoreError};
use crate::layer::{Kind, TarReader, decoder};
use crate::manifest::Descriptor;
use crate::store::Inner;

/// How many members an archive of images may have.
const MEMBERS_MAX: usize = 100_000;
/// How many links within an archive may lead to a member.
const LINKS_MAX: usize = 8;

/// An indexed tar.
pub(super) struct Archive {
    file: Arc<File>,
    members: BTreeMap<Vec<u8>, Member>,
}

enum Member {
    /// Offset and size in the file.
    Content(u64, u64),
    /// The path of another member.
    Link(Vec<u8>),
}

impl Archive {
    /// Copies an archive, uncompressed, into a file of the store.
    pub(super) fn spooled(inner: &Inner, reader: impl Read) -> Result<Archive, LoadError> {
        let mut spool = inner.spool()?;
        let mut decoded = decoder(reader).map_err(LoadError::Read)?;
        let mut buffer = vec![0u8; 128 << 10];
        let mut total = 0u64;
        loop {
            let got = match decoded.read(&mut buffer) {
                Ok(0) => break,
                Ok(got) => got,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(LoadError::Read(e)),
            };
            total += got as u64;
            let most = inner.config.limits.layer_bytes;
            if total > most {
                return Err(unusable(format!(
                    "it holds more than {most} bytes, the limit of this node"
                )));
            }
            spool
                .write_all(&buffer[..got])
                .map_err(|e| StoreError::disk("copy the archive to", "tmp", e))?;
        }
        Archive::index(spool)
    }

    fn index(mut file: File) -> Result<Archive, LoadError> {
        let error = |e: io::Error| match e.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::Other => {
                unusable(format!("it is no tar archive, or a damaged one: {e}"))
            }
            _ => LoadError::Read(e),
        };
        let size = file.seek(SeekFrom::End(0)).map_err(LoadError::Read)?;
        file.seek(SeekFrom::Start(0)).map_err(LoadError::Read)?;
        let mut members = BTreeMap::new();
        let mut reader = TarReader::new(&file);
        while let Some(entry) = reader.next_seek().map_err(error)? {
            let Some(path) = normal(&entry.path, b"") else {
                continue;
            };
            let member = match entry.kind {
                Kind::File if reader.position() + entry.size > size => {
                    return Err(error(io::ErrorKind::UnexpectedEof.into()));
                }
                Kind::File => Member::Content(reader.position(), entry.size),
                // Old versions of Docker save a layer that comes twice as a link.
                Kind::Symlink => match normal(&entry.link, parent(&path)) {
                    Some(target) => Member::Link(target),
                    None => continue,
                },
                Kind::HardLink => match normal(&entry.link, b"") {
                    Some(target) => Member::Link(target),
                    None => continue,
                },
                _ => continue,
            };
            members.insert(path, member);
            if members.len() > MEMBERS_MAX {
                return Err(unusable(format!("it has more than {MEMBERS_MAX} members")));
            }
        }
        Ok(Archive {
            file: Arc::new(file),
            members,
        })
    }

    pub(super) fn get(&self, path: &str) -> Option<Section> {
        let mut path = normal(path.as_bytes(), b"")?;
        for _ in 0..LINKS_MAX {
            match self.members.get(&path)? {
                Member::Content(offset, size) => {
                    return Some(Section {
                        file: self.file.clone(),
                        offset: *offset,
                        left: *size,
                    });
                }
                Member::Link(target) => path = target.clone(),
            }
        }
        None
    }

    pub(super) fn blob(&self, descriptor: &Descriptor) -> Result<Section, LoadError> {
        let digest = &descriptor.digest;
        let path = format!("blobs/{}/{}", digest.algorithm(), digest.hex());
        self.get(&path)
            .ok_or_else(|| unusable(format!("{path} is missing")))
    }
}

/// A path without empty parts, from the archive's root; `None` if it leaves it.
fn normal(path: &[u8], base: &[u8]) -> Option<Vec<u8>> {
    let base = if path.starts_with(b"/") { b"" } else { base };
    let mut parts: Vec<&[u8]> = base
        .split(|b| *b == b'/')
        .filter(|part| !part.is_empty())
        .collect();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter()
        .rposition(|b| *b == b'/')
        .map_or(b"", |slash| &path[..slash])
}

/// A part of a file, read from its beginning.
pub(super) struct Section {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl Section {
    /// The whole of it, where it is a document.
    pub(super) fn document(mut self, most: u64) -> Result<Vec<u8>, LoadError> {
        if self.left > most {
            return Err(unusable(format!(
                "it has a document of more than {most} bytes"
            )));
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).map_err(LoadError::Read)?;
        Ok(bytes)
    }

    pub(super) fn verified(self, digest: &Digest, most: u64) -> Result<Vec<u8>, LoadError> {
        let bytes = self.document(most)?;
        if !digest.matches(&bytes) {
            return Err(unusable(format!(
                "its content of digest {digest} is damaged"
            )));
        }
        Ok(bytes)
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let got = self.file.read_at(&mut buffer[..most], self.offset)?;
        self.offset += got as u64;
        self.left -= got as u64;
        Ok(got)
    }
}
