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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::forecast::Target;
    use crate::engine::model::manifest::{Mode, StepSpec};
    use crate::engine::test_support::manifest;

    #[test]
    fn models_of_one_truth_can_be_compared() {
        let one = manifest(&[Mode::Full]);
        let mut other = manifest(&[Mode::Sliding]);
        (other.name, other.version, other.window_steps) = ("x".to_owned(), "9".to_owned(), 5);
        other.features = vec!["close".to_owned()];
        assert_eq!(rival_obstacle(&one, &other), None);
        let changes: [(&str, fn(&mut Manifest)); 3] = [
            ("the target", |other| other.target.kind = Target::NextVolatility),
            ("the horizon", |other| other.horizon_steps = 2),
            ("what a step is", |other| other.step = StepSpec::time(60)),
        ];
        for (what, change) in changes {
            let mut other = manifest(&[Mode::Full]);
            change(&mut other);
            assert_eq!(rival_obstacle(&one, &other), Some(what));
            assert_eq!(rival_obstacle(&other, &one), Some(what));
        }
    }
}
