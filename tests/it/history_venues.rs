//! Warm starts with the presets of three exchanges: their streams and their history, both of a
//! server of these tests, and what a replay of both in one file says.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tickcast::app::config::VENUES;
use tickcast::core::domain::UnixNanos;

use crate::support::history::{Asked, Bar, HistoryServer, Reaction};
use crate::support::minutes::{
    MINUTE_MS, NEEDED_ROWS, await_state, bar, bundle, given_up, last, of_symbol, qualities, replay,
    rows, tick, ticks, time_ms, trades,
};
use crate::support::process::Daemon;
use crate::support::venue::{Order, Trade, VenueServer};

/// The minute in whose middle the stream begins.
const SEAM: i64 = NEEDED_ROWS + 3;

/// The minute in which it ends.
const END: i64 = SEAM + 4;

/// An exchange with history.
struct Exchange {
    name: &'static str,
    symbol: &'static str,
    /// What the path of a question for history begins with.
    path: &'static str,
    /// What its answer is, of bars with the oldest first, the last of which is not finished.
    answer: fn(&Asked, &[Bar]) -> String,
}

const EXCHANGES: [Exchange; 3] = [
    Exchange {
        name: "binance",
        symbol: "BTCUSDT",
        path: "/api/v3/klines?symbol=BTCUSDT&interval=1m&",
        answer: of_binance,
    },
    Exchange {
        name: "kraken",
        symbol: "BTC/USD",
        path: "/0/public/OHLC?pair=BTC%2FUSD&interval=1",
        answer: of_kraken,
    },
    Exchange {
        name: "coinbase",
        symbol: "BTC-USD",
        path: "/products/BTC-USD/candles?granularity=60&",
        answer: of_coinbase,
    },
];

/// The bars of a range, both ends included.
fn within(bars: &[Bar], from_ms: i64, to_ms: i64) -> impl DoubleEndedIterator<Item = &Bar> {
    bars.iter().filter(move |bar| (from_ms..=to_ms).contains(&bar.time_ms))
}

