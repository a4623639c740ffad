//! The rate of every step of the optimiser.
//!
//! Owns: the schedules and what each gives.
//!
//! Promises: a rate follows from the recipe, the place of the step and the monitored values of the
//! epochs before it, so a fit that goes on takes the steps of one that never stopped. `step` is
//! `StepLR` of PyTorch, and `cosine` is its `CosineAnnealingLR` and `CosineDecay` of Keras, once an
//! epoch; `plateau` is `ReduceLROnPlateau` of Keras; the warm-up is `LinearLR` of PyTorch, once a
//! step. `tests/reference/fitting_reference.py` makes the numbers that hold this.
//!
//! Never: keeps a count of its own.

/// How the rate changes from epoch to epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RateSchedule {
    /// Epochs in which the rate rises, step by step, from almost 0 to the recipe's. What follows
    /// counts epochs from their end.
    pub warm_up_epochs: usize,
    /// What follows.
    pub shape: RateShape,
    /// The share of the recipe's rate below which no schedule goes.
    pub floor: f64,
}

/// What follows the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RateShape {
    /// The recipe's rate.
    #[default]
    Constant,
    /// Times `factor` after every so many epochs.
    Step {
        /// Epochs with one rate.
        every_epochs: usize,
        /// Above 0 and below 1.
        factor: f64,
    },
    /// Along half a wave of the cosine, down to the floor.
    Cosine {
        /// Epochs until it is there.
        epochs: usize,
    },
    /// Times `factor` once the monitored value has not improved for so many epochs.
    Plateau {
        /// Epochs without an improvement.
        patience: usize,
        /// Above 0 and below 1.
        factor: f64,
        /// How much lower than the lowest one before a value must be.
        min_delta: f64,
        /// Epochs after a reduction that are not counted.
        cooldown_epochs: usize,
    },
}

/// The rates of one epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct EpochRate {
    /// At its end.
    rate: f64,
    /// In a warm-up: epochs of it that are done, and all of them.
    warm_up: Option<(usize, usize)>,
}

impl RateSchedule {
    /// The rates of the epoch that follows those with the monitored values `before`, which began
    /// with the schedule.
    pub(super) fn epoch(&self, base: f64, before: &[f64]) -> EpochRate {
        let Some(after) = before.get(self.warm_up_epochs..) else {
            return EpochRate { rate: base, warm_up: Some((before.len(), self.warm_up_epochs)) };
        };
        let floor = base * self.floor;
        let rate = match self.shape {
            RateShape::Constant => base,
            RateShape::Step { every_epochs, factor } => {
                let times = after.len() / every_epochs;
                (0..times).fold(base, |rate, _| floor.max(rate * factor))
            }
            RateShape::Cosine { epochs } => {
                let share = after.len().min(epochs) as f64 / epochs as f64;
                let wave = f64::midpoint(1.0, libm::cos(std::f64::consts::PI * share));
                floor + (base - floor) * wave
            }
            RateShape::Plateau { patience, factor, min_delta, cooldown_epochs } => {
                let mut plateau = Plateau { rate: base, best: f64::INFINITY, wait: 0, cooldown: 0 };
                for value in after {
                    plateau.see(*value, patience, min_delta, cooldown_epochs, |rate| {
                        floor.max(rate * factor)
                    });
                }
                plateau.rate
            }
        };
        EpochRate { rate, warm_up: None }
    }
}

impl EpochRate {
    /// The rate of a step: `at` of `steps` in this epoch, counted from 0.
    pub(super) fn of_step(self, at: usize, steps: usize) -> f64 {
        match self.warm_up {
            None => self.rate,
            Some((done, epochs)) => {
                let place = done as f64 + (at + 1) as f64 / steps as f64;
                self.rate * (place / epochs as f64)
            }
        }
    }
}

/// `ReduceLROnPlateau`, step for step.
struct Plateau {
    rate: f64,
    best: f64,
    wait: usize,
    cooldown: usize,
}

