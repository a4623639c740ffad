//! Models of other frameworks, on their way to a bundle.
//!
//! Owns what a foreign graph is and how it becomes one that the engine drives. Promises that a
//! rewritten graph was compared with the original's own run. Never serves a model.

pub mod graph;
