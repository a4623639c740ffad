//! Exactness: every way of driving the same model over the same data gives the same bits.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tickcast::core::domain::{
    Field, Fields, Forecast, PartitionId, Position, Quality, Reject, Step, Tick, UnixNanos,
};
use tickcast::core::signal::SignalRule;
use tickcast::engine::inference::NativeRuntime;
use tickcast::engine::model::manifest::Mode;
use tickcast::engine::model::{Bundle, Draft};
use tickcast::engine::state::{StateCodec, StateError};
use tickcast::engine::symbols::{Engine, EngineLimits, Haste, Pushed};
use tickcast::engine::wire::forecast::ForecastRecord;

use crate::support::bundle::{SealedBundle, range, sealed, sealed_of, sealed_with};
use crate::support::feed::ScriptedFeed;
use crate::support::network::Network;
use crate::support::poison::Poison;
use crate::support::process::Daemon;
use crate::support::{repository, runtime};

/// One step of a random life of an engine.
#[derive(Clone, Debug)]
enum Event {
    /// A tick of the symbol at this index, its price and volume.
    Tick(usize, f64, f64),
    /// The end of a chunk: infer, then move the states on.
    Chunk,
    /// The end of a chunk while more waits: both in one.
    HurriedChunk,
    /// Everything into rest, and a new engine from there.
    Restart,
    /// Nothing for longer than the steps of one window may lie apart.
    Silence,
    /// One partition of the input leaves this engine and comes back.
    Rebalance(u32),
}

/// Partitions of the input; each symbol is in one of them.
const PARTITIONS: u32 = 2;

const DAY_NANOS: i64 = 86_400_000_000_000;

/// How far apart the daily steps of one window may lie, by default.
const GAP_NANOS: i64 = 10 * DAY_NANOS;

/// Stored states by symbol, as a compacted topic holds them, with their partitions.
type Stored = BTreeMap<String, (PartitionId, Vec<u8>)>;

/// What identifies a forecast, and its bits.
type Bits = BTreeMap<(String, i64), [u64; 3]>;

/// What came of a life.
#[derive(Debug, Default, PartialEq)]
struct Lived {
    forecasts: Bits,
    /// Likewise of scores.
    scores: Bits,
}

fn events(symbols: usize, count: usize) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        20 => (0..symbols, 50.0..150.0, 0.0..1000.0).prop_map(|(s, p, v)| Event::Tick(s, p, v)),
        3 => Just(Event::Chunk),
        3 => Just(Event::HurriedChunk),
        1 => Just(Event::Restart),
        1 => (0..PARTITIONS).prop_map(Event::Rebalance),
    ];
    proptest::collection::vec(event, count)
}

/// The same with a silence somewhere.
fn events_around_a_silence(symbols: usize, count: usize) -> impl Strategy<Value = Vec<Event>> {
    (events(symbols, count), 0..count).prop_map(|(mut events, place)| {
        events.insert(place, Event::Silence);
        events
    })
}

/// The event times of events: a quarter of a day each.
fn times(events: &[Event]) -> impl Iterator<Item = i64> {
    events.iter().scan(0, |time, event| {
        let silence = if matches!(event, Event::Silence) { GAP_NANOS } else { 0 };
        *time += DAY_NANOS / 4 + silence;
        Some(*time)
    })
}

/// What computes the models of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// ONNX Runtime, with poisoned tensors where they are asked for.
    Onnx,
    /// The native runtime, whose states never lie in a tensor of a run.
    Native,
}

fn by() -> impl Strategy<Value = By> {
    prop_oneof![Just(By::Onnx), Just(By::Native)]
}

fn engine(sealed: &SealedBundle, mode: Mode, batch_rows_max: usize, poisoned: bool) -> Engine {
    engine_by(By::Onnx, sealed, mode, batch_rows_max, poisoned)
}

