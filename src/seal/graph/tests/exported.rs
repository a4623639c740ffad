//! Graphs of which the exporters make more than the layers need: sizes that are fixed, 16-bit
//! floats, and operator sets that are not named.

use super::super::{Hints, Layout};
use super::net::Net;
use super::support::{FEATURES, UNITS, WINDOW, lstm_of, read_plain, sealed, sealed_with, wanted};
use crate::engine::model::manifest::Mode;
use crate::engine::onnx::{
    AttributeProto, FLOAT, FLOAT16, ModelProto, NodeProto, OperatorSetIdProto, attribute_type,
};
use crate::engine::test_support::onnxruntime as runtime;

/// A recurrent layer as PyTorch's exporter writes it: its steps `[T,B,H]` by a move of the axis of
/// directions and a Reshape to `shape`, whose target is computed where there is none.
fn layer(
    net: &mut Net,
    operator: &str,
    rows: &str,
    inputs: usize,
    shape: Option<&[i64]>,
) -> String {
    let zeros = net.floats(&[1, 1, UNITS], &[0.0; UNITS]);
    let count = if operator == "LSTM" { 2 } else { 1 };
    let is_fixed = shape.is_some_and(|shape| !shape.contains(&-1));
    let initial = vec![&*zeros; if is_fixed { count } else { 0 }];
    net.recurrent(operator, rows, [inputs, UNITS], &initial);
    let squeeze = net.graph.node.pop().unwrap();
    let moved = net.transpose(&squeeze.input[0], &[0, 2, 1, 3]);
    match shape {
        Some(shape) => {
            let target = net.ints(shape);
            let is_open = i64::from(shape.contains(&-1));
            net.add_with("Reshape", &[&moved, &target], |node| node.with_int("allowzero", is_open))
        }
        None => {
            let whole = net.add("Shape", &[&moved]);
            let [steps, batch] = [0, 1].map(|at| net.slice(&whole, at, at + 1, 0));
            let units = net.slice(&whole, 3, 4, 0);
            let target =
                net.add_with("Concat", &[&steps, &batch, &units], |node| node.with_int("axis", 0));
            net.add("Reshape", &[&moved, &target])
        }
    }
}

/// A head on the newest step of `[T,B,H]`.
fn head(net: &mut Net, steps: &str, batch: Option<usize>) {
    let turned = net.transpose(steps, &[1, 0, 2]);
    let last = net.gather(&turned, -1, 1);
    let y = net.dense(&last, [UNITS, 1]);
    net.output(&y, &[batch, Some(1)]);
}

/// PyTorch's default: every size is that of the example.
#[test]
fn a_window_and_a_batch_that_a_reshape_fixes_are_freed() {
    for batch in [1, 2] {
        for operator in ["LSTM", "GRU"] {
            let mut net = Net::new();
            let x = net.input("x", &[Some(batch), Some(WINDOW), Some(FEATURES)]);
            let rows = net.transpose(&x, &[1, 0, 2]);
            let shape = [WINDOW, batch, UNITS].map(|size| size as i64);
            let steps = layer(&mut net, operator, &rows, FEATURES, Some(&shape));
            head(&mut net, &steps, Some(batch));
            if batch > 1 {
                // The first states have the batch of the file.
                net.graph.initializer.iter_mut().filter(|t| t.dims == [1, 1, 4]).for_each(|t| {
                    t.dims[1] = batch as i64;
                    t.raw_data = t.raw_data.repeat(batch);
                });
            }
            let (foreign, rewritten) = sealed(&net);
            let input = &foreign.facts.input;
            assert_eq!((input.batch, input.window), (Some(batch), Some(WINDOW)));
            assert_eq!(rewritten.modes, [Mode::Full, Mode::Sliding], "{:?}", rewritten.notes);
            assert!(!rewritten.is_alone);
            let said = &rewritten.rewrites;
            assert!(said.iter().any(|said| said.contains("fixed at 6 steps")), "{said:?}");
        }
    }
}

/// Two layers, time first, of which the last one's steps are brought to `[6,-1,H]`.
#[test]
fn a_window_that_is_fixed_beside_an_open_batch_is_freed() {
    let mut net = Net::new();
    let x = net.input("x", &[Some(WINDOW), None, Some(FEATURES)]);
    let steps = layer(&mut net, "GRU", &x, FEATURES, None);
    let shape = [WINDOW as i64, -1, UNITS as i64];
    let steps = layer(&mut net, "GRU", &steps, UNITS, Some(&shape));
    let last = net.gather(&steps, -1, 0);
    let y = net.dense(&last, [UNITS, 1]);
    net.output(&y, &[None, Some(1)]);
    let (foreign, rewritten) = sealed(&net);
    assert_eq!(foreign.facts.input.layout, Layout::TimeMajor);
    assert_eq!(rewritten.modes, [Mode::Full, Mode::Sliding], "{:?}", rewritten.notes);
    assert_eq!(rewritten.spec.states.len(), 2);
}

