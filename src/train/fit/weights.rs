//! How much each example counts.
//!
//! Owns: the weights of the training part, by age, class and symbol, and the loss of a batch whose
//! examples have weights.
//!
//! Promises: weights are above 0 and their mean is 1, so that a rate means what it means without
//! them. The loss of a batch is the sum of each example's loss times its weight, over the count of
//! labels, as in Keras with `sample_weight`; its gradient is that of this sum. Where nothing is
//! weighted, there are no weights and no other bits.
//!
//! Never: weighs the validation part: two runs with different weights are compared by what it says.

use std::collections::BTreeMap;

use super::loss::Loss;
use crate::core::domain::{DurationNanos, UnixNanos};

/// Nanoseconds of a day.
const DAY_NANOS: f64 = 86_400e9;

/// What the weight of an example depends on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WeightRule {
    /// An example that is so much older than the newest one counts half as much; `None`: age does
    /// not matter.
    pub half_life_days: Option<f64>,
    /// Whether both classes of a probability count as much as each other in sum.
    pub balances_classes: bool,
    /// The factor of examples whose event came; `None` for 1.
    pub event: Option<f64>,
    /// Whether all symbols count as much as each other in sum.
    pub balances_symbols: bool,
    /// Factors of symbols; those that are not named have 1.
    pub symbols: BTreeMap<String, f64>,
}

/// An example of the training part.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Weighed<'a> {
    pub(in super::super) symbol: &'a str,
    /// The time of its newest row.
    pub(in super::super) as_of: UnixNanos,
    /// In model units; of a probability 1 where the event came, otherwise 0.
    pub(in super::super) label: f32,
}

impl WeightRule {
    /// Whether every example counts as much as every other.
    pub fn is_even(&self) -> bool {
        *self == Self::default()
    }

    /// The first symbol with a factor that is none of these.
    pub fn unknown_symbol<'a>(&'a self, symbols: &[String]) -> Option<&'a str> {
        let mut named = self.symbols.keys();
        named.find(|name| !symbols.contains(name)).map(String::as_str)
    }

    /// The weights of these examples, in their order; none where all count the same.
    #[expect(clippy::cast_possible_truncation, reason = "weights are 32-bit floats")]
    pub(in super::super) fn of<'a>(&self, examples: &[Weighed<'a>]) -> Vec<f32> {
        if self.is_even() || examples.is_empty() {
            return Vec::new();
        }
        let newest = examples.iter().map(|example| example.as_of).max();
        let half_life = newest.zip(self.half_life_days);
        let is_event = |example: &Weighed<'_>| example.label > 0.5;
        let classes = Shares::of(examples.iter().map(is_event));
        let symbols = Shares::of(examples.iter().map(|example| example.symbol));
        let weight = |example: &Weighed<'a>| {
            let mut weight = self.symbols.get(example.symbol).copied().unwrap_or(1.0);
            if let Some((newest, half_life_days)) = half_life {
                let age = newest.since(example.as_of).unwrap_or(DurationNanos::MAX);
                weight *= libm::exp2(-(age.as_nanos() as f64) / DAY_NANOS / half_life_days);
            }
            if let Some(factor) = self.event.filter(|_| is_event(example)) {
                weight *= factor;
            }
            if self.balances_classes {
                weight /= classes.share(&is_event(example));
            }
            if self.balances_symbols {
                weight /= symbols.share(&example.symbol);
            }
            weight
        };
        let weights: Vec<f64> = examples.iter().map(weight).collect();
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        // An age of more than a hundred half-lives is no reason for a weight of 0.
        weights.iter().map(|weight| ((weight / mean) as f32).max(f32::MIN_POSITIVE)).collect()
    }
}

/// How often each value occurs.
struct Shares<T> {
    counts: BTreeMap<T, usize>,
    total: usize,
}

impl<T: Ord> Shares<T> {
    fn of(values: impl Iterator<Item = T>) -> Self {
        let mut shares = Self { counts: BTreeMap::new(), total: 0 };
        for value in values {
            *shares.counts.entry(value).or_default() += 1;
            shares.total += 1;
        }
        shares
    }

    /// The share of a value that occurs.
    fn share(&self, value: &T) -> f64 {
        let count = self.counts.get(value).copied().unwrap_or(self.total);
        count as f64 / self.total as f64
    }
}

