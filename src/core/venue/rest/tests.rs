//! The language of `[source.rest]` on answers as exchanges write them.

use proptest::prelude::*;

use super::super::{Venue, VenueProblem, VenueSpec};
use super::*;

const MINUTE: DurationNanos = DurationNanos::from_seconds(60).unwrap();

fn conditions(pairs: &[(&str, &[&str])]) -> Conditions {
    let owned = |patterns: &[&str]| patterns.iter().map(|text| (*text).to_owned()).collect();
    pairs.iter().map(|(pointer, patterns)| ((*pointer).to_owned(), owned(patterns))).collect()
}

/// Rows like `["0" ms, open, high, low, close, volume]`, as many exchanges have them.
fn lists() -> RestSpec {
    let names = ["open", "high", "low", "close", "volume"].into_iter().enumerate();
    let mut spec = RestSpec {
        url: "https://h.example/k?s={symbol}&i={interval}&a={from}&b={to}&n={limit}".into(),
        intervals: BTreeMap::from([
            ("60".into(), "1m".into()),
            ("86400".into(), "1d".into()),
            ("300".into(), String::new()),
        ]),
        ..RestSpec::default()
    };
    spec.mapping.each = "/*".into();
    spec.mapping.time = "0".into();
    spec.mapping.fields =
        names.map(|(index, name)| (name.to_owned(), (index + 1).to_string())).collect();
    spec
}

fn venue(rest: RestSpec) -> Result<Venue, Vec<VenueProblem>> {
    let mut spec = VenueSpec { url: "ws://h".into(), ..VenueSpec::default() };
    spec.symbols = vec!["tBTCUSD".into()];
    spec.mapping.symbol = "/s".into();
    spec.mapping.symbol_prefix = "t".into();
    spec.mapping.time = "/t".into();
    spec.mapping.fields = vec![("price".into(), "/p".into())];
    spec.rest = Some(rest);
    Venue::compile(&spec)
}

fn rest(spec: RestSpec) -> Rest {
    Rest::clone(venue(spec).unwrap().rest().unwrap())
}

/// The keys of the problems.
fn keys(spec: RestSpec) -> Vec<String> {
    venue(spec).unwrap_err().into_iter().map(|VenueProblem { key, .. }| key).collect()
}

fn at(seconds: i64) -> UnixNanos {
    UnixNanos::from_nanos(seconds * 1_000_000_000)
}

fn question<'q>(symbol: &'q str, from: UnixNanos, to: UnixNanos) -> Question<'q> {
    Question { symbol, length: MINUTE, span: Span { from, to }, cursor: None }
}

fn records(answer: &Answer) -> Vec<&str> {
    answer.rows.iter().map(|row| std::str::from_utf8(&row.record).unwrap()).collect()
}

fn encode(text: &str) -> String {
    text.replace('/', "%2F").replace(':', "%3A")
}

#[test]
fn an_address_says_what_is_meant() {
    let asked = rest(lists());
    let (from, to) = (at(600), at(720));
    // By the name that the configuration has, which may have a prefix.
    let address = asked.address(&question("BTCUSD", from, to), encode).unwrap();
    assert_eq!(address, "https://h.example/k?s=tBTCUSD&i=1m&a=600000&b=719999&n=1000");
    // A symbol that it does not name, as it is.
    let address = asked.address(&question("A/B", from, to), encode).unwrap();
    assert!(address.contains("s=A%2FB&"), "{address}");
    let five =
        Question { length: DurationNanos::from_seconds(300).unwrap(), ..question("A", from, to) };
    assert_eq!(asked.address(&five, encode), None, "an empty word takes a length away");
    let lengths: Vec<_> =
        asked.intervals().map(|(length, word)| (length.as_nanos(), word)).collect();
    assert_eq!(lengths, [(86_400_000_000_000, "1d"), (60_000_000_000, "1m")]);
}

