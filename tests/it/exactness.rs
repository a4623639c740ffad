//! Every kind of graph that is accepted says live what it says replayed, and graphs whose rows meet
//! are refused.

use std::collections::BTreeMap;
use std::convert::Infallible;

use tempfile::TempDir;
use tickcast::app::config;
use tickcast::core::domain::{Field, Fields, Tick, UnixNanos};
use tickcast::engine::inference::{Backend, Runtime};
use tickcast::engine::model::golden::GoldenCase;
use tickcast::engine::model::manifest::{Exactness, Mode, Rows};
use tickcast::engine::model::{Bundle, Draft, Heritage};
use tickcast::engine::onnx::{
    AttributeProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
};
use tickcast::engine::pipeline::{Pipeline, PipelineSettings};
use tickcast::engine::symbols::{Engine, EngineLimits, Haste, Pushed};
use tickcast::engine::wire::forecast::ForecastRecord;

use crate::support::bundle::{SealedBundle, sealed_with};
use crate::support::kinds::{Kind, WINDOW_STEPS};
use crate::support::poison::{Lone, Poison};
use crate::support::runtime;

const SYMBOLS: [&str; 4] = ["A", "B", "C", "D"];

/// Golden windows of most drafts here.
const WINDOWS: u32 = 24;

/// Seals a draft and reads it back.
fn seal(draft: Draft) -> Result<(TempDir, Bundle), Vec<String>> {
    let root = tempfile::tempdir().unwrap();
    let folder = draft.seal(root.path(), runtime()).map_err(|error| error.problems)?;
    let bundle = Bundle::read(&folder).unwrap();
    Ok((root, bundle))
}

fn refused(draft: Draft) -> String {
    seal(draft).map(|_| ()).expect_err("it is refused").join("\n")
}

fn settings(mode: Mode) -> PipelineSettings {
    let settings = "source.url = 'ws://127.0.0.1:1'\nsource.accept_times = true\n\
                    model.cadence = 'as_it_comes'\nmodel.name = 'random'\n";
    let settings = config::parse(settings).unwrap().pipeline();
    PipelineSettings { mode: Some(mode), ..settings }
}

/// The bytes of every forecast over 30 days of four symbols, by symbol and time; inference after
/// every `chunk` ticks.
fn forecasts(
    bundle: &Bundle,
    mode: Mode,
    chunk: usize,
    haste: Haste,
) -> BTreeMap<(String, String), String> {
    let mut pipeline = Pipeline::build(bundle, runtime(), &settings(mode)).unwrap();
    let mut said = BTreeMap::new();
    let mut infer = |pipeline: &mut Pipeline| {
        pipeline.infer(haste).unwrap();
        let emitted = pipeline.emit(|_, bytes| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let record: ForecastRecord<'_> = serde_json::from_str(&text).unwrap();
            let key = (record.symbol.to_string(), record.as_of.to_string());
            assert_eq!(said.insert(key, text.clone()), None, "one forecast per step");
            Ok::<_, Infallible>(())
        });
        emitted.unwrap();
        pipeline.engine_mut().advance().unwrap();
    };
    let ticks = (0..30_u32).flat_map(|day| SYMBOLS.iter().zip(0_u32..).map(move |s| (day, s)));
    for (count, (day, (symbol, at))) in (1..).zip(ticks) {
        let mut fields = Fields::EMPTY;
        let close = 100.0 + 20.0 * (f64::from(day) * (0.3 + 0.2 * f64::from(at))).sin();
        fields.set_checked(Field::CLOSE, close).unwrap();
        fields.set_checked(Field::VOLUME, 300.0 + 40.0 * f64::from(day % (3 + at))).unwrap();
        let time = UnixNanos::from_nanos(i64::from(day) * 86_400_000_000_000);
        let tick = Tick { symbol: (*symbol).into(), time, fields };
        let taken = pipeline.take(&tick, None, None, |pipeline| {
            infer(pipeline);
            Ok::<_, Infallible>(())
        });
        assert_eq!(taken.unwrap(), None);
        if count % chunk == 0 {
            infer(&mut pipeline);
        }
    }
    infer(&mut pipeline);
    said
}

