//! Features by name, and their incremental computation.
//!
//! Owns the list of features that exist. A feature is added here once, and trainer, replay and
//! daemon have it.

use serde::{Deserialize, Serialize};

use super::scaler::{Affine, Scaler, ScalerError};
use crate::domain::{Field, Fields, Reject, Schema, SchemaError};

/// One feature, resolved to the columns it reads.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Feature {
    /// The field itself, in its own unit.
    Value(Field),
    /// This step against the previous one: `close / previous close - 1`, a fraction.
    /// Keeps the previous close in its slot.
    Change,
}

/// Features in order, without a scaler: what a scaler is fitted on.
#[derive(Clone, Debug)]
pub struct RawFeatures {
    features: Vec<Feature>,
    required: Vec<Field>,
    schema: Schema,
    warm_up_steps: u64,
}

/// The features of one model, in order, with their scaler: shared and immutable.
#[derive(Clone, Debug)]
pub struct FeaturePlan {
    raw: RawFeatures,
    scale: Vec<Affine>,
}

/// The feature state of one symbol: small, O(1), serialisable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureState {
    /// Steps absorbed so far.
    steps: u64,
    /// One number per feature; unused ones stay zero.
    slots: Box<[f64]>,
}

/// Reusable room for one row in the making: the row and the state that follows it.
#[derive(Clone, Debug)]
pub struct RowScratch {
    raw: Box<[f64]>,
    row: Box<[f32]>,
    slots: Box<[f64]>,
}

/// What a step amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowStatus {
    /// Some feature has not seen enough steps; there is no row yet.
    Warming,
    /// The row stands in the scratch.
    Ready {
        /// Whether any raw value lies outside its training range.
        out_of_range: bool,
    },
}

/// Why a list of features is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeatureError {
    /// No features at all.
    #[error("no features")]
    Empty,
    /// The future as an input.
    #[error("feature `{0}` is the label: its value does not exist for the newest row")]
    Label(String),
    /// A name that is neither a feature nor a declared extra field.
    #[error("unknown feature `{0}`: neither a known feature nor listed in extra_fields")]
    Unknown(String),
    /// The same feature twice.
    #[error("feature `{0}` is listed twice")]
    Repeated(String),
    /// The extra fields are no schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The scaler does not fit the features.
    #[error(transparent)]
    Scaler(#[from] ScalerError),
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
        let (features, schema) = resolve(names, extra_fields, label)?;
        let mut required: Vec<_> = features.iter().map(|feature| feature.reads()).collect();
        required.sort_unstable();
        required.dedup();
        let warm_up_steps =
            features.iter().map(|feature| feature.warm_up_steps()).max().unwrap_or(0);
        Ok(Self { features, required, schema, warm_up_steps })
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
        FeatureState { steps: 0, slots: vec![0.0; self.width()].into() }
    }

    /// Room for one row.
    pub fn scratch(&self) -> RowScratch {
        let width = self.width();
        RowScratch {
            raw: vec![0.0; width].into(),
            row: vec![0.0; width].into(),
            slots: vec![0.0; width].into(),
        }
    }

    /// Computes the raw row of a step into `scratch` without absorbing the step; follow with
    /// [`FeatureState::absorb`] to keep it. Returns whether the row is warm, that is, usable.
    ///
    /// # Errors
    /// [`Reject::MissingField`] where the step lacks a field, [`Reject::NotFinite`] where a
    /// feature leaves the finite numbers.
    pub fn row(
        &self,
        state: &FeatureState,
        fields: &Fields,
        scratch: &mut RowScratch,
    ) -> Result<bool, Reject> {
        let warm = state.steps >= self.warm_up_steps;
        for (index, feature) in self.features.iter().enumerate() {
            let input = fields.read(feature.reads()).ok_or(Reject::MissingField)?;
            let (raw, slot) = feature.advance(input, state.slots[index]);
            if warm && !raw.is_finite() {
                return Err(Reject::NotFinite);
            }
            scratch.raw[index] = raw;
            scratch.slots[index] = slot;
        }
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
        Ok(Self { raw, scale: scaler.affine()? })
    }

    /// The same features without the scaler.
    pub fn raw(&self) -> &RawFeatures {
        &self.raw
    }

    /// How many features a row has: F.
    pub fn width(&self) -> usize {
        self.raw.width()
    }

    /// Computes the scaled row of a step into `scratch` without absorbing the step; follow with
    /// [`FeatureState::absorb`] to keep it.
    ///
    /// # Errors
    /// As [`RawFeatures::row`]; also where a scaled value leaves the finite `f32` numbers.
    pub fn row(
        &self,
        state: &FeatureState,
        fields: &Fields,
        scratch: &mut RowScratch,
    ) -> Result<RowStatus, Reject> {
        if !self.raw.row(state, fields, scratch)? {
            return Ok(RowStatus::Warming);
        }
        let mut out_of_range = false;
        for (index, affine) in self.scale.iter().enumerate() {
            let raw = scratch.raw[index];
            // The one rounding from f64 to f32 between raw units and the model.
            let scaled = affine.apply(raw) as f32;
            if !scaled.is_finite() {
                return Err(Reject::NotFinite);
            }
            scratch.row[index] = scaled;
            out_of_range |= !affine.covers(raw);
        }
        Ok(RowStatus::Ready { out_of_range })
    }
}

