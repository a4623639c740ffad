//! What is promised of scores, by looking back over whole series and by simulation.

mod coverage;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::drift::Drift;
use super::stretch::{Stretch, StretchRule};
use super::*;
use crate::core::baseline::{AverageSpec, LinearModel, SeasonalSpec};
use crate::core::domain::{
    DurationNanos, Field, Fields, Forecast, InputShift, Quantiles, Schema, Signal, Step, Symbol,
};
use crate::core::features::{ColumnRange, Scaler};
use crate::core::forecast::{Interval, SignalThresholds, Target, WindowFacts};
use crate::core::verdict::{Ledger, Pool, Word};
use crate::core::window::{RowFacts, Window};

const DAY: i64 = 86_400_000_000_000;
const THRESHOLDS: SignalThresholds = SignalThresholds { buy_above: 0.5, sell_below: 0.25 };

fn schema() -> Schema {
    Schema::new(["rain"]).unwrap()
}

fn forecast_plan(target: &Target, margin: f64) -> ForecastPlan {
    let feature = target.label().to_owned();
    let columns = vec![ColumnRange { feature, min: 0.0, max: 1.0 }];
    ForecastPlan::new(
        target.clone(),
        &Scaler::None { columns },
        DurationNanos::from_seconds(86_400).unwrap(),
        THRESHOLDS,
        Interval { coverage: 0.9, lower: -margin, upper: margin },
    )
    .unwrap()
}

fn plan(target: &Target, horizon_steps: u32) -> ScorePlan {
    ScorePlan::new(target.truth(&schema()).unwrap(), horizon_steps, &forecast_plan(target, 0.25))
}

/// Every baseline, with this one to beat.
fn all_baselines(against: BaselineKind) -> BaselineSpec {
    BaselineSpec {
        against,
        drift: Some(0.25),
        average: Some(AverageSpec { half_life_steps: 4 }),
        seasonal: Some(SeasonalSpec { period_steps: 3 }),
        linear: Some(LinearModel { rows: 1, intercept: 0.5, weights: vec![2.0] }),
    }
}

/// A window of one row, which the linear model reads.
fn window() -> Window {
    let mut window = Window::new(1, 1);
    window.push(&[0.125], RowFacts::default());
    window
}

fn symbol_id(index: usize) -> SymbolId {
    SymbolId::from_index(index).unwrap()
}

/// One step of a symbol: a price and a field that may be absent, whether it stands behind a gap,
/// and what is forecast at it.
#[derive(Clone, Debug)]
struct Moment {
    close: f64,
    rain: Option<f64>,
    after_gap: bool,
    patched: bool,
    value: Option<f32>,
}

impl Moment {
    fn step(&self, at: usize) -> Step {
        let mut fields = Fields::EMPTY;
        fields.set_checked(Field::CLOSE, self.close).unwrap();
        if let Some(rain) = self.rain {
            fields.set_checked(schema().field("rain").unwrap(), rain).unwrap();
        }
        Step {
            time: UnixNanos::from_nanos(at as i64 * DAY),
            fields,
            after_gap: self.after_gap,
            patched: self.patched,
        }
    }
}

fn moments(count: usize) -> impl Strategy<Value = Vec<Moment>> {
    let rain = prop_oneof![8 => (0.0..1.0).prop_map(Some), 1 => Just(None)];
    let value = prop_oneof![4 => (0.0f32..1.0).prop_map(Some), 1 => Just(None)];
    let moment = (prop_oneof![50.0..150.0, Just(100.0)], rain, 0..12, value).prop_map(
        |(close, rain, gap, value)| Moment {
            close,
            rain,
            after_gap: gap == 0,
            patched: gap == 1,
            value,
        },
    );
    proptest::collection::vec(moment, count)
}

/// Steps and forecasts through a book; returns the scores.
fn live(book: &mut ScoreBook, plan: &ForecastPlan, moments: &[Moment]) -> (Vec<Score>, u64) {
    let (mut scores, mut forecasts) = (Vec::new(), 0);
    for (at, moment) in moments.iter().enumerate() {
        let step = moment.step(at);
        book.step(symbol_id(0), &step);
        scores.extend(book.take());
        let facts = WindowFacts {
            symbol: symbol_id(0),
            as_of: step.time,
            last_price: step.fields.price(),
            quality: Quality::Full,
            out_of_range: false,
            margins: book.margins(symbol_id(0)),
        };
        let forecast = moment.value.and_then(|value| plan.finish(value, &facts));
        if let Some(forecast) = forecast {
            forecasts += 1;
            let signal = book.decide(symbol_id(0), forecast.value);
            book.wait(&Forecast { signal, ..forecast }, &window());
        }
    }
    (scores, forecasts)
}

