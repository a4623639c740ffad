//! Tests of the rounds, with a time that the test chooses: it begins each round itself.

use super::*;
use crate::engine::model::manifest::Mode;
use crate::engine::symbols::Pushed;
use crate::engine::test_support::{WINDOW_STEPS, bundle, tick, time};
use crate::shard::test_support::pipeline;

/// Ticks come every ten seconds, and there is no other limit.
const LIMITS: HealthLimits = HealthLimits {
    quiet_min: Duration::ZERO,
    stale_min: Duration::ZERO,
    stale_waits: 3,
    first_wait: Duration::from_secs(10),
};

struct Trial {
    pipelines: Pipelines,
    watch: HealthWatch,
    page: watch::Receiver<Arc<SymbolPage>>,
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Trial {
    fn new() -> Self {
        let metrics = HealthMetrics::register(&Registry::new()).unwrap();
        let feed = Box::new(|| FeedLink::Connected);
        let (watch, page) = HealthWatch::new(feed, LIMITS, metrics, Stopwatch::start());
        let mut settings = crate::shard::test_support::settings();
        settings.limits.symbols_max = 10_000;
        settings.policy.cadence = crate::engine::symbols::CadencePolicy::AsItComes;
        let runtime = crate::engine::test_support::NullRuntime;
        let bundle = bundle(&[Mode::Full]);
        let pipeline =
            crate::engine::pipeline::Pipeline::build(&bundle, &runtime, &settings).unwrap();
        Self { pipelines: Pipelines::new(pipeline, &settings), watch, page }
    }

    fn hear(&mut self, symbol: &str, seconds: u64) {
        let engine = self.pipelines.live_mut().engine_mut();
        engine.set_now(at(seconds));
        let pushed = engine.push(&tick(symbol, seconds as i64, 1.0), None);
        assert_eq!(pushed, Pushed::Taken);
        engine.infer(crate::engine::symbols::Haste::Throughput, &mut Vec::new()).unwrap();
    }

    fn begin(&mut self, seconds: u64, feed: FeedLink) {
        let round = self.watch.begin();
        self.watch.round = Some(Round { now: at(seconds), feed, ..round });
    }

    fn turn(&mut self) {
        self.watch.turn(&mut self.pipelines);
    }

    /// A round of one slice.
    fn judge(&mut self, seconds: u64, feed: FeedLink) {
        self.begin(seconds, feed);
        self.turn();
        assert!(self.watch.round.is_none(), "one slice is enough");
    }

    fn page(&self) -> Arc<SymbolPage> {
        Arc::clone(&self.page.borrow())
    }

    /// The symbols of the page, each with how it is.
    fn healths(&self) -> Vec<(String, Health)> {
        let page = self.page();
        page.rows.iter().map(|row| (row.symbol.as_str().to_owned(), row.health)).collect()
    }

    /// Those of silence: live, quiet, stale, dead and awaited.
    fn counts(&self) -> [i64; 5] {
        std::array::from_fn(|place| self.watch.metrics.symbols[place].get())
    }

    /// Those of silence.
    fn changes(&self) -> [u64; 5] {
        std::array::from_fn(|place| self.watch.metrics.changes[place].get())
    }
}

#[test]
fn a_round_judges_every_symbol_by_its_own_silence() {
    let mut trial = Trial::new();
    trial.hear("quiet", 80);
    trial.hear("stale", 50);
    trial.hear("live", 95);
    trial.judge(100, FeedLink::Connected);
    let health = |name: &str, health| (name.to_owned(), health);
    let expected = [
        health("quiet", Health::Quiet),
        health("stale", Health::Stale),
        health("live", Health::Live),
    ];
    assert_eq!(trial.healths(), expected);
    assert_eq!(trial.counts(), [1, 1, 1, 0, 0]);
    let row = trial.page().rows[0].clone();
    assert_eq!((row.newest_tick, row.steps, row.window), (Some(time(80)), 1, 0));
    // The feed is gone: nothing can come from any of them.
    trial.judge(101, FeedLink::Lost);
    assert!(trial.healths().iter().all(|(_, health)| *health == Health::Dead));
    assert_eq!(trial.counts(), [0, 0, 0, 3, 0]);
}

/// A source whose configuration names symbols, each with its state.
struct Named(Vec<(String, Subscription)>);

impl ExpectedSymbols for Named {
    fn symbols(&self) -> Vec<Symbol> {
        self.0.iter().map(|(name, _)| Symbol::new(name).unwrap()).collect()
    }

