//! A Parquet file reads as the CSV file of the same rows, and a bad one is told.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use bytes::buf::Buf;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{self, ByteArray, FixedLenByteArray, Int96};
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::super::dialect::Dialect;
use super::super::error::FileError;
use super::super::input::Packing;
use super::super::record::Record;
use super::super::table::Table;
use super::{Bounded, PANICKED, ParquetRows};
use crate::core::domain::{TimeFormat, UnixNanos};

/// The values of a column, `None` for a null.
#[derive(Clone, Debug)]
enum Values {
    Bool(Vec<Option<bool>>),
    Int32(Vec<Option<i32>>),
    Int64(Vec<Option<i64>>),
    Int96(Vec<Option<Int96>>),
    Float(Vec<Option<f32>>),
    Double(Vec<Option<f64>>),
    Bytes(Vec<Option<Vec<u8>>>),
    Fixed(Vec<Option<Vec<u8>>>),
}

/// Writes the values of one row group's next column.
fn write<T: data_type::DataType, V: Clone>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[Option<V>],
    value: impl Fn(V) -> T::T,
) {
    let there: Vec<T::T> = values.iter().flatten().cloned().map(value).collect();
    let levels: Vec<i16> = values.iter().map(|value| value.is_some().into()).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<T>().write_batch(&there, Some(&levels), None).unwrap();
    column.close().unwrap();
}

fn usual() -> WriterPropertiesBuilder {
    WriterProperties::builder()
}

