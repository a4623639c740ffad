//! Inputs that leave the distribution of the training: on recorded days with faults put into them,
//! in a replay, and in the daemon.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tickcast::core::domain::{Evidence, Fields, Tick, UnixNanos};
use tickcast::engine::model::Bundle;
use tickcast::engine::model::manifest::Mode;
use tickcast::engine::symbols::{Engine, EngineLimits, Haste, Pushed, SymbolSnapshot};
use tickcast::engine::wire::forecast::ForecastRecord;
use tickcast::engine::wire::score::ScoreRecord;

use crate::support::bundle::{SealedBundle, distribution, sealed_with};
use crate::support::feed::ScriptedFeed;
use crate::support::process::{Daemon, run};
use crate::support::{repository, runtime};

/// Steps between two places at which a fault is put into a series.
const PLACE_STEPS: usize = 300;

/// For how many steps a fault is looked for.
const FAULT_STEPS: usize = 200;

/// The recorded stock days.
fn stocks() -> PathBuf {
    let path = std::env::var_os("TICKCAST_TEST_DATA").map(PathBuf::from);
    path.unwrap_or_else(|| repository().join(".cache/data/stocks.csv"))
}

/// The recorded weather, which lies beside them.
fn weather() -> PathBuf {
    repository().join(".cache/data/seattle-weather.csv")
}

/// A bundle that ships.
fn shipped(model: &str) -> Bundle {
    Bundle::read(&repository().join("models").join(model).join("1")).unwrap()
}

/// One recorded day.
#[derive(Clone, Debug)]
struct Day {
    time: UnixNanos,
    fields: BTreeMap<String, f64>,
}

impl Day {
    fn get(&self, field: &str) -> f64 {
        self.fields[field]
    }

    fn set(&mut self, field: &str, value: f64) {
        self.fields.insert(field.to_owned(), value);
    }

    fn scale(&mut self, fields: &[&str], factor: f64) {
        for field in fields {
            self.set(field, factor * self.get(field));
        }
    }
}

/// The days of every symbol of a table, by these columns: of the symbol, of the time, and each
/// field with its column.
fn series(
    path: &Path,
    symbol: Option<&str>,
    time: &str,
    fields: &[(&str, &str)],
) -> BTreeMap<String, Vec<Day>> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let column = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let symbol = symbol.map(column);
    let mut series: BTreeMap<String, Vec<Day>> = BTreeMap::new();
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |(field, name): &(&str, &str)| {
            ((*field).to_owned(), cells[column(name)].parse::<f64>().unwrap())
        };
        let time = UnixNanos::parse(&cells[column(time)].replace('/', "-")).unwrap();
        let day = Day { time, fields: fields.iter().map(number).collect() };
        let name = symbol.map_or("SEATTLE", |symbol| cells[symbol]);
        series.entry(name.to_owned()).or_default().push(day);
    }
    series.values_mut().for_each(|days| days.sort_by_key(|day| day.time));
    series
}

/// What a forecast says beside its value.
#[derive(Clone, Copy, Debug)]
struct Said {
    evidence: Evidence,
    shifted: Option<bool>,
    drift: bool,
}

/// A model that takes days of one symbol after the other.
struct Driven {
    engine: Engine,
}

impl Driven {
    fn new(bundle: &Bundle) -> Self {
        let backend = bundle.open(runtime()).unwrap();
        let limits = EngineLimits { symbols_max: 1, batch_rows_max: 32 };
        let mode = bundle.manifest().modes.iter().find(|mode| **mode != Mode::Full);
        let mode = mode.copied().unwrap_or(Mode::Full);
        let plans = bundle.plans().clone();
        let engine = Engine::new(plans, mode, bundle.signature(), backend, limits).unwrap();
        Self { engine }
    }

    /// Begins with nothing, or with a state.
    fn begin(&mut self, state: Option<&SymbolSnapshot>) {
        self.engine.clear();
        let states: Vec<SymbolSnapshot> = state.into_iter().cloned().collect();
        assert!(self.engine.restore(&states, None).unwrap().is_empty());
    }

