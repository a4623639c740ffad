//! The streams of live models, of shadows and of scores as sinks of a shard, each of its own
//! records.

use std::io;
use std::sync::Arc;

use super::StreamHub;
use super::outlet::RECORDS_AT_ONCE_MAX;
use super::ring::Kept;
use crate::engine::wire::score::UnencodedScore;
use crate::ports::sink::{OpenSink, Outgoing, Sink, SinkClosed};

/// A shard's end of a stream, which takes records of one kind and no others.
struct StreamEnd {
    hub: StreamHub,
    takes: Takes,
    /// Records that no subscriber was brought yet.
    kept: usize,
}

/// Which records an end takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Forecasts of live models.
    Live,
    /// Forecasts of shadows.
    Shadows,
    /// Scores of either.
    Scores,
}

impl StreamHub {
    /// The stream as the sink of the forecasts of live models.
    pub fn as_sink(&self) -> OpenSink {
        self.opened(Takes::Live)
    }

    /// The stream as the sink of the forecasts of shadows, and of no others.
    pub fn as_shadow_sink(&self) -> OpenSink {
        self.opened(Takes::Shadows)
    }

    /// The stream as the sink of scores, and of nothing else.
    pub fn as_score_sink(&self) -> OpenSink {
        self.opened(Takes::Scores)
    }

    fn opened(&self, takes: Takes) -> OpenSink {
        let hub = self.clone();
        OpenSink {
            sink: Box::new(StreamEnd { hub: self.clone(), takes, kept: 0 }),
            stages: Vec::new(),
            notices: Vec::new(),
            finish: Box::new(move || {
                hub.finish();
                Ok(())
            }),
        }
    }
}

impl StreamEnd {
    fn take(&mut self, record: &Outgoing<'_>, kind: Takes) -> Result<(), SinkClosed> {
        if kind != self.takes || self.hub.is_closed() {
            return Ok(());
        }
        self.hub.push(record.symbol, record.rank, record.shared());
        self.count();
        Ok(())
    }

    /// Counts a record that was kept.
    fn count(&mut self) {
        self.kept += 1;
        if self.kept > RECORDS_AT_ONCE_MAX {
            // They are for the tasks of subscribers to write, while the shard goes on.
            self.hub.shared.wake();
            self.kept = 1;
        }
    }
}

impl Sink for StreamEnd {
    fn another(&self) -> Box<dyn Sink> {
        Box::new(Self { hub: self.hub.clone(), kept: 0, ..*self })
    }

    fn publish(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed> {
        self.take(forecast, Takes::Live)
    }

    fn publish_shadow(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed> {
        self.take(forecast, Takes::Shadows)
    }

    fn publish_score(&mut self, score: &Outgoing<'_>) -> Result<(), SinkClosed> {
        self.take(score, Takes::Scores)
    }

    fn needs_score_bytes(&self) -> bool {
        self.takes == Takes::Scores && self.hub.has_subscribers()
    }

    fn keep_score(&mut self, score: &Arc<UnencodedScore>, rank: u16) {
        if self.takes == Takes::Scores && !self.hub.is_closed() {
            self.hub.keep(&score.symbol, rank, Kept::Score(Arc::clone(score)));
            self.count();
        }
    }

    fn never_waits(&self) -> bool {
        true
    }

    fn flush(&mut self) {
        if std::mem::take(&mut self.kept) > 0 {
            self.hub.shared.announce();
        }
    }

    fn settle(&self) -> io::Result<()> {
        // Subscribers are at most once: nothing waits for one.
        Ok(())
    }
}
