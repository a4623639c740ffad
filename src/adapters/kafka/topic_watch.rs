//! Looking at the topics again and again while a session lasts.
//!
//! Owns the question under way, and how often there is one. Promises that a look that was asked for
//! begins behind the call, so that its answer holds for everything that was read before. Never
//! waits for an answer, and never decides what a change means. After a failure it asks another
//! broker, whose name it has to ask for: half a second at most.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use super::client::Observer;
use super::describe::{Ask, Question, TopicFacts};
use super::topics;
use crate::ops::clock::Stopwatch;

/// How often the topics are looked at where nothing asks for it: the time after which an added
/// partition is noticed, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The wait after a look that failed.
const FAILED_PAUSE: Duration = Duration::from_millis(200);

/// A look at the topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Look(u64);

/// The topics as they are looked at.
pub(super) struct TopicWatch {
    observer: Arc<Observer>,
    names: Vec<String>,
    /// Those that can be asked; the first is asked next.
    brokers: VecDeque<i32>,
    question: Option<Question>,
    /// The newest look that began, the newest that is over, and the newest that somebody waits for.
    begun: Look,
    over: Look,
    wanted: Look,
    since: Stopwatch,
    has_failed: bool,
    /// The cluster tells no ids, so there is nothing to wait for.
    is_blind: bool,
}

impl TopicWatch {
    /// Looks at these topics through a client that is looked after elsewhere.
    pub(super) fn new(observer: Arc<Observer>, names: Vec<String>, is_blind: bool) -> Self {
        let none = Look(0);
        Self {
            brokers: topics::brokers(&observer, names.first().map_or("", String::as_str)).into(),
            names,
            observer,
            question: None,
            begun: none,
            over: none,
            wanted: none,
            since: Stopwatch::start(),
            has_failed: false,
            is_blind,
        }
    }

    /// A look that begins behind this call.
    pub(super) fn want(&mut self) -> Look {
        self.wanted = Look(self.begun.0 + 1);
        self.wanted
    }

    /// Whether a look is over.
    pub(super) fn is_over(&self, look: Look) -> bool {
        self.is_blind || self.over >= look
    }

    /// Goes on: returns what a look has found, and begins one where that is due.
    pub(super) fn turn(&mut self) -> Option<Vec<TopicFacts>> {
        if let Some(question) = &self.question {
            let answer = question.try_take()?;
            self.question = None;
            self.since = Stopwatch::start();
            self.has_failed = answer.is_err();
            match answer {
                Ok(facts) => {
                    self.over = self.begun;
                    return Some(facts);
                }
                Err(error) => {
                    debug!(%error, "cannot look at the topics; trying again");
                    self.ask_another();
                }
            }
        }
        let pause = match self.wanted > self.over && !self.is_blind {
            true if self.has_failed => FAILED_PAUSE,
            true => Duration::ZERO,
            false => LOOK_EVERY,
        };
        if self.since.elapsed() >= pause {
            let names: Vec<_> = self.names.iter().map(String::as_str).collect();
            let Some(broker) = self.brokers.front() else {
                self.ask_another();
                return None;
            };
            self.begun = Look(self.begun.0 + 1);
            self.question = Question::ask(&self.observer, *broker, &names, Ask::Shape);
            self.since = Stopwatch::start();
        }
        None
    }

    /// Asks another broker the next time: this one may be away, or there no more.
    fn ask_another(&mut self) {
        self.has_failed = true;
        self.since = Stopwatch::start();
        let known = topics::brokers(&self.observer, self.names.first().map_or("", String::as_str));
        if !known.is_empty() {
            self.brokers.retain(|broker| known.contains(broker));
            for broker in known {
                if !self.brokers.contains(&broker) {
                    self.brokers.push_back(broker);
                }
            }
        }
        if !self.brokers.is_empty() {
            self.brokers.rotate_left(1);
        }
    }
}
