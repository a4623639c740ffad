//! House rules that a program can decide, checked over every text file of the repository.
//!
//! A rule is a function from a file, or from all files, to its problems; a problem says where it is
//! and what to do instead. Each rule has a test of its own that shows it a bad example by way of
//! the list of all rules, so a rule that is missing from the list fails its test.

mod circles;
mod code;
mod crates;
mod functions;
mod layers;
mod modules;
mod paths;
mod planted;
mod rules;
mod tokens;

use std::fs;
use std::path::Path;

use code::code_of;
use modules::Modules;
use rules::{FILE_RULES, TREE_RULES};

/// What the walk leaves out: build output, and hidden folders (history, downloads, editors) but
/// for those that hold sources of ours.
fn is_foreign(folder: &str) -> bool {
    folder == "target" || (folder.starts_with('.') && ![".cargo", ".ci"].contains(&folder))
}

/// One text file; the path is relative to the repository and has forward slashes.
struct File {
    path: String,
    text: String,
    /// The text without comments and literals, if this is a file of Rust.
    code: String,
}

impl File {
    fn new(path: String, text: String) -> Self {
        let code = if path.ends_with(".rs") { code_of(&text) } else { String::new() };
        Self { path, text, code }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn problem(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    /// Whether this is the module `name` (`core`, `engine/state`) under `src` or inside it.
    fn is_in_module(&self, name: &str) -> bool {
        let Some(rest) = self.path.strip_prefix("src/").and_then(|path| path.strip_prefix(name))
        else {
            return false;
        };
        rest == ".rs" || rest.starts_with('/')
    }
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    // Not `lines`, which hides a carriage return.
    (1..).zip(text.split('\n'))
}

/// Every text file of the repository; files that are not UTF-8 (models, images) have no lines.
fn repository() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository can be read") {
            let entry = entry.expect("a folder of the repository can be read");
            let kind = entry.file_type().expect("a file of the repository has a type");
            let path = entry.path();
            let name = entry.file_name();
            // In a linked worktree `.git` is a file, which says where the history is.
            if kind.is_dir() && !is_foreign(&name.to_string_lossy()) {
                open.push(path);
            } else if kind.is_file()
                && name != ".git"
                && let Ok(text) = fs::read_to_string(&path)
            {
                let path = path.strip_prefix(root).expect("the walk stays inside the repository");
                files.push(File::new(path.to_string_lossy().into_owned(), text));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// What all rules find in these files.
fn problems_of(files: &[File]) -> Vec<String> {
    let modules = Modules::of(files);
    let of_files = files.iter().flat_map(|file| FILE_RULES.iter().flat_map(|rule| rule(file)));
    of_files.chain(TREE_RULES.iter().flat_map(|rule| rule(files, &modules))).collect()
}

#[test]
fn the_repository_is_tidy() {
    let problems = problems_of(&repository());
    assert!(problems.is_empty(), "{} problems\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn the_walk_sees_the_whole_repository() {
    let files = repository();
    let seen = |path: &str| files.iter().any(|file| file.path == path);
    let expected = [
        ".ci/run",
        "Cargo.toml",
        "Makefile",
        "README.md",
        "deploy/setup.sh",
        "src/lib.rs",
        "src/main.rs",
        "tests/it/main.rs",
        "tests/it/tidy/rules.rs",
    ];
    for path in expected {
        assert!(seen(path), "the walk did not see {path}");
    }
    for folder in ["target/", ".cache/", ".git/"] {
        let walked = files.iter().any(|file| file.path.starts_with(folder));
        assert!(!walked, "{folder} was walked");
    }
    let rust = files.iter().filter(|file| file.is_rust()).count();
    assert!(rust >= 4, "only {rust} Rust files seen");
}
