//! Copies of the states that other instances store, for the time when this one takes a partition
//! over.
//!
//! Owns a consumer on a thread of its own, and the newest state of each key of the changelog
//! partitions that it follows, as bytes. Promises that a copy is what a read of the partition from
//! its first record to the copy's place gives, and that all copies together stay within
//! `kafka.standby_bytes_max`. Never decides which state is of use, and never decides who takes a
//! partition over: the group does, and knows nothing of copies.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::{Message, Offset, TopicPartitionList};
use tracing::{debug, info, warn};

use super::changelog::StateCopy;
use super::client::{self, Observer};
use super::describe::TopicId;
use super::metrics::KafkaMetrics;
use super::topics::Followable;
use super::{SessionError, restore};
use crate::adapters::kafka_config::KafkaConfig;
use crate::ops::clock::Stopwatch;

/// How long one wait for a record lasts: the delay of an order.
const TURN: Duration = Duration::from_millis(20);

/// How long the thread waits for an order where nothing is followed.
const IDLE_TURN: Duration = Duration::from_secs(1);

/// How long a restore waits for the copies. Without them it reads whole partitions.
const GIVE_PATIENCE: Duration = Duration::from_secs(2);

/// How often the thread asks who is in the group.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How long the answer to that may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);

/// What the thread is asked for.
enum Order {
    /// Follow these partitions, or those of them that are this instance's share.
    Follow(Vec<Followable>),
    /// Hand over the copies of these, which are followed no longer.
    Give { wanted: Vec<Option<Followable>>, answer: Sender<Vec<Option<StateCopy>>> },
}

/// The way to the thread, which ends with the last clone.
#[derive(Clone)]
pub(super) struct Standby {
    orders: Sender<Order>,
}

/// The thread's own.
struct Follower {
    reader: Observer,
    config: KafkaConfig,
    metrics: KafkaMetrics,
    /// All that may be followed, and this instance's share of it.
    others: Vec<Followable>,
    chosen: Vec<Followable>,
    /// The instances of the group as they were last seen; `None` where the cluster does not say.
    members: Option<Vec<String>>,
    copies: BTreeMap<(String, i32), Followed>,
    bytes: usize,
    left_out: usize,
    looked: Stopwatch,
}

struct Followed {
    id: TopicId,
    copy: StateCopy,
}

impl Standby {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the system has no thread for it.
    pub(super) fn start(
        config: &KafkaConfig,
        metrics: &KafkaMetrics,
    ) -> Result<Self, SessionError> {
        let (config, metrics) = (config.clone(), metrics.clone());
        let (orders, received) = channel();
        std::thread::Builder::new()
            .name("standby".to_owned())
            // The consumer is made, polled and dropped here.
            .spawn(move || match client::standby_consumer(&config) {
                Ok(reader) => Follower::new(reader, config, metrics).run(&received),
                Err(error) => warn!(%error, "there is no standby: its consumer cannot be made"),
            })
            .map_err(SessionError::while_doing("start the thread of the standby"))?;
        Ok(Self { orders })
    }

    /// Has it follow the partitions that others read.
    pub(super) fn follow(&self, others: Vec<Followable>) {
        // Without the thread there are no copies.
        drop(self.orders.send(Order::Follow(others)));
    }

    /// The copies of partitions, in their order, of those that there are.
    pub(super) fn give(&self, wanted: Vec<Option<Followable>>) -> Vec<Option<StateCopy>> {
        let (answer, answers) = channel();
        drop(self.orders.send(Order::Give { wanted, answer }));
        answers.recv_timeout(GIVE_PATIENCE).unwrap_or_default()
    }
}

impl Follower {
    fn new(reader: Observer, config: KafkaConfig, metrics: KafkaMetrics) -> Self {
        Self {
            reader,
            config,
            metrics,
            others: Vec::new(),
            chosen: Vec::new(),
            members: None,
            copies: BTreeMap::new(),
            bytes: 0,
            left_out: 0,
            looked: Stopwatch::start(),
        }
    }

    fn run(mut self, orders: &Receiver<Order>) {
        while self.obey(orders) {
            if !self.others.is_empty() && self.looked.elapsed() > LOOK_EVERY {
                self.choose();
            }
            let wait = if self.copies.is_empty() { Duration::ZERO } else { TURN };
            if !self.poll(wait) {
                self.show();
            }
        }
        (self.copies, self.bytes, self.left_out) = (BTreeMap::new(), 0, 0);
        self.show();
    }

