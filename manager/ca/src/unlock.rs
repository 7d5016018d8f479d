//! Unlock keys, and what is sealed under a key of 32 bytes.
//!
//! A person keeps the unlock key and types it in: `SWMKEY-1-` and the key in
//! base 64. Under it a manager seals the keys it has on its disk, and under one
//! of those the private key of its certificate.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use skep_types::UnlockKey;

use crate::error::CaError;

const PREFIX: &str = "SWMKEY-1-";

/// Text that is no unlock key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnlockKeyError {
    /// Something else altogether.
    #[error(
        "invalid unlock key: it must begin with {PREFIX}; \"skep swarm unlock-key\" on another \
         manager shows it"
    )]
    Prefix,
    /// Not 32 bytes in base 64.
    #[error("invalid unlock key: 43 letters and digits follow {PREFIX}; was it copied whole?")]
    Key,
}

/// Makes an unlock key.
///
/// # Errors
/// If the system has no randomness.
pub fn new_unlock_key() -> Result<UnlockKey, CaError> {
    Ok(UnlockKey(random("make an unlock key")?))
}

/// The unlock key as people keep it.
pub fn unlock_key_text(UnlockKey(key): &UnlockKey) -> String {
    format!("{PREFIX}{}", STANDARD_NO_PAD.encode(key))
}

/// Reads what a person typed.
///
/// # Errors
/// If it cannot be an unlock key, and what it lacks.
pub fn parse_unlock_key(text: &str) -> Result<UnlockKey, UnlockKeyError> {
    let key = text.trim().strip_prefix(PREFIX);
    let key = STANDARD_NO_PAD.decode(key.ok_or(UnlockKeyError::Prefix)?);
    let key = key.ok().and_then(|key| key.try_into().ok());
    key.map(UnlockKey).ok_or(UnlockKeyError::Key)
}

/// Seals `content` under `key`: a random nonce, then ChaCha20-Poly1305. `what`
/// names the content, so that one sealed thing does not pass for another.
///
/// # Errors
/// If the system has no randomness.
pub fn seal(key: &[u8; 32], what: &str, content: &[u8]) -> Result<Vec<u8>, CaError> {
    let nonce: [u8; NONCE_LEN] = random("seal a key")?;
    let mut text = content.to_vec();
    aead(key)
        .and_then(|aead| {
            let nonce = Nonce::assume_unique_for_key(nonce);
            aead.seal_in_place_append_tag(nonce, Aad::from(what), &mut text)
        })
        .map_err(|error| CaError::crypto("seal a key")(&error))?;
    Ok([nonce.as_slice(), &text].concat())
}

/// What was sealed; `None` if it was under another key, as something else, or
/// was changed since.
pub fn unseal(key: &[u8; 32], what: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut text = text.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let content = aead(key)
        .ok()?
        .open_in_place(nonce, Aad::from(what), &mut text);
    content.ok().map(|content| content.to_vec())
}

fn aead(key: &[u8; 32]) -> Result<LessSafeKey, ring::error::Unspecified> {
    UnboundKey::new(&CHACHA20_POLY1305, key).map(LessSafeKey::new)
}

fn random<const N: usize>(action: &'static str) -> Result<[u8; N], CaError> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|error| CaError::crypto(action)(&error))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unlock_key_reads_back_as_written() {
        let key = new_unlock_key().unwrap();
        let text = unlock_key_text(&key);
        assert_eq!(text.len(), PREFIX.len() + 43);
        assert_eq!(parse_unlock_key(&format!(" {text}\n")), Ok(key.clone()));
        assert_eq!(format!("{key:?}"), "UnlockKey");
        // As Swarm writes it.
        let text = unlock_key_text(&UnlockKey([0xfb; 32]));
        assert_eq!(text, "SWMKEY-1-+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s");
    }

    #[test]
    fn text_that_is_no_unlock_key_is_told_what_it_lacks() {
        let good = unlock_key_text(&UnlockKey([7; 32]));
        let token = "SWMTKN-1-abc";
        for (text, error) in [
            ("", UnlockKeyError::Prefix),
            (token, UnlockKeyError::Prefix),
            (PREFIX, UnlockKeyError::Key),
            (&good[..good.len() - 1], UnlockKeyError::Key),
            (&format!("{good}A"), UnlockKeyError::Key),
            (&good.replace("Bw", "*w"), UnlockKeyError::Key),
        ] {
            assert_eq!(parse_unlock_key(text), Err(error), "{text}");
        }
    }

    #[test]
    fn what_is_sealed_opens_under_its_key_and_name_only() {
        let (key, other) = ([1; 32], [2; 32]);
        let sealed = seal(&key, "a", b"content").unwrap();
        assert_eq!(unseal(&key, "a", &sealed).as_deref(), Some(&b"content"[..]));
        assert_ne!(seal(&key, "a", b"content").unwrap(), sealed);
        assert_eq!(unseal(&other, "a", &sealed), None);
        assert_eq!(unseal(&key, "b", &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(unseal(&key, "a", &changed), None, "{at}");
            assert_eq!(unseal(&key, "a", &sealed[..at]), None, "{at}");
        }
    }
}
