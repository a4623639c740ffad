//! A model of two horizons and three quantiles, from the trainer to the page of a replay.
//!
//! The bars are made up. `TICKCAST_TEST_BARS` names a CSV file of minute bars in their place, with
//! the columns `timestamp`, `close` and `volume` (UTC); `docs/outputs.md` has what it came to.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use tempfile::TempDir;
use tickcast::core::domain::{Evidence, Field, Fields, Forecast, Tick, UnixNanos};
use tickcast::core::random::{Purpose, Random};
use tickcast::core::score::{Score, pinball};
use tickcast::engine::inference::{NativeRuntime, Runtime};
use tickcast::engine::model::Bundle;
use tickcast::engine::model::golden::GoldenCase;
use tickcast::engine::model::manifest::{Evaluation, Mode};
use tickcast::engine::state::StateCodec;
use tickcast::engine::symbols::{Engine, EngineLimits, Haste};
use tickcast::engine::wire::forecast::ForecastRecord;
use tickcast::engine::wire::score::ScoreRecord;
use tickcast::train::config;
use tickcast::train::job::{Job, Trained};

use super::support::feed::ScriptedFeed;
use super::support::minutes::FIRST_MINUTE;
use super::support::process::{Daemon, run};
use super::support::runtime;

const LEVELS: [f64; 3] = [0.05, 0.5, 0.95];

/// How far a share of truths may be from its level, of real bars, and of those that are made up:
/// the median does not adapt, and the share of 1,800 truths has a standard error of 0.012.
const TOLERANCES: [f64; 2] = [0.02, 0.05];

/// The variable that names real bars.
const BARS: &str = "TICKCAST_TEST_BARS";

/// Bars of a minute whose changes are calm for some hours and wild for some.
fn bars(count: usize) -> String {
    let mut random = Random::new(7, Purpose::Order);
    let mut close = 100.0;
    let mut text = "timestamp,close,volume\n".to_owned();
    for minute in 0..count {
        let wild = 1.0 + 0.8 * (minute as f64 / 40.0).sin();
        close *= 1.0 + 0.001 * wild * random.normal();
        let time = UnixNanos::from_nanos((FIRST_MINUTE + minute as i64) * 60_000_000_000);
        text += &format!("{time},{close},{}\n", 1 + minute % 7);
    }
    text
}

/// The configuration of a network over the bars in `folder`.
fn configured(folder: &Path, more: &str) -> String {
    format!(
        "[model]\nname = 'bars'\nroot = '{0}/models'\n\
         [data]\npath = '{0}/bars.csv'\ncolumns = 'time=timestamp,close=close,volume=volume'\n\
         symbol = 'BARS'\njump_max = 0\n\
         [step]\ninterval_seconds = 60\n\
         [window]\nsteps = 12\nfeatures = ['log_return', 'absolute_return', 'volatility(15)']\n\
         scaler = 'standard'\n\
         [network]\nlstm = [{{ units = 8 }}]\ndense = [{{ units = 1, activation = 'linear' }}]\n\
         {more}[report]\nfolder = ''\n",
        folder.display()
    )
}

/// A network that is fitted to bars, and its bundle.
struct Model {
    folder: TempDir,
    trained: Trained,
    bundle: Bundle,
}

