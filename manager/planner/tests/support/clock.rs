//! Moments in scenarios.

/// Milliseconds of a moment such as `2024-03-31T00:58:00Z`.
pub(super) fn moment(text: &str) -> u64 {
    let numbers: Vec<u64> = text
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    let [year, month, day, hour, minute, second] = numbers[..] else {
        panic!("{text} is not a moment");
    };
    const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap = u64::from(year % 4 == 0 && month > 2);
    let days =
        (year - 1970) * 365 + (year - 1969) / 4 + BEFORE[month as usize - 1] + leap + day - 1;
    ((days * 24 + hour) * 3600 + minute * 60 + second) * 1000
}
