//! The defaults, every choice and every refusal.

use super::*;
use crate::engine::model::manifest::{EmptySteps, StepKind};
use crate::train::fit::loss::Loss;
use crate::train::fit::{Monitor, RateSchedule, RateShape, WeightRule};
use crate::train::network::{Activation, ConvolutionShape, RecurrentShape};

const SMALLEST: &str = "[model]\nname = 'm'\n[data]\npath = 'x.csv'\n";

#[test]
fn the_smallest_file_trains_the_tutorials_network() {
    let config = read(SMALLEST).unwrap();
    assert_eq!(config.architecture, Architecture::tutorial(2));
    assert_eq!(config.recipe, Recipe::default());
    assert_eq!((config.window_steps, config.horizon_steps), (30, 1));
    let split = Split { test: 0.2, validation: 0.2, test_from: None, newest: None };
    assert_eq!(config.split, split);
    assert_eq!((config.start.from, config.start.bundle), (StartFrom::Fresh, None));
    assert_eq!(config.version, None);
    assert_eq!(config.state, StateRule::Window);
    assert_eq!(config.scaler, ScalerKind::Minmax);
    assert_eq!((config.seeds, config.folds), (1, 0));
    assert_eq!(config.reports_root.as_deref(), Some(Path::new("reports")));
}

#[test]
fn the_configurations_that_ship_are_usable() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/train");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() != "default.toml" {
            load(&path).unwrap();
            seen += 1;
        }
    }
    assert_eq!(seen, 6);
}

#[test]
fn features_follow_the_target_where_none_are_named() {
    let read = |target: &str| {
        let sigmoid = "[network]\ndense = [{ units = 1, activation = 'sigmoid' }]\n";
        let forecast = "[forecast]\nbuy_above = 1\nsell_below = 0\n";
        let text = format!("{SMALLEST}{sigmoid}{forecast}{target}");
        let config = read(&text).unwrap();
        assert_eq!(config.architecture.inputs, config.features.len(), "{target}");
        (config.usual_features, config.features.join(" "))
    };
    let value = |field| format!("[target]\nkind = 'next_value'\nfield = '{field}'\n");
    for (target, features) in [
        ("[target]\nkind = 'next_return'\n", "change volume_change"),
        ("[target]\nkind = 'next_direction'\n", "change volume_change"),
        ("[target]\nkind = 'next_log_return'\n", "log_return volume_change"),
        (
            "[target]\nkind = 'next_volatility'\n",
            "absolute_return log_return volatility(20) volume_change",
        ),
        (&value("close"), "close change"),
        (&value("volume"), "volume volume_change"),
        (&format!("{}[window]\nextra_fields = ['rain']\n", value("rain")), "rain"),
    ] {
        assert_eq!(read(target), (true, features.to_owned()));
    }
    let named = read("[window]\nfeatures = ['close']\n");
    assert_eq!(named, (false, "close".to_owned()));
    let none = self::read(&format!("{SMALLEST}[window]\nfeatures = []\n")).unwrap_err();
    assert!(none[0].starts_with("window.features: "), "{none:?}");
}