impl Model {
    fn fit(bars: &str, epochs: usize, more: &str) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("bars.csv"), bars).unwrap();
        let fit = format!(
            "[fit]\nepochs_max = {epochs}\npatience = 3\nlearning_rate = 0.003\n\
             work = '{}/work'\n",
            folder.path().display()
        );
        let path = folder.path().join("train.toml");
        fs::write(&path, configured(folder.path(), more) + &fit).unwrap();
        let job = Job::prepare(config::load(&path).unwrap()).unwrap();
        let trained = job.run_once(1, &mut |_| ControlFlow::Continue(())).unwrap();
        let sealed = trained.clone().seal(&folder.path().join("models"), runtime()).unwrap();
        let bundle = Bundle::read(&sealed).unwrap();
        Self { folder, trained, bundle }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Replays the bars, with these further keys of the configuration, and gives the lines of the
    /// forecasts and of the scores.
    fn replay(&self, name: &str, more: &str, options: &[&str]) -> [String; 2] {
        let settings = format!(
            "source.url = 'ws://127.0.0.1:1'\n\
             model.root = '{}'\nmodel.name = 'bars'\n{more}",
            self.path("models")
        );
        let [configuration, forecasts, scores] =
            ["toml", "jsonl", "scores.jsonl"].map(|end| self.path(&format!("{name}.{end}")));
        fs::write(&configuration, settings).unwrap();
        let columns = "time=timestamp,close=close,volume=volume";
        let input = self.path("bars.csv");
        let fixed = ["replay", "-c", &configuration, "--input", &input, "--columns", columns];
        let files = ["--symbol", "BARS", "--output", &forecasts, "--scores", &scores];
        let output = run(&[&fixed[..], &files, options].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        [forecasts, scores].map(|path| fs::read_to_string(path).unwrap())
    }
}

const TWO: &str = "output = 'quantiles'\n[target]\nhorizon_steps = [1, 5]\n\
    [forecast]\nbuy_above = 0.002\nsell_below = -0.002\n";

#[test]
fn a_model_of_two_horizons_is_trained_replayed_scored_and_drawn() {
    let model = Model::fit(&bars(1500), 4, TWO);
    let manifest = model.bundle.manifest();
    let [first, further] = &manifest.outputs[..] else { panic!("{:?}", manifest.outputs) };
    assert_eq!(
        (first.columns.as_slice(), further.columns.as_slice()),
        (&[0, 1, 2][..], &[3, 4, 5][..])
    );
    assert_eq!((first.horizon_steps, further.horizon_steps), (1, 5));
    assert_eq!(manifest.graph.columns.map(|columns| (columns.value, columns.count)), Some((1, 6)));
    let is_whole = |case: &GoldenCase| case.outputs.iter().all(|row| row.len() == 6);
    assert!(model.bundle.golden().cases.iter().all(is_whole));
    let test = |evaluation: &[Evaluation]| {
        let test = evaluation.iter().find(|part| part.part == "test").unwrap();
        assert_eq!(test.quantiles.iter().map(|of| of.level).collect::<Vec<_>>(), LEVELS);
        test.forecasts
    };
    assert_eq!(test(&manifest.evaluation), test(&further.evaluation));
    // Errors over five steps are larger than over one.
    let [near, far] = [&manifest.evaluation, &further.evaluation]
        .map(|evaluation| evaluation[1].root_mean_squared_error);
    assert!(far > 1.5 * near, "{near} and {far}");

    let [page, figures] = ["report.html", "report.json"].map(|name| model.path(name));
    let options = ["--report", &*page, "--report", &figures];
    let [forecasts, scores] = model.replay("sliding", "", &options);
    let said: Vec<ForecastRecord<'_>> =
        forecasts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // 1500 bars without the fifteen changes of the volatility and the first rows of a window.
    assert_eq!(said.len(), 2 * (1500 - 15 - 11));
    let mut by_id = BTreeMap::new();
    for pair in said.chunks(2) {
        let [five, one] = pair else { panic!("an odd forecast") };
        assert_eq!((five.horizon_steps, one.horizon_steps), (Some(5), Some(1)));
        assert_eq!(five.as_of, one.as_of);
        let ahead = |record: &ForecastRecord<'_>| record.target_time.since(record.as_of).unwrap();
        assert_eq!(ahead(five).as_nanos(), 5 * ahead(one).as_nanos());
        for record in pair {
            let quantiles = record.quantiles.as_ref().unwrap();
            assert_eq!(quantiles.iter().map(|pair| pair[0]).collect::<Vec<_>>(), LEVELS);
            assert!(quantiles.windows(2).all(|pair| pair[0][1] <= pair[1][1]), "{quantiles:?}");
            assert_eq!(quantiles[1][1].to_bits(), record.value.to_bits());
            assert!(by_id.insert(record.id.to_string(), record).is_none(), "an id comes twice");
        }
    }
    let closes = closes(&model);
    let mut counts = [0; 2];
    for line in scores.lines() {
        let score: ScoreRecord<'_> = serde_json::from_str(line).unwrap();
        let forecast = by_id[&*score.id];
        let steps = score.horizon_steps.unwrap();
        counts[usize::from(steps == 5)] += 1;
        assert_eq!(forecast.horizon_steps, Some(steps));
        let [now, later] = [score.as_of, score.target_time].map(|at| closes[&at]);
        assert_eq!(score.truth, later / now - 1.0);
        let quantiles = forecast.quantiles.as_ref().unwrap();
        for (of_score, [level, value]) in score.quantile_scores.unwrap().iter().zip(quantiles) {
            assert_eq!((of_score.level, of_score.value), (*level, *value));
            assert_eq!(of_score.loss, pinball(*level, *value, score.truth));
        }
        assert_eq!(score.covered, (score.lower..=score.upper).contains(&score.truth));
    }
    assert_eq!(counts, [said.len() / 2 - 1, said.len() / 2 - 5]);

    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("Horizons and quantiles") && html.contains("5 steps ahead"));
    let figures: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&figures).unwrap()).unwrap();
    let horizons: Vec<_> = figures[0]["outputs"].as_array().unwrap().iter().collect();
    assert_eq!(
        horizons.iter().map(|of| of["horizon_steps"].as_u64()).collect::<Vec<_>>(),
        [Some(1), Some(5)]
    );
    assert_eq!(figures[0]["forecasts"], said.len() / 2, "those of the first output");

    // The whole window at once gives the same bytes, and the native runtime the same values.
    let [full, _] = model.replay("full", "model.mode = 'full'\n", &[]);
    assert_eq!(full.replace("\"mode\":\"full\"", "\"mode\":\"sliding\""), forecasts);
    let [native, _] = model.replay("native", "engine.runtime = 'native'\n", &[]);
    for (one, other) in said.iter().zip(native.lines()) {
        let other: ForecastRecord<'_> = serde_json::from_str(other).unwrap();
        let [one, other] = [one, &other].map(|record| record.quantiles.as_ref().unwrap());
        for (one, other) in one.iter().zip(other) {
            assert!((one[1] - other[1]).abs() < 1e-5, "{one:?} and {other:?}");
        }
    }
}

