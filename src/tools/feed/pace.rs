//! When each record of a recording is due.
//!
//! Owns the arithmetic of pace. Promises that due times count from the beginning, so that a delay
//! is caught up and the pace never drifts. Never sleeps.

use std::time::Duration;

use crate::core::domain::DurationNanos;

/// How fast a recording is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Event time runs this many times faster than the clock.
    Speed(f64),
    /// This many records per second, whatever their event times.
    Rate(f64),
    /// As fast as the peer reads.
    Max,
}

/// Why a text is not a pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaceError {
    /// Not a speed.
    #[error("expected a factor above zero such as `1000x`, or `max`")]
    Speed,
    /// Not a rate.
    #[error("expected a number above zero such as `500/s`")]
    Rate,
}

impl Pace {
    /// Reads `1000x`, `0.5x`, `1000` or `max`.
    ///
    /// # Errors
    /// [`PaceError::Speed`].
    pub fn parse_speed(text: &str) -> Result<Self, PaceError> {
        if text == "max" {
            return Ok(Self::Max);
        }
        positive(text.strip_suffix('x').unwrap_or(text)).map(Self::Speed).ok_or(PaceError::Speed)
    }

    /// Reads `500/s` or `500`.
    ///
    /// # Errors
    /// [`PaceError::Rate`].
    pub fn parse_rate(text: &str) -> Result<Self, PaceError> {
        positive(text.strip_suffix("/s").unwrap_or(text)).map(Self::Rate).ok_or(PaceError::Rate)
    }

    /// When the record at `index` is due, counted from the first one; `offset` is its event time
    /// counted from the first event time. Zero for what has no place in time.
    pub(super) fn due(self, index: usize, offset: Option<DurationNanos>) -> Duration {
        let seconds = match self {
            Self::Max => 0.0,
            Self::Rate(per_second) => index as f64 / per_second,
            Self::Speed(factor) => {
                offset.map_or(0.0, |offset| offset.as_nanos() as f64 / 1e9 / factor)
            }
        };
        // Beyond what a duration holds is beyond what anybody waits for.
        Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
    }
}

fn positive(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_speeds_and_rates() {
        assert_eq!(Pace::parse_speed("1000x"), Ok(Pace::Speed(1000.0)));
        assert_eq!(Pace::parse_speed("0.5"), Ok(Pace::Speed(0.5)));
        assert_eq!(Pace::parse_speed("max"), Ok(Pace::Max));
        assert_eq!(Pace::parse_rate("500/s"), Ok(Pace::Rate(500.0)));
        assert_eq!(Pace::parse_rate("2.5"), Ok(Pace::Rate(2.5)));
        for text in ["", "x", "0x", "-1x", "NaNx", "infx", "fast", "1000/s"] {
            assert_eq!(Pace::parse_speed(text), Err(PaceError::Speed), "{text}");
        }
        for text in ["", "/s", "0/s", "-1/s", "max", "5x"] {
            assert_eq!(Pace::parse_rate(text), Err(PaceError::Rate), "{text}");
        }
    }

    #[test]
    fn due_times_count_from_the_beginning() {
        let hour = DurationNanos::from_seconds(3600);
        assert_eq!(Pace::Speed(1000.0).due(7, hour), Duration::from_millis(3600));
        assert_eq!(Pace::Speed(0.5).due(7, hour), Duration::from_secs(7200));
        assert_eq!(Pace::Speed(1.0).due(7, None), Duration::ZERO);
        assert_eq!(Pace::Speed(1e-300).due(7, hour), Duration::MAX);
        assert_eq!(Pace::Speed(1.0).due(7, DurationNanos::from_seconds(-1)), Duration::ZERO);
        assert_eq!(Pace::Rate(500.0).due(250, hour), Duration::from_millis(500));
        assert_eq!(Pace::Max.due(7, hour), Duration::ZERO);
    }
}
