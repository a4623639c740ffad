//! `tickcast backtest`: what a fold knows, what it writes, and what a stop leaves.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Mutex;

use tempfile::TempDir;
use tickcast::core::baseline::BaselineKind;
use tickcast::core::domain::{Evidence, UnixNanos};
use tickcast::core::verdict::Word;
use tickcast::engine::model::Bundle;
use tickcast::engine::wire::forecast::ForecastRecord;
use tickcast::engine::wire::score::ScoreRecord;
use tickcast::report::PaperOptions;
use tickcast::train::backtest::{Backtest, BacktestError, Event, FoldRecord, Place, Summary};
use tickcast::train::config;

use super::support::process::{judge_times, signal, tickcast};
use super::support::runtime;

/// Days of three symbols: one has a step on every third day, one comes late.
fn prices(days: u32, change: impl Fn(u32, f64) -> f64) -> String {
    let mut csv = "symbol,time,close\n".to_owned();
    for day in 0..days {
        for (symbol, phase, comes) in [("A", 0.0, 1), ("B", 1.3, 3), ("C", 2.1, 1)] {
            if day % comes == 0 && (symbol != "C" || day >= 150) {
                let at = f64::from(day) * 0.21 + phase;
                let close = change(day, 80.0 + 6.0 * at.sin() + 3.0 * (at * 2.7).cos());
                csv += &format!("{symbol},{},{close}\n", date(day));
            }
        }
    }
    csv
}

fn date(day: u32) -> String {
    format!("{}-{:02}-{:02}", 2001 + day / 336, 1 + day / 28 % 12, 1 + day % 28)
}

/// A history and a configuration over it, whose first test span begins on day 300.
struct Case {
    folder: TempDir,
}

