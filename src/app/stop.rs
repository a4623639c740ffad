//! How the daemon ends: in order, within one deadline.
//!
//! Owns the order of the end: the source stops, the queues drain, the last snapshot is written, the
//! sinks finish. Promises that a sink is finished only after every shard let go of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tracing::{error, info};

use crate::engine::symbols::EngineTally;
use crate::intake::IntakeMetrics;
use crate::keep::snapshot::RunningKeeper;
use crate::ops::clock::Stopwatch;
use crate::ops::exit::{Exit, Failure};
use crate::shard::{Crew, CrewError, ShardError};

/// Waits until a sink wrote everything; see
/// [`OpenSink::finish`](crate::ports::sink::OpenSink::finish).
pub(super) type Finish = Box<dyn FnOnce() -> Result<(), Exit> + Send>;

/// How a source that ran to its end ended.
pub(super) fn joined(outcome: Result<Result<(), Exit>, JoinError>) -> Result<(), Exit> {
    outcome.map_err(Exit::while_doing(Failure::Internal, "run the source")).flatten()
}

/// Waits for a source that was asked to stop. A read that blocks, from a pipe say, cannot be ended;
/// it is left behind.
pub(super) async fn end_of(
    source: &mut JoinHandle<Result<(), Exit>>,
    stop_timeout: Duration,
) -> Result<(), Exit> {
    timeout(stop_timeout, source).await.map_or(Ok(()), joined)
}

/// One limit over all phases of stopping.
pub(super) struct Deadline {
    begun: Stopwatch,
    limit: Duration,
}

impl Deadline {
    pub(super) fn begin(limit: Duration) -> Self {
        Self { begun: Stopwatch::start(), limit }
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    pub(super) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.begun.elapsed())
    }
}

/// Waits until the shards published everything and every sink wrote it.
pub(super) async fn publish_all(
    mut crew: Crew,
    keeper: Option<RunningKeeper>,
    finishes: Vec<Finish>,
) -> Result<Vec<EngineTally>, Exit> {
    let finished = crew.finished().await.map(<[EngineTally]>::to_vec);
    // Before the sinks end, which have to settle what the last snapshot holds.
    if let (Some(keeper), Ok(_)) = (keeper, &finished) {
        let kept = tokio::task::spawn_blocking(|| keeper.finish()).await;
        kept.map_err(Exit::while_doing(Failure::Internal, "keep the last snapshot"))?
            .map_err(Exit::because(Failure::Internal))?;
    }
    // A shard that failed otherwise may have left others at work, whose sinks nobody waits for.
    if matches!(finished, Ok(_) | Err(CrewError::Shard(ShardError::Closed(_)))) {
        // A sink's own error is the cause of a closed one, so it goes first.
        let finish = || finishes.into_iter().try_for_each(|finish| finish());
        let written = tokio::task::spawn_blocking(finish).await;
        written.map_err(Exit::while_doing(Failure::Internal, "finish the sinks"))??;
    }
    finished.map_err(Exit::because(Failure::Internal))
}

/// Says what became of everything, a line for each model. What was received is said once: with the
/// only model, or on a line of its own before several.
pub(super) fn report(
    finished: Result<Vec<EngineTally>, Exit>,
    models: &[Arc<str>],
    intake: &IntakeMetrics,
) -> Result<(), Exit> {
    let tallies = finished.inspect_err(|failure| error!(error = %failure, "the daemon failed"))?;
    let mut received = Some(intake.received_and_dropped());
    if models.len() > 1
        && let Some((received, dropped)) = received.take()
    {
        info!(received, dropped, "the queues are empty");
    }
    for (model, tally) in models.iter().zip(&tallies) {
        report_model(model, tally, received);
    }
    Ok(())
}

fn report_model(model: &str, tally: &EngineTally, received: Option<(u64, u64)>) {
    let EngineTally { ticks, absorbed, steps, further, patched, .. } = tally;
    let EngineTally { warming, forecasts, withheld, resets, rejects, repeats, .. } = tally;
    let withheld = withheld.total();
    let refused = rejects.total();
    let (received, dropped) = received.unzip();
    info!(
        model,
        received,
        dropped,
        ticks,
        repeats,
        refused,
        absorbed,
        further,
        steps,
        patched,
        warming,
        forecasts,
        withheld,
        resets,
        "drained"
    );
}

#[cfg(test)]
mod tests;
