//! The comparison of the native kernels with a reference.

use super::*;
use crate::engine::inference::native::tests::{large_weights, small_lstm, small_lstm_of};
use crate::engine::inference::test_support::onnxruntime;
use crate::engine::inference::{HostBackend, HostTensors, Parts, Rounding};

/// A reference whose states are off by so much.
#[derive(Clone, Copy)]
struct Off(f32);

/// A reference that cannot open any model.
struct Broken;

impl Runtime for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn build(&self) -> String {
        "0".to_owned()
    }

    fn open(&self, _: &[u8], _: &Signature) -> Result<Box<dyn Backend>, InferenceError> {
        let message = "out of memory".to_owned();
        Err(InferenceError::Runtime { context: "open the model", message })
    }
}

impl Runtime for Off {
    fn name(&self) -> &'static str {
        "off"
    }

    fn build(&self) -> String {
        "0".to_owned()
    }

    fn open(&self, onnx: &[u8], signature: &Signature) -> Result<Box<dyn Backend>, InferenceError> {
        let mut exact = NativeRuntime::new().open(onnx, signature)?;
        let (off, states) = (self.0, signature.states.len());
        Ok(Box::new(HostBackend::new(signature, move |tensors: &mut HostTensors| {
            let lane = exact.lane(tensors.shape).unwrap();
            exact.rows_mut(lane).copy_from_slice(&tensors.rows);
            for index in 0..states {
                exact.state_mut(lane, index).copy_from_slice(&tensors.states[index]);
            }
            exact.run(lane).unwrap();
            tensors.output.copy_from_slice(exact.output(lane));
            for index in 0..states {
                tensors.next_states[index].copy_from_slice(exact.next_state(lane, index));
                tensors.next_states[index].iter_mut().for_each(|number| *number += off);
            }
        })))
    }
}

fn rounding(choice: RuntimeChoice, reference: Arc<dyn Runtime>) -> Result<Rounding, String> {
    let (onnx, signature) = small_lstm();
    let runtime = ChosenRuntime::new(choice, reference);
    let opened = runtime.open(&onnx, &signature);
    opened.map(|backend| backend.rounding()).map_err(|error| error.to_string())
}

#[test]
fn a_model_that_agrees_with_the_reference_runs_natively() {
    let by = |choice| rounding(choice, Arc::new(onnxruntime().clone()));
    assert_eq!(by(RuntimeChoice::OnnxRuntime), Ok(Rounding::OnnxRuntime));
    assert_eq!(by(RuntimeChoice::Native), Ok(Rounding::Native));
    let fast = NativeRuntime::new().is_fast();
    let auto = if fast { Rounding::Native } else { Rounding::OnnxRuntime };
    assert_eq!(by(RuntimeChoice::Auto), Ok(auto));
}

#[test]
fn a_model_that_does_not_agree_is_refused_or_left_to_the_reference() {
    let by = |choice, off| rounding(choice, Arc::new(Off(off)));
    assert_eq!(by(RuntimeChoice::Native, 0.0), Ok(Rounding::Native));
    let refusal = by(RuntimeChoice::Native, 5e-5).unwrap_err();
    assert!(refusal.starts_with("compare with ONNX Runtime: state `h0` after 1 rows is "));
    assert!(refusal.contains(" apart; at most "), "{refusal}");
    assert_eq!(by(RuntimeChoice::Auto, 5e-5), Ok(Rounding::OnnxRuntime));
}

/// Rounding that adds up over many rows is that of the reference as much as ours.
#[test]
fn every_step_begins_from_the_states_of_the_reference() {
    let by = |off| rounding(RuntimeChoice::Native, Arc::new(Off(off)));
    assert_eq!(by(2e-6), Ok(Rounding::Native), "thirty times that would be too much");
}

