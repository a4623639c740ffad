//! What a takeover reads, against a real broker: copies of the states of other instances, and
//! states that are stored less often than offsets.

use std::collections::BTreeSet;

use crate::support::broker::Broker;
use crate::support::bundle::SealedBundle;
use crate::support::cluster::Stored;
use crate::support::process::{Daemon, eventually};
use crate::support::topics::{
    PARTITIONS, Topics, assert_in_order, await_committed, bundle, committed, distinct, exchanged,
    produce, replay, start, states, symbols, ticks,
};

const ALL: f64 = PARTITIONS as f64;

/// A group, and what it was given.
struct Group<'b> {
    broker: &'b Broker,
    sealed: SealedBundle,
    topics: Topics,
    delivery: &'static str,
    produced: Vec<(String, String)>,
    day: u32,
}

impl<'b> Group<'b> {
    fn new(broker: &'b Broker, delivery: &'static str) -> Self {
        let topics = Topics::create(broker);
        Self { broker, sealed: bundle(), topics, delivery, produced: Vec::new(), day: 0 }
    }

    fn start(&self, instance: &str, further: &str) -> Daemon {
        // Long for a busy machine, and short for a test that waits for it once.
        let session = [("'session.timeout.ms' = 1500", "'session.timeout.ms' = 6000")];
        let settings = self.topics.settings(self.broker, self.delivery, instance);
        start(&self.sealed, &(exchanged(&settings, &session) + further))
    }

    /// Produces so many days of ticks of twelve symbols, and waits until the work is committed.
    fn pass(&mut self, days: u32) {
        let records = ticks(&symbols(12), self.day..self.day + days);
        self.day += days;
        produce(self.broker, &self.topics.input, &records);
        self.produced.extend(records);
        await_committed(self.broker, &self.topics);
    }

    /// How many records a partition of the changelog has had.
    fn stored_in(&self, partition: i32) -> f64 {
        self.broker.watermarks(&self.topics.changelog(), partition).1 as f64
    }

    /// The same of all.
    fn stored(&self) -> f64 {
        (0..PARTITIONS).map(|partition| self.stored_in(partition)).sum()
    }

    /// The partitions of which an instance has no symbol.
    fn of_others(&self, daemon: &Daemon) -> BTreeSet<i32> {
        let (_, own) = daemon.get("/v1/symbols");
        let is_own =
            |record: &&Stored| own.contains(&format!("\"{}\"", record.key.as_ref().unwrap()));
        let records = self.broker.read(&self.topics.changelog(), "read_committed");
        records.iter().filter(|record| !is_own(record)).map(|record| record.partition).collect()
    }

    /// Every forecast is there once, in order, with the bytes of a replay.
    fn assert_whole(&self) {
        let stored = self.broker.read(&self.topics.forecasts, "read_committed");
        let (forecasts, repeats) = distinct(&stored);
        assert_in_order(&forecasts);
        assert!(forecasts == replay(&self.sealed, &self.produced), "the bytes of the forecasts");
        assert_eq!(repeats, 0, "nothing was published twice");
    }

    /// The states are those of an instance that nothing has interrupted.
    fn assert_same_states(&self) {
        let calm = self.topics.again();
        let daemon = start(&self.sealed, &calm.settings(self.broker, self.delivery, "calm"));
        await_committed(self.broker, &calm);
        assert!(daemon.stop().status.success());
        let expected = states(self.broker, &calm);
        assert_eq!(expected.len(), 12);
        assert!(states(self.broker, &self.topics) == expected, "the states");
    }
}

fn metric(daemon: &Daemon, name: &str) -> f64 {
    daemon.metric(&format!("tickcast_kafka_{name}"))
}

fn stop(daemon: Daemon) {
    let ended = daemon.stop();
    assert!(ended.status.success(), "{:?}", ended.log);
}

