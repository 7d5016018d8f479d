//! The shape of our files on disk: a header, then records, each with length,
//! CRC32C and AEAD.
//!
//! Owns framing and encryption and the judgement whether a bad record is a
//! write that a crash cut short or damage to something once acknowledged.
//! Leaves files and directories to `segment` and `snapshot`.
//!
//! Every file has a random salt from which, with the data key, its own key is
//! derived, and no file is written again once it was reopened. So an offset
//! is used once per key and serves as the nonce, which also binds a record to
//! its place.

use std::path::Path;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;

use crate::error::OpenError;

/// Bytes of the header of a file.
pub(crate) const FILE_HEADER: usize = 128;
/// Bytes of the header of a record. Records start at multiples of it, so a
/// header never straddles two sectors and is either written or not.
pub(crate) const RECORD_HEADER: usize = 16;
/// What a disk writes as one; the smallest there is in use.
const SECTOR: usize = 512;
/// Fills a record up.
const PAD: u8 = 0xff;
const MAGIC: [u8; 8] = *b"SKEPRAFT";
const VERSION: u32 = 1;
/// The nonce that seals the file header; no record starts there.
const HEADER_NONCE: u64 = u64::MAX;

/// What a file is for; a snapshot must not be read as a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    Log = 1,
    Snapshot = 2,
}

/// The key to one file.
pub(crate) struct Seal {
    key: LessSafeKey,
    salt: [u8; 32],
}

/// The header of a file, opened and checked.
pub(crate) struct FileHeader {
    pub number: u64,
    /// Where the file with the number before ended, if there was one.
    pub previous_end: Option<u64>,
    /// The key it is under.
    pub data_key: [u8; 32],
    pub seal: Seal,
}

/// What stands at one offset of a file.
pub(crate) enum Step {
    Record {
        plain: Vec<u8>,
        next: usize,
    },
    /// Nothing was written here.
    End,
    Bad(Flaw),
}

/// A record that cannot be read.
#[derive(Debug)]
pub(crate) struct Flaw {
    pub what: &'static str,
    /// A part of it was never written, as after a crash in mid-write.
    pub torn: bool,
}

/// Why a header does not open.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderFlaw {
    Damaged(&'static str),
    WrongKey,
    Version(u32),
}

impl HeaderFlaw {
    pub(crate) fn at(self, path: &Path) -> OpenError {
        match self {
            Self::Damaged(what) => OpenError::Damaged {
                path: path.into(),
                offset: 0,
                what: what.into(),
            },
            Self::WrongKey => OpenError::WrongKey { path: path.into() },
            Self::Version(found) => OpenError::OtherVersion {
                path: path.into(),
                what: format!("it is in format {found}, which is one"),
            },
        }
    }
}

struct KeyLength;

impl hkdf::KeyType for KeyLength {
    fn len(&self) -> usize {
        AES_256_GCM.key_len()
    }
}

