//! The feed over real sockets.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::*;
use crate::adapters::file::{FileOptions, FileRecords};
use crate::core::domain::{DurationNanos, TimeUnit};

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

fn load(contents: &[u8], selection: &Selection) -> Result<Recording, RecordingError> {
    let mut file = tempfile::Builder::new().suffix(".jsonl").tempfile().unwrap();
    file.write_all(contents).unwrap();
    // Most of these times lie in 1970.
    let selection = Selection { accepts_times: true, ..selection.clone() };
    let records = FileRecords::open(file.path(), FileOptions::default())?;
    Recording::load(file.path(), records, &selection)
}

#[test]
fn seconds_that_are_read_as_milliseconds_are_not_played() {
    let play = |selection: &Selection| {
        let mut file = tempfile::Builder::new().suffix(".jsonl").tempfile().unwrap();
        file.write_all(b"{\"symbol\":\"A\",\"time\":1706745600}\n").unwrap();
        let records = FileRecords::open(file.path(), FileOptions::default())?;
        Recording::load(file.path(), records, selection)
    };
    let error = play(&Selection::default()).unwrap_err().to_string();
    let words = "the first one would be 1970-01-20T18:05:45.6Z; these look like seconds: set \
                 time_unit = \"s\"";
    assert!(error.contains(words), "{error}");
    let seconds = Selection { time_unit: TimeUnit::Seconds, ..Selection::default() };
    let first = UnixNanos::parse("2024-02-01").unwrap();
    assert_eq!(play(&seconds).unwrap().span(), Some((first, first)));
    assert!(play(&Selection { accepts_times: true, ..Selection::default() }).is_ok());
}

fn messages(recording: &Recording) -> Vec<Message> {
    recording.entries().iter().map(|entry| entry.message.clone()).collect()
}

fn texts(recording: &Recording) -> Vec<String> {
    messages(recording).iter().map(|message| message.to_text().unwrap().to_owned()).collect()
}

fn symbols<const N: usize>(names: [&str; N]) -> Selection {
    Selection { symbols: names.map(str::to_owned).into(), ..Selection::default() }
}

const DAYS: &str = r#"{"symbol":"A","time":"2000-03-02","close":1}
{"symbol":"A","time":"2000-03-03","close":NaN}
not json
{"symbol":"B","time":"2000-03-01","close":2}
{"symbol":"B","time":"never","close":3}
{"symbol":"B","time":"2000-03-02","close":4}"#;

#[test]
fn records_are_played_by_event_time_and_bad_ones_follow_their_predecessor() {
    let recording = load(DAYS.as_bytes(), &Selection::default()).unwrap();
    let lines: Vec<_> = DAYS.lines().collect();
    assert_eq!(
        texts(&recording),
        [lines[3], lines[4], lines[0], lines[5], lines[1], lines[2]],
        "stable within a day; a value that cannot be read does not cost a record its time"
    );
    let day = |text: &str| UnixNanos::parse(text).unwrap();
    assert_eq!(recording.span(), Some((day("2000-03-01"), day("2000-03-03"))));
}

#[test]
fn the_order_of_the_file_can_be_kept() {
    let selection = Selection { order: Order::File, ..Selection::default() };
    let recording = load(DAYS.as_bytes(), &selection).unwrap();
    assert_eq!(texts(&recording), DAYS.lines().collect::<Vec<_>>());
    let times: Vec<_> = recording.entries().iter().map(|entry| entry.time).collect();
    assert!(times.is_sorted(), "a time that runs backwards is due with its predecessor: {times:?}");
}

#[test]
fn records_before_the_first_time_come_first_and_are_due_at_once() {
    let recording = load(b"?\n{\"time\":5}\n{\"time\":3}", &Selection::default()).unwrap();
    assert_eq!(texts(&recording), ["?", "{\"time\":3}", "{\"time\":5}"]);
    let offsets: Vec<_> = recording
        .entries()
        .iter()
        .map(|entry| recording.offset(entry).map(DurationNanos::as_nanos))
        .collect();
    assert_eq!(offsets, [None, Some(0), Some(2_000_000)], "milliseconds unless told otherwise");
    let selection = Selection { time_unit: TimeUnit::Seconds, ..Selection::default() };
    let recording = load(b"{\"time\":5}\n{\"time\":7.5}", &selection).unwrap();
    let offset = recording.offset(&recording.entries()[1]).unwrap();
    assert_eq!(offset.as_nanos(), 2_500_000_000);
}

