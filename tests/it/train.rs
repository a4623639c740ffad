//! `tickcast train` as a person stops it and lets it go on, and on a history in Parquet.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use parquet::data_type::{DoubleType, Int32Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use tempfile::TempDir;
use tickcast::core::baseline::BaselineKind;
use tickcast::core::domain::UnixNanos;
use tickcast::core::score::Evidence;
use tickcast::engine::model::manifest::Mode;
use tickcast::engine::wire::forecast::ForecastRecord;
use tickcast::engine::wire::score::ScoreRecord;
use tickcast::train::config;
use tickcast::train::job::Job;

use super::support::process::{run, tickcast};
use super::support::runtime;

/// A configuration over a written history, with more epochs than anybody waits for.
fn configuration(folder: &Path) -> PathBuf {
    let history: String = (0..200)
        .map(|day| {
            let rain = f64::from(day * day % 7);
            format!("2001-{:02}-{:02},{rain}\n", 1 + day / 28, 1 + day % 28)
        })
        .collect();
    fs::write(folder.join("rain.csv"), format!("day,rain\n{history}")).unwrap();
    let path = folder.join("train.toml");
    let text = format!(
        "[model]\nname = 'rain'\nroot = '{0}/models'\n\
         [data]\npath = '{0}/rain.csv'\ncolumns = 'time=day,rain=rain'\nsymbol = 'S'\n\
         [window]\nsteps = 5\nfeatures = ['rain']\nextra_fields = ['rain']\n\
         [target]\nkind = 'next_event'\nfield = 'rain'\nabove = 2.5\n\
         [network]\nlstm = [{{ units = 4 }}]\n\
         dense = [{{ units = 1, activation = 'sigmoid' }}]\n\
         [report]\nfolder = ''\n\
         [fit]\nepochs_max = 1000000\npatience = 1000000\nwork = '{0}/work'\n",
        folder.display()
    );
    fs::write(&path, text).unwrap();
    path
}

/// Starts a fit and waits until `epochs` of it are told.
fn started(configuration: &Path, epochs: usize) -> Child {
    let mut command = tickcast();
    command.args(["train", "-c"]).arg(configuration).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = child.stderr.take().unwrap();
    let mut lines = BufReader::new(stderr).lines();
    let wanted = format!("epoch {epochs} of ");
    lines.find(|line| line.as_ref().unwrap().starts_with(&wanted)).unwrap().unwrap();
    // Read on, so that the fit never waits for us.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(status.unwrap().success());
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_first_interrupt_seals_the_best_epoch_and_resume_goes_on() {
    let folder = TempDir::new().unwrap();
    let configuration = configuration(folder.path());
    let child = started(&configuration, 3);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("stopped on request"), "{}", text(&output));
    assert!(folder.path().join("models/rain/1/manifest.json").exists());

    // One epoch at most, which the checkpoint has behind it: the fit ends at once.
    let shorter = fs::read_to_string(&configuration).unwrap().replace("1000000", "1");
    fs::write(&configuration, shorter).unwrap();
    let arguments = ["train", "--resume", "-c", configuration.to_str().unwrap()];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("0 of them now"), "{}", text(&output));
    assert!(folder.path().join("models/rain/2/manifest.json").exists());

    // That fit ended by itself and took the checkpoint along.
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(78), "{}", text(&output));
    assert!(text(&output).contains("rain.checkpoint`: read: "), "{}", text(&output));
}

/// Three symbols, one of them with gaps between its days, one that comes late.
pub(crate) fn prices() -> String {
    let mut csv = "symbol,time,close,volume\n".to_owned();
    for day in 0..700_u32 {
        let date = format!("{}-{:02}-{:02}", 2001 + day / 336, 1 + day / 28 % 12, 1 + day % 28);
        for (symbol, phase, comes) in [("A", 0.0, 1), ("B", 1.3, 3), ("C", 2.1, 1)] {
            if day % comes == 0 && (symbol != "C" || day >= 150) {
                let at = f64::from(day) * 0.21 + phase;
                let close = 80.0 + 6.0 * at.sin() + 3.0 * (at * 2.7).cos();
                csv += &format!("{symbol},{date},{close},{}\n", 1000 + day * 37 % 400);
            }
        }
    }
    csv
}

