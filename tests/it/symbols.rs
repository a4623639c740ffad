//! Models that know which symbol they see: trained, sealed, replayed and served.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use tempfile::TempDir;
use tickcast::core::domain::UnixNanos;
use tickcast::engine::model::Bundle;
use tickcast::engine::model::manifest::Manifest;
use tickcast::engine::wire::forecast::ForecastRecord;
use tickcast::train::config;
use tickcast::train::fit::Fit;
use tickcast::train::job::Job;

use crate::support::feed::{Act, ScriptedFeed};
use crate::support::process::{Daemon, run};
use crate::support::runtime;

/// Symbols of the history, and what no feature says: the mean of their next value.
const BIASES: [(&str, f64); 3] = [("LOW", -1.0), ("MID", 0.25), ("TOP", 1.0)];

/// Days of the history.
const DAYS: u32 = 320;

/// Model units by symbol and time.
type Values = BTreeMap<(String, UnixNanos), f64>;

/// One row: `x` is noise, and the next `y` follows from it and from the symbol.
#[derive(Clone, Debug)]
struct Row {
    symbol: &'static str,
    day: u32,
    x: f64,
    y: f64,
}

impl Row {
    fn date(&self) -> String {
        let (year, month, day) = (2001 + self.day / 336, self.day / 28 % 12, self.day % 28);
        format!("{year}-{:02}-{:02}", 1 + month, 1 + day)
    }
}

/// The rows of a symbol.
fn rows(symbol: &'static str, bias: f64) -> Vec<Row> {
    let mut state = symbol.bytes().fold(9_u32, |state, byte| state * 31 + u32::from(byte));
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 24) - 0.5
    };
    let mut before = 0.0;
    (0..DAYS)
        .map(|day| {
            let (x, y) = (noise(), bias + 0.4 * before + 0.02 * noise());
            before = x;
            Row { symbol, day, x, y }
        })
        .collect()
}

/// A folder with a history, and in it a model that was trained on it.
struct Trained {
    folder: TempDir,
    manifest: Manifest,
    fit: Fit,
    /// What the trainer says of the validation and the test part.
    values: Values,
}

