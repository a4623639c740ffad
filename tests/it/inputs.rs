//! Files as people have them: each is read with its right values, or refused with what to do.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tempfile::TempDir;
use tickcast::adapters::file::{Dialect, FileOptions, FileRecords, Header, RECORD_BYTES_MAX};
use tickcast::core::decode::JsonDecoder;
use tickcast::core::domain::{Field, Schema, TimeFormat, TimeUnit};

use super::support::process::run;
use super::support::random::Random;
use super::support::repository;

/// A folder with one file and a configuration of the daily model that ships.
struct Input {
    folder: TempDir,
    path: PathBuf,
}

impl Input {
    fn new(name: &str, text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let models = repository().join("models");
        let config = format!(
            "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'aapl-daily'\n",
            models.display()
        );
        fs::write(folder.path().join("tickcast.toml"), config).unwrap();
        Self { folder, path }
    }

    fn replay(&self, arguments: &[&str]) -> Ended {
        let config = self.folder.path().join("tickcast.toml").display().to_string();
        let input = self.path.display().to_string();
        let command = ["replay", "-c", &config, "--input", &input];
        Ended::of(&run(&[&command, arguments].concat()))
    }

    fn data(&self, arguments: &[&str]) -> Ended {
        let input = self.path.display().to_string();
        Ended::of(&run(&[&["data", &input], arguments].concat()))
    }
}

/// How a command ended.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        Self { code: output.status.code(), stdout, stderr }
    }

    /// Asserts the code and every text on standard error.
    #[track_caller]
    fn assert(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        for text in texts {
            assert!(self.stderr.contains(text), "not there: {text}\n{}", self.stderr);
        }
    }

    /// The last price behind the last forecast.
    fn last_price(&self) -> f64 {
        let last = self.stdout.lines().last().expect("there is a forecast");
        let forecast: Value = serde_json::from_str(last).unwrap();
        forecast["last_price"].as_f64().unwrap()
    }
}

/// Days of January to March 2024, from 0.
fn day(index: u32) -> String {
    let (month, day) = match index {
        0..31 => (1, index + 1),
        31..60 => (2, index - 30),
        _ => (3, index - 59),
    };
    format!("2024-{month:02}-{day:02}")
}

const DAILY: &[&str] = &["--symbol", "A", "--columns", "time=Date,close=Close,volume=Volume"];

#[test]
fn rows_longer_than_the_header_are_refused_with_their_line() {
    let rows: String =
        (1..41).map(|at| format!("{},1,{at:03}.50,{}\n", day(at), 9000 + at)).collect();
    let input = Input::new("row_longer_than_header.csv", &format!("Date,Close,Volume\n{rows}"));
    let ended = input.replay(&["--symbol", "A"]);
    let first = "refused wrong_cells                       40  line 2: 2024-01-02,1,001.50,9001\n";
    ended.assert(65, &["40 records", "40 refused", first, "none of the 40 records can be used"]);
    assert_eq!(ended.stdout, "");
}

#[test]
fn a_table_of_r_is_read_with_its_row_numbers() {
    let rows: String = (1..61)
        .map(|at| {
            let open = 99.5 + f64::from(at) / 2.0;
            let (high, low, close) = (open + 2.0, open - 2.0, open + 0.25);
            format!("\"{at}\",{},{open},{high},{low},{close},{}\n", day(at), 99_999 + at)
        })
        .collect();
    let header = "\"Date\",\"Open\",\"High\",\"Low\",\"Close\",\"Volume\"\n";
    let ended = Input::new("r_write_table.csv", &format!("{header}{rows}")).replay(DAILY);
    ended.assert(0, &["row numbers in a first column without a heading", "60 steps", "0 refused"]);
    assert_eq!(ended.last_price(), 129.75);
}