/// The daemon's numbers over the whole history are those by which the trainer judged the model.
#[test]
fn replay_of_a_carried_model_says_what_the_trainer_said() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("prices.csv"), prices()).unwrap();
    let settings = format!(
        "[model]\nname = 'carried'\nroot = '{0}/models'\n[data]\npath = '{0}/prices.csv'\n\
         [window]\nsteps = 9\n[network]\nstate = 'carried'\n\
         lstm = [{{ units = 8, recurrent_dropout = 0.1 }}, {{ units = 5, dropout = 0.1 }}]\n\
         dense = [{{ units = 1, activation = 'tanh' }}]\n\
         [fit]\nepochs_max = 8\nbatch = 6\nlearning_rate = 0.01\nwork = '{0}/work'\n",
        folder.path().display()
    );
    fs::write(path("train.toml"), settings).unwrap();
    let job = Job::prepare(config::load(Path::new(&path("train.toml"))).unwrap()).unwrap();
    let trained = job.run(&mut |_| ControlFlow::Continue(())).unwrap();
    let (judged, manifest) = (trained.assessment.clone(), trained.draft.manifest.clone());
    trained.seal(&folder.path().join("models"), runtime()).unwrap();

    let model = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'carried'\n",
        path("models")
    );
    fs::write(path("replay.toml"), model).unwrap();
    let (configuration, input) = (path("replay.toml"), path("prices.csv"));
    let output = run(&["replay", "-c", &configuration, "--input", &input, "--output", "-"]);
    assert!(output.status.success(), "{}", text(&output));
    let scaler = manifest.target.scaler.single().unwrap();
    let mut said = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let forecast: ForecastRecord<'_> = serde_json::from_str(line).unwrap();
        assert_eq!(forecast.mode, Mode::Carried);
        let key = (forecast.symbol.to_string(), forecast.as_of);
        assert_eq!(said.insert(key, scaler.apply(forecast.value)), None);
    }
    // Each symbol loses one row to the first change and eight to the first window.
    assert_eq!(said.len(), (700 - 9) + (234 - 9) + (550 - 9));

    let parts =
        [(&job.dataset().validation, judged.validation), (&job.dataset().test, judged.test)];
    let mut compared = 0;
    for (part, judged) in parts {
        for (example, output) in part.examples.iter().zip(&judged.outputs) {
            let symbol = manifest.training.known().unwrap().symbols[example.series].clone();
            let daemon = said[&(symbol, example.as_of)];
            let difference = (daemon - f64::from(*output)).abs();
            assert!(difference < 1e-6, "{example:?}: daemon {daemon}, trainer {output}");
            compared += 1;
        }
    }
    assert!(compared > 400, "{compared} forecasts compared");
}

