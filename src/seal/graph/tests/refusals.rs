//! What is refused, and with which words.

use super::super::{Hints, Layout, Wanted, read};
use super::net::Net;
use super::support::{
    FEATURES, UNITS, WINDOW, beside_of, lstm_of, nothing_beside, read_plain, wanted,
};
use crate::engine::onnx::{ModelProto, NodeProto, StringStringEntryProto};
use crate::engine::test_support::onnxruntime as runtime;

fn refusal(onnx: &[u8]) -> String {
    read_plain(onnx).err().expect("it is refused").join("\n")
}

#[test]
fn a_projection_as_pytorch_writes_it_does_not_run() {
    let mut net = Net::new();
    let x = net.input("x", &[None, None, Some(FEATURES)]);
    // The cell is wider than what the layer hands on.
    let hidden = net.zeros(&x, 1, 1, UNITS);
    let cell = net.zeros(&x, 1, 1, 2 * UNITS);
    let (steps, _) = net.recurrent("LSTM", &x, [FEATURES, UNITS], &[&hidden, &cell]);
    let last = net.gather(&steps, -1, 0);
    let y = net.dense(&last, [UNITS, 1]);
    net.output(&y, &[None, Some(1)]);
    let refusal = refusal(&net.bytes());
    assert!(refusal.starts_with("the graph does not run as it was exported: "), "{refusal}");
    assert!(refusal.contains("proj_size"), "{refusal}");
}

#[test]
fn the_words_of_the_runtime_are_plain() {
    let mut refusals = Vec::new();
    for operator in ["Einstein", "Conv", "Gemm", "Reshape", "Squeeze"] {
        let mut net = Net::new();
        let x = net.input("x", &[None, None, Some(FEATURES)]);
        let wrong = net.weights(&[7, 5]);
        let y = net.add(operator, &[&x, &wrong]);
        net.output(&y, &[None, Some(1)]);
        refusals.push(refusal(&net.bytes()));
    }
    assert!(refusals[0].ends_with(": operator set 17 has no operator `Einstein`"));
    assert!(refusals[1].contains(": Conv `conv_2`: Number of spatial"), "{}", refusals[1]);
    for refusal in refusals {
        for raw in ["\u{1b}", "onnxruntime", ".cc", "Status", "Exception", "  ", "\\u"] {
            assert!(!refusal.contains(raw), "{raw:?} in {refusal}");
        }
        let said = refusal.split(": ").nth(1).unwrap();
        assert_eq!(refusal.matches(said).count(), 1, "{refusal}");
        assert!(refusal.chars().count() < 400, "{refusal}");
    }
}

