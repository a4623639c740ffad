//! The description of this interface, as the repository has it.
//!
//! Owns the documents that are served. Promises the bytes of the files that `make test-api` checks.

use super::routes::{Answer, JSON, with_type};
use hyper::StatusCode;

/// `/v1/openapi.json`.
pub(super) const OPENAPI: &str = include_str!("../../../docs/api/openapi.json");

/// `/v1/forecast.schema.json`, which the description refers to.
pub(super) const FORECAST: &str = include_str!("../../../docs/api/forecast.schema.json");

/// `/v1/score.schema.json`, likewise.
pub(super) const SCORE: &str = include_str!("../../../docs/api/score.schema.json");

/// A document as an answer.
pub(super) fn document(text: &'static str) -> Answer {
    with_type(StatusCode::OK, JSON, text)
}
