//! When a schedule is due, by the clocks of its time zone. The tables of time zones are
//! part of the program: every manager has the same, whatever its disk says.
//!
//! When clocks are put forward, a time of day that is left out is due at the moment they
//! are; when they are put back, one that comes twice is due the first time. A schedule of
//! every hour is about minutes that pass: it goes on as if nobody touched the clocks.

use jiff::tz::{TimeZone, TimeZoneDatabase};
use skep_types::{Cron, Schedule, Timestamp};

/// Changes of a zone's clocks that are looked at for one answer: some have four a year,
/// and a leap day can be eight years off.
const SPANS_MAX: usize = 64;
/// Seconds that are looked at where the clocks never change again: 41 years. A leap day
/// that is a Sunday comes every 28, and every 40 where a century has no leap day.
const FAR: i64 = 41 * 366 * 24 * 60 * 60;

/// The first moment after `after` at which a run is due; `None` when there is none, or
/// its time zone is not known.
pub fn next_after(schedule: &Schedule, after: Timestamp) -> Option<Timestamp> {
    let zone = TimeZoneDatabase::bundled().get(&schedule.time_zone).ok()?;
    let mut from = i64::try_from(after.0 / 1000).ok()?;
    for _ in 0..SPANS_MAX {
        let span = Span::after(&zone, from)?;
        if let Some(due) = span.due(&schedule.cron, from) {
            return Some(Timestamp(u64::try_from(due).ok()?.checked_mul(1000)?));
        }
        from = span.ends? - 1;
    }
    None
}

/// The zone of that name is known.
pub(crate) fn knows_zone(name: &str) -> bool {
    TimeZoneDatabase::bundled().get(name).is_ok()
}

/// A zone that may be meant by a name that is not known.
pub(crate) fn near_zone(name: &str) -> Option<String> {
    let place = |name: &str| {
        let last = name.rsplit('/').next().unwrap_or_default();
        last.to_ascii_lowercase()
    };
    let wanted = place(name);
    let zones = TimeZoneDatabase::bundled();
    let near = |known: &str| match () {
        () if known == wanted => 0,
        () if !wanted.is_empty() && known.starts_with(&wanted) => 1,
        // All but one letter, as they are mistyped.
        () if known.len() == wanted.len() => {
            let other = known.bytes().zip(wanted.bytes()).filter(|(a, b)| a != b);
            1 + other.count()
        }
        () => usize::MAX,
    };
    zones
        .available()
        .map(|zone| (near(&place(zone.as_str())), zone.as_str().to_owned()))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, zone)| zone)
}

/// A time in which the clocks of a zone are not touched. Seconds since 1970, or, of its
/// own clocks, since they showed its midnight.
struct Span {
    /// What its clocks are ahead of UTC.
    offset: i64,
    /// When it began, and what the clocks were ahead before.
    began: Option<(i64, i64)>,
    /// When it ends.
    ends: Option<i64>,
}

impl Span {
    /// The one in which the second after `from` lies.
    fn after(zone: &TimeZone, from: i64) -> Option<Span> {
        let at = |second: i64| jiff::Timestamp::from_second(second).ok();
        let ahead = |second: i64| Some(i64::from(zone.to_offset(at(second)?).seconds()));
        let second = from.checked_add(1)?;
        let began = zone.preceding(at(second + 1)?).next();
        let began = began.map(|change| change.timestamp().as_second());
        let ends = zone.following(at(second)?).next();
        Some(Span {
            offset: ahead(second)?,
            began: began.and_then(|began| Some((began, ahead(began - 1)?))),
            ends: ends.map(|change| change.timestamp().as_second()),
        })
    }

