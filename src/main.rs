//! The `tickcast` binary.
fn main() {}
