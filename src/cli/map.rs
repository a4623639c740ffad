//! `tickcast map`: what a venue's mapping makes of recorded messages, without a connection.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64;

use super::map_rest;
use crate::adapters::file::{FileFormat, FileOptions, FileRecords, RECORD_BYTES_MAX};
use crate::adapters::websocket::{Unpack, WebSocketSettings};
use crate::app::config::{load_feed, venue_feed};
use crate::core::decode::JsonDecoder;
use crate::core::domain::Schema;
use crate::core::text::excerpt;
use crate::core::venue::{FrameKind, Mapper, Refusal};
use crate::ops::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  What the preset of Binance makes of messages, one a line:
    tickcast map --venue binance --input messages.jsonl
  The same of a file of yours, or of a configuration with changes of its own:
    tickcast map --venue my-venue.toml --input messages.jsonl
    tickcast map -c my.toml --input messages.jsonl
  Forecasts on recorded messages:
    tickcast map -c my.toml --input messages.jsonl | tickcast replay -c my.toml --input -
  What source.rest makes of an answer to a question for the history of a symbol, saved by curl:
    tickcast map --venue my-venue.toml --rest BTCUSDT --input answer.json

A binary message, which may be compressed as source.compression says, is a line `base64:` with its
bytes in Base64 behind it.

Native ticks go to standard output, one a line. What became of each other message goes to standard
error with its line, and so does a tick that the decoder will refuse, with the reason; at the end
stands how many there were of each kind.";

/// Options of `tickcast map`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MapArgs {
    /// A venue that ships, or the path of a venue's file
    #[arg(
        long,
        value_name = "VENUE",
        conflicts_with = "config",
        required_unless_present = "config"
    )]
    venue: Option<String>,
    /// A configuration file, whose source is used
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Messages as they came, one a line; - is standard input
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// The input is one answer to a question for the history of this symbol, as its ticks name it
    #[arg(long, value_name = "SYMBOL")]
    rest: Option<String>,
}

/// How a line of the recording begins that holds a binary message.
const BINARY: &[u8] = b"base64:";

/// What reads one message after the other, as a connection does.
struct Reader {
    unpack: Unpack,
    mapper: Mapper,
    decoder: JsonDecoder,
    schema: Schema,
}

/// How many messages were of each kind.
#[derive(Default)]
struct Counts {
    messages: u64,
    with_ticks: u64,
    ticks: u64,
    refused_ticks: u64,
    left_out: u64,
    other: u64,
    malformed: u64,
}

pub(super) fn run(args: &MapArgs) -> Result<(), Exit> {
    let source = match (&args.venue, &args.config) {
        (Some(venue), _) => venue_feed(venue),
        (None, Some(path)) => load_feed(path, &super::variables()?),
        (None, None) => return Err(Exit::new(Failure::Usage, "name --venue or -c")),
    };
    let source = source.map_err(Exit::because(Failure::Configuration))?;
    let (Some(websocket), time_unit) = (source.of::<WebSocketSettings>(), source.time_unit) else {
        let why = "source.kind must be \"websocket\", which is what a venue is for";
        return Err(Exit::new(Failure::Configuration, why));
    };
    if let Some(symbol) = &args.rest {
        return map_rest::show(websocket, symbol, &args.input);
    }
    let options = FileOptions { format: Some(FileFormat::JsonLines), ..FileOptions::default() };
    let records = FileRecords::open(&args.input, options).map_err(Exit::because(Failure::Data))?;
    let schema = Schema::new([]).map_err(Exit::because(Failure::Internal))?;
    let decoder = JsonDecoder::new(schema.clone(), &[], time_unit, RECORD_BYTES_MAX);
    let mut reader = Reader {
        unpack: websocket.unpack(),
        mapper: Mapper::new(Arc::clone(&websocket.venue)),
        decoder,
        schema,
    };
    let mut output = BufWriter::new(io::stdout().lock());
    let mut counts = Counts::default();
    for record in records {
        let record = record.map_err(Exit::because(Failure::Data))?;
        let outcome = reader.message(record.line, &record.bytes, &mut output, &mut counts);
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            outcome => outcome.map_err(Exit::while_doing(Failure::Temporary, "write ticks"))?,
        }
    }
    output.flush().map_err(Exit::while_doing(Failure::Temporary, "write ticks"))?;
    let Counts { messages, with_ticks, ticks, refused_ticks, left_out, other, malformed } = counts;
    tell!(
        "{messages} messages: {with_ticks} with {ticks} ticks ({refused_ticks} of them refused, \
         {left_out} more left out), {other} others, {malformed} malformed"
    );
    Ok(())
}

