//! Whole runs on a history small enough for a test.

use std::path::Path;

use super::draft::{CARRIED_CASES_PER_PART, CARRIED_WINDOWS, GOLDEN_CASES_PER_PART};
use super::*;
use crate::core::features::ScalerKind;
use crate::core::forecast::Target;
use crate::engine::inference::NativeRuntime;
use crate::engine::model::Bundle;
use crate::engine::model::manifest::Mode;
use crate::engine::test_support::onnxruntime;
use crate::train::config;
use crate::train::config::StateRule;
use crate::train::export::export;
use crate::train::fit::checkpoint::CheckpointError;
use crate::train::fit::loss::Loss;
use crate::train::fit::{FitError, Stopped};
use crate::train::history::HistoryError;
use crate::train::logs::LogKind;
use crate::train::network::{Activation, Cell, ConvolutionShape};
use crate::train::report::describe;

/// A configuration over a written history, small enough for a test.
fn small(folder: &Path, extra: &str) -> TrainConfig {
    let mut csv = "Ticker,Date,Close,Volume,Adj Close\n".to_owned();
    for day in 0..260_u32 {
        let price = 50.0 + (f64::from(day) * 0.35).sin() * 5.0 + f64::from(day) * 0.01;
        let date = format!("2001-{:02}-{:02}", 1 + day / 28, 1 + day % 28);
        csv += &format!("AAPL,{date},1,{},{price}\n", 1000 + day * 37 % 400);
    }
    let path = folder.join("history.csv");
    std::fs::write(&path, csv).unwrap();
    let text = format!(
        "[model]\nname = 'small'\nroot = '{}'\n[data]\npath = '{}'\n\
         columns = 'symbol=Ticker,time=Date,close=Adj Close,volume=Volume'\n\
         [window]\nsteps = 8\n\
         [network]\n\
         lstm = [{{ units = 6, recurrent_dropout = 0.1 }}, {{ units = 4, dropout = 0.1 }}]\n\
         dense = [{{ units = 1, activation = '{}' }}]\n\
         [fit]\nepochs_max = 6\nbatch = 16\nlearning_rate = 0.01\nwork = '{}'\n{extra}",
        folder.join("models").display(),
        path.display(),
        if extra.contains("next_event") { "sigmoid" } else { "tanh" },
        folder.join("work").display(),
    );
    config::read(&text).unwrap()
}

fn onwards(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn train(config: &TrainConfig) -> PathBuf {
    let job = Job::prepare(config.clone()).unwrap();
    let trained = job.run(&mut onwards).unwrap();
    trained.seal(&config.models_root, onnxruntime()).unwrap()
}

#[test]
fn a_history_becomes_a_bundle_that_stands_its_own_proof() {
    let folder = tempfile::tempdir().unwrap();
    let config = small(folder.path(), "");
    let sealed = train(&config);
    assert_eq!(sealed, config.models_root.join("small/1"));
    let bundle = Bundle::read(&sealed).unwrap();
    bundle.open(onnxruntime()).unwrap();
    let manifest = bundle.manifest();
    assert_eq!(bundle.golden().cases.len(), 2 * GOLDEN_CASES_PER_PART);
    assert_eq!(manifest.graph.states.len(), 4);
    let training = manifest.training.known().unwrap();
    assert_eq!(training.symbols, ["AAPL"]);
    // 259 rows behind the warm-up: 165 for training, less W - 1 and the horizon.
    assert_eq!(training.windows, 165 - 8);
    assert_eq!(manifest.evaluation[0].forecasts, 42 - 8);
    assert_eq!(manifest.evaluation[1].forecasts, 52 - 8);
    assert!(manifest.verdict.contains("persistence"), "{}", manifest.verdict);
}

#[test]
fn features_with_an_endless_memory_are_sealed_as_a_fresh_daemon_computes_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = small(folder.path(), "");
    let features = ["ema_gap(5)", "rsi(3)", "macd(3,5,2)", "volatility(5)", "day_of_week_sin"];
    config.features = features.map(str::to_owned).into();
    config.architecture.inputs = features.len();
    let bundle = Bundle::read(&train(&config)).unwrap();
    bundle.open(onnxruntime()).unwrap();
    // The warm-up of macd, four spans of 5 and of 2, and the window.
    let steps = bundle.golden().cases.iter().map(|case| case.steps.len());
    assert_eq!(steps.collect::<Vec<_>>(), [28 + 8; 2 * GOLDEN_CASES_PER_PART]);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let read_all = |sealed: &Path| {
        ["model.onnx", "manifest.json", "golden.json"]
            .map(|f| std::fs::read(sealed.join(f)).unwrap())
    };
    let folder = tempfile::tempdir().unwrap();
    let config = small(folder.path(), "");
    let first = read_all(&train(&config));
    let mut again = config.clone();
    again.models_root = folder.path().join("again");
    assert!(read_all(&train(&again)) == first, "another run gave other bytes");
    again.recipe.seed = 2;
    again.models_root = folder.path().join("other");
    assert!(read_all(&train(&again))[0] != first[0], "another seed gave the same model");
}

