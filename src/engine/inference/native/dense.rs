//! One dense layer of the head: `activation(W x + b)` for one window.
//!
//! Owns the packing. Where there are eight outputs or more, eight of them share a broadcast input;
//! where there are fewer, each is a product of eights. Promises a fixed order: four chains of fused
//! products, every fourth input each, and a fixed tree of sums. Never knows more than one window.

use super::lanes::{Eight, Lanes};

/// What follows the sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    Linear,
    Relu,
    Tanh,
    Sigmoid,
}

/// A packed layer.
pub(super) struct Dense {
    inputs: usize,
    outputs: usize,
    activation: Activation,
    /// `[eight outputs][input]`, or `[output][eight inputs]` where there are fewer than eight.
    weights: Vec<Eight>,
    bias: Vec<Eight>,
}

impl Dense {
    /// Packs `weights[input][output]`.
    pub(super) fn pack(
        inputs: usize,
        outputs: usize,
        weights: &[f32],
        bias: &[f32],
        activation: Activation,
    ) -> Self {
        let of = |input: usize, output: usize| {
            if input < inputs && output < outputs { weights[input * outputs + output] } else { 0.0 }
        };
        let eight = |of: &dyn Fn(usize) -> f32| -> Eight { std::array::from_fn(of) };
        let mut packed = Vec::new();
        if outputs < 8 {
            for output in 0..outputs {
                for block in 0..inputs.div_ceil(8) {
                    packed.push(eight(&|lane| of(block * 8 + lane, output)));
                }
            }
        } else {
            for block in 0..outputs.div_ceil(8) {
                for input in 0..inputs {
                    packed.push(eight(&|lane| of(input, block * 8 + lane)));
                }
            }
        }
        let bias = (0..outputs.div_ceil(8))
            .map(|block| eight(&|lane| bias.get(block * 8 + lane).copied().unwrap_or(0.0)))
            .collect();
        Self { inputs, outputs, activation, weights: packed, bias }
    }

    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// The eights that the outputs take.
    pub(super) fn eights(&self) -> usize {
        self.bias.len()
    }

    /// Computes the outputs of one window; what lies behind the last one in its eight means
    /// nothing. That of the inputs is cleared: it may be NaN, which no weight of 0 takes out of a
    /// sum.
    #[inline(always)]
    pub(super) fn run(&self, x: &mut [Eight], out: &mut [Eight]) {
        if self.outputs < 8 {
            let behind = self.inputs % 8;
            if behind > 0 {
                x[self.inputs / 8][behind..].fill(0.0);
            }
            self.run_few(x, out);
        } else {
            self.run_many(x, out);
        }
    }

    #[inline(always)]
    fn run_few(&self, x: &[Eight], out: &mut [Eight]) {
        let blocks = self.inputs.div_ceil(8);
        let x = &x[..blocks];
        let mut sums = [0.0; 8];
        for (sum, weights) in sums.iter_mut().zip(self.weights.chunks_exact(blocks)) {
            let (mut one, mut two, mut three, mut four) =
                (Lanes::ZERO, Lanes::ZERO, Lanes::ZERO, Lanes::ZERO);
            let (weights, rest) = weights.as_chunks::<4>();
            let (x, rest_x) = x.as_chunks::<4>();
            for (weights, x) in weights.iter().zip(x) {
                one = one.plus_product(Lanes::load(&weights[0]), Lanes::load(&x[0]));
                two = two.plus_product(Lanes::load(&weights[1]), Lanes::load(&x[1]));
                three = three.plus_product(Lanes::load(&weights[2]), Lanes::load(&x[2]));
                four = four.plus_product(Lanes::load(&weights[3]), Lanes::load(&x[3]));
            }
            for (weights, x) in rest.iter().zip(rest_x) {
                one = one.plus_product(Lanes::load(weights), Lanes::load(x));
            }
            let mut lanes = [0.0; 8];
            one.plus(two).plus(three.plus(four)).store(&mut lanes);
            *sum = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6]))
                + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
        }
        let sums = Lanes::load(&sums).plus(Lanes::load(&self.bias[0]));
        self.activation.of(sums).store(&mut out[0]);
    }

    #[inline(always)]
    fn run_many(&self, x: &[Eight], out: &mut [Eight]) {
        let x = &x.as_flattened()[..self.inputs];
        let weights = self.weights.chunks_exact(self.inputs);
        for ((weights, bias), out) in weights.zip(&self.bias).zip(out) {
            let (mut one, mut two, mut three, mut four) =
                (Lanes::load(bias), Lanes::ZERO, Lanes::ZERO, Lanes::ZERO);
            let (weights, rest) = weights.as_chunks::<4>();
            let (x, rest_x) = x.as_chunks::<4>();
            for (weights, x) in weights.iter().zip(x) {
                one = one.plus_product(Lanes::splat(x[0]), Lanes::load(&weights[0]));
                two = two.plus_product(Lanes::splat(x[1]), Lanes::load(&weights[1]));
                three = three.plus_product(Lanes::splat(x[2]), Lanes::load(&weights[2]));
                four = four.plus_product(Lanes::splat(x[3]), Lanes::load(&weights[3]));
            }
            for (weights, x) in rest.iter().zip(rest_x) {
                one = one.plus_product(Lanes::splat(*x), Lanes::load(weights));
            }
            self.activation.of(one.plus(two).plus(three.plus(four))).store(out);
        }
    }
}

impl Activation {
    #[inline(always)]
    fn of(self, sums: Lanes) -> Lanes {
        match self {
            Self::Linear => sums,
            Self::Relu => sums.at_least(0.0),
            Self::Tanh => sums.tanh(),
            Self::Sigmoid => sums.sigmoid(),
        }
    }
}
