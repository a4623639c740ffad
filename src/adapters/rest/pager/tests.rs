//! The pager against a venue that is played by a function: any page sizes, orders and faults.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const LENGTH: i64 = 60_000_000_000;

/// How the venue answers.
#[derive(Clone, Debug)]
struct Played {
    pages: Pages,
    /// Finished rows by their number of minutes, with whether they are empty; in order.
    truth: Vec<(i64, bool)>,
    /// What the venue puts into one answer at most, which may be less than it says.
    cap: usize,
    order: Order,
    /// What happens to the first answers.
    faults: Vec<Fault>,
    /// Answers before the newest row is published.
    late: u32,
    answers: u32,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Oldest,
    Newest,
    Mixed,
}

#[derive(Clone, Debug)]
enum Fault {
    None,
    /// Rows are left out, from one place on, so many.
    Partial(Index, Index),
    Nothing,
    /// A row comes twice.
    Repeated(Index),
    /// One row cannot be read.
    Bad(Index),
}

fn time(minute: i64) -> UnixNanos {
    UnixNanos::from_nanos(minute * LENGTH)
}

fn bytes(minute: i64) -> Vec<u8> {
    format!("row {minute}").into_bytes()
}

impl Played {
    /// The first instant that no finished row reaches beyond.
    fn finished(&self) -> UnixNanos {
        time(self.truth.last().map_or(0, |(minute, _)| minute + 1))
    }

    fn answer(&mut self, page: &Page) -> Answer {
        self.answers += 1;
        let published = self.truth.len() - usize::from(self.answers <= self.late);
        let mut rows: Vec<_> = self.truth[..published.min(self.truth.len())].to_vec();
        let newest = self.truth.last().map_or(0, |(minute, _)| *minute);
        let latest = self.pages.paging == Paging::Latest;
        if latest {
            rows.drain(..rows.len().saturating_sub(self.pages.rows_max as usize - 1));
        } else {
            rows.retain(|(minute, _)| page.span.contains(time(*minute)));
        }
        let mut cursor = None;
        if self.pages.paging == Paging::Cursor {
            let at: usize = page.cursor.as_ref().map_or(0, |cursor| cursor.parse().unwrap());
            let end = rows.len().min(at + self.cap);
            cursor = (end < rows.len()).then(|| end.to_string());
            rows = rows[at.min(end)..end].to_vec();
        } else if !latest && rows.len() > self.cap {
            match self.order {
                Order::Newest => drop(rows.drain(..rows.len() - self.cap)),
                Order::Oldest | Order::Mixed => rows.truncate(self.cap),
            }
        }
        let row = |(minute, is_empty): (i64, bool)| AnswerRow {
            record: bytes(minute),
            time: time(minute),
            is_empty,
        };
        let mut rows: Vec<_> = rows.into_iter().map(row).collect();
        // The bar that is under way.
        if latest || page.span.contains(time(newest + 1)) {
            let record = b"not finished".to_vec();
            rows.push(AnswerRow { record, time: time(newest + 1), is_empty: false });
        }
        match self.order {
            Order::Oldest => {}
            Order::Newest => rows.reverse(),
            Order::Mixed => {
                let middle = rows.len() / 2;
                rows.rotate_left(middle);
            }
        }
        let mut bad = 0;
        let fault = self.faults.get(self.answers as usize - 1).cloned();
        if !rows.is_empty() {
            match fault.unwrap_or(Fault::None) {
                Fault::None => {}
                Fault::Partial(from, count) => {
                    let from = from.index(rows.len());
                    let count = count.index(rows.len() - from) + 1;
                    rows.drain(from..from + count);
                }
                Fault::Nothing => rows.clear(),
                Fault::Repeated(at) => rows.push(rows[at.index(rows.len())].clone()),
                Fault::Bad(at) => {
                    rows.remove(at.index(rows.len()));
                    bad = 1;
                }
            }
        }
        Answer { rows, bad, why: None, cursor }
    }