fn engine_by(
    by: By,
    sealed: &SealedBundle,
    mode: Mode,
    batch_rows_max: usize,
    poisoned: bool,
) -> Engine {
    let bundle = &sealed.bundle;
    let states = bundle.signature().states.len();
    let mut backend = match by {
        By::Onnx => bundle.open(runtime()).unwrap(),
        By::Native => bundle.open(&NativeRuntime::new()).unwrap(),
    };
    if poisoned && by == By::Onnx {
        backend = Box::new(Poison::new(backend, states));
    }
    let limits = EngineLimits { symbols_max: 100, batch_rows_max };
    let mut plans = bundle.plans().clone();
    // So that the signal of a forecast depends on what came before it.
    plans.score = plans.score.with_signals(SignalRule { release: 0.5, cooldown_steps: 2 });
    let mut engine = Engine::new(plans, mode, bundle.signature(), backend, limits).unwrap();
    engine.scores_mut().keep();
    engine
}

fn fields(price: f64, volume: f64) -> Fields {
    let mut fields = Fields::EMPTY;
    fields.set_checked(Field::CLOSE, price).unwrap();
    fields.set_checked(Field::VOLUME, volume).unwrap();
    fields
}

/// Brings what has changed into the stored states.
fn store(engine: &mut Engine, codec: &StateCodec, stored: &mut Stored) {
    engine.take_changed(usize::MAX, |position, state| {
        let (bytes, partition) = (codec.encode(&state), position.unwrap().partition);
        stored.insert(state.symbol().to_owned(), (partition, bytes));
    });
}

/// Brings a partition's stored states into an engine.
fn restore(engine: &mut Engine, codec: &StateCodec, stored: &Stored, partition: PartitionId) {
    let states = stored.values().filter(|(home, _)| *home == partition);
    let states: Vec<_> = states.map(|(_, bytes)| codec.decode(bytes).unwrap()).collect();
    assert!(engine.restore(&states, Some(partition)).unwrap().is_empty());
}

fn collect(engine: &mut Engine, forecasts: &mut Vec<Forecast>, lived: &mut Lived) {
    for forecast in forecasts.drain(..) {
        let symbol = engine.symbol(forecast.symbol).as_str().to_owned();
        let values = [forecast.value, forecast.price.unwrap(), forecast.lower].map(f64::to_bits);
        let before = lived.forecasts.insert((symbol, forecast.as_of.as_nanos()), values);
        assert_eq!(before, None, "one forecast per step");
    }
    let (book, names) = engine.scores_and_names();
    for score in book.take() {
        let key = (names.of(score.symbol).as_str().to_owned(), score.as_of.as_nanos());
        assert_eq!(score.value.to_bits(), lived.forecasts[&key][0], "of a forecast that was made");
        let values = [score.error(), score.skill.unwrap_or(f64::NAN), score.upper];
        let before = lived.scores.insert(key, values.map(f64::to_bits));
        assert_eq!(before, None, "one score per forecast");
    }
}

