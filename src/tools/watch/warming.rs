//! How many symbols of a daemon still wait for their history, asked beside its stream.
//!
//! Owns the questions. Promises that a daemon that does not answer them, because it is an older one
//! say, costs the watch nothing. Never shows anything itself.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::net::address::{HttpUrl, WebSocketUrl};
use crate::net::dial::{Dialer, Header};

/// The path of the stream, and that of the question beside it.
const STREAM: &str = "/v1/stream";
const SYMBOLS: &str = "/v1/symbols?limit=1";

/// The time between two questions, while symbols wait and otherwise.
const ASK_EVERY: Duration = Duration::from_secs(1);
const ASK_EVERY_IDLE: Duration = Duration::from_secs(10);

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The largest answer: one symbol and some counts.
const ANSWER_BYTES_MAX: usize = 1 << 16;

/// How far warming is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Warming {
    /// Symbols that have their history, or cannot have it.
    pub(super) done: u64,
    /// Symbols that it was looked for.
    pub(super) all: u64,
}

/// What is read of an answer.
#[derive(Deserialize)]
struct Answer {
    history: Counts,
}

#[derive(Deserialize)]
struct Counts {
    asked: u64,
    warm: u64,
    cold: u64,
}

/// Asks again and again and notes what is said, until nobody reads it.
pub(super) async fn follow(
    dialer: Dialer,
    url: WebSocketUrl,
    shown: watch::Sender<Option<Warming>>,
) {
    let Some(address) = address_beside(&url) else { return };
    loop {
        let warming = tokio::select! {
            biased;
            () = shown.closed() => return,
            answer = timeout(ANSWER_MAX, ask(&dialer, &address)) => answer.ok().flatten(),
        };
        let wait = if warming.is_some() { ASK_EVERY } else { ASK_EVERY_IDLE };
        shown.send_replace(warming);
        tokio::select! {
            biased;
            () = shown.closed() => return,
            () = sleep(wait) => {}
        }
    }
}

/// Where a daemon lists its symbols, by the address of its stream.
fn address_beside(url: &WebSocketUrl) -> Option<HttpUrl> {
    let place = url.secret().split(['?', '#']).next()?;
    let before = place.strip_suffix(STREAM)?.strip_prefix("ws")?;
    format!("http{before}{SYMBOLS}").parse().ok()
}

/// What a daemon says; `None` where no symbol waits, or where it does not say so.
async fn ask(dialer: &Dialer, address: &HttpUrl) -> Option<Warming> {
    let endpoint = address.endpoint();
    let transport = dialer.connect(&endpoint).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(transport)).await.ok()?;
    // Ends behind the answer; what becomes of it, the answer says.
    drop(tokio::spawn(connection));
    let mut request = Request::get(address.target())
        .header(HOST, endpoint.authority())
        .header(CONNECTION, "close");
    for Header { name, value } in dialer.headers() {
        request = request.header(name, value.reveal());
    }
    let request = request.body(Empty::<Bytes>::new()).ok()?;
    let body = sender.send_request(request).await.ok()?.into_body();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.ok()?.to_bytes();
    warming_of(&body)
}

fn warming_of(answer: &[u8]) -> Option<Warming> {
    let Answer { history: Counts { asked, warm, cold } } = serde_json::from_slice(answer).ok()?;
    let done = warm + cold;
    (asked > 0).then_some(Warming { done, all: done + asked })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_listed_beside_the_stream() {
        let beside = |url: &str| {
            let url = address_beside(&url.parse().unwrap())?;
            let endpoint = url.endpoint();
            Some((endpoint.encrypted, endpoint.authority(), url.target()))
        };
        let symbols = |authority: &str, path: &str, encrypted| {
            Some((encrypted, authority.to_owned(), path.to_owned()))
        };
        assert_eq!(
            beside("ws://127.0.0.1:9630/v1/stream?symbols=A"),
            symbols("127.0.0.1:9630", "/v1/symbols?limit=1", false)
        );
        assert_eq!(
            beside("wss://host/prefix/v1/stream"),
            symbols("host:443", "/prefix/v1/symbols?limit=1", true)
        );
        assert_eq!(beside("ws://host/forecasts"), None, "nothing is known of such a place");
    }

    #[test]
    fn only_symbols_that_wait_are_worth_a_word() {
        let counts = |asked, warm, cold| {
            let answer = format!(
                r#"{{"history":{{"none":1,"asked":{asked},"warm":{warm},"cold":{cold}}}}}"#
            );
            warming_of(answer.as_bytes())
        };
        assert_eq!(counts(463, 30, 7), Some(Warming { done: 37, all: 500 }));
        assert_eq!(counts(0, 493, 7), None);
        assert_eq!(warming_of(br#"{"count":9,"symbols":[]}"#), None, "of an older daemon");
        assert_eq!(warming_of(b"<html>"), None);
    }
}
