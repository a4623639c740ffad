//! `GET /v1/models` and `POST /v1/reload`.
//!
//! Owns the status code of each outcome. Promises that a request to reload is answered when its
//! outcome is known. Never loads a model.

use hyper::StatusCode;

use super::Models;
use super::problem::{Kind, Problem};
use super::routes::{Answer, json};
use crate::keep::reload::{Outcome, Unanswered};

/// Which model runs, and which versions were refused before it.
pub(super) fn list(models: &Models) -> Answer {
    json(StatusCode::OK, &*models.running.borrow())
}

/// Asks for a reload and waits for its outcome: 200 where the wanted model runs, from now on or
/// already, 409 where the one before was kept, 503 where no reload can be had.
pub(super) async fn reload(models: &Models) -> Answer {
    let outcome = match models.reloads.ask("POST /v1/reload") {
        Ok(asked) => asked.outcome().await,
        Err(busy) => return Problem::new(Kind::Busy, busy.to_string()).answer(),
    };
    match outcome {
        Ok(outcome @ (Outcome::Swapped { .. } | Outcome::Unchanged { .. })) => {
            json(StatusCode::OK, &outcome)
        }
        Ok(outcome @ Outcome::Kept { .. }) => json(StatusCode::CONFLICT, &outcome),
        Ok(outcome @ Outcome::Fatal { .. }) => json(StatusCode::SERVICE_UNAVAILABLE, &outcome),
        Err(unanswered) => {
            let kind = match unanswered {
                Unanswered::Ending => Kind::Stopping,
                Unanswered::Late(_) => Kind::Busy,
            };
            Problem::new(kind, unanswered.to_string()).answer()
        }
    }
}
