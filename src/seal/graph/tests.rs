//! Graphs built by hand, each run by ONNX Runtime as it was and rewritten.

mod exported;
mod net;
mod random;
mod refusals;
mod support;

use self::net::{Net, text};
use self::support::{
    FEATURES, UNITS, WINDOW, assert_rows_keep_apart, beside_of, lstm_of, nothing_beside, prove,
    read_plain, sealed, sealed_with, wanted, windows,
};
use super::{Comparison, Hints, Layout, Rewritten, Wanted, read, run_original};
use crate::engine::inference::trial::Element;
use crate::engine::model::manifest::Mode;
use crate::engine::onnx::{DOUBLE, FLOAT, FLOAT16, ModelProto, OperatorSetIdProto, ValueInfoProto};
use crate::engine::test_support::onnxruntime as runtime;

fn said(rewritten: &Rewritten, words: &str) -> bool {
    rewritten.rewrites.iter().any(|sentence| sentence.contains(words))
}

#[test]
fn the_layout_is_found_by_running_whatever_the_sizes() {
    for (window, batch) in [
        (None, None),
        (Some(WINDOW), None),
        (None, Some(1)),
        (Some(WINDOW), Some(1)),
        // As many rows as steps: the shape says nothing at all.
        (Some(WINDOW), Some(WINDOW)),
    ] {
        for layout in [Layout::BatchFirst, Layout::TimeMajor] {
            let (foreign, rewritten) = sealed(&lstm_of(layout, window, batch));
            let input = &foreign.facts.input;
            assert_eq!(input.layout, layout, "{window:?} {batch:?}");
            assert_eq!((input.window, input.batch), (window, batch));
            assert_eq!(input.features, Some(FEATURES));
            assert_eq!(rewritten.spec.input, "sequence");
            assert_eq!(rewritten.modes, [Mode::Full, Mode::Sliding]);
            assert!(!rewritten.is_alone);
        }
    }
}

#[test]
fn a_window_in_another_shape_is_brought_to_rows() {
    let (foreign, rewritten) = sealed(&lstm_of(Layout::Flattened, None, None));
    assert_eq!(foreign.facts.input.layout, Layout::Flattened);
    assert_eq!(foreign.facts.input.width, Some(WINDOW * FEATURES));
    assert!(said(&rewritten, "input `sequence` is [B,18], the window flattened"));
    assert!(said(&rewritten, "a Transpose and a Reshape"));
    let hints = Hints { window: Some(WINDOW), features: Some(FEATURES), ..Hints::default() };
    let net = lstm_of(Layout::FeaturesFirst, Some(WINDOW), None);
    let (foreign, rewritten) = sealed_with(&net.bytes(), &hints, &wanted());
    assert_eq!(foreign.facts.input.layout, Layout::FeaturesFirst);
    assert_eq!(rewritten.modes, [Mode::Full, Mode::Sliding]);
}

#[test]
fn rewrites_speak_of_the_model() {
    let (foreign, rewritten) = sealed(&lstm_of(Layout::BatchFirst, Some(WINDOW), None));
    assert_eq!(
        rewritten.rewrites,
        [
            "input `sequence` is [B,6,3], batch first: sealed with a Transpose",
            "moves of data that cancel each other: dropped",
            "states of LSTM begin from zero: given out as `h0`, `c0`",
            "the window is fixed at 6 steps in the file: freed",
        ]
    );
    assert_eq!(foreign.facts.words, ["LSTM 4", "Dense 1"]);
    // Gates of inputs and of states for each step, and the dense layer.
    let cost = (4 * UNITS * (FEATURES + UNITS) * WINDOW + UNITS) as u64;
    assert_eq!(foreign.facts.cost, Some(cost));
    assert_eq!(foreign.facts.producer, "a test");
    assert_eq!(foreign.sha256.len(), 64);
}