/// The close of each bar.
fn closes(model: &Model) -> BTreeMap<UnixNanos, f64> {
    let text = fs::read_to_string(model.path("bars.csv")).unwrap();
    let bar = |line: &str| {
        let mut cells = line.split(',');
        let time = UnixNanos::parse(cells.next().unwrap()).unwrap();
        (time, cells.next().unwrap().parse().unwrap())
    };
    text.lines().skip(1).map(bar).collect()
}

/// The trainer's rows of columns are what the daemon reads: coverage and losses of the manifest are
/// those of the forecasts that nothing has adapted.
#[test]
fn the_figures_of_the_trainer_are_those_of_a_replay_that_adapts_nothing() {
    for output in ["quantiles", "gaussian", "student_t"] {
        let more = TWO.replace("quantiles", output);
        let model = Model::fit(&bars(1200), 2, &more);
        let [_, scores] = model.replay("bundle", "forecast.intervals = 'bundle'\n", &[]);
        let manifest = model.bundle.manifest();
        let parts = [&manifest.evaluation, &manifest.outputs[1].evaluation];
        for (steps, evaluation) in [1, 5].into_iter().zip(parts) {
            let figures = evaluation.iter().find(|part| part.part == "test").unwrap();
            let (mut count, mut held) = (0_u32, 0.0);
            let mut sums = [[0.0; 2]; LEVELS.len()];
            for line in scores.lines() {
                let score: ScoreRecord<'_> = serde_json::from_str(line).unwrap();
                let is_in = (figures.from..=figures.to).contains(&score.as_of);
                if score.horizon_steps != Some(steps) || !is_in {
                    continue;
                }
                count += 1;
                held += f64::from(u8::from(score.covered));
                for (sum, of) in sums.iter_mut().zip(score.quantile_scores.unwrap()) {
                    sum[0] += f64::from(u8::from(score.truth <= of.value));
                    sum[1] += of.loss;
                }
            }
            assert_eq!(count, figures.forecasts);
            let close = |one: f64, other: f64| (one - other).abs() < 1e-3 * other.abs().max(1e-4);
            let share = |sum: f64| sum / f64::from(count);
            assert!(close(share(held), figures.interval_coverage), "{steps}: {held} {figures:?}");
            for (sum, of) in sums.iter().zip(&figures.quantiles) {
                assert!(close(share(sum[0]), of.coverage), "{steps}: {sum:?} {of:?}");
                assert!(close(share(sum[1]), of.mean_loss), "{steps}: {sum:?} {of:?}");
            }
        }
    }
}

