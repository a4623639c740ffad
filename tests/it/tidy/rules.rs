//! The rules: what each one looks for, and what it says to do instead.

use std::collections::BTreeSet;

use super::code::{code_of, is_word, lines_naming_path, lines_naming_word};
use super::{File, numbered};

/// The pure core: facts in, values out. Folders or files of these names under `src`.
pub(super) const PURE: &[&str] = &["core"];

/// What the pure core names nowhere.
const IMPURE_PATHS: &[&str] = &[
    "hyper",
    "hyper_util",
    "ort",
    "prometheus",
    "rdkafka",
    "tokio",
    "tokio_tungstenite",
    "tungstenite",
    "std::fs",
    "std::net",
    "crate::adapters",
    "crate::app",
    "crate::cli",
    "crate::engine",
    "crate::intake",
    "crate::keep",
    "crate::net",
    "crate::ops",
    "crate::ports",
    "crate::shard",
    "crate::tools",
    "crate::train",
];

/// Types that read a clock, wherever they are imported from.
const CLOCK_TYPES: &[&str] = &["Instant", "SystemTime"];

/// Who speaks to sockets.
const WEBSOCKETS: &[&str] = &[
    "net/dial",
    "adapters/websocket",
    "adapters/stream",
    "adapters/http",
    "tools/feed",
    "tools/watch",
];

/// Crates that are named in one place, and the modules that may do so.
pub(super) const HOMES: &[(&str, &[&str])] = &[
    ("ort", &["engine/inference/ort"]),
    ("hyper", &["adapters/http"]),
    ("hyper_util", &["adapters/http"]),
    ("http_body_util", &["adapters/http"]),
    ("tungstenite", WEBSOCKETS),
    ("tokio_tungstenite", WEBSOCKETS),
    ("data_encoding", &["net/dial/proxy"]),
    ("rustls", &["net/dial"]),
    ("rustls_native_certs", &["net/dial"]),
    ("tokio_rustls", &["net/dial"]),
    ("matrixmultiply", &["train/gemm"]),
    ("ndarray", &["train/gemm"]),
    ("parquet", &["adapters/file/parquet"]),
    ("postcard", &["engine/state", "keep/snapshot/codec"]),
    ("prost", &["engine/model/onnx"]),
    ("rdkafka", &["adapters/kafka"]),
    ("rustix", &["ops/affinity", "ops/clock"]),
    ("zmij", &["engine/wire/encoder"]),
];

const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "dbg!"];

const COLUMNS_MAX: usize = 100;
const LINES_MAX: usize = 900;

/// Folders of a developer's machine. In pieces, so that this file keeps its own rule.
const MACHINE_FOLDERS: &[&str] =
    &[concat!("/", "home/"), concat!("/", "root/"), concat!("/", "work/"), concat!("/", "Users/")];

/// Folders whose files keep the form in which a machine or somebody else wrote them.
const AS_WRITTEN: &[&str] = &["models/", "tests/data/"];

type Rule = fn(&File) -> Vec<String>;

const FILE_RULES: &[Rule] = &[
    module_says_what_it_owns,
    core_is_pure,
    crate_is_named_at_home,
    nothing_is_unfinished,
    lines_are_short,
    files_are_short,
    space_is_plain,
    file_ends_with_newline,
    paths_are_portable,
    document_has_one_title,
];

pub(super) fn check_file(file: &File) -> Vec<String> {
    FILE_RULES.iter().flat_map(|rule| rule(file)).collect()
}

fn module_says_what_it_owns(file: &File) -> Vec<String> {
    if file.is_rust() && file.path.starts_with("src/") && !file.text.starts_with("//!") {
        return vec![file.problem(1, "no opening `//!`; say what the module owns and promises")];
    }
    Vec::new()
}

fn core_is_pure(file: &File) -> Vec<String> {
    if !file.is_rust() || !PURE.iter().any(|module| file.is_in_module(module)) {
        return Vec::new();
    }
    let code = code_of(&file.text);
    let paths = IMPURE_PATHS.iter().map(|name| (name, lines_naming_path(&code, name)));
    let clocks = CLOCK_TYPES.iter().map(|name| (name, lines_naming_word(&code, name)));
    let mut problems = Vec::new();
    for (name, lines) in paths.chain(clocks) {
        let what = format!("the pure core names `{name}`; take the fact as an argument");
        problems.extend(lines.iter().map(|line| file.problem(*line, &what)));
    }
    problems
}

