//! The settings of lines: `publish.lines` and `publish.scores`.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prometheus::Registry;

use super::sink::LinesSink;
use super::{Lines, LinesMetrics, LinesOf};
use crate::ops::exit::{Exit, Failure};
use crate::ops::file::can_write;
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

impl LinesTarget {
    /// Says what opening would say, without making or writing anything.
    fn check(&self) -> io::Result<()> {
        let Self::File(path) = self else { return Ok(()) };
        let outcome = match std::fs::metadata(path) {
            // A line that is torn has to be read as well.
            Ok(_) => OpenOptions::new().append(true).read(true).open(path).map(drop),
            Err(error) if error.kind() == ErrorKind::NotFound => match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => can_write(folder),
                _ => can_write(Path::new(".")),
            },
            Err(error) => Err(error),
        };
        outcome.map_err(|error| io::Error::other(format!("`{}`: {error}", path.display())))
    }
}

fn read(reader: SinkReader<'_, '_>) -> Arc<dyn SinkSettings> {
    let SinkReader { publish, .. } = reader;
    publish.shows(&["lines", "scores"]);
    let mut target = |name| match publish.optional_text(name).as_deref() {
        None => LinesTarget::Off,
        Some("-") => LinesTarget::StandardOutput,
        Some(path) => LinesTarget::File(publish.path_of(name, path)),
    };
    let (forecasts, scores) = (target("lines"), target("scores"));
    if forecasts == scores && scores != LinesTarget::Off {
        publish.problem("scores", "must go elsewhere than publish.lines: two writers, two places");
    }
    Arc::new(LinesSettings { forecasts, scores })
}

impl SinkSettings for LinesSettings {
    fn takes_scores(&self) -> bool {
        self.scores != LinesTarget::Off
    }

    fn check(&self) -> Result<(), Exit> {
        for (target, key) in [(&self.forecasts, "lines"), (&self.scores, "scores")] {
            let context = format!("open publish.{key}");
            target.check().map_err(Exit::while_doing(Failure::Configuration, context))?;
        }
        Ok(())
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
