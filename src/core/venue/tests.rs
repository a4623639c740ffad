//! The mapping language as a whole; what each preset makes of its venue's frames is tested in the
//! integration tests, on fixtures.

use proptest::prelude::*;

use super::*;
use crate::core::decode::JsonDecoder;
use crate::core::domain::{Field, Reject, Schema, TimeFormat, TimeUnit, UnixNanos};

/// `{"channel":"trades","events":[{"type":...,"trades":[...]}]}`, as Coinbase has it.
fn nested() -> VenueSpec {
    let mut spec = VenueSpec { url: "ws://h".into(), ..VenueSpec::default() };
    let mapping = &mut spec.mapping;
    mapping.when = conditions(&[("/channel", &["trades"]), ("/events/*/type", &["update"])]);
    mapping.each = "/events/*/trades/*".into();
    mapping.symbol = "product".into();
    mapping.time = "time".into();
    mapping.time_unit = VenueTime::Milliseconds;
    mapping.trade_id = "id".into();
    mapping.sequence = "/sequence".into();
    mapping.fields = vec![("price".into(), "p".into()), ("volume".into(), "=1".into())];
    spec.frames.heartbeat.when = conditions(&[("/channel", &["heartbeats"])]);
    spec.frames.heartbeat.counter = "/events/0/counter".into();
    spec.frames.acknowledged.when = conditions(&[("/channel", &["subscriptions"])]);
    spec.frames.acknowledged.symbol = "/events/*/subscriptions/trades/*".into();
    spec.frames.refused.answer.when = conditions(&[("/type", &["error"])]);
    spec.frames.refused.text = "/message".into();
    spec.frames.refused.rate_limited = conditions(&[("/code", &["429", "8"])]);
    spec.frames.pong.text = "pong".into();
    spec.frames.closing = conditions(&[("/event", &["notice"])]);
    spec
}

fn conditions(pairs: &[(&str, &[&str])]) -> Conditions {
    let owned = |patterns: &[&str]| patterns.iter().map(|text| (*text).to_owned()).collect();
    pairs.iter().map(|(pointer, patterns)| ((*pointer).to_owned(), owned(patterns))).collect()
}

fn mapper(spec: &VenueSpec) -> Mapper {
    Mapper::new(Arc::new(Venue::compile(spec).unwrap()))
}

/// The outcome of a frame, and its records.
fn run(mapper: &mut Mapper, frame: &str) -> (Frame, Vec<String>) {
    let mut records = Vec::new();
    let outcome = mapper.classify(frame.as_bytes(), |mapped| {
        records.push(String::from_utf8(mapped.record.to_vec()).unwrap());
    });
    (outcome, records)
}

fn frame_with(trades: &str) -> String {
    format!(
        r#"{{"channel":"trades","sequence":5,"events":[{{"type":"update","trades":{trades}}}]}}"#
    )
}

