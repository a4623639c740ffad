//! Several models of one stream: each gives what it gives alone, shadows stay apart, states of all
//! survive, and a promotion survives a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tickcast::engine::model::Draft;
use tickcast::engine::wire::forecast::ForecastRecord;

use crate::support::bundle::{draft_of, manifest};
use crate::support::feed::{Act, ScriptedFeed};
use crate::support::network::Network;
use crate::support::process::{Daemon, creep_from_the_start, eventually, run};
use crate::support::waves::{SYMBOLS, recording};
use crate::support::{repository, runtime};

/// A model with weights and a window of its own.
fn model(name: &str, version: &str, seed: u64, window_steps: u32) -> Draft {
    let network = Network::random(seed, 3, &[6]);
    let mut manifest = manifest(window_steps, &network);
    (manifest.name, manifest.version) = (name.to_owned(), version.to_owned());
    draft_of(manifest, &network)
}

/// Models and what a daemon leaves behind.
struct Place {
    root: TempDir,
}

/// A live model, its next version as a shadow, and another live one for two symbols.
const THREE: &str = "[[models]]\nname = 'vol'\nversion = '1'\n\
    [[models]]\nname = 'vol'\nas = 'vol-next'\nversion = '2'\nrole = 'shadow'\nmode = 'full'\n\
    [[models]]\nname = 'tend'\nsymbols = ['A', 'B*']\n";