    /// The rows for a question, and how many requests it took.
    fn ask(&mut self, want: Want) -> (Rows, u32) {
        let finished = self.finished();
        let mut pager = Pager::new(self.pages, want, finished).unwrap();
        loop {
            match pager.turn() {
                Turn::Done(rows) => return (rows, self.answers),
                Turn::Ask(page) => {
                    let answer = self.answer(&page);
                    pager.answered(&page, answer, Some(finished));
                }
            }
        }
    }
}

fn minutes(rows: &Rows) -> Vec<i64> {
    rows.rows.iter().map(|row| row.time.as_nanos() / LENGTH).collect()
}

fn pages(paging: Paging, rows_max: u32, omits_empty: bool) -> Pages {
    let length = DurationNanos::from_seconds(60).unwrap();
    Pages { paging, rows_max, pages_max: 50, omits_empty, are_parts: false, length }
}

fn played(paging: Paging, rows_max: u32, minutes: std::ops::Range<i64>) -> Played {
    Played {
        pages: pages(paging, rows_max, false),
        truth: minutes.map(|minute| (minute, false)).collect(),
        cap: rows_max as usize,
        order: Order::Oldest,
        faults: Vec::new(),
        late: 0,
        answers: 0,
    }
}

fn between(from: i64, to: i64) -> Want {
    Want::Between(span(from * LENGTH, to * LENGTH))
}

fn newest(before: Option<i64>, rows: u32) -> Want {
    Want::Newest { before: before.map(time), rows }
}

#[test]
fn a_stretch_is_asked_for_in_slices() {
    let (rows, asked) = played(Paging::Range, 10, 0..100).ask(between(20, 55));
    assert_eq!((minutes(&rows), rows.is_complete, asked), ((20..55).collect(), true, 4));
    assert_eq!(rows.rows[0].bytes, "row 20");
}

#[test]
fn the_newest_rows_are_one_request_where_it_holds_them() {
    let (rows, asked) = played(Paging::Range, 1000, 0..2000).ask(newest(None, 51));
    assert_eq!((minutes(&rows), rows.is_complete, asked), ((1949..2000).collect(), true, 1));
    let (rows, asked) = played(Paging::Range, 20, 0..2000).ask(newest(Some(1000), 51));
    assert_eq!((minutes(&rows), rows.is_complete, asked), ((949..1000).collect(), true, 3));
    let (rows, asked) = played(Paging::Latest, 60, 0..2000).ask(newest(None, 51));
    assert_eq!((minutes(&rows), rows.is_complete, asked), ((1949..2000).collect(), true, 1));
}

#[test]
fn a_symbol_that_is_new_has_fewer_rows() {
    let (rows, asked) = played(Paging::Range, 100, 1990..2000).ask(newest(None, 51));
    // And two requests that show that there is nothing before.
    assert_eq!((minutes(&rows), rows.is_complete, asked), ((1990..2000).collect(), true, 3));
}

#[test]
fn rows_of_a_market_that_rests_are_found_behind_the_rest() {
    let mut venue = played(Paging::Range, 1000, 0..0);
    venue.pages.omits_empty = true;
    // A weekend of 65 hours, of which each hour of minutes is 60 rows.
    let friday = 0..600;
    let monday = 600 + 65 * 60..600 + 65 * 60 + 20;
    venue.truth = friday.chain(monday.clone()).map(|minute| (minute, false)).collect();
    let (rows, _) = venue.clone().ask(newest(None, 51));
    assert_eq!(minutes(&rows), (569..600).chain(monday.clone()).collect::<Vec<_>>());
    assert!(rows.is_complete);
    // A symbol that began on Monday.
    venue.truth.retain(|(minute, _)| *minute >= 600);
    let (rows, asked) = venue.ask(newest(None, 51));
    assert_eq!((minutes(&rows), rows.is_complete), (monday.collect(), true));
    assert!(asked <= 8, "{asked} requests for four days and a page");
}

#[test]
fn what_never_comes_leaves_the_answer_incomplete() {
    let mut venue = played(Paging::Range, 10, 0..20);
    venue.truth.remove(7);
    let (rows, asked) = venue.clone().ask(between(0, 20));
    assert_eq!((rows.rows.len(), rows.is_complete), (19, false));
    assert_eq!(asked, 2 + 1 + AGAIN_MAX, "two slices, the hole at once, and again and again");
    venue.pages.omits_empty = true;
    let (rows, asked) = venue.ask(between(0, 20));
    assert_eq!((rows.rows.len(), rows.is_complete, asked), (19, true, 2), "it has no row there");
}

