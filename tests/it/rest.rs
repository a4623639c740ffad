//! A venue's history over HTTP, as the source asks for it: each way in which an answer can go
//! wrong, against a server that does it.

use std::sync::Arc;

use prometheus::Registry;
use tickcast::adapters::websocket::WebSocketSettings;
use tickcast::app::config::parse;
use tickcast::core::domain::{DurationNanos, Symbol, UnixNanos};
use tickcast::core::history::{HistoryFrom, HistoryNeed, RowKind, Span};
use tickcast::ops::exit::Exit;
use tickcast::ports::history::{Failed, HistorySource, Request, Rows, RowsLimit, Want};
use tickcast::ports::source::{SourceOpening, SourceSettings};
use tickcast::shard::command::Command;
use tokio::runtime::Runtime;

use crate::support::history::{Bar, HistoryServer, Reaction, RowOrder};
use crate::support::process::run;

/// When the bars of the tests begin: 2026-11-27 at midnight.
const BEGIN_MS: i64 = 1_795_737_600_000;
const MINUTE_MS: i64 = 60_000;

/// What asks, as the daemon makes it of its configuration.
struct Asker {
    runtime: Runtime,
    source: Arc<dyn HistorySource>,
    registry: Registry,
}

fn settings(keys: &str, sections: &str) -> WebSocketSettings {
    let text = format!(
        "model.name = 'm'\n[source]\nurl = 'ws://127.0.0.1:1'\nsymbols = ['A', 'B']\n\
         {keys}{sections}"
    );
    let config = parse(&text).unwrap_or_else(|error| panic!("{:#?}", error.problems));
    config.source.of::<WebSocketSettings>().unwrap().clone()
}

fn source_of(
    settings: &WebSocketSettings,
    registry: &Registry,
) -> Result<Option<Arc<dyn HistorySource>>, Exit> {
    let need = HistoryNeed { steps: 1, span: DurationNanos::ZERO, rows: None };
    let opening = SourceOpening { registry, symbols_max: 10, seed: 7, history: &need };
    SourceSettings::<Command>::history(settings, &opening)
}

impl Asker {
    fn new(keys: &str, sections: &str) -> Self {
        let registry = Registry::new();
        let source = source_of(&settings(keys, sections), &registry).unwrap().unwrap();
        Self { runtime: Runtime::new().unwrap(), source, registry }
    }

    /// One that asks the server by its own section, with these keys of `[source.rest]` beside.
    fn of(server: &HistoryServer, keys: &str) -> Self {
        let section = server.section();
        Self::new("", &section.replacen("[source.rest]\n", &format!("[source.rest]\n{keys}"), 1))
    }

    fn request(symbol: &str, want: Want) -> Request {
        let (symbol, kind) = (Symbol::new(symbol).unwrap(), minutes_kind(1));
        Request { symbol, kind, are_parts: false, want }
    }

    fn ask(&self, symbol: &str, want: Want) -> Result<Rows, Failed> {
        self.runtime.block_on(self.source.fetch(Self::request(symbol, want)))
    }

    /// How many requests ended with each outcome: ok, rate_limited, failed, refused.
    fn outcomes(&self) -> [u64; 4] {
        let families = self.registry.gather();
        let requests = families.iter().find(|it| it.name() == "tickcast_history_requests_total");
        let metrics = requests.unwrap().get_metric();
        ["ok", "rate_limited", "failed", "refused"].map(|outcome| {
            let mut of = metrics.iter().filter(|it| it.get_label()[0].value() == outcome);
            of.next().unwrap().get_counter().get_value() as u64
        })
    }
}

fn minutes_kind(minutes: i64) -> RowKind {
    RowKind::Bars(DurationNanos::from_seconds(60 * minutes).unwrap())
}

fn at(minute: i64) -> UnixNanos {
    UnixNanos::from_nanos((BEGIN_MS + minute * MINUTE_MS) * 1_000_000)
}

fn between(from: i64, to: i64) -> Want {
    Want::Between(Span { from: at(from), to: at(to) })
}

