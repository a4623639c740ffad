//! Blends of several models: over restarts, on every page, and over the recorded days.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use tickcast::core::baseline::BaselineKind;
use tickcast::engine::wire::forecast::ForecastRecord;
use tickcast::engine::wire::score::ScoreRecord;

use crate::support::bundle::{draft_of, manifest};
use crate::support::feed::ScriptedFeed;
use crate::support::network::Network;
use crate::support::process::{Daemon, eventually, run, run_to_end};
use crate::support::random::Random;
use crate::support::waves::{SYMBOLS, recording};
use crate::support::{repository, runtime};

/// Two live models, one of which wants two symbols, a shadow, and a blend of the three.
const FOUR: &str = "[[models]]\nname = 'mix'\nrole = 'blend'\nblends = ['vol', 'tend', 'next']\n\
    [[models]]\nname = 'vol'\nversion = '1'\n\
    [[models]]\nname = 'tend'\nsymbols = ['A', 'B*']\n\
    [[models]]\nname = 'vol'\nas = 'next'\nversion = '2'\nrole = 'shadow'\nshadows = 'vol'\n";

/// Models and what a daemon leaves behind.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for (name, version, seed, window_steps) in
            [("vol", "1", 41, 5), ("vol", "2", 43, 5), ("tend", "1", 47, 7)]
        {
            let network = Network::random(seed, 3, &[6]);
            let mut manifest = manifest(window_steps, &network);
            (manifest.name, manifest.version) = (name.to_owned(), version.to_owned());
            draft_of(manifest, &network).seal(&place.path("models"), runtime()).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn serve(&self, feed: &str, settings: &str) -> Daemon {
        let settings = format!("engine.shadow_age_ms_max = 0\n{settings}");
        Daemon::start_several(&self.path("models"), feed, &settings, FOUR, |command| {
            command.env("TICKCAST__PUBLISH__LINES", self.path("lines.jsonl"));
        })
    }

    /// What a replay of a recording says of the live models and of the blend.
    fn replay(&self, records: &[String]) -> BTreeSet<String> {
        fs::write(self.path("replay.jsonl"), records.join("\n")).unwrap();
        let config = format!(
            "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\n{FOUR}",
            self.path("models").display()
        );
        fs::write(self.path("replay.toml"), config).unwrap();
        let [config, input] =
            ["replay.toml", "replay.jsonl"].map(|name| self.path(name).display().to_string());
        let output = run(&["replay", "-c", &config, "--input", &input, "--output", "-"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

/// Asks a page; status and body.
fn ask(daemon: &Daemon, method: &str, path: &str) -> (u16, Value) {
    let host = daemon.address();
    let mut stream = TcpStream::connect(host).unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let body = serde_json::from_str(body).unwrap_or_else(|_| body.into());
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

#[test]
fn a_recording_killed_anywhere_gives_the_blend_of_one_life() {
    let place = Place::new();
    let records = recording(0..900);
    fs::write(place.path("ticks.jsonl"), records.join("\n") + "\n").unwrap();
    let expected = place.replay(&records);
    let of_blend = |line: &&String| line.contains(r#""model":"mix""#);
    assert_eq!(expected.iter().filter(of_blend).count(), 3 * (900 - 5));
    let mut random = Random::announced("a_recording_killed_anywhere_gives_the_blend_of_one_life");
    let settings = format!(
        "source.kind = 'file'\nsource.path = '{}'\nsnapshot.folder = '{}'\n\
         snapshot.interval_ms = 10\nsource.queue_records_max = 16\n",
        place.path("ticks.jsonl").display(),
        place.path("state").display()
    );
    let mut killed = 0;
    let ended = loop {
        // The number of shards is free to change from one life to the next.
        let shards = format!("{settings}engine.shards = {}\n", [1, 2][killed % 2]);
        let mut daemon = place.serve("", &shards);
        if killed == 8 {
            break daemon.await_end();
        }
        let size_now = || fs::metadata(place.path("lines.jsonl")).map_or(0, |file| file.len());
        let size = size_now() + random.below(400_000);
        let over = eventually("more lines", || {
            if daemon.has_ended() {
                return Some(true);
            }
            (size_now() >= size).then_some(false)
        });
        if over {
            break daemon.await_end();
        }
        daemon.kill();
        killed += 1;
    };
    assert!(ended.status.success(), "{:?}", ended.log);
    assert!(killed >= 3, "killed {killed} times only; the recording is too short");
    let text = place.text("lines.jsonl");
    let is_whole = |line: &&str| serde_json::from_str::<ForecastRecord<'_>>(line).is_ok();
    let found: BTreeSet<_> = text.lines().filter(is_whole).map(str::to_owned).collect();
    let invented: Vec<_> = found.difference(&expected).take(2).collect();
    let lost: Vec<_> = expected.difference(&found).take(2).collect();
    assert!(invented.is_empty() && lost.is_empty(), "{invented:#?} {lost:#?}");
    println!("killed {killed} times");
}

#[test]
fn a_blend_is_one_more_model_on_every_page() {
    let (place, feed) = (Place::new(), ScriptedFeed::start());
    let daemon = place.serve(feed.url(), "");
    let records = recording(0..60);
    records.iter().for_each(|record| feed.say(record));
    daemon.await_metric("tickcast_ticks_total", records.len() as f64);
    daemon.await_metric(r#"tickcast_forecasts_total{model="mix"}"#, 3.0 * (60.0 - 5.0));
    let (status, newest) = ask(&daemon, "GET", "/v1/forecasts/A?model=mix");
    assert_eq!((status, &newest["model"]), (200, &json!("mix")), "{newest}");
    let weights = newest["weights"].as_object().unwrap();
    assert!(weights.values().all(|weight| weight.as_f64().unwrap() > 0.0), "{weights:?}");
    let (_, other) = ask(&daemon, "GET", "/v1/forecasts/A");
    assert_eq!((&other["model"], &other["weights"]), (&json!("vol"), &Value::Null));
    let (_, page) = ask(&daemon, "GET", "/v1/models");
    let models: BTreeMap<_, _> = page["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| (model["name"].as_str().unwrap(), model))
        .collect();
    assert_eq!((&models["mix"]["role"], &models["vol"]["role"]), (&json!("blend"), &json!("live")));
    assert_eq!(models["mix"]["blends"], json!(["vol", "tend", "next"]));
    assert_eq!(models["mix"]["model_version"], newest["model_version"]);
    assert_eq!(models["vol"]["blends"], Value::Null);
    // The means over three symbols, each of whose weights are rounded.
    let metrics = daemon.metrics();
    let of_blend = |name: &&String| {
        name.starts_with("tickcast_blend_weight{") && name.contains(r#"model="mix""#)
    };
    let shown: BTreeMap<_, _> =
        metrics.keys().filter(of_blend).map(|name| (name, metrics[name])).collect();
    assert_eq!(shown.len(), 2 * 3 + 5, "{shown:?}");
    assert!((shown.values().sum::<f64>() - 1.0).abs() < 1e-3, "{shown:?}");
    let each = SYMBOLS.map(|symbol| {
        let (_, newest) = ask(&daemon, "GET", &format!("/v1/forecasts/{symbol}?model=mix"));
        newest["weights"]["average"].as_f64().unwrap_or(0.0)
    });
    let mean = metrics[r#"tickcast_blend_weight{expert="average",model="mix"}"#];
    assert!((each.iter().sum::<f64>() / 3.0 - mean).abs() < 1e-9, "{each:?} {mean}");
    assert_eq!(metrics[r#"tickcast_model_live{model="mix"}"#], 1.0);
    assert!(metrics[r#"tickcast_scores_total{evidence="unseen",model="mix"}"#] > 100.0);
    // It has no versions, and its members keep theirs.
    let (status, answer) = ask(&daemon, "POST", "/v1/reload?model=mix");
    assert_eq!((status, &answer["models"][0]["outcome"]), (200, &json!("unchanged")), "{answer}");
    let (status, answer) = ask(&daemon, "POST", "/v1/reload?model=tend");
    assert_eq!((status, &answer["models"][0]["outcome"]), (200, &json!("unchanged")), "{answer}");
    // Before there is a version that the daemon does not have.
    let all = place.replay(&recording(0..80));
    let network = Network::random(53, 3, &[6]);
    let mut manifest = manifest(7, &network);
    (manifest.name, manifest.version) = ("tend".to_owned(), "2".to_owned());
    draft_of(manifest, &network).seal(&place.path("models"), runtime()).unwrap();
    let (status, answer) = ask(&daemon, "POST", "/v1/reload?model=tend");
    assert_eq!((status, &answer["models"][0]["outcome"]), (409, &json!("kept")), "{answer}");
    let (status, answer) = ask(&daemon, "POST", "/v1/models/mix/promote");
    assert_eq!((status, &answer["outcome"]), (409, &json!("kept")), "{answer}");
    // A promotion changes nothing about the blend, which goes on to hear both.
    let (status, answer) = ask(&daemon, "POST", "/v1/models/next/promote");
    assert_eq!((status, &answer["outcome"]), (200, &json!("promoted")), "{answer}");
    let more = recording(60..80);
    more.iter().for_each(|record| feed.say(record));
    daemon.await_metric(r#"tickcast_forecasts_total{model="mix"}"#, 3.0 * (80.0 - 5.0));
    assert!(daemon.stop().status.success());
    let of_blend = |lines: &str| -> BTreeSet<String> {
        let of_blend = |line: &&str| line.contains(r#""model":"mix""#);
        lines.lines().filter(of_blend).map(str::to_owned).collect()
    };
    let replayed = of_blend(&all.into_iter().collect::<Vec<_>>().join("\n"));
    assert_eq!(of_blend(&place.text("lines.jsonl")), replayed);
}

#[test]
fn models_of_two_targets_are_no_blend() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tickcast.toml");
    let check = |blends: &str| {
        let config = format!(
            "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\n[[models]]\nname = 'aapl-daily'\n\
             [[models]]\nname = 'stocks-volatility'\n\
             [[models]]\nname = 'stocks-volatility-carried'\n\
             [[models]]\nname = 'mix'\nrole = 'blend'\nblends = [{blends}]\n",
            repository().join("models").display()
        );
        fs::write(&path, config).unwrap();
        let output = run_to_end(&["check", "-c", &path.display().to_string()]);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let (code, said) = check("'stocks-volatility', 'aapl-daily'");
    let expected = "models[3].blends: `aapl-daily` forecasts another target than \
                    `stocks-volatility`; a blend is made of models of one target";
    assert!(code == Some(78) && said.contains(expected), "{said}");
    let (code, said) = check("'stocks-volatility', 'stocks-volatility-carried'");
    assert_eq!(code, Some(0), "{said}");
    let expected = "experts       stocks-volatility, stocks-volatility-carried, \
                    stocks-volatility:recalibrated, stocks-volatility-carried:recalibrated, \
                    persistence, drift, average, seasonal, linear\n";
    assert!(said.contains(expected), "{said}");
    assert!(said.contains(", blend as mix, of every symbol"), "{said}");
}

/// The losses of a symbol over the scores that count and that all models have.
#[derive(Default)]
struct Losses {
    scores: usize,
    blend: f64,
    experts: BTreeMap<String, f64>,
}

impl Losses {
    fn best(&self) -> (&str, f64) {
        let least = self.experts.iter().min_by(|one, other| one.1.total_cmp(other.1));
        let (name, loss) = least.unwrap();
        (name, *loss)
    }

    /// Beside the best expert in hindsight.
    fn ratio(&self) -> f64 {
        self.blend / self.best().1
    }

    fn skill(&self, baseline: BaselineKind) -> f64 {
        1.0 - self.blend / self.experts[baseline.label()]
    }
}

/// The losses of a blend of models that ship, over the recorded days.
fn losses_of(members: &[&str]) -> BTreeMap<String, Losses> {
    let data = std::env::var("TICKCAST_TEST_DATA");
    let fallback = || repository().join(".cache/data/stocks.csv").display().to_string();
    let data = data.unwrap_or_else(|_| fallback());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let entries: String = members
        .iter()
        .map(|name| format!("[[models]]\nname = '{name}'\nversion = '1'\n"))
        .collect();
    let list: Vec<_> = members.iter().map(|name| format!("'{name}'")).collect();
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\n{entries}\
         [[models]]\nname = 'mix'\nrole = 'blend'\nblends = [{}]\n",
        repository().join("models").display(),
        list.join(", ")
    );
    fs::write(path("tickcast.toml"), config).unwrap();
    let columns = "symbol=Ticker,time=Date,high=High,low=Low,close=Adj Close,volume=Volume";
    let [config, forecasts, scored] = ["tickcast.toml", "forecasts", "scores"].map(path);
    let arguments = ["replay", "-c", &config, "--input", &data, "--columns", columns];
    let more = ["--output", &forecasts, "--scores", &scored];
    let ended = run(&[&arguments[..], &more].concat());
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let text = fs::read_to_string(scored).unwrap();
    let mut rounds = BTreeMap::<_, Vec<ScoreRecord<'_>>>::new();
    for line in text.lines() {
        let score: ScoreRecord<'_> = serde_json::from_str(line).unwrap();
        rounds.entry((score.symbol.to_string(), score.as_of)).or_default().push(score);
    }
    let mut losses = BTreeMap::<String, Losses>::new();
    for ((symbol, _), scores) in rounds {
        let Some(of_blend) = scores.iter().find(|score| score.model == "mix") else { continue };
        if !of_blend.evidence.counts() || scores.len() <= members.len() {
            continue;
        }
        let losses = losses.entry(symbol).or_default();
        losses.scores += 1;
        losses.blend += of_blend.error.powi(2);
        let of_members = scores.iter().filter(|score| score.model != "mix");
        let of_members = of_members.map(|score| (score.model.to_string(), score.error.powi(2)));
        let named = serde_json::to_value(of_blend.baselines).unwrap();
        let of_baselines = named.as_object().unwrap().iter();
        let of_baselines = of_baselines.map(|(name, value)| {
            (name.clone(), (value.as_f64().unwrap() - of_blend.truth).powi(2))
        });
        for (name, loss) in of_members.chain(of_baselines) {
            *losses.experts.entry(name).or_default() += loss;
        }
    }
    losses
}

/// The table of `docs/blend.md`.
#[test]
fn over_the_recorded_days_a_blend_stays_close_to_the_best_expert() {
    println!(
        "| blend of | symbol | scores | best expert | loss beside it | skill against persistence |"
    );
    println!("|---|---|---:|---|---:|---:|");
    let volatility = ["stocks-volatility", "stocks-volatility-carried"];
    for members in [&volatility[..], &["aapl-daily"], &["stocks-direction"]] {
        let losses = losses_of(members);
        assert_eq!(losses.len(), 5, "{members:?}");
        for (symbol, losses) in &losses {
            let (ratio, skill) = (losses.ratio(), losses.skill(BaselineKind::Persistence));
            println!(
                "| {} | {symbol} | {} | {} | {ratio:.4} | {skill:+.4} |",
                members.join(", "),
                losses.scores,
                losses.best().0
            );
            assert!(ratio <= 1.02, "{members:?} {symbol}: {ratio}");
            assert!(skill >= -0.02, "{members:?} {symbol}: {skill}");
        }
        let whole = |of: &dyn Fn(&Losses) -> f64| losses.values().map(of).sum::<f64>();
        let of_blend = whole(&|losses| losses.blend);
        let of_best = whole(&|losses| losses.best().1);
        println!("| {} | all | | | {:.4} | |", members.join(", "), of_blend / of_best);
    }
}
