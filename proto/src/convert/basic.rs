//! Ids, times, addresses: the small change of every message.

use crate::{Invalid, pb};
use bytes::Bytes;
use ipnet::Ipv4Net;
use skep_types::{
    ClusterId, ConfigId, Meta, NetworkId, NodeId, SecretId, ServiceId, StackId, TaskId, Timestamp,
    Version,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// An id type of the domain.
pub trait WireId: Sized {
    /// From its bits.
    fn from_bits(bits: u128) -> Self;
    /// To its bits.
    fn to_bits(self) -> u128;
}

macro_rules! wire_id {
    ($($name:ident),+) => {$(
        impl WireId for $name {
            fn from_bits(bits: u128) -> Self { $name::from_bits(bits) }
            fn to_bits(self) -> u128 { self.bits() }
        }
    )+};
}
wire_id!(
    ClusterId, ConfigId, NetworkId, NodeId, SecretId, ServiceId, StackId, TaskId
);

/// Reads an id of 16 bytes.
///
/// # Errors
/// When the length is another one.
pub fn id<I: WireId>(bytes: &[u8], field: &'static str) -> Result<I, Invalid> {
    let bytes: [u8; 16] = bytes.try_into().map_err(|_| Invalid::Id(field))?;
    Ok(I::from_bits(u128::from_be_bytes(bytes)))
}

pub(crate) fn optional_id<I: WireId>(
    bytes: &[u8],
    field: &'static str,
) -> Result<Option<I>, Invalid> {
    if bytes.is_empty() {
        Ok(None)
    } else {
        id(bytes, field).map(Some)
    }
}

/// The 16 bytes of an id.
pub fn id_bytes<I: WireId>(id: I) -> Bytes {
    Bytes::copy_from_slice(&id.to_bits().to_be_bytes())
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Reads an address of 4 or 16 bytes.
///
/// # Errors
/// When the length is another one.
pub fn address(bytes: &[u8], field: &'static str) -> Result<IpAddr, Invalid> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::V4(Ipv4Addr::from(v4)));
    }
    let v6: [u8; 16] = bytes
        .try_into()
        .map_err(|_| Invalid::Value(field, format!("{} bytes are no address", bytes.len())))?;
    Ok(IpAddr::V6(Ipv6Addr::from(v6)))
}

/// Reads an IPv4 address of 4 bytes.
///
/// # Errors
/// When the length is another one.
pub fn ipv4(bytes: &[u8], field: &'static str) -> Result<Ipv4Addr, Invalid> {
    match address(bytes, field)? {
        IpAddr::V4(v4) => Ok(v4),
        IpAddr::V6(v6) => Err(Invalid::Value(field, format!("{v6} is not IPv4"))),
    }
}

/// The bytes of an address.
pub fn address_bytes(address: IpAddr) -> Bytes {
    match address {
        IpAddr::V4(v4) => Bytes::copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => Bytes::copy_from_slice(&v6.octets()),
    }
}

pub(crate) fn prefix(text: &str, field: &'static str) -> Result<Ipv4Net, Invalid> {
    text.parse()
        .map_err(|_| Invalid::Value(field, format!("{text:?} is not an IPv4 subnet")))
}

pub(crate) fn prefixes(texts: &[String], field: &'static str) -> Result<Vec<Ipv4Net>, Invalid> {
    texts.iter().map(|text| prefix(text, field)).collect()
}

pub(crate) fn port(number: u32, field: &'static str) -> Result<u16, Invalid> {
    u16::try_from(number).map_err(|_| Invalid::Value(field, format!("{number} is not a port")))
}

/// Takes a field that has to be there.
pub(crate) fn require<T>(value: Option<T>, field: &'static str) -> Result<T, Invalid> {
    value.ok_or(Invalid::Missing(field))
}

impl From<&Meta> for pb::Meta {
    fn from(meta: &Meta) -> Self {
        let Meta {
            version,
            created_at,
            updated_at,
        } = meta;
        pb::Meta {
            version: version.0,
            created_at_ms: created_at.0,
            updated_at_ms: updated_at.0,
        }
    }
}

impl From<pb::Meta> for Meta {
    fn from(meta: pb::Meta) -> Self {
        let pb::Meta {
            version,
            created_at_ms,
            updated_at_ms,
        } = meta;
        Meta {
            version: Version(version),
            created_at: Timestamp(created_at_ms),
            updated_at: Timestamp(updated_at_ms),
        }
    }
}

/// Pairs the variants of a domain enum with those of a wire enum, both ways.
macro_rules! wire_enum {
    ($domain:ty, $wire:ident, $read:ident, $field:literal, { $($d:ident = $w:ident),+ $(,)? }) => {
        impl From<$domain> for crate::pb::$wire {
            fn from(value: $domain) -> Self {
                match value { $(<$domain>::$d => crate::pb::$wire::$w),+ }
            }
        }
        pub(crate) fn $read(number: i32) -> Result<$domain, crate::Invalid> {
            match crate::pb::$wire::try_from(number) {
                $(Ok(crate::pb::$wire::$w) => Ok(<$domain>::$d),)+
                Err(_) => Err(crate::Invalid::Enum($field, number)),
            }
        }
    };
}
pub(crate) use wire_enum;
