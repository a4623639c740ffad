//! From a file to the steps of each symbol.
//!
//! Owns reading the history, through the very code that reads live input: records, decoding, steps.
//! Promises that every step of the file is used or the file is refused: a row that the daemon would
//! count and pass over is an error here, in words and with its line, because a history is not a
//! stream and can be put right. So is a jump in price that a network would learn as a crash or a
//! rally: a bad row, or a split. Steps that need more memory than the configuration allows are kept
//! in files, which changes nothing of what is read.
//!
//! Never: fills, sorts or adjusts anything; a table whose newest row comes first is read from its
//! end.

mod jumps;
mod problem;
mod steps;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use thiserror::Error;

pub use problem::Problems;
pub use steps::{Iter, Reader, Steps};

use self::jumps::{Quote, Scan};
use self::problem::{Place, Problem, Row};
use super::sections::{CalendarChoice, DataConfig};
use super::spill::{Spill, SpillError, SpillFile, SpillRule};
use crate::adapters::file::{FileError, FileFormat, FileRecords, RECORD_BYTES_MAX};
use crate::core::decode::{JsonDecoder, TimeForm};
use crate::core::domain::{DurationNanos, Reject, Step, Tick, TimeDoubt, UnixNanos};
use crate::core::features::RawFeatures;
use crate::core::step::{CadenceRule, Calendar, StepRule, StepState};
use crate::engine::model::manifest::{CalendarSpec, StepSpec, Weekday};

/// The history of all symbols to train on.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// One entry for each symbol, in the order of their first rows; several where its steps were
    /// cut.
    pub series: Vec<Series>,
    /// Lower-case hexadecimal SHA-256 of the file.
    pub data_sha256: String,
}

/// The steps of one symbol, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The symbol.
    pub symbol: String,
    /// Its steps; their times rise strictly.
    pub steps: Steps,
}

/// Why a history cannot be trained on.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The file does not open or has no usable header, or reading fails.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its bytes cannot be read for the hash.
    #[error("read `{}`: {source}", path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Rows that are no steps, or no step from the row before.
    #[error("{0}")]
    Rows(Problems),
    /// A table without a column for a field that every step must have.
    #[error(
        "`{}`: no column stands for `{field}`, which the features read: map one \
         ({field}=COLUMN in data.columns)",
        path.display()
    )]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
    },
    /// A symbol that was asked for.
    #[error("`{}`: no row of symbol `{symbol}`; there are {there}", path.display())]
    NoSymbol {
        /// The file.
        path: PathBuf,
        /// The symbol.
        symbol: String,
        /// The symbols that the file has.
        there: String,
    },
    /// Steps that are far from as far apart as the configuration says.
    #[error(
        "the steps of `{symbol}` are {spacing_seconds} s apart (the median), and \
         step.interval_seconds is {interval_seconds}: check data.time_unit and \
         step.interval_seconds; where both are right, set data.accept_times = true"
    )]
    Spacing {
        /// The symbol.
        symbol: String,
        /// The median distance between two of its steps.
        spacing_seconds: f64,
        /// The length of a step.
        interval_seconds: f64,
    },
    /// What does not fit into memory cannot be written or read.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// No rows at all.
    #[error("`{}`: no rows", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// The beginning of 1970.
const EPOCH: UnixNanos = UnixNanos::from_nanos(0);

/// Fewer days say nothing about days of the week: three months of five.
const CALENDAR_DAYS_MIN: usize = 60;

/// Of so many open days at most one is a holiday.
const HOLIDAY_SHARE: usize = 10;

/// As many holidays as follow one another.
const HOLIDAYS_IN_A_ROW_MAX: usize = 5;

/// A day as 2013-03-01.
fn date_of(day: i64) -> String {
    let midnight = UnixNanos::from_nanos(day.saturating_mul(86_400_000_000_000)).to_string();
    midnight.split('T').next().unwrap_or_default().to_owned()
}

