//! Shadows beside the live model of their seat in a real daemon: what their scores say of it, and
//! promotions by the rule.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;
use tickcast::core::features::Scaler;
use tickcast::core::verdict::Word;
use tickcast::engine::model::manifest::StepSpec;
use tickcast::engine::wire::forecast::ForecastRecord;

use crate::support::bundle::{draft_of, manifest, range};
use crate::support::feed::{Act, ScriptedFeed};
use crate::support::network::{Network, random};
use crate::support::process::{Daemon, eventually, run};
use crate::support::runtime;
use crate::support::verdicts::{assert_verdicts, check_with_python};

const SYMBOLS: usize = 4;

const WINDOW_STEPS: u32 = 5;

/// Minutes of a symbol without a forecast: one feature looks a step back, then the window fills.
const WARM_UP: usize = WINDOW_STEPS as usize;

/// Models of one network. Returns are below a hundredth; `near` forecasts up to a hundredth, and
/// `wide` fifty times as much. `same` is `near` under another name, and `later` looks further
/// ahead.
const MODELS: [(&str, f64, u32); 4] =
    [("near", 0.02, 1), ("wide", 1.0, 1), ("same", 0.02, 1), ("later", 0.02, 3)];

struct Place {
    root: TempDir,
    /// The price of each symbol at each minute.
    prices: Vec<Vec<f64>>,
}

