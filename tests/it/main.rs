//! The integration tests: one binary, a module per promise.

mod bundle;
mod parity;
mod support;
