//! The features of one model, in order, and the rows they make.
//!
//! Owns the order of the features, which slots of the state are whose, and the checks that hold for
//! every value. Promises that computing a row changes no state.

use std::ops::Range;
use std::sync::Arc;

use super::error::FeatureError;
use super::kinds::FeatureKind;
use super::names::{is_plain_feature, parse};
use super::scaler::{Affine, Scaler};
use super::state::{FeatureState, Memory, RowScratch};
use super::symbols::{SymbolColumns, SymbolEntry, SymbolTable};
use crate::core::domain::{Field, Reject, Schema, Step};

/// Features in order, without a scaler: what a scaler is fitted on.
#[derive(Clone, Debug)]
pub struct RawFeatures {
    features: Vec<Placed>,
    required: Vec<Field>,
    schema: Schema,
    warm_up_steps: u64,
    slots: usize,
}

/// A feature and its slots.
#[derive(Clone, Debug)]
struct Placed {
    kind: FeatureKind,
    slots: Range<usize>,
}

/// The features of one model, in order, with their scaler: shared and immutable.
#[derive(Clone, Debug)]
pub struct FeaturePlan {
    raw: RawFeatures,
    scale: Vec<Affine>,
    /// What the model reads of the symbol behind these; `None` where it tells no symbols apart.
    symbols: Option<Arc<SymbolColumns>>,
}

/// What a step amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowStatus {
    /// Some feature has not seen enough steps; there is no row yet.
    Warming,
    /// The row stands in the scratch.
    Ready {
        /// Whether any raw value lies outside its training range, where that is known.
        out_of_range: bool,
    },
}

impl RawFeatures {
    /// Resolves feature names against the standard and the extra fields. `label` is the name of
    /// what is forecast, such as `next_return`.
    ///
    /// # Errors
    /// The first [`FeatureError`] found; it names the feature.
    pub fn new(
        names: &[String],
        extra_fields: &[String],
        label: &str,
    ) -> Result<Self, FeatureError> {
        let (kinds, schema) = resolve(names, extra_fields, label)?;
        let mut required: Vec<_> = kinds.iter().flat_map(|kind| kind.reads()).collect();
        required.sort_unstable();
        required.dedup();
        let warm_up_steps = kinds.iter().map(|kind| kind.warm_up_steps()).max().unwrap_or(0);
        let mut slots = 0;
        let place = |kind: FeatureKind| {
            let first = slots;
            slots += kind.slots();
            Placed { kind, slots: first..slots }
        };
        let features = kinds.into_iter().map(place).collect();
        Ok(Self { features, required, schema, warm_up_steps, slots })
    }

    /// How many features a row has: F.
    pub fn width(&self) -> usize {
        self.features.len()
    }

    /// Steps that must have passed before the first row exists.
    pub fn warm_up_steps(&self) -> u64 {
        self.warm_up_steps
    }

    /// The fields of the stream, for decoding.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The fields that every tick must carry.
    pub fn required(&self) -> &[Field] {
        &self.required
    }

    /// The state before any step.
    pub fn initial_state(&self) -> FeatureState {
        FeatureState::new(self.slots)
    }

    /// Whether a stored state has the size of these features' state. One that has not belongs to
    /// another model, and [`RawFeatures::row`] must not meet it.
    pub fn fits(&self, state: &FeatureState) -> bool {
        state.slots.len() == self.slots
    }

    /// Room for one row.
    pub fn scratch(&self) -> RowScratch {
        RowScratch::new(self.width())
    }

    /// Computes the raw row of a step into `scratch` without absorbing the step; follow with
    /// [`FeatureState::absorb`] to keep it. Returns whether the row is warm, that is, usable.
    ///
    /// # Errors
    /// [`Reject::MissingField`] where the step lacks a field, [`Reject::NotFinite`] where a
    /// feature or its state leaves the finite numbers. The step is then not to be absorbed.
    pub fn row(
        &self,
        state: &FeatureState,
        step: &Step,
        scratch: &mut RowScratch,
    ) -> Result<bool, Reject> {
        let warm = state.steps >= self.warm_up_steps;
        scratch.writes.clear();
        for (feature, raw) in self.features.iter().zip(&mut scratch.raw) {
            let mut memory = Memory::new(state, feature.slots.clone(), &mut scratch.writes);
            *raw = feature.kind.advance(step, &mut memory)?;
            if warm && !raw.is_finite() {
                return Err(Reject::NotFinite);
            }
        }
        scratch.check_writes()?;
        Ok(warm)
    }
}

