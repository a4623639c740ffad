//! What a fit is between two epochs, and how it gets from one to the next.
//!
//! Owns: one pass over the training part, the loss on the validation part, the clipping of
//! gradients, which parameters are the best so far, and since when a schedule counts.
//!
//! Promises: a state that is stored and taken up again goes on as if it had never stopped.
//!
//! Never: decides when to end.

use std::ops::{ControlFlow, Range};

use super::adam::Adam;
use super::lessons::{Batch, Lessons};
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
    /// Epochs that were done when the schedule of the rate began.
    pub(in super::super) schedule_from: usize,
}

impl FitState {
    /// Before the first epoch.
    pub(super) fn new(network: &Network, items: usize, recipe: &Recipe) -> Self {
        let parameters = network.initial_parameters(recipe.seed);
        Self {
            adam: Adam::new(recipe.learning_rate, parameters.len()),
            order: (0..items).collect(),
            order_stream: Random::new(recipe.seed, Purpose::Order),
            dropout_stream: Random::new(recipe.seed, Purpose::Dropout),
            best: Best { parameters: parameters.clone(), epoch: 0, value: f64::INFINITY },
            epochs: Vec::new(),
            schedule_from: 0,
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
            && self.schedule_from <= self.epochs.len()
    }

    /// Lets the schedule of the rate begin with the next epoch, for a recipe with another one.
    pub(in super::super) fn begin_schedule(&mut self) {
        self.schedule_from = self.epochs.len();
    }

    /// The epochs that are done.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// One pass over the training part, in which the parameters at the places `weights` decay; its
    /// mean loss, or `None` where the observer stops.
    pub(super) fn train(
        &mut self,
        lessons: &mut dyn Lessons,
        recipe: &Recipe,
        weights: &[Range<usize>],
        observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Option<f64>, FitError> {
        let epoch = self.epochs.len() + 1;
        let monitored = self.epochs[self.schedule_from..].iter();
        let monitored: Vec<f64> = monitored.map(|epoch| recipe.monitor.of(epoch)).collect();
        let rate = recipe.schedule.epoch(recipe.learning_rate, &monitored);
        self.order_stream.shuffle(&mut self.order);
        let total = lessons.begin(&self.parameters, &self.order, &mut self.order_stream);
        let (mut mean, mut done) = (Mean::default(), 0);
        while let Some(batch) = lessons.next(&self.parameters, &mut self.dropout_stream) {
            let Batch { loss, labels, gradients } = batch;
            if !loss.is_finite() {
                return Err(FitError::Diverged { epoch, what: "training", loss });
            }
            clip(gradients, recipe.clip_norm);
            self.adam.set_rate(rate.of_step(done, total));
            self.adam.decay(recipe.weight_decay, weights, &mut self.parameters);
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
        recipe: &Recipe,
        training_loss: f64,
    ) -> Result<Epoch, FitError> {
        let Recipe { loss, monitor, .. } = recipe;
        let number = self.epochs.len() + 1;
        let values = lessons.validate(&self.parameters);
        let mean = |sum: f64| sum / loss.items(values.len()) as f64;
        let validation_loss = mean(loss.sum(&values, labels));
        if !validation_loss.is_finite() {
            let (what, loss) = ("validation", validation_loss);
            return Err(FitError::Diverged { epoch: number, what, loss });
        }
        let mut epoch = Epoch {
            number,
            training_loss,
            validation_loss,
            validation_absolute_error: mean(loss.absolute_error(&values, labels)),
            learning_rate: self.adam.rate(),
            best: false,
        };
        epoch.best = self.best.offer(&self.parameters, number, monitor.of(&epoch));
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

/// Scales gradients down to the Euclidean length `norm`, over all of them as `global_clipnorm` of
/// Keras does; 0 leaves them as they are.
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
    /// What is monitored.
    pub(in super::super) value: f64,
}

impl Best {
    fn offer(&mut self, parameters: &[f32], epoch: usize, value: f64) -> bool {
        let better = value < self.value;
        if better {
            self.parameters.copy_from_slice(parameters);
            (self.epoch, self.value) = (epoch, value);
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
