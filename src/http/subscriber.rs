//! One subscriber of the stream: the WebSocket handshake and the life after it.
//!
//! Owns the socket. Promises that a peer that does not read, does not answer or says too much is
//! cut, and that each forecast is one text message with exactly the record's bytes. Never slows
//! the stream.

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::Upgraded;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tracing::{debug, info};

use super::{HttpState, Reply, reply};
use crate::publish::stream::{Delivery, Subscription};

/// A subscriber has nothing to say but pings and goodbyes.
const INBOUND_BYTES_MAX: usize = 4 << 10;

/// What may wait in our memory for one subscriber, beside the shared ring.
const OUTBOUND_BYTES_MAX: usize = 1 << 20;

/// Records that are written before one flush, so that a burst costs few system calls.
const FLUSH_RECORDS_MAX: u64 = 256;

/// How often a subscriber is asked for a sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// How long a subscriber may keep us from writing.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a polite goodbye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Answers a handshake, and on success lets the subscriber live on a task of its own.
pub(super) fn upgrade(
    mut request: Request<Incoming>,
    state: &HttpState,
    alive: mpsc::Sender<Infallible>,
) -> Reply {
    let accept = match check_handshake(request.headers(), &state.allowed_origins) {
        Ok(accept) => accept,
        Err((status, text)) => return reply(status, "text/plain", text),
    };
    let symbols = match symbols(request.uri().query()) {
        Ok(symbols) => symbols,
        Err(text) => return reply(StatusCode::BAD_REQUEST, "text/plain", text),
    };
    let Some(subscription) = state.stream.subscribe(symbols) else {
        let text = "all places are taken (publish.subscribers_max)\n";
        return reply(StatusCode::SERVICE_UNAVAILABLE, "text/plain", text);
    };
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgraded.await {
            Ok(upgraded) => live(upgraded, subscription).await,
            Err(error) => debug!(%error, "a subscriber left during the handshake"),
        }
        drop(alive);
    });
    let mut reply = reply(StatusCode::SWITCHING_PROTOCOLS, "text/plain", "");
    let headers = reply.headers_mut();
    headers.clear();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    reply
}

/// The answer to the handshake's key, or why there is none.
fn check_handshake(
    headers: &HeaderMap,
    allowed_origins: &[String],
) -> Result<HeaderValue, (StatusCode, &'static str)> {
    let has = |name: HeaderName, word: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    if !(has(CONNECTION, "upgrade") && has(UPGRADE, "websocket")) {
        return Err((StatusCode::UPGRADE_REQUIRED, "this is a WebSocket\n"));
    }
    if !has(SEC_WEBSOCKET_VERSION, "13") {
        return Err((StatusCode::UPGRADE_REQUIRED, "only WebSocket version 13\n"));
    }
    if !is_allowed(headers, allowed_origins) {
        return Err((StatusCode::FORBIDDEN, "this origin is not in http.allowed_origins\n"));
    }
    headers
        .get(SEC_WEBSOCKET_KEY)
        .map(|key| derive_accept_key(key.as_bytes()))
        .and_then(|accept| HeaderValue::try_from(accept).ok())
        .ok_or((StatusCode::BAD_REQUEST, "no Sec-WebSocket-Key\n"))
}

/// Whether a page of this origin may open the stream. Browsers send the origin and do not keep
/// foreign pages from opening WebSockets; other clients send none.
fn is_allowed(headers: &HeaderMap, allowed_origins: &[String]) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let own = origin.split_once("://").map(|(_, host)| host.as_bytes());
    let host = headers.get(HOST).map(HeaderValue::as_bytes);
    (own.is_some() && own == host) || allowed_origins.iter().any(|allowed| allowed == origin)
}

/// The symbols of a query `symbols=A,B`; `None` for all.
fn symbols(query: Option<&str>) -> Result<Option<HashSet<String>>, String> {
    let mut symbols = None;
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if name != "symbols" {
            let name: String = name.chars().take(64).flat_map(char::escape_debug).collect();
            return Err(format!("unknown parameter `{name}`; there is `symbols=A,B`\n"));
        }
        let names = value.split(',').filter(|name| !name.is_empty()).map(str::to_owned);
        symbols.get_or_insert_with(HashSet::new).extend(names);
    }
    match symbols {
        Some(symbols) if symbols.is_empty() => Err("symbols= names none\n".to_owned()),
        symbols => Ok(symbols),
    }
}

