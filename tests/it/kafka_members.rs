//! Members of a group against a real broker: what a rebalance leaves alone, with each way of
//! assigning partitions, and a member that comes back under its name.

use std::collections::BTreeSet;

use std::time::{Duration, Instant};

use crate::support::broker::Broker;
use crate::support::bundle::SealedBundle;
use crate::support::process::{Daemon, Ended, eventually, signal};
use crate::support::topics::{
    PARTITIONS, Topics, assert_in_order, await_committed, bundle, distinct, exchanged, patient,
    produce, replay, start, symbols, ticks, without_session,
};

/// Where the broker assigns partitions.
const BY_BROKER: &str = "kafka.assignment = 'broker'\n";

/// A group on a broker, and the days of ticks that it was given.
struct Group<'b> {
    broker: &'b Broker,
    sealed: SealedBundle,
    topics: Topics,
    further: &'static str,
    produced: Vec<(String, String)>,
    day: u32,
}

impl<'b> Group<'b> {
    fn new(broker: &'b Broker, further: &'static str) -> Self {
        let topics = Topics::create(broker);
        Self { broker, sealed: bundle(), topics, further, produced: Vec::new(), day: 0 }
    }

    fn start(&self, instance: &str) -> Daemon {
        match self.further {
            BY_BROKER => self.start_with(instance, &without_session),
            _ => self.start_with(instance, &str::to_owned),
        }
    }

    fn start_with(&self, instance: &str, change: &dyn Fn(&str) -> String) -> Daemon {
        let settings = patient(&self.topics.settings(self.broker, "at_least_once", instance));
        start(&self.sealed, &format!("{}{}", change(&settings), self.further))
    }

    /// Produces so many days of ticks of twelve symbols, which lie in all partitions.
    fn produce(&mut self, days: u32) {
        let records = ticks(&symbols(12), self.day..self.day + days);
        self.day += days;
        produce(self.broker, &self.topics.input, &records);
        self.produced.extend(records);
    }

    /// Produces, and waits until the work on it is committed.
    fn pass(&mut self, days: u32) {
        self.produce(days);
        await_committed(self.broker, &self.topics);
    }

    /// Every forecast is there, in order, with the bytes of a replay. Returns how many repeats
    /// there were.
    fn assert_whole(&self) -> usize {
        let stored = self.broker.read(&self.topics.forecasts, "read_committed");
        let (forecasts, repeats) = distinct(&stored);
        assert_in_order(&forecasts);
        assert!(forecasts == replay(&self.sealed, &self.produced), "the bytes of the forecasts");
        repeats
    }
}

fn partitions(daemon: &Daemon) -> f64 {
    daemon.metric("tickcast_kafka_partitions")
}

/// Waits until two instances share the partitions in halves.
fn await_halves(one: &Daemon, other: &Daemon) {
    let half = f64::from(PARTITIONS) / 2.0;
    eventually("half of the partitions each", || {
        (partitions(one) == half && partitions(other) == half).then_some(())
    });
}

fn stop(daemon: Daemon) -> Ended {
    let ended = daemon.stop();
    assert!(ended.status.success(), "{:?}", ended.log);
    ended
}

/// How many partitions each revocation took.
fn given(ended: &Ended) -> Vec<u64> {
    let given = ended.log.iter().filter(|line| line["message"] == "gave partitions back");
    given.map(|line| line["given"].as_u64().unwrap()).collect()
}

#[test]
fn a_member_that_comes_back_under_its_name_disturbs_nobody() {
    let further = "kafka.static_membership = true\nkafka.options.'max.poll.interval.ms' = 60000\n";
    let broker = Broker::shared();
    let mut group = Group::new(broker, further);
    let first = group.start("first");
    let other = group.start("other");
    await_halves(&first, &other);
    group.pass(8);
    let rebalances = other.metric("tickcast_kafka_rebalances_total");
    // In order, and by SIGKILL; with records coming meanwhile.
    stop(first);
    group.produce(5);
    let again = group.start("first");
    again.await_metric("tickcast_kafka_partitions", f64::from(PARTITIONS) / 2.0);
    group.pass(3);
    drop(again);
    group.produce(5);
    let again = group.start("first");
    again.await_metric("tickcast_kafka_partitions", f64::from(PARTITIONS) / 2.0);
    group.pass(3);
    assert_eq!(partitions(&other), f64::from(PARTITIONS) / 2.0);
    assert_eq!(other.metric("tickcast_kafka_rebalances_total"), rebalances, "nobody was disturbed");
    assert_eq!(other.metric("tickcast_kafka_sessions_failed_total"), 0.0);
    stop(again);
    stop(other);
    group.assert_whole();
}

#[test]
fn partitions_that_stay_are_left_alone_by_cooperative_members() {
    leave_alone_what_stays("kafka.assignment = 'cooperative'\n");
}

