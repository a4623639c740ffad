//! The integration tests, as one binary: one link, one shared harness, a module for each theme.

mod bundle;
mod command_line;
mod daemon;
mod parity;
mod support;
mod tidy;