/// Ticks of the bars through an engine, with a rest after every `rest` of them.
fn live(model: &Model, runtime: &dyn Runtime, rest: Option<usize>) -> (Vec<Forecast>, Vec<Score>) {
    let bundle = &model.bundle;
    let limits = EngineLimits { symbols_max: 4, batch_rows_max: 8 };
    let fresh = || {
        let backend = bundle.open(runtime).unwrap();
        let plans = bundle.plans().clone();
        let mut engine =
            Engine::new(plans, Mode::Sliding, bundle.signature(), backend, limits).unwrap();
        engine.scores_mut().keep();
        engine
    };
    let codec = StateCodec::new(bundle.manifest(), Mode::Sliding);
    let mut engine = fresh();
    let (mut forecasts, mut scores) = (Vec::new(), Vec::new());
    for (at, (time, close)) in closes(model).into_iter().take(300).enumerate() {
        let mut fields = Fields::EMPTY;
        fields.set_checked(Field::CLOSE, close).unwrap();
        let tick = Tick { symbol: "BARS".into(), time, fields };
        engine.push(&tick, None);
        engine.infer(Haste::Throughput, &mut forecasts).unwrap();
        scores.extend(engine.scores_mut().take());
        if rest.is_some_and(|rest| at % rest == rest - 1) {
            let states: Vec<_> = engine
                .snapshot()
                .iter()
                .map(|state| codec.decode(&codec.encode(state)).unwrap())
                .collect();
            engine = fresh();
            assert!(engine.restore(&states, None).unwrap().is_empty());
        }
    }
    (forecasts, scores)
}

#[test]
fn a_restart_changes_no_forecast_and_no_score_of_any_output() {
    let model = Model::fit(&bars(600), 1, TWO);
    let expected = live(&model, runtime(), None);
    assert!(expected.0.len() > 400 && expected.1.len() > 400);
    for output in [0, 1] {
        let of = expected.1.iter().filter(|score| score.output == output);
        assert!(of.count() > 200, "scores of output {output}");
    }
    for rest in [1, 7, 50] {
        assert_eq!(live(&model, runtime(), Some(rest)), expected, "after every {rest}");
    }
    let native = live(&model, &NativeRuntime::new(), None);
    assert_eq!(native.0.len(), expected.0.len());
}

/// Bars to be forecast: those of the variable, or such as are made up.
fn given() -> String {
    std::env::var(BARS).map_or_else(
        |_| bars(9000),
        |path| {
            let text = fs::read_to_string(path).unwrap();
            let mut lines = text.lines();
            let head: Vec<&str> = lines.next().unwrap().split(',').collect();
            let place = |name| head.iter().position(|column| *column == name).unwrap();
            let [time, close, volume] = ["timestamp", "close", "volume"].map(place);
            let bar = |line: &str| {
                let cells: Vec<&str> = line.split(',').collect();
                let time = cells[time].replace(' ', "T");
                let time = UnixNanos::parse(&time)
                    .or_else(|_| UnixNanos::parse(&format!("{time}Z")))
                    .unwrap();
                format!("{time},{},{}\n", cells[close], cells[volume])
            };
            "timestamp,close,volume\n".to_owned() + &lines.map(bar).collect::<String>()
        },
    )
}