#[test]
fn of_two_columns_of_one_name_one_is_chosen_by_its_number() {
    let rows: String = (0..60)
        .map(|at| format!("{},{},{},{}\n", day(at + 1), 100 + at / 2, 900 - at, 7000 + at))
        .collect();
    let text = format!("Price,Close,Close,Volume\nTicker,AAA,BBB,BBB\nDate,,,\n{rows}");
    let input = Input::new("yf_two_tickers.csv", &text);
    let columns = |close| format!("time=Price,close={close},volume=Volume");
    let ended = input.replay(&["--symbol", "BBB", "--columns", &columns("Close")]);
    ended.assert(65, &["2 columns are called `Close`: choose one by its number, such as close=3"]);
    let ended = input.replay(&["--symbol", "BBB", "--columns", &columns("3")]);
    ended.assert(
        0,
        &[
            "60 steps",
            "2 refused",
            "invalid_time `time`                2  line 2: Ticker,AAA,BBB,BBB",
        ],
    );
    assert_eq!(ended.last_price(), 841.0);
}

#[test]
fn a_stray_quote_is_an_error_that_names_its_line() {
    let rows: String = (1..61)
        .map(|at| {
            let quote = if at == 21 { "\"" } else { "" };
            format!("{},{quote}AAA,{},{}\n", day(at), 99.5 + f64::from(at) / 2.0, 999 + at)
        })
        .collect();
    let input = Input::new("stray_quote.csv", &format!("Date,Name,Close,Volume\n{rows}"));
    let ended = input.replay(DAILY);
    ended.assert(65, &["line 22: the quote that opens here is not closed", "20 records"]);
    let ended = input.data(DAILY);
    ended.assert(65, &["line 22: the quote that opens here is not closed"]);
}

#[test]
fn a_missing_field_is_named_and_an_input_without_use_ends_with_65() {
    let text = "timestamp,bid,ask\n2013-01-01 22:00:00+00:00,86.655,86.728\n\
                2013-01-01 22:02:35+00:00,86.657,86.728\n";
    let input = Input::new("missing_field.csv", text);
    let ended = input.replay(&["--symbol", "A", "--columns", "time=timestamp,price=bid"]);
    let told =
        "refused missing_field `volume`             2  line 2: 2013-01-01 22:00:00+00:00,86.655,";
    ended.assert(65, &[told, "none of the 2 records can be used"]);
    Input::new("empty.csv", "symbol,time,close,volume\n").replay(&[]).assert(65, &["no rows"]);
}

/// What the rows of a small file are under these options: the time, the close and the volume.
fn values(name: &str, text: &str, options: FileOptions) -> Vec<(String, f64, f64)> {
    let input = Input::new(name, text);
    let decoder = decoder();
    let value = |record: Vec<u8>| {
        let tick = decoder.decode(&record).unwrap();
        let read = |field| tick.fields.get(field).unwrap();
        (tick.time.to_string(), read(Field::CLOSE), read(Field::VOLUME))
    };
    let records = FileRecords::open(&input.path, options).unwrap();
    records.map(|record| value(record.unwrap().bytes)).collect()
}

fn decoder() -> JsonDecoder {
    let required = [Field::CLOSE, Field::VOLUME];
    JsonDecoder::new(Schema::new([]).unwrap(), &required, TimeUnit::Milliseconds, RECORD_BYTES_MAX)
}

/// Columns of a symbol by a map, and times by a format.
fn options(columns: &str, time_format: Option<&str>) -> FileOptions {
    FileOptions {
        symbol: (!columns.contains("symbol=")).then(|| "A".to_owned()),
        columns: Some(columns.parse().unwrap()),
        dialect: Dialect {
            times: TimeFormat::new(time_format, None).unwrap(),
            ..Dialect::default()
        },
        ..FileOptions::default()
    }
}

const INVESTING: &str = "Date,Close,Vol.\n01/03/2024,\"1,191.38\",1.25M\n\
                         01/02/2024,\"1,180.10\",980K\n";
const NASDAQ: &str = "Date,Close/Last,Volume,Open,High,Low\n\
    01/03/2024,$191.38,18883220,$192.71,$194.34,$191.26\n\
    01/02/2024,$193.63,25197760,$196.30,$196.70,$193.28\n";
const TWO_COLUMNS: &str = "Date,Time,Open,High,Low,Close,Volume\n\
    2024-01-02,09:00,1.1,1.2,1.0,1.15,10\n2024-01-02,10:00,1.15,1.2,1.1,1.16,12\n";
const KLINES: &str = "1704067200000,1.0,1.1,0.9,1.0,10,1704067259999,1,1,1,1,0\n\
    1704067260000,1.0,1.1,0.9,1.05,10,1704067319999,1,1,1,1,0\n";
