//! Taking partitions over: their stored states, and the offsets to read from.
//!
//! Owns the way from a changelog to the state of a shard. Promises that states go with the
//! records that follow them, and that the states of a partition whose records are lost are ended
//! in the changelog as well. The cluster is asked once for all partitions, on a thread of its own,
//! and the shards restore theirs at the same time, a few symbols at a time: records of partitions
//! that stay go in between. Never reads a record of the input: `warm` does.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{info, warn};

use super::warm::Warmed;
use super::{CLUSTER_PATIENCE, COMMIT_POLL_TIMEOUT, SHARD_TIMEOUT, Session, engine_gone};
use crate::adapters::kafka::assignment::{Assignment, Facts, Known, Newcomer, Question};
use crate::adapters::kafka::changelog::StateRecord;
use crate::adapters::kafka::history::{Beginning, is_cut_short};
use crate::adapters::kafka::partitions::{PartitionName, Reading};
use crate::adapters::kafka::publisher::StatePlace;
use crate::adapters::kafka::restore::States;
use crate::adapters::kafka::restores::{Begun, Restores, Restoring, Sorted};
use crate::adapters::kafka::start::{Epoch, Found, Loss, Mark, Point, Start};
use crate::adapters::kafka::topics::{ANSWER_TIMEOUT, InputTopic};
use crate::adapters::kafka::{KafkaError, SessionError};
use crate::adapters::kafka_config::Delivery;
use crate::core::domain::PartitionId;
use crate::engine::pipeline::Restored;
use crate::ops::clock::{Stopwatch, pause, wall_time};
use crate::shard::command::Command;
use crate::shard::warn_of_cold_states;

/// The epoch of an owner that begins with this end of the changelog partition.
fn epoch_from(end: i64) -> Epoch {
    let now = wall_time().map_or(0, |now| now.as_nanos().unsigned_abs());
    Epoch { since: end, number: now }
}

