//! The report of a backtest: the page that a replay has, about the forecasts of all folds.
//!
//! Owns the way from the results in the output folder to a [`ReplayReport`]. Promises that the
//! evidence of a symbol goes on from fold to fold, as in the summary. Never writes a file, and
//! never looks at another seed than the first.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::BacktestError;
use super::store::{FORECASTS_FILE, SCORES_FILE};
use crate::core::domain::{SymbolId, UnixNanos};
use crate::core::signal::SignalRule;
use crate::core::verdict::{LEVEL, Ledger, LedgerRule};
use crate::engine::model::Bundle;
use crate::engine::wire::forecast::ForecastRecord;
use crate::engine::wire::score::ScoreRecord;
use crate::report::{PaperOptions, ReplayReport, Subject};

/// In the place of a version: the models of all folds.
const VERSION: &str = "walk-forward";

/// The report of the results in a folder. `bundle` is that of the newest fold, which says what is
/// forecast and when that is a signal.
pub(super) fn report(
    bundle: &Bundle,
    folder: &Path,
    options: PaperOptions,
) -> Result<ReplayReport, BacktestError> {
    let subject = Subject::new(bundle.manifest(), bundle.plans(), SignalRule::default());
    let subject = Subject { version: VERSION.to_owned(), ..subject };
    let rule = LedgerRule::new(subject.horizon_steps, LEVEL);
    let mut report = ReplayReport::new(subject, options);
    let mut ledgers = BTreeMap::<String, Ledger>::new();
    let mut forecasts =
        Forecasts { lines: Lines::open(folder, FORECASTS_FILE)?, newest: BTreeMap::new() };
    let mut scores = Lines::open(folder, SCORES_FILE)?;
    while let Some(score) = scores.next::<ScoreRecord<'_>>()? {
        forecasts.advance(&score, &mut report)?;
        let symbol = &*score.symbol;
        if !ledgers.contains_key(symbol) {
            ledgers.insert(symbol.to_owned(), Ledger::new());
        }
        let Some(ledger) = ledgers.get_mut(symbol) else { continue };
        ledger.take(&rule, score.loss_difference(), score.truth_time);
        report.score(symbol, &score.score(SymbolId::FIRST, ledger.verdict(&rule)));
    }
    Ok(report)
}

/// The forecasts, up to those whose scores have come.
struct Forecasts {
    lines: Lines,
    /// The newest one of each symbol that was handed over.
    newest: BTreeMap<String, UnixNanos>,
}

impl Forecasts {
    /// Hands forecasts over, up to that of this score.
    fn advance(
        &mut self,
        score: &ScoreRecord<'_>,
        report: &mut ReplayReport,
    ) -> Result<(), BacktestError> {
        let Self { lines, newest } = self;
        while newest.get(&*score.symbol).is_none_or(|newest| *newest < score.as_of) {
            let Some(forecast) = lines.next::<ForecastRecord<'_>>()? else { break };
            report.expect(&forecast.symbol, forecast.as_of, forecast.last_price);
            match newest.get_mut(&*forecast.symbol) {
                Some(newest) => *newest = forecast.as_of,
                None => {
                    newest.insert(forecast.symbol.to_string(), forecast.as_of);
                }
            }
        }
        Ok(())
    }
}

/// A file of records, one in each line.
struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    line: String,
}

impl Lines {
    fn open(folder: &Path, name: &str) -> Result<Self, BacktestError> {
        let path = folder.join(name);
        let file = File::open(&path).map_err(BacktestError::of(&path, "open"))?;
        Ok(Self { path, reader: BufReader::new(file), line: String::new() })
    }

    fn next<'l, R: Deserialize<'l>>(&'l mut self) -> Result<Option<R>, BacktestError> {
        let Self { path, reader, line } = self;
        line.clear();
        let read = reader.read_line(line).map_err(BacktestError::of(path, "read"))?;
        if read == 0 {
            return Ok(None);
        }
        let record = serde_json::from_str(line);
        record.map(Some).map_err(|error| BacktestError::of(path, "read")(error.into()))
    }
}