#[test]
fn a_bar_that_is_late_is_asked_for_again() {
    let mut venue = played(Paging::Range, 10, 0..20);
    venue.late = 3;
    let (rows, asked) = venue.ask(between(15, 20));
    assert_eq!((minutes(&rows), rows.is_complete, asked), ((15..20).collect(), true, 4));
}

#[test]
fn the_last_part_of_a_step_is_asked_for_once_more_and_has_to_be_there() {
    for paging in [Paging::Range, Paging::Latest, Paging::Cursor] {
        let mut venue = played(paging, 10, 0..20);
        (venue.pages.omits_empty, venue.pages.are_parts) = (true, true);
        let ask = |venue: &Played, from| {
            let (rows, asked) = venue.clone().ask(between(from, from + 5));
            (minutes(&rows), rows.is_complete, asked)
        };
        assert_eq!(ask(&venue, 15), ((15..20).collect(), true, 1), "{paging:?}");
        // The venue publishes it a moment later, or not in time.
        venue.late = 1;
        assert_eq!(ask(&venue, 15), ((15..20).collect(), true, 2), "{paging:?}");
        venue.late = 2;
        assert_eq!(ask(&venue, 15), ((15..19).collect(), false, 2), "{paging:?}");
        // A step that is one row shows that it is missing.
        venue.pages.are_parts = false;
        assert_eq!(ask(&venue, 15), ((15..19).collect(), true, 1), "{paging:?}");
        // An earlier one is older than the last one, so the venue left it out.
        (venue.pages.are_parts, venue.late) = (true, 0);
        venue.truth.remove(17);
        assert_eq!(ask(&venue, 15), (vec![15, 16, 18, 19], true, 1), "{paging:?}");
        assert_eq!(ask(&venue, 21), (vec![], false, 2), "{paging:?}");
    }
    // Of a long stretch without rows, what one request holds.
    let mut venue = played(Paging::Range, 10, 0..20);
    (venue.pages.omits_empty, venue.pages.are_parts) = (true, true);
    let (rows, asked) = venue.ask(between(30, 75));
    assert_eq!((minutes(&rows), rows.is_complete, asked), (vec![], false, 5 + 1));
}

#[test]
fn a_bar_that_is_not_finished_is_none() {
    let mut venue = played(Paging::Range, 10, 0..20);
    let (rows, _) = venue.clone().ask(between(15, 21));
    assert_eq!((minutes(&rows), rows.is_complete), ((15..20).collect(), false));
    venue.pages.omits_empty = true;
    let (rows, _) = venue.ask(between(15, 21));
    assert_eq!((minutes(&rows), rows.is_complete), ((15..20).collect(), false));
}

#[test]
fn two_rows_of_one_time_that_differ_are_no_answer() {
    let mut pager = Pager::new(pages(Paging::Range, 10, false), between(0, 2), time(9)).unwrap();
    let Turn::Ask(page) = pager.turn() else { panic!("one request") };
    let row = |minute, text: &str| AnswerRow {
        record: text.as_bytes().to_vec(),
        time: time(minute),
        is_empty: false,
    };
    let rows = vec![row(0, "a"), row(1, "b"), row(0, "c")];
    pager.answered(&page, Answer { rows, ..Answer::default() }, None);
    let Turn::Done(rows) = pager.turn() else { panic!("an answer") };
    assert_eq!((minutes(&rows), rows.is_complete), (vec![0, 1], false));
}

#[test]
fn rows_older_than_the_newest_ones_cannot_be_had() {
    let (rows, asked) = played(Paging::Latest, 10, 0..100).ask(between(95, 100));
    assert_eq!((minutes(&rows), rows.is_complete, asked), ((95..100).collect(), true, 1));
    let (rows, asked) = played(Paging::Latest, 10, 0..100).ask(between(85, 95));
    assert_eq!((minutes(&rows), rows.is_complete, asked), ((91..95).collect(), false, 1));
    let mut quiet = played(Paging::Latest, 10, 0..100);
    quiet.pages.omits_empty = true;
    let (rows, _) = quiet.ask(between(85, 95));
    assert!(!rows.is_complete, "nothing is known of what is older");
}