/// Seals a kind and lets it live: one tick at a time as a live feed, and in batches as a replay.
fn assert_replay_equals_live(name: &str, kind: &Kind) -> Bundle {
    let (_root, bundle) =
        seal(kind.draft(WINDOWS)).unwrap_or_else(|words| panic!("{name}: {words:?}"));
    let measured = bundle.measure(runtime()).unwrap();
    let rows = bundle.plans().rows;
    assert_eq!(rows, measured.exactness.rows, "{name}: the manifest says what is measured");
    let mut by_mode = Vec::new();
    for mode in bundle.manifest().modes.clone() {
        let live = forecasts(&bundle, mode, 1, Haste::Latency);
        assert_eq!(live.len(), 4 * (30 - WINDOW_STEPS as usize), "{name}");
        assert_eq!(forecasts(&bundle, mode, 1, Haste::Latency), live, "{name}: live twice");
        for (chunk, haste) in [(4, Haste::Throughput), (3, Haste::Latency), (64, Haste::Throughput)]
        {
            assert_eq!(forecasts(&bundle, mode, chunk, haste), live, "{name}: {mode}, {chunk}");
        }
        let values = live.into_iter().map(|(key, text)| {
            let record: ForecastRecord<'_> = serde_json::from_str(&text).unwrap();
            (key, record.value.to_bits())
        });
        by_mode.push(values.collect::<BTreeMap<_, _>>());
    }
    assert!(by_mode.windows(2).all(|pair| pair[0] == pair[1]), "{name}: full and sliding");
    bundle
}

#[test]
fn every_kind_of_graph_says_live_what_it_says_replayed() {
    for (name, kind) in [("LSTM", Kind::lstm()), ("GRU", Kind::gru()), ("trees", Kind::trees())] {
        let bundle = assert_replay_equals_live(name, &kind);
        assert_eq!(bundle.plans().rows, Rows::Batched, "{name}");
        assert_eq!(bundle.manifest().exactness, None, "{name}: the strictest is not written");
    }
    for (name, kind) in [
        ("RNN", Kind::rnn()),
        ("loop", Kind::looped()),
        ("attention", Kind::attention()),
        ("convolution", Kind::convolution()),
        ("dense", Kind::dense()),
        ("both directions", Kind::bidirectional()),
        ("quantiles", Kind::quantiles()),
    ] {
        assert_replay_equals_live(name, &kind);
    }
}

#[test]
fn graphs_whose_rows_meet_are_refused_unless_they_run_alone() {
    for (name, kind) in [("largest", Kind::below_the_largest()), ("quantized", Kind::quantized())] {
        // With one window as well, which may be the largest of all.
        for windows in [1, WINDOWS] {
            let words = refused(kind.draft(windows));
            assert!(words.contains("rows of a run influence one another"), "{name}: {words}");
            assert!(words.contains("exactness.rows = `alone`"), "the way out: {words}");
        }
        let mut draft = kind.draft(WINDOWS);
        let exactness = Exactness { rows: Rows::Alone, windows: WINDOWS, largest_difference: 0.1 };
        draft.manifest.exactness = Some(exactness);
        let (_root, bundle) = seal(draft).unwrap();
        assert!(bundle.measure(runtime()).unwrap().mixes(), "{name}");
        let live = forecasts(&bundle, Mode::Full, 1, Haste::Latency);
        assert_eq!(forecasts(&bundle, Mode::Full, 64, Haste::Throughput), live, "{name}");
    }
}

#[test]
fn a_golden_case_of_many_windows_proves_each_of_them() {
    for kind in [Kind::lstm(), Kind::dense()] {
        let (_root, bundle) = seal(kind.draft(WINDOWS)).unwrap();
        assert_eq!(bundle.windows().len(), WINDOWS as usize);
        let mut draft = kind.draft(WINDOWS);
        draft.golden.cases[0].output[17] += 1e-3;
        let words = refused(draft);
        assert!(words.contains("golden.json: cases[0]: output[17]: the model gives"), "{words}");
        let mut draft = kind.draft(WINDOWS);
        draft.golden.cases[0].output.pop();
        let words = refused(draft);
        assert!(words.contains("cases[0]: 23 outputs for 24 full windows"), "{words}");
    }
}