#[test]
fn times_are_read_by_the_format_and_zone_of_the_mapping() {
    let times = |format: Option<&str>, zone: Option<&str>, time: &str| {
        let mut spec = nested();
        spec.mapping.time_format = TimeFormat::new(format, zone).unwrap();
        let trade = format!(r#"[{{"product":"A","time":{time},"id":1,"p":"1"}}]"#);
        let (_, records) = run(&mut mapper(&spec), &frame_with(&trade));
        let tick = decoder().decode(records[0].as_bytes());
        tick.map(|tick| tick.time.to_string()).map_err(|rejection| rejection.reason)
    };
    let (paris, day) = (Some("Europe/Paris"), Some("%d/%m/%Y %H:%M"));
    let ten = || Ok("2024-07-01T10:00:00Z".to_owned());
    assert_eq!(times(day, None, r#""01/07/2024 10:00""#), ten());
    assert_eq!(times(day, paris, r#""01/07/2024 12:00""#), ten());
    assert_eq!(times(None, paris, r#""2024-07-01 12:00""#), ten());
    assert_eq!(times(None, paris, "1719828000000"), ten(), "a number has no zone");
    assert_eq!(times(Some("%Y%m%d"), None, "20240701"), Ok("2024-07-01T00:00:00Z".to_owned()));
    // A local time that occurs twice is no time in UTC either.
    assert_eq!(times(None, paris, r#""2024-10-27 02:30""#), Err(Reject::InvalidTime));
    assert_eq!(times(day, None, r#""2024-07-01 10:00""#), Err(Reject::InvalidTime));
}

fn decoder() -> JsonDecoder {
    let required = [Field::CLOSE, Field::VOLUME];
    JsonDecoder::new(Schema::new([]).unwrap(), &required, TimeUnit::Seconds, 4096)
}

#[test]
fn elements_become_native_ticks_in_order() {
    let frame = r#"{"events":[
        {"trades":[{"product":"A-B","time":1,"p":"0.10","id":"17"},
                   {"p":2.50,"id":"x-1","time":"1672515782136","product":"C\u002fD"}],
         "type":"update"},
        {"type":"snapshot","trades":[{"product":"A-B","time":1,"p":"9","id":1}]},
        {"type":"update","trades":[]}],"sequence":41,"channel":"trades"}"#;
    let mut mapper = mapper(&nested());
    let mut seen = Vec::new();
    let outcome = mapper.classify(frame.as_bytes(), |mapped| {
        let id = format!("{:?}", mapped.trade_id);
        let record = String::from_utf8(mapped.record.to_vec()).unwrap();
        seen.push((record, mapped.symbol.map(str::to_owned), id));
    });
    let expected = [
        (
            r#"{"symbol":"A-B","time":"1970-01-01T00:00:00.001Z","price":0.10,"volume":1}"#,
            "A-B",
            "Some(Number(17))",
        ),
        (
            r#"{"symbol":"C/D","time":"2022-12-31T19:43:02.136Z","price":2.50,"volume":1}"#,
            "C/D",
            r#"Some(Text("x-1"))"#,
        ),
    ];
    let expected = expected.map(|(r, s, i)| (r.to_owned(), Some(s.to_owned()), i.to_owned()));
    assert_eq!(seen, expected);
    let kind = FrameKind::Ticks { mapped: 2, skipped: 1 };
    assert_eq!(outcome, Frame { kind, sequence: Some(41) });
    assert!(mapper.venue().counts_frames());
}

#[test]
fn frames_without_ticks_are_known() {
    let symbols = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let refusal = |text: &str, rate_limited| {
        let (text, symbols) = (text.to_owned(), Vec::new());
        FrameKind::Refused(Refusal { text, id: None, symbols, rate_limited })
    };
    let long = format!(r#"{{"type":"error","message":"{}"}}"#, "x".repeat(100));
    let cases = [
        ("pong", FrameKind::Pong),
        ("pong ", FrameKind::Malformed(Malformed::Grammar)),
        ("", FrameKind::Malformed(Malformed::Grammar)),
        ("{}", FrameKind::Other),
        ("[1]", FrameKind::Other),
        ("7", FrameKind::Other),
        (
            r#"{"channel":"heartbeats","events":[{"counter":"3049"}]}"#,
            FrameKind::Heartbeat { counter: Some(3049) },
        ),
        (r#"{"channel":"heartbeats"}"#, FrameKind::Heartbeat { counter: None }),
        (
            r#"{"channel":"subscriptions","events":[{"subscriptions":{"trades":["A","B"]}}]}"#,
            FrameKind::Acknowledged { id: None, symbols: symbols(&["A", "B"]) },
        ),
        (r#"{"type":"error","message":"no\nsuch","code":429}"#, refusal("no\\nsuch", true)),
        (r#"{"type":"error","code":"9"}"#, refusal(r#"{"type":"error","code":"9"}"#, false)),
        (&long, refusal(&format!("{}…", "x".repeat(64)), false)),
        (r#"{"event":"notice"}"#, FrameKind::Closing),
    ];
    let mut mapper = mapper(&nested());
    for (frame, kind) in cases {
        let (outcome, records) = run(&mut mapper, frame);
        assert_eq!((outcome.kind, records.len()), (kind, 0), "{frame}");
    }
}

/// What the decoder says of each record of a frame with these trades.
fn judged(trades: &str) -> Vec<Result<(), Reject>> {
    let (outcome, records) = run(&mut mapper(&nested()), &frame_with(trades));
    assert!(
        matches!(outcome.kind, FrameKind::Ticks { mapped, .. } if mapped as usize == records.len())
    );
    let decoder = decoder();
    let judge = |record: &String| decoder.decode(record.as_bytes()).map(|_| ());
    records.iter().map(|record| judge(record).map_err(|rejection| rejection.reason)).collect()
}

#[test]
fn poison_is_refused_by_the_decoder_alone_and_leaves_its_neighbours() {
    let good = r#"{"product":"A","time":1,"p":"1","id":1}"#;
    for (poison, reason) in [
        ("7", Reject::NotAnObject),
        ("null", Reject::NotAnObject),
        (r#""text""#, Reject::NotAnObject),
        ("{}", Reject::MissingSymbol),
        ("[]", Reject::MissingSymbol),
        (r#"{"product":7,"time":1,"p":"1"}"#, Reject::InvalidSymbol),
        (r#"{"product":"","time":1,"p":"1"}"#, Reject::InvalidSymbol),
        (r#"{"product":{"a":1},"time":1,"p":"1"}"#, Reject::InvalidSymbol),
        (r#"{"product":"A","p":"1"}"#, Reject::MissingTime),
        (r#"{"product":"A","time":"soon","p":"1"}"#, Reject::InvalidTime),
        (r#"{"product":"A","time":1e99,"p":"1"}"#, Reject::InvalidTime),
        (r#"{"product":"A","time":null,"p":"1"}"#, Reject::InvalidTime),
        (r#"{"product":"A","time":1}"#, Reject::MissingField),
        (r#"{"product":"A","time":1,"p":null}"#, Reject::MissingField),
        (r#"{"product":"A","time":1,"p":""}"#, Reject::MissingField),
        (r#"{"product":"A","time":1,"p":"abc"}"#, Reject::WrongType),
        (r#"{"product":"A","time":1,"p":"1,5"}"#, Reject::WrongType),
        (r#"{"product":"A","time":1,"p":" 1"}"#, Reject::WrongType),
        (r#"{"product":"A","time":1,"p":"0x10"}"#, Reject::WrongType),
        (r#"{"product":"A","time":1,"p":"NaN"}"#, Reject::WrongType),
        (r#"{"product":"A","time":1,"p":true}"#, Reject::WrongType),
        (r#"{"product":"A","time":1,"p":[1]}"#, Reject::WrongType),
        (r#"{"product":"A","time":1,"p":"1e999"}"#, Reject::NotFinite),
        (r#"{"product":"A","time":1,"p":"-1"}"#, Reject::Negative),
        (r#"{"product":"A","time":1,"p":"0.00"}"#, Reject::ZeroPrice),
        (r#"{"product":"A","product":"B","time":1,"p":"1"}"#, Reject::DuplicateField),
        (r#"{"product":"A","time":1,"time":2,"p":"1"}"#, Reject::DuplicateField),
        (r#"{"product":"A","time":1,"p":"1","p":"2"}"#, Reject::DuplicateField),
    ] {
        let outcomes = judged(&format!("[{good},{poison},{good}]"));
        assert_eq!(outcomes, [Ok(()), Err(reason), Ok(())], "{poison}");
    }
    assert_eq!(judged("{}"), [Err(Reject::NotAnObject)], "a list that is none");
}

#[test]
fn native_ticks_go_on_as_they_came() {
    let mut plain = mapper(&VenueSpec { url: "ws://h".into(), ..VenueSpec::default() });
    for frame in [r#" {"symbol":"A","time":1,"close":2} "#, "no json", ""] {
        let (outcome, records) = run(&mut plain, frame);
        assert_eq!(outcome.kind, FrameKind::Ticks { mapped: 1, skipped: 0 });
        assert_eq!(records, [frame]);
    }
    // Batches of them, and a heartbeat among them.
    let mut spec = VenueSpec { url: "ws://h".into(), ..VenueSpec::default() };
    spec.mapping.each = "/ticks/*".into();
    spec.frames.heartbeat.when = conditions(&[("/beat", &["*"])]);
    let mut batches = mapper(&spec);
    let (outcome, records) =
        run(&mut batches, r#"{"ticks":[{"symbol":"A", "time":1},{"symbol":"B","time":2}]}"#);
    assert_eq!(outcome.kind, FrameKind::Ticks { mapped: 2, skipped: 0 });
    assert_eq!(records, [r#"{"symbol":"A", "time":1}"#, r#"{"symbol":"B","time":2}"#]);
    let (outcome, _) = run(&mut batches, r#"{"beat":1}"#);
    assert_eq!(outcome.kind, FrameKind::Heartbeat { counter: None });
}

#[test]
fn rows_topics_and_constants_map_as_well() {
    let mut spec = VenueSpec { url: "ws://h".into(), ..VenueSpec::default() };
    spec.mapping.each = "/rows/*".into();
    spec.mapping.symbol = "/topic".into();
    spec.mapping.symbol_prefix = "trade.".into();
    spec.mapping.symbol_case = Case::Upper;
    spec.mapping.time = "2".into();
    spec.mapping.time_unit = VenueTime::Seconds;
    spec.mapping.fields = vec![
        ("price".into(), "0".into()),
        ("volume".into(), "1".into()),
        ("a \"b\"".into(), "/x/y~1z".into()),
    ];
    let mut mapper = mapper(&spec);
    let (_, records) = run(
        &mut mapper,
        r#"{"topic":"trade.btc","x":{"y/z":-1e-3},"rows":[["5541.2","0.15",1534614057.321597]]}"#,
    );
    let expected = concat!(
        r#"{"symbol":"BTC","time":"2018-08-18T17:40:57.321597Z","#,
        r#""price":5541.2,"volume":0.15,"a \"b\"":-1e-3}"#
    );
    assert_eq!(records, [expected]);
    assert_eq!(mapper.venue().native_symbol("btc"), "BTC");
    spec.mapping.symbol = "=EURUSD".into();
    let (_, records) = run(&mut self::mapper(&spec), r#"{"rows":[[1,2,3]]}"#);
    assert_eq!(
        records,
        [r#"{"symbol":"EURUSD","time":"1970-01-01T00:00:03Z","price":1,"volume":2}"#]
    );
}

#[test]
fn the_newest_first_goes_on_last() {
    let trades: Vec<_> = ["17", "16", "x", "15", "15"]
        .iter()
        .enumerate()
        .map(|(p, id)| format!(r#"{{"product":"A","time":1,"p":{p},"id":"{id}"}}"#))
        .collect();
    let mut spec = nested();
    spec.mapping.order = Order::TradeId;
    let (outcome, records) =
        run(&mut mapper(&spec), &frame_with(&format!("[{}]", trades.join(","))));
    assert_eq!(outcome.kind, FrameKind::Ticks { mapped: 5, skipped: 0 });
    let prices: Vec<_> = records.iter().map(|record| record.split("price\":").nth(1)).collect();
    let expected = ["3", "4", "1", "0", "2"].map(|p| format!("{p},\"volume\":1}}"));
    assert_eq!(prices, expected.iter().map(|text| Some(text.as_str())).collect::<Vec<_>>());
}

#[test]
fn all_problems_come_at_once_with_their_keys() {
    let mut spec = nested();
    spec.url = "ws://h/{symbol}/{id}".into();
    spec.symbols = ["A", "A", "B \"", ""].map(str::to_owned).to_vec();
    spec.subscribe = vec!["{symbol}{symbols}".into(), "{sym}".into()];
    spec.subscription.symbol = "{id}".into();
    spec.mapping.time = "=1".into();
    spec.mapping.trade_id = "/other/*/id".into();
    spec.mapping.when.insert("/a~".into(), vec!["x".into()]);
    spec.mapping.fields[1].1 = "=one".into();
    spec.frames.heartbeat.counter = "counter".into();
    spec.frames.refused.rate_limited.insert("/*".into(), vec!["x".into()]);
    let keys: Vec<_> =
        Venue::compile(&spec).unwrap_err().into_iter().map(|problem| problem.key).collect();
    let expected = [
        "symbols",
        "symbols",
        "symbols",
        "subscribe",
        "subscribe",
        "url",
        "url",
        "subscription.symbol",
        "mapping.trade_id",
        "mapping.volume",
        "mapping.time",
        "mapping.when.\"/a~\"",
        "frames.heartbeat.counter",
        "frames.refused.rate_limited.\"/*\"",
    ];
    assert_eq!(keys, expected);

    let mut spec = nested();
    (spec.mapping.symbol, spec.mapping.time) = (String::new(), String::new());
    spec.subscribe = vec!["{symbols}".into()];
    let keys: Vec<_> =
        Venue::compile(&spec).unwrap_err().into_iter().map(|problem| problem.key).collect();
    assert_eq!(keys, ["symbols", "mapping.symbol", "mapping.time"]);
}

#[test]
fn symbols_are_shared_out_over_connections_and_messages() {
    let mut spec = VenueSpec { url: "ws://h/s?q={symbols}".into(), ..VenueSpec::default() };
    spec.symbols = ["A", "B", "C", "D", "E"].map(str::to_owned).to_vec();
    spec.subscribe = vec!["[{symbols}]{id}".into(), "one {symbol:lower} {id}".into(), "all".into()];
    spec.unsubscribe = vec!["-[{symbols}]{id}".into()];
    spec.subscription.symbol = "{symbol:lower}@t".into();
    spec.subscription.separator = "/".into();
    spec.subscription.symbols_per_message = 2;
    spec.subscription.symbols_per_connection = 4;
    let venue = Venue::compile(&spec).unwrap();
    let texts = |messages: &[Outgoing]| {
        messages.iter().map(|message| message.text.clone()).collect::<Vec<_>>()
    };
    let [first, second] = venue.connections() else { panic!("two connections") };
    assert_eq!(first.url, "ws://h/s?q=a@t/b@t/c@t");
    assert_eq!((&*first.symbols, &*second.symbols), (&spec.symbols[..3], &spec.symbols[3..]));
    let expected = ["[a@t/b@t]1", "[c@t]2", "one a 3", "one b 4", "one c 5", "all"];
    assert_eq!(texts(&first.subscribe), expected);
    assert_eq!(texts(&first.unsubscribe), ["-[a@t/b@t]7", "-[c@t]8"]);
    assert_eq!(first.subscribe[1].symbols, ["C"]);
    assert_eq!(first.subscribe[1].id, Some(2));
    assert_eq!((&*first.subscribe[5].symbols, first.subscribe[5].id), (&[][..], None));
    assert_eq!(texts(&second.subscribe), ["[d@t/e@t]1", "one d 2", "one e 3", "all"]);
    // Nothing of what may be secret is printed.
    let shown = format!("{venue:?}");
    assert!(!shown.contains("ws://h") && !shown.contains("one a"), "{shown}");
}

proptest! {
    #[test]
    fn any_bytes_give_an_outcome(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for spec in [nested(), VenueSpec::default()] {
            let _ = mapper(&spec).classify(&bytes, |_| {});
        }
    }

    #[test]
    fn a_damaged_frame_gives_an_outcome_and_its_records_are_judged(
        cuts in proptest::collection::vec((0_usize..400, any::<u8>()), 0..6),
        end in 0_usize..500,
    ) {
        let trades =
            r#"[{"product":"A","time":1,"p":"1","id":1},[],{"p":"\u0031","product":"\""}]"#;
        let mut bytes = frame_with(trades).into_bytes();
        for (at, byte) in cuts {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(end);
        let mut count = 0;
        let outcome = mapper(&nested()).classify(&bytes, |mapped| {
            count += 1;
            if let Ok(tick) = decoder().decode(mapped.record) {
                assert_eq!(Some(&*tick.symbol), mapped.symbol);
            }
        });
        match outcome.kind {
            FrameKind::Ticks { mapped, .. } => prop_assert_eq!(mapped, count),
            _ => prop_assert_eq!(count, 0),
        }
    }

    #[test]
    fn numbers_in_texts_arrive_bit_for_bit(
        price in 1e-9_f64..1e12,
        digits in "[1-9][0-9]{0,8}\\.[0-9]{1,16}",
        time_ms in 0_i64..4_000_000_000_000,
    ) {
        for text in [price.to_string(), digits] {
            let trade = format!(r#"[{{"product":"A","time":"{time_ms}","p":"{text}","id":1}}]"#);
            let (_, records) = run(&mut mapper(&nested()), &frame_with(&trade));
            let decoder = decoder();
            let tick = decoder.decode(records[0].as_bytes()).unwrap();
            let expected: f64 = text.parse().unwrap();
            let price = tick.fields.get(Field::PRICE);
            prop_assert_eq!(price.map(f64::to_bits), Some(expected.to_bits()));
            let time = UnixNanos::from_integer(time_ms, TimeUnit::Milliseconds);
            prop_assert_eq!(Ok(tick.time), time);
        }
    }
}
