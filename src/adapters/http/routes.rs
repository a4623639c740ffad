//! Requests to answers.
//!
//! Owns the paths, the status codes and the headers of every answer. Promises an answer to every
//! request, with the headers that keep a browser from misreading it. Only a reload is waited for.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    HeaderValue, TRANSFER_ENCODING, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use prometheus::TextEncoder;
use serde::Serialize;
use tracing::error;

use super::cors::Reader;
use super::documents::{FORECAST, OPENAPI, SCORE, document};
use super::host::{Circumstances, HostProblem};
use super::metrics::Refused;
use super::problem::{Kind, Problem};
use super::query::{self, FORECAST_PARAMETERS, LISTING_PARAMETERS, Listing};
use super::server::Context;
use super::turns::NoRoom;
use super::{HttpState, VersionInfo, forecasts, models, stream, symbols};
use crate::adapters::stream::StreamHub;
use crate::keep::reload::RunningModel;
use crate::ops::readiness::Readiness;

pub(super) type Answer = Response<Full<Bytes>>;

pub(super) const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

const ROUTES: &str = "\
GET /livez       200 while the data path moves, else 503 with one reason per line
GET /readyz      200 when ready, with one notice per line; else 503 with one reason per line
GET /metrics     Prometheus text format
GET /version     JSON: build, the model and its runtime where one runs
GET /v1/openapi.json
                 a description of all this for programs
";

const SYMBOLS_ROUTE: &str = "\
GET /v1/symbols  JSON: every symbol with its health; ?symbols=AAPL,MSFT for these alone, and
                 ?symbol=A%2CB for one with a comma; ?limit=100&after=AAPL for a page
";

const MODEL_ROUTES: &str = "\
GET /v1/models   JSON: the models that run, what they do, and versions that were refused before
                 them
POST /v1/reload  takes over another version of each model, or of ?model=NAME; JSON: what became of
                 it
POST /v1/models/NAME/promote
                 gives a shadow the seat of the live model, which becomes a shadow
";

const STREAM_ROUTES: &str = "\
GET /v1/stream   WebSocket: forecasts, one JSON message each; ?symbols=AAPL,MSFT for these alone,
                 ?role=shadow for those of shadows, ?records=scores for scores
GET /v1/forecasts
                 JSON: the newest forecast of every symbol; parameters as of /v1/symbols, and
                 ?model=NAME for those of one of several models
GET /v1/forecasts/SYMBOL
                 the newest forecast of a symbol; ?model=NAME likewise
GET /v1/scores   JSON: the newest score of every symbol, with its verdict; parameters as of
                 /v1/forecasts
GET /v1/scores/SYMBOL
                 the newest score of a symbol; ?model=NAME likewise
";

/// The most symbols of one answer, some 2 MB.
const SYMBOLS_MAX: usize = 10_000;

/// The most forecasts or scores of one answer, a megabyte at most.
const FORECASTS_MAX: usize = 1_000;

const READ: &str = "GET, HEAD, OPTIONS";
const RELOAD: &str = "POST, OPTIONS";

