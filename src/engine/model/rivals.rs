//! Whether scores of two models can be compared.
//!
//! Owns what two models must have in common for it. Promises that it follows from the two manifests
//! alone. Never compares a score.

use super::manifest::Manifest;

/// Why no score of one model can be compared with one of the other: what of them differs. `None`
/// where scores can be compared.
pub fn rival_obstacle(one: &Manifest, other: &Manifest) -> Option<&'static str> {
    let differences = [
        ("the target", one.target.kind != other.target.kind),
        ("the horizon", one.horizon_steps != other.horizon_steps),
        ("what a step is", !one.step.makes_the_steps_of(&other.step)),
    ];
    differences.into_iter().find(|(_, differ)| *differ).map(|(what, _)| what)
}
