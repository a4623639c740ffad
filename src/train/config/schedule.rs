//! When a backtest retrains.
//!
//! Owns the settings of `[backtest]` and the folds that follow from them and from the times of a
//! history. Promises that the test spans of folds follow each other without a gap, and that folds
//! that begin at `first` and have a length of `every` do not move when later rows are appended.
//! Never reads a price.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use jiff::tz::TimeZone;
use jiff::{SpanFieldwise, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::core::domain::UnixNanos;
use crate::ports::section::Section;
use crate::train::history::History;

/// The most folds.
pub const FOLDS_MAX: usize = 1000;

/// The most jobs.
pub const JOBS_MAX: usize = 256;

/// How many folds there are where nothing else is said.
const FOLDS_USUAL: usize = 5;

/// Before every step and behind every step.
const BEGINNING: UnixNanos = UnixNanos::from_nanos(i64::MIN);
const END: UnixNanos = UnixNanos::from_nanos(i64::MAX);

/// The settings of a backtest.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// How long the test span of each fold is.
    pub every: Option<Length>,
    /// How much history comes before the first test span.
    pub first: Option<Length>,
    /// Which rows before a test span are trained on.
    pub window: TrainingWindow,
    /// How many folds; at most so many where `first` and `every` are there.
    pub folds: Option<usize>,
    /// How many seeds each fold is fitted with; `None` for as many as an evaluation has.
    pub seeds: Option<usize>,
    /// What is changed so that the model has nothing to learn.
    pub control: Control,
    /// How many folds are fitted at once; 0 for as many as there are processors.
    pub jobs: usize,
    /// The folder in which each model has a folder of its own.
    pub output: PathBuf,
}

/// A length of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many times at which there are steps.
    Steps(usize),
    /// A calendar span in UTC.
    Time(SpanFieldwise),
}

/// Which rows before a test span are trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainingWindow {
    /// All of them.
    Expanding,
    /// The newest.
    Rolling(Length),
}

/// What is changed so that a model has nothing to learn: a check of the backtest itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// Nothing.
    None,
    /// The labels of the training part and those of the validation part are shuffled.
    RandomTarget,
}

/// One retraining and the time that judges it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Counted from 1.
    pub number: usize,
    /// The first instant that is trained on.
    pub train_from: UnixNanos,
    /// The first instant of the test span. Training and validation end before it.
    pub test_from: UnixNanos,
    /// The first instant behind the test span.
    pub test_to: UnixNanos,
}

/// Why a text is no length of history.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is no length: a number of steps (250) or a time (1y, 6mo, 2w, 30d, 12h)")]
pub struct LengthError(String);

/// Why a schedule gives no folds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// There is nothing to test on, or nothing before it.
    #[error(
        "backtest: {instants} times of steps are too few for this schedule: shorten `first` or \
         `every`, or ask for fewer `folds`"
    )]
    TooShort {
        /// Times at which there are steps.
        instants: usize,
    },
    /// Too many.
    #[error("backtest.every: gives more than {FOLDS_MAX} folds")]
    TooMany,
}

/// `[backtest]`.
pub(super) fn schedule(mut section: Section<'_>) -> Schedule {
    fn parsed<T: FromStr<Err: fmt::Display>>(
        section: &mut Section<'_>,
        name: &'static str,
    ) -> Option<T> {
        let text = section.optional_text(name)?;
        text.parse().map_err(|error| section.problem(name, error)).ok()
    }
    let every = parsed(&mut section, "every");
    let first = parsed(&mut section, "first");
    let window = parsed(&mut section, "window").unwrap_or(TrainingWindow::Expanding);
    let folds = section.optional_count("folds", 1, FOLDS_MAX);
    let seeds = section.optional_count("seeds", 1, FOLDS_MAX);
    let control = section.choice("control", &Control::CHOICES);
    let jobs = section.count("jobs", 0, JOBS_MAX);
    let output = section.path("output");
    section.finish();
    Schedule { every, first, window, folds, seeds, control, jobs, output }
}

impl FromStr for Length {
    type Err = LengthError;

    fn from_str(text: &str) -> Result<Self, LengthError> {
        let refused = || LengthError(text.to_owned());
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let steps = text.parse::<usize>().ok().filter(|steps| *steps > 0);
            return steps.map(Self::Steps).ok_or_else(refused);
        }
        let span: jiff::Span = text.parse().map_err(|_| refused())?;
        if span.is_positive() { Ok(Self::Time(span.fieldwise())) } else { Err(refused()) }
    }
}

