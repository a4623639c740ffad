//! Named numeric fields of ticks and steps, as a fixed row of columns.
//!
//! Owns which columns exist and what values they may hold. Promises O(1) access without
//! allocation, and that a present value is finite and inside its field's range. Never invents a
//! value: absent stays absent.

use std::fmt;

use super::reject::Reject;

/// How many fields one stream can have: six standard ones and ten extra ones.
const FIELDS_MAX: usize = 16;

/// No value of any field is larger than this, and no price is smaller than [`PRICE_MIN`]: beyond it
/// stands a broken feed, and inside it no feature made of two values can leave the finite numbers.
const VALUE_MAX: f64 = 1e15;

/// The smallest price.
const PRICE_MIN: f64 = 1e-12;

/// The fields that every stream knows, in column order; extra fields follow.
const STANDARD: [&str; 6] = ["price", "open", "high", "low", "close", "volume"];

/// The column of one named field inside [`Fields`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Field(u8);

/// The names of a stream's fields: the standard ones and the extra ones a model asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    extra: Vec<Box<str>>,
}

/// How a row of a wider schema is read by a narrower one, whose extra fields may have other
/// columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projection {
    /// Extra columns, wide and narrow; `None` where both schemas are the same.
    extra: Option<Vec<(Field, Field)>>,
}

/// One row of fields, each a finite number or absent. Units are the feed's own.
#[derive(Clone, Copy, PartialEq)]
pub struct Fields {
    values: [f64; FIELDS_MAX],
    present: u16,
}

/// Why a list of extra fields is no schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// More extra fields than columns.
    #[error("{0} extra fields; at most {max} are possible", max = FIELDS_MAX - STANDARD.len())]
    TooMany(usize),
    /// A name that a tick uses for something else.
    #[error("`{0}` cannot be the name of a field: every tick uses it otherwise")]
    Reserved(String),
}

impl Field {
    /// One traded or quoted price.
    pub const PRICE: Self = Self(0);
    /// First price of a bar.
    pub const OPEN: Self = Self(1);
    /// Highest price of a bar.
    pub const HIGH: Self = Self(2);
    /// Lowest price of a bar.
    pub const LOW: Self = Self(3);
    /// Last price of a bar.
    pub const CLOSE: Self = Self(4);
    /// Traded quantity.
    pub const VOLUME: Self = Self(5);

    /// Whether the field is a price and so must be above zero.
    const fn is_price(self) -> bool {
        self.0 < Self::VOLUME.0
    }

    /// Whether the field is one of the six standard ones.
    pub const fn is_standard(self) -> bool {
        (self.0 as usize) < STANDARD.len()
    }

    /// The least value that a field of this name can have in a step, on every stream: a price is
    /// above zero and a volume is not below it. Other fields have no least value.
    pub fn least(name: &str) -> f64 {
        match STANDARD.iter().position(|known| *known == name) {
            Some(column) if column < Self::VOLUME.index() => PRICE_MIN,
            Some(_) => 0.0,
            None => f64::NEG_INFINITY,
        }
    }

    /// The column, counted from zero.
    pub fn column(self) -> u32 {
        u32::from(self.0)
    }

    const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Schema {
    /// A schema of the standard fields and `extra` ones; a repeated or standard name counts once.
    ///
    /// # Errors
    /// [`SchemaError`] for a reserved name or too many names.
    pub fn new<'a>(extra: impl IntoIterator<Item = &'a str>) -> Result<Self, SchemaError> {
        let mut schema = Self { extra: Vec::new() };
        for name in extra {
            if matches!(name, "symbol" | "time" | "") {
                return Err(SchemaError::Reserved(name.to_owned()));
            }
            if schema.field(name).is_none() {
                schema.extra.push(name.into());
            }
        }
        if STANDARD.len() + schema.extra.len() > FIELDS_MAX {
            return Err(SchemaError::TooMany(schema.extra.len()));
        }
        Ok(schema)
    }

    /// A schema of all fields of several ones. The columns of the first one stay as they are.
    ///
    /// # Errors
    /// [`SchemaError::TooMany`] where all of them together have too many extra fields.
    pub fn union<'s>(schemas: impl IntoIterator<Item = &'s Self>) -> Result<Self, SchemaError> {
        Self::new(schemas.into_iter().flat_map(|schema| &schema.extra).map(|name| &**name))
    }

    /// How rows of `wide`, which has every field of this schema, are read by this one.
    pub fn projection(&self, wide: &Self) -> Projection {
        let pair = |name: &str| Some((wide.field(name)?, self.field(name)?));
        let names = || self.extra.iter().map(|name| &**name);
        let extra = (self != wide).then(|| names().filter_map(pair).collect());
        Projection { extra }
    }

    /// The column of a name, or `None` for a field that nobody asked for.
    pub fn field(&self, name: &str) -> Option<Field> {
        let position = STANDARD.iter().position(|known| *known == name).or_else(|| {
            let extra = self.extra.iter().position(|known| **known == *name)?;
            Some(STANDARD.len() + extra)
        })?;
        u8::try_from(position).ok().map(Field)
    }

    /// The name of a column of this schema.
    pub fn name(&self, field: Field) -> &str {
        let index = field.index();
        STANDARD
            .get(index)
            .copied()
            .or_else(|| self.extra.get(index - STANDARD.len()).map(|name| &**name))
            .unwrap_or("unknown")
    }

    /// All fields in column order.
    pub fn fields(&self) -> impl Iterator<Item = Field> + use<> {
        (0..STANDARD.len() + self.extra.len())
            .filter_map(|index| u8::try_from(index).ok())
            .map(Field)
    }
}

