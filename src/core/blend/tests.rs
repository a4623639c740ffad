//! The laws of blends: their bound, their rest, and the values of the reference.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::core::baseline::{BASELINES, BaselineForecasts, BaselineKind};
use crate::core::domain::{Evidence, Quality, Quantiles, Signal, SymbolId, UnixNanos};
use crate::core::forecast::Possible;
use crate::core::random::{Purpose, Random};
use crate::core::score::{QuantileSums, Score};
use crate::core::signal::SignalCounts;
use crate::core::verdict::Verdict;

const ANY: Possible = Possible { least: f64::NEG_INFINITY, greatest: f64::INFINITY };

fn time(at: usize) -> UnixNanos {
    UnixNanos::from_nanos(at as i64)
}

/// The score of a forecast of the blend.
fn score(at: usize, [value, truth]: [f64; 2], baselines: BaselineForecasts) -> Score {
    Score {
        symbol: SymbolId::from_index(0).unwrap(),
        as_of: time(at),
        target_time: time(at + 1),
        truth_time: time(at + 1),
        value,
        truth,
        baseline: baselines[0].unwrap_or(0.0),
        against: BaselineKind::Persistence,
        baselines,
        lower: value,
        upper: value,
        direction_hit: None,
        quality: Quality::Full,
        out_of_range: false,
        evidence: Evidence::Unseen,
        skill: None,
        held: None,
        drift: false,
        shifted: None,
        verdict: Verdict::default(),
        signal: Signal::Hold,
        signals: SignalCounts::default(),
        output: 0,
        quantiles: Quantiles::NONE,
        quantile_sums: QuantileSums::default(),
        rival: None,
    }
}

/// A plan of two models, persistence and the average, which is the one to beat.
fn plan(horizon_steps: usize) -> BlendPlan {
    let has = [true, false, true, false, false];
    BlendPlan::new(2, has, BaselineKind::Average, ANY, horizon_steps)
}

/// What the experts say at one step, and what comes true.
#[derive(Clone, Copy, Debug)]
struct Moment {
    members: [Option<f64>; 2],
    /// Persistence and the average.
    baselines: [f64; 2],
    truth: f64,
}

impl Moment {
    fn baselines(&self) -> BaselineForecasts {
        let [persistence, average] = self.baselines;
        [Some(persistence), None, Some(average), None, None]
    }
}

/// Runs a blend over moments; returns what it said, and itself.
fn run(
    plan: &BlendPlan,
    moments: &[Moment],
    mut blend: SymbolBlend,
) -> (Vec<Blended>, SymbolBlend) {
    let mut said: Vec<Blended> = Vec::new();
    let horizon = plan.horizon_steps();
    for (at, moment) in moments.iter().enumerate() {
        if let Some(before) = at.checked_sub(horizon) {
            let pair = [said[before].value, moments[before].truth];
            blend.learn(plan, &score(before, pair, moments[before].baselines()));
        }
        let blended = blend.forecast(plan, time(at), &moment.members, &moment.baselines());
        said.push(blended.expect("the baselines always say something"));
    }
    (said, blend)
}

fn moment() -> impl Strategy<Value = Moment> {
    let number = || prop_oneof![-1.0..1.0f64, Just(0.0), Just(1.0), -30.0..30.0f64];
    let member = prop::option::weighted(0.8, number());
    ([member.clone(), member], [number(), number()], number())
        .prop_map(|(members, baselines, truth)| Moment { members, baselines, truth })
}

/// What the bound of `docs/blend.md` allows each expert, computed beside the weights from the same
/// rounds.
struct Bound {
    /// The largest size of a regret, and that of the first round.
    ranges: Option<[f64; 2]>,
    squares: Vec<f64>,
}

impl Bound {
    fn take(&mut self, regrets: &[f64]) {
        let largest = regrets.iter().fold(0.0_f64, |most, regret| most.max(regret.abs()));
        if largest < 1e-100 {
            return;
        }
        let [before, first] = self.ranges.unwrap_or([largest; 2]);
        let scale = (before / largest).min(1.0);
        for (squares, regret) in self.squares.iter_mut().zip(regrets) {
            *squares += (scale * regret).powi(2);
        }
        self.ranges = Some([before.max(largest), first]);
    }

