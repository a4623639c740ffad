//! The paper account: what positions by signal would have come to, after costs.
//!
//! Owns positions, profits, costs and turnover of the model, of buy-and-hold and of the same rule
//! on each baseline's forecast. Promises that each figure follows from the prices and signals of
//! scored forecasts alone, in bounded memory, and that no profit is counted without its costs.
//! Never trades, and never says that anybody could have traded at these prices.
//!
//! Each symbol has a notional of 1 at every step. A position that is taken at a forecast is held
//! until the next scored forecast of the symbol, and earns the change of the price in between as a
//! fraction. Profits are not reinvested, so they add up.

use super::bins::TimeBins;
use super::bootstrap::{block_length, limits};
use super::subject::{HoldRule, PaperOptions, SellRule};
use crate::core::baseline::{BASELINES, BaselineKind};
use crate::core::domain::{Signal, UnixNanos};
use crate::core::proportion::Limits95;
use crate::core::signal::{SignalPlan, SignalState};

/// The model, buy-and-hold, and the baselines.
pub(super) const STRATEGIES: usize = 2 + BASELINES;
/// Figures that the bootstrap draws: the mean of each strategy, and the model's minus it.
const FIGURES: usize = 2 * STRATEGIES;
/// The most times whose profits are kept apart.
pub(super) const PERIODS_MAX: usize = 4096;

/// Numbers of every strategy.
type Each = [f64; STRATEGIES];

/// What happened in one stretch of time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Period {
    /// Profits minus costs.
    net: Each,
    /// Steps over which positions were held, of all symbols.
    steps: f64,
}

/// The account of one symbol.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    /// When and at which price positions were last taken.
    last: Option<(UnixNanos, f64)>,
    positions: Each,
    /// The signals of the baselines.
    states: [SignalState; BASELINES],
}

/// What the accounts of all symbols have come to.
#[derive(Clone, Debug)]
pub(super) struct Paper {
    options: PaperOptions,
    periods: TimeBins<Period>,
    gross: Each,
    costs: Each,
    turnover: Each,
    /// Steps at which the position was not 0.
    exposed: Each,
    steps: u64,
    /// Scored forecasts without a price.
    unpriced: u64,
    /// Which strategies there are.
    is_there: [bool; STRATEGIES],
}

/// What one strategy came to.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct PaperFigures {
    /// `model`, `buy and hold`, or the name of a baseline.
    pub strategy: &'static str,
    /// The net profit of one symbol on the average, as a fraction of its notional.
    pub net: f64,
    /// The same before costs.
    pub gross: f64,
    /// The costs of one symbol on the average.
    pub costs: f64,
    /// Net profit for each step over which positions were held.
    pub mean_per_step: f64,
    /// The 95 % interval of that mean, by the bootstrap.
    pub mean_per_step_95: Option<[f64; 2]>,
    /// The mean of the model minus this one, and its interval; absent of the model itself.
    pub model_minus_this: Option<f64>,
    /// Its 95 % interval.
    pub model_minus_this_95: Option<[f64; 2]>,
    /// Position that changed hands for each step.
    pub turnover_per_step: f64,
    /// The share of steps with a position.
    pub exposure: f64,
    /// The largest fall of the sum of net profits from an earlier high, as a fraction of the
    /// notional.
    pub drawdown_max: f64,
    /// The mean net profit of a year; absent without a calendar.
    pub annual_mean: Option<f64>,
    /// Over how many steps positions were held, of all symbols.
    pub steps: u64,
}

/// The name of a strategy.
pub(super) fn name(strategy: usize) -> &'static str {
    match strategy {
        0 => "model",
        1 => "buy and hold",
        _ => BaselineKind::ALL.get(strategy - 2).copied().map_or("", BaselineKind::label),
    }
}

/// The sum of two periods.
pub(super) fn add(sum: &mut Period, more: Period) {
    for (sum, more) in sum.net.iter_mut().zip(more.net) {
        *sum += more;
    }
    sum.steps += more.steps;
}

