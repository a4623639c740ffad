//! The rules about what comes from outside: the core depends on nothing that does I/O, and a crate
//! of the edge is named at one home.

use std::collections::BTreeSet;

use super::File;
use super::code::lines_naming_word;
use super::modules::{Modules, Source};
use super::paths::Named;

/// The layer that only computes: facts in, values out.
const CORE: &str = "core";

/// The dependencies that the core may name; they compute too.
const CORE_CRATES: &[&str] =
    &["jiff", "libm", "proptest", "serde", "serde_json", "strsim", "thiserror"];

/// What the core may name of the standard library: nothing that reads a clock, a file, a socket or
/// the environment, and nothing that threads share and change.
const CORE_STD: &[&str] = &[
    "array",
    "borrow",
    "cmp",
    "collections",
    "convert",
    "error",
    "f32",
    "f64",
    "fmt",
    "hash",
    "iter",
    "marker",
    "mem",
    "num",
    "ops",
    "slice",
    "str",
    "string",
    "sync::Arc",
    "time::Duration",
    "vec",
];

/// The names of the standard library.
const STD: &[&str] = &["std", "core", "alloc"];

/// What reads a clock or keeps state, wherever it comes from.
const IMPURE_WORDS: &[&str] = &["Instant", "SystemTime", "thread_local!"];

/// What writes to the terminal. Files of tests may.
const PRINTING: &[&str] = &["print!", "println!", "eprint!", "eprintln!"];

/// Who speaks HTTP.
const HTTP: &[&str] = &["adapters/http", "adapters/rest", "tools/feed", "tools/watch/warming"];

/// Who speaks to WebSockets.
const WEBSOCKETS: &[&str] = &[
    "net/dial",
    "adapters/websocket",
    "adapters/stream",
    "adapters/http",
    "tools/feed",
    "tools/watch",
];

/// Crates that are named in one place, and the modules under `src/` that may do so.
pub(super) const HOMES: &[(&str, &[&str])] = &[
    ("csv_core", &["adapters/file/csv"]),
    ("encoding_rs", &["adapters/file/input"]),
    ("flate2", &["adapters/file", "adapters/websocket"]),
    ("memchr", &["adapters/file"]),
    ("zstd", &["adapters/file"]),
    ("ort", &["engine/inference/onnxruntime"]),
    ("hyper", HTTP),
    ("hyper_util", HTTP),
    ("http_body_util", HTTP),
    ("tokio_tungstenite", WEBSOCKETS),
    ("data_encoding", &["adapters/kafka/describe", "cli/map", "net/dial/proxy"]),
    ("rustls", &["net/dial"]),
    ("rustls_native_certs", &["net/dial"]),
    ("tokio_rustls", &["net/dial"]),
    ("ndarray", &["train/network/gemm"]),
    ("parquet", &["adapters/file/parquet"]),
    ("postcard", &["engine/state", "keep/snapshot/codec"]),
    ("prost", &["engine/onnx"]),
    ("rdkafka", &["adapters/kafka"]),
    (
        "rustix",
        &["engine/files", "keep/prove", "ops/affinity", "ops/clock", "ops/descriptors", "ops/file"],
    ),
    ("toml", &["ops/document"]),
    ("zmij", &["engine/wire/encoder"]),
];

pub(super) fn core_is_pure(files: &[File], modules: &Modules) -> Vec<String> {
    let crates = dependencies(files);
    let mut problems = Vec::new();
    for source in modules.sources.iter().filter(|source| source.file.is_in_module(CORE)) {
        let mut refuse = |line: usize, name: &str| {
            let what = format!("the pure core names `{name}`; take the fact as an argument");
            problems.push(source.file.problem(line, &what));
        };
        let paths = external(modules, source).filter(|(_, path)| is_impure(path, &crates));
        for (line, path) in lines_of(paths) {
            refuse(line, &path);
        }
        let is_test = source.module.iter().any(|name| name == "tests");
        let printing = PRINTING.iter().filter(|_| !is_test);
        for word in IMPURE_WORDS.iter().chain(printing) {
            for line in lines_naming_word(&source.file.code, word) {
                refuse(line, word);
            }
        }
    }
    problems
}

fn is_impure(path: &[String], crates: &BTreeSet<String>) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    let reads_clock = rest.last().is_some_and(|name| name == "now");
    // The words are a problem of their own.
    let is_word = rest.last().is_some_and(|name| IMPURE_WORDS.contains(&name.as_str()));
    if STD.contains(&first.as_str()) {
        let rest = rest.join("::");
        let is_pure = CORE_STD.iter().any(|pure| {
            rest.strip_prefix(pure).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        });
        return !is_pure && !is_word;
    }
    reads_clock || crates.contains(first) && !CORE_CRATES.contains(&first.as_str())
}

