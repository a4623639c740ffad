//! The figures of every epoch, in files that other tools read.
//!
//! Owns: `metrics.jsonl`, `metrics.csv` and a TensorBoard event file, and what one record of each
//! has.
//!
//! Promises: a log has one record for each epoch of the fit, in order. A fit that goes on writes
//! its log again from the first epoch, so the lines of a run that was stopped and resumed are those
//! of one that was not. A record is written before the next epoch begins, and not flushed to the
//! disk. Only the event file has times.
//!
//! Never: decides whether the fit goes on, or reads a clock.

mod tensorboard;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use super::fit::Epoch;

/// A form of log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// A JSON object on each line.
    JsonLines,
    /// Comma-separated values behind a line with their names.
    Csv,
    /// The event file that TensorBoard reads.
    TensorBoard,
}

/// A log that cannot be written.
#[derive(Debug, Error)]
#[error("log `{}`: {source}", path.display())]
pub struct LogError {
    /// The file.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

/// The record of an epoch.
#[derive(Serialize)]
struct Record {
    epoch: usize,
    training_loss: f64,
    validation_loss: f64,
    validation_absolute_error: f64,
    learning_rate: f64,
    best: bool,
}

/// The names of a record's values, in their order.
const COLUMNS: &str =
    "epoch,training_loss,validation_loss,validation_absolute_error,learning_rate,best";

/// The logs of one fit.
#[derive(Debug)]
pub(super) struct Logs {
    files: Vec<Log>,
}

#[derive(Debug)]
struct Log {
    kind: LogKind,
    path: PathBuf,
    file: File,
}

impl LogKind {
    /// Every kind with its word.
    pub const CHOICES: [(&'static str, Self); 3] =
        [("jsonl", Self::JsonLines), ("csv", Self::Csv), ("tensorboard", Self::TensorBoard)];

    /// The name of its file.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::JsonLines => "metrics.jsonl",
            Self::Csv => "metrics.csv",
            // TensorBoard looks for `tfevents` in names.
            Self::TensorBoard => "events.out.tfevents.tickcast",
        }
    }

    /// What comes before the first record.
    fn head(self, wall_seconds: f64) -> Vec<u8> {
        match self {
            Self::JsonLines => Vec::new(),
            Self::Csv => format!("{COLUMNS}\n").into_bytes(),
            Self::TensorBoard => tensorboard::version(wall_seconds),
        }
    }

    fn record(self, epoch: &Epoch, wall_seconds: f64) -> Vec<u8> {
        let Epoch { number, training_loss, validation_loss, .. } = *epoch;
        let Epoch { validation_absolute_error, learning_rate, best, .. } = *epoch;
        match self {
            Self::JsonLines => {
                let record = Record {
                    epoch: number,
                    training_loss,
                    validation_loss,
                    validation_absolute_error,
                    learning_rate,
                    best,
                };
                let line = serde_json::to_string(&record);
                let line = line.expect("a record of numbers and a switch has a JSON form");
                format!("{line}\n").into_bytes()
            }
            // `{:?}` of a number keeps every bit and has an exponent where it is short.
            Self::Csv => format!(
                "{number},{training_loss:?},{validation_loss:?},{validation_absolute_error:?},\
                 {learning_rate:?},{best}\n"
            )
            .into_bytes(),
            Self::TensorBoard => {
                let values = [
                    ("training_loss", training_loss),
                    ("validation_loss", validation_loss),
                    ("validation_absolute_error", validation_absolute_error),
                    ("learning_rate", learning_rate),
                ];
                tensorboard::scalars(wall_seconds, number, &values)
            }
        }
    }
}

impl Logs {
    /// Begins the files in `folder` with the epochs that are done.
    pub(super) fn begin(
        folder: &Path,
        kinds: &[LogKind],
        done: &[Epoch],
        wall_seconds: f64,
    ) -> Result<Self, LogError> {
        let begin = |kind: &LogKind| {
            let path = folder.join(kind.file_name());
            let mut bytes = kind.head(wall_seconds);
            done.iter().for_each(|epoch| bytes.extend(kind.record(epoch, wall_seconds)));
            let created = fs::create_dir_all(folder).and_then(|()| File::create(&path));
            let file = created.and_then(|mut file| file.write_all(&bytes).map(|()| file));
            match file {
                Ok(file) => Ok(Log { kind: *kind, path, file }),
                Err(source) => Err(LogError { path, source }),
            }
        };
        Ok(Self { files: kinds.iter().map(begin).collect::<Result<_, _>>()? })
    }

    /// Writes the record of an epoch.
    pub(super) fn write(&mut self, epoch: &Epoch, wall_seconds: f64) -> Result<(), LogError> {
        for Log { kind, path, file } in &mut self.files {
            let written = file.write_all(&kind.record(epoch, wall_seconds));
            written.map_err(|source| LogError { path: path.clone(), source })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(number: usize) -> Epoch {
        Epoch {
            number,
            training_loss: 0.1 + 0.2,
            validation_loss: 0.25,
            validation_absolute_error: 1e-9,
            learning_rate: 1e-3,
            best: number == 1,
        }
    }

    fn read(folder: &Path) -> Vec<Vec<u8>> {
        let kinds = LogKind::CHOICES.map(|(_, kind)| fs::read(folder.join(kind.file_name())));
        kinds.map(Result::unwrap).to_vec()
    }

    #[test]
    fn every_kind_has_a_record_for_each_epoch_also_of_a_fit_that_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let (whole, parts) = (folder.path().join("a/whole"), folder.path().join("parts"));
        let kinds = LogKind::CHOICES.map(|(_, kind)| kind);
        let mut logs = Logs::begin(&whole, &kinds, &[], 5.5).unwrap();
        logs.write(&epoch(1), 5.5).unwrap();
        logs.write(&epoch(2), 5.5).unwrap();
        // A third epoch was logged and lost with its state.
        let mut logs = Logs::begin(&parts, &kinds, &[], 5.5).unwrap();
        (1..=3).for_each(|number| logs.write(&epoch(number), 5.5).unwrap());
        let mut logs = Logs::begin(&parts, &kinds, &[epoch(1)], 5.5).unwrap();
        logs.write(&epoch(2), 5.5).unwrap();
        assert_eq!(read(&parts), read(&whole));

        let [json, csv, _] = &read(&whole)[..] else { panic!("three files") };
        let json = std::str::from_utf8(json).unwrap();
        assert_eq!(
            json.lines().next().unwrap(),
            "{\"epoch\":1,\"training_loss\":0.30000000000000004,\"validation_loss\":0.25,\
             \"validation_absolute_error\":1e-9,\"learning_rate\":0.001,\"best\":true}"
        );
        let csv = std::str::from_utf8(csv).unwrap();
        let expected = "1,0.30000000000000004,0.25,1e-9,0.001,true\n\
                        2,0.30000000000000004,0.25,1e-9,0.001,false\n";
        assert_eq!(csv, format!("{COLUMNS}\n{expected}"));
        let names: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(json.lines().next().unwrap()).unwrap();
        let mut columns: Vec<&str> = COLUMNS.split(',').collect();
        columns.sort_unstable();
        let mut names: Vec<_> = names.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, columns);
    }

    #[test]
    fn a_folder_that_cannot_be_is_an_error_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("no"), "a file").unwrap();
        let error = Logs::begin(&folder.path().join("no"), &[LogKind::Csv], &[], 0.0).unwrap_err();
        assert!(error.to_string().contains("no/metrics.csv`: "), "{error}");
    }
}