impl Case {
    fn new(history: &str, more: &str) -> Self {
        let case = Self { folder: TempDir::new().unwrap() };
        fs::write(case.path("prices.csv"), history).unwrap();
        let text = format!(
            "model.name = 'size'\nmodel.root = '{0}/models'\ndata.path = '{0}/prices.csv'\n\
             window.steps = 5\nwindow.features = ['absolute_return', 'change', 'ema_gap(5)']\n\
             target.kind = 'next_volatility'\ntarget.horizon_steps = 2\n\
             network.lstm = [{{ units = 4, dropout = 0.1 }}]\n\
             network.dense = [{{ units = 1, activation = 'linear' }}]\n\
             fit.epochs_max = 2\nfit.work = '{0}/work'\nfit.learning_rate = 0.01\n\
             forecast.buy_above = 0.03\nforecast.sell_below = 0.005\n\
             backtest.output = '{0}/backtests'\nbacktest.first = '300'\n\
             backtest.every = '100'\n{more}",
            case.folder.path().display()
        );
        fs::write(case.path("train.toml"), text).unwrap();
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn backtest(&self) -> Backtest {
        Backtest::prepare(config::load(&self.path("train.toml")).unwrap()).unwrap()
    }

    /// Runs all of it into a folder.
    fn run(&self, output: &str, jobs: usize) -> Summary {
        let onwards = |_: Event<'_>| ControlFlow::Continue(());
        self.backtest().run(runtime(), &self.path(output), jobs, &onwards).unwrap()
    }
}

/// Every file below a folder by its path in it.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// The same bytes under the same names.
#[track_caller]
fn assert_same(one: &Path, other: &Path) {
    let [one, other] = [one, other].map(tree);
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (name, bytes) in &one {
        assert!(*bytes == other[name], "{} differs", name.display());
    }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

/// The command as a person types it.
fn command(arguments: &[&str]) -> Output {
    let mut command = tickcast();
    judge_times(&mut command);
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn any_number_of_jobs_gives_the_same_bytes_and_a_stopped_run_goes_on() {
    let case = Case::new(&prices(700, |_, close| close), "backtest.seeds = 2\n");
    let summary = case.run("one", 1);
    assert_eq!((summary.folds.len(), summary.seeds.len()), (4, 2));
    case.run("three", 3);
    assert_same(&case.path("one"), &case.path("three"));
    // The report reads the results back, and comes to the figures of the summary.
    let report = case.backtest().report(&case.path("one"), PaperOptions::default()).unwrap();
    let (found, judged) = (report.summary(), &summary.judged);
    let counted = found.scores[Evidence::Unseen as usize];
    assert_eq!((&*found.version, counted), ("walk-forward", judged.figures.scores));
    let [one, other] = [found.skill, judged.figures.skill].map(Option::unwrap);
    assert!((one - other).abs() < 1e-12, "{one} {other}");
    assert_eq!(found.verdict.word, judged.verdict.word);
    assert_eq!(found.verdict.scores, judged.verdict.scores);
    assert!(report.html().contains("walk-forward"));

    // Stopped after two of eight: they stay, and there is no summary.
    let done = Mutex::new(Vec::new());
    let stop = |event: Event<'_>| {
        let mut done = done.lock().unwrap();
        if let Event::Done { place, is_reused, .. } = event {
            assert!(!is_reused);
            done.push(place);
        }
        if done.len() < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let stopped = case.backtest().run(runtime(), &case.path("stopped"), 1, &stop);
    assert!(matches!(stopped, Err(BacktestError::Stopped)), "{stopped:?}");
    let seeds = [1, 2].map(|seed| Place { fold: 1, seed });
    assert_eq!(*done.lock().unwrap(), seeds);
    let left: Vec<_> = tree(&case.path("stopped")).into_keys().collect();
    let folders = ["folds/fold-1-seed-1", "folds/fold-1-seed-2"];
    assert!(left.iter().all(|file| folders.iter().any(|f| file.starts_with(f))), "{left:?}");
    assert_eq!(left.len(), 2 * 6, "{left:?}");

    // A fold whose files have changed is no finished one.
    let damaged = case.path("stopped/folds/fold-1-seed-2/scores.jsonl");
    let whole = fs::read_to_string(&damaged).unwrap();
    fs::write(&damaged, whole.replacen("0.", "1.", 1)).unwrap();
    let reused = Mutex::new(Vec::new());
    let watch = |event: Event<'_>| {
        if let Event::Done { place, is_reused: true, .. } = event {
            reused.lock().unwrap().push(place);
        }
        ControlFlow::Continue(())
    };
    case.backtest().run(runtime(), &case.path("stopped"), 2, &watch).unwrap();
    assert_eq!(*reused.lock().unwrap(), seeds[..1]);
    assert_same(&case.path("one"), &case.path("stopped"));
}

/// Every fold, its rows and its forecasts, is the same whatever comes after it.
#[test]
fn what_comes_later_changes_no_byte_of_a_fold() {
    let honest = Case::new(&prices(700, |_, close| close), "");
    honest.run("out", 2);
    let shorter = Case::new(&prices(560, |_, close| close), "");
    shorter.run("out", 2);
    // From day 530 on, the closes come in another order.
    let shuffled = |day: u32, close: f64| {
        let at = f64::from((day * 97) % 170) * 0.37;
        if day < 530 { close } else { 80.0 + 9.0 * at.sin() }
    };
    let shuffled = Case::new(&prices(700, shuffled), "");
    shuffled.run("out", 2);
    for fold in ["out/folds/fold-1-seed-1", "out/folds/fold-2-seed-1"] {
        assert_same(&honest.path(fold), &shorter.path(fold));
        assert_same(&honest.path(fold), &shuffled.path(fold));
    }
    let third = "out/folds/fold-3-seed-1";
    for other in [&shorter, &shuffled] {
        let [one, other] = [&honest, other].map(|case| tree(&case.path(third)));
        assert!(one[Path::new("scores.jsonl")] != other[Path::new("scores.jsonl")]);
    }
    // The model of the third fold ends before day 500, so it is the same.
    let model = "out/folds/fold-3-seed-1/models";
    assert_same(&honest.path(model), &shuffled.path(model));
}

/// The forecasts and scores of a fold are the lines of a replay of its bundle, and what its bundle
/// says of itself ends before its test span.
#[test]
fn a_fold_is_a_replay_of_its_bundle() {
    for more in ["", "network.state = 'carried'\nbacktest.window = '250'\n"] {
        let case = Case::new(&prices(700, |_, close| close), more);
        let summary = case.run("out", 2);
        let records: Vec<FoldRecord> = lines(&case.path("out/folds.jsonl"))
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(records.len(), 4);
        let (mut forecasts, mut scores) = (Vec::new(), Vec::new());
        for record in &records {
            let name = format!("fold-{}-seed-1", record.fold);
            let folder = case.path("out/folds").join(&name);
            let models = folder.join("models");
            let bundle = Bundle::read(&models.join("size").join(&name)).unwrap();
            let manifest = bundle.manifest();
            let [part] = &manifest.evaluation[..] else { panic!("{:?}", manifest.evaluation) };
            assert_eq!(part.part, "validation");
            assert_eq!((part.to, part.to < record.test.from), (record.validation.to, true));
            assert!(record.training.to < record.validation.from);
            let text = format!(
                "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'size'\n",
                models.display()
            );
            fs::write(case.path("replay.toml"), text).unwrap();
            let [configuration, input, output, scored] =
                ["replay.toml", "prices.csv", "all.jsonl", "scored.jsonl"]
                    .map(|name| case.path(name).display().to_string());
            let ran = command(&[
                "replay",
                "-c",
                &configuration,
                "--input",
                &input,
                "--output",
                &output,
                "--scores",
                &scored,
            ]);
            assert!(ran.status.success(), "{}", self::text(&ran));
            let until = record.test.until.unwrap_or(UnixNanos::from_nanos(i64::MAX));
            let span = record.test.from..until;
            let tested: Vec<_> = lines(Path::new(&output))
                .into_iter()
                .filter(|line| {
                    let record: ForecastRecord<'_> = serde_json::from_str(line).unwrap();
                    span.contains(&record.as_of)
                })
                .collect();
            assert_eq!(lines(&folder.join("forecasts.jsonl")), tested, "{name}");
            assert_eq!(record.test.forecasts, tested.len() as u64);
            let judged: Vec<_> = lines(Path::new(&scored))
                .into_iter()
                .filter(|line| {
                    let record: ScoreRecord<'_> = serde_json::from_str(line).unwrap();
                    assert!(!span.contains(&record.as_of) || record.evidence == Evidence::Unseen);
                    span.contains(&record.as_of)
                })
                .collect();
            assert_eq!(lines(&folder.join("scores.jsonl")), judged, "{name}");
            assert_eq!(record.figures.scores, judged.len() as u64);
            forecasts.extend(tested);
            scores.extend(judged);
        }
        assert_eq!(lines(&case.path("out/forecasts.jsonl")), forecasts);
        assert_eq!(lines(&case.path("out/scores.jsonl")), scores);
        // All forecasts but those of the last two steps of each symbol have a truth.
        assert_eq!(forecasts.len() - scores.len(), 3 * 2);
        assert_figures(&summary, &scores);
    }
}

/// Figures and verdicts are those of the scores, computed by hand.
fn assert_figures(summary: &Summary, scores: &[String]) {
    let scores: Vec<ScoreRecord<'_>> =
        scores.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let squares = |error: &dyn Fn(&ScoreRecord<'_>) -> f64| {
        scores.iter().map(|score| error(score) * error(score)).sum::<f64>()
    };
    let model = squares(&|score| score.truth - score.value);
    let baseline = squares(&|score| score.truth - score.baseline);
    let figures = &summary.judged.figures;
    let close = |found: Option<f64>, expected: f64| {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    };
    assert_eq!(figures.scores, scores.len() as u64);
    close(figures.skill, 1.0 - model / baseline);
    close(figures.root_mean_squared_error, (model / scores.len() as f64).sqrt());
    let drift = squares(&|score| score.truth - score.baselines.drift.unwrap());
    close(figures.skill_against.get("drift").copied(), 1.0 - model / drift);
    let symbols: Vec<_> = summary.judged.symbols.iter().map(|one| one.symbol.as_str()).collect();
    assert_eq!(symbols, ["A", "B", "C"]);
    for one in &summary.judged.symbols {
        let of_symbol = scores.iter().filter(|score| score.symbol == one.symbol);
        let differences: Vec<f64> = of_symbol
            .map(|score| {
                let (error, baseline) = (score.truth - score.value, score.truth - score.baseline);
                baseline * baseline - error * error
            })
            .collect();
        assert_eq!(one.verdict.scores, differences.len() as u64);
        // Ten blocks of 30 come before the first word; the ledger goes on over the folds.
        assert_eq!(one.verdict.word == Word::TooEarly, differences.len() < 300, "{one:?}");
        let whole = &differences[..differences.len() / 30 * 30];
        close(Some(one.verdict.mean_difference), whole.iter().sum::<f64>() / whole.len() as f64);
    }
    let last = scores.iter().map(|score| score.truth_time).max();
    assert_eq!(last, UnixNanos::parse(&date(699)).ok());
}

/// A pattern that rows tell, and the same where what is learned is shuffled.
#[test]
fn a_model_of_shuffled_targets_is_never_better() {
    let turn =
        |day: u32, _: f64| if day.is_multiple_of(2) { 100.0 } else { 101.0 + f64::from(day % 4) };
    let more = "fit.epochs_max = 12\ntarget.horizon_steps = 1\nbaselines.period_steps = 0\n";
    let more = format!("{more}window.features = ['absolute_return', 'change']\n");
    let case = Case::new(&prices(700, turn), "");
    let text = fs::read_to_string(case.path("train.toml")).unwrap();
    let kept: Vec<_> = text
        .lines()
        .filter(|line| {
            let replaced = ["fit.epochs_max", "target.horizon", "window.features"];
            !replaced.iter().any(|key| line.starts_with(key))
        })
        .collect();
    fs::write(case.path("train.toml"), format!("{}\n{more}", kept.join("\n"))).unwrap();
    let honest = case.run("honest", 2);
    let text = fs::read_to_string(case.path("train.toml")).unwrap();
    let control = format!("{text}backtest.control = 'random-target'\n");
    fs::write(case.path("train.toml"), control).unwrap();
    let random = case.run("random", 2);
    let skill = |summary: &Summary| summary.judged.figures.skill.unwrap();
    assert!(skill(&random) < skill(&honest), "{} and {}", skill(&random), skill(&honest));
    assert!(skill(&random) < 0.0, "{}", skill(&random));
    let words = random.judged.symbols.iter().map(|one| one.verdict.word);
    let words: Vec<_> = words.chain([random.judged.verdict.word, random.judged.pooled]).collect();
    assert!(!words.contains(&Word::Better), "{words:?}");
    // The baselines and what comes true are those of the honest model.
    let against = |summary: &Summary| -> Vec<BaselineKind> {
        summary.folds.iter().map(|fold| fold.against).collect()
    };
    assert_eq!(against(&random), against(&honest));
    let baselines = |name: &str| -> Vec<_> {
        let record = |line: &String| {
            let score: ScoreRecord<'_> = serde_json::from_str(line).unwrap();
            (score.as_of, score.truth.to_bits(), score.baseline.to_bits())
        };
        lines(&case.path(name)).iter().map(record).collect()
    };
    assert_eq!(baselines("random/scores.jsonl"), baselines("honest/scores.jsonl"));
}

#[test]
fn an_interrupt_leaves_the_finished_folds_and_no_summary() {
    // Far more fits than there is time for before the signal comes.
    let case = Case::new(&prices(700, |_, close| close), "backtest.seeds = 50\n");
    let [configuration, output] = ["train.toml", "out"].map(|name| case.path(name));
    let mut command = tickcast();
    judge_times(&mut command);
    command
        .args(["backtest", "--jobs", "1", "-c"])
        .arg(&configuration)
        .arg("--output")
        .arg(&output);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line.starts_with("1 of 200, fold-1-seed-1: ")).unwrap();
    signal(child.id(), "INT");
    let said: Vec<_> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(75), "{said:?}");
    let last = "tickcast: the backtest was stopped; the same command goes on with the folds that";
    assert!(said.last().unwrap().starts_with(last), "{said:?}");
    assert!(output.join("folds/fold-1-seed-1/fold.json").exists());
    assert!(!output.join("summary.json").exists());
}

