//! Graphs in the making, as exporters write them.

use crate::engine::onnx::{
    AttributeProto, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    ValueInfoProto, attribute_type,
};

/// A graph in the making. Weights follow from a seed.
pub(super) struct Net {
    pub(super) graph: GraphProto,
    pub(super) opset: i64,
    seed: u64,
    count: usize,
}

/// The size of an axis: fixed, or free.
pub(super) type Size = Option<usize>;

impl Net {
    pub(super) fn new() -> Self {
        Self { graph: GraphProto::default(), opset: 17, seed: 1, count: 0 }
    }

    pub(super) fn seeded(seed: u64) -> Self {
        Self { seed: seed | 1, ..Self::new() }
    }

    fn name(&mut self, base: &str) -> String {
        self.count += 1;
        format!("{base}_{}", self.count)
    }

    fn shape(dims: &[Size]) -> Vec<Dimension> {
        let named = |(at, size): (usize, &Size)| {
            size.map_or_else(|| Dimension::named(&format!("unk__{at}")), Dimension::of)
        };
        dims.iter().enumerate().map(named).collect()
    }

    pub(super) fn input(&mut self, name: &str, dims: &[Size]) -> String {
        self.graph.input.push(ValueInfoProto::float_tensor(name, Self::shape(dims)));
        name.to_owned()
    }

    pub(super) fn output(&mut self, value: &str, dims: &[Size]) {
        self.graph.output.push(ValueInfoProto::float_tensor(value, Self::shape(dims)));
    }

    pub(super) fn floats(&mut self, dims: &[usize], values: &[f32]) -> String {
        let name = self.name("constant");
        self.graph.initializer.push(TensorProto::floats(&name, dims, values));
        name
    }

    pub(super) fn weights(&mut self, dims: &[usize]) -> String {
        let count = dims.iter().product();
        let values: Vec<f32> = (0..count).map(|_| 0.5 * self.number()).collect();
        self.floats(dims, &values)
    }

    /// Between -1 and 1.
    fn number(&mut self) -> f32 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.seed >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(super) fn ints(&mut self, values: &[i64]) -> String {
        let name = self.name("list");
        self.graph.initializer.push(TensorProto::int64s(&name, &[values.len()], values));
        name
    }

    pub(super) fn int(&mut self, value: i64) -> String {
        let name = self.name("number");
        self.graph.initializer.push(TensorProto::int64s(&name, &[], &[value]));
        name
    }

    /// A node with one output.
    pub(super) fn add(&mut self, operator: &str, reads: &[&str]) -> String {
        self.add_with(operator, reads, |node| node)
    }

    pub(super) fn add_with(
        &mut self,
        operator: &str,
        reads: &[&str],
        attributes: impl FnOnce(NodeProto) -> NodeProto,
    ) -> String {
        let output = self.name(&operator.to_lowercase());
        let node = NodeProto::new(operator, &output, reads, &[&output]);
        self.graph.node.push(attributes(node));
        output
    }

    pub(super) fn transpose(&mut self, value: &str, order: &[i64]) -> String {
        self.add_with("Transpose", &[value], |node| node.with_ints("perm", order))
    }

    pub(super) fn gather(&mut self, value: &str, index: i64, axis: i64) -> String {
        let index = self.int(index);
        self.add_with("Gather", &[value, &index], |node| node.with_int("axis", axis))
    }

    pub(super) fn squeeze(&mut self, value: &str, axis: i64) -> String {
        let axes = self.ints(&[axis]);
        self.add("Squeeze", &[value, &axes])
    }

    pub(super) fn slice(&mut self, value: &str, from: i64, to: i64, axis: i64) -> String {
        let [from, to, axis] = [from, to, axis].map(|place| self.ints(&[place]));
        self.add("Slice", &[value, &from, &to, &axis])
    }

    /// A recurrent layer on `[T,B,F]`. Gives `[T,B,H]` and the last states.
    pub(super) fn recurrent(
        &mut self,
        operator: &str,
        value: &str,
        [inputs, units]: [usize; 2],
        initial: &[&str],
    ) -> (String, Vec<String>) {
        let gates = match operator {
            "LSTM" => 4,
            "GRU" => 3,
            _ => 1,
        };
        let w = self.weights(&[1, gates * units, inputs]);
        let r = self.weights(&[1, gates * units, units]);
        let b = self.weights(&[1, 2 * gates * units]);
        self.recurrent_of(operator, value, units, [&w, &r, &b], initial)
    }

    pub(super) fn recurrent_of(
        &mut self,
        operator: &str,
        value: &str,
        units: usize,
        [w, r, b]: [&str; 3],
        initial: &[&str],
    ) -> (String, Vec<String>) {
        let name = self.name(&operator.to_lowercase());
        let mut reads = vec![value, w, r, b];
        if !initial.is_empty() {
            reads.push("");
            reads.extend(initial);
        }
        let kinds = if operator == "LSTM" { &["y", "h", "c"][..] } else { &["y", "h"] };
        let outputs: Vec<String> = kinds.iter().map(|kind| format!("{name}_{kind}")).collect();
        let given: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let node = NodeProto::new(operator, &name, &reads, &given)
            .with_int("hidden_size", i64::try_from(units).unwrap());
        self.graph.node.push(node);
        (self.squeeze(&outputs[0], 1), outputs[1..].to_vec())
    }

    /// Zeros `[layers,B,units]` for the batch of `value`, as PyTorch's exporter makes them.
    pub(super) fn zeros(&mut self, value: &str, axis: i64, layers: i64, units: usize) -> String {
        let shape = self.add("Shape", &[value]);
        let batch = self.gather(&shape, axis, 0);
        let axes = self.ints(&[0]);
        let batch = self.add("Unsqueeze", &[&batch, &axes]);
        let (layers, units) = (self.ints(&[layers]), self.ints(&[i64::try_from(units).unwrap()]));
        let shape =
            self.add_with("Concat", &[&layers, &batch, &units], |node| node.with_int("axis", 0));
        self.add("ConstantOfShape", &[&shape])
    }

    pub(super) fn dense(&mut self, value: &str, [inputs, units]: [usize; 2]) -> String {
        let (w, b) = (self.weights(&[inputs, units]), self.weights(&[units]));
        let product = self.add("MatMul", &[value, &w]);
        self.add("Add", &[&product, &b])
    }

    pub(super) fn model(&self) -> ModelProto {
        ModelProto {
            ir_version: 8,
            producer_name: "a test".to_owned(),
            graph: Some(self.graph.clone()),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: self.opset }],
            ..ModelProto::default()
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.model().to_bytes()
    }
}

/// A text attribute.
pub(super) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        s: value.as_bytes().to_vec(),
        kind: attribute_type::STRING,
        ..AttributeProto::default()
    }
}

/// An attribute that is a graph.
pub(super) fn body(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        g: Some(graph),
        kind: attribute_type::GRAPH,
        ..AttributeProto::default()
    }
}