    fn subscription(&self, index: usize) -> Subscription {
        self.0[index].1
    }
}

impl Trial {
    fn expecting(self, symbols: impl IntoIterator<Item = (String, Subscription)>) -> Self {
        let named = Named(symbols.into_iter().collect());
        let symbols: Vec<_> = named.symbols().into_iter().enumerate().collect();
        Self { watch: self.watch.expecting(Arc::new(named), symbols), ..self }
    }
}

#[test]
fn configured_symbols_without_a_tick_are_awaited_for_a_reason() {
    use Subscription::{Acknowledged, Refused, Unacknowledged};

    let states = [("A", Acknowledged), ("B", Refused), ("C", Unacknowledged), ("D", Acknowledged)];
    let mut trial = Trial::new().expecting(states.map(|(name, state)| (name.to_owned(), state)));
    trial.hear("D", 100);
    trial.hear("other", 100);
    trial.judge(100, FeedLink::Connected);
    let rows = |trial: &Trial| {
        let page = trial.page();
        let row = |row: &SymbolRow| (row.symbol.as_str().to_owned(), row.health, row.subscription);
        page.rows.iter().map(row).collect::<Vec<_>>()
    };
    let row = |name: &str, health, state| (name.to_owned(), health, state);
    let mut expected = vec![
        row("D", Health::Live, None),
        row("other", Health::Live, None),
        row("A", Health::Awaited, Some(Acknowledged)),
        row("B", Health::Awaited, Some(Refused)),
        row("C", Health::Awaited, Some(Unacknowledged)),
    ];
    assert_eq!(rows(&trial), expected);
    assert_eq!(trial.counts(), [2, 0, 0, 0, 3]);
    // The first tick ends it. A symbol with ticks tells its reason while it is not live.
    trial.hear("B", 101);
    trial.judge(101, FeedLink::Connected);
    assert_eq!(trial.counts(), [3, 0, 0, 0, 2]);
    trial.judge(115, FeedLink::Connected);
    expected = vec![
        row("D", Health::Quiet, None),
        row("other", Health::Quiet, None),
        row("B", Health::Quiet, Some(Refused)),
        row("A", Health::Awaited, Some(Acknowledged)),
        row("C", Health::Awaited, Some(Unacknowledged)),
    ];
    assert_eq!(rows(&trial), expected);
    assert_eq!(trial.changes(), [0, 3, 0, 0, 0], "to be awaited is no change");
}

#[test]
fn a_symbol_that_is_known_from_history_alone_is_awaited_and_listed_once() {
    use crate::core::history::{Origin, Seam};

    let named = ["A", "B"].map(|name| (name.to_owned(), Subscription::Acknowledged));
    let mut trial = Trial::new().expecting(named);
    let seam = Seam { is_joined: false, covers: DurationNanos::from_seconds(60).unwrap() };
    for symbol in ["A", "other"] {
        trial.pipelines.live_mut().engine_mut().set_origin(Origin::History(seam));
        trial.hear(symbol, 1);
    }
    trial.pipelines.live_mut().engine_mut().set_origin(Origin::Live);
    for (seconds, feed) in [(2, FeedLink::Connected), (100, FeedLink::Lost)] {
        trial.judge(seconds, feed);
        assert_eq!(trial.counts(), [0, 0, 0, 0, 3], "at second {seconds}");
        let rows: Vec<_> =
            trial.page().rows.iter().map(|row| (row.steps, row.subscription)).collect();
        let configured = Some(Subscription::Acknowledged);
        assert_eq!(rows, [(1, configured), (1, None), (0, configured)]);
    }
    assert_eq!(trial.watch.logged[Health::Awaited as usize], 2, "those that are configured");
    // A live tick of what history has is a sign of life.
    let engine = trial.pipelines.live_mut().engine_mut();
    engine.set_now(at(105));
    assert_eq!(engine.push(&tick("A", 1, 1.0), None), Pushed::Repeated);
    trial.judge(106, FeedLink::Connected);
    assert_eq!(trial.counts(), [1, 0, 0, 0, 2]);
    trial.judge(120, FeedLink::Connected);
    assert_eq!(trial.counts(), [0, 1, 0, 0, 2]);
    assert_eq!(trial.changes(), [1, 1, 0, 0, 0], "to be awaited is no change");
}

#[test]
fn many_awaited_symbols_are_listed_in_slices_and_logged_once() {
    let count = 2 * SLICE;
    let names = (0..count).map(|index| (format!("S{index}"), Subscription::Acknowledged));
    let mut trial = Trial::new().expecting(names);
    trial.hear("A", 1);
    let mut turns = 0;
    trial.begin(100, FeedLink::Connected);
    while trial.watch.round.is_some() {
        trial.turn();
        turns += 1;
    }
    assert_eq!((turns, trial.page().rows.len()), (3, count + 1));
    assert_eq!(trial.watch.logged[Health::Awaited as usize], count as i64);
}

#[test]
fn a_look_at_the_counters_withdraws_readiness_and_gives_it_back() {
    use crate::core::domain::Reject;
    use crate::engine::pipeline::StreamTally;
    use crate::ops::readiness::Readiness;
    use crate::shard::metrics::ShardMetrics;

    let (registry, readiness) = (Registry::new(), Readiness::new());
    let counts = ShardMetrics::register(&registry, ["m"]).unwrap();
    let ahead = AheadSamples::default();
    let ready = readiness.condition("ticks");
    let mut watch =
        RefusalWatch::new(counts.clone(), ahead.clone(), true, ready, &registry).unwrap();
    assert_eq!(readiness.problems(), [""; 0], "it is met from the start");
    let (mut shown, mut tally) = (StreamTally::default(), StreamTally::default());
    ahead.note(DurationNanos::from_seconds(90).unwrap());
    for look in 1..=5 {
        tally.ticks += 1;
        tally.rejects.add(Reject::InFuture);
        counts.show(&mut shown, &tally);
        watch.look();
        assert_eq!(readiness.problems().len(), usize::from(look == 5), "look {look}");
    }
    assert_eq!(
        readiness.problems(),
        ["ticks: every record is refused (in_future): the host clock is about 90 s behind the \
          ticks; check time synchronization"]
    );
    tally.ticks += 1;
    tally.used += 1;
    counts.show(&mut shown, &tally);
    watch.look();
    assert_eq!(readiness.problems(), [""; 0]);
}

#[test]
fn a_stream_of_unwanted_symbols_withdraws_readiness_until_one_is_wanted() {
    use crate::engine::pipeline::StreamTally;
    use crate::ops::readiness::Readiness;
    use crate::shard::metrics::ShardMetrics;

    let (registry, readiness) = (Registry::new(), Readiness::new());
    let counts = ShardMetrics::register(&registry, ["m"]).unwrap();
    let ready = readiness.condition("ticks");
    let ahead = AheadSamples::default();
    let mut watch = RefusalWatch::new(counts.clone(), ahead, true, ready, &registry).unwrap();
    let (mut shown, mut tally) = (StreamTally::default(), StreamTally::default());
    for look in 1..=60 {
        tally.ticks += 1;
        tally.unwanted += 1;
        counts.show(&mut shown, &tally);
        watch.look();
        assert_eq!(readiness.problems().len(), usize::from(look == 60), "look {look}");
    }
    assert_eq!(
        readiness.problems(),
        ["ticks: every record is of a symbol that no live model wants: compare models.symbols \
          with the names of the feed; tickcast_ticks_unwanted_total has the count"]
    );
    tally.ticks += 1;
    tally.used += 1;
    counts.show(&mut shown, &tally);
    watch.look();
    assert_eq!(readiness.problems(), [""; 0]);
}

#[test]
fn changes_are_counted_by_what_a_symbol_became() {
    let mut trial = Trial::new();
    trial.hear("A", 0);
    trial.hear("B", 0);
    for (seconds, feed, changes) in [
        // A symbol begins live, which is no change.
        (5, FeedLink::Connected, [0, 0, 0, 0, 0]),
        (20, FeedLink::Connected, [0, 2, 0, 0, 0]),
        (21, FeedLink::Connected, [0, 2, 0, 0, 0]),
        (40, FeedLink::Connected, [0, 2, 2, 0, 0]),
        (41, FeedLink::Lost, [0, 2, 2, 2, 0]),
        (42, FeedLink::Connected, [0, 2, 4, 2, 0]),
    ] {
        trial.judge(seconds, feed);
        assert_eq!(trial.changes(), changes, "at second {seconds}");
    }
    trial.hear("A", 43);
    trial.judge(44, FeedLink::Connected);
    assert_eq!(trial.changes(), [1, 2, 4, 2, 0]);
    assert_eq!(trial.counts(), [1, 0, 1, 0, 0]);
}

#[test]
fn a_page_is_replaced_after_the_last_slice_only() {
    let mut trial = Trial::new();
    let count = 2 * SLICE + 1;
    for index in 0..count {
        trial.hear(&format!("S{index}"), 1);
    }
    trial.judge_all(2);
    let first = trial.page();
    assert_eq!((first.rows.len(), first.at), (count, at(2)));
    trial.begin(100, FeedLink::Connected);
    for judged in [SLICE, 2 * SLICE] {
        trial.turn();
        let round = trial.watch.round.as_ref().unwrap();
        assert_eq!((round.next, round.rows.len()), (judged, judged));
        assert!(Arc::ptr_eq(&first, &trial.page()), "the previous page stays until the end");
        assert_eq!(trial.counts(), [count as i64, 0, 0, 0, 0], "and so do the counts");
        assert_eq!(trial.watch.patience(), Duration::ZERO, "the next slice waits for nothing");
    }
    // One that comes meanwhile belongs to the same round.
    trial.hear("late", 100);
    trial.turn();
    assert!(trial.watch.round.is_none());
    let second = trial.page();
    assert_eq!((second.rows.len(), second.at), (count + 1, at(100)));
    let names: std::collections::BTreeSet<_> =
        second.rows.iter().map(|row| row.symbol.as_str().to_owned()).collect();
    assert_eq!(names.len(), count + 1, "each symbol once");
    assert_eq!(trial.counts(), [1, 0, count as i64, 0, 0]);
}

impl Trial {
    /// A round of as many slices as it takes.
    fn judge_all(&mut self, seconds: u64) {
        self.begin(seconds, FeedLink::Connected);
        while self.watch.round.is_some() {
            self.turn();
        }
    }
}

#[test]
fn the_next_round_is_not_due_before_its_time() {
    let mut trial = Trial::new();
    assert_eq!(trial.watch.patience(), Duration::ZERO, "the first is due at once");
    trial.turn();
    let begun = trial.watch.begun.unwrap();
    let page = trial.page();
    // As if the newest round had begun an hour from now.
    trial.watch.begun = Some(begun + at(3600));
    assert!(trial.watch.patience() > at(3590));
    trial.turn();
    assert!(Arc::ptr_eq(&page, &trial.page()), "there was no round");
    trial.watch.begun = None;
    trial.turn();
    assert!(!Arc::ptr_eq(&page, &trial.page()));
}

#[test]
fn a_log_line_is_written_for_a_change_and_not_too_often() {
    let mut trial = Trial::new();
    trial.hear("A", 0);
    trial.hear("B", 90);
    let mut logged = |seconds, feed| {
        trial.judge(seconds, feed);
        (trial.watch.logged_at, std::array::from_fn(|place| trial.watch.logged[place]))
    };
    assert_eq!(logged(9, FeedLink::Connected), (None, [0; 5]), "nothing is wrong");
    assert_eq!(logged(20, FeedLink::Connected), (None, [0; 5]), "quiet is no news");
    assert_eq!(logged(100, FeedLink::Connected), (Some(at(100)), [1, 0, 1, 0, 0]));
    assert_eq!(logged(109, FeedLink::Lost), (Some(at(100)), [1, 0, 1, 0, 0]), "too soon");
    assert_eq!(logged(110, FeedLink::Lost), (Some(at(110)), [0, 0, 0, 2, 0]));
    assert_eq!(logged(130, FeedLink::Lost), (Some(at(110)), [0, 0, 0, 2, 0]), "nothing is new");
    assert_eq!(logged(131, FeedLink::Connected).0, Some(at(131)), "they are heard again");
}

#[test]
fn a_round_names_a_symbol_that_fell_silent() {
    let mut trial = Trial::new();
    trial.hear("A", 0);
    trial.hear("B", 100);
    trial.begin(100, FeedLink::Connected);
    let mut round = trial.watch.round.take().unwrap();
    trial.watch.judge(&mut round, &mut trial.pipelines, 0..2);
    assert_eq!(round.sample.unwrap().as_str(), "A");
    // A symbol that stays stale is reported once.
    trial.begin(100, FeedLink::Connected);
    let mut round = trial.watch.round.take().unwrap();
    trial.watch.judge(&mut round, &mut trial.pipelines, 0..2);
    assert_eq!(round.sample, None);
}

#[test]
fn a_board_has_the_pages_of_all_shards_in_order() {
    let clock = Stopwatch::start();
    let mut trials = [Trial::new(), Trial::new()];
    for (trial, symbol) in trials.iter_mut().zip(["A", "B"]) {
        trial.hear(symbol, 0);
        trial.judge(0, FeedLink::Connected);
    }
    let pages = trials.iter().map(|trial| trial.page.clone()).collect();
    let board = SymbolBoard::new(pages, clock, 7);
    let (mut names, mut steps) = (Vec::new(), Vec::new());
    let before = clock.elapsed();
    let age = board.read(|row| {
        names.push(row.symbol.as_str().to_owned());
        steps.push(board.window_steps_of(row));
    });
    assert_eq!(names, ["A", "B"]);
    assert!(age >= before, "{age:?}, and the oldest page is of second 0");
    assert_eq!(steps, [WINDOW_STEPS; 2]);
    let unknown = SymbolRow::awaited(&Symbol::new("C").unwrap(), None);
    assert_eq!(board.window_steps_of(&unknown), 7);
}

#[test]
fn a_shard_shows_its_symbols_by_itself() {
    use crate::shard::test_support::{queue, record, shard_of};

    let (intake, receiver) = queue(100);
    for symbol in ["A", "B"] {
        intake.record_within(record(symbol, 0), Duration::ZERO).unwrap();
    }
    drop(intake);
    let Trial { watch, page, .. } = Trial::new();
    let shard = shard_of(pipeline(&bundle(&[Mode::Full])), receiver, Vec::new(), 100);
    shard.watched(watch).run().unwrap();
    let page = Arc::clone(&page.borrow());
    let names: Vec<_> = page.rows.iter().map(|row| row.symbol.as_str()).collect();
    assert_eq!(names, ["A", "B"]);
}

#[test]
fn symbols_of_a_feed_that_has_had_no_chance_yet_are_restored_and_not_dead() {
    let mut trial = Trial::new();
    trial.hear("A", 0);
    let link = Arc::new(std::sync::Mutex::new(FeedLink::Lost));
    let shared = Arc::clone(&link);
    trial.watch.feed = Box::new(move || *shared.lock().unwrap());
    let mut healths = |seconds: u64, feed: FeedLink| {
        *link.lock().unwrap() = feed;
        let feed = trial.watch.link(at(seconds));
        trial.judge(seconds, feed);
        trial.healths()[0].1
    };
    assert_eq!(healths(1, FeedLink::Lost), Health::Restored);
    assert_eq!(healths(59, FeedLink::Lost), Health::Restored);
    assert_eq!(healths(60, FeedLink::Lost), Health::Dead, "it had its chance");
    assert_eq!(healths(3, FeedLink::Connected), Health::Live);
    assert_eq!(healths(4, FeedLink::Lost), Health::Dead, "it was there and is gone");
    let restored = Health::Restored as usize;
    assert_eq!(trial.watch.metrics.symbols[restored].get(), 0);
    assert_eq!(trial.watch.metrics.changes[restored].get(), 1);
    assert_eq!(trial.watch.logged[restored], 0);
}

#[test]
fn a_symbol_of_several_models_is_listed_once_by_the_ticks_of_any_of_them() {
    use crate::core::domain::SymbolPatterns;
    use crate::engine::pipeline::{Role, StreamModel};

    let mut trial = Trial::new();
    let model = |name: &str, seat, patterns: &[&str]| {
        let symbols = SymbolPatterns::new(patterns.iter().copied()).unwrap();
        let pipeline = pipeline(&bundle(&[Mode::Full]));
        StreamModel { name: name.into(), symbols, seat, role: Role::Live, pipeline }
    };
    let models = vec![model("first", 0, &["A", "B"]), model("second", 1, &["B", "C"])];
    let settings = crate::shard::test_support::settings();
    trial.pipelines = Pipelines::of(models, &settings).unwrap();
    let mut hear = |model: usize, symbol: &str, seconds: u64| {
        let engine = trial.pipelines.at_mut(model).engine_mut();
        engine.set_now(at(seconds));
        assert_eq!(engine.push(&tick(symbol, seconds as i64, 1.0), None), Pushed::Taken);
        engine.infer(crate::engine::symbols::Haste::Throughput, &mut Vec::new()).unwrap();
    };
    hear(0, "A", 95);
    // The first model has heard nothing of B for long; the second one takes its ticks.
    hear(0, "B", 10);
    hear(1, "B", 96);
    hear(1, "C", 40);
    trial.judge(100, FeedLink::Connected);
    let health = |name: &str, health| (name.to_owned(), health);
    let expected =
        [health("A", Health::Live), health("B", Health::Live), health("C", Health::Stale)];
    assert_eq!(trial.healths(), expected);
    assert_eq!(trial.counts(), [2, 0, 1, 0, 0]);
    let steps: Vec<_> = trial.page().rows.iter().map(|row| row.steps).collect();
    assert_eq!(steps, [1, 1, 1], "of the first model that knows it");
}

/// A trial of a shadow that judges the spacing of steps, listed first, and a live model of some
/// symbols that takes any.
fn of_several() -> Trial {
    use crate::core::domain::SymbolPatterns;
    use crate::engine::pipeline::{Pipeline, StreamModel};
    use crate::engine::symbols::CadencePolicy;
    use crate::engine::test_support::NullRuntime;

    let bundle = bundle(&[Mode::Full]);
    let model = |name: &str, role, cadence, symbols: &[&str]| {
        let mut settings = crate::shard::test_support::settings();
        settings.policy.cadence = cadence;
        let pipeline = Pipeline::build(&bundle, &NullRuntime, &settings).unwrap();
        let symbols = SymbolPatterns::new(symbols.iter().copied()).unwrap();
        StreamModel { name: name.into(), symbols, seat: 0, role, pipeline }
    };
    let models = vec![
        model("judges", Role::Shadow, CadencePolicy::AsTrained, &["A", "B"]),
        model("any", Role::Live, CadencePolicy::AsItComes, &["A", "C"]),
    ];
    let settings = crate::shard::test_support::settings();
    Trial { pipelines: Pipelines::of(models, &settings).unwrap(), ..Trial::new() }
}

impl Trial {
    /// Both models take a tick of a symbol a day behind the one before.
    fn hear_in_both(&mut self, symbol: &str, day: u64) {
        for model in 0..2 {
            let engine = self.pipelines.at_mut(model).engine_mut();
            engine.set_now(at(100));
            assert_eq!(engine.push(&tick(symbol, day as i64 * 1440, 1.0), None), Pushed::Taken);
            engine.infer(crate::engine::symbols::Haste::Throughput, &mut Vec::new()).unwrap();
        }
    }
}

#[test]
fn a_symbol_is_judged_in_the_live_model_also_after_a_promotion() {
    let mut trial = of_several();
    (0..4).for_each(|day| trial.hear_in_both("A", day));
    let a = |health| vec![("A".to_owned(), health)];
    trial.judge(100, FeedLink::Connected);
    assert_eq!(trial.healths(), a(Health::Live), "the shadow alone thinks otherwise");
    assert_eq!(trial.changes(), [0; 5]);
    // Half a round before the promotion: nobody is listed twice.
    trial.begin(101, FeedLink::Connected);
    trial.pipelines.promote(0);
    trial.watch.begin_again();
    trial.judge(101, FeedLink::Connected);
    assert_eq!(trial.healths(), a(Health::Implausible));
    assert_eq!(trial.watch.metrics.changes[Health::Implausible as usize].get(), 1);
    trial.pipelines.promote(1);
    trial.judge(102, FeedLink::Connected);
    assert_eq!((trial.healths(), trial.changes()), (a(Health::Live), [1, 0, 0, 0, 0]));
    // The judgement goes along with the seat: what stays as it is is no change.
    trial.judge(200, FeedLink::Lost);
    let dead = trial.changes()[Health::Dead as usize];
    trial.pipelines.promote(0);
    trial.judge(201, FeedLink::Lost);
    assert_eq!((trial.healths(), trial.changes()[3]), (a(Health::Dead), dead));
}

#[test]
fn a_configured_symbol_that_no_model_wants_is_not_awaited() {
    let named = ["A", "B", "C", "D"].map(|name| (name.to_owned(), Subscription::Acknowledged));
    let mut trial = of_several().expecting(named);
    trial.judge(100, FeedLink::Connected);
    let awaited = ["A", "B", "C"].map(|name| (name.to_owned(), Health::Awaited));
    assert_eq!(trial.healths(), awaited);
    assert_eq!(trial.counts(), [0, 0, 0, 0, 3]);
}
