//! The law of history: a forecast whose questions were answered has the bytes that a replay of all
//! ticks gives, and one whose questions were not has the bytes of a run without history.
//!
//! A world of ticks is played to a shard that asks, from a tick in the middle on and with outages,
//! while a source that errs answers now, later or never.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::core::random::{Purpose, Random};
use crate::engine::model::history_need;
use crate::engine::model::manifest::{EmptySteps, Manifest, StepSpec};
use crate::engine::test_support::STEP_SECONDS;

const SYMBOLS: [&str; 4] = ["A", "B", "C", "D"];

/// How long one event takes.
const EVENT: Duration = Duration::from_millis(100);

/// Events until a question for a hole, and for a window, is of no use any more.
const FILL_EVENTS: u64 = 20;
const WARM_EVENTS: u64 = 60;

const MINUTE_MS: i64 = 60_000;

/// How ticks become steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Record,
    Bars { lateness_ms: u32, carries: bool },
}

/// What becomes of the questions for a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Luck {
    Answered,
    InVain,
    Either,
}

#[derive(Clone, Debug)]
struct World {
    rule: Rule,
    luck: Vec<Luck>,
    /// Of all minutes, the first that is heard, and how far into it.
    switch_ms: i64,
    minutes: i64,
    /// Where nothing is heard, in minutes.
    outages: Vec<Range<i64>>,
    asks_at_start: bool,
    has_shadow: bool,
    ticks_max: usize,
    when_full: WhenHeld,
    /// Most records that the shard takes at once. Where they are few, answers wait in the queue.
    turns: usize,
    seed: u64,
}

#[derive(Clone, Debug)]
struct WorldTick {
    symbol: usize,
    time_ms: i64,
    close: f64,
}

/// What a run has said, by symbol and time of the step.
type Said = BTreeMap<(String, String), String>;

impl WorldTick {
    fn line(&self) -> String {
        let (symbol, time, close) = (SYMBOLS[self.symbol], self.time_ms, self.close);
        format!(r#"{{"symbol":"{symbol}","time":{time},"close":{close}}}"#)
    }
}

fn nanos(time_ms: i64) -> UnixNanos {
    UnixNanos::from_nanos(time_ms * 1_000_000)
}

impl World {
    fn ticks(&self, dice: &mut Random) -> Vec<WorldTick> {
        let mut ticks = Vec::new();
        let mut close = [60.0; SYMBOLS.len()];
        for minute in 0..self.minutes {
            for (symbol, close) in close.iter_mut().enumerate().take(self.luck.len()) {
                let times: BTreeSet<i64> = match self.rule {
                    _ if dice.below(12) == 0 => BTreeSet::new(),
                    Rule::Record => BTreeSet::from([0]),
                    Rule::Bars { .. } => {
                        (0..1 + dice.below(3)).map(|_| dice.below(60_000) as i64).collect()
                    }
                };
                for time in times {
                    *close += (dice.below(9) as f64 - 4.0) / 4.0;
                    let time_ms = minute * MINUTE_MS + time;
                    ticks.push(WorldTick { symbol, time_ms, close: *close });
                }
            }
        }
        ticks.sort_by_key(|tick| tick.time_ms);
        ticks
    }

    /// Whether a tick reaches the daemon.
    fn is_heard(&self, tick: &WorldTick) -> bool {
        let minute = tick.time_ms.div_euclid(MINUTE_MS);
        tick.time_ms >= self.switch_ms && !self.outages.iter().any(|lost| lost.contains(&minute))
    }

    fn manifest(&self) -> Manifest {
        let mut manifest = manifest(&[Mode::Full, Mode::Sliding]);
        if let Rule::Bars { lateness_ms, carries } = self.rule {
            manifest.step = StepSpec { lateness_ms, ..StepSpec::time(STEP_SECONDS) };
            if carries {
                (manifest.step.empty, manifest.step.carry_steps_max) = (EmptySteps::Carry, 2);
            }
        }
        manifest
    }

    fn need(&self) -> HistoryNeed {
        let bundle = draft(self.manifest(), Weights::default()).into_bundle().unwrap();
        history_need([bundle.plans()], false)
    }

    fn pipelines(&self) -> Pipelines {
        let version = |version: &str, weights| {
            let manifest = Manifest { version: version.to_owned(), ..self.manifest() };
            draft(manifest, weights).into_bundle().unwrap()
        };
        let live = pipeline(&version("1", Weights::default()));
        if !self.has_shadow {
            return Pipelines::new(live, &settings());
        }
        let shadow = pipeline(&version("2", Weights { bias: 0.2, ..Weights::default() }));
        let models = [("live", Role::Live, live), ("shadow", Role::Shadow, shadow)];
        let model = |(name, role, pipeline): (&str, Role, Pipeline)| {
            let symbols = SymbolPatterns::default();
            StreamModel { name: name.into(), symbols, seat: 0, role, pipeline }
        };
        Pipelines::of(models.into_iter().map(model).collect(), &settings()).unwrap()
    }