#[test]
fn data_outside_the_folder_or_of_another_size_is_refused() {
    let good = |model: &mut ModelProto| beside_of(model, "weights.bin");
    let change = |key: &'static str, value: &'static str| {
        move |model: &mut ModelProto| {
            let data = good(model);
            for tensor in &mut model.graph.as_mut().unwrap().initializer {
                tensor.external_data.retain(|entry| entry.key != key);
                if tensor.data_location == 1 {
                    tensor.external_data.push(StringStringEntryProto::new(key, value));
                }
            }
            data
        }
    };
    type Change = Box<dyn Fn(&mut ModelProto) -> Vec<u8>>;
    let cases: Vec<(Change, &str)> = vec![
        (Box::new(change("location", "../weights.bin")), "only a file in the model's own folder"),
        (Box::new(change("location", "/etc/passwd")), "only a file in the model's own folder"),
        (Box::new(change("location", "..")), "only a file in the model's own folder"),
        (Box::new(change("location", "a\\b")), "only a file in the model's own folder"),
        (Box::new(change("location", "c:b")), "only a file in the model's own folder"),
        (Box::new(change("location", "")), "only a file in the model's own folder"),
        (Box::new(change("location", "gone.bin")), "`gone.bin` beside the model: there is no"),
        (Box::new(change("offset", "18446744073709551615")), "its data ends behind the"),
        (Box::new(change("offset", "-1")), "offset `-1` of its data is not a number"),
        (Box::new(change("length", "4")), "4 bytes of data do not fill its shape"),
        (Box::new(change("length", "99999999")), "its data ends behind the"),
    ];
    for (change, words) in cases {
        let mut model = lstm_of(Layout::TimeMajor, None, None).model();
        let data = change(&mut model);
        let beside = |name: &str| match name {
            "weights.bin" => Ok(data.clone()),
            other => nothing_beside(other),
        };
        let refused = read(&model.to_bytes(), &beside, runtime(), &Hints::default());
        let refusal = refused.err().expect(words).join("\n");
        assert!(refusal.contains(words), "{words}: {refusal}");
    }
    // A large file may not be taken in again and again.
    let mut model = lstm_of(Layout::TimeMajor, None, None).model();
    let graph = model.graph.as_mut().unwrap();
    for tensor in &mut graph.initializer {
        if tensor.data_type == 1 {
            tensor.raw_data.clear();
            tensor.dims = vec![8 << 20];
            tensor.data_location = 1;
            tensor.external_data = vec![StringStringEntryProto::new("location", "weights.bin")];
        }
    }
    let beside = |_: &str| Ok(vec![0; 32 << 20]);
    let refused = read(&model.to_bytes(), &beside, runtime(), &Hints::default());
    let refusal = refused.err().unwrap().join("\n");
    assert!(refusal.contains("makes the model larger than"), "{refusal}");
}

#[test]
fn what_only_its_own_library_runs_is_refused_with_the_way_out() {
    let mut net = lstm_of(Layout::TimeMajor, None, None);
    net.graph.node[0].domain = "com.example".to_owned();
    let said = refusal(&net.bytes());
    assert!(said.contains("operator `LSTM` is of the domain `com.example`"), "{said}");
    assert!(said.contains("export the model with operators of ONNX"), "{said}");
    let mut model = lstm_of(Layout::TimeMajor, None, None).model();
    model.functions.push(Vec::new());
    assert!(refusal(&model.to_bytes()).contains("with them inlined"));
    let mut net = lstm_of(Layout::TimeMajor, None, None);
    net.opset = 6;
    assert!(refusal(&net.bytes()).contains("operator set 6"));
    assert!(refusal(b"\x0b").contains("not an ONNX model"));
    assert_eq!(refusal(b""), "there is no graph in it");
}

#[test]
fn what_is_wanted_must_be_what_the_graph_takes() {
    let foreign = read_plain(&lstm_of(Layout::BatchFirst, Some(WINDOW), None).bytes()).unwrap();
    let wanted = Wanted { window: 20, features: 2, ..wanted() };
    let refusal = foreign.rewrite(runtime(), &wanted).unwrap_err();
    assert_eq!(refusal, ["input `sequence` is [B,6,3], and no window of 20 steps of 2 features",]);
    let foreign = read_plain(&lstm_of(Layout::Flattened, None, None).bytes()).unwrap();
    let refusal = foreign.rewrite(runtime(), &wanted).unwrap_err();
    assert_eq!(refusal, ["input `sequence` is [B,18], and no window of 20 steps of 2 features"]);
    // A window without a batch is found before it is run as a batch of rows.
    let mut net = Net::new();
    let x = net.input("x", &[Some(WINDOW), Some(FEATURES)]);
    let y = net.dense(&x, [FEATURES, 1]);
    net.output(&y, &[Some(WINDOW), Some(1)]);
    let hints = Hints { window: Some(WINDOW), features: Some(FEATURES), ..Hints::default() };
    let refusal = read(&net.bytes(), &nothing_beside, runtime(), &hints).err().unwrap();
    assert_eq!(
        refusal,
        ["input `x` is [6,3], a window without an axis of the batch: export it as [B,6,3]"]
    );
}

