//! Pages and figures of scores that are given.

use super::*;
use crate::core::baseline::BaselineKind;
use crate::core::domain::{InputShift, Quality, Quantiles, SymbolId};
use crate::core::forecast::SignalThresholds;
use crate::core::random::{Purpose, Random};
use crate::core::score::QuantileSums;
use crate::core::signal::{SignalPlan, SignalState};
use crate::core::verdict::{Ledger, Word};
use crate::report::well_formed::assert_well_formed;

const MINUTE: i64 = 60_000_000_000;
const THRESHOLDS: SignalThresholds = SignalThresholds { buy_above: 0.001, sell_below: -0.001 };

fn subject(target: Target) -> Subject {
    let kind = TargetKind::of(&target);
    Subject {
        model: "m".to_owned(),
        version: "7".to_owned(),
        target,
        horizon_steps: 1,
        coverage: 0.9,
        against: BaselineKind::Persistence,
        signals: SignalPlan::new(THRESHOLDS, kind),
        calendar: None,
        outputs: Vec::new(),
    }
}

/// One symbol's forecasts and scores, as an engine would make them.
struct Stream {
    symbol: &'static str,
    evidence: Evidence,
    state: SignalState,
    ledger: Ledger,
    price: f64,
    minute: i64,
}

impl Stream {
    fn new(symbol: &'static str, evidence: Evidence) -> Self {
        let (state, ledger) = (SignalState::default(), Ledger::new());
        Self { symbol, evidence, state, ledger, price: 100.0, minute: 0 }
    }

    /// The forecast of a step, and its score a step later.
    fn step(&mut self, report: &mut ReplayReport, value: f64, truth: f64) {
        let as_of = UnixNanos::from_nanos(self.minute * MINUTE);
        let target_time = UnixNanos::from_nanos((self.minute + 1) * MINUTE);
        let symbol = SymbolId::from_index(0).unwrap();
        let signal = report.subject.signals.decide(&mut self.state, value);
        let (lower, upper) = (value - 0.01, value + 0.01);
        let (quality, evidence) = (Quality::Full, self.evidence);
        report.forecast(
            self.symbol,
            &Forecast {
                symbol,
                as_of,
                target_time,
                value,
                price: None,
                last_price: Some(self.price),
                lower,
                upper,
                signal,
                quality,
                out_of_range: false,
                evidence,
                drift: false,
                shift: InputShift::Unknown,
                shed_steps: 0,
                output: 0,
                quantiles: Quantiles::NONE,
            },
        );
        let mut score = Score {
            symbol,
            as_of,
            target_time,
            truth_time: target_time,
            value,
            truth,
            baseline: 0.0,
            against: BaselineKind::Persistence,
            baselines: [Some(0.0), Some(0.002), None, None, None],
            lower,
            upper,
            direction_hit: None,
            quality,
            out_of_range: false,
            evidence,
            skill: None,
            held: None,
            drift: false,
            shifted: None,
            verdict: Verdict::default(),
            rival: None,
            signal,
            signals: SignalCounts::default(),
            output: 0,
            quantiles: Quantiles::NONE,
            quantile_sums: QuantileSums::default(),
        };
        let rule = LedgerRule::new(1, LEVEL);
        self.ledger.take(&rule, score.loss_difference(), target_time);
        score.verdict = self.ledger.verdict(&rule);
        report.score(self.symbol, &score);
        self.price *= 1.0 + truth;
        self.minute += 1;
    }
}

/// A replay of so many steps of a model that knows half of each change.
fn replayed(steps: u32, streams: &mut [Stream], target: Target) -> ReplayReport {
    let mut report = ReplayReport::new(subject(target), PaperOptions::default());
    let mut random = Random::new(3, Purpose::Initial);
    for _ in 0..steps {
        for stream in streams.iter_mut() {
            let truth = 0.004 * random.normal();
            let truth = truth.clamp(-0.5, 0.5);
            stream.step(&mut report, 0.5 * truth + 0.001 * random.normal(), truth);
        }
    }
    report
}

