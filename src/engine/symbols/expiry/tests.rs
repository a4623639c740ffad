//! Tests of silent symbols, over a runtime that computes in plain Rust.

use proptest::prelude::*;

use super::super::tests::{Driven, LIMITS, MODES, PARTITION, UNFORECAST, alone, place, served};
use super::super::{EngineLimits, EnginePolicy, Haste, Pushed};
use super::*;
use crate::core::domain::{Forecast, Reject};
use crate::core::history::{Origin, Seam};
use crate::engine::model::manifest::{Manifest, Mode};
use crate::engine::test_support::{STEP_SECONDS, Weights, draft, manifest, price, tick, time};

/// The limit of these tests, in minutes.
const TTL_MINUTES: u32 = 16;

fn ttl() -> DurationNanos {
    DurationNanos::from_seconds(i64::from(STEP_SECONDS)).unwrap().times(TTL_MINUTES).unwrap()
}

/// An engine with the limit, whose windows go on over any distance.
fn driven(mode: Mode, symbols_max: usize) -> Driven {
    let mut manifest: Manifest = manifest(&served(mode));
    manifest.step.gap_steps_max = Some(0);
    let bundle = draft(manifest, Weights::default()).into_bundle().unwrap();
    let mut driven = Driven::of(&bundle, mode, EngineLimits { symbols_max, ..LIMITS });
    let policy = EnginePolicy { symbol_ttl: Some(ttl()), ..EnginePolicy::default() };
    driven.engine = driven.engine.with_policy(policy);
    driven
}

fn push(driven: &mut Driven, symbol: &str, minute: i64) -> Pushed {
    driven.push(&tick(symbol, minute, price(symbol, minute)))
}

fn names(driven: &Driven) -> Vec<String> {
    driven.engine.symbols.iter().map(|state| state.name.as_str().to_owned()).collect()
}

/// The departures of symbols that have left, and up to where each held records.
fn departures(driven: &mut Driven) -> Vec<(Option<Position>, String)> {
    let mut told = Vec::new();
    driven.engine.take_departures(|applied, departure| {
        let word = match departure {
            Departure::LastState(state) => format!("last of {}", state.symbol()),
            Departure::Gone(symbol) => format!("{symbol} is gone"),
        };
        told.push((applied, word));
    });
    told
}

/// Takes everything, and returns what is told of symbols that have left.
fn taken(driven: &mut Driven) -> Vec<String> {
    driven.engine.begin_taking();
    let told = departures(driven).into_iter().map(|(_, word)| word).collect();
    driven.engine.take_changed(usize::MAX, |_, _| {});
    told
}

#[test]
fn contracts_that_expire_make_room_for_ever() {
    const GENERATIONS: i64 = 200;
    for mode in MODES {
        let mut driven = driven(mode, 5);
        let contract = |generation: i64| format!("C{generation}");
        let life = |generation: i64| 12 * generation..12 * generation + 9;
        for generation in 0..GENERATIONS {
            for minute in life(generation) {
                assert_eq!(push(&mut driven, &contract(generation), minute), Pushed::Taken);
            }
            assert!(driven.engine.symbol_count() <= 5, "{mode}: {:?}", names(&driven));
            driven.assert_adds_up();
        }
        driven.flush(Haste::Latency);
        let tally = driven.engine.tally();
        assert_eq!(tally.rejects.total(), 0, "{mode}");
        let left = GENERATIONS as u64 - driven.engine.symbol_count() as u64;
        assert_eq!(tally.expired, left, "{mode}");
        for generation in 0..GENERATIONS {
            let name = contract(generation);
            let expected = alone(mode, &name, life(generation));
            assert_eq!(expected.len(), 9 - UNFORECAST);
            assert_eq!(driven.of_symbol(&name), expected, "{mode}: {name}");
        }
        // Nothing piles up where nobody stores states.
        let Expiry { streams, parting, gone, told, .. } = &driven.engine.expiry;
        assert_eq!((streams.len(), parting.len(), gone.len(), told.len()), (1, 0, 0, 0));
        assert!(driven.engine.changed.len() <= 5 && driven.engine.index.len() <= 5);
    }
}

#[test]
fn without_the_limit_the_sixth_contract_is_refused_for_ever() {
    let mut driven = driven(Mode::Sliding, 5);
    driven.engine = driven.engine.with_policy(EnginePolicy::default());
    for generation in 0..9 {
        let pushed = push(&mut driven, &format!("C{generation}"), 1000 * generation);
        let full = Pushed::Refused(Reject::TooManySymbols);
        assert_eq!(pushed, if generation < 5 { Pushed::Taken } else { full }, "{generation}");
    }
    assert_eq!(driven.engine.tally().expired, 0);
}