#[test]
fn a_failure_of_the_reference_is_no_refusal() {
    if NativeRuntime::new().is_fast() {
        let said = rounding(RuntimeChoice::Auto, Arc::new(Broken)).unwrap_err();
        assert_eq!(said, "open the model: out of memory");
    }
    let (onnx, signature) = small_lstm();
    let runtime = ChosenRuntime::new(RuntimeChoice::Native, Arc::new(Broken));
    assert!(runtime.open(&onnx, &signature).is_err());
    assert!(runtime.compared().is_empty(), "the next load tries again");
}

#[test]
fn one_graph_of_two_signatures_is_compared_twice_and_a_refusal_is_kept() {
    let (onnx, signature) = small_lstm();
    let runtime = ChosenRuntime::new(RuntimeChoice::Native, Arc::new(Off(0.0)));
    assert!(runtime.open(&onnx, &signature).is_ok());
    assert!(runtime.open(&onnx, &signature).is_ok());
    assert_eq!(runtime.compared().len(), 1);
    let other = Signature { output: "sums0".to_owned(), ..signature };
    assert!(runtime.open(&onnx, &other).is_err());
    let refused = |verdict: &Verdict| matches!(verdict, Verdict::Refused(_));
    assert_eq!(runtime.compared().values().filter(|verdict| refused(verdict)).count(), 1);
    assert_eq!(runtime.compared().len(), 2);
}

/// Shards open a model each.
#[test]
fn backends_of_one_model_share_its_weights_and_free_them_together() {
    let (onnx, signature) = small_lstm();
    let runtime = ChosenRuntime::new(RuntimeChoice::Native, Arc::new(Off(0.0)));
    let users = || match runtime.compared().values().next() {
        Some(Verdict::Native(model)) => model.strong_count(),
        _ => 0,
    };
    let backends: Vec<_> = (0..3).map(|_| runtime.open(&onnx, &signature).unwrap()).collect();
    assert_eq!(users(), 3, "one copy for three backends");
    drop(backends);
    assert_eq!(users(), 0, "a model that was replaced keeps no memory");
    let again = runtime.clone().open(&onnx, &signature).unwrap();
    assert_eq!((users(), runtime.compared().len()), (1, 1), "it is read again and not compared");
    drop(again);
}

#[test]
fn auto_says_why_onnx_runtime_computes_a_model() {
    let (onnx, signature) = small_lstm();
    let asked = |choice, off| {
        let runtime = ChosenRuntime::new(choice, Arc::new(Off(off)));
        let opened = runtime.open(&onnx, &signature).is_ok();
        (opened, runtime.passed_over(&onnx, &signature))
    };
    assert_eq!(asked(RuntimeChoice::OnnxRuntime, 5e-5), (true, None));
    assert_eq!(asked(RuntimeChoice::Native, 5e-5), (false, None));
    let (opened, why) = asked(RuntimeChoice::Auto, 5e-5);
    let why = why.unwrap();
    assert!(opened);
    if NativeRuntime::new().is_fast() {
        assert_eq!(asked(RuntimeChoice::Auto, 0.0), (true, None));
        assert!(why.starts_with("compare with ONNX Runtime: state `h0` after 1 rows is "), "{why}");
        assert!(why.ends_with(" is accepted"), "no advice against what was chosen: {why}");
    } else {
        assert_eq!(why, "this processor has no AVX2 and FMA");
    }
}

#[test]
fn graphs_of_a_fixed_shape_are_compared_at_that_shape() {
    for (steps, batch) in [(1, 1), (30, 1), (1, 3), (7, 2)] {
        let (onnx, signature) = small_lstm_of(steps, batch);
        let reference = Arc::new(onnxruntime().clone());
        let runtime = ChosenRuntime::new(RuntimeChoice::Native, reference);
        let opened = runtime.open(&onnx, &signature);
        assert!(opened.is_ok(), "{steps} and {batch}: {}", opened.err().unwrap());
    }
}

