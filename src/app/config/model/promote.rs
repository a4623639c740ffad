//! The key `promote`: how a shadow becomes live.
//!
//! Owns the table behind the key. Promises that a live model with it takes turns with its next
//! version. Never promotes anything.

use crate::ports::section::Section;

/// The ways there are.
const BY_HAND: &str = "by_hand";
const BETTER: &str = "better";

/// How a shadow becomes live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promotes {
    /// Somebody asks for it.
    ByHand,
    /// Its verdict against the live model of its seat is `better`, or somebody asks for it.
    ByRule,
}

/// Reads the key; `None` where it is not there.
pub(super) fn read(section: &mut Section<'_>) -> Option<Promotes> {
    let is_set = section.contains("promote");
    section.shows(&["promote"]);
    let table = section.table("promote");
    if !is_set {
        return None;
    }
    let mut promotes = Promotes::ByHand;
    for (key, value) in &table {
        match (&**key, &**value) {
            ("when", BY_HAND) => promotes = Promotes::ByHand,
            ("when", BETTER) => promotes = Promotes::ByRule,
            ("when", _) => {
                let problem = format_args!("`{value}` is none of `{BY_HAND}`, `{BETTER}`");
                section.problem("promote.when", problem);
            }
            _ => section.problem(&format!("promote.{key}"), "unknown key; there is `when`"),
        }
    }
    if !table.contains_key("when") {
        section.problem("promote", format_args!("needs when = \"{BY_HAND}\" or \"{BETTER}\""));
    }
    Some(promotes)
}