impl Trained {
    /// `more` are settings behind those of every model here.
    fn new(more: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut csv = "symbol,day,x,y\n".to_owned();
        for row in BIASES.iter().flat_map(|(symbol, bias)| rows(symbol, *bias)) {
            writeln!(csv, "{},{},{},{}", row.symbol, row.date(), row.x, row.y).unwrap();
        }
        fs::write(path("history.csv"), csv).unwrap();
        // NEW has no history.
        fs::write(path("sizes.csv"), "symbol,size\nLOW,1\nMID,5\nTOP,8\nNEW,4\n").unwrap();
        let settings = format!(
            "model.name = 'told'\nmodel.root = '{0}/models'\ndata.path = '{0}/history.csv'\n\
             data.columns = 'symbol=symbol,time=day,x=x,y=y'\n\
             window.steps = 4\nwindow.features = ['x']\nwindow.extra_fields = ['x', 'y']\n\
             target.kind = 'next_value'\ntarget.field = 'y'\n\
             forecast.buy_above = 100\nforecast.sell_below = -100\n\
             network.lstm = [{{ units = 6 }}]\n\
             network.dense = [{{ units = 1, activation = 'tanh' }}]\n\
             fit.epochs_max = 40\nfit.batch = 32\nfit.learning_rate = 0.02\n\
             fit.work = '{0}/work'\nreport.folder = ''\n{1}",
            folder.path().display(),
            more.replace("FOLDER", &folder.path().display().to_string()),
        );
        fs::write(path("train.toml"), settings).unwrap();
        let job = Job::prepare(config::load(Path::new(&path("train.toml"))).unwrap()).unwrap();
        let trained = job.run(&mut |_| ControlFlow::Continue(())).unwrap();
        let (judged, fit) = (trained.assessment.clone(), trained.fit.clone());
        let sealed = trained.seal(Path::new(&path("models")), runtime()).unwrap();
        let manifest = fs::read(sealed.join("manifest.json")).unwrap();
        let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
        let mut values = Values::new();
        let parts =
            [(&job.dataset().validation, judged.validation), (&job.dataset().test, judged.test)];
        for (part, judged) in parts {
            for (example, output) in part.examples.iter().zip(&judged.outputs) {
                let symbol = BIASES[example.series].0.to_owned();
                values.insert((symbol, example.as_of), f64::from(*output));
            }
        }
        Self { folder, manifest, fit, values }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The lowest validation loss.
    fn loss(&self) -> f64 {
        self.fit.epochs[self.fit.best_epoch - 1].validation_loss
    }

    /// Forecasts as lines, in model units.
    fn values_of(&self, lines: &str) -> Values {
        let scaler = self.manifest.target.scaler.single().unwrap();
        let value = |line: &str| {
            let forecast: ForecastRecord<'_> = serde_json::from_str(line).unwrap();
            ((forecast.symbol.to_string(), forecast.as_of), scaler.apply(forecast.value))
        };
        lines.lines().map(value).collect()
    }

    /// What a replay of these rows says.
    fn replay(&self, mode: &str, runtime: &str, rows: impl Iterator<Item = Row>) -> Values {
        let ticks: Vec<String> = rows.map(|row| tick(row.symbol, &row)).collect();
        fs::write(self.path("ticks.jsonl"), ticks.join("\n")).unwrap();
        let settings = format!(
            "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'told'\n\
             model.mode = '{mode}'\nengine.runtime = '{runtime}'\n",
            self.path("models")
        );
        fs::write(self.path("replay.toml"), settings).unwrap();
        let [configuration, input] = ["replay.toml", "ticks.jsonl"].map(|name| self.path(name));
        let output = run(&["replay", "-c", &configuration, "--input", &input, "--output", "-"]);
        let problems = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{mode} by {runtime}: {problems}");
        self.values_of(&String::from_utf8(output.stdout).unwrap())
    }

    /// Compares what was said with what the trainer says; returns for how many forecasts.
    fn compare(&self, said: &Values, place: &str) -> usize {
        let both = said.iter().filter_map(|(key, said)| Some((key, said, self.values.get(key)?)));
        let count = both.clone().count();
        for (key, said, trained) in both {
            assert!((said - trained).abs() < 1e-6, "{place} {key:?}: {said}, trainer {trained}");
        }
        count
    }
}

/// A row as a tick of a symbol.
fn tick(symbol: &str, row: &Row) -> String {
    let Row { x, y, .. } = row;
    format!(r#"{{"symbol":"{symbol}","time":"{}T00:00:00Z","x":{x},"y":{y}}}"#, row.date())
}

/// All rows, in order of time.
fn all_rows() -> impl Iterator<Item = Row> {
    let mut all: Vec<Row> = BIASES.iter().flat_map(|(symbol, bias)| rows(symbol, *bias)).collect();
    all.sort_by_key(|row| row.day);
    all.into_iter()
}

/// The forecasts of the last symbol as one that no table has.
fn as_unknown() -> impl Iterator<Item = Row> {
    all_rows().filter(|row| row.symbol == "TOP").map(|row| Row { symbol: "OTHER", ..row })
}

#[test]
fn a_learned_table_tells_apart_what_no_feature_does_and_is_served_as_it_was_trained() {
    let blind = Trained::new("");
    let told = Trained::new("network.embedding = 2\n");
    assert!(told.loss() < blind.loss() / 1000.0, "with {}, without {}", told.loss(), blind.loss());
    assert_eq!(blind.manifest.symbols, None);
    let symbols = told.manifest.symbols.as_ref().unwrap();
    assert_eq!((symbols.count, symbols.embedding, symbols.statics.len()), (3, 2, 0));
    for mode in ["full", "sliding"] {
        for runtime in ["onnxruntime", "auto"] {
            let said = told.replay(mode, runtime, all_rows().chain(as_unknown()));
            let compared = told.compare(&said, &format!("{mode} by {runtime}"));
            assert_eq!(compared, told.values.len(), "every forecast of the trainer");
            // The mean of three embeddings lies between the symbols, at every step.
            let mean = |symbol: &str| {
                let of_it = said.iter().filter(|((name, _), _)| name == symbol);
                let values: Vec<f64> = of_it.map(|(_, value)| *value).collect();
                values.iter().sum::<f64>() / values.len() as f64
            };
            let [low, other, top] = ["LOW", "OTHER", "TOP"].map(mean);
            assert!(low < other && other < top, "{low} {other} {top}");
        }
    }
}

#[test]
fn a_daemon_serves_each_symbol_by_its_entry_and_goes_on_after_a_restart() {
    let told = Trained::new("window.statics = 'FOLDER/sizes.csv'\nnetwork.embedding = 2\n");
    let feed = ScriptedFeed::start();
    let settings = format!("snapshot.folder = '{}'\nengine.shards = 2", told.path("snapshots"));
    let newest: Vec<Row> = all_rows().filter(|row| row.day >= DAYS - 12).collect();
    let (first, second) = newest.split_at(newest.len() / 2);
    let mut said = Values::new();
    for (rows, forecasts) in [(first, 4 * (6 - 3)), (second, 4 * 6)] {
        let daemon = Daemon::start(Path::new(&told.path("models")), "told", feed.url(), &settings);
        for row in rows {
            feed.say(tick(row.symbol, row));
            if row.symbol == "TOP" {
                feed.say(tick("OTHER", row));
            }
        }
        daemon.await_metric("tickcast_forecasts_total", f64::from(forecasts));
        assert_eq!(daemon.metric("tickcast_symbols_unknown"), 1.0, "OTHER");
        let ended = daemon.stop();
        assert!(ended.status.success(), "{:?}", ended.log);
        feed.act(Act::Break);
        said.extend(told.values_of(&ended.lines));
    }
    assert_eq!(said.len(), 4 * (12 - 3));
    // The newest rows have no label, so the trainer says nothing of them.
    assert_eq!(told.compare(&said, "live"), 3 * (12 - 3 - 1));
}

#[test]
fn static_numbers_serve_symbols_that_were_never_trained_on() {
    let told = Trained::new("window.statics = 'FOLDER/sizes.csv'\n");
    let blind = Trained::new("");
    assert!(told.loss() < blind.loss() / 1000.0, "with {}, without {}", told.loss(), blind.loss());
    let symbols = told.manifest.symbols.as_ref().unwrap();
    assert_eq!(
        (symbols.count, symbols.embedding, &symbols.statics[..]),
        (4, 0, &["size".to_owned()][..])
    );
    let new = all_rows().filter(|row| row.symbol == "TOP").map(|row| Row { symbol: "NEW", ..row });
    let said = told.replay("sliding", "auto", all_rows().chain(new));
    assert_eq!(told.compare(&said, "statics"), told.values.len());
    let mean = |symbol: &str| {
        let of_it = said.iter().filter(|((name, _), _)| name == symbol);
        let values: Vec<f64> = of_it.map(|(_, value)| *value).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    // A size of 4 lies between 1 and 5.
    let [low, new, mid] = ["LOW", "NEW", "MID"].map(mean);
    assert!(low < new && new < mid, "{low} {new} {mid}");
}

#[test]
fn scalers_of_symbols_are_served_as_they_were_fitted() {
    let told = Trained::new("window.scaler_per = 'symbol'\n");
    let symbols = told.manifest.symbols.as_ref().unwrap();
    assert_eq!((symbols.count, symbols.embedding, symbols.scalers), (3, 0, 3));
    for (mode, runtime) in [("full", "onnxruntime"), ("sliding", "auto")] {
        let said = told.replay(mode, runtime, all_rows());
        assert_eq!(told.compare(&said, mode), told.values.len());
    }
    // Another table beside the same manifest is no part of this bundle.
    let table = told.path("models/told/1/symbols.json");
    let text = fs::read_to_string(&table).unwrap();
    fs::write(&table, text.replace("LOW", "LOE")).unwrap();
    let refused = Bundle::read(Path::new(&told.path("models/told/1"))).unwrap_err().to_string();
    assert!(refused.contains("manifest.json: symbols.sha256 is"), "{refused}");
    fs::remove_file(&table).unwrap();
    let refused = Bundle::read(Path::new(&told.path("models/told/1"))).unwrap_err().to_string();
    assert!(refused.contains("symbols.json: "), "{refused}");
}

#[test]
fn a_carried_state_is_trained_and_served_with_the_columns_of_the_symbol() {
    let told = Trained::new(
        "network.state = 'carried'\nnetwork.embedding = 2\n\
         window.statics = 'FOLDER/sizes.csv'\nwindow.scaler_per = 'symbol'\n",
    );
    for runtime in ["onnxruntime", "auto"] {
        let said = told.replay("carried", runtime, all_rows());
        assert_eq!(told.compare(&said, runtime), told.values.len());
    }
}

#[test]
fn a_symbol_without_static_numbers_is_named() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut csv = "symbol,day,x,y\n".to_owned();
    for row in rows("LOW", 0.0) {
        writeln!(csv, "LOW,{},{},{}", row.date(), row.x, row.y).unwrap();
    }
    fs::write(path("history.csv"), csv).unwrap();
    let settings = format!(
        "model.name = 'told'\nmodel.root = '{0}/models'\ndata.path = '{0}/history.csv'\n\
         data.columns = 'symbol=symbol,time=day,x=x,y=y'\n\
         window.steps = 4\nwindow.features = ['x']\nwindow.extra_fields = ['x', 'y']\n\
         window.statics = '{0}/sizes.csv'\n\
         target.kind = 'next_value'\ntarget.field = 'y'\n\
         forecast.buy_above = 100\nforecast.sell_below = -100\n",
        folder.path().display()
    );
    fs::write(path("train.toml"), settings).unwrap();
    let train = || {
        let output = run(&["train", "-c", &path("train.toml")]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    fs::write(path("sizes.csv"), "symbol,size\nMID,5\n").unwrap();
    let (code, problems) = train();
    assert_eq!(code, Some(78), "{problems}");
    let expected = "window.statics: has no line for symbol `LOW` of the history";
    assert!(problems.contains(expected), "{problems}");
    fs::write(path("sizes.csv"), "symbol,size\nLOW,big\n").unwrap();
    let (code, problems) = train();
    assert_eq!(code, Some(78), "{problems}");
    assert!(problems.contains("line 2: `big` in column `size` is no finite number"), "{problems}");
}
