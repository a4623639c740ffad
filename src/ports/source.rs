//! The seam for sources: where ticks come from.
//!
//! Owns the traits that a source implements and the facts that the daemon needs of it. Promises
//! that a source reaches the shards through its router alone, in the order in which records came.
//! Never names an adapter.
//!
//! `C` is what the shards take as commands, in line with the records. Most sources send none and
//! pass it through; Kafka commits offsets and states with it.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use prometheus::Registry;
use tokio::sync::watch;

use super::history::HistorySource;
use super::input::{InputIdentity, InputProgress, Start};
use super::section::Section;
use crate::core::domain::{Symbol, TimeFormat};
use crate::core::health::ExpectedSymbols;
use crate::core::history::{HistoryFrom, HistoryNeed};
use crate::intake::{Router, WhenFull};
use crate::ops::exit::{Exit, Failure};
use crate::ops::readiness::Condition;

/// One kind of source, as `source.kind` names it.
pub struct SourceKind<C> {
    /// The word in the configuration.
    pub name: &'static str,
    /// Reads the settings of this kind. It takes its keys out of the configuration whether or not
    /// the kind is chosen, so that they are known keys; where it is not chosen, keys that are set
    /// and belong to it alone are a problem.
    pub read: fn(SourceReader<'_, '_>) -> Arc<dyn SourceSettings<C>>,
}

/// The settings of a kind that this build knows by name only. Its reader takes the keys of the kind
/// out of the configuration all the same, so that they are known keys in every build.
#[derive(Clone, Copy, Debug)]
pub struct Absent {
    /// The cargo feature that brings the kind.
    pub feature: &'static str,
}

/// What the settings of a source are read from.
pub struct SourceReader<'r, 'p> {
    /// Whether `source.kind` names this kind.
    pub is_chosen: bool,
    /// The section `[source]`, which all kinds share.
    pub source: &'r mut Section<'p>,
    /// How times are read that are texts, which `[source]` says for all kinds.
    pub time_format: &'r TimeFormat,
    /// The table of all sections, for a kind with a section of its own.
    pub root: &'r mut Section<'p>,
    /// Variables of the environment, such as those that name proxies.
    pub variables: &'r HashMap<String, String>,
}

/// The checked settings of a source.
pub trait SourceSettings<C>: Any + fmt::Debug + Send + Sync {
    /// The cargo feature that this build lacks for the source. Such a source is never opened: to
    /// choose it is a problem of the configuration.
    fn lacks(&self) -> Option<&'static str> {
        None
    }

    /// What the daemon needs to know before the source is opened.
    fn facts(&self) -> SourceFacts;

    /// Whether its ticks are known to be trades, which come at no interval.
    fn delivers_trades(&self) -> bool {
        false
    }

    /// The symbols that the configuration names, as their ticks name them, each once.
    fn symbols(&self) -> Vec<Symbol> {
        Vec::new()
    }

    /// Looks at everything that can be checked without a connection, and returns lines for
    /// `tickcast check` to show.
    ///
    /// # Errors
    /// [`Exit`] for the first thing that cannot work.
    fn check(&self) -> Result<Vec<String>, Exit>;

    /// Connects and looks at what only the other side knows, for `tickcast check --online`. Changes
    /// nothing there. By default there is nothing to look at: what such a source reads is known
    /// when it is read.
    fn check_online(&self) -> OnlineReport {
        let line = "online        this kind of source has nothing to look at before it runs";
        OnlineReport { lines: vec![line.to_owned()], problems: Vec::new() }
    }

    /// What tells the input from others, for snapshots; `None` where the source keeps states
    /// itself, or where the input can neither be met again nor recognized.
    ///
    /// # Errors
    /// [`Exit`] where the input cannot be looked at.
    fn identity(&self) -> Result<Option<InputIdentity>, Exit>;

    /// Opens the source: reads certificates, opens files, registers metrics. Takes no input.
    ///
    /// # Errors
    /// [`Exit`] with code 78 for what the configuration got wrong.
    fn open(&self, opening: &SourceOpening<'_>) -> Result<Box<dyn Source<C>>, Exit>;

    /// What kind of history it brings by itself, as records before the live ones; `None` for none.
    fn streams_history(&self) -> Option<HistoryFrom> {
        None
    }

    /// Where the history of its symbols can be asked for; `None` where it cannot.
    ///
    /// # Errors
    /// [`Exit`] with code 78 for what the configuration got wrong.
    fn history(&self, _: &SourceOpening<'_>) -> Result<Option<Arc<dyn HistorySource>>, Exit> {
        Ok(None)
    }
}