impl FeaturePlan {
    /// Resolves feature names, and the scaler against the features.
    ///
    /// # Errors
    /// The first [`FeatureError`] found; it names the feature.
    pub fn new(
        names: &[String],
        extra_fields: &[String],
        label: &str,
        scaler: &Scaler,
    ) -> Result<Self, FeatureError> {
        let raw = RawFeatures::new(names, extra_fields, label)?;
        scaler.check(names)?;
        Ok(Self { raw, scale: scaler.affine()?, symbols: None })
    }

    /// The same with the constant columns and the scalers of a table without
    /// [`SymbolTable::problems`]. `names` are the features.
    ///
    /// # Errors
    /// [`FeatureError::Scaler`] where a scaler of a symbol does not fit them.
    pub fn with_symbols(
        mut self,
        table: &SymbolTable,
        names: &[String],
    ) -> Result<Self, FeatureError> {
        self.symbols = Some(Arc::new(SymbolColumns::new(table, names, &self.scale)?));
        Ok(self)
    }

    /// The scaler of a symbol.
    fn scale_of(&self, entry: SymbolEntry) -> &[Affine] {
        let own = self.symbols.as_ref().and_then(|symbols| symbols.scale(entry, self.width()));
        own.unwrap_or(&self.scale)
    }

    /// Whether symbols have scalers of their own.
    pub fn has_symbol_scalers(&self) -> bool {
        self.symbols.as_ref().is_some_and(|symbols| symbols.has_scales())
    }

    /// Whether rows of a symbol are scaled as `other` scales them.
    pub fn scales_as(&self, other: &Self, symbol: &str) -> bool {
        self.scale_of(self.entry(symbol)) == other.scale_of(other.entry(symbol))
    }

    /// The place of a symbol in the table, to be looked up once.
    pub fn entry(&self, symbol: &str) -> SymbolEntry {
        self.symbols.as_ref().map(|symbols| symbols.entry(symbol)).unwrap_or_default()
    }

    /// Whether there is a table, and it does not have the symbol.
    pub fn is_unknown(&self, entry: SymbolEntry) -> bool {
        self.symbols.as_ref().is_some_and(|symbols| symbols.is_unknown(entry))
    }

    /// The constant columns of a symbol, behind the features of each row; none without a table.
    pub fn symbol_columns(&self, entry: SymbolEntry) -> &[f32] {
        self.symbols.as_ref().map_or(&[], |symbols| symbols.of(entry))
    }

    /// The names of these columns.
    pub fn symbol_column_names(&self) -> &[String] {
        self.symbols.as_ref().map_or(&[], |symbols| symbols.names())
    }

    /// What the model reads of a row of a symbol: its features and the symbol's columns.
    pub fn input_row(&self, entry: SymbolEntry, row: &[f32]) -> Vec<f32> {
        [row, self.symbol_columns(entry)].concat()
    }

    /// How many columns the model reads: those of the features and of the symbol.
    pub fn inputs(&self) -> usize {
        self.width() + self.symbols.as_ref().map_or(0, |symbols| symbols.width())
    }

    /// The same features without the scaler.
    pub fn raw(&self) -> &RawFeatures {
        &self.raw
    }

    /// How many features a row has: F.
    pub fn width(&self) -> usize {
        self.raw.width()
    }

    /// Whether a scaled row can be scaled back: not where the scaler cuts values off.
    pub fn can_be_undone(&self) -> bool {
        let symbols_clip = self.symbols.as_ref().is_some_and(|symbols| symbols.clips());
        !symbols_clip && !self.scale.iter().any(|affine| affine.clips())
    }

    /// As [`FeaturePlan::row_of`], of a symbol without a scaler of its own.
    ///
    /// # Errors
    /// As [`FeaturePlan::row_of`].
    pub fn row(
        &self,
        state: &FeatureState,
        step: &Step,
        scratch: &mut RowScratch,
    ) -> Result<RowStatus, Reject> {
        self.scaled_row(&self.scale, state, step, scratch)
    }

