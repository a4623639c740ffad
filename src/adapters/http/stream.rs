//! `GET /v1/stream`: from an HTTP request to a subscriber.
//!
//! Owns the checks before the upgrade and the upgrade itself. Promises that a refusal is an
//! ordinary HTTP answer that says why. Never sends a record: the subscription does.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderName, ORIGIN, UPGRADE};
use hyper::upgrade::{Parts, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
#[cfg(feature = "echo")]
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
#[cfg(feature = "echo")]
use tokio_tungstenite::tungstenite::protocol::{Role as Side, WebSocketConfig};
use tracing::{debug, error, info};

use super::Models;
use super::access::Access;
use super::metrics::Refused;
use super::origin::may_connect;
use super::problem::{Kind, Problem};
use super::query;
use super::routes::{Answer, has_body};
use super::server::Context;
use super::watched::Watched;
use crate::adapters::stream::{Records, StreamHub, SubscribeError};
use crate::core::text::excerpt;
use crate::engine::pipeline::Role;

/// Between our answer and the socket lies one write; a peer that does not take it holds a place.
const UPGRADE_MAX: Duration = Duration::from_secs(10);

/// The longest piece of a foreign header in a log line.
const SAMPLE_CHARS_MAX: usize = 64;

/// Answers 101 and serves the subscriber in a task of its own, or says what is wrong.
pub(super) fn open(context: &Context, hub: &StreamHub, mut request: Request<Incoming>) -> Answer {
    let wish = match query::wish(request.uri().query().unwrap_or_default()) {
        Ok(wish) => wish,
        Err(problem) => return Problem::new(Kind::BadRequest, problem).answer(),
    };
    let missing = |what| Problem::new(Kind::NotConfigured, what).answer();
    let hub = match (wish.records, wish.role, &context.state.models) {
        (Records::Scores, ..) => match &context.state.scores {
            Some(scores) => scores,
            None => return missing("this process makes no scores"),
        },
        (Records::Forecasts, Role::Live | Role::Blend, _) => hub,
        (_, Role::Shadow, Some(Models { shadows: Some(shadows), .. })) => shadows,
        (_, Role::Shadow | Role::Vacant, _) => return missing("no model is a shadow here"),
    };
    if !origin_is_fine(context, &request) {
        hub.count_refusal();
        return Problem::new(Kind::ForeignOrigin, "this web origin may not open the stream")
            .answer();
    }
    if has_body(request.headers()) {
        return Problem::new(Kind::BadRequest, "a handshake has no body").answer();
    }
    let answer = match create_response_with_body(&request, Full::<Bytes>::default) {
        Ok(answer) => answer,
        Err(error) => {
            let detail = format!("connect by WebSocket: {error}");
            return Problem::new(Kind::NotWebSocket, detail)
                .with_header(UPGRADE, "websocket")
                .with_header(CONNECTION, "upgrade")
                .with_header(HeaderName::from_static("sec-websocket-version"), "13")
                .answer();
        }
    };
    if context.shortage.is_now() {
        hub.count_refusal();
        return Problem::new(Kind::Busy, "no file descriptor is left for a subscriber").answer();
    }
    let subscription = match hub.subscribe(wish, context.peer.ip()) {
        Ok(subscription) => subscription,
        Err(refusal) => {
            let kind = match refusal {
                SubscribeError::Full | SubscribeError::AddressFull => Kind::TooManySubscribers,
                SubscribeError::Finished => Kind::Stopping,
            };
            return Problem::new(kind, refusal.to_string()).answer();
        }
    };
    let (peer, alive) = (context.peer, context.alive.clone());
    let upgrade = upgrade_of(&mut request, peer);
    tokio::spawn(async move {
        if let Some(upgraded) = upgrade.await {
            match upgraded.downcast::<TokioIo<Watched>>() {
                Ok(Parts { io, read_buf, .. }) => {
                    subscription.serve(io.into_inner().into_socket(), read_buf, peer).await;
                }
                Err(_) => error!(%peer, "the socket of a subscriber is of another kind; cut it"),
            }
        }
        drop(alive);
    });
    answer
}

/// The socket behind a request, once its answer has been taken.
#[cfg(feature = "echo")]
pub(super) fn upgraded(
    request: &mut Request<Incoming>,
    peer: SocketAddr,
    limits: WebSocketConfig,
) -> impl Future<Output = Option<WebSocketStream<TokioIo<Upgraded>>>> + use<> {
    let upgrade = upgrade_of(request, peer);
    async move {
        let io = TokioIo::new(upgrade.await?);
        Some(WebSocketStream::from_raw_socket(io, Side::Server, Some(limits)).await)
    }
}

/// The connection behind a request, once its answer has been taken.
fn upgrade_of(
    request: &mut Request<Incoming>,
    peer: SocketAddr,
) -> impl Future<Output = Option<Upgraded>> + use<> {
    let upgrade = hyper::upgrade::on(request);
    async move {
        match timeout(UPGRADE_MAX, upgrade).await {
            Ok(Ok(upgraded)) => Some(upgraded),
            Ok(Err(error)) => {
                debug!(%peer, %error, "a peer left during the upgrade");
                None
            }
            Err(_) => {
                debug!(%peer, "a peer did not take the upgrade in time");
                None
            }
        }
    }
}

/// Whether the request comes from a program, or from a page that may open the stream.
pub(super) fn origin_is_fine(context: &Context, request: &Request<Incoming>) -> bool {
    let mut origins = request.headers().get_all(ORIGIN).iter();
    let (origin, more) = (origins.next(), origins.next());
    // An origin that is not a text is the origin of nobody.
    let origin = origin.map(|origin| origin.to_str().unwrap_or("?"));
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let Access { allowed_origins, allowed_hosts, .. } = &context.state.access;
    // A host on the list was accepted by name, so a page of that name is our own.
    let loopback = context.loopback && allowed_hosts.is_empty();
    let fine = more.is_none() && may_connect(origin, host, loopback, allowed_origins);
    if !fine {
        context.metrics.refused(Refused::Origin);
        let origin = excerpt(origin.unwrap_or_default(), SAMPLE_CHARS_MAX);
        info!(peer = %context.peer, origin, "refused a web origin");
    }
    fine
}