#[test]
fn bars_may_begin_anywhere() {
    let shift = 7_000_000_000;
    let of = |end: i64| {
        let want = Want::Between(span(0, end));
        let mut pager = Pager::new(pages(Paging::Range, 10, false), want, time(9)).unwrap();
        let Turn::Ask(page) = pager.turn() else { panic!("one request") };
        let row = |minute: i64| AnswerRow {
            record: bytes(minute),
            time: UnixNanos::from_nanos(minute * LENGTH + shift),
            is_empty: false,
        };
        let rows = vec![row(0), row(1), row(2)];
        pager.answered(&page, Answer { rows, ..Answer::default() }, None);
        let Turn::Done(rows) = pager.turn() else { panic!("an answer") };
        (rows.rows.len(), rows.is_complete)
    };
    assert_eq!(of(3 * LENGTH + shift), (3, true));
    // One that reaches beyond the end is none of the stretch.
    assert_eq!(of(3 * LENGTH), (2, true));
}

#[test]
fn more_requests_than_are_allowed_are_refused_or_end() {
    let few = Pages { pages_max: 3, ..pages(Paging::Range, 10, false) };
    let refused = Pager::new(few, between(0, 31), time(0)).unwrap_err();
    assert_eq!(refused.to_string(), "4 requests are needed and rest.pages_max is 3");
    // A cursor that leads nowhere else.
    let mut pager = Pager::new(pages(Paging::Cursor, 10, true), between(0, 9), time(9)).unwrap();
    let mut asked = 0;
    let rows = loop {
        match pager.turn() {
            Turn::Done(rows) => break rows,
            Turn::Ask(page) => {
                asked += 1;
                let cursor = Some("x".to_owned());
                pager.answered(&page, Answer { cursor, ..Answer::default() }, None);
            }
        }
    };
    assert_eq!((asked, rows.is_complete), (2, false));
    // One that leads on and on.
    let mut pager = Pager::new(pages(Paging::Cursor, 10, true), between(0, 9), time(9)).unwrap();
    let mut asked = 0_u32;
    let rows = loop {
        match pager.turn() {
            Turn::Done(rows) => break rows,
            Turn::Ask(page) => {
                asked += 1;
                let cursor = Some(asked.to_string());
                pager.answered(&page, Answer { cursor, ..Answer::default() }, None);
            }
        }
    };
    assert_eq!((asked, rows.is_complete), (50 + AGAIN_MAX, false));
}

fn any_fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        3 => Just(Fault::None),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(from, count)| Fault::Partial(from, count)),
        1 => Just(Fault::Nothing),
        2 => any::<Index>().prop_map(Fault::Repeated),
        1 => any::<Index>().prop_map(Fault::Bad),
    ]
}

prop_compose! {
    fn any_venue()(
        paging in prop_oneof![
            3 => Just(Paging::Range), 1 => Just(Paging::Latest), 1 => Just(Paging::Cursor),
        ],
        omits_empty: bool,
        are_parts: bool,
        rows_max in 2u32..50,
        cap in 1usize..50,
        start in 0i64..60,
        kinds in proptest::collection::vec(0u8..8, 1..160),
        order in prop_oneof![Just(Order::Oldest), Just(Order::Newest), Just(Order::Mixed)],
        faults in proptest::collection::vec(any_fault(), 0..4),
        late in 0u32..3,
    ) -> Played {
        // What a venue that omits rows leaves out cannot be told from what an answer lost.
        let faults = faults.into_iter().filter(|fault| match fault {
            Fault::Partial(..) | Fault::Nothing => !omits_empty,
            _ => true,
        });
        let (cap, late) = match omits_empty {
            true => (rows_max as usize, 0),
            false => (cap.min(rows_max as usize), late),
        };
        let truth = kinds.iter().enumerate().filter(|(_, kind)| !(omits_empty && **kind == 0));
        let truth = truth.map(|(minute, kind)| (start + minute as i64, *kind == 1)).collect();
        let faults = faults.collect();
        let pages = Pages { pages_max: 200, are_parts, ..pages(paging, rows_max, omits_empty) };
        Played { pages, truth, cap, order, faults, late, answers: 0 }
    }
}

