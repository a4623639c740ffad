//! What the baselines remember of one symbol.
//!
//! Owns the readings that truths are made of, the mean of the truths and those of one period.
//! Promises that a state from rest goes on as if it had never been away, and that its size is
//! bounded by the horizon and the period. Never allocates once it was made.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{BASELINES, BaselineForecasts, Baselines};
use crate::core::domain::Step;

/// What a step says of truths.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// The one number that truths are made of; absent where the step lacks it.
    pub value: Option<f64>,
    /// Whether steps before this one are known to be missing.
    pub after_gap: bool,
    /// Whether the step was made by rule: what came true then is not known.
    pub patched: bool,
}

/// What is remembered of one symbol.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BaselineState {
    /// Of the last steps, oldest first; at most as many as the horizon has.
    readings: VecDeque<Option<f64>>,
    /// That nothing changes, as the newest step has it.
    persistence: Option<f64>,
    average: Average,
    /// What came true at the last steps, oldest first; as many as reach back one period.
    truths: VecDeque<Option<f64>>,
}

/// An exponentially weighted mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Average {
    mean: f64,
    /// The sum of all weights; that of the newest truth is 1.
    weight: f64,
}

impl Reading {
    /// That of a step.
    pub fn of(baselines: &Baselines, step: &Step) -> Self {
        let value = baselines.truth.reading(&step.fields);
        Self { value, after_gap: step.after_gap, patched: step.patched }
    }
}

impl BaselineState {
    /// Of a symbol without steps.
    pub fn new(baselines: &Baselines) -> Self {
        Self {
            readings: VecDeque::with_capacity(baselines.horizon_steps.unwrap_or(0)),
            truths: VecDeque::with_capacity(baselines.lag.map_or(0, |lag| lag + 1)),
            ..Self::default()
        }
    }

    /// Of a symbol whose last steps have these readings, and of which nothing else is known.
    pub fn of_readings(
        readings: impl Iterator<Item = Option<f64>>,
        persistence: Option<f64>,
    ) -> Self {
        Self { readings: readings.collect(), persistence, ..Self::default() }
    }

    /// What is remembered of the last steps, oldest first.
    #[cfg(test)]
    pub fn readings(&self) -> &VecDeque<Option<f64>> {
        &self.readings
    }

    /// How many steps it remembers of those whose truth is still to come.
    pub fn steps(&self) -> usize {
        self.readings.len()
    }

    /// Takes over what was at rest, which must fit.
    pub fn clone_from_rest(&mut self, rest: &Self) {
        let Self { readings, persistence, average, truths } = rest;
        self.break_off();
        self.readings.extend(readings);
        self.truths.extend(truths);
        (self.persistence, self.average) = (*persistence, *average);
    }

    /// Whether this, from rest, can be of a symbol of these baselines.
    pub fn fits(&self, baselines: &Baselines) -> bool {
        let Average { mean, weight } = self.average;
        self.readings.len() <= baselines.horizon_steps.unwrap_or(0)
            && self.truths.len() <= baselines.lag.map_or(0, |lag| lag + 1)
            && mean.is_finite()
            && weight.is_finite()
            && weight >= 0.0
    }

    /// Forgets which steps came before: how far back they are is not known any more. What they were
    /// on average still is.
    pub fn break_off(&mut self) {
        self.readings.clear();
        self.truths.clear();
        self.persistence = None;
    }

    /// Forgets everything, as if the symbol were new.
    pub fn clear(&mut self) {
        self.break_off();
        self.average = Average::default();
    }

    /// Takes the next step. Returns what came true for the step one horizon earlier; `None` where
    /// that step or what the truth is made of is missing.
    pub fn step(&mut self, baselines: &Baselines, reading: Reading) -> Option<f64> {
        let Reading { value, after_gap, patched } = reading;
        if after_gap {
            self.break_off();
        }
        let horizon = baselines.horizon_steps?;
        let due = if self.readings.len() < horizon { None } else { self.readings.pop_front() };
        self.readings.push_back(value);
        let before = due.flatten();
        self.persistence = baselines.truth.persistence_of_readings(before, value);
        let truth = baselines.truth.between_readings(before, value);
        self.learn(baselines, truth.filter(|truth| !patched && truth.is_finite()));
        due.and(truth)
    }

    fn learn(&mut self, baselines: &Baselines, truth: Option<f64>) {
        if let (Some(decay), Some(truth)) = (baselines.decay, truth) {
            self.average.take(truth, decay);
        }
        if let Some(lag) = baselines.lag {
            if self.truths.len() > lag {
                self.truths.pop_front();
            }
            self.truths.push_back(truth);
        }
    }

    /// The forecasts at the newest step, whose window ends with these rows, oldest first and in two
    /// pieces: as many as [`Baselines::rows`] says. None at all where the steps do not reach back
    /// far enough for persistence.
    pub fn forecasts(&self, baselines: &Baselines, rows: [&[f32]; 2]) -> BaselineForecasts {
        let Some(persistence) = self.persistence else { return [None; BASELINES] };
        let average = (self.average.weight > 0.0).then_some(self.average.mean);
        let lag = baselines.lag.filter(|lag| self.truths.len() > *lag);
        let seasonal = lag.and_then(|_| self.truths.front().copied().flatten());
        baselines.forecasts(persistence, average, seasonal, rows)
    }
}

impl Average {
    fn take(&mut self, truth: f64, decay: f64) {
        let weight = self.weight * decay + 1.0;
        let mean = self.mean + (truth - self.mean) / weight;
        // The distance of two finite numbers may not be one.
        if mean.is_finite() {
            *self = Self { mean, weight };
        }
    }
}