/// Lives through the events; without chunks and restarts where `plain`.
fn live(
    mut engine: Engine,
    codec: &StateCodec,
    events: &[Event],
    mut renew: Option<&mut dyn FnMut() -> Engine>,
) -> Lived {
    let (mut lived, mut forecasts) = (Lived::default(), Vec::new());
    let (mut stored, mut newest) = (Stored::new(), BTreeMap::new());
    for (offset, (event, time)) in (0..).zip(events.iter().zip(times(events))) {
        match (event, &mut renew) {
            (Event::Tick(index, price, volume), _) => {
                let symbol = format!("S{index}");
                let partition = PartitionId(*index as u32 % PARTITIONS);
                let position = Some(Position { partition, offset });
                let time = UnixNanos::from_nanos(time);
                let fields = fields(*price, *volume);
                let tick = Tick { symbol: symbol.as_str().into(), time, fields };
                if engine.push(&tick, position) == Pushed::Waiting {
                    engine.infer(Haste::Latency, &mut forecasts).unwrap();
                    engine.advance().unwrap();
                    assert_eq!(engine.push(&tick, position), Pushed::Taken);
                }
                newest.insert(*index, (time, fields, position));
            }
            (Event::Chunk, Some(_)) => {
                engine.infer(Haste::Latency, &mut forecasts).unwrap();
                collect(&mut engine, &mut forecasts, &mut lived);
                engine.advance().unwrap();
            }
            (Event::HurriedChunk, Some(_)) => {
                engine.infer(Haste::Throughput, &mut forecasts).unwrap();
                collect(&mut engine, &mut forecasts, &mut lived);
            }
            (Event::Restart, Some(renew)) => {
                engine.infer(Haste::Latency, &mut forecasts).unwrap();
                collect(&mut engine, &mut forecasts, &mut lived);
                engine.advance().unwrap();
                store(&mut engine, codec, &mut stored);
                engine = renew();
                for partition in 0..PARTITIONS {
                    restore(&mut engine, codec, &stored, PartitionId(partition));
                }
                // What is read again from before the stored place changes nothing.
                for (index, (time, fields, position)) in &newest {
                    let symbol = format!("S{index}").into();
                    let tick = Tick { symbol, time: *time, fields: *fields };
                    assert_eq!(engine.push(&tick, *position), Pushed::Repeated);
                }
            }
            (Event::Rebalance(partition), Some(_)) => {
                engine.infer(Haste::Latency, &mut forecasts).unwrap();
                collect(&mut engine, &mut forecasts, &mut lived);
                engine.advance().unwrap();
                store(&mut engine, codec, &mut stored);
                engine.evict(PartitionId(*partition));
                restore(&mut engine, codec, &stored, PartitionId(*partition));
                assert_eq!(engine.symbol_count(), newest.len());
            }
            (Event::Silence, _) => {}
            (Event::Chunk | Event::HurriedChunk | Event::Restart | Event::Rebalance(_), None) => {}
        }
    }
    engine.infer(Haste::Latency, &mut forecasts).unwrap();
    collect(&mut engine, &mut forecasts, &mut lived);
    // Scored is what has a next step, not so far away that it begins a cold window.
    let (mut newest, mut scored) = (BTreeMap::new(), BTreeSet::new());
    for (event, time) in events.iter().zip(times(events)) {
        let Event::Tick(symbol, ..) = event else { continue };
        if let Some(before) = newest.insert(symbol, time)
            && time - before <= GAP_NANOS
        {
            scored.insert((format!("S{symbol}"), before));
        }
    }
    let expected: Vec<_> = lived.forecasts.keys().filter(|key| scored.contains(*key)).collect();
    assert_eq!(lived.scores.keys().collect::<Vec<_>>(), expected);
    lived
}

/// What the network in plain Rust says about every full window; in mode `carried` about all rows
/// since the first one.
fn reference(sealed: &SealedBundle, mode: Mode, events: &[Event]) -> BTreeMap<(String, i64), f64> {
    let plans = sealed.bundle.plans();
    let mut symbols = BTreeMap::new();
    let mut values = BTreeMap::new();
    for (event, time) in events.iter().zip(times(events)) {
        let Event::Tick(symbol, price, volume) = event else { continue };
        let features = plans.features.raw();
        let new = || (features.initial_state(), Vec::<Vec<f32>>::new());
        // A step more than ten days behind the one before begins a cold window.
        let (newest, known) = symbols.entry(symbol).or_insert_with(|| (time, new()));
        if time - std::mem::replace(newest, time) > GAP_NANOS {
            *known = new();
        }
        let (state, window) = known;
        let mut scratch = features.scratch();
        let fields = fields(*price, *volume);
        let step =
            Step { time: UnixNanos::from_nanos(time), fields, after_gap: false, patched: false };
        let status = plans.features.row(state, &step, &mut scratch).unwrap();
        state.absorb(&scratch);
        if status != tickcast::core::features::RowStatus::Warming {
            window.push(scratch.row().to_vec());
        }
        if window.len() > plans.window_steps && mode != Mode::Carried {
            window.remove(0);
        }
        if window.len() >= plans.window_steps {
            let output = sealed.network.forward(window);
            let scaler = sealed.bundle.manifest().target.scaler.single().unwrap();
            values.insert((format!("S{symbol}"), time), scaler.invert(output));
        }
    }
    values
}

