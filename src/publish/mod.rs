//! Publishing: forecasts as bytes to whoever listens.
//!
//! Owns the wire form of a forecast and the ways out: the WebSocket stream, standard output and
//! files. Promises that every way out carries the same bytes in the same order. Never computes.

pub mod wire;
