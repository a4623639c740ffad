//! In which order requests that waited are carried out.
//!
//! Owns which of them are one piece of work. Promises that promotions of one seat are carried out
//! in the order in which they were asked for, so that the last word counts. Never carries one out.

use super::handle::{Request, Work};

/// Pieces of work in their order, each with the requests that it answers. `seat_of` gives the seat
/// of a model.
///
/// Requests for the same work are answered together. A promotion is not the same work as one before
/// it where another model of its seat was asked for in between.
pub(super) fn in_turn(
    requests: Vec<Request>,
    seat_of: impl Fn(usize) -> Option<usize>,
) -> Vec<(Work, Vec<Request>)> {
    let mut turns: Vec<(Work, Vec<Request>)> = Vec::new();
    for request in requests {
        let Some(work) = request.work else { continue };
        let of_seat = |seat| {
            let promotes = |other: Work| match other {
                Work::Promote(model) => seat_of(model) == seat,
                Work::Reload(_) => false,
            };
            turns.iter().rposition(|(other, _)| promotes(*other))
        };
        let place = match work {
            Work::Reload(_) => turns.iter().position(|(other, _)| *other == work),
            Work::Promote(model) => of_seat(seat_of(model)),
        };
        match place.filter(|place| turns[*place].0 == work) {
            Some(place) => turns[place].1.push(request),
            None => turns.push((work, vec![request])),
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_about_a_seat_counts() {
        use Work::{Promote, Reload};
        // Models 0 and 1 share a seat, and so do 2 and 3.
        let ordered = |works: &[Work]| -> Vec<(Work, usize)> {
            let request = |work: &Work| Request { from: "test", work: Some(*work), answer: None };
            let turns = in_turn(works.iter().map(request).collect(), |model| Some(model / 2));
            turns.into_iter().map(|(work, requests)| (work, requests.len())).collect()
        };
        assert_eq!(ordered(&[Promote(1), Promote(0)]), [(Promote(1), 1), (Promote(0), 1)]);
        assert_eq!(
            ordered(&[Promote(1), Promote(0), Promote(1), Promote(1)]),
            [(Promote(1), 1), (Promote(0), 1), (Promote(1), 2)]
        );
        assert_eq!(
            ordered(&[Promote(1), Promote(2), Reload(0), Promote(1), Reload(1), Reload(0)]),
            [(Promote(1), 2), (Promote(2), 1), (Reload(0), 2), (Reload(1), 1)]
        );
        assert_eq!(
            in_turn(vec![Request { from: "stop", work: None, answer: None }], |_| None).len(),
            0
        );
    }
}
