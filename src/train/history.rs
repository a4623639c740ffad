//! From a file to the steps of each symbol.
//!
//! Owns reading the history, through the very code that reads live input: records, decoding, steps.
//! Promises that every step of the file is used or the file is refused: a row that the daemon would
//! count and pass over is an error here, with its line, because a history is not a stream and can
//! be put right.
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
use crate::domain::Step;
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
    /// Rows that are no steps.
    #[error("`{}`: {count} rows cannot be used:{}", path.display(), lines(first))]
    Rows {
        /// The file.
        path: PathBuf,
        /// How many there are.
        count: usize,
        /// The first of them: the line and the reason.
        first: Vec<(u64, &'static str)>,
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

fn lines(rows: &[(u64, &str)]) -> String {
    rows.iter().map(|(line, reason)| format!("\n  line {line}: {reason}")).collect()
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
    let mut series: Vec<Series> = Vec::new();
    let mut states: Vec<StepState> = Vec::new();
    let mut index: HashMap<String, usize> = HashMap::new();
    let (mut bad, mut bad_count) = (Vec::new(), 0);
    for record in FileRecords::open(path, options)? {
        let record = record?;
        let outcome = decoder.decode(&record.bytes).and_then(|tick| {
            let at = *index.entry(tick.symbol.clone().into_owned()).or_insert_with(|| {
                let symbol = tick.symbol.clone().into_owned();
                series.push(Series { symbol, steps: Vec::new() });
                states.push(StepState::default());
                series.len() - 1
            });
            let step = states[at].push(rule, tick.time, &tick.fields)?;
            series[at].steps.extend(step);
            Ok(())
        });
        if let Err(reason) = outcome {
            bad_count += 1;
            if bad.len() < ROWS_SHOWN_MAX {
                bad.push((record.line, reason.label()));
            }
        }
    }
    if bad_count > 0 {
        return Err(HistoryError::Rows { path: path.clone(), count: bad_count, first: bad });
    }
    if series.is_empty() {
        return Err(HistoryError::Empty { path: path.clone() });
    }
    if let Some(symbol) = config.symbols.iter().find(|symbol| !index.contains_key(*symbol)) {
        let there: Vec<_> = series.iter().map(|series| series.symbol.as_str()).collect();
        let (symbol, there) = (symbol.clone(), there.join(", "));
        return Err(HistoryError::NoSymbol { path: path.clone(), symbol, there });
    }
    series.retain(|s| config.symbols.is_empty() || config.symbols.contains(&s.symbol));
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
    use crate::domain::{Field, TimeUnit, UnixNanos};

    fn features() -> RawFeatures {
        let names = ["close".to_owned(), "volume".to_owned(), "change".to_owned()];
        RawFeatures::new(&names, &[], "next_return").unwrap()
    }

    fn read_text(text: &str, symbols: &[&str]) -> Result<History, HistoryError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.csv");
        std::fs::write(&path, text).unwrap();
        let config = DataConfig {
            path,
            columns: Some("symbol=Ticker,time=Date,close=Adj Close,volume=Volume".parse().unwrap()),
            symbol: None,
            symbols: symbols.iter().map(|&s| s.to_owned()).collect(),
            time_unit: TimeUnit::Milliseconds,
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

    #[test]
    fn missing_symbols_and_empty_files_are_told() {
        let error = read_text(TWO, &["MSFT"]).unwrap_err().to_string();
        assert!(error.ends_with("no row of symbol `MSFT`; there are AAPL, IBM"), "{error}");
        let header = TWO.lines().next().unwrap();
        assert!(matches!(read_text(header, &[]), Err(HistoryError::Empty { .. })));
        assert!(matches!(read_text("", &[]), Err(HistoryError::File(_))));
    }
}