/// Single precision against double, in the target's unit.
fn assert_close(bits: &Bits, reference: &BTreeMap<(String, i64), f64>) {
    assert_eq!(bits.len(), reference.len());
    for (key, value) in reference {
        let ours = f64::from_bits(bits[key][0]);
        assert!((ours - value).abs() < 1e-6, "{key:?}: {ours} and {value}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn sliding_equals_full_bit_for_bit(
        by in by(),
        seed in any::<u64>(),
        window in 1u32..9,
        layers in proptest::collection::vec(1usize..24, 1..4),
        batch_rows_max in prop_oneof![Just(1usize), Just(2), Just(3), Just(7), Just(64), Just(512)],
        events in (1usize..6).prop_flat_map(|symbols| events_around_a_silence(symbols, 120)),
    ) {
        let sealed = sealed(seed, window, &layers);
        let codec = StateCodec::new(sealed.bundle.manifest(), Mode::Sliding);
        let full = live(engine_by(by, &sealed, Mode::Full, 512, true), &codec, &events, None);
        let mut renew = || engine_by(by, &sealed, Mode::Sliding, batch_rows_max, true);
        let sliding = live(renew(), &codec, &events, Some(&mut renew));
        prop_assert_eq!(&sliding, &full);
        let mut renew = || engine_by(by, &sealed, Mode::Full, batch_rows_max, true);
        prop_assert_eq!(&live(renew(), &codec, &events, Some(&mut renew)), &full);

        // The second opinion: an LSTM in plain Rust and double precision.
        assert_close(&full.forecasts, &reference(&sealed, Mode::Full, &events));
    }

    /// Features that remember more than a step come back from a restart with every bit.
    #[test]
    fn features_with_a_memory_are_exact_as_well(
        by in by(),
        seed in any::<u64>(),
        window in 1u32..9,
        batch_rows_max in prop_oneof![Just(1usize), Just(3), Just(512)],
        events in (1usize..5).prop_flat_map(|symbols| events(symbols, 160)),
    ) {
        let columns = [
            range("ema_gap(2)", -1.0, 1.0),
            range("rsi(1)", 0.0, 100.0),
            range("volatility(3)", 0.0, 1.0),
        ];
        let sealed = sealed_of(columns, seed, window, &[8]);
        let codec = StateCodec::new(sealed.bundle.manifest(), Mode::Sliding);
        let full = live(engine_by(by, &sealed, Mode::Full, 512, true), &codec, &events, None);
        prop_assert!(!full.forecasts.is_empty());
        let mut renew = || engine_by(by, &sealed, Mode::Sliding, batch_rows_max, true);
        prop_assert_eq!(&live(renew(), &codec, &events, Some(&mut renew)), &full);
        assert_close(&full.forecasts, &reference(&sealed, Mode::Full, &events));
    }

    #[test]
    fn carried_states_are_the_same_however_the_stream_is_cut(
        by in by(),
        seed in any::<u64>(),
        window in 1u32..5,
        layers in proptest::collection::vec(1usize..16, 1..3),
        batch_rows_max in prop_oneof![Just(1usize), Just(3), Just(512)],
        events in (1usize..6).prop_flat_map(|symbols| events_around_a_silence(symbols, 80)),
    ) {
        let carried = |draft: &mut Draft| draft.manifest.modes = vec![Mode::Carried];
        let sealed = sealed_with(seed, window, &layers, carried);
        let codec = StateCodec::new(sealed.bundle.manifest(), Mode::Carried);
        let whole = live(engine_by(by, &sealed, Mode::Carried, 512, false), &codec, &events, None);
        let mut renew = || engine_by(by, &sealed, Mode::Carried, batch_rows_max, true);
        prop_assert_eq!(&live(renew(), &codec, &events, Some(&mut renew)), &whole);
        assert_close(&whole.forecasts, &reference(&sealed, Mode::Carried, &events));
    }
}

#[test]
fn the_state_of_another_models_features_is_refused() {
    let columns = |first: &str| {
        [range(first, -1.0, 1.0), range("close", 0.0, 200.0), range("volume", 0.0, 1000.0)]
    };
    let [mut long, mut short] = ["volatility(3)", "volatility(2)"]
        .map(|first| engine(&sealed_of(columns(first), 1, 2, &[4]), Mode::Full, 1, false));
    let tick =
        Tick { symbol: "A".into(), time: UnixNanos::from_nanos(0), fields: fields(100.0, 1.0) };
    assert_eq!(long.push(&tick, None), Pushed::Taken);
    long.infer(Haste::Latency, &mut Vec::new()).unwrap();
    long.advance().unwrap();
    let refused = short.restore(&long.snapshot(), None).unwrap();
    let words: Vec<_> = refused.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["the stored features of symbol `A` belong to another model"]);
    assert_eq!(short.symbol_count(), 0, "a refused symbol is as unknown as before");
}

