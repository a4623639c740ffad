//! Reading changelog partitions to their ends, and the records right before positions.
//!
//! Owns what "its end" means. Promises that every state whose offset may have been committed is
//! among those it returns, open transactions of an earlier owner included: it waits until they are
//! decided. Partitions are read together, with one assignment for each topic: each assignment costs
//! a few round trips and a fetch that waits, whatever there is to read. Never interprets a state,
//! and leaves the choice among those of a key to `changelog`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{Message, Offset, TopicPartitionList};
use tracing::{debug, info, warn};

use super::SessionError;
use super::changelog::{Changelog, StateCopy, StateRecord};
use super::client::{self, Observer};
use super::partitions::PartitionName;
use super::publisher::{POINT_HEADER, StatePlace};
use super::start::Point;
use super::topics::ANSWER_TIMEOUT;
use crate::ops::clock::{Stopwatch, pause};

/// How often a long restore says how far it is.
pub(super) const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// The wait before asking again whether the open transactions are decided.
pub(super) const STABLE_PAUSE: Duration = Duration::from_millis(20);

/// How long one wait for a record lasts.
const RECORD_PAUSE: Duration = Duration::from_millis(50);

/// How long the records before positions may take to come, those of one topic together. Without
/// its record a position is taken as what it seems to be.
const RECORD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the newest records before a position may take to come.
const NEWEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The states of a changelog partition.
#[derive(Debug, Default)]
pub(super) struct States {
    /// The end of the partition; 0 where nothing was ever written to it.
    pub(super) end: i64,
    /// The state of each key.
    pub(super) stored: Vec<StateRecord>,
    /// How many records were passed over, because an earlier one reaches further.
    pub(super) passed_over: u64,
    /// How many records were read.
    pub(super) read: u64,
    /// Whether a copy held the states up to where reading began.
    pub(super) is_from_copy: bool,
}

/// What is read of a partition: from an offset up to another one that is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    number: i32,
    /// The offset of the record to come.
    from: i64,
    to: i64,
}

/// How long something may take, and whether anybody still waits for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Within<'g> {
    pub(super) limit: Duration,
    pub(super) is_given_up: &'g AtomicBool,
}

impl Within<'_> {
    /// Without an end but the limit.
    fn of(limit: Duration) -> Within<'static> {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Within { limit, is_given_up: &NEVER }
    }

    fn is_over(&self, begun: &Stopwatch) -> bool {
        begun.elapsed() > self.limit || self.is_given_up.load(Ordering::Relaxed)
    }
}

impl Stretch {
    fn is_open(&self) -> bool {
        self.from < self.to
    }
}

/// Reads the newest value of every key of changelog partitions, all of them within a limit. The
/// states are in the order of the partitions, as the copies are: where there is one, what it holds
/// is not read.
pub(super) fn read_states(
    reader: &Observer,
    observer: &Observer,
    places: &[StatePlace],
    copies: Vec<Option<StateCopy>>,
    within: Within<'_>,
) -> Result<Vec<States>, SessionError> {
    client::serve(reader);
    let begun = Stopwatch::start();
    let names: Vec<_> = places.iter().map(|place| (&*place.topic, place.number)).collect();
    // The ends with open transactions included: what they hold is decided before we go on.
    let ends = ends(observer, &names)?;
    let mut changelogs: Vec<_> = places.iter().map(|_| Changelog::default()).collect();
    let mut states: Vec<_> =
        ends.iter().map(|(_, end)| States { end: *end, ..States::default() }).collect();
    let mut from: Vec<_> = ends.iter().map(|(low, _)| *low).collect();
    for (at, copy) in copies.into_iter().enumerate() {
        // One that reaches elsewhere is of records that are not there any more.
        let fits = |copy: &StateCopy| (ends[at].0..=ends[at].1).contains(&copy.next);
        if let Some(StateCopy { changelog, next }) = copy.filter(fits) {
            states[at].is_from_copy = next > from[at];
            (changelogs[at], from[at]) = (changelog, next);
        }
    }
    let filled: Vec<_> = (0..places.len()).filter(|at| from[*at] < ends[*at].1).collect();
    await_decision(reader, &names, &filled, &ends, (&begun, within))?;
    for (topic, of_topic) in by_topic(filled.iter().map(|at| (names[*at].0, *at))) {
        let stretch =
            |at: &usize| Stretch { number: names[*at].1, from: from[*at], to: ends[*at].1 };
        let mut stretches: Vec<_> = of_topic.iter().map(stretch).collect();
        let left = Within { limit: within.limit.saturating_sub(begun.elapsed()), ..within };
        let unread = read_together(reader, topic, &mut stretches, left, |place, record| {
            let at = of_topic[place];
            states[at].read += 1;
            take_state(&mut changelogs[at], record);
        })?;
        if let Some(Stretch { number, from, to }) = unread {
            return Err(late((topic, number), from, to, within.limit));
        }
    }
    for ((states, changelog), (topic, partition)) in states.iter_mut().zip(changelogs).zip(names) {
        let passed_over = changelog.passed_over();
        if passed_over > 0 {
            warn!(
                topic,
                partition,
                states = passed_over,
                "passed over stored states that are older than those before them: a member wrote \
                 them after it had lost its partitions; no action is needed"
            );
        }
        states.stored = changelog.into_states().collect();
        states.passed_over = passed_over;
    }
    Ok(states)
}