impl PaperOptions {
    /// The position that follows from a signal.
    fn position(&self, signal: Signal, before: f64) -> f64 {
        match (signal, self.sell, self.hold) {
            (Signal::Buy, ..) => 1.0,
            (Signal::Sell, SellRule::Short, _) => -1.0,
            (Signal::Hold, _, HoldRule::Keep) => before,
            (Signal::Sell, SellRule::Flat, _) | (Signal::Hold, _, HoldRule::Flat) => 0.0,
        }
    }
}

impl Paper {
    pub(super) fn new(options: PaperOptions) -> Self {
        let mut is_there = [false; STRATEGIES];
        is_there[..2].fill(true);
        Self {
            options,
            periods: TimeBins::new(PERIODS_MAX),
            gross: Each::default(),
            costs: Each::default(),
            turnover: Each::default(),
            exposed: Each::default(),
            steps: 0,
            unpriced: 0,
            is_there,
        }
    }

    /// Takes a scored forecast of a symbol: its time, the price then, the model's signal and what
    /// the baselines forecast.
    pub(super) fn take(
        &mut self,
        account: &mut Account,
        plan: &SignalPlan,
        (time, price): (UnixNanos, Option<f64>),
        signal: Signal,
        baselines: &[Option<f64>; BASELINES],
    ) {
        let Some(price) = usable(price) else {
            self.unpriced += 1;
            return;
        };
        let mut wanted = [0.0; STRATEGIES];
        wanted[0] = self.options.position(signal, account.positions[0]);
        wanted[1] = 1.0;
        for (at, baseline) in baselines.iter().enumerate() {
            let Some(value) = baseline else { continue };
            self.is_there[2 + at] = true;
            account.states[at].step();
            let signal = plan.decide(&mut account.states[at], *value);
            wanted[2 + at] = self.options.position(signal, account.positions[2 + at]);
        }
        self.trade(account, time, price, wanted);
        account.last = Some((time, price));
    }

    /// Ends the positions of a symbol: what follows is no evidence.
    pub(super) fn close(&mut self, account: &mut Account, time: UnixNanos, price: Option<f64>) {
        let Some((_, last)) = account.last else { return };
        self.trade(account, time, usable(price).unwrap_or(last), Each::default());
        *account = Account::default();
    }

    /// As [`Paper::close`], at the last price.
    pub(super) fn settle(&mut self, account: &Account) {
        if let Some((time, price)) = account.last {
            let mut account = *account;
            // The last step has been counted.
            account.last = None;
            self.trade(&mut account, time, price, Each::default());
        }
    }

    fn trade(&mut self, account: &mut Account, time: UnixNanos, price: f64, wanted: Each) {
        let mut period = Period::default();
        let change = account.last.map(|(_, last)| price / last - 1.0);
        if change.is_some() {
            self.steps += 1;
            period.steps = 1.0;
        }
        for (at, (position, wanted)) in account.positions.iter_mut().zip(wanted).enumerate() {
            let gross = *position * change.unwrap_or(0.0);
            let turnover = (wanted - *position).abs();
            let costs = turnover * self.options.cost();
            self.gross[at] += gross;
            self.costs[at] += costs;
            self.turnover[at] += turnover;
            if change.is_some() && *position != 0.0 {
                self.exposed[at] += 1.0;
            }
            period.net[at] = gross - costs;
            *position = wanted;
        }
        self.periods.add(time, period, add);
    }

    /// Scored forecasts without a price.
    pub(super) const fn unpriced(&self) -> u64 {
        self.unpriced
    }

    /// Steps over which positions were held.
    pub(super) const fn steps(&self) -> u64 {
        self.steps
    }

    /// Whether each time is kept apart.
    pub(super) const fn is_exact(&self) -> bool {
        self.periods.is_exact()
    }

    /// The sum of the net profits of a strategy up to each of at most `points_max` times, as a mean
    /// over `symbols`.
    pub(super) fn curve(
        &self,
        strategy: usize,
        symbols: usize,
        points_max: usize,
    ) -> Vec<(UnixNanos, f64)> {
        let mut sum = 0.0;
        let runs = self.periods.runs(points_max, add);
        let point = |(time, period): &(UnixNanos, Period)| {
            sum += period.net[strategy];
            (*time, sum / symbols.max(1) as f64)
        };
        runs.iter().map(point).collect()
    }

