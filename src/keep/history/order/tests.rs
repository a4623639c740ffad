//! Tests of the order of questions, of which time the test says what it is.

use super::*;
use crate::core::domain::{DurationNanos, Symbol, UnixNanos};
use crate::core::history::{RowKind, Span};
use crate::ports::history::{Request, Want};

const SETTINGS: HistorianSettings =
    HistorianSettings { requests_at_once: 2, rest_max: Duration::from_secs(4), seed: 1 };

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ask(number: u64, want: Want, until: u64) -> Ask {
    let symbol = Symbol::new("A").unwrap();
    let kind = RowKind::Bars(DurationNanos::from_seconds(60).unwrap());
    let is_hole = matches!(want, Want::Between(_));
    let request = Request { symbol, kind, are_parts: false, want };
    Ask { shard: 0, number, request, is_hole, until: at(until) }
}

fn window(number: u64, until: u64) -> Ask {
    ask(number, Want::Newest { before: None, rows: 5 }, until)
}

fn hole(number: u64, until: u64) -> Ask {
    let [from, to] = [0, 60].map(UnixNanos::from_nanos);
    ask(number, Want::Between(Span { from, to }), until)
}

fn rows(is_complete: bool) -> Rows {
    Rows { rows: Vec::new(), is_complete }
}

fn away() -> Result<Rows, Failed> {
    Err(Failed::Away("away".to_owned()))
}

fn refused() -> Result<Rows, Failed> {
    Err(Failed::Refused("unknown".to_owned()))
}

/// The next question for a source, which has to be the one of this number.
fn fetch(order: &mut Order, now: u64, number: u64) -> (usize, Inquiry) {
    match order.next(at(now)) {
        Next::Fetch(source, inquiry) if inquiry.ask.number == number => (source, inquiry),
        other => panic!("{number} was to go out: {other:?}"),
    }
}

/// A source has said this.
fn heard(
    order: &mut Order,
    source: usize,
    inquiry: Inquiry,
    said: Result<Rows, Failed>,
    now: Duration,
) -> Option<(Ask, Result<Rows, Failed>)> {
    order.heard(source, inquiry, Some(said), now)
}

fn answered(order: &mut Order, now: u64) -> (u64, Result<Rows, Failed>) {
    match order.next(at(now)) {
        Next::Answer(ask, answer) => (ask.number, answer),
        other => panic!("nothing is answered: {other:?}"),
    }
}

#[test]
fn holes_go_before_windows_and_near_deadlines_before_far_ones() {
    let mut order = Order::new(1, &HistorianSettings { requests_at_once: 9, ..SETTINGS });
    for ask in [window(1, 50), window(2, 40), hole(3, 99), hole(4, 98)] {
        order.take(ask);
    }
    for number in [4, 3, 2, 1] {
        let _ = fetch(&mut order, 0, number);
    }
    assert_eq!(order.next(at(0)), Next::Wait(None));
}

#[test]
fn no_more_questions_are_out_than_may_be() {
    let mut order = Order::new(1, &SETTINGS);
    (1..=3).for_each(|number| order.take(hole(number, 10)));
    let (source, first) = fetch(&mut order, 0, 1);
    let _ = fetch(&mut order, 0, 2);
    assert_eq!(order.next(at(0)), Next::Wait(Some(at(10))));
    assert_eq!(order.waiting(), 1);
    let (ask, answer) = heard(&mut order, source, first, Ok(rows(true)), at(1)).unwrap();
    assert_eq!((ask.number, answer), (1, Ok(rows(true))));
    let _ = fetch(&mut order, 1, 3);
}

#[test]
fn questions_past_their_deadline_are_answered() {
    let mut order = Order::new(1, &HistorianSettings { requests_at_once: 1, ..SETTINGS });
    order.take(window(1, 60));
    let _ = fetch(&mut order, 0, 1);
    order.take(window(2, 5));
    order.take(hole(3, 5));
    assert_eq!(order.next(at(4)), Next::Wait(Some(at(5))));
    for number in [3, 2] {
        let (answered, answer) = answered(&mut order, 5);
        assert_eq!((answered, answer), (number, Err(Failed::Late)));
    }
    assert_eq!((order.next(at(5)), order.waiting()), (Next::Wait(None), 0));
}

