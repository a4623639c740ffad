//! A fit that begins with the parameters of a sealed bundle.
//!
//! Owns the way back from the constants of a graph to the parameters of a network, and the rules of
//! a start. Promises that parameters come back with every bit and that what differs between the
//! bundle and the configuration is named. Promises also that nothing that judges the new model was
//! seen by the bundle: neither the test part by its training or validation, nor the validation part
//! by its training. Never changes a bundle.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::config::{ScalerPer, StartFrom, StartScaler, StateRule, TrainConfig};
use super::dataset::{Dataset, Part};
use super::export::export;
use super::fit::StartParameters;
use super::history::History;
use super::network::Network;
use crate::core::domain::UnixNanos;
use crate::core::text::indented_lines;
use crate::engine::model::manifest::{Known, Manifest, Mode, StartSpec, StepSpec};
use crate::engine::model::{Bundle, BundleError, MANIFEST_FILE, StoreError, locate};
use crate::engine::onnx::{GraphProto, ModelProto, TensorProto};

/// The bit that makes a number negative.
const SIGN: u32 = 1 << 31;

/// Why a fit cannot begin with a bundle.
#[derive(Debug, Error)]
pub enum StartError {
    /// There is no such bundle.
    #[error("fit.start_from: {0}")]
    Store(#[from] StoreError),
    /// It is refused.
    #[error("fit.start_from: {0}")]
    Bundle(#[from] BundleError),
    /// It is of another model.
    #[error(
        "fit.start_from: a fit cannot begin with {}:{}", folder.display(),
        indented_lines(differences)
    )]
    Differs {
        /// Its folder.
        folder: PathBuf,
        /// One line for each difference.
        differences: Vec<String>,
    },
    /// Something judges the new model that the bundle has seen.
    #[error(
        "fit.start: the {part} part begins with {begins}, and {bundle} was {what} until {until}, \
         so the part would flatter the model: {advice}"
    )]
    Seen {
        /// The part of the new fit.
        part: &'static str,
        /// The oldest row of it.
        begins: UnixNanos,
        /// The bundle.
        bundle: String,
        /// What the bundle did with the rows.
        what: &'static str,
        /// Until when.
        until: UnixNanos,
        /// What to do.
        advice: &'static str,
    },
    /// Fits on earlier parts of the history, which the bundle has seen.
    #[error(
        "fit.start: {0} fits models to earlier parts of the history, which a bundle has seen \
         already: use fit.start = \"fresh\""
    )]
    Earlier(&'static str),
}

/// Refuses a start from a bundle for `what`, which fits to earlier parts of the history.
///
/// # Errors
/// [`StartError::Earlier`].
pub(super) fn refuse(config: &TrainConfig, what: &'static str) -> Result<(), StartError> {
    match config.start.from {
        StartFrom::Fresh => Ok(()),
        StartFrom::Bundle => Err(StartError::Earlier(what)),
    }
}

/// Reads the bundle that the configuration starts from, if any, and puts its parameters and, where
/// that is wanted, its scalers into the configuration.
///
/// # Errors
/// [`StartError`].
pub(super) fn take(
    config: &mut TrainConfig,
    network: &Network,
) -> Result<Option<StartSpec>, StartError> {
    if config.start.from == StartFrom::Fresh {
        return Ok(None);
    }
    if config.folds > 0 {
        return Err(StartError::Earlier("evaluate.folds"));
    }
    let folder = folder(config)?;
    let bundle = Bundle::read(&folder)?;
    let manifest = bundle.manifest();
    let mut differences = differences(config, manifest);
    let spec = spec(manifest);
    if spec.is_none() {
        differences.push("its manifest does not say until when it was trained".to_owned());
    }
    let parameters = parameters(network, manifest, bundle.onnx());
    match (spec, parameters) {
        (Some(spec), Ok(parameters)) if differences.is_empty() => {
            config.recipe.start = Some(StartParameters::new(parameters));
            if config.start.scaler == StartScaler::Bundle {
                let scalers = [manifest.scaler.clone(), manifest.target.scaler.clone()];
                config.scalers = Some(Box::new(scalers));
            }
            Ok(Some(spec))
        }
        (_, parameters) => {
            differences.extend(parameters.err());
            Err(StartError::Differs { folder, differences })
        }
    }
}

