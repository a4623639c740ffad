//! The kernels against the definition of the cells, by scalar fused products, and one digest of
//! all bits, which is the same on every processor.
//!
//! Names kernels alone, so that `tests/arm64.sh` can build it for a processor for which the
//! libraries of the whole program are not at hand.

use super::cpu::Cpu;
use super::dense::{Activation, Dense};
use super::lanes::Lanes;
use super::layer::{Cell, Layer, LayerWeights};
use super::stack::{Stack, Work};

/// Numbers between -0.5 and 0.5, the same on every machine.
struct Random(u64);

impl Random {
    fn numbers(&mut self, count: usize, scale: f32) -> Vec<f32> {
        let mut number = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
        };
        (0..count).map(|_| number() * scale).collect()
    }
}

/// A layer as a graph has it.
struct Found {
    inputs: usize,
    units: usize,
    kernel: Vec<f32>,
    recurrent: Vec<f32>,
    bias: Vec<f32>,
}

/// h and c of a layer.
type States = [Vec<f32>; 2];

fn number(lanes: Lanes) -> f32 {
    let mut eight = [0.0; 8];
    lanes.store(&mut eight);
    eight[0]
}

/// FNV-1a over bits.
struct Digest(u64);

impl Digest {
    fn add(&mut self, numbers: &[f32]) {
        for number in numbers {
            self.0 = (self.0 ^ u64::from(number.to_bits())).wrapping_mul(0x100_0000_01b3);
        }
    }
}

/// A layer's step, number by number.
fn defined(cell: Cell, layer: &Found, x: &[f32], [hidden, kept]: &mut States) -> Vec<f32> {
    let Found { units, kernel, recurrent, bias, .. } = layer;
    let (of_x, of_h) = bias.split_at(cell.gates() * units);
    let chain = |begin: f32, matrix: &[f32], row: usize, x: &[f32]| {
        let weights = &matrix[row * x.len()..][..x.len()];
        weights.iter().zip(x).fold(begin, |sum, (weight, x)| x.mul_add(*weight, sum))
    };
    let both = |row: usize| {
        let known = chain(of_x[row] + of_h[row], recurrent, row, hidden);
        Lanes::splat(known + chain(0.0, kernel, row, x))
    };
    let mut next = Vec::with_capacity(*units);
    for unit in 0..*units {
        let gate = |at: usize| both(at * units + unit);
        match cell {
            Cell::Lstm => {
                let forgotten = Lanes::splat(kept[unit]).over(gate(2).divisor());
                let written = gate(3).growth().tanh_of_growth(gate(0).divisor());
                let new = forgotten.plus(written);
                kept[unit] = number(new);
                next.push(number(new.growth().tanh_of_growth(gate(1).divisor())));
            }
            Cell::Gru => {
                let row = 2 * units + unit;
                let of_h = Lanes::splat(chain(of_h[row], recurrent, row, hidden));
                let of_x = Lanes::splat(of_x[row] + chain(0.0, kernel, row, x));
                let candidate = of_x.plus(of_h.over(gate(1).divisor())).tanh();
                let before = Lanes::splat(hidden[unit]).minus(candidate);
                next.push(number(candidate.plus(before.over(gate(0).divisor()))));
            }
        }
    }
    hidden.clone_from(&next);
    next
}