/// The steps of all symbols, growing row by row.
struct Growing<'r> {
    /// When steps go to a file; `None` where they never do.
    rule: Option<&'r SpillRule>,
    /// That file, once they do.
    file: Option<Arc<SpillFile>>,
    /// Steps of all symbols.
    count: usize,
    symbols: Vec<GrowingSeries>,
    index: HashMap<String, usize>,
}

/// The steps of one symbol, growing.
struct GrowingSeries {
    symbol: String,
    steps: steps::Growing,
    state: StepState,
    /// The prices of its rows, where jumps are looked for.
    scan: Option<Scan>,
    /// The line and time of its newest row in time.
    newest: Option<(u64, UnixNanos)>,
}

impl History {
    /// Each symbol once.
    pub fn symbols(&self) -> Vec<String> {
        let mut symbols: Vec<_> = self.series.iter().map(|series| series.symbol.clone()).collect();
        // The pieces of a symbol follow one another.
        symbols.dedup();
        symbols
    }

    /// The part before an instant. A symbol without a step before it is left out.
    #[must_use]
    pub fn before(&self, end: UnixNanos) -> Self {
        let series = self.series.iter().map(|series| Series {
            symbol: series.symbol.clone(),
            steps: series.steps.slice(..series.steps.before(end)),
        });
        let series = series.filter(|series| !series.steps.is_empty()).collect();
        Self { series, data_sha256: self.data_sha256.clone() }
    }

    /// Where this history is kept in files, and everything that is made of it; `None` where it is
    /// in memory.
    pub fn spill(&self) -> Option<&Spill> {
        self.series.iter().find_map(|series| series.steps.spill())
    }

    /// Whether all steps could be read that were read so far.
    ///
    /// # Errors
    /// [`SpillError`] where the history is kept in files and one failed.
    pub fn intact(&self) -> Result<(), SpillError> {
        self.spill().map_or(Ok(()), Spill::intact)
    }

    /// The longest distance between two steps of one symbol; `None` where there is none.
    pub fn longest_distance(&self) -> Option<DurationNanos> {
        self.series.iter().flat_map(|series| distances(&series.steps)).max()
    }

    /// Checks that steps are about as far apart as `rule` says.
    ///
    /// # Errors
    /// [`HistoryError::Spacing`] for the first symbol whose times cannot be right.
    pub fn check_spacing(&self, rule: &CadenceRule) -> Result<(), HistoryError> {
        for Series { symbol, steps } in &self.series {
            let mut spans: Vec<_> = distances(steps).collect();
            spans.sort_unstable();
            let Some(median) = spans.get(spans.len() / 2) else { continue };
            if rule.is_implausible(*median) {
                let seconds = |span: DurationNanos| span.as_nanos() as f64 / 1e9;
                return Err(HistoryError::Spacing {
                    symbol: symbol.clone(),
                    spacing_seconds: seconds(*median),
                    interval_seconds: seconds(rule.interval()),
                });
            }
        }
        Ok(())
    }

