//! The clock and the chance that a simulated program gets from its system.
//!
//! Owns what the C library's `clock_gettime`, `getrandom` and `syscall` answer
//! in this program. Every time and every random number that Rust code has on
//! Linux comes from one of them, whichever crate asks, so a program that runs
//! here needs no changes, and no dependency can bring in what a seed does not
//! decide: not the order of a `HashMap`, not the branch of a `select!`, not a
//! key. Until [`begin`] they are the system's own.

#![allow(unsafe_code, reason = "these are the C library's own functions")]

use std::cell::Cell;
use std::ffi::{c_int, c_long, c_uint, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Seconds since 1970 at which every simulation begins.
pub const EPOCH: u64 = 1_767_225_600;

thread_local! {
    static CHANCE: Cell<Option<u64>> = const { Cell::new(None) };
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// How far the clock on the wall is ahead of [`EPOCH`] plus `NOW`.
    static SKEW_MS: Cell<i64> = const { Cell::new(0) };
}

/// From here on this thread lives in a simulation.
pub fn begin(seed: u64) {
    NOW.set(Duration::from_secs(1000));
    CHANCE.set(Some(seed));
}

/// Sets the time since the machines were made, and how many milliseconds the
/// clock on the wall of the one that runs now is ahead of the true time.
pub fn set_clock(now: Duration, skew_ms: i64) {
    NOW.set(Duration::from_secs(1000) + now);
    SKEW_MS.set(skew_ms);
}

/// The true time on the wall, from that since the simulation began.
pub fn since_1970(now: Duration) -> Duration {
    Duration::from_secs(EPOCH + 1000) + now
}

/// SplitMix64.
fn chance(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Calls the C library's own `syscall`, which the one below hides.
fn system(number: c_long, arguments: [usize; 6]) -> c_long {
    type Syscall = unsafe extern "C" fn(c_long, ...) -> c_long;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let mut next = NEXT.load(Ordering::Relaxed);
    if next == 0 {
        // SAFETY: the name is a C string; the answer is looked at below.
        next = unsafe { libc::dlsym(libc::RTLD_NEXT, c"syscall".as_ptr()) } as usize;
        if next == 0 {
            // Nothing can be reported without it.
            std::process::abort();
        }
        NEXT.store(next, Ordering::Relaxed);
    }
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: it is the function of that name and type in the C library, and
    // the arguments are what the caller meant for it.
    unsafe {
        let call: Syscall = std::mem::transmute::<usize, Syscall>(next);
        call(number, a, b, c, d, e, f)
    }
}

/// # Safety
/// As `getrandom(2)`: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    let Some(mut state) = CHANCE.get() else {
        let arguments = [buffer as usize, length, flags as usize, 0, 0, 0];
        return system(libc::SYS_getrandom, arguments) as isize;
    };
    if length > 0 {
        // SAFETY: the caller's promise.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
        for chunk in bytes.chunks_mut(8) {
            let random = chance(&mut state).to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }
    CHANCE.set(Some(state));
    length as isize
}

/// # Safety
/// As `clock_gettime(2)`: `time` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut libc::timespec) -> c_int {
    if CHANCE.get().is_none() {
        let arguments = [clock as usize, time as usize, 0, 0, 0, 0];
        return system(libc::SYS_clock_gettime, arguments) as c_int;
    }
    let mut now = NOW.get();
    if clock == libc::CLOCK_REALTIME {
        let skew = SKEW_MS.get();
        let by = Duration::from_millis(skew.unsigned_abs());
        now += Duration::from_secs(EPOCH);
        now = if skew < 0 {
            now.saturating_sub(by)
        } else {
            now + by
        };
    }
    // SAFETY: the caller's promise.
    unsafe {
        *time = libc::timespec {
            tv_sec: now.as_secs() as libc::time_t,
            tv_nsec: c_long::from(now.subsec_nanos() as i32),
        };
    }
    0
}

/// # Safety
/// As the system call of that number. Callers pass what it takes; the rest is
/// whatever the registers hold, as in the C library's own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    if number == libc::SYS_getrandom && CHANCE.get().is_some() {
        // SAFETY: the caller's promise.
        return unsafe { getrandom(a as *mut c_void, b, c as c_uint) } as c_long;
    }
    system(number, [a, b, c, d, e, f])
}