impl Session<'_> {
    /// Begins to take partitions over that the group gives out.
    pub(super) fn ask(
        &self,
        list: TopicPartitionList,
        ids: &[PartitionId],
        kept_count: usize,
        committed: HashMap<PartitionId, Point>,
    ) -> Result<Assignment, SessionError> {
        let newcomers: Vec<_> =
            ids.iter().map(|id| self.newcomer(*id)).collect::<Result<_, _>>()?;
        let is_given_up = Arc::new(AtomicBool::new(false));
        let question = Question {
            reader: Arc::clone(&self.reader),
            observer: Arc::clone(&self.observer),
            newcomers,
            committed: committed.clone(),
            limit: self.source.config.restore_timeout,
            is_given_up: Arc::clone(&is_given_up),
            standby: self.standby.clone(),
        };
        let (said, answer) = channel();
        if ids.is_empty() {
            // Nobody is asked; the receiver lives.
            drop(said.send(Ok(Vec::new())));
        } else {
            std::thread::Builder::new()
                .name("restore".to_owned())
                // A session that has ended has no receiver.
                .spawn(move || drop(said.send(question.answer())))
                .map_err(SessionError::while_doing("start a thread that reads states"))?;
        }
        Ok(Assignment { list, kept_count, committed, answer, is_given_up })
    }

    /// Begins to restore the states of partitions.
    pub(super) fn begin_restores(
        &self,
        known: Known,
        committed: &HashMap<PartitionId, Point>,
    ) -> Result<Restores, SessionError> {
        let begin = |(of, states, facts)| self.begin(of, states, facts, committed);
        let all = known.into_iter().map(begin).collect::<Result<_, _>>()?;
        Ok(Restores::of(all))
    }

    /// Gives the shards the next states where they have restored those before. Returns whether all
    /// are restored.
    pub(super) fn go_on_restoring(&mut self) -> Result<bool, SessionError> {
        let Self { source, restores, .. } = self;
        let Some(restores) = restores else { return Ok(true) };
        restores.step(&source.shards, source.config.restore_timeout)
    }

    /// Has the shards forget partitions that are not read yet and whose states they may hold.
    pub(super) fn give_up_restores(&mut self) -> Result<(), SessionError> {
        let restores = self.restores.take();
        for one in restores.into_iter().flat_map(|restores| restores.all) {
            self.evict(one.of.id)?;
        }
        Ok(())
    }

    /// Takes partitions over whose states are restored: warms their symbols from the topic where
    /// that is due, and notes from where they are read; `false` where the session was asked to stop
    /// meanwhile.
    pub(super) fn take_over(&mut self, restores: Restores) -> Result<bool, SessionError> {
        let patience = self.restore_patience();
        let (mut begun, mut is_whole, mut is_stopped) = (restores.all.into_iter(), false, false);
        for one in begun.by_ref() {
            self.source.pulse.wait(patience);
            let has_passed_over = one.has_passed_over;
            let Some(reading) = self.finish(one)? else {
                is_stopped = true;
                break;
            };
            self.assigned.add(reading);
            is_whole |= has_passed_over;
        }
        for left in begun {
            self.evict(left.of.id)?;
        }
        // Compaction would leave what was passed over, and not what was taken. Not before each
        // partition is read: a commit on the way would store states without their points.
        self.is_whole |= is_whole;
        Ok(!is_stopped)
    }

    /// Has the standby follow the states of the partitions that others read.
    pub(super) fn follow_others(&self) {
        let Some(standby) = &self.standby else { return };
        let is_own = |id: PartitionId| self.assigned.iter().any(|reading| reading.id == id);
        let others = self.table.iter().filter(|(id, _)| !is_own(*id));
        let followable =
            |(_, name): (_, &PartitionName)| self.input(&name.topic).ok()?.followable(name.number);
        standby.follow(others.filter_map(followable).collect());
    }

    /// How long the supervisor waits for a partition that is taken over.
    pub(super) fn restore_patience(&self) -> Duration {
        CLUSTER_PATIENCE.max(2 * self.source.config.restore_timeout)
    }

    fn newcomer(&self, id: PartitionId) -> Result<Newcomer, SessionError> {
        let name = self.name(id)?;
        let input = self.input(&name.topic)?.clone();
        let place = StatePlace { topic: input.changelog.clone(), number: name.number };
        Ok(Newcomer { id, name, input, place })
    }

    /// Decides where a partition is read from, and which of its states are restored.
    fn begin(
        &self,
        of: Newcomer,
        States { end, stored, passed_over, read, is_from_copy }: States,
        Facts { ends, points, newest_ms }: Facts,
        committed: &HashMap<PartitionId, Point>,
    ) -> Result<Begun, SessionError> {
        self.source.metrics.read_states(read, is_from_copy);
        let Newcomer { id, name, input, place } = &of;
        let began_with = self.began_with(input, committed);
        let is_added = began_with.is_some_and(|count| name.number >= count);
        let committed = committed.get(id).copied();
        let found = Found { log: input.id, ends, committed, states: &points, newest_ms, is_added };
        let has_lost_changelog = found.has_lost_states(input.changelog_id, end == 0);
        if has_lost_changelog {
            self.tell_lost_states(place, &found);
        }
        let (next, loss) = self.beginning(name, &stored, &found)?;
        if let Some(loss) = loss {
            self.tell_loss(name, stored.len(), &found, (next, loss));
        }
        let said = committed.filter(|committed| loss.is_none() && next < committed.next);
        if let Some(said) = said {
            self.tell_again(name, next, said);
        }
        let sorted = self.sort(name, stored, &found, (next, loss));
        let has_lost = has_lost_changelog || loss.is_some() || !sorted.foreign.is_empty();
        self.source.metrics.foreign_states(sorted.foreign.len());
        let restoring = Restoring::of(&sorted.own);
        Ok(Begun {
            of,
            committed,
            began_with,
            low: ends.0,
            next,
            said,
            end,
            sorted,
            has_lost,
            has_passed_over: passed_over > 0,
            restoring,
        })
    }

    /// Warms the symbols of a partition whose states are restored, where that is due, and says from
    /// where it is read; `None` where the session was asked to stop meanwhile.
    fn finish(&mut self, begun: Begun) -> Result<Option<Reading>, SessionError> {
        let Begun {
            of,
            committed,
            began_with,
            low,
            next,
            said,
            end,
            sorted,
            has_lost,
            restoring,
            ..
        } = begun;
        let Newcomer { id, name, input, place } = of;
        let Sorted { own, foreign, cut_short } = sorted;
        if !own.is_empty() {
            self.show_restored(&name, &restoring.restored);
        }
        let is_unreadable = !own.is_empty() && restoring.restored.symbol_count == 0;
        let beginning = Beginning {
            is_first: committed.is_none(),
            has_lost,
            is_unreadable,
            has_states: !own.is_empty(),
        };
        let mut gone = foreign;
        gone.extend(cut_short);
        let is_warmed = beginning.wants_history() && self.source.config.history.is_on();
        if is_warmed {
            match self.warm(id, &name, (low, next))? {
                Warmed::Whole => {}
                // What cannot be used now must not have the history read a second time: what is
                // published from here on rests on a cold beginning.
                Warmed::Late => gone.extend(own),
                Warmed::Stopped => return Ok(None),
            }
        }
        self.forget(&place, &gone)?;
        if has_lost {
            self.begin_cold(id)?;
        }
        // The record right before the position stays the same only where the position does.
        let newest_ms = committed.filter(|point| point.next == next);
        let newest_ms = newest_ms.and_then(|point| point.mark.newest_ms);
        let began_with = began_with.or(Some(input.partition_count));
        let is_epochal = self.source.config.delivery == Delivery::AtLeastOnce;
        let epoch = is_epochal.then(|| epoch_from(end));
        let (log, changelog) = (input.id, input.changelog_id);
        let mark = Mark { log, changelog, began_with, newest_ms, epoch, stored: None };
        let reading = Reading::from(id, name, Point { next, mark });
        // What was warmed is stored by the next commit, even where the position is committed.
        let reading = reading.with_committed(committed.filter(|_| !is_warmed));
        Ok(Some(reading.said_up_to(said)))
    }

    /// Where the partition is read from, and why what was read before is of no use, if it is not.
    fn beginning(
        &self,
        name: &PartitionName,
        stored: &[StateRecord],
        found: &Found<'_>,
    ) -> Result<(i64, Option<Loss>), SessionError> {
        let config = &self.source.config;
        Ok(match found.decide(config.start, config.lost_offset) {
            Start::At(next) => (self.place_before_late_states(name, next, stored, found), None),
            Start::AtTime(time) => (self.offset_at(name, time)?.unwrap_or(found.ends.1), None),
            Start::Lost(next, loss) => (next, Some(loss)),
            Start::Refused(loss) => {
                let PartitionName { topic, number } = name;
                let (low, high) = found.ends;
                return Err(SessionError::Final(KafkaError::Setup(format!(
                    "{topic}[{number}]: {loss} (committed: {}; the topic holds {low} to {high}) \
                     and kafka.on_lost_offset = \"fail\"",
                    found.committed.map_or_else(|| "nothing".to_owned(), |at| at.next.to_string())
                ))));
            }
        })
    }

    /// Where reading begins, given where it would without late states: before that where a former
    /// owner wrote a state late, which may have taken the place of a newer one.
    fn place_before_late_states(
        &self,
        name: &PartitionName,
        begin: i64,
        stored: &[StateRecord],
        found: &Found<'_>,
    ) -> i64 {
        if self.source.config.delivery == Delivery::ExactlyOnce {
            return begin;
        }
        let next = found.reads_again_from(begin, stored.iter());
        if next < begin {
            let PartitionName { topic, number } = name;
            let committed = found.committed.map(|point| point.next);
            warn!(
                %topic, partition = number, ?committed, next,
                "a member stored states after it had lost its partitions, and compaction may have \
                 removed newer ones; the records since are read again; no action is needed"
            );
        }
        next
    }

    /// With how many partitions of a topic the group began; `None` where it has committed nothing.
    fn began_with(
        &self,
        input: &InputTopic,
        committed: &HashMap<PartitionId, Point>,
    ) -> Option<i32> {
        let of_topic = |(id, point): (&PartitionId, &Point)| {
            let is_it = self.table.name(*id).is_some_and(|name| *name.topic == *input.name);
            (is_it && point.mark.log == input.id).then_some(point.mark.began_with).flatten()
        };
        committed.iter().filter_map(of_topic).min()
    }

    /// Says that the states up to the committed offset are gone.
    fn tell_lost_states(&self, place: &StatePlace, found: &Found<'_>) {
        let StatePlace { topic, number } = place;
        self.source.metrics.lost_changelog(1);
        let committed = found.committed.map(|point| point.next);
        warn!(
            %topic, partition = number, ?committed,
            "the changelog has no states for the committed offset: it was deleted; the partition's \
             symbols {}",
            self.outlook()
        );
    }

    /// Says that records before the committed offset are read again.
    fn tell_again(&self, name: &PartitionName, next: i64, said: Point) {
        let PartitionName { topic, number } = name;
        self.source.metrics.reads_again(said.next - next);
        info!(
            %topic, partition = number, next, committed = said.next,
            "reading records again up to the committed offset, for the states; their forecasts are \
             published already"
        );
    }

    /// Says that what was read before is of no use.
    fn tell_loss(
        &self,
        name: &PartitionName,
        states: usize,
        found: &Found<'_>,
        (next, loss): (i64, Loss),
    ) {
        let PartitionName { topic, number } = name;
        let (low, high) = found.ends;
        let committed = found.committed.map(|point| point.next);
        self.source.metrics.lost_offset(loss);
        warn!(
            %topic, partition = number, reason = loss.label(), ?committed, low, high, next, states,
            "{loss}; the partition's symbols {}",
            self.outlook()
        );
    }

    /// What becomes of symbols without states.
    fn outlook(&self) -> &'static str {
        match self.source.config.history.is_on() {
            true => "are warmed from what the topic holds",
            false => "begin cold",
        }
    }

    /// Has the shard know that symbols which turn up in a partition are not new.
    fn begin_cold(&self, id: PartitionId) -> Result<(), SessionError> {
        self.shard(id).command(Command::BeginCold { partition: id }).map_err(engine_gone)
    }

    /// Sorts out the states that are of the log that is read, up to where reading begins.
    fn sort(
        &self,
        name: &PartitionName,
        stored: Vec<StateRecord>,
        found: &Found<'_>,
        (next, loss): (i64, Option<Loss>),
    ) -> Sorted {
        let mut sorted = Sorted { own: Vec::new(), foreign: stored, cut_short: Vec::new() };
        if loss.is_some() {
            return sorted;
        }
        let PartitionName { topic, number } = name;
        let config = &self.source.config;
        let limit = found.state_limit(config.delivery == Delivery::ExactlyOnce);
        (sorted.own, sorted.foreign) = sorted
            .foreign
            .into_iter()
            .partition(|state| found.takes(state.point, limit) && !found.is_lost(state));
        let (own, foreign) = (&sorted.own, &sorted.foreign);
        let (low, high) = found.ends;
        let committed = found.committed.map(|point| point.next);
        if let Some(first) = foreign.first() {
            warn!(
                %topic, partition = number, ?committed, low, high, states = foreign.len(),
                sample = first.key,
                "stored states are of another log, or of records that the topic no longer has; \
                 their symbols {}",
                if own.is_empty() { self.outlook() } else { "begin cold" }
            );
        }
        if own.is_empty() || committed.is_some() {
            return sorted;
        }
        let states = own.len();
        let points = own.iter().map(|state| state.point);
        if config.history.is_on() && low < next && is_cut_short(points, next) {
            info!(
                %topic, partition = number, states, next,
                "stored states are of a beginning that was not committed; the partition's symbols \
                 are warmed again"
            );
            sorted.cut_short = std::mem::take(&mut sorted.own);
        } else {
            warn!(
                %topic, partition = number, states,
                "the group has committed no offset although there are stored states; reading \
                 begins by kafka.start, and records that the states hold are skipped"
            );
        }
        sorted
    }

    fn show_restored(&self, name: &PartitionName, restored: &Restored) {
        let PartitionName { topic, number } = name;
        let cold = restored.cold.len();
        self.source.metrics.restored(restored.symbol_count, cold);
        warn_of_cold_states(&restored.cold, Some((topic, *number)));
        info!(%topic, partition = number, symbols = restored.symbol_count, cold, "restored");
    }

    /// Ends stored states that are of no use, so that no later start takes them for what came just
    /// before.
    fn forget(&self, place: &StatePlace, stored: &[StateRecord]) -> Result<(), SessionError> {
        for StateRecord { key, .. } in stored {
            self.publisher.end_state(key, place);
        }
        // In a transaction they are committed with the first commit.
        if !stored.is_empty() && self.source.config.delivery == Delivery::AtLeastOnce {
            self.await_states()?;
        }
        Ok(())
    }

    fn await_states(&self) -> Result<(), SessionError> {
        let begun = Stopwatch::start();
        while !self.publisher.states_are_settled().map_err(SessionError::Retry)? {
            if begun.elapsed() > SHARD_TIMEOUT {
                return Err(SessionError::retry(
                    "the changelog did not take the ends of states in time",
                ));
            }
            pause(COMMIT_POLL_TIMEOUT);
        }
        Ok(())
    }

    /// The first offset at or after a time; `None` where all records are older.
    pub(super) fn offset_at(
        &self,
        name: &PartitionName,
        time_ms: i64,
    ) -> Result<Option<i64>, SessionError> {
        let mut times = TopicPartitionList::new();
        times
            .add_partition_offset(&name.topic, name.number, Offset::Offset(time_ms))
            .map_err(SessionError::while_doing("name a time"))?;
        let found = self
            .consumer
            .offsets_for_times(times, ANSWER_TIMEOUT)
            .map_err(SessionError::while_doing("look a time up"))?;
        Ok(found.elements().first().and_then(|element| match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }))
    }
}
