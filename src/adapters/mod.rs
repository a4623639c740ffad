//! The adapters: every source, every sink and the HTTP server, one folder each.
//!
//! Owns the list of what exists. Promises that an adapter's settings, metrics and code lie in its
//! own folder. Never computes.

pub mod file;
pub mod http;
pub mod kafka;
pub mod lines;
pub mod stream;
pub mod websocket;
