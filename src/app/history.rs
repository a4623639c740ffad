//! The history of symbols: what the models need of it, and where it comes from.
//!
//! Owns the comparison of `[history]` with the models and the source, and the making of what asks.
//! Promises that `tickcast check` names the source of every symbol's history, and that what cannot
//! work is refused with the key that is at fault. Never asks for a row: the historian does, when a
//! shard wants one.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tokio::time::timeout;

use super::config::{AskAt, Config, HistoryConfig};
use super::warming::WarmingWatch;
use crate::adapters::rest::RestMetrics;
use crate::core::domain::{DurationNanos, Symbol};
use crate::core::history::{HistoryFrom, HistoryNeed, RowKind};
use crate::core::step::StepRule;
use crate::engine::model::manifest::Plans;
use crate::engine::model::{Bundle, history_need, interval_words};
use crate::intake::IntakeCommander;
use crate::keep::history::{Historian, HistorianSettings, HistorianTime};
use crate::keep::reload::AskedRows;
use crate::ops::clock::Stopwatch;
use crate::ops::exit::{Exit, Failure};
use crate::ops::readiness::{Notice, Readiness};
use crate::ports::history::{AskClock, Desk, HistorySource, Request, Rows, RowsLimit, Want};
use crate::ports::source::{OnlineReport, SourceOpening};
use crate::shard::command::Command;
use crate::shard::{HistoryBook, HistoryLimits, HistoryMetrics, Shard};

/// How long `tickcast check --online` waits for an answer.
const ONLINE_MAX: Duration = Duration::from_secs(60);

/// The longest rest of a venue that does not answer.
const REST_MAX: Duration = Duration::from_secs(60);

/// What there is to say of history before anything runs.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Lines for `tickcast check`.
    pub(super) lines: Vec<String>,
    /// What works otherwise than one may expect.
    pub(super) note: Option<String>,
    /// What cannot work.
    pub(super) problems: Vec<Exit>,
}

/// How much history the models need, and more of it where the operator wants that.
pub(super) fn need(config: &Config, bundles: &[&Bundle]) -> HistoryNeed {
    let need = least(config, bundles);
    config.history.steps.map_or(need, |steps| need.with_steps(steps))
}

/// How much history the models need.
fn least(config: &Config, bundles: &[&Bundle]) -> HistoryNeed {
    let plans = bundles.iter().map(|bundle| bundle.plans());
    history_need(plans, config.source.settings.delivers_trades())
}

/// Which history comes as records, before the live ones.
fn streamed(config: &Config) -> Option<HistoryFrom> {
    let of_file = config.history.file.as_ref().map(|_| HistoryFrom::File);
    of_file.or_else(|| config.source.settings.streams_history())
}

/// What the shards and the daemon have of history.
pub(super) struct Past {
    /// Where rows come from that are streamed.
    streamed: Option<HistoryFrom>,
    metrics: HistoryMetrics,
    /// Of one shard.
    symbols_max: usize,
    clock: AskClock,
    asking: Option<Asking>,
    /// What the shards ask for, where they do.
    pub(super) rows: Option<AskedRows>,
    /// What answers the shards, where they ask.
    pub(super) historian: Option<Historian>,
}

/// What each shard asks with.
struct Asking {
    desk: Desk,
    /// Of one shard.
    limits: HistoryLimits,
}

