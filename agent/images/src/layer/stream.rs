//! Reads a tar stream entry by entry: ustar, GNU and PAX, with everything that
//! a hostile stream could make large held to a limit. Field parsing is the
//! `tar` crate's; the walk is ours because that crate splits PAX records at
//! newlines (binary attributes contain them), reads extension entries of any
//! size into memory, and rejects streams whose last padding is cut off, which
//! other tools write and accept.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use tar::{EntryType, Header};

use super::pax::Overrides;

/// Tar is made of blocks of this many bytes.
const BLOCK: usize = 512;
/// The most that the extension entries (PAX records, GNU long names) before one
/// entry may hold together.
const EXTENSION_MAX: u64 = 1 << 20;
/// The longest path or link target, as in the kernel.
const PATH_MAX: usize = 4096;

/// Where a header keeps its numbers.
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const DEVICE_MAJOR: Range<usize> = 329..337;
const DEVICE_MINOR: Range<usize> = 337..345;

/// A number of a header; a field that was left empty is zero.
fn number_or_zero<T: Default>(
    header: &Header,
    field: Range<usize>,
    read: impl Fn(&Header) -> io::Result<T>,
) -> io::Result<T> {
    if header.as_bytes()[field]
        .iter()
        .all(|b| matches!(b, 0 | b' '))
    {
        return Ok(T::default());
    }
    read(header)
}

/// What an entry makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// One entry: everything but its content.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub path: Vec<u8>,
    /// Target of a link; empty otherwise.
    pub link: Vec<u8>,
    pub kind: Kind,
    /// Permission bits with set-id and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970, and nanoseconds.
    pub mtime: (i64, u32),
    /// Bytes of content that follow.
    pub size: u64,
    pub device: (u32, u32),
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A tar stream being read. After [`TarReader::next`] returned an entry, its
/// content is what [`Read`] yields; what is left of it is skipped by the next
/// call.
pub(crate) struct TarReader<R> {
    inner: R,
    /// Content of the current entry that was not read yet, in bytes.
    left: u64,
    /// Padding after the content.
    padding: u64,
    /// Bytes of the stream taken so far, to tell where content lies.
    position: u64,
    ended: bool,
}