#[test]
fn a_history_in_files_gives_the_bytes_of_one_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    for (at, extra) in ["", "[evaluate]\nseeds = 2\nfolds = 1\n", "carried"].iter().enumerate() {
        let mut memory = small(folder.path(), extra.trim_end_matches("carried"));
        if *extra == "carried" {
            memory.state = StateRule::Carried;
        }
        memory.models_root = folder.path().join(format!("memory-{at}"));
        let mut files = memory.clone();
        files.models_root = folder.path().join(format!("files-{at}"));
        files.data.spill.as_mut().unwrap().bytes_max = 0;
        let bundles = [&memory, &files].map(|config| {
            let job = Job::prepare(config.clone()).unwrap();
            assert_eq!(job.history.spill().is_some(), config.data.spill != memory.data.spill);
            let mut trained = job.run(&mut onwards).unwrap();
            job.repeat(&mut trained, &mut |_, _| ControlFlow::Continue(())).unwrap();
            let report = job.report(&trained).unwrap();
            let sealed = trained.seal(&config.models_root, onnxruntime()).unwrap();
            let read = |name: &&str| std::fs::read(sealed.join(name)).unwrap();
            (["model.onnx", "manifest.json", "golden.json"].each_ref().map(read), report)
        });
        assert!(bundles[0] == bundles[1], "{extra}");
    }
    let left = std::fs::read_dir(folder.path().join("work")).unwrap();
    assert_eq!(left.count(), 0, "no file has a name");
}

#[test]
fn a_history_that_cannot_be_kept_in_files_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = small(folder.path(), "");
    let spill = config.data.spill.as_mut().unwrap();
    (spill.bytes_max, spill.folder) = (0, folder.path().join("history.csv"));
    let error = Job::prepare(config).unwrap_err();
    assert!(matches!(error, TrainError::History(HistoryError::Spill(_))), "{error}");
}

#[test]
fn seeds_and_folds_show_the_spread() {
    let folder = tempfile::tempdir().unwrap();
    let config = small(folder.path(), "[evaluate]\nseeds = 2\nfolds = 3\n");
    let job = Job::prepare(config).unwrap();
    let mut trained = job.run(&mut onwards).unwrap();
    let mut seen = Vec::new();
    let mut observer = |place: repeat::Repetition, _: Progress| {
        if seen.last() != Some(&place) {
            seen.push(place);
        }
        ControlFlow::Continue(())
    };
    job.repeat(&mut trained, &mut observer).unwrap();
    let seen: Vec<_> = seen.iter().map(|at| (at.what, at.number, at.count)).collect();
    assert_eq!(seen, [("seed", 2, 2), ("fold", 1, 3), ("fold", 2, 3), ("fold", 3, 3)]);

    let Repeats { seeds, folds } = &trained.repeats;
    assert_eq!((seeds[0].skill, &*seeds[0].part), (judged(&trained).skill, "seed 1"));
    assert_ne!(seeds[1].skill, seeds[0].skill);
    assert_eq!(seeds[1].persistence_mean_absolute_error, seeds[0].persistence_mean_absolute_error);
    // A fold is tested behind the one before it, and all before the test part.
    let ends: Vec<_> = folds.iter().map(|fold| (fold.from, fold.to)).collect();
    assert!(ends.windows(2).all(|pair| pair[0].1 < pair[1].0), "{ends:?}");
    assert!(ends[2].1 < judged(&trained).from);

    let summary = &trained.draft.manifest.repeats;
    assert_eq!((summary[0].over.as_str(), summary[0].runs), ("seeds", 2));
    assert_eq!((summary[1].over.as_str(), summary[1].runs), ("folds", 3));
    let mean = (seeds[0].skill + seeds[1].skill) / 2.0;
    assert_eq!(summary[0].skill.mean, mean);
    assert!(
        (summary[0].skill.deviation - (seeds[0].skill - mean).abs() * 2_f64.sqrt()).abs() < 1e-12
    );
}