    /// The days of the week on which there are steps and the dates on which none has one, where
    /// the history shows a rule: at least `CALENDAR_DAYS_MIN` days with steps, and dates without
    /// that are rare. `step` says what a day is. `holidays` are closed, too.
    pub fn calendar(&self, step: &StepSpec, holidays: &[String]) -> Option<CalendarSpec> {
        let every_day = CalendarSpec { weekdays: Weekday::ALL.to_vec(), holidays: Vec::new() };
        let whole = StepSpec { calendar: Some(every_day), ..step.clone() };
        let whole = whole.calendar().ok()??;
        let steps = self.series.iter().flat_map(|series| &series.steps);
        let days: BTreeSet<i64> = steps.map(|step| whole.day_of_step(step.time)).collect();
        let (first, last) = (*days.first()?, *days.last()?);
        if days.len() < CALENDAR_DAYS_MIN {
            return None;
        }
        // 1970-01-01 was a Thursday.
        let place = |day: i64| (day + 3).rem_euclid(7) as usize;
        let mut open = [false; 7];
        days.iter().for_each(|day| open[place(*day)] = true);
        let missing: Vec<i64> =
            (first..=last).filter(|day| open[place(*day)] && !days.contains(day)).collect();
        // A week of open days without a step is data that is missing.
        let runs =
            missing.chunk_by(|before, after| (before + 1..*after).all(|day| !open[place(day)]));
        let closed: Vec<i64> =
            runs.filter(|run| run.len() <= HOLIDAYS_IN_A_ROW_MAX).flatten().copied().collect();
        let is_rare = closed.len() * HOLIDAY_SHARE <= days.len();
        let closed = closed.into_iter().filter(|_| is_rare);
        let mut dates: Vec<String> = closed.map(date_of).collect();
        dates.extend(holidays.iter().cloned());
        dates.sort_unstable();
        dates.dedup();
        if open == [true; 7] && dates.is_empty() {
            return None;
        }
        let weekdays = Weekday::ALL.into_iter().zip(open).filter(|(_, open)| *open);
        let weekdays = weekdays.map(|(weekday, _)| weekday).collect();
        Some(CalendarSpec { weekdays, holidays: dates })
    }

    /// Completes what is said of the steps from the history: the days that have steps, and how far
    /// apart two steps of one window may lie. Cuts the history where that was asked for.
    /// `accepts_times` says that any spacing is right.
    ///
    /// # Errors
    /// [`HistoryError::Spacing`] for steps that are far from as far apart as `step` says.
    pub fn complete_steps(
        &mut self,
        step: &mut StepSpec,
        rule: &StepRule,
        calendar: &CalendarChoice,
        accepts_times: bool,
    ) -> Result<(), HistoryError> {
        // A distance that was asked for cuts the history as it will cut live windows. Otherwise
        // the model has whatever distances there are, and the daemon allows as much.
        let gap = step.gap_steps_max.and_then(|_| step.gap());
        let interval = DurationNanos::from_seconds(i64::from(step.interval_seconds));
        let cadence = interval.and_then(|interval| CadenceRule::of(rule, interval));
        if let Some(rule) = cadence.filter(|_| !accepts_times) {
            self.check_spacing(&rule)?;
        }
        if calendar.infers {
            step.calendar = self.calendar(step, &calendar.holidays);
        }
        if let Some(gap) = gap {
            self.cut(gap, step.calendar().ok().flatten().as_deref());
        }
        if step.gap_steps_max.is_none() {
            let longest = self.longest_distance().unwrap_or(DurationNanos::ZERO);
            *step = step.clone().with_gap_of(longest);
        }
        Ok(())
    }

    /// Cuts the series of a symbol wherever two of its steps lie further apart than `gap`: there
    /// the daemon begins a cold window, as if the symbol were new.
    pub fn cut(&mut self, gap: DurationNanos, calendar: Option<&Calendar>) {
        let far = |before: UnixNanos, after: UnixNanos| {
            let distance = match calendar {
                Some(calendar) => calendar.open_span(before, after),
                None => after.since(before),
            };
            distance.is_none_or(|distance| distance > gap)
        };
        let cut = |Series { symbol, steps }: Series| {
            let pairs = steps.iter().zip(steps.iter().skip(1)).enumerate();
            let cuts = pairs.filter(|(_, (before, after))| far(before.time, after.time));
            let mut starts: Vec<usize> = cuts.map(|(at, _)| at + 1).collect();
            starts.insert(0, 0);
            starts.push(steps.len());
            let piece = |pair: &[usize]| Series {
                symbol: symbol.clone(),
                steps: steps.slice(pair[0]..pair[1]),
            };
            starts.windows(2).map(piece).filter(|piece| !piece.steps.is_empty()).collect::<Vec<_>>()
        };
        self.series = std::mem::take(&mut self.series).into_iter().flat_map(cut).collect();
    }
}

