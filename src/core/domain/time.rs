//! Event time: nanoseconds since the Unix epoch, UTC.
//!
//! Owns parsing and printing of event times. Promises that printing and parsing are exact inverses.
//! Never reads a clock: event time comes from the data.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::TimeText;
use super::time_format::parse_standard;

/// An instant in event time: nanoseconds since 1970-01-01T00:00:00Z.
///
/// The range is that of `i64`: the years 1677 to 2262.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixNanos(i64);

/// A span of event time in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DurationNanos(i64);

/// The unit of an event time that arrives as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TimeUnit {
    /// Seconds since the epoch; a fraction is allowed.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds since the epoch, as most exchanges send them.
    #[default]
    #[serde(rename = "ms")]
    Milliseconds,
    /// Microseconds since the epoch.
    #[serde(rename = "us")]
    Microseconds,
    /// Nanoseconds since the epoch.
    #[serde(rename = "ns")]
    Nanoseconds,
}

/// Why a text or number is not an event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Neither RFC 3339 nor a plain date.
    #[error(
        "not an RFC 3339 time or a date (2013-03-01T14:30:00Z, 2013-03-01); another form needs a \
         time format"
    )]
    Format,
    /// Not of the format that was chosen.
    #[error("does not fit the time format")]
    OtherFormat,
    /// In a zone that the database of time zones does not know.
    #[error("in a time zone that is not known")]
    UnknownZone,
    /// With an offset that its zone does not have then.
    #[error("its offset is not that of its time zone")]
    Conflict,
    /// A local time that a change of the clock skips.
    #[error("does not exist in its time zone, where the clock is put forward then")]
    Skipped,
    /// A local time that a change of the clock repeats.
    #[error("occurs twice in its time zone, where the clock is put back; give the offset")]
    Repeated,
    /// Outside the years 1677 to 2262.
    #[error("outside the representable range (years 1677 to 2262)")]
    Range,
}

impl DurationNanos {
    /// The longest span, 292 years.
    pub const MAX: Self = Self(i64::MAX);

    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of whole seconds, or `None` where it overflows.
    pub const fn from_seconds(seconds: i64) -> Option<Self> {
        match seconds.checked_mul(1_000_000_000) {
            Some(nanos) => Some(Self(nanos)),
            None => None,
        }
    }

    /// A span of milliseconds; every `u32` of them fits.
    pub const fn from_milliseconds(milliseconds: u32) -> Self {
        Self(milliseconds as i64 * 1_000_000)
    }

    /// The span in nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// What is left of this span without another; not below zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0).max(0))
    }

    /// This span `count` times, or `None` where it overflows.
    pub fn times(self, count: u32) -> Option<Self> {
        self.0.checked_mul(i64::from(count)).map(Self)
    }
}

impl UnixNanos {
    /// Wraps nanoseconds since the epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// This instant as it is printed: RFC 3339 in UTC.
    pub fn text(self) -> TimeText {
        TimeText::new(self)
    }

    /// This instant plus a span, or `None` past the range.
    pub fn checked_add(self, span: DurationNanos) -> Option<Self> {
        self.0.checked_add(span.0).map(Self)
    }

    /// The span from `earlier` to this instant, or `None` where it overflows.
    pub fn since(self, earlier: Self) -> Option<DurationNanos> {
        self.0.checked_sub(earlier.0).map(DurationNanos)
    }

    /// The start of the interval of this length, aligned to the epoch plus `offset`, that holds
    /// this instant.
    ///
    /// `rem_euclid` keeps instants before 1970 in the interval that begins before them.
    /// `None` for an empty interval or where the start leaves the range.
    pub fn interval_start(self, interval: DurationNanos, offset: DurationNanos) -> Option<Self> {
        if interval.0 <= 0 {
            return None;
        }
        let into = self.0.checked_sub(offset.0)?.rem_euclid(interval.0);
        self.0.checked_sub(into).map(Self)
    }

    /// Reads a number in `unit` since the epoch.
    ///
    /// # Errors
    /// [`TimeError::Range`] where nanoseconds do not hold it.
    pub fn from_integer(value: i64, unit: TimeUnit) -> Result<Self, TimeError> {
        value.checked_mul(unit.nanos()).map(Self).ok_or(TimeError::Range)
    }

    /// Reads a fractional number in `unit` since the epoch, rounded to the nearest nanosecond.
    ///
    /// A double holds present-day seconds to about 240 ns; send integers where that matters.
    ///
    /// # Errors
    /// [`TimeError::Range`] where it is not finite or nanoseconds do not hold it.
    pub fn from_float(value: f64, unit: TimeUnit) -> Result<Self, TimeError> {
        let nanos = (value * unit.nanos() as f64).round();
        // `i64::MAX as f64` rounds up to 2^63, so the upper bound is exclusive. NaN fails both.
        if nanos >= i64::MIN as f64 && nanos < i64::MAX as f64 {
            Ok(Self(nanos as i64))
        } else {
            Err(TimeError::Range)
        }
    }

