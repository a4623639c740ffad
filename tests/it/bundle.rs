//! Sealed bundles: whole ones load and prove themselves, broken ones are refused by name.

use std::fs;

use tickcast::core::features::Scaler;
use tickcast::engine::model::manifest::{Manifest, Mode};
use tickcast::engine::model::{Bundle, Draft};
use tickcast::engine::onnx::{
    AttributeProto, DATA_LOCATION_EXTERNAL, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
};

use crate::support::bundle::{SealedBundle, carried_draft, draft, sealed};
use crate::support::network::Network;
use crate::support::runtime;

const WINDOW_STEPS: u32 = 5;

/// What is said about a draft after `change`.
fn refusal(change: impl FnOnce(&mut Draft)) -> Vec<String> {
    let network = Network::random(1, 3, &[6, 4]);
    let mut draft = draft(WINDOW_STEPS, &network);
    change(&mut draft);
    let root = tempfile::tempdir().unwrap();
    let problems = draft.seal(root.path(), runtime()).unwrap_err().problems;
    assert!(!root.path().join("random/1").exists(), "a refused draft is not in its place");
    problems
}

/// What is said after `change` of the manifest.
fn refused_manifest(change: impl FnOnce(&mut Manifest)) -> Vec<String> {
    refusal(|draft| change(&mut draft.manifest))
}

/// What is said after `change` of the graph.
fn refused_graph(change: impl FnOnce(&mut ModelProto)) -> Vec<String> {
    refusal(|draft| {
        let mut model = ModelProto::from_bytes(&draft.onnx).unwrap();
        change(&mut model);
        draft.onnx = model.to_bytes();
    })
}

fn assert_says(problems: &[String], expected: &str) {
    let found = problems.iter().filter(|problem| problem.contains(expected)).count();
    assert_eq!(found, 1, "`{expected}` is not once among {problems:#?}");
}

#[test]
fn a_whole_bundle_loads_and_is_never_overwritten() {
    let SealedBundle { root, folder, bundle, network } = sealed(3, WINDOW_STEPS, &[6, 4]);
    bundle.open(runtime()).unwrap();
    let problems = draft(WINDOW_STEPS, &network).seal(root.path(), runtime()).unwrap_err().problems;
    assert_says(&problems, "never overwritten");
    let left: Vec<_> = fs::read_dir(root.path().join("random")).unwrap().collect();
    assert_eq!(left.len(), 1, "no draft is left behind");
    assert!(folder.join("manifest.json").is_file());
}

#[test]
fn sealing_twice_gives_the_same_bytes() {
    let bytes = |sealed: &SealedBundle| {
        ["manifest.json", "model.onnx", "golden.json"]
            .map(|name| fs::read(sealed.folder.join(name)).unwrap())
    };
    assert_eq!(bytes(&sealed(3, 5, &[6])), bytes(&sealed(3, 5, &[6])));
}

#[test]
fn a_label_among_the_features_is_refused_by_name() {
    let problems = refused_manifest(|manifest| manifest.features[2] = "next_return".into());
    assert_says(&problems, "manifest.json: features: feature `next_return` is the label");
}

#[test]
fn a_scaler_without_a_feature_is_refused_by_name() {
    let problems = refused_manifest(|manifest| {
        let Scaler::Minmax { columns, .. } = &mut manifest.scaler else { unreachable!() };
        columns.remove(1);
    });
    assert_says(&problems, "the scaler has no column for feature `volume`");
}

#[test]
fn reordered_states_are_refused_by_name() {
    let problems = refused_manifest(|manifest| manifest.graph.states.swap(0, 1));
    assert_says(&problems, "graph.states[0] is `c0`, the graph's order says `h0`");
    assert_says(&problems, "graph.states[1] is `h0`, the graph's order says `c0`");
}

#[test]
fn states_wired_to_one_anothers_outputs_are_refused_by_name() {
    let problems = refused_manifest(|manifest| {
        let [first, second, ..] = &mut manifest.graph.states[..] else { unreachable!() };
        std::mem::swap(&mut first.output, &mut second.output);
    });
    assert_says(
        &problems,
        "graph.states[0] `h0`: its output is `c0_out`, but LSTM `lstm0` gives it back as `h0_out`",
    );
}

#[test]
fn a_changed_file_is_refused_by_its_hash() {
    for (name, field) in [("model.onnx", "onnx_sha256"), ("golden.json", "golden_sha256")] {
        let SealedBundle { folder, root, .. } = sealed(3, WINDOW_STEPS, &[6]);
        let mut bytes = fs::read(folder.join(name)).unwrap();
        // White space at the end changes neither the JSON nor, as an unknown field, the graph.
        bytes.push(b'\n');
        fs::write(folder.join(name), bytes).unwrap();
        let problems = Bundle::read(&folder).unwrap_err().problems;
        assert_says(&problems, &format!("manifest.json: {field} is `"));
        drop(root);
    }
}

