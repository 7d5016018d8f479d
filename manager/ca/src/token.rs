//! Join tokens: `SWMTKN-1-<digest of the CA>-<secret>`, in base 36.
//!
//! The digest lets a node check the CA before it trusts it; the secret shows
//! the manager that the node was invited, and as what.

use std::fmt;
use std::str::FromStr;

use ring::rand::{SecureRandom, SystemRandom};

use crate::error::CaError;

/// Digits of the digest and of the secret.
const DIGEST_DIGITS: usize = 50;
const SECRET_DIGITS: usize = 25;
const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// An invitation to a swarm. Its `Display` is the token itself, which is a
/// secret; `Debug` shows only the digest.
#[derive(Clone)]
pub struct JoinToken {
    digest: [u8; 32],
    secret: [u8; 16],
}

/// Text that is no join token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Something else altogether.
    #[error(
        "invalid join token: it must begin with SWMTKN-1-; take it from \"skep swarm join-token\" on a manager"
    )]
    Prefix,
    /// A token of a cluster of another kind.
    #[error("invalid join token: version {version} is not supported, only 1 is")]
    Version {
        /// The version it claims.
        version: String,
    },
    /// Not three parts after the name.
    #[error("invalid join token: it has {parts} parts instead of 4; was it copied whole?")]
    Parts {
        /// How many it has.
        parts: usize,
    },
    /// A part is too short or too long.
    #[error(
        "invalid join token: its {part} has {found} characters instead of {expected}; was it copied whole?"
    )]
    Length {
        /// Which part.
        part: &'static str,
        /// How long it is.
        found: usize,
        /// How long it should be.
        expected: usize,
    },
    /// A character that is no digit in base 36.
    #[error("invalid join token: its {part} has {digit:?}, but only 0-9 and a-z may be there")]
    Digit {
        /// Which part.
        part: &'static str,
        /// The character.
        digit: char,
    },
    /// A number no token has.
    #[error("invalid join token: its {part} is out of range")]
    Range {
        /// Which part.
        part: &'static str,
    },
}

/// Big-endian bytes as base 36 with leading zeros.
pub(crate) fn to_base36(bytes: &[u8], digits: usize) -> String {
    let mut number = bytes.to_vec();
    let mut text = vec![b'0'; digits];
    for place in text.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in &mut number {
            let value = (rest << 8) | u32::from(*byte);
            *byte = (value / 36) as u8;
            rest = value % 36;
        }
        *place = ALPHABET[rest as usize];
    }
    text.iter().map(|digit| char::from(*digit)).collect()
}

fn from_base36<const N: usize>(
    part: &'static str,
    text: &str,
    digits: usize,
) -> Result<[u8; N], TokenError> {
    let found = text.chars().count();
    if found != digits {
        return Err(TokenError::Length {
            part,
            found,
            expected: digits,
        });
    }
    let mut number = [0_u8; N];
    for digit in text.chars() {
        let value = match digit {
            '0'..='9' | 'a'..='z' => digit.to_digit(36).unwrap_or_default(),
            _ => return Err(TokenError::Digit { part, digit }),
        };
        let mut carry = value;
        for byte in number.iter_mut().rev() {
            let value = u32::from(*byte) * 36 + carry;
            *byte = value as u8;
            carry = value >> 8;
        }
        if carry != 0 {
            return Err(TokenError::Range { part });
        }
    }
    Ok(number)
}

impl JoinToken {
    /// The token for a CA (see [`crate::CaBundle::digest`]) and the secret
    /// that [`JoinToken::new_secret`] made.
    ///
    /// # Errors
    /// If `secret` is not 25 digits in base 36.
    pub fn new(digest: [u8; 32], secret: &str) -> Result<Self, TokenError> {
        Ok(Self {
            digest,
            secret: from_base36("secret", secret, SECRET_DIGITS)?,
        })
    }

