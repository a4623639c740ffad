//! What a fit leaves on the disk while it is under way: its checkpoint and its logs.
//!
//! Owns when a checkpoint is written: after the first epoch, then at most once in [`SPACING`], and
//! once more when the fit ends, however it ends. Two flushes take longer than many a small epoch.
//!
//! Promises: when the fit has ended, by itself, by its observer or by an error, the checkpoint is
//! that of its last whole epoch. A process that is killed loses the epochs of one [`SPACING`] at
//! most, and the one under way.
//!
//! Never: decides when a fit ends, but where something cannot be written.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ops::clock::{Stopwatch, wall_seconds};
use crate::train::error::TrainError;
use crate::train::fit::checkpoint::{self, Run};
use crate::train::fit::{FitState, Progress};
use crate::train::logs::{LogKind, Logs};

/// The time between two checkpoints.
const SPACING: Duration = Duration::from_secs(1);

/// The files of one fit.
pub(super) struct Keep {
    checkpoint: PathBuf,
    run: Run,
    spacing: Duration,
    /// Since the last checkpoint.
    since: Option<Stopwatch>,
    /// A whole epoch that no checkpoint has.
    pending: Option<FitState>,
    logs: Logs,
    failed: Option<TrainError>,
}

impl Keep {
    /// Begins the logs in `folder`, of a fit that goes on with the epochs it has.
    pub(super) fn begin(
        checkpoint: PathBuf,
        run: Run,
        folder: &Path,
        kinds: &[LogKind],
        state: Option<&FitState>,
    ) -> Result<Self, TrainError> {
        let done = state.map_or(&[][..], FitState::epochs);
        let logs = Logs::begin(folder, kinds, done, wall_seconds())?;
        let (since, pending, failed) = (None, None, None);
        Ok(Self { checkpoint, run, spacing: SPACING, since, pending, logs, failed })
    }

    /// Writes what there is to write; breaks where that fails.
    pub(super) fn see(&mut self, progress: Progress) -> ControlFlow<()> {
        let written = match progress {
            Progress::Batch { .. } => Ok(()),
            Progress::Epoch(epoch) => {
                self.logs.write(&epoch, wall_seconds()).map_err(TrainError::from)
            }
            Progress::State(state) => {
                let is_due = self.since.is_none_or(|since| since.elapsed() >= self.spacing);
                if is_due {
                    self.write(state)
                } else {
                    self.pending = Some(state.clone());
                    Ok(())
                }
            }
        };
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// Writes the last epoch.
    pub(super) fn end(mut self) -> Result<(), TrainError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        match self.pending.take() {
            Some(state) => self.write(&state),
            None => Ok(()),
        }
    }

    fn write(&mut self, state: &FitState) -> Result<(), TrainError> {
        checkpoint::save(&self.checkpoint, self.run, state)?;
        self.pending = None;
        // From the end of the write, so that a slow disk leaves as much time to the fit.
        self.since = Some(Stopwatch::start());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fit::{Examples, Recipe, fit};
    use crate::train::network::{Activation, Architecture, DenseShape, Network, RecurrentShape};
    use crate::train::windows::Windows;

    const RUN: Run = Run { fit: [1; 32], pace: [2; 32] };

    /// Four epochs of a tiny fit; after each, how many the checkpoint has.
    fn kept(folder: &Path, spacing: Duration) -> (Vec<usize>, Keep) {
        let network = Network::new(Architecture {
            inputs: 1,
            recurrent: vec![RecurrentShape::lstm(2)],
            dense: vec![DenseShape::new(1, Activation::Tanh)],
            ..Architecture::default()
        })
        .unwrap();
        let mut windows = Windows::new(1, 1, 1);
        let first = windows.push_rows(&[0.1, 0.2]);
        (0..2).for_each(|k| windows.push_window(first + k, &[0.3]));
        let path = folder.join("x.checkpoint");
        let mut keep = Keep::begin(path.clone(), RUN, folder, &[LogKind::Csv], None).unwrap();
        keep.spacing = spacing;
        let mut found = Vec::new();
        let mut observer = |progress: Progress| {
            assert!(keep.see(progress).is_continue());
            if let Progress::State(_) = progress {
                found.push(checkpoint::load(&path, RUN, false).unwrap().epochs().len());
            }
            ControlFlow::Continue(())
        };
        let recipe = Recipe { epochs: 4, ..Recipe::default() };
        let examples = Examples::Windows { training: &windows, validation: &windows };
        fit(&network, examples, &recipe, &mut observer).unwrap();
        (found, keep)
    }

    #[test]
    fn checkpoints_keep_their_distance_and_the_last_one_has_every_epoch() {
        let folder = tempfile::tempdir().unwrap();
        let (found, keep) = kept(folder.path(), Duration::from_secs(3_600));
        assert_eq!(found, [1, 1, 1, 1]);
        keep.end().unwrap();
        let path = folder.path().join("x.checkpoint");
        assert_eq!(checkpoint::load(&path, RUN, false).unwrap().epochs().len(), 4);
        let log = std::fs::read_to_string(folder.path().join("metrics.csv")).unwrap();
        assert_eq!(log.lines().count(), 5);
        let (found, _) = kept(folder.path(), Duration::ZERO);
        assert_eq!(found, [1, 2, 3, 4]);
    }
}
