//! The section `[log]`: the form and the level of the log.
//!
//! Owns the section's keys. Never writes a line.

use crate::ops::logging::{LogConfig, LogFormat, LogLevel};
use crate::ports::section::Section;

pub(super) fn read(mut section: Section<'_>) -> LogConfig {
    let levels = [
        ("info", LogLevel::Info),
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let config = LogConfig {
        format: section.choice("format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
        level: section.choice("level", &levels),
    };
    section.finish();
    config
}
