//! A file that only who knows its passphrase can read or change.
//!
//! A header of 67 bytes, then records: `CHUNK` bytes of content each (the last
//! one fewer, perhaps none), encrypted by ChaCha20-Poly1305. Its nonce counts
//! the records and marks the last, so that none can be left out, moved or cut
//! off. The key is Argon2id of the passphrase and a salt that no other file
//! has; a tag over the header tells a wrong passphrase before all is read.

use argon2::{Algorithm, Argon2, Params, Version};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, Tag, UnboundKey};

const MAGIC: &[u8; 12] = b"skep-backup\n";
const VERSION: u8 = 1;
const SALT: usize = 16;
const TAG: usize = 16;
/// Magic, version, three parameters, salt.
const PLAIN_HEADER: usize = MAGIC.len() + 1 + 3 * 4 + SALT;
const HEADER: usize = PLAIN_HEADER + TAG;
/// Bytes of content in a record.
const CHUNK: usize = 64 << 10;
/// The number of the header's own tag: no record reaches it.
const HEADER_NUMBER: u64 = u64::MAX;

/// What a key costs: memory in KiB, passes, lanes. 64 MiB and three passes are
/// the second choice of RFC 9106, for machines of any size.
const COST: [u32; 3] = [64 << 10, 3, 4];
/// What a file may ask of the machine that opens it.
const COST_MAX: [u32; 3] = [1 << 20, 16, 16];

/// A file that cannot be opened.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealedError {
    /// It is something else.
    #[error("this is not a backup of skep")]
    Foreign,
    /// A newer skep wrote it.
    #[error(
        "this backup has format {0}, and this version of skep knows formats up to {VERSION}; \
         install the version that wrote it"
    )]
    Newer(u8),
    /// The header's tag does not fit.
    #[error("the passphrase is wrong, or the first {HEADER} bytes of the backup are damaged")]
    Passphrase,
    /// A record does not open.
    #[error("the backup is damaged near byte {0}; use another copy")]
    Damaged(usize),
    /// The last record is not there.
    #[error("the backup ends after {0} bytes, before it is complete; use another copy")]
    CutOff(usize),
    /// No key could be made.
    #[error("cannot make the key of the backup")]
    Crypto,
}

/// Seals content under a passphrase. Takes about a tenth of a second, on purpose.
pub(crate) fn seal(passphrase: &str, content: &[u8]) -> Result<Vec<u8>, SealedError> {
    seal_at(COST, passphrase, content)
}

/// The same at another cost.
pub(crate) fn seal_at(
    cost: [u32; 3],
    passphrase: &str,
    content: &[u8],
) -> Result<Vec<u8>, SealedError> {
    let salt: [u8; SALT] = rand::random();
    let mut file = Vec::with_capacity(HEADER + content.len() + (content.len() / CHUNK + 1) * TAG);
    file.extend_from_slice(MAGIC);
    file.push(VERSION);
    for number in cost {
        file.extend_from_slice(&number.to_be_bytes());
    }
    file.extend_from_slice(&salt);
    let key = key(passphrase, &salt, cost)?;
    let tag = close(&key, HEADER_NUMBER, true, &file.clone(), &mut [])?;
    file.extend_from_slice(tag.as_ref());
    let mut chunks = content.chunks(CHUNK).peekable();
    let mut number = 0;
    loop {
        let mut chunk = chunks.next().unwrap_or_default().to_vec();
        let last = chunks.peek().is_none();
        let tag = close(&key, number, last, &[], &mut chunk)?;
        file.extend_from_slice(&chunk);
        file.extend_from_slice(tag.as_ref());
        if last {
            return Ok(file);
        }
        number += 1;
    }
}

/// What the key of a sealed file costs; `None` when it is none, or costs more
/// than a file may ask.
pub(crate) fn cost_of(file: &[u8]) -> Option<[u32; 3]> {
    cost(file.get(MAGIC.len() + 1..PLAIN_HEADER)?)
}

/// The content of a sealed file.
pub(crate) fn open(passphrase: &str, file: &[u8]) -> Result<Vec<u8>, SealedError> {
    let rest = match file.strip_prefix(MAGIC) {
        Some(rest) => rest,
        None if MAGIC.starts_with(file) => return Err(SealedError::CutOff(file.len())),
        None => return Err(SealedError::Foreign),
    };
    match rest.first() {
        Some(&VERSION) => {}
        Some(0) => return Err(SealedError::Foreign),
        Some(newer) => return Err(SealedError::Newer(*newer)),
        None => return Err(SealedError::CutOff(file.len())),
    }
    let Some((header, mut records)) = file.split_at_checked(HEADER) else {
        return Err(SealedError::CutOff(file.len()));
    };
    let (plain, tag) = header.split_at(PLAIN_HEADER);
    let cost = cost(&plain[MAGIC.len() + 1..]).ok_or(SealedError::Passphrase)?;
    let key = key(passphrase, &plain[PLAIN_HEADER - SALT..], cost)?;
    let mut tag = tag.to_vec();
    reopen(&key, HEADER_NUMBER, true, plain, &mut tag).ok_or(SealedError::Passphrase)?;
    let mut content = Vec::with_capacity(records.len());
    let mut number = 0;
    loop {
        let at = file.len() - records.len();
        let (record, next) = records.split_at(records.len().min(CHUNK + TAG));
        let mut record = record.to_vec();
        let Some(chunk) = reopen(&key, number, next.is_empty(), &[], &mut record) else {
            // A whole record that says others follow, and none does.
            let mut record = records[..records.len().min(CHUNK + TAG)].to_vec();
            let whole = next.is_empty() && reopen(&key, number, false, &[], &mut record).is_some();
            return Err(match whole || records.is_empty() {
                true => SealedError::CutOff(file.len()),
                false => SealedError::Damaged(at),
            });
        };
        content.extend_from_slice(chunk);
        if next.is_empty() {
            return Ok(content);
        }
        (records, number) = (next, number + 1);
    }
}