/// Takes a record of a changelog; one whose key is no text is no state.
pub(super) fn take_state(changelog: &mut Changelog, record: &BorrowedMessage<'_>) {
    if let Some(key) = record.key().and_then(|key| std::str::from_utf8(key).ok()) {
        let state = record.payload().map(Bytes::copy_from_slice);
        changelog.take(record.offset(), key, state, point_of(record));
    }
}

fn late((topic, number): (&str, i32), at: i64, end: i64, limit: Duration) -> SessionError {
    let seconds = limit.as_secs();
    SessionError::retry(format_args!(
        "restore {topic}[{number}]: at {at} of {end} after {seconds} s"
    ))
}

/// Waits until everything in some of the partitions is decided, because only that is read.
fn await_decision(
    reader: &Observer,
    names: &[(&str, i32)],
    filled: &[usize],
    ends: &[(i64, i64)],
    (begun, within): (&Stopwatch, Within<'_>),
) -> Result<(), SessionError> {
    let mut open = filled.to_vec();
    loop {
        let asked: Vec<_> = open.iter().map(|at| names[*at]).collect();
        let stable = offsets_at(reader, &asked, Offset::End)?;
        let is_open = |(at, stable): &(usize, i64)| *stable < ends[*at].1;
        let left: Vec<_> = open.into_iter().zip(stable).filter(is_open).collect();
        let Some((at, stable)) = left.first() else { return Ok(()) };
        if within.is_over(begun) {
            return Err(late(names[*at], *stable, ends[*at].1, within.limit));
        }
        open = left.into_iter().map(|(at, _)| at).collect();
        pause(STABLE_PAUSE);
    }
}

/// The first offset and the end of each of these partitions, with two questions for all of them.
pub(super) fn ends(
    client: &Observer,
    partitions: &[(&str, i32)],
) -> Result<Vec<(i64, i64)>, SessionError> {
    // The beginning first: it moves, and must not be found behind the end.
    let low = offsets_at(client, partitions, Offset::Beginning)?;
    Ok(low.into_iter().zip(offsets_at(client, partitions, Offset::End)?).collect())
}

/// The offset of a place in each of these partitions: [`Offset::Beginning`] or [`Offset::End`].
fn offsets_at(
    client: &Observer,
    partitions: &[(&str, i32)],
    at: Offset,
) -> Result<Vec<i64>, SessionError> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let begun = Stopwatch::start();
    loop {
        match ask_offsets_at(client, partitions, at) {
            Ok(offsets) => return Ok(offsets),
            Err(error) if client::passes_question(&error) && begun.elapsed() < ANSWER_TIMEOUT => {
                pause(STABLE_PAUSE);
            }
            Err(error) => {
                return Err(SessionError::while_doing("ask for the ends of partitions")(error));
            }
        }
    }
}

