//! Native JSON ticks: `{"symbol":"AAPL","time":"2013-03-01T14:30:00Z","close":430.5,"volume":100}`.
//!
//! Owns the native wire form. Promises that a field it does not know is passed over unread, that a
//! field of `null` is absent, and that a reason names the part at fault where one part is.
//!
//! A row of a table that is no tick, because it has more or fewer cells than the header, is in its
//! place an object with the member [`WRONG_CELLS`], and the text of the row as its value.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use crate::core::domain::{
    Field, Fields, Member, Reject, Rejection, Schema, Symbol, Tick, TimeFormat, TimeUnit, UnixNanos,
};

/// The member whose presence says that the record is a row with the wrong number of cells.
pub const WRONG_CELLS: &str = "wrong_cells";

/// Decodes native JSON ticks for one stream.
#[derive(Clone, Debug)]
pub struct JsonDecoder {
    schema: Schema,
    required: Vec<Field>,
    time_unit: TimeUnit,
    time_format: TimeFormat,
    record_bytes_max: usize,
}

/// How an event time was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeForm {
    /// As a text, or as digits that an explicit format reads.
    Text,
    /// As a number in the unit of the stream.
    Number,
}

impl JsonDecoder {
    /// A decoder that knows `schema`, wants `required`, reads numeric times in `time_unit` and
    /// refuses records above `record_bytes_max` bytes unread.
    pub fn new(
        schema: Schema,
        required: &[Field],
        time_unit: TimeUnit,
        record_bytes_max: usize,
    ) -> Self {
        let (required, time_format) = (required.to_vec(), TimeFormat::default());
        Self { schema, required, time_unit, time_format, record_bytes_max }
    }

    /// The same with another reading of times that are texts.
    #[must_use]
    pub fn with_time_format(self, time_format: TimeFormat) -> Self {
        Self { time_format, ..self }
    }

    /// The fields that it knows.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Decodes one record.
    ///
    /// # Errors
    /// The one [`Rejection`]; the record has no effect.
    pub fn decode<'a>(&self, bytes: &'a [u8]) -> Result<Tick<'a>, Rejection> {
        self.decode_timed(bytes).map(|(tick, _)| tick)
    }

    /// As [`JsonDecoder::decode`], with the form of the event time.
    ///
    /// # Errors
    /// As [`JsonDecoder::decode`].
    pub fn decode_timed<'a>(&self, bytes: &'a [u8]) -> Result<(Tick<'a>, TimeForm), Rejection> {
        if bytes.len() > self.record_bytes_max {
            return Err(Reject::TooLarge.into());
        }
        let mut draft = Draft::new(self);
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let outcome = json.deserialize_map(&mut draft).and_then(|()| json.end());
        if let Err(error) = outcome {
            return Err(draft.reason(&error, bytes));
        }
        let symbol = draft.symbol.ok_or(Rejection::of(Reject::MissingSymbol, Member::Symbol))?;
        let (time, form) = draft.time.ok_or(Rejection::of(Reject::MissingTime, Member::Time))?;
        let fields = draft.fields;
        if let Some(field) = self.required.iter().find(|field| fields.read(**field).is_none()) {
            return Err(Rejection::of(Reject::MissingField, Member::Field(*field)));
        }
        Ok((Tick { symbol, time, fields }, form))
    }
}

/// A tick in the making, and why it will not become one.
struct Draft<'d, 'a> {
    decoder: &'d JsonDecoder,
    symbol: Option<Cow<'a, str>>,
    time: Option<(UnixNanos, TimeForm)>,
    fields: Fields,
    /// Names met so far, to refuse repeats: bit 0 symbol, bit 1 time, then the fields by column.
    seen: u32,
    /// The reason found, where our own check failed.
    refused: Option<Rejection>,
    /// What a value of an unexpected type would mean here, and the part that is being read.
    mistyped: Rejection,
}

const SEEN_SYMBOL: u32 = 1;
const SEEN_TIME: u32 = 2;
const SEEN_FIELDS_SHIFT: u32 = 2;

impl<'d, 'a> Draft<'d, 'a> {
    fn new(decoder: &'d JsonDecoder) -> Self {
        Self {
            decoder,
            symbol: None,
            time: None,
            fields: Fields::EMPTY,
            seen: 0,
            refused: None,
            mistyped: Reject::NotAnObject.into(),
        }
    }