/// ONNX Runtime's own distance from the exact numbers is more than 1e-5 here after 30 rows.
#[test]
fn models_with_large_weights_are_within_the_rounding_of_a_step() {
    let (onnx, signature) = large_weights();
    let runtime = ChosenRuntime::new(RuntimeChoice::Native, Arc::new(onnxruntime().clone()));
    let opened = runtime.open(&onnx, &signature);
    assert!(opened.is_ok(), "{}", opened.err().unwrap());
}

/// Native kernels whose [`Parts::finish`] is off in one bit.
struct Tampered(Box<dyn Backend>);

impl Backend for Tampered {
    fn lane(&mut self, shape: Shape) -> Result<Lane, InferenceError> {
        self.0.lane(shape)
    }

    fn rows_mut(&mut self, lane: Lane) -> &mut [f32] {
        self.0.rows_mut(lane)
    }

    fn state_mut(&mut self, lane: Lane, index: usize) -> &mut [f32] {
        self.0.state_mut(lane, index)
    }

    fn run(&mut self, lane: Lane) -> Result<(), InferenceError> {
        self.0.run(lane)
    }

    fn output(&self, lane: Lane) -> &[f32] {
        self.0.output(lane)
    }

    fn next_state(&self, lane: Lane, index: usize) -> &[f32] {
        self.0.next_state(lane, index)
    }

    fn parts(&mut self) -> Option<&mut dyn Parts> {
        Some(self)
    }
}

impl Parts for Tampered {
    fn state_width(&self) -> usize {
        16 + 16 + 8 + 8
    }

    fn half_width(&self) -> usize {
        64 + 32
    }

    fn state_place(&self, index: usize) -> usize {
        [0, 16, 32, 40][index]
    }

    fn ahead(&mut self, state: &[f32], half: &mut [f32]) {
        self.0.parts().unwrap().ahead(state, half);
    }

    fn finish(&mut self, row: &[f32], state: &[f32], half: &[f32], output: &mut [f32]) {
        self.0.parts().unwrap().finish(row, state, half, output);
        output[0] = f32::from_bits(output[0].to_bits() ^ 1);
    }

    fn advance(&mut self, row: &[f32], states: &mut [f32]) {
        self.0.parts().unwrap().advance(row, states);
    }

    fn step(&mut self, rows: &[f32], states: &mut [f32], outputs: &mut [f32]) {
        self.0.parts().unwrap().step(rows, states, outputs);
    }
}

#[test]
fn the_parts_that_serve_are_proven_to_the_bit() {
    let (onnx, signature) = small_lstm();
    let open = || NativeRuntime::new().open(&onnx, &signature).unwrap();
    let mut tampered = Tampered(open());
    let said = compare(&mut tampered, &mut *open(), &signature, Fixed::default()).unwrap();
    let says = "a step whose half was made ahead gives other bits than a run of 16";
    assert_eq!(said, Err(says.to_owned()));
}

#[test]
fn numbers_agree_within_their_range() {
    let apart = |ours: &[f32], theirs: &[f32]| distance(ours, theirs, |_| 1.0);
    assert_eq!(apart(&[1.0, 2e-6], &[1.0, 5.9e-6]), None);
    let farthest = apart(&[1.0, 2e-6, 3e-5], &[1.0, 6.1e-6, 9e-5]).unwrap();
    assert!(farthest.starts_with("0.00003 natively and 0.00009 by ONNX Runtime"), "{farthest}");
    assert_eq!(apart(&[1000.0, 2e-6], &[1000.0, 3e-3]), None, "the range is 1000");
    assert_eq!(distance(&[0.0, 3e-5], &[0.0, 0.0], |at| [1.0, 10.0][at]), None);
    assert!(distance(&[3e-5, 0.0], &[0.0, 0.0], |at| [1.0, 10.0][at]).is_some());
    let infinite = f32::INFINITY;
    assert!(apart(&[f32::NAN], &[0.0]).is_some());
    assert!(apart(&[f32::NAN], &[infinite]).is_some());
    assert!(apart(&[-infinite], &[infinite]).is_some());
    assert_eq!(apart(&[f32::NAN, infinite], &[f32::NAN, infinite]), None);
}