/// A Parquet file of these columns, each of `type name (logical type)`, in row groups of so many
/// rows; removed when dropped.
fn file(
    columns: &[(&str, Values)],
    group_rows: usize,
    properties: WriterPropertiesBuilder,
) -> NamedTempFile {
    let fields: String =
        columns.iter().map(|(column, _)| format!("optional {column};\n")).collect();
    let schema = parse_message_type(&format!("message schema {{ {fields} }}")).unwrap();
    let file = tempfile::Builder::new().suffix(".parquet").tempfile().unwrap();
    let properties = Arc::new(properties.build());
    let mut writer =
        SerializedFileWriter::new(file.reopen().unwrap(), Arc::new(schema), properties).unwrap();
    let rows = columns.first().map_or(0, |(_, values)| values.len());
    for start in (0..rows).step_by(group_rows.max(1)) {
        let range = start..rows.min(start + group_rows);
        let mut group = writer.next_row_group().unwrap();
        for (_, values) in columns {
            let range = range.clone();
            let group = &mut group;
            match values {
                Values::Bool(v) => write::<data_type::BoolType, _>(group, &v[range], |v| v),
                Values::Int32(v) => write::<data_type::Int32Type, _>(group, &v[range], |v| v),
                Values::Int64(v) => write::<data_type::Int64Type, _>(group, &v[range], |v| v),
                Values::Int96(v) => write::<data_type::Int96Type, _>(group, &v[range], |v| v),
                Values::Float(v) => write::<data_type::FloatType, _>(group, &v[range], |v| v),
                Values::Double(v) => write::<data_type::DoubleType, _>(group, &v[range], |v| v),
                Values::Bytes(v) => {
                    write::<data_type::ByteArrayType, _>(group, &v[range], ByteArray::from);
                }
                Values::Fixed(v) => write::<data_type::FixedLenByteArrayType, _>(
                    group,
                    &v[range],
                    FixedLenByteArray::from,
                ),
            }
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
    file
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Bool(values) => values.len(),
            Self::Int32(values) => values.len(),
            Self::Int64(values) => values.len(),
            Self::Int96(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Double(values) => values.len(),
            Self::Bytes(values) | Self::Fixed(values) => values.len(),
        }
    }

    fn texts(texts: &[&str]) -> Self {
        Self::Bytes(texts.iter().map(|text| Some(text.as_bytes().to_vec())).collect())
    }
}

fn open(path: &Path, map: &str) -> Result<ParquetRows, FileError> {
    let columns = (!map.is_empty()).then(|| map.parse().unwrap());
    ParquetRows::new(path, File::open(path).unwrap(), columns.as_ref(), None, TimeFormat::default())
}

fn records(path: &Path, map: &str) -> Result<Vec<Record>, FileError> {
    let mut rows = open(path, map)?;
    std::iter::from_fn(|| rows.next(path).transpose()).collect()
}

/// The records of the file as text.
fn texts(file: &NamedTempFile) -> Vec<String> {
    let records = records(file.path(), "").unwrap();
    records.into_iter().map(|record| String::from_utf8(record.bytes).unwrap()).collect()
}

fn small() -> NamedTempFile {
    let columns = [
        ("binary symbol (STRING)", Values::texts(&["A", "B", "A", "B"])),
        ("int64 time (TIMESTAMP(MILLIS,true))", Values::Int64([1, 1, 2, 2].map(Some).to_vec())),
        ("double close", Values::Double(vec![Some(1.5), None, Some(2.5), Some(3.5)])),
        ("int32 volume", Values::Int32([7, 8, 9, 10].map(Some).to_vec())),
    ];
    file(&columns, 3, usual().set_compression(Compression::SNAPPY))
}

/// The error over these bytes, which names the file, if there is one.
fn problem(bytes: &[u8]) -> Option<String> {
    let file = tempfile::Builder::new().suffix(".parquet").tempfile().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let error = records(file.path(), "").err()?.to_string();
    let (path, problem) = error.split_once("`: ").unwrap();
    assert_eq!(path, format!("`{}", file.path().display()));
    Some(problem.to_owned())
}

#[test]
fn a_file_that_is_cut_off_is_refused_wherever_it_ends() {
    let whole = std::fs::read(small().path()).unwrap();
    assert_eq!(problem(&whole), None);
    // The last bytes, which tell where everything is, one by one.
    let ends = (0..whole.len()).step_by(13).chain(whole.len() - 16..whole.len());
    for end in ends {
        let problem = problem(&whole[..end]).unwrap();
        assert!(problem.starts_with("no Parquet file, or a damaged one: "), "{end}: {problem}");
    }
    assert!(problem(b"symbol,time,close\nA,1,2\n").is_some(), "CSV under another name");
}

#[test]
fn no_damaged_byte_makes_a_panic_of_it() {
    let whole = std::fs::read(small().path()).unwrap();
    let mut problems = Vec::new();
    for (at, mask) in (0..whole.len()).zip([1, 128, 2, 255, 16].into_iter().cycle()) {
        let mut bytes = whole.clone();
        bytes[at] ^= mask;
        problems.extend(problem(&bytes));
    }
    let (refused, of) = (problems.len(), whole.len());
    assert!(refused > of / 4, "{refused} of {of} damaged files refused");
    let guarded = problems.iter().filter(|problem| problem.ends_with(PANICKED)).count();
    assert!(guarded > 0, "the library panics no more: `guarded` can go");
}

/// A file in memory that does not bear being read on and on behind its end.
struct Ending(Bytes);

/// A reader of it, and how often it has said that nothing is left.
struct Reader(bytes::buf::Reader<Bytes>, usize);

impl Length for Ending {
    fn len(&self) -> u64 {
        self.0.remaining() as u64
    }
}

impl ChunkReader for Ending {
    type T = Reader;

    fn get_read(&self, start: u64) -> Result<Reader, ParquetError> {
        self.0.get_read(start).map(|reader| Reader(reader, 0))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.0.get_bytes(start, length)
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1 += usize::from(count == 0);
        assert!(self.1 < 10, "nothing is left, and it is asked for more and more");
        Ok(count)
    }
}

#[test]
fn what_a_structure_claims_goes_no_further_than_the_file() {
    let whole = std::fs::read(small().path()).unwrap();
    let problem = |bytes: Vec<u8>| {
        let (path, times) = (Path::new("it"), TimeFormat::default());
        let rows = ParquetRows::new(path, Ending(bytes.into()), None, None, times);
        let read = |mut rows: ParquetRows| {
            let rows = std::iter::from_fn(|| rows.next(path).transpose());
            rows.collect::<Result<Vec<_>, _>>()
        };
        match rows.and_then(read) {
            Ok(records) => format!("{} records", records.len()),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(problem(whole.clone()), "4 records");
    let metadata_bytes: [u8; 4] = whole[whole.len() - 8..][..4].try_into().unwrap();
    let metadata = whole.len() - 8 - u32::from_le_bytes(metadata_bytes) as usize;
    // A field that the format does not have, and in it two billion of something.
    for (what, claim, words) in [
        ("numbers", &[0xf9, 0xf7, 0xff, 0xff, 0xff, 0xff, 0x07][..], "a list goes beyond"),
        ("identifiers", &[0xf9, 0xfd, 0xff, 0xff, 0xff, 0xff, 0x07], "a list goes beyond"),
        ("texts", &[0xfa, 0xf8, 0xff, 0xff, 0xff, 0xff, 0x07], "a list goes beyond"),
        ("pairs", &[0xfb, 0xff, 0xff, 0xff, 0xff, 0x07, 0x77], "a list goes beyond"),
        ("letters", &[0xf8, 0xff, 0xff, 0xff, 0xff, 0x07], "a text goes beyond"),
        ("switches", &[0xf9, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x07], "a list of switches"),
        ("pairs of switches", &[0xfb, 0xff, 0xff, 0xff, 0xff, 0x07, 0x11], "a list of switches"),
        ("lists", &[0x19; 80], "nested too deeply"),
        ("digits", &[0xf6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "64 bits"),
        ("nothing known", &[0xfe], "no kind 14"),
    ] {
        // The first page begins behind the magic.
        for (place, at) in [("page", 4), ("metadata", metadata)] {
            let mut bytes = whole.clone();
            bytes[at..at + claim.len()].copy_from_slice(claim);
            let problem = problem(bytes);
            assert!(problem.contains(words), "{what} in a {place}: {problem}");
        }
    }
}

#[test]
fn a_part_behind_the_end_takes_no_memory() {
    let file = Bounded::new(Ending(Bytes::from_static(CHECKSUMS))).unwrap();
    let end = file.len();
    assert_eq!(file.get_bytes(end - 4, 4).unwrap(), "PAR1");
    for (start, length) in [(end - 4, 5), (end, usize::MAX), (u64::MAX, 1), (0, usize::MAX)] {
        let refused = file.get_bytes(start, length).unwrap_err().to_string();
        assert_eq!(refused, "EOF: a part goes beyond the end of the file");
    }
}

/// Symbols A and A, times 1 and 2, closes 1.5 and 2.5, written by pyarrow 26.0.1 with
/// `write_table(table, path, write_page_checksum=True, compression="none", use_dictionary=False,
/// store_schema=False, write_statistics=False)`. The library that reads writes no checksums.
const CHECKSUMS: &[u8] = include_bytes!("../../../../tests/data/page-checksums.parquet");

#[test]
fn a_value_that_does_not_fit_the_checksum_of_its_page_is_refused() {
    assert_eq!(problem(CHECKSUMS), None);
    let close = 1.5f64.to_le_bytes();
    let at = CHECKSUMS.windows(close.len()).position(|bytes| bytes == close).unwrap();
    let mut damaged = CHECKSUMS.to_vec();
    damaged[at] ^= 1;
    let told = "no Parquet file, or a damaged one: Parquet error: Page CRC checksum mismatch";
    assert_eq!(problem(&damaged).unwrap(), told);
}

#[test]
fn every_type_has_the_text_of_a_csv_file() {
    let day = 2_440_588 + 15_765;
    let mut julian = Int96::new();
    julian.set_data(1_000, 0, day);
    let late = i64::MAX;
    let time = |text: &str| format!(r#"{{"symbol":"A","time":{text}"#);
    for (column, values, expected) in [
        ("int64 time", Values::Int64(vec![Some(-5)]), time("-5")),
        ("double time", Values::Double(vec![Some(1.5)]), time("1.5")),
        ("int32 time (DATE)", Values::Int32(vec![Some(15_765)]), time(r#""2013-03-01""#)),
        ("int32 time (DATE)", Values::Int32(vec![Some(-1)]), time(r#""1969-12-31""#)),
        (
            "int64 time (TIMESTAMP(MILLIS,true))",
            Values::Int64(vec![Some(1_362_148_200_123)]),
            time(r#""2013-03-01T14:30:00.123Z""#),
        ),
        (
            "int64 time (TIMESTAMP(MICROS,false))",
            Values::Int64(vec![Some(-1)]),
            time(r#""1969-12-31T23:59:59.999999Z""#),
        ),
        (
            "int64 time (TIMESTAMP(NANOS,true))",
            Values::Int64(vec![Some(1_362_148_200_123_456_789)]),
            time(r#""2013-03-01T14:30:00.123456789Z""#),
        ),
        ("int64 time (TIMESTAMP_MICROS)", Values::Int64(vec![Some(0)]), {
            time(r#""1970-01-01T00:00:00Z""#)
        }),
        ("int96 time", Values::Int96(vec![Some(julian)]), time(r#""2013-03-01T00:00:00.000001Z""#)),
        ("binary time (STRING)", Values::texts(&["2013-03-01"]), time(r#""2013-03-01""#)),
        (
            "int64 time (TIMESTAMP(MILLIS,true))",
            Values::Int64(vec![Some(late)]),
            time(&format!(r#""{late}, beyond the years 1677 to 2262""#)),
        ),
    ] {
        let symbol = ("binary symbol (STRING)", Values::texts(&["A"]));
        let columns = [symbol, (column, values)];
        assert_eq!(texts(&file(&columns, 1, usual())), [expected + "}"], "{column}");
    }
    for (column, values, expected) in [
        ("double x", Values::Double(vec![Some(0.1)]), "0.1"),
        ("double x", Values::Double(vec![Some(-0.0)]), "-0.0"),
        ("double x", Values::Double(vec![Some(f64::NAN)]), "NaN"),
        ("double x", Values::Double(vec![Some(f64::INFINITY)]), "NaN"),
        ("float x", Values::Float(vec![Some(0.1)]), "0.10000000149011612"),
        ("int32 x", Values::Int32(vec![Some(-7)]), "-7"),
        ("int32 x (INTEGER(8,true))", Values::Int32(vec![Some(-7)]), "-7"),
        ("int32 x (INTEGER(32,false))", Values::Int32(vec![Some(-1)]), "4294967295"),
        ("int64 x (INTEGER(64,false))", Values::Int64(vec![Some(-1)]), "1.8446744073709552e+19"),
        ("int64 x", Values::Int64(vec![Some((1 << 53) + 1)]), "9007199254740992.0"),
        ("int32 x (DECIMAL(9,2))", Values::Int32(vec![Some(-5)]), "-0.05"),
        ("int64 x (DECIMAL(18,4))", Values::Int64(vec![Some(1_234_567)]), "123.4567"),
        ("binary x (DECIMAL(9,1))", Values::Bytes(vec![Some(vec![0xFF, 0x85])]), "-12.3"),
        (
            "fixed_len_byte_array(16) x (DECIMAL(38,0))",
            Values::Fixed(vec![Some(77i128.to_be_bytes().to_vec())]),
            "77",
        ),
        ("boolean x", Values::Bool(vec![Some(true)]), r#""true""#),
        ("binary x (STRING)", Values::texts(&[" 1.5 "]), "1.5"),
        ("binary x", Values::texts(&["n/a"]), r#""n/a""#),
    ] {
        let columns = [
            ("binary symbol (STRING)", Values::texts(&["A"])),
            ("int64 time", Values::Int64(vec![Some(1)])),
            (column, values),
        ];
        let expected = format!(r#"{{"symbol":"A","time":1,"x":{expected}}}"#);
        assert_eq!(texts(&file(&columns, 1, usual())), [expected], "{column}");
    }
}

#[test]
fn a_null_is_an_empty_cell() {
    let columns = [
        ("binary symbol (STRING)", Values::Bytes(vec![None, Some(b"A".to_vec())])),
        ("int64 time", Values::Int64(vec![Some(1), None])),
        ("double close", Values::Double(vec![None, Some(2.0)])),
    ];
    let expected = [r#"{"time":1}"#, r#"{"symbol":"A","close":2}"#];
    assert_eq!(texts(&file(&columns, 2, usual())), expected);
}

#[test]
fn types_without_a_place_in_a_tick_are_named_where_they_are_wanted() {
    let columns = [
        ("binary symbol (STRING)", Values::texts(&["A"])),
        ("int64 time", Values::Int64(vec![Some(1)])),
        ("int32 clock (TIME(MILLIS,true))", Values::Int32(vec![Some(1)])),
        ("fixed_len_byte_array(2) low", Values::Fixed(vec![None])),
    ];
    let told = |columns: &[(&str, Values)], map: &str| {
        let file = file(columns, 1, usual());
        let error = records(file.path(), map).unwrap_err().to_string();
        let (_, told) = error.split_once("column ").unwrap();
        told.split_once("; a tick is made of texts").unwrap().0.to_owned()
    };
    assert_eq!(texts(&file(&columns[..3], 1, usual())), [r#"{"symbol":"A","time":1}"#]);
    assert_eq!(told(&columns, ""), "`low` is of type FIXED_LEN_BYTE_ARRAY", "a well-known name");
    assert_eq!(told(&columns, "symbol=symbol,time=clock"), "`clock` is of type TIME");
}

#[test]
fn other_compressions_are_named() {
    for codec in [Compression::SNAPPY, Compression::ZSTD(ZstdLevel::default())] {
        let columns = [
            ("binary symbol (STRING)", Values::texts(&["A"; 3000])),
            ("int64 time", Values::Int64((0..3000).map(Some).collect())),
        ];
        let file = file(&columns, 2500, usual().set_compression(codec));
        let mut rows = open(file.path(), "").unwrap();
        let mut count = 0;
        while let Some(record) = rows.next(file.path()).unwrap() {
            count += 1;
            assert_eq!(record.line, count, "rows count from 1");
        }
        assert_eq!(count, 3000);
        assert_eq!(rows.bytes_read(), file.as_file().metadata().unwrap().len());
    }
    assert_eq!(super::unreadable(Compression::BROTLI(Default::default())).unwrap(), "brotli");
}

/// One row of the property; `flow` counts thousandths.
type Row = (Option<String>, Option<i64>, Option<f64>, Option<f32>, Option<i32>, Option<i64>);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        proptest::option::of("[A-Z ,\"\u{e9}]{0,4}"),
        proptest::option::of(any::<i64>()),
        proptest::option::of(any::<u64>().prop_map(f64::from_bits)),
        proptest::option::of(any::<f32>()),
        proptest::option::of(any::<i32>()),
        proptest::option::of(-1_000_000i64..1_000_000),
    );
    proptest::collection::vec(row, 0..40)
}

proptest! {
    #[test]
    fn rows_read_as_those_of_the_csv_file(rows in rows(), group_rows in 1usize..20) {
        let csv = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        let mut lines = csv::Writer::from_path(csv.path()).unwrap();
        lines.write_record(["symbol", "time", "close", "low", "volume", "flow", "there"]).unwrap();
        for (symbol, time, close, low, volume, flow) in &rows {
            let flow = flow.map(|number| {
                let sign = if number < 0 { "-" } else { "" };
                format!("{sign}{}.{:03}", number.abs() / 1000, number.abs() % 1000)
            });
            let text = |value: Option<String>| value.unwrap_or_default();
            lines
                .write_record([
                    symbol.clone().unwrap_or_default(),
                    text(time.map(|nanos| UnixNanos::from_nanos(nanos).to_string())),
                    text(close.map(|number| format!("{number:?}"))),
                    text(low.map(|number| format!("{:e}", f64::from(number)))),
                    text(volume.map(|number| number.to_string())),
                    text(flow),
                    // So that no row is a blank line.
                    "1".to_owned(),
                ])
                .unwrap();
        }
        lines.flush().unwrap();
        let bytes = |text: &String| text.clone().into_bytes();
        let columns = [
            ("binary Symbol (STRING)",
             Values::Bytes(rows.iter().map(|row| row.0.as_ref().map(bytes)).collect())),
            ("int64 Date (TIMESTAMP(NANOS,true))",
             Values::Int64(rows.iter().map(|row| row.1).collect())),
            ("double Close", Values::Double(rows.iter().map(|row| row.2).collect())),
            ("float Low", Values::Float(rows.iter().map(|row| row.3).collect())),
            ("int32 Volume", Values::Int32(rows.iter().map(|row| row.4).collect())),
            ("int64 Flow (DECIMAL(18,3))",
             Values::Int64(rows.iter().map(|row| row.5).collect())),
            ("int32 There", Values::Int32(rows.iter().map(|_| Some(1)).collect())),
        ];
        let parquet = file(&columns, group_rows, usual());
        let dialect = Dialect { keeps_order: true, ..Dialect::default() };
        let input = Box::new(File::open(csv.path()).unwrap());
        let mut csv = Table::new(input, Packing::default(), &dialect, None, None).unwrap();
        let expected: Vec<Vec<u8>> =
            std::iter::from_fn(|| csv.next().unwrap()).map(|record| record.bytes).collect();
        prop_assert_eq!(expected.len(), rows.len());
        let records = records(parquet.path(), "").unwrap();
        let bytes: Vec<_> = records.into_iter().map(|record| record.bytes).collect();
        prop_assert_eq!(bytes, expected);
    }
}
