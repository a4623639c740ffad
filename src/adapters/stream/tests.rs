//! The stream over real sockets.

use futures_util::{SinkExt, StreamExt};
use prometheus::Registry;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::*;
use crate::engine::wire::score::{ScoreTemplate, UnencodedScore, samples};
use crate::ports::sink::Sink;

type Client = WebSocketStream<TcpStream>;

const STREAM: StreamId = StreamId(0xabc);

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn hub_with(subscribers_max: usize, lag_records_max: usize, patience: Patience) -> StreamHub {
    let metrics = StreamMetrics::register(&Registry::new()).unwrap();
    let limits = StreamLimits {
        subscribers_max,
        subscribers_per_address_max: subscribers_max,
        lag_records_max,
        symbols_max: 8,
    };
    StreamHub::with_patience(limits, STREAM, patience, metrics)
}

/// A stream that waits for a test longer than any test takes.
fn hub(subscribers_max: usize, lag_records_max: usize) -> StreamHub {
    let long = Duration::from_secs(600);
    let patience =
        Patience { ping_every: long, answer_within: long, write_within: long, close_within: long };
    hub_with(subscribers_max, lag_records_max, patience)
}

/// A subscriber over a real socket, its handshake done, and the task that serves it.
async fn subscribe(hub: &StreamHub, symbols: &str) -> (Client, JoinHandle<()>) {
    subscribe_as(hub, Wish { filter: SymbolFilter::parse(symbols).unwrap(), ..Wish::all() }).await
}

async fn subscribe_as(hub: &StreamHub, wish: Wish) -> (Client, JoinHandle<()>) {
    let subscription = hub.subscribe(wish, ADDRESS).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    // Small, so that a peer that does not read is felt soon.
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let client = socket.connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, peer) = listener.accept().await.unwrap();
    let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    (client, tokio::spawn(subscription.serve(server, Bytes::new(), peer)))
}

fn symbol(name: &str) -> Symbol {
    Symbol::new(name).unwrap()
}

async fn next(client: &mut Client) -> Message {
    client.next().await.unwrap().unwrap()
}

/// What the server says up to its close frame, answered, and the frame's code and reason.
async fn rest(client: &mut Client) -> (Vec<Message>, Option<(CloseCode, String)>) {
    let mut messages = Vec::new();
    while let Some(Ok(message)) = client.next().await {
        match message {
            Message::Close(frame) => {
                while client.next().await.is_some() {}
                return (messages, frame.map(|frame| (frame.code, frame.reason.to_string())));
            }
            other => messages.push(other),
        }
    }
    (messages, None)
}

fn close(code: CloseCode, reason: &str) -> Option<(CloseCode, String)> {
    Some((code, reason.to_owned()))
}

/// Keeps a broken test from hanging for ever; never part of what is asserted.
async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), work).await.expect("the test ends")
}

#[tokio::test]
async fn a_score_is_encoded_when_somebody_asks_for_it() {
    within(async {
        let live = hub(3, 1024);
        let limits = StreamLimits {
            subscribers_max: 3,
            subscribers_per_address_max: 3,
            lag_records_max: 16,
            symbols_max: 8,
        };
        let scores = live.beside(limits, StreamId(1), Records::Scores);
        let mut sink = scores.as_score_sink().sink;
        let needs = |sink: &dyn Sink| sink.needs_score_bytes();
        assert!(!needs(&*sink) && !needs(&*live.as_sink().sink));
        let template = ScoreTemplate { record: samples::template(), rival: None };
        let (symbol, score) = (symbol("A"), samples::score());
        let score = UnencodedScore { symbol: symbol.clone(), score, template: Arc::new(template) };
        let mut expected = Vec::new();
        score.encode(&mut expected);
        sink.keep_score(&Arc::new(score), 0);
        sink.flush();
        assert_eq!(scores.newest(&symbol, None).unwrap(), expected);
        let mut each = Vec::new();
        scores.each_newest(None, |symbol, record| each.push((symbol.clone(), record())));
        assert_eq!(each, [(symbol, expected.clone().into())]);
        // Who comes later gets what was there before.
        let wish = Wish { snapshot: true, records: Records::Scores, ..Wish::all() };
        let (mut client, _) = subscribe_as(&scores, wish).await;
        assert_eq!(next(&mut client).await.into_data(), expected);
        assert!(needs(&*sink) && !needs(&*live.as_sink().sink), "somebody listens");
    })
    .await;
}

