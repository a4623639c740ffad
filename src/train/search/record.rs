//! What a search writes down.
//!
//! ```text
//! trials.jsonl   what the search is, then a line for each fit of a trial
//! result.json    the winner and its untouched figures; written last
//! winner.toml    the winner's configuration
//! search.html    all of it as a page
//! ```
//!
//! Owns the names and shapes. Promises that a line counts once it is whole, that a stopped search
//! goes on behind the last whole line, and that nothing of the clock or machine is in the files.
//! Never judges.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::SearchError;
use super::judge::Figures;
use crate::core::domain::UnixNanos;
use crate::train::config::schedule::Control;

/// The value of `schema` in the first line of the trials.
pub const TRIALS_SCHEMA: &str = "tickcast.search.trials.v1";

/// The value of `schema` in a result.
pub const RESULT_SCHEMA: &str = "tickcast.search.v1";

/// The file of the trials.
pub const TRIALS_FILE: &str = "trials.jsonl";

/// The file of the result.
pub const RESULT_FILE: &str = "result.json";

/// The file of the winner's configuration.
pub const WINNER_FILE: &str = "winner.toml";

/// The file of the page.
pub const PAGE_FILE: &str = "search.html";

/// Values of keys.
pub type Changes = serde_json::Map<String, serde_json::Value>;

/// What a search is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Always [`TRIALS_SCHEMA`].
    pub schema: String,
    /// The model's name.
    pub model: String,
    /// What was changed so that the models have nothing to learn.
    pub control: Control,
    /// The word of the method.
    pub method: String,
    /// The first instant of the test part, of which no trial sees anything.
    pub test_from: UnixNanos,
    /// SHA-256 of everything that the trials depend on.
    pub digest: String,
}

/// One fit of a trial on all folds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialRecord {
    /// The trial, counted from 1.
    pub trial: usize,
    /// The rung, counted from 1.
    pub rung: usize,
    /// The most epochs of its fits.
    pub epochs_max: usize,
    /// What differs from the configuration that is varied.
    pub changes: Changes,
    /// Its figures; absent where it could not be fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What a search has come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchResult {
    /// Always [`RESULT_SCHEMA`].
    pub schema: String,
    /// The model's name.
    pub model: String,
    /// What was changed so that the models have nothing to learn.
    pub control: Control,
    /// How many configurations were tried, the one that is varied included.
    pub trials: usize,
    /// How many of them could not be fitted.
    pub failed: usize,
    /// Where the time limit ended the search.
    pub is_cut: bool,
    /// The winner, by its figures on the folds. It was chosen by them, so they flatter it.
    pub winner: TrialRecord,
    /// The configuration that is varied, on the same rung; absent where it could not be fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<TrialRecord>,
    /// The first instant of the test part.
    pub test_from: UnixNanos,
    /// The winner on the test part.
    pub untouched: Untouched,
    /// The configuration that is varied on the test part; absent where it is the winner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untouched_base: Option<Untouched>,
    /// The winner against the configuration that is varied, on the forecasts that both make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against_base: Option<AgainstBase>,
}

/// How a configuration did on the test part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Untouched {
    /// How many forecasts.
    pub forecasts: u32,
    /// Root of the mean squared error, in the target's unit.
    pub root_mean_squared_error: f64,
    /// The baseline that was the best on the validation part.
    pub against: String,
    /// `1 - squared error / squared error of that baseline`.
    pub skill: f64,
    /// Between which values the true skill lies with 95 %.
    pub skill_95: [f64; 2],
    /// The two-sided p-value of the comparison.
    pub p_value: f64,
    /// The share of truths that the interval held.
    pub interval_coverage: f64,
    /// The comparisons with the baselines in a few words.
    pub headline: String,
    /// The epoch whose parameters count.
    pub best_epoch: usize,
}

/// Two configurations on the same forecasts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgainstBase {
    /// How many forecasts both make.
    pub forecasts: usize,
    /// `1 - squared error of the winner / squared error of the other`.
    pub skill: f64,
    /// Between which values the true one lies with 95 %.
    pub skill_95: [f64; 2],
    /// The two-sided p-value of the comparison.
    pub p_value: f64,
}

/// The trials of a search, in a file.
pub(super) struct Record {
    folder: PathBuf,
    file: File,
    trials: Vec<TrialRecord>,
}

