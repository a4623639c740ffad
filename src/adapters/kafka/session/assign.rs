//! Partitions that come and go, as the group says.
//!
//! Owns the answers to a rebalance. Promises that a partition is read only after its states are
//! restored, and given away only after its work is committed, and that partitions which stay are
//! read on while the states of others are read and, without transactions, restored. Never decides
//! who reads what: the group does.

use std::collections::HashMap;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rdkafka::consumer::{Consumer, RebalanceProtocol};
use rdkafka::{Offset, TopicPartitionList};
use tracing::info;

use super::{CLUSTER_PATIENCE, COMMIT_POLL_TIMEOUT, SHARD_TIMEOUT, Session, engine_gone};
use crate::adapters::kafka::SessionError;
use crate::adapters::kafka::client::{self, Rebalance};
use crate::adapters::kafka::partitions::{PartitionName, Reading};
use crate::adapters::kafka::start::{Mark, Point};
use crate::adapters::kafka::topics::{ANSWER_TIMEOUT, InputTopic};
use crate::adapters::kafka_config::Delivery;
use crate::core::domain::PartitionId;
use crate::ops::clock::{Stopwatch, pause};
use crate::shard::command::Command;

/// The wait before the group is asked again what it has committed.
const QUESTION_PAUSE: Duration = Duration::from_millis(20);

fn taken_away() -> SessionError {
    SessionError::retry("the group took the partitions away")
}

