//! Another version of the model while ticks come: taken over when it is good, refused by name when
//! it is not, and through a crash at any point.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tickcast::core::domain::{Field, Fields, Forecast, Quality, Tick, UnixNanos};
use tickcast::core::features::Scaler;
use tickcast::core::forecast::Intervals;
use tickcast::engine::model::manifest::{Manifest, Mode};
use tickcast::engine::model::{Bundle, Draft, Heritage};
use tickcast::engine::onnx::{ModelProto, TensorProto};
use tickcast::engine::symbols::{Engine, EngineLimits, Haste, Inherited, Pushed};
use tickcast::engine::wire::forecast::ForecastRecord;

use crate::support::bundle::{carried_draft, draft, draft_of, manifest, range};
use crate::support::feed::ScriptedFeed;
use crate::support::network::Network;
use crate::support::process::{Daemon, creep_from_the_start, run};
use crate::support::runtime;
use crate::support::waves::{SYMBOLS, recording};

const WINDOW_STEPS: u32 = 5;

/// A version with weights of its own.
fn version(version: &str, seed: u64) -> Draft {
    let network = Network::random(seed, 3, &[6]);
    let mut draft = draft(WINDOW_STEPS, &network);
    draft.manifest.version = version.to_owned();
    draft
}

/// As [`version`], after a change of what its features become.
fn version_of(version: &str, seed: u64, change: impl FnOnce(&mut Manifest)) -> Draft {
    let network = Network::random(seed, 3, &[6]);
    let mut manifest = manifest(WINDOW_STEPS, &network);
    manifest.version = version.to_owned();
    change(&mut manifest);
    draft_of(manifest, &network)
}

/// Another scaler, as training on other data gives.
fn rescale(manifest: &mut Manifest) {
    let columns = vec![
        range("close", 10.0, 180.0),
        range("volume", -50.0, 1100.0),
        range("change", -1.0, 1.0),
    ];
    manifest.scaler = Scaler::Minmax { low: -1.0, high: 1.0, columns };
}

/// Models and what a daemon leaves behind.
struct Place {
    root: TempDir,
}