/// What the trainer compares a model with is what a replay of the same rows compares it with, bit
/// for bit, in every mode; and both say which part of time is which.
#[test]
fn replay_compares_a_model_with_the_forecasts_of_the_trainer() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("prices.csv"), prices()).unwrap();
    let mut compared = 0;
    for (name, kind, more, modes) in [
        ("size", "next_volatility", "baselines.period_steps = 5\n", &["full", "sliding"][..]),
        ("level", "next_value", "network.state = 'carried'\n", &["carried"][..]),
    ] {
        let is_level = kind == "next_value";
        let settings = format!(
            "model.name = '{name}'\nmodel.root = '{0}/models'\ndata.path = '{0}/prices.csv'\n\
             window.steps = 9\nfit.epochs_max = 2\nfit.work = '{0}/work'\n\
             forecast.buy_above = 100\nforecast.sell_below = 0\n\
             target.kind = '{kind}'\n{1}target.horizon_steps = 3\n\
             network.lstm = [{{ units = 4 }}]\n\
             network.dense = [{{ units = 1, activation = 'tanh' }}]\n{more}",
            folder.path().display(),
            if is_level { "target.field = 'close'\n" } else { "" },
        );
        fs::write(path("train.toml"), settings).unwrap();
        let job = Job::prepare(config::load(Path::new(&path("train.toml"))).unwrap()).unwrap();
        let trained = job.run(&mut |_| ControlFlow::Continue(())).unwrap();
        let (judged, manifest) = (trained.assessment.clone(), trained.draft.manifest.clone());
        trained.seal(&folder.path().join("models"), runtime()).unwrap();
        assert_eq!(manifest.baselines.as_ref(), Some(&judged.baselines));
        let against = judged.baselines.against;
        assert!(manifest.verdict.contains("the best baseline on the validation part"));
        for part in &manifest.evaluation {
            let names: Vec<_> = part.baselines.iter().map(|baseline| &*baseline.name).collect();
            assert_eq!(names, BaselineKind::ALL.map(BaselineKind::label));
        }
        let smallest = &manifest.evaluation[0].baselines;
        let smallest = smallest
            .iter()
            .min_by(|a, b| a.root_mean_squared_error.total_cmp(&b.root_mean_squared_error));
        assert_eq!(smallest.unwrap().name, against.label());

        for mode in modes {
            let model = format!(
                "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = '{name}'\n\
                 model.mode = '{mode}'\n",
                path("models")
            );
            fs::write(path("replay.toml"), model).unwrap();
            let [configuration, input, scores] =
                ["replay.toml", "prices.csv", "scores.jsonl"].map(path);
            let arguments = ["replay", "-c", &configuration, "--input", &input];
            let output = run(&[&arguments[..], &["--output", "-", "--scores", &scores]].concat());
            assert!(output.status.success(), "{}", text(&output));
            let lines = fs::read_to_string(&scores).unwrap();
            let said: BTreeMap<_, ScoreRecord<'_>> = lines
                .lines()
                .map(|line| serde_json::from_str::<ScoreRecord<'_>>(line).unwrap())
                .map(|score| ((score.symbol.to_string(), score.as_of), score))
                .collect();
            let (data, validation, test) = (job.dataset(), &judged.validation, &judged.test);
            let evidence = [Evidence::Validation, Evidence::Unseen];
            let parts = [(&data.validation, validation), (&data.test, test)];
            for ((part, judged), evidence) in parts.into_iter().zip(evidence) {
                for (at, example) in part.examples.iter().enumerate() {
                    let symbol = manifest.training.known().unwrap().symbols[example.series].clone();
                    let score = &said[&(symbol, example.as_of)];
                    let expected = &judged.outcomes.baselines;
                    let found = score.baselines;
                    for (found, expected, kind) in [
                        (found.persistence, &expected.persistence, "persistence"),
                        (found.drift, &expected.drift, "drift"),
                        (found.average, &expected.average, "average"),
                        (found.seasonal, &expected.seasonal, "seasonal"),
                        (found.linear, &expected.linear, "linear"),
                    ] {
                        let (found, expected) = (found.unwrap(), expected[at]);
                        assert_eq!(
                            found.to_bits(),
                            expected.to_bits(),
                            "{mode} {kind} {example:?}"
                        );
                    }
                    assert_eq!(score.truth.to_bits(), example.truth.to_bits());
                    assert_eq!((score.against, score.evidence), (against, evidence));
                    compared += 1;
                }
            }
            let training = data.training.examples.iter().map(|example| {
                let symbol = manifest.training.known().unwrap().symbols[example.series].clone();
                said[&(symbol, example.as_of)].evidence
            });
            assert!(training.into_iter().all(|evidence| evidence == Evidence::Training));
            for line in String::from_utf8(output.stdout).unwrap().lines() {
                let forecast: ForecastRecord<'_> = serde_json::from_str(line).unwrap();
                if let Some(score) = said.get(&(forecast.symbol.to_string(), forecast.as_of)) {
                    assert_eq!(forecast.evidence, score.evidence);
                }
            }
        }
    }
    assert!(compared > 1_000, "{compared} forecasts compared");
}