fn judged(trained: &Trained) -> &crate::engine::model::manifest::Evaluation {
    &trained.assessment.test.figures
}

#[test]
fn a_fold_knows_nothing_of_what_follows() {
    let folder = tempfile::tempdir().unwrap();
    // The second fold would reach into the test part if that were cut along with the rest.
    let tame = small(folder.path(), "[split]\ntest = 0.4\n[evaluate]\nfolds = 2\n");
    let mut job = Job::prepare(tame).unwrap();
    let folds = |job: &Job| {
        let mut trained = job.run(&mut onwards).unwrap();
        job.repeat(&mut trained, &mut |_, _| ControlFlow::Continue(())).unwrap();
        trained.repeats.folds
    };
    let before = folds(&job);
    let test = judged(&job.run(&mut onwards).unwrap()).from;
    let wild = job.history.series[0].steps.iter().map(|mut step| {
        if step.time >= test {
            step.fields.set_checked(crate::core::domain::Field::CLOSE, 1e6).unwrap();
        }
        step
    });
    job.history.series[0].steps = wild.collect();
    assert_eq!(folds(&job), before);
}

#[test]
fn repetitions_that_are_stopped_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let job = Job::prepare(small(folder.path(), "[evaluate]\nseeds = 3\nfolds = 2\n")).unwrap();
    let mut trained = job.run(&mut onwards).unwrap();
    let mut observer =
        |place: repeat::Repetition, progress: Progress| match (place.number, progress) {
            (3, Progress::Epoch(_)) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
    job.repeat(&mut trained, &mut observer).unwrap();
    assert_eq!((trained.repeats.seeds.len(), trained.repeats.folds.len()), (2, 0));
}

#[test]
fn a_fold_that_is_too_short_is_told_before_the_fit() {
    let folder = tempfile::tempdir().unwrap();
    let error = Job::prepare(small(folder.path(), "[evaluate]\nfolds = 20\n")).unwrap_err();
    let error = error.to_string();
    assert!(error.starts_with("evaluate.folds: fold 1 of 20: the "), "{error}");
}

#[test]
fn versions_count_up_and_are_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = small(folder.path(), "");
    assert_eq!(version(&config).unwrap(), "1");
    for there in ["2", "10", ".11.draft", "beta"] {
        std::fs::create_dir_all(config.models_root.join("small").join(there)).unwrap();
    }
    assert_eq!(version(&config).unwrap(), "11");
    config.version = Some("10".to_owned());
    let error = Job::prepare(config).unwrap_err().to_string();
    assert!(error.contains("small/10 exists"), "{error}");
}

#[test]
fn a_run_that_was_stopped_is_sealed_and_resumed_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let config = small(folder.path(), "");
    let checkpoint = config.work.join("small.checkpoint");
    let whole = train(&config);
    assert!(!checkpoint.exists(), "the fit ended by itself");

    let job = Job::prepare(TrainConfig { version: Some("half".into()), ..config.clone() });
    let mut until_third = |progress: Progress| match progress {
        Progress::Batch { epoch: 3, done: 4, .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let stopped = job.unwrap().run(&mut until_third).unwrap();
    assert_eq!((stopped.fit.stopped, stopped.fit.epochs.len()), (Stopped::Asked, 2));
    stopped.seal(&config.models_root, onnxruntime()).unwrap();
    assert!(checkpoint.exists(), "it can go on");

    let again = folder.path().join("again");
    let job = TrainConfig { version: Some("1".into()), models_root: again, ..config.clone() };
    let job = Job::prepare(job).unwrap();
    let resumed = job.resume(&mut onwards).unwrap();
    let resumed = resumed.seal(&job.config().models_root, onnxruntime()).unwrap();
    for file in ["model.onnx", "manifest.json", "golden.json"] {
        let read = |bundle: &Path| std::fs::read(bundle.join(file)).unwrap();
        assert!(read(&resumed) == read(&whole), "{file} differs");
    }
    assert!(matches!(job.resume(&mut onwards), Err(TrainError::Checkpoint(_))), "it is gone");
}

#[test]
fn a_checkpoint_of_another_recipe_is_refused_and_more_epochs_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let config = small(folder.path(), "");
    let job = |change: &dyn Fn(&mut TrainConfig)| {
        let mut config = config.clone();
        change(&mut config);
        Job::prepare(config).unwrap()
    };
    job(&|_| ()).run(&mut onwards).unwrap();
    for change in [
        (&|c: &mut TrainConfig| c.recipe.seed = 2) as &dyn Fn(&mut TrainConfig),
        &|c| c.recipe.clip_norm = 1.0,
        &|c| c.window_steps = 9,
        &|c| c.split.validation = 0.21,
    ] {
        let error = job(change).resume(&mut onwards).unwrap_err().to_string();
        assert!(error.contains("of another run"), "{error}");
    }
    let longer = job(&|c| c.recipe.epochs = 8).resume(&mut onwards).unwrap();
    assert_eq!(longer.fit.epochs.len(), 8);
}

