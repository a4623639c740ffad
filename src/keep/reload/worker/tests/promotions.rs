//! Tests of promotions that are asked for.

use super::*;

/// A daemon with a live model `now`, version 1, and its shadow `next`, version 2.
fn with_a_shadow(
    folder: &Folder,
    shards: Vec<IntakeCommander<Command>>,
    roles: RoleStore,
) -> (ReloadHandle, Shown) {
    with_a_shadow_of(folder, shards, roles, "1")
}

/// The same, whose live model asks for another version.
fn with_a_shadow_of(
    folder: &Folder,
    shards: Vec<IntakeCommander<Command>>,
    roles: RoleStore,
    version_wanted: &str,
) -> (ReloadHandle, Shown) {
    let prover = Arc::new(InProcess(Arc::new(NullRuntime)));
    with_a_shadow_by(folder, shards, roles, version_wanted, prover)
}

/// The same, whose versions are proved by this prover.
fn with_a_shadow_by(
    folder: &Folder,
    shards: Vec<IntakeCommander<Command>>,
    roles: RoleStore,
    version_wanted: &str,
    prover: Arc<dyn Prover>,
) -> (ReloadHandle, Shown) {
    folder.seal(version("2", another()));
    let pipelines = ["1", "2"].map(|version| pipeline(&folder.bundle(version)));
    let listed =
        vec![listed(&pipelines[0], "now", Role::Live), listed(&pipelines[1], "next", Role::Shadow)];
    with_models(folder, shards, roles, [version_wanted, "2"], prover, listed)
}

/// A daemon with these models, which want these versions.
fn with_models<const COUNT: usize>(
    folder: &Folder,
    shards: Vec<IntakeCommander<Command>>,
    roles: RoleStore,
    versions_wanted: [&str; COUNT],
    prover: Arc<dyn Prover>,
    listed: Vec<ListedModel>,
) -> (ReloadHandle, Shown) {
    let (reloader, running, registry) =
        reloader_of(folder, shards, roles, versions_wanted, prover, listed);
    let thread = reloader.start().unwrap();
    (thread.handle().clone(), Shown { running, registry, thread })
}

/// What such a daemon reloads and promotes by, without a thread.
pub(super) fn reloader_of<const COUNT: usize>(
    folder: &Folder,
    shards: Vec<IntakeCommander<Command>>,
    roles: RoleStore,
    versions_wanted: [&str; COUNT],
    prover: Arc<dyn Prover>,
    listed: Vec<ListedModel>,
) -> (Reloader, watch::Receiver<Models>, Registry) {
    let registry = Registry::new();
    let runtime: Arc<dyn Runtime> = Arc::new(NullRuntime);
    let names: Vec<_> = listed.iter().map(|model| model.name.clone()).collect();
    let running = listed.iter().map(|model| model.status.running.model_version.clone());
    let pipelines: Vec<_> = running.map(|version| pipeline(&folder.bundle(&version))).collect();
    let (running, shown) = watch::channel(Models(listed));
    let models = versions_wanted.into_iter().zip(&pipelines).map(|(version, pipeline)| {
        let choice = ModelChoice {
            root: folder.0.path().to_owned(),
            name: "null".to_owned(),
            version: version.to_owned(),
            mode: None,
            watch: false,
        };
        ReloadModel::new(choice, settings(), pipeline)
    });
    let reloader = Reloader {
        models: models.collect(),
        roles,
        rule: PromotionRule::never(),
        age: AgeWatch::never(),
        prover,
        proof_time_max: Duration::from_secs(60),
        runtime,
        shards,
        running,
        info: process::register(&registry).unwrap(),
        metrics: ReloadMetrics::register(&registry, names.iter().map(String::as_str)).unwrap(),
    };
    (reloader, shown, registry)
}

pub(super) fn roles_of(shown: &Shown) -> Vec<Role> {
    shown.running.borrow().0.iter().map(|model| model.role).collect()
}

pub(super) fn configured() -> ConfiguredRoles {
    let role = |name: &str, role| ConfiguredRole {
        name: name.to_owned(),
        seat: 0,
        role,
        symbols: SymbolPatterns::default(),
        by_rule: false,
    };
    ConfiguredRoles(vec![role("now", Role::Live), role("next", Role::Shadow)])
}

