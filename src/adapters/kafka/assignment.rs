//! What there is to know of partitions before they are read.
//!
//! Owns the question to the cluster, which is asked once for all partitions of an assignment and on
//! a thread of its own, and the assignment while its answer is open. Promises that the thread ends
//! soon after nobody waits for it any more. Never decides what becomes of a partition: the session
//! does.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use rdkafka::TopicPartitionList;

use super::SessionError;
use super::client::Observer;
use super::partitions::PartitionName;
use super::publisher::StatePlace;
use super::restore::{self, States, Within};
use super::standby::Standby;
use super::start::{self, Point};
use super::topics::InputTopic;
use crate::core::domain::PartitionId;

/// A partition that is taken over.
pub(super) struct Newcomer {
    pub(super) id: PartitionId,
    pub(super) name: PartitionName,
    pub(super) input: InputTopic,
    /// Where its states are.
    pub(super) place: StatePlace,
}

/// What is known of a partition besides its states.
pub(super) struct Facts {
    /// The first offset of its log, and the end.
    pub(super) ends: (i64, i64),
    /// Up to where its states reach, of those that say so.
    pub(super) points: Vec<Point>,
    /// The timestamp of the record right before the newest position, where there is one.
    pub(super) newest_ms: Option<i64>,
}

/// What is asked of the cluster on a thread of its own, so that the group is polled meanwhile and
/// partitions that stay are read on.
pub(super) struct Question {
    pub(super) reader: Arc<Observer>,
    pub(super) observer: Arc<Observer>,
    pub(super) newcomers: Vec<Newcomer>,
    pub(super) committed: HashMap<PartitionId, Point>,
    pub(super) limit: Duration,
    pub(super) is_given_up: Arc<AtomicBool>,
    /// Where there may be copies of states.
    pub(super) standby: Option<Standby>,
}

/// What there is to know of partitions before they are read.
pub(super) type Known = Vec<(Newcomer, States, Facts)>;

/// An assignment whose partitions are on their way.
pub(super) struct Assignment {
    /// The partitions that the group gives out.
    pub(super) list: TopicPartitionList,
    /// How many of them are read on with the states in memory.
    pub(super) kept_count: usize,
    /// What the group has committed.
    pub(super) committed: HashMap<PartitionId, Point>,
    pub(super) answer: Receiver<Result<Known, SessionError>>,
    pub(super) is_given_up: Arc<AtomicBool>,
}

impl Drop for Assignment {
    fn drop(&mut self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }
}

impl Assignment {
    /// What was asked, once it is known.
    pub(super) fn try_take(&self) -> Option<Result<Known, SessionError>> {
        match self.answer.try_recv() {
            Ok(known) => Some(known),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                Some(Err(SessionError::retry("the thread that reads states has ended")))
            }
        }
    }
}

impl Question {
    /// Asks, and waits for what comes of it.
    pub(super) fn answer(self) -> Result<Known, SessionError> {
        let Self { reader, observer, newcomers, committed, limit, is_given_up, standby } = self;
        let places: Vec<_> = newcomers.iter().map(|one| one.place.clone()).collect();
        let within = Within { limit, is_given_up: &is_given_up };
        let wanted = || newcomers.iter().map(|one| one.input.followable(one.name.number)).collect();
        let copies = standby.map(|standby| standby.give(wanted())).unwrap_or_default();
        let states = restore::read_states(&reader, &observer, &places, copies, within)?;
        let names: Vec<_> =
            newcomers.iter().map(|one| (&*one.name.topic, one.name.number)).collect();
        let ends = restore::ends(&observer, &names)?;
        let mut facts = Vec::new();
        let (mut asked, mut records) = (Vec::new(), Vec::new());
        for (at, one) in newcomers.iter().enumerate() {
            let points: Vec<_> = states[at].stored.iter().filter_map(|state| state.point).collect();
            let (low, high) = ends[at];
            let newest = start::newest(committed.get(&one.id).copied(), &points);
            let marked = newest.filter(|point| point.mark.newest_ms.is_some());
            let before = marked.map(|point| point.next - 1);
            if let Some(before) = before.filter(|before| (low..high).contains(before)) {
                asked.push(at);
                records.push((&one.name, before));
            }
            facts.push(Facts { ends: ends[at], points, newest_ms: None });
        }
        for (at, time) in asked.into_iter().zip(restore::times_of_records(&reader, &records)?) {
            facts[at].newest_ms = time;
        }
        let known = newcomers.into_iter().zip(states).zip(facts);
        Ok(known.map(|((of, states), facts)| (of, states, facts)).collect())
    }
}
