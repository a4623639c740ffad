//! Scores at rest as state layouts up to 4 stored them.
//!
//! Owns that shape. Promises that forecasts which waited then are scored now. Never writes it.

use std::collections::VecDeque;

use serde::Deserialize;

use super::drift::Drift;
use super::stretch::Stretch;
use super::symbol::Waiting;
use super::{Sums, SymbolScores};
use crate::core::baseline::{BASELINES, BaselineKind, BaselineState};
use crate::core::domain::{Quality, UnixNanos};

/// The scores of one symbol as they were stored before there were several baselines.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct ScoresBefore {
    steps: VecDeque<Past>,
    /// They counted what the model was trained on as well, and are of no more use.
    _sums: [f64; 8],
    count: u32,
    stretch: Stretch,
    drift: Drift,
}

/// A step whose truth was still to come.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
struct Past {
    reading: Option<f64>,
    persistence: Option<f64>,
    forecast: Option<Waited>,
}

/// A forecast that waited.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
struct Waited {
    as_of: UnixNanos,
    target_time: UnixNanos,
    value: f64,
    lower: f64,
    upper: f64,
    quality: Quality,
    out_of_range: bool,
}

impl From<ScoresBefore> for SymbolScores {
    /// Forecasts that wait are scored beside persistence alone, and figures begin again.
    fn from(before: ScoresBefore) -> Self {
        let ScoresBefore { steps, count, stretch, drift, .. } = before;
        let persistence = steps.back().and_then(|past| past.persistence);
        let readings = steps.iter().map(|past| past.reading);
        Self {
            baselines: BaselineState::of_readings(readings, persistence),
            steps: steps.iter().map(Past::waiting).collect(),
            sums: Sums::default(),
            count,
            stretch,
            drift,
        }
    }
}

impl Past {
    fn waiting(&self) -> Option<Waiting> {
        let Waited { as_of, target_time, value, lower, upper, quality, out_of_range } =
            self.forecast?;
        let mut baselines = [None; BASELINES];
        baselines[BaselineKind::Persistence as usize] = self.persistence;
        Some(Waiting { as_of, target_time, value, lower, upper, quality, out_of_range, baselines })
    }
}

#[cfg(test)]
impl From<&SymbolScores> for ScoresBefore {
    /// As the layouts before stored it.
    fn from(scores: &SymbolScores) -> Self {
        let SymbolScores { steps, baselines, count, stretch, drift, .. } = scores;
        let past = |(waiting, reading): (&Option<Waiting>, &Option<f64>)| Past {
            reading: *reading,
            persistence: waiting.as_ref().and_then(|waiting| waiting.baselines[0]),
            forecast: waiting.as_ref().map(|waiting| Waited {
                as_of: waiting.as_of,
                target_time: waiting.target_time,
                value: waiting.value,
                lower: waiting.lower,
                upper: waiting.upper,
                quality: waiting.quality,
                out_of_range: waiting.out_of_range,
            }),
        };
        Self {
            steps: steps.iter().zip(baselines.readings()).map(past).collect(),
            _sums: [0.5; 8],
            count: *count,
            stretch: *stretch,
            drift: *drift,
        }
    }
}