#[test]
fn quantiles_hold_their_share_of_what_the_model_has_not_seen() {
    let tolerance = TOLERANCES[usize::from(std::env::var(BARS).is_err())];
    let model = Model::fit(&given(), 6, TWO);
    for (at, output) in ["first", "further"].into_iter().enumerate() {
        let figures = match at {
            0 => model.trained.assessment.test.figures.clone(),
            _ => model.trained.assessment.further[0].evaluation[1].clone(),
        };
        println!("{output}: of the network alone {:?}", figures.quantiles);
    }
    let [_, scores] = model.replay("adaptive", "", &[]);
    for steps in [1, 5] {
        let (mut count, mut held) = (0_u32, 0_u32);
        let mut below = [0_u32; LEVELS.len()];
        for line in scores.lines() {
            let score: ScoreRecord<'_> = serde_json::from_str(line).unwrap();
            if score.horizon_steps != Some(steps) || score.evidence != Evidence::Unseen {
                continue;
            }
            count += 1;
            held += u32::from(score.covered);
            for (below, of) in below.iter_mut().zip(score.quantile_scores.unwrap()) {
                *below += u32::from(score.truth <= of.value);
            }
        }
        let share = |part: u32| f64::from(part) / f64::from(count);
        let below = below.map(share);
        println!("{steps} ahead, {count} scores: at or below {below:?}, held {}", share(held));
        for (level, below) in LEVELS.iter().zip(below) {
            assert!((below - level).abs() <= tolerance, "{steps} ahead, {level}: {below}");
        }
        assert!((share(held) - 0.9).abs() <= tolerance, "{steps} ahead: {}", share(held));
    }
}

/// A daemon publishes the bytes of a replay, keeps the record of the first output as the newest of
/// its symbol, and shows what each output is worth.
#[test]
fn a_daemon_serves_and_scores_every_output() {
    let model = Model::fit(&bars(300), 1, TWO);
    let [replayed, _] = model.replay("replay", "", &[]);
    let feed = ScriptedFeed::start();
    let daemon = Daemon::start(&model.folder.path().join("models"), "bars", feed.url(), "");
    for (time, close) in closes(&model) {
        let millis = time.as_nanos() / 1_000_000;
        feed.say(format!(r#"{{"symbol":"BARS","time":{millis},"close":{close:?},"volume":1}}"#));
    }
    let steps = replayed.lines().count() / 2;
    daemon.await_metric("tickcast_forecasts_total", steps as f64);
    assert_eq!(daemon.metric("tickcast_output_forecasts_total"), steps as f64);
    for path in ["/v1/forecasts/BARS", "/v1/scores/BARS"] {
        let (status, body) = daemon.get(path);
        assert_eq!(status, 200, "{body}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let record = body.get("record").unwrap_or(&body);
        assert_eq!(record["horizon_steps"], 1, "{body}");
    }
    let metrics = daemon.metrics();
    for steps in [1, 5] {
        let of = |name: &str, more: &str| {
            let series = format!(r#"{name}{{horizon_steps="{steps}"{more},model="bars"}}"#);
            *metrics.get(&series).unwrap_or_else(|| panic!("no {series}"))
        };
        assert!(of("tickcast_output_skill", "").is_finite());
        let shares = LEVELS
            .map(|level| of("tickcast_quantile_coverage_ratio", &format!(r#",level="{level}""#)));
        assert!(shares.is_sorted() && shares[0] < 0.3 && shares[2] > 0.7, "{shares:?}");
    }
    let ended = daemon.stop();
    assert_eq!(ended.lines, replayed);
}