const LINE_ABOVE: &str = "https://www.example.com\nUnix,Date,Symbol,Open,High,Low,Close,Volume\n\
    1704067200000,2024-01-01,AAA,1,1,1,1,1\n";

#[test]
fn dialects_of_well_known_files_are_read_with_their_right_values() {
    let us_dates = Some("%m/%d/%Y");
    let tick = |time: &str, close, volume| (time.to_owned(), close, volume);
    assert_eq!(
        values("investing.csv", INVESTING, options("time=Date,close=Close,volume=Vol.", us_dates)),
        [
            tick("2024-01-02T00:00:00Z", 1180.10, 980_000.0),
            tick("2024-01-03T00:00:00Z", 1191.38, 1_250_000.0),
        ]
    );
    assert_eq!(
        values("nasdaq.csv", NASDAQ, options("time=Date,close=Close/Last,volume=Volume", us_dates)),
        [
            tick("2024-01-02T00:00:00Z", 193.63, 25_197_760.0),
            tick("2024-01-03T00:00:00Z", 191.38, 18_883_220.0),
        ]
    );
    let joined = options("time=Date+Time,close=Close,volume=Volume", None);
    assert_eq!(
        values("date_and_time.csv", TWO_COLUMNS, joined),
        [tick("2024-01-02T09:00:00Z", 1.15, 10.0), tick("2024-01-02T10:00:00Z", 1.16, 12.0)]
    );
    let mut numbered = options("time=1,close=5,volume=6", None);
    numbered.dialect.header = Header::None;
    assert_eq!(
        values("kline_no_header.csv", KLINES, numbered),
        [tick("2024-01-01T00:00:00Z", 1.0, 10.0), tick("2024-01-01T00:01:00Z", 1.05, 10.0)]
    );
    let columns = "symbol=Symbol,time=Unix,close=Close,volume=Volume";
    assert_eq!(
        values("line_above_header.csv", LINE_ABOVE, options(columns, None)),
        [tick("2024-01-01T00:00:00Z", 1.0, 1.0)]
    );
    assert_eq!(
        values(
            "slash_date_with_time.csv",
            "date,temp\n2010/01/01 00:00,39.4\n2010/01/01 01:00,39.2\n",
            options("time=date,close=temp,volume=temp", None)
        ),
        [tick("2010-01-01T00:00:00Z", 39.4, 39.4), tick("2010-01-01T01:00:00Z", 39.2, 39.2)]
    );
}

#[test]
fn what_cannot_be_understood_says_which_flag_helps() {
    let close = |text, columns: &str| {
        Input::new("file.csv", text).replay(&["--symbol", "A", "--columns", columns])
    };
    for (text, columns) in [
        (INVESTING, "time=Date,close=Close,volume=Vol."),
        (NASDAQ, "time=Date,close=Close/Last,volume=Volume"),
    ] {
        let told = "column `Date` has `01/03/2024`, which does not show whether the day or the \
                    month comes first; set --time-format (time_format)";
        close(text, columns).assert(65, &[told]);
    }
    let told = "columns `Date` and `Time` both stand for `time`; choose with a column map, or join \
                them (time=Date+Time)";
    Input::new("file.csv", TWO_COLUMNS).replay(&["--symbol", "A"]).assert(65, &[told]);
    let told = "line 1: holds values where the names of the columns should be; where the file has \
                no header, set --no-header";
    Input::new("file.csv", KLINES).replay(&["--symbol", "A"]).assert(65, &[told]);
    let text = "a note; with marks\nmore\nDate;Close;Volume\n2024-01-02;1,5;7\n";
    let input = Input::new("file.txt", text);
    input.replay(DAILY).assert(65, &["name it with --format: csv, parquet or json-lines"]);
    let flags = ["--format", "csv", "--header-line", "3"];
    let ended = input.replay(&[DAILY, &flags].concat());
    ended.assert(0, &["is read with: cells divided by `;`, decimal comma", "1 steps"]);
    let ended = input.replay(&[DAILY, &["--format", "csv"]].concat());
    ended.assert(65, &["no column `Date`"]);
}