    /// Takes a day; `None` where it gives no forecast.
    fn take(&mut self, symbol: &str, day: &Day) -> Option<Said> {
        let schema = self.engine.features().raw().schema().clone();
        let mut fields = Fields::EMPTY;
        for (name, value) in &day.fields {
            if let Some(field) = schema.field(name) {
                fields.set_checked(field, *value).unwrap();
            }
        }
        let tick = Tick { symbol: symbol.into(), time: day.time, fields };
        let pushed = self.engine.push(&tick, None);
        assert!(matches!(pushed, Pushed::Taken), "{symbol} at {}: {pushed:?}", day.time);
        let mut forecasts = Vec::new();
        self.engine.infer(Haste::Throughput, &mut forecasts).unwrap();
        let forecast = forecasts.pop()?;
        let (evidence, drift) = (forecast.evidence, forecast.drift);
        Some(Said { evidence, shifted: forecast.shift.is_shifted(), drift })
    }
}

/// What a fault does to the days from a place on.
type Fault = fn(days: &mut [Day], from: usize);

/// Multiplies what the price moves by from day to day, and within a day.
fn magnify(days: &mut [Day], from: usize, factor: f64, more: f64) {
    let before: Vec<f64> = days.iter().map(|day| day.get("close")).collect();
    for at in from..days.len() {
        let moved = factor * (before[at] / before[at - 1]).ln() + more;
        let close = days[at - 1].get("close") * moved.exp();
        let day = &mut days[at];
        let range = factor * (day.get("high") / day.get("low")).ln();
        day.set("close", close);
        day.set("low", close);
        day.set("high", close * range.exp());
    }
}

fn stuck(days: &mut [Day], from: usize, fields: &[&str]) {
    let before = days[from - 1].clone();
    for day in &mut days[from..] {
        fields.iter().for_each(|field| day.set(field, before.get(field)));
    }
}

fn scaled(days: &mut [Day], from: usize, fields: &[&str], factor: f64) {
    days[from..].iter_mut().for_each(|day| day.scale(fields, factor));
}

const PRICES: [&str; 3] = ["close", "high", "low"];

/// A standard deviation of the recorded daily returns.
const RETURN_DEVIATION: f64 = 0.024;

const STOCK_FAULTS: [(&str, Fault); 8] = [
    ("moves of the price x2", |days, from| magnify(days, from, 2.0, 0.0)),
    ("moves of the price x3", |days, from| magnify(days, from, 3.0, 0.0)),
    ("returns + 1 deviation", |days, from| magnify(days, from, 1.0, RETURN_DEVIATION)),
    ("price stuck", |days, from| {
        stuck(days, from, &["close"]);
        for day in &mut days[from..] {
            let close = day.get("close");
            day.set("high", close);
            day.set("low", close);
        }
    }),
    ("price in cents", |days, from| scaled(days, from, &PRICES, 100.0)),
    ("volume x3", |days, from| scaled(days, from, &["volume"], 3.0)),
    ("volume stuck", |days, from| stuck(days, from, &["volume"])),
    ("volume in hundreds", |days, from| scaled(days, from, &["volume"], 0.01)),
];

const TEMPERATURES: [&str; 2] = ["temp_max", "temp_min"];

const WEATHER_FAULTS: [(&str, Fault); 6] = [
    ("rain x2", |days, from| scaled(days, from, &["precipitation"], 2.0)),
    ("rain x3", |days, from| scaled(days, from, &["precipitation"], 3.0)),
    ("temperatures + 5", |days, from| {
        for day in &mut days[from..] {
            TEMPERATURES.iter().for_each(|field| day.set(field, day.get(field) + 5.0));
        }
    }),
    ("temperatures in F", |days, from| {
        for day in &mut days[from..] {
            TEMPERATURES.iter().for_each(|field| day.set(field, day.get(field) * 1.8 + 32.0));
        }
    }),
    ("wind stuck", |days, from| stuck(days, from, &["wind"])),
    ("wind in km/h", |days, from| scaled(days, from, &["wind"], 3.6)),
];

/// Steps from a fault to its mark; at how many places it was not marked before, and the delays of
/// those at which it was found.
#[derive(Default)]
struct Delays {
    places: usize,
    found: Vec<usize>,
}

impl Delays {
    fn add(&mut self, delay: Option<usize>) {
        self.places += 1;
        self.found.extend(delay);
        self.found.sort_unstable();
    }

    fn median(&self) -> Option<usize> {
        self.found.get(self.found.len() / 2).copied()
    }

