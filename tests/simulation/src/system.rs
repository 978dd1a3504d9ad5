//! What the system would give by chance: random bytes and the time. The functions of the C library that give
//! them are replaced for the whole process, so that the standard library, tokio and openraft all draw from the
//! seed and see the simulated clock.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// Simulated from now on.
static ON: AtomicBool = AtomicBool::new(false);
static RANDOM: AtomicU64 = AtomicU64::new(0);
/// The true time of the simulation, in nanoseconds.
static NOW_NS: AtomicU64 = AtomicU64::new(0);
/// What the wall clock of the machine that runs now shows beside the true time.
static WALL_NS: AtomicI64 = AtomicI64::new(0);

/// 15 June 2026 in UTC, and a monotonic clock that has run for a day.
const WALL_START_NS: u64 = 1_781_481_600_000_000_000;
const MONOTONIC_START_NS: u64 = 86_400_000_000_000;

/// Seeds what the system gives, for this process and for good.
pub fn simulate(seed: u64) {
    RANDOM.store(seed, Ordering::Relaxed);
    ON.store(true, Ordering::Relaxed);
    // For this thread; there is one.
    fastrand::seed(seed);
}

/// The true time of the simulation, in nanoseconds.
pub fn now_ns() -> u64 {
    NOW_NS.load(Ordering::Relaxed)
}

/// Sets the true time.
pub fn set_now_ns(now_ns: u64) {
    NOW_NS.store(now_ns, Ordering::Relaxed);
}

/// Sets what the wall clock shows beside the true time.
pub fn set_wall_ns(offset_ns: i64) {
    WALL_NS.store(offset_ns, Ordering::Relaxed);
}

fn next() -> u64 {
    let seed = RANDOM.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// `getrandom(2)`.
///
/// # Safety
/// As in C: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
    if !ON.load(Ordering::Relaxed) {
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as isize };
    }
    for at in 0..length {
        unsafe { buffer.add(at).write(next() as u8) };
    }
    length as isize
}

/// `clock_gettime(2)`.
///
/// # Safety
/// As in C: `time` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: i32, time: *mut libc::timespec) -> i32 {
    if !ON.load(Ordering::Relaxed) {
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as i32 };
    }
    let ns = match clock {
        libc::CLOCK_REALTIME => {
            (WALL_START_NS + now_ns()).saturating_add_signed(WALL_NS.load(Ordering::Relaxed))
        }
        _ => MONOTONIC_START_NS + now_ns(),
    };
    let at = libc::timespec {
        tv_sec: (ns / 1_000_000_000) as i64,
        tv_nsec: (ns % 1_000_000_000) as i64,
    };
    unsafe { time.write(at) };
    0
}