#[test]
fn listed_symbols_and_unreadable_records_are_kept() {
    let recording = load(DAYS.as_bytes(), &symbols(["B"])).unwrap();
    let lines: Vec<_> = DAYS.lines().collect();
    assert_eq!(texts(&recording), [lines[2], lines[3], lines[4], lines[5]]);
}

#[test]
fn a_recording_without_a_listed_symbol_or_any_record_is_refused() {
    let error = load(DAYS.as_bytes(), &symbols(["B", "C", "D"])).unwrap_err().to_string();
    assert!(error.ends_with("no record of `C`, `D`"), "{error}");
    assert!(matches!(load(b"\n\n", &Selection::default()), Err(RecordingError::Empty { .. })));
}

#[test]
fn a_record_that_is_no_text_is_a_binary_message() {
    let recording = load(b"{\"symbol\":\"A\xff\"}\n{}", &Selection::default()).unwrap();
    let messages = messages(&recording);
    assert_eq!(messages[0], Message::binary(&b"{\"symbol\":\"A\xff\"}"[..]));
    assert_eq!(messages[1], Message::text("{}"));
}

/// A running feed on a free port.
struct Feed {
    url: String,
    progress: Arc<Progress>,
    running: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

async fn feed(recording: Recording, pace: Pace, when_done: WhenDone) -> Feed {
    let server = FeedServer::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("ws://{}", server.local_addr());
    let progress = Arc::new(Progress::default());
    let (stop, stopped) = oneshot::channel();
    let running = tokio::spawn({
        let progress = Arc::clone(&progress);
        async move {
            let stopped = async {
                let _ = stopped.await;
            };
            server.run(Arc::new(recording), pace, when_done, progress, stopped).await;
        }
    });
    Feed { url, progress, running, stop }
}

impl Feed {
    async fn connect(&self) -> Result<Client, WebSocketError> {
        tokio_tungstenite::connect_async(&self.url).await.map(|(client, _)| client)
    }
}

/// Everything the server says, and its close frame as code and reason.
async fn everything(client: &mut Client) -> (Vec<Message>, Option<(CloseCode, String)>) {
    let mut messages = Vec::new();
    while let Some(Ok(message)) = client.next().await {
        match message {
            Message::Close(frame) => {
                // Reading on answers the close.
                while client.next().await.is_some() {}
                let frame = frame.map(|frame| (frame.code, frame.reason.to_string()));
                return (messages, frame);
            }
            other => messages.push(other),
        }
    }
    (messages, None)
}

/// Keeps a broken test from hanging for ever; never part of what is asserted.
async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("the test ends")
}

fn many(count: usize) -> Recording {
    let lines: Vec<_> =
        (0..count).map(|index| format!("{{\"symbol\":\"A\",\"time\":{index}}}")).collect();
    load(lines.join("\n").as_bytes(), &Selection::default()).unwrap()
}

fn ended() -> Option<(CloseCode, String)> {
    Some((CloseCode::Normal, "recording ended".to_owned()))
}

#[tokio::test]
async fn every_subscriber_gets_the_whole_recording_from_its_beginning() {
    within(async {
        let recording = many(1000);
        let expected = messages(&recording);
        let feed = feed(recording, Pace::Speed(10.0), WhenDone::Continue).await;
        let (mut first, mut second) =
            (feed.connect().await.unwrap(), feed.connect().await.unwrap());
        let (first, second) = tokio::join!(everything(&mut first), everything(&mut second));
        assert_eq!(first, (expected.clone(), ended()));
        assert_eq!(second, (expected.clone(), ended()));
        let third = everything(&mut feed.connect().await.unwrap()).await;
        assert_eq!(third, (expected, ended()));
        assert_eq!(feed.progress.ticks_sent(), 3000);
        assert_eq!(feed.progress.event_time(), Some(UnixNanos::from_nanos(999_000_000)));
    })
    .await;
}