/// The same by looking back over all steps, as a person would.
fn by_looking_back(
    target: &Target,
    horizon: usize,
    moments: &[Moment],
) -> BTreeMap<i64, (f64, f64, f64)> {
    let truth = target.truth(&schema()).unwrap();
    let mut expected = BTreeMap::new();
    for (at, moment) in moments.iter().enumerate() {
        let (Some(value), Some(later)) = (moment.value, moments.get(at + horizon)) else {
            continue;
        };
        let whole = |from: usize, to: usize| !moments[from + 1..=to].iter().any(|m| m.after_gap);
        if !whole(at, at + horizon) || later.patched {
            continue;
        }
        let now = moment.step(at).fields;
        let before = at.checked_sub(horizon).filter(|before| whole(*before, at));
        let before = before.map_or(Fields::EMPTY, |before| moments[before].step(before).fields);
        let came = truth.between(&now, &later.step(at + horizon).fields);
        let persistence = truth.persistence(&before, &now);
        if let (Some(came), Some(persistence)) = (came, persistence) {
            expected.insert(at as i64 * DAY, (f64::from(value), came, persistence));
        }
    }
    expected
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_forecast_is_scored_once_or_counted(
        target in 0usize..6,
        horizon in 1u32..5,
        moments in moments(60),
    ) {
        let target = &Target::all("rain", 0.5)[target];
        let mut book = ScoreBook::new(plan(target, horizon));
        book.keep();
        book.add_symbol(&Symbol::new("A").unwrap());
        let (scores, forecasts) = live(&mut book, &forecast_plan(target, 0.25), &moments);
        let expected = by_looking_back(target, horizon as usize, &moments);
        let (mut sums, mut found) = (Sums::default(), BTreeMap::new());
        let (kind, mut signals) = (TargetKind::of(target), SignalCounts::default());
        for score in &scores {
            let later = score.as_of.as_nanos() + i64::from(horizon) * DAY;
            prop_assert_eq!(score.truth_time.as_nanos(), later);
            sums = sums.scaled(0.99) + Sums::of(score);
            prop_assert_eq!((score.skill, score.held), (sums.skill(), sums.coverage()));
            // Without hysteresis the signal of a forecast is what the thresholds say.
            prop_assert_eq!(score.signal, THRESHOLDS.signal(score.value));
            signals.note(THRESHOLDS, score.signal, score.truth, score.origin(kind));
            prop_assert_eq!(score.signals, signals);
            found.insert(score.as_of.as_nanos(), (score.value, score.truth, score.baseline));
        }
        prop_assert_eq!(found.len(), scores.len());
        prop_assert_eq!(found, expected);
        let tally = *book.tally();
        let unscored: u64 = Unscored::ALL.iter().map(|reason| tally.unscored(*reason)).sum();
        prop_assert_eq!(tally.scores, scores.len() as u64);
        prop_assert_eq!(forecasts, tally.scores + unscored + tally.waiting);
        book.swap_remove(symbol_id(0));
        prop_assert_eq!(book.tally().waiting, 0);
        prop_assert_eq!(book.tally().unscored(Unscored::Left), tally.waiting);
    }

    /// Rest and back in the middle changes nothing; groups hold the sums of their symbols.
    #[test]
    fn rest_and_company_change_no_score(
        target in 0usize..6,
        horizon in 1u32..5,
        cut in 0usize..60,
        moments in moments(60),
    ) {
        let target = &Target::all("rain", 0.5)[target];
        let forecast_plan = forecast_plan(target, 0.25);
        let names = ["A", "B", "C"].map(|name| Symbol::new(name).unwrap());
        let rule = SignalRule { release: 0.5, cooldown_steps: 2 };
        let plan = plan(target, horizon).with_baselines(&all_baselines(BaselineKind::Average));
        let plan = plan.with_signals(rule);
        let book = |listed: &[Symbol]| {
            let mut book = ScoreBook::new(plan.clone());
            book.list(listed, 64);
            book.keep();
            book
        };
        let mut whole = book(&[]);
        whole.add_symbol(&names[0]);
        let (expected, _) = live(&mut whole, &forecast_plan, &moments);
        let (first, second) = moments.split_at(cut);
        let mut before = book(&[]);
        before.add_symbol(&names[0]);
        let (mut found, _) = live(&mut before, &forecast_plan, first);
        let mut after = book(&names[..1]);
        let signals = Some(before.signals(symbol_id(0)));
        let (scores, ledger) = (before.symbol(symbol_id(0)), before.ledger(symbol_id(0)));
        prop_assert!(after.fits(scores, ledger, None, signals));
        after.restore_symbol(&names[0], scores, ledger, None, signals);
        after.add_symbol(&names[1]);
        after.add_symbol(&names[2]);
        // Times go on where the first part ended.
        let mut late = Vec::new();
        for (at, moment) in second.iter().enumerate() {
            let step = moment.step(cut + at);
            after.step(symbol_id(0), &step);
            late.extend(after.take());
            let facts = WindowFacts {
                symbol: symbol_id(0),
                as_of: step.time,
                last_price: None,
                quality: Quality::Full,
                out_of_range: false,
                margins: after.margins(symbol_id(0)),
            };
            let forecast = moment.value.and_then(|value| forecast_plan.finish(value, &facts));
            if let Some(forecast) = forecast {
                let signal = after.decide(symbol_id(0), forecast.value);
                after.wait(&Forecast { signal, ..forecast }, &window());
            }
        }
        found.extend(late);
        prop_assert_eq!(found, expected);
        prop_assert_eq!(after.symbol(symbol_id(0)), whole.symbol(symbol_id(0)));
        prop_assert_eq!(after.ledger(symbol_id(0)), whole.ledger(symbol_id(0)));
        prop_assert_eq!(after.signals(symbol_id(0)), whole.signals(symbol_id(0)));
        let mut judged = SignalCounts::default();
        let mut groups = Vec::new();
        after.show_changed(|group, of_group| {
            groups.push((group, of_group.sums));
            judged += of_group.signals;
        });
        prop_assert_eq!(judged, *whole.signals(symbol_id(0)).counts());
        for (group, sums) in groups {
            let alone = after.symbol(symbol_id(0)).sums();
            let expected = if group == 0 { alone } else { Sums::default() };
            for (ours, theirs) in sums.to_array().into_iter().zip(expected.to_array()) {
                prop_assert!((ours - theirs).abs() <= 1e-9 * theirs.max(1.0), "{ours} {theirs}");
            }
        }
    }
}