#[test]
fn a_fit_goes_on_at_another_rate_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let config = small(folder.path(), "[fit.schedule]\nkind = 'step'\nevery_epochs = 2\n");
    let job = |rate: f64, epochs: usize| {
        let mut config = config.clone();
        (config.recipe.learning_rate, config.recipe.epochs) = (rate, epochs);
        Job::prepare(config).unwrap()
    };
    let rates = |trained: &Trained| -> Vec<f64> {
        trained.fit.epochs.iter().map(|epoch| epoch.learning_rate).collect()
    };
    job(0.01, 3).run(&mut onwards).unwrap();
    let error = job(0.02, 6).resume(&mut onwards).unwrap_err();
    let expected = "with --learning-rate the fit goes on";
    assert!(error.to_string().contains(expected), "{error}");
    let mut until_fifth = |progress: Progress| match progress {
        Progress::Batch { epoch: 5, done: 1, .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let stopped = job(0.02, 6).resume_at_other_rate(&mut until_fifth).unwrap();
    assert_eq!(stopped.fit.epochs.len(), 4);
    // The same command once more goes on with the schedule that it began.
    let trained = job(0.02, 7).resume_at_other_rate(&mut onwards).unwrap();
    assert_eq!(rates(&trained), [0.01, 0.01, 0.001, 0.02, 0.02, 0.002, 0.002]);
    let error = job(0.01, 8).resume(&mut onwards).unwrap_err();
    assert!(error.to_string().contains(expected), "it is at another rate now: {error}");
}

#[test]
fn a_run_that_was_stopped_has_the_logs_of_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = small(folder.path(), "");
    config.logs = [LogKind::JsonLines, LogKind::Csv].to_vec();
    let read = |config: &TrainConfig| {
        ["metrics.jsonl", "metrics.csv"]
            .map(|name| std::fs::read_to_string(config.work.join("small").join(name)).unwrap())
    };
    let trained = Job::prepare(config.clone()).unwrap().run(&mut onwards).unwrap();
    let whole = read(&config);
    assert_eq!(whole[0].lines().count(), trained.fit.epochs.len());
    let last: serde_json::Value = serde_json::from_str(whole[0].lines().last().unwrap()).unwrap();
    let epoch = trained.fit.epochs.last().unwrap();
    assert_eq!(last["validation_loss"].as_f64(), Some(epoch.validation_loss));
    assert_eq!(last["epoch"].as_u64(), Some(epoch.number as u64));

    config.work = folder.path().join("other");
    let job = Job::prepare(config.clone()).unwrap();
    let mut until_third = |progress: Progress| match progress {
        Progress::Batch { epoch: 3, done: 4, .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    job.run(&mut until_third).unwrap();
    assert_eq!(read(&config)[1].lines().count(), 1 + 2);
    job.resume(&mut onwards).unwrap();
    assert_eq!(read(&config), whole);
}

#[test]
fn a_log_that_cannot_be_written_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = small(folder.path(), "");
    config.logs = vec![LogKind::Csv];
    std::fs::create_dir_all(&config.work).unwrap();
    std::fs::write(config.work.join("small"), "a file where the folder should be").unwrap();
    let error = Job::prepare(config).unwrap().run(&mut onwards).unwrap_err();
    assert!(matches!(error, TrainError::Log(_)), "{error}");
}

#[test]
fn a_weight_of_an_unknown_symbol_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let weights = "[fit.weights.symbol]\nAAPL = 2\nAPPL = 3\n";
    let error = Job::prepare(small(folder.path(), weights)).unwrap_err();
    assert_eq!(error.to_string(), "fit.weights.symbol: `APPL` is not a symbol of the history");
}

#[test]
fn a_checkpoint_that_cannot_be_written_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let config = small(folder.path(), "");
    std::fs::write(&config.work, "a file where the folder should be").unwrap();
    let error = Job::prepare(config).unwrap().run(&mut onwards).unwrap_err();
    assert!(matches!(error, TrainError::Checkpoint(CheckpointError::Io { .. })), "{error}");
}