#[test]
fn data_shows_what_is_understood_of_a_file() {
    let flags = ["--time-format", "%m/%d/%Y", "--columns"];
    let columns = "time=Date,close=Close/Last,volume=Volume";
    let input = Input::new("nasdaq.csv", NASDAQ);
    let ended = input.data(&[&["--symbol", "A"], &flags[..], &[columns]].concat());
    ended.assert(0, &["is read with: newest row first, so sorted"]);
    let expected = "  csv, UTF-8, cells divided by `,`, header on line 1, decimal point, \
        newest first\n\
        \n\
        \x20 #  column      read as  first value  empty\n\
        \x20 1  Date        time     01/02/2024       0\n\
        \x20 2  Close/Last  close    $193.63          0\n\
        \x20 3  Volume      volume   25197760         0\n\
        \x20 4  Open        -\n\
        \x20 5  High        -\n\
        \x20 6  Low         -\n\
        \n\
        rows        2: 2 used, 0 refused\n\
        symbols     1: A\n\
        times       2024-01-02T00:00:00Z to 2024-01-03T00:00:00Z\n\
        spacing     median 1 d, shortest 1 d, longest 1 d\n\
        gaps        0 longer than 3 times the median\n\
        duplicates  0 with the time of the row before\n\
        jumps       0 of more than 40 %\n";
    assert_eq!(ended.stdout, format!("{}{expected}", input.path.display()));
    let ended = input.data(&["--symbol", "A", "--json", flags[0], flags[1], flags[2], columns]);
    let survey: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((survey["rows"].as_u64(), survey["used"].as_u64()), (Some(2), Some(2)));
    assert_eq!(survey["first_time"], "2024-01-02T00:00:00Z");
    let none = Input::new("none.csv", "symbol,time,close\nA,never,1\n").data(&[]);
    none.assert(65, &["no row can be used"]);
    assert!(none.stdout.contains("invalid_time `time`                1  line 2: A,never,1\n"));
}

#[test]
fn a_configuration_says_the_form_of_a_recording_as_the_options_do() {
    let text = "When;Close;Volume\n1704067200000;1,234;7\n";
    let input = Input::new("prices.txt", text);
    let config = input.folder.path().join("file.toml");
    let check = |keys: &str| {
        let models = repository().join("models");
        let settings = format!(
            "[source]\nkind = 'file'\npath = '{}'\nsymbol = 'A'\n\
             columns = 'time=When,close=Close,volume=Volume'\n{keys}\n\
             [model]\nroot = '{}'\nname = 'aapl-daily'\n",
            input.path.display(),
            models.display()
        );
        fs::write(&config, settings).unwrap();
        Ended::of(&run(&["check", "-c", &config.display().to_string()]))
    };
    check("").assert(78, &["the name does not tell the format"]);
    let ended = check("format = 'csv'");
    ended.assert(78, &["column `Close` has `1,234`", "set --decimal , or --decimal . (decimal)"]);
    let ended = check("format = 'csv'\ndecimal = ','");
    ended.assert(0, &[]);
    assert!(ended.stdout.contains("is read with: cells divided by `;`"), "{}", ended.stdout);
    let ended = check("format = 'xml'\ndelimiter = ';;'\nheader = '0'\ndecimal = 'x'");
    ended.assert(
        78,
        &[
            "source.format: expected csv, parquet or json-lines",
            "source.delimiter: expected one character, such as `;`, or tab or space",
            "source.header: expected auto, none or the number of a line, from 1",
            "source.decimal: expected `.` or `,`",
        ],
    );
}

/// How a table is written, as the reference is told.
struct Written {
    name: &'static str,
    delimiter: char,
    end: &'static str,
    decimal: char,
    /// Whether thousands are divided and amounts have a dollar sign.
    is_grouped: bool,
    has_suffixes: bool,
    /// Whether a column has quoted texts with line ends, quotes and delimiters in them.
    has_notes: bool,
    header_line: u64,
    /// Directives of Python and of ours alike; with a space, in two columns; `ms`, or nothing.
    time_format: &'static str,
    pack: fn(&str) -> Vec<u8>,
    encoding: &'static str,
    newest_first: bool,
}

const PLAIN: Written = Written {
    name: "plain.csv",
    delimiter: ',',
    end: "\n",
    decimal: '.',
    is_grouped: false,
    has_suffixes: false,
    has_notes: false,
    header_line: 1,
    time_format: "",
    pack: utf8,
    encoding: "utf-8",
    newest_first: false,
};

