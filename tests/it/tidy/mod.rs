//! House rules that a program can decide, checked over every text file of the repository.
//!
//! A rule is a function from a file to its problems; a problem says where it is and what to do
//! instead. Each rule has a test of its own that shows it a bad example by way of the list of all
//! rules, so a rule that is missing from the list fails its test.

mod code;
mod rules;

use std::fs;
use std::path::Path;

use rules::{HOMES, PURE, check_file, orphans};

/// How many modules the library declares.
const LAYERS: usize = 13;

/// What the walk leaves out: build output, and hidden folders (history, downloads, editors) but
/// for those that hold sources of ours.
fn is_foreign(folder: &str) -> bool {
    folder == "target" || (folder.starts_with('.') && ![".cargo", ".ci"].contains(&folder))
}

/// One text file; the path is relative to the repository and has forward slashes.
struct File {
    path: String,
    text: String,
}

impl File {
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
                files.push(File { path: path.to_string_lossy().into_owned(), text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

#[test]
fn the_repository_is_tidy() {
    let files = repository();
    let problems: Vec<String> = files.iter().flat_map(check_file).chain(orphans(&files)).collect();
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
    let has = |module: &str| files.iter().any(|file| file.is_in_module(module));
    // Every layer that the library declares, and every module that a rule names.
    let library = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"));
    let library = library.expect("src/lib.rs can be read");
    let declared = library.lines().filter_map(|line| line.strip_prefix("pub mod "));
    let layers: Vec<_> = declared.map(|line| line.trim_end_matches(';')).collect();
    assert_eq!(layers.len(), LAYERS, "{layers:?}");
    let homes = HOMES.iter().flat_map(|(_, homes)| homes.iter().copied());
    for module in layers.into_iter().chain(PURE.iter().copied()).chain(homes) {
        assert!(has(module), "no file of src/{module} was seen");
    }
}