    /// Notes the reason and gives the error that stops the parser.
    fn refuse<E: Error>(&mut self, rejection: Rejection) -> E {
        self.refused = Some(rejection);
        // The text is never read; `reason` takes the place of the error.
        E::custom("")
    }

    /// Notes that a name was met, and what a value of another type than its own would mean.
    fn meet<E: Error>(&mut self, bit: u32, member: Member, mistyped: Reject) -> Result<(), E> {
        self.mistyped = Rejection::of(mistyped, member);
        if self.seen & bit != 0 {
            return Err(self.refuse(Rejection::of(Reject::DuplicateField, member)));
        }
        self.seen |= bit;
        Ok(())
    }

    /// The reason behind a parser's error.
    fn reason(&self, error: &serde_json::Error, bytes: &[u8]) -> Rejection {
        if let Some(rejection) = self.refused {
            return rejection;
        }
        if error.is_data() {
            return self.mistyped;
        }
        if stands_for_no_number(error, bytes) {
            return Rejection { reason: Reject::NotFinite, member: self.mistyped.member };
        }
        Reject::Malformed.into()
    }
}

/// Whether the parser stopped at a number that is none: `NaN` and `Infinity`, which Python and
/// JavaScript writers emit though JSON has no such words, or one beyond the range of a double.
fn stands_for_no_number(error: &serde_json::Error, bytes: &[u8]) -> bool {
    if error.to_string().starts_with("number out of range") {
        return true;
    }
    let line_start = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum::<usize>();
    // The parser's column points at the offending byte or just behind it.
    let near = (line_start + error.column()).saturating_sub(2);
    (near..=near + 2).filter_map(|start| bytes.get(start..)).any(|rest| {
        [&b"NaN"[..], b"nan", b"Infinity", b"inf"].iter().any(|word| rest.starts_with(word))
    })
}

impl<'de> Visitor<'de> for &mut Draft<'_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name(&self.decoder.schema))? {
            match name {
                Known::Symbol => {
                    self.meet(SEEN_SYMBOL, Member::Symbol, Reject::InvalidSymbol)?;
                    let symbol = map.next_value_seed(Text)?;
                    if Symbol::check(&symbol).is_err() {
                        return Err(self.refuse(self.mistyped));
                    }
                    self.symbol = Some(symbol);
                }
                Known::Time => {
                    self.meet(SEEN_TIME, Member::Time, Reject::InvalidTime)?;
                    self.time = Some(map.next_value_seed(Time(self.decoder))?);
                }
                Known::Field(field) => {
                    let member = Member::Field(field);
                    let bit = 1 << (SEEN_FIELDS_SHIFT + field.column());
                    self.meet(bit, member, Reject::WrongType)?;
                    if let Some(value) = map.next_value_seed(Number)?
                        && let Err(reason) = self.fields.set_checked(field, value)
                    {
                        return Err(self.refuse(Rejection::of(reason, member)));
                    }
                }
                Known::WrongCells => return Err(self.refuse(Reject::WrongCells.into())),
                Known::Other => {
                    self.mistyped = Reject::NotAnObject.into();
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A member's name, resolved.
enum Known {
    Symbol,
    Time,
    Field(Field),
    WrongCells,
    Other,
}

/// Reads a member's name.
struct Name<'s>(&'s Schema);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Known;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Known, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Known;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Known, E> {
        Ok(match name {
            "symbol" => Known::Symbol,
            "time" => Known::Time,
            WRONG_CELLS => Known::WrongCells,
            other => self.0.field(other).map_or(Known::Other, Known::Field),
        })
    }
}

/// Reads a text, borrowed where it stands unescaped.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Reads an event time: a text or a number.
struct Time<'d>(&'d JsonDecoder);

impl Time<'_> {
    /// What a number gives: by a format its digits are a text.
    fn form(&self) -> TimeForm {
        if self.0.time_format.is_explicit() { TimeForm::Text } else { TimeForm::Number }
    }
}