fn nonce(position: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..8].copy_from_slice(&position.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// The offset at which a record after one that ends at `end` starts.
pub(crate) fn align(end: usize) -> usize {
    end.next_multiple_of(RECORD_HEADER)
}

impl Seal {
    /// Derives the key to the file with this salt. `None` if the crypto
    /// library refuses, which it has no reason to.
    pub(crate) fn derive(data_key: &[u8; 32], salt: [u8; 32]) -> Option<Self> {
        let mut bytes = [0; 32];
        hkdf::Salt::new(hkdf::HKDF_SHA256, &salt)
            .extract(data_key)
            .expand(&[b"skep raft file"], KeyLength)
            .and_then(|okm| okm.fill(&mut bytes))
            .ok()?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).ok()?);
        Some(Self { key, salt })
    }

    /// The first [`FILE_HEADER`] bytes of a file.
    pub(crate) fn file_header(
        &self,
        purpose: Purpose,
        number: u64,
        previous_end: Option<u64>,
    ) -> Option<[u8; FILE_HEADER]> {
        let mut header = [0; FILE_HEADER];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&(purpose as u32).to_le_bytes());
        header[16..24].copy_from_slice(&number.to_le_bytes());
        header[24..32].copy_from_slice(&previous_end.unwrap_or(0).to_le_bytes());
        header[32..64].copy_from_slice(&self.salt);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(HEADER_NONCE), Aad::from(&header[..64]), &mut [])
            .ok()?;
        header[64..80].copy_from_slice(tag.as_ref());
        let crc = crc32c::crc32c(&header[..80]);
        header[80..84].copy_from_slice(&crc.to_le_bytes());
        Some(header)
    }

    /// Whether this key sealed the header of a file.
    fn sealed(&self, header: &[u8]) -> bool {
        let mut tag = [0; 16];
        tag.copy_from_slice(&header[64..80]);
        let aad = Aad::from(&header[..64]);
        let opened =
            self.key
                .open_in_place_separate_tag(nonce(HEADER_NONCE), aad, tag.into(), &mut [], 0..);
        opened.is_ok()
    }

    fn header_crc(&self, words: &[u8], offset: usize) -> u32 {
        let crc = crc32c::crc32c(words);
        let crc = crc32c::crc32c_append(crc, &(offset as u64).to_le_bytes());
        crc32c::crc32c_append(crc, &self.salt)
    }

    /// Appends the record that shall stand at `offset` to `out`, padded so
    /// that the next one may follow. `synced` is how much of the file is known
    /// to be on disk by now. `None` if it is too long for a record.
    pub(crate) fn encode(
        &self,
        offset: usize,
        synced: usize,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let start = out.len();
        out.extend_from_slice(&[0; RECORD_HEADER]);
        let body = out.len();
        out.extend_from_slice(plain);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(offset as u64), Aad::empty(), &mut out[body..])
            .ok()?;
        out.extend_from_slice(tag.as_ref());
        let length = u32::try_from(out.len() - body).ok()?;
        let synced = u32::try_from(synced / RECORD_HEADER).ok()?;
        let crc = crc32c::crc32c(&out[body..]);
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
        out[start + 8..start + 12].copy_from_slice(&synced.to_le_bytes());
        let crc = self.header_crc(&out[start..start + 12], offset);
        out[start + 12..start + 16].copy_from_slice(&crc.to_le_bytes());
        let padded = start + align(out.len() - start);
        // Not zeros: the last sector must differ from one that was not written.
        out.resize(padded, PAD);
        Some(())
    }

    /// Reads what stands at `offset` of `file`.
    pub(crate) fn decode(&self, file: &[u8], offset: usize) -> Step {
        let Some(header) = file.get(offset..offset + RECORD_HEADER) else {
            return Step::End;
        };
        if header.iter().all(|b| *b == 0) {
            return Step::End;
        }
        if u32_at(header, 12) != self.header_crc(&header[..12], offset) {
            // A header lies within one sector, so it cannot be half written.
            return Step::Bad(Flaw {
                what: "record header checksum mismatch",
                torn: false,
            });
        }
        let body = offset + RECORD_HEADER;
        let end = body.saturating_add(u32_at(header, 0) as usize);
        let Some(sealed) = file.get(body..end) else {
            return Step::Bad(Flaw {
                what: "file is shorter than its records",
                torn: false,
            });
        };
        if crc32c::crc32c(sealed) != u32_at(header, 4) {
            let torn = has_unwritten_sector(file, body, align(end).min(file.len()));
            return Step::Bad(Flaw {
                what: "record checksum mismatch",
                torn,
            });
        }
        let pad = file.get(end..align(end)).unwrap_or_default();
        if !(pad.iter().all(|b| *b == PAD) || pad.iter().all(|b| *b == 0)) {
            return Step::Bad(Flaw {
                what: "record is not filled up as it was written",
                torn: false,
            });
        }
        let mut plain = sealed.to_vec();
        match self
            .key
            .open_in_place(nonce(offset as u64), Aad::empty(), &mut plain)
        {
            Ok(opened) => {
                let length = opened.len();
                plain.truncate(length);
                Step::Record {
                    plain,
                    next: align(end),
                }
            }
            Err(_) => Step::Bad(Flaw {
                what: "record does not decrypt",
                torn: false,
            }),
        }
    }

    /// Whether a record that follows `offset` shows that what stands there
    /// had reached the disk, and so was perhaps acknowledged.
    pub(crate) fn was_synced(&self, file: &[u8], offset: usize) -> bool {
        let mut at = align(offset + 1);
        while let Some(header) = file.get(at..at + RECORD_HEADER) {
            let written = header.iter().any(|b| *b != 0);
            if written
                && u32_at(header, 12) == self.header_crc(&header[..12], at)
                && u32_at(header, 8) as usize * RECORD_HEADER > offset
            {
                return true;
            }
            at += RECORD_HEADER;
        }
        false
    }
}

/// Files are filled with zeros before use, so a sector of a record that is
/// all zeros was not written. (A part of a few bytes can be zero by chance;
/// such a part is not taken as proof.)
fn has_unwritten_sector(file: &[u8], start: usize, end: usize) -> bool {
    let mut at = start;
    while at < end {
        let next = ((at / SECTOR + 1) * SECTOR).min(end);
        if next - at >= 8 && file[at..next].iter().all(|b| *b == 0) {
            return true;
        }
        at = next;
    }
    false
}

