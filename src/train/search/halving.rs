//! Which trials get how many epochs.
//!
//! Owns the rungs and who goes on. Promises that equal figures give equal survivors, that the first
//! trial, which is the configuration that is varied, reaches the last rung, and that a trial
//! without a figure goes on nowhere. Never fits anything.

use super::settings::{Method, Settings};

/// A round of fits with the same share of the epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Counted from 1.
    pub number: usize,
    /// The epochs of a configuration are divided by this.
    pub divisor: usize,
}

impl Rung {
    /// How many epochs a trial with so many has here.
    pub fn epochs(self, whole: usize) -> usize {
        whole.div_ceil(self.divisor)
    }
}

/// The rungs of a search of so many trials over a configuration with so many epochs.
pub(super) fn rungs(settings: &Settings, trials: usize, epochs: usize) -> Vec<Rung> {
    let reduction = settings.reduction;
    let mut divisors = vec![1_usize];
    if settings.method == Method::Halving {
        let mut left = trials;
        while let Some(divisor) = divisors.last().and_then(|last| last.checked_mul(reduction)) {
            left = left.div_ceil(reduction);
            if epochs / divisor < settings.epochs_min || (left == 1 && divisors.len() > 1) {
                break;
            }
            divisors.push(divisor);
        }
    }
    let rungs = divisors.into_iter().rev().enumerate();
    rungs.map(|(at, divisor)| Rung { number: at + 1, divisor }).collect()
}

/// The trials that go on, in order: the best of these by their figures, where less is better, one
/// of `reduction`, and the first trial.
pub(super) fn survivors(figures: &[(usize, Option<f64>)], reduction: usize) -> Vec<usize> {
    let mut known: Vec<_> =
        figures.iter().filter_map(|(trial, figure)| Some((*trial, (*figure)?))).collect();
    known.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    let count = figures.len().div_ceil(reduction);
    let is_first = |(at, one): &(usize, &(usize, f64))| *at < count || one.0 == 1;
    let chosen = known.iter().enumerate().filter(is_first);
    let mut chosen: Vec<_> = chosen.map(|(_, (trial, _))| *trial).collect();
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::train::config::schedule::Control;

    fn settings(method: Method) -> Settings {
        Settings {
            base: PathBuf::new(),
            method,
            trials_max: 30,
            seconds_max: 0,
            seed: 1,
            folds: 3,
            control: Control::None,
            output: PathBuf::new(),
            seals: false,
            reduction: 3,
            epochs_min: 10,
            space: Vec::new(),
        }
    }

    #[test]
    fn rungs_grow_to_all_epochs() {
        let divisors = |method, trials, epochs| -> Vec<usize> {
            let rungs = rungs(&settings(method), trials, epochs);
            assert!(rungs.iter().enumerate().all(|(at, rung)| rung.number == at + 1));
            rungs.iter().map(|rung| rung.divisor).collect()
        };
        assert_eq!(divisors(Method::Random, 30, 100), [1]);
        assert_eq!(divisors(Method::Halving, 30, 100), [9, 3, 1]);
        assert_eq!(divisors(Method::Halving, 30, 80), [3, 1], "80 / 9 are fewer than 10");
        assert_eq!(divisors(Method::Halving, 30, 20), [1]);
        assert_eq!(divisors(Method::Halving, 4, 1000), [3, 1], "two are left");
        assert_eq!([9, 3, 1].map(|divisor| Rung { number: 1, divisor }.epochs(100)), [12, 34, 100]);
    }

    #[test]
    fn the_best_go_on_and_so_does_the_first() {
        let figures = [(1, Some(9.0)), (2, Some(1.0)), (3, None), (4, Some(3.0)), (5, Some(1.0))];
        assert_eq!(survivors(&figures, 3), [1, 2, 5]);
        assert_eq!(survivors(&figures, 5), [1, 2], "of equals the earlier one");
        assert_eq!(survivors(&[(1, None), (2, None)], 2), [0; 0]);
    }
}