proptest! {
    #[test]
    fn rows_are_those_of_the_stretch_once_each_and_none_is_missing_where_it_says_so(
        venue in any_venue(),
        from in 0i64..220,
        count in 1i64..120,
    ) {
        let mut asked = venue.clone();
        let (rows, requests) = asked.ask(between(from, from + count));
        prop_assert!(requests <= venue.pages.pages_max + AGAIN_MAX);
        let of_truth = venue.truth.iter().filter(|(minute, is_empty)| {
            !is_empty && (from..from + count).contains(minute)
        });
        let truth: Vec<_> = of_truth.map(|(minute, _)| *minute).collect();
        let found = minutes(&rows);
        prop_assert!(found.is_sorted_by(|a, b| a < b), "{:?}", found);
        for (row, minute) in rows.rows.iter().zip(&found) {
            prop_assert!(truth.contains(minute), "{} is not wanted", minute);
            prop_assert_eq!(&row.bytes[..], &bytes(*minute)[..]);
        }
        if rows.is_complete {
            prop_assert_eq!(&found, &truth);
        }
        // Where the venue has all of it, and what went wrong passes, nothing is missing.
        let first = venue.truth.first().map_or(0, |(minute, _)| *minute);
        let last = venue.truth.last().map_or(0, |(minute, _)| *minute);
        let has_all = first <= from && from + count <= last + 1;
        let reaches = venue.pages.paging != Paging::Latest;
        let is_spoiled = venue.pages.omits_empty
            && venue.faults.iter().any(|fault| matches!(fault, Fault::Bad(_)));
        // What a venue left out looks like what it publishes later.
        let has_tail = venue.truth.iter().any(|(minute, _)| *minute == from + count - 1);
        let may_lack = venue.pages.omits_empty && venue.pages.are_parts && !has_tail;
        prop_assert!(!(may_lack && rows.is_complete));
        if has_all && reaches && !is_spoiled && !may_lack {
            prop_assert!(rows.is_complete);
        }
    }

    #[test]
    fn the_newest_rows_are_the_end_of_what_the_venue_has(
        venue in any_venue(),
        before in proptest::option::of(0i64..230),
        count in 1u32..100,
    ) {
        let mut asked = venue.clone();
        let (rows, _) = asked.ask(newest(before, count));
        let found = minutes(&rows);
        prop_assert!(found.is_sorted_by(|a, b| a < b), "{:?}", found);
        prop_assert!(found.len() <= count as usize);
        let is_wanted = |minute: i64| before.is_none_or(|before| minute < before);
        let of_truth = venue.truth.iter().filter(|(minute, is_empty)| {
            !is_empty && is_wanted(*minute)
        });
        let mut truth: Vec<_> = of_truth.map(|(minute, _)| *minute).collect();
        for (row, minute) in rows.rows.iter().zip(&found) {
            prop_assert!(truth.contains(minute), "{} is not wanted", minute);
            prop_assert_eq!(&row.bytes[..], &bytes(*minute)[..]);
        }
        if !rows.is_complete {
            return Ok(());
        }
        // Without an end, the newest may be missing.
        if let (None, Some(last)) = (before, found.last()) {
            truth.retain(|minute| minute <= last);
        }
        prop_assert_eq!(&found[..], &truth[truth.len().saturating_sub(found.len())..]);
        // What the venue has and is not asked for is out of reach, and what two answers deny.
        let is_short = found.len() < (count as usize).min(truth.len());
        let denials = venue.faults.iter().filter(|fault| {
            !matches!(fault, Fault::None | Fault::Repeated(_))
        });
        let may_be = venue.pages.paging == Paging::Latest
            || venue.pages.omits_empty
            || denials.count() >= 2
            || before.is_none() && venue.late > 0 && found.is_empty();
        prop_assert!(!is_short || may_be, "{} of {:?}", found.len(), truth.len());
    }
}