pub(super) fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(inner: R) -> TarReader<R> {
        TarReader {
            inner,
            left: 0,
            padding: 0,
            position: 0,
            ended: false,
        }
    }

    /// The offset in the stream of what is read next.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next entry, or `None` at the end of the archive.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut overrides = Overrides::default();
        let mut room = EXTENSION_MAX;
        loop {
            let Some(header) = self.next_header()? else {
                return Ok(None);
            };
            let kind = match header.entry_type() {
                EntryType::XHeader => {
                    let records = self.extension(&mut room)?;
                    overrides.pax(&records)?;
                    continue;
                }
                EntryType::GNULongName => {
                    overrides.path = Some(trimmed(self.extension(&mut room)?));
                    continue;
                }
                EntryType::GNULongLink => {
                    overrides.link = Some(trimmed(self.extension(&mut room)?));
                    continue;
                }
                // Global records only carry comments in practice (git writes
                // its commit there); image tools ignore them.
                EntryType::XGlobalHeader => continue,
                EntryType::Regular | EntryType::Continuous => Kind::File,
                EntryType::Link => Kind::HardLink,
                EntryType::Symlink => Kind::Symlink,
                EntryType::Char => Kind::CharDevice,
                EntryType::Block => Kind::BlockDevice,
                EntryType::Directory => Kind::Directory,
                EntryType::Fifo => Kind::Fifo,
                other => {
                    return Err(invalid(format!(
                        "tar entry of unsupported type {:?}",
                        char::from(other.as_byte())
                    )));
                }
            };
            return self.entry(&header, kind, overrides).map(Some);
        }
    }

    fn entry(&mut self, header: &Header, kind: Kind, overrides: Overrides) -> io::Result<Entry> {
        if let Some(size) = overrides.size {
            self.set_content(size)?;
        }
        let mut path = overrides
            .path
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let link = overrides
            .link
            .unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        if path.len() > PATH_MAX || link.len() > PATH_MAX {
            return Err(invalid(format!(
                "tar entry has a path longer than {PATH_MAX} bytes"
            )));
        }
        if path.contains(&0) || link.contains(&0) {
            return Err(invalid("tar entry has a path with a null byte"));
        }
        // Old archives mark a directory by the slash at its end.
        let kind = if kind == Kind::File && path.ends_with(b"/") {
            Kind::Directory
        } else {
            kind
        };
        while path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        let device = match kind {
            Kind::CharDevice | Kind::BlockDevice => (
                number_or_zero(header, DEVICE_MAJOR, |h| {
                    h.device_major().map(Option::unwrap_or_default)
                })?,
                number_or_zero(header, DEVICE_MINOR, |h| {
                    h.device_minor().map(Option::unwrap_or_default)
                })?,
            ),
            _ => (0, 0),
        };
        let id = |value: u64| {
            u32::try_from(value).map_err(|_| invalid("tar entry has an owner above 2^32"))
        };
        let size = if kind == Kind::File {
            self.left
        } else {
            // Some writers record the size of the target with a link, and no
            // content; those that do write content are skipped over likewise.
            if kind == Kind::HardLink && overrides.size.is_none() {
                self.set_content(0)?;
            }
            0
        };
        Ok(Entry {
            path,
            link,
            kind,
            mode: number_or_zero(header, MODE, Header::mode)? & 0o7777,
            uid: overrides
                .uid
                .map_or_else(|| id(number_or_zero(header, UID, Header::uid)?), Ok)?,
            gid: overrides
                .gid
                .map_or_else(|| id(number_or_zero(header, GID, Header::gid)?), Ok)?,
            mtime: match overrides.mtime {
                Some(mtime) => mtime,
                None => (
                    i64::try_from(number_or_zero(header, MTIME, Header::mtime)?).unwrap_or(0),
                    0,
                ),
            },
            size,
            device,
            xattrs: overrides.xattrs,
        })
    }

    /// Sets how much content and padding follow the current header.
    fn set_content(&mut self, size: u64) -> io::Result<()> {
        // Keeps the arithmetic of offsets far from overflow.
        if size > 1 << 60 {
            return Err(invalid("tar entry has an absurd size"));
        }
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn next_header(&mut self) -> io::Result<Option<Header>> {
        if self.ended {
            return Ok(None);
        }
        self.skip_rest()?;
        let mut header = Header::new_old();
        let got = self.fill(header.as_mut_bytes())?;
        let bytes = header.as_bytes();
        // One block of zeros is the end (two are due, not all tools write both),
        // and so is an end of stream where a header could begin.
        if got == 0 || (got == BLOCK && bytes.iter().all(|b| *b == 0)) {
            self.ended = true;
            return Ok(None);
        }
        if got < BLOCK {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let sum = |bytes: &[u8]| bytes.iter().map(|b| u32::from(*b)).sum::<u32>();
        let computed = sum(&bytes[..148]) + 8 * u32::from(b' ') + sum(&bytes[156..]);
        if header.cksum()? != computed {
            return Err(invalid("tar header has a wrong checksum"));
        }
        let size = number_or_zero(&header, SIZE, Header::entry_size)?;
        self.set_content(size)?;
        Ok(Some(header))
    }

    /// The whole content of an extension entry, taken out of the room that is left.
    fn extension(&mut self, room: &mut u64) -> io::Result<Vec<u8>> {
        *room = room.checked_sub(self.left).ok_or_else(|| {
            invalid(format!(
                "tar entry with extensions above {EXTENSION_MAX} bytes"
            ))
        })?;
        let mut bytes = Vec::new();
        let want = self.left;
        self.read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < want {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        let mut scratch = [0u8; 8192];
        while self.left > 0 {
            if self.read(&mut scratch)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let padding = usize::try_from(std::mem::take(&mut self.padding)).unwrap_or(0);
        // A stream that ends within the last padding has lost nothing.
        self.fill(&mut scratch[..padding])?;
        Ok(())
    }

    /// Reads until `buffer` is full or the stream ends; says how much it read.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut got = 0;
        while got < buffer.len() {
            match self.inner.read(&mut buffer[got..]) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.position += got as u64;
        Ok(got)
    }
}

impl<R: Read + Seek> TarReader<R> {
    /// Like [`TarReader::next`], without reading the content in between.
    pub(crate) fn next_seek(&mut self) -> io::Result<Option<Entry>> {
        let skip = std::mem::take(&mut self.left) + std::mem::take(&mut self.padding);
        if skip > 0 {
            let by = i64::try_from(skip).map_err(|_| invalid("tar entry has an absurd size"))?;
            self.inner.seek(SeekFrom::Current(by))?;
            self.position += skip;
        }
        self.next()
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let got = self.inner.read(&mut buffer[..most])?;
        self.left -= got as u64;
        self.position += got as u64;
        Ok(got)
    }
}

/// Without the zero that ends a GNU long name.
fn trimmed(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(zero) = bytes.iter().position(|b| *b == 0) {
        bytes.truncate(zero);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length += 1;
        }
        let mut bytes = format!("{length} {key}=").into_bytes();
        bytes.extend_from_slice(value);
        bytes.push(b'\n');
        bytes
    }

    fn header(kind: EntryType, path: &str, size: u64) -> Header {
        let mut header = Header::new_ustar();
        header.set_path(path).unwrap();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_uid(1);
        header.set_gid(2);
        header.set_mtime(3);
        header.set_cksum();
        header
    }

    fn archive(parts: &[(EntryType, &str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, path, content) in parts {
            bytes.extend_from_slice(header(*kind, path, content.len() as u64).as_bytes());
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        }
        bytes
    }

    #[test]
    fn pax_values_with_newlines_times_and_ids_are_kept() {
        let mut records = record("SCHILY.xattr.security.capability", b"\x01\n\x00\n=x");
        records.extend(record("mtime", b"-1.25"));
        records.extend(record("uid", b"70000"));
        records.extend(record("path", "näme\nline".as_bytes()));
        let bytes = archive(&[
            (EntryType::XHeader, "pax", &records),
            (EntryType::Regular, "short", b"content"),
        ]);
        let mut reader = TarReader::new(&bytes[..]);
        let entry = reader.next().unwrap().unwrap();
        assert_eq!(entry.path, "näme\nline".as_bytes());
        assert_eq!(entry.mtime, (-2, 750_000_000));
        assert_eq!((entry.uid, entry.gid), (70000, 2));
        assert_eq!(
            entry.xattrs,
            [(b"security.capability".to_vec(), b"\x01\n\x00\n=x".to_vec())]
        );
        let mut content = String::new();
        reader.read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
        assert!(reader.next().unwrap().is_none());
    }

    #[test]
    fn a_cut_padding_is_fine_and_cut_content_is_not() {
        let bytes = archive(&[(EntryType::Regular, "a", b"123")]);
        let mut whole = TarReader::new(&bytes[..BLOCK + 3]);
        whole.next().unwrap().unwrap();
        assert!(whole.next().unwrap().is_none());
        let mut cut = TarReader::new(&bytes[..BLOCK + 2]);
        cut.next().unwrap().unwrap();
        assert_eq!(cut.next().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let mut in_header = TarReader::new(&bytes[..100]);
        assert_eq!(
            in_header.next().unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn an_extension_of_any_size_is_not_read_into_memory() {
        let mut bytes = header(EntryType::XHeader, "pax", 1 << 40)
            .as_bytes()
            .to_vec();
        bytes.extend(std::iter::repeat_n(b'x', BLOCK));
        assert_eq!(
            TarReader::new(&bytes[..]).next().unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }

    #[test]
    fn extensions_of_one_entry_are_counted_together() {
        let large = record("SCHILY.xattr.user.x", &vec![b'x'; 600_000]);
        let ext = (EntryType::XHeader, "pax", &large[..]);
        let file = (EntryType::Regular, "a", &b""[..]);
        let bytes = archive(&[ext, file, ext, file]);
        let mut apart = TarReader::new(&bytes[..]);
        for _ in 0..2 {
            assert_eq!(apart.next().unwrap().unwrap().xattrs.len(), 1);
        }
        let bytes = archive(&[ext, ext, file]);
        let error = TarReader::new(&bytes[..]).next().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    proptest::proptest! {
        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2048)) {
            let mut reader = TarReader::new(&bytes[..]);
            while let Ok(Some(_)) = reader.next() {}
            let _ = Overrides::default().pax(&bytes);
        }
    }
}
