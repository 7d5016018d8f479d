//! Runs simulations; see docs/design/022-simulation.md.
//!
//! One seed is one process: what a seed decides starts from a fresh process,
//! and a run that hangs or crashes takes no other with it.

use clap::Parser;
use skep_sim::{Kills, Verdict, kills, run};
use std::io::Read as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seeds that are always run.
const FIXED: [u64; 3] = [2, 4, 6];
/// A run that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(900);
/// Lines of the trace of a failed run that are printed.
const TRACE_LINES: usize = 60;

/// A deterministic simulation of a swarm.
#[derive(Parser)]
struct Arguments {
    /// Run this seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Print everything that happens in it.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Run fresh seeds for so many seconds, after the fixed ones.
    #[arg(long, default_value_t = 0)]
    seconds: u64,
    /// The fresh seeds begin here, so that they can be run again: hexadecimal, as the
    /// name of a commit is. Otherwise with the time.
    #[arg(long, value_parser = hexadecimal)]
    from: Option<u64>,
    /// Run fresh seeds for so many minutes.
    #[arg(long, conflicts_with = "seconds")]
    minutes: Option<u64>,
    /// Runs at a time.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Kill so many leaders in a row instead.
    #[arg(long)]
    kills: Option<usize>,
}

fn hexadecimal(text: &str) -> Result<u64, std::num::ParseIntError> {
    u64::from_str_radix(text, 16)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(count) = arguments.kills {
        return killed(&kills(arguments.seed.unwrap_or(1), count, arguments.trace));
    }
    if let Some(seed) = arguments.seed {
        return judge(seed, &run(seed, arguments.trace), arguments.trace);
    }
    let minutes = arguments.minutes.map(|minutes| minutes * 60);
    let time = Duration::from_secs(minutes.unwrap_or(arguments.seconds));
    let clock = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(1000, |now| now.as_nanos() as u64)
    };
    let first = arguments.from.unwrap_or_else(clock);
    match many(first, time, arguments.jobs.max(1)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("skep-sim: cannot run a seed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn judge(seed: u64, verdict: &Verdict, traced: bool) -> ExitCode {
    if let Some(broken) = &verdict.broken
        && !traced
    {
        let lines: Vec<&str> = verdict.trace.lines().collect();
        for line in &lines[lines.len().saturating_sub(TRACE_LINES)..] {
            println!("{line}");
        }
        println!("{broken}");
        println!("the whole of it: tests/sim/run --seed {seed} --trace");
    }
    let Verdict {
        hash,
        simulated,
        calls: (writes, reads),
        longest_gap,
        broken,
        ..
    } = verdict;
    println!(
        "seed={seed} hash={hash:016x} seconds={} writes={writes} reads={reads} gap_ms={} {}",
        simulated.as_secs(),
        longest_gap.as_millis(),
        if broken.is_some() { "BROKEN" } else { "held" },
    );
    ExitCode::from(u8::from(broken.is_some()))
}

fn killed(outcome: &Kills) -> ExitCode {
    let Kills {
        broken,
        kills,
        calls: (writes, reads),
        gaps,
        simulated,
    } = outcome;
    let at =
        |percent: usize| gaps.get((gaps.len() * percent / 100).min(gaps.len().saturating_sub(1)));
    println!(
        "{kills} leaders killed in {} simulated minutes; {writes} writes acknowledged, {reads} reads; \
         time without a write: median {:?}, 99 % {:?}, longest {:?}",
        simulated.as_secs() / 60,
        at(50).copied().unwrap_or_default(),
        at(99).copied().unwrap_or_default(),
        gaps.last().copied().unwrap_or_default(),
    );
    if let Some(broken) = broken {
        println!("BROKEN {broken}");
        return ExitCode::FAILURE;
    }
    println!("no acknowledged write was lost");
    ExitCode::SUCCESS
}

/// A seed that runs in a process of its own.
struct Running {
    seed: u64,
    child: std::process::Child,
    since: Instant,
}

#[derive(Default)]
struct Tally {
    runs: u64,
    simulated: u64,
    writes: u64,
    gap_ms: u64,
    failed: Vec<u64>,
    hashes: std::collections::BTreeMap<u64, String>,
}

/// Runs the fixed seeds, the first of them twice, then fresh ones from this on.
fn many(mut fresh: u64, time: Duration, jobs: usize) -> std::io::Result<ExitCode> {
    let mut fixed: Vec<u64> = FIXED.into_iter().chain([FIXED[0]]).collect();
    fixed.reverse();
    let mut tally = Tally::default();
    let mut running: Vec<Running> = Vec::new();
    let mut end = None;
    loop {
        while running.len() < jobs {
            let seed = match fixed.pop() {
                Some(seed) => seed,
                None => {
                    let end = *end.get_or_insert_with(|| Instant::now() + time);
                    if Instant::now() >= end {
                        break;
                    }
                    let seed = fresh;
                    fresh = fresh.wrapping_add(1);
                    seed
                }
            };
            running.push(start(seed)?);
        }
        if running.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        let mut still = Vec::new();
        for mut one in running {
            if one.child.try_wait()?.is_some() || one.since.elapsed() > PATIENCE {
                tally.count(one)?;
            } else {
                still.push(one);
            }
        }
        running = still;
    }
    let (minutes, seconds) = (tally.simulated / 60, tally.simulated % 60);
    println!(
        "{} runs, {}:{:02}:{seconds:02} simulated hours, {} acknowledged writes, longest time \
         without one {} ms; {} seeds failed: {:?}",
        tally.runs,
        minutes / 60,
        minutes % 60,
        tally.writes,
        tally.gap_ms,
        tally.failed.len(),
        tally.failed,
    );
    Ok(ExitCode::from(u8::from(!tally.failed.is_empty())))
}

fn start(seed: u64) -> std::io::Result<Running> {
    let child = Command::new(std::env::current_exe()?)
        .args(["--seed", &seed.to_string()])
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()?;
    Ok(Running {
        seed,
        child,
        since: Instant::now(),
    })
}

impl Tally {
    fn count(&mut self, mut one: Running) -> std::io::Result<()> {
        let seed = one.seed;
        let hangs = one.child.try_wait()?.is_none();
        if hangs {
            one.child.kill()?;
        }
        let mut output = String::new();
        if let Some(mut stdout) = one.child.stdout.take() {
            stdout.read_to_string(&mut output)?;
        }
        let held = one.child.wait()?.success();
        let word = |key: &str| {
            let last = output.lines().last()?;
            last.split(' ').find_map(|word| word.strip_prefix(key))
        };
        let number = |key: &str| word(key).and_then(|text| text.parse().ok()).unwrap_or(0);
        self.runs += 1;
        self.simulated += number("seconds=");
        self.writes += number("writes=");
        self.gap_ms = self.gap_ms.max(number("gap_ms="));
        let hash = word("hash=").unwrap_or_default().to_owned();
        let same = self.hashes.entry(seed).or_insert_with(|| hash.clone());
        let differs = *same != hash;
        print!("{output}");
        if hangs {
            println!("seed={seed} HANGS: no end after {PATIENCE:?}");
        }
        if differs {
            println!("seed={seed} DIFFERS: it was not the same when it ran again");
        }
        if !held || hangs || differs {
            self.failed.push(seed);
        }
        Ok(())
    }
}
