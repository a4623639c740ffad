//! Models as other frameworks export them, sealed from the command line and served.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tickcast::core::domain::{Evidence, UnixNanos};
use tickcast::engine::model::Bundle;
use tickcast::engine::model::manifest::{Known, Mode, Rows};
use tickcast::engine::onnx::{
    Dimension, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};
use tickcast::seal::config::read_in;
use tickcast::seal::data::Material;
use tickcast::seal::expect::Expected;

use crate::support::bundle::draft;
use crate::support::feed::ScriptedFeed;
use crate::support::network::Network;
use crate::support::process::{Daemon, eventually, run, tickcast};
use crate::support::raw_bundle::{RawBundle, endless_loop, negative_split, outer_product};
use crate::support::repository;

mod plain;

/// Rows of a window.
const WINDOW_STEPS: usize = 5;
/// Days of the history.
const DAYS: usize = 420;
/// Full windows in it: `change` costs one day.
const WINDOWS: usize = DAYS - WINDOW_STEPS;

/// A folder with a model, a history, and a configuration that seals them.
struct Place {
    folder: TempDir,
    network: Network,
}

/// The time of a day.
fn midnight(at: usize) -> UnixNanos {
    UnixNanos::from_nanos(at as i64 * 86_400_000_000_000)
}

/// The close and volume of a day.
fn day(at: usize) -> (f64, f64) {
    let phase = at as f64;
    (100.0 + 30.0 * (phase * 0.37).sin() + 0.01 * phase, 500.0 + 400.0 * (phase * 0.7).cos())
}

/// The rows of the history as the model reads them: min-max of close and volume, raw change.
fn rows() -> Vec<Vec<f32>> {
    let minmax = |x: f64, min: f64, max: f64| (-1.0 + (x - min) * (2.0 / (max - min))) as f32;
    (1..DAYS)
        .map(|at| {
            let ((before, _), (close, volume)) = (day(at - 1), day(at));
            let change = close / before - 1.0;
            vec![minmax(close, 50.0, 150.0), minmax(volume, 0.0, 1000.0), minmax(change, -0.5, 0.5)]
        })
        .collect()
}

/// A network as PyTorch and Keras export it: batch first, a fixed window, no states, and a name of
/// its own for everything.
fn exported(network: &Network) -> ModelProto {
    let mut model = ModelProto::from_bytes(&network.to_onnx()).unwrap();
    model.producer_name = "pytorch".into();
    model.producer_version = "2.15.0".into();
    let graph = model.graph.as_mut().unwrap();
    let axes = [Dimension::named("batch"), Dimension::of(WINDOW_STEPS), Dimension::of(3)];
    graph.input = vec![ValueInfoProto::float_tensor("serving_default_input", axes)];
    graph.output.truncate(1);
    for node in graph.node.iter_mut().filter(|node| node.op_type == "LSTM") {
        node.input.truncate(4);
    }
    let transpose = NodeProto::new("Transpose", "swap", &["serving_default_input"], &["x"]);
    graph.node.insert(0, transpose.with_ints("perm", &[1, 0, 2]));
    model
}

const CONFIG: &str = r#"
model = "model.onnx"
name = "foreign"
root = "models"

[window]
steps = 5
features = ["close", "volume", "change"]

[scaler]
kind = "minmax"
min = [50.0, 0.0, -0.5]
max = [150.0, 1000.0, 0.5]

[target]
kind = "next_return"

[target.scaler]
kind = "minmax"
min = -0.5
max = 0.5

[data]
path = "history.csv"
trained_until = "1970-08-01"

[expect]
path = "predictions.csv"
"#;

