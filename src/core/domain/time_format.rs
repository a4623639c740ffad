//! How a text becomes an event time.
//!
//! Owns the forms of time that are read: RFC 3339 and its relatives, or one explicit format, and
//! the zone of a text that names none. Promises that a text with more than one reading is refused:
//! a local time that a change of the clock skips or repeats, and a date whose month and day could
//! be exchanged. Zones come from the database inside the binary. Never reads a clock.

use std::fmt;
use std::sync::Arc;

use jiff::civil::{DateTime, Time};
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::fmt::temporal::{Pieces, PiecesOffset, TimeZoneAnnotation};
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::time::TimeError;
use super::{TimeUnit, UnixNanos};

/// The longest text in which slashes are replaced: a date, a time and the longest zone fit.
const SLASHED_BYTES_MAX: usize = 96;

/// How texts of times are read. The default reads RFC 3339 and its relatives, in UTC where the
/// text names neither an offset nor a zone.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TimeFormat {
    format: Option<Arc<str>>,
    /// `None` is UTC.
    zone: Option<TimeZone>,
}

/// Why a format or a zone cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeFormatError {
    /// The format has an unknown directive, or none that gives a date.
    #[error(
        "`{format}` is no format of times ({problem}); use strftime directives, such as \
         `%d.%m.%Y %H:%M`"
    )]
    Format {
        /// The format.
        format: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The database of time zones does not know the name.
    #[error("`{0}` is no time zone of the IANA database, such as `America/New_York`")]
    Zone(String),
}

impl TimeFormatError {
    /// Whether the zone is at fault, and not the format.
    pub fn is_of_zone(&self) -> bool {
        matches!(self, Self::Zone(_))
    }
}

impl TimeFormat {
    /// Reads texts by `format`, a format of strftime, and takes those that name neither an offset
    /// nor a zone as local times of `zone`, a name of the IANA database.
    ///
    /// # Errors
    /// [`TimeFormatError`] where either of them cannot be used.
    pub fn new(format: Option<&str>, zone: Option<&str>) -> Result<Self, TimeFormatError> {
        if let Some(format) = format {
            check(format).map_err(|problem| TimeFormatError::Format {
                format: format.to_owned(),
                problem: problem.to_owned(),
            })?;
        }
        let unknown = |name: &str| TimeFormatError::Zone(name.to_owned());
        let zone = zone.map(|name| TimeZone::get(name).map_err(|_| unknown(name))).transpose()?;
        Ok(Self { format: format.map(Arc::from), zone })
    }

    /// Whether there is an explicit format, by which a number is read digit by digit, too.
    pub fn is_explicit(&self) -> bool {
        self.format.is_some()
    }

    /// Whether neither a format nor a zone was chosen.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Reads a text. An explicit format is tried first; a text by RFC 3339 with an offset has one
    /// meaning under any format and is always read.
    ///
    /// # Errors
    /// [`TimeError`].
    pub fn parse(&self, text: &str) -> Result<UnixNanos, TimeError> {
        match &self.format {
            None => parse_standard(text, self.zone.as_ref()),
            Some(format) => parse_explicit(format, text, self.zone.as_ref()).or_else(|error| {
                let stamp: Result<jiff::Timestamp, _> = text.parse();
                stamp.map_or(Err(error), instant)
            }),
        }
    }

    /// Reads a whole number: by its digits where there is an explicit format (20240201 by
    /// `%Y%m%d`), else in `unit` since the epoch.
    ///
    /// # Errors
    /// [`TimeError`].
    pub fn parse_integer(&self, number: i64, unit: TimeUnit) -> Result<UnixNanos, TimeError> {
        if self.is_explicit() {
            return self.parse(&number.to_string());
        }
        UnixNanos::from_integer(number, unit)
    }

    /// Reads a number with a fraction: by its digits where there is an explicit format, else in
    /// `unit` since the epoch.
    ///
    /// # Errors
    /// [`TimeError`].
    pub fn parse_float(&self, number: f64, unit: TimeUnit) -> Result<UnixNanos, TimeError> {
        if self.is_explicit() {
            return self.parse(&number.to_string());
        }
        UnixNanos::from_float(number, unit)
    }
}

impl fmt::Display for TimeFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = self.zone.as_ref().and_then(TimeZone::iana_name).unwrap_or("UTC");
        let format = self.format.as_deref().unwrap_or("RFC 3339");
        write!(formatter, "{format} in {zone}")
    }
}