#[test]
fn a_filter_is_a_list_of_symbols() {
    let only = |names: &[&str]| SymbolFilter::Only(names.iter().map(|name| symbol(name)).collect());
    assert_eq!(SymbolFilter::parse(""), Ok(SymbolFilter::All));
    assert_eq!(SymbolFilter::parse("AAPL,BRK.B,AAPL"), Ok(only(&["AAPL", "BRK.B"])));
    assert_eq!(SymbolFilter::parse("AAPL,"), Err(FilterError::Symbol(SymbolError)));
    assert_eq!(SymbolFilter::parse(&["A"; 1025].join(",")), Err(FilterError::TooMany));
    assert!(SymbolFilter::parse(&["A"; 1024].join(",")).is_ok());
}

#[tokio::test]
async fn subscribers_get_the_bytes_of_the_symbols_they_asked_for() {
    within(async {
        let hub = hub(3, 1024);
        let (mut all, _) = subscribe(&hub, "").await;
        let (mut some, _) = subscribe(&hub, "B,Zürich").await;
        let publisher = hub.clone();
        let records: Vec<_> = (0..300)
            .map(|index| (["A", "B", "Zürich"][index % 3], format!("{{{index}é}}")))
            .collect();
        let published = records.clone();
        // As the engine does: from a thread that knows no runtime.
        let thread = std::thread::spawn(move || {
            for (name, record) in published {
                publisher.publish(&symbol(name), record.into());
            }
            publisher.finish();
        });
        let expect = |wanted: &dyn Fn(&str) -> bool| {
            let wanted = records.iter().filter(|(name, _)| wanted(name));
            wanted.map(|(_, record)| Message::text(record)).collect::<Vec<_>>()
        };
        let end = close(CloseCode::Away, "going away");
        assert_eq!(rest(&mut all).await, (expect(&|_| true), end.clone()));
        assert_eq!(rest(&mut some).await, (expect(&|name| name != "A"), end));
        assert_eq!(hub.shared.metrics.sent.get(), 500);
        thread.join().unwrap();
    })
    .await;
}

/// Publishes to one subscriber that reads and one that does not, `burst` records at a time.
async fn a_slow_subscriber_is_cut(burst: usize) {
    const LAG: usize = 16;
    // With this size far more than all socket buffers hold.
    const RECORDS: usize = 640;
    let record = |index: usize| format!("{index:065535}");
    let hub = hub(2, LAG);
    let (mut slow, serving) = subscribe(&hub, "").await;
    let (mut fast, _) = subscribe(&hub, "").await;
    for first in (0..RECORDS).step_by(burst) {
        for index in first..first + burst {
            hub.publish(&symbol("A"), record(index).into());
        }
        for index in first..first + burst {
            assert_eq!(next(&mut fast).await, Message::text(record(index)));
        }
    }
    let (got, end) = rest(&mut slow).await;
    assert_eq!(end, close(CloseCode::Policy, "too slow"));
    assert!(got.len() < RECORDS - LAG, "{}", got.len());
    for (index, message) in got.iter().enumerate() {
        assert_eq!(*message, Message::text(record(index)), "no gap before the cut");
    }
    serving.await.unwrap();
    assert_eq!(hub.shared.metrics.cut.get(), 1);
    assert_eq!(hub.shared.metrics.subscribers.get(), 1);
    hub.publish(&symbol("A"), "still here".into());
    assert_eq!(next(&mut fast).await, Message::text("still here"));
}

#[tokio::test]
async fn a_slow_subscriber_is_cut_while_another_gets_everything() {
    // One by one it is found lagging when it waits for the next record; in bursts also between two
    // of them, depending on which one fills the socket.
    for burst in [1, 5, 16] {
        within(a_slow_subscriber_is_cut(burst)).await;
    }
}

