//! Histories that read, and the words for those that do not.

use super::*;
use crate::adapters::file::FileOptions;
use crate::core::domain::{DurationNanos, Field, Fields, TimeFormat, TimeUnit};
use crate::core::step::TimeBars;

fn features() -> RawFeatures {
    let names = ["close".to_owned(), "volume".to_owned(), "change".to_owned()];
    RawFeatures::new(&names, &[], "next_return").unwrap()
}

/// Columns by their own names, all symbols, no check for jumps.
fn config(path: PathBuf) -> DataConfig {
    DataConfig {
        path,
        file: FileOptions::default(),
        symbols: Vec::new(),
        time_unit: TimeUnit::Milliseconds,
        accepts_times: false,
        jump_max: 0.0,
        spill: None,
    }
}

const ADJUSTED: &str = "symbol=Ticker,time=Date,close=Adj Close,volume=Volume";

fn read_text(text: &str, symbols: &[&str]) -> Result<History, HistoryError> {
    read_columns(text, symbols, ADJUSTED, 0.4)
}

fn read_columns(
    text: &str,
    symbols: &[&str],
    columns: &str,
    jump_max: f64,
) -> Result<History, HistoryError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.csv");
    std::fs::write(&path, text).unwrap();
    let config = DataConfig {
        file: FileOptions { columns: Some(columns.parse().unwrap()), ..FileOptions::default() },
        symbols: symbols.iter().map(|&s| s.to_owned()).collect(),
        jump_max,
        ..config(path)
    };
    read(&config, &features(), &StepRule::Record, None)
}

const TWO: &str = "Ticker,Date,Close,Volume,Adj Close\n\
                   AAPL,2000-03-01,130.31,9616100,4.18\n\
                   IBM,2000-03-01,100.25,10807800,78.5\n\
                   AAPL,2000-03-02,122.0,2779100,3.91\n";

#[test]
fn rows_become_the_steps_of_their_symbols() {
    let history = read_text(TWO, &[]).unwrap();
    let symbols: Vec<_> = history.series.iter().map(|s| s.symbol.as_str()).collect();
    assert_eq!(symbols, ["AAPL", "IBM"]);
    let second = history.series[0].steps.step(1);
    assert_eq!(second.time, UnixNanos::parse("2000-03-02").unwrap());
    assert_eq!(second.fields.get(Field::CLOSE), Some(3.91));
    assert_eq!(second.fields.get(Field::VOLUME), Some(2_779_100.0));
    assert_eq!(
        history.data_sha256,
        "fbeb4d4fcfec908df1125f22bfd2de085c776ae6d3171b9d916e25ca4f32645a",
    );
    let only = read_text(TWO, &["IBM"]).unwrap();
    assert_eq!(only.series.len(), 1);
    assert_eq!(only.series[0].symbol, "IBM");
}