    /// Computes the scaled row of a step of a symbol into `scratch` without absorbing the step;
    /// follow with [`FeatureState::absorb`] to keep it.
    ///
    /// # Errors
    /// As [`RawFeatures::row`]; also where a scaled value leaves the finite `f32` numbers.
    pub fn row_of(
        &self,
        entry: SymbolEntry,
        state: &FeatureState,
        step: &Step,
        scratch: &mut RowScratch,
    ) -> Result<RowStatus, Reject> {
        self.scaled_row(self.scale_of(entry), state, step, scratch)
    }

    fn scaled_row(
        &self,
        scale: &[Affine],
        state: &FeatureState,
        step: &Step,
        scratch: &mut RowScratch,
    ) -> Result<RowStatus, Reject> {
        if !self.raw.row(state, step, scratch)? {
            return Ok(RowStatus::Warming);
        }
        let (mut is_finite, mut out_of_range) = (true, false);
        let RowScratch { raw, row, .. } = scratch;
        for ((affine, raw), scaled) in scale.iter().zip(raw.iter()).zip(row.iter_mut()) {
            // The one rounding from f64 to f32 between raw units and the model.
            *scaled = affine.apply(*raw) as f32;
            is_finite &= scaled.is_finite();
            out_of_range |= !affine.covers(*raw);
        }
        if is_finite { Ok(RowStatus::Ready { out_of_range }) } else { Err(Reject::NotFinite) }
    }
}

impl FeaturePlan {
    /// Scales a row of a symbol that another plan of the same features has scaled, in place: back
    /// and anew. `to` and `of` are its places in the tables of this plan and of the other. Tells
    /// whether a value lies outside the training range; `None` where one leaves the finite numbers.
    ///
    /// The result is near the row that this plan would have made, and not always the same in the
    /// last bit: the other row was rounded to `f32`. The other plan's rows can be undone
    /// ([`FeaturePlan::can_be_undone`]).
    pub fn rescale(
        &self,
        to: SymbolEntry,
        (from, of): (&Self, SymbolEntry),
        row: &mut [f32],
    ) -> Option<bool> {
        let (to, from) = (self.scale_of(to), from.scale_of(of));
        let mut out_of_range = false;
        for ((value, from), to) in row.iter_mut().zip(from).zip(to) {
            let raw = from.invert(f64::from(*value));
            *value = to.apply(raw) as f32;
            if !value.is_finite() {
                return None;
            }
            out_of_range |= !to.covers(raw);
        }
        Some(out_of_range)
    }
}