pub(super) fn crates_are_named_at_home(_: &[File], modules: &Modules) -> Vec<String> {
    let mut problems = Vec::new();
    for source in &modules.sources {
        let paths: Vec<_> = external(modules, source).collect();
        for (name, homes) in HOMES {
            if homes.iter().any(|home| source.file.is_in_module(home)) {
                continue;
            }
            let of_crate = paths.iter().filter(|(_, path)| path[0] == *name);
            let lines: BTreeSet<usize> = of_crate.map(|(named, _)| named.line).collect();
            let homes = homes.join(", src/");
            let what = format!("the crate `{name}` lives in src/{homes}; go through that module");
            problems.extend(lines.iter().map(|line| source.file.problem(*line, &what)));
        }
    }
    problems
}

/// The lists above name what exists.
pub(super) fn lists_of_crates_are_current(files: &[File], modules: &Modules) -> Vec<String> {
    let crates = dependencies(files);
    let homed = HOMES.iter().map(|(name, _)| ("HOMES", name));
    let of_core = CORE_CRATES.iter().map(|name| ("CORE_CRATES", name));
    let gone = homed
        .chain(of_core)
        .filter(|(_, name)| !crates.contains(**name))
        .map(|(list, name)| format!("{list} names `{name}`, which Cargo.toml does not; remove it"));
    let homeless = HOMES
        .iter()
        .flat_map(|(name, homes)| homes.iter().map(move |home| (name, home)))
        .filter(|(_, home)| !modules.sources.iter().any(|source| source.file.is_in_module(home)))
        .map(|(name, home)| {
            format!("HOMES keeps `{name}` in src/{home}, which does not exist; say where it is now")
        });
    gone.chain(homeless).map(|what| format!("tests/it/tidy/crates.rs:1: {what}")).collect()
}

/// Paths that lead out of the crate, without a leading `::`. The first segment may also be a type
/// or a variant in scope.
fn external<'a>(
    modules: &'a Modules,
    source: &'a Source,
) -> impl Iterator<Item = (&'a Named, &'a [String])> {
    source.paths.iter().filter(|named| modules.absolute(named).is_none()).filter_map(|named| {
        let path = &named.segments[..];
        let path = path.strip_prefix(&[String::new()]).unwrap_or(path);
        (!path.is_empty()).then_some((named, path))
    })
}

fn lines_of<'a>(
    paths: impl Iterator<Item = (&'a Named, &'a [String])>,
) -> BTreeSet<(usize, String)> {
    paths.map(|(named, path)| (named.line, path.join("::"))).collect()
}

