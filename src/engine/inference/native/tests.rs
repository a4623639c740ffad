//! The kernels against the definition of the cells, against themselves in other parts and groups,
//! and against ONNX Runtime.

use proptest::prelude::*;

use super::cpu::Cpu;
use super::lanes::Lanes;
use super::layer::Cell;
use super::stack::Work;
use super::*;
use crate::engine::inference::test_support::onnxruntime;
use crate::engine::inference::{Columns, StateSignature};
use crate::engine::onnx::{
    Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};

/// A model of random weights: recurrent layers, then dense ones.
#[derive(Clone, Debug)]
struct Shapes {
    cell: Cell,
    features: usize,
    units: Vec<usize>,
    dense: Vec<usize>,
    seed: u64,
}

/// The weights of a layer as the graph has them.
struct Weights {
    inputs: usize,
    units: usize,
    kernel: Vec<f32>,
    recurrent: Vec<f32>,
    bias: Vec<f32>,
}

/// A model, its graph and the names by which it is driven.
struct Made {
    shapes: Shapes,
    layers: Vec<Weights>,
    /// `[input][output]` and the bias.
    dense: Vec<(Vec<f32>, Vec<f32>)>,
    onnx: Vec<u8>,
    signature: Signature,
}

/// Numbers between -0.5 and 0.5.
struct Random(u64);

impl Random {
    fn number(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
    }

    fn numbers(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.number() * scale).collect()
    }
}

impl Shapes {
    fn make(self) -> Made {
        let mut random = Random(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let mut inputs = self.features;
        let (mut graph, mut states) = (GraphProto::default(), Vec::new());
        let named = Dimension::named;
        let rows = [named("T"), named("B"), Dimension::of(self.features)];
        graph.name = "m".to_owned();
        graph.input.push(ValueInfoProto::float_tensor("x", rows));
        graph.initializer.push(TensorProto::int64s("one", &[1], &[1]));
        graph.initializer.push(TensorProto::int64s("last", &[], &[-1]));
        let mut layers = Vec::new();
        let mut value = "x".to_owned();
        let (operator, gates) = match self.cell {
            Cell::Lstm => ("LSTM", 4),
            Cell::Gru => ("GRU", 3),
        };
        let mut outputs = Vec::new();
        for (at, &units) in self.units.iter().enumerate() {
            let kernel = random.numbers(gates * units * inputs, 2.0 / (inputs as f32).sqrt());
            let recurrent = random.numbers(gates * units * units, 2.0 / (units as f32).sqrt());
            let bias = random.numbers(2 * gates * units, 0.5);
            let name = |part: &str| format!("{part}{at}");
            for (part, dims, numbers) in [
                ("w", vec![1, gates * units, inputs], &kernel),
                ("r", vec![1, gates * units, units], &recurrent),
                ("b", vec![1, 2 * gates * units], &bias),
            ] {
                graph.initializer.push(TensorProto::floats(&name(part), &dims, numbers));
            }
            let [w, r, b, h, c] = ["w", "r", "b", "h", "c"].map(name);
            let [y, h_out, c_out, squeezed] = ["y", "h_out", "c_out", "squeezed"].map(name);
            let mut reads = vec![value.as_str(), &w, &r, &b, "", &h];
            let mut gives = vec![y.as_str(), &h_out];
            let mut own = vec![(&h, &h_out)];
            if self.cell == Cell::Lstm {
                reads.push(&c);
                gives.push(&c_out);
                own.push((&c, &c_out));
            }
            for (input, output) in own {
                let shape = || [Dimension::of(1), named("B"), Dimension::of(units)];
                graph.input.push(ValueInfoProto::float_tensor(input, shape()));
                outputs.push(ValueInfoProto::float_tensor(output, shape()));
                let (input, output) = (input.clone(), output.clone());
                states.push(StateSignature { input, output, width: units });
            }
            let hidden_size = i64::try_from(units).unwrap();
            let mut node = NodeProto::new(operator, &name("layer"), &reads, &gives)
                .with_int("hidden_size", hidden_size);
            if self.cell == Cell::Gru {
                node = node.with_int("linear_before_reset", 1);
            }
            graph.node.push(node);
            graph.node.push(NodeProto::new("Squeeze", &name("s"), &[&y, "one"], &[&squeezed]));
            value = squeezed;
            layers.push(Weights { inputs, units, kernel, recurrent, bias });
            inputs = units;
        }
        // The last step, as PyTorch's exporters take it.
        let batch_first = NodeProto::new("Transpose", "t", &[&value], &["batch_first"]);
        graph.node.push(batch_first.with_ints("perm", &[1, 0, 2]));
        let gather = NodeProto::new("Gather", "g", &["batch_first", "last"], &["dense_in"]);
        graph.node.push(gather.with_int("axis", 1));
        value = "dense_in".to_owned();
        let mut dense = Vec::new();
        for (at, &units) in self.dense.iter().enumerate() {
            let weights = random.numbers(inputs * units, 2.0 / (inputs as f32).sqrt());
            let bias = random.numbers(units, 0.5);
            let [w, b, sums] = ["dw", "db", "sums"].map(|part| format!("{part}{at}"));
            graph.initializer.push(TensorProto::floats(&w, &[inputs, units], &weights));
            graph.initializer.push(TensorProto::floats(&b, &[units], &bias));
            graph.node.push(NodeProto::new("Gemm", &sums, &[&value, &w, &b], &[&sums]));
            value = format!("dense{at}");
            let operator = ["Relu", "Tanh", "Sigmoid"][at % 3];
            graph.node.push(NodeProto::new(operator, &value, &[&sums], &[&value]));
            dense.push((weights, bias));
            inputs = units;
        }
        let shape = [named("B"), Dimension::of(inputs)];
        graph.output.push(ValueInfoProto::float_tensor(&value, shape));
        graph.output.extend(outputs);
        let model = ModelProto {
            ir_version: 8,
            graph: Some(graph),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
            ..ModelProto::default()
        };
        let signature = Signature {
            input: "x".to_owned(),
            features: self.features,
            output: value,
            columns: Columns { count: inputs, ..Columns::default() },
            states,
        };
        Made { shapes: self, layers, dense, onnx: model.to_bytes(), signature }
    }
}

impl Made {
    fn native(&self) -> Read {
        graph::read(&self.onnx, &self.signature).unwrap()
    }

