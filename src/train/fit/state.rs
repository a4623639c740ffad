//! What a fit is between two epochs, and how it gets from one to the next.
//!
//! Owns: one pass over the training part, the loss on the validation part, the clipping of
//! gradients, and which parameters are the best so far.
//!
//! Promises: a state that is stored and taken up again goes on as if it had never stopped.
//!
//! Never: decides when to end.

use std::ops::ControlFlow;

use super::adam::Adam;
use super::lessons::{Batch, Lessons};
use super::loss::Loss;
use super::recipe::Recipe;
use super::{Epoch, Fit, FitError, Progress, Stopped};
use crate::train::network::Network;
use crate::train::random::{Purpose, Random};

/// All that a fit is between two epochs.
#[derive(Clone, Debug, PartialEq)]
pub struct FitState {
    pub(in super::super) parameters: Vec<f32>,
    pub(in super::super) adam: Adam,
    /// The training windows, or the groups of strands, in the order of the last epoch, which the
    /// next one shuffles on.
    pub(in super::super) order: Vec<usize>,
    pub(in super::super) order_stream: Random,
    pub(in super::super) dropout_stream: Random,
    pub(in super::super) best: Best,
    pub(in super::super) epochs: Vec<Epoch>,
}

impl FitState {
    /// Before the first epoch.
    pub(super) fn new(network: &Network, items: usize, recipe: &Recipe) -> Self {
        let parameters = match &recipe.start {
            Some(start) => start.parameters().to_vec(),
            None => network.initial_parameters(recipe.seed),
        };
        Self {
            adam: Adam::new(recipe.learning_rate, parameters.len()),
            order: (0..items).collect(),
            order_stream: Random::new(recipe.seed, Purpose::Order),
            dropout_stream: Random::new(recipe.seed, Purpose::Dropout),
            best: Best { parameters: parameters.clone(), epoch: 0, loss: f64::INFINITY },
            epochs: Vec::new(),
            parameters,
        }
    }

    /// Whether it is of such a network and of so many things in order.
    pub(super) fn fits(&self, network: &Network, items: usize) -> bool {
        let count = network.parameter_count();
        self.parameters.len() == count
            && self.best.parameters.len() == count
            && self.adam.parameter_count() == count
            && self.order.len() == items
            && self.order.iter().all(|at| *at < items)
    }

    /// The epochs that are done.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// One pass over the training part; its mean loss, or `None` where the observer stops.
    pub(super) fn train(
        &mut self,
        lessons: &mut dyn Lessons,
        recipe: &Recipe,
        observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Option<f64>, FitError> {
        let epoch = self.epochs.len() + 1;
        self.order_stream.shuffle(&mut self.order);
        let total = lessons.begin(&self.parameters, &self.order, &mut self.order_stream);
        let (mut mean, mut done) = (Mean::default(), 0);
        while let Some(batch) = lessons.next(&self.parameters, &mut self.dropout_stream) {
            let Batch { loss, labels, gradients } = batch;
            if !loss.is_finite() {
                return Err(FitError::Diverged { epoch, what: "training", loss });
            }
            clip(gradients, recipe.clip_norm);
            self.adam.step(&mut self.parameters, gradients);
            mean.add(loss, labels);
            done += 1;
            let training_loss = mean.value();
            let progress = Progress::Batch { epoch, done, total, training_loss };
            if observer(progress).is_break() {
                return Ok(None);
            }
        }
        Ok(Some(mean.value()))
    }

    /// The loss on the validation part, which has these labels; ends the epoch.
    #[expect(clippy::cast_precision_loss, reason = "counts of labels are below 2^52")]
    pub(super) fn validate(
        &mut self,
        lessons: &mut dyn Lessons,
        labels: &[f32],
        loss: Loss,
        training_loss: f64,
    ) -> Result<Epoch, FitError> {
        let number = self.epochs.len() + 1;
        let values = lessons.validate(&self.parameters);
        let mean = |sum: f64| sum / values.len() as f64;
        let validation_loss = mean(loss.sum(&values, labels));
        if !validation_loss.is_finite() {
            let (what, loss) = ("validation", validation_loss);
            return Err(FitError::Diverged { epoch: number, what, loss });
        }
        let epoch = Epoch {
            number,
            training_loss,
            validation_loss,
            validation_absolute_error: mean(loss.absolute_error(&values, labels)),
            best: self.best.offer(&self.parameters, number, validation_loss),
        };
        self.epochs.push(epoch);
        Ok(epoch)
    }

    pub(super) fn finish(self, stopped: Stopped) -> Result<Fit, FitError> {
        let Self { best, epochs, .. } = self;
        if best.epoch == 0 {
            return Err(FitError::NothingYet);
        }
        Ok(Fit { parameters: best.parameters, best_epoch: best.epoch, epochs, stopped })
    }
}

/// Scales gradients down to the Euclidean length `norm`; 0 leaves them as they are.
#[expect(clippy::cast_possible_truncation, reason = "gradients are 32-bit floats")]
pub(super) fn clip(gradients: &mut [f32], norm: f64) {
    if norm > 0.0 {
        let length = gradients.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>().sqrt();
        if length > norm {
            let factor = (norm / length) as f32;
            gradients.iter_mut().for_each(|g| *g *= factor);
        }
    }
}

/// Parameters of the best epoch so far.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Best {
    pub(in super::super) parameters: Vec<f32>,
    /// Counted from 1; 0 before the first.
    pub(in super::super) epoch: usize,
    pub(in super::super) loss: f64,
}

impl Best {
    fn offer(&mut self, parameters: &[f32], epoch: usize, loss: f64) -> bool {
        let better = loss < self.loss;
        if better {
            self.parameters.copy_from_slice(parameters);
            (self.epoch, self.loss) = (epoch, loss);
        }
        better
    }
}

/// Mean of batch losses, each weighted by its labels.
#[derive(Default)]
struct Mean {
    sum: f64,
    count: usize,
}

impl Mean {
    #[expect(clippy::cast_precision_loss, reason = "counts of labels are below 2^52")]
    fn add(&mut self, loss: f64, count: usize) {
        self.sum += loss * count as f64;
        self.count += count;
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of labels are below 2^52")]
    fn value(&self) -> f64 {
        self.sum / self.count as f64
    }
}