#[tokio::test]
async fn a_subscriber_that_reads_nothing_is_cut() {
    within(async {
        let soon = Duration::from_millis(20);
        let patience = Patience { write_within: soon, close_within: soon, ..Patience::default() };
        let hub = hub_with(1, 1024, patience);
        let (_unread, serving) = subscribe(&hub, "").await;
        for _ in 0..600 {
            hub.publish(&symbol("A"), vec![b'x'; 64 << 10].into());
        }
        serving.await.unwrap();
        assert_eq!(hub.shared.metrics.cut.get(), 1);
        assert!(hub.subscribe(Wish::all(), ADDRESS).is_ok(), "its place is free");
    })
    .await;
}

#[tokio::test]
async fn a_subscriber_that_answers_no_ping_is_cut() {
    within(async {
        let soon = Duration::from_millis(20);
        let patience = Patience {
            ping_every: soon,
            answer_within: soon,
            close_within: soon,
            ..Patience::default()
        };
        let hub = hub_with(1, 16, patience);
        let (mut deaf, serving) = subscribe(&hub, "").await;
        serving.await.unwrap();
        assert_eq!(hub.shared.metrics.cut.get(), 1);
        let (said, end) = rest(&mut deaf).await;
        assert_eq!(said, [Message::Ping(Bytes::new())]);
        assert_eq!(end, close(CloseCode::Policy, "no answer to a ping"));
    })
    .await;
}

#[tokio::test]
async fn a_subscriber_that_answers_pings_stays() {
    within(async {
        let patience = Patience { ping_every: Duration::from_millis(1), ..Patience::default() };
        let hub = hub_with(1, 16, patience);
        let (mut client, _) = subscribe(&hub, "").await;
        for _ in 0..20 {
            assert_eq!(next(&mut client).await, Message::Ping(Bytes::new()));
        }
        hub.publish(&symbol("A"), "{}".into());
        while next(&mut client).await != Message::text("{}") {}
        assert_eq!(hub.shared.metrics.cut.get(), 0);
    })
    .await;
}

#[tokio::test]
async fn what_is_in_the_ring_is_sent_before_the_end() {
    within(async {
        let hub = hub(1, 1024);
        let (mut client, serving) = subscribe(&hub, "").await;
        for index in 0..1000 {
            hub.publish(&symbol("A"), index.to_string().into());
        }
        hub.finish();
        hub.finish();
        let (records, end) = rest(&mut client).await;
        assert_eq!(records.len(), 1000);
        assert_eq!(end, close(CloseCode::Away, "going away"));
        serving.await.unwrap();
        assert!(matches!(hub.subscribe(Wish::all(), ADDRESS), Err(SubscribeError::Finished)));
        assert_eq!(hub.shared.metrics.refused.get(), 1);
    })
    .await;
}

#[tokio::test]
async fn places_are_limited_and_come_back() {
    within(async {
        let hub = hub(1, 16);
        let (mut client, serving) = subscribe(&hub, "").await;
        assert!(matches!(hub.subscribe(Wish::all(), ADDRESS), Err(SubscribeError::Full)));
        assert_eq!(hub.shared.metrics.refused.get(), 1);
        assert_eq!(hub.shared.metrics.subscribers.get(), 1);
        let frame = CloseFrame { code: CloseCode::Normal, reason: "enough".into() };
        client.close(Some(frame)).await.unwrap();
        let answer = close(CloseCode::Normal, "enough");
        assert_eq!(rest(&mut client).await, (vec![], answer), "the close is answered in kind");
        serving.await.unwrap();
        assert_eq!(hub.shared.metrics.subscribers.get(), 0);
        assert!(hub.subscribe(Wish::all(), ADDRESS).is_ok());
    })
    .await;
}

#[tokio::test]
async fn a_ping_is_answered_and_a_long_message_is_refused() {
    within(async {
        let hub = hub(1, 16);
        let (mut client, _) = subscribe(&hub, "").await;
        client.send(Message::text("to no effect")).await.unwrap();
        client.send(Message::Ping("there?".into())).await.unwrap();
        assert_eq!(next(&mut client).await, Message::Pong("there?".into()));
        client.send(Message::text("x".repeat(5 << 10))).await.unwrap();
        assert_eq!(rest(&mut client).await, (vec![], close(CloseCode::Size, "message too long")));
        assert_eq!(hub.shared.metrics.cut.get(), 0);
    })
    .await;
}

