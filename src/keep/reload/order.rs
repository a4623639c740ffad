//! In which order requests that waited are carried out.
//!
//! Owns which of them are one piece of work. Promises that promotions of one seat are carried out
//! in the order in which they were asked for, so that the last word counts. Never carries one out.

use super::handle::{Request, Work};
use super::outcome::Models;

/// Pieces of work on these models in their order, each with the requests that it answers.
///
/// Requests for the same work are answered together. A promotion is not the same work as one before
/// it where another one of its seat was asked for in between, and neither is a reload where a
/// promotion in between loads a version of its own.
pub(super) fn in_order(requests: Vec<Request>, models: &Models) -> Vec<(Work, Vec<Request>)> {
    let mut order: Vec<(Work, Vec<Request>)> = Vec::new();
    for request in requests {
        let work = match request.work.clone() {
            None => continue,
            // One entry represents both of two that take turns.
            Some(Work::Reload(model)) => Work::Reload(models.first_of(model)),
            Some(work) => work,
        };
        let seat_of = |work: &Work| models.0.get(work.model()).map(|listed| listed.seat);
        let may_differ = |other: &Work| match (&work, other) {
            (Work::Reload(_), Work::Reload(_)) => *other == work,
            (Work::Reload(_), Work::Promote(_)) => false,
            (Work::Reload(_), Work::Bring { .. }) => seat_of(other) == seat_of(&work),
            (_, Work::Reload(_)) => false,
            (_, Work::Promote(_) | Work::Bring { .. }) => seat_of(other) == seat_of(&work),
        };
        let last = order.iter().rposition(|(other, _)| may_differ(other));
        match last.filter(|place| order[*place].0 == work) {
            Some(place) => order[place].1.push(request),
            None => order.push((work, vec![request])),
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::super::outcome::{ListedModel, ModelStatus, Rivalry, RunningModel};
    use super::*;
    use crate::engine::pipeline::Role;

    /// Models 0 and 1 share a seat, and so do 2 and 3, which take turns.
    fn models() -> Models {
        let listed = |index: usize| {
            let running = RunningModel {
                model: "m".to_owned(),
                model_version: index.to_string(),
                mode: "full".to_owned(),
                onnx_sha256: String::new(),
            };
            ListedModel {
                name: index.to_string(),
                role: if index.is_multiple_of(2) { Role::Live } else { Role::Shadow },
                seat: index / 2,
                turns_with: [None, None, Some(3), Some(2)][index],
                symbols: Vec::new(),
                rivalry: Rivalry::default(),
                blends: Vec::new(),
                status: ModelStatus {
                    running,
                    runtime: "onnxruntime",
                    runtime_reason: None,
                    refused: Vec::new(),
                },
            }
        };
        Models((0..4).map(listed).collect())
    }

    fn ordered(works: &[Work]) -> Vec<(Work, usize)> {
        let request =
            |work: &Work| Request { from: "test", work: Some(work.clone()), answer: None };
        let order = in_order(works.iter().map(request).collect(), &models());
        order.into_iter().map(|(work, requests)| (work, requests.len())).collect()
    }

    fn bring(version: &str) -> Work {
        Work::Bring { model: 2, version: version.to_owned() }
    }

    #[test]
    fn the_last_word_about_a_seat_counts() {
        use Work::{Promote, Reload};
        assert_eq!(ordered(&[Promote(1), Promote(0)]), [(Promote(1), 1), (Promote(0), 1)]);
        assert_eq!(
            ordered(&[Promote(1), Promote(0), Promote(1), Promote(1)]),
            [(Promote(1), 1), (Promote(0), 1), (Promote(1), 2)]
        );
        assert_eq!(
            ordered(&[Promote(1), Promote(2), Reload(0), Promote(1), Reload(1), Reload(0)]),
            [(Promote(1), 2), (Promote(2), 1), (Reload(0), 2), (Reload(1), 1)]
        );
        let stop = vec![Request { from: "stop", work: None, answer: None }];
        assert_eq!(in_order(stop, &models()).len(), 0);
    }

    #[test]
    fn versions_that_take_turns_are_promoted_in_their_order() {
        use Work::{Promote, Reload};
        assert_eq!(
            ordered(&[bring("5"), bring("4"), bring("5"), bring("5")]),
            [(bring("5"), 1), (bring("4"), 1), (bring("5"), 2)]
        );
        assert_eq!(
            ordered(&[bring("5"), Promote(1), bring("5"), Promote(3), bring("5")]),
            [(bring("5"), 2), (Promote(1), 1), (Promote(3), 1), (bring("5"), 1)]
        );
        // Two that take turns are reloaded as one, and again behind a version that was brought.
        assert_eq!(
            ordered(&[Reload(2), Reload(3), Reload(0), bring("5"), Reload(3), Reload(0)]),
            [(Reload(2), 2), (Reload(0), 2), (bring("5"), 1), (Reload(2), 1)]
        );
    }
}
