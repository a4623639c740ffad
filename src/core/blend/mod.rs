//! One forecast out of several, with a bound on its loss.
//!
//! Owns the weights of the experts of one symbol, the recalibration of each model, and the rule by
//! which both learn. An expert is a forecast of a model, the same forecast recalibrated, or a
//! baseline. Promises that a forecast follows from the forecasts, truths and gaps before it alone,
//! that a step costs the same however many there were, that equal inputs give equal bits on every
//! machine, and that the loss stays within the bound of [`Weights`] of the loss of the best expert.
//! Never runs a model, and never learns from what a model was trained on. `docs/blend.md` has the
//! formulas.
//!
//! | module | owns |
//! |---|---|
//! | `plan` | which experts there are, and how much each weighs at first |
//! | `weights` | how weights follow losses |
//! | `recalibration` | a line through forecasts and truths |
//! | `symbol` | one symbol: what waits for its truth, what was learned |

mod plan;
mod recalibration;
mod symbol;
#[cfg(test)]
mod tests;
mod weights;

pub use self::plan::{BlendPlan, EXPERTS_MAX, Expert, MEMBERS_MAX};
pub use self::recalibration::Recalibration;
pub use self::symbol::{Blended, SymbolBlend};
pub use self::weights::{Loss, Weights};

/// A published weight is a whole number of these parts of 1.
pub const WEIGHT_PARTS: u16 = 10_000;
