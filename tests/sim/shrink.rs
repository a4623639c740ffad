//! From a run that fails to a smaller one that fails in the same way.

use crate::faults::{Character, Fault};
use crate::world::Ran;

/// The invariant that a violation names.
fn kind(violation: &str) -> &str {
    violation.split(':').next().unwrap_or(violation)
}

/// Leaves out kinds of faults, then turns, for as long as the same invariant is violated.
pub(crate) fn shrink(
    character: &Character,
    ran: Ran,
    run: impl Fn(&Character) -> Ran,
) -> (Character, Ran) {
    let wanted = kind(ran.violation.as_deref().unwrap_or_default()).to_owned();
    let (mut smallest, mut result) = (*character, ran);
    let fails = |candidate: &Character| {
        let ran = run(candidate);
        ran.violation.as_deref().is_some_and(|found| kind(found) == wanted).then_some(ran)
    };
    for fault in Fault::ALL {
        let candidate = Character { faults: smallest.faults.without(fault), ..smallest };
        if candidate.faults != smallest.faults
            && let Some(ran) = fails(&candidate)
        {
            (smallest, result) = (candidate, ran);
        }
    }
    let mut step = smallest.turns / 2;
    while step > 0 {
        let candidate = Character { turns: smallest.turns - step, ..smallest };
        match fails(&candidate) {
            Some(ran) => (smallest, result) = (candidate, ran),
            None => step /= 2,
        }
        step = step.min(smallest.turns.saturating_sub(1));
    }
    (smallest, result)
}