#[test]
fn a_symbol_that_comes_back_too_late_begins_cold() {
    let limit = i64::from(TTL_MINUTES);
    for mode in MODES {
        for (silence, is_cold) in [(limit, false), (limit + 1, true)] {
            let mut driven = driven(mode, 9);
            let (last, back) = (7, 7 + silence);
            driven.run("A", 0..=last);
            driven.run("A", back..back + 8);
            let forecasts = driven.of_symbol("A");
            let before = last as usize + 1 - UNFORECAST;
            if is_cold {
                let mut expected = alone(mode, "A", 0..=last);
                expected.extend(alone(mode, "A", back..back + 8));
                assert_eq!(forecasts, expected, "{mode}");
                // A new symbol has no forecast to be scored by its first step.
                assert_eq!(
                    driven.engine.newest_expired(),
                    Some(&Expired {
                        symbol: Symbol::new("A").unwrap(),
                        newest_tick: Some(time(last)),
                    })
                );
            } else {
                assert_eq!(forecasts.len(), before + 8, "{mode}");
            }
            assert_eq!(driven.engine.tally().expired, u64::from(is_cold), "{mode}");
            driven.assert_adds_up();
        }
    }
}

#[test]
fn the_clock_of_a_stream_finds_who_is_silent() {
    for mode in MODES {
        let mut driven = driven(mode, 9);
        driven.run("A", 0..4);
        driven.run("B", 0..60);
        assert_eq!(names(&driven), ["B"], "{mode}");
        assert_eq!(driven.engine.tally().expired, 1);
        assert_eq!(driven.of_symbol("B"), alone(mode, "B", 0..60), "{mode}");
        // What A has said is not said again, nor anything before it.
        for minute in [0, 3] {
            let pushed = push(&mut driven, "A", minute);
            assert_eq!(pushed, Pushed::Refused(Reject::OutOfOrder), "{minute}");
        }
        assert_eq!(names(&driven), ["B"]);
        assert_eq!(push(&mut driven, "A", 59), Pushed::Taken);
        driven.run("A", 60..70);
        assert_eq!(driven.of_symbol("A")[1..], alone(mode, "A", 59..70), "{mode}: cold");
        driven.assert_adds_up();
    }
}

#[test]
fn silence_of_everything_lets_nobody_go() {
    let mut driven = driven(Mode::Sliding, 9);
    driven.run("A", 0..4);
    driven.run("B", 0..4);
    // The first tick after a long pause is silent for itself alone, until the others have spoken.
    for haste in [Haste::Latency, Haste::Throughput] {
        driven.flush(haste);
    }
    assert_eq!((names(&driven).len(), driven.engine.tally().expired), (2, 0));
}

#[test]
fn each_partition_has_a_clock_of_its_own() {
    let at = |partition, offset| Some(Position { partition: PartitionId(partition), offset });
    let mut driven = driven(Mode::Sliding, 9);
    driven.engine.keep_departures();
    for minute in 0..6 {
        let far = 10_000 + minute;
        for (symbol, minute, position) in [
            ("A", far, at(1, far)),
            ("B", minute, at(2, minute)),
            ("C", minute, at(2, minute + 100)),
        ] {
            let tick = tick(symbol, minute, price(symbol, minute));
            assert_eq!(driven.push_at(&tick, position, Haste::Latency), Pushed::Taken, "{symbol}");
        }
    }
    driven.flush(Haste::Latency);
    assert_eq!((names(&driven).len(), driven.engine.tally().expired), (3, 0));
    taken(&mut driven);
    for minute in 6..40 {
        let tick = tick("B", minute, price("B", minute));
        driven.push_at(&tick, at(2, 1000 + minute), Haste::Latency);
    }
    driven.flush(Haste::Latency);
    assert_eq!(names(&driven), ["A", "B"]);
    driven.engine.begin_taking();
    assert_eq!(departures(&mut driven), [(at(2, 105), "C is gone".to_owned())]);
    // What is known of a partition goes with it.
    driven.engine.evict(PartitionId(2));
    assert_eq!(driven.engine.expiry.streams.len(), 1);
    driven.engine.clear();
    assert!(driven.engine.expiry.streams.is_empty());
}

/// Records of one partition: one symbol is steady, one is silent for longer than the limit, and two
/// need a place that there is once others have left.
fn contracts() -> Vec<(&'static str, i64)> {
    let mut records = Vec::new();
    for minute in 0..60 {
        records.push(("A", minute));
        records.extend((!(12..34).contains(&minute)).then_some(("B", minute)));
        records.extend((20..30).contains(&minute).then_some(("C", minute)));
        records.extend((minute >= 40).then_some(("D", minute)));
    }
    records
}

/// Takes the records from one minute up to another, each at its place.
fn run(driven: &mut Driven, minutes: std::ops::Range<i64>, origin: Origin) {
    driven.engine.set_origin(origin);
    for (offset, (symbol, minute)) in (0i64..).zip(contracts()) {
        if minutes.contains(&minute) {
            let tick = tick(symbol, minute, price(symbol, minute));
            driven.push_at(&tick, place(offset), Haste::Latency);
        }
    }
    driven.flush(Haste::Latency);
}

