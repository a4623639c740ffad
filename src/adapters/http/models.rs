//! `GET /v1/models`, `POST /v1/reload` and `POST /v1/models/NAME/promote`.
//!
//! Owns the status code of each outcome. Promises that a request is answered when its outcome is
//! known. Never loads a model.

use std::collections::BTreeMap;

use hyper::StatusCode;
use serde::Serialize;

use super::Models;
use super::problem::{Kind, Problem};
use super::routes::{Answer, json};
use crate::core::domain::{SymbolPatterns, UnixNanos};
use crate::core::verdict::{LEVEL, Pool, Word};
use crate::engine::pipeline::{RivalPool, Role};
use crate::keep::reload::{ListedModel, ModelStatus, Outcome, Rivalry, Unanswered, Work};
use crate::net::percent::percent_decoded;

const RELOAD: &str = "POST /v1/reload";

const PROMOTE: &str = "POST /v1/models/NAME/promote";

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
    /// What a shadow has come to beside that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    rival: Option<Beside<'m>>,
    /// When a shadow gets the seat without a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    promote: Option<&'static str>,
}

/// A shadow beside the live model of its seat.
#[derive(Serialize)]
#[serde(untagged)]
enum Beside<'m> {
    Compared {
        /// The live model, by its name in the configuration.
        model: &'m str,
        /// The verdict over all symbols.
        word: Word,
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<UnixNanos>,
        /// Symbols by their own verdict.
        symbols: BTreeMap<&'static str, u64>,
    },
    Not {
        model: &'m str,
        /// What of the two differs.
        not_compared: String,
    },
}

impl<'m> Beside<'m> {
    fn new(model: &'m str, obstacle: Option<&str>, pool: &Pool) -> Self {
        if let Some(what) = obstacle {
            let not_compared =
                format!("{what} differs, so no score of one is about the truth of the other");
            return Self::Not { model, not_compared };
        }
        let word = pool.word(LEVEL);
        let symbols = Word::ALL.map(|word| (word.label(), pool.symbols(word)));
        Self::Compared { model, word, since: pool.since(word), symbols: symbols.into() }
    }
}

/// What became of one of several models.
#[derive(Serialize)]
struct OfModel {
    name: String,
    #[serde(flatten)]
    became: Became,
}

