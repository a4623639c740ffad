//! What the tests of graphs share: the way from a file to a proven rewrite.

use super::super::probe::{Probe, Windows};
use super::super::prove::run_whole;
use super::super::rewrite::sealed_drive;
use super::super::{Comparison, Foreign, Hints, Layout, Rewritten, Wanted, read, run_original};
use super::net::{Net, Size};
use crate::engine::inference::Runtime;
use crate::engine::inference::trial::Tensor;
use crate::engine::model::manifest::Mode;
use crate::engine::onnx::{ModelProto, StringStringEntryProto, TensorProto};
use crate::engine::test_support::onnxruntime as runtime;

pub(super) const WINDOW: usize = 6;
pub(super) const FEATURES: usize = 3;
pub(super) const UNITS: usize = 4;

pub(super) fn nothing_beside(name: &str) -> Result<Vec<u8>, String> {
    Err(format!("there is no `{name}`"))
}

pub(super) fn read_plain(onnx: &[u8]) -> Result<Foreign, Vec<String>> {
    read(onnx, &nothing_beside, runtime(), &Hints::default())
}

pub(super) fn wanted() -> Wanted {
    Wanted { window: WINDOW, features: FEATURES, expose_states: true, ..Wanted::default() }
}

pub(super) fn windows(count: usize, wanted: &Wanted) -> Vec<Vec<f32>> {
    let size = wanted.window * wanted.features;
    let all = Windows::random(count, wanted.window, wanted.features, 99);
    all.values.chunks_exact(size).map(<[f32]>::to_vec).collect()
}

/// Compares a rewritten graph, fed whole windows one at a time, with the original's own run.
pub(super) fn prove(
    foreign: &Foreign,
    rewritten: &Rewritten,
    runtime: &dyn Runtime,
    wanted: &Wanted,
    windows: &[Vec<f32>],
) -> Result<Comparison, String> {
    let original = run_original(foreign, runtime, wanted, windows)?;
    let mut probe = Probe::open_bytes(runtime, &rewritten.onnx)?;
    let (drive, output) = (sealed_drive(&rewritten.spec), &rewritten.spec.output);
    let sealed = run_whole(&mut probe, &drive, output, wanted, windows)?;
    Ok(Comparison::of(&original, &sealed))
}

/// Reads, rewrites and proves: the rewritten graph has the bits of the original, and, where it may
/// slide, its single steps have them too.
pub(super) fn sealed_with(onnx: &[u8], hints: &Hints, wanted: &Wanted) -> (Foreign, Rewritten) {
    let foreign = read(onnx, &nothing_beside, runtime(), hints).unwrap();
    let rewritten = foreign.rewrite(runtime(), wanted).unwrap();
    let windows = windows(8, wanted);
    let compared = prove(&foreign, &rewritten, runtime(), wanted, &windows).unwrap();
    assert!(compared.is_bit_equal, "{}: {:?}", compared.words(), rewritten.rewrites);
    if rewritten.modes.contains(&Mode::Sliding) {
        let original = run_original(&foreign, runtime(), wanted, &windows).unwrap();
        let stepped = step_by_step(&rewritten, wanted, &windows);
        let compared = Comparison::of(&original, &stepped);
        assert!(compared.is_bit_equal, "by single steps: {}", compared.words());
    }
    if !rewritten.is_alone {
        assert_rows_keep_apart(&rewritten, wanted);
    }
    (foreign, rewritten)
}

pub(super) fn sealed(net: &Net) -> (Foreign, Rewritten) {
    sealed_with(&net.bytes(), &Hints::default(), &wanted())
}

pub(super) fn step_by_step(
    rewritten: &Rewritten,
    wanted: &Wanted,
    windows: &[Vec<f32>],
) -> Vec<Vec<f32>> {
    let mut probe = Probe::open_bytes(runtime(), &rewritten.onnx).unwrap();
    let drive = sealed_drive(&rewritten.spec);
    let of_window = |values: &Vec<f32>| {
        let Wanted { window: steps, features, .. } = *wanted;
        let rows = Windows { batch: 1, steps, features, values: values.clone() };
        let mut states: Vec<(String, Tensor)> = Vec::new();
        let mut last = Vec::new();
        for at in 0..steps {
            let given = probe.run_from(&drive, &rows.step(at), &states).unwrap();
            let carried = rewritten.spec.states.iter();
            states = carried.map(|s| (s.input.clone(), given[&s.output].clone())).collect();
            last = given[&rewritten.spec.output].to_f32().unwrap();
        }
        last
    };
    windows.iter().map(of_window).collect()
}

/// Rows of a batch are those of the rows alone, but for rounding.
pub(super) fn assert_rows_keep_apart(rewritten: &Rewritten, wanted: &Wanted) {
    let mut probe = Probe::open_bytes(runtime(), &rewritten.onnx).unwrap();
    let drive = sealed_drive(&rewritten.spec);
    let all = Windows::random(5, wanted.window, wanted.features, 42);
    let output = &rewritten.spec.output;
    let together = probe.run(&drive, &all).unwrap()[output].clone();
    assert_eq!(together.dims, [5, rewritten.columns]);
    let together = together.to_f32().unwrap();
    for (at, together) in together.chunks_exact(rewritten.columns).enumerate() {
        let alone = probe.run(&drive, &all.row(at, 1)).unwrap()[output].to_f32().unwrap();
        let compared = Comparison::of(&[alone], &[together.to_vec()]);
        assert!(compared.largest_difference < 1e-6, "row {at}: {}", compared.words());
    }
}

/// One LSTM behind a window of any layout, and a dense layer on its last step.
pub(super) fn lstm_of(layout: Layout, window: Size, batch: Size) -> Net {
    let mut net = Net::new();
    let features = Some(FEATURES);
    let rows = match layout {
        Layout::BatchFirst => {
            let x = net.input("sequence", &[batch, window, features]);
            net.transpose(&x, &[1, 0, 2])
        }
        Layout::TimeMajor => net.input("sequence", &[window, batch, features]),
        Layout::FeaturesFirst => {
            let x = net.input("sequence", &[batch, features, window]);
            net.transpose(&x, &[2, 0, 1])
        }
        Layout::Flattened => {
            let x = net.input("sequence", &[batch, Some(WINDOW * FEATURES)]);
            let shape = net.ints(&[-1, WINDOW as i64, FEATURES as i64]);
            let x = net.add("Reshape", &[&x, &shape]);
            net.transpose(&x, &[1, 0, 2])
        }
    };
    let (steps, _) = net.recurrent("LSTM", &rows, [FEATURES, UNITS], &[]);
    let last = net.gather(&steps, -1, 0);
    let y = net.dense(&last, [UNITS, 1]);
    net.output(&y, &[batch, Some(1)]);
    net
}

/// Moves the weights of a model into data beside it.
pub(super) fn beside_of(model: &mut ModelProto, file: &str) -> Vec<u8> {
    let mut data = Vec::new();
    let graph = model.graph.as_mut().unwrap();
    for tensor in graph.initializer.iter_mut().filter(|tensor| tensor.dims.len() > 1) {
        let TensorProto { raw_data, .. } = tensor;
        tensor.external_data = vec![
            StringStringEntryProto::new("location", file),
            StringStringEntryProto::new("offset", &data.len().to_string()),
            StringStringEntryProto::new("length", &raw_data.len().to_string()),
        ];
        data.append(raw_data);
        tensor.data_location = 1;
    }
    data
}
