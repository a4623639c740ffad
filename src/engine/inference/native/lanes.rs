//! Eight lanes of `f32`, and the functions of a recurrent cell over them.
//!
//! Owns the arithmetic of the native runtime. Promises that every operation is one IEEE operation
//! (or one operation on bits) per lane, in an order that the source fixes, so that all processors
//! give the same bits, whether or not they have vector registers. Of NaN, only that it is one is
//! promised: processors and compilers choose its sign and payload. `sigmoid` and `tanh` are within
//! 1e-7 of the exact functions, and NaN stays NaN. Never names an instruction: the compiler picks
//! them for the processor that the caller was compiled for.

use std::f32::consts::LOG2_E;

/// Eight numbers in memory.
pub(super) type Eight = [f32; 8];

/// Eight numbers in registers.
#[derive(Clone, Copy)]
pub(super) struct Lanes(Eight);

/// 1.5 * 2^23: a sum with it has no room for a fraction, so it is rounded to a whole number, which
/// is then in the low bits of the significand.
const ROUND: f32 = 12_582_912.0;

/// ln 2 in two parts. The first has so few bits that a whole number times it is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// The coefficients of (e^r - 1 - r) / r^2 for |r| up to ln 2 / 2, the highest power first.
/// They are those of `expf` in the Cephes library.
const SERIES: [f32; 6] =
    [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];

/// The largest argument of an exponential inside a gate. Two of them multiply to e^84, which is
/// below the largest `f32`.
const GATE_MAX: f32 = 42.0;

/// The largest argument of the exponential of a `sigmoid` that is no gate.
const ALONE_MAX: f32 = 87.0;

// A loop, and not `array::from_fn`: a closure over lanes may stay a function of its own. It would
// then be compiled for the plainest processor and get its lanes through memory.
macro_rules! each {
    ($at:ident => $value:expr) => {{
        let mut lanes = [0.0_f32; 8];
        let mut $at = 0;
        while $at < 8 {
            lanes[$at] = $value;
            $at += 1;
        }
        Lanes(lanes)
    }};
}

impl Lanes {
    /// Zeros.
    pub(super) const ZERO: Self = Self([0.0; 8]);

    #[inline(always)]
    pub(super) fn splat(value: f32) -> Self {
        Self([value; 8])
    }

    #[inline(always)]
    pub(super) fn load(from: &Eight) -> Self {
        Self(*from)
    }

    #[inline(always)]
    pub(super) fn store(self, to: &mut Eight) {
        *to = self.0;
    }

    /// `self + a * b`, rounded once.
    #[inline(always)]
    pub(super) fn plus_product(self, a: Self, b: Self) -> Self {
        each!(at => a.0[at].mul_add(b.0[at], self.0[at]))
    }

    #[inline(always)]
    pub(super) fn plus(self, other: Self) -> Self {
        each!(at => self.0[at] + other.0[at])
    }

    #[inline(always)]
    pub(super) fn minus(self, other: Self) -> Self {
        each!(at => self.0[at] - other.0[at])
    }

    #[inline(always)]
    pub(super) fn times(self, other: Self) -> Self {
        each!(at => self.0[at] * other.0[at])
    }

    #[inline(always)]
    pub(super) fn over(self, other: Self) -> Self {
        each!(at => self.0[at] / other.0[at])
    }

    /// At most `limit`; NaN stays.
    #[inline(always)]
    fn at_most(self, limit: f32) -> Self {
        each!(at => if limit < self.0[at] { limit } else { self.0[at] })
    }

    /// At least `limit`; NaN stays.
    #[inline(always)]
    pub(super) fn at_least(self, limit: f32) -> Self {
        each!(at => if limit > self.0[at] { limit } else { self.0[at] })
    }

    /// -x: no operation of its own where a product follows.
    #[inline(always)]
    fn negated(self) -> Self {
        each!(at => -self.0[at])
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        each!(at => f32::from_bits(self.0[at].to_bits() & 0x7FFF_FFFF))
    }

    /// Flips the signs where `other` is negative.
    #[inline(always)]
    fn signed_as(self, other: Self) -> Self {
        each!(at => f32::from_bits(self.0[at].to_bits() ^ (other.0[at].to_bits() & 0x8000_0000)))
    }

    /// 2^n of a whole number n that was rounded by adding [`ROUND`], which is still in it.
    #[inline(always)]
    fn power_of_two(self) -> Self {
        each!(at => {
            f32::from_bits((self.0[at].to_bits() << 23).wrapping_add(1.0_f32.to_bits()))
        })
    }

    /// e^x as 2^n and e^r - 1, for x = n ln 2 + r and |x| up to 87.
    #[inline(always)]
    fn exponential(self) -> (Self, Self) {
        let rounded = Self::splat(ROUND).plus_product(self, Self::splat(LOG2_E));
        let n = rounded.minus(Self::splat(ROUND));
        let r = self.plus_product(n, Self::splat(-LN_2_HIGH));
        let r = r.plus_product(n, Self::splat(-LN_2_LOW));
        let mut series = Self::splat(SERIES[0]);
        let mut at = 1;
        while at < SERIES.len() {
            series = Self::splat(SERIES[at]).plus_product(series, r);
            at += 1;
        }
        (rounded.power_of_two(), r.plus_product(series, r.times(r)))
    }

