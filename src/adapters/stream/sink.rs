//! The streams of live models, of shadows and of scores as sinks of a shard, each of its own
//! records.

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

/// The stream of the shadows as a sink.
#[derive(Clone)]
struct ShadowStream(StreamHub);

impl StreamHub {
    /// The stream as the sink of the forecasts of shadows, and of no others.
    pub fn as_shadow_sink(&self) -> OpenSink {
        OpenSink { sink: Box::new(ShadowStream(self.clone())), ..self.as_sink() }
    }
}

/// The stream of the scores as a sink.
#[derive(Clone)]
struct ScoreStream(StreamHub);

impl StreamHub {
    /// The stream as the sink of scores, and of nothing else.
    pub fn as_score_sink(&self) -> OpenSink {
        OpenSink { sink: Box::new(ScoreStream(self.clone())), ..self.as_sink() }
    }
}

impl Sink for ScoreStream {
    fn another(&self) -> Box<dyn Sink> {
        Box::new(self.clone())
    }

    fn publish(&mut self, _: &Outgoing<'_>) -> Result<(), SinkClosed> {
        Ok(())
    }

    fn publish_score(&mut self, score: &Outgoing<'_>) -> Result<(), SinkClosed> {
        Sink::publish(&mut self.0, score)
    }

    fn settle(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for ShadowStream {
    fn another(&self) -> Box<dyn Sink> {
        Box::new(self.clone())
    }

    fn publish(&mut self, _: &Outgoing<'_>) -> Result<(), SinkClosed> {
        Ok(())
    }

    fn publish_shadow(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed> {
        Sink::publish(&mut self.0, forecast)
    }

    fn publish_score(&mut self, _: &Outgoing<'_>) -> Result<(), SinkClosed> {
        Ok(())
    }

    fn settle(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for StreamHub {
    fn another(&self) -> Box<dyn Sink> {
        Box::new(self.clone())
    }

    fn publish(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed> {
        if !self.is_closed() {
            self.publish_in(forecast.symbol, forecast.rank, forecast.shared());
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
