//! Cron expressions: which minutes of a calendar they name. Knows neither time zones nor
//! a clock: its times are those that a wall clock shows.
//!
//! ```text
//! */5 * * * *          every five minutes
//! 30 3 * * mon-fri     at 3:30 from Monday to Friday
//! 0 0 1,15 * *         at midnight on the first and the fifteenth
//! @daily               @hourly @daily @midnight @weekly @monthly @yearly @annually
//! ```
//!
//! Five fields: minute, hour, day of the month, month, day of the week (0 and 7 are
//! Sunday). Each is a list of numbers, ranges and steps; months and days of the week
//! have names, too. Where both kinds of day are named, either of them is enough.

use std::fmt;

const MINUTES_A_DAY: i64 = 24 * 60;
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// Most characters of an expression.
const TEXT_MAX: usize = 256;

/// An expression that was read. Printed, it is as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// All hours are meant, so that minutes are what counts.
    every_hour: bool,
    /// The day of the month, or of the week, was left open.
    any_day: bool,
    any_weekday: bool,
}

/// Text that is no cron expression: the field at fault, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidCron {
    /// Name of the field, or `schedule` for the whole.
    pub field: &'static str,
    /// What is wrong with it.
    pub fault: String,
}

impl fmt::Display for InvalidCron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.fault)
    }
}

impl std::error::Error for InvalidCron {}

/// A field: its name, its numbers, and their names, of which the first is `least`.
struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    field("minute", 0, 59, &[]),
    field("hour", 0, 23, &[]),
    field("day of the month", 1, 31, &[]),
    field("month", 1, 12, &MONTHS),
    field("day of the week", 0, 7, &DAYS),
];

