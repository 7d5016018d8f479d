//! `cargo run -p skep-fuzz [-- [--seconds N] [--seed N] [--target NAME]]`: feeds
//! every decoder with spoilt inputs and says which one panicked, or took too long.
//!
//! The same seed makes the same inputs in the same order, but for those that hold a
//! key, which is made anew; how many there are depends on the time given, which the
//! decoders share alike. The input at fault is printed.

#![forbid(unsafe_code)]

mod archives;
mod mutate;
mod targets;

use mutate::mutate;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use targets::Target;

/// An input that keeps a decoder busy for longer is a fault as well. The machine may
/// stand still for some of it.
const TOO_LONG: Duration = Duration::from_secs(60);
/// Good inputs that were spoilt and can still be read are kept as further seeds, up
/// to so many a decoder.
const CORPUS_MAX: usize = 256;

struct Options {
    seconds: u64,
    seed: u64,
    target: Option<String>,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        seconds: 60,
        seed: 1,
        target: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{value:?} is no number"));
        match word.as_str() {
            "--seconds" => options.seconds = number()?,
            "--seed" => options.seed = number()?,
            "--target" => options.target = Some(value),
            _ => return Err(format!("{word:?} is none of --seconds, --seed, --target")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(wrong) => {
            eprintln!("fuzz: {wrong}");
            return ExitCode::from(2);
        }
    };
    let wanted = |target: &Target| options.target.as_deref().is_none_or(|t| t == target.name);
    let targets: Vec<Target> = targets::all().into_iter().filter(wanted).collect();
    if targets.is_empty() {
        eprintln!("fuzz: no decoder has that name");
        return ExitCode::from(2);
    }
    let count = u32::try_from(targets.len()).unwrap_or(1);
    let share = Duration::from_secs(options.seconds) / count;
    let faults = targets
        .iter()
        .filter(|target| !run(target, options.seed, share));
    match faults.count() {
        0 => ExitCode::SUCCESS,
        faults => {
            eprintln!("fuzz: {faults} decoders fail, with --seed {}", options.seed);
            ExitCode::FAILURE
        }
    }
}

/// False when an input was found that the decoder cannot take.
fn run(target: &Target, seed: u64, share: Duration) -> bool {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut corpus = target.seeds.clone();
    let (begun, mut inputs) = (Instant::now(), 0_u64);
    while begun.elapsed() < share {
        let one = &corpus[rng.random_range(0..corpus.len())];
        let other = &corpus[rng.random_range(0..corpus.len())];
        let input = mutate(&mut rng, one, other);
        let start = Instant::now();
        let read = catch_unwind(AssertUnwindSafe(|| (target.read)(&input)));
        let took = start.elapsed();
        if read.is_err() || took > TOO_LONG {
            let what = if read.is_err() {
                "panics"
            } else {
                "takes too long"
            };
            eprintln!(
                "{}: {what} after {inputs} inputs ({took:?}), at",
                target.name
            );
            eprintln!("{}", input.escape_ascii());
            return false;
        }
        // Now and then one becomes a seed, so that faults can add up.
        if inputs.is_multiple_of(64) && corpus.len() < CORPUS_MAX && !input.is_empty() {
            corpus.push(input);
        }
        inputs += 1;
    }
    println!("{}: {inputs} inputs", target.name);
    true
}