/// The parameters of a file, if they are such as this machine can be asked.
fn cost(bytes: &[u8]) -> Option<[u32; 3]> {
    let mut cost = [0; 3];
    for (value, bytes) in cost.iter_mut().zip(bytes.chunks_exact(4)) {
        *value = u32::from_be_bytes(bytes.try_into().ok()?);
    }
    let fits = cost.iter().zip(COST_MAX).all(|(value, max)| *value <= max);
    fits.then_some(cost)
}

fn key(passphrase: &str, salt: &[u8], cost: [u32; 3]) -> Result<LessSafeKey, SealedError> {
    let [memory, passes, lanes] = cost;
    let params =
        Params::new(memory, passes, lanes, Some(32)).map_err(|_| SealedError::Passphrase)?;
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut key)
        .map_err(|_| SealedError::Crypto)?;
    let key = UnboundKey::new(&CHACHA20_POLY1305, &key).map_err(|_| SealedError::Crypto)?;
    Ok(LessSafeKey::new(key))
}

fn nonce(number: u64, last: bool) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    nonce[8] = u8::from(last);
    Nonce::assume_unique_for_key(nonce)
}

fn close(
    key: &LessSafeKey,
    number: u64,
    last: bool,
    beside: &[u8],
    chunk: &mut [u8],
) -> Result<Tag, SealedError> {
    key.seal_in_place_separate_tag(nonce(number, last), Aad::from(beside), chunk)
        .map_err(|_| SealedError::Crypto)
}

fn reopen<'a>(
    key: &LessSafeKey,
    number: u64,
    last: bool,
    beside: &[u8],
    record: &'a mut [u8],
) -> Option<&'a [u8]> {
    key.open_in_place(nonce(number, last), Aad::from(beside), record)
        .ok()
        .map(|chunk| &*chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i % 251) as u8).collect()
    }

    #[test]
    fn what_is_sealed_comes_back_and_shows_nothing() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let content = sample(length);
            let file = seal("passphrase", &content).unwrap();
            assert_eq!(open("passphrase", &file).unwrap(), content, "{length}");
            assert_eq!(open("Passphrase", &file), Err(SealedError::Passphrase));
        }
        let secret = b"a secret that must not be seen";
        let file = seal("passphrase", secret).unwrap();
        assert!(!file.windows(8).any(|w| secret.starts_with(w)));
    }

    #[test]
    fn a_file_that_is_cut_off_is_refused_wherever_it_ends() {
        let file = seal("p", &sample(CHUNK + 9)).unwrap();
        let ends = (0..PLAIN_HEADER)
            .step_by(5)
            .chain([HEADER - 1, HEADER, HEADER + 1])
            .chain([HEADER + CHUNK, HEADER + CHUNK + TAG, file.len() - 1]);
        for end in ends {
            let refused = open("p", &file[..end]).unwrap_err();
            let told = matches!(refused, SealedError::CutOff(at) if at == end)
                || matches!(refused, SealedError::Damaged(_));
            assert!(told, "{end}: {refused}");
        }
    }

    #[test]
    fn a_flipped_bit_is_found_wherever_it_is() {
        let file = seal("p", &sample(CHUNK + 9)).unwrap();
        let places = (0..HEADER)
            .step_by(11)
            .chain([HEADER, HEADER + CHUNK, file.len() - 1]);
        for place in places {
            let mut flipped = file.clone();
            flipped[place] ^= 1;
            let refused = open("p", &flipped).unwrap_err();
            assert_eq!(
                matches!(refused, SealedError::Damaged(_)),
                place >= HEADER,
                "{place}: {refused}"
            );
        }
    }

    #[test]
    fn records_cannot_change_places_and_other_files_are_told_apart() {
        let mut file = seal("p", &sample(3 * CHUNK)).unwrap();
        let record = CHUNK + TAG;
        let (first, second) = file[HEADER..].split_at_mut(record);
        first.swap_with_slice(&mut second[..record]);
        assert_eq!(open("p", &file), Err(SealedError::Damaged(HEADER)));

        assert_eq!(open("p", b"\x1f\x8b gzip"), Err(SealedError::Foreign));
        file[MAGIC.len()] = VERSION + 1;
        let newer = open("p", &file).unwrap_err().to_string();
        assert!(newer.contains("format 2"), "{newer}");
        // One that would take all memory.
        file[MAGIC.len()] = VERSION;
        file[MAGIC.len() + 1] = 0xff;
        assert_eq!(open("p", &file), Err(SealedError::Passphrase));
    }
}
