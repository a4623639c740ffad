//! Every kind of layer and loss: trained, sealed, and served by a daemon that must forecast what
//! the trainer computed.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use tempfile::TempDir;
use tickcast::engine::model::manifest::{Manifest, Mode};
use tickcast::engine::wire::forecast::ForecastRecord;
use tickcast::train::config;
use tickcast::train::job::Job;
use tickcast::train::job::Trained;

use super::support::process::Daemon;
use super::support::runtime;
use super::train::prices;

/// A fit of two epochs, and the files that it is made of.
struct Run {
    folder: TempDir,
    job: Job,
    trained: Trained,
}

impl Run {
    /// Trains and seals a model of the network and loss of these lines of TOML.
    fn new(lines: &str) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("prices.csv"), prices()).unwrap();
        let settings = format!(
            "model.name = 'm'\nmodel.root = '{0}/models'\ndata.path = '{0}/prices.csv'\n\
             window.steps = 9\nreport.folder = ''\n\
             network.dense = [{{ units = 1, activation = 'tanh' }}]\n\
             fit.epochs_max = 2\nfit.learning_rate = 0.01\nfit.work = '{0}/work'\n{lines}\n",
            folder.path().display()
        );
        let path = folder.path().join("train.toml");
        fs::write(&path, settings).unwrap();
        let job = Job::prepare(config::load(&path).unwrap()).unwrap();
        let trained = job.run(&mut |_| ControlFlow::Continue(())).unwrap();
        trained.clone().seal(&folder.path().join("models"), runtime()).unwrap();
        Self { folder, job, trained }
    }

    fn manifest(&self) -> &Manifest {
        &self.trained.draft.manifest
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Serves the history in a mode with a runtime, and compares each forecast of the validation
    /// and the test part with the trainer's output.
    fn serve(&self, mode: &str, runtime: &str) {
        let settings = format!(
            "source.kind = 'file'\nsource.path = '{}'\nmodel.mode = '{mode}'\n\
             engine.runtime = '{runtime}'\nengine.shards = 2",
            self.path("prices.csv")
        );
        let models = self.path("models");
        let ended = Daemon::start(Path::new(&models), "m", "", &settings).await_end();
        assert!(ended.status.success(), "{mode} {runtime}: {:?}", ended.log);
        let scaler = self.manifest().target.scaler.single().unwrap();
        let mut live = BTreeMap::new();
        for line in ended.lines.lines() {
            let forecast: ForecastRecord<'_> = serde_json::from_str(line).unwrap();
            let key = (forecast.symbol.to_string(), forecast.as_of);
            assert_eq!(live.insert(key, scaler.apply(forecast.value)), None);
        }
        // Each symbol loses one row to the first change and eight to the first window.
        assert_eq!(live.len(), (700 - 9) + (234 - 9) + (550 - 9));
        let (data, judged) = (self.job.dataset(), &self.trained.assessment);
        let parts = [(&data.validation, &judged.validation), (&data.test, &judged.test)];
        let symbols = &self.manifest().training.known().unwrap().symbols;
        let mut compared = 0;
        for (part, judged) in parts {
            for (example, output) in part.examples.iter().zip(&judged.outputs) {
                let live = live[&(symbols[example.series].clone(), example.as_of)];
                let difference = (live - f64::from(*output)).abs();
                let case = format!("{mode} {runtime} {example:?}");
                assert!(difference < 1e-6, "{case}: live {live}, trainer {output}");
                compared += 1;
            }
        }
        assert!(compared > 400, "{compared} forecasts compared");
    }
}

#[test]
fn gru_layers_forecast_live_what_the_trainer_computed() {
    let layers = "[{ units = 8, recurrent_dropout = 0.1 }, { units = 5, dropout = 0.1 }]";
    let run = Run::new(&format!("network.gru = {layers}"));
    assert_eq!(run.manifest().modes, [Mode::Full, Mode::Sliding]);
    for (mode, runtime) in
        [("full", "onnxruntime"), ("sliding", "onnxruntime"), ("sliding", "native")]
    {
        run.serve(mode, runtime);
    }
    let carried = format!("network.gru = {layers}\nnetwork.state = 'carried'\nfit.batch = 6");
    let run = Run::new(&carried);
    assert_eq!(run.manifest().modes, [Mode::Carried]);
    run.serve("carried", "onnxruntime");
    run.serve("carried", "native");
}

#[test]
fn a_convolution_with_a_huber_loss_forecasts_live_what_the_trainer_computed() {
    let run = Run::new(
        "network.convolution = { filters = 6, kernel = 4 }\n\
         network.lstm = [{ units = 8 }]\nfit.loss = 'huber'\nfit.huber_delta = 0.2",
    );
    assert_eq!(run.manifest().modes, [Mode::Full]);
    run.serve("full", "onnxruntime");
    // The kernels of the native runtime take recurrent and dense layers alone.
    run.serve("full", "auto");
}

#[test]
fn a_convolution_over_gru_layers_with_attention_forecasts_live_what_the_trainer_computed() {
    let run = Run::new(
        "network.convolution = { filters = 6, kernel = 3, activation = 'tanh' }\n\
         network.gru = [{ units = 8 }]\nnetwork.attention = 4\n\
         fit.loss = 'mean_absolute_error'",
    );
    assert_eq!(run.manifest().modes, [Mode::Full]);
    run.serve("full", "onnxruntime");
}
