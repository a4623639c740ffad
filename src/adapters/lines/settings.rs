//! The settings of lines: `publish.lines` and `publish.scores`.

use std::path::PathBuf;
use std::sync::Arc;

use prometheus::Registry;

use super::sink::LinesSink;
use super::{Lines, LinesMetrics, LinesOf};
use crate::ops::exit::{Exit, Failure};
use crate::ports::sink::{OpenSink, SinkKind, SinkReader, SinkSettings};

/// Lines as a kind of sink.
pub const KIND: SinkKind = SinkKind { read };

/// Where forecasts and scores go as lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinesSettings {
    /// Forecasts.
    pub forecasts: LinesTarget,
    /// Scores.
    pub scores: LinesTarget,
}

/// Where JSON lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinesTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    StandardOutput,
    /// Appended to a file.
    File(PathBuf),
}

fn read(reader: SinkReader<'_, '_>) -> Arc<dyn SinkSettings> {
    let SinkReader { publish, .. } = reader;
    let target = |text: Option<String>| match text.as_deref() {
        None => LinesTarget::Off,
        Some("-") => LinesTarget::StandardOutput,
        Some(path) => LinesTarget::File(path.into()),
    };
    let forecasts = target(publish.optional_text("lines"));
    let scores = target(publish.optional_text("scores"));
    if forecasts == scores && scores != LinesTarget::Off {
        publish.problem("scores", "must go elsewhere than publish.lines: two writers, two places");
    }
    Arc::new(LinesSettings { forecasts, scores })
}

impl SinkSettings for LinesSettings {
    fn takes_scores(&self) -> bool {
        self.scores != LinesTarget::Off
    }

    fn places(&self) -> Vec<String> {
        let place = |(key, target): (&str, &LinesTarget)| match target {
            LinesTarget::Off => None,
            LinesTarget::StandardOutput => Some(format!("{key}=-")),
            LinesTarget::File(path) => Some(format!("{key}={}", path.display())),
        };
        [("lines", &self.forecasts), ("scores", &self.scores)]
            .into_iter()
            .filter_map(place)
            .collect()
    }

    fn open(&self, registry: &Registry) -> Result<Option<OpenSink>, Exit> {
        let open = |of, target, key| {
            let metrics = LinesMetrics::register(registry, of)?;
            let context = format!("open publish.{key}");
            Lines::open(target, metrics).map_err(Exit::while_doing(Failure::Configuration, context))
        };
        let forecasts = open(LinesOf::Forecasts, &self.forecasts, "lines")?;
        let scores = open(LinesOf::Scores, &self.scores, "scores")?;
        if forecasts.is_none() && scores.is_none() {
            return Ok(None);
        }
        let queue = |lines: &Option<Lines>| lines.as_ref().map(Lines::queue);
        let sink = Box::new(LinesSink::new(queue(&forecasts), queue(&scores)));
        let writers: Vec<Lines> = forecasts.into_iter().chain(scores).collect();
        Ok(Some(OpenSink {
            sink,
            stages: writers.iter().map(Lines::stage).collect(),
            finish: Box::new(|| {
                writers
                    .into_iter()
                    .try_for_each(Lines::finish)
                    .map_err(Exit::while_doing(Failure::Temporary, "write lines"))
            }),
        }))
    }
}