    /// Reads RFC 3339 (`2013-03-01T14:30:00Z`, a space for the `T` is fine), the same with the name
    /// of a zone (`2013-03-01T09:30:00[America/New_York]`), without either as UTC, or a date at
    /// midnight UTC (`2013-03-01`). The date may have slashes with the year first (`2013/03/01`).
    /// [`super::TimeFormat`] reads other forms.
    ///
    /// # Errors
    /// [`TimeError`].
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        parse_standard(text, None)
    }
}

impl TimeUnit {
    /// Every unit with the word of its key, the usual one first.
    pub const CHOICES: [(&'static str, Self); 4] = [
        ("ms", Self::Milliseconds),
        ("s", Self::Seconds),
        ("us", Self::Microseconds),
        ("ns", Self::Nanoseconds),
    ];

    /// The unit as a key has it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "us",
            Self::Nanoseconds => "ns",
        }
    }

    /// The unit in words.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Nanoseconds => "nanoseconds",
        }
    }

    /// Nanoseconds in one unit.
    pub(super) const fn nanos(self) -> i64 {
        match self {
            Self::Seconds => 1_000_000_000,
            Self::Milliseconds => 1_000_000,
            Self::Microseconds => 1_000,
            Self::Nanoseconds => 1,
        }
    }
}

impl fmt::Display for UnixNanos {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.text().as_str())
    }
}

impl Serialize for UnixNanos {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // People read RFC 3339; a stored state has the nanoseconds, in a third of the bytes.
        if serializer.is_human_readable() {
            serializer.serialize_str(self.text().as_str())
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for UnixNanos {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return i64::deserialize(deserializer).map(Self);
        }
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_feeds_send() {
        let expected = UnixNanos::from_nanos(1_362_148_200_000_000_000);
        for text in ["2013-03-01T14:30:00Z", "2013-03-01 14:30:00Z", "2013-03-01T09:30:00-05:00"] {
            assert_eq!(UnixNanos::parse(text), Ok(expected), "{text}");
        }
        assert_eq!(
            UnixNanos::parse("2013-03-01"),
            Ok(UnixNanos::from_nanos(1_362_096_000_000_000_000))
        );
        assert_eq!(UnixNanos::parse("2013/03/01"), UnixNanos::parse("2013-03-01"));
        for text in ["2013-03-01 14:30:00", "2013-03-01T14:30:00.000"] {
            assert_eq!(UnixNanos::parse(text), Ok(expected), "{text} is UTC");
        }
        assert_eq!(
            UnixNanos::from_integer(1_362_148_200_000, TimeUnit::Milliseconds),
            Ok(expected)
        );
        assert_eq!(UnixNanos::from_float(1_362_148_200.0, TimeUnit::Seconds), Ok(expected));
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "yesterday",
            "2013-13-01",
            "2013-02-30",
            "2013-03-01T25:00:00Z",
            "2013-03-01T1",
            "2013-03/01",
            "03/01/2013",
        ] {
            assert_eq!(UnixNanos::parse(text), Err(TimeError::Format), "{text}");
        }
        assert_eq!(UnixNanos::parse("9000-01-01"), Err(TimeError::Range));
        assert_eq!(UnixNanos::from_integer(i64::MAX, TimeUnit::Seconds), Err(TimeError::Range));
        assert_eq!(UnixNanos::from_float(f64::NAN, TimeUnit::Seconds), Err(TimeError::Range));
        assert_eq!(UnixNanos::from_float(1e300, TimeUnit::Seconds), Err(TimeError::Range));
    }

    #[test]
    fn prints_what_it_parses() {
        for nanos in [0, -1, 1, 1_362_148_200_123_456_789, i64::MIN, i64::MAX] {
            let time = UnixNanos::from_nanos(nanos);
            assert_eq!(UnixNanos::parse(&time.to_string()), Ok(time), "{time}");
        }
    }

    #[test]
    fn aligns_instants_before_the_epoch_downwards() {
        let minute = DurationNanos::from_seconds(60).unwrap();
        let start_of = |time: UnixNanos| time.interval_start(minute, DurationNanos::ZERO);
        let start = start_of(UnixNanos::from_nanos(-1)).unwrap();
        assert_eq!(start, UnixNanos::from_nanos(-60_000_000_000));
        assert_eq!(start_of(start), Some(start));
    }

    #[test]
    fn a_day_may_begin_in_the_evening() {
        let [day, evening] = [24, 22].map(|h| DurationNanos::from_seconds(h * 3600).unwrap());
        let start_of = |text: &str| {
            let time = UnixNanos::parse(text).unwrap();
            time.interval_start(day, evening).unwrap().to_string()
        };
        assert_eq!(start_of("2026-03-02T21:59:59.999999999Z"), "2026-03-01T22:00:00Z");
        assert_eq!(start_of("2026-03-02T22:00:00Z"), "2026-03-02T22:00:00Z");
        assert_eq!(start_of("1969-12-31T21:00:00Z"), "1969-12-30T22:00:00Z");
        let least = UnixNanos::from_nanos(i64::MIN);
        assert_eq!(least.interval_start(day, evening), None);
    }
}
