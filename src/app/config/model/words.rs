//! The words of a configuration for what a model does with its steps.
//!
//! Owns both lists. Never reads a key.

use crate::engine::model::manifest::Mode;
use crate::engine::symbols::CadencePolicy;

/// How a model is driven; `None` leaves it to the model.
pub(super) const MODES: [(&str, Option<Mode>); 4] = [
    ("auto", None),
    ("sliding", Some(Mode::Sliding)),
    ("full", Some(Mode::Full)),
    ("carried", Some(Mode::Carried)),
];

/// What is expected of the spacing of steps.
pub(super) const CADENCES: [(&str, CadencePolicy); 2] =
    [("as_trained", CadencePolicy::AsTrained), ("as_it_comes", CadencePolicy::AsItComes)];