    /// A shard without history that takes some ticks, with gaps before those that are marked.
    fn without_history(&self, ticks: &[WorldTick], hears: impl Fn(&WorldTick) -> bool) -> Said {
        let log = Log::default();
        let (intake, receiver) = queue(100_000);
        let sinks = vec![MemorySink::new("only", &log).boxed()];
        let mut shard = shard_with(self.pipelines(), receiver, sinks, self.turns);
        let (mut has_heard, mut is_lost) = (false, false);
        for tick in ticks {
            if !hears(tick) {
                is_lost = has_heard;
                continue;
            }
            has_heard = true;
            if std::mem::take(&mut is_lost) {
                intake.gap().now_or_never().unwrap().unwrap();
            }
            intake.record_within(plain(tick.line()), Duration::ZERO).unwrap();
        }
        drop(intake);
        while shard.turn(Waiting::Returns).unwrap() {}
        said(&log)
    }

    /// What a source says at some time of the world.
    fn rows(&self, ticks: &[WorldTick], request: &Request, now_ms: i64) -> Rows {
        let symbol = SYMBOLS.iter().position(|name| *name == request.symbol.as_str()).unwrap();
        let mut bars: BTreeMap<i64, &WorldTick> = BTreeMap::new();
        for tick in ticks.iter().filter(|tick| tick.symbol == symbol) {
            bars.insert(tick.time_ms.div_euclid(MINUTE_MS) * MINUTE_MS, tick);
        }
        let within = |start: i64| match request.want {
            Want::Newest { before, .. } => {
                let before = before.unwrap_or(nanos(now_ms));
                nanos(start + MINUTE_MS) <= before
            }
            Want::Between(span) => {
                assert!(span.to <= nanos(now_ms), "only finished bars are asked for");
                span.contains(nanos(start))
            }
        };
        let of_symbol = bars.into_iter().filter(|(start, _)| within(*start));
        let mut rows: Vec<_> = of_symbol
            .map(|(start, tick)| Row {
                bytes: WorldTick { time_ms: start, ..tick.clone() }.line().into(),
                time: nanos(start),
                trade_id: None,
            })
            .collect();
        if let Want::Newest { rows: count, .. } = request.want {
            rows.drain(..rows.len().saturating_sub(count as usize));
        }
        Rows { rows, is_complete: true }
    }
}

fn said(log: &Log) -> Said {
    let mut said = Said::new();
    let mut newest: BTreeMap<String, String> = BTreeMap::new();
    for (symbol, bytes) in log.forecasts("only") {
        // The mark of drift follows from scores, some of which a hole takes for good.
        let bytes = bytes.replace(r#""drift":true"#, r#""drift":false"#);
        let forecast: Value = serde_json::from_str(&bytes).unwrap();
        let as_of = forecast["as_of"].as_str().unwrap().to_owned();
        let before = newest.insert(symbol.clone(), as_of.clone());
        assert!(before < Some(as_of.clone()), "times of {symbol} do not rise: {bytes}");
        said.insert((symbol, as_of), bytes);
    }
    said
}

/// A question on its way, and what becomes of it.
struct Open {
    number: u64,
    request: Request,
    is_hole: bool,
    due: u64,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Rows,
    Away,
    Refused,
    Never,
    Partial,
    Disorder,
}

/// The shard that asks, and the source.
struct Life<'w> {
    world: &'w World,
    ticks: &'w [WorldTick],
    asker: Asker,
    open: VecDeque<Open>,
    dice: Random,
    event: u64,
    now_ms: i64,
    /// Symbols of which a question ended in vain.
    failed: BTreeSet<usize>,
    /// The event at which the newest question of a symbol is of no use any more.
    until: BTreeMap<usize, u64>,
    answered: usize,
}

impl<'w> Life<'w> {
    fn new(world: &'w World, ticks: &'w [WorldTick], dice: Random) -> Self {
        let limits = HistoryLimits {
            ticks_max: world.ticks_max,
            warm_wait: EVENT * WARM_EVENTS as u32,
            fill_wait: Some(EVENT * FILL_EVENTS as u32),
            when_full: world.when_full,
            asks_at_start: world.asks_at_start,
            need: world.need(),
            ..limits()
        };
        let expected = world.luck.iter().zip(SYMBOLS).map(|(_, name)| Symbol::new(name).unwrap());
        let (desk, asks) = Desk::new(100);
        let asker = Asker::of_models(world.pipelines(), world.turns, asks, |metrics| {
            HistoryBook::new(None, 100, metrics).asking(0, desk, limits).expecting(expected)
        });
        let open = VecDeque::new();
        let (failed, until, now_ms) = (BTreeSet::new(), BTreeMap::new(), world.switch_ms);
        Self { world, ticks, asker, open, dice, event: 0, now_ms, failed, until, answered: 0 }
    }