/// What a path leads to.
#[derive(Clone, Copy)]
enum Route<'r> {
    Home,
    Livez,
    Readyz,
    Metrics,
    Version,
    Document(&'static str),
    Models(&'r super::Models),
    Reload(&'r super::Models),
    /// Of the model with this percent-encoded name.
    Promote(&'r super::Models, &'r str),
    Stream(&'r StreamHub),
    Forecasts(&'r StreamHub),
    /// Of the symbol with this percent-encoded name.
    Forecast(&'r StreamHub, &'r str),
    Scores(&'r StreamHub),
    /// Of the symbol with this percent-encoded name.
    Score(&'r StreamHub, &'r str),
    Symbols(&'r crate::shard::SymbolBoard),
}

/// Answers one request.
pub(super) async fn answer(context: &Context, request: Request<Incoming>) -> Answer {
    let reader = Reader::new(&request, &context.state.access.allowed_origins);
    let has_body = has_body(request.headers());
    let mut answer = match route(context, request).await {
        Ok(answer) => answer,
        Err(problem) => problem.answer(),
    };
    if has_body && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        // No body is read, and where one ends is what smuggled requests lie about: nothing behind
        // it is taken for a request.
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    protect(answer.headers_mut());
    reader.admit(answer.headers_mut());
    answer
}

/// Whether a body follows a head.
pub(super) fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH);
    headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

async fn route(context: &Context, request: Request<Incoming>) -> Result<Answer, Problem> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let access = &context.state.access;
    let circumstances = Circumstances {
        loopback: context.loopback,
        guarded: access.token.is_some(),
        probe: matches!(uri.path(), "/livez" | "/readyz"),
    };
    access.allowed_hosts.check(&request, circumstances).map_err(|problem| {
        context.metrics.refused(Refused::Host);
        let is_foreign = problem == HostProblem::Foreign;
        let kind = if is_foreign { Kind::ForeignHost } else { Kind::BadHost };
        Problem::new(kind, problem.to_string())
    })?;
    // What may be done with a path is no secret, and a browser asks without the token.
    if method == Method::OPTIONS {
        let allowed = if uri.path() == "*" { READ } else { find(context, uri.path())?.methods() };
        return Ok(options(allowed));
    }
    if !access.allows(uri.path(), request.headers()) {
        context.metrics.refused(Refused::Token);
        if let Some(stream) = &context.state.stream {
            stream.count_refusal();
        }
        return Err(Problem::new(Kind::NoToken, "send Authorization: Bearer TOKEN")
            .with_header(WWW_AUTHENTICATE, "Bearer"));
    }
    let route = find(context, uri.path())?;
    let fits = match route {
        Route::Reload(_) | Route::Promote(..) => method == Method::POST,
        _ => matches!(method, Method::GET | Method::HEAD),
    };
    if !fits {
        return Err(Problem::method(route.methods()));
    }
    respond(context, route, request, uri.query().unwrap_or_default()).await
}

/// What a path leads to here.
fn find<'r>(context: &'r Context, path: &'r str) -> Result<Route<'r>, Problem> {
    let state = &*context.state;
    let missing = |what: &str| Problem::new(Kind::NotConfigured, what);
    let models = || state.models.as_ref().ok_or_else(|| missing("no model runs in this process"));
    let open = |hub: &'r Option<StreamHub>, without| match hub {
        Some(hub) if hub.is_closed() => Err(missing("publish.subscribers_max is 0")),
        Some(hub) => Ok(hub),
        None => Err(missing(without)),
    };
    let hub = || open(&state.stream, "this process makes no forecasts");
    let scores = || open(&state.scores, "this process makes no scores");
    Ok(match path {
        "/" => Route::Home,
        "/livez" => Route::Livez,
        "/readyz" => Route::Readyz,
        "/metrics" => Route::Metrics,
        "/version" => Route::Version,
        "/v1/openapi.json" => Route::Document(OPENAPI),
        "/v1/forecast.schema.json" => Route::Document(FORECAST),
        "/v1/score.schema.json" => Route::Document(SCORE),
        "/v1/models" => Route::Models(models()?),
        "/v1/reload" => Route::Reload(models()?),
        "/v1/stream" => Route::Stream(hub()?),
        "/v1/forecasts" => Route::Forecasts(hub()?),
        "/v1/scores" => Route::Scores(scores()?),
        "/v1/symbols" => match &state.symbols {
            Some(board) => Route::Symbols(board),
            None => return Err(missing("this process keeps no symbols")),
        },
        path => {
            if let Some(symbol) = path.strip_prefix("/v1/forecasts/") {
                Route::Forecast(hub()?, symbol)
            } else if let Some(symbol) = path.strip_prefix("/v1/scores/") {
                Route::Score(scores()?, symbol)
            } else if let Some(model) = promoted(path) {
                Route::Promote(models()?, model)
            } else {
                return Err(Problem::new(Kind::NoSuchPath, "not found; GET / lists what there is"));
            }
        }
    })
}

/// The model in the path of a promotion.
fn promoted(path: &str) -> Option<&str> {
    let name = path.strip_prefix("/v1/models/")?.strip_suffix("/promote")?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

impl Route<'_> {
    /// What `Allow` says of it.
    fn methods(self) -> &'static str {
        match self {
            Self::Reload(_) | Self::Promote(..) => RELOAD,
            _ => READ,
        }
    }
}

async fn respond(
    context: &Context,
    route: Route<'_>,
    request: Request<Incoming>,
    wanted: &str,
) -> Result<Answer, Problem> {
    let state = &*context.state;
    Ok(match route {
        Route::Home => text(StatusCode::OK, list(state)),
        Route::Livez => probe("ok\n", &state.liveness),
        Route::Readyz => probe("ready\n", &state.readiness),
        Route::Metrics => metrics(context).await?,
        Route::Version => {
            let running = state.models.as_ref().map(|models| models.running.borrow());
            let first = running.as_deref().and_then(|models| models.first_live());
            version(state.version.as_ref(), first.map(|model| &model.status.running))
        }
        Route::Document(text) => document(text),
        Route::Models(models) => models::list(models),
        Route::Reload(models) => {
            may_change(context, &request)?;
            let name =
                query::model(wanted).map_err(|problem| Problem::new(Kind::BadRequest, problem))?;
            models::reload(models, name.as_deref()).await?
        }
        Route::Promote(models, name) => {
            may_change(context, &request)?;
            let version = query::version(wanted)
                .map_err(|problem| Problem::new(Kind::BadRequest, problem))?;
            models::promote(models, name, version.as_deref()).await?
        }
        Route::Stream(hub) => stream::open(context, hub, request),
        Route::Forecasts(hub) => newest_of_each(context, hub, wanted, rank).await?,
        Route::Forecast(hub, symbol) => {
            let model = query::without_model(wanted)
                .map_err(|problem| Problem::new(Kind::BadRequest, problem))?
                .0;
            let rank = rank(state, model.as_deref())?;
            let of_model = model.as_deref().and_then(|model| {
                state.models.as_ref().and_then(|models| models::wants(models, model))
            });
            let board = state.symbols.as_ref();
            let record = forecasts::newest(hub, rank, of_model.as_ref(), board, symbol)?;
            with_type(StatusCode::OK, JSON, record)
        }
        Route::Scores(scores) => newest_of_each(context, scores, wanted, score_rank).await?,
        Route::Score(scores, symbol) => {
            let model =
                query::model(wanted).map_err(|problem| Problem::new(Kind::BadRequest, problem))?;
            let rank = score_rank(state, model.as_deref())?;
            let record = forecasts::newest_score(scores, rank, symbol)?;
            with_type(StatusCode::OK, JSON, record)
        }
        Route::Symbols(board) => {
            let listing = listing(wanted, SYMBOLS_MAX, LISTING_PARAMETERS)?;
            listed(context, || symbols::list(board, &listing)).await?
        }
    })
}

/// The newest record of each symbol in a stream, of one model where the query names it.
async fn newest_of_each(
    context: &Context,
    hub: &StreamHub,
    wanted: &str,
    rank: fn(&HttpState, Option<&str>) -> Result<Option<u16>, Problem>,
) -> Result<Answer, Problem> {
    let (model, wanted) =
        query::without_model(wanted).map_err(|problem| Problem::new(Kind::BadRequest, problem))?;
    let rank = rank(&context.state, model.as_deref())?;
    let listing = listing(&wanted, FORECASTS_MAX, FORECAST_PARAMETERS)?;
    listed(context, || forecasts::list(hub, rank, &listing)).await
}

/// No foreign page can change what runs here.
fn may_change(context: &Context, request: &Request<Incoming>) -> Result<(), Problem> {
    if stream::origin_is_fine(context, request) {
        return Ok(());
    }
    let detail = "this web origin may not change what runs";
    Err(Problem::new(Kind::ForeignOrigin, detail))
}

/// Which forecasts are those of a model.
fn rank(state: &HttpState, model: Option<&str>) -> Result<Option<u16>, Problem> {
    match &state.models {
        Some(models) => models::live_rank(models, model),
        None => Ok(None),
    }
}

/// Which scores are those of a model.
fn score_rank(state: &HttpState, model: Option<&str>) -> Result<Option<u16>, Problem> {
    match &state.models {
        Some(models) => models::score_rank(models, model),
        None => Ok(None),
    }
}

/// What there is to ask for.
fn list(state: &HttpState) -> String {
    let models = if state.models.is_some() { MODEL_ROUTES } else { "" };
    let stream = if state.stream.is_some() { STREAM_ROUTES } else { "" };
    let symbols = if state.symbols.is_some() { SYMBOLS_ROUTE } else { "" };
    format!("{ROUTES}{models}{symbols}{stream}")
}

fn listing(wanted: &str, limit: usize, parameters: &str) -> Result<Listing, Problem> {
    query::listing(wanted, limit, parameters)
        .map_err(|problem| Problem::new(Kind::BadRequest, problem))
}

/// A list, made when its turn comes.
async fn listed(context: &Context, make: impl FnOnce() -> Vec<u8>) -> Result<Answer, Problem> {
    match context.turns.list(make).await {
        Ok(body) => Ok(with_type(StatusCode::OK, JSON, body)),
        Err(NoRoom) => {
            context.metrics.refused(Refused::Busy);
            Err(Problem::new(Kind::Busy, "answers to other requests wait to be read"))
        }
    }
}

/// What a path may be asked for.
fn options(allowed: &'static str) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
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

async fn metrics(context: &Context) -> Result<Answer, Problem> {
    let registry = &context.state.registry;
    let render = || TextEncoder::new().encode_to_string(&registry.gather()).map(Bytes::from);
    match context.turns.page(render).await {
        Ok(body) => Ok(with_type(StatusCode::OK, prometheus::TEXT_FORMAT, body)),
        Err(error) => {
            error!(%error, "cannot encode the metrics");
            Err(Problem::new(Kind::Internal, "the metrics cannot be encoded"))
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

/// An answer in JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let body = serde_json::to_string(value).expect("a struct of texts and numbers always encodes");
    with_type(status, JSON, body + "\n")
}

/// An answer in plain text.
fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_type(status, TEXT, body)
}

pub(super) fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
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