/// Bars whose price is their number, from 1 on.
fn bars(count: i64) -> Vec<Bar> {
    let bar =
        |minute: i64| Bar::flat(BEGIN_MS + minute * MINUTE_MS, &format!("{}.50", minute + 1), "2");
    (0..count).map(bar).collect()
}

/// A server with so many bars of each of two symbols.
fn server(count: i64) -> HistoryServer {
    let server = HistoryServer::start();
    for symbol in ["A", "B"] {
        server.set_bars(symbol, bars(count));
    }
    server
}

/// The numbers of the bars of an answer.
fn numbers(rows: &Rows) -> Vec<i64> {
    rows.rows.iter().map(|row| (row.time.as_nanos() / 1_000_000 - BEGIN_MS) / MINUTE_MS).collect()
}

/// Holds that an answer is complete and has exactly these bars, byte for byte.
fn assert_whole(rows: &Rows, wanted: std::ops::Range<i64>) {
    assert_eq!((numbers(rows), rows.is_complete), (wanted.collect(), true));
    for row in &rows.rows {
        let minute = (row.time.as_nanos() / 1_000_000 - BEGIN_MS) / MINUTE_MS;
        let price = format!("{}.50", minute + 1);
        let fields = ["open", "high", "low", "close"].map(|name| format!("\"{name}\":{price},"));
        let expected = format!(
            "{{\"symbol\":\"A\",\"time\":\"{}\",{}\"volume\":2}}",
            row.time,
            fields.concat()
        );
        assert_eq!(std::str::from_utf8(&row.bytes).unwrap(), expected);
        assert_eq!(row.trade_id, None);
    }
}

#[test]
fn rows_are_asked_for_in_pages_over_one_connection() {
    let server = server(100);
    let asker = Asker::of(&server, "rows_max = 20\n");
    assert_whole(&asker.ask("A", between(10, 65)).unwrap(), 10..65);
    let asked = server.asked();
    let spans: Vec<_> = asked
        .iter()
        .map(|asked| {
            let minute =
                |name| (asked.parameter(name).parse::<i64>().unwrap() - BEGIN_MS) / MINUTE_MS;
            (minute("from"), minute("to"), asked.parameter("limit").to_owned())
        })
        .collect();
    // The end belongs to the answer, so that it is asked for up to a millisecond before.
    let twenty = || "20".to_owned();
    assert_eq!(spans, [(10, 29, twenty()), (30, 49, twenty()), (50, 64, twenty())]);
    assert_eq!((asked[0].parameter("symbol"), asked[0].parameter("interval")), ("A", "1m"));
    assert_eq!(asked[0].header("accept-encoding"), "identity");
    assert_eq!(asked[0].header("host"), server.address());
    assert!(asked[0].header("user-agent").starts_with("tickcast/"));
    assert_eq!((server.connections(), server.under_way_max()), (1, 1));
    assert_eq!(asker.outcomes(), [3, 0, 0, 0]);
    assert_eq!((asker.source.from(), asker.source.at_once()), (HistoryFrom::Rest, 1));
}

