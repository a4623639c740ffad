//! Times that cannot be right, steps at another spacing than the model's, and days without steps.

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use tickcast::app::config;
use tickcast::engine::model::manifest::{CalendarSpec, StepSpec, Weekday};
use tickcast::engine::pipeline::{Pipeline, Pipelines};
use tickcast::engine::symbols::Haste;

use crate::support::bundle::{SealedBundle, sealed_with};
use crate::support::feed::ScriptedFeed;
use crate::support::process::{Daemon, eventually, judge_times, tickcast};
use crate::support::runtime;

/// A bundle of these steps whose windows have two of them.
fn of_steps(step: StepSpec) -> SealedBundle {
    sealed_with(11, 2, &[4], |draft| draft.manifest.step = step)
}

/// The forecasts that a pipeline with these settings makes of ticks at these times.
fn forecasts(
    sealed: &SealedBundle,
    settings: &str,
    times: &[String],
) -> (Pipelines, Vec<serde_json::Value>) {
    let text = format!("source.url = 'ws://127.0.0.1:1'\nmodel.name = 'random'\n{settings}");
    let settings = config::parse(&text).unwrap().pipeline();
    let pipeline = Pipeline::build(&sealed.bundle, runtime(), &settings).unwrap();
    let (mut pipelines, mut lines) = (Pipelines::new(pipeline, &settings), Vec::new());
    let mut flush = |pipeline: &mut Pipeline| {
        pipeline.infer(Haste::Latency).unwrap();
        let emitted = pipeline.emit(|_, line| {
            lines.push(serde_json::from_slice(line).unwrap());
            Ok::<_, Infallible>(())
        });
        emitted.unwrap();
        pipeline.engine_mut().advance().unwrap();
        Ok::<_, Infallible>(())
    };
    for (index, time) in times.iter().enumerate() {
        let price = 100.0 + (index % 7) as f64;
        let record = format!(r#"{{"symbol":"A","time":{time},"close":{price},"volume":1}}"#);
        let refused = pipelines.take(record.as_bytes(), None, None, || {}, &mut flush).unwrap();
        assert_eq!(refused, None, "{record}");
    }
    flush(pipelines.live_mut()).unwrap();
    (pipelines, lines)
}

/// Texts of dates from 2012-07-02 on, a Monday, for which `open` says yes.
fn dates(count: i64, open: impl Fn(&str, i64) -> bool) -> Vec<String> {
    let first = tickcast::core::domain::UnixNanos::parse("2012-07-02").unwrap().as_nanos();
    let day = |index: i64| {
        let nanos = first + index * 86_400_000_000_000;
        tickcast::core::domain::UnixNanos::from_nanos(nanos).to_string()[..10].to_owned()
    };
    let days = (0..count).map(|index| (day(index), index));
    days.filter(|(date, index)| open(date, *index)).map(|(date, _)| format!("\"{date}\"")).collect()
}

fn words(lines: &[serde_json::Value], field: &str) -> Vec<String> {
    lines.iter().map(|line| line[field].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_model_of_days_marks_forecasts_of_seconds() {
    let sealed = of_steps(StepSpec::record(86_400));
    let seconds: Vec<_> =
        (0..20).map(|second| format!("\"2026-03-02T10:00:{second:02}Z\"")).collect();
    let (pipelines, lines) = forecasts(&sealed, "", &seconds);
    assert_eq!(words(&lines, "quality"), ["mistimed"; 18]);
    let tally = pipelines.live().engine().tally();
    assert_eq!((tally.off_cadence, tally.mistimed(), tally.withheld.total()), (19, 19, 0));
    // As it was before: nothing says that the days are seconds.
    let (_, lines) = forecasts(&sealed, "model.cadence = 'as_it_comes'", &seconds);
    assert_eq!(words(&lines, "quality"), ["full"; 18]);
    let (pipelines, lines) = forecasts(&sealed, "engine.withhold = ['mistimed']", &seconds);
    assert_eq!((lines.len(), pipelines.live().engine().tally().withheld.total()), (0, 18));
    // Weekends and holidays are no other spacing.
    let days = dates(60, |date, index| index % 7 < 5 && date != "2012-07-04");
    let (_, lines) = forecasts(&sealed, "", &days);
    assert_eq!(words(&lines, "quality"), vec!["full"; days.len() - 2]);
}

#[test]
fn a_calendar_puts_no_target_on_a_day_without_trading() {
    let holidays = ["2012-09-03", "2012-11-22", "2012-12-25", "2013-01-01"];
    let is_open = |date: &str, index: i64| index % 7 < 5 && !holidays.contains(&date);
    let days = dates(365, is_open);
    let calendar = CalendarSpec {
        weekdays: Weekday::ALL[..5].to_vec(),
        holidays: holidays.map(str::to_owned).to_vec(),
    };
    let with = StepSpec { calendar: Some(calendar), ..StepSpec::record(86_400) };
    let targets = |step: StepSpec| {
        let (_, lines) = forecasts(&of_steps(step), "", &days);
        assert_eq!(lines.len(), days.len() - 2);
        words(&lines, "target_time")
    };
    let is_trading = |target: &String| days.contains(&format!("\"{}\"", &target[..10]));
    let before = targets(StepSpec::record(86_400));
    let after = targets(with.clone());
    let off = |targets: &[String]| {
        // The last target lies behind the history.
        let known = &targets[..targets.len() - 1];
        known.iter().filter(|target| !is_trading(target)).count()
    };
    assert_eq!((off(&before), off(&after)), (55, 0), "of {}", before.len() - 1);
    // Every target is the step that came, so the scores compare what the forecast was about.
    let expected: Vec<_> =
        days[3..].iter().map(|date| format!("{}T00:00:00Z", date.trim_matches('"'))).collect();
    assert_eq!(after[..after.len() - 1], expected);
    let bars = |calendar| {
        let spec = StepSpec { calendar, ..StepSpec::time(86_400) };
        let (_, lines) = forecasts(&of_steps(spec), "", &days);
        words(&lines, "quality")
    };
    // The first bar stands behind a gap. A weekend is none, but to a model that knows no weekend.
    assert!(bars(with.calendar).iter().skip(2).all(|quality| quality == "full"));
    assert!(bars(None).iter().filter(|quality| *quality == "gapped").count() > 50);
}

/// A folder with a configuration for a model and a recording.
struct Desk {
    folder: TempDir,
    sealed: SealedBundle,
}

impl Desk {
    fn new(sealed: SealedBundle, settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'random'\n{settings}",
            sealed.root.path().display()
        );
        fs::write(folder.path().join("tickcast.toml"), text).unwrap();
        Self { folder, sealed }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Exit code, forecasts and words of a command with this configuration.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = tickcast();
        judge_times(&mut command);
        command.args(arguments).arg("-c").arg(self.path("tickcast.toml"));
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// A replay of a table with these days in its column of times.
    fn replay(&self, times: &[&str], options: &[&str]) -> (Option<i32>, String, String) {
        let rows: String = times.iter().map(|time| format!("AAA,{time},100.0,1000\n")).collect();
        let input = self.path("prices.csv");
        fs::write(&input, format!("symbol,time,close,volume\n{rows}")).unwrap();
        let arguments = [&["replay", "--input", input.to_str().unwrap()], options].concat();
        self.run(&arguments)
    }
}

const DAYS_AS_SECONDS: [&str; 5] =
    ["1706659200", "1706745600", "1706832000", "1706918400", "1707004800"];
const DAYS_AS_DIGITS: [&str; 5] = ["20240131", "20240201", "20240202", "20240203", "20240204"];

/// Those of both, read right.
const AS_OF: [&str; 3] = ["2024-02-02T00:00:00Z", "2024-02-03T00:00:00Z", "2024-02-04T00:00:00Z"];

fn as_of(output: &str) -> Vec<String> {
    let lines: Vec<_> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    words(&lines, "as_of")
}

#[test]
fn a_replay_of_times_of_another_unit_ends_with_65_and_says_which() {
    let days = || of_steps(StepSpec::record(86_400));
    let plain = Desk::new(days(), "");
    for (times, words) in [
        (
            DAYS_AS_SECONDS,
            "1970-01-20T18:04:19.2Z from {\"symbol\":\"AAA\",\"time\":1706659200,\"close\":100,\
             \"volume\":1000}; these look like seconds: set time_unit = \"s\"",
        ),
        (DAYS_AS_DIGITS, "these look like dates written as YYYYMMDD: set time_format = \"%Y%m%d\""),
        (["45322", "45323", "45324", "45325", "45326"], "look like day numbers of a spreadsheet"),
        (["1", "2", "3", "4", "5"], "these look like row numbers"),
    ] {
        let (code, output, error) = plain.replay(&times, &[]);
        assert_eq!((code, &*output), (Some(65), ""), "{error}");
        assert!(error.contains(words), "{error}");
        let (code, output, _) = plain.replay(&times, &["--accept-times"]);
        assert_eq!((code, output.lines().count()), (Some(0), 3), "{times:?}");
    }
    let seconds = Desk::new(days(), "source.time_unit = 's'");
    let (code, output, error) = seconds.replay(&DAYS_AS_SECONDS, &[]);
    assert_eq!((code, as_of(&output)), (Some(0), AS_OF.map(str::to_owned).to_vec()), "{error}");
    let digits = Desk::new(days(), "source.time_format = '%Y%m%d'");
    let (code, output, error) = digits.replay(&DAYS_AS_DIGITS, &[]);
    assert_eq!((code, as_of(&output)), (Some(0), AS_OF.map(str::to_owned).to_vec()), "{error}");
    // Really old data, and seconds into a model of days.
    let old = ["1950-01-01", "1950-01-02", "1950-01-03", "1950-01-04", "1950-01-05"];
    assert_eq!(plain.replay(&old, &[]).0, Some(0));
    let ticks = ["2024-02-01T10:00:00Z", "2024-02-01T10:00:01Z", "2024-02-01T10:00:02Z"];
    let (code, _, error) = plain.replay(&ticks, &[]);
    let words = "its steps are 1 s apart, and the model was trained on 86400 s";
    assert!(code == Some(65) && error.contains(words), "{error}");
}

#[test]
fn check_says_the_steps_and_refuses_whole_records_on_a_feed_of_trades() {
    let settings = "source.venue = 'bybit'\nsource.symbols = ['BTCUSDT']\n";
    let of = |step: StepSpec, more: &str| {
        let desk = Desk::new(of_steps(step), &format!("{settings}{more}"));
        desk.run(&["check"])
    };
    let (code, output, error) = of(StepSpec::record(86_400), "");
    assert_eq!((code, &*output), (Some(78), ""));
    let words = "model.cadence: the feed has trades, which come at any time, and the model was \
                 trained on ticks at an interval (every tick is a step, 1 day after the one \
                 before)";
    assert!(error.contains(words), "{error}");
    let (code, output, _) = of(StepSpec::record(86_400), "model.cadence = 'as_it_comes'");
    assert_eq!(code, Some(0));
    assert!(output.contains("\nsteps         every tick is a step, 1 day after the one before\n"));
    let (code, output, _) = of(StepSpec::time(60), "");
    assert!(code == Some(0) && output.contains("\nsteps         bars of 1 minute\n"), "{output}");
}

#[test]
fn a_live_feed_of_another_unit_is_counted_logged_and_seen_in_the_health() {
    let desk = Desk::new(of_steps(StepSpec::record(1)), "");
    let feed = ScriptedFeed::start();
    let models = desk.sealed.root.path();
    let daemon = Daemon::start_with(models, "random", feed.url(), "", judge_times);
    // Seconds, which are read as milliseconds.
    for second in 1_706_659_200..1_706_659_206_i64 {
        let price = 100 + second % 3;
        feed.say(format!(r#"{{"symbol":"A","time":{second},"close":{price},"volume":1}}"#));
    }
    daemon.await_metric("tickcast_forecasts_total", 4.0);
    eventually("A is implausible", || {
        let (_, body) = daemon.get("/v1/symbols?symbols=A");
        let list: serde_json::Value = serde_json::from_str(&body).unwrap();
        let row = &list["symbols"][0];
        (row["health"] == "implausible" && row["quality"] == "mistimed").then_some(())
    });
    let counted = |reason: &str| {
        daemon.metric(&format!(r#"tickcast_times_implausible_total{{reason="{reason}"}}"#))
    };
    assert_eq!((counted("unit"), counted("row_number"), counted("cadence")), (6.0, 0.0, 5.0));
    let mistimed = daemon.metric(r#"tickcast_forecast_qualities_total{quality="mistimed"}"#);
    assert_eq!(mistimed, 4.0);
    assert_eq!(daemon.metric(r#"tickcast_symbols_by_health{health="implausible"}"#), 1.0);
    let ended = daemon.stop();
    let lines: Vec<_> =
        ended.lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(words(&lines, "quality"), ["mistimed"; 4]);
    let told = "an event time cannot be right; forecasts of the symbol are mistimed";
    let line = ended.log.iter().find(|line| line["message"] == told);
    let advice = "these look like seconds: set time_unit = \"s\"";
    assert_eq!(line.map(|line| &line["advice"]), Some(&advice.into()), "{:#?}", ended.log);
}