#[test]
fn sizes_that_a_file_states_are_bounded_before_memory_is_taken() {
    for dims in [[Some(1 << 40), None, Some(FEATURES)], [None, Some(1 << 40), Some(FEATURES)]] {
        let mut net = Net::new();
        let x = net.input("x", &dims);
        let last = net.gather(&x, -1, 1);
        net.output(&last, &[None, Some(FEATURES)]);
        let said = refusal(&net.bytes());
        assert!(said.contains("are more than"), "{said}");
    }
    // A constant that is doubled forty times stays what the graph computes.
    let mut net = lstm_of(Layout::TimeMajor, None, None);
    let mut doubled = net.weights(&[1024]);
    for _ in 0..40 {
        doubled = net.add_with("Concat", &[&doubled, &doubled], |node| node.with_int("axis", 0));
    }
    let mut model = net.model();
    super::super::fold::fold(&mut model);
    assert!(model.to_bytes().len() < 600 << 20);
    let graph = model.graph.unwrap();
    assert!(graph.node.iter().any(|node| node.op_type == "Concat"));
    // A constant without elements has none to move, whatever its other sizes say.
    for size in [1 << 40, i64::MAX as usize] {
        let mut net = lstm_of(Layout::TimeMajor, None, None);
        let empty = net.floats(&[0, size, size], &[]);
        let (index, full) = (net.int(0), net.weights(&[4]));
        let huge = net.ints(&[i64::MAX, i64::MAX]);
        let moves = [
            net.transpose(&empty, &[1, 2, 0]),
            net.slice(&empty, 0, 1, 1),
            net.add("Gather", &[&empty, &index]),
            net.add("Reshape", &[&empty, &huge]),
            net.add("Reshape", &[&full, &huge]),
        ];
        net.graph.node.push(NodeProto::new("Split", "", &[&empty], &["one", "other"]));
        // Gates that cannot be counted.
        let node = net.graph.node.iter_mut().find(|node| node.op_type == "LSTM").unwrap();
        node.attribute[0].i = i64::MAX;
        let mut model = net.model();
        assert!(super::super::words::suspicion(&model).is_some());
        assert_eq!(super::super::layers(&model.to_bytes()).len(), 2);
        super::super::fold::fold(&mut model);
        let left = |name: &String| {
            let nodes = &model.graph.as_ref().unwrap().node;
            nodes.iter().any(|node| node.output.contains(name))
        };
        assert!(moves.iter().all(left));
    }
    // A state of a million layers is no state.
    let mut net = Net::new();
    let x = net.input("x", &[None, None, Some(FEATURES)]);
    let h = net.input("h", &[Some(1 << 20), None, Some(UNITS)]);
    let first = net.slice(&h, 0, 1, 0);
    let (steps, states) = net.recurrent("GRU", &x, [FEATURES, UNITS], &[&first]);
    let last = net.gather(&steps, -1, 0);
    net.output(&last, &[None, Some(UNITS)]);
    net.output(&states[0], &[Some(1 << 20), None, Some(UNITS)]);
    let said = refusal(&net.bytes());
    assert!(said.contains("at most 64 fixed layers"), "{said}");
}

#[test]
fn inputs_that_cannot_be_told_apart_are_refused() {
    let mut net = Net::new();
    let one = net.input("prices", &[None, Some(WINDOW), Some(FEATURES)]);
    let other = net.input("volumes", &[None, Some(WINDOW), Some(FEATURES)]);
    let sum = net.add("Add", &[&one, &other]);
    let last = net.gather(&sum, -1, 1);
    let y = net.dense(&last, [FEATURES, 1]);
    net.output(&y, &[None, Some(1)]);
    let said = refusal(&net.bytes());
    assert!(said.contains("inputs `prices` and `volumes` could both be the rows"), "{said}");
    let mut net = Net::new();
    let x = net.input("x", &[None, Some(WINDOW), Some(FEATURES), Some(1)]);
    let y = net.squeeze(&x, 3);
    net.output(&y, &[None, Some(WINDOW), Some(FEATURES)]);
    let said = refusal(&net.bytes());
    assert!(said.contains("input `x` has 4 axes"), "{said}");
}