#[test]
fn stacked_states_are_split_and_wired() {
    let mut net = Net::new();
    let x = net.input("x", &[None, None, Some(FEATURES)]);
    let (stack, cell) = (Some(2), Some(UNITS));
    let h = net.input("h", &[stack, None, cell]);
    let c = net.input("c", &[stack, None, cell]);
    let mut rows = net.transpose(&x, &[1, 0, 2]);
    let mut last = Vec::new();
    for (layer, inputs) in [FEATURES, UNITS].into_iter().enumerate() {
        let at = layer as i64;
        let (h, c) = (net.slice(&h, at, at + 1, 0), net.slice(&c, at, at + 1, 0));
        let (steps, states) = net.recurrent("LSTM", &rows, [inputs, UNITS], &[&h, &c]);
        rows = steps;
        last.push(states);
    }
    let join = |net: &mut Net, which: usize| {
        let parts = [last[0][which].clone(), last[1][which].clone()];
        net.add_with("Concat", &[&parts[0], &parts[1]], |node| node.with_int("axis", 0))
    };
    // The cell first: the order of outputs says nothing.
    let (c_out, h_out) = (join(&mut net, 1), join(&mut net, 0));
    let value = net.gather(&rows, -1, 0);
    let y = net.dense(&value, [UNITS, 1]);
    net.output(&c_out, &[stack, None, cell]);
    net.output(&h_out, &[stack, None, cell]);
    net.output(&y, &[None, Some(1)]);
    let (foreign, rewritten) = sealed(&net);
    let pairs: Vec<(&str, &str)> =
        foreign.facts.states.iter().map(|s| (s.input.as_str(), s.output.as_str())).collect();
    assert_eq!(pairs, [("h", h_out.as_str()), ("c", c_out.as_str())]);
    assert_eq!(foreign.facts.output.name, y);
    let inputs: Vec<&str> =
        rewritten.spec.states.iter().map(|state| state.input.as_str()).collect();
    assert_eq!(inputs, ["h_0", "h_1", "c_0", "c_1"]);
    assert_eq!(rewritten.modes, [Mode::Full, Mode::Sliding]);
    // Nothing is stacked and taken apart again.
    let graph = ModelProto::from_bytes(&rewritten.onnx).unwrap().graph.unwrap();
    let operators: Vec<&str> = graph.node.iter().map(|node| node.op_type.as_str()).collect();
    assert!(!operators.contains(&"Concat") && !operators.contains(&"Slice"), "{operators:?}");
}

#[test]
fn states_of_two_axes_are_brought_to_three() {
    let mut net = Net::new();
    let x = net.input("x", &[None, None, Some(FEATURES)]);
    let h = net.input("h", &[None, Some(UNITS)]);
    let axes = net.ints(&[0]);
    let begin = net.add("Unsqueeze", &[&h, &axes]);
    let (steps, states) = net.recurrent("GRU", &x, [FEATURES, UNITS], &[&begin]);
    let last = net.gather(&steps, -1, 0);
    let y = net.dense(&last, [UNITS, 1]);
    let end = net.squeeze(&states[0], 0);
    net.output(&y, &[None, Some(1)]);
    net.output(&end, &[None, Some(UNITS)]);
    let (foreign, rewritten) = sealed(&net);
    assert_eq!(foreign.facts.states.len(), 1);
    assert_eq!(rewritten.spec.states.len(), 1);
    assert!(said(&rewritten, "brought to [1,B,4]"), "{:?}", rewritten.rewrites);
}

#[test]
fn a_state_without_a_recurrent_operator_pairs_by_shape_and_is_tried() {
    // s' = tanh(s + mean of the rows), which single steps give only for windows of one step.
    for reduces in [false, true] {
        let mut net = Net::new();
        let x = net.input("x", &[None, None, Some(FEATURES)]);
        let s = net.input("s", &[Some(1), None, Some(FEATURES)]);
        let axes = net.ints(&[0]);
        let sum = net.add("ReduceSum", &[&x, &axes]);
        let mut next = net.add("Add", &[&s, &sum]);
        if reduces {
            next = net.add("Tanh", &[&next]);
        }
        let value = net.squeeze(&next, 0);
        let y = net.dense(&value, [FEATURES, 1]);
        net.output(&y, &[None, Some(1)]);
        net.output(&next, &[Some(1), None, Some(FEATURES)]);
        let foreign = read_plain(&net.bytes()).unwrap();
        if reduces {
            // Nothing but its shape says that it is a state, so it is asked for.
            assert_eq!(foreign.facts.states, []);
            let refusal = foreign.rewrite(runtime(), &wanted()).unwrap_err();
            let expected = format!("input `s` [1, 1, 3] has the shape of output `{next}`");
            assert!(refusal.len() == 1 && refusal[0].starts_with(&expected), "{refusal:?}");
            let constants = [("s".to_owned(), vec![0.0])].into();
            let (_, rewritten) =
                sealed_with(&net.bytes(), &Hints::default(), &Wanted { constants, ..wanted() });
            assert_eq!(rewritten.modes, [Mode::Full], "{:?}", rewritten.notes);
            continue;
        }
        assert_eq!(foreign.facts.states[0].input, "s");
        let rewritten = foreign.rewrite(runtime(), &wanted()).unwrap();
        assert_eq!(rewritten.modes, [Mode::Full, Mode::Sliding], "{:?}", rewritten.notes);
    }
}

/// Every size is fixed and every input is a float, as PyTorch exports by default.
#[test]
fn a_lost_constant_of_the_shape_of_an_output_is_no_state() {
    for (lost, gives_back) in [(&["mean"][..], true), (&["mean", "variance"], false)] {
        let mut net = Net::new();
        let x = net.input("x", &[Some(1), Some(WINDOW), Some(FEATURES)]);
        let mut rows = x;
        for name in lost {
            let constant = net.input(name, &[Some(1), Some(1), Some(FEATURES)]);
            rows = net.add("Sub", &[&rows, &constant]);
        }
        let axes = |node: crate::engine::onnx::NodeProto| {
            node.with_ints("axes", &[1]).with_int("keepdims", 1)
        };
        let mean = net.add_with("ReduceMean", &[&rows], axes);
        let flat = net.squeeze(&mean, 1);
        let y = net.dense(&flat, [FEATURES, 1]);
        net.output(&y, &[Some(1), Some(1)]);
        if gives_back {
            net.output(&mean, &[Some(1), Some(1), Some(FEATURES)]);
        }
        let foreign = read_plain(&net.bytes()).unwrap();
        assert_eq!((foreign.facts.input.name.as_str(), foreign.facts.states.len()), ("x", 0));
        assert_eq!(foreign.facts.extra_inputs, lost);
        let refusal = foreign.rewrite(runtime(), &wanted()).unwrap_err();
        assert_eq!(refusal.len(), lost.len(), "{refusal:?}");
        assert!(refusal[0].contains("a constant that the exporter lost"), "{refusal:?}");
    }
}

