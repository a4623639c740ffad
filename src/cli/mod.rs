//! The command line: what was typed, and what it means.
//!
//! Owns arguments, help texts and exit codes of the commands. Promises that every command is a few
//! lines into the library. Never holds logic that a test could want.

pub mod feed;
mod signal;
pub mod watch;
