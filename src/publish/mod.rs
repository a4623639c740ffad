//! x
pub mod lines;
pub mod stream;
pub mod wire;