#[test]
fn losses_and_signals_follow_the_target() {
    let read = |target: &str, more: &str| {
        let sigmoid = "[network]\ndense = [{ units = 1, activation = 'sigmoid' }]\n";
        let target = format!("[target]\nkind = '{target}'\nfield = 'volume'\n");
        let target = target.replace("direction'\nfield = 'volume'", "direction'");
        read(&format!("{SMALLEST}{sigmoid}{target}{more}"))
    };
    let log_return = self::read(&format!("{SMALLEST}[target]\nkind = 'next_log_return'\n"));
    let log_return = log_return.unwrap();
    assert_eq!(log_return.recipe.loss, Loss::MeanSquaredError);
    assert_eq!((log_return.signal.buy_above, log_return.signal.sell_below), (0.02, -0.02));
    let direction = read("next_direction", "").unwrap();
    assert_eq!(direction.recipe.loss, Loss::BinaryCrossEntropy);
    assert_eq!((direction.signal.buy_above, direction.signal.sell_below), (0.55, 0.45));
    let event = read("next_event", "above = 1\n[forecast]\nbuy_above = 0.3\n").unwrap();
    assert_eq!((event.signal.buy_above, event.signal.sell_below), (0.3, 0.0));
    let brier = read("next_event", "above = 1\n[fit]\nloss = 'mean_squared_error'\n").unwrap();
    assert_eq!(brier.recipe.loss, Loss::MeanSquaredError);
    let signal = "[forecast]\nbuy_above = 2\nsell_below = 1\n";
    let quantile = format!("[fit]\nloss = 'quantile'\nquantile = 0.75\n{signal}");
    assert_eq!(read("next_value", &quantile).unwrap().recipe.loss, Loss::Quantile(0.75));
    for (words, loss) in [
        ("loss = 'huber'", Loss::Huber(1.0)),
        ("loss = 'huber'\nhuber_delta = 0.25", Loss::Huber(0.25)),
        ("loss = 'mean_absolute_error'", Loss::MeanAbsoluteError),
    ] {
        let more = format!("[fit]\n{words}\n{signal}");
        assert_eq!(read("next_value", &more).unwrap().recipe.loss, loss);
    }

    let problems = |target, more| read(target, more).unwrap_err();
    let unsaid = [
        "forecast.buy_above: must be a number in the unit of `next_value`",
        "forecast.sell_below: must be a number in the unit of `next_value`",
    ];
    assert_eq!(problems("next_value", ""), unsaid);
    let cross_entropy = format!("[fit]\nloss = 'binary_cross_entropy'\n{signal}");
    let expected = ["fit.loss: `next_value` is no probability"];
    assert_eq!(problems("next_value", &cross_entropy), expected);
    let quantile = "[fit]\nloss = 'quantile'\n";
    let expected = ["fit.loss: the quantile of a `next_direction` is 0 or 1"];
    assert_eq!(problems("next_direction", quantile), expected);
    let expected = ["fit.loss: the median of a `next_direction` is 0 or 1"];
    assert_eq!(problems("next_direction", "[fit]\nloss = 'mean_absolute_error'\n"), expected);
    let expected = ["fit.loss: its minimum is no probability, and `next_direction` is one"];
    assert_eq!(problems("next_direction", "[fit]\nloss = 'huber'\n"), expected);
    let delta = format!("[fit]\nhuber_delta = 0\n{signal}");
    assert_eq!(problems("next_value", &delta), ["fit.huber_delta: must be a number above 0"]);
    assert_eq!(problems("next_event", ""), ["target.above: `next_event` needs it"]);
}

#[test]
fn a_scaler_is_chosen_by_its_name() {
    let read = |name: &str| read(&format!("{SMALLEST}[window]\nscaler = '{name}'\n"));
    for (name, kind) in ScalerKind::CHOICES {
        assert_eq!(read(name).unwrap().scaler, kind);
    }
    let expected = "window.scaler: `standart` is none of `minmax`, `standard`, `robust`, \
                    `none`, did you mean `standard`?";
    assert_eq!(read("standart").unwrap_err(), [expected]);
}

#[test]
fn the_period_of_the_seasonal_baseline_is_that_of_the_steps_or_as_said() {
    let read = |more: &str| read(&format!("{SMALLEST}{more}")).unwrap();
    let period = |config: TrainConfig| config.step.period_steps(config.period_steps);
    assert_eq!(period(read("")), Some(7), "days");
    let open = "weekdays = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday']";
    assert_eq!(period(read(&format!("[step]\n{open}\n"))), Some(5), "trading days");
    let of = |seconds: u32| period(read(&format!("[step]\ninterval_seconds = {seconds}\n")));
    assert_eq!([60, 300, 3600].map(of), [None, Some(288), Some(24)], "1,440 are too many");
    assert_eq!([7, 7 * 86_400].map(of), [None, None]);
    let ticks = "[step]\nkind = 'ticks'\nticks_per_step = 9\ninterval_seconds = 3600\n";
    assert_eq!(period(read(ticks)), None, "a bar of ticks has no time of day");
    let said = |count: u32| period(read(&format!("[baselines]\nperiod_steps = {count}\n")));
    assert_eq!([0, 1, 1024].map(said), [None, Some(1), Some(1024)]);
    let problems = super::read(&format!("{SMALLEST}[baselines]\nperiod_steps = 1025\n"));
    let expected = "baselines.period_steps: must be a whole number from 0 to 1024";
    assert_eq!(problems.unwrap_err(), [expected]);
}

