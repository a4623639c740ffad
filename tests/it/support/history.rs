//! A server that answers questions for history like an exchange over HTTP.
//!
//! It has bars by symbol and answers `GET /bars?symbol=&interval=&from=&to=&limit=&cursor=` with
//! `{"code":0,"rows":[[time in ms,open,high,low,close,volume],…],"next":…}`; both ends belong to
//! the answer. Whatever a test says comes first: a script of what happens to the next requests, or
//! another way to answer. It keeps what was asked, in order, and how much of it at a time. Any
//! number of clients may be there; each has a thread.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a connection looks whether the server has ended while nothing comes in.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// One bar; its texts are what the answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bar {
    pub(crate) time_ms: i64,
    pub(crate) open: String,
    pub(crate) high: String,
    pub(crate) low: String,
    pub(crate) close: String,
    pub(crate) volume: String,
}

impl Bar {
    /// A bar in which only one price was traded.
    pub(crate) fn flat(time_ms: i64, price: &str, volume: &str) -> Self {
        let price = || price.to_owned();
        Self {
            time_ms,
            open: price(),
            high: price(),
            low: price(),
            close: price(),
            volume: volume.to_owned(),
        }
    }

    /// The row of an answer.
    pub(crate) fn row(&self) -> String {
        let Self { time_ms, open, high, low, close, volume } = self;
        format!(r#"[{time_ms},"{open}","{high}","{low}","{close}","{volume}"]"#)
    }
}

/// What happens to one request.
#[derive(Clone, Debug)]
pub(crate) enum Reaction {
    /// It is answered.
    Answer,
    /// It is answered with this status, these headers and this body.
    Status(u16, Vec<(&'static str, String)>, String),
    /// It is answered with 200 and this body.
    Say(String),
    /// Nothing comes, until the client hangs up.
    Hang,
    /// The answer ends in its middle.
    Cut,
    /// The connection is closed instead of an answer.
    HangUp,
    /// It is answered in chunks.
    Chunked,
    /// It is answered, and the connection is closed behind it without a word.
    CloseBehind,
    /// The answer has no rows.
    Empty,
    /// So many rows are left out, from this one on.
    Partial(usize, usize),
    /// Each row comes twice.
    Repeated,
    /// Rows come in no order.
    Shuffled,
    /// The last row is not there yet.
    Late,
}

/// In which order rows stand in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowOrder {
    OldestFirst,
    NewestFirst,
}

/// One request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Path and query.
    pub(crate) target: String,
    /// The lines of its head behind the first.
    pub(crate) headers: Vec<String>,
}

impl Asked {
    /// The value of a parameter of the query; empty where it has none.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// The value of a header; empty where it has none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let pairs = self.headers.iter().filter_map(|line| line.split_once(':'));
        let mut named = pairs.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.next().map_or("", |(_, value)| value.trim())
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.parameter(name).parse().ok()
    }
}

/// Answers in another way than the server does by itself.
pub(crate) type AnswerOf = dyn Fn(&Asked) -> Reaction + Send + Sync;

struct Shared {
    bars: Mutex<BTreeMap<String, Vec<Bar>>>,
    /// The most rows of an answer, whatever the request says.
    page_rows: AtomicUsize,
    order: Mutex<RowOrder>,
    /// Whether answers have a word for the next page.
    has_cursors: AtomicBool,
    script: Mutex<VecDeque<Reaction>>,
    otherwise: Option<Box<AnswerOf>>,
    date: Mutex<Option<String>>,
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
    under_way: AtomicUsize,
    under_way_max: AtomicUsize,
    ended: AtomicBool,
}