#[test]
fn whatever_goes_wrong_with_an_answer_is_asked_for_again() {
    use Reaction::{
        Chunked, CloseBehind, Cut, Empty, HangUp, Late, Partial, Repeated, Say, Shuffled, Status,
    };
    let status = |status| Status(status, Vec::new(), "<html>maintenance</html>".to_owned());
    let busy = || Say(r#"{"code":1016,"message":"busy"}"#.to_owned());
    for (what, script, order, page, outcomes) in [
        ("nothing", vec![], RowOrder::OldestFirst, 1000, [1, 0, 0, 0]),
        ("the newest first", vec![], RowOrder::NewestFirst, 1000, [1, 0, 0, 0]),
        ("small pages, oldest first", vec![], RowOrder::OldestFirst, 10, [3, 0, 0, 0]),
        ("small pages, newest first", vec![], RowOrder::NewestFirst, 10, [3, 0, 0, 0]),
        ("chunks", vec![Chunked], RowOrder::OldestFirst, 1000, [1, 0, 0, 0]),
        ("no order", vec![Shuffled], RowOrder::OldestFirst, 1000, [1, 0, 0, 0]),
        ("repeats", vec![Repeated], RowOrder::OldestFirst, 1000, [1, 0, 0, 0]),
        ("no rows at first", vec![Empty, Empty], RowOrder::OldestFirst, 1000, [3, 0, 0, 0]),
        ("a hole", vec![Partial(5, 3)], RowOrder::OldestFirst, 1000, [2, 0, 0, 0]),
        ("no beginning", vec![Partial(0, 7)], RowOrder::NewestFirst, 1000, [2, 0, 0, 0]),
        ("a late end", vec![Late, Late], RowOrder::OldestFirst, 1000, [3, 0, 0, 0]),
        ("500", vec![status(500)], RowOrder::OldestFirst, 1000, [1, 0, 1, 0]),
        ("502, 503", vec![status(502), status(503)], RowOrder::OldestFirst, 1000, [1, 0, 2, 0]),
        ("a cut body", vec![Cut], RowOrder::OldestFirst, 1000, [1, 0, 1, 0]),
        ("a hung up connection", vec![HangUp], RowOrder::OldestFirst, 1000, [1, 0, 1, 0]),
        ("no JSON", vec![Say("[1,".to_owned())], RowOrder::OldestFirst, 1000, [1, 0, 1, 0]),
        (
            "another shape",
            vec![Say(r#"{"code":0}"#.to_owned())],
            RowOrder::OldestFirst,
            1000,
            [1, 0, 1, 0],
        ),
        ("an error that passes", vec![busy()], RowOrder::OldestFirst, 1000, [1, 0, 1, 0]),
        ("closing", vec![CloseBehind], RowOrder::OldestFirst, 1000, [1, 0, 0, 0]),
    ] {
        let server = server(30);
        server.script(script);
        server.set_order(order);
        server.set_page_rows(page);
        let asker = Asker::of(&server, "");
        let rows = asker.ask("A", between(0, 30)).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_whole(&rows, 0..30);
        assert_eq!(asker.outcomes(), outcomes, "{what}");
        // A server may close an open connection at any time, and that is no failure.
        if what == "closing" {
            assert_whole(&asker.ask("A", between(3, 5)).unwrap(), 3..5);
            assert_eq!((server.connections(), asker.outcomes()), (2, [2, 0, 0, 0]));
        }
    }
}

#[test]
fn a_server_that_says_nothing_is_asked_again_when_its_time_is_up() {
    let server = server(30);
    server.script([Reaction::Hang]);
    let asker = Asker::new("", &server.section().replace("seconds_max = 5", "seconds_max = 1"));
    assert_whole(&asker.ask("A", between(0, 30)).unwrap(), 0..30);
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn what_stays_wrong_ends_with_its_reason_and_after_a_bounded_number_of_requests() {
    let server = server(30);
    let asker = Asker::of(&server, "");
    let host = format!("http://{}", server.address());
    let failing = |reaction: Reaction| {
        let before = server.asked().len();
        server.script(std::iter::repeat_n(reaction, 3));
        let error = asker.ask("A", between(0, 30)).unwrap_err();
        (error, server.asked().len() - before)
    };
    let status = |status| Reaction::Status(status, Vec::new(), "gone\u{7}".to_owned());
    let (error, requests) = failing(status(503));
    assert_eq!((error, requests), (Failed::Away(format!("{host}: 503 gone\\u{{7}}")), 3));
    let (error, requests) = failing(Reaction::Cut);
    assert!(matches!(&error, Failed::Away(why) if why.contains("broke off")), "{error:?}");
    assert_eq!(requests, 3);
    let (error, requests) = failing(Reaction::Say("[[".to_owned()));
    assert_eq!((error, requests), (Failed::Away(format!("{host}: the answer is not JSON")), 3));
    assert_eq!(asker.outcomes(), [0, 0, 9, 0]);
    // Refusals are for good, so that one request is enough.
    let server = self::server(30);
    let asker = Asker::of(&server, "");
    let host = format!("http://{}", server.address());
    let refused = |symbol: &str, reaction: Reaction| {
        let before = server.asked().len();
        server.script([reaction]);
        let error = asker.ask(symbol, between(0, 30)).unwrap_err();
        assert_eq!(server.asked().len() - before, 1, "{error}");
        error
    };
    let error = refused("NONE", Reaction::Answer);
    assert_eq!(error, Failed::Refused(format!("{host}: Invalid symbol.")));
    let body = r#"{"code":7,"message":"no such pair"}"#.to_owned();
    let error = refused("A", Reaction::Status(404, Vec::new(), body));
    assert_eq!(error, Failed::Refused(format!("{host}: 404 no such pair")));
    let elsewhere = vec![("Location", "http://127.0.0.1:1/?key=hunter2".to_owned())];
    let error = refused("A", Reaction::Status(302, elsewhere, String::new()));
    assert_eq!(error, Failed::Refused(format!("{host}: 302: redirects are not followed")));
    assert_eq!(asker.outcomes(), [0, 0, 0, 3]);
}

#[test]
fn an_answer_that_stays_incomplete_says_so() {
    let server = server(30);
    let mut some = bars(30);
    some.remove(12);
    server.set_bars("A", some);
    let asker = Asker::of(&server, "");
    let rows = asker.ask("A", between(10, 15)).unwrap();
    assert_eq!((numbers(&rows), rows.is_complete), (vec![10, 11, 13, 14], false));
    let omits = Asker::of(&server, "omits_empty = true\n");
    let rows = omits.ask("A", between(10, 15)).unwrap();
    assert_eq!((numbers(&rows), rows.is_complete), (vec![10, 11, 13, 14], true));
    // A row without volume is there, and is no tick.
    let mut quiet = bars(30);
    quiet[12].volume = "0.000".to_owned();
    server.set_bars("A", quiet);
    let rows = asker.ask("A", between(10, 15)).unwrap();
    assert_eq!((numbers(&rows), rows.is_complete), (vec![10, 11, 13, 14], true));
}

#[test]
fn a_bar_that_the_server_has_not_finished_is_none() {
    let server = server(30);
    // By the server's clock, bar 27 is under way.
    server.set_date(Some("Fri, 27 Nov 2026 00:27:30 GMT"));
    let asker = Asker::of(&server, "");
    let rows = asker.ask("A", between(20, 27)).unwrap();
    assert_whole(&rows, 20..27);
    let rows = asker.ask("A", between(20, 30)).unwrap();
    assert_eq!((numbers(&rows), rows.is_complete), ((20..27).collect(), false));
}

#[test]
fn the_newest_rows_are_those_that_are_certainly_finished() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let minute_ms = i64::try_from(now.as_millis()).unwrap() / MINUTE_MS * MINUTE_MS;
    let server = HistoryServer::start();
    // The last one has just begun.
    let bar = |back: i64| Bar::flat(minute_ms - back * MINUTE_MS, "1", "1");
    server.set_bars("A", (0..=40).rev().map(bar).collect());
    let date = UnixNanos::from_nanos((minute_ms + 5000) * 1_000_000).to_string();
    let date = format!(
        "{}, {} {} {} {} GMT",
        "Fri",
        &date[8..10],
        month(&date),
        &date[..4],
        &date[11..19]
    );
    server.set_date(Some(&date));
    let asker = Asker::of(&server, "");
    let back = |rows: &Rows| -> Vec<i64> {
        let back = |time: UnixNanos| (minute_ms - time.as_nanos() / 1_000_000) / MINUTE_MS;
        rows.rows.iter().map(|row| back(row.time)).collect()
    };
    let rows = asker.ask("A", Want::Newest { before: None, rows: 5 }).unwrap();
    assert!(rows.is_complete);
    // The minute may have turned since, and then the one that was asked for last is missing.
    let newest = back(&rows);
    assert!(newest == [5, 4, 3, 2, 1] || newest == [4, 3, 2, 1], "{newest:?}");
    let before = Some(UnixNanos::from_nanos((minute_ms - 10 * MINUTE_MS) * 1_000_000));
    let rows = asker.ask("A", Want::Newest { before, rows: 4 }).unwrap();
    assert_eq!((back(&rows), rows.is_complete), (vec![14, 13, 12, 11], true));
    // More than there are: what there is, and that it is all.
    let rows = asker.ask("A", Want::Newest { before, rows: 100 }).unwrap();
    assert_eq!((rows.rows.len(), rows.is_complete), (30, true));
}

/// The month of an RFC 3339 time as HTTP writes it.
fn month(date: &str) -> &'static str {
    let names = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month: usize = date[5..7].parse().unwrap();
    &names[3 * month - 3..3 * month]
}

#[test]
fn a_venue_that_asks_for_patience_gets_it() {
    let server = server(30);
    let asker = Asker::of(&server, "");
    let too_many = |after: &str| {
        Reaction::Status(429, vec![("Retry-After", after.to_owned())], "slower".to_owned())
    };
    // A short rest is waited for.
    server.script([too_many("1")]);
    assert_whole(&asker.ask("A", between(0, 30)).unwrap(), 0..30);
    assert_eq!((server.asked().len(), asker.outcomes()), (2, [1, 1, 0, 0]));
    // So is one that the body asks for.
    server.script([Reaction::Say(r#"{"code":1015,"message":"too many"}"#.to_owned())]);
    assert_whole(&asker.ask("A", between(0, 30)).unwrap(), 0..30);
    assert_eq!((server.asked().len(), asker.outcomes()), (4, [2, 2, 0, 0]));
    // For a long one the question is given up, and nothing is asked meanwhile.
    let away = vec![("Retry-After", "7200".to_owned())];
    let other = self::server(30);
    let patient = Asker::of(&other, "");
    other.script([Reaction::Status(503, away, "maintenance".to_owned())]);
    let error = patient.ask("A", between(0, 30)).unwrap_err();
    assert_eq!(error, Failed::Away(format!("http://{}: 503 maintenance", other.address())));
    assert!(matches!(patient.ask("B", between(0, 30)), Err(Failed::Away(_))));
    assert_eq!((other.asked().len(), patient.outcomes()), (1, [0, 0, 1, 0]));
    for after in ["3600", "Fri, 31 Dec 2100 23:59:59 GMT"] {
        let server = self::server(30);
        let asker = Asker::of(&server, "");
        server.script([too_many(after)]);
        let error = asker.ask("A", between(0, 30)).unwrap_err();
        let host = format!("http://{}", server.address());
        let why = format!("{host} wants to be left alone for 3600 s: 429 slower");
        assert_eq!(error, Failed::Away(why));
        let error = asker.ask("B", between(0, 30)).unwrap_err();
        assert_eq!(error, Failed::Away(format!("{host} wants to be left alone")));
        assert_eq!((server.asked().len(), asker.outcomes()), (1, [0, 1, 0, 0]));
    }
}

#[test]
fn no_more_requests_are_under_way_than_the_venue_allows() {
    let server = server(30);
    let asker = Asker::new(
        "",
        &format!("{}[source.rest.limits]\nrequests_at_once = 2\n", server.section()),
    );
    asker.runtime.block_on(async {
        let ask = || asker.source.fetch(Asker::request("A", between(0, 30)));
        let answers = futures_util::future::join_all((0..12).map(|_| ask())).await;
        for rows in answers {
            assert_whole(&rows.unwrap(), 0..30);
        }
    });
    assert_eq!((server.asked().len(), asker.outcomes()), (12, [12, 0, 0, 0]));
    assert!(server.under_way_max() <= 2 && server.connections() <= 2);
    assert_eq!(asker.source.at_once(), 2);
}

#[test]
fn five_hundred_symbols_take_five_hundred_requests() {
    let server = HistoryServer::start();
    let names: Vec<_> = (0..500).map(|number| format!("S{number}")).collect();
    for name in &names {
        server.set_bars(name, bars(60));
    }
    let asker = Asker::of(&server, "");
    for name in &names {
        let rows = asker.ask(name, Want::Newest { before: Some(at(60)), rows: 51 }).unwrap();
        assert_eq!((numbers(&rows), rows.is_complete), ((9..60).collect(), true));
    }
    assert_eq!((server.asked().len(), server.connections()), (500, 1));
}

#[test]
fn pages_follow_a_cursor_where_the_venue_has_one() {
    let server = server(100);
    server.set_cursors(true);
    server.set_page_rows(30);
    let asker =
        Asker::of(&server, "paging = 'cursor'\ncursor = '/next'\nnext = '&cursor={cursor}'\n");
    assert_whole(&asker.ask("A", between(0, 100)).unwrap(), 0..100);
    let cursors: Vec<_> =
        server.asked().iter().map(|asked| asked.parameter("cursor").to_owned()).collect();
    assert_eq!(cursors, ["", "30", "60", "90"]);
    // One that leads to itself is followed once.
    let same = r#"{"code":0,"rows":[],"next":7}"#;
    let server = HistoryServer::answering(|_| Reaction::Say(same.to_owned()));
    let keys = "paging = 'cursor'\ncursor = '/next'\nnext = '&cursor={cursor}'\n";
    let asker = Asker::of(&server, &format!("omits_empty = true\n{keys}"));
    let rows = asker.ask("A", between(0, 100)).unwrap();
    assert_eq!((rows.rows.len(), rows.is_complete, server.asked().len()), (0, false, 2));
}

#[test]
fn more_than_fits_is_not_read_and_more_than_is_allowed_is_not_asked_for() {
    let server = server(300);
    let asker =
        Asker::new("message_bytes_max = 1024\nrecord_bytes_max = 1024\n", &server.section());
    let error = asker.ask("A", between(0, 300)).unwrap_err();
    let host = format!("http://{}", server.address());
    let why = format!("{host}: the answer is larger than message_bytes_max = 1024");
    assert_eq!(error, Failed::Away(why));
    assert_whole(&asker.ask("A", between(0, 5)).unwrap(), 0..5);
    let asker = Asker::of(&server, "rows_max = 10\npages_max = 3\n");
    let before = server.asked().len();
    let why = "4 requests are needed and rest.pages_max is 3".to_owned();
    assert_eq!(asker.ask("A", between(0, 31)).unwrap_err(), Failed::Refused(why));
    assert_eq!(server.asked().len(), before);
}

#[test]
fn secrets_are_sent_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("key", "hunter2/&\n"), ("token", "opensesame\n")] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let server = server(30);
    let url = "to={to}&limit={limit}&key={secret:key}";
    let section = server.section().replace("to={to}&limit={limit}", url);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let secrets =
        format!("secrets.key_file = '{}'\nsecrets.token_file = '{}'\n", path("key"), path("token"));
    let headers = "[source.rest.headers]\nAuthorization = 'Bearer {secret:token}'\n";
    let asker = Asker::new(&secrets, &format!("{section}{headers}"));
    assert_whole(&asker.ask("A", between(0, 30)).unwrap(), 0..30);
    let asked = server.asked().remove(0);
    assert_eq!(asked.parameter("key"), "hunter2%2F%26");
    assert_eq!(asked.header("authorization"), "Bearer opensesame");
    // A server that repeats them.
    let body = r#"{"code":9,"message":"bad token opensesame for hunter2/&"}"#.to_owned();
    server.script([Reaction::Status(401, Vec::new(), body)]);
    let error = asker.ask("A", between(0, 30)).unwrap_err();
    let host = format!("http://{}", server.address());
    let why = format!("{host}: 401 bad token {{secret:token}} for {{secret:key}}");
    assert_eq!(error, Failed::Refused(why));
    let shown = asker.source.serves(minutes_kind(1)).unwrap();
    assert_eq!(shown, format!("bars `1m` of {host}, 1000 a request"));
    // Without its file it is missed only where history is asked for.
    let settings = settings("", &section);
    let error = source_of(&settings, &Registry::new()).err().unwrap();
    let expected = "source.secrets.key_file: must name the file that holds {secret:key}";
    assert!(error.to_string().contains(expected), "{error}");
    assert_eq!(error.status(), 78);
}

#[test]
fn the_last_row_of_a_step_has_to_be_there_although_a_venue_omits_some() {
    let server = server(29);
    let asker = Asker::of(&server, "omits_empty = true\n");
    for (are_parts, requests) in [(false, 1), (true, 2)] {
        let before = server.asked().len();
        let request = Request { are_parts, ..Asker::request("A", between(20, 30)) };
        let rows = asker.runtime.block_on(asker.source.fetch(request)).unwrap();
        assert_eq!(numbers(&rows), (20..29).collect::<Vec<_>>());
        assert_eq!((rows.is_complete, server.asked().len() - before), (!are_parts, requests));
    }
}

#[test]
fn what_a_venue_has_is_said_and_what_it_lacks_is_refused() {
    let server = server(30);
    let section = server.section().replace("60 = '1m'", "60 = '1m'\n3600 = '1h'");
    let asker = Asker::new("", &section);
    let lengths: Vec<_> = asker.source.lengths().iter().map(|it| it.as_nanos()).collect();
    assert_eq!(lengths, [3_600_000_000_000, 60_000_000_000]);
    let limit = Some(RowsLimit { rows: 20_000, key: Some("source.rest.pages_max") });
    assert_eq!(asker.source.rows_limit(), limit);
    let latest = Asker::of(&server, "paging = 'latest'\nrows_max = 720\n");
    assert_eq!(latest.source.rows_limit(), Some(RowsLimit { rows: 720, key: None }));
    let error = asker.source.serves(minutes_kind(5)).unwrap_err();
    assert_eq!(error, "source.rest.intervals has no bars of 300 s; it has 3600, 60 s");
    assert!(asker.source.serves(RowKind::Trades).is_err());
    let request = Request { kind: minutes_kind(5), ..Asker::request("A", between(0, 30)) };
    let error = asker.runtime.block_on(asker.source.fetch(request)).unwrap_err();
    assert_eq!(error, Failed::Refused("source.rest.intervals has no bars of 300 s".to_owned()));
    assert_eq!(server.asked().len(), 0);
    // A venue without history is none to ask.
    assert!(source_of(&settings("", ""), &Registry::new()).unwrap().is_none());
}

#[test]
fn a_saved_answer_is_shown_as_the_ticks_that_it_makes() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let section = server(0).section().replace("[source.rest", "[rest");
    let venue = place("venue.toml", &format!("url = 'ws://127.0.0.1:1'\n{section}"));
    let row = |minute: i64, close: &str, volume: &str| Bar {
        close: close.to_owned(),
        ..Bar::flat(BEGIN_MS + minute * MINUTE_MS, "1.0", volume)
    };
    let rows = [row(1, "1.5", "2"), row(0, "1.25", "2"), row(2, "1", "0"), row(3, "-1", "2")];
    let rows: Vec<_> = rows.iter().map(Bar::row).collect();
    let input = place("answer.json", &format!(r#"{{"code":0,"rows":[{}]}}"#, rows.join(",")));
    let output = run(&["map", "--venue", &venue, "--rest", "A", "--input", &input]);
    let line = |minute: i64, close: &str| {
        let time = at(minute);
        let rest = format!("\"open\":1.0,\"high\":1.0,\"low\":1.0,\"close\":{close},\"volume\":2");
        format!("{{\"symbol\":\"A\",\"time\":\"{time}\",{rest}}}\n")
    };
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(shown, line(0, "1.25") + &line(1, "1.5"));
    let told = String::from_utf8(output.stderr).unwrap();
    let expected = "3 rows, 1 of them without volume and left out; 1 more cannot be used\n\
                    the first of those: a row is no tick (negative): ";
    assert!(told.starts_with(expected), "{told}");
    assert_eq!(output.status.code(), Some(0));
    let refused = place("refused.json", r#"{"code":7,"message":"no such pair"}"#);
    let output = run(&["map", "--venue", &venue, "--rest", "A", "--input", &refused]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("no such pair"), "{told}");
    assert_eq!(output.status.code(), Some(65));
    let output = run(&["map", "--venue", "generic", "--rest", "A", "--input", &input]);
    assert_eq!(output.status.code(), Some(78), "a venue without history");
}
