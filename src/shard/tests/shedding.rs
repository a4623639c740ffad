//! Tests of shadows under load: what they leave out, and what they say afterwards.

use std::convert::Infallible;

use proptest::prelude::*;
use serde_json::Value;

use super::several::{by_version, model, of_version, several, three, trial};
use super::*;
use crate::core::domain::SymbolPatterns;
use crate::core::forecast::Intervals;
use crate::engine::inference::{Backend, InferenceError, Lane, Runtime, Shape, Signature};
use crate::engine::pipeline::{Pipelines, Role, StreamModel};
use crate::engine::symbols::{Haste, Withheld};

/// As the daemon has them: intervals follow from the scores so far.
fn adaptive() -> PipelineSettings {
    PipelineSettings { intervals: Intervals::Adaptive, ..settings() }
}

/// A model whose intervals miss some truths and hold others, so that they adapt.
fn adaptive_model(name: &str, role: Role, bundle: &Bundle) -> StreamModel {
    let pipeline = Pipeline::build(bundle, &NullRuntime, &adaptive()).unwrap();
    let symbols = SymbolPatterns::default();
    StreamModel { name: name.into(), symbols, seat: 0, role, pipeline }
}

/// A live model and its shadow.
fn pair(modes: &[Mode]) -> Pipelines {
    let models = vec![
        adaptive_model("a", Role::Live, &of_version("1", &[Mode::Full])),
        adaptive_model("s", Role::Shadow, &of_version("2", modes)),
    ];
    Pipelines::of(models, &adaptive()).unwrap()
}

/// Runs records through both models, of which the shadow takes those without inference for which
/// `is_shed` says so; returns what the model `s` says.
fn run(
    pipelines: &mut Pipelines,
    records: &[Record],
    mut is_shed: impl FnMut(usize) -> bool,
) -> Vec<Value> {
    let mut said = Vec::new();
    for (at, Record { bytes, position, .. }) in records.iter().enumerate() {
        let mut flush = |pipeline: &mut Pipeline| {
            pipeline.infer(Haste::Latency).unwrap();
            let is_second = pipeline.post().index == 1;
            let Ok(_) = pipeline.emit(|_, bytes| {
                said.extend(is_second.then(|| serde_json::from_slice(bytes).unwrap()));
                Ok::<_, Infallible>(())
            });
            pipeline.engine_mut().advance().unwrap();
            Ok::<_, Infallible>(())
        };
        let Ok(_) = pipelines.take(bytes, *position, None, || {}, &mut flush);
        let Ok(()) = pipelines.of_role_mut(Role::Live).try_for_each(&mut flush);
        let sheds = is_shed(at);
        let shadows = pipelines.of_role_mut(Role::Shadow);
        shadows.for_each(|pipeline| pipeline.engine_mut().shed_rows(sheds));
        let Ok(()) = pipelines.take_deferred(&mut flush);
        let Ok(()) = pipelines.of_role_mut(Role::Shadow).try_for_each(&mut flush);
    }
    said
}

/// A forecast without its interval and its mark of drift, which follow from scores, and what it
/// says of shed steps.
fn without_interval(forecast: &Value) -> (Value, Option<u64>) {
    let mut rest = forecast.clone();
    let fields = rest.as_object_mut().unwrap();
    let shed_steps = fields.remove("shed_steps").map(|count| count.as_u64().unwrap());
    assert!(fields.remove("lower").is_some() && fields.remove("upper").is_some());
    assert!(fields.remove("drift").is_some());
    (rest, shed_steps)
}

const MODES: [&[Mode]; 3] = [&[Mode::Full], &[Mode::Full, Mode::Sliding], &[Mode::Carried]];