#[test]
fn while_a_source_rests_holes_are_answered_at_once_and_windows_wait() {
    let mut order = Order::new(1, &SETTINGS);
    order.take(window(1, 100));
    order.take(hole(2, 3));
    let (source, two) = fetch(&mut order, 0, 2);
    assert_eq!(heard(&mut order, source, two, away(), at(1)), None);
    assert_eq!(answered(&mut order, 1), (2, away()));
    order.take(hole(3, 4));
    let (number, answer) = answered(&mut order, 1);
    assert!(number == 3 && matches!(answer, Err(Failed::Away(_))), "{answer:?}");
    // The first rest is as short as a rest can be.
    assert_eq!(order.next(at(1)), Next::Wait(Some(at(2))));
    let (source, one) = fetch(&mut order, 2, 1);
    assert_eq!(heard(&mut order, source, one, away(), at(2)), None);
    assert!(matches!(order.next(at(2)), Next::Wait(Some(_))), "it rests again");
    let (source, one) = fetch(&mut order, 7, 1);
    assert!(heard(&mut order, source, one, Ok(rows(true)), at(7)).is_some());
    order.take(hole(4, 20));
    let _ = fetch(&mut order, 7, 4);
}

#[test]
fn questions_that_were_out_together_are_one_failure() {
    let mut order = Order::new(1, &HistorianSettings { requests_at_once: 50, ..SETTINGS });
    (1..=40).for_each(|number| order.take(window(number, 1000)));
    let out: Vec<_> = (1..=40).map(|number| fetch(&mut order, 0, number)).collect();
    for (source, inquiry) in out {
        assert_eq!(heard(&mut order, source, inquiry, away(), at(1)), None);
    }
    assert_eq!(order.next(at(1)), Next::Wait(Some(at(2))), "forty failures rest as one");
}

#[test]
fn what_one_source_does_not_have_another_is_asked_for() {
    for (first, second, expected) in [
        (refused(), Ok(rows(true)), Ok(rows(true))),
        (Ok(rows(false)), Ok(rows(true)), Ok(rows(true))),
        (Ok(rows(false)), refused(), Ok(rows(false))),
        (refused(), Ok(rows(false)), Ok(rows(false))),
        (refused(), refused(), refused()),
        (away(), Ok(rows(true)), Ok(rows(true))),
    ] {
        let mut order = Order::new(2, &SETTINGS);
        order.take(hole(1, 10));
        let (source, inquiry) = fetch(&mut order, 0, 1);
        assert_eq!(source, 0, "the preferred one");
        assert_eq!(heard(&mut order, source, inquiry, first, at(0)), None);
        let (source, inquiry) = fetch(&mut order, 0, 1);
        assert_eq!(source, 1);
        let (_, answer) = heard(&mut order, source, inquiry, second, at(0)).unwrap();
        assert_eq!(answer, expected);
    }
    // What the preferred one may still have is asked for once it has rested.
    let mut order = Order::new(2, &SETTINGS);
    order.take(window(1, 10));
    let (source, inquiry) = fetch(&mut order, 0, 1);
    assert_eq!(heard(&mut order, source, inquiry, away(), at(0)), None);
    let (source, inquiry) = fetch(&mut order, 0, 1);
    assert_eq!((source, heard(&mut order, source, inquiry, refused(), at(0))), (1, None));
    assert_eq!(order.next(at(0)), Next::Wait(Some(at(1))));
    assert_eq!(fetch(&mut order, 1, 1).0, 0);
}

#[test]
fn without_a_source_every_question_is_refused() {
    let mut order = Order::new(0, &SETTINGS);
    order.take(window(1, 10));
    assert!(matches!(answered(&mut order, 0), (1, Err(Failed::Refused(_)))));
}

#[test]
fn holes_that_run_out_of_their_time_make_a_source_rest_when_they_are_several_in_a_row() {
    let mut order = Order::new(1, &SETTINGS);
    let late = Err(Failed::Late);
    let mut runs_out = |number: u64| {
        order.take(hole(number, 2 * number));
        let (source, inquiry) = fetch(&mut order, 2 * number - 2, number);
        assert_eq!(order.heard(source, inquiry, None, at(2 * number)), None);
        assert_eq!(answered(&mut order, 2 * number), (number, late.clone()));
    };
    (1..=3).for_each(&mut runs_out);
    order.take(hole(4, 8));
    let (number, answer) = answered(&mut order, 6);
    let rests = Err(Failed::Away("the source of history was away a moment ago".to_owned()));
    assert_eq!((number, answer), (4, rests));
}

#[test]
fn a_window_that_ticks_of_a_running_symbol_wait_for_goes_first_and_is_not_tried_again() {
    let mut order = Order::new(1, &SETTINGS);
    order.take(window(1, 100));
    order.take(Ask { is_hole: true, ..window(2, 100) });
    let (source, two) = fetch(&mut order, 0, 2);
    assert_eq!(heard(&mut order, source, two, away(), at(1)), None);
    assert_eq!(answered(&mut order, 1), (2, away()));
}
