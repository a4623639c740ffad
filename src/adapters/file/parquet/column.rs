//! One Parquet column: each value as the text that a CSV file would have for it.
//!
//! Owns which types a tick can be made of, and their texts. Promises that the text of a number
//! gives its very bits back, and that a null has no text.

use std::fmt::Display;
use std::io::Write;
use std::ops::Range;

use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{DataType, Int96};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor, Type};

use super::Damage;
use crate::core::domain::{TimeUnit, UnixNanos};

/// The longest decimal: a signed number of 128 bits holds it.
const DECIMAL_DIGITS_MAX: i32 = 38;

/// A column of the top level, and the texts of its newest batch.
pub(super) struct Column {
    /// Its index among the leaves of the schema, which counts inside nested columns too.
    leaf: usize,
    form: Form,
    nullable: bool,
    /// Of the open row group.
    reader: Option<ColumnReader>,
    /// The texts of the batch, one after the other.
    text: Vec<u8>,
    /// Where each row's text is; `None` for a null.
    ranges: Vec<Option<Range<usize>>>,
}

/// What the values of a column mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Themselves: a signed number, a truth value, a text.
    Plain,
    /// A number without a sign.
    Unsigned,
    /// Whole days since the epoch.
    Date,
    /// Time since the epoch.
    Time(TimeUnit),
    /// A number with so many digits after the point.
    Decimal(usize),
}

impl Column {
    /// The column at an index of the schema's top level, or the name of its type where no tick
    /// can be made of it.
    pub(super) fn new(schema: &SchemaDescriptor, index: usize) -> Result<Self, String> {
        let field = &schema.root_schema().get_fields()[index];
        let repeated = field.get_basic_info().has_repetition()
            && field.get_basic_info().repetition() == Repetition::REPEATED;
        if repeated || field.is_group() {
            return Err(nested(field, repeated));
        }
        let leaf = (0..schema.num_columns())
            .find(|leaf| schema.get_column_root_idx(*leaf) == index)
            .ok_or("a column without values")?;
        let column = schema.column(leaf);
        Ok(Self {
            leaf,
            form: Form::of(&column)?,
            nullable: column.max_def_level() > 0,
            reader: None,
            text: Vec::new(),
            ranges: Vec::new(),
        })
    }

    /// Its index among the leaves of the schema.
    pub(super) fn leaf(&self) -> usize {
        self.leaf
    }

    /// Goes on with the values of another row group.
    pub(super) fn open(&mut self, reader: ColumnReader) {
        self.reader = Some(reader);
    }

    /// The text of a row of the newest batch; `None` for a null.
    pub(super) fn text(&self, row: usize) -> Option<&[u8]> {
        let range = self.ranges.get(row)?.clone()?;
        self.text.get(range)
    }

    /// Turns the next values into texts, `count` unless the row group ends before, and tells how
    /// many there were.
    pub(super) fn read(&mut self, count: usize) -> Result<usize, Damage> {
        let Self { form, nullable, reader, text, ranges, .. } = self;
        let (form, nullable) = (*form, *nullable);
        let mut texts = Texts { text, ranges, nullable };
        let Some(reader) = reader else { return Ok(0) };
        match reader {
            ColumnReader::BoolColumnReader(reader) => texts.read(reader, count, write_itself),
            ColumnReader::Int32ColumnReader(reader) => texts.read(reader, count, |value, text| {
                let unsigned = form == Form::Unsigned;
                let whole = if unsigned { value.cast_unsigned().into() } else { (*value).into() };
                write_whole(form, whole, text)
            }),
            ColumnReader::Int64ColumnReader(reader) => texts.read(reader, count, |value, text| {
                if form == Form::Unsigned {
                    return write_itself(&value.cast_unsigned(), text);
                }
                write_whole(form, *value, text)
            }),
            ColumnReader::Int96ColumnReader(reader) => texts.read(reader, count, write_julian),
            ColumnReader::FloatColumnReader(reader) => {
                // Widened first: the shortest text of a float names another double.
                texts.read(reader, count, |value, text| write_itself(&f64::from(*value), text))
            }
            ColumnReader::DoubleColumnReader(reader) => texts.read(reader, count, write_itself),
            ColumnReader::ByteArrayColumnReader(reader) => {
                texts.read(reader, count, |value, text| write_bytes(form, value.data(), text))
            }
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                texts.read(reader, count, |value, text| write_bytes(form, value.data(), text))
            }
        }
    }
}