/// The verdict of a score is what a ledger says that took the differences of the scores so far, and
/// what leaves takes its evidence with it.
#[test]
fn verdicts_follow_from_the_scores_alone() {
    let target = Target::NextValue { field: "rain".into() };
    let mut draws = Draws::new(11);
    let moments: Vec<_> = (0..900)
        .map(|_| Moment {
            close: 1.0,
            rain: Some(0.5 + 0.1 * draws.normal()),
            after_gap: false,
            patched: false,
            value: Some(0.5),
        })
        .collect();
    for horizon in [1, 4] {
        let names = ["A", "B"].map(|name| Symbol::new(name).unwrap());
        let mut book = ScoreBook::new(plan(&target, horizon));
        book.list(&names[..1], 64);
        book.keep();
        names.iter().for_each(|name| book.add_symbol(name));
        let (scores, _) = live(&mut book, &forecast_plan(&target, 0.25), &moments);
        let rule = LedgerRule::new(horizon, LEVEL);
        let mut ledger = Ledger::new();
        for score in &scores {
            let (model, baseline) = (score.value - score.truth, score.baseline - score.truth);
            ledger.take(&rule, baseline * baseline - model * model, score.truth_time);
            assert_eq!(score.verdict, ledger.verdict(&rule));
        }
        let last = scores.last().unwrap();
        assert_eq!((last.verdict.word, last.verdict.scores), (Word::Better, scores.len() as u64));
        // The rain of yesterday is off twice as far as its mean is.
        assert!((last.verdict.mean_difference - 0.01).abs() < 0.002, "{last:?}");
        assert!(scores[399].verdict.since.is_some_and(|since| since <= scores[399].truth_time));
        let mut pools = Vec::new();
        book.show_changed(|group, sums| pools.push((group, sums.pool.word(LEVEL))));
        assert_eq!(pools, [(0, Word::Better), (1, Word::TooEarly)]);
        book.swap_remove(symbol_id(0));
        let mut pools = Vec::new();
        book.show_changed(|group, sums| pools.push((group, sums.pool)));
        assert_eq!(pools, [(0, Pool::default())]);
        assert_eq!(book.ledger(symbol_id(0)), &Ledger::new(), "B has taken the place of A");
    }
}

