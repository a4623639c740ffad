//! From a file to the steps of each symbol.
//!
//! Owns reading the history, through the very code that reads live input: records, decoding, steps.
//! Promises that every step of the file is used or the file is refused: a row that the daemon would
//! count and pass over is an error here, with its line, because a history is not a stream and can
//! be put right. So is a jump in price that looks like a split: a network learns it as a crash.
//!
//! Never: fills, sorts or adjusts anything.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::config::DataConfig;
use crate::decode::JsonDecoder;
use crate::domain::{Field, Fields, Reject, Step, Tick};
use crate::features::RawFeatures;
use crate::source::file::{FileError, FileOptions, FileRecords, RECORD_BYTES_MAX};
use crate::step::{StepRule, StepState};

/// The history of all symbols to train on.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// One entry for each symbol, in the order of their first rows.
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
    pub steps: Vec<Step>,
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
    #[error(
        "`{}`: {count} rows cannot be used:{}{}",
        path.display(),
        lines(first),
        if *jumps { JUMPS_HINT } else { "" }
    )]
    Rows {
        /// The file.
        path: PathBuf,
        /// How many there are.
        count: usize,
        /// The first of them: the line and the reason.
        first: Vec<(u64, String)>,
        /// Whether any is a jump in price.
        jumps: bool,
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
    /// No rows at all.
    #[error("`{}`: no rows", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// As many bad rows as a person reads.
const ROWS_SHOWN_MAX: usize = 10;

/// What to do about a jump.
const JUMPS_HINT: &str = "\nmost jumps are splits: name the column of adjusted prices in \
    data.columns (`close=Adj Close`); where the prices are right as they are, raise data.jump_max \
    (0: no check)";

fn lines(rows: &[(u64, String)]) -> String {
    rows.iter().map(|(line, reason)| format!("\n  line {line}: {reason}")).collect()
}

/// The steps of all symbols, growing row by row.
#[derive(Default)]
struct Growing {
    series: Vec<Series>,
    states: Vec<StepState>,
    /// The price of each symbol's newest row.
    prices: Vec<Option<f64>>,
    index: HashMap<String, usize>,
}

impl Growing {
    /// Takes a row and gives the price of the same symbol's row before, if there is one.
    fn push(&mut self, rule: StepRule, tick: &Tick<'_>) -> Result<Option<f64>, Reject> {
        let at = match self.index.get(&*tick.symbol) {
            Some(at) => *at,
            None => {
                let symbol = tick.symbol.clone().into_owned();
                self.index.insert(symbol.clone(), self.series.len());
                self.series.push(Series { symbol, steps: Vec::new() });
                self.states.push(StepState::default());
                self.prices.push(None);
                self.series.len() - 1
            }
        };
        let step = self.states[at].push(rule, tick.time, &tick.fields)?;
        self.series[at].steps.extend(step);
        Ok(std::mem::replace(&mut self.prices[at], tick.fields.price()))
    }
}

/// Whether the price comes from a column that says that splits are taken out of it, such as
/// `Adj Close`. What jumps there has moved: adjusting leaves a crash as it was.
fn is_adjusted(config: &DataConfig) -> bool {
    let column = |name| config.columns.as_ref().and_then(|columns| columns.column(name));
    let column = column("close").or_else(|| column("price")).unwrap_or_default();
    column.to_lowercase().starts_with("adj")
}

/// The way from one price to the next where it is longer than `max` and the row did not trade on
/// it: its low to high, if it has them, stays as far away.
fn jump(before: f64, fields: &Fields, max: f64) -> Option<String> {
    let price = fields.price()?;
    let low = fields.get(Field::LOW).unwrap_or(price).min(price);
    let high = fields.get(Field::HIGH).unwrap_or(price).max(price);
    let nearest = before.clamp(low, high);
    let percent = (price / before - 1.0) * 100.0;
    let is_jump = (nearest / before - 1.0).abs() > max;
    is_jump.then(|| format!("from {before} to {price} ({percent:+.1} %)"))
}

/// Reads the steps that `features` need of every symbol that `config` wants.
///
/// # Errors
/// [`HistoryError`], naming the file and the lines or the symbol at fault.
pub fn read(
    config: &DataConfig,
    features: &RawFeatures,
    rule: StepRule,
) -> Result<History, HistoryError> {
    let path = &config.path;
    let options = FileOptions {
        format: None,
        columns: config.columns.clone(),
        symbol: config.symbol.clone(),
    };
    let decoder = JsonDecoder::new(
        features.schema().clone(),
        features.required(),
        config.time_unit,
        RECORD_BYTES_MAX,
    );
    let wanted =
        |symbol: &str| config.symbols.is_empty() || config.symbols.iter().any(|s| s == symbol);
    let jump_max = Some(config.jump_max).filter(|max| *max > 0.0 && !is_adjusted(config));
    let mut growing = Growing::default();
    let (mut bad, mut bad_count, mut jumps) = (Vec::new(), 0, false);
    for record in FileRecords::open(path, options)? {
        let record = record?;
        let taken =
            decoder.decode(&record.bytes).and_then(|tick| Ok((growing.push(rule, &tick)?, tick)));
        let problem = match taken {
            Err(reason) => reason.label().to_owned(),
            Ok((before, tick)) => {
                let jumped = |(before, max)| jump(before, &tick.fields, max);
                match before.zip(jump_max).and_then(jumped) {
                    Some(jump) if wanted(&tick.symbol) => {
                        jumps = true;
                        format!("`{}` jumps {jump}", tick.symbol)
                    }
                    _ => continue,
                }
            }
        };
        bad_count += 1;
        if bad.len() < ROWS_SHOWN_MAX {
            bad.push((record.line, problem));
        }
    }
    if bad_count > 0 {
        return Err(HistoryError::Rows { path: path.clone(), count: bad_count, first: bad, jumps });
    }
    let Growing { mut series, index, .. } = growing;
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
    Ok(History { series, data_sha256 })
}

/// Lower-case hexadecimal SHA-256 of a file.
fn sha256(path: &Path) -> io::Result<String> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{TimeUnit, UnixNanos};

    fn features() -> RawFeatures {
        let names = ["close".to_owned(), "volume".to_owned(), "change".to_owned()];
        RawFeatures::new(&names, &[], "next_return").unwrap()
    }

    const ADJUSTED: &str = "symbol=Ticker,time=Date,close=Adj Close,volume=Volume";

    fn read_text(text: &str, symbols: &[&str]) -> Result<History, HistoryError> {
        read_columns(text, symbols, ADJUSTED, 0.4)
    }

    fn read_columns(
        text: &str,
        symbols: &[&str],
        columns: &str,
        jump_max: f64,
    ) -> Result<History, HistoryError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.csv");
        std::fs::write(&path, text).unwrap();
        let config = DataConfig {
            path,
            columns: Some(columns.parse().unwrap()),
            symbol: None,
            symbols: symbols.iter().map(|&s| s.to_owned()).collect(),
            time_unit: TimeUnit::Milliseconds,
            jump_max,
        };
        read(&config, &features(), StepRule::Record)
    }

    const TWO: &str = "Ticker,Date,Close,Volume,Adj Close\n\
                       AAPL,2000-03-01,130.31,9616100,4.18\n\
                       IBM,2000-03-01,100.25,10807800,78.5\n\
                       AAPL,2000-03-02,122.0,2779100,3.91\n";

    #[test]
    fn rows_become_the_steps_of_their_symbols() {
        let history = read_text(TWO, &[]).unwrap();
        let symbols: Vec<_> = history.series.iter().map(|s| s.symbol.as_str()).collect();
        assert_eq!(symbols, ["AAPL", "IBM"]);
        let second = &history.series[0].steps[1];
        assert_eq!(second.time, UnixNanos::parse("2000-03-02").unwrap());
        assert_eq!(second.fields.get(Field::CLOSE), Some(3.91));
        assert_eq!(second.fields.get(Field::VOLUME), Some(2_779_100.0));
        assert_eq!(
            history.data_sha256,
            "fbeb4d4fcfec908df1125f22bfd2de085c776ae6d3171b9d916e25ca4f32645a",
        );
        let only = read_text(TWO, &["IBM"]).unwrap();
        assert_eq!(only.series.len(), 1);
        assert_eq!(only.series[0].symbol, "IBM");
    }

    #[test]
    fn bad_rows_are_told_with_their_lines() {
        let text = format!(
            "{TWO}AAPL,2000-03-02,1,1,3.9\nAAPL,2000-03-03,1,1,n/a\nAAPL,2000-03-01,1,1,4\n\
             AAPL,2000-03-04,1,,5\nIBM,2000-03-02,1,1,-5\n"
        );
        let error = read_text(&text, &["AAPL"]).unwrap_err().to_string();
        let (_, told) = error.split_once("history.csv`: ").unwrap();
        assert_eq!(
            told,
            "5 rows cannot be used:\n  line 5: duplicate\n  line 6: wrong_type\n  \
             line 7: out_of_order\n  line 8: missing_field\n  line 9: negative"
        );
    }

    /// A split, a genuine crash within a day, and a doubling; the split of B is of no interest.
    const JUMPS: &str = "Ticker,Date,High,Low,Close,Volume,Adj Close\n\
                         A,2000-06-20,102,99,101,1,25.25\n\
                         B,2000-06-20,10,10,10,1,10\n\
                         A,2000-06-21,56,50,55.55,1,27.775\n\
                         B,2000-06-21,1,1,1,1,1\n\
                         A,2000-06-22,54,20,22.5,1,11.25\n\
                         A,2000-06-23,46,44,45,1,22.5\n";

    #[test]
    fn jumps_without_a_range_are_told_with_both_prices() {
        const RAW: &str = "symbol=Ticker,time=Date,high=High,low=Low,close=Close,volume=Volume";
        let told = |columns, jump_max| {
            let error = read_columns(JUMPS, &["A"], columns, jump_max).err()?.to_string();
            Some(error.split_once("history.csv`: ").unwrap().1.to_owned())
        };
        let split = "line 4: `A` jumps from 101 to 55.55 (-45.0 %)";
        let crash = "line 6: `A` jumps from 55.55 to 22.5 (-59.5 %)";
        let doubled = "line 7: `A` jumps from 22.5 to 45 (+100.0 %)";
        let expected = |lines: &[&str]| {
            format!("{} rows cannot be used:\n  {}", lines.len(), lines.join("\n  "))
        };
        let range = told(RAW, 0.4).unwrap();
        assert_eq!(range, expected(&[split, doubled]) + JUMPS_HINT, "the crash was traded");
        let close_alone = "symbol=Ticker,time=Date,close=Close,volume=Volume";
        let alone = told(close_alone, 0.4).unwrap();
        assert_eq!(alone, expected(&[split, crash, doubled]) + JUMPS_HINT);
        assert_eq!(told(close_alone, 1.0), None, "up to the limit is none");
        assert_eq!(told(close_alone, 0.0), None, "switched off");
        assert_eq!(told(ADJUSTED, 0.4), None, "what is adjusted has moved where it jumps");
    }

    #[test]
    fn missing_symbols_and_empty_files_are_told() {
        let error = read_text(TWO, &["MSFT"]).unwrap_err().to_string();
        assert!(error.ends_with("no row of symbol `MSFT`; there are AAPL, IBM"), "{error}");
        let header = TWO.lines().next().unwrap();
        assert!(matches!(read_text(header, &[]), Err(HistoryError::Empty { .. })));
        assert!(matches!(read_text("", &[]), Err(HistoryError::File(_))));
    }
}