/// Roles that are kept in a folder.
pub(super) fn kept_in(folder: &Path) -> RoleStore {
    let disk = crate::keep::snapshot::Folder::open(folder).unwrap();
    RoleStore::new(Some(Box::new(disk)), configured())
}

/// What a restart would find.
pub(super) fn found_in(folder: &Path) -> Found {
    configured().look(folder).unwrap()
}

/// What it finds while this model is live.
pub(super) fn given(name: &str) -> Found {
    Found::Given(GivenRoles { live: vec![name.to_owned()], ..GivenRoles::default() })
}

/// Takes a promotion of this model over.
pub(super) fn answer_promotion(shard: &IntakeReceiver<Command>, expected: usize) {
    let Command::Promote { model, answer } = taken(shard) else { panic!("a promotion") };
    assert_eq!(model, expected);
    answer.send(()).unwrap();
}

#[test]
fn a_promotion_is_kept_handed_to_every_shard_and_shown() {
    let (folder, state) = (Folder::new(), tempfile::tempdir().unwrap());
    let roles = kept_in(state.path());
    let queues = [queue(9), queue(9)];
    let commanders = queues.iter().map(|(sender, _)| sender.commander()).collect();
    let (handle, shown) = with_a_shadow(&folder, commanders, roles);
    for (model, name, instead_of, after) in [
        (1, "next", "now", [Role::Shadow, Role::Live]),
        (0, "now", "next", [Role::Live, Role::Shadow]),
    ] {
        let asked = handle.ask("test", Work::Promote(model)).unwrap();
        for (_, shard) in &queues {
            let Command::Promote { model: found, answer } = taken(shard) else {
                panic!("a promotion")
            };
            assert_eq!(found, model);
            // Kept before the first shard changes.
            assert_eq!(found_in(state.path()), given(name));
            answer.send(()).unwrap();
        }
        let expected = Outcome::Promoted {
            name: name.to_owned(),
            model_version: if name == "now" { "1" } else { "2" }.to_owned(),
            instead_of: instead_of.to_owned(),
            survives_restart: true,
        };
        assert_eq!(asked.blocking_recv().unwrap(), expected);
        assert_eq!(roles_of(&shown), after);
        let again = handle.ask("test", Work::Promote(model)).unwrap().blocking_recv().unwrap();
        assert_eq!(again, Outcome::Live { name: name.to_owned() }, "and no shard is asked");
    }
    let page = prometheus::TextEncoder::new().encode_to_string(&shown.registry.gather()).unwrap();
    for line in [
        r#"tickcast_promotions_total{by="request",model="next"} 1"#,
        r#"tickcast_promotions_total{by="request",model="now"} 1"#,
        r#"tickcast_promotions_total{by="rule",model="now"} 0"#,
        r#"tickcast_model_live{model="next"} 0"#,
        r#"tickcast_model_live{model="now"} 1"#,
    ] {
        assert!(page.lines().any(|found| found == line), "{line} in {page}");
    }
    let none = handle.ask("test", Work::Promote(9)).unwrap().blocking_recv().unwrap();
    assert_eq!(reason(none), "there is no such model");
}

#[test]
fn roles_that_cannot_be_kept_are_not_given() {
    let (folder, state) = (Folder::new(), tempfile::tempdir().unwrap());
    // A folder where the draft should be.
    std::fs::create_dir(state.path().join("roles.draft")).unwrap();
    let (sender, shard) = queue(9);
    let roles = kept_in(state.path());
    let (handle, shown) = with_a_shadow(&folder, vec![sender.commander()], roles);
    let kept = handle.ask("test", Work::Promote(1)).unwrap().blocking_recv().unwrap();
    assert!(reason(kept).starts_with("the roles could not be kept for a restart: "));
    assert!(!shard.has_more(), "no shard is asked");
    assert_eq!(roles_of(&shown), [Role::Live, Role::Shadow]);
}

