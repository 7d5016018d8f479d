//! `cargo run -p skep-fuzz [-- [--seconds N] [--seed N] [--target NAME]]`: feeds
//! every decoder with spoilt inputs and says which one panicked, ended, took too long
//! or wanted too much memory.
//!
//! The same seed makes the same inputs in the same order, but for those that hold a
//! key, which is made anew; how many there are depends on the time given, which the
//! decoders share alike. The input at fault is printed.

#![forbid(unsafe_code)]

mod archives;
mod confined;
mod mutate;
mod stacks;
mod targets;

use confined::Confined;
use mutate::mutate;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use targets::Target;

/// Good inputs that were spoilt and can still be read are kept as further seeds, up
/// to so many a decoder.
const CORPUS_MAX: usize = 256;

struct Options {
    seconds: u64,
    seed: u64,
    target: Option<String>,
    /// Where this process, which is confined, keeps the input that it reads.
    within: Option<String>,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        seconds: 60,
        seed: 1,
        target: None,
        within: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{value:?} is no number"));
        match word.as_str() {
            "--seconds" => options.seconds = number()?,
            "--seed" => options.seed = number()?,
            "--target" => options.target = Some(value),
            confined::WITHIN => options.within = Some(value),
            _ => return Err(format!("{word:?} is none of --seconds, --seed, --target")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    match options().and_then(run) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(faults) => {
            eprintln!("fuzz: {faults} decoders fail");
            ExitCode::FAILURE
        }
        Err(wrong) => {
            eprintln!("fuzz: {wrong}");
            ExitCode::from(2)
        }
    }
}

/// How many decoders fail.
fn run(options: Options) -> Result<usize, String> {
    let wanted = |target: &Target| options.target.as_deref().is_none_or(|t| t == target.name);
    let targets: Vec<Target> = targets::all().into_iter().filter(wanted).collect();
    if let Some(path) = options.within {
        let share = Duration::from_secs(options.seconds);
        let mut confined = Confined::enter(path)?;
        for target in &targets {
            feed(target, options.seed, share, &mut confined)?;
        }
        return Ok(0);
    }
    let count = u64::try_from(targets.len()).unwrap_or(u64::MAX);
    if count == 0 {
        return Err("no decoder has that name".to_owned());
    }
    let share = options.seconds.div_ceil(count);
    let mut faults = 0;
    for target in &targets {
        let words = [
            ("--target", target.name.to_owned()),
            ("--seed", options.seed.to_string()),
            ("--seconds", share.to_string()),
        ];
        if let Err(fault) = confined::watch(&words)? {
            eprintln!("{}: {fault}; with --seed {}, at", target.name, options.seed);
            eprintln!("{}", fault.input.escape_ascii());
            faults += 1;
        }
    }
    Ok(faults)
}

/// Feeds a decoder for as long as its share.
fn feed(
    target: &Target,
    seed: u64,
    share: Duration,
    confined: &mut Confined,
) -> Result<(), String> {
    let hostile = (target.hostile)();
    for input in &hostile {
        confined.read(target, input)?;
    }
    let mut rng = StdRng::seed_from_u64(seed);
    let mut corpus = target.seeds.clone();
    let (begun, mut inputs) = (Instant::now(), 0_u64);
    while begun.elapsed() < share {
        let one = &corpus[rng.random_range(0..corpus.len())];
        let other = &corpus[rng.random_range(0..corpus.len())];
        let input = mutate(&mut rng, one, other, target.words);
        confined.read(target, &input)?;
        // Now and then one becomes a seed, so that faults can add up.
        if inputs.is_multiple_of(64) && corpus.len() < CORPUS_MAX && !input.is_empty() {
            corpus.push(input);
        }
        inputs += 1;
    }
    let hostile = match hostile.len() {
        0 => String::new(),
        count => format!(" after {count} hostile ones"),
    };
    let name = target.name;
    println!("{name}: {inputs} inputs{hostile}, {}", confined.peak());
    Ok(())
}