#[test]
fn a_fit_is_scheduled_weighed_and_logged_as_said() {
    let read = |more: &str| read(&format!("{SMALLEST}{more}"));
    let recipe = |more: &str| read(more).unwrap().recipe;
    let schedule = |more: &str| recipe(&format!("[fit.schedule]\n{more}")).schedule;
    let step = "kind = 'step'\nfactor = 0.5\nevery_epochs = 4\nfloor = 0.01\nwarm_up_epochs = 2\n";
    let shape = RateShape::Step { every_epochs: 4, factor: 0.5 };
    assert_eq!(schedule(step), RateSchedule { warm_up_epochs: 2, shape, floor: 0.01 });
    // The rest of a hundred epochs, or so many.
    let repeated = "factor = 0.1\nevery_epochs = 10\nepochs = 0\npatience = 10\nfloor = 0\n";
    assert_eq!(schedule(repeated), RateSchedule::default(), "a file may repeat the defaults");
    let cosine = schedule("kind = 'cosine'\nwarm_up_epochs = 5\n").shape;
    assert_eq!(cosine, RateShape::Cosine { epochs: 95 });
    let cosine = schedule("kind = 'cosine'\nepochs = 30\n").shape;
    assert_eq!(cosine, RateShape::Cosine { epochs: 30 });
    let plateau = schedule("kind = 'plateau'\npatience = 3\nmin_delta = 0.1\n").shape;
    let expected =
        RateShape::Plateau { patience: 3, factor: 0.1, min_delta: 0.1, cooldown_epochs: 0 };
    assert_eq!(plateau, expected);

    let stopping = "[fit]\nmonitor = 'training_loss'\nmin_delta = 0.5\nstart_epoch = 9\n";
    let stopping = recipe(stopping);
    let found = (stopping.monitor, stopping.min_delta, stopping.start_epoch);
    assert_eq!(found, (Monitor::TrainingLoss, 0.5, 9));
    assert_eq!(recipe("[fit]\nweight_decay = 0.01\n").weight_decay, 0.01);
    let logs = read("[fit]\nlogs = ['tensorboard', 'csv']\n").unwrap().logs;
    assert_eq!(logs, [LogKind::TensorBoard, LogKind::Csv]);

    let direction = "[target]\nkind = 'next_direction'\n\
                     [network]\ndense = [{ units = 1, activation = 'sigmoid' }]\n";
    let weights = "[fit.weights]\nhalf_life_days = 90\nclasses = 'balanced'\nevent = 3\n\
                   symbols = 'balanced'\n[fit.weights.symbol]\nAAPL = 2\n'brk.b' = 0.5\n";
    let expected = WeightRule {
        half_life_days: Some(90.0),
        balances_classes: true,
        event: Some(3.0),
        balances_symbols: true,
        symbols: [("AAPL".to_owned(), 2.0), ("brk.b".to_owned(), 0.5)].into(),
    };
    assert_eq!(recipe(&format!("{direction}{weights}")).weights, expected);
    assert!(recipe("[fit.weights]\nevent = 1\n").weights.is_even());
}

