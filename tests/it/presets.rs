//! Venues whose messages need more than a pointer: what their presets make of them, what they send,
//! and what `tickcast map` makes of recordings in shapes that were met on real feeds.

use std::fs;

use data_encoding::BASE64;
use tickcast::adapters::websocket::WebSocketSettings;
use tickcast::app::config::parse;
use tickcast::core::venue::FrameKind;

use crate::support::bundle::sealed;
use crate::support::process::{Daemon, eventually, run, tickcast};
use crate::support::venue::{Order, Trade, VenueServer, gzip};
use crate::venues::{
    acknowledged, assert_frames, expect, heartbeat, messages, native, refused, ticks,
};

#[test]
fn frames_of_bitstamp() {
    assert_frames(
        "bitstamp",
        &[
            ticks(
                "trade.json",
                &[(
                    "BTCUSD",
                    "2024-11-27T13:22:00.123456Z",
                    "93117.50",
                    "0.02150000",
                    "Number(378465342)",
                )],
            ),
            expect("acknowledged.json", acknowledged(None, &["live_trades_btcusd"])),
            expect("refused.json", refused("Bad subscription string.", None, &[], false)),
            expect("pong.json", FrameKind::Pong),
            expect("closing.json", FrameKind::Closing),
            expect("order.json", FrameKind::Other),
        ],
    );
}

#[test]
fn frames_of_bitfinex() {
    assert_frames(
        "bitfinex",
        &[
            expect("acknowledged.json", acknowledged(None, &["tBTCUSD"])),
            ticks(
                "snapshot.json",
                // The oldest first, though the venue sends the newest first; a sale is no negative
                // volume.
                &[
                    ("BTCUSD", "2019-11-25T15:07:58.800Z", "7245.2", "0.5", "Number(401597394)"),
                    ("BTCUSD", "2019-11-25T15:07:58.808Z", "7245.3", "0.005", "Number(401597395)"),
                ],
            ),
            ticks(
                "executed.json",
                &[("BTCUSD", "2019-11-25T15:07:59.808Z", "7245.4", "0.005", "Number(401597396)")],
            ),
            ticks(
                "sale.json",
                &[("BTCUSD", "2019-11-25T15:08:00.808Z", "7245.5", "0.25", "Number(401597397)")],
            ),
            expect("updated.json", heartbeat(None)),
            expect("heartbeat.json", heartbeat(None)),
            expect("info.json", FrameKind::Other),
            expect("restart.json", FrameKind::Closing),
            expect("refused.json", refused("symbol: invalid", None, &["tFOOBAR"], false)),
            expect(
                "refused_for_channels.json",
                refused("channels: limit", None, &["tETHUSD"], true),
            ),
            expect("pong.json", FrameKind::Pong),
        ],
    );
}

#[test]
fn frames_of_gemini() {
    assert_frames(
        "gemini",
        &[
            ticks(
                "snapshot.json",
                &[
                    (
                        "BTCUSD",
                        "2019-06-19T20:33:20.428Z",
                        "9122.04",
                        "0.0073173",
                        "Number(2840140800042677)",
                    ),
                    (
                        "BTCUSD",
                        "2019-06-19T20:33:20.500Z",
                        "9122.10",
                        "0.5",
                        "Number(2840140800042678)",
                    ),
                ],
            ),
            ticks(
                "trade.json",
                &[(
                    "BTCUSD",
                    "2019-06-19T20:33:21Z",
                    "9004.21000000",
                    "0.09110000",
                    "Number(2840140800042679)",
                )],
            ),
            expect("update.json", heartbeat(None)),
            expect("heartbeat.json", heartbeat(None)),
            expect("refused.json", refused("InvalidJson", None, &[], false)),
        ],
    );
}

#[test]
fn frames_of_gate() {
    let unknown = "unknown currency pair GIBBERISH_USD";
    assert_frames(
        "gate",
        &[
            ticks(
                "trade.json",
                &[(
                    "GT_USDT",
                    "2020-11-25T08:16:58.213457800Z",
                    "0.4705000000",
                    "16.4700000000",
                    "Number(309143071)",
                )],
            ),
            expect("acknowledged.json", acknowledged(Some(1), &[])),
            expect("refused.json", refused(unknown, Some(2), &[], false)),
            expect("pong.json", FrameKind::Pong),
        ],
    );
}