/// A graph without a recurrent layer on `[B,C,L]` with channels second.
fn conv_of(dims: [net::Size; 3], channels: usize) -> Net {
    let mut net = Net::new();
    let x = net.input("x", &dims);
    let kernel = net.weights(&[UNITS, channels, 2]);
    let features = net.add("Conv", &[&x, &kernel]);
    let most = net.add("GlobalMaxPool", &[&features]);
    let flat = net.squeeze(&most, 2);
    let y = net.dense(&flat, [UNITS, 1]);
    net.output(&y, &[dims[0], Some(1)]);
    net
}

#[test]
fn an_order_that_nothing_tells_is_left_to_be_asked() {
    use Layout::{BatchFirst, FeaturesFirst};
    let given = |window: usize, features: usize| Hints {
        window: Some(window),
        features: Some(features),
        ..Hints::default()
    };
    let said = |layout| Hints { layout: Some(layout), ..given(6, 6) };
    let (six, three) = (Some(6), Some(3));
    type Case = ([net::Size; 3], Hints, Layout, Option<Layout>);
    let cases: [Case; 7] = [
        // As many steps as features: only its maker knows.
        ([None, six, six], given(6, 6), BatchFirst, Some(FeaturesFirst)),
        ([None, six, six], said(BatchFirst), BatchFirst, None),
        ([None, six, six], said(FeaturesFirst), FeaturesFirst, None),
        // The sizes tell, also where the length is free.
        ([None, three, six], given(6, 3), FeaturesFirst, None),
        ([None, three, None], given(6, 3), FeaturesFirst, None),
        ([None, six, three], given(6, 3), BatchFirst, None),
        // `--init` knows no size.
        ([None, three, six], Hints::default(), BatchFirst, Some(FeaturesFirst)),
    ];
    for (dims, hints, layout, other) in cases {
        let net = conv_of(dims, dims[1].unwrap());
        let foreign = read(&net.bytes(), &nothing_beside, runtime(), &hints).unwrap();
        let input = &foreign.facts.input;
        assert_eq!((input.layout, input.other_layout), (layout, other), "{dims:?} {hints:?}");
    }
    // A recurrent layer's axes have a meaning, so nothing is asked.
    for layout in [BatchFirst, Layout::TimeMajor, FeaturesFirst] {
        let net = lstm_of(layout, Some(FEATURES), None);
        for hints in [Hints::default(), given(FEATURES, FEATURES)] {
            let foreign = read(&net.bytes(), &nothing_beside, runtime(), &hints).unwrap();
            let input = &foreign.facts.input;
            assert_eq!((input.layout, input.other_layout), (layout, None));
        }
    }
}

#[test]
fn rows_of_an_output_are_steps_only_where_the_newest_step_changes_the_newest_row_alone() {
    type Head = fn(&mut Net, &str) -> String;
    // From the steps [T,B,H] to [B,T,1].
    let heads: [(Head, bool); 3] = [
        (
            |net, steps| {
                let y = net.dense(steps, [UNITS, 1]);
                net.transpose(&y, &[1, 0, 2])
            },
            true,
        ),
        // As many horizons as steps.
        (
            |net, steps| {
                let last = net.gather(steps, -1, 0);
                let y = net.dense(&last, [UNITS, WINDOW]);
                let shape = net.ints(&[-1, WINDOW as i64, 1]);
                net.add("Reshape", &[&y, &shape])
            },
            false,
        ),
        // Each row also reads what comes after it.
        (
            |net, steps| {
                let (steps, _) = net.recurrent("GRU", steps, [UNITS, UNITS], &[]);
                let node = net.graph.node.iter_mut().rfind(|node| node.op_type == "GRU");
                node.unwrap().attribute.push(text("direction", "reverse"));
                let y = net.dense(&steps, [UNITS, 1]);
                net.transpose(&y, &[1, 0, 2])
            },
            false,
        ),
    ];
    for (at, (head, is_certain)) in heads.into_iter().enumerate() {
        let mut net = Net::new();
        let x = net.input("x", &[None, Some(WINDOW), Some(FEATURES)]);
        let rows = net.transpose(&x, &[1, 0, 2]);
        let (steps, _) = net.recurrent("LSTM", &rows, [FEATURES, UNITS], &[]);
        let y = head(&mut net, &steps);
        net.output(&y, &[None, Some(WINDOW), Some(1)]);
        let output = |each_step| {
            let hints = Hints { each_step, ..Hints::default() };
            let foreign = read(&net.bytes(), &nothing_beside, runtime(), &hints).unwrap();
            let output = foreign.facts.output;
            (output.is_each_step, output.may_be_steps, output.columns)
        };
        let asked = if is_certain { (true, None, 1) } else { (false, Some(WINDOW), WINDOW) };
        assert_eq!(output(None), asked, "head {at}");
        assert_eq!(output(Some(true)), (true, None, 1), "head {at}");
        assert_eq!(output(Some(false)), (false, None, WINDOW), "head {at}");
    }
}

