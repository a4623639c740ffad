//! Versions that the rows of history of a running daemon do not fit.

use super::*;
use crate::core::domain::DurationNanos;
use crate::engine::model::manifest::{StepKind, StepSpec};

/// A version with these steps.
fn of_steps(name: &str, step: StepSpec) -> Draft {
    let mut manifest = manifest(&[Mode::Full, Mode::Sliding]);
    (manifest.version, manifest.step) = (name.to_owned(), step);
    draft(manifest, another())
}

#[test]
fn a_version_whose_steps_the_asked_rows_do_not_make_is_refused() {
    let minutes = RowKind::Bars(DurationNanos::from_seconds(60).unwrap());
    let bars = |seconds| StepSpec { kind: StepKind::Time, ..StepSpec::record(seconds) };
    let of_minutes = "of the bars of 60 s that the daemon asks for as history; restart the daemon \
                      with this version, so that it asks for others, or set history.rest = false";
    for (step, beside_trades, is_refused) in [
        (StepSpec::record(60), false, false),
        (StepSpec::record(60), true, true),
        (StepSpec::record(300), false, true),
        (bars(300), true, false),
        (bars(90), true, true),
    ] {
        let models = Folder::new();
        let (sender, shard) = queue(9);
        let runtime: Arc<dyn Runtime> = Arc::new(NullRuntime);
        let prover = Arc::new(InProcess(Arc::clone(&runtime)));
        let rows = Some(AskedRows { kind: minutes, beside_trades });
        let shards = vec![sender.commander()];
        let (handle, shown) = models.start_asking(rows, shards, runtime, prover);
        models.seal(of_steps("2", step.clone()));
        if is_refused {
            let reason = reason(outcome(&handle));
            let words = format!("its steps ({}) cannot be made {of_minutes}", step.words());
            assert!(reason.contains(&words), "{reason}");
            assert!(!shard.has_more(), "the shard is not asked");
            assert_eq!((shown.version(), shown.refused()), ("1".to_owned(), vec!["2".to_owned()]));
        } else {
            let answered = std::thread::spawn(move || {
                answer_sample(&shard);
                let first = answer_swap(&shard);
                (first, shard)
            });
            assert!(matches!(outcome(&handle), Outcome::Swapped { .. }));
            let (first, shard) = answered.join().unwrap();
            assert_eq!((&*first, &*shown.version()), ("2", "2"));
            // What is asked for stays the same.
            models.seal(of_steps("3", bars(90)));
            assert!(reason(outcome(&handle)).contains(of_minutes));
            assert!(!shard.has_more(), "the shard is not asked");
        }
    }
}
