//! x
pub mod lines;
pub mod wire;