/// A shadow beside a live model: the same days, and forecasts that are nearer.
#[test]
fn a_shadow_is_compared_over_the_scores_that_both_have() {
    let target = Target::NextValue { field: "rain".into() };
    let mut draws = Draws::new(7);
    let rain: Vec<_> = (0..900).map(|_| 0.5 + 0.1 * draws.normal()).collect();
    let moments = |value: f32, without: usize| -> Vec<_> {
        let moment = |(at, rain): (usize, &f64)| Moment {
            close: 1.0,
            rain: Some(*rain),
            after_gap: false,
            patched: false,
            value: (at % 10 != without).then_some(value),
        };
        rain.iter().enumerate().map(moment).collect()
    };
    let forecast_plan = forecast_plan(&target, 0.25);
    let names = ["A", "B"].map(|name| Symbol::new(name).unwrap());
    let book = |rival| {
        let mut book = ScoreBook::new(plan(&target, 1));
        book.list(&names[..1], 64);
        book.keep();
        assert!(!book.face(rival), "there is nothing to drop");
        names.iter().for_each(|name| book.add_symbol(name));
        book
    };
    let (id, other) = ([7; 16], [8; 16]);
    let (mut live, mut shadow) = (book(None), book(Some(id)));
    live.keep_for_shadows(true);
    let (of_live, of_shadow) = (moments(0.75, 3), moments(0.5, 6));
    let (rule, mut ledger, mut scores) = (LedgerRule::new(1, LEVEL), Ledger::new(), Vec::new());
    for at in 0..rain.len() {
        let step = |book: &mut ScoreBook, moments: &[Moment]| {
            let moment = &moments[at];
            let step = moment.step(at);
            book.step(symbol_id(0), &step);
            let facts = WindowFacts {
                symbol: symbol_id(0),
                as_of: step.time,
                last_price: None,
                quality: Quality::Full,
                out_of_range: false,
                margins: book.margins(symbol_id(0)),
            };
            let forecast = moment.value.and_then(|value| forecast_plan.finish(value, &facts));
            if let Some(forecast) = forecast {
                book.wait(&forecast, &window());
            }
        };
        step(&mut live, &of_live);
        let made: Vec<_> = live.take_for_shadows().collect();
        made.iter().for_each(|score| shadow.meet(*score));
        step(&mut shadow, &of_shadow);
        shadow.part();
        let (theirs, ours): (Vec<_>, Vec<_>) = (live.take().collect(), shadow.take().collect());
        assert_eq!(made.len(), theirs.len());
        if let (Some(theirs), Some(ours)) = (theirs.first(), ours.first()) {
            let difference = theirs.error() * theirs.error() - ours.error() * ours.error();
            ledger.take(&rule, difference, ours.truth_time);
        }
        assert!(theirs.iter().all(|score| score.rival.is_none()));
        for score in &ours {
            assert_eq!(score.rival, Some(ledger.verdict(&rule)));
        }
        scores.extend(ours);
    }
    let last = scores.last().and_then(|score| score.rival).unwrap();
    assert_eq!((last.word, scores.len()), (Word::Better, 899 - 90));
    assert_eq!(last.scores, 899 - 180, "each has a tenth that the other one lacks");
    assert!((last.mean_difference - 0.0625).abs() < 0.01, "{last:?}");
    let words = |book: &mut ScoreBook| {
        let mut words = Vec::new();
        book.show_changed(|group, sums| words.push((group, sums.rivals.word(LEVEL))));
        words
    };
    assert_eq!(words(&mut shadow), [(0, Word::Better), (1, Word::TooEarly)]);
    assert_eq!(shadow.rival_pool().symbols(Word::Better), 1);
    // Rest and back, and about another rival.
    let stored = shadow.rival(symbol_id(0)).unwrap();
    assert_eq!((shadow.rival(symbol_id(1)), live.rival(symbol_id(0))), (None, None));
    for (rival, known) in [(Some(id), Some(stored)), (Some(other), None), (None, None)] {
        let mut after = ScoreBook::new(plan(&target, 1));
        after.face(rival);
        let (scores, ledger) = (shadow.symbol(symbol_id(0)), shadow.ledger(symbol_id(0)));
        assert!(after.fits(scores, ledger, Some(&stored), None));
        after.restore_symbol(&names[0], scores, ledger, Some(&stored), None);
        assert_eq!(after.rival(symbol_id(0)), known);
        let word = if known.is_some() { Word::Better } else { Word::TooEarly };
        assert_eq!(after.rival_pool().word(LEVEL), word);
    }
    // Who leaves takes the evidence along, and another rival begins without any.
    let mut left = book(Some(id));
    left.swap_remove(symbol_id(0));
    assert_eq!(left.rival_pool().symbols(Word::TooEarly), 1);
    assert!(!shadow.face(Some(id)) && !shadow.has_other_rival());
    assert!(shadow.face(Some(other)) && shadow.has_other_rival());
    assert_eq!(words(&mut shadow), [(0, Word::TooEarly), (1, Word::TooEarly)]);
    assert_eq!(shadow.rival(symbol_id(0)), None);
    shadow.swap_remove(symbol_id(0));
    assert_eq!(shadow.rival_pool().symbols(Word::TooEarly), 1);
}