#[test]
fn a_model_publishes_its_own_interval() {
    let (_root, bundle) = seal(Kind::quantiles().draft(WINDOWS)).unwrap();
    let case = &bundle.golden().cases[0];
    let scaler = bundle.manifest().target.scaler.single().unwrap();
    let plan = &bundle.plans().forecast;
    assert!(plan.keeps_ends());
    let outputs = case.output.iter().zip(&case.output_lower).zip(&case.output_upper);
    let expected = outputs.map(|((value, lower), upper)| {
        let mut ends = [*value, *lower, *upper].map(|output| scaler.invert(f64::from(output)));
        let value = ends[0];
        ends.sort_by(f64::total_cmp);
        [value, ends[0], ends[2]]
    });
    let expected: Vec<_> = expected.collect();
    // The same steps through the pipeline, which adapts the intervals of other models.
    let mut pipeline = Pipeline::build(&bundle, runtime(), &settings(Mode::Full)).unwrap();
    let mut said = Vec::new();
    for step in &case.steps {
        let step_fields = step.step(pipeline.schema()).unwrap().fields;
        let tick = Tick { symbol: "A".into(), time: step.time, fields: step_fields };
        let refused = pipeline.take(&tick, None, None, |_| Ok::<_, Infallible>(())).unwrap();
        assert_eq!(refused, None);
        pipeline.infer(Haste::Latency).unwrap();
        let emitted = pipeline.emit(|_, bytes| {
            let record: ForecastRecord<'_> = serde_json::from_slice(bytes).unwrap();
            said.push([record.value, record.lower, record.upper]);
            Ok::<_, Infallible>(())
        });
        emitted.unwrap();
        pipeline.engine_mut().advance().unwrap();
    }
    assert_eq!(said, expected);

    // Every column is proven.
    for (field, change) in [
        ("output_lower[3]", (|case| case.output_lower[3] += 1e-3) as fn(&mut GoldenCase)),
        ("output_upper[5]", |case| case.output_upper[5] += 1e-3),
        ("[0, 24] lower and upper ends", |case| case.output_lower.clear()),
    ] {
        let mut draft = Kind::quantiles().draft(WINDOWS);
        change(&mut draft.golden.cases[0]);
        let words = refused(draft);
        assert!(words.contains(field), "{words}");
    }
    let mut draft = Kind::quantiles().draft(WINDOWS);
    draft.manifest.graph.columns = None;
    let words = refused(draft);
    assert!(words.contains("graph.output `y` must have shape [B,1]"), "{words}");
}

#[test]
fn what_only_the_whole_window_knows_is_refused_step_by_step() {
    let mut kind = Kind::bidirectional();
    kind.modes_mut().push(Mode::Sliding);
    let words = refused(kind.draft(1));
    assert!(words.contains("only the forward direction is causal"), "{words}");
}

#[test]
fn operator_sets_that_no_node_uses_are_accepted_and_custom_ones_refused() {
    let with_set = |domain: &str| {
        let mut draft = Kind::dense().draft(1);
        let mut model = ModelProto::from_bytes(&draft.onnx).unwrap();
        model.opset_import.push(OperatorSetIdProto { domain: domain.into(), version: 1 });
        draft.onnx = model.to_bytes();
        draft
    };
    for domain in ["com.microsoft", "ai.onnx.training"] {
        assert!(seal(with_set(domain)).is_ok(), "{domain}");
    }
    let words = refused(with_set("my.company"));
    assert!(words.contains("operator set `my.company` is not the standard one"), "{words}");
    assert!(words.contains("export the model with operators of the ONNX standard"), "{words}");
    let mut kind = Kind::dense();
    let mut map = NodeProto::new("ZipMap", "map", &["flat"], &["unused"]);
    map.domain = "ai.onnx.ml".into();
    let draft = kind.draft(1);
    kind.graph_mut().node.push(map);
    let words = refused(Draft { onnx: kind.onnx(), ..draft });
    assert!(words.contains("`zipmap=False`"), "{words}");
}