/// As [`Loss::gradient`], with a weight for each example; without weights, that itself.
pub(in super::super) fn gradient(
    loss: Loss,
    values: &[f32],
    targets: &[f32],
    weights: &[f32],
    count: usize,
    gradient: &mut Vec<f32>,
) -> f64 {
    let even = loss.gradient(values, targets, count, gradient);
    if weights.is_empty() {
        return even;
    }
    // An example may have several values, and as many or fewer labels.
    let [values_each, targets_each] = [values.len(), targets.len()].map(|n| n / weights.len());
    for (of_example, weight) in gradient.chunks_exact_mut(values_each).zip(weights) {
        of_example.iter_mut().for_each(|slope| *slope *= weight);
    }
    let examples = values.chunks_exact(values_each).zip(targets.chunks_exact(targets_each));
    let losses = examples.map(|(values, targets)| loss.sum(values, targets));
    losses.zip(weights).map(|(loss, weight)| loss * f64::from(*weight)).sum::<f64>() / count as f64
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    const DAY: i64 = DAY_NANOS as i64;

    fn example(symbol: &str, day: i64, label: f32) -> Weighed<'_> {
        Weighed { symbol, as_of: UnixNanos::from_nanos(day * DAY), label }
    }

    fn assert_near(weights: &[f32], expected: &[f64]) {
        assert_eq!(weights.len(), expected.len());
        let near = |(weight, expected): (&f32, &f64)| (f64::from(*weight) - expected).abs() < 1e-6;
        assert!(weights.iter().zip(expected).all(near), "{weights:?}, not {expected:?}");
    }

    #[test]
    fn nothing_is_weighed_without_a_rule() {
        assert!(WeightRule::default().of(&[example("A", 0, 1.0)]).is_empty());
    }

    #[test]
    fn a_weight_halves_with_every_half_life() {
        let rule = WeightRule { half_life_days: Some(10.0), ..WeightRule::default() };
        let examples = [example("A", 80, 0.0), example("B", 100, 0.0), example("A", 90, 0.0)];
        // A quarter, one and a half; their mean is 7/12.
        let expected = [0.25, 1.0, 0.5].map(|weight| weight * 12.0 / 7.0);
        assert_near(&rule.of(&examples), &expected);
        let ages = [example("A", 0, 0.0), example("A", 30_000, 0.0)];
        let [old, new] = rule.of(&ages)[..] else { panic!("two weights") };
        assert!(old > 0.0 && (new - 2.0).abs() < 1e-6, "{old}, {new}");
    }

    /// `class_weight="balanced"` of scikit-learn: count / (classes * count of the class).
    #[test]
    fn classes_and_symbols_are_balanced() {
        let rule = WeightRule { balances_classes: true, ..WeightRule::default() };
        let labels = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        let examples = labels.map(|label| example("A", 0, label));
        let expected = labels.map(|label| if label == 1.0 { 8.0 / 4.0 } else { 8.0 / 12.0 });
        assert_near(&rule.of(&examples), &expected);

        let rule = WeightRule { balances_symbols: true, ..WeightRule::default() };
        let symbols = ["A", "B", "A", "A"];
        let examples = symbols.map(|symbol| example(symbol, 0, 0.0));
        assert_near(&rule.of(&examples), &[2.0 / 3.0, 2.0, 2.0 / 3.0, 2.0 / 3.0]);
    }

    #[test]
    fn factors_are_those_of_their_symbol_and_event() {
        let symbols = BTreeMap::from([("B".to_owned(), 3.0)]);
        let rule = WeightRule { symbols, event: Some(2.0), ..WeightRule::default() };
        let examples = [example("A", 0, 0.0), example("B", 0, 0.0), example("B", 0, 1.0)];
        // 1, 3 and 6, whose mean is 10/3.
        assert_near(&rule.of(&examples), &[0.3, 0.9, 1.8]);
        let known = ["A".to_owned(), "B".to_owned()];
        assert_eq!(rule.unknown_symbol(&known), None);
        assert_eq!(rule.unknown_symbol(&known[..1]), Some("B"));
    }

    /// What `tests/reference/fitting_reference.py` writes.
    #[derive(Deserialize)]
    struct Reference {
        weighted: WeightedBatch,
    }

    #[derive(Deserialize)]
    struct WeightedBatch {
        values: Vec<f32>,
        targets: Vec<f32>,
        weights: Vec<f32>,
        squared_error: (f64, Vec<f32>),
        cross_entropy: (f64, Vec<f32>),
    }

    #[test]
    fn weighted_losses_and_gradients_are_those_of_keras() {
        let text = include_str!("../../../tests/data/fitting_reference.json");
        let Reference { weighted } = serde_json::from_str(text).unwrap();
        let WeightedBatch { values, targets, weights, squared_error, cross_entropy } = weighted;
        for (loss, (expected, slopes)) in
            [(Loss::MeanSquaredError, squared_error), (Loss::BinaryCrossEntropy, cross_entropy)]
        {
            let mut ours = Vec::new();
            let sum = gradient(loss, &values, &targets, &weights, values.len(), &mut ours);
            assert!((sum - expected).abs() < 1e-6, "{loss:?}: {sum}, Keras has {expected}");
            for (ours, theirs) in ours.iter().zip(&slopes) {
                assert!((ours - theirs).abs() < 1e-6, "{loss:?}: {ours}, Keras has {theirs}");
            }
        }
    }

    #[test]
    fn loss_and_gradient_of_a_batch_are_weighted() {
        let mut weighted = Vec::new();
        let (values, targets) = ([1.0, -0.5, 2.0], [0.5, 0.5, 0.0]);
        let loss = Loss::MeanSquaredError;
        let sum = gradient(loss, &values, &targets, &[2.0, 0.5, 1.0], 4, &mut weighted);
        assert_eq!(sum, (2.0 * 0.25 + 0.5 * 1.0 + 4.0) / 4.0);
        assert_eq!(weighted, [0.5, -0.25, 1.0]);
        // Two values of each example.
        let sum = gradient(loss, &values[..2], &targets[..2], &[3.0], 2, &mut weighted);
        assert_eq!((sum, &weighted[..]), (3.0 * 1.25 / 2.0, &[1.5, -3.0][..]));
        let even = gradient(loss, &values, &targets, &[], 3, &mut weighted);
        assert_eq!(even, loss.gradient(&values, &targets, 3, &mut Vec::new()));
        let nan = gradient(loss, &[f32::NAN], &[1.0], &[1.0], 1, &mut weighted);
        assert!(nan.is_nan());
    }
}