/// Days with a price that moves, and a forecast on each.
fn moving_days(count: usize) -> Vec<Moment> {
    let day = |at: usize| Moment {
        close: 100.0 + ((at * 37) % 11) as f64,
        rain: None,
        after_gap: false,
        patched: false,
        value: Some(0.01 * (at % 3) as f32),
    };
    (0..count).map(day).collect()
}

#[test]
fn a_score_is_beside_every_baseline_and_its_skill_against_the_one_that_is_named() {
    let target = Target::NextReturn;
    let days = moving_days(60);
    let change = |at: usize| days[at + 1].close / days[at].close - 1.0;
    for against in BaselineKind::ALL {
        let spec = all_baselines(against);
        let mut book = ScoreBook::new(plan(&target, 1).with_baselines(&spec));
        book.keep();
        book.add_symbol(&Symbol::new("A").unwrap());
        let (scores, _) = live(&mut book, &forecast_plan(&target, 0.25), &days);
        let mut sums = Sums::default();
        for score in &scores {
            let at = usize::try_from(score.as_of.as_nanos() / DAY).unwrap();
            assert_eq!((score.against, score.evidence), (against, Evidence::Unknown));
            let [persistence, drift, average, seasonal, linear] =
                score.baselines.map(Option::unwrap);
            assert_eq!((persistence, drift, linear), (0.0, 0.25, 0.5 + 2.0 * 0.125));
            assert_eq!(seasonal, if at < 3 { 0.0 } else { change(at - 3) });
            let known = || (0..at).map(change);
            assert!(at == 0 || average >= known().fold(f64::INFINITY, f64::min));
            assert!(at == 0 || average <= known().fold(f64::NEG_INFINITY, f64::max));
            assert_eq!(Some(score.baseline), score.baselines[against as usize]);
            sums = sums.scaled(0.99) + Sums::of(score);
            assert_eq!(score.skill, sums.skill());
            assert_eq!(score.skill, sums.skill_against(against));
        }
        assert_eq!(scores.len(), 59);
        for kind in BaselineKind::ALL {
            let squared: f64 = scores.iter().enumerate().fold(0.0, |sum, (_, score)| {
                0.99 * sum + (score.baselines[kind as usize].unwrap() - score.truth).powi(2)
            });
            let found = sums.baselines_squared[kind as usize];
            assert!((found - squared).abs() < 1e-12, "{}: {found} {squared}", kind.label());
        }
    }
}

/// 20 days of training and 20 of validation: they are scored, and intervals adapt to them, but no
/// figure counts them.
#[test]
fn figures_count_what_the_model_has_not_seen() {
    let target = Target::NextReturn;
    let days = moving_days(60);
    let day = |at: i64| UnixNanos::from_nanos(at * DAY);
    let run = |evidence| {
        let mut book = ScoreBook::new(plan(&target, 1).with_evidence(evidence));
        book.list(&[], 64);
        book.keep();
        book.add_symbol(&Symbol::new("A").unwrap());
        let (scores, _) = live(&mut book, &forecast_plan(&target, 0.001), &days);
        (scores, book)
    };
    let (scores, mut book) = run(EvidenceRanges::new(day(19), Some(day(39))));
    let (unknown, _) = run(EvidenceRanges::UNKNOWN);
    let (mut sums, mut counted) = (Sums::default(), 0);
    for (score, other) in scores.iter().zip(&unknown) {
        let expected = match score.as_of.as_nanos() / DAY {
            0..20 => Evidence::Training,
            20..40 => Evidence::Validation,
            _ => Evidence::Unseen,
        };
        assert_eq!(score.evidence, expected);
        if expected == Evidence::Unseen {
            counted += 1;
            sums = sums.scaled(0.99) + Sums::of(score);
            assert_eq!(score.skill, sums.skill());
        } else {
            assert_eq!(score.skill, None, "nothing is known yet");
        }
        assert_eq!(score.verdict.scores, counted, "the verdict counts these alone");
        assert_eq!((score.lower, score.drift), (other.lower, other.drift), "adapts to all");
        assert_eq!(other.evidence, Evidence::Unknown);
    }
    let tally = *book.tally();
    assert_eq!(Evidence::ALL.map(|evidence| tally.scores_of(evidence)), [20, 20, 19, 0]);
    assert_eq!(tally.scores, 59);
    assert_eq!(book.recent().weight, 19.0);
    let mut shown = Sums::default();
    book.show_changed(|_, group| shown += group.sums);
    for (found, expected) in shown.to_array().into_iter().zip(sums.to_array()) {
        assert!((found - expected).abs() < 1e-9, "{shown:?} {sums:?}");
    }
    let counted = unknown.iter().filter(|score| score.skill.is_some()).count();
    assert!(counted > 55, "what is not known counts: {counted}");
}

