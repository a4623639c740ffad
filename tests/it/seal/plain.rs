//! Graphs without recurrent layers: what a run does not tell is asked, and what rounds or takes one
//! row is said.

use super::{Place, WINDOW_STEPS, words};
use crate::support::network::Network;
use crate::support::process::run;
use serde_json::Value;
use tickcast::engine::model::Bundle;
use tickcast::engine::model::manifest::{Mode, Rows};
use tickcast::engine::onnx::{Dimension, ModelProto, NodeProto, TensorProto, ValueInfoProto};

/// A graph of these nodes on a window `x`, batch first, without a recurrent layer.
fn plain(batch: Option<usize>, nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> ModelProto {
    let mut model = ModelProto::from_bytes(&Network::random(7, 3, &[8]).to_onnx()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let size = || batch.map_or_else(|| Dimension::named("batch"), Dimension::of);
    let axes = [size(), Dimension::of(WINDOW_STEPS), Dimension::of(3)];
    graph.input = vec![ValueInfoProto::float_tensor("x", axes)];
    graph.output = vec![ValueInfoProto::float_tensor("y", [size(), Dimension::of(1)])];
    (graph.node, graph.initializer) = (nodes, constants);
    model
}

const NO_EXPECT: (&str, &str) = ("[expect]\npath = \"predictions.csv\"", "");

/// Sums that round by how they are made: of a window at once or step by step.
#[test]
fn a_graph_whose_single_steps_round_differently_serves_whole_windows() {
    let place = Place::new();
    let tenth = TensorProto::floats("tenth", &[1], &[0.1]);
    let axis = |name: &str, axis| TensorProto::int64s(name, &[1], &[axis]);
    let nodes = vec![
        NodeProto::new("Transpose", "turn", &["x"], &["rows"]).with_ints("perm", &[1, 0, 2]),
        NodeProto::new("ReduceSum", "sum", &["rows", "first"], &["sums"]),
        NodeProto::new("Mul", "part", &["sums", "tenth"], &["parts"]),
        NodeProto::new("Add", "next", &["s", "parts"], &["t"]),
        NodeProto::new("ReduceSum", "all", &["t", "last"], &["one"]).with_int("keepdims", 0),
        NodeProto::new("Transpose", "flat", &["one"], &["y"]).with_ints("perm", &[1, 0]),
    ];
    let mut model = plain(None, nodes, vec![tenth, axis("first", 0), axis("last", 2)]);
    let graph = model.graph.as_mut().unwrap();
    let state = || [Dimension::of(1), Dimension::named("batch"), Dimension::of(3)];
    let axes = [Dimension::named("batch"), Dimension::named("steps"), Dimension::of(3)];
    graph.input[0] = ValueInfoProto::float_tensor("x", axes);
    graph.input.push(ValueInfoProto::float_tensor("s", state()));
    graph.output.push(ValueInfoProto::float_tensor("t", state()));
    place.write("model.onnx", model.to_bytes());
    place.configure(&[NO_EXPECT]);
    let output = place.seal(&[]);
    let (said, told) = words(&output);
    assert!(output.status.success(), "{told}");
    let bundle = Bundle::read(&place.path("models/foreign/1")).unwrap();
    assert_eq!(bundle.manifest().modes, [Mode::Full], "{said}");
    assert_eq!(bundle.manifest().graph.states.len(), 1);
    let note = "note: mode `sliding` is not served: model: states are not exact in this model";
    assert!(told.contains(note), "{told}");
}

#[test]
fn a_graph_that_takes_one_row_is_said_to() {
    let place = Place::new();
    let list = |name: &str, values: &[i64]| TensorProto::int64s(name, &[values.len()], values);
    let size = 3 * WINDOW_STEPS;
    let weights: Vec<f32> = (0..size).map(|at| 0.01 * at as f32).collect();
    // Flat, cut by places that only one row has.
    let nodes = vec![
        NodeProto::new("Reshape", "flat", &["x", "all"], &["line"]),
        NodeProto::new("Slice", "cut", &["line", "begin", "end"], &["part"]),
        NodeProto::new("Reshape", "row", &["part", "one"], &["rows"]),
        NodeProto::new("MatMul", "head", &["rows", "weights"], &["y"]),
    ];
    let constants = vec![
        list("all", &[size as i64]),
        list("begin", &[0]),
        list("end", &[size as i64]),
        list("one", &[1, size as i64]),
        TensorProto::floats("weights", &[size, 1], &weights),
    ];
    place.write("model.onnx", plain(Some(1), nodes, constants).to_bytes());
    place.configure(&[NO_EXPECT]);
    let (said, bundle) = place.sealed();
    let exactness = bundle.manifest().exactness.unwrap();
    assert_eq!((exactness.rows, exactness.windows), (Rows::Alone, 256));
    assert!(said.contains("one at a time, each of 256 windows proven alone"), "{said}");
}

/// Nothing in the graph says which axis is which, and nothing in a run.
#[test]
fn what_neither_the_graph_nor_a_run_tells_is_asked() {
    let place = Place::new();
    let list = |name: &str, values: &[i64]| TensorProto::int64s(name, &[values.len()], values);
    let weights: Vec<f32> = (0..9).map(|at| 0.01 * at as f32).collect();
    let nodes = vec![
        NodeProto::new("Reshape", "flat", &["x", "line"], &["rows"]),
        NodeProto::new("MatMul", "head", &["rows", "weights"], &["y"]),
    ];
    let constants = vec![list("line", &[-1, 9]), TensorProto::floats("weights", &[9, 1], &weights)];
    let mut model = plain(None, nodes.clone(), constants.clone());
    let axes = [Dimension::named("batch"), Dimension::of(3), Dimension::of(3)];
    model.graph.as_mut().unwrap().input = vec![ValueInfoProto::float_tensor("x", axes)];
    place.write("model.onnx", model.to_bytes());
    let steps = ("steps = 5", "steps = 3");
    place.configure(&[steps, NO_EXPECT]);
    let problems = place.refused();
    let expected = "window.layout: is missing: input `x` of the model is [B,3,3], which may be \
                    batch first or features before steps";
    assert!(problems.len() == 1 && problems[0].starts_with(expected), "{problems:?}");
    let (begun, _) = words(&run(&["model", "seal", "--init", &place.text("model.onnx")]));
    assert!(begun.contains("# layout = \"batch_first\"\n"), "{begun}");
    assert!(begun.contains("FILL IN: \"batch_first\" or \"features_first\""), "{begun}");
    place.configure(&[("steps = 5", "steps = 3\nlayout = \"features_first\""), NO_EXPECT]);
    let (said, _) = place.sealed();
    assert!(said.contains("features before time: sealed with a Transpose"), "{said}");
    // As many rows as steps.
    let mut rows = nodes;
    rows.insert(1, NodeProto::new("Reshape", "rows", &["wide", "shape"], &["y"]));
    rows[2] = NodeProto::new("MatMul", "head", &["rows", "weights"], &["wide"]);
    rows.swap(1, 2);
    let wide: Vec<f32> = (0..75).map(|at| 0.01 * at as f32).collect();
    let constants = vec![
        list("line", &[-1, 15]),
        list("shape", &[-1, 5, 1]),
        TensorProto::floats("weights", &[15, 5], &wide),
    ];
    let mut model = plain(None, rows, constants);
    let axes = [Dimension::named("batch"), Dimension::of(5), Dimension::of(1)];
    model.graph.as_mut().unwrap().output = vec![ValueInfoProto::float_tensor("y", axes)];
    place.write("model.onnx", model.to_bytes());
    place.configure(&[NO_EXPECT]);
    let output = place.seal(&["--dry-run"]);
    let expected = "output.each_step: is missing: output `y` of the model has 5 rows for a window";
    assert!(words(&output).1.contains(expected), "{}", words(&output).1);
    place.configure(&[("[data]", "[output]\nvalue = 2\neach_step = false\n\n[data]"), NO_EXPECT]);
    let output = place.seal(&["--dry-run", "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer[0]["manifest"]["graph"]["columns"]["count"], 5);
}

/// scikit-learn's converter, given `FloatTensorType([None, None])`.
#[test]
fn a_configuration_begins_with_the_sizes_that_a_file_leaves_open() {
    let place = Place::new();
    let weights = TensorProto::floats("weights", &[15, 1], &[0.1; 15]);
    let nodes = vec![NodeProto::new("MatMul", "head", &["x", "weights"], &["y"])];
    let mut model = plain(None, nodes, vec![weights]);
    let axes = [Dimension::named("batch"), Dimension::named("width")];
    model.graph.as_mut().unwrap().input = vec![ValueInfoProto::float_tensor("x", axes)];
    place.write("model.onnx", model.to_bytes());
    let path = place.text("model.onnx");
    let output = run(&["model", "seal", "--init", &path]);
    assert_eq!(output.status.code(), Some(78));
    assert!(words(&output).1.contains("give --window and --features"), "{}", words(&output).1);
    let output = run(&["model", "seal", "--init", &path, "--window", "5", "--features", "3"]);
    assert!(words(&output).0.contains("one flat row for each window"), "{}", words(&output).1);
}
