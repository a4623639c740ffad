//! `GET /v1/models` and `POST /v1/reload`.
//!
//! Owns the status code of each outcome. Promises that a request to reload is answered when its
//! outcome is known. Never loads a model.

use hyper::StatusCode;

use super::Models;
use super::routes::{Answer, json, text};
use crate::keep::reload::Outcome;

/// Which model runs, and which versions were refused before it.
pub(super) fn list(models: &Models) -> Answer {
    json(StatusCode::OK, &*models.running.borrow())
}

/// Asks for a reload and waits for its outcome: 200 where the wanted model runs, from now on or
/// already, 409 where the one before was kept, 503 where no reload can be had.
pub(super) async fn reload(models: &Models) -> Answer {
    let outcome = match models.reloads.ask("POST /v1/reload") {
        Ok(asked) => asked.outcome().await,
        Err(busy) => return text(StatusCode::SERVICE_UNAVAILABLE, format!("{busy}\n")),
    };
    match outcome {
        Ok(outcome @ (Outcome::Swapped { .. } | Outcome::Unchanged { .. })) => {
            json(StatusCode::OK, &outcome)
        }
        Ok(outcome @ Outcome::Kept { .. }) => json(StatusCode::CONFLICT, &outcome),
        Ok(outcome @ Outcome::Fatal { .. }) => json(StatusCode::SERVICE_UNAVAILABLE, &outcome),
        Err(unanswered) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{unanswered}\n")),
    }
}