#[test]
fn a_horizon_that_is_too_long_is_counted_and_costs_nothing() {
    let mut book = ScoreBook::new(plan(&Target::NextReturn, HORIZON_STEPS_MAX + 1));
    book.add_symbol(&Symbol::new("A").unwrap());
    let moment =
        Moment { close: 1.0, rain: None, after_gap: false, patched: false, value: Some(0.0) };
    live(&mut book, &forecast_plan(&Target::NextReturn, 0.1), &vec![moment; 7]);
    assert_eq!(book.tally().unscored(Unscored::Horizon), 7);
    assert_eq!(book.tally().waiting, 0);
    assert_eq!(book.take().count(), 0, "nobody asked for scores");
}

#[test]
fn numbers_that_leave_the_finite_ones_are_counted_and_harm_nothing() {
    let target = Target::NextValue { field: "rain".into() };
    let mut book = ScoreBook::new(plan(&target, 1));
    book.add_symbol(&Symbol::new("A").unwrap());
    let id = symbol_id(0);
    let moment =
        Moment { close: 1.0, rain: Some(0.5), after_gap: false, patched: false, value: None };
    book.step(id, &moment.step(0));
    let forecast = Forecast {
        symbol: id,
        as_of: UnixNanos::from_nanos(0),
        target_time: UnixNanos::from_nanos(DAY),
        value: 1e200,
        price: None,
        last_price: None,
        lower: 0.0,
        upper: f64::MAX,
        signal: Signal::Hold,
        quality: Quality::Full,
        out_of_range: false,
        evidence: Evidence::Unknown,
        drift: false,
        shift: InputShift::Unknown,
        shed_steps: 0,
        output: 0,
        quantiles: Quantiles::NONE,
    };
    book.wait(&forecast, &window());
    book.step(id, &moment.step(1));
    assert_eq!((book.tally().scores, book.tally().unscored(Unscored::NotFinite)), (0, 1));
    book.wait(&Forecast { value: 0.25, ..forecast }, &window());
    book.step(id, &moment.step(2));
    assert_eq!(book.tally().scores, 1);
    assert_eq!(book.symbol(id).sums().mean_absolute_error(), Some(0.25));
}

#[test]
fn an_outlier_leaves_nothing_behind_in_the_sums_of_a_group() {
    let target = Target::NextValue { field: "rain".into() };
    let mut book = ScoreBook::new(plan(&target, 1));
    book.add_symbol(&Symbol::new("A").unwrap());
    let plan = forecast_plan(&target, 0.25);
    let rain = |rain: f64| Moment {
        close: 1.0,
        rain: Some(rain),
        after_gap: false,
        patched: false,
        value: Some(0.25),
    };
    let mut moments = vec![rain(1e15), rain(0.5)];
    moments.extend(vec![rain(0.5); 9000]);
    live(&mut book, &plan, &moments);
    let mut sums = Sums::default();
    book.show_changed(|_, group| sums = group.sums);
    assert!((sums.mean_absolute_error().unwrap() - 0.25).abs() < 1e-9, "{sums:?}");
}

#[test]
fn the_last_scores_are_as_many_as_they_say() {
    let score = Score {
        symbol: symbol_id(0),
        as_of: UnixNanos::from_nanos(0),
        target_time: UnixNanos::from_nanos(0),
        truth_time: UnixNanos::from_nanos(0),
        value: 0.0,
        truth: 1.0,
        baseline: 0.0,
        against: BaselineKind::Persistence,
        baselines: [Some(0.0), None, None, None, None],
        lower: 0.0,
        upper: 1.0,
        direction_hit: None,
        quality: Quality::Full,
        out_of_range: false,
        evidence: Evidence::Unseen,
        skill: None,
        held: None,
        drift: false,
        shifted: None,
        verdict: Verdict::default(),
        rival: None,
        signal: Signal::Hold,
        signals: SignalCounts::default(),
        output: 0,
        quantiles: Quantiles::NONE,
        quantile_sums: QuantileSums::default(),
    };
    let mut recent = recent::Recent::new(64);
    for count in 1..1000 {
        recent.add(&score);
        let weight = recent.sums().weight as usize;
        if count <= 64 {
            assert_eq!(weight, count);
        } else {
            assert!((64..=68).contains(&weight), "{weight} of {count}");
        }
    }
}