/// The envelopes of a client: notices as they are, records as their numbers and bytes.
fn opened(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| message.to_text().unwrap().to_owned()).collect()
}

fn enveloped() -> Wish {
    Wish { envelope: true, ..Wish::all() }
}

fn publish_numbered(hub: &StreamHub, symbols: &[&str]) {
    for (index, name) in symbols.iter().enumerate() {
        hub.publish(&symbol(name), format!("{{\"{name}\":{index}}}").into());
    }
}

fn notice(kind: &str, seq: u64) -> String {
    format!("{{\"notice\":\"{kind}\",\"stream\":\"0000000000000abc\",\"seq\":{seq}}}")
}

#[tokio::test]
async fn a_snapshot_comes_before_the_updates_and_holds_each_symbol_once() {
    within(async {
        let hub = hub(2, 1024);
        publish_numbered(&hub, &["A", "B", "A", "C"]);
        let (mut bare, _) = subscribe_as(&hub, Wish { snapshot: true, ..Wish::all() }).await;
        let filter = SymbolFilter::parse("A,B").unwrap();
        let wish = Wish { snapshot: true, filter, ..enveloped() };
        let (mut some, _) = subscribe_as(&hub, wish).await;
        let mut bare_heard = Vec::new();
        for _ in 0..3 {
            bare_heard.push(next(&mut bare).await);
        }
        let mut some_heard = Vec::new();
        for _ in 0..4 {
            some_heard.push(next(&mut some).await);
        }
        publish_numbered(&hub, &["A"]);
        hub.finish();
        let mut bare_heard = opened(&bare_heard);
        bare_heard.sort_unstable();
        assert_eq!(bare_heard, ["{\"A\":2}", "{\"B\":1}", "{\"C\":3}"]);
        let (updates, _) = rest(&mut bare).await;
        assert_eq!(opened(&updates), ["{\"A\":0}"]);
        let (updates, end) = rest(&mut some).await;
        some_heard.extend(updates);
        let expected = [
            notice("welcome", 4),
            notice("snapshot", 4),
            "{\"seq\":3,\"forecast\":{\"A\":2}}".to_owned(),
            "{\"seq\":2,\"forecast\":{\"B\":1}}".to_owned(),
            "{\"seq\":5,\"forecast\":{\"A\":0}}".to_owned(),
        ];
        assert_eq!(opened(&some_heard), expected);
        assert_eq!(end, close(CloseCode::Away, "going away"));
    })
    .await;
}