#[test]
fn a_column_is_compared_by_its_own_size() {
    // A bit of 60000 is 0.0039; a return of 0.001 that is twice as large is wrong.
    for (other, is_same) in
        [([60000.004_f32, 0.001], true), ([60000.0, 0.002], false), ([60001.0, 0.001], false)]
    {
        let compared = Comparison::of(&[vec![60000.0, 0.001]], &[other.to_vec()]);
        assert_eq!(compared.is_same(), is_same, "{compared:?}");
    }
    assert!(!Comparison::of(&[vec![1.0]], &[vec![f32::NAN]]).is_same());
    assert!(!Comparison::of(&[vec![1.0]], &[vec![1.0, 1.0]]).is_same());
}

/// What 32 bits cannot hold is the same in the original's run and in the sealed graph.
#[test]
fn a_constant_keeps_all_its_bits() {
    let mut net = Net::new();
    let x = net.input("x", &[None, Some(WINDOW), Some(FEATURES)]);
    let lost = net.input("lost", &[Some(1), Some(FEATURES)]);
    let kind = net.graph.input[1].r#type.as_mut().unwrap().tensor_type.as_mut();
    kind.unwrap().elem_type = DOUBLE;
    let one = net.floats(&[1], &[1.0]);
    let one = net.add_with("Cast", &[&one], |node| node.with_int("to", i64::from(DOUBLE)));
    let small = net.add("Sub", &[&lost, &one]);
    let small = net.add_with("Cast", &[&small], |node| node.with_int("to", i64::from(FLOAT)));
    let large = net.floats(&[1], &[1e7]);
    let large = net.add("Mul", &[&small, &large]);
    let rows = net.add("Add", &[&x, &large]);
    let last = net.gather(&rows, -1, 1);
    let y = net.dense(&last, [FEATURES, 1]);
    net.output(&y, &[None, Some(1)]);
    // 32 bits would make 1.00000012 of it.
    let constants = [("lost".to_owned(), vec![1.000_000_1])].into();
    sealed_with(&net.bytes(), &Hints::default(), &Wanted { constants, ..wanted() });
}

#[test]
fn computed_weights_become_constants() {
    let mut net = Net::new();
    let x = net.input("x", &[None, None, Some(FEATURES)]);
    let rows = net.transpose(&x, &[1, 0, 2]);
    // Each gate on its own and the other way round, as a framework keeps them.
    let gates: Vec<String> = (0..4).map(|_| net.weights(&[FEATURES, UNITS])).collect();
    let gates: Vec<&str> = gates.iter().map(String::as_str).collect();
    let joined = net.add_with("Concat", &gates, |node| node.with_int("axis", 1));
    let turned = net.transpose(&joined, &[1, 0]);
    let axes = net.ints(&[0]);
    let w = net.add("Unsqueeze", &[&turned, &axes]);
    let both = net.weights(&[2, 4 * UNITS, UNITS]);
    let r = net.slice(&both, 1, 2, 0);
    let r = net.add("Identity", &[&r]);
    let flat = net.weights(&[8 * UNITS]);
    let shape = net.ints(&[1, -1]);
    let b = net.add("Reshape", &[&flat, &shape]);
    let (steps, _) = net.recurrent_of("LSTM", &rows, UNITS, [&w, &r, &b], &[]);
    let last = net.gather(&steps, -1, 0);
    let y = net.dense(&last, [UNITS, 1]);
    net.output(&y, &[None, Some(1)]);
    let (_, rewritten) = sealed(&net);
    assert!(said(&rewritten, "computed weights: folded"), "{:?}", rewritten.rewrites);
    let graph = ModelProto::from_bytes(&rewritten.onnx).unwrap().graph.unwrap();
    let lstm = graph.node.iter().find(|node| node.op_type == "LSTM").unwrap();
    for name in &lstm.input[1..4] {
        assert!(graph.initializer.iter().any(|tensor| tensor.name == *name), "{name}");
    }
}