#[test]
fn settings_of_a_fit_that_cannot_be_are_refused() {
    let problems = |more: &str| read(&format!("{SMALLEST}{more}")).unwrap_err();
    let found = problems(
        "[fit]\nweight_decay = 1000\nlogs = ['csv', 'csv', 'xml']\nmonitor = 'loss'\n\
         start_epoch = 0\nmin_delta = -1\n",
    );
    let expected = [
        "fit.min_delta: must be a number at least 0",
        "fit.start_epoch: must be a whole number from 1 to 1000000",
        "fit.monitor: `loss` is none of `validation_loss`, `validation_absolute_error`, \
         `training_loss`",
        "fit.weight_decay: times learning_rate must be below 1",
        "fit.logs: has `csv` twice",
        "fit.logs: `xml` is none of `jsonl`, `csv`, `tensorboard`",
    ];
    assert_eq!(found, expected);
    let found = problems("[fit.schedule]\nevery_epochs = 3\nfactor = 1\n");
    let expected = [
        "fit.schedule.factor: must be a number between 0 and 1",
        "fit.schedule.factor: is used where kind is `step` or `plateau` only",
        "fit.schedule.every_epochs: is used where kind is `step` only",
    ];
    assert_eq!(found, expected);
    let found = problems("[fit]\npatience = 5\n[fit.schedule]\nkind = 'plateau'\npatience = 5\n");
    let expected = "fit.schedule.patience: must be below fit.patience, which would end the fit \
                    before";
    assert_eq!(found, [expected]);
    let weights = "[fit.weights]\nclasses = 'balanced'\nevent = 2\n[fit.weights.symbol]\nA = 'x'\n";
    let expected = [
        "fit.weights.symbol.A: must be a number above 0",
        "fit.weights.classes: `next_return` has no classes",
        "fit.weights.event: `next_return` has no classes",
    ];
    assert_eq!(problems(weights), expected);
}

#[test]
fn steps_are_those_of_the_bundle() {
    let read = |step: &str| read(&format!("{SMALLEST}[step]\n{step}"));
    let config = read(
        "kind = 'time'\ninterval_seconds = 60\noffset_seconds = 7\n\
                       lateness_ms = 1500\nempty = 'carry'\ncarry_steps_max = 3\n\
                       gap_steps_max = 90\n",
    );
    let expected = StepSpec {
        offset_seconds: 7,
        lateness_ms: 1500,
        empty: EmptySteps::Carry,
        carry_steps_max: 3,
        gap_steps_max: Some(90),
        ..StepSpec::time(60)
    };
    let config = config.unwrap();
    assert_eq!((&config.step, Ok(config.step_rule)), (&expected, expected.rule()));
    let ticks = read("kind = 'ticks'\nticks_per_step = 50\n").unwrap().step;
    assert_eq!((ticks.kind, ticks.ticks_per_step), (StepKind::Ticks, 50));
    let problems = read("kind = 'volume'\nlateness_ms = 5\n").unwrap_err();
    let expected = [
        "step.lateness_ms: is used where kind is `time` only",
        "step.volume_per_step: must be above 0",
    ];
    assert_eq!(problems, expected);
    let problems = read("kind = 'time'\nempty = 'carry'\n").unwrap_err();
    assert_eq!(problems, ["step.carry_steps_max: must be from 1 to 1024"]);
}

#[test]
fn a_state_is_carried_through_anything_but_attention_and_a_convolution() {
    let read = |more: &str| read(&format!("{SMALLEST}[network]\nstate = 'carried'\n{more}"));
    assert_eq!(read("").unwrap().state, StateRule::Carried);
    assert_eq!(read("gru = [{ units = 8 }]\n").unwrap().state, StateRule::Carried);
    for (key, more) in [
        ("attention", "attention = 8\n"),
        ("convolution.filters", "convolution = { filters = 8 }\n"),
    ] {
        let expected = format!(
            "network.{key}: reads a whole window, so it must be 0 where network.state is `carried`"
        );
        assert_eq!(read(more).unwrap_err(), [expected]);
    }
}

#[test]
fn gru_layers_and_a_convolution_are_read() {
    let read = |network: &str| read(&format!("{SMALLEST}[network]\n{network}\n"));
    let gru = "gru = [{ units = 9, recurrent_dropout = 0.1 }, { units = 4, dropout = 0.2 }]";
    let shape = read(gru).unwrap().architecture;
    let expected = [
        RecurrentShape { recurrent_dropout: 0.1, ..RecurrentShape::gru(9) },
        RecurrentShape { dropout: 0.2, ..RecurrentShape::gru(4) },
    ];
    assert_eq!((&shape.recurrent[..], shape.convolution), (&expected[..], None));
    let convolution = |more: &str| read(&format!("convolution = {{ {more} }}"));
    let shape = |filters, kernel, activation| ConvolutionShape { filters, kernel, activation };
    for (more, expected) in [
        ("filters = 8", Some(shape(8, 3, Activation::Relu))),
        ("filters = 8, kernel = 5, activation = 'tanh'", Some(shape(8, 5, Activation::Tanh))),
        ("kernel = 5", None),
    ] {
        assert_eq!(convolution(more).unwrap().architecture.convolution, expected);
    }
    let problem = "network.convolution.kernel: must be a whole number from 1 to 1024";
    assert_eq!(convolution("filters = 8, kernel = 0").unwrap_err(), [problem]);
    let both = "lstm = [{ units = 9 }]\ngru = [{ units = 9 }]";
    let problem = "network.gru: stands in the place of network.lstm; a file has one of them";
    assert_eq!(read(both).unwrap_err(), [problem]);
}