/// The server; it ends when dropped.
pub(crate) struct HistoryServer {
    address: String,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HistoryServer {
    /// Listens on a free port of loopback and answers from bars.
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// Listens on a free port of loopback and answers as `answer` says.
    pub(crate) fn answering(answer: impl Fn(&Asked) -> Reaction + Send + Sync + 'static) -> Self {
        Self::start_with(Some(Box::new(answer)))
    }

    fn start_with(otherwise: Option<Box<AnswerOf>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            bars: Mutex::default(),
            page_rows: AtomicUsize::new(1000),
            order: Mutex::new(RowOrder::OldestFirst),
            has_cursors: AtomicBool::new(false),
            script: Mutex::default(),
            otherwise,
            date: Mutex::default(),
            asked: Mutex::default(),
            connections: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            under_way_max: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        let server = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let mut threads = Vec::new();
                while let Ok((stream, _)) = listener.accept() {
                    if shared.ended.load(Ordering::Acquire) {
                        break;
                    }
                    shared.connections.fetch_add(1, Ordering::AcqRel);
                    let shared = Arc::clone(&shared);
                    threads.push(std::thread::spawn(move || serve(&shared, stream)));
                }
                for thread in threads {
                    thread.join().unwrap();
                }
            }
        });
        Self { address, shared, server: Some(server) }
    }

    /// Where it listens: `127.0.0.1:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The template of its address, with which it is asked for bars.
    pub(crate) fn url(&self) -> String {
        let query = "symbol={symbol}&interval={interval}&from={from}&to={to}&limit={limit}";
        format!("http://{}/bars?{query}", self.address)
    }

    /// The keys of `[source.rest]` for it, with bars of one minute.
    pub(crate) fn section(&self) -> String {
        let url = self.url();
        format!(
            "[source.rest]\nurl = '{url}'\nsettle_ms = 0\nseconds_max = 5\n\
             [source.rest.intervals]\n60 = '1m'\n\
             [source.rest.mapping]\neach = '/rows/*'\ntime = '0'\nopen = '1'\nhigh = '2'\n\
             low = '3'\nclose = '4'\nvolume = '5'\n\
             [source.rest.refused]\ntext = '/message'\nwhen.'/code' = '!0'\n\
             rate_limited.'/code' = '1015'\naway.'/code' = '1016'\n"
        )
    }

    /// The bars of a symbol, in the order of time.
    pub(crate) fn set_bars(&self, symbol: &str, bars: Vec<Bar>) {
        locked(&self.shared.bars).insert(symbol.to_owned(), bars);
    }

    /// The most rows of an answer, whatever the request says.
    pub(crate) fn set_page_rows(&self, rows: usize) {
        self.shared.page_rows.store(rows, Ordering::Release);
    }

    /// In which order rows stand in an answer; a page that is too small has the first of them.
    pub(crate) fn set_order(&self, order: RowOrder) {
        *locked(&self.shared.order) = order;
    }

    /// Whether answers have a word for the next page.
    pub(crate) fn set_cursors(&self, has_cursors: bool) {
        self.shared.has_cursors.store(has_cursors, Ordering::Release);
    }

    /// The header `Date` of answers; without one, they have none.
    pub(crate) fn set_date(&self, date: Option<&str>) {
        *locked(&self.shared.date) = date.map(str::to_owned);
    }

    /// What happens to the next requests, in this order.
    pub(crate) fn script(&self, reactions: impl IntoIterator<Item = Reaction>) {
        locked(&self.shared.script).extend(reactions);
    }

    /// What was asked, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        locked(&self.shared.asked).clone()
    }

    /// How many connections came.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// The most requests that were under way at a time.
    pub(crate) fn under_way_max(&self) -> usize {
        self.shared.under_way_max.load(Ordering::Acquire)
    }
}

impl Drop for HistoryServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        // Wakes the one that accepts.
        drop(TcpStream::connect(&self.address));
        if let Some(server) = self.server.take()
            && server.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the server for history panicked");
        }
    }
}