/// Opens the header of a file that is under one of the keys.
pub(crate) fn open_header(
    data_keys: &[[u8; 32]],
    purpose: Purpose,
    file: &[u8],
) -> Result<FileHeader, HeaderFlaw> {
    let header = file
        .get(..FILE_HEADER)
        .ok_or(HeaderFlaw::Damaged("file is shorter than its header"))?;
    if header[..8] != MAGIC {
        return Err(HeaderFlaw::Damaged("not a file of ours"));
    }
    if u32_at(header, 80) != crc32c::crc32c(&header[..80]) {
        return Err(HeaderFlaw::Damaged("file header checksum mismatch"));
    }
    if u32_at(header, 8) != VERSION {
        return Err(HeaderFlaw::Version(u32_at(header, 8)));
    }
    if u32_at(header, 12) != purpose as u32 {
        return Err(HeaderFlaw::Damaged("file is not what its name says"));
    }
    let mut salt = [0; 32];
    salt.copy_from_slice(&header[32..64]);
    let (data_key, seal) = data_keys
        .iter()
        .find_map(|key| {
            let seal = Seal::derive(key, salt)?;
            seal.sealed(header).then_some((*key, seal))
        })
        .ok_or(HeaderFlaw::WrongKey)?;
    let previous_end = Some(u64_at(header, 24)).filter(|end| *end != 0);
    Ok(FileHeader {
        number: u64_at(header, 16),
        previous_end,
        data_key,
        seal,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn file(records: &[&[u8]], size: usize) -> (Seal, Vec<u8>, Vec<usize>) {
        let seal = Seal::derive(&KEY, [9; 32]).unwrap();
        let mut file = seal.file_header(Purpose::Log, 1, None).unwrap().to_vec();
        let mut offsets = Vec::new();
        for record in records {
            let offset = file.len();
            offsets.push(offset);
            seal.encode(offset, offset, record, &mut file).unwrap();
        }
        file.resize(size, 0);
        (seal, file, offsets)
    }

    #[test]
    fn records_read_back_as_written() {
        let (seal, file, offsets) = file(&[b"one", b"", &[3; 2000]], 8192);
        let mut at = FILE_HEADER;
        for (i, expected) in [&b"one"[..], b"", &[3; 2000]].into_iter().enumerate() {
            assert_eq!(at, offsets[i]);
            match seal.decode(&file, at) {
                Step::Record { plain, next } => {
                    assert_eq!(plain, expected);
                    at = next;
                }
                _ => panic!("record {i} does not read back"),
            }
        }
        assert!(matches!(seal.decode(&file, at), Step::End));
    }

    #[test]
    fn any_flipped_bit_of_a_record_is_damage_and_not_a_torn_write() {
        let (seal, file, offsets) = file(&[b"first", &[1; 700]], 4096);
        let end = align(offsets[1] + RECORD_HEADER + 700 + 16);
        for byte in offsets[1]..offsets[1] + RECORD_HEADER + 700 {
            let mut flipped = file.clone();
            flipped[byte] ^= 0x10;
            match seal.decode(&flipped, offsets[1]) {
                Step::Bad(flaw) => assert!(!flaw.torn, "byte {byte} of {end}: {}", flaw.what),
                _ => panic!("byte {byte}: the flip was not seen"),
            }
        }
    }

    #[test]
    fn a_record_with_a_sector_missing_is_torn() {
        let (seal, mut file, offsets) = file(&[&[1; 1500]], 4096);
        file[512..1024].fill(0);
        match seal.decode(&file, offsets[0]) {
            Step::Bad(flaw) => assert!(flaw.torn),
            _ => panic!("the hole was not seen"),
        }
    }

    #[test]
    fn a_record_does_not_open_at_another_place() {
        let (seal, mut file, offsets) = file(&[&[1; 100], &[2; 100]], 4096);
        let first = file[offsets[0]..offsets[1]].to_vec();
        file[offsets[1]..offsets[1] + first.len()].copy_from_slice(&first);
        assert!(matches!(seal.decode(&file, offsets[1]), Step::Bad(_)));
    }

    #[test]
    fn the_header_tells_a_wrong_key_from_damage() {
        let (_, file, _) = file(&[], FILE_HEADER);
        assert!(open_header(&[KEY], Purpose::Log, &file).is_ok());
        assert_eq!(
            open_header(&[[8; 32]], Purpose::Log, &file).err(),
            Some(HeaderFlaw::WrongKey)
        );
        let mut flipped = file.clone();
        flipped[40] ^= 1;
        assert!(matches!(
            open_header(&[KEY], Purpose::Log, &flipped).err(),
            Some(HeaderFlaw::Damaged(_))
        ));
        assert!(matches!(
            open_header(&[KEY], Purpose::Snapshot, &file).err(),
            Some(HeaderFlaw::Damaged(_))
        ));
    }
}