/// A connection that asks about the past.
struct Asking(TcpStream);

impl Asking {
    async fn of(feed: &Feed) -> Self {
        let address = feed.url.strip_prefix("ws://").unwrap();
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// The status and the body of an answer; `headers` end with line breaks.
    async fn ask(&mut self, path: &str, headers: &str) -> (u16, String) {
        let Self(stream) = self;
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head.split_once("content-length: ").unwrap().1;
        let mut body = vec![0; length.split_once('\r').unwrap().0.parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        (head[9..12].parse().unwrap(), String::from_utf8(body).unwrap())
    }
}

/// Days of two symbols, of which the first two are history.
fn with_history() -> Recording {
    let day = |symbol, day| format!("{{\"symbol\":\"{symbol}\",\"time\":\"2000-03-0{day}\"}}");
    let lines: Vec<_> = (1..=4).flat_map(|index| [day("A", index), day("B,C", index)]).collect();
    let selection = Selection { history: Some(2), ..Selection::default() };
    load(lines.join("\n").as_bytes(), &selection).unwrap()
}

#[tokio::test]
async fn history_is_asked_for_on_the_same_port_and_takes_no_place() {
    within(async {
        let recording = with_history();
        let played = texts(&recording);
        assert_eq!(played.len(), 4, "two days of two symbols are held back");
        let feed = feed(recording, Pace::Rate(1e-3), WhenDone::Exit).await;
        let mut asking = Asking::of(&feed).await;
        let held = concat!(
            r#"{"rows":[{"symbol":"B,C","time":"2000-03-01"},"#,
            r#"{"symbol":"B,C","time":"2000-03-02"}]}"#
        );
        let path = "/history?symbol=B%2CC&from=2000-03-01T00:00:00Z&to=2000-04-01&limit=9";
        assert_eq!(asking.ask(path, "").await, (200, held.to_owned()));

        // The only place is free, and what it has had can be asked for.
        let mut client = feed.connect().await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::text(played[0].as_str()));
        let newest = format!("{{\"rows\":[{}]}}", played[0]);
        let asked = asking.ask("/history?symbol=A&limit=1", "").await;
        assert_eq!(asked, (200, newest), "on the same connection");
        let asked = asking.ask("/history?symbol=B%2CC", "").await;
        assert_eq!(asked, (200, held.to_owned()), "its third day has not been played");
        feed.stop.send(()).unwrap();
        feed.running.await.unwrap();
        assert_eq!(asking.0.read(&mut [0]).await.unwrap_or(0), 0, "the connection ends");
    })
    .await;
}

#[tokio::test]
async fn a_question_that_makes_no_sense_or_comes_from_a_foreign_page_is_refused() {
    within(async {
        let feed = feed(with_history(), Pace::Max, WhenDone::Continue).await;
        for (path, headers, expected) in [
            ("/history?symbol=C", "", 404),
            ("/history?symbol=A&to=soon", "", 400),
            ("/history/A", "", 404),
            ("/history?symbol=A", "Origin: http://evil.example\r\n", 403),
            ("/history?symbol=A", "Origin: http://127.0.0.1\r\n", 200),
        ] {
            let (status, words) = Asking::of(&feed).await.ask(path, headers).await;
            assert_eq!(status, expected, "{path}: {words}");
        }
        // The beginning of a question may come in pieces.
        let mut asking = Asking::of(&feed).await;
        asking.0.write_all(b"GET /hist").await.unwrap();
        asking.0.write_all(b"ory?symbol=C HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        asking.0.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.0 404 "), "{answer}");
    })
    .await;
}

