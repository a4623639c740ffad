//! Dropout masks.
//!
//! Owns: a mask: for each value either 0 or 1 / (1 - rate) ("inverted dropout", so that nothing
//! needs scaling when the network is used).
//!
//! Promises: a mask is drawn from the stream it is given, one number a value, and from nothing
//! else. Rate 0 draws nothing and multiplies nothing. A recurrent mask is one `[B, H]` for all
//! steps of a batch: it is drawn once and applied to the state before each step, and all four
//! gates see the same masked state. That is the dropout with tied weights of Gal and Ghahramani
//! (2016), and what Keras 3.0 to 3.7 does; Keras from 3.8 on draws a mask for each gate.
//!
//! Never: is active outside of training; the caller clears it.

use crate::train::random::Random;

/// A mask over the output of one layer.
#[derive(Clone, Debug)]
pub(crate) struct Dropout {
    /// Share of values set to zero, in [0, 1).
    rate: f32,
    /// Factors; empty while inactive.
    factors: Vec<f32>,
}

impl Dropout {
    /// An inactive mask with room for `capacity` values.
    pub(crate) fn new(rate: f32, capacity: usize) -> Self {
        let capacity = if rate > 0.0 { capacity } else { 0 };
        Self { rate, factors: Vec::with_capacity(capacity) }
    }

    /// Draws a mask for `count` values.
    pub(crate) fn draw(&mut self, count: usize, random: &mut Random) {
        self.clear();
        if self.rate > 0.0 {
            let kept = 1.0 / (1.0 - self.rate);
            let rate = self.rate;
            self.factors
                .extend((0..count).map(|_| if random.unit_f32() < rate { 0.0 } else { kept }));
        }
    }

    /// Makes the mask inactive.
    pub(crate) fn clear(&mut self) {
        self.factors.clear();
    }

    /// Takes these factors instead of drawing some.
    #[cfg(test)]
    pub(crate) fn set(&mut self, factors: &[f32]) {
        factors.clone_into(&mut self.factors);
    }

    /// The factors, or `None` while inactive.
    pub(crate) fn factors(&self) -> Option<&[f32]> {
        (!self.factors.is_empty()).then_some(&self.factors)
    }
}

/// `values *= factors`, element by element.
pub(crate) fn scale(values: &mut [f32], factors: &[f32]) {
    for (value, factor) in values.iter_mut().zip(factors) {
        *value *= factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::random::Purpose;

    #[test]
    fn a_mask_drops_its_share_and_keeps_the_expectation() {
        let mut random = Random::new(1, Purpose::Dropout);
        let mut dropout = Dropout::new(0.3, 40_000);
        dropout.draw(40_000, &mut random);
        let factors = dropout.factors().unwrap();
        let dropped = factors.iter().filter(|&&f| f == 0.0).count();
        // Four standard errors of a binomial share: 4 * sqrt(0.21 * 40000) = 367.
        assert!(dropped.abs_diff(12_000) < 367, "{dropped} of 40000 dropped");
        assert!(factors.iter().all(|&f| f == 0.0 || f == 1.0 / (1.0 - 0.3)));
    }

    #[test]
    fn rate_zero_draws_nothing() {
        let mut random = Random::new(1, Purpose::Dropout);
        let mut untouched = random.clone();
        let mut dropout = Dropout::new(0.0, 10);
        dropout.draw(10, &mut random);
        assert_eq!(dropout.factors(), None);
        assert_eq!(random.bits(), untouched.bits());
    }
}
