//! The output folder.
//!
//! ```text
//! summary.json          what the backtest has come to; written last
//! folds.jsonl           a line for each fold and seed
//! forecasts.jsonl       of the first seed, fold after fold
//! scores.jsonl          likewise
//! folds/fold-1-seed-1/  fold.json, forecasts.jsonl, scores.jsonl, models/NAME/fold-1-seed-1/
//! ```
//!
//! Owns the names in it. Promises that a folder of a fold is whole or not there, because it is
//! written beside its place and renamed, and that the results above are removed before anything
//! changes and appear when everything is done, so that they never belong to other folds than those
//! below. Never decides what is in a file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::BacktestError;
use super::progress::Place;
use super::record::{FOLD_SCHEMA, FoldRecord, Summary};
use crate::core::score::Sums;
use crate::engine::files::read_regular_file;
use crate::train::history::sha256;

/// The folder of the folds.
const FOLDS: &str = "folds";
/// What a finished fold has come to.
const FOLD_FILE: &str = "fold.json";
/// Forecasts, of a fold or of all.
pub(super) const FORECASTS_FILE: &str = "forecasts.jsonl";
/// Scores, of a fold or of all.
pub(super) const SCORES_FILE: &str = "scores.jsonl";
/// The records of all folds.
const FOLDS_FILE: &str = "folds.jsonl";
/// The summary.
pub const SUMMARY_FILE: &str = "summary.json";

/// The largest `fold.json` that is read, in bytes: hundreds of thousands of symbols.
const FOLD_BYTES_MAX: usize = 256 << 20;

/// The output folder of a backtest.
pub(super) struct Store {
    root: PathBuf,
}

/// A finished fold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    /// What it came to.
    pub(super) record: FoldRecord,
    /// The sums over the scores of each symbol.
    pub(super) sums: BTreeMap<String, Sums>,
}