/// How far each step is from the one before.
fn distances(steps: &Steps) -> impl Iterator<Item = DurationNanos> + use<> {
    let pairs = steps.iter().zip(steps.iter().skip(1));
    pairs.filter_map(|(before, after)| after.time.since(before.time))
}

impl<'r> Growing<'r> {
    fn new(rule: Option<&'r SpillRule>) -> Self {
        Self { rule, file: None, count: 0, symbols: Vec::new(), index: HashMap::new() }
    }

    /// Takes a row; returns the index of its symbol. `scan` begins the search for jumps in a new
    /// one.
    fn push(
        &mut self,
        rule: &StepRule,
        tick: &Tick<'_>,
        line: u64,
        scan: impl FnOnce(&str) -> Option<Scan>,
    ) -> Result<usize, Reject> {
        let at = match self.index.get(&*tick.symbol) {
            Some(at) => *at,
            None => {
                let symbol = tick.symbol.clone().into_owned();
                self.index.insert(symbol.clone(), self.symbols.len());
                let scan = scan(&symbol);
                let mut steps = steps::Growing::default();
                if let Some(file) = &self.file {
                    steps.spill(file);
                }
                let state = StepState::default();
                self.symbols.push(GrowingSeries { symbol, steps, state, scan, newest: None });
                self.symbols.len() - 1
            }
        };
        let GrowingSeries { steps, state, newest, .. } = &mut self.symbols[at];
        let first = state.push(rule, tick.time, &tick.fields)?;
        for step in first.into_iter().chain(std::iter::from_fn(|| state.pop(rule))) {
            steps.push(step);
            self.count += 1;
        }
        // Within a bar rows may stand in any order.
        if newest.is_none_or(|(_, newest)| newest <= tick.time) {
            *newest = Some((line, tick.time));
        }
        if let Some(SpillRule { folder, bytes_max }) = self.rule
            && self.file.is_none()
            && self.count * size_of::<Step>() > *bytes_max
        {
            let file = self.file.insert(Arc::new(Spill::new(folder).file()));
            self.symbols.iter_mut().for_each(|series| series.steps.spill(file));
        }
        Ok(at)
    }

    /// The line and time of a symbol's newest row.
    fn newest(&self, symbol: &str) -> Option<(u64, UnixNanos)> {
        self.symbols[*self.index.get(symbol)?].newest
    }
}

/// Whether the price comes from a column that says that splits are taken out of it, such as
/// `Adj Close`. A jump that stays is then a split that was missed, or a real move.
fn is_adjusted(config: &DataConfig) -> bool {
    let column = |name| config.file.columns.as_ref().and_then(|columns| columns.column(name));
    let column = column("close").or_else(|| column("price")).unwrap_or_default();
    column.to_lowercase().starts_with("adj")
}

