//! Tests of distributions and their distance.

use proptest::prelude::*;

use super::{DistributionSpec, FeatureDistribution, ShiftBook, ShiftPlan, fit};
use crate::core::domain::{InputShift, SymbolId, UnixNanos};
use crate::core::random::{Purpose, Random};

/// How many rows without any change are judged.
const ROWS: usize = 100_000;

const SPAN: [UnixNanos; 2] = [UnixNanos::from_nanos(0), UnixNanos::from_nanos(1)];

fn id() -> SymbolId {
    SymbolId::from_index(0).unwrap()
}

fn feature(min: f32, edges: &[f32], max: f32, counts: &[u32], limit: f64) -> FeatureDistribution {
    let (edges, counts) = (edges.to_vec(), counts.to_vec());
    FeatureDistribution { min, edges, max, counts, largest: 0.0, limit }
}

fn spec(features: Vec<FeatureDistribution>) -> DistributionSpec {
    let [from, to] = SPAN;
    let rows = features[0].counts.iter().sum();
    DistributionSpec { from, to, rows, memory_rows: 64, features }
}

fn book(spec: &DistributionSpec) -> ShiftBook {
    assert_eq!(spec.problems(spec.features.len()), Vec::<String>::new());
    let mut book = ShiftBook::new(ShiftPlan::new(spec));
    book.add_symbol();
    book
}

/// The index as its definition has it, of the counts of all cells.
fn index(training: &[u32], newest: &[u8]) -> f64 {
    let share = |count: f64, sum: f64| (count + 0.5) / (sum + 0.5 * newest.len() as f64);
    let all: f64 = training.iter().copied().map(f64::from).sum();
    let rows: f64 = newest.iter().copied().map(f64::from).sum();
    let cells = [0].iter().chain(training).chain(&[0]).zip(newest);
    cells
        .map(|(training, newest)| {
            let (p, q) = (share(f64::from(*training), all), share(f64::from(*newest), rows));
            (q - p) * (q / p).ln()
        })
        .sum()
}

#[test]
fn a_value_belongs_to_the_bin_above_its_edge_and_to_a_cell_of_its_own_outside() {
    let spec = spec(vec![feature(-1.0, &[0.0, 0.5], 1.0, &[10, 20, 30], 1.0)]);
    for (value, cell) in [
        (-1.5, 0),
        (-1.0, 1),
        (-0.25, 1),
        (0.0, 2),
        (0.25, 2),
        (0.5, 3),
        (1.0, 3),
        (1.5, 4),
        (f32::MAX, 4),
        (f32::MIN, 0),
    ] {
        let mut book = book(&spec);
        book.take(id(), &[value]);
        // It begins with 32 rows, distributed as 10, 20 and 30 are.
        let mut expected = vec![0, 5, 11, 16, 0];
        expected[cell] += 1;
        let rest = serde_json::to_value(book.rest(id())).unwrap();
        assert_eq!(rest, serde_json::json!({ "counts": expected }), "{value}");
    }
}

#[test]
fn the_index_is_that_of_its_definition() {
    let spec = spec(vec![feature(-1.0, &[0.0, 0.5], 1.0, &[10, 20, 30], 0.25)]);
    let mut book = book(&spec);
    let mut counts = [0, 5, 11, 16, 0];
    let values = [(-0.5, 1), (0.25, 2), (0.75, 3), (0.75, 3), (2.0, 4), (0.75, 3), (-9.0, 0)];
    for (value, cell) in values.into_iter().cycle().take(200) {
        book.take(id(), &[value]);
        counts[cell] += 1;
        if counts.iter().sum::<u8>() == 64 {
            counts = counts.map(|count| count / 2);
        }
        let rest = serde_json::to_value(book.rest(id())).unwrap();
        assert_eq!(rest, serde_json::json!({ "counts": counts }));
        let expected = index(&[10, 20, 30], &counts);
        match book.shift(id()) {
            InputShift::Unknown => panic!("it is judged"),
            InputShift::Within => assert!(expected < 0.25 + 1e-6, "{expected}"),
            InputShift::Shifted { feature, psi } => {
                assert!(feature == 0 && psi > 0.25);
                assert!((psi - expected).abs() < 2e-6, "{psi} and {expected}");
            }
        }
        let mean = book.tally().mean(0).unwrap();
        assert!((mean - expected).abs() < 2e-6, "{mean} and {expected}");
    }
}