/// Has a client find the leaders of partitions and connect to them, so that a read of theirs later
/// begins at once: a client that has to look for a leader first waits for up to a second. What it
/// cannot find now it looks for when it is needed.
pub(super) fn find_leaders(client: &Observer, partitions: &[(&str, i32)]) {
    if let Err(error) = ask_offsets_at(client, partitions, Offset::End) {
        debug!(%error, "the leaders of partitions are not known yet");
    }
}

fn ask_offsets_at(
    client: &Observer,
    partitions: &[(&str, i32)],
    at: Offset,
) -> Result<Vec<i64>, ClientError> {
    let mut places = TopicPartitionList::with_capacity(partitions.len());
    for (topic, number) in partitions {
        // As times these places are words of the protocol.
        places.add_partition_offset(topic, *number, at)?;
    }
    let found = client.offsets_for_times(places, ANSWER_TIMEOUT)?;
    let offset = |(topic, number): &(&str, i32)| {
        let unknown = || ClientError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable);
        let place = found.find_partition(topic, *number).ok_or_else(unknown)?;
        place.error()?;
        match place.offset() {
            Offset::Offset(offset) => Ok(offset),
            _ => Err(unknown()),
        }
    };
    partitions.iter().map(offset).collect()
}

/// What there is of each topic.
fn by_topic<'t, T>(all: impl Iterator<Item = (&'t str, T)>) -> BTreeMap<&'t str, Vec<T>> {
    let mut by_topic = BTreeMap::new();
    for (topic, one) in all {
        by_topic.entry(topic).or_insert_with(Vec::new).push(one);
    }
    by_topic
}

/// Reads stretches of a topic's partitions together, each of another partition, and hands each
/// record over with the place of its stretch. Moves their beginnings on. Returns one that is not
/// read to its end within the limit.
fn read_together(
    reader: &Observer,
    topic: &str,
    stretches: &mut [Stretch],
    within: Within<'_>,
    mut take: impl FnMut(usize, &BorrowedMessage<'_>),
) -> Result<Option<Stretch>, SessionError> {
    let doing = |what: &'static str| {
        move |error: ClientError| SessionError::retry(format_args!("{what} `{topic}`: {error}"))
    };
    let mut assignment = TopicPartitionList::new();
    for Stretch { number, from, .. } in stretches.iter().filter(|stretch| stretch.is_open()) {
        assignment
            .add_partition_offset(topic, *number, Offset::Offset(*from))
            .map_err(doing("read"))?;
    }
    let mut open = assignment.count();
    if open == 0 {
        return Ok(None);
    }
    client::assign(reader, &assignment).map_err(doing("read"))?;
    let (begun, mut logged, mut newest) = (Stopwatch::start(), Stopwatch::start(), 0);
    while open > 0 && !within.is_over(&begun) {
        if logged.elapsed() > PROGRESS_EVERY {
            logged = Stopwatch::start();
            info!(topic, partitions = open, "restoring");
        }
        match reader.poll(RECORD_PAUSE) {
            None => {}
            Some(Ok(record)) => {
                let is_it = |stretch: &Stretch| stretch.number == record.partition();
                if !is_it(&stretches[newest]) {
                    let Some(at) = stretches.iter().position(is_it) else { continue };
                    newest = at;
                }
                let stretch = &mut stretches[newest];
                if !stretch.is_open() {
                    // What lies behind it would be fetched in vain.
                    pause_partition(reader, topic, stretch.number).map_err(doing("pause"))?;
                    continue;
                }
                if record.offset() < stretch.to {
                    take(newest, &record);
                }
                stretch.from = record.offset() + 1;
                open -= usize::from(!stretch.is_open());
            }
            // The last places may be held by markers of transactions, which are no records.
            Some(Err(ClientError::PartitionEOF(number))) => {
                let is_it = |stretch: &&mut Stretch| stretch.number == number && stretch.is_open();
                if let Some(stretch) = stretches.iter_mut().find(is_it) {
                    stretch.from = stretch.to;
                    open -= 1;
                }
            }
            Some(Err(error)) if client::passes(&error) => {}
            Some(Err(error)) => return Err(doing("read")(error)),
        }
    }
    reader.unassign().map_err(doing("end reading"))?;
    Ok(stretches.iter().find(|stretch| stretch.is_open()).copied())
}

