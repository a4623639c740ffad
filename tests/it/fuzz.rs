//! The fuzz targets over their corpus, and over a few thousand cheap changes of it.
//!
//! `tests/data/fuzz/TARGET` holds realistic inputs, and each one that ever broke a law. libFuzzer
//! begins with the same files (`make fuzz`).

use std::fs;
use std::io::Read;
use std::path::PathBuf;

use flate2::Compression;
use flate2::read::ZlibEncoder;
use tickcast::engine::state::ModelIdentity;
use tickcast::keep::snapshot::{FilePlace, InputPlace, Snapshot};

use crate::bodies::{self, TARGETS};
use crate::support::random::Random;
use crate::support::repository;
use crate::support::venue::gzip;

/// What the fuzzer's changes put into inputs, beside bytes: numbers at the ends of ranges, and
/// pieces of the grammars.
const PIECES: &[&[u8]] = &[
    b"",
    b"\0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x80\x80\x80\x80\x10",
    b"-9223372036854775808",
    b"9223372036854775807",
    b"1e308",
    b"1e-400",
    b"NaN",
    b"null",
    b"\"",
    b"\\ud800",
    b"[",
    b"{\"",
    b"}",
    b",",
    b"\n",
    b"\r\n",
    b";",
    b"=",
    b"'",
    b"\xe2\x80\xae",
    b"2024-02-30T24:00:61.9999999999Z",
];

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = repository().join("tests/data/fuzz").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// An input with a few changes; a part of another one among them.
fn changed(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        let mut place = |length: usize| random.below(length as u64 + 1) as usize;
        let (from, to) = (place(bytes.len()), place(bytes.len()));
        let (from, to) = (from.min(to), from.max(to));
        match place(6) {
            0 => bytes.truncate(to),
            1 if from < bytes.len() => bytes[from] ^= 1 << place(7),
            2 => {
                let piece = PIECES[place(PIECES.len() - 1)];
                bytes.splice(from..from, piece.iter().copied());
            }
            3 => {
                let piece = PIECES[place(PIECES.len() - 1)];
                let end = bytes.len().min(from + place(4));
                bytes.splice(from..end, piece.iter().copied());
            }
            4 if to - from < 4096 => {
                let copy = bytes[from..to].to_vec();
                bytes.splice(to..to, copy);
            }
            5 => {
                let begin = place(other.len());
                bytes.truncate(from);
                bytes.extend_from_slice(&other[begin..]);
            }
            _ => {
                bytes.drain(from..bytes.len().min(from + place(8)));
            }
        }
    }
    bytes
}

/// How many changed inputs a target gets: what costs more gets fewer.
fn changes(target: &str) -> usize {
    match target {
        "head" | "parquet" | "configuration" | "manifest" | "golden" | "graph" => 60,
        "state" => 200,
        _ => 500,
    }
}

#[test]
fn every_target_keeps_its_laws_over_its_corpus_and_changes_of_it() {
    let mut random = Random::repeated("fuzz");
    for (target, _) in TARGETS {
        let corpus = corpus(target);
        let run = |what: &str, input: &[u8]| {
            let outcome = std::panic::catch_unwind(|| bodies::run(target, input));
            outcome.unwrap_or_else(|_| panic!("{target}, {what}: {}", input.escape_ascii()))
        };
        let taken =
            corpus.iter().filter(|(path, input)| run(&path.display().to_string(), input)).count();
        // A corpus that is refused at the first check shows nothing of what lies behind.
        assert!(corpus.len() >= 3 && taken > 0, "{target}: {taken} of {} taken", corpus.len());
        for number in 0..changes(target) {
            let mut any = || &*corpus[random.below(corpus.len() as u64) as usize].1;
            let (input, other) = (any(), any());
            let input = changed(input, other, &mut random);
            run(&format!("change {number}"), &input);
        }
        println!("{target}: {} inputs, {taken} taken", corpus.len());
    }
}

/// Fuzz targets, corpora and what `make fuzz` runs are the same list.
#[test]
fn each_target_has_a_program_and_a_corpus() {
    let names = |folder: &str| -> Vec<String> {
        let files = fs::read_dir(repository().join(folder)).unwrap();
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<_> = files.map(|file| stem(file.unwrap().path())).collect();
        names.sort();
        names
    };
    let programs = names("fuzz/fuzz_targets");
    assert_eq!(programs, names("tests/data/fuzz"));
    let mut targets: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    if cfg!(not(feature = "train")) {
        targets.push("parquet".to_owned());
    }
    targets.sort();
    assert_eq!(programs, targets);
    let manifest = fs::read_to_string(repository().join("fuzz/Cargo.toml")).unwrap();
    for name in programs {
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name} in fuzz/Cargo.toml");
    }
}

