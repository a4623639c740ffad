//! A state on disk, so that a fit survives the end of its process.
//!
//! Owns: the file: a word that names the format, fingerprints of everything that the fit depends
//! on, the state in little-endian numbers, and a SHA-256 of all that.
//!
//! Promises: a file is the whole state of one epoch or it is refused: it is written beside its
//! place, flushed and renamed. Every number comes back with its bits. A state of another recipe,
//! network, history or release is refused by its fingerprint; the learning rate and its schedule
//! have one of their own, because a fit may go on with others.
//!
//! Never: decides when to write or what to fit.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::adam::Adam;
use super::{Best, Epoch, FitState};
use crate::engine::files::read_regular_file;
use crate::train::random::Random;

const MAGIC: &[u8] = b"tickcast.checkpoint.2\n";
const HASH_BYTES: usize = 32;

/// SHA-256 of what a fit depends on.
pub type Fingerprint = [u8; HASH_BYTES];

/// Which run a state belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Of everything but the learning rate and its schedule.
    pub fit: Fingerprint,
    /// Of those.
    pub pace: Fingerprint,
}

/// Why there is no state, or none was kept.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The system does not give the file or take it.
    #[error("checkpoint `{}`: {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The bytes are not those that were written.
    #[error("checkpoint `{}`: damaged, or of another format", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It belongs to another run.
    #[error(
        "checkpoint `{}`: of another run: its configuration, history, seed or release of tickcast \
         is not this one; train without --resume to begin anew",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It belongs to this run with another learning rate or schedule.
    #[error(
        "checkpoint `{}`: its learning rate or its schedule is not that of the configuration; \
         with --learning-rate the fit goes on with those of the configuration",
        path.display()
    )]
    OtherPace {
        /// The file.
        path: PathBuf,
    },
}

/// The largest checkpoint that is read, in bytes: a network of tens of millions of parameters.
const CHECKPOINT_BYTES_MAX: usize = 1 << 30;

/// Writes the state to `path`, which then holds either the old one or this one, whatever happens.
///
/// # Errors
/// [`CheckpointError::Io`].
pub fn save(path: &Path, run: Run, state: &FitState) -> Result<(), CheckpointError> {
    let failed =
        |action| move |source| CheckpointError::Io { path: path.to_owned(), action, source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed("create its folder"))?;
    let fresh = path.with_extension("new");
    let mut file = fs::File::create(&fresh).map_err(failed("create"))?;
    file.write_all(&encode(run, state)).map_err(failed("write"))?;
    file.sync_all().map_err(failed("flush"))?;
    fs::rename(&fresh, path).map_err(failed("rename"))?;
    fs::File::open(folder).and_then(|f| f.sync_all()).map_err(failed("flush its folder"))
}

/// Reads the state of this run. Where it had another learning rate or schedule and `may_change`,
/// the schedule begins with the next epoch.
///
/// # Errors
/// [`CheckpointError`], also where there is no file.
pub fn load(path: &Path, run: Run, may_change: bool) -> Result<FitState, CheckpointError> {
    let path = path.to_owned();
    let bytes = match read_regular_file(&path, CHECKPOINT_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(source) => return Err(CheckpointError::Io { path, action: "read", source }),
    };
    let Some((written_by, mut state)) = decode(&bytes) else {
        return Err(CheckpointError::Damaged { path });
    };
    if written_by.fit != run.fit {
        return Err(CheckpointError::Foreign { path });
    }
    if written_by.pace != run.pace {
        if !may_change {
            return Err(CheckpointError::OtherPace { path });
        }
        state.begin_schedule();
    }
    Ok(state)
}

fn encode(run: Run, state: &FitState) -> Vec<u8> {
    // Taken apart in full, so that a new field cannot be forgotten.
    let FitState { parameters, adam, order, order_stream, dropout_stream, best, .. } = state;
    let FitState { epochs, schedule_from, .. } = state;
    let mut writer = Writer(MAGIC.to_vec());
    writer.0.extend_from_slice(&run.fit);
    writer.0.extend_from_slice(&run.pace);
    writer.floats(parameters);
    let (first, second) = adam.moments();
    writer.word(adam.rate().to_bits());
    writer.word(u64::from(adam.steps().unsigned_abs()));
    writer.floats(first);
    writer.floats(second);
    writer.count(order.len());
    order.iter().for_each(|at| writer.count(*at));
    for stream in [order_stream, dropout_stream] {
        stream.state().into_iter().for_each(|word| writer.word(word));
    }
    let Best { parameters, epoch, value } = best;
    writer.floats(parameters);
    writer.count(*epoch);
    writer.word(value.to_bits());
    writer.count(epochs.len());
    for epoch in epochs {
        let Epoch { number, training_loss, validation_loss, validation_absolute_error, .. } = epoch;
        let Epoch { learning_rate, best, .. } = epoch;
        writer.count(*number);
        for value in [training_loss, validation_loss, validation_absolute_error, learning_rate] {
            writer.word(value.to_bits());
        }
        writer.word(u64::from(*best));
    }
    writer.count(*schedule_from);
    let hash = Sha256::digest(&writer.0);
    writer.0.extend_from_slice(&hash);
    writer.0
}

