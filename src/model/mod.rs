//! Sealed models: the bundle's contract, its verification, and the store they lie in.
//!
//! Owns everything that is known of a model before it runs. Promises that a bundle that loads is
//! whole: hashes, rules, graph and golden vectors all checked. Never runs a model outside that
//! check.

pub mod golden;
pub mod manifest;
pub mod onnx;