impl Store {
    /// Makes the folder where there is none, and removes the results of an earlier backtest. Its
    /// folds stay.
    pub(super) fn open(root: &Path) -> Result<Self, BacktestError> {
        let folds = root.join(FOLDS);
        fs::create_dir_all(&folds).map_err(BacktestError::of(&folds, "create"))?;
        for name in [SUMMARY_FILE, FOLDS_FILE, SCORES_FILE, FORECASTS_FILE] {
            let path = root.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(BacktestError::of(&path, "remove"))?,
            }
        }
        Ok(Self { root: root.to_owned() })
    }

    /// The folder of a finished fold.
    fn folder(&self, place: Place) -> PathBuf {
        self.root.join(FOLDS).join(place.to_string())
    }

    /// The bundle of a finished fold, in the output folder `root`.
    pub(super) fn bundle(root: &Path, place: Place, model: &str) -> PathBuf {
        let version = place.to_string();
        root.join(FOLDS).join(&version).join("models").join(model).join(&version)
    }

    /// Where a fold is written until it is finished.
    fn draft(&self, place: Place) -> PathBuf {
        self.root.join(FOLDS).join(format!(".{place}.draft"))
    }

    /// A fold that an earlier backtest has finished, where it depended on the same and is whole.
    pub(super) fn finished(&self, place: Place, digest: &str) -> Option<Stored> {
        let folder = self.folder(place);
        let text = read_regular_file(&folder.join(FOLD_FILE), FOLD_BYTES_MAX).ok()?;
        let stored: Stored = serde_json::from_slice(&text).ok()?;
        let FoldRecord { schema, digest: of, forecasts_sha256, scores_sha256, .. } = &stored.record;
        let is_same = schema == FOLD_SCHEMA && of == digest;
        let is_whole = |name: &str, hash: &String| {
            sha256(&folder.join(name)).is_ok_and(|found| found == *hash)
        };
        let is_whole = is_same
            && is_whole(FORECASTS_FILE, forecasts_sha256)
            && is_whole(SCORES_FILE, scores_sha256);
        is_whole.then_some(stored)
    }

    /// An empty folder for a fold.
    pub(super) fn begin(&self, place: Place) -> Result<PathBuf, BacktestError> {
        let draft = self.draft(place);
        remove_folder(&draft)?;
        fs::create_dir_all(&draft).map_err(BacktestError::of(&draft, "create"))?;
        Ok(draft)
    }

    /// Puts a fold in its place.
    pub(super) fn finish(&self, place: Place, stored: &Stored) -> Result<(), BacktestError> {
        let (draft, folder) = (self.draft(place), self.folder(place));
        write(&draft.join(FOLD_FILE), &to_json(stored))?;
        sync(&draft)?;
        remove_folder(&folder)?;
        fs::rename(&draft, &folder).map_err(BacktestError::of(&folder, "move here"))?;
        sync(&self.root.join(FOLDS))
    }

    /// Removes what an unfinished fold has left.
    pub(super) fn abandon(&self, place: Place) {
        // Left behind it does no harm: the next run begins with an empty folder.
        let _ = fs::remove_dir_all(self.draft(place));
    }

    /// The scores of a finished fold.
    pub(super) fn scores(&self, place: Place) -> Result<Scores, BacktestError> {
        let path = self.folder(place).join(SCORES_FILE);
        let file = File::open(&path).map_err(BacktestError::of(&path, "open"))?;
        Ok(Scores { path, reader: BufReader::new(file) })
    }

    /// Writes the results: those of the folds of the first seed, one after the other, the records
    /// of all, and the summary.
    pub(super) fn write_results(
        &self,
        first: &[Place],
        folds: &[Stored],
        summary: &Summary,
    ) -> Result<(), BacktestError> {
        for name in [FORECASTS_FILE, SCORES_FILE] {
            self.join(name, first)?;
        }
        let mut lines = Vec::new();
        for stored in folds {
            serde_json::to_writer(&mut lines, &stored.record)
                .expect("plain fields and finite numbers encode into memory");
            lines.push(b'\n');
        }
        self.publish(FOLDS_FILE, |path| write(path, &lines))?;
        self.publish(SUMMARY_FILE, |path| write(path, &to_json(summary)))
    }

    /// Joins a file of several folds.
    fn join(&self, name: &str, places: &[Place]) -> Result<(), BacktestError> {
        self.publish(name, |path| {
            let failed = BacktestError::of(path, "write");
            let mut joined = BufWriter::new(File::create(path).map_err(&failed)?);
            for place in places {
                let part = self.folder(*place).join(name);
                let mut file = File::open(&part).map_err(BacktestError::of(&part, "open"))?;
                io::copy(&mut file, &mut joined).map_err(&failed)?;
            }
            let file = joined.into_inner().map_err(io::IntoInnerError::into_error);
            file.and_then(|file| file.sync_all()).map_err(&failed)
        })
    }

    /// Has a file written beside its place and moves it there.
    fn publish(
        &self,
        name: &str,
        write: impl FnOnce(&Path) -> Result<(), BacktestError>,
    ) -> Result<(), BacktestError> {
        let draft = self.root.join(format!(".{name}.draft"));
        write(&draft)?;
        let path = self.root.join(name);
        fs::rename(&draft, &path).map_err(BacktestError::of(&path, "move here"))?;
        sync(&self.root)
    }
}

/// The scores of a finished fold, to read them line by line.
pub(super) struct Scores {
    pub(super) path: PathBuf,
    pub(super) reader: BufReader<File>,
}

/// Removes a folder that may not be there.
fn remove_folder(path: &Path) -> Result<(), BacktestError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(BacktestError::of(path, "remove")),
    }
}

/// Writes and flushes to the disk.
fn write(path: &Path, bytes: &[u8]) -> Result<(), BacktestError> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(BacktestError::of(path, "write"))
}

/// Flushes the entries of a folder.
fn sync(folder: &Path) -> Result<(), BacktestError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(BacktestError::of(folder, "flush"))
}

/// JSON for people, ending in a line end.
fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .expect("plain fields with text keys and finite numbers encode into memory");
    bytes.push(b'\n');
    bytes
}