#[test]
fn the_feature_furthest_beyond_its_limit_is_named() {
    let close = feature(-1.0, &[0.0], 1.0, &[50, 50], 4.0);
    let volume = feature(-1.0, &[0.0], 1.0, &[50, 50], 0.5);
    let mut book = book(&spec(vec![close.clone(), volume, close]));
    let row = [2.0, 2.0, 2.0];
    let begins: Vec<bool> = (0..60).map(|_| book.take(id(), &row)).collect();
    let InputShift::Shifted { feature: 1, psi } = book.shift(id()) else {
        panic!("{:?}", book.shift(id()))
    };
    assert!(psi > 4.0, "all three are beyond: {psi}");
    assert_eq!(book.tally().beyond, [1, 1, 1]);
    assert_eq!(begins.iter().filter(|begins| **begins).count(), 1, "said once");
}

#[test]
fn bins_have_equal_frequencies_and_values_that_repeat_share_one() {
    let of = |values: Vec<f32>| {
        let spec = fit(1, &[&values], SPAN).unwrap();
        assert_eq!(spec.problems(1), Vec::<String>::new());
        spec.features[0].clone()
    };
    let even = of((0..1000).map(|at| (at * 7 % 1000) as f32).collect());
    assert_eq!(even.edges, (1..10).map(|bin| (bin * 100) as f32).collect::<Vec<_>>());
    assert_eq!((even.min, even.max, &even.counts), (0.0, 999.0, &vec![100; 10]));
    // Nine days of ten are dry.
    let rain = of((0..1000).map(|at| if at % 10 == 3 { at as f32 } else { -0.0 }).collect());
    assert_eq!((rain.edges.len(), rain.min.to_bits()), (1, 0), "zero has one sign");
    assert_eq!(rain.counts, [900, 100]);
    let coin = of((0..1000).map(|at| (at * 7 % 10 / 7) as f32).collect());
    assert_eq!((coin.edges, coin.counts), (vec![1.0], vec![700, 300]));
    let flat = of(vec![5.0; 1000]);
    assert_eq!((flat.edges.len(), flat.counts), (0, vec![1000]));
}

#[test]
fn too_few_rows_of_every_symbol_have_no_distribution() {
    let rows: Vec<f32> = (0..256).map(|at| (at * 7 % 256) as f32).collect();
    let many = vec![&rows[..255]; 100];
    assert_eq!(fit(1, &many, SPAN), None);
    assert_eq!(fit(1, &[], SPAN), None);
    assert!(fit(1, &[&rows], SPAN).is_some());
}

#[test]
fn a_limit_is_above_every_stretch_of_the_training_part() {
    // A walk: a stretch of it is in few bins.
    let mut random = Random::new(7, Purpose::Initial);
    let mut at = 0.0;
    let walk: Vec<f32> = (0..3000)
        .map(|_| {
            at += random.unit_f64() - 0.5;
            at as f32
        })
        .collect();
    let spec = fit(1, &[&walk[..1500], &walk[1500..]], SPAN).unwrap();
    assert!(spec.features[0].largest > 2.0, "{}", spec.features[0].largest);
    assert_eq!(spec.features[0].limit, 1.25 * spec.features[0].largest);
    for part in [&walk[..1500], &walk[1500..]] {
        let mut book = book(&spec);
        for value in part {
            book.take(id(), &[*value]);
            assert_ne!(book.shift(id()).is_shifted(), Some(true));
        }
    }
}

