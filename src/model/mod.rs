//! Sealed models: the files of a bundle and the checks a model passes before it may speak.
pub mod onnx;
