//! Requests to answers.
//!
//! Owns the paths, the status codes and the headers of every answer. Promises an answer to every
//! request, with the headers that keep a browser from misreading it. Only a reload is waited for.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use prometheus::TextEncoder;
use serde::Serialize;
use tracing::error;

use super::query;
use super::server::Context;
use super::{VersionInfo, models, stream, symbols};
use crate::adapters::stream::StreamHub;
use crate::keep::reload::RunningModel;
use crate::net::percent::percent_decoded;
use crate::ops::readiness::Readiness;
use crate::shard::SymbolBoard;

pub(super) type Answer = Response<Full<Bytes>>;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

const ROUTES: &str = "\
GET /livez       200 while the data path moves, else 503 with one reason per line
GET /readyz      200 when ready, with one notice per line; else 503 with one reason per line
GET /metrics     Prometheus text format
GET /version     JSON: build, the model and its runtime where one runs
";

const SYMBOLS_ROUTE: &str = "\
GET /v1/symbols  JSON: every symbol with its health; ?symbols=AAPL,MSFT for these alone, and
                 ?symbol=A%2CB for one with a comma
";

const MODEL_ROUTES: &str = "\
GET /v1/models   JSON: the model that runs, and versions that were refused before it
POST /v1/reload  takes over another version of the model; JSON: what became of it
";

const STREAM_ROUTES: &str = "\
GET /v1/stream   WebSocket: forecasts, one JSON message each; ?symbols=AAPL,MSFT for these alone
GET /v1/forecasts/SYMBOL
                 the newest forecast of a symbol
";

/// The folder of newest forecasts.
const FORECASTS: &str = "/v1/forecasts/";

/// Answers one request.
pub(super) async fn answer(context: &Context, request: Request<Incoming>) -> Answer {
    let mut answer = route(context, request).await;
    protect(answer.headers_mut());
    answer
}

async fn route(context: &Context, request: Request<Incoming>) -> Answer {
    if !context.state.access.allows(request.uri().path(), request.headers()) {
        if let Some(stream) = &context.state.stream {
            stream.count_refusal();
        }
        let mut answer = text(StatusCode::UNAUTHORIZED, "send Authorization: Bearer TOKEN\n");
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return answer;
    }
    let respond: fn(&Context) -> Answer = match request.uri().path() {
        "/" => |context| text(StatusCode::OK, list(context)),
        "/livez" => |context| probe("ok\n", &context.state.liveness),
        "/readyz" => |context| probe("ready\n", &context.state.readiness),
        "/metrics" => |context| metrics(&context.state.registry),
        "/version" => |context| {
            let running = context.state.models.as_ref().map(|models| models.running.borrow());
            version(
                context.state.version.as_ref(),
                running.as_deref().map(|status| &status.running),
            )
        },
        "/v1/models" if context.state.models.is_some() => |context| match &context.state.models {
            Some(models) => models::list(models),
            None => text(StatusCode::NOT_FOUND, "no model runs\n"),
        },
        "/v1/reload" if context.state.models.is_some() => {
            return match (request.method(), &context.state.models) {
                // No page of a stranger can change what runs here.
                (&Method::POST, Some(_)) if !stream::origin_is_fine(context, &request) => {
                    text(StatusCode::FORBIDDEN, "this web origin may not ask for a reload\n")
                }
                (&Method::POST, Some(models)) => models::reload(models).await,
                _ => method_not_allowed("POST"),
            };
        }
        "/v1/stream" if context.state.stream.is_some() => {
            return match (request.method(), &context.state.stream) {
                (&Method::GET, Some(hub)) => stream::open(context, hub, request),
                _ => method_not_allowed("GET"),
            };
        }
        path if path.starts_with(FORECASTS) && context.state.stream.is_some() => {
            return match (request.method(), &context.state.stream) {
                (&(Method::GET | Method::HEAD), Some(hub)) => newest(hub, &path[FORECASTS.len()..]),
                _ => method_not_allowed("GET, HEAD"),
            };
        }
        "/v1/symbols" if context.state.symbols.is_some() => {
            return match (request.method(), &context.state.symbols) {
                (&Method::GET | &Method::HEAD, Some(board)) => {
                    listed(board, request.uri().query().unwrap_or_default())
                }
                _ => method_not_allowed("GET, HEAD"),
            };
        }
        _ => |context| {
            text(StatusCode::NOT_FOUND, format!("not found; there are\n\n{}", list(context)))
        },
    };
    match *request.method() {
        Method::GET | Method::HEAD => respond(context),
        _ => method_not_allowed("GET, HEAD"),
    }
}

/// What there is to ask for.
fn list(context: &Context) -> String {
    let models = if context.state.models.is_some() { MODEL_ROUTES } else { "" };
    let stream = if context.state.stream.is_some() { STREAM_ROUTES } else { "" };
    let symbols = if context.state.symbols.is_some() { SYMBOLS_ROUTE } else { "" };
    format!("{ROUTES}{models}{symbols}{stream}")
}

/// The newest forecast of a symbol.
fn newest(hub: &StreamHub, encoded: &str) -> Answer {
    let newest = percent_decoded(encoded).and_then(|symbol| hub.newest(&symbol));
    match newest {
        Some(record) => with_type(StatusCode::OK, JSON, record),
        None => text(StatusCode::NOT_FOUND, "no forecast of this symbol yet\n"),
    }
}

/// 200 with the notices, or 503 with the problems; one a line.
fn probe(well: &'static str, readiness: &Readiness) -> Answer {
    let problems = readiness.problems();
    if problems.is_empty() {
        let notices = readiness.notices();
        let body = notices.iter().fold(well.to_owned(), |body, notice| body + notice + "\n");
        return text(StatusCode::OK, body);
    }
    text(StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n")
}

fn metrics(registry: &prometheus::Registry) -> Answer {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(body) => with_type(StatusCode::OK, prometheus::TEXT_FORMAT, body),
        Err(error) => {
            error!(%error, "cannot encode the metrics");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be encoded\n")
        }
    }
}

fn version(version: Option<&VersionInfo>, running: Option<&RunningModel>) -> Answer {
    // The model may have changed since the start.
    let now = version.zip(running).map(|(version, running)| VersionInfo {
        model: running.model.clone(),
        model_version: running.model_version.clone(),
        mode: running.mode.clone(),
        ..version.clone()
    });
    #[derive(Serialize)]
    struct Version<'a> {
        name: &'static str,
        version: &'static str,
        #[serde(flatten)]
        rest: Option<&'a VersionInfo>,
    }
    let version = Version {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        rest: now.as_ref().or(version),
    };
    json(StatusCode::OK, &version)
}

/// Every symbol that is asked for, as JSON.
fn listed(board: &SymbolBoard, wanted: &str) -> Answer {
    match query::symbols(wanted) {
        Ok(filter) => with_type(StatusCode::OK, JSON, symbols::list(board, &filter)),
        Err(problem) => text(StatusCode::BAD_REQUEST, format!("{problem}\n")),
    }
}

fn method_not_allowed(allowed: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("allowed: {allowed}\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let body = serde_json::to_string(value).expect("a struct of texts and numbers always encodes");
    with_type(status, JSON, body + "\n")
}

/// An answer in plain text.
pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_type(status, TEXT, body)
}

fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// A browser takes an answer for what it says it is, and loads nothing else from elsewhere.
fn protect(headers: &mut HeaderMap) {
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, "default-src 'self'"),
        // Everything here is about this moment.
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