#[test]
fn bounds_and_units_are_those_of_the_venue() {
    use Bound::{Exclusive, Inclusive};
    use VenueTime::{Microseconds, Milliseconds, Nanoseconds, Seconds, Text};
    let odd = UnixNanos::from_nanos(600_000_000_001);
    for (time_unit, from, to, first, a, b) in [
        (Milliseconds, Inclusive, Inclusive, at(600), "600000", "719999"),
        (Milliseconds, Exclusive, Exclusive, at(600), "599999", "720000"),
        (Seconds, Inclusive, Inclusive, at(600), "600", "719"),
        (Seconds, Exclusive, Inclusive, at(600), "599", "719"),
        (Microseconds, Inclusive, Exclusive, at(600), "600000000", "720000000"),
        (Nanoseconds, Inclusive, Inclusive, odd, "600000000001", "719999999999"),
        // What is finer than the unit is asked for as well.
        (Seconds, Inclusive, Inclusive, odd, "600", "719"),
        (
            Text,
            Inclusive,
            Exclusive,
            at(600),
            "1970-01-01T00%3A10%3A00Z",
            "1970-01-01T00%3A12%3A00Z",
        ),
        (Seconds, Exclusive, Inclusive, at(0), "0", "719"),
    ] {
        let asked = rest(RestSpec { time_unit, from, to, ..lists() });
        let address = asked.address(&question("A", first, at(720)), encode).unwrap();
        assert!(address.ends_with(&format!("&a={a}&b={b}&n=1000")), "{address}");
    }
    let asked = rest(RestSpec { time_unit: Seconds, ..lists() });
    let to = UnixNanos::from_nanos(720_000_000_001);
    let address = asked.address(&question("A", at(600), to), encode).unwrap();
    assert!(address.ends_with("&b=720&n=1000"), "{address}");
}

