//! Lines as a sink of a shard.

use std::io;

use super::LineQueue;
use crate::ports::sink::{Outgoing, Sink, SinkClosed};

/// A shard's end of all writers.
#[derive(Clone)]
pub(super) struct LinesSink {
    forecasts: Option<LineQueue>,
    shadows: Option<LineQueue>,
    scores: Option<LineQueue>,
}

impl LinesSink {
    pub(super) fn new(
        forecasts: Option<LineQueue>,
        shadows: Option<LineQueue>,
        scores: Option<LineQueue>,
    ) -> Self {
        Self { forecasts, shadows, scores }
    }
}

impl Sink for LinesSink {
    fn another(&self) -> Box<dyn Sink> {
        Box::new(self.clone())
    }

    fn publish(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed> {
        write(self.forecasts.as_ref(), forecast)
    }

    fn publish_shadow(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed> {
        write(self.shadows.as_ref(), forecast)
    }

    fn publish_score(&mut self, score: &Outgoing<'_>) -> Result<(), SinkClosed> {
        write(self.scores.as_ref(), score)
    }

    fn needs_score_bytes(&self) -> bool {
        self.scores.is_some()
    }

    fn settle(&self) -> io::Result<()> {
        let Self { forecasts, shadows, scores } = self;
        forecasts.iter().chain(shadows).chain(scores).try_for_each(LineQueue::settle)
    }
}

fn write(queue: Option<&LineQueue>, record: &Outgoing<'_>) -> Result<(), SinkClosed> {
    queue.map_or(Ok(()), |queue| queue.write(record.shared()).map_err(|_| SinkClosed("lines")))
}