/// Where texts go.
struct Texts<'a> {
    text: &'a mut Vec<u8>,
    ranges: &'a mut Vec<Option<Range<usize>>>,
    nullable: bool,
}

impl Texts<'_> {
    /// Puts the texts of the next values, `count` at most, in place of those that were there.
    fn read<T: DataType>(
        &mut self,
        reader: &mut ColumnReaderImpl<T>,
        count: usize,
        write: impl Fn(&T::T, &mut Vec<u8>) -> Result<(), Damage>,
    ) -> Result<usize, Damage> {
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        let levels_wanted = self.nullable.then_some(&mut levels);
        let (rows, _, _) = reader.read_records(count, levels_wanted, None, &mut values)?;
        self.text.clear();
        self.ranges.clear();
        let mut values = values.iter();
        for row in 0..rows {
            let is_null = self.nullable && levels.get(row).is_none_or(|level| *level == 0);
            let range = if is_null {
                None
            } else {
                let value = values.next().ok_or("fewer values than rows")?;
                let start = self.text.len();
                write(value, self.text)?;
                Some(start..self.text.len())
            };
            self.ranges.push(range);
        }
        Ok(rows)
    }
}

impl Form {
    /// What the values of a column mean, or the name of its type where no tick has a place for it.
    fn of(column: &ColumnDescriptor) -> Result<Self, String> {
        let (physical, converted) = (column.physical_type(), column.converted_type());
        let decimal = |scale: i32, precision: i32| {
            let digits = usize::try_from(scale).ok().filter(|_| precision <= DECIMAL_DIGITS_MAX);
            digits.map(Self::Decimal).ok_or_else(|| format!("DECIMAL({precision},{scale})"))
        };
        let is_whole = matches!(physical, Physical::INT32 | Physical::INT64);
        let is_bytes = matches!(physical, Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY);
        match column.logical_type_ref() {
            Some(LogicalType::String | LogicalType::Enum | LogicalType::Json) => Ok(Self::Plain),
            Some(LogicalType::Integer(kind)) if kind.is_signed => Ok(Self::Plain),
            Some(LogicalType::Integer(_)) => Ok(Self::Unsigned),
            Some(LogicalType::Date) if physical == Physical::INT32 => Ok(Self::Date),
            Some(LogicalType::Timestamp(kind)) if physical == Physical::INT64 => {
                Ok(Self::Time(match kind.unit {
                    parquet::basic::TimeUnit::MILLIS => TimeUnit::Milliseconds,
                    parquet::basic::TimeUnit::MICROS => TimeUnit::Microseconds,
                    parquet::basic::TimeUnit::NANOS => TimeUnit::Nanoseconds,
                }))
            }
            Some(LogicalType::Decimal(kind)) if is_whole || is_bytes => {
                decimal(kind.scale, kind.precision)
            }
            // A column of nulls alone, whatever else it might have held.
            Some(LogicalType::Unknown) => Ok(Self::Plain),
            Some(other) => {
                let name = format!("{other:?}").to_uppercase();
                Err(name.chars().take_while(|character| character.is_alphanumeric()).collect())
            }
            None => match converted {
                ConvertedType::NONE if physical != Physical::FIXED_LEN_BYTE_ARRAY => {
                    Ok(Self::Plain)
                }
                ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON => Ok(Self::Plain),
                ConvertedType::INT_8
                | ConvertedType::INT_16
                | ConvertedType::INT_32
                | ConvertedType::INT_64 => Ok(Self::Plain),
                ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64 => Ok(Self::Unsigned),
                ConvertedType::DATE if physical == Physical::INT32 => Ok(Self::Date),
                ConvertedType::TIMESTAMP_MILLIS if physical == Physical::INT64 => {
                    Ok(Self::Time(TimeUnit::Milliseconds))
                }
                ConvertedType::TIMESTAMP_MICROS if physical == Physical::INT64 => {
                    Ok(Self::Time(TimeUnit::Microseconds))
                }
                ConvertedType::DECIMAL if is_whole || is_bytes => {
                    decimal(column.type_scale(), column.type_precision())
                }
                ConvertedType::NONE => Err(physical.to_string()),
                other => Err(other.to_string()),
            },
        }
    }
}