impl Past {
    /// Registers the metrics, also where there is no history; opens what is asked for it.
    ///
    /// # Errors
    /// [`Exit`] with code 78 for what the configuration got wrong.
    pub(super) fn open(
        config: &Config,
        bundles: &[&Bundle],
        opening: &SourceOpening<'_>,
        shards: Vec<IntakeCommander<Command>>,
    ) -> Result<Self, Exit> {
        let (began, streamed) = (Stopwatch::start(), streamed(config));
        let clock: AskClock = Arc::new(move || began.elapsed());
        let metrics = HistoryMetrics::register(opening.registry)?;
        let symbols_max = share(config, opening.symbols_max);
        let (asking, rows, historian) = (None, None, None);
        let past = Self { streamed, metrics, symbols_max, clock, asking, rows, historian };
        let source = match config.history.asks() {
            true => config.source.settings.history(opening)?,
            false => None,
        };
        let Some(source) = source else {
            // Nothing is asked for; a dashboard shows zeros and not a hole.
            RestMetrics::register(opening.registry)?;
            return Ok(past);
        };
        let kind = kind_of(opening.history, &*source, bundles);
        let kind = kind.map_err(Exit::while_doing(Failure::Configuration, "history.rest"))?;
        let need = HistoryNeed { rows: Some(kind), ..*opening.history };
        let (desk, asks) = Desk::new(opening.symbols_max);
        let settings = HistorianSettings {
            requests_at_once: source.at_once(),
            rest_max: REST_MAX,
            seed: opening.seed,
        };
        let limits = limits(config, need);
        let time = HistorianTime::of(Arc::clone(&past.clock));
        let historian = Historian::new(vec![source], asks, shards, settings, time);
        let (asking, historian) = (Some(Asking { desk, limits }), Some(historian));
        let beside_trades = config.source.settings.delivers_trades();
        let rows = Some(AskedRows { kind, beside_trades });
        Ok(Self { asking, rows, historian, ..past })
    }

    /// Whether symbols get history at all.
    fn is_any(&self) -> bool {
        self.streamed.is_some() || self.asking.is_some()
    }

    /// Gives a shard what it knows of history, where there is any. `symbols` are those that the
    /// source names and that belong to this shard.
    pub(super) fn of_shard(
        &self,
        shard: Shard,
        index: usize,
        symbols: impl Iterator<Item = Symbol>,
    ) -> Shard {
        if !self.is_any() {
            return shard;
        }
        let book = HistoryBook::new(self.streamed, self.symbols_max, self.metrics.clone());
        let book = match &self.asking {
            Some(Asking { desk, limits }) => book.asking(index, desk.clone(), *limits),
            None => book,
        };
        shard.with_history(book.expecting(symbols), Arc::clone(&self.clock))
    }

    /// What says how far history has come, where there is any; so many symbols are named.
    pub(super) fn watch(
        &self,
        readiness: &Readiness,
        is_required: bool,
        symbols: usize,
    ) -> Option<WarmingWatch> {
        if !self.is_any() {
            return None;
        }
        let notice = Notice::new("history");
        readiness.show(notice.clone());
        let waits = is_required.then(|| (readiness.condition("history"), symbols));
        Some(WarmingWatch::new(self.metrics.board(), notice, waits))
    }
}

/// What one of the shards has of a limit over all of them.
fn share(config: &Config, all: usize) -> usize {
    (all / config.shards.count).max(1)
}

/// The limits of one of the shards.
fn limits(config: &Config, need: HistoryNeed) -> HistoryLimits {
    let HistoryConfig { ticks_max, bytes_max, warm_wait, when_full, ask, .. } = config.history;
    HistoryLimits {
        ticks_max: share(config, ticks_max),
        bytes_max: share(config, bytes_max),
        warm_wait,
        fill_wait: config.backfill.is_enabled.then_some(config.backfill.wait),
        when_full,
        asks_at_start: ask == AskAt::Start,
        need,
    }
}

/// How many rows are asked for where a whole window is.
fn rows_of(need: &HistoryNeed, kind: RowKind) -> u64 {
    let RowKind::Bars(length) = kind else { return u64::MAX };
    need.span.as_nanos().div_euclid(length.as_nanos().max(1)).max(1).unsigned_abs()
}

