//! The comparison of the native kernels with a reference.

use super::*;
use crate::engine::inference::native::tests::small_lstm;
use crate::engine::inference::test_support::onnxruntime;
use crate::engine::inference::{HostBackend, HostTensors, Rounding};

/// A reference whose states are off by so much.
struct Off(f32);

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
    let refusal = by(RuntimeChoice::Native, 3e-6).unwrap_err();
    assert!(refusal.starts_with("compare with ONNX Runtime: state `h0` after 1 rows is "));
    assert_eq!(by(RuntimeChoice::Auto, 3e-6), Ok(Rounding::OnnxRuntime));
}

#[test]
fn numbers_agree_within_their_range() {
    assert_eq!(distance(&[1.0, 2e-6], &[1.0, 2.9e-6]), None);
    assert!(distance(&[1.0, 2e-6], &[1.0, 3.1e-6]).is_some());
    assert_eq!(distance(&[1000.0, 2e-6], &[1000.0, 9e-4]), None, "the range is 1000");
    assert!(distance(&[f32::NAN], &[0.0]).is_some());
    assert_eq!(distance(&[f32::NAN], &[f32::INFINITY]), None);
}
