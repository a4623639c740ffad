//! A recurrent network in plain Rust, independent of the engine and of ONNX Runtime.
//!
//! Owns random weights, their ONNX form, and a forward pass in `f64` written straight from the
//! definition of the LSTM. It is the second opinion that the tests ask.

use tickcast::engine::onnx::{
    Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};

/// One LSTM layer, its weights by gate in the order input, output, forget, cell.
pub(crate) struct Layer {
    inputs: usize,
    hidden: usize,
    /// `[4][H][I]`
    weights: Vec<f32>,
    /// `[4][H][H]`
    recurrence: Vec<f32>,
    /// `[4][H]`
    bias: Vec<f32>,
}

/// One dense layer.
pub(crate) struct Dense {
    /// `[outputs][inputs]`
    weights: Vec<Vec<f32>>,
    bias: Vec<f32>,
    activation: Activation,
}

/// What stands behind a dense layer.
#[derive(Clone, Copy)]
enum Activation {
    Relu,
    Tanh,
}

/// LSTM layers, then dense ones on the state after the last step.
pub(crate) struct Network {
    layers: Vec<Layer>,
    dense: Vec<Dense>,
}

/// Numbers in `[-scale, scale)` by SplitMix64.
pub(crate) fn random(seed: &mut u64, count: usize, scale: f32) -> Vec<f32> {
    let mut next = || {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = *seed;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        ((bits >> 40) as f32 / (1u32 << 24) as f32 * 2.0 - 1.0) * scale
    };
    (0..count).map(|_| next()).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl Network {
    /// Random weights of the given widths.
    pub(crate) fn random(seed: u64, features: usize, hidden: &[usize]) -> Self {
        let mut seed = seed;
        let mut inputs = features;
        let mut layers = Vec::new();
        for &hidden in hidden {
            layers.push(Layer {
                inputs,
                hidden,
                weights: random(&mut seed, 4 * hidden * inputs, 0.5),
                recurrence: random(&mut seed, 4 * hidden * hidden, 0.5),
                bias: random(&mut seed, 4 * hidden, 0.5),
            });
            inputs = hidden;
        }
        let weights = vec![random(&mut seed, inputs, 0.5)];
        let dense = vec![Dense { weights, bias: vec![0.0], activation: Activation::Tanh }];
        Self { layers, dense }
    }

    /// Reads the weights of a trained model out of its ONNX bytes.
    pub(crate) fn read(onnx: &[u8]) -> Self {
        let graph = ModelProto::from_bytes(onnx).unwrap().graph.unwrap();
        let constant = |node: &NodeProto, input: usize| {
            let named = |tensor: &&TensorProto| tensor.name == node.input[input];
            graph.initializer.iter().find(named).unwrap().read_floats().unwrap()
        };
        let mut network = Self { layers: Vec::new(), dense: Vec::new() };
        for node in &graph.node {
            match node.op_type.as_str() {
                "LSTM" => network.layers.push(Layer::read(node, constant)),
                "Gemm" => {
                    let transposed = node.attribute("transB").is_some_and(|a| a.i == 1);
                    let (weights, bias) = (constant(node, 1), constant(node, 2));
                    let (outputs, inputs) = (bias.len(), weights.len() / bias.len());
                    let at = |output: usize, input: usize| match transposed {
                        true => weights[output * inputs + input],
                        false => weights[input * outputs + output],
                    };
                    let row = |output| (0..inputs).map(|input| at(output, input)).collect();
                    let weights = (0..outputs).map(row).collect();
                    network.dense.push(Dense { weights, bias, activation: Activation::Tanh });
                }
                "Relu" => network.dense.last_mut().unwrap().activation = Activation::Relu,
                "Tanh" | "Squeeze" => {}
                other => panic!("the second opinion does not know {other}"),
            }
        }
        network
    }

    /// The names and widths of the states, in the graph's order.
    pub(crate) fn states(&self) -> impl Iterator<Item = (String, usize)> + '_ {
        self.layers.iter().enumerate().flat_map(|(index, layer)| {
            ["h", "c"].map(|kind| (format!("{kind}{index}"), layer.hidden))
        })
    }

    /// The output for one window `[W][F]` from zero state.
    pub(crate) fn forward(&self, window: &[Vec<f32>]) -> f64 {
        let mut sequence: Vec<Vec<f64>> =
            window.iter().map(|row| row.iter().map(|x| f64::from(*x)).collect()).collect();
        for layer in &self.layers {
            sequence = layer.forward(&sequence);
        }
        let mut values = sequence.pop().expect("a window has rows");
        for dense in &self.dense {
            values = dense.forward(&values);
        }
        values[0]
    }

    /// Takes one step from the states `h0, c0, h1, ...` to the next ones, which are rounded to
    /// `f32` as a runtime keeps them; returns the output.
    pub(crate) fn step(&self, row: &[f32], states: &mut [Vec<f32>]) -> f32 {
        let wide = |values: &[f32]| values.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
        let mut values = wide(row);
        for (layer, states) in self.layers.iter().zip(states.chunks_exact_mut(2)) {
            let (mut h, mut c) = (wide(&states[0]), wide(&states[1]));
            layer.step(&values, &mut h, &mut c);
            for (state, next) in states.iter_mut().zip([&h, &c]) {
                *state = next.iter().map(|x| *x as f32).collect();
            }
            values = wide(&states[0]);
        }
        for dense in &self.dense {
            values = dense.forward(&values);
        }
        values[0] as f32
    }

    /// The same network as ONNX: inputs `x, h0, c0, ...`, outputs `y, h0_out, c0_out, ...`.
    pub(crate) fn to_onnx(&self) -> Vec<u8> {
        let mut graph = GraphProto { name: "network".into(), ..GraphProto::default() };
        let features = self.layers[0].inputs;
        let axes = [Dimension::named("T"), Dimension::named("B"), Dimension::of(features)];
        graph.input.push(ValueInfoProto::float_tensor("x", axes));
        let batch_axes = [Dimension::named("B"), Dimension::of(1)];
        graph.output.push(ValueInfoProto::float_tensor("y", batch_axes));
        graph.initializer.push(TensorProto::int64s("axis0", &[1], &[0]));
        graph.initializer.push(TensorProto::int64s("axis1", &[1], &[1]));
        for (name, width) in self.states() {
            let axes = || [Dimension::of(1), Dimension::named("B"), Dimension::of(width)];
            graph.input.push(ValueInfoProto::float_tensor(&name, axes()));
            graph.output.push(ValueInfoProto::float_tensor(&format!("{name}_out"), axes()));
        }
        let mut sequence = "x".to_owned();
        for (index, layer) in self.layers.iter().enumerate() {
            sequence = layer.add_to(&mut graph, index, &sequence);
        }
        let last = self.layers.len() - 1;
        let [Dense { weights, .. }] = &self.dense[..] else { panic!("one dense unit") };
        graph.initializer.push(TensorProto::floats("dense", &[weights[0].len(), 1], &weights[0]));
        let hidden = format!("h{last}_out");
        graph.node.push(NodeProto::new("Squeeze", "last", &[&hidden, "axis0"], &["last_hidden"]));
        graph.node.push(NodeProto::new("MatMul", "dense", &["last_hidden", "dense"], &["z"]));
        graph.node.push(NodeProto::new("Tanh", "head", &["z"], &["y"]));
        ModelProto {
            ir_version: 8,
            graph: Some(graph),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
            ..ModelProto::default()
        }
        .to_bytes()
    }
}