/// Answers the requests of one connection.
fn serve(shared: &Shared, mut stream: TcpStream) {
    stream.set_read_timeout(Some(LOOK_EVERY)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut unread = Vec::new();
    while let Some(asked) = read_request(shared, &mut stream, &mut unread) {
        let at_once = shared.under_way.fetch_add(1, Ordering::AcqRel) + 1;
        shared.under_way_max.fetch_max(at_once, Ordering::AcqRel);
        locked(&shared.asked).push(asked.clone());
        let scripted = locked(&shared.script).pop_front();
        let reaction = scripted.unwrap_or_else(|| match &shared.otherwise {
            Some(otherwise) => otherwise(&asked),
            None => Reaction::Answer,
        });
        let goes_on = react(shared, &mut stream, &asked, &reaction);
        shared.under_way.fetch_sub(1, Ordering::AcqRel);
        if !goes_on {
            return;
        }
    }
}

/// The next request; `None` where the client or the server has ended.
fn read_request(shared: &Shared, stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<Asked> {
    loop {
        if let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = unread.drain(..end + 4).collect();
            let head = String::from_utf8_lossy(&head).trim_end().to_owned();
            let mut lines = head.lines();
            let first = lines.next()?.to_owned();
            let mut words = first.split(' ');
            assert_eq!(words.next(), Some("GET"), "history is asked for with GET: {first}");
            let target = words.next()?.to_owned();
            return Some(Asked { target, headers: lines.map(str::to_owned).collect() });
        }
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes) {
            Ok(0) => return None,
            Ok(count) => unread.extend_from_slice(&bytes[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if shared.ended.load(Ordering::Acquire) {
                    return None;
                }
            }
            Err(_) => return None,
        }
    }
}

/// Does what is to happen to a request; returns whether the connection stays open.
fn react(shared: &Shared, stream: &mut TcpStream, asked: &Asked, reaction: &Reaction) -> bool {
    let date = locked(&shared.date).clone();
    let date = date.map_or_else(String::new, |date| format!("Date: {date}\r\n"));
    let head = |status: u16, more: &str, length: usize| {
        format!("HTTP/1.1 {status} Status\r\n{date}{more}Content-Length: {length}\r\n\r\n")
    };
    let rows = || answer(shared, asked, reaction);
    let bytes = match reaction {
        Reaction::Status(status, headers, body) => {
            let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
            head(*status, &lines.collect::<String>(), body.len()) + body
        }
        Reaction::Say(body) => head(200, "", body.len()) + body,
        Reaction::Hang => {
            // Until the client hangs up.
            let mut unread = Vec::new();
            assert!(read_request(shared, stream, &mut unread).is_none(), "nothing was answered");
            return false;
        }
        Reaction::HangUp => return false,
        Reaction::Cut => {
            let body = rows();
            let half = body.len() / 2;
            // A client that is gone needs no answer; so below.
            let _ = stream.write_all((head(200, "", body.len()) + &body[..half]).as_bytes());
            return false;
        }
        Reaction::Chunked => {
            let body = rows();
            let chunks = body.as_bytes().chunks(7).map(|chunk| {
                format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk))
            });
            let chunks: String = chunks.collect();
            format!(
                "HTTP/1.1 200 Status\r\n{date}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
            )
        }
        _ => {
            let body = rows();
            head(200, "", body.len()) + &body
        }
    };
    let is_sent = stream.write_all(bytes.as_bytes()).is_ok();
    is_sent && !matches!(reaction, Reaction::CloseBehind)
}

/// The body of an answer.
fn answer(shared: &Shared, asked: &Asked, reaction: &Reaction) -> String {
    let bars = locked(&shared.bars);
    let Some(bars) = bars.get(asked.parameter("symbol")) else {
        return r#"{"code":1121,"message":"Invalid symbol."}"#.to_owned();
    };
    let (from, to) = (asked.number("from"), asked.number("to"));
    let is_asked = |bar: &&Bar| {
        from.is_none_or(|from| from <= bar.time_ms) && to.is_none_or(|to| bar.time_ms <= to)
    };
    let last = bars.last().map(|bar| bar.time_ms);
    let mut chosen: Vec<Bar> = bars.iter().filter(is_asked).cloned().collect();
    if from.is_none() && to.is_none() {
        let limit = asked.number("limit").map_or(usize::MAX, |limit| limit as usize);
        chosen.drain(..chosen.len().saturating_sub(limit));
    }
    match reaction {
        Reaction::Empty => chosen.clear(),
        Reaction::Partial(from, count) => {
            let from = (*from).min(chosen.len());
            chosen.drain(from..(from + count).min(chosen.len()));
        }
        Reaction::Late => chosen.retain(|bar| Some(bar.time_ms) != last),
        Reaction::Repeated => {
            chosen = chosen.iter().flat_map(|bar| [bar.clone(), bar.clone()]).collect();
        }
        _ => {}
    }
    if *locked(&shared.order) == RowOrder::NewestFirst {
        chosen.reverse();
    }
    if matches!(reaction, Reaction::Shuffled) {
        let middle = chosen.len() / 2;
        chosen.rotate_left(middle);
    }
    let page = shared.page_rows.load(Ordering::Acquire);
    let begin = asked.number("cursor").map_or(0, |cursor| cursor as usize).min(chosen.len());
    let end = begin.saturating_add(page).min(chosen.len());
    let has_more = end < chosen.len() && shared.has_cursors.load(Ordering::Acquire);
    let next = if has_more { end.to_string() } else { "null".to_owned() };
    let rows: Vec<_> = chosen[begin..end].iter().map(Bar::row).collect();
    format!(r#"{{"code":0,"rows":[{}],"next":{next}}}"#, rows.join(","))
}