/// Independent rows of one distribution: how far they are from it by chance alone, and how soon a
/// change is marked. `cargo test --lib shift_is_marked -- --nocapture` prints what `docs/drift.md`
/// says.
#[test]
fn shift_is_marked_and_chance_is_not() {
    type Draw = fn(&mut Random) -> f64;
    let normal: Draw = Random::normal;
    let heavy: Draw = |random| {
        let unit = random.unit_f64() - 0.5;
        // Laplace.
        -unit.signum() * libm::log(1.0 - 2.0 * unit.abs().min(0.499_999))
    };
    let rare: Draw = |random| if random.unit_f64() < 0.1 { 1.0 } else { 0.0 };
    println!("values    beyond 0.25    marked    of rows   scale x2: median, most   mean + 1");
    for (name, draw) in [("normal", normal), ("Laplace", heavy), ("0 or 1", rare)] {
        let mut random = Random::new(11, Purpose::Initial);
        let training: Vec<f32> = (0..3000).map(|_| draw(&mut random) as f32).collect();
        let spec = fit(1, &[&training], SPAN).unwrap();
        let mut quiet = book(&spec);
        let (mut folklore, mut marked) = (0, 0);
        for _ in 0..ROWS {
            quiet.take(id(), &[draw(&mut random) as f32]);
            folklore += usize::from(quiet.tally().mean(0).is_some_and(|index| index > 0.25));
            marked += usize::from(quiet.shift(id()).is_shifted() == Some(true));
        }
        let mut delays = |change: &dyn Fn(f64) -> f64| {
            let mut delays: Vec<usize> = Vec::new();
            for before in 200..300 {
                let mut book = book(&spec);
                for _ in 0..before {
                    book.take(id(), &[draw(&mut random) as f32]);
                }
                let mut taken = 0;
                while book.shift(id()).is_shifted() != Some(true) && taken < 1000 {
                    book.take(id(), &[change(draw(&mut random)) as f32]);
                    taken += 1;
                }
                delays.push(taken);
            }
            delays.sort_unstable();
            [delays[50], delays[99]]
        };
        let (scaled, moved) = (delays(&|value| 2.0 * value), delays(&|value| value + 1.0));
        println!("{name:8}  {folklore:11}  {marked:8}  {ROWS:9}   {scaled:?}   {moved:?}");
        assert!(marked <= ROWS / 2_000, "{name}: {marked}");
        assert!(moved[1] < 128, "{name}: {moved:?}");
        assert!(scaled[0] < 200, "{name}: {scaled:?}");
    }
}

proptest! {
    /// A symbol from rest goes on as if it had never been away.
    #[test]
    fn rest_changes_nothing(
        values in prop::collection::vec(-2.0..2.0f32, 1..400),
        cut in 0usize..400,
    ) {
        let spec = spec(vec![
            feature(-1.0, &[0.0, 0.5], 1.0, &[10, 20, 30], 0.5),
            feature(0.0, &[], 1.0, &[60], 0.5),
        ]);
        let mut whole = book(&spec);
        let mut parted = book(&spec);
        for (at, value) in values.iter().enumerate() {
            whole.take(id(), &[*value, 0.25 * value]);
            parted.take(id(), &[*value, 0.25 * value]);
            if at == cut {
                let rest = serde_json::to_string(&parted.rest(id())).unwrap();
                let rest = serde_json::from_str(&rest).unwrap();
                let mut restored = ShiftBook::new(parted.plan().clone());
                restored.restore_symbol(Some(&rest), std::iter::empty());
                parted = restored;
            }
            prop_assert_eq!(parted.shift(id()), whole.shift(id()));
            prop_assert_eq!(parted.tally(), whole.tally());
        }
    }

    /// Counts from rest that no symbol can have are not taken over.
    #[test]
    fn impossible_counts_are_refused(counts in prop::collection::vec(any::<u8>(), 0..12)) {
        let spec = spec(vec![feature(-1.0, &[0.0, 0.5], 1.0, &[10, 20, 30], 0.5)]);
        let sum: u32 = counts.iter().copied().map(u32::from).sum();
        let rest = serde_json::from_value(serde_json::json!({ "counts": counts })).unwrap();
        let mut book = ShiftBook::new(ShiftPlan::new(&spec));
        book.restore_symbol(Some(&rest), std::iter::empty());
        let taken = book.rest(id()) == rest;
        prop_assert_eq!(taken, counts.len() == 5 && sum < 64);
    }
}
