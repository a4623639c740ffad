//! Forecasts in the terminal, for people: of a daemon's stream, or of a topic.
//!
//! Owns a connection to either, the newest forecast of every symbol, and how they look. Promises
//! at most ten redraws a second whatever the stream's rate, one line a second where there is no
//! terminal, and bounded memory. Never changes a number but for rounding what it shows.

mod board;
mod client;
#[cfg(not(feature = "kafka"))]
mod no_topic;
mod render;
mod run;
mod scores;
mod screen;
mod target;
#[cfg(feature = "kafka")]
mod topic;
mod warming;

#[cfg(test)]
mod tests;

pub use client::dial_options;
pub use run::{Summary, WatchError, WatchRun};
pub use screen::View;
pub use target::{Target, TargetError, TopicTarget};

#[cfg(not(feature = "kafka"))]
use no_topic as topic;
