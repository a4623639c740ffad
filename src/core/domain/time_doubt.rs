//! Numbers that cannot be event times of the unit in which they are read.
//!
//! Owns the one rule of plausibility that files, feeds and topics share. Promises that it depends
//! on the time and its unit alone. Never refuses a time: the caller decides.
//!
//! A number that is read in too small a unit becomes a time of 1970: the seconds of 1980 to 2100
//! read as milliseconds lie in January and February of that year, and so do dates written as
//! digits, day numbers of a spreadsheet and row numbers. Read in too large a unit, a number leaves
//! the representable range and is refused as `invalid_time`.

use super::{TimeUnit, UnixNanos};

/// The length of 1970 in nanoseconds.
const YEAR_NANOS: i64 = 365 * 86_400 * 1_000_000_000;

/// The beginning of 1980 and of 2100 in seconds: where the times of most data lie.
const USUAL_SECONDS: std::ops::Range<i64> = 315_532_800..4_102_444_800;

/// The days from 1954 to 2064 as spreadsheets number them.
const SPREADSHEET_DAYS: std::ops::RangeInclusive<i64> = 20_000..=60_000;

/// What a number is taken for that cannot be a time of its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeDoubt {
    /// A time in this larger unit.
    Unit(TimeUnit),
    /// A date written as YYYYMMDD.
    CalendarDigits,
    /// The day number of a spreadsheet.
    SpreadsheetDay,
    /// The number of a row.
    RowNumber,
    /// Nothing in particular: it lies in 1970.
    Early,
}

impl TimeDoubt {
    /// The words of all reasons, in their order.
    pub const LABELS: [&'static str; 5] =
        ["unit", "calendar_digits", "spreadsheet_day", "row_number", "early"];

    /// Whether a time lies where numbers of a wrong unit land.
    pub fn is_possible(time: UnixNanos) -> bool {
        (0..YEAR_NANOS).contains(&time.as_nanos())
    }

    /// What is wrong with a number that gave this time in this unit; `None` where nothing is.
    pub fn of(time: UnixNanos, unit: TimeUnit) -> Option<Self> {
        if !Self::is_possible(time) {
            return None;
        }
        let number = time.as_nanos() / unit.nanos();
        let larger = [TimeUnit::Microseconds, TimeUnit::Milliseconds, TimeUnit::Seconds];
        let fits = |other: &TimeUnit| {
            let per_second = TimeUnit::Seconds.nanos() / other.nanos();
            other.nanos() > unit.nanos() && USUAL_SECONDS.contains(&(number / per_second))
        };
        Some(if is_date(number) {
            Self::CalendarDigits
        } else if let Some(unit) = larger.into_iter().find(fits) {
            Self::Unit(unit)
        } else if SPREADSHEET_DAYS.contains(&number) {
            Self::SpreadsheetDay
        } else if number < *SPREADSHEET_DAYS.start() {
            Self::RowNumber
        } else {
            Self::Early
        })
    }

    /// The place of the reason among [`TimeDoubt::LABELS`].
    pub const fn index(self) -> usize {
        match self {
            Self::Unit(_) => 0,
            Self::CalendarDigits => 1,
            Self::SpreadsheetDay => 2,
            Self::RowNumber => 3,
            Self::Early => 4,
        }
    }

    /// The word of the reason.
    pub const fn label(self) -> &'static str {
        Self::LABELS[self.index()]
    }

    /// What the numbers look like, and what to do.
    pub fn advice(self) -> String {
        match self {
            Self::Unit(unit) => {
                format!("these look like {}: set time_unit = \"{}\"", unit.word(), unit.label())
            }
            Self::CalendarDigits => {
                "these look like dates written as YYYYMMDD: set time_format = \"%Y%m%d\"".to_owned()
            }
            Self::SpreadsheetDay => {
                "these look like day numbers of a spreadsheet: export the dates as text".to_owned()
            }
            Self::RowNumber => {
                "these look like row numbers: name the column that has the times".to_owned()
            }
            Self::Early => "these are times of 1970: check time_unit".to_owned(),
        }
    }
}

/// Whether a number is a date of 1900 to 2100 as YYYYMMDD.
fn is_date(number: i64) -> bool {
    let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
    let (Ok(year), Ok(month), Ok(day)) =
        (i16::try_from(year), i8::try_from(month), i8::try_from(day))
    else {
        return false;
    };
    (1900..=2100).contains(&year) && jiff::civil::Date::new(year, month, day).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNITS: [TimeUnit; 4] =
        [TimeUnit::Nanoseconds, TimeUnit::Microseconds, TimeUnit::Milliseconds, TimeUnit::Seconds];

    fn doubt(number: i64, unit: TimeUnit) -> Option<TimeDoubt> {
        TimeDoubt::of(UnixNanos::from_integer(number, unit).unwrap(), unit)
    }

    #[test]
    fn numbers_that_are_no_times_are_told_apart() {
        use TimeUnit::{Milliseconds, Seconds};
        let cases = [
            (1_706_745_600, Milliseconds, Some(TimeDoubt::Unit(Seconds))),
            (20_240_201, Milliseconds, Some(TimeDoubt::CalendarDigits)),
            (20_240_201, Seconds, Some(TimeDoubt::CalendarDigits)),
            (45_323, Milliseconds, Some(TimeDoubt::SpreadsheetDay)),
            (45_323, Seconds, Some(TimeDoubt::SpreadsheetDay)),
            (0, Seconds, Some(TimeDoubt::RowNumber)),
            (17, Milliseconds, Some(TimeDoubt::RowNumber)),
            (20_241_301, Milliseconds, Some(TimeDoubt::Early)),
            (1_706_745_600, Seconds, None),
            // The weather of 1950 and of 1971.
            (-631_152_000, Seconds, None),
            (31_536_000, Seconds, None),
        ];
        for (number, unit, expected) in cases {
            assert_eq!(doubt(number, unit), expected, "{number} {unit:?}");
        }
        let advice = TimeDoubt::Unit(Seconds).advice();
        assert_eq!(advice, "these look like seconds: set time_unit = \"s\"");
    }

    #[test]
    fn each_reason_has_its_word() {
        let all = [
            TimeDoubt::Unit(TimeUnit::Seconds),
            TimeDoubt::CalendarDigits,
            TimeDoubt::SpreadsheetDay,
            TimeDoubt::RowNumber,
            TimeDoubt::Early,
        ];
        assert_eq!(all.map(TimeDoubt::label), TimeDoubt::LABELS);
    }

    proptest! {
        /// A time of 1980 to 2100 in one unit is refused as a number or doubted in any other, and
        /// the doubt names its unit.
        #[test]
        fn every_wrong_unit_shows(
            seconds in USUAL_SECONDS.start..USUAL_SECONDS.end,
            is in 0_usize..4,
            read_as in 0_usize..4,
        ) {
            let (is, read_as) = (UNITS[is], UNITS[read_as]);
            let number = seconds * (TimeUnit::Seconds.nanos() / is.nanos());
            match UnixNanos::from_integer(number, read_as) {
                Ok(time) if is == read_as => prop_assert_eq!(TimeDoubt::of(time, read_as), None),
                Ok(time) => {
                    prop_assert!(is.nanos() > read_as.nanos());
                    let doubt = TimeDoubt::of(time, read_as);
                    prop_assert_eq!(doubt, Some(TimeDoubt::Unit(is)));
                }
                Err(_) => prop_assert!(is.nanos() < read_as.nanos()),
            }
        }
    }
}
