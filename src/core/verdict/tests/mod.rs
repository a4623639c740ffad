//! The laws of ledgers and pools.

mod simulation;

use proptest::prelude::*;

use super::*;

fn time(at: usize) -> UnixNanos {
    UnixNanos::from_nanos(at as i64)
}

fn rule() -> LedgerRule {
    LedgerRule::new(1, LEVEL)
}

fn ledger(rule: &LedgerRule, differences: &[f64]) -> Ledger {
    let mut ledger = Ledger::new();
    for (at, difference) in differences.iter().enumerate() {
        ledger.take(rule, *difference, time(at));
    }
    ledger
}

/// Differences with a mean, which may be larger than their spread.
fn differences() -> impl Strategy<Value = Vec<f64>> {
    let one = (-1.0..1.0f64, prop_oneof![Just(0.0), Just(0.1), Just(-0.1), Just(1.5), Just(-1.5)]);
    one.prop_flat_map(|(_, shift)| {
        proptest::collection::vec((-1.0..1.0f64).prop_map(move |one| one + shift), 0..900)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_unit_changes_no_word(differences in differences(), power in -60i32..60) {
        let factor = 2f64.powi(power);
        let scaled: Vec<_> = differences.iter().map(|one| one * factor).collect();
        let (one, other) = (ledger(&rule(), &differences), ledger(&rule(), &scaled));
        let (one, other) = (one.verdict(&rule()), other.verdict(&rule()));
        prop_assert_eq!((one.word, one.since, one.scores), (other.word, other.since, other.scores));
        prop_assert_eq!(one.log_e_value.to_bits(), other.log_e_value.to_bits());
        prop_assert_eq!(one.mean_difference * factor, other.mean_difference);
        prop_assert_eq!(one.limits.map(|limits| limits.map(|end| end * factor)), other.limits);
    }

    #[test]
    fn swapping_the_two_mirrors_everything(differences in differences()) {
        let swapped: Vec<_> = differences.iter().map(|one| -one).collect();
        let (one, other) = (ledger(&rule(), &differences), ledger(&rule(), &swapped));
        let (one, other) = (one.verdict(&rule()), other.verdict(&rule()));
        let mirrored = match one.word {
            Word::Better => Word::Worse,
            Word::Worse => Word::Better,
            word => word,
        };
        prop_assert_eq!((other.word, other.since), (mirrored, one.since));
        prop_assert_eq!(other.log_e_value.to_bits(), one.log_e_value.to_bits());
        prop_assert_eq!(other.mean_difference, -one.mean_difference);
        prop_assert_eq!(other.limits, one.limits.map(|[lower, upper]| [-upper, -lower]));
    }

    /// Whatever is within the limits is not rejected by the e-value, and whatever is outside is.
    #[test]
    fn the_limits_are_the_means_that_are_not_rejected(
        differences in differences(),
        level in 0.001..0.5f64,
    ) {
        let rule = LedgerRule::new(1, level);
        let ledger = ledger(&rule, &differences);
        let bound = -libm::log(level);
        match ledger.verdict(&rule).limits {
            None => for far in [0.0, 1e3, -1e9, 1e12] {
                prop_assert!(ledger.log_e_value_of(far) <= bound + 1e-9);
            },
            Some([lower, upper]) => {
                let half = (upper - lower) / 2.0;
                for end in [lower, upper] {
                    prop_assert!((ledger.log_e_value_of(end) - bound).abs() < 1e-6);
                }
                prop_assert!(ledger.log_e_value_of(lower - 0.01 * half) > bound);
                prop_assert!(ledger.log_e_value_of(upper + 0.01 * half) > bound);
                prop_assert!(ledger.log_e_value_of(upper - 0.01 * half) < bound);
                let word = ledger.word();
                if matches!(word, Word::Better | Word::Worse) {
                    prop_assert!(ledger.log_e_value() >= bound - 1e-9);
                }
                prop_assert_eq!(word == Word::Better, lower > 0.0 && word != Word::TooEarly);
                prop_assert_eq!(word == Word::Worse, upper < 0.0 && word != Word::TooEarly);
            }
        }
    }

    #[test]
    fn a_stricter_level_says_less(differences in differences()) {
        let [loose, strict] = [0.05, 0.01].map(|level| LedgerRule::new(1, level));
        let (one, other) = (ledger(&loose, &differences), ledger(&strict, &differences));
        if let (Some([lower, upper]), Some([lowest, uppermost])) =
            (one.verdict(&loose).limits, other.verdict(&strict).limits)
        {
            prop_assert!(lowest <= lower && upper <= uppermost);
        }
        if matches!(other.word(), Word::Better | Word::Worse) {
            prop_assert_eq!(one.word(), other.word());
        }
    }

    /// Within a block the order matters up to rounding, and so does that of blocks.
    #[test]
    fn the_order_of_halves_changes_no_figure(differences in differences()) {
        let rule = rule();
        let blocks = differences.len() / rule.block_scores() as usize;
        let whole = &differences[..blocks * rule.block_scores() as usize];
        let (first, second) = whole.split_at(blocks / 2 * rule.block_scores() as usize);
        let turned = [second, first].concat();
        let one = ledger(&rule, whole).verdict(&rule);
        let other = ledger(&rule, &turned).verdict(&rule);
        prop_assert!((one.mean_difference - other.mean_difference).abs() < 1e-12);
        let near = (one.log_e_value - other.log_e_value).abs();
        prop_assert!(near <= 1e-9 * one.log_e_value.abs().max(1.0), "{near}");
        prop_assert_eq!(one.word, other.word);
    }

    /// Rest at any score and back changes no bit.
    #[test]
    fn rest_changes_nothing(differences in differences(), cut in 0usize..900) {
        let rule = rule();
        let (first, second) = differences.split_at(cut.min(differences.len()));
        let before = ledger(&rule, first);
        prop_assert!(before.is_possible(&rule));
        let mut after: Ledger =
            serde_json::from_value(serde_json::to_value(before).unwrap()).unwrap();
        for (at, difference) in second.iter().enumerate() {
            after.take(&rule, *difference, time(first.len() + at));
        }
        prop_assert_eq!(after, ledger(&rule, &differences));
    }

    /// A pool of parts is the pool of the whole; what leaves leaves nothing behind.
    #[test]
    fn pools_add_up(ledgers in proptest::collection::vec(differences(), 1..6), cut in 0usize..6) {
        let rule = rule();
        let ledgers: Vec<_> = ledgers.iter().map(|one| ledger(&rule, one)).collect();
        let pool = |ledgers: &[Ledger]| {
            let mut pool = Pool::default();
            ledgers.iter().for_each(|ledger| pool.add(ledger));
            pool
        };
        let whole = pool(&ledgers);
        let (first, second) = ledgers.split_at(cut.min(ledgers.len()));
        prop_assert_eq!(pool(second).merged(&pool(first)), whole);
        prop_assert_eq!(Pool::from_array(whole.to_array()), whole);
        let mut emptied = whole;
        ledgers.iter().for_each(|ledger| emptied.remove(ledger));
        prop_assert_eq!(emptied, Pool::default());
        for ledger in &ledgers {
            // One symbol says what it says alone.
            let alone = pool(std::slice::from_ref(ledger));
            prop_assert_eq!(alone.word(LEVEL), ledger.word());
            if matches!(ledger.word(), Word::Better | Word::Worse) {
                prop_assert_eq!(alone.since(ledger.word()), ledger.since());
            }
        }
        // The mean of e-values, as far as they are summed.
        let value = |ledger: &Ledger, is_better: bool| match ledger.word() {
            Word::TooEarly => 0.0,
            _ if (ledger.mean_difference() > 0.0) != is_better => 0.0,
            _ => ledger.log_e_value().exp().min(2f64.powi(32)),
        };
        let mean = |is_better| {
            let sum: f64 = ledgers.iter().map(|ledger| value(ledger, is_better)).sum();
            sum / ledgers.len() as f64
        };
        let expected = match (mean(true) >= 1.0 / LEVEL, mean(false) >= 1.0 / LEVEL) {
            _ if ledgers.iter().all(|ledger| ledger.word() == Word::TooEarly) => Word::TooEarly,
            (true, false) => Word::Better,
            (false, true) => Word::Worse,
            _ => Word::Undecided,
        };
        prop_assert_eq!(whole.word(LEVEL), expected);
    }
}

#[test]
fn words_come_with_their_time() {
    let rule = rule();
    assert_eq!((rule.block_scores(), rule.scores_min()), (30, 300));
    assert_eq!(LedgerRule::new(5, LEVEL).block_scores(), 50);
    let alternating = |at: usize| if at.is_multiple_of(2) { 1.0 } else { -1.2 };
    let mut ledger = Ledger::new();
    let mut said = Vec::new();
    for at in 0..300 {
        ledger.take(&rule, alternating(at) + 0.001 * (at / 30) as f64, time(at));
        said.push((ledger.word(), ledger.since()));
    }
    assert_eq!(said[298], (Word::TooEarly, None));
    // The mean of every block is about -0.1.
    assert_eq!(said[299], (Word::Worse, Some(time(299))));
    for at in 300..600 {
        ledger.take(&rule, alternating(at), time(at));
    }
    assert_eq!((ledger.word(), ledger.since()), (Word::Worse, Some(time(299))));
    // A turn: the word follows what is known now, and its time with it.
    for at in 600..900 {
        ledger.take(&rule, 0.5, time(at));
    }
    let verdict = ledger.verdict(&rule);
    assert_eq!((verdict.word, verdict.scores), (Word::Undecided, 900));
    assert_eq!(verdict.since, Some(time(629)));
}

#[test]
fn differences_that_say_nothing_are_no_evidence() {
    let rule = rule();
    let ledger = ledger(&rule, &[0.0; 3000]);
    let verdict = ledger.verdict(&rule);
    assert_eq!((verdict.word, verdict.limits), (Word::Undecided, Some([0.0, 0.0])));
    assert!(verdict.log_e_value < 0.0);
}

#[test]
fn differences_at_the_edge_of_numbers_stay_finite() {
    let rule = rule();
    for huge in [f64::MAX, -f64::MAX, 1e140] {
        let differences: Vec<_> =
            (0..3000).map(|at| if at % 3 == 0 { huge } else { -1.0 }).collect();
        let ledger = ledger(&rule, &differences);
        let verdict = ledger.verdict(&rule);
        assert!(ledger.is_possible(&rule), "{ledger:?}");
        assert!(verdict.log_e_value.is_finite() && verdict.mean_difference.is_finite());
    }
    let tiny = ledger(&rule, &[5e-324, 1e-300].repeat(600));
    assert!(tiny.log_e_value().is_finite());
}

#[test]
fn a_ledger_that_cannot_be_is_refused() {
    let rule = rule();
    let good = ledger(&rule, &[0.5, -0.25].repeat(200));
    assert!(good.is_possible(&rule) && size_of::<Ledger>() < 100);
    let text = serde_json::to_value(good).unwrap();
    for (field, value) in [
        ("blocks", serde_json::json!(3)),
        ("mean", serde_json::json!(1e200)),
        ("deviations", serde_json::json!(-1.0)),
        ("open_scores", serde_json::json!(30)),
        ("open_sum", serde_json::json!(1e300)),
        ("word", serde_json::json!("too_early")),
        ("since", serde_json::json!(null)),
    ] {
        let mut changed = text.clone();
        changed[field] = value;
        let changed: Ledger = serde_json::from_value(changed).unwrap();
        assert!(!changed.is_possible(&rule), "{field}");
    }
}

/// Symbols that move together are one series: ten copies of it say what one says, and no more.
#[test]
fn copies_of_a_symbol_add_no_evidence() {
    let rule = rule();
    let mut random = crate::core::random::Random::new(5, crate::core::random::Purpose::Order);
    let differences: Vec<_> = (0..1500).map(|_| random.normal() - 0.05).collect();
    let steps = |copies: usize| {
        let mut steps = Steps::new();
        for copy in 0..copies {
            // Each in a unit of its own.
            let unit = 4f64.powi(copy as i32);
            for (at, difference) in differences.iter().enumerate() {
                steps.take(&format!("S{copy}"), unit * difference, time(at));
            }
        }
        assert_eq!(steps.symbols(), copies);
        steps.verdict(&rule)
    };
    let (one, ten) = (steps(1), steps(10));
    assert_eq!((one.scores, one.word, one.since), (1470, ten.word, ten.since));
    assert!((one.log_e_value - ten.log_e_value).abs() < 1e-9);
    let apart = ledger(&rule, &differences.repeat(10));
    assert!(apart.log_e_value() > 2.0 * ten.log_e_value.max(1.0), "as if they were independent");
}

/// What Python says of fixed series; see `tests/reference/verdict.py`.
#[test]
fn ledgers_are_those_of_the_reference() {
    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        horizon_steps: u32,
        level: f64,
        differences: Vec<f64>,
        words: Vec<(usize, Word)>,
        scores: u64,
        mean_difference: f64,
        limits: Option<[f64; 2]>,
        log_e_value: f64,
        log_e_value_by_integration: f64,
    }
    let text = include_str!("../../../../tests/data/verdict_reference.json");
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    assert_eq!(cases.len(), 12);
    let is_near = |one: f64, other: f64| (one - other).abs() <= 1e-9 * other.abs().max(1.0);
    for case in cases {
        let rule = LedgerRule::new(case.horizon_steps, case.level);
        let (mut ledger, mut words) = (Ledger::new(), vec![(0, Word::TooEarly)]);
        for (at, difference) in case.differences.iter().enumerate() {
            ledger.take(&rule, *difference, time(at + 1));
            if ledger.word() != words[words.len() - 1].1 {
                words.push((at + 1, ledger.word()));
            }
        }
        let (name, verdict) = (case.name, ledger.verdict(&rule));
        assert_eq!(words, case.words, "{name}");
        assert_eq!(verdict.scores, case.scores, "{name}");
        assert_eq!(verdict.since, words.last().filter(|word| word.0 > 0).map(|word| time(word.0)));
        assert!(is_near(verdict.mean_difference, case.mean_difference), "{name}");
        assert!(is_near(verdict.log_e_value, case.log_e_value), "{name}");
        assert!(is_near(verdict.log_e_value, case.log_e_value_by_integration), "{name}");
        match (verdict.limits, case.limits) {
            (None, None) => {}
            (Some(ours), Some(theirs)) => {
                for (one, other) in ours.into_iter().zip(theirs) {
                    assert!(is_near(one, other), "{name}: {one} {other}");
                }
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}