    /// One step by the definition, number by number: the states of each layer are h and c.
    fn step(&self, row: &[f32], states: &mut [[Vec<f32>; 2]]) -> Vec<f32> {
        let gates = self.shapes.cell.gates();
        let mut x = row.to_vec();
        for (layer, [hidden, cell]) in self.layers.iter().zip(states) {
            let Weights { inputs, units, kernel, recurrent, bias } = layer;
            let (of_x, of_h) = bias.split_at(gates * units);
            let chain = |begin: f32, matrix: &[f32], gate: usize, x: &[f32]| {
                let row = matrix.chunks_exact(x.len()).nth(gate).unwrap();
                row.iter().zip(x).fold(begin, |sum, (weight, x)| x.mul_add(*weight, sum))
            };
            assert_eq!(x.len(), *inputs);
            let both = |gate: usize| {
                let known = chain(of_x[gate] + of_h[gate], recurrent, gate, hidden);
                Lanes::splat(known + chain(0.0, kernel, gate, &x))
            };
            let mut next = Vec::with_capacity(*units);
            for unit in 0..*units {
                let gate = |at: usize| both(at * units + unit);
                match self.shapes.cell {
                    Cell::Lstm => {
                        let forgotten = Lanes::splat(cell[unit]).over(gate(2).divisor());
                        let written = gate(3).growth().tanh_of_growth(gate(0).divisor());
                        let kept = forgotten.plus(written);
                        cell[unit] = number(kept);
                        next.push(number(kept.growth().tanh_of_growth(gate(1).divisor())));
                    }
                    Cell::Gru => {
                        let row = 2 * units + unit;
                        let of_h = Lanes::splat(chain(of_h[row], recurrent, row, hidden));
                        let of_x = Lanes::splat(of_x[row] + chain(0.0, kernel, row, &x));
                        let candidate = of_x.plus(of_h.over(gate(1).divisor())).tanh();
                        let before = Lanes::splat(hidden[unit]).minus(candidate);
                        next.push(number(candidate.plus(before.over(gate(0).divisor()))));
                    }
                }
            }
            hidden.clone_from(&next);
            x = next;
        }
        x
    }