/// A Parquet file of dates and values, as the CSV file of [`configuration`] has them; a value that
/// is not there is a null.
fn write_parquet(path: &Path, rows: &[(i32, Option<f64>)]) {
    let schema = "message schema { required int32 day (DATE); optional double rain; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let days: Vec<i32> = rows.iter().map(|(day, _)| *day).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int32Type>().write_batch(&days, None, None).unwrap();
    column.close().unwrap();
    let values: Vec<f64> = rows.iter().filter_map(|(_, value)| *value).collect();
    let levels: Vec<i16> = rows.iter().map(|(_, value)| value.is_some().into()).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<DoubleType>().write_batch(&values, Some(&levels), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

/// The rows of [`configuration`]: days since 1970 and rain.
fn rows(configuration: &Path) -> Vec<(i32, Option<f64>)> {
    let history = fs::read_to_string(configuration.with_file_name("rain.csv")).unwrap();
    let row = |line: &str| {
        let (day, rain) = line.split_once(',').unwrap();
        let midnight = UnixNanos::parse(day).unwrap().as_nanos();
        let days = i32::try_from(midnight / (24 * 60 * 60 * 1_000_000_000)).unwrap();
        (days, Some(rain.parse().unwrap()))
    };
    history.lines().skip(1).map(row).collect()
}

#[test]
fn a_parquet_history_trains_the_model_of_the_csv_file() {
    let folder = TempDir::new().unwrap();
    let configuration = configuration(folder.path());
    let rows = rows(&configuration);
    assert_eq!(rows.len(), 200);
    write_parquet(&folder.path().join("rain.parquet"), &rows);
    let text_csv = fs::read_to_string(&configuration).unwrap().replace("1000000", "1");
    let bundles = ["rain.csv", "rain.parquet"].map(|history| {
        fs::write(&configuration, text_csv.replace("rain.csv", history)).unwrap();
        let models = folder.path().join(format!("models of {history}"));
        let [configuration, into] = [&configuration, &models].map(|path| path.to_str().unwrap());
        let output = run(&["train", "-c", configuration, "--models", into]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        models.join("rain/1")
    });
    let both = |name: &str| bundles.each_ref().map(|bundle| fs::read(bundle.join(name)).unwrap());
    for name in ["model.onnx", "golden.json"] {
        let [csv, parquet] = both(name);
        assert!(csv == parquet, "{name}");
    }
    let manifests = both("manifest.json").map(|manifest| String::from_utf8(manifest).unwrap());
    let [csv, parquet] = manifests.each_ref().map(|manifest| manifest.lines());
    assert_eq!(csv.clone().count(), parquet.clone().count());
    let differing = csv.zip(parquet).filter(|(csv, parquet)| csv != parquet);
    let names: Vec<_> = differing.map(|(line, _)| line.split('"').nth(1).unwrap()).collect();
    assert_eq!(names, ["data_sha256"]);
}

#[test]
fn a_bad_row_of_a_parquet_history_is_told_by_its_number() {
    let folder = TempDir::new().unwrap();
    let configuration = configuration(folder.path());
    let mut rows = rows(&configuration);
    rows[2].1 = None;
    rows[4].0 = rows[3].0;
    let path = folder.path().join("rain.parquet");
    write_parquet(&path, &rows);
    let changed = fs::read_to_string(&configuration).unwrap().replace("rain.csv", "rain.parquet");
    fs::write(&configuration, changed).unwrap();
    let output = run(&["train", "-c", configuration.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78), "{}", text(&output));
    let path = path.display();
    let told = format!(
        "2 rows of the history cannot be used:\n  {path}: row 3: rain: nothing there\n  \
         {path}: row 5: day: \"2001-01-04\" is the time of `S` on row 4 too\n"
    );
    assert!(text(&output).contains(&told), "{}", text(&output));
}