    /// A fresh secret, 25 digits in base 36.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn new_secret() -> Result<String, CaError> {
        let mut bytes = [0; 16];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| CaError::Crypto {
                action: "make a join secret",
                reason: "no randomness".into(),
            })?;
        Ok(to_base36(&bytes, SECRET_DIGITS))
    }

    /// SHA-256 of the CA that the token was made for.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Whether this token carries this secret. Takes the same time whatever
    /// the answer.
    pub fn has_secret(&self, secret: &str) -> bool {
        match from_base36::<16>("secret", secret, SECRET_DIGITS) {
            Ok(expected) => same(&self.secret, &expected),
            // Not a secret of ours, so there is nothing to find out by time.
            Err(_) => false,
        }
    }

    /// Whether this is the token for this CA and this secret. Takes the same
    /// time whatever the answer.
    pub fn matches(&self, digest: &[u8; 32], secret: &str) -> bool {
        // No short cut between the two.
        same(&self.digest, digest) & self.has_secret(secret)
    }
}

/// Compares without stopping at the first difference.
fn same(a: &[u8], b: &[u8]) -> bool {
    let difference = a
        .iter()
        .zip(b)
        .fold(0, |d, (x, y)| std::hint::black_box(d | (x ^ y)));
    a.len() == b.len() && std::hint::black_box(difference) == 0
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = to_base36(&self.digest, DIGEST_DIGITS);
        write!(
            f,
            "SWMTKN-1-{digest}-{}",
            to_base36(&self.secret, SECRET_DIGITS)
        )
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({})", to_base36(&self.digest, DIGEST_DIGITS))
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let parts: Vec<&str> = text.split('-').collect();
        if parts[0] != "SWMTKN" {
            return Err(TokenError::Prefix);
        }
        if let Some(version) = parts.get(1).filter(|version| **version != "1") {
            return Err(TokenError::Version {
                version: (*version).into(),
            });
        }
        let [_, _, digest, secret] = parts[..] else {
            return Err(TokenError::Parts { parts: parts.len() });
        };
        Ok(Self {
            digest: from_base36("digest", digest, DIGEST_DIGITS)?,
            secret: from_base36("secret", secret, SECRET_DIGITS)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> (JoinToken, String) {
        let secret = JoinToken::new_secret().unwrap();
        (JoinToken::new([0xab; 32], &secret).unwrap(), secret)
    }

    #[test]
    fn a_token_reads_back_as_written() {
        let (token, secret) = token();
        let text = token.to_string();
        assert_eq!(text.len(), "SWMTKN-1-".len() + 50 + 1 + 25);
        let read: JoinToken = text.parse().unwrap();
        assert!(read.matches(&[0xab; 32], &secret));
        assert_eq!(read.to_string(), text);
        assert!(!format!("{read:?}").contains(&secret));
    }

    #[test]
    fn base_36_is_the_number_itself_with_leading_zeros() {
        assert_eq!(to_base36(&[0, 35], 4), "000z");
        assert_eq!(to_base36(&[1, 0], 4), "0074");
        assert_eq!(to_base36(&[0xff; 16], 25), "f5lxx1zz5pnorynqglhzmsp33");
        assert_eq!(from_base36::<2>("x", "0074", 4), Ok([1, 0]));
    }

    #[test]
    fn a_token_with_another_secret_or_ca_does_not_match() {
        let (token, secret) = token();
        let other = JoinToken::new_secret().unwrap();
        assert!(!token.matches(&[0xab; 32], &other));
        assert!(!token.matches(&[0xac; 32], &secret));
        assert!(!token.has_secret("short"));
    }

    #[test]
    fn each_way_to_get_a_token_wrong_has_its_words() {
        let (token, _) = token();
        let good = token.to_string();
        let error = |text: &str| text.parse::<JoinToken>().unwrap_err();
        assert_eq!(error("hello"), TokenError::Prefix);
        assert_eq!(error(""), TokenError::Prefix);
        assert_eq!(error("SWMTKN"), TokenError::Parts { parts: 1 });
        assert!(matches!(
            error(&good.replace("-1-", "-2-0-")),
            TokenError::Version { .. }
        ));
        assert_eq!(error(&good[..40]), TokenError::Parts { parts: 3 });
        assert_eq!(
            error(&good[..good.len() - 1]),
            TokenError::Length {
                part: "secret",
                found: 24,
                expected: 25
            }
        );
        let upper = good.replace(&good[10..11], "X");
        assert!(matches!(
            error(&upper),
            TokenError::Digit { digit: 'X', .. }
        ));
        let huge = format!("SWMTKN-1-{}-{}", "z".repeat(50), "0".repeat(25));
        assert_eq!(error(&huge), TokenError::Range { part: "digest" });
    }
}
