//! False alarms and delays, by simulation. Prints the tables that `docs/scores.md` states.
//!
//! `VERDICT_STREAMS=1000 VERDICT_SCORES=20000` asks for the whole ones (`make bench-verdict`).

use super::super::*;
use crate::core::random::{Purpose, Random};

/// How many streams, of how many scores; given when the tests are compiled.
const STREAMS: Option<&str> = option_env!("VERDICT_STREAMS");
const SCORES: Option<&str> = option_env!("VERDICT_SCORES");

/// How the errors of a stream come about. Model and baseline have errors with a correlation of 0.9
/// and the same mean square.
#[derive(Clone, Copy, Debug)]
enum Errors {
    Independent,
    /// An autoregression of the first order.
    Autocorrelated(f64),
    /// Student's t with so many degrees of freedom.
    Heavy(u32),
    /// Their size has storms: GARCH(1,1) with 0.1 and 0.88.
    Stormy,
    /// Truths of so many steps overlap.
    Overlapping(usize),
    /// Those of the model have heavy tails, those of the baseline are normal: outside of the
    /// conditions, for the documentation.
    Lopsided(u32),
}

/// One part of an error: of the model alone, of the baseline alone, or of both.
struct Part {
    before: f64,
    shocks: Vec<f64>,
}

struct Stream {
    errors: Errors,
    random: Random,
    parts: [Part; 3],
    variance: f64,
    at: usize,
}

fn student(random: &mut Random, freedom: u32) -> f64 {
    let squares: f64 = (0..freedom).map(|_| random.normal().powi(2)).sum();
    let freedom = f64::from(freedom);
    // With variance 1.
    random.normal() / (squares / freedom).sqrt() * ((freedom - 2.0) / freedom).sqrt()
}

impl Stream {
    fn new(errors: Errors, seed: u64) -> Self {
        let mut random = Random::new(seed, Purpose::Order);
        let count = if let Errors::Overlapping(steps) = errors { steps } else { 1 };
        let parts = std::array::from_fn(|_| Part {
            before: random.normal(),
            shocks: (0..count).map(|_| random.normal()).collect(),
        });
        Self { errors, random, parts, variance: 1.0, at: 0 }
    }

    fn part(&mut self, index: usize) -> f64 {
        let Self { errors, random, parts, at, .. } = self;
        let part = &mut parts[index];
        match *errors {
            Errors::Independent | Errors::Stormy | Errors::Lopsided(_) => random.normal(),
            Errors::Autocorrelated(share) => {
                let shock = (1.0 - share * share).sqrt() * random.normal();
                part.before = share * part.before + shock;
                part.before
            }
            Errors::Heavy(freedom) => student(random, freedom),
            Errors::Overlapping(steps) => {
                part.shocks[*at % steps] = random.normal();
                part.shocks.iter().sum::<f64>() / (steps as f64).sqrt()
            }
        }
    }

    /// `loss(baseline) - loss(model)` of the next score, where the model's squared error is `worse`
    /// times as large as it was.
    fn next(&mut self, worse: f64) -> f64 {
        const COMMON: f64 = 0.9;
        let own = (1.0f64 - COMMON * COMMON).sqrt();
        let [both, model, baseline] = std::array::from_fn(|index| self.part(index));
        self.at += 1;
        let mut model = COMMON * both + own * model;
        let mut baseline = COMMON * both + own * baseline;
        match self.errors {
            Errors::Stormy => {
                let size = self.variance.sqrt();
                let shock = self.random.normal();
                self.variance = 0.02 + self.variance * (0.1 * shock * shock + 0.88);
                (model, baseline) = (size * model, size * baseline);
            }
            Errors::Lopsided(freedom) => {
                model = student(&mut self.random, freedom);
                baseline = self.random.normal();
            }
            _ => {}
        }
        baseline * baseline - worse * model * model
    }

    fn horizon(&self) -> u32 {
        match self.errors {
            Errors::Overlapping(steps) => steps as u32,
            _ => 1,
        }
    }
}

/// What is asked for; as few as a test has time for, where nothing is.
fn asked(asked: Option<&str>, otherwise: usize) -> usize {
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(otherwise)
}

/// After how many scores each word was said for the first time, by somebody who looks after every
/// score.
fn first_words(errors: Errors, seed: u64, scores: usize, worse: f64) -> [Option<usize>; 2] {
    let mut stream = Stream::new(errors, seed);
    let rule = LedgerRule::new(stream.horizon(), LEVEL);
    let (mut ledger, mut first) = (Ledger::new(), [None; 2]);
    for count in 1..=scores {
        ledger.take(&rule, stream.next(worse), UnixNanos::from_nanos(count as i64));
        match ledger.word() {
            Word::Better => first[0] = first[0].or(Some(count)),
            Word::Worse => first[1] = first[1].or(Some(count)),
            Word::TooEarly | Word::Undecided => {}
        }
        if worse > 1.0 && first[1].is_some() {
            break;
        }
    }
    first
}

#[test]
fn equals_are_told_apart_in_at_most_five_of_a_hundred_streams() {
    let (streams, scores) = (asked(STREAMS, 100), asked(SCORES, 3000));
    // Of a small number more may be wrong by chance: three deviations.
    let share = LEVEL * streams as f64;
    let chance = if streams < 1000 { 3.0 * (share * (1.0 - LEVEL)).sqrt() } else { 0.0 };
    let most = share + chance;
    println!("false alarms of {streams} streams of {scores} scores: better, worse, either");
    let cases = [
        Errors::Independent,
        Errors::Autocorrelated(0.5),
        Errors::Autocorrelated(0.9),
        Errors::Heavy(3),
        Errors::Stormy,
        Errors::Overlapping(5),
        Errors::Lopsided(8),
        Errors::Lopsided(4),
    ];
    for errors in cases {
        let (mut better, mut worse, mut either) = (0, 0, 0);
        for seed in 1..=streams as u64 {
            let [said_better, said_worse] = first_words(errors, seed, scores, 1.0);
            better += usize::from(said_better.is_some());
            worse += usize::from(said_worse.is_some());
            either += usize::from(said_better.is_some() || said_worse.is_some());
        }
        println!("{errors:?}: {better} {worse} {either}");
        if !matches!(errors, Errors::Lopsided(4)) {
            assert!(either as f64 <= most, "{errors:?}: {either} of {streams}");
        }
    }
}

#[test]
fn a_model_that_is_worse_is_called_so_in_time() {
    let streams = asked(STREAMS, 20).min(200);
    let scores = asked(SCORES, 4000).saturating_mul(5);
    println!("scores until `worse`: 10 % worse, 5 %, 2 %, each the median and 90 % of streams");
    let cases = [Errors::Independent, Errors::Autocorrelated(0.5), Errors::Heavy(3)];
    for errors in cases.into_iter().chain([Errors::Overlapping(5)]) {
        for worse in [1.10, 1.05, 1.02] {
            let is_whole = streams == 200;
            if worse < 1.10 && !is_whole {
                continue;
            }
            let first = |seed| first_words(errors, seed, scores, worse)[1].unwrap_or(usize::MAX);
            let mut delays: Vec<_> = (1..=streams as u64).map(first).collect();
            delays.sort_unstable();
            let at = |share: usize| delays[(delays.len() * share / 100).min(delays.len() - 1)];
            println!("{errors:?} {worse}: {} {}", at(50), at(90));
            if worse > 1.09 && matches!(errors, Errors::Independent) {
                assert!((600..3000).contains(&at(50)), "{delays:?}");
            }
        }
    }
}