#[test]
fn a_cursor_is_put_behind_the_address_once_there_is_one() {
    let mut spec = lists();
    spec.paging = Paging::Cursor;
    spec.cursor = "/next".into();
    spec.next = "&page={cursor}&k={secret:key}".into();
    spec.mapping.each = "/rows/*".into();
    let asked = rest(spec);
    assert_eq!(asked.secrets(), ["key"]);
    let first = question("A", at(0), at(60));
    assert!(asked.address(&first, encode).unwrap().ends_with("&n=1000"));
    let next = Question { cursor: Some("a:b"), ..first };
    let address = asked.address(&next, encode).unwrap();
    assert!(address.ends_with("&n=1000&page=a%3Ab&k={secret:key}"), "{address}");
    for (body, cursor) in [
        (r#"{"rows":[],"next":"x"}"#, Some("x")),
        (r#"{"rows":[],"next":7}"#, Some("7")),
        (r#"{"rows":[],"next":null}"#, None),
        (r#"{"rows":[],"next":false}"#, None),
        (r#"{"rows":[],"next":""}"#, None),
        (r#"{"rows":null}"#, None),
    ] {
        let answer = asked.read(body.as_bytes(), "A").unwrap();
        assert_eq!((answer.cursor.as_deref(), answer.rows.len()), (cursor, 0), "{body}");
    }
}

#[test]
fn rows_are_native_ticks_of_the_symbol_that_was_asked_for() {
    let asked = rest(lists());
    let body = r#"[[60000,"1","2","0.5","1.50","7"],[120000,1,1,1,1,0]]"#;
    let answer = asked.read(body.as_bytes(), "A\"B").unwrap();
    let [first, second] = &*answer.rows else { panic!("{answer:?}") };
    let record = concat!(
        r#"{"symbol":"A\"B","time":"1970-01-01T00:01:00Z","open":1,"high":2,"low":0.5,"#,
        r#""close":1.50,"volume":7}"#
    );
    assert_eq!(std::str::from_utf8(&first.record).unwrap(), record);
    assert_eq!((first.time, first.is_empty), (at(60), false));
    assert_eq!((second.time, second.is_empty), (at(120), true), "nothing was traded");
    let kept = rest(RestSpec { empty: EmptyRows::Keep, ..lists() });
    let answer = kept.read(body.as_bytes(), "A").unwrap();
    assert!(answer.rows.iter().all(|row| !row.is_empty));
}

#[test]
fn a_star_walks_the_members_of_an_object() {
    let mut spec = lists();
    spec.mapping.each = "/result/*/*".into();
    spec.mapping.time_unit = VenueTime::Seconds;
    let asked = rest(spec);
    let body = r#"{"error":[],"result":{"XXBTZUSD":[[60,"1","2","0.5","1","7"]],"last":1}}"#;
    let answer = asked.read(body.as_bytes(), "A").unwrap();
    assert_eq!((answer.rows.len(), answer.bad), (1, 0));
    assert_eq!(answer.rows[0].time, at(60));
    let other = asked.read(br#"{"error":["x"]}"#, "A").unwrap_err();
    assert!(matches!(other, Unread::Unlike(_)), "{other}");
}

#[test]
fn rows_that_are_native_ticks_stay_as_they_are() {
    let mut spec = lists();
    spec.mapping = MappingSpec { each: "/rows/*".into(), ..MappingSpec::default() };
    let asked = rest(spec);
    let row = r#"{"symbol":"A","time":60000,"close":1.5,"extra":1}"#;
    let answer = asked.read(format!(r#"{{"rows":[{row}]}}"#).as_bytes(), "A").unwrap();
    assert_eq!((records(&answer), answer.rows[0].time), (vec![row], at(60)));
}

#[test]
fn a_row_that_cannot_be_used_is_counted_and_told() {
    let asked = rest(lists());
    let body = r#"[[60000,1,1,1,1,1],[120000,1,1,1,null,1],[180000,1,1,1,-1,1],7]"#;
    let answer = asked.read(body.as_bytes(), "A").unwrap();
    // A field of null is absent, and which fields are needed is for the engine to say.
    assert_eq!((answer.rows.len(), answer.bad), (2, 2));
    let why = answer.why.unwrap();
    assert!(why.starts_with("a row is no tick (negative): "), "{why}");
    let mut named = lists();
    named.mapping.symbol = "6".into();
    let body = r#"[[60000,1,1,1,1,1,"A"],[120000,1,1,1,1,1,"B"]]"#;
    let answer = rest(named).read(body.as_bytes(), "A").unwrap();
    assert_eq!((answer.rows.len(), answer.bad), (1, 1));
    assert_eq!(answer.why.as_deref(), Some("a row is of the symbol B"));
    // An answer of nothing but those says that the mapping does not fit.
    let error = asked.read(br#"[{"t":1}]"#, "A").unwrap_err();
    assert!(error.to_string().starts_with("the answer does not fit rest.mapping: a row is no"));
}

#[test]
fn only_finished_rows_are_taken_where_they_say_so() {
    let mut spec = lists();
    spec.mapping.each = "/data/*".into();
    spec.mapping.when = conditions(&[("/code", &["0"]), ("6", &["1"])]);
    let asked = rest(spec);
    let body = r#"{"code":"0","data":[[60000,1,1,1,1,1,"1"],[120000,1,1,1,1,1,"0"]]}"#;
    let answer = asked.read(body.as_bytes(), "A").unwrap();
    assert_eq!((answer.rows.len(), answer.bad, answer.rows[0].time), (1, 0, at(60)));
    let error = asked.read(br#"{"code":"1","data":[]}"#, "A").unwrap_err();
    let expected =
        "the answer does not fit rest.mapping: a condition of rest.mapping.when does not hold";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn errors_are_known_by_the_words_of_the_venue() {
    let mut spec = lists();
    spec.mapping.each = "/list/*".into();
    spec.refused.when = conditions(&[("/code", &["!0"])]);
    spec.refused.rate_limited = conditions(&[("/code", &["10006"])]);
    spec.refused.away = conditions(&[("/code", &["10016"])]);
    spec.refused.text = "/msg".into();
    let asked = rest(spec);
    for (body, problem, text) in [
        (r#"{"code":10001,"msg":"bad \u0007 symbol"}"#, RestProblem::Refused, "bad \\u{7} symbol"),
        (r#"{"code":10006,"msg":"slower"}"#, RestProblem::RateLimited, "slower"),
        (r#"{"code":"10016","msg":"busy"}"#, RestProblem::Away, "busy"),
        (r#"{"code":1}"#, RestProblem::Refused, r#"{"code":1}"#),
    ] {
        let refusal = RestRefusal { text: text.into(), problem };
        assert_eq!(asked.read(body.as_bytes(), "A"), Err(Unread::Refused(refusal)), "{body}");
    }
    assert_eq!(asked.read(br#"{"code":0,"list":[]}"#, "A"), Ok(Answer::default()));
    // With a status that is an error, the words are enough.
    let said = asked.refusal(br#"{"code":0,"msg":"gone"}"#).unwrap();
    assert_eq!((&*said.text, said.problem), ("gone", RestProblem::Refused));
    assert_eq!(asked.refusal(b"<html>"), None);
    assert_eq!(asked.read(b"<html>", "A"), Err(Unread::Malformed(Malformed::Grammar)));
}

#[test]
fn every_problem_has_its_key() {
    let url = |url: &str| RestSpec { url: url.into(), ..lists() };
    for text in [
        "https://h/{sym}",
        "ws://h/{symbol}{interval}{from}",
        "https://{symbol}.h/{interval}{from}",
        "https:///{symbol}{interval}{from}",
        "https://h/{interval}{from}",
        "https://h/{symbol}{from}",
        "https://h/{symbol}{interval}",
        "https://h/{symbol}{interval}{from}{cursor}",
        "https://h/{symbol}{interval}{from}{time}",
    ] {
        assert_eq!(keys(url(text)), ["rest.url"], "{text}");
    }
    let one = BTreeMap::from([("60".to_owned(), "x".to_owned())]);
    let latest = RestSpec {
        url: "http://h?{symbol:lower}".into(),
        intervals: one,
        paging: Paging::Latest,
        ..lists()
    };
    assert!(venue(latest).is_ok(), "with one length and the newest rows, both are left out");
    let cursor = RestSpec { paging: Paging::Cursor, ..lists() };
    assert_eq!(keys(cursor.clone()), ["rest.cursor", "rest.next"]);
    let cursor = RestSpec { cursor: "x".into(), next: "&{cursor}{from}".into(), ..cursor };
    assert_eq!(keys(cursor), ["rest.cursor", "rest.next"]);
    let stray = RestSpec { cursor: "/x".into(), next: "&a".into(), ..lists() };
    assert_eq!(keys(stray), ["rest.cursor", "rest.next"]);
    for seconds in ["0", "1m", "-60", "4294967296"] {
        let intervals = BTreeMap::from([(seconds.to_owned(), "x".to_owned())]);
        assert_eq!(keys(RestSpec { intervals, ..lists() }), [format!("rest.intervals.{seconds}")]);
    }
    assert_eq!(keys(RestSpec { intervals: BTreeMap::new(), ..lists() }), ["rest.intervals"]);
    let mut mapped = lists();
    mapped.mapping.time = String::new();
    mapped.mapping.fields[0].1 = "a~".into();
    mapped.refused.text = "x".into();
    let expected = ["rest.mapping.open", "rest.mapping.time", "rest.refused.text"];
    assert_eq!(keys(mapped), expected);
    let mut native = lists();
    native.mapping = MappingSpec { time_unit: VenueTime::Text, ..MappingSpec::default() };
    assert_eq!(keys(native), ["rest.mapping.time_unit"]);
}

proptest! {
    #[test]
    fn any_body_gives_an_outcome(body in any::<Vec<u8>>(), each in "(/[a-z*]{0,2}){0,3}") {
        let mut spec = lists();
        spec.mapping.each = each;
        if let Ok(venue) = venue(spec) {
            let asked = venue.rest().unwrap();
            let _ = (asked.read(&body, "A"), asked.refusal(&body));
        }
    }

    #[test]
    fn every_element_is_a_row_or_bad(
        rows in proptest::collection::vec((0i64..5, any::<bool>()), 0..20),
    ) {
        let asked = rest(lists());
        let of = |(minute, is_bad): &(i64, bool)| match is_bad {
            true => "[]".to_owned(),
            false => format!("[{},1,1,1,1,1]", minute * 60_000),
        };
        let body = format!("[{}]", rows.iter().map(of).collect::<Vec<_>>().join(","));
        let bad = rows.iter().filter(|(_, is_bad)| *is_bad).count();
        match asked.read(body.as_bytes(), "A") {
            Ok(answer) => {
                prop_assert_eq!((answer.rows.len(), answer.bad as usize), (rows.len() - bad, bad));
            }
            Err(_) => prop_assert!(bad > 0 && bad == rows.len()),
        }
    }
}