/// Turns names into features and the schema they read.
fn resolve(
    names: &[String],
    extra_fields: &[String],
    label: &str,
) -> Result<(Vec<FeatureKind>, Schema), FeatureError> {
    if names.is_empty() {
        return Err(FeatureError::Empty);
    }
    if let Some(field) = extra_fields.iter().find(|field| is_plain_feature(field)) {
        return Err(FeatureError::Shadowed(field.clone()));
    }
    let schema = Schema::new(extra_fields.iter().map(String::as_str))?;
    let mut kinds = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        // Every label is named next_*, so any such input is the future, whatever the target.
        if name == label || name.starts_with("next_") {
            return Err(FeatureError::Label(name.clone()));
        }
        if names[..index].contains(name) {
            return Err(FeatureError::Repeated(name.clone()));
        }
        let kind = parse(name, &schema)?;
        if let Some(first) = kinds.iter().position(|known| *known == kind) {
            let (name, first) = (name.clone(), names[first].clone());
            return Err(FeatureError::Same { name, first });
        }
        kinds.push(kind);
    }
    Ok((kinds, schema))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::domain::{Fields, UnixNanos};
    use crate::core::features::{ColumnRange, ScalerError};

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn minmax(columns: &[(&str, f64, f64)]) -> Scaler {
        let columns = columns
            .iter()
            .map(|(feature, min, max)| ColumnRange {
                feature: (*feature).to_owned(),
                min: *min,
                max: *max,
            })
            .collect();
        Scaler::Minmax { low: -1.0, high: 1.0, columns }
    }

    fn tutorial() -> FeaturePlan {
        let scaler = minmax(&[("close", 0.0, 20.0), ("volume", 0.0, 4.0), ("change", -0.5, 0.5)]);
        FeaturePlan::new(&names(&["close", "volume", "change"]), &[], "next_return", &scaler)
            .unwrap()
    }

    fn step(close: f64, volume: f64) -> Step {
        let mut fields = Fields::EMPTY;
        // Unchecked, so that features meet what decoding keeps from them.
        fields.set(Field::CLOSE, close);
        fields.set(Field::VOLUME, volume);
        Step { time: UnixNanos::from_nanos(0), fields, after_gap: false, patched: false }
    }

    #[test]
    fn the_tutorials_features_have_their_hand_computed_values() {
        let plan = tutorial();
        let (mut state, mut scratch) = (plan.raw().initial_state(), plan.raw().scratch());
        assert_eq!(plan.row(&state, &step(10.0, 1.0), &mut scratch), Ok(RowStatus::Warming));
        state.absorb(&scratch);
        let status = plan.row(&state, &step(12.5, 3.0), &mut scratch);
        assert_eq!(status, Ok(RowStatus::Ready { out_of_range: false }));
        // close 12.5 of 0..20, volume 3 of 0..4, change +25 % of -50..50 %.
        assert_eq!(scratch.row(), [0.25, 0.5, 0.5]);
        assert_eq!(scratch.raw(), [12.5, 3.0, 0.25]);
        state.absorb(&scratch);
        let status = plan.row(&state, &step(25.0, 3.0), &mut scratch);
        assert_eq!(status, Ok(RowStatus::Ready { out_of_range: true }), "100 % is outside");
    }

    #[test]
    fn a_row_of_another_scaler_becomes_one_of_ours() {
        let from = tutorial();
        let scaler = minmax(&[("close", 10.0, 30.0), ("volume", 0.0, 8.0), ("change", -1.0, 1.0)]);
        let names = names(&["close", "volume", "change"]);
        let to = FeaturePlan::new(&names, &[], "next_return", &scaler).unwrap();
        let mut row = [0.25, 0.5, 0.5];
        let none = SymbolEntry::default();
        let rescale = |row: &mut [f32]| to.rescale(none, (&from, none), row);
        assert_eq!(rescale(&mut row), Some(false));
        // close 12.5 of 10..30, volume 3 of 0..8, change +25 % of -100..100 %.
        assert_eq!(row, [-0.75, -0.25, 0.25]);
        assert_eq!(rescale(&mut [-1.0, 0.0, 0.0]), Some(true), "a close of 0");
        assert_eq!(rescale(&mut [f32::INFINITY, 0.0, 0.0]), None);
    }

    #[test]
    fn a_symbol_with_a_scaler_of_its_own_is_scaled_by_it() {
        use std::collections::BTreeMap;
        let features = names(&["close", "volume", "change"]);
        let own = minmax(&[("close", 10.0, 30.0), ("volume", 0.0, 8.0), ("change", -1.0, 1.0)]);
        let symbols = ["A", "B"].map(|symbol| (symbol.to_owned(), Vec::new()));
        let table = SymbolTable::new(Vec::new(), 0, BTreeMap::from(symbols), Vec::new())
            .with_scalers(BTreeMap::from([("B".to_owned(), own)]));
        assert_eq!(table.problems(), Vec::<String>::new());
        let plan = tutorial().with_symbols(&table, &features).unwrap();
        let (mut state, mut scratch) = (plan.raw().initial_state(), plan.raw().scratch());
        plan.row(&state, &step(10.0, 1.0), &mut scratch).unwrap();
        state.absorb(&scratch);
        for (symbol, expected) in
            [("A", [0.25, 0.5, 0.5]), ("B", [-0.75, -0.25, 0.25]), ("C", [0.25, 0.5, 0.5])]
        {
            let entry = plan.entry(symbol);
            let status = plan.row_of(entry, &state, &step(12.5, 3.0), &mut scratch);
            assert_eq!(status, Ok(RowStatus::Ready { out_of_range: false }));
            assert_eq!(scratch.row(), expected, "{symbol}");
            assert_eq!(plan.scales_as(&tutorial(), symbol), symbol != "B");
        }
        let (b, none) = (plan.entry("B"), SymbolEntry::default());
        let mut row = [0.25, 0.5, 0.5];
        assert_eq!(plan.rescale(b, (&tutorial(), none), &mut row), Some(false));
        assert_eq!(row, [-0.75, -0.25, 0.25]);
        let other = table.with_scalers(BTreeMap::from([("A".to_owned(), minmax(&[]))]));
        let refused = tutorial().with_symbols(&other, &features).unwrap_err();
        assert_eq!(refused, FeatureError::Scaler(ScalerError::Missing("close".into())));
    }

    #[test]
    fn a_value_is_in_range_where_no_range_is_known() {
        let scaler = r#"{"kind":"standard","columns":[{"feature":"close","mean":10,"deviation":2},
                         {"feature":"volume","mean":0,"deviation":4,"min":0,"max":9}]}"#;
        let scaler = serde_json::from_str(scaler).unwrap();
        let plan =
            FeaturePlan::new(&names(&["close", "volume"]), &[], "next_return", &scaler).unwrap();
        let (state, mut scratch) = (plan.raw().initial_state(), plan.raw().scratch());
        let mut status = |close, volume| plan.row(&state, &step(close, volume), &mut scratch);
        assert_eq!(status(1e9, 8.0), Ok(RowStatus::Ready { out_of_range: false }));
        assert_eq!(status(11.0, 10.0), Ok(RowStatus::Ready { out_of_range: true }));
        assert_eq!(scratch.row(), [0.5, 2.5]);
    }

    #[test]
    fn rows_that_were_cut_off_cannot_be_undone() {
        let column = |feature: &str| ColumnRange { feature: feature.into(), min: 0.0, max: 2.0 };
        let plan = |clips| {
            let scaler = Scaler::scikit_minmax([0.0, 1.0], clips, vec![column("close")]);
            FeaturePlan::new(&names(&["close"]), &[], "next_return", &scaler).unwrap()
        };
        assert!(plan(false).can_be_undone() && tutorial().can_be_undone());
        assert!(!plan(true).can_be_undone());
        let (clipped, mut scratch) = (plan(true), plan(true).raw().scratch());
        let state = clipped.raw().initial_state();
        let status = clipped.row(&state, &step(5.0, 1.0), &mut scratch);
        assert_eq!(status, Ok(RowStatus::Ready { out_of_range: true }));
        assert_eq!(scratch.row(), [1.0]);
    }

    #[test]
    fn a_refused_step_leaves_the_state_untouched() {
        let plan = tutorial();
        let (mut state, mut scratch) = (plan.raw().initial_state(), plan.raw().scratch());
        plan.row(&state, &step(1e-300, 1.0), &mut scratch).unwrap();
        state.absorb(&scratch);
        let before = state.clone();
        let refused = plan.row(&state, &step(1e300, 1.0), &mut scratch);
        assert_eq!(refused, Err(Reject::NotFinite), "the change overflows");
        assert_eq!(state, before);
        let empty = Step { fields: Fields::EMPTY, ..step(1.0, 1.0) };
        assert_eq!(plan.row(&state, &empty, &mut scratch), Err(Reject::MissingField));
    }

    #[test]
    fn refuses_the_label_unknown_and_repeated_features_by_name() {
        let scaler = minmax(&[("close", 0.0, 1.0)]);
        let refuse = |list: &[&str]| {
            FeaturePlan::new(&names(list), &[], "next_return", &scaler).unwrap_err()
        };
        assert_eq!(refuse(&[]), FeatureError::Empty);
        assert_eq!(refuse(&["close", "next_return"]), FeatureError::Label("next_return".into()));
        assert_eq!(refuse(&["next_value"]), FeatureError::Label("next_value".into()));
        assert!(matches!(refuse(&["chnage"]), FeatureError::Unknown { .. }));
        assert_eq!(refuse(&["close", "close"]), FeatureError::Repeated("close".into()));
        assert_eq!(
            refuse(&["macd(12,26,9)", "macd_histogram(12,26,9)"]).to_string(),
            "feature `macd_histogram(12,26,9)` is the same as `macd(12,26,9)`"
        );
        assert_eq!(
            refuse(&["close", "volume"]),
            FeatureError::Scaler(ScalerError::Missing("volume".into()))
        );
    }

    #[test]
    fn extra_fields_are_features_once_declared() {
        let scaler = minmax(&[("sentiment", -1.0, 1.0)]);
        let extra = names(&["sentiment"]);
        let plan = FeaturePlan::new(&extra, &extra, "next_return", &scaler).unwrap();
        assert_eq!(plan.raw().required(), [plan.raw().schema().field("sentiment").unwrap()]);
        let hidden = RawFeatures::new(&extra, &names(&["change"]), "next_return").unwrap_err();
        assert_eq!(hidden, FeatureError::Shadowed("change".into()));
    }
}
