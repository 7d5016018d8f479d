//! Words for what TLS reports in codes.

use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::{AlertDescription, CertificateError};
use time::OffsetDateTime;

/// A point in time as people write it, in UTC.
pub(crate) struct Moment(pub SystemTime);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from(self.0);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        )
    }
}

pub(crate) fn from_unix(seconds: i64) -> SystemTime {
    match u64::try_from(seconds) {
        Ok(after) => UNIX_EPOCH + Duration::from_secs(after),
        Err(_) => UNIX_EPOCH - Duration::from_secs(seconds.unsigned_abs()),
    }
}

/// Says what a failed connection means for certificates and what to do, if
/// that is why it failed. Looks through the sources of `error` (an I/O or
/// gRPC error, say) for TLS's. Our own checks already carry their words.
pub fn explain(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(tls) = current.downcast_ref::<rustls::Error>() {
            return of_tls(tls);
        }
        // An I/O error hides what it wraps from `source`.
        if let Some(inner) = current
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
        {
            return explain(inner);
        }
        next = current.source();
    }
    None
}

fn moment(time: &rustls_pki_types::UnixTime) -> Moment {
    Moment(UNIX_EPOCH + Duration::from_secs(time.as_secs()))
}

fn of_tls(error: &rustls::Error) -> Option<String> {
    let words = match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(ours)) => {
            return Some(ours.0.to_string());
        }
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => {
            return Some(format!(
                "the peer's certificate expired at {}, and the clock here says {}; if that clock is right, the peer must leave the swarm and join again",
                moment(not_after),
                moment(time)
            ));
        }
        rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
            time,
            not_before,
        }) => {
            return Some(format!(
                "the peer's certificate is valid only from {}, and the clock here says {}; set the clocks of the nodes right",
                moment(not_before),
                moment(time)
            ));
        }
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => {
            "the peer's certificate was not issued by this swarm; it is, or was, part of another one"
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "the peer says that this node's certificate is not valid at this time: if the clocks are right it expired while the node was away, and the node must leave the swarm and join again"
        }
        rustls::Error::AlertReceived(
            AlertDescription::UnknownCA | AlertDescription::DecryptError,
        ) => {
            "the peer says that this node's certificate is of another swarm; leave that one and join again"
        }
        rustls::Error::AlertReceived(
            AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRevoked
            | AlertDescription::BadCertificate,
        ) => {
            "the peer refuses this node's certificate: it was removed from the swarm, or has another role there"
        }
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "the peer does not speak TLS 1.3"
        }
        rustls::Error::InvalidMessage(_) => {
            "the peer does not speak TLS; is that address a manager's?"
        }
        _ => return None,
    };
    Some(words.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_as_people_write_it() {
        let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(Moment(at).to_string(), "2023-11-14T22:13:20Z");
    }

    #[test]
    fn the_reason_is_found_inside_an_io_error() {
        let tls = rustls::Error::AlertReceived(AlertDescription::CertificateExpired);
        let io = std::io::Error::other(tls);
        assert!(explain(&io).unwrap().contains("join again"));
        assert_eq!(explain(&std::io::Error::other("something else")), None);
    }
}
