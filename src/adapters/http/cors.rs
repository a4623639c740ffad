//! Which web pages may read answers (CORS).
//!
//! Owns the headers by which a browser hands an answer to a page of another origin. Promises that
//! only pages of `http.allowed_origins` get them, and only for reading. Never refuses a request: a
//! program sends no origin, and a browser keeps the answer from a page without these headers.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderValue, ORIGIN, VARY,
};
use hyper::{HeaderMap, Method, Request};

/// What a page may learn of a request: who may read the answer, and whether it asked in advance.
#[derive(Debug)]
pub(super) struct Reader {
    /// The origin of the page, where it may read.
    origin: Option<HeaderValue>,
    /// The browser asks whether the page may.
    is_preflight: bool,
    /// Answers differ by origin.
    varies: bool,
}

impl Reader {
    pub(super) fn new<B>(request: &Request<B>, allowed_origins: &[String]) -> Self {
        let is_preflight = request.method() == Method::OPTIONS
            && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let mut origins = request.headers().get_all(ORIGIN).iter();
        let one = match (origins.next(), origins.next()) {
            (Some(origin), None) if reads => Some(origin),
            _ => None,
        };
        let origin = one.filter(|origin| {
            let origin = origin.as_bytes();
            allowed_origins.iter().any(|one| one.as_bytes().eq_ignore_ascii_case(origin))
        });
        Self { origin: origin.cloned(), is_preflight, varies: !allowed_origins.is_empty() }
    }

    /// Adds to an answer what the browser looks for.
    pub(super) fn admit(self, headers: &mut HeaderMap) {
        let Self { origin, is_preflight, varies } = self;
        if varies {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        let Some(origin) = origin else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let further: &[_] = if is_preflight {
            &[
                (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
                (ACCESS_CONTROL_ALLOW_HEADERS, "Authorization"),
                (ACCESS_CONTROL_MAX_AGE, "600"),
            ]
        } else {
            &[(ACCESS_CONTROL_EXPOSE_HEADERS, "Retry-After")]
        };
        for (name, value) in further {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}
