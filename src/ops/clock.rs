//! The only place that reads clocks.
//!
//! Owns wall time (for seeds of jitter, for people, and for when a record was received) and
//! durations (for latency and limits). Promises that no clock value reaches a forecast. Never is
//! named by the pure core.

use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use crate::core::domain::UnixNanos;

/// The longest pause before the word to stop is looked for again.
const PAUSE_STEP: Duration = Duration::from_millis(50);

/// Measures how long something takes, on the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the seam the rule points to")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// As [`Stopwatch`], on the clock that the runtime's timers follow: tests can let it run ahead.
#[derive(Clone, Copy, Debug)]
pub struct TimerStopwatch(tokio::time::Instant);

impl TimerStopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the seam the rule points to")]
    pub fn start() -> Self {
        Self(tokio::time::Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Measures how much of a processor's time the calling thread has, which other work on the machine
/// does not lengthen; to be read by the thread that started it.
#[derive(Clone, Copy, Debug)]
pub struct ProcessorWatch(Duration);

impl ProcessorWatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(Self::of_thread())
    }

    /// The processor's time since the start.
    pub fn elapsed(self) -> Duration {
        Self::of_thread().saturating_sub(self.0)
    }

    fn of_thread() -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        // A thread's time is never negative, so both fit.
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    }
}

/// Holds the calling thread for so long; only for threads that own nothing which others wait for.
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// As [`pause`], and ends early once `stopped` says so, which is asked at the beginning, at the
/// end, and every 50 ms in between. Returns whether it did.
pub fn pause_unless(mut stopped: impl FnMut() -> bool, duration: Duration) -> bool {
    let clock = Stopwatch::start();
    loop {
        if stopped() {
            return true;
        }
        let left = duration.saturating_sub(clock.elapsed());
        if left.is_zero() {
            return false;
        }
        pause(left.min(PAUSE_STEP));
    }
}

/// Wall time, for when something was received; `None` where the clock shows a time out of range.
#[expect(clippy::disallowed_methods, reason = "this is the seam the rule points to")]
pub fn wall_time() -> Option<UnixNanos> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok().map(UnixNanos::from_nanos)
}

/// Wall time as seconds since the Unix epoch, for what may differ between runs: seeds of jitter,
/// and times for people.
#[expect(clippy::disallowed_methods, reason = "this is the seam the rule points to")]
pub fn wall_seconds() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |span| span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_early_when_it_is_stopped() {
        let clock = Stopwatch::start();
        assert!(pause_unless(|| true, Duration::from_secs(60)), "stopped before it began");
        assert!(pause_unless(
            || clock.elapsed() >= Duration::from_millis(60),
            Duration::from_secs(60)
        ));
        assert!(clock.elapsed() < Duration::from_secs(30), "{:?}", clock.elapsed());
        let mut asked = 0;
        let count = || {
            asked += 1;
            false
        };
        let clock = Stopwatch::start();
        assert!(!pause_unless(count, Duration::from_millis(120)));
        assert!(clock.elapsed() >= Duration::from_millis(120), "{:?}", clock.elapsed());
        assert!((2..=4).contains(&asked), "asked {asked} times");
        assert!(!pause_unless(|| false, Duration::ZERO));
    }

    #[test]
    fn waiting_takes_no_time_of_the_processor() {
        let (processor, wall) = (ProcessorWatch::start(), Stopwatch::start());
        pause(Duration::from_millis(50));
        let (processor, wall) = (processor.elapsed(), wall.elapsed());
        assert!(wall >= Duration::from_millis(50), "{wall:?}");
        assert!(processor < Duration::from_millis(25), "{processor:?}");
        let working = ProcessorWatch::start();
        let mut number = 1u64;
        while working.elapsed() < Duration::from_millis(1) {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
    }
}