    /// The figures of every strategy that there is; `steps_per_year` where that is known.
    pub(super) fn figures(
        &self,
        symbols: usize,
        horizon_steps: u32,
        steps_per_year: Option<f64>,
    ) -> Vec<PaperFigures> {
        if self.steps == 0 {
            return Vec::new();
        }
        let (symbols, steps) = (symbols.max(1) as f64, self.steps as f64);
        let limits = self.limits(horizon_steps);
        let both = |limits: &Limits95| [limits.low, limits.high];
        let net = |at: usize| self.gross[at] - self.costs[at];
        let there = (0..STRATEGIES).filter(|at| self.is_there[*at]);
        let figures = there.map(|at| {
            let mean_per_step = net(at) / steps;
            PaperFigures {
                strategy: name(at),
                net: net(at) / symbols,
                gross: self.gross[at] / symbols,
                costs: self.costs[at] / symbols,
                mean_per_step,
                mean_per_step_95: limits.as_ref().map(|limits| both(&limits[at])),
                model_minus_this: (at > 0).then(|| (net(0) - net(at)) / steps),
                model_minus_this_95: limits
                    .as_ref()
                    .filter(|_| at > 0)
                    .map(|limits| both(&limits[STRATEGIES + at])),
                turnover_per_step: self.turnover[at] / steps,
                exposure: self.exposed[at] / steps,
                drawdown_max: self.drawdown(at) / symbols,
                annual_mean: steps_per_year.map(|steps| steps * mean_per_step),
                steps: self.steps,
            }
        });
        figures.collect()
    }

    /// The largest fall from an earlier high, beginning at zero.
    fn drawdown(&self, strategy: usize) -> f64 {
        let (mut sum, mut high, mut largest) = (0.0_f64, 0.0_f64, 0.0_f64);
        for (_, period) in self.periods.iter() {
            sum += period.net[strategy];
            high = high.max(sum);
            largest = largest.max(high - sum);
        }
        largest
    }

    fn limits(&self, horizon_steps: u32) -> Option<[Limits95; FIGURES]> {
        let series: Vec<Period> = self.periods.iter().map(|(_, period)| *period).collect();
        let PaperOptions { resamples, seed, .. } = self.options;
        let mean_length = block_length(series.len(), horizon_steps);
        let figures = |sum: &Period| -> [f64; FIGURES] {
            let steps = sum.steps.max(1.0);
            std::array::from_fn(|at| match at.checked_sub(STRATEGIES) {
                None => sum.net[at] / steps,
                Some(at) => (sum.net[0] - sum.net[at]) / steps,
            })
        };
        limits(&series, (resamples, seed), mean_length, |sum, more| add(sum, *more), figures)
    }
}

