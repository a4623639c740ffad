//! What a network is fitted to.
//!
//! Owns: the two kinds of examples, windows and rows of whole histories, and how an epoch goes
//! through windows. Promises that the loop above it is the same for both. Never steps an optimiser.

use super::FitError;
use super::lanes::Lanes;
use super::lessons::{Batch, Labelled, Lessons};
use super::loss::Loss;
use super::recipe::Recipe;
use crate::train::fit::carried::Strands;
use crate::train::network::Network;
use crate::train::random::Random;
use crate::train::sequences::Sequences;
use crate::train::windows::Windows;

/// The training and the validation part.
#[derive(Clone, Copy, Debug)]
pub enum Examples<'a> {
    /// Windows, each from zero state, in a fresh order in every epoch.
    Windows {
        /// What is learned.
        training: &'a Windows,
        /// What decides when to stop.
        validation: &'a Windows,
    },
    /// Rows of whole histories, through which the state is carried.
    Carried {
        /// All rows.
        sequences: &'a Sequences,
        /// Steps through which a gradient goes back.
        steps: usize,
        /// What is learned.
        training: Labelled<'a>,
        /// What decides when to stop.
        validation: Labelled<'a>,
    },
}

impl<'a> Examples<'a> {
    /// Labels of the training and of the validation part.
    pub(super) fn labels(self) -> [&'a [f32]; 2] {
        match self {
            Self::Windows { training, validation } => [training.labels(), validation.labels()],
            Self::Carried { training, validation, .. } => [training.labels, validation.labels],
        }
    }

    /// The way through them for `network`, which is the one that the loss reads.
    pub(super) fn lessons(
        self,
        network: &'a Network,
        recipe: &Recipe,
        threads: usize,
    ) -> Result<Box<dyn Lessons + 'a>, FitError> {
        for (labels, name) in self.labels().into_iter().zip(["training", "validation"]) {
            if labels.is_empty() {
                return Err(FitError::NoWindows(name));
            }
        }
        Ok(match self {
            Self::Windows { training, validation } => {
                let (batch, lanes) = (recipe.batch, recipe.lanes);
                let lanes = Lanes::new(network, training.steps(), batch, lanes, threads);
                let (loss, order) = (recipe.loss, Vec::new());
                let most = match recipe.examples_per_epoch_max {
                    0 => usize::MAX,
                    most => most,
                };
                Box::new(Shuffled {
                    lanes,
                    training,
                    validation,
                    loss,
                    batch,
                    most,
                    order,
                    done: 0,
                })
            }
            Self::Carried { sequences, steps, training, validation } => Box::new(Strands::new(
                network, sequences, steps, training, validation, recipe, threads,
            )),
        })
    }
}

/// Windows in any order.
struct Shuffled<'a> {
    lanes: Lanes<'a>,
    training: &'a Windows,
    validation: &'a Windows,
    loss: Loss,
    batch: usize,
    /// The most windows of an epoch.
    most: usize,
    order: Vec<usize>,
    /// Windows of this epoch that are done.
    done: usize,
}

impl Lessons for Shuffled<'_> {
    fn items(&self) -> usize {
        self.training.len()
    }

    fn begin(&mut self, _: &[f32], order: &[usize], _: &mut Random) -> usize {
        // The order is a random one, so its beginning is a random part of all windows.
        order[..order.len().min(self.most)].clone_into(&mut self.order);
        self.done = 0;
        self.order.len().div_ceil(self.batch)
    }

    fn next(&mut self, parameters: &[f32], dropout: &mut Random) -> Option<Batch<'_>> {
        let which = self.order[self.done..].chunks(self.batch).next()?;
        self.done += which.len();
        let lanes = &mut self.lanes;
        let (loss, gradients) =
            lanes.gradients(parameters, self.training, which, self.loss, dropout);
        Some(Batch { loss, labels: which.len(), gradients })
    }

    fn validate(&mut self, parameters: &[f32]) -> Vec<f32> {
        self.lanes.predict(parameters, self.validation)
    }
}