/// The folder of the bundle that is asked for.
fn folder(config: &TrainConfig) -> Result<PathBuf, StoreError> {
    let root = &config.models_root;
    let Some((text, path)) = &config.start.bundle else {
        return locate(root, &config.name, "latest");
    };
    let is_bundle = |path: &Path| path.join(MANIFEST_FILE).is_file();
    if is_bundle(path) {
        return Ok(path.clone());
    }
    match text.split_once('/') {
        Some((name, version)) => locate(root, name, version),
        None => locate(root, text, "latest"),
    }
}

/// What the manifest of the new model says of the bundle; `None` where it is not known until when
/// that was trained.
fn spec(manifest: &Manifest) -> Option<StartSpec> {
    let Known::Is(training) = &manifest.training else { return None };
    let validation = manifest.evaluation.iter().find(|part| part.part == "validation");
    let validated = validation.map_or(training.to, |part| part.to);
    // What an earlier bundle has seen is in the parameters too.
    let earlier = manifest.start.as_ref();
    let later = |own: UnixNanos, of: fn(&StartSpec) -> UnixNanos| {
        earlier.map_or(own, |start| own.max(of(start)))
    };
    Some(StartSpec {
        model: manifest.name.clone(),
        version: manifest.version.clone(),
        onnx_sha256: manifest.onnx_sha256.clone(),
        trained_until: later(training.to, |start| start.trained_until),
        validated_until: later(validated, |start| start.validated_until),
    })
}

/// What differs between the manifest of the bundle and the configuration, but for the network.
fn differences(config: &TrainConfig, manifest: &Manifest) -> Vec<String> {
    // How far apart steps may lie, and on which days they are, follows from the history.
    let rule = |step: &StepSpec| StepSpec { calendar: None, gap_steps_max: None, ..step.clone() };
    let carries = manifest.modes.contains(&Mode::Carried);
    let mut differences = Vec::new();
    let mut compare = |key: &str, differs: bool, words: [String; 2]| {
        if differs {
            let [theirs, ours] = words;
            differences.push(format!("{key}: the bundle has {theirs}, the configuration {ours}"));
        }
    };
    let list = |texts: &[String]| format!("`{}`", texts.join(", "));
    compare(
        "window.features",
        manifest.features != config.features,
        [list(&manifest.features), list(&config.features)],
    );
    compare(
        "window.extra_fields",
        manifest.extra_fields != config.extra_fields,
        [list(&manifest.extra_fields), list(&config.extra_fields)],
    );
    compare(
        "window.steps",
        manifest.window_steps as usize != config.window_steps,
        [manifest.window_steps.to_string(), config.window_steps.to_string()],
    );
    compare(
        "step",
        rule(&manifest.step) != rule(&config.step),
        [rule(&manifest.step).words(), rule(&config.step).words()],
    );
    let target = |target: &crate::core::forecast::Target| {
        let (label, field) = (target.label(), target.field());
        field.map_or_else(|| label.to_owned(), |field| format!("{label} of {field}"))
    };
    let targets = [target(&manifest.target.kind), target(&config.target)];
    compare("target", manifest.target.kind != config.target, targets);
    compare(
        "target.horizon_steps",
        manifest.horizon_steps as usize != config.horizon_steps,
        [manifest.horizon_steps.to_string(), config.horizon_steps.to_string()],
    );
    let state = |carries: bool| if carries { "a carried state" } else { "windows" }.to_owned();
    let wanted = config.state == StateRule::Carried;
    compare("network.state", carries != wanted, [state(carries), state(wanted)]);
    // Their tables and scalers would have to be taken over as well.
    let tells_symbols_apart = config.embedding > 0
        || config.statics.is_some()
        || config.scaler_per != ScalerPer::Model
        || manifest.symbols.is_some();
    if tells_symbols_apart {
        differences.push("a model that tells symbols apart can only be fitted afresh".to_owned());
    }
    if config.outputs.are_listed() || !manifest.outputs.is_empty() {
        differences.push("a model with several outputs can only be fitted afresh".to_owned());
    }
    differences
}

