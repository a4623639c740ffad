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

/// Its id would count as seen for one of them, and the real trade of that number would be dropped.
#[test]
fn a_tick_of_two_symbols_is_nobodys() {
    for (trade, named) in [
        (r#"{"product":"A","time":0,"p":1,"id":7}"#, Some("A")),
        (r#"{"product":"A","product":"A","time":0,"p":1,"id":7}"#, None),
        (r#"{"product":"A","time":0,"p":1,"id":7,"pro\u0064uct":"B"}"#, None),
    ] {
        let mut found = Vec::new();
        mapper(&nested()).classify(frame_with(&format!("[{trade}]")).as_bytes(), |mapped| {
            found.push((mapped.symbol.map(str::to_owned), decoder().decode(mapped.record).is_ok()));
        });
        assert_eq!(found, [(named.map(str::to_owned), named.is_some())], "{trade}");
    }
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

/// The prices of a frame's records, in their order.
fn prices(spec: &VenueSpec, frame: &str) -> Vec<String> {
    let (_, records) = run(&mut mapper(spec), frame);
    let price = |record: &String| {
        let rest = record.split("\"price\":").nth(1)?;
        Some(rest.split([',', '}']).next()?.to_owned())
    };
    records.iter().filter_map(price).collect()
}

/// Rows of time, price and volume, as `[[1,"2","3"],...]` below `/rows`.
fn rows() -> VenueSpec {
    let mut spec = VenueSpec { url: "ws://h".into(), ..VenueSpec::default() };
    spec.mapping.each = "/rows/*".into();
    spec.mapping.symbol = "/pair".into();
    spec.mapping.time = "0".into();
    spec.mapping.fields = vec![("price".into(), "1".into()), ("volume".into(), "2".into())];
    spec
}

#[test]
fn ticks_go_on_in_the_order_that_is_asked_for() {
    let frame = r#"{"pair":"A","rows":[[3,30,1],[2,20,1],["x",5,1],[2,21,1],[1,10,1]]}"#;
    let mut spec = rows();
    for (order, expected) in [
        (Order::Frame, ["30", "20", "5", "21", "10"]),
        (Order::Reverse, ["10", "21", "5", "20", "30"]),
        // Equal times as they stand, and what has no time last.
        (Order::Time, ["10", "20", "21", "30", "5"]),
    ] {
        spec.mapping.order = order;
        assert_eq!(prices(&spec, frame), expected, "{order:?}");
    }
    let texts = r#"{"pair":"A","rows":[["2024-01-02T00:00:01.5+01:00",2,1],
        ["2024-01-01T23:00:01Z",1,1],["2024-01-02T00:00:00Z",3,1],["1969-12-31T00:00:00Z",0,1]]}"#;
    spec.mapping.time_unit = VenueTime::Text;
    assert_eq!(prices(&spec, texts), ["0", "1", "2", "3"]);
}

#[test]
fn signs_and_scales_are_taken_off_the_digits() {
    let mut spec = rows();
    spec.mapping.abs = vec!["volume".into()];
    spec.mapping.scale = [("price", "0.01"), ("volume", "1e-8")]
        .map(|(name, scale)| (name.to_owned(), scale.to_owned()))
        .into();
    let (_, records) =
        run(&mut mapper(&spec), r#"{"pair":"A","rows":[[1,"1234567","-123456"],[2,-5,"x"]]}"#);
    let expected = [
        r#"{"symbol":"A","time":"1970-01-01T00:00:00.001Z","price":12345.67,"volume":0.00123456}"#,
        // What is no number is written as it came, for the decoder to refuse.
        r#"{"symbol":"A","time":"1970-01-01T00:00:00.002Z","price":-0.05,"volume":"x"}"#,
    ];
    assert_eq!(records, expected);
}

#[test]
fn a_text_that_is_json_can_be_gone_into() {
    let mut spec = VenueSpec { url: "ws://h".into(), ..VenueSpec::default() };
    spec.mapping.when = conditions(&[("/data/{json}/type", &["trade"])]);
    spec.mapping.each = "/data/{json}/trades/*".into();
    spec.mapping.symbol = "/data/{json}/s".into();
    spec.mapping.time = "t".into();
    spec.mapping.fields =
        vec![("price".into(), "{json}/p".into()), ("volume".into(), "v/{json}/0".into())];
    spec.frames.refused.answer.when = conditions(&[("/error", &["*"])]);
    spec.frames.refused.text = "/error/{json}/why".into();
    // An element is an object here and a text there: what does not fit leads nowhere.
    spec.mapping.fields[0].1 = "p".into();
    let inner = r#"{"type":"trade","s":"Z\u00fcrich","trades":[
        {"t":1,"p":"0.10","v":"[\"7\",8]"},{"t":2,"p":3,"v":"no json"},{"t":3,"p":4,"v":"[9]"}]}"#;
    let frame = serde_json::json!({ "data": inner }).to_string();
    let (outcome, records) = run(&mut mapper(&spec), &frame);
    assert_eq!(outcome.kind, FrameKind::Ticks { mapped: 3, skipped: 0 });
    let expected = [
        r#"{"symbol":"Zürich","time":"1970-01-01T00:00:00.001Z","price":0.10,"volume":7}"#,
        r#"{"symbol":"Zürich","time":"1970-01-01T00:00:00.002Z","price":3}"#,
        r#"{"symbol":"Zürich","time":"1970-01-01T00:00:00.003Z","price":4,"volume":9}"#,
    ];
    assert_eq!(records, expected);
    let mut mapper = mapper(&spec);
    for (frame, kind) in [
        (r#"{"data":"{\"type\":\"trade\"}"}"#, FrameKind::Ticks { mapped: 1, skipped: 0 }),
        (r#"{"data":"{\"type\":\"quote\"}"}"#, FrameKind::Other),
        (r#"{"data":"{\"type\":"}"#, FrameKind::Other),
        (r#"{"data":{"type":"trade"}}"#, FrameKind::Other),
        (r#"{"data":""}"#, FrameKind::Other),
    ] {
        assert_eq!(run(&mut mapper, frame).0.kind, kind, "{frame}");
    }
    let (outcome, _) = run(&mut mapper, r#"{"error":"{\"why\":\"closed\"}"}"#);
    let FrameKind::Refused(refusal) = outcome.kind else { panic!("{outcome:?}") };
    assert_eq!(refusal.text, "closed");
    // Deeper than is read, and more than is held.
    let deep = format!(r#"{{"data":"{}"}}"#, "[".repeat(100_000));
    assert_eq!(run(&mut mapper, &deep).0.kind, FrameKind::Other);
    let wide = format!(r#"{{"data":"[{}1]"}}"#, "1,".repeat(300_000));
    assert_eq!(run(&mut mapper, &wide).0.kind, FrameKind::Other);
    // A text in a text, and no further.
    spec.mapping.when = conditions(&[("/a/{json}/b/{json}/c/{json}", &["*"])]);
    let problems = Venue::compile(&spec).unwrap_err();
    assert_eq!(problems[0].key, r#"mapping.when."/a/{json}/b/{json}/c/{json}""#);
    assert_eq!(problems[0].problem, "at most 2 `{json}`");
}

/// Bitfinex: rows with the number of a channel, a snapshot and updates.
fn numbered() -> VenueSpec {
    let mut spec = VenueSpec { url: "ws://h".into(), ..VenueSpec::default() };
    spec.mapping.when = conditions(&[("/1", &["te"])]);
    spec.mapping.each = "/2".into();
    spec.mapping.channel = "/0".into();
    spec.mapping.symbol_prefix = "t".into();
    spec.mapping.time = "1".into();
    spec.mapping.trade_id = "0".into();
    spec.mapping.fields = vec![("price".into(), "3".into()), ("volume".into(), "2".into())];
    spec.mapping.abs = vec!["volume".into()];
    let mut snapshot = spec.mapping.clone();
    snapshot.when = conditions(&[("/1/0/0", &["*"])]);
    snapshot.each = "/1/*".into();
    snapshot.order = Order::Reverse;
    spec.also = vec![("snapshot".into(), snapshot)];
    spec.frames.acknowledged.when = conditions(&[("/event", &["subscribed"])]);
    spec.frames.acknowledged.symbol = "/symbol".into();
    spec.frames.acknowledged.channel = "/chanId".into();
    spec
}

#[test]
fn a_channel_stands_for_the_symbol_that_was_acknowledged() {
    let mut mapper = mapper(&numbered());
    let update = r#"[17470,"te",[401597397,1574694480808,-0.25,7245.5]]"#;
    // Before the acknowledgement nobody can say whose trade it is.
    let (_, records) = run(&mut mapper, update);
    assert_eq!(records, [r#"{"time":"2019-11-25T15:08:00.808Z","price":7245.5,"volume":0.25}"#]);
    let ack = r#"{"event":"subscribed","channel":"trades","chanId":17470,"symbol":"tBTCUSD"}"#;
    let (outcome, _) = run(&mut mapper, ack);
    let symbols = vec!["tBTCUSD".to_owned()];
    assert_eq!(outcome.kind, FrameKind::Acknowledged { id: None, symbols });
    let (outcome, records) = run(&mut mapper, update);
    assert_eq!(outcome.kind, FrameKind::Ticks { mapped: 1, skipped: 0 });
    let tick = |second: &str, price: &str, volume: &str| {
        format!(
            r#"{{"symbol":"BTCUSD","time":"2019-11-25T{second}Z","price":{price},{}:{volume}}}"#,
            r#""volume""#
        )
    };
    assert_eq!(records, [tick("15:08:00.808", "7245.5", "0.25")]);
    let snapshot =
        r#"[17470,[[401597395,1574694478808,0.005,7245.3],[401597394,1574694478800,-0.5,7245.2]]]"#;
    let (_, records) = run(&mut mapper, snapshot);
    let expected = [tick("15:07:58.800", "7245.2", "0.5"), tick("15:07:58.808", "7245.3", "0.005")];
    assert_eq!(records, expected);
    // A number that is given again, as a text, and one that nobody knows.
    run(&mut mapper, r#"{"event":"subscribed","chanId":"17470","symbol":"tETHUSD"}"#);
    assert!(run(&mut mapper, update).1[0].contains("ETHUSD"));
    assert!(!run(&mut mapper, &update.replace("17470", "17471")).1[0].contains("symbol"));
    for frame in [r#"[17470,"hb"]"#, r#"[17470,"tu",[401597397,1574694480808,-0.25,7245.5]]"#] {
        assert_eq!(run(&mut mapper, frame).0.kind, FrameKind::Other, "{frame}");
    }
    // Another connection has numbers of its own.
    let venue = Arc::clone(mapper.venue());
    assert!(!run(&mut Mapper::new(venue), update).1[0].contains("symbol"));
}

#[test]
fn a_ping_has_its_answer() {
    let mut spec = rows();
    spec.frames.ping.when = conditions(&[("/ping", &["*"])]);
    spec.frames.ping.answer = r#"{"pong":{value}}"#.into();
    spec.frames.ping.value = "/ping".into();
    let mut mapper = mapper(&spec);
    let long = format!(r#"{{"ping":"{}"}}"#, "x".repeat(255));
    for (frame, answer) in [
        (r#"{"ping":1700000000000}"#, Some(r#"{"pong":1700000000000}"#)),
        (r#"{"ping": "a\"b"}"#, Some(r#"{"pong":"a\"b"}"#)),
        (r#"{"ping":"{secret:key}"}"#, Some(r#"{"pong":"{secret:key}"}"#)),
        (r#"{"ping":null}"#, Some(r#"{"pong":null}"#)),
        // What cannot be repeated is no ping.
        (r#"{"ping":[1]}"#, None),
        (r#"{"ping":1,"ping":2}"#, None),
        (&long, None),
    ] {
        let (outcome, records) = run(&mut mapper, frame);
        assert!(records.is_empty() || answer.is_none(), "{frame}");
        match (outcome.kind, answer) {
            (FrameKind::Ping { answer }, Some(expected)) => assert_eq!(answer, expected),
            (kind, None) => assert_eq!(kind, FrameKind::Ticks { mapped: 1, skipped: 0 }, "{frame}"),
            (kind, _) => panic!("{frame} is {kind:?}"),
        }
    }
    // A text that asks, beside native ticks that are not looked into.
    let mut spec = VenueSpec { url: "ws://h".into(), ..VenueSpec::default() };
    spec.frames.ping.text = "Ping".into();
    spec.frames.ping.answer = "Pong".into();
    let mut mapper = self::mapper(&spec);
    let (outcome, _) = run(&mut mapper, "Ping");
    assert_eq!(outcome.kind, FrameKind::Ping { answer: "Pong".into() });
    let (outcome, records) = run(&mut mapper, "ping");
    assert_eq!((outcome.kind, records.len()), (FrameKind::Ticks { mapped: 1, skipped: 0 }, 1));
}

#[test]
fn the_first_mapping_that_fits_is_used() {
    let mut spec = rows();
    let mut quotes = spec.mapping.clone();
    quotes.when = conditions(&[("/kind", &["quote"])]);
    quotes.fields = vec![("price".into(), "3".into())];
    let mut bars = quotes.clone();
    bars.when = conditions(&[("/kind", &["quote", "bar"])]);
    bars.fields = vec![("price".into(), "4".into())];
    spec.also = vec![("a".into(), quotes), ("b".into(), bars)];
    for (kind, price) in [("quote", "30"), ("bar", "40"), ("other", "10")] {
        let frame = format!(r#"{{"kind":"{kind}","pair":"A","rows":[[1,10,20,30,40]]}}"#);
        assert_eq!(prices(&spec, &frame), [price], "{kind}");
    }
}

/// The keys of a venue's problems, with what is wrong.
fn problems(spec: &VenueSpec) -> Vec<String> {
    let problems = Venue::compile(spec).unwrap_err().into_iter();
    problems.map(|VenueProblem { key, problem }| format!("{key}: {problem}")).collect()
}

#[test]
fn what_does_not_go_together_is_told() {
    let mut spec = rows();
    spec.mapping.fields.push(("side".into(), "=1".into()));
    spec.mapping.abs = vec!["side".into(), "size".into()];
    spec.mapping.scale =
        [("price".to_owned(), "0.02".to_owned()), ("open".to_owned(), "10".to_owned())].into();
    spec.mapping.time = String::new();
    spec.mapping.order = Order::Time;
    spec.mapping.channel = "=7".into();
    spec.frames.ping.value = "/ping".into();
    let mut also = spec.mapping.clone();
    also.trade_ids = TradeIds::Increasing;
    also.trade_id = "x~".into();
    spec.also = vec![("snapshot".into(), also)];
    let expected = [
        "mapping.abs: `side` is a constant; write the number that is meant",
        "mapping.scale.price: `0.02` must be a power of ten from 1e-30 to 1e30, such as 0.01 or \
         1e-8",
        "mapping.abs: `size` is no field of this mapping",
        "mapping.scale.open: `open` is no field of this mapping",
        "mapping.channel: must stand in the frame; it is different for each tick",
        "mapping.order: needs mapping.time to order by",
        "mapping.channel: takes the place of mapping.symbol; leave one empty",
        "mapping.time: must say where it stands, because other parts are mapped",
        // What the other mapping shares is told once.
        "mapping.also.snapshot.trade_id: `~` stands for itself as `~0` and for `/` as `~1`",
        "mapping.also.snapshot.trade_ids: must be the same in all mappings",
        "frames.ping.when: must say how the ping is known that is answered",
        "frames.acknowledged.channel: must say where the number stands that mapping.channel is \
         about",
    ];
    // The order in which they are found does not matter, their number does.
    let (mut found, mut expected) = (problems(&spec), expected.map(str::to_owned).to_vec());
    found.sort();
    expected.sort();
    assert_eq!(found, expected);

    let mut spec = rows();
    spec.frames.ping.when = conditions(&[("/ping", &["*"])]);
    assert_eq!(problems(&spec), ["frames.ping.answer: must say what is sent back"]);
    for (answer, value, text, problem) in [
        ("{value}", "", "", "frames.ping.value: must say where the {value} of the answer stands"),
        ("x", "/ping", "", "frames.ping.answer: holds no {value}, so frames.ping.value has no use"),
        ("{secret:a}", "", "", "frames.ping.answer: may hold {value} and no other placeholder"),
        (
            "{value}",
            "/ping",
            "ping",
            "frames.ping.text: is a message that is no JSON, so it has no {value} for the answer",
        ),
    ] {
        spec.frames.ping.answer = answer.into();
        spec.frames.ping.value = value.into();
        spec.frames.ping.text = text.into();
        assert_eq!(problems(&spec), [problem]);
    }

    let mut spec = rows();
    spec.also = vec![("x".into(), spec.mapping.clone())];
    spec.frames.acknowledged.channel = "/c".into();
    spec.url = "ws://h/{time}".into();
    spec.subscription.symbol = "{secret:a}".into();
    spec.limits.ping = Some(Ping { text: "{id}".into(), period: std::time::Duration::MAX });
    let expected = [
        "url: holds {time}, which is for messages",
        "subscription.symbol: may hold {symbol} in its forms and no other",
        "limits.ping: may hold {secret:NAME}, {time} and {time:ms} and no other",
        "mapping.also.x.when: must hold a condition on the message, which tells it from other \
         mappings",
        "frames.acknowledged.symbol: must say where the symbol of frames.acknowledged.channel \
         stands",
        "frames.acknowledged.channel: is for mapping.channel, which is empty",
    ];
    assert_eq!(problems(&spec), expected);
}

#[test]
fn secrets_are_named_and_stay_placeholders() {
    let mut spec = rows();
    spec.url = "wss://h/{secret:Path}".into();
    spec.subscribe = vec![r#"{"key":"{secret:key}","at":{time},"again":"{secret:Path}"}"#.into()];
    spec.limits.ping =
        Some(Ping { text: "{secret:token}".into(), period: std::time::Duration::MAX });
    let venue = Venue::compile(&spec).unwrap();
    assert_eq!(venue.secrets(), ["Path", "key", "token"]);
    let plan = &venue.connections()[0];
    assert_eq!(plan.url, spec.url);
    assert_eq!(plan.subscribe[0].text, spec.subscribe[0]);
}

#[test]
fn symbols_of_77_digits_and_with_commas_are_symbols() {
    let token = "7".repeat(77);
    let mut spec = rows();
    spec.symbols = vec![token.clone(), "A,B".into()];
    spec.subscribe = vec![r#"["{symbol}"]"#.into()];
    let mut mapper = mapper(&spec);
    for symbol in &spec.symbols {
        let frame = format!(r#"{{"pair":"{symbol}","rows":[[1,"2","3"]]}}"#);
        let (_, records) = run(&mut mapper, &frame);
        let tick = decoder().decode(records[0].as_bytes()).map(|tick| tick.symbol.to_string());
        assert_eq!(tick.as_ref(), Ok(symbol));
    }
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

/// Rows inside a text, with every change of order and number.
fn opened() -> VenueSpec {
    let mut spec = rows();
    spec.mapping.each = "/data/{json}/rows/*".into();
    spec.mapping.symbol = "/data/{json}/s".into();
    spec.mapping.when = conditions(&[("/data", &["*"])]);
    spec.mapping.order = Order::Time;
    spec.mapping.abs = vec!["price".into()];
    spec.mapping.scale = [("price".to_owned(), "1e-3".to_owned())].into();
    spec.mapping.fields.push(("deep".into(), "2/{json}/x".into()));
    spec.frames.ping.when = conditions(&[("/ping", &["*"])]);
    spec.frames.ping.answer = "{value}".into();
    spec.frames.ping.value = "/ping".into();
    spec
}

/// Any bytes give an outcome that counts the ticks which were handed on, each with its symbol.
fn assert_every_tick_is_counted(mapper: &mut Mapper, bytes: &[u8]) {
    let mut count = 0;
    let outcome = mapper.classify(bytes, |mapped| {
        count += 1;
        if let Ok(tick) = decoder().decode(mapped.record) {
            assert_eq!(Some(&*tick.symbol), mapped.symbol);
        }
    });
    match outcome.kind {
        FrameKind::Ticks { mapped, .. } => assert_eq!(mapped, count),
        _ => assert_eq!(count, 0),
    }
}

proptest! {
    #[test]
    fn any_bytes_give_an_outcome(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for spec in [nested(), numbered(), opened(), VenueSpec::default()] {
            let _ = mapper(&spec).classify(&bytes, |_| {});
        }
    }

    #[test]
    fn a_damaged_frame_of_any_shape_gives_an_outcome(
        cuts in proptest::collection::vec((0_usize..400, any::<u8>()), 0..6),
        end in 0_usize..500,
        shape in 0_usize..4,
    ) {
        let inner = r#"{"s":"A","rows":[[1,"-2","3"],[0,4,"{\"x\":1}"]]}"#;
        let frames = [
            r#"{"event":"subscribed","chanId":17,"symbol":"tBTCUSD"}"#.to_owned(),
            r#"[17,"te",[401597397,1574694480808,-0.25,7245.5]]"#.to_owned(),
            r#"[17,[[4,1574694478808,5e-3,7.3],[3,1574694478800,-0.5,7.2]]]"#.to_owned(),
            serde_json::json!({"data": inner, "ping": 12, "rows": [{"a": inner}]}).to_string(),
        ];
        let mut mappers = [mapper(&numbered()), mapper(&opened())];
        let mut bytes = frames[shape].clone().into_bytes();
        for (at, byte) in cuts {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(end);
        for mapper in &mut mappers {
            assert_every_tick_is_counted(mapper, &bytes);
        }
    }

    #[test]
    fn a_text_in_a_frame_means_what_the_frame_itself_would(
        rows in proptest::collection::vec((0_i64..1000, "-?[0-9]{1,4}", "\\PC{0,6}"), 0..6),
    ) {
        let plain = serde_json::json!({"s": "A", "rows": rows}).to_string();
        let text = serde_json::json!({ "data": plain }).to_string();
        let mut spec = opened();
        let inside = run(&mut mapper(&spec), &text);
        spec.mapping.each = "/rows/*".into();
        spec.mapping.symbol = "/s".into();
        spec.mapping.when = Conditions::new();
        prop_assert_eq!(inside, run(&mut mapper(&spec), &plain));
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
        assert_every_tick_is_counted(&mut mapper(&nested()), &bytes);
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
