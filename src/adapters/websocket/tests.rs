//! Sockets in memory and time that runs ahead: what the driver adds to the machine.

use std::convert::Infallible;
use std::sync::Mutex;

use futures_util::SinkExt;
use prometheus::Registry;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::connection::Ended;
use super::*;
use crate::core::venue::VenueSpec;
use crate::intake::{Arrival, IntakeLimits, IntakeMetrics, IntakeReceiver, WhenFull, intake};
use crate::net::dial::{Transport, limits};
use crate::ops::readiness::Readiness;

const MESSAGE_BYTES_MAX: usize = 4096;

/// A client's connection and the raw end of its peer.
async fn connection() -> (Connection, DuplexStream) {
    let (near, far) = duplex(1 << 16);
    let near: Box<dyn Transport> = Box::new(near);
    let socket =
        WebSocketStream::from_raw_socket(near, Role::Client, Some(limits(MESSAGE_BYTES_MAX))).await;
    let unpack = Unpack { compression: Compression::Auto, bytes_max: MESSAGE_BYTES_MAX };
    (Connection::new(LineId(1), Reached { unpack, ..socket.into() }), far)
}

/// Everything that comes out until it is over, and how it ended.
async fn drain(connection: &mut Connection) -> (Vec<Bytes>, Ended) {
    let mut frames = Vec::new();
    loop {
        match poll_fn(|context| connection.poll_event(context)).await {
            Event::Text(frame) | Event::Binary(frame) => frames.push(frame),
            Event::Ping | Event::Pong => {}
            Event::Ended(ended) => return (frames, ended),
        }
    }
}

/// Sends raw bytes to a client; returns what came out, how it ended, and the code that the client
/// closed with.
async fn answer_to(bytes: &[u8]) -> (Vec<Bytes>, Ended, Option<u16>) {
    let (mut connection, mut far) = connection().await;
    far.write_all(bytes).await.unwrap();
    far.shutdown().await.unwrap();
    let (frames, ended) = drain(&mut connection).await;
    poll_fn(|context| match connection.is_gone() {
        true => Poll::Ready(()),
        false => {
            assert!(connection.poll_event(context).is_pending(), "nothing comes behind the end");
            if connection.is_gone() { Poll::Ready(()) } else { Poll::Pending }
        }
    })
    .await;
    drop(connection);
    let mut said = Vec::new();
    far.read_to_end(&mut said).await.unwrap();
    (frames, ended, close_code(&said))
}

/// The code of the close frame in what a client has said, which is masked.
fn close_code(mut said: &[u8]) -> Option<u16> {
    while let [first, length, rest @ ..] = said {
        let length = usize::from(length & 0x7f);
        let (mask, rest) = rest.split_at_checked(4)?;
        let (payload, rest) = rest.split_at_checked(length)?;
        if first & 0x0f == 8 {
            let unmasked: Vec<u8> =
                payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            return Some(u16::from_be_bytes([*unmasked.first()?, *unmasked.get(1)?]));
        }
        said = rest;
    }
    None
}

/// A frame as a server sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(length as u8),
        length @ 126..0x1_0000 => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

#[tokio::test(start_paused = true)]
async fn binary_messages_are_decompressed_and_a_bomb_ends_the_connection() {
    use std::io::Write;

    let gzip = |text: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let text = br#"{"ping":1700000000000}"#;
    let whole = vec![b' '; MESSAGE_BYTES_MAX];
    let bomb = gzip(&vec![b' '; 2 << 20]);
    assert!(bomb.len() < MESSAGE_BYTES_MAX, "the protocol's own limit does not see it");
    let bytes = [
        frame(0x81, b"{}"),
        frame(0x82, &gzip(text)),
        frame(0x82, text),
        frame(0x82, &gzip(&whole)),
        frame(0x82, &bomb),
        frame(0x81, b"[]"),
    ];
    let (frames, ended, answered) = answer_to(&bytes.concat()).await;
    assert_eq!(frames, [&b"{}"[..], text, text, &whole]);
    let why = "the message is too long: more than 4096 bytes when decompressed";
    assert_eq!((&*ended.why, answered), (why, Some(1009)));
}