/// Takes windows of a stack through three steps in all parts, and adds the outputs to the digest.
fn drive(cell: Cell, features: usize, widths: &[usize], dense: &[usize], digest: &mut Digest) {
    const ACTIVATIONS: [Activation; 4] =
        [Activation::Relu, Activation::Tanh, Activation::Sigmoid, Activation::Linear];
    let mut random = Random(88_172_645_463_325_252);
    let (mut inputs, mut found, mut head) = (features, Vec::new(), Vec::new());
    for &units in widths {
        let rows = cell.gates() * units;
        found.push(Found {
            inputs,
            units,
            kernel: random.numbers(rows * inputs, 2.0 / (inputs as f32).sqrt()),
            recurrent: random.numbers(rows * units, 2.0 / (units as f32).sqrt()),
            bias: random.numbers(2 * rows, 0.5),
        });
        inputs = units;
    }
    for (at, &outputs) in dense.iter().enumerate() {
        let (weights, bias) = (random.numbers(inputs * outputs, 1.0), random.numbers(outputs, 0.1));
        head.push(Dense::pack(inputs, outputs, &weights, &bias, ACTIVATIONS[at % 4]));
        inputs = outputs;
    }
    let pack = |found: &Found| {
        let Found { inputs, units, kernel, recurrent, bias } = found;
        let (inputs, units) = (*inputs, *units);
        Layer::pack(&LayerWeights { cell, inputs, units, kernel, recurrent, bias })
    };
    let stack = Stack::new(found.iter().map(pack).collect(), head);
    let (cpu, mut room, width) = (Cpu::best(), stack.room(), stack.state_width());
    for windows in [1, 3, 35] {
        let mut states = vec![0.0; windows * width];
        let mut outputs = vec![0.0; windows * inputs];
        let zeros = |found: &Found| [vec![0.0; found.units], vec![0.0; found.units]];
        let mut of_definition: Vec<Vec<States>> =
            (0..windows).map(|_| found.iter().map(zeros).collect()).collect();
        for _ in 0..3 {
            let rows = random.numbers(windows * features, 4.0);
            let row = |window: usize| &rows[window * features..][..features];
            let state = &states[(windows - 1) * width..];
            let (mut half, mut output) = (vec![0.0; stack.half_width()], vec![0.0; inputs]);
            stack.run(cpu, &mut room, Work::Ahead { state, half: &mut half });
            stack.fetch();
            let (row_of_last, half) = (row(windows - 1), &half[..]);
            let work = Work::Finish { row: row_of_last, state, half, output: &mut output };
            stack.run(cpu, &mut room, work);
            let (of_step, stride) = (Some(&mut outputs[..]), features);
            let work = Work::Step { rows: &rows, stride, states: &mut states, outputs: of_step };
            stack.run(cpu, &mut room, work);
            assert_eq!(bits(&output), bits(&outputs[(windows - 1) * inputs..]), "in two parts");
            digest.add(&outputs);
            for (window, of_layers) in of_definition.iter_mut().enumerate() {
                let mut x = row(window).to_vec();
                for (at, (found, states_of_layer)) in found.iter().zip(of_layers).enumerate() {
                    x = defined(cell, found, &x, states_of_layer);
                    let has_cell = cell == Cell::Lstm;
                    for (of_definition, is_cell) in states_of_layer.iter().zip([false, true]) {
                        let (first, count) = stack.part(at, is_cell);
                        let ours = &states[window * width + first..][..count];
                        let same = bits(ours) == bits(of_definition);
                        assert!(same || (is_cell && !has_cell), "{cell:?} {widths:?}, {windows}");
                    }
                }
            }
        }
    }
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

#[test]
fn the_bits_are_those_of_every_processor() {
    let mut digest = Digest(0xcbf2_9ce4_8422_2325);
    for k in -20_000..=20_000_i32 {
        let x = Lanes::splat(k as f32 * 5e-3);
        digest.add(&[x.tanh(), x.sigmoid(), x.divisor(), x.growth()].map(number));
    }
    for cell in [Cell::Lstm, Cell::Gru] {
        drive(cell, 3, &[9, 4], &[5, 2], &mut digest);
        drive(cell, 7, &[8], &[], &mut digest);
        drive(cell, 2, &[13], &[20, 3], &mut digest);
        drive(cell, 1, &[17, 3, 12], &[9, 8], &mut digest);
    }
    assert_eq!(format!("{:016x}", digest.0), "ef78439af3eef10d");
}
