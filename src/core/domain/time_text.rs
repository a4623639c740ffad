//! An event time as text, written digit by digit.
//!
//! Owns the printed form: RFC 3339 in UTC, with as much of a fraction as there is. Promises that
//! writing allocates nothing and goes through no formatter, because every forecast has two times
//! in it. Never reads a text: [`UnixNanos::parse`] does.

use super::UnixNanos;

/// `2262-04-11T23:47:16.854775807Z`, the longest there is: years have four digits.
const BYTES_MAX: usize = 30;

/// `2262-04-11T23:47:16`, of which a fraction and the `Z` follow.
const SECONDS_BYTES: usize = 19;

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// From 0000-03-01, the beginning of a cycle of 400 years, to 1970-01-01.
const DAYS_TO_EPOCH: i64 = 719_468;

/// An event time as it is printed: ASCII.
#[derive(Clone, Copy)]
pub struct TimeText {
    bytes: [u8; BYTES_MAX],
    length: usize,
}

impl TimeText {
    pub(super) fn new(time: UnixNanos) -> Self {
        let seconds = time.as_nanos().div_euclid(NANOS_PER_SECOND);
        let fraction = time.as_nanos().rem_euclid(NANOS_PER_SECOND) as u32;
        let (year, month, day) = civil_date(seconds.div_euclid(SECONDS_PER_DAY));
        let of_day = seconds.rem_euclid(SECONDS_PER_DAY) as u32;
        let mut bytes = *b"0000-00-00T00:00:00Z          ";
        put_pair(&mut bytes, 0, year / 100);
        put_pair(&mut bytes, 2, year % 100);
        put_pair(&mut bytes, 5, month);
        put_pair(&mut bytes, 8, day);
        put_pair(&mut bytes, 11, of_day / 3600);
        put_pair(&mut bytes, 14, of_day / 60 % 60);
        put_pair(&mut bytes, 17, of_day % 60);
        let length = if fraction == 0 { SECONDS_BYTES } else { put_fraction(&mut bytes, fraction) };
        bytes[length] = b'Z';
        Self { bytes, length: length + 1 }
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).expect("digits, `-`, `:`, `.`, `T` and `Z` are ASCII")
    }
}

/// Writes a point and the digits of a fraction of a second up to the last one that is not zero.
/// Returns where they end.
fn put_fraction(bytes: &mut [u8; BYTES_MAX], nanos: u32) -> usize {
    bytes[SECONDS_BYTES] = b'.';
    let mut left = nanos;
    for place in (SECONDS_BYTES + 1..SECONDS_BYTES + 10).rev() {
        bytes[place] = digit(left % 10);
        left /= 10;
    }
    let mut end = SECONDS_BYTES + 10;
    while bytes[end - 1] == b'0' {
        end -= 1;
    }
    end
}

/// Writes a number below 100 with two digits.
fn put_pair(bytes: &mut [u8; BYTES_MAX], at: usize, number: u32) {
    bytes[at] = digit(number / 10);
    bytes[at + 1] = digit(number % 10);
}

fn digit(number: u32) -> u8 {
    b'0' + number as u8
}

/// Year, month and day of a day since 1970-01-01, in the proleptic Gregorian calendar.
///
/// Years are counted from the first of March, so that a leap day is the last one of its year.
/// Everything that nanoseconds can hold lies behind the year 1677, so nothing is negative.
fn civil_date(day: i64) -> (u32, u32, u32) {
    const DAYS_PER_CYCLE: u32 = 146_097;
    let day = (day + DAYS_TO_EPOCH) as u32;
    let (cycle, of_cycle) = (day / DAYS_PER_CYCLE, day % DAYS_PER_CYCLE);
    // Leap days up to here are taken out: one in 4 years, none in 100, one in 400.
    let without_leap = of_cycle - of_cycle / 1460 + of_cycle / 36_524 - of_cycle / 146_096;
    let year_of_cycle = without_leap / 365;
    let of_year = of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    // Months from March have 31, 30, 31, 30, 31 days, and again: 153 in five.
    let month_from_march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * month_from_march + 2) / 5 + 1;
    let is_next_year = month_from_march >= 10;
    let month = if is_next_year { month_from_march - 9 } else { month_from_march + 3 };
    (400 * cycle + year_of_cycle + u32::from(is_next_year), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the crate of times prints.
    fn reference(nanos: i64) -> String {
        jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap().to_string()
    }

    fn text(nanos: i64) -> String {
        UnixNanos::from_nanos(nanos).to_string()
    }

    #[test]
    fn the_ends_are_printed_whole() {
        assert_eq!(text(i64::MIN), "1677-09-21T00:12:43.145224192Z");
        assert_eq!(text(i64::MAX), "2262-04-11T23:47:16.854775807Z");
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(text(250_000_000), "1970-01-01T00:00:00.25Z");
    }

    #[test]
    fn every_day_is_the_day_that_it_is() {
        let days = i64::MIN / NANOS_PER_SECOND / SECONDS_PER_DAY
            ..=i64::MAX / NANOS_PER_SECOND / SECONDS_PER_DAY;
        assert_eq!(days.clone().count(), 213_503);
        for day in days {
            let nanos = day * SECONDS_PER_DAY * NANOS_PER_SECOND;
            assert_eq!(text(nanos), reference(nanos), "day {day}");
        }
    }

    proptest! {
        #[test]
        fn any_time_is_printed_as_the_crate_of_times_does(
            nanos in any::<i64>(),
            unit in prop::sample::select(vec![1, 1_000, 1_000_000, NANOS_PER_SECOND]),
        ) {
            let nanos = nanos - nanos % unit;
            prop_assert_eq!(text(nanos), reference(nanos));
        }
    }
}
