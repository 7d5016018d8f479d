//! X25519 keys: making one, and the public half of one.

use boringtun::x25519;
use ring::rand::{SecureRandom, SystemRandom};

/// A new private key from the kernel's random source, clamped as X25519 asks.
///
/// # Panics
/// Where the kernel has no random numbers to give: no key would be safe then.
#[must_use]
pub fn generate_private_key() -> [u8; 32] {
    let mut key = [0u8; 32];
    SystemRandom::new()
        .fill(&mut key)
        .expect("the kernel gives random numbers");
    key[0] &= 248;
    key[31] = (key[31] & 127) | 64;
    key
}

/// The public key that belongs to `private_key`.
#[must_use]
pub fn public_key(private_key: &[u8; 32]) -> [u8; 32] {
    x25519::PublicKey::from(&x25519::StaticSecret::from(*private_key)).to_bytes()
}

/// The first four bytes of a key in hexadecimal, enough to tell peers apart in a message.
pub(crate) fn short(key: &[u8; 32]) -> String {
    key[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A random index for a new peer; 24 bits, as the low eight of a receiver index count sessions.
pub(crate) fn random_index() -> u32 {
    let mut bytes = [0u8; 4];
    // An index need not be secret, only unused; the caller checks that it is.
    if SystemRandom::new().fill(&mut bytes).is_err() {
        return 1;
    }
    u32::from_le_bytes(bytes) >> 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_key_is_that_of_rfc_7748() {
        let private = [
            0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2,
            0x66, 0x45, 0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5,
            0x1d, 0xb9, 0x2c, 0x2a,
        ];
        assert_eq!(short(&public_key(&private)), "8520f009");
    }

    #[test]
    fn two_generated_keys_differ_and_are_clamped() {
        let (a, b) = (generate_private_key(), generate_private_key());
        assert_ne!(a, b);
        for key in [a, b] {
            assert_eq!(key[0] & 7, 0);
            assert_eq!(key[31] >> 6, 1);
        }
    }
}