impl Record {
    /// Opens the file in a folder, and begins it where there is none.
    pub(super) fn open(folder: &Path, header: &Header) -> Result<Self, SearchError> {
        fs::create_dir_all(folder).map_err(SearchError::of(folder, "create"))?;
        let path = folder.join(TRIALS_FILE);
        let failed = SearchError::of(&path, "write");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(SearchError::of(&path, "read")(error)),
        };
        // A line without its end was being written when the program ended.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut lines = whole.lines();
        let mut trials = Vec::new();
        let fresh = match lines.next() {
            None => true,
            Some(line) => {
                let same = serde_json::from_str::<Header>(line).is_ok_and(|is| is == *header);
                let read = lines.map(serde_json::from_str).collect::<Result<_, _>>();
                match (same, read) {
                    (true, Ok(read)) => trials = read,
                    _ => return Err(SearchError::Other { folder: folder.to_owned() }),
                }
                false
            }
        };
        let open = OpenOptions::new().append(true).create(true).open(&path);
        let file = open.map_err(&failed)?;
        file.set_len(whole.len() as u64).map_err(&failed)?;
        let mut record = Self { folder: folder.to_owned(), file, trials };
        if fresh {
            record.append(header)?;
        }
        Ok(record)
    }

    /// The fits so far.
    pub(super) fn trials(&self) -> &[TrialRecord] {
        &self.trials
    }

    /// That of a trial on a rung.
    pub(super) fn find(&self, trial: usize, rung: usize) -> Option<&TrialRecord> {
        self.trials.iter().find(|record| (record.trial, record.rung) == (trial, rung))
    }

    /// Adds one.
    pub(super) fn push(&mut self, trial: TrialRecord) -> Result<(), SearchError> {
        self.append(&trial)?;
        self.trials.push(trial);
        Ok(())
    }

    fn append<T: Serialize>(&mut self, value: &T) -> Result<(), SearchError> {
        let mut line = serde_json::to_vec(value)
            .expect("plain fields with text keys and finite numbers encode into memory");
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        written.map_err(SearchError::of(&self.folder.join(TRIALS_FILE), "write"))
    }
}

/// The result in a folder; `None` where the search has not come to one.
pub(super) fn result(folder: &Path) -> Result<Option<SearchResult>, SearchError> {
    let path = folder.join(RESULT_FILE);
    match fs::read(&path) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(result) => Ok(Some(result)),
            Err(error) => Err(SearchError::of(&path, "read")(error.into())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SearchError::of(&path, "read")(error)),
    }
}

/// Writes a file of a folder, which is whole or not there.
pub(super) fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), SearchError> {
    let (draft, path) = (folder.join(format!(".{name}.draft")), folder.join(name));
    let written = File::create(&draft).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(SearchError::of(&draft, "write"))?;
    fs::rename(&draft, &path).map_err(SearchError::of(&path, "move here"))
}

/// JSON for people, ending in a line end.
pub(super) fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .expect("plain fields with text keys and finite numbers encode into memory");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(digest: &str) -> Header {
        Header {
            schema: TRIALS_SCHEMA.to_owned(),
            model: "m".to_owned(),
            control: Control::None,
            method: "random".to_owned(),
            test_from: UnixNanos::from_nanos(0),
            digest: digest.to_owned(),
        }
    }

    fn trial(number: usize) -> TrialRecord {
        let (changes, problem) = (Changes::new(), Some("none".to_owned()));
        TrialRecord { trial: number, rung: 1, epochs_max: 5, changes, figures: None, problem }
    }

    #[test]
    fn a_search_goes_on_behind_its_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = Record::open(folder.path(), &header("a")).unwrap();
        (1..=2).for_each(|number| record.push(trial(number)).unwrap());
        drop(record);
        let path = folder.path().join(TRIALS_FILE);
        let whole = fs::read(&path).unwrap();
        // Cut short at every byte of the last line.
        let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        for end in last..whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            let mut record = Record::open(folder.path(), &header("a")).unwrap();
            assert_eq!(record.trials(), [trial(1)]);
            assert!(record.find(1, 1).is_some() && record.find(2, 1).is_none());
            record.push(trial(2)).unwrap();
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn another_search_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        drop(Record::open(folder.path(), &header("a")).unwrap());
        let error = Record::open(folder.path(), &header("b")).err().unwrap().to_string();
        assert!(error.contains("holds another search"), "{error}");
        fs::write(folder.path().join(TRIALS_FILE), "no record\n").unwrap();
        assert!(Record::open(folder.path(), &header("a")).is_err());
    }
}