#[test]
fn a_version_that_another_model_runs_is_passed_over_and_not_refused() {
    let folder = Folder::new();
    let (sender, shard) = queue(9);
    let roles = RoleStore::new(None, ConfiguredRoles::default());
    let (prover, begins) = Scripted::new(Vec::new());
    let shards = vec![sender.commander()];
    let (handle, shown) = with_a_shadow_by(&folder, shards, roles, "latest", prover);
    let Outcome::Unchanged { model, reason } = outcome(&handle) else { panic!("another outcome") };
    assert_eq!(model.model_version, "1");
    assert_eq!(reason, "version 1 runs already; version 2 runs as `next`");
    assert!(!shard.has_more() && begins.try_recv().is_err(), "nothing is proved, no shard asked");
    assert_eq!((shown.version(), shown.refused()), ("1".to_owned(), Vec::new()));
}

#[test]
fn promotions_that_waited_are_carried_out_in_the_order_of_the_requests() {
    let (folder, state) = (Folder::new(), tempfile::tempdir().unwrap());
    let (sender, shard) = queue(9);
    let roles = kept_in(state.path());
    let (handle, shown) = with_a_shadow_of(&folder, vec![sender.commander()], roles, "latest");
    folder.seal(version("3", another()));
    let reload = handle.ask("test", Work::Reload(0)).unwrap();
    let Command::Sample { answer, .. } = taken(&shard) else { panic!("a sample") };
    // Until this is answered, an operator promotes the shadow and thinks better of it.
    let waiting = [1, 0].map(|model| handle.ask("test", Work::Promote(model)).unwrap());
    answer.send(Vec::new()).unwrap();
    assert_eq!(answer_swap(&shard), "3");
    answer_promotion(&shard, 1);
    answer_promotion(&shard, 0);
    assert!(matches!(reload.blocking_recv().unwrap(), Outcome::Swapped { .. }));
    let names = waiting.map(|asked| match asked.blocking_recv().unwrap() {
        Outcome::Promoted { name, .. } => name,
        other => panic!("{other:?}"),
    });
    assert_eq!(names, ["next", "now"]);
    assert_eq!(roles_of(&shown), [Role::Live, Role::Shadow], "the last word counts");
    assert_eq!(found_in(state.path()), given("now"));
}