    /// Does what was asked for. Returns whether anybody may still ask.
    fn obey(&mut self, orders: &Receiver<Order>) -> bool {
        loop {
            let order = if self.copies.is_empty() {
                orders.recv_timeout(IDLE_TURN).map_err(|error| match error {
                    RecvTimeoutError::Timeout => TryRecvError::Empty,
                    RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
                })
            } else {
                orders.try_recv()
            };
            match order {
                Ok(Order::Follow(others)) => {
                    self.others = others;
                    self.choose();
                }
                Ok(Order::Give { wanted, answer }) => {
                    let copies = wanted.into_iter().map(|of| self.give(of?)).collect();
                    // A restore that waits no longer reads everything.
                    drop(answer.send(copies));
                    self.show();
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Follows this instance's share of what others read.
    fn choose(&mut self) {
        self.looked = Stopwatch::start();
        self.look_for_members();
        let KafkaConfig { instance, standby_replicas, .. } = &self.config;
        let is_ours = |of: &&Followable| match &self.members {
            Some(members) => keeps_copy(of, instance, members, *standby_replicas),
            None => true,
        };
        let chosen: Vec<_> = self.others.iter().filter(is_ours).cloned().collect();
        if chosen == self.chosen {
            // What there was no room for has none now.
            return;
        }
        let mut before = std::mem::take(&mut self.copies);
        for Followable { topic, number, id } in chosen.clone() {
            let key = (topic, number);
            let had = before.remove(&key).filter(|had| had.id == id);
            let followed = had.unwrap_or_else(|| Followed { id, copy: StateCopy::default() });
            self.copies.insert(key, followed);
        }
        self.bytes = self.copies.values().map(|of| of.copy.changelog.bytes()).sum();
        (self.chosen, self.left_out) = (chosen, 0);
        if let Err(error) = self.assign() {
            warn!(%error, "the standby cannot follow the changelogs; a restore reads all of them");
            (self.copies, self.bytes) = (BTreeMap::new(), 0);
        }
        let (partitions, of) = (self.copies.len(), self.others.len());
        info!(partitions, of, "following the states of other instances");
        self.show();
    }

    fn assign(&self) -> Result<(), ClientError> {
        let mut places = TopicPartitionList::with_capacity(self.copies.len());
        for ((topic, number), Followed { copy, .. }) in &self.copies {
            let from = match copy.next {
                0 => Offset::Beginning,
                next => Offset::Offset(next),
            };
            places.add_partition_offset(topic, *number, from)?;
        }
        client::assign(&self.reader, &places)
    }

    /// Asks which instances are in the group. The brokers do not say so of a group whose partitions
    /// they assign.
    fn look_for_members(&mut self) {
        let group = &self.config.group;
        let groups = match self.reader.fetch_group_list(Some(group), LOOK_PATIENCE) {
            Ok(groups) => groups,
            Err(error) => {
                debug!(%error, "the members of the group are not known");
                return;
            }
        };
        let mut members = Vec::new();
        for of_group in groups.groups().iter().filter(|one| one.name() == group) {
            for member in of_group.members() {
                members.extend(client::instance_of(member.client_id()).map(str::to_owned));
            }
        }
        self.members = (!members.is_empty()).then_some(members);
    }

    /// Hands a copy over, and follows its partition no longer.
    fn give(&mut self, wanted: Followable) -> Option<StateCopy> {
        self.chosen.retain(|chosen| *chosen != wanted);
        let Followable { topic, number, id } = wanted;
        let Followed { id: of, copy } = self.copies.remove(&(topic.clone(), number))?;
        self.bytes -= copy.changelog.bytes();
        self.pause(&topic, number);
        (of == id).then_some(copy)
    }

    /// Takes what has come. Returns whether anything has.
    fn poll(&mut self, wait: Duration) -> bool {
        let Self { reader, metrics, copies, bytes, .. } = self;
        match reader.poll(wait) {
            None => return false,
            Some(Ok(record)) => {
                let key = (record.topic().to_owned(), record.partition());
                if let Some(Followed { copy, .. }) = copies.get_mut(&key) {
                    metrics.standby_records.inc();
                    let before = copy.changelog.bytes();
                    restore::take_state(copy.up_to(record.offset()), &record);
                    *bytes = *bytes + copy.changelog.bytes() - before;
                }
            }
            // It goes on by itself, or the session finds that the changelog is gone.
            Some(Err(error)) => debug!(%error, "the standby reads on"),
        }
        while self.bytes > self.config.standby_bytes_max {
            self.leave_out();
        }
        true
    }

    /// Follows the last partition no longer: there is no room.
    fn leave_out(&mut self) {
        let Some(((topic, number), Followed { copy, .. })) = self.copies.pop_last() else { return };
        self.bytes -= copy.changelog.bytes();
        self.left_out += 1;
        self.pause(&topic, number);
        warn!(
            topic,
            partition = number,
            bytes = self.bytes,
            "no room for a copy of the partition's states: raise kafka.standby_bytes_max, or lower \
             kafka.standby_replicas"
        );
        self.show();
    }

    /// What comes of it would be fetched in vain.
    fn pause(&self, topic: &str, number: i32) {
        let mut one = TopicPartitionList::with_capacity(1);
        one.add_partition(topic, number);
        if let Err(error) = self.reader.pause(&one) {
            debug!(%error, topic, number, "a partition that is not followed is still fetched");
        }
    }

    fn show(&self) {
        let states = self.copies.values().map(|of| of.copy.changelog.state_count()).sum();
        self.metrics.follows(self.copies.len(), self.left_out, states, self.bytes);
    }
}

/// Whether an instance keeps a copy of a partition: it is one of the first `replicas` + 1 members
/// in an order that each of them computes alike. One of these may be the owner, so that at least
/// `replicas` others have a copy.
fn keeps_copy(of: &Followable, instance: &str, members: &[String], replicas: usize) -> bool {
    let own = (weight(of, instance), instance);
    let is_ahead = |member: &&String| (weight(of, member), member.as_str()) > own;
    members.iter().filter(is_ahead).count() <= replicas
}

/// A number that depends on the partition and the instance alone (rendezvous hashing): FNV-1a, and
/// the last mixing of SplitMix64, without which texts that end alike have numbers that lie close.
fn weight(of: &Followable, instance: &str) -> u64 {
    let number = of.number.to_le_bytes();
    let parts: [&[u8]; 5] = [of.topic.as_bytes(), b"\0", &number, b"\0", instance.as_bytes()];
    let fnv = parts.into_iter().flatten().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followable(number: i32) -> Followable {
        Followable { topic: "group-ticks-state".to_owned(), number, id: TopicId::of(1) }
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("tickcast-{number}")).collect()
    }

    /// The members that keep a copy of a partition.
    fn keepers(number: i32, members: &[String], replicas: usize) -> Vec<&str> {
        let keeps = |member: &&String| keeps_copy(&followable(number), member, members, replicas);
        members.iter().filter(keeps).map(String::as_str).collect()
    }

    #[test]
    fn a_partition_has_as_many_copies_beside_its_owner_as_are_asked_for() {
        let members = names(5);
        for number in 0..100 {
            for replicas in 0..5 {
                assert_eq!(keepers(number, &members, replicas).len(), replicas + 1);
            }
            assert_eq!(keepers(number, &members, 9), members, "there are no more");
        }
    }

    #[test]
    fn copies_are_spread_over_the_members_and_stay_where_they_are() {
        let members = names(5);
        let mut counts = BTreeMap::new();
        for number in 0..1000 {
            let before = keepers(number, &members, 1);
            before.iter().for_each(|keeper| *counts.entry(*keeper).or_insert(0) += 1);
            // Without a member only its own copies move.
            let left: Vec<_> =
                members.iter().filter(|name| *name != "tickcast-2").cloned().collect();
            let after = keepers(number, &left, 1);
            for keeper in before.iter().filter(|name| **name != "tickcast-2") {
                assert!(after.contains(keeper), "{number}: {before:?} {after:?}");
            }
        }
        // 400 each, if they were even.
        assert!(counts.values().all(|count| (340..460).contains(count)), "{counts:?}");
        assert_eq!(counts.len(), 5);
    }

    #[test]
    fn an_instance_that_the_group_does_not_name_yet_has_its_place_in_the_order() {
        let of = followable(3);
        let members = names(3);
        let new = (3..50).map(|number| format!("tickcast-{number}"));
        let kept = new.filter(|name| keeps_copy(&of, name, &members, 1)).count();
        assert!((1..47).contains(&kept), "{kept} of 47");
    }
}