impl Place {
    fn new() -> Self {
        let network = Network::random(7, 3, &[8, 4]);
        let place = Self { folder: tempfile::tempdir().unwrap(), network };
        place.write("model.onnx", exported(&place.network).to_bytes());
        let mut history = "symbol,time,close,volume\n".to_owned();
        for at in 0..DAYS {
            let (close, volume) = day(at);
            let time = midnight(at);
            writeln!(history, "AAPL,{time},{close},{volume}").unwrap();
        }
        place.write("history.csv", history);
        let rows = rows();
        let mut predictions = "value\n".to_owned();
        for window in rows.windows(WINDOW_STEPS) {
            writeln!(predictions, "{}", place.network.forward(window)).unwrap();
        }
        place.write("predictions.csv", predictions);
        place.write("model.toml", CONFIG);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Writes the configuration with these replacements.
    fn configure(&self, replacements: &[(&str, &str)]) {
        let mut text = CONFIG.to_owned();
        for (from, to) in replacements {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        self.write("model.toml", text);
    }

    fn seal(&self, more: &[&str]) -> Output {
        // The runs write `models` of the configuration beside it.
        let config = self.text("model.toml");
        run(&[&["model", "seal", "-c", &config][..], more].concat())
    }

    #[track_caller]
    fn sealed(&self) -> (String, Bundle) {
        let output = self.seal(&[]);
        let (said, told) = words(&output);
        assert!(output.status.success(), "{told}");
        (said, Bundle::read(&self.path("models/foreign/1")).unwrap())
    }

    /// The problems of a refusal.
    #[track_caller]
    fn refused(&self) -> Vec<String> {
        let output = self.seal(&[]);
        let (said, told) = words(&output);
        assert_eq!(output.status.code(), Some(78), "{said}{told}");
        assert!(!self.path("models").exists(), "nothing is written");
        let problems = told.lines().skip_while(|line| !line.contains("cannot be sealed"));
        problems.skip(1).map(|line| line.trim().to_owned()).collect()
    }
}

fn words(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn json(arguments: &[&str]) -> Value {
    let output = run(arguments);
    assert!(output.status.success(), "{}", words(&output).1);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_batch_first_model_is_sealed_proven_and_compared_with_its_framework() {
    let place = Place::new();
    let (said, bundle) = place.sealed();
    let manifest = bundle.manifest();
    assert_eq!(manifest.modes, [Mode::Full, Mode::Sliding], "its states are exposed");
    let origin = manifest.origin.as_ref().unwrap();
    assert_eq!(origin.producer, "pytorch 2.15.0");
    assert_eq!(origin.opset, 17);
    let compared = origin.compared.as_ref().unwrap();
    assert_eq!(compared.count as usize, WINDOWS);
    assert!(compared.largest_difference < 1e-6, "{}", compared.largest_difference);
    assert_eq!(manifest.training, Known::Unknown);
    let exactness = manifest.exactness.unwrap();
    assert!(exactness.windows >= 256, "{exactness:?}");
    // The first half of what training did not see made the interval, the second one judges.
    let parts: Vec<_> = manifest.evaluation.iter().map(|part| part.part.as_str()).collect();
    assert_eq!(parts, ["validation", "test"]);
    let names: Vec<_> = manifest.evaluation[1].baselines.iter().map(|b| b.name.as_str()).collect();
    assert_eq!(names, ["persistence", "drift", "average", "seasonal", "linear"]);
    let baselines = manifest.baselines.as_ref().unwrap();
    assert_eq!(baselines.seasonal.unwrap().period_steps, 7, "a step is a day");
    let [validation, _] = &manifest.evaluation[..] else { panic!("two parts") };
    let best = validation
        .baselines
        .iter()
        .min_by(|a, b| a.root_mean_squared_error.total_cmp(&b.root_mean_squared_error));
    assert_eq!(best.unwrap().name, baselines.against.label());
    assert!(manifest.verdict.contains("the best baseline on the validation part"));
    let [case] = &bundle.golden().cases[..] else { panic!("one case") };
    assert_eq!(case.output.len(), 256);
    for expected in [
        "sealed ",
        "equal bits",
        "415 predictions, largest difference",
        "Transpose",
        "name = \"foreign\"",
    ] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    let inspected = run(&["model", "inspect", &place.text("models/foreign/1")]);
    let (inspected, _) = words(&inspected);
    assert!(said.contains(&inspected), "inspect says what sealing said: {inspected}");
    let again = place.seal(&[]);
    assert!(words(&again).0.contains("models/foreign/2"), "a version is never overwritten");
}

/// What `tickcast replay` says of the history's ticks.
fn replay(place: &Place, ticks: &[String]) -> String {
    place.write("ticks.jsonl", ticks.join("\n"));
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'foreign'\n",
        place.text("models")
    );
    place.write("replay.toml", config);
    let (config, input) = (place.text("replay.toml"), place.text("ticks.jsonl"));
    let output = run(&["replay", "-c", &config, "--input", &input, "--output", "-"]);
    assert!(output.status.success(), "{}", words(&output).1);
    words(&output).0
}

#[test]
fn a_sealed_model_gives_live_the_bytes_of_its_replay_and_its_framework_s_values() {
    let place = Place::new();
    place.sealed();
    let ticks: Vec<String> = (0..60)
        .flat_map(|at| {
            let (close, volume) = day(at);
            let time = at as i64 * 86_400_000;
            ["AAPL", "IBM", "MSFT", "ORCL"].map(|symbol| {
                format!(
                    r#"{{"symbol":"{symbol}","time":{time},"close":{close},"volume":{volume}}}"#
                )
            })
        })
        .collect();
    let replayed = replay(&place, &ticks);
    let feed = ScriptedFeed::start();
    let daemon = Daemon::start(&place.path("models"), "foreign", feed.url(), "engine.shards = 1");
    ticks.iter().for_each(|tick| feed.say(tick));
    daemon.await_metric("tickcast_ticks_total", ticks.len() as f64);
    let ended = daemon.stop();
    assert_eq!(ended.lines, replayed);
    let rows = rows();
    let mut seen = 0;
    for line in replayed.lines().filter(|line| line.contains("AAPL")) {
        let forecast: Value = serde_json::from_str(line).unwrap();
        // The target is min-max from -0.5 to 0.5.
        let expected = 0.5 * place.network.forward(&rows[seen..seen + WINDOW_STEPS]);
        let value = forecast["value"].as_f64().unwrap();
        assert!((value - expected).abs() < 1e-6, "{value} is not {expected}");
        seen += 1;
    }
    assert_eq!(seen, 60 - WINDOW_STEPS);
}

#[test]
fn predictions_beyond_the_tolerance_refuse_and_name_the_worst_line() {
    let place = Place::new();
    let predictions = fs::read_to_string(place.path("predictions.csv")).unwrap();
    let mut lines: Vec<String> = predictions.lines().map(str::to_owned).collect();
    let off: f64 = lines[17].parse::<f64>().unwrap() + 0.001;
    lines[17] = off.to_string();
    place.write("predictions.csv", lines.join("\n"));
    let problems = place.refused();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let start = "expect: the model is off its framework's predictions by up to 1.0e-3 in the";
    assert!(problems[0].starts_with(start), "{problems:?}");
    assert!(problems[0].contains("line 18 says"), "{problems:?}");
    // A wider tolerance takes it.
    place.configure(&[(
        "path = \"predictions.csv\"",
        "path = \"predictions.csv\"\ntolerance = 0.01",
    )]);
    let (_, bundle) = place.sealed();
    let compared = bundle.manifest().origin.as_ref().unwrap().compared.as_ref().unwrap();
    assert!(compared.largest_difference > 9e-4 && compared.tolerance == 0.01, "{compared:?}");
}

#[test]
fn predictions_are_found_by_time_and_in_the_target_s_unit() {
    let place = Place::new();
    let rows = rows();
    let mut text = "time;symbol;value\n".to_owned();
    // Three windows, in no order.
    for end in [200_usize, 30, 77] {
        let window = &rows[end + 1 - WINDOW_STEPS..=end];
        // The first row is that of the second day.
        let time = midnight(end + 1);
        writeln!(text, "{time};AAPL;{}", 0.5 * place.network.forward(window)).unwrap();
    }
    place.write("predictions.csv", &text);
    place.configure(&[(
        "path = \"predictions.csv\"",
        "path = \"predictions.csv\"\nunit = \"target\"",
    )]);
    let (_, bundle) = place.sealed();
    let origin = bundle.manifest().origin.clone().unwrap();
    assert_eq!(origin.compared.unwrap().count, 3);
    fs::remove_dir_all(place.path("models")).unwrap();
    text.push_str("1969-01-01;AAPL;0.5\n");
    place.write("predictions.csv", &text);
    let problems = place.refused();
    let expected = "line 5: no full window of `AAPL` ends at 1969-01-01T00:00:00Z";
    assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
}

#[test]
fn what_is_unknown_is_called_so() {
    let place = Place::new();
    place.configure(&[
        ("trained_until = \"1970-08-01\"", ""),
        ("[expect]\npath = \"predictions.csv\"", ""),
    ]);
    let (said, bundle) = place.sealed();
    let origin = bundle.manifest().origin.clone().unwrap();
    assert_eq!((origin.compared, origin.trained_until), (None, Known::Unknown));
    assert!(said.contains("not compared with its framework"), "{said}");
    let manifest = bundle.manifest();
    assert!(manifest.verdict.starts_with("It is unknown what the model was trained on"));
    let [part] = &manifest.evaluation[..] else { panic!("one part") };
    assert_eq!((part.part.as_str(), part.baselines.len()), ("history", 1));
    assert_eq!(manifest.baselines, None, "nothing says what they may be fitted to");
    assert_eq!(manifest.evidence().of(part.from), Evidence::Unknown);
    let listed = json(&["model", "list", "--root", &place.text("models"), "--json"]);
    assert_eq!(listed[0]["compared_with_framework"], Value::Bool(false));
}

#[test]
fn a_dry_run_does_everything_but_write() {
    let place = Place::new();
    let output = place.seal(&["--dry-run"]);
    let (said, told) = words(&output);
    assert!(output.status.success(), "{told}");
    assert!(said.starts_with("could be sealed; nothing was written\n"), "{said}");
    assert!(!place.path("models").exists());
    let sealed = place.seal(&["--dry-run", "--json"]);
    let answer: Value = serde_json::from_slice(&sealed.stdout).unwrap();
    assert_eq!(answer[0]["manifest"]["name"], "foreign");
    assert!(answer[0]["graph"]["multiply_adds_per_window"].as_u64().unwrap() > 0);
}

#[test]
fn a_configuration_begins_with_what_the_graph_tells() {
    let place = Place::new();
    let written = place.text("mine.toml");
    let output = run(&["model", "seal", "--init", &place.text("model.onnx"), "-o", &written]);
    assert!(output.status.success(), "{}", words(&output).1);
    let text = fs::read_to_string(&written).unwrap();
    for expected in [
        "model = \"model.onnx\"",
        "steps = 5",
        "[B,5,3], batch first",
        "3 features, in the order of training",
        "by pytorch 2.15.0 (operator set 17)",
        "has one column.\nvalue = 0",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    let again = run(&["model", "seal", "--init", &place.text("model.onnx"), "-o", &written]);
    assert_eq!(again.status.code(), Some(75), "a file is never overwritten");
    // What is not filled in is listed, each with its line.
    let problems = read_in(&text, Some(place.folder.path().to_owned())).unwrap_err();
    let keys: Vec<&str> = problems.iter().filter_map(|line| line.split(": ").nth(1)).collect();
    for key in ["target.kind", "target.scaler.kind", "window.features", "scaler.kind", "data.path"]
    {
        assert!(keys.contains(&key), "{key} in {problems:?}");
    }
    let filled = text
        .replace("features = []", "features = [\"close\", \"volume\", \"change\"]")
        .replace("# kind = \"minmax\"", "kind = \"minmax\"")
        .replace("# min = []", "min = [50.0, 0.0, -0.5]")
        .replace("# max = []", "max = [150.0, 1000.0, 0.5]")
        .replace("# kind = \"next_return\"", "kind = \"next_return\"")
        .replace("# kind = \"none\"", "kind = \"minmax\"\nmin = -0.5\nmax = 0.5")
        .replace("# path = \"history.csv\"", "path = \"history.csv\"")
        .replace("# path = \"predictions.csv\"", "path = \"predictions.csv\"");
    fs::write(&written, filled).unwrap();
    let models = place.text("models");
    let sealed = run(&["model", "seal", "-c", &written, "--models", &models]);
    let (said, told) = words(&sealed);
    assert!(sealed.status.success(), "{told}");
    assert!(said.contains("415 predictions"), "{said}");
    assert!(place.path("models/model/1/manifest.json").exists());
}

#[test]
fn what_the_graph_contradicts_is_listed_at_once() {
    let place = Place::new();
    place.configure(&[
        ("steps = 5", "steps = 6"),
        ("features = [\"close\", \"volume\", \"change\"]", "features = [\"close\", \"volume\"]"),
        ("min = [50.0, 0.0, -0.5]", "min = [50.0, 0.0]"),
        ("max = [150.0, 1000.0, 0.5]", "max = [150.0, 1000.0]"),
        ("path = \"history.csv\"", "path = \"nowhere.csv\""),
        ("path = \"predictions.csv\"", "path = \"nothing.csv\""),
    ]);
    let problems = place.refused();
    for expected in ["window.steps: ", "window.features: ", "data.path: ", "expect.path: "] {
        assert!(problems.iter().any(|line| line.starts_with(expected)), "{expected}: {problems:?}");
    }
    place.write("model.onnx", "no graph at all");
    let problems = place.refused();
    assert!(problems.iter().any(|line| line.starts_with("model: ")), "{problems:?}");
}

#[test]
fn two_bundles_are_compared_by_what_they_say_and_what_they_give() {
    let place = Place::new();
    place.sealed();
    let same = json(&[
        "model",
        "diff",
        &place.text("models/foreign/1"),
        &place.text("models/foreign/1"),
        "--json",
    ]);
    assert_eq!(same["fields"], Value::Array(Vec::new()));
    assert_eq!(same["outputs"]["compared"]["equal_bits"], Value::Bool(true));
    place
        .configure(&[("max = 0.5\n", "max = 0.6\n"), ("[expect]\npath = \"predictions.csv\"", "")]);
    let second = place.seal(&[]);
    assert!(second.status.success(), "{}", words(&second).1);
    let (a, b) = (place.text("models/foreign/1"), place.text("models/foreign/2"));
    let differs = json(&["model", "diff", &a, &b, "--json"]);
    let fields: Vec<_> = differs["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["field"].as_str().unwrap())
        .collect();
    assert!(fields.contains(&"target.scaler"), "{fields:?}");
    assert!(fields.contains(&"origin.compared"), "{fields:?}");
    let outputs = &differs["outputs"]["compared"];
    assert_eq!(outputs["windows"], 512, "the golden windows of both");
    let largest = outputs["largest_difference"].as_f64().unwrap();
    // Outputs of -1 to 1 onto -0.5 to 0.6 and to 0.5 are up to 0.1 apart.
    assert!(largest > 0.01 && largest <= 0.1, "{largest}");
    let words = words(&run(&["model", "diff", &a, &b])).0;
    assert!(words.contains("target.scaler") && words.contains("apart at most"), "{words}");
}

#[test]
fn a_bundle_is_verified_in_words_and_as_json() {
    let place = Place::new();
    place.sealed();
    let folder = place.text("models/foreign/1");
    // A busy machine may take longer over it than the daemon allows by default.
    let patient = ["--seconds-max", "3600"];
    let verified = json(&[&["model", "verify", &folder, "--json"], &patient[..]].concat());
    assert_eq!(verified["whole"], Value::Bool(true));
    assert_eq!(verified["golden_windows"], 256);
    assert_eq!(verified["compared_with_framework"], Value::Bool(true));
    let inspected = json(&[&["model", "inspect", &folder, "--json"], &patient[..]].concat());
    assert!(!inspected["graph"]["layers"].as_array().unwrap().is_empty());
    let golden = Path::new(&folder).join("golden.json");
    fs::write(&golden, fs::read_to_string(&golden).unwrap() + " ").unwrap();
    let output = run(&["model", "verify", &folder, "--json"]);
    assert_eq!(output.status.code(), Some(78));
    let refused: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(refused["whole"], Value::Bool(false));
    assert!(refused["problems"][0].as_str().unwrap().contains("golden_sha256"), "{refused}");
}

/// A model with an output column for each of several things: the network's value plus a constant.
fn columns(network: &Network, offsets: &[f32]) -> ModelProto {
    let mut model = exported(network);
    let graph = model.graph.as_mut().unwrap();
    graph.node.last_mut().unwrap().output = vec!["one".into()];
    graph.initializer.push(TensorProto::floats("offsets", &[1, offsets.len()], offsets));
    graph.node.push(NodeProto::new("Add", "spread", &["one", "offsets"], &["quantiles"]));
    let axes = [Dimension::named("batch"), Dimension::of(offsets.len())];
    graph.output = vec![ValueInfoProto::float_tensor("quantiles", axes)];
    model
}

#[test]
fn a_quantile_model_publishes_its_own_interval() {
    let place = Place::new();
    place.write("model.onnx", columns(&place.network, &[-0.2, 0.0, 0.3]).to_bytes());
    // Which column is which is asked, and never the first one by default.
    let problems = place.refused();
    let expected = "output.value: is missing, and output `quantiles` of the model has 3 columns";
    assert!(problems.len() == 1 && problems[0].starts_with(expected), "{problems:?}");
    place.configure(&[("[data]", "[output]\nvalue = 1\nlower = 0\nupper = 2\n\n[data]")]);
    let (said, bundle) = place.sealed();
    let columns = bundle.manifest().graph.columns.unwrap();
    assert_eq!((columns.value, columns.lower, columns.upper), (1, Some(0), Some(2)));
    assert!(said.contains("the model's own"), "{said}");
    let ticks: Vec<String> = (0..WINDOW_STEPS + 1)
        .map(|at| {
            let (close, volume) = day(at);
            let time = at as i64 * 86_400_000;
            format!(r#"{{"symbol":"A","time":{time},"close":{close},"volume":{volume}}}"#)
        })
        .collect();
    let forecast: Value = serde_json::from_str(&replay(&place, &ticks)).unwrap();
    let middle = 0.5 * place.network.forward(&rows()[..WINDOW_STEPS]);
    for (key, expected) in [("value", middle), ("lower", middle - 0.1), ("upper", middle + 0.15)] {
        let found = forecast[key].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-6, "{key}: {found} is not {expected}");
    }
}

#[test]
fn several_horizons_become_a_bundle_each() {
    let place = Place::new();
    place.write("model.onnx", columns(&place.network, &[0.0, 0.1]).to_bytes());
    place.configure(&[
        ("kind = \"next_return\"", "kind = \"next_return\"\nhorizon_steps = [1, 5]"),
        ("[data]", "[output]\nvalue = [0, 1]\n\n[data]"),
        ("[expect]\npath = \"predictions.csv\"", ""),
    ]);
    let output = place.seal(&[]);
    assert!(output.status.success(), "{}", words(&output).1);
    assert!(words(&output).0.contains("name = \"foreign-h1\"\n# name = \"foreign-h5\"\n"));
    for (name, horizon, column) in [("foreign-h1", 1, 0), ("foreign-h5", 5, 1)] {
        let bundle = Bundle::read(&place.path(&format!("models/{name}/1"))).unwrap();
        let manifest = bundle.manifest();
        assert_eq!(manifest.horizon_steps, horizon);
        assert_eq!(manifest.graph.columns.unwrap().value, column);
    }
    // They belong together: none is there where one cannot be written, and their numbers are equal.
    fs::remove_dir_all(place.path("models/foreign-h5/1")).unwrap();
    place.write("models/foreign-h5/.2.draft", "in the way");
    let output = place.seal(&[]);
    assert_eq!(output.status.code(), Some(75), "{}", words(&output).1);
    assert!(words(&output).1.contains("foreign-h5/2 cannot be written:"), "{}", words(&output).1);
    assert!(!place.path("models/foreign-h1/2").exists());
    fs::remove_file(place.path("models/foreign-h5/.2.draft")).unwrap();
    let output = place.seal(&[]);
    assert!(output.status.success(), "{}", words(&output).1);
    for name in ["foreign-h1", "foreign-h5"] {
        assert!(place.path(&format!("models/{name}/2/manifest.json")).exists());
    }
}

#[test]
fn a_small_column_beside_a_large_one_is_held_to_its_own_size() {
    let place = Place::new();
    place.write("model.onnx", columns(&place.network, &[60_000.0, 0.0]).to_bytes());
    place.configure(&[("[data]", "[output]\nvalue = 1\n\n[data]")]);
    let (_, bundle) = place.sealed();
    assert_eq!(bundle.golden().tolerance, 1e-5);
    // And a large one to its own: one bit of it is 0.004.
    let value = "[output]\nvalue = 0\n\n[data]";
    place.configure(&[("[data]", value), ("[expect]\npath = \"predictions.csv\"", "")]);
    let output = place.seal(&[]);
    assert!(output.status.success(), "{}", words(&output).1);
    let bundle = Bundle::read(&place.path("models/foreign/2")).unwrap();
    assert!((bundle.golden().tolerance - 0.6).abs() < 1e-3, "{}", bundle.golden().tolerance);
}

#[test]
fn a_bundle_that_cannot_be_written_is_no_refusal() {
    let place = Place::new();
    // Nothing can be made there.
    let output = place.seal(&["--models", "/proc/tickcast"]);
    let (_, told) = words(&output);
    assert_eq!(output.status.code(), Some(75), "{told}");
    assert!(told.contains("cannot be written:") && told.contains("write: "), "{told}");
}

/// The windows of a file of predictions, by their places; or the problems.
fn expected(place: &Place, configuration: &str, file: &str) -> Result<Vec<usize>, Vec<String>> {
    place.write("predictions.csv", file);
    let config = read_in(configuration, Some(place.folder.path().to_owned())).unwrap();
    let material = Material::read(&config).unwrap();
    Expected::read(config.expect.as_ref().unwrap(), &config)?.windows(&material)
}

#[test]
fn predictions_without_times_are_those_of_each_symbol_in_order() {
    let place = Place::new();
    let mut history = "symbol,time,close,volume\n".to_owned();
    // Windows of 5 rows: two of A and one of B.
    for (symbol, days) in [("A", 7), ("B", 6)] {
        (0..days).for_each(|at| {
            let (close, volume) = day(at);
            writeln!(history, "{symbol},{},{close},{volume}", midnight(at)).unwrap();
        });
    }
    place.write("history.csv", history);
    let count = |symbol, have, there| {
        format!("has {have} predictions of `{symbol}`, and the history has {there} full windows")
    };
    for (file, wanted) in [
        ("symbol,value\nB,3\nA,1\nA,2\n", Ok(vec![2, 0, 1])),
        ("symbol,value\nA,1\nB,3\nA,2\n", Ok(vec![0, 2, 1])),
        ("symbol,value\nA,1\nA,2\n", Err(count("B", 0, 1))),
        ("symbol,value\nA,1\nB,3\n", Err(count("A", 1, 2))),
        ("symbol,value\nA,1\nA,2\nB,3\nC,4\n", Err(count("C", 1, 0))),
        ("value\n1\n2\n3\n", Err("the history has several symbols".to_owned())),
    ] {
        let found = expected(&place, CONFIG, file);
        match (found, wanted) {
            (Ok(found), Ok(wanted)) => assert_eq!(found, wanted, "{file}"),
            (Err(found), Err(wanted)) => assert!(found[0].contains(&wanted), "{file}: {found:?}"),
            (found, wanted) => panic!("{file}: {found:?}, not {wanted:?}"),
        }
    }
}

#[test]
fn times_of_predictions_and_of_training_are_those_of_the_history() {
    let place = Place::new();
    let mut history = "symbol,time,close,volume\n".to_owned();
    for at in 0..7 {
        let (close, volume) = day(at);
        writeln!(history, "A,{:02}.03.2024,{close},{volume}", at + 1).unwrap();
    }
    place.write("history.csv", history);
    let keys = "time_zone = \"America/New_York\"\ntime_format = \"%d.%m.%Y\"";
    let until = ("trained_until = \"1970-08-01\"", "trained_until = \"05.03.2024\"");
    let text = CONFIG.replace(until.0, &format!("{}\n{keys}", until.1));
    let file = "time,value\n06.03.2024,1\n07.03.2024,2\n";
    assert_eq!(expected(&place, &text, file), Ok(vec![0, 1]));
    let config = read_in(&text, None).unwrap();
    let wanted = UnixNanos::parse("2024-03-05T05:00:00Z").unwrap();
    assert_eq!(config.trained_until, Some(wanted));
}

/// A model whose output goes through one more node.
fn with_node(network: &Network, node: &[NodeProto]) -> ModelProto {
    let mut model = exported(network);
    let graph = model.graph.as_mut().unwrap();
    graph.node.last_mut().unwrap().output = vec!["one".into()];
    graph.node.extend(node.iter().cloned());
    model
}

#[test]
fn rows_that_change_each_other_are_refused_unless_they_run_alone() {
    let place = Place::new();
    let largest = NodeProto::new("ReduceMax", "leak", &["one"], &["largest"]);
    let sum = NodeProto::new("Add", "sum", &["one", "largest"], &["y"]);
    let mut model = with_node(&place.network, &[largest.with_ints("axes", &[0]), sum]);
    // Rows that mix do not tell which axis is theirs, so the length of the window is free here.
    let axes = [Dimension::named("batch"), Dimension::named("steps"), Dimension::of(3)];
    model.graph.as_mut().unwrap().input =
        vec![ValueInfoProto::float_tensor("serving_default_input", axes)];
    place.write("model.onnx", model.to_bytes());
    place.configure(&[("[expect]\npath = \"predictions.csv\"", "")]);
    let problems = place.refused();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let start = "rows_mix: the rows of a batch change each other: a window alone gives ";
    assert!(problems[0].starts_with(start), "{problems:?}");
    assert!(problems[0].contains("set rows_mix = \"alone\""), "{problems:?}");
    place.configure(&[
        ("name = \"foreign\"", "name = \"foreign\"\nrows_mix = \"alone\""),
        ("[expect]\npath = \"predictions.csv\"", ""),
    ]);
    let (said, bundle) = place.sealed();
    let exactness = bundle.manifest().exactness.unwrap();
    assert!(exactness.rows == Rows::Alone && exactness.largest_difference > 0.01, "{exactness:?}");
    assert!(said.contains("one at a time: in a batch a row differs by up to "), "{said}");
}

#[test]
fn an_input_that_is_no_state_needs_a_value() {
    let place = Place::new();
    let sum = NodeProto::new("Add", "sum", &["one", "lost/constant:0"], &["y"]);
    let mut model = with_node(&place.network, &[sum]);
    let axes = [Dimension::of(1)];
    let input = ValueInfoProto::float_tensor("lost/constant:0", axes);
    model.graph.as_mut().unwrap().input.push(input);
    place.write("model.onnx", model.to_bytes());
    let problems = place.refused();
    let start = "constants: the graph reads `lost/constant:0`, which is neither rows nor the state";
    assert!(problems.len() == 1 && problems[0].starts_with(start), "{problems:?}");
    let with = |name: &str| format!("[constants]\n\"{name}\" = 0.25\n\n[data]");
    place.configure(&[("[data]", &with("lost/constnat:0"))]);
    let problems = place.refused();
    let known = "constants.lost/constnat:0: the graph has no such input beside its rows and states";
    assert!(problems.iter().any(|line| line.starts_with(known)), "{problems:?}");
    let mut predictions = "value\n".to_owned();
    for window in rows().windows(WINDOW_STEPS) {
        writeln!(predictions, "{}", place.network.forward(window) + 0.25).unwrap();
    }
    place.write("predictions.csv", predictions);
    place.configure(&[("[data]", &with("lost/constant:0"))]);
    let (said, _) = place.sealed();
    assert!(said.contains("415 predictions"), "{said}");
}

#[test]
fn a_state_goes_on_without_end_only_where_that_is_asked() {
    let place = Place::new();
    let mut states: Vec<Vec<f32>> =
        place.network.states().map(|(_, width)| vec![0.0; width]).collect();
    let mut predictions = "value\n".to_owned();
    for (at, row) in rows().iter().enumerate() {
        let value = place.network.step(row, &mut states);
        if at + 1 >= WINDOW_STEPS {
            writeln!(predictions, "{value}").unwrap();
        }
    }
    place.write("predictions.csv", predictions);
    let problems = place.refused();
    assert!(problems[0].starts_with("expect: the model is off"), "windows: {problems:?}");
    place.configure(&[("name = \"foreign\"", "name = \"foreign\"\ncarried = true")]);
    let (said, bundle) = place.sealed();
    assert_eq!(bundle.manifest().modes, [Mode::Carried]);
    assert!(said.contains("415 predictions"), "{said}");
}

/// Every way to be wrong that the file itself shows, with the line that says so.
#[test]
fn wrong_configurations_get_a_line_each_with_key_and_fix() {
    let text = fs::read_to_string(repository().join("tests/data/seal/wrong.txt")).unwrap();
    let lines: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with(['-', '+', '=']))
        .map(|line| line[1..].trim_start().replace("\\n", "\n"))
        .collect();
    let cases: Vec<_> = lines.as_chunks::<3>().0.iter().collect();
    assert!(cases.len() >= 40, "{} cases", cases.len());
    assert_eq!(read_in(CONFIG, None).map(|config| config.name), Ok("foreign".to_owned()));
    for [from, to, expected] in cases {
        assert!(CONFIG.contains(from.as_str()), "{from}");
        let problems = read_in(&CONFIG.replacen(from, to, 1), None).unwrap_err();
        let is_said = problems.iter().any(|line| line.starts_with(expected.as_str()));
        assert!(is_said, "{to}: {problems:?}");
    }
    // All at once, each with its line of the file.
    let mut text = CONFIG.to_owned();
    for (from, to) in [
        ("steps = 5", "steps = 0"),
        ("kind = \"next_return\"", "kind = \"next_week\""),
        ("trained_until = \"1970-08-01\"", "trained_until = \"x\""),
    ] {
        text = text.replacen(from, to, 1);
    }
    let problems = read_in(&text, Some(PathBuf::from("."))).unwrap_err();
    let starts: Vec<_> = problems.iter().filter_map(|line| line.split_once(": ")).collect();
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(starts.iter().all(|(place, _)| place.starts_with("line ")), "{problems:?}");
}

#[test]
fn a_scaler_of_scikit_learn_is_read_from_its_attributes() {
    let place = Place::new();
    place.write(
        "scaler.json",
        r#"{"feature_range": [-1, 1], "clip": false, "data_min_": [50, 0, -0.5],
            "data_max_": [150, 1000, 0.5], "scale_": [0.02, 0.002, 2.0], "min_": [-2.0, -1.0, 0.0],
            "n_features_in_": 3, "feature_names_in_": ["close", "volume", "change"]}"#,
    );
    place.configure(&[(
        "kind = \"minmax\"\nmin = [50.0, 0.0, -0.5]\nmax = [150.0, 1000.0, 0.5]",
        "sklearn = \"scaler.json\"",
    )]);
    let (said, _) = place.sealed();
    assert!(said.contains("415 predictions"), "{said}");
    place.configure(&[(
        "kind = \"minmax\"\nmin = [50.0, 0.0, -0.5]\nmax = [150.0, 1000.0, 0.5]",
        "sklearn = \"absent.json\"",
    )]);
    let output = place.seal(&["--dry-run"]);
    assert!(words(&output).1.contains("scaler.sklearn: `"), "{}", words(&output).1);
}

/// The processes that a process has made.
fn children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

#[test]
fn a_graph_that_hangs_panics_or_takes_all_memory_ends_a_sealing_with_a_sentence() {
    let place = Place::new();
    let with_graph = |change: fn(&mut GraphProto)| {
        let mut model = exported(&place.network);
        change(model.graph.as_mut().unwrap());
        place.write("model.onnx", model.to_bytes());
    };
    let refused = |more: &[&str], expected: &str| {
        let (config, model) = (place.text("model.toml"), place.text("model.onnx"));
        for what in [["-c", &config], ["--init", &model]] {
            let output = run(&[&["model", "seal"], &what[..], more].concat());
            let (said, told) = words(&output);
            assert_eq!(output.status.code(), Some(78), "{said}{told}");
            assert!(told.contains(expected), "{expected}: {told}");
            assert!(told.contains("cannot be sealed") && said.is_empty(), "{told}");
            assert!(!place.path("models").exists(), "nothing is written");
        }
    };
    with_graph(endless_loop);
    refused(&["--seconds-max", "2"], "model: it takes more than 2 s (--seconds-max)");
    with_graph(outer_product);
    refused(&["--memory-mib", "512"], "it may take 512 MiB (--memory-mib)");
    with_graph(negative_split);
    refused(&[], "model: the runtime panics over the graph");
}

#[test]
fn a_graph_that_ends_its_process_ends_a_sealing_with_a_sentence() {
    let place = Place::new();
    let mut model = exported(&place.network);
    endless_loop(model.graph.as_mut().unwrap());
    place.write("model.onnx", model.to_bytes());
    let mut command = tickcast();
    command.args(["model", "seal", "-c", &place.text("model.toml")]);
    let asking = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let child = eventually("a process of its own", || children(asking.id()).pop());
    // As a library that finds its memory damaged does.
    let killed = Command::new("kill").args(["-ABRT", &child.to_string()]).status().unwrap();
    assert!(killed.success());
    let output = asking.wait_with_output().unwrap();
    let (_, told) = words(&output);
    assert_eq!(output.status.code(), Some(78), "{told}");
    assert!(told.contains("the runtime ended its process (signal: 6 (SIGABRT)"), "{told}");
}

#[test]
fn a_sealed_graph_that_hangs_is_neither_inspected_compared_nor_verified_without_an_end() {
    let place = tempfile::tempdir().unwrap();
    let good = RawBundle::of(&draft(WINDOW_STEPS as u32, &Network::random(41, 3, &[6])));
    let folders = [
        good.write(place.path(), "1"),
        good.clone().with_graph(endless_loop).write(place.path(), "2"),
    ];
    let [good, hanging] = folders.map(|folder| folder.display().to_string());
    for arguments in [&["inspect", &hanging][..], &["diff", &good, &hanging], &["verify", &hanging]]
    {
        let output = run(&[&["model"], arguments, &["--seconds-max", "2"]].concat());
        let (said, told) = words(&output);
        assert_eq!(output.status.code(), Some(78), "{said}{told}");
        assert!(told.contains("takes more than 2 s (--seconds-max)"), "{told}");
        assert!(said.is_empty(), "{said}");
    }
}