#[test]
fn the_batch_that_a_file_fixes_is_freed_or_rows_go_alone() {
    // Zeros and a flattening of the batch of one, as exporters without free axes write them.
    let build = |is_hopeless: bool| {
        let mut net = Net::new();
        let x = net.input("x", &[Some(1), Some(WINDOW), Some(FEATURES)]);
        let rows = net.transpose(&x, &[1, 0, 2]);
        let zeros = net.floats(&[1, 1, UNITS], &[0.0; UNITS]);
        let (steps, _) = net.recurrent("LSTM", &rows, [FEATURES, UNITS], &[&zeros, &zeros]);
        let steps = net.transpose(&steps, &[1, 0, 2]);
        let size = WINDOW * UNITS;
        let shape = net.ints(&[1, size as i64]);
        let mut flat = net.add("Reshape", &[&steps, &shape]);
        if is_hopeless {
            // Half of a row, picked by its place in the batch of one.
            let shape = net.ints(&[size as i64]);
            flat = net.add("Reshape", &[&flat, &shape]);
            flat = net.slice(&flat, 0, size as i64, 0);
            let shape = net.ints(&[1, size as i64]);
            flat = net.add("Reshape", &[&flat, &shape]);
        }
        let y = net.dense(&flat, [size, 1]);
        net.output(&y, &[Some(1), Some(1)]);
        net
    };
    let (foreign, rewritten) = sealed(&build(false));
    assert_eq!(foreign.facts.input.batch, Some(1));
    assert!(said(&rewritten, "the batch is fixed at 1 in the file: freed"));
    assert!(!rewritten.is_alone);
    let (_, rewritten) = sealed(&build(true));
    assert!(rewritten.is_alone);
    assert!(rewritten.notes.iter().any(|note| note.contains("one row at a time")));
}

#[test]
fn floats_of_other_widths_enter_by_a_cast() {
    for (kind, element, words) in [
        (DOUBLE, Element::F64, "input `x` takes 64-bit floats: sealed with a Cast"),
        (FLOAT16, Element::F16, "input `x` takes 16-bit floats: sealed with a Cast"),
    ] {
        let mut net = Net::new();
        let x = net.input("x", &[None, Some(WINDOW), Some(FEATURES)]);
        let wide = net.add_with("Cast", &[&x], |node| node.with_int("to", i64::from(FLOAT)));
        let rows = net.transpose(&wide, &[1, 0, 2]);
        let (steps, _) = net.recurrent("LSTM", &rows, [FEATURES, UNITS], &[]);
        let last = net.gather(&steps, -1, 0);
        let y = net.dense(&last, [UNITS, 1]);
        let y = net.add_with("Cast", &[&y], |node| node.with_int("to", i64::from(kind)));
        net.output(&y, &[None, Some(1)]);
        for value in net.graph.input.iter_mut().chain(&mut net.graph.output) {
            let tensor = value.r#type.as_mut().unwrap().tensor_type.as_mut();
            tensor.unwrap().elem_type = kind;
        }
        let (foreign, rewritten) = sealed(&net);
        assert_eq!(foreign.facts.input.element, element);
        assert!(said(&rewritten, words), "{:?}", rewritten.rewrites);
    }
}

#[test]
fn outputs_of_any_shape_are_brought_to_columns() {
    type Shape = fn(&mut Net, &str) -> (String, Vec<net::Size>);
    // From the steps [T,B,H].
    let shapes: &[(&str, usize, Shape)] = &[
        ("[B]", 1, |net, steps| {
            let last = net.gather(steps, -1, 0);
            let y = net.dense(&last, [UNITS, 1]);
            (net.squeeze(&y, 1), vec![None])
        }),
        ("[B,T,K]", 2, |net, steps| {
            let y = net.dense(steps, [UNITS, 2]);
            (net.transpose(&y, &[1, 0, 2]), vec![None, None, Some(2)])
        }),
        ("[T,B,K]", 2, |net, steps| (net.dense(steps, [UNITS, 2]), vec![None, None, Some(2)])),
        ("[1,B,K]", 2, |net, steps| {
            let last = net.slice(steps, -1, i64::MAX, 0);
            (net.dense(&last, [UNITS, 2]), vec![Some(1), None, Some(2)])
        }),
        ("[B,H,K]", 4, |net, steps| {
            let last = net.gather(steps, -1, 0);
            let y = net.dense(&last, [UNITS, 4]);
            let shape = net.ints(&[-1, 2, 2]);
            (net.add("Reshape", &[&y, &shape]), vec![None, Some(2), Some(2)])
        }),
        ("[K,B]", 2, |net, steps| {
            let last = net.gather(steps, -1, 0);
            let y = net.dense(&last, [UNITS, 2]);
            (net.transpose(&y, &[1, 0]), vec![Some(2), None])
        }),
    ];
    for (words, columns, shape) in shapes {
        let mut net = Net::new();
        let x = net.input("x", &[None, None, Some(FEATURES)]);
        let (steps, _) = net.recurrent("LSTM", &x, [FEATURES, UNITS], &[]);
        let (y, dims) = shape(&mut net, &steps);
        net.output(&y, &dims);
        let foreign = read_plain(&net.bytes()).unwrap();
        assert_eq!(foreign.facts.output.columns, *columns, "{words}");
        let rewritten = foreign.rewrite(runtime(), &wanted()).unwrap();
        assert_eq!(rewritten.columns, *columns, "{words}");
        let windows = windows(5, &wanted());
        let compared = prove(&foreign, &rewritten, runtime(), &wanted(), &windows).unwrap();
        // A product of all steps may round otherwise than one of a single step.
        assert!(compared.largest_difference < 1e-6, "{words}: {}", compared.words());
        assert_rows_keep_apart(&rewritten, &wanted());
        assert!(rewritten.modes.contains(&Mode::Sliding), "{words}: {:?}", rewritten.notes);
    }
}