#[test]
fn figures_have_their_hand_computed_values() {
    let mut report = ReplayReport::new(subject(Target::NextReturn), PaperOptions::default());
    let mut known = Stream::new("A", Evidence::Training);
    known.step(&mut report, 0.9, 0.1);
    let mut stream = Stream { evidence: Evidence::Unseen, minute: 1, ..known };
    stream.price = 100.0;
    stream.step(&mut report, 0.01, 0.02);
    stream.step(&mut report, -0.01, 0.005);
    stream.step(&mut report, 0.0, -0.005);
    let summary = report.summary();
    assert_eq!((summary.forecasts, summary.symbols, summary.scores), (4, 1, [1, 0, 3, 0]));
    let times = [0, 3].map(|minute| UnixNanos::from_nanos(minute * MINUTE));
    assert_eq!(summary.span, Some(times));
    let close = |is: Option<f64>, should: f64| {
        let is = is.unwrap();
        assert!((is - should).abs() < 1e-12, "{is} is not {should}");
    };
    // Errors 0.01, 0.015, -0.005 beside truths 0.02, 0.005, -0.005.
    close(summary.skill, 1.0 - 0.00035 / 0.00045);
    close(summary.mean_absolute_error, 0.01);
    // The second error is beyond the interval; the first is at its end, but for rounding.
    close(summary.parts[1].coverage, summary.coverage.unwrap());
    let signals = summary.signals;
    assert_eq!(
        (signals.scores, signals.raised(), signals.directed(), signals.right()),
        (3, 2, 2, 1)
    );
    assert_eq!(summary.verdict.word, Word::TooEarly);
    assert_eq!((summary.parts.len(), summary.no_paper), (2, None));
    let [model, hold, persistence, drift] = &summary.paper[..] else { panic!("{summary:?}") };
    // Long over +2 %, short over +0.5 %, then flat; 1 + 2 + 1 trades of 2 basis points.
    close(Some(model.net), 0.02 - 0.005 - 4.0 * 0.0002);
    close(Some(hold.net), 0.02 + 0.005 - 2.0 * 0.0002);
    assert_eq!((persistence.strategy, persistence.net), ("persistence", 0.0));
    assert_eq!((drift.strategy, drift.net), ("drift", hold.net));
    assert_eq!(model.steps, 2);
    let html = report.html();
    assert!(html.contains("m 7 over A, 1970-01-01 to 1970-01-01: too early to say against persis"));
    assert!(html.contains("Of its 2 signals 50.0\u{a0}% went their way"), "{html}");
}

#[test]
fn a_page_is_whole_whatever_the_names_are() {
    let mut streams = [
        Stream::new("<img src=x onerror=alert(1)>", Evidence::Unseen),
        Stream::new("B&\"'", Evidence::Unseen),
    ];
    let mut report = replayed(700, &mut streams, Target::NextReturn);
    report.subject.model = "</title><script>".to_owned();
    let html = report.html();
    assert_well_formed(&html);
    assert!(!html.contains("<img") && !html.contains("<script"));
    assert!(html.contains("&lt;img src=x onerror=alert(1)&gt;"));
    assert!(html.contains("Content-Security-Policy"));
    assert!(!html.contains("NaN") && !html.contains(">inf"));
    for part in [
        "Forecasts against truth",
        "Skill and verdict",
        "Coverage and calibration",
        "Signals",
        "Paper account",
        "In words",
        "no advice to trade",
    ] {
        assert!(html.contains(part), "no {part}");
    }
    assert_eq!(html.matches("<svg").count(), 7);
    assert_eq!(html.matches("<desc>").count(), 7, "each plot has a description");
    // It knows half of each change.
    let summary = report.summary();
    assert_eq!(summary.verdict.word, Word::Better);
    assert!(summary.skill.unwrap() > 0.5, "{:?}", summary.skill);
    let share = SignalCounts::share(summary.signals.right(), summary.signals.directed(), 1);
    assert!(share.unwrap().limits.low > summary.signals.hit_rate_by_chance().unwrap());
    assert!(summary.paper[0].mean_per_step_95.unwrap()[0] > 0.0);
    // Two models have a section each.
    let both = pages(&[report.clone(), report]);
    assert_well_formed(&both);
    assert_eq!(both.matches("class=\"subject\"").count(), 2);
    assert!(both.contains("href=\"#model-2\"") && both.contains("id=\"model-2\""));
}