/// The name of a type whose rows hold more than one value.
fn nested(field: &Type, repeated: bool) -> String {
    let name = match field.get_basic_info().logical_type_ref() {
        Some(LogicalType::Map) => "MAP",
        Some(LogicalType::List) => "LIST",
        _ if repeated => "LIST",
        _ => "STRUCT",
    };
    name.to_owned()
}

fn write_itself<V: Display>(value: &V, text: &mut Vec<u8>) -> Result<(), Damage> {
    Ok(write!(text, "{value}")?)
}

fn write_whole(form: Form, value: i64, text: &mut Vec<u8>) -> Result<(), Damage> {
    match form {
        Form::Plain | Form::Unsigned => write_itself(&value, text),
        Form::Decimal(digits) => write_decimal(value.into(), digits, text),
        Form::Time(unit) => write_time(UnixNanos::from_integer(value, unit).ok(), &value, text),
        Form::Date => {
            let seconds = value.checked_mul(24 * 60 * 60).unwrap_or(i64::MAX);
            let start = text.len();
            write_time(UnixNanos::from_integer(seconds, TimeUnit::Seconds).ok(), &value, text)?;
            // The date alone, as a CSV file has it.
            if let Some(end) = text[start..].iter().position(|byte| *byte == b'T') {
                text.truncate(start + end);
            }
            Ok(())
        }
    }
}

/// A time, or words that the decoder refuses as one.
fn write_time(
    time: Option<UnixNanos>,
    value: &impl Display,
    text: &mut Vec<u8>,
) -> Result<(), Damage> {
    match time {
        Some(time) => write_itself(&time, text),
        None => write_itself(&format_args!("{value}, beyond the years 1677 to 2262"), text),
    }
}

/// The time of older writers: the day, counted as astronomers do, and nanoseconds within it.
fn write_julian(value: &Int96, text: &mut Vec<u8>) -> Result<(), Damage> {
    const EPOCH_DAY: i64 = 2_440_588;
    const DAY_NANOS: i64 = 24 * 60 * 60 * 1_000_000_000;
    let [low, high, day] = value.data() else {
        return Err("a time of 96 bits has another size".into());
    };
    let within = (u64::from(*high) << 32 | u64::from(*low)).cast_signed();
    let nanos = (i64::from(*day) - EPOCH_DAY).checked_mul(DAY_NANOS);
    let nanos = nanos.and_then(|nanos| nanos.checked_add(within));
    write_time(nanos.map(UnixNanos::from_nanos), &format_args!("day {day}"), text)
}

/// A text as it stands, or a decimal: a signed number, its highest byte first.
fn write_bytes(form: Form, bytes: &[u8], text: &mut Vec<u8>) -> Result<(), Damage> {
    let Form::Decimal(digits) = form else {
        text.extend_from_slice(bytes);
        return Ok(());
    };
    let sign = if bytes.first().is_some_and(|byte| *byte >= 0x80) { 0xFF } else { 0 };
    let mut wide = [sign; size_of::<i128>()];
    let start = wide.len().checked_sub(bytes.len()).ok_or("a decimal has more than 16 bytes")?;
    wide[start..].copy_from_slice(bytes);
    write_decimal(i128::from_be_bytes(wide), digits, text)
}

/// A number whose last `digits` digits stand behind the point.
fn write_decimal(value: i128, digits: usize, text: &mut Vec<u8>) -> Result<(), Damage> {
    let sign = if value < 0 { "-" } else { "" };
    let magnitude = format!("{:0width$}", value.unsigned_abs(), width = digits + 1);
    let (whole, part) = magnitude.split_at(magnitude.len() - digits);
    let point = if digits == 0 { "" } else { "." };
    write_itself(&format_args!("{sign}{whole}{point}{part}"), text)
}