/// Reads RFC 3339, the same without an offset, with the name of a zone in brackets, with a space
/// for the `T`, a date alone, and the year first between slashes.
pub(super) fn parse_standard(text: &str, zone: Option<&TimeZone>) -> Result<UnixNanos, TimeError> {
    let mut buffer = [0; SLASHED_BYTES_MAX];
    let text = dashes_for_slashes(text, &mut buffer);
    let pieces = Pieces::parse(text).map_err(|_| TimeError::Format)?;
    let time = pieces.time().unwrap_or_else(Time::midnight);
    let civil = DateTime::from_parts(pieces.date(), time);
    match (pieces.offset(), pieces.time_zone_annotation()) {
        (Some(offset), annotation) => {
            let stamp = offset.to_numeric_offset().to_timestamp(civil);
            let stamp = stamp.map_err(|_| TimeError::Range)?;
            annotation.map_or(Ok(()), |annotation| agrees(stamp, offset, annotation))?;
            instant(stamp)
        }
        (None, Some(annotation)) => {
            let zone = annotation.to_time_zone().map_err(|_| TimeError::UnknownZone)?;
            local(civil, Some(&zone))
        }
        (None, None) => local(civil, zone),
    }
}

fn parse_explicit(
    format: &str,
    text: &str,
    zone: Option<&TimeZone>,
) -> Result<UnixNanos, TimeError> {
    let parts = strtime::parse(format, text.trim()).map_err(|_| TimeError::OtherFormat)?;
    if parts.timestamp().is_some() || parts.offset().is_some() {
        return parts.to_timestamp().map_err(|_| TimeError::OtherFormat).and_then(instant);
    }
    let civil = civil_of(&parts).ok_or(TimeError::OtherFormat)?;
    match parts.iana_time_zone() {
        Some(name) => {
            let zone = TimeZone::get(name).map_err(|_| TimeError::UnknownZone)?;
            local(civil, Some(&zone))
        }
        None => local(civil, zone),
    }
}

/// Date and time of what a format gave; midnight where it gave a date alone.
fn civil_of(parts: &BrokenDownTime) -> Option<DateTime> {
    let date = parts.to_date().ok()?;
    let time = match parts.hour() {
        Some(_) => parts.to_time().ok()?,
        None => Time::midnight(),
    };
    Some(DateTime::from_parts(date, time))
}

/// The instant of a local time that occurs exactly once.
fn local(civil: DateTime, zone: Option<&TimeZone>) -> Result<UnixNanos, TimeError> {
    let utc = TimeZone::UTC;
    let ambiguous = zone.unwrap_or(&utc).to_ambiguous_timestamp(civil);
    match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } => {
            ambiguous.unambiguous().map_err(|_| TimeError::Range).and_then(instant)
        }
        AmbiguousOffset::Gap { .. } => Err(TimeError::Skipped),
        AmbiguousOffset::Fold { .. } => Err(TimeError::Repeated),
    }
}

/// Whether an offset is the one that the zone beside it has at that instant. `Z` says nothing of
/// local time, and a zone that is unknown cannot contradict.
fn agrees(
    stamp: jiff::Timestamp,
    offset: PiecesOffset,
    annotation: &TimeZoneAnnotation<'_>,
) -> Result<(), TimeError> {
    let PiecesOffset::Numeric(offset) = offset else { return Ok(()) };
    let Ok(zone) = annotation.to_time_zone() else {
        return if annotation.is_critical() { Err(TimeError::UnknownZone) } else { Ok(()) };
    };
    // Offsets of the nineteenth century have seconds, which RFC 3339 cannot write.
    let apart = zone.to_offset(stamp).seconds().abs_diff(offset.offset().seconds());
    if apart < 60 { Ok(()) } else { Err(TimeError::Conflict) }
}

fn instant(stamp: jiff::Timestamp) -> Result<UnixNanos, TimeError> {
    let nanos = i64::try_from(stamp.as_nanosecond()).map_err(|_| TimeError::Range)?;
    Ok(UnixNanos::from_nanos(nanos))
}

