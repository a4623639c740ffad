//! The only place that reads clocks.
//!
//! Owns wall time (for seeds of jitter, for people, and for when a record was received) and
//! durations (for latency and limits). Promises that no clock value reaches a forecast. Never is
//! named by the pure core.

use std::time::{Duration, Instant, SystemTime};

use crate::domain::UnixNanos;

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

/// Holds the calling thread for so long; only for threads that own nothing which others wait for.
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
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