impl Place {
    /// With version 1 of the model.
    fn new() -> Self {
        let place = Self { root: tempfile::tempdir().unwrap() };
        place.seal(version("1", 41));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn models(&self) -> PathBuf {
        self.path("models")
    }

    fn seal(&self, draft: Draft) {
        draft.seal(&self.models(), runtime()).unwrap();
    }

    fn folder(&self, version: &str) -> PathBuf {
        self.models().join("random").join(version)
    }

    fn serve(&self, feed: &str, settings: &str) -> Daemon {
        self.serve_as(feed, settings, |_| {})
    }

    fn serve_as(&self, feed: &str, settings: &str, change: fn(&mut Command)) -> Daemon {
        // Intervals that remember scores of before would tell two lives apart.
        let settings = format!("forecast.intervals = 'bundle'\n{settings}");
        Daemon::start_with(&self.models(), "random", feed, &settings, |command| {
            command.env("TICKCAST__PUBLISH__LINES", self.path("lines.jsonl"));
            change(command);
        })
    }

    fn lines(&self) -> String {
        fs::read_to_string(self.path("lines.jsonl")).unwrap_or_default()
    }

    /// What one version says about all records, by id.
    fn replay(&self, version: &str, records: &[String]) -> BTreeMap<String, String> {
        let path = |name: &str| self.path(name).display().to_string();
        fs::write(path("replay.jsonl"), records.join("\n")).unwrap();
        let config = format!(
            "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'random'\n\
             model.version = '{version}'\nforecast.intervals = 'bundle'\n",
            self.models().display()
        );
        fs::write(path("replay.toml"), config).unwrap();
        let (config, input) = (path("replay.toml"), path("replay.jsonl"));
        let output = run(&["replay", "-c", &config, "--input", &input, "--output", "-"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| (parse(line).id.to_string(), line.to_owned())).collect()
    }
}

fn parse(line: &str) -> ForecastRecord<'_> {
    serde_json::from_str(line).unwrap()
}

/// Asks a page with a method and headers of one's own; status and body.
fn ask(daemon: &Daemon, method: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(daemon.address()).unwrap();
    let host = daemon.address();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Asks for a reload; status and what became of it.
fn reload(daemon: &Daemon) -> (u16, serde_json::Value) {
    let (status, body) = ask(daemon, "POST", "/v1/reload", "");
    (status, serde_json::from_str(&body).unwrap_or(serde_json::Value::String(body)))
}

fn say(feed: &ScriptedFeed, daemon: &Daemon, records: &[String]) {
    let before = daemon.metric("tickcast_ticks_total");
    records.iter().for_each(|record| feed.say(record));
    daemon.await_metric("tickcast_ticks_total", before + records.len() as f64);
}

#[test]
fn a_good_version_speaks_from_the_next_step_on_and_exactly() {
    let place = Place::new();
    let feed = ScriptedFeed::start();
    let daemon = place.serve(feed.url(), "engine.shards = 2");
    let records = recording(0..20);
    let (first, second) = records.split_at(12 * SYMBOLS.len());
    say(&feed, &daemon, first);
    let (status, outcome) = reload(&daemon);
    assert_eq!((status, &outcome["outcome"]), (200, &"unchanged".into()), "{outcome}");
    assert_eq!(outcome["reason"], "version 1 runs already");
    assert_eq!(outcome["model_version"], "1");
    place.seal(version("2", 43));
    let (status, outcome) = reload(&daemon);
    assert_eq!((status, &outcome["outcome"]), (200, &"swapped".into()), "{outcome}");
    assert_eq!((&outcome["model_version"], &outcome["symbols_kept"]), (&"2".into(), &3.into()));
    for page in ["/version", "/v1/models"] {
        let told: serde_json::Value = serde_json::from_str(&daemon.get(page).1).unwrap();
        assert_eq!(told["model_version"], "2", "{page}");
    }
    let info: Vec<_> = daemon
        .metrics()
        .into_keys()
        .filter(|name| name.starts_with("tickcast_model_info"))
        .collect();
    let expected = r#"tickcast_model_info{mode="sliding",model="random",version="2"}"#;
    assert_eq!(info, [expected], "the one that runs and no other");
    say(&feed, &daemon, second);
    let ended = daemon.stop();
    assert_eq!(ended.drained("ticks"), records.len() as u64);
    assert_eq!(ended.drained("warming"), SYMBOLS.len() as u64 * u64::from(WINDOW_STEPS));
    // Each line is that of its version over all records: the states of the new one are those that
    // it would have, had it been there from the beginning.
    let mut told = BTreeMap::<String, usize>::new();
    let replays = ["1", "2"].map(|version| place.replay(version, &records));
    for line in place.lines().lines() {
        let forecast = parse(line);
        *told.entry(forecast.model_version.to_string()).or_default() += 1;
        let replay = &replays[usize::from(forecast.model_version == "2")];
        assert_eq!(Some(line), replay.get(&*forecast.id).map(String::as_str));
    }
    let of_first = (12 - WINDOW_STEPS as usize) * SYMBOLS.len();
    assert_eq!(told, [("1".into(), of_first), ("2".into(), 8 * SYMBOLS.len())].into());
}

/// Appends to a file, so that its hash does not fit any more.
fn spoil(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    bytes.push(b' ');
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_start_serves_the_newest_version_that_proves_itself_and_says_so() {
    let place = Place::new();
    fs::remove_dir_all(place.folder("1")).unwrap();
    for (name, seed) in [("v8", 41), ("v9", 43), ("v10", 47), ("v11", 53)] {
        place.seal(version(name, seed));
    }
    let feed = ScriptedFeed::start();
    let daemon = place.serve(feed.url(), "");
    let page = |daemon: &Daemon| -> serde_json::Value {
        serde_json::from_str(&daemon.get("/v1/models").1).unwrap()
    };
    assert_eq!(page(&daemon)["model_version"], "v11", "behind v8, v9 and v10");
    assert_eq!(page(&daemon)["refused"], serde_json::json!([]));
    assert_eq!(daemon.metric("tickcast_model_versions_refused"), 0.0);
    daemon.stop();
    spoil(&place.folder("v11").join("model.onnx"));
    fs::write(place.folder("v10").join("manifest.json"), "{").unwrap();
    let daemon = place.serve(feed.url(), "");
    let told = page(&daemon);
    assert_eq!(told["model_version"], "v9");
    let refused: Vec<_> = told["refused"].as_array().unwrap().iter().collect();
    assert_eq!((&refused[0]["version"], &refused[1]["version"]), (&"v11".into(), &"v10".into()));
    let reason = |refused: &serde_json::Value| refused["reason"].as_str().unwrap().to_owned();
    assert!(reason(refused[0]).contains("onnx_sha256"), "{told}");
    assert!(reason(refused[1]).contains("manifest.json"), "{told}");
    assert_eq!(daemon.metric("tickcast_model_versions_refused"), 2.0);
    // A reload tries them again, and then what is newer than the one that runs.
    place.seal(version("v12", 59));
    spoil(&place.folder("v12").join("golden.json"));
    let (status, outcome) = reload(&daemon);
    assert_eq!((status, &outcome["outcome"]), (409, &"kept".into()), "{outcome}");
    let kept = outcome["reason"].as_str().unwrap();
    assert!(kept.contains("version v12: ") && kept.contains("version v10: "), "{kept}");
    assert_eq!(daemon.metric("tickcast_model_versions_refused"), 3.0);
    place.seal(version("v9.1", 61));
    let (status, outcome) = reload(&daemon);
    assert_eq!((status, &outcome["model_version"]), (200, &"v9.1".into()), "{outcome}");
    assert_eq!(page(&daemon)["refused"].as_array().unwrap().len(), 3);
    // What runs is never left for a lower one, whatever has become of its files.
    spoil(&place.folder("v9.1").join("model.onnx"));
    assert_eq!(reload(&daemon).0, 409);
    assert_eq!(page(&daemon)["model_version"], "v9.1");
    let ended = daemon.stop();
    let warned: Vec<_> = ended
        .log
        .iter()
        .filter(|line| line["message"].as_str().unwrap_or("").starts_with("a newer version of"))
        .collect();
    assert_eq!(warned.len(), 2, "{:?}", ended.log);
    assert_eq!((&warned[0]["level"], &warned[0]["version"]), (&"WARN".into(), &"v11".into()));
    assert_eq!(warned[0]["serving"], "v9");
}

#[test]
fn a_version_that_is_named_and_refused_ends_the_start_and_so_do_all_of_them() {
    let place = Place::new();
    place.seal(version("2", 43));
    spoil(&place.folder("2").join("model.onnx"));
    let check = |version: &str| {
        let config = format!(
            "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'random'\n\
             model.version = '{version}'\n",
            place.models().display()
        );
        fs::write(place.path("check.toml"), config).unwrap();
        let path = place.path("check.toml").display().to_string();
        ["check", "serve"].map(|command| {
            // Neither gets as far as its work where the model is refused.
            let output = crate::support::process::run_to_end(&[command, "-c", &path]);
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        })
    };
    for (code, told) in check("2") {
        assert_eq!(code, Some(78), "{told}");
        assert!(told.contains("onnx_sha256"), "{told}");
    }
    fs::write(place.folder("1").join("golden.json"), "").unwrap();
    for (code, told) in check("latest") {
        assert_eq!(code, Some(78), "{told}");
        assert!(told.contains("no version of model `random` proves itself"), "{told}");
        assert!(told.contains("  2: ") && told.contains("  1: "), "{told}");
    }
    // The older one is good again.
    fs::remove_dir_all(place.folder("1")).unwrap();
    place.seal(version("1", 41));
    let path = place.path("check.toml").display().to_string();
    let output = run(&["check", "-c", &path]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && told.contains("\nrefused       2: "), "{told}");
}

#[test]
fn rows_of_another_scaler_are_marked_until_they_have_left() {
    let place = Place::new();
    let feed = ScriptedFeed::start();
    let daemon = place.serve(feed.url(), "");
    let records = recording(0..24);
    let (first, second) = records.split_at(12 * SYMBOLS.len());
    say(&feed, &daemon, first);
    place.seal(version_of("2", 43, rescale));
    let (_, outcome) = reload(&daemon);
    assert_eq!(outcome["symbols_rescaled"], 3, "{outcome}");
    say(&feed, &daemon, second);
    daemon.stop();
    let replay = place.replay("2", &records);
    let mut qualities = BTreeMap::<String, Vec<Quality>>::new();
    let lines = place.lines();
    for forecast in lines.lines().map(parse).filter(|forecast| forecast.model_version == "2") {
        let exact = parse(&replay[&*forecast.id]);
        let near = (forecast.value - exact.value).abs() < 1e-6;
        assert!(near, "{} {}", forecast.value, exact.value);
        if forecast.quality == Quality::Full {
            assert_eq!(forecast, exact);
        }
        qualities.entry(forecast.symbol.into_owned()).or_default().push(forecast.quality);
    }
    let marked = WINDOW_STEPS as usize - 1;
    for (symbol, qualities) in qualities {
        let patched: Vec<_> = qualities.iter().map(|q| *q == Quality::Patched).collect();
        let expected: Vec<_> = (0..12).map(|index| index < marked).collect();
        assert_eq!(patched, expected, "{symbol}");
    }
}

/// Copies a bundle as another version of itself.
fn copy(from: &Path, to: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    fs::create_dir_all(to).unwrap();
    for name in ["model.onnx", "golden.json"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let text = fs::read(from.join("manifest.json")).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
    manifest["version"] = to.file_name().unwrap().to_str().unwrap().into();
    change(&mut manifest);
    fs::write(to.join("manifest.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
}

fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

/// Makes a bundle in a folder.
type Making = Box<dyn Fn(&Path)>;

/// Bundles that must be refused, each with words of the reason.
fn bad_bundles(good: &Path) -> Vec<(&'static str, Making)> {
    // Of the manifest: as it is, but for a change.
    let stating = |change: fn(&mut serde_json::Value)| {
        let good = good.to_owned();
        Box::new(move |to: &Path| copy(&good, to, change)) as Making
    };
    // Of the model: other bytes, with the hash of the good ones or with their own.
    let with_onnx = |change: fn(&[u8]) -> Vec<u8>, honest: bool| {
        let good = good.to_owned();
        Box::new(move |to: &Path| {
            copy(&good, to, |_| {});
            let onnx = change(&fs::read(good.join("model.onnx")).unwrap());
            fs::write(to.join("model.onnx"), onnx).unwrap();
            if honest {
                let hash = sha256(&to.join("model.onnx"));
                copy_manifest_hash(to, &hash);
            }
        }) as Making
    };
    let without = |name: &'static str| {
        let good = good.to_owned();
        Box::new(move |to: &Path| {
            copy(&good, to, |_| {});
            fs::write(to.join(name), "{").unwrap();
        }) as Making
    };
    let half: fn(&[u8]) -> Vec<u8> = |onnx| onnx[..onnx.len() / 2].to_vec();
    let flipped: fn(&[u8]) -> Vec<u8> = |onnx| {
        let mut onnx = onnx.to_vec();
        let middle = onnx.len() / 2;
        onnx[middle] ^= 1;
        onnx
    };
    let reordered: fn(&mut serde_json::Value) = |manifest| {
        manifest["features"] = serde_json::json!(["volume", "close", "change"]);
        // The scaler follows the order of the features.
        manifest["scaler"]["columns"].as_array_mut().unwrap().swap(0, 1);
    };
    let unknown: fn(&mut serde_json::Value) = |manifest| {
        manifest["features"] = serde_json::json!(["close", "volume", "magic"]);
    };
    vec![
        ("onnx_sha256 is", stating(|manifest| manifest["onnx_sha256"] = "0".repeat(64).into())),
        ("onnx_sha256 is", with_onnx(flipped, false)),
        ("onnx_sha256 is", with_onnx(half, false)),
        ("model.onnx:", with_onnx(half, true)),
        ("not finite", with_onnx(with_nan, true)),
        ("model.onnx:", stating(|manifest| manifest["graph"]["states"][0]["width"] = 7.into())),
        ("cases[0]", stating(|manifest| manifest["window_steps"] = 6.into())),
        ("cases[0]", stating(reordered)),
        ("features:", stating(unknown)),
        ("name is `other`", stating(|manifest| manifest["name"] = "other".into())),
        ("manifest.json:", without("manifest.json")),
        ("golden_sha256 is", without("golden.json")),
    ]
}

fn copy_manifest_hash(folder: &Path, hash: &str) {
    let path = folder.join("manifest.json");
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["onnx_sha256"] = hash.into();
    fs::write(path, serde_json::to_vec(&manifest).unwrap()).unwrap();
}

/// One weight is not a number.
fn with_nan(onnx: &[u8]) -> Vec<u8> {
    let mut model = ModelProto::from_bytes(onnx).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let tensor = graph.initializer.iter_mut().find(|tensor| tensor.name == "w0").unwrap();
    let mut weights = tensor.read_floats().unwrap();
    weights[0] = f32::NAN;
    let dimensions: Vec<_> = tensor.dims.iter().map(|size| *size as usize).collect();
    *tensor = TensorProto::floats("w0", &dimensions, &weights);
    model.to_bytes()
}

#[test]
fn bad_versions_are_refused_by_name_while_the_old_one_loses_nothing() {
    let place = Place::new();
    let feed = ScriptedFeed::start();
    let daemon = place.serve(feed.url(), "source.when_full = 'block'");
    let bad = bad_bundles(&place.folder("1"));
    assert_eq!(bad.len(), 12);
    let records = recording(0..600);
    let mut said = records.chunks(records.len() / (2 * bad.len()) + 1);
    for (words, make) in &bad {
        let folder = place.folder("2");
        make(&folder);
        // Ticks come while the bundle is read and refused.
        said.next().into_iter().flatten().for_each(|record| feed.say(record));
        let (status, outcome) = reload(&daemon);
        said.next().into_iter().flatten().for_each(|record| feed.say(record));
        let reason = outcome["reason"].as_str().unwrap_or_default();
        assert_eq!((status, &outcome["outcome"]), (409, &"kept".into()), "{words}: {outcome}");
        assert!(reason.contains(words), "{words}: {reason}");
        fs::remove_dir_all(folder).unwrap();
    }
    said.flatten().for_each(|record| feed.say(record));
    daemon.await_metric("tickcast_ticks_total", records.len() as f64);
    let refused = daemon.metric(r#"tickcast_reloads_total{outcome="kept"}"#);
    assert_eq!(refused, bad.len() as f64);
    let ended = daemon.stop();
    assert!(ended.status.success(), "{:?}", ended.log);
    assert_eq!(ended.drained("dropped"), 0);
    let lines: Vec<_> = place.lines().lines().map(str::to_owned).collect();
    let by_id: BTreeMap<_, _> =
        lines.iter().map(|line| (parse(line).id.to_string(), line.clone())).collect();
    assert_eq!((by_id, lines.len()), (place.replay("1", &records), (600 - 5) * 3));
}

#[test]
fn a_version_that_says_nothing_about_live_windows_is_refused() {
    let place = Place::new();
    let feed = ScriptedFeed::start();
    let daemon = place.serve(feed.url(), "");
    say(&feed, &daemon, &recording(0..12));
    // Its golden vectors prove it, but on these inputs it leaves the finite numbers.
    place.seal(version_of("2", 43, |manifest| {
        let unit = vec![range("next_return", -1e305, 1e305)];
        manifest.target.scaler = Scaler::Minmax { low: -1e-9, high: 1e-9, columns: unit };
    }));
    let (status, outcome) = reload(&daemon);
    assert_eq!(status, 409, "{outcome}");
    let reason = "it says nothing usable about 3 of 3 live windows";
    assert_eq!(outcome["reason"], reason);
    daemon.stop();
}

#[test]
fn a_reload_is_asked_for_by_programs_and_own_pages_only() {
    let place = Place::new();
    let daemon = place.serve("ws://127.0.0.1:1", "");
    let foreign = "Origin: http://evil.example\r\n";
    assert_eq!(ask(&daemon, "POST", "/v1/reload", foreign).0, 403);
    let own = format!("Origin: http://{}\r\n", daemon.address());
    assert_eq!(ask(&daemon, "POST", "/v1/reload", &own).0, 200);
    assert_eq!(ask(&daemon, "GET", "/v1/reload", "").0, 405);
    let hangup = Command::new("kill").args(["-HUP", &daemon.id().to_string()]).status();
    assert!(hangup.unwrap().success());
    daemon.await_metric(r#"tickcast_reloads_total{outcome="unchanged"}"#, 2.0);
    assert_eq!(daemon.metric(r#"tickcast_reloads_total{outcome="kept"}"#), 0.0);
    assert!(daemon.stop().status.success());
}

#[test]
fn a_watched_folder_is_taken_over_when_its_newest_version_is_whole() {
    let place = Place::new();
    let daemon = place.serve("ws://127.0.0.1:1", "model.watch = true");
    // A copy that is not finished is refused once, and taken when it is.
    let other = Place::new();
    other.seal(version("2", 43));
    let (from, to) = (other.folder("2"), place.folder("2"));
    fs::create_dir_all(&to).unwrap();
    fs::copy(from.join("manifest.json"), to.join("manifest.json")).unwrap();
    daemon.await_metric(r#"tickcast_reloads_total{outcome="kept"}"#, 1.0);
    for name in ["model.onnx", "golden.json"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
    daemon.await_metric(r#"tickcast_reloads_total{outcome="swapped"}"#, 1.0);
    let info = r#"tickcast_model_info{mode="sliding",model="random",version="2"}"#;
    assert_eq!(daemon.metric(info), 1.0);
    assert!(daemon.stop().status.success());
}

#[test]
fn windows_outlive_a_crash_and_a_new_version_together() {
    let place = Place::new();
    let days = 8000;
    let records = recording(0..days);
    fs::write(place.path("ticks.jsonl"), records.join("\n")).unwrap();
    let settings = format!(
        "source.kind = 'file'\nsource.path = '{}'\nsource.queue_records_max = 64\n\
         snapshot.folder = '{}'\nsnapshot.interval_ms = 10\nengine.shards = 2",
        place.path("ticks.jsonl").display(),
        place.path("state").display()
    );
    // Versions that are there when they are wanted: a recording does not wait.
    let later = Place::new();
    later.seal(version("2", 43));
    later.seal(version("3", 47));
    let install = |name: &str| fs::rename(later.folder(name), place.folder(name)).unwrap();
    // Killed under version 1, killed again right after the change to version 3, and then whole.
    let mut daemon = place.serve_as("", &settings, creep_from_the_start);
    daemon.creep_to_snapshots(&place.path("state"), || !place.lines().is_empty());
    daemon.kill();
    install("2");
    let daemon = place.serve("", &settings);
    assert!(daemon.metric("tickcast_snapshot_symbols_restored_total") > 0.0);
    install("3");
    let (status, outcome) = reload(&daemon);
    daemon.kill();
    assert_eq!(status, 200, "{outcome}");
    let ended = place.serve("", &settings).await_end();
    assert!(ended.status.success(), "{:?}", ended.log);
    let replays: BTreeMap<_, _> =
        ["1", "2", "3"].map(|version| (version.to_owned(), place.replay(version, &records))).into();
    let mut told = BTreeMap::<(String, UnixNanos), Vec<String>>::new();
    for line in place.lines().lines() {
        let Ok(forecast) = serde_json::from_str::<ForecastRecord<'_>>(line) else { continue };
        let replay = &replays[&*forecast.model_version];
        assert_eq!(Some(line), replay.get(&*forecast.id).map(String::as_str));
        let step = (forecast.symbol.to_string(), forecast.as_of);
        told.entry(step).or_default().push(forecast.model_version.into_owned());
    }
    let steps = (days - WINDOW_STEPS) as usize * SYMBOLS.len();
    assert_eq!(told.len(), steps, "I1: no step is without its forecast");
    assert!(told.values().any(|versions| versions.contains(&"3".to_owned())));
    assert!(told.values().any(|versions| versions.contains(&"1".to_owned())));
}

#[cfg(feature = "kafka")]
#[test]
fn kafka_keeps_every_step_through_a_new_version_and_a_crash() {
    use crate::support::broker::{Broker, unique};
    use crate::support::process::eventually;

    let (broker, place) = (Broker::shared(), Place::new());
    let name = unique("reload");
    let (input, forecasts) = (format!("{name}-ticks"), format!("{name}-forecasts"));
    broker.create_topic(&input, 2);
    let settings = format!(
        "source.kind = 'kafka'\nkafka.brokers = '{}'\nkafka.topics = ['{input}']\n\
         kafka.group = '{name}'\nkafka.forecasts = '{forecasts}'\n\
         kafka.commit_interval_ms = 200\nkafka.backoff_ms_max = 500\n\
         kafka.options.'session.timeout.ms' = 1500\n\
         kafka.options.'heartbeat.interval.ms' = 300\n",
        broker.address()
    );
    let records = recording(0..60);
    let keyed = |records: &[String]| {
        let key =
            |text: &String| SYMBOLS.iter().find(|s| text.contains(&format!("\"{s}\""))).copied();
        let keyed: Vec<_> = records.iter().map(|text| (key(text).unwrap(), text.clone())).collect();
        broker.produce(&input, keyed.iter().map(|(key, text)| (*key, text.as_bytes())));
    };
    let third = records.len() / 3;
    keyed(&records[..third]);
    let daemon = place.serve("", &settings);
    daemon.await_metric("tickcast_ticks_total", third as f64);
    daemon.await_metric("tickcast_kafka_commits_total", 1.0);
    place.seal(version("2", 43));
    let (status, outcome) = reload(&daemon);
    assert_eq!(status, 200, "{outcome}");
    keyed(&records[third..2 * third]);
    daemon.await_metric("tickcast_ticks_total", 2.0 * third as f64);
    // Wherever the next commit is: before it, in it, or behind it.
    daemon.kill();
    keyed(&records[2 * third..]);
    let daemon = place.serve("", &settings);
    let replays = ["1", "2"].map(|version| place.replay(version, &records));
    let steps = (60 - WINDOW_STEPS as usize) * SYMBOLS.len();
    let told = eventually("every step's forecast", || {
        let mut told = BTreeMap::<(String, UnixNanos), Vec<String>>::new();
        for record in broker.read(&forecasts, "read_committed") {
            let sha256 = record.headers["tickcast-model-sha256"].clone();
            let line = String::from_utf8(record.payload.unwrap()).unwrap();
            let forecast = parse(&line);
            let index = usize::from(forecast.model_version == "2");
            assert_eq!(replays[index].get(&*forecast.id), Some(&line));
            let folder = place.folder(["1", "2"][index]);
            assert_eq!(sha256, self::sha256(&folder.join("model.onnx")));
            let step = (forecast.symbol.to_string(), forecast.as_of);
            told.entry(step).or_default().push(forecast.model_version.into_owned());
        }
        (told.len() == steps).then_some(told)
    });
    assert!(told.values().flatten().any(|version| version == "1"));
    assert_eq!(daemon.metric("tickcast_kafka_symbols_cold_total"), 0.0);
    assert!(daemon.stop().status.success());
}

/// An engine on a draft.
fn engine(bundle: &Bundle, mode: Mode) -> Engine {
    let backend = bundle.open(runtime()).unwrap();
    let limits = EngineLimits { symbols_max: 10, batch_rows_max: 64 };
    let mut plans = bundle.plans().clone();
    plans.score.intervals = Intervals::Bundle;
    Engine::new(plans, mode, bundle.signature(), backend, limits).unwrap()
}

/// The forecasts of ticks of every symbol at these steps, by symbol and time.
fn feed(engine: &mut Engine, steps: std::ops::Range<i64>) -> Vec<(String, Forecast)> {
    let mut forecasts = Vec::new();
    for step in steps {
        for symbol in SYMBOLS {
            let mut fields = Fields::EMPTY;
            let phase = step as f64 + f64::from(symbol.as_bytes()[0]);
            fields.set_checked(Field::CLOSE, 100.0 + phase.sin()).unwrap();
            fields.set_checked(Field::VOLUME, 10.0).unwrap();
            let time = UnixNanos::from_nanos(step * 1_000_000_000);
            let tick = Tick { symbol: symbol.into(), time, fields };
            while engine.push(&tick, None) == Pushed::Waiting {
                engine.infer(Haste::Latency, &mut forecasts).unwrap();
                engine.advance().unwrap();
            }
        }
        engine.infer(Haste::Latency, &mut forecasts).unwrap();
        engine.advance().unwrap();
    }
    forecasts.into_iter().map(|f| (engine.symbol(f.symbol).to_string(), f)).collect()
}

#[test]
fn an_engine_that_takes_over_says_what_it_would_have_said_all_along() {
    let bundle = |version: &str, seed: u64, mode: Mode| {
        let network = Network::random(seed, 3, &[6]);
        let mut draft = match mode {
            Mode::Carried => carried_draft(WINDOW_STEPS, 9, &network),
            Mode::Full | Mode::Sliding => draft(WINDOW_STEPS, &network),
        };
        draft.manifest.version = version.to_owned();
        draft.into_bundle().unwrap()
    };
    let modes = [Mode::Full, Mode::Sliding, Mode::Carried];
    for (from, to) in modes.into_iter().flat_map(|from| modes.map(|to| (from, to))) {
        for woken in 0..=3 {
            let (old, new) = (bundle("1", 3, from), bundle("2", 5, to));
            let heritage = Heritage::between(old.manifest(), new.manifest(), &old.plans().features);
            let (mut before, mut after) = (engine(&old, from), engine(&new, to));
            feed(&mut before, 0..20);
            let inherited = after.inherit(&before, &heritage).unwrap();
            assert_eq!(inherited, Inherited { kept: 3, rescaled: 0, cold: 0 });
            assert_eq!(after.asleep_count(), if to == Mode::Sliding { 3 } else { 0 });
            after.wake(woken).unwrap();
            assert_eq!(after.changed_count(), 3, "all are to be stored anew");
            let mut all_along = engine(&new, to);
            // A carried state begins with the first row of the window that was taken over.
            let first = if to == Mode::Carried { 20 - i64::from(WINDOW_STEPS) - 1 } else { 0 };
            feed(&mut all_along, first..20);
            let place = format!("{from} {to} {woken}");
            assert_eq!(feed(&mut after, 20..30), feed(&mut all_along, 20..30), "{place}");
            let left = if to == Mode::Sliding { 3 - woken } else { 0 };
            assert_eq!(after.asleep_count(), left, "no forecast needs states");
            after.wake(3).unwrap();
            assert_eq!(feed(&mut after, 30..40), feed(&mut all_along, 30..40), "{place}");
        }
    }
}