    /// Takes new questions, and answers those that are due.
    fn serve(&mut self, is_over: bool) {
        while let Ok(Ask { number, request, is_hole, .. }) = self.asker.asks.try_recv() {
            let symbol = SYMBOLS.iter().position(|name| *name == request.symbol.as_str()).unwrap();
            let is_good = match self.world.luck[symbol] {
                Luck::Answered => true,
                Luck::InVain => false,
                Luck::Either => self.dice.below(2) == 0,
            };
            let bad = [Fate::Away, Fate::Refused, Fate::Never, Fate::Partial, Fate::Disorder];
            let fate = if is_good { Fate::Rows } else { bad[self.dice.below(bad.len())] };
            let events = if is_hole { FILL_EVENTS } else { WARM_EVENTS };
            self.until.insert(symbol, self.event + events);
            let mut due = self.event + self.dice.below(events as usize / 2) as u64;
            if self.world.luck[symbol] == Luck::Either && self.dice.below(6) == 0 {
                // Too late.
                due = self.event + events + 1;
            }
            if fate != Fate::Rows {
                self.failed.insert(symbol);
            }
            self.open.push_back(Open { number, request, is_hole, due, fate });
        }
        let (due, later): (VecDeque<_>, VecDeque<_>) =
            self.open.drain(..).partition(|open| is_over || open.due <= self.event);
        self.open = later;
        for Open { number, request, is_hole, fate, .. } in due {
            let mut rows = self.world.rows(self.ticks, &request, self.now_ms);
            if let (true, Want::Newest { rows: wanted, .. }) = (is_hole, request.want)
                && rows.rows.len() < wanted as usize
            {
                // The window that there is may be better.
                let symbol = request.symbol.as_str();
                self.failed.extend(SYMBOLS.iter().position(|name| *name == symbol));
            }
            let answer = match fate {
                Fate::Never => continue,
                Fate::Rows => Ok(rows),
                Fate::Away => away(),
                Fate::Refused => Err(Failed::Refused("unknown".to_owned())),
                Fate::Partial => {
                    rows.rows.pop();
                    Ok(Rows { is_complete: false, ..rows })
                }
                Fate::Disorder => {
                    rows.rows.reverse();
                    // One row alone is in order.
                    let is_complete = rows.rows.len() > 1;
                    Ok(Rows { is_complete, ..rows })
                }
            };
            self.answered += 1;
            self.asker.intake.command(Command::History { number, answer }).unwrap();
        }
    }

    fn turn(&mut self) {
        let book = &self.asker.shard.history.as_ref().unwrap().book;
        for (symbol, until) in &self.until {
            // Its answer may still wait in the queue, and comes too late.
            if *until <= self.event && book.is_open(SYMBOLS[*symbol]) {
                self.failed.insert(*symbol);
            }
        }
        self.asker.turn();
        self.serve(false);
    }

    fn pass_time(&mut self) {
        self.event += 1;
        self.asker.hand.go_on(EVENT);
    }

    /// Plays the world; returns what was said, and how many ticks were heard.
    fn play(mut self) -> (Said, BTreeSet<usize>, u64) {
        let (mut heard, mut is_lost) = (0, false);
        self.turn();
        for tick in self.ticks {
            if tick.time_ms < self.world.switch_ms {
                continue;
            }
            if !self.world.is_heard(tick) {
                is_lost = heard > 0;
                continue;
            }
            self.now_ms = self.now_ms.max(tick.time_ms);
            if std::mem::take(&mut is_lost) {
                self.asker.intake.gap().now_or_never().unwrap().unwrap();
            }
            self.asker.deliver(plain(tick.line()));
            heard += 1;
            self.pass_time();
            if self.dice.below(3) > 0 {
                self.turn();
                self.assert_sums(heard);
            }
        }
        // Every question that is open has its answer or its deadline.
        for _ in 0..500 {
            self.turn();
            self.serve(true);
            self.pass_time();
        }
        assert_eq!(self.asker.board.counts().ticks_waiting, 0);
        self.assert_sums(heard);
        let Asker { intake, mut shard, log, .. } = self.asker;
        drop(intake);
        while shard.turn(Waiting::Returns).unwrap() {}
        (said(&log), self.failed, heard)
    }