#[test]
fn a_missing_file_and_a_renamed_folder_are_refused() {
    let SealedBundle { folder, root, .. } = sealed(3, WINDOW_STEPS, &[6]);
    let renamed = root.path().join("random/2");
    fs::rename(&folder, &renamed).unwrap();
    let problems = Bundle::read(&renamed).unwrap_err().problems;
    assert_says(&problems, "version is `1`, but its folder is `2`");
    fs::remove_file(renamed.join("model.onnx")).unwrap();
    fs::remove_file(renamed.join("golden.json")).unwrap();
    let problems = Bundle::read(&renamed).unwrap_err().problems;
    assert_says(&problems, "model.onnx: ");
    assert_says(&problems, "golden.json: ");
}

#[test]
fn an_unknown_manifest_key_is_refused_by_name() {
    let SealedBundle { folder, root, .. } = sealed(3, WINDOW_STEPS, &[6]);
    let path = folder.join("manifest.json");
    let text = fs::read_to_string(&path).unwrap().replace("\"window_steps\"", "\"windw_steps\"");
    fs::write(&path, text).unwrap();
    assert_says(&Bundle::read(&folder).unwrap_err().problems, "unknown field `windw_steps`");
    drop(root);
}

#[test]
fn golden_vectors_that_do_not_come_true_are_refused() {
    let problems = refusal(|draft| draft.golden.cases[0].output[0] += 1e-3);
    assert_says(&problems, "golden.json: cases[0]: output[0]: the model gives");
    let problems = refusal(|draft| draft.golden.cases[0].window[2][1] += 1e-3);
    assert_says(&problems, "golden.json: cases[0]: window[2] `volume`");
    let problems = refusal(|draft| draft.golden.cases[0].output[0] = f32::NAN);
    assert_says(&problems, "golden.json: invalid type: null, expected f32");
    assert_says(&refusal(|draft| draft.golden.cases.clear()), "cases: there is none");
}

#[test]
fn a_carried_state_is_proved_far_beyond_the_first_full_window() {
    let network = Network::random(1, 3, &[6, 4]);
    let draft = || carried_draft(WINDOW_STEPS, 4 * WINDOW_STEPS, &network);
    let root = tempfile::tempdir().unwrap();
    let folder = draft().seal(root.path(), runtime()).unwrap();
    let bundle = Bundle::read(&folder).unwrap();
    bundle.open(runtime()).unwrap();
    assert_eq!(bundle.golden().cases[0].output.len(), 16);

    let refusal = |change: &dyn Fn(&mut Draft)| {
        let mut draft = draft();
        change(&mut draft);
        draft.seal(tempfile::tempdir().unwrap().path(), runtime()).unwrap_err().problems
    };
    // One in the midst, which no run of the whole would tell.
    let problems = refusal(&|draft| draft.golden.cases[0].output[7] += 1e-3);
    assert_says(&problems, "golden.json: cases[0]: output[7]: the model gives");
    let problems = refusal(&|draft| draft.golden.cases[0].output.truncate(15));
    assert_says(&problems, "golden.json: cases[0]: 15 outputs for 16 full windows");
    // A model of windows has an output of its own for each, from zero state.
    let problems = refusal(&|draft| draft.manifest.modes = vec![Mode::Full, Mode::Sliding]);
    assert_says(&problems, "golden.json: cases[0]: output[1]: the model gives");
}

#[test]
fn every_broken_rule_is_named_at_once() {
    let problems = refused_manifest(|manifest| {
        manifest.schema = "x".into();
        manifest.window_steps = 0;
        manifest.horizon_steps = 0;
        manifest.signal.buy_above = f64::NEG_INFINITY;
        manifest.interval.coverage = 2.0;
    });
    // JSON has no infinity, so the file itself is already no manifest.
    assert_says(&problems, "manifest.json: ");
    let problems = refused_manifest(|manifest| {
        manifest.schema = "x".into();
        manifest.window_steps = 0;
        manifest.horizon_steps = 0;
        manifest.interval.coverage = 2.0;
    });
    for field in ["schema: ", "window_steps: ", "horizon_steps: ", "interval: "] {
        assert_says(&problems, field);
    }
}

