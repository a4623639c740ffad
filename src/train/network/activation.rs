//! The nonlinear functions of the layers and their derivatives.
//!
//! Owns: `sigmoid` and `tanh` in arithmetic that compilers turn into vector instructions on any
//! target (no library call, no branch, no table), and the choice a dense layer has.
//!
//! Promises: absolute error below 1.2e-7 against the exact functions (two units in the last place
//! of values near one), `tanh` odd to the bit and accurate in relation to small arguments, results
//! within [0, 1] and [-1, 1], and NaN stays NaN, so that a diverging fit is seen. Only additions,
//! multiplications, one division and integer shifts are used: the same bits on every machine.
//!
//! Never: fuses a multiplication with an addition, which would make the bits depend on the target.

/// What a dense layer applies to its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// The sum itself.
    Linear,
    /// max(0, x)
    Relu,
    /// Hyperbolic tangent, in (-1, 1).
    Tanh,
    /// Logistic function, in (0, 1).
    Sigmoid,
}

impl Activation {
    /// Replaces each sum by the function's value.
    pub(crate) fn apply(self, values: &mut [f32]) {
        match self {
            Self::Linear => {}
            // Written so that NaN is kept, unlike `max`.
            Self::Relu => values.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v }),
            Self::Tanh => values.iter_mut().for_each(|v| *v = tanh(*v)),
            Self::Sigmoid => values.iter_mut().for_each(|v| *v = sigmoid(*v)),
        }
    }

    /// Multiplies each gradient by the derivative, given the function's own values.
    pub(crate) fn scale_gradient(self, values: &[f32], gradient: &mut [f32]) {
        let pairs = gradient.iter_mut().zip(values);
        match self {
            Self::Linear => {}
            Self::Relu => pairs.for_each(|(g, &v)| *g = if v > 0.0 { *g } else { 0.0 }),
            Self::Tanh => pairs.for_each(|(g, &v)| *g *= 1.0 - v * v),
            Self::Sigmoid => pairs.for_each(|(g, &v)| *g *= v * (1.0 - v)),
        }
    }
}

/// 1 / (1 + e^-x)
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    // Beyond 87 the result is 0 or 1 and the exponential would leave the range of f32.
    let (scale, rest) = exponential(-x.clamp(-87.0, 87.0));
    1.0 / (1.0 + (rest * scale + scale))
}

/// Hyperbolic tangent, as (e^2a - 1) / (e^2a + 1) for a = |x|.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    // Beyond 9.02 the nearest f32 is 1.
    let (scale, rest) = exponential(2.0 * x.abs().clamp(0.0, 9.1));
    // e^2a - 1 without the cancellation that would cost small arguments their digits.
    let minus_one = rest * scale + (scale - 1.0);
    (minus_one / (minus_one + 2.0)).copysign(x)
}

/// e^x for an x of at most 0; below -87 the result is that of -87, which is as good as 0.
#[inline(always)]
pub(crate) fn exp_of_negative(x: f32) -> f32 {
    let (scale, rest) = exponential(x.clamp(-87.0, 0.0));
    rest * scale + scale
}

/// e^x as `(2^n, e^r - 1)` with x = n ln 2 + r and |r| at most ln 2 / 2, so that the caller can put
/// the parts together as its own rounding wants. |x| is at most 87.
#[inline(always)]
fn exponential(x: f32) -> (f32, f32) {
    // Adding 1.5 * 2^23 leaves no room for a fraction: the sum is rounded to a whole number, which
    // then stands in the low bits of the significand.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, of which the first has so few bits that n times it is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    // n moved into the exponent field; the other bits of ROUND are shifted out.
    let scale = f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    // Taylor's series to the seventh power: the next term is below 6e-9 of the sum.
    let series = 1.0 / 5040.0;
    let series = series * r + 1.0 / 720.0;
    let series = series * r + 1.0 / 120.0;
    let series = series * r + 1.0 / 24.0;
    let series = series * r + 1.0 / 6.0;
    let series = series * r + 0.5;
    (scale, series * r * r + r)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every f32 pattern is too many; this walks from -100 to 100 in uneven steps of about 1e-4.
    fn arguments() -> impl Iterator<Item = f32> {
        (-1_000_000..=1_000_000_i32).map(|k| k as f32 * 1.000_07e-4)
    }

    #[test]
    fn sigmoid_is_within_1_2e_7_of_the_exact_function() {
        for x in arguments() {
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            let error = (f64::from(sigmoid(x)) - exact).abs();
            assert!(error < 1.2e-7, "sigmoid({x}) is off by {error}");
            assert!((0.0..=1.0).contains(&sigmoid(x)), "sigmoid({x}) = {}", sigmoid(x));
        }
    }

    #[test]
    fn tanh_is_within_1_2e_7_of_the_exact_function_and_odd() {
        for x in arguments() {
            let exact = f64::from(x).tanh();
            let error = (f64::from(tanh(x)) - exact).abs();
            assert!(error < 1.2e-7, "tanh({x}) is off by {error}");
            assert!(tanh(x).abs() <= 1.0, "tanh({x}) = {}", tanh(x));
            assert_eq!(tanh(-x).to_bits(), (-tanh(x)).to_bits());
        }
    }

    #[test]
    fn tanh_keeps_the_digits_of_small_arguments() {
        for k in 1..100_000_i32 {
            let x = k as f32 * 1e-7;
            let exact = f64::from(x).tanh();
            let relative = (f64::from(tanh(x)) - exact).abs() / exact;
            assert!(relative < 2e-7, "tanh({x}) is off by {relative} of itself");
        }
    }

    #[test]
    fn exponentials_of_negative_numbers_are_exact_to_their_size() {
        for x in arguments().filter(|x| (-87.0..=0.0).contains(x)) {
            let exact = f64::from(x).exp();
            let relative = (f64::from(exp_of_negative(x)) - exact).abs() / exact;
            assert!(relative < 3e-7, "e^{x} is off by {relative} of itself");
        }
        assert_eq!(exp_of_negative(0.0), 1.0);
        assert!(exp_of_negative(f32::NEG_INFINITY) < 1e-37);
        assert!(exp_of_negative(f32::NAN).is_nan());
    }

    #[test]
    fn extremes_saturate_and_nan_stays_nan() {
        assert_eq!(tanh(f32::INFINITY), 1.0);
        assert_eq!(tanh(f32::NEG_INFINITY), -1.0);
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        assert!(sigmoid(f32::NEG_INFINITY) < 1e-37);
        assert_eq!(sigmoid(0.0), 0.5);
        assert!(tanh(f32::NAN).is_nan());
        assert!(sigmoid(f32::NAN).is_nan());
        let mut values = [f32::NAN, -1.0, 2.0];
        Activation::Relu.apply(&mut values);
        assert!(values[0].is_nan());
        assert_eq!(values[1..], [0.0, 2.0]);
    }
}
