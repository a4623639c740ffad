//! How symbols are, as the daemon tells it.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::bundle::{SealedBundle, sealed_with};
use crate::support::feed::{Act, ScriptedFeed};
use crate::support::process::{Daemon, eventually};
use crate::support::venue::{Trade, VenueServer};

/// A model of steps of a second that needs two of them behind its warm-up.
fn bundle() -> SealedBundle {
    let second = tickcast::engine::model::manifest::StepSpec::record(1);
    sealed_with(21, 2, &[4], |draft| draft.manifest.step = second)
}

fn tick(symbol: &str, second: u32) -> String {
    let time = u64::from(second) * 1000;
    format!(r#"{{"symbol":"{symbol}","time":{time},"close":100,"volume":1}}"#)
}

fn symbols(daemon: &Daemon, query: &str) -> Value {
    let (status, body) = daemon.get(&format!("/v1/symbols{query}"));
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// The health of a symbol; none while it is not listed.
fn health(daemon: &Daemon, symbol: &str) -> Option<String> {
    let list = symbols(daemon, &format!("?symbols={symbol}"));
    Some(list["symbols"].get(0)?["health"].as_str()?.to_owned())
}

fn await_health(daemon: &Daemon, symbol: &str, expected: &str) {
    eventually(&format!("{symbol} is {expected}"), || {
        (health(daemon, symbol).as_deref() == Some(expected)).then_some(())
    });
}

#[test]
fn a_symbol_is_live_then_silent_then_heard_again_and_dead_without_a_feed() {
    let sealed = bundle();
    let feed = ScriptedFeed::start();
    // Any silence of five seconds is stale at once: long enough to see the symbol live before, on a
    // busy machine as well.
    let settings = "health.quiet_seconds_min = 5\nhealth.stale_seconds_min = 5\n\
                    health.stale_waits = 1\nengine.shards = 2";
    let daemon = Daemon::start(sealed.root.path(), "random", feed.url(), settings);
    assert_eq!(symbols(&daemon, "")["count"], 0);
    for symbol in ["A", "B", "C"] {
        (0..4).for_each(|second| feed.say(tick(symbol, second)));
    }
    await_health(&daemon, "A", "live");
    await_health(&daemon, "A", "stale");
    assert!(daemon.metric(r#"tickcast_symbol_health_changes_total{health="stale"}"#) >= 1.0);
    // A lost connection is a gap, and the symbol is heard again behind it.
    feed.act(Act::Break);
    daemon.await_metric("tickcast_source_connects_total", 2.0);
    feed.say(tick("A", 4));
    await_health(&daemon, "A", "live");
    let list = symbols(&daemon, "?symbols=A");
    let expected = serde_json::json!({
        "symbol": "A", "health": "live", "reason": null, "newest_tick": "1970-01-01T00:00:04Z",
        "steps": 5, "window": 2, "window_steps": 2, "quality": "gapped",
        "last_gap": "1970-01-01T00:00:04Z", "filled": 0,
        "history": {"state": "none", "from": null, "rows": 0},
    });
    assert_eq!(list["symbols"], serde_json::json!([expected]));
    assert_eq!((&list["count"], &list["left_off"]), (&1.into(), &0.into()));
    let counts = serde_json::json!({"none": 1, "asked": 0, "warm": 0, "cold": 0});
    assert_eq!(list["history"], counts, "nobody has asked for any");
    drop(feed);
    for symbol in ["A", "B", "C"] {
        await_health(&daemon, symbol, "dead");
    }
    let by_health = |health: &str| {
        daemon.metric(&format!(r#"tickcast_symbols_by_health{{health="{health}"}}"#))
    };
    let counts = || ["live", "quiet", "stale", "dead", "awaited"].map(by_health);
    eventually("all are dead", || (counts() == [0.0, 0.0, 0.0, 3.0, 0.0]).then_some(()));
    let all = symbols(&daemon, "");
    let names: Vec<_> =
        all["symbols"].as_array().unwrap().iter().map(|row| &row["symbol"]).collect();
    assert_eq!(names, ["A", "B", "C"]);
    assert!(all["age_ms"].as_u64().unwrap() < 60_000, "{all}");
    let (status, body) = daemon.get("/v1/symbols?names=A");
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &problem["code"]), (400, &"bad_request".into()), "{body}");
    let page = symbols(&daemon, "?limit=2&after=A");
    let names: Vec<_> =
        page["symbols"].as_array().unwrap().iter().map(|row| &row["symbol"]).collect();
    assert_eq!(names, ["B", "C"]);
    assert_eq!(page["next"], Value::Null);
    let page = symbols(&daemon, "?limit=1");
    assert_eq!((&page["left_off"], &page["next"]), (&2.into(), &"A".into()));
    let ended = daemon.stop();
    let silent = ended.log.iter().filter(|line| line["message"] == "symbols have fallen silent");
    assert!((1..=20).contains(&silent.count()), "few lines: {:#?}", ended.log);
}

#[test]
fn symbols_of_a_snapshot_are_restored_and_not_dead_before_their_feed_is_there() {
    let (sealed, feed) = (bundle(), ScriptedFeed::start());
    let states = sealed.root.path().join("states");
    let settings = format!("snapshot.folder = '{}'", states.display());
    let daemon = Daemon::start(sealed.root.path(), "random", feed.url(), &settings);
    (0..4).for_each(|second| feed.say(tick("A", second)));
    await_health(&daemon, "A", "live");
    assert_eq!(daemon.stop().status.code(), Some(0));
    let url = feed.url().to_owned();
    drop(feed);
    let daemon = Daemon::start(sealed.root.path(), "random", &url, &settings);
    let first = eventually("the restored symbol", || health(&daemon, "A"));
    assert_eq!(first, "restored");
}

#[test]
fn configured_symbols_that_never_ticked_are_listed_with_the_reason() {
    let sealed = bundle();
    let server = VenueServer::start("kraken");
    server.refuse("BAD/USD");
    let settings = "source.venue = 'kraken'\nengine.shards = 3\n\
                    source.symbols = ['BTC/USD', 'BAD/USD', 'MUTE/USD', 'ETH/USD']\n\
                    source.limits.heartbeat_seconds_max = 600";
    let daemon = Daemon::start(sealed.root.path(), "random", server.url(), settings);
    server.await_subscribed(&["BTC/USD", "MUTE/USD", "ETH/USD"]);
    for symbol in ["BTC/USD", "ETH/USD"] {
        server.trade(Trade::new(symbol, "7", 1000, 1));
        await_health(&daemon, symbol, "live");
    }
    daemon.await_metric(r#"tickcast_source_symbols_unsubscribed{reason="refused"}"#, 1.0);
    daemon.await_metric(r#"tickcast_symbols_by_health{health="awaited"}"#, 2.0);
    let entry = |symbol: &str| {
        let list = symbols(&daemon, &format!("?symbols={symbol}"));
        assert_eq!(list["count"], 1, "{symbol} is listed once: {list}");
        (list["symbols"][0]["health"].clone(), list["symbols"][0]["reason"].clone())
    };
    eventually("the reason of the refused one", || {
        (entry("BAD/USD") == ("awaited".into(), "refused".into())).then_some(())
    });
    assert_eq!(entry("MUTE/USD"), ("awaited".into(), "silent".into()));
    assert_eq!(entry("BTC/USD"), ("live".into(), Value::Null));
    assert_eq!(symbols(&daemon, "")["count"], 4);
    // The first tick ends the waiting.
    server.trade(Trade::new("MUTE/USD", "7", 2000, 1));
    await_health(&daemon, "MUTE/USD", "live");
    daemon.await_metric(r#"tickcast_symbols_by_health{health="awaited"}"#, 1.0);
}

/// Why a symbol has no forecast, as the daemon tells programs; `None` where it has one.
fn why_none(daemon: &Daemon, symbol: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(daemon.address()).unwrap();
    let path = format!("/v1/forecasts/{}", symbol.replace('/', "%2F"));
    let (version, host) = ("HTTP/1.1", daemon.address());
    write!(stream, "GET {path} {version}\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    if head.starts_with("HTTP/1.1 200 ") {
        assert_eq!(body["symbol"], symbol);
        return None;
    }
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    let is_problem = |line: &str| line.eq_ignore_ascii_case(PROBLEM_TYPE);
    assert!(head.lines().any(is_problem), "{head}");
    Some(body)
}

const PROBLEM_TYPE: &str = "content-type: application/problem+json";

#[test]
fn a_program_learns_why_a_symbol_has_no_forecast() {
    let sealed = bundle();
    let server = VenueServer::start("kraken");
    let folder = sealed.root.path().join("states");
    let symbols = ["BTC/USD", "ETH/USD", "MUTE/USD"];
    let settings = format!(
        "source.venue = 'kraken'\nsource.symbols = {symbols:?}\nsnapshot.folder = '{}'\n\
         source.limits.heartbeat_seconds_max = 600",
        folder.display()
    );
    let start = || Daemon::start(sealed.root.path(), "random", server.url(), &settings);
    let assert_problem = |daemon: &Daemon, symbol: &str, code: &str, title: &str, window: u64| {
        let problem = eventually(&format!("{code} of {symbol}"), || {
            why_none(daemon, symbol).filter(|problem| problem["code"] == code)
        });
        let expected = serde_json::json!({
            "type": format!("urn:tickcast:problem:{code}"), "title": title, "status": 404,
            "code": code, "detail": problem["detail"], "health": problem["health"],
            "window": window, "window_steps": 2,
        });
        assert_eq!(problem, expected, "{symbol}");
    };
    let daemon = start();
    server.await_subscribed(&symbols);
    for second in 1..=4_u32 {
        server.trade(Trade::new("BTC/USD", "7", i64::from(second) * 1000, second.into()));
    }
    server.trade(Trade::new("ETH/USD", "7", 1000, 1));
    await_health(&daemon, "ETH/USD", "live");
    eventually("a forecast", || why_none(&daemon, "BTC/USD").is_none().then_some(()));
    let window = why_none(&daemon, "ETH/USD").unwrap()["window"].as_u64().unwrap();
    assert!(window < 2, "{window}");
    let assert_others = |daemon: &Daemon| {
        assert_problem(daemon, "ETH/USD", "warming", "The window is not full", window);
        assert_problem(daemon, "MUTE/USD", "awaited", "The symbol has had no tick", 0);
        let unknown = why_none(daemon, "NONE/USD").unwrap();
        assert_eq!(
            (&unknown["code"], &unknown["window"]),
            (&"unknown_symbol".into(), &Value::Null)
        );
    };
    assert_others(&daemon);
    assert_eq!(daemon.stop().status.code(), Some(0));

    // The window comes back with the snapshot, and the forecasts of an earlier life do not.
    let daemon = start();
    eventually("the restored symbol", || health(&daemon, "BTC/USD"));
    let title = "There is no forecast since the start";
    assert_problem(&daemon, "BTC/USD", "no_forecast", title, 2);
    assert_others(&daemon);
    server.await_subscribed(&symbols);
    server.trade(Trade::new("BTC/USD", "7", 5000, 5));
    eventually("a forecast again", || why_none(&daemon, "BTC/USD").is_none().then_some(()));
}

/// Says ticks until a metric has a value.
fn say_until(
    feed: &ScriptedFeed,
    daemon: &Daemon,
    metric: &str,
    value: f64,
    say: &dyn Fn() -> String,
) {
    eventually(&format!("{metric} is {value}"), || {
        feed.say(say());
        (daemon.metric(metric) == value).then_some(())
    });
}

#[test]
fn a_daemon_that_refuses_every_tick_says_so_and_why() {
    const ALL_REFUSED: &str = "tickcast_ticks_all_refused";
    let sealed = bundle();
    let feed = ScriptedFeed::start();
    let daemon = Daemon::start(sealed.root.path(), "random", feed.url(), "engine.shards = 2");
    let ahead = |seconds: u64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let time = now.as_millis() as u64 + seconds * 1000;
        format!(r#"{{"symbol":"A","time":{time},"close":100,"volume":1}}"#)
    };
    feed.say(ahead(0));
    daemon.await_metric("tickcast_steps_total", 1.0);
    assert_eq!((daemon.get("/readyz").0, daemon.metric(ALL_REFUSED)), (200, 0.0));
    // The host clock is a minute and a half behind.
    say_until(&feed, &daemon, ALL_REFUSED, 1.0, &|| ahead(90));
    let (status, body) = daemon.get("/readyz");
    assert_eq!(status, 503);
    let seconds = body.split_once("the host clock is about ").unwrap().1.split(' ').next().unwrap();
    assert!((80..=90).contains(&seconds.parse::<u32>().unwrap()), "{body}");
    assert!(body.contains("ticks: every record is refused (in_future)"), "{body}");
    let measured = daemon.metric("tickcast_ticks_ahead_seconds");
    assert!((80.0..=90.0).contains(&measured), "{measured}");
    // One tick that is used ends it.
    feed.say(ahead(1));
    daemon.await_metric(ALL_REFUSED, 0.0);
    eventually("ready again", || (daemon.get("/readyz").0 == 200).then_some(()));
    // Any other reason is worth the same.
    let lacking = || r#"{"symbol":"A","time":1,"volume":1}"#.to_owned();
    say_until(&feed, &daemon, ALL_REFUSED, 1.0, &lacking);
    let (status, body) = daemon.get("/readyz");
    assert_eq!(status, 503);
    assert!(body.contains("ticks: every record is refused (missing_field)"), "{body}");
    let ended = daemon.stop();
    let warned: Vec<_> = ended
        .log
        .iter()
        .filter(|line| line["message"] == "records come and none is used: no forecast can be made")
        .collect();
    assert_eq!(warned.len(), 2, "{warned:#?}");
    assert!(warned.iter().all(|line| line["level"] == "WARN"));
    let clock = "behind the ticks; check time synchronization";
    assert!(warned[0]["problem"].as_str().unwrap().ends_with(clock), "{warned:#?}");
}