/// Why a subscriber is no longer served.
enum End {
    /// It left, or the connection broke.
    Gone,
    /// It is told why and let go.
    Told(CloseCode, &'static str),
}

async fn live(upgraded: Upgraded, mut subscription: Subscription) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(INBOUND_BYTES_MAX))
        .max_frame_size(Some(INBOUND_BYTES_MAX))
        .max_write_buffer_size(OUTBOUND_BYTES_MAX);
    let mut socket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let end = converse(&mut socket, &mut subscription).await;
    if let End::Told(code, reason) = end {
        if code == CloseCode::Policy {
            subscription.metrics().cut();
            info!(reason, "cut a subscriber");
        }
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        // A courtesy; a peer that does not read will not read it either.
        let _ = timeout(CLOSE_TIMEOUT, socket.close(Some(frame))).await;
    }
}

async fn converse(socket: &mut Socket, subscription: &mut Subscription) -> End {
    let mut pings = interval(PING_INTERVAL);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick of an interval is now.
    pings.tick().await;
    let mut asked = false;
    loop {
        let delivery = tokio::select! {
            biased;
            message = socket.next() => match message {
                None | Some(Err(_) | Ok(Message::Close(_))) => return End::Gone,
                Some(Ok(_)) => {
                    asked = false;
                    continue;
                }
            },
            _ = pings.tick() => {
                if asked {
                    return End::Told(CloseCode::Policy, "no answer to a ping");
                }
                asked = true;
                match timeout(WRITE_TIMEOUT, socket.send(Message::Ping(Bytes::new()))).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(_)) => return End::Gone,
                    Err(_) => return End::Told(CloseCode::Policy, "too slow"),
                }
            },
            delivery = subscription.next() => delivery,
        };
        match timeout(WRITE_TIMEOUT, write(socket, subscription, delivery)).await {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(end))) => return end,
            Ok(Err(_)) => return End::Gone,
            Err(_) => return End::Told(CloseCode::Policy, "too slow"),
        }
    }
}

/// Writes a record and those that wait behind it, then flushes once.
async fn write(
    socket: &mut Socket,
    subscription: &mut Subscription,
    first: Delivery,
) -> Result<Option<End>, Error> {
    let mut next = Some(first);
    let mut count = 0;
    let mut end = None;
    while let Some(delivery) = next {
        match delivery {
            Delivery::Record(record) => {
                // Records are JSON that this process encoded, so this only takes the bytes over.
                let text =
                    Utf8Bytes::try_from(record).map_err(|error| Error::Utf8(error.to_string()))?;
                socket.feed(Message::Text(text)).await?;
                count += 1;
            }
            Delivery::Missed(_) => end = Some(End::Told(CloseCode::Policy, "too slow")),
            Delivery::End => end = Some(End::Told(CloseCode::Away, "going away")),
        }
        let more = end.is_none() && count < FLUSH_RECORDS_MAX;
        next = if more { subscription.try_next() } else { None };
    }
    socket.flush().await?;
    subscription.metrics().sent(count);
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn foreign_pages_are_kept_out_unless_listed() {
        let allowed = ["https://desk.example".to_owned()];
        let check = |origin: Option<&'static str>| {
            let mut headers = headers(&[(HOST, "127.0.0.1:9630")]);
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            is_allowed(&headers, &allowed)
        };
        assert!(check(None), "no browser");
        assert!(check(Some("http://127.0.0.1:9630")), "our own page");
        assert!(check(Some("https://desk.example")), "listed");
        assert!(!check(Some("https://evil.example")));
        assert!(!check(Some("null")));
    }

    #[test]
    fn a_handshake_is_answered_as_the_standard_says() {
        let good = [
            (HOST, "h"),
            (CONNECTION, "keep-alive, Upgrade"),
            (UPGRADE, "WebSocket"),
            (SEC_WEBSOCKET_VERSION, "13"),
            (SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        // Key and answer are the example of RFC 6455, section 1.3.
        let answer = check_handshake(&headers(&good), &[]).unwrap();
        assert_eq!(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for missing in 1..good.len() {
            let mut less = good.to_vec();
            less.remove(missing);
            assert!(check_handshake(&headers(&less), &[]).is_err(), "without {:?}", good[missing]);
        }
    }

    #[test]
    fn a_query_names_symbols_or_is_refused() {
        let set = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(symbols(None), Ok(None));
        assert_eq!(symbols(Some("symbols=A,B%2FC")), Ok(set(&["A", "B/C"])));
        assert_eq!(symbols(Some("symbols=A&symbols=B")), Ok(set(&["A", "B"])));
        assert!(symbols(Some("symbols=")).is_err());
        assert!(symbols(Some("symbol=A")).unwrap_err().contains("unknown parameter `symbol`"));
    }
}
