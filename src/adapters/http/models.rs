//! `GET /v1/models`, `POST /v1/reload` and `POST /v1/models/NAME/promote`.
//!
//! Owns the status code of each outcome. Promises that a request is answered when its outcome is
//! known. Never loads a model.

use hyper::StatusCode;
use serde::Serialize;

use super::Models;
use super::problem::{Kind, Problem};
use super::routes::{Answer, json};
use crate::engine::pipeline::Role;
use crate::keep::reload::{ListedModel, ModelStatus, Outcome, Unanswered, Work};
use crate::net::percent::percent_decoded;

/// The first live model, and all of them.
#[derive(Serialize)]
struct List<'m> {
    #[serde(flatten)]
    first: Option<&'m ModelStatus>,
    models: Vec<Entry<'m>>,
}

#[derive(Serialize)]
struct Entry<'m> {
    #[serde(flatten)]
    model: &'m ListedModel,
    /// The live model whose seat it may get.
    #[serde(skip_serializing_if = "Option::is_none")]
    shadows: Option<&'m str>,
}

/// What became of one of several models.
#[derive(Serialize)]
struct OfModel {
    name: String,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
struct OfModels {
    models: Vec<OfModel>,
}

/// Which models run, what they do, and which versions were refused before them.
pub(super) fn list(models: &Models) -> Answer {
    let models = models.running.borrow();
    let live_of = |seat: usize| {
        let live = models.0.iter().find(|other| other.seat == seat && other.role == Role::Live);
        live.map(|live| &*live.name)
    };
    let first = models.first_live().map(|model| &model.status);
    let there = models.0.iter().filter(|model| model.role != Role::Vacant);
    let entries = there.map(|model| {
        let shadows = live_of(model.seat).filter(|_| model.role == Role::Shadow);
        Entry { model, shadows }
    });
    let entries = entries.collect();
    json(StatusCode::OK, &List { first, models: entries })
}

/// The place of a model by its name.
fn place_of(models: &Models, name: &str) -> Result<usize, Problem> {
    let models = models.running.borrow();
    let place = models.0.iter().position(|model| &*model.name == name);
    place.ok_or_else(|| {
        let names: Vec<_> = models.0.iter().map(|model| &*model.name).collect();
        let detail = format!("no model has this name; there are {}", names.join(", "));
        Problem::new(Kind::UnknownModel, detail)
    })
}

/// The promotion of a model, or of the version in its seat. Of two that take turns it is never
/// clear which one a name means, so the version is needed; one that does not run is loaded first.
fn promotion(models: &Models, place: usize, version: Option<&str>) -> Result<Work, Problem> {
    let models = models.running.borrow();
    let ListedModel { seat, turns_with, .. } = &models.0[place];
    let Some(version) = version else {
        return match turns_with {
            None => Ok(Work::Promote(place)),
            Some(_) => {
                let detail =
                    "two versions of this model take turns: name the one to promote (version)";
                Err(Problem::new(Kind::BadRequest, detail))
            }
        };
    };
    let listed = models.0.iter().enumerate();
    let in_seat = listed.filter(|(_, other)| other.seat == *seat && other.role != Role::Vacant);
    let in_seat: Vec<_> = in_seat.collect();
    let runs = |(_, other): &&(usize, &ListedModel)| other.status.running.model_version == version;
    match (in_seat.iter().find(runs), turns_with) {
        (Some((index, _)), _) => Ok(Work::Promote(*index)),
        (None, Some(_)) => Ok(Work::Bring { model: place, version: version.to_owned() }),
        (None, None) => {
            let words = |(_, other): &(usize, &ListedModel)| {
                format!("{} ({})", other.status.running.model_version, other.role)
            };
            let there: Vec<_> = in_seat.iter().map(words).collect();
            let there = there.join(", ");
            let detail =
                format!("this version does not run in the seat of the model; there are {there}");
            Err(Problem::new(Kind::UnknownModel, detail))
        }
    }
}

/// What tells the forecasts of a live model from those of others; `None` where none is asked for.
pub(super) fn live_rank(models: &Models, name: Option<&str>) -> Result<Option<u16>, Problem> {
    let Some(name) = name else { return Ok(None) };
    let place = place_of(models, name)?;
    let models = models.running.borrow();
    let ListedModel { role, seat, turns_with, .. } = &models.0[place];
    match role {
        Role::Live => Ok(u16::try_from(*seat).ok()),
        // Whichever of the two is live.
        Role::Shadow | Role::Vacant if turns_with.is_some() => Ok(u16::try_from(*seat).ok()),
        Role::Shadow | Role::Vacant => {
            let detail = "this model is a shadow; its forecasts are on /v1/stream?role=shadow";
            Err(Problem::new(Kind::UnknownModel, detail))
        }
    }
}

/// Asks for a reload of one model, or of each, and waits for what becomes of it: 200 where the
/// wanted model runs, from now on or already, 409 where the one before was kept, 503 where no
/// reload can be had. Of several models the worst says which.
pub(super) async fn reload(models: &Models, name: Option<&str>) -> Result<Answer, Problem> {
    let places: Vec<_> = match name {
        Some(name) => vec![place_of(models, name)?],
        // Of two that take turns the first stands for both.
        None => {
            let models = models.running.borrow();
            let listed = models.0.iter().enumerate();
            let first = |(index, model): &(usize, &ListedModel)| {
                model.turns_with.is_none_or(|other| *index < other)
            };
            listed.filter(first).map(|(index, _)| index).collect()
        }
    };
    let count = models.running.borrow().0.len();
    let mut outcomes = Vec::with_capacity(places.len());
    for place in places {
        let name = models.running.borrow().0[place].name.clone();
        let outcome = asked(models, "POST /v1/reload", Work::Reload(place)).await?;
        outcomes.push(OfModel { name, outcome });
    }
    if outcomes.len() == 1 && count == 1 {
        let OfModel { outcome, .. } = outcomes.remove(0);
        return Ok(json(status_of(&outcome), &outcome));
    }
    let worst = outcomes.iter().map(|of| status_of(&of.outcome)).max().unwrap_or(StatusCode::OK);
    Ok(json(worst, &OfModels { models: outcomes }))
}

/// Asks for the promotion of a model by its percent-encoded name, or of a version in its seat.
pub(super) async fn promote(
    models: &Models,
    encoded: &str,
    version: Option<&str>,
) -> Result<Answer, Problem> {
    let name = percent_decoded(encoded)
        .ok_or_else(|| Problem::new(Kind::BadRequest, "name: not percent-encoded UTF-8"))?;
    let work = promotion(models, place_of(models, &name)?, version)?;
    let outcome = asked(models, "POST /v1/models/NAME/promote", work).await?;
    Ok(json(status_of(&outcome), &outcome))
}

async fn asked(models: &Models, from: &'static str, work: Work) -> Result<Outcome, Problem> {
    let asked = models.reloads.ask(from, work);
    let asked = asked.map_err(|busy| Problem::new(Kind::Busy, busy.to_string()))?;
    asked.outcome().await.map_err(|unanswered| {
        let kind = match unanswered {
            Unanswered::Ending => Kind::Stopping,
            Unanswered::Late(_) => Kind::Busy,
        };
        Problem::new(kind, unanswered.to_string())
    })
}

fn status_of(outcome: &Outcome) -> StatusCode {
    match outcome {
        Outcome::Swapped { .. }
        | Outcome::Unchanged { .. }
        | Outcome::Promoted { .. }
        | Outcome::Live { .. } => StatusCode::OK,
        Outcome::Kept { .. } => StatusCode::CONFLICT,
        Outcome::Fatal { .. } => StatusCode::SERVICE_UNAVAILABLE,
    }
}