#[test]
fn the_same_scores_give_the_same_page_and_figures() {
    let page = || {
        let mut streams = [Stream::new("A", Evidence::Unknown)];
        let report = replayed(500, &mut streams, Target::NextReturn);
        (report.html(), figures(&[report]).unwrap())
    };
    assert_eq!(page(), page());
}

#[test]
fn a_model_is_not_judged_by_what_it_was_made_from() {
    let mut streams = [Stream::new("A", Evidence::Training)];
    let report = replayed(400, &mut streams, Target::NextReturn);
    let summary = report.summary();
    assert_eq!((summary.skill, summary.coverage, summary.signals.scores), (None, None, 0));
    assert_eq!((summary.paper.len(), summary.no_paper), (0, Some(NoPaper::Scores)));
    let html = report.html();
    assert_well_formed(&html);
    assert!(html.contains("m 7 over A, 1970-01-01 to 1970-01-01: no score counts"));
    assert!(html.contains("Nothing is claimed"));
    assert!(!html.contains("Paper account"));
}

#[test]
fn a_target_without_a_price_change_has_no_paper_account_and_says_why() {
    let target = Target::NextValue { field: "rain".to_owned() };
    let mut streams = [Stream::new("A", Evidence::Unseen)];
    let report = replayed(400, &mut streams, target);
    assert_eq!(report.summary().no_paper, Some(NoPaper::Target));
    assert!(report.html().contains("the target next_value is no change of a price"));
    let event = Target::NextEvent { field: "rain".to_owned(), above: 0.0 };
    let mut report = ReplayReport::new(subject(event), PaperOptions::default());
    let mut stream = Stream::new("A", Evidence::Unseen);
    for at in 0..400_u32 {
        let happened = at % 4 == 0;
        stream.step(&mut report, if happened { 0.75 } else { 0.25 }, f64::from(u8::from(happened)));
    }
    let html = report.html();
    assert_well_formed(&html);
    assert!(html.contains("Calibration of probabilities"));
    let none = ReplayReport::new(subject(Target::NextReturn), PaperOptions::default());
    assert_well_formed(&none.html());
    assert!(none.html().contains("m 7 over no symbol: no forecast was scored"));
}

/// A long replay takes no more memory and no larger page than a short one.
#[test]
fn memory_and_page_are_bounded() {
    let size = |steps: u32| {
        let mut streams = [Stream::new("A", Evidence::Unseen), Stream::new("B", Evidence::Unseen)];
        let report = replayed(steps, &mut streams, Target::NextReturn);
        let samples: usize = report.parts.iter().map(|part| part.sample.kept().len()).sum();
        let track = report.track.as_ref().map_or(0, |(_, track)| track.kept().len());
        let waiting: usize = report.symbols.values().map(|symbol| symbol.waiting.len()).sum();
        assert!(samples <= SAMPLE_MAX && track <= TRACK_MAX && waiting <= 4);
        assert!(report.times.len() <= TIMES_MAX && report.path.points().len() <= 1000);
        report.html().len()
    };
    let (short, long) = (size(2_000), size(60_000));
    assert!(long < 600_000, "{long} bytes");
    assert!(long < 2 * short, "{short} and {long} bytes");
}