fn crate_is_named_at_home(file: &File) -> Vec<String> {
    if !file.is_rust() || !file.path.starts_with("src/") {
        return Vec::new();
    }
    let code = code_of(&file.text);
    let mut problems = Vec::new();
    for (name, homes) in HOMES {
        let is_module = code.lines().any(|line| declared_module(line) == Some(name));
        if is_module || homes.iter().any(|home| file.is_in_module(home)) {
            continue;
        }
        let homes = homes.join(", src/");
        let what = format!("the crate `{name}` lives in src/{homes}; go through that module");
        let lines = lines_naming_path(&code, name);
        problems.extend(lines.iter().map(|line| file.problem(*line, &what)));
    }
    problems
}

fn nothing_is_unfinished(file: &File) -> Vec<String> {
    if !file.is_rust() {
        return Vec::new();
    }
    let code = code_of(&file.text);
    let mut problems = Vec::new();
    for name in UNFINISHED {
        let what = format!("`{name}` left behind; finish it or take it out");
        let lines = lines_naming_word(&code, name);
        problems.extend(lines.iter().map(|line| file.problem(*line, &what)));
    }
    problems
}

fn lines_are_short(file: &File) -> Vec<String> {
    if !file.is_rust() {
        return Vec::new();
    }
    // A row of a table in a doc comment cannot be broken.
    let is_table = |line: &str| line.trim_start_matches(['/', '!', ' ']).starts_with('|');
    numbered(&file.text)
        .filter(|(_, line)| line.chars().count() > COLUMNS_MAX && !is_table(line))
        .map(|(number, _)| {
            file.problem(number, &format!("more than {COLUMNS_MAX} columns; break the line"))
        })
        .collect()
}

fn files_are_short(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    if !file.is_rust() || lines <= LINES_MAX {
        return Vec::new();
    }
    let what = format!("{lines} lines, at most {LINES_MAX}; split the file by purpose");
    vec![file.problem(lines, &what)]
}

fn space_is_plain(file: &File) -> Vec<String> {
    if is_as_written(file) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (number, line) in numbered(&file.text) {
        if line.ends_with([' ', '\t', '\r']) {
            problems.push(file.problem(number, "space at the end of the line; remove it"));
        }
        if file.is_rust() && line.contains('\t') {
            problems.push(file.problem(number, "a tab; indent with spaces, write `\\t` in text"));
        }
    }
    problems
}

fn file_ends_with_newline(file: &File) -> Vec<String> {
    if is_as_written(file) || file.text.is_empty() || file.text.ends_with('\n') {
        return Vec::new();
    }
    vec![file.problem(file.text.lines().count(), "no newline at the end of the file; add one")]
}

