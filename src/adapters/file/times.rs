//! The cell of a time.
//!
//! Owns the form in which the text of a cell goes on, and what it says about order. Promises that a
//! text which the chosen format does not read goes on as a text, so that the decoder refuses it.
//! Never guesses which of two numbers is the month.

use crate::core::domain::{TimeFormat, TimeUnit, UnixNanos};

/// The time of a cell as the record has it.
pub(super) enum TimeCell<'t> {
    /// A whole number, in the unit of the stream.
    Whole(i64),
    /// A number with a fraction, likewise.
    Number(f64),
    /// An instant that was read from the text.
    Instant(UnixNanos),
    /// The text as it is.
    Text(&'t str),
}

impl<'t> TimeCell<'t> {
    pub(super) fn of(text: &'t str, times: &TimeFormat) -> Self {
        if !times.is_explicit() {
            if let Ok(whole) = text.parse() {
                return Self::Whole(whole);
            }
            if let Some(number) = text.parse().ok().filter(|number: &f64| number.is_finite()) {
                return Self::Number(number);
            }
            // The decoder reads it as well, in UTC.
            if times.is_default() {
                return Self::Text(text);
            }
        }
        times.parse(text).map_or(Self::Text(text), Self::Instant)
    }

    /// A number that grows with the time; in any unit, since rows are only compared.
    pub(super) fn order(&self) -> Option<i64> {
        let time = match self {
            Self::Whole(whole) => return Some(*whole),
            Self::Number(number) => UnixNanos::from_float(*number, TimeUnit::Milliseconds),
            Self::Instant(time) => Ok(*time),
            Self::Text(text) => UnixNanos::parse(text),
        };
        time.ok().map(UnixNanos::as_nanos)
    }
}

/// Whether a text is a date whose month could be its day: `01/03/2024`, `1.3.24 09:00`.
pub(super) fn is_ambiguous_date(text: &str) -> bool {
    let date = text.split([' ', 'T', ',']).next().unwrap_or_default();
    let mut parts = date.split(['/', '.', '-']);
    let mut digits = |lengths: std::ops::RangeInclusive<usize>| {
        parts.next().is_some_and(|part| {
            lengths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    digits(1..=2) && digits(1..=2) && digits(2..=4) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_with_two_readings_are_recognized() {
        for text in ["01/03/2024", "1/3/24", "1.3.2024 09:00", "31-12-2024"] {
            assert!(is_ambiguous_date(text), "{text}");
        }
        for text in ["2024-01-03", "2024/01/03", "1704067200000", "1.5", "Jan 3, 2024", "", "1/3"] {
            assert!(!is_ambiguous_date(text), "{text}");
        }
    }
}