/// Looks at where the history of every symbol comes from.
pub(super) fn look(config: &Config, bundles: &[&Bundle]) -> Look {
    let mut look = Look::default();
    let (least, words) = (least(config, bundles), steps_words(bundles));
    let need = need(config, bundles);
    let raised = if need.steps > least.steps { ", raised by history.steps" } else { "" };
    look.lines.push(format!("history       {} steps a symbol: {words}{raised}", need.steps));
    if let Some(steps) = config.history.steps.filter(|steps| *steps < least.steps) {
        look.refuse(format_args!(
            "history.steps: {steps} are fewer than the {} that the models need ({words}); leave \
             history.steps out, or raise it",
            least.steps
        ));
    }
    let facts = config.source.settings.facts();
    if !(facts.is_live || facts.commits) {
        // A recording brings its own.
        return look;
    }
    look.at_states(config);
    look.at_file(config);
    look.at_rest(config, bundles, [&least, &need]);
    let words = format_args!("{} steps, where nothing else has them", least.steps);
    look.lines.push(line("live ticks", words));
    look
}

/// Asks for the history of the first symbol that the source names, as a daemon would. Says nothing
/// where history is not asked for.
pub fn look_at_history_online(config: &Config, bundles: &[&Bundle]) -> OnlineReport {
    let mut report = OnlineReport::default();
    if !config.history.asks() {
        return report;
    }
    let Some(symbol) = config.source.settings.symbols().into_iter().next() else {
        report.lines.push(line("history", "source.symbols names no symbol to ask for"));
        return report;
    };
    match ask_once(config, bundles, &symbol) {
        Ok(line) => report.lines.push(line),
        Err(problem) => report.problems.push(format!("history.rest: {symbol}: {problem}")),
    }
    report
}

fn ask_once(config: &Config, bundles: &[&Bundle], symbol: &Symbol) -> Result<String, String> {
    let (need, registry) = (need(config, bundles), Registry::new());
    let opening = SourceOpening {
        registry: &registry,
        symbols_max: config.engine.symbols_max,
        seed: 0,
        history: &need,
    };
    let source = config.source.settings.history(&opening).map_err(|error| error.to_string())?;
    let source = source.ok_or("the source has no [source.rest]")?;
    let kind = kind_of(&need, &*source, bundles)?;
    let RowKind::Bars(_) = kind else { return Err("single trades are not asked for".into()) };
    let rows = u32::try_from(rows_of(&need, kind)).unwrap_or(u32::MAX);
    let want = Want::Newest { before: None, rows };
    let request = Request { symbol: symbol.clone(), kind, are_parts: false, want };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("start the runtime: {error}"))?;
    let limit = config.history.warm_wait.min(ONLINE_MAX);
    let answer = runtime.block_on(async { timeout(limit, source.fetch(request)).await });
    let answer = answer.map_err(|_| format!("no answer within {} s", limit.as_secs()))?;
    let Rows { rows: found, is_complete } = answer.map_err(|failed| failed.to_string())?;
    let Some(newest) = found.last() else { return Err("the venue has no rows".into()) };
    let holes = if is_complete { "" } else { ", some between them missing" };
    let (count, newest, words) = (found.len(), newest.time, row_words(kind));
    Ok(line("history", format_args!("{symbol}: {count} of {rows} {words}{holes}, up to {newest}")))
}

impl Look {
    fn refuse(&mut self, problem: impl std::fmt::Display) {
        self.problems.push(Exit::new(Failure::Configuration, problem));
    }

    /// Says what is restored.
    fn at_file(&mut self, config: &Config) {
        let Some(file) = &config.history.file else { return };
        match file.check() {
            Ok(lines) => self.lines.extend(lines),
            Err(problem) => self.problems.push(problem),
        }
    }

    fn at_states(&mut self, config: &Config) {
        let facts = config.source.settings.facts();
        match &config.snapshot.folder {
            _ if facts.commits => {
                self.lines.push(line("changelog", "the states that the group has stored"));
            }
            Some(folder) => {
                let has_snapshots = matches!(config.source.settings.identity(), Ok(Some(_)));
                let states = format_args!("the states in {}", folder.display());
                self.lines.extend(has_snapshots.then(|| line("snapshot", states)));
            }
            None => {}
        }
    }

