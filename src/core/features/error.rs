//! Why a list of features is no plan.
//!
//! Owns the wording. Promises that every problem names the feature at fault.

use super::scaler::ScalerError;
use crate::core::domain::SchemaError;

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
    #[error(
        "unknown feature `{name}`: neither a known feature nor listed in extra_fields{}",
        did_you_mean(suggestion.as_deref())
    )]
    Unknown {
        /// The name.
        name: String,
        /// The feature or field that reads most like it.
        suggestion: Option<String>,
    },
    /// A known feature with parameters that it does not take.
    #[error("feature `{name}`: {problem}")]
    Parameters {
        /// The feature as it was written.
        name: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// The same feature twice.
    #[error("feature `{0}` is listed twice")]
    Repeated(String),
    /// The same feature twice, under two names.
    #[error("feature `{name}` is the same as `{first}`")]
    Same {
        /// The later name.
        name: String,
        /// The earlier one.
        first: String,
    },
    /// An extra field that no list of features could name.
    #[error("extra field `{0}` has the name of a feature; give the field another name")]
    Shadowed(String),
    /// The extra fields are no schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The scaler does not fit the features.
    #[error(transparent)]
    Scaler(#[from] ScalerError),
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}