#[test]
fn an_output_is_chosen_where_there_are_several() {
    let mut net = lstm_of(Layout::BatchFirst, None, None);
    let first = net.graph.output[0].name.clone();
    let second = net.add("Neg", &[&first]);
    net.output(&second, &[None, Some(1)]);
    let (foreign, rewritten) = sealed(&net);
    assert_eq!(foreign.facts.output.name, first);
    assert_eq!(foreign.facts.output.others, [second.as_str()]);
    assert!(said(&rewritten, "outputs that are no forecast dropped"));
    let hints = Hints { output: Some(second.clone()), ..Hints::default() };
    let (foreign, rewritten) = sealed_with(&net.bytes(), &hints, &wanted());
    assert_eq!(foreign.facts.output.name, second);
    assert_eq!(rewritten.spec.output, second);
}

#[test]
fn states_are_given_out_where_the_head_reads_the_last_step() {
    type Head = fn(&mut Net, &str, &[String]) -> String;
    let heads: &[Head] = &[
        |net, steps, _| net.gather(steps, -1, 0),
        |net, steps, _| {
            let turned = net.transpose(steps, &[1, 0, 2]);
            net.gather(&turned, -1, 1)
        },
        |net, steps, _| {
            let last = net.slice(steps, -1, i64::from(i32::MAX), 0);
            net.squeeze(&last, 0)
        },
        |net, _, states| net.squeeze(&states[0], 0),
        |net, steps, _| {
            // Layers between the steps and the last one.
            let norm = (net.weights(&[UNITS]), net.weights(&[UNITS]));
            let steps = net.add("LayerNormalization", &[steps, &norm.0, &norm.1]);
            let steps = net.add("Relu", &[&steps]);
            net.gather(&steps, -1, 0)
        },
        // The last step by its place in a window of fixed length.
        |net, steps, _| net.gather(steps, WINDOW as i64 - 1, 0),
        |net, steps, _| {
            let last = net.slice(steps, WINDOW as i64 - 1, WINDOW as i64, 0);
            net.squeeze(&last, 0)
        },
    ];
    for (at, head) in heads.iter().enumerate() {
        for operator in ["LSTM", "GRU"] {
            let mut net = Net::new();
            let x = net.input("x", &[None, Some(WINDOW), Some(FEATURES)]);
            let rows = net.transpose(&x, &[1, 0, 2]);
            let zeros = net.zeros(&x, 0, 2, UNITS);
            let first = net.slice(&zeros, 0, 1, 0);
            let second = net.slice(&zeros, 1, 2, 0);
            let count = if operator == "LSTM" { 2 } else { 1 };
            let (steps, _) =
                net.recurrent(operator, &rows, [FEATURES, UNITS], &vec![&*first; count]);
            let (steps, states) =
                net.recurrent(operator, &steps, [UNITS, UNITS], &vec![&*second; count]);
            let value = head(&mut net, &steps, &states);
            let y = net.dense(&value, [UNITS, 1]);
            net.output(&y, &[None, Some(1)]);
            let (_, rewritten) = sealed(&net);
            let modes = [Mode::Full, Mode::Sliding];
            assert_eq!(rewritten.modes, modes, "head {at}: {:?}", rewritten.notes);
            assert_eq!(rewritten.spec.states.len(), 2 * count);
            let wanted = Wanted { carried: true, ..wanted() };
            let (_, rewritten) = sealed_with(&net.bytes(), &Hints::default(), &wanted);
            assert_eq!(rewritten.modes, [Mode::Full, Mode::Sliding, Mode::Carried]);
            let wanted = Wanted { expose_states: false, carried: false, ..wanted };
            let (_, rewritten) = sealed_with(&net.bytes(), &Hints::default(), &wanted);
            assert_eq!((rewritten.modes, rewritten.spec.states), (vec![Mode::Full], Vec::new()));
        }
    }
}

