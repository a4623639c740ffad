//! Partitions that come and go, as the group says.
//!
//! Owns the answers to a rebalance. Promises that a partition is read only after its states are
//! restored, and given away only after its work is committed. Never decides who reads what: the
//! group does.

use std::collections::HashMap;
use std::sync::mpsc::{RecvTimeoutError, channel};

use rdkafka::consumer::{Consumer, RebalanceProtocol};
use rdkafka::{Offset, TopicPartitionList};
use tracing::info;

use super::{CLUSTER_PATIENCE, SHARD_TIMEOUT, Session, engine_gone};
use crate::adapters::kafka::SessionError;
use crate::adapters::kafka::partitions::{PartitionName, Reading};
use crate::adapters::kafka::start::{Mark, Point};
use crate::adapters::kafka::topics::{ANSWER_TIMEOUT, InputTopic};
use crate::core::domain::PartitionId;
use crate::ops::clock::Stopwatch;
use crate::shard::command::Command;

impl Session<'_> {
    /// Takes partitions over: their states first, then their records.
    pub(super) fn assign(&mut self, list: &TopicPartitionList) -> Result<(), SessionError> {
        let begun = Stopwatch::start();
        (self.assigning, self.is_warmed) = (begun, false);
        let count = list.count();
        if count > 0 {
            self.source.ready.not_ready(format!("restoring {count} partitions"));
            // A cooperative member may get partitions while it commits.
            self.finish_commit(begun)?;
        }
        let committed = if count > 0 { self.committed()? } else { HashMap::new() };
        let mut starts = TopicPartitionList::with_capacity(count);
        let (mut kept, mut kept_count) = (std::mem::take(&mut self.kept), 0);
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
            let reading = match kept.take(id) {
                Some(reading) if is_ours(&reading) => {
                    kept_count += 1;
                    Some(reading.with_committed(point))
                }
                Some(_) => {
                    self.evict(id)?;
                    self.take_over(id, &committed)?
                }
                None => self.take_over(id, &committed)?,
            };
            // What is taken over until now is committed, as with every stop.
            let Some(reading) = reading else { return Ok(()) };
            starts
                .add_partition_offset(topic, number, Offset::Offset(reading.next))
                .map_err(SessionError::while_doing("name a position"))?;
            self.assigned.add(reading);
        }
        for id in kept.rest() {
            self.evict(id)?;
        }
        let assigned = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_assign(&starts),
            _ => self.consumer.assign(&starts),
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
            self.source.metrics.restore_took(begun.elapsed());
        }
        info!(added = count, kept = kept_count, partitions, "reading partitions");
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
        let committed = self
            .consumer
            .committed_offsets(list, ANSWER_TIMEOUT)
            .map_err(SessionError::while_doing("ask for committed offsets"))?;
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
            return Err(SessionError::retry("the group took the partitions away"));
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
        Ok(())
    }
}
