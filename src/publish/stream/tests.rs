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

type Client = WebSocketStream<TcpStream>;

fn hub_with(subscribers_max: usize, lag_records_max: usize, patience: Patience) -> StreamHub {
    let metrics = StreamMetrics::register(&Registry::new()).unwrap();
    StreamHub::with_patience(StreamLimits { subscribers_max, lag_records_max }, patience, metrics)
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
    let subscription = hub.subscribe(SymbolFilter::parse(symbols).unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    // Small, so that a peer that does not read is felt soon.
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let client = socket.connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, peer) = listener.accept().await.unwrap();
    let server = WebSocketStream::from_raw_socket(server, Role::Server, Some(limits())).await;
    let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    (client, tokio::spawn(subscription.serve(server, peer)))
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
        assert!(hub.subscribe(SymbolFilter::All).is_ok(), "its place is free");
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
        assert!(matches!(hub.subscribe(SymbolFilter::All), Err(SubscribeError::Finished)));
        assert_eq!(hub.shared.metrics.refused.get(), 1);
    })
    .await;
}

#[tokio::test]
async fn places_are_limited_and_come_back() {
    within(async {
        let hub = hub(1, 16);
        let (mut client, serving) = subscribe(&hub, "").await;
        assert!(matches!(hub.subscribe(SymbolFilter::All), Err(SubscribeError::Full)));
        assert_eq!(hub.shared.metrics.refused.get(), 1);
        assert_eq!(hub.shared.metrics.subscribers.get(), 1);
        let frame = CloseFrame { code: CloseCode::Normal, reason: "enough".into() };
        client.close(Some(frame)).await.unwrap();
        let answer = close(CloseCode::Normal, "enough");
        assert_eq!(rest(&mut client).await, (vec![], answer), "the close is answered in kind");
        serving.await.unwrap();
        assert_eq!(hub.shared.metrics.subscribers.get(), 0);
        assert!(hub.subscribe(SymbolFilter::All).is_ok());
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
