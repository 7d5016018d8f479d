//! Typed ids: 128 random bits, shown as 25 digits of base 36 as Swarm does.
//!
//! Where the bits come from is left to whoever makes an object (the leader's
//! generator, a seeded one in simulation).

use std::fmt;
use std::str::FromStr;

/// Number of base-36 digits in the text form of an id.
pub const ID_DIGITS: usize = 25;
const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseIdError {
    /// The text as given.
    pub text: String,
}

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not an id: an id has {ID_DIGITS} digits of 0-9 and a-z",
            self.text
        )
    }
}

impl std::error::Error for ParseIdError {}

fn digits(mut value: u128) -> [u8; ID_DIGITS] {
    let mut out = [b'0'; ID_DIGITS];
    for digit in out.iter_mut().rev() {
        *digit = ALPHABET[(value % 36) as usize];
        value /= 36;
    }
    out
}

fn parse(text: &str) -> Result<u128, ParseIdError> {
    let bad = || ParseIdError {
        text: text.to_owned(),
    };
    if text.len() != ID_DIGITS {
        return Err(bad());
    }
    let mut value: u128 = 0;
    for byte in text.bytes() {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'z' => byte - b'a' + 10,
            _ => return Err(bad()),
        };
        value = value
            .checked_mul(36)
            .and_then(|v| v.checked_add(u128::from(digit)))
            .ok_or_else(bad)?;
    }
    Ok(value)
}

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(u128);

        impl $name {
            /// The id with these bits.
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }

            /// The bits of the id.
            pub const fn bits(self) -> u128 {
                self.0
            }

            /// The first twelve digits, as tables show it.
            pub fn short(self) -> String {
                let mut text = self.to_string();
                text.truncate(12);
                text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digits = digits(self.0);
                // The alphabet is ASCII, so this never fails.
                f.pad(std::str::from_utf8(&digits).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse(text).map(Self)
            }
        }
    )+};
}

id! {
    /// A swarm.
    ClusterId,
    /// A machine in the swarm; also the CN of its certificate.
    NodeId,
    /// A service.
    ServiceId,
    /// One attempt to run one container of a service. Never reused, never moved.
    TaskId,
    /// An overlay network.
    NetworkId,
    /// A secret.
    SecretId,
    /// A config.
    ConfigId,
    /// A stack.
    StackId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_shows() {
        for bits in [0, 1, 35, 36, u128::MAX, 0x1234_5678_9abc_def0] {
            let id = TaskId::from_bits(bits);
            assert_eq!(id.to_string().len(), ID_DIGITS);
            assert_eq!(id.to_string().parse::<TaskId>(), Ok(id));
        }
    }

    #[test]
    fn text_that_is_no_id_is_refused() {
        let too_large = "z".repeat(ID_DIGITS);
        for text in ["", "abc", "A000000000000000000000000", too_large.as_str()] {
            assert!(text.parse::<NodeId>().is_err(), "{text}");
        }
    }
}