#[test]
fn what_looks_at_several_steps_is_for_whole_windows_and_says_why() {
    type Between = fn(&mut Net, &str) -> String;
    // From [T,B,H] to [B,H].
    let cases: &[(&str, Between)] = &[
        ("joins all steps of the window", |net, steps| {
            net.add_with("ReduceMean", &[steps], |node| {
                node.with_ints("axes", &[0]).with_int("keepdims", 0)
            })
        }),
        ("looks at several steps of the window at once", |net, steps| {
            let steps = net.transpose(steps, &[1, 0, 2]);
            let keys = net.transpose(&steps, &[0, 2, 1]);
            let scores = net.add("MatMul", &[&steps, &keys]);
            let scores = net.add("Softmax", &[&scores]);
            let mixed = net.add("MatMul", &[&scores, &steps]);
            net.gather(&mixed, -1, 1)
        }),
        ("it runs for windows of 6 steps only", |net, steps| {
            let places = net.weights(&[WINDOW, 1, UNITS]);
            let steps = net.add("Add", &[steps, &places]);
            net.gather(&steps, -1, 0)
        }),
        ("takes steps out of the window that are not the last one", |net, steps| {
            let some = net.slice(steps, -2, i64::MAX, 0);
            net.gather(&some, -1, 0)
        }),
        ("picks steps out of the window that are not the last one", |net, steps| {
            net.gather(steps, 0, 0)
        }),
        ("joins each step with one that comes after it", |net, steps| {
            let last = net.gather(steps, -1, 0);
            let steps = net.add("Mul", &[steps, &last]);
            net.gather(&steps, -1, 0)
        }),
        ("normalizes over the steps of the window", |net, steps| {
            let steps = net.add_with("Softmax", &[steps], |node| node.with_int("axis", 0));
            net.gather(&steps, -1, 0)
        }),
        ("computes with the length of the window", |net, steps| {
            let shape = net.add("Shape", &[steps]);
            let length = net.gather(&shape, 0, 0);
            let length =
                net.add_with("Cast", &[&length], |node| node.with_int("to", i64::from(FLOAT)));
            let last = net.gather(steps, -1, 0);
            net.add("Div", &[&last, &length])
        }),
        ("also reads the window backwards", |net, steps| {
            let (steps, _) = net.recurrent("GRU", steps, [UNITS, UNITS], &[]);
            let node = net.graph.node.iter_mut().rfind(|node| node.op_type == "GRU");
            node.unwrap().attribute.push(text("direction", "reverse"));
            net.gather(&steps, 0, 0)
        }),
        ("is a plain RNN", |net, steps| {
            let (steps, _) = net.recurrent("RNN", steps, [UNITS, UNITS], &[]);
            net.gather(&steps, -1, 0)
        }),
        ("begins from a state that is neither zero nor an input", |net, steps| {
            let begin = net.weights(&[1, 1, UNITS]);
            let shape = net.add("Shape", &[steps]);
            let shape = net.slice(&shape, 1, 3, 0);
            let one = net.ints(&[1]);
            let shape = net.add_with("Concat", &[&one, &shape], |node| node.with_int("axis", 0));
            let begin = net.add("Expand", &[&begin, &shape]);
            let (steps, _) = net.recurrent("GRU", steps, [UNITS, UNITS], &[&begin]);
            net.gather(&steps, -1, 0)
        }),
    ];
    for (words, between) in cases {
        let mut net = Net::new();
        let x = net.input("x", &[None, None, Some(FEATURES)]);
        let rows = net.transpose(&x, &[1, 0, 2]);
        let (steps, _) = net.recurrent("LSTM", &rows, [FEATURES, UNITS], &[]);
        let value = between(&mut net, &steps);
        let y = net.dense(&value, [UNITS, 1]);
        net.output(&y, &[None, Some(1)]);
        let hints = Hints { window: Some(WINDOW), ..Hints::default() };
        let (_, rewritten) = sealed_with(&net.bytes(), &hints, &wanted());
        assert_eq!(rewritten.modes, [Mode::Full], "{words}");
        assert!(rewritten.spec.states.is_empty(), "{words}");
        let notes = &rewritten.notes;
        assert!(notes.iter().any(|note| note.contains(words)), "{notes:?}");
    }
}

