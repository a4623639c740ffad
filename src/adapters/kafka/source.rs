//! Kafka as a source: its settings as the daemon sees them, and its thread.
//!
//! Owns the life of the thread. The shards get their sink from it as well ([`Command::Connect`]),
//! because delivery is decided at both ends at once.
//!
//! [`Command::Connect`]: crate::shard::command::Command::Connect

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::warn;

use super::{KafkaError, KafkaMetrics, KafkaSource, check, online};
use crate::adapters::kafka_config::{KafkaConfig, read_section};
use crate::core::history::{HistoryFrom, HistoryNeed};
use crate::intake::WhenFull;
use crate::ops::exit::{Exit, Failure};
use crate::ports::input::InputIdentity;
use crate::ports::source::{
    OnlineReport, Source, SourceContext, SourceFacts, SourceKind, SourceOpening, SourceReader,
    SourceSettings,
};
use crate::shard::command::Command;

/// Kafka as `source.kind` names it.
pub const KIND: SourceKind<Command> = SourceKind { name: "kafka", read };

fn read(reader: SourceReader<'_, '_>) -> Arc<dyn SourceSettings<Command>> {
    let SourceReader { is_chosen, root, .. } = reader;
    let settings = read_section(root.section("kafka"));
    if is_chosen && settings.topics.is_empty() {
        root.problem("kafka.topics", "must name a topic, for source.kind = \"kafka\"");
    }
    Arc::new(settings)
}

impl SourceSettings<Command> for KafkaConfig {
    fn facts(&self) -> SourceFacts {
        SourceFacts {
            when_full: WhenFull::Block,
            may_drop: false,
            is_live: false,
            delivers_scores: self.scores.is_some(),
            commits: true,
            message_bytes_max: None,
        }
    }

    fn check(&self) -> Result<Vec<String>, Exit> {
        let advice = check(self).map_err(Exit::because(Failure::Configuration))?;
        let advice = advice.iter().map(|advice| format!("warning       {advice}"));
        let Self { history, history_records_max, .. } = self;
        let history = history.is_on().then(|| {
            format!(
                "history       from the topic: {history}, at most {history_records_max} records of \
                 each partition without stored states"
            )
        });
        Ok(history.into_iter().chain(advice).collect())
    }

    fn check_online(&self) -> OnlineReport {
        online::check(self)
    }

    fn identity(&self) -> Result<Option<InputIdentity>, Exit> {
        // Its states are in the changelog.
        Ok(None)
    }

    fn open(&self, opening: &SourceOpening<'_>) -> Result<Box<dyn Source<Command>>, Exit> {
        let metrics = KafkaMetrics::register(opening.registry)?;
        let need = *opening.history;
        if let Some(lacking) = self.history.lacks(&need) {
            warn!(
                history = %self.history, needed = need.steps, lacking,
                "kafka.history has fewer steps than the models need, so no symbol forecasts with \
                 its first live step; \"auto\" reads as many as they need"
            );
        }
        Ok(Box::new(KafkaInput { settings: self.clone(), metrics, need, seed: opening.seed }))
    }

    fn streams_history(&self) -> Option<HistoryFrom> {
        self.history.is_on().then_some(HistoryFrom::Topic)
    }
}

/// A cluster that is not connected yet.
struct KafkaInput {
    settings: KafkaConfig,
    metrics: KafkaMetrics,
    need: HistoryNeed,
    seed: u64,
}

impl Source<Command> for KafkaInput {
    fn run(
        self: Box<Self>,
        context: SourceContext<Command>,
    ) -> BoxFuture<'static, Result<(), Exit>> {
        let Self { settings, metrics, need, seed } = *self;
        let SourceContext { router, ready, stop, .. } = context;
        Box::pin(async move {
            let pulse = router.pulse();
            let source = KafkaSource {
                config: settings,
                shards: router.into_intakes(),
                ready,
                metrics,
                need,
                pulse,
                seed,
                runtime: Handle::current(),
            };
            let (done, outcome) = oneshot::channel();
            std::thread::Builder::new()
                .name("kafka".to_owned())
                .spawn(move || {
                    // Nobody receives it where the process no longer waits for the thread.
                    let _ = done.send(source.run(&stop));
                })
                .map_err(Exit::while_doing(Failure::Internal, "start the Kafka thread"))?;
            let outcome = outcome
                .await
                .map_err(|_| Exit::new(Failure::Internal, "the Kafka thread panicked"))?;
            outcome.map_err(|error| match error {
                KafkaError::Setup(_) => Exit::new(Failure::Configuration, error),
                KafkaError::EngineGone => Exit::new(Failure::Internal, error),
            })
        })
    }
}