#[tokio::test]
async fn a_subscriber_that_comes_again_goes_on_where_it_was() {
    within(async {
        let hub = hub(3, 4);
        publish_numbered(&hub, &["A", "B", "A", "C", "A", "B"]);
        let after = |stream, seq| Wish { after: Some((StreamId(stream), seq)), ..enveloped() };
        // Still known: numbers 3 to 6 are in the ring.
        let (mut known, _) = subscribe_as(&hub, after(STREAM.0, 3)).await;
        // Of another run: told so, and given the newest of each symbol.
        let (mut other, _) = subscribe_as(&hub, after(7, 3)).await;
        // Forgotten, for one that takes the newest of each symbol instead.
        let wish = Wish { when_slow: WhenSlow::Conflate, ..after(STREAM.0, 1) };
        let (mut late, _) = subscribe_as(&hub, wish).await;
        // Each of them is where it belongs before the end may be told.
        let mut heard = [Vec::new(), Vec::new(), Vec::new()];
        for (client, (count, heard)) in [&mut known, &mut other, &mut late]
            .into_iter()
            .zip([4, 5, 5].into_iter().zip(&mut heard))
        {
            for _ in 0..count {
                heard.push(next(client).await);
            }
        }
        let record = |seq: u64, text: &str| format!("{{\"seq\":{seq},\"forecast\":{{{text}}}}}");
        let (a, b, c) = (record(5, "\"A\":4"), record(6, "\"B\":5"), record(4, "\"C\":3"));
        let [known_heard, other_heard, late_heard] = heard.map(|heard| opened(&heard));
        assert_eq!(known_heard, [notice("welcome", 6), c.clone(), a.clone(), b.clone()]);
        let all =
            [notice("welcome", 6), notice("other_stream", 6), a.clone(), b.clone(), c.clone()];
        assert_eq!(other_heard, all);
        let missed = notice("missed", 6).replace('}', ",\"records\":1}");
        assert_eq!(late_heard, [notice("welcome", 6), missed, a, b, c]);
        assert_eq!(hub.shared.metrics.conflated.get(), 1);
        // All of them hear what comes now, under the same number.
        publish_numbered(&hub, &["D"]);
        for client in [&mut known, &mut other, &mut late] {
            assert_eq!(opened(&[next(client).await]), [record(7, "\"D\":0")]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_subscriber_whose_place_is_forgotten_is_cut_unless_it_takes_less() {
    within(async {
        let hub = hub(1, 4);
        publish_numbered(&hub, &["A"; 6]);
        let (mut client, serving) =
            subscribe_as(&hub, Wish { after: Some((STREAM, 1)), ..enveloped() }).await;
        let (heard, end) = rest(&mut client).await;
        assert_eq!(opened(&heard), [notice("welcome", 6)]);
        assert_eq!(end, close(CloseCode::Policy, "too slow"));
        serving.await.unwrap();
        assert_eq!(hub.shared.metrics.cut.get(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_slow_subscriber_that_conflates_ends_with_the_newest_of_each_symbol() {
    // With this size far more than all socket buffers hold.
    const RECORDS: u64 = 640;
    let record = |index: u64| format!("{{\"index\":{index},\"_\":\"{:065535}\"}}", 0);
    within(async {
        let hub = hub(1, 16);
        let wish = Wish { when_slow: WhenSlow::Conflate, ..enveloped() };
        let (mut slow, serving) = subscribe_as(&hub, wish).await;
        assert_eq!(opened(&[next(&mut slow).await]), [notice("welcome", 0)]);
        for index in 0..RECORDS {
            hub.publish(&symbol(["A", "B"][index as usize % 2]), record(index).into());
        }
        hub.finish();
        let (heard, end) = rest(&mut slow).await;
        serving.await.unwrap();
        assert_eq!(end, close(CloseCode::Away, "going away"));
        let heard: Vec<serde_json::Value> = heard
            .iter()
            .map(|text| serde_json::from_str(text.to_text().unwrap()).unwrap())
            .collect();
        let (mut newest, mut missed) = ([0; 2], 0);
        for message in &heard {
            if message["notice"] == "missed" {
                missed += message["records"].as_u64().unwrap();
                continue;
            }
            let index = message["forecast"]["index"].as_u64().unwrap();
            assert_eq!(message["seq"], index + 1);
            let newest = &mut newest[index as usize % 2];
            assert!(*newest == 0 || *newest < index, "in order, each once: {index}");
            *newest = index;
        }
        assert_eq!(newest, [RECORDS - 2, RECORDS - 1]);
        assert!(missed > 0 && missed < RECORDS, "{missed}");
        assert!(hub.shared.metrics.conflated.get() > 0);
        assert_eq!(hub.shared.metrics.cut.get(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_stream_without_places_keeps_nothing() {
    let hub = hub(0, 4);
    publish_numbered(&hub, &["A"]);
    assert_eq!(hub.newest(&symbol("A"), None), None);
    assert_eq!(hub.subscribe(Wish::all(), ADDRESS).err(), Some(SubscribeError::Full));
}

/// Waits until publishers may write to so many subscribers of a hub.
async fn caught_up(hub: &StreamHub, count: usize, cursor: u64) {
    while hub.shared.outlets.count_open_at(cursor) < count {
        tokio::task::yield_now().await;
    }
}

/// What a client's socket holds of `count` frames, read without its runtime.
fn frames(client: Client, count: usize) -> Vec<String> {
    let socket = client.into_inner().into_std().unwrap();
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut client =
        tokio_tungstenite::tungstenite::WebSocket::from_raw_socket(socket, Role::Client, None);
    (0..count).map(|_| client.read().unwrap().into_text().unwrap().to_string()).collect()
}

#[tokio::test]
async fn a_publisher_writes_to_a_subscriber_without_its_task() {
    within(async {
        let hub = hub(3, 64);
        let wish = Wish { filter: SymbolFilter::parse("A").unwrap(), ..enveloped() };
        let (mut some, _) = subscribe_as(&hub, wish).await;
        assert_eq!(opened(&[next(&mut some).await]), [notice("welcome", 0)]);
        let (all, _) = subscribe(&hub, "").await;
        caught_up(&hub, 2, 0).await;
        // From here to the end of the reading no task runs: this runtime has one thread.
        publish_numbered(&hub, &["A", "B", "A"]);
        assert_eq!(frames(all, 3), ["{\"A\":0}", "{\"B\":1}", "{\"A\":2}"]);
        let expected = [(1, 0), (3, 2)]
            .map(|(seq, at)| format!("{{\"seq\":{seq},\"forecast\":{{\"A\":{at}}}}}"));
        assert_eq!(frames(some, 2), expected);
        assert_eq!(hub.shared.metrics.sent.get(), 5);
    })
    .await;
}

#[tokio::test]
async fn tasks_write_where_there_are_many_subscribers_and_where_many_records_come_at_once() {
    within(async {
        let hub = hub(4, 1024);
        let (mut first, _) = subscribe(&hub, "").await;
        caught_up(&hub, 1, 0).await;
        // More than a publisher writes at once.
        let sink = hub.as_sink();
        let mut end = sink.sink.another();
        let (name, pulse) = (symbol("A"), crate::ops::supervise::Pulse::new());
        for index in 0..100 {
            let text = index.to_string();
            let record =
                crate::ports::sink::Outgoing::new(&name, text.as_bytes(), "", None, &pulse);
            end.publish(&record).unwrap();
        }
        end.flush();
        for index in 0..100 {
            assert_eq!(next(&mut first).await, Message::text(index.to_string()));
        }
        let (mut second, _) = subscribe(&hub, "").await;
        let (mut third, _) = subscribe(&hub, "").await;
        caught_up(&hub, 2, 100).await;
        for index in 100..110 {
            hub.publish(&symbol("A"), index.to_string().into());
            for client in [&mut first, &mut second, &mut third] {
                assert_eq!(next(client).await, Message::text(index.to_string()));
            }
        }
        // A listed one that leaves gives its place up.
        drop(first);
        while hub.shared.metrics.subscribers.get() > 2 {
            hub.publish(&symbol("A"), "more".into());
            assert_eq!(next(&mut second).await, Message::text("more"));
            assert_eq!(next(&mut third).await, Message::text("more"));
        }
        let (mut fourth, _) = subscribe(&hub, "").await;
        hub.finish();
        for client in [&mut second, &mut third, &mut fourth] {
            assert_eq!(rest(client).await.1, close(CloseCode::Away, "going away"));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_writes_every_record_comes_whole_once_and_in_order() {
    // The ring holds all of them; the socket holds few, so that writes are cut in every place.
    const RECORDS: usize = 4000;
    let record = |index: usize| format!("{index:0width$}", width = 1 + index * 37 % 3000);
    within(async move {
        let patience = Patience { ping_every: Duration::from_millis(1), ..Patience::default() };
        let hub = hub_with(2, RECORDS, patience);
        let (client, serving) = subscribe(&hub, "").await;
        let publisher = hub.clone();
        let publishing = std::thread::spawn(move || {
            for index in 0..RECORDS {
                publisher.publish(&symbol("A"), record(index).into());
            }
        });
        let (mut pings, mut stream) = client.split();
        let mut expected = 0;
        while expected < RECORDS {
            match stream.next().await.unwrap().unwrap() {
                Message::Text(text) => {
                    assert_eq!(text.as_str(), record(expected));
                    expected += 1;
                    // Answers of the library come between the frames of publishers.
                    if expected % 16 == 0 {
                        pings.send(Message::Ping(Bytes::new())).await.unwrap();
                    }
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other}"),
            }
        }
        publishing.join().unwrap();
        assert_eq!(hub.shared.metrics.sent.get(), RECORDS as u64);
        hub.finish();
        while let Some(Ok(_)) = stream.next().await {}
        serving.await.unwrap();
    })
    .await;
}