fn of_binance(asked: &Asked, bars: &[Bar]) -> String {
    let [from, to] = ["startTime", "endTime"].map(|name| asked.parameter(name).parse().unwrap());
    let rows = within(bars, from, to).map(|bar| {
        let Bar { time_ms, open, high, low, close, volume } = bar;
        let end_ms = time_ms + MINUTE_MS - 1;
        format!(r#"[{time_ms},"{open}","{high}","{low}","{close}","{volume}",{end_ms},"9",3]"#)
    });
    format!("[{}]", rows.collect::<Vec<_>>().join(","))
}

/// Whatever is asked for, the newest bars.
fn of_kraken(_: &Asked, bars: &[Bar]) -> String {
    let rows = bars.iter().map(|bar| {
        let Bar { time_ms, open, high, low, close, volume } = bar;
        let time = time_ms / 1000;
        format!(r#"[{time},"{open}","{high}","{low}","{close}","{open}","{volume}",3]"#)
    });
    let rows = rows.collect::<Vec<_>>().join(",");
    format!(r#"{{"error":[],"result":{{"XXBTZUSD":[{rows}],"last":0}}}}"#)
}

/// The newest first.
fn of_coinbase(asked: &Asked, bars: &[Bar]) -> String {
    let [from, to] = ["start", "end"].map(|name| {
        let time = UnixNanos::parse(&asked.parameter(name).replace("%3A", ":")).unwrap();
        time.as_nanos() / 1_000_000
    });
    let rows = within(bars, from, to).rev().map(|bar| {
        let Bar { time_ms, open, high, low, close, volume } = bar;
        format!("[{},{low},{high},{open},{close},{volume}]", time_ms / 1000)
    });
    format!("[{}]", rows.collect::<Vec<_>>().join(","))
}

/// What a venue has while a minute is under way, of which there is the first trade alone.
fn bars_at(symbol: &str, minute: i64) -> Vec<Bar> {
    let (_, price, volume) = trades(symbol, minute)[0];
    let open = Bar::flat(time_ms(minute), &price.to_string(), &volume.to_string());
    (0..minute).map(|minute| bar(symbol, minute)).chain([open]).collect()
}

/// A trade as the venue's stream has it; its ids have no hole.
fn trade(symbol: &str, minute: i64, part: usize) -> Trade {
    let (offset, price, volume) = trades(symbol, minute)[part];
    let id = u64::try_from(minute * 3).unwrap() + part as u64 + 1;
    let time_ms = time_ms(minute) + offset;
    Trade { volume: volume.to_string(), ..Trade::new(symbol, &price.to_string(), time_ms, id) }
}

/// The address of a preset's history, on another server.
fn history_url(venue: &str, server: &HistoryServer) -> String {
    let (_, preset) = VENUES.iter().find(|(name, _)| *name == venue).unwrap();
    let (_, rest) = preset.split_once("\n[rest]\n").unwrap();
    let url = rest.lines().find_map(|line| line.strip_prefix("url = \"https://")).unwrap();
    let (_, target) = url.strip_suffix('"').unwrap().split_once('/').unwrap();
    format!("http://{}/{target}", server.address())
}

#[test]
fn presets_of_three_exchanges_start_warm_with_the_bytes_of_one_recording() {
    let sealed = bundle();
    for Exchange { name, symbol, path, answer } in EXCHANGES {
        // The minute that is under way at the venue.
        let minute = Arc::new(AtomicI64::new(SEAM));
        let history = HistoryServer::answering({
            let minute = Arc::clone(&minute);
            move |asked| {
                let bars = bars_at(symbol, minute.load(Ordering::Acquire));
                Reaction::Say(answer(asked, &bars))
            }
        });
        let stream = VenueServer::start(name);
        let url = history_url(name, &history);
        let settings = format!(
            "source.venue = '{name}'\nsource.symbols = ['{symbol}']\n\
             source.idle_seconds_max = 600\nsource.limits.heartbeat_seconds_max = 600\n\
             source.rest.url = '{url}'\nhistory.rest = true\nhistory.ask = 'first_tick'\n\
             backfill.wait_ms = 60000\n"
        );
        let daemon = Daemon::start(sealed.root.path(), "random", stream.url(), &settings);
        stream.await_subscribed(&[symbol]);
        stream.trade(trade(symbol, SEAM, 1));
        daemon.await_metric("tickcast_forecasts_total", 1.0);
        let entry = await_state(&daemon, symbol, "warm");
        assert_eq!(entry["history"]["from"], "rest", "{name}");
        stream.trade(trade(symbol, SEAM, 2));
        for live in SEAM + 1..END {
            minute.store(live, Ordering::Release);
            let trades = [0, 1, 2].map(|part| trade(symbol, live, part));
            stream.act(&Order::Trades(trades.to_vec()));
        }
        minute.store(END, Ordering::Release);
        stream.trade(trade(symbol, END, 0));
        daemon.await_metric("tickcast_forecasts_total", 5.0);
        // The bar under way at the seam is the only one that live ticks did not have whole.
        assert_eq!(daemon.metric("tickcast_backfill_filled_steps_total"), 1.0, "{name}");
        assert_eq!(given_up(&daemon), 0.0, "{name}");
        let asked = history.asked();
        assert_eq!(asked.len(), 2, "{name}: {asked:?}");
        assert!(asked.iter().all(|asked| asked.target.starts_with(path)), "{name}: {asked:?}");
        let ended = daemon.stop();
        assert_eq!(ended.drained("refused"), 0, "{name}");

        let known = rows(symbol, SEAM - NEEDED_ROWS..SEAM);
        let whole = [known, ticks(symbol, SEAM..END), vec![tick(symbol, END, 0)]].concat();
        let said = of_symbol(&ended.lines, symbol);
        assert_eq!(said, last(&replay(&sealed, &whole), symbol, 5), "{name}");
        assert_eq!(qualities(&said), ["full"; 5], "{name}");
    }
}
