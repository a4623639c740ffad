//! Trial runs by ONNX Runtime.
//!
//! Owns a session. Promises one thread, the caller's, like every session
//! here, and that what the runtime would log comes back as the error alone. Never binds tensors.

use ort::logging::LogLevel;
use ort::memory::Allocator;
use ort::session::{Session, SessionInputValue};
use ort::value::{
    DynValue, PrimitiveTensorElementType, Tensor as OrtTensor, TensorElementType, ValueType,
};

use super::OnnxRuntime;
use crate::engine::inference::InferenceError;
use crate::engine::inference::trial::{Element, Tensor, Trial, Values, plain_words};

/// A graph in a session of its own.
struct OrtTrial {
    session: Session,
}

fn failed<E: std::fmt::Display>(context: &'static str) -> impl Fn(E) -> InferenceError {
    move |error| InferenceError::Runtime { context, message: plain_words(&error.to_string()) }
}

/// Opens a graph for trial runs.
pub(super) fn open(runtime: &OnnxRuntime, onnx: &[u8]) -> Result<Box<dyn Trial>, InferenceError> {
    let failed = failed("open the graph");
    let session = runtime.trial_session(onnx).map_err(failed)?;
    Ok(Box::new(OrtTrial { session }))
}

impl OnnxRuntime {
    fn trial_session(&self, onnx: &[u8]) -> ort::Result<Session> {
        let builder = self.builder()?.with_log_level(LogLevel::Fatal)?;
        let mut builder = builder;
        builder.commit_from_memory(onnx)
    }
}

fn element(kind: TensorElementType) -> Element {
    match kind {
        TensorElementType::Float16 => Element::F16,
        TensorElementType::Float32 => Element::F32,
        TensorElementType::Float64 => Element::F64,
        TensorElementType::Int32 => Element::I32,
        TensorElementType::Int64 => Element::I64,
        TensorElementType::Bool => Element::Bool,
        _ => Element::Other,
    }
}

impl Trial for OrtTrial {
    fn run(&mut self, inputs: &[(&str, Tensor)]) -> Result<Vec<(String, Tensor)>, InferenceError> {
        let failed = failed("run the graph");
        let mut given = Vec::with_capacity(inputs.len());
        for (name, tensor) in inputs {
            tensor.check().map_err(|problem| InferenceError::Runtime {
                context: "run the graph",
                message: format!("input `{name}`: {problem}"),
            })?;
            given.push(((*name).to_owned(), value(tensor).map_err(&failed)?));
        }
        let outputs = self.session.run(given).map_err(&failed)?;
        Ok(outputs.iter().map(|(name, value)| (name.to_owned(), tensor(&value))).collect())
    }
}

fn value(tensor: &Tensor) -> ort::Result<SessionInputValue<'static>> {
    let Tensor { dims, values } = tensor;
    match values {
        Values::F32(values) => filled(dims, values),
        Values::F64(values) => filled(dims, values),
        Values::I32(values) => filled(dims, values),
        Values::I64(values) => filled(dims, values),
        Values::Bool(values) => filled(dims, values),
        Values::Unread => Err(ort::Error::new("a tensor without values")),
    }
}

fn filled<T>(dims: &[usize], values: &[T]) -> ort::Result<SessionInputValue<'static>>
where
    T: PrimitiveTensorElementType + Copy + std::fmt::Debug + 'static,
{
    let mut tensor = OrtTensor::<T>::new(&Allocator::default(), dims.to_vec())?;
    tensor.extract_tensor_mut().1.copy_from_slice(values);
    Ok(tensor.into())
}

fn tensor(value: &DynValue) -> Tensor {
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Tensor { dims: Vec::new(), values: Values::Unread };
    };
    let dims = shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
    let values = match element(*ty) {
        Element::F32 => read(value).map(Values::F32),
        Element::F64 => read(value).map(Values::F64),
        Element::I32 => read(value).map(Values::I32),
        Element::I64 => read(value).map(Values::I64),
        Element::Bool => read(value).map(Values::Bool),
        Element::F16 | Element::Other => None,
    };
    Tensor { dims, values: values.unwrap_or(Values::Unread) }
}

fn read<T: PrimitiveTensorElementType + Copy>(value: &DynValue) -> Option<Vec<T>> {
    value.try_extract_tensor::<T>().ok().map(|(_, values)| values.to_vec())
}