    /// e^-x, the argument limited to ±`limit`.
    #[inline(always)]
    fn exp_of_negative(self, limit: f32) -> Self {
        let (scale, rest) = self.at_most(limit).at_least(-limit).negated().exponential();
        scale.plus_product(rest, scale)
    }

    /// 1 + e^-x: what a gate divides by.
    #[inline(always)]
    pub(super) fn divisor(self) -> Self {
        Self::splat(1.0).plus(self.exp_of_negative(GATE_MAX))
    }

    /// e^2|x| - 1 with the sign of x, without the cancellation that would cost small arguments
    /// their digits. See [`Lanes::tanh_of_growth`].
    #[inline(always)]
    pub(super) fn growth(self) -> Self {
        let magnitude = self.magnitude();
        let (scale, rest) = magnitude.plus(magnitude).at_most(GATE_MAX).exponential();
        scale.minus(Self::splat(1.0)).plus_product(rest, scale).signed_as(self)
    }

    /// `tanh(x) / divisor` from the growth of x, with one division. The divisor of a gate makes it
    /// a gated value.
    #[inline(always)]
    pub(super) fn tanh_of_growth(self, divisor: Self) -> Self {
        self.over(divisor.times(self.magnitude().plus(Self::splat(2.0))))
    }

    /// 1 / (1 + e^-x).
    #[inline(always)]
    pub(super) fn sigmoid(self) -> Self {
        let one = Self::splat(1.0);
        one.over(one.plus(self.exp_of_negative(ALONE_MAX)))
    }

    /// Hyperbolic tangent.
    #[inline(always)]
    pub(super) fn tanh(self) -> Self {
        let growth = self.growth();
        growth.over(growth.magnitude().plus(Self::splat(2.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From -100 to 100 in uneven steps of about 1e-4.
    fn arguments() -> impl Iterator<Item = f32> {
        (-1_000_000..=1_000_000_i32).map(|k| k as f32 * 1.000_07e-4)
    }

    fn first(lanes: Lanes) -> f32 {
        lanes.0[0]
    }

    /// The largest distance from an exact function.
    fn error(ours: fn(Lanes) -> Lanes, exact: fn(f64) -> f64) -> f64 {
        let of = |x| (f64::from(first(ours(Lanes::splat(x)))) - exact(f64::from(x))).abs();
        arguments().map(of).fold(0.0, f64::max)
    }

    fn logistic(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    #[test]
    fn sigmoid_and_tanh_are_within_1e_7_of_the_exact_functions() {
        let (sigmoid, tanh) = (error(Lanes::sigmoid, logistic), error(Lanes::tanh, f64::tanh));
        assert!(sigmoid < 1e-7, "sigmoid is off by {sigmoid}");
        assert!(tanh < 1e-7, "tanh is off by {tanh}");
    }

    #[test]
    fn tanh_is_odd_and_keeps_the_digits_of_small_arguments() {
        for k in 1..100_000_i32 {
            let x = k as f32 * 1e-7;
            let (positive, negative) = (Lanes::splat(x).tanh(), Lanes::splat(-x).tanh());
            assert_eq!(first(positive).to_bits(), (-first(negative)).to_bits());
            let exact = f64::from(x).tanh();
            let relative = (f64::from(first(positive)) - exact).abs() / exact;
            assert!(relative < 2.5e-7, "tanh({x}) is off by {relative} of itself");
        }
    }

    #[test]
    fn gates_with_one_division_are_those_with_two() {
        let mut largest = 0.0_f64;
        for k in -300..=300_i32 {
            for j in -300..=300_i32 {
                let (gate, x) = (k as f32 * 0.101, j as f32 * 0.051);
                let ours = Lanes::splat(x).growth().tanh_of_growth(Lanes::splat(gate).divisor());
                let exact = logistic(f64::from(gate)) * f64::from(x).tanh();
                largest = largest.max((f64::from(first(ours)) - exact).abs());
            }
        }
        assert!(largest < 2e-7, "off by {largest}");
    }

    #[test]
    fn extremes_saturate_and_nan_stays_nan() {
        let of = |function: fn(Lanes) -> Lanes, x: f32| first(function(Lanes::splat(x)));
        let infinite = f32::INFINITY;
        assert_eq!([of(Lanes::tanh, infinite), of(Lanes::tanh, -infinite)], [1.0, -1.0]);
        assert_eq!([of(Lanes::sigmoid, infinite), of(Lanes::sigmoid, 0.0)], [1.0, 0.5]);
        assert!(of(Lanes::sigmoid, -infinite) < 1e-37);
        assert!(of(Lanes::tanh, f32::NAN).is_nan());
        assert!(of(Lanes::sigmoid, f32::NAN).is_nan());
        assert!(of(|x| x.at_least(0.0), f32::NAN).is_nan());
        let gated = |x: f32, gate: f32| {
            first(Lanes::splat(x).growth().tanh_of_growth(Lanes::splat(gate).divisor()))
        };
        assert!((0.0..1e-17).contains(&gated(infinite, -infinite)));
        assert_eq!(gated(-infinite, infinite), -1.0);
    }

    #[test]
    fn lanes_do_not_mix() {
        let eight: Eight = std::array::from_fn(|at| at as f32 - 3.5);
        let lanes = Lanes::load(&eight);
        let mut together = [0.0; 8];
        lanes.tanh().store(&mut together);
        for (x, together) in eight.iter().zip(together) {
            assert_eq!(first(Lanes::splat(*x).tanh()).to_bits(), together.to_bits());
        }
    }
}
