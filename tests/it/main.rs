//! The integration tests, as one binary: one link, one shared harness, a module for each theme.

mod tidy;
