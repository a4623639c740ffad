//! The inputs of the corpus that no editor can write: stored states, snapshots, files of columns,
//! and texts that are compressed or in another encoding.
//!
//! The same bytes in every run. `cargo run --locked --example fuzz_inputs` writes them when a
//! layout changes, and a test compares them with the files of the corpus.

use std::io::Read;

use flate2::Compression;
use flate2::read::{GzEncoder, ZlibEncoder};
use tickcast::engine::state::ModelIdentity;
use tickcast::keep::snapshot::{FilePlace, InputPlace, Snapshot};

use crate::bodies;

/// Each input by its path under `tests/data/fuzz`.
pub(crate) fn made_inputs() -> Vec<(String, Vec<u8>)> {
    let mut inputs = Vec::new();
    for (index, state) in bodies::bundles::states().into_iter().enumerate() {
        inputs.push((format!("state/made-{index}"), state));
    }
    for symbols in [0, 1, 3] {
        let bytes = snapshot(symbols);
        // The body alone as well: its header is made to fit, so that a changed one is read.
        inputs.push((format!("snapshot/made-body-{symbols}"), bytes[46..].to_vec()));
        inputs.push((format!("snapshot/made-{symbols}"), bytes));
    }
    #[cfg(feature = "train")]
    for (name, codec) in [("plain", None), ("zstd", Some(3))] {
        inputs.push((format!("parquet/made-{name}.parquet"), parquet_file(codec)));
    }
    let text = b"{\"symbol\":\"AAPL\",\"time\":0,\"close\":1}".repeat(9);
    let zlib = all_of(ZlibEncoder::new(&*text, Compression::best()));
    inputs.push(("message/made-gzip".to_owned(), gzip(&text)));
    inputs.push(("message/made-deflate".to_owned(), zlib[2..zlib.len() - 4].to_vec()));
    inputs.push(("message/made-zlib".to_owned(), zlib));
    let rows = b"symbol,time,close\nAAPL,2024-01-02,1\nAAPL,2024-01-03,2\n";
    inputs.push(("rows/made-gzip".to_owned(), [b"1\n", &*gzip(rows)].concat()));
    let utf16 = str::from_utf8(rows).expect("ASCII").encode_utf16();
    let utf16: Vec<_> = utf16.flat_map(u16::to_le_bytes).collect();
    inputs.push(("rows/made-utf16".to_owned(), [b"1\n\xff\xfe", &*utf16].concat()));
    inputs
}

/// A snapshot of a feed without symbols, or of a file with some.
fn snapshot(symbols: u8) -> Vec<u8> {
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
    snapshot.encode()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    all_of(GzEncoder::new(text, Compression::default()))
}

fn all_of(mut reader: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("memory can be read");
    bytes
}

/// Why a file in memory cannot fail.
#[cfg(feature = "train")]
const WRITES: &str = "the columns fit the schema, and memory takes them";

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
        Compression::ZSTD(ZstdLevel::try_new(level).expect(WRITES))
    });
    let properties = WriterProperties::builder().set_compression(codec).build();
    let schema = parse_message_type(schema).expect(WRITES).into();
    let mut writer =
        SerializedFileWriter::new(Vec::new(), schema, properties.into()).expect(WRITES);
    for group in 0..2_i64 {
        let mut rows = writer.next_row_group().expect(WRITES);
        let symbols = ["AAPL", "IBM", "AAPL"].map(ByteArray::from);
        let mut column = rows.next_column().expect(WRITES).expect(WRITES);
        column.typed::<ByteArrayType>().write_batch(&symbols, None, None).expect(WRITES);
        column.close().expect(WRITES);
        let times = [0, 1, 2].map(|row| 1_700_000_000_000 + 60_000 * (3 * group + row));
        let mut column = rows.next_column().expect(WRITES).expect(WRITES);
        column.typed::<Int64Type>().write_batch(&times, None, None).expect(WRITES);
        column.close().expect(WRITES);
        let mut column = rows.next_column().expect(WRITES).expect(WRITES);
        column
            .typed::<DoubleType>()
            .write_batch(&[1.5, 2.5], Some(&[1, 0, 1]), None)
            .expect(WRITES);
        column.close().expect(WRITES);
        rows.close().expect(WRITES);
    }
    writer.into_inner().expect(WRITES)
}