#[test]
fn every_problem_is_reported_at_once_with_its_key() {
    let text = "
        [model]
        nam = 'x'
        [data]
        path = 'x.csv'
        columns = 'close'
        symbols = ['']
        jump_max = -0.4
        [window]
        features = ['close', 'next_event']
        [split]
        test = 1
        [network]
        lstm = []
        dense = [
          { units = 0, activation = 'selu', dropot = 0.1 },
          { units = 2, activation = 'relu', dropout = 1.0 },
        ]
        [fit]
        learning_rate = -1
        sed = 1
        [evaluate]
        seeds = 0
        fold = 3
        [report]
        folder = 1
        [target]
        kind = 'next_event'
        field = 'rain'
        above = 0
        [forecast]
        buy_above = -0.1
        sell_below = 0
    ";
    let problems = read(text).unwrap_err();
    let expected = [
        "model.name: is missing",
        "model.nam: unknown key, did you mean `name`?",
        "data.columns: `close` is not a pair `name=column`, such as `close=Adj Close`",
        "data.symbols: ``: a symbol has 1 to 256 bytes, all of them printable",
        "data.jump_max: must be a number 0 or above",
        "window.features: feature `next_event` is the label: its value does not exist for \
         the newest row",
        "target.field: `rain` is neither a standard field nor listed in extra_fields",
        "split.test: must be a number between 0 and 1",
        "network.dense[0].units: must be a whole number from 1 to 4096",
        "network.dense[0].activation: `selu` is none of `linear`, `relu`, `tanh`, `sigmoid`, \
         did you mean `relu`?",
        "network.dense[0].dropot: unknown key, did you mean `dropout`?",
        "network.dense[1].dropout: must be a number from 0 and below 1",
        "network.lstm: needs at least one layer",
        "network.dense: the last layer gives the forecast, so it needs units = 1",
        "network.dense: `next_event` is a probability, so the last layer must be `sigmoid`",
        "fit.learning_rate: must be a number above 0",
        "fit.sed: unknown key, did you mean `seed`?",
        "evaluate.seeds: must be a whole number from 1 to 1000",
        "evaluate.fold: unknown key, did you mean `folds`?",
        "report.folder: must be a text, not a number",
        "forecast.sell_below: is above buy_above",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn symbols_are_told_apart_as_the_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sizes.csv");
    std::fs::write(&path, "symbol,size,beta\nA,1,2\n").unwrap();
    let text = |more: &str| format!("{SMALLEST}[window]\nstatics = '{}'\n{more}", path.display());
    let config = read(&text("scaler_per = 'symbol'\n[network]\nembedding = 3\n")).unwrap();
    let statics = config.statics.as_ref().unwrap();
    assert_eq!(
        (&statics.names[..], config.embedding),
        (&["size", "beta"].map(String::from)[..], 3)
    );
    assert_eq!(config.architecture.inputs, config.features.len() + 2 + 3);
    assert_eq!(config.scaler_per, ScalerPer::Symbol);
    let none = read(SMALLEST).unwrap();
    assert_eq!((none.statics, none.embedding, none.scaler_per), (None, 0, ScalerPer::Model));

    std::fs::write(&path, "symbol,size\nA,1\nA,2\n").unwrap();
    let problems = read(&text("[network]\nembedding = 129\n")).unwrap_err();
    let expected = [
        format!("window.statics: `{}`: line 3: `A` has a line already", path.display()),
        "network.embedding: must be a whole number from 0 to 128".to_owned(),
    ];
    assert_eq!(problems, expected);
}
