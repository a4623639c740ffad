//! Writes the inputs of the fuzz corpus that no editor can write, into `tests/data/fuzz`:
//! `cargo run --locked --example fuzz_inputs`.

#![allow(clippy::print_stdout, reason = "a program of the command line")]

#[allow(dead_code, clippy::panic, reason = "the targets themselves do not run here")]
#[path = "mod.rs"]
mod bodies;
mod made_inputs;

use std::fs;
use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzz");
    for (path, bytes) in made_inputs::made_inputs() {
        fs::write(folder.join(&path), bytes)?;
        println!("{path}");
    }
    Ok(())
}