    /// The first second in it, after `from`, at which a run is due.
    fn due(&self, cron: &Cron, mut from: i64) -> Option<i64> {
        // Clocks show whole minutes: the first after a second, the first not before one.
        let after = |second: i64| second.div_euclid(60);
        let not_before = |second: i64| (second + 59).div_euclid(60);
        if let Some((began, before)) = self.began
            && !cron.is_every_hour()
        {
            if from < began && before < self.offset {
                let left_out =
                    cron.next(after(began + before - 1), not_before(began + self.offset));
                if left_out.is_some() {
                    return Some(began);
                }
            }
            from = from.max(began + before - self.offset - 1);
        }
        let ends = self.ends.unwrap_or(from + FAR);
        let found = cron.next(after(from + self.offset), not_before(ends + self.offset))?;
        Some(found * 60 - self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let at: jiff::Timestamp = text.parse().unwrap();
        Timestamp(u64::try_from(at.as_millisecond()).unwrap())
    }

    #[track_caller]
    fn follow(cron: &str, zone: &str, after: &str, expected: &[&str]) {
        let mut schedule = Schedule::new(Cron::parse(cron).unwrap());
        schedule.time_zone = zone.to_owned();
        let mut from = at(after);
        for expected in expected {
            from = next_after(&schedule, from).unwrap();
            let found = jiff::Timestamp::from_millisecond(from.0.try_into().unwrap()).unwrap();
            assert_eq!(
                found.to_string(),
                *expected,
                "{cron} in {zone} after {after}"
            );
        }
    }

    const ZURICH: &str = "Europe/Zurich";

    #[test]
    fn a_run_is_due_by_the_clocks_of_its_zone() {
        let after = "2024-01-10T11:59:59.999Z";
        follow(
            "0 12 * * *",
            "UTC",
            after,
            &["2024-01-10T12:00:00Z", "2024-01-11T12:00:00Z"],
        );
        follow("0 12 * * *", ZURICH, after, &["2024-01-11T11:00:00Z"]);
        follow(
            "0 12 * * *",
            ZURICH,
            "2024-07-10T09:00:00Z",
            &["2024-07-10T10:00:00Z"],
        );
        follow(
            "*/20 * * * *",
            "Asia/Kathmandu",
            "2024-01-10T12:00:00Z",
            &["2024-01-10T12:15:00Z", "2024-01-10T12:35:00Z"],
        );
        follow(
            "0 0 29 2 *",
            "Africa/Casablanca",
            "2096-03-01T00:00:00Z",
            &["2104-02-29T00:00:00Z"],
        );
        let one = Schedule::new(Cron::parse("* * * * *").unwrap());
        assert_eq!(
            next_after(&one, at("2024-01-10T12:00:00Z")),
            Some(at("2024-01-10T12:01:00Z"))
        );
        assert_eq!(next_after(&one, Timestamp(u64::MAX)), None);
    }

    #[test]
    fn in_spring_a_time_that_is_left_out_is_due_as_the_clocks_go_forward() {
        // On 31 March 2024 at 1:00 UTC, 2:00 becomes 3:00.
        follow(
            "30 2 * * *",
            ZURICH,
            "2024-03-30T12:00:00Z",
            &["2024-03-31T01:00:00Z", "2024-04-01T00:30:00Z"],
        );
        follow(
            "0 3 * * *",
            ZURICH,
            "2024-03-30T12:00:00Z",
            &["2024-03-31T01:00:00Z", "2024-04-01T01:00:00Z"],
        );
        follow(
            "*/30 2 * * *",
            ZURICH,
            "2024-03-30T12:00:00Z",
            &["2024-03-31T01:00:00Z", "2024-04-01T00:00:00Z"],
        );
        follow(
            "30 * * * *",
            ZURICH,
            "2024-03-31T00:00:00Z",
            &["2024-03-31T00:30:00Z", "2024-03-31T01:30:00Z"],
        );
    }

    #[test]
    fn in_autumn_a_time_that_comes_twice_is_due_once() {
        // On 27 October 2024 at 1:00 UTC, 3:00 becomes 2:00.
        follow(
            "30 2 * * *",
            ZURICH,
            "2024-10-26T12:00:00Z",
            &["2024-10-27T00:30:00Z", "2024-10-28T01:30:00Z"],
        );
        // Also for who looks in the hour that comes again.
        follow(
            "30 2 * * *",
            ZURICH,
            "2024-10-27T01:10:00Z",
            &["2024-10-28T01:30:00Z"],
        );
        follow(
            "0 3 * * *",
            ZURICH,
            "2024-10-26T12:00:00Z",
            &["2024-10-27T02:00:00Z"],
        );
        follow(
            "0 */2 * * *",
            ZURICH,
            "2024-10-26T22:30:00Z",
            &["2024-10-27T00:00:00Z", "2024-10-27T03:00:00Z"],
        );
        follow(
            "30 * * * *",
            ZURICH,
            "2024-10-27T00:00:00Z",
            &[
                "2024-10-27T00:30:00Z",
                "2024-10-27T01:30:00Z",
                "2024-10-27T02:30:00Z",
            ],
        );
    }

    #[test]
    fn a_zone_that_is_meant_is_found() {
        assert!(knows_zone("UTC") && knows_zone(ZURICH));
        for wrong in ["", "Zurich", "europe", "Europe/Zürich", "../etc/passwd"] {
            assert!(!knows_zone(wrong), "{wrong}");
        }
        assert_eq!(near_zone("Zurich").as_deref(), Some(ZURICH));
        assert_eq!(near_zone("Europe/Zurihc"), None);
        assert_eq!(near_zone("Europe/Zuricj").as_deref(), Some(ZURICH));
        assert_eq!(near_zone("Mars/Olympus"), None);
    }
}