#[test]
fn a_history_that_leaves_nothing_to_play_is_refused() {
    let selection = Selection { history: Some(4), ..Selection::default() };
    let error = load(DAYS.as_bytes(), &selection).map(|recording| texts(&recording));
    assert_eq!(error.unwrap().len(), 3, "what no one can take is played all the same");
    let good = DAYS.lines().filter(|line| line.contains("2000-03-02")).collect::<Vec<_>>();
    let error = load(good.join("\n").as_bytes(), &selection).unwrap_err().to_string();
    assert!(error.ends_with("--history 4 leaves no record to play; choose a smaller number"));
}

#[tokio::test]
async fn ends_when_one_subscriber_has_had_everything() {
    within(async {
        let feed = feed(many(50_000), Pace::Max, WhenDone::Exit).await;
        let mut hasty = feed.connect().await.unwrap();
        hasty.next().await.unwrap().unwrap();
        drop(hasty);
        let (messages, close) = everything(&mut feed.connect().await.unwrap()).await;
        assert_eq!((messages.len(), close), (50_000, ended()));
        feed.running.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_stop_closes_what_is_playing() {
    within(async {
        let feed = feed(many(2), Pace::Rate(1e-3), WhenDone::Exit).await;
        let mut client = feed.connect().await.unwrap();
        assert_eq!(
            client.next().await.unwrap().unwrap(),
            Message::text("{\"symbol\":\"A\",\"time\":0}")
        );
        feed.stop.send(()).unwrap();
        let away = Some((CloseCode::Away, "going away".to_owned()));
        assert_eq!(everything(&mut client).await, (vec![], away));
        feed.running.await.unwrap();
        assert_eq!(feed.progress.subscribers(), 0);
    })
    .await;
}

#[tokio::test]
async fn more_subscribers_than_places_are_refused_until_one_leaves() {
    within(async {
        let feed = feed(many(2), Pace::Rate(1e-3), WhenDone::Continue).await;
        let mut clients = Vec::new();
        for _ in 0..SUBSCRIBERS_MAX {
            let mut client = feed.connect().await.unwrap();
            client.next().await.unwrap().unwrap();
            clients.push(client);
        }
        assert_eq!(feed.progress.subscribers(), SUBSCRIBERS_MAX);
        match feed.connect().await {
            Err(WebSocketError::Http(response)) => assert_eq!(response.status(), 503),
            other => panic!("expected a refusal, got {other:?}"),
        }
        let mut leaving = clients.pop().unwrap();
        leaving.close(None).await.unwrap();
        assert_eq!(everything(&mut leaving).await.0, []);
        // The place is free soon after the socket is closed.
        while feed.connect().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_foreign_web_page_is_refused() {
    within(async {
        let feed = feed(many(1), Pace::Max, WhenDone::Continue).await;
        let from = |origin: String| {
            let mut request = feed.url.as_str().into_client_request().unwrap();
            request.headers_mut().insert("origin", origin.parse().unwrap());
            tokio_tungstenite::connect_async(request)
        };
        match from("http://evil.example".to_owned()).await {
            Err(WebSocketError::Http(response)) => assert_eq!(response.status(), 403),
            other => panic!("expected a refusal, got {other:?}"),
        }
        assert!(from(feed.url.replace("ws:", "http:")).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn a_ping_is_answered_and_a_long_message_ends_the_connection() {
    within(async {
        let feed = feed(many(2), Pace::Rate(1e-3), WhenDone::Continue).await;
        let mut client = feed.connect().await.unwrap();
        client.next().await.unwrap().unwrap();
        client.send(Message::Ping("are you there".into())).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong("are you there".into()));
        client.send(Message::text("x".repeat(5000))).await.unwrap();
        assert_eq!(everything(&mut client).await, (vec![], None));
    })
    .await;
}

#[tokio::test]
async fn a_record_of_the_largest_size_arrives_whole() {
    within(async {
        let line = "x".repeat(3 << 20);
        let recording = load(line.as_bytes(), &Selection::default()).unwrap();
        let feed = feed(recording, Pace::Max, WhenDone::Continue).await;
        let (messages, close) = everything(&mut feed.connect().await.unwrap()).await;
        assert_eq!(messages[0].len(), crate::adapters::file::RECORD_BYTES_MAX + 1);
        assert_eq!((messages.len(), close), (1, ended()));
    })
    .await;
}