const fn field(name: &'static str, least: u32, most: u32, names: &'static [&'static str]) -> Field {
    Field {
        name,
        least,
        most,
        names,
    }
}

impl Cron {
    /// Reads an expression.
    ///
    /// # Errors
    /// The first field that cannot be read, or the one for which it never fires.
    pub fn parse(text: &str) -> Result<Cron, InvalidCron> {
        let text = text.trim();
        let whole = |fault: String| InvalidCron {
            field: "schedule",
            fault,
        };
        if text.len() > TEXT_MAX {
            return Err(whole(format!("it has more than {TEXT_MAX} characters")));
        }
        let expanded = match text {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            _ if text.starts_with('@') => {
                return Err(whole(format!(
                    "{text:?} is not one of @hourly, @daily, @midnight, @weekly, @monthly, \
                     @yearly and @annually"
                )));
            }
            _ => text,
        };
        let words: Vec<&str> = expanded.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = words[..] else {
            return Err(whole(format!(
                "{text:?} has {} fields: write five, minute hour day-of-month month day-of-week",
                words.len()
            )));
        };
        let [of_minute, of_hour, of_day, of_month, of_weekday] = &FIELDS;
        let is_open = |word: &str| word.starts_with(['*', '?']);
        let weekdays = of_weekday.read(weekday)?;
        let cron = Cron {
            text: text.to_owned(),
            minutes: of_minute.read(minute)?,
            hours: of_hour.read(hour)?,
            days: of_day.read(day)?,
            months: of_month.read(month)?,
            // 7 is Sunday as 0 is.
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            every_hour: of_hour.read(hour)? == (1 << 24) - 1,
            any_day: is_open(day),
            any_weekday: is_open(weekday),
        };
        let longest = |month: u32| match month {
            2 => 29,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let first = cron.days.trailing_zeros();
        let has_month = |month| cron.months >> month & 1 == 1;
        if cron.any_weekday && !(1..=12).any(|month| has_month(month) && first <= longest(month)) {
            return Err(InvalidCron {
                field: of_day.name,
                fault: format!("{text:?} never fires: no month that is named has {first} days"),
            });
        }
        Ok(cron)
    }

    /// All hours are meant: it is about minutes that pass, not about a time of day.
    pub fn is_every_hour(&self) -> bool {
        self.every_hour
    }

    /// The first minute it names after `after` and before `before`, in minutes since
    /// the midnight that began 1970, by a wall clock that is never changed.
    pub fn next(&self, after: i64, before: i64) -> Option<i64> {
        let mut minute = after.checked_add(1)?;
        while minute < before {
            let day = minute.div_euclid(MINUTES_A_DAY);
            if self.names_day(day) {
                let of_day = minute.rem_euclid(MINUTES_A_DAY);
                if let Some(found) = self.in_day(of_day) {
                    let found = day * MINUTES_A_DAY + found;
                    return (found < before).then_some(found);
                }
            }
            minute = (day + 1) * MINUTES_A_DAY;
        }
        None
    }

    /// The first minute of a day it names, from one on.
    fn in_day(&self, from: i64) -> Option<i64> {
        let (first_hour, first_minute) = (from / 60, from % 60);
        (first_hour..24)
            .filter(|hour| self.hours >> hour & 1 == 1)
            .find_map(|hour| {
                let from = if hour == first_hour { first_minute } else { 0 };
                let minute = (from..60).find(|minute| self.minutes >> minute & 1 == 1)?;
                Some(hour * 60 + minute)
            })
    }

    /// Days since the first of January 1970, a Thursday.
    fn names_day(&self, day: i64) -> bool {
        let (month, of_month) = calendar(day);
        let by_day = self.days >> of_month & 1 == 1;
        let by_weekday = self.weekdays >> (day + 4).rem_euclid(7) & 1 == 1;
        let named = match (self.any_day, self.any_weekday) {
            (false, false) => by_day || by_weekday,
            // A step of days that are left open still counts.
            _ => by_day && by_weekday,
        };
        named && self.months >> month & 1 == 1
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl Field {
    /// The numbers that a field names, as bits.
    fn read(&self, text: &str) -> Result<u64, InvalidCron> {
        let mut bits = 0;
        for item in text.split(',') {
            bits |= self.item(item).map_err(|fault| InvalidCron {
                field: self.name,
                fault,
            })?;
        }
        Ok(bits)
    }

    fn item(&self, item: &str) -> Result<u64, String> {
        let (range, step) = match item.split_once('/') {
            None => (item, None),
            Some((range, step)) => match step.parse::<u32>() {
                Ok(step) if step > 0 => (range, Some(step)),
                _ => {
                    return Err(format!(
                        "{item:?}: {step:?} is not a step, a number above 0"
                    ));
                }
            },
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (self.least, self.most),
            Some((first, last)) => (self.number(first)?, self.number(last)?),
            None if step.is_some() => (self.number(range)?, self.most),
            None => (self.number(range)?, self.number(range)?),
        };
        // A week that is named may end with Sunday.
        let last = if first > last && last == 0 && self.most == 7 {
            7
        } else {
            last
        };
        if first > last {
            return Err(format!(
                "{item:?} goes backwards: write the smaller number first"
            ));
        }
        let numbers = (first..=last).step_by(step.unwrap_or(1) as usize);
        Ok(numbers.fold(0, |bits, number| bits | 1 << number))
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let name = text.to_ascii_lowercase();
        let named = self.names.iter().position(|known| *known == name);
        let number = match named.and_then(|at| u32::try_from(at).ok()) {
            Some(at) => Some(self.least + at),
            None => text
                .parse()
                .ok()
                .filter(|_| text.bytes().all(|b| b.is_ascii_digit())),
        };
        let Field { least, most, .. } = self;
        number
            .filter(|number| (least..=most).contains(&number))
            .ok_or_else(|| format!("{text:?} is not from {least} to {most}"))
    }
}

/// Month and day of the month of a day, counted from the first of January 1970.
fn calendar(day: i64) -> (i64, i64) {
    // Years that begin with March, in eras of 400 of them.
    let day = day + 719_468;
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (month, of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Minutes since 1970 of a date and time.
    fn at(text: &str) -> i64 {
        let numbers: Vec<i64> = text
            .split(['-', ' ', ':'])
            .map(|number| number.parse().unwrap())
            .collect();
        let [year, month, day, hour, minute] = numbers[..] else {
            panic!("{text}");
        };
        let guess = (year - 1970) * 365 + (year - 1969) / 4 + (month - 1) * 28;
        let is_it = |days: &i64| calendar(*days) == (month, day);
        let days = (guess - 3..guess + 70).find(is_it).unwrap();
        (days * 24 + hour) * 60 + minute
    }

    #[track_caller]
    fn follows(cron: &str, after: &str, expected: &str) {
        let cron = Cron::parse(cron).unwrap();
        let from = at(after);
        let found = cron.next(from, i64::MAX / 2).unwrap();
        assert_eq!(found - from, at(expected) - from, "{cron} after {after}");
    }

    #[test]
    fn the_next_minute_is_found() {
        follows("*/5 * * * *", "2024-02-28 23:57", "2024-02-29 00:00");
        follows("*/5 * * * *", "2024-02-28 23:50", "2024-02-28 23:55");
        follows("30 3 * * mon-fri", "2024-03-01 03:30", "2024-03-04 03:30");
        follows("0 0 1,15 * *", "2024-03-01 00:00", "2024-03-15 00:00");
        follows("0 0 31 * *", "2024-01-31 00:00", "2024-03-31 00:00");
        follows("0 12 29 2 *", "2024-02-29 12:00", "2028-02-29 12:00");
        follows("7/20 5 * * *", "2024-06-01 05:07", "2024-06-01 05:27");
        follows("0 0 * * 7", "2024-06-01 00:00", "2024-06-02 00:00");
        follows("0 0 * * sat-sun", "2024-06-01 00:00", "2024-06-02 00:00");
        follows("0 0 * JAN-mar,12 ?", "2024-03-31 00:00", "2024-12-01 00:00");
        follows("@weekly", "2024-06-02 00:00", "2024-06-09 00:00");
        follows("@yearly", "2024-06-02 00:00", "2025-01-01 00:00");
        // Either kind of day is enough, unless one is left open.
        follows("0 0 13 * fri", "2024-09-01 00:00", "2024-09-06 00:00");
        follows("0 0 13 * fri", "2024-09-06 00:00", "2024-09-13 00:00");
        follows("0 0 */2 * fri", "2024-09-06 00:00", "2024-09-13 00:00");
        let never_before = Cron::parse("0 12 * * *").unwrap();
        assert_eq!(
            never_before.next(at("2024-01-01 12:00"), at("2024-01-02 12:00")),
            None
        );
    }

    #[test]
    fn the_field_at_fault_is_named() {
        let table = [
            ("", "schedule: \"\" has 0 fields"),
            ("* * * *", "schedule: \"* * * *\" has 4 fields"),
            ("@sometimes", "schedule: \"@sometimes\" is not one of"),
            ("60 * * * *", "minute: \"60\" is not from 0 to 59"),
            ("* 24 * * *", "hour: \"24\" is not from 0 to 23"),
            ("* * 0 * *", "day of the month: \"0\" is not from 1 to 31"),
            ("* * * foo *", "month: \"foo\" is not from 1 to 12"),
            ("* * * * 8", "day of the week: \"8\" is not from 0 to 7"),
            ("*/0 * * * *", "minute: \"*/0\": \"0\" is not a step"),
            ("5-1 * * * *", "minute: \"5-1\" goes backwards"),
            ("+5 * * * *", "minute: \"+5\" is not"),
            (",5 * * * *", "minute: \"\" is not"),
            ("4294967296 * * * *", "minute: \"4294967296\" is not"),
            ("0 0 31 2 *", "day of the month: \"0 0 31 2 *\" never fires"),
            (
                "0 0 31 4,6,9,11 *",
                "day of the month: \"0 0 31 4,6,9,11 *\" never fires",
            ),
        ];
        for (text, expected) in table {
            let fault = Cron::parse(text).unwrap_err().to_string();
            assert!(fault.starts_with(expected), "{text}: {fault}");
        }
        assert!(
            Cron::parse("0 0 31 2 mon").is_ok(),
            "the day of the week is enough"
        );
        assert!(Cron::parse("0 0 29 2 *").is_ok(), "leap years have it");
        assert!(Cron::parse(&"1,".repeat(200)).is_err());
    }
}
