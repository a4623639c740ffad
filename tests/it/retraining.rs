//! The circle of docs/retraining.md: a version is trained and served, the next one begins with its
//! parameters, runs as a shadow, and becomes live by its verdict.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::feed::ScriptedFeed;
use crate::support::process::{Daemon, eventually, run};

const SYMBOLS: usize = 4;

/// Minutes of the first history, of the second one, and of the stream.
const FIRST: usize = 600;
const SECOND: usize = 660;
const END: usize = 1200;

struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// What the timer's script does: the history up to now, and the configuration.
    fn write(&self, minutes: usize, fit: &str) -> String {
        let rows = (0..minutes).flat_map(|minute| {
            (0..SYMBOLS).map(move |symbol| {
                format!("S{symbol},{},{}\n", time(minute), price(symbol, minute))
            })
        });
        let csv = "symbol,time,close\n".to_owned() + &rows.collect::<String>();
        fs::write(self.path("history.csv"), csv).unwrap();
        let text = format!(
            "[model]\nname = 'waves'\nroot = 'models'\n[data]\npath = 'history.csv'\n\
             [step]\ninterval_seconds = 60\n[window]\nsteps = 5\nfeatures = ['change']\n\
             [network]\nlstm = [{{ units = 6 }}]\n\
             dense = [{{ units = 1, activation = 'linear' }}]\n\
             [report]\nfolder = ''\n[fit]\nwork = 'work'\n{fit}"
        );
        let path = self.path("train.toml");
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn manifest(&self, version: &str) -> Value {
        let path = self.path("models/waves").join(version).join("manifest.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }
}

fn time(minute: usize) -> String {
    format!("2001-01-{:02}T{:02}:{:02}:00Z", 1 + minute / 1440, minute / 60 % 24, minute % 60)
}

fn price(symbol: usize, minute: usize) -> f64 {
    let at = minute as f64 * 0.7 + symbol as f64;
    100.0 + 3.0 * at.sin() + (at * 0.31).cos()
}

/// Sends minutes and waits until these models have taken them.
fn say(feed: &ScriptedFeed, daemon: &Daemon, minutes: Range<usize>, models: &[&str]) {
    let ticks =
        |model: &str| daemon.metric(&format!("tickcast_model_ticks_total{{model=\"{model}\"}}"));
    let before: Vec<_> = models.iter().map(|model| ticks(model)).collect();
    let count = (minutes.len() * SYMBOLS) as f64;
    for minute in minutes {
        for symbol in 0..SYMBOLS {
            let (time, close) = (time(minute), price(symbol, minute));
            feed.say(format!(r#"{{"symbol":"S{symbol}","time":"{time}","close":{close}}}"#));
        }
    }
    eventually("the ticks at every model", || {
        let mut pairs = models.iter().zip(&before);
        pairs.all(|(model, before)| ticks(model) == before + count).then_some(())
    });
}

#[track_caller]
fn train(arguments: &[&str]) -> String {
    let output = run(&[&["train", "-c"], arguments].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_next_version_begins_with_the_last_one_and_becomes_live_by_its_verdict() {
    let (place, feed) = (Place::new(), ScriptedFeed::start());
    // A version that has hardly learned.
    let config = place.write(FIRST, "epochs_max = 1\nlearning_rate = 1e-6\n");
    train(&[&config]);
    let settings = format!(
        "model.watch = true\nmodel.promote = {{ when = 'better' }}\nmodel.age_days_max = 30\n\
         engine.shadow_age_ms_max = 0\nsource.when_full = 'block'\n\
         snapshot.folder = '{}'\n",
        place.path("state").display()
    );
    let daemon = Daemon::start(&place.path("models"), "waves", feed.url(), &settings);
    // Its data end in 2001.
    daemon.await_metric(r#"tickcast_model_too_old{model="waves"}"#, 1.0);
    let until = r#"tickcast_model_data_until_timestamp_seconds{model="waves"}"#;
    let first = daemon.metric(until);
    assert!((978_307_200.0..978_393_600.0).contains(&first), "{first}");
    assert!(daemon.get("/readyz").1.contains("version 1 of `waves` knows data until 2001-01-01"));
    say(&feed, &daemon, FIRST..SECOND, &["waves"]);

    // The same again over the same history would be judged by what the first one has seen.
    let fit = "epochs_max = 20\nlearning_rate = 0.01\n";
    let config = place.write(SECOND, &format!("{fit}[split]\ntest = 0.4\n"));
    let output = run(&["train", "-c", &config, "--start", "bundle"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("part begins with 2001-01-01T"), "{said}");
    assert!(said.contains("waves 1 was trained"), "{said}");

    let config = place.write(SECOND, fit);
    let said = train(&[&config, "--start", "bundle"]);
    assert!(said.contains("begins with waves 1, trained and validated until 2001-01-01"), "{said}");
    let (one, two) = (place.manifest("1"), place.manifest("2"));
    assert_eq!(two["start"]["version"], "1");
    assert_eq!(two["start"]["onnx_sha256"], one["onnx_sha256"]);
    assert_eq!((&two["scaler"], &two["target"]), (&one["scaler"], &one["target"]), "kept");
    assert_eq!(one["start"], Value::Null);

    // The daemon takes it as a shadow, and its scores make it live.
    let role = |name: &str, role: &str| {
        let models: Value = serde_json::from_str(&daemon.get("/v1/models").1).unwrap();
        let models = models["models"].as_array().unwrap().clone();
        models.iter().any(|model| model["name"] == name && model["role"] == role)
    };
    eventually("the shadow", || role("waves.other", "shadow").then_some(()));
    say(&feed, &daemon, SECOND..END, &["waves", "waves.other"]);
    daemon.await_metric(r#"tickcast_promotions_total{by="rule",model="waves.other"}"#, 1.0);
    eventually("the new live model", || role("waves.other", "live").then_some(()));
    assert!(role("waves", "shadow"));
    // Shadows have no age.
    daemon.await_metric(r#"tickcast_model_too_old{model="waves"}"#, 0.0);
    daemon.await_metric(r#"tickcast_model_too_old{model="waves.other"}"#, 1.0);
    let ended = daemon.stop();
    assert!(ended.status.success(), "{:?}", ended.log);
    let message = "the data behind the model are older than model.age_days_max";
    let warned = ended.log.iter().filter(|line| line["message"] == message);
    let versions: Vec<_> = warned.map(|line| line["version"].clone()).collect();
    assert_eq!(versions, ["1", "2"], "once for each version");
}
