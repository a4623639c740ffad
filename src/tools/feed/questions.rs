//! Questions about the past, on the port of the feed.
//!
//! Owns how a question is told from a subscriber, and the HTTP around the answer. Promises that a
//! connection asks as often as it likes, that one which says nothing ends, and that a web page of
//! another origin gets no answer. Never chooses a record: `history` does.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, ORIGIN};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::history::{History, Question};
use crate::adapters::http::origin::may_connect;

/// How a question begins.
const BEGINNING: &[u8] = b"GET /history";

/// A pause before it is looked again at a beginning that came in pieces.
const PIECE_PAUSE: Duration = Duration::from_millis(10);

/// How long a connection may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What questions are answered from.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) history: &'a History,
    /// How many records a subscriber has had, the one that is furthest.
    pub(super) played: &'a AtomicUsize,
    /// Whether the feed is bound to loopback.
    pub(super) loopback: bool,
}

/// Whether a connection begins with a question; one that ended does not. Takes nothing from it.
///
/// # Errors
/// Those of the connection.
pub(super) async fn begins_with_a_question(stream: &TcpStream) -> std::io::Result<bool> {
    let mut beginning = [0; BEGINNING.len()];
    loop {
        let count = stream.peek(&mut beginning).await?;
        if !BEGINNING.starts_with(&beginning[..count]) || count == 0 {
            return Ok(false);
        }
        if count == BEGINNING.len() {
            return Ok(true);
        }
        sleep(PIECE_PAUSE).await;
    }
}

impl Asked<'_> {
    /// Answers until the peer is done.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) async fn attend(self, stream: TcpStream) -> hyper::Result<()> {
        let answer = |request| std::future::ready(Ok::<_, Infallible>(self.answer(&request)));
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(SILENCE_MAX)
            .serve_connection(TokioIo::new(stream), service_fn(answer))
            .await
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
        if !may_connect(header(ORIGIN), header(HOST), self.loopback, &[]) {
            return refusal(StatusCode::FORBIDDEN, "this web origin may not ask");
        }
        if request.uri().path() != "/history" {
            return refusal(StatusCode::NOT_FOUND, "there is /history, and the feed itself");
        }
        if request.method() != Method::GET {
            return refusal(StatusCode::METHOD_NOT_ALLOWED, "GET is the only method");
        }
        let question = match Question::parse(request.uri().query().unwrap_or_default()) {
            Ok(question) => question,
            Err(problem) => return refusal(StatusCode::BAD_REQUEST, &problem),
        };
        match self.history.answer(&question, self.played.load(Ordering::Relaxed)) {
            Some(answer) => response(StatusCode::OK, "application/json", answer),
            None => refusal(StatusCode::NOT_FOUND, "the recording has no such symbol"),
        }
    }
}

fn refusal(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", format!("{words}\n").into_bytes())
}

fn response(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