/// What a look at the other side has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnlineReport {
    /// What there is, one line each, warnings included.
    pub lines: Vec<String>,
    /// What cannot work, one line each.
    pub problems: Vec<String>,
}

/// What the daemon needs to know of a source before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceFacts {
    /// What `source.when_full = "auto"` means.
    pub when_full: WhenFull,
    /// Whether `"drop_oldest"` may be chosen. A source that promises every record refuses it.
    pub may_drop: bool,
    /// Whether records are received when they are delivered, so that they carry that time.
    pub is_live: bool,
    /// Whether the source brings a sink of its own that takes scores.
    pub delivers_scores: bool,
    /// Whether it needs the shutdown's whole deadline to end, to commit what it read.
    pub commits: bool,
    /// The largest message that it takes, in bytes, where it has a limit of its own.
    pub message_bytes_max: Option<usize>,
}

/// What a source is opened with.
pub struct SourceOpening<'o> {
    /// Where its metrics go.
    pub registry: &'o Registry,
    /// The most symbols that the daemon keeps.
    pub symbols_max: usize,
    /// What differs between runs, for jitter.
    pub seed: u64,
    /// How much history the models need.
    pub history: &'o HistoryNeed,
}

/// A source that is open and has taken no input yet.
pub trait Source<C>: Send {
    /// The symbols that its configuration names, where it names any, and how each is subscribed.
    fn expected(&self) -> Option<Arc<dyn ExpectedSymbols>> {
        None
    }

    /// Reads until the input ends, `stop` turns true, or the shards take no more. The router's
    /// queues close when it is dropped.
    fn run(self: Box<Self>, context: SourceContext<C>) -> BoxFuture<'static, Result<(), Exit>>;
}

/// What a source runs with.
pub struct SourceContext<C> {
    /// The way to the shards.
    pub router: Router<C>,
    /// What the readiness probe says of the source.
    pub ready: Condition,
    /// Turns true when the source has to end.
    pub stop: watch::Receiver<bool>,
    /// Where to begin.
    pub start: Start,
    /// Where to note how far the input was delivered, where snapshots are kept.
    pub progress: Option<InputProgress>,
}

impl Absent {
    fn refuse<T>(&self) -> Result<T, Exit> {
        let what = format_args!("the source needs the cargo feature `{}`", self.feature);
        Err(Exit::new(Failure::Configuration, what))
    }
}

impl<C> SourceSettings<C> for Absent {
    fn lacks(&self) -> Option<&'static str> {
        Some(self.feature)
    }

    /// Facts that clash with no other setting.
    fn facts(&self) -> SourceFacts {
        SourceFacts {
            when_full: WhenFull::Block,
            may_drop: true,
            is_live: false,
            delivers_scores: false,
            commits: false,
            message_bytes_max: None,
        }
    }

    fn check(&self) -> Result<Vec<String>, Exit> {
        self.refuse()
    }

    fn identity(&self) -> Result<Option<InputIdentity>, Exit> {
        Ok(None)
    }

    fn open(&self, _: &SourceOpening<'_>) -> Result<Box<dyn Source<C>>, Exit> {
        self.refuse()
    }
}

impl<C> Clone for SourceKind<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for SourceKind<C> {}

/// Reports settings that are set and belong to a kind of source that is not chosen.
pub fn refuse_foreign(section: &mut Section<'_>, settings: &[(&'static str, bool)], kind: &str) {
    for (name, _) in settings.iter().filter(|(_, is_set)| *is_set) {
        section.problem(name, format_args!("is for kind \"{kind}\" only"));
    }
}

/// What is wrong with settings of a part that the build lacks.
pub fn not_in_this_build(what: &str, feature: &str) -> String {
    format!("{what} is not in this build; it needs the cargo feature `{feature}`")
}

#[cfg(test)]
mod tests;