    /// Every tick is in one place.
    fn assert_sums(&self, heard: u64) {
        let dropped = self.asker.metric("tickcast_history_ticks_dropped_total") as u64;
        let waiting = self.asker.board.counts().ticks_waiting as u64;
        let tally = self.asker.shard.stream_tally();
        let in_queue = heard - tally.ticks - dropped - waiting;
        assert!(in_queue == 0 || self.asker.shard.intake.has_more(), "{in_queue} are nowhere");
        assert_eq!(tally.ticks, tally.used + tally.rejects.total() + tally.unwanted);
        assert_eq!(tally.rejects.total(), 0);
    }
}

fn is_full(forecast: &str) -> bool {
    forecast.contains(r#""quality":"full""#)
}

fn of_symbol(said: &Said, symbol: &str) -> Vec<String> {
    said.iter().filter(|((of, _), _)| of == symbol).map(|(_, said)| said.clone()).collect()
}

fn check(world: &World) {
    let mut dice = Random::new(world.seed, Purpose::Order);
    let ticks = world.ticks(&mut dice);
    let replay = world.without_history(&ticks, |_| true);
    let plain = world.without_history(&ticks, |tick| world.is_heard(tick));
    let (said, failed, _) = Life::new(world, &ticks, dice).play();
    let is_roomy = world.ticks_max >= 1000;
    for (index, luck) in world.luck.iter().enumerate() {
        let symbol = SYMBOLS[index];
        let live = of_symbol(&said, symbol);
        let answered = *luck == Luck::Answered && !failed.contains(&index) && is_roomy;
        if answered {
            for ((of, as_of), forecast) in said.iter().filter(|((of, _), _)| of == symbol) {
                assert_eq!(Some(forecast), replay.get(&(of.clone(), as_of.clone())));
            }
            if world.outages.is_empty() {
                let all = of_symbol(&replay, symbol);
                assert_eq!(live, all[all.len() - live.len()..], "none is missing");
                // An answer from before the first tick has what ticks close while it is awaited.
                let plainly = of_symbol(&plain, symbol).len();
                assert!(live.len() >= plainly || world.asks_at_start, "{plainly} without history");
            }
        } else if *luck == Luck::InVain && is_roomy {
            assert_eq!(live, of_symbol(&plain, symbol), "as without history");
        }
        // Whatever became of the questions, what calls itself whole is whole.
        for ((of, as_of), forecast) in said.iter().filter(|((of, _), _)| of == symbol) {
            if is_full(forecast) {
                assert_eq!(Some(forecast), replay.get(&(of.clone(), as_of.clone())));
            }
        }
    }
}

prop_compose! {
    fn outage(from: i64)(begin in from..from + 40, steps in 1i64..=20) -> Range<i64> {
        begin..begin + steps
    }
}

fn worlds() -> impl Strategy<Value = World> {
    let rule = prop_oneof![
        2 => Just(Rule::Record),
        3 => (prop_oneof![Just(0u32), Just(90_000)], any::<bool>())
            .prop_map(|(lateness_ms, carries)| Rule::Bars { lateness_ms, carries }),
    ];
    let luck =
        prop_oneof![4 => Just(Luck::Answered), 2 => Just(Luck::InVain), 2 => Just(Luck::Either)];
    let room = prop_oneof![3 => Just(1000usize), 1 => 1usize..12];
    let full = prop_oneof![Just(WhenHeld::GoOn), Just(WhenHeld::DropOldest)];
    let base = (
        rule,
        proptest::collection::vec(luck, 1..=4),
        10 * MINUTE_MS..30 * MINUTE_MS,
        any::<u64>(),
    );
    (base, any::<bool>(), any::<bool>(), room, full, 1usize..40).prop_flat_map(
        |(
            (rule, luck, switch_ms, seed),
            asks_at_start,
            has_shadow,
            ticks_max,
            when_full,
            turns,
        )| {
            let minute = switch_ms / MINUTE_MS + 1;
            proptest::collection::vec(outage(minute), 0..=3).prop_map(move |outages| World {
                rule,
                luck: luck.clone(),
                switch_ms,
                minutes: minute + 75,
                outages,
                asks_at_start,
                has_shadow,
                ticks_max,
                when_full,
                turns,
                seed,
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn answers_give_what_a_replay_gives_and_no_answer_what_no_history_gives(world in worlds()) {
        check(&world);
    }
}