#[test]
fn the_seed_models_shape_is_exact_over_many_symbols() {
    let sealed = sealed(7, 30, &[64, 32]);
    // Without optimization the native kernels take milliseconds a step.
    for (by, symbols) in [(By::Onnx, 24_u32), (By::Native, 2)] {
        let mut events = Vec::new();
        for step in 0..75 {
            for symbol in 0..symbols {
                let phase = f64::from(step * symbol);
                let (price, volume) = (100.0 + 20.0 * phase.sin(), phase % 900.0);
                events.push(Event::Tick(symbol as usize, price, volume));
            }
            events.push(if step % 3 == 0 { Event::HurriedChunk } else { Event::Chunk });
        }
        events.insert(events.len() / 2, Event::Restart);
        let codec = StateCodec::new(sealed.bundle.manifest(), Mode::Sliding);
        let full = live(engine_by(by, &sealed, Mode::Full, 512, false), &codec, &events, None);
        let mut renew = || engine_by(by, &sealed, Mode::Sliding, 512, true);
        assert_eq!(live(renew(), &codec, &events, Some(&mut renew)), full);
        // One warming step for `change`, 29 for the window.
        assert_eq!(full.forecasts.len(), symbols as usize * (75 - 30));
    }
}

/// The committed model, as `make demo` runs it.
fn committed() -> Bundle {
    Bundle::read(&repository().join("models/aapl-daily/1")).unwrap()
}

#[test]
fn the_committed_model_agrees_with_a_second_opinion() {
    let bundle = committed();
    let network = Network::read(bundle.onnx());
    let cases = &bundle.golden().cases;
    assert_eq!(cases.len(), 8);
    for (index, case) in cases.iter().enumerate() {
        let second = network.forward(&case.window);
        let golden = f64::from(case.output[0]);
        assert!((second - golden).abs() < 1e-6, "case {index}: {second} and {golden}");
    }
}

#[test]
fn the_daemon_says_what_the_golden_vectors_say() {
    let bundle = committed();
    let network = Network::read(bundle.onnx());
    let scaler = bundle.manifest().target.scaler.single().unwrap();
    let feed = ScriptedFeed::start();
    let models = repository().join("models");
    let settings = "model.version = '1'";
    let daemon = Daemon::start(&models, "aapl-daily", feed.url(), settings);
    for (index, case) in bundle.golden().cases.iter().enumerate() {
        for step in &case.steps {
            let mut record = serde_json::to_value(&step.fields).unwrap();
            record["symbol"] = format!("CASE{index}").into();
            record["time"] = step.time.to_string().into();
            feed.say(record.to_string());
        }
    }
    let cases = &bundle.golden().cases;
    daemon.await_metric("tickcast_forecasts_total", cases.len() as f64);
    let ended = daemon.stop();
    assert!(ended.status.success());
    let lines: Vec<_> = ended.lines.lines().collect();
    assert_eq!(lines.len(), cases.len(), "one full window per case");
    for ((index, case), line) in cases.iter().enumerate().zip(lines) {
        let forecast: ForecastRecord<'_> = serde_json::from_str(line).unwrap();
        assert_eq!(forecast.symbol, format!("CASE{index}"));
        // One step of f32 in model units is below 1e-7 here; the unit of the value is smaller.
        let golden = scaler.invert(f64::from(case.output[0]));
        let second = scaler.invert(network.forward(&case.window));
        assert!((forecast.value - golden).abs() < 1e-7, "{} and {golden}", forecast.value);
        assert!((forecast.value - second).abs() < 1e-6, "{} and {second}", forecast.value);
        let last = case.steps.last().unwrap();
        assert_eq!(forecast.as_of, last.time);
        let price = last.fields["close"] * (1.0 + forecast.value);
        assert_eq!(forecast.price, Some(price));
    }
}