/// `None` where the bytes are not what `encode` gives.
fn decode(bytes: &[u8]) -> Option<(Run, FitState)> {
    let (body, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH_BYTES)?)?;
    if Sha256::digest(body)[..] != *hash {
        return None;
    }
    let mut reader = Reader(body.strip_prefix(MAGIC)?);
    let fit = reader.take(HASH_BYTES)?.try_into().ok()?;
    let pace = reader.take(HASH_BYTES)?.try_into().ok()?;
    let parameters = reader.floats()?;
    let rate = f64::from_bits(reader.word()?);
    let steps = i32::try_from(reader.word()?).ok()?;
    let adam = Adam::restore(rate, reader.floats()?, reader.floats()?, steps);
    let order = (0..reader.count()?).map(|_| reader.count()).collect::<Option<_>>()?;
    let order_stream = reader.stream()?;
    let dropout_stream = reader.stream()?;
    let best = Best {
        parameters: reader.floats()?,
        epoch: reader.count()?,
        value: f64::from_bits(reader.word()?),
    };
    let epochs = (0..reader.count()?).map(|_| {
        Some(Epoch {
            number: reader.count()?,
            training_loss: f64::from_bits(reader.word()?),
            validation_loss: f64::from_bits(reader.word()?),
            validation_absolute_error: f64::from_bits(reader.word()?),
            learning_rate: f64::from_bits(reader.word()?),
            best: reader.word()? != 0,
        })
    });
    let epochs = epochs.collect::<Option<_>>()?;
    let schedule_from = reader.count()?;
    let state = FitState {
        parameters,
        adam,
        order,
        order_stream,
        dropout_stream,
        best,
        epochs,
        schedule_from,
    };
    reader.0.is_empty().then_some((Run { fit, pace }, state))
}

struct Writer(Vec<u8>);

impl Writer {
    fn word(&mut self, word: u64) {
        self.0.extend_from_slice(&word.to_le_bytes());
    }

    fn count(&mut self, count: usize) {
        self.word(count as u64);
    }

    fn floats(&mut self, values: &[f32]) {
        self.count(values.len());
        values.iter().for_each(|value| self.0.extend_from_slice(&value.to_le_bytes()));
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn word(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.word()?).ok()
    }

    fn floats(&mut self) -> Option<Vec<f32>> {
        let count = self.count()?;
        let bytes = self.take(count.checked_mul(4)?)?;
        bytes.chunks_exact(4).map(|b| Some(f32::from_le_bytes(b.try_into().ok()?))).collect()
    }

    fn stream(&mut self) -> Option<Random> {
        Some(Random::restore([self.word()?, self.word()?, self.word()?, self.word()?]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::random::Purpose;

    const RUN: Run = Run { fit: [7; 32], pace: [9; 32] };

    fn state() -> FitState {
        let mut adam = Adam::new(0.25, 3);
        let mut parameters = vec![1.0, -0.0, f32::MIN_POSITIVE / 2.0];
        adam.step(&mut parameters, &[0.1, 0.2, 0.3]);
        let epoch = |number, best| Epoch {
            number,
            training_loss: 0.1,
            validation_loss: 0.3,
            validation_absolute_error: 1e-300,
            learning_rate: 1e-3,
            best,
        };
        FitState {
            best: Best { parameters: vec![0.5, 0.25, 3.0], epoch: 1, value: 0.1 + 0.2 },
            parameters,
            adam,
            order: vec![2, 0, 1],
            order_stream: Random::new(1, Purpose::Order),
            dropout_stream: Random::new(1, Purpose::Dropout),
            epochs: vec![epoch(1, true), epoch(2, false)],
            schedule_from: 1,
        }
    }

    #[test]
    fn a_session_comes_back_with_every_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/run.checkpoint");
        save(&path, RUN, &state()).unwrap();
        save(&path, RUN, &state()).unwrap();
        let back = load(&path, RUN, false).unwrap();
        assert_eq!(back, state());
        assert_eq!(load(&path, RUN, true).unwrap(), state(), "a change may be none");
        assert_eq!(encode(RUN, &back), encode(RUN, &state()), "-0 is not 0");
        let files = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(files, 1, "nothing is left beside it");
    }

    #[test]
    fn every_damaged_byte_and_every_missing_one_is_seen() {
        let whole = encode(RUN, &state());
        assert!(decode(&whole).is_some());
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged).is_none(), "byte {at} changed");
            assert!(decode(&whole[..at]).is_none(), "cut at {at}");
        }
    }

    #[test]
    fn a_file_with_a_right_hash_and_wrong_lengths_is_refused() {
        let whole = encode(RUN, &state());
        let mut body = whole[..whole.len() - HASH_BYTES].to_vec();
        let length = MAGIC.len() + 2 * HASH_BYTES;
        body[length..length + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        body.extend(Sha256::digest(&body).to_vec());
        assert!(decode(&body).is_none());
    }

    #[test]
    fn no_file_and_that_of_another_run_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.checkpoint");
        let load = |run, may_change| load(&path, run, may_change);
        assert!(matches!(load(RUN, true), Err(CheckpointError::Io { action: "read", .. })));
        save(&path, RUN, &state()).unwrap();
        let other = Run { fit: [8; 32], ..RUN };
        assert!(matches!(load(other, true), Err(CheckpointError::Foreign { .. })));
        let other = Run { pace: [8; 32], ..RUN };
        assert!(matches!(load(other, false), Err(CheckpointError::OtherPace { .. })));
        let changed = load(other, true).unwrap();
        assert_eq!(changed, FitState { schedule_from: 2, ..state() });
        fs::write(&path, b"no").unwrap();
        assert!(matches!(load(RUN, false), Err(CheckpointError::Damaged { .. })));
    }
}