/// Checks what a shadow says that sheds some records against one that sheds none. Returns how many
/// of its intervals differ.
fn check(modes: &[Mode], records: &[Record], shed: &[bool]) -> usize {
    let whole = run(&mut pair(modes), records, |_| false);
    assert_eq!(whole.len(), records.len() - UNFORECAST as usize);
    assert!(whole.iter().all(|forecast| forecast.get("shed_steps").is_none()));
    let mut pipelines = pair(modes);
    let said = run(&mut pipelines, records, |at| shed[at]);
    let tally = pipelines.at(1).engine().tally();
    assert_eq!(tally.steps, tally.warming + tally.forecasts + tally.withheld.total());
    let (mut said, mut count, mut differing) = (said.into_iter(), 0, 0);
    for (at, whole) in (UNFORECAST as usize..).zip(&whole) {
        if shed[at] && modes != [Mode::Carried] {
            count += 1;
            continue;
        }
        let forecast = said.next().unwrap();
        let (rest, shed_steps) = without_interval(&forecast);
        assert_eq!(rest, without_interval(whole).0, "the value is always the same");
        assert_eq!(shed_steps, (count > 0).then_some(count), "{modes:?} record {at}");
        if shed_steps.is_none() {
            assert_eq!(forecast, *whole, "{modes:?} record {at}");
        }
        differing += usize::from(forecast["upper"] != whole["upper"]);
    }
    assert_eq!(said.next(), None);
    assert_eq!(tally.withheld.get(Withheld::Shed), count, "{modes:?}");
    differing
}

fn prices(minutes: std::ops::Range<i64>) -> Vec<Record> {
    minutes.map(|minute| record("A", minute)).collect()
}