#[test]
fn partitions_that_stay_are_left_alone_where_the_broker_assigns() {
    leave_alone_what_stays(BY_BROKER);
}

fn leave_alone_what_stays(assignment: &'static str) {
    let broker = Broker::shared();
    let mut group = Group::new(broker, assignment);
    let first = group.start("first");
    first.await_metric("tickcast_kafka_partitions", f64::from(PARTITIONS));
    group.pass(8);
    let other = group.start("other");
    group.produce(10);
    await_halves(&first, &other);
    group.pass(3);
    assert_eq!(first.metric("tickcast_kafka_symbols_restored_total"), 0.0, "nothing came anew");
    let restored = other.metric("tickcast_kafka_symbols_restored_total");
    assert!((1.0..12.0).contains(&restored), "those of two partitions: {restored}");
    group.produce(10);
    stop(other);
    first.await_metric("tickcast_kafka_partitions", f64::from(PARTITIONS));
    group.pass(3);
    let restored = first.metric("tickcast_kafka_symbols_restored_total");
    assert!((1.0..12.0).contains(&restored), "those that came back: {restored}");
    assert_eq!(first.metric("tickcast_kafka_sessions_failed_total"), 0.0);
    let ended = stop(first);
    assert_eq!(given(&ended), [u64::from(PARTITIONS.unsigned_abs()) / 2], "only those that moved");
    assert_eq!(group.assert_whole(), 0, "nothing was done twice");
}

/// A member that does not answer keeps a rebalance open for as long as its session lasts. Whoever
/// has joined the next generation meanwhile, and keeps its partitions, reads them on.
#[test]
fn a_rebalance_that_stays_open_holds_up_no_partition_that_stays() {
    let broker = Broker::shared();
    let mut group = Group::new(broker, "kafka.assignment = 'cooperative'\n");
    // Longer than anything waits.
    let long = [("'session.timeout.ms' = 30000", "'session.timeout.ms' = 300000")];
    let change = |settings: &str| exchanged(settings, &long);
    let first = group.start_with("first", &change);
    let second = group.start_with("second", &change);
    await_halves(&first, &second);
    group.pass(8);
    signal(second.id(), "STOP");
    let third = group.start_with("third", &change);
    eventually("the rebalance", || {
        (broker.group_state(&group.topics.group) == "PreparingRebalance").then_some(())
    });
    let of_symbols = first.metric("tickcast_symbols");
    assert!((1.0..12.0).contains(&of_symbols), "those of two partitions: {of_symbols}");
    // Far longer than the member takes to hear of it, with many times the commit interval: a load,
    // not a wait.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2000) {
        let before = first.metric("tickcast_ticks_total");
        group.produce(1);
        first.await_metric("tickcast_ticks_total", before + of_symbols);
    }
    assert_eq!(broker.group_state(&group.topics.group), "PreparingRebalance", "it is open still");
    signal(second.id(), "CONT");
    third.await_metric("tickcast_kafka_partitions", 1.0);
    group.pass(3);
    assert_eq!(first.metric("tickcast_kafka_symbols_restored_total"), 0.0, "nothing came anew");
    for daemon in [first, second, third] {
        assert_eq!(daemon.metric("tickcast_kafka_sessions_failed_total"), 0.0);
        stop(daemon);
    }
    assert_eq!(group.assert_whole(), 0, "nothing was done twice");
}

#[test]
fn partitions_that_come_back_to_an_eager_member_keep_their_states() {
    let broker = Broker::shared();
    let mut group = Group::new(broker, "");
    let first = group.start("first");
    first.await_metric("tickcast_kafka_partitions", f64::from(PARTITIONS));
    group.pass(8);
    let kept = |daemon: &Daemon| daemon.metric("tickcast_kafka_partitions_kept_total");
    assert_eq!(kept(&first), 0.0);
    let other = group.start("other");
    group.produce(10);
    await_halves(&first, &other);
    group.pass(3);
    assert_eq!(kept(&first), f64::from(PARTITIONS) / 2.0, "half of them came back");
    assert_eq!(first.metric("tickcast_kafka_symbols_restored_total"), 0.0);
    let its = other.metric("tickcast_kafka_symbols_restored_total");
    assert_eq!(first.metric("tickcast_symbols"), 12.0 - its, "the others are forgotten");
    group.produce(10);
    stop(other);
    first.await_metric("tickcast_kafka_partitions", f64::from(PARTITIONS));
    group.pass(3);
    assert_eq!(kept(&first), f64::from(PARTITIONS));
    assert_eq!(first.metric("tickcast_kafka_symbols_restored_total"), its, "theirs came anew");
    let ended = stop(first);
    let given: BTreeSet<_> = given(&ended).into_iter().collect();
    assert!(
        given.contains(&u64::from(PARTITIONS.unsigned_abs())),
        "all were given back: {given:?}"
    );
    assert_eq!(group.assert_whole(), 0, "nothing was done twice");
}
