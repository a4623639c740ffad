//! What is wrong with a graph: a list that cannot grow without limit.
//!
//! Owns how many problems are listed and how names out of a graph are quoted. Promises short lines,
//! whatever the graph holds. Never judges anything.

use crate::core::text::excerpt;

/// The characters of a text out of a graph that are shown.
const QUOTED_CHARS_MAX: usize = 64;

/// A text out of a graph, as it is quoted in a message.
pub(super) fn quoted(text: &str) -> String {
    excerpt(text, QUOTED_CHARS_MAX)
}

/// Problems beyond this many are counted and not listed; a hostile graph could have millions.
const PROBLEMS_MAX: usize = 8;

/// The problems found, up to a number of them.
#[derive(Default)]
pub(super) struct Problems {
    listed: Vec<String>,
    more: usize,
}

impl Problems {
    /// Adds a problem. The text is made only where it is listed.
    pub(super) fn add(&mut self, text: impl FnOnce() -> String) {
        if self.listed.len() < PROBLEMS_MAX {
            self.listed.push(text());
        } else {
            self.more += 1;
        }
    }

    pub(super) fn into_result(mut self) -> Result<(), Vec<String>> {
        if self.more > 0 {
            self.listed.push(format!("and {} more problems", self.more));
        }
        if self.listed.is_empty() { Ok(()) } else { Err(self.listed) }
    }
}