impl Plateau {
    fn see(
        &mut self,
        value: f64,
        patience: usize,
        min_delta: f64,
        cooldown_epochs: usize,
        reduced: impl Fn(f64) -> f64,
    ) {
        if self.cooldown > 0 {
            self.cooldown -= 1;
            self.wait = 0;
        }
        if value + min_delta < self.best {
            (self.best, self.wait) = (value, 0);
        } else if self.cooldown == 0 {
            self.wait += 1;
            let rate = reduced(self.rate);
            if self.wait >= patience && rate < self.rate {
                self.rate = rate;
                (self.cooldown, self.wait) = (cooldown_epochs, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// What `tests/reference/fitting_reference.py` writes.
    #[derive(Deserialize)]
    struct Reference {
        rate: f64,
        step: Vec<f64>,
        cosine: Vec<f64>,
        warm_up: Vec<f64>,
        plateau: Vec<PlateauRun>,
    }

    #[derive(Deserialize)]
    struct PlateauRun {
        patience: usize,
        factor: f64,
        min_delta: f64,
        cooldown: usize,
        floor: f64,
        values: Vec<f64>,
        rates: Vec<f64>,
    }

    fn reference() -> Reference {
        let text = include_str!("../../../tests/data/fitting_reference.json");
        serde_json::from_str(text).unwrap()
    }

    fn schedule(shape: RateShape) -> RateSchedule {
        RateSchedule { shape, ..RateSchedule::default() }
    }

    fn rates(schedule: RateSchedule, base: f64, count: usize) -> Vec<f64> {
        let values = vec![1.0; count];
        (0..count).map(|done| schedule.epoch(base, &values[..done]).of_step(0, 1)).collect()
    }

    /// Frameworks keep rates as 32-bit floats in places.
    fn assert_near(ours: &[f64], theirs: &[f64], what: &str) {
        assert_eq!(ours.len(), theirs.len(), "{what}");
        for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            let near = (ours - theirs).abs() <= 1e-6 * theirs.abs() + 1e-12;
            assert!(near, "{what} {at}: {ours}, the reference has {theirs}");
        }
    }

    #[test]
    fn schedules_are_those_of_the_frameworks() {
        let Reference { rate, step, cosine, warm_up, plateau } = reference();
        let of_step = schedule(RateShape::Step { every_epochs: 3, factor: 0.5 });
        assert_near(&rates(of_step, rate, step.len()), &step, "step");
        let of_cosine = schedule(RateShape::Cosine { epochs: 7 });
        let of_cosine = RateSchedule { floor: 0.1, ..of_cosine };
        assert_near(&rates(of_cosine, rate, cosine.len()), &cosine, "cosine");
        // Two epochs of five steps, then constant.
        let of_warm_up = RateSchedule { warm_up_epochs: 2, ..RateSchedule::default() };
        let ours: Vec<f64> = (0..warm_up.len())
            .map(|at| of_warm_up.epoch(rate, &[1.0; 9][..at / 5]).of_step(at % 5, 5))
            .collect();
        assert_near(&ours, &warm_up, "warm-up");
        assert!(plateau.len() >= 3 && plateau.iter().any(|run| run.cooldown > 0));
        for run in plateau {
            let shape = RateShape::Plateau {
                patience: run.patience,
                factor: run.factor,
                min_delta: run.min_delta,
                cooldown_epochs: run.cooldown,
            };
            let schedule = RateSchedule { floor: run.floor, ..schedule(shape) };
            let ours: Vec<f64> = (1..=run.values.len())
                .map(|done| schedule.epoch(rate, &run.values[..done]).of_step(0, 1))
                .collect();
            assert_near(&ours, &run.rates, "plateau");
        }
    }

    #[test]
    fn a_constant_rate_is_the_recipes_bit_for_bit() {
        assert_eq!(rates(RateSchedule::default(), 0.003, 4), [0.003; 4]);
    }

    #[test]
    fn epochs_are_counted_from_the_end_of_the_warm_up() {
        let shape = RateShape::Step { every_epochs: 2, factor: 0.1 };
        let warm = RateSchedule { warm_up_epochs: 3, shape, floor: 0.05 };
        let ours = rates(warm, 1.0, 10);
        assert_near(&ours[..3], &[1.0 / 3.0, 2.0 / 3.0, 1.0], "warm-up");
        assert_near(&ours[3..], &[1.0, 1.0, 0.1, 0.1, 0.05, 0.05, 0.05], "then steps to a floor");
    }
}