#[test]
fn a_loop_is_for_whole_windows_with_the_way_out() {
    use crate::engine::onnx::{GraphProto, NodeProto};
    // A cell of three sigmoids and two tanh, as Keras' LSTM with recurrent dropout is exported.
    let mut cell = GraphProto { name: "cell".to_owned(), ..GraphProto::default() };
    let step = |operator: &str, reads: &[&str], writes: &str| {
        NodeProto::new(operator, writes, reads, &[writes])
    };
    cell.node = vec![
        step("Gather", &["steps", "at"], "row"),
        step("Sigmoid", &["row"], "i"),
        step("Sigmoid", &["row"], "f"),
        step("Sigmoid", &["row"], "o"),
        step("Tanh", &["row"], "g"),
        step("Mul", &["f", "c"], "kept"),
        step("Mul", &["i", "g"], "new"),
        step("Add", &["kept", "new"], "c_next"),
        step("Tanh", &["c_next"], "shown"),
        step("Mul", &["o", "shown"], "h_next"),
        step("Identity", &["go"], "go_on"),
    ];
    let value = |name: &str, kind: i32| {
        let mut value = ValueInfoProto::float_tensor(name, []);
        let tensor = value.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
        tensor.elem_type = kind;
        tensor.shape = (kind != FLOAT).then(Default::default);
        value
    };
    cell.input = vec![value("at", 7), value("go", 9), value("h", FLOAT), value("c", FLOAT)];
    cell.output = vec![value("go_on", 9), value("h_next", FLOAT), value("c_next", FLOAT)];
    let mut net = Net::new();
    let x = net.input("x", &[None, None, Some(FEATURES)]);
    let rows = net.transpose(&x, &[1, 0, 2]);
    // The body reads the rows from around it.
    let mut named = net.graph.node.pop().unwrap();
    named.output[0] = "steps".to_owned();
    net.graph.node.push(named);
    assert_ne!(rows, "steps");
    let shape = net.add("Shape", &["steps"]);
    let length = net.gather(&shape, 0, 0);
    let size = net.slice(&shape, 1, 3, 0);
    let zeros = net.add("ConstantOfShape", &[&size]);
    let outputs = ["h_last", "c_last"];
    let mut node = NodeProto::new("Loop", "layer", &[&length, "", &zeros, &zeros], &outputs);
    node.attribute.push(net::body("body", cell));
    net.graph.node.push(node);
    let y = net.dense("h_last", [FEATURES, 1]);
    net.output(&y, &[None, Some(1)]);
    let (foreign, rewritten) = sealed(&net);
    assert_eq!(rewritten.modes, [Mode::Full]);
    let notes = &rewritten.notes;
    assert!(notes.iter().any(|note| note.contains("recurrent_dropout=0")), "{notes:?}");
    assert!(foreign.facts.words[0].starts_with("LSTM"), "{:?}", foreign.facts.words);
}

#[test]
fn data_beside_the_model_is_taken_in() {
    let mut model = lstm_of(Layout::TimeMajor, None, None).model();
    let whole = read_plain(&model.to_bytes()).unwrap();
    let data = beside_of(&mut model, "weights.bin");
    let onnx = model.to_bytes();
    let beside =
        |name: &str| if name == "weights.bin" { Ok(data.clone()) } else { Err(name.into()) };
    let foreign = read(&onnx, &beside, runtime(), &Hints::default()).unwrap();
    let rewritten = foreign.rewrite(runtime(), &wanted()).unwrap();
    assert_eq!(rewritten.rewrites[0], "weights kept beside the model (weights.bin): inlined");
    let windows = windows(4, &wanted());
    let one = run_original(&foreign, runtime(), &wanted(), &windows).unwrap();
    let other = run_original(&whole, runtime(), &wanted(), &windows).unwrap();
    assert!(Comparison::of(&one, &other).is_bit_equal);
}

#[test]
fn operator_sets_that_no_node_is_of_go() {
    let mut model = lstm_of(Layout::TimeMajor, None, None).model();
    model.opset_import.push(OperatorSetIdProto { domain: "ai.onnx.ml".to_owned(), version: 2 });
    let (_, rewritten) = sealed_with(&model.to_bytes(), &Hints::default(), &wanted());
    assert!(said(&rewritten, "no longer imported: `ai.onnx.ml`"), "{:?}", rewritten.rewrites);
    let imports = ModelProto::from_bytes(&rewritten.onnx).unwrap().opset_import;
    assert_eq!(imports.len(), 1);
}

#[test]
fn an_input_that_belongs_to_nothing_needs_its_value() {
    let mut net = Net::new();
    let x = net.input("x", &[None, Some(WINDOW), Some(FEATURES)]);
    let mean = net.input("lost", &[Some(1), Some(FEATURES)]);
    let x = net.add("Sub", &[&x, &mean]);
    let rows = net.transpose(&x, &[1, 0, 2]);
    let (steps, _) = net.recurrent("LSTM", &rows, [FEATURES, UNITS], &[]);
    let last = net.gather(&steps, -1, 0);
    let y = net.dense(&last, [UNITS, 1]);
    net.output(&y, &[None, Some(1)]);
    let foreign = read_plain(&net.bytes()).unwrap();
    assert_eq!(foreign.facts.extra_inputs, ["lost"]);
    let refusal = foreign.rewrite(runtime(), &wanted()).unwrap_err();
    assert!(refusal[0].contains("input `lost` [1, 3] belongs to no state"), "{refusal:?}");
    assert!(refusal[0].contains("`Normalization`"), "{refusal:?}");
    let given = |values: &[f64]| Wanted {
        constants: [("lost".to_owned(), values.to_vec())].into(),
        ..wanted()
    };
    let (_, one) = sealed_with(&net.bytes(), &Hints::default(), &given(&[0.5]));
    let (_, each) = sealed_with(&net.bytes(), &Hints::default(), &given(&[0.5, 0.5, 0.5]));
    assert_eq!(one.onnx, each.onnx);
    assert_eq!(one.modes, [Mode::Full, Mode::Sliding]);
    // Before the first run, which would blame the export.
    let hints = Hints { constants: given(&[0.5, 0.5]).constants, ..Hints::default() };
    let refusal = read(&net.bytes(), &nothing_beside, runtime(), &hints).err().unwrap();
    let expected = "constants.lost: has 2 numbers, and the input is [1, 3]: give one number, or 3";
    assert_eq!(refusal, [expected]);
}
