//! How symbols are, as the daemon tells it.

use serde_json::Value;

use crate::support::bundle::{SealedBundle, sealed_with};
use crate::support::feed::{Act, ScriptedFeed};
use crate::support::process::{Daemon, eventually};

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
    // Any silence of a second is stale at once.
    let settings = "health.quiet_seconds_min = 1\nhealth.stale_seconds_min = 1\n\
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
        "symbol": "A", "health": "live", "newest_tick": "1970-01-01T00:00:04Z", "steps": 5,
        "window": 2, "window_steps": 2, "quality": "gapped",
        "last_gap": "1970-01-01T00:00:04Z",
    });
    assert_eq!(list["symbols"], serde_json::json!([expected]));
    assert_eq!((&list["count"], &list["left_off"]), (&1.into(), &0.into()));
    drop(feed);
    for symbol in ["A", "B", "C"] {
        await_health(&daemon, symbol, "dead");
    }
    let by_health = |health: &str| {
        daemon.metric(&format!(r#"tickcast_symbols_by_health{{health="{health}"}}"#))
    };
    let counts = || ["live", "quiet", "stale", "dead"].map(by_health);
    eventually("all are dead", || (counts() == [0.0, 0.0, 0.0, 3.0]).then_some(()));
    let all = symbols(&daemon, "");
    let names: Vec<_> =
        all["symbols"].as_array().unwrap().iter().map(|row| &row["symbol"]).collect();
    assert_eq!(names, ["A", "B", "C"]);
    assert!(all["age_ms"].as_u64().unwrap() < 60_000, "{all}");
    let (status, body) = daemon.get("/v1/symbols?symbol=A");
    assert_eq!((status, &*body), (400, "unknown parameter; there is `symbols`, once\n"));
    let ended = daemon.stop();
    let silent = ended.log.iter().filter(|line| line["message"] == "symbols have fallen silent");
    assert!((1..=20).contains(&silent.count()), "few lines: {:#?}", ended.log);
}