impl<'de> DeserializeSeed<'de> for Time<'_> {
    type Value = (UnixNanos, TimeForm);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Time<'_> {
    type Value = (UnixNanos, TimeForm);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a time")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let time = self.0.time_format.parse(text).map_err(E::custom)?;
        Ok((time, TimeForm::Text))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        let JsonDecoder { time_format, time_unit, .. } = self.0;
        let time = time_format.parse_integer(number, *time_unit).map_err(E::custom)?;
        Ok((time, self.form()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        i64::try_from(number).map_err(E::custom).and_then(|number| self.visit_i64(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        let JsonDecoder { time_format, time_unit, .. } = self.0;
        let time = time_format.parse_float(number, *time_unit).map_err(E::custom)?;
        Ok((time, self.form()))
    }
}

/// Reads a number, or `null` as absent.
struct Number;

impl<'de> DeserializeSeed<'de> for Number {
    type Value = Option<f64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Number {
    type Value = Option<f64>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Some(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(number as f64))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(number as f64))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RECORD_BYTES_MAX: usize = 512;

    fn decoder() -> JsonDecoder {
        let schema = Schema::new(["sentiment"]).unwrap();
        let required = [Field::CLOSE, Field::VOLUME];
        JsonDecoder::new(schema, &required, TimeUnit::Milliseconds, RECORD_BYTES_MAX)
    }

    #[test]
    fn decodes_the_documented_form() {
        let decoder = decoder();
        let bytes = br#" {"symbol":"AAPL","time":"2013-03-01T14:30:00Z","close":430.47,
            "volume":19730300,"sentiment":-0.25,"venue":{"name":["x"]},"open":null} "#;
        let tick = decoder.decode(bytes).unwrap();
        assert!(matches!(tick.symbol, Cow::Borrowed("AAPL")));
        assert_eq!(tick.time, UnixNanos::parse("2013-03-01T14:30:00Z").unwrap());
        assert_eq!(tick.fields.get(Field::CLOSE), Some(430.47));
        assert_eq!(tick.fields.get(Field::VOLUME), Some(19_730_300.0));
        assert_eq!(tick.fields.get(Field::OPEN), None);
        let sentiment = decoder.schema.field("sentiment").unwrap();
        assert_eq!(tick.fields.get(sentiment), Some(-0.25));
    }

    #[test]
    fn reads_numeric_times_escaped_names_and_price_for_close() {
        let bytes = br#"{"symbol":"\u0041B","time":1362148200000,"price":1,"volume":0}"#;
        let decoder = decoder();
        let tick = decoder.decode(bytes).unwrap();
        assert_eq!(tick.symbol, "AB");
        assert_eq!(tick.time, UnixNanos::parse("2013-03-01T14:30:00Z").unwrap());
        assert_eq!(tick.fields.read(Field::CLOSE), Some(1.0));
    }

    fn reason_of(text: &str) -> Option<Reject> {
        decoder().decode(text.as_bytes()).err().map(|rejection| rejection.reason)
    }

    #[test]
    fn a_reason_names_the_part_at_fault() {
        let decoder = decoder();
        let good = r#"{"symbol":"A","time":0,"close":1,"volume":1,"x":1,"sentiment":2}"#;
        assert!(decoder.decode(good.as_bytes()).is_ok());
        for (from, to, expected) in [
            (r#""symbol":"A","#, "", "missing_symbol `symbol`"),
            (r#""A""#, "7", "invalid_symbol `symbol`"),
            (r#""time":0,"#, "", "missing_time `time`"),
            (r#""time":0"#, r#""time":"now""#, "invalid_time `time`"),
            (r#""time":0"#, r#""time":0,"time":0"#, "duplicate_field `time`"),
            (r#","volume":1"#, "", "missing_field `volume`"),
            (r#""close":1,"#, "", "missing_field `close`"),
            (r#""volume":1"#, r#""volume":"1""#, "wrong_type `volume`"),
            (r#""sentiment":2"#, r#""sentiment":[]"#, "wrong_type `sentiment`"),
            (r#""sentiment":2"#, r#""sentiment":NaN"#, "not_finite `sentiment`"),
            (r#""close":1"#, r#""close":1e999"#, "not_finite `close`"),
            (r#""x":1"#, r#""x":NaN"#, "not_finite"),
            (r#""volume":1"#, r#""volume":-1"#, "negative `volume`"),
            (r#""close":1"#, r#""close":0"#, "zero_price `close`"),
            (r#""sentiment":2"#, r#""sentiment":-2e15"#, "out_of_bounds `sentiment`"),
            (r#""close":1"#, r#""close":1,"close":1"#, "duplicate_field `close`"),
            (r#""close":1"#, r#""close":"#, "malformed"),
        ] {
            let text = good.replace(from, to);
            let rejection = decoder.decode(text.as_bytes()).unwrap_err();
            assert_eq!(rejection.named(&decoder.schema).to_string(), expected, "{text}");
        }
    }

    #[test]
    fn every_kind_of_bad_record_has_its_own_reason() {
        let time = r#""time":"2013-03-01""#;
        let good = format!(r#"{{"symbol":"A",{time},"close":1,"volume":1}}"#);
        assert!(decoder().decode(good.as_bytes()).is_ok());
        let cases = [
            (Reject::Malformed, String::new()),
            (Reject::Malformed, "hello".to_owned()),
            (Reject::Malformed, good[..good.len() - 1].to_owned()),
            (Reject::Malformed, format!("{good}{good}")),
            (Reject::NotAnObject, "[1,2]".to_owned()),
            (Reject::NotAnObject, "17".to_owned()),
            (Reject::MissingSymbol, good.replace(r#""symbol":"A","#, "")),
            (Reject::InvalidSymbol, good.replace(r#""A""#, "7")),
            (Reject::InvalidSymbol, good.replace(r#""A""#, r#""""#)),
            (Reject::InvalidSymbol, good.replace(r#""A""#, r#""A\n""#)),
            (Reject::MissingTime, good.replace(&format!("{time},"), "")),
            (Reject::InvalidTime, good.replace("2013-03-01", "yesterday")),
            (Reject::InvalidTime, good.replace(time, r#""time":true"#)),
            (Reject::InvalidTime, good.replace(time, r#""time":1e300"#)),
            (Reject::MissingField, good.replace(r#","volume":1"#, "")),
            (Reject::MissingField, good.replace(r#""close":1"#, r#""close":null"#)),
            (Reject::WrongType, good.replace(r#""close":1"#, r#""close":"1""#)),
            (Reject::WrongType, good.replace(r#""close":1"#, r#""close":[1]"#)),
            (Reject::WrongType, good.replace(r#""close":1"#, r#""close":{}"#)),
            (Reject::NotFinite, good.replace(r#""close":1"#, r#""close":NaN"#)),
            (Reject::NotFinite, good.replace(r#""close":1"#, r#""close": Infinity"#)),
            (Reject::NotFinite, good.replace(r#""close":1"#, r#""close":-Infinity"#)),
            (Reject::NotFinite, good.replace(r#""close":1"#, r#""close":1e999"#)),
            (Reject::NotFinite, good.replace(r#""close":1"#, "\"x\":1,\n\"close\":NaN")),
            (Reject::Negative, good.replace(r#""close":1"#, r#""close":-1"#)),
            (Reject::Negative, good.replace(r#""volume":1"#, r#""volume":-1"#)),
            (Reject::ZeroPrice, good.replace(r#""close":1"#, r#""close":0"#)),
            (Reject::DuplicateField, good.replace(time, &format!("{time},{time}"))),
            (Reject::DuplicateField, good.replace(r#""close":1"#, r#""close":1,"close":2"#)),
            (Reject::WrongCells, r#"{"wrong_cells":"2013-03-01,1,2,3"}"#.to_owned()),
            (Reject::TooLarge, format!("{good}{}", " ".repeat(RECORD_BYTES_MAX))),
        ];
        for (reason, text) in cases {
            assert_eq!(reason_of(&text), Some(reason), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = decoder().decode(&bytes);
        }

        #[test]
        fn never_panics_on_damaged_records(cut in 0usize..69, byte in any::<u8>()) {
            let mut bytes =
                br#"{"symbol":"A","time":"2013-03-01","close":1.25,"volume":1e3,"x":[{}]}"#
                    .to_vec();
            bytes[cut] = byte;
            let _ = decoder().decode(&bytes);
            let _ = decoder().decode(&bytes[..cut]);
        }

        #[test]
        fn numbers_arrive_bit_for_bit(close in 1e-9f64..1e12, volume in 0u32..) {
            let text = format!(r#"{{"symbol":"A","time":0,"close":{close},"volume":{volume}}}"#);
            let decoder = decoder();
            let tick = decoder.decode(text.as_bytes()).unwrap();
            prop_assert_eq!(tick.fields.get(Field::CLOSE).map(f64::to_bits), Some(close.to_bits()));
            prop_assert_eq!(tick.fields.get(Field::VOLUME), Some(f64::from(volume)));
        }
    }
}