#[test]
fn graphs_that_reach_beyond_their_bytes_are_refused() {
    let problems = refused_graph(|model| {
        let tensor = &mut model.graph.as_mut().unwrap().initializer[2];
        tensor.data_location = DATA_LOCATION_EXTERNAL;
    });
    assert_says(&problems, "keeps its data in another file");
    let problems = refused_graph(|model| {
        model.opset_import.push(OperatorSetIdProto { domain: "com.evil".into(), version: 1 });
        let graph = model.graph.as_mut().unwrap();
        let mut node = NodeProto::new("Anything", "mine", &["x"], &["unused"]);
        node.domain = "com.evil".into();
        graph.node.push(node);
        graph.node.push(NodeProto::new("RandomNormalLike", "dice", &["x"], &["unused2"]));
    });
    assert_says(&problems, "operator set `com.evil` is not the standard one");
    assert_says(&problems, "node `mine`: operator `Anything` of domain `com.evil`");
    assert_says(&problems, "node `dice`: operator `RandomNormalLike` is not on the list");
    assert_says(&refused_graph(|model| model.functions.push(vec![])), "functions");
}

#[test]
fn attributes_that_could_hide_something_are_refused() {
    let refused = |change: &dyn Fn(&mut AttributeProto)| {
        refused_graph(|model| {
            let mut node = NodeProto::new("Constant", "hidden", &[], &["unused"]).with_int("v", 1);
            change(&mut node.attribute[0]);
            model.graph.as_mut().unwrap().node.push(node);
        })
    };
    assert_says(&refused(&|a| a.sparse_tensor = Some(vec![])), "node `hidden`: sparse tensors");
    assert_says(&refused(&|a| a.sparse_tensors = vec![vec![]]), "node `hidden`: sparse tensors");
    assert_says(&refused(&|a| a.ref_attr_name = "x".into()), "node `hidden`: a reference");
    let external = |a: &mut AttributeProto| {
        a.t = Some(TensorProto { data_location: DATA_LOCATION_EXTERNAL, ..TensorProto::default() });
    };
    assert_says(&refused(&external), "keeps its data in another file");
}

#[test]
fn a_model_that_mixes_the_rows_of_a_run_is_refused() {
    let problems = refused_graph(|model| {
        let graph = model.graph.as_mut().unwrap();
        let head = graph.node.pop().unwrap();
        assert_eq!(head.op_type, "Tanh");
        // The mean over the rows: for a single row the very same bits.
        let mean = NodeProto::new("ReduceMean", "mix", &["z"], &["mean"]);
        graph.node.push(mean.with_ints("axes", &[0]).with_int("keepdims", 1));
        graph.node.push(NodeProto::new("Sub", "nought", &["z", "z"], &["zero"]));
        graph.node.push(NodeProto::new("Add", "spread", &["mean", "zero"], &["mixed"]));
        graph.node.push(NodeProto::new("Tanh", "head", &["mixed"], &["y"]));
    });
    assert_says(&problems, "model.onnx: rows of a run influence one another");
}

#[test]
fn names_that_lead_out_of_the_store_are_refused_before_anything_is_written() {
    let network = Network::random(1, 3, &[4]);
    for name in ["../evil", "..", ".hidden", "a/b", ""] {
        let root = tempfile::tempdir().unwrap();
        let store = root.path().join("models");
        let mut draft = draft(WINDOW_STEPS, &network);
        draft.manifest.name = name.into();
        assert_says(&draft.seal(&store, runtime()).unwrap_err().problems, "name: `");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let tensor = |model: &mut ModelProto, name: &str, change: &dyn Fn(&mut TensorProto)| {
        let graph = model.graph.as_mut().unwrap();
        change(graph.initializer.iter_mut().find(|tensor| tensor.name == name).unwrap());
    };
    let problems = refused_graph(|model| {
        tensor(model, "r1", &|r| *r = TensorProto::floats("r1", &[1, 16, 3], &[0.0; 48]));
    });
    assert_says(&problems, "LSTM `lstm1`: R `r1` has shape [1, 16, 3], which does not fit");
    let problems = refused_graph(|model| tensor(model, "b0", &|b| b.dims = vec![1, 47]));
    assert_says(&problems, "tensor `b0` has more or less data than its shape");
    let problems = refused_graph(|model| {
        tensor(model, "dense", &|d| *d = TensorProto::floats("dense", &[4, 1], &[f32::NAN; 4]));
    });
    assert_says(&problems, "tensor `dense` holds a number that is not finite");
}

#[test]
fn bytes_that_are_no_graph_are_refused() {
    for bytes in [&b""[..], b"hello", &[0xff; 64]] {
        let problems = refusal(|draft| draft.onnx = bytes.to_vec());
        assert_says(&problems, "model.onnx: ");
    }
}