    fn words(&self) -> String {
        let steps = |steps: Option<usize>| steps.map_or("-".to_owned(), |steps| steps.to_string());
        let most = steps(self.found.last().copied());
        let (found, places) = (self.found.len(), self.places);
        format!("{found:3} of {places:3} {:>6} {most:>5}", steps(self.median()))
    }
}

/// Marks without a fault, by evidence: steps, and those with the mark of the inputs and of the
/// errors; and how often each mark began.
type Quiet = BTreeMap<&'static str, [usize; 5]>;

fn note(quiet: &mut Quiet, said: Said, before: Option<Said>) {
    let [steps, shifted, drift, shifts, drifts] = quiet.entry(said.evidence.label()).or_default();
    let is_shifted = |said: Said| said.shifted == Some(true);
    *steps += 1;
    *shifted += usize::from(is_shifted(said));
    *drift += usize::from(said.drift);
    *shifts += usize::from(is_shifted(said) && !before.is_some_and(is_shifted));
    *drifts += usize::from(said.drift && !before.is_some_and(|before| before.drift));
}

/// What came of the faults of one model, by name: the marks of inputs and of errors.
fn delays(
    model: &str,
    series: &BTreeMap<String, Vec<Day>>,
    faults: &[(&'static str, Fault)],
) -> (BTreeMap<&'static str, [Delays; 2]>, Quiet) {
    let bundle = shipped(model);
    let mut driven = Driven::new(&bundle);
    let (mut found, mut quiet) = (BTreeMap::<_, [Delays; 2]>::new(), Quiet::new());
    for (symbol, days) in series {
        let (mut places, mut before) = (Vec::new(), None);
        driven.begin(None);
        for (at, day) in days.iter().enumerate() {
            if at > 0 && at % PLACE_STEPS == 0 && at + FAULT_STEPS <= days.len() {
                places.push((at, before, driven.engine.snapshot().remove(0)));
            }
            let said = driven.take(symbol, day);
            said.into_iter().for_each(|said| note(&mut quiet, said, before));
            before = said;
        }
        for (at, before, state) in &places {
            let Some(before) = before else { continue };
            for (name, fault) in faults {
                let mut faulty = days[..at + FAULT_STEPS].to_vec();
                fault(&mut faulty, *at);
                driven.begin(Some(state));
                let said: Vec<_> = faulty[*at..].iter().map(|d| driven.take(symbol, d)).collect();
                let first = |is_marked: fn(&Said) -> bool| {
                    let place = said.iter().position(|said| said.as_ref().is_some_and(is_marked));
                    place.map(|place| place + 1)
                };
                let [of_inputs, of_errors] = found.entry(*name).or_default();
                if before.shifted == Some(false) {
                    of_inputs.add(first(|said| said.shifted == Some(true)));
                }
                if !before.drift {
                    of_errors.add(first(|said| said.drift));
                }
            }
        }
    }
    (found, quiet)
}

/// Prints what `docs/drift.md` says of recorded days:
/// `cargo test --test it shift_is_marked -- --nocapture`.
#[test]
fn shift_is_marked_on_recorded_days() {
    let columns = [("close", "Adj Close"), ("high", "High"), ("low", "Low"), ("volume", "Volume")];
    let mut stocks = series(&stocks(), Some("Ticker"), "Date", &columns);
    stocks.retain(|symbol, _| ["AAPL", "IBM", "MSFT"].contains(&symbol.as_str()));
    let aapl: BTreeMap<_, _> = stocks.clone().into_iter().filter(|(s, _)| s == "AAPL").collect();
    let names = ["precipitation", "temp_max", "temp_min", "wind"].map(|name| (name, name));
    let weather = series(&weather(), None, "date", &names);
    let mut all = BTreeMap::new();
    for (model, series, faults) in [
        ("aapl-daily", &aapl, &STOCK_FAULTS[..]),
        ("stocks-volatility", &stocks, &STOCK_FAULTS[..]),
        ("seattle-rain", &weather, &WEATHER_FAULTS[..]),
    ] {
        let (found, quiet) = delays(model, series, faults);
        println!("\n{model}: without a fault, of 1,000 steps");
        println!(
            "{:12} {:>6}  {:>7} {:>7}  {:>7} {:>7}",
            "", "steps", "shifted", "began", "drift", "began"
        );
        for (evidence, [steps, shifted, drift, shifts, drifts]) in &quiet {
            let share = |count: &usize| 1000.0 * *count as f64 / *steps as f64;
            println!(
                "{evidence:12} {steps:6}  {:7.1} {:7.1}  {:7.1} {:7.1}",
                share(shifted),
                share(shifts),
                share(drift),
                share(drifts)
            );
        }
        println!("{:24} inputs: found  median  most   errors: found  median  most", "fault");
        for (name, _) in faults {
            let [of_inputs, of_errors] = &found[name];
            println!("{name:24} {}     {}", of_inputs.words(), of_errors.words());
        }
        let training = quiet["training"];
        assert_eq!(training[1], 0, "{model}: no stretch of the training is beyond its own limit");
        all.insert(model, found);
    }
    // Found at every place: by the inputs, or by the errors where inputs look like a storm that the
    // training has had.
    const INPUTS: usize = 0;
    const ERRORS: usize = 1;
    for (model, fault, by, most) in [
        ("aapl-daily", "price in cents", INPUTS, 80),
        ("aapl-daily", "volume in hundreds", INPUTS, 60),
        ("stocks-volatility", "price stuck", INPUTS, 60),
        ("stocks-volatility", "volume stuck", INPUTS, 50),
        ("stocks-volatility", "moves of the price x3", ERRORS, 150),
        ("seattle-rain", "temperatures in F", INPUTS, 30),
        ("seattle-rain", "wind in km/h", INPUTS, 20),
    ] {
        let Delays { places, found } = &all[model][fault][by];
        assert!(*places > 0 && found.len() == *places, "{model}: {fault}");
        assert!(found.last() <= Some(&most), "{model}: {fault}: {found:?}");
    }
}

/// What `TICKCAST_TEST_WRITE=1` writes and every other run compares: the bundles that ship have
/// exactly the distribution that the trainer makes of the recorded data.
#[cfg(feature = "train")]
#[test]
fn the_bundles_that_ship_have_the_distribution_of_their_training() {
    use tickcast::engine::model::manifest::Manifest;
    use tickcast::train::config;
    use tickcast::train::job::Job;

    for (model, recipe) in [
        ("aapl-daily", "aapl"),
        ("seattle-rain", "seattle-rain"),
        ("stocks-direction", "stocks-direction"),
        ("stocks-volatility", "stocks-volatility"),
        ("stocks-volatility-carried", "stocks-volatility-carried"),
    ] {
        let recipe = repository().join(format!("config/train/{recipe}.toml"));
        let mut config = config::load(&recipe).unwrap();
        let data = if model == "seattle-rain" { weather() } else { stocks() };
        config.data.path = data;
        let job = Job::prepare(config).unwrap();
        let fitted = job.dataset().distribution.clone();
        let path = repository().join("models").join(model).join("1/manifest.json");
        let mut manifest: Manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(manifest.scaler, job.dataset().scaler, "{model}: another history");
        let writes = std::env::var("TICKCAST_TEST_WRITE").is_ok_and(|value| value == "1");
        if writes && manifest.distribution != fitted {
            manifest.distribution = fitted.clone();
            let text = serde_json::to_string_pretty(&manifest).unwrap() + "\n";
            fs::write(&path, text).unwrap();
        }
        assert!(fitted.is_some() && manifest.distribution == fitted, "{model}: set by the test");
    }
}

/// Days with a price around 100, which is half as high again from day 60 on.
const DAYS: u32 = 160;
const FAULT_DAY: u32 = 60;

fn recording() -> Vec<String> {
    let tick = |day: u32| {
        let factor = if day < FAULT_DAY { 1.0 } else { 1.5 };
        let close = factor * (100.0 + 30.0 * (f64::from(day) * 1.7).sin());
        let time = i64::from(day) * 86_400_000;
        format!(r#"{{"symbol":"A","time":{time},"close":{close},"volume":{day}}}"#)
    };
    (0..DAYS).map(tick).collect()
}

/// A model that judges its price alone.
fn judging() -> SealedBundle {
    sealed_with(11, 4, &[8], |draft| draft.manifest.distribution = Some(distribution()))
}

/// The lines of forecasts and of scores that a replay writes.
fn replay(sealed: &SealedBundle, settings: &str) -> [Vec<String>; 2] {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("ticks.jsonl"), recording().join("\n")).unwrap();
    let root = sealed.root.path().display();
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{root}'\nmodel.name = 'random'\n{settings}"
    );
    fs::write(path("tickcast.toml"), config).unwrap();
    let [config, input] = ["tickcast.toml", "ticks.jsonl"].map(path);
    let [output, scores] = ["forecasts.jsonl", "scores.jsonl"].map(path);
    let arguments =
        ["replay", "-c", &config, "--input", &input, "--output", &output, "--scores", &scores];
    let ended = run(&arguments);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    [output, scores]
        .map(|path| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect())
}

fn is_shifted(line: &str) -> Option<bool> {
    let forecast: ForecastRecord<'_> = serde_json::from_str(line).unwrap();
    assert_eq!(forecast.shift.is_some(), forecast.shifted == Some(true), "{line}");
    if let Some(shift) = forecast.shift {
        assert_eq!(shift.feature, "close");
        assert!(shift.psi > 1.0, "{line}");
    }
    forecast.shifted
}

#[test]
fn shifted_forecasts_are_marked_or_withheld_as_the_configuration_says() {
    let sealed = judging();
    let [marked, scores] = replay(&sealed, "");
    let marks: Vec<_> = marked.iter().map(|line| is_shifted(line)).collect();
    let first = marks.iter().position(|mark| *mark == Some(true)).unwrap();
    assert!(first > 50 && marks[..first].iter().all(|mark| *mark == Some(false)));
    assert!(marks[first..].iter().all(|mark| *mark == Some(true)));
    // The score of a forecast says what was known before its truth.
    assert_eq!(scores.len(), marked.len() - 1);
    for (score, mark) in scores.iter().zip(&marks) {
        assert_eq!(serde_json::from_str::<ScoreRecord<'_>>(score).unwrap().shifted, *mark);
    }
    let [said, _] = replay(&sealed, "forecast.when_shifted = 'withhold'\n");
    assert_eq!(said, marked[..first], "the others are withheld, and these are the same");

    let feed = ScriptedFeed::start();
    let settings = "forecast.when_shifted = 'withhold'\n";
    let daemon = Daemon::start(sealed.root.path(), "random", feed.url(), settings);
    recording().into_iter().for_each(|record| feed.say(record));
    let withheld = r#"tickcast_forecasts_withheld_total{reason="shifted"}"#;
    daemon.await_metric(withheld, (marked.len() - first) as f64);
    let metrics = daemon.metrics();
    assert!(daemon.stop().status.success());
    let of = |name: &str, feature: &str| {
        metrics[&format!(r#"tickcast_shift_{name}{{feature="{feature}",model="random"}}"#)]
    };
    assert_eq!(metrics["tickcast_forecasts_total"], first as f64);
    assert_eq!(metrics["tickcast_shifts_total"], 1.0);
    assert_eq!(metrics["tickcast_shift_symbols"], 1.0);
    assert!(of("psi", "close") > 1.0 && of("psi", "change") < 99.0);
    assert_eq!((of("limit_psi", "close"), of("limit_psi", "volume")), (1.0, 99.0));
    assert_eq!((of("feature_symbols", "close"), of("feature_symbols", "volume")), (1.0, 0.0));
}

#[test]
fn check_and_inspect_say_whether_inputs_are_judged() {
    let words = |sealed: &SealedBundle| {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("tickcast.toml").display().to_string();
        let root = sealed.root.path().display();
        let text = format!(
            "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{root}'\nmodel.name = 'random'\n"
        );
        fs::write(&config, text).unwrap();
        let bundle = sealed.folder.display().to_string();
        let said = [run(&["check", "-c", &config]), run(&["model", "inspect", &bundle])];
        said.map(|ended| {
            assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
            String::from_utf8(ended.stdout).unwrap()
        })
    };
    for said in words(&judging()) {
        assert!(said.contains("inputs"), "{said}");
        assert!(said.contains("compared with 300 rows of the training, 1970-01-01"), "{said}");
    }
    for said in words(&sealed_with(11, 4, &[8], |_| {})) {
        assert!(said.contains("not compared with the training: the bundle has no"), "{said}");
    }
}