/// Numbers that are as good as random and the same in every run.
struct Draws(u64);

impl Draws {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The middle of one of 2^53 equal stretches, so that a logarithm of it is finite.
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    fn laplace(&mut self) -> f64 {
        let sign = if self.unit() < 0.5 { -1.0 } else { 1.0 };
        -sign * self.unit().ln()
    }

    /// Student's t with 3 degrees of freedom: its variance exists, its kurtosis does not.
    fn heavy(&mut self) -> f64 {
        let squares: f64 = (0..3).map(|_| self.normal().powi(2)).sum();
        self.normal() / (squares / 3.0).sqrt()
    }
}

/// The share of errors inside an interval that adapts, over all and over the scores from `from` on;
/// an outcome is heard of `horizon` steps late.
fn coverage(horizon: u32, from: usize, errors: impl Iterator<Item = f64>) -> (f64, f64) {
    let rule = StretchRule::new(0.9, horizon);
    let (mut stretch, mut waiting) = (Stretch::default(), std::collections::VecDeque::new());
    let (mut held, mut late, mut count) = (0, 0, 0);
    for error in errors {
        waiting.push_back(error.abs() <= stretch.factor());
        if waiting.len() < horizon as usize {
            continue;
        }
        let covered = waiting.pop_front().unwrap();
        stretch.hear(covered, count as u32, &rule);
        held += usize::from(covered);
        late += usize::from(covered && count >= from);
        count += 1;
    }
    (held as f64 / count as f64, late as f64 / (count - from) as f64)
}

/// Coverage of 0.9 is asked for, and the interval begins as 1. Each case with seeds 1 to 20; what
/// is stated is the bound for every single one.
#[test]
fn intervals_come_to_hold_what_they_promise() {
    type Draw = fn(&mut Draws, usize) -> f64;
    let cases: [(&str, u32, Draw, f64, f64); 8] = [
        // Errors as the bundle knows them.
        ("as they were", 1, |draws, _| 0.608 * draws.normal(), 0.004, 0.007),
        // Of another size from the beginning.
        ("half", 1, |draws, _| 0.3 * draws.normal(), 0.005, 0.007),
        ("fiftyfold", 1, |draws, _| 30.0 * draws.normal(), 0.01, 0.007),
        // Three times as large from the middle on.
        (
            "a shift",
            1,
            |draws, at| if at < 1000 { 0.6 } else { 1.8 } * draws.normal(),
            0.014,
            0.028,
        ),
        ("heavy tails", 1, |draws, _| 0.5 * draws.heavy(), 0.005, 0.01),
        ("off the middle", 1, |draws, _| 1.0 + 0.5 * draws.normal(), 0.004, 0.006),
        // Calm and storm in turns of 100.
        ("turns", 1, |draws, at| [0.5, 1.0][at / 100 % 2] * draws.normal(), 0.006, 0.008),
        ("heard of late", 20, |draws, _| 1.2 * draws.normal(), 0.012, 0.008),
    ];
    for (name, horizon, draw, whole_within, late_within) in cases {
        let (mut whole_apart, mut late_apart) = (0.0_f64, 0.0_f64);
        for seed in 1..=20 {
            let mut draws = Draws::new(seed);
            let errors = (0..2000).map(|at| draw(&mut draws, at));
            let (whole, late) = coverage(horizon, 1000, errors);
            whole_apart = whole_apart.max((whole - 0.9).abs());
            late_apart = late_apart.max((late - 0.9).abs());
        }
        println!("{name}: at most {whole_apart:.4} apart, {late_apart:.4} in the second half");
        assert!(whole_apart < whole_within, "{name}: {whole_apart} of all");
        assert!(late_apart < late_within, "{name}: {late_apart} of the last");
    }
}

/// The bound of the module's opening words, on outcomes that somebody chose to be as bad as can be.
#[test]
fn no_series_of_errors_beats_the_bound() {
    let rule = StretchRule::new(0.9, 1);
    for seed in 1..=20 {
        let mut draws = Draws::new(seed);
        let mut stretch = Stretch::default();
        let (mut missed, mut low, mut high) = (0.0, 0.0_f64, 0.0_f64);
        for count in 0..3000 {
            // Errors within 0.1 to 10, large where the interval is small and the other way round.
            let adverse = if stretch.factor() < 1.0 { 10.0 } else { 0.1 };
            let error = if draws.unit() < 0.7 { adverse } else { 10.1 - adverse };
            let covered = error <= stretch.factor();
            stretch.hear(covered, count, &rule);
            missed += if covered { 0.0 } else { 1.0 };
            let at = stretch.factor().ln();
            (low, high) = (low.min(at), high.max(at));
        }
        let apart: f64 = missed / 3000.0 - 0.1;
        let bound = (high - low) / (3000.0 * 0.05);
        assert!(apart.abs() <= bound, "seed {seed}: {apart} beyond {bound}");
        assert!(bound < 0.06, "the bound says something: {bound}");
    }
}