/// A float with 16 bits, cut.
fn narrow(value: f32) -> u16 {
    let bits = value.to_bits();
    let exponent = (bits >> 23) & 0xff;
    let sign = (bits >> 16) & 0x8000;
    let magnitude =
        if exponent < 113 { 0 } else { ((exponent - 112) << 10) | ((bits >> 13) & 0x3ff) };
    u16::try_from(sign | magnitude).unwrap()
}

/// The same graph of 16-bit floats, from end to end.
fn halved(net: &mut Net) {
    for tensor in net.graph.initializer.iter_mut().filter(|tensor| tensor.data_type == FLOAT) {
        let values = tensor.read_floats().unwrap();
        tensor.data_type = FLOAT16;
        tensor.raw_data = values.iter().flat_map(|value| narrow(*value).to_le_bytes()).collect();
    }
    for value in net.graph.input.iter_mut().chain(&mut net.graph.output) {
        let tensor = value.r#type.as_mut().unwrap().tensor_type.as_mut();
        tensor.unwrap().elem_type = FLOAT16;
    }
}

/// The runtime drops a pair of casts, and the rounding between them: a graph that lost a move of
/// data to a rewrite would round in other places than the file.
#[test]
fn layers_of_16_bit_floats_round_where_the_file_does() {
    type Build = fn() -> Net;
    let builds: [(&str, Build); 3] = [
        ("as PyTorch writes it", || {
            let mut net = Net::new();
            let x = net.input("x", &[None, Some(WINDOW), Some(FEATURES)]);
            let rows = net.transpose(&x, &[1, 0, 2]);
            let steps = layer(&mut net, "LSTM", &rows, FEATURES, None);
            head(&mut net, &steps, None);
            net
        }),
        ("two layers, time first", || {
            let mut net = Net::new();
            let x = net.input("x", &[None, None, Some(FEATURES)]);
            let steps = layer(&mut net, "GRU", &x, FEATURES, None);
            let steps = layer(&mut net, "LSTM", &steps, UNITS, None);
            head(&mut net, &steps, None);
            net
        }),
        ("a squeeze behind the layer", || lstm_of(Layout::BatchFirst, Some(WINDOW), None)),
    ];
    for (name, build) in builds {
        let mut net = build();
        halved(&mut net);
        let (_, rewritten) = sealed(&net);
        assert_eq!(rewritten.modes, [Mode::Full, Mode::Sliding], "{name}: {:?}", rewritten.notes);
        let said = &rewritten.rewrites;
        assert!(said.iter().any(|said| said.contains("recurrent layers of 16-bit")), "{said:?}");
    }
}

/// What onnxmltools writes of XGBoost: trees, and no operator of the standard set.
#[test]
fn a_graph_of_classic_operators_alone_has_no_operator_set_to_be_too_old() {
    let mut net = Net::new();
    let width = WINDOW * FEATURES;
    let x = net.input("x", &[None, Some(width)]);
    let floats = |name: &str, floats: Vec<f32>| AttributeProto {
        name: name.to_owned(),
        floats,
        kind: attribute_type::FLOATS,
        ..AttributeProto::default()
    };
    let weights = (0..width).map(|at| at as f32 / 7.0 - 1.0).collect();
    let mut node = NodeProto::new("LinearRegressor", "line", &[&x], &["y"]).with_int("targets", 1);
    node.domain = "ai.onnx.ml".to_owned();
    node.attribute.extend([floats("coefficients", weights), floats("intercepts", vec![0.5])]);
    net.graph.node.push(node);
    net.output("y", &[None, Some(1)]);
    let import = |domain: &str, version| OperatorSetIdProto { domain: domain.to_owned(), version };
    for version in [1, 3] {
        let mut model = net.model();
        model.ir_version = 6;
        model.opset_import = vec![import("ai.onnx.ml", version)];
        let (foreign, rewritten) = sealed_with(&model.to_bytes(), &Hints::default(), &wanted());
        assert_eq!(foreign.facts.opset, 17);
        assert_eq!(rewritten.modes, [Mode::Full]);
        assert_eq!(rewritten.rewrites[0], "standard operators of set 17: imported, it had none");
        let sealed = ModelProto::from_bytes(&rewritten.onnx).unwrap();
        assert_eq!(sealed.opset_import, [import("ai.onnx.ml", version), import("", 17)]);
        assert_eq!(sealed.ir_version, 8);
    }
    // Standard operators of a set that is not named could mean anything.
    let mut model = lstm_of(Layout::TimeMajor, None, None).model();
    model.opset_import = vec![import("ai.onnx.ml", 3)];
    let refusal = read_plain(&model.to_bytes()).err().unwrap();
    assert!(refusal[0].contains("without saying of which operator set"), "{refusal:?}");
    assert_eq!(refusal.len(), 1);
    assert!(foreign_runs(&net));
}

/// The control: the same graph with its sets named runs.
fn foreign_runs(net: &Net) -> bool {
    let mut model = net.model();
    let domain = "ai.onnx.ml".to_owned();
    model.opset_import.push(OperatorSetIdProto { domain, version: 3 });
    let foreign = read_plain(&model.to_bytes()).unwrap();
    foreign.rewrite(runtime(), &wanted()).is_ok()
}
