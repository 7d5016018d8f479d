//! Runs seeds: fixed ones, then fresh ones for as long as SKEP_SIM_SECONDS
//! says (5 when not set), or the one that SEED names.

use skep_sim::run;
use std::panic::catch_unwind;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Lines of a trace printed for a failing seed.
const TRACE_LINES: usize = 60;

/// Seeds that once broke a promise.
const ONCE_BROKEN: [u64; 1] = [1_795_350_709_525_089_154];

fn must_hold(seed: u64) -> String {
    let hint = format!("SEED={seed} cargo test -p skep-sim");
    match catch_unwind(|| run(seed)) {
        Ok(Ok(trace)) => trace,
        Ok(Err(failure)) => {
            let lines: Vec<&str> = failure.trace.lines().collect();
            let from = lines.len().saturating_sub(TRACE_LINES);
            let tail = lines[from..].join("\n");
            panic!(
                "{tail}\nat step {}: {}\n{hint}",
                failure.step, failure.message
            );
        }
        Err(_) => panic!("the planner or the store panicked\n{hint}"),
    }
}

#[test]
fn promises_hold_under_faults() {
    if let Ok(seed) = std::env::var("SEED") {
        let seed = seed.parse().expect("SEED is a number");
        let trace = must_hold(seed);
        println!("{trace}");
        return;
    }
    for seed in (1..=12).chain(ONCE_BROKEN) {
        must_hold(seed);
    }
    let seconds = std::env::var("SKEP_SIM_SECONDS").map_or(5, |text| {
        text.parse()
            .expect("SKEP_SIM_SECONDS is a number of seconds")
    });
    let end = Instant::now() + Duration::from_secs(seconds);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut seed = clock.as_nanos() as u64;
    let mut count = 0;
    while Instant::now() < end {
        must_hold(seed);
        seed = seed.wrapping_add(1);
        count += 1;
    }
    println!("{count} fresh seeds held");
}

#[test]
fn a_seed_always_gives_the_same_trace() {
    assert_eq!(must_hold(7), must_hold(7));
}