#[test]
fn a_model_with_attention_is_sealed_for_whole_windows() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = small(folder.path(), "");
    config.architecture.attention = Some(5);
    let bundle = Bundle::read(&train(&config)).unwrap();
    bundle.open(onnxruntime()).unwrap();
    assert_eq!(bundle.manifest().modes, [Mode::Full]);
}

#[test]
fn a_model_with_a_convolution_is_sealed_for_whole_windows() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = small(folder.path(), "");
    let shape = ConvolutionShape { filters: 5, kernel: 3, activation: Activation::Relu };
    config.architecture.convolution = Some(shape);
    config.recipe.loss = Loss::Huber(0.2);
    let bundle = Bundle::read(&train(&config)).unwrap();
    bundle.open(onnxruntime()).unwrap();
    assert_eq!(bundle.manifest().modes, [Mode::Full]);
    let job = Job::prepare(config).unwrap();
    let words = "convolution 5 over 3 steps relu, LSTM 6, LSTM 4, Dense 1 tanh (";
    assert!(describe(job.network()).starts_with(words), "{}", describe(job.network()));
}

#[test]
fn gru_layers_are_sealed_for_every_mode() {
    for (state, modes) in [
        (StateRule::Window, &[Mode::Full, Mode::Sliding][..]),
        (StateRule::Carried, &[Mode::Carried][..]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut config = small(folder.path(), "");
        config.state = state;
        config.architecture.recurrent.iter_mut().for_each(|layer| layer.cell = Cell::Gru);
        let bundle = Bundle::read(&train(&config)).unwrap();
        bundle.open(onnxruntime()).unwrap();
        bundle.open(&NativeRuntime::new()).unwrap();
        assert_eq!(bundle.manifest().modes, modes);
        let states: Vec<_> = bundle.manifest().graph.states.iter().map(|s| &*s.input).collect();
        assert_eq!(states, ["h0", "h1"]);
    }
}

#[test]
fn a_classifier_of_events_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let target = "[target]\nkind = 'next_event'\nfield = 'volume'\nabove = 1200\n\
                  [forecast]\ncoverage = 0.8\n";
    let config = small(folder.path(), target);
    assert_eq!(config.recipe.loss, Loss::BinaryCrossEntropy);
    let sealed = train(&config);
    let bundle = Bundle::read(&sealed).unwrap();
    bundle.open(onnxruntime()).unwrap();
    let target = &bundle.manifest().target.kind;
    assert_eq!(*target, Target::NextEvent { field: "volume".into(), above: 1200.0 });
    let outputs = bundle.golden().cases.iter().map(|case| case.output[0]);
    assert!(outputs.into_iter().all(|y| (0.0..=1.0).contains(&y)));
}

#[test]
fn every_scaler_is_sealed_to_the_same_bytes_with_the_parts_that_look_back() {
    for (name, scaler) in ScalerKind::CHOICES {
        let folder = tempfile::tempdir().unwrap();
        let mut config = small(folder.path(), "[target]\nkind = 'next_log_return'\n");
        config.scaler = scaler;
        config.features = ["lag(close,2)", "log(volume)", "change"].map(str::to_owned).into();
        config.architecture.inputs = config.features.len();
        config.recipe.epochs = 2;
        let first = train(&config);
        config.models_root = folder.path().join("again");
        let second = train(&config);
        for file in ["model.onnx", "manifest.json", "golden.json"] {
            let read = |bundle: &Path| std::fs::read(bundle.join(file)).unwrap();
            assert!(read(&first) == read(&second), "{name}: {file} differs");
        }
        let bundle = Bundle::read(&first).unwrap();
        bundle.open(onnxruntime()).unwrap();
        let manifest = serde_json::to_value(bundle.manifest()).unwrap();
        assert_eq!(manifest["scaler"]["kind"], name);
        assert_eq!(manifest["target"]["kind"], "next_log_return");
        assert_eq!(manifest["target"]["scaler"]["kind"], "minmax");
    }
}

#[test]
fn nothing_is_written_when_the_fit_fails() {
    let folder = tempfile::tempdir().unwrap();
    let config = small(folder.path(), "");
    let job = Job::prepare(config.clone()).unwrap();
    let stopped = job.run(&mut |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(TrainError::Fit(FitError::NothingYet))));
    assert!(!config.models_root.exists());
}

