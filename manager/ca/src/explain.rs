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
    of_tls(tls_in(error)?)
}

/// The same for a client, which is no node.
pub fn explain_to_client(error: &(dyn Error + 'static)) -> Option<String> {
    const ANOTHER: &str = "have an admin of the swarm run \"skep swarm client create\", and use the \
         file that it writes";
    let told = told_by_peer(error);
    let words = match told.as_ref().or_else(|| tls_in(error))? {
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "the manager there is of another swarm than the client's certificate",
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "the manager says that the client's certificate is not valid at this time; look whether the clocks of both are right"
        }
        rustls::Error::AlertReceived(
            AlertDescription::UnknownCA | AlertDescription::DecryptError,
        ) => {
            return Some(format!(
                "the manager says that the client's certificate is of another swarm, or was ended there since the root CA was replaced; {ANOTHER}"
            ));
        }
        rustls::Error::AlertReceived(
            AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRevoked
            | AlertDescription::BadCertificate,
        ) => {
            return Some(format!(
                "the manager refuses the client's certificate; {ANOTHER}"
            ));
        }
        other => return of_tls(other),
    };
    Some(words.into())
}

/// What the other side thinks of our certificate comes when the handshake is over here, and
/// HTTP/2 passes it on as text alone.
fn told_by_peer(error: &(dyn Error + 'static)) -> Option<rustls::Error> {
    let alerts = [
        AlertDescription::CertificateExpired,
        AlertDescription::UnknownCA,
        AlertDescription::DecryptError,
        AlertDescription::CertificateUnknown,
        AlertDescription::AccessDenied,
        AlertDescription::CertificateRevoked,
        AlertDescription::BadCertificate,
    ];
    let mut next = Some(error);
    while let Some(current) = next {
        let text = current.to_string();
        let mut alerts = alerts.iter().map(|it| rustls::Error::AlertReceived(*it));
        if let Some(alert) = alerts.find(|alert| text.contains(&alert.to_string())) {
            return Some(alert);
        }
        next = current.source();
    }
    None
}

/// The error of TLS that lies in this one.
fn tls_in<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(tls) = current.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        // An I/O error hides what it wraps from `source`.
        if let Some(inner) = current
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
        {
            return tls_in(inner);
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

    #[test]
    fn a_client_is_told_also_what_was_passed_on_as_text() {
        let text = rustls::Error::AlertReceived(AlertDescription::DecryptError).to_string();
        let told = explain_to_client(&std::io::Error::other(text)).unwrap();
        assert!(told.contains("skep swarm client create"), "{told}");
        assert_eq!(explain_to_client(&std::io::Error::other("else")), None);
    }
}
