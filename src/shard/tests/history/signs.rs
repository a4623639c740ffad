//! What a question says, and the signs of life of a shard and of its symbols while one is open.

use super::*;
use crate::core::health::{ExpectedSymbols, Health, Subscription};
use crate::engine::model::manifest::StepSpec;

#[test]
fn a_question_says_whether_a_step_is_made_of_several_rows() {
    let of_steps = |seconds: u32| {
        let mut manifest = manifest(&[Mode::Full, Mode::Sliding]);
        manifest.step = StepSpec::time(seconds);
        pipeline(&draft(manifest, Weights::default()).into_bundle().unwrap())
    };
    for (seconds, behind, from, to) in [(60, 102, 100, 102), (300, 106, 100, 105)] {
        let (desk, asks) = Desk::new(100);
        let mut asker =
            Asker::of_models(Pipelines::new(of_steps(60), &settings()), 1000, asks, |metrics| {
                HistoryBook::new(None, 100, metrics).asking(0, desk, limits())
            });
        // Another version makes longer steps of the same rows.
        asker.shard.pipelines.replace(0, of_steps(seconds));
        asker.prices("A", 100..101);
        let (number, _) = asker.only_asked();
        asker.answer(number, Ok(rows("A", 50..100)));
        asker.gap();
        asker.prices("A", behind..behind + 1);
        let [(_, request)] = asker.asked().try_into().unwrap();
        let span = Span { from: time(from), to: time(to) };
        assert_eq!((request.are_parts, request.want), (seconds > 60, Want::Between(span)));
    }
}

#[test]
fn a_long_answer_moves_the_pulse_with_its_rows() {
    let steps = 200;
    let need = HistoryNeed { steps, span: minutes(i64::from(steps)), ..limits().need };
    let mut asker = Asker::new(HistoryLimits { need, ..limits() });
    asker.prices("A", 1000..1001);
    let (number, _) = asker.only_asked();
    let before = asker.shard.pulse.beats();
    asker.answer(number, Ok(rows("A", 1000 - i64::from(steps)..1000)));
    let beats = asker.shard.pulse.beats() - before;
    assert_eq!(asker.board.counts(), counts(0, 1, 0, 0));
    assert!(beats >= u64::from(steps) - 2, "{beats} signs of life for {steps} rows");
}

/// A source that names symbols.
struct Named(Vec<Symbol>);

impl ExpectedSymbols for Named {
    fn symbols(&self) -> Vec<Symbol> {
        self.0.clone()
    }

    fn subscription(&self, _: usize) -> Subscription {
        Subscription::Acknowledged
    }
}

#[test]
fn ticks_that_wait_are_signs_of_life() {
    // Of a symbol that a model knows: they come as far apart as without a hole.
    let mut asker = running(limits());
    let at = |seconds| Duration::from_secs(seconds);
    for (second, minute) in [(100, 12), (160, 13), (220, 14)] {
        asker.shard.pipelines.set_now(at(second));
        asker.prices("A", minute..minute + 1);
        let arrivals = asker.shard.pipelines.arrivals("A").unwrap();
        assert_eq!(arrivals.silence(at(second)), Duration::ZERO, "minute {minute}");
    }
    assert_eq!(asker.board.counts().ticks_waiting, 3);
    // And of one that none knows, whose whole window is asked for.
    let mut asker = Asker::new(limits());
    asker.prices("B", 10..11);
    let names: Vec<_> = ["A", "B"].iter().map(|name| Symbol::new(name).unwrap()).collect();
    let (second, clock) = (Duration::from_secs(1), Stopwatch::start());
    let health =
        HealthLimits { quiet_min: second, stale_min: second, stale_waits: 1, first_wait: second };
    let metrics = HealthMetrics::register(&asker.registry).unwrap();
    let (watch, page) = HealthWatch::new(Box::new(|| FeedLink::Connected), health, metrics, clock);
    let watch = watch.expecting(Arc::new(Named(names.clone())), names.into_iter().enumerate());
    asker.shard = asker.shard.watched(watch);
    asker.turn();
    let mut shown = Vec::new();
    SymbolBoard::new(vec![page], clock, WINDOW_STEPS)
        .read(|row| shown.push((row.symbol.to_string(), row.health, row.history.standing)));
    let expected = [("A", Health::Awaited, None), ("B", Health::Live, Some(Standing::Asked))];
    assert_eq!(shown, expected.map(|(name, health, asked)| (name.to_owned(), health, asked)));
}