#[test]
fn margins_are_those_of_the_bundle_until_there_is_a_score_and_stay_so_where_asked() {
    let target = Target::NextReturn;
    let mut book = ScoreBook::new(plan(&target, 1));
    book.add_symbol(&Symbol::new("A").unwrap());
    let bundle = Margins { lower: -0.25, upper: 0.25 };
    assert_eq!(book.margins(symbol_id(0)), bundle);
    let flat =
        Moment { close: 100.0, rain: None, after_gap: false, patched: false, value: Some(0.0) };
    live(&mut book, &forecast_plan(&target, 0.25), &vec![flat.clone(); 30]);
    assert!(book.margins(symbol_id(0)).upper < 0.2, "no error at all draws them in");
    let mut fixed = ScoreBook::new(ScorePlan { intervals: Intervals::Bundle, ..plan(&target, 1) });
    fixed.add_symbol(&Symbol::new("A").unwrap());
    live(&mut fixed, &forecast_plan(&target, 0.25), &vec![flat; 30]);
    assert_eq!(fixed.margins(symbol_id(0)), bundle);
    // Which other margins there can be.
    for (lower, upper, expected) in [
        (-1.0, 2.0, (-2.0, 4.0)),
        (-1.0, 0.0, (-2.0, 2.0)),
        (0.0, 2.0, (-4.0, 4.0)),
        (0.0, 0.0, (-2.0, 2.0)),
    ] {
        let plan = ScorePlan { margins: Margins { lower, upper }, ..plan(&target, 1) };
        let Margins { lower, upper } = plan.stretched(2.0);
        assert_eq!((lower, upper), expected);
    }
}

/// Marks of drift in errors of one distribution, of which those from `grown.0` on are multiplied
/// by `grown.1`: how many began, and how long after the growth the first came.
fn marks(
    draws: &mut Draws,
    draw: fn(&mut Draws) -> f64,
    count: usize,
    grown: (usize, f64),
) -> (usize, Option<usize>) {
    let (mut drift, mut began, mut delay) = (Drift::default(), 0, None);
    for at in 0..count {
        let before = drift.is_marked();
        let factor = if at < grown.0 { 1.0 } else { grown.1 };
        drift.take(factor * draw(draws).abs(), at as u32);
        if drift.is_marked() && !before {
            began += 1;
            if at >= grown.0 {
                delay = delay.or(Some(at - grown.0));
            }
        }
    }
    (began, delay)
}

#[test]
fn drift_is_marked_soon_and_rarely_without_need() {
    type Draw = fn(&mut Draws) -> f64;
    let cases: [(&str, Draw, usize, usize); 3] = [
        ("normal", Draws::normal, 1, 16),
        ("laplace", Draws::laplace, 8, 22),
        ("heavy", Draws::heavy, 8, 25),
    ];
    for (name, draw, false_max, delay_max) in cases {
        let mut began = 0;
        for seed in 1..=10 {
            let mut draws = Draws::new(seed);
            began += marks(&mut draws, draw, 10_000, (10_000, 1.0)).0;
        }
        println!("{name}: {began} false marks in 100,000 scores");
        assert!(began <= false_max, "{name}: {began} false marks in 100,000 scores");
        let mut delays = Vec::new();
        for seed in 1..=40 {
            let mut draws = Draws::new(seed);
            let (_, delay) = marks(&mut draws, draw, 1500, (1000, 3.0));
            delays.push(delay.unwrap_or(usize::MAX));
        }
        delays.sort_unstable();
        println!(
            "{name}: marked after {} scores in the median, {} at most",
            delays[20], delays[39]
        );
        assert!(delays[20] <= delay_max, "{name}: {delays:?}");
        assert!(delays[39] <= 60, "{name}: {delays:?}");
    }
}

#[test]
fn errors_that_stay_large_are_the_new_normal() {
    let (mut drift, mut draws) = (Drift::default(), Draws::new(7));
    let mut marked = Vec::new();
    for at in 0..3000 {
        let factor = if at < 500 { 1.0 } else { 3.0 };
        drift.take(factor * draws.normal().abs(), at);
        marked.push(drift.is_marked());
    }
    let first = marked.iter().position(|marked| *marked).unwrap();
    let last = marked.iter().rposition(|marked| *marked).unwrap();
    assert!((500..560).contains(&first) && last < 1200, "{first} to {last}");
}
