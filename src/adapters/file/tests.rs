//! Every rule by which a recording becomes records.

use std::fs;
use std::io::Write;

use super::*;

/// A file with a name that tells its format; removed when dropped.
fn file(suffix: &str, contents: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
    file.write_all(contents).unwrap();
    file
}

fn open(
    suffix: &str,
    contents: &[u8],
    options: FileOptions,
) -> Result<Vec<(u64, String)>, FileError> {
    let file = file(suffix, contents);
    FileRecords::open(file.path(), options)?
        .map(|record| {
            let Record { line, bytes } = record?;
            Ok((line, String::from_utf8_lossy(&bytes).into_owned()))
        })
        .collect()
}

/// The records of a CSV file, without their lines.
fn rows(contents: &str, map: &str, symbol: &str) -> Result<Vec<String>, FileError> {
    let options = FileOptions {
        columns: (!map.is_empty()).then(|| map.parse().unwrap()),
        symbol: (!symbol.is_empty()).then(|| symbol.to_owned()),
        ..FileOptions::default()
    };
    let records = open(".csv", contents.as_bytes(), options)?;
    Ok(records.into_iter().map(|(_, text)| text).collect())
}

/// The message of the error, without the name of the file.
fn message<T: std::fmt::Debug>(result: Result<T, FileError>) -> String {
    let text = result.unwrap_err().to_string();
    text.split_once(": ").unwrap().1.to_owned()
}

#[test]
fn json_lines_pass_as_they_stand() {
    let contents = b"\xEF\xBB\xBF{\"a\":1}\r\n\n  \t\n  {\"b\": 2} \nnot json\n{\"c\":3}";
    let expected = [
        (1, "{\"a\":1}".to_owned()),
        (4, "{\"b\": 2}".to_owned()),
        (5, "not json".to_owned()),
        (6, "{\"c\":3}".to_owned()),
    ];
    for suffix in [".jsonl", ".ndjson", ".json", ".JSONL"] {
        let records = open(suffix, contents, FileOptions::default()).unwrap();
        assert_eq!(records, expected, "{suffix}");
    }
}

#[test]
fn a_long_line_is_cut_and_the_next_one_is_whole() {
    let mut contents = vec![b'x'; 3 * RECORD_BYTES_MAX];
    contents.extend_from_slice(b"\n{}\n");
    contents.extend(vec![b'y'; RECORD_BYTES_MAX]);
    let records = open(".jsonl", &contents, FileOptions::default()).unwrap();
    let lengths: Vec<_> = records.iter().map(|(line, text)| (*line, text.len())).collect();
    assert_eq!(lengths, [(1, RECORD_BYTES_MAX + 1), (2, 2), (3, RECORD_BYTES_MAX)]);
}