/// Reads the steps that `features` need of every symbol that `config` wants, cut where two lie
/// further apart than `gap`, if there is one.
///
/// # Errors
/// [`HistoryError`], naming the file and the lines or the symbol at fault.
pub fn read(
    config: &DataConfig,
    features: &RawFeatures,
    rule: &StepRule,
    gap: Option<DurationNanos>,
) -> Result<History, HistoryError> {
    let path = &config.path;
    let schema = features.schema();
    let required = rule.required(features.required());
    let decoder = JsonDecoder::new(schema.clone(), &required, config.time_unit, RECORD_BYTES_MAX)
        .with_time_format(config.file.dialect.times.clone());
    let wanted =
        |symbol: &str| config.symbols.is_empty() || config.symbols.iter().any(|s| s == symbol);
    let jump_max = Some(config.jump_max).filter(|max| *max > 0.0);
    let mut records = FileRecords::open(path, config.file.clone())?;
    let format = records.format();
    if format != FileFormat::JsonLines {
        let columns = records.cells();
        let there = |name: &str| columns.iter().any(|cell| cell.name == name);
        if let Some(field) = problem::missing(schema, &required, there) {
            return Err(HistoryError::NoColumn { path: path.clone(), field: field.to_owned() });
        }
    }
    let mut growing = Growing::new(config.spill.as_ref());
    let mut problems = Problems::new(path, format);
    while let Some(record) = records.next() {
        let record = record?;
        let row = || Row {
            record: &record.bytes,
            text: records.row_text(),
            cell_counts: records.cell_counts(),
            cells: records.cells(),
            schema,
            required: &required,
            time_format: &config.file.dialect.times,
        };
        let (tick, form) = match decoder.decode_timed(&record.bytes) {
            Ok(decoded) => decoded,
            Err(rejection) => {
                problems.add(record.line, &Problem::Refused(rejection, &row()));
                continue;
            }
        };
        let follows = growing.newest(&tick.symbol).is_some_and(|(_, newest)| newest < EPOCH);
        if form == TimeForm::Number
            && !config.accepts_times
            && !follows
            && let Some(doubt) = TimeDoubt::of(tick.time, config.time_unit)
        {
            problems.add(record.line, &Problem::Doubt(doubt, &row(), tick.time));
            continue;
        }
        let scan = |symbol: &str| jump_max.filter(|_| wanted(symbol)).map(Scan::new);
        let at = match growing.push(rule, &tick, record.line, scan) {
            Ok(at) => at,
            Err(reason) => {
                let newest = growing.newest(&tick.symbol);
                let place = Place { symbol: &tick.symbol, time: tick.time, newest };
                problems.add(record.line, &Problem::NoStep(reason, &row(), &place));
                continue;
            }
        };
        if let Some(scan) = &mut growing.symbols[at].scan {
            Quote::of(record.line, &tick.fields).into_iter().for_each(|quote| scan.push(quote));
        }
    }
    let adjusted = is_adjusted(config);
    for GrowingSeries { symbol, scan, .. } in &mut growing.symbols {
        for jump in scan.take().map(Scan::finish).unwrap_or_default() {
            problems.add(jump.line, &Problem::Jump { symbol, jump: &jump, adjusted });
        }
    }
    if !problems.is_empty() {
        return Err(HistoryError::Rows(problems));
    }
    let Growing { symbols, index, file, .. } = growing;
    let series = symbols.into_iter().map(|GrowingSeries { symbol, steps, .. }| {
        let steps = steps.finish();
        Series { symbol, steps }
    });
    let mut series: Vec<_> = series.collect();
    if let Some(file) = file {
        file.spill().intact()?;
    }
    if series.is_empty() {
        return Err(HistoryError::Empty { path: path.clone() });
    }
    if let Some(symbol) = config.symbols.iter().find(|symbol| !index.contains_key(*symbol)) {
        let there: Vec<_> = series.iter().map(|series| series.symbol.as_str()).collect();
        let (symbol, there) = (symbol.clone(), there.join(", "));
        return Err(HistoryError::NoSymbol { path: path.clone(), symbol, there });
    }
    series.retain(|s| wanted(&s.symbol));
    let data_sha256 =
        sha256(path).map_err(|source| HistoryError::Hash { path: path.clone(), source })?;
    let mut history = History { series, data_sha256 };
    if let Some(gap) = gap {
        history.cut(gap, None);
    }
    Ok(history)
}

/// As [`read`], and completes what is said of the steps from the history: the days that have steps,
/// and how far apart two steps of one window may lie.
///
/// # Errors
/// [`HistoryError`], also for steps that are far from as far apart as `step` says.
pub fn read_with_steps(
    config: &DataConfig,
    features: &RawFeatures,
    step: &mut StepSpec,
    rule: &StepRule,
    calendar: &CalendarChoice,
) -> Result<History, HistoryError> {
    let mut history = read(config, features, rule, None)?;
    history.complete_steps(step, rule, calendar, config.accepts_times)?;
    Ok(history)
}

/// Lower-case hexadecimal SHA-256 of a file.
pub fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => hash.update(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
