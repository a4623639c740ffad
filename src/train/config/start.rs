//! The keys `fit.start*`: what a fit starts from.
//!
//! Owns the keys. Never opens a bundle.

use std::path::PathBuf;

use crate::ports::section::Section;

/// What a fit starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// Where the first parameters come from.
    pub from: StartFrom,
    /// Which bundle, where one is named: the text, and the path that it may be.
    pub bundle: Option<(String, PathBuf)>,
    /// Whose scalers count where it starts from a bundle.
    pub scaler: StartScaler,
}

/// Where the first parameters come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFrom {
    /// The seed draws them.
    Fresh,
    /// A sealed bundle.
    Bundle,
}

/// Whose scalers count where a fit starts from a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartScaler {
    /// Those of the bundle: its parameters keep their meaning.
    Bundle,
    /// They are fitted to the training part.
    Fresh,
}

impl StartFrom {
    /// Every choice with its word.
    pub const CHOICES: [(&'static str, Self); 2] =
        [("fresh", Self::Fresh), ("bundle", Self::Bundle)];
}

/// Reads the keys.
pub(super) fn start(section: &mut Section<'_>) -> Start {
    let from = section.choice("start", &StartFrom::CHOICES);
    let bundle = section.optional_text("start_from").map(|text| {
        let path = section.path_of("start_from", &text);
        (text, path)
    });
    let scalers = [("bundle", StartScaler::Bundle), ("fresh", StartScaler::Fresh)];
    let scaler = section.choice("start_scaler", &scalers);
    Start { from, bundle, scaler }
}