/// The parameters of `network` in the graph of a bundle, with every bit.
///
/// The exporter says where each parameter goes: a network whose parameters are numbered by their
/// bits is exported twice, once with each sign. A constant whose sign follows is a parameter, and
/// its bits are its number; any other one must be the same in the bundle.
fn parameters(network: &Network, manifest: &Manifest, onnx: &[u8]) -> Result<Vec<f32>, String> {
    let graph_of = |bytes: &[u8]| {
        let model = ModelProto::from_bytes(bytes).map_err(|error| format!("network: {error}"))?;
        model.graph.ok_or_else(|| "network: the bundle has no graph".to_owned())
    };
    let theirs = graph_of(onnx)?;
    let numbered = |sign: u32| {
        let numbers = (1..).take(network.parameter_count());
        let parameters: Vec<f32> =
            numbers.map(|number: u32| f32::from_bits(number | sign)).collect();
        graph_of(&export(network, &parameters, &manifest.name).onnx)
    };
    let (plus, minus) = (numbered(0)?, numbered(SIGN)?);
    same_layers(&plus, &theirs)?;
    let mut parameters = vec![None; network.parameter_count()];
    for (plus, minus) in plus.initializer.iter().zip(&minus.initializer) {
        let name = &plus.name;
        let there = constant(&theirs, name);
        let there = there.ok_or_else(|| format!("network: the bundle has no `{name}`"))?;
        if there.dims != plus.dims {
            let (theirs, ours) = (&there.dims, &plus.dims);
            return Err(format!(
                "network: `{name}` is {theirs:?} in the bundle and {ours:?} in the configuration"
            ));
        }
        let (Some(plus), Some(minus)) = (plus.read_floats(), minus.read_floats()) else { continue };
        let there = there.read_floats();
        let there = there.ok_or_else(|| format!("network: `{name}` holds no 32-bit floats"))?;
        for ((plus, minus), value) in plus.iter().zip(&minus).zip(there) {
            let number = plus.to_bits();
            let is_parameter = number != 0 && minus.to_bits() == number | SIGN;
            let place = number.checked_sub(1).filter(|_| is_parameter);
            match place.and_then(|place| parameters.get_mut(place as usize)) {
                Some(parameter) => *parameter = Some(value),
                None if value.to_bits() == number => {}
                None => return Err(format!("network: `{name}` has another constant")),
            }
        }
    }
    let whole: Option<Vec<f32>> = parameters.into_iter().collect();
    whole.ok_or_else(|| "network: some parameters are not in the graph".to_owned())
}

/// Compares the operators of two graphs.
fn same_layers(ours: &GraphProto, theirs: &GraphProto) -> Result<(), String> {
    if ours.node == theirs.node {
        return Ok(());
    }
    let names = |graph: &GraphProto| {
        let names: Vec<_> = graph.node.iter().map(|node| node.op_type.as_str()).collect();
        names.join(", ")
    };
    let [theirs_named, ours_named] = [theirs, ours].map(names);
    if theirs_named != ours_named {
        return Err(format!(
            "network: the bundle has the operators {theirs_named}, the configuration {ours_named}"
        ));
    }
    let differing = ours.node.iter().zip(&theirs.node).find(|(ours, theirs)| ours != theirs);
    let name = differing.map_or("", |(ours, _)| &ours.name);
    Err(format!("network: the layer `{name}` of the bundle has another size or other inputs"))
}

fn constant<'g>(graph: &'g GraphProto, name: &str) -> Option<&'g TensorProto> {
    graph.initializer.iter().find(|tensor| tensor.name == name)
}

/// Refuses parts that the bundle has seen.
///
/// # Errors
/// [`StartError::Seen`].
pub(super) fn check(
    start: &StartSpec,
    history: &History,
    dataset: &Dataset,
    config: &TrainConfig,
) -> Result<(), StartError> {
    let begins = |part: &Part| {
        let rows = part.examples.iter().map(|example| {
            history.series[example.series].steps.step(example.step + 1 - config.window_steps).time
        });
        rows.min()
    };
    let bundle = || format!("{} {}", start.model, start.version);
    let validation = begins(&dataset.validation).filter(|begins| *begins <= start.trained_until);
    if let Some(begins) = validation {
        return Err(StartError::Seen {
            part: "validation",
            begins,
            bundle: bundle(),
            what: "trained",
            until: start.trained_until,
            advice: "make split.validation smaller, or the history longer",
        });
    }
    let test = begins(&dataset.test).filter(|begins| *begins <= start.validated_until);
    if let Some(begins) = test {
        return Err(StartError::Seen {
            part: "test",
            begins,
            bundle: bundle(),
            what: "trained and validated",
            until: start.validated_until,
            advice: "make split.test smaller, or the history longer",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