#[test]
fn a_model_that_is_not_the_trained_one_is_not_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let config = small(folder.path(), "");
    let job = Job::prepare(config.clone()).unwrap();
    let mut trained = job.run(&mut onwards).unwrap();
    let other = job.network().initial_parameters(99);
    trained.draft.onnx = export(job.network(), &other, "small").onnx;
    let error = trained.seal(&config.models_root, onnxruntime()).unwrap_err().to_string();
    assert!(error.contains("golden.json: cases[0]: output[0]: the model gives"), "{error}");
    assert!(!config.models_root.join("small/1").exists());
}

#[test]
fn a_carried_state_is_sealed_for_its_own_mode_and_resumed_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = small(folder.path(), "[evaluate]\nseeds = 2\nfolds = 2\n");
    let windowed = Job::prepare(config.clone()).unwrap();
    config.state = StateRule::Carried;
    config.recipe.batch = 3;
    let job = Job::prepare(config.clone()).unwrap();
    assert_eq!(job.dataset.test.examples, windowed.dataset.test.examples, "judged on the same");
    assert_eq!(job.dataset.training.examples, windowed.dataset.training.examples);

    let mut until_third = |progress: Progress| match progress {
        Progress::Batch { epoch: 3, done: 2, .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let stopped = job.run(&mut until_third).unwrap();
    assert_eq!((stopped.fit.stopped, stopped.fit.epochs.len()), (Stopped::Asked, 2));
    assert!(windowed.resume(&mut onwards).is_err(), "a checkpoint of another state");
    let mut resumed = job.resume(&mut onwards).unwrap();
    let mut whole = job.run(&mut onwards).unwrap();
    for trained in [&mut resumed, &mut whole] {
        job.repeat(trained, &mut |_, _| ControlFlow::Continue(())).unwrap();
    }
    assert_eq!(resumed.repeats.folds.len(), 2);
    let again = folder.path().join("again");
    let resumed = resumed.seal(&again, onnxruntime()).unwrap();
    let whole = whole.seal(&config.models_root, onnxruntime()).unwrap();
    for file in ["model.onnx", "manifest.json", "golden.json"] {
        let read = |bundle: &Path| std::fs::read(bundle.join(file)).unwrap();
        assert!(read(&resumed) == read(&whole), "{file} differs");
    }

    let bundle = Bundle::read(&whole).unwrap();
    bundle.open(onnxruntime()).unwrap();
    assert_eq!(bundle.manifest().modes, [Mode::Carried]);
    let cases = &bundle.golden().cases;
    assert_eq!(cases.len(), 2 * CARRIED_CASES_PER_PART);
    let rows = CARRIED_WINDOWS * config.window_steps;
    for case in cases {
        assert_eq!((case.window.len(), case.output.len()), (rows, rows - 8 + 1));
    }
}

#[test]
fn a_learned_table_is_sealed_and_the_same_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = small(folder.path(), "");
    (config.embedding, config.architecture.inputs) = (2, config.architecture.inputs + 2);
    let job = Job::prepare(config.clone()).unwrap();
    let [one, three] = [1, 3].map(|threads| job.run_once(threads, &mut onwards).unwrap().draft);
    assert_eq!(one.symbols, three.symbols);
    assert!(one.onnx == three.onnx && one.golden == three.golden, "other bytes on three threads");
    let table = one.symbols.clone().unwrap();
    assert_eq!((table.embedding, table.symbols.len()), (2, 1));
    assert_eq!(table.symbols["AAPL"], table.unknown, "the mean of one");
    let initial = job.network().initial_parameters(config.recipe.seed);
    let initial = job.network().embedding().unwrap().of(&initial);
    assert!(table.unknown.iter().zip(initial).all(|(learned, drawn)| learned != drawn));
    // Four cases of each part, and one of an unknown symbol.
    let symbols = one.golden.cases.iter().map(|case| case.symbol.as_deref());
    let of_part = [&[None][..], &[Some("AAPL"); GOLDEN_CASES_PER_PART]].concat();
    assert_eq!(symbols.collect::<Vec<_>>(), of_part.repeat(2));
    let bundle = Bundle::read(&one.seal(folder.path(), onnxruntime()).unwrap()).unwrap();
    bundle.open(onnxruntime()).unwrap();
    let symbols = bundle.manifest().symbols.clone().unwrap();
    assert_eq!((symbols.count, symbols.embedding, symbols.scalers), (1, 2, 0));
    assert_eq!(bundle.signature().features, bundle.manifest().features.len() + 2);
}