/// `2013/03/01 14:30` with dashes in the date: with the year first and two digits each there is
/// one reading.
fn dashes_for_slashes<'t>(text: &'t str, buffer: &'t mut [u8; SLASHED_BYTES_MAX]) -> &'t str {
    let bytes = text.as_bytes();
    let [_, _, _, _, b'/', _, _, b'/', _, _, ..] = bytes else { return text };
    let Some(copy) = buffer.get_mut(..bytes.len()) else { return text };
    copy.copy_from_slice(bytes);
    (copy[4], copy[7]) = (b'-', b'-');
    str::from_utf8(copy).expect("one ASCII character took the place of another")
}

/// Whether a format can be used: a time that is written by it is read back as the same day and
/// hour.
fn check(format: &str) -> Result<(), &'static str> {
    // Of an afternoon, so that a twelve-hour clock without AM and PM shows.
    let sample = jiff::civil::date(2003, 11, 25).at(17, 28, 39, 0);
    let parts = strtime::parse(format, sample_text(format, sample)?.trim())
        .map_err(|_| "a directive is unknown or cannot be read")?;
    if parts.timestamp().is_some() {
        return Ok(());
    }
    let read = civil_of(&parts).ok_or("it gives no year, month and day")?;
    if read.date() != sample.date() {
        return Err("it gives no whole date");
    }
    if parts.hour().is_some() && read.hour() != sample.hour() {
        return Err("it has a twelve-hour clock without `%p`");
    }
    Ok(())
}