#[test]
fn frames_of_htx() {
    let invalid = "invalid topic market.foo.trade.detail";
    let answer = r#"{"pong":1492420473027}"#.to_owned();
    assert_frames(
        "htx",
        &[
            ticks(
                "trades.json",
                &[
                    (
                        "BTCUSDT",
                        "2021-09-07T06:09:23.173Z",
                        "52648.62",
                        "0.006754",
                        "Number(102523573486)",
                    ),
                    (
                        "BTCUSDT",
                        "2021-09-07T06:09:23.173Z",
                        "52648.7",
                        "1.98E-4",
                        "Number(102523573487)",
                    ),
                ],
            ),
            expect("ping.json", FrameKind::Ping { answer }),
            expect("acknowledged.json", acknowledged(Some(1), &[])),
            expect("refused.json", refused(invalid, Some(2), &[], false)),
            expect("refused_for_rate.json", refused("exceed the limit", Some(3), &[], true)),
        ],
    );
}

#[test]
fn frames_of_alpaca() {
    assert_frames(
        "alpaca",
        &[
            ticks(
                "trades.json",
                &[
                    ("AAPL", "2021-02-22T15:51:44.208123456Z", "126.55", "1", "Number(96921)"),
                    ("MSFT", "2021-02-22T15:51:44.4Z", "240.1", "100", "Number(96923)"),
                ],
            )
            .skipping(1),
            expect("connected.json", FrameKind::Ticks { mapped: 0, skipped: 1 }),
            expect("authenticated.json", acknowledged(None, &[])),
            expect("acknowledged.json", acknowledged(None, &["AAPL", "MSFT"])),
            expect("refused.json", refused("auth failed", None, &[], false)),
        ],
    );
}

/// What a preset sends to subscribe to two symbols.
fn sent(name: &str, symbols: [&str; 2], secrets: &str) -> Vec<String> {
    let text =
        format!("model.name = 'm'\n[source]\nvenue = '{name}'\nsymbols = {symbols:?}\n{secrets}");
    let config = parse(&text).unwrap();
    let feed = config.source.of::<WebSocketSettings>().unwrap();
    let [connection] = &*feed.connections else { panic!("{name}: one connection") };
    let rate = feed.venue.limits().messages.unwrap();
    assert!(connection.plan.subscribe.len() <= rate.count as usize, "{name}");
    messages(&connection.plan.subscribe).into_iter().map(str::to_owned).collect()
}