#[test]
fn rows_become_ticks_by_a_column_map() {
    let stocks = "Ticker,Date,Close,Volume,Adj Close\n\
                  AAPL,2000-03-01,130.31,9616100,4.186662803811\n";
    let map = "symbol=Ticker, time=Date,close=Adj Close,volume=Volume";
    assert_eq!(
        rows(stocks, map, "").unwrap(),
        [r#"{"symbol":"AAPL","time":"2000-03-01","close":4.186662803811,"volume":9616100}"#]
    );
}

#[test]
fn columns_without_a_map_go_by_their_own_names() {
    for (symbol, time) in
        [("Ticker", "DATE"), ("symbol", "Timestamp"), ("SYMBOL", "datetime"), ("ticker", "time")]
    {
        let contents =
            format!("\u{feff},{symbol},Close,{time},Adj Close\n0,A,1.5,2000-03-01,2.5\n");
        assert_eq!(
            rows(&contents, "", "").unwrap(),
            [r#"{"symbol":"A","time":"2000-03-01","close":1.5,"adj close":2.5}"#],
            "{symbol} {time}"
        );
    }
}

#[test]
fn a_symbol_stands_in_for_a_column() {
    let contents = "timestamp,bid\n2013-01-01 22:00:00+00:00,86.655\n";
    assert_eq!(
        rows(contents, "", "USDJPY").unwrap(),
        [r#"{"symbol":"USDJPY","time":"2013-01-01 22:00:00+00:00","bid":86.655}"#]
    );
    assert_eq!(
        rows(contents, "time=timestamp,price=bid", "A\"B").unwrap(),
        [r#"{"symbol":"A\"B","time":"2013-01-01 22:00:00+00:00","price":86.655}"#]
    );
}

#[test]
fn cells_become_what_the_decoder_counts() {
    let cell = |cell: &str| {
        let rows = rows(&format!("symbol,time,close\nA,1,{cell}\n"), "", "").unwrap();
        let json = rows[0].strip_prefix(r#"{"symbol":"A","time":1"#).unwrap();
        json.strip_suffix('}').unwrap().to_owned()
    };
    for (text, expected) in [
        ("", ""),
        ("\"\"", ""),
        ("  ", ""),
        (" 1.5 ", r#","close":1.5"#),
        ("0.1", r#","close":0.1"#),
        ("1e3", r#","close":1000"#),
        ("-7", r#","close":-7"#),
        ("-0.0", r#","close":-0.0"#),
        ("9007199254740993", r#","close":9007199254740992.0"#),
        ("NaN", r#","close":NaN"#),
        ("nan", r#","close":NaN"#),
        ("inf", r#","close":NaN"#),
        ("-Infinity", r#","close":NaN"#),
        ("1e999", r#","close":NaN"#),
        ("n/a", r#","close":"n/a""#),
        ("\"1,5\"", r#","close":"1,5""#),
        ("\"a\"\"b\nc\"", r#","close":"a\"b\nc""#),
    ] {
        assert_eq!(cell(text), expected, "{text:?}");
    }
}

#[test]
fn a_number_keeps_its_bits() {
    for text in ["4.186662803811", "1e-320", "0.30000000000000004", "123456789.123456789"] {
        let rows = rows(&format!("symbol,time,close\nA,1,{text}\n"), "", "").unwrap();
        let json: serde_json::Value = serde_json::from_str(&rows[0]).unwrap();
        let expected: f64 = text.parse().unwrap();
        assert_eq!(json["close"].as_f64().map(f64::to_bits), Some(expected.to_bits()));
    }
}

#[test]
fn a_time_is_a_number_or_a_text() {
    for (text, expected) in [
        ("1362148200123", "1362148200123"),
        ("9223372036854775807", "9223372036854775807"),
        ("-5", "-5"),
        ("1362148200.5", "1362148200.5"),
        ("2013-03-01", r#""2013-03-01""#),
        ("NaN", r#""NaN""#),
        ("yesterday", r#""yesterday""#),
    ] {
        let rows = rows(&format!("symbol,time\nA,{text}\n"), "", "").unwrap();
        assert_eq!(rows, [format!(r#"{{"symbol":"A","time":{expected}}}"#)]);
    }
}

#[test]
fn a_symbol_is_always_a_text() {
    let contents = "symbol,time\nNAN,1\n600519,2\n,3\n";
    assert_eq!(
        rows(contents, "", "").unwrap(),
        [r#"{"symbol":"NAN","time":1}"#, r#"{"symbol":"600519","time":2}"#, r#"{"time":3}"#]
    );
}

#[test]
fn ragged_rows_pass_with_what_they_have() {
    let contents = "symbol,time,close\nA\nB,2\nC,3,1.5,9,9\n,,\n";
    assert_eq!(
        rows(contents, "", "").unwrap(),
        [
            r#"{"symbol":"A"}"#,
            r#"{"symbol":"B","time":2}"#,
            r#"{"symbol":"C","time":3,"close":1.5}"#,
            "{}",
        ]
    );
}

#[test]
fn rows_know_their_lines_whatever_ends_them() {
    let contents = "symbol,time,close\n\nA,1,\"\n2\n\"\nB,1,2\n  \n\n\"C\",1,\"2\"";
    for end in ["\n", "\r\n"] {
        for tail in ["", end] {
            let contents = contents.replace('\n', end) + tail;
            let records = open(".csv", contents.as_bytes(), FileOptions::default()).unwrap();
            assert_eq!(
                records,
                [
                    (3, r#"{"symbol":"A","time":1,"close":2}"#.to_owned()),
                    (6, r#"{"symbol":"B","time":1,"close":2}"#.to_owned()),
                    (9, r#"{"symbol":"C","time":1,"close":2}"#.to_owned()),
                ],
                "{contents:?}"
            );
        }
    }
}

#[test]
fn a_cell_that_is_not_text_makes_a_record_that_is_not_json() {
    let file = file(".csv", b"symbol,time,close\nA\xff,1,2\nB,1,2\n");
    let records: Vec<_> = FileRecords::open(file.path(), FileOptions::default())
        .unwrap()
        .map(|record| record.unwrap().bytes)
        .collect();
    assert_eq!(records[0], b"{\"symbol\":A\xff,\"time\":1,\"close\":2}");
    assert_eq!(records[1], br#"{"symbol":"B","time":1,"close":2}"#);
}

#[test]
fn header_problems_name_the_column_and_what_there_is() {
    let contents = "Ticker,Date,Close\nA,2000-03-01,1\n";
    for (map, symbol, expected) in [
        (
            "symbol=Ticker,time=Date,close=Adj Close",
            "",
            "no column `Adj Close`; there are `Ticker`, `Date`, `Close`",
        ),
        (
            "time=Date,close=Close",
            "",
            "no column stands for the symbol: map one (symbol=COLUMN) or name the symbol of the \
             whole file; there are `Ticker`, `Date`, `Close`",
        ),
        (
            "symbol=Ticker,close=Close",
            "",
            "no column stands for the time: map one (time=COLUMN); there are `Ticker`, `Date`, \
             `Close`",
        ),
        (
            "",
            "A",
            "column `Ticker` holds the symbol, so a symbol for the whole file contradicts it",
        ),
    ] {
        assert_eq!(message(rows(contents, map, symbol)), expected);
    }
    assert_eq!(
        message(rows("symbol,date,Timestamp\n", "", "")),
        "columns `date` and `Timestamp` both stand for `time`; choose with a column map"
    );
    assert_eq!(message(rows("", "", "")), "empty; a CSV file begins with a header row");
}

#[test]
fn a_column_map_names_the_pair_at_fault() {
    for text in ["close", "symbol=Ticker,close", "=Close", "close=", ""] {
        let error = text.parse::<ColumnMap>().unwrap_err();
        assert!(matches!(error, ColumnMapError::NotAPair(_)), "{text}");
    }
    assert_eq!(
        "symbol=Ticker,close".parse::<ColumnMap>(),
        Err(ColumnMapError::NotAPair("close".into()))
    );
    assert_eq!(
        "close=Close,close=Adj Close".parse::<ColumnMap>(),
        Err(ColumnMapError::Repeated("close=Adj Close".into()))
    );
}

#[test]
fn a_quote_that_is_never_closed_ends_the_file_at_its_line() {
    let mut contents = b"symbol,time,close\nA,1,2\nB,2,\"3\n".to_vec();
    contents.extend(b"C,3,4\n".repeat(RECORD_BYTES_MAX / 3));
    let file = file(".csv", &contents);
    let mut records = FileRecords::open(file.path(), FileOptions::default()).unwrap();
    assert_eq!(records.next().unwrap().unwrap().line, 2);
    let error = records.next().unwrap();
    assert!(matches!(error, Err(FileError::RowTooLong { line: 3, .. })));
    assert_eq!(message(error), "the row is longer than 1048576 bytes; is a quote not closed?");
    assert!(records.next().is_none(), "the first error is the last item");
}

#[test]
fn the_format_comes_from_the_name_unless_it_is_forced() {
    let force = |format| FileOptions { format: Some(format), ..FileOptions::default() };
    let contents = b"symbol,time\nA,1\n";
    assert!(matches!(
        open(".txt", contents, FileOptions::default()),
        Err(FileError::UnknownFormat { .. })
    ));
    assert_eq!(open(".txt", contents, force(FileFormat::Csv)).unwrap().len(), 1);
    assert_eq!(open(".csv", contents, force(FileFormat::JsonLines)).unwrap().len(), 2);
    assert_eq!("csv".parse(), Ok(FileFormat::Csv));
    assert_eq!("json-lines".parse(), Ok(FileFormat::JsonLines));
    assert!("xml".parse::<FileFormat>().is_err());
}

#[test]
fn columns_for_json_lines_are_refused() {
    let options = FileOptions { symbol: Some("A".into()), ..FileOptions::default() };
    assert_eq!(
        message(open(".jsonl", b"", options)),
        "a symbol is for CSV and Parquet files; JSON lines name their fields themselves"
    );
    let options =
        FileOptions { columns: Some("time=Date".parse().unwrap()), ..FileOptions::default() };
    assert_eq!(
        message(open(".jsonl", b"", options)),
        "a column map is for CSV and Parquet files; JSON lines name their fields themselves"
    );
}

#[test]
fn progress_reaches_the_size_of_the_file() {
    for (suffix, contents) in [(".jsonl", "{}\n{}\n"), (".csv", "symbol,time\nA,1\nA,2\n")] {
        let file = file(suffix, contents.as_bytes());
        let mut records = FileRecords::open(file.path(), FileOptions::default()).unwrap();
        assert_eq!(records.bytes_total(), Some(contents.len() as u64));
        let mut before = 0;
        while records.next().is_some() {
            assert!(records.bytes_read() > before, "{suffix}");
            before = records.bytes_read();
        }
        assert_eq!(Some(records.bytes_read()), records.bytes_total());
    }
}

#[test]
fn a_missing_file_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nothing.csv");
    let error = FileRecords::open(&path, FileOptions::default()).err().unwrap();
    assert!(matches!(error, FileError::Open { .. }));
    assert!(error.to_string().contains("nothing.csv"), "{error}");
    fs::create_dir(folder.path().join("folder.jsonl")).unwrap();
    let mut records =
        FileRecords::open(&folder.path().join("folder.jsonl"), FileOptions::default()).unwrap();
    assert!(matches!(records.next(), Some(Err(FileError::Read { .. }))));
    assert!(records.next().is_none());
}

#[cfg(feature = "train")]
#[test]
fn parquet_on_standard_input_asks_for_a_file() {
    let options = FileOptions { format: Some(FileFormat::Parquet), ..FileOptions::default() };
    let error = FileRecords::open(Path::new("-"), options).err().unwrap();
    assert!(matches!(error, FileError::NotAFile));
    let told = "a Parquet file cannot be read from standard input; name a file";
    assert_eq!(error.to_string(), told);
}

#[cfg(not(feature = "train"))]
#[test]
fn a_build_without_the_trainer_says_that_it_reads_no_parquet() {
    let error = open(".parquet", b"PAR1", FileOptions::default());
    assert!(matches!(error, Err(FileError::NoParquet { .. })));
    let told = "this build reads no Parquet files; one with the feature `train`, the default, does";
    assert_eq!(message(error), told);
}