impl FeatureState {
    /// Takes over the state that [`RawFeatures::row`] left in `scratch`.
    pub fn absorb(&mut self, scratch: &RowScratch) {
        self.steps += 1;
        self.slots.copy_from_slice(&scratch.slots);
    }
}

impl RowScratch {
    /// The newest scaled row: F features in model units.
    pub fn row(&self) -> &[f32] {
        &self.row
    }

    /// The newest raw row: F features, each in its own unit.
    pub fn raw(&self) -> &[f64] {
        &self.raw
    }
}

impl Feature {
    /// The field that the feature reads of each step.
    const fn reads(self) -> Field {
        match self {
            Self::Value(field) => field,
            Self::Change => Field::CLOSE,
        }
    }

    /// Steps before the feature's first value.
    const fn warm_up_steps(self) -> u64 {
        match self {
            Self::Value(_) => 0,
            Self::Change => 1,
        }
    }

    /// The feature's value for `input`, and its next slot. Before warm-up the value means nothing.
    fn advance(self, input: f64, slot: f64) -> (f64, f64) {
        match self {
            Self::Value(_) => (input, 0.0),
            Self::Change => (input / slot - 1.0, input),
        }
    }
}

/// Turns names into features and the schema they read.
fn resolve(
    names: &[String],
    extra_fields: &[String],
    label: &str,
) -> Result<(Vec<Feature>, Schema), FeatureError> {
    if names.is_empty() {
        return Err(FeatureError::Empty);
    }
    let schema = Schema::new(extra_fields.iter().map(String::as_str))?;
    let mut features = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        // Every label is named next_*, so any such input is the future, whatever the target.
        if name == label || name.starts_with("next_") {
            return Err(FeatureError::Label(name.clone()));
        }
        if names[..index].contains(name) {
            return Err(FeatureError::Repeated(name.clone()));
        }
        features.push(match (name.as_str(), schema.field(name)) {
            ("change", _) => Feature::Change,
            (_, Some(field)) => Feature::Value(field),
            (_, None) => return Err(FeatureError::Unknown(name.clone())),
        });
    }
    Ok((features, schema))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::ColumnRange;

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

    fn fields(close: f64, volume: f64) -> Fields {
        let mut fields = Fields::EMPTY;
        // Unchecked, so that features meet what decoding keeps from them.
        fields.set(Field::CLOSE, close);
        fields.set(Field::VOLUME, volume);
        fields
    }

    #[test]
    fn the_tutorials_features_have_their_hand_computed_values() {
        let plan = tutorial();
        let (mut state, mut scratch) = (plan.raw().initial_state(), plan.raw().scratch());
        assert_eq!(plan.row(&state, &fields(10.0, 1.0), &mut scratch), Ok(RowStatus::Warming));
        state.absorb(&scratch);
        let status = plan.row(&state, &fields(12.5, 3.0), &mut scratch);
        assert_eq!(status, Ok(RowStatus::Ready { out_of_range: false }));
        // close 12.5 of 0..20, volume 3 of 0..4, change +25 % of -50..50 %.
        assert_eq!(scratch.row(), [0.25, 0.5, 0.5]);
        assert_eq!(scratch.raw(), [12.5, 3.0, 0.25]);
        state.absorb(&scratch);
        let status = plan.row(&state, &fields(25.0, 3.0), &mut scratch);
        assert_eq!(status, Ok(RowStatus::Ready { out_of_range: true }), "100 % is outside");
    }

    #[test]
    fn a_refused_step_leaves_the_state_untouched() {
        let plan = tutorial();
        let (mut state, mut scratch) = (plan.raw().initial_state(), plan.raw().scratch());
        plan.row(&state, &fields(1e-300, 1.0), &mut scratch).unwrap();
        state.absorb(&scratch);
        let before = state.clone();
        let refused = plan.row(&state, &fields(1e300, 1.0), &mut scratch);
        assert_eq!(refused, Err(Reject::NotFinite), "the change overflows");
        assert_eq!(state, before);
        assert_eq!(plan.row(&state, &Fields::EMPTY, &mut scratch), Err(Reject::MissingField));
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
        assert_eq!(refuse(&["chnage"]), FeatureError::Unknown("chnage".into()));
        assert_eq!(refuse(&["close", "close"]), FeatureError::Repeated("close".into()));
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
    }
}