#[tokio::test(start_paused = true)]
async fn each_breach_of_the_protocol_has_its_close_code() {
    let good = frame(0x81, b"{}");
    let parts = |frames: &[&[u8]]| frames.concat();
    let masked = [0x81, 0x82, 0, 0, 0, 0, b'{', b'}'];
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("a message that is too big", frame(0x81, &[b'x'; MESSAGE_BYTES_MAX + 1]), 1009),
        (
            "a length beyond all memory",
            vec![0x82, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255],
            1009,
        ),
        (
            "fragments that are too big together",
            parts(&[&frame(0x01, &[b'x'; 4000]), &frame(0x80, &[b'x'; 4000])]),
            1009,
        ),
        ("a text that is not UTF-8", frame(0x81, b"\xff\xfe"), 1007),
        ("a letter that never ends", parts(&[&frame(0x01, b"\xe2\x82"), &frame(0x80, b"")]), 1007),
        ("reserved bits", frame(0xf1, b"{}"), 1002),
        ("a frame of no known kind", frame(0x83, b"{}"), 1002),
        ("a control frame of no known kind", frame(0x8b, b""), 1002),
        ("a masked frame from a server", masked.to_vec(), 1002),
        ("a continuation of nothing", frame(0x80, b"{}"), 1002),
        ("a text inside of a text", parts(&[&frame(0x01, b"{"), &frame(0x81, b"{}")]), 1002),
        ("a ping in pieces", frame(0x09, b""), 1002),
        ("a ping that is too big", frame(0x89, &[0; 126]), 1002),
    ];
    for (what, bytes, code) in cases {
        let (frames, ended, answered) = answer_to(&[&good[..], &bytes].concat()).await;
        assert_eq!(frames, [Bytes::from_static(b"{}")], "{what}: what came before goes on");
        assert_eq!(answered, Some(code), "{what}: {ended:?}");
    }
    // A letter may end in the next fragment.
    let letter = parts(&[&frame(0x01, b"\"\xe2\x82"), &frame(0x80, b"\xac\"")]);
    let (frames, _, answered) = answer_to(&letter).await;
    assert_eq!((&frames[..], answered), (&[Bytes::from("\"€\"")][..], None));
}