impl Session<'_> {
    /// Does what the group has decided, one thing behind the other. Meanwhile records come in, of
    /// partitions that stay.
    pub(super) fn rebalance(&mut self) -> Result<(), SessionError> {
        self.decided.extend(self.consumer.context().take());
        if self.assignment.is_some() && self.consumer.assignment_lost() {
            return Err(taken_away());
        }
        loop {
            if !self.go_on_assigning()? {
                return Ok(());
            }
            match self.decided.pop_front() {
                Some(Rebalance::Assign(list)) => self.assign(list)?,
                Some(Rebalance::Revoke(list)) => self.revoke(&list)?,
                None => return Ok(()),
            }
        }
    }

    /// Begins to take partitions over: their states first, then their records.
    pub(super) fn assign(&mut self, list: TopicPartitionList) -> Result<(), SessionError> {
        self.source.pulse.wait(CLUSTER_PATIENCE);
        (self.assigning, self.is_warmed) = (Stopwatch::start(), false);
        let count = list.count();
        if count > 0 {
            self.source.ready.not_ready(format!("restoring {count} partitions"));
            // A cooperative member may get partitions while it commits.
            self.finish_commit(self.assigning)?;
        }
        let committed = if count > 0 { self.committed()? } else { HashMap::new() };
        let (ids, kept_count) = self.keep(&list, &committed)?;
        self.assignment = Some(self.ask(list, &ids, kept_count, committed)?);
        Ok(())
    }

    /// Takes partitions over once their states are there. Returns whether nothing is under way any
    /// more.
    pub(super) fn go_on_assigning(&mut self) -> Result<bool, SessionError> {
        if self.restores.is_none() {
            let Some(assignment) = &self.assignment else { return Ok(true) };
            let Some(known) = assignment.try_take() else { return Ok(false) };
            let known = known?;
            // From here on shards hold states of partitions that are not read yet. No commit
            // begins before they are: it would store these states without their points.
            self.finish_commit(Stopwatch::start())?;
            let Some(assignment) = &self.assignment else { return Ok(true) };
            self.restores = Some(self.begin_restores(known, &assignment.committed)?);
        }
        while !self.go_on_restoring()? {
            if self.source.config.delivery == Delivery::AtLeastOnce {
                return Ok(false);
            }
            // What is published meanwhile would be in a transaction that no commit ends in time.
            self.source.pulse.wait(self.restore_patience());
            pause(COMMIT_POLL_TIMEOUT);
        }
        let Some((assignment, restores)) = self.assignment.take().zip(self.restores.take()) else {
            return Ok(true);
        };
        // What is taken over until a stop is committed, as with every stop.
        if self.take_over(restores)? {
            self.read_taken_over(&assignment.list, assignment.kept_count)?;
        }
        Ok(true)
    }

    /// Reads partitions that are taken over.
    fn read_taken_over(
        &mut self,
        list: &TopicPartitionList,
        kept_count: usize,
    ) -> Result<(), SessionError> {
        let (count, starts) = (list.count(), self.starts(list)?);
        let assigned = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => client::assign_further(&self.consumer, &starts),
            _ => client::assign(&self.consumer, &starts),
        };
        assigned.map_err(SessionError::while_doing("take partitions over"))?;
        if self.held.as_ref().is_some_and(|held| held.is_paused) {
            self.pause_all()?;
        }
        self.moved = Stopwatch::start();
        let own: Vec<_> = self.assigned.iter().map(|reading| reading.id).collect();
        for shard in &self.source.shards {
            shard.command(Command::Own { partitions: own.clone() }).map_err(engine_gone)?;
        }
        let partitions = self.assigned.iter().count();
        self.source.metrics.rebalanced(partitions);
        self.source.metrics.kept(kept_count);
        if count > kept_count {
            self.source.metrics.restore_took(self.assigning.elapsed());
        }
        info!(added = count, kept = kept_count, partitions, "reading partitions");
        self.follow_others();
        // Where reading began is known to nobody else until it is committed.
        self.awaits_first = !self.assigned.uncommitted().is_empty();
        self.is_due = self.awaits_first;
        if !self.awaits_first {
            self.show_ready();
        } else if self.is_warmed {
            // A forecast must not rest on states that a crash would have made otherwise.
            self.source.pulse.wait(CLUSTER_PATIENCE);
            self.commit_now()?;
        }
        Ok(())
    }

    /// Reads those partitions on that were given back a moment ago and whose states are still in
    /// memory. Returns the others, and how many are kept.
    fn keep(
        &mut self,
        list: &TopicPartitionList,
        committed: &HashMap<PartitionId, Point>,
    ) -> Result<(Vec<PartitionId>, usize), SessionError> {
        let (mut kept, mut ids, mut kept_count) = (std::mem::take(&mut self.kept), Vec::new(), 0);
        for element in list.elements() {
            let (topic, number) = (element.topic(), element.partition());
            let id = self
                .table
                .id(topic, number)
                .ok_or_else(|| SessionError::Reshaped(format!("{topic}[{number}] is new")))?;
            let input = self.input(topic)?;
            let point = committed.get(&id).copied();
            let is_ours = |kept: &Reading| {
                point.is_some_and(|point| point.next == kept.next)
                    && kept.mark.log == input.id
                    && kept.mark.changelog == input.changelog_id
            };
            match kept.take(id) {
                Some(reading) if is_ours(&reading) => {
                    kept_count += 1;
                    self.assigned.add(reading.with_committed(point));
                    continue;
                }
                Some(_) => self.evict(id)?,
                None => {}
            }
            ids.push(id);
        }
        for id in kept.rest() {
            self.evict(id)?;
        }
        Ok((ids, kept_count))
    }

    /// From where each partition of a list is read.
    fn starts(&self, list: &TopicPartitionList) -> Result<TopicPartitionList, SessionError> {
        let mut starts = TopicPartitionList::with_capacity(list.count());
        for element in list.elements() {
            let (topic, number) = (element.topic(), element.partition());
            let is_it =
                |reading: &&Reading| reading.name.number == number && &*reading.name.topic == topic;
            let reading = self.assigned.iter().find(is_it).ok_or_else(|| {
                SessionError::retry(format_args!("{topic}[{number}] is not read"))
            })?;
            starts
                .add_partition_offset(topic, number, Offset::Offset(reading.next))
                .map_err(SessionError::while_doing("name a position"))?;
        }
        Ok(starts)
    }

    pub(super) fn show_ready(&mut self) {
        self.source.ready.ready();
        self.shown_cut_off = Some(false);
    }

    /// What the group has committed of all partitions of the input.
    fn committed(&self) -> Result<HashMap<PartitionId, Point>, SessionError> {
        let mut list = TopicPartitionList::new();
        for (_, PartitionName { topic, number }) in self.table.iter() {
            list.add_partition(topic, *number);
        }
        let (cooperative, begun) = (self.source.config.cooperative, Stopwatch::start());
        let committed = loop {
            match self.consumer.committed_offsets(list.clone(), ANSWER_TIMEOUT) {
                Ok(committed) => break committed,
                // As a commit, it may meet the generation that follows.
                Err(error)
                    if client::passes_commit(&error, cooperative)
                        && begun.elapsed() < ANSWER_TIMEOUT =>
                {
                    pause(QUESTION_PAUSE);
                }
                Err(error) => {
                    return Err(SessionError::while_doing("ask for committed offsets")(error));
                }
            }
        };
        let points = committed.elements().into_iter().filter_map(|element| {
            let Offset::Offset(next) = element.offset() else { return None };
            let id = self.table.id(element.topic(), element.partition())?;
            Some((id, Point { next, mark: Mark::parse(element.metadata()) }))
        });
        Ok(points.collect())
    }

    pub(super) fn input(&self, topic: &str) -> Result<&InputTopic, SessionError> {
        let mut inputs = self.inputs.iter();
        inputs.find(|input| input.name == topic).ok_or_else(|| SessionError::retry("no such topic"))
    }

    pub(super) fn name(&self, id: PartitionId) -> Result<PartitionName, SessionError> {
        self.table.name(id).cloned().ok_or_else(|| SessionError::retry("no such partition"))
    }

    /// Has the shard forget a partition's symbols.
    pub(super) fn evict(&self, id: PartitionId) -> Result<(), SessionError> {
        let (answer, answers) = channel();
        self.shard(id).command(Command::Evict { partition: id, answer }).map_err(engine_gone)?;
        answers.recv_timeout(SHARD_TIMEOUT).map_err(|error| match error {
            RecvTimeoutError::Timeout => {
                SessionError::retry("a shard has not answered in time behind its queue")
            }
            RecvTimeoutError::Disconnected => engine_gone(error),
        })
    }

    /// Gives partitions away after their work is committed.
    pub(super) fn revoke(&mut self, list: &TopicPartitionList) -> Result<(), SessionError> {
        if self.consumer.assignment_lost() {
            // Somebody else reads them already. What we hold is of no use to anybody, and must not
            // be stored: a new session begins from what the others have left.
            return Err(taken_away());
        }
        self.release_held(list)?;
        self.commit_now()?;
        let cooperative =
            matches!(self.consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        for element in list.elements() {
            let Some(id) = self.table.id(element.topic(), element.partition()) else { continue };
            match self.assigned.remove(id) {
                // All partitions are given back and some of them come again, with the next word.
                Some(reading) if !cooperative => self.kept.keep(reading),
                _ => self.evict(id)?,
            }
        }
        let given = match cooperative {
            true => self.consumer.incremental_unassign(list),
            false => self.consumer.unassign(),
        };
        given.map_err(SessionError::while_doing("give partitions back"))?;
        let partitions = self.assigned.iter().count();
        self.source.metrics.rebalanced(partitions);
        info!(given = list.count(), partitions, "gave partitions back");
        if cooperative {
            // An eager member gets its share with the next word.
            self.follow_others();
        }
        Ok(())
    }
}