    /// Looks at the interface of the venue.
    fn at_rest(&mut self, config: &Config, bundles: &[&Bundle], [least, need]: [&HistoryNeed; 2]) {
        let opening = SourceOpening {
            registry: &Registry::new(),
            symbols_max: config.engine.symbols_max,
            seed: 0,
            history: need,
        };
        let source = config.source.settings.history(&opening);
        if !config.history.rest {
            self.note = source.ok().flatten().and_then(|source| unused(&*source, bundles, need));
            return;
        }
        let source = match source {
            Ok(Some(source)) => source,
            Ok(None) => {
                return self.refuse(
                    "history.rest: the source has no [source.rest], so it has no history to ask \
                     for; use a venue that has it, describe [source.rest], or set history.rest = \
                     false",
                );
            }
            Err(problem) => return self.problems.push(problem),
        };
        if need.rows.is_none() {
            return self.refuse(no_rows(config, bundles));
        }
        let kind = match kind_of(need, &*source, bundles) {
            Ok(kind) => kind,
            Err(reason) => {
                return self.refuse(format_args!(
                    "history.rest: {reason}; set history.rest = false to go without"
                ));
            }
        };
        let (wait, settle) = (config.backfill.wait, source.settle());
        if config.backfill.is_enabled && wait <= settle {
            return self.refuse(format_args!(
                "backfill.wait_ms: {} ms are no longer than the {} ms of rest.settle_ms, so every \
                 hole is too late; raise it, or set backfill.enabled = false",
                wait.as_millis(),
                settle.as_millis()
            ));
        }
        if let Some((model, field)) = lacking_field(&*source, bundles) {
            return self.refuse(format_args!(
                "history.rest: the model `{model}` reads `{field}`, which rest.mapping does not \
                 give its rows; map it there, or set history.rest = false"
            ));
        }
        self.at_limit(config, &*source, kind, [least, need]);
        let words = source.serves(kind).unwrap_or_else(|reason| reason);
        let when = when_asked(config.history.ask, config.source.settings.symbols().len());
        self.lines.push(line(source.from().label(), format_args!("{words}; {when}")));
    }

    /// Compares the rows that the models need, and those that the operator wants, with the most
    /// that one question gives.
    fn at_limit(
        &mut self,
        config: &Config,
        source: &dyn HistorySource,
        kind: RowKind,
        [least, need]: [&HistoryNeed; 2],
    ) {
        let Some(RowsLimit { rows: most, key }) = source.rows_limit() else { return };
        let [least, wanted] = [least, need].map(|need| rows_of(need, kind));
        let raise = key.map(|key| format!("raise {key}"));
        match (config.history.steps.filter(|_| least <= most), raise) {
            _ if wanted <= most => {}
            (Some(steps), raise) => {
                let raise = raise.map(|raise| format!(", or {raise}")).unwrap_or_default();
                self.refuse(format_args!(
                    "history.steps: {steps} steps take {wanted} rows, and the source gives at most \
                     {most} for one question; lower history.steps{raise}"
                ));
            }
            (None, Some(raise)) => self.refuse(format_args!(
                "history.rest: a window takes {least} rows, and the source gives at most {most} \
                 for one question; {raise}"
            )),
            (None, None) => {
                self.note = Some(format!(
                    "a window takes {least} rows, and the source has only its newest {most}: each \
                     symbol begins with those, and live ticks fill the rest of its window"
                ));
            }
        }
    }
}

/// What to say of a venue that has history which is not asked for.
fn unused(source: &dyn HistorySource, bundles: &[&Bundle], need: &HistoryNeed) -> Option<String> {
    let words = source.serves(kind_of(need, source, bundles).ok()?).ok()?;
    if lacking_field(source, bundles).is_some() {
        return None;
    }
    Some(format!("the venue has history ({words}); set history.rest = true to begin warm"))
}

