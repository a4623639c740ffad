//! The key `promote`: how a shadow becomes live.
//!
//! Owns the table behind the key. Promises that a live model with it takes turns with its next
//! version. Never promotes anything.

use crate::ports::section::Section;

/// The only way there is.
const BY_HAND: &str = "by_hand";

/// Reads the key; whether it is there.
pub(super) fn read(section: &mut Section<'_>) -> bool {
    let is_set = section.contains("promote");
    section.shows(&["promote"]);
    let table = section.table("promote");
    if !is_set {
        return false;
    }
    for (key, value) in &table {
        if key != "when" {
            section.problem(&format!("promote.{key}"), "unknown key; there is `when`");
        } else if value != BY_HAND {
            section.problem("promote.when", format_args!("`{value}` is none of `{BY_HAND}`"));
        }
    }
    if !table.contains_key("when") {
        section.problem("promote", format_args!("needs when = \"{BY_HAND}\""));
    }
    true
}