const LAYOUTS: [Written; 10] = [
    PLAIN,
    Written { name: "semicolons.csv", delimiter: ';', decimal: ',', ..PLAIN },
    Written { name: "tabs.tsv", delimiter: '\t', is_grouped: true, ..PLAIN },
    Written { name: "bars.csv", delimiter: '|', has_suffixes: true, end: "\r\n", ..PLAIN },
    Written { name: "notes.csv", has_notes: true, ..PLAIN },
    Written { name: "klines.csv", header_line: 0, time_format: "ms", ..PLAIN },
    Written { name: "days.csv", time_format: "%d.%m.%Y %H:%M:%S", ..PLAIN },
    Written { name: "packed.csv.gz", is_grouped: true, pack: gzip, ..PLAIN },
    Written { name: "wide.csv", pack: utf16, encoding: "utf-16", decimal: ',', ..PLAIN },
    Written { name: "newest.csv", header_line: 4, newest_first: true, end: "\r\n", ..PLAIN },
];

fn utf8(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

fn utf16(text: &str) -> Vec<u8> {
    [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

impl Written {
    fn is_in_two_columns(&self) -> bool {
        self.time_format.contains(' ')
    }

    /// The heading of each column.
    fn header(&self) -> Vec<&'static str> {
        let time: &[&str] = if self.is_in_two_columns() { &["Day", "Clock"] } else { &["When"] };
        [&["Name"], time, &["Note", "Close", "Volume"]].concat()
    }

    /// A text as a cell.
    fn cell(&self, text: &str) -> String {
        let is_plain = !text.contains([self.delimiter, '"', '\n', '\r']);
        if is_plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
    }

    /// A number of cents as this table writes it.
    fn number(&self, cents: u64, random: &mut Random) -> String {
        if self.has_suffixes && random.below(2) == 0 {
            let suffix = ["K", "M", "B"][random.below(3) as usize];
            return format!("{}.{:02}{suffix}", cents / 100, cents % 100);
        }
        let mut whole = (cents / 100).to_string();
        if self.is_grouped {
            for at in (1..whole.len())
                .rev()
                .filter(|at| (whole.len() - at).is_multiple_of(3))
                .collect::<Vec<_>>()
            {
                whole.insert(at, ',');
            }
            whole.insert(0, '$');
        }
        format!("{whole}{}{:02}", self.decimal, cents % 100)
    }

    /// The time of a row.
    fn time(&self, row: u64) -> String {
        let (day, second) = (row / 86_400, row % 86_400);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        match self.time_format {
            "ms" => (1_704_067_200_000 + row * 1000).to_string(),
            "" => format!("2024-01-{:02}T{hour:02}:{minute:02}:{second:02}Z", day + 1),
            _ => format!("{:02}.01.2024 {hour:02}:{minute:02}:{second:02}", day + 1),
        }
    }

    /// A row, and now and then one that cannot be used.
    fn row(&self, row: u64, random: &mut Random) -> String {
        let symbols = ["AAA", "B.B", "Zürich", "600519"];
        let time = self.time(row);
        let mut cells = vec![symbols[random.below(4) as usize].to_owned()];
        cells.extend(time.split(' ').map(str::to_owned));
        let notes = ["", "a \"b\"", "c, d;\ne|\tf", "\n\n"];
        cells.push(if self.has_notes {
            notes[random.below(4) as usize].to_owned()
        } else {
            "x".into()
        });
        let (close, volume) = (1 + random.below(10_000_000), random.below(100_000_000));
        cells.extend([close, volume].map(|cents| self.number(cents, random)));
        let last = cells.len() - 1;
        // The first row of a table without a header says how many columns there are.
        match if row == 0 { 40 } else { random.below(40) } {
            0 => drop(cells.pop()),
            1 => cells.push("9".to_owned()),
            2 => cells[last] = String::new(),
            3 => cells[last] = "n/a".to_owned(),
            4 => cells[1] = "soon".to_owned(),
            5 => cells[last - 1] = format!("-{}", cells[last - 1]),
            6 => cells[0] = " ".to_owned(),
            _ => {}
        }
        let cells: Vec<_> = cells.iter().map(|cell| self.cell(cell)).collect();
        cells.join(&self.delimiter.to_string()) + self.end
    }

    /// A whole table.
    fn text(&self, rows: u64, random: &mut Random) -> String {
        let mut text = String::new();
        for line in 1..self.header_line {
            write!(text, "remark {line}{}", self.end).unwrap();
        }
        if self.header_line > 0 {
            text += &(self.header().join(&self.delimiter.to_string()) + self.end);
        }
        for row in 0..rows {
            text += &self.row(if self.newest_first { rows - row } else { row }, random);
        }
        text
    }

    /// What a person says of it; the rest is to be found.
    fn options(&self) -> FileOptions {
        let header = self.header();
        let two = self.is_in_two_columns();
        let mut columns = "symbol=Name,time=When,close=Close,volume=Volume".to_owned();
        if two {
            columns = columns.replace("When", "Day+Clock");
        }
        let mut options = options("symbol=1,time=2,close=4,volume=5", None);
        if self.header_line == 0 {
            options.dialect.header = Header::None;
            assert_eq!(header.len(), 5);
        } else {
            options.columns = Some(columns.parse().unwrap());
        }
        if two {
            options.dialect.times = TimeFormat::new(Some(self.time_format), None).unwrap();
        }
        options
    }

    /// What the reference is told.
    fn form(&self) -> String {
        let at = |name| self.header().iter().position(|there| *there == name).unwrap();
        let time = if self.is_in_two_columns() { vec![1, 2] } else { vec![1] };
        json!({
            "delimiter": self.delimiter,
            "encoding": self.encoding,
            "gzip": self.name.ends_with(".gz"),
            "header_line": self.header_line,
            "decimal": self.decimal,
            "newest_first": self.newest_first,
            "time": time,
            "time_format": self.time_format,
            "symbol": 0,
            "close": at("Close"),
            "volume": at("Volume"),
        })
        .to_string()
    }
}

/// What the rows of a table mean, as the reference says it.
fn meanings(path: &Path, options: FileOptions) -> Vec<String> {
    let decoder = decoder();
    let records = FileRecords::open(path, options).unwrap();
    let meaning = |record: Vec<u8>| {
        let Ok(tick) = decoder.decode(&record) else { return "-".to_owned() };
        let bits = |field| tick.fields.get(field).unwrap().to_bits();
        let (close, volume) = (bits(Field::CLOSE), bits(Field::VOLUME));
        format!("{}\t{}\t{close:016x}\t{volume:016x}", tick.symbol, tick.time.as_nanos())
    };
    records.map(|record| meaning(record.unwrap().bytes)).collect()
}

/// Every row is used or refused, and every value is the one that an independent reader has:
/// `TICKCAST_TEST_ROWS` of each layout.
#[test]
fn tables_are_read_as_python_reads_them() {
    let rows: u64 =
        std::env::var("TICKCAST_TEST_ROWS").map_or(20_000, |text| text.parse().unwrap());
    let mut random = Random::announced("tables");
    let folder = TempDir::new().unwrap();
    let compare = &|written: Written, mut random: Random| {
        let path = folder.path().join(written.name);
        fs::write(&path, (written.pack)(&written.text(rows, &mut random))).unwrap();
        let script = repository().join("tests/reference/csv_reader.py");
        let output = Command::new("python3").arg(script).arg(&path).arg(written.form()).output();
        let output = output.expect("python3 runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let expected = String::from_utf8(output.stdout).unwrap();
        let read = meanings(&path, written.options());
        assert_eq!(read.len() as u64, rows, "{}: rows = used + refused", written.name);
        for (number, (read, expected)) in read.iter().zip(expected.lines()).enumerate() {
            assert_eq!(read, expected, "{} row {number}", written.name);
        }
        assert_eq!(read.len(), expected.lines().count(), "{}", written.name);
        let refused = read.iter().filter(|meaning| *meaning == "-").count() as u64;
        assert!((rows / 10..rows / 4).contains(&refused), "{}: {refused}", written.name);
    };
    std::thread::scope(|scope| {
        let running = LAYOUTS.map(|written| {
            let random = Random::from(random.below(u64::MAX));
            scope.spawn(move || compare(written, random))
        });
        for (layout, outcome) in running.into_iter().enumerate() {
            assert!(outcome.join().is_ok(), "layout {layout}");
        }
    });
}
