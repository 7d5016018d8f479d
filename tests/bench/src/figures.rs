//! What was measured, and the table of it.

use std::fmt::Write as _;
use std::time::Duration;

/// One promise of the design with what came out.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What is promised.
    pub promise: &'static str,
    /// The goal, in words.
    pub goal: &'static str,
    /// What came out, in words.
    pub measured: String,
    /// Whether that keeps the promise.
    pub kept: bool,
    /// What dockerd, or whoever else can do it, does in the same run.
    pub dockerd: Option<String>,
    /// How it was measured.
    pub how: &'static str,
}

/// The 50th and 99th percentile. With fewer than a hundred values the latter is the
/// worst.
#[must_use]
pub fn percentiles(times: &[Duration]) -> (Duration, Duration) {
    let mut sorted = times.to_vec();
    sorted.sort();
    let at = |part: usize| {
        let index = (sorted.len() * part).div_ceil(100).max(1) - 1;
        sorted.get(index).copied().unwrap_or_default()
    };
    (at(50), at(99))
}

/// Milliseconds, in words.
#[must_use]
pub fn ms(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}

/// Two percentiles, in words.
#[must_use]
pub fn spread(times: &[Duration]) -> String {
    let (half, most) = percentiles(times);
    format!("p50 {}, p99 {} of {}", ms(half), ms(most), times.len())
}

/// The table in Markdown, and under it how each number came about.
#[must_use]
pub fn table(figures: &[Figure]) -> String {
    let mut text = String::from(
        "\n| promise | goal | skep | kept | others |\n| --- | --- | --- | --- | --- |\n",
    );
    for figure in figures {
        let kept = if figure.kept { "yes" } else { "NO" };
        let dockerd = figure.dockerd.as_deref().unwrap_or("-");
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {kept} | {dockerd} |",
            figure.promise, figure.goal, figure.measured
        );
    }
    text.push('\n');
    for figure in figures {
        let _ = writeln!(text, "* {}: {}", figure.promise, figure.how);
    }
    let missed: Vec<_> = figures
        .iter()
        .filter(|f| !f.kept)
        .map(|f| f.promise)
        .collect();
    if !missed.is_empty() {
        let _ = writeln!(text, "\nMissed: {}", missed.join("; "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let times: Vec<_> = (1..=10).rev().map(Duration::from_millis).collect();
        let at = Duration::from_millis;
        assert_eq!(percentiles(&times), (at(5), at(10)));
        assert_eq!(percentiles(&times[..1]), (at(10), at(10)));
        assert_eq!(percentiles(&[]), (Duration::ZERO, Duration::ZERO));
    }
}