/// Makes the inputs that no editor can write, for when their layout changes.
#[test]
#[ignore = "writes into tests/data/fuzz"]
fn write_the_inputs_that_are_made() {
    let folder = repository().join("tests/data/fuzz");
    let write = |target: &str, name: String, bytes: &[u8]| {
        fs::create_dir_all(folder.join(target)).unwrap();
        fs::write(folder.join(target).join(name), bytes).unwrap();
    };
    for (index, state) in bodies::bundles::states().iter().enumerate() {
        write("state", format!("made-{index}"), state);
    }
    for symbols in [0, 1, 3] {
        let place = InputPlace::File(FilePlace {
            records: 20,
            bytes: 1000,
            head_bytes: 3,
            head_sha256: [7; 32],
        });
        let place = if symbols == 0 { InputPlace::Feed([1; 32]) } else { place };
        let states = (0..symbols).map(|index| (format!("S{index}"), vec![index; 40].into()));
        let snapshot = Snapshot {
            sequence: 9,
            models: vec![ModelIdentity([7; 16])],
            model_label: "random 1, sliding".to_owned(),
            place,
            states: states.collect(),
        };
        let bytes = snapshot.encode();
        write("snapshot", format!("made-{symbols}"), &bytes);
        // The body alone: its header is made to fit, so that a changed one is read as well.
        write("snapshot", format!("made-body-{symbols}"), &bytes[46..]);
    }
    #[cfg(feature = "train")]
    for (name, codec) in [("plain", None), ("zstd", Some(3))] {
        write("parquet", format!("made-{name}.parquet"), &parquet_file(codec));
    }
    let text = b"{\"symbol\":\"AAPL\",\"time\":0,\"close\":1}".repeat(9);
    write("message", "made-gzip".to_owned(), &gzip(&text));
    let mut zlib = Vec::new();
    ZlibEncoder::new(&*text, Compression::best()).read_to_end(&mut zlib).unwrap();
    write("message", "made-zlib".to_owned(), &zlib);
    write("message", "made-deflate".to_owned(), &zlib[2..zlib.len() - 4]);
    let rows = b"symbol,time,close\nAAPL,2024-01-02,1\nAAPL,2024-01-03,2\n";
    write("rows", "made-gzip".to_owned(), &[b"1\n", &*gzip(rows)].concat());
    let utf16: Vec<_> = str::from_utf8(rows).unwrap().encode_utf16().collect();
    let utf16: Vec<_> = utf16.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    write("rows", "made-utf16".to_owned(), &[b"1\n\xff\xfe", &*utf16].concat());
}

/// A few ticks as columns, in two row groups.
#[cfg(feature = "train")]
fn parquet_file(zstd_level: Option<i32>) -> Vec<u8> {
    use parquet::basic::{Compression, ZstdLevel};
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    let schema = "message ticks { required binary symbol (utf8); \
        required int64 time (timestamp(millis, true)); optional double close; }";
    let codec = zstd_level.map_or(Compression::UNCOMPRESSED, |level| {
        Compression::ZSTD(ZstdLevel::try_new(level).unwrap())
    });
    let properties = WriterProperties::builder().set_compression(codec).build();
    let schema = parse_message_type(schema).unwrap().into();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties.into()).unwrap();
    for group in 0..2_i64 {
        let mut rows = writer.next_row_group().unwrap();
        let symbols = ["AAPL", "IBM", "AAPL"].map(ByteArray::from);
        let mut column = rows.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&symbols, None, None).unwrap();
        column.close().unwrap();
        let times = [0, 1, 2].map(|row| 1_700_000_000_000 + 60_000 * (3 * group + row));
        let mut column = rows.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&times, None, None).unwrap();
        column.close().unwrap();
        let mut column = rows.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&[1.5, 2.5], Some(&[1, 0, 1]), None).unwrap();
        column.close().unwrap();
        rows.close().unwrap();
    }
    writer.into_inner().unwrap()
}