/// The rows that a source is asked for: those that the models need, or, where each of their steps
/// is made of bars, the longest of its bars that make those.
fn kind_of(
    need: &HistoryNeed,
    source: &dyn HistorySource,
    bundles: &[&Bundle],
) -> Result<RowKind, String> {
    let kind = need.rows.ok_or("no kind of rows serves every model")?;
    let Err(reason) = source.serves(kind) else { return Ok(kind) };
    let is_time = |bundle: &&Bundle| matches!(bundle.plans().step_rule, StepRule::Time(_));
    let shorter = match kind {
        RowKind::Bars(length) if bundles.iter().all(is_time) => {
            let divides = |shorter: &DurationNanos| {
                let shorter = shorter.as_nanos();
                shorter > 0 && length.as_nanos() % shorter == 0
            };
            source.lengths().into_iter().find(divides)
        }
        _ => None,
    };
    let none = || format!("the models need {}: {reason}", row_words(kind));
    shorter.map(RowKind::Bars).ok_or_else(none)
}

/// A model and a field that it cannot do without and that rows of this source never have.
fn lacking_field(source: &dyn HistorySource, bundles: &[&Bundle]) -> Option<(String, String)> {
    let has = |name: &str| match name {
        // They stand in for each other.
        "price" | "close" => source.has_field("price") || source.has_field("close"),
        other => source.has_field(other),
    };
    bundles.iter().find_map(|bundle| {
        let (rule, features) = (&bundle.plans().step_rule, bundle.plans().features.raw());
        let required = rule.required(features.required());
        let mut names = required.iter().map(|field| features.schema().name(*field));
        let name = names.find(|name| !has(name))?;
        Some((bundle.manifest().name.clone(), name.to_owned()))
    })
}

/// A line of `tickcast check` about one source.
fn line(source: &str, words: impl std::fmt::Display) -> String {
    format!("  {source:<12}{words}")
}

/// How the steps come about that the models need.
fn steps_words(bundles: &[&Bundle]) -> String {
    let parts = |plans: &Plans| (plans.window_steps as u64, plans.features.raw().warm_up_steps());
    let parts = bundles.iter().map(|bundle| parts(bundle.plans()));
    let (window, warm_up) =
        parts.max_by_key(|(window, warm_up)| window + warm_up).unwrap_or_default();
    format!("window {window} + warm-up {warm_up} + 1")
}

/// When symbols are asked for.
fn when_asked(ask: AskAt, symbols: usize) -> String {
    match (ask, symbols) {
        (AskAt::FirstTick, _) | (AskAt::Start, 0) => "each symbol with its first tick".to_owned(),
        (AskAt::Start, 1) => "1 symbol at the start, others with their first tick".to_owned(),
        (AskAt::Start, count) => {
            format!("{count} symbols at the start, others with their first tick")
        }
    }
}

/// What rows of a kind are, in words.
fn row_words(kind: RowKind) -> String {
    match kind {
        RowKind::Bars(length) => {
            let seconds = length.as_nanos() / 1_000_000_000;
            format!("bars of {}", interval_words(u32::try_from(seconds).unwrap_or(u32::MAX)))
        }
        RowKind::Trades => "single trades".to_owned(),
    }
}

/// Why no kind of rows makes the steps of all models.
fn no_rows(config: &Config, bundles: &[&Bundle]) -> String {
    let models = config.models.iter().zip(bundles);
    let steps = models
        .map(|(model, bundle)| format!("`{}` ({})", model.name, bundle.manifest().step.words()));
    let steps = steps.collect::<Vec<_>>().join(", ");
    format!(
        "history.rest: no bars of one length make the steps of every model: {steps}; bars serve a \
         model of whole records of exactly their length, and models of time bars whose length and \
         offset they divide; set history.rest = false, or give the models daemons of their own"
    )
}

#[cfg(test)]
mod tests;