/// What is known of a reload.
#[derive(Serialize)]
#[serde(untagged)]
enum Became {
    Known(Outcome),
    Unknown { outcome: &'static str, reason: String },
}

#[derive(Serialize)]
struct OfModels {
    models: Vec<OfModel>,
}

/// Which models run, what they do, and which versions were refused before them.
pub(super) fn list(Models { running, rivals, .. }: &Models) -> Answer {
    let models = running.borrow();
    let first = models.first_live().map(|model| &model.status);
    let there = models.0.iter().enumerate().filter(|(_, model)| model.role != Role::Vacant);
    let entries = there.map(|(index, model)| {
        let live = models.live_of(model.seat).filter(|_| model.role == Role::Shadow);
        let shadows = live.map(|live| &*models.0[live].name);
        let Rivalry { by_rule, obstacle } = model.rivalry;
        let RivalPool { rival, pool } = rivals.of(index);
        // What the shards have laid down may still be about the live model before.
        let pool = if rival == live { pool } else { Pool::default() };
        let rival = shadows.map(|shadows| Beside::new(shadows, obstacle, &pool));
        let promote = (by_rule && live.is_some()).then_some("better");
        Entry { model, shadows, rival, promote }
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
    match (turns_with, in_seat.iter().find(runs)) {
        // Which of the two runs it, if any, is known when the requests before this one are done.
        (Some(_), _) => Ok(Work::Bring { model: place, version: version.to_owned() }),
        (None, Some((index, _))) => Ok(Work::Promote(*index)),
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
        Role::Live | Role::Blend => Ok(u16::try_from(*seat).ok()),
        // Whichever of the two is live.
        Role::Shadow | Role::Vacant if turns_with.is_some() => Ok(u16::try_from(*seat).ok()),
        Role::Shadow | Role::Vacant => {
            let detail = "this model is a shadow; its forecasts are on /v1/stream?role=shadow";
            Err(Problem::new(Kind::UnknownModel, detail))
        }
    }
}

/// What tells the scores of a model from those of others, whatever its role is; `None` where none
/// is asked for.
pub(super) fn score_rank(models: &Models, name: Option<&str>) -> Result<Option<u16>, Problem> {
    name.map(|name| place_of(models, name).map(|place| u16::try_from(place).unwrap_or(u16::MAX)))
        .transpose()
}

/// Which symbols a model wants.
pub(super) fn wants(models: &Models, name: &str) -> Option<SymbolPatterns> {
    let models = models.running.borrow();
    let model = models.0.iter().find(|model| model.name == name)?;
    SymbolPatterns::new(model.symbols.iter().map(String::as_str)).ok()
}

/// Asks for a reload of one model, or of each, and waits for what becomes of it: 200 where the
/// wanted model runs, from now on or already, 409 where the one before was kept, 503 where no
/// reload can be had. Of several models the worst says which; behind one whose outcome is not
/// known, no other is asked for.
pub(super) async fn reload(models: &Models, name: Option<&str>) -> Result<Answer, Problem> {
    let places: Vec<_> = match name {
        Some(name) => vec![place_of(models, name)?],
        // Of two that take turns, the first represents both.
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
    if let ([place], 1) = (&*places, count) {
        let outcome = asked(models, RELOAD, Work::Reload(*place)).await?;
        return Ok(json(status_of(&outcome), &outcome));
    }
    let (mut listed, mut worst, mut is_unknown) = (Vec::new(), StatusCode::OK, false);
    for place in places {
        let name = models.running.borrow().0[place].name.clone();
        let became = if is_unknown {
            let reason = "the outcome of a reload before it is not known".to_owned();
            Became::Unknown { outcome: "not_asked", reason }
        } else {
            match asked(models, RELOAD, Work::Reload(place)).await {
                Ok(outcome) => {
                    worst = worst.max(status_of(&outcome));
                    Became::Known(outcome)
                }
                Err(problem) => {
                    (is_unknown, worst) = (true, problem.status());
                    let reason = problem.detail().to_owned();
                    Became::Unknown { outcome: "unanswered", reason }
                }
            }
        };
        listed.push(OfModel { name, became });
    }
    Ok(json(worst, &OfModels { models: listed }))
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
    let outcome = asked(models, PROMOTE, work).await?;
    Ok(json(status_of(&outcome), &outcome))
}

async fn asked(models: &Models, from: &'static str, work: Work) -> Result<Outcome, Problem> {
    let asked = models.reloads.ask(from, work);
    let asked = asked.map_err(|busy| Problem::new(Kind::Busy, busy.to_string()))?;
    asked.outcome().await.map_err(|unanswered| {
        let kind = match unanswered {
            Unanswered::Ending => Kind::Stopping,
            Unanswered::Late(..) => Kind::Busy,
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::{Value, json};
    use tokio::sync::watch;

    use super::*;
    use crate::keep::reload::{ReloadHandle, RunningModel};
    use crate::shard::RivalBoard;

    fn listed(name: &str) -> ListedModel {
        let running = RunningModel {
            model: name.to_owned(),
            model_version: "1".to_owned(),
            mode: "full".to_owned(),
            onnx_sha256: String::new(),
        };
        let status = ModelStatus {
            running,
            runtime: "onnxruntime",
            runtime_reason: None,
            refused: Vec::new(),
        };
        ListedModel {
            name: name.to_owned(),
            role: Role::Live,
            seat: 0,
            turns_with: None,
            symbols: Vec::new(),
            rivalry: Rivalry::default(),
            blends: Vec::new(),
            status,
        }
    }

    #[tokio::test]
    async fn a_shadow_is_listed_beside_its_rival() {
        let mut models = ["a", "b", "c"].map(listed);
        for (shadow, obstacle) in models[1..].iter_mut().zip([None, Some("the horizon")]) {
            shadow.role = Role::Shadow;
            shadow.rivalry = Rivalry { by_rule: obstacle.is_none(), obstacle };
        }
        let (_running, running) = watch::channel(crate::keep::reload::Models(models.into()));
        let (reloads, rivals) = (ReloadHandle::scripted(Vec::new()), RivalBoard::default());
        let answer = list(&Models { running, reloads, shadows: None, rivals });
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let found = serde_json::from_slice::<Value>(&body).unwrap()["models"].clone();
        assert_eq!((&found[0]["rival"], &found[0]["promote"]), (&Value::Null, &Value::Null));
        let nothing = json!({"too_early": 0, "undecided": 0, "better": 0, "worse": 0});
        let early = json!({"model": "a", "word": "too_early", "symbols": nothing});
        assert_eq!((&found[1]["rival"], &found[1]["promote"]), (&early, &json!("better")));
        let not = "the horizon differs, so no score of one is about the truth of the other";
        assert_eq!(found[2]["rival"], json!({"model": "a", "not_compared": not}));
        assert_eq!(found[2]["promote"], Value::Null);
    }

    #[tokio::test]
    async fn a_reload_of_several_says_what_became_of_each() {
        let names = ["a", "b", "c"].map(listed);
        let (_running, running) = watch::channel(crate::keep::reload::Models(names.into()));
        let kept = Outcome::Kept { reason: "broken".to_owned() };
        let answer = async |outcomes| {
            let reloads = ReloadHandle::scripted(outcomes);
            let (shadows, rivals) = (None, RivalBoard::default());
            let models = Models { running: running.clone(), reloads, shadows, rivals };
            let answer = reload(&models, None).await.unwrap();
            let (status, body) = (answer.status().as_u16(), answer.into_body().collect().await);
            let body = body.unwrap().to_bytes();
            (status, serde_json::from_slice::<Value>(&body).unwrap()["models"].clone())
        };
        let all =
            vec![Some(kept.clone()), Some(Outcome::Live { name: "b".into() }), Some(kept.clone())];
        let (status, models) = answer(all).await;
        assert_eq!((status, &models[2]["outcome"]), (409, &"kept".into()), "{models}");
        // The thread ends while the second one waits.
        let (status, models) = answer(vec![Some(kept), None]).await;
        let expected = json!([
            {"name": "a", "outcome": "kept", "reason": "broken"},
            {"name": "b", "outcome": "unanswered", "reason": "the daemon is ending"},
            {"name": "c", "outcome": "not_asked",
             "reason": "the outcome of a reload before it is not known"},
        ]);
        assert_eq!((status, models), (503, expected));
    }
}
