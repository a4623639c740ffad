//! Event times of the wire, exactly.
//!
//! Owns the way from digits to nanoseconds and on to RFC 3339, which needs no unit beside it.
//! Promises that no digit goes through a double. Digits finer than a nanosecond are cut off.

use super::spec::VenueTime;
use crate::core::domain::UnixNanos;

/// More digits than any time has; beyond, a number is none.
const DIGITS_MAX: usize = 36;

impl VenueTime {
    /// Nanoseconds in one unit, as a power of ten; `None` for texts.
    fn power(self) -> Option<i32> {
        match self {
            Self::Seconds => Some(9),
            Self::Milliseconds => Some(6),
            Self::Microseconds => Some(3),
            Self::Nanoseconds => Some(0),
            Self::Text => None,
        }
    }

    /// Nanoseconds in one unit; in a second for texts.
    pub(super) fn nanos(self) -> i64 {
        // At most 9.
        10_i64.pow(self.power().unwrap_or(9).unsigned_abs())
    }

    /// The instant that a JSON number of this unit stands for; `None` where it is no number, none
    /// that is a time, or the form is text.
    pub(super) fn read(self, number: &str) -> Option<UnixNanos> {
        let power = self.power()?;
        if !super::json::is_number(number) {
            return None;
        }
        let (number, exponent) = match number.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
            None => (number, 0),
        };
        let (negative, number) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() > DIGITS_MAX {
            return None;
        }
        let digits = whole.bytes().chain(fraction.bytes());
        // At most 36 digits fit.
        let digits = digits.fold(0_i128, |sum, digit| sum * 10 + i128::from(digit - b'0'));
        let shift = (exponent.checked_add(power)?).checked_sub(fraction.len() as i32)?;
        let scale = 10_i128.checked_pow(shift.unsigned_abs());
        let nanos = match (shift >= 0, scale) {
            _ if digits == 0 => 0,
            (true, Some(scale)) => digits.checked_mul(scale)?,
            (false, Some(scale)) => digits / scale,
            (true, None) => return None,
            (false, None) => 0,
        };
        i64::try_from(if negative { -nanos } else { nanos }).ok().map(UnixNanos::from_nanos)
    }
}

/// Adds an instant as RFC 3339 in UTC, with as many digits behind the second as it needs: none,
/// three, six or nine.
pub(super) fn push_rfc3339(time: UnixNanos, to: &mut Vec<u8>) {
    const SECOND: i64 = 1_000_000_000;
    let (seconds, nanos) = (time.as_nanos().div_euclid(SECOND), time.as_nanos().rem_euclid(SECOND));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let mut number = |value: i64, digits: u32, before: &[u8]| {
        to.extend_from_slice(before);
        for place in (0..digits).rev() {
            to.push(b'0' + (value / 10_i64.pow(place) % 10) as u8);
        }
    };
    number(year, 4, b"");
    number(month, 2, b"-");
    number(day, 2, b"-");
    number(second / 3600, 2, b"T");
    number(second / 60 % 60, 2, b":");
    number(second % 60, 2, b":");
    match nanos {
        0 => {}
        nanos if nanos % 1_000_000 == 0 => number(nanos / 1_000_000, 3, b"."),
        nanos if nanos % 1_000 == 0 => number(nanos / 1_000, 6, b"."),
        nanos => number(nanos, 9, b"."),
    }
    to.push(b'Z');
}

/// Year, month and day of a day counted from 1970-01-01, by the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Counted from 0000-03-01, so that a leap day is the last day of its year and of its era of
    // 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March have 31, 30, 31, 30, 31 days, over and over: 153 in five.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn digits_become_nanoseconds_exactly() {
        use VenueTime::{Microseconds, Milliseconds, Nanoseconds, Seconds, Text};
        let cases = [
            (Milliseconds, "1672515782136", Some(1_672_515_782_136_000_000)),
            (Seconds, "1672304486.868", Some(1_672_304_486_868_000_000)),
            // A double holds 1534614057.321597 to 240 ns.
            (Seconds, "1534614057.321597", Some(1_534_614_057_321_597_000)),
            (Seconds, "1534614057.3215971239", Some(1_534_614_057_321_597_123)),
            (Microseconds, "1695627877708706.25", Some(1_695_627_877_708_706_250)),
            (Nanoseconds, "1695627877708706123", Some(1_695_627_877_708_706_123)),
            (Nanoseconds, "1.672304486868e18", Some(1_672_304_486_868_000_000)),
            (Seconds, "-0.5", Some(-500_000_000)),
            (Seconds, "0e999", Some(0)),
            (Seconds, "1e-999", Some(0)),
            (Seconds, "1e999", None),
            (Seconds, "1e99999999999", None),
            (Nanoseconds, "9223372036854775808", None),
            (Milliseconds, "1111111111111111111111111111111111111", None),
            (Milliseconds, "2013-03-01", None),
            (Milliseconds, "", None),
            (Milliseconds, "007", None),
            (Text, "1672515782136", None),
        ];
        for (unit, text, nanos) in cases {
            assert_eq!(unit.read(text).map(UnixNanos::as_nanos), nanos, "{unit:?} {text}");
        }
    }

    fn written(nanos: i64) -> String {
        let mut text = Vec::new();
        push_rfc3339(UnixNanos::from_nanos(nanos), &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn writes_the_digits_that_are_needed() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00Z"),
            (1_672_515_782_136_000_000, "2022-12-31T19:43:02.136Z"),
            (1_672_515_782_136_020_000, "2022-12-31T19:43:02.136020Z"),
            (1_672_515_782_136_020_001, "2022-12-31T19:43:02.136020001Z"),
        ] {
            assert_eq!(written(nanos), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same_instant(nanos in any::<i64>()) {
            prop_assert_eq!(UnixNanos::parse(&written(nanos)), Ok(UnixNanos::from_nanos(nanos)));
        }

        #[test]
        fn whole_numbers_of_any_unit_are_exact(value in -9_000_000_000_i64..9_000_000_000) {
            use crate::core::domain::TimeUnit;
            for (ours, unit) in [
                (VenueTime::Seconds, TimeUnit::Seconds),
                (VenueTime::Milliseconds, TimeUnit::Milliseconds),
                (VenueTime::Microseconds, TimeUnit::Microseconds),
                (VenueTime::Nanoseconds, TimeUnit::Nanoseconds),
            ] {
                let expected = UnixNanos::from_integer(value, unit).ok();
                prop_assert_eq!(ours.read(&value.to_string()), expected);
            }
        }
    }
}