fn sample_text(format: &str, sample: DateTime) -> Result<String, &'static str> {
    let zoned = sample.to_zoned(TimeZone::UTC).map_err(|_| "it cannot be tried")?;
    strtime::format(format, &zoned).map_err(|_| "a directive is unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, TimeError> {
        UnixNanos::parse(text).map(|time| time.to_string())
    }

    fn by(format: &str, zone: Option<&str>, text: &str) -> Result<String, TimeError> {
        let format = TimeFormat::new(Some(format), zone).unwrap();
        format.parse(text).map(|time| time.to_string())
    }

    #[test]
    fn the_name_of_a_zone_is_read() {
        for (text, expected) in [
            ("2026-07-01T09:30:00[America/New_York]", "2026-07-01T13:30:00Z"),
            ("2026-01-05 09:30[America/New_York]", "2026-01-05T14:30:00Z"),
            ("2026-07-01T09:30:00-04:00[America/New_York]", "2026-07-01T13:30:00Z"),
            ("2026-07-01T13:30:00Z[America/New_York]", "2026-07-01T13:30:00Z"),
            ("2026-07-01T13:30:00Z[Nowhere/Known]", "2026-07-01T13:30:00Z"),
            ("2026-07-01T15:30:00+02:00[Nowhere/Known]", "2026-07-01T13:30:00Z"),
            ("2026-07-01[Asia/Tokyo]", "2026-06-30T15:00:00Z"),
            ("2026/07/01 09:30[America/New_York]", "2026-07-01T13:30:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_text_with_two_meanings_or_none_is_refused() {
        for (text, error) in [
            // The clock goes from 02:00 to 03:00, and from 02:00 back to 01:00.
            ("2026-03-08T02:30:00[America/New_York]", TimeError::Skipped),
            ("2026-11-01T01:30:00[America/New_York]", TimeError::Repeated),
            ("2026-07-01T09:30:00-05:00[America/New_York]", TimeError::Conflict),
            ("2026-07-01T09:30:00[Nowhere/Known]", TimeError::UnknownZone),
            ("2026-07-01T09:30:00-04:00[!Nowhere/Known]", TimeError::UnknownZone),
            ("2024/1/2", TimeError::Format),
            ("01/02/2024", TimeError::Format),
            ("02.01.2024", TimeError::Format),
            ("Jan 02, 2024", TimeError::Format),
            ("2024-01-02 10:00:00 UTC", TimeError::Format),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_year_that_comes_first_may_stand_between_slashes() {
        for (text, expected) in [
            ("2010/01/01", "2010-01-01T00:00:00Z"),
            ("2010/01/01 00:00", "2010-01-01T00:00:00Z"),
            ("2010/01/01 13:05:09.25", "2010-01-01T13:05:09.25Z"),
            ("2010/01/01T13:05:09+01:00", "2010-01-01T12:05:09Z"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn an_explicit_format_reads_what_nothing_may_guess() {
        for (format, zone, text, expected) in [
            ("%d.%m.%Y %H:%M", None, "02.01.2024 13:05", "2024-01-02T13:05:00Z"),
            ("%d.%m.%Y", None, "02.01.2024", "2024-01-02T00:00:00Z"),
            ("%m/%d/%Y", None, "1/2/2024", "2024-01-02T00:00:00Z"),
            ("%Y/%m/%d", None, "2024/1/2", "2024-01-02T00:00:00Z"),
            ("%b %d, %Y", None, "Jan 02, 2024", "2024-01-02T00:00:00Z"),
            ("%Y-%m-%d %H:%M:%S UTC", None, "2024-01-02 10:00:00 UTC", "2024-01-02T10:00:00Z"),
            ("%Y%m%d", None, "20240201", "2024-02-01T00:00:00Z"),
            ("%Y-%m-%d %I:%M %p", None, "2024-01-02 01:05 PM", "2024-01-02T13:05:00Z"),
            ("%d.%m.%Y %H:%M", Some("Europe/Berlin"), "01.07.2024 10:00", "2024-07-01T08:00:00Z"),
            ("%d.%m.%Y %H:%M %z", None, "01.07.2024 10:00 +0200", "2024-07-01T08:00:00Z"),
            ("%F %T %Q", None, "2026-07-01 09:30:00 America/New_York", "2026-07-01T13:30:00Z"),
            ("%s", None, "1704160800", "2024-01-02T02:00:00Z"),
            // RFC 3339 with an offset has one meaning whatever the format.
            ("%d.%m.%Y", Some("Europe/Berlin"), "2024-01-02T10:00:00Z", "2024-01-02T10:00:00Z"),
        ] {
            assert_eq!(by(format, zone, text).as_deref(), Ok(expected), "{format} {text}");
        }
        let berlin = Some("Europe/Berlin");
        assert_eq!(by("%d.%m.%Y", None, "2024-01-02"), Err(TimeError::OtherFormat));
        assert_eq!(by("%d.%m.%Y", None, "31.02.2024"), Err(TimeError::OtherFormat));
        assert_eq!(by("%F %H:%M", berlin, "2024-03-31 02:30"), Err(TimeError::Skipped));
        assert_eq!(by("%F %H:%M", berlin, "2024-10-27 02:30"), Err(TimeError::Repeated));
    }

    #[test]
    fn a_zone_alone_is_that_of_texts_without_one() {
        let berlin = TimeFormat::new(None, Some("Europe/Berlin")).unwrap();
        for (text, expected) in [
            ("2024-07-01 10:00", "2024-07-01T08:00:00Z"),
            ("2024-07-01", "2024-06-30T22:00:00Z"),
            ("2024-07-01T10:00:00Z", "2024-07-01T10:00:00Z"),
            ("2026-07-01T09:30:00[America/New_York]", "2026-07-01T13:30:00Z"),
        ] {
            assert_eq!(berlin.parse(text).unwrap().to_string(), expected, "{text}");
        }
        assert_eq!(berlin.to_string(), "RFC 3339 in Europe/Berlin");
    }

    #[test]
    fn numbers_are_read_by_their_digits_where_there_is_a_format() {
        let days = TimeFormat::new(Some("%Y%m%d"), None).unwrap();
        let day = UnixNanos::parse("2024-02-01").unwrap();
        assert_eq!(days.parse_integer(20_240_201, TimeUnit::Milliseconds), Ok(day));
        let standard = TimeFormat::default();
        assert_eq!(standard.parse_integer(1_706_745_600, TimeUnit::Seconds), Ok(day));
        assert_eq!(standard.parse_float(1_706_745_600.0, TimeUnit::Seconds), Ok(day));
    }

    #[test]
    fn a_format_that_cannot_give_a_day_is_refused() {
        for format in ["", "%H:%M", "%d.%m.", "%m %Y", "%!", "%Y-%m-%d %I:%M", "%Y-%m-%d %Z"] {
            let error = TimeFormat::new(Some(format), None).unwrap_err();
            assert!(!error.is_of_zone(), "{format}: {error}");
        }
        let error = TimeFormat::new(None, Some("Berlin")).unwrap_err();
        assert!(error.is_of_zone());
        let text = "`Berlin` is no time zone of the IANA database, such as `America/New_York`";
        assert_eq!(error.to_string(), text);
    }
}
