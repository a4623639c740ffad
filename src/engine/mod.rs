//! From ticks to the bytes of forecasts and scores, for the symbols of one shard.
//!
//! Owns the inference seam, sealed models, the state of all symbols, and the wire forms. Promises
//! that the live forecast equals, bit for bit, what the model computes offline on the same rows.
//! Never reads a clock, opens a socket, or starts a thread.

pub mod files;
pub mod inference;
pub mod model;
pub mod onnx;
pub mod pipeline;
pub mod state;
pub mod symbols;
#[cfg(test)]
pub(crate) mod test_support;
pub mod wire;
