//! A small tidy repository, into which a test plants a bad example.
//!
//! Every bad example goes through the list of all rules, so that a rule that is missing from the
//! list fails its test, and so that an example breaks only the rule it is about.

use std::collections::{BTreeMap, BTreeSet};

use super::crates::HOMES;
use super::layers::LAYERS;
use super::rules::declared_module;
use super::{File, problems_of};

/// Dependencies that have no home.
const CRATES: &[&str] = &[
    "bytes",
    "jiff",
    "libm",
    "proptest",
    "serde",
    "serde_json",
    "strsim",
    "thiserror",
    "tokio",
    "tracing",
];

/// The files of a repository, by their paths.
pub(super) struct Planted(BTreeMap<String, String>);

impl Planted {
    /// The tidy repository with these files in it. Modules that lead to them are added and declare
    /// them, at the end of what is planted.
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let planted = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        let mut tree = Self(planted.collect());
        tree.add("Cargo.toml", &manifest());
        tree.add("src/lib.rs", &root());
        tree.add("src/main.rs", "//! Main.\n");
        tree.add("tests/it/main.rs", "");
        let homes = HOMES.iter().flat_map(|(_, homes)| homes.iter());
        for module in LAYERS.iter().chain(homes) {
            tree.add_module(&format!("src/{module}"));
        }
        let mut children: BTreeSet<String> =
            tree.0.keys().filter_map(|path| module(path)).collect();
        while let Some(child) = children.pop_last() {
            let Some((folder, name)) = child.rsplit_once('/') else {
                continue;
            };
            let parent = match folder {
                "src" => "src/lib.rs".to_owned(),
                "tests/it" => "tests/it/main.rs".to_owned(),
                _ => {
                    children.insert(folder.to_owned());
                    tree.add_module(folder)
                }
            };
            if let Some(text) = tree.0.get_mut(&parent)
                && !text.lines().any(|line| declared_module(line) == Some(name))
            {
                *text += &format!("mod {name};\n");
            }
        }
        tree
    }

    fn add(&mut self, path: &str, text: &str) {
        self.0.entry(path.to_owned()).or_insert_with(|| text.to_owned());
    }

    /// Adds the file of a module unless there is one, and returns its path.
    fn add_module(&mut self, module: &str) -> String {
        let alone = format!("{module}.rs");
        if self.0.contains_key(&alone) {
            return alone;
        }
        let path = format!("{module}/mod.rs");
        self.add(&path, "//! Planted.\n");
        path
    }

    /// The tree without a file or folder.
    pub(super) fn without(mut self, gone: &str) -> Self {
        self.0.retain(|path, _| !path.starts_with(&format!("{gone}/")) && path != gone);
        self
    }

    /// The tree with a piece of one file replaced.
    pub(super) fn replace(mut self, path: &str, old: &str, new: &str) -> Self {
        let text = self.0.get_mut(path).expect("the file is planted");
        assert!(text.contains(old), "{path} has no {old:?}:\n{text}");
        *text = text.replace(old, new);
        self
    }

    /// What the rules find in the tree.
    pub(super) fn problems(self) -> Vec<String> {
        let files: Vec<File> =
            self.0.into_iter().map(|(path, text)| File::new(path, text)).collect();
        problems_of(&files)
    }
}

/// The module in a file that a `mod` line has to declare.
fn module(path: &str) -> Option<String> {
    let is_module = path.starts_with("src/") || path.starts_with("tests/it/");
    let is_root = ["src/lib.rs", "src/main.rs", "tests/it/main.rs"].contains(&path);
    let module = path.strip_suffix(".rs").filter(|_| is_module && !is_root)?;
    Some(module.strip_suffix("/mod").unwrap_or(module).to_owned())
}

fn manifest() -> String {
    let homed = HOMES.iter().map(|(name, _)| name);
    let lines = homed.chain(CRATES).map(|name| format!("{} = \"1\"\n", name.replace('_', "-")));
    format!("[dependencies]\n{}", lines.collect::<String>())
}

fn root() -> String {
    let rows: String = LAYERS.iter().map(|layer| format!("//! | [`{layer}`] | it |\n")).collect();
    let modules: String = LAYERS.iter().map(|layer| format!("pub mod {layer};\n")).collect();
    format!("//! Planted.\n//!\n//! | layer | owns |\n//! |---|---|\n{rows}\n{modules}")
}

pub(super) fn problems_in(files: &[(&str, &str)]) -> Vec<String> {
    Planted::new(files).problems()
}

/// The problems are exactly these, in any order: each starts with the place and has the words.
pub(super) fn assert_found(problems: &[String], expected: &[(&str, &str)]) {
    let is = |problem: &String, (place, words): &(&str, &str)| {
        problem.starts_with(place) && problem.contains(words)
    };
    let all = expected.iter().all(|expected| problems.iter().any(|problem| is(problem, expected)));
    assert!(all && problems.len() == expected.len(), "expected {expected:#?}, found {problems:#?}");
}

/// The bad example gives exactly one problem: at this line, with these words.
pub(super) fn assert_caught(path: &str, text: &str, line: usize, words: &str) {
    assert_found(&problems_in(&[(path, text)]), &[(&format!("{path}:{line}: "), words)]);
}

pub(super) fn assert_clean(path: &str, text: &str) {
    assert_clean_tree(&[(path, text)]);
}

pub(super) fn assert_clean_tree(files: &[(&str, &str)]) {
    assert_found(&problems_in(files), &[]);
}
