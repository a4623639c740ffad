//! Stored states that cannot be used, as log lines.
//!
//! Owns the sentence. Promises a bounded number of lines, however many states are refused: their
//! count belongs to the line that the caller writes about the restore. Never decides what is cold.

use tracing::field::display;
use tracing::warn;

/// How many unusable states are named.
const COLD_LINES_MAX: usize = 10;

/// Warns of the first states that cannot be used; where they come from a partition of a topic, each
/// line names it.
pub fn warn_of_cold_states(problems: &[String], partition: Option<(&str, i32)>) {
    let topic = partition.map(|(topic, _)| display(topic));
    let partition = partition.map(|(_, number)| number);
    for problem in problems.iter().take(COLD_LINES_MAX) {
        warn!(topic, partition, problem, "a stored state cannot be used");
    }
}
