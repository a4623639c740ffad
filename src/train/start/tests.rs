//! Export and back, and every difference by its name.

use super::super::config;
use super::super::network::{Activation, Architecture, DenseShape, RecurrentShape};
use super::super::random::{Purpose, Random};
use super::*;
use crate::engine::test_support;

fn architecture(units: usize, attention: Option<usize>) -> Architecture {
    Architecture {
        inputs: 3,
        recurrent: vec![RecurrentShape::lstm(units), RecurrentShape::gru(4)],
        attention,
        dense: vec![DenseShape::new(3, Activation::Relu), DenseShape::new(1, Activation::Tanh)],
        ..Architecture::default()
    }
}

/// Parameters with every kind of bits: zeros of both signs, a denormal one, large and small ones.
fn numbers(count: usize) -> Vec<f32> {
    let mut random = Random::new(3, Purpose::Initial);
    let mut numbers: Vec<f32> = (0..count).map(|_| random.normal() as f32).collect();
    numbers[..4].copy_from_slice(&[0.0, -0.0, f32::MIN_POSITIVE / 8.0, -1e30]);
    numbers
}

#[test]
fn exported_parameters_come_back_with_every_bit() {
    for attention in [None, Some(5)] {
        let network = Network::new(architecture(6, attention)).unwrap();
        let written = numbers(network.parameter_count());
        let onnx = export(&network, &written, "m").onnx;
        let read = parameters(&network, &test_support::manifest(&[Mode::Full]), &onnx).unwrap();
        let bits = |numbers: &[f32]| numbers.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read), bits(&written));
    }
}

/// The shipped configuration of a model, starting from that model.
fn shipped(name: &str) -> TrainConfig {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join(format!("config/train/{name}.toml"));
    let mut config = config::load(&path).unwrap();
    config.models_root = root.join("models");
    config.start.from = StartFrom::Bundle;
    config
}

#[test]
fn the_models_that_ship_give_their_parameters_back() {
    for name in ["stocks-volatility", "stocks-volatility-carried", "seattle-rain"] {
        let mut config = shipped(name);
        let network = Network::new(config.architecture.clone()).unwrap();
        let start = take(&mut config, &network).unwrap().unwrap();
        assert_eq!((&*start.model, &*start.version), (name, "1"));
        assert!(start.trained_until < start.validated_until);
        let bundle = Bundle::read(&config.models_root.join(name).join("1")).unwrap();
        assert_eq!(start.onnx_sha256, bundle.manifest().onnx_sha256);
        let parameters = config.recipe.start.unwrap();
        let again = export(&network, parameters.parameters(), name).onnx;
        let graph = |bytes: &[u8]| ModelProto::from_bytes(bytes).unwrap().graph.unwrap();
        let (again, sealed) = (graph(&again), graph(bundle.onnx()));
        for tensor in &again.initializer {
            assert!(constant(&sealed, &tensor.name) == Some(tensor), "{}", tensor.name);
        }
        let [rows, _] = *config.scalers.unwrap();
        assert_eq!(rows, bundle.manifest().scaler);
    }
}

#[test]
fn what_differs_is_named_all_at_once() {
    let mut config = shipped("stocks-volatility");
    config.features[0] = "change".to_owned();
    config.window_steps = 20;
    config.horizon_steps = 2;
    config.architecture.recurrent[0].units = 16;
    let network = Network::new(config.architecture.clone()).unwrap();
    let error = take(&mut config, &network).unwrap_err().to_string();
    for expected in [
        "window.features: the bundle has `absolute_return, log_return",
        "the configuration `change, log_return",
        "window.steps: the bundle has 30, the configuration 20",
        "target.horizon_steps: the bundle has 1, the configuration 2",
        "network: the layer `lstm0` of the bundle has another size or other inputs",
    ] {
        assert!(error.contains(expected), "{expected} is not in {error}");
    }
    let mut config = shipped("stocks-volatility");
    config.architecture.dense[0].activation = Activation::Tanh;
    let network = Network::new(config.architecture.clone()).unwrap();
    let error = take(&mut config, &network).unwrap_err().to_string();
    assert!(error.contains("the bundle has the operators LSTM, Squeeze, Gemm, the"), "{error}");
    let mut config = shipped("stocks-volatility");
    config.folds = 3;
    let error = take(&mut config, &network).unwrap_err().to_string();
    assert!(error.starts_with("fit.start: evaluate.folds fits models to earlier"), "{error}");
    config.folds = 0;
    config.start.bundle = Some(("aapl-daily/7".to_owned(), PathBuf::from("aapl-daily/7")));
    let error = take(&mut config, &network).unwrap_err().to_string();
    assert!(error.contains("has no version `7`"), "{error}");
}