#[test]
fn versions_that_take_turns_are_brought_in_order_and_kept_with_the_roles() {
    let (folder, state) = (Folder::new(), tempfile::tempdir().unwrap());
    ["2", "3", "4"].into_iter().for_each(|sealed| folder.seal(version(sealed, another())));
    let (sender, shard) = queue(9);
    let model = |version: &str, name: &str, role, seat, turns_with| {
        let listed = listed(&pipeline(&folder.bundle(version)), name, role);
        ListedModel { seat, turns_with, ..listed }
    };
    let listed = vec![
        model("1", "now", Role::Live, 0, Some(1)),
        model("2", "next", Role::Shadow, 0, Some(0)),
        model("4", "other", Role::Live, 1, None),
    ];
    let found = |live: &str, [now, next]: [&str; 2]| {
        let versions = [("now", now), ("next", next)];
        let versions = versions.map(|(name, version)| (name.to_owned(), version.to_owned()));
        let live = [live, "other"].map(str::to_owned).into();
        Found::Given(GivenRoles { live, versions: versions.into() })
    };
    let prover = Arc::new(InProcess(Arc::new(NullRuntime)));
    let (shards, roles) = (vec![sender.commander()], kept_in(state.path()));
    let wanted = ["latest", "latest", "4"];
    let (handle, shown) = with_models(&folder, shards, roles, wanted, prover, listed);
    let bring = |version: &str| {
        let work = Work::Bring { model: 0, version: version.to_owned() };
        handle.ask("test", work).unwrap()
    };
    // A version runs once.
    assert_eq!(reason(bring("4").blocking_recv().unwrap()), "version 4 runs as `other`");
    assert!(!shard.has_more(), "no shard is asked");
    assert_eq!(found_in(state.path()), found("now", ["1", "2"]));
    // The newest that no other model runs comes beside the live one. Meanwhile an operator wants
    // the one that makes room for it, and thinks better of it.
    let reload = handle.ask("test", Work::Reload(1)).unwrap();
    let Command::Sample { answer, .. } = taken(&shard) else { panic!("a sample") };
    let waiting = ["2", "3"].map(bring);
    answer.send(Vec::new()).unwrap();
    assert_eq!(answer_swap(&shard), "3");
    for (version, place) in [("2", 1), ("3", 0)] {
        answer_sample(&shard);
        assert_eq!(answer_swap(&shard), version);
        answer_promotion(&shard, place);
    }
    assert!(matches!(reload.blocking_recv().unwrap(), Outcome::Swapped { .. }));
    for (asked, expected) in waiting.into_iter().zip(["2", "3"]) {
        let outcome = asked.blocking_recv().unwrap();
        let Outcome::Promoted { model_version, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(model_version, expected);
    }
    assert_eq!(roles_of(&shown), [Role::Live, Role::Shadow, Role::Live], "the last word counts");
    assert_eq!(found_in(state.path()), found("now", ["3", "2"]));
    // One that no shard carries out is put back, with the versions.
    drop(shard);
    assert_eq!(reason(bring("2").blocking_recv().unwrap()), "the daemon is ending");
    assert_eq!(found_in(state.path()), found("now", ["3", "2"]));
}

#[test]
fn a_promotion_that_no_shard_took_is_not_in_force_after_a_restart() {
    let (folder, state) = (Folder::new(), tempfile::tempdir().unwrap());
    let (sender, shard) = queue(9);
    let (handle, shown) = with_a_shadow(&folder, vec![sender.commander()], kept_in(state.path()));
    // The recording is read to its end, and the queues are closed.
    drop(shard);
    let promote = || handle.ask("test", Work::Promote(1)).unwrap().blocking_recv().unwrap();
    assert_eq!(reason(promote()), "the daemon is ending");
    assert_eq!(roles_of(&shown), [Role::Live, Role::Shadow]);
    assert_eq!(found_in(state.path()), Found::Configured);
}

#[test]
fn a_promotion_that_was_begun_says_what_a_restart_does() {
    let (folder, state) = (Folder::new(), tempfile::tempdir().unwrap());
    let [(first, one), (second, other)] = [queue(9), queue(9)];
    let shards = vec![first.commander(), second.commander()];
    let (handle, _shown) = with_a_shadow(&folder, shards, kept_in(state.path()));
    drop(other);
    let asked = handle.ask("test", Work::Promote(1)).unwrap();
    let Outcome::Fatal { reason } = asked.blocking_recv().unwrap() else { panic!("not fatal") };
    assert!(reason.ends_with("; a restart begins with `next` live"), "{reason}");
    assert!(matches!(taken(&one), Command::Promote { .. }));
    assert_eq!(found_in(state.path()), given("next"));
}

#[test]
fn a_promotion_that_waits_when_the_daemon_ends_is_not_carried_out() {
    let (folder, state) = (Folder::new(), tempfile::tempdir().unwrap());
    let (sender, shard) = queue(9);
    let (prover, begins) = Scripted::new(vec![Script::HangsUntilStopped]);
    let (shards, roles) = (vec![sender.commander()], kept_in(state.path()));
    let (handle, shown) = with_a_shadow_by(&folder, shards, roles, "latest", prover);
    folder.seal(version("3", another()));
    let reload = handle.ask("test", Work::Reload(0)).unwrap();
    begins.recv().unwrap();
    let asked = handle.ask("test", Work::Promote(1)).unwrap();
    shown.thread.stop();
    assert!(reason(reload.blocking_recv().unwrap()).starts_with("the proof was interrupted"));
    asked.blocking_recv().unwrap_err();
    assert!(!shard.has_more(), "no shard is asked");
    assert_eq!(found_in(state.path()), Found::Configured);
}

#[test]
fn a_shadow_of_fewer_symbols_is_not_promoted() {
    let (folder, state) = (Folder::new(), tempfile::tempdir().unwrap());
    let (sender, shard) = queue(9);
    let mut roles = configured();
    roles.0[1].symbols = SymbolPatterns::new(["A"]).unwrap();
    let expected = roles.refusal("next").unwrap();
    let disk = crate::keep::snapshot::Folder::open(state.path()).unwrap();
    let roles = RoleStore::new(Some(Box::new(disk)), roles);
    let (handle, shown) = with_a_shadow(&folder, vec![sender.commander()], roles);
    let kept = handle.ask("test", Work::Promote(1)).unwrap().blocking_recv().unwrap();
    assert_eq!(reason(kept), expected);
    assert!(!shard.has_more(), "no shard is asked");
    assert_eq!(roles_of(&shown), [Role::Live, Role::Shadow]);
    assert_eq!(found_in(state.path()), Found::Configured);
}