#[test]
fn a_topic_that_is_read_for_its_history_leaves_the_symbols_of_a_replay() {
    let seam = Seam { is_joined: true, covers: DurationNanos::ZERO };
    // What was said from a minute on, and the symbols that are left.
    let outcome = |driven: &Driven, from: i64| {
        let mut names = names(driven);
        names.sort_unstable();
        let said = ["A", "B", "C", "D"].map(|symbol| {
            let mut said = driven.of_symbol(symbol);
            said.retain(|forecast| forecast.as_of >= time(from));
            said
        });
        (names, said)
    };
    for mode in MODES {
        let mut replay = driven(mode, 3);
        run(&mut replay, 0..60, Origin::Live);
        assert!(replay.engine.tally().expired > 0 && replay.engine.tally().rejects.total() > 0);
        for switch in (2..60).step_by(6) {
            let mut warm = driven(mode, 3);
            run(&mut warm, 0..switch, Origin::History(seam));
            // Killed before its first commit, it begins again; then from what was stored.
            let at_rest = warm.engine.snapshot();
            run(&mut warm, switch..60, Origin::Live);
            assert_eq!(outcome(&warm, switch), outcome(&replay, switch), "{mode}, {switch}");
            for killed in (switch..60).step_by(9) {
                let mut before = driven(mode, 3);
                assert!(before.engine.restore(&at_rest, Some(PARTITION)).unwrap().is_empty());
                run(&mut before, switch..killed, Origin::Live);
                let at_rest = before.engine.snapshot();
                let mut again = driven(mode, 3);
                assert!(again.engine.restore(&at_rest, Some(PARTITION)).unwrap().is_empty());
                run(&mut again, killed..60, Origin::Live);
                assert_eq!(outcome(&again, killed), outcome(&replay, killed), "{mode}, {killed}");
            }
        }
    }
}

#[test]
fn a_partition_that_has_ended_makes_room_where_it_is_needed() {
    let mut driven = driven(Mode::Sliding, 3);
    for generation in 0..30 {
        // Each contract has a partition of its own, whose clock ends with it.
        let partition = PartitionId(generation as u32);
        for minute in 12 * generation..12 * generation + 9 {
            let name = format!("C{generation}");
            let tick = tick(&name, minute, price(&name, minute));
            let position = Some(Position { partition, offset: minute });
            let pushed = driven.push_at(&tick, position, Haste::Latency);
            assert_eq!(pushed, Pushed::Taken, "{name}");
        }
    }
    assert_eq!((driven.engine.symbol_count(), driven.engine.tally().expired), (3, 27));
}

#[test]
fn repeats_and_refused_ticks_move_no_clock() {
    let mut driven = driven(Mode::Sliding, 9);
    for minute in 0..5 {
        driven.push_at(&tick("A", minute, 100.0), place(minute), Haste::Latency);
        driven.push_at(&tick("B", minute, 100.0), place(100 + minute), Haste::Latency);
    }
    // Read again from before, with another time.
    let again = driven.push_at(&tick("A", 10_000, 100.0), place(3), Haste::Latency);
    assert_eq!(again, Pushed::Repeated);
    let elsewhere = Some(Position { partition: PartitionId(77), offset: 9 });
    let pushed = driven.push_at(&tick("A", 10_000, 100.0), elsewhere, Haste::Latency);
    assert_eq!(pushed, Pushed::Refused(Reject::OtherPartition));
    driven.flush(Haste::Latency);
    assert_eq!((names(&driven).len(), driven.engine.tally().expired), (2, 0));
}

#[test]
fn whoever_stores_states_hears_of_a_departure_once_it_is_safe() {
    for mode in MODES {
        let mut driven = driven(mode, 9);
        driven.engine.keep_departures();
        driven.run("A", 0..4);
        driven.run("B", 0..4);
        assert_eq!(taken(&mut driven), [""; 0], "{mode}");
        driven.run("B", 4..60);
        assert_eq!(taken(&mut driven), ["A is gone"], "its state was taken before");
        // A symbol that came and left since the last taking: an input that is read again from
        // there must meet a state that knows its records.
        driven.run("C", 60..64);
        driven.run("B", 60..120);
        assert_eq!(taken(&mut driven), ["last of C"]);
        assert_eq!(taken(&mut driven), ["C is gone"]);
        assert_eq!(taken(&mut driven), [""; 0]);
        // One that is back has a state that replaces the stored one.
        driven.run("D", 120..124);
        taken(&mut driven);
        driven.run("B", 120..180);
        driven.run("D", 180..182);
        let mut states = Vec::new();
        driven.engine.begin_taking();
        assert_eq!(departures(&mut driven), []);
        driven.engine.take_changed(9, |_, state| states.push(state.symbol().to_owned()));
        assert_eq!(states, ["B", "D"], "the longest waiting first");
    }
}