#[test]
fn a_copy_of_its_states_spares_a_takeover_the_changelog() {
    let broker = Broker::shared();
    let mut group = Group::new(broker, "at_least_once");
    let further = "kafka.assignment = 'cooperative'\nkafka.standby_replicas = 1\n";
    let first = group.start("first", further);
    first.await_metric("tickcast_kafka_partitions", ALL);
    group.pass(8);
    let other = group.start("other", further);
    for daemon in [&first, &other] {
        daemon.await_metric("tickcast_kafka_partitions", ALL / 2.0);
        daemon.await_metric("tickcast_kafka_standby_partitions", ALL / 2.0);
    }
    group.pass(8);
    let of_other = group.of_others(&first);
    assert_eq!(of_other.len() as f64, ALL / 2.0);
    eventually("the copies up to their ends", || {
        let stored: f64 = of_other.iter().map(|partition| group.stored_in(*partition)).sum();
        (metric(&first, "standby_records_total") == stored).then_some(())
    });
    let copied = metric(&first, "standby_states");
    assert_eq!(copied, 12.0 - first.metric("tickcast_symbols"), "those of the other");
    assert!(metric(&first, "standby_bytes") > copied * 100.0);
    let before = metric(&first, "states_read_total");
    other.kill();
    first.await_metric("tickcast_kafka_partitions", ALL);
    group.pass(4);
    assert_eq!(metric(&first, "symbols_restored_total"), copied);
    assert_eq!(metric(&first, "states_read_total"), before, "nothing was left to read");
    assert_eq!(metric(&first, "standby_used_total"), ALL / 2.0);
    assert_eq!(metric(&first, "standby_states"), 0.0, "its states are its own now");
    assert_eq!(metric(&first, "sessions_failed_total"), 0.0);
    stop(first);
    group.assert_whole();
    group.assert_same_states();
}

#[test]
fn partitions_without_room_for_a_copy_are_read() {
    let broker = Broker::shared();
    let mut group = Group::new(broker, "at_least_once");
    let narrow = "kafka.standby_replicas = 1\nkafka.standby_bytes_max = 1048576\n";
    let first = group.start("first", narrow);
    first.await_metric("tickcast_kafka_partitions", ALL);
    group.pass(8);
    stop(first);
    // A changelog that is larger than the room for copies, under keys that are no symbols.
    let filler = vec![b'x'; 200_000];
    let keys: Vec<_> = (0..60).map(|number| format!("filler-{number}")).collect();
    broker.produce(&group.topics.changelog(), keys.iter().map(|key| (&**key, &*filler)));
    let first = group.start("first", narrow);
    first.await_metric("tickcast_kafka_partitions", ALL);
    let other = group.start("other", narrow);
    other.await_metric("tickcast_kafka_partitions", ALL / 2.0);
    eventually("partitions without room", || {
        (metric(&other, "standby_left_out") > 0.0).then_some(())
    });
    assert!(metric(&other, "standby_bytes") <= 1_048_576.0);
    first.kill();
    other.await_metric("tickcast_kafka_partitions", ALL);
    group.pass(4);
    assert!(metric(&other, "states_read_total") >= 60.0, "what had no room was read");
    stop(other);
    group.assert_whole();
}

/// What is not stored is made again from its records, and said once.
fn read_again(delivery: &'static str) {
    let broker = Broker::shared();
    let mut group = Group::new(broker, delivery);
    // No state is stored before the instance ends in order.
    let further = "kafka.state_interval_ms = 3600000\n";
    let daemon = group.start("one", further);
    group.pass(9);
    let read: i64 = committed(broker, &group.topics).values().sum();
    assert_eq!(read, group.produced.len() as i64);
    assert_eq!(group.stored(), 0.0, "offsets alone");
    daemon.kill();
    let daemon = group.start("one", further);
    daemon.await_metric("tickcast_kafka_records_read_again_total", read as f64);
    group.pass(2);
    assert_eq!(group.stored(), 0.0);
    // Again, with more.
    daemon.kill();
    let daemon = group.start("one", further);
    let read = group.produced.len() as f64;
    daemon.await_metric("tickcast_kafka_records_read_again_total", read);
    group.pass(1);
    stop(daemon);
    assert!(group.stored() >= 12.0, "an end in order stores the states");
    group.assert_whole();
    group.assert_same_states();
    // Nothing is read again behind it.
    let daemon = group.start("one", further);
    group.pass(1);
    assert_eq!(metric(&daemon, "records_read_again_total"), 0.0);
    assert_eq!(metric(&daemon, "symbols_restored_total"), 12.0);
    stop(daemon);
    group.assert_whole();
}

#[test]
fn records_behind_the_stored_states_are_read_again_and_said_once() {
    read_again("at_least_once");
}

#[test]
fn records_behind_the_stored_states_are_read_again_and_said_once_in_transactions() {
    read_again("exactly_once");
}

#[test]
fn states_are_stored_once_so_many_records_came() {
    let broker = Broker::shared();
    let mut group = Group::new(broker, "at_least_once");
    let further = "kafka.state_interval_ms = 3600000\nkafka.state_records_max = 60\n";
    let daemon = group.start("one", further);
    group.pass(3);
    assert_eq!(group.stored(), 0.0, "36 records are fewer");
    group.pass(3);
    eventually("the states", || (group.stored() >= 12.0).then_some(()));
    daemon.kill();
    let daemon = group.start("one", further);
    group.pass(1);
    let again = metric(&daemon, "records_read_again_total");
    assert!(again < 60.0, "{again}");
    stop(daemon);
    group.assert_whole();
}
