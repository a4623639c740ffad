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
        ("\"1,5x\"", r#","close":"1,5x""#),
        ("$1191.38", r#","close":1191.38"#),
        ("0.76K", r#","close":760"#),
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
fn rows_with_more_or_fewer_cells_than_the_header_are_never_read_by_position() {
    let contents = "symbol,time,close\nA\nB,2\nC,3,1.5,\"9\"\n,,\nD,4,2.5\n";
    assert_eq!(
        rows(contents, "", "").unwrap(),
        [
            r#"{"wrong_cells":"A"}"#,
            r#"{"wrong_cells":"B,2"}"#,
            r#"{"wrong_cells":"C,3,1.5,\"9\""}"#,
            "{}",
            r#"{"symbol":"D","time":4,"close":2.5}"#,
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
        "columns `date` and `Timestamp` both stand for `time`; choose with a column map, or join \
         them (time=date+Timestamp)"
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
    assert!(matches!(error, Err(FileError::OpenQuote { line: 3, .. })));
    let error = error.unwrap_err().to_string();
    let expected = "line 3: the quote that opens here is not closed; remove it or close it";
    assert!(error.ends_with(expected), "{error}");
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
    let error =
        FileRecords::open(&folder.path().join("folder.jsonl"), FileOptions::default()).err();
    assert!(matches!(error, Some(FileError::Read { .. })));
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

/// The records of a file that is read with a dialect of its own, and what was found of its form.
fn dialect(suffix: &str, contents: &[u8], options: FileOptions) -> (Vec<String>, String) {
    let file = file(suffix, contents);
    let records = FileRecords::open(file.path(), options).unwrap();
    let guessed = records.understood().and_then(Understood::guessed).unwrap_or_default();
    let text =
        |record: Result<Record, FileError>| String::from_utf8(record.unwrap().bytes).unwrap();
    (records.map(text).collect(), guessed)
}

/// Columns by a map, everything else found.
fn by(map: &str) -> FileOptions {
    FileOptions { columns: Some(map.parse().unwrap()), ..FileOptions::default() }
}

const PLAIN: &str = "symbol,time,close\nA,1,1.25\nB,2,2.5\n";
const TICKS: [&str; 2] =
    [r#"{"symbol":"A","time":1,"close":1.25}"#, r#"{"symbol":"B","time":2,"close":2.5}"#];

#[test]
fn what_divides_cells_and_the_decimal_sign_are_found_and_said() {
    for (contents, guessed) in [
        (PLAIN.to_owned(), ""),
        (PLAIN.replace(',', ";"), "cells divided by `;`"),
        (PLAIN.replace(',', "\t"), "cells divided by tabs"),
        (PLAIN.replace(',', "|"), "cells divided by `|`"),
        (PLAIN.replace(',', ";").replace('.', ","), "cells divided by `;`, decimal comma"),
        (PLAIN.replace("1.25", "\"1,25\"").replace("2.5", "\"2,5\""), "decimal comma"),
        (format!("https://www.example.com\n\n{PLAIN}"), "header on line 3"),
        (PLAIN.replace('\n', "\r"), ""),
        (PLAIN.replace('\n', "\r\n"), ""),
    ] {
        let (records, said) = dialect(".csv", contents.as_bytes(), FileOptions::default());
        assert_eq!(records, TICKS, "{contents:?}");
        assert_eq!(said, guessed, "{contents:?}");
    }
}

#[test]
fn a_form_that_could_be_another_one_is_an_error_that_names_what_to_say() {
    for (contents, expected) in [
        (
            "symbol;time;close\nA;1;1,234\n",
            "column `close` has `1,234`, and the first rows do not show whether the comma or the \
             point is the decimal sign; set --decimal , or --decimal . (decimal)",
        ),
        (
            "symbol;time;close\nA;1;1.234\n",
            "column `close` has `1.234`, and the first rows do not show whether the comma or the \
             point is the decimal sign; set --decimal , or --decimal . (decimal)",
        ),
        (
            "symbol;time;close\nA;1;1,5\nA;2;1.5\n",
            "column `close` has `1,5`, and the first rows do not show whether the comma or the \
             point is the decimal sign; set --decimal , or --decimal . (decimal)",
        ),
        (
            "symbol,time,close\nA,01/02/2024,1\n",
            "column `time` has `01/02/2024`, which does not show whether the day or the month \
             comes first; set --time-format (time_format), such as \"%m/%d/%Y\" or \
             \"%d.%m.%Y %H:%M\"",
        ),
        (
            "symbol,time;close,x\nA,1;2,3\n",
            "cells could be divided by `,` or `;`; set --delimiter (delimiter)",
        ),
    ] {
        let error = open(".csv", contents.as_bytes(), FileOptions::default());
        assert_eq!(message(error), expected, "{contents}");
    }
    for contents in ["1704067200000,1.0,1.1\n", "A,2024-01-01,1.5\n"] {
        let error = open(".csv", contents.as_bytes(), FileOptions::default()).unwrap_err();
        assert!(matches!(error, FileError::HeaderIsData { line: 1, .. }), "{error}");
    }
    let said = |decimal| {
        let dialect = Dialect { decimal: Some(decimal), ..Dialect::default() };
        let options = FileOptions { dialect, ..FileOptions::default() };
        open(".csv", b"symbol;time;close\nA;1;1,234\n", options).unwrap()[0].1.clone()
    };
    assert_eq!(said(Decimal::Comma), r#"{"symbol":"A","time":1,"close":1.234}"#);
    assert_eq!(said(Decimal::Point), r#"{"symbol":"A","time":1,"close":1234}"#);
}

#[test]
fn packed_and_encoded_files_are_read_as_their_text() {
    let gzip = |text: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    };
    let utf16 = |text: &str, mark: &[u8], order: fn(u16) -> [u8; 2]| {
        mark.iter().copied().chain(text.encode_utf16().flat_map(order)).collect::<Vec<u8>>()
    };
    let plain = PLAIN.as_bytes();
    let halves = plain.split_at(20);
    let members = [gzip(halves.0), gzip(halves.1)].concat();
    let zstd = zstd::encode_all(plain, 1).unwrap();
    for (suffix, contents, said) in [
        (".csv.gz", gzip(plain), "compressed with gzip"),
        (".csv.gz", members, "compressed with gzip"),
        (".csv", gzip(plain), "compressed with gzip"),
        (".csv.zst", zstd.clone(), "compressed with zstd"),
        (".csv", [b"\xEF\xBB\xBF", plain].concat(), ""),
        (".csv", utf16(PLAIN, b"\xff\xfe", u16::to_le_bytes), "encoded in UTF-16LE"),
        (".csv", utf16(PLAIN, b"\xfe\xff", u16::to_be_bytes), "encoded in UTF-16BE"),
        (".csv", utf16(PLAIN, b"", u16::to_le_bytes), "encoded in UTF-16LE"),
        (
            ".csv.gz",
            gzip(&utf16(PLAIN, b"\xff\xfe", u16::to_le_bytes)),
            "compressed with gzip, encoded in UTF-16LE",
        ),
    ] {
        let (records, guessed) = dialect(suffix, &contents, FileOptions::default());
        assert_eq!(records, TICKS, "{suffix} {said}");
        assert_eq!(guessed, said, "{suffix}");
        let file = file(suffix, &contents);
        let mut records = FileRecords::open(file.path(), FileOptions::default()).unwrap();
        while records.next().is_some() {}
        assert_eq!(Some(records.bytes_read()), records.bytes_total(), "{suffix} {said}");
    }
    let lines = gzip(b"{\"a\":1}\n{\"b\":2}\n");
    assert_eq!(open(".jsonl.gz", &lines, FileOptions::default()).unwrap().len(), 2);
    // One that breaks off is an error, and so is a name that says what the bytes do not.
    for cut in [gzip(plain), zstd] {
        let error = open(".csv.gz", &cut[..cut.len() - 6], FileOptions::default());
        assert!(matches!(error, Err(FileError::Read { .. })), "{error:?}");
    }
    let error = open(".csv.gz", plain, FileOptions::default());
    assert_eq!(message(error), "not compressed with gzip, as its name says; rename it");
    let error = open(".csv", b"PK\x03\x04rest", FileOptions::default());
    assert!(message(error).starts_with("a zip archive"));
}

#[test]
fn a_table_whose_newest_row_comes_first_comes_out_oldest_first() {
    let contents = "symbol,time,close\nA,3,30\nB,3,31\nA,2,\"2\n0\"\nA,1\nA,1,10\n";
    let file = file(".csv", contents.as_bytes());
    let records = FileRecords::open(file.path(), FileOptions::default()).unwrap();
    assert!(records.guessed().unwrap().ends_with("is read with: newest row first, so sorted"));
    let records: Vec<_> = records
        .map(|record| record.unwrap())
        .map(|record| (record.line, String::from_utf8(record.bytes).unwrap()))
        .collect();
    assert_eq!(
        records,
        [
            (7, r#"{"symbol":"A","time":1,"close":10}"#.to_owned()),
            (6, r#"{"wrong_cells":"A,1"}"#.to_owned()),
            (4, r#"{"symbol":"A","time":2,"close":"2\n0"}"#.to_owned()),
            (3, r#"{"symbol":"B","time":3,"close":31}"#.to_owned()),
            (2, r#"{"symbol":"A","time":3,"close":30}"#.to_owned()),
        ]
    );
    let mixed = "symbol,time,close\nA,3,1\nA,1,1\nA,2,1\n";
    let (records, guessed) = dialect(".csv", mixed.as_bytes(), FileOptions::default());
    assert!(records[0].contains(r#""time":3"#) && guessed.is_empty(), "disorder is no order");
    let keeps = Dialect { keeps_order: true, ..Dialect::default() };
    let options = FileOptions { dialect: keeps, ..FileOptions::default() };
    let (records, _) = dialect(".csv", b"symbol,time\nA,2\nA,1\n", options);
    assert_eq!(records, [r#"{"symbol":"A","time":2}"#, r#"{"symbol":"A","time":1}"#]);
}

#[test]
fn columns_are_chosen_by_number_where_names_do_not_tell_them() {
    let contents = "Price,Close,Close\n2024-01-02,100,900\n";
    let columns = by("time=Price,close=Close");
    assert_eq!(
        message(open(
            ".csv",
            contents.as_bytes(),
            FileOptions { symbol: Some("B".into()), ..columns }
        )),
        "2 columns are called `Close`: choose one by its number, such as close=3; there are \
         `Price`, `Close`, `Close`"
    );
    let columns = FileOptions { symbol: Some("B".into()), ..by("time=Price,close=3") };
    let (records, _) = dialect(".csv", contents.as_bytes(), columns);
    assert_eq!(records, [r#"{"symbol":"B","time":"2024-01-02","close":900}"#]);
    // A name goes before a number, and a number must be one of a column.
    let (records, _) = dialect(
        ".csv",
        b"2,1\n7,8.5\n",
        FileOptions {
            symbol: Some("B".into()),
            dialect: Dialect { header: Header::Line(1), ..Dialect::default() },
            ..by("time=2,close=1")
        },
    );
    assert_eq!(records, [r#"{"symbol":"B","time":7,"close":8.5}"#]);
    let none = FileOptions {
        symbol: Some("B".into()),
        dialect: Dialect { header: Header::None, ..Dialect::default() },
        ..by("time=1,close=4")
    };
    assert_eq!(message(open(".csv", b"7,8.5,9\n", none)), "no column `4`; there are `1`, `2`, `3`");
}

#[test]
fn a_quote_that_reaches_over_rows_is_an_error_that_names_its_line() {
    let row = |day: u32, name: &str| format!("2024-01-{day:02},{name},1,2\n");
    let rows = |names: [&str; 5]| -> String {
        let rows = names.iter().zip(1..).map(|(name, day)| row(day, name));
        "time,name,close,volume\n".to_owned() + &rows.collect::<String>()
    };
    let options =
        || FileOptions { symbol: Some("A".into()), ..by("time=time,close=close,volume=volume") };
    for (names, expected) in [
        (["a", "\"b", "c", "d", "e"], "line 3: the quote that opens here is not closed"),
        (["a", "\"b", "c", "\"d\"", "e"], "line 3: a quote that opens here reaches over the rows"),
        (["a", "\"b", "c", "d", "e\""], "line 3: a quote that opens here reaches over the rows"),
    ] {
        let error = open(".csv", rows(names).as_bytes(), options()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    for note in ["\"b\nc, d\n\n\"\"e\"", "\"\n\n\"", "\"\n\n\n\""] {
        let text = rows(["a", note, note, "d", "e"]);
        assert_eq!(open(".csv", text.as_bytes(), options()).unwrap().len(), 5, "{note:?}");
    }
}

#[test]
fn dates_and_clocks_in_two_columns_are_joined_and_never_halved() {
    let contents = "Date,Time,close\n2024-01-02,09:00,1\n2024-01-03,,2\n";
    let columns = FileOptions { symbol: Some("B".into()), ..by("time=Date+Time,close=close") };
    let (records, _) = dialect(".csv", contents.as_bytes(), columns);
    assert_eq!(
        records,
        [r#"{"symbol":"B","time":"2024-01-02 09:00","close":1}"#, r#"{"symbol":"B","close":2}"#]
    );
}