impl Projection {
    /// Whether rows are read as they are.
    pub fn is_identity(&self) -> bool {
        self.extra.is_none()
    }

    /// The row that the narrow schema reads.
    pub fn apply(&self, wide: &Fields) -> Fields {
        let Some(extra) = &self.extra else { return *wide };
        let standard = (1 << STANDARD.len()) - 1;
        let mut fields = Fields { present: wide.present & standard, ..*wide };
        for (from, to) in extra {
            if let Some(value) = wide.get(*from) {
                fields.set(*to, value);
            }
        }
        fields
    }

    /// The column of the wide schema behind one of the narrow schema.
    pub fn widened(&self, narrow: Field) -> Field {
        let pairs = self.extra.iter().flatten();
        let wide = pairs.filter(|(_, to)| *to == narrow).map(|(from, _)| *from).next();
        wide.unwrap_or(narrow)
    }
}

impl Fields {
    /// A row with nothing in it.
    pub const EMPTY: Self = Self { values: [0.0; FIELDS_MAX], present: 0 };

    /// The value of a field, or `None` where the feed sent none.
    pub fn get(&self, field: Field) -> Option<f64> {
        self.contains(field).then(|| self.values[field.index()])
    }

    /// Whether the field has a value.
    pub const fn contains(&self, field: Field) -> bool {
        self.present & (1 << field.0) != 0
    }

    /// Sets a field to a value that the outside sent, checked against the field's range: finite
    /// and at most 1e15 either way; from 1e-12 for prices; not below zero for volume. `-0.0`
    /// becomes `0.0`.
    ///
    /// # Errors
    /// [`Reject::NotFinite`], [`Reject::Negative`], [`Reject::ZeroPrice`] or
    /// [`Reject::OutOfBounds`].
    pub fn set_checked(&mut self, field: Field, value: f64) -> Result<(), Reject> {
        if !value.is_finite() {
            return Err(Reject::NotFinite);
        }
        if value < 0.0 && field.is_standard() {
            return Err(Reject::Negative);
        }
        if value == 0.0 && field.is_price() {
            return Err(Reject::ZeroPrice);
        }
        if value.abs() > VALUE_MAX || (value < PRICE_MIN && field.is_price()) {
            return Err(Reject::OutOfBounds);
        }
        // Adding zero turns -0.0 into 0.0, so that equal inputs have equal bits.
        self.set(field, value + 0.0);
        Ok(())
    }

    /// Sets a field to a value computed from checked ones.
    pub(crate) fn set(&mut self, field: Field, value: f64) {
        self.values[field.index()] = value;
        self.present |= 1 << field.0;
    }