#[tokio::test(start_paused = true)]
async fn a_close_of_the_venue_is_answered_and_told() {
    let close = [&1008u16.to_be_bytes()[..], b"slow \x1b[2Jdown"].concat();
    let (_, ended, answered) = answer_to(&frame(0x88, &close)).await;
    assert_eq!(answered, Some(1008));
    assert!(ended.is_rate_limit(), "{ended:?}");
    assert_eq!(ended.why, "the feed closed with code 1008: \"slow \\u{1b}[2Jdown\"");
    let (_, ended, answered) = answer_to(&[]).await;
    assert_eq!((ended.is_rate_limit(), answered), (false, None));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Good frames among which some bytes were changed, in chunks of any size.
    #[test]
    fn no_bytes_make_a_connection_panic_or_answer_with_a_wrong_code(
        frames in proptest::collection::vec(
            (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..300)),
            0..8,
        ),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        chunk in 1usize..200,
    ) {
        let mut bytes: Vec<u8> =
            frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect();
        if !bytes.is_empty() {
            for (at, value) in damage {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        let answered = runtime.unwrap().block_on(async {
            let (mut connection, mut far) = connection().await;
            let sent = async {
                for piece in bytes.chunks(chunk) {
                    far.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
                far.shutdown().await.unwrap();
            };
            let ((frames, _), ()) = tokio::join!(drain(&mut connection), sent);
            prop_assert!(frames.iter().all(|frame| frame.len() <= MESSAGE_BYTES_MAX));
            poll_fn(|context| {
                let _ = connection.poll_event(context);
                if connection.is_gone() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            drop(connection);
            let mut said = Vec::new();
            far.read_to_end(&mut said).await.unwrap();
            Ok(close_code(&said))
        })?;
        // The answer to a close repeats its code, whatever it was.
        let closes = frames.iter().any(|(first, _)| first & 0x0f == 8) || !bytes.is_empty();
        prop_assert!(
            closes || answered.is_none_or(|code| [1002, 1007, 1009].contains(&code)),
            "{answered:?}"
        );
    }
}

/// A venue in memory: each attempt to connect is a message with the far end of its socket.
struct Memory {
    peers: Mutex<mpsc::UnboundedSender<DuplexStream>>,
}

impl Dial for Memory {
    fn dial(&self, _share: usize) -> BoxFuture<'static, Result<Reached, DialError>> {
        let (near, far) = duplex(1 << 16);
        self.peers.lock().unwrap().send(far).unwrap();
        Box::pin(async move {
            let near: Box<dyn Transport> = Box::new(near);
            let limits = Some(limits(1 << 16));
            Ok(WebSocketStream::from_raw_socket(near, Role::Client, limits).await.into())
        })
    }

    fn shown(&self, _share: usize) -> String {
        "ws://memory".to_owned()
    }
}

/// A running source, its venue's side and the engine's end of the queue.
struct Running {
    peers: mpsc::UnboundedReceiver<DuplexStream>,
    queue: IntakeReceiver<Infallible>,
    health: FeedHealth,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

fn run(when_full: WhenFull, records_max: usize) -> Running {
    let registry = Registry::new();
    let limits =
        IntakeLimits { records_max, bytes_max: 1 << 20, record_bytes_max: 1 << 16, when_full };
    let (sender, queue) = intake(limits, IntakeMetrics::register(&registry).unwrap());
    let (peers_in, peers) = mpsc::unbounded_channel();
    let spec = VenueSpec { url: "ws://memory".to_owned(), ..VenueSpec::default() };
    let venue = Arc::new(Venue::compile(&spec).unwrap());
    let health = FeedHealth::new(&venue);
    let seconds = Duration::from_secs;
    let source = WebSocketSource {
        venue,
        settings: FeedSettings {
            idle_timeout: seconds(60),
            pong_timeout: seconds(10),
            stall_timeout: None,
            answer_timeout: seconds(10),
            backoff_max: seconds(30),
            overlap: seconds(10),
            symbols_max: 10,
            ids_max: 16,
        },
        dial: Box::new(Memory { peers: Mutex::new(peers_in) }),
        metrics: WebSocketMetrics::register(&registry).unwrap(),
        health: health.clone(),
        seed: 1,
    };
    let (stop, stopped) = watch::channel(false);
    let ready = Readiness::new().condition("source");
    let task = tokio::spawn(source.run(Router::new(vec![sender]), ready, stopped));
    Running { peers, queue, health, stop, task }
}

impl Running {
    async fn peer(&mut self) -> WebSocketStream<DuplexStream> {
        let far = self.peers.recv().await.unwrap();
        WebSocketStream::from_raw_socket(far, Role::Server, None).await
    }

    /// The next record's mark and price.
    async fn next(&self) -> (bool, f64) {
        while !self.queue.has_more() {
            sleep(Duration::from_millis(1)).await;
        }
        let mut batch = Vec::new();
        self.queue.drain(&mut batch, 1);
        let [Arrival::Record(record)] = &batch[..] else { panic!("{batch:?}") };
        let tick: serde_json::Value = serde_json::from_slice(&record.bytes).unwrap();
        (record.after_gap, tick["price"].as_f64().unwrap())
    }
}

fn tick(price: u64) -> Message {
    Message::text(format!(r#"{{"symbol":"A","time":{price},"price":{price}}}"#))
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_falls_silent_is_opened_anew_and_its_symbols_are_marked() {
    let mut running = run(WhenFull::DropOldest, 100);
    let begun = TimerStopwatch::start();
    let mut peer = running.peer().await;
    peer.send(tick(1)).await.unwrap();
    assert_eq!(running.next().await, (false, 1.0));
    assert_eq!(running.health.of_symbol("A"), Some(FeedState::Live));
    // Half open: the peer is there and reads nothing, so no pong comes either.
    let mut second = running.peer().await;
    let silent = begun.elapsed();
    assert!((40..42).contains(&silent.as_secs()), "30 s, and 10 s for the pong: {silent:?}");
    second.send(tick(2)).await.unwrap();
    assert_eq!(running.next().await, (true, 2.0));
    drop(peer);
    running.stop.send(true).unwrap();
    running.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_takes_nothing_is_no_silence_of_the_feed() {
    let mut running = run(WhenFull::Block, 1);
    let mut peer = running.peer().await;
    for price in 1..=5 {
        peer.send(tick(price)).await.unwrap();
    }
    sleep(Duration::from_secs(600)).await;
    for price in 1..=5 {
        assert_eq!(running.next().await, (false, f64::from(price)));
    }
    assert!(running.peers.try_recv().is_err(), "nobody connected again");
    running.stop.send(true).unwrap();
    running.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_says_goodbye_and_delivers_what_was_read() {
    let mut running = run(WhenFull::Block, 1);
    let mut peer = running.peer().await;
    for price in 1..=3 {
        peer.send(tick(price)).await.unwrap();
    }
    sleep(Duration::from_secs(1)).await;
    running.stop.send(true).unwrap();
    let goodbye = async {
        loop {
            match peer.next().await {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code,
                Some(Ok(_)) => {}
                other => panic!("no goodbye: {other:?}"),
            }
        }
    };
    assert_eq!(goodbye.await, CloseCode::Normal);
    running.task.await.unwrap();
    for price in 1..=3 {
        let mut batch = Vec::new();
        running.queue.drain(&mut batch, 1);
        let [Arrival::Record(record)] = &batch[..] else { panic!("{batch:?}") };
        assert!(String::from_utf8_lossy(&record.bytes).contains(&format!(":{price}}}")));
    }
}
