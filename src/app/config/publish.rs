//! The section `[publish]`: where forecasts and scores go.
//!
//! Owns the order of the sinks. Never reads a key of one sink or of the stream: its adapter does.

use std::sync::Arc;

use crate::adapters::{Adapters, stream};
use crate::ports::section::Section;
use crate::ports::sink::{SinkReader, SinkSettings};

pub(super) fn read(
    adapters: &Adapters,
    root: &mut Section<'_>,
) -> (Vec<Arc<dyn SinkSettings>>, stream::StreamSettings) {
    let mut section = root.section("publish");
    let mut sinks = Vec::with_capacity(adapters.sinks.len());
    for kind in &adapters.sinks {
        sinks.push((kind.read)(SinkReader { publish: &mut section, root }));
    }
    let stream = stream::read(&mut section);
    section.finish();
    (sinks, stream)
}