fn paths_are_portable(file: &File) -> Vec<String> {
    let mut problems = Vec::new();
    for (number, line) in numbered(&file.text) {
        for folder in MACHINE_FOLDERS {
            // Inside a longer path or an address the name means nothing special.
            let starts_a_path = |at: usize| {
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_-.~})/*".contains(c))
            };
            if line.match_indices(folder).any(|(at, _)| starts_a_path(at)) {
                let what = format!("`{folder}` is a folder of one machine; use a relative path");
                problems.push(file.problem(number, &what));
            }
        }
    }
    problems
}

fn document_has_one_title(file: &File) -> Vec<String> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let mut in_code = false;
    let mut titles = Vec::new();
    for (number, line) in numbered(&file.text) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code && line.starts_with("# ") {
            titles.push(number);
        }
    }
    match titles[..] {
        [_] => Vec::new(),
        [] => vec![file.problem(1, "no title; open the document with one `# Title`")],
        [_, ref more @ ..] => more
            .iter()
            .map(|number| file.problem(*number, "a second title; make it a `## Section`"))
            .collect(),
    }
}

fn is_as_written(file: &File) -> bool {
    AS_WRITTEN.iter().any(|folder| file.path.starts_with(folder))
}

/// Rust files that no `mod` declaration reaches: the compiler never sees them.
pub(super) fn orphans(files: &[File]) -> Vec<String> {
    let mut reached = BTreeSet::new();
    let mut open =
        vec!["src/lib.rs".to_owned(), "src/main.rs".to_owned(), "tests/it/main.rs".to_owned()];
    while let Some(path) = open.pop() {
        let Some(file) = files.iter().find(|file| file.path == path) else {
            continue;
        };
        if !reached.insert(path.clone()) {
            continue;
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let children = match name {
            "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
            name => format!("{folder}/{}", name.trim_end_matches(".rs")),
        };
        for line in code_of(&file.text).lines() {
            if let Some(child) = declared_module(line) {
                open.push(format!("{children}/{child}.rs"));
                open.push(format!("{children}/{child}/mod.rs"));
            }
        }
    }
    files
        .iter()
        .filter(|file| file.is_rust())
        .filter(|file| file.path.starts_with("src/") || file.path.starts_with("tests/it/"))
        .filter(|file| !reached.contains(&file.path))
        .map(|file| file.problem(1, "no `mod` reaches this file; declare it or remove it"))
        .collect()
}

/// The name in `mod name;`, with or without a visibility.
fn declared_module(line: &str) -> Option<&str> {
    let declaration = line.trim().strip_suffix(';')?;
    let (before, name) = declaration.rsplit_once(' ')?;
    let is_mod = before == "mod" || before.ends_with(" mod");
    (is_mod && name.chars().all(is_word)).then_some(name)
}

/// The problems that the rules find in one file with this text.
fn found(path: &str, text: &str) -> Vec<String> {
    check_file(&File { path: path.to_owned(), text: text.to_owned() })
}

/// The bad example gives exactly one problem: at this line, with these words.
fn assert_caught(path: &str, text: &str, line: usize, words: &str) {
    let problems = found(path, text);
    let place = format!("{path}:{line}: ");
    assert!(
        matches!(&problems[..], [one] if one.starts_with(&place) && one.contains(words)),
        "expected one problem at line {line} with {words:?}, found {problems:#?}"
    );
}

fn assert_clean(path: &str, text: &str) {
    assert_eq!(found(path, text), Vec::<String>::new());
}

#[test]
fn a_module_without_its_opening_words_is_caught() {
    assert_caught("src/a.rs", "// What it owns.\n", 1, "no opening `//!`");
    assert_clean("src/a.rs", "//! What it owns.\n");
    assert_clean("tests/it/a.rs", "fn helper() {}\n");
}

#[test]
fn an_impure_core_is_caught() {
    for (code, name) in [
        ("use tokio::sync::mpsc;", "`tokio`"),
        ("use std::{fmt, fs::File};", "`std::fs`"),
        ("use std::{\n    net,\n    fmt,\n};", "`std::net`"),
        ("fn f() { std::fs::read(p); }", "`std::fs`"),
        ("use std::time::Instant;", "`Instant`"),
        ("fn now() -> SystemTime {}", "`SystemTime`"),
        ("use crate::{core::domain::Tick, ops::clock};", "`crate::ops`"),
        ("fn f(x: ::prometheus::Counter) {}", "`prometheus`"),
        ("#[tokio::test]", "`tokio`"),
    ] {
        let text = format!("//! Core.\n{code}\n");
        for path in ["src/core/window/ring.rs", "src/core/score.rs"] {
            assert_caught(path, &text, 2, name);
        }
        assert_clean("src/app.rs", &text);
    }
    let pure = "//! No tokio::, no SystemTime.\nuse std::time::Duration; // not Instant\n\
                const WHY: &str = \"std::fs\";\nlet support = report::tokio();\n";
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
        ("use matrixmultiply::sgemm;", "`matrixmultiply`"),
        ("use rdkafka::Message;", "`rdkafka`"),
    ] {
        assert_caught("src/app.rs", &format!("//! App.\n\n{code}\n"), 3, name);
    }
    assert_clean("src/engine/inference/ort.rs", "//! Home.\nuse ort::session::Session;\n");
    assert_clean("src/adapters/kafka/mod.rs", "//! Home.\nuse rdkafka::Message;\n");
    assert_clean(
        "src/engine/inference/mod.rs",
        "//! Uses.\nmod ort;\npub use self::ort::Engine;\n",
    );
    assert_clean("src/app.rs", "//! App.\nuse crate::inference::ort::Engine;\nlet ort = 1;\n");
}

#[test]
fn unfinished_code_is_caught() {
    for name in UNFINISHED {
        assert_caught("benches/a.rs", &format!("fn f() {{\n    {name}()\n}}\n"), 2, name);
        assert_clean("benches/a.rs", &format!("// no {name}\nconst A: &str = \"{name}\";\n"));
    }
}

#[test]
fn a_long_line_is_caught() {
    let line = format!("//{}\n", "é".repeat(COLUMNS_MAX - 2));
    assert_clean("tests/a.rs", &line);
    assert_caught("tests/a.rs", &format!("\n/{line}"), 2, "more than 100 columns");
    assert_clean("tests/a.rs", &format!("//! | {} |\n", "-".repeat(COLUMNS_MAX)));
    assert_caught("tests/a.rs", &format!("/// {} |\n", "-".repeat(COLUMNS_MAX)), 1, "columns");
    assert_clean("README.md", &format!("# Title\n/{line}"));
}

#[test]
fn a_long_file_is_caught() {
    let text = "//\n".repeat(LINES_MAX);
    assert_clean("tests/a.rs", &text);
    assert_caught("tests/a.rs", &format!("{text}//\n"), LINES_MAX + 1, "split the file");
}

#[test]
fn untidy_space_is_caught() {
    assert_caught("Makefile", "all:\n\techo \n", 2, "space at the end");
    assert_caught("a.toml", "[a]\r\n", 1, "space at the end");
    assert_caught("tests/a.rs", "fn a() {\n\tb();\n}\n", 2, "a tab");
    assert_clean("Makefile", "all:\n\techo\n");
    assert_clean("tests/data/captured.json", "{} \n");
}

#[test]
fn a_missing_last_newline_is_caught() {
    assert_caught("a.toml", "[a]\nb = 1", 2, "no newline");
    assert_clean("a.toml", "");
    assert_clean("models/a/1/manifest.json", "{}");
}

#[test]
fn a_path_of_one_machine_is_caught() {
    for folder in MACHINE_FOLDERS {
        assert_caught("a.sh", &format!("a\ncat {folder}x\n"), 2, folder);
        assert_caught("a.sh", &format!("a\nA='{folder}x'\n"), 2, folder);
        assert_clean("a.sh", &format!("cat ./x{folder}y https://a.example{folder}\n"));
    }
}

#[test]
fn a_document_without_exactly_one_title_is_caught() {
    assert_caught("docs/a.md", "## Section\n", 1, "no title");
    assert_caught("docs/a.md", "# One\n\n# Two\n", 3, "a second title");
    assert_clean("docs/a.md", "# One\n\n```\n# a comment\n```\n\n## Two\n");
}

#[test]
fn an_orphan_is_caught() {
    let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
    let files = [
        file("src/lib.rs", "//! A.\npub mod a;\n// mod ghost;\n"),
        file("src/main.rs", "//! B.\nmod b;\n"),
        file("src/a/mod.rs", "//! A.\npub(crate) mod c;\n"),
        file("src/a/c.rs", "//! C.\nmod d;\n"),
        file("src/a/c/d.rs", "//! D.\n"),
        file("src/b.rs", "//! B.\n"),
        file("src/ghost.rs", "//! Nobody.\n"),
        file("tests/it/main.rs", "mod seen;\n"),
        file("tests/it/seen.rs", ""),
        file("tests/it/unseen.rs", ""),
        file("benches/raw.rs", ""),
    ];
    let places: Vec<String> = orphans(&files)
        .iter()
        .filter_map(|problem| problem.split_once(':').map(|(path, _)| path.to_owned()))
        .collect();
    assert_eq!(places, ["src/ghost.rs", "tests/it/unseen.rs"]);
}