#[test]
fn stored_states_that_are_damaged_or_foreign_are_told_by_name() {
    let sealed = sealed(3, 3, &[4]);
    let mut engine = engine(&sealed, Mode::Sliding, 8, false);
    let codec = StateCodec::new(sealed.bundle.manifest(), Mode::Sliding);
    let tick =
        Tick { symbol: "A".into(), time: UnixNanos::from_nanos(0), fields: fields(100.0, 1.0) };
    let position = Position { partition: PartitionId(0), offset: 7 };
    assert_eq!(engine.push(&tick, Some(position)), Pushed::Taken);
    engine.infer(Haste::Latency, &mut Vec::new()).unwrap();
    engine.advance().unwrap();
    let elsewhere = Position { partition: PartitionId(1), offset: 9 };
    assert_eq!(engine.push(&tick, Some(elsewhere)), Pushed::Refused(Reject::OtherPartition));
    let mut stored = Stored::new();
    store(&mut engine, &codec, &mut stored);
    let bytes = &stored["A"].1;
    assert_eq!(codec.decode(bytes).unwrap().symbol(), "A");
    for index in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[index] ^= 0x10;
        let expected = match index {
            0..4 => StateError::Foreign,
            4..6 => StateError::Version(7 ^ if index == 4 { 0x10 } else { 0x1000 }),
            _ => StateError::Damaged,
        };
        assert_eq!(codec.decode(&damaged), Err(expected), "byte {index}");
        let cut = codec.decode(&bytes[..index]).unwrap_err();
        assert!(matches!(cut, StateError::Foreign | StateError::Damaged), "{cut}");
    }
    let other = StateCodec::new(sealed.bundle.manifest(), Mode::Full);
    assert_eq!(other.decode(bytes), Err(StateError::OtherModel));
}

#[test]
fn a_marked_record_stands_behind_a_gap_of_its_symbol_alone() {
    let (sealed, mode, home) = (sealed(7, 3, &[4]), Mode::Full, PartitionId(0));
    let codec = StateCodec::new(sealed.bundle.manifest(), mode);
    let at = |offset: i64| Some(Position { partition: home, offset });
    let push = |engine: &mut Engine, symbol: &str, offset: i64| {
        let time = UnixNanos::from_nanos(offset * 86_400_000_000_000);
        let tick = Tick { symbol: symbol.into(), time, fields: fields(100.0, 10.0) };
        assert_eq!(engine.push(&tick, at(offset)), Pushed::Taken);
        let mut forecasts = Vec::new();
        engine.infer(Haste::Latency, &mut forecasts).unwrap();
        engine.advance().unwrap();
        forecasts.first().map(|forecast| forecast.quality)
    };
    let mut engine = engine(&sealed, mode, 8, false);
    for offset in 0..20 {
        push(&mut engine, ["A", "B"][offset as usize % 2], offset);
    }
    engine.mark_gap_before("A", at(18));
    assert_eq!(push(&mut engine, "A", 20), Some(Quality::Full), "A had that record already");
    engine.mark_gap_before("A", Some(Position { partition: PartitionId(1), offset: 21 }));
    assert_eq!(push(&mut engine, "A", 21), Some(Quality::Full), "not A's partition");
    engine.mark_gap_before("C", at(22));
    // The record itself is refused, and the next one comes after a restart.
    engine.mark_gap_before("A", at(23));
    let mut stored = Stored::new();
    store(&mut engine, &codec, &mut stored);
    let mut engine = self::engine(&sealed, mode, 8, false);
    restore(&mut engine, &codec, &stored, home);
    let qualities = [24, 25, 26, 27].map(|offset| push(&mut engine, "A", offset).unwrap());
    let gapped = Quality::Gapped;
    assert_eq!(qualities, [gapped, gapped, gapped, Quality::Full]);
    assert_eq!(push(&mut engine, "B", 28), Some(Quality::Full));
    assert_eq!(engine.symbol_count(), 2, "a mark makes no symbol");
}