#[test]
fn the_command_prints_the_folds_and_names_what_is_wrong() {
    let case = Case::new(&prices(700, |_, close| close), "");
    let [configuration, output] =
        ["train.toml", "out"].map(|name| case.path(name).display().to_string());
    let start = ["backtest", "-c", &configuration, "--output", &output];
    let run = |more: &[&str]| command(&[&start[..], more].concat());
    let ran = run(&["--folds", "2", "--seeds", "2", "--jobs", "2"]);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran));
    let shown = String::from_utf8(ran.stdout.clone()).unwrap();
    for part in [
        "size, next_volatility over 2 step(s)\n  2 folds, training window expanding, seeds 1 to 2",
        "  fold 1   2001-11-21 to 2002-03-09\n",
        "mean over 2 seeds: skill ",
        "all 3 symbols as one series: ",
    ] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    assert!(shown.ends_with(&format!("output  {output}/summary.json\n")), "{shown}");
    assert!(text(&ran).contains("4 of 4, fold-"), "{}", text(&ran));
    let summary = fs::read_to_string(case.path("out/summary.json")).unwrap();
    let summary: Summary = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary.folds.len(), 2);
    let spread = summary.over_seeds.unwrap();
    let skills: Vec<f64> = summary.seeds.iter().map(|seed| seed.figures.skill.unwrap()).collect();
    let (mean, apart) = ((skills[0] + skills[1]) / 2.0, (skills[0] - skills[1]).abs());
    let found = spread.skill.unwrap();
    assert!((found.mean - mean).abs() < 1e-12, "{found:?} of {skills:?}");
    assert!((found.deviation - apart / 2.0_f64.sqrt()).abs() < 1e-12, "{found:?} of {skills:?}");

    // One fold more: the others are taken over.
    let ran = run(&["--folds", "3"]);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran));
    assert!(text(&ran).contains("fitted 1 in "), "{}", text(&ran));
    assert!(text(&ran).contains(" s, 2 taken over"), "{}", text(&ran));

    for (more, code, words) in [
        (&["--every", "soon"][..], 64, "`soon` is no length"),
        (&["--folds", "0"][..], 64, "must be a whole number from 1 to 1000"),
        (&["--control", "noise"][..], 64, "expected random-target or none"),
        (&["--first", "10y"][..], 78, "times of steps are too few for this schedule"),
        (&["--first", "20"][..], 78, "fold 1 of 7: the "),
        (&["--input", "none.csv"][..], 78, "none.csv"),
    ] {
        let ran = run(more);
        assert_eq!(ran.status.code(), Some(code), "{more:?}: {}", text(&ran));
        assert!(text(&ran).contains(words), "{more:?}: {}", text(&ran));
    }
    fs::write(case.path("file"), "").unwrap();
    let file = case.path("file").display().to_string();
    let ran = command(&["backtest", "-c", &configuration, "--output", &file]);
    assert_eq!(ran.status.code(), Some(75), "{}", text(&ran));
}
