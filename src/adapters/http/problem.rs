//! Answers that say what is wrong, for programs (RFC 9457).
//!
//! Owns the kinds of problems, with the code, the title and the status of each. Promises that a
//! code keeps its meaning: programs decide by it, people read the detail. Never puts a secret, or
//! anything that the peer sent unescaped, into an answer.

use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::routes::Answer;

/// What comes before the code in the type of a problem.
const TYPE: &str = "urn:tickcast:problem:";

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A parameter or a symbol is unknown or wrong.
    BadRequest,
    /// The host is missing, given twice, or is none.
    BadHost,
    /// The host is none of ours.
    ForeignHost,
    NoToken,
    ForeignOrigin,
    NoSuchPath,
    /// There could be such a thing, and this process has none.
    NotConfigured,
    /// No model has this name, or it is none that the path is about.
    UnknownModel,
    /// No tick of this symbol came, and none is expected.
    UnknownSymbol,
    /// The symbol is configured, and no tick of it has come.
    Awaited,
    /// The window of the symbol is not full.
    Warming,
    /// The window is full, and no forecast was published since the process began.
    NoForecast,
    /// No forecast of the symbol has come true since the process began.
    NoScore,
    MethodNotAllowed,
    /// The stream is for WebSockets.
    NotWebSocket,
    TooManySubscribers,
    Busy,
    Stopping,
    Internal,
}

/// An answer that says what is wrong.
#[derive(Debug)]
pub(super) struct Problem {
    kind: Kind,
    detail: String,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Kind {
    #[cfg(test)]
    pub(super) const ALL: [Self; 19] = [
        Self::BadRequest,
        Self::BadHost,
        Self::ForeignHost,
        Self::NoToken,
        Self::ForeignOrigin,
        Self::NoSuchPath,
        Self::NotConfigured,
        Self::UnknownModel,
        Self::UnknownSymbol,
        Self::Awaited,
        Self::Warming,
        Self::NoForecast,
        Self::NoScore,
        Self::MethodNotAllowed,
        Self::NotWebSocket,
        Self::TooManySubscribers,
        Self::Busy,
        Self::Stopping,
        Self::Internal,
    ];

    /// The code, the status and the title.
    pub(super) fn facts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::BadRequest => ("bad_request", StatusCode::BAD_REQUEST, "The request is wrong"),
            Self::BadHost => ("bad_host", StatusCode::BAD_REQUEST, "The host is wrong"),
            Self::ForeignHost => {
                ("foreign_host", StatusCode::MISDIRECTED_REQUEST, "The host is another server's")
            }
            Self::NoToken => {
                ("no_token", StatusCode::UNAUTHORIZED, "The token is missing or wrong")
            }
            Self::ForeignOrigin => {
                ("foreign_origin", StatusCode::FORBIDDEN, "The web origin is not allowed")
            }
            Self::NoSuchPath => ("no_such_path", StatusCode::NOT_FOUND, "There is no such path"),
            Self::NotConfigured => {
                ("not_configured", StatusCode::NOT_FOUND, "This process does not have it")
            }
            Self::UnknownModel => ("unknown_model", StatusCode::NOT_FOUND, "The model is unknown"),
            Self::UnknownSymbol => {
                ("unknown_symbol", StatusCode::NOT_FOUND, "The symbol is unknown")
            }
            Self::Awaited => ("awaited", StatusCode::NOT_FOUND, "The symbol has had no tick"),
            Self::Warming => ("warming", StatusCode::NOT_FOUND, "The window is not full"),
            Self::NoForecast => {
                ("no_forecast", StatusCode::NOT_FOUND, "There is no forecast since the start")
            }
            Self::NoScore => {
                ("no_score", StatusCode::NOT_FOUND, "There is no score since the start")
            }
            Self::MethodNotAllowed => {
                ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "The method is not allowed")
            }
            Self::NotWebSocket => {
                ("not_websocket", StatusCode::UPGRADE_REQUIRED, "The stream needs a WebSocket")
            }
            Self::TooManySubscribers => {
                ("too_many_subscribers", StatusCode::SERVICE_UNAVAILABLE, "All places are taken")
            }
            Self::Busy => ("busy", StatusCode::SERVICE_UNAVAILABLE, "Too much is asked at once"),
            Self::Stopping => ("stopping", StatusCode::SERVICE_UNAVAILABLE, "The daemon is ending"),
            Self::Internal => {
                ("internal", StatusCode::INTERNAL_SERVER_ERROR, "The daemon failed to answer")
            }
        }
    }
}

impl Problem {
    /// A problem, with a sentence for people.
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let headers = match kind {
            Kind::Busy | Kind::TooManySubscribers => {
                vec![(RETRY_AFTER, HeaderValue::from_static("1"))]
            }
            _ => Vec::new(),
        };
        Self { kind, detail: detail.into(), members: Map::new(), headers }
    }

    /// The status of the answer.
    pub(super) fn status(&self) -> StatusCode {
        self.kind.facts().1
    }

    /// The sentence for people.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// A method that the path does not take.
    pub(super) fn method(allowed: &'static str) -> Self {
        Self::new(Kind::MethodNotAllowed, format!("allowed: {allowed}")).with_header(ALLOW, allowed)
    }

    /// The same with a further member.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// The same with a further header.
    pub(super) fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// The answer.
    pub(super) fn answer(self) -> Answer {
        let Self { kind, detail, members, headers } = self;
        let (code, status, title) = kind.facts();
        let mut body = json!({
            "type": format!("{TYPE}{code}"),
            "title": title,
            "status": status.as_u16(),
            "code": code,
            "detail": detail,
        });
        if let Some(body) = body.as_object_mut() {
            body.extend(members);
        }
        let mut answer = Response::new(Full::new(format!("{body}\n").into()));
        *answer.status_mut() = status;
        answer.headers_mut().insert(CONTENT_TYPE, MEDIA_TYPE);
        answer.headers_mut().extend(headers.into_iter().map(|(name, value)| (Some(name), value)));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::adapters::http::documents::OPENAPI;

    #[test]
    fn the_description_lists_every_code() {
        let codes: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.facts().0).collect();
        assert_eq!(codes.len(), Kind::ALL.len());
        let description: Value = serde_json::from_str(OPENAPI).unwrap();
        let listed = &description["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
        let listed: BTreeSet<_> =
            listed.as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect();
        assert_eq!(listed, codes);
    }
}
