//! Graphs built by hand, each run by ONNX Runtime as it was and rewritten.