#[test]
fn after_shedding_values_are_the_same_and_a_count_says_what_the_intervals_lack() {
    let records = prices(0..30);
    for modes in MODES {
        for range in [0..0, 0..3, 2..9, 8..9, 8..20, 10..11, 29..30] {
            let shed: Vec<_> = (0..records.len()).map(|at| range.contains(&at)).collect();
            let differing = check(modes, &records, &shed);
            let is_touched = modes != [Mode::Carried] && range.start >= 8 && range.end < 30;
            assert_eq!(differing > 0, is_touched || (range == (2..9) && modes != [Mode::Carried]));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_shed_the_values_are_those_of_a_shadow_that_sheds_nothing(
        shed in proptest::collection::vec(any::<bool>(), 40),
        modes in 0..MODES.len(),
    ) {
        check(MODES[modes], &prices(0..40), &shed);
    }
}

#[test]
fn a_promoted_model_keeps_the_count_of_what_it_has_shed() {
    let records = prices(0..24);
    let mut pipelines = pair(&[Mode::Full, Mode::Sliding]);
    run(&mut pipelines, &records[..16], |at| (10..13).contains(&at));
    pipelines.promote(1);
    let said = run(&mut pipelines, &records[16..], |_| true);
    let counts: Vec<_> = said.iter().map(|forecast| forecast["shed_steps"].as_u64()).collect();
    assert_eq!(counts, [Some(3); 8], "a live model sheds nothing, and lacks what it has shed");
}

#[test]
fn a_commit_a_snapshot_and_a_gap_have_no_shadow_run_that_is_late() {
    let mut late = trial(three(), 1000);
    // Every record is older than nothing.
    late.shard = late.shard.shedding_behind(Some(Duration::ZERO));
    let mut commits = Vec::new();
    for minute in 0..20 {
        late.prices("A", minute..minute + 1);
        match minute % 4 {
            0 => commits.push(late.commit()),
            1 => drop(late.command(|answer| Command::Snapshot { answer })),
            2 => late.gap(),
            _ => {
                let _ = late.command(|answer| Command::Sample { model: 1, count_max: 1, answer });
            }
        }
    }
    let (tallies, log) = late.run_several();
    let [live, shadow, other] = tallies.unwrap().try_into().unwrap();
    let all = (20 - UNFORECAST) as u64;
    assert_eq!((live.forecasts, other.forecasts), (all, all));
    assert_eq!((shadow.forecasts, shadow.withheld.get(Withheld::Shed)), (0, all));
    assert!(by_version(&log).1.is_empty());
    // The states are there all the same.
    for (commit, minute) in commits.iter().zip((0..).step_by(4)) {
        let states = commit.recv().unwrap();
        let models: Vec<_> = states.iter().map(|state| state.model.as_deref().unwrap()).collect();
        assert_eq!(models, ["a-next", "a", "b"], "minute {minute}");
    }
}

#[test]
fn shadows_take_a_batch_in_runs_between_which_its_age_is_looked_at() {
    let bundle = of_version("2", &[Mode::Full]);
    let mut settings = settings();
    settings.limits.batch_rows_max = 4;
    let pipeline = Pipeline::build(&bundle, &NullRuntime, &settings).unwrap();
    let shadow = StreamModel { pipeline, ..model("s", Role::Shadow, 0, &bundle) };
    let mut pipelines =
        several(vec![model("a", Role::Live, 0, &of_version("1", &[Mode::Full])), shadow]);
    for minute in 0..=UNFORECAST {
        for index in 0..10 {
            let Record { bytes, position, .. } = record(&format!("S{index}"), minute);
            let Ok(_) = pipelines.take(&bytes, position, None, || {}, |_| Ok::<_, Infallible>(()));
        }
        let advance = |pipeline: &mut Pipeline| {
            pipeline.infer(Haste::Latency).unwrap();
            let count = pipeline.emit(|_, _| Ok::<_, Infallible>(())).unwrap();
            pipeline.engine_mut().advance().unwrap();
            count
        };
        advance(pipelines.live_mut());
        let mut runs = Vec::new();
        let Ok(()) = pipelines.take_deferred(|pipeline| {
            runs.push(advance(pipeline));
            // The batch has become late.
            pipeline.engine_mut().shed_rows(minute == UNFORECAST);
            Ok::<_, Infallible>(())
        });
        let at_the_end = advance(pipelines.at_mut(1));
        if minute == UNFORECAST {
            assert_eq!((runs, at_the_end), (vec![4], 0));
            assert_eq!(pipelines.at(1).engine().tally().withheld.get(Withheld::Shed), 6);
        }
    }
}

/// A runtime whose models note every run.
struct Noting(Log);

struct NotingModel(Box<dyn Backend>, Log);

impl Runtime for Noting {
    fn name(&self) -> &'static str {
        "noting"
    }

    fn build(&self) -> String {
        "none".to_owned()
    }

    fn open(&self, onnx: &[u8], signature: &Signature) -> Result<Box<dyn Backend>, InferenceError> {
        Ok(Box::new(NotingModel(NullRuntime.open(onnx, signature)?, self.0.clone())))
    }
}

impl Backend for NotingModel {
    fn lane(&mut self, shape: Shape) -> Result<Lane, InferenceError> {
        self.0.lane(shape)
    }

    fn rows_mut(&mut self, lane: Lane) -> &mut [f32] {
        self.0.rows_mut(lane)
    }

    fn state_mut(&mut self, lane: Lane, index: usize) -> &mut [f32] {
        self.0.state_mut(lane, index)
    }

    fn run(&mut self, lane: Lane) -> Result<(), InferenceError> {
        self.1.note("sink");
        self.0.run(lane)
    }

    fn output(&self, lane: Lane) -> &[f32] {
        self.0.output(lane)
    }

    fn next_state(&self, lane: Lane, index: usize) -> &[f32] {
        self.0.next_state(lane, index)
    }
}

#[test]
fn all_live_models_speak_before_the_states_of_any_move_on() {
    let log = Log::default();
    let models = [("a", 0), ("b", 1)].map(|(name, seat)| {
        let bundle = of_version(["1", "2"][seat], &[Mode::Full, Mode::Sliding]);
        let pipeline = Pipeline::build(&bundle, &Noting(log.clone()), &settings()).unwrap();
        StreamModel { pipeline, ..model(name, Role::Live, seat, &bundle) }
    });
    let (intake, receiver) = queue(100);
    let sinks = vec![MemorySink::new("sink", &log).boxed()];
    let mut shard =
        crate::shard::test_support::shard_with(several(models.into()), receiver, sinks, 10);
    // One by one, so that nothing waits behind a record.
    for minute in 0..8 {
        intake.record_within(record("A", minute), Duration::ZERO).unwrap();
        assert!(shard.turn(Waiting::Returns).unwrap());
    }
    let words = words(&log.of("sink"));
    let last = words.iter().rposition(|word| word == "A").unwrap();
    let first = words[..last].iter().rposition(|word| word == "A").unwrap();
    assert_eq!(words[first - 1..=last], ["note", "A", "note", "A"], "{words:?}");
    assert!(words.len() > last + 2, "the states of both have moved on: {words:?}");
}
