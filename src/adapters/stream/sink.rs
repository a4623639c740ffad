//! The streams of live models and of shadows as sinks of a shard. Scores have no place on them.

use std::io;

use super::StreamHub;
use super::outlet::RECORDS_AT_ONCE_MAX;
use crate::ports::sink::{OpenSink, Outgoing, Sink, SinkClosed};

/// A shard's end of a stream, which takes the forecasts of models of one kind.
struct StreamEnd {
    hub: StreamHub,
    /// Whether it takes those of shadows, and no others.
    of_shadows: bool,
    /// Records that no subscriber was brought yet.
    kept: usize,
}

impl StreamHub {
    /// The stream as one of the daemon's sinks.
    pub fn as_sink(&self) -> OpenSink {
        self.opened(false)
    }

    /// The stream as the sink of the forecasts of shadows, and of no others.
    pub fn as_shadow_sink(&self) -> OpenSink {
        self.opened(true)
    }

    fn opened(&self, of_shadows: bool) -> OpenSink {
        let hub = self.clone();
        OpenSink {
            sink: Box::new(StreamEnd { hub: self.clone(), of_shadows, kept: 0 }),
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
    fn take(&mut self, forecast: &Outgoing<'_>) {
        if self.hub.is_closed() {
            return;
        }
        self.hub.push(forecast.symbol, forecast.rank, forecast.shared());
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
        if !self.of_shadows {
            self.take(forecast);
        }
        Ok(())
    }

    fn publish_shadow(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed> {
        if self.of_shadows {
            self.take(forecast);
        }
        Ok(())
    }

    fn publish_score(&mut self, _: &Outgoing<'_>) -> Result<(), SinkClosed> {
        Ok(())
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