impl fmt::Display for Length {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(1) => formatter.write_str("1 step"),
            Self::Steps(steps) => write!(formatter, "{steps} steps"),
            Self::Time(span) => write!(formatter, "{:#}", span.0),
        }
    }
}

impl FromStr for TrainingWindow {
    type Err = LengthError;

    fn from_str(text: &str) -> Result<Self, LengthError> {
        if text == "expanding" { Ok(Self::Expanding) } else { text.parse().map(Self::Rolling) }
    }
}

impl fmt::Display for TrainingWindow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expanding => formatter.write_str("expanding"),
            Self::Rolling(length) => length.fmt(formatter),
        }
    }
}

impl Control {
    /// Every control with its word.
    pub const CHOICES: [(&'static str, Self); 2] =
        [("none", Self::None), ("random-target", Self::RandomTarget)];

    /// The word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::RandomTarget => "random-target",
        }
    }
}

impl Fold {
    /// Whether a forecast whose newest step has this time belongs to the test span.
    pub fn tests(&self, as_of: UnixNanos) -> bool {
        (self.test_from..self.test_to).contains(&as_of)
    }
}

impl Schedule {
    /// The folds of a history, oldest first.
    ///
    /// # Errors
    /// [`ScheduleError`] where there are none or too many.
    pub fn folds(&self, history: &History) -> Result<Vec<Fold>, ScheduleError> {
        let steps = history.series.iter().flat_map(|series| &series.steps);
        let mut rows: Vec<UnixNanos> = steps.map(|step| step.time).collect();
        rows.sort_unstable();
        let mut instants = rows.clone();
        instants.dedup();
        let times = Times { rows, instants };
        let too_short = ScheduleError::TooShort { instants: times.instants.len() };
        let bounds = self.bounds(&times)?.ok_or_else(|| too_short.clone())?;
        let is_rising = bounds.windows(2).all(|pair| pair[0] < pair[1]);
        let has_past = times.instants.first() < bounds.first();
        let has_test = bounds.first() <= times.instants.last();
        if !(is_rising && has_past && has_test) {
            return Err(too_short);
        }
        let fold = |(at, pair): (usize, &[UnixNanos])| Fold {
            number: at + 1,
            train_from: self.train_from(&times, pair[0]),
            test_from: pair[0],
            test_to: pair[1],
        };
        Ok(bounds.windows(2).enumerate().map(fold).collect())
    }

    /// The beginnings of the test spans, and the end of the last one; `None` where the history is
    /// too short.
    fn bounds(&self, times: &Times) -> Result<Option<Vec<UnixNanos>>, ScheduleError> {
        let usual = self.folds.unwrap_or(FOLDS_USUAL);
        let Some(oldest) = times.instants.first().copied() else { return Ok(None) };
        let (Some(every), first) = (self.every, self.first) else {
            return Ok(match self.first {
                // The first stretch of as many and one more is trained on alone.
                None => evenly(&times.rows, usual + 1).map(|bounds| bounds[1..].to_vec()),
                Some(first) => times.after(oldest, first).and_then(|start| {
                    let from = times.rows.partition_point(|time| *time < start);
                    evenly(&times.rows[from..], usual)
                }),
            });
        };
        let start = match (first, self.folds) {
            (Some(first), _) => times.after(oldest, first),
            (None, Some(folds)) => times.before_end(every, folds),
            (None, None) => times.rows.get(times.rows.len() / 2).copied(),
        };
        let Some(start) = start else { return Ok(None) };
        let newest = times.instants.last().copied().unwrap_or(oldest);
        let mut bounds = vec![start];
        let mut last = start;
        while last <= newest && self.folds.is_none_or(|folds| bounds.len() <= folds) {
            if bounds.len() > FOLDS_MAX {
                return Err(ScheduleError::TooMany);
            }
            last = times.after(last, every).unwrap_or(END);
            bounds.push(last);
        }
        // The newest folds reach to the end, also where months differ in length.
        if let (None, Some(_), Some(last)) = (first, self.folds, bounds.last_mut()) {
            *last = END;
        }
        Ok(Some(bounds))
    }

