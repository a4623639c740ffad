//! Tests of the age of models.

use super::promotions::{configured, reloader_of};
use super::*;
use crate::core::domain::UnixNanos;
use crate::ops::readiness::{Notice, Readiness};

/// A number in the text of the metrics.
fn metric(registry: &Registry, name: &str, model: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    let of_model = |labels: &[prometheus::proto::LabelPair]| labels[0].value() == model;
    let metric = family.get_metric().iter().find(|metric| of_model(metric.get_label())).unwrap();
    metric.get_gauge().get_value()
}

#[test]
fn a_live_model_on_old_data_is_said_to_be_old_and_runs_on() {
    let folder = Folder::new();
    folder.seal(version("2", another()));
    let pipelines = ["1", "2"].map(|version| pipeline(&folder.bundle(version)));
    let listed =
        vec![listed(&pipelines[0], "now", Role::Live), listed(&pipelines[1], "next", Role::Shadow)];
    let prover = Arc::new(InProcess(Arc::new(NullRuntime)));
    let roles = RoleStore::new(None, configured());
    let (mut reloader, shown, registry) =
        reloader_of(&folder, Vec::new(), roles, ["1", "2"], prover, listed);
    let (readiness, notice) = (Readiness::new(), Notice::new("model"));
    readiness.show(notice.clone());
    reloader.age = AgeWatch::new(Some(30), notice);
    let mut work = reloader.work();
    let day = |day: i64| Some(UnixNanos::from_nanos(day * 86_400_000_000_000));
    let old = |model: &str| metric(&registry, "tickcast_model_too_old", model);
    let until =
        |model: &str| metric(&registry, "tickcast_model_data_until_timestamp_seconds", model);

    // The data of both end with 1970-01-01T00:00:00Z.
    for (now, expected) in [(day(29), 0.0), (day(30), 1.0), (day(400), 1.0), (day(3), 0.0)] {
        work.watch_age(now);
        assert_eq!([old("now"), old("next")], [expected, 0.0], "{now:?}");
        assert_eq!((until("now"), until("next").is_nan()), (0.0, true), "shadows do not count");
        assert_eq!(readiness.notices().is_empty(), expected == 0.0);
    }
    work.watch_age(day(31));
    let expected = "model: version 1 of `now` knows data until 1970-01-01T00:00:00Z, 31 days ago; \
                    model.age_days_max is 30";
    assert_eq!(readiness.notices(), [expected]);
    // Without a clock nothing is said, and nothing is taken back.
    work.watch_age(None);
    assert_eq!(readiness.notices(), [expected]);
    assert_eq!(shown.borrow().0[0].role, Role::Live);
}
