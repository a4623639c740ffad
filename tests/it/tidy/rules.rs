//! The list of all rules, and those about the text of a file: what each one looks for, and what it
//! says to do instead.

use std::collections::BTreeSet;

use super::circles::no_circle_runs_through_a_folder;
use super::code::{is_word, lines_naming_word};
use super::crates::{core_is_pure, crates_are_named_at_home, lists_of_crates_are_current};
use super::functions::functions_are_short;
use super::layers::{imports_lead_down, layers_are_what_the_tree_has};
use super::modules::Modules;
use super::{File, numbered};

const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "dbg!"];

const COLUMNS_MAX: usize = 100;
const LINES_MAX: usize = 900;

/// Folders of a developer's machine. In pieces, so that this file keeps its own rule.
const MACHINE_FOLDERS: &[&str] =
    &[concat!("/", "home/"), concat!("/", "root/"), concat!("/", "work/"), concat!("/", "Users/")];

/// Folders whose files keep the form in which a machine or somebody else wrote them.
const AS_WRITTEN: &[&str] = &["models/", "tests/data/"];

type FileRule = fn(&File) -> Vec<String>;
type TreeRule = fn(&[File], &Modules) -> Vec<String>;

/// Rules that one file breaks.
pub(super) const FILE_RULES: &[FileRule] = &[
    module_says_what_it_owns,
    functions_are_short,
    nothing_is_unfinished,
    lines_are_short,
    files_are_short,
    space_is_plain,
    file_ends_with_newline,
    paths_are_portable,
    document_has_one_title,
];

/// Rules that files break together.
pub(super) const TREE_RULES: &[TreeRule] = &[
    layers_are_what_the_tree_has,
    imports_lead_down,
    no_circle_runs_through_a_folder,
    core_is_pure,
    crates_are_named_at_home,
    lists_of_crates_are_current,
    modules_reach_every_file,
];

fn module_says_what_it_owns(file: &File) -> Vec<String> {
    if file.is_rust() && file.path.starts_with("src/") && !file.text.starts_with("//!") {
        return vec![file.problem(1, "no opening `//!`; say what the module owns and promises")];
    }
    Vec::new()
}

fn nothing_is_unfinished(file: &File) -> Vec<String> {
    if !file.is_rust() {
        return Vec::new();
    }
    let code = &file.code;
    let mut problems = Vec::new();
    for name in UNFINISHED {
        let what = format!("`{name}` left behind; finish it or take it out");
        let lines = lines_naming_word(code, name);
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
fn modules_reach_every_file(files: &[File], _: &Modules) -> Vec<String> {
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
        for line in file.code.lines() {
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
pub(super) fn declared_module(line: &str) -> Option<&str> {
    let declaration = line.trim().strip_suffix(';')?;
    let (before, name) = declaration.rsplit_once(' ')?;
    let is_mod = before == "mod" || before.ends_with(" mod");
    (is_mod && name.chars().all(is_word)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::super::planted::{assert_caught, assert_clean};
    use super::super::problems_of;
    use super::*;

    #[test]
    fn a_module_without_its_opening_words_is_caught() {
        assert_caught("src/app/a.rs", "// What it owns.\n", 1, "no opening `//!`");
        assert_clean("src/app/a.rs", "//! What it owns.\n");
        assert_clean("tests/it/a.rs", "fn helper() {}\n");
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
        let file = |path: &str, text: &str| File::new(path.to_owned(), text.to_owned());
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
        let places: Vec<String> = problems_of(&files)
            .iter()
            .filter(|problem| problem.contains("no `mod` reaches this file"))
            .filter_map(|problem| problem.split_once(':').map(|(path, _)| path.to_owned()))
            .collect();
        assert_eq!(places, ["src/ghost.rs", "tests/it/unseen.rs"]);
    }
}
