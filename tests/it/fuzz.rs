//! The fuzz targets over their corpus, and over a few thousand cheap changes of it.
//!
//! `tests/data/fuzz/TARGET` holds realistic inputs, and each one that ever broke a law. libFuzzer
//! begins with the same files (`make fuzz`).

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::bodies::{self, TARGETS};
use crate::made_inputs;
use crate::support::random::Random;
use crate::support::repository;

/// What the fuzzer's changes put into inputs, beside bytes: numbers at the ends of ranges, and
/// pieces of the grammars.
const PIECES: &[&[u8]] = &[
    b"",
    b"\0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x80\x80\x80\x80\x10",
    b"-9223372036854775808",
    b"9223372036854775807",
    b"1e308",
    b"1e-400",
    b"NaN",
    b"null",
    b"\"",
    b"\\ud800",
    b"[",
    b"{\"",
    b"}",
    b",",
    b"\n",
    b"\r\n",
    b";",
    b"=",
    b"'",
    b"\xe2\x80\xae",
    b"2024-02-30T24:00:61.9999999999Z",
];

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = repository().join("tests/data/fuzz").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// An input with a few changes; a part of another one among them.
fn changed(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        let mut place = |length: usize| random.below(length as u64 + 1) as usize;
        let (from, to) = (place(bytes.len()), place(bytes.len()));
        let (from, to) = (from.min(to), from.max(to));
        match place(6) {
            0 => bytes.truncate(to),
            1 if from < bytes.len() => bytes[from] ^= 1 << place(7),
            2 => {
                let piece = PIECES[place(PIECES.len() - 1)];
                bytes.splice(from..from, piece.iter().copied());
            }
            3 => {
                let piece = PIECES[place(PIECES.len() - 1)];
                let end = bytes.len().min(from + place(4));
                bytes.splice(from..end, piece.iter().copied());
            }
            4 if to - from < 4096 => {
                let copy = bytes[from..to].to_vec();
                bytes.splice(to..to, copy);
            }
            5 => {
                let begin = place(other.len());
                bytes.truncate(from);
                bytes.extend_from_slice(&other[begin..]);
            }
            _ => {
                bytes.drain(from..bytes.len().min(from + place(8)));
            }
        }
    }
    bytes
}

/// How many changed inputs a target gets: what costs more gets fewer.
fn changes(target: &str) -> usize {
    match target {
        "head" | "parquet" | "configuration" | "manifest" | "golden" | "graph" => 60,
        "state" => 200,
        _ => 500,
    }
}

#[test]
fn every_target_keeps_its_laws_over_its_corpus_and_changes_of_it() {
    let mut random = Random::repeated("fuzz");
    for (target, _) in TARGETS {
        let corpus = corpus(target);
        let run = |what: &str, input: &[u8]| {
            let outcome = std::panic::catch_unwind(|| bodies::run(target, input));
            outcome.unwrap_or_else(|_| panic!("{target}, {what}: {}", input.escape_ascii()))
        };
        let taken =
            corpus.iter().filter(|(path, input)| run(&path.display().to_string(), input)).count();
        // A corpus that is refused at the first check shows nothing of what lies behind.
        assert!(corpus.len() >= 3 && taken > 0, "{target}: {taken} of {} taken", corpus.len());
        for number in 0..changes(target) {
            let mut any = || &*corpus[random.below(corpus.len() as u64) as usize].1;
            let (input, other) = (any(), any());
            let input = changed(input, other, &mut random);
            run(&format!("change {number}"), &input);
        }
        println!("{target}: {} inputs, {taken} taken", corpus.len());
    }
}

/// Fuzz targets, corpora and what `make fuzz` runs are the same list.
#[test]
fn each_target_has_a_program_and_a_corpus() {
    let names = |folder: &str| -> Vec<String> {
        let files = fs::read_dir(repository().join(folder)).unwrap();
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<_> = files.map(|file| stem(file.unwrap().path())).collect();
        names.sort();
        names
    };
    let programs = names("fuzz/fuzz_targets");
    assert_eq!(programs, names("tests/data/fuzz"));
    let mut targets: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    if cfg!(not(feature = "train")) {
        targets.push("parquet".to_owned());
    }
    targets.sort();
    assert_eq!(programs, targets);
    let manifest = fs::read_to_string(repository().join("fuzz/Cargo.toml")).unwrap();
    for name in programs {
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name} in fuzz/Cargo.toml");
    }
}

/// The files `made-*` of the corpus follow the layouts of today, byte for byte.
#[test]
fn the_inputs_that_a_program_makes_are_those_of_the_corpus() {
    let folder = repository().join("tests/data/fuzz");
    let made = made_inputs::made_inputs();
    for (path, bytes) in &made {
        let have = fs::read(folder.join(path)).unwrap_or_default();
        assert!(have == *bytes, "{path} differs: run `cargo run --locked --example fuzz_inputs`");
    }
    let is_made = |(path, _): &(PathBuf, Vec<u8>)| {
        let name = path.file_name().unwrap().to_str().unwrap();
        // Parquet needs the trainer's libraries.
        let is_possible = cfg!(feature = "train") || !name.ends_with(".parquet");
        name.starts_with("made-") && is_possible
    };
    let files = TARGETS.iter().flat_map(|(target, _)| corpus(target)).filter(is_made);
    let files: BTreeSet<_> = files.map(|(path, _)| path).collect();
    assert_eq!(files, made.iter().map(|(path, _)| folder.join(path)).collect());
    assert_eq!(files.len(), made.len(), "a path twice");
}
