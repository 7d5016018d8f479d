//! Times, sizes and ids as people read them, in the Docker CLI's words.

use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A length of time, roughly: `3 minutes`, `About an hour`.
pub fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    let minutes = seconds / 60;
    // Rounded, as Docker does from an hour on.
    let hours = (seconds + 1_800) / 3_600;
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, ..48) => format!("{hours} hours"),
        (_, _, ..336) => format!("{} days", hours / 24),
        (_, _, ..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// How long ago a moment was: `3 minutes ago`.
pub fn ago(at_ms: u64, now_ms: u64) -> String {
    let length = Duration::from_millis(now_ms.saturating_sub(at_ms));
    format!("{} ago", duration(length))
}

/// A moment as RFC 3339 in UTC, to the millisecond.
pub fn timestamp(at_ms: u64) -> String {
    timestamp_ns(u128::from(at_ms) * 1_000_000)
}

/// A moment in nanoseconds since the epoch as RFC 3339 in UTC.
pub fn timestamp_ns(at_ns: u128) -> String {
    i128::try_from(at_ns)
        .ok()
        .and_then(|ns| OffsetDateTime::from_unix_timestamp_nanos(ns).ok())
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// Milliseconds since the epoch of `10m` (before now), of an RFC 3339 time, a
/// date, or of seconds since the epoch.
pub fn parse_moment(text: &str, now_ms: u64) -> Result<u64, String> {
    if let Ok(back) = crate::flags::duration(text) {
        let back = u64::try_from(back.as_millis()).unwrap_or(u64::MAX);
        return Ok(now_ms.saturating_sub(back));
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok((seconds.max(0.0) * 1000.0) as u64);
    }
    let spelled = match (text.contains('T'), text) {
        (false, date) => format!("{date}T00:00:00Z"),
        (true, time) if time.ends_with('Z') || time.rfind(['+', '-']) > time.find('T') => {
            time.to_owned()
        }
        (true, time) => format!("{time}Z"),
    };
    let at = OffsetDateTime::parse(&spelled, &Rfc3339).map_err(|_| {
        format!("{text:?} is not a time: write 10m, 2026-01-31T08:00:00Z or seconds since 1970")
    })?;
    Ok(u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0))
}

/// Bytes in powers of 1000 with `digits` significant ones: `12.3MB`.
pub fn size(bytes: u64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB"], 3)
}

/// Bytes in powers of 1024: `1.5GiB`.
pub fn binary_size(bytes: u64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"], 4)
}

fn scaled(bytes: u64, base: f64, units: &[&str], digits: usize) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let whole = format!("{value:.0}").len();
    let text = format!("{value:.*}", digits.saturating_sub(whole));
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{}", units[unit])
}

/// Text cut to `width` characters, the last of them `…`.
pub fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// An id, cut to twelve digits unless it is to be whole.
pub fn id(id: &str, whole: bool) -> String {
    match id.get(..12) {
        Some(short) if !whole => short.to_owned(),
        _ => id.to_owned(),
    }
}

/// Text with its first letter in upper case.
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_told_as_docker_does() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3_599, "59 minutes"),
            (3_600, "About an hour"),
            (7_200, "2 hours"),
            (3 * 86_400, "3 days"),
            (15 * 86_400, "2 weeks"),
            (90 * 86_400, "3 months"),
            (800 * 86_400, "2 years"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
        assert_eq!(ago(1_000, 61_000), "About a minute ago");
        assert_eq!(ago(61_000, 1_000), "Less than a second ago");
    }

    #[test]
    fn sizes_have_few_digits() {
        for (bytes, decimal, binary) in [
            (0, "0B", "0B"),
            (999, "999B", "999B"),
            (12_345_678, "12.3MB", "11.77MiB"),
            (1_536 << 20, "1.61GB", "1.5GiB"),
            (123_456_789, "123MB", "117.7MiB"),
        ] {
            assert_eq!(size(bytes), decimal);
            assert_eq!(binary_size(bytes), binary);
        }
    }

    #[test]
    fn moments_are_read_in_every_spelling() {
        let now = 1_000_000_000;
        for (text, ms) in [
            ("10s", now - 10_000),
            ("1h", now - 3_600_000),
            ("1.5", 1_500),
            ("1970-01-02", 86_400_000),
            ("1970-01-01T00:01:00", 60_000),
            ("1970-01-01T00:01:00Z", 60_000),
            ("1970-01-01T01:00:00+01:00", 0),
        ] {
            assert_eq!(parse_moment(text, now), Ok(ms), "{text}");
        }
        assert!(parse_moment("yesterday", now).is_err());
        assert_eq!(timestamp(86_400_123), "1970-01-02T00:00:00.123Z");
    }

    #[test]
    fn long_text_is_cut_by_characters() {
        assert_eq!(ellipsis("größer", 6), "größer");
        assert_eq!(ellipsis("größer", 5), "größ…");
        assert_eq!(capital("running"), "Running");
    }
}