impl Place {
    fn new() -> Self {
        let place = Self { root: tempfile::tempdir().unwrap() };
        for (name, version, seed, window_steps) in
            [("vol", "1", 41, 5), ("vol", "2", 43, 5), ("tend", "1", 47, 3)]
        {
            model(name, version, seed, window_steps).seal(&place.models(), runtime()).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn models(&self) -> PathBuf {
        self.path("models")
    }

    /// A daemon of the three models, whose forecasts go to the lines of this place.
    fn serve(&self, feed: &str, settings: &str, models: &str) -> Daemon {
        self.serve_as(feed, settings, models, |_| {})
    }

    fn serve_as(
        &self,
        feed: &str,
        settings: &str,
        models: &str,
        change: fn(&mut Command),
    ) -> Daemon {
        // Intervals that remember scores of before would tell two lives apart. A busy machine sheds
        // nothing.
        let settings = format!(
            "forecast.intervals = 'bundle'\nengine.shadow_age_ms_max = 0\n\
             publish.shadow_lines = '{}'\npublish.scores = '{}'\n{settings}",
            self.path("shadows.jsonl").display(),
            self.path("scores.jsonl").display(),
        );
        Daemon::start_several(&self.models(), feed, &settings, models, |command| {
            command.env("TICKCAST__PUBLISH__LINES", self.path("lines.jsonl"));
            change(command);
        })
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What one version of a model says alone about records, in their order.
    fn replay(&self, name: &str, version: &str, records: &[String]) -> Vec<String> {
        let config = format!("model.name = '{name}'\nmodel.version = '{version}'\n");
        self.replay_with(&config, "", records, &[])
    }

    fn replay_with(
        &self,
        config: &str,
        models: &str,
        records: &[String],
        more: &[&str],
    ) -> Vec<String> {
        let path = |name: &str| self.path(name).display().to_string();
        fs::write(path("replay.jsonl"), records.join("\n")).unwrap();
        let config = format!(
            "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nforecast.intervals = 'bundle'\n\
             {config}{models}",
            self.models().display()
        );
        fs::write(path("replay.toml"), config).unwrap();
        let (config, input) = (path("replay.toml"), path("replay.jsonl"));
        let arguments = ["replay", "-c", &config, "--input", &input, "--output", "-"];
        let output = run(&[&arguments[..], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

fn parse(line: &str) -> ForecastRecord<'_> {
    serde_json::from_str(line).unwrap()
}

/// Lines by symbol, in their order, of one version of a model.
fn of<'l>(
    lines: impl IntoIterator<Item = &'l String>,
    name: &str,
    version: &str,
) -> BTreeMap<String, Vec<String>> {
    let mut by_symbol = BTreeMap::<_, Vec<_>>::new();
    for line in lines {
        let forecast = parse(line);
        if forecast.model == name && forecast.model_version == version {
            by_symbol.entry(forecast.symbol.to_string()).or_default().push(line.clone());
        }
    }
    by_symbol
}

fn names(lines: &[String]) -> BTreeSet<(String, String)> {
    let name = |line: &String| {
        let forecast = parse(line);
        (forecast.model.to_string(), forecast.model_version.to_string())
    };
    lines.iter().map(name).collect()
}

fn named(name: &str, version: &str) -> (String, String) {
    (name.to_owned(), version.to_owned())
}

/// Asks a page; status and body.
fn ask(daemon: &Daemon, method: &str, path: &str, headers: &str) -> (u16, serde_json::Value) {
    let mut stream = TcpStream::connect(daemon.address()).unwrap();
    let host = daemon.address();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let body = serde_json::from_str(body).unwrap_or_else(|_| body.into());
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

fn say(feed: &ScriptedFeed, daemon: &Daemon, records: &[String]) {
    let before = daemon.metric("tickcast_ticks_total");
    records.iter().for_each(|record| feed.say(record));
    daemon.await_metric("tickcast_ticks_total", before + records.len() as f64);
}

/// The settings of a recording in a place.
fn of_recording(place: &Place, records: &[String]) -> String {
    fs::write(place.path("ticks.jsonl"), records.join("\n") + "\n").unwrap();
    format!("source.kind = 'file'\nsource.path = '{}'\n", place.path("ticks.jsonl").display())
}

fn only(symbols: &[&str], of: BTreeMap<String, Vec<String>>) -> BTreeMap<String, Vec<String>> {
    of.into_iter().filter(|(symbol, _)| symbols.contains(&symbol.as_str())).collect()
}

#[test]
fn three_models_over_one_stream_give_what_three_replays_give() {
    let place = Place::new();
    let records = recording(0..40);
    let settings = of_recording(&place, &records) + "engine.shards = 2";
    let ended = place.serve("", &settings, THREE).await_end();
    assert!(ended.status.success(), "{:?}", ended.log);
    let received: Vec<_> = ended.log.iter().filter_map(|line| line["received"].as_u64()).collect();
    assert_eq!(received, [records.len() as u64], "once, and not for each model");
    let (live, shadows) = (place.lines("lines.jsonl"), place.lines("shadows.jsonl"));
    assert_eq!(names(&live), [named("vol", "1"), named("tend", "1")].into());
    assert_eq!(names(&shadows), [named("vol", "2")].into(), "and they are nowhere else");
    let alone =
        |name: &str, version: &str| of(&place.replay(name, version, &records), name, version);
    assert_eq!(of(&live, "vol", "1"), alone("vol", "1"));
    assert_eq!(of(&shadows, "vol", "2"), {
        // Another mode gives the same values under its own name.
        let full = |line: &String| line.replace(r#""mode":"sliding""#, r#""mode":"full""#);
        let alone = alone("vol", "2").into_iter();
        alone
            .map(|(symbol, lines)| (symbol, lines.iter().map(full).collect()))
            .collect::<BTreeMap<_, Vec<_>>>()
    });
    assert_eq!(of(&live, "tend", "1"), only(&["A", "B"], alone("tend", "1")));
    // Every model is scored.
    let scored: BTreeSet<_> = place
        .lines("scores.jsonl")
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|score| (score["model"].to_string(), score["model_version"].to_string()))
        .collect();
    assert_eq!(scored.len(), 3, "{scored:?}");
    // A replay of the three says what the daemon said.
    let path = place.path("replayed-shadows.jsonl").display().to_string();
    let replayed = place.replay_with("", THREE, &records, &["--shadows", &path]);
    for (name, version) in [("vol", "1"), ("tend", "1")] {
        assert_eq!(of(&replayed, name, version), of(&live, name, version));
    }
    assert_eq!(replayed.len(), live.len());
    assert_eq!(of(&place.lines("replayed-shadows.jsonl"), "vol", "2"), of(&shadows, "vol", "2"));
}

#[test]
fn the_models_of_the_repository_run_side_by_side() {
    let place = Place::new();
    let root = repository().join("models");
    let records: Vec<_> = (0..80u32)
        .flat_map(|day| {
            ["AAPL", "MSFT"].map(|symbol| {
                let phase = f64::from(day) * 0.37 + f64::from(symbol.as_bytes()[0]);
                let close = 100.0 + 10.0 * phase.sin();
                let bar = [("open", close + 0.5), ("high", close + 1.5), ("low", close - 1.25)];
                let bar = bar.map(|(name, value)| format!(r#""{name}":{value}"#)).join(",");
                let volume = 1e6 + 1e5 * phase.cos();
                // Mondays to Fridays, as both calendars have them.
                let time = (i64::from(15_705 + day / 5 * 7 + day % 5)) * 86_400_000;
                let bar = format!(r#"{bar},"close":{close},"volume":{volume}"#);
                format!(r#"{{"symbol":"{symbol}","time":{time},{bar}}}"#)
            })
        })
        .collect();
    let models = "[[models]]\nname = 'aapl-daily'\n\
        [[models]]\nname = 'stocks-volatility'\n\
        [[models]]\nname = 'stocks-volatility-carried'\nrole = 'shadow'\n\
        shadows = 'stocks-volatility'\n";
    let settings = of_recording(&place, &records)
        + &format!(
            "forecast.intervals = 'bundle'\npublish.shadow_lines = '{}'\n",
            place.path("shadows.jsonl").display()
        );
    let ended = Daemon::start_several(&root, "", &settings, models, |command| {
        command.env("TICKCAST__PUBLISH__LINES", place.path("lines.jsonl"));
    })
    .await_end();
    assert!(ended.status.success(), "{:?}", ended.log);
    let replay = |name: &str| {
        let path = |name: &str| place.path(name).display().to_string();
        fs::write(path("replay.jsonl"), records.join("\n")).unwrap();
        let config = format!(
            "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nforecast.intervals = 'bundle'\n\
             model.name = '{name}'\n",
            root.display()
        );
        fs::write(path("replay.toml"), config).unwrap();
        let output = run(&["replay", "-c", &path("replay.toml"), "--input", &path("replay.jsonl")]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (live, shadows) = (place.lines("lines.jsonl"), place.lines("shadows.jsonl"));
    for (name, lines) in [
        ("aapl-daily", &live),
        ("stocks-volatility", &live),
        ("stocks-volatility-carried", &shadows),
    ] {
        let alone = replay(name);
        assert!(!alone.is_empty(), "{name}");
        assert_eq!(of(lines, name, "1"), of(&alone, name, "1"), "{name}");
    }
}

/// What subscribers of a stream have heard.
struct Subscriber {
    socket: tokio_tungstenite::tungstenite::WebSocket<
        tokio_tungstenite::tungstenite::stream::MaybeTlsStream<TcpStream>,
    >,
}

impl Subscriber {
    fn of(daemon: &Daemon, query: &str) -> Self {
        let url = format!("ws://{}/v1/stream{query}", daemon.address());
        let (socket, _) = tokio_tungstenite::tungstenite::connect(url).unwrap();
        Self { socket }
    }

    /// The next so many records.
    fn next(&mut self, count: usize) -> Vec<String> {
        (0..count)
            .map(|_| {
                loop {
                    let message = self.socket.read().unwrap();
                    if message.is_text() {
                        return message.into_text().unwrap().to_string();
                    }
                }
            })
            .collect()
    }
}

#[test]
fn shadows_have_a_stream_of_their_own_and_no_live_page_shows_them() {
    let (place, feed) = (Place::new(), ScriptedFeed::start());
    let daemon = place.serve(feed.url(), "", THREE);
    let mut live = Subscriber::of(&daemon, "?symbols=C");
    let mut shadow = Subscriber::of(&daemon, "?role=shadow&symbols=C");
    say(&feed, &daemon, &recording(0..8));
    // Symbol C: `tend` does not want it, and `vol` warms up for five steps and a feature.
    let (live, shadows) = (live.next(3), shadow.next(3));
    assert_eq!(names(&live), [named("vol", "1")].into());
    assert_eq!(names(&shadows), [named("vol", "2")].into());
    let newest = |path: &str| {
        let (status, page) = ask(&daemon, "GET", path, "");
        assert_eq!(status, 200, "{path}: {page}");
        page
    };
    let all = newest("/v1/forecasts");
    assert_eq!((&all["count"], all["forecasts"].as_array().unwrap().len()), (&3.into(), 3));
    let models = |page: &serde_json::Value| -> Vec<String> {
        let forecasts = page["forecasts"].as_array().unwrap().iter();
        forecasts.map(|forecast| forecast["model"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(models(&all), ["vol"; 3], "the first model of each symbol");
    assert_eq!(models(&newest("/v1/forecasts?model=tend&limit=9")), ["tend"; 2]);
    assert_eq!(newest("/v1/forecasts/A?model=tend")["model"], "tend");
    assert_eq!(newest("/v1/forecasts/A")["model"], "vol");
    let (status, problem) = ask(&daemon, "GET", "/v1/forecasts?model=vol-next", "");
    assert_eq!((status, &problem["code"]), (404, &"unknown_model".into()), "{problem}");
    let (status, problem) = ask(&daemon, "GET", "/v1/forecasts/C?model=tend", "");
    assert_eq!((status, &problem["code"]), (404, &"unknown_symbol".into()), "{problem}");
    assert_eq!(problem["detail"], "this model does not want the symbol");
    assert_eq!(problem["window"], serde_json::Value::Null, "that of another model says nothing");
    let (status, problem) = ask(&daemon, "GET", "/v1/forecasts?x=1", "");
    assert_eq!(status, 400);
    assert!(problem["detail"].as_str().unwrap().contains("`model`"), "{problem}");
    let listed = newest("/v1/models");
    assert_eq!((&listed["model"], &listed["model_version"]), (&"vol".into(), &"1".into()));
    let told: Vec<_> = listed["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| {
            let text = |name: &str| model[name].as_str().unwrap_or_default().to_owned();
            [text("name"), text("role"), text("shadows"), text("mode")].join(" ")
        })
        .collect();
    assert_eq!(told, ["vol live  sliding", "vol-next shadow vol full", "tend live  sliding"]);
    assert_eq!(listed["models"][2]["symbols"], serde_json::json!(["A", "B*"]));
    // One truth of the stream, and one sum for each model.
    let metrics = daemon.metrics();
    let of_model = |name: &str, model: &str| metrics[&format!("{name}{{model=\"{model}\"}}")];
    let ticks = metrics["tickcast_ticks_total"];
    assert_eq!(ticks, metrics["tickcast_ticks_used_total"]);
    for (model, wanted) in [("vol", ticks), ("vol-next", ticks), ("tend", ticks * 2.0 / 3.0)] {
        assert_eq!(of_model("tickcast_model_ticks_total", model), wanted, "{model}");
        assert_eq!(of_model("tickcast_steps_total", model), wanted, "{model}");
        let live = f64::from(u8::from(model != "vol-next"));
        assert_eq!(of_model("tickcast_model_live", model), live);
    }
    let by_health = |daemon: &Daemon| -> f64 {
        let of_health = daemon.metrics().into_iter();
        of_health
            .filter(|(name, _)| name.starts_with("tickcast_symbols_by_health"))
            .map(|(_, count)| count)
            .sum()
    };
    // Symbols are judged once a second.
    eventually("all symbols are judged", || (by_health(&daemon) >= 3.0).then_some(()));
    assert_eq!(by_health(&daemon), 3.0, "each once, whatever models know it");
    daemon.stop();
}

#[test]
fn a_promotion_is_shown_survives_a_restart_and_can_be_taken_back() {
    let (place, feed) = (Place::new(), ScriptedFeed::start());
    let state = format!("snapshot.folder = '{}'\n", place.path("state").display());
    let records = recording(0..30);
    let (first, rest) = records.split_at(12 * SYMBOLS.len());
    let (second, third) = rest.split_at(9 * SYMBOLS.len());
    let daemon = place.serve(feed.url(), &state, THREE);
    say(&feed, &daemon, first);
    let promote = |daemon: &Daemon, name: &str| {
        ask(daemon, "POST", &format!("/v1/models/{name}/promote"), "Content-Length: 0\r\n")
    };
    assert_eq!(promote(&daemon, "nobody").0, 404);
    let (status, problem) = ask(&daemon, "POST", "/v1/models/vol-next/promote?force=1", "");
    assert_eq!((status, &problem["code"]), (400, &"bad_request".into()), "{problem}");
    let (status, answer) =
        ask(&daemon, "POST", "/v1/models/vol-next/promote", "Origin: http://elsewhere.example\r\n");
    assert_eq!((status, &answer["code"]), (403, &"foreign_origin".into()), "{answer}");
    assert_eq!(ask(&daemon, "GET", "/v1/models/vol-next/promote", "").0, 405);
    let (status, answer) = promote(&daemon, "vol-next");
    assert_eq!((status, &answer["outcome"]), (200, &"promoted".into()), "{answer}");
    assert_eq!((&answer["instead_of"], &answer["survives_restart"]), (&"vol".into(), &true.into()));
    assert_eq!(promote(&daemon, "vol-next").1["outcome"], "live");
    say(&feed, &daemon, second);
    assert_eq!(daemon.metric(r#"tickcast_promotions_total{by="request",model="vol-next"}"#), 1.0);
    assert_eq!(daemon.metric(r#"tickcast_model_live{model="vol"}"#), 0.0);
    assert_eq!(ask(&daemon, "GET", "/version", "").1["model_version"], "2");
    // Of each symbol the stream of shadows has one newest record, that of the shadow of now.
    let newest = Subscriber::of(&daemon, "?role=shadow&snapshot=true").next(3);
    let newest: BTreeSet<_> = newest
        .iter()
        .map(|line| parse(line))
        .map(|line| (line.symbol.to_string(), line.model_version.to_string()))
        .collect();
    assert_eq!(newest, SYMBOLS.map(|symbol| named(symbol, "1")).into());
    let ended = daemon.stop();
    let told =
        ended.log.iter().find(|line| line["message"] == "promoted a shadow to live").unwrap();
    assert_eq!((&told["model"], &told["instead_of"]), (&"vol-next".into(), &"vol".into()));
    feed.act(Act::Break);
    let daemon = place.serve(feed.url(), &state, THREE);
    assert_eq!(daemon.metric(r#"tickcast_model_live{model="vol-next"}"#), 1.0, "it survives");
    say(&feed, &daemon, third);
    let output =
        run(&["model", "promote", "vol", "--url", &format!("http://{}", daemon.address())]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(told, "vol is live; vol-next is a shadow\n");
    say(&feed, &daemon, &recording(30..32));
    daemon.stop();
    // Of each symbol and step one live forecast, of the version that was live then.
    let mut versions = BTreeMap::<String, Vec<String>>::new();
    let lines = place.lines("lines.jsonl");
    for line in lines.iter().map(|line| parse(line)).filter(|line| line.model == "vol") {
        versions.entry(line.symbol.to_string()).or_default().push(line.model_version.to_string());
    }
    for (symbol, versions) in versions {
        let runs = versions.chunk_by(|a, b| a == b).map(|run| (run[0].as_str(), run.len()));
        let expected = [("1", 12 - 5), ("2", 9 + 9), ("1", 2)];
        assert_eq!(runs.collect::<Vec<_>>(), expected, "{symbol}");
    }
    // A configuration that was changed says who is live.
    let daemon = place.serve(feed.url(), &state, THREE);
    assert_eq!(promote(&daemon, "vol-next").0, 200);
    daemon.stop();
    let changed = THREE.replace("['A', 'B*']", "['A']").replace("as = 'vol-next'", "as = 'next'");
    let warnings = |models: &str| {
        let daemon = place.serve(feed.url(), &state, models);
        assert_eq!(daemon.metric(r#"tickcast_model_live{model="vol"}"#), 1.0);
        let ended = daemon.stop();
        let warned = |line: &&serde_json::Value| {
            line["message"].as_str().is_some_and(|text| text.starts_with("the models of the conf"))
        };
        ended.log.iter().filter(warned).count()
    };
    assert_eq!([warnings(&changed), warnings(&changed)], [1, 0], "once, and not at each start");
    assert_eq!(warnings(THREE), 0, "put back, the configuration still says who is live");
}

#[test]
fn a_shadow_of_fewer_symbols_is_not_promoted_and_check_says_so() {
    let (place, feed) = (Place::new(), ScriptedFeed::start());
    let models = "[[models]]\nname = 'vol'\nversion = '1'\n\
        [[models]]\nname = 'tend'\nsymbols = ['A']\nrole = 'shadow'\n";
    let reason = "`tend` cannot get the seat of `vol`: it does not want every symbol of it, so the \
                  others would have no live forecast; give both the same symbols";
    let daemon = place.serve(feed.url(), "", models);
    let (status, answer) = ask(&daemon, "POST", "/v1/models/tend/promote", "");
    let expected = serde_json::json!({"outcome": "kept", "reason": reason});
    assert_eq!((status, answer), (409, expected));
    daemon.stop();
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\n{models}",
        place.models().display()
    );
    fs::write(place.path("check.toml"), config).unwrap();
    let output = run(&["check", "-c", &place.path("check.toml").display().to_string()]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}");
    let note = format!("note          {reason}");
    assert!(told.lines().any(|line| line == note), "{told}");
}

#[test]
fn roles_belong_to_one_process_also_where_no_snapshot_is_kept() {
    let (place, feed) = (Place::new(), ScriptedFeed::start());
    // Standard input can be read once, so nothing of it is kept but the roles.
    let settings = format!(
        "source.kind = 'file'\nsource.path = '-'\nsnapshot.folder = '{}'\n",
        place.path("state").display()
    );
    let other = tickcast::keep::snapshot::Folder::open(&place.path("state")).unwrap();
    let config = format!("{settings}model.root = '{}'\n{THREE}", place.models().display());
    fs::write(place.path("serve.toml"), config).unwrap();
    let path = place.path("serve.toml").display().to_string();
    let output = crate::support::process::run_to_end(&["serve", "-c", &path]);
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(75), "{told}");
    assert!(told.contains("is in use by another process"), "{told}");
    drop((other, feed));
}

#[test]
fn a_version_that_another_entry_names_is_passed_over_and_not_refused() {
    let (place, feed) = (Place::new(), ScriptedFeed::start());
    model("vol", "3", 53, 5).seal(&place.models(), runtime()).unwrap();
    // The newest is damaged, and the next one is the way back.
    let damaged = place.models().join("vol/3/model.onnx");
    fs::write(&damaged, [fs::read(&damaged).unwrap(), b" ".to_vec()].concat()).unwrap();
    let models = "[[models]]\nname = 'vol'\n\
        [[models]]\nname = 'vol'\nas = 'vol-old'\nversion = '2'\nrole = 'shadow'\n";
    let daemon = place.serve(feed.url(), "", models);
    let (status, listed) = ask(&daemon, "GET", "/v1/models", "");
    assert_eq!((status, &listed["model_version"]), (200, &"1".into()), "{listed}");
    let refused = &listed["models"][0]["refused"];
    assert_eq!((refused.as_array().unwrap().len(), &refused[0]["version"]), (1, &"3".into()));
    assert_eq!(daemon.metric(r#"tickcast_model_versions_refused{model="vol"}"#), 1.0);
    let ended = daemon.stop();
    let message = "a version is passed over, because another entry names it";
    let told = ended.log.iter().find(|line| line["message"] == message).unwrap();
    assert_eq!((&told["version"], &told["by"]), (&"2".into(), &"vol-old".into()));
}

/// One model whose versions take turns.
const TURNS: &str = "[[models]]\nname = 'next'\nwatch = true\npromote = { when = 'by_hand' }\n";

/// What runs: version and role of each entry.
fn turns(daemon: &Daemon) -> Vec<String> {
    let listed = ask(daemon, "GET", "/v1/models", "").1;
    let model = |model: &serde_json::Value| {
        let text = |name: &str| model[name].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", text("name"), text("model_version"), text("role"))
    };
    listed["models"].as_array().unwrap().iter().map(model).collect()
}

fn await_turns(daemon: &Daemon, expected: &[&str]) {
    eventually("the versions that run", || (turns(daemon) == expected).then_some(()));
}

#[test]
fn a_new_version_is_a_shadow_until_it_is_promoted_by_hand() {
    let (place, feed) = (Place::new(), ScriptedFeed::start());
    let seal = |version: &str, seed| {
        model("next", version, seed, 5).seal(&place.models(), runtime()).unwrap();
    };
    let promote = |daemon: &Daemon, query: &str| {
        let path = format!("/v1/models/next/promote{query}");
        let (status, answer) = ask(daemon, "POST", &path, "Content-Length: 0\r\n");
        let word = if status == 200 { &answer["outcome"] } else { &answer["code"] };
        (status, word.as_str().unwrap_or_default().to_owned())
    };
    let state = format!("snapshot.folder = '{}'\n", place.path("state").display());
    let days = |days| recording(days);
    seal("1", 41);
    let daemon = place.serve(feed.url(), &state, TURNS);
    assert_eq!(turns(&daemon), ["next 1 live"], "a place without a version is not listed");
    say(&feed, &daemon, &days(0..12));
    assert_eq!(promote(&daemon, "?version=2").0, 409, "there is no such version yet");
    seal("2", 43);
    await_turns(&daemon, &["next 1 live", "next.other 2 shadow"]);
    say(&feed, &daemon, &days(12..21));
    // Both are scored on the same truths.
    let scored = r#"tickcast_scores_total{evidence="unseen",model="next.other"}"#;
    daemon.await_metric(scored, 8.0 * SYMBOLS.len() as f64);
    assert_eq!(promote(&daemon, ""), (400, "bad_request".to_owned()));
    assert_eq!(promote(&daemon, "?version=9").0, 409);
    assert_eq!(promote(&daemon, "?versions=2"), (400, "bad_request".to_owned()));
    let url = format!("http://{}", daemon.address());
    let output = run(&["model", "promote", "next", "2", "--url", &url]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(told, "next 2 is live; the version before it is a shadow\n");
    assert_eq!(turns(&daemon), ["next 1 shadow", "next.other 2 live"]);
    assert_eq!(promote(&daemon, "?version=2"), (200, "live".to_owned()));
    say(&feed, &daemon, &days(21..25));
    let newest = ask(&daemon, "GET", "/v1/forecasts/A?model=next", "").1;
    assert_eq!(newest["model_version"], "2", "the name means whichever is live");
    daemon.stop();
    // A restart keeps both, and sees the version that came meanwhile.
    seal("3", 53);
    feed.act(Act::Break);
    let daemon = place.serve(feed.url(), &state, TURNS);
    await_turns(&daemon, &["next 3 shadow", "next.other 2 live"]);
    say(&feed, &daemon, &days(25..28));
    assert_eq!(promote(&daemon, "?version=3"), (200, "promoted".to_owned()));
    assert_eq!(promote(&daemon, "?version=2"), (200, "promoted".to_owned()), "back by hand");
    say(&feed, &daemon, &days(28..30));
    // A version that does not prove itself changes nothing.
    seal("4", 59);
    let broken = place.models().join("next/5");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("manifest.json"), "{").unwrap();
    await_turns(&daemon, &["next 4 shadow", "next.other 2 live"]);
    daemon.await_metric(r#"tickcast_model_versions_refused{model="next.other"}"#, 1.0);
    let ended = daemon.stop();
    let told = |text: &str| {
        ended.log.iter().any(|line| line["message"].as_str().is_some_and(|told| told == text))
    };
    assert!(told("promoted a shadow to live"), "{:?}", ended.log);
    feed.act(Act::Break);
    let daemon = place.serve(feed.url(), &state, TURNS);
    assert_eq!(turns(&daemon), ["next 4 shadow", "next.other 2 live"], "from the first moment on");
    // A version that made room for a newer one comes back by its name, behind the look at the
    // folder that every start begins with.
    daemon.await_metric(r#"tickcast_model_versions_refused{model="next.other"}"#, 1.0);
    assert_eq!(promote(&daemon, "?version=1"), (200, "promoted".to_owned()));
    assert_eq!(turns(&daemon), ["next 1 live", "next.other 2 shadow"]);
    say(&feed, &daemon, &days(30..32));
    daemon.stop();
    // One live forecast of each symbol and step, of the version that was live then.
    let lines = place.lines("lines.jsonl");
    let mut versions = BTreeMap::<String, Vec<String>>::new();
    for line in lines.iter().map(|line| parse(line)) {
        versions.entry(line.symbol.to_string()).or_default().push(line.model_version.to_string());
    }
    assert_eq!(versions.len(), SYMBOLS.len());
    for (symbol, versions) in versions {
        let runs = versions.chunk_by(|a, b| a == b).map(|run| (run[0].as_str(), run.len()));
        assert_eq!(runs.collect::<Vec<_>>(), [("1", 21 - 5), ("2", 9), ("1", 2)], "{symbol}");
    }
    // The shadow began with the windows of the live one: its first forecast is that of the first
    // step behind its coming, and has the bits that the version gives alone.
    let shadow = of(&place.lines("shadows.jsonl"), "next", "2");
    let alone = of(&place.replay("next", "2", &days(0..21)), "next", "2");
    for (symbol, lines) in &shadow {
        assert_eq!(lines[..9], alone[symbol][12 - 5..], "{symbol}");
    }
    assert_eq!(shadow.len(), SYMBOLS.len());
}

#[test]
fn a_kill_and_a_restart_keep_the_states_of_all_models() {
    let place = Place::new();
    let records = recording(0..400);
    let settings = format!(
        "{}snapshot.folder = '{}'\nsnapshot.interval_ms = 10\nsource.queue_records_max = 16\n\
         engine.shards = 2\n",
        of_recording(&place, &records),
        place.path("state").display()
    );
    for life in 1..=3 {
        let mut daemon = place.serve_as("", &settings, THREE, creep_from_the_start);
        // Somewhere in the recording, further on in each life.
        daemon.creep_to_snapshots(&place.path("state"), || {
            place.lines("lines.jsonl").len() >= 250 * life
        });
        daemon.kill();
    }
    let mut last = place.serve("", &settings, THREE);
    let ended = last.await_end();
    assert!(ended.status.success(), "{:?}", ended.log);
    let restored = ended.log.iter().find(|line| line["message"] == "restored");
    assert!(restored.is_some(), "{:?}", ended.log);
    let distinct = |name: &str| -> BTreeSet<String> { place.lines(name).into_iter().collect() };
    let (live, shadows) = (distinct("lines.jsonl"), distinct("shadows.jsonl"));
    let whole = |lines: &BTreeSet<String>| lines.iter().filter(|line| line.ends_with('}')).count();
    let alone = |name: &str, version: &str| -> BTreeSet<String> {
        place.replay(name, version, &records).into_iter().collect()
    };
    let wanted = |line: &&String| parse(line).symbol != "C";
    let expected: BTreeSet<_> = alone("vol", "1")
        .into_iter()
        .chain(alone("tend", "1").iter().filter(wanted).cloned())
        .collect();
    let is_whole = |line: &&String| serde_json::from_str::<serde_json::Value>(line).is_ok();
    let live: BTreeSet<_> = live.iter().filter(is_whole).cloned().collect();
    let shadows: BTreeSet<_> = shadows.iter().filter(is_whole).cloned().collect();
    assert!(whole(&live) > 0);
    assert_eq!(live, expected, "each forecast of each live model, and no other");
    let full = |line: String| line.replace(r#""mode":"sliding""#, r#""mode":"full""#);
    assert_eq!(shadows, alone("vol", "2").into_iter().map(full).collect());
}

#[test]
fn a_model_that_cannot_run_beside_the_others_is_refused_by_its_entry() {
    let place = Place::new();
    let check = |models: &str| {
        let config = format!(
            "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\n{models}",
            place.models().display()
        );
        fs::write(place.path("check.toml"), config).unwrap();
        let path = place.path("check.toml").display().to_string();
        let outcomes = ["check", "serve"].map(|command| {
            let output = crate::support::process::run_to_end(&[command, "-c", &path]);
            let told = [output.stdout, output.stderr].concat();
            (output.status.code(), String::from_utf8(told).unwrap())
        });
        let [check, serve] = outcomes;
        assert_eq!((check.0, serve.0), (Some(78), Some(78)), "{} {}", check.1, serve.1);
        check.1
    };
    let twice = "[[models]]\nname = 'vol'\n[[models]]\nname = 'vol'\nas = 'again'\n";
    let told = check(twice);
    assert!(told.contains("models[1]: `vol` already runs version 2 of model vol"), "{told}");
    let told =
        check("[[models]]\nname = 'vol'\n[[models]]\nname = 'gone'\n[[models]]\nname = 'lost'\n");
    assert!(told.contains("models[1]: ") && told.contains("models[2]: "), "{told}");
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\n{THREE}",
        place.models().display()
    );
    fs::write(place.path("check.toml"), config).unwrap();
    let path = place.path("check.toml").display().to_string();
    let output = run(&["check", "-c", &path]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}");
    for line in [
        "model         vol 1, live as vol, of every symbol",
        "model         vol 2, shadow as vol-next, of every symbol",
        "model         tend 1, live as tend, of A, B*",
    ] {
        assert!(told.lines().any(|found| found == line), "{line} in {told}");
    }
    let _: &Path = &place.models();
}

#[test]
fn a_reload_is_of_one_model_or_of_each() {
    let (place, feed) = (Place::new(), ScriptedFeed::start());
    let models = "[[models]]\nname = 'vol'\nversion = '1'\n[[models]]\nname = 'tend'\n";
    let daemon = place.serve(feed.url(), "", models);
    say(&feed, &daemon, &recording(0..9));
    model("tend", "2", 53, 3).seal(&place.models(), runtime()).unwrap();
    let (status, answer) = ask(&daemon, "POST", "/v1/reload?model=vol", "");
    let outcomes = |answer: &serde_json::Value| -> Vec<(String, String)> {
        let of = answer["models"].as_array().unwrap().iter();
        of.map(|of| (of["name"].to_string(), of["outcome"].to_string())).collect()
    };
    let pair = |name: &str, outcome: &str| (format!("\"{name}\""), format!("\"{outcome}\""));
    assert_eq!((status, outcomes(&answer)), (200, vec![pair("vol", "unchanged")]), "{answer}");
    let (status, answer) = ask(&daemon, "POST", "/v1/reload", "");
    assert_eq!(status, 200);
    assert_eq!(outcomes(&answer), [pair("vol", "unchanged"), pair("tend", "swapped")]);
    assert_eq!(ask(&daemon, "POST", "/v1/reload?model=x", "").0, 404);
    say(&feed, &daemon, &recording(9..12));
    daemon.stop();
    let lines = place.lines("lines.jsonl");
    assert_eq!(of(&lines, "tend", "2").values().map(Vec::len).collect::<Vec<_>>(), [3; 3]);
    assert_eq!(of(&lines, "vol", "1").values().map(Vec::len).collect::<Vec<_>>(), [12 - 5; 3]);
}

#[test]
fn a_recording_of_symbols_that_no_model_wants_is_of_no_use() {
    let place = Place::new();
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\n\
         [[models]]\nname = 'tend'\nsymbols = ['a']\n",
        place.models().display()
    );
    fs::write(place.path("replay.toml"), config).unwrap();
    fs::write(place.path("replay.jsonl"), recording(0..4).join("\n")).unwrap();
    let path = |name: &str| place.path(name).display().to_string();
    let output = run(&["replay", "-c", &path("replay.toml"), "--input", &path("replay.jsonl")]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(65), "{told}");
    let words = "none of the 12 records can be used: 12 are of symbols that no live model wants";
    assert!(told.contains(words), "{told}");
}