    /// The fields that have a value, as column and value.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (u8, f64)> + '_ {
        (0..FIELDS_MAX)
            .filter(|index| self.present & (1 << index) != 0)
            .map(|index| (index as u8, self.values[index]))
    }

    /// The extra fields that have a value, as column and value.
    pub(crate) fn extra(&self) -> impl Iterator<Item = (u8, f64)> + '_ {
        self.columns().filter(|(column, _)| usize::from(*column) >= STANDARD.len())
    }

    /// Sets a field by its column, as [`Fields::columns`] gave it.
    pub(crate) fn set_column(&mut self, column: u8, value: f64) {
        self.set(Field(column), value);
    }

    /// The price of the row: `close`, or where there is none `price`.
    pub fn price(&self) -> Option<f64> {
        self.get(Field::CLOSE).or_else(|| self.get(Field::PRICE))
    }

    /// The value that a model reads under a name: as [`Fields::get`], and `close` and `price`
    /// stand in for each other where only one was sent.
    pub fn read(&self, field: Field) -> Option<f64> {
        match field {
            Field::CLOSE => self.price(),
            Field::PRICE => self.get(Field::PRICE).or_else(|| self.get(Field::CLOSE)),
            other => self.get(other),
        }
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let present = (0..FIELDS_MAX).filter(|index| self.present & (1 << index) != 0);
        formatter.debug_map().entries(present.map(|index| (index, self.values[index]))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_fields_follow_the_standard_ones() {
        let schema = Schema::new(["sentiment", "close", "sentiment", "wind"]).unwrap();
        let names: Vec<_> = schema.fields().map(|field| schema.name(field)).collect();
        assert_eq!(names, ["price", "open", "high", "low", "close", "volume", "sentiment", "wind"]);
        assert_eq!(schema.field("close"), Some(Field::CLOSE));
        assert_eq!(schema.field("humidity"), None);
    }

    #[test]
    fn a_union_has_every_field_and_each_schema_reads_its_own() {
        let [first, second] = [["wind", "rain"], ["rain", "sun"]].map(Schema::new);
        let (first, second) = (first.unwrap(), second.unwrap());
        let union = Schema::union([&first, &second]).unwrap();
        assert_eq!(union, Schema::new(["wind", "rain", "sun"]).unwrap());
        assert_eq!(Schema::union([&first]).unwrap(), first);
        assert!(first.projection(&first).is_identity());
        let mut wide = Fields::EMPTY;
        wide.set(Field::CLOSE, 7.0);
        for (name, value) in [("wind", 1.0), ("rain", 2.0), ("sun", 3.0)] {
            wide.set(union.field(name).unwrap(), value);
        }
        for (schema, expected) in
            [(&first, [Some(1.0), Some(2.0), None]), (&second, [None, Some(2.0), Some(3.0)])]
        {
            let projection = schema.projection(&union);
            let narrow = projection.apply(&wide);
            let read = |name: &str| schema.field(name).and_then(|field| narrow.get(field));
            assert_eq!(["wind", "rain", "sun"].map(read), expected);
            assert_eq!((narrow.get(Field::CLOSE), narrow.extra().count()), (Some(7.0), 2));
            let rain = schema.field("rain").unwrap();
            assert_eq!(union.name(projection.widened(rain)), "rain");
            assert_eq!(projection.widened(Field::OPEN), Field::OPEN);
        }
        let many: Vec<_> = (0..6).map(|index| format!("x{index}")).collect();
        let many = Schema::new(many.iter().map(String::as_str)).unwrap();
        let more: Vec<_> = (0..5).map(|index| format!("y{index}")).collect();
        let more = Schema::new(more.iter().map(String::as_str)).unwrap();
        assert_eq!(Schema::union([&many, &more]), Err(SchemaError::TooMany(11)));
    }

    #[test]
    fn refuses_reserved_and_too_many_names() {
        assert_eq!(Schema::new(["time"]), Err(SchemaError::Reserved("time".into())));
        let names: Vec<_> = (0..11).map(|index| format!("x{index}")).collect();
        assert_eq!(Schema::new(names.iter().map(String::as_str)), Err(SchemaError::TooMany(11)));
    }

    #[test]
    fn the_least_value_of_a_field_is_the_least_that_is_accepted() {
        let schema = Schema::new(["wind"]).unwrap();
        for field in schema.fields() {
            let least = Field::least(schema.name(field));
            let accepts = |value: f64| Fields::EMPTY.clone().set_checked(field, value).is_ok();
            if least.is_finite() {
                let below = if least == 0.0 { -f64::MIN_POSITIVE } else { least.next_down() };
                assert!(accepts(least) && !accepts(below), "{}", schema.name(field));
            } else {
                assert!(accepts(-VALUE_MAX), "{}", schema.name(field));
            }
        }
        assert_eq!((Field::least("close"), Field::least("volume")), (1e-12, 0.0));
        assert_eq!(Field::least("wind"), f64::NEG_INFINITY);
    }

    #[test]
    fn holds_only_values_in_range() {
        let schema = Schema::new(["temperature"]).unwrap();
        let temperature = schema.field("temperature").unwrap();
        let mut fields = Fields::EMPTY;
        assert_eq!(fields.set_checked(Field::CLOSE, -1.0), Err(Reject::Negative));
        assert_eq!(fields.set_checked(Field::CLOSE, 0.0), Err(Reject::ZeroPrice));
        assert_eq!(fields.set_checked(Field::VOLUME, -1.0), Err(Reject::Negative));
        assert_eq!(fields.set_checked(Field::VOLUME, f64::NAN), Err(Reject::NotFinite));
        assert_eq!(fields.set_checked(temperature, f64::NEG_INFINITY), Err(Reject::NotFinite));
        for price in [1e-13, 1e16] {
            assert_eq!(fields.set_checked(Field::CLOSE, price), Err(Reject::OutOfBounds));
        }
        assert_eq!(fields.set_checked(temperature, -1e16), Err(Reject::OutOfBounds));
        assert_eq!(fields, Fields::EMPTY, "a refused value leaves the row as it was");
        assert_eq!(fields.set_checked(temperature, -12.5), Ok(()));
        assert_eq!(fields.set_checked(Field::VOLUME, -0.0), Ok(()));
        assert_eq!(fields.get(temperature), Some(-12.5));
        assert_eq!(fields.get(Field::VOLUME).map(f64::to_bits), Some(0.0f64.to_bits()));
    }

    #[test]
    fn close_and_price_stand_in_for_each_other() {
        let mut fields = Fields::EMPTY;
        assert_eq!(fields.read(Field::CLOSE), None);
        fields.set(Field::PRICE, 10.0);
        assert_eq!(fields.read(Field::CLOSE), Some(10.0));
        fields.set(Field::CLOSE, 11.0);
        assert_eq!(fields.read(Field::CLOSE), Some(11.0));
        assert_eq!(fields.read(Field::PRICE), Some(10.0));
    }
}
