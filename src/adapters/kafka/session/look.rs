//! Topics that change while they are read.
//!
//! Owns what a change means. An input that was deleted and created again ends the session before
//! anything is committed. One with more partitions ends it behind a commit. A changelog that is
//! gone is created again, and the states in memory are written to it. Never asks: `topic_watch`
//! does.

use tracing::warn;

use rdkafka::error::RDKafkaErrorCode;

use super::{CLUSTER_PATIENCE, Change, Session};
use crate::adapters::kafka::SessionError;
use crate::adapters::kafka::describe::TopicFacts;
use crate::adapters::kafka::topics::{self, InputTopic};

impl Session<'_> {
    /// Takes what a look at the topics has found, and begins one where that is due.
    pub(super) fn look(&mut self) -> Result<(), SessionError> {
        let Some(facts) = self.watch.turn() else { return Ok(()) };
        for (index, input) in self.inputs.iter().enumerate() {
            let fact = |name: &str| facts.iter().find(|fact| fact.name == name);
            if let Some(fact) = fact(&input.name) {
                judge_input(input, fact)?;
                if fact.partition_count > input.partition_count {
                    let (name, count) = (&input.name, fact.partition_count);
                    let what = format!("topic `{name}` has {count} partitions now");
                    self.changes.push(Change::Grown(what));
                }
            }
            if fact(&input.changelog).is_some_and(|fact| is_other_changelog(input, fact)) {
                self.changes.push(Change::ChangelogGone(index));
            }
        }
        Ok(())
    }

    /// Does what the changes ask for.
    pub(super) fn act_on_changes(&mut self) -> Result<(), SessionError> {
        for change in std::mem::take(&mut self.changes) {
            match change {
                Change::Grown(what) => {
                    self.held = None;
                    self.commit_now()?;
                    return Err(SessionError::Reshaped(what));
                }
                Change::ChangelogGone(index) => self.remake_changelog(index)?,
            }
        }
        Ok(())
    }

    /// Makes a changelog again, and has the next commit write every state to it.
    fn remake_changelog(&mut self, index: usize) -> Result<(), SessionError> {
        self.source.pulse.wait(CLUSTER_PATIENCE);
        let source = self.source;
        let input = &self.inputs[index];
        let id = topics::remake_changelog(&source.config, &self.observer, &source.runtime, input)?;
        // Two looks may have found the same.
        if id.is_some() && id == input.changelog_id {
            return Ok(());
        }
        let input = &mut self.inputs[index];
        input.changelog_id = id;
        let read = self.assigned.iter().filter(|reading| *reading.name.topic == *input.name);
        let partitions = read.count();
        source.metrics.lost_changelog(partitions);
        warn!(
            topic = input.changelog,
            partitions,
            "the changelog was deleted; it is created again, and the states in memory are written \
             to it"
        );
        self.assigned.changelog_is(&input.name, id);
        (self.is_whole, self.is_due) = (true, true);
        self.follow_others();
        Ok(())
    }
}

/// Ends the session where what is read is not the log any more that it began with.
fn judge_input(input: &InputTopic, fact: &TopicFacts) -> Result<(), SessionError> {
    let name = &input.name;
    if is_unknown(fact) {
        return Err(SessionError::retry(format_args!("topic `{name}` is gone")));
    }
    if input.id.zip(fact.id).is_some_and(|(was, is)| was != is) {
        return Err(SessionError::retry(format_args!(
            "topic `{name}` was deleted and created again"
        )));
    }
    Ok(())
}

fn is_other_changelog(input: &InputTopic, fact: &TopicFacts) -> bool {
    let is_other = || input.changelog_id.zip(fact.id).is_some_and(|(was, is)| was != is);
    is_unknown(fact) || fact.error.is_none() && is_other()
}

fn is_unknown(fact: &TopicFacts) -> bool {
    matches!(
        fact.error,
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)
    )
}