/// A price that changes can be seen from.
fn usable(price: Option<f64>) -> Option<f64> {
    price.filter(|price| price.is_finite() && *price > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::forecast::{SignalThresholds, TargetKind};

    const PLAN: SignalThresholds = SignalThresholds { buy_above: 0.0, sell_below: 0.0 };

    fn options() -> PaperOptions {
        PaperOptions { cost_bps: 75.0, slippage_bps: 25.0, ..PaperOptions::default() }
    }

    /// Buys at 100 and 110, sells at 99, holds at 99; the drift baseline always says up.
    fn paper(options: PaperOptions) -> (Paper, Account) {
        let (mut paper, mut account) = (Paper::new(options), Account::default());
        let plan = SignalPlan::new(PLAN, TargetKind::Change);
        for (at, (price, signal)) in
            [(100.0, Signal::Buy), (110.0, Signal::Buy), (99.0, Signal::Sell), (99.0, Signal::Hold)]
                .into_iter()
                .enumerate()
        {
            let time = UnixNanos::from_nanos(at as i64);
            let baselines = [None, Some(0.01), None, None, None];
            paper.take(&mut account, &plan, (time, Some(price)), signal, &baselines);
        }
        (paper, account)
    }

    #[track_caller]
    fn close(is: f64, should: f64) {
        assert!((is - should).abs() < 1e-12, "{is} is not {should}");
    }

    /// By hand: +10 % from 100 to 110, -10 % from 110 to 99, nothing while short at 99. The
    /// position goes 0, 1, 1, -1, 0: turnover 1 + 0 + 2 + 1 at 1 % each.
    #[test]
    fn profits_costs_and_drawdown_have_their_hand_computed_values() {
        let (paper, account) = paper(options());
        let mut settled = paper.clone();
        settled.settle(&account);
        let figures = settled.figures(1, 1, Some(250.0));
        let names: Vec<_> = figures.iter().map(|figures| figures.strategy).collect();
        assert_eq!(names, ["model", "buy and hold", "drift"]);
        let [model, hold, drift] = &figures[..] else { panic!("{figures:?}") };
        close(model.gross, 0.0);
        close(model.costs, 0.04);
        close(model.net, -0.04);
        assert_eq!(model.steps, 3);
        close(model.mean_per_step, -0.04 / 3.0);
        close(model.turnover_per_step, 4.0 / 3.0);
        close(model.exposure, 1.0);
        close(model.annual_mean.unwrap(), 250.0 * -0.04 / 3.0);
        // -0.01, then 0.09, then -0.03, then -0.04: from the high of 0.09.
        close(model.drawdown_max, 0.13);
        assert_eq!((model.model_minus_this, model.model_minus_this_95), (None, None));
        // In at 100 and out at 99, with a notional of 1: +10 % and -10 %, twice 1 %.
        close(hold.gross, 0.0);
        close(hold.costs, 0.02);
        close(hold.model_minus_this.unwrap(), -0.02 / 3.0);
        assert_eq!((drift.net, drift.turnover_per_step), (hold.net, hold.turnover_per_step));
        let [low, high] = model.mean_per_step_95.unwrap();
        assert!(low <= model.mean_per_step && model.mean_per_step <= high, "{low} {high}");
        let curve: Vec<f64> = paper.curve(0, 1, 10).iter().map(|(_, sum)| *sum).collect();
        for (is, should) in curve.iter().zip([-0.01, 0.09, -0.03, -0.04]) {
            close(*is, should);
        }
        assert_eq!(figures, settled.figures(1, 1, Some(250.0)), "the same seed");
    }

    #[test]
    fn sell_and_hold_mean_what_the_reader_chooses() {
        let flat = PaperOptions { sell: SellRule::Flat, ..options() };
        assert_eq!(flat.position(Signal::Sell, 1.0), 0.0);
        assert_eq!(flat.position(Signal::Hold, 1.0), 0.0);
        let keep = PaperOptions { hold: HoldRule::Keep, ..options() };
        assert_eq!(keep.position(Signal::Hold, -1.0), -1.0);
        assert_eq!(keep.position(Signal::Sell, 1.0), -1.0);
        // Never short: the sale at 99 ends the position, and nothing is paid afterwards.
        let (mut paper, account) = paper(flat);
        paper.settle(&account);
        let model = paper.figures(1, 1, None).remove(0);
        close(model.costs, 0.02);
        close(model.exposure, 2.0 / 3.0);
        assert_eq!(model.annual_mean, None);
    }

    #[test]
    fn what_is_no_evidence_ends_positions_at_its_price() {
        let (mut paper, mut account) = paper(options());
        let plan = SignalPlan::new(PLAN, TargetKind::Change);
        let time = |at| UnixNanos::from_nanos(at);
        let none = [None; BASELINES];
        paper.take(&mut account, &plan, (time(4), Some(100.0)), Signal::Buy, &none);
        paper.close(&mut account, time(5), Some(150.0));
        let before = paper.figures(1, 1, None);
        // -0.04 in all so far, 1 % to buy, +50 %, and 1 % to sell.
        close(before[0].net, -0.04 + 0.5 - 0.02);
        paper.close(&mut account, time(6), Some(1.0));
        paper.settle(&account);
        assert_eq!(paper.figures(1, 1, None), before, "there is nothing left to end");
        // A price that is no price is no step.
        for price in [None, Some(0.0), Some(f64::NAN)] {
            paper.take(&mut account, &plan, (time(7), price), Signal::Buy, &none);
        }
        assert_eq!((paper.unpriced(), paper.steps()), (3, 5));
        assert_eq!(Paper::new(options()).figures(0, 1, None), []);
    }
}