/// Every dependency in Cargo.toml, also those of tests, as code names it.
fn dependencies(files: &[File]) -> BTreeSet<String> {
    let manifest = files.iter().find(|file| file.path == "Cargo.toml");
    let mut names = BTreeSet::new();
    let mut is_list = false;
    for line in manifest.map_or("", |file| &file.text).lines() {
        if let Some(table) = line.trim().strip_prefix('[') {
            let table = table.split(']').next().unwrap_or(table);
            is_list = table.ends_with("dependencies");
            if let Some((_, name)) = table.split_once("dependencies.") {
                names.insert(name.replace('-', "_"));
            }
        } else if is_list && let Some((name, _)) = line.split_once(['=', '.']) {
            names.insert(name.trim().replace('-', "_"));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::super::planted::{Planted, assert_caught, assert_clean, assert_found};
    use super::*;

    #[test]
    fn an_impure_core_is_caught() {
        for (code, name) in [
            ("use tokio::sync::mpsc;", "`tokio::sync::mpsc`"),
            ("use tracing::info;", "`tracing::info`"),
            ("use std::{fmt, fs::File};", "`std::fs::File`"),
            ("use std::{\n    fmt, net,\n};", "`std::net`"),
            ("fn f() { std::fs::read(p); }", "`std::fs::read`"),
            ("use std::io::Read;", "`std::io::Read`"),
            ("use std::sync::{Arc, Mutex};", "`std::sync::Mutex`"),
            ("use std::sync;", "`std::sync`"),
            ("fn f() { std::thread::yield_now(); }", "`std::thread::yield_now`"),
            ("fn f() { std::env::var(name); }", "`std::env::var`"),
            ("use std::process::Command;", "`std::process::Command`"),
            ("use std as s;", "`std`"),
            ("use std::time::Instant;", "`Instant`"),
            ("use std::time::{Duration, SystemTime};", "`SystemTime`"),
            ("fn now() -> SystemTime {}", "`SystemTime`"),
            ("fn f() { jiff::Timestamp::now() }", "`jiff::Timestamp::now`"),
            ("thread_local!(static A: u8 = 1);", "`thread_local!`"),
            ("fn f() -> ::bytes::Bytes {}", "`bytes::Bytes`"),
            ("#[tokio::test]", "`tokio::test`"),
        ] {
            let line = if code.contains('\n') { 3 } else { 2 };
            let text = format!("//! Core.\n{code}\n");
            for path in ["src/core/window/ring.rs", "src/core/score.rs", "src/core/a/tests.rs"] {
                assert_caught(path, &text, line, name);
            }
            assert_clean("src/app/mod.rs", &text);
        }
        let printing = "//! Core.\nfn f() { println!(); }\n";
        assert_caught("src/core/a.rs", printing, 2, "`println!`");
        assert_clean("src/core/a/tests.rs", printing);
        let pure = "//! No tokio::, no SystemTime.\nuse std::time::Duration; // not Instant\n\
                    const WHY: &str = \"std::fs\";\nlet support = report::tokio();\n\
                    use std::{collections::BTreeMap, fmt::{self, Display}, sync::Arc};\n\
                    #[derive(serde::Serialize, thiserror::Error)]\nuse proptest::prelude::*;\n";
        assert_clean("src/core/domain/mod.rs", pure);
    }

    #[test]
    fn a_crate_away_from_home_is_caught() {
        for (code, name) in [
            ("use ort::session::Session;", "`ort`"),
            ("use {ort as runtime, std::fmt};", "`ort`"),
            ("fn f(s: &ort::Session) {}", "`ort`"),
            ("#[derive(prost::Message)]", "`prost`"),
            ("use tokio_tungstenite::connect_async;", "`tokio_tungstenite`"),
            ("use hyper::Request;", "`hyper`"),
            ("use ndarray::linalg;", "`ndarray`"),
            ("use rdkafka::Message;", "`rdkafka`"),
            ("mod tests { use ::rdkafka::Message; }", "`rdkafka`"),
        ] {
            let text = format!("//! App.\n\n{code}\n");
            assert_caught("src/app/mod.rs", &text, 3, name);
            assert_caught("src/main.rs", &text, 3, name);
        }
        let home = "src/engine/inference/onnxruntime/mod.rs";
        assert_clean(home, "//! Home.\nuse ort::session::Session;\n");
        assert_clean("src/adapters/kafka/mod.rs", "//! Home.\nuse rdkafka::Message;\n");
        // A module and a variable of a crate's name are not the crate.
        let uses = "//! Uses.\nmod parquet;\npub use self::parquet::R;\nfn f(_: parquet::R) {}\n";
        assert_clean("src/adapters/file/mod.rs", uses);
        let uses = "//! App.\nuse crate::adapters::file::parquet::R;\nlet parquet = 1;\n";
        assert_clean("src/app/mod.rs", uses);
    }

    #[test]
    fn a_home_that_does_not_exist_is_caught() {
        let problems = Planted::new(&[]).without("src/train/network/gemm").problems();
        let place = "tests/it/tidy/crates.rs:1: ";
        let words = "`ndarray` in src/train/network/gemm, which does not exist";
        assert_found(&problems, &[(place, words)]);
    }

    #[test]
    fn a_crate_that_is_no_dependency_is_caught() {
        let place = "tests/it/tidy/crates.rs:1: ";
        for (line, words) in [
            ("hyper-util = \"1\"\n", "HOMES names `hyper_util`, which Cargo.toml does not"),
            ("libm = \"1\"\n", "CORE_CRATES names `libm`, which Cargo.toml does not"),
        ] {
            let problems = Planted::new(&[]).replace("Cargo.toml", line, "").problems();
            assert_found(&problems, &[(place, words)]);
        }
    }

    #[test]
    fn every_form_of_a_dependency_is_read() {
        let text = "[package]\nname = \"x\"\n[dependencies]\na-b = \"1\"\nc.workspace = true\n\
                    [features]\nd = []\n[dependencies.e]\nversion = \"1\"\n\
                    [target.'cfg(unix)'.dependencies]\nf = { version = \"1\" }\n\
                    [dev-dependencies]\ng = \"1\"\n";
        let manifest = File::new("Cargo.toml".to_owned(), text.to_owned());
        let names: Vec<String> = dependencies(&[manifest]).into_iter().collect();
        assert_eq!(names, ["a_b", "c", "e", "f", "g"]);
    }
}