    fn of(&self, expert: usize, first: &[f64]) -> f64 {
        let Some([range, first_range]) = self.ranges else { return 0.0 };
        let reach = |squares: &f64| range * range + squares;
        let growth = |squares: &f64| (reach(squares) / (first_range * first_range)).log2();
        let mean: f64 =
            first.iter().zip(&self.squares).map(|(first, sum)| first * growth(sum)).sum();
        (reach(&self.squares[expert]) / first[expert] * mean).sqrt() + range - first_range
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever comes: over the rounds in which an expert is awake, the loss of the blend exceeds
    /// that of the expert by the bound at most.
    #[test]
    fn no_expert_is_better_by_more_than_the_bound(
        moments in prop::collection::vec(moment(), 1..300),
        spread in prop_oneof![Just(1.0), Just(1e-6), Just(1e6)],
    ) {
        let plan = plan(1);
        let experts = plan.experts();
        let mut blend = SymbolBlend::new(&plan);
        let mut bound = Bound { ranges: None, squares: vec![0.0; experts] };
        let mut excess = vec![0.0; experts];
        for (at, moment) in moments.iter().enumerate() {
            let truth = spread * moment.truth;
            let members = moment.members.map(|member| member.map(|member| spread * member));
            let baselines = moment.baselines().map(|one| one.map(|one| spread * one));
            let expected = forecasts_of(&blend, &plan, &members, &baselines);
            let said = blend.forecast(&plan, time(at), &members, &baselines).unwrap();
            let sum: f64 = said.weights.iter().sum();
            prop_assert!((sum - 1.0).abs() < 1e-12, "{sum}");
            for (expert, forecast) in expected.iter().enumerate() {
                prop_assert!(forecast.is_some() || said.weights[expert] == 0.0, "asleep");
            }
            let value = said.value;
            let regret = |forecast: f64| (value - forecast) * (value - truth + (forecast - truth));
            let regret = |forecast: &Option<f64>| forecast.map_or(0.0, regret);
            let regrets: Vec<_> = expected.iter().map(regret).collect();
            bound.take(&regrets);
            excess.iter_mut().zip(&regrets).for_each(|(sum, regret)| *sum += regret);
            blend.learn(&plan, &score(at, [said.value, truth], baselines));
        }
        for (expert, excess) in excess.into_iter().enumerate() {
            let most = bound.of(expert, plan.first());
            let room = 1e-9 * (spread * spread + most);
            prop_assert!(excess <= most + room, "{expert}: {excess} {most}");
        }
    }

    /// A state from rest goes on bit for bit, at any step and for any horizon.
    #[test]
    fn rest_changes_no_bit(
        moments in prop::collection::vec(moment(), 2..120),
        horizon in 1_usize..6,
        rest in 0.0..1.0f64,
    ) {
        let plan = plan(horizon);
        let (said, end) = run(&plan, &moments, SymbolBlend::new(&plan));
        let stop = (rest * moments.len() as f64) as usize;
        let (_, stopped) = run(&plan, &moments[..stop], SymbolBlend::new(&plan));
        let text = serde_json::to_string(&stopped).unwrap();
        let stored: SymbolBlend = serde_json::from_str(&text).unwrap();
        prop_assert!(stored.fits(&plan));
        let mut restored = SymbolBlend::new(&plan);
        restored.clone_from_rest(&stored);
        prop_assert_eq!(&restored, &stopped);
        for (at, moment) in moments.iter().enumerate().skip(stop) {
            if let Some(before) = at.checked_sub(horizon) {
                let pair = [said[before].value, moments[before].truth];
                restored.learn(&plan, &score(before, pair, moments[before].baselines()));
            }
            let blended = restored.forecast(&plan, time(at), &moment.members, &moment.baselines());
            prop_assert_eq!(blended.map(bits), Some(bits(said[at])));
        }
        prop_assert_eq!(restored, end);
    }
}

fn bits(said: Blended) -> (u64, [u64; EXPERTS_MAX]) {
    (said.value.to_bits(), said.weights.map(f64::to_bits))
}

/// What the experts say at the next step, which is not taken.
fn forecasts_of(
    blend: &SymbolBlend,
    plan: &BlendPlan,
    members: &[Option<f64>],
    baselines: &BaselineForecasts,
) -> Vec<Option<f64>> {
    blend.said_by(plan, members, baselines)[..plan.experts()].to_vec()
}

#[test]
fn before_any_truth_the_baseline_to_beat_has_all_weight() {
    let plan = plan(1);
    assert!((plan.first().iter().sum::<f64>() - 1.0).abs() < 1e-15);
    let mut blend = SymbolBlend::new(&plan);
    let members = [Some(1.0), Some(1.0)];
    let baselines = [Some(1.0), None, Some(2.0), None, None];
    let said = blend.forecast(&plan, time(0), &members, &baselines).unwrap();
    assert_eq!(said.weights[..6], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!((blend.newest(), said.value), (&[0, 0, 0, 0, 0, 10_000][..], 2.0));
    // Where it sleeps, the others share its weight.
    let asleep = [Some(1.0), None, None, None, None];
    let said = blend.forecast(&plan, time(1), &members, &asleep).unwrap();
    assert!(said.weights[..5].iter().all(|weight| (weight - 0.2).abs() < 1e-15));
}

#[test]
fn experts_that_sleep_weigh_nothing_and_learn_nothing() {
    let plan = plan(1);
    let moments: Vec<_> = (0..200)
        .map(|at| {
            let truth = (0.7 * f64::from(at)).sin();
            // The second model is perfect and comes late.
            let members = [Some(0.0), (at >= 100).then_some(truth)];
            Moment { members, baselines: [0.5, -0.5], truth }
        })
        .collect();
    let (said, _) = run(&plan, &moments, SymbolBlend::new(&plan));
    assert!(said[..100].iter().all(|said| said.weights[1] == 0.0 && said.weights[3] == 0.0));
    assert!(said[101].weights[1] > 0.0);
    assert!(said[199].weights[1] + said[199].weights[3] > 0.6, "{:?}", said[199].weights);
    // Without any expert there is no forecast, and nothing waits.
    let mut blend = SymbolBlend::new(&plan);
    assert_eq!(blend.forecast(&plan, time(0), &[None, None], &[None; BASELINES]), None);
    assert!(blend.rounds.is_empty());
}

#[test]
fn what_a_model_was_trained_on_teaches_nothing() {
    let plan = plan(1);
    for (evidence, learns) in Evidence::ALL.into_iter().zip([false, false, true, true]) {
        let mut blend = SymbolBlend::new(&plan);
        let baselines = [Some(3.0), None, Some(1.0), None, None];
        let said = blend.forecast(&plan, time(0), &[Some(0.0), None], &baselines).unwrap();
        let score = Score { evidence, ..score(0, [said.value, 0.0], baselines) };
        blend.learn(&plan, &score);
        let untaught = Weights::new(plan.experts());
        assert_eq!(blend.weights != untaught, learns, "{}", evidence.label());
        assert!(blend.rounds.is_empty(), "it waits no longer");
    }
}

#[test]
fn truths_are_matched_with_their_steps() {
    let plan = plan(3);
    let mut blend = SymbolBlend::new(&plan);
    let baselines = [Some(0.0), None, Some(0.0), None, None];
    let forecast = |blend: &mut SymbolBlend, at: usize, member: f64| {
        blend.forecast(&plan, time(at), &[Some(member), None], &baselines).unwrap();
    };
    for at in 0..5 {
        forecast(&mut blend, at, at as f64);
    }
    assert_eq!(blend.rounds, [2, 3, 4].map(time), "no more than the horizon has");
    // A step that comes again takes the place of the one before.
    forecast(&mut blend, 3, 7.0);
    assert_eq!(blend.rounds, [2, 3].map(time));
    assert_eq!(blend.said, [Some(2.0), None, Some(2.0), None, Some(7.0), None, Some(7.0), None]);
    // One without a truth is passed over.
    blend.learn(&plan, &score(3, [0.0, 7.0], baselines));
    assert_eq!((blend.rounds.len(), blend.said.len()), (0, 0));
    let mut expected = Recalibration::default();
    expected.take(7.0, 7.0);
    assert_eq!(blend.recalibrations[0], expected);
    assert_eq!(blend.recalibrations[1], Recalibration::default());
    blend.learn(&plan, &score(9, [0.0, 1.0], baselines));
    assert_eq!(blend.recalibrations[0], expected, "no forecast was made there");
}

#[test]
fn a_line_through_forecasts_and_truths_is_found() {
    let mut recalibration = Recalibration::default();
    let mut random = Random::new(1, Purpose::Initial);
    assert_eq!(recalibration.apply(0.25), 0.25, "nothing is known");
    for _ in 0..4000 {
        let forecast = random.normal();
        recalibration.take(forecast, 0.5 + 0.25 * forecast + 0.1 * random.normal());
    }
    // Drawn towards the forecast by 30 of about 390 truths.
    for forecast in [-1.0, 0.0, 2.0] {
        let line = 0.5 + 0.25 * forecast;
        let drawn = line + (forecast - line) * 30.0 / 390.0;
        let found = recalibration.apply(forecast);
        assert!((found - drawn).abs() < 0.02, "{forecast}: {found} {drawn}");
    }
}

#[test]
fn a_recalibration_stays_near_the_forecast_whatever_comes() {
    let mut constant = Recalibration::default();
    (0..100).for_each(|at| constant.take(0.5, if at % 2 == 0 { 0.0 } else { 1.0 }));
    let mean = constant.apply(0.5);
    assert!((mean - 0.5).abs() < 1e-3, "{mean}: without any spread there is no slope");
    let mut wild = Recalibration::default();
    for at in 0..100 {
        // Forecasts that hardly differ, beside truths that do.
        wild.take(1e-9 * f64::from(at), f64::from(at % 7));
    }
    let size = (wild.error_squares / wild.weight).sqrt();
    for forecast in [-1e6, 0.0, 1e6] {
        assert!((wild.apply(forecast) - forecast).abs() <= 3.0 * size * (1.0 + 1e-12) + 1e-9);
    }
    let before = wild;
    wild.take(f64::MAX, -f64::MAX);
    assert_eq!(wild, before, "what leaves the finite numbers is left out");
    let mut weights = Weights::new(2);
    weights.learn(Loss { blend: 1e200, truth: -1e200 }, &[Some(0.0), Some(1e200)]);
    assert_eq!(weights, Weights::new(2));
}

#[test]
fn states_that_cannot_be_are_refused() {
    let plan = plan(2);
    let good = SymbolBlend::new(&plan);
    assert!(good.fits(&plan));
    assert!(!good.fits(&BlendPlan::new(1, [true; 5], BaselineKind::Linear, ANY, 2)));
    let broken: [fn(&mut SymbolBlend); 5] = [
        |blend| blend.rounds.push_back(time(0)),
        |blend| blend.newest[0] = 20_000,
        |blend| blend.newest.truncate(1),
        |blend| blend.recalibrations.truncate(1),
        |blend| blend.weights = Weights::new(3),
    ];
    for (at, damage) in broken.into_iter().enumerate() {
        let mut blend = good.clone();
        damage(&mut blend);
        assert!(!blend.fits(&plan), "{at}");
    }
}

/// A model that is worth nothing beside a baseline that is: the issue of blends.
#[test]
fn a_worthless_model_costs_next_to_nothing() {
    let plan =
        BlendPlan::new(1, [true, false, false, false, false], BaselineKind::Persistence, ANY, 1);
    let mut random = Random::new(7, Purpose::Initial);
    let mut blend = SymbolBlend::new(&plan);
    let [mut of_blend, mut of_model, mut of_baseline] = [0.0; 3];
    for at in 0..1000 {
        let (truth, model) = (0.01 * random.normal(), 0.02 * random.normal() + 0.01);
        let baselines = [Some(0.0), None, None, None, None];
        let said = blend.forecast(&plan, time(at), &[Some(model)], &baselines).unwrap();
        of_blend += (said.value - truth).powi(2);
        of_model += (model - truth).powi(2);
        of_baseline += truth.powi(2);
        blend.learn(&plan, &score(at, [said.value, truth], baselines));
    }
    assert!(of_model > 4.0 * of_baseline, "{of_model} {of_baseline}");
    assert!(of_blend < 1.02 * of_baseline, "{of_blend} {of_baseline}");
}

/// What `tests/reference/blend.py` computes.
#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    horizon_steps: usize,
    members: usize,
    has: [bool; BASELINES],
    against: BaselineKind,
    least: Option<f64>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    members: Vec<Option<f64>>,
    baselines: BaselineForecasts,
    truth: f64,
    evidence: Evidence,
    weights: Vec<f64>,
    forecast: f64,
}

#[test]
fn weights_and_forecasts_are_those_of_the_reference() {
    let text = include_str!("../../../tests/data/blend_reference.json");
    let reference: Reference = serde_json::from_str(text).unwrap();
    let mut compared = 0;
    for (number, case) in reference.cases.iter().enumerate() {
        let possible = Possible { least: case.least.unwrap_or(f64::NEG_INFINITY), ..ANY };
        let horizon = case.horizon_steps;
        let plan = BlendPlan::new(case.members, case.has, case.against, possible, horizon);
        let mut blend = SymbolBlend::new(&plan);
        let mut said = Vec::new();
        for (at, step) in case.steps.iter().enumerate() {
            if let Some(before) = at.checked_sub(horizon) {
                let Step { truth, evidence, baselines, .. } = case.steps[before];
                let score = score(before, [said[before], truth], baselines);
                blend.learn(&plan, &Score { evidence, ..score });
            }
            let blended = blend.forecast(&plan, time(at), &step.members, &step.baselines).unwrap();
            let expected = step.weights.iter().zip(blended.weights);
            for (expert, (expected, found)) in expected.enumerate() {
                let place = (number, at, expert);
                assert!((found - expected).abs() < 1e-9, "{place:?}: {found} {expected}");
                compared += 1;
            }
            let size = step.forecast.abs().max(1e-3);
            let found = blended.value;
            assert!((found - step.forecast).abs() < 1e-9 * size, "{number} {at}: {found}");
            said.push(found);
        }
    }
    assert!(compared > 3_500, "{compared} weights compared");
}