#[test]
fn bounds_and_masks_may_be_infinite_and_weights_may_not() {
    let clipped = |operator: &str, bound: f32| {
        let mut kind = Kind::dense();
        let draft = kind.draft(WINDOWS);
        let graph = kind.graph_mut();
        graph.initializer.push(TensorProto::floats("bound", &[], &[bound]));
        let head = graph.node.last_mut().unwrap();
        head.output[0] = "sums".into();
        graph.node.push(NodeProto::new(operator, "last", &["sums", "bound"], &["y"]));
        Draft { onnx: kind.onnx(), ..draft }
    };
    assert!(seal(clipped("Clip", f32::NEG_INFINITY)).is_ok());
    assert!(seal(clipped("Max", f32::NEG_INFINITY)).is_ok());
    for (operator, bound, words) in [
        ("Clip", f32::NAN, "tensor `bound` holds NaN"),
        ("Mul", f32::INFINITY, "tensor `bound` holds a number that is not finite"),
    ] {
        let said = refused(clipped(operator, bound));
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn layers_that_train_are_refused() {
    let dropout = |mode: u8| {
        let mut kind = Kind::dense();
        let draft = kind.draft(1);
        let graph = kind.graph_mut();
        let (name, raw_data) = ("training".to_owned(), vec![mode]);
        let data_type = 9;
        graph.initializer.push(TensorProto { name, data_type, raw_data, ..TensorProto::default() });
        graph.initializer.push(TensorProto::floats("ratio", &[], &[1e-9]));
        graph.node.last_mut().unwrap().output[0] = "sums".into();
        let reads = ["sums", "ratio", "training"];
        graph.node.push(NodeProto::new("Dropout", "dropout", &reads, &["y"]));
        Draft { onnx: kind.onnx(), ..draft }
    };
    assert!(seal(dropout(0)).is_ok());
    let words = refused(dropout(1));
    assert!(words.contains("Dropout `dropout`: training_mode `training`"), "{words}");
}

#[test]
fn sizes_that_the_graph_states_are_bounded() {
    let far = 1_i64 << 40;
    let refused = |node: NodeProto, sizes: &[i64]| {
        let mut kind = Kind::dense();
        let draft = kind.draft(1);
        let graph = kind.graph_mut();
        graph.initializer.push(TensorProto::int64s("sizes", &[sizes.len()], sizes));
        let scalar = |name: &str, value| TensorProto::int64s(name, &[], &[value]);
        graph.initializer.extend([scalar("none", 0), scalar("far", far), scalar("one", 1)]);
        graph.node.push(node);
        refused(Draft { onnx: kind.onnx(), ..draft })
    };
    let node = |operator, input: &[&str]| NodeProto::new(operator, "large", input, &["unused"]);
    for (node, sizes) in [
        (node("ConstantOfShape", &["sizes"]), &[1 << 20, 1 << 10][..]),
        (node("Expand", &["flat", "sizes"]), &[1 << 30, 18]),
        (node("Tile", &["flat", "sizes"]), &[1 << 13, 1 << 13]),
        (node("Pad", &["flat", "sizes"]), &[0, 1 << 30, 0, 0]),
        (node("Range", &["none", "far", "one"]), &[]),
        (node("Conv", &["flat", "flat"]).with_ints("pads", &[far, 0]), &[]),
        (node("MaxPool", &["flat"]).with_ints("kernel_shape", &[1 << 20, 1 << 20]), &[]),
    ] {
        let operator = node.op_type.clone();
        let words = refused(node, sizes);
        assert!(words.contains(&format!("{operator} `large`: makes ")), "{operator}: {words}");
    }
    // Stated by a node instead of a tensor, the size is the same.
    let mut kind = Kind::dense();
    let draft = kind.draft(1);
    let constant = NodeProto::new("Constant", "c", &[], &["sizes"]);
    let graph = kind.graph_mut();
    graph.node.push(constant.with_ints("value_ints", &[1 << 20, 1 << 10]));
    graph.node.push(NodeProto::new("ConstantOfShape", "large", &["sizes"], &["unused"]));
    let words = crate::exactness::refused(Draft { onnx: kind.onnx(), ..draft });
    assert!(words.contains("ConstantOfShape `large`: makes 1073741824 elements"), "{words}");
}

#[test]
fn lists_of_trees_that_do_not_fit_are_refused() {
    type Change = fn(&mut AttributeProto);
    let changes: [(&str, Change, &str); 4] = [
        ("nodes_featureids", |list| list.ints[3] = -1, "nodes_featureids has -1"),
        ("target_ids", |list| list.ints[0] = 7, "target_ids has 7"),
        ("nodes_values", |list| list.floats.truncate(2), "nodes_values has 2 entries, not 6"),
        ("target_weights", |list| list.floats[0] = f32::NAN, "attribute `target_weights` is NaN"),
    ];
    for (name, change, words) in changes {
        let mut kind = Kind::trees();
        let draft = kind.draft(1);
        let trees = kind.graph_mut().node.last_mut().unwrap();
        change(trees.attribute.iter_mut().find(|list| list.name == name).unwrap());
        let said = refused(Draft { onnx: kind.onnx(), ..draft });
        assert!(said.contains(words), "{said}");
    }
}

/// The engine of a model whose rows run alone makes no run of two rows, whatever it does.
#[test]
fn rows_that_run_alone_have_the_same_bits_in_every_mode() {
    for (modes, mode) in [
        (vec![Mode::Full, Mode::Sliding], Mode::Full),
        (vec![Mode::Full, Mode::Sliding], Mode::Sliding),
        (vec![Mode::Carried], Mode::Carried),
    ] {
        let bundle_of = |rows| {
            sealed_with(5, WINDOW_STEPS, &[8, 4], |draft| {
                draft.manifest.modes = modes.clone();
                draft.manifest.exactness =
                    Some(Exactness { rows, windows: 1, largest_difference: 0.0 });
            })
        };
        let [batched, alone] = [Rows::Batched, Rows::Alone].map(bundle_of);
        let engine = |sealed: &SealedBundle, is_lone: bool| {
            let bundle = &sealed.bundle;
            let backend = runtime().open(bundle.onnx(), bundle.signature()).unwrap();
            let poison = Poison::new(backend, bundle.signature().states.len());
            let backend: Box<dyn Backend> =
                if is_lone { Box::new(Lone(Box::new(poison))) } else { Box::new(poison) };
            let limits = EngineLimits { symbols_max: 10, batch_rows_max: 64 };
            Engine::new(bundle.plans().clone(), mode, bundle.signature(), backend, limits).unwrap()
        };
        let expected = live(engine(&batched, false), |_, engine| engine);
        let mut restored = live(engine(&alone, true), |_, old| {
            let mut new = engine(&alone, true);
            assert!(new.restore(&old.snapshot(), None).unwrap().is_empty());
            new
        });
        assert_eq!(restored.len(), 4 * (30 - WINDOW_STEPS as usize));
        assert_eq!(restored, expected, "{mode}: restored");
        if mode != Mode::Carried {
            // A carried state is not the old one after the change to another version.
            restored = live(engine(&alone, true), |day, old| {
                let mut new = engine(&alone, true);
                assert_eq!(new.inherit(&old, &Heritage::Rows).unwrap().kept, SYMBOLS.len());
                for snapshot in old.snapshot() {
                    let usable = new.try_window(&snapshot).unwrap();
                    assert_eq!(usable.is_some(), day >= WINDOW_STEPS);
                }
                new.wake(2).unwrap();
                new
            });
            assert_eq!(restored, expected, "{mode}: inherited");
        }
    }
}

/// Thirty days of four symbols; `renew` gives another engine every fifth day.
fn live(
    mut engine: Engine,
    mut renew: impl FnMut(u32, Engine) -> Engine,
) -> BTreeMap<(String, i64), u64> {
    let (mut said, mut forecasts) = (BTreeMap::new(), Vec::new());
    for day in 0..30_u32 {
        for (symbol, at) in SYMBOLS.iter().zip(0_u32..) {
            let mut fields = Fields::EMPTY;
            let close = 100.0 + 20.0 * (f64::from(day) * (0.3 + 0.2 * f64::from(at))).sin();
            fields.set_checked(Field::CLOSE, close).unwrap();
            fields.set_checked(Field::VOLUME, 300.0 + 40.0 * f64::from(day % (3 + at))).unwrap();
            let time = UnixNanos::from_nanos(i64::from(day) * 86_400_000_000_000);
            let tick = Tick { symbol: (*symbol).into(), time, fields };
            while engine.push(&tick, None) == Pushed::Waiting {
                engine.infer(Haste::Latency, &mut forecasts).unwrap();
                engine.advance().unwrap();
            }
        }
        let haste = if day % 2 == 0 { Haste::Latency } else { Haste::Throughput };
        engine.infer(haste, &mut forecasts).unwrap();
        engine.advance().unwrap();
        for forecast in forecasts.drain(..) {
            let symbol = engine.symbol(forecast.symbol).as_str().to_owned();
            said.insert((symbol, forecast.as_of.as_nanos()), forecast.value.to_bits());
        }
        if day % 5 == 4 {
            engine = renew(day, engine);
        }
    }
    said
}