#[test]
fn what_left_during_a_taking_is_told_with_the_next_one() {
    let mut driven = driven(Mode::Sliding, 9);
    driven.engine.keep_departures();
    driven.run("A", 0..4);
    driven.run("B", 0..4);
    assert_eq!(driven.engine.begin_taking(), 2);
    driven.engine.take_changed(1, |_, state| assert_eq!(state.symbol(), "A"));
    driven.run("B", 4..60);
    assert_eq!(departures(&mut driven), [], "the taking began with A");
    driven.engine.take_changed(1, |_, state| assert_eq!(state.symbol(), "B"));
    assert_eq!(taken(&mut driven), ["A is gone"]);
}

#[test]
fn restored_symbols_go_on_with_their_clock() {
    for mode in MODES {
        let mut before = driven(mode, 9);
        before.engine.keep_departures();
        before.run("A", 0..8);
        before.run("B", 0..20);
        let states = before.engine.snapshot();
        let mut after = driven(mode, 9);
        after.engine.keep_departures();
        assert!(after.engine.restore(&states, None).unwrap().is_empty());
        assert_eq!((names(&after), names(&before)), (vec!["A".into(), "B".into()], names(&after)));
        for driven in [&mut before, &mut after] {
            driven.run("B", 20..40);
            assert_eq!(names(driven), ["B"], "{mode}");
        }
        let said: Vec<Forecast> = before.of_symbol("B");
        assert_eq!(after.of_symbol("B"), said[said.len() - 20..], "{mode}");
        // One that had left, and whose state was still stored, leaves again.
        let mut third = driven(mode, 9);
        third.engine.keep_departures();
        let stored = [states[0].clone(), before.engine.snapshot().remove(0)];
        assert!(third.engine.restore(&stored, None).unwrap().is_empty());
        assert_eq!(names(&third), ["B"], "{mode}");
        assert_eq!(taken(&mut third), ["A is gone"]);
        // Where not all have room, the silent ones have none.
        let mut narrow = driven(mode, 1);
        assert_eq!(narrow.engine.restore(&states, None).unwrap().len(), 1);
        assert_eq!(names(&narrow), ["B"], "{mode}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// However ticks are chunked, all modes say what each life of a symbol says alone.
    #[test]
    fn every_life_of_a_symbol_says_what_it_says_alone(
        events in proptest::collection::vec((0..6usize, 0..7i64, 0..4u8), 1..120),
    ) {
        const SYMBOLS: [&str; 6] = ["A", "B", "C", "D", "E", "F"];
        let limit = i64::from(TTL_MINUTES);
        let mut tallies = Vec::new();
        for mode in MODES {
            let mut driven = driven(mode, 6);
            // The lives of each symbol, as minutes; those with a step too far are two.
            let mut lives: Vec<Vec<Vec<i64>>> = vec![Vec::new(); SYMBOLS.len()];
            let mut minute = 0;
            for (symbol, wait, cut) in &events {
                minute += wait;
                let tick = tick(SYMBOLS[*symbol], minute, price(SYMBOLS[*symbol], minute));
                let haste = if *cut == 1 { Haste::Throughput } else { Haste::Latency };
                let pushed = driven.push_at(&tick, None, haste);
                let lives = &mut lives[*symbol];
                let newest = lives.last().and_then(|life| life.last()).copied();
                match newest {
                    Some(newest) if newest == minute => {
                        prop_assert_eq!(pushed, Pushed::Refused(Reject::Duplicate));
                        continue;
                    }
                    Some(newest) if minute - newest <= limit => {
                        lives.last_mut().unwrap().push(minute);
                    }
                    _ => lives.push(vec![minute]),
                }
                prop_assert_eq!(pushed, Pushed::Taken);
                if *cut <= 1 {
                    driven.flush(haste);
                }
                driven.assert_adds_up();
            }
            driven.flush(Haste::Latency);
            for (name, lives) in SYMBOLS.iter().zip(&lives) {
                let mut expected = Vec::new();
                for life in lives {
                    let mut alone = self::driven(mode, 1);
                    alone.run(name, life.iter().copied());
                    expected.extend(alone.of_symbol(name));
                }
                prop_assert_eq!(driven.of_symbol(name), expected, "{} in {}", name, mode);
            }
            let begun: usize = lives.iter().map(Vec::len).sum();
            let left = begun - driven.engine.symbol_count();
            prop_assert_eq!(driven.engine.tally().expired, left as u64);
            tallies.push(driven.engine.tally().clone());
        }
        prop_assert_eq!(&tallies[0], &tallies[1]);
    }
}