fn pause_partition(reader: &Observer, topic: &str, number: i32) -> Result<(), ClientError> {
    let mut one = TopicPartitionList::with_capacity(1);
    one.add_partition(topic, number);
    reader.pause(&one)
}

/// The end of what is decided: behind it lie open transactions.
pub(super) fn stable_end(reader: &Observer, topic: &str, number: i32) -> Result<i64, SessionError> {
    let ends = reader.fetch_watermarks(topic, number, ANSWER_TIMEOUT);
    ends.map(|(_, stable)| stable)
        .map_err(SessionError::while_doing(&format!("ask for the stable end of {topic}[{number}]")))
}

/// Has the reader read one partition from a place on, and nothing else.
pub(super) fn read_from(
    reader: &Observer,
    topic: &str,
    number: i32,
    at: Offset,
) -> Result<(), SessionError> {
    let mut assignment = TopicPartitionList::new();
    assignment
        .add_partition_offset(topic, number, at)
        .and_then(|()| client::assign(reader, &assignment))
        .map_err(SessionError::while_doing(&format!("read {topic}[{number}]")))
}

/// Up to where a state reaches, by the header of its record.
fn point_of(record: &BorrowedMessage<'_>) -> Option<Point> {
    let header = record.headers()?.iter().find(|header| header.key == POINT_HEADER)?;
    Point::parse(std::str::from_utf8(header.value?).ok()?)
}

/// The timestamps of records, in milliseconds since the epoch, each by its partition and offset;
/// `None` where no record is there, or none came in time.
pub(super) fn times_of_records<'r>(
    reader: &Observer,
    records: &[(&'r PartitionName, i64)],
) -> Result<Vec<Option<i64>>, SessionError> {
    let mut times = vec![None; records.len()];
    let names: Vec<_> = records.iter().map(|(name, _)| (&*name.topic, name.number)).collect();
    if !names.is_empty() {
        find_leaders(reader, &names);
    }
    let of = |(at, (name, _)): (usize, &(&'r PartitionName, i64))| (&*name.topic, at);
    for (topic, of_topic) in by_topic(records.iter().enumerate().map(of)) {
        let stretch = |at: &usize| {
            let (name, offset) = records[*at];
            Stretch { number: name.number, from: offset, to: offset + 1 }
        };
        let mut stretches: Vec<_> = of_topic.iter().map(stretch).collect();
        // The records in between may have been compacted away.
        read_together(reader, topic, &mut stretches, Within::of(RECORD_TIMEOUT), |at, record| {
            times[of_topic[at]] = record.timestamp().to_millis();
        })?;
    }
    Ok(times)
}

/// The timestamp of the newest record before `next` in a partition that begins at `low`; `None`
/// where no record is there that has one.
pub(super) fn newest_time_before(
    reader: &Observer,
    name: &PartitionName,
    low: i64,
    next: i64,
) -> Result<Option<i64>, SessionError> {
    let begun = Stopwatch::start();
    let PartitionName { topic, number } = name;
    let (mut back, mut time) = (1, None);
    loop {
        // The last places may be held by markers of transactions, or by what they have aborted.
        let from = next.saturating_sub(back).max(low);
        let mut stretch = [Stretch { number: *number, from, to: next }];
        let left = Within::of(NEWEST_TIMEOUT.saturating_sub(begun.elapsed()));
        let unread = read_together(reader, topic, &mut stretch, left, |_, record| {
            time = record.timestamp().to_millis().or(time);
        })?;
        if unread.is_some() {
            let seconds = NEWEST_TIMEOUT.as_secs();
            return Err(SessionError::retry(format_args!(
                "no record of {topic}[{number}] before offset {next} came in {seconds} s"
            )));
        }
        if time.is_some() || from == low {
            return Ok(time);
        }
        back *= 8;
    }
}