impl Dense {
    fn forward(&self, inputs: &[f64]) -> Vec<f64> {
        let unit = |(weights, bias): (&Vec<f32>, &f32)| {
            let sum: f64 = weights.iter().zip(inputs).map(|(w, x)| f64::from(*w) * x).sum();
            let sum = sum + f64::from(*bias);
            match self.activation {
                Activation::Relu => sum.max(0.0),
                Activation::Tanh => sum.tanh(),
            }
        };
        self.weights.iter().zip(&self.bias).map(unit).collect()
    }
}

impl Layer {
    /// The weights of an ONNX node; its two biases are added up.
    fn read(node: &NodeProto, constant: impl Fn(&NodeProto, usize) -> Vec<f32>) -> Self {
        let hidden = usize::try_from(node.attribute("hidden_size").unwrap().i).unwrap();
        let [weights, recurrence, biases] = [1, 2, 3].map(|input| constant(node, input));
        let (input, recurrent) = biases.split_at(4 * hidden);
        assert!(recurrent.iter().all(|bias| *bias == 0.0), "our exporter needs one bias");
        let (inputs, bias) = (weights.len() / (4 * hidden), input.to_vec());
        Self { inputs, hidden, weights, recurrence, bias }
    }

    fn forward(&self, sequence: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let (mut h, mut c) = (vec![0.0; self.hidden], vec![0.0; self.hidden]);
        let step = |row: &Vec<f64>| {
            self.step(row, &mut h, &mut c);
            h.clone()
        };
        sequence.iter().map(step).collect()
    }

    fn step(&self, row: &[f64], h: &mut [f64], c: &mut [f64]) {
        let before = h.to_vec();
        let gate = |gate: usize, unit: usize| {
            let at = gate * self.hidden + unit;
            let weights = &self.weights[at * self.inputs..][..self.inputs];
            let recurrence = &self.recurrence[at * self.hidden..][..self.hidden];
            let dot = |w: &[f32], x: &[f64]| -> f64 {
                w.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum()
            };
            f64::from(self.bias[at]) + dot(weights, row) + dot(recurrence, &before)
        };
        for unit in 0..self.hidden {
            let [input, output, forget] = [0, 1, 2].map(|g| sigmoid(gate(g, unit)));
            let cell = gate(3, unit).tanh();
            c[unit] = forget * c[unit] + input * cell;
            h[unit] = output * c[unit].tanh();
        }
    }

    /// Adds the layer's node and returns the name of its sequence of outputs.
    fn add_to(&self, graph: &mut GraphProto, index: usize, input: &str) -> String {
        let (hidden, inputs) = (self.hidden, self.inputs);
        let name = |kind: &str| format!("{kind}{index}");
        let [w, r, b] = ["w", "r", "b"].map(name);
        let mut bias = self.bias.clone();
        bias.resize(8 * hidden, 0.0);
        graph.initializer.push(TensorProto::floats(&w, &[1, 4 * hidden, inputs], &self.weights));
        graph.initializer.push(TensorProto::floats(&r, &[1, 4 * hidden, hidden], &self.recurrence));
        graph.initializer.push(TensorProto::floats(&b, &[1, 8 * hidden], &bias));
        let [h, c, h_out, c_out] = [name("h"), name("c"), name("h") + "_out", name("c") + "_out"];
        let (raw, sequence) = (name("raw"), name("sequence"));
        let lstm = NodeProto::new(
            "LSTM",
            &name("lstm"),
            &[input, &w, &r, &b, "", &h, &c],
            &[&raw, &h_out, &c_out],
        );
        graph.node.push(lstm.with_int("hidden_size", hidden as i64));
        graph.node.push(NodeProto::new("Squeeze", &name("flat"), &[&raw, "axis1"], &[&sequence]));
        sequence
    }
}