    fn train_from(&self, times: &Times, test_from: UnixNanos) -> UnixNanos {
        match self.window {
            TrainingWindow::Expanding => BEGINNING,
            TrainingWindow::Rolling(length) => times.before(test_from, length).unwrap_or(BEGINNING),
        }
    }
}

/// When the steps of a history are.
struct Times {
    /// Of all symbols, in order.
    rows: Vec<UnixNanos>,
    /// Each once.
    instants: Vec<UnixNanos>,
}

impl Times {
    /// The instant that lies so much later; `None` behind the last step.
    fn after(&self, at: UnixNanos, length: Length) -> Option<UnixNanos> {
        match length {
            Length::Steps(steps) => {
                let place = self.instants.partition_point(|time| *time < at);
                self.instants.get(place.checked_add(steps)?).copied()
            }
            Length::Time(span) => moved(at, span.0),
        }
    }

    /// The instant that lies so much earlier; `None` before the first step.
    fn before(&self, at: UnixNanos, length: Length) -> Option<UnixNanos> {
        match length {
            Length::Steps(steps) => {
                let place = self.instants.partition_point(|time| *time < at);
                self.instants.get(place.checked_sub(steps)?).copied()
            }
            Length::Time(span) => moved(at, span.0.negate()),
        }
    }

    /// The first time with a step of the newest so many lengths; `None` where there are fewer.
    fn before_end(&self, length: Length, count: usize) -> Option<UnixNanos> {
        let place = match length {
            Length::Steps(steps) => self.instants.len().checked_sub(steps.checked_mul(count)?)?,
            Length::Time(span) => {
                let span = span.0.checked_mul(i64::try_from(count).ok()?).ok()?;
                let last = moved(*self.instants.last()?, span.negate())?;
                self.instants.partition_point(|time| *time <= last)
            }
        };
        self.instants.get(place).copied()
    }
}

/// An instant plus a calendar span in UTC; `None` outside the range.
fn moved(at: UnixNanos, span: jiff::Span) -> Option<UnixNanos> {
    let stamp = Timestamp::from_nanosecond(i128::from(at.as_nanos())).ok()?;
    let moved = stamp.to_zoned(TimeZone::UTC).checked_add(span).ok()?;
    i64::try_from(moved.timestamp().as_nanosecond()).ok().map(UnixNanos::from_nanos)
}