#[test]
fn each_preset_asks_in_its_venues_own_words() {
    let channel = |symbol: &str| {
        format!(r#"{{"event":"bts:subscribe","data":{{"channel":"live_trades_{symbol}"}}}}"#)
    };
    assert_eq!(sent("bitstamp", ["BTCUSD", "ethusd"], ""), ["btcusd", "ethusd"].map(channel));
    let trades =
        |symbol: &str| format!(r#"{{"event":"subscribe","channel":"trades","symbol":"{symbol}"}}"#);
    let symbols = ["tBTCUSD", "tETHUSD"];
    assert_eq!(sent("bitfinex", symbols, ""), symbols.map(trades));
    assert_eq!(
        sent("gemini", ["BTCUSD", "ETHUSD"], ""),
        [concat!(
            r#"{"type":"subscribe","subscriptions":"#,
            r#"[{"name":"l2","symbols":["BTCUSD","ETHUSD"]}]}"#
        )]
    );
    assert_eq!(
        sent("gate", ["BTC_USDT", "ETH_USDT"], ""),
        [concat!(
            r#"{"time":{time},"id":1,"channel":"spot.trades","event":"subscribe","#,
            r#""payload":["BTC_USDT","ETH_USDT"]}"#
        )]
    );
    assert_eq!(
        sent("htx", ["btcusdt", "ETHUSDT"], ""),
        [
            r#"{"sub":"market.btcusdt.trade.detail","id":"1"}"#,
            r#"{"sub":"market.ethusdt.trade.detail","id":"2"}"#
        ]
    );
    let folder = tempfile::tempdir().unwrap();
    let (key, secret) = (folder.path().join("key"), folder.path().join("secret"));
    fs::write(&key, "K\n").unwrap();
    fs::write(&secret, "S\n").unwrap();
    let secrets = format!(
        "secrets.alpaca_key_file = '{}'\nsecrets.alpaca_secret_file = '{}'\n",
        key.display(),
        secret.display()
    );
    assert_eq!(
        sent("alpaca", ["AAPL", "MSFT"], &secrets),
        [
            r#"{"action":"auth","key":"{secret:alpaca_key}","secret":"{secret:alpaca_secret}"}"#,
            r#"{"action":"subscribe","trades":["AAPL","MSFT"]}"#
        ]
    );
}

#[test]
fn a_daemon_forecasts_on_each_preset() {
    const WINDOW: i64 = 5;
    const TRADES: i64 = 12;
    let sealed = sealed(37, WINDOW as u32, &[4]);
    let folder = tempfile::tempdir().unwrap();
    let (key, secret) = (folder.path().join("key"), folder.path().join("secret"));
    fs::write(&key, "PK-1234\n").unwrap();
    fs::write(&secret, "hunter2-\"quoted\"\n").unwrap();
    let secrets = format!(
        "source.secrets.alpaca_key_file = '{}'\nsource.secrets.alpaca_secret_file = '{}'\n",
        key.display(),
        secret.display()
    );
    for (venue, symbols, native, extra) in [
        ("bitstamp", ["BTCUSD", "ETHUSD"], ["BTCUSD", "ETHUSD"], ""),
        ("bitfinex", ["tBTCUSD", "tETHUSD"], ["BTCUSD", "ETHUSD"], ""),
        ("gemini", ["BTCUSD", "ETHUSD"], ["BTCUSD", "ETHUSD"], ""),
        ("gate", ["BTC_USDT", "ETH_USDT"], ["BTC_USDT", "ETH_USDT"], ""),
        ("htx", ["BTCUSDT", "ETHUSDT"], ["BTCUSDT", "ETHUSDT"], ""),
        ("alpaca", ["AAPL", "MSFT"], ["AAPL", "MSFT"], &*secrets),
    ] {
        let server = VenueServer::start(venue);
        let settings = format!(
            "source.venue = '{venue}'\nsource.symbols = {symbols:?}\nengine.shards = 2\n{extra}"
        );
        let daemon = Daemon::start(sealed.root.path(), "random", server.url(), &settings);
        server.await_subscribed(&symbols);
        for index in 0..TRADES {
            let trade = |symbol: &str| {
                let price = format!("{}.50", 100 + index % 7);
                let mut trade = Trade::new(symbol, &price, 1000 * (index + 1), index as u64);
                if venue == "bitfinex" {
                    trade.volume = "-1".to_owned();
                }
                trade
            };
            server.act(&Order::Trades(symbols.map(trade).to_vec()));
        }
        daemon.await_metric("tickcast_ticks_total", (2 * TRADES) as f64);
        let received = || server.received().concat();
        if venue == "htx" {
            server.act(&Order::Say(r#"{"ping":1700000000000}"#.to_owned()));
            eventually("the answer to a ping", || {
                received().iter().any(|text| text == r#"{"pong":1700000000000}"#).then_some(())
            });
        }
        if venue == "gate" {
            let now = |text: &String| {
                serde_json::from_str::<serde_json::Value>(text).unwrap()["time"].as_i64()
            };
            assert!(received().iter().all(|text| now(text) > Some(1_700_000_000)));
        }
        if venue == "alpaca" {
            let auth =
                r#"{"action":"auth","key":"PK-1234","secret":"hunter2-\"quoted\""}"#.to_owned();
            assert_eq!(received()[0], auth);
        }
        let ended = daemon.stop();
        assert_eq!(ended.drained("refused"), 0, "{venue}");
        assert_eq!(ended.drained("steps"), 2 * TRADES as u64, "{venue}");
        for symbol in native {
            let symbol = format!("\"symbol\":\"{symbol}\"");
            let forecasts = ended.lines.lines().filter(|line| line.contains(&symbol)).count();
            assert_eq!(forecasts as i64, TRADES - WINDOW, "{venue} {symbol}");
        }
    }
}

#[test]
fn a_secret_is_read_for_each_connection_and_is_in_no_log() {
    let sealed = sealed(43, 5, &[4]);
    let folder = tempfile::tempdir().unwrap();
    let (key, secret) = (folder.path().join("key"), folder.path().join("secret"));
    fs::write(&key, "PK-old\n").unwrap();
    fs::write(&secret, "hunter2\n").unwrap();
    let server = VenueServer::start("alpaca");
    let settings = format!(
        "source.venue = 'alpaca'\nsource.symbols = ['AAPL']\nsource.backoff_seconds_max = 1\n\
         source.secrets.alpaca_key_file = '{}'\nsource.secrets.alpaca_secret_file = '{}'\n\
         log.level = 'debug'\n",
        key.display(),
        secret.display()
    );
    let url = format!("{}/v2?token={{secret:alpaca_key}}", server.url());
    let daemon = Daemon::start(sealed.root.path(), "random", &url, &settings);
    server.await_subscribed(&["AAPL"]);
    let words = r#"[{"T":"error","code":402,"msg":"auth failed for PK-old hunter2"}]"#;
    server.act(&Order::Say(words.to_owned()));
    server.trade(Trade::new("AAPL", "1", 1000, 1));
    daemon.await_metric("tickcast_ticks_total", 1.0);
    fs::write(&key, "PK-new\n").unwrap();
    server.act(&Order::Break);
    let auth = eventually("the next connection", || server.received().get(1)?.first().cloned());
    assert_eq!(auth, r#"{"action":"auth","key":"PK-new","secret":"hunter2"}"#);
    let ended = daemon.stop();
    let log = format!("{:?}", ended.log);
    let shown = "auth failed for {secret:alpaca_key} {secret:alpaca_secret}";
    assert!(log.contains(shown), "{log}");
    for secret in ["PK-old", "PK-new", "hunter2"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    // `config show` names the files, and no connection is made without them.
    let config = folder.path().join("config.toml");
    fs::write(&config, format!("model.name = 'm'\n{settings}")).unwrap();
    let config = config.display().to_string();
    let shown = String::from_utf8(run(&["config", "show", "-c", &config]).stdout).unwrap();
    assert!(shown.contains(&*key.display().to_string()), "{shown}");
    assert!(shown.contains("{secret:alpaca_key}") && !shown.contains("PK-new"), "{shown}");
    fs::remove_file(&key).unwrap();
    let output = run(&["check", "-c", &config]);
    assert_eq!(output.status.code(), Some(78));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("source.secrets.alpaca_key_file: "), "{told}");
}

#[test]
fn symbols_of_77_digits_and_with_commas_are_asked_for_by_name() {
    const WINDOW: i64 = 3;
    let sealed = sealed(47, WINDOW as u32, &[4]);
    let folder = tempfile::tempdir().unwrap();
    let long = "7".repeat(77);
    let symbols = [&*long, "A,B", "plain"];
    let settings = format!(
        "source.venue = 'gate'\nsource.symbols = {symbols:?}\nsnapshot.folder = '{}'\n",
        folder.path().display()
    );
    let answer = |daemon: &Daemon, query: &str| {
        let (status, body) = daemon.get(&format!("/v1/symbols?{query}"));
        assert_eq!(status, 200, "{body}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let names = body["symbols"].as_array().unwrap().iter();
        names.map(|one| one["symbol"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut id = 0;
    let mut trade_until_forecast = |server: &VenueServer, daemon: &Daemon, count: i64| {
        for _ in 0..count {
            id += 1;
            let trade = |symbol: &str| Trade::new(symbol, &format!("{id}.5"), 1000 * id, id as u64);
            server.act(&Order::Trades(symbols.map(trade).to_vec()));
        }
        daemon.await_metric("tickcast_ticks_total", 3.0 * count as f64);
    };
    let server = VenueServer::start("gate");
    let daemon = Daemon::start(sealed.root.path(), "random", server.url(), &settings);
    server.await_subscribed(&symbols);
    trade_until_forecast(&server, &daemon, WINDOW + 1);
    eventually("the symbols", || (answer(&daemon, "").len() == 3).then_some(()));
    assert_eq!(answer(&daemon, &format!("symbols={long}")), [&*long]);
    assert_eq!(answer(&daemon, "symbol=A%2CB"), ["A,B"]);
    assert_eq!(answer(&daemon, &format!("symbols=plain,{long}&symbol=A,B")).len(), 3);
    // A comma in a list separates, also an encoded one.
    assert!(answer(&daemon, "symbols=A%2CB").is_empty());
    for name in [&*long, "A%2CB"] {
        let (status, body) = daemon.get(&format!("/v1/forecasts/{name}"));
        assert_eq!(status, 200, "{name}: {body}");
    }
    assert_eq!(daemon.stop().drained("forecasts"), 3);
    // Their states outlive the process.
    let daemon = Daemon::start(sealed.root.path(), "random", server.url(), &settings);
    server.await_subscribed(&symbols);
    trade_until_forecast(&server, &daemon, 1);
    let ended = daemon.stop();
    assert_eq!(ended.drained("forecasts"), 3, "the windows go on");
    assert!(ended.lines.contains(&format!("\"symbol\":\"{long}\"")), "{}", ended.lines);
}

/// What `tickcast map` makes of lines under a venue's file: the ticks, and what it says.
fn map(venue: &str, lines: &[&str]) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let (file, input) = (folder.path().join("venue.toml"), folder.path().join("messages.jsonl"));
    fs::write(&file, venue).unwrap();
    fs::write(&input, lines.join("\n")).unwrap();
    let mut command = tickcast();
    command.args(["map", "--venue"]).arg(&file).arg("--input").arg(&input);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

const NEWEST_FIRST: &str = r#"
url = "wss://feed.example"
[mapping]
each = "/rows/*"
symbol = "/pair"
time = "0"
time_unit = "rfc3339"
price = "1"
volume = "2"
[mapping.when]
"/channel" = "trades"
"#;

#[test]
fn rows_with_the_newest_first_are_six_steps_in_order() {
    let row = |second: u32| format!(r#"["2024-01-02T00:00:0{second}Z","100.{second}","1"]"#);
    let frame = |seconds: [u32; 3]| {
        let rows = seconds.map(row).join(",");
        format!(r#"{{"channel":"trades","pair":"AAA-USD","rows":[{rows}]}}"#)
    };
    let frames = [frame([3, 2, 1]), frame([6, 5, 4])];
    let frames = [&*frames[0], &*frames[1]];
    let expected: String = (1..=6)
        .map(|second| {
            let (time, price) = (format!("2024-01-02T00:00:0{second}Z"), format!("100.{second}"));
            native("AAA-USD", &time, &price, "1") + "\n"
        })
        .collect();
    let sealed = sealed(41, 2, &[4]);
    for (order, rises) in [("frame", false), ("reverse", true), ("time", true)] {
        let venue = NEWEST_FIRST.replace("[mapping]", &format!("[mapping]\norder = '{order}'"));
        let (ticks, told) = map(&venue, &frames);
        assert_eq!(ticks == expected, rises, "{order}: {ticks}");
        assert!(told.starts_with("2 messages: 2 with 6 ticks (0 of them refused"), "{told}");
        // The same ticks through the daemon's pipeline.
        let input = sealed.root.path().join("ticks.jsonl");
        fs::write(&input, &ticks).unwrap();
        let config = sealed.root.path().join("replay.toml");
        let root = sealed.root.path().display();
        let text = format!(
            "[source]\nkind = 'file'\npath = 'x.jsonl'\n[model]\nroot = '{root}'\nname = 'random'\n"
        );
        fs::write(&config, text).unwrap();
        let (config, input) = (config.display().to_string(), input.display().to_string());
        let output = run(&["replay", "-c", &config, "--input", &input, "--output", "-"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(told.contains("out_of_order"), !rises, "{order}: {told}");
        assert_eq!(told.contains("6 steps"), rises, "{order}: {told}");
    }
}

#[test]
fn sales_of_signed_amounts_are_ticks() {
    let venue = r#"
url = "wss://api-pub.bitfinex.com/ws/2"
[mapping]
symbol = "=BTCUSD"
time = "/2/1"
price = "/2/3"
volume = "/2/2"
trade_id = "/2/0"
[mapping.when]
"/1" = "te"
"#;
    let lines = [
        r#"{"event":"subscribed","channel":"trades","chanId":17470,"symbol":"tBTCUSD"}"#,
        r#"[17470,"te",[401597396,1574694479808,0.005,7245.4]]"#,
        r#"[17470,"te",[401597397,1574694480808,-0.25,7245.5]]"#,
        r#"[17470,"tu",[401597397,1574694480808,-0.25,7245.5]]"#,
    ];
    let (ticks, told) = map(venue, &lines);
    assert_eq!(ticks.lines().count(), 2);
    assert!(told.contains("negative"), "{told}");
    let with_abs = venue.replace("[mapping]", "[mapping]\nabs = ['volume']");
    let (ticks, told) = map(&with_abs, &lines);
    let expected = [
        native("BTCUSD", "2019-11-25T15:07:59.808Z", "7245.4", "0.005"),
        native("BTCUSD", "2019-11-25T15:08:00.808Z", "7245.5", "0.25"),
    ];
    assert_eq!(ticks, expected.join("\n") + "\n");
    assert!(
        told.ends_with(
            "2 with 2 ticks (0 of them refused, 0 more left out), 2 others, 0 malformed\n"
        )
    );
}

#[test]
fn compressed_messages_pings_and_texts_of_json_are_mapped() {
    let venue = r#"
url = "wss://feed.example"
compression = "auto"
message_bytes_max = 2048
record_bytes_max = 1024
[mapping]
each = "/data/{json}/rows/*"
symbol = "/data/{json}/s"
time = "t"
price = "p"
volume = "v"
[mapping.scale]
volume = 1e-8
[mapping.when]
"/data" = "*"
[frames.ping]
answer = '{"pong":{value}}'
value = "/ping"
[frames.ping.when]
"/ping" = "*"
"#;
    let inner = r#"{"s":"A,B","rows":[{"t":1000,"p":"1.50","v":123456}]}"#;
    let frame = serde_json::json!({ "data": inner }).to_string();
    let binary = |text: &str| format!("base64:{}", BASE64.encode(&gzip(text.as_bytes())));
    let bomb = binary(&" ".repeat(1 << 20));
    let lines = [
        &*frame,
        &binary(&frame),
        &binary(r#"{"ping":1700000000000}"#),
        r#"{"ping":17}"#,
        &bomb,
        "base64:!",
        "base64:H4sIAAAA",
    ];
    let (ticks, told) = map(venue, &lines);
    let tick = native("A,B", "1970-01-01T00:00:01Z", "1.50", "0.00123456") + "\n";
    assert_eq!(ticks, tick.repeat(2));
    let expected = [
        "line 3: ping, answered with {\"pong\":1700000000000}",
        "line 4: ping, answered with {\"pong\":17}",
        "line 5: malformed: the message is too long: more than 2048 bytes when decompressed",
        "line 6: malformed: ",
        "line 7: malformed: not UTF-8; if the feed compresses its messages, set source.compression",
        "7 messages: 2 with 2 ticks (0 of them refused, 0 more left out), 2 others, 3 malformed",
    ];
    let told: Vec<_> = told.lines().collect();
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}");
    }
}

#[test]
fn a_recording_of_bitfinex_is_mapped_with_its_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("messages.jsonl");
    let lines = [
        r#"[17470,"te",[401597393,1574694478000,0.005,7245.1]]"#,
        r#"{"event":"subscribed","channel":"trades","chanId":17470,"symbol":"tBTCUSD"}"#,
        r#"[17470,[[401597395,1574694478808,0.005,7245.3],[401597394,1574694478800,-0.5,7245.2]]]"#,
        r#"[17470,"te",[401597396,1574694479808,-0.005,7245.4]]"#,
    ];
    fs::write(&input, lines.join("\n")).unwrap();
    let output = run(&["map", "--venue", "bitfinex", "--input", input.to_str().unwrap()]);
    let ticks = String::from_utf8(output.stdout).unwrap();
    let nobody = r#"{"time":"2019-11-25T15:07:58Z","price":7245.1,"volume":0.005}"#.to_owned();
    let expected = [
        nobody.clone(),
        native("BTCUSD", "2019-11-25T15:07:58.800Z", "7245.2", "0.5"),
        native("BTCUSD", "2019-11-25T15:07:58.808Z", "7245.3", "0.005"),
        native("BTCUSD", "2019-11-25T15:07:59.808Z", "7245.4", "0.005"),
    ];
    assert_eq!(ticks, expected.join("\n") + "\n");
    let told = String::from_utf8(output.stderr).unwrap();
    let refused = format!("line 1: the decoder refuses {nobody}: missing_symbol `symbol`\n");
    assert!(told.starts_with(&refused), "{told}");
}