/// What is told of a history of this text, in a file of this name, without its folder.
fn told_of(name: &str, text: &str, columns: &str, rule: &StepRule) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let config = DataConfig {
        file: FileOptions {
            columns: (!columns.is_empty()).then(|| columns.parse().unwrap()),
            ..FileOptions::default()
        },
        ..config(path)
    };
    let told = read(&config, &features(), rule, None).unwrap_err().to_string();
    told.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn every_kind_of_bad_row_is_told_in_words_at_its_place() {
    let good = "A,2000-03-01,1,1\nB,2000-03-01,1,1\nA,2000-03-03,1,1\n";
    for (row, expected) in [
        ("A,2000-03-04,5,", "vol: nothing there"),
        ("A,2000-03-04", r#"2 cells under 4 headings: "A,2000-03-04""#),
        ("A,2000-03-04,1,2,3", r#"5 cells under 4 headings: "A,2000-03-04,1,2,3""#),
        ("A,2000-03-04,5,n/a", r#"vol: "n/a" is not a number"#),
        (r#"A,2000-03-04,"1,5x",1"#, r#"Adj Close: "1,5x" is not a number"#),
        ("A,2000-03-04,5,nan", r#"vol: "nan" is not a finite number"#),
        ("A,2000-03-04,1e999,5", r#"Adj Close: "1e999" is not a finite number"#),
        ("A,2000-03-04,5,-2", r#"vol: "-2" is below zero"#),
        ("A,2000-03-04,-5.5,2", r#"Adj Close: "-5.5" is below zero"#),
        ("A,2000-03-04,0.00,2", r#"Adj Close: "0.00" is no price: a price is above zero"#),
        (
            "A,2000-03-04,1,2e15",
            r#"vol: "2e15" is out of bounds: 1e15 either way, and 1e-12 or more for a price"#,
        ),
        (
            "A,03/04/2000,1,1",
            "Date: \"03/04/2000\" is not an RFC 3339 time or a date \
             (2013-03-01T14:30:00Z, 2013-03-01); another form needs a time format",
        ),
        (
            "A,99999999999999,1,1",
            "Date: \"99999999999999\" is outside the representable range (years 1677 to 2262)",
        ),
        ("A,,1,1", "Date: nothing there"),
        (",2000-03-04,1,1", "Ticker: nothing there"),
        (
            "A\u{202e},2000-03-04,1,1",
            "Ticker: \"A\\u{202e}\" is no symbol: \
             a symbol has 1 to 256 bytes, all of them printable",
        ),
        (
            "A,2000-03-02 00:00,1,1",
            "Date: \"2000-03-02 00:00\" is before 2000-03-03 on line 4, where `A` was already\n\
             sort the rows by time, oldest first",
        ),
        ("B,2000-03-01,1,1", r#"Date: "2000-03-01" is the time of `B` on line 3 too"#),
    ] {
        let text = format!("Ticker,Date,Adj Close,vol\n{good}{row}\nA,2000-03-09,1,1\n");
        let columns = "symbol=Ticker,time=Date,close=Adj Close,volume=vol";
        let told = told_of("prices.csv", &text, columns, &StepRule::Record);
        let expected = format!("1 row of the history cannot be used:\n  prices.csv:5: {expected}");
        assert_eq!(told, expected, "{row}");
    }
}

#[test]
fn json_lines_are_told_by_their_members() {
    let good = r#"{"symbol":"A","time":"2000-03-01","price":1,"volume":1}"#;
    for (from, to, expected) in [
        (r#""volume":1"#, r#""volume":"1""#, r#"volume: "1" is not a number"#),
        (r#""volume":1"#, r#""volume":[1]"#, "volume: [1] is not a number"),
        (r#""volume":1"#, r#""volume":-1"#, "volume: -1 is below zero"),
        (r#""price":1"#, r#""price":0"#, "price: 0 is no price: a price is above zero"),
        (r#""price":1"#, r#""price":null"#, "price: nothing there"),
        (
            r#","volume":1"#,
            "",
            r#"`volume` is not there: "{"symbol":"A","time":"2000-03-02","price":1}""#,
        ),
        (
            r#""2000-03-02""#,
            r#""yesterday""#,
            "time: \"yesterday\" is not an RFC 3339 time or a date \
             (2013-03-01T14:30:00Z, 2013-03-01); another form needs a time format",
        ),
        ("2000-03-02", "2000-03-01", r#"time: "2000-03-01" is the time of `A` on line 1 too"#),
        (
            r#""volume":1"#,
            r#""volume":NaN"#,
            "`volume` is not a finite number: \
             \"{\"symbol\":\"A\",\"time\":\"2000-03-02\",\"price\":1,\"volume\":NaN}\"",
        ),
        (
            r#","price""#,
            r#","time":0,"price""#,
            "`time` is there twice: \
             \"{\"symbol\":\"A\",\"time\":\"2000-03-02\",\"time\":0,\"price\":1,\"volume…\"",
        ),
        (
            r#"{"symbol""#,
            r#"["symbol""#,
            "not a JSON object: \
             \"[\"symbol\":\"A\",\"time\":\"2000-03-02\",\"price\":1,\"volume\":1}\"",
        ),
    ] {
        let next = good.replace("2000-03-01", "2000-03-02");
        assert!(next.contains(from), "{from}");
        let text = format!("{good}\n{}\n", next.replacen(from, to, 1));
        let told = told_of("ticks.jsonl", &text, "", &StepRule::Record);
        let expected = format!("1 row of the history cannot be used:\n  ticks.jsonl:2: {expected}");
        assert_eq!(told, expected, "{to}");
    }
}

#[test]
fn a_table_of_r_without_the_heading_of_its_row_numbers_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.csv");
    let rows: String = (1..=20)
        .map(|row| format!("\"{row}\",2024-01-{row:02},1.0,2.0,0.5,{row}.25,{row}00\n"))
        .collect();
    let header = "\"Date\",\"Open\",\"High\",\"Low\",\"Close\",\"Volume\"";
    std::fs::write(&path, format!("{header}\n{rows}")).unwrap();
    let columns = Some("symbol=Low,time=Date,close=Close,volume=Volume".parse().unwrap());
    let file = FileOptions { columns, ..FileOptions::default() };
    let config = DataConfig { file, ..config(path) };
    let history = read(&config, &features(), &StepRule::Record, None).unwrap();
    let first = history.series[0].steps.step(0);
    assert_eq!(first.time, UnixNanos::parse("2024-01-01").unwrap());
    assert_eq!(first.fields.get(Field::CLOSE), Some(1.25));
    assert_eq!((history.series.len(), history.series[0].steps.len()), (1, 20));
}

#[test]
fn a_history_whose_newest_row_comes_first_is_read_from_its_end() {
    let text = "symbol,time,close,volume\nA,2024-01-03,3,1\nA,2024-01-02,2,1\nA,2024-01-01,1,1\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prices.csv");
    std::fs::write(&path, text).unwrap();
    let history = read(&config(path), &features(), &StepRule::Record, None).unwrap();
    let steps = history.series[0].steps.iter();
    let closes: Vec<_> = steps.map(|step| step.fields.get(Field::CLOSE).unwrap()).collect();
    assert_eq!(closes, [1.0, 2.0, 3.0]);
}

#[test]
fn ten_bad_rows_are_shown_and_the_others_counted() {
    let rows: String = (1..=13).map(|row| format!("A,2000-03-{row:02},n/a,{row}\n")).collect();
    let told =
        told_of("prices.csv", &format!("symbol,time,close,volume\n{rows}"), "", &StepRule::Record);
    let shown: String = (2..=11)
        .map(|line| format!("\n  prices.csv:{line}: close: \"n/a\" is not a number"))
        .collect();
    assert_eq!(told, format!("13 rows of the history cannot be used:{shown}\n  and 3 more"));
}

#[test]
fn a_number_that_is_none_is_told_also_of_a_column_that_nobody_reads() {
    let text = "symbol,time,close,volume,flow\nA,2000-03-01,1,1,inf\n";
    assert_eq!(
        told_of("prices.csv", text, "", &StepRule::Record),
        "1 row of the history cannot be used:\n  \
         prices.csv:2: flow: \"inf\" is not a finite number"
    );
}

#[test]
fn a_field_without_a_column_is_told_once() {
    let text = "symbol,time,close\nA,2000-03-01,1\nA,2000-03-02,1\n";
    assert_eq!(
        told_of("prices.csv", text, "", &StepRule::Record),
        "`prices.csv`: no column stands for `volume`, which the features read: map one \
         (volume=COLUMN in data.columns)"
    );
}

#[test]
fn rows_of_a_bar_may_stand_in_any_order_but_not_before_it() {
    let minutes = StepRule::Time(TimeBars::of(DurationNanos::from_seconds(60).unwrap()));
    let text = "symbol,time,price,volume\n\
                A,2000-03-01T10:01:20Z,1,1\nA,2000-03-01T10:01:10Z,1,1\n\
                A,2000-03-01T10:01:20Z,1,1\nA,2000-03-01T10:00:59Z,1,1\n";
    assert_eq!(
        told_of("trades.csv", text, "", &minutes),
        "1 row of the history cannot be used:\n  \
         trades.csv:5: time: \"2000-03-01T10:00:59Z\" is before 2000-03-01T10:01:20Z on line 4, \
         where `A` was already\nsort the rows by time, oldest first"
    );
}

#[test]
fn bars_need_of_rows_what_the_daemon_needs_of_ticks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trades.csv");
    let text = "symbol,time,price\nA,2000-03-01T10:00:00Z,1\nA,2000-03-01T10:00:30Z,3\n\
                A,2000-03-01T10:01:00Z,2\n";
    std::fs::write(&path, text).unwrap();
    let features =
        RawFeatures::new(&["high".to_owned(), "close".to_owned()], &[], "next_return").unwrap();
    let minutes = StepRule::Time(TimeBars::of(DurationNanos::from_seconds(60).unwrap()));
    let history = read(&config(path), &features, &minutes, None).unwrap();
    assert_eq!(history.series[0].steps.step(0).fields.get(Field::HIGH), Some(3.0));
}

/// A split, a genuine crash within a day, and a doubling; the split of B is of no interest.
const JUMPS: &str = "Ticker,Date,High,Low,Close,Volume,Adj Close\n\
                     A,2000-06-20,102,99,101,1,25.25\n\
                     B,2000-06-20,10,10,10,1,10\n\
                     A,2000-06-21,56,50,55.55,1,27.775\n\
                     B,2000-06-21,1,1,1,1,1\n\
                     A,2000-06-22,54,20,22.5,1,11.25\n\
                     A,2000-06-23,46,44,45,1,22.5\n";

#[test]
fn jumps_without_a_range_are_told_with_both_prices() {
    const RAW: &str = "symbol=Ticker,time=Date,high=High,low=Low,close=Close,volume=Volume";
    let told = |columns, jump_max| {
        let error = read_columns(JUMPS, &["A"], columns, jump_max).err()?.to_string();
        let (heading, rows) = error.split_once(":\n").unwrap();
        let rows = rows.lines().map(|row| row.rsplit('/').next().unwrap().to_owned());
        Some((heading.to_owned(), rows.collect::<Vec<_>>()))
    };
    let first = "history.csv:2: `A` jumps from 101 to 55.55 (-45.0 %) behind its first row: this \
                 row looks wrong";
    let doubled = "history.csv:7: `A` jumps from 22.5 to 45 (+100.0 %) and stays there, like a \
                   split of 1 for 2";
    let crash = "history.csv:6: `A` jumps from 55.55 to 22.5 (-59.5 %) and is back on line 7: this \
                 row looks wrong";
    let expected = |rows: &[&str], hints: &[&str]| {
        let noun = if rows.len() == 1 { "row" } else { "rows" };
        let heading = format!("{} {noun} of the history cannot be used", rows.len());
        Some((heading, rows.iter().chain(hints).map(|&row| row.to_owned()).collect()))
    };
    let (bad, right) = (problem::BAD_ROWS_HINT, problem::JUMPS_HINT);
    let traded = expected(&[first, doubled], &[bad, right, problem::SPLITS_HINT]);
    assert_eq!(told(RAW, 0.4), traded, "the crash was traded");
    let close_alone = "symbol=Ticker,time=Date,close=Close,volume=Volume";
    assert_eq!(told(close_alone, 0.4), expected(&[first, crash], &[bad, right]));
    assert_eq!(told(close_alone, 1.0), None, "up to the limit is none");
    assert_eq!(told(close_alone, 0.0), None, "switched off");
    // The name of a column switches nothing off.
    let adjusted = "history.csv:6: `A` jumps from 27.775 to 11.25 (-59.5 %) and is back on line 7: \
                    this row looks wrong";
    assert_eq!(told(ADJUSTED, 0.4), expected(&[adjusted], &[bad, right]));
}

#[test]
fn one_bad_row_is_told_from_a_split_in_raw_and_adjusted_columns() {
    // Two symbols side by side; the bad row of A has a gap behind it.
    let rows = |bad: f64, level: f64| {
        let mut text = "Ticker,Date,Close,Volume,Adj Close\n".to_owned();
        for (day, price) in [(1, 100.0), (2, 101.0), (3, bad), (20, 100.5), (21, 101.5)] {
            text += &format!("A,2000-03-{day:02},{price},1,{price}\n");
            let of_b = if day < 20 { 40.0 } else { level };
            text += &format!("B,2000-03-{day:02},{of_b},1,{of_b}\n");
        }
        text
    };
    let raw = "symbol=Ticker,time=Date,close=Close,volume=Volume";
    let told = |text: &str, columns: &str| {
        read_columns(text, &[], columns, 0.4).err().map(|error| {
            let told = error.to_string();
            let (_, rows) = told.split_once(":\n").unwrap();
            let rows = rows.lines().map(|row| row.rsplit('/').next().unwrap().to_owned());
            rows.collect::<Vec<_>>()
        })
    };
    let bad = "history.csv:6: `A` jumps from 101 to 203.01 (+101.0 %) and is back on line 8: this \
               row looks wrong";
    let split = "history.csv:9: `B` jumps from 40 to 20 (-50.0 %) and stays there, like a split \
                 of 2 for 1";
    let (remove, right) = (problem::BAD_ROWS_HINT, problem::JUMPS_HINT);
    for columns in [raw, ADJUSTED] {
        assert_eq!(told(&rows(101.0, 40.0), columns), None);
        let expected = [bad, remove, right].map(str::to_owned).to_vec();
        assert_eq!(told(&rows(203.01, 40.0), columns), Some(expected), "{columns}");
        let of_split = if columns == raw { problem::SPLITS_HINT } else { problem::ADJUSTED_HINT };
        let expected = [bad, split, remove, right, of_split].map(str::to_owned).to_vec();
        assert_eq!(told(&rows(203.01, 20.0), columns), Some(expected), "{columns}");
    }
}

#[test]
fn missing_symbols_and_empty_files_are_told() {
    let error = read_text(TWO, &["MSFT"]).unwrap_err().to_string();
    assert!(error.ends_with("no row of symbol `MSFT`; there are AAPL, IBM"), "{error}");
    let header = TWO.lines().next().unwrap();
    assert!(matches!(read_text(header, &[]), Err(HistoryError::Empty { .. })));
    assert!(matches!(read_text("", &[]), Err(HistoryError::File(_))));
}

#[test]
fn a_history_is_cut_where_the_daemon_begins_a_cold_window() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("days.csv");
    let days = |days: &[u32]| {
        days.iter().map(|day| format!("A,2000-03-{day:02},1,1\n")).collect::<String>()
    };
    let text =
        format!("symbol,time,close,volume\n{}B,2000-03-01,1,1\n", days(&[1, 2, 5, 6, 10, 11, 12]));
    std::fs::write(&path, text).unwrap();
    let read = |gap_days: Option<i64>| {
        let gap = gap_days.and_then(|days| DurationNanos::from_seconds(days * 86_400));
        read(&config(path.clone()), &features(), &StepRule::Record, gap).unwrap()
    };
    let pieces = |history: &History| {
        let piece = |series: &Series| (series.symbol.clone(), series.steps.len());
        history.series.iter().map(piece).collect::<Vec<_>>()
    };
    let of = |pieces: &[(&str, usize)]| {
        pieces.iter().map(|(symbol, steps)| ((*symbol).to_owned(), *steps)).collect::<Vec<_>>()
    };
    let whole = read(None);
    assert_eq!(pieces(&whole), of(&[("A", 7), ("B", 1)]));
    assert_eq!(whole.longest_distance(), DurationNanos::from_seconds(4 * 86_400));
    assert_eq!(pieces(&read(Some(4))), of(&[("A", 7), ("B", 1)]), "no further apart");
    assert_eq!(pieces(&read(Some(3))), of(&[("A", 4), ("A", 3), ("B", 1)]));
    let cut = read(Some(2));
    assert_eq!(pieces(&cut), of(&[("A", 2), ("A", 2), ("A", 3), ("B", 1)]));
    let steps: Vec<_> = cut.series.iter().flat_map(|series| &series.steps).collect();
    let all: Vec<_> = whole.series.iter().flat_map(|series| &series.steps).collect();
    assert_eq!(steps, all, "nothing is lost");
}

#[test]
fn numbers_that_are_no_times_are_told_with_what_they_look_like() {
    let told = |days: [&str; 2]| {
        let [first, second] = days;
        let text = format!("symbol,time,close,volume\nA,{first},1,1\nA,{second},1,1\n");
        told_of("prices.csv", &text, "", &StepRule::Record)
    };
    let head = "2 rows of the history cannot be used:";
    let hint = "where the times are right as they are, set data.accept_times = true";
    assert_eq!(
        told(["1706745600", "1706832000"]),
        format!(
            "{head}\n  prices.csv:2: time: \"1706745600\" would be 1970-01-20T18:05:45.6Z; these \
             look like seconds: set time_unit = \"s\"\n  prices.csv:3: time: \"1706832000\" would \
             be 1970-01-20T18:07:12Z; these look like seconds: set time_unit = \"s\"\n{hint}"
        )
    );
    for (days, words) in [
        (["20240201", "20240202"], "these look like dates written as YYYYMMDD: set time_format"),
        (["45323", "45324"], "these look like day numbers of a spreadsheet"),
        (["0", "1"], "these look like row numbers"),
    ] {
        let told = told(days);
        assert!(told.starts_with(head) && told.contains(words), "{told}");
    }
}

/// The times of a history of `A` with these texts.
fn times(texts: &[&str], change: impl FnOnce(DataConfig) -> DataConfig) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prices.csv");
    let rows: String = texts.iter().map(|text| format!("A,\"{text}\",1,1\n")).collect();
    std::fs::write(&path, format!("symbol,time,close,volume\n{rows}")).unwrap();
    let config = change(config(path));
    let history = read(&config, &features(), &StepRule::Record, None).unwrap();
    history.series[0].steps.iter().map(|step| step.time.to_string()).collect()
}

#[test]
fn times_are_read_by_the_format_the_zone_and_the_unit_that_are_set() {
    let by = |format: &str, zone: Option<&str>| {
        let times = TimeFormat::new(Some(format), zone).unwrap();
        move |mut config: DataConfig| {
            config.file.dialect.times = times;
            config
        }
    };
    let texts = ["2010/01/01 00:00", "2010/01/01 01:00"];
    let expected = ["2010-01-01T00:00:00Z", "2010-01-01T01:00:00Z"];
    assert_eq!(times(&texts, |config| config), expected, "the year comes first");
    let days = times(&["20240201", "20240202"], by("%Y%m%d", None));
    assert_eq!(days, ["2024-02-01T00:00:00Z", "2024-02-02T00:00:00Z"]);
    let local = times(&["01.07.2024 10:00"], by("%d.%m.%Y %H:%M", Some("Europe/Berlin")));
    assert_eq!(local, ["2024-07-01T08:00:00Z"]);
    let time_unit = TimeUnit::Seconds;
    let seconds = times(&["1706745600"], |config| DataConfig { time_unit, ..config });
    assert_eq!(seconds, ["2024-02-01T00:00:00Z"]);
    let old = times(&["-631152000000", "0"], |config| config);
    assert_eq!(old, ["1950-01-01T00:00:00Z", "1970-01-01T00:00:00Z"], "a long history");
    let accepted = times(&["0"], |config| DataConfig { accepts_times: true, ..config });
    assert_eq!(accepted, ["1970-01-01T00:00:00Z"]);
}

/// A history of so many days from a date on, without those that `open` says no to.
fn daily(first: &str, count: i64, open: impl Fn(i64, &str) -> bool) -> History {
    let first = UnixNanos::parse(first).unwrap().as_nanos() / DAY_NANOS;
    let dates = (first..first + count).map(|day| (day, date_of(day)));
    let dates: Vec<_> = dates.filter(|(day, date)| open(*day, date)).collect();
    let step = |(_, date): &(i64, String)| {
        let mut fields = Fields::EMPTY;
        fields.set_checked(Field::CLOSE, 1.0).unwrap();
        let time = UnixNanos::parse(date).unwrap();
        Step { time, fields, after_gap: false, patched: false }
    };
    let steps = dates.iter().map(step).collect();
    let series = vec![Series { symbol: "A".to_owned(), steps }];
    History { series, data_sha256: String::new() }
}

const DAY_NANOS: i64 = 86_400_000_000_000;

/// Whether a day is none of a weekend; 1970-01-01 was a Thursday.
fn is_weekday(day: i64) -> bool {
    (day + 3).rem_euclid(7) < 5
}

#[test]
fn a_history_shows_the_days_of_the_week_and_the_holidays() {
    let holidays = ["2012-09-03", "2012-10-29", "2012-10-30", "2012-11-22", "2012-12-25"];
    let trading = |day: i64, date: &str| is_weekday(day) && !holidays.contains(&date);
    let history = daily("2012-07-02", 200, trading);
    let step = StepSpec::record(86_400);
    let calendar = history.calendar(&step, &["2013-12-25".to_owned()]).unwrap();
    assert_eq!(calendar.weekdays, Weekday::ALL[..5]);
    assert_eq!(calendar.holidays, [&holidays[..], &["2013-12-25"]].concat());
    // A history of every day has no calendar, and a short one shows none.
    assert_eq!(daily("2012-07-02", 200, |_, _| true).calendar(&step, &[]), None);
    assert_eq!(daily("2012-07-02", 60, trading).calendar(&step, &[]), None);
    assert_eq!(history.calendar(&StepSpec::record(3600), &[]), None, "hours have no calendar");
    // What is missing for weeks is no holiday.
    let hole =
        |day: i64, date: &str| trading(day, date) && !("2012-08-06".."2012-08-27").contains(&date);
    let calendar = daily("2012-07-02", 200, hole).calendar(&step, &[]).unwrap();
    assert_eq!(calendar.holidays, holidays);
}

#[test]
fn steps_far_from_the_interval_are_refused() {
    let history = daily("2012-07-02", 20, |day, _| is_weekday(day));
    let rule = |seconds| {
        let interval = DurationNanos::from_seconds(seconds).unwrap();
        CadenceRule::of(&StepRule::Record, interval).unwrap()
    };
    assert!(history.check_spacing(&rule(86_400)).is_ok());
    let told = history.check_spacing(&rule(86)).unwrap_err().to_string();
    assert!(told.starts_with("the steps of `A` are 86400 s apart (the median)"), "{told}");
}

#[test]
fn a_history_before_an_instant_knows_no_later_step() {
    let history = read_text(TWO, &[]).unwrap();
    let before = history.before(UnixNanos::parse("2000-03-02").unwrap());
    let counts = |history: &History| -> Vec<_> {
        history.series.iter().map(|s| (s.symbol.clone(), s.steps.len())).collect()
    };
    assert_eq!(counts(&before), [("AAPL".to_owned(), 1), ("IBM".to_owned(), 1)]);
    assert_eq!(before.series[0].steps.step(0), history.series[0].steps.step(0));
    let never = history.before(UnixNanos::parse("2000-03-01").unwrap());
    assert_eq!(counts(&never), [], "no symbol without a step");
}