    fn zero_states(&self) -> Vec<[Vec<f32>; 2]> {
        self.layers.iter().map(|layer| [vec![0.0; layer.units], vec![0.0; layer.units]]).collect()
    }
}

fn number(lanes: Lanes) -> f32 {
    let mut eight = [0.0; 8];
    lanes.store(&mut eight);
    eight[0]
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

fn shapes() -> impl Strategy<Value = Shapes> {
    let cell = prop_oneof![Just(Cell::Lstm), Just(Cell::Gru)];
    let units = prop::collection::vec(1_usize..=20, 1..=3);
    let dense = prop::collection::vec(1_usize..=18, 0..=3);
    (cell, 1_usize..=11, units, dense, any::<u64>()).prop_map(
        |(cell, features, units, dense, seed)| Shapes { cell, features, units, dense, seed },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Every part and every group gives the bits of the definition.
    #[test]
    fn parts_and_groups_have_the_bits_of_the_definition(
        shapes in shapes(), windows in 1_usize..=70, steps in 1_usize..=4,
    ) {
        let made = Shapes { dense: Vec::new(), ..shapes }.make();
        let Read { stack, parts, .. } = made.native();
        let (features, width) = (made.shapes.features, stack.state_width());
        let mut random = Random(made.shapes.seed | 1);
        let mut room = stack.room();
        let mut defined: Vec<_> = (0..windows).map(|_| made.zero_states()).collect();
        let mut states = vec![0.0; windows * width];
        let mut outputs = vec![0.0; windows * stack.outputs()];
        for step in 0..steps {
            let rows = random.numbers(windows * features, 4.0);
            let shares_a_row = step % 2 == 1;
            let row = |window: usize| {
                let window = if shares_a_row { 0 } else { window };
                &rows[window * features..][..features]
            };
            // The last window once in two parts, before its states move on.
            let last = &states[(windows - 1) * width..];
            let mut half = vec![f32::NAN; stack.half_width()];
            let mut apart = vec![f32::NAN; stack.outputs()];
            stack.run(Cpu::best(), &mut room, Work::Ahead { state: last, half: &mut half });
            let work = Work::Finish {
                row: row(windows - 1), state: last, half: &half, output: &mut apart,
            };
            stack.run(Cpu::best(), &mut room, work);
            let stride = if shares_a_row { 0 } else { features };
            let rows = if shares_a_row { row(0) } else { &rows[..] };
            let work =
                Work::Step { rows, stride, states: &mut states, outputs: Some(&mut outputs) };
            stack.run(Cpu::best(), &mut room, work);
            for (window, defined) in defined.iter_mut().enumerate() {
                let output = made.step(row(window), defined);
                let ours = &outputs[window * stack.outputs()..][..stack.outputs()];
                prop_assert_eq!(bits(ours), bits(&output), "window {} of {}", window, windows);
                let flat = defined.iter().flat_map(|[hidden, cell]| match made.shapes.cell {
                    Cell::Lstm => vec![hidden, cell],
                    Cell::Gru => vec![hidden],
                });
                for (defined, first) in flat.zip(&parts) {
                    let ours = &states[window * width + first..][..defined.len()];
                    prop_assert_eq!(bits(ours), bits(defined));
                }
            }
            prop_assert_eq!(bits(&apart), bits(&outputs[outputs.len() - apart.len()..]));
        }
    }

    /// The processor without fused products computes them all the same.
    #[test]
    fn every_processor_gives_the_same_bits(shapes in shapes(), windows in 1_usize..=5) {
        let made = shapes.make();
        let Read { stack, .. } = made.native();
        let rows = Random(made.shapes.seed | 1).numbers(windows * made.shapes.features, 4.0);
        let run = |cpu: Cpu| {
            let (mut room, mut states) = (stack.room(), vec![0.0; windows * stack.state_width()]);
            let mut outputs = vec![0.0; windows * stack.outputs()];
            for _ in 0..3 {
                let outputs = Some(&mut outputs[..]);
                let states = &mut states;
                let stride = made.shapes.features;
                let work = Work::Step { rows: &rows, stride, states, outputs };
                stack.run(cpu, &mut room, work);
            }
            (bits(&states), bits(&outputs))
        };
        prop_assert_eq!(run(Cpu::best()), run(Cpu::Baseline));
    }

    /// ONNX Runtime's numbers differ by rounding alone: within 1e-6 of the range of the outputs.
    #[test]
    fn the_numbers_are_those_of_onnx_runtime(
        shapes in shapes(), steps in 1_usize..=30, batch in 1_usize..=5,
    ) {
        let made = shapes.make();
        let run = |mut backend: Box<dyn Backend>| {
            let mut random = Random(made.shapes.seed | 1);
            let lane = backend.lane(Shape { steps, batch }).unwrap();
            let rows = backend.rows_mut(lane);
            rows.copy_from_slice(&random.numbers(rows.len(), 4.0));
            for index in 0..made.signature.states.len() {
                let state = backend.state_mut(lane, index);
                state.copy_from_slice(&random.numbers(state.len(), 1.0));
            }
            backend.run(lane).unwrap();
            let mut numbers = backend.output(lane).to_vec();
            for index in 0..made.signature.states.len() {
                numbers.extend_from_slice(backend.next_state(lane, index));
            }
            numbers
        };
        let ours = run(NativeRuntime::new().open(&made.onnx, &made.signature).unwrap());
        let theirs = run(onnxruntime().open(&made.onnx, &made.signature).unwrap());
        let range = theirs.iter().fold(1.0_f32, |range, number| range.max(number.abs()));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            prop_assert!((ours - theirs).abs() <= 1e-6 * range, "{} and {}", ours, theirs);
        }
    }
}

/// A small LSTM: its graph, and how it is driven.
pub(in crate::engine::inference) fn small_lstm() -> (Vec<u8>, Signature) {
    let Made { onnx, signature, .. } = small(Cell::Lstm);
    (onnx, signature)
}

/// The small LSTM of a graph that takes runs of this shape alone.
pub(in crate::engine::inference) fn small_lstm_of(
    steps: usize,
    batch: usize,
) -> (Vec<u8>, Signature) {
    let (onnx, signature) = small_lstm();
    let mut model = ModelProto::from_bytes(&onnx).unwrap();
    for input in &mut model.graph.as_mut().unwrap().input {
        let is_rows = input.name == signature.input;
        let width = match signature.states.iter().find(|state| state.input == input.name) {
            Some(state) => state.width,
            None => signature.features,
        };
        let first = if is_rows { steps } else { 1 };
        let shape = [first, batch, width].map(Dimension::of);
        *input = ValueInfoProto::float_tensor(&input.name, shape);
    }
    (model.to_bytes(), signature)
}

/// An LSTM whose recurrent weights are up to 4 and more in every row of 32.
pub(in crate::engine::inference) fn large_weights() -> (Vec<u8>, Signature) {
    let shapes =
        Shapes { cell: Cell::Lstm, features: 4, units: vec![32], dense: vec![1], seed: 11 };
    let Made { onnx, signature, .. } = shapes.make();
    let mut model = ModelProto::from_bytes(&onnx).unwrap();
    for tensor in &mut model.graph.as_mut().unwrap().initializer {
        if tensor.name == "r0" {
            let dims: Vec<usize> =
                tensor.dims.iter().map(|dim| usize::try_from(*dim).unwrap()).collect();
            let weights: Vec<f32> =
                tensor.read_floats().unwrap().iter().map(|weight| weight * 8.0).collect();
            *tensor = TensorProto::floats("r0", &dims, &weights);
        }
    }
    (model.to_bytes(), signature)
}

/// A small model whose graph a test breaks.
fn small(cell: Cell) -> Made {
    Shapes { cell, features: 3, units: vec![9, 4], dense: vec![5, 2], seed: 7 }.make()
}

#[test]
fn what_the_kernels_do_not_compute_is_refused_with_the_node() {
    let refusal = |cell: Cell, change: &dyn Fn(&mut GraphProto)| {
        let made = small(cell);
        let mut model = ModelProto::from_bytes(&made.onnx).unwrap();
        change(model.graph.as_mut().unwrap());
        let opened = NativeRuntime::new().open(&model.to_bytes(), &made.signature);
        opened.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let kept = refusal(Cell::Gru, &|_| {});
    assert_eq!(kept, "", "the graph is taken as it is");
    for (cell, change, says) in [
        (
            Cell::Lstm,
            (&|graph: &mut GraphProto| graph.node[0].attribute[0].name = "clip".to_owned())
                as &dyn Fn(&mut GraphProto),
            "LSTM `layer0`: its `clip` is not what the native runtime computes",
        ),
        (
            Cell::Gru,
            &|graph| graph.node[0].attribute[1].i = 0,
            "GRU `layer0`: it resets h before the product (`linear_before_reset` = 0)",
        ),
        (
            Cell::Lstm,
            &|graph| graph.node[4].op_type = "Softmax".to_owned(),
            "Softmax `t`: the native runtime has no such operator",
        ),
        (
            Cell::Lstm,
            &|graph| graph.node[0].input[5] = "x".to_owned(),
            "LSTM `layer0`: it begins from a state that is no input of the graph",
        ),
        (
            Cell::Lstm,
            &|graph| graph.node[2].input[0] = "x".to_owned(),
            "LSTM `layer1`: it does not read the rows or the layer before it as [T,B,F]",
        ),
        (
            Cell::Lstm,
            &|graph| graph.initializer[1] = TensorProto::int64s("last", &[], &[0]),
            "Gather `g`: it takes something else than the last step",
        ),
        (
            Cell::Lstm,
            &|graph| graph.node[8].input[0] = "sums0".to_owned(),
            "Gemm `sums1`: it reads `sums0`, which no layer gives",
        ),
        (
            Cell::Gru,
            &|graph| {
                let squeeze = graph.node.iter().position(|node| node.name == "s0").unwrap();
                let last = NodeProto::new("Squeeze", "e", &["h_out0", "one0"], &["early"]);
                let zero = TensorProto::int64s("one0", &[1], &[0]);
                graph.initializer.push(zero);
                let weights = TensorProto::floats("ew", &[9, 9], &[0.0; 81]);
                graph.initializer.push(weights);
                let dense = NodeProto::new("MatMul", "d", &["early", "ew"], &["early_out"]);
                graph.node.insert(squeeze + 1, last);
                graph.node.insert(squeeze + 2, dense);
            },
            "GRU `layer1`: it comes after a dense layer",
        ),
        (
            Cell::Lstm,
            &|graph| change_dims(graph, "db0", &[5, 1]),
            "Gemm `sums0`: its bias does not fit its weights",
        ),
        (
            Cell::Lstm,
            &|graph| change_dims(graph, "last", &[1, 1]),
            "Gather `g`: it takes something else than the last step",
        ),
        (
            Cell::Lstm,
            &|graph| graph.initializer.push(TensorProto::floats("y0", &[1], &[0.0])),
            "LSTM `layer0`: `y0` is given twice",
        ),
        (
            Cell::Lstm,
            &|graph| {
                let dense = graph.initializer.iter_mut().find(|tensor| tensor.name == "dw0");
                *dense.unwrap() = TensorProto::floats("dw0", &[4, 0], &[]);
            },
            "Gemm `sums0`: `dw0` is empty",
        ),
        (
            Cell::Lstm,
            &|graph| {
                let many = TensorProto::int64s("one", &[65], &[1; 65]);
                graph.initializer[0] = many;
            },
            "Squeeze `s0`: `one` has more than 64 numbers",
        ),
        (
            Cell::Lstm,
            &|graph| {
                graph.input[1] = ValueInfoProto::float_tensor("h0", [1, 0, 9].map(Dimension::of));
            },
            "its inputs fix a shape without rows, or of too many",
        ),
    ] {
        let said = refusal(cell, change);
        assert!(said.contains(says), "{said}\nand not\n{says}");
        assert!(said.ends_with("; use engine.runtime = \"onnxruntime\""), "{said}");
    }
}

/// Gives a constant another shape of as many numbers.
fn change_dims(graph: &mut GraphProto, name: &str, dims: &[i64]) {
    let tensor = graph.initializer.iter_mut().find(|tensor| tensor.name == name);
    tensor.unwrap().dims = dims.to_vec();
}

/// An output before the activation is not what the layer gives.
#[test]
fn an_output_before_the_activation_is_refused() {
    let made = small(Cell::Lstm);
    let signature = Signature { output: "sums1".to_owned(), ..made.signature.clone() };
    let refusal = graph::read(&made.onnx, &signature).err();
    assert_eq!(refusal.as_deref(), Some("its output is not what its last layer gives"));
}

#[test]
fn a_model_with_some_of_its_states_is_refused() {
    let made = small(Cell::Lstm);
    let mut model = ModelProto::from_bytes(&made.onnx).unwrap();
    let graph = model.graph.as_mut().unwrap();
    // c of the first layer begins from zero.
    graph.node[0].input[6] = String::new();
    let mut signature = made.signature.clone();
    let removed = signature.states.remove(1);
    graph.input.retain(|input| input.name != removed.input);
    let refusal = graph::read(&model.to_bytes(), &signature).err().unwrap();
    assert_eq!(refusal, "some of its states are inputs of the graph, and some are not");
}

/// Each of these nodes names the same tensor and would make a copy of it.
#[test]
fn shared_weights_are_copied_up_to_a_limit() {
    let mut made = small(Cell::Lstm);
    let mut model = ModelProto::from_bytes(&made.onnx).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let side = 1024;
    graph.initializer.push(TensorProto::floats("in", &[2, side], &vec![0.0; 2 * side]));
    graph.initializer.push(TensorProto::floats("wide", &[side, side], &vec![0.0; side * side]));
    let mut value = made.signature.output.clone();
    for (at, weights) in std::iter::once("in").chain([&"wide"; 17].map(|name| *name)).enumerate() {
        let (name, next) = (format!("copy{at}"), format!("wide{at}"));
        graph.node.push(NodeProto::new("MatMul", &name, &[&value, weights], &[&next]));
        value = next;
    }
    made.signature.output = value;
    made.signature.columns.count = side;
    let refusal = graph::read(&model.to_bytes(), &made.signature).err().unwrap();
    let says = "MatMul `copy16`: with `wide` the weights are more than 16777216";
    assert_eq!(refusal, says);
}

/// Where a row is infinite the units of an LSTM saturate, and a product with a weight of 0 is NaN.
#[test]
fn what_lies_behind_the_units_does_not_reach_the_head() {
    let (cell, features) = (Cell::Lstm, 3);
    let made = Shapes { cell, features, units: vec![9], dense: vec![2], seed: 5 }.make();
    for batch in [1, 3] {
        let mut backend = NativeRuntime::new().open(&made.onnx, &made.signature).unwrap();
        let lane = backend.lane(Shape { steps: 1, batch }).unwrap();
        let rows = [f32::INFINITY, 1.0, -1.0].repeat(batch);
        backend.rows_mut(lane).copy_from_slice(&rows);
        backend.run(lane).unwrap();
        let states = (0..made.signature.states.len()).map(|index| backend.next_state(lane, index));
        for numbers in states.chain([backend.output(lane)]) {
            assert!(numbers.iter().all(|number| number.is_finite()), "{numbers:?}");
        }
    }
}

#[test]
fn a_window_read_whole_has_the_bits_of_its_steps() {
    let made = small(Cell::Lstm);
    let mut backend = NativeRuntime::new().open(&made.onnx, &made.signature).unwrap();
    let rows = Random(3).numbers(30 * 3, 4.0);
    let whole = backend.lane(Shape { steps: 30, batch: 1 }).unwrap();
    backend.rows_mut(whole).copy_from_slice(&rows);
    backend.run(whole).unwrap();
    let whole = bits(backend.output(whole));
    let single = backend.lane(Shape { steps: 1, batch: 1 }).unwrap();
    for row in rows.chunks_exact(3) {
        backend.rows_mut(single).copy_from_slice(row);
        backend.run(single).unwrap();
        for index in 0..made.signature.states.len() {
            let state = backend.next_state(single, index).to_vec();
            backend.state_mut(single, index).copy_from_slice(&state);
        }
    }
    assert_eq!(bits(backend.output(single)), whole);
    assert_eq!(made.dense.len(), 2);
}