impl Place {
    fn new(minutes: usize) -> Self {
        let root = tempfile::tempdir().unwrap();
        for (name, range_max, horizon) in MODELS {
            let network = Network::random(41, 3, &[6]);
            let mut manifest = manifest(WINDOW_STEPS, &network);
            name.clone_into(&mut manifest.name);
            manifest.step = StepSpec::record(60);
            manifest.horizon_steps = horizon;
            let columns = vec![range("next_return", -range_max, range_max)];
            manifest.target.scaler = Scaler::Minmax { low: -1.0, high: 1.0, columns };
            let models = root.path().join("models");
            draft_of(manifest, &network).seal(&models, runtime()).unwrap();
        }
        let prices = (0..SYMBOLS as u64).map(|symbol| {
            let (mut seed, mut price) = (symbol, 100.0);
            let returns = random(&mut seed, minutes, 0.01);
            let walk = returns.into_iter().map(|change| {
                price *= 1.0 + f64::from(change);
                price
            });
            walk.collect()
        });
        let prices = prices.collect();
        Self { root, prices }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The ticks of a minute, one of each symbol.
    fn round(&self, minute: usize) -> Vec<String> {
        let tick = |(symbol, prices): (usize, &Vec<f64>)| {
            let (time, close) = (minute * 60_000, prices[minute]);
            let volume = 100 + minute % 7;
            format!(r#"{{"symbol":"S{symbol}","time":{time},"close":{close},"volume":{volume}}}"#)
        };
        self.prices.iter().enumerate().map(tick).collect()
    }

    fn serve(&self, feed: &ScriptedFeed, models: &str) -> Daemon {
        let path = |name: &str| self.path(name).display().to_string();
        let settings = format!(
            "forecast.intervals = 'bundle'\nengine.shards = 2\nengine.shadow_age_ms_max = 0\n\
             source.when_full = 'block'\npublish.shadow_lines = '{}'\npublish.scores = '{}'\n\
             snapshot.folder = '{}'\nsnapshot.interval_ms = 50\nsnapshot.gap_steps_max = 100\n",
            path("shadows.jsonl"),
            path("scores.jsonl"),
            path("state"),
        );
        Daemon::start_several(&self.path("models"), feed.url(), &settings, models, |command| {
            command.env("TICKCAST__PUBLISH__LINES", self.path("lines.jsonl"));
        })
    }

    /// Sends minutes and waits until every model has taken them.
    fn say(
        &self,
        feed: &ScriptedFeed,
        daemon: &Daemon,
        minutes: std::ops::Range<usize>,
        models: &[&str],
    ) {
        let ticks = |model: &str| {
            daemon.metric(&format!("tickcast_model_ticks_total{{model=\"{model}\"}}"))
        };
        let before: Vec<_> = models.iter().map(|model| ticks(model)).collect();
        let count = (minutes.len() * SYMBOLS) as f64;
        minutes.flat_map(|minute| self.round(minute)).for_each(|tick| feed.say(tick));
        eventually("the ticks at every model", || {
            let mut pairs = models.iter().zip(&before);
            pairs.all(|(model, before)| ticks(model) == before + count).then_some(())
        });
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// What a model says alone about the first minutes, by symbol and time.
    fn replay(&self, name: &str, minutes: usize) -> BTreeMap<(String, i64), String> {
        let path = |name: &str| self.path(name).display().to_string();
        let records: Vec<_> = (0..minutes).flat_map(|minute| self.round(minute)).collect();
        fs::write(path("records.jsonl"), records.join("\n")).unwrap();
        let config = format!(
            "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = '{name}'\n\
             forecast.intervals = 'bundle'\n",
            path("models")
        );
        fs::write(path("replay.toml"), config).unwrap();
        let [config, input] = ["replay.toml", "records.jsonl"].map(path);
        let output = run(&["replay", "-c", &config, "--input", &input, "--output", "-"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| (place(line).0, line.to_owned())).collect()
    }
}

/// The symbol and the time of a forecast, and its model.
fn place(line: &str) -> ((String, i64), String) {
    let forecast: ForecastRecord<'_> = serde_json::from_str(line).unwrap();
    let minute = forecast.as_of.as_nanos() / 60_000_000_000;
    ((forecast.symbol.to_string(), minute), forecast.model.to_string())
}

fn listed(daemon: &Daemon) -> BTreeMap<String, Value> {
    let (status, body) = daemon.get("/v1/models");
    assert_eq!(status, 200, "{body}");
    let listed: Value = serde_json::from_str(&body).unwrap();
    let models = listed["models"].as_array().unwrap().iter();
    models.map(|model| (model["name"].as_str().unwrap().to_owned(), model.clone())).collect()
}

fn promotions(daemon: &Daemon, by: &str, model: &str) -> f64 {
    daemon.metric(&format!("tickcast_promotions_total{{by=\"{by}\",model=\"{model}\"}}"))
}

fn verdict(model: &str, against: &str) -> String {
    format!("tickcast_verdict{{against=\"model:{against}\",model=\"{model}\"}}")
}

/// Evidence of two lives promotes the better model, once; of each symbol and minute there is one
/// live forecast, with the bytes that its model gives alone.
#[test]
fn a_better_shadow_is_promoted_by_the_rule_once_and_evidence_goes_on_over_a_restart() {
    const MODELS: &str = "[[models]]\nname = 'wide'\n\
        [[models]]\nname = 'near'\nrole = 'shadow'\nshadows = 'wide'\n\
        promote = { when = 'better' }\n";
    let names = ["wide", "near"];
    let (place_, feed) = (Place::new(900), ScriptedFeed::start());
    let daemon = place_.serve(&feed, MODELS);
    place_.say(&feed, &daemon, 0..250, &names);
    assert!(daemon.metric(&verdict("near", "wide")).is_nan(), "too early");
    let models = listed(&daemon);
    assert_eq!(
        (&models["near"]["promote"], &models["wide"]["promote"]),
        (&"better".into(), &Value::Null)
    );
    assert_eq!(models["near"]["rival"]["model"], "wide");
    assert_eq!(models["near"]["rival"]["symbols"]["too_early"], SYMBOLS);
    assert!(daemon.stop().status.success());
    feed.act(Act::Break);
    // Neither life has enough scores of its own.
    let daemon = place_.serve(&feed, MODELS);
    place_.say(&feed, &daemon, 250..330, &names);
    daemon.await_metric(r#"tickcast_promotions_total{by="rule",model="near"}"#, 1.0);
    assert_eq!(daemon.metric(r#"tickcast_model_live{model="near"}"#), 1.0);
    // The model before has to bring evidence of its own, and it is worse.
    place_.say(&feed, &daemon, 330..700, &names);
    daemon.await_metric(&verdict("wide", "near"), -1.0);
    let models = listed(&daemon);
    let rival = &models["wide"]["rival"];
    assert_eq!((&rival["word"], &rival["symbols"]["worse"]), (&"worse".into(), &SYMBOLS.into()));
    assert_eq!(
        (&models["wide"]["promote"], &models["near"]["rival"]),
        (&"better".into(), &Value::Null)
    );
    for (by, model, expected) in
        [("rule", "near", 1.0), ("rule", "wide", 0.0), ("request", "near", 0.0)]
    {
        assert_eq!(promotions(&daemon, by, model), expected, "{by} {model}");
    }
    let ended = daemon.stop();
    assert!(ended.status.success(), "{:?}", ended.log);
    let told = |text: &str| ended.log.iter().find(|line| line["message"] == text).cloned();
    let promoted = told("promoted a shadow to live").unwrap();
    assert_eq!((&promoted["by"], &promoted["instead_of"]), (&"rule".into(), &"wide".into()));
    // A restart keeps the promotion.
    feed.act(Act::Break);
    let daemon = place_.serve(&feed, MODELS);
    assert_eq!(daemon.metric(r#"tickcast_model_live{model="near"}"#), 1.0);
    assert!(daemon.stop().status.success());

    // Values of the replay; the restart is a gap in the stream, which a replay does not have.
    let alone: BTreeMap<_, _> = names.map(|name| (name, place_.replay(name, 700))).into();
    let (live, shadows) = (place_.lines("lines.jsonl"), place_.lines("shadows.jsonl"));
    let mut of_symbol = BTreeMap::<String, Vec<(i64, String)>>::new();
    for (line, is_live) in
        live.iter().map(|line| (line, true)).chain(shadows.iter().map(|line| (line, false)))
    {
        let (at, model) = place(line);
        let expected = &alone[&*model][&at];
        let behind_the_gap = (250..250 + WARM_UP as i64).contains(&at.1);
        match behind_the_gap {
            true => assert_eq!(value(line), value(expected), "{at:?}"),
            false => assert_eq!(line, expected),
        }
        if is_live {
            of_symbol.entry(at.0).or_default().push((at.1, model));
        }
    }
    assert_eq!((of_symbol.len(), live.len()), (SYMBOLS, shadows.len()));
    for (symbol, said) in of_symbol {
        let minutes: Vec<_> = said.iter().map(|(minute, _)| *minute).collect();
        assert_eq!(minutes, (WARM_UP as i64..700).collect::<Vec<_>>(), "{symbol}");
        let stretches: Vec<_> = said.chunk_by(|a, b| a.1 == b.1).map(|part| &*part[0].1).collect();
        assert_eq!(stretches, ["wide", "near"], "{symbol}");
    }
    let scores = place_.lines("scores.jsonl");
    let newest = assert_verdicts(&scores, 1);
    check_with_python(&scores, 1);
    let of_wide = newest.iter().filter(|((model, ..), _)| model == "wide");
    let rivals: Vec<_> = of_wide.map(|(_, newest)| newest.rival.clone().unwrap()).collect();
    assert_eq!(rivals.len(), SYMBOLS);
    assert!(rivals.iter().all(|(_, scores, word)| *scores >= 370 && *word == Word::Worse));
}

fn value(line: &str) -> f64 {
    serde_json::from_str::<ForecastRecord<'_>>(line).unwrap().value
}

#[test]
fn a_worse_shadow_and_an_equal_one_are_never_promoted() {
    let rule = "role = 'shadow'\nshadows = 'near'\npromote = { when = 'better' }\n";
    let shadow = |name: &str| format!("[[models]]\nname = '{name}'\n{rule}");
    let models = ["wide", "same", "later"].map(shadow).concat();
    let models = format!("[[models]]\nname = 'near'\n{models}");
    let names = ["near", "wide", "same", "later"];
    let (place, feed) = (Place::new(500), ScriptedFeed::start());
    let daemon = place.serve(&feed, &models);
    place.say(&feed, &daemon, 0..500, &names);
    daemon.await_metric(&verdict("wide", "near"), -1.0);
    daemon.await_metric(&verdict("same", "near"), 0.0);
    let listed = listed(&daemon);
    assert_eq!(listed["same"]["rival"]["word"], "undecided");
    assert_eq!(
        listed["later"]["rival"]["not_compared"],
        "the horizon differs, so no score of one is about the truth of the other"
    );
    let metrics = daemon.metrics();
    assert!(!metrics.contains_key(&verdict("later", "near")));
    assert!(!metrics.contains_key(&verdict("near", "near")));
    let symbol = r#"tickcast_verdict_symbols{against="model:near",model="wide",word="worse"}"#;
    assert_eq!(metrics[symbol], SYMBOLS as f64);
    for name in names {
        assert_eq!(promotions(&daemon, "rule", name), 0.0, "{name}");
    }
    assert!(daemon.stop().status.success());
    let scores = place.lines("scores.jsonl");
    let newest = assert_verdicts(&scores, 1);
    check_with_python(&scores, 1);
    for ((model, _, symbol), newest) in newest {
        let expected = match &*model {
            "wide" => Some(Word::Worse),
            "same" => Some(Word::Undecided),
            _ => None,
        };
        assert_eq!(newest.rival.map(|(.., word)| word), expected, "{model} {symbol}");
    }
}

#[test]
fn check_says_which_shadow_is_not_compared() {
    let place = Place::new(1);
    let check = |more: &str| {
        let config = format!(
            "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\n[[models]]\nname = 'near'\n\
             [[models]]\nname = 'later'\nrole = 'shadow'\nshadows = 'near'\n{more}",
            place.path("models").display()
        );
        fs::write(place.path("check.toml"), config).unwrap();
        let output = run(&["check", "-c", &place.path("check.toml").display().to_string()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let note = "`later` is not compared with `near`: the horizon differs";
    let told = check("");
    assert!(told.contains(note) && !told.contains("no rule"), "{told}");
    let told = check("promote = { when = 'better' }\n");
    assert!(told.contains(&format!("{note}; no rule promotes it (promote)")), "{told}");
    let line = "model         later 1, shadow as later, of every symbol; live when it is better";
    assert!(told.lines().any(|found| found == line), "{told}");
}