impl Reader {
    /// Writes the ticks of one message, and tells what became of it where there are none.
    fn message(
        &mut self,
        line: u64,
        text: &[u8],
        output: &mut impl Write,
        counts: &mut Counts,
    ) -> io::Result<()> {
        counts.messages += 1;
        let frame = match self.frame(text) {
            Ok(frame) => frame,
            Err(why) => {
                counts.malformed += 1;
                tell!("line {line}: malformed: {why}");
                return Ok(());
            }
        };
        let Self { mapper, decoder, schema, .. } = self;
        let mut written = Ok(());
        let outcome = mapper.classify(&frame, |mapped| {
            counts.ticks += 1;
            if let Err(rejection) = decoder.decode(mapped.record) {
                counts.refused_ticks += 1;
                let rejection = rejection.named(schema);
                let record = String::from_utf8_lossy(mapped.record);
                tell!("line {line}: the decoder refuses {record}: {rejection}");
            }
            if written.is_ok() {
                written = output.write_all(mapped.record).and_then(|()| output.write_all(b"\n"));
            }
        });
        match &outcome.kind {
            FrameKind::Ticks { skipped, .. } => {
                counts.with_ticks += 1;
                counts.left_out += u64::from(*skipped);
            }
            FrameKind::Malformed(why) => {
                counts.malformed += 1;
                tell!("line {line}: malformed: {why}");
            }
            other => {
                counts.other += 1;
                tell!("line {line}: {}", told(other));
            }
        }
        written
    }

    /// The message that a line of the recording holds.
    fn frame(&self, text: &[u8]) -> Result<Bytes, String> {
        let Some(encoded) = text.strip_prefix(BINARY) else {
            return Ok(Bytes::copy_from_slice(text));
        };
        let message = BASE64.decode(encoded.trim_ascii()).map_err(|error| error.to_string())?;
        self.unpack.open(message.into()).map_err(|error| error.to_string())
    }
}

/// What a message without ticks was, for a person.
fn told(kind: &FrameKind) -> String {
    let about = |id: &Option<u64>, symbols: &[String]| {
        let id = id.map_or(String::new(), |id| format!(", message {id}"));
        let symbols =
            if symbols.is_empty() { String::new() } else { format!(", {}", symbols.join(" ")) };
        format!("{id}{symbols}")
    };
    match kind {
        FrameKind::Ping { answer } => format!("ping, answered with {}", excerpt(answer, 64)),
        FrameKind::Heartbeat { counter: None } => "heartbeat".to_owned(),
        FrameKind::Heartbeat { counter: Some(counter) } => format!("heartbeat {counter}"),
        FrameKind::Acknowledged { id, symbols } => format!("acknowledged{}", about(id, symbols)),
        FrameKind::Refused(Refusal { text, id, symbols, rate_limited }) => {
            let limited = if *rate_limited { ", too much at once" } else { "" };
            format!("refused{}{limited}: {text}", about(id, symbols))
        }
        FrameKind::Pong => "pong".to_owned(),
        FrameKind::Closing => "the venue will close".to_owned(),
        FrameKind::Ticks { .. } | FrameKind::Other | FrameKind::Malformed(_) => {
            "no rule knows it".to_owned()
        }
    }
}