/// The beginnings of so many stretches with equally many rows, and the end.
fn evenly(rows: &[UnixNanos], count: usize) -> Option<Vec<UnixNanos>> {
    let start = |at: usize| rows.get(rows.len() * at / count).copied();
    let mut bounds: Vec<UnixNanos> = (0..count).map(start).collect::<Option<_>>()?;
    bounds.push(END);
    Some(bounds)
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;
    use crate::core::domain::{Fields, Step};
    use crate::train::history::Series;

    fn time(text: &str) -> UnixNanos {
        UnixNanos::parse(text).unwrap()
    }

    /// Steps of two symbols on each day from 2001 on; the second comes on every other day.
    fn history(days: i64) -> History {
        let step = |day: i64| {
            let nanos = time("2001-01-01").as_nanos() + day * 86_400_000_000_000;
            let time = UnixNanos::from_nanos(nanos);
            Step { time, fields: Fields::EMPTY, after_gap: false, patched: false }
        };
        let series = |symbol: &str, every: usize| Series {
            symbol: symbol.to_owned(),
            steps: (0..days).step_by(every).map(step).collect(),
        };
        History { series: vec![series("A", 1), series("B", 2)], data_sha256: String::new() }
    }

    fn folds(text: &str, days: i64) -> Result<Vec<Fold>, ScheduleError> {
        let text = format!("[model]\nname = 'm'\n[data]\npath = 'x.csv'\n[backtest]\n{text}");
        read(&text).unwrap().backtest.folds(&history(days))
    }

    /// The beginnings of the test spans and the end of the last one.
    fn bounds(text: &str, days: i64) -> Vec<String> {
        let folds = folds(text, days).unwrap();
        for (at, fold) in folds.iter().enumerate() {
            assert_eq!(fold.number, at + 1);
        }
        assert!(folds.windows(2).all(|pair| pair[0].test_to == pair[1].test_from));
        let ends = folds.last().map(|fold| fold.test_to);
        let day = |at: UnixNanos| {
            if at == END { "end".to_owned() } else { at.to_string()[..10].to_owned() }
        };
        folds.iter().map(|fold| fold.test_from).chain(ends).map(day).collect()
    }

    #[test]
    fn rows_are_cut_evenly_where_nothing_is_said() {
        // 150 rows in 100 days; the first of six stretches has 25 rows.
        let expected =
            ["2001-01-17", "2001-02-03", "2001-02-20", "2001-03-08", "2001-03-25", "end"];
        assert_eq!(bounds("", 100), expected);
        assert_eq!(bounds("folds = 1", 100), ["2001-02-20", "end"]);
        assert_eq!(bounds("folds = 2\nfirst = '80'", 100), ["2001-03-22", "2001-04-01", "end"]);
    }

    #[test]
    fn lengths_are_steps_or_calendar_spans() {
        let yearly = ["2002-01-01", "2003-01-01", "2004-01-01", "2005-01-01"];
        assert_eq!(bounds("first = '1y'\nevery = '1y'", 1100), yearly);
        // A leap day more does not move them.
        assert_eq!(bounds("first = '1y'\nevery = '1y'\nfolds = 2", 1100), yearly[..3]);
        let monthly = ["2001-03-01", "2001-04-01", "2001-05-01"];
        assert_eq!(bounds("first = '2mo'\nevery = '1mo'", 100)[..2], monthly[..2]);
        assert_eq!(bounds("first = '60'\nevery = '30'", 100), ["2001-03-02", "2001-04-01", "end"]);
        assert_eq!(bounds("every = '25'\nfolds = 2", 100), ["2001-02-20", "2001-03-17", "end"]);
        // The last step is on April 10, so the newest thirty days begin behind March 11.
        let newest = ["2001-03-12", "2001-03-22", "2001-04-01", "end"];
        assert_eq!(bounds("every = '10d'\nfolds = 3", 100), newest);
    }

    #[test]
    fn later_rows_move_no_fold_that_begins_at_first() {
        for text in ["first = '3mo'\nevery = '1mo'", "first = '90'\nevery = '30'"] {
            let [short, long] = [200, 400].map(|days| folds(text, days).unwrap());
            assert!(long.len() > short.len(), "{text}");
            let whole = short.len() - 1;
            assert_eq!(long[..whole], short[..whole], "{text}");
        }
    }

    #[test]
    fn a_rolling_window_begins_so_much_earlier() {
        let rolling = |window: &str| {
            let text = format!("first = '100'\nevery = '50'\nwindow = '{window}'");
            folds(&text, 200).unwrap().iter().map(|fold| fold.train_from).collect::<Vec<_>>()
        };
        assert_eq!(rolling("expanding"), [BEGINNING, BEGINNING]);
        assert_eq!(rolling("60"), [time("2001-02-10"), time("2001-04-01")]);
        assert_eq!(rolling("3mo"), [time("2001-01-11"), time("2001-02-28")]);
        assert_eq!(rolling("1000"), [BEGINNING, BEGINNING]);
    }

    #[test]
    fn what_gives_no_folds_is_refused() {
        let too_short = |instants| Err(ScheduleError::TooShort { instants });
        assert_eq!(folds("", 3), too_short(3));
        assert_eq!(folds("first = '1y'", 100), too_short(100));
        assert_eq!(folds("every = '60'\nfolds = 2", 100), too_short(100));
        assert_eq!(folds("first = '1'\nevery = '1'", 1100), Err(ScheduleError::TooMany));
    }

    #[test]
    fn a_wrong_setting_is_named_with_its_key() {
        for (text, key) in [
            ("every = 'soon'", "backtest.every: `soon` is no length"),
            ("first = '-1y'", "backtest.first: `-1y` is no length"),
            ("first = '0'", "backtest.first: `0` is no length"),
            ("window = 'sliding'", "backtest.window: `sliding` is no length"),
            ("folds = 0", "backtest.folds: must be a whole number from 1 to 1000"),
            ("control = 'noise'", "backtest.control: `noise` is none of `none`, `random-target`"),
        ] {
            let text = format!("[model]\nname = 'm'\n[data]\npath = 'x.csv'\n[backtest]\n{text}");
            let problems = read(&text).unwrap_err();
            assert!(problems.iter().any(|problem| problem.starts_with(key)), "{problems:?}");
        }
        for (text, shown) in [("1y", "1y"), ("18mo", "18mo"), ("250", "250 steps")] {
            assert_eq!(text.parse::<Length>().unwrap().to_string(), shown);
        }
    }
}
