//! The stream as a sink of a shard. Scores have no place on it.

use std::io;

use super::StreamHub;
use crate::ports::sink::{OpenSink, Outgoing, Sink, SinkClosed};

impl StreamHub {
    /// The stream as one of the daemon's sinks.
    pub fn as_sink(&self) -> OpenSink {
        let hub = self.clone();
        OpenSink {
            sink: Box::new(self.clone()),
            stages: Vec::new(),
            notices: Vec::new(),
            finish: Box::new(move || {
                hub.finish();
                Ok(())
            }),
        }
    }
}

impl Sink for StreamHub {
    fn another(&self) -> Box<dyn Sink> {
        Box::new(self.clone())
    }

    fn publish(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed> {
        if !self.is_closed() {
            Self::publish(self, forecast.symbol, forecast.shared());
        }
        Ok(())
    }

    fn publish_score(&mut self, _: &Outgoing<'_>) -> Result<(), SinkClosed> {
        Ok(())
    }

    fn settle(&self) -> io::Result<()> {
        // Subscribers are at most once: nothing waits for one.
        Ok(())
    }
}
